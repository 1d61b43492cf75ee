"""How far off a float may be: the oracle with a first-order bound of rounding beside every value.

In: nodes, exact arrays for their leaves, the digits to compute with. Out: of every root an array
of ``Bounded``: the value, and the bound of its error in units of one rounding.

    a product, quotient, power    the errors of its arguments times its slopes, and the size of its
                                  value: one rounding of its own
    a function                    the same; its slopes by central differences
    a sum                         the errors of its terms, and for each addition the sizes of all
                                  terms together, so that the bound holds in whatever order they
                                  are added

An implementation whose every operation is off by k units in the last place at most is off by
k*eps*error at most, to first order (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
sections 3.1 and 4.2), eps the distance from 1 to the next float.

Guarantees: values are those of ``symprop.oracle``; branches not taken are not looked at; what was
given is exact, constants are rounded once. ``peak`` is the largest size on the way to a value:
above the greatest float, a float may well have overflowed. Functions of numbers above 2**4096 are
NaN here, and numbers below 2**-65536 are 0 to them. ``Condition.doubt`` says that a comparison, a
step or a pole was nearer than the errors of its arguments, or that NaN was compared, or what is
larger on its way than any float: floats may have come out on the other side of it. It judges
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

from codegen.functions import OF_INTEGERS
from symprop import term as t
from symprop.expression import Expr
from symprop.graph import FLOATS, Leaf, Node, Reduce
from symprop.ops.declare import reference
from symprop.oracle import Array, Oracle, Point, context, run_with

__all__ = ["Bounded", "Condition", "clipped", "condition", "structural"]

BEYOND = 4096, 65536  # binary exponents that no float has
# Functions that are no better than their formulas: x - y*floor(x/y), sigmoid(x - y).
AS_WRITTEN = ("mod", "logaddexp_share")
NEAR = 8  # a comparison is in doubt within so many times the errors of its sides


@dataclass(frozen=True)
class Condition:
    """The roots' arrays of ``Bounded``; whether a comparison was too close to call; whether two
    sides were equal, where derivatives are conventions."""

    values: list[Array]
    doubt: bool
    tie: bool


def condition(
    roots: Sequence[Node | Expr],
    values: Mapping[Any, Any],
    precision: int = 60,
    eps: float = 2.0**-52,
    smallest: float = 2.0**-1022,
) -> Condition:
    """The roots with their bounds.

    Args:
        roots: nodes or expressions.
        values: arrays by leaf, by expression or by name, as ``symprop.oracle.evaluate`` takes them.
        precision: decimal digits.
        eps, smallest: of the floats that are to be judged: the distance from 1 to the next one, and
            the least normal one, of which a rounding costs at least as much.
    """
    scale = _Scale(context(precision), eps, smallest)
    found = run_with(_Conditioned(scale), roots, values)
    return Condition(found, scale.doubt, scale.tie)


class _Scale:
    """The arithmetic of one evaluation, and what it saw."""

    def __init__(self, ctx: Any, eps: float, smallest: float) -> None:
        self.ctx = ctx
        self.eps = ctx.mpf(eps)
        self.smallest = ctx.mpf(smallest)
        self.greatest = 1 / self.smallest  # a quarter of the greatest float
        self.doubt = self.tie = False

    def bounded(self, x: Any) -> Bounded:
        if isinstance(x, Bounded):
            return x
        value = self.ctx.mpf(x)
        return Bounded(self, value, self.ctx.zero, abs(value), abs(value))

    def rounding(self, size: Any) -> Any:
        """What one rounding of a number of that size costs."""
        return max(size, self.smallest)


class Bounded:
    """A number; the bound of its error, in roundings; the sizes of what was added up to it; the
    largest size on the way to it."""

    __slots__ = ("error", "mass", "peak", "scale", "value")

    def __init__(self, scale: _Scale, value: Any, error: Any, mass: Any, peak: Any) -> None:
        self.scale, self.value, self.error = scale, value, error
        self.mass, self.peak = mass, peak

    def _made(self, value: Any, error: Any, other: Bounded) -> Bounded:
        """What an operation made of this and another, rounded once."""
        size = abs(value)
        peak = max(size, self.peak, other.peak)
        return Bounded(self.scale, value, error + self.scale.rounding(size), size, peak)

    def _summed(self, value: Any, y: Bounded) -> Bounded:
        mass = self.mass + y.mass
        error = self.error + y.error + self.scale.rounding(mass)
        return Bounded(self.scale, value, error, mass, max(abs(value), self.peak, y.peak))

    def __add__(self, other: Any) -> Bounded:
        y = self.scale.bounded(other)
        if y.value == 0 and not y.error:
            return self
        if self.value == 0 and not self.error:
            return y
        return self._summed(self.value + y.value, y)

    def __sub__(self, other: Any) -> Bounded:
        return self + -self.scale.bounded(other)

    def __mul__(self, other: Any) -> Bounded:
        y = self.scale.bounded(other)
        if y.value == 1 and not y.error:
            return self
        error = _times(self.error, y.value) + _times(y.error, self.value)
        return self._made(self.value * y.value, error, y)

    def __truediv__(self, other: Any) -> Bounded:
        y = self.scale.bounded(other)
        if y.error and abs(y.value) <= NEAR * self.scale.eps * y.error:
            self.scale.doubt = True
        if y.value == 0:  # as floats have it; mpmath raises
            infinite = self.scale.ctx.inf * y.scale.ctx.sign(self.value) if self.value else (
                self.scale.ctx.nan)  # fmt: skip
            return self._made(infinite, self.error, y)
        value = self.value / y.value
        return self._made(value, (self.error + _times(y.error, value)) / abs(y.value), y)

    def __pow__(self, n: int) -> Bounded:
        return self._made(self.value**n, _times(self.error, n * self.value ** (n - 1)), self)

    def __neg__(self) -> Bounded:
        return Bounded(self.scale, -self.value, self.error, self.mass, self.peak)

    def __abs__(self) -> Bounded:
        return Bounded(self.scale, abs(self.value), self.error, self.mass, self.peak)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Bounded:
        return self.scale.bounded(other) - self

    def __rtruediv__(self, other: Any) -> Bounded:
        return self.scale.bounded(other) / self

    # --- comparisons ----------------------------------------------------------------------------

    def _side(self, other: Any) -> Any:
        """The value of the other side; whether floats may see them in another order is noted."""
        y = self.scale.bounded(other)
        if self.value != self.value or y.value != y.value:
            self.scale.doubt = True
        slack = NEAR * self.scale.eps * (self.error + y.error)
        if slack and y is not self and abs(self.value - y.value) <= slack:
            self.scale.doubt = True
        if any(
            s.peak > self.scale.greatest and self.scale.ctx.isfinite(s.value) for s in (self, y)
        ):
            self.scale.doubt = True
        if self.value == y.value and y is not self:
            self.scale.tie = True
        return y.value

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < self._side(other))

    def __le__(self, other: Any) -> bool:
        return bool(self.value <= self._side(other))

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > self._side(other))

    def __ge__(self, other: Any) -> bool:
        return bool(self.value >= self._side(other))

    def __eq__(self, other: object) -> bool:
        return bool(self.value == self._side(other))

    def __ne__(self, other: object) -> bool:
        return bool(self.value != self._side(other))

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return self != 0

    def __int__(self) -> int:
        return int(self.value)

    def __repr__(self) -> str:
        return f"{mpmath.nstr(self.value, 8)}, off by {mpmath.nstr(self.error, 2)} roundings"


class _Conditioned(Oracle):
    """The oracle over ``Bounded`` numbers."""

    def __init__(self, scale: _Scale) -> None:
        super().__init__(scale.ctx)
        self.scale = scale
        self.terms: dict[t.Term, Callable[[list[Any]], Any]] = {}

    def fresh(self) -> Oracle:
        return _Conditioned(self.scale)

    def number(self, x: Any) -> Any:
        return self.scale.bounded(x)

    def array(self, shape: Point, dtype: str) -> Array:
        if dtype not in FLOATS:
            return np.zeros(shape, np.int64)
        out = np.empty(shape, object)
        out.fill(self.scale.bounded(0))
        return out

    def empty(self, node: Reduce) -> Any:
        found = super().empty(node)
        return self.scale.bounded(found) if node.dtype in FLOATS else found

    def term(self, term: t.Term) -> Callable[[list[Any]], Any]:
        found = self.terms.get(term)
        if found is None:
            found = self.terms[term] = self.made(term)
        return found

    def made(self, term: t.Term) -> Callable[[list[Any]], Any]:
        if not isinstance(term, t.Num):
            return super().term(term)
        number = self.written(*term.value.as_integer_ratio())
        return lambda v: number

    def bind(self, leaf: Leaf, value: Any) -> None:
        super().bind(leaf, value)
        if leaf.kind == "constant" and leaf.dtype in FLOATS:
            array = self.values[leaf]
            for p in np.ndindex(*array.shape):
                array[p] = self.written(*float(array[p].value).as_integer_ratio())

    def written(self, numerator: int, denominator: int) -> Bounded:
        """A number of the text: rounded, unless a float holds it."""
        value = self.ctx.mpf(numerator) / denominator
        exact = _representable(numerator, denominator, float(self.scale.eps))
        error = self.ctx.zero if exact else self.scale.rounding(abs(value))
        return Bounded(self.scale, value, error, abs(value), abs(value))

    def function(self, fn: t.Function) -> Callable[..., Any]:
        plain = super().function(fn)
        if structural(fn):
            return plain
        if fn.name in AS_WRITTEN:
            body = self.term(fn.op.formula_term)  # type: ignore[attr-defined]
            return lambda *args: body([self.scale.bounded(a) for a in args])
        exact = reference(fn, self.ctx)
        if not fn.op.library:  # type: ignore[attr-defined]
            return self.expanded(fn, exact)
        derivative = _is_derivative(fn.op)  # type: ignore[attr-defined]

        def bounded(*args: Any) -> Bounded:
            points = [self.scale.bounded(a) for a in args]
            at = [clipped(p.value, self.ctx) for p in points]
            value = exact(*at)
            error = self.scale.rounding(abs(value))
            if any(map(self.ctx.isnan, at)) and not self.ctx.isnan(value):
                self.scale.doubt = True  # it compared NaN
            if len(at) == 2 and at[0] == at[1]:
                self.tied(fn, at[0])
            if derivative and not self.ctx.isnan(value):
                error += _times(abs(at[0]), self.slope(exact, at, 0))
            for k, p in enumerate(points):
                if p.error and not self.ctx.isnan(value):
                    slope = self.slope(exact, at, k)
                    error += _times(p.error, slope)
                    self.jumps(exact, at, k, p.error, slope)
            peak = max([abs(value), *(p.peak for p in points)])
            return Bounded(self.scale, value, error, abs(value), peak)

        return bounded

    def expanded(self, fn: t.Function, exact: Callable[..., Any]) -> Callable[..., Any]:
        """A function that is computed by a formula of its own: its value, off by what the
        operations of that are."""
        body = self.term(fn.op.expansion)  # type: ignore[attr-defined]

        def bounded(*args: Any) -> Bounded:
            points = [self.scale.bounded(a) for a in args]
            found = body(points)
            value = exact(*(clipped(p.value, self.ctx) for p in points))
            return Bounded(self.scale, value, found.error, abs(value), found.peak)

        return bounded

    def tied(self, fn: t.Function, value: Any) -> None:
        """Notes a function of two equal numbers that depends on which is which."""
        if fn.name in ("maximum", "minimum"):
            self.scale.tie = True
        elif fn.name == "atan2" and value == 0:  # the angle of no direction: by the zeros' signs
            self.scale.doubt = True

    def jumps(
        self, exact: Callable[..., Any], at: list[Any], k: int, error: Any, slope: Any
    ) -> None:
        """Notes a function that changes, within the error of an argument, by more than its slope
        says: a sign, a step, a pole; first-order bounds say nothing there."""
        scale = self.scale
        d = NEAR * scale.eps * error
        here = exact(*at)
        for moved in (clipped(at[k] - d, self.ctx), clipped(at[k] + d, self.ctx)):
            change = abs(exact(*at[:k], moved, *at[k + 1 :]) - here)
            if not change <= 4 * slope * d + scale.eps * abs(here) + scale.smallest * scale.eps:
                scale.doubt = True

    def slope(self, exact: Callable[..., Any], at: list[Any], k: int) -> Any:
        """The derivative in one argument, from one side where the other is outside."""
        ctx = self.ctx
        step = max(abs(at[k]), ctx.mpf(10) ** -(ctx.dps // 3)) * ctx.mpf(10) ** -(ctx.dps // 3)
        values = [exact(*at[:k], at[k] + d, *at[k + 1 :]) for d in (-step, 0, step)]
        sides = [(values[1] - values[0]) / step, (values[2] - values[1]) / step]
        known = [abs(s) for s in sides if ctx.isfinite(s)]
        return max(known, default=ctx.inf)


def clipped(x: Any, ctx: Any) -> Any:
    """A number that a function is asked at: NaN and 0 for those that no float is near."""
    if not x or not ctx.isfinite(x):
        return x
    size = ctx.mag(x)
    return ctx.nan if size > BEYOND[0] else ctx.zero if size < -BEYOND[1] else x


def structural(fn: t.Function) -> bool:
    """Whether a function is no real one: the oracle's own takes ``Bounded`` numbers as they are."""
    names = ("lt", "le", "eq", "ne", "not", "and", "or", "strong_mul", "inf", "nan", "pi",
             "stop_gradient", *OF_INTEGERS)  # fmt: skip
    return fn.name in names or fn.name.startswith("cast_")


def _is_derivative(op: Any) -> bool:
    """Whether a function is another's derivative: at a zero of it, its argument's last place
    counts, as in the table of accuracies."""
    return bool(op.declaration.derivative_of) or op.parameters.get("order", 0) > 0


def _representable(numerator: int, denominator: int, eps: float) -> bool:
    """Whether a float holds a fraction exactly."""
    digits = abs(numerator) >> max((numerator & -numerator).bit_length() - 1, 0)
    places = 1 - int(math.log2(eps))
    return denominator & (denominator - 1) == 0 and digits.bit_length() <= places


def _times(error: Any, slope: Any) -> Any:
    """An error magnified by a slope: none stays none, whatever the slope."""
    return error * abs(slope) if error else error
