"""Groups, decay, accumulation, averages, schedules, freezing: against steps written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.errors import DeclarationError, SympropError
from symprop.optimizer_wrappers import WRAPPERS
from symprop.schedules import SCHEDULES

START = {"a": np.array([1.0, -2.0]), "b": np.array([0.5])}
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])


def leaves() -> tuple[prop.Expr, prop.Expr, prop.Expr]:
    return (prop.parameter("a", (2,), START["a"]), prop.parameter("b", (1,), START["b"]),
            prop.input("x", (2,)))  # fmt: skip


def trained(optimizer: Any, steps: int = 1, backend: str = "numpy", **facts: Any) -> Any:
    """After steps on sum(x*a**2) + sum(b**2) with x = 1, 2, ... in turn."""
    a, b, x = leaves()
    loss = prop.sum(x * a * a) + prop.sum(b * b)
    trainer = prop.training_step(loss, optimizer, **facts).compile(backend, dtype="float64")
    for k in range(steps):
        trainer.step({"x": np.full(2, k + 1.0)})
    return trainer


def test_every_wrapper_and_schedule_is_exported() -> None:
    for registry in (WRAPPERS, SCHEDULES):
        for name, made in registry.items():
            assert getattr(prop, name) is made


# --- groups and freezing -------------------------------------------------------------------------


@BACKENDS
def test_every_group_has_its_optimizer(backend: str) -> None:
    groups = prop.Groups((("a", prop.SGD(0.1)), ("*", prop.Momentum(0.2))))
    trainer = trained(groups, backend=backend)
    np.testing.assert_allclose(trainer.parameters["a"], START["a"] * 0.8, rtol=1e-15)
    np.testing.assert_allclose(trainer.parameters["b"], START["b"] * 0.6, rtol=1e-15)


def test_two_adams_count_their_steps_once() -> None:
    twice = trained(prop.Groups((("a", prop.Adam(0.1)), ("b", prop.Adam(0.1)))), 3)
    once = trained(prop.Adam(0.1), 3)
    assert twice.states["adam.steps"] == 3
    for name in START:
        np.testing.assert_array_equal(twice.parameters[name], once.parameters[name])


@BACKENDS
def test_what_is_frozen_stays_and_is_not_clipped_with(backend: str) -> None:
    clip = prop.ClipGlobalNorm(1.0)
    trainer = trained(prop.SGD(0.1), backend=backend, freeze="a", clip=clip)
    np.testing.assert_array_equal(trainer.parameters["a"], START["a"])
    np.testing.assert_allclose(trainer.parameters["b"], START["b"] - 0.1, rtol=1e-15)


# --- decay, accumulation, averages ---------------------------------------------------------------


def test_adam_with_decay_is_adamw() -> None:
    mine = trained(prop.WeightDecay(prop.Adam(0.05), 0.3), 5)
    wanted = trained(prop.AdamW(0.05, weight_decay=0.3), 5)
    for name in START:
        np.testing.assert_allclose(mine.parameters[name], wanted.parameters[name], rtol=1e-14)


@BACKENDS
def test_accumulated_steps_are_one_step_of_the_mean(backend: str) -> None:
    """x = 1, 2, 3 in turn against one step with their mean; in between nothing moves."""
    trainer = trained(prop.Accumulated(prop.Adam(0.1), 3), 2, backend)
    np.testing.assert_array_equal(trainer.parameters["a"], START["a"])
    trainer = trained(prop.Accumulated(prop.Adam(0.1), 3), 3, backend)
    a, b, x = leaves()
    loss = prop.sum(x * a * a) + prop.sum(b * b)
    once = prop.training_step(loss, prop.Adam(0.1)).compile(backend, dtype="float64")
    once.step({"x": np.full(2, 2.0)})
    for name in START:
        np.testing.assert_allclose(trainer.parameters[name], once.parameters[name], rtol=1e-15)
    assert trainer.states["adam.steps"] == 1
    np.testing.assert_array_equal(trainer.states["accumulated.a"], 0)
    trainer.step({"x": np.full(2, 9.0)})
    np.testing.assert_allclose(trainer.parameters["a"], once.parameters["a"], rtol=1e-15)


@BACKENDS
def test_averages_follow_the_parameters(backend: str) -> None:
    trainer = trained(prop.Averaged(prop.SGD(0.1), 0.75), 1, backend)
    first = trainer.parameters["b"].copy()
    np.testing.assert_array_equal(prop.averages(trainer)["b"], first)
    trainer.step({"x": np.ones(2)})
    wanted = 0.75 * first + 0.25 * trainer.parameters["b"]
    np.testing.assert_allclose(prop.averages(trainer)["b"], wanted, rtol=1e-15)
    kept = trainer.snapshot()
    trainer.restore(kept | prop.averages(trainer))
    np.testing.assert_allclose(trainer.parameters["b"], wanted, rtol=1e-15)


def test_without_averages_there_are_none_to_take() -> None:
    with pytest.raises(SympropError, match=r"prop\.Averaged"):
        prop.averages(trained(prop.SGD(0.1)))


def test_penalties() -> None:
    a, b, _ = leaves()
    loss = prop.l2_penalty([a, b]) + 10 * prop.l1_penalty([a, b])
    roots = [loss, prop.gradient(loss, a)]
    value, slope = prop.compile(roots, dtype="float64")({"a": [3.0, 0.0], "b": [-1.0]})
    assert value == 10 + 40
    np.testing.assert_array_equal(slope, [16, 0])


# --- schedules -----------------------------------------------------------------------------------


def rates(schedule: Any, steps: int, backend: str = "numpy") -> list[float]:
    """The rate of every step, read from what SGD does with a gradient of 1."""
    p = prop.parameter("p", (), 0.0)
    trainer = prop.training_step(p * 1.0, prop.SGD(schedule)).compile(backend, dtype="float64")
    trainer.bind({})
    found, before = [], 0.0
    for _ in range(steps):
        trainer.run(1)
        found.append(before - float(trainer.parameters["p"]))
        before = float(trainer.parameters["p"])
    return found


def cycle(t: int, steps: int = 10) -> float:
    low, peak = 0.1 / 25, 0.3 * steps - 1
    start, end, share = (low, 0.1, t / peak)
    if t > peak:
        start, end, share = 0.1, low / 1e4, (t - peak) / (steps - 1 - peak)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


BY_HAND: dict[str, tuple[Callable[[], prop.Expr], Callable[[int], float]]] = {
    "step_decay": (lambda: prop.step_decay(0.1, 3, 0.5), lambda t: 0.1 * 0.5 ** (t // 3)),
    "exponential_decay": (lambda: prop.exponential_decay(0.1, 0.9), lambda t: 0.1 * 0.9**t),
    "cosine_decay": (
        lambda: prop.cosine_decay(0.1, 8, 0.01),
        lambda t: 0.01 + 0.09 * (1 + math.cos(math.pi * min(t, 8) / 8)) / 2,
    ),
    "warm_up": (lambda: prop.warm_up(0.1, 4), lambda t: 0.1 * min(1, (t + 1) / 4)),
    "one_cycle": (lambda: prop.one_cycle(0.1, 10), lambda t: cycle(min(t, 9))),
}


@pytest.mark.parametrize("name", list(SCHEDULES))
@BACKENDS
def test_schedules_by_hand(name: str, backend: str) -> None:
    make, wanted = BY_HAND[name]
    found = rates(make(), 12, backend)
    np.testing.assert_allclose(found, [wanted(t) for t in range(12)], rtol=1e-10, atol=1e-16)


def test_a_schedule_takes_another_as_its_rate() -> None:
    found = rates(prop.warm_up(prop.exponential_decay(0.1, 0.5), 2), 4)
    np.testing.assert_allclose(found, [0.05, 0.05, 0.025, 0.0125], rtol=1e-12)


def test_the_count_goes_on_from_what_was_saved(tmp_path: Any) -> None:
    p = prop.parameter("p", (), 0.0)
    step = prop.training_step(p * 1.0, prop.SGD(prop.exponential_decay(0.5, 0.5)))
    first = step.compile("numpy")
    first.step({})
    first.save(tmp_path / "w.safetensors")
    second = step.compile("numpy")
    second.load(tmp_path / "w.safetensors")
    second.step({})
    assert second.states["steps_done"] == 2
    assert second.parameters["p"] == np.float32(-0.75)


def test_a_step_that_reads_no_count_keeps_none() -> None:
    assert "steps_done" not in trained(prop.SGD(0.1)).states


@BACKENDS
def test_a_plateau_makes_the_rate_smaller(backend: str) -> None:
    p, x = prop.parameter("p", (), -1.0), prop.input("x", "batch")
    loss = prop.mean(x + prop.relu(p * x))  # whose gradient is 0
    step = prop.training_step(loss, prop.SGD(prop.rate_state(0.5)))
    trainer = step.compile(backend)
    rule = prop.ReduceOnPlateau("loss", factor=0.5, patience=2, least=0.2)
    seen: list[float] = []

    def look(epoch: int, entry: Any) -> None:
        seen.append(float(trainer.states["rate"]))

    trainer.fit({"x": np.ones(4)}, epochs=7, progress=False, callbacks=[rule, look])
    assert seen == pytest.approx([0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2])


# --- what is refused -----------------------------------------------------------------------------


def fitted() -> None:
    p, x = prop.parameter("p", (), 0.0), prop.input("x", "batch")
    trainer = prop.training_step(prop.mean(x * p), prop.SGD()).compile("numpy")
    trainer.fit({"x": np.ones(2)}, callbacks=[prop.ReduceOnPlateau("loss")])


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: prop.Groups({"*": prop.SGD()}), "pairs"),
        (lambda: prop.Groups((("*", prop.SGD),)), "optimizer"),
        (lambda: trained(prop.Groups((("a", prop.SGD()),))), "'b'"),
        (lambda: trained(prop.Groups((("c", prop.SGD()), ("*", prop.SGD())))), "'c'"),
        (lambda: trained(prop.SGD(), freeze="c*"), "'c*'"),
        (lambda: trained(prop.SGD(), freeze="*"), "frozen"),
        (lambda: prop.WeightDecay(prop.Groups((("*", prop.SGD()),))), "rate"),
        (lambda: prop.WeightDecay(prop.SGD(), 0.0), "decay"),
        (lambda: prop.WeightDecay(0.1), "prop.Adam"),
        (lambda: prop.Accumulated(prop.SGD(), 1), "every"),
        (lambda: prop.Averaged(prop.SGD(), 1.0), "decay"),
        (lambda: prop.l2_penalty([]), "l2_penalty"),
        (lambda: prop.step_decay(0.1, 0), "every"),
        (lambda: prop.step_decay(-0.1, 3), "rate"),
        (lambda: prop.cosine_decay(prop.input("r", 3), 3), "'r'"),
        (lambda: prop.one_cycle(0.1, 2), "steps"),
        (lambda: prop.one_cycle(0.1, 10, rising=0.05), "rising"),
        (lambda: prop.ReduceOnPlateau(factor=1.0), "factor"),
        (fitted, "rate_state"),
    ],
)
def test_what_makes_no_sense_is_refused(act: Callable[[], object], words: str) -> None:
    with pytest.raises(SympropError) as caught:
        act()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrapper_is_an_immutable_description() -> None:
    wrapper: Any = prop.Accumulated(prop.Adam(), 2)
    assert wrapper == prop.Accumulated(prop.Adam(), 2)
    with pytest.raises(AttributeError):
        wrapper.every = 3
    assert isinstance(wrapper.rate, float)
    with pytest.raises(DeclarationError):
        prop.Accumulated(prop.Adam, 2)
