"""Formulas of exp, log and what is made of them; see ``codegen.vector_math`` for what they keep.

In: a ``Formula`` (dtype, whether it may fuse) and the argument. Out: the value.

    exp(x)     x = n*ln 2 + r, |r| <= ln(2)/2; exp(r) = 1 + r + r**2*P(r); times 2**n by its bits
    log(x)     x = 2**k*m, m in [sqrt(1/2), sqrt(2)); s = (m - 1)/(m + 1),
               log(m) = 2*atanh(s) = (m - 1) - h + s*(h + s**2*P(s**2)), h = (m - 1)**2/2

Neither rounds a subnormal result twice nor loses one: powers of two are applied in two steps, the
second of which rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from codegen.vector_math_values import Formula, Value, in_double

__all__ = [
    "LN2",
    "LOG2E",
    "STEP",
    "begun",
    "exp",
    "exp2",
    "exp_parts",
    "expm1",
    "falling",
    "log",
    "log1p",
    "log1p_unit",
    "log2",
    "log_of_parts",
    "logaddexp",
    "parted",
    "power_of_two",
]

LOG2E, LOG2E_LOW = 1.4426950408889634, 2.0355273740931033e-17
LN2_PARTS = (0.6931471805599453, 2.3190468138462996e-17)
# ln 2 in two pieces: the first times any exponent is exact.
LN2: Final[Mapping[str, tuple[float, float]]] = {
    "float32": (355 / 512, -2.1219444005469057e-4),
    "float64": (0.6931471803691238, 1.9082149292705877e-10),
}
STEP = 64  # what ends below the normal numbers is first made 2**STEP larger, and above them


def begun(f: Formula, x: Value) -> tuple[Value, Value, Value]:
    """t, whose last bits are n; n; and x - n*ln 2 as far as it is exact."""
    t = f.once(f.fma(x, LOG2E, f.rounder))
    n = f.once(t - f.rounder)
    return t, n, f.once(f.fma(n, -LN2[f.dtype][0], x))


def _exp_reduced(f: Formula, x: Value) -> tuple[Value, Value]:
    """t, and exp(r)."""
    t, n, a = begun(f, x)
    r = f.once(f.fma(n, -LN2[f.dtype][1], a))
    p = f.polynomial(r, f.fit("exp"))
    top = f.once(1.0 + r)
    return t, top + f.fma(f.once(r * r), p, (1.0 - top) + r)


def _expm1_reduced(f: Formula, x: Value, rest: Value | None = None) -> tuple[Value, Value]:
    """Of x + rest: t, and exp(r) - 1, with what the rounding of r loses."""
    t, n, a = begun(f, x)
    low = LN2[f.dtype][1]
    b = f.once(n * low if rest is None else f.fma(n, low, -rest))
    r = f.once(a - b)
    p = f.polynomial(r, f.fit("exp"))
    return t, r + f.fma(f.once(r * r), p, (a - r) - b)


def power_of_two(f: Formula, t: Value, more: int) -> Value:
    """2**(n + more) of the n in the last bits of t."""
    return f.float_of(_power_bits(f, t, more))


def _power_bits(f: Formula, t: Value, more: int) -> Value:
    return (f.word_of(t) << f.mantissa) + ((f.bias + more) << f.mantissa)


def exp_parts(f: Formula, x: Value, rest: Value | None = None) -> tuple[Value, Value]:
    """exp(x + rest) as y, which has all its places, and a power of two: multiply y by what else
    there is before it, and a tail below the normal numbers is rounded once. x is at most where
    exp ends; ``rest`` is tiny beside x."""
    x = f.at_least(x, f.pick(-106.0, -750.0))  # there 4*exp(x) is 0 already
    if rest is None:
        t, y = _exp_reduced(f, x)
    else:
        t, m = _expm1_reduced(f, x, rest)
        y = 1.0 + m
    return _scaled(f, t, y, x < f.pick(-80.0, -700.0))


def _scaled(f: Formula, t: Value, y: Value, tail: Value) -> tuple[Value, Value]:
    """y*2**n in the parts of ``exp_parts``; ``tail``: whether it may end below the normal ones."""
    bits = _power_bits(f, t, -1)
    scale = f.float_of(f.select(tail, bits + ((1 + STEP) << f.mantissa), bits))
    return f.once(y * scale), f.once(f.select(tail, 2.0**-STEP, 2.0))


def exp(f: Formula, x: Value) -> Value:
    """e**x."""
    y, last = exp_parts(f, f.at_most(x, f.pick(89.0, 710.0)))  # there it is infinite already
    return y * last


def falling(f: Formula, a: Value) -> Value:
    """exp(-a) of an a that is not negative."""
    y, last = exp_parts(f, f.once(-a))
    return f.once(y * last)


@in_double
def exp2(f: Formula, x: Value) -> Value:
    """2**x."""
    bounded = f.at_least(f.at_most(x, 1025.0), -1080.0)
    t = f.once(bounded + f.rounder)
    d = f.once(bounded - f.once(t - f.rounder))
    r, lost = f.product(d, f.number(LN2_PARTS[0]))
    p = f.polynomial(r, f.fit("exp"))
    y = 1.0 + f.once(r + f.fma(f.once(r * r), p, f.fma(d, LN2_PARTS[1], lost)))
    y, last = _scaled(f, t, f.once(y), bounded < -1000.0)
    return y * last


@in_double
def expm1(f: Formula, x: Value) -> Value:
    """e**x - 1."""
    bounded = f.at_least(f.at_most(x, f.pick(89.0, 710.0)), f.pick(-20.0, -40.0))
    t, m = _expm1_reduced(f, bounded)
    half = f.once(power_of_two(f, t, -1))  # 2**n itself may be out of range
    y = 2.0 * f.fma(half, m, half - 0.5)
    return f.select(f.absolute(x) < f.pick(2.0**-26, 2.0**-55), x, y)


def parted(f: Formula, x: Value) -> tuple[Value, Value]:
    """k and m - 1 of x = 2**k*m, for x positive and finite."""
    root = 0x3F3504F3 if f.dtype == "float32" else 0x3FE6A09E00000000  # bits of sqrt(1/2)
    small = x < f.least_normal
    normal = f.once(f.select(small, x * 2.0 ** (f.mantissa + 1), x))
    bits = (f.word_of(normal) + ((f.bias << f.mantissa) - root)).cast(f.word)
    # An integer in the last bits of 2**mantissa is that float plus the integer.
    exponent = f.float_of((bits >> f.mantissa) | ((f.bias + f.mantissa) << f.mantissa))
    base = 2.0**f.mantissa + f.bias
    k = exponent - f.once(f.select(small, base + f.mantissa + 1, base))
    m = f.float_of((bits & ((1 << f.mantissa) - 1)) + root)
    return f.once(k), f.once(m - 1.0)


def log_of_parts(f: Formula, k: Value, d: Value, rest: Value | None = None) -> Value:
    """k*ln 2 + log(1 + d) + rest, of a tiny rest."""
    high, low = LN2[f.dtype]
    s = f.once(d / (2.0 + d))
    z = f.once(s * s)
    half = f.once(0.5 * d * d)
    arc = z * f.polynomial(z, f.fit("log"))
    small = k * low if rest is None else f.fma(k, low, rest)
    return f.fma(k, high, d - (half - f.fma(s, half + arc, small)))


def log(f: Formula, x: Value) -> Value:
    """The natural logarithm."""
    y = log_of_parts(f, *parted(f, x))
    ends = f.select(x.equals(0.0), "-inf", "nan")
    return f.select(x > 0.0, f.select(x < "inf", y, x), f.once(ends))


@in_double
def log2(f: Formula, x: Value) -> Value:
    """The logarithm to base 2; exact of powers of 2."""
    k, d = parted(f, x)
    y = f.once(log_of_parts(f, f.number(0.0), d))
    y = f.fma(y, LOG2E, f.fma(y, LOG2E_LOW, k))
    ends = f.select(x.equals(0.0), "-inf", "nan")
    return f.select(x > 0.0, f.select(x < "inf", y, x), f.once(ends))


def log1p(f: Formula, x: Value) -> Value:
    """log(1 + x)."""
    u, lost = f.two_sum(1.0, x)
    y = log_of_parts(f, *parted(f, u), lost / u)
    y = f.select(f.absolute(x) < f.pick(2.0**-26, 2.0**-55), x, y)
    ends = f.select(x.equals(-1.0), "-inf", "nan")
    return f.select(x > -1.0, f.select(x < "inf", y, x), f.once(ends))


def log1p_unit(f: Formula, e: Value) -> Value:
    """log(1 + e) of e in [0, 1]."""
    s = f.once(e / (2.0 + e))
    z = f.once(s * s)
    half = f.once(0.5 * e * e)
    arc = z * f.polynomial(z, f.fit("log1p"))
    return e - (half - s * (half + arc))


@in_double
def logaddexp(f: Formula, x: Value, y: Value) -> Value:
    """log(exp(x) + exp(y))."""
    apart = f.once(f.select(x.equals(y), 0.0, f.absolute(f.once(x - y))))
    return f.once(f.select(x > y, x, y)) + log1p_unit(f, falling(f, apart))
