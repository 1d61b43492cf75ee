"""Where an op is defined: real intervals, with points to test at.

In: bounds. Out: `Interval`, and the four intervals the library uses; `Convention`.
Guarantees: the points are always the same ones, inside, and of all sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

__all__ = [
    "AboveMinusOne", "Bound", "Convention", "Interval", "NonNegative", "Positive", "Reals",
]  # fmt: skip

Bound: TypeAlias = Fraction | int | None


@dataclass(frozen=True, slots=True)
class Interval:
    """A domain: a real interval; None is no bound."""

    low: Bound = None
    high: Bound = None
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, x: float) -> bool:
        above = self.low is None or x > self.low or (x == self.low and not self.open_low)
        below = self.high is None or x < self.high or (x == self.high and not self.open_high)
        return above and below

    def points(self, count: int, phase: int = 0, decades: float = 3) -> list[float]:
        """Floats inside, always the same ones: near 0 (or the end), moderate, and of sizes
        10**-decades to 10**decades. ``phase`` gives other points, for other arguments."""
        out = []
        for k in range(count):
            u = ((k + 1) * 0.6180339887498949 + phase * 0.7548776662466927) % 1
            v = ((k + 1) * 0.4142135623730951 + phase * 0.5698402909980532) % 1
            size = (8 * u, 10 ** (decades * (2 * u - 1)), 10 ** (3 * u - 1))[k % 3]
            if self.low is not None and self.high is not None:
                x = float(self.low) + float(self.high - self.low) * u
            elif self.low is not None:
                x = float(self.low) + size
            elif self.high is not None:
                x = float(self.high) - size
            else:
                x = size if v < 0.5 else -size
            if x in self:
                out.append(x)
        return out


@dataclass(frozen=True, slots=True)
class Convention:
    """What holds at a point where mathematics leaves a choice, as a reader is told it.

    ``at``: the arguments there; ``slopes``: the partial derivatives; ``value``: the value, where
    that is chosen, too. Each is a number, "inf", "-inf" or the name of a parameter of the op.
    """

    says: str
    at: tuple[Fraction | float | str, ...]
    slopes: tuple[Fraction | float | str, ...]
    value: Fraction | float | str | None = None


Reals = Interval()
NonNegative = Interval(low=0)
Positive = Interval(low=0, open_low=True)
AboveMinusOne = Interval(low=-1, open_low=True)
