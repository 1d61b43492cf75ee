"""Places in a stretch of memory for values that live for a while.

In: ``put(size, lives)``, a value after the other. Out: its offset, as low as it goes beside those
that have one and live when it does.

Guarantees: two values share a byte only if none of their lives meet. The time of one value grows
with those that have a place, by steps of whole arrays of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Life", "Shelf"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Life:
    """Statements ``first`` to ``last`` of a body, "" the program's, and all the kernels that these
    come to call."""

    body: str
    first: int
    last: int
    calls: frozenset[str]

    def meets(self, other: Life) -> bool:
        if self.body == other.body:
            return self.first <= other.last and other.first <= self.last
        return self.body in other.calls or other.body in self.calls


class Shelf:
    """Lives and their places: those in the program's body as columns of numbers, in the order of
    their places, those in kernels, which are few, as they are."""

    def __init__(self) -> None:
        self.columns: Numbers = np.empty((5, 0), np.int64)  # low, high, first, last, which
        self.lives: list[Life] = []
        self.others: list[tuple[int, int, Life]] = []

    def put(self, size: int, lives: Sequence[Life]) -> int:
        """The offset of a value."""
        low, high = self._beside(lives)
        free = np.maximum.accumulate(np.concatenate(([0], high)))  # what lies below ends there
        fits = np.flatnonzero(free[:-1] + size <= low)
        offset = int(free[fits[0]] if fits.size else free[-1])
        for life in lives:
            self._add(offset, offset + size, life)
        return offset

    def _beside(self, lives: Sequence[Life]) -> tuple[Numbers, Numbers]:
        """Where values that live at the same time lie, by their beginning."""
        low, high, first, last, which = self.columns
        meets = np.zeros(len(which), bool)
        for life in lives:
            if not life.body:
                meets |= (first <= life.last) & (last >= life.first)
            else:
                meets |= np.array([life.body in self.lives[n].calls for n in which], bool)
        low, high = low[meets], high[meets]
        more = [(a, b) for a, b, one in self.others if any(one.meets(life) for life in lives)]
        if more:
            low = np.concatenate((low, [a for a, _ in more]))
            high = np.concatenate((high, [b for _, b in more]))
            order = np.argsort(low, kind="stable")
            low, high = low[order], high[order]
        return low, high

    def _add(self, low: int, high: int, life: Life) -> None:
        if life.body:
            self.others.append((low, high, life))
            return
        at = int(np.searchsorted(self.columns[0], low))
        one = (low, high, life.first, life.last, len(self.lives))
        self.columns = np.insert(self.columns, at, one, axis=1)
        self.lives.append(life)
