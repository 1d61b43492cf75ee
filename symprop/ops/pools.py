"""Pools in one, two and three dimensions, and their reverse: one number for each window.

In: x[N, C, ...]; sizes, strides and paddings, one number for every axis or one for each.
Out: expressions over the places of the window. Guarantees: those of `symprop.ops.windows`; of equal
greatest elements in a window the first gets the gradient.
"""

from __future__ import annotations

import functools
import math
from typing import Any, cast

import numpy as np

from codegen.index import Guard, Ix, floordiv, guard
from symprop import term as t
from symprop.declarations import constant
from symprop.errors import ShapeError
from symprop.expression import Expr, as_expr, describe, divide, finish, shape_text
from symprop.graph import At, suggest
from symprop.make import fresh, make
from symprop.ops.structural import max as greatest
from symprop.ops.structural import mean
from symprop.ops.windows import AXES, numbers, slide

__all__ = [
    "adaptive_avg_pool", "adaptive_max_pool", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "global_avg_pool", "global_max_pool", "max_pool1d", "max_pool2d", "max_pool3d", "upsample",
]  # fmt: skip


def max_pool1d(x: Any, size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1) -> Expr:
    """Greatest element of each window of x[N, C, L]; padding is outside, not a value."""
    return pool("max", x, size, stride, padding, dilation, 1)


def max_pool2d(x: Any, size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1) -> Expr:
    """Greatest element of each window of x[N, C, H, W]; padding is outside, not a value."""
    return pool("max", x, size, stride, padding, dilation, 2)


def max_pool3d(x: Any, size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1) -> Expr:
    """Greatest element of each window of x[N, C, D, H, W]; padding is outside, not a value."""
    return pool("max", x, size, stride, padding, dilation, 3)


def avg_pool1d(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Expr:
    """Mean of each window of x[N, C, L]; padded places count as 0 in the mean."""
    return average(x, size, stride, padding, 1)


def avg_pool2d(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Expr:
    """Mean of each window of x[N, C, H, W]; padded places count as 0 in the mean."""
    return average(x, size, stride, padding, 2)


def avg_pool3d(x: Any, size: Any, stride: Any = None, padding: Any = 0) -> Expr:
    """Mean of each window of x[N, C, D, H, W]; padded places count as 0 in the mean."""
    return average(x, size, stride, padding, 3)


def average(x: Any, size: Any, stride: Any, padding: Any, rank: int) -> Expr:
    count = math.prod(numbers(size, rank, "the window", 1))
    return divide(pool("sum", x, size, stride, padding, 1, rank), count)


def pool(op: Any, x: Any, size: Any, stride: Any, padding: Any, dilation: Any, rank: int) -> Expr:
    """What the pools of every rank are."""
    x = as_expr(x)
    if x.ndim != rank + 2:
        raise ShapeError(
            f"pooling needs x[N, C, {AXES[rank]}], got {shape_text(x)} from {describe(x)}"
        )
    k = numbers(size, rank, "the window", 1)
    p = numbers(padding, rank, "the padding", 0)
    if any(2 * a > b for a, b in zip(p, k, strict=True)):
        raise ShapeError(f"the padding {p} of pooling must be at most half of the window {k}")
    window = slide("pooling", k, k if stride is None else stride, p, dilation)
    loops = fresh([*x.node.dims[:2], *window.places(x), *k])
    at, guards = window.at(x, loops[2 : 2 + rank], loops[2 + rank :])
    read = At(x.node, (loops[0].ix(), loops[1].ix(), *at))
    return finish(make(op, loops, 2 + rank, guards, t.read(0), [read], x.dtype), "pool", [x])


def global_avg_pool(x: Any) -> Expr:
    """Mean of each channel of x[N, C, ...]: [N, C]."""
    x = channels_first("global_avg_pool", x)
    return called("pool", mean(x, tuple(range(2, x.ndim))))


def global_max_pool(x: Any) -> Expr:
    """Greatest element of each channel of x[N, C, ...]: [N, C]."""
    x = channels_first("global_max_pool", x)
    return called("pool", greatest(x, tuple(range(2, x.ndim))))


def adaptive_avg_pool(x: Any, size: Any) -> Expr:
    """x[N, C, ...] averaged to `size` places an axis; place i has the elements from floor(i*L/size)
    to ceil((i + 1)*L/size), as torch's."""
    x, counts = adapted("adaptive_avg_pool", "sum", x, size)
    return called("pool", x / constant(counts, "counts"))


def adaptive_max_pool(x: Any, size: Any) -> Expr:
    """The greatest element of each of `size` places an axis, which are those of the average."""
    return called("pool", adapted("adaptive_max_pool", "max", x, size)[0])


def adapted(what: str, op: Any, x: Any, size: Any) -> tuple[Expr, Any]:
    """x reduced over windows of unequal sizes, and how many elements each has."""
    x = channels_first(what, x)
    rank = x.ndim - 2
    outs, dims = numbers(size, rank, "the size", 1), x.node.dims[2:]
    lengths = [d.value for d in dims]
    if any(n is None for n in lengths):
        raise ShapeError(f"{what} needs fixed axes, got {shape_text(x)} from {describe(x)}")
    bounds = [
        [(i * n // o, -((-(i + 1) * n) // o)) for i in range(o)]
        for n, o in zip(cast("list[int]", lengths), outs, strict=True)
    ]
    widest = [max(b - a for a, b in each) for each in bounds]
    loops = fresh([*x.node.dims[:2], *outs, *widest])
    index: list[Ix] = []
    guards: list[Guard | bool] = []
    for k, (n, o) in enumerate(zip(cast("list[int]", lengths), outs, strict=True)):
        i, step = loops[2 + k].ix(), loops[2 + rank + k].ix()
        ix = floordiv(i * n, o) + step
        index.append(ix)
        guards.append(guard(floordiv((i + 1) * n + (o - 1), o) - 1 - ix, ">="))
        guards.append(guard(n - 1 - ix, ">="))
    read = At(x.node, (loops[0].ix(), loops[1].ix(), *index))
    node = make(op, loops, 2 + rank, guards, t.read(0), [read], x.dtype)
    counts = functools.reduce(
        np.multiply.outer, [np.array([b - a for a, b in each], float) for each in bounds]
    )
    return finish(node, "pool", [x]), counts


def upsample(x: Any, scale: Any) -> Expr:
    """Each element of x[N, C, ...] repeated `scale` times along every further axis (nearest)."""
    x = channels_first("upsample", x)
    rank = x.ndim - 2
    scales = numbers(scale, rank, "the scale", 1)
    dims = [d * s for d, s in zip(x.node.dims[2:], scales, strict=True)]
    loops = fresh([*x.node.dims[:2], *dims])
    places = [floordiv(v.ix(), s) for v, s in zip(loops[2:], scales, strict=True)]
    read = At(x.node, (loops[0].ix(), loops[1].ix(), *places))
    node = make("sum", loops, x.ndim, (), t.read(0), [read], x.dtype)
    return finish(node, "upsample", [x])


def channels_first(what: str, x: Any) -> Expr:
    """x with at least one axis after the batch and the channels."""
    value = as_expr(x)
    if value.ndim < 3:
        raise ShapeError(
            f"{what} needs x[N, C, ...], got {shape_text(value)} from {describe(value)}"
        )
    return value


def called(word: str, x: Expr) -> Expr:
    suggest(x.node, word)
    return x
