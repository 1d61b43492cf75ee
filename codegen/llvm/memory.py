"""Where scratch lies: one arena, storage shared by values that are not alive at the same time.

In: a ``Loops`` (scheduled or not). Out: a ``Plan``: for every scratch array of the program and of
its kernels a region and an offset in it (``codegen.llvm.arena``).

    lives     from the first statement that mentions an array to the last one; statements are
              those of the body, parts opened; a loop is one statement. What is handed out lives to
              the end. Kernels do not call themselves, so their scratch has one place each: alive
              where the kernel is called, and within the kernel by the same rule
    in place  an array takes over the storage of another one that ends in the statement it begins
              in, where that is a nest in which each turn reads its own element of the one before it
              stores its own element of the other
    regions   arrays that grow alike lie together: one region for those of constant size, one for
              those that grow with ``batch``, one for ``batch * time``, ... A region is scaled as a
              whole, so places are found once, and hold for all sizes
    places    the largest first, each as low as it goes beside those that live when it does

Guarantees: two arrays share a byte only if one ends before the other begins, or by ``in place``;
offsets are multiples of ``ALIGNMENT``; deterministic. The arena is affine in a dimension that
sizes are affine in (from 1 on). Offsets made for some sizes serve all smaller ones as well.

It covers the scratch of ``codegen.llvm.layout``, large locals included. Arguments and constants
have storage of their own; small locals are on the stack or in registers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.aligned import ALIGNMENT
from codegen.dtypes import WIDTH
from codegen.index import Dim, Floor, Ix, Loop
from codegen.llvm.arena import Monomial, Name, Plan, Region, Slot
from codegen.llvm.layout import layout, local_bytes
from codegen.llvm.shelf import Life, Shelf
from codegen.loops.known import arrays_in
from codegen.loops.nest import Call, For, Loops, Part, Stmt, Store, When
from codegen.loops.walk import gathered, inside, loads
from codegen.polynomial import Poly, product
from codegen.program import Buffer
from codegen.ranges import injective

__all__ = ["plan"]


@dataclass
class _Value:
    """Storage of one array, or of some that take it over one after the other."""

    size: int
    lives: tuple[Life, ...]
    offset: int = 0


def plan(loops: Loops, in_place: bool = True) -> Plan:
    """Places for all scratch."""
    lives = _Lives(loops)
    arrays = lives.arrays()
    used = {name: lives.of(name).last >= 0 for name in arrays}
    size = {name: _size(b) if used[name] else ((), 0) for name, b in arrays.items()}
    over = _taken_over(loops, lives, arrays) if in_place else {}
    heirs = {old: new for new, old in over.items()}
    values: dict[Monomial, list[_Value]] = {}
    of: dict[Name, _Value] = {}
    for name in arrays:
        if name in over:
            continue
        chain = [name]
        while chain[-1] in heirs:
            chain.append(heirs[chain[-1]])
        value = _Value(max(size[n][1] for n in chain), tuple(map(lives.of, chain)))
        values.setdefault(size[name][0], []).append(value)
        of.update(dict.fromkeys(chain, value))
    scales = sorted(values, key=lambda scale: (len(scale), scale))
    regions = tuple(Region(scale, _placed(values[scale])) for scale in scales)
    slots: list[Slot] = []
    for name in arrays:
        life, before = lives.of(name), over.get(name, ("", ""))[1]
        scale, unit = size[name]
        region = scales.index(scale)
        slots.append(Slot(*name, region, of[name].offset, unit, life.first, life.last, before))
    return Plan(regions, tuple(slots))


def _size(array: Buffer) -> tuple[Monomial, int]:
    """What an array grows with, and its bytes for each point of that, rounded up."""
    bits = 8 if array.dtype == "bool" else WIDTH[array.dtype]
    total: Poly = {(): bits // 8}
    for d in array.dims:
        total = product(total, _most(d))
    names = sorted({name for key in total for name in key})
    degrees = {name: max(key.count(name) for key in total) for name in names}
    scale = tuple(name for name in names for _ in range(degrees[name]))
    return scale, _rounded(sum(total.values()))


def _most(ix: Ix) -> Poly:
    """An extent is at most this, where no dimension is 0."""
    found: Poly = {(): ix.const} if ix.const > 0 else {}
    for atom, k in ix.terms:
        if k < 0:
            continue
        assert isinstance(atom, Dim | Floor), "an extent is made of dimensions"
        part: Poly = {(atom.name,): 1} if isinstance(atom, Dim) else _most(atom.of)
        for key, n in part.items():
            found[key] = found.get(key, 0) + k * n
    return found


def _rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _placed(values: Sequence[_Value]) -> int:
    """Gives each value the lowest place beside those that live when it does; where all end."""
    shelf = Shelf()
    for v in sorted(values, key=lambda v: -v.size):
        v.offset = shelf.put(v.size, v.lives)
    return max((v.offset + v.size for v in values), default=0)


# --- lives ----------------------------------------------------------------------------------------


def _opened(stmts: Iterable[Stmt]) -> Iterator[Stmt]:
    """Statements in order, those of parts in the place of the parts."""
    for s in stmts:
        if isinstance(s, Part):
            yield from _opened(s.body)
        else:
            yield s


class _Lives:
    """The statements at which each array of the program and of its kernels is alive."""

    def __init__(self, loops: Loops) -> None:
        self.loops = loops
        self.bodies: dict[str, tuple[Stmt, ...]] = {}
        self.calls: dict[str, list[frozenset[str]]] = {}  # what each statement comes to call
        self.between: dict[tuple[str, int, int], frozenset[str]] = {}  # all that some of them call
        self.known: dict[Name, Life] = {}
        for name, stmts in (*((k.name, k.body) for k in loops.kernels), ("", loops.body)):
            self.bodies[name] = tuple(_opened(stmts))
            self.calls[name] = [self._called(s) for s in self.bodies[name]]
            used: dict[str, list[int]] = {}
            for n, s in enumerate(self.bodies[name]):
                for array in arrays_in(s):
                    used.setdefault(array, []).append(n)
            for array, at in used.items():
                self.known[name, array] = self._life(name, array, at)

    def arrays(self) -> dict[Name, Buffer]:
        """All scratch; of locals of one name in one body, the largest."""
        found: dict[Name, Buffer] = {}
        for body, b in layout(self.loops).arrays:
            known = found.get((body, b.name))
            if b.role != "scratch":
                continue
            if known is None or local_bytes(b) > local_bytes(known):
                found[body, b.name] = b
        return found

    def of(self, name: Name) -> Life:
        return self.known.get(name, Life(name[0], 0, -1, frozenset()))

    def _life(self, body: str, array: str, at: Sequence[int]) -> Life:
        given = body == "" and array in self.loops.outputs
        first, last = at[0], len(self.bodies[body]) - 1 if given else at[-1]
        if (body, first, last) not in self.between:
            calls = self.calls[body][first : last + 1]
            self.between[body, first, last] = frozenset[str]().union(*calls)
        return Life(body, first, last, self.between[body, first, last])

    def _called(self, stmt: Stmt) -> frozenset[str]:
        """The kernels that a statement calls, and those that these call: they stand before it."""
        direct = [s.kernel for s in inside((stmt,)) if isinstance(s, Call)]
        return frozenset(direct).union(*(c for k in direct for c in self.calls[k]))


# --- in place -------------------------------------------------------------------------------------


def _taken_over(loops: Loops, lives: _Lives, arrays: Mapping[Name, Buffer]) -> dict[Name, Name]:
    """The arrays that take over storage, and whose."""
    first: dict[tuple[str, int], list[Name]] = {}
    for name in arrays:
        first.setdefault((name[0], lives.of(name).first), []).append(name)
    found: dict[Name, Name] = {}
    for old, array in arrays.items():
        body, last = old[0], lives.of(old).last
        if lives.of(old).first >= last or (body == "" and old[1] in loops.outputs):
            continue
        for new in first.get((body, last), ()):
            other = arrays[new]
            same = (other.dtype, other.dims) == (array.dtype, array.dims) and bool(array.dims)
            if new in found or not same:
                continue
            if _each_its_own(lives.bodies[body][last], old[1], new[1]):
                found[new] = old
                break
    return found


@dataclass(frozen=True)
class _Use:
    """One access: where, in the order of a turn, and in which loops."""

    array: str
    index: tuple[Ix, ...]
    stores: bool
    order: int
    loops: tuple[Loop, ...]


def _each_its_own(stmt: Stmt, old: str, new: str) -> bool:
    """Whether every turn of a nest is done with its element of ``old``, and reads no other, before
    it stores its element of ``new``."""
    uses = _uses(stmt, (old, new))
    if uses is None:
        return False
    index, around = uses[0].index, uses[0].loops
    if any(u.index != index or u.loops != around for u in uses):
        return False
    if not injective(index, (), around):
        return False
    begins = min(u.order for u in uses if u.array == new)
    ends = max((u.order for u in uses if u.array == old), default=-1)
    return ends <= begins and any(u.stores and u.order == begins for u in uses if u.array == new)


def _uses(stmt: Stmt, names: tuple[str, str]) -> list[_Use] | None:
    """All accesses in a nest; None where an array is handed on or gathered from."""
    found: list[_Use] = []
    order = 0

    def go(s: Stmt, around: tuple[Loop, ...]) -> bool:
        nonlocal order
        order += 1
        for g in gathered(s):
            if getattr(g.source, "buffer", "") in names:
                return False
        if isinstance(s, Call):
            return not set(names) & set(s.arguments)
        if isinstance(s, Store):
            read = [load for load in loads(s) if load.buffer in names]
            found.extend(_Use(x.buffer, x.indices, False, order, around) for x in read)
            if s.target in names:
                found.append(_Use(s.target, s.index, True, order, around))
        inner = (*around, s.loop) if isinstance(s, For) else around
        return all(go(t, inner) for t in s.body) if isinstance(s, Part | For | When) else True

    return found if go(stmt, ()) and found else None
