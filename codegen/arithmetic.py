"""What an operation does to Python numbers of a dtype: the arithmetic of both interpreters.

In: Python floats, ints and bools, and the dtype they stand for. Out: the same.

Guarantees: floats are of double precision whatever their dtype; integers are exact, and wrap where
they are stored or where an unsigned operation says so; division by zero and overflow give what
IEEE 754 gives. Nothing is shared with a backend but the table of functions.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

from codegen.dtypes import WIDTH, is_float, is_unsigned
from codegen.functions import python_callable
from codegen.program import And, Dtype, Or, ReduceOp, Xor

__all__ = [
    "BINARY",
    "BITS",
    "COMPARE",
    "FOLD",
    "Value",
    "bitcast",
    "boxed",
    "converter",
    "fma",
    "identity",
    "number",
    "rounded",
    "shift",
    "unboxed",
]

Value: TypeAlias = Any  # a Python float, int or bool


def boxed(array: np.ndarray, dtype: Dtype) -> np.ndarray:
    """An array of Python numbers (dtype object) from one of any dtype."""
    kind = float if is_float(dtype) else bool if dtype == "bool" else int
    box = np.empty(array.shape, object)
    for at in np.ndindex(array.shape):
        box[at] = kind(array[at])
    return box


def unboxed(array: np.ndarray, dtype: Dtype) -> np.ndarray:
    """Python numbers as an array: float64 for every float, the dtype itself for the others."""
    return array.astype(np.float64 if is_float(dtype) else dtype)


def number(value: Fraction | str, dtype: Dtype) -> Value:
    """An exact constant in a dtype."""
    if is_float(dtype):
        return float(value)
    return bool(value) if dtype == "bool" else int(Fraction(value))


def converter(dtype: Dtype) -> Callable[[Value], Value]:
    """The function that turns a number into one of ``dtype``; integers wrap."""
    if is_float(dtype):
        return float
    if dtype == "bool":
        return bool
    return lambda value: _from_bits(_bits(int(value), WIDTH[dtype]), dtype)


def _bits(value: int, width: int) -> int:
    return int(value) % (1 << width)


def _from_bits(bits: int, dtype: Dtype) -> Value:
    if dtype == "bool":
        return bool(bits)
    if is_unsigned(dtype) or bits < 1 << (WIDTH[dtype] - 1):
        return bits
    return bits - (1 << WIDTH[dtype])


def shift(value: Value, places: int, dtype: Dtype) -> Value:
    """The bits of ``value`` moved left, or right where ``places`` is negative; zeros follow."""
    width = WIDTH[dtype]
    bits = _bits(value, width)
    moved = (bits << places) % (1 << width) if places >= 0 else bits >> -places
    return _from_bits(moved, dtype)


def bitcast(value: Value, old: Dtype, new: Dtype) -> Value:
    """The bits of a number of one dtype, read as another of the same width."""
    code: dict[Dtype, str] = {
        "float32": "<f",
        "float64": "<d",
        "int32": "<i",
        "int64": "<q",
        "uint32": "<I",
        "uint64": "<Q",
        "bool": "<?",
    }
    return struct.unpack(code[new], struct.pack(code[old], value))[0]


def fma(a: float, b: float, c: float) -> float:
    """a*b + c rounded once."""
    if all(map(math.isfinite, (a, b, c))):
        try:
            return float(Fraction(a) * Fraction(b) + Fraction(c))
        except OverflowError:
            pass
    return a * b + c


def rounded(value: float) -> float:
    """To the nearest integer, ties to even, still a float."""
    return float(round(value)) if math.isfinite(value) else value


def _divide(a: float, b: float) -> float:
    if b != 0:
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def _raise_to(a: Value, b: Value) -> Value:
    return python_callable("power")(a, b) if isinstance(a, float) else a**b


def identity(op: ReduceOp, dtype: Dtype) -> Value:
    """What a reduction of nothing gives."""
    if op in ("=", "sum"):
        return number(Fraction(0), dtype)
    if is_float(dtype):
        return -math.inf if op == "max" else math.inf
    if dtype == "bool":
        return op == "min"
    limits = np.iinfo(dtype)
    return int(limits.min if op == "max" else limits.max)


FOLD: dict[ReduceOp, Callable[[Value, Value], Value]] = {
    "sum": operator.add,
    "max": python_callable("maximum"),
    "min": python_callable("minimum"),
}
BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "**": _raise_to,
}
COMPARE: dict[str, Callable[[Value, Value], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}
BITS: dict[type, Callable[[Value, Value], Value]] = {
    And: operator.and_,
    Or: operator.or_,
    Xor: operator.xor,
}
