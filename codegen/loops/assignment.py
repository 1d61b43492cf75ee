"""One indexed assignment as a nest of plain loops.

In: an ``Assign``, where its buffers lie, and a ``Room`` that gives names and loop variables. Out:
statements of ``codegen.loops.nest``; the forms stand in the docstring of ``from_program``.

Guarantees: equal value in the program's order of sums (from the end for a cumulative sum from the
end). Loops of the target are outermost, in the order of its axes. A guard stands outside of every
loop that it does not need; one on a reduced loop narrows it where it can be solved for the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from codegen.classify import Prefix, Scatter, classify, output_loops, simple_target
from codegen.dtypes import WIDTH, is_float, is_unsigned
from codegen.index import Guard, Ix, Loop, constant, floordiv, guard
from codegen.loops.nest import Declare, For, Stmt, Store, StoreOp, When
from codegen.loops.place import Mover, Place, Places
from codegen.loops.walk import inside, mapped, substituted
from codegen.names import Names
from codegen.program import Assign, Buffer, Dtype, IndexValue, Load, Number, ReduceOp, Scalar
from codegen.ranges import gathers, implied

__all__ = ["REDUCTION", "Room", "assignment", "copied", "identity", "nested"]

Named = tuple[Loop, str]
_ADD: dict[ReduceOp, StoreOp] = {"=": "=", "sum": "+=", "max": "max=", "min": "min="}
REDUCTION: dict[StoreOp, ReduceOp] = {how: op for op, how in _ADD.items()}


@dataclass(frozen=True)
class Room:
    """What a nest takes from its surroundings."""

    loop: Callable[[Ix], Loop]  # a fresh loop variable of an extent
    name: Callable[[str], str]  # a fresh name of a local or an array
    array: Callable[[Buffer], None]  # makes scratch known
    around: tuple[str, ...]  # names of the loops around


def assignment(step: Assign, target: Buffer, places: Places, room: Room) -> tuple[Stmt, ...]:
    """The nest of a step; ``target`` is its buffer in the program."""
    reading = classify(step)
    if isinstance(reading, Prefix):
        return _unlooped(_Builder(step, target, places, room).prefix(reading))
    scattered = isinstance(reading, Scatter) or (
        step.op == "=" and len(output_loops(step)) < len(step.loops)
    )
    builder = _Builder(step, target, places, room)
    return _unlooped(builder.scatter() if scattered else builder.gather())


def copied(to: Place, source: Place, like: Buffer, room: Room) -> tuple[Stmt, ...]:
    """``to[...] = source[...]`` over the shape of ``like``."""
    loops = _axes(like, room)
    at = tuple(v.ix() for v, _ in loops)
    value = Load(source.array, (*source.prefix, *at))
    return _unlooped(nested((), loops, (), (Store(to.array, (*to.prefix, *at), "=", value),)))


def _unlooped(stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """The statements without the loops of a single turn."""
    single = {
        s.loop: constant(0)
        for s in inside(stmts)
        if isinstance(s, For) and s.loop.extent.value == 1 and not (s.low or s.high)
    }
    if not single:
        return stmts
    return mapped(
        substituted(stmts, single),
        lambda s: s.body if isinstance(s, For) and s.loop in single else (s,),
    )


def _axes(buffer: Buffer, room: Room) -> list[Named]:
    """Fresh loops over the shape of a buffer, named after its axes, or by letters."""
    names, letters = Names((*room.around, *filter(None, buffer.axes))), iter("ijklmnpq")
    taken, found = list(room.around), []
    for size, axis in zip(buffer.dims, buffer.axes, strict=True):
        word = axis if axis and axis not in taken else names(axis or next(letters, "i"))
        taken.append(word)
        found.append((room.loop(size), word))
    return found


# --- loops and guards -----------------------------------------------------------------------------


def nested(
    bound: Sequence[Loop],
    loops: Sequence[Named],
    guards: Sequence[Guard],
    body: tuple[Stmt, ...],
    narrow: bool = False,
) -> tuple[Stmt, ...]:
    """``body`` in ``loops``, each guard as soon as the loops it needs are bound; one that gathers
    waits for those that may keep what it gathers in range.

    With ``narrow`` a guard bounds the innermost loop it needs where it can be solved for it.
    """
    here = [g for g in guards if set(g.ix.loops) <= set(bound) and not _waits(g, bound, guards)]
    if here:
        later = [g for g in guards if g not in here]
        return (When(tuple(here), nested(bound, loops, later, body, narrow)),)
    if not loops:
        return body
    (v, name), *rest = loops
    inside = (*bound, v)
    low: list[Ix] = []
    high: list[Ix] = []
    kept: list[Guard] = []
    for g in guards:
        free = narrow and set(g.ix.loops) <= set(inside) and not _waits(g, bound, guards)
        ends = _solved(g, v) if free else None
        if ends is None:
            kept.append(g)
        else:
            low += [e for e in ends[:1] if e is not None]
            high += [e for e in ends[1:] if e is not None]
    return (
        For(v, name, nested(inside, rest, kept, body, narrow), low=tuple(low), high=tuple(high)),
    )


def _waits(g: Guard, bound: Sequence[Loop], guards: Sequence[Guard]) -> bool:
    """Whether a guard gathers at a place of which a guard speaks that needs loops yet to come."""
    places = {v for found in gathers([g.ix]) for ix in found.indices for v in ix.loops}
    return any(
        places & set(h.ix.loops) and not set(h.ix.loops) <= set(bound) and not gathers([h.ix])
        for h in guards
    )


def _solved(g: Guard, v: Loop) -> tuple[Ix | None, Ix | None] | None:
    """low <= v < high where the guard holds; None where it cannot be said so."""
    k = g.ix.coefficient(v)
    rest = g.ix - v.ix() * k
    if k == 0 or v in rest.loops:
        return None
    if g.kind == "==":
        return (rest * -k, rest * -k + 1) if abs(k) == 1 else None
    if k > 0:  # k*v + rest >= 0
        return -floordiv(rest, k), None
    return None, floordiv(rest, -k) + 1


# --- one step -------------------------------------------------------------------------------------


def identity(op: ReduceOp, dtype: Dtype, like: Buffer | None = None) -> Scalar:
    """What a reduction of nothing is; of an array of bounded integers, within the bounds."""
    end = None if like is None else like.low if op == "max" else like.high
    if op in ("max", "min") and end is not None:
        return IndexValue(end) if end.value is None else Number(Fraction(end.value))
    if op in ("=", "sum"):
        return Number(Fraction(0))
    if is_float(dtype):
        return Number("-inf" if op == "max" else "inf")
    if dtype == "bool":
        return Number(Fraction(op == "min"))
    low = 0 if is_unsigned(dtype) else -(1 << (WIDTH[dtype] - 1))
    return Number(Fraction(low if op == "max" else low + (1 << WIDTH[dtype]) - 1))


class _Builder:
    """The nest of one step."""

    def __init__(self, step: Assign, target: Buffer, places: Places, room: Room) -> None:
        self.step, self.target, self.room = step, target, room
        self.place = places[step.target]
        names = Names(room.around)
        self.named = {
            v: (room.loop(v.extent), names(n)) for v, n in zip(step.loops, step.names, strict=True)
        }
        self.places = places
        self.move = Mover(places, {v: w.ix() for v, (w, _) in self.named.items()})
        self.dtype = step.accumulator if step.op == "sum" else target.dtype
        self.identity = identity(step.op, self.dtype, target)

    def at(self, move: Mover) -> tuple[Ix, ...]:
        return (*self.place.prefix, *map(move.ix, self.step.index))

    def whole(self) -> bool:
        """Whether the loops reach every element of the target."""
        dims = self.target.dims
        return simple_target(self.step) and all(
            ix.loops[0].extent is d for ix, d in zip(self.step.index, dims, strict=True)
        )

    def cleared(self, place: Place) -> tuple[Stmt, ...]:
        loops = _axes(self.target, self.room)
        at = (*place.prefix, *(v.ix() for v, _ in loops))
        return nested((), loops, (), (Store(place.array, at, "=", self.identity),))

    def register(self, role: str) -> Buffer:
        """A scalar of its own."""
        name = self.room.name(f"{role}_{self.place.array}")
        own = Buffer(name, (), (), self.dtype, "scratch", section=self.target.section)
        if self.step.op == "sum":
            return own
        return replace(own, low=self.target.low, high=self.target.high)

    def gather(self) -> tuple[Stmt, ...]:
        """Each element once: its loops outside, what is reduced inside."""
        step, move = self.step, self.move
        guards, value = move.guards(step.guards), move.scalar(step.body)
        out = [self.named[v] for v in output_loops(step)]
        rest = [self.named[v] for v in step.loops if self.named[v] not in out]
        clear = () if self.whole() else self.cleared(self.place)
        outer = self.reached(guards, {v for v, _ in out}) if clear else ()
        if outer is None:
            return clear
        guards = tuple(g for g in guards if g not in outer)
        if step.op == "=" and not guards:
            body: tuple[Stmt, ...] = (Store(self.place.array, self.at(move), "=", value),)
        else:
            own = self.register("value" if step.op == "=" else "acc")
            add = Store(own.name, (), _ADD[step.op], value)
            body = (
                Declare(own),
                Store(own.name, (), "=", self.identity),
                *nested([v for v, _ in out], rest, guards, (add,), narrow=True),
                Store(self.place.array, self.at(move), "=", Load(own.name)),
            )
        return (*clear, *nested((), out, outer, body))

    def reached(self, guards: Sequence[Guard], out: set[Loop]) -> tuple[Guard, ...] | None:
        """Where the output loops are at an element of the target: what the guards say of them
        alone, and that the index is in range where that does not follow; None: nowhere."""
        found = [g for g in guards if set(g.ix.loops) <= out]
        for ix, size in zip(map(self.move.ix, self.step.index), self.target.dims, strict=True):
            for end in (ix, size - 1 - ix):
                more = True if implied(end, found) else guard(end, ">=")
                if more is False:
                    return None
                if isinstance(more, Guard):
                    found.append(more)
        return tuple(found)

    def prefix(self, reading: Prefix) -> tuple[Stmt, ...]:
        """A running sum along one axis, which is the innermost loop."""
        step = self.step
        along = self.named[reading.along]
        at = along[0].ix()
        if reading.reverse:
            at = along[0].extent - 1 - at
        loops = {v: w.ix() for v, (w, _) in self.named.items()}
        move = Mover(self.places, loops | {reading.along: at, reading.reduced: at})
        own = self.register("acc")
        turn = (
            Store(own.name, (), "+=", move.scalar(step.body)),
            Store(self.place.array, self.at(move), "=", Load(own.name)),
        )
        body = (
            Declare(own),
            Store(own.name, (), "=", self.identity),
            *nested((), [along], (), turn),
        )
        out = [self.named[v] for v in output_loops(step) if v is not reading.along]
        clear = () if self.whole() else self.cleared(self.place)
        return (*clear, *nested((), out, (), body))

    def scatter(self) -> tuple[Stmt, ...]:
        """Every element cleared, then every point of the loops added where it belongs."""
        step, move = self.step, self.move
        to = self.place
        wide = self.dtype != self.target.dtype
        if wide:  # sums are carried in another dtype than they are kept in
            name = self.room.name(f"acc_{to.array}")
            self.room.array(replace(self.target, name=name, dtype=self.dtype, role="scratch"))
            to = Place(name)
        index = (*to.prefix, *map(move.ix, step.index))
        add = Store(to.array, index, _ADD[step.op], move.scalar(step.body))
        loops = [self.named[v] for v in step.loops]
        stmts = (*self.cleared(to), *nested((), loops, move.guards(step.guards), (add,), True))
        if wide:
            stmts += copied(self.place, to, self.target, self.room)
        return stmts
