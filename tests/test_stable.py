"""The stabilising rules, by enumeration: each is an identity, commutes with differentiation, gains
digits, and makes no point worse by more than half a bit (``stable_gain`` says how that is counted).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from checking import assert_equal, evaluate_all, weighted
from stable_gain import CLUSTER, gain

import symprop as prop
from symprop import term as t
from symprop.gradient import pull
from symprop.ops.declare import REGISTRY
from symprop.ops.reference import difference
from symprop.simplify.stable import stabilise
from symprop.simplify.stable_families import EVEN
from symprop.simplify.stable_rules import STABLE, STABLE_SUMS, Stable, stabilised

CTX = mpmath.mp.clone()
CTX.dps = 60

DTYPES = ("float64", "float32")
SAMPLED, MANY = 60, 1_000_000 // CLUSTER  # clusters
HALF_A_BIT = 0.5

every_rule = pytest.mark.parametrize("rule", STABLE, ids=[r.name for r in STABLE])


def test_rules_are_data() -> None:
    names = [r.name for r in (*STABLE, *STABLE_SUMS)]
    assert len(set(names)) == len(names)
    assert all(r.algebra for r in (*STABLE, *STABLE_SUMS))


@every_rule
def test_the_rule_fires_on_its_formula_and_not_on_its_result(rule: Stable) -> None:
    fired: list[str] = []
    made = stabilised(rule.pattern, None, fired)
    assert rule.name in fired or fired
    assert made is not rule.pattern
    again: list[str] = []
    assert stabilised(made, None, again) is made
    assert not again


@every_rule
def test_the_rule_is_an_identity_at_60_digits(rule: Stable) -> None:
    for decades in (1.5, 12):
        assert difference(rule.pattern, rule.result, rule.domains, decades=decades) is None


@every_rule
def test_the_rule_commutes_with_differentiation(rule: Stable) -> None:
    """grad(rewrite(f)) and rewrite(grad(f)), at 60 digits, to second order."""
    for k in range(len(rule.domains)):
        late, early = rule.pattern, rule.result
        for _ in range(2):
            late, early = stabilised(t.diff(late, k)), t.diff(early, k)
            assert difference(late, early, rule.domains, decades=1.5) is None


# The rules that do lose more somewhere in the default backend's floats, by dtype, and how many bits
# in a million points.
LOSING: dict[str, tuple[float, float]] = {
    "softplus": (0.9, 0.5),
    "softplus of log1p": (0.9, 0.5),
    "log of sigmoid": (0.9, 0.5),
    "log1p of -sigmoid": (0.9, 0.5),
    "log of a sum of exponentials": (0.9, 0.5),
    "log of 1 and exponentials": (0.9, 0.7),
    "log of cosh": (0.9, 0.5),
    "log of erfc": (1.0, 1.0),
    "log of the normal distribution": (0.9, 0.9),
    "1 - cos": (1.0, 1.0),
    "difference of roots": (1.0, 1.0),
    "powers merged": (0.6, 0.7),
}


def loses_nothing(rule: Stable, count: int) -> None:
    for dtype, bound in zip(DTYPES, LOSING.get(rule.name, (HALF_A_BIT,) * 2), strict=True):
        found = gain(rule.domains[0], rule.pattern, rule.result, "native", dtype, count)
        assert found.lost <= bound, f"{rule.name} in {dtype}: {found}"


@every_rule
def test_the_rule_loses_less_than_half_a_bit(rule: Stable) -> None:
    loses_nothing(rule, SAMPLED)


@pytest.mark.slow
@every_rule
def test_the_rule_loses_less_than_half_a_bit_at_a_million_points(rule: Stable) -> None:
    loses_nothing(rule, MANY)


@every_rule
def test_the_rule_gains_digits(rule: Stable) -> None:
    """A gain is in the value or in its derivative, which overflows where the value does not."""
    found = gain(rule.domains[0], rule.pattern, rule.result, "numpy", "float64", SAMPLED)
    if found.gained < 1:
        slopes = t.diff(rule.pattern, 0), stabilised(t.diff(rule.result, 0))
        found = gain(rule.domains[0], *slopes, "numpy", "float64", SAMPLED)
    assert found.gained >= 1


# --- rules that look at whole sums ----------------------------------------------------------------


def _length(x: Any) -> Any:
    return prop.sqrt(prop.sum(x * x))


SUMS: dict[str, Callable[[Any], Any]] = {
    "log-sum-exp": lambda x: prop.log(prop.sum(prop.exp(x), axis=0)),
    "softmax": lambda x: prop.exp(x) / prop.sum(prop.exp(x), axis=1, keepdims=True),
    "root of a sum of squares": _length,
    "quotient by a length": lambda x: x / _length(x),
    "power seen whole": lambda x: prop.square(prop.sqrt(prop.exp(x))),
    "even function of a size": lambda x: prop.log_cosh(prop.abs(x)),
}


def test_every_rule_on_sums_has_its_example() -> None:
    assert list(SUMS) == [r.name for r in STABLE_SUMS]


@pytest.mark.parametrize("name", SUMS)
def test_a_rule_on_sums_keeps_value_and_gradient_at_60_digits(name: str) -> None:
    x = prop.input("x", (2, 3))
    value = SUMS[name](x)
    naive = weighted(value).node
    (made,) = stabilise([naive])
    assert made is not naive
    (rewritten,) = pull([made], [prop.constant(1.0).node], [x.node])
    data = {x.node: np.array([[0.5, -1.25, 2.0], [1.5, 0.25, -0.75]])}
    assert_equal(evaluate_all([made], data, 60), evaluate_all([naive], data, 60), 1e-55)
    step = 2.0**-20  # exact beside these numbers
    moved = [{x.node: data[x.node] + sign * step} for sign in (-1, 1)]
    below, above = (evaluate_all([naive], d, 60)[0] for d in moved)
    wanted = (above - below) / (2 * CTX.mpf(step))
    found = np.sum(evaluate_all([rewritten], data, 60)[0])
    assert abs(found - wanted) <= 1e-9 * (1 + abs(wanted))


def test_a_naive_softmax_has_the_librarys_values() -> None:
    x = prop.input("x", (2, 3))
    naive = prop.exp(x) / prop.sum(prop.exp(x), axis=1, keepdims=True)
    data = {"x": np.array([[1000.0, 0.0, -1000.0], [1.0, 2.0, 3.0]])}
    found, wanted = prop.compile([naive, prop.softmax(x, axis=1)], dtype="float64")(data)
    np.testing.assert_array_equal(found, wanted)


def test_rows_whose_maximum_is_infinite_are_as_they_were_written() -> None:
    x = prop.input("x", (2, 2))
    naive = prop.log(prop.sum(prop.exp(x), axis=1))
    rows = np.array([[-np.inf, -np.inf], [np.inf, 0.0]])
    (found,) = prop.compile([naive], dtype="float64")({"x": rows})
    np.testing.assert_array_equal(found, [-np.inf, np.inf])


def test_a_row_of_minus_infinities_is_0_and_stays_so_when_it_is_differentiated() -> None:
    x = prop.input("x", (2, 2))
    rows = np.array([[-np.inf, -np.inf], [0.0, -np.inf]])
    naive = prop.exp(x) / prop.sum(prop.exp(x), axis=1, keepdims=True)
    for p in (prop.softmax(x, axis=1), naive):
        first = prop.gradient(prop.sum(p * p), x)
        roots = [p, first, prop.gradient(prop.sum(first * first), x)]
        value, *slopes = prop.compile(roots, dtype="float64")({"x": rows})
        np.testing.assert_array_equal(value, [[0, 0], [1, 0]])
        np.testing.assert_array_equal(slopes, np.zeros((2, 2, 2)))


def test_what_a_derivative_is_asked_for_stays() -> None:
    x = prop.input("x", 3)
    e = prop.exp(x).named("e")
    slope = prop.gradient(prop.sum(prop.log(1 + e)), e)
    (found,) = evaluate_all([slope], {x.node: np.array([-1.0, 0.0, 2.0])})
    np.testing.assert_allclose(found, 1 / (1 + np.exp([-1.0, 0.0, 2.0])), rtol=1e-15)


def test_a_library_network_is_left_as_it_is() -> None:
    x, w = prop.input("x", (4, 3)), prop.parameter("w", (3, 3), 0.0)
    hidden = prop.layer_norm(prop.gelu(x @ w.T))
    loss = prop.cross_entropy(prop.attention(hidden, hidden, hidden), prop.softmax(x))
    assert stabilise([loss.node]) == [loss.node]


# --- even functions -------------------------------------------------------------------------------


def test_the_even_functions_are_those_of_the_registry() -> None:
    points = [CTX.mpf(k) / 16 for k in range(1, 64, 5)]

    def even(op: Any) -> bool:
        pairs = [(op.reference(CTX, x), op.reference(CTX, -x)) for x in points]
        known = [(a, b) for a, b in pairs if CTX.isfinite(a) and CTX.isfinite(b)]
        return len(known) > 3 and all(abs(a - b) <= 1e-55 * abs(a) for a, b in known)

    one = [n for n, op in REGISTRY.items() if op.arity == 1 and hasattr(prop, n)]
    assert sorted(n for n in one if even(REGISTRY[n])) == sorted(["abs", *EVEN])


@pytest.mark.parametrize("name", ["second power", *EVEN])
def test_an_even_function_of_a_size_has_its_second_derivative_at_0(name: str) -> None:
    """|x|**2 is x**2, whose second derivative is 2 at 0 too."""
    x = prop.input("x", 3)
    f = (lambda u: u**2) if name == "second power" else getattr(prop, name)
    bends = [prop.gradient(prop.sum(prop.gradient(prop.sum(f(u)), x)), x) for u in (prop.abs(x), x)]
    a, b = evaluate_all(bends, {"x": np.array([0.0, -0.5, 2.0])}, 60)
    assert_equal([a], [b], 1e-50)
    assert a[0] != 0
