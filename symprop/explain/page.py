"""page: an explanation, and its outputs.

In: a loss and the options of ``prop.explain``. Out: an `Explanation`: sections and equations as
data; text, LaTeX, HTML and plain data on request.

Guarantees: bad options are refused before anything is built; printing twice gives the same bytes;
the network's own names and places are left as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from symprop import graph
from symprop.arguments import arguments
from symprop.errors import DeclarationError, ShapeError, UnsupportedError, install, listed, quoted
from symprop.explain.blocks import Block, Cell, Grid, Line, Numeric, Say, Section, Shape
from symprop.explain.html_page import html_fragment, html_page
from symprop.explain.latex_page import latex_page
from symprop.explain.network import network
from symprop.explain.notation import Equation
from symprop.explain.numbers import RATE, numbers
from symprop.explain.printer import Printer
from symprop.explain.sections import Page, page
from symprop.explain.symbol_table import SIGNS
from symprop.explain.symbols import choose
from symprop.explain.text import Text
from symprop.explain.text import plain as printable
from symprop.explain.text_page import styled_lines, text_page
from symprop.explain.words import LANGUAGES
from symprop.explain.writer import Writer
from symprop.expression import Expr, describe, shape_text
from symprop.graph import FLOATS, Leaf
from symprop.optimizers import SGD
from symprop.walk import leaves

__all__ = ["Explanation", "explained"]

NOTATIONS = ("matrix", "index")
WIDTH = 100
_STYLES = {"title": "bold cyan", "head": "bold", "line": "", "shape": "dim", "say": "italic",
           "grid": "", "number": "green"}  # fmt: skip


class Explanation:
    """A page of mathematics; prints itself wherever it is shown."""

    def __init__(self, made: Page, language: str) -> None:
        self._made, self.language = made, language
        printer = self.printer
        made.sections = [
            replace(s, blocks=tuple(_spelled(b, printer) for b in s.blocks)) for s in made.sections
        ]
        text = "".join(e.text for e in self.equations)
        made.sections = [
            replace(s, blocks=tuple(b for b in s.blocks if _used(b, text))) for s in made.sections
        ]

    @property
    def sections(self) -> tuple[Section, ...]:
        """The page as data."""
        return tuple(self._made.sections)

    @property
    def equations(self) -> list[Equation]:
        """Every equation of the page, in order."""
        blocks = [b for s in self.sections for b in s.blocks]
        return [b.equation for b in blocks if isinstance(b, Line | Numeric)]

    @property
    def printer(self) -> Printer:
        """Prints one of the equations as text."""
        return Writer(self._made, self.language, Text()).printer

    def text(self, width: int = WIDTH) -> str:
        """Unicode text, lines at most ``width`` wide where a formula can be folded."""
        return text_page(self._made, self.language, width)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Explanation of {len(self.equations)} equations: print it>"

    def latex(self) -> str:
        """The body of a LaTeX document that loads amsmath and amssymb."""
        return latex_page(self._made, self.language)

    def html(self) -> str:
        """One page with MathML: no script, nothing to load."""
        return html_page(self._made, self.language)

    def to_json(self) -> list[dict[str, Any]]:
        """Plain data: for each section a heading, its equations (text and LaTeX) and its tables
        (a mapping from column to text for each row)."""
        from symprop.explain.latex import Latex

        plain = Writer(self._made, self.language, Text())
        tex = Writer(self._made, self.language, Latex())
        found = []
        for section in self.sections:
            shown = [b.equation for b in section.blocks if isinstance(b, Line | Numeric)]
            lines = [{"kind": e.kind, "text": plain.printer.equation(e),
                      "latex": tex.printer.equation(e)} for e in shown]  # fmt: skip
            grids = [b for b in section.blocks if isinstance(b, Grid)]
            tables = [[dict(zip(b.heads, (_cell(plain, c) for c in row), strict=True))
                       for row in b.rows] for b in grids]  # fmt: skip
            found.append({"section": section.key, "heading": plain.words[section.key],
                          "equations": lines, "tables": tables})  # fmt: skip
        return found

    # --- displays --------------------------------------------------------------------------

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        fragment = html_fragment(self._made, self.language)
        return {"text/plain": self.text(), "text/html": fragment, "text/latex": self.latex()}

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.text import Text as Rich

        for style, line in styled_lines(self._made, self.language, options.max_width):
            yield Rich(line, style=_STYLES.get(style, ""))

    def print(self) -> None:
        """Print in colour, as wide as the terminal.

        Raises UnsupportedError where rich is not installed.
        """
        try:
            from rich.console import Console
        except ImportError:
            raise UnsupportedError(
                f"colour needs rich: run  {install('rich')}  or print(explanation) for plain text"
            ) from None
        Console().print(self)


def _cell(plain: Writer, cell: Cell) -> str:
    """A cell of a table as text."""
    match cell:
        case str():
            return printable(cell)
        case Say():
            return plain.sentence(cell, str, str)
        case Shape(of):
            return plain.printer.shape(of) or "1"
        case _:
            return plain.printer.write(cell)


def _spelled(block: Block, printer: Printer) -> Block:
    """The block; an equation holds its line of text."""
    if not isinstance(block, Line | Numeric):
        return block
    text = printer.equation(block.equation)
    return replace(block, equation=replace(block.equation, text=text))


def _used(block: Block, text: str) -> bool:
    """Whether a sign that a sentence explains is in the page's equations."""
    return not isinstance(block, Say) or SIGNS.get(block.key, "") in text


def explained(
    loss: Any, wrt: Any, optimizer: Any, at: Any, notation: str, language: str
) -> Explanation:
    """What ``prop.explain`` returns."""
    _check(loss, notation, language)
    parameters = _parameters(loss, wrt)
    rate: Leaf | None = None
    if optimizer is None:
        name = _free("eta", loss)
        rate = graph.new_leaf("scalar", name, (), "float", default=RATE)
        optimizer = SGD(Expr(rate))
    elif not callable(getattr(optimizer, "updates", None)):
        raise DeclarationError(
            f"optimizer= needs an optimizer such as prop.SGD(0.1), but got "
            f"{type(optimizer).__name__} {quoted(optimizer)}"
        )
    net = network(loss.node, parameters)
    made = page(net, choose(net), optimizer, rate, notation == "index")
    if at is not None:
        made.sections.append(numbers(made, loss, at, optimizer))
    return Explanation(made, language)


def _check(loss: Any, notation: str, language: str) -> None:
    if not isinstance(loss, Expr):
        raise DeclarationError(
            f"explain needs an expression, but got {type(loss).__name__} {quoted(loss)}: "
            "hand in a loss such as prop.mse(prediction, target)"
        )
    if loss.ndim:
        raise ShapeError(
            f"explain needs a scalar, but {describe(loss)} has shape {shape_text(loss)}: "
            "take its mean or sum"
        )
    if loss.dtype not in FLOATS:
        raise DeclarationError(
            f"explain needs a float, but {describe(loss)} is {loss.dtype}: it has no gradient"
        )
    if notation not in NOTATIONS:
        raise DeclarationError(
            f"notation={quoted(notation)} is not known: use one of {listed(NOTATIONS)}"
        )
    if language not in LANGUAGES:
        raise DeclarationError(
            f"language={quoted(language)} is not known: use one of {listed(LANGUAGES)}"
        )


def _parameters(loss: Expr, wrt: Any) -> list[Leaf]:
    """The parameters that the page derives by, each read by the loss."""
    read = arguments([loss.node])
    if wrt is None:
        return [n for n in read if n.kind == "parameter"]
    given: Sequence[Any] = list(wrt) if isinstance(wrt, list | tuple) else [wrt]
    found = []
    for e in given:
        if not isinstance(e, Expr) or not isinstance(e.node, Leaf) or e.node not in read:
            shown = describe(e) if isinstance(e, Expr) else quoted(e)
            raise DeclarationError(
                f"wrt= needs parameters that the loss reads, but got {shown}: "
                f"it reads {listed(n.name for n in read)}"
            )
        if e.dtype not in FLOATS:
            raise DeclarationError(f"{describe(e)} is {e.dtype}, which has no derivative")
        found.append(e.node)
    return list(dict.fromkeys(found))


def _free(name: str, loss: Expr) -> str:
    taken = {n.name for n in leaves([loss.node])}
    while name in taken:
        name += "_"
    return name
