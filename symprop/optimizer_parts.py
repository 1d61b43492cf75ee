"""What the optimizers share: states named after a parameter, decimals, checks of their numbers.

In: a parameter, or a number that a user gave. Out: a state, or a DeclarationError that names it.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

from symprop.declarations import state
from symprop.errors import DeclarationError, quoted
from symprop.expression import Expr, axis_names

__all__ = [
    "Update",
    "adam_count",
    "check_decay",
    "check_positive",
    "check_rate",
    "check_weight",
    "complement",
    "is_number",
    "nadam_count",
    "slot",
    "steps_done",
]

Update = tuple[Expr, Expr]


@functools.cache
def steps_done() -> Expr:
    """The number of training steps that were done before this one: 0 in the first.

    The same state wherever it is read. A training step that reads it counts it up; it is saved and
    loaded with the weights, so that a schedule goes on where it was.
    """
    return state("steps_done", (), 0, dtype="int64")


@functools.cache
def adam_count() -> Expr:
    """The number of updates that Adam and its kin have made."""
    return state("adam.steps", ())


@functools.cache
def nadam_count() -> Expr:
    """The number of updates that NAdam has made: its own, so that names of one optimizer's
    formulas are not those of another's."""
    return state("nadam.steps", ())


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


def check_weight(name: str, value: object) -> None:
    if not is_number(value) or not 0 <= value < math.inf:  # type: ignore[operator]
        raise DeclarationError(f"{name} must be 0 or positive, but is {quoted(value)}")
