"""Scalars over whole arrays, in the very arithmetic of their dtypes: what measures ``vector_math``.

In: a Scalar whose Loads are of rank 0, and an array for each. Out: an array. Every operation is
done in the dtype that ``infer_dtype`` gives it, rounded as IEEE 754 says, an Fma once. A node that
stands in several places is computed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from codegen.arithmetic import fma as fma_of_numbers
from codegen.dtypes import WIDTH, infer_dtype
from codegen.printer import nearest32
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
    Load,
    MulHigh,
    Number,
    Or,
    Scalar,
    Select,
    Shift,
    Unary,
    Xor,
)

Array = np.ndarray[Any, Any]
CHUNK = 1 << 14  # arrays of this size stay in the cache

BINARY = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}
COMPARE = {
    "<": np.less,
    "<=": np.less_equal,
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
BITS = {And: np.bitwise_and, Or: np.bitwise_or, Xor: np.bitwise_xor}


def evaluate(scalar: Scalar, arrays: Mapping[str, Array]) -> Array:
    """The scalar at every element."""
    size = len(next(iter(arrays.values())))
    parts = [{n: a[i : i + CHUNK] for n, a in arrays.items()} for i in range(0, size, CHUNK)]
    with np.errstate(all="ignore"):
        return np.concatenate([_Evaluator(part).value(scalar) for part in parts])


class _Evaluator:
    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self.arrays = arrays
        self.size = len(next(iter(arrays.values())))
        self.buffers = {
            name: Buffer(name, (), (), array.dtype.name, "input")  # type: ignore[arg-type]
            for name, array in arrays.items()
        }
        self.known: dict[tuple[int, str], Array] = {}

    def dtype(self, x: Scalar, context: Dtype | None = None) -> Dtype:
        return infer_dtype(x, self.buffers, context)

    def value(self, x: Scalar, context: Dtype | None = None) -> Array:
        """The value in its own dtype."""
        own = self.dtype(x, context)
        key = (id(x), own)
        if key not in self.known:
            self.known[key] = self.compute(x, own)
        assert self.known[key].dtype == own, (x, self.known[key].dtype, own)
        return self.known[key]

    def all_in(self, own: Dtype, *xs: Scalar) -> list[Array]:
        """Operands, which are of that dtype already or bare numbers."""
        values = [self.value(x, own) for x in xs]
        assert all(v.dtype == own for v in values), "an operand is of another dtype than its place"
        return values

    def compute(self, x: Scalar, own: Dtype) -> Array:
        match x:
            case Number(value):
                return np.full(self.size, constant(value, own))
            case Load(buffer):
                return self.arrays[buffer]
            case Binary(op, a, b):
                return BINARY[op](*self.all_in(own, a, b))
            case Unary("-", a):
                return -self.value(a, own)
            case Unary(_, a):
                return ~self.value(a, "bool")
            case Compare(op, a, b):
                both = self.dtype(Binary("+", a, b))
                return COMPARE[op](*self.all_in(both, a, b))
            case Select(c, a, b):
                return np.where(self.value(c, "bool"), *self.all_in(own, a, b))
            case Fma(a, b, c):
                return fma(*self.all_in(own, a, b, c))
            case Cast(dtype, a):
                return self.value(a, dtype).astype(dtype)
            case Call("sqrt", (a,)):
                return np.asarray(np.sqrt(self.value(a, own)))
            case _:
                return self.bits(x, own)

    def bits(self, x: Scalar, own: Dtype) -> Array:
        match x:
            case Bitcast(dtype, a):
                return self.value(a).view(dtype)
            case Shift(a, places):
                moved = np.left_shift if places >= 0 else np.right_shift
                assert own.startswith("u")
                return moved(self.value(a, own), np.dtype(own).type(abs(places)))
            case And(a, b) | Or(a, b) | Xor(a, b):
                return BITS[type(x)](*self.all_in(own, a, b))
            case MulHigh(a, b):
                return mul_high(*self.all_in(own, a, b), WIDTH[own])
            case _:
                raise TypeError(f"{type(x).__name__} is not evaluated here")


def constant(value: Fraction | str, dtype: Dtype) -> Any:
    """An exact constant, rounded once."""
    kind = np.dtype(dtype).type
    if isinstance(value, str):
        return kind(float(value))
    if dtype == "float32":
        return kind(nearest32(value))
    return kind(float(value)) if dtype == "float64" else kind(int(value))


def mul_high(a: Array, b: Array, width: int) -> Array:
    """The upper half of products, by halves."""
    half = a.dtype.type(width // 2)
    mask = a.dtype.type((1 << width // 2) - 1)
    a1, a0, b1, b0 = a >> half, a & mask, b >> half, b & mask
    middle = a1 * b0 + (a0 * b0 >> half)
    other = a0 * b1 + (middle & mask)
    return a1 * b1 + (middle >> half) + (other >> half)


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b and what its rounding lost."""
    total = a + b
    rest = total - a
    return total, (a - (total - rest)) + (b - rest)


def rounded_to_odd(a: Array, b: Array) -> Array:
    """a + b in float64, to the neighbour with an odd last place where it is not exact: a second
    rounding, to fewer places, is then as if it were the only one (Boldo and Melquiond)."""
    total, lost = two_sum(a, b)
    bits = total.view(np.int64)
    inexact = (lost != 0) & np.isfinite(total) & np.isfinite(lost) & (bits & 1 == 0)
    away = (lost > 0) == (total > 0)
    return np.where(inexact, bits + np.where(away, 1, -1), bits).view(np.float64)


def fma(a: Array, b: Array, c: Array) -> Array:
    """a*b + c, rounded once."""
    if a.dtype == np.float32:
        product = a.astype(np.float64) * b.astype(np.float64)  # exact
        return rounded_to_odd(product, c.astype(np.float64)).astype(np.float32)
    high, low = _two_product(a, b)
    inner, lost = two_sum(c, low)
    outer, rest = two_sum(high, inner)
    found = outer + rounded_to_odd(lost, rest)
    # Where a part could be out of range, one by one.
    product = np.abs(a * b)
    plain = (product > 1e-250) & (product < 1e250) & (np.abs(a) < 1e250) & (np.abs(b) < 1e250)
    plain |= (product == 0) & ((a == 0) | (b == 0))
    plain |= ~(np.isfinite(a) & np.isfinite(b) & np.isfinite(c))
    found = np.where(np.isfinite(found), found, a * b + c)
    for i in np.flatnonzero(~plain):
        found[i] = fma_of_numbers(float(a[i]), float(b[i]), float(c[i]))
    return np.where((a == 0) | (b == 0), a * b + c, found)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a*b and what its rounding lost (Dekker)."""
    product = a * b

    def halves(x: Array) -> tuple[Array, Array]:
        big = x * 134217729.0
        high = big - (big - x)
        return high, x - high

    (a1, a0), (b1, b0) = halves(a), halves(b)
    return product, ((a1 * b1 - product) + a1 * b0 + a0 * b1) + a0 * b0
