"""Schedules: rates that change from step to step, as expressions of the number of steps done.

In: the rate to start from, a number or an expression (another schedule); lengths in steps, not
epochs. Out: a scalar expression, for the `rate` of any optimizer or anywhere else in a loss.
Guarantees: the count is a state of the step (`steps_done`), saved with the weights, counted up by
the step itself: schedules run in `trainer.run` and in an exported step too. It is 0 in the first
step.

    prop.Adam(prop.warm_up(prop.cosine_decay(1e-3, 1000), 50))

A schedule is the expression itself, so another one is a line: `0.1 / (1 + prop.steps_done())`. One
that depends on what the training reaches is the callback `prop.ReduceOnPlateau`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symprop.declarations import state
from symprop.errors import DeclarationError, ShapeError, quoted
from symprop.expression import Expr, as_expr, describe
from symprop.ops.elementwise import cos, floor, minimum
from symprop.ops.structural import power, where
from symprop.optimizer_parts import check_positive, check_rate, check_weight, steps_done

__all__ = [
    "SCHEDULES",
    "cosine_decay",
    "exponential_decay",
    "one_cycle",
    "rate_state",
    "step_decay",
    "warm_up",
]


def step_decay(rate: Any, every: int, factor: float = 0.1) -> Expr:
    """rate * factor**floor(t / every): the rate falls at once, every so many steps.

    As torch's StepLR, counted in steps.
    """
    start = checked("step_decay", rate)
    check_steps("every", every)
    check_positive("factor", factor)
    return called("rate", start * power(factor, floor(count() / every)))


def exponential_decay(rate: Any, factor: float) -> Expr:
    """rate * factor**t. As torch's ExponentialLR, counted in steps."""
    start = checked("exponential_decay", rate)
    check_positive("factor", factor)
    return called("rate", start * power(factor, count()))


def cosine_decay(rate: Any, steps: int, final: float = 0.0) -> Expr:
    """From the rate to `final` along half a cosine, and `final` from then on.

        final + (rate - final) * (1 + cos(pi * min(t, steps)/steps)) / 2

    I. Loshchilov and F. Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017,
    equation 5, without restarts.
    """
    start = checked("cosine_decay", rate)
    check_steps("steps", steps)
    check_weight("final", final)
    along = minimum(count(), steps) / steps
    return called("rate", final + (start - final) * ((1 + cos(math.pi * along)) / 2))


def warm_up(rate: Any, steps: int) -> Expr:
    """rate * min(1, (t + 1)/steps): the first steps small, growing in a line.

    P. Goyal et al., Accurate, large minibatch SGD, 2017, section 2.2. The rate may be a schedule,
    which counts from the first step too.
    """
    start = checked("warm_up", rate)
    check_steps("steps", steps)
    return called("rate", start * minimum((count() + 1) / steps, 1.0))


def one_cycle(
    rate: Any, steps: int, rising: float = 0.3, first: float = 25.0, last: float = 1e4
) -> Expr:
    """Up to the rate and down again, along two half cosines.

    The rate starts at rate/first, is highest after the share `rising` of the steps, and ends at
    rate/(first*last). L. N. Smith and N. Topin, Super-convergence, 2018; as torch's OneCycleLR with
    its defaults, the momentum left alone.
    """
    top = checked("one_cycle", rate)
    check_steps("steps", steps)
    if steps < 3:
        raise DeclarationError(f"steps must be at least 3 for one_cycle, but is {steps}")
    for name, value in (("first", first), ("last", last)):
        check_positive(name, value)
    if not isinstance(rising, float) or not 0 < rising < 1:
        raise DeclarationError(f"rising must be a share between 0 and 1, but is {quoted(rising)}")
    t, peak = minimum(count(), steps - 1), rising * steps - 1
    if peak <= 0:
        raise DeclarationError(f"rising must be more than 1/steps, {1 / steps:g}, but is {rising}")
    low = top / first
    up = between(low, top, t / peak)
    down = between(top, low / last, (t - peak) / (steps - 1 - peak))
    return called("rate", where(t <= peak, up, down))


def between(start: Expr, end: Expr, share: Expr) -> Expr:
    """From start to end along half a cosine."""
    found: Expr = end + (start - end) * ((1 + cos(math.pi * share)) / 2)
    return found


def rate_state(rate: float, name: str = "rate") -> Expr:
    """A rate that callbacks change while a training runs: a state, saved with the weights.

    `prop.ReduceOnPlateau` makes it smaller; `trainer.states["rate"][...] = 1e-4` sets it.
    """
    check_positive("rate", rate)
    return state(name, (), float(rate))


def count() -> Expr:
    """The number of steps done, as a float."""
    return steps_done().astype("float")


def checked(schedule: str, rate: Any) -> Expr:
    """The rate as an expression; refuses what is not a single positive number."""
    if not isinstance(rate, Expr):
        check_rate(rate)
    value = as_expr(rate)
    if value.shape:
        raise ShapeError(f"{schedule} needs a single rate, but {describe(value)} is an array")
    return value


def check_steps(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise DeclarationError(
            f"{name} must be a positive whole number of steps, but is {quoted(value)}"
        )


def called(word: str, x: Expr) -> Expr:
    return x.named(word)


# Every schedule by the name under which `symprop` exports it.
SCHEDULES = {
    f.__name__: f for f in (step_decay, exponential_decay, cosine_decay, warm_up, one_cycle)
}
