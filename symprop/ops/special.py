"""Functions of probability, of the gamma family and sinc, one declaration each.

In: nothing. Out: the ops, in `REGISTRY` after those of ``symprop.ops.elementwise``.

Guarantees: as there. ``erfcx``, ``polygamma`` and ``sinc`` are families: their parameter ``order``
counts derivatives, so each is closed to any order, and no derivative is a difference of large
numbers. ``ndtr`` and ``log_ndtr`` are other names of ``normal_cdf`` and ``log_normal_cdf``.
The polynomials come from ``symprop.ops.fits``, which tests/fit_ops.py writes.
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial
from typing import Any

import sympy

from symprop.formula import FAMILIES
from symprop.ops import fits
from symprop.ops.declare import ElementwiseOp, elementwise
from symprop.ops.declare import where_symbolic as where
from symprop.ops.domain import Interval, Positive
from symprop.ops.elementwise import (
    abs,
    clip,
    erf,
    erfc,
    exp,
    exp_of_square,
    floor,
    log,
    log1p,
    maximum,
    minimum,
    normal_cdf,
    normal_pdf,
    sign,
    sqrt,
)
from symprop.ops.fits import polynomial
from symprop.ops.rounding import round

PI = sympy.pi
HALF = sympy.Rational(1, 2)
OPEN = Interval(-1, 1, open_low=True, open_high=True)

# --- the gamma family -----------------------------------------------------------------------------

STIRLING = (  # Bernoulli's numbers over 2*k*(2*k - 1)
    Fraction(1, 12), Fraction(-1, 360), Fraction(1, 1260), Fraction(-1, 1680), Fraction(1, 1188),
    Fraction(-691, 360360), Fraction(1, 156), Fraction(-3617, 122400),
)  # fmt: skip
FAR = 8  # from here on Stirling's series has 17 digits


def _defined(x: Any, value: Any) -> Any:
    """The value for x >= 0, else NaN: the logarithm of a negative number."""
    return where(x < 0, log(x), value)


def _lgamma(x: Any) -> Any:
    """From the nearest whole number, by way of lgamma(2 + u); Stirling's series from 8 on."""
    near = clip(x, 0, FAR)
    steps = floor(near + HALF)
    u = near - steps  # exact
    core = u * (1 + u) * polynomial(fits.LGAMMA, u)
    factor = where(steps < 1, x * (1 + x), where(steps < 2, x, 1))
    for k in range(1, 7):
        factor = factor * where(steps >= k + 2, x - k, 1)
    moved = where(steps < 2, -1, 1) * log(factor)
    large = maximum(x, FAR)
    tail = polynomial([float(c) for c in STIRLING], 1 / large**2) / large
    far = (large - HALF) * (log(large) - 1) + (HALF * sympy.log(2 * PI) - HALF + tail)
    return _defined(x, where(x >= FAR, far, core + moved))


lgamma: ElementwiseOp = elementwise(
    "lgamma",
    lambda x: sympy.loggamma(x),
    derivative=lambda x: digamma(x),
    evaluate_as=_lgamma,
    domain=Positive,
    digits=fits.DIGITS,
    native=(sympy.loggamma,),
    cost=60,
    doc="Logarithm of the gamma function, for x > 0.",
    source="DLMF 5.2.1",
)


def _digamma(x: Any) -> Any:
    """From [1, 2), as a multiple of the distance from its root there; a series from 8 on."""
    near = clip(x, 0, FAR)
    steps = floor(near) - 1
    y = near - steps
    share = polynomial(fits.DIGAMMA, y - 3 * HALF)
    core = (y - fits.DIGAMMA_ROOT) * share - fits.DIGAMMA_ROOT_REST * share
    more = sum(where(steps >= k, 1 / (x - k), 0) for k in range(1, FAR - 1))
    less = where(steps < 0, -1 / x, 0)
    large = maximum(x, FAR)
    slopes = [-float(c * (2 * k + 1)) for k, c in enumerate(STIRLING)]
    far = log(large) - 1 / (2 * large) + polynomial(slopes, 1 / large**2) / large**2
    return _defined(x, where(x >= FAR, far, core + (more + less)))


digamma: ElementwiseOp = elementwise(
    "digamma",
    lambda x: sympy.digamma(x),
    derivative=lambda x: polygamma(x),
    evaluate_as=_digamma,
    domain=Positive,
    digits=fits.DIGITS,
    native=(sympy.digamma,),
    cost=70,
    doc="Logarithmic derivative of the gamma function, for x > 0.",
    source="DLMF 5.2.2",
)


def _polygamma(x: Any, order: Any) -> Any:
    """Eight terms of the series of positive terms, then that of Stirling, differentiated."""
    n, sign = int(order), (-1) ** (int(order) + 1)
    head = sum(1 / (x + k) ** (n + 1) for k in range(FAR))
    y = x + FAR
    rest = sympy.Rational(1, n) / y**n + HALF / y ** (n + 1)
    series = []
    for k, c in enumerate(STIRLING):
        bernoulli = c * (2 * k + 2) * (2 * k + 1)
        series.append(float(bernoulli * factorial(2 * k + 1 + n) / factorial(2 * k + 2)))
    tail = polynomial(series, 1 / y**2) / (y ** (n + 2) * factorial(n))
    return _defined(x, sign * factorial(n) * (head + (rest + tail)))


polygamma: ElementwiseOp = elementwise(
    "polygamma",
    lambda x, order=1: sympy.polygamma(order, x),
    derivative=lambda x, order: polygamma.with_parameters(order=order + 1)(x),
    evaluate_as=_polygamma,
    domain=Positive,
    digits=fits.DIGITS,
    cost=60,
    doc="The derivative of digamma of that order, 1 or more, for x > 0.",
    source="DLMF 5.15.1",
)

FAMILIES[sympy.polygamma] = lambda n: (
    (polygamma.with_parameters(order=n) if n else digamma).function
)

# --- the normal distribution ----------------------------------------------------------------------

FITTED = len(fits.ERFCX)
RECURRENT = sympy.Rational(3, 10)  # up to here the recurrence keeps its digits


def _scaled_erfc(x: Any, order: Any) -> list[Any]:
    """The family up to an order by its recurrence, which cancels for x > 0."""
    found = [2 / sqrt(PI), exp(x**2) * erfc(x)]
    for n in range(1, int(order) + 1):
        found.append((found[-2] - 2 * x * found[-1]) / (2 * n))
    return found


FAR_RIGHT = 2**30  # from here on the next term, of x**-2, is below the last place


def _erfcx(x: Any, order: Any) -> Any:
    """A polynomial in (x - 4)/(x + 4); where x is small or below 0, the recurrence."""
    n, a = int(order), abs(x)

    def above(k: int) -> Any:
        return polynomial(fits.ERFCX[k], (a - 4) / (a + 4)) / (1 + 2 * a) ** (k + 1)

    found = [2 / sqrt(PI), where(x < 0, 2 * exp_of_square(x, 1) - above(0), above(0))]
    for k in range(1, n + 1):
        step = (found[-2] - 2 * x * found[-1]) / (2 * k)
        found.append(where(x < RECURRENT, step, above(k)) if k < FITTED else step)
    far = 1 / (sqrt(PI) * 2**n) / x ** (n + 1)  # where the powers above overflow
    return where(x > FAR_RIGHT, far, found[-1])


erfcx: ElementwiseOp = elementwise(
    "erfcx",
    lambda x, order=0: _scaled_erfc(x, order)[-1],
    derivative=lambda x, order: -2 * (order + 1) * erfcx.with_parameters(order=order + 1)(x),
    evaluate_as=_erfcx,
    in_double=True,
    digits=fits.DIGITS,
    range=(0, None),
    range_open=(True, False),
    cost=40,
    doc="exp(x**2)*erfc(x), scaled so as not to vanish; of an order n, exp(x**2) times the n-th "
    "repeated integral of erfc.",
    source="DLMF 7.2.3, 7.18.2",
)

# Starting values of Giles, in w = -log((1 - x)*(1 + x)): to 6 digits.
NEAR = (
    1.50140941, 0.246640727, -0.00417768164, -0.00125372503, 0.00021858087, -4.39150654e-06,
    -3.5233877e-06, 3.43273939e-07, 2.81022636e-08,
)  # fmt: skip
TAIL = (
    2.83297682, 1.00167406, 0.00943887047, -0.0076224613, 0.00573950773, -0.00367342844,
    0.00134934322, 0.000100950558, -0.000200214257,
)  # fmt: skip


def _erfinv(x: Any) -> Any:
    """Giles's value, and one step of Halley on erfc, of 1 - |x|, which is exact."""
    a = abs(x)
    w = -log1p(-(a**2))
    w = where(a > HALF, -log(1 - a) - log1p(a), w)
    y = a * where(w < 5, polynomial(NEAR, w - sympy.Rational(5, 2)), polynomial(TAIL, sqrt(w) - 3))
    gap = where(a > HALF, (1 - a) * (1 - erfc(y) / (1 - a)), erf(y) - a)
    step = gap / (2 / sqrt(PI) * exp(-(y**2)))
    return sign(x) * (y - step / (1 + y * step))


erfinv: ElementwiseOp = elementwise(
    "erfinv",
    lambda x: sympy.erfinv(x),
    derivative=lambda x: erfinv_slope(x),
    evaluate_as=_erfinv,
    domain=OPEN,
    digits=fits.DIGITS,
    native=(sympy.erfinv,),
    cost=60,
    doc="The inverse of erf, for |x| < 1.",
    source="Giles, Approximating the erfinv function, 2012; DLMF 7.17.1",
)

erfinv_slope: ElementwiseOp = elementwise(
    "erfinv_slope",
    lambda x: sqrt(PI) / 2 * exp(erfinv(x) ** 2),
    derivative=lambda x: 2 * erfinv(x) * erfinv_slope(x) ** 2,
    evaluate_as=lambda x: sqrt(PI) / 2 * erfcx(abs(erfinv(x))) / (1 - abs(x)),
    domain=OPEN,
    digits=fits.DIGITS,
    derivative_of="erfinv",
    cost=100,
    doc="sqrt(pi)/2*exp(erfinv(x)**2), the derivative of erfinv.",
    source="DLMF 7.17.1",
)


def _tail(x: Any) -> list[Any]:
    """The family of erfcx at -x/sqrt(2), orders 0 to 3."""
    z = -minimum(x, 0) / sqrt(2)
    return [erfcx.with_parameters(order=n)(z) for n in range(4)]


def _bend(x: Any) -> Any:
    m, e = log_normal_cdf_slope(x), _tail(x)
    below = where(x < -FAR_LEFT, -1, -sqrt(2) * m * e[1] / e[0])
    return where(x > 0, -m * (x + m), below)


FAR_LEFT = 10**9  # from here on the next term of a series is below half a unit in the last place


def _bend_slope(x: Any) -> Any:
    m, bend, e = log_normal_cdf_slope(x), log_normal_cdf_bend(x), _tail(x)
    below = 4 * m * (6 * e[1] * e[3] - 4 * e[2] ** 2) / e[0] ** 2  # of like terms: 6 and 4
    below = where(x < -FAR_LEFT, -2 / x**3, below)  # where those of the family underflow
    return where(x > 0, -bend * (x + m) - m * (1 + bend), below)


log_normal_cdf: ElementwiseOp = elementwise(
    "log_normal_cdf",
    lambda x: where(x > 0, log1p(-normal_cdf(-x)), log(normal_cdf(x))),
    derivative=lambda x: log_normal_cdf_slope(x),
    evaluate_as=lambda x: where(
        x > -1,
        where(x > 0, log1p(-normal_cdf(-abs(x))), log(normal_cdf(-abs(x)))),
        log(erfcx(-minimum(x, 0) / sqrt(2)) / 2) - x**2 / 2,
    ),
    digits=fits.DIGITS,
    range=(None, 0),
    range_open=(False, True),
    cost=60,
    doc="log(normal_cdf(x)), accurate in both tails.",
    source="DLMF 7.20.1",
)

log_normal_cdf_slope: ElementwiseOp = elementwise(
    "log_normal_cdf_slope",
    lambda x: normal_pdf(x) / normal_cdf(x),
    derivative=lambda x: log_normal_cdf_bend(x),
    evaluate_as=lambda x: where(
        x > 0, normal_pdf(x) / normal_cdf(x), sqrt(2 / PI) / erfcx(-minimum(x, 0) / sqrt(2))
    ),
    digits=fits.DIGITS,
    range=(0, None),
    range_open=(True, False),
    derivative_of="log_normal_cdf",
    cost=50,
    doc="normal_pdf(x)/normal_cdf(x), the derivative of log_normal_cdf.",
    source="DLMF 7.8.1 (Mills' ratio)",
)

log_normal_cdf_bend: ElementwiseOp = elementwise(
    "log_normal_cdf_bend",
    lambda x: -normal_pdf(x) / normal_cdf(x) * (x + normal_pdf(x) / normal_cdf(x)),
    derivative=_bend_slope,
    evaluate_as=_bend,
    digits=fits.DIGITS,
    range=(-1, 0),
    derivative_of="log_normal_cdf_slope",
    cost=100,
    doc="The second derivative of log_normal_cdf.",
    source="DLMF 7.8.1 (Mills' ratio)",
)

ndtr, log_ndtr = normal_cdf, log_normal_cdf  # as SciPy calls them

# --- sinc -----------------------------------------------------------------------------------------


def _sinc_at_0(n: int) -> Any:
    return (-1) ** (n // 2) * PI**n / (n + 1) if n % 2 == 0 else sympy.Integer(0)


def _sinc_orders(x: Any, n: int, first: Any, sine: Any, cosine: Any) -> Any:
    """x*sinc(x) = sin(pi*x)/pi, differentiated n times: a derivative from the one before."""
    turned = (cosine, -sine, -cosine, sine)
    found = first
    for k in range(1, n + 1):
        found = (PI ** (k - 1) * turned[(k - 1) % 4] - k * found) / x
    return found


def _sinc_formula(x: Any, order: Any) -> Any:
    sine, cosine = sympy.sin(PI * x), sympy.cos(PI * x)
    far = _sinc_orders(x, int(order), sine / (PI * x), sine, cosine)
    return where(sympy.Eq(x, 0), _sinc_at_0(int(order)), far)


SINC_REACH = sympy.Rational(1, 2)  # of the series; beyond, the recurrence keeps its digits
SINC_TERMS = 12


def _sinc_series(x: Any, n: int) -> Any:
    first = (n + 1) // 2
    coefficients = []
    for k in range(first, first + SINC_TERMS):
        share = sympy.Rational(factorial(2 * k), factorial(2 * k - n) * factorial(2 * k + 1))
        coefficients.append(float((-1) ** k * share * PI ** (2 * k)))
    return polynomial(coefficients, x**2) * (x if n % 2 else 1)


def _sinc(x: Any, order: Any) -> Any:
    """Of x = k + r, k whole: (-1)**k*sinc(r)*r/x, with sinc and cosine of pi*r as polynomials."""
    k = round(x)
    r, parity = x - k, k - 2 * floor(k / 2)
    odd = parity > HALF
    near = polynomial(fits.SINC, r**2)
    value = where(sympy.Eq(k, 0), near, near * (r / x))
    value = where(odd, -value, value)
    if not order:
        return value
    sine = PI * (r * near)
    cosine = (HALF - r) * (HALF + r) * polynomial(fits.COS_PI, r**2)
    sine, cosine = where(odd, -sine, sine), where(odd, -cosine, cosine)
    far = _sinc_orders(x, int(order), value, sine, cosine)
    return where(abs(x) < SINC_REACH, _sinc_series(x, int(order)), far)


sinc: ElementwiseOp = elementwise(
    "sinc",
    lambda x, order=0: _sinc_formula(x, order),
    derivative=lambda x, order: sinc.with_parameters(order=order + 1)(x),
    evaluate_as=_sinc,
    in_double=True,
    digits=fits.DIGITS,
    finite=True,
    cost=20,
    doc="sin(pi*x)/(pi*x), 1 at 0: the normalised form, as in NumPy and torch, which is 0 at the "
    "other whole numbers; of an order n, its n-th derivative.",
    source="Woodward, Probability and information theory, 1953",
)
