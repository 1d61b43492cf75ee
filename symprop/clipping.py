"""Gradient clipping: gradients made shorter before the optimizer sees them.

In: the gradients of a loss, as expressions. Out: as many expressions, of the same shapes.
Guarantees: an immutable description, like an optimizer; a gradient within the limit is unchanged,
bit by bit (it is multiplied by exactly 1); a gradient of zeros stays zeros, nothing is divided by
its norm.

    symprop.training_step(loss, optimizer, clip=symprop.ClipGlobalNorm(1.0))

The norm is the square root of the sum of squares. Elements are divided by the largest of them (or
by the limit, where that is larger) before they are squared: no square overflows, so that the
gradient of 1e30 in float32 is made as short as the limit, in its own direction. Only a factor below
the least normal number of the width (1e-38 in float32) is coarse. An element that is not finite
makes all that are scaled with it NaN: the step is lost, and seen to be.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from symprop.expression import Expr, as_expr
from symprop.graph import rename, suggest
from symprop.ops.elementwise import abs as absolute
from symprop.ops.elementwise import clip, maximum, minimum, sqrt, square
from symprop.ops.structural import max as greatest
from symprop.ops.structural import sum as total
from symprop.optimizer_parts import check_positive

__all__ = ["CLIPPERS", "Clip", "ClipGlobalNorm", "ClipNorm", "ClipValue"]


class Clip(Protocol):
    """Anything that makes gradients shorter."""

    def clipped(self, gradients: Sequence[Expr]) -> list[Expr]: ...


@dataclass(frozen=True)
class ClipValue:
    """Every element held between -limit and limit; this changes the gradient's direction.

    As torch.nn.utils.clip_grad_value_.
    """

    limit: float

    def __post_init__(self) -> None:
        check_positive("limit", self.limit)

    def clipped(self, gradients: Sequence[Expr]) -> list[Expr]:
        """One gradient for each."""
        return [called("clipped", g, clip(g, -self.limit, self.limit)) for g in gradients]


@dataclass(frozen=True)
class ClipNorm:
    """The gradient of every parameter scaled, on its own, to a norm of at most limit.

        g = g * limit / max(norm(g), limit)

    R. Pascanu, T. Mikolov and Y. Bengio, On the difficulty of training recurrent neural networks,
    ICML 2013, algorithm 1, for each parameter; as Keras's clipnorm.
    """

    limit: float

    def __post_init__(self) -> None:
        check_positive("limit", self.limit)

    def clipped(self, gradients: Sequence[Expr]) -> list[Expr]:
        """One gradient for each."""
        return [
            called("clipped", g, g * scale(self.limit, [g], title("clip_scale", g)))
            for g in gradients
        ]


@dataclass(frozen=True)
class ClipGlobalNorm:
    """All gradients scaled together, so that the norm of them all is at most limit.

        g = g * limit / max(norm of all, limit)

    The direction is kept. Pascanu, Mikolov and Bengio, ICML 2013, algorithm 1; as Keras's
    global_clipnorm, and as torch.nn.utils.clip_grad_norm_, which adds 1e-6 to the norm.
    """

    limit: float

    def __post_init__(self) -> None:
        check_positive("limit", self.limit)

    def clipped(self, gradients: Sequence[Expr]) -> list[Expr]:
        """One gradient for each."""
        factor = scale(self.limit, gradients, "clip_scale")
        return [called("clipped", g, g * factor) for g in gradients]


def scale(limit: float, gradients: Sequence[Expr], name: str) -> Expr:
    """limit / max(norm, limit) of these gradients together, with both divided by a common unit.

    The unit is the largest element or the limit, whichever is larger. It is never 0, and within
    the limit it is the limit itself: then the quotient is 1 / max(norm / limit, 1), exactly 1.
    """
    word = name.removeprefix("clip_scale")
    unit: Expr = as_expr(limit)
    for g in gradients:
        unit = maximum(unit, called("largest", g, greatest(absolute(g))))
    suggest(unit.node, f"clip_unit{word}")
    squares = [called("squares", g, total(square(divided(g, unit)))) for g in gradients]
    norm = sqrt(functools.reduce(operator.add, squares))
    shortest = limit / unit
    suggest(shortest.node, f"clip_limit{word}")
    factor: Expr = shortest / maximum(norm, shortest)
    # A value with a name is computed as it stands: limit*g / max(...) would round g twice.
    rename(factor.node, name)
    return factor


def divided(gradient: Expr, unit: Expr) -> Expr:
    """The sizes of the elements over the unit, which are at most 1.

    They are held there too: that changes no value, and keeps the sum of their squares from being
    simplified to the sum of the gradient's squares over unit**2, which overflows.
    """
    held: Expr = minimum(absolute(gradient) / unit, 1)
    return held


def called(word: str, gradient: Expr, value: Expr) -> Expr:
    """The value, called after the parameter of the gradient: `clipped_hidden.weight`."""
    suggest(value.node, title(word, gradient))
    return value


def title(word: str, gradient: Expr) -> str:
    return f"{word}_{gradient.name.removeprefix('grad_')}".rstrip("_")


# Every way of clipping by the name under which `symprop` exports it.
CLIPPERS: dict[str, Callable[[float], Clip]] = {
    c.__name__: c for c in (ClipValue, ClipNorm, ClipGlobalNorm)
}
