"""Do the turns of a loop leave each other alone? What ``vector`` and ``parallel`` promise.

In: a loop, the scope it stands in, the kernels. Out: nothing, or ``InvalidLoops`` that names the
loop, the array and, where one was found, two turns that meet.

Guarantees: in an accepted loop no turn writes an element that another turn reads or writes; what is
declared inside belongs to its turn. A proof needs a coordinate of the element (an index, or what a
pair ``e//n``, ``e % n`` of indices says) of the form ``k*turn + rest`` in which the rests of two
accesses differ by less than k, or by less than k beside multiples of some g that k times the turns
do not reach: digits of a mixed radix; or that one access always lies before the other. Nothing
follows from what is gathered from an array that the loop itself stores to: that differs from turn
to turn. What is not proved is refused: a race is not found by trying.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

from codegen.index import (
    Guard,
    Ix,
    Loop,
    Mod,
    floordiv,
    guard,
    loop,
    substitute,
    upper,
)
from codegen.loops.nest import Call, Declare, For, Kernel, Part, Stmt, Store, When
from codegen.loops.scope import Scope, narrowed
from codegen.loops.walk import gathered, inside, loads, renamed, substituted
from codegen.program import BufferSource
from codegen.ranges import Witness, find, gathers, implied

__all__ = ["check_race"]

_BEYOND = 1 << 30
Coordinates = dict[tuple[object, ...], Ix]  # what is known of an element, by how it is known


@dataclass(frozen=True)
class _Access:
    """An element that one turn reads or writes; ``inner`` are the loops inside of the turn."""

    array: str
    index: tuple[Ix, ...]
    writes: bool
    guards: tuple[Guard, ...]
    inner: tuple[tuple[Loop, str], ...] = ()
    own: bool = False  # of storage that the turn declares

    def lasting(self, changed: Set[str]) -> _Access:
        """The access without the guards that are gathered from what changes."""
        return replace(self, guards=tuple(g for g in self.guards if not _moves(g.ix, changed)))

    def elsewhere(self, v: Loop) -> _Access:
        """The access of another turn: the loop and those inside of it under other variables."""
        other = {w: _other(w).ix() for w in (v, *(w for w, _ in self.inner))}
        guards = [guard(substitute(g.ix, other), g.kind) for g in self.guards]
        return replace(
            self,
            index=tuple(substitute(ix, other) for ix in self.index),
            guards=tuple(g for g in guards if isinstance(g, Guard)),
            inner=tuple((_other(w), name) for w, name in self.inner),
        )


def _other(v: Loop) -> Loop:
    """The variable of another turn, like ``v``, at a position that no nest has."""
    return loop(_BEYOND + v.position, v.extent)


def check_race(stmt: For, scope: Scope, kernels: Mapping[str, Kernel]) -> None:
    """Accept a vector or parallel loop, or raise InvalidLoops."""
    within = scope.inside(stmt)
    if within.dead or upper(stmt.loop.extent) in (0, 1):
        return
    every = list(_accesses(stmt.body, kernels, frozenset(), (), within.guards))
    changed = {a.array for a in every if a.writes}
    found = list(dict.fromkeys(a.lasting(changed) for a in every if not a.own))
    for a, b in combinations_with_replacement(found, 2):
        if a.array == b.array and (a.writes or b.writes) and not _apart(a, b, stmt.loop, changed):
            raise _met(a if a.writes else b, b if a.writes else a, stmt, within)


# --- what a turn touches --------------------------------------------------------------------------


def _accesses(
    stmts: Sequence[Stmt],
    kernels: Mapping[str, Kernel],
    own: frozenset[str],
    inner: tuple[tuple[Loop, str], ...],
    guards: tuple[Guard, ...],
) -> Iterator[_Access]:
    """Every access in statements; ``own`` is storage of theirs."""
    for stmt in stmts:
        if isinstance(stmt, Declare):
            own |= {stmt.array.name}
        for a in _here(stmt, inner, guards):
            yield replace(a, own=a.array in own)
        match stmt:
            case Part():
                yield from _accesses(stmt.body, kernels, own, inner, guards)
            case When():
                known = (*guards, *stmt.guards)
                yield from _accesses(stmt.body, kernels, own, inner, known)
            case For():
                bounds = (g for g in narrowed(stmt) if isinstance(g, Guard))
                loops = (*inner, (stmt.loop, stmt.name))
                yield from _accesses(stmt.body, kernels, own, loops, (*guards, *bounds))
            case Call():
                kernel = kernels[stmt.kernel]
                names = dict(zip((b.name for b in kernel.arrays), stmt.arguments, strict=True))
                local = [b.name for b in kernel.scratch]
                local += [s.array.name for s in inside(kernel.body) if isinstance(s, Declare)]
                hidden = {name: f"{name} of {kernel.name}" for name in local}
                body = renamed(kernel.body, {**names, **hidden})
                body = substituted(body, dict(zip(kernel.integers, stmt.integers, strict=True)))
                yield from _accesses(body, kernels, own | {*hidden.values()}, inner, guards)
            case _:
                pass


def _here(
    stmt: Stmt, inner: tuple[tuple[Loop, str], ...], guards: tuple[Guard, ...]
) -> Iterator[_Access]:
    """The accesses of one statement itself."""
    for g in gathered(stmt):
        assert isinstance(g.source, BufferSource)
        yield _Access(g.source.buffer, g.indices, False, guards, inner)
    for load in loads(stmt):
        yield _Access(load.buffer, load.indices, False, (*guards, *load.guards), inner)
    if isinstance(stmt, Store):
        yield _Access(stmt.target, stmt.index, True, guards, inner)


# --- proofs ---------------------------------------------------------------------------------------


def _moves(ix: Ix, changed: Set[str]) -> bool:
    """Whether a position is gathered from what changes."""
    return any(getattr(g.source, "buffer", "") in changed for g in gathers([ix]))


def _apart(a: _Access, b: _Access, v: Loop, changed: Set[str]) -> bool:
    """Whether no two different turns meet: a of one, b of the other."""
    b = b.elsewhere(v)
    guards = (*a.guards, *b.guards)
    theirs = _coordinates(b.index, changed)
    return any(
        how in theirs
        and (_strided(ours, theirs[how], v, guards) or _ordered(ours, theirs[how], guards))
        for how, ours in _coordinates(a.index, changed).items()
    )


def _strided(a: Ix, b: Ix, v: Loop, guards: Sequence[Guard]) -> bool:
    """Whether a = k*v + r and b = k*w + s (w: v of the other turn) with |r - s| < |k|; or with
    r - s = m*g + t where |t| < |k| and |k*(v - w) + t| < g, which is no multiple of g."""
    w = _other(v)
    k = a.coefficient(v)
    if k == 0 or b.coefficient(w) != k:
        return False
    apart = (a - v.ix() * k) - (b - w.ix() * k)
    if v in apart.loops or w in apart.loops:
        return False
    k = abs(k)
    if _within(apart, k - 1, guards):
        return True
    reach = (v.extent - 1) * k
    for g in dict.fromkeys(abs(m) for _, m in apart.terms if abs(m) > k):
        small = apart
        for atom, m in apart.terms:
            if m % g == 0:
                small = small - atom.ix() * m
        if _within(small, k - 1, guards) and _within(small, g - 1 - reach, guards):
            return True
    return False


def _within(ix: Ix, most: Ix | int, guards: Sequence[Guard]) -> bool:
    """Whether -most <= ix <= most is proved."""
    return implied(most - ix, guards) and implied(most + ix, guards)


def _ordered(a: Ix, b: Ix, guards: Sequence[Guard]) -> bool:
    """Whether one position is always before the other, as in halves that are added."""
    return implied(a - b - 1, guards) or implied(b - a - 1, guards)


def _coordinates(index: Sequence[Ix], changed: Set[str]) -> Coordinates:
    """The indices that do not change, and what pairs of them say together: e//n and e % n say e."""
    known: Coordinates = {(axis,): ix for axis, ix in enumerate(index) if not _moves(ix, changed)}
    todo = True
    while todo:
        new: Coordinates = {}
        for how, ix in known.items():
            for other, rest in known.items():
                joined = _joined(ix, rest)
                if joined is not None and ("of", how, other) not in known:
                    new["of", how, other] = joined
        known |= new
        todo = bool(new)
    return known


def _joined(whole: Ix, rest: Ix) -> Ix | None:
    """a*n + e // m where whole is a + e // (m*n) and rest is (e // m) % n; None where they are
    not."""
    low = rest.atom
    if not isinstance(low, Mod):
        return None
    top = floordiv(low.of, low.n)
    held = top.terms and all(whole.coefficient(atom) == k for atom, k in top.terms)
    return (whole - top) * low.n + low.of if held else None


# --- two turns that meet --------------------------------------------------------------------------


def _met(a: _Access, b: _Access, stmt: For, scope: Scope) -> Exception:
    """The error for a write and what meets it: with an example where one is found."""
    v = stmt.loop
    other = b.elsewhere(v)
    moved = [(_other(v), stmt.name), *other.inner]
    names = {**scope.names, **dict(a.inner), **{w: f"{name}'" for w, name in moved}}
    scope = replace(scope, names=names)
    text = (
        f"the turns of the {stmt.kind} loop {stmt.name} are not independent: "
        f"one writes {scope.element(a.array, a.index)}, another "
        f"{'writes' if b.writes else 'reads'} {scope.element(b.array, other.index)}"
    )
    loops = [*scope.loops, *(w for w, _ in a.inner), _other(v), *(w for w, _ in other.inner)]
    pairs = list(zip(a.index, other.index, strict=True))

    def meet(w: Witness) -> bool:
        apart = w.loops[v] != w.loops[_other(v)]
        return apart and all(w.value(x) == w.value(y) for x, y in pairs)

    ixs = [*a.index, *other.index, v.ix(), _other(v).ix()]
    found = find(scope.dims, loops, (*a.guards, *other.guards), ixs, meet)
    if found is None:
        return scope.fail(f"{text}, and it is not proved that these differ")
    return scope.fail(f"{text}, the same element{scope.example(found)}")
