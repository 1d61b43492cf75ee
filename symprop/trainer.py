"""The trainer: a compiled training step together with the arrays it changes.

In: a `TrainingStep`, a backend, a width, a seed; data as arrays or as batches.
Out: trained weights, predictions, numbers, a `History`, files.
Guarantees: the same seed, data and library versions give the same bytes of weights; the last batch
of an epoch is trained even where it is shorter; an interrupt (Ctrl-C) leaves the weights between
two steps, and the history of the epochs before; data is checked once, in `symprop.data`, before
any of it is used.

It knows no backend and no layer; the loop of `fit` is `symprop.fitting`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from symprop import checkpoint
from symprop.batches import check_iterable
from symprop.binding import Binding
from symprop.data import Arrays
from symprop.errors import DataError, UnsupportedError, quoted
from symprop.fitting import Fitting, Plan
from symprop.history import History
from symprop.pipeline import seldom_collected
from symprop.progress import interrupts_held
from symprop.runner import Runner
from symprop.watch import Watch

if TYPE_CHECKING:
    from symprop.export import Export
    from symprop.training import TrainingStep

__all__ = ["Trainer"]


UNBOUND = "no data is bound: call trainer.bind(batch) first, or hand a batch to trainer.step"


def _unbound() -> float:
    raise DataError(UNBOUND)


class Trainer:
    """A compiled training step together with the arrays it changes."""

    def __init__(
        self, step: TrainingStep, backend: str, dtype: str, seed: int, check_finite: bool | None
    ) -> None:
        self.training_step, self.backend, self.dtype = step, backend, dtype
        self.history = History()
        self.stopping = False
        self._runner = Runner(step, backend, dtype, seed, check_finite)
        self._bound: Binding | None = None
        self._step: Callable[[], float] = _unbound

    @property
    def parameters(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """The live arrays of the parameters by name: training changes them in place."""
        runner = self._runner
        return MappingProxyType({name: runner.arrays[name] for name in runner.parameters})

    @property
    def states(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """The live arrays that are not trained, such as the moments of Adam, by name."""
        runner = self._runner
        rest = (name for name in runner.arrays if name not in runner.parameters)
        return MappingProxyType({name: runner.arrays[name] for name in rest})

    @property
    def program(self) -> Any:
        """The step as a PROGRAM."""
        return self._runner.step.program

    @property
    def loops(self) -> Any:
        """The step as nests of loops, scheduled."""
        return self._runner.step.loops

    @property
    def from_cache(self) -> bool:
        """Whether the machine code of the step was compiled before, and found again."""
        return bool(self._runner.step.from_cache)

    def source(self, language: str | None = None) -> str:
        """The step as text: of the backend that runs it, or, labelled so, of another one.

        In: the name of a backend, "llvm" for the text of machine code, or nothing: then it is the
        one to read, NumPy's where machine code runs. Raises UnsupportedError for a text that does
        not exist.
        """
        return str(self._runner.step.source(language))

    def assembly(self) -> str:
        """The instructions of the step as they run on this computer.

        Raises UnsupportedError where no machine code runs: a text backend has none of its own.
        """
        native = self._runner.step.native
        if native is None:
            raise UnsupportedError(
                f"the backend {quoted(self.backend)} runs no machine code of symprop: compile the "
                'step with the backend "native" to see its assembly'
            )
        return str(native.assembly)

    def bind(
        self,
        data: Mapping[str, Any],
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
    ) -> Mapping[str, np.ndarray[Any, Any]]:
        """Keep data for `step()` and `run(n)`, which then need not be handed any.

        In: one batch, copied; or whole arrays and a `batch_size` (the declared one, where there is
        one: then also as `fit` says, for what is left over), from which each step takes the
        next examples, in a new order every epoch with `shuffle`, drawn from `seed`: the orders of
        `fit` with that seed (counted on from run to run).
        Out: the arrays that are read, by name: what is written into them the next step sees.
        Raises DataError for data that does not fit, before anything changes.
        """
        with seldom_collected():
            self._bound = Binding(self._runner, data, batch_size, shuffle, seed)
        self._step = self._bound.step
        return MappingProxyType(self._bound.arrays)

    def run(self, steps: int) -> np.ndarray[Any, Any]:
        """Train for so many steps on the bound data; their losses, float64.

        Ctrl-C is raised between two steps; `stop`, from another thread, ends it there as well, and
        the losses so far are returned. Raises DataError where no data is bound, NonFiniteError as
        `fit` does: the next step is then the bad one again. For that the weights are copied once a
        call (with check_finite=False they are not).
        """
        if self._bound is None:
            raise DataError(UNBOUND)
        return self._bound.run(steps)

    def step(self, data: Mapping[str, Any] | None = None) -> float:
        """Train on one batch, or on the bound data where none is handed in; the loss before the
        update. A trainer is for one thread at a time.

        A loss that is not finite is returned as it is, and the weights are what the step made of
        them: looking would take longer than a small step. `fit` and `run` look, and so does this
        with check_finite=True.

        The first call compiles the text (seconds with Numba); Ctrl-C is not held back meanwhile.
        """
        if data is None:
            return self._step()
        runner = self._runner
        arrays = runner.prepare(runner.step, data)
        runner.step.build()
        watch = Watch(runner, lambda _: "", strict=True) if runner.check_finite else None
        with interrupts_held():
            if watch is not None:
                watch.before()
            loss = float(runner.run(runner.step, arrays)[0])
            if watch is not None:
                watch.one(loss, arrays)
        return loss

    def predict(self, data: Mapping[str, Any]) -> Arrays:
        """The outputs by name; only what they read need be handed in.

        They are the caller's own arrays: writing to one changes neither the weights nor the data.
        """
        runner = self._runner
        results = runner.run_apart(runner.predict, runner.prepare(runner.predict, data))
        return dict(zip(self.training_step.outputs, results, strict=True))

    def evaluate(self, data: Any, batch_size: int | None = None) -> dict[str, float]:
        """The loss and the metrics, over all of the data.

        In: arrays by name, taken at once or in batches of a size; or batches, as for `fit`. Where
        the size of a batch is declared, examples that do not fill whole ones are a DataError.
        """
        runner = self._runner
        if isinstance(data, Mapping):
            return runner.evaluated(runner.to_evaluate(data), batch_size)
        check_iterable("the data", data)
        if batch_size is not None:
            raise DataError("batch_size is for whole arrays: these batches have their own sizes")
        return runner.evaluated_stream(runner.stream(runner.evaluate, data, None), 1)

    def fit(
        self,
        data: Any,
        epochs: int = 1,
        batch_size: int | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        seed: int = 0,
        progress: bool | None = None,
        *,
        callbacks: Sequence[Any] = (),
        steps_per_epoch: int | None = None,
        first_epoch: int = 1,
    ) -> History:
        """Train for `epochs` passes over the data; the history of this call, an entry an epoch.

        Args:
            data: arrays by name; or batches: an iterable of such mappings (a list, a generator, a
                loader), or a function without arguments that returns one, called every epoch.
            epochs: how many passes; a generator can be gone through once.
            batch_size: examples a step, 32 where not said; not for batches. Where the size is
                declared, as in "batch=32 pixel=64", it is that one.
            validation_split: the share of the arrays set aside for validation, drawn from `seed`
                (in whole batches where their size is declared).
            validation_data: what to validate on after every epoch: arrays, or batches.
            shuffle: whether each epoch visits the examples in a new order, drawn from `seed`;
                batches are taken as they come.
            seed: of the order and of the split.
            progress: whether a progress bar is shown; on a terminal where not said.
            callbacks: objects such as prop.EarlyStopping(), functions (epoch, entry).
            steps_per_epoch: how many batches make an epoch; needed for an endless generator.
            first_epoch: the number of the first epoch: a training that was saved after epoch 5 and
                goes on with first_epoch=6 is bit by bit the one that never stopped.

        Guarantees: every example is visited once an epoch, the last and shorter batch too. Where
        the size of a batch is declared there is no shorter one: what is left over is left out of
        the epoch, another rest every time, or refused without `shuffle`. Whatever can be refused
        is refused before the first step. `trainer.history` is the history while it grows, so it
        survives an interrupt.

        Raises NonFiniteError where the loss becomes NaN or infinite, or a parameter does: it names
        the step and the first number that is not finite, with its formula, its operands and the
        user's line; weights, states and step counts are bit by bit those before the step. Losses
        are looked at as they come (in machine code every 20 ms) and the weights copied once an
        epoch and for a hundredth of the time; where callbacks hear of every batch, before each.
        With check_finite=False in `compile` nothing is looked at or copied.
        """
        if not isinstance(data, Mapping):
            check_iterable("the data", data)
        plan = Plan(
            epochs,
            batch_size,
            validation_split,
            validation_data,
            shuffle,
            seed,
            steps_per_epoch,
            first_epoch,
        )
        return Fitting(self, self._runner, data, plan, callbacks, progress).run()

    def stop(self) -> None:
        """Ask `fit` or `run` to end after the step at hand: for callbacks and other threads; the
        epoch is still recorded."""
        self.stopping = True
        if self._bound is not None:
            self._bound.stop()

    # --- files and copies ----------------------------------------------------------------------

    def snapshot(self) -> Arrays:
        """Copies of all parameters and states, for `restore`."""
        return {name: array.copy() for name, array in self._runner.arrays.items()}

    def restore(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Take back what `snapshot` gave, into the live arrays.

        Guarantees: nothing changes unless every name, shape and dtype fits.
        """
        for name, own in self._runner.arrays.items():
            given: Any = arrays.get(name) if isinstance(arrays, Mapping) else None
            same = isinstance(given, np.ndarray) and given.dtype == own.dtype
            if not same or given.shape != own.shape:
                raise DataError("restore takes what trainer.snapshot() gave for the same step")
        self._take(arrays)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and states to a safetensors file, whole or not at all."""
        checkpoint.write_weights(path, self._runner.arrays)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take parameters and states from a file that `save` wrote for the same step.

        Guarantees: nothing changes unless every name, shape and dtype fits.
        """
        self._take(checkpoint.read_weights(path, self._runner.arrays))

    def export(
        self,
        folder: str | os.PathLike[str],
        target: str = "host",
        name: str | None = None,
        sample: Mapping[str, Any] | None = None,
    ) -> Export:
        """Write the step and the outputs as a library for C, whole or not at all.

        Args:
            folder: what to make; one that an export made is replaced.
            target: the machine it is for: "host", this one, or one of `symprop.export.TARGETS`,
                such as "x86-64-v3" (any PC since about 2013) or "aarch64".
            name: what the functions' names begin with; that of the folder where not said.
            sample: the batch that the self-test records; random numbers where not said.

        Out: what was written; it prints. `prop.load(folder)` runs it again.
        Raises UnsupportedError for a machine that is not known or without llvmlite, and DataError
        for a folder that holds other files, or numbers that are not finite.
        """
        from symprop.export import export

        return export(self._runner, folder, target, name, sample)

    def __deepcopy__(self, memo: dict[int, Any]) -> Trainer:
        """A trainer of the same step with copies of all arrays and of the history; data that is
        bound to this one is not bound to it."""
        twin = Trainer(self.training_step, self.backend, self.dtype, 0, self._runner.check_finite)
        twin.restore(self.snapshot())
        twin.history = deepcopy(self.history, memo)
        memo[id(self)] = twin
        return twin

    def __copy__(self) -> Trainer:
        raise UnsupportedError(
            "a copy of a trainer has weights of its own: call copy.deepcopy, or trainer.snapshot() "
            "for the weights alone"
        )

    def __reduce__(self) -> Any:
        raise UnsupportedError(
            "a trainer holds machine code and expressions, which cannot be pickled: keep its "
            "weights with trainer.save(path), or the compiled step with trainer.export(folder)"
        )

    def _take(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        with interrupts_held():
            for name, own in self._runner.arrays.items():
                np.copyto(own, arrays[name])
