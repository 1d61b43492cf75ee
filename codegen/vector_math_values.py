"""Scalars under Python's operators: what the formulas of ``codegen.vector_math`` are written with.

In: Scalars of one float dtype, numbers of Python. Out: Scalars of ``codegen.program``.

Guarantees: only ``+ - * /``, square roots, Fma, comparisons, Select, Cast, Bitcast, Shift, And, Or,
Xor and MulHigh are made. Floats are of the formula's dtype and bits are of the unsigned integer of
its width, so no operand is ever converted but by a Cast that is written down. A value that is used
twice is one object in the tree: whoever takes a tree apart must remember objects by identity, for
written out in full some trees have millions of nodes. ``Formula.once`` puts a Cast to its own
dtype over such a value; it computes nothing, and ``infer_dtype`` stops there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import wraps
from typing import Literal, TypeAlias

from codegen.dtypes import WIDTH
from codegen.program import (
    And,
    Binary,
    Bitcast,
    Call,
    Cast,
    Compare,
    Dtype,
    Fma,
    MulHigh,
    Number,
    Or,
    Scalar,
    Select,
    Shift,
    Unary,
    Xor,
)
from codegen.vector_math_fits import FITS

__all__ = ["Formula", "Operand", "Value", "in_double", "number"]

Named = Literal["inf", "-inf", "nan"]
Operand: TypeAlias = "Value | int | float | Named"


def number(value: float | Named) -> Number:
    """A constant, exactly."""
    return Number(value if isinstance(value, str) else Fraction(value))


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A Scalar; Python's operators on values make larger ones."""

    scalar: Scalar

    def __add__(self, other: Operand) -> Value:
        return Value(Binary("+", self.scalar, bare(other)))

    def __radd__(self, other: Operand) -> Value:
        return Value(Binary("+", bare(other), self.scalar))

    def __sub__(self, other: Operand) -> Value:
        return Value(Binary("-", self.scalar, bare(other)))

    def __rsub__(self, other: Operand) -> Value:
        return Value(Binary("-", bare(other), self.scalar))

    def __mul__(self, other: Operand) -> Value:
        return Value(Binary("*", self.scalar, bare(other)))

    def __rmul__(self, other: Operand) -> Value:
        return Value(Binary("*", bare(other), self.scalar))

    def __truediv__(self, other: Operand) -> Value:
        return Value(Binary("/", self.scalar, bare(other)))

    def __rtruediv__(self, other: Operand) -> Value:
        return Value(Binary("/", bare(other), self.scalar))

    def __neg__(self) -> Value:
        return Value(Unary("-", self.scalar))

    def __lt__(self, other: Operand) -> Value:
        return Value(Compare("<", self.scalar, bare(other)))

    def __le__(self, other: Operand) -> Value:
        return Value(Compare("<=", self.scalar, bare(other)))

    def __gt__(self, other: Operand) -> Value:
        return Value(Compare(">", self.scalar, bare(other)))

    def __ge__(self, other: Operand) -> Value:
        return Value(Compare(">=", self.scalar, bare(other)))

    def equals(self, other: Operand) -> Value:
        """Whether the two are equal; false where one is NaN."""
        return Value(Compare("==", self.scalar, bare(other)))

    def differs(self, other: Operand) -> Value:
        """Whether the two differ; true where one is NaN."""
        return Value(Compare("!=", self.scalar, bare(other)))

    def __and__(self, other: Operand) -> Value:
        return Value(And(self.scalar, bare(other)))

    def __or__(self, other: Operand) -> Value:
        return Value(Or(self.scalar, bare(other)))

    def __xor__(self, other: Operand) -> Value:
        return Value(Xor(self.scalar, bare(other)))

    def __lshift__(self, places: int) -> Value:
        return Value(Shift(self.scalar, places))

    def __rshift__(self, places: int) -> Value:
        return Value(Shift(self.scalar, -places))

    def cast(self, dtype: Dtype) -> Value:
        """The number in another dtype."""
        return Value(Cast(dtype, self.scalar))

    def bits(self, dtype: Dtype) -> Value:
        """The same bits, read as another dtype."""
        return Value(Bitcast(dtype, self.scalar))

    def mul_high(self, other: Operand) -> Value:
        """The upper half of the product of two unsigned integers."""
        return Value(MulHigh(self.scalar, bare(other)))


def bare(x: Operand) -> Scalar:
    """The Scalar of an operand."""
    return x.scalar if isinstance(x, Value) else number(x)


@dataclass(frozen=True, slots=True)
class Formula:
    """What a formula must know of its dtype, and the operations that depend on it.

    ``fused``: a*b + c may be rounded once (an Fma) where it is written ``f.fma(a, b, c)``.
    ``single``: computed in float64, but for a float32: polynomials of its fits are enough.
    """

    dtype: Dtype
    fused: bool
    single: bool = False

    @property
    def word(self) -> Dtype:
        """The unsigned integer of the float's width."""
        return "uint32" if self.dtype == "float32" else "uint64"

    @property
    def mantissa(self) -> int:
        """Places of the mantissa, without the leading 1 that is not stored."""
        return 23 if self.dtype == "float32" else 52

    @property
    def bias(self) -> int:
        """The stored exponent of 1."""
        return 127 if self.dtype == "float32" else 1023

    @property
    def sign(self) -> int:
        """The bit of the sign."""
        return 1 << (WIDTH[self.dtype] - 1)

    @property
    def least_normal(self) -> float:
        """The least number with all places of the mantissa."""
        return 2.0 ** (1 - self.bias)

    @property
    def rounder(self) -> float:
        """1.5 * 2**mantissa: a float plus this holds the nearest integer in its last bits."""
        return 1.5 * 2.0**self.mantissa

    def pick(self, single: float, double: float) -> float:
        """The number for float32, or the one for float64."""
        return single if self.dtype == "float32" else double

    def fit(self, name: str) -> tuple[float, ...]:
        """The coefficients of a fitted polynomial."""
        return FITS[name, "float32" if self.single else self.dtype].coefficients

    def once(self, x: Value) -> Value:
        """A float that is used more than once; see the module's docstring."""
        return x.cast(self.dtype)

    def number(self, value: float | Named) -> Value:
        """A constant of the dtype."""
        return Value(number(value)).cast(self.dtype)

    def word_of(self, x: Value) -> Value:
        """The bits of a float."""
        return x.bits(self.word)

    def float_of(self, bits: Value) -> Value:
        """The float of some bits."""
        return bits.bits(self.dtype)

    def fma(self, a: Value, b: Operand, c: Operand) -> Value:
        """a*b + c."""
        return Value(Fma(a.scalar, bare(b), bare(c))) if self.fused else a * b + c

    def polynomial(self, z: Value, coefficients: Sequence[float]) -> Value:
        """The polynomial in z with these coefficients, lowest first, by Horner's scheme."""
        last, *rest = reversed(coefficients)
        below, *rest = rest
        total = self.fma(z, last, below)
        for c in rest:
            total = self.fma(total, z, c)
        return total

    def paired(self, z: Value, square: Value, coefficients: Sequence[float]) -> Value:
        """The polynomial in z, by Horner's scheme in z*z of pairs: half as many steps in a row."""
        *pairs, last = [coefficients[i : i + 2] for i in range(0, len(coefficients), 2)]
        linear = [self.fma(z, b, a) for a, b in pairs]
        total: Operand = last[0] if len(last) == 1 else self.fma(z, last[1], last[0])
        for below in reversed(linear):
            total = self.fma(square, total, below)
        assert isinstance(total, Value)
        return total

    def select(self, condition: Value, then: Operand, other: Operand) -> Value:
        """``then`` where the condition holds, else ``other``."""
        return Value(Select(condition.scalar, bare(then), bare(other)))

    def sqrt(self, x: Value) -> Value:
        """The square root: an instruction."""
        return self.once(Value(Call("sqrt", (x.scalar,))))

    def at_most(self, x: Value, limit: float) -> Value:
        """The lesser; NaN for NaN."""
        return self.once(self.select(x > limit, limit, x))

    def at_least(self, x: Value, limit: float) -> Value:
        """The greater; NaN for NaN."""
        return self.once(self.select(x < limit, limit, x))

    def absolute(self, x: Value) -> Value:
        """x without its sign."""
        return self.once(self.float_of(self.word_of(x) & (self.sign - 1)))

    def signed_as(self, y: Value, x: Value) -> Value:
        """y, which is not negative, with the sign of x."""
        return self.float_of(self.word_of(y) | (self.word_of(x) & self.sign))

    def two_sum(self, a: Operand, b: Value) -> tuple[Value, Value]:
        """a + b, and what its rounding lost (Knuth)."""
        if isinstance(a, Value):
            a = self.once(a)
        total = self.once(a + b)
        rest = self.once(total - a)
        return total, self.once((a - (total - rest)) + (b - rest))

    def product(self, a: Value, b: Value) -> tuple[Value, Value]:
        """a*b, and what its rounding lost (with Fma at once, else by halves, Dekker)."""
        product = self.once(a * b)
        if self.fused:
            return product, self.once(Value(Fma(a.scalar, b.scalar, (-product).scalar)))
        a1, a0 = self.halves(a)
        b1, b0 = (a1, a0) if a is b else self.halves(b)
        return product, self.once((((a1 * b1 - product) + a1 * b0) + a0 * b1) + a0 * b0)

    def beyond(self, a: Value, b: Value, c: Value) -> Value:
        """a*b - c, which are nearly equal, exactly but for one rounding."""
        if self.fused:
            return self.once(self.fma(a, b, -c))
        product, lost = self.product(a, b)
        return self.once((product - c) + lost)

    def halves(self, x: Value) -> tuple[Value, Value]:
        """x as a sum of two numbers with half its places each."""
        kept = self.word_of(x) & (2 * self.sign - (1 << (self.mantissa // 2 + 1)))
        high = self.once(self.float_of(kept))
        return high, self.once(x - high)


def in_double(write: Callable[..., Value]) -> Callable[..., Value]:
    """A formula that is computed in float64 for both dtypes: of a float32 all its places are
    right, with polynomials no longer than that takes."""

    @wraps(write)
    def written(f: Formula, *args: Value) -> Value:
        if f.dtype == "float64":
            return write(f, *args)
        wide = Formula("float64", f.fused, single=True)
        return write(wide, *(wide.once(x.cast("float64")) for x in args)).cast(f.dtype)

    return written
