"""Steps in a row on bound arrays: the loop of ``codegen.llvm.driver``, as Python calls it.

In: a ``Bound`` program whose first output is the loss, on room for one batch; the arrays that
batches are taken from. Out: ``Loop``: ``run(n)``, the losses of the next n steps; ``rows(n)``,
their first ``columns`` outputs. ``permutation`` is that of ``codegen.philox``, in machine code.

Guarantees: between two checks for Ctrl-C no more than ``SLICE`` seconds pass, but for a step that
takes longer itself: the loop is called for as many steps as that takes, measured as it goes. An
interrupt or ``stop`` leaves the arrays between two steps, and the next run goes on from there. The
arrays are kept alive; they are read as they are when a step comes to them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from time import perf_counter
from typing import Any

import numpy as np

from codegen.llvm import build
from codegen.llvm.calling import Bound
from codegen.llvm.driver import Run, Streamed, driver, word
from codegen.llvm.kept import compiled
from codegen.llvm.target import host

__all__ = ["SLICE", "Batches", "Loop", "permutation"]

Array = np.ndarray[Any, Any]
SLICE = 0.02  # seconds

_STEPS, _DONE, _STOP = word("steps"), word("done"), word("stop")
_PLACE = [word("epoch"), word("position"), word("batch"), word("examples")]


class Batches:
    """Where batches come from: arrays by the names of the arguments they are for, all as long as
    one another; ``seed`` is that of their order, or None for the order as it is; ``dim`` names the
    dimension that is the batch's size, "" where that is a number; an epoch has the first
    ``visited`` of them in its order: all, or what whole batches take."""

    def __init__(
        self, arrays: Mapping[str, Array], batch: int, seed: int | None, dim: str, visited: int
    ) -> None:
        self.arrays, self.batch, self.seed, self.dim = dict(arrays), batch, seed, dim
        self.visited = visited

    def run(self, bound: Bound) -> tuple[dict[str, Any], list[Array]]:
        """What a ``Run`` is told, and the memory that it points to."""
        examples = len(next(iter(self.arrays.values())))
        order = np.empty(examples if self.seed is not None else 0, np.int64)
        streamed = []
        for name, array in self.arrays.items():
            row = array.nbytes // examples
            at = bound.word[name]
            streamed.append(Streamed(array.ctypes.data, int(bound.words[at]), row, at))
        facts = {
            "examples": self.visited,
            "among": examples,
            "batch": self.batch,
            "size": bound.dimension(self.dim) if self.dim else -1,
            "shuffle": int(self.seed is not None),
            "order": order.ctypes.data,
            "seed": self.seed or 0,
            "streamed": tuple(streamed),
        }
        return facts, [order, *self.arrays.values()]


class Loop:
    """Steps of a bound program, counted on from run to run."""

    def __init__(self, bound: Bound, batches: Batches | None = None, columns: int = 1) -> None:
        assert bound.in_a_row(columns)
        loss = bound.outputs[0]
        self.columns = columns
        self._ring: Array = np.empty(1)
        facts, self._held = batches.run(bound) if batches else ({}, [np.empty(0, np.int64)])
        made = Run(
            step=bound.code,
            context=bound.address,
            loss=loss.ctypes.data,
            loss_bytes=loss.itemsize,
            losses=self._ring.ctypes.data,
            capacity=1,
            columns=columns,
            **facts,
        )
        self.bound = bound
        self._table = made.table()
        self._address = self._table.ctypes.data
        self._entry = _library(batches is not None).entry("steps")
        self._pace = SLICE  # seconds a step: until one was measured, one at a time

    def run(self, steps: int) -> Array:
        """The losses of so many steps, float64; fewer where ``stop`` was called meanwhile."""
        return self.rows(steps)[:, 0]

    def start(self, order: Array) -> None:
        """Begins an epoch with these examples, in this order; for batches that have a seed."""
        table, room = self._table, self._held[0]
        assert 0 < len(order) <= len(room)
        room[: len(order)] = order
        table[word("examples")], table[word("position")] = len(order), 0
        table[word("drawn")] = table[word("epoch")]

    @property
    def taken(self) -> int:
        """The steps on batches so far, counted on from epoch to epoch."""
        epoch, position, batch, examples = map(int, self._table[_PLACE])
        return epoch * -(-examples // batch) + -(-position // batch)

    def go_back(self, taken: int) -> None:
        """Goes on as after so many steps."""
        _, _, batch, examples = map(int, self._table[_PLACE])
        epoch, step = divmod(taken, -(-examples // batch))
        self._table[_PLACE[:2]] = epoch, step * batch

    def rows(self, steps: int, between: Callable[[Array], None] | None = None) -> Array:
        """All columns of the same: (steps, columns). ``between`` is called after every slice with
        its rows; what it raises ends the run, and ``stop`` may be called in it."""
        table = self._table
        ring = np.empty((steps, self.columns))
        table[word("losses")], table[word("capacity")] = ring.ctypes.data, steps
        table[_DONE] = table[_STOP] = 0
        self._ring, done = ring, 0
        while done < steps and not table[_STOP]:
            table[_STEPS] = min(steps, done + max(1, int(SLICE / self._pace)))
            start = perf_counter()
            self._entry(self._address)  # Ctrl-C is raised after it, between two steps
            now = int(table[_DONE])
            if now > done:
                self._pace = max((perf_counter() - start) / (now - done), 1e-9)
            if between is not None:
                between(ring[done:now])
            done = now
        return ring[:done]

    def stop(self) -> None:
        """Ends a run after the step at hand: for other threads."""
        self._table[_STOP] = 1


def permutation(seed: int, epoch: int, n: int) -> Array:
    """The numbers from 0 to n - 1 in a random order, as ``codegen.philox.permutation`` says it."""
    assert 0 <= seed < 1 << 64
    assert 0 <= epoch < 1 << 64
    order = np.empty(n, np.int64)
    if n:
        asked = np.array([order.ctypes.data, n, epoch, seed], np.uint64)
        _library(True).entry("steps.draw")(asked.ctypes.data)
    return order


@cache
def _library(batches: bool) -> build.Library:
    """The loop in this process, with all that cuts batches or without it."""
    code, _, _ = compiled(driver("steps", batches), b"", host())
    return build.load(code, ("steps", "steps.draw") if batches else ("steps",))
