"""arrays: numbers of a page, short enough to read.

In: arrays. Out: rows of text, cut where they are long; a printer that puts arrays in the place of
symbols. Guarantees: four digits; what was cut is marked by dots and its norm is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from codegen.index import Loop
from symprop.explain.notation import Symbol
from symprop.explain.printer import Printer

__all__ = ["NumberPrinter", "cells", "is_small", "is_whole"]

ROWS, COLUMNS = 6, 6  # of a value that is shown
SMALL = 6  # rows and columns of an operand that is put in


def digits(x: float) -> str:
    """Four digits: 0.125, −3.2e−07."""
    if float(x).is_integer() and abs(x) < 1e4:
        return str(int(x)).replace("-", "−")
    return f"{float(x):.4g}".replace("-", "−")


def cells(array: Any) -> list[list[str]]:
    """Rows of numbers, cut to a few; a column for a vector."""
    array = np.asarray(array)
    flat = array.reshape(-1, 1) if array.ndim < 2 else array.reshape(-1, array.shape[-1])
    rows = [[digits(x) for x in row[:COLUMNS]] + ["…"] * (len(row) > COLUMNS)
            for row in flat[:ROWS]]  # fmt: skip
    if len(flat) > ROWS and rows:
        rows.append(["⋮"] * len(rows[0]))
    return rows


def is_whole(array: Any) -> bool:
    """Whether ``cells`` shows every number."""
    array = np.asarray(array)
    last = array.shape[-1] if array.ndim > 1 else 1
    return last <= COLUMNS and array.size <= ROWS * last


def is_small(array: Any) -> bool:
    """Whether an array can stand in the place of its symbol."""
    return np.asarray(array).ndim < 3 and max(np.shape(array), default=0) <= SMALL


class NumberPrinter(Printer):
    """Writes arrays where symbols stand."""

    arrays: Mapping[Symbol, Any]
    times = "·"

    def symbol(self, symbol: Symbol, at: Loop | None, element: bool = False) -> str:
        """The numbers of a symbol."""
        array = np.asarray(self.arrays[symbol])
        if array.ndim == 0:
            text = digits(float(array))
            return self.to.paren(text) if array < 0 else text
        return self.to.matrix(cells(array))


class Blocks:
    """Plain text in which a matrix is as many lines as it has rows.

    A matrix is one private character while a line is written; ``lines`` puts it in.
    """

    FIRST = 0xE000

    def __init__(self) -> None:
        self.found: list[list[list[str]]] = []

    def matrix(self, rows: list[list[str]]) -> str:
        """The character that stands for a matrix."""
        self.found.append(rows)
        return chr(self.FIRST + len(self.found) - 1)

    def lines(self, text: str) -> list[str]:
        """The text with its matrices, the rest on the middle line."""
        marks = [ord(c) - self.FIRST for c in text if 0 <= ord(c) - self.FIRST < len(self.found)]
        height = max((len(self.found[k]) for k in marks), default=1)
        middle = (height - 1) // 2
        out = [""] * height
        for c in text:
            k = ord(c) - self.FIRST
            block = bordered(self.found[k]) if 0 <= k < len(self.found) else [c]
            top = middle - (len(block) - 1) // 2
            wide = max(map(len, block))
            for r in range(height):
                inside = 0 <= r - top < len(block)
                out[r] += block[r - top].ljust(wide) if inside else " " * wide
        return [line.rstrip() for line in out]


def bordered(rows: list[list[str]]) -> list[str]:
    """Rows of a matrix in brackets, columns to the right."""
    wide = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["[" + "  ".join(c.rjust(w) for c, w in zip(row, wide, strict=True)) + "]"
            for row in rows]  # fmt: skip
