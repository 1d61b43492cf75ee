"""float32 and float64 as integers in order, and errors in units in the last place.

In: arrays of floats, exact values. Out: `Format`: the floats numbered from -infinity to +infinity,
so that neighbours differ by one; `errors`.

The unit of an exact value is the distance between the floats around it: 2**(e - 23) in float32
where its size is in [2**e, 2**(e + 1)), and 2**-149 below the normal floats; 2**(e - 52) and
2**-1074 in float64. A result beyond the largest float is right where rounding gives infinity too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["FORMATS", "Exact", "Format", "errors"]

Floats = Any  # an array of floats


@dataclass(frozen=True)
class Format:
    """A format of floats: `digits` of the significand in bits, 2**`lowest` the smallest float,
    2**`highest` the first power of two beyond the largest."""

    name: str
    digits: int
    lowest: int
    highest: int

    @property
    def integer(self) -> Any:
        """The integers that have as many bits."""
        return np.int32 if self.name == "float32" else np.int64

    @property
    def infinity(self) -> int:
        """The number of +infinity."""
        return int(self.number(np.array([math.inf]))[0])

    @property
    def smallest_normal(self) -> float:
        """The smallest float that has all its digits."""
        return math.ldexp(1.0, self.lowest + self.digits - 1)

    def number(self, floats: Floats) -> Any:
        """The floats' places in their order, as int64; both zeros are 0."""
        bits = np.asarray(floats, self.name).view(self.integer).astype(np.int64)
        lowest = np.iinfo(self.integer).min
        return np.where(bits < 0, lowest - bits, bits)

    def float(self, numbers: Any) -> Floats:
        """The floats at these places, as float64."""
        n = np.asarray(numbers, np.int64)
        bits = np.where(n < 0, np.iinfo(self.integer).min - n, n).astype(self.integer)
        return bits.view(self.name).astype(np.float64)


FORMATS = {
    "float32": Format("float32", 24, -149, 128),
    "float64": Format("float64", 53, -1074, 1024),
}


@dataclass(frozen=True)
class Exact:
    """Exact values: `value` rounded to the format (as float64), and what is left, `rest` of the
    `unit` in its place. Where rounding gives infinity, `rest` is the size beyond 2**highest."""

    value: Floats
    rest: Floats
    unit: Floats

    def __getitem__(self, chosen: Any) -> Exact:
        return Exact(self.value[chosen], self.rest[chosen], self.unit[chosen])


def errors(found: Floats, exact: Exact, form: Format) -> Floats:
    """The errors of results in units in the last place of the exact values; infinite where a
    result is NaN, or an infinity where the exact value is far from it."""
    c, v = np.asarray(found, np.float64), exact.value
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        error = np.abs((c - v) / exact.unit - exact.rest)
        largest = math.ldexp(1.0, form.highest - form.digits)
        # in halves, because 2**1024 is no float
        half = math.ldexp(1.0, form.highest - 1)
        below = (half - np.abs(c) / 2) / largest * 2 + exact.rest
        error = np.where(np.isinf(v), np.where(np.sign(c) == np.sign(v), below, np.inf), error)
        above = np.abs((np.sign(c) * half - v / 2) / exact.unit * 2 - exact.rest)
        error = np.where(np.isinf(c) & np.isfinite(v), above, error)
    error = np.where(np.isinf(c) & (c == v), 0.0, error)
    nan = np.isnan(v)
    return np.where(nan, np.where(np.isnan(c), 0.0, np.inf), np.where(np.isnan(c), np.inf, error))
