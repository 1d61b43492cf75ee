"""Layers that are random while training: Dropout, GaussianNoise.

In: an expression. Out: one of its shape: with noise inside a training step, the expression itself
in predictions and evaluations (`symprop.modes`). Guarantees: those of `symprop.layers`, and of
`symprop.ops.random`: the noise of a step is a function of ``compile(seed=...)``, the name of the
layer and the number of the step, on every backend; nothing of it is kept but that number.
"""

from __future__ import annotations

import math
from typing import Any

from symprop.errors import DeclarationError, ShapeError, quoted
from symprop.expression import Expr, describe
from symprop.layers import Layer
from symprop.modes import in_training
from symprop.ops.control import update
from symprop.ops.random import draws, kept, normal
from symprop.ops.structural import where

__all__ = ["Dropout", "GaussianNoise"]


class _Noise(Layer):
    """What is drawn at each call of the layer: a second call draws other numbers."""

    def __init__(self, name: str | None) -> None:
        super().__init__(name)
        self.calls = 0

    def draw_name(self) -> str:
        """The name of this call's draw: that of the layer, numbered from the second one on."""
        self.calls += 1
        return self.name if self.calls == 1 else f"{self.name}.call{self.calls}"


class Dropout(_Noise):
    """Each element 0 with the probability `rate`, the others divided by 1 - rate.

    With `shared`, axes (0 is the batch) along which an element's fate is one: `shared=(2, 3)` drops
    whole maps of x[N, C, row, column]. N. Srivastava et al., Dropout: a simple way to prevent
    neural networks from overfitting, JMLR 2014; J. Tompson et al., Efficient object localization
    using convolutional networks, CVPR 2015, for whole maps.
    """

    kind = "dropout"

    def __init__(
        self, rate: float = 0.5, name: str | None = None, shared: int | tuple[int, ...] = ()
    ) -> None:
        super().__init__(name)
        if not _is_number(rate) or not 0 <= rate < 1:
            raise DeclarationError(
                f"the rate of Dropout must be from 0 to below 1, but is {quoted(rate)}"
            )
        self.rate = rate
        self.shared = (shared,) if isinstance(shared, int) else tuple(shared)

    def forward(self, x: Expr) -> Expr:
        if self.rate == 0:
            return x
        for axis in self.shared:
            if not -x.ndim <= axis < x.ndim:
                raise ShapeError(
                    f"Dropout {quoted(self.name)} shares axis {axis}, which {describe(x)} lacks"
                )
        own = [k for k in range(x.ndim) if k not in self.shared and k - x.ndim not in self.shared]
        name = self.draw_name()
        draw = draws(name)
        keep = kept(draw, 1 - self.rate, [x.node.dims[k] for k in own], name).named("keep")
        spread = tuple(slice(None) if k in own else None for k in range(x.ndim))
        noisy = where(keep[spread] if self.shared else keep, x / (1 - self.rate), 0.0)
        return in_training(update(noisy, draw, draw + 1), x).named(self.name)


class GaussianNoise(_Noise):
    """Each element with a normal number of the standard deviation `std` added."""

    kind = "noise"

    def __init__(self, std: float = 1.0, name: str | None = None) -> None:
        super().__init__(name)
        if not _is_number(std) or not 0 <= std < math.inf:
            raise DeclarationError(
                f"the std of GaussianNoise must be a number from 0 up, but is {quoted(std)}"
            )
        self.std = std

    def forward(self, x: Expr) -> Expr:
        if self.std == 0:
            return x
        name = self.draw_name()
        draw = draws(name)
        noisy = x + self.std * normal(draw, x, name).named("eps")
        return in_training(update(noisy, draw, draw + 1), x).named(self.name)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
