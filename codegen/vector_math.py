"""Scalar functions as formulas: what a backend inlines, for numbers and for vectors alike.

In: the name of a function of ``codegen.functions``, its arguments as Scalars, the float dtype to
compute in, and whether Fma may be used. Out: one Scalar of + - * /, comparisons, choices and
operations of bits (``codegen.vector_math_values`` lists them): no loop, branch or table, and no
call but of ``sqrt``, an instruction.

    vector_math_values          Scalars under Python's operators
    vector_math_exponential     exp, log and what is made of them
    vector_math_logistic        tanh, the sigmoid, softplus and their derivatives
    vector_math_normal          the error function and the normal distribution
    vector_math_trigonometric   sine, cosine and tangent
    vector_math_inverse         their inverses
    vector_math_hyperbolic      hyperbolic functions and their inverses
    vector_math_roots           other roots than the square root
    vector_math_power           x**y
    vector_math_fits            the polynomials, written by tests/fit_vector_math.py

Guarantees: the errors in the table below, on the whole range of the dtype. Exact at 0, -0 and the
infinities; NaN for NaN (but for x**0 and 1**y, as in C) and outside of the domain. Overflow is
infinite where it should be and not before. Nothing is flushed: results and arguments below the
normal numbers keep the places they have there, if the machine keeps them. What is bounded stays
in its bounds (tanh and erf in [-1, 1], ...). Each operation must be rounded to nearest, and none
reassociated or fused beyond what is written.

A value used twice is one object in the tree: remember objects by identity, or a tree of hundreds of
operations becomes one of millions. Nodes must not be compared or hashed by content, for the same
reason.

It does not simplify, choose or measure: ``tests/codegen/test_vector_math.py`` measures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codegen import vector_math_exponential as exponential
from codegen import vector_math_hyperbolic as hyperbolic
from codegen import vector_math_inverse as inverse
from codegen import vector_math_logistic as logistic
from codegen import vector_math_normal as normal
from codegen import vector_math_power as powers
from codegen import vector_math_roots as roots
from codegen import vector_math_trigonometric as trigonometric
from codegen.dtypes import FLOATS
from codegen.functions import UnsupportedFunction, function
from codegen.program import Cast, Dtype, Scalar
from codegen.vector_math_values import Formula, Value

__all__ = ["ALIKE", "FORMULAS", "Row", "expand"]


@dataclass(frozen=True, slots=True)
class Row:
    """A formula, and its largest error in units in the last place of the exact value.

    ``float32`` and ``float64`` hold the error with Fma and the error without. Those of float32 are
    measured at every number from 2**-10 to 2**8 in size and at every 512th of the others, and
    rounded up to a tenth. Those of float64 are no less than the largest of some ten thousand, and
    no less than those of float32 where the formula is the same one.
    """

    write: Callable[..., Value]
    float32: tuple[float, float]
    float64: tuple[float, float]


FORMULAS: dict[str, Row] = {
    "exp": Row(exponential.exp, (0.8, 0.8), (0.8, 0.8)),
    "expm1": Row(exponential.expm1, (0.8, 0.8), (1.5, 1.5)),
    "log": Row(exponential.log, (0.9, 0.9), (0.9, 0.9)),
    "log1p": Row(exponential.log1p, (0.9, 0.9), (0.9, 0.9)),
    "sin": Row(trigonometric.sin, (0.6, 0.6), (0.8, 0.8)),
    "cos": Row(trigonometric.cos, (0.6, 0.6), (0.8, 0.8)),
    "tanh": Row(logistic.tanh, (0.9, 1.1), (1.1, 1.1)),
    "sech2": Row(logistic.sech2, (1.8, 2.0), (1.9, 2.0)),
    "sigmoid": Row(logistic.sigmoid, (0.8, 0.8), (0.8, 0.8)),
    "log_sigmoid": Row(logistic.log_sigmoid, (1.0, 1.0), (1.8, 1.8)),
    "softplus": Row(logistic.softplus, (1.0, 1.0), (1.8, 1.8)),
    "erf": Row(normal.erf, (1.0, 1.2), (1.2, 1.4)),
    "erfc": Row(normal.erfc, (0.7, 0.7), (4.4, 4.6)),
    "normal_cdf": Row(normal.normal_cdf, (0.7, 0.7), (4.6, 5.1)),
    "normal_pdf": Row(normal.normal_pdf, (0.6, 0.6), (2.0, 2.0)),
    "exp2": Row(exponential.exp2, (0.6, 0.6), (0.9, 0.9)),
    "log2": Row(exponential.log2, (0.6, 0.6), (1.6, 1.6)),
    "logaddexp": Row(exponential.logaddexp, (0.6, 0.6), (2.0, 2.0)),
    "tan": Row(trigonometric.tan, (0.7, 0.7), (0.9, 1.0)),
    "asin": Row(inverse.asin, (0.6, 0.6), (1.2, 1.2)),
    "acos": Row(inverse.acos, (0.6, 0.6), (0.9, 0.9)),
    "atan": Row(inverse.atan, (0.6, 0.6), (1.5, 1.5)),
    "atan2": Row(inverse.atan2, (0.6, 0.6), (2.0, 2.0)),
    "sinh": Row(hyperbolic.sinh, (0.6, 0.6), (1.5, 1.5)),
    "cosh": Row(hyperbolic.cosh, (0.6, 0.6), (1.6, 1.6)),
    "asinh": Row(hyperbolic.asinh, (0.6, 0.6), (1.3, 1.3)),
    "acosh": Row(hyperbolic.acosh, (0.6, 0.6), (1.0, 1.0)),
    "atanh": Row(hyperbolic.atanh, (0.6, 0.6), (1.0, 1.0)),
    "cbrt": Row(roots.cbrt, (0.6, 0.6), (0.6, 0.6)),
    "rsqrt": Row(roots.rsqrt, (0.6, 0.6), (1.5, 1.5)),
    "hypot": Row(roots.hypot, (0.6, 0.6), (0.6, 0.6)),
    "power": Row(powers.power, (0.6, 0.6), (0.9, 0.9)),
}

# Functions of one kind begin with the same operations: beside another of its kind, of the same
# argument, one costs a part of what it costs alone.
ALIKE: dict[str, str] = {
    "tanh": "tanh",
    "sech2": "tanh",
    "sigmoid": "falling",
    "log_sigmoid": "falling",
    "softplus": "falling",
    "erf": "erf",
    "erfc": "erf",
    "normal_cdf": "normal",
    "normal_pdf": "normal",
    "sin": "turn",
    "cos": "turn",
}


def expand(name: str, args: tuple[Scalar, ...], dtype: Dtype, fma: bool = True) -> Scalar:
    """The function of these arguments, which are cast to ``dtype``, written out.

    Raises UnsupportedFunction for a function without a formula here, ValueError for a wrong number
    of arguments or a dtype that is no float.
    """
    row = FORMULAS.get(name)
    if row is None:
        known = ", ".join(FORMULAS)
        raise UnsupportedFunction(f"there is no formula of the function {name!r:.60}; of: {known}")
    if len(args) != function(name).arity:
        raise ValueError(f"{name} takes {function(name).arity} arguments, not {len(args)}")
    if dtype not in FLOATS:
        raise ValueError(f"{name} is computed in float32 or float64, not in {dtype}")
    return row.write(Formula(dtype, fma), *(Value(Cast(dtype, a)) for a in args)).scalar
