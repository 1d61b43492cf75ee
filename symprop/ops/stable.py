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

from symprop.ops.declare import ElementwiseOp, elementwise
from symprop.ops.declare import where_symbolic as where
from symprop.ops.domain import Interval, NonNegative, Positive, Reals
from symprop.ops.elementwise import abs, exp, expm1, log, log1p, tanh

__all__ = [
    "bose",
    "log1mexp",
    "log_cosh",
    "log_expm1",
    "log_times_exp",
    "norm_quotient",
    "power_log",
]

Negative = Interval(high=0, open_high=True)

# Below this size exp(x) and what it multiplies are far from the ends of float32.
SAFE = 80
SAFE_PRODUCT = sympy.Integer(10) ** 30


bose: ElementwiseOp = elementwise(
    "bose",
    lambda x: 1 / expm1(x),
    derivative=lambda x: bose(x) * bose(-x),
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
    domain=Negative,
    range=(None, 0),
    range_open=(False, True),
    cost=4,
    doc="log(1 - exp(x)) for x < 0, accurate near 0 and far below.",
    source="Maechler, Accurately computing log(1 - exp(-|a|)), 2012",
)

log_expm1: ElementwiseOp = elementwise(
    "log_expm1",
    lambda x: where(x < 1, log(expm1(x)), x + log1p(-exp(-x))),
    derivative=lambda x: -bose(-x),
    evaluate_as=lambda x: where(x < 1, log(expm1(x)), x + log1p(-exp(-x))),
    domain=Positive,
    cost=4,
    doc="log(exp(x) - 1), the inverse of softplus, without overflow.",
    source="Maechler, Accurately computing log(1 - exp(-|a|)), 2012",
)

log_cosh: ElementwiseOp = elementwise(
    "log_cosh",
    lambda x: log1p(expm1(x) ** 2 * exp(-x) / 2),  # cosh(x) - 1
    derivative=lambda x: tanh(x),
    evaluate_as=lambda x: _log_cosh(abs(x)),
    range=(0, None),
    finite=True,
    cost=9,
    doc="log(cosh(x)), a smooth |x|, without overflow and accurate near 0.",
    source="DLMF 4.28.2",
)


def _log_cosh(a: Any) -> Any:
    """cosh(a) - 1 is (exp(a) - 1)**2 / (2*exp(a)), which log1p takes near 0."""
    near = log1p(expm1(a) ** 2 * exp(-a) / 2)
    return where(a < 1, near, a + (log1p(exp(-2 * a)) - log(2)))


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
