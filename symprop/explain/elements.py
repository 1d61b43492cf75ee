"""elements: a value of the graph in index notation.

In: a node, the symbols of the values that have one. Out: the formula of one element.

A value without a symbol is read through: its own definition stands in its place, so a transpose, a
broadcast or a mean needs no name.

Guarantees: the formula has the node's value, and every value of index notation has one. What is
computed outside index notation (a recurrence, a sort) is a symbol, made when it is met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from codegen.index import (
    Guard,
    Ix,
    Loop,
    Mod,
    floordiv,
    guard,
    loop,
    lower,
    mod,
    substitute,
    upper,
)
from symprop import term as t
from symprop.errors import UnsupportedError
from symprop.explain import algebra as al
from symprop.explain import notation as nt
from symprop.explain.notation import Formula, Symbol
from symprop.graph import At, IndexOf, Node, Output, Reading, Reduce
from symprop.make import fresh

__all__ = [
    "Elements", "Entries", "Normalised", "Slope", "called", "entry_of", "flattened", "moved",
    "size_of",
]  # fmt: skip

INNER = 1000  # the first position of a summed loop: after every axis of a value


class Normalised(NamedTuple):
    """softmax or logsumexp of a value along its last axis, found in the graph's structure.

    A softmax with ``guards`` (over the loops of the value's axes) leaves the other places out.
    """

    word: str
    of: Node
    guards: tuple[Guard, ...] = ()


class Slope(NamedTuple):
    """f'(z): the derivative of an activation where it stands."""

    fn: t.Function
    of: Node


_EMPTY: dict[str, Formula] = {
    "sum": al.ZERO,
    "max": al.mul(al.number(-1), nt.Constant("inf")),
    "min": nt.Constant("inf"),
}


class Elements:
    """Reads nodes in index notation; ``batch`` is the axis of each value that counts samples."""

    def __init__(
        self,
        symbols: Mapping[Node, Symbol],
        batch: Mapping[Node, int],
        normalised: Mapping[Node, Normalised],
        slopes: Mapping[Node, Slope],
        meet: Callable[[Node], Symbol] | None = None,
    ) -> None:
        self.symbols, self.batch, self.normalised = symbols, batch, normalised
        self.slopes, self.meet = slopes, meet
        self.count = 0

    def element(self, node: Node) -> tuple[Formula, tuple[Loop, ...]]:
        """The definition of one element, and its indices."""
        self.count = 0
        loops = fresh(node.dims)
        return self.element_of(At(node, tuple(v.ix() for v in loops)), {}), loops

    def inner(self, loops: Sequence[Loop], mapping: Mapping[Loop, Ix]) -> list[Loop]:
        """New loops for the summed ones."""
        first = INNER + self.count
        self.count += len(loops)
        return [loop(first + k, substitute(v.extent, mapping)) for k, v in enumerate(loops)]

    def known(self, node: Node) -> Symbol | None:
        """The symbol of a value; a result of a recurrence gets one when it is met."""
        found = self.symbols.get(node)
        if found is None and isinstance(node, Output) and self.meet is not None:
            found = self.meet(node)
        return found

    def define_element(self, node: Node, index: Sequence[Ix]) -> Formula:
        """The node's own formula at an index, in elements."""
        slope = self.slopes.get(node)
        if slope is not None:
            return nt.Call(slope.fn, (self.element_of(At(slope.of, tuple(index)), {}),), True)
        known = self.normalised.get(node)
        if known is not None and (known.word == "logsumexp" or isinstance(index[-1].atom, Loop)):
            return self.along(known, index)
        if not isinstance(node, Reduce):
            raise UnsupportedError(f"explain has no formula for a value of {type(node).__name__}")
        mapping: dict[Loop, Ix] = dict(zip(node.outer, index, strict=True))
        inner = self.inner(node.inner, mapping)
        mapping.update((v, new.ix()) for v, new in zip(node.inner, inner, strict=True))
        reads = [self.element_of(r, mapping) for r in node.reads]
        body = entry_of(node.body, reads)
        guards = moved(node.guards, mapping)
        if guards is None:
            return _EMPTY[node.op] if inner else al.ZERO
        if inner:
            if isinstance(body, nt.Total) and body.op == "sum" == node.op:
                loops = (*inner, *body.loops)
                return nt.Total("sum", loops, body.of, (*guards, *body.guards))
            return nt.Total(node.op, tuple(inner), body, guards)
        return al.mul(body, nt.Bracket((), guards)) if guards else body

    def along(self, known: Normalised, index: Sequence[Ix]) -> Formula:
        """softmax or logsumexp along the last axis: softmax_j of z[i, j], at j."""
        loops = fresh(known.of.dims)
        if known.word == "logsumexp":
            (over,) = self.inner(loops[-1:], {})
            at = (*index, over.ix())
        else:
            at = tuple(index)
            over = at[-1].atom  # type: ignore[assignment]
        guards = moved(known.guards, dict(zip(loops, at, strict=True)))
        of = self.element_of(At(known.of, at), {})
        return al.ZERO if guards is None else nt.Along(known.word, over, of, guards)

    def element_of(self, r: Reading, mapping: Mapping[Loop, Ix]) -> Formula:
        """A read: the element of a symbol, or what stands in its place."""
        if isinstance(r, IndexOf):
            return size_of(substitute(r.ix, mapping))
        index = tuple(substitute(i, mapping) for i in r.index)
        guards = moved(r.guards, mapping)
        if guards is None:
            return al.ZERO
        symbol = self.known(r.node)
        if symbol is not None:
            flat = None if guards else flattened(symbol, index)
            if flat is not None:
                return nt.Flat(symbol, None, flat)
            return nt.Ref(symbol, index, guards) if index or guards else nt.Sym(symbol)
        found = self.define_element(r.node, index)
        return al.mul(found, nt.Bracket((), guards)) if guards else found


def flattened(symbol: Symbol, index: Sequence[Ix]) -> tuple[Ix, ...] | None:
    """The index into flat(symbol) where the index of a value is one place unravelled row by row:
    [floor(j/4), floor(j/2) mod 2, j mod 2] of 3 x 2 x 2 is the place j."""
    pairs = list(zip(index, symbol.node.dims, strict=True))
    front = [pairs.pop(symbol.batch)[0]] if symbol.batch is not None else []
    last = [ix.atom for ix, d in pairs if d.value != 1][-1:]
    if len(pairs) < 2 or not last or not isinstance(last[0], Mod):
        return None
    place, stride = last[0].of, 1
    for ix, d in reversed(pairs):
        if d.value is None or mod(floordiv(place, stride), d.value) is not ix:
            return None
        stride *= d.value
    whole = (lower(place), upper(place)) == (0, stride - 1)
    return (*front, place) if whole else None


class Entries(Elements):
    """Reads a value of any rank entry by entry: its operands as wholes, where each is read at its
    own place only."""

    def element_of(self, r: Reading, mapping: Mapping[Loop, Ix]) -> Formula:
        found = super().element_of(r, mapping)
        if not isinstance(found, nt.Ref) or found.guards:
            return found
        pairs = zip(found.index, fresh(found.symbol.node.dims), strict=True)
        own = all(ix == v.ix() or v.extent.value == 1 for ix, v in pairs)  # of one place, its own
        return nt.Sym(found.symbol) if own else found


def moved(guards: Sequence[Guard], mapping: Mapping[Loop, Ix]) -> tuple[Guard, ...] | None:
    """Guards in other loops; one that always holds is dropped; None where one never holds."""
    found = [guard(substitute(g.ix, mapping), g.kind) for g in guards]
    if any(g is False for g in found):
        return None
    return tuple(g for g in found if isinstance(g, Guard))


def size_of(ix: Ix) -> Formula:
    """An index or a size as a value."""
    return nt.Size(ix) if ix.value is None else al.number(ix.value)


# --- bodies ----------------------------------------------------------------------------------


def entry_of(term: t.Term, reads: Sequence[Formula]) -> Formula:
    """A body over formulas, entry by entry."""
    if isinstance(term, t.Read):
        return reads[term.k]
    if isinstance(term, t.Num):
        return al.number(term.value)
    if isinstance(term, t.Sum):
        items = [al.mul(al.number(k), entry_of(x, reads)) for x, k in term.terms]
        return al.add(*items, al.number(term.const))
    if isinstance(term, t.Prod):
        return al.mul(*(al.power(entry_of(b, reads), n) for b, n in term.factors))
    assert isinstance(term, t.Call)
    return called(term, [entry_of(a, reads) for a in term.args])


def called(term: t.Call, args: Sequence[Formula]) -> Formula:
    """A function of formulas; selections of 0 and 1 as brackets."""
    fn = term.fn
    if fn is t.STRONG_MUL:
        return al.mul(*args)
    if fn.name == "stop_gradient" or fn.name.startswith("cast_"):
        return args[0]
    if fn.name in ("inf", "nan", "pi"):
        return nt.Constant(fn.name)
    if fn.name in ("lt", "le", "eq", "ne"):
        return nt.Compare(fn.name, args[0], args[1])
    if fn.name in ("and", "or", "not"):
        return nt.Logic(fn.name, tuple(args))
    if fn is t.SELECT:
        if args[2] == al.ZERO:
            return al.mul(args[1], nt.Bracket((args[0],)))
        return nt.Cases(*args)
    return nt.Call(fn, tuple(args))
