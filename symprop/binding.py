"""Data that is bound to a trainer: steps that need not be handed anything, and many of them.

In: a runner; one batch, or whole arrays with a batch size. Out: ``Binding``: ``step()``, the loss
of the next step; ``run(n)``, the losses of so many.

    one batch      every step is on it. ``arrays`` are what is read: write new values into them, and
                   the next step sees those
    whole arrays   each step takes the next ``batch_size`` examples; the last and shorter batch of
                   an epoch is trained too. The order of epoch e (from 0 on) is that of the arrays,
                   or with ``shuffle`` ``codegen.philox.permutation(seed, e, examples)``

Guarantees: data is checked once, here, before anything changes. The batches are the same for every
backend. Where machine code runs, the loop over steps is in it too: no Python, no allocation.
Ctrl-C and ``stop`` leave the weights between two steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.aligned import aligned_copy
from symprop.batches import check_count
from symprop.data import Arrays
from symprop.errors import DataError, quoted
from symprop.progress import interrupts_held

if TYPE_CHECKING:
    from codegen.llvm.calling import Bound, Caller
    from symprop.runner import Runner

__all__ = ["Binding"]

Array = np.ndarray[Any, Any]


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
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise DataError(f"seed must be a whole number from 0 up, but is {quoted(seed)}")
        if batch_size is None and shuffle:
            raise DataError("shuffle is for whole arrays: say batch_size, or bind one batch")
        prepared = runner.prepare(runner.step, data)
        self.runner = runner
        self.stopping = False
        self.cut: Cut | None = None
        if batch_size is None:
            self.arrays = {name: aligned_copy(a) for name, a in prepared.items()}
        else:
            check_count("batch_size", batch_size)
            split = runner.split_names(prepared)
            self.arrays = prepared
            self.cut = Cut(prepared, split, batch_size, seed if shuffle else None)
        self.bound = self._bound()
        self.step: Callable[[], float] = self._step()

    def _bound(self) -> Bound | None:
        """The machine code on these arrays, where there is some."""
        caller: Caller | None = self.runner.step.caller
        if caller is None or self.cut is not None:
            return None
        arrays = {**self.runner.arrays, **self.arrays}
        labels = {b.name: b.label for b in caller.interface.arguments}
        return caller.bind({name: arrays[label] for name, label in labels.items()})

    def _step(self) -> Callable[[], float]:
        """One step as a function: with machine code, a call and the reading of a number."""
        bound = self.bound
        if bound is None or self.runner.check_finite:
            return self._one
        entry, address, read = bound.entry, bound.address, bound.outputs[0].item

        def step() -> float:
            entry(address)
            loss: float = read()
            return loss

        return step

    def _one(self) -> float:
        """One step where a text backend runs, or the batch has to be cut."""
        batch = self.arrays if self.cut is None else next(self.cut)
        with interrupts_held():
            loss = float(self.runner.run(self.runner.step, batch)[0])
        self.runner.check_loss(loss, "")
        return loss

    def run(self, steps: int) -> Array:
        """The losses of so many steps, float64, fewer where ``stop`` was called meanwhile."""
        check_count("the number of steps", steps)
        self.stopping = False
        losses = np.empty(steps)
        for n in range(steps):
            losses[n] = self.step()
            if self.stopping:
                return losses[: n + 1]
        return losses


class Cut(Iterator[Arrays]):
    """Batches of whole arrays, epoch after epoch."""

    def __init__(self, arrays: Arrays, split: list[str], batch_size: int, seed: int | None) -> None:
        self.arrays, self.split, self.batch_size, self.seed = arrays, split, batch_size, seed
        self.examples = len(arrays[split[0]])
        if not self.examples:
            raise DataError("there are no examples to train on: hand in arrays with at least one")
        self.epoch, self.position = 0, 0
        self.order: Array | None = None

    def __next__(self) -> Arrays:
        if self.position >= self.examples:
            self.epoch, self.position, self.order = self.epoch + 1, 0, None
        chosen: Any = slice(self.position, self.position + self.batch_size)
        if self.seed is not None:
            if self.order is None:
                from codegen.philox import permutation

                self.order = permutation(self.seed, self.epoch, self.examples)
            chosen = self.order[chosen]
        self.position += self.batch_size
        return {n: a[chosen] if n in self.split else a for n, a in self.arrays.items()}
