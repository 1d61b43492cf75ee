"""The header of generated code: every line says what the user wrote, numbers included."""

from __future__ import annotations

import re
from typing import Any

import pytest

import symprop as prop


def stated(value: Any) -> str:
    """The right side of the header's line for a value."""
    match = re.search(r"^output = (.*)$", prop.compile(value).source(), re.MULTILINE)
    assert match is not None
    return match.group(1)


X, Y = prop.input("x", (3,)), prop.input("y", (3,))


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (prop.clip(X, -1, 2), "clip(x, -1, 2)"),
        (prop.maximum(X * Y, 0.25), "maximum(x*y, 0.25)"),
        (prop.maximum(X, Y), "maximum(x, y)"),
        (prop.minimum(3, X), "minimum(3, x)"),
        (prop.where(X <= 0.5, X, 0), "where(x <= 0.5, x, 0)"),
        (prop.where(X < Y, 1, Y), "where(x < y, 1, y)"),
        (X > 2, "x > 2"),
        (X < Y, "x < y"),
        (prop.relu(X), "relu(x)"),
        (
            prop.huber(X, Y),
            "mean(where(abs(x - y) <= 1, 1/2*((x - y)**2), abs(x - y) - 1/2))",
        ),
    ],
    ids=str,
)
def test_a_function_is_stated_with_all_its_arguments(value: Any, wanted: str) -> None:
    assert stated(value) == wanted


def test_functions_of_the_user_are_stated_by_name_and_numbered() -> None:
    one, two = (prop.elementwise("swishy", lambda v, k=k: v * prop.sigmoid(k * v)) for k in (1, 2))
    assert stated(one(X)) == "swishy(x)"
    assert stated(two(one(X))) == "swishy_2(swishy(x))"
    assert "@" not in stated(two(one(X) + 2))
