"""Layers that normalise: BatchNorm, LayerNorm, RMSNorm, GroupNorm, InstanceNorm.

In: an expression. Out: one of its shape. Guarantees: those of `symprop.layers`; scales start at 1
and shifts at 0; what training keeps for predictions is a state, updated by the training step.
"""

from __future__ import annotations

from typing import Any

from symprop.declarations import size
from symprop.errors import DeclarationError, ShapeError, quoted
from symprop.expression import Expr, axis_names, describe
from symprop.initialize import Constant, Zeros
from symprop.layers import Layer, fixed_axis, last_axis_name, positive
from symprop.modes import in_training
from symprop.ops.composite import batch_norm, layer_norm, rms_norm
from symprop.ops.control import update
from symprop.ops.elementwise import maximum, sqrt, square
from symprop.ops.structural import mean, reshape

__all__ = ["BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "RMSNorm"]


class BatchNorm(Layer):
    """Each channel, axis 1, less its mean and divided by its spread over the batch and all further
    axes, scaled and shifted.

    While training, the mean and variance are those of the batch, and running averages of them
    (`running_mean`, and `running_var` of the unbiased variance) follow with `momentum`; in
    predictions and evaluations the running ones are used. S. Ioffe and C. Szegedy, Batch
    normalization, ICML 2015; the formulas and defaults are torch's.
    """

    kind = "batch_norm"

    def __init__(self, name: str | None = None, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(name)
        check_share("momentum", momentum)
        check_share("eps", eps)
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Expr) -> Expr:
        channels = fixed_axis(self, x, 1, "batch channel=3 row=32 column=32")
        axis = (named_axis(x, 1),)
        weight = self.parameter("weight", (channels,), Constant(1.0), axis)
        bias = self.parameter("bias", (channels,), Zeros(), axis)
        over = (0, *range(2, x.ndim))
        trained = batch_norm(x, weight, bias, over, self.eps)
        for state, new in self._running(x, channels, over, axis):
            trained = update(trained, state, new)
        mean_, var_ = self._states_of(channels, axis)
        scale = weight / sqrt(var_ + self.eps)
        used = x * along(scale, x) + along(bias - mean_ * scale, x)
        return in_training(trained, used).named(self.name)

    def _states_of(self, channels: int, axis: tuple[str, ...]) -> tuple[Expr, Expr]:
        return (
            self.state("running_mean", (channels,), 0.0, axis),
            self.state("running_var", (channels,), 1.0, axis),
        )

    def _running(
        self, x: Expr, channels: int, over: tuple[int, ...], axis: tuple[str, ...]
    ) -> list[tuple[Expr, Expr]]:
        """The running averages and their new values."""
        kept_mean, kept_var = self._states_of(channels, axis)
        batch_mean = mean(x, over)
        batch_var = mean(square(x - along(batch_mean, x)), over)
        count: Any = 1
        for a in over:
            count = size(x, a).astype("float") * count
        unbiased = batch_var * (count / maximum(count - 1, 1.0))  # of one element the variance is 0
        rate = self.momentum
        return [
            (kept_mean, (1 - rate) * kept_mean + rate * batch_mean),
            (kept_var, (1 - rate) * kept_var + rate * unbiased),
        ]


class LayerNorm(Layer):
    """The last axis less its mean and divided by its spread, scaled and shifted.

    J. L. Ba, J. R. Kiros and G. E. Hinton, Layer normalization, 2016.
    """

    kind = "layer_norm"

    def __init__(self, name: str | None = None, eps: float = 1e-5) -> None:
        super().__init__(name)
        check_share("eps", eps)
        self.eps = eps

    def forward(self, x: Expr) -> Expr:
        features = fixed_axis(self, x, -1, "batch feature=64")
        axis = (last_axis_name(x),)
        weight = self.parameter("weight", (features,), Constant(1.0), axis)
        bias = self.parameter("bias", (features,), Zeros(), axis)
        return layer_norm(x, weight, bias, -1, self.eps).named(self.name)


class RMSNorm(Layer):
    """The last axis divided by the root of its mean square, scaled.

    B. Zhang and R. Sennrich, Root mean square layer normalization, NeurIPS 2019.
    """

    kind = "rms_norm"

    def __init__(self, name: str | None = None, eps: float = 1e-5) -> None:
        super().__init__(name)
        check_share("eps", eps)
        self.eps = eps

    def forward(self, x: Expr) -> Expr:
        features = fixed_axis(self, x, -1, "batch feature=64")
        weight = self.parameter("weight", (features,), Constant(1.0), (last_axis_name(x),))
        return rms_norm(x, weight, -1, self.eps).named(self.name)


class GroupNorm(Layer):
    """Groups of channels of x[N, C, ...] normalised each on its own, with all further axes; each
    channel scaled and shifted.

    Y. Wu and K. He, Group normalization, ECCV 2018.
    """

    kind = "group_norm"

    def __init__(self, groups: int, name: str | None = None, eps: float = 1e-5) -> None:
        super().__init__(name)
        self.groups = positive("GroupNorm", "groups", groups)
        check_share("eps", eps)
        self.eps = eps

    def forward(self, x: Expr) -> Expr:
        channels = fixed_axis(self, x, 1, "batch channel=8 row=4 column=4")
        if channels % self.groups:
            raise ShapeError(
                f"GroupNorm {quoted(self.name)} has {self.groups} groups, which do not divide the "
                f"{channels} channels of {describe(x)}"
            )
        axis = (named_axis(x, 1),)
        weight = self.parameter("weight", (channels,), Constant(1.0), axis)
        bias = self.parameter("bias", (channels,), Zeros(), axis)
        n, _, *rest = x.shape
        split = reshape(x, (n, self.groups, channels // self.groups, *rest))
        each = layer_norm(split, None, None, tuple(range(2, split.ndim)), self.eps)
        normalised = reshape(each, (n, channels, *rest))
        return (normalised * along(weight, x) + along(bias, x)).named(self.name)


class InstanceNorm(Layer):
    """Each channel of each example of x[N, C, ...] normalised on its own, scaled and shifted.

    D. Ulyanov, A. Vedaldi and V. Lempitsky, Instance normalization, 2016.
    """

    kind = "instance_norm"

    def __init__(self, name: str | None = None, eps: float = 1e-5) -> None:
        super().__init__(name)
        check_share("eps", eps)
        self.eps = eps

    def forward(self, x: Expr) -> Expr:
        channels = fixed_axis(self, x, 1, "batch channel=8 row=4 column=4")
        if x.ndim < 3:
            raise ShapeError(
                f"InstanceNorm needs x[N, C, ...], got {describe(x)} with no axis left"
            )
        axis = (named_axis(x, 1),)
        weight = self.parameter("weight", (channels,), Constant(1.0), axis)
        bias = self.parameter("bias", (channels,), Zeros(), axis)
        each = layer_norm(x, None, None, tuple(range(2, x.ndim)), self.eps)
        return (each * along(weight, x) + along(bias, x)).named(self.name)


def along(v: Expr, x: Expr) -> Expr:
    """A value a channel beside x[N, C, ...]."""
    return v[(slice(None), *(None,) * (x.ndim - 2))]


def named_axis(x: Expr, axis: int) -> str:
    """The name of an axis, "" where it has none."""
    return axis_names(x.node)[axis]


def check_share(name: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= 1:
        raise DeclarationError(f"{name} must be over 0 and at most 1, but is {quoted(value)}")
