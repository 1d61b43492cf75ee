"""Optimizers: the update of every parameter, written as expressions.

In: parameters and the gradients of the loss, in the same order.
Out: pairs (state or parameter, its new value); all of them happen at once, from old to new values.
Guarantees: an optimizer is an immutable description; what it remembers from step to step is
declared as states named after the parameter (`m.hidden.weight`), so one compiled program computes
the gradients and applies them, and the formulas can be read in its text.

An optimizer does not see data, run anything or know a network. Its rate may be a number or an
expression such as `prop.scalar("rate", 1e-3)`. The formulas are torch's, and so are the defaults,
but for the rate of SGD, Momentum and Nesterov, 0.01 here; `p` is a parameter, `g` its gradient, and
everything that is remembered starts at 0. `OPTIMIZERS` lists them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from symprop.declarations import state
from symprop.errors import DeclarationError, quoted
from symprop.expression import Expr, axis_names
from symprop.ops.elementwise import sqrt, square
from symprop.ops.structural import power

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "Momentum", "Nesterov", "Optimizer", "RMSProp"]

Update = tuple[Expr, Expr]


class Optimizer(Protocol):
    """Anything that turns gradients into updates."""

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]: ...


@dataclass(frozen=True)
class SGD:
    """Gradient descent: `p = p - rate*g`.

    H. Robbins and S. Monro, A stochastic approximation method, 1951 (for g of a random batch).
    """

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
class Nesterov:
    """Momentum that looks ahead: `v = momentum*v + g`, `p = p - rate*(g + momentum*v)`.

    Y. Nesterov, A method of solving a convex programming problem with convergence rate O(1/k^2),
    1983, in the form of I. Sutskever, J. Martens, G. Dahl and G. Hinton, On the importance of
    initialization and momentum in deep learning, ICML 2013; written as in torch.optim.SGD with
    nesterov=True: p is the point ahead, where the gradient is taken.
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
            pairs += [(velocity, new), (p, p - self.rate * (g + self.momentum * new))]
        return pairs


@dataclass(frozen=True)
class RMSProp:
    """Steps divided by the running size of the gradient.

        s = decay*s + (1 - decay)*g**2
        p = p - rate * g / (sqrt(s) + epsilon)

    T. Tieleman and G. Hinton, Lecture 6.5, Neural networks for machine learning, 2012; written as
    in torch.optim.RMSprop, not centred and without momentum.
    """

    rate: float | Expr = 1e-2
    decay: float = 0.99
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_decay("decay", self.decay)
        check_positive("epsilon", self.epsilon)

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """Two pairs a parameter: the running mean of its squared gradient and itself."""
        pairs: list[Update] = []
        for p, g in zip(parameters, gradients, strict=True):
            s = slot("s", p)
            new = self.decay * s + complement(self.decay) * square(g)
            pairs += [(s, new), (p, p - self.rate * g / (sqrt(new) + self.epsilon))]
        return pairs


@dataclass(frozen=True)
class Adam:
    """Adam: steps scaled by running moments of the gradient.

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g**2
        p = p - rate * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon)

    where t counts the steps from 1; computed in the equal form of section 2, whose corrections are
    two numbers a step. D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, ICLR
    2015, algorithm 1; written as in torch.optim.Adam.
    """

    rate: float | Expr = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_moments(self)

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """The step count, then three pairs a parameter: its two moments and itself."""
        count, steps = adam_steps(self, parameters, gradients)
        pairs: list[Update] = [count]
        for p, (moments, step) in zip(parameters, steps, strict=True):
            pairs += [*moments, (p, p - step)]
        return pairs


@dataclass(frozen=True)
class AdamW:
    """Adam with weight decay beside the gradient, not in it.

        m, v as for Adam
        p = p - rate*weight_decay*p
              - rate * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + epsilon)

    Every parameter decays, biases too. I. Loshchilov and F. Hutter, Decoupled weight decay
    regularization, ICLR 2019, algorithm 2 with a schedule of 1; written as in torch.optim.AdamW,
    where the rate multiplies the decay.
    """

    rate: float | Expr = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        check_moments(self)
        if not is_number(self.weight_decay) or not 0 <= self.weight_decay < math.inf:
            raise DeclarationError(
                f"weight_decay must be 0 or positive, but is {quoted(self.weight_decay)}"
            )

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """The step count, then three pairs a parameter: its two moments and itself."""
        count, steps = adam_steps(self, parameters, gradients)
        shrink = self.rate * self.weight_decay
        pairs: list[Update] = [count]
        for p, (moments, step) in zip(parameters, steps, strict=True):
            pairs += [*moments, (p, p - shrink * p - step)]
        return pairs


def adam_steps(
    optimizer: Adam | AdamW, parameters: Sequence[Expr], gradients: Sequence[Expr]
) -> tuple[Update, list[tuple[list[Update], Expr]]]:
    """What Adam and AdamW share: the count, and a parameter's moments and the step it takes."""
    beta1, beta2 = optimizer.beta1, optimizer.beta2
    count = state("adam.steps", ())
    t = count + 1
    # The corrections are the same for every parameter. With sqrt(1 - beta2**t) taken out of the
    # root (section 2 of the paper) they are computed once, and an element needs one division.
    correction = sqrt(1 - power(beta2, t)).named("correction")
    step_size = (optimizer.rate * correction / (1 - power(beta1, t))).named("step_size")
    tolerance = (optimizer.epsilon * correction).named("tolerance")
    found: list[tuple[list[Update], Expr]] = []
    for p, g in zip(parameters, gradients, strict=True):
        m, v = slot("m", p), slot("v", p)
        new_m = beta1 * m + complement(beta1) * g
        new_v = beta2 * v + complement(beta2) * square(g)
        step = step_size * new_m / (sqrt(new_v) + tolerance)
        found.append(([(m, new_m), (v, new_v)], step))
    return (count, t), found


# Every optimizer by the name under which `symprop` exports it; each can be made without arguments.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    o.__name__: o for o in (SGD, Momentum, Nesterov, RMSProp, Adam, AdamW)
}


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
    else:
        check_positive("rate", rate)


def check_decay(name: str, value: object) -> None:
    if not is_number(value) or not 0 <= value < 1:  # type: ignore[operator]
        raise DeclarationError(f"{name} must be in 0 to 1, 1 left out, but is {quoted(value)}")


def check_positive(name: str, value: object) -> None:
    if not is_number(value) or not 0 < value < math.inf:  # type: ignore[operator]
        raise DeclarationError(f"{name} must be a positive number, but is {quoted(value)}")


def check_moments(optimizer: Adam | AdamW) -> None:
    check_rate(optimizer.rate)
    check_decay("beta1", optimizer.beta1)
    check_decay("beta2", optimizer.beta2)
    check_positive("epsilon", optimizer.epsilon)
