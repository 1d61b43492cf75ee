"""A branch that was not taken contributes exactly 0, whatever its operand is: infinite or NaN.

The functions are those whose derivative is finite for every finite number, and nothing at an
infinity: what no bound of values can say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symprop as prop

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "cos": prop.cos,
    "gelu": prop.gelu,
    "silu": prop.silu,
    "square": prop.square,
    "tanh": prop.tanh,
    "sqrt": prop.sqrt,
}

POINTS = np.array([np.inf, np.nan, 0.5])

TAKEN: dict[str, Callable[[Any, Any], Any]] = {
    "where": lambda x, y: prop.where(x < 1, y, 0),
    "where, scaled": lambda x, y: 3 * prop.where(x < 1, y, 0),
    "where, squared": lambda x, y: prop.where(x < 1, y, 0) ** 2,
    "where in where": lambda x, y: prop.where(x >= 1, 0, prop.where(x < 1, y, 0)),
    "where of a broadcast": lambda x, y: prop.where(x < 1, prop.broadcast_to(y, (2, 3))[1], 0),
    "two wheres": lambda x, y: prop.where(x < 1, y, 0) + prop.where(x < 0.75, 2 * y, 0),
    "an element": lambda x, y: y[2:],
    "padded": lambda x, y: prop.flip(y, 0)[:1],
}


@pytest.mark.parametrize("way", TAKEN)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_branch_not_taken_contributes_0_whatever_it_was_given(name: str, way: str) -> None:
    f = FUNCTIONS[name]
    x = prop.input("x", 3)
    slope = prop.gradient(prop.sum(TAKEN[way](x, f(x))), x)
    only = prop.input("only", ())
    alone = prop.broadcast_to(only, (3,))
    wanted = prop.gradient(prop.sum(TAKEN[way](alone, f(alone))[-1:]), only)
    with np.errstate(all="ignore"):
        (found,) = prop.compile([slope], dtype="float64")({"x": POINTS})
        (expected,) = prop.compile([wanted], dtype="float64")({"only": 0.5})
    assert found[:2].tolist() == [0, 0]
    np.testing.assert_allclose(found[2], expected, rtol=1e-15)


def test_the_code_of_a_selections_derivative_is_a_selection() -> None:
    x = prop.input("x", 4)
    slope = prop.gradient(prop.sum(prop.where(x > 0, prop.sqrt(x), 0)), x)
    assert "grad_x = np.where(value, 0.5 / sqrt_x, 0)" in prop.compile(
        [prop.where(x > 0, prop.sqrt(x), 0), slope], backend="numpy", dtype="float64"
    ).source("numpy")


def test_a_relu_after_a_matrix_product_keeps_its_plain_derivative() -> None:
    x, w = prop.input("x", (4, 3)), prop.parameter("w", (2, 3), 0.0)
    loss = prop.sum(prop.relu(x @ w.T))
    text = prop.compile([prop.gradient(loss, w)], backend="numpy").source("numpy")
    assert "strong_mul" not in text
    assert text.count("np.where") == 0
