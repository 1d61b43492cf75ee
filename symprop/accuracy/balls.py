"""A formula in ball arithmetic: an interval that is proved to hold its exact value.

In: a Term over reads 0, 1, ... Out: `Balls`, which takes exact numbers and a precision in bits and
gives a ball of python-flint (Arb).

Guarantees: a ball that is not finite, or wide, says that the precision was not enough or that the
formula has no value there, never a wrong value; a selection is decided only when its condition is
certain. An op is evaluated by its definition, but for those that Arb has (`ROWS`).

It needs python-flint, imported when the first formula is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import factorial
from typing import Any, TypeAlias

from symprop import term as tm
from symprop.errors import UnsupportedError, install, quoted
from symprop.term import Call, Function, Num, Prod, Read, Sum, Term

__all__ = ["ROWS", "Balls", "flint", "opened"]

Ball: TypeAlias = Any  # of python-flint, which has no types
Step = tuple[Callable[..., Any], tuple[int, ...]]
LARGEST_POWER = 8  # beyond, a power is Arb's own


@cache
def flint() -> Any:
    """The module python-flint."""
    try:
        import flint as module
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            "symprop accuracy decides by ball arithmetic, which needs the package python-flint: "
            f"run  {install('python-flint>=0.7')}"
        ) from error
    return module


# --- functions that Arb has -----------------------------------------------------------------------


def _log_gamma(x: Ball) -> Ball:
    """log |gamma(x)|; by reflection where x is negative."""
    if x > 0:
        return x.lgamma()
    arb = flint().arb
    return arb.pi().log() - abs(x.sin_pi()).log() - (1 - x).lgamma()


def _polygamma(n: int) -> Callable[[Ball], Ball]:
    """The derivative of order n of digamma, by Hurwitz's zeta function: DLMF 25.11.12."""
    factor = factorial(n) * (1 if n % 2 else -1)
    return lambda x: flint().arb(n + 1).zeta(x) * factor


def _cube_root(x: Ball) -> Ball:
    if x > 0:
        return x.root(3)
    if x < 0:
        return -(-x).root(3)
    return flint().arb(0, x.abs_upper().root(3)) if not x.is_zero() else x


def _round(x: Ball) -> Ball:
    """The nearest integer, the even one of two."""
    half = flint().arb(1) / 2
    below = (x - half).floor()
    tie = bool(x - half == below)  # False where the balls do not decide
    if not tie:
        return (x + half).floor()
    return below if (below / 2) == (below / 2).floor() else below + 1


def _sigmoid(x: Ball) -> Ball:
    """By the exponential that is small: a ball of large numbers of many sizes holds 0 too."""
    if x > 0:
        return 1 / (1 + (-x).exp())
    return x.exp() / (1 + x.exp())


def _sech2(x: Ball) -> Ball:
    y = x.sech()
    return y * y  # y**2 is NaN for a ball of numbers of many sizes


def _select(c: bool | None, a: Ball, b: Ball) -> Ball:
    return flint().arb.nan() if c is None else a if c else b


def _strong(g: Ball, d: Ball) -> Ball:
    return g if g.is_zero() else g * d


def _number(c: bool | None) -> Ball:
    arb = flint().arb
    return arb.nan() if c is None else arb(int(c))


def _sign(x: Ball) -> Ball:
    return flint().arb(1 if x > 0 else -1 if x < 0 else 0) if x.is_exact() else x.sgn()


ROWS: dict[str, Callable[..., Ball]] = {
    "exp": lambda x: x.exp(),
    "expm1": lambda x: x.expm1(),
    "log": lambda x: x.log(),
    "log1p": lambda x: x.log1p(),
    "sqrt": lambda x: x.sqrt(),
    "cbrt": _cube_root,
    "sin": lambda x: x.sin(),
    "cos": lambda x: x.cos(),
    "tan": lambda x: x.tan(),
    "asin": lambda x: x.asin(),
    "acos": lambda x: x.acos(),
    "atan": lambda x: x.atan(),
    "atan2": lambda y, x: flint().arb.atan2(y, x),
    "sinh": lambda x: x.sinh(),
    "cosh": lambda x: x.cosh(),
    "tanh": lambda x: x.tanh(),
    "sech2": _sech2,
    "sigmoid": _sigmoid,
    "asinh": lambda x: x.asinh(),
    "acosh": lambda x: x.acosh(),
    "atanh": lambda x: x.atanh(),
    "erf": lambda x: x.erf(),
    "erfc": lambda x: x.erfc(),
    "erfinv": lambda x: x.erfinv(),
    "lgamma": _log_gamma,
    "digamma": lambda x: x.digamma(),
    "polygamma": _polygamma(1),
    **{f"polygamma[{n}]": _polygamma(n) for n in range(2, 9)},  # its parameter, by the name
    "sinc": lambda x: x.sinc_pi(),
    "power": lambda x, y: x**y,
    "abs": lambda x: abs(x),
    "sign": _sign,
    "floor": lambda x: x.floor(),
    "ceil": lambda x: x.ceil(),
    "round": _round,
    "maximum": lambda x, y: x.max(y),
    "minimum": lambda x, y: x.min(y),
    "strong_mul": _strong,
    "cast_float": lambda x: x,
    "cast_float32": lambda x: x,
    "cast_float64": lambda x: x,
}
"""Functions of balls by the names of ours; a test compares each with mpmath's."""


# --- truth: True, False, or None where a ball does not decide ------------------------------------


def _less(a: Ball, b: Ball) -> bool | None:
    return True if a < b else False if a >= b else None


def _at_most(a: Ball, b: Ball) -> bool | None:
    return True if a <= b else False if a > b else None


def _equal(a: Ball, b: Ball) -> bool | None:
    return True if a == b else False if a != b else None


def _not(a: bool | None) -> bool | None:
    return None if a is None else not a


def _and(a: bool | None, b: bool | None) -> bool | None:
    return False if a is False or b is False else True if a and b else None


def _or(a: bool | None, b: bool | None) -> bool | None:
    return True if a or b else False if a is False and b is False else None


COMPARED: dict[Function, Callable[..., bool | None]] = {
    tm.LT: _less,
    tm.LE: _at_most,
    tm.EQ: _equal,
    tm.NE: lambda a, b: _not(_equal(a, b)),
}
CONNECTED: dict[Function, Callable[..., bool | None]] = {tm.NOT: _not, tm.AND: _and, tm.OR: _or}


# --- a formula --------------------------------------------------------------------------------


def opened(t: Term) -> Term:
    """The formula with every op that Arb does not have replaced by its definition."""

    def change(x: Term) -> Term | None:
        if not isinstance(x, Call) or x.fn.name in ROWS or x.fn in tm.STRUCTURAL:
            return None
        op = getattr(x.fn, "op", None)
        if op is None or op.formula_term is tm.call(x.fn, *map(tm.read, range(x.fn.arity))):
            raise UnsupportedError(
                f"Arb has no row for the function {quoted(x.fn.given)}, whose exact value can "
                "therefore not be proved"
            )
        return opened(tm.replace(op.formula_term, x.args))

    return tm.rewrite(t, change)


def _powered(n: int) -> Callable[[Ball], Ball]:
    def power(x: Ball) -> Ball:
        if abs(n) > LARGEST_POWER:
            return x**n
        out = x
        for _ in range(abs(n) - 1):
            out = out * x
        return 1 / out if n < 0 else out

    return power


class Balls:
    """A formula as steps on balls, each on the results of steps before it."""

    def __init__(self, formula: Term) -> None:
        self.arb, self.context = flint().arb, flint().ctx
        self._rationals: list[tuple[int, Any]] = []
        self._pis: list[int] = []
        self._reads: list[tuple[int, int]] = []
        self._steps: list[tuple[int, Callable[..., Any], tuple[int, ...]]] = []
        self._count = 0
        self._slots: dict[object, int] = {}
        self._constants: dict[int, list[Any]] = {}
        self._result = self._place(opened(formula))

    def __call__(self, arguments: Sequence[float], bits: int) -> Ball:
        """A ball that holds the value at exact arguments."""
        self.context.prec = bits
        values = self._start(bits).copy()
        for slot, k in self._reads:
            values[slot] = self.arb(arguments[k])
        for slot, function, operands in self._steps:
            values[slot] = function(*[values[i] for i in operands])
        return values[self._result]

    def _start(self, bits: int) -> list[Any]:
        """The slots, with the constants at this precision."""
        found = self._constants.get(bits)
        if found is None:
            found = [None] * self._count
            for slot, q in self._rationals:
                found[slot] = self.arb(q)
            for slot in self._pis:
                found[slot] = self.arb.pi()
            self._constants[bits] = found
        return found

    # --- building --------------------------------------------------------------------------------
    def _slot(self, key: object) -> int:
        self._slots[key] = self._count
        self._count += 1
        return self._slots[key]

    def _rational(self, q: Any) -> int:
        key = ("number", q)
        if key in self._slots:
            return self._slots[key]
        slot = self._slot(key)
        self._rationals.append((slot, flint().fmpq(q.numerator, q.denominator)))
        return slot

    def _step(self, key: object, function: Callable[..., Any], operands: Sequence[int]) -> int:
        slot = self._slot(key)
        self._steps.append((slot, function, tuple(operands)))
        return slot

    def _place(self, t: Term) -> int:
        """The slot of a term; the terms below it come first."""
        if t in self._slots:
            return self._slots[t]
        if isinstance(t, Num):
            return self._rational(t.value)
        if isinstance(t, Read):
            slot = self._slot(t)
            self._reads.append((slot, t.k))
            return slot
        if isinstance(t, Sum):
            return self._sum(t)
        if isinstance(t, Prod):
            parts = [
                self._step((t, k), _powered(n), [self._value(b)]) if n != 1 else self._value(b)
                for k, (b, n) in enumerate(t.factors)
            ]
            return self._step(t, _product, parts)
        assert isinstance(t, Call)
        return self._call(t)

    def _sum(self, t: Sum) -> int:
        parts = [self._rational(t.const)] if t.const else []
        for x, k in t.terms:
            of = self._value(x)
            parts.append(of if k == 1 else self._step((t, x), _product, [of, self._rational(k)]))
        return self._step(t, _total, parts)

    def _call(self, t: Call) -> int:
        if t.fn is tm.PI:
            slot = self._slot(t)
            self._pis.append(slot)
            return slot
        if t.fn in (tm.INFINITY, tm.NAN):
            return self._step(t, self.arb.pos_inf if t.fn is tm.INFINITY else self.arb.nan, [])
        if t.fn is tm.SELECT:
            return self._step(t, _select, [self._truth(t.args[0]), *map(self._value, t.args[1:])])
        if t.fn in COMPARED:
            return self._step(t, COMPARED[t.fn], [self._value(a) for a in t.args])
        if t.fn in CONNECTED:
            return self._step(t, CONNECTED[t.fn], [self._truth(a) for a in t.args])
        if t.fn.name not in ROWS:
            raise UnsupportedError(f"balls have no row for the function {quoted(t.fn.name)}")
        return self._step(t, ROWS[t.fn.name], [self._value(a) for a in t.args])

    def _value(self, t: Term) -> int:
        """The slot of a term as a number."""
        slot = self._place(t)
        if not _is_truth(t):
            return slot
        key = ("value", t)
        return self._slots[key] if key in self._slots else self._step(key, _number, [slot])

    def _truth(self, t: Term) -> int:
        """The slot of a term as a condition."""
        slot = self._place(t)
        if _is_truth(t):
            return slot
        key = ("truth", t)
        if key in self._slots:
            return self._slots[key]
        return self._step(key, lambda a: _not(_equal(a, self.arb(0))), [slot])


def _is_truth(t: Term) -> bool:
    return isinstance(t, Call) and (t.fn in COMPARED or t.fn in CONNECTED)


def _product(*balls: Ball) -> Ball:
    out = balls[0]
    for b in balls[1:]:
        out = out * b
    return out


def _total(*balls: Ball) -> Ball:
    out = balls[0]
    for b in balls[1:]:
        out = out + b
    return out
