"""The loop over training steps in machine code: batches, orders and losses without Python.

In: nothing of a network: ``driver(name)`` is LLVM text with two external functions, the same for
every step and every model, so that it is compiled once: ``void @<name>(ptr run)``, the loop, and
``void @<name>.draw(ptr asked)``, which draws an order alone (see ``driver_order``).
``run`` is a table of 64-bit words: those of a ``Run`` in its order, then of each ``Streamed``.

    until `steps` are done or `stop` is not 0:
        at the end of the examples: epoch + 1, position 0
        an order of another epoch, with `shuffle`: draw that of this one
        the next examples, `batch` of them or what is left: the context's word of each streamed
            array is set to where they are, with `shuffle` gathered at its `target`;
            the size in the context, to how many they are
        the step; its loss, and what stands after it, as float64 at the next row of `losses`, the
            first after the last

Guarantees: nothing is allocated and no function of a library is called; the order of an epoch is
``codegen.philox.permutation(seed, epoch, among)``, as far as ``examples``. The table holds
everything: the function called again goes on where it stopped, and many short calls do what a long
one does. Another thread may set ``stop`` at any time: no step begins after it is seen, none is left
half done. ``done`` is written after the loss it counts.

It does not check the table: ``Run.table`` does, once. The addresses in it are the caller's to keep.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from codegen import philox
from codegen.llvm import driver_order, driver_text

__all__ = ["Run", "Streamed", "driver", "word"]


@dataclass(frozen=True)
class Streamed:
    """An array of which every step sees other rows: the address of all, the address of room for a
    batch, the bytes of a row, and the word of the context that says where the step reads."""

    source: int
    target: int
    row: int
    word: int


@dataclass(frozen=True)
class Run:
    """What a loop works on. Without ``examples``, every step is on what the context holds.

    ``step`` is the address of the step, ``context`` that of its context, ``loss`` that of its loss,
    of ``loss_bytes``, with ``columns - 1`` numbers of the same type after it that are kept as well;
    ``losses`` that of ``capacity`` rows of so many numbers of float64. ``size`` is the word of
    the context with the batch's size, or -1 where that is fixed; ``order`` has room for
    ``among`` of int64, the order of that many examples in epoch ``drawn`` (-1: none), of which the
    first ``examples`` are visited; it is not used without ``shuffle``.
    The next step is on the examples from ``position`` on in epoch ``epoch``.
    """

    step: int
    context: int
    loss: int
    loss_bytes: int
    losses: int
    capacity: int
    columns: int = 1
    steps: int = 0
    done: int = 0
    stop: int = 0
    examples: int = 0
    among: int = 0
    batch: int = 0
    size: int = -1
    shuffle: int = 0
    order: int = 0
    drawn: int = -1
    seed: int = 0
    epoch: int = 0
    position: int = 0
    streamed: tuple[Streamed, ...] = ()

    def table(self) -> NDArray[np.int64]:
        """The words, which the loop reads and changes.

        Raises ValueError for what the loop could not run on.
        """
        self._check()
        words = [getattr(self, name) for name in WORDS[:-1]]
        words.append(len(self.streamed))
        for array in self.streamed:
            words += astuple(array)
        return np.array([int(w) & _ALL for w in words], np.uint64).view(np.int64)

    def _check(self) -> None:
        facts = {
            "loss_bytes must be 4 or 8": self.loss_bytes in (4, 8),
            "capacity and columns must be at least 1": min(self.capacity, self.columns) >= 1,
            "seed must be below 2**64": 0 <= self.seed < 1 << 64,
            "steps and done must not be negative": self.steps >= 0 and self.done >= 0,
            f"examples must be at most {philox.MOST}": 0 <= self.examples <= philox.MOST,
            f"among must be from examples to {philox.MOST} where there is an order": (
                not self.shuffle or self.examples <= self.among <= philox.MOST
            ),
            "position must be one of the examples or their end": (
                0 <= self.position <= self.examples
            ),
            "epoch must be at least 0 and below 2**63": 0 <= self.epoch < 1 << 63,
            "batch must be at least 1 where there are examples": self.batch >= (self.examples > 0),
            "examples must fill their batches where the size is fixed": (
                self.size >= 0 or self.examples % max(1, self.batch) == 0
            ),
        }
        for rule, holds in facts.items():
            if not holds:
                raise ValueError(f"{rule}, but the run is {self}")


_ALL = (1 << 64) - 1

WORDS = tuple(f.name for f in fields(Run))  # the last is the number of streamed arrays


def word(name: str) -> int:
    """Where in the table a word is, by the name of its field."""
    return WORDS.index(name)


def driver(name: str, batches: bool = True) -> str:
    """The text of the loop ``name``; other names in it begin with ``name`` and a dot.

    Without ``batches`` it is for runs without examples alone: a small part of the text, which takes
    a small part of the time to compile.
    """
    words = {f"at_{field}": n for n, field in enumerate(WORDS)}
    record = {f"of_{f.name}": n for n, f in enumerate(fields(Streamed))}
    numbers = {"records": len(WORDS), "record": len(record)}
    names = {"name": name, **numbers, **words, **record}
    loop = driver_text.written(names, batches)
    return "\n".join([loop, driver_order.written(names)]) if batches else loop
