"""The values inside two expressions that a hint may name, such as tanh'(z).

In: two nodes of one shape. Out: nodes of that shape, or scalars, by title.

Guarantees: at most ``OTHERS``, in the order in which they are computed.

It evaluates nothing: ``symprop.equality.comparison`` does.
"""

from __future__ import annotations

from collections.abc import Sequence

from symprop import term as t
from symprop.expression import Expr
from symprop.graph import FLOATS, At, Node, Reduce, hint
from symprop.walk import topological

__all__ = ["named_values"]

OTHERS = 16


def named_values(roots: Sequence[Node]) -> dict[str, Node]:
    """Values that a hint may name: of the shape of the result, with a name; and derivatives of
    the functions that are applied to them."""
    from symprop.gradient import gradient
    from symprop.ops.structural import sum as total

    dims = roots[0].dims
    found: dict[str, Node] = {}
    for node in topological(roots):
        if node.dtype not in FLOATS or node in roots:
            continue
        if hint(node) and node.dims in (dims, ()):
            found.setdefault(hint(node), node)
        inner = _applied(node)
        if inner is not None and node.dims == dims:
            word, z = inner
            x = Expr(z)
            slope = (
                gradient(total(Expr(node)), x).node if node.dims else gradient(Expr(node), x).node
            )
            found.setdefault(f"{word}({hint(z)})", node)
            found.setdefault(f"{word}'({hint(z)})", slope)
    return dict(list(found.items())[:OTHERS])


def _applied(node: Node) -> tuple[str, Node] | None:
    """(function, argument) of a node that is a function of one named value."""
    if not isinstance(node, Reduce) or len(node.loops) != node.nout or len(node.reads) != 1:
        return None
    body, r = node.body, node.reads[0]
    if not isinstance(body, t.Call) or len(body.args) != 1 or not isinstance(body.args[0], t.Read):
        return None
    plain = isinstance(r, At) and r.index == tuple(v.ix() for v in node.outer) and not r.guards
    if not plain or body.fn in t.STRUCTURAL or not hint(r.node) or r.node.dtype not in FLOATS:  # type: ignore[union-attr]
        return None
    return body.fn.given.partition("[")[0], r.node  # type: ignore[union-attr]
