"""steps: the inside of a recurrence: which of its values are named, and their formulas at a step t.

In: a scan and the values of its block; formulas over the block's own symbols. Out: what several
results share, what a carry adds up, f'(a) where a derivative is written out; the formulas over the
page's symbols, in which every value of the block counts steps on its first axis.

Guarantees: a carry is called a sum only where its block adds to it and nothing else reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.index import Gather, Guard, Ix, Loop, gather, guard, transform
from symprop import term as t
from symprop.explain import algebra as al
from symprop.explain import notation as nt
from symprop.explain.elements import entry_of
from symprop.explain.notation import Formula, Symbol
from symprop.explain.structure import is_view, written_out
from symprop.graph import FLOATS, At, Node, Reduce, Scan
from symprop.walk import users

__all__ = ["accumulated", "at_every_step", "primed", "result", "scalars_as_elements", "shared"]


def result(scan: Scan, n: int) -> Node:
    """A result of one step, regions written out."""
    return written_out(scan.block.outputs[n])


# --- the block ---------------------------------------------------------------------------------


def shared(order: Sequence[Node]) -> list[Node]:
    """Values of a gradient's step that several others are made from."""
    readers = users(order)
    found = []
    for n in order:
        plain = isinstance(n, Reduce) and not is_view(n) and n.dtype in FLOATS and n.nout
        own = isinstance(n, Reduce) and len(n.loops) == n.nout
        if plain and own and len(_beyond(n, readers)) > 1:
            found.append(n)
    return found


def _beyond(node: Node, readers: Mapping[Node, Sequence[Node]]) -> list[Node]:
    """Who reads a value, views looked through."""
    found: dict[Node, None] = {}
    for user in readers.get(node, ()):
        found.update(dict.fromkeys(_beyond(user, readers) if is_view(user) else [user]))
    return list(found)


def accumulated(scan: Scan, order: Sequence[Node]) -> dict[int, Node]:
    """Carries that start at 0 and only add up: what each step adds, by number."""
    readers = users(order)
    found: dict[int, Node] = {}
    for k, leaf in enumerate(scan.block.leaves[: scan.ncarry]):
        end, start = scan.block.outputs[k], scan.arguments[k]
        zero = isinstance(start, Reduce) and start.body is t.num(0)
        if (
            not zero
            or readers.get(leaf) != [end]
            or readers.get(end)
            or not isinstance(end, Reduce)
        ):
            continue
        at = tuple(v.ix() for v in end.outer)
        reads = [r for r in end.reads if isinstance(r, At) and r.index == at and not r.guards]
        plain = len(reads) == len(end.reads) == 2 and end.body is t.add(t.read(0), t.read(1))
        if plain and len(end.loops) == end.nout and not end.guards:
            (found[k],) = (r.node for r in reads if r.node is not leaf)
    return found


# --- from the block's symbols to the page's ----------------------------------------------------


def at_every_step(
    f: Formula, outer: Mapping[Symbol, Symbol], timed: Mapping[Node, Symbol], clock: Loop
) -> Formula | None:
    """A symbol of the block at every step t."""

    def places(index: Sequence[Ix]) -> tuple[Ix, ...]:
        return tuple(_gathers(i, timed, clock) for i in index)

    def held(guards: Sequence[Guard]) -> tuple[Guard, ...]:
        found = [guard(_gathers(g.ix, timed, clock), g.kind) for g in guards]
        return tuple(g for g in found if isinstance(g, Guard))

    match f:
        case nt.Sym(symbol, None) if symbol in outer:
            own = outer[symbol]
            return nt.Sym(own, clock if own.step is not None else None)
        case nt.Flat(symbol, None, index) if symbol in outer:
            own = outer[symbol]
            at = clock if own.step is not None and not index else None
            front = (clock.ix(),) if own.step is not None and index else ()
            return nt.Flat(own, at, (*front, *places(index)))
        case nt.Ref(symbol, index, guards) if symbol in outer:
            own = outer[symbol]
            front = (clock.ix(),) if own.step is not None else ()
            return nt.Ref(own, (*front, *places(index)), held(guards))
        case nt.Size(ix):
            return nt.Size(_gathers(ix, timed, clock))
        case nt.Bracket(items, guards) if guards:
            inner = tuple(
                nt.rebuilt(i, lambda x: at_every_step(x, outer, timed, clock)) for i in items
            )
            return nt.Bracket(inner, held(guards))
        case nt.Total(op, loops, inner, guards) if guards:
            body = nt.rebuilt(inner, lambda x: at_every_step(x, outer, timed, clock))
            return nt.Total(op, loops, body, held(guards))
    return None


def scalars_as_elements(of: Formula) -> Formula:
    """A formula of elements in which a number of the step t is an element too."""

    def change(f: Formula) -> Formula | None:
        timed = isinstance(f, nt.Sym) and f.at is not None
        return nt.Ref(f.symbol, (f.at.ix(),)) if timed else None  # type: ignore[attr-defined]

    return nt.rebuilt(of, change)


def _gathers(ix: Ix, timed: Mapping[Node, Symbol], clock: Loop) -> Ix:
    """An index that reads values of the block, at the step t."""

    def change(atom: object) -> Ix | None:
        if not isinstance(atom, Gather) or atom.source not in timed:
            return None
        symbol = timed[atom.source]  # type: ignore[index]
        front = (clock.ix(),) if symbol.step is not None else ()
        return gather(symbol.node, (*front, *(_gathers(i, timed, clock) for i in atom.indices)))

    return transform(ix, change)


def primed(of: Formula, functions: Sequence[t.Function]) -> Formula:
    """f'(a) for what the derivative of f is written as: sech^2(a) is tanh'(a)."""
    for fn in functions:
        slope = t.diff(t.call(fn, t.read(0)), 0)
        if isinstance(slope, t.Num) or not slope.reads:
            continue
        for a in dict.fromkeys(f for f in nt.inside(of) if isinstance(f, nt.Sym | nt.Ref)):
            for arg in (a, al.transposed(a)) if isinstance(a, nt.Sym) else (a,):
                pattern = entry_of(slope, [arg])
                new = nt.Call(fn, (arg,), True)
                of = nt.rebuilt(of, lambda f, p=pattern, n=new: _matched(f, p, n))  # type: ignore[misc]
    return of


def _matched(f: Formula, pattern: Formula, new: Formula) -> Formula | None:
    """The formula with the pattern, or its factors among others, replaced."""
    if f == pattern:
        return new
    if not isinstance(f, nt.Mul):
        return None
    rest = list(f.factors)
    for factor in pattern.factors if isinstance(pattern, nt.Mul) else (pattern,):
        if factor not in rest:
            return None
        rest.remove(factor)
    return al.mul(*(nt.rebuilt(r, lambda x: _matched(x, pattern, new)) for r in rest), new)
