"""The scalar functions that stabilising rewrites end in: what floats would lose in the usual form.

In: nothing. Out: the ops below, in ``REGISTRY``; a user may call them, too.

Guarantees: as for ``symprop.ops.elementwise``: each family is closed under differentiation, its
derivatives are written in the input, and ``evaluate_as`` says how to compute without overflow and
without cancellation.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sympy

from symprop import formula as fm
from symprop.ops import fits
from symprop.ops.declare import ElementwiseOp, elementwise, infinity, strong_mul
from symprop.ops.declare import where_symbolic as where
from symprop.ops.domain import Interval, NonNegative, Positive, Reals
from symprop.ops.elementwise import (
    abs,
    erf,
    erfc,
    exp,
    expm1,
    gaussian,
    log,
    log1p,
    maximum,
    minimum,
    sqrt,
    tanh,
)
from symprop.ops.fits import polynomial
from symprop.ops.special import erfcx

__all__ = [
    "bose",
    "finite_or_zero",
    "log1mexp",
    "log_cosh",
    "log_erfc",
    "log_erfc_bend",
    "log_erfc_slope",
    "log_expm1",
    "log_times_exp",
    "norm_quotient",
    "one_if_zero",
    "power_log",
]

Negative = Interval(high=0, open_high=True)
FAR = 40  # from here on exp(x) - 1 is exp(x) in floats of every width

# Below this size exp(x) and what it multiplies are far from the ends of float32.
SAFE = 80
SAFE_PRODUCT = sympy.Integer(10) ** 30


bose: ElementwiseOp = elementwise(
    "bose",
    lambda x: 1 / expm1(x),
    derivative=lambda x: bose(x) * bose(-x),
    # far out exp(x) overflows, and exp(-x) has the value to the last place
    evaluate_as=lambda x: where(x > FAR, exp(-x), 1 / expm1(minimum(x, FAR))),
    in_double=True,
    digits=17,
    domain=Positive,
    cost=2,
    doc="1/(exp(x) - 1), the Bose-Einstein function: the derivative of log(1 - exp(-x)).",
    source="DLMF 25.12.15",
)

log1mexp: ElementwiseOp = elementwise(
    "log1mexp",
    lambda x: where(x > -1, log(-expm1(x)), log1p(-exp(x))),
    derivative=lambda x: -bose(-x),
    evaluate_as=lambda x: where(x > Fraction(-7, 10), log(-expm1(x)), log1p(-exp(x))),
    in_double=True,
    domain=Negative,
    range=(None, 0),
    range_open=(False, True),
    cost=4,
    doc="log(1 - exp(x)) for x < 0, accurate near 0 and far below.",
    source="Maechler, Accurately computing log(1 - exp(-|a|)), 2012",
)

# log(2) as a float and what it lacks, and how far from it the value is one of the distance.
LN2, LN2_REST = 0.6931471805599453, 2.3190468138462996e-17
BESIDE = (Fraction(-3465, 10000), Fraction(1, 2))  # to log(2)/2, where expm1 begins to cancel


def _log_expm1(x: Any) -> Any:
    """Beside its zero: d + log(2 - exp(-d)) of the distance d = x - log(2)."""
    distance = maximum(x - fm.exact(LN2), -1)  # always the first: a sum would swallow it
    beside = distance + log1p(-expm1(-distance)) - 2 * fm.exact(LN2_REST)
    usual = where(x < 1, log(expm1(minimum(x, 1))), x + log1p(-exp(-x)))
    low, high = BESIDE
    return where(sympy.And(distance > low, distance < high), beside, usual)


log_expm1: ElementwiseOp = elementwise(
    "log_expm1",
    lambda x: where(x < 1, log(expm1(x)), x + log1p(-exp(-x))),
    derivative=lambda x: -bose(-x),
    evaluate_as=_log_expm1,
    in_double=True,
    digits=14,  # beside log(2) of its value, there 0
    domain=Positive,
    cost=4,
    doc="log(exp(x) - 1), the inverse of softplus, without overflow.",
    source="Maechler, Accurately computing log(1 - exp(-|a|)), 2012",
)

LOG_COSH_REACH = Fraction(3, 2)  # of the polynomial


log_cosh: ElementwiseOp = elementwise(
    "log_cosh",
    lambda x: log1p(expm1(x) ** 2 * exp(-x) / 2),  # cosh(x) - 1
    derivative=lambda x: tanh(x),
    evaluate_as=lambda x: _log_cosh(abs(x)),
    in_double=True,
    digits=fits.DIGITS,
    range=(0, None),
    finite=True,
    cost=9,
    doc="log(cosh(x)), a smooth |x|, without overflow and accurate near 0.",
    source="DLMF 4.28.2",
)


def _log_cosh(a: Any) -> Any:
    """Near 0 a polynomial of its square."""
    near = a**2 * polynomial(fits.LOG_COSH, minimum(a, LOG_COSH_REACH) ** 2)
    return where(a < LOG_COSH_REACH, near, a + (log1p(exp(-2 * a)) - log(2)))


RATE = 2 / sqrt(sympy.pi)
ERFC_FAR = 12  # from here on the series below has 17 digits


def _bend_series(count: int) -> list[float]:
    """Coefficients of the second derivative of log(erfc(x)) in 1/x**2, from that of the first,
    s = -(2*x + 1/x - 1/x**3 + ...), which solves s' = -s*(s + 2*x)."""
    c = [Fraction(2)]
    for k in range(1, count):
        inner = sum((c[i] * c[k - i] for i in range(1, k)), Fraction(0))
        c.append(((3 - 2 * k) * c[k - 1] - inner) / 2)
    return [float((2 * k - 1) * a) for k, a in enumerate(c)]


log_erfc: ElementwiseOp = elementwise(
    "log_erfc",
    lambda x: where(x < 1, log1p(-erf(x)), log(erfc(x))),
    derivative=lambda x: log_erfc_slope(x),
    evaluate_as=lambda x: where(2 * x < 1, log1p(-erf(x)), log(erfcx(x)) - x**2),
    digits=fits.DIGITS,
    range=(None, 1),
    cost=60,
    doc="log(erfc(x)), far out, where erfc(x) is 0 in floats, too.",
    source="DLMF 7.2.2",
)


log_erfc_slope: ElementwiseOp = elementwise(
    "log_erfc_slope",
    lambda x: -RATE * gaussian(x) / erfc(x),
    derivative=lambda x: log_erfc_bend(x),
    evaluate_as=lambda x: where(x < 0, -RATE * gaussian(x) / erfc(x), -RATE / erfcx(x)),
    digits=fits.DIGITS,
    range=(None, 0),
    cost=50,
    doc="-2/sqrt(pi)*exp(-x**2)/erfc(x), the derivative of log_erfc.",
    source="DLMF 7.8.1 (Mills' ratio)",
)


def _share(x: Any, order: int) -> Any:
    """erfcx of an order as a part of that of order 0."""
    return erfcx.with_parameters(order=order)(x) / erfcx(x)


def _bend(x: Any) -> Any:
    """Of one sign below 0; above, of the family of erfcx, which does not cancel."""
    s = log_erfc_slope(x)
    far = polynomial(_bend_series(16), 1 / x**2)
    above = where(x < ERFC_FAR, 2 * s * _share(x, 1), far)
    return where(x < 0, -strong_mul(s, s + 2 * x), above)


def _bend_slope(x: Any) -> Any:
    s, bend = log_erfc_slope(x), log_erfc_bend(x)
    above = 2 * bend**2 / s - 8 * s * _share(x, 2)
    return where(x < 0, -strong_mul(bend, s + 2 * x) - s * (bend + 2), above)


log_erfc_bend: ElementwiseOp = elementwise(
    "log_erfc_bend",
    lambda x: where(x < 0, -strong_mul(log_erfc_slope(x), log_erfc_slope(x) + 2 * x),
                    2 * log_erfc_slope(x) * _share(x, 1)),
    derivative=_bend_slope,
    evaluate_as=_bend,
    digits=fits.DIGITS,
    range=(-2, 0),
    cost=100,
    doc="The second derivative of log_erfc.",
    source="DLMF 7.8.1 (Mills' ratio)",
)  # fmt: skip

log_times_exp: ElementwiseOp = elementwise(
    "log_times_exp",
    lambda x, y: x + log(y),
    derivative=lambda x, y: (1, 1 / y),
    evaluate_as=lambda x, y: _log_times_exp(x, y, y * exp(x)),
    domain=(Reals, Positive),
    cost=6,
    doc="log(y*exp(x)): as it stands where y*exp(x) is of moderate size, as x + log(y) elsewhere, "
    "where floats would overflow.",
    source="definition",
)


def _log_times_exp(x: Any, y: Any, product: Any) -> Any:
    moderate = sympy.And(abs(x) < SAFE, product * SAFE_PRODUCT > 1, product < SAFE_PRODUCT)
    return where(moderate, log(product), x + log(y))


def _power_log_slope(x: Any, n: Any, m: Any) -> Any:
    """x**(n-1) * log(x)**(m-1) * (n*log(x) + m), in which no 0 meets an infinity at x = 0."""
    if n <= 1:
        return x ** (n - 1) * log(x) ** (m - 1) * (n * log(x) + m)
    less = {"n": Fraction(int(n.p), int(n.q)) - 1}
    lower = x ** (n - 1) if m == 1 else power_log(x, m=int(m) - 1, **less)
    return n * power_log(x, m=int(m), **less) + m * lower


power_log: ElementwiseOp = elementwise(
    "power_log",
    lambda x, n=1, m=1: where(sympy.Eq(x, 0), 0, x**n * log(x) ** m),
    derivative=_power_log_slope,
    domain=NonNegative,
    in_double=True,
    cost=4,
    doc="x**n * log(x)**m for n > 0 and whole m > 0: at x = 0 its limit, 0, and there the limits "
    "of its derivatives, too.",
    source="DLMF 4.4.14",
)

norm_quotient: ElementwiseOp = elementwise(
    "norm_quotient",
    lambda x, y: where(sympy.And(sympy.Eq(x, 0), sympy.Eq(y, 0)), 0, x / y),
    derivative=lambda x, y: (
        where(sympy.And(sympy.Eq(x, 0), sympy.Eq(y, 0)), 0, 1 / y),
        where(sympy.And(sympy.Eq(x, 0), sympy.Eq(y, 0)), 0, -(x / y) / y),
    ),
    domain=(Reals, Positive),
    cost=4,
    doc="x/y of a length y: 0 where both are 0, and its derivatives are 0 there, for a vector of "
    "length 0 has no direction.",
    source="definition",
)

# --- rows without a number: a maximum that is -inf, a sum of exponentials that is 0 ---------------

finite_or_zero: ElementwiseOp = elementwise(
    "finite_or_zero",
    lambda x: where(abs(x) < infinity(), x, 0),
    derivative=lambda x: 1,
    finite=True,
    kind="same",
    doc="x, or 0 where it is infinite: by what exponentials may be shifted. Its derivative is 1.",
    source="definition",
)

one_if_zero: ElementwiseOp = elementwise(
    "one_if_zero",
    lambda x: where(sympy.Eq(x, 0), 1, x),
    derivative=lambda x: 1,
    finite=True,
    kind="same",
    domain=Positive,
    doc="x, or 1 where it is 0: by what nothing but zeros is divided, to stay 0. Its derivative is "
    "1.",
    source="definition",
)
