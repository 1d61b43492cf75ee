"""Dtypes of scalars: what a formula of a Program computes in.

In: a ``Scalar`` and the buffers it reads. Out: a ``Dtype``.

    comparison, not, isnan        bool
    and, or, xor                  bool of bools, else the integers' dtype
    IndexValue                    int64
    Number                        what stands beside it; alone, what the context asks for
    float with anything           the (wider) float
    int with int                  the wider; signed with unsigned of its width: int64
    /, and functions of integers  the program's float
    Cast, Bitcast                 what they say

Guarantees: pure; a Program that verifies has a dtype for every scalar in it.

It does not check anything: ``verify`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from codegen.functions import function
from codegen.program import (
    And,
    Binary,
    Bitcast,
    Buffer,
    Call,
    Cast,
    Compare,
    Dtype,
    Fma,
    IndexValue,
    Load,
    MulHigh,
    Number,
    Or,
    Program,
    Round,
    Scalar,
    Select,
    Shift,
    Unary,
    Xor,
)

__all__ = ["FLOATS", "WIDTH", "float_of", "infer_dtype", "is_float", "is_unsigned", "promote"]

_ORDER: tuple[Dtype, ...] = (
    "bool",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
)
FLOATS: tuple[Dtype, ...] = ("float32", "float64")
WIDTH: dict[Dtype, int] = {
    "bool": 8,
    "int32": 32,
    "uint32": 32,
    "float32": 32,
    "int64": 64,
    "uint64": 64,
    "float64": 64,
}


def is_float(dtype: Dtype) -> bool:
    """Whether a dtype holds fractions."""
    return dtype in FLOATS


def is_unsigned(dtype: Dtype) -> bool:
    """Whether a dtype is an integer that wraps at 2**width and is never negative."""
    return dtype in ("uint32", "uint64")


def promote(a: Dtype, b: Dtype) -> Dtype:
    """The dtype in which two meet."""
    if {a, b} == {"int32", "uint32"}:
        return "int64"
    return _ORDER[max(_ORDER.index(a), _ORDER.index(b))]


def _table(buffers: Program | Mapping[str, Buffer]) -> Mapping[str, Buffer]:
    return {b.name: b for b in buffers.buffers} if isinstance(buffers, Program) else buffers


def float_of(buffers: Iterable[Buffer]) -> Dtype:
    """The float that a program computes in where nothing else says: that of its first float
    buffer; float64 when it has none."""
    return next((b.dtype for b in buffers if is_float(b.dtype)), "float64")


def infer_dtype(
    scalar: Scalar,
    program: Program | Mapping[str, Buffer],
    context: Dtype | None = None,
) -> Dtype:
    """The dtype of ``scalar``.

    In: the program, or (cheaper, for many questions) its buffers by name; the dtype that the
    place of the scalar asks for, which only a bare number follows. Out: the dtype. A fraction
    stays a float though its context is an integer.
    """
    table = _table(program)
    known = _infer(scalar, table)
    if known is not None:
        return known
    if any(_fractional(n) for n in _numbers(scalar)):
        return context if context is not None and is_float(context) else float_of(table.values())
    return "int64" if context is None else context


def _numbers(scalar: Scalar) -> Iterable[Number]:
    """The numbers that decide the dtype of a scalar made of nothing else."""
    match scalar:
        case Number():
            yield scalar
        case Unary(_, x) | Shift(x, _) | Round(x):
            yield from _numbers(x)
        case Binary("**", x, _):
            yield from _numbers(x)
        case Binary(_, a, b) | Select(_, a, b) | And(a, b) | Or(a, b) | Xor(a, b) | MulHigh(a, b):
            yield from _numbers(a)
            yield from _numbers(b)
        case Fma(a, b, c):
            for x in (a, b, c):
                yield from _numbers(x)
        case Call(_, args):
            for x in args:
                yield from _numbers(x)
        case _:
            pass


def _fractional(number: Number) -> bool:
    return not (isinstance(number.value, Fraction) and number.value.denominator == 1)


def _meet(scalars: Iterable[Scalar], table: Mapping[str, Buffer]) -> Dtype | None:
    """The dtype in which scalars meet; None when all are bare numbers."""
    total: Dtype | None = None
    bare: list[Scalar] = []
    for scalar in scalars:
        one = _infer(scalar, table)
        if one is None:
            bare.append(scalar)
        else:
            total = one if total is None else promote(total, one)
    if total is None or is_float(total) or not bare:
        return total
    if any(_fractional(n) for scalar in bare for n in _numbers(scalar)):
        return float_of(table.values())
    return "int64" if total == "bool" else total


def _infer(scalar: Scalar, table: Mapping[str, Buffer]) -> Dtype | None:
    match scalar:
        case Number():
            return None
        case Load(buffer):
            return table[buffer].dtype
        case IndexValue():
            return "int64"
        case Compare() | Unary("not", _):
            return "bool"
        case Unary(_, x):
            inner = _infer(x, table)
            return "int64" if inner == "bool" else inner
        case Shift(x, _) | Round(x):
            return _infer(x, table)
        case Cast(dtype, _) | Bitcast(dtype, _):
            return dtype
        case Binary("/", a, b):
            both = _meet((a, b), table)
            return both if both is None or is_float(both) else float_of(table.values())
        case Binary("**", x, _):
            base = _infer(x, table)
            return "int64" if base == "bool" else base
        case Binary(_, a, b):
            both = _meet((a, b), table)
            return "int64" if both == "bool" else both
        case Select(_, a, b) | And(a, b) | Or(a, b) | Xor(a, b) | MulHigh(a, b):
            return _meet((a, b), table)
        case Fma(a, b, c):
            return _meet((a, b, c), table)
        case Call(name, args):
            row = function(name)
            if row.result == "bool":
                return "bool"
            if row.result == "integer":
                return "int64"
            both = _meet(args, table)
            if row.result == "argument" or both is None or is_float(both):
                return both
            return float_of(table.values())
