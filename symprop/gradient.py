"""The derivative: one rule for every value node, reverse and forward, any order.

For out[i] = REDUCE_r body(x_1..x_m) over guards G with cotangent g, and an operand a read as x_k
at index f_k under the read's guard R_k:

    d_a[s] += sum over (i, r) of g[i] * d(body)/d(x_k)
              where G(i, r), R_k(i, r), f_k(i, r) == s
              and, for max and min, lin(r) == A[i]     A[i]: the first position that attains it

Forward, the same sum runs over the reads with their tangents. Scans and regions are differentiated
through their blocks: the reverse of a scan is a scan the other way over the values it saved.

In: a graph. Out: a graph, linear in the first; ``symprop.make`` solves the equality guards.

What is differentiated is the stable form of the graph (``symprop.simplify.stable``): a derivative
of log(1 + exp(x)) that overflows cannot be mended afterwards.

Guarantees: strong zero. A selection in a local derivative stays outermost, and where the local
derivative is not proved finite the product is ``strong_mul``, exactly 0 where g is 0, so that a
branch not taken, a masked point or a padded read contributes exactly 0 at any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from symprop import graph
from symprop import term as t
from symprop.block_gradient import pull_many, push_many
from symprop.chain import pull_reduce, push_reduce, total
from symprop.errors import DeclarationError, ShapeError, at, quoted
from symprop.expression import Expr, as_expr, describe, shape_text, sources
from symprop.graph import (
    FLOATS,
    At,
    Leaf,
    Node,
    Opaque,
    Output,
    Reduce,
    Region,
    Scan,
)
from symprop.make import filled, fresh, make
from symprop.simplify.stable import stabilise
from symprop.walk import leaves, topological

__all__ = ["gradient", "jvp", "pull", "push", "vjp"]

# --- the public calls ------------------------------------------------------------------------


def gradient(y: Expr, x: Any) -> Any:
    """The gradient of a scalar with respect to x (a list for a list), of x's shape.

    Raises ShapeError when y has dims: take a sum, or use ``vjp``.
    """
    if not isinstance(y, Expr) or y.ndim:
        shown = f"{describe(y)} of shape {shape_text(y)}" if isinstance(y, Expr) else repr(y)
        raise ShapeError(f"gradient needs a scalar, but got {shown}: sum it, or use prop.vjp")
    return vjp(y, x, 1.0)


def vjp(y: Any, x: Any, cotangent: Any) -> Any:
    """Vector-Jacobian product: the cotangent of y (of y's shape) pulled back to x."""
    ys = list(y) if isinstance(y, list | tuple) else [y]
    gs = list(cotangent) if isinstance(y, list | tuple) else [cotangent]
    xs = list(x) if isinstance(x, list | tuple) else [x]
    _check(ys, xs)
    seeds = [_seed(a, b) for a, b in zip(ys, gs, strict=True)]
    found = pull([a.node for a in ys], seeds, [a.node for a in xs])
    given = [*ys, *xs]
    outs = [Expr(_named(n, a.node), sources(n, given)) for n, a in zip(found, xs, strict=True)]
    return outs if isinstance(x, list | tuple) else outs[0]


def jvp(y: Any, x: Any, tangent: Any) -> Any:
    """Jacobian-vector product: the tangent of x (of x's shape) pushed forward to y."""
    ys = list(y) if isinstance(y, list | tuple) else [y]
    xs = list(x) if isinstance(x, list | tuple) else [x]
    ts = list(tangent) if isinstance(x, list | tuple) else [tangent]
    _check(ys, xs)
    seeds = {a.node: _seed(a, b) for a, b in zip(xs, ts, strict=True)}
    outs = [Expr(n, sources(n, [*ys, *xs])) for n in push([a.node for a in ys], seeds)]
    return outs if isinstance(y, list | tuple) else outs[0]


def _check(ys: Sequence[Any], xs: Sequence[Any]) -> None:
    for e in (*ys, *xs):
        if not isinstance(e, Expr):
            raise DeclarationError(
                f"a derivative needs expressions, but got {type(e).__name__}: "
                "declare variables with prop.input or prop.parameter"
            )
        if e.dtype not in FLOATS:
            raise DeclarationError(
                f"{describe(e)} is {e.dtype}, which has no derivative: use a float"
            )
    _check_namesakes(ys, xs)


def _check_namesakes(ys: Sequence[Expr], xs: Sequence[Expr]) -> None:
    """A variable declared twice is two variables: its gradient would be zeros, and a surprise."""
    read = leaves([e.node for e in ys])
    by_name = {leaf.name: leaf for leaf in read}
    for e in xs:
        other = by_name.get(e.node.name) if isinstance(e.node, Leaf) else None
        if other is not None and isinstance(e.node, Leaf) and e.node not in read:
            raise DeclarationError(
                f"the derivative is asked for {quoted(e.node.name)}{at(e.node.where)}, but the "
                f"expression is made of another {quoted(other.name)}{at(other.where)}: declare "
                "it once and use that one"
            )


def _seed(like: Expr, value: Any) -> Node:
    e = as_expr(value)
    if e.node.dims == like.node.dims:
        return e.node
    if e.ndim:
        raise ShapeError(
            f"the (co)tangent of {describe(like)} must have its shape "
            f"{shape_text(like)}, but has {shape_text(e)}"
        )
    loops = fresh(like.node.dims)
    return make("sum", loops, len(loops), (), t.read(0), [At(e.node, ())], like.dtype)


def _named(d: Node, primal: Node) -> Node:
    name = graph.hint(primal)
    if name and not graph.hint(d):
        graph.rename(d, f"grad_{name}")
    return d


# --- reverse ---------------------------------------------------------------------------------


def pull(ys: Sequence[Node], seeds: Sequence[Node], xs: Sequence[Node]) -> list[Node]:
    """Cotangents of xs for cotangents ``seeds`` of ys; zeros where ys do not depend on x."""
    ys = stabilise(ys, frozenset(xs))
    order = topological(ys)
    wanted = _dependent(order, xs)
    cotangents: dict[Node, list[Node]] = {}
    for y, seed in zip(ys, seeds, strict=True):
        cotangents.setdefault(y, []).append(seed)
    multiple: dict[Node, dict[int, Node]] = {}
    targets = set(xs)
    done: dict[Node, Node] = {}
    for node in reversed(order):
        if node not in wanted:
            continue
        if isinstance(node, Scan | Region | Opaque):
            if node in multiple:
                for operand, part in pull_many(node, multiple.pop(node), wanted):
                    cotangents.setdefault(operand, []).append(part)
            continue
        if node not in cotangents:
            continue
        g = total(node, cotangents.pop(node))
        if node in targets:
            done[node] = g
        if isinstance(node, Output):
            multiple.setdefault(node.of, {})[node.n] = g
        elif isinstance(node, Reduce):
            for operand, part in pull_reduce(node, g, wanted):
                cotangents.setdefault(operand, []).append(part)
    return [done.get(x) or filled(t.num(0), x.dims, x.dtype) for x in xs]


def _dependent(order: Sequence[Node], xs: Sequence[Node]) -> set[Node]:
    found = set(xs)
    for node in order:
        if node not in found and any(o in found for o in node.operands):
            found.add(node)
    return found


# --- forward ---------------------------------------------------------------------------------


def push(ys: Sequence[Node], seeds: Mapping[Node, Node]) -> list[Node]:
    """Tangents of ys for the tangents ``seeds``; zeros where y depends on none."""
    tangents: dict[Node, Node] = dict(seeds)
    many: dict[Node, dict[int, Node]] = {}
    ys = stabilise(ys, frozenset(seeds))
    for node in topological(ys):
        if node in tangents or isinstance(node, Leaf):
            continue
        if isinstance(node, Reduce):
            if node.dtype in FLOATS and any(o in tangents for o in node.operands):
                found = push_reduce(node, tangents)
                if found is not None:
                    tangents[node] = found
        elif isinstance(node, Output):
            if node.of in many and node.n in many[node.of]:
                tangents[node] = many[node.of][node.n]
        elif isinstance(node, Scan | Region | Opaque) and any(o in tangents for o in node.operands):
            many[node] = push_many(node, tangents)
    return [tangents.get(y) or filled(t.num(0), y.dims, y.dtype) for y in ys]
