"""Callbacks: what a user wants done while `trainer.fit` runs.

In: the trainer, the number of the epoch, its numbers. Out: what the callback does: it stops the
training, saves weights, logs numbers.
Guarantees: hooks are called in the order of the callbacks, between two steps, never inside one;
what cannot work (a monitor that no epoch has, a hook that does not exist, a folder that is not
there) is refused before the first step; the weights that a callback restores or saves are those of
a whole number of steps. A callback starts afresh with every call of `fit`.

A callback is an object of a subclass of `Callback`, or a plain function (epoch, entry), called at
the end of every epoch. Epochs count from 1. Any of them may call `trainer.stop()`.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symprop import checkpoint
from symprop.batches import check_count
from symprop.data import Arrays, closest
from symprop.errors import DataError, DeclarationError, listed, quoted
from symprop.history import VALIDATION
from symprop.optimizer_parts import check_weight

if TYPE_CHECKING:
    from symprop.trainer import Trainer

__all__ = [
    "CALLBACKS",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "ReduceOnPlateau",
    "checked",
]

Entry = Mapping[str, float]


class Callback:
    """What can be done while a training runs: override the hooks that are needed.

    `trainer.stop()` ends the training after the step or the epoch at hand, whose numbers are still
    recorded. `trainer.parameters` are the live arrays; `trainer.history` what was recorded so far.
    """

    def on_train_begin(self, trainer: Trainer, columns: Sequence[str]) -> None:
        """Before the first step: `columns` are the names of the numbers each epoch will have."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Before the first step of an epoch; epochs count from 1."""

    def on_batch_end(self, trainer: Trainer, batch: int, entry: Entry) -> None:
        """After a step: its number in the epoch, from 1; the loss and metrics before its update."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, entry: Entry) -> None:
        """After an epoch and its validation, with the numbers that went into the history."""

    def on_train_end(self, trainer: Trainer) -> None:
        """After the last epoch, stopped or not; not after an error or an interrupt."""

    def __init_subclass__(cls) -> None:
        """Refuse a hook that nothing would call."""
        hooks = [name for name in vars(Callback) if name.startswith("on_")]
        for name in vars(cls):
            if name.startswith("on_") and name not in hooks:
                raise DeclarationError(
                    f"{quoted(name)} of {cls.__name__} is no hook of a callback, which are "
                    f"{listed(hooks)}{closest(name, hooks)}"
                )


class Calling(Callback):
    """A plain function (epoch, entry), called at the end of every epoch."""

    def __init__(self, function: Callable[[int, Entry], object]) -> None:
        self.function = function

    def on_epoch_end(self, trainer: Trainer, epoch: int, entry: Entry) -> None:
        self.function(epoch, entry)


def checked(callbacks: Any) -> list[Callback]:
    """The callbacks as objects; refuses what can be none."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, list | tuple):
        raise DeclarationError(
            "callbacks must be a list, such as [prop.EarlyStopping()], but is "
            f"{quoted(type(callbacks).__name__)}"
        )
    return [one if isinstance(one, Callback) else function_of(one) for one in callbacks]


def hears_batches(one: Callback) -> bool:
    """Whether a callback does anything after a batch."""
    return getattr(one.on_batch_end, "__func__", None) is not Callback.on_batch_end


def function_of(given: Any) -> Callback:
    """A plain function as a callback; it must take the epoch and its numbers."""
    if isinstance(given, type) or not callable(given):
        raise DeclarationError(
            "a callback must be an object such as prop.EarlyStopping() or a function "
            f"(epoch, entry), but is {quoted(given)}"
        )
    try:
        inspect.signature(given).bind(1, {})
    except TypeError as error:
        raise DeclarationError(
            f"the callback {quoted(getattr(given, '__name__', given))} must take two arguments, "
            f"the epoch and its numbers: {error}"
        ) from error
    except ValueError:  # a function written in C may not tell its arguments: it will be called
        pass
    return Calling(given)


# --- watching a number ---------------------------------------------------------------------------


class Watch:
    """The best value so far of one number of the epochs.

    In: its name; "min" or "max", or None where it is known: the loss and named metrics; how much
    better counts as better.
    """

    def __init__(self, owner: str, monitor: str, mode: str | None, min_delta: float = 0.0) -> None:
        if mode not in (None, "min", "max"):
            raise DeclarationError(f"mode must be 'min' or 'max', but is {quoted(mode)}")
        number = isinstance(min_delta, int | float) and not isinstance(min_delta, bool)
        if not number or not 0 <= min_delta < math.inf:
            raise DeclarationError(f"min_delta must be 0 or positive, but is {quoted(min_delta)}")
        self.owner, self.monitor, self.mode, self.min_delta = owner, monitor, mode, min_delta
        self.sign, self.best = 1.0, math.nan

    def begin(self, trainer: Trainer, columns: Sequence[str]) -> None:
        """Start afresh; refuses a monitor that no epoch will have."""
        if self.monitor not in columns:
            cure = closest(self.monitor, columns)
            if self.monitor.removeprefix(VALIDATION) in columns:
                cure = ": hand validation_split or validation_data to fit"
            raise DataError(
                f"{self.owner} monitors {quoted(self.monitor)}, but an epoch has "
                f"{listed(columns)}{cure}"
            )
        mode = self.mode or trainer.training_step.better(self.monitor.removeprefix(VALIDATION))
        if not mode:
            raise DataError(
                f"{self.owner} cannot know whether more of {quoted(self.monitor)} is better: "
                "say mode='min' or mode='max'"
            )
        self.sign, self.best = (1.0 if mode == "min" else -1.0), math.nan

    def improved(self, entry: Entry) -> bool:
        """Whether this epoch is the best so far; NaN never is."""
        value = entry[self.monitor]
        better = self.sign * value < self.sign * self.best - self.min_delta
        if better or (math.isnan(self.best) and not math.isnan(value)):
            self.best = value
            return True
        return False


# --- the callbacks that come with symprop ---------------------------------------------------------


class EarlyStopping(Callback):
    """Ends the training when a number has not become better for a while.

    In: `monitor`, a name of the history; `patience`, how many epochs in a row may pass without
    becoming better by more than `min_delta`; `restore_best`, whether the weights of the best epoch
    (with the optimizer's states) come back when the training ends, stopped or not; `mode`, "min" or
    "max" where the number is an expression of the user's.
    Out: `best`, `best_epoch`, and `stopped_epoch`, None where it did not stop the training.
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
        mode: str | None = None,
    ) -> None:
        check_count("patience", patience)
        self._watch = Watch("EarlyStopping", monitor, mode, min_delta)
        self.patience, self.restore_best = patience, restore_best
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._kept: Arrays | None = None
        self._waited = 0

    @property
    def best(self) -> float:
        """The best value so far; NaN before there is one."""
        return self._watch.best

    def on_train_begin(self, trainer: Trainer, columns: Sequence[str]) -> None:
        self._watch.begin(trainer, columns)
        self.best_epoch = self.stopped_epoch = self._kept = None
        self._waited = 0

    def on_epoch_end(self, trainer: Trainer, epoch: int, entry: Entry) -> None:
        if self._watch.improved(entry):
            self.best_epoch, self._waited = epoch, 0
            self._kept = trainer.snapshot() if self.restore_best else None
            return
        self._waited += 1
        if self._waited >= self.patience:
            self.stopped_epoch = epoch
            trainer.stop()

    def on_train_end(self, trainer: Trainer) -> None:
        if self._kept is not None:
            trainer.restore(self._kept)
            self._kept = None


class ReduceOnPlateau(Callback):
    """Makes a rate smaller when a number has not become better for a while.

    In: `monitor`, `min_delta`, `mode` as for EarlyStopping; after `patience` epochs in a row that
    are not better the rate is multiplied by `factor`, down to `least`; `rate`, the name of a rate
    that was declared with `prop.rate_state`. As torch's ReduceLROnPlateau. The training goes on.
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        factor: float = 0.1,
        patience: int = 5,
        least: float = 0.0,
        min_delta: float = 0.0,
        mode: str | None = None,
        rate: str = "rate",
    ) -> None:
        check_count("patience", patience)
        if not isinstance(factor, float) or not 0 < factor < 1:
            raise DeclarationError(f"factor must be between 0 and 1, but is {quoted(factor)}")
        check_weight("least", least)
        self._watch = Watch("ReduceOnPlateau", monitor, mode, min_delta)
        self.factor, self.patience, self.least, self.rate = factor, patience, least, rate
        self._waited = 0

    def on_train_begin(self, trainer: Trainer, columns: Sequence[str]) -> None:
        self._watch.begin(trainer, columns)
        self._waited = 0
        if self.rate not in trainer.states:
            raise DataError(
                f"ReduceOnPlateau changes the rate {quoted(self.rate)}, but the training has no "
                "such state: give the optimizer prop.rate_state(1e-3) as its rate"
            )

    def on_epoch_end(self, trainer: Trainer, epoch: int, entry: Entry) -> None:
        if self._watch.improved(entry):
            self._waited = 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            now = trainer.states[self.rate]
            now[...] = max(float(now) * self.factor, self.least)
            self._waited = 0


class Checkpoint(Callback):
    """Saves the trainer after an epoch, as `trainer.save` does: whole or not at all.

    In: the path of a safetensors file, written over each time; whether only an epoch that is the
    best so far in `monitor` is saved, or every one; `mode` as for EarlyStopping.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "validation_loss",
        best_only: bool = True,
        mode: str | None = None,
    ) -> None:
        self._watch = Watch("Checkpoint", monitor, mode)
        self.path, self.best_only = path, best_only

    def on_train_begin(self, trainer: Trainer, columns: Sequence[str]) -> None:
        check_place(self.path)
        if self.best_only:
            self._watch.begin(trainer, columns)

    def on_epoch_end(self, trainer: Trainer, epoch: int, entry: Entry) -> None:
        if not self.best_only or self._watch.improved(entry):
            trainer.save(self.path)


class CSVLogger(Callback):
    """Writes the numbers of the epochs to a CSV file, anew after every epoch, whole or not at all.

    The first column is the epoch; floats are written so that reading them gives the same number.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._rows: list[str] = []

    def on_train_begin(self, trainer: Trainer, columns: Sequence[str]) -> None:
        check_place(self.path)
        self._rows = [",".join(cell(name) for name in ("epoch", *columns))]

    def on_epoch_end(self, trainer: Trainer, epoch: int, entry: Entry) -> None:
        self._rows.append(",".join(map(repr, (epoch, *entry.values()))))
        checkpoint.write_file(self.path, ("\n".join(self._rows) + "\n").encode())


def cell(text: str) -> str:
    """A name as one cell of a CSV file."""
    plain = text.isprintable() and not set(text) & set(',"') and text == text.strip()
    return text if plain else '"' + text.replace('"', '""') + '"'


def check_place(path: str | os.PathLike[str]) -> None:
    """Refuse a path where no file can be written, before hours of training."""
    target = Path(path)
    if not target.parent.is_dir():
        raise DataError(f"{quoted(target.parent)} is not a folder: make it first")
    if target.is_dir():
        raise DataError(f"{quoted(target)} is a folder: give the path of a file in it")


# Every callback that comes with symprop, by the name under which it is exported.
CALLBACKS = {c.__name__: c for c in (EarlyStopping, ReduceOnPlateau, Checkpoint, CSVLogger)}
