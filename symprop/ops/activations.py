"""Activations beside those of ``symprop.ops.elementwise``, one declaration each.

In: nothing. Out: the ops, in `REGISTRY` after those of ``symprop.ops.elementwise``.

Guarantees: as there: derivatives in the input, closed to any order; at a kink the convention that
the declaration states, the one of the flat side where there is one.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sympy

from symprop.ops.declare import Convention, ElementwiseOp, elementwise, strong_mul
from symprop.ops.declare import where_symbolic as where
from symprop.ops.elementwise import (
    SHIFT,
    abs,
    clip,
    exp,
    expm1,
    maximum,
    minimum,
    sech2,
    sigmoid,
    sign,
    softplus,
    tanh,
)

# --- pieces of lines ------------------------------------------------------------------------------

hard_tanh: ElementwiseOp = elementwise(
    "hard_tanh",
    lambda x: where(x > -1, where(x < 1, x, 1), -1),
    derivative=lambda x: where(sympy.And(x > -1, x < 1), 1, 0),
    evaluate_as=lambda x: clip(x, -1, 1),
    range=(-1, 1),
    finite=True,
    kind="same",
    cost=2,
    conventions=(
        Convention("hard_tanh'(-1) = 0", at=(-1,), slopes=(0,)),
        Convention("hard_tanh'(1) = 0", at=(1,), slopes=(0,)),
    ),
    doc="x held between -1 and 1; its derivative at both is 0.",
    source="Collobert, Large scale machine learning, 2004",
)

hard_sigmoid: ElementwiseOp = elementwise(
    "hard_sigmoid",
    lambda x: where(x > -3, where(x < 3, (x + 3) / 6, 1), 0),
    derivative=lambda x: where(sympy.And(x > -3, x < 3), sympy.Rational(1, 6), 0),
    evaluate_as=lambda x: clip(x + 3, 0, 6) / 6,
    range=(0, 1),
    finite=True,
    cost=4,
    conventions=(
        Convention("hard_sigmoid'(-3) = 0", at=(-3,), slopes=(0,)),
        Convention("hard_sigmoid'(3) = 0", at=(3,), slopes=(0,)),
    ),
    doc="(x + 3)/6 held between 0 and 1; its derivative at both ends is 0.",
    source="Howard et al., Searching for MobileNetV3, 2019",
)

THREE_HALVES = sympy.Rational(3, 2)

hard_swish: ElementwiseOp = elementwise(
    "hard_swish",
    lambda x: where(x > -3, where(x < 3, x * (x + 3) / 6, x), 0),
    # SymPy would distribute the third over a bare sum, of which x/3 alone is rounded
    derivative=lambda x: where(
        x > -3, where(x < 3, maximum(x + THREE_HALVES, -THREE_HALVES) / 3, 1), 0
    ),
    evaluate_as=lambda x: where(x < 3, clip(x, -3, 3) * clip(x + 3, 0, 6) / 6, x),
    in_double=True,
    range=(Fraction(-3, 8), None),
    finite=True,
    cost=8,
    conventions=(
        Convention("hard_swish'(-3) = 0", at=(-3,), slopes=(0,)),
        Convention("hard_swish'(3) = 1", at=(3,), slopes=(1,)),
    ),
    doc="x*hard_sigmoid(x); its derivative is 0 at -3 and 1 at 3.",
    source="Howard et al., Searching for MobileNetV3, 2019",
)

hard_shrink: ElementwiseOp = elementwise(
    "hard_shrink",
    lambda x, limit=Fraction(1, 2): where(sympy.Or(x > limit, x < -limit), x, 0),
    derivative=lambda x, limit: where(sympy.Or(x > limit, x < -limit), 1, 0),
    finite=True,
    kind="same",
    cost=3,
    conventions=(
        Convention("hard_shrink'(limit) = hard_shrink'(-limit) = 0", at=("limit",), slopes=(0,)),
    ),
    doc="x where |x| > limit, else 0; its derivative at the limit is 0.",
    source="Donoho, Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994",
)

soft_shrink: ElementwiseOp = elementwise(
    "soft_shrink",
    lambda x, limit=Fraction(1, 2): where(x > limit, x - limit, where(x < -limit, x + limit, 0)),
    derivative=lambda x, limit: where(sympy.Or(x > limit, x < -limit), 1, 0),
    evaluate_as=lambda x, limit: x - clip(x, -limit, limit),
    finite=True,
    cost=3,
    conventions=(
        Convention("soft_shrink'(limit) = soft_shrink'(-limit) = 0", at=("limit",), slopes=(0,)),
    ),
    doc="x moved to 0 by limit, 0 where |x| <= limit; its derivative at the limit is 0.",
    source="Donoho, Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994",
)

threshold: ElementwiseOp = elementwise(
    "threshold",
    lambda x, limit=0, value=0: where(x > limit, x, value),
    derivative=lambda x, limit, value: where(x > limit, 1, 0),
    finite=True,
    cost=2,
    conventions=(Convention("threshold'(limit) = 0", at=("limit",), slopes=(0,)),),
    doc="x where x > limit, else value; its derivative at the limit is 0.",
    source="definition",
)

# --- exponentials below 0 -------------------------------------------------------------------------

celu: ElementwiseOp = elementwise(
    "celu",
    lambda x, alpha=1: where(x > 0, x, alpha * expm1(x / alpha)),
    derivative=lambda x, alpha: where(x > 0, 1, exp(x / alpha)),
    evaluate_as=lambda x, alpha: maximum(x, 0) + alpha * expm1(minimum(x, 0) / alpha),
    range=lambda alpha: (-alpha, None),
    finite=lambda alpha: alpha > 0,
    cost=6,
    doc="x for x > 0, else alpha*(exp(x/alpha) - 1), alpha > 0: its derivative has no jump.",
    source="Barron, Continuously differentiable exponential linear units, 2017",
)

SELU_ALPHA = Fraction(16732632423543772848170429916717, 10**31)
SELU_SCALE = Fraction(10507009873554804934193349852946, 10**31)


def _selu(below: Any) -> Any:
    """A form for x <= 0, from the two constants."""
    a, s = (sympy.Rational(q.numerator, q.denominator) for q in (SELU_ALPHA, SELU_SCALE))
    return below(a, s)


selu: ElementwiseOp = elementwise(
    "selu",
    lambda x: _selu(lambda a, s: where(x > 0, s * x, s * a * expm1(x))),
    derivative=lambda x: _selu(lambda a, s: where(x > 0, s, s * a * exp(x))),
    in_double=True,
    range=(-SELU_ALPHA * SELU_SCALE, None),
    finite=True,
    cost=5,
    conventions=(
        Convention(
            "selu'(0) is the one from below", at=(0,), slopes=(float(SELU_ALPHA * SELU_SCALE),)
        ),
    ),
    doc="1.0507*x for x > 0, else 1.7581*(exp(x) - 1): keeps mean 0 and variance 1.",
    source="Klambauer et al., Self-normalizing neural networks, 2017",
)

# --- smooth ---------------------------------------------------------------------------------------

LARGE = 2**60  # from here on 1 + x is x in floats of every width

softsign: ElementwiseOp = elementwise(
    "softsign",
    lambda x: x / (1 + abs(x)),
    derivative=lambda x: softsign_slope(x),
    in_double=True,
    range=(-1, 1),
    finite=True,
    cost=3,
    doc="x/(1 + |x|); its second derivative at 0, where it jumps, is 0.",
    source="Bergstra et al., Quadratic polynomials learn better image features, 2009",
)

softsign_slope: ElementwiseOp = elementwise(
    "softsign_slope",
    lambda x: 1 / (1 + abs(x)) ** 2,
    derivative=lambda x: -2 * sign(x) * softsign_slope(x) / (1 + abs(x)),
    evaluate_as=lambda x: where(abs(x) > LARGE, 1 / x**2, 1 / (1 + abs(x)) ** 2),
    in_double=True,
    digits=18,
    range=(0, 1),
    range_open=(True, False),
    finite=True,
    derivative_of="softsign",
    cost=6,
    doc="1/(1 + |x|)**2, the derivative of softsign; its own at 0, where it jumps, is 0.",
    source="Bergstra et al., Quadratic polynomials learn better image features, 2009",
)


# With e = exp(-x), x/mish(x) = e + (1 + e)/(1 + 2*e) = 1 + 2*e**2/(1 + 2*e); with f = exp(x) the
# last one is 1/f + (1 + f)/(2 + f). Below -40 f*exp(SHIFT) stands for f, which may be below the
# normal floats where the result is not; the sum in its exponent is exact there.


def _times_exp(x: Any, y: Any) -> Any:
    """y*exp(x), which is 0 for x below -800."""
    near = maximum(x, -800)
    return where(x < -40, exp(-SHIFT) * strong_mul(exp(near + SHIFT), y), y * exp(x))


def _mish(x: Any) -> Any:
    e, f = exp(-x), exp(x)
    tail = _times_exp(x, maximum(x, -800) / (1 + f * (1 + f) / (2 + f)))
    over = where(x < 0, e + (1 + e) / (1 + 2 * e), 1 + 2 * e**2 / (1 + 2 * e))
    return where(x < -40, tail, x / over)


def _mish_slope(x: Any) -> Any:
    e, f, near = exp(-x), exp(x), clip(x, -800, 800)
    over = f * (1 + f) / (2 + f)
    first = clip(1 + x, -800, 800)  # of the sum: it is exact where the others cancel it
    rise = first + f * (((1 + f) * (2 + f) - near * f) / (2 + f) ** 2)
    below = _times_exp(x, rise / (1 + over * (2 + over)))
    over = 2 * e**2 / (1 + 2 * e)
    rise = 1 + (over + near * (4 * e**2 * (1 + e) / (1 + 2 * e) ** 2))
    return where(x < sympy.Rational(-1, 2), below, rise / (1 + over * (2 + over)))


mish: ElementwiseOp = elementwise(
    "mish",
    lambda x: x * tanh(softplus(x)),
    derivative=lambda x: mish_slope(x),
    evaluate_as=_mish,
    in_double=True,
    range=(Fraction(-309, 1000), None),
    finite=True,
    cost=10,
    doc="x*tanh(softplus(x)).",
    source="Misra, Mish, 2020",
)


def _mish_bend(x: Any) -> Any:
    """The derivative of mish_slope."""
    share, rate = tanh(softplus(x)), sigmoid(x)
    more = 2 + x * (sigmoid(-x) - 2 * share * rate)
    return strong_mul(sech2(softplus(x)) * rate, more)


mish_slope: ElementwiseOp = elementwise(
    "mish_slope",
    lambda x: tanh(softplus(x)) + x * sech2(softplus(x)) * sigmoid(x),
    derivative=_mish_bend,
    evaluate_as=_mish_slope,
    in_double=True,
    range=(Fraction(-113, 1000), Fraction(11, 10)),
    finite=True,
    cost=16,
    part=True,
    doc="The derivative of mish.",
    source="Misra, Mish, 2020",
)
