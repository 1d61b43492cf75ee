"""Sixty more cases of the families of ``exact_cases``: other functions, other compositions.

In: nothing. Out: ``MORE``. They were written before the rules that they try.
"""

from __future__ import annotations

from typing import Any

from exact_cases import INF, MP, Case

ONLY64 = ("float64",)
ROOT = float(MP.sqrt(MP.mpf(1) / 2))


def _length(f: Any, w: Any, x: Any) -> Any:
    return w(f.sqrt(w(f.sum(w(x * x)))))


def _tanh(f: Any, w: Any, x: Any) -> Any:
    up, down = w(f.exp(x)), w(f.exp(w(-x)))
    return w(up - down) / w(up + down)


def _cross_entropy(f: Any, w: Any, x: Any) -> Any:
    p = w(f.sigmoid(x))
    return -w(0.25 * w(f.log(p))) - w(0.75 * w(f.log(w(1 - p))))


def _softmax(f: Any, w: Any, x: Any) -> Any:
    e = w(f.exp(x))
    return w(e / w(f.sum(e)))


_E = MP.exp(MP.mpf(-1))
_P = 1 / (1 + _E)  # softmax of (1000, 999), first

SELECTIONS = (
    Case("where(x>0, log x, 0)", lambda f, w, x: f.where(x > 0, w(f.log(x)), 0), (0.0,), 0, 0),
    Case("where(x>0, x*log x, 0)", lambda f, w, x: f.where(x > 0, w(x * w(f.log(x))), 0), (0.0,),
         0, 0),
    Case("where(x<1, 1/(1-x), 0)", lambda f, w, x: f.where(x < 1, w(1 / w(1 - x)), 0), (1.0,),
         0, 0),
    Case("where(x!=0, sin x/x, 1)", lambda f, w, x: f.where(x * x > 0, w(w(f.sin(x)) / x), 1),
         (0.0,), 0, 1),
)  # fmt: skip

NORMS = (
    Case("sqrt(x*x) at 0", lambda f, w, x: f.sqrt(w(x * x)), (0.0,), 0, 0, why="as abs"),
    Case("sqrt(x*x) tiny", lambda f, w, x: f.sqrt(w(x * x)), (-1e-30,), -1),
    Case("sqrt(x*x + y*y) at 0", lambda f, w, x, y: f.sqrt(w(w(x * x) + w(y * y))), (0.0, 0.0),
         0, 0, why="as the norm"),
    Case("sqrt(x*x + y*y) large", lambda f, w, x, y: f.sqrt(w(w(x * x) + w(y * y))),
         (1e30, 1e30)),
    Case("norm of huge numbers", _length, ([1e200, 1e200],), [ROOT, ROOT], "any", only=ONLY64),
    Case("sqrt(sum x**6) at 0", lambda f, w, x: f.sqrt(w(f.sum(w(w(x * x) * w(x * x) * w(x * x))))),
         ([0.0, 0.0],), [0, 0], 0),
    Case("1/(1+norm x) at 0", lambda f, w, x: 1 / w(1 + _length(f, w, x)), ([0.0, 0.0],), [0, 0],
         1, why="the norm at 0 has slope 0"),
    Case("norm(x-y) at x=y", lambda f, w, x, y: _length(f, w, w(x - y)), ([1.0, 2.0], [1.0, 2.0]),
         [0, 0], 0, why="the norm at 0 has slope 0"),
    Case("root of the mean square at 0", lambda f, w, x: f.sqrt(w(f.mean(w(x * x)))),
         ([0.0, 0.0, 0.0],), [0, 0, 0], 0, why="as the norm"),
    Case("x/norm x at 0", lambda f, w, x: w(x / _length(f, w, x))[0], ([0.0, 0.0],), [0, 0], 0,
         why="no direction"),
)  # fmt: skip

POWERS = (
    Case("x*x*sqrt(x)", lambda f, w, x: w(x * x) * w(f.sqrt(x)), (0.0,), 0, 0),
    Case("x*x/sqrt(x)", lambda f, w, x: w(x * x) / w(f.sqrt(x)), (0.0,), 0, 0),
    Case("x*sqrt(x)*sqrt(x)", lambda f, w, x: w(x * w(f.sqrt(x))) * w(f.sqrt(x)), (0.0,), 0, 0),
    Case("x*log(x)", lambda f, w, x: x * w(f.log(x)), (0.0,), -INF, 0),
    Case("x**3*log(x), twice", lambda f, w, x: w(x * x) * w(x * w(f.log(x))), (0.0,), 0, 0,
         order=2),
    Case("sqrt(x)*log(x)", lambda f, w, x: w(f.sqrt(x)) * w(f.log(x)), (0.0,), -INF, 0),
    Case("(x*log x)**2", lambda f, w, x: f.square(w(x * w(f.log(x)))), (0.0,), 0, 0),
    Case("x**1.5 * x**0.5", lambda f, w, x: w(f.power(x, 1.5)) * w(f.power(x, 0.5)), (0.0,), 0, 0),
)  # fmt: skip

QUOTIENTS = (
    Case("sinh(x)/x", lambda f, w, x: w(f.sinh(x)) / x, (0.0,), 0, 1),
    Case("tanh(x)/x", lambda f, w, x: w(f.tanh(x)) / x, (0.0,), 0, 1),
    Case("log1p(x)/x", lambda f, w, x: w(f.log1p(x)) / x, (0.0,), -0.5, 1),
    Case("erf(x)/x", lambda f, w, x: w(f.erf(x)) / x, (0.0,), 0),
    Case("x/expm1(x)", lambda f, w, x: x / w(f.expm1(x)), (0.0,), -0.5, 1),
    Case("(exp(x)-1)/x", lambda f, w, x: w(w(f.exp(x)) - 1) / x, (1e-5,)),
    Case("(exp(x)-1-x)/x**2", lambda f, w, x: w(w(f.exp(x)) - 1 - x) / w(x * x), (0.0,),
         MP.mpf(1) / 6, 0.5),
    Case("(x-sin x)/x**3", lambda f, w, x: w(x - w(f.sin(x))) / w(x * w(x * x)), (1e-2,)),
    Case("log(x)/(x-1)", lambda f, w, x: w(f.log(x)) / w(x - 1), (1.0,), -0.5, 1),
    Case("sin(x)/x, twice", lambda f, w, x: w(f.sin(x)) / x, (0.0,), -MP.mpf(1) / 3, 1, order=2),
    Case("(sqrt(1+x)-1)/x", lambda f, w, x: w(w(f.sqrt(w(1 + x))) - 1) / x, (0.0,), -0.125, 0.5),
    Case("sin(3x)/x", lambda f, w, x: w(f.sin(w(3 * x))) / x, (0.0,), 0, 3),
    Case("(1-cos x)/x", lambda f, w, x: w(1 - w(f.cos(x))) / x, (0.0,), 0.5, 0),
    Case("x/sin(x)", lambda f, w, x: x / w(f.sin(x)), (0.0,), 0, 1),
    Case("(cosh x-1)/x**2", lambda f, w, x: w(w(f.cosh(x)) - 1) / w(x * x), (1e-4,)),
    Case("x/tanh(x)", lambda f, w, x: x / w(f.tanh(x)), (0.0,), 0, 1),
    Case("sin(x*x)/x", lambda f, w, x: w(f.sin(w(x * x))) / x, (0.0,), 1, 0),
    Case("sin(x)**2/x**2", lambda f, w, x: f.square(w(w(f.sin(x)) / x)), (0.0,), 0, 1),
)  # fmt: skip

EXPONENTIALS = (
    Case("log(1+exp(-x))", lambda f, w, x: f.log(w(1 + w(f.exp(w(-x))))), (-1000.0,)),
    Case("log(exp x+exp y)", lambda f, w, x, y: f.log(w(w(f.exp(x)) + w(f.exp(y)))),
         (1000.0, 999.0)),
    Case("log(exp x+exp -x)", lambda f, w, x: f.log(w(w(f.exp(x)) + w(f.exp(w(-x))))), (1000.0,)),
    Case("log(1-exp x)", lambda f, w, x: f.log(w(1 - w(f.exp(x)))), (-1e-10,)),
    Case("log(exp(x)-1)", lambda f, w, x: f.log(w(w(f.exp(x)) - 1)), (1000.0,)),
    Case("1-tanh(x)**2", lambda f, w, x: 1 - w(f.square(w(f.tanh(x)))), (20.0,)),
    Case("sigmoid(x)*(1-sigmoid(x))", lambda f, w, x: (lambda p: p * w(1 - p))(w(f.sigmoid(x))),
         (40.0,)),
    Case("log sum exp(x)", lambda f, w, x: f.log(w(f.sum(w(f.exp(x))))), ([1000.0, 999.0],),
         [_P, _P * _E], 1000 + MP.log(1 + _E)),
    Case("exp(x)/sum exp(x)", lambda f, w, x: _softmax(f, w, x)[0], ([1000.0, 999.0],),
         [_P * _P * _E, -_P * _P * _E], _P),
    Case("log(exp(x)/sum exp(x))", lambda f, w, x: w(f.log(_softmax(f, w, x)))[0],
         ([0.0, 1000.0],), [1, -1], -1000),
    Case("log normal_cdf(x)", lambda f, w, x: f.log(w(f.normal_cdf(x))), (-40.0,)),
    Case("log(x*x)", lambda f, w, x: f.log(w(x * x)), (1e30,)),
    Case("exp(x)*exp(-x)", lambda f, w, x: w(f.exp(x)) * w(f.exp(w(-x))), (1000.0,), 0, 1),
    Case("sqrt(x+1)-sqrt(x)", lambda f, w, x: w(f.sqrt(w(x + 1))) - w(f.sqrt(x)), (1e6,)),
    Case("tanh from exponentials", _tanh, (400.0,), 0, 1),
    Case("cross entropy of sigmoid", _cross_entropy, (-300.0,)),
    Case("log(1+exp x+exp y)", lambda f, w, x, y: f.log(w(1 + w(f.exp(x)) + w(f.exp(y)))),
         (1000.0, 10.0)),
    Case("asinh from log", lambda f, w, x: f.log(w(x + w(f.sqrt(w(w(x * x) + 1))))), (1e-9,)),
    Case("acos(x)**3", lambda f, w, x: (lambda a: w(f.square(a)) * a)(w(f.acos(x))), (1.0,), 0, 0),
    Case("log cosh(x)**2", lambda f, w, x: f.log(w(f.square(w(f.cosh(x))))), (800.0,)),
)  # fmt: skip

MORE: tuple[Case, ...] = (*SELECTIONS, *NORMS, *POWERS, *QUOTIENTS, *EXPONENTIALS)
