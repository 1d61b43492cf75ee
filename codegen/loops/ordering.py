"""Reorder: the order of loops, and where a sum is kept while its loop is not the innermost.

In: a ``Loops`` and ``Reorder``. Out: a ``Loops`` of equal value up to the rounding of sums.

    for row: for col: acc = 0; for k: acc += v; y[row, col] = acc

is one nest for this purpose: its loops are row, col and k. With k outside of col the sum is kept in
memory, in ``y`` itself where that is all that happens to ``acc``, else in storage of its own:

    for row: (for col: y[row, col] = 0); for k: for col: y[row, col] += v

Loops of the reduction that stay innermost add into a register, whose sum is added to memory.

Guarantees: two loops change places only where the turns of one of them are independent, or where
all they share is a sum. Guards become bounds of loops, computed at run time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from codegen.index import Guard, Loop
from codegen.loops.assignment import REDUCTION, identity, nested
from codegen.loops.directives import Reorder, ScheduleError
from codegen.loops.finding import (
    Fresh,
    Place,
    ancestors,
    arrays_at,
    fors,
    gather_sources,
    listed,
    part,
    replaced,
    swapped,
    writes,
)
from codegen.loops.moving import moved, scratch
from codegen.loops.nest import Declare, For, Loops, Part, Stmt, Store, When
from codegen.loops.spreading import Lane, Spreading
from codegen.loops.tiling import bounds_of, described
from codegen.loops.turns import clash
from codegen.loops.walk import inside, loads
from codegen.program import Buffer, Load

__all__ = ["reorder"]

Marks = dict[str, tuple[bool, ...]]


@dataclass(frozen=True)
class _Chain:
    """A perfect nest: loops from outside in, the guards on the way, what is inside."""

    loops: tuple[For, ...]
    guards: tuple[Guard, ...]
    body: tuple[Stmt, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.loops)


def reorder(loops: Loops, d: Reorder) -> Loops:
    """The named loops of the part in the order given."""
    place = part(loops, d.part)
    for name in d.loops:
        fors(place.part, name)
    if len(set(d.loops)) != len(d.loops) or len(d.loops) < 2:
        raise ScheduleError(f'Reorder of part "{d.part}" names two loops or more, each once')
    for f in (s for s in inside(place.part.body) if isinstance(s, For)):
        if f.name not in d.loops:
            continue
        chain = _chain(f, d.loops)
        rest = tuple(n for n in d.loops if n not in chain.names)
        order = _Ordering(loops, place, d)
        if not rest:
            return replaced(loops, place, f, order.permuted(chain, d.loops))
        inner = _reduction(chain.body, rest)
        if inner is not None:
            stmts = order.reduction(chain, inner)
            return replaced(loops, place, f, stmts, order.arrays)
    raise ScheduleError(
        f'the loops {listed(d.loops)} of part "{d.part}" are no nest, one directly inside the '
        f"other: name all loops from the outermost to the innermost of one nest"
    )


def _chain(f: For, names: Sequence[str]) -> _Chain:
    """The perfect nest that begins at a loop, as far as its loops are named."""
    loops: list[For] = []
    guards: list[Guard] = []
    stmts: tuple[Stmt, ...] = (f,)
    while len(stmts) == 1:
        (stmt,) = stmts
        held: tuple[Guard, ...] = ()
        while isinstance(stmt, When) and len(stmt.body) == 1:
            held += stmt.guards
            stmt = stmt.body[0]
        if not isinstance(stmt, For):
            guards += held  # a condition on all that is inside bounds the loops
            stmts = (stmt,) if held else stmts
            break
        if stmt.name not in names or stmt.kind != "serial":
            break
        ends = bounds_of(stmt)
        if ends is None:  # it never runs: leave it alone
            break
        guards += (*held, *ends)
        loops.append(stmt)
        stmts = stmt.body
    return _Chain(tuple(loops), tuple(dict.fromkeys(guards)), stmts)


def _reduction(stmts: Sequence[Stmt], names: Sequence[str]) -> tuple[Stmt, _Chain] | None:
    """The one statement inside a nest that goes on with the loops named, and its nest."""
    for stmt in stmts:
        if isinstance(stmt, Part):
            found = _reduction(stmt.body, names)
            if found is not None:
                return found
            continue
        held: tuple[Guard, ...] = ()
        first: Stmt = stmt
        while isinstance(first, When) and len(first.body) == 1:
            held += first.guards
            first = first.body[0]
        if isinstance(first, For) and first.name in names:
            inner = _chain(first, names)
            if set(inner.names) == set(names):
                return stmt, replace(inner, guards=(*held, *inner.guards))
    return None


class _Ordering:
    """One reordering."""

    def __init__(self, loops: Loops, place: Place, d: Reorder) -> None:
        self.place = place
        self.d = d
        self.marks: Marks = writes(loops)
        self.fresh = Fresh(loops)
        self.arrays: tuple[Buffer, ...] = ()
        self.known = arrays_at(loops, place)

    def permuted(self, chain: _Chain, names: Sequence[str]) -> tuple[Stmt, ...]:
        """A perfect nest with its loops in the order of ``names``, which may name others too."""
        self.still(chain)
        order = sorted(chain.loops, key=lambda f: names.index(f.name))
        variables = [f.loop for f in chain.loops]
        found = {
            f.loop: clash(chain.body, f.loop, self.marks, [v for v in variables if v is not f.loop])
            for f in chain.loops
        }
        for n, outer in enumerate(chain.loops):
            for inner in chain.loops[n + 1 :]:
                if order.index(outer) < order.index(inner):
                    continue
                a, b = found[outer.loop], found[inner.loop]
                if a is None or b is None or a.kind == b.kind == "adds":
                    continue
                worse = outer if a.kind != "adds" else inner
                why = a if a.kind != "adds" else b
                raise ScheduleError(described(why, self.d.part, worse, "Reorder"))
        bound = {v for g in chain.guards for v in g.ix.loops if v not in variables}
        pairs = [(f.loop, f.name) for f in order]
        return nested(tuple(bound), pairs, chain.guards, chain.body, narrow=True)

    def still(self, chain: _Chain) -> None:
        """No guard on the way depends on what is written inside."""
        changed = {s.target for s in inside(chain.body) if isinstance(s, Store)}
        for name in gather_sources(g.ix for g in chain.guards):
            if name in changed:
                raise ScheduleError(
                    f'a guard of part "{self.d.part}" reads "{name}", which its loops write: '
                    f"their order stays"
                )

    def reduction(self, outer: _Chain, inner: tuple[Stmt, _Chain]) -> tuple[Stmt, ...]:
        """A nest of output loops around a register that a nest of reduced loops adds into."""
        names = self.d.loops
        update, reduced = inner
        first = min(names.index(n) for n in reduced.names)
        spread = [f for f in outer.loops if names.index(f.name) > first]
        last = max((names.index(f.name) for f in spread), default=-1)
        leading = [f for f in reduced.loops if names.index(f.name) < last]
        sums = self.permuted(reduced, names)
        if not spread:
            body = swapped(outer.body, update, sums)
            return self.permuted(replace(outer, body=body), names)
        self.allowed(spread)
        if len(leading) < len(reduced.loops):
            sums = self.registered(sums, {f.loop for f in leading})
        body = self.forwarded(swapped(outer.body, update, sums))
        through = {f.loop for f in leading}
        spreading = Spreading(
            self.fresh,
            lambda f, lanes, known: f.loop in through,
            lambda f, lanes, known: None,
            (*self.place.around, *ancestors(self.place.part, outer.loops[0])),
            self.d.part,
        )
        spread.sort(key=lambda f: names.index(f.name))
        moving = {f.loop for f in spread}
        bound = tuple(g for g in outer.guards if moving & set(g.ix.loops))
        made = spreading.over(body, tuple(Lane(f.loop, f.name, "serial", bound) for f in spread))
        self.arrays = tuple(spreading.arrays)
        made = [self.interleaved(s, names, through) for s in made]
        kept = [f for f in outer.loops if f not in spread]
        free = tuple(g for g in outer.guards if g not in bound)
        return self.permuted(_Chain(tuple(kept), free, tuple(made)), names)

    def allowed(self, spread: Iterable[For]) -> None:
        """The output loops that go inside the reduction have turns of their own."""
        for f in spread:
            found = clash(f.body, f.loop, self.marks)
            if found:
                raise ScheduleError(described(found, self.d.part, f, "Reorder"))

    def registered(self, stmts: tuple[Stmt, ...], leading: set[Loop]) -> tuple[Stmt, ...]:
        """What the inner reduced loops add, summed in a register and then added once."""
        out: list[Stmt] = []
        for stmt in stmts:
            if isinstance(stmt, When) or (isinstance(stmt, For) and stmt.loop in leading):
                out.append(replace(stmt, body=self.registered(stmt.body, leading)))
                continue
            stores = [s for s in inside((stmt,)) if isinstance(s, Store)]
            if len(stores) != 1 or stores[0].op == "=":
                raise ScheduleError(
                    f'part "{self.d.part}" does more than one sum in its reduced loops: put them '
                    f"all outside of the output loops, or none"
                )
            (add,) = stores
            own_turns = {s.loop for s in inside((stmt,)) if isinstance(s, For)}
            if any(v in own_turns for ix in add.index for v in ix.loops):
                raise ScheduleError(
                    f'part "{self.d.part}" adds into another element of "{add.target}" in every '
                    f"turn of its inner loops: put them all outside of the output loops"
                )
            own = scratch(self.fresh.name(f"sum_{add.target}"), (), self.known[add.target])
            start = identity(REDUCTION[add.op], own.dtype, own)
            inner = swapped((stmt,), add, (replace(add, target=own.name, index=()),))
            back = replace(add, value=Load(own.name))
            out += [Declare(own), Store(own.name, (), "=", start), *inner, back]
        return tuple(out)

    def forwarded(self, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        """A register that is only stored at the end: its sums go there at once."""
        *before, last = body
        if not isinstance(last, Store) or last.op != "=" or not isinstance(last.value, Load):
            return body
        name, target = last.value.buffer, last.target
        declared = [s for s in before if isinstance(s, Declare) and s.array.name == name]
        rest = [s for s in before if s not in declared]
        touched = any(
            target in (getattr(s, "target", ""), *(x.buffer for x in loads(s)))
            for s in inside(rest)
        )
        if not declared or touched or self.known[target].dtype != declared[0].array.dtype:
            return body
        return moved(rest, name, target, lambda i: last.index)

    def interleaved(self, stmt: Stmt, names: Sequence[str], leading: set[Loop]) -> Stmt:
        """The nest of the sum, whose output loops stand inside all leading ones so far."""
        if isinstance(stmt, Part | When):
            body = tuple(self.interleaved(s, names, leading) for s in stmt.body)
            return replace(stmt, body=body)
        if not isinstance(stmt, For) or stmt.loop not in leading:
            return stmt
        chain = _chain(stmt, names)
        (one,) = self.permuted(chain, [n for n in names if n in chain.names])
        return one
