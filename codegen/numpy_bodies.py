"""Scalar formulas as NumPy text: the body of a step over all its points at once.

In: a ``Scalar``, the order of the step's loops, the dtype the context wants.
Out: a ``Value``. Every operation is elementwise with broadcasting, so a body is written once,
whatever its loops are.

Guarantees: dtypes are the Program's: Python numbers stay weak, integers meet floats by an explicit
cast; formulas in branches not taken are computed, never chosen, and the warnings they may raise
are noted in the scope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import cast as typed

from codegen.functions import UnsupportedFunction, function, numpy_spelling
from codegen.index import Ix, constant, nonneg
from codegen.numpy_values import (
    FLOATS,
    Order,
    Scope,
    Value,
    apply,
    cast,
    combine,
    compared,
    dims_only,
    index_value,
    numpy_dtype,
    promote,
    simple,
    where,
)
from codegen.printer import Attr, Bin, CallE, Cmp, Expr, Num, Un, call, integer, method, number
from codegen.program import (
    And,
    Binary,
    Bitcast,
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
    Round,
    Scalar,
    Select,
    Shift,
    Unary,
    Xor,
    walk,
)

__all__ = ["body_value", "may_warn"]

_TWO = Fraction(2)
_BITWISE = {And: "&", Or: "|", Xor: "^"}

# Functions whose value off their domain, or far out, comes with a warning.
_WARNS = {
    "log": ("divide", "invalid"),
    "log1p": ("divide", "invalid"),
    "sqrt": ("invalid",),
    "exp": ("over",),
    "expm1": ("over",),
    "power": ("divide", "invalid", "over"),
    "sin": ("invalid",),
    "cos": ("invalid",),
    "exp2": ("over",),
    "log2": ("divide", "invalid"),
    "tan": ("invalid",),
    "asin": ("invalid",),
    "acos": ("invalid",),
    "sinh": ("over",),
    "cosh": ("over",),
    "acosh": ("invalid",),
    "atanh": ("divide", "invalid"),
    "rsqrt": ("divide", "invalid"),
    "hypot": ("over",),
    "logaddexp": ("over",),
    "strong_mul": ("invalid", "over"),
}


def may_warn(s: Scalar, values: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The kinds of floating-point warnings that computing ``s`` at a masked point may raise.

    ``values`` says so of the values that steps before have made.
    """
    kinds: dict[str, None] = {}
    for part in walk(s):
        if isinstance(part, Load):
            kinds |= dict.fromkeys(values.get(part.buffer, ()))
        elif isinstance(part, Binary) and part.op == "/" and not _known(part.right):
            kinds |= dict.fromkeys(("divide", "invalid"))
        elif isinstance(part, Binary) and part.op == "**":
            kinds |= dict.fromkeys(("divide", "over"))
        elif isinstance(part, Call):
            kinds |= dict.fromkeys(_WARNS.get(part.function, ()))
        elif isinstance(part, Number) and isinstance(part.value, str):
            kinds["invalid"] = None
    return tuple(kinds)


def _known(s: Scalar) -> bool:
    """Whether a divisor is a number or a size."""
    return isinstance(s, Number | IndexValue) or (isinstance(s, Cast) and _known(s.x))


def body_value(
    scope: Scope, s: Scalar, order: Order, want: Dtype, uncertain: bool = False
) -> Value:
    """The value of a scalar over the loops it uses; ``want`` is the dtype numbers take."""

    def value(x: Scalar, wanted: Dtype = want) -> Value:
        return body_value(scope, x, order, wanted, uncertain)

    match s:
        case Number(v):
            return Value(number(v, want))
        case Load():
            assert scope.load is not None
            return scope.load(scope, s, order, uncertain)
        case IndexValue(ix):
            return index_value(scope, ix, order, uncertain)
        case Unary("-", x):
            a = value(x)
            if a.dtype == "bool":
                a = cast(a, "int64")
            return Value(Un("-", a.expr), a.axes, a.dtype)
        case Unary(_, x):
            a = _as_bool(value(x, "bool"))
            return Value(Un("~", a.expr), a.axes, "bool")
        case Binary("**", x, Number(Fraction() as v)) if v.denominator == 1:
            return _power(value(x), v.numerator, order, want)
        case Binary(op, x, y):
            a, b = value(x), value(y)
            near = promote(a.dtype, b.dtype) or want
            a, b = (
                value(part, near) if isinstance(part, Number) and near in FLOATS else v
                for part, v in ((x, a), (y, b))
            )
            if op == "/" and a.dtype is None and b.dtype is None and _may_be_0(y):
                scope.warns("divide", "invalid")
                a = cast(a, want if want in FLOATS else "float64")  # Python raises there
            squared = b.dtype is not None and _squared(y) is not None  # a size stays a Python int
            if op in ("*", "/") and squared and isinstance(b.expr, Bin):
                b = apply("np.square", [value(typed(Scalar, _squared(y)))], order, b.dtype)
            return _arithmetic(op, a, b, order, want)
        case Compare(op, IndexValue() | Number() as x, IndexValue() | Number() as y) if (
            difference := _difference(x, y)
        ) is not None:
            return compared(scope, difference, op, order, uncertain)
        case Compare(op, x, y):
            a, b = value(x), value(y)
            number_dtype = a.dtype or b.dtype or want
            if isinstance(x, Number):
                a = value(x, number_dtype)
            if isinstance(y, Number):
                b = value(y, number_dtype)
            found = combine(op, a, b, order, "bool")
            return found if a.dtype or b.dtype else _of_numpy(found.expr)
        case Select(condition, then, other):
            for branch in (then, other):
                scope.warns(*may_warn(branch, scope.kinds))
            c, a, b = _as_bool(value(condition, "bool")), value(then), value(other)
            dtype = promote(a.dtype, b.dtype) or want
            a, b = (v if v.dtype is None else cast(v, dtype) for v in (a, b))
            return where(c, a, b, order, dtype)
        case Call(name, args):
            if name == "strong_mul":  # what it multiplies counts only where the first is not 0
                scope.warns(*may_warn(s, scope.kinds))
            return _called(scope, name, [value(a) for a in args], order, want)
        case Cast(dtype, x):
            a = value(x, dtype)
            return a if a.dtype is None and dtype == want in FLOATS else cast(a, dtype)
        case Bitcast(dtype, x):
            a = value(x)
            return Value(method(a.expr, "view", numpy_dtype(dtype)), a.axes, dtype)
        case Shift(x, places):
            a = value(x)
            step = Value(integer(abs(places)))
            return combine("<<" if places > 0 else ">>", a, step, order, a.dtype)
        case And(x, y) | Or(x, y) | Xor(x, y):
            a, b = value(x), value(y)
            return combine(_BITWISE[type(s)], a, b, order, promote(a.dtype, b.dtype))
        case Round(x):
            a = value(x)
            return apply("np.rint", [a], order, a.dtype)
        case MulHigh(x, y):
            a, b = value(x), value(y)
            if promote(a.dtype, b.dtype) != "uint32":
                raise UnsupportedFunction(
                    "the numpy backend multiplies to the upper half in uint32 only: "
                    "use a 32-bit generator, or another backend"
                )
            wide = combine("*", cast(a, "uint64"), cast(b, "uint64"), order, "uint64")
            upper = combine(">>", wide, Value(Num("32")), order, "uint64")
            return cast(upper, "uint32")
        case Fma(x, y, z):
            a, b, c = value(x), value(y), value(z)
            if want != "float32":
                raise UnsupportedFunction(
                    "the numpy backend has no fused multiply-add in float64: "
                    "use another backend, or float32"
                )
            product = combine("*", cast(a, "float64"), cast(b, "float64"), order, "float64")
            return cast(combine("+", product, cast(c, "float64"), order, "float64"), "float32")


def _may_be_0(divisor: Scalar) -> bool:
    """Whether sizes that it is made of may be 0, for all that their declarations say."""
    return any(isinstance(s, IndexValue) and not nonneg(s.ix - 1) for s in walk(divisor))


def _squared(s: Scalar) -> Scalar | None:
    """x of x**2."""
    return s.left if isinstance(s, Binary) and s.op == "**" and s.right == Number(_TWO) else None


def _difference(x: IndexValue | Number, y: IndexValue | Number) -> Ix | None:
    """x - y as a combination of indices, when it holds a loop and nothing but integers."""
    total = constant(0)
    for s, sign in ((x, 1), (y, -1)):
        if isinstance(s, IndexValue):
            total = total + s.ix * sign
        elif isinstance(s.value, Fraction) and s.value.denominator == 1:
            total = total + s.value.numerator * sign
        else:
            return None
    return None if dims_only(total) else total


def _as_bool(value: Value) -> Value:
    if value.dtype == "bool":
        return value
    return _of_numpy(value.expr) if value.dtype is None else cast(value, "bool")


def _of_numpy(truth: Expr) -> Value:
    """What Python knows of sizes and numbers: its own bool has no dtype to be cast from."""
    return Value(call("np.bool_", truth), (), "bool")


def _harmonised(op: str, a: Value, b: Value, want: Dtype) -> tuple[Value, Value, Dtype | None]:
    """Operands cast so that NumPy's promotion gives the Program's dtype."""
    dtype = promote(a.dtype, b.dtype)
    if dtype is None:
        return a, b, None
    if dtype == "bool" or (op == "/" and dtype not in FLOATS):
        dtype = want if want != "bool" else "int64"
    out = []
    for v in (a, b):
        own = v.dtype
        plain = own is None or own == dtype or (own == "bool" and dtype in FLOATS)
        plain = plain or {own, dtype} == {"float32", "float64"}  # promotes by itself
        plain = plain or {own, dtype} == {"int32", "int64"}
        out.append(v if plain else cast(v, typed(Dtype, dtype)))
    left, right = out
    if left.dtype == right.dtype and left.dtype in FLOATS:  # NumPy casts a bool by itself
        a_inside, b_inside = _bool_inside(left), _bool_inside(right)
        if a_inside is not None and b_inside is None:
            left = replace(left, expr=a_inside, dtype="bool")
        elif b_inside is not None and a_inside is None:
            right = replace(right, expr=b_inside, dtype="bool")
    if "bool" in (left.dtype, right.dtype) and op == "-" and left.dtype == right.dtype:
        left = cast(left, dtype)
    if left.dtype in (None, "bool") and right.dtype in (None, "bool"):
        left = cast(left, dtype)
    return left, right, dtype


def _bool_inside(value: Value) -> Expr | None:
    """The comparison of ``(a == b).astype(float)``."""
    e = value.expr
    if isinstance(e, CallE) and isinstance(e.function, Attr) and e.function.name == "astype":
        return e.function.base if isinstance(e.function.base, Cmp) else None
    return None


def _arithmetic(op: str, a: Value, b: Value, order: Order, want: Dtype) -> Value:
    a, b, dtype = _harmonised(op, a, b, want)
    return combine(op, a, b, order, dtype)


def _power(base: Value, n: int, order: Order, want: Dtype) -> Value:
    """Small powers as products; a longer base is written once."""
    if base.dtype in ("bool",):
        base = cast(base, want)
    if n == 0:
        return Value(Num("1"))
    if n == 1:
        return base
    if n < 0:
        return _arithmetic("/", Value(Num("1")), _power(base, -n, order, want), order, want)
    if simple(base.expr) and n <= 4 and base.dtype is not None:
        expr: Expr = base.expr
        for _ in range(n - 1):
            expr = Bin("*", expr, base.expr)
        return Value(expr, base.axes, base.dtype)
    if n == 2 and base.dtype is not None:
        return apply("np.square", [base], order, base.dtype)
    return Value(Bin("**", base.expr, integer(n)), base.axes, base.dtype)


def _called(scope: Scope, name: str, args: list[Value], order: Order, want: Dtype) -> Value:
    """A function of the table; integers become floats where it gives a float."""
    row = function(name)
    spelling = numpy_spelling(name)
    dtype: Dtype | None = None
    for a in args:
        dtype = promote(dtype, a.dtype)
    if row.result == "integer":
        dtype = "int64"
    elif row.result == "argument":
        dtype = dtype or want
    elif dtype is None or dtype not in FLOATS:
        dtype = want if want in FLOATS else "float64"
    target = dtype
    out = [a if a.dtype is None or a.dtype == target else cast(a, target) for a in args]
    if "." not in spelling:  # a helper sees its arguments' dtypes
        out = [cast(a, target) for a in out]
    elif all(a.dtype is None for a in out):
        out[0] = cast(out[0], target)
    if name == "power":
        return combine("**", out[0], out[1], order, target)
    if "." not in spelling:
        scope.helpers[spelling] = None
    return apply(spelling, out, order, "bool" if row.result == "bool" else target)
