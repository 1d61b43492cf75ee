"""Layers that normalise, against NumPy; batch norm while training and in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.errors import SympropError

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(2.0, 3.0, size=(5, 4, 3, 2))
ROWS = RNG.normal(2.0, 3.0, size=(6, 4))
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])


def normalised(x: Any, axes: tuple[int, ...]) -> Any:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def rms(x: Any) -> Any:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)


def groups(x: Any) -> Any:
    return normalised(x.reshape(5, 2, 2, 3, 2), (2, 3, 4)).reshape(x.shape)


CASES: dict[str, tuple[Any, Any, Callable[[Any], Any], int]] = {
    "LayerNorm": (prop.LayerNorm, ROWS, lambda x: normalised(x, (1,)), -1),
    "RMSNorm": (prop.RMSNorm, ROWS, rms, -1),
    "GroupNorm": (lambda: prop.GroupNorm(2), IMAGES, groups, 1),
    "InstanceNorm": (prop.InstanceNorm, IMAGES, lambda x: normalised(x, (2, 3)), 1),
    "BatchNorm rows": (prop.BatchNorm, ROWS, lambda x: normalised(x, (0,)), 1),
    "BatchNorm images": (prop.BatchNorm, IMAGES, lambda x: normalised(x, (0, 2, 3)), 1),
}


@pytest.mark.parametrize("name", list(CASES))
@BACKENDS
def test_layers_that_normalise_by_hand(name: str, backend: str) -> None:
    make, data, by_hand, axis = CASES[name]
    words = ["channel=4", "row=3", "column=2"][: data.ndim - 1]
    x = prop.input("x", " ".join(["batch", *words]))
    layer = make()
    y = layer(x)
    weights = {n: RNG.normal(size=4) for n in layer.parameters}
    states = {leaf.name: np.zeros(4) for leaf in (layer._states or {}).values()}
    found = prop.compile(y, backend, dtype="float64")({"x": data, **weights, **states})
    shape = [1] * data.ndim
    shape[axis] = 4
    scale, *shift = (w.reshape(shape) for w in weights.values())
    wanted = by_hand(data) * scale + (shift[0] if shift else 0.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


@BACKENDS
def test_batch_norm_keeps_running_statistics_and_uses_them(backend: str) -> None:
    x = prop.input("x", "batch channel=4 row=3 column=2")
    net = prop.Sequential(prop.BatchNorm("norm"))
    y = net(x)
    loss = prop.mean(prop.square(y))
    trainer = prop.training_step(loss, prop.SGD(1e-9), {"y": y}).compile(backend, dtype="float64")
    mean, var = np.zeros(4), np.ones(4)
    for k in range(3):
        batch = IMAGES + k
        trainer.step({"x": batch})
        mean = 0.9 * mean + 0.1 * batch.mean((0, 2, 3))
        var = 0.9 * var + 0.1 * batch.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(trainer.states["norm.running_mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(trainer.states["norm.running_var"], var, rtol=1e-12)
    spread = np.sqrt(var + 1e-5)[:, None, None]
    used = trainer.predict({"x": IMAGES[:1]})["y"]
    wanted = (IMAGES[:1] - mean[:, None, None]) / spread
    np.testing.assert_allclose(used, wanted, rtol=1e-6)
    np.testing.assert_allclose(trainer.states["norm.running_mean"], mean, rtol=1e-12)


def test_the_statistics_are_saved_with_the_weights(tmp_path: Any) -> None:
    x = prop.input("x", "batch channel=4")
    y = prop.BatchNorm("norm")(x)
    step = prop.training_step(prop.mean(prop.square(y)), prop.SGD(), {"y": y})
    first, second = step.compile("numpy"), step.compile("numpy", seed=1)
    first.step({"x": ROWS})
    first.save(tmp_path / "w.safetensors")
    second.load(tmp_path / "w.safetensors")
    data = {"x": ROWS[:2]}
    np.testing.assert_array_equal(first.predict(data)["y"], second.predict(data)["y"])


@BACKENDS
def test_one_example_has_no_spread_and_nothing_breaks(backend: str) -> None:
    x = prop.input("x", "batch channel=4")
    y = prop.BatchNorm("norm")(x)
    trainer = prop.training_step(prop.mean(y * y), prop.SGD(), {"y": y}).compile(backend)
    assert trainer.step({"x": ROWS[:1]}) == 0
    assert np.isfinite(trainer.states["norm.running_var"]).all()


X = prop.input("x", "batch channel=4")


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: prop.BatchNorm(momentum=0.0), "momentum"),
        (lambda: prop.LayerNorm(eps=-1.0), "eps"),
        (lambda: prop.GroupNorm(0), "groups"),
        (lambda: prop.GroupNorm(3)(X), "3 groups"),
        (lambda: prop.InstanceNorm()(X), "no axis left"),
        (lambda: prop.BatchNorm()(prop.input("v", "batch time")), "fixed"),
    ],
)
def test_what_makes_no_sense_is_refused(act: Callable[[], Any], words: str) -> None:
    with pytest.raises(SympropError) as caught:
        act()
    assert words in str(caught.value)
