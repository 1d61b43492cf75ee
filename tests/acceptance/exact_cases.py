"""The cases of the notes on numerics, in their naive spelling, and what is exact there.

In: nothing. Out: ``CASES``: formulas as a newcomer writes them, a point, the exact derivative there
(or the declared convention), and ``value_at`` / ``slope_at``, which work the exact numbers out at
300 digits from the same formula in mpmath where the table does not state them.

A formula is a Python function of a library ``f``, of ``w`` and of its variables. ``f`` is symprop,
or mpmath dressed up as it. Each subexpression that a user could give a name is handed to ``w``,
which disguises it: that is how one formula is tested in six spellings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mpmath

DIGITS = 300
STEP = -60  # the differences are taken at 10**STEP: their error is 10**(2*STEP)

MP = mpmath.mp.clone()
MP.dps = DIGITS


@dataclass(frozen=True)
class Case:
    """One formula at one point.

    at: the point, a number or a list (one array) for each variable; the first is differentiated.
    slope: the exact derivative there: None (worked out), a number, or a list of numbers.
    value: the exact value: None (worked out), a number, or "any" where only the slope is asked for.
    side: from where the derivative is taken: 0 both, 1 right, -1 left.
    order: of the derivative. why: the convention, where the mathematics leaves it open.
    """

    name: str
    formula: Callable[..., Any]
    at: tuple[Any, ...]
    slope: Any = None
    value: Any = None
    side: int = 0
    order: int = 1
    why: str = ""
    only: tuple[str, ...] = field(default=("float64", "float32"))

    @property
    def scalar(self) -> bool:
        """Whether every variable is one number: then the formula is also a user's own function."""
        return not any(isinstance(a, list) for a in self.at)


class Exact:
    """mpmath under the names of symprop's functions: what is exact."""

    pi = MP.pi

    def __getattr__(self, name: str) -> Any:
        return getattr(MP, name)

    @staticmethod
    def where(c: Any, a: Any, b: Any) -> Any:
        return a if c else b

    @staticmethod
    def sigmoid(x: Any) -> Any:
        return 1 / (1 + MP.exp(-x))

    @staticmethod
    def normal_cdf(x: Any) -> Any:
        return MP.erfc(-x / MP.sqrt(2)) / 2

    @staticmethod
    def gelu(x: Any) -> Any:
        return x * Exact.normal_cdf(x)

    @staticmethod
    def log1p(x: Any) -> Any:
        return MP.log(1 + x)

    @staticmethod
    def expm1(x: Any) -> Any:
        return MP.exp(x) - 1

    @staticmethod
    def square(x: Any) -> Any:
        return x * x

    @staticmethod
    def abs(x: Any) -> Any:
        return abs(x)

    @staticmethod
    def sum(x: Any) -> Any:
        return MP.fsum(x)


def plainly(e: Any) -> Any:
    """No disguise."""
    return e


def _function(case: Case, floats: tuple[Any, ...]) -> Callable[[Any], Any]:
    rest = [MP.mpf(a) for a in floats[1:]]
    return lambda x: case.formula(Exact(), plainly, x, *rest)


def value_at(case: Case, floats: tuple[Any, ...]) -> Any:
    """The exact value of a scalar case at these floats, a removable singularity filled."""
    f, x = _function(case, floats), MP.mpf(floats[0])
    try:
        found = f(x)
        if MP.isfinite(found):
            return found
    except (ZeroDivisionError, ValueError):
        pass
    h = MP.mpf(10) ** STEP
    if case.side:
        return f(x + case.side * h)
    return (f(x + h) + f(x - h)) / 2


def slope_at(case: Case, floats: tuple[Any, ...]) -> Any:
    """The exact derivative of a scalar case at these floats, from differences."""
    f, x = _function(case, floats), MP.mpf(floats[0])
    h = MP.mpf(10) ** STEP
    if case.side:  # one-sided, from points beside x alone: the value at x may be a limit
        h *= case.side
        return (-5 * f(x + h) + 8 * f(x + 2 * h) - 3 * f(x + 3 * h)) / (2 * h)
    if case.order == 2:
        mid = f(x + h) + f(x - h)
        return (f(x + 3 * h) + f(x - 3 * h) - mid) / (8 * h * h)
    return (f(x + h) - f(x - h)) / (2 * h)


def _roots(f: Any, w: Any, x: Any) -> Any:
    return f.where(x > 0, w(f.sqrt(x)), 0)


def _norm(f: Any, w: Any, x: Any) -> Any:
    return w(f.sqrt(w(f.sum(w(x * x)))))


def _log_softmax(f: Any, w: Any, x: Any) -> Any:
    return w(f.log(w(f.softmax(x))))[0]


def _std(f: Any, w: Any, x: Any) -> Any:
    centred = w(x - w(f.mean(x)))
    return f.sqrt(w(f.mean(w(f.square(centred)))))


def _cosine(f: Any, w: Any, x: Any, y: Any) -> Any:
    return w(f.sum(x * y)) / w(_norm(f, w, x) * _norm(f, w, y))


def _bce(f: Any, w: Any, x: Any) -> Any:
    return -w(f.log(w(f.sigmoid(x))))


INF = math.inf

CASES: tuple[Case, ...] = (
    Case("01 where(x>0, sqrt x, 0)", _roots, (0.0,), 0, 0),
    Case("02 where(x<1, cos x, 0)", lambda f, w, x: f.where(x < 1, w(f.cos(x)), 0),
         (INF,), 0, 0),
    Case("03 where(x<=0, exp x, 1+x)",
         lambda f, w, x: f.where(x <= 0, w(f.exp(x)), w(1 + x)), (1000.0,), 1, 1001),
    Case("04 where(n=0, 0, x/n)",
         lambda f, w, n, x: f.where(n > 0, w(x / n), 0), (0.0, 3.0), 0, 0),
    Case("05 norm(x)**2", lambda f, w, x: f.square(_norm(f, w, x)), ([0.0, 0.0, 0.0],),
         [0, 0, 0], 0),
    Case("06 norm(x)", _norm, ([0.0, 0.0, 0.0],), [0, 0, 0], 0, why="the norm at 0 has slope 0"),
    Case("07 sqrt(sum x**4)", lambda f, w, x: f.sqrt(w(f.sum(w(f.square(w(x * x)))))),
         ([0.0, 0.0],), [0, 0], 0),
    Case("08 x*sqrt(x)", lambda f, w, x: x * w(f.sqrt(x)), (0.0,), 0, 0),
    Case("09 x**2*log(x)", lambda f, w, x: w(x * x) * w(f.log(x)), (0.0,), 0, 0),
    Case("10 sin(x)/x", lambda f, w, x: w(f.sin(x)) / x, (0.0,), 0, 1),
    Case("11 expm1(x)/x", lambda f, w, x: w(f.expm1(x)) / x, (0.0,), 0.5, 1),
    Case("12 (1-cos x)/x**2", lambda f, w, x: w(1 - w(f.cos(x))) / w(x * x), (1e-3,)),
    Case("13 log(1+exp x)", lambda f, w, x: f.log(w(1 + w(f.exp(x)))), (1000.0,)),
    Case("14 log sigmoid(x)", lambda f, w, x: f.log(w(f.sigmoid(x))), (-1000.0,)),
    Case("15 -log(1-sigmoid(x))", lambda f, w, x: -w(f.log(w(1 - w(f.sigmoid(x))))), (50.0,)),
    Case("16 log softmax(x)[0]", _log_softmax, ([0.0, 1000.0],), [1, -1], -1000),
    Case("17 logsumexp(-inf, -inf)", lambda f, w, x: f.logsumexp(w(x * 1.0)), ([-INF, -INF],),
         [0, 0], -INF, why="nothing moves a sum of nothing"),
    Case("18 softmax(-inf, -inf)", lambda f, w, x: f.softmax(w(x * 1.0))[0], ([-INF, -INF],),
         [0, 0], 0, why="a row that sees nothing is 0"),
    Case("19 exp(x)/(1+exp x)", lambda f, w, x: (lambda e: e / w(1 + e))(w(f.exp(x))), (1000.0,),
         0, 1),
    Case("20 x**n", lambda f, w, x, n: f.power(w(x * 1), n), (0.0, 0.0), 0, 1),
    Case("21 fifth derivative of x**4", lambda f, w, x: w(x * x) * w(x * x), (0.0,), 0, 0, order=5),
    Case("22 acos(x)**2", lambda f, w, x: f.square(w(f.acos(x))), (1.0,), -2, 0),
    Case("23 std of a constant", _std, ([3.0, 3.0, 3.0],), [0, 0, 0], 0,
         why="the deviation of equal numbers has slope 0"),
    Case("24 tanh(x)", lambda f, w, x: f.tanh(w(x * 1)), (15.0,)),
    Case("25 sigmoid(x)", lambda f, w, x: f.sigmoid(w(x * 1)), (40.0,)),
    Case("26 gelu(x)", lambda f, w, x: f.gelu(w(x * 1)), (-8.0,)),
    Case("27 log erfc(x)", lambda f, w, x: f.log(w(f.erfc(x))), (30.0,)),
    Case("28 BCE(sigmoid(x), 1)", _bce, (-200.0,)),
    Case("29 log cosh(x)", lambda f, w, x: f.log(w(f.cosh(x))), (1000.0,)),
    Case("30 cosine similarity with 0", _cosine, ([0.0, 0.0], [1.0, 2.0]), [0, 0], 0,
         why="a vector without direction is similar to none"),
)  # fmt: skip
