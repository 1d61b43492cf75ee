"""Functions of numbers that are an instruction or a few; the others are formulas.

In: the name of a function of ``codegen.functions``, values of one dtype. Out: a value.

    instructions   abs sqrt floor ceil round sign maximum minimum isnan strong_mul, of floats and
                   of integers; random_bits, of integers
    formulas       all others, from ``codegen.vector_math``: written out where they are used
    quotients      the instruction; or, where that would keep others waiting, an estimate made exact
                   by multiply-adds

Guarantees: maximum and minimum let NaN through; nothing calls a library. A machine that cannot
round (SSE2) rounds by adding and subtracting a large number. An estimated quotient is the rounded
one, but in one case of some hundred thousand, where it is its neighbour; of a dividend below
2**-100 it is off by two units in the last place at most.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from codegen import philox
from codegen.dtypes import is_float, is_unsigned
from codegen.functions import UnsupportedFunction
from codegen.llvm import types
from codegen.llvm.access import Access
from codegen.llvm.builder import Carried
from codegen.llvm.frame import Value
from codegen.program import Dtype

__all__ = ["Functions"]

_MANTISSA = {"float32": 23, "float64": 52}


class Functions(Access):
    """Emits calls of the functions that are instructions."""

    def constant(self, value: int | Fraction, dtype: Dtype) -> Value:
        """An exact number."""
        return Value(types.number(Fraction(value), dtype), dtype)

    def instruction(self, name: str) -> Callable[..., Value] | None:
        """How a function is emitted that is no formula."""
        made: dict[str, Callable[..., Value]] = {
            "abs": self.absolute,
            "sqrt": lambda x: self.intrinsic("sqrt", x),
            "floor": self.floor,
            "ceil": self.ceil,
            "round": lambda x: self.rounded(x) if is_float(x.dtype) else x,
            "sign": self.sign,
            "maximum": lambda x, y: self.extremum(x, y, "gt"),
            "minimum": lambda x, y: self.extremum(x, y, "lt"),
            "isnan": lambda x: self.operate("fcmp uno", x, x, dtype="bool"),
            "strong_mul": self.strong,
            "random_bits": self.random_bits,
        }
        return made.get(name)

    def compare(self, test: str, x: Value, y: Value) -> Value:
        """``gt``, ``lt``, ``eq``, ...: false where one is NaN, but for ``ne``."""
        if is_float(x.dtype):
            return self.operate(f"fcmp {'une' if test == 'ne' else 'o' + test}", x, y, dtype="bool")
        sign = "" if test in ("eq", "ne") else "u" if _unsigned(x.dtype) else "s"
        return self.operate(f"icmp {sign}{test}", x, y, dtype="bool")

    def absolute(self, x: Value) -> Value:
        if is_float(x.dtype):
            return self.intrinsic("fabs", x)
        if _unsigned(x.dtype):
            return x
        zero = self.constant(0, x.dtype)
        return self.select(self.compare("lt", x, zero), self.operate("sub", zero, x), x)

    def extremum(self, x: Value, y: Value, test: str) -> Value:
        """The second where they are equal or one is NaN, as instructions have it; a NaN of the
        first is put back, unless it is a number."""
        if is_float(x.dtype) and y.constant and not x.constant:
            x, y = y, x
        best = self.select(self.compare(test, x, y), x, y)
        if not is_float(x.dtype) or (x.constant and x.text != _NAN):
            return best
        return self.select(self.operate("fcmp uno", x, x, dtype="bool"), x, best)

    def strong(self, g: Value, d: Value) -> Value:
        """g*d, exactly 0 where g is 0."""
        zero = self.constant(0, g.dtype)
        times = self.operate("fmul" if is_float(g.dtype) else "mul", g, d)
        return self.select(self.compare("eq", g, zero), zero, times)

    def sign(self, x: Value) -> Value:
        zero, one = self.constant(0, x.dtype), self.constant(1, x.dtype)
        below = x
        if not _unsigned(x.dtype):
            below = self.select(self.compare("lt", x, zero), self.constant(-1, x.dtype), x)
        return self.select(self.compare("gt", x, zero), one, below)

    def floor(self, x: Value) -> Value:
        if not is_float(x.dtype):
            return x
        if self.target.rounding:
            return self.intrinsic("floor", x)
        near = self.rounded(x)
        one, above = self.constant(1, x.dtype), self.compare("gt", near, x)
        return self.select(above, self.operate("fsub", near, one), near)

    def ceil(self, x: Value) -> Value:
        if not is_float(x.dtype):
            return x
        return self.operate("fneg", self.floor(self.operate("fneg", x)))

    def rounded(self, x: Value) -> Value:
        """To the nearest integer, ties to even."""
        if self.target.rounding:
            return self.intrinsic("roundeven", x)
        large = self.constant(1 << _MANTISSA[x.dtype], x.dtype)  # from here on all are integers
        size = self.intrinsic("fabs", x)
        near = self.operate("fsub", self.operate("fadd", size, large), large)
        near = self.intrinsic("copysign", near, x)
        return self.select(self.compare("lt", size, large), near, x)

    def random_bits(self, draw: Value, place: Value) -> Value:
        """``codegen.philox.random_bits``, of int64."""
        half, low = self.constant(32, "int64"), self.constant(philox.MOST - 1, "int64")
        m0, m1 = (self.constant(m, "int64") for m in philox.MULTIPLIERS)

        def halves(x: Value) -> tuple[Value, Value]:
            return self.operate("lshr", x, half), self.operate("and", x, low)

        (x1, x0), (x3, x2) = halves(place), halves(draw)
        for n in range(philox.ROUNDS):
            k0, k1 = (self.constant(n * by % philox.MOST, "int64") for by in philox.INCREMENTS)
            a, b = halves(self.operate("mul", x0, m0)), halves(self.operate("mul", x2, m1))
            x0 = self.operate("xor", self.operate("xor", b[0], x1), k0)
            x2 = self.operate("xor", self.operate("xor", a[0], x3), k1)
            x1, x3 = b[1], a[1]
        return x0

    def quotient(self, a: Value, b: Value) -> Value:
        """a/b of float32 in whole vectors, by an estimate of 1/b; by division, for all lanes, where
        that is NaN in some: so it is if b is 0, infinite or tiny, or a or a/b infinite."""
        one = self.constant(1, "float32")
        near = self.reciprocal(b)
        near = self.fma(near, self.fma(self.operate("fneg", b), near, one), near)
        found = self.operate("fmul", a, near)
        found = self.fma(self.fma(self.operate("fneg", b), found, a), near, found)
        text = found.text

        def get() -> str:
            return text

        def set_(new: str) -> None:
            nonlocal text
            text = new

        lost = self.any(self.operate("fcmp uno", found, found, dtype="bool"))
        with self.b.branch(lost.text, [Carried(found.type, "quotient", get, set_)], frozenset()):
            text = self.operate("fdiv", a, b).text
        return Value(text, "float32", found.lanes)

    def reciprocal(self, x: Value) -> Value:
        """1/x to 14 bits, of a whole vector."""
        name = f"llvm.x86.avx512.rcp14.ps.{32 * x.lanes}"
        bits = f"i{max(8, x.lanes)}"
        operands = [(x.type, x.text), (x.type, "zeroinitializer"), (bits, "-1")]
        return Value(self.b.call(x.type, name, operands), "float32", x.lanes)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a*b + c, rounded once."""
        if self.target.fma:
            return self.intrinsic("fma", a, b, c)
        if a.dtype == "float32":  # the product is exact in float64
            wide = [self.extended(x) for x in (a, b, c)]
            total = self.operate("fadd", self.operate("fmul", wide[0], wide[1]), wide[2])
            text = f"fptrunc {total.typed} to {types.of('float32', total.lanes)}"
            return Value(self.b.value(text, [total.text]), "float32", total.lanes)
        raise UnsupportedFunction(
            "the native backend has no fused multiply-add in float64 on this machine: use float32"
        )

    def extended(self, x: Value) -> Value:
        text = f"fpext {x.typed} to {types.of('float64', x.lanes)}"
        return Value(self.b.value(text, [x.text]), "float64", x.lanes)


_NAN = types.number("nan", "float64")


def _unsigned(dtype: Dtype) -> bool:
    return is_unsigned(dtype) or dtype == "bool"
