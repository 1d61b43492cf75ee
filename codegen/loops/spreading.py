"""Loops spread over the statements they enclose: ``for t: (a; b)`` as ``for t: a`` ``for t: b``.

In: statements, and the loops ("lanes") around them. Out: the statements with the lanes inside,
through serial loops where asked, and storage that lived in one turn widened by the lanes.

    for t: acc = 0                       acc[T]; for t: acc[t] = 0
           for k: acc += f(t, k)    ->   for k: for t: acc[t] += f(t, k)
           y[t] = acc                    for t: y[t] = acc[t]

Guarantees: equal value when no turn of a lane touches what another turn of it writes, which the
caller has made sure of. Statements that need not be taken apart stay together in one copy of the
lanes; storage used in one such copy only stays in it. A bound or a guard that depends on a lane
becomes a guard inside of the loop that is gone through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from codegen.index import Gather, Guard, Ix, Loop, guard, substitute
from codegen.loops.assignment import nested
from codegen.loops.directives import ScheduleError
from codegen.loops.finding import Fresh
from codegen.loops.moving import CannotMove, copied, housed, moved, scratch
from codegen.loops.nest import Declare, For, Kind, Part, Stmt, Store, When
from codegen.loops.tiling import bounds_of
from codegen.loops.walk import inside, loads
from codegen.program import Buffer, Load

__all__ = ["Lane", "Spreading"]


@dataclass(frozen=True)
class Lane:
    """A loop to be spread, and the guards of its turns."""

    loop: Loop
    name: str
    kind: Kind
    guards: tuple[Guard, ...] = ()


Lanes = tuple[Lane, ...]
T = TypeVar("T")


class Spreading:
    """One spreading.

    ``through(for, lanes)`` says whether lanes go inside a loop. ``entered(for, lanes)`` may take a
    loop over (to make it a lane): it gives statements, or None. With ``rolled``, what follows a
    loop gone through runs in plain loops over the lanes that are written out, from a copy of the
    widened storage.
    """

    def __init__(
        self,
        fresh: Fresh,
        through: Callable[[For, Lanes, Sequence[str]], bool],
        entered: Callable[[For, Lanes, Sequence[str]], tuple[Stmt, ...] | None],
        around: Sequence[Stmt],
        part: str,
        rolled: bool = False,
    ) -> None:
        self.fresh = fresh
        self.through = through
        self.entered = entered
        self.around = around
        self.part = part
        self.rolled = rolled
        self.arrays: list[Buffer] = []  # widened storage too large or too free to be declared

    def over(self, stmts: Iterable[Stmt], lanes: Lanes, known: Sequence[str] = ()) -> list[Stmt]:
        """The statements with the lanes inside; ``known`` is storage of theirs declared outside."""
        stmts = list(stmts)
        own = [s.array.name for s in stmts if isinstance(s, Declare)]
        known = (*known, *own)
        pieces = self.pieces([s for s in stmts if not isinstance(s, Declare)], lanes, known)
        wide: list[Buffer] = []
        declared = [s for s in stmts if isinstance(s, Declare)]
        for d in reversed(declared) if lanes else ():
            users = [p for p in pieces if _uses(p.stmts, d.array.name)]
            if len(users) == 1 and users[0].run:
                users[0].stmts.insert(0, d)
                continue
            array = self.widened(d.array, lanes)
            wide.insert(0, array)
            try:
                for p in users:
                    p.stmts = list(moved(p.stmts, array.name, array.name, _place(lanes)))
            except CannotMove as why:
                raise ScheduleError(
                    f'every turn of a tile of part "{self.part}" needs "{array.name}" of its own, '
                    f"but {why}: RegisterBlock comes first"
                ) from None
        out: list[Stmt] = [Declare(b) for b in wide if b not in self.arrays]
        out += () if lanes else declared
        names = [b.name for b in wide]
        after = False
        inner = (*known, *names)
        for piece in pieces:
            if piece.run:
                out += self.run(piece.stmts, lanes, out if after else (), wide)
            else:
                (stmt,) = piece.stmts
                out += self.inside(stmt, lanes, inner)
                after = True
        return out

    # --- pieces ----------------------------------------------------------------------------------

    def pieces(self, stmts: Iterable[Stmt], lanes: Lanes, known: Sequence[str]) -> list[_Piece]:
        """Statements gone through one by one, and the runs between them."""
        found: list[_Piece] = []
        for stmt in stmts:
            if self.opens(stmt, lanes, known):
                found.append(_Piece(False, [stmt]))
            elif found and found[-1].run:
                found[-1].stmts.append(stmt)
            else:
                found.append(_Piece(True, [stmt]))
        return found

    def opens(self, stmt: Stmt, lanes: Lanes, known: Sequence[str]) -> bool:
        if isinstance(stmt, For):
            return self.through(stmt, lanes, known)
        if isinstance(stmt, Part | When):
            inner = (*known, *(s.array.name for s in stmt.body if isinstance(s, Declare)))
            return any(self.opens(s, lanes, inner) for s in stmt.body)
        return False

    def inside(self, stmt: Stmt, lanes: Lanes, known: Sequence[str]) -> list[Stmt]:
        """Lanes inside one statement that is gone through."""
        taken = {lane.loop for lane in lanes}
        match stmt:
            case Part():
                return [replace(stmt, body=tuple(self.over(stmt.body, lanes, known)))]
            case When():
                free = tuple(g for g in stmt.guards if not taken & set(g.ix.loops))
                bound = tuple(g for g in stmt.guards if g not in free)
                inner = _guarded(stmt.body, bound)
                body = tuple(self.over(inner, lanes, known))
                return [When(free, body)] if free else list(body)
            case For():
                made = self.entered(stmt, lanes, known)
                if made is not None:
                    return list(made)
                stmt = _unbound(stmt, taken)
                return [replace(stmt, body=tuple(self.over(stmt.body, lanes, known)))]
            case _:
                raise AssertionError(stmt)

    # --- runs and storage ------------------------------------------------------------------------

    def widened(self, array: Buffer, lanes: Lanes) -> Buffer:
        """Storage of one turn, for all lanes, under its name; declared where its sizes allow it."""
        dims = _widened(lanes, [lane.loop.extent for lane in lanes], array.dims)
        axes = _widened(lanes, [lane.name for lane in lanes], array.axes)
        wide = scratch(array.name, dims, array, axes)
        if not housed(wide, self.around, self.part):
            self.arrays.append(wide)
        return wide

    def run(
        self, stmts: list[Stmt], lanes: Lanes, before: Sequence[Stmt], wide: Sequence[Buffer]
    ) -> list[Stmt]:
        """One copy of the lanes around statements that stay together; rolled, when that is asked
        and some were gone through ``before``."""
        if not (self.rolled and before and any(lane.kind == "unroll" for lane in lanes)):
            return self.wrapped(stmts, lanes)
        out: list[Stmt] = []
        for array in wide:
            if _uses(stmts, array.name) and _written_out(before, array.name):
                tile = replace(array, name=self.fresh.name(f"{array.name}_tile"))
                out += [Declare(tile), *self.wrapped([self.copy(array, tile, lanes)], lanes)]
                stmts = list(moved(stmts, array.name, tile.name, lambda i: i))
        rolled = tuple(
            replace(lane, kind="serial" if lane.kind == "unroll" else lane.kind) for lane in lanes
        )
        return [*out, *self.wrapped(stmts, rolled)]

    def copy(self, array: Buffer, tile: Buffer, lanes: Lanes) -> Stmt:
        """``tile = array`` in one turn of the lanes."""
        first = len(_outside(lanes))
        own = slice(first, first + len(array.dims) - len(lanes))
        rest = [self.fresh.loop(d) for d in array.dims[own]]
        place = _place(lanes)(tuple(v.ix() for v in rest))
        stmt: Stmt = Store(tile.name, place, "=", Load(array.name, place))
        names = array.axes[own]
        for n, (v, name) in reversed(list(enumerate(zip(rest, names, strict=True)))):
            stmt = For(v, name or f"i{n}", (stmt,), "unroll")
        return stmt

    def wrapped(self, stmts: Sequence[Stmt], lanes: Lanes) -> list[Stmt]:
        """``stmts`` in loops over the lanes with variables of their own."""
        if not lanes:
            return list(stmts)
        own = {lane.loop: self.fresh.loop(lane.loop.extent) for lane in lanes}
        change = {a: b.ix() for a, b in own.items()}
        body = copied(stmts, self.fresh, change)
        guards = [guard(substitute(g.ix, change), g.kind) for lane in lanes for g in lane.guards]
        if False in guards:
            return []
        held = tuple(dict.fromkeys(g for g in guards if isinstance(g, Guard)))
        if all(lane.kind == "serial" for lane in lanes):
            bound = {v for g in held for v in g.ix.loops if v not in own.values()}
            pairs = [(own[lane.loop], lane.name) for lane in lanes]
            return list(nested(tuple(bound), pairs, held, body, narrow=True))
        if len(body) == 1 and isinstance(body[0], When):
            held, body = (*held, *body[0].guards), body[0].body
        for lane in reversed(lanes):  # a guard stands outside of the lanes it does not need
            here = tuple(g for g in held if own[lane.loop] in g.ix.loops)
            held = tuple(g for g in held if g not in here)
            body = (When(here, body),) if here else body
            body = (For(own[lane.loop], lane.name, body, lane.kind),)
        return [When(held, body)] if held else list(body)


@dataclass
class _Piece:
    """Statements that stay together (a run), or one that is gone through."""

    run: bool
    stmts: list[Stmt]


def _uses(stmts: Iterable[Stmt], name: str) -> bool:
    for stmt in inside(stmts):
        if isinstance(stmt, Store) and stmt.target == name:
            return True
        if any(load.buffer == name for load in loads(stmt)):
            return True
    return False


def _written_out(stmts: Iterable[Stmt], name: str, unrolled: bool = False) -> bool:
    """Whether storage is written in loops that are written out: a tile of registers."""
    for stmt in stmts:
        if isinstance(stmt, Store) and stmt.target == name and unrolled:
            return True
        if isinstance(stmt, Part | For | When):
            inner = unrolled or (isinstance(stmt, For) and stmt.kind == "unroll")
            if _written_out(stmt.body, name, inner):
                return True
    return False


def _outside(lanes: Lanes) -> Lanes:
    """The lanes before the axes of an array's own: all but one of a vector, whose elements lie
    beside each other."""
    return lanes[:-1] if lanes[-1].kind == "vector" else lanes


def _widened(lanes: Lanes, of_lanes: Sequence[T], own: Sequence[T]) -> tuple[T, ...]:
    """What is said of the axes of an array, widened by the lanes."""
    first = len(_outside(lanes))
    return (*of_lanes[:first], *own, *of_lanes[first:])


def _place(lanes: Lanes) -> Callable[[tuple[Ix, ...]], tuple[Ix, ...]]:
    """The element of a turn, in storage widened by the lanes."""
    turn = [lane.loop.ix() for lane in lanes]
    return lambda index: _widened(lanes, turn, index)


def _unbound(f: For, lanes: set[Loop]) -> For:
    """The loop with the bounds that depend on lanes as guards of its body."""
    if not any(lanes & set(b.loops) for b in (*f.low, *f.high)):
        return f
    guards = bounds_of(f)
    if guards is None:
        return replace(f, body=())
    free = tuple(g for g in guards if not lanes & set(g.ix.loops))
    bound = tuple(g for g in guards if g not in free)
    low = tuple(x for x in f.low if not lanes & set(x.loops))
    high = tuple(x for x in f.high if not lanes & set(x.loops))
    return replace(f, body=_guarded(f.body, bound), low=low, high=high)


def _guarded(stmts: Sequence[Stmt], guards: tuple[Guard, ...]) -> tuple[Stmt, ...]:
    """Guards as far in as the loops, so that lanes can still go through these."""
    if not guards:
        return tuple(stmts)
    if any(isinstance(a, Gather) for g in guards for a in g.ix.atoms()):
        raise ScheduleError("a guard that is gathered depends on a loop of the tile: tile another")
    out: list[Stmt] = []
    for stmt in stmts:
        if isinstance(stmt, For | Part):
            out.append(replace(stmt, body=_guarded(stmt.body, guards)))
        elif isinstance(stmt, Declare):
            out.append(stmt)
        elif isinstance(stmt, When):
            out.append(When((*guards, *stmt.guards), stmt.body))
        else:
            out.append(When(guards, (stmt,)))
    return tuple(out)
