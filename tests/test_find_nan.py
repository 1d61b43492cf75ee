"""`prop.find_nan`: the first number that is not finite is named, and nothing beside the way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.checks.nonfinite import Origin
from symprop.errors import DataError, DeclarationError, NonFiniteError

ONES = np.ones(2)


def inputs() -> tuple[Any, Any]:
    return prop.input("x", "n k=2"), prop.parameter("w", (2,), 0.5)


def found(loss: Any, dtype: str = "float32", **values: Any) -> Origin:
    origin = prop.find_nan(loss, values, dtype)
    assert origin is not None
    return origin


def test_a_finite_model_has_none() -> None:
    x, w = inputs()
    assert prop.find_nan(prop.mean(prop.log(x * w)), {"x": np.ones((3, 2)), "w": ONES}) is None


def test_the_formula_the_index_the_operand_and_the_line_are_named() -> None:
    x, w = inputs()
    h = prop.log(x * w)
    loss = prop.mean(prop.exp(h) * 2)
    origin = found(loss, x=np.array([[1.0, 2.0], [3.0, -4.0]]), w=ONES)
    assert math.isnan(origin.value)
    assert origin.index == (1, 1)
    assert origin.expression == "log(w[1]*x[1, 1])"
    assert origin.operands == {"w[1]*x[1, 1]": -4.0}
    assert origin.place.startswith("test_find_nan.py:")
    assert not origin.backward
    text = str(origin)
    assert "in the loss" in text
    assert "is log(w[1]*x[1, 1]) = nan, where w[1]*x[1, 1] = -4 (test_find_nan.py:" in text
    assert text.endswith(", at [1, 1])")


def test_an_overflow_is_of_the_width() -> None:
    x, w = inputs()
    loss = prop.sum(prop.exp(x @ w))
    values = {"x": np.array([[50.0, 50.0]]), "w": ONES}
    origin = found(loss, **values)
    assert origin.value == math.inf
    assert list(origin.operands.values()) == [100.0]
    assert prop.find_nan(loss, values, "float64") is None


def test_what_is_finite_forward_may_not_be_backward() -> None:
    _, w = inputs()
    origin = found(prop.sum(prop.sqrt(w)), w=np.array([1.0, 0.0]))
    assert origin.backward
    assert origin.name == "grad_w"
    assert origin.index == (1,)
    assert "in a gradient" in str(origin)


def test_a_branch_that_is_not_taken_is_not_blamed() -> None:
    x, w = inputs()
    masked = prop.where(x > 0, prop.log(x), 0.0)
    values = {"x": np.array([[1.0, -2.0]]), "w": ONES}
    assert prop.find_nan(prop.sum(masked * w), values) is None
    origin = found(prop.sum(w / prop.sum(masked)), **values)
    assert origin.expression.startswith("w[0]/(sum(")
    assert set(origin.operands.values()) == {0.0, 1.0}


def test_a_number_that_was_handed_in_is_said_to_be_so() -> None:
    x, w = inputs()
    origin = found(prop.sum(prop.tanh(x) + x * w), x=np.array([[1.0, math.nan]]), w=ONES)
    assert (origin.name, origin.index) == ("x", (0, 1))
    assert "it was handed in" in str(origin)


def test_a_sum_that_overflows_and_a_block_are_named() -> None:
    x, w = inputs()
    big = np.full((3, 2), 3e38)
    assert "the sum overflows" in str(found(prop.sum(x * w), x=big, w=ONES))
    _, out = prop.scan(lambda h, s: (h * s, h + s), w, x)
    assert "it comes out of a block" in str(found(prop.sum(out), x=big, w=1e30 * ONES))


def test_a_trainer_brings_its_weights() -> None:
    x, _ = inputs()
    y = prop.labels("y", "n", classes=2)
    loss = prop.cross_entropy(prop.Dense(2, name="logits")(x), y)
    trainer = prop.training_step(loss, prop.SGD(1.0)).compile("numpy")
    assert prop.find_nan(trainer, {"x": np.ones((1, 2)), "y": [1]}) is None
    origin = prop.find_nan(trainer, {"x": np.array([[math.inf, 1.0]]), "y": [1]})
    assert origin is not None
    assert origin.name == "x"


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("how", ["step", "fit", "bound"])
def test_a_step_that_is_not_finite_is_undone_and_its_origin_named(backend: str, how: str) -> None:
    x, w = inputs()
    loss = prop.mean(prop.log(x * w))
    step = prop.training_step(loss, prop.SGD(0.01))
    trainer = step.compile(backend, check_finite=True)
    good = np.ones((2, 2), np.float32)
    trainer.step({"x": good})
    weights = trainer.parameters["w"].copy()
    bad = {"x": np.array([[1.0, 1.0], [1.0, -1.0]], np.float32)}
    calls = {
        "step": lambda: trainer.step(bad),
        "fit": lambda: trainer.fit(bad, epochs=1, batch_size=2, shuffle=False),
        "bound": lambda: [trainer.bind(bad), trainer.step()],
    }
    message = r"the loss became nan.*log\(w\[1\]\*x\[1, 1\]\) = nan, where .* = -0.*again those"
    with pytest.raises(NonFiniteError, match=message):
        calls[how]()
    assert np.array_equal(trainer.parameters["w"], weights)
    trainer.step({"x": good})
    assert np.all(np.isfinite(trainer.parameters["w"]))


def test_a_gradient_that_is_not_finite_is_undone_though_the_loss_is() -> None:
    x, w = inputs()
    step = prop.training_step(prop.sum(prop.sqrt(x * w)), prop.SGD(0.01))
    trainer = step.compile("native", check_finite=True)
    weights = trainer.parameters["w"].copy()
    with pytest.raises(NonFiniteError, match=r"'w' became not finite; .*in a gradient"):
        trainer.step({"x": np.array([[1.0, 0.0]], np.float32)})
    assert np.array_equal(trainer.parameters["w"], weights)


def test_without_the_check_training_is_as_before() -> None:
    x, w = inputs()
    trainer = prop.training_step(prop.mean(prop.log(x * w)), prop.SGD(0.01)).compile("native")
    assert math.isnan(trainer.step({"x": -np.ones((2, 2), np.float32)}))


def test_bad_arguments_are_refused() -> None:
    x, w = inputs()
    with pytest.raises(DeclarationError, match="scalar loss"):
        prop.find_nan(x, {})
    with pytest.raises(DeclarationError, match="float32 or float64, not 'float16'"):
        prop.find_nan(prop.sum(w), {"w": ONES}, "float16")
    with pytest.raises(DataError, match=r"'x'.* is missing"):
        prop.find_nan(prop.sum(x * w), {"w": ONES})
