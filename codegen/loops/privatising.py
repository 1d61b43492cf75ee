"""Privatise: a sum in several parts, each with storage of its own, added up in a fixed tree.

In: a ``Loops`` and ``Privatise``. Out: a ``Loops`` of equal value up to the rounding of sums.

    for k<n: acc += f(k)   ->   for k_part<P: parts[k_part] = 0
                                for k_turn: for k_part<P: parts[k_part] += f(P*k_turn + k_part)
                                parts[0] += parts[2]; parts[1] += parts[3]; parts[0] += parts[1]
                                acc += parts[0]

Pairs that are added at once run in lanes where a copy is one number.
Every P-th turn goes to one part, so parts side by side read what lies side by side; blocks of turns
are what ``Split`` makes first. ``k_part`` can run in lanes as it stands, and in parallel when
``Reorder`` has put it outside of ``k_turn``. What is added into may be a register or a whole array.

Guarantees: the parts, and the order in which they are added, depend on the sizes and on ``parts``
alone, never on how many run at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codegen.index import Guard, Ix, Loop, bounds, constant, floordiv, guard, mod, nonneg
from codegen.loops.assignment import REDUCTION, identity
from codegen.loops.directives import Privatise, ScheduleError
from codegen.loops.finding import Fresh, ancestors, arrays_at, only, part, replaced, writes
from codegen.loops.moving import housed, moved, scratch
from codegen.loops.nest import Declare, For, Kind, Loops, Part, Stmt, Store, StoreOp, When
from codegen.loops.tiling import described
from codegen.loops.turns import clashes
from codegen.loops.walk import inside, substituted
from codegen.program import Buffer, Load

__all__ = ["privatise"]


@dataclass(frozen=True)
class _Sum:
    """An array that all turns add into, its copies, and the axes that the copies have."""

    array: Buffer
    op: StoreOp
    copies: Buffer
    index: tuple[Ix, ...]  # the place in the array, where an axis is not copied
    axes: tuple[int, ...]
    reach: tuple[
        tuple[Ix, Ix], ...
    ]  # of each copied axis: the first element added to, and how many
    held: tuple[
        Guard, ...
    ]  # what holds where an element is added to; elsewhere it may hold nothing


def privatise(loops: Loops, d: Privatise) -> Loops:
    """The sum over a loop in parts; see ``Privatise``."""
    place = part(loops, d.part)
    f = only(place.part, d.loop)
    if d.parts < 2:
        raise ScheduleError(f'part "{d.part}" needs two partial sums or more, not {d.parts}')
    if f.kind != "serial":
        raise ScheduleError(f'loop "{d.loop}" of part "{d.part}" is {f.kind} already')
    found = clashes(f.body, f.loop, writes(loops))
    if not found:
        raise ScheduleError(
            f'the turns of loop "{d.loop}" of part "{d.part}" add into no common storage: there is '
            f"nothing to privatise"
        )
    for c in found:
        if c.kind != "adds":
            raise ScheduleError(described(c, d.part, f, "Privatise"))
    fresh = Fresh(loops)
    known = arrays_at(loops, place)
    sums = [_sum(f, known[c.array], d, fresh) for c in found]
    around = (*place.around, *ancestors(place.part, f))
    kept = [s.copies for s in sums if not housed(s.copies, around, d.part)]
    stmts: list[Stmt] = [Declare(s.copies) for s in sums if s.copies not in kept]
    for s in sums:
        stmts += _cleared(s, d, fresh)
    stmts.append(_turns(f, sums, d, fresh))
    for s in sums:
        stmts += _combined(s, d, fresh)
    return replaced(loops, place, f, stmts, kept)


def _sum(f: For, array: Buffer, d: Privatise, fresh: Fresh) -> _Sum:
    """What one array needs: copies of the axes that vary within the loop."""
    stores = [s for s in inside(f.body) if isinstance(s, Store) and s.target == array.name]
    (op,) = {s.op: None for s in stores}
    varying = {f.loop, *(s.loop for s in inside(f.body) if isinstance(s, For))}
    first = stores[0].index
    axes = tuple(
        n
        for n, ix in enumerate(first)
        if varying & set(ix.loops) or any(s.index[n] is not ix for s in stores)
    )
    dims = (constant(d.parts), *(array.dims[n] for n in axes))
    names = (f"{d.loop}_part", *(array.axes[n] for n in axes))
    copies = scratch(fresh.name(f"{array.name}_parts"), dims, array, names)
    reach = tuple(_reach([s.index[n] for s in stores], array.dims[n]) for n in axes)
    held = {_held(f, s, axes, varying, d) for s in stores}
    if len(held) > 1:
        raise _unasked(array.name, d)
    return _Sum(array, op, copies, first, axes, reach, *held)


def _held(
    f: For, s: Store, axes: tuple[int, ...], varying: set[Loop], d: Privatise
) -> tuple[Guard, ...]:
    """The guards around a store that say which elements are added to, not which turns add."""
    asked = [g for around in ancestors(f, s) for g in _asked(around)]
    places = {loop for n in axes for loop in s.index[n].loops}
    plain = {s.index[n].atom for n in axes}
    found: dict[Guard, None] = {}
    for g in asked:
        own = varying & set(g.ix.loops)
        if not own <= places:
            continue
        if not own <= plain:
            raise _unasked(s.target, d)
        found[g] = None
    return tuple(found)


def _asked(stmt: Part | For | When) -> tuple[Guard, ...]:
    """What holds inside a statement."""
    if isinstance(stmt, When):
        return stmt.guards
    if not isinstance(stmt, For):
        return ()
    ends = [stmt.loop.ix() - low for low in stmt.low]
    ends += [high - 1 - stmt.loop.ix() for high in stmt.high]
    return tuple(g for g in (guard(ix, ">=") for ix in ends) if isinstance(g, Guard))


def _unasked(name: str, d: Privatise) -> ScheduleError:
    return ScheduleError(
        f'"{name}" of part "{d.part}" is added to at some elements only, and which they are cannot '
        f"be asked of its copies: Privatise first, then cut its loops"
    )


def _reach(indices: Sequence[Ix], size: Ix) -> tuple[Ix, Ix]:
    """The elements of an axis that indices may lie at: from which on, and how many. What is never
    added to may not be stored yet, and is left alone."""
    ends = {bounds(ix) for ix in indices}
    if len(ends) == 1:
        ((low, high),) = ends
        if low is not None and high is not None and nonneg(low) and nonneg(size - 1 - high):
            return low, high - low + 1
    return constant(0), size


def _over(s: _Sum, fresh: Fresh) -> tuple[list[Loop], tuple[Ix, ...], tuple[Ix, ...]]:
    """Loops over one copy; the place in the copy, and in the array."""
    variables = [fresh.loop(many) for _, many in s.reach]
    at = tuple(first + v.ix() for (first, _), v in zip(s.reach, variables, strict=True))
    whole = list(s.index)
    for n, ix in zip(s.axes, at, strict=True):
        whole[n] = ix
    return variables, at, tuple(whole)


def _nest(s: _Sum, variables: Sequence[Loop], body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """``body`` in loops over one copy."""
    for v, n in reversed(list(zip(variables, s.axes, strict=True))):
        body = (For(v, s.array.axes[n] or f"i{n}", body),)
    return body


def _cleared(s: _Sum, d: Privatise, fresh: Fresh) -> tuple[Stmt, ...]:
    """Every copy at what a sum starts from."""
    variables, at, _ = _over(s, fresh)
    p = fresh.loop(d.parts)
    start = identity(REDUCTION[s.op], s.array.dtype, s.array)
    body = _nest(s, variables, (Store(s.copies.name, (p.ix(), *at), "=", start),))
    return (For(p, f"{d.loop}_part", body),)


def _turns(f: For, sums: Sequence[_Sum], d: Privatise, fresh: Fresh) -> Stmt:
    """Every P-th turn into the same part."""
    n = f.loop.extent
    turn = fresh.loop(floordiv(n + (d.parts - 1), d.parts))
    p = fresh.loop(d.parts)
    first = turn.ix() * d.parts if turn.extent.value != 1 else constant(0)
    body = f.body
    for s in sums:
        body = moved(body, s.array.name, s.copies.name, _to(p, s.axes))
    body = substituted(body, {f.loop: first + p.ix()})
    high = tuple(h - first for h in f.high)
    if mod(n, d.parts).value != 0:
        high = (*high, n - first)
    inner = For(p, f"{d.loop}_part", body, low=tuple(x - first for x in f.low), high=high)
    return inner if turn.extent.value == 1 else For(turn, f"{d.loop}_turn", (inner,))


def _to(p: Loop, axes: tuple[int, ...]) -> Callable[[tuple[Ix, ...]], tuple[Ix, ...]]:
    """The element of a copy, from the index in the array."""
    return lambda index: (p.ix(), *(index[n] for n in axes))


def _combined(s: _Sum, d: Privatise, fresh: Fresh) -> tuple[Stmt, ...]:
    """The copies added pairwise, halves onto halves, and what comes out added to the array."""
    variables, at, whole = _over(s, fresh)
    stmts: list[Stmt] = []
    kind: Kind = "unroll" if s.axes else "vector"
    left = d.parts
    while left > 1:
        half = (left + 1) // 2
        pair = fresh.loop(left - half)
        ix = pair.ix() if left - half > 1 else constant(0)
        other = Load(s.copies.name, (ix + half, *at))
        add = Store(s.copies.name, (ix, *at), s.op, other)
        stmts.append(For(pair, f"{d.loop}_pair", (add,), kind) if left - half > 1 else add)
        left = half
    last: Stmt = Store(s.array.name, whole, s.op, Load(s.copies.name, (constant(0), *at)))
    if s.held:
        last = When(s.held, (last,))
    places = zip((s.index[n].atom for n in s.axes), at, strict=True)
    stmts += substituted((last,), {loop: ix for loop, ix in places if isinstance(loop, Loop)})
    return _nest(s, variables, tuple(stmts))
