"""Data that is bound to a trainer: steps that need not be handed anything, and many of them.

In: a runner; one batch, or whole arrays with a batch size. Out: ``Binding``: ``step()``, the loss
of the next step; ``run(n)``, the losses of so many.

    one batch      every step is on it. ``arrays`` are what is read: write new values into them, and
                   the next step sees those
    whole arrays   each step takes the next ``batch_size`` examples, as ``symprop.batches.Cut``
                   says it. The order of epoch e (from 0 on) is that of the arrays, or with
                   ``shuffle`` ``codegen.philox.permutation(seed, e, examples)``

Guarantees: data is checked once, here, before anything changes. The batches are the same for every
backend. Where machine code runs, the loop over steps is in it too: no Python, no allocation.
Ctrl-C and ``stop`` leave the weights between two steps. A step of a run that is not finite is
undone (``symprop.watch``), and the next one is on the same examples. A run in machine code counts
its steps in one table: another one at the same time, from a second thread, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.aligned import aligned_copy
from symprop.batches import Cut, check_count, check_seed
from symprop.data import Arrays
from symprop.errors import DataError, NonFiniteError, quoted
from symprop.native_loop import native_loop
from symprop.progress import interrupts_held
from symprop.watch import Watch

if TYPE_CHECKING:
    from codegen.llvm.loop import Loop
    from symprop.runner import Runner

__all__ = ["Binding"]

Array = np.ndarray[Any, Any]
MOST = 10**8  # steps of one run: their losses are kept


class Binding:
    """A training step on data that stays."""

    def __init__(
        self,
        runner: Runner,
        data: Mapping[str, Any],
        batch_size: int | None,
        shuffle: bool,
        seed: int,
    ) -> None:
        check_seed(seed)
        if batch_size is None and shuffle:
            raise DataError("shuffle is for whole arrays: say batch_size, or bind one batch")
        prepared = runner.prepare(runner.step, data, whole=batch_size is not None)
        self.runner = runner
        self.arrays, self.cut = self._taken(prepared, batch_size, int(seed) if shuffle else None)
        self.batches = None if self.cut is None else Endless(self.cut)
        self._stopping = False
        self._first = 0  # step of a run
        self._running = Lock()
        self._loop = self._native()
        self._watch = self._watched()
        self.step: Callable[[], float] = self._step()

    def _taken(
        self, prepared: Arrays, batch_size: int | None, seed: int | None
    ) -> tuple[Arrays, Cut | None]:
        """The arrays that are read, and how they are cut."""
        if batch_size is None:
            return {name: aligned_copy(a) for name, a in prepared.items()}, None
        check_count("batch_size", batch_size)
        split = self.runner.split_names(prepared)
        examples = self.runner.examples
        assert examples is not None
        size = examples.batch_size(batch_size, batch_size)
        return prepared, Cut(prepared, split, size, seed, full=examples.size is not None)

    def _watched(self) -> Watch | None:
        """What looks at the losses of a run; where every step is to be looked at, of all steps."""
        strict = self.runner.check_finite
        if strict is False:
            return None
        return Watch(self.runner, self._called, self._batch, strict=bool(strict))

    def _called(self, step: int) -> str:
        return f" in step {step - self._first + 1} of the run"

    def _batch(self, step: int) -> Arrays:
        """The batch of a step, counted from 0 since the data was bound."""
        return self.arrays if self.batches is None else self.batches.batch(step)

    # --- in machine code -----------------------------------------------------------------------

    def _native(self) -> Loop | None:
        """The loop in machine code, where there can be one."""
        return native_loop(self.runner, self.arrays, self.cut)

    def _step(self) -> Callable[[], float]:
        """One step as a function: with machine code, the call of a C function."""
        loop = self._loop
        if loop is None:
            return self._alone
        if self.cut is not None:
            return lambda: float(self._looped(loop, 1)[0])
        from codegen.llvm.one_step import one_step

        return one_step(loop.bound)

    # --- running -------------------------------------------------------------------------------

    def _alone(self) -> float:
        """One step of a text backend that is no run."""
        watch = self._watch
        if watch is None or not watch.strict:
            return self._one(None)
        watch.next = self._first = self._position()
        with self._undone(watch):
            return self._one(watch)

    def _one(self, watch: Watch | None) -> float:
        """One step of a text backend."""
        batch = self.arrays if self.batches is None else self.batches.next()
        with interrupts_held():
            if watch is not None:
                watch.before()
            loss = float(self.runner.run(self.runner.step, batch)[0])
            if watch is not None:
                watch.one(loss, batch)
        return loss

    def run(self, steps: int) -> Array:
        """The losses of so many steps, float64, fewer where ``stop`` was called meanwhile."""
        check_count("the number of steps", steps)
        if steps > MOST:
            raise DataError(f"run takes at most {MOST:,} steps at a time, not {quoted(steps)}")
        if self._loop is not None:
            return self._looped(self._loop, int(steps), self._watch)
        self._stopping = False
        losses = np.empty(steps)
        with self._begun(self._watch) as watch:
            for n in range(steps):
                losses[n] = self._one(watch)
                if self._stopping:
                    return losses[: n + 1]
        return losses

    def _looped(self, loop: Loop, steps: int, watch: Watch | None = None) -> Array:
        """Steps in machine code, where none are taken meanwhile."""
        if not self._running.acquire(blocking=False):
            raise DataError(
                "another thread runs steps on this bound data: wait until it is done, or give each "
                "thread a trainer of its own"
            )
        try:
            if watch is None:
                return loop.run(steps)
            with self._begun(watch):
                return loop.rows(steps, lambda rows: watch.many(rows[:, 0]))[:, 0]
        finally:
            self._running.release()

    # --- where a loss is not finite ------------------------------------------------------------

    def _position(self) -> int:
        """The steps on the bound data so far, where they are counted."""
        if self.batches is None:
            return 0
        return self.batches.taken if self._loop is None else self._loop.taken

    @contextmanager
    def _begun(self, watch: Watch | None) -> Iterator[Watch | None]:
        """A run whose losses are looked at."""
        if watch is None:
            yield None
            return
        self._first = self._position()
        watch.begin(self._first)
        with self._undone(watch):
            yield watch
            watch.end()

    @contextmanager
    def _undone(self, watch: Watch) -> Iterator[None]:
        """After an error the next step is the one that was undone."""
        try:
            yield
        except NonFiniteError:
            if self.batches is not None:
                if self._loop is not None:
                    self._loop.go_back(watch.next)
                self.batches.taken = watch.next
            raise

    def stop(self) -> None:
        """Ends a run after the step at hand."""
        self._stopping = True
        if self._loop is not None:
            self._loop.stop()


class Endless:
    """The batches of a cut, epoch after epoch; ``taken`` is how many `next` gave."""

    def __init__(self, cut: Cut) -> None:
        self.cut = cut
        self.taken = 0
        self._order: tuple[int, Array] | None = None

    def next(self) -> Arrays:
        """The next batch, from the arrays as they are now."""
        self.taken += 1
        return self.batch(self.taken - 1)

    def batch(self, step: int) -> Arrays:
        """The batch of a step, counted from 0."""
        epoch, place = divmod(step, self.cut.steps)
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self.cut.order(epoch)
        return self.cut.batch(self._order[1], place)[0]
