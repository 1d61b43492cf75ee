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

import numpy as np

from codegen.index import Guard, Ix, Loop, floordiv, gather, guard
from symprop import graph
from symprop import term as t
from symprop.errors import DeclarationError, ShapeError, UnsupportedError, quoted
from symprop.expression import Expr, as_expr, describe, divide, finish, shape_text
from symprop.graph import At, Reduce
from symprop.make import elementwise as map_node
from symprop.make import fresh, make
from symprop.ops import elementwise as ops
from symprop.ops.control import STOP
from symprop.ops.structural import matmul, mean, normal_axes, reshape, split_loops, transpose

__all__ = [
    "attention", "avg_pool2d", "batch_norm", "conv2d", "glu", "layer_norm",
    "log_softmax", "logsumexp", "max_pool2d", "rms_norm", "softmax", "swiglu",
]  # fmt: skip

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
    z: Expr, axes: tuple[int, ...], guards: Guards, finite: bool = False
) -> tuple[Expr, Expr, Expr]:
    """exp(z - max z) where the guards hold, its sum, and the maximum, held constant. ``finite``:
    an infinite maximum shifts nothing, so that the sum is what it is without the shift.

    The result of every caller does not depend on the shift, so its derivative through it is 0 at
    every order: it is stopped here rather than derived and proved away.
    """
    loops, index, _ = split_loops(z, axes)
    nout = len(loops) - len(axes)
    top = make("max", loops, nout, guards(index), t.read(0), [At(z.node, tuple(index))], z.dtype)
    if finite:
        top = map_node(_finite(t.read(0)), [top], top.dims, z.dtype)
    over = fresh(z.node.dims)
    at = tuple(item.ix() for item in over)
    row = tuple(item.ix() for k, item in enumerate(over) if k not in axes)
    body = t.call(ops.exp.function, t.read(0) - t.call(STOP, t.read(1)))
    reads = [At(z.node, at), At(top, row)]
    e = make("sum", over, len(over), guards(at), body, reads, z.dtype)
    s = make("sum", loops, nout, (), t.read(0), [At(e, tuple(index))], z.dtype)
    return finish(e, "exp", [z]), finish(s, "sum", [z]), finish(top, "max", [z])


def _finite(x: t.Term) -> t.Term:
    """x, or 0 where it is infinite."""
    infinity = t.call(t.INFINITY)
    inside = t.call(t.AND, t.call(t.LT, t.neg(infinity), x), t.call(t.LT, x, infinity))
    return t.select(inside, x, 0)


def _floats(x: Any, what: str) -> Expr:
    value = as_expr(x)
    return value if value.dtype in graph.FLOATS else value.astype("float")


def _called(word: str, x: Expr) -> Expr:
    """The value, with a role for a name where the user gives none."""
    graph.suggest(x.node, word)
    return x


def softmax(x: Any, axis: Any = -1, where: Any = None) -> Expr:
    """exp(x) / sum exp(x) over an axis, shifted by the maximum; masked points are exactly 0."""
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
    """log sum exp(x) over axes, shifted by the maximum; -inf where every point is masked."""
    z, guards = _unmasked(_floats(x, "logsumexp"), where)
    axes = normal_axes(z, axis)
    _, s, top = _shifted_exp(z, axes, guards)
    log = t.call(ops.log.function, t.read(0))
    node = map_node(log + t.call(STOP, t.read(1)), [s.node, top.node], s.node.dims, z.dtype)
    out = finish(node, "logsumexp", [z])
    if keepdims:
        out = out[tuple(None if k in axes else slice(None) for k in range(z.ndim))]
    return out


def log_softmax(x: Any, axis: Any = -1) -> Expr:
    """x - logsumexp(x) over an axis."""
    z = _floats(x, "log_softmax")
    return z - logsumexp(z, axis, keepdims=True)


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

    e, s, _ = _shifted_exp(scores, (scores.ndim - 1,), guards)
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


# --- windows ---------------------------------------------------------------------------------


def _pair(value: Any, what: str, least: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2 or any(
        isinstance(p, bool) or not isinstance(p, int | np.integer) or p < least for p in pair
    ):
        raise DeclarationError(f"{what} must be a whole number >= {least} or a pair of them, "
                               f"but is {quoted(value)}")  # fmt: skip
    return int(pair[0]), int(pair[1])


def _window(
    x: Expr, size: Sequence[int], stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], what: str,
) -> list[Ix]:  # fmt: skip
    out = []
    for k in range(2):
        span = x.node.dims[-2 + k] + 2 * padding[k] - dilation[k] * (size[k] - 1) - 1
        found = floordiv(span, stride[k]) + 1
        if found.value is not None and found.value < 1:
            raise ShapeError(f"the window of {what}, {size[k]} with padding {padding[k]} and "
                             f"dilation {dilation[k]}, is larger than axis {x.ndim - 2 + k} of "
                             f"{describe(x)}, {shape_text(x)}")  # fmt: skip
        out.append(found)
    return out


def _place(
    x: Expr, out: Sequence[Loop], window: Sequence[Loop], stride: Sequence[int],
    padding: Sequence[int], dilation: Sequence[int],
) -> tuple[list[Ix], list[Guard | bool]]:  # fmt: skip
    index, guards = [], []
    for k in range(2):
        ix = out[k].ix() * stride[k] + window[k].ix() * dilation[k] - padding[k]
        index.append(ix)
        guards += [guard(ix, ">="), guard(x.node.dims[-2 + k] - 1 - ix, ">=")]
    return index, guards


def conv2d(
    x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Expr:  # fmt: skip
    """Cross-correlation of x[N, C, H, W] with w[O, C/groups, KH, KW], as every framework's conv."""
    x, w = as_expr(x), as_expr(w)
    if x.ndim != 4 or w.ndim != 4:
        raise ShapeError(f"conv2d needs x[N, C, H, W] and w[O, C/groups, KH, KW], got "
                         f"{shape_text(x)} from {describe(x)} and {shape_text(w)} from "
                         f"{describe(w)}")  # fmt: skip
    s, p = _pair(stride, "the stride", 1), _pair(padding, "the padding", 0)
    d, g = _pair(dilation, "the dilation", 1), groups
    n, channels, _, _ = x.node.dims
    o, per, *size = w.node.dims
    fixed = [c.value for c in (channels, o, per, *size)]
    if any(c is None for c in fixed):
        raise UnsupportedError(f"conv2d needs fixed channels and window, got {shape_text(w)}")
    if g < 1 or channels.value != cast(int, per.value) * g or cast(int, o.value) % g:
        raise ShapeError(f"conv2d with groups={g} needs w[O, {channels!r}/{g}, KH, KW] with O a "
                         f"multiple of {g}, got {shape_text(w)} from {describe(w)}")  # fmt: skip
    k = (cast(int, size[0].value), cast(int, size[1].value))
    oh, ow = _window(x, k, s, p, d, "conv2d")
    each = cast(int, o.value) // g
    if g == 1:
        return _biased(_plain_conv(x, w, (oh, ow), (s, p, d)), bias)
    loops = fresh([n, g, each, oh, ow, per, *k])
    item = [v.ix() for v in loops]
    at, guards = _place(x, loops[3:5], loops[6:8], s, p, d)
    reads = [
        At(x.node, (item[0], item[1] * cast(int, per.value) + item[5], *at)),
        At(w.node, (item[1] * each + item[2], item[5], item[6], item[7])),
    ]
    node = make("sum", loops, 5, guards, t.read(0) * t.read(1), reads, x.dtype)
    out = reshape(finish(node, "conv2d", [x, w]), (_public(n), o.value, _public(oh), _public(ow)))
    return _biased(out, bias)


def _biased(out: Expr, bias: Any) -> Expr:
    return out if bias is None else out + as_expr(bias)[:, None, None]


def _plain_conv(x: Expr, w: Expr, out: Sequence[Ix], how: Sequence[tuple[int, int]]) -> Expr:
    """Without groups; ``how`` is stride, padding, dilation."""
    o, channels, *size = w.node.dims
    loops = fresh([x.node.dims[0], o, *out, channels, *size])
    item = [v.ix() for v in loops]
    at, guards = _place(x, loops[2:4], loops[5:7], *how)
    reads = [At(x.node, (item[0], item[4], *at)), At(w.node, (item[1], *item[4:]))]
    node = make("sum", loops, 4, guards, t.read(0) * t.read(1), reads, x.dtype)
    return finish(node, "conv2d", [x, w])


def _public(d: Ix) -> Any:
    return d if d.value is None else d.value


def max_pool2d(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Expr:
    """Greatest element of each window of x[N, C, H, W]; padding is outside, not a value."""
    return _pool("max", x, size, stride, padding)


def avg_pool2d(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Expr:
    """Mean of each window of x[N, C, H, W]; padded places count as 0 in the mean."""
    k = _pair(size, "the window", 1)
    return divide(_pool("sum", x, size, stride, padding), k[0] * k[1])


def _pool(op: Any, x: Any, size: Any, stride: Any, padding: Any) -> Expr:
    x = as_expr(x)
    if x.ndim != 4:
        raise ShapeError(f"pooling needs x[N, C, H, W], got {shape_text(x)} from {describe(x)}")
    k, p = _pair(size, "the window", 1), _pair(padding, "the padding", 0)
    s = k if stride is None else _pair(stride, "the stride", 1)
    if any(2 * a > b for a, b in zip(p, k, strict=True)):
        raise ShapeError(f"the padding {p} of pooling must be at most half of the window {k}")
    oh, ow = _window(x, k, s, p, (1, 1), "pooling")
    n, c = x.node.dims[:2]
    loops = fresh([n, c, oh, ow, *k])
    at, guards = _place(x, loops[2:4], loops[4:6], s, p, (1, 1))
    read = At(x.node, (loops[0].ix(), loops[1].ix(), *at))
    return finish(make(op, loops, 4, guards, t.read(0), [read], x.dtype), "pool", [x])
