"""Gradient clipping: gradients made shorter before the optimizer sees them.

In: the gradients of a loss, as expressions. Out: as many expressions, of the same shapes.
Guarantees: an immutable description, like an optimizer; a gradient within the limit is unchanged,
bit by bit (it is multiplied by exactly 1); a gradient of zeros stays zeros, nothing is divided by
its norm.

    symprop.training_step(loss, optimizer, clip=symprop.ClipGlobalNorm(1.0))

The norm is the square root of the sum of squares. A gradient so large that this sum overflows
(1e19 in float32) is scaled to 0: the step is left out; one that is not finite stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from symprop.expression import Expr
from symprop.graph import rename, suggest
from symprop.ops.elementwise import clip, maximum, sqrt, square
from symprop.ops.structural import sum as total
from symprop.optimizers import check_positive

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
            called("clipped", g, g * scale(self.limit, squares(g), title("clip_scale", g)))
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
        everything: Any = sum(squares(g) for g in gradients)
        factor = scale(self.limit, everything, "clip_scale")
        return [called("clipped", g, g * factor) for g in gradients]


def squares(gradient: Expr) -> Expr:
    """The sum of the squares of the elements."""
    return called("squares", gradient, total(square(gradient)))


def scale(limit: float, squares: Any, name: str) -> Expr:
    """limit / max(norm, limit): exactly 1 up to the limit; never a division by 0."""
    factor: Expr = limit / maximum(sqrt(squares), limit)
    # A value with a name is computed as it stands: limit*g / max(...) would round g twice.
    rename(factor.node, name)
    return factor


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
