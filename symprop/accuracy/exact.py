"""Exact values of a formula at floats: proved by balls, and seconded by mpmath.

In: a Term and arrays of floats. Out: `Exact`.

The precision grows until the ball rounds to one float of the format (Ziv's loop) and the rest is
known to 2**-30 of a unit. Where no precision decides (a singular point whose value is a limit or a
convention: 1/0, log 0), mpmath's value at 60 digits is taken.

Guarantees: `second` raises where mpmath, which evaluates the derivative of the definition and not
the chosen one, disagrees with the ball.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import mpmath
import numpy as np

from symprop.accuracy.balls import Balls
from symprop.accuracy.formats import Exact, Format
from symprop.errors import VerificationError
from symprop.ops.reference import evaluate, settled
from symprop.term import Term

__all__ = ["Truth"]

BITS = (96, 256, 1280, 4096, 16384)  # 1280: exp(1e308) has an exponent of 1,024 bits
FINE = 30  # the rest is known to 2**-FINE of a unit
DOUBLE, LARGE = 53, 2.0**1000  # digits of float64; sizes far below its largest
AGREED = 1e-6  # units by which two opinions may differ

Rounded = tuple[float, float, float]  # value, rest, unit


def _parts(ball: Any) -> tuple[int, int, int, int]:
    """A finite ball as m * 2**e, plus or minus r * 2**s."""
    m, e = map(int, ball.mid().man_exp())
    r, s = map(int, ball.rad().man_exp())
    return m, e, r, s


def rounded(m: int, e: int, form: Format, r: int = 0, s: int = 0) -> Rounded | None:
    """m * 2**e rounded to a format, ties to even; None where the radius leaves it open."""
    unit = max(m.bit_length() + e - form.digits, form.lowest)
    if r and r.bit_length() + s - unit > -FINE:
        return None
    if m.bit_length() + e > form.highest:
        return _beyond(m, e, form)
    shift = unit - e
    if shift <= 0:
        n, rest = m << -shift, 0.0
    elif shift > m.bit_length() + 64:  # far below half of the smallest float
        n, rest = 0, 0.0
    else:
        n = m >> shift
        left = m - (n << shift)
        half = 1 << (shift - 1)
        if left > half or (left == half and n & 1):
            n, left = n + 1, left - (1 << shift)
        rest = left / (1 << shift)
        open_by = half - abs(left)
        if r and (open_by << max(e - s, 0)) <= (r << max(s - e, 0)):
            return None  # the middle of two floats lies in the ball
    if n.bit_length() + unit > form.highest:
        return _beyond(m, e, form)
    return math.ldexp(n, unit), rest, math.ldexp(1.0, unit)


def _beyond(m: int, e: int, form: Format) -> Rounded:
    """A value that rounds to infinity, and by how many units it is beyond the largest power."""
    unit = form.highest - form.digits
    lowest = min(e, unit)
    over = abs(m) << (e - lowest) if e - lowest < 4096 else 1 << 8192
    over -= 1 << (form.highest - lowest)
    shift = unit - lowest
    rest = over / (1 << shift) if over.bit_length() - shift < 1000 else math.inf
    return math.inf if m > 0 else -math.inf, rest, math.ldexp(1.0, unit)


class Truth:
    """The exact values of a formula; `plain` is the same derivative of the definition."""

    def __init__(self, formula: Term, plain: Term, what: str) -> None:
        self.formula, self.plain, self.what = formula, plain, what
        self.undecided = 0

    @cached_property
    def balls(self) -> Balls:
        """The formula in ball arithmetic."""
        return Balls(self.formula)

    @cached_property
    def context(self) -> Any:
        """60 digits of mpmath."""
        ctx = mpmath.mp.clone()
        ctx.dps = 60
        return ctx

    def __call__(self, columns: Sequence[Any], form: Format) -> Exact:
        """The exact values at points, a column an argument."""
        points = zip(*map(_listed, columns), strict=True)
        if form.digits < DOUBLE:
            return _stacked(self.at(point, form) for point in points)
        return _stacked(self.near(point, form) or self.at(point, form) for point in points)

    def near(self, point: Sequence[float], form: Format) -> Rounded | None:
        """The exact value as `at` has it, in half the time; None in the rare cases: a first ball
        that is not narrow, a value that is not a normal float64 or halfway between two."""
        ball = self.balls(point, BITS[0])
        middle = ball.mid()
        value = float(middle)  # the nearest float64
        if not form.smallest_normal < abs(value) < LARGE:
            return None
        part, exponent = math.frexp(value)
        left = float(middle - value)
        below = abs(part) == 0.5 and left * part < 0  # a power of two, from where floats are closer
        unit = math.ldexp(1.0, exponent - form.digits - below)
        rest = left / unit
        if float(ball.rad()) > unit * 2.0**-FINE or abs(rest) > 0.5 - 2.0**-FINE:
            return None
        return value, rest, unit

    def at(self, point: Sequence[float], form: Format) -> Rounded:
        """The exact value at a point."""
        for bits in BITS:
            ball = self.balls(point, bits)
            if ball.is_finite():
                m, e, r, s = _parts(ball)
                found = rounded(m, e, form, r, s)
                if found is not None:
                    return found
        self.undecided += 1
        return self.by_mpmath(self.formula, point, form)

    def text(self, point: Sequence[float]) -> str:
        """Twenty digits of the value at a point."""
        return str(self.context.nstr(self._value(self.formula, point), 20))

    def _value(self, formula: Term, point: Sequence[float]) -> Any:
        ctx = self.context
        return settled(lambda: evaluate(formula, [ctx.mpf(x) for x in point], ctx), ctx)

    def by_mpmath(self, formula: Term, point: Sequence[float], form: Format) -> Rounded:
        """The value of a formula at a point, by 60 digits of mpmath."""
        ctx = self.context
        value = self._value(formula, point)
        if not ctx.isfinite(value):
            return float(value), math.inf, math.ldexp(1.0, form.highest - form.digits)
        sign, mantissa, exponent, _ = value._mpf_
        found = rounded(-int(mantissa) if sign else int(mantissa), int(exponent), form)
        assert found is not None
        return found

    def second(self, columns: Sequence[Any], form: Format) -> int:
        """How many points mpmath seconds; VerificationError where it does not."""
        count = 0
        for point in zip(*map(_listed, columns), strict=True):
            first, other = self.at(point, form), self.by_mpmath(self.plain, point, form)
            if not _agree(first, other):
                where = ", ".join(f"{x!r}" for x in point)
                raise VerificationError(
                    f"two opinions of {self.what} at {where} differ: the ball says {first[0]!r}, "
                    f"and the derivative of the definition at 60 digits is {other[0]!r}"
                )
            count += 1
        return count


def _agree(a: Rounded, b: Rounded) -> bool:
    if math.isnan(a[0]) or math.isnan(b[0]):
        return math.isnan(a[0]) and math.isnan(b[0])
    if math.isinf(a[0]) or math.isinf(b[0]):
        return a[0] == b[0]
    return abs((a[0] - b[0]) / a[2] + a[1] - b[1] * (b[2] / a[2])) <= AGREED


def _listed(column: Any) -> list[float]:
    return [float(x) for x in column]


def _stacked(rows: Iterable[Rounded]) -> Exact:
    table = np.array(list(rows), np.float64).reshape(-1, 3)
    return Exact(table[:, 0], table[:, 1], table[:, 2])
