"""Term -> Scalar: the formula inside one value as the arithmetic that a backend prints.

In: a term, the scalar and the kind of each of its reads, and the float that the value computes
in. Out: one ``codegen.program.Scalar`` of the value's dtype.

    kind := bool | int32 | int64 | float32 | float64 | number (of any dtype) | size

Guarantees: the same real value. a - b and a / b are restored; 1/n is a division by n where n is a
power of two or 1/n has no short decimal; constants without reads are folded at 40 digits; an
integer or truth value that meets floats is cast, so that no backend widens it (sizes, which are
plain integers there, stay); the order of terms and factors follows ``Reads.place``, never a
digest alone. Functions that no table has are expanded, and ``stop_gradient`` is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce
from typing import Any, Literal, cast

from codegen.program import (
    And,
    Binary,
    Call,
    Cast,
    Compare,
    Dtype,
    Number,
    Or,
    Scalar,
    Select,
    Unary,
)
from symprop import term as t
from symprop.expand import IN_DOUBLE, OUTSIDE, expand, fold
from symprop.term import Term

__all__ = ["FLOATS", "Kind", "Place", "Reads", "scalar"]

FLOATS = ("float32", "float64")
SHORT = 6  # digits of a decimal that reads better than a quotient

Kind = Literal["bool", "int32", "int64", "float32", "float64", "number", "size"]
_RANK: dict[str, int] = {
    k: n for n, k in enumerate(("number", "size", "bool", "int32", "int64", "float32", "float64"))
}


@dataclass(frozen=True)
class Place:
    """Where a read stands in an ordered sum or product.

    ``group`` comes first in sums: states, then values and inputs, then parameters. ``position``
    is that of the buffer in the program; ``single`` is a value without axes.
    """

    group: int
    position: int
    single: bool


@dataclass(frozen=True)
class Reads:
    """What the reads of a term are: scalars, kinds and places, by number."""

    scalars: Sequence[Scalar]
    kinds: Sequence[Kind]
    places: Sequence[Place]


def scalar(term: Term, reads: Reads, dtype: Dtype, compute: Dtype) -> Scalar:
    """The formula in ``dtype``; floats inside are computed in ``compute``."""
    return _Conversion(reads, compute).value(expand(term), dtype)


# --- conversion ----------------------------------------------------------------------------------


class _Conversion:
    """One term; memoised by subterm and by what is wanted of it. ``outer``: of the formula, where
    this one is of a part that is computed in float64."""

    def __init__(self, reads: Reads, compute: Dtype, outer: _Conversion | None = None) -> None:
        self.reads, self.compute, self.outer = reads, compute, outer
        self.kinds: dict[Term, Kind] = {}
        self.made: dict[tuple[Term, bool], Scalar] = {}

    def value(self, term: Term, dtype: Dtype) -> Scalar:
        """The term in the dtype of the buffer it is stored in."""
        kind = self.kind(term)
        if dtype in FLOATS:
            found = self.whole(term)
            return found if dtype == self.compute or kind == "number" else Cast(dtype, found)
        found = self.plain(term)
        if kind in ("number", dtype):
            return found
        if dtype == "bool":
            return Compare("!=", found, Number(Fraction(0)))
        return found if kind == "size" and dtype == "int64" else Cast(dtype, found)

    # --- kinds -------------------------------------------------------------------------------

    def kind(self, term: Term) -> Kind:
        found = self.kinds.get(term)
        if found is None:
            found = self.kinds[term] = self._kind(term)
        return found

    def _kind(self, x: Term) -> Kind:
        if isinstance(x, t.Num):
            return "number"
        if isinstance(x, t.Read):
            return self.reads.kinds[x.k]
        if not x.reads and not self._boolean(x):
            return "number"
        if isinstance(x, t.Sum):
            parts = [self.kind(y) for y, _ in x.terms]
            whole = all(k.denominator == 1 for _, k in x.terms) and x.const.denominator == 1
            return self._arithmetic(parts, whole)
        if isinstance(x, t.Prod):
            return self._arithmetic([self.kind(b) for b, _ in x.factors],
                                    all(n > 0 for _, n in x.factors))  # fmt: skip
        assert isinstance(x, t.Call)
        if x.fn is t.SELECT:
            return self._widest([self.kind(a) for a in x.args[1:]])
        if x.fn.kind == "bool":
            return "bool"
        if x.fn.kind in ("int32", "int64", "float32", "float64"):
            return cast(Kind, x.fn.kind)
        kinds = [self.kind(a) for a in x.args]
        whole = x.fn.kind == "same" and not any(k in FLOATS for k in kinds)
        if whole and x.fn.name in ("abs", "sign", "maximum", "minimum"):
            return self._arithmetic(kinds, True)
        return cast(Kind, self.compute)

    def _boolean(self, x: Term) -> bool:
        return isinstance(x, t.Call) and x.fn.kind == "bool"

    def _widest(self, kinds: Sequence[Kind]) -> Kind:
        return max(kinds, key=_RANK.__getitem__)

    def _arithmetic(self, kinds: Sequence[Kind], whole: bool) -> Kind:
        widest = self._widest(kinds)
        if widest == "bool":
            widest = "int64"
        if whole or widest in FLOATS or widest == "number":
            return widest
        return "size" if widest == "size" else cast(Kind, self.compute)

    # --- floats --------------------------------------------------------------------------------

    def floating(self, term: Term) -> Scalar:
        """The term as a float, every integer that comes from data cast."""
        key = (term, True)
        found = self.made.get(key)
        if found is None:
            kind = self.kind(term)
            if isinstance(term, t.Call) and term.fn is t.SELECT:
                found = self.select(term, self.floating)
            elif kind in ("bool", "int32", "int64") or self._other(term, kind):
                found = Cast(self.compute, self.plain(term))
            else:
                found = self.built(term, self.floating)
            self.made[key] = found
        return found

    def _other(self, term: Term, kind: Kind) -> bool:
        """Whether a value is stored in a float of another width than this formula's."""
        stored = isinstance(term, t.Read) or self._casts(term)
        return stored and kind in FLOATS and kind != self.compute

    def argument(self, term: Term) -> Scalar:
        """A float handed to a function: a bare size would become float64 there."""
        found = self.floating(term)
        return Cast(self.compute, found) if self.kind(term) == "size" else found

    def whole(self, term: Term) -> Scalar:
        """A term that is all of a value, or of a branch: k / x**n is divided by x again and again,
        for the power may be out of range where the quotient is not."""
        if isinstance(term, t.Call) and term.fn is t.SELECT:
            return self.select(term, self.whole)
        k, x = t.coefficient(term)
        if isinstance(x, t.Prod) and len(x.factors) == 1:
            ((base, n),) = x.factors
            if n < -1 and _plain(base) and self.kind(base) in FLOATS:
                return self.divided(k, base, -n)
        return self.floating(term)

    # --- as it is ------------------------------------------------------------------------------

    def plain(self, term: Term) -> Scalar:
        """The term in its own kind."""
        key = (term, False)
        found = self.made.get(key)
        if found is None:
            kind = self.kind(term)
            if kind in FLOATS and not isinstance(term, t.Read) and not self._casts(term):
                found = self.floating(term)
            elif isinstance(term, t.Call) and term.fn is t.SELECT:
                found = self.select(term, lambda a: self.integer(a, kind))
            else:
                found = self.built(term, lambda a: self.integer(a, kind))
            self.made[key] = found
        return found

    def integer(self, term: Term, kind: Kind) -> Scalar:
        """An operand of integer arithmetic: truth values counted as 0 and 1."""
        found = self.plain(term)
        if self.kind(term) == "bool" and kind in ("int32", "int64"):
            return Cast(cast(Dtype, kind), found)
        return found

    def _casts(self, term: Term) -> bool:
        return isinstance(term, t.Call) and term.fn.name[:5] == "cast_"

    def truth(self, term: Term) -> Scalar:
        """A condition."""
        if isinstance(term, t.Num):
            return Compare("!=", Number(term.value), Number(Fraction(0)))
        found = self.plain(term)
        return found if self.kind(term) == "bool" else Compare("!=", found, Number(Fraction(0)))

    def select(self, term: t.Call, of: Any) -> Scalar:
        c, a, b = term.args
        if isinstance(c, t.Call) and c.fn is t.NOT:
            c, a, b = c.args[0], b, a
        return Select(self.truth(c), of(a), of(b))

    # --- structure -----------------------------------------------------------------------------

    def built(self, x: Term, of: Any) -> Scalar:
        """The term from its operands' scalars."""
        if isinstance(x, t.Read):
            return self.reads.scalars[x.k]
        if isinstance(x, t.Num):
            return Number(x.value)
        if isinstance(x, t.Sum):
            return self.sum(x, of)
        if isinstance(x, t.Prod):
            return self.scaled(Fraction(1), x, of)
        assert isinstance(x, t.Call)
        return self.call(x)

    def call(self, x: t.Call) -> Scalar:
        name, args = x.fn.name, x.args
        if x.fn is t.INFINITY or x.fn is t.NAN:
            return Number("inf" if x.fn is t.INFINITY else "nan")
        if name in ("lt", "le", "eq", "ne"):
            return self.compare(name, *args)
        if x.fn is t.NOT:
            return Unary("not", self.truth(args[0]))
        if x.fn is t.AND or x.fn is t.OR:
            made = And if x.fn is t.AND else Or
            return made(self.truth(args[0]), self.truth(args[1]))
        if name.startswith("cast_"):
            return self.cast(x)
        if x.fn is IN_DOUBLE:
            return self.in_double(args[0])
        if x.fn is OUTSIDE:
            return self.outside(args[0])
        if not x.reads:
            exact = fold(x)
            if exact is not None:
                return Number(exact)
        if self.kind(x) in ("int32", "int64", "size"):
            kind = self.kind(x)
            return Call(name, tuple(self.integer(a, kind) for a in args))
        return Call(name, tuple(map(self.argument, args)))

    def in_double(self, x: Term) -> Scalar:
        """A part that is computed in float64, rounded."""
        if self.compute == "float64":
            return self.whole(x)
        return Cast(self.compute, self.double.whole(x))

    @cached_property
    def double(self) -> _Conversion:
        """Of the parts in float64, which share what they have in common."""
        return _Conversion(self.reads, "float64", self)

    def outside(self, x: Term) -> Scalar:
        """An argument of such a part."""
        return self.floating(x) if self.outer is None else Cast("float64", self.outer.floating(x))

    def cast(self, x: t.Call) -> Scalar:
        (arg,) = x.args
        kind, found = self.kind(arg), self.plain(arg)
        wanted = self.compute if x.fn.kind == "float" else cast(Dtype, x.fn.kind)
        if kind == wanted:
            return found
        if wanted == "bool":
            return Compare("!=", found, Number(Fraction(0)))
        return Cast(wanted, found)

    def compare(self, name: str, a: Term, b: Term) -> Scalar:
        kinds = [self.kind(a), self.kind(b)]
        floats = any(k in FLOATS for k in kinds)
        fractions = any(isinstance(x, t.Num) and x.value.denominator > 1 for x in (a, b))
        of = self.floating if floats or fractions else self.plain
        ops = {"lt": "<", "le": "<=", "eq": "==", "ne": "!="}
        left, right, op = of(a), of(b), ops[name]
        if not a.reads and b.reads:
            left, right, op = right, left, {"<": ">", "<=": ">="}.get(op, op)
        elif op in ("==", "!=") and self.sum_key(b) < self.sum_key(a):
            left, right = right, left
        return Compare(cast(Any, op), left, right)

    # --- sums ------------------------------------------------------------------------------------

    def sum(self, x: t.Sum, of: Any) -> Scalar:
        const, parts = x.const, []
        for y, k in x.terms:
            exact = fold(y) if not y.reads else None
            if exact is not None:
                const += k * exact
            else:
                parts.append((y, k))
        parts.sort(key=lambda yk: self.sum_key(yk[0]))
        first = next((n for n, (_, k) in enumerate(parts) if k > 0), None)
        if first is None and parts and const > 0:
            total: Scalar = Number(const)
            const = Fraction(0)
        elif not parts:
            return Number(const)
        else:
            y, k = parts.pop(first or 0)
            total = self.scaled(k, y, of)
        for y, k in parts:
            op: Literal["+", "-"] = "-" if k < 0 else "+"
            total = Binary(op, total, self.scaled(abs(k), y, of))
        if const:
            total = Binary("-" if const < 0 else "+", total, Number(abs(const)))
        return total

    def sum_key(self, x: Term) -> tuple[Any, ...]:
        """Early values first, parameters last, short before long."""
        if not x.reads:
            return (9, 0, 0, x.digest)
        places = [self.reads.places[k] for k in x.reads]
        first = min(p.group for p in places)
        latest = max(p.position for p in places)
        return (first, latest, t.operations(x), x.digest)

    # --- products --------------------------------------------------------------------------------

    def scaled(self, k: Fraction, x: Term, of: Any) -> Scalar:
        """k * x with quotients restored."""
        factors = list(x.factors) if isinstance(x, t.Prod) else [(x, 1)]
        above: list[tuple[Term, int]] = []
        below: list[tuple[Term, int]] = []
        for base, n in factors:
            exact = fold(base) if not base.reads else None
            if exact:
                k *= exact**n
            elif exact == 0 and n < 0:  # 1/0, as floats have it
                above.append((t.call(t.INFINITY), 1))
            elif n > 0:
                above.append((base, n))
            else:
                below.append((base, -n))
        sign, k = k < 0, abs(k)
        over, under = _split(k, bool(above))
        tops = self.powers(above, of)
        downs = self.powers(below, of)
        if over != 1 or not tops:
            tops.insert(0, Number(over))
        if under != 1:
            downs.insert(0, Number(under))
        if sign:
            tops[0] = _negated(tops[0])
        found = reduce(_times, tops)
        return Binary("/", found, reduce(_times, downs)) if downs else found

    def divided(self, k: Fraction, base: Term, n: int) -> Scalar:
        """k / x**n, x by x."""
        over, under = _split(abs(k), False)
        divisor = self.floating(base)
        found: Scalar = Number(-over if k < 0 else over)
        for m in range(n):
            first = under != 1 and m == 0
            found = Binary("/", found, _times(Number(under), divisor) if first else divisor)
        return found

    def powers(self, factors: list[tuple[Term, int]], of: Any) -> list[Scalar]:
        """The factors in order, floats of one power multiplied first: x**2 may be out of range
        where (x*y)**2 is not."""
        found: list[Scalar] = []
        merged: dict[int, int] = {}  # where the product of a power stands
        for base, n in sorted(factors, key=self.product_key):
            x = cast(Scalar, of(base))
            if n > 1 and self.kind(base) in FLOATS and n in merged:
                before = cast(Binary, found[merged[n]])
                found[merged[n]] = Binary("**", _times(before.left, x), before.right)
                continue
            if n > 1 and self.kind(base) in FLOATS:
                merged[n] = len(found)
            found.append(x if n == 1 else Binary("**", x, Number(Fraction(n))))
        return found

    def product_key(self, factor: tuple[Term, int]) -> tuple[Any, ...]:
        """Numbers, then values without axes, then the latest value first; parameters last."""
        x, n = factor
        if not x.reads:
            return (0, 0, 0, 0, x.digest)
        places = [self.reads.places[k] for k in x.reads]
        single = all(p.single for p in places)
        parameter = isinstance(x, t.Read) and places[0].group == 2
        latest = max(p.position for p in places)
        plain = isinstance(x, t.Read)
        return (1 if single else 3 if parameter else 2, not plain, -latest, n, x.digest)


def _plain(x: Term) -> bool:
    """Whether it is a read, from inside of a part in float64 too."""
    return isinstance(x, t.Read) or (isinstance(x, t.Call) and x.fn is OUTSIDE)


def _times(a: Scalar, b: Scalar) -> Scalar:
    return Binary("*", a, b)


def _negated(x: Scalar) -> Scalar:
    if isinstance(x, Number) and isinstance(x.value, Fraction):
        return Number(-x.value)
    if isinstance(x, Number) and x.value == "inf":
        return Number("-inf")
    return Unary("-", x)


def _split(k: Fraction, above: bool) -> tuple[Fraction, Fraction]:
    """k = over/under as a reader would write it in front of a product."""
    p, q = k.numerator, k.denominator
    if q == 1:
        return k, Fraction(1)
    two = q & (q - 1) == 0
    if above and p == 1 and q < 10**SHORT and (two or not _short(k)):
        return Fraction(1), Fraction(q)
    if not _short(k) and p < 1000 and q < 1000:
        return Fraction(p), Fraction(q)
    return k, Fraction(1)


def _short(k: Fraction) -> bool:
    """Whether k is a decimal of few digits."""
    q = k.denominator
    while q % 2 == 0:
        q //= 2
    while q % 5 == 0:
        q //= 5
    return q == 1 and len(f"{float(k):.12g}".replace("0.", "").strip("0")) <= SHORT
