"""Formulas of the error function and the normal distribution; see ``codegen.vector_math``.

In: a ``Formula`` (dtype, whether it may fuse) and the argument. Out: the value.

    erf(x)     x + x*P(x**2) to 1, then 1 - erfc(|x|) with the sign of x: for float32, where few
               places of erfc count, erfc(a) = exp(-a*P(a))
    erfc(a)    exp(-a**2)*erfcx(a), a >= 0.8; the square with what its rounding lost, so that a
               tail keeps its places
    erfcx(a)   q*P((a - 2)*q), q = 1/(a + 2)
"""

from __future__ import annotations

from codegen.vector_math_exponential import LN2, LOG2E, exp_parts, power_of_two
from codegen.vector_math_values import Formula, Value, in_double

__all__ = ["erf", "erfc", "normal_cdf", "normal_pdf"]

SQRT_2, SQRT_HALF = 1.4142135623730951, 0.7071067811865476
INV_SQRT_2PI = 0.3989422804014327
NEAR = 0.8  # below it erfc is taken from erf


def _erf_near_0(f: Formula, x: Value) -> Value:
    """erf(x), |x| <= 1."""
    return f.fma(x, f.polynomial(f.once(x * x), f.fit("erf")), x)


def _erfcx(f: Formula, above: Value, below: Value) -> Value:
    """exp(a*a)*erfc(a), a >= NEAR, of a + 2 and a - 2; half of it, of the doubles of both."""
    q = f.once(1.0 / above)
    t = f.once(below * q)
    return q * f.polynomial(t, f.fit("erfcx"))


def _exp_square(f: Formula, a: Value, factor: float) -> tuple[Value, Value]:
    """exp(-factor*a*a) in the parts of ``exp_parts``; the factor is a power of two."""
    square, lost = f.product(a, a)
    return exp_parts(f, f.once(-factor * square), -factor * lost)


def _bounded(f: Formula, x: Value) -> Value:
    """|x|, or where everything here is 0 or 1 already and the square is no trouble."""
    return f.at_most(f.absolute(x), f.pick(15.0, 40.0))


def _erf_single(f: Formula, x: Value) -> Value:
    """The error function of float32: 1 - exp(-a*P(a)) from 1 on."""
    a = f.at_most(f.absolute(x), 3.93)  # there it is 1 already
    square = f.once(a * a)
    near = f.fma(a, f.paired(square, f.once(square * square), f.fit("erf")), a)
    p = f.once(-f.paired(a, square, f.fit("erf_far")))
    t = f.once(f.fma(f.once(a * p), LOG2E, f.rounder))
    n = f.once(t - f.rounder)
    high, low = LN2["float32"]
    r = f.once(f.fma(n, -low, f.fma(a, p, n * -high)))  # a*p itself has too few places
    z = f.once(r * r)
    y = f.once(1.0 + f.fma(z, f.paired(r, z, f.fit("exp")), r))
    far = f.fma(-y, power_of_two(f, t, 0), 1.0)
    return f.signed_as(f.once(f.select(a < 1.0, near, far)), x)


def erf(f: Formula, x: Value) -> Value:
    """The error function."""
    if f.dtype == "float32":
        return _erf_single(f, x)
    a = _bounded(f, x)
    y, last = _exp_square(f, a, 1.0)
    far = 1.0 - y * _erfcx(f, a + 2.0, a - 2.0) * last
    return f.signed_as(f.once(f.select(a < 1.0, _erf_near_0(f, a), far)), x)


@in_double
def erfc(f: Formula, x: Value) -> Value:
    """1 - erf(x)."""
    a = _bounded(f, x)
    y, last = _exp_square(f, a, 1.0)
    tail = f.once(y * _erfcx(f, a + 2.0, a - 2.0) * last)
    far = f.select(x < 0.0, 2.0 - tail, tail)
    return f.select(a < NEAR, 1.0 - _erf_near_0(f, x), far)


@in_double
def normal_cdf(f: Formula, x: Value) -> Value:
    """erfc(-x/sqrt(2))/2, the normal distribution function."""
    a = _bounded(f, x)
    y, last = _exp_square(f, a, 0.5)
    half = _erfcx(f, f.fma(a, SQRT_2, 4.0), f.fma(a, SQRT_2, -4.0))  # at a/sqrt(2)
    tail = f.once(y * half * last)
    far = f.select(x < 0.0, tail, 1.0 - tail)
    near = 0.5 + 0.5 * _erf_near_0(f, f.once(x * SQRT_HALF))
    return f.select(a < NEAR * SQRT_2, near, far)


@in_double
def normal_pdf(f: Formula, x: Value) -> Value:
    """exp(-x**2/2)/sqrt(2*pi), the normal density."""
    y, last = _exp_square(f, _bounded(f, x), 0.5)
    return y * INV_SQRT_2PI * last
