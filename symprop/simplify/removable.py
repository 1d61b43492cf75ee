"""Removable singularities: f(x)/g(x) where both are 0, as a function with its limit and a series.

In: a product with a power below, and the window of its node. Out: the part of it that has one
unknown u and a finite limit where floats give 0/0, as a call of an op of u; or None.

    value       the limit at the point, a polynomial near it, the quotient as written elsewhere
    derivative  (f'*g - f*g')/g**2, which is again such a quotient: closed, to any order

How far the polynomial reaches is measured: where the quotient as written loses more than ``LOSS``
ulp against 60 digits beside the point. Its degree is the least that leaves a remainder below 2**-58
of the value, at twice as many points as it has coefficients.

Guarantees: nothing here knows a function by name; what has no finite limit, or no such polynomial,
is left as it is. Equal quotients are one op.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import mpmath
import sympy

from symprop import formula as fm
from symprop import term as t
from symprop.ops.declare import Declaration, ElementwiseOp
from symprop.ops.declare import where_symbolic as where
from symprop.ops.reference import evaluate
from symprop.simplify.matching import Factors, factors_of
from symprop.simplify.window import Window
from symprop.term import Term

__all__ = ["removable_quotient"]

DIGITS = 120
CANDIDATES = (Fraction(0), Fraction(1), Fraction(-1))
LOSS = 1.5  # ulp that the quotient as written may lose beyond the polynomial's reach
REACHES = tuple(Fraction(2) ** -k for k in range(7, -2, -1))  # 1/128 .. 2
DEGREE = 26
REMAINDER = mpmath.mpf(2) ** -58
LARGEST = 40  # operations of a quotient that is looked at

CTX = mpmath.mp.clone()
CTX.dps = DIGITS


def removable_quotient(x: Term, window: Window) -> Term | None:
    """The product with its removable part as one function of one unknown."""
    if not isinstance(t.coefficient(x)[1], t.Prod):
        return None
    for c, factors in factors_of(x, window):
        for base in (b for b, n in factors if n < 0):
            for unknown in _unknowns(base, window):
                made = _removed(factors, unknown, window)
                if made is not None:
                    return t.scale(c, made)
    return None


def _unknowns(base: Term, window: Window) -> Iterator[Term]:
    """What a divisor may be a function of: itself, or the one value that it reads."""
    whole = window.whole(base)
    for y in dict.fromkeys((base, whole)):
        if len(y.reads) == 1 and not isinstance(y, t.Num):
            yield t.read(y.reads[0])
    yield base


def _removed(factors: Factors, unknown: Term, window: Window) -> Term | None:
    """The factors that are functions of the unknown alone as one op of it, times the others."""
    inside: list[Term] = []
    others: list[Term] = []
    for b, n in factors:
        own = _in_terms_of(b, unknown, window)
        (others if own is None else inside).append(t.power(b if own is None else own, n))
    quotient = t.mul(*inside) if inside else t.num(1)
    k, quotient = t.coefficient(quotient)
    if len(inside) < 2 and not _divides(quotient):
        return None
    if t.operations(quotient) > LARGEST or not _divides(quotient):
        return None
    op = _quotient_op(quotient)
    if op is None:
        return None
    return t.scale(k, t.mul(*others, t.call(op.function, unknown)))


def _divides(quotient: Term) -> bool:
    """A power below, and something above that could vanish with it."""
    if not isinstance(quotient, t.Prod):  # 1/y with y = 1/x is x
        return False
    signs = {n > 0 for _, n in quotient.factors}
    return len(signs) == 2


def _in_terms_of(x: Term, unknown: Term, window: Window) -> Term | None:
    """x over read 0 alone, which stands for the unknown; None where it has others."""
    for y in (x, window.whole(x)):
        stands = t.rewrite(y, lambda z: _UNKNOWN if z is unknown else None)
        if stands.reads == (_MARK,):
            return t.rewrite(stands, lambda z: t.read(0) if z is _UNKNOWN else None)
    return None


_MARK = 10_000  # a read that no node has
_UNKNOWN = t.read(_MARK)


# --- the op -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Singularity:
    """Where a quotient is 0/0: the point, the limit, the sides from which it is reached."""

    at: Fraction
    limit: Fraction
    sides: tuple[int, ...]


class QuotientOp(ElementwiseOp):
    """An op known by its formula alone: its derivative, one like it, is worked out when asked."""

    def __init__(self, declaration: Declaration, quotient: Term) -> None:
        super().__init__(declaration, {})
        self.quotient = quotient

    @cached_property
    def label(self) -> str:
        """Its name and the digest of its formula."""
        return f"{self.name}@{self.formula_term.digest.hex()[:10]}"

    @cached_property
    def chosen(self) -> tuple[Term, ...]:
        """Its slope as it is: it may have an infinity in it, which no SymPy formula has here."""
        return (_slope(self.quotient),)


@lru_cache(1024)
def _quotient_op(quotient: Term) -> ElementwiseOp | None:
    """The op of a quotient over read 0, or None where nothing of it is removable."""
    if any(isinstance(y, t.Call) and y.fn is t.INFINITY for y in t.subterms(quotient)):
        return None
    for at in CANDIDATES:
        place = _limit(quotient, at)
        if place is not None:
            series = _series(quotient, place)
            if series is not None:
                return _declared(quotient, place, *series)
    return None


def _declared(
    quotient: Term, place: _Singularity, reach: Fraction, series: tuple[Fraction, ...]
) -> ElementwiseOp:
    at, limit = fm.exact(place.at), fm.exact(place.limit)

    def plain(x: Any) -> Any:
        return fm.to_sympy(quotient, [x])

    def near(x: Any) -> Any:
        from symprop.ops.elementwise import abs as size

        step = x - at
        total: Any = 0
        for c in reversed(series):
            total = total * step + fm.exact(c)
        inside = size(step) < fm.exact(reach)
        if len(place.sides) == 1:  # beyond the point it is not defined, and the polynomial is
            inside = sympy.And(inside, step * place.sides[0] >= 0)
        return where(inside, total, plain(x))

    d = Declaration(
        "quotient",
        lambda x: where(sympy.Eq(x, at), limit, plain(x)),
        derivative=lambda x: fm.to_sympy(_slope(quotient), [x]),
        evaluate_as=near,
        doc="A quotient with its limit where it is 0/0.",
        library=False,
        cost=t.operations(quotient),
    )
    return QuotientOp(d, quotient)


def _slope(quotient: Term) -> Term:
    """The derivative as one quotient again, itself stable."""
    from symprop.simplify.stable_rules import stabilised

    assert isinstance(quotient, t.Prod)
    above = t.mul(*(t.power(b, n) for b, n in quotient.factors if n > 0))
    below = t.mul(*(t.power(b, -n) for b, n in quotient.factors if n < 0))
    k, bottom = t.coefficient(below)
    top = t.diff(above, 0) * bottom - above * t.diff(bottom, 0)
    return stabilised(t.scale(1 / k, top * t.power(bottom, -2)))


# --- limits and series --------------------------------------------------------------------------


def _at(term: Term, x: Any) -> Any:
    """The value at 120 digits; NaN where it is not defined, inf where it has no number."""
    try:
        return CTX.mpf(evaluate(term, [x], CTX))
    except OverflowError:
        return CTX.inf
    except (NotImplementedError, ZeroDivisionError):  # held constant for derivatives; a hole
        return CTX.nan


def _number(q: Fraction) -> Any:
    return CTX.mpf(q.numerator) / q.denominator


def _limit(quotient: Term, at: Fraction) -> _Singularity | None:
    """The limit at a point where the quotient is not defined, from each side where it exists."""
    assert isinstance(quotient, t.Prod)
    x = _number(at)
    below = [_at(b, x) for b, n in quotient.factors if n < 0]
    if not any(v == 0 for v in below):
        return None
    limits, sides = [], []
    for side in (-1, 1):
        near, nearer = (_at(quotient, x + side * CTX.mpf(10) ** -k) for k in (24, 28))
        if CTX.isnan(near):  # not defined on this side
            continue
        if not CTX.isfinite(near) or not CTX.isfinite(nearer):
            return None
        if abs(near - nearer) > CTX.mpf(10) ** -10 * (1 + abs(near)):
            return None
        limit = _extrapolated(quotient, x, side)
        if not CTX.isfinite(limit):
            return None
        limits.append(limit)
        sides.append(side)
    if not limits or any(abs(v - limits[0]) > CTX.mpf(10) ** -30 for v in limits):
        return None
    return _Singularity(at, _fraction(limits[0]), tuple(sides))


def _extrapolated(quotient: Term, x: Any, side: int) -> Any:
    """The value at the point of the cubic through four points beside it."""
    h = side * CTX.mpf(10) ** -14
    v = [_at(quotient, x + k * h) for k in (1, 2, 3, 4)]
    return 4 * v[0] - 6 * v[1] + 4 * v[2] - v[3]


def _fraction(v: Any) -> Fraction:
    """A short rational where there is one to 35 digits, else the number to 55."""
    if abs(v) < CTX.mpf(10) ** -35:
        return Fraction(0)
    exact = Fraction(str(CTX.nstr(v, 55)))
    short = exact.limit_denominator(10**6)
    return short if abs(short - exact) < Fraction(1, 10**35) * abs(exact) else exact


def _series(quotient: Term, place: _Singularity) -> tuple[Fraction, tuple[Fraction, ...]] | None:
    """How far the polynomial must reach, and the polynomial."""
    found = None
    for reach in REACHES:
        series = _polynomial(quotient, place, reach)
        if series is None:
            break
        found = (reach, series)
        if _loss(quotient, place, reach) <= LOSS:
            break
    return found


def _polynomial(
    quotient: Term, place: _Singularity, reach: Fraction
) -> tuple[Fraction, ...] | None:
    """The least polynomial in x - at with a remainder below 2**-58 of the value, or None."""
    x, r = _number(place.at), _number(reach)
    both = len(place.sides) == 2

    def f(u: Any) -> Any:
        step = u * r if both else place.sides[0] * r * (u + 1) / 2
        return _at(quotient, x + step)

    nodes = [CTX.cos(CTX.pi * (2 * k + 1) / (2 * (DEGREE + 8))) for k in range(DEGREE + 8)]
    values = [f(u) for u in nodes]
    if not all(CTX.isfinite(v) for v in values):
        return None
    smallest = min(abs(v) for v in values)
    chebyshev = _coefficients(values)
    scale = max(abs(v) for v in values)
    for degree in range(2, DEGREE + 1):
        tail = sum(abs(c) for c in chebyshev[degree + 1 :])
        if tail <= REMAINDER * max(smallest, scale * CTX.mpf(2) ** -20):
            plain = _monomial(chebyshev[: degree + 1])
            if not both:
                plain = _shifted(plain, place.sides[0])
            exact = [_short(c / r**k) for k, c in enumerate(plain)]
            exact[0] = place.limit
            return tuple(exact)
    return None


def _coefficients(values: list[Any]) -> list[Any]:
    """Chebyshev coefficients of the interpolant through values at the Chebyshev nodes."""
    n = len(values)
    out = []
    for j in range(n):
        total = sum(v * CTX.cos(CTX.pi * j * (2 * k + 1) / (2 * n)) for k, v in enumerate(values))
        out.append(total * (1 if j == 0 else 2) / n)
    return out


def _monomial(chebyshev: list[Any]) -> list[Any]:
    """Coefficients of powers from those of Chebyshev polynomials."""
    before, current = [CTX.mpf(1)], [CTX.mpf(0), CTX.mpf(1)]
    out = [CTX.mpf(0)] * len(chebyshev)
    for j, c in enumerate(chebyshev):
        basis = before if j == 0 else current
        for k, b in enumerate(basis):
            out[k] += c * b
        if j:
            doubled = [CTX.mpf(0), *(2 * b for b in current)]
            for k, b in enumerate(before):
                doubled[k] -= b
            before, current = current, doubled
    return out


def _shifted(plain: list[Any], side: int) -> list[Any]:
    """p(u) with u = 2*side*s - 1 as a polynomial in s."""
    out = [CTX.mpf(0)] * len(plain)
    for k, c in enumerate(plain):
        for j in range(k + 1):
            out[j] += c * math.comb(k, j) * (CTX.mpf(2) * side) ** j * CTX.mpf(-1) ** (k - j)
    return out


def _short(v: Any) -> Fraction:
    """A coefficient to 25 digits; what is only the noise of the fit is 0."""
    if abs(v) < CTX.mpf(10) ** -22:
        return Fraction(0)
    return Fraction(str(CTX.nstr(v, 25)))


def _loss(quotient: Term, place: _Singularity, reach: Fraction) -> float:
    """The worst error, in ulp, of the quotient as written in floats beyond the reach."""
    from symprop.oracle import Oracle

    body: Callable[[list[float]], Any] = Oracle(None).term(quotient)
    worst = 0.0
    for k in range(24):
        for side in place.sides:
            step = float(reach) * (1 + k / 16) * (1 + 0.0137 * k)
            x = float(place.at) + side * step
            exact = _at(quotient, CTX.mpf(x))
            if not CTX.isfinite(exact) or exact == 0:
                continue
            got = float(body([x]))
            unit = math.ulp(float(exact))
            worst = max(worst, float(abs(CTX.mpf(got) - exact)) / unit)
    return worst
