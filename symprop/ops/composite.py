"""Composite functions: a few lines each, written with the value node and other ops.

In: expressions. Out: expressions. Nothing downstream knows these names: a softmax is the nodes
below, and its gradient is derived from them.

Masks are guards, never infinities: ``where=`` (and an operand written ``where(mask, z, -inf)``)
leaves masked points out of the maximum, the sum and the result, so a fully masked row is exactly
0, with exact zero gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from codegen.index import Guard, Ix, gather, guard
from symprop import graph
from symprop import term as t
from symprop.errors import DeclarationError, ShapeError
from symprop.expression import Expr, as_expr, describe, finish, shape_text
from symprop.graph import At, Reduce
from symprop.make import elementwise as map_node
from symprop.make import fresh, make
from symprop.ops import elementwise as ops
from symprop.ops import stable
from symprop.ops.control import STOP
from symprop.ops.structural import matmul, mean, normal_axes, split_loops, transpose

__all__ = [
    "attention", "batch_norm", "glu", "layer_norm", "log_softmax", "logsumexp", "rms_norm",
    "softmax", "swiglu",
]  # fmt: skip

FINITE, NONZERO = stable.finite_or_zero.function, stable.one_if_zero.function
Guards = Callable[[Sequence[Ix]], list[Guard | bool]]


def _unmasked(z: Expr, where: Any) -> tuple[Expr, Guards]:
    """The operand and the guards of its points; where(mask, z, -inf) is read as a mask."""
    masks = [] if where is None else [as_expr(where)]
    node = z.node
    if isinstance(node, Reduce) and len(node.loops) == node.nout and not node.guards:
        body = node.body
        if isinstance(body, t.Call) and body.fn is t.SELECT:
            low = t.neg(t.call(t.INFINITY))
            c, a, b = body.args
            if a is low:
                c, a, b = t.call(t.NOT, c), b, a
            if b is low:
                z = Expr(make("sum", node.loops, node.nout, (), a, node.reads, node.dtype))
                masks.append(Expr(make("sum", node.loops, node.nout, (), c, node.reads, "bool")))
    for m in masks:
        if m.dtype != "bool":
            raise DeclarationError(f"where= needs a bool mask, but {describe(m)} is {m.dtype}")

    def guards(index: Sequence[Ix]) -> list[Guard | bool]:
        found: list[Guard | bool] = []
        for m in masks:
            tail = list(index)[len(index) - m.ndim :]
            at = [i * 0 if d.value == 1 else i for i, d in zip(tail, m.node.dims, strict=True)]
            found.append(guard(gather(m.node, at) - 1, "=="))
        return found

    return z, guards


def _shifted_exp(
    z: Expr, axes: tuple[int, ...], guards: Guards, finite: bool = True
) -> tuple[Expr, Expr, Expr]:
    """exp(z - max z) where the guards hold, its sum, and the maximum, held constant. ``finite``:
    an infinite maximum shifts nothing, and a sum of nothing but zeros is 1, so that a row of -inf
    alone is 0, not NaN, when it is divided by it.

    The result of every caller does not depend on the shift, so its derivative through it is 0 at
    every order: it is stopped here rather than derived and proved away.
    """
    loops, index, _ = split_loops(z, axes)
    nout = len(loops) - len(axes)
    top = make("max", loops, nout, guards(index), t.read(0), [At(z.node, tuple(index))], z.dtype)
    over = fresh(z.node.dims)
    at = tuple(item.ix() for item in over)
    row = tuple(item.ix() for k, item in enumerate(over) if k not in axes)
    shift = t.call(STOP, t.call(FINITE, t.read(1)) if finite else t.read(1))
    body = t.call(ops.exp.function, t.read(0) - shift)
    reads = [At(z.node, at), At(top, row)]
    e = make("sum", over, len(over), guards(at), body, reads, z.dtype)
    s = make("sum", loops, nout, (), t.read(0), [At(e, tuple(index))], z.dtype)
    total = finish(s, "sum", [z])
    if finite:
        nonzero = map_node(t.call(NONZERO, t.read(0)), [s], s.dims, z.dtype)
        total = _called("total", finish(nonzero, "total", [z]))
    return finish(e, "exp", [z]), total, finish(top, "max", [z])


def _floats(x: Any, what: str) -> Expr:
    value = as_expr(x)
    return value if value.dtype in graph.FLOATS else value.astype("float")


def _called(word: str, x: Expr) -> Expr:
    """The value, with a role for a name where the user gives none."""
    graph.suggest(x.node, word)
    return x


def softmax(x: Any, axis: Any = -1, where: Any = None) -> Expr:
    """exp(x) / sum exp(x) over an axis, shifted by the maximum; masked points are exactly 0, and so
    is a row that is -inf throughout, with its derivatives."""
    z, guards = _unmasked(_floats(x, "softmax"), where)
    axes = normal_axes(z, axis)
    e, s, _ = _shifted_exp(z, axes, guards)
    over = fresh(z.node.dims)
    at = tuple(item.ix() for item in over)
    row = tuple(item.ix() for k, item in enumerate(over) if k not in axes)
    reads = [At(e.node, at), At(s.node, row)]
    node = make("sum", over, len(over), guards(at), t.read(0) / t.read(1), reads, z.dtype)
    return finish(node, "softmax", [z])


def logsumexp(x: Any, axis: Any = -1, keepdims: bool = False, where: Any = None) -> Expr:
    """log sum exp(x) over axes, shifted by the maximum; -inf where every point is masked, or is
    -inf, with the derivatives 0."""
    z, guards = _unmasked(_floats(x, "logsumexp"), where)
    return _logsumexp(z, axis, keepdims, guards)


def plain_logsumexp(z: Expr, axis: Any = -1, keepdims: bool = False) -> Expr:
    """The same of scores, of which every row has a finite one that is not masked."""
    z, guards = _unmasked(_floats(z, "logsumexp"), None)
    return _logsumexp(z, axis, keepdims, guards, finite=False)


def _logsumexp(z: Expr, axis: Any, keepdims: bool, guards: Guards, finite: bool = True) -> Expr:
    axes = normal_axes(z, axis)
    _, s, top = _shifted_exp(z, axes, guards, finite)
    log = t.call(ops.log.function, t.read(0))
    node = map_node(log + t.call(STOP, t.read(1)), [s.node, top.node], s.node.dims, z.dtype)
    out = finish(node, "logsumexp", [z])
    if keepdims:
        out = out[tuple(None if k in axes else slice(None) for k in range(z.ndim))]
    return out


def log_softmax(x: Any, axis: Any = -1) -> Expr:
    """x - logsumexp(x) over an axis."""
    z = _floats(x, "log_softmax")
    return z - plain_logsumexp(z, axis, keepdims=True)


def _affine(x: Expr, weight: Any, bias: Any) -> Expr:
    if weight is not None:
        x = x * as_expr(weight)
    return x if bias is None else x + as_expr(bias)


def layer_norm(
    x: Any, weight: Any = None, bias: Any = None, axis: Any = -1, eps: float = 1e-5
) -> Expr:
    """(x - mean) / sqrt(variance + eps) over axes, scaled and shifted (Ba et al. 2016)."""
    x = as_expr(x)
    axes = normal_axes(x, axis)
    centred = x - mean(x, axes, keepdims=True)
    spread = ops.sqrt(mean(centred * centred, axes, keepdims=True) + eps)
    _called("centred", centred)
    _called("spread", spread)
    return _affine(_called("normalised", centred / spread), weight, bias)


def rms_norm(x: Any, weight: Any = None, axis: Any = -1, eps: float = 1e-5) -> Expr:
    """x / sqrt(mean of squares + eps) over axes, scaled (Zhang and Sennrich 2019)."""
    x = as_expr(x)
    scale = _called("rms", ops.sqrt(mean(x * x, normal_axes(x, axis), keepdims=True) + eps))
    return _affine(_called("normalised", x / scale), weight, None)


def batch_norm(
    x: Any, weight: Any = None, bias: Any = None, axes: Any = 0, eps: float = 1e-5
) -> Expr:
    """Normalised with the batch's own mean and variance (Ioffe and Szegedy 2015).

    ``axes`` are averaged over; weight and bias have the shape of the others, (F,) for x[N, F] and
    for x[N, F, H, W] with axes=(0, 2, 3).
    """
    x = as_expr(x)
    over = normal_axes(x, axes)

    def spread(v: Any) -> Expr | None:
        if v is None:
            return None
        own = as_expr(v)
        if own.ndim != x.ndim - len(over):
            return own
        return own[tuple(None if k in over else slice(None) for k in range(x.ndim))]

    return layer_norm(x, spread(weight), spread(bias), over, eps)


def attention(q: Any, k: Any, v: Any, causal: bool = False, mask: Any = None) -> Expr:
    """softmax(q k^T / sqrt(D)) v over [.., T, D] (Vaswani et al. 2017).

    ``causal`` lets position i see j <= i only; ``mask`` is a bool [.., T, S], true where j is
    seen. A query that sees nothing gets exactly 0.
    """
    q, k, v = as_expr(q), as_expr(k), as_expr(v)
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.node.dims[-1].value is None:
        raise ShapeError(f"attention needs [.., T, D] with a fixed D, got {shape_text(q)} from "
                         f"{describe(q)}")  # fmt: skip
    for word, e in (("query", q), ("key", k), ("value", v)):
        _called(word, e)
    order = (*range(k.ndim - 2), k.ndim - 1, k.ndim - 2)
    scores = matmul(q, transpose(k, order)) / ops.sqrt(as_expr(float(q.node.dims[-1].value)))
    root = math.isqrt(q.node.dims[-1].value)
    if root * root == q.node.dims[-1].value:
        scores = matmul(q, transpose(k, order)) / root
    _called("scores", scores)
    _, masked = _unmasked(scores, mask)

    def guards(index: Sequence[Ix]) -> list[Guard | bool]:
        seen = [guard(index[-2] - index[-1], ">=")] if causal else []
        return [*masked(index), *seen]

    e, s, _ = _shifted_exp(scores, (scores.ndim - 1,), guards, finite=False)
    over = fresh(scores.node.dims)
    at = tuple(item.ix() for item in over)
    reads = [At(e.node, at), At(s.node, at[:-1])]
    node = make("sum", over, len(over), guards(at), t.read(0) / t.read(1), reads, scores.dtype)
    return matmul(finish(node, "softmax", [scores]), v)


def _halves(x: Any, axis: int, what: str) -> tuple[Expr, Expr]:
    """The first and the second half of an axis of even, fixed size."""
    x = _floats(x, what)
    (a,) = normal_axes(x, axis)
    n = x.node.dims[a].value
    if n is None or n % 2:
        raise ShapeError(f"{what} halves axis {a} of {describe(x)}, {shape_text(x)}, which must "
                         "be even and fixed")  # fmt: skip
    lead = (slice(None),) * a
    return x[(*lead, slice(None, n // 2))], x[(*lead, slice(n // 2, None))]


def glu(x: Any, axis: int = -1) -> Expr:
    """a * sigmoid(b) of the halves a, b of an axis (Dauphin et al. 2017)."""
    a, b = _halves(x, axis, "glu")
    return cast(Expr, a * ops.sigmoid(b))


def swiglu(x: Any, axis: int = -1) -> Expr:
    """silu(a) * b of the halves a, b of an axis (Shazeer 2020)."""
    a, b = _halves(x, axis, "swiglu")
    return cast(Expr, ops.silu(a) * b)
