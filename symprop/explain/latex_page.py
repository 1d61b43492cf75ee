"""latex_page: a page as LaTeX.

In: a page, a language. Out: the body of a document that loads amsmath and amssymb.

Guarantees: every environment that opens closes; what TeX reads as a command is escaped; matrices of
numbers are put in only where they fit a page.
"""

from __future__ import annotations

import re

import numpy as np

from symprop.explain import arrays
from symprop.explain import notation as nt
from symprop.explain.blocks import Block, Cell, Grid, Head, Line, Numeric, Say, Shape
from symprop.explain.latex import Latex, escaped
from symprop.explain.notation import Equation
from symprop.explain.printer import Printer
from symprop.explain.sections import Page
from symprop.explain.writer import Writer

__all__ = ["latex_page"]


def latex_page(made: Page, language: str) -> str:
    """The body of a document that loads amsmath and amssymb."""
    return _LatexWriter(made, language, Latex()).page()


COLUMNS = 12  # of all matrices of a line: more do not fit a page


class _LatexWriter(Writer):
    def page(self) -> str:
        out: list[str] = []
        for section in self.made.sections:
            out.append(rf"\section*{{{_tex(self.words[section.key])}}}")
            out += [self.block(b) for b in section.blocks]
        return "\n".join(out) + "\n"

    def block(self, block: Block) -> str:
        match block:
            case Head():
                return rf"\subsection*{{{_tex(self.head(block))}}}"
            case Say():
                return self.sentence(block, lambda f: f"${f}$", _tex)
            case Line(equation):
                shaped = self.has_shapes(block)
                return self.equation(equation, self.shaped() if shaped else self.printer)
            case Grid():
                return self.grid(block)
            case Numeric():
                return self.numeric(block)

    def equation(self, equation: Equation, printer: Printer, more: tuple[str, ...] = ()) -> str:
        left, sign, sides = printer.sides(equation)
        arrow = r"\leftarrow" if sign == "←" else "="
        rows = [f"{left} &{arrow} {sides[0]}", *(f"&= {s}" for s in (*sides[1:], *more))]
        body = " \\\\\n".join(rows)
        return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"

    def cell(self, cell: Cell) -> str:
        match cell:
            case str():
                return rf"\texttt{{{_tex(cell)}}}" if cell else ""
            case Say():
                return self.sentence(cell, lambda f: f"${f}$", _tex)
            case Shape(of):
                return f"${self.printer.shape(of) or '1'}$"
            case _:
                return f"${self.printer.write(cell)}$"

    def grid(self, grid: Grid) -> str:
        heads = " & ".join(rf"\textbf{{{_tex(self.words[h])}}}" for h in grid.heads)
        rows = [" & ".join(self.cell(c) for c in row) for row in grid.rows]
        body = " \\\\\n".join([heads + r" \\ \hline", *rows]).replace(r"\hline \\", r"\hline")
        return f"\\begin{{tabular}}{{{'l' * len(grid.heads)}}}\n{body}\n\\end{{tabular}}"

    def numeric(self, block: Numeric) -> str:
        more = [self.with_numbers(block, self.spelling)] if _columns(block) <= COLUMNS else []
        if np.ndim(block.value) == 0:
            more.append(arrays.digits(float(block.value)))
        else:
            more.append(self.spelling.matrix(arrays.cells(block.value)))
        shown = tuple(_numbers(m) for m in more if m)
        return self.equation(block.equation, self.printer, shown)


def _columns(block: Numeric) -> int:
    """How many columns of numbers a line would have."""
    shown = [block.arrays[f.symbol] for f in nt.inside(block.equation.right)
             if isinstance(f, nt.Sym)]  # fmt: skip
    return sum(a.shape[-1] if a.ndim > 1 else 1 for a in map(np.asarray, shown))


def _numbers(text: str) -> str:
    """Numbers and the marks of what was cut."""
    for mark, command in {"−": "-", "…": r"\cdots", "⋮": r"\vdots"}.items():
        text = text.replace(mark, command)
    return re.sub(r"(?<=\d)e(-?)0*(\d+)", r" \\cdot 10^{\1\2}", text)


def _tex(text: str) -> str:
    """Words of ours in LaTeX: the braces of names stay."""
    pieces = re.split(r"(\{[a-z_]+\})", text)
    return "".join(p if p.startswith("{") else _marks(escaped(p)) for p in pieces)


_MARKS = {
    "∘": r"$\circ$",
    "⊙": r"$\odot$",
    "⊘": r"$\oslash$",
    "Σ": r"$\sum$",
    "−": "$-$",
    "σ": r"$\sigma$",
    "η": r"$\eta$",
    "…": r"$\dots$",
}


def _marks(text: str) -> str:
    for mark, command in _MARKS.items():
        text = text.replace(mark, command)
    return text
