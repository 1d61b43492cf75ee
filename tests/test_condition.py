"""The bounds of rounding: floats keep within them, and they say so when they cannot know."""

from __future__ import annotations

import numpy as np
import pytest
from checking import evaluate_all
from random_networks import Network

import symprop as prop
from symprop.condition import Bounded, condition

EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
X = np.array([0.3, 1.5, -2.0])


def off(found: np.ndarray, bounds: np.ndarray, eps: float) -> float:
    """The largest error of floats, in the bound of one unit an operation."""
    worst = 0.0
    for ours, b in zip(np.ravel(found), bounds.ravel(), strict=True):
        error = abs(b.scale.ctx.mpf(float(ours)) - b.value)
        worst = max(worst, float(error / (b.error * eps)) if b.error else float(error > 0))
    return worst


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(6))
def test_emitted_networks_keep_within_the_bounds_of_their_formulas(seed: int, dtype: str) -> None:
    net = Network(seed)
    values = net.data(seed)
    rounded = {
        k: np.float32(v) if np.asarray(v).dtype.kind == "f" else v for k, v in values.items()
    }
    roots = [net.loss, *prop.gradient(net.loss, net.wrt)]
    function = prop.compile(roots, dtype=dtype, backend="numpy")
    named = {k.name: v for k, v in rounded.items() if not isinstance(k, str)}
    found = function({n: a for n, a in named.items() if n in function.inputs})
    bounds = condition(roots, rounded, eps=EPS[dtype])
    if bounds.doubt:
        pytest.skip("a comparison of this network is too close to call")
    for ours, b in zip(found, bounds.values, strict=True):
        assert off(np.asarray(ours), b, EPS[dtype]) <= 8


def test_values_are_those_of_the_oracle() -> None:
    x = prop.input("x", 3)
    roots = [prop.softmax(x), prop.sum(prop.where(x > 0, prop.log(x), prop.sin(x)))]
    bounds = condition(roots, {"x": X})
    for b, exact in zip(bounds.values, evaluate_all(roots, {"x": X}), strict=True):
        np.testing.assert_allclose([float(v.value) for v in b.ravel()], np.ravel(exact), 1e-14)


def test_cancellation_is_in_the_bound_and_a_stable_form_has_none() -> None:
    x = prop.input("x", ())
    naive, stable = 1 - prop.tanh(x) ** 2, prop.sech2(x)
    found = [v.item() for v in condition([naive, stable], {"x": np.array(10.0)}).values]
    assert found[0].error / found[0].value > 1e7
    assert found[1].error / found[1].value < 2


def test_what_was_given_is_exact_and_an_unused_branch_costs_nothing() -> None:
    x = prop.input("x", ())
    found = condition([x, prop.where(x > 0, x, prop.log(x))], {"x": np.array(2.0)})
    assert [float(v.item().error) for v in found.values] == [0, 0]
    assert not found.doubt


def test_a_comparison_that_rounding_may_turn_is_in_doubt() -> None:
    x = prop.input("x", ())
    root = prop.where(prop.sin(x) > np.sin(0.5), 1.0, 0.0)
    assert condition([root], {"x": np.array(0.5)}).doubt
    assert not condition([root], {"x": np.array(0.6)}).doubt


def test_overflow_on_the_way_shows_as_a_peak() -> None:
    x = prop.input("x", ())
    (found,) = condition([prop.log(prop.exp(x))], {"x": np.array(800.0)}).values
    assert isinstance(found.item(), Bounded)
    assert found.item().peak > np.finfo("float64").max


def test_a_quotient_of_equal_numbers_is_one_to_the_oracle_too() -> None:
    x, y = prop.input("x", ()), prop.input("y", ())
    given = {"x": np.array(3.292), "y": np.array(3.292)}
    found = evaluate_all([prop.floor(x / y), prop.mod(x, y)], given, precision=60)
    assert [float(a) for a in found] == [1, 0]


def test_a_comparison_with_what_has_no_value_is_in_doubt() -> None:
    x = prop.input("x", ())
    root = prop.where(prop.exp(prop.exp(x)) > 0, 1.0, 0.0)
    assert condition([root], {"x": np.array(1e30)}).doubt


def test_a_divisor_that_rounding_may_make_0_is_in_doubt() -> None:
    x = prop.input("x", ())
    assert condition([3 / x**2], {"x": np.array(1e-170)}).doubt
    assert not condition([3 / x**2], {"x": np.array(1e-100)}).doubt


def test_where_two_sides_are_equal_a_derivative_is_a_convention() -> None:
    x, y = prop.input("x", ()), prop.input("y", ())
    for root in (prop.maximum(x, y), prop.where(x > y, x, y)):
        assert condition([root], {"x": np.array(2.0), "y": np.array(2.0)}).tie
        assert not condition([root], {"x": np.array(2.0), "y": np.array(3.0)}).tie


def test_the_angle_of_no_direction_is_in_doubt() -> None:
    x, y = prop.input("x", ()), prop.input("y", ())
    assert condition([prop.atan2(y, x)], {"x": np.array(0.0), "y": np.array(0.0)}).doubt


def test_a_quotient_with_a_limit_is_off_by_what_its_quotient_is_off() -> None:
    """Beyond the reach of its polynomial: 1/m - x*m'/m**2 loses digits where it is small."""
    x = prop.input("x", ())
    slope = prop.gradient(x / prop.mish(x), x)
    (found,) = condition([slope], {"x": np.array(3.084)}).values
    assert found.item().error > 10 * abs(found.item().value)


def test_a_comparison_with_what_overflows_on_its_way_is_in_doubt() -> None:
    """The square of 1e200 is infinite in floats."""
    x = prop.input("x", ())
    root = prop.where(prop.log(x**2) > 100, 1.0, 0.0)
    assert condition([root], {"x": np.array(1e200)}).doubt
    assert not condition([root], {"x": np.array(1e100)}).doubt
    assert not condition([prop.where(x < np.inf, x, 0.0)], {"x": np.array(1e200)}).doubt


def test_a_function_that_compares_nan_is_in_doubt() -> None:
    x = prop.input("x", ())
    assert condition([prop.relu(x)], {"x": np.array(np.nan)}).doubt
    assert not condition([prop.exp(x)], {"x": np.array(np.nan)}).doubt
