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
from functools import lru_cache
from typing import Literal, TypeAlias

from codegen.index import Dim, Gather, Ix, Loop, Mod, bounds, loop, nonneg, substitute
from codegen.loops.nest import Call, Declare, For, Stmt, Store
from codegen.loops.walk import gathered, inside, loads
from codegen.program import BufferSource

__all__ = ["Access", "Clash", "accesses", "apart", "clash", "clashes"]

Index: TypeAlias = tuple[Ix, ...]
Kind: TypeAlias = Literal["adds", "writes", "reads"]

_ROOM = 1 << 16  # statements remembered: they do not change, so nor does what they touch
_known: dict[int, tuple[Store, tuple[Access, ...]]] = {}


@dataclass(frozen=True, slots=True)
class Access:
    """One place where an array is read (``op`` is "") or written; no index: anywhere in it."""

    array: str
    index: Index | None
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
        for access in touched(stmt, marks):
            if access.array not in own:
                yield access


def touched(stmt: Stmt, marks: Mapping[str, tuple[bool, ...]]) -> tuple[Access, ...]:
    """What one statement touches, not those inside it."""
    if isinstance(stmt, Call):
        pairs = zip(stmt.arguments, marks[stmt.kernel], strict=True)
        found = _gathered(stmt)
        return (*found, *(Access(name, None, "=" if written else "") for name, written in pairs))
    if not isinstance(stmt, Store):
        return _gathered(stmt)
    known = _known.get(id(stmt))
    if known is not None and known[0] is stmt:
        return known[1]
    read = [Access(load.buffer, load.indices, "") for load in loads(stmt)]
    made = (*read, *_gathered(stmt), Access(stmt.target, stmt.index, stmt.op))
    if len(_known) >= _ROOM:
        _known.clear()
    _known[id(stmt)] = stmt, made
    return made


def _gathered(stmt: Stmt) -> tuple[Access, ...]:
    found: list[Access] = []
    for g in gathered(stmt):
        assert isinstance(g.source, BufferSource)
        found.append(Access(g.source.buffer, g.indices, ""))
    return tuple(found)


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
    varying = {item, *free, *(s.loop for s in inside(stmts) if isinstance(s, For))}
    changed = {a.array for a in found if a.op}
    touching: dict[str, list[Access]] = {}
    for access in dict.fromkeys(found):
        touching.setdefault(access.array, []).append(access)
    worst: dict[str, Clash] = {}
    for write in (a for a in found if a.op):
        for access in touching[write.array]:
            known = worst.get(write.array)
            if (known and known.kind != "adds") or _told_apart(
                write, access, item, varying, changed
            ):
                continue
            adds = write.op == access.op != "="
            kind: Kind = "adds" if adds else "writes" if access.op else "reads"
            worst[write.array] = Clash(write.array, kind)
    return list(worst.values())


def _told_apart(a: Access, b: Access, item: Loop, varying: set[Loop], changed: set[str]) -> bool:
    """Whether access ``a`` of one turn and ``b`` of another never meet."""
    if a.index is None or b.index is None:
        return False
    if any(ix.gathers and _reads(ix, changed) for ix in (*a.index, *b.index)):
        return False  # an index that may be another one by then
    moving = dict.fromkeys(v for ix in b.index for v in ix.loops if v in varying)
    return _never_meet(a.index, b.index, item, tuple(moving))


@lru_cache(maxsize=1 << 14)
def _never_meet(a: Index, b: Index, item: Loop, varying: tuple[Loop, ...]) -> bool:
    """Whether an index in one turn and another in another turn are never the same; ``varying`` are
    the loops of the second that have any value in it."""
    far = 1 + max(v.position for v in (item, *(v for ix in (*a, *b) for v in ix.loops)))
    other = {v: loop(far + n, v.extent) for n, v in enumerate(dict.fromkeys((item, *varying)))}
    second = [substitute(ix, {v: w.ix() for v, w in other.items()}) for ix in b]
    axes = list(zip(a, second, strict=True))
    whole = list(axes)
    for k, (rest, other_rest) in enumerate(axes):
        if isinstance(rest.atom, Mod):  # e // n on one axis and e mod n on another are e
            n = rest.atom.n
            whole += [(x * n + rest, y * n + other_rest) for j, (x, y) in enumerate(axes) if j != k]
    return any(apart(x - y, item, other[item]) for x, y in whole)


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
