"""Whole numbers near a number: ceil, round and the remainder, one declaration each.

In: nothing. Out: the ops, in `REGISTRY` after those of ``symprop.ops.elementwise``.

Guarantees: their derivatives are 0 everywhere, at the jumps too: a declared convention, as that of
``sign``. What is whole is exact in every float; the remainder has the sign of its divisor, as in
Python and NumPy.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sympy

from symprop.ops.declare import Convention, ElementwiseOp, elementwise
from symprop.ops.declare import where_symbolic as where
from symprop.ops.domain import Positive, Reals
from symprop.ops.elementwise import abs, floor

ceil: ElementwiseOp = elementwise(
    "ceil",
    lambda x: -floor(-x),
    derivative=lambda x: 0,
    finite=True,
    cost=3,
    native=(sympy.ceiling,),
    conventions=(Convention("ceil' = 0 at its jumps", at=(1,), slopes=(0,)),),
    doc="The least whole number not below x; its derivative is 0 everywhere.",
    source="DLMF, front matter, common notations",
)


def _nearest_even(x: Any) -> Any:
    below = floor(x)
    part = x - below  # exact in floats
    half = sympy.Rational(1, 2)
    return where(part < half, below, where(part > half, below + 1, 2 * floor(below / 2 + half)))


round: ElementwiseOp = elementwise(
    "round",
    _nearest_even,
    derivative=lambda x: 0,
    finite=True,
    cost=9,
    conventions=(
        Convention("round' = 0 at its jumps", at=(Fraction(1, 2),), slopes=(0,), value=0),
    ),
    doc="The nearest whole number, the even one of two as near; its derivative is 0 everywhere.",
    source="IEEE 754-2019, 4.3.1, roundTiesToEven",
)


def _remainder(x: Any, y: Any) -> Any:
    """x - y*floor(x/y), where the quotient was rounded to the wrong side too."""
    rest = x - y * floor(x / y)
    apart = sympy.Or(sympy.And(rest < 0, y > 0), sympy.And(rest > 0, y < 0))
    return where(apart, rest + y, where(abs(rest) > abs(y), rest - y, rest))


mod: ElementwiseOp = elementwise(
    "mod",
    lambda x, y: x - y * floor(x / y),
    derivative=lambda x, y: (1, -floor(x / y)),
    evaluate_as=_remainder,
    domain=(Reals, Positive),
    cost=8,
    conventions=(Convention("mod' = 1 at its jumps", at=(2, 1), slopes=(1, -2), value=0),),
    doc="The remainder x - y*floor(x/y), of the sign of y; the derivative of its floor is 0.",
    source="Knuth, The Art of Computer Programming 1, 1.2.4",
)
