"""writer: what the outputs of a page share.

In: a page, a language, a spelling. Out: sentences with their formulas, printers of every mood.

Guarantees: sentences come from ``words``, formulas from ``printer``; the outputs (``text_page``,
``latex_page``, ``html_page``) walk the same blocks and differ in spelling alone. Names of the user
are escaped by the spelling they go through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from symprop.explain import arrays
from symprop.explain import notation as nt
from symprop.explain.blocks import Head, Line, Numeric, Say
from symprop.explain.printer import Printer
from symprop.explain.sections import Page
from symprop.explain.text import plain as printable
from symprop.explain.words import WORDS

__all__ = ["Writer"]

P = TypeVar("P", bound=Printer)


class Writer:
    """What the outputs share: words and printers."""

    def __init__(self, made: Page, language: str, spelling: Any) -> None:
        self.made, self.words = made, WORDS[language]
        symbols = dict(made.symbols.of)
        if made.update is not None:
            symbols.update(made.update.symbols)
        for found in made.steps.made.values():
            for symbol in found.symbols.values():
                symbols.setdefault(symbol.node, symbol)
        spelling.choice = self.words["case_if"], self.words["case_else"]
        self.spelling = spelling
        self.symbols = symbols
        self.printer = self.printer_of(Printer, spelling)

    def printer_of(self, kind: type[P], spelling: Any, sizes: Mapping[str, str] | None = None) -> P:
        """A printer of one mood, with the page's letters and names."""
        found = kind(spelling, self.symbols, self.made.symbols.sizes if sizes is None else sizes)
        found.functions = self.made.symbols.functions
        return found

    def sentence(self, say: Say, wrap: Callable[[str], str], plain: Callable[[str], str]) -> str:
        """A sentence with its formulas; ``wrap`` sets off a formula, ``plain`` escapes words."""
        found = {}
        for name, value in say.values:
            ready = isinstance(value, str)
            found[name] = plain(printable(value)) if ready else wrap(self.printer.write(value))  # type: ignore[arg-type]
        if "{t}" in self.words[say.key]:
            found["t"] = wrap(self.spelling.letter(self.printer.clock))
        if say.key == "pair" and found["one"] == found["all"]:
            return found["one"]
        return plain(self.words[say.key]).format(**found) if found else plain(self.words[say.key])

    def head(self, head: Head) -> str:
        """A heading with its values."""
        return self.words[head.key].format(**dict(head.values))

    def has_shapes(self, line: Line) -> bool:
        """Whether sizes are shown: of a line in matrices that is no scalar."""
        of = line.equation
        scalar = nt.form(of.left) == (False, False)
        return line.shapes and not scalar and not of.loops and not nt.indexed(of.right)

    def shaped(self) -> Printer:
        """A printer that writes sizes under symbols."""
        found = self.printer_of(Printer, self.spelling)
        found.shapes = True
        return found

    def with_numbers(self, block: Numeric, spelling: Any) -> str:
        """The right side with arrays in the place of symbols, or "" where they are too large."""
        right = block.equation.right
        if block.equation.loops or nt.indexed(right) or isinstance(right, nt.Sym):
            return ""
        if not all(map(arrays.is_small, block.arrays.values())):
            return ""
        sizes = {name: str(n) for name, n in block.sizes.items()}
        own = self.printer_of(arrays.NumberPrinter, spelling, sizes)
        own.arrays = block.arrays
        return own.within(block.equation).write(right)

    def cut(self, value: Any) -> str:
        """What is said of an array that is shown in part: its shape and norm."""
        norm = arrays.digits(float(np.linalg.norm(np.asarray(value, dtype=float))))
        shape = " × ".join(map(str, np.shape(value)))
        return self.words["norm_of"].format(norm=norm, shape=shape)
