"""text_page: a page as Unicode text, a line at a time.

In: a page, a language, a width. Out: lines with a style each, for a terminal to colour.

Guarantees: a line is folded at the width where a formula can be; matrices of numbers are drawn over
several lines, and only where they fit.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import numpy as np

from symprop.explain import arrays
from symprop.explain import notation as nt
from symprop.explain.blocks import Block, Cell, Grid, Head, Line, Numeric, Say, Shape
from symprop.explain.notation import Equation
from symprop.explain.printer import Printer
from symprop.explain.sections import Page
from symprop.explain.text import Text
from symprop.explain.text import plain as printable
from symprop.explain.writer import Writer

__all__ = ["styled_lines", "text_page"]


FOLD = 8  # spaces before what continues a line
OPENING, CLOSING = "([{‖", ")]}‖"
SIGNS = ("+", "−", "=", "←", "⊙", "⊘")


def folded(line: str, width: int, indent: int) -> list[str]:
    """A formula over several lines, broken where it is least nested: before a sign, else between
    factors, never after the sign of a sum while there is another place."""
    out: list[str] = []
    while len(line) > width:
        place = _break(line, width, indent)
        if place is None:
            break
        out.append(line[:place].rstrip())
        line = " " * indent + line[place:].lstrip()
    return [*out, line]


def _break(line: str, width: int, indent: int) -> int | None:
    """Where a line is best broken: a space in its later half, or the first one there is."""
    places: list[tuple[int, int, int]] = []
    depth = 0
    start = len(line) - len(line.lstrip())
    for k, c in enumerate(line):
        if c == "‖":
            depth += 1 if line[k - 1] in " (" else -1
        else:
            depth += (c in OPENING) - (c in CLOSING)
        if c == " " and k > max(start, indent):
            places.append((depth, _apart(line[:k], line[k + 1 :]), k))
    inside = [p for p in places if p[2] <= width]
    late = [p for p in inside if p[2] > width // 2]
    if late:
        return min(late, key=lambda p: (p[0], p[1], -p[2]))[2]
    return max((p[2] for p in inside), default=min((p[2] for p in places), default=None))


def _apart(before: str, after: str) -> int:
    """How closely a space holds together what stands around it: 0 least."""
    sign = after.split(" ", 1)[0]
    last = before.rsplit(" ", 1)[-1]
    if last in SIGNS or last.startswith(("Σ", "max_", "min_")) or before.endswith("}"):
        return 4
    if before.endswith(","):
        return 0
    return 1 + (sign not in ("=", "←", "+", "−")) + (sign not in SIGNS)


class _BlockText(Text):
    """Text whose matrices are drawn later, over several lines."""

    def __init__(self, drawn: arrays.Blocks) -> None:
        self.drawn = drawn

    def matrix(self, rows: Any) -> str:
        return self.drawn.matrix(rows)


class _ShapePrinter(Printer):
    def symbol(self, symbol: Any, at: Any, element: bool = False) -> str:
        sizes = self.shape(nt.Sym(symbol, at))
        return f"({sizes})" if sizes else "(1)"


def text_page(made: Page, language: str, width: int) -> str:
    """The page as Unicode text."""
    return "\n".join(text for _, text in styled_lines(made, language, width)) + "\n"


def styled_lines(made: Page, language: str, width: int) -> list[tuple[str, str]]:
    """Lines with a style each: title, head, line, shape, say, grid, or "" for an empty one."""
    return _TextWriter(made, language, width).lines()


class _TextWriter(Writer):
    def __init__(self, made: Page, language: str, width: int) -> None:
        super().__init__(made, language, Text())
        self.width = max(width, 40)
        self.shapes = self.printer_of(_ShapePrinter, Text())

    def lines(self) -> list[tuple[str, str]]:
        out: list[tuple[str, str]] = []
        for k, section in enumerate(self.made.sections, 1):
            title = f"{k}. {self.words[section.key]}"
            out += [("", "")] if out else []
            out += [("title", title), ("title", "─" * len(title))]
            for block in section.blocks:
                out += self.block(block)
        return out

    def block(self, block: Block) -> list[tuple[str, str]]:
        match block:
            case Head():
                return [("", ""), ("head", self.head(block))]
            case Say():
                text = self.sentence(block, str, str)
                held = re.sub(" (?=[:;])", "\u00a0", text)  # French: never at the head of a line
                lines = textwrap.wrap(held, self.width)
                return [("say", line.replace("\u00a0", " ")) for line in lines]
            case Line(equation):
                return self.equation(equation, self.has_shapes(block))
            case Grid():
                return self.grid(block)
            case Numeric():
                return self.numeric(block)

    def equation(self, equation: Equation, shapes: bool) -> list[tuple[str, str]]:
        left, sign, sides = self.printer.sides(equation)
        whole = f"    {left} {sign} {' = '.join(sides)}"
        out = [("line", text) for text in self.broken(whole, left, sign, sides)]
        if shapes:
            left, sign, sides = self.shapes.sides(equation)
            text = f"        {left} {sign} {sides[-1]}"
            out += [("shape", text)] if len(text) <= self.width else []
        return out

    def broken(self, whole: str, left: str, sign: str, sides: list[str]) -> list[str]:
        """One line where it fits; else a line for each side, and long ones folded."""
        if len(whole) <= self.width:
            return [whole]
        indent = " " * min(len(left) + 5, 12)
        rows = [f"    {left} {sign} {sides[0]}", *(f"{indent}= {s}" for s in sides[1:])]
        return [line for row in rows for line in folded(row, self.width, FOLD)]

    def cell(self, cell: Cell) -> str:
        match cell:
            case str():
                return printable(cell)
            case Say():
                return self.sentence(cell, str, str)
            case Shape(of):
                return self.printer.shape(of) or "1"
            case _:
                return self.printer.write(cell)

    def grid(self, grid: Grid) -> list[tuple[str, str]]:
        rows = [[self.words[h] for h in grid.heads], *([self.cell(c) for c in r]
                for r in grid.rows)]  # fmt: skip
        wide = [max(len(row[k]) for row in rows) for k in range(len(grid.heads))]
        if sum(wide) + 3 * len(wide) > self.width:
            return self.stacked(rows)
        texts = ["    " + "   ".join(c.ljust(w) for c, w in zip(row, wide, strict=True)).rstrip()
                 for row in rows]  # fmt: skip
        return [("head", texts[0]), *(("grid", text) for text in texts[1:])]

    def stacked(self, rows: list[list[str]]) -> list[tuple[str, str]]:
        """A table that is too wide: a line for each cell."""
        out: list[tuple[str, str]] = []
        for row in rows[1:]:
            for head, cell in zip(rows[0], row, strict=True):
                lines = textwrap.wrap(f"    {head}: {cell}", self.width, subsequent_indent=" " * 8)
                out += [("grid", line) for line in lines]
        return out

    def numeric(self, block: Numeric) -> list[tuple[str, str]]:
        """The formula, then its numbers: operands and value side by side where they fit."""
        out = self.equation(block.equation, False)
        indent = " " * (len(self.printer.sides(block.equation)[0]) + 5)
        drawn = arrays.Blocks()
        spelling = _BlockText(drawn)
        put = self.with_numbers(block, spelling)
        value = np.asarray(block.value)
        result = arrays.digits(float(value)) if value.ndim == 0 else drawn.matrix(
            arrays.cells(value))  # fmt: skip
        rows = drawn.lines(f"{indent}= {put} = {result}") if put else []
        if not put or max(map(len, rows)) > self.width:
            flat = value.ndim == 1
            if flat:  # a long column lies down
                line = [row[0].replace("⋮", "…") for row in arrays.cells(value)]
                result = drawn.matrix([line]) + "ᵀ"
            rows = drawn.lines(f"{indent}= {result}")
        out += [("number", row) for row in rows]
        if not arrays.is_whole(block.value):
            out.append(("say", f"{indent}  {self.cut(block.value)}"))
        return out
