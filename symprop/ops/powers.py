"""Powers, roots and logarithms beside those of ``symprop.ops.elementwise``, one declaration each.

In: nothing. Out: the ops, in `REGISTRY` after those of ``symprop.ops.elementwise``.

Guarantees: as there. Products with a logarithm (``xlogy``, ``xlog1py``) are 0 where the first
factor is, at every order; ``hypot`` neither overflows nor underflows on the way, and has the
derivative 0 at its tip.
"""

from __future__ import annotations

from typing import Any

import sympy

from symprop.ops.declare import Convention, ElementwiseOp, elementwise, infinity, strong_mul
from symprop.ops.declare import where_symbolic as where
from symprop.ops.domain import Interval, NonNegative, Positive, Reals
from symprop.ops.elementwise import (
    abs,
    exp,
    log,
    log1p,
    maximum,
    minimum,
    power,
    sigmoid,
    sign,
    sqrt,
)
from symprop.term import power as raised

# --- powers and roots -----------------------------------------------------------------------------

reciprocal: ElementwiseOp = elementwise(
    "reciprocal",
    lambda x: 1 / x,
    derivative=lambda x: -1 / x**2,
    fold=lambda x: raised(x, -1),
    conventions=(Convention("1/0 = inf", at=(0,), value="inf", slopes=("-inf",)),),
    doc="1/x; the same formula as the quotient.",
    source="definition",
)

rsqrt: ElementwiseOp = elementwise(
    "rsqrt",
    lambda x: 1 / sqrt(x),
    derivative=lambda x: -rsqrt(x) / (2 * x),
    domain=Positive,
    range=(0, None),
    range_open=(True, False),
    cost=2,
    doc="1/sqrt(x).",
    source="DLMF 4.2.26",
)


def _cube_root(x: Any) -> Any:
    """One step of Newton from the power, whose exponent 1/3 was rounded."""
    near = power(abs(x), sympy.Rational(1, 3))
    return where(sympy.Eq(x, 0), x, sign(x) * (near - (near - abs(x) / near**2) / 3))


cbrt: ElementwiseOp = elementwise(
    "cbrt",
    lambda x: sign(x) * power(abs(x), sympy.Rational(1, 3)),
    derivative=lambda x: cbrt_slope(x),
    evaluate_as=_cube_root,
    cost=8,
    doc="Cube root, of negative numbers too; its derivative at 0 is +inf.",
    source="DLMF 4.2.26",
)

cbrt_slope: ElementwiseOp = elementwise(
    "cbrt_slope",
    lambda x: power(abs(x), -sympy.Rational(2, 3)) / 3,
    derivative=lambda x: -2 * cbrt_slope(x) / (3 * x),
    evaluate_as=lambda x: 1 / (3 * cbrt(x) ** 2),
    in_double=True,
    range=(0, None),
    range_open=(True, False),
    derivative_of="cbrt",
    cost=11,
    conventions=(Convention("cbrt'(0) = inf", at=(0,), value="inf", slopes=("-inf",)),),
    doc="1/(3*cbrt(x)**2), the derivative of cbrt; +inf at 0.",
    source="DLMF 4.2.26",
)

exp2: ElementwiseOp = elementwise(
    "exp2",
    lambda x: sympy.Integer(2) ** x,
    derivative=lambda x: exp2_slope(x),
    range=(0, None),
    range_open=(True, False),
    doc="2 to the power x.",
    source="DLMF 4.2.26",
)

exp2_slope: ElementwiseOp = elementwise(
    "exp2_slope",
    lambda x: sympy.log(2) * exp2(x),
    derivative=lambda x: sympy.log(2) * exp2_slope(x),
    # where 2**x is infinite already, half of it is not
    evaluate_as=lambda x: where(x > 1, sympy.log(4), sympy.log(2)) * exp2(where(x > 1, x - 1, x)),
    in_double=True,
    range=(0, None),
    range_open=(True, False),
    derivative_of="exp2",
    cost=4,
    doc="log(2)*2**x, the derivative of exp2.",
    source="DLMF 4.2.26",
)

# --- logarithms -----------------------------------------------------------------------------------

log2: ElementwiseOp = elementwise(
    "log2",
    lambda x: log(x) / sympy.log(2),
    derivative=lambda x: 1 / (sympy.log(2) * x),
    domain=Positive,
    cost=2,
    doc="Logarithm to base 2.",
    source="DLMF 4.2.10",
)

logit: ElementwiseOp = elementwise(
    "logit",
    lambda x: log(x) - log1p(-x),
    derivative=lambda x: 1 / x + 1 / (1 - x),
    evaluate_as=lambda x: where(
        4 * x < 1,
        log(x / (1 - x)),
        # 2*x - 1 is exact, and so is 1 - x from 1/2 on
        where(2 * x < 1, -log1p((1 - 2 * x) / x), log1p((2 * x - 1) / (1 - x))),
    ),
    in_double=True,
    domain=Interval(0, 1, open_low=True, open_high=True),
    cost=6,
    doc="log(x/(1 - x)), the inverse of sigmoid.",
    source="Bishop, Pattern Recognition and Machine Learning, (4.60)",
)


def _log_times(name: str, logarithm: Any, inverse: Any, word: str, domain: Any, low: int) -> Any:
    """x times a logarithm of y, 0 where x is."""

    def slopes(x: Any, y: Any) -> tuple[Any, Any]:
        pole = sympy.And(sympy.Eq(x, 0), sympy.Eq(y, low))
        return where(pole, 0, logarithm(y)), strong_mul(x, inverse(y))

    return elementwise(
        name,
        lambda x, y: strong_mul(x, logarithm(y)),
        derivative=slopes,
        domain=(Reals, domain),
        cost=3,
        conventions=(
            Convention(f"{name}(0, {low}) = 0, and its derivatives there are 0",
                       at=(0, low), value=0, slopes=(0, 0)),
        ),
        doc=f"x*{word}, exactly 0 where x is 0; at ({0}, {low}) its derivatives are 0, too.",
        source="definition",
    )  # fmt: skip


xlogy: ElementwiseOp = _log_times(
    "xlogy", lambda y: log(y), lambda y: 1 / y, "log(y)", NonNegative, 0
)
xlog1py: ElementwiseOp = _log_times(
    "xlog1py", lambda y: log1p(y), lambda y: 1 / (1 + y), "log(1 + y)",
    Interval(low=-1), -1,
)  # fmt: skip

logaddexp_share: ElementwiseOp = elementwise(
    "logaddexp_share",
    lambda x, y: sigmoid(x - y),
    derivative=lambda x, y: (
        logaddexp_share(x, y) * logaddexp_share(y, x),
        -logaddexp_share(x, y) * logaddexp_share(y, x),
    ),
    evaluate_as=lambda x, y: where(
        sympy.Eq(x, -infinity()), 0, sigmoid(where(sympy.Eq(x, y), 0, x - y))
    ),
    range=(0, 1),
    finite=True,
    cost=6,
    conventions=(
        Convention("logaddexp'(-inf, -inf) = 0", at=("-inf", "-inf"), value=0, slopes=(0, 0)),
    ),
    doc="exp(x)/(exp(x) + exp(y)), the derivative of logaddexp; 0 where x is -inf.",
    source="definition",
)

logaddexp: ElementwiseOp = elementwise(
    "logaddexp",
    lambda x, y: log(exp(x) + exp(y)),
    derivative=lambda x, y: (logaddexp_share(x, y), logaddexp_share(y, x)),
    evaluate_as=lambda x, y: maximum(x, y) + log1p(exp(-abs(where(sympy.Eq(x, y), 0, x - y)))),
    finite=True,
    cost=7,
    conventions=(
        Convention("logaddexp'(-inf, -inf) = 0", at=("-inf", "-inf"), value="-inf", slopes=(0, 0)),
    ),
    doc="log(exp(x) + exp(y)) without overflow; of two -inf it is -inf, with the derivatives 0.",
    source="definition",
)

# --- lengths --------------------------------------------------------------------------------------


def _scaled_length(x: Any, y: Any) -> Any:
    large, small = maximum(abs(x), abs(y)), minimum(abs(x), abs(y))
    share = where(sympy.Eq(large, 0), 0, small / large)
    return large * sqrt(1 + share**2)


def _share_slopes(x: Any, y: Any) -> tuple[Any, Any]:
    h, c, s = hypot(x, y), hypot_share(x, y), hypot_share(y, x)
    return where(sympy.Eq(h, 0), 0, s**2 / h), where(sympy.Eq(h, 0), 0, -c * s / h)


hypot: ElementwiseOp = elementwise(
    "hypot",
    lambda x, y: sqrt(x**2 + y**2),
    derivative=lambda x, y: (hypot_share(x, y), hypot_share(y, x)),
    evaluate_as=_scaled_length,
    range=(0, None),
    cost=7,
    conventions=(Convention("hypot'(0, 0) = 0", at=(0, 0), value=0, slopes=(0, 0)),),
    doc="sqrt(x**2 + y**2) without overflow or underflow; its derivatives at the origin are 0.",
    source="Borges, An improved algorithm for hypot(a, b), 2019",
)

hypot_share: ElementwiseOp = elementwise(
    "hypot_share",
    lambda x, y: where(sympy.And(sympy.Eq(x, 0), sympy.Eq(y, 0)), 0, x / sqrt(x**2 + y**2)),
    derivative=_share_slopes,
    evaluate_as=lambda x, y: where(sympy.And(sympy.Eq(x, 0), sympy.Eq(y, 0)), 0, x / hypot(x, y)),
    range=(-1, 1),
    finite=True,
    cost=9,
    conventions=(Convention("hypot'(0, 0) = 0", at=(0, 0), value=0, slopes=(0, 0)),),
    doc="x/sqrt(x**2 + y**2), the cosine of an angle, the derivative of hypot; 0 at the origin.",
    source="definition",
)

norm_root: ElementwiseOp = elementwise(
    "norm_root",
    lambda x: sqrt(x),
    derivative=lambda x: where(sympy.Eq(x, 0), 0, 1 / (2 * norm_root(x))),
    domain=NonNegative,
    range=(0, None),
    conventions=(Convention("the gradient of a length or spread at 0 is 0", at=(0,), slopes=(0,)),),
    doc="sqrt(x) of a sum of squares, with the derivative 0 at 0: what norm and std are made of.",
    source="DLMF 4.2.26",
)
