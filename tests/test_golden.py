"""Goldens: what each stage prints for a few models, read in review.

In: the models below. Out: tests/__snapshots__, one file a model and stage; rewritten with
`pytest tests/test_golden.py --snapshot-update`.
Stages: the page of `prop.explain` in three forms, the derivation of one gradient, PROGRAM as
listed, LOOPS as scheduled, NumPy and Numba as emitted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

import symprop as prop


class Text(SingleFileSnapshotExtension):
    """One text file a golden."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


def digits() -> tuple[Any, list[Any]]:
    """64-64-10 with softmax cross entropy."""
    x = prop.input("x", "batch pixel=64")
    y = prop.labels("y", "batch", classes=10)
    net = prop.Sequential(prop.Dense(64, name="hidden"), prop.relu, prop.Dense(10, name="logits"))
    return prop.cross_entropy(net(x), y).named("loss"), list(net.parameters.values())


def convolution() -> tuple[Any, list[Any]]:
    """A strided convolution, pooling, a dense layer, squared error."""
    x = prop.input("x", ("batch", 2, 8, 8))
    w = prop.parameter("w", (3, 2, 3, 3), prop.He())
    v = prop.parameter("v", (4, 12), prop.He())
    h = prop.relu(prop.conv2d(x, w, stride=2, padding=1)).named("maps")
    h = prop.max_pool2d(h, 2).reshape((h.shape[0], 12)).named("features")
    return prop.mse(h @ v.T, prop.input("target", ("batch", 4))).named("loss"), [w, v]


def attention() -> tuple[Any, list[Any]]:
    """Layer norm and causal attention, twice, as regions."""
    x = prop.input("x", ("batch", 6, 8))
    parameters = []
    h = x
    for k in range(2):
        qkv = [prop.parameter(f"block{k}.{n}", (8, 8), prop.Glorot()) for n in ("q", "k", "v")]
        parameters += qkv

        def block(h: Any, qkv: Any = qkv) -> Any:
            n = prop.layer_norm(h)
            return h + prop.attention(*(n @ w.T for w in qkv), causal=True)

        h = prop.region(f"block{k}")(block)(h)
    return prop.mean(h * h).named("loss"), parameters


def recurrent() -> tuple[Any, list[Any]]:
    """A tanh cell over time."""
    x = prop.input("x", ("time=5", "batch", "feature=3"))
    w = prop.parameter("w", (4, 3), prop.Glorot())
    u = prop.parameter("u", (4, 4), prop.Glorot())
    start = prop.broadcast_to(prop.constant([[0.0] * 4]), (x.shape[1], 4))

    def step(h: Any, now: Any) -> tuple[Any, None]:
        return prop.tanh(now @ w.T + h @ u.T), None

    last, _ = prop.scan(step, start, x)
    return prop.mean(last * last).named("loss"), [w, u]


def gathers() -> tuple[Any, list[Any]]:
    """An embedding (a scatter in reverse), a reversed slice, exact GELU, a masked mean."""
    ids = prop.labels("ids", ("batch", 4), classes=11)
    table = prop.parameter("table", (11, 5), prop.Glorot())
    mask = prop.input("mask", ("batch", 4), dtype="bool")
    h = prop.gelu(prop.embedding(table, ids)[:, ::-1]).named("words")
    kept = prop.where(mask[:, :, None], h, 0.0)
    return prop.mean(kept * kept).named("loss"), [table]


def perceptron() -> tuple[Any, list[Any]]:
    """The network of the textbooks: sigmoid units, squared error, written with bare products."""
    x = prop.input("x", "batch pixel=6")
    w1 = prop.parameter("W1", "unit=4 pixel=6", prop.Glorot())
    b1 = prop.parameter("b1", "unit=4", prop.Zeros())
    w2 = prop.parameter("W2", "out=2 unit=4", prop.Glorot())
    b2 = prop.parameter("b2", "out=2", prop.Zeros())
    h = prop.sigmoid(x @ w1.T + b1)
    y = prop.sigmoid(h @ w2.T + b2)
    loss = prop.mse(y, prop.input("target", "batch out=2")).named("loss")
    return loss, [w1, b1, w2, b2]


def batch_norm() -> tuple[Any, list[Any]]:
    """A dense layer whose batch is normalised before ReLU."""
    x = prop.input("x", "batch feature=6")
    dense = prop.Dense(4, name="hidden", bias=False)
    net = prop.Sequential(dense, prop.BatchNorm("norm"), prop.relu, prop.Dense(3, name="logits"))
    y = prop.labels("y", "batch", classes=3)
    return prop.cross_entropy(net(x), y).named("loss"), list(net.parameters.values())


def heads() -> tuple[Any, list[Any]]:
    """Causal attention of two heads, the layer."""
    layer = prop.MultiHeadAttention(heads=2, causal=True, name="heads")
    loss = prop.mean(prop.square(layer(prop.input("x", "batch time=5 feature=8"))))
    return loss.named("loss"), list(layer.parameters.values())


def lstm() -> tuple[Any, list[Any]]:
    """Long short-term memory, its value of every step read."""
    layer = prop.LSTM(4)
    loss = prop.mean(prop.square(layer(prop.input("x", "batch time=5 feature=3"))))
    return loss.named("loss"), list(layer.parameters.values())


EVERY = (digits, perceptron, convolution, attention, recurrent, gathers, batch_norm, heads, lstm)
MODELS: dict[str, Callable[[], tuple[Any, list[Any]]]] = {f.__name__: f for f in EVERY}


def compiled(loss: Any, gradients: list[Any], name: str, backend: str = "numpy") -> Any:
    return prop.compile([loss, *gradients], backend=backend, name=name)


# How each stage prints: of the loss, its gradients and the name of the model.
STAGES: dict[str, Callable[[Any, list[Any], str], str]] = {
    "explain": lambda loss, gradients, name: prop.explain(loss).text(),
    "explain_latex": lambda loss, gradients, name: prop.explain(loss).latex(),
    "explain_html": lambda loss, gradients, name: prop.explain(loss).html(),
    "derivation": lambda loss, gradients, name: str(prop.derivation(gradients[0])),
    "program": lambda *model: str(compiled(*model).program),
    "loops": lambda *model: str(compiled(*model).loops),
    "numpy": lambda *model: compiled(*model).source(),
    "numba": lambda *model: compiled(*model, backend="numba").source(),
}


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("stage", list(STAGES))
def test_stages_print_as_reviewed(name: str, stage: str, snapshot: SnapshotAssertion) -> None:
    loss, parameters = MODELS[name]()
    text = STAGES[stage](loss, prop.gradient(loss, parameters), name)
    assert snapshot(extension_class=Text) == text


def test_the_step_prints_as_reviewed(snapshot: SnapshotAssertion) -> None:
    loss, _ = digits()
    step = prop.training_step(loss, prop.Adam(1e-3))
    assert snapshot(extension_class=Text) == step.source("numpy")


def test_the_step_in_numba_prints_as_reviewed(snapshot: SnapshotAssertion) -> None:
    loss, _ = digits()
    step = prop.training_step(loss, prop.Adam(1e-3))
    assert snapshot(extension_class=Text) == step.source("numba")


@pytest.mark.parametrize("name", ["convolution", "lstm"])
def test_a_diagnosis_prints_as_reviewed(name: str, snapshot: SnapshotAssertion) -> None:
    loss, _ = MODELS[name]()
    trainer = prop.training_step(loss, prop.SGD(0.1)).compile("numpy", dtype="float64", seed=0)
    shapes = {
        "convolution": {"x": (8, 2, 8, 8), "target": (8, 4)},
        "lstm": {"x": (8, 5, 3)},
    }
    rng = np.random.default_rng(0)
    data = {leaf: rng.normal(size=shape) for leaf, shape in shapes[name].items()}
    assert snapshot(extension_class=Text) == str(prop.diagnose(trainer, data))
