"""How LLVM spells types and numbers.

In: dtypes, lanes, exact numbers. Out: text. A bool is ``i1`` as a value and ``i8`` in memory.
Guarantees: floats are written as the bits of the nearest one, rounded once.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from codegen.dtypes import WIDTH, is_float
from codegen.printer import nearest32
from codegen.program import Dtype

__all__ = ["first", "iota", "number", "of", "splat", "stored", "suffix", "truths"]

_FLOAT = {"float32": "float", "float64": "double"}


def _scalar(dtype: Dtype) -> str:
    return "i1" if dtype == "bool" else _FLOAT.get(dtype) or f"i{WIDTH[dtype]}"


def of(dtype: Dtype, lanes: int = 0) -> str:
    """The type of a value; of a vector where it has lanes."""
    return f"<{lanes} x {_scalar(dtype)}>" if lanes else _scalar(dtype)


def stored(dtype: Dtype, lanes: int = 0) -> str:
    """The type of an element in memory."""
    one = "i8" if dtype == "bool" else _scalar(dtype)
    return f"<{lanes} x {one}>" if lanes else one


def suffix(dtype: Dtype, lanes: int = 0) -> str:
    """What follows the name of an intrinsic: ``.v16f32``."""
    one = {"float32": "f32", "float64": "f64", "bool": "i1"}.get(dtype) or f"i{WIDTH[dtype]}"
    return f".v{lanes}{one}" if lanes else f".{one}"


@lru_cache(maxsize=4096)
def number(value: Fraction | Literal["inf", "-inf", "nan"], dtype: Dtype) -> str:
    """A constant of a dtype."""
    if not is_float(dtype):
        whole = int(Fraction(value))
        if dtype == "bool":
            return "true" if whole else "false"
        half = 1 << (WIDTH[dtype] - 1)
        return str((whole + half) % (2 * half) - half)  # LLVM's integers have no sign
    if isinstance(value, str):
        rounded = float(value)
    elif dtype == "float32":
        rounded = float(nearest32(value))
    else:
        try:
            rounded = float(value)
        except OverflowError:
            rounded = float("inf") if value > 0 else float("-inf")
    return f"0x{struct.unpack('>Q', struct.pack('>d', rounded))[0]:016X}"


def splat(text: str, dtype: Dtype) -> str:
    """A constant in every lane."""
    return f"splat ({_scalar(dtype)} {text})"


def first(count: int, lanes: int) -> str:
    """``<i1 1, i1 1, ..., i1 0>``: the first lanes alone."""
    return truths([n < count for n in range(lanes)])


def truths(lanes: Sequence[bool]) -> str:
    """``<i1 1, i1 0, ...>``"""
    return f"<{', '.join('i1 1' if x else 'i1 0' for x in lanes)}>"


def iota(lanes: int, step: int = 1, dtype: Dtype = "int64") -> str:
    """``<i64 0, i64 step, ...>``."""
    one = _scalar(dtype)
    return f"<{', '.join(f'{one} {n * step}' for n in range(lanes))}>"
