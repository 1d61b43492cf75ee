"""Losses that are looked at while a training runs, and the way back from a bad one.

In: a runner; the losses of steps as they come, with their batches. Out: nothing while all is
finite; else `NonFiniteError`, raised when the weights are again those before the first bad step.

The way back is by copying and repeating: the weights and states are copied now and then, and the
steps since the copy are taken again, which gives the same bits, since every number in a step,
random ones too, depends on weights, states and batch alone. A step is bad if its loss is not
finite, or if it makes a parameter so that was finite.

Guarantees: after the error all parameters and states are bit by bit those before the first bad
step, and `next` is its number. Beside the copy at `begin`, copies take a hundredth of the time;
where weights may change between two steps, `every` step is copied before it is taken. At most
`ROOM` bytes of batches are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from symprop.checks.nonfinite import failure
from symprop.data import Arrays
from symprop.errors import VerificationError, quoted
from symprop.progress import interrupts_held

if TYPE_CHECKING:
    from symprop.runner import Runner

__all__ = ["Watch"]

Array = np.ndarray[Any, Any]
SHARE = 100  # a copy is made again when so many times its time has passed
LEAST = 0.1  # seconds, and at least so many: then steps are repeated for about as long
ROOM = 1 << 26  # bytes of batches


class Watch:
    """The steps of a training, from the one before which `begin` is called.

    In: a runner; how a step is called in a message, by its number (" in step 3"); `batch_of`, the
    batch of a step by its number, where they need not be kept. With `strict` every step's weights
    and states are looked at too.
    """

    def __init__(
        self,
        runner: Runner,
        called: Callable[[int], str],
        batch_of: Callable[[int], Arrays] | None = None,
        every: bool = False,
        strict: bool = False,
    ) -> None:
        self.runner, self.called, self.batch_of = runner, called, batch_of
        self.every, self.strict = every or strict, strict
        self.next = self.first = 0
        self._copies: Arrays = {}
        self._pairs: list[tuple[Array, Array]] = []  # where a copy goes, of what
        watched = runner.arrays if strict else runner.parameters
        self._watched = [(name, runner.arrays[name].reshape(-1)) for name in watched]
        self._batches: list[Arrays] = []
        self._bytes = 0
        self._again = 0.0

    def begin(self, step: int) -> None:
        """Copy the weights and states: `step` is the number of the next step."""
        start = perf_counter()
        self.next = self.first = step
        self._batches, self._bytes = [], 0
        if not self._copies:
            self._copies = {name: np.empty_like(a) for name, a in self.runner.arrays.items()}
            self._pairs = [(self._copies[name], a) for name, a in self.runner.arrays.items()]
        for copy, array in self._pairs:
            np.copyto(copy, array)
        now = perf_counter()
        self._again = now + max(LEAST, SHARE * (now - start))

    def before(self) -> None:
        """A step comes: what changed since the last one is kept, where that may be."""
        if self.every:
            self.begin(self.next)

    def one(self, loss: Any, batch: Arrays, reused: bool = False) -> None:
        """A step was taken on a batch, whose arrays may be `reused` for the next."""
        if self.batch_of is None:
            kept = {n: a.copy() for n, a in batch.items()} if reused and not self.every else batch
            self._batches.append(kept)
            self._bytes += sum(a.nbytes for a in kept.values())
        self.next += 1
        if not math.isfinite(loss):
            self._undo(float(loss))
        if self.strict:
            self.end()
        elif not self.every:
            self._renew()

    def many(self, losses: Array) -> None:
        """Steps were taken, with these losses; their batches are those of `batch_of`."""
        if not math.isfinite(losses.sum()):
            for k in np.flatnonzero(~np.isfinite(losses)):  # none where finite ones overflow
                self.next += int(k) + 1
                self._undo(float(losses[k]))
        self.next += len(losses)
        self._renew()

    def end(self) -> None:
        """No step comes for a while: the last one's weights are looked at as well."""
        if self.next > self.first and self._broken():
            self._undo(None)

    def _renew(self) -> None:
        if perf_counter() > self._again or self._bytes > ROOM:
            self.end()
            self.begin(self.next)

    # --- the way back --------------------------------------------------------------------------

    def _broken(self) -> str:
        """The name of an array that was finite when it was copied and is not now, or nothing."""
        for name, numbers in self._watched:
            if not _finite(numbers) and _finite(self._copies[name].reshape(-1)):
                return name
        return ""

    def _undo(self, loss: float | None) -> NoReturn:
        """Back to before the first bad step, and the error; it is the last one, if none before it
        broke a weight."""
        with interrupts_held(), np.errstate(all="ignore"):
            last, name = self.next - 1, self._broken()
            self._restore(self._copies)
            for step in range(self.first, last):
                self._repeat(step)
            if self._broken():
                last, name = self._first_broken(last)
                loss = None
            self.next = last
        what = f"{quoted(name)} became not finite" if loss is None else f"the loss became {loss}"
        raise failure(self.runner, self._batch(last), f"{what}{self.called(last)}")

    def _first_broken(self, last: int) -> tuple[int, str]:
        """The first step after which an array is not finite, and its name; that step is undone."""
        self._restore(self._copies)
        for step in range(self.first, last):
            before = {name: a.copy() for name, a in self.runner.arrays.items()}
            self._repeat(step)
            name = self._broken()
            if name:
                self._restore(before)
                return step, name
        raise VerificationError("a step that was taken again gave other numbers")

    def _restore(self, arrays: Arrays) -> None:
        for name, array in arrays.items():
            np.copyto(self.runner.arrays[name], array)

    def _repeat(self, step: int) -> None:
        self.runner.run(self.runner.step, self._batch(step))

    def _batch(self, step: int) -> Arrays:
        if self.batch_of is not None:
            return self.batch_of(step)
        return self._batches[step - self.first]


def _finite(numbers: Array) -> bool:
    """Whether all are finite; a product with themselves is the fastest way to see it."""
    return math.isfinite(np.dot(numbers, numbers)) or bool(np.isfinite(numbers).all())
