"""Metrics: every name against NumPy, over batches too; what a name cannot mean is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.errors import DeclarationError, ShapeError, SympropError
from symprop.metrics import METRICS, accuracy, binary_accuracy, top_k_accuracy

Data = dict[str, Any]


def classifier() -> tuple[Any, dict[str, Any], Data, Any]:
    """A loss, its outputs, data and the scores of the untrained network."""
    x, y = prop.input("x", "batch feature=5"), prop.labels("y", "batch", classes=7)
    w = prop.parameter("w", (5, 7), np.random.default_rng(1).normal(size=(5, 7)))
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(50, 5)), "y": rng.integers(0, 7, 50)}
    return prop.cross_entropy(x @ w, y), {"scores": x @ w}, data, data["x"] @ w.node.init


def two_classes() -> tuple[Any, dict[str, Any], Data, Any]:
    x, y = prop.input("x", "batch feature=5"), prop.labels("y", "batch", classes=2)
    w = prop.parameter("w", 5, np.random.default_rng(1).normal(size=5))
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(50, 5)), "y": rng.integers(0, 2, 50)}
    return prop.binary_cross_entropy(x @ w, y), {"scores": x @ w}, data, data["x"] @ w.node.init


def regression() -> tuple[Any, dict[str, Any], Data, Any]:
    x, y = prop.input("x", "batch feature=5"), prop.input("y", "batch target=3")
    w = prop.parameter("w", (5, 3), np.random.default_rng(1).normal(size=(5, 3)))
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(50, 5)), "y": rng.normal(size=(50, 3))}
    return prop.huber(x @ w, y), {"scores": x @ w}, data, data["x"] @ w.node.init


def top(scores: Any, y: Any, k: int) -> Any:
    return np.mean([label in np.argsort(-row)[:k] for row, label in zip(scores, y, strict=True)])


def surprise(scores: Any, y: Any) -> Any:
    return np.mean(np.log(np.exp(scores).sum(1)) - scores[np.arange(len(y)), y])


BY_HAND: dict[str, tuple[Any, Callable[[Any, Any], Any]]] = {
    "accuracy": (classifier, lambda s, y: np.mean(s.argmax(axis=1) == y)),
    "top_3_accuracy": (classifier, lambda s, y: top(s, y, 3)),
    "top_5_accuracy": (classifier, lambda s, y: top(s, y, 5)),
    "perplexity": (classifier, lambda s, y: np.exp(surprise(s, y))),
    "binary_accuracy": (two_classes, lambda s, y: np.mean((s > 0) == y)),
    "mae": (regression, lambda s, y: np.mean(np.abs(s - y))),
    "mse": (regression, lambda s, y: np.mean((s - y) ** 2)),
    "rmse": (regression, lambda s, y: np.sqrt(np.mean((s - y) ** 2))),
}
every_metric = pytest.mark.parametrize("name", list(METRICS))


def test_every_metric_is_tested() -> None:
    assert list(METRICS) == list(BY_HAND)


@every_metric
def test_against_numpy_at_once_and_in_batches(name: str) -> None:
    model, by_hand = BY_HAND[name]
    loss, outputs, data, scores = model()
    trainer = prop.training_step(loss, prop.SGD(), outputs, [name]).compile(dtype="float64")
    wanted = by_hand(scores, data["y"])
    assert wanted > 0.0
    assert trainer.evaluate(data)[name] == pytest.approx(wanted, rel=1e-12)
    for size in (1, 7, 50):
        found = trainer.evaluate(data, batch_size=size)[name]
        assert found == pytest.approx(wanted, rel=1e-12), f"in batches of {size}"


@every_metric
def test_every_metric_is_reported_by_fit_for_both_parts(name: str) -> None:
    loss, outputs, data, _ = BY_HAND[name][0]()
    trainer = prop.training_step(loss, prop.SGD(1e-9), outputs, [name]).compile(dtype="float64")
    history = trainer.fit(data, epochs=2, batch_size=16, validation_data=data, shuffle=False)
    assert list(history) == ["loss", name, "validation_loss", f"validation_{name}"]
    for column in (name, f"validation_{name}"):
        assert history[column][0] == pytest.approx(trainer.evaluate(data)[name], rel=1e-6)


def test_targets_of_two_classes_as_floats_and_booleans() -> None:
    for dtype in ("float", "bool"):
        x, y = prop.input("x", "batch"), prop.input("y", "batch", dtype=dtype)
        w = prop.parameter("w", (), 1.0)
        loss = prop.binary_cross_entropy(x * w, y)
        step = prop.training_step(loss, prop.SGD(), {"z": x * w}, ["binary_accuracy"])
        truth = np.array([1, 0, 1, 1]).astype(bool if dtype == "bool" else float)
        found = step.compile().evaluate({"x": [1.0, -1.0, 2.0, -3.0], "y": truth})
        assert found["binary_accuracy"] == 0.75


def test_ties_and_scores_that_are_no_numbers() -> None:
    z, y = prop.input("z", "batch unit=4"), prop.labels("y", "batch", classes=4)
    f = prop.compile([accuracy(z, y), top_k_accuracy(z, y, 1), top_k_accuracy(z, y, 2)])
    assert [float(v) for v in f(z=np.zeros((4, 4)), y=np.arange(4))] == [0.25, 1.0, 1.0]
    bad = np.full((1, 4), np.nan)
    assert float(f(z=bad, y=np.array([3]))[2]) == 0.0


def test_metrics_are_functions_of_expressions_too() -> None:
    z, y = prop.input("z", "batch unit=4"), prop.labels("y", "batch", classes=4)
    w = prop.parameter("w", (), 1.0)
    own = {"top2": top_k_accuracy(z * w, y, 2)}
    trainer = prop.training_step(prop.cross_entropy(z * w, y), prop.SGD(), metrics=own).compile()
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(30, 4)), rng.integers(0, 4, 30)
    found = trainer.evaluate({"z": scores, "y": labels})["top2"]
    assert found == pytest.approx(top(scores, labels, 2), rel=1e-6)


def test_names_and_named_expressions_side_by_side() -> None:
    loss, outputs, data, scores = regression()
    size = prop.mean(prop.abs(outputs["scores"])).named("size")
    step = prop.training_step(loss, prop.SGD(), outputs, ["rmse", size])
    found = step.compile(dtype="float64").evaluate(data)
    assert list(found) == ["loss", "rmse", "size"]
    assert found["size"] == pytest.approx(np.abs(scores).mean(), rel=1e-12)


X = prop.input("x", "batch feature=2")
T = prop.input("t", "batch feature=2")
W = prop.parameter("w", 2, np.ones(2))


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (["accurcy"], "'accuracy'"),
        ([3], "named expression"),
        ([""], "named expression"),
        ([prop.mean(X)], "named expression"),
        ({"loss": prop.mean(X)}, "loss"),
        ({"validation_size": prop.mean(X)}, "validation_"),
        (["mse", "mse"], "twice"),
        ({"\x1b[31mX": prop.mean(X)}, r"'\x1b[31mX' cannot name a metric"),
        ({"a b": prop.mean(X)}, "'a b' cannot name a metric"),
        ({"epoch": prop.mean(X)}, "epoch"),
        ({"own": X}, "take its mean"),
        ({"own": 3.0}, "'own'"),
        ({"mse": "mse"}, "'mse'"),
        (["accuracy"], "prop.labels"),
        (["binary_accuracy", "top_5_accuracy"], "prop.labels"),
    ],
)
def test_what_is_no_metric_is_refused(metrics: Any, words: str) -> None:
    with pytest.raises(SympropError) as caught:
        prop.training_step(prop.mse(X * W, T), prop.SGD(), {"y": X * W}, metrics)
    assert words in str(caught.value)


def test_an_ambiguous_metric_is_refused() -> None:
    both = {"a": X * W, "b": 2 * X * W}
    with pytest.raises(DeclarationError, match="'a', 'b'"):
        prop.training_step(prop.mse(X * W, T), prop.SGD(), both, ["mae"])
    with pytest.raises(DeclarationError, match=r"found 'x', 't'|found 't', 'x'"):
        prop.training_step(prop.mse(X * W, T), prop.SGD(), {}, ["mae"])
    with pytest.raises(DeclarationError, match="one float input"):  # an autoencoder
        prop.training_step(prop.mse(X * W, X), prop.SGD(), {"y": X * W}, ["mae"])


@pytest.mark.parametrize(
    "act",
    [
        lambda: accuracy(X, T),
        lambda: accuracy(X, prop.labels("y", 3, classes=2)),
        lambda: top_k_accuracy(X, prop.labels("y", "batch", classes=2), 0),
        lambda: top_k_accuracy(X, prop.labels("y", "batch", classes=2), 1.5),
        lambda: binary_accuracy(X, X[:, 0]),
    ],
)
def test_arguments_that_do_not_fit(act: Callable[[], object]) -> None:
    with pytest.raises((ShapeError, DeclarationError)):
        act()
