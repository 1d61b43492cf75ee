"""Optimizers: the update of every parameter, written as expressions.

In: parameters and the gradients of the loss, in the same order.
Out: pairs (state or parameter, its new value); all of them happen at once, from old to new values.
Guarantees: an optimizer is an immutable description; what it remembers from step to step is
declared as states named after the parameter (`m.hidden.weight`), so one compiled program computes
the gradients and applies them, and the formulas can be read in its text.

An optimizer does not see data, run anything or know a network. Its rate may be a number or an
expression: `prop.scalar("rate", 1e-3)`, or a schedule (`symprop.schedules`). The formulas are
torch's, and so are the defaults, but for the rate of SGD, Momentum and Nesterov, 0.01 here; `p` is
a parameter, `g` its gradient, and everything that is remembered starts at 0 (a product at 1).
`OPTIMIZERS` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from symprop.declarations import state
from symprop.expression import Expr
from symprop.ops.elementwise import sign, sqrt, square
from symprop.ops.structural import power
from symprop.optimizer_parts import (
    Update,
    adam_count,
    check_decay,
    check_positive,
    check_rate,
    check_weight,
    complement,
    nadam_count,
    slot,
)

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "AdaGrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "Lion",
    "Momentum",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "RMSProp",
]


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
        check_weight("weight_decay", self.weight_decay)

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
    count = adam_count()
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


@dataclass(frozen=True)
class NAdam:
    """Adam with Nesterov's momentum: the step uses the moment that the next gradient will meet.

        mu_t = beta1 * (1 - 0.96**(t * momentum_decay) / 2)
        m, v as for Adam;  V = sqrt(v / (1 - beta2**t)) + epsilon
        p = p - rate * (1 - mu_t) / (1 - mu_1*...*mu_t) * g / V
              - rate * mu_(t+1) / (1 - mu_1*...*mu_(t+1)) * m / V

    T. Dozat, Incorporating Nesterov momentum into Adam, ICLR 2016 workshop; written as in
    torch.optim.NAdam.
    """

    rate: float | Expr = 2e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 4e-3

    def __post_init__(self) -> None:
        check_moments(self)
        check_positive("momentum_decay", self.momentum_decay)

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """The count and the product of the momenta, then three pairs a parameter."""
        count, product = nadam_count(), state("nadam.product", (), 1.0)
        t = count + 1
        now, after = self._momentum(t).named("mu"), self._momentum(t + 1).named("next_mu")
        reached = (product * now).named("mu_product")
        correction = (1 - power(self.beta2, t)).named("correction")
        own = (self.rate * (1 - now) / (1 - reached)).named("gradient_rate")
        ahead = (self.rate * after / (1 - reached * after)).named("moment_rate")
        pairs: list[Update] = [(count, t), (product, reached)]
        for p, g in zip(parameters, gradients, strict=True):
            m, v = slot("m", p), slot("v", p)
            new_m = self.beta1 * m + complement(self.beta1) * g
            new_v = self.beta2 * v + complement(self.beta2) * square(g)
            scale = sqrt(new_v / correction) + self.epsilon
            pairs += [(m, new_m), (v, new_v), (p, p - (own * g + ahead * new_m) / scale)]
        return pairs

    def _momentum(self, t: Expr) -> Expr:
        found: Expr = self.beta1 * (1 - power(0.96, t * self.momentum_decay) / 2)
        return found


@dataclass(frozen=True)
class AdaGrad:
    """Steps divided by the size of all gradients so far.

        s = s + g**2
        p = p - rate * g / (sqrt(s) + epsilon)

    J. Duchi, E. Hazan and Y. Singer, Adaptive subgradient methods for online learning and
    stochastic optimization, JMLR 12, 2011; written as in torch.optim.Adagrad.
    """

    rate: float | Expr = 1e-2
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_positive("epsilon", self.epsilon)

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """Two pairs a parameter: the sum of its squared gradients and itself."""
        pairs: list[Update] = []
        for p, g in zip(parameters, gradients, strict=True):
            s = slot("s", p)
            new = s + square(g)
            pairs += [(s, new), (p, p - self.rate * g / (sqrt(new) + self.epsilon))]
        return pairs


@dataclass(frozen=True)
class Adadelta:
    """Steps as large as the ones before, for the gradient's size: there is no rate to choose.

        s = decay*s + (1 - decay)*g**2
        d = sqrt(u + epsilon) / sqrt(s + epsilon) * g
        u = decay*u + (1 - decay)*d**2
        p = p - rate * d

    M. D. Zeiler, ADADELTA: an adaptive learning rate method, 2012 (with rate 1); written as in
    torch.optim.Adadelta.
    """

    rate: float | Expr = 1.0
    decay: float = 0.9
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_decay("decay", self.decay)
        check_positive("epsilon", self.epsilon)

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """Three pairs a parameter: the mean squares of gradients and of steps, and itself."""
        pairs: list[Update] = []
        for p, g in zip(parameters, gradients, strict=True):
            s, u = slot("s", p), slot("u", p)
            new_s = self.decay * s + complement(self.decay) * square(g)
            step = sqrt(u + self.epsilon) / sqrt(new_s + self.epsilon) * g
            new_u = self.decay * u + complement(self.decay) * square(step)
            pairs += [(s, new_s), (u, new_u), (p, p - self.rate * step)]
        return pairs


@dataclass(frozen=True)
class Lion:
    """Steps of one size, in the direction of the sign of a mean of gradients.

        c = beta1*m + (1 - beta1)*g
        p = p - rate * (sign(c) + weight_decay*p)
        m = beta2*m + (1 - beta2)*g

    The rate is 3 to 10 times smaller than Adam's. X. Chen et al., Symbolic discovery of
    optimization algorithms, NeurIPS 2023, algorithm 2. The sign of 0 is 0.
    """

    rate: float | Expr = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_decay("beta1", self.beta1)
        check_decay("beta2", self.beta2)
        check_weight("weight_decay", self.weight_decay)

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """Two pairs a parameter: its momentum and itself."""
        pairs: list[Update] = []
        for p, g in zip(parameters, gradients, strict=True):
            m = slot("m", p)
            new = self.beta2 * m + complement(self.beta2) * g
            direction = sign(self.beta1 * m + complement(self.beta1) * g)
            step = direction if not self.weight_decay else direction + self.weight_decay * p
            pairs += [(m, new), (p, p - self.rate * step)]
        return pairs


# Every optimizer by the name under which `symprop` exports it; each can be made without arguments.
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    o.__name__: o
    for o in (SGD, Momentum, Nesterov, RMSProp, Adam, AdamW, NAdam, AdaGrad, Adadelta, Lion)
}


def check_moments(optimizer: Adam | AdamW | NAdam) -> None:
    check_rate(optimizer.rate)
    check_decay("beta1", optimizer.beta1)
    check_decay("beta2", optimizer.beta2)
    check_positive("epsilon", optimizer.epsilon)
