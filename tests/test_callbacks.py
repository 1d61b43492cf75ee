"""Callbacks: their order, stopping, restoring, saving, logging, and what is refused beforehand."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.callbacks import CALLBACKS
from symprop.errors import DataError, DeclarationError, SympropError


def falling(rate: float = 1.0) -> prop.Trainer:
    """A trainer whose loss in every epoch is known: p falls by `rate` a step from 10."""
    p, x = prop.parameter("p", (), 10.0), prop.input("x", "batch")
    loss = prop.mean(x) * p
    return prop.training_step(loss, prop.SGD(rate)).compile(dtype="float64")


def following(values: Sequence[float]) -> tuple[prop.Trainer, dict[str, Any], dict[str, Any]]:
    """A trainer, and data on which the validation loss of epoch k is values[k - 1].

    The state `t` counts the epochs; the loss reads its value from the table, the parameter moves
    by 1 in each epoch.
    """
    p, t = prop.parameter("p", (), 0.0), prop.state("t")
    x, table = prop.input("x", "batch"), prop.input("table", len(values))
    now = prop.sum(prop.where(prop.index(len(values)) == t - 1, table, 0.0))
    loss = prop.update(now + prop.mean(x) * (p - prop.stop_gradient(p)), t, t + 1)
    trainer = prop.training_step(loss, prop.SGD(1.0)).compile(dtype="float64", check_finite=False)
    data = {"x": np.ones(2), "table": np.asarray(values, float)}
    return trainer, data, {"validation_data": data, "batch_size": 2, "progress": False}


def test_every_callback_is_exported() -> None:
    for name, callback in CALLBACKS.items():
        assert getattr(prop, name) is callback
        assert issubclass(callback, prop.Callback)


# --- hooks ---------------------------------------------------------------------------------------


class Told(prop.Callback):
    """Writes down what it is told."""

    def __init__(self, log: list[Any], name: str = "") -> None:
        self.log, self.name = log, name

    def on_train_begin(self, trainer: prop.Trainer, columns: Sequence[str]) -> None:
        self.log.append((self.name, "train begins", tuple(columns)))

    def on_epoch_begin(self, trainer: prop.Trainer, epoch: int) -> None:
        self.log.append((self.name, "epoch begins", epoch))

    def on_batch_end(self, trainer: prop.Trainer, batch: int, entry: Any) -> None:
        self.log.append((self.name, "batch ended", batch, dict(entry)))

    def on_epoch_end(self, trainer: prop.Trainer, epoch: int, entry: Any) -> None:
        assert trainer.history.epochs == epoch
        self.log.append((self.name, "epoch ended", epoch, dict(entry)))

    def on_train_end(self, trainer: prop.Trainer) -> None:
        self.log.append((self.name, "train ended"))


def test_hooks_are_called_in_order_with_the_numbers_of_the_history() -> None:
    log: list[Any] = []
    told = [Told(log, "a"), Told(log, "b")]
    history = falling().fit(
        {"x": np.ones(4)}, epochs=2, batch_size=2, validation_data={"x": [3.0]}, callbacks=told
    )
    mine = [entry[1:] for entry in log if entry[0] == "a"]
    assert [entry[0] for entry in log[:2]] == ["a", "b"]
    assert mine == [
        ("train begins", ("loss", "validation_loss")),
        ("epoch begins", 1),
        ("batch ended", 1, {"loss": 10.0}),
        ("batch ended", 2, {"loss": 9.0}),
        ("epoch ended", 1, {"loss": 9.5, "validation_loss": 24.0}),
        ("epoch begins", 2),
        ("batch ended", 1, {"loss": 8.0}),
        ("batch ended", 2, {"loss": 7.0}),
        ("epoch ended", 2, {"loss": 7.5, "validation_loss": 18.0}),
        ("train ended",),
    ]
    assert history["validation_loss"] == [24.0, 18.0]


def test_a_plain_function_is_called_at_the_end_of_every_epoch() -> None:
    seen: list[Any] = []
    falling().fit(
        {"x": np.ones(3)}, epochs=3, callbacks=[lambda epoch, entry: seen.append((epoch, *entry))]
    )
    assert seen == [(1, "loss"), (2, "loss"), (3, "loss")]


def test_what_a_function_returns_stops_nothing() -> None:
    history = falling().fit({"x": np.ones(3)}, epochs=3, callbacks=[lambda epoch, entry: True])
    assert history.epochs == 3


def test_callbacks_cannot_change_the_history() -> None:
    def spoil(epoch: int, entry: Any) -> None:
        entry["loss"] = 0.0

    with pytest.raises(TypeError):
        falling().fit({"x": np.ones(3)}, callbacks=[spoil])


@pytest.mark.parametrize(("hook", "epochs", "steps"), [("batch", 1, 2), ("epoch", 1, 3)])
def test_a_callback_can_stop_the_training(hook: str, epochs: int, steps: int) -> None:
    """After the step at hand, or after the epoch; what was done is in the history."""

    class Stop(prop.Callback):
        def on_batch_end(self, trainer: prop.Trainer, batch: int, entry: Any) -> None:
            if hook == "batch" and batch == 2:
                trainer.stop()

        def on_epoch_end(self, trainer: prop.Trainer, epoch: int, entry: Any) -> None:
            trainer.stop()

    trainer = falling()
    history = trainer.fit({"x": np.ones(3)}, epochs=5, batch_size=1, callbacks=[Stop()])
    assert history.epochs == epochs
    assert trainer.parameters["p"] == 10 - steps
    assert trainer.fit({"x": np.ones(3)}, epochs=2).epochs == 2, "the next call starts afresh"


def test_an_error_in_a_callback_is_the_users_to_see() -> None:
    def fail(epoch: int, entry: Any) -> None:
        raise RuntimeError("mine")

    trainer = falling()
    with pytest.raises(RuntimeError, match="mine"):
        trainer.fit({"x": np.ones(3)}, epochs=5, callbacks=[fail])
    assert trainer.history.epochs == 1


# --- early stopping ------------------------------------------------------------------------------

CURVE = [5.0, 4.0, 3.0, 3.5, 3.25, 3.0, 2.0]


def test_early_stopping_waits_then_restores_the_best() -> None:
    trainer, data, options = following(CURVE)
    stop = prop.EarlyStopping(patience=3)
    history = trainer.fit(data, epochs=7, callbacks=[stop], **options)
    assert history["validation_loss"] == CURVE[:6]
    assert (stop.best, stop.best_epoch, stop.stopped_epoch) == (3.0, 3, 6)
    assert trainer.parameters["p"] == -3, "the weights after epoch 3"
    assert trainer.states["t"] == 3, "and the states that belong to them"


def test_early_stopping_without_restoring_leaves_the_last_weights() -> None:
    trainer, data, options = following(CURVE)
    stop = prop.EarlyStopping(patience=3, restore_best=False)
    trainer.fit(data, epochs=7, callbacks=[stop], **options)
    assert trainer.parameters["p"] == -6


def test_patience_outlasts_the_plateau_and_the_best_comes_back_at_the_end_too() -> None:
    trainer, data, options = following([*CURVE, 9.0])
    stop = prop.EarlyStopping(patience=4)
    history = trainer.fit(data, epochs=8, callbacks=[stop], **options)
    assert history.epochs == 8
    assert (stop.best_epoch, stop.stopped_epoch) == (7, None)
    assert trainer.parameters["p"] == -7


def test_small_improvements_do_not_count() -> None:
    trainer, data, options = following([5.0, 4.95, 4.9, 4.85, 1.0])
    stop = prop.EarlyStopping(patience=2, min_delta=0.2)
    assert trainer.fit(data, epochs=5, callbacks=[stop], **options).epochs == 3
    assert stop.best == 5.0


def test_more_is_better_where_that_is_said() -> None:
    trainer, data, options = following([1.0, 2.0, 3.0, 1.0, 1.0])
    stop = prop.EarlyStopping(patience=2, mode="max")
    assert trainer.fit(data, epochs=5, callbacks=[stop], **options).epochs == 5
    assert stop.best_epoch == 3


def test_nan_is_never_better() -> None:
    nan = math.nan
    trainer, data, options = following([nan, 2.0, nan, nan, 1.0])
    stop = prop.EarlyStopping(patience=2)
    assert trainer.fit(data, epochs=5, callbacks=[stop], **options).epochs == 4
    assert (stop.best, stop.best_epoch) == (2.0, 2)
    trainer, data, options = following([nan, nan, nan])
    trainer.fit(data, epochs=3, callbacks=[prop.EarlyStopping(patience=5)], **options)
    assert trainer.parameters["p"] == -3, "there was no best to restore"


def test_a_callback_starts_afresh_with_every_call() -> None:
    stop = prop.EarlyStopping(patience=1)
    for _ in range(2):
        trainer, data, options = following([2.0, 3.0])
        trainer.fit(data, epochs=2, callbacks=[stop], **options)
        assert (stop.best, stop.stopped_epoch) == (2.0, 2)


@pytest.mark.parametrize("name", ["accuracy", "validation_accuracy"])
def test_a_named_metric_knows_which_way_is_better(name: str) -> None:
    x, y = prop.input("x", "batch unit=2"), prop.labels("y", "batch", classes=2)
    w = prop.parameter("w", (), 1.0)
    step = prop.training_step(
        prop.cross_entropy(x * w, y), prop.SGD(1e-9), {"z": x * w}, ["accuracy"]
    )
    stop = prop.EarlyStopping(name, patience=1)
    data = {"x": [[1.0, 0.0]], "y": [0]}
    history = step.compile().fit(data, epochs=9, validation_data=data, callbacks=[stop])
    assert history.epochs == 2, "an accuracy of 1 does not become better"
    assert stop.best == 1.0


@pytest.mark.parametrize("make", [prop.EarlyStopping, lambda m: prop.Checkpoint("weights", m)])
def test_a_monitor_that_no_epoch_has_is_refused_before_training(
    make: Callable[[str], prop.Callback], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trainer = falling()
    history = trainer.history
    with pytest.raises(DataError, match=r"'validation_loss'.*'loss'.*validation_split"):
        trainer.fit({"x": np.ones(3)}, callbacks=[make("validation_loss")])
    with pytest.raises(DataError, match=r"'accuracy'.*'loss'"):
        trainer.fit({"x": np.ones(3)}, callbacks=[make("accuracy")])
    assert trainer.parameters["p"] == 10
    assert trainer.history is history


def test_an_expression_of_the_users_needs_its_direction() -> None:
    p, x = prop.parameter("p", (), 10.0), prop.input("x", "batch")
    step = prop.training_step(prop.mean(x) * p, prop.SGD(1.0), metrics={"own": prop.mean(x)})
    with pytest.raises(DataError, match=r"'own'.*mode='min' or mode='max'"):
        step.compile().fit({"x": np.ones(3)}, callbacks=[prop.EarlyStopping("own")])
    stop = prop.EarlyStopping("own", patience=1, mode="max")
    assert step.compile().fit({"x": np.ones(3)}, epochs=5, callbacks=[stop]).epochs == 2


# --- files ---------------------------------------------------------------------------------------


def test_a_checkpoint_holds_the_best_epoch(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    trainer, data, options = following(CURVE[:6])
    trainer.fit(data, epochs=6, callbacks=[prop.Checkpoint(path)], **options)
    assert trainer.parameters["p"] == -6
    trainer.load(path)
    assert trainer.parameters["p"] == -3
    assert trainer.states["t"] == 3


def test_a_checkpoint_of_every_epoch_needs_no_monitor(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    trainer = falling()
    kept = prop.Checkpoint(path, best_only=False)
    trainer.fit({"x": np.ones(2)}, epochs=3, callbacks=[kept])
    other = falling()
    other.load(path)
    assert other.parameters["p"] == 7


def test_csv_holds_the_history_to_the_last_digit(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    x = prop.input("x", "batch")
    p = prop.parameter("p", (), 10.0)
    metrics = {"third.part": prop.mean(x) / 3}
    step = prop.training_step(prop.mean(x) * p, prop.SGD(0.1), metrics=metrics)
    history = step.compile().fit({"x": np.ones(3)}, epochs=3, callbacks=[prop.CSVLogger(path)])
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["epoch", *history]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    for k, name in enumerate(history, 1):
        assert [float(row[k]) for row in rows] == history[name]


def test_csv_takes_columns_of_any_name(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    logger, names = prop.CSVLogger(path), ['odd, "name"', "plain", "a\nb"]
    logger.on_train_begin(falling(), names)
    logger.on_epoch_end(falling(), 1, dict.fromkeys(names, 0.5))
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [["epoch", *names], ["1", "0.5", "0.5", "0.5"]]


@pytest.mark.parametrize("kind", ["Checkpoint", "CSVLogger"])
def test_a_place_where_nothing_can_be_written_is_refused_before_training(
    kind: str, tmp_path: Path
) -> None:
    trainer = falling()
    for path, words in ((tmp_path / "missing" / "file", "not a folder"), (tmp_path, "a folder")):
        options = {"best_only": False} if kind == "Checkpoint" else {}
        with pytest.raises(DataError, match=words):
            trainer.fit({"x": np.ones(3)}, callbacks=[CALLBACKS[kind](path, **options)])
    assert trainer.parameters["p"] == 10
    assert not list(tmp_path.iterdir())


# --- wrong callbacks -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        (prop.EarlyStopping(), "list"),
        ("stop", "list"),
        (["stop"], "'stop'"),
        ([prop.EarlyStopping], "EarlyStopping"),
        ([lambda epoch: None], "two arguments"),
        ([lambda trainer, epoch, entry: None], "two arguments"),
        ([None], "'None'"),
    ],
)
def test_what_is_no_callback_is_refused(callbacks: Any, words: str) -> None:
    trainer = falling()
    with pytest.raises(DeclarationError) as caught:
        trainer.fit({"x": np.ones(3)}, callbacks=callbacks)
    assert words in str(caught.value)
    assert trainer.parameters["p"] == 10


def test_a_hook_that_nothing_would_call_is_refused_where_it_is_written() -> None:
    with pytest.raises(DeclarationError, match=r"'on_epoch_ends'.*did you mean 'on_epoch_end'"):

        class Mine(prop.Callback):
            def on_epoch_ends(self, epoch: int) -> None: ...


@pytest.mark.parametrize(
    "make",
    [
        lambda: prop.EarlyStopping(patience=0),
        lambda: prop.EarlyStopping(patience=1.5),
        lambda: prop.EarlyStopping(min_delta=-1.0),
        lambda: prop.EarlyStopping(min_delta=math.nan),
        lambda: prop.EarlyStopping(mode="auto"),
        lambda: prop.Checkpoint("path", mode="best"),
    ],
)
def test_options_that_make_no_sense(make: Callable[[], object]) -> None:
    with pytest.raises(SympropError):
        make()


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_method_of_one_object_is_called_as_that_of_a_class(backend: str) -> None:
    if backend == "native":
        pytest.importorskip("llvmlite")
    p, x = prop.parameter("p", (), 10.0), prop.input("x", "batch")
    trainer = prop.training_step(prop.mean(x) * p, prop.SGD(0.1)).compile(backend)
    heard: list[int] = []
    one = prop.Callback()
    one.on_batch_end = lambda trainer, batch, entry: heard.append(batch)  # type: ignore[method-assign]
    trainer.fit({"x": np.ones(6)}, 2, 2, callbacks=[one])
    assert heard == [1, 2, 3] * 2
