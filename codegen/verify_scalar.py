"""What makes the formula of a step valid: functions, arities and dtypes.

In: a Scalar, the buffers, the target. Out: nothing, or ``InvalidProgram``.

Guarantees: every function is in the table and has its number of arguments; operations of bits get
integers, choices get bool, an exponent is an integer number; nothing is rounded to an integer or a
truth value without a Cast.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import get_args

from codegen.dtypes import WIDTH, infer_dtype, is_float, is_unsigned
from codegen.functions import UnsupportedFunction, function
from codegen.program import (
    And,
    Binary,
    Bitcast,
    Buffer,
    Call,
    Cast,
    Dtype,
    Fma,
    Load,
    MulHigh,
    Number,
    Or,
    Round,
    Scalar,
    Select,
    Shift,
    Unary,
    Xor,
    children,
)

__all__ = ["InvalidProgram", "check_scalar"]

_KIND = {"bool": 0, "int32": 1, "uint32": 1, "int64": 1, "uint64": 1, "float32": 2, "float64": 2}


class InvalidProgram(ValueError):  # noqa: N818 - says what is the matter
    """A Program that breaks a rule of ``codegen.program``: a fault of what built it."""


def check_scalar(
    body: Scalar,
    buffers: Mapping[str, Buffer],
    target: Buffer,
    accumulator: Dtype,
    where: str,
) -> None:
    """Check the body of a step that writes ``target``; the buffers it reads are known."""
    checker = _Checker(buffers, where)
    checker.check(body)
    own = infer_dtype(body, buffers, target.dtype)
    fits = _KIND[own] <= _KIND[target.dtype]
    checker.need(fits, f"{target.name} is {target.dtype}, its formula {own}: cast it")
    known = accumulator in get_args(Dtype)
    checker.need(known, f"the accumulator's dtype is {accumulator!r:.60}")


class _Checker:
    def __init__(self, buffers: Mapping[str, Buffer], where: str) -> None:
        self.buffers = buffers
        self.where = where

    def need(self, holds: bool, text: str) -> None:
        if not holds:
            raise InvalidProgram(f"{self.where}{text}")

    def dtype(self, x: Scalar, context: Dtype | None = None) -> Dtype:
        return infer_dtype(x, self.buffers, context)

    def check(self, x: Scalar) -> None:
        match x:
            case Number(value):
                named = value in ("inf", "-inf", "nan")
                exact = isinstance(value, Fraction)
                self.need(named or exact, f"the number {value!r:.60} is not exact")
            case Load(buffer):
                self.need(buffer in self.buffers, f"{buffer} is not a buffer")
            case Call(name, args):
                try:
                    row = function(name)
                except UnsupportedFunction as unknown:
                    raise InvalidProgram(f"{self.where}{unknown}") from None
                count = f"{name} takes {row.arity} arguments, not {len(args)}"
                self.need(len(args) == row.arity, count)
            case Binary("**", _, Number(value)):
                whole = isinstance(value, Fraction) and value.denominator == 1
                self.need(whole, "** takes an integer number; use the function power")
            case Binary("**", _, _):
                self.need(False, "** takes an integer number; use the function power")
            case _:
                pass
        for child in children(x):
            self.check(child)
        self.kinds(x)

    def kinds(self, x: Scalar) -> None:
        match x:
            case Select(condition, _, _) | Unary("not", condition):
                own = self.dtype(condition, "bool")
                self.need(own == "bool", f"a condition is {own}, not bool: compare it")
            case And(a, b) | Or(a, b) | Xor(a, b):
                both = _KIND[self.dtype(a, "bool")], _KIND[self.dtype(b, "bool")]
                bare = isinstance(a, Number) or isinstance(b, Number)
                same = both[0] == both[1] < 2 or (bare and max(both) < 2)
                self.need(same, "and, or and xor take two of bool or two integers")
            case Shift(a, _):
                own = self.dtype(a)
                self.need(_KIND[own] == 1, f"a shift takes an integer, not {own}")
            case MulHigh(a, b):
                both_ = self.dtype(Binary("+", a, b))
                self.need(is_unsigned(both_), f"mul_high takes unsigned integers, not {both_}")
            case Bitcast(dtype, a):
                own = self.dtype(a)
                self.need(WIDTH[own] == WIDTH[dtype], f"the bits of {own} do not fit a {dtype}")
            case Round(a):
                own = self.dtype(a, "float64")
                self.need(is_float(own), f"round takes a float, not {own}: it is an integer")
            case Fma(_, _, _):
                own = self.dtype(x, "float64")
                self.need(is_float(own), f"fma takes floats, not {own}")
            case Cast(dtype, _):
                self.need(dtype in WIDTH, f"there is no dtype {dtype!r:.60}")
            case _:
                pass
