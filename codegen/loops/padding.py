"""Pad: room along an axis of scratch that holds zero: whole vectors, a border of an image.

In: a ``Loops`` and ``Pad``. Out: a ``Loops`` of equal value, bit for bit.

    x : [10]; x[i + k - 1] where 0 <= i + k - 1 < 10    ->  x : [12], a border of one; x[i + k]
    for i<16 narrowed to i < 10: x[i] = f(i)            ->  x : [16]
                                                            for i<16: x[i] = f(i) if i < 10 else 0

Guarantees: what is added is cleared before the array is used, and nothing but zero is stored there
afterwards. A guard of a read goes only where the room holds what it would have read: zero. A bound
or a guard around statements goes only where they do nothing but fill this array and storage of
their own; what else they read is guarded instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from codegen.index import Guard, Ix, Loop, constant, floordiv, guard
from codegen.loops.directives import Pad, ScheduleError
from codegen.loops.finding import Fresh, Owner, owned, told_apart, with_owned
from codegen.loops.moving import CannotMove, moved
from codegen.loops.nest import Call, Declare, For, Loops, Part, Stmt, Store, When
from codegen.loops.tiling import bounds_of
from codegen.loops.walk import gathered, inside, loads, mapped, scalar_mapped
from codegen.program import Buffer, Compare, IndexValue, Load, Number, Scalar, Select
from codegen.ranges import gathers, implied

__all__ = ["pad"]


def pad(loops: Loops, d: Pad) -> Loops:
    """Room along an axis of scratch; see ``Pad``."""
    owner = owned(loops, d.array, "Pad")
    rank = len(owner.array.dims)
    if not 0 <= d.axis < rank:
        raise ScheduleError(f'"{d.array}" has {rank} axes and none of number {d.axis}')
    if d.multiple < 1 or d.before < 0 or d.after < 0 or d.multiple + d.before + d.after < 2:
        raise ScheduleError(
            f'the room along axis {d.axis} of "{d.array}" is up to a multiple of 2 or more, or a '
            f"border of 1 or more before or after, not {d.multiple}, {d.before} and {d.after}"
        )
    room = _room(loops, owner, d)
    try:
        body = moved(owner.body, d.array, d.array, room.at, room.kept)
    except CannotMove as why:
        raise ScheduleError(f'"{d.array}" cannot be padded: {why}') from None
    body = room.widened(body)
    body = _placed(body, owner, room.cleared(Fresh(loops)))
    return told_apart(with_owned(loops, owner, room.new, body))


def _room(loops: Loops, owner: Owner, d: Pad) -> _Room:
    old = owner.array.dims[d.axis]
    whole = floordiv(old + (d.before + d.after + d.multiple - 1), d.multiple) * d.multiple
    dims = (*owner.array.dims[: d.axis], whole, *owner.array.dims[d.axis + 1 :])
    new = replace(owner.array, dims=dims)
    known = {b.name: b for b in loops.arrays}
    stmts = list(inside(loops.body))
    for kernel in loops.kernels:
        known |= {b.name: b for b in (*kernel.arrays, *kernel.scratch)}
        stmts += inside(kernel.body)
    known |= {s.array.name: s.array for s in stmts if isinstance(s, Declare)}
    full = {b.name for b in loops.arrays if b.role != "scratch"} | {new.name}
    full |= {x.array for x in loops.schedule if isinstance(x, Pad)}
    full |= {b.name for b in loops.arrays if any(_whole(s, b) for s in loops.body)}
    return _Room(known | {new.name: new}, frozenset(full), new, d.axis, d.before, old)


def _whole(stmt: Stmt, array: Buffer) -> bool:
    """Whether a part stores every element of an array, in plain loops over its axes."""
    extents: dict[Loop, Ix] = {}
    while isinstance(stmt, Part | For) and len(stmt.body) == 1:
        if isinstance(stmt, For):
            if stmt.low or stmt.high:
                return False
            extents[stmt.loop] = stmt.loop.extent
        stmt = stmt.body[0]
    if not isinstance(stmt, Store) or stmt.target != array.name or stmt.op != "=":
        return False
    axes = [ix.atom for ix in stmt.index]
    plain = all(isinstance(v, Loop) and v in extents for v in axes) and set(axes) == set(extents)
    return plain and all(
        isinstance(v, Loop) and v.extent is n for v, n in zip(axes, array.dims, strict=True)
    )


@dataclass(frozen=True)
class _Room:
    """The padded array, and where in it the old one lies; ``full`` is what holds values
    everywhere: arguments, constants, what was padded before."""

    known: dict[str, Buffer]
    full: frozenset[str]
    new: Buffer
    axis: int
    before: int
    old: Ix

    def at(self, index: tuple[Ix, ...]) -> tuple[Ix, ...]:
        moved_ = index[self.axis] + self.before
        return (*index[: self.axis], moved_, *index[self.axis + 1 :])

    def ends(self, ix: Ix) -> list[Guard | bool]:
        """What says that a position of the old axis exists."""
        return [guard(ix, ">="), guard(self.old - 1 - ix, ">=")]

    def fits(self, ix: Ix, guards: Sequence[Guard]) -> bool:
        """Whether an old position is in the new array."""
        first = ix + self.before
        return implied(first, guards) and implied(self.new.dims[self.axis] - 1 - first, guards)

    def kept(self, index: tuple[Ix, ...], guards: tuple[Guard, ...]) -> tuple[Guard, ...]:
        """The guards that a moved read still needs; those that gather may need all others."""
        if gathers([g.ix for g in guards]):
            return guards
        ix = index[self.axis]
        low, high = self.ends(ix)
        for away in ((low, high), (low,), (high,)):
            rest = tuple(g for g in guards if g not in away)
            if len(rest) < len(guards) and self.fits(ix, rest):
                return rest
        return guards

    # --- loops that fill the array ---------------------------------------------------------------

    def widened(self, stmts: Iterable[Stmt]) -> tuple[Stmt, ...]:
        """The statements, with those that fill the array running over the room as well."""

        def one(stmt: Stmt) -> Iterable[Stmt]:
            if isinstance(stmt, When):
                free = [g for g in stmt.guards if self.only_fills(stmt.body, g)]
                if free and not gathers([g.ix for g in stmt.guards]):
                    kept = tuple(g for g in stmt.guards if g not in free)
                    body = self.masked(stmt.body, free)
                    return (When(kept, body),) if kept else body
            if isinstance(stmt, For) and (stmt.low or stmt.high):
                return (self.unbound(stmt),)
            return (stmt,)

        return mapped(stmts, one)

    def unbound(self, f: For) -> For:
        """A loop without the bounds that keep it out of the room."""
        low = {b: guard(f.loop.ix() - b, ">=") for b in f.low}
        high = {b: guard(b - 1 - f.loop.ix(), ">=") for b in f.high}
        free = [
            g
            for g in (*low.values(), *high.values())
            if isinstance(g, Guard) and self.only_fills(f.body, g)
        ]
        if not free:
            return f
        return replace(
            f,
            body=self.masked(f.body, free),
            low=tuple(b for b in f.low if low[b] not in free),
            high=tuple(b for b in f.high if high[b] not in free),
        )

    def only_fills(self, stmts: Sequence[Stmt], g: Guard) -> bool:
        """Whether without a guard the statements would do no more than write the room."""
        every = list(inside(stmts))
        own = {s.array.name for s in every if isinstance(s, Declare)}
        fills = False
        for s in every:
            if isinstance(s, Call) or any(True for _ in gathered(s)):
                return False
            if not isinstance(s, Store) or s.target in own:
                continue
            if s.target != self.new.name or s.op != "=":
                return False
            ix = s.index[self.axis] - self.before
            if g not in self.ends(ix) or not self.fits(ix, ()):
                return False
            fills = True
        return fills

    def masked(self, stmts: Sequence[Stmt], guards: Sequence[Guard]) -> tuple[Stmt, ...]:
        """Statements that run without guards: they store zero where one fails, and read nothing."""
        own = {s.array.name for s in inside(stmts) if isinstance(s, Declare)}
        return _Masking(self, tuple(guards), own).over(stmts, ())

    def safe(self, load: Load, holding: Sequence[Guard]) -> bool:
        """Whether a read is of something that is there, for all turns of its loops."""
        if load.buffer not in self.full:
            return False
        dims = self.known[load.buffer].dims
        known = (*load.guards, *holding)
        return all(
            implied(ix, known) and implied(n - 1 - ix, known)
            for ix, n in zip(load.indices, dims, strict=True)
        )

    # --- the room itself -------------------------------------------------------------------------

    def cleared(self, fresh: Fresh) -> Part:
        """Zero in all that is new."""
        whole = self.new.dims[self.axis]
        stmts: list[Stmt] = []
        for start, size in (
            (constant(0), constant(self.before)),
            (self.old + self.before, whole - self.old - self.before),
        ):
            if size.value == 0:
                continue
            dims = list(self.new.dims)
            dims[self.axis] = size
            variables = [fresh.loop(n) for n in dims]
            index = [v.ix() for v in variables]
            index[self.axis] = start + index[self.axis]
            body: Stmt = Store(self.new.name, tuple(index), "=", Number(Fraction(0)))
            for n in reversed(range(len(dims))):
                name = self.new.axes[n] or f"i{n}"
                body = For(variables[n], f"{name}_room" if n == self.axis else name, (body,))
            stmts.append(body)
        name, along = self.new.name, self.new.axes[self.axis] or f"axis {self.axis}"
        title = fresh.title(f"room in {name} along {along}")
        return Part(title, tuple(stmts), f"{name} = 0 in the room along {along}")


@dataclass(frozen=True)
class _Masking:
    """Statements freed of guards: ``own`` is storage of theirs."""

    room: _Room
    guards: tuple[Guard, ...]
    own: set[str]

    def over(self, stmts: Iterable[Stmt], holding: tuple[Guard, ...]) -> tuple[Stmt, ...]:
        """The statements, where the guards in ``holding`` are known to hold."""
        return tuple(self.one(s, holding) for s in stmts)

    def one(self, stmt: Stmt, holding: tuple[Guard, ...]) -> Stmt:
        match stmt:
            case Part():
                return replace(stmt, body=self.over(stmt.body, holding))
            case When():
                return replace(stmt, body=self.over(stmt.body, (*holding, *stmt.guards)))
            case For():
                inner = (*holding, *(bounds_of(stmt) or ()))
                return replace(stmt, body=self.over(stmt.body, inner))
            case Store():
                value = scalar_mapped(stmt.value, lambda s: self.read(s, holding))
                filled = stmt.target == self.room.new.name
                return replace(stmt, value=self.zeroed(value) if filled else value)
            case _:
                return stmt

    def read(self, s: Scalar, holding: tuple[Guard, ...]) -> Scalar:
        """A read that reads nothing where a guard fails, if it might be of what is not there."""
        if not isinstance(s, Load) or s.buffer in self.own or self.room.safe(s, holding):
            return s
        return replace(s, guards=tuple(dict.fromkeys((*s.guards, *self.guards))))

    def zeroed(self, value: Scalar) -> Scalar:
        """A value, or zero where a guard fails."""
        zero = Number(Fraction(0))
        for g in self.guards:
            if not (isinstance(value, Load) and g in value.guards):
                value = Select(Compare(">=", IndexValue(g.ix), zero), value, zero)
        return value


def _placed(body: Iterable[Stmt], owner: Owner, part: Part) -> tuple[Stmt, ...]:
    """The statements with the clearing before the first use."""
    if owner.declared:

        def after(stmt: Stmt) -> Iterable[Stmt]:
            own = isinstance(stmt, Declare) and stmt.array == owner.array
            return (stmt, part) if own else (stmt,)

        return mapped(body, after)
    out: list[Stmt] = []
    placed = False
    for stmt in body:
        if not placed and _touches(stmt, owner.array.name):
            out.append(part)
            placed = True
        out.append(stmt)
    return tuple(out)


def _touches(stmt: Stmt, name: str) -> bool:
    for s in inside((stmt,)):
        if isinstance(s, Store) and s.target == name:
            return True
        if any(x.buffer == name for x in loads(s)):
            return True
    return False
