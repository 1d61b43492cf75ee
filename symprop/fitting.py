"""The loop of `trainer.fit`: epochs of steps, validation, history, callbacks, interrupts.

In: a trainer and its runner, the data, a `Plan`, callbacks. Out: a `History`.
Guarantees: whatever can be refused is refused before the first step; Ctrl-C is raised between two
steps; callbacks are called there too; a step that is not finite is undone (`symprop.watch`).

It computes nothing itself: a step is `runner.run`, an order of examples is `symprop.batches`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from symprop.batches import (
    Cut,
    Source,
    Stream,
    Totals,
    check_again,
    check_count,
    check_iterable,
    check_seed,
    split_examples,
)
from symprop.callbacks import checked, hears_batches
from symprop.data import Arrays
from symprop.errors import DataError
from symprop.history import VALIDATION, History
from symprop.native_loop import native_loop
from symprop.progress import Progress, interrupts_held
from symprop.watch import Watch

if TYPE_CHECKING:
    from codegen.llvm.loop import Loop
    from symprop.runner import Runner
    from symprop.trainer import Trainer

__all__ = ["Fitting", "Plan"]

# How many examples are evaluated at once: enough to fill the machine, few enough for its memory.
EVALUATION_BATCH = 1024

DEFAULT_BATCH = 32

# What a training is validated on: checked arrays, or batches of them.
HeldOut = Arrays | Stream


@dataclass(frozen=True)
class Plan:
    """The options of `trainer.fit` that say which batch is trained on when."""

    epochs: int
    batch_size: int | None
    validation_split: float
    validation_data: Any
    shuffle: bool
    seed: int
    steps_per_epoch: int | None
    first_epoch: int

    def __post_init__(self) -> None:
        check_count("epochs", self.epochs)
        check_count("first_epoch", self.first_epoch)
        for name in ("batch_size", "steps_per_epoch"):
            value = getattr(self, name)
            if value is not None:
                check_count(name, value)
        check_seed(self.seed)
        if self.validation_data is not None and self.validation_split:
            raise DataError("give validation_split or validation_data, not both")

    @property
    def numbers(self) -> range:
        """The numbers of the epochs."""
        return range(self.first_epoch, self.first_epoch + self.epochs)


class Fitting:
    """One call of `trainer.fit`."""

    def __init__(
        self,
        trainer: Trainer,
        runner: Runner,
        data: Any,
        plan: Plan,
        callbacks: Any,
        progress: bool | None,
    ) -> None:
        self.trainer, self.runner, self.plan = trainer, runner, plan
        self.held = self._validation()
        self.source = self._cut(data) if isinstance(data, Mapping) else self._batches(data)
        self.callbacks = checked(callbacks)
        self.columns = list(runner.columns)
        if self.held is not None:
            self.columns += [VALIDATION + name for name in runner.columns]
        self.bar = Progress(plan.epochs, self.source.steps, progress)
        self.loop: Loop | None = None
        self.watch: Watch | None = None
        self.starts: list[int] = []  # the number of each epoch's first step, from 0 on
        self.order: tuple[int, Any] = 0, ()  # of the examples of an epoch in machine code

    # --- data ----------------------------------------------------------------------------------

    def _validation(self) -> HeldOut | None:
        data, runner = self.plan.validation_data, self.runner
        if data is None:
            return None
        if isinstance(data, Mapping):
            return runner.to_evaluate(data)
        check_iterable("validation_data", data)
        check_again("validation_data", data, self.plan.epochs)
        return runner.stream(runner.evaluate, data, None)

    def _batches(self, data: Any) -> Source:
        """Batches as the user gives them."""
        plan = self.plan
        if plan.batch_size is not None or plan.validation_split:
            name = "validation_split" if plan.batch_size is None else "batch_size"
            raise DataError(
                f"{name} is for whole arrays: hand in arrays by name, or leave it out for batches"
            )
        if plan.steps_per_epoch is None:
            cure = ", or say steps_per_epoch where it is endless"
            check_again("the data", data, plan.epochs, cure)
        return self.runner.stream(self.runner.step, data, plan.steps_per_epoch)

    def _cut(self, data: Mapping[str, Any]) -> Source:
        """Whole arrays, cut into batches; a share of them is set aside."""
        plan, runner = self.plan, self.runner
        if plan.steps_per_epoch is not None:
            raise DataError(
                "steps_per_epoch is for batches: an epoch of whole arrays visits every example"
            )
        arrays = runner.prepare(runner.step, data, whole=True)
        split = runner.split_names(arrays)
        examples = runner.examples
        assert examples is not None
        size = examples.batch_size(plan.batch_size, DEFAULT_BATCH)
        train, kept = split_examples(
            len(arrays[split[0]]), plan.validation_split, int(plan.seed), examples.size or 1
        )
        if len(kept):
            self.held = {n: a[kept] if n in split else a for n, a in arrays.items()}
        seed = int(plan.seed) if plan.shuffle else None
        return Cut(arrays, split, size, seed, train, full=examples.size is not None)

    # --- the loop ------------------------------------------------------------------------------

    def run(self) -> History:
        """Train; the history, which is the trainer's while it grows."""
        trainer = self.trainer
        trainer.stopping = False
        self._build()
        for one in self.callbacks:
            one.on_train_begin(trainer, self.columns)
        history = trainer.history = History()
        with self.bar, interrupts_held() as interrupts:
            for epoch in self.plan.numbers:
                entry = self._epoch(epoch, interrupts)
                history.append(entry)
                self.bar.epoch(entry)
                for one in self.callbacks:
                    one.on_epoch_end(trainer, epoch, MappingProxyType(entry))
                interrupts.raise_pending()
                if trainer.stopping:
                    break
            for one in self.callbacks:
                one.on_train_end(trainer)
        return history

    def _build(self) -> None:
        """Compile what the loop runs, before Ctrl-C is held back: with Numba it takes seconds."""
        self.runner.step.build()
        if self.held is not None:
            self.runner.evaluate.build()
        # A loop in machine code: where nobody is to be told of every batch.
        if isinstance(self.source, Cut) and not any(map(hears_batches, self.callbacks)):
            cut, columns = self.source, len(self.runner.columns)
            self.loop = native_loop(self.runner, cut.arrays, cut, columns, orders=True)
        self.watch = self._watch()

    def _watch(self) -> Watch | None:
        """What looks at the losses."""
        runner = self.runner
        if runner.check_finite is False:
            return None
        heard = any(map(hears_batches, self.callbacks))  # they may change weights
        batch_of = None if self.loop is None else self._batch_of
        return Watch(runner, self._called, batch_of, heard, bool(runner.check_finite))

    def _called(self, step: int) -> str:
        epoch = bisect_right(self.starts, step) - 1
        place = step - self.starts[epoch] + 1
        return f" in step {place} of epoch {self.plan.first_epoch + epoch}"

    def _batch_of(self, step: int) -> Arrays:
        """The batch of a step in machine code."""
        assert isinstance(self.source, Cut)
        epoch, place = divmod(step, self.source.steps)
        return self.source.batch(self._order(self.plan.first_epoch + epoch), place)[0]

    def _order(self, epoch: int) -> Any:
        """The order of the examples in an epoch in machine code."""
        from codegen.llvm.loop import permutation

        assert isinstance(self.source, Cut)
        if self.order[0] != epoch:
            self.order = epoch, self.source.order(epoch - 1, permutation)
        return self.order[1]

    def _look(self, last: bool) -> None:
        """Looks at the weights after an epoch, where something is made of them before the next
        one is trained."""
        if self.watch is not None and (last or self.callbacks or self.held is not None):
            self.watch.end()

    def _epoch(self, epoch: int, interrupts: interrupts_held) -> dict[str, float]:
        """The steps of one epoch and its validation; the numbers for the history."""
        runner, trainer = self.runner, self.trainer
        for one in self.callbacks:
            one.on_epoch_begin(trainer, epoch)
        means = Totals(runner.columns)
        if self.watch is not None:
            self.starts.append(self.watch.next)
            if self.callbacks or epoch == self.plan.first_epoch:
                self.watch.begin(self.watch.next)
        if self.loop is not None:
            self._native_steps(self.loop, epoch, means, interrupts)
        else:
            self._steps(epoch, means, interrupts)
        self._look(last=trainer.stopping or epoch == self.plan.numbers[-1])
        entry = runner.recipe.finished(means.means())
        if self.held is not None:
            found = self._validated(self.held, epoch)
            entry |= {VALIDATION + name: value for name, value in found.items()}
        return entry

    def _steps(self, epoch: int, means: Totals, interrupts: interrupts_held) -> None:
        """The steps of one epoch, one after the other."""
        runner, trainer, watch = self.runner, self.trainer, self.watch
        reused = isinstance(self.source, Stream)
        for position, (batch, count) in enumerate(self.source.epoch(epoch), 1):
            if watch is not None:
                watch.before()
            results = runner.run(runner.step, batch)
            means.add(results, count)
            if watch is not None:
                watch.one(results[0], batch, reused)
            self.bar.advance()
            self._tell_batch(position, results)
            interrupts.raise_pending()
            if trainer.stopping:
                break

    def _native_steps(
        self, loop: Loop, epoch: int, means: Totals, interrupts: interrupts_held
    ) -> None:
        """The same in machine code, a slice of time after the other."""
        assert isinstance(self.source, Cut)

        def between(rows: np.ndarray[Any, Any]) -> None:
            self.bar.advance(len(rows))
            if self.watch is not None:
                self.watch.many(rows[:, 0])
            interrupts.raise_pending()
            if self.trainer.stopping:
                loop.stop()

        order = self._order(epoch)
        loop.start(order)
        rows = loop.rows(self.source.steps, between)
        size = self.source.batch_size
        counts = np.minimum(size, len(order) - size * np.arange(len(rows)))
        means.add_rows(rows, counts)

    def _tell_batch(self, position: int, results: tuple[Any, ...]) -> None:
        if not self.callbacks:
            return
        numbers = dict(zip(self.runner.columns, map(float, results), strict=True))
        entry = MappingProxyType(self.runner.recipe.finished(numbers))
        for one in self.callbacks:
            one.on_batch_end(self.trainer, position, entry)

    def _validated(self, held: HeldOut, epoch: int) -> dict[str, float]:
        if isinstance(held, Stream):
            return self.runner.evaluated_stream(held, epoch)
        examples = self.runner.examples
        size = None if examples is None else examples.size or EVALUATION_BATCH
        return self.runner.evaluated(held, size)
