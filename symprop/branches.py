"""Branches that were not taken: where a selection, or a guard, made a cotangent exactly 0.

In: the cotangent of a value node, as a node. Out: the selection it was made by, to stand outermost
in the product with a local derivative; or whether there is one further up.

There the operand may be anything, infinite or NaN, and so may a local derivative that is finite
for finite operands: the cosine of an infinity is NaN. Asked of the operand that the derivative is
taken in: a factor beside it is the user's scale.

Guarantees: nothing is recomputed but a comparison; what is not recognised is only not improved.
"""

from __future__ import annotations

from typing import NamedTuple

from codegen.index import Ix
from symprop import term as t
from symprop.graph import At, Node, Reading, Reduce
from symprop.order import mapped, moved
from symprop.simplify.inline import is_map, is_view

__all__ = ["Selection", "selection", "zero_somewhere"]

LOOK = 4  # values looked into, one behind another
COMPARED = 2  # operations of a condition that is computed again


class Selection(NamedTuple):
    """The condition, over reads of its own, where a cotangent is not 0; its one value there, or
    None where it has several."""

    condition: t.Term
    value: t.Term | None
    reads: tuple[Reading, ...]


def selection(g: Node, index: tuple[Ix, ...]) -> Selection | None:
    """The selection that a cotangent is at an index."""
    for _ in range(LOOK):
        if not isinstance(g, Reduce) or not is_map(g) or g.guards:
            return None
        mapping = mapped(g.outer, index)
        reads = tuple(moved(r, mapping) for r in g.reads)
        if not is_view(g):
            return _selection(g.body, reads)
        (r,) = reads
        if not isinstance(r, At) or r.guards or r.node.dtype != g.dtype:
            return None
        g, index = r.node, r.index
    return None


def _selection(body: t.Term, reads: tuple[Reading, ...]) -> Selection | None:
    if not isinstance(body, t.Call) or body.fn is not t.SELECT:
        return None
    c, a, b = body.args
    if a is t.num(0):
        c, a, b = t.call(t.NOT, c), b, a
    if b is not t.num(0) or t.operations(c) > COMPARED:
        return None
    return Selection(c, a if isinstance(a, t.Num) else None, reads)


def zero_somewhere(g: Node, look: int = LOOK, guards: bool = True) -> bool:
    """Whether a cotangent is exactly 0 at points whose operands need not be finite.

    Parts of a sum count where selections made them 0, not guards: parts that were sliced and are
    put together leave no such point.
    """
    if not look or not isinstance(g, Reduce) or g.op != "sum":
        return False
    if not is_map(g) and not isinstance(g.body, t.Read):
        return False
    return (guards and bool(g.guards)) or _zero(g.body, g, look - 1, guards)


def _zero(x: t.Term, g: Reduce, look: int, guards: bool) -> bool:
    if isinstance(x, t.Read):
        r = g.reads[x.k]
        hidden = isinstance(r, At) and guards and bool(r.guards)
        return hidden or (isinstance(r, At) and zero_somewhere(r.node, look, guards))
    k, rest = t.coefficient(x)
    if isinstance(rest, t.Sum):
        return not rest.const and all(_zero(y, g, look, False) for y, _ in rest.terms)
    if isinstance(rest, t.Prod):
        return any(n > 0 and _zero(b, g, look, guards) for b, n in rest.factors)
    if k != 1:
        return _zero(rest, g, look, guards)
    if isinstance(x, t.Call) and x.fn is t.STRONG_MUL:
        return _zero(x.args[0], g, look, guards)
    return isinstance(x, t.Call) and x.fn is t.SELECT and t.num(0) in x.args[1:]
