"""Layers of images and signals: convolutions, pools, residual sums.

In: x[N, C, ...], the channels on the second axis. Out: an expression of the same kind.
Guarantees: those of `symprop.layers`; weights have torch's shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from symprop.errors import DeclarationError, ShapeError, quoted
from symprop.expression import Expr, describe, shape_text
from symprop.initialize import Initializer, Zeros, initializer
from symprop.layers import Function, Layer, Sequential, fixed_axis, positive
from symprop.ops import pools, windows
from symprop.ops.structural import reshape

__all__ = [
    "AvgPool",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "ConvTranspose1D",
    "ConvTranspose2D",
    "ConvTranspose3D",
    "MaxPool",
    "Residual",
    "Upsample",
    "flatten",
]


class Conv(Layer):
    """What the convolutions share: `units` output channels, a window, how it slides."""

    kind = "conv"
    rank = 2

    def __init__(
        self,
        units: int,
        size: Any,
        name: str | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        init: str | Initializer = "he",
    ) -> None:
        super().__init__(name)
        self.units = positive(type(self).__name__, "units", units)
        self.size = windows.numbers(size, self.rank, "the window", 1)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups = positive(type(self).__name__, "groups", groups)
        self.bias, self.init = bias, initializer(init)

    def forward(self, x: Expr) -> Expr:
        channels = fixed_axis(self, x, 1, "batch channel=3 row=32 column=32")
        if channels % self.groups:
            raise ShapeError(
                f"{type(self).__name__} {quoted(self.name)} has {self.groups} groups, which do not "
                f"divide the {channels} channels of {describe(x)}"
            )
        shape = (self.units, channels // self.groups, *self.size)
        own = self.name.rpartition(".")[2]
        weight = self.parameter("weight", shape, self.init, axes(own, len(shape)))
        bias = self.parameter("bias", shape[:1], Zeros(), axes(own, 1)) if self.bias else None
        function = getattr(windows, f"conv{self.rank}d")
        y: Expr = function(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        return y.named(self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.units}, {self.size}, name={self.name!r})"


class Conv1D(Conv):
    """`units` channels of cross-correlations of x[N, C, L]; weights [units, C/groups, K]."""

    rank = 1


class Conv2D(Conv):
    """`units` channels of cross-correlations of x[N, C, H, W]; weights [units, C/groups, KH, KW].

    With groups equal to the channels it is depthwise.
    """


class Conv3D(Conv):
    """`units` channels of cross-correlations of x[N, C, D, H, W]."""

    rank = 3


class ConvTranspose(Layer):
    """What the transposed convolutions share."""

    kind = "conv_transpose"
    rank = 2

    def __init__(
        self,
        units: int,
        size: Any,
        name: str | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        init: str | Initializer = "he",
    ) -> None:
        super().__init__(name)
        self.units = positive(type(self).__name__, "units", units)
        self.size = windows.numbers(size, self.rank, "the window", 1)
        self.how = (stride, padding, output_padding, dilation)
        self.groups = positive(type(self).__name__, "groups", groups)
        if self.units % self.groups:
            raise DeclarationError(
                f"{type(self).__name__} has {self.groups} groups, which do not divide its "
                f"{self.units} units"
            )
        self.bias, self.init = bias, initializer(init)

    def forward(self, x: Expr) -> Expr:
        channels = fixed_axis(self, x, 1, "batch channel=8 row=4 column=4")
        shape = (channels, self.units // self.groups, *self.size)
        weight = self.parameter("weight", shape, self.init, ("",) * len(shape))
        own = axes(self.name.rpartition(".")[2], 1)
        bias = self.parameter("bias", (self.units,), Zeros(), own) if self.bias else None
        function = getattr(windows, f"conv_transpose{self.rank}d")
        y: Expr = function(x, weight, bias, *self.how, self.groups)
        return y.named(self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.units}, {self.size}, name={self.name!r})"


class ConvTranspose1D(ConvTranspose):
    """The transpose of `Conv1D` as a linear map; weights [C, units/groups, K]."""

    rank = 1


class ConvTranspose2D(ConvTranspose):
    """The transpose of `Conv2D` as a linear map; weights [C, units/groups, KH, KW]."""


class ConvTranspose3D(ConvTranspose):
    """The transpose of `Conv3D` as a linear map; weights [C, units/groups, KD, KH, KW]."""

    rank = 3


def axes(own: str, count: int) -> tuple[str, ...]:
    """The names of a weight's axes: the first is the layer's, where that is a word."""
    return (own if own.isidentifier() else "", *("",) * (count - 1))


class MaxPool(Layer):
    """The greatest element of each window of x[N, C, ...], over all further axes."""

    kind = "max_pool"

    def __init__(self, size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, x: Expr) -> Expr:
        return self._pool("max", x)

    def _pool(self, which: str, x: Expr) -> Expr:
        if not 3 <= x.ndim <= 5:
            raise ShapeError(f"pooling needs x[N, C, ...], got {shape_text(x)} from {describe(x)}")
        function = getattr(pools, f"{which}_pool{x.ndim - 2}d")
        y: Expr = function(x, self.size, self.stride, self.padding)
        return y

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size})"


class AvgPool(MaxPool):
    """The mean of each window of x[N, C, ...]; padded places count as 0 in it."""

    kind = "avg_pool"

    def forward(self, x: Expr) -> Expr:
        return self._pool("avg", x)


class Upsample(Layer):
    """Each element repeated along all axes after the channels."""

    kind = "upsample"

    def __init__(self, scale: Any) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Expr) -> Expr:
        return pools.upsample(x, self.scale)


class Residual(Layer):
    """x + f(x), f the steps inside, which keep the shape; `shortcut` replaces the first x.

    K. He, X. Zhang, S. Ren and J. Sun, Deep residual learning for image recognition, CVPR 2016.
    """

    kind = "residual"

    def __init__(
        self,
        *steps: Layer | Function,
        shortcut: Layer | Function | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name)
        self.inside = Sequential(*steps, name=name)
        self.shortcut = shortcut
        if isinstance(shortcut, Layer) and shortcut.given_name is None:
            shortcut.rename(f"{self.name}.shortcut")

    def rename(self, name: str) -> None:
        super().rename(name)
        self.inside.rename(name)
        if isinstance(self.shortcut, Layer) and self.shortcut.given_name is None:
            self.shortcut.rename(f"{name}.shortcut")

    def forward(self, x: Expr) -> Expr:
        y, kept = self.inside(x), x if self.shortcut is None else self.shortcut(x)
        if y.node.dims != kept.node.dims:
            raise ShapeError(
                f"Residual {quoted(self.name)} adds its input, of shape {shape_text(kept)}, to "
                f"what is inside, of shape {shape_text(y)}: give it a shortcut=, such as "
                "prop.Conv2D(units, 1)"
            )
        return (kept + y).named(self.name)

    @property
    def parameters(self) -> Mapping[str, Expr]:
        """The parameters of the steps inside and of the shortcut."""
        found = dict(self.inside.parameters)
        if isinstance(self.shortcut, Layer):
            found |= self.shortcut.parameters
        return MappingProxyType(found)


def flatten(x: Expr) -> Expr:
    """x[N, ...] with all axes but the first made one: [N, features]."""
    return reshape(x, (x.shape[0], -1))
