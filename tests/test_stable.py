"""The stabilising rules, by enumeration: each is an identity, commutes with differentiation, gains
digits, and makes no point worse by more than half a bit.

The reference is 60-digit arithmetic. The error of a float is counted in bits, log2(1 + ulp), as
Herbie does: half a bit is the difference between an error of 1 ulp and of 1.8. A float that is
right by luck says nothing, so floats are compared in clusters, the worst with the worst.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numpy as np
import pytest
from checking import assert_equal, evaluate_all, weighted

import symprop as prop
from symprop import term as t
from symprop.gradient import pull
from symprop.ops.domain import Interval
from symprop.ops.reference import difference, evaluate, settled
from symprop.oracle import Oracle
from symprop.simplify.stable import stabilise
from symprop.simplify.stable_rules import STABLE, STABLE_SUMS, Stable, stabilised

CTX = mpmath.mp.clone()
CTX.dps = 60

EXTREMES = (
    0.0,
    1e-300,
    1e-20,
    1e-8,
    1e-3,
    0.5,
    1.0,
    2.0,
    36.0,
    100.0,
    700.0,
    746.0,
    1e5,
    1e103,
    1e160,
)
CLUSTER = 5  # floats side by side: one of them may be rounded to nothing by luck
CLUSTERS = 12
MANY = 1_000_000 // CLUSTER
HALF_A_BIT = 0.5
SMALLEST = 1e-290  # below, roundings are absolute
OTHER = 0.75  # of a second unknown, the part of the first

every_rule = pytest.mark.parametrize("rule", STABLE, ids=[r.name for r in STABLE])


def clusters(domain: Interval, count: int) -> Iterator[list[float]]:
    """Floats beside points of all sizes, and beside the extremes."""
    rng = np.random.default_rng(20)
    for x in (*10.0 ** rng.uniform(-12, 3, size=count), *EXTREMES):
        near = x * (1 + rng.uniform(0, 0.01, size=CLUSTER))
        for sign in (1, -1):
            inside = [float(sign * v) for v in (x, *near) if sign * v in domain]
            if inside:
                yield inside


def exactly(term: t.Term, x: float) -> Any:
    """A term at 60 digits, or NaN where it is not defined."""
    args = [CTX.mpf(x), OTHER * CTX.mpf(x)]
    try:
        return settled(lambda: evaluate(term, args, CTX), CTX)
    except (ZeroDivisionError, ValueError, OverflowError):
        return CTX.nan


def in_floats(term: t.Term) -> Callable[[float], float]:
    """A term on float64, as backends compute it."""
    body = Oracle(None).term(term)

    def value(x: float) -> float:
        try:
            return float(body([x, OTHER * x]))
        except (ZeroDivisionError, OverflowError):
            return math.nan

    return value


def bits(got: float, exact: Any) -> float:
    """The bits of a float that are wrong."""
    if CTX.isinf(exact) or abs(exact) > 1.7976931348623157e308:
        return 0.0 if got == math.copysign(math.inf, float(CTX.sign(exact))) else 64.0
    if math.isnan(got) or math.isinf(got):
        return 64.0
    unit = max(math.ulp(float(exact)), math.ulp(SMALLEST))
    return math.log2(1 + float(abs(CTX.mpf(got) - exact)) / unit)


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


def _gain(rule: Stable, before: t.Term, after: t.Term, count: int) -> tuple[float, float]:
    """The most bits gained, and the most lost, over the clusters, the worst of each compared."""
    naive, stable = in_floats(before), in_floats(after)
    best = worst = 0.0
    for cluster in clusters(rule.domains[0], count):
        exact = [(x, exactly(after, x)) for x in cluster]
        known = [(x, v) for x, v in exact if not CTX.isnan(v)]
        if not known:
            continue
        old = max(bits(naive(x), v) for x, v in known)
        new = max(bits(stable(x), v) for x, v in known)
        best, worst = max(best, old - new), max(worst, new - old)
    return best, worst


# The rules that do lose more where the naive formula was good, and how many bits: sech2, sigmoid,
# a squared sine have errors of 2 to 4 ulp of their own, a difference of roots has three roundings.
LOSING = {
    "complement of sigmoid": 1.0,
    "complement of tanh**2": 1.3,
    "complement of tanh": 0.8,
    "tanh and 1": 0.8,
    "1 - cos": 0.9,
    "difference of roots": 0.9,
}


@every_rule
def test_the_rule_gains_digits_and_loses_none(rule: Stable) -> None:
    """A gain is in the value or in its derivative, which overflows where the value does not."""
    gained, lost = _gain(rule, rule.pattern, rule.result, CLUSTERS)
    assert lost <= LOSING.get(rule.name, HALF_A_BIT)
    if gained < 1:
        slopes = t.diff(rule.pattern, 0), stabilised(t.diff(rule.result, 0))
        assert _gain(rule, *slopes, CLUSTERS)[0] >= 1


@pytest.mark.slow
@every_rule
def test_the_rule_loses_no_digit_at_a_million_points(rule: Stable) -> None:
    bound = LOSING.get(rule.name, HALF_A_BIT)
    assert _gain(rule, rule.pattern, rule.result, MANY)[1] <= bound


# --- rules that look at whole sums ----------------------------------------------------------------


def _length(x: Any) -> Any:
    return prop.sqrt(prop.sum(x * x))


SUMS: dict[str, Callable[[Any], Any]] = {
    "log-sum-exp": lambda x: prop.log(prop.sum(prop.exp(x), axis=0)),
    "softmax": lambda x: prop.exp(x) / prop.sum(prop.exp(x), axis=1, keepdims=True),
    "root of a sum of squares": _length,
    "quotient by a length": lambda x: x / _length(x),
    "power seen whole": lambda x: prop.square(prop.sqrt(prop.exp(x))),
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
