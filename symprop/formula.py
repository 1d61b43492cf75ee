"""The bridge between SymPy and Term: reading formulas in, giving small expressions back.

In: SymPy expressions over known symbols, in SymPy's functions or in the symbols of our own ops.
Out: Terms (`from_sympy`), and SymPy expressions of Terms (`to_sympy`).

Guarantees: a Term made here holds exact rationals only (a float stands for the decimal it is
written as; no NaN, no infinity); no text is ever given to SymPy's parser; depth, size, exponents
and numbers are bounded; whatever is not understood is refused by name. Our own symbols evaluate
nothing and differentiate by the declared derivatives; a selection differentiates branch by branch
(SymPy's Piecewise, Max and Abs are only read, never differentiated).

It does not declare ops (``symprop.ops.declare``) and does not simplify.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any, ClassVar

import sympy
from sympy.logic.boolalg import Boolean, BooleanFalse, BooleanTrue

from symprop import term as tm
from symprop.errors import DeclarationError, quoted
from symprop.term import Call, Function, Num, Prod, Read, Sum, Term

__all__ = ["OpSymbol", "exact", "from_sympy", "select_", "symbol_of", "to_sympy"]

MAX_DEPTH = 200
MAX_SIZE = 20_000
MAX_EXPONENT = 1_000
MAX_ORDER = 20  # of a derivative in a family of functions
MAX_BITS = 4_096  # of a numerator or denominator: floats need at most 1,075

NATIVE: dict[Any, Function] = {}
"""SymPy's own function classes, and the names sqrt and power, to our functions: filled by ops."""

FAMILIES: dict[Any, Callable[[int], Function]] = {}
"""SymPy's functions of a whole order and an argument, to ours of that order: filled by ops."""


class OpSymbol(sympy.Function):  # type: ignore[misc]
    """A function of ours inside SymPy: never evaluated, differentiated as declared."""

    function: ClassVar[Function]

    def fdiff(self, argindex: int = 1) -> Any:
        """The declared derivative with respect to one argument."""
        partial = self.function.partial(argindex - 1)
        return sympy.S.Zero if partial is None else to_sympy(partial, self.args)

    def _eval_evalf(self, prec: int) -> None:
        """No number: mpmath may have another function, or a constant, of the same name."""


class select_(sympy.Function):  # type: ignore[misc]  # noqa: N801
    """select_(c, a, b): a where c holds, else b; each branch is differentiated alone."""

    nargs = 3

    @classmethod
    def eval(cls, c: Any, a: Any, b: Any) -> Any:
        """A branch, when the condition is decided or the branches are one."""
        if isinstance(c, BooleanTrue) or a == b:
            return a
        return b if isinstance(c, BooleanFalse) else None

    def _eval_derivative(self, s: Any) -> Any:
        c, a, b = self.args
        return select_(c, a.diff(s), b.diff(s))


_STRUCTURAL: dict[Function, Any] = {}


def make_symbol(name: str, function: Function) -> Any:
    """A new class of `OpSymbol` for a function."""
    return type(name, (OpSymbol,), {"nargs": function.arity, "function": function})


def is_truth(e: Any) -> bool:
    """Whether a SymPy object is a truth value (SymPy counts its symbols among them)."""
    return isinstance(e, Boolean) and not isinstance(e, sympy.Symbol)


def symbol_of(function: Function) -> Any:
    """The SymPy class that stands for one of our functions."""
    own = getattr(function, "symbol", None)
    if own is not None:
        return own
    if function not in _STRUCTURAL:
        _STRUCTURAL[function] = make_symbol(function.name, function)
    return _STRUCTURAL[function]


def exact(value: object) -> Any:
    """A number or a SymPy expression, as SymPy: floats stand for the decimal they print as."""
    if isinstance(value, sympy.Float):
        value = _decimal(value)
    if isinstance(value, sympy.Basic):
        return value
    if isinstance(value, bool | str | bytes):
        raise DeclarationError(
            f"a formula has {type(value).__name__} {quoted(value)} where a number or a symbolic "
            f"scalar is expected"
        )
    q = as_fraction(value)
    return sympy.Rational(q.numerator, q.denominator)


def as_fraction(value: object) -> Fraction:
    """A finite number as the exact rational it is written as (0.1 is 1/10)."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, str | bytes):
        raise DeclarationError(
            f"{quoted(value)} is text, where a finite number is expected: drop the quotes"
        )
    if isinstance(value, sympy.Rational):
        return Fraction(int(value.p), int(value.q))
    try:
        if isinstance(value, int) or hasattr(value, "__index__"):
            return Fraction(int(value))  # type: ignore[call-overload, no-any-return, unused-ignore]
        return Fraction(repr(float(value)))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise DeclarationError(
            f"a formula has {quoted(value)} of type {type(value).__name__} where a finite number "
            f"or a symbolic scalar is expected"
        ) from None


def _decimal(value: Any) -> Fraction:
    """A SymPy Float as the exact decimal it is written as."""
    try:
        return Fraction(repr(float(value)) if value._prec <= 53 else str(value))
    except (ValueError, OverflowError):
        raise DeclarationError(
            f"a formula has the number {quoted(value)} where a finite one is expected"
        ) from None


def from_sympy(expr: object, symbols: Mapping[Any, Term]) -> Term:
    """The Term of a SymPy expression (or a number) whose symbols are given as Terms.

    Raises DeclarationError for a function, symbol, number or size that a Term cannot hold.
    """
    root = exact(expr)
    measure(root)
    memo: dict[Any, Term] = dict(symbols)

    def go(e: Any) -> Term:
        found = memo.get(e)
        if found is None:
            known = isinstance(e, _KNOWN) or e in (sympy.pi, sympy.E) or e.func in FAMILIES
            if not (known or native(e.func, None)):
                raise _unknown(e)
            found = memo[e] = _convert(e, [go(a) for a in e.args if not _is_pair(a)], go)
        return found

    try:
        return go(root)
    except ZeroDivisionError:
        raise DeclarationError("a formula divides by the constant 0") from None


def _is_pair(e: Any) -> bool:
    return isinstance(e, sympy.functions.elementary.piecewise.ExprCondPair)


_RELATIONS: tuple[tuple[Any, Function, bool], ...] = (
    (sympy.StrictLessThan, tm.LT, False),
    (sympy.LessThan, tm.LE, False),
    (sympy.StrictGreaterThan, tm.LT, True),
    (sympy.GreaterThan, tm.LE, True),
    (sympy.Equality, tm.EQ, False),
    (sympy.Unequality, tm.NE, False),
)

_KNOWN: tuple[Any, ...] = (
    OpSymbol,
    select_,
    sympy.Rational,
    sympy.Float,
    sympy.Add,
    sympy.Mul,
    sympy.Pow,
    sympy.Piecewise,
    BooleanTrue,
    BooleanFalse,
    sympy.Not,
    sympy.And,
    sympy.Or,
    sympy.ITE,
    *(cls for cls, _, _ in _RELATIONS),
)
"""What a formula may be made of, besides pi, e and the functions in `NATIVE`."""


def _convert(e: Any, args: list[Term], go: Any) -> Term:
    if isinstance(e, sympy.Rational):
        return tm.num(_bounded(as_fraction(e)))
    if isinstance(e, sympy.Float):
        return tm.num(_bounded(_decimal(e)))
    if e is sympy.pi:
        return tm.call(tm.PI)
    if e is sympy.E:
        return tm.call(native(sympy.exp), 1)
    if isinstance(e, sympy.Add):
        return tm.add(*args)
    if isinstance(e, sympy.Mul):
        return tm.mul(*args)
    if isinstance(e, sympy.Pow):
        return _power(args[0], args[1], e)
    if isinstance(e, OpSymbol):
        return tm.call(e.function, *args)
    if isinstance(e, select_):
        return tm.call(tm.SELECT, *args)
    if isinstance(e, sympy.Piecewise):
        out = tm.call(tm.NAN)  # where no condition holds
        for value, condition in reversed(e.args):
            out = tm.call(tm.SELECT, go(condition), go(value), out)
        return out
    if e.func in FAMILIES:
        return tm.call(_member(e), args[1])
    if isinstance(e, BooleanTrue | BooleanFalse):
        return tm.num(int(bool(e)))
    for cls, fn, swap in _RELATIONS:
        if isinstance(e, cls):
            return tm.call(fn, *(reversed(args) if swap else args))
    if isinstance(e, sympy.Not):
        return tm.call(tm.NOT, args[0])
    if isinstance(e, sympy.ITE):
        return tm.call(tm.SELECT, *args)
    if isinstance(e, sympy.And | sympy.Or | sympy.Max | sympy.Min):
        both = {sympy.And: tm.AND, sympy.Or: tm.OR}.get(e.func) or native(e.func)
        args.sort(key=lambda t: t.digest)  # SymPy keeps these in a set
        return reduce(lambda a, b: tm.call(both, a, b), args)
    return tm.call(native(e.func), *args)


def _member(e: Any) -> Function:
    """The function of a family whose order is a whole number that is written out."""
    order = e.args[0]
    if not (isinstance(order, sympy.Integer) and 0 <= order <= MAX_ORDER):
        raise DeclarationError(
            f"a formula has {quoted(e.func.__name__)} of the order {quoted(order)}, where a whole "
            f"number from 0 to {MAX_ORDER} is expected"
        )
    return FAMILIES[e.func](int(order))


def _unknown(e: Any) -> DeclarationError:
    if isinstance(e, sympy.Symbol):
        return DeclarationError(
            f"a formula has the symbol {quoted(e.name)}, which is none of its arguments"
        )
    if isinstance(e, sympy.Function):
        return DeclarationError(
            f"a formula has the function {quoted(e.func.__name__)}, which symprop does not know: "
            f"write it with prop's functions, or declare it with prop.elementwise"
        )
    what = e.name if hasattr(e, "name") else e if isinstance(e, sympy.Atom) else type(e).__name__
    return DeclarationError(
        f"a formula has {quoted(what)}, where real arithmetic, comparisons and prop's functions "
        f"are expected"
    )


_REQUIRED = object()


def native(key: Any, default: Any = _REQUIRED) -> Any:
    """Our function for one of SymPy's (or for the names sqrt and power)."""
    if not NATIVE:
        import symprop.ops.elementwise  # noqa: F401  (fills the table)
    return NATIVE[key] if default is _REQUIRED else NATIVE.get(key, default)


def _power(base: Term, exponent: Term, e: Any) -> Term:
    """base ** exponent: products for integers, sqrt for halves, the op power for the rest."""
    if isinstance(exponent, Num):
        q = exponent.value
        if abs(q) > MAX_EXPONENT:
            raise DeclarationError(
                f"a formula has the exponent {quoted(q)}, where at most {MAX_EXPONENT} is "
                f"expected: use exp and log for larger ones"
            )
        if q.denominator == 1:
            if isinstance(base, Num):
                _bounded(base.value, abs(int(q)))
                return tm.num(base.value ** int(q))
            return tm.power(base, int(q))
        if q.denominator == 2:
            return tm.power(tm.call(native("sqrt"), base), q.numerator)
    if e.base is sympy.E:
        return tm.call(native(sympy.exp), exponent)
    return tm.call(native("power"), base, exponent)


def _bounded(q: Fraction, times: int = 1) -> Fraction:
    if max(q.numerator.bit_length(), q.denominator.bit_length()) * times > MAX_BITS:
        raise DeclarationError(
            f"a formula has a number of more than {MAX_BITS} bits: no float holds it"
        )
    return q


def measure(root: Any) -> None:
    """Refuse an expression that is too deep or too large, without recursion."""
    seen = {root}
    layer, depth = [root], 0
    while layer:
        depth += 1
        below = []
        for e in layer:
            for a in e.args:
                if a not in seen:
                    seen.add(a)
                    below.append(a)
        if depth > MAX_DEPTH or len(seen) > MAX_SIZE:
            raise DeclarationError(
                f"a formula is deeper than {MAX_DEPTH} or has more than {MAX_SIZE} parts: split "
                f"it into several expressions"
            )
        layer = below


_TO_RELATION = {tm.LT: sympy.Lt, tm.LE: sympy.Le, tm.EQ: sympy.Eq, tm.NE: sympy.Ne}
_TO_CONSTANT = {tm.PI: sympy.pi, tm.INFINITY: sympy.oo, tm.NAN: sympy.nan}


def to_sympy(term: Term, names: Sequence[Any]) -> Any:
    """The SymPy expression of a Term, read k standing as ``names[k]``.

    Our functions appear as their symbols; a truth value inside arithmetic is a selection of 1, 0.
    """
    memo: dict[Term, Any] = {}

    def number(t: Term) -> Any:
        e = go(t)
        return select_(e, sympy.S.One, sympy.S.Zero) if is_truth(e) else e

    def condition(t: Term) -> Any:
        e = go(t)
        return e if is_truth(e) else sympy.Ne(e, 0)

    def build(t: Term) -> Any:
        if isinstance(t, Num):
            return sympy.Rational(t.value.numerator, t.value.denominator)
        if isinstance(t, Read):
            return names[t.k]
        if isinstance(t, Sum):
            return sympy.Add(
                *(sympy.Rational(k.numerator, k.denominator) * number(x) for x, k in t.terms),
                sympy.Rational(t.const.numerator, t.const.denominator),
            )
        if isinstance(t, Prod):
            return sympy.Mul(*(number(b) ** n for b, n in t.factors))
        assert isinstance(t, Call)
        if t.fn in _TO_CONSTANT:
            return _TO_CONSTANT[t.fn]
        if t.fn is tm.SELECT:
            return select_(condition(t.args[0]), number(t.args[1]), number(t.args[2]))
        if t.fn in _TO_RELATION:
            return _TO_RELATION[t.fn](number(t.args[0]), number(t.args[1]))
        if t.fn in (tm.NOT, tm.AND, tm.OR):
            logic = {tm.NOT: sympy.Not, tm.AND: sympy.And, tm.OR: sympy.Or}[t.fn]
            return logic(*map(condition, t.args))
        return symbol_of(t.fn)(*map(number, t.args))

    def go(t: Term) -> Any:
        if t not in memo:
            memo[t] = build(t)
        return memo[t]

    return go(term)
