"""Angles, hyperbolic functions and their inverses, one declaration each.

In: nothing. Out: the ops, in `REGISTRY` after those of ``symprop.ops.elementwise``.

Guarantees: as there. Inverses near an end of their domain are made of 1 - x and 1 + x, which are
exact there; what would overflow on the way (the square in ``asinh``, half of the exponential in
``sinh``) is taken apart. The coefficients come from ``symprop.ops.fits``, which
tests/fit_ops.py writes.
"""

from __future__ import annotations

from typing import Any

import sympy

from symprop.ops import fits
from symprop.ops.declare import Convention, ElementwiseOp, elementwise, strong_mul
from symprop.ops.declare import where_symbolic as where
from symprop.ops.domain import Interval, Reals
from symprop.ops.elementwise import (
    abs,
    cos,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    sign,
    sin,
    sqrt,
)
from symprop.ops.fits import polynomial
from symprop.ops.powers import hypot, hypot_share

HALF = sympy.Rational(1, 2)
PI = sympy.pi
BETWEEN = Interval(-1, 1, open_low=True, open_high=True)
FROM_ONE = Interval(low=1)
LARGE = 2**30  # from here on x**2 + 1 is x**2 in floats of every width

# --- angles ---------------------------------------------------------------------------------------

tan: ElementwiseOp = elementwise(
    "tan",
    lambda x: sympy.tan(x),
    derivative=lambda x: tan_slope(x),
    evaluate_as=lambda x: sin(x) / cos(x),
    native=(sympy.tan,),
    cost=3,
    doc="Tangent.",
    source="DLMF 4.14.4",
)


tan_slope: ElementwiseOp = elementwise(
    "tan_slope",
    lambda x: 1 / cos(x) ** 2,
    derivative=lambda x: 2 * tan(x) * tan_slope(x),
    in_double=True,
    range=(1, None),
    derivative_of="tan",
    cost=3,
    doc="1/cos(x)**2, the derivative of tan.",
    source="DLMF 4.20.4",
)


def _atan(x: Any) -> Any:
    """Of |x| in three parts, each brought to numbers below 0.42; tan(pi/8) divides them."""
    a = abs(x)
    middle, far = a > fits.TAN_PI_8, a > 1 / fits.TAN_PI_8
    t = where(far, -1 / a, where(middle, (a - 1) / (a + 1), a))
    begin = where(far, PI / 2, where(middle, PI / 4, 0))
    return sign(x) * (begin + (t + t * t**2 * polynomial(fits.ATAN, t**2)))


atan: ElementwiseOp = elementwise(
    "atan",
    lambda x: sympy.atan(x),
    derivative=lambda x: atan_slope(x),
    evaluate_as=_atan,
    digits=fits.DIGITS,
    range=(-2, 2),
    native=(sympy.atan,),
    cost=20,
    doc="Arc tangent, between -pi/2 and pi/2.",
    source="DLMF 4.23.3",
)

atan_slope: ElementwiseOp = elementwise(
    "atan_slope",
    lambda x: 1 / (1 + x**2),
    derivative=lambda x: -2 * strong_mul(atan_slope(x), x * atan_slope(x)),
    evaluate_as=lambda x: where(abs(x) > LARGE, 1 / x**2, 1 / (1 + x**2)),
    in_double=True,
    digits=18,
    range=(0, 1),
    range_open=(True, False),
    finite=True,
    derivative_of="atan",
    cost=7,
    doc="1/(1 + x**2), the derivative of atan.",
    source="DLMF 4.24.8",
)

asin: ElementwiseOp = elementwise(
    "asin",
    lambda x: sympy.asin(x),
    # The roots are read by what removes singularities: acos(x)**2 has the slope -2 at 1.
    derivative=lambda x: 1 / (sqrt(1 - x) * sqrt(1 + x)),
    evaluate_as=lambda x: 2 * atan(x / (1 + sqrt(1 - x) * sqrt(1 + x))),
    domain=Interval(-1, 1),
    range=(-2, 2),
    native=(sympy.asin,),
    cost=30,
    conventions=(Convention("asin'(1) = inf", at=(1,), slopes=("inf",)),),
    doc="Arc sine, between -pi/2 and pi/2; its derivative at -1 and 1 is +inf.",
    source="DLMF 4.23.1",
)

acos: ElementwiseOp = elementwise(
    "acos",
    lambda x: sympy.acos(x),
    derivative=lambda x: -1 / (sqrt(1 - x) * sqrt(1 + x)),
    evaluate_as=lambda x: 2 * atan2(sqrt(1 - x), sqrt(1 + x)),
    domain=Interval(-1, 1),
    range=(0, 4),
    native=(sympy.acos,),
    cost=30,
    conventions=(Convention("acos'(1) = -inf", at=(1,), slopes=("-inf",)),),
    doc="Arc cosine, between 0 and pi; its derivative at -1 and 1 is -inf.",
    source="DLMF 4.23.2",
)


def _atan2(y: Any, x: Any) -> Any:
    """The angle of the smaller to the larger of |x|, |y|, put where the signs say."""
    large, small = maximum(abs(x), abs(y)), minimum(abs(x), abs(y))
    turn = atan(where(sympy.Eq(large, 0), 0, small / large))
    turn = where(abs(y) > abs(x), PI / 2 - turn, turn)
    turn = where(x < 0, PI - turn, turn)
    return where(y < 0, -turn, turn)


def _atan2_slopes(y: Any, x: Any) -> tuple[Any, Any]:
    h = hypot(x, y)
    tip = sympy.Eq(h, 0)
    return where(tip, 0, hypot_share(x, y) / h), where(tip, 0, -hypot_share(y, x) / h)


atan2: ElementwiseOp = elementwise(
    "atan2",
    lambda y, x: where(
        sympy.And(sympy.Eq(x, 0), sympy.Eq(y, 0)),
        0,
        where(x > 0, atan(y / x), where(y >= 0, PI / 2 - atan(x / y), -PI / 2 - atan(x / y))),
    ),
    derivative=_atan2_slopes,
    evaluate_as=_atan2,
    domain=(Reals, Reals),
    digits=fits.DIGITS,
    range=(-4, 4),
    finite=True,
    cost=30,
    conventions=(Convention("atan2(0, 0) = 0, its derivatives 0", at=(0, 0), value=0,
                            slopes=(0, 0)),),
    doc="The angle of the point (x, y), between -pi and pi (pi on the negative x axis); at the "
    "origin it and its derivatives are 0.",
    source="DLMF 4.23(iii)",
)  # fmt: skip

# --- hyperbolic functions -------------------------------------------------------------------------

FAR = 20  # from here on exp(-2*x) is below half a unit in the last place of 1


def _sinh(x: Any) -> Any:
    a = abs(x)
    half, e = exp(a / 2), expm1(minimum(a, FAR))
    return sign(x) * where(a > FAR, HALF * half * half, (e + e / (1 + e)) / 2)


def _cosh(x: Any) -> Any:
    a = abs(x)
    half, e = exp(a / 2), expm1(minimum(a, FAR))
    return where(a > FAR, HALF * half * half, 1 + e**2 / (2 * (1 + e)))


sinh: ElementwiseOp = elementwise(
    "sinh",
    lambda x: sympy.sinh(x),
    derivative=lambda x: cosh(x),
    evaluate_as=_sinh,
    digits=fits.DIGITS,
    cost=8,
    native=(sympy.sinh,),
    doc="Hyperbolic sine.",
    source="DLMF 4.28.1",
)

cosh: ElementwiseOp = elementwise(
    "cosh",
    lambda x: sympy.cosh(x),
    derivative=lambda x: sinh(x),
    range=(1, None),
    evaluate_as=_cosh,
    digits=fits.DIGITS,
    cost=8,
    native=(sympy.cosh,),
    doc="Hyperbolic cosine.",
    source="DLMF 4.28.2",
)


def _asinh(x: Any) -> Any:
    a, near = abs(x), minimum(abs(x), LARGE)
    small = log1p(near + near**2 / (1 + sqrt(1 + near**2)))
    return sign(x) * where(a > LARGE, log(maximum(a, 1)) + sympy.log(2), small)


def _acosh(x: Any) -> Any:
    t = minimum(x, LARGE) - 1
    small = log1p(sqrt(t) * (sqrt(t) + sqrt(2 + t)))  # a sum with t would begin with x
    return where(x > LARGE, log(x) + sympy.log(2), small)


asinh: ElementwiseOp = elementwise(
    "asinh",
    lambda x: sympy.asinh(x),
    derivative=lambda x: 1 / hypot(x, 1),
    finite=True,
    evaluate_as=_asinh,
    digits=fits.DIGITS,
    cost=12,
    native=(sympy.asinh,),
    doc="Inverse of sinh.",
    source="DLMF 4.37.1",
)

acosh: ElementwiseOp = elementwise(
    "acosh",
    lambda x: sympy.acosh(x),
    # The roots are read by what removes singularities, as those of asin.
    derivative=lambda x: 1 / (sqrt(x - 1) * sqrt(x + 1)),
    domain=FROM_ONE,
    range=(0, None),
    evaluate_as=_acosh,
    digits=fits.DIGITS,
    cost=10,
    native=(sympy.acosh,),
    conventions=(Convention("acosh'(1) = inf", at=(1,), slopes=("inf",), value=0),),
    doc="Inverse of cosh, for x >= 1; its derivative at 1 is +inf.",
    source="DLMF 4.37.2",
)

atanh: ElementwiseOp = elementwise(
    "atanh",
    lambda x: sympy.atanh(x),
    derivative=lambda x: 1 / ((1 - x) * (1 + x)),
    domain=BETWEEN,
    evaluate_as=lambda x: sign(x) * log1p(2 * abs(x) / (1 - abs(x))) / 2,
    cost=7,
    native=(sympy.atanh,),
    doc="Inverse of tanh, for |x| < 1.",
    source="DLMF 4.37.3",
)
