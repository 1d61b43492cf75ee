"""Where the batches of a training come from: whole arrays that are cut, or a stream of batches.

In: checked arrays and how to cut them; or an iterable of mappings from names to arrays.
Out: a source: `steps`, how many batches an epoch has (None where nobody knows), and
`epoch(number)`, the batches of an epoch, each with the number of examples it counts for.
Guarantees: the order of whole arrays depends on the seed and the epoch's number alone; every
example is visited once an epoch, the last and shorter batch too (where the size of a batch is
declared there is none: see `Cut`); a stream that ends too early is
an error that says so, never an epoch without steps.

It does not check arrays (`symprop.data` does) and runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from codegen.philox import permutation
from symprop.data import Arrays
from symprop.errors import DataError, KindError, quoted

__all__ = [
    "Cut",
    "Source",
    "Stream",
    "Totals",
    "as_batches",
    "check_again",
    "check_count",
    "check_iterable",
    "check_seed",
    "split_examples",
]

Batch = tuple[Arrays, int]
Positions = np.ndarray[Any, Any]
Draw = Callable[[int, int, int], Positions]  # seed, epoch, how many: their order

# The epoch whose order says which examples are set aside: no training comes to it.
SET_ASIDE = (1 << 64) - 1


class Source(Protocol):
    """Batches for any number of epochs."""

    @property
    def steps(self) -> int | None: ...
    def epoch(self, number: int) -> Iterator[Batch]: ...


class Cut:
    """Whole arrays, cut into batches of examples.

    In: the arrays; the names of those whose first axis counts examples (the others are a part of
    every batch); the batch size; a seed for a new order in every epoch, or None for the order as
    it is; the positions of the examples, all where None; whether every batch must be `full`, since
    its size is declared.

    The order of epoch e, from 0 on, is `codegen.philox.permutation(seed, e, examples)`. The last
    batch of an epoch is what is left; where it must be full, that is left out, in every epoch
    another rest, and refused where it would always be the same.
    """

    def __init__(
        self,
        arrays: Arrays,
        split: Collection[str],
        batch_size: int,
        seed: int | None,
        positions: Positions | None = None,
        full: bool = False,
    ) -> None:
        self.arrays, self.split, self.seed, self.positions = arrays, list(split), seed, positions
        self.examples = len(arrays[self.split[0]] if positions is None else positions)
        if not self.examples:
            raise DataError("there are no examples to train on: hand in arrays with at least one")
        self.full = full
        if full:
            self._check_full(batch_size)
        self.batch_size = min(int(batch_size), self.examples)

    def _check_full(self, size: int) -> None:
        """Refuse examples that fill no batch, or of which the last would never be trained on."""
        if self.examples < size:
            raise DataError(
                f"{self.examples} examples to train on do not fill a batch, whose size is declared "
                f"as {size}: hand in more, or declare a smaller or a free one"
            )
        rest = self.examples % size
        if rest and self.seed is None:
            raise DataError(
                f"the last {rest} of {self.examples} examples would never be trained on, since the "
                f"size of a batch is declared as {size} and the order is always the same: shuffle, "
                f"leave out {rest} of them, or declare a free size"
            )

    @property
    def steps(self) -> int:
        """The batches of an epoch."""
        return (
            self.examples // self.batch_size if self.full else -(-self.examples // self.batch_size)
        )

    @property
    def visited(self) -> int:
        """The examples of an epoch: all, but for the rest that fills no batch where it must."""
        return min(self.examples, self.steps * self.batch_size)

    def order(self, epoch: int, draw: Draw = permutation) -> Positions:
        """The positions of the visited examples in their order; epochs count from 0."""
        if self.seed is None:
            return np.arange(self.examples) if self.positions is None else self.positions
        drawn = draw(self.seed, epoch, self.examples)[: self.visited]
        return drawn if self.positions is None else self.positions[drawn]

    def batch(self, order: Positions, step: int) -> Batch:
        """A batch of an epoch in this order, and how many examples it has."""
        chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
        batch = {n: a[chosen] if n in self.split else a for n, a in self.arrays.items()}
        return batch, len(chosen)

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of this epoch; here epochs count from 1."""
        order = self.order(number - 1)
        for step in range(self.steps):
            yield self.batch(order, step)


class Stream:
    """An iterable of batches, each a mapping from names to arrays.

    In: an iterable, or a function without arguments that returns one; the steps of an epoch, or
    None where an epoch is one pass; `prepare`, which checks a batch and counts its examples.

    With `steps_per_epoch` one pass goes on from epoch to epoch, and starts again where it ends.
    """

    def __init__(
        self,
        batches: Any,
        steps_per_epoch: int | None,
        prepare: Callable[[Mapping[str, Any]], Batch],
    ) -> None:
        self.batches, self.prepare = batches, prepare
        self.once = isinstance(batches, Iterator)
        self._given = steps_per_epoch
        self._running: Iterator[Any] | None = None

    @property
    def steps(self) -> int | None:
        """The batches of an epoch, where they are known."""
        if self._given is not None:
            return self._given
        try:
            return len(self.batches)
        except TypeError:  # no length, or one that its object does not know either
            return None

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of this epoch."""
        if self._given is None:
            position = -1
            for position, batch in enumerate(as_batches(self.batches)):
                yield self._checked(batch, position)
            if position < 0:
                raise DataError(f"the data gave no batch in epoch {number}: hand in at least one")
            return
        for position in range(self._given):
            yield self._checked(self._next(position, number), position)

    def _next(self, position: int, epoch: int) -> Any:
        """The next batch of the pass that goes on, or the first of a new one."""
        for _ in range(2):
            if self._running is None:
                self._running = iter(as_batches(self.batches))
            try:
                return next(self._running)
            except StopIteration:
                if self.once:
                    break
                self._running = None
        raise DataError(
            f"the data ended after {position} of {self._given} steps in epoch {epoch}: hand in an "
            "endless generator, or batches that can be gone through again"
        )

    def _checked(self, batch: Any, position: int) -> Batch:
        if not isinstance(batch, Mapping):
            raise DataError(
                f"batch {position} must be a mapping from names to arrays, such as "
                f'{{"x": x, "y": y}}, but is {quoted(type(batch).__name__)}'
            )
        return self.prepare(batch)


def as_batches(data: Any) -> Iterable[Any]:
    """The iterable, or what the function returns."""
    batches = data() if callable(data) and not isinstance(data, Iterable) else data
    if not isinstance(batches, Iterable):
        raise DataError(
            "the function must return batches, such as a list or a generator of mappings, but "
            f"returned {quoted(type(batches).__name__)}"
        )
    return batches


def check_iterable(name: str, data: Any) -> None:
    """Refuse what can neither be gone through nor called for something that can."""
    array = isinstance(data, str | bytes | np.ndarray)  # iterable, but never of batches
    if array or not (isinstance(data, Iterable) or callable(data)):
        raise DataError(
            f'{name} must be a mapping from names to arrays, such as {{"x": x, "y": y}}, or '
            "batches of such mappings (a list, a generator, a function that returns one), but is "
            f"{quoted(type(data).__name__)}"
        )


def check_again(name: str, data: Any, epochs: int, cure: str = "") -> None:
    """Refuse a generator where several epochs would go through it: all but the first are empty."""
    if epochs > 1 and isinstance(data, Iterator):
        raise DataError(
            f"{name} is a generator, which can be gone through once, not in {epochs} epochs: hand "
            f"in a list or a function that returns a new generator{cure}"
        )


class Totals:
    """Weighted sums of the results of several batches."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names, self.sums, self.count = names, [0.0] * len(names), 0

    def add(self, results: Sequence[Any], count: int) -> None:
        """One batch's results, which count for so many examples."""
        for position, result in enumerate(results):
            self.sums[position] += float(result) * count
        self.count += count

    def add_rows(self, rows: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> None:
        """The results of several batches, a row each, as if added one after the other."""
        weighted = np.vstack([self.sums, rows * counts[:, None]])
        self.sums = np.cumsum(weighted, axis=0)[-1].tolist()
        self.count += int(counts.sum())

    def means(self) -> dict[str, float]:
        """The means over what was added, by name."""
        return {name: s / self.count for name, s in zip(self.names, self.sums, strict=True)}


def check_count(name: str, value: Any) -> None:
    """Refuse what is not a positive whole number."""
    wanted = f"{name} must be a positive whole number"
    check_whole(wanted, value)
    if value < 1:
        raise DataError(f"{wanted}, but is {value}")


def check_seed(value: Any) -> None:
    """Refuse what is no seed of `codegen.philox`."""
    wanted = "seed must be a whole number from 0 to 2**64 - 1"
    check_whole(wanted, value)
    if not 0 <= value < 1 << 64:
        raise DataError(f"{wanted}, but is {quoted(value)}")


def check_whole(wanted: str, value: Any) -> None:
    """Refuse what is not a whole number; `wanted` begins the sentence."""
    if isinstance(value, str):
        cure = f": write {value} without quotes" if value.isascii() and value.isdigit() else ""
        raise KindError(f"{wanted}, but is the text {quoted(value)}{cure}")
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        kind = type(value).__name__
        raise KindError(f"{wanted}, but is {quoted(value)} of type {quoted(kind)}")


def split_examples(
    total: int, share: float, seed: int, batch: int = 1
) -> tuple[Positions, Positions]:
    """Positions to train on and to validate on; a random share, each part in its order; the latter
    fill whole batches of a size."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise DataError(f"validation_split must be in 0 to 1, 1 left out, but is {quoted(share)}")
    held = round(total * share / batch) * batch
    if share and not 0 < held < total:
        of = f" (in whole batches of {batch}, the declared size)" if batch > 1 else ""
        raise DataError(
            f"validation_split={share} of {total} examples{of} leaves one part empty: "
            "hand in more data or choose another share"
        )
    order = permutation(seed, SET_ASIDE, total)
    return np.sort(order[held:]), np.sort(order[:held])
