"""The stabilising rules at the edges of their families: members that are seldom written, and what
only looks like one and must stay as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
from checking import evaluate_all

import symprop as prop
from symprop import formula as fm
from symprop import term as t
from symprop.ops import elementwise as ops
from symprop.ops import powers
from symprop.ops.domain import Interval, Positive, Reals
from symprop.ops.reference import difference
from symprop.simplify.stable import stabilise
from symprop.simplify.stable_rules import stabilised

exp, log, log1p, sqrt, sin = ops.exp, ops.log, ops.log1p, ops.sqrt, ops.sin
Left = Interval(high=0, open_high=True)


def term(formula: Callable[..., Any], count: int) -> t.Term:
    """A formula over reads 0, 1, ..."""
    symbols = [sympy.Dummy(f"x{k}") for k in range(count)]
    return fm.from_sympy(formula(*symbols), {s: t.read(k) for k, s in enumerate(symbols)})


CHANGED: dict[str, tuple[Callable[..., Any], str, tuple[Interval, ...]]] = {
    "log of a multiple of exp": (lambda x: log(2 * exp(x)), "log of a product", (Reals,)),
    "log of exp times a value": (lambda x, y: log(3 * exp(x) * y), "log of a product",
                                 (Reals, Positive)),
    "log of exps above and below": (lambda x, y: log(exp(x) * exp(-2 * y)), "log of a product",
                                    (Reals, Reals)),
    "log of a root": (lambda x: log(sqrt(x)), "log of a product", (Positive,)),
    "log of an odd power": (lambda x: log(x**3), "log of a product", (Positive,)),
    "log of an even power below": (lambda x: log(x**-2), "log of a product", (Reals,)),
    "log of a power of exp": (lambda x: log(exp(x) ** 2), "log of a product", (Reals,)),
    "log of three exps": (lambda x, y: log(exp(x) + exp(y) + exp(x * y)),
                          "log of a sum of exponentials", (Reals, Reals)),
    "exp of opposite multiples": (lambda x, y: exp(2 * x) * exp(-2 * x) * y,
                                  "exponentials merged", (Reals, Reals)),
    "exp of a power of 2": (lambda x: exp(3 * x) * exp(x), "exponentials merged", (Reals,)),
    "exp of half": (lambda x: exp(x) / exp(x / 2), "exponentials merged", (Reals,)),
    "a root and a number": (lambda x: 3 * sqrt(x * x + 4) - 6 + x, "difference of roots", (Reals,)),
    "a number and a root": (lambda x: 2 - sqrt(4 - x), "difference of roots", (Left,)),
    "roots among others": (lambda x, y: sqrt(x + y + 1) - sqrt(y + 1) + 5 * x + 2,
                           "difference of roots", (Positive, Positive)),
    "three roots": (lambda x, y: sqrt(y) + sqrt(x + 1) - sqrt(x), "difference of roots",
                    (Positive, Positive)),
    "squares with numbers": (lambda x, y: sqrt(x**2 + 3 * y**2), "root of a sum of squares",
                             (Reals, Reals)),
    "a square and a fourth power": (lambda x, y: sqrt(x**2 + y**4), "root of a sum of squares",
                                    (Reals, Reals)),
    "two squares": (lambda x, y: sqrt(x**2 + y**2), "root of a sum of squares", (Reals, Reals)),
    "a square of a sum": (lambda x, y: sqrt((x - y) ** 2 + 2 * (x + y) ** 2),
                          "root of a sum of squares", (Reals, Reals)),
    "a product of squares": (lambda x, y: sqrt(x**2 * y**2 + x**4), "root of a sum of squares",
                             (Reals, Reals)),
    "a quotient by a length": (lambda x, y, z: 3 * x / sqrt(x**2 + y**2) / z,
                               "quotient by a length", (Reals, Reals, Positive)),
    "powers of logs": (lambda x: x**3 * log(x) ** 2, "power times log", (Positive,)),
    "two powers times logs": (lambda x, y: x * log(x) * y * log(y), "power times log",
                              (Positive, Positive)),
    "a root times log": (lambda x, y: sqrt(x) * log(x) * y, "power times log", (Positive, Reals)),
    "a root times a power times log": (lambda x: sqrt(x) * x * log(x), "power times log",
                                       (Positive,)),
    "a power below a root": (lambda x: x / sqrt(x) ** 3, "powers merged", (Positive,)),
    "a root squared": (lambda x, y: y * sqrt(x) * sqrt(x) * x, "powers merged", (Positive, Reals)),
    "a quotient of a sum": (lambda x, y: ops.expm1(x + y) / (x + y), "removable singularity",
                            (Reals, Reals)),
    "a quotient at 1": (lambda x: log(x) / (x - 1), "removable singularity", (Positive,)),
    "a quotient with a zero beside it": (lambda x: sin(x) * (x - 2) / x, "removable singularity",
                                         (Reals,)),
    "a quotient with a pole beside it": (lambda x: sin(x) / (x * (x - sympy.Rational(1, 16))),
                                         "removable singularity", (Left,)),
    "a quotient times others": (lambda x, y: 5 * y * sin(x) / x, "removable singularity",
                                (Reals, Reals)),
}  # fmt: skip

SAME: dict[str, tuple[Callable[..., Any], int]] = {
    "log of a multiple": (lambda x: log(2 * x), 1),
    "log of a negative multiple": (lambda x: log(-2 * exp(x)), 1),
    "log1p of 1 and exponentials": (lambda x, y: log1p(1 + exp(x) + exp(y)), 2),
    "log1p of exponentials": (lambda x, y: log1p(exp(x) + exp(y)), 2),
    "log of 2 and exponentials": (lambda x, y: log(2 + exp(x) + exp(y)), 2),
    "log of a multiple among exponentials": (lambda x, y: log(exp(x) + 2 * exp(y)), 2),
    "exponentials of two values": (lambda x, y: exp(x) * exp(y), 2),
    "an exponential thrice": (lambda x: exp(x) * exp(2 * x), 1),
    "roots of two values": (lambda x, y: sqrt(x) - sqrt(y), 2),
    "roots added": (lambda x, y: sqrt(x + y + 1) + sqrt(y + 1), 2),
    "multiples of roots": (lambda x: 2 * sqrt(x + 1) - sqrt(x), 1),
    "a root and a number added": (lambda x: sqrt(x + 4) + 2, 1),
    "a root of a product and a number": (lambda x, y: sqrt(x * y) - 2, 2),
    "a root of a square and a product": (lambda x, y: sqrt(x**2 + x * y), 2),
    "a root of a difference of squares": (lambda x, y: sqrt(x**2 - y**2), 2),
    "a root of squares and a number": (lambda x, y: sqrt(x**2 + y**2 + 1), 2),
    "a root of a square and a cube": (lambda x, y: sqrt(x**2 + y**3), 2),
    "a root of a square over a value": (lambda x, y, z: sqrt((x**2 + 3 * y**2) / z), 3),
    "a log over its power": (lambda x: log(x) / x, 1),
    "a power over its log": (lambda x: x * x / log(x), 1),
    "a log times another power": (lambda x, y: y * log(x), 2),
    "powers below": (lambda x: 1 / x / sqrt(x), 1),
    "a pole": (lambda x: sin(x) / x**2, 1),
    "a divisor that is not 0": (lambda x: log1p(x) / (x * x + 3), 1),
    "other limits on both sides": (lambda x: sin(x) / ops.abs(x), 1),
    "no limit": (lambda x: sin(1 / x) / x, 1),
    "infinite on one side": (lambda x: sin(x) / ops.relu(x), 1),
    "beyond all numbers on one side": (lambda x: exp(exp(1 / x)) * sin(x) / x, 1),
    "two unknowns": (lambda x, y: sin(x * y) / x, 2),
    "a pole close by": (lambda x: sin(x) / (x * (x - sympy.Rational(1, 256))), 1),
    "a quotient longer than is looked at": (
        lambda x: sin(sum(sympy.Rational(1, k) * exp(x * k) for k in range(2, 30))) / x, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_a_member_is_written_so_that_it_keeps_its_digits(name: str) -> None:
    formula, rule, domains = CHANGED[name]
    before = term(formula, len(domains))
    fired: list[str] = []
    after = stabilised(before, None, fired)
    assert rule in fired
    assert difference(before, after, domains, decades=1.5) is None
    again: list[str] = []
    assert stabilised(after, None, again) is after
    assert not again


@pytest.mark.parametrize("name", SAME)
def test_what_only_looks_like_a_member_stays(name: str) -> None:
    formula, count = SAME[name]
    before = term(formula, count)
    fired: list[str] = []
    assert stabilised(before, None, fired) is before
    assert not fired


def both(e: Any, values: dict[str, Any]) -> tuple[Any, Any]:
    """The stable graph in float64, and what was written at 60 digits."""
    (new,) = stabilise([e.node])
    assert new is not e.node
    with np.errstate(all="ignore"):
        (found,), (wanted,) = evaluate_all([new], values), evaluate_all([e], values, 60)
    return found, wanted.astype(float)


@pytest.mark.parametrize("side", [1, -1])
def test_beyond_the_end_of_its_domain_a_quotient_is_not_defined(side: int) -> None:
    """The polynomial that stands for it near the end reaches beyond."""
    x = prop.input("x", (5,))
    root = prop.sqrt(x * side)
    data = np.array([-0.5, -1e-3, 0.0, 1e-3, 0.5]) * side
    (new,) = stabilise([(prop.sin(root) * root / x).node])
    (found,) = evaluate_all([new], {"x": data})
    np.testing.assert_array_equal(np.isnan(found), [True, True, False, False, False])
    r = np.sqrt(np.abs(data[2:]))
    np.testing.assert_allclose(found[2:], side * np.sinc(r / np.pi), rtol=1e-15)


@pytest.mark.parametrize("kind", ["scan", "region"])
def test_blocks_are_stabilised_too(kind: str) -> None:
    x, w = prop.input("x", (3,)), prop.input("w", (2,))
    if kind == "scan":
        y, _ = prop.scan(lambda c, s: (prop.log(1.0 + prop.exp(c * s)), None), w, x)
    else:
        y = prop.region("naive")(lambda a, b: prop.log(1.0 + prop.exp(a[:2] * b)))(x, w)
    values = {"x": np.array([1e3, 2.0, 1.5]), "w": np.array([1.0, 2.0])}
    found, wanted = both(y, values)
    np.testing.assert_allclose(found, wanted, rtol=1e-14)
    g = evaluate_all(prop.gradient(prop.sum(y), [x, w]), values)
    assert all(np.all(np.isfinite(a)) for a in g)
    assert np.all(g[1] > 0)


def test_a_block_without_anything_to_mend_is_the_same_object() -> None:
    x = prop.input("x", (3,))
    y, _ = prop.scan(lambda c, s: (c * s, None), x[0], x)
    assert stabilise([y.node]) == [y.node]


# --- sums of exponentials ------------------------------------------------------------------------

LARGE = np.array([[1000.0, 1001.0, 999.0], [-1000.0, -1002.0, -1001.0]])


SUMS: dict[str, Callable[[Any, Any], Any]] = {
    "rows": lambda z, s: prop.log(prop.sum(prop.exp(z), 1)),
    "columns": lambda z, s: prop.log(prop.sum(prop.exp(z), 0)),
    "all": lambda z, s: prop.log(prop.sum(prop.exp(z))),
    "of a formula": lambda z, s: prop.log(prop.sum(prop.exp(z * 2.0 + 1.0), 1)),
    "transposed": lambda z, s: prop.log(prop.sum(prop.exp(z).T, 0)),
    "of the transposed": lambda z, s: prop.log(prop.sum(prop.exp(z.T), 0)),
    "an axis kept": lambda z, s: prop.log(prop.sum(prop.exp(z), 1, keepdims=True)),
    "read at another place": lambda z, s: prop.log(prop.sum(prop.exp(z), 1))[::-1],
    "quotient": lambda z, s: prop.exp(z) / prop.sum(prop.exp(z), 1, keepdims=True),
    "quotient of columns": lambda z, s: prop.exp(z) / prop.sum(prop.exp(z), 0),
    "quotient times others": lambda z, s: 3.0 * s * prop.exp(z) / prop.sum(prop.exp(z), 0) / 7.0,
    "quotient of the transposed": lambda z, s: (prop.exp(z) / prop.sum(prop.exp(z), 0)).T,
    "log of a quotient": lambda z, s: prop.log(prop.exp(z) / prop.sum(prop.exp(z), 0)),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_of_exponentials_neither_overflow_nor_vanish(name: str) -> None:
    z, s = prop.input("z", (2, 3)), prop.input("s", (3,))
    found, wanted = both(SUMS[name](z, s), {"z": LARGE, "s": np.array([1.0, -2.0, 0.5])})
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


OTHERS: dict[str, Callable[[Any, Any], Any]] = {
    "shifted already": lambda z, s: prop.log(
        prop.sum(prop.exp(z - prop.max(z, 1, keepdims=True)), 1)),
    "of something else": lambda z, s: prop.log(prop.sum(prop.tanh(z), 1)),
    "with a factor": lambda z, s: prop.log(prop.sum(prop.exp(z) * s, 1)),
    "a diagonal": lambda z, s: prop.log(prop.sum(prop.exp(prop.einsum("ii->i", z[:, :2])))),
    "a part": lambda z, s: prop.log(prop.sum(prop.exp(z)[:, 1:], 1)),
    "a maximum": lambda z, s: prop.log(prop.max(prop.exp(z), 1)),
    "one of another": lambda z, s: prop.exp(s) / prop.sum(prop.exp(z), 0),
    "multiplied": lambda z, s: prop.exp(z) * prop.sum(prop.exp(z), 0),
    "cumulated": lambda z, s: prop.log(prop.cumsum(prop.exp(z), 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_sums_keep_their_value(name: str) -> None:
    z, s = prop.input("z", (2, 3)), prop.input("s", (3,))
    values = {"z": np.array([[0.3, 1.0, -0.5], [0.2, 2.0, 0.1]]), "s": np.array([1.0, 2.0, 0.5])}
    e = OTHERS[name](z, s)
    with np.errstate(invalid="ignore"):
        (found,), (wanted,) = evaluate_all(stabilise([e.node]), values), evaluate_all([e], values)
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


def test_what_a_derivative_is_asked_for_is_not_looked_through() -> None:
    """d/de of log(sum e) is 1/sum e, although e is an exponential."""
    z = prop.input("z", (3,))
    e = prop.exp(z)
    data = {"z": np.array([0.1, 0.5, -1.0])}
    total = np.exp(data["z"]).sum()
    for y, wanted in (
        (prop.log(prop.sum(e)), np.full(3, 1 / total)),
        (prop.sum(prop.log(1.0 + e)), 1 / (1 + np.exp(data["z"]))),
        (prop.sum(e / prop.sum(e)), np.zeros(3)),
    ):
        np.testing.assert_allclose(
            evaluate_all([prop.gradient(y, e)], data)[0], wanted, rtol=1e-14, atol=1e-16
        )


LENGTHS: dict[str, Callable[[Any], Any]] = {
    "root": lambda x: prop.sqrt(prop.sum(x * x)),
    "root of a mean": lambda x: prop.sqrt(prop.mean(x**2)),
    "root of a sum of sums": lambda x: prop.sqrt(prop.sum(x**2) + prop.sum(x**4) * 3.0),
    "quotient": lambda x: prop.sum(x / prop.sqrt(prop.sum(x * x))),
    "hypot": lambda x: prop.sqrt(x[0] * x[0] + x[1] * x[1]),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_a_length_has_derivative_0_at_0(name: str) -> None:
    x = prop.input("x", (2,))
    g = evaluate_all([prop.gradient(LENGTHS[name](x), x)], {"x": np.zeros(2)})[0]
    assert np.all(np.isfinite(g))
    if "quotient" not in name:
        np.testing.assert_array_equal(g, 0.0)
    at = {"x": np.array([3.0, 4.0])}
    found, wanted = both(LENGTHS[name](x), at)
    np.testing.assert_allclose(found, wanted, rtol=1e-15)


def test_a_root_of_anything_else_keeps_its_derivative_at_0() -> None:
    x = prop.input("x", (2,))
    for y in (prop.sqrt(prop.sum(x)), prop.sqrt(prop.sum(x * x * x)), prop.sqrt(-prop.sum(x * x))):
        (new,) = stabilise([y.node])
        names = {c.fn.name for c in t.subterms(new.body) if isinstance(c, t.Call)}
        assert powers.norm_root.function.name not in names


@pytest.mark.parametrize(("function", "slope"), [(prop.acosh, 2.0), (prop.acos, -2.0)])
def test_the_square_of_an_inverse_has_its_slope_at_the_end_of_its_domain(
    function: Any, slope: float
) -> None:
    x = prop.input("x", 1)
    found = prop.compile(prop.gradient(prop.sum(function(x) ** 2), x), "numpy", dtype="float64")
    assert found({"x": [1.0]})[0] == pytest.approx(slope, rel=1e-15)
