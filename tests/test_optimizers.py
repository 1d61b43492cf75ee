"""Optimizers: the compiled updates against the formulas written by hand in NumPy."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.errors import DeclarationError
from symprop.optimizers import OPTIMIZERS, complement

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


def nesterov() -> Iterator[Array]:
    """As torch.optim.SGD(nesterov=True): the step uses the velocity after the next decay."""
    p, v = START.copy(), np.zeros_like(START)
    while True:
        g = gradient(p)
        v = 0.8 * v + g
        p = p - 0.002 * (g + 0.8 * v)
        yield p


def rmsprop() -> Iterator[Array]:
    p, s = START.copy(), np.zeros_like(START)
    while True:
        g = gradient(p)
        s = 0.9 * s + 0.1 * g**2
        p = p - 0.05 * g / (np.sqrt(s) + 1e-6)
        yield p


def adamw() -> Iterator[Array]:
    """As torch.optim.AdamW: the parameter shrinks by 1 - rate*decay, then Adam's step."""
    p, m, v, t = START.copy(), np.zeros_like(START), np.zeros_like(START), 0
    while True:
        t, g = t + 1, gradient(p)
        m = 0.9 * m + 0.1 * g
        v = 0.99 * v + 0.01 * g**2
        p = p * (1 - 0.05 * 0.3)
        p = p - 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-7)
        yield p


def nadam() -> Iterator[Array]:
    p, m, v, t, product = START.copy(), np.zeros_like(START), np.zeros_like(START), 0, 1.0
    while True:
        t, g = t + 1, gradient(p)
        mu, after = (0.9 * (1 - 0.5 * 0.96 ** (k * 4e-3)) for k in (t, t + 1))
        product *= mu
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        scale = np.sqrt(v / (1 - 0.999**t)) + 1e-8
        p = p - 0.05 * (1 - mu) / (1 - product) * g / scale
        p = p - 0.05 * after / (1 - product * after) * m / scale
        yield p


def adagrad() -> Iterator[Array]:
    p, s = START.copy(), np.zeros_like(START)
    while True:
        g = gradient(p)
        s = s + g**2
        p = p - 0.1 * g / (np.sqrt(s) + 1e-8)
        yield p


def adadelta() -> Iterator[Array]:
    p, s, u = START.copy(), np.zeros_like(START), np.zeros_like(START)
    while True:
        g = gradient(p)
        s = 0.8 * s + 0.2 * g**2
        d = np.sqrt(u + 1e-6) / np.sqrt(s + 1e-6) * g
        u = 0.8 * u + 0.2 * d**2
        p = p - 0.5 * d
        yield p


def lion() -> Iterator[Array]:
    p, m = START.copy(), np.zeros_like(START)
    while True:
        g = gradient(p)
        p = p - 0.01 * (np.sign(0.9 * m + 0.1 * g) + 0.2 * p)
        m = 0.95 * m + 0.05 * g
        yield p


CASES: dict[str, tuple[prop.Optimizer, Callable[[], Iterator[Array]]]] = {
    "SGD": (prop.SGD(0.01), sgd),
    "Momentum": (prop.Momentum(0.002, 0.8), momentum),
    "Nesterov": (prop.Nesterov(0.002, 0.8), nesterov),
    "RMSProp": (prop.RMSProp(0.05, 0.9, 1e-6), rmsprop),
    "Adam": (prop.Adam(0.05), adam),
    "AdamW": (prop.AdamW(0.05, beta2=0.99, epsilon=1e-7, weight_decay=0.3), adamw),
    "NAdam": (prop.NAdam(0.05), nadam),
    "AdaGrad": (prop.AdaGrad(0.1, 1e-8), adagrad),
    "Adadelta": (prop.Adadelta(0.5, 0.8), adadelta),
    "Lion": (prop.Lion(0.01, beta2=0.95, weight_decay=0.2), lion),
}
every_optimizer = pytest.mark.parametrize("name", list(OPTIMIZERS))


def test_every_optimizer_is_exported_explained_and_tested() -> None:
    assert list(OPTIMIZERS) == list(CASES)
    for name, optimizer in OPTIMIZERS.items():
        assert getattr(prop, name) is optimizer
        assert "p = p - rate" in (optimizer.__doc__ or "")
        assert re.search(r"(19|20)\d\d", optimizer.__doc__ or ""), "name the source"


@every_optimizer
def test_against_the_formula(name: str) -> None:
    optimizer, by_hand = CASES[name]
    for mine, reference in zip(trajectory(optimizer, 50), by_hand(), strict=False):
        np.testing.assert_allclose(mine, reference, rtol=1e-11, atol=1e-13)


@every_optimizer
def test_every_optimizer_learns_with_its_defaults(name: str) -> None:
    p = prop.parameter("p", (2, 3), START)
    loss = prop.mse(p, TARGET)
    trainer = prop.training_step(loss, OPTIMIZERS[name]()).compile()
    first = trainer.step({})
    for _ in range(30):
        trainer.step({})
    assert trainer.evaluate({})["loss"] < first


@every_optimizer
def test_every_rate_can_be_an_expression(name: str) -> None:
    """A number and a scalar of that value give the same steps; a schedule reads the step count."""
    rate = prop.scalar("rate", 0.03)
    plain = list(trajectory(OPTIMIZERS[name](0.03), 4))
    for mine, wanted in zip(trajectory(OPTIMIZERS[name](rate), 4), plain, strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-13)


def test_a_schedule_is_an_expression_of_a_state() -> None:
    p, t = prop.parameter("p", (), 1.0), prop.state("t")
    loss = prop.update(p * 2.0, t, t + 1)
    trainer = prop.training_step(loss, prop.SGD(0.5 / (1 + t))).compile(dtype="float64")
    for wanted in (1 - 1.0, 1 - 1.0 - 0.5, 1 - 1.0 - 0.5 - 1 / 3):
        trainer.step({})
        assert trainer.parameters["p"] == pytest.approx(wanted, abs=1e-15)


@every_optimizer
def test_an_optimizer_is_an_immutable_description(name: str) -> None:
    optimizer: Any = OPTIMIZERS[name]()
    assert optimizer == OPTIMIZERS[name]()
    with pytest.raises(AttributeError):
        optimizer.rate = 3.0


def test_adamw_without_decay_is_adam() -> None:
    without = trajectory(prop.AdamW(0.05, weight_decay=0.0), 5)
    pairs = zip(without, trajectory(prop.Adam(0.05), 5), strict=True)
    for mine, wanted in pairs:
        np.testing.assert_array_equal(mine, wanted)


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
        lambda: prop.Nesterov(momentum=1.0),
        lambda: prop.Nesterov(0.0),
        lambda: prop.RMSProp(decay=1.0),
        lambda: prop.RMSProp(epsilon=-1e-8),
        lambda: prop.AdamW(weight_decay=-0.1),
        lambda: prop.AdamW(weight_decay=float("inf")),
        lambda: prop.AdamW(beta1="0.9"),  # type: ignore[arg-type]
        lambda: prop.NAdam(momentum_decay=0.0),
        lambda: prop.AdaGrad(epsilon=0.0),
        lambda: prop.Adadelta(decay=1.0),
        lambda: prop.Lion(weight_decay=-1.0),
    ],
)
def test_values_that_make_no_sense(make: Callable[[], object]) -> None:
    with pytest.raises(DeclarationError):
        make()
