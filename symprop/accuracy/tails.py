"""Ranges of floats on which a function is one constant, or its argument times a power of two.

In: a subject, the floats of a range (next to one another, of one sign). Out: a `Tail`, or nothing.

Most of the 2**32 floats lie where exp is 1, tanh is 1 and tanh x is x: there every result can be
told without evaluating the function in float64, which is most of the work.

Guarantees: a tail is proved for all real numbers of its range: by one ball of the range, and for a
multiple of x by the mean value theorem, f(x) in f(a) + f'([a, b])*(x - a). What is left is less
than FLAT of a unit in float32. Nothing is assumed of the function.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from symprop import term as tm
from symprop.accuracy.balls import Ball, Balls, flint
from symprop.accuracy.formats import FORMATS
from symprop.accuracy.landmarks import NEAR
from symprop.accuracy.subjects import Subject

__all__ = ["Tail", "Tails"]

FORM = FORMATS["float32"]
FLAT = 1e-4  # units that the exact value may be away
BITS = 128
SMALLEST = 16  # chunks: a range is halved no further


@dataclass(frozen=True, eq=False)
class Tail:
    """All exact values are one constant (`slope` 0), or the argument times a power of two."""

    slope: float

    def holds(self, x: Any, results: Any) -> bool:
        """Whether all errors are equal to that of the first result, which is 0 with a slope."""
        expected = results[0] if self.slope == 0 else x * np.float32(self.slope)
        return bool(np.all(results == expected))  # not for NaN


class Tails:
    """The tails of a function of one argument; `zeros` are places with a unit of their own."""

    def __init__(self, subject: Subject, zeros: dict[float, float]) -> None:
        self.zeros = list(zeros)
        self.formula = subject.truth.formula
        self.balls = subject.truth.balls

    @cached_property
    def slopes(self) -> Balls:
        """The derivative in ball arithmetic."""
        return Balls(tm.diff(self.formula, 0))

    def chunks(self, first: int, size: int, count: int) -> Iterator[Tail | None]:
        """For each of so many chunks of floats from the bits `first` on, the tail it lies in."""
        found = self.proved(first, first + size * count - 1)
        if found is not None or count <= SMALLEST:
            yield from [found] * count
        else:
            half = count // 2
            yield from self.chunks(first, size, half)
            yield from self.chunks(first + size * half, size, count - half)

    def proved(self, first: int, last: int) -> Tail | None:
        """The tail that all floats from these bits to those lie in."""
        with np.errstate(invalid="ignore"):
            ends = np.array([first, last], np.uint32).view(np.float32).astype(float)
        a, b = sorted(map(float, ends))
        if not np.all(np.isfinite(ends)) or any(a - NEAR < z < b + NEAR for z in self.zeros):
            return None
        arb = flint().arb
        whole = arb(a).union(arb(b))
        if _one(self.balls([whole], BITS)):
            return Tail(0.0)
        slope = self._slope(a, b, whole)
        return None if slope is None else Tail(slope)

    def _slope(self, a: float, b: float, whole: Ball) -> float | None:
        """The power of two that the argument is multiplied by."""
        slopes = self.slopes([whole], BITS)
        if not slopes.is_finite() or not 2**-20 < abs(float(slopes.mid())) < 2**20:
            return None
        middle = float(slopes.mid())
        slope = math.copysign(2.0 ** round(math.log2(abs(middle))), middle)
        least, most = (size * abs(slope) for size in sorted((abs(a), abs(b))))
        exact = most < 2.0 ** (FORM.highest - 1) and least >= FORM.smallest_normal
        if not exact and abs(slope) != 1:
            return None
        arb = flint().arb
        off = abs(self.balls([a], BITS) - arb(a) * slope) + abs(slopes - slope) * (arb(b) - a)
        return slope if off < FLAT * _unit(least) else None


def _one(y: Ball) -> bool:
    """Whether all numbers of a ball are within FLAT of one another, or beyond all floats."""
    if not y.is_finite():
        return False
    if abs(y) > 2.0**FORM.highest:
        return True
    return bool(2 * y.rad() < FLAT * _unit(float(y.abs_lower())))


def _unit(size: float) -> float:
    """The distance of floats of this size."""
    exponent = math.frexp(size)[1] if size else FORM.lowest
    return math.ldexp(1.0, max(exponent - FORM.digits, FORM.lowest))
