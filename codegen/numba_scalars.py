"""Scalars as the text of plain Python on one number: what stands inside loops.

In: a ``Scalar``, and the ``Scope`` of the function it stands in. Out: an expression whose type in
Numba is exactly the dtype the Program gives it.

Guarantees: float32 stays float32. Numba reads ``0.5`` as a float64, computes a float32 with an
int64 in float64, and int32 with int32 in int64; so numbers are written ``float32(0.5)`` where
they would widen a result, and integers narrower than 64 bits are wrapped after each operation.
Order and grouping of the operations are those of the scalar. A read whose guards fail reads
nothing; of a choice, one branch is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from codegen.dtypes import float_of, infer_dtype, is_float
from codegen.functions import NUMBA_HELPERS, UnsupportedFunction, function, numba_spelling
from codegen.index import Atom, Dim, Floor, Gather, Guard, Ix, Loop, Mod
from codegen.printer import Bin, Cmp, Expr, IfE, Item, Name, Num, Un, call, integer, literal, method
from codegen.program import (
    And,
    Binary,
    Bitcast,
    Buffer,
    BufferSource,
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
)

__all__ = ["Scope", "condition", "element", "index", "typed"]

_WORDS = {And: "and", Or: "or", Xor: "!="}  # of bools
_BITS = {And: "&", Or: "|", Xor: "^"}
_ON_INTEGERS = {"maximum": "max", "minimum": "min", "abs": "abs"}


@dataclass
class Scope:
    """Names of one function of the text.

    ``arrays`` are all arrays and declared storage by name, ``local`` what the text calls them;
    ``registers`` are those of rank 0 that are plain variables, ``loops`` and ``sizes`` the
    spellings of loop variables and dimensions. ``used`` collects the dimensions that are used,
    ``helpers`` each (helper, dtype). In text for a ``device``, ``instead`` names the helpers that
    stand for callees that it lacks; what a helper returns is not declared there, and may be wider
    than its arguments; and text that is simulated must not divide by an integer, which may be 0.
    """

    arrays: dict[str, Buffer]
    local: dict[str, str]
    registers: set[str]
    sizes: dict[str, str]
    helpers: dict[tuple[str, Dtype], None]
    loops: dict[Loop, str] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)
    device: bool = False

    def size(self, dim: str) -> Expr:
        """The variable that holds the size of a dimension."""
        self.used[dim] = None
        return Name(self.sizes[dim])


# --- indices --------------------------------------------------------------------------------------


def index(scope: Scope, ix: Ix) -> Expr:
    """An index combination; its value is an int64."""
    positive = [(a, k) for a, k in ix.terms if k > 0]
    negative = [(a, -k) for a, k in ix.terms if k < 0]
    total = _sum(scope, positive, max(ix.const, 0) if positive else ix.const)
    for atom, k in negative:
        term = _times(scope, atom, k)
        total = Un("-", term) if total == Num("0") else Bin("-", total, term)
    if positive and ix.const < 0:
        total = Bin("-", total, Num(str(-ix.const)))
    return total


def _sum(scope: Scope, terms: Iterable[tuple[Atom, int]], const: int) -> Expr:
    total: Expr | None = None
    for atom, k in terms:
        term = _times(scope, atom, k)
        total = term if total is None else Bin("+", total, term)
    if total is None:
        return integer(const)
    return Bin("+", total, Num(str(const))) if const else total


def _times(scope: Scope, atom: Atom, k: int) -> Expr:
    one = _atom(scope, atom)
    return one if k == 1 else Bin("*", Num(str(k)), one)


def _atom(scope: Scope, atom: Atom) -> Expr:
    match atom:
        case Loop():
            return Name(scope.loops[atom])
        case Dim():
            return scope.size(atom.name)
        case Floor():
            return Bin("//", index(scope, atom.of), Num(str(atom.n)))
        case Mod():
            return Bin("%", index(scope, atom.of), Num(str(atom.n)))
        case Gather(source=BufferSource(buffer=name)):
            read = element(scope, name, atom.indices)
            unsigned = scope.arrays[name].dtype == "uint64"  # with an int64 it would be a float
            return call("int64", read) if unsigned else read
    raise TypeError(f"{atom!r} is no atom of an index of LOOPS")


def element(scope: Scope, name: str, indices: Sequence[Ix]) -> Expr:
    """An element of an array, or a register."""
    if name in scope.registers:
        return Name(scope.local[name])
    inside = tuple(index(scope, ix) for ix in indices) or (Name("()"),)
    return Item(Name(scope.local[name]), inside)


def condition(scope: Scope, guards: Iterable[Guard]) -> Expr:
    """Whether all guards hold: ``i >= j and i + j < 5``, never a difference compared with 0."""
    total: Expr | None = None
    for g in guards:
        one = _guard(scope, g)
        total = one if total is None else Bin("and", total, one)
    return Name("True") if total is None else total


def _guard(scope: Scope, g: Guard) -> Expr:
    positive = [(a, k) for a, k in g.ix.terms if k > 0]
    negative = [(a, -k) for a, k in g.ix.terms if k < 0]
    c = g.ix.const
    if g.kind == "==":
        left, right = (positive, negative) if positive else (negative, positive)
        c = c if positive else -c
        op = "=="
    elif positive:
        left, right, op = positive, negative, ">="
    else:
        return Cmp("<=", _sum(scope, negative, 0), integer(c))
    if right:
        both = _sum(scope, left, max(c, 0)), _sum(scope, right, max(-c, 0))
        if op == ">=" and c == -1:  # i - j - 1 >= 0
            return Cmp(">", _sum(scope, left, 0), _sum(scope, right, 0))
        return Cmp(op, *both)
    return Cmp(op, _sum(scope, left, 0), integer(-c))


# --- scalars --------------------------------------------------------------------------------------


def typed(scope: Scope, s: Scalar, want: Dtype) -> Expr:
    """The scalar converted to ``want``."""
    own = infer_dtype(s, scope.arrays, want)
    return _converted(_raw(scope, s, own), own, want)


def _converted(e: Expr, own: Dtype, want: Dtype) -> Expr:
    if own == want:
        return e
    return Cmp("!=", e, Num("0")) if want == "bool" else call(want, e)


def _number(value: object, dtype: Dtype) -> Expr:
    """A number of exactly this dtype."""
    if dtype == "bool":
        return Name(str(bool(value)))
    if isinstance(value, str):
        e: Expr = Name(f"np.{value.lstrip('-')}")
        e = Un("-", e) if value.startswith("-") else e
        return e if dtype == "float64" else call(dtype, e)
    assert isinstance(value, Fraction)
    text = literal(abs(value), dtype)
    if dtype == "float64" and text.isdigit():
        text += ".0"
    number: Expr = Name(text) if text.startswith("np") else Num(text)
    number = Un("-", number) if value < 0 else number
    return number if dtype in ("float64", "int64") else call(dtype, number)


def _whole(s: Scalar) -> bool:
    """Whether a scalar is a small integer, which any float holds."""
    return (
        isinstance(s, Number)
        and isinstance(s.value, Fraction)
        and s.value.denominator == 1
        and abs(s.value) < 1 << 20
    )


def _operand(scope: Scope, s: Scalar, other: Scalar, own: Dtype) -> Expr:
    """An operand of arithmetic in ``own``: as it is where Numba widens it to just that."""
    if own in ("float64", "int64") and isinstance(s, Number) and _whole(s):
        if not _whole(other):
            return integer(int(Fraction(s.value)))
    elif own in ("int32", "uint32") and isinstance(s, Number):
        return integer(int(Fraction(s.value)))
    dtype = infer_dtype(s, scope.arrays, own)
    widened = own == "float64" and infer_dtype(other, scope.arrays, own) == "float64"
    widened = widened and not scope.device
    if (dtype in ("int32", "int64") and widened) or (own, dtype) == ("int64", "int32"):
        return _raw(scope, s, dtype)
    return typed(scope, s, own)


def _wrapped(e: Expr, dtype: Dtype) -> Expr:
    """Arithmetic of integers of 32 bits is done in 64 by Numba: cut back."""
    return call(dtype, e) if dtype in ("int32", "uint32") else e


def _raw(scope: Scope, s: Scalar, own: Dtype) -> Expr:
    """The scalar in the dtype that it has."""
    match s:
        case Number(value):
            return _number(value, own)
        case Load(name, indices, guards):
            read = element(scope, name, indices)
            if not guards:
                return read
            return IfE(condition(scope, guards), read, _number(Fraction(0), own))
        case IndexValue(ix):
            return index(scope, ix)
        case Unary("-", x):
            return _wrapped(Un("-", typed(scope, x, own)), own)
        case Unary(_, x):
            return Un("not ", typed(scope, x, "bool"))
        case Binary("**", x, Number(Fraction() as n)):
            return _power(scope, x, int(n), own)
        case Binary(op, a, b):
            e = Bin(op, _operand(scope, a, b, own), _operand(scope, b, a, own))
            return _wrapped(e, own)
        case Compare(op, a, b):
            both = infer_dtype(Binary("+", a, b), scope.arrays)
            return Cmp(op, _compared(scope, a, both), _compared(scope, b, both))
        case Select(c, a, b):
            then, other = typed(scope, a, own), typed(scope, b, own)
            return IfE(typed(scope, c, "bool"), then, other)
        case Call():
            return _called(scope, s, own)
        case Cast(dtype, x):
            inner = infer_dtype(x, scope.arrays, dtype)
            return _converted(_raw(scope, x, inner), inner, dtype)
        case Round(x):
            return _computed(scope, "np.rint", [typed(scope, x, own)], own)
        case _:
            return _bits(scope, s, own)


def _compared(scope: Scope, s: Scalar, both: Dtype) -> Expr:
    if isinstance(s, Number) and _whole(s) and both != "uint64" and both != "bool":
        return integer(int(Fraction(s.value)))
    return typed(scope, s, both)


def _power(scope: Scope, x: Scalar, n: int, own: Dtype) -> Expr:
    """Small powers of names as products; Numba makes products of the others."""
    if n <= 0:
        one = _number(Fraction(1), own)
        return Bin("/", one, _power(scope, x, -n, own)) if n else one
    base = typed(scope, x, own)
    if n == 1:
        return base
    if (isinstance(base, Name | Num) and n <= 3) or own == "uint64":
        e: Expr = base
        for _ in range(n - 1):
            e = Bin("*", e, base)
    else:
        e = Bin("**", base, Num(str(n)))
    return _wrapped(e, own)


def _called(scope: Scope, s: Call, own: Dtype) -> Expr:
    """A function of the table. Helpers that return their argument's dtype exist in each; the
    others compute in float64, and are rounded once."""
    name = s.function
    kind = own
    if own == "bool":
        first = infer_dtype(s.args[0], scope.arrays)
        kind = first if is_float(first) else float_of(scope.arrays.values())
    args = [typed(scope, a, kind) for a in s.args]
    if function(name).result == "integer":
        callee = numba_spelling(name)
        scope.helpers[callee, "int64"] = None
        return call(callee, *args)
    if not is_float(kind):
        return _wrapped(_on_integers(name, args), kind)
    callee = numba_spelling(name)
    if callee not in NUMBA_HELPERS:
        return _computed(scope, callee, args, kind)
    exact = function(name).result == "argument" or name == "strong_mul"
    if scope.device:
        exact = name in ("maximum", "minimum")  # they return one of their arguments
    scope.helpers[callee, kind if exact else "float64"] = None
    e = call(callee, *args)
    return e if exact or kind == "float64" else call(kind, e)


def _computed(scope: Scope, callee: str, args: Sequence[Expr], kind: Dtype) -> Expr:
    """A function of a library, or the helper that stands for it, which computes in float64."""
    if callee not in scope.instead:
        return call(callee, *args)
    scope.helpers[scope.instead[callee], "float64"] = None
    e = call(scope.instead[callee], *args)
    return e if kind == "float64" else call(kind, e)


def _on_integers(name: str, args: Sequence[Expr]) -> Expr:
    if name in _ON_INTEGERS:
        return call(_ON_INTEGERS[name], *args)
    if name == "sign":
        above, below = (call("int64", Cmp(op, args[0], Num("0"))) for op in (">", "<"))
        return Bin("-", above, below)
    if name in ("floor", "ceil", "round"):
        return args[0]
    raise UnsupportedFunction(f"the numba backend has no {name} of integers: cast to a float first")


def _bits(scope: Scope, s: Scalar, own: Dtype) -> Expr:
    """What acts on the bits of numbers."""
    match s:
        case Bitcast(dtype, x):
            inner = infer_dtype(x, scope.arrays)
            return method(call(inner, typed(scope, x, inner)), "view", Name(dtype))
        case Shift(x, places):
            unsigned: Dtype = "uint64" if own in ("int64", "uint64") else "uint32"
            bits = _converted(typed(scope, x, own), own, unsigned)
            by = _number(Fraction(abs(places)), "uint64" if unsigned == "uint64" else "int64")
            shifted = Bin("<<" if places > 0 else ">>", bits, by)
            return shifted if own == "uint64" else call(own, shifted)
        case And(a, b) | Or(a, b) | Xor(a, b):
            left, right = typed(scope, a, own), typed(scope, b, own)
            if own != "bool":
                return _wrapped(Bin(_BITS[type(s)], left, right), own)
            word = _WORDS[type(s)]
            return Cmp(word, left, right) if word == "!=" else Bin(word, left, right)
        case MulHigh(a, b) if own == "uint32":
            wide = [call("uint64", typed(scope, x, own)) for x in (a, b)]
            return call(own, Bin(">>", Bin("*", *wide), call("uint64", Num("32"))))
        case MulHigh():
            raise UnsupportedFunction(
                "the numba backend multiplies to the upper half in uint32 only: "
                "use a 32-bit generator"
            )
        case Fma(a, b, c) if own == "float32":
            parts = [call("float64", typed(scope, part, own)) for part in (a, b, c)]
            return call(own, Bin("+", Bin("*", parts[0], parts[1]), parts[2]))
        case Fma():
            raise UnsupportedFunction(
                "the numba backend has no fused multiply-add in float64: use float32"
            )
    raise TypeError(f"{type(s).__name__} is no scalar of PROGRAM")
