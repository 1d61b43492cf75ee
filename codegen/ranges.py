"""Is an index in range wherever its guards hold? A proof, or else a search for a counterexample.

In: combinations of ``codegen.index``, the guards that protect them, the loops and dimensions.
Out: True for a proof; a ``Witness`` (sizes and loop values that break the claim) when one was
found; neither when the question stays open.

Guarantees: a proof holds for all loops, dimensions and gathered values within their bounds; a
witness is a legal point at which every guard holds, so nothing right is ever refused. Both are
deterministic. Proofs add multiples of guards (two of them at most) and look through one floor; they
are not complete, and the search visits some thousand points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import prod

from codegen.index import (
    Dim,
    Floor,
    Gather,
    Guard,
    Ix,
    Loop,
    Mod,
    Source,
    evaluate,
    nonneg,
    upper,
)

__all__ = [
    "Witness",
    "find",
    "gathers",
    "implied",
    "injective",
    "inside",
    "outside",
    "points",
    "testable",
]

POINTS = 1500  # points visited for one question and one choice of sizes
_STEPS = (0, 1, 2, 5)  # above the lower bound of each dimension

Read = Callable[[Source, tuple[int, ...]], int]


@dataclass(frozen=True, slots=True)
class Witness:
    """A point: the sizes of the dimensions, the values of the loops, a reader of gathers."""

    sizes: Mapping[str, int]
    loops: Mapping[Loop, int]
    read: Read

    def value(self, ix: Ix) -> int:
        return evaluate(ix, self.loops, self.sizes, self.read)

    def holds(self, guards: Sequence[Guard]) -> bool:
        """Whether all guards hold here."""
        for g in guards:
            value = self.value(g.ix)
            if value < 0 or (g.kind == "==" and value > 0):
                return False
        return True


def implied(ix: Ix, guards: Sequence[Guard], depth: int = 2) -> bool:
    """True when ``ix >= 0`` is proved wherever the guards hold."""
    if nonneg(ix):
        return True
    for atom, k in ix.terms:
        if isinstance(atom, Floor) and k in (1, -1):
            rest = ix - atom.ix() * k
            inside = atom.of * k + rest * atom.n + (0 if k == 1 else atom.n - 1)
            if implied(inside, guards, depth):
                return True
    if depth == 0:
        return False
    for g in guards:
        for m in _multiples(ix, g):
            if implied(ix - g.ix * m, guards, depth - 1):
                return True
    return False


def _multiples(ix: Ix, g: Guard) -> list[int]:
    """Multiples of a guard that cancel a term of ix, or nearly do."""
    found: dict[int, None] = {}
    for atom, k in g.ix.terms:
        own = ix.coefficient(atom)
        for m in (own // k, -(-own // k)):
            if m > 0 or (m < 0 and g.kind == "=="):
                found[m] = None
    return list(found)


def gathers(ixs: Sequence[Ix]) -> list[Gather]:
    """The gathers in combinations, at any depth, each once."""
    deep = [ix for ix in ixs if ix.gathers]
    return list(dict.fromkeys(a for ix in deep for a in ix.atoms() if isinstance(a, Gather)))


def testable(guards: tuple[Guard, ...]) -> tuple[Guard, ...]:
    """The guards in an order in which each can be tested under those before it: what gathers may
    do so out of range until the others hold, and stands last."""
    if len(guards) < 2:
        return guards
    return tuple(sorted(guards, key=lambda g: g.ix.gathers))


def injective(index: Sequence[Ix], guards: Sequence[Guard], loops: Sequence[Loop]) -> bool:
    """True when the values of ``index`` are proved to determine every loop where guards hold."""
    open_loops = [item for item in loops if (upper(item.extent) or 2) > 1]
    known = [*index, *(g.ix for g in guards if g.kind == "==")]
    whole = [(a.of, a.n) for ix in known if isinstance(a := ix.atom, Floor)]
    rest = [(a.of, a.n) for ix in known if isinstance(a := ix.atom, Mod)]
    known += [of for of, n in whole if (of, n) in rest]  # e//n and e mod n determine e
    progress = True
    while open_loops and progress:
        progress = False
        for ix in known:
            unknown = [a for a, _ in ix.terms if any(item in open_loops for item in a.loops)]
            if len(unknown) == 1 and unknown[0] in open_loops:
                open_loops = [item for item in open_loops if item is not unknown[0]]
                progress = True
    return not open_loops


def _values(size: int, room: int) -> list[int]:
    """All of 0 .. size-1, or its first and last few when there is no room for all."""
    if size <= room:
        return list(range(size))
    head = (room + 1) // 2
    return [*range(head), *range(size - (room - head), size)]


def _readers(sizes: Mapping[str, int]) -> list[Read]:
    """Gathered values at their least, at their greatest, and spread between."""

    def ends(source: Source) -> tuple[int, int]:
        return evaluate(source.low, {}, sizes), evaluate(source.high, {}, sizes)

    def spread(source: Source, at: tuple[int, ...]) -> int:
        low, high = ends(source)
        return low + (7 + sum((5 * n + 3) * i for n, i in enumerate(at))) % max(high - low + 1, 1)

    return [lambda s, at: ends(s)[0], lambda s, at: ends(s)[1], spread]


def points(dims: Sequence[Dim], loops: Sequence[Loop], gathered: bool) -> Iterator[Witness]:
    """Legal points, small sizes first: every corner, and every point where they are few."""
    steps = _STEPS if dims else (0,)
    for step in steps:
        sizes = {d.name: min(d.lower + step, d.capacity or d.lower + step) for d in dims}
        extents = [evaluate(item.extent, {}, sizes) for item in loops]
        room = max(extents, default=0)
        while prod(min(n, room) for n in extents) > POINTS and room > 2:
            room -= max(1, room // 4)
        choices = [_values(n, room) for n in extents]
        for read in _readers(sizes) if gathered else _readers(sizes)[:1]:
            for values in islice(product(*choices), POINTS):
                yield Witness(sizes, dict(zip(loops, values, strict=True)), read)


def find(
    dims: Sequence[Dim],
    loops: Sequence[Loop],
    guards: Sequence[Guard],
    ixs: Sequence[Ix],
    broken: Callable[[Witness], bool],
) -> Witness | None:
    """A legal point where all guards hold and ``broken`` says yes; None when none was met.

    ``ixs`` are what ``broken`` evaluates.
    """
    everything = [*ixs, *(g.ix for g in guards)]
    used = {item for ix in everything for item in ix.loops}
    gathered = bool(gathers(everything))
    for point in points(dims, [item for item in loops if item in used], gathered):
        if point.holds(guards) and broken(point):
            return point
    return None


def inside(guards: Sequence[Guard], ix: Ix, size: Ix) -> bool:
    """True when ``ix`` is proved to be in 0 .. size-1 wherever the guards hold."""
    return implied(ix, guards) and implied(size - 1 - ix, guards)


def outside(
    dims: Sequence[Dim], loops: Sequence[Loop], guards: Sequence[Guard], ix: Ix, size: Ix
) -> Witness | None:
    """A legal point where all guards hold and ``ix`` is not in 0 .. size-1; None where it is proved
    to be, or where none was met."""
    if inside(guards, ix, size):
        return None
    return find(dims, loops, guards, (ix, size), lambda w: not 0 <= w.value(ix) < w.value(size))
