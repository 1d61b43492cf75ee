"""What differs between training and use, on graphs, in steps, predictions and exports."""

from __future__ import annotations

import numpy as np
import pytest

import symprop as prop
from symprop.errors import ShapeError, UnsupportedError

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])


def parts() -> tuple[prop.Expr, prop.Expr, prop.Expr, prop.Expr]:
    x, w = prop.input("x", "batch unit=2"), prop.parameter("w", (2,), np.array([1.0, 2.0]))
    seen = prop.state("seen")
    y = prop.in_training(prop.update(x * w * 3.0, seen, seen + 1), x * w + 100.0)
    return x, w, seen, y


@BACKENDS
def test_a_step_trains_and_a_prediction_does_not(backend: str) -> None:
    _, _, _, y = parts()
    trainer = prop.training_step(prop.sum(y), prop.SGD(0.5), {"y": y}).compile(
        backend, dtype="float64"
    )
    data = {"x": np.ones((1, 2))}
    assert trainer.step(data) == 9
    np.testing.assert_array_equal(trainer.parameters["w"], [-0.5, 0.5])
    np.testing.assert_array_equal(trainer.predict(data)["y"], [[99.5, 100.5]])
    assert trainer.evaluate(data)["loss"] == 200
    assert trainer.states["seen"] == 1


@BACKENDS
def test_an_expression_as_it_is_is_that_of_training(backend: str) -> None:
    _, w, _, y = parts()
    slope = prop.gradient(prop.sum(y), w)
    found = prop.compile([y, slope, prop.inference(y)], backend, dtype="float64")
    data = {"x": np.ones((1, 2)), "w": np.array([1.0, 2.0]), "seen": np.zeros(())}
    assert "seen" in found.source()
    values = found(data)
    np.testing.assert_array_equal(values[0], [[3, 6]])
    np.testing.assert_array_equal(values[1], [3, 3])
    np.testing.assert_array_equal(values[2], [[101, 102]])
    alone = prop.compile(prop.inference(y), backend, dtype="float64")
    np.testing.assert_array_equal(alone({"x": np.ones((1, 2)), "w": [1.0, 2.0]}), [[101, 102]])
    assert "seen" not in alone.source()


def test_choices_inside_of_choices() -> None:
    x = prop.input("x", 2)
    inner = prop.in_training(x, 2 * x)
    y = prop.in_training(inner + 1, inner + 10)
    f = prop.compile([y, prop.inference(y)], dtype="float64")
    training, use = f({"x": [1.0, 2.0]})
    np.testing.assert_array_equal(training, [2, 3])
    np.testing.assert_array_equal(use, [12, 14])


def test_two_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="one shape"):
        prop.in_training(prop.input("x", 2), prop.input("z", 3))


def test_a_choice_inside_a_scan_is_refused() -> None:
    x = prop.input("x", (3, 2))
    h, _ = prop.scan(lambda h, v: (prop.in_training(h + v, h), h), x[0], x)
    with pytest.raises(UnsupportedError, match="in_training"):
        prop.compile(h)
