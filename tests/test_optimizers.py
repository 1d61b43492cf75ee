"""Optimizers: the compiled updates against the formulas written by hand in NumPy."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.errors import DeclarationError
from symprop.optimizers import complement

Array = np.ndarray[Any, Any]
TARGET = np.array([[1.0, -2.0, 3.0], [0.5, 0.25, -0.125]])
START = np.array([[0.3, 0.1, -0.2], [0.0, 2.0, 1.0]])


def gradient(p: Array) -> Array:
    """Of sum((p - target)**4)."""
    return 4 * (p - TARGET) ** 3


def trajectory(optimizer: prop.Optimizer, steps: int, dtype: str = "float64") -> Iterator[Array]:
    p = prop.parameter("p", (2, 3), START)
    target = prop.input("target", (2, 3))
    loss = prop.sum((p - target) ** 4)
    trainer = prop.training_step(loss, optimizer).compile(dtype=dtype)
    for _ in range(steps):
        trainer.step({"target": TARGET})
        yield trainer.parameters["p"].copy()


def sgd() -> Iterator[Array]:
    p = START.copy()
    while True:
        p = p - 0.01 * gradient(p)
        yield p


def momentum() -> Iterator[Array]:
    p, v = START.copy(), np.zeros_like(START)
    while True:
        v = 0.8 * v + gradient(p)
        p = p - 0.002 * v
        yield p


def adam() -> Iterator[Array]:
    p, m, v, t = START.copy(), np.zeros_like(START), np.zeros_like(START), 0
    while True:
        t, g = t + 1, gradient(p)
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        m_hat = m / (1 - 0.9**t)
        v_hat = v / (1 - 0.999**t)
        p = p - 0.05 * m_hat / (np.sqrt(v_hat) + 1e-8)
        yield p


CASES = [
    (prop.SGD(0.01), sgd),
    (prop.Momentum(0.002, 0.8), momentum),
    (prop.Adam(0.05), adam),
]


@pytest.mark.parametrize(("optimizer", "by_hand"), CASES, ids=lambda case: type(case).__name__)
def test_against_the_formula(
    optimizer: prop.Optimizer, by_hand: Callable[[], Iterator[Array]]
) -> None:
    for mine, reference in zip(trajectory(optimizer, 50), by_hand(), strict=False):
        np.testing.assert_allclose(mine, reference, rtol=1e-11, atol=1e-13)


def test_adam_in_float32_keeps_its_first_steps() -> None:
    """1 - 0.999**t loses four digits in float32 where it is small."""
    for mine, reference in zip(trajectory(prop.Adam(0.05), 20, "float32"), adam(), strict=False):
        np.testing.assert_allclose(mine, reference, rtol=1e-4, atol=1e-4)


def test_states_are_named_after_their_parameter() -> None:
    p = prop.parameter("p", "row=2 column=3", START)
    step = prop.training_step(prop.sum(p * p), prop.Adam())
    trainer = step.compile()
    assert list(trainer.states) == ["adam.steps", "m.p", "v.p"]
    assert trainer.states["m.p"].shape == (2, 3)
    trainer.step({})
    trainer.step({})
    assert trainer.states["adam.steps"] == 2


def test_the_rate_can_be_handed_in() -> None:
    p = prop.parameter("p", (), 1.0)
    rate = prop.scalar("rate", 0.5)
    trainer = prop.training_step(p * 3.0, prop.SGD(rate)).compile(dtype="float64")
    trainer.step({})
    assert trainer.parameters["p"] == 1 - 0.5 * 3
    trainer.step({"rate": 0.1})
    assert trainer.parameters["p"] == pytest.approx(-0.5 - 0.1 * 3)


def test_decimals() -> None:
    assert float(complement(0.9)) == 0.1
    assert float(complement(0.999)) == 0.001


@pytest.mark.parametrize(
    "make",
    [
        lambda: prop.SGD(-1.0),
        lambda: prop.SGD(float("nan")),
        lambda: prop.SGD("0.1"),
        lambda: prop.SGD(True),
        lambda: prop.SGD(prop.input("rate", 3)),
        lambda: prop.Momentum(0.1, 1.0),
        lambda: prop.Adam(beta1=1.5),
        lambda: prop.Adam(beta2=-0.1),
        lambda: prop.Adam(epsilon=0.0),
    ],
)
def test_values_that_make_no_sense(make: Callable[[], object]) -> None:
    with pytest.raises(DeclarationError):
        make()
