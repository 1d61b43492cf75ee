"""The bridge between SymPy and Term: values survive both ways, hostile input does not."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import symprop.ops.elementwise as ops
from symprop import formula
from symprop import term as tm
from symprop.errors import DeclarationError
from symprop.formula import as_fraction, exact, from_sympy, select_, to_sympy
from symprop.ops.declare import define, where_symbolic
from symprop.ops.reference import evaluate
from symprop.term import Term

X, Y, Z = sympy.symbols("x y z")
READS = {X: tm.read(0), Y: tm.read(1), Z: tm.read(2)}
x, y = tm.read(0), tm.read(1)
CTX = mpmath.mp.clone()
CTX.dps = 30


def term(e: object) -> Term:
    return from_sympy(e, READS)


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (2 * X + 3 * Y - 1, 2 * x + 3 * y - 1),
        (X * Y / 3, x * y * Fraction(1, 3)),
        (X / Y, x / y),
        (X**-2, x**-2),
        (0.1 * X, Fraction(1, 10) * x),
        (sympy.Float("0.1", 40) * X, Fraction(1, 10) * x),
        (sympy.Rational(1, 3) + X, x + Fraction(1, 3)),
        (sympy.sqrt(X), tm.call(ops.sqrt.function, x)),
        (X ** sympy.Rational(3, 2), tm.call(ops.sqrt.function, x) ** 3),
        (1 / sympy.sqrt(X), tm.call(ops.sqrt.function, x) ** -1),
        (X ** sympy.Rational(1, 3), tm.call(ops.power.function, x, Fraction(1, 3))),
        (X**Y, tm.call(ops.power.function, x, y)),
        (2**X, tm.call(ops.power.function, 2, x)),
        (sympy.sqrt(sympy.pi), tm.call(ops.sqrt.function, tm.call(tm.PI))),
        (sympy.exp(X), tm.call(ops.exp.function, x)),
        (sympy.E * X, tm.call(ops.exp.function, 1) * x),
        (sympy.log(X), tm.call(ops.log.function, x)),
        (sympy.sin(X) + sympy.cos(X), tm.call(ops.sin.function, x) + tm.call(ops.cos.function, x)),
        (sympy.tanh(X), tm.call(ops.tanh.function, x)),
        (
            sympy.erf(X) + sympy.erfc(X),
            tm.call(ops.erf.function, x) + tm.call(ops.erfc.function, x),
        ),
        (sympy.Abs(X), tm.call(ops.abs.function, x)),
        (sympy.sign(X), tm.call(ops.sign.function, x)),
        (ops.square(X), x**2),
        (ops.sigmoid(-X), tm.call(ops.sigmoid.function, -x)),
        (X > Y, tm.call(tm.LT, y, x)),
        (X >= Y, tm.call(tm.LE, y, x)),
        (X < Y, tm.call(tm.LT, x, y)),
        (X <= Y, tm.call(tm.LE, x, y)),
        (sympy.Eq(X, 1), tm.call(tm.EQ, x, 1)),
        (sympy.Ne(X, 1), tm.call(tm.NE, x, 1)),
        (~sympy.Eq(X, 1), tm.call(tm.NE, x, 1)),
        (sympy.true, tm.num(1)),
        (where_symbolic(X > 0, X, 0), tm.call(tm.SELECT, tm.call(tm.LT, 0, x), x, 0)),
        (where_symbolic(X, 1, 2), tm.call(tm.SELECT, tm.call(tm.NE, x, 0), 1, 2)),
        (
            sympy.Piecewise((X, X > 0), (Y, X < -1), (1, True)),
            tm.call(
                tm.SELECT,
                tm.call(tm.LT, 0, x),
                x,
                tm.call(tm.SELECT, tm.call(tm.LT, x, -1), y, 1),
            ),
        ),
        (3, tm.num(3)),
        (0.5, tm.num(Fraction(1, 2))),
        (Fraction(2, 7), tm.num(Fraction(2, 7))),
        (np.float32(0.5), tm.num(Fraction(1, 2))),
        (np.int64(4), tm.num(4)),
    ],
    ids=str,
)
def test_reads(expr: object, expected: Term) -> None:
    assert term(expr) is expected


def test_a_piecewise_that_ends_is_nan_beyond() -> None:
    t = term(sympy.Piecewise((X, X > 0), (0, sympy.Eq(X, 0))))
    assert CTX.isnan(evaluate(t, [CTX.mpf(-1)], CTX))
    assert evaluate(t, [CTX.mpf(2)], CTX) == 2


def test_sets_of_sympy_are_read_in_one_order() -> None:
    """Max, And and Or keep their arguments in sets: the hash seed must not show."""
    code = (
        "import sympy; from symprop.formula import from_sympy; from symprop import term as tm\n"
        "x, y, z = sympy.symbols('x y z')\n"
        "e = sympy.Piecewise((sympy.Max(x, y, z), sympy.And(x > 0, y > 0, z > 0)), (0, True))\n"
        "print(from_sympy(e, {x: tm.read(0), y: tm.read(1), z: tm.read(2)}))\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(texts) == 1


# --- refusing -----------------------------------------------------------------------------------


class Pretender:
    """Calls itself SymPy."""

    def _sympy_(self) -> Any:
        raise AssertionError("asked")


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ("x + 1", "str 'x \\+ 1'"),
        (b"x", "bytes"),
        (True, "bool"),
        (None, "NoneType"),
        ([X], "list"),
        (Pretender(), "Pretender"),
        (float("nan"), "'nan'"),
        (float("inf"), "'inf'"),
        (sympy.nan, "'nan'"),
        (sympy.oo, "'oo'"),
        (sympy.zoo, "'zoo'"),
        (-sympy.oo * sympy.Symbol("x", positive=True), "'-oo'|'oo'|symbol"),
        (sympy.I * X, "'I'"),
        (sympy.gamma(X), "function 'gamma'"),
        (sympy.Function("f")(X), "function 'f'"),
        (sympy.Function('x"; import os')(X), "function"),
        (sympy.Symbol("w"), "symbol 'w', which is none of its arguments"),
        (X**1001, "exponent '1001'"),
        (X**-1001, "exponent"),
        (X ** sympy.Rational(10**9, 7), "exponent"),
        (sympy.Integer(2) ** 5000 * X, "bits"),
        (sympy.Integral(X, (X, 0, 1)), "'Integral'"),
        (sympy.Matrix([X]), "Matrix"),
        (sympy.Tuple(X), "'Tuple'"),
        (sympy.Derivative(sympy.Function("f")(X), X), "'Derivative'"),
        (sympy.GoldenRatio * X, "'GoldenRatio'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_refuses(expr: object, message: str) -> None:
    with pytest.raises(DeclarationError, match=message) as caught:
        term(expr)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_division_by_zero_is_refused() -> None:
    zero = sympy.Add(X, -X, evaluate=False)
    with pytest.raises(DeclarationError, match="divides by the constant 0"):
        term(sympy.Pow(zero, -1, evaluate=False))


def test_depth_and_size_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = X
    for _ in range(400):
        deep = ops.sin(deep)
    with pytest.raises(DeclarationError, match="deeper than 200"):
        term(deep)
    monkeypatch.setattr(formula, "MAX_SIZE", 500)
    wide = sympy.Add(*(sympy.sin(k * X) for k in range(1, 300)))
    with pytest.raises(DeclarationError, match="more than 500 parts"):
        term(wide)
    with pytest.raises(DeclarationError):
        define("deep", deep)


def test_a_power_of_powers_is_refused() -> None:
    tower = sympy.Pow(sympy.Pow(9, 9, evaluate=False), 9**9, evaluate=False)
    with pytest.raises(DeclarationError):
        term(tower)
    square = sympy.Pow(sympy.Pow(10, 900, evaluate=False), 900, evaluate=False)
    with pytest.raises(DeclarationError, match="bits"):
        term(square)


def test_numbers_are_the_decimals_they_are_written_as() -> None:
    assert as_fraction(0.1) == Fraction(1, 10)
    assert as_fraction(1e-8) == Fraction(1, 10**8)
    assert as_fraction(np.float32(0.1)) != as_fraction(0.1)
    assert exact(0.1) == sympy.Rational(1, 10)
    assert exact(sympy.Float(0.1)) == sympy.Rational(1, 10)


# --- giving back ----------------------------------------------------------------------------------


def same(a: Any, b: Any) -> bool:
    if CTX.isnan(a) or CTX.isnan(b):
        return bool(CTX.isnan(a) and CTX.isnan(b))
    return bool(abs(a - b) <= CTX.mpf(10) ** -20 * max(1, abs(a)))


numbers = st.fractions(-5, 5, max_denominator=9)
leaves = st.one_of(numbers.map(tm.num), st.sampled_from([tm.read(0), tm.read(1)]))


def grow(children: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
    smooth = [ops.sin, ops.tanh, ops.sigmoid, ops.relu, ops.abs, ops.gelu]
    compare = st.builds(
        lambda fn, a, b: tm.call(fn, a, b), st.sampled_from([tm.LT, tm.LE]), children, children
    )
    return st.one_of(
        st.builds(tm.add, children, children),
        st.builds(tm.mul, children, children),
        st.builds(tm.scale, numbers, children),
        st.builds(tm.power, children.filter(lambda t: t is not tm.num(0)), st.integers(1, 3)),
        st.builds(lambda op, a: tm.call(op.function, a), st.sampled_from(smooth), children),
        st.builds(lambda a, b: tm.call(ops.maximum.function, a, b), children, children),
        st.builds(lambda c, a, b: tm.call(tm.SELECT, c, a, b), compare, children, children),
        st.builds(lambda a, b: tm.call(tm.STRONG_MUL, a, b), children, children),
        st.builds(lambda a: tm.call(tm.CASTS["float32"], a), children),
        compare,
    )


@settings(max_examples=150, deadline=None)
@given(st.recursive(leaves, grow, max_leaves=8), numbers, numbers)
def test_there_and_back(t: Term, a: Fraction, b: Fraction) -> None:
    back = from_sympy(to_sympy(t, [X, Y]), READS)
    point = [CTX.mpf(v.numerator) / v.denominator for v in (a, b)]
    assert same(evaluate(t, point, CTX), evaluate(back, point, CTX))


def test_back_in_our_symbols() -> None:
    t = tm.call(ops.sigmoid.function, x * 2) - Fraction(1, 2)
    assert to_sympy(t, [X]) == ops.sigmoid(2 * X) - sympy.Rational(1, 2)
    assert to_sympy(tm.call(tm.LT, x, y) * 3, [X, Y]) == 3 * select_(X < Y, 1, 0)
    assert to_sympy(tm.call(tm.PI), []) == sympy.pi
    assert to_sympy(tm.call(tm.SELECT, x, 1, y), [X, Y]) == select_(sympy.Ne(X, 0), 1, Y)
    both = tm.call(tm.AND, tm.call(tm.LT, x, y), tm.call(tm.NOT, tm.call(tm.LE, x, 0)))
    assert to_sympy(both, [X, Y]) == sympy.And(X < Y, sympy.Not(X <= 0))
