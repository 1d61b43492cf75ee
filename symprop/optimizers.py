"""Optimizers: the update of every parameter, written as expressions.

In: parameters and the gradients of the loss, in the same order.
Out: pairs (state or parameter, its new value); all of them happen at once, from old to new values.
Guarantees: an optimizer is an immutable description; what it remembers from step to step is
declared as states named after the parameter (`m.hidden.weight`), so one compiled program computes
the gradients and applies them, and the formulas can be read in its text.

An optimizer does not see data, run anything or know a network. Its rate may be a number or an
expression such as `prop.scalar("rate", 1e-3)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from symprop.declarations import state
from symprop.errors import DeclarationError, quoted
from symprop.expression import Expr, axis_names
from symprop.ops.elementwise import sqrt, square
from symprop.ops.structural import power

__all__ = ["SGD", "Adam", "Momentum", "Optimizer"]

Update = tuple[Expr, Expr]


class Optimizer(Protocol):
    """Anything that turns gradients into updates."""

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]: ...


@dataclass(frozen=True)
class SGD:
    """Gradient descent: `p = p - rate*g`."""

    rate: float | Expr = 1e-2

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """One pair a parameter."""
        return [(p, p - self.rate * g) for p, g in zip(parameters, gradients, strict=True)]


@dataclass(frozen=True)
class Momentum:
    """Gradient descent with a heavy ball: `v = momentum*v + g`, `p = p - rate*v`.

    B. T. Polyak, Some methods of speeding up the convergence of iteration methods, 1964; written
    as in torch.optim.SGD, where the rate multiplies the velocity.
    """

    rate: float | Expr = 1e-2
    momentum: float = 0.9

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_decay("momentum", self.momentum)

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """Two pairs a parameter: its velocity and itself."""
        pairs: list[Update] = []
        for p, g in zip(parameters, gradients, strict=True):
            velocity = slot("velocity", p)
            new = self.momentum * velocity + g
            pairs += [(velocity, new), (p, p - self.rate * new)]
        return pairs


@dataclass(frozen=True)
class Adam:
    """Adam: steps scaled by running moments of the gradient.

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g**2
        p = p - rate * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon)

    D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.
    """

    rate: float | Expr = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_decay("beta1", self.beta1)
        check_decay("beta2", self.beta2)
        if not is_number(self.epsilon) or not 0 < self.epsilon < math.inf:
            raise DeclarationError(f"epsilon must be positive, but is {quoted(self.epsilon)}")

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """The step count, then three pairs a parameter: its two moments and itself."""
        steps = state("adam.steps", ())
        t = steps + 1
        # Both corrections are the same for every parameter: numbers, computed once.
        step_size = (self.rate / (1 - power(self.beta1, t))).named("step_size")
        correction = (1 - power(self.beta2, t)).named("correction")
        pairs: list[Update] = [(steps, t)]
        for p, g in zip(parameters, gradients, strict=True):
            m, v = slot("m", p), slot("v", p)
            new_m = self.beta1 * m + complement(self.beta1) * g
            new_v = self.beta2 * v + complement(self.beta2) * square(g)
            step = step_size * new_m / (sqrt(new_v / correction) + self.epsilon)
            pairs += [(m, new_m), (v, new_v), (p, p - step)]
        return pairs


def slot(kind: str, parameter: Expr) -> Expr:
    """A state of the parameter's shape that starts at zero: `m.hidden.weight`."""
    sizes = zip(axis_names(parameter.node), parameter.dims, strict=True)
    dims = tuple(f"{axis}={size}" if axis else size for axis, size in sizes)
    return state(f"{kind}.{parameter.name}", dims)


def complement(beta: float) -> Fraction:
    """1 - beta as a decimal: 0.1 for 0.9, where floats would give 0.09999999999999998."""
    return 1 - Fraction(repr(float(beta)))


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_rate(rate: object) -> None:
    if isinstance(rate, Expr):
        if rate.shape:
            raise DeclarationError(f"rate must be a single number, but has shape {rate.shape}")
    elif not is_number(rate) or not 0 < rate < math.inf:  # type: ignore[operator]
        raise DeclarationError(f"rate must be a positive number, but is {quoted(rate)}")


def check_decay(name: str, value: object) -> None:
    if not is_number(value) or not 0 <= value < 1:  # type: ignore[operator]
        raise DeclarationError(f"{name} must be in 0 to 1, 1 left out, but is {quoted(value)}")
