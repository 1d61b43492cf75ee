"""Any name a user can think of works or is refused, and none becomes code.

In: names with quotes, newlines, keywords, Unicode look-alikes, builtins, names that generated code
uses itself, names that are code; as an input, a layer, a value, an operation, a region, an output
and a dimension.
Guarantees: the emitted text is Python that imports NumPy alone and holds no word of the break-in,
its numbers are right, and a refusal is one sentence.
"""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.errors import SympropError

MARK = "symprop_was_broken_into"
BREAK_IN = f"__import__('builtins').{MARK} = 1"

NAMES = [
    "it's",
    'say "x"',
    '"""',
    "back\\slash",
    "two words",
    "new\nline",
    f"x\n{BREAK_IN}\n",
    f"x); {BREAK_IN}; (x",
    f"'''\n{BREAK_IN}\n'''",
    f"x\r{BREAK_IN}",
    f"x\u2028{BREAK_IN}",
    "{x}",
    "%s",
    "class",
    "lambda",
    "None",
    "print",
    "np",
    "sum",
    "range",
    "__builtins__",
    "self",
    "training_step",
    "d_x",
    "grad_x",
    "t0",
    "i",
    "batch",
    "\u0445",  # Cyrillic, looks like x
    "\uff58",  # full width: the same identifier as x after normalisation
    "x\u0301",
    "\u03c3",
    "0",
    "1x",
    "a" * 5_000,
    "x.y",
    "x_y",
    "..",
    "-",
    " ",
]


def assert_harmless(source: str) -> None:
    """The text is Python that imports NumPy alone, and nobody broke in."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] == "numpy" for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert str(node.module).split(".")[0] == "numpy"
        if isinstance(node, ast.Name | ast.Attribute):
            word = node.id if isinstance(node, ast.Name) else node.attr
            assert MARK not in word
            assert not word.startswith("__")
    assert not hasattr(builtins, MARK)


def works_or_refuses(act: Callable[[], Any]) -> Any:
    """The result, or None where symprop refuses in one sentence."""
    try:
        return act()
    except SympropError as error:
        sentence = str(error)
        assert "\n" not in sentence
        assert len(sentence) <= 400
        return None


@pytest.mark.parametrize("name", NAMES, ids=lambda n: ascii(n)[:30])
def test_any_name_of_an_input_works_or_is_refused(name: str) -> None:
    def run() -> Any:
        x, w = prop.input("x", 3), prop.input(name, 3)
        loss = prop.sum(prop.square(x) * prop.exp(w))
        return prop.compile([loss, prop.gradient(loss, w)], dtype="float64")

    function = works_or_refuses(run)
    if function is not None:
        assert_harmless(function.source())
        a, b = np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3])
        loss, gradient = function({"x": a, name: b})
        np.testing.assert_allclose(gradient, a**2 * np.exp(b), rtol=1e-14)
        np.testing.assert_allclose(loss, gradient.sum(), rtol=1e-14)


@pytest.mark.parametrize("name", NAMES, ids=lambda n: ascii(n)[:30])
def test_any_name_of_a_layer_a_value_or_an_operation_works_or_is_refused(name: str) -> None:
    def run() -> Any:
        x = prop.input("x", "batch feature=3")
        operation = prop.elementwise(name, lambda v: v * prop.sigmoid(v))
        hidden = operation(prop.Dense(2, name=name)(x)).named(name)
        hidden = prop.region(name)(prop.tanh)(hidden)
        return prop.training_step(prop.mean(hidden), prop.Adam(0.1), outputs={name: hidden})

    step = works_or_refuses(run)
    if step is None:
        return
    source = works_or_refuses(lambda: step.source("numpy"))
    if source is not None:
        assert_harmless(source)
        assert MARK not in ast.unparse(ast.parse(source)).replace(repr(name), "")
        trainer = step.compile("numpy")
        assert math.isfinite(trainer.step({"x": np.ones((2, 3))}))
        assert trainer.predict({"x": np.ones((2, 3))})[name].shape == (2, 2)


@pytest.mark.parametrize("name", NAMES, ids=lambda n: ascii(n)[:30])
def test_any_name_of_a_dimension_works_or_is_refused(name: str) -> None:
    function = works_or_refuses(
        lambda: prop.compile(prop.mean(prop.input("x", (name, 3)), axis=0), dtype="float64")
    )
    if function is not None:
        assert_harmless(function.source())
        np.testing.assert_array_equal(function({"x": np.ones((2, 3))}), np.ones(3))


def test_text_is_never_evaluated() -> None:
    x = prop.input("x", 3)
    for act in (lambda: prop.exp(BREAK_IN), lambda: x + BREAK_IN, lambda: prop.einsum(BREAK_IN, x)):
        with pytest.raises((SympropError, TypeError)) as caught:
            act()
        assert "\n" not in str(caught.value)
    assert not hasattr(builtins, MARK)
