"""May the turns of a loop change places? Which elements two turns both touch, by index algebra.

In: the body of a ``For``, its variable, the loops that vary with it. Out: the first ``Clash`` found
between two turns, or None where there is none.

Guarantees: None is a proof, for every size: whenever two turns touch one element of an array, none
of them writes it. A clash of kind ``"adds"`` is between accumulations of one kind (``+=`` with
``+=``): changing the order of turns reorders rounding and nothing else. Storage declared in the
body belongs to its turn and is not looked at.

It is not complete: indices that are gathered, or that mix loops in ways that no axis tells apart,
count as clashes. It knows nothing of parts and schedules; ``verify`` does not use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from codegen.index import Dim, Gather, Ix, Loop, Mod, bounds, loop, nonneg, substitute
from codegen.loops.nest import Call, Declare, For, Stmt, Store
from codegen.loops.walk import gathered, inside, loads
from codegen.program import BufferSource

__all__ = ["Access", "Clash", "accesses", "apart", "clash", "clashes"]

Kind: TypeAlias = Literal["adds", "writes", "reads"]


@dataclass(frozen=True)
class Access:
    """One place where an array is read (``op`` is "") or written; no index: anywhere in it."""

    array: str
    index: tuple[Ix, ...] | None
    op: str


@dataclass(frozen=True)
class Clash:
    """Two turns that touch one element. ``adds``: both accumulate into it in the same way."""

    array: str
    kind: Kind


def accesses(stmts: Iterable[Stmt], marks: Mapping[str, tuple[bool, ...]]) -> Iterator[Access]:
    """What statements touch, storage of their own left out; ``marks``: what kernels write."""
    every = list(inside(stmts))
    own = {s.array.name for s in every if isinstance(s, Declare)}
    for stmt in every:
        for access in _touched(stmt, marks):
            if access.array not in own:
                yield access


def _touched(stmt: Stmt, marks: Mapping[str, tuple[bool, ...]]) -> Iterator[Access]:
    for load in loads(stmt):
        yield Access(load.buffer, load.indices, "")
    for g in gathered(stmt):
        assert isinstance(g.source, BufferSource)
        yield Access(g.source.buffer, g.indices, "")
    if isinstance(stmt, Store):
        yield Access(stmt.target, stmt.index, stmt.op)
    if isinstance(stmt, Call):
        for name, written in zip(stmt.arguments, marks[stmt.kernel], strict=True):
            yield Access(name, None, "=" if written else "")


def clash(
    stmts: Sequence[Stmt],
    item: Loop,
    marks: Mapping[str, tuple[bool, ...]],
    free: Iterable[Loop] = (),
) -> Clash | None:
    """Two turns of ``item`` that touch one element which one of them writes.

    The loops inside ``stmts`` and those in ``free`` take any value in either turn; all others are
    the same. A clash that is no accumulation is preferred.
    """
    found = clashes(stmts, item, marks, free)
    return next((c for c in found if c.kind != "adds"), found[0] if found else None)


def clashes(
    stmts: Sequence[Stmt],
    item: Loop,
    marks: Mapping[str, tuple[bool, ...]],
    free: Iterable[Loop] = (),
) -> list[Clash]:
    """One clash for every array that has any, as ``clash`` finds them."""
    found = list(accesses(stmts, marks))
    varying = [item, *free, *(s.loop for s in inside(stmts) if isinstance(s, For))]
    far = 1 + max(i.position for i in _loops(found, varying))
    other = {i: loop(far + n, i.extent).ix() for n, i in enumerate(dict.fromkeys(varying))}
    changed = {a.array for a in found if a.op}
    worst: dict[str, Clash] = {}
    for write in (a for a in found if a.op):
        for access in (a for a in found if a.array == write.array):
            known = worst.get(write.array)
            if (known and known.kind != "adds") or _told_apart(write, access, item, other, changed):
                continue
            adds = write.op == access.op != "="
            kind: Kind = "adds" if adds else "writes" if access.op else "reads"
            worst[write.array] = Clash(write.array, kind)
    return list(worst.values())


def _loops(found: Iterable[Access], varying: Iterable[Loop]) -> Iterator[Loop]:
    yield from varying
    for access in found:
        for ix in access.index or ():
            yield from ix.loops


def _told_apart(
    a: Access, b: Access, item: Loop, other: Mapping[Loop, Ix], changed: set[str]
) -> bool:
    """Whether access ``a`` of one turn and ``b`` of another never meet."""
    if a.index is None or b.index is None:
        return False
    if any(_reads(ix, changed) for ix in (*a.index, *b.index)):
        return False  # an index that may be another one by then
    second = [substitute(ix, other) for ix in b.index]
    twin = other[item].atom
    assert isinstance(twin, Loop)
    axes = list(zip(a.index, second, strict=True))
    whole = list(axes)
    for k, (rest, other_rest) in enumerate(axes):
        if isinstance(rest.atom, Mod):  # e // n on one axis and e mod n on another are e
            n = rest.atom.n
            whole += [(x * n + rest, y * n + other_rest) for j, (x, y) in enumerate(axes) if j != k]
    return any(apart(x - y, item, twin) for x, y in whole)


def _reads(ix: Ix, arrays: set[str]) -> bool:
    return any(
        isinstance(a, Gather) and isinstance(a.source, BufferSource) and a.source.buffer in arrays
        for a in ix.atoms()
    )


def apart(difference: Ix, item: Loop, twin: Loop) -> bool:
    """Whether ``a*item - a*twin + rest`` is never 0 where ``item`` and ``twin`` differ.

    It is not when |rest| < |a|; nor when what is left of rest after multiples of some g is that
    small, and too small together with a*(item - twin) to reach g: digits of a mixed radix.
    """
    a = difference.coefficient(item)
    if a == 0 or difference.coefficient(twin) != -a:
        return False
    rest = difference - item.ix() * a + twin.ix() * a
    if any(i in (item, twin) for i in rest.loops):
        return False
    a = abs(a)
    if _within(rest, a - 1):
        return True
    size = item.extent - 1
    for g in dict.fromkeys(abs(k) for atom, k in rest.terms if not isinstance(atom, Dim)):
        small = rest
        for atom, k in rest.terms:
            if k % g == 0:
                small = small - atom.ix() * k
        reach = size * a
        low, high = bounds(small)
        if low is None or high is None or not _within(small, a - 1):
            continue
        if nonneg(g - 1 - reach - high) and nonneg(g - 1 - reach + low):
            return True
    return False


def _within(ix: Ix, most: int) -> bool:
    """Whether -most <= ix <= most."""
    low, high = bounds(ix)
    return low is not None and high is not None and nonneg(low + most) and nonneg(most - high)
