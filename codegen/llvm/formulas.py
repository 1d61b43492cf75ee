"""Formulas as operations on numbers and vectors.

In: a Scalar whose reads are in storage. Out: a ``Value`` in a dtype.

Guarantees: the order and grouping of the operations are the formula's; nothing is reassociated,
and a product and a sum are fused only where the formula says Fma, or a store adds a product (and
the machine can). What is the same in all lanes is computed once. A part that is used twice is
emitted once. A number out of range becomes the nearest integer when cast, NaN becomes 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from codegen import program as p
from codegen.dtypes import WIDTH, is_float, is_unsigned
from codegen.functions import UnsupportedFunction
from codegen.llvm import types
from codegen.llvm.cost import waits
from codegen.llvm.frame import Value
from codegen.llvm.functions import Functions
from codegen.llvm.typing import Typing
from codegen.program import Dtype, Scalar
from codegen.vector_math import expand

__all__ = ["Formulas"]

_TESTS = {"<": "lt", "<=": "le", "==": "eq", "!=": "ne", ">": "gt", ">=": "ge"}
_FLOAT = {"+": "fadd", "-": "fsub", "*": "fmul", "/": "fdiv"}
_WHOLE = {"+": "add", "-": "sub", "*": "mul"}
WHOLE = (4, 8, 16)  # lanes of float32 that an estimate of reciprocals takes
_BITS: dict[type, str] = {p.And: "and", p.Or: "or", p.Xor: "xor"}

Known = dict[tuple[int, Dtype], Value]


class Formulas(Functions):
    """Emits scalars. ``typing`` knows the dtypes of what is read here."""

    typing: Typing
    arguments: Mapping[str, Value]  # of the formula that is being written out, by name
    known: Known  # parts of the statement emitted so far
    waits = False  # for quotients and roots, more than for all else in the statement

    def statement(self, s: Scalar, want: Dtype) -> Value:
        """The value of one statement's formula."""
        self.known, self.arguments = {}, {}
        self.waits = self.target.estimates and self.fuses and waits(s)
        return self.converted(s, want)

    def converted(self, s: Scalar, want: Dtype) -> Value:
        """A scalar converted to a dtype."""
        own = self.typing.dtype(s, want)
        return self.cast(self.scalar(s, own), want)

    def scalar(self, s: Scalar, own: Dtype) -> Value:
        """A scalar in its own dtype."""
        key = id(s), own
        if key not in self.known:
            self.known[key] = self.emitted(s, own)
        return self.known[key]

    def emitted(self, s: Scalar, own: Dtype) -> Value:
        match s:
            case p.Number(value):
                return Value(types.number(value, own), own)
            case p.Load():
                return self.load(s, own)
            case p.IndexValue(ix):
                return self.whole(self.form(ix))
            case p.Select(c, a, b):
                condition = self.converted(c, "bool")
                return self.select(condition, self.converted(a, own), self.converted(b, own))
            case p.Compare(op, a, b):
                both = self.typing.dtype(p.Binary("+", a, b), "int64")
                return self.compare(_TESTS[op], self.converted(a, both), self.converted(b, both))
            case p.Call(name, args):
                return self.called(name, args, own)
            case p.Cast(dtype, x):
                return self.cast(self.scalar(x, self.typing.dtype(x, dtype)), dtype)
            case p.Binary(op, a, b):
                return self.binary(op, a, b, own)
            case p.Unary("not", x):
                return self.operate("xor", self.converted(x, "bool"), Value("true", "bool"))
            case p.Unary(_, x):
                return self.negated(self.converted(x, own))
            case p.Fma(a, b, c):
                return self.fma(*(self.converted(x, own) for x in (a, b, c)))
            case p.Round(x):
                return self.rounded(self.converted(x, own))
            case _:
                return self.bitwise(s, own)

    def load(self, s: p.Load, own: Dtype) -> Value:
        """A read; 0 where a guard of its own fails."""
        if s.buffer in self.arguments:
            return self.arguments[s.buffer]
        condition = self.holds(s.guards) if s.guards else None
        if condition is False:
            return self.constant(0, own)
        assert not isinstance(condition, bool)
        if s.guards:  # what holds for one turn of a row may not hold for the next
            row, self.row = self.row, None
            with self.given(condition):
                value = self.read(s.buffer, s.indices)
            self.row = row
            return value
        return self.read(s.buffer, s.indices)

    def negated(self, x: Value) -> Value:
        if is_float(x.dtype):
            return self.operate("fneg", x)
        return self.operate("sub", self.constant(0, x.dtype), x)

    def binary(self, op: str, a: Scalar, b: Scalar, own: Dtype) -> Value:
        if op == "**":
            assert isinstance(b, p.Number)
            return self.power(self.converted(a, own), int(Fraction(b.value)))
        names = _FLOAT if is_float(own) else _WHOLE
        x, y = self.converted(a, own), self.converted(b, own)
        whole = max(x.lanes, y.lanes) in WHOLE and not self.arguments
        if op == "/" and own == "float32" and self.waits and whole:
            return self.quotient(*(Value(self.wide(v), v.dtype, self.lanes) for v in (x, y)))
        return self.operate(names[op], x, y)

    def power(self, x: Value, n: int) -> Value:
        """A small integer power, by squaring."""
        one, times = self.constant(1, x.dtype), "fmul" if is_float(x.dtype) else "mul"
        if n < 0:
            return self.operate("fdiv", one, self.power(x, -n))
        found: Value | None = None
        while n:
            if n % 2:
                found = x if found is None else self.operate(times, found, x)
            n //= 2
            if n:
                x = self.operate(times, x, x)
        return one if found is None else found

    def added(self, old: Value, value: Scalar) -> Value:
        """old + value: rounded once where that is a product."""
        dtype = old.dtype
        self.known, self.arguments = {}, {}
        fused = self.fuses and is_float(dtype) and isinstance(value, p.Binary) and value.op == "*"
        if fused and isinstance(value, p.Binary) and self.typing.dtype(value, dtype) == dtype:
            a, b = self.converted(value.left, dtype), self.converted(value.right, dtype)
            return self.intrinsic("fma", a, b, old)
        term = self.converted(value, dtype)
        if dtype == "bool":
            return self.operate("or", old, term)
        return self.operate("fadd" if is_float(dtype) else "add", old, term)

    # --- functions -------------------------------------------------------------------------------

    def called(self, name: str, args: tuple[Scalar, ...], own: Dtype) -> Value:
        """A function of the table."""
        kind = own
        if own == "bool":
            first = self.typing.dtype(args[0], self.typing.float)
            kind = first if is_float(first) else self.typing.float
        values = tuple(self.converted(a, kind) for a in args)
        made = self.instruction(name)
        if made is not None:
            return made(*values)
        if not is_float(kind):
            raise UnsupportedFunction(
                f"the native backend has no {name} of integers: cast to a float first"
            )
        return self.formula(name, values, kind)

    def formula(self, name: str, values: tuple[Value, ...], dtype: Dtype) -> Value:
        """A function that is written out."""
        made = _written(name, len(values), dtype, self.fuses)
        before = self.known, self.arguments, self.typing
        arguments = dict(zip(made.arguments, values, strict=True))
        self.known, self.arguments, self.typing = {}, arguments, made.typing
        found = self.converted(made.body, dtype)
        self.known, self.arguments, self.typing = before
        return found

    # --- dtypes and bits -------------------------------------------------------------------------

    def cast(self, x: Value, dtype: Dtype) -> Value:
        """A value converted to a dtype."""
        if x.dtype == dtype:
            return x
        if dtype == "bool":
            return self.compare("ne", x, self.constant(0, x.dtype))
        if is_float(x.dtype) and not is_float(dtype):
            kind = "u" if is_unsigned(dtype) else "s"
            if self.arguments:  # a formula keeps to the range: freeze says that NaN is any number
                raw = self.changed(f"fpto{kind}i", x, dtype)
                return Value(self.b.value(f"freeze {raw.typed}", [raw.text]), dtype, x.lanes)
            ends = types.suffix(dtype, x.lanes) + types.suffix(x.dtype, x.lanes)
            into, name = types.of(dtype, x.lanes), f"llvm.fpto{kind}i.sat{ends}"
            return Value(self.b.call(into, name, [(x.type, x.text)]), dtype, x.lanes)
        return self.changed(_conversion(x.dtype, dtype), x, dtype)

    def changed(self, how: str, x: Value, dtype: Dtype) -> Value:
        """``sitofp``, ``zext``, ``bitcast``, ... to a dtype."""
        text = self.b.value(f"{how} {x.typed} to {types.of(dtype, x.lanes)}", [x.text])
        return Value(text, dtype, x.lanes)

    def bitwise(self, s: Scalar, own: Dtype) -> Value:
        """What acts on the bits of numbers."""
        match s:
            case p.Bitcast(dtype, x):
                return self.changed(
                    "bitcast", self.converted(x, self.typing.dtype(x, dtype)), dtype
                )
            case p.Shift(x, places):
                by = self.constant(abs(places), own)
                return self.operate("shl" if places >= 0 else "lshr", self.converted(x, own), by)
            case p.And(a, b) | p.Or(a, b) | p.Xor(a, b):
                return self.operate(_BITS[type(s)], self.converted(a, own), self.converted(b, own))
            case p.MulHigh(a, b):
                return self.upper(self.converted(a, own), self.converted(b, own))
        raise TypeError(f"{type(s).__name__} is no scalar of PROGRAM")

    def upper(self, a: Value, b: Value) -> Value:
        """The upper half of a product of unsigned integers."""
        width = WIDTH[a.dtype]
        lanes, texts = self.alike(a, b)
        double = f"<{lanes} x i{2 * width}>" if lanes else f"i{2 * width}"
        kind = types.of(a.dtype, lanes)
        wide = [self.b.value(f"zext {kind} {t} to {double}", [t]) for t in texts]
        product = self.b.value(f"mul {double} {wide[0]}, {wide[1]}", wide)
        by = f"splat (i{2 * width} {width})" if lanes else str(width)
        high = self.b.value(f"lshr {double} {product}, {by}", [product])
        return Value(self.b.value(f"trunc {double} {high} to {kind}", [high]), a.dtype, lanes)


@dataclass(frozen=True)
class _Formula:
    """A function written out in terms of reads of its arguments."""

    arguments: tuple[str, ...]
    body: Scalar
    typing: Typing


@cache
def _written(name: str, arity: int, dtype: Dtype, fma: bool) -> _Formula:
    """The formula of a function, with or without fused multiply-adds."""
    arguments = tuple(f"argument {n}" for n in range(arity))
    typing = Typing([p.Buffer("argument", (), (), dtype, "input")])
    typing.loads.update(dict.fromkeys(arguments, dtype))
    return _Formula(arguments, expand(name, tuple(map(p.Load, arguments)), dtype, fma), typing)


def _conversion(old: Dtype, new: Dtype) -> str:
    """The instruction that turns one dtype into another, neither a float into an integer."""
    unsigned = is_unsigned(old) or old == "bool"
    if is_float(new):
        if is_float(old):
            return "fpext" if WIDTH[new] > WIDTH[old] else "fptrunc"
        return "uitofp" if unsigned else "sitofp"
    if old != "bool" and WIDTH[old] > WIDTH[new]:
        return "trunc"
    if old != "bool" and WIDTH[old] == WIDTH[new]:
        return "bitcast"
    return "zext" if unsigned else "sext"
