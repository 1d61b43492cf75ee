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
Ctrl-C and ``stop`` leave the weights between two steps. A run in machine code counts its steps in
one table: another one at the same time, from a second thread, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.aligned import aligned_copy
from symprop.batches import Cut, check_count, check_seed
from symprop.data import Arrays
from symprop.errors import DataError, quoted
from symprop.native_loop import native_loop
from symprop.progress import interrupts_held

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
        self._running = Lock()
        self._loop = self._native()
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

    # --- in machine code -----------------------------------------------------------------------

    def _native(self) -> Loop | None:
        """The loop in machine code, where there can be one."""
        return native_loop(self.runner, self.arrays, self.cut)

    def _step(self) -> Callable[[], float]:
        """One step as a function: with machine code, the call of a C function."""
        loop = self._loop
        if loop is None:
            return self._one
        if self.cut is not None:
            return lambda: float(self._looped(loop, 1)[0])
        from codegen.llvm.one_step import one_step

        return one_step(loop.bound)

    # --- running -------------------------------------------------------------------------------

    def _one(self) -> float:
        """One step of a text backend."""
        batch = self.arrays if self.batches is None else self.batches.next()
        with interrupts_held():
            loss = float(self.runner.run(self.runner.step, batch)[0])
        self.runner.check_loss(loss, "")
        return loss

    def run(self, steps: int) -> Array:
        """The losses of so many steps, float64, fewer where ``stop`` was called meanwhile."""
        check_count("the number of steps", steps)
        if steps > MOST:
            raise DataError(f"run takes at most {MOST:,} steps at a time, not {quoted(steps)}")
        if self._loop is not None:
            return self._looped(self._loop, int(steps))
        self._stopping = False
        losses = np.empty(steps)
        for n in range(steps):
            losses[n] = self._one()
            if self._stopping:
                return losses[: n + 1]
        return losses

    def _looped(self, loop: Loop, steps: int) -> Array:
        """Steps in machine code, where none are taken meanwhile."""
        if not self._running.acquire(blocking=False):
            raise DataError(
                "another thread runs steps on this bound data: wait until it is done, or give each "
                "thread a trainer of its own"
            )
        try:
            return loop.run(steps)
        finally:
            self._running.release()

    def stop(self) -> None:
        """Ends a run after the step at hand."""
        self._stopping = True
        if self._loop is not None:
            self._loop.stop()


class Endless:
    """The batches of a cut, epoch after epoch."""

    def __init__(self, cut: Cut) -> None:
        self.cut = cut
        self.epoch, self.step = 0, 0
        self.order: Array | None = None

    def next(self) -> Arrays:
        """The next batch, from the arrays as they are now."""
        if self.step >= self.cut.steps:
            self.epoch, self.step, self.order = self.epoch + 1, 0, None
        if self.order is None:
            self.order = self.cut.order(self.epoch)
        batch, _ = self.cut.batch(self.order, self.step)
        self.step += 1
        return batch
