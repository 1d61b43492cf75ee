"""Convolutions in one, two and three dimensions: windows that slide along the last axes.

In: x[N, C, ...] with one, two or three further axes; sizes, strides, paddings and dilations, one
number for every axis or one for each. Out: expressions over the places of the window.
Guarantees: a place outside of x contributes nothing (a guard, no zeros are stored); everything is
one reduction over the window, so that its gradients are derived from it; the formulas and shapes
are torch's.

Padding may be a number of places on both sides, "valid" (0) or "same": as many places as there
were, an odd one after the end, with stride 1. The pools are in `symprop.ops.pools`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from codegen.index import Guard, Ix, Loop, as_ix, floordiv, guard
from symprop import graph
from symprop import term as t
from symprop.chain import transposed_reduce
from symprop.errors import DeclarationError, ShapeError, UnsupportedError, quoted
from symprop.expression import Expr, as_expr, describe, finish, shape_text
from symprop.graph import At, Origin, Reduce
from symprop.make import fresh, make
from symprop.ops.structural import reshape

__all__ = [
    "Slide", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "numbers", "slide",
]  # fmt: skip

AXES = {1: "L", 2: "H, W", 3: "D, H, W"}


@dataclass(frozen=True)
class Slide:
    """How a window moves: its size, stride, dilation, and the padding before and after, an axis."""

    what: str
    size: tuple[int, ...]
    stride: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    dilation: tuple[int, ...]

    def places(self, x: Expr) -> list[Ix]:
        """How many places the window has along each of the last axes of x."""
        found = []
        for k, size in enumerate(self.size):
            axis = x.ndim - len(self.size) + k
            reach = self.dilation[k] * (size - 1) + 1
            span = x.node.dims[axis] + self.before[k] + self.after[k] - reach
            count = floordiv(span, self.stride[k]) + 1
            if count.value is not None and count.value < 1:
                raise ShapeError(
                    f"the window of {self.what}, {size} with padding {self.before[k]} and "
                    f"dilation {self.dilation[k]}, is larger than axis {axis} of {describe(x)}, "
                    f"{shape_text(x)}"
                )
            found.append(count)
        return found

    def at(
        self, x: Expr, places: Sequence[Loop], window: Sequence[Loop]
    ) -> tuple[list[Ix], list[Guard | bool]]:
        """Where a point of the window lies in x, and that it lies inside."""
        index: list[Ix] = []
        guards: list[Guard | bool] = []
        for k, (place, point) in enumerate(zip(places, window, strict=True)):
            ix = place.ix() * self.stride[k] + point.ix() * self.dilation[k] - self.before[k]
            length = x.node.dims[x.ndim - len(self.size) + k]
            index.append(ix)
            guards += [guard(ix, ">="), guard(length - 1 - ix, ">=")]
        return index, guards


def numbers(value: Any, rank: int, what: str, least: int) -> tuple[int, ...]:
    """One whole number for each axis."""
    given = tuple(value) if isinstance(value, tuple | list) else (value,) * rank
    if len(given) != rank or any(
        isinstance(p, bool) or not isinstance(p, int | np.integer) or p < least for p in given
    ):
        each = "a pair" if rank == 2 else f"{rank}"
        several = "" if rank == 1 else f" or {each} of them"
        raise DeclarationError(
            f"{what} must be a whole number >= {least}{several}, but is {quoted(value)}"
        )
    return tuple(int(p) for p in given)


def slide(what: str, size: Sequence[int], stride: Any, padding: Any, dilation: Any = 1) -> Slide:
    """The window from what a user says."""
    rank = len(size)
    steps = numbers(stride, rank, "the stride", 1)
    spread = numbers(dilation, rank, "the dilation", 1)
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise DeclarationError(
                f"the padding must be a number, 'same' or 'valid', but is {quoted(padding)}"
            )
        if padding == "same" and any(s != 1 for s in steps):
            raise DeclarationError(
                f"padding='same' of {what} needs the stride 1, but it is {quoted(stride)}: give "
                "the padding as a number"
            )
        whole = [d * (k - 1) if padding == "same" else 0 for d, k in zip(spread, size, strict=True)]
        before = tuple(n // 2 for n in whole)
        after = tuple(n - b for n, b in zip(whole, before, strict=True))
    else:
        before = after = numbers(padding, rank, "the padding", 0)
    return Slide(what, tuple(size), steps, before, after, spread)


def public(d: Ix) -> Any:
    return d if d.value is None else d.value


# --- convolutions ----------------------------------------------------------------------------


def conv1d(
    x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Expr:  # fmt: skip
    """Cross-correlation of x[N, C, L] with w[O, C/groups, K], as every framework's conv."""
    return conv(x, w, bias, stride, padding, dilation, groups, 1)


def conv2d(
    x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Expr:  # fmt: skip
    """Cross-correlation of x[N, C, H, W] with w[O, C/groups, KH, KW], as every framework's conv."""
    return conv(x, w, bias, stride, padding, dilation, groups, 2)


def conv3d(
    x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Expr:  # fmt: skip
    """Cross-correlation of x[N, C, D, H, W] with w[O, C/groups, KD, KH, KW]."""
    return conv(x, w, bias, stride, padding, dilation, groups, 3)


def conv(
    x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int, rank: int
) -> Expr:
    """What the convolutions of every rank are."""
    what = f"conv{rank}d"
    x, w = as_expr(x), as_expr(w)
    if x.ndim != rank + 2 or w.ndim != rank + 2:
        windows = ", ".join("K" + a for a in AXES[rank].split(", ")) if rank > 1 else "K"
        raise ShapeError(
            f"{what} needs x[N, C, {AXES[rank]}] and w[O, C/groups, {windows}], got "
            f"{shape_text(x)} from {describe(x)} and {shape_text(w)} from {describe(w)}"
        )
    channels, (o, per, *size) = x.node.dims[1], w.node.dims
    if any(c.value is None for c in (channels, o, per, *size)):
        raise UnsupportedError(f"{what} needs fixed channels and window, got {shape_text(w)}")
    check_groups(what, groups, channels, w)
    window = slide(what, [cast(int, k.value) for k in size], stride, padding, dilation)
    return biased(united(linear(x, w, window, groups), rank), bias, rank)


def linear(x: Expr, w: Expr, window: Slide, groups: int) -> Expr:
    """The convolution as one reduction: [N, O, ...], or [N, groups, O/groups, ...]."""
    return grouped(x, w, window, groups) if groups > 1 else whole(x, w, window)


def united(y: Expr, rank: int) -> Expr:
    """The channels of all groups on one axis."""
    if y.ndim == rank + 2:
        return y
    n, groups, each, *places = (public(d) for d in y.node.dims)
    return reshape(y, (n, groups * each, *places))


def check_groups(what: str, groups: Any, channels: Ix, w: Expr) -> None:
    """Refuse channels that the groups do not divide."""
    o, per = (cast(int, d.value) for d in w.node.dims[:2])
    good = isinstance(groups, int | np.integer) and not isinstance(groups, bool) and groups >= 1
    if not good or channels.value != per * groups or o % groups:
        raise ShapeError(
            f"{what} with groups={quoted(groups)} needs w[O, {channels!r}/{groups}, ...] with O a "
            f"multiple of {groups}, got {shape_text(w)} from {describe(w)}"
        )


def whole(x: Expr, w: Expr, window: Slide) -> Expr:
    """Every output channel reads every input channel."""
    rank = len(window.size)
    o, channels, *size = w.node.dims
    loops = fresh([x.node.dims[0], o, *window.places(x), channels, *size])
    item = [v.ix() for v in loops]
    at, guards = window.at(x, loops[2 : 2 + rank], loops[3 + rank :])
    reads = [
        At(x.node, (item[0], item[2 + rank], *at)),
        At(w.node, (item[1], *item[2 + rank :])),
    ]
    node = make("sum", loops, 2 + rank, guards, t.read(0) * t.read(1), reads, x.dtype)
    return finish(node, window.what, [x, w])


def grouped(x: Expr, w: Expr, window: Slide, groups: int) -> Expr:
    """A group of output channels reads its own group of input channels."""
    rank = len(window.size)
    n = x.node.dims[0]
    o, per = (cast(int, d.value) for d in w.node.dims[:2])
    each, places = o // groups, window.places(x)
    loops = fresh([n, groups, each, *places, per, *w.node.dims[2:]])
    item = [v.ix() for v in loops]
    at, guards = window.at(x, loops[3 : 3 + rank], loops[4 + rank :])
    channel = item[3 + rank]
    reads = [
        At(x.node, (item[0], item[1] * per + channel, *at)),
        At(w.node, (item[1] * each + item[2], channel, *item[4 + rank :])),
    ]
    node = make("sum", loops, 3 + rank, guards, t.read(0) * t.read(1), reads, x.dtype)
    return finish(node, window.what, [x, w])


def biased(out: Expr, bias: Any, rank: int) -> Expr:
    return out if bias is None else out + as_expr(bias)[(slice(None), *(None,) * rank)]


# --- transposed convolutions -----------------------------------------------------------------


def conv_transpose1d(
    x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Expr:  # fmt: skip
    """The transpose of `conv1d` as a linear map: x[N, C, L], w[C, O/groups, K]."""
    return transposed(x, w, bias, stride, padding, output_padding, dilation, groups, 1)


def conv_transpose2d(
    x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Expr:  # fmt: skip
    """The transpose of `conv2d` as a linear map: x[N, C, H, W], w[C, O/groups, KH, KW].

    The output has (H - 1)*stride - 2*padding + dilation*(KH - 1) + output_padding + 1 rows.
    V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning, 2016, chapter 4.
    """
    return transposed(x, w, bias, stride, padding, output_padding, dilation, groups, 2)


def conv_transpose3d(
    x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Expr:  # fmt: skip
    """The transpose of `conv3d` as a linear map: x[N, C, D, H, W], w[C, O/groups, KD, KH, KW]."""
    return transposed(x, w, bias, stride, padding, output_padding, dilation, groups, 3)


def transposed(
    x: Any, w: Any, bias: Any, stride: Any, padding: Any, more: Any, dilation: Any, groups: int,
    rank: int,
) -> Expr:  # fmt: skip
    """What pulls x back through a convolution to its image, which it does not read."""
    what = f"conv_transpose{rank}d"
    x, w = as_expr(x), as_expr(w)
    if x.ndim != rank + 2 or w.ndim != rank + 2:
        raise ShapeError(
            f"{what} needs x[N, C, {AXES[rank]}] and w[C, O/groups, ...], got {shape_text(x)} "
            f"from {describe(x)} and {shape_text(w)} from {describe(w)}"
        )
    steps = numbers(stride, rank, "the stride", 1)
    pad = numbers(padding, rank, "the padding", 0)
    spread = numbers(dilation, rank, "the dilation", 1)
    extra = numbers(more, rank, "the output padding", 0)
    for k in range(rank):
        if extra[k] >= max(steps[k], spread[k]):
            raise DeclarationError(
                f"the output padding of {what} must be less than the stride or the dilation, but "
                f"is {extra[k]} for the stride {steps[k]}"
            )
    if any(d.value is None for d in w.node.dims) or x.node.dims[1].value != w.node.dims[0].value:
        raise ShapeError(
            f"{what} needs w[C, O/groups, ...] with the {x.node.dims[1]!r} channels of "
            f"{describe(x)}, got {shape_text(w)} from {describe(w)}"
        )
    sizes = [cast(int, d.value) for d in w.node.dims[2:]]
    places = [
        (x.node.dims[2 + k] - 1) * steps[k] - 2 * pad[k] + spread[k] * (sizes[k] - 1)
        + extra[k] + 1
        for k in range(rank)
    ]  # fmt: skip
    for k, d in enumerate(places):
        if d.value is not None and d.value < 1:
            raise ShapeError(
                f"{what} of {describe(x)}, {shape_text(x)}, with padding {pad[k]} has no place left"
            )
    outputs = cast(int, w.node.dims[1].value) * groups
    image = graph.new_leaf("input", "image", (x.node.dims[0], as_ix(outputs), *places), "float")
    window = Slide(f"conv{rank}d", tuple(sizes), steps, pad, pad, spread)
    forward = linear(Expr(image), w, window, groups)
    if groups > 1:
        n, channels, *lengths = (public(d) for d in x.node.dims)
        x = reshape(x, (n, groups, channels // groups, *lengths))
    source = Origin(graph.place(), what, (x.node, w.node))
    found = transposed_reduce(cast(Reduce, forward.node), image, x.node, source)
    return biased(finish(found, what, [x, w]), bias, rank)
