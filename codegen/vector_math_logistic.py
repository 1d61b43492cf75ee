"""Formulas of tanh, the sigmoid, softplus and their derivatives; see ``codegen.vector_math``.

In: a ``Formula`` (dtype, whether it may fuse) and the argument. Out: the value.

All begin with one sum s, and a quotient z; k is 2 for tanh and sech2, 1 for sigmoid:

    exp(k*|x|) = 2**n*(1 + m),  h = 2**-n
    s = (h + 1 + m)/k
    z = h/s                   2/(1 + exp(2*|x|)), or 1/(1 + exp(|x|))
    tanh                      1 - z
    sech2                     z*(2 - z)
    sigmoid                   1 - z, or z below 0
    softplus                  max(x, 0) + log(1 + exp(-|x|)), of which the second is -log(1 - z)

The value is right to the last place since what s lacks is known, to which the quotient is put
right: near 0, where 1 - z is small, it is the whole value. h is 2**STEP times too large where
a tail below the normal numbers is to be rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.vector_math_exponential import LN2, LOG2E, STEP, falling, log1p_unit
from codegen.vector_math_values import Formula, Value

__all__ = ["log_sigmoid", "sech2", "sigmoid", "softplus", "tanh"]

UNSTEP = 2.0**-STEP
LAST = 32.0  # from here on softplus(x) is x, for a float32


@dataclass(frozen=True, slots=True)
class _Sum:
    """s + lacks, the reciprocal of s, and h*2**STEP."""

    s: Value
    lacks: Value
    inverse: Value
    scale: Value


def _sum(f: Formula, a: Value, k: int) -> _Sum:
    """The sum for exp(k*a), a >= 0."""
    ln2, rest = (piece / k for piece in LN2[f.dtype])
    t = f.once(f.fma(a, k * LOG2E, f.rounder))
    n = f.once(t - f.rounder)
    scale = f.once(f.float_of(((f.bias + STEP) << f.mantissa) - (f.word_of(t) << f.mantissa)))
    r = f.once(f.fma(n, -rest, f.fma(n, -ln2, a)))  # all of a where n is 0
    square = f.once(r * r)
    fit = [c * k ** (i + 1) for i, c in enumerate(f.fit("exp"))]
    p = f.once(f.paired(r, square, fit))  # m/k = r + r**2*p
    s = f.once(f.fma(scale, UNSTEP / k, f.fma(square, p, r)) + 1 / k)
    lacks = f.fma(square, p, f.fma(scale, UNSTEP / k, 1 / k - s) + r)
    return _Sum(s, f.once(lacks), f.once(1.0 / s), scale)


def _doubled(f: Formula, x: Value) -> _Sum:
    """The sum for exp(2*|x|)."""
    return _sum(f, f.at_most(f.absolute(x), f.pick(53.0, 375.0)), 2)  # there sech2 is 0 already


def _rest(f: Formula, h: Value, q: Value) -> Value:
    """1 - z."""
    return f.once(1.0 - h * q) if not f.fused else f.once(f.fma(-h, q, 1.0))


def tanh(f: Formula, x: Value) -> Value:
    """The hyperbolic tangent.

    A quotient of polynomials would save a third of the operations, but is off by 5 units in the
    last place and above 1 near where it ends.
    """
    e = _doubled(f, x)
    h = f.once(e.scale * UNSTEP)
    y = _rest(f, h, e.inverse)
    z = f.once(1.0 - y)  # exact, and z but for its last places
    over = f.fma(-e.lacks, e.lacks, f.beyond(e.s, z, h))  # (over + lacks*z)/(s + lacks)
    over = f.once(f.fma(e.lacks, z, over))
    return f.signed_as(f.once(f.fma(over, e.inverse, y)), x)


def sech2(f: Formula, x: Value) -> Value:
    """1/cosh(x)**2: beside tanh nearly free."""
    e = _doubled(f, x)
    y = _rest(f, f.once(e.scale * UNSTEP), e.inverse)
    z = f.once(e.scale * e.inverse)
    y = f.once(f.fma(f.once(y * e.lacks), -2.0 * e.inverse, y))  # what s lacks is for both factors
    return f.fma(z, y, z) * UNSTEP


def _sigmoid_sum(f: Formula, x: Value) -> tuple[_Sum, Value, Value]:
    """The sum for exp(|x|), z*2**STEP, and how much too large that is, times s."""
    e = _sum(f, f.at_most(f.absolute(x), f.pick(105.0, 746.0)), 1)  # there it is 0 already
    z = f.once(e.scale * e.inverse)
    return e, z, f.once(f.fma(e.lacks, z, f.beyond(e.s, z, e.scale)))


def sigmoid(f: Formula, x: Value) -> Value:
    """1/(1 + exp(-x)), as 1 - 1/(1 + exp(x)) from 0 on."""
    e, z, over = _sigmoid_sum(f, x)
    z = f.once(f.fma(-over, e.inverse, z))
    return f.select(x < 0.0, z * UNSTEP, f.fma(z, -UNSTEP, 1.0))


def _above(f: Formula, x: Value, base: Value) -> Value:
    """base + log(1 + exp(-|x|)); the base is max(x, 0) or max(-x, 0)."""
    if f.dtype == "float64":
        return base + log1p_unit(f, falling(f, f.absolute(x)))
    e, z, over = _sigmoid_sum(f, x)
    share, low = f.once(z * UNSTEP), f.once(over * e.inverse)  # z - low is the quotient
    half, rest = f.product(z, f.once(z * (UNSTEP / 2)))  # z + z**2/2 + z**3/2*P(z), in steps
    bend = f.paired(share, f.once(share * share), f.fit("log_share"))
    rest = rest - f.fma(low, 2.0 * share, low)  # 1 + 2*z is about 1/(1 - z), the slope
    more = half + f.fma(f.once(half * share), bend, rest)
    total, lost = f.two_sum(f.once(f.at_most(base, LAST) * 2.0**STEP), z)
    return f.select(base > LAST, base, (total + (lost + more)) * UNSTEP)


def softplus(f: Formula, x: Value) -> Value:
    """log(1 + exp(x)): beside the sigmoid some more."""
    return _above(f, x, f.at_least(x, 0.0))


def log_sigmoid(f: Formula, x: Value) -> Value:
    """log(sigmoid(x)) = -softplus(-x)."""
    return -_above(f, x, f.at_least(f.once(-x), 0.0))
