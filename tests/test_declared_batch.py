"""A batch whose size is declared: whole arrays are cut into them, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from backends import every_backend

import symprop as prop
from symprop.errors import DataError, UnsupportedError


def trainer(batch: str, backend: str = "numpy") -> prop.Trainer:
    """Of a small classifier whose input is scaled by what is the same for every example."""
    x, scale = prop.input("x", f"{batch} pixel=6"), prop.input("scale", "pixel=6")
    y = prop.labels("y", batch, classes=3)
    net = prop.Sequential(prop.Dense(5, name="hidden"), prop.tanh, prop.Dense(3, name="logits"))
    logits = net(x * scale)
    loss, outputs = prop.cross_entropy(logits, y), {"logits": logits}
    step = prop.training_step(loss, prop.Adam(1e-2), outputs=outputs, metrics=["accuracy"])
    return step.compile(backend, dtype="float64", seed=0)


def data(examples: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(examples, 6))
    return {"x": x, "y": rng.integers(0, 3, examples), "scale": np.linspace(1, 2, 6)}


def summing(batch: str, backend: str = "numpy") -> prop.Trainer:
    """A trainer whose parameter sums, with a minus, whatever it was trained on."""
    p, x = prop.parameter("p", (), 0.0), prop.input("x", batch)
    return prop.training_step(prop.sum(x) * p, prop.SGD(1.0)).compile(backend, dtype="float64")


def powers(count: int) -> dict[str, Any]:
    """The sum tells which were seen, and how often: up to seven times."""
    return {"x": 8.0 ** np.arange(count)}


def seen(one: prop.Trainer, count: int) -> list[int]:
    total = int(-one.parameters["p"])
    return [total // 8**k % 8 for k in range(count)]


@every_backend
def test_a_fit_is_that_of_a_free_batch_of_this_size(backend: str) -> None:
    declared, free = trainer("batch=16", backend), trainer("batch", backend)
    given, held = data(64), data(32)
    found = declared.fit(given, 2, validation_data=held)  # no batch_size is needed
    wanted = free.fit(given, 2, 16, validation_data=held)
    for name, column in wanted.items():
        np.testing.assert_allclose(found[name], column, rtol=1e-9, err_msg=name)
    for name, array in free.snapshot().items():
        np.testing.assert_allclose(declared.snapshot()[name], array, rtol=1e-9, atol=1e-12)
    for size in (None, 16):
        assert declared.evaluate(given, size) == pytest.approx(free.evaluate(given), rel=1e-9)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_run_visits_the_batches_of_a_fit(backend: str) -> None:
    fitted, ran = trainer("batch=16", backend), trainer("batch=16", backend)
    fitted.fit(data(70), 3, seed=5)
    ran.bind(data(70), batch_size=16, shuffle=True, seed=5)
    assert len(ran.run(12)) == 12
    for name, array in fitted.snapshot().items():
        np.testing.assert_allclose(ran.snapshot()[name], array, rtol=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_what_fills_no_batch_is_left_out_and_is_another_rest_every_epoch(backend: str) -> None:
    rests = []
    for act in (
        lambda t: t.fit(powers(10), seed=0),
        lambda t: t.fit(powers(10), seed=0, first_epoch=2),
        lambda t: (t.bind(powers(10), batch_size=4, shuffle=True, seed=0), t.run(2)),
    ):
        one = summing("batch=4", backend)
        act(one)
        counts = seen(one, 10)
        assert sorted(counts) == [0, 0, *[1] * 8]
        rests.append(counts)
    assert rests[0] == rests[2] != rests[1]


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_share_that_is_set_aside_is_whole_batches(backend: str) -> None:
    one = summing("batch=4", backend)
    history = one.fit(powers(14), validation_split=0.2)  # nearest to 2.8: one batch
    assert sorted(seen(one, 14)) == [*[0] * 6, *[1] * 8]  # and a rest of two
    assert list(history) == ["loss", "validation_loss"]


def test_one_batch_is_bound_and_stepped_on_as_before() -> None:
    one, other = trainer("batch=16"), trainer("batch=16")
    one.bind(data(16))
    assert one.step() == other.step(data(16))
    assert one.evaluate(data(16)) == other.evaluate(data(16), 16)


REFUSED: dict[str, tuple[Callable[[prop.Trainer], Any], str]] = {
    "another size": (
        lambda t: t.fit(data(64), 1, 8),
        r"batch_size must be 16, .*'x' \(test_declared_batch.py:\d+\) declares, but is 8",
    ),
    "another size to bind": (lambda t: t.bind(data(64), 8), "batch_size must be 16"),
    "another size to evaluate": (lambda t: t.evaluate(data(64), 8), "batch_size must be 16"),
    "an order that is always the same": (
        lambda t: t.fit(data(70), shuffle=False),
        "the last 6 of 70 examples would never be trained on",
    ),
    "the same bound": (lambda t: t.bind(data(70), 16), "the last 6 of 70 examples"),
    "a rest to evaluate": (
        lambda t: t.evaluate(data(70)),
        "70 examples are no whole number of batches of 16.* leave out 6 of them",
    ),
    "a rest to validate on": (
        lambda t: t.fit(data(64), validation_data=data(70)),
        "70 examples are no whole number",
    ),
    "too few": (lambda t: t.fit(data(7)), "7 examples to train on do not fill a batch"),
    "too few to set aside": (
        lambda t: t.fit(data(64), validation_split=0.1),
        "in whole batches of 16, the declared size",
    ),
    "whole arrays as a batch": (lambda t: t.step(data(64)), "axis 0 is 64, not 16"),
    "lengths that differ": (
        lambda t: t.fit(data(64) | {"y": data(48)["y"]}),
        "batch is 64 in 'x' .* but 48 in 'y'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_changes(what: str) -> None:
    act, said = REFUSED[what]
    one = trainer("batch=16")
    before = one.snapshot()
    with pytest.raises(DataError, match=said):
        act(one)
    assert all(np.array_equal(array, before[n]) for n, array in one.snapshot().items())


def test_an_axis_of_declared_size_and_another_name_counts_nothing() -> None:
    """An array of the wrong length is not taken for several batches."""
    p, x = prop.parameter("p", (), 1.0), prop.input("x", "time=4 feature=2")
    one = prop.training_step(prop.mean(x) * p, prop.SGD(0.1)).compile("numpy")
    with pytest.raises(UnsupportedError, match="share one named first axis"):
        one.fit({"x": np.ones((4, 2))})
    with pytest.raises(DataError, match="axis 0 is 8, not 4"):
        one.evaluate({"x": np.ones((8, 2))})


def test_a_declared_batch_on_another_axis_is_not_cut() -> None:
    x, m = prop.input("x", "batch=4 pixel=3"), prop.input("m", "pixel=3 batch=4")
    w = prop.parameter("w", (3,), 0.5)
    step = prop.training_step(prop.mean((x + prop.transpose(m)) * w), prop.SGD(0.1))
    one = step.compile("numpy")
    with pytest.raises(UnsupportedError, match=r"'m'.* on another axis than the first"):
        one.fit({"x": np.ones((8, 3)), "m": np.ones((3, 4))})
    assert one.step({"x": np.ones((4, 3)), "m": np.ones((3, 4))}) == 1.0
