"""The header of generated code says what was chosen at the singular points of what is computed."""

from __future__ import annotations

from typing import Any

import pytest

import symprop as prop
from symprop.ops.declare import REGISTRY, ElementwiseOp

CHOSEN = [
    op
    for op in REGISTRY.values()
    if any(not {"inf", "-inf"} & {*map(str, c.slopes)} for c in op.declaration.conventions)
]


def header(*values: Any) -> str:
    text: str = prop.compile(list(values), backend="numpy").source()
    return " ".join(text.partition("operations:")[0].split())


@pytest.mark.parametrize("op", CHOSEN, ids=[op.name for op in CHOSEN])
def test_the_conventions_of_a_derivative_are_said(op: ElementwiseOp) -> None:
    args = [prop.input(f"x{k}", (3,)) for k in range(op.arity)]
    text = header(*prop.gradient(prop.sum(op(*args) * args[0] ** 2), args))
    for c in op.declaration.conventions:
        if not {"inf", "-inf"} & {*map(str, c.slopes)}:
            assert c.says in text


def test_a_value_says_nothing_of_its_derivative() -> None:
    x = prop.input("x", (3,))
    assert "conventions" not in header(prop.relu(x))
    assert "conventions: relu'(0) = 0" in header(prop.gradient(prop.sum(prop.relu(x)), x))
    assert "xlogy(0, 0) = 0" in header(prop.xlogy(x, x))


@pytest.mark.parametrize("make", [prop.norm, prop.std], ids=["norm", "std"])
def test_a_length_says_its_gradient_at_zero(make: Any) -> None:
    x = prop.input("x", (3,))
    assert "length or spread at 0 is 0" in header(prop.gradient(make(x), x))
