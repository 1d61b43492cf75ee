"""Lengths and spreads where they are singular: 0, equal numbers, nothing left, extreme sizes.

Their values and gradients at ordinary points are tests/functions.py's, which several tests
enumerate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from backends import every_backend

import symprop as prop

ROWS = np.array(
    [
        [1, 2, 3, 4],
        [0, 0, 0, 0],
        [0.1, 0.1, 0.1, 0.1],
        [1e-200, 2e-200, 0, 0],
        [1e200, 1e200, 0, 0],
    ]
)  # the squares of the last two overflow or vanish
MASK = np.array([[1, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]], bool)
HALF = math.sqrt(0.5)


def found(make: Callable[..., Any], backend: str, *masks: Any) -> tuple[Any, Any]:
    """The value of each row and the gradient of their sum, in float64."""
    x = prop.input("x", "n=5 k=4")
    m = prop.input("m", "n=5 k=4", dtype="bool")
    e = make(x, m) if masks else make(x)
    given = {"x": ROWS, "m": MASK} if masks else {"x": ROWS}
    f = prop.compile([e, prop.gradient(prop.sum(e), x)], backend=backend, dtype="float64")
    value, slope = f(given)
    return value, slope


@every_backend
def test_a_length_is_right_at_zero_and_at_extreme_sizes(backend: str) -> None:
    value, slope = found(lambda x: prop.norm(x, axis=1), backend)
    assert value == pytest.approx([math.sqrt(30), 0, 0.2, math.sqrt(5) * 1e-200, HALF * 2e200])
    assert not slope[1].any()
    assert slope[3] == pytest.approx([1 / math.sqrt(5), 2 / math.sqrt(5), 0, 0])
    assert slope[4] == pytest.approx([HALF, HALF, 0, 0])


@every_backend
def test_equal_numbers_have_no_spread_and_no_gradient(backend: str) -> None:
    value, slope = found(lambda x: prop.std(x, axis=1), backend)
    assert value[1] == value[2] == 0
    assert not slope[1:3].any()
    assert value[0] == pytest.approx(math.sqrt(1.25))
    assert value[4] == pytest.approx(5e199)
    assert np.isfinite(slope).all()
    value, slope = found(lambda x: prop.var(x[:4], axis=1, correction=1), backend)
    assert value[1] == value[2] == 0
    assert not slope[1:3].any()


@every_backend
@pytest.mark.parametrize("make", [prop.norm, prop.std, prop.var], ids=lambda f: f.__name__)
def test_what_is_masked_counts_for_nothing(make: Any, backend: str) -> None:
    value, slope = found(lambda x, m: make(x, axis=1, where=m), backend, MASK)
    alone = make(prop.input("x", (3,)), axis=0)
    wanted = prop.compile(alone, backend="numpy", dtype="float64")({"x": ROWS[0, [0, 1, 3]]})
    assert value[0] == pytest.approx(wanted)
    assert value[2] == 0  # nothing is left
    assert not slope[~MASK].any()
    assert not slope[2].any()


@every_backend
def test_the_angle_with_a_vector_0_is_said_to_be_a_right_one(backend: str) -> None:
    value, slope = found(lambda x: prop.cosine_similarity(x, np.arange(1.0, 5)), backend)
    assert value == pytest.approx(
        [1, 0, 10 / math.sqrt(120), math.sqrt(5 / 30), 3 * HALF / 30**0.5]
    )
    assert not slope[1].any()
    assert np.isfinite(slope).all()


def test_a_second_derivative_at_zero_is_finite_too() -> None:
    x = prop.input("x", (3,))
    g = prop.gradient(prop.norm(x), x)
    h = prop.gradient(prop.sum(g * np.array([1.0, 2, 3])), x)
    f = prop.compile(h, backend="numpy", dtype="float64")
    assert not f({"x": np.zeros(3)}).any()
    p = np.array([1.0, 2, 2])
    exact = (np.eye(3) - np.outer(p, p) / 9) / 3 @ [1, 2, 3]
    assert f({"x": p}) == pytest.approx(exact)


def test_running_log_sums_of_nothing_have_no_gradient() -> None:
    x = prop.input("x", (4,))
    e = prop.logcumsumexp(x, 0)
    f = prop.compile([e, prop.gradient(prop.sum(e[1:]), x)], backend="numpy", dtype="float64")
    with np.errstate(invalid="ignore"):
        value, slope = f({"x": np.array([-np.inf, -np.inf, 1000, 1000])})
    assert value == pytest.approx([-np.inf, -np.inf, 1000, 1000 + math.log(2)])
    assert slope == pytest.approx([0, 0, 1.5, 0.5])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: prop.std(x, correction=-1), "degrees of freedom"),
        (lambda x: prop.std(x, correction=True), "degrees of freedom"),
        (lambda x: prop.norm(x, where=x), "bool mask"),
        (lambda x: prop.glu(x, 0), "even and fixed"),
        (lambda x: prop.swiglu(x, 1), "even and fixed"),
    ],
)
def test_a_bad_call_is_refused(call: Any, words: str) -> None:
    with pytest.raises((prop.DeclarationError, prop.ShapeError), match=words):
        call(prop.input("x", "n k=3"))
