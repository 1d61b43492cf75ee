"""The scalar functions of the library, one declaration each.

In: nothing. Out: `REGISTRY` filled, in this order, and every op under its own name.

Guarantees: a derivative is written in the input of the op, never in its rounded output, so the
tails keep their digits (1 - tanh(x)**2 loses them all); the family is closed under
differentiation to any order, without a product like 0*inf; at a kink the convention is the one
the doc states, chosen by a selection. Where floats would overflow on the way, ``evaluate_as`` says
how to compute instead.

Derivatives of the bell-shaped functions multiply by the input with a strong product: x*exp(-x**2)
is 0 far out, and stays so when it is differentiated again and x**2 has overflowed.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sympy

from symprop.ops.declare import Convention, ElementwiseOp, elementwise, strong_mul
from symprop.ops.declare import where_symbolic as where
from symprop.ops.domain import AboveMinusOne, NonNegative, Positive, Reals
from symprop.term import power as raised

# --- exponentials and powers ------------------------------------------------------------------

exp: ElementwiseOp = elementwise(
    "exp",
    lambda x: sympy.exp(x),
    derivative=lambda x: exp(x),
    range=(0, None),
    range_open=(True, False),
    native=(sympy.exp,),
    doc="Exponential function.",
    source="DLMF 4.2.19",
)

log: ElementwiseOp = elementwise(
    "log",
    lambda x: sympy.log(x),
    derivative=lambda x: 1 / x,
    domain=Positive,
    native=(sympy.log,),
    doc="Natural logarithm.",
    source="DLMF 4.2.2",
)

log1p: ElementwiseOp = elementwise(
    "log1p",
    lambda x: sympy.log(1 + x),
    derivative=lambda x: 1 / (1 + x),
    domain=AboveMinusOne,
    doc="log(1 + x), accurate near 0.",
    source="DLMF 4.6.1",
)

expm1: ElementwiseOp = elementwise(
    "expm1",
    lambda x: sympy.exp(x) - 1,
    derivative=lambda x: exp(x),
    range=(-1, None),
    range_open=(True, False),
    doc="exp(x) - 1, accurate near 0.",
    source="DLMF 4.2.19",
)

sqrt: ElementwiseOp = elementwise(
    "sqrt",
    lambda x: sympy.sqrt(x),
    derivative=lambda x: 1 / (2 * sqrt(x)),
    domain=NonNegative,
    range=(0, None),
    native=("sqrt",),
    conventions=(Convention("sqrt'(0) = inf", at=(0,), slopes=("inf",)),),
    doc="Square root; its derivative at 0 is +inf.",
    source="DLMF 4.2.26",
)

square: ElementwiseOp = elementwise(
    "square",
    lambda x: x**2,
    derivative=lambda x: 2 * x,
    range=(0, None),
    kind="same",
    fold=lambda x: raised(x, 2),
    doc="x*x; the same formula as x**2.",
    source="definition",
)


def _power_slope(x: Any, y: Any) -> tuple[Any, Any]:
    # 0 where y is 0, also at x = 0; and the limit of x**y*log(x) at x = 0
    return strong_mul(y, power(x, y - 1)), where(sympy.Eq(x, 0), 0, power(x, y) * log(x))


power: ElementwiseOp = elementwise(
    "power",
    lambda x, y: x**y,
    derivative=_power_slope,
    domain=(Positive, Reals),
    native=("power",),
    conventions=(
        Convention("0**0 = 1, its derivatives 0", at=(0, 0), value=1, slopes=(0, 0)),
        Convention("the derivative of 0**y in y is 0", at=(0, 1), slopes=(1, 0)),
    ),
    doc="x to the real power y, for x > 0 (for x < 0 NaN unless y is whole; x**0 is 1). "
    "The derivative in y is 0 at x = 0.",
    source="DLMF 4.2.26",
)

# --- piecewise linear ---------------------------------------------------------------------------

abs: ElementwiseOp = elementwise(
    "abs",
    lambda x: where(x < 0, -x, x),
    derivative=lambda x: sign(x),
    range=(0, None),
    finite=True,
    kind="same",
    native=(sympy.Abs,),
    conventions=(Convention("abs'(0) = 0", at=(0,), slopes=(0,)),),
    doc="Absolute value; its derivative at 0 is 0.",
    source="definition",
)

sign: ElementwiseOp = elementwise(
    "sign",
    lambda x: where(x > 0, 1, where(x < 0, -1, 0)),
    derivative=lambda x: 0,
    range=(-1, 1),
    finite=True,
    kind="same",
    native=(sympy.sign,),
    conventions=(Convention("sign'(0) = 0", at=(0,), slopes=(0,)),),
    doc="-1, 0 or 1; its derivative is 0 everywhere.",
    source="definition",
)


def _larger(x: Any, y: Any) -> Any:
    return where(x > y, 1, where(x < y, 0, sympy.Rational(1, 2)))


maximum: ElementwiseOp = elementwise(
    "maximum",
    lambda x, y: where(x < y, y, x),
    derivative=lambda x, y: (_larger(x, y), _larger(y, x)),
    finite=True,
    kind="same",
    native=(sympy.Max,),
    conventions=(
        Convention(
            "half of maximum' to each of two equal arguments",
            at=(2, 2),
            slopes=(Fraction(1, 2), Fraction(1, 2)),
        ),
    ),
    doc="The larger of two numbers, NaN if one is; a tie gives half of the derivative to each.",
    source="definition",
)

minimum: ElementwiseOp = elementwise(
    "minimum",
    lambda x, y: where(x > y, y, x),
    derivative=lambda x, y: (_larger(y, x), _larger(x, y)),
    finite=True,
    kind="same",
    native=(sympy.Min,),
    conventions=(
        Convention(
            "half of minimum' to each of two equal arguments",
            at=(2, 2),
            slopes=(Fraction(1, 2), Fraction(1, 2)),
        ),
    ),
    doc="The smaller of two numbers, NaN if one is; a tie gives half of the derivative to each.",
    source="definition",
)


def _clip_slope(x: Any, low: Any, high: Any) -> tuple[Any, Any, Any]:
    inside = sympy.And(low <= x, x <= high)
    below = sympy.And(x < low, low <= high)
    above = sympy.Or(sympy.And(high < x, low <= high), high < low)
    return where(inside, 1, 0), where(below, 1, 0), where(above, 1, 0)


clip: ElementwiseOp = elementwise(
    "clip",
    lambda x, low, high: minimum(maximum(x, low), high),
    derivative=_clip_slope,
    finite=True,
    kind="same",
    cost=2,
    conventions=(
        Convention("clip' = 1 at both ends", at=(1, 1, 2), slopes=(1, 0, 0)),
        Convention("clip' = 1 at both ends", at=(2, 1, 2), slopes=(1, 0, 0)),
    ),
    doc="x held between low and high (high where they cross); the derivative in x is 1 inside, "
    "both ends included, and 0 outside.",
    source="definition",
)

floor: ElementwiseOp = elementwise(
    "floor",
    lambda x: sympy.floor(x),
    derivative=lambda x: 0,
    finite=True,
    native=(sympy.floor,),
    conventions=(Convention("floor' = 0 at its jumps", at=(1,), slopes=(0,)),),
    doc="The greatest whole number not above x; its derivative is 0 everywhere.",
    source="DLMF, front matter, common notations",
)

relu: ElementwiseOp = elementwise(
    "relu",
    lambda x: where(x > 0, x, 0),
    derivative=lambda x: where(x > 0, 1, 0),
    evaluate_as=lambda x: maximum(x, 0),
    range=(0, None),
    finite=True,
    kind="same",
    conventions=(Convention("relu'(0) = 0", at=(0,), slopes=(0,)),),
    doc="max(x, 0); its derivative at 0 is 0.",
    source="Goodfellow, Bengio, Courville, Deep Learning, 6.3.1",
)

leaky_relu: ElementwiseOp = elementwise(
    "leaky_relu",
    lambda x, negative_slope=Fraction(1, 100): where(x > 0, x, negative_slope * x),
    derivative=lambda x, negative_slope: where(x > 0, 1, negative_slope),
    finite=lambda negative_slope: -1 <= negative_slope <= 1,
    range=lambda negative_slope: (None if negative_slope > 0 else 0, None),
    cost=3,
    conventions=(
        Convention("leaky_relu'(0) = negative_slope", at=(0,), slopes=("negative_slope",)),
    ),
    doc="x for x > 0, else negative_slope*x; its derivative at 0 is negative_slope.",
    source="Maas, Hannun, Ng, Rectifier nonlinearities, 2013",
)

# --- trigonometric and hyperbolic -----------------------------------------------------------------

sin: ElementwiseOp = elementwise(
    "sin",
    lambda x: sympy.sin(x),
    derivative=lambda x: cos(x),
    range=(-1, 1),
    finite=True,
    native=(sympy.sin,),
    doc="Sine.",
    source="DLMF 4.14.1",
)

cos: ElementwiseOp = elementwise(
    "cos",
    lambda x: sympy.cos(x),
    derivative=lambda x: -sin(x),
    range=(-1, 1),
    finite=True,
    native=(sympy.cos,),
    doc="Cosine.",
    source="DLMF 4.14.2",
)

tanh: ElementwiseOp = elementwise(
    "tanh",
    lambda x: sympy.tanh(x),
    derivative=lambda x: sech2(x),
    range=(-1, 1),
    range_open=(True, True),
    finite=True,
    native=(sympy.tanh,),
    doc="Hyperbolic tangent.",
    source="DLMF 4.28.4",
)


def by_decay(form: Any) -> Any:
    """A form in e = exp(-|x|), which never overflows."""
    return lambda x: form(x, exp(-abs(x)))


sech2: ElementwiseOp = elementwise(
    "sech2",
    lambda x: (2 / (exp(x) + exp(-x))) ** 2,
    derivative=lambda x: -2 * tanh(x) * sech2(x),
    evaluate_as=by_decay(lambda x, e: (2 * e / (1 + e**2)) ** 2),
    range=(0, 1),
    range_open=(True, False),
    finite=True,
    cost=6,
    doc="1/cosh(x)**2, the derivative of tanh.",
    source="DLMF 4.28.6",
)

# --- the logistic family --------------------------------------------------------------------------

sigmoid: ElementwiseOp = elementwise(
    "sigmoid",
    lambda x: 1 / (1 + exp(-x)),
    derivative=lambda x: sigmoid(x) * sigmoid(-x),
    evaluate_as=by_decay(lambda x, e: where(x >= 0, 1, e) / (1 + e)),
    range=(0, 1),
    range_open=(True, True),
    finite=True,
    cost=4,
    doc="Logistic function; maps the reals to (0, 1).",
    source="Bishop, Pattern Recognition and Machine Learning, (4.59)",
)

softplus: ElementwiseOp = elementwise(
    "softplus",
    lambda x: log1p(exp(x)),
    derivative=lambda x: sigmoid(x),
    evaluate_as=by_decay(lambda x, e: maximum(x, 0) + log1p(e)),
    range=(0, None),
    range_open=(True, False),
    finite=True,
    cost=5,
    doc="log(1 + exp(x)), a smooth max(x, 0).",
    source="Goodfellow, Bengio, Courville, Deep Learning, (3.31)",
)

log_sigmoid: ElementwiseOp = elementwise(
    "log_sigmoid",
    lambda x: -log1p(exp(-x)),
    derivative=lambda x: sigmoid(-x),
    evaluate_as=by_decay(lambda x, e: minimum(x, 0) - log1p(e)),
    range=(None, 0),
    range_open=(False, True),
    finite=True,
    cost=5,
    doc="log(sigmoid(x)).",
    source="Goodfellow, Bengio, Courville, Deep Learning, (3.41)",
)

silu: ElementwiseOp = elementwise(
    "silu",
    lambda x: x * sigmoid(x),
    derivative=lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
    range=(Fraction(-2785, 10000), None),
    finite=True,
    cost=5,
    doc="x*sigmoid(x), also called swish.",
    source="Elfwing, Uchibe, Doya, Sigmoid-weighted linear units, 2018",
)

elu: ElementwiseOp = elementwise(
    "elu",
    lambda x, alpha=1: where(x > 0, x, alpha * expm1(x)),
    derivative=lambda x, alpha: where(x > 0, 1, alpha * exp(x)),
    evaluate_as=lambda x, alpha: maximum(x, 0) + alpha * expm1(minimum(x, 0)),
    range=lambda alpha: (min(-alpha, 0), None),
    finite=True,
    cost=5,
    conventions=(Convention("elu'(0) = alpha", at=(0,), slopes=("alpha",)),),
    doc="x for x > 0, else alpha*(exp(x) - 1); its derivative at 0 is alpha.",
    source="Clevert, Unterthiner, Hochreiter, Exponential linear units, 2016",
)

# --- the normal distribution -------------------------------------------------------------------

STEPS = 256  # of |x| up to 45: a multiple of 1/256 has a square that is exact in floats


# What is below the normal floats on the way to a result that is not is computed times exp of this;
# the floats nearest to exp(-96) and to exp(-104)/sqrt(2*pi) are nearer than others: 1/60 of a unit.
SHIFT, NORMAL_SHIFT = 96, 104


def exp_of_square(x: Any, k: Any, shift: int = 0) -> Any:
    """exp(k*x**2 + shift), |k| from 1/2 to 1: the square in two parts, the large one exact."""
    size = minimum(abs(x), 45)  # exp(-900) is 0 in every float, exp(900) infinite
    near = floor(STEPS * size) / STEPS
    return exp(shift + k * near**2) * exp(k * ((size - near) * (size + near)))


gaussian: ElementwiseOp = elementwise(
    "gaussian",
    lambda x: exp(-(x**2)),
    derivative=lambda x: -2 * gaussian_moment(x),
    evaluate_as=lambda x: exp_of_square(x, -1),
    in_double=True,
    range=(0, 1),
    range_open=(True, False),
    finite=True,
    cost=3,
    doc="exp(-x**2), the shape of the derivative of erf.",
    source="DLMF 7.2.1",
)

gaussian_moment: ElementwiseOp = elementwise(
    "gaussian_moment",
    lambda x: x * exp(-(x**2)),
    derivative=lambda x: gaussian(x) - 2 * strong_mul(gaussian_moment(x), x),
    evaluate_as=lambda x: exp(-SHIFT) * strong_mul(exp_of_square(x, -1, SHIFT), x),
    in_double=True,
    range=(Fraction(-43, 100), Fraction(43, 100)),
    finite=True,
    cost=4,
    part=True,
    doc="x*exp(-x**2), of the derivatives of exp(-x**2).",
    source="DLMF 7.2.1",
)

erf: ElementwiseOp = elementwise(
    "erf",
    lambda x: sympy.erf(x),
    derivative=lambda x: 2 / sqrt(sympy.pi) * gaussian(x),
    range=(-1, 1),
    range_open=(True, True),
    finite=True,
    native=(sympy.erf,),
    doc="Error function.",
    source="DLMF 7.2.1",
)

erfc: ElementwiseOp = elementwise(
    "erfc",
    lambda x: sympy.erfc(x),
    derivative=lambda x: -2 / sqrt(sympy.pi) * gaussian(x),
    range=(0, 2),
    range_open=(True, True),
    finite=True,
    native=(sympy.erfc,),
    doc="1 - erf(x), accurate where it is tiny.",
    source="DLMF 7.2.2",
)

normal_pdf: ElementwiseOp = elementwise(
    "normal_pdf",
    lambda x: exp(-(x**2) / 2) / sqrt(2 * sympy.pi),
    derivative=lambda x: -normal_moment(x),
    evaluate_as=lambda x: exp_of_square(x, sympy.Rational(-1, 2)) / sqrt(2 * sympy.pi),
    range=(0, Fraction(2, 5)),
    range_open=(True, True),
    finite=True,
    cost=5,
    doc="Density of the standard normal distribution.",
    source="DLMF 7.20.1",
)


def _normal_moment(x: Any) -> Any:
    e = exp_of_square(x, sympy.Rational(-1, 2), NORMAL_SHIFT)
    return exp(-NORMAL_SHIFT) / sqrt(2 * sympy.pi) * strong_mul(e, x)


normal_moment: ElementwiseOp = elementwise(
    "normal_moment",
    lambda x: x * exp(-(x**2) / 2) / sqrt(2 * sympy.pi),
    derivative=lambda x: normal_pdf(x) - strong_mul(normal_moment(x), x),
    evaluate_as=_normal_moment,
    in_double=True,
    range=(Fraction(-1, 4), Fraction(1, 4)),
    finite=True,
    cost=6,
    part=True,
    doc="x times the density of the standard normal distribution.",
    source="DLMF 7.20.1",
)

normal_cdf: ElementwiseOp = elementwise(
    "normal_cdf",
    lambda x: erfc(-x / sqrt(2)) / 2,
    derivative=lambda x: normal_pdf(x),
    range=(0, 1),
    range_open=(True, True),
    finite=True,
    cost=3,
    doc="Standard normal distribution function, accurate in its left tail.",
    source="DLMF 7.20.1",
)

gelu: ElementwiseOp = elementwise(
    "gelu",
    lambda x: x * normal_cdf(x),
    derivative=lambda x: normal_cdf(x) + x * normal_pdf(x),
    range=(Fraction(-17, 100), None),
    finite=True,
    cost=4,
    doc="x times the standard normal distribution function (the exact form).",
    source="Hendrycks, Gimpel, Gaussian error linear units, 2016",
)

# Past this size the sigmoid below is nearer to 0 or 1 than 1e-800: times any float, still below
# the smallest one. So the argument stops there, and neither x**3 nor its derivatives overflow.
GELU_TANH_REACH = 30


def _cubic(x: Any) -> Any:
    return sqrt(8 / sympy.pi) * (x + sympy.Rational(44715, 1000000) * x**3)


def _gelu_tanh_slope(x: Any) -> Any:
    t = clip(x, -GELU_TANH_REACH, GELU_TANH_REACH)
    v = _cubic(t)
    rate = sqrt(8 / sympy.pi) * (1 + sympy.Rational(134145, 1000000) * t**2)
    return sigmoid(v) * (1 + t * rate * sigmoid(-v))


gelu_tanh: ElementwiseOp = elementwise(
    "gelu_tanh",
    lambda x: x * sigmoid(_cubic(x)),
    derivative=_gelu_tanh_slope,
    evaluate_as=lambda x: x * sigmoid(_cubic(clip(x, -GELU_TANH_REACH, GELU_TANH_REACH))),
    range=(Fraction(-1701, 10000), None),
    finite=True,
    cost=10,
    doc="The tanh form of gelu: x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))/2, written with "
    "sigmoid, which keeps the left tail.",
    source="Hendrycks, Gimpel, Gaussian error linear units, 2016",
)
