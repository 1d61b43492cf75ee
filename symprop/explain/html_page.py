"""html_page: a page as HTML with MathML.

In: a page, a language. Out: a whole page, or the fragment that a notebook shows.

Guarantees: well formed as XML; no script and nothing to load; its style touches nothing outside.
"""

from __future__ import annotations

from html import escape

import numpy as np

from symprop.explain import arrays
from symprop.explain import notation as nt
from symprop.explain.blocks import Block, Cell, Grid, Head, Line, Numeric, Say, Section, Shape
from symprop.explain.mathml import MathML
from symprop.explain.notation import Formula
from symprop.explain.sections import Page
from symprop.explain.text import plain as printable
from symprop.explain.writer import Writer

__all__ = ["html_fragment", "html_page"]

_STYLE = """
.explain{font:16px/1.5 Georgia,serif;max-width:60rem;color:#222;background:#fff}
.explain h1{font-size:1.6rem}
.explain h2{font-size:1.25rem;border-bottom:1px solid #bbb;margin-top:2rem}
.explain h3{font-size:1rem;color:#555;margin:1rem 0 .2rem}
.explain table.grid{border-collapse:collapse;margin:.6rem 0}
.explain .grid td,.explain .grid th{padding:.2rem .9rem .2rem 0;text-align:left;
vertical-align:baseline;background:#fff}
.explain .grid th{border-bottom:1px solid #888;font-weight:600}
.explain code{font:.9em ui-monospace,monospace}
.explain .line{margin:.4rem 0 .4rem 2rem;padding:.2rem 0;overflow-x:auto;overflow-y:hidden}
.explain math{font-size:1.08em}
.explain mtable.matrix{border:solid currentColor;border-width:0 1.5px;border-radius:.4em;
padding:0 .15em;margin:0 .15em;font-size:.85em}
.explain .note{color:#555;font-size:.9em;margin-left:2rem}
"""


def html_page(made: Page, language: str) -> str:
    """One page that needs nothing else."""
    writer = _HtmlWriter(made, language, MathML())
    title = escape(writer.words["title"]).format(loss="L")
    return "\n".join([
        "<!DOCTYPE html>",
        f'<html lang="{language}"><head><meta charset="utf-8"/><title>{title}</title></head>',
        f'<body style="margin:2rem">{writer.fragment()}</body></html>',
    ]) + "\n"  # fmt: skip


def html_fragment(made: Page, language: str) -> str:
    """The page for the inside of another: its style touches nothing else."""
    return _HtmlWriter(made, language, MathML()).fragment()


class _HtmlWriter(Writer):
    def fragment(self) -> str:
        loss = self.printer.write(nt.Sym(self.made.symbols.of[self.made.net.loss]))
        head = escape(self.words["title"]).format(loss=_math(loss))
        sections = [self.section(s) for s in self.made.sections]
        return "\n".join([f'<div class="explain"><style>{_STYLE}</style>', f"<h1>{head}</h1>",
                          *sections, "</div>"])  # fmt: skip

    def section(self, section: Section) -> str:
        blocks = [self.block(b) for b in section.blocks]
        return "\n".join([f"<section><h2>{escape(self.words[section.key])}</h2>", *blocks,
                          "</section>"])  # fmt: skip

    def block(self, block: Block) -> str:
        match block:
            case Head():
                return f"<h3>{escape(self.head(block))}</h3>"
            case Say():
                return f"<p>{self.sentence(block, _math, escape)}</p>"
            case Line(equation):
                printer = self.shaped() if self.has_shapes(block) else self.printer
                return f'<div class="line">{_math(printer.equation(equation), True)}</div>'
            case Grid():
                return self.grid(block)
            case Numeric():
                return self.numeric(block)

    def cell(self, cell: Cell) -> str:
        match cell:
            case str():
                return f"<code>{escape(printable(cell))}</code>" if cell else ""
            case Say():
                return self.sentence(cell, _math, escape)
            case Shape(of):
                return _math(self.printer.shape(of) or "<mn>1</mn>")
            case _:
                return _math(self.printer.write(cell))

    def grid(self, grid: Grid) -> str:
        heads = "".join(f"<th>{escape(self.words[h])}</th>" for h in grid.heads)
        rows = ("".join(f"<td>{self.cell(c)}</td>" for c in row) for row in grid.rows)
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        return f'<table class="grid"><tr>{heads}</tr>\n{body}</table>'

    def numeric(self, block: Numeric) -> str:
        left, sign, sides = self.printer.sides(block.equation)
        put = self.with_numbers(block, self.spelling)
        if np.ndim(block.value) == 0:
            value = f"<mn>{arrays.digits(float(block.value))}</mn>"
        else:
            value = self.spelling.matrix(arrays.cells(block.value))
        shown: list[Formula | str] = [*sides, *([put] if put else []), value]
        text = self.spelling.join([left, self.spelling.join(shown, "=")], sign)
        cut = "" if arrays.is_whole(block.value) else escape(self.cut(block.value))
        note = f'<span class="note">{cut}</span>' if cut else ""
        return f'<div class="line">{_math(text, True)}{note}</div>'


def _math(inner: str, block: bool = False) -> str:
    display = ' displaystyle="true"' if block else ""
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML"{display}><mrow>{inner}</mrow></math>'
