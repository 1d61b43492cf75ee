"""Layers of images and signals: the functions they stand for, names, shapes, a net that learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.errors import SympropError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_is_its_function(rank: int, transposed: bool) -> None:
    x = prop.input("x", (2, 4, *(6,) * rank))
    word = "ConvTranspose" if transposed else "Conv"
    layer = getattr(prop, f"{word}{rank}D")(6, 3, stride=2, padding=1, groups=2, name="c")
    y = layer(x)
    assert list(layer.parameters) == ["c.weight", "c.bias"]
    function = getattr(prop, f"conv_transpose{rank}d" if transposed else f"conv{rank}d")
    wanted = function(x, layer["c.weight"], layer["c.bias"], stride=2, padding=1, groups=2)
    assert wanted.node is y.node
    assert layer["c.weight"].shape == ((4, 3) if transposed else (6, 2)) + (3,) * rank


def test_names_inside_of_a_network() -> None:
    x = prop.input("x", "batch channel=3 row=8 column=8")
    net = prop.Sequential(
        prop.Conv2D(4, 3, padding="same"),
        prop.relu,
        prop.Residual(prop.Conv2D(4, 3, padding=1), prop.relu),
        prop.Residual(prop.Conv2D(8, 1, bias=False), shortcut=prop.Conv2D(8, 1), name="wider"),
        prop.MaxPool(2),
        prop.AvgPool(2),
        prop.Upsample(2),
        prop.flatten,
        prop.Dense(2, name="out"),
    )
    assert net(x).shape == (x.shape[0], 2)
    assert list(net.parameters) == [
        "conv1.weight", "conv1.bias", "residual2.conv1.weight", "residual2.conv1.bias",
        "wider.conv1.weight", "wider.shortcut.weight", "wider.shortcut.bias",
        "out.weight", "out.bias",
    ]  # fmt: skip


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_small_residual_network_learns_stripes(backend: str) -> None:
    x, y = prop.input("x", "batch channel=1 row=8 column=8"), prop.labels("y", "batch", classes=2)
    net = prop.Sequential(
        prop.Conv2D(4, 3, padding="same", bias=False),
        prop.BatchNorm(),
        prop.relu,
        prop.Residual(prop.Conv2D(4, 3, padding="same"), prop.relu),
        prop.global_avg_pool,
        prop.Dense(2),
    )
    z = net(x)
    step = prop.training_step(prop.cross_entropy(z, y), prop.Adam(0.02), {"z": z}, ["accuracy"])
    trainer = step.compile(backend, seed=0)
    labels = np.arange(64) % 2
    stripes = np.where(np.arange(8) % 2, 1.0, -1.0)
    across, along = np.tile(stripes, (8, 1)), np.tile(stripes[:, None], (1, 8))
    images = np.where(labels[:, None, None], across, along) + RNG.normal(size=(64, 8, 8))
    data = {"x": images[:, None], "y": labels}
    trainer.fit(data, epochs=15, batch_size=16, progress=False)
    assert trainer.evaluate(data)["accuracy"] > 0.9


X = prop.input("x", "batch channel=4 row=5 column=5")


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: prop.Conv2D(0, 3), "units"),
        (lambda: prop.Conv2D(4, (1, 2, 3)), "a pair"),
        (lambda: prop.Conv2D(4, 3, groups=3)(X), "3 groups"),
        (lambda: prop.Conv1D(4, 3)(X), "x[N, C, L]"),
        (lambda: prop.Conv2D(4, 3)(prop.input("v", "batch channel row=5 column=5")), "fixed"),
        (lambda: prop.ConvTranspose2D(5, 2, groups=2), "2 groups"),
        (lambda: prop.MaxPool(2)(prop.input("v", "batch unit=4")), "x[N, C, ...]"),
        (lambda: prop.Residual(prop.Conv2D(3, 1))(X), "shortcut="),
    ],
)
def test_what_makes_no_sense_is_refused(act: Callable[[], Any], words: str) -> None:
    with pytest.raises(SympropError) as caught:
        act()
    assert words in str(caught.value)
