"""explain: the mathematics of a network on one page, printed from its graph.

    notation, algebra, evaluate         formulas: what they are, how they are built, their value
    structure, network, symbols         the graph: what is named, and how
    elements, read, equations           the graph as formulas, line by line
    sections, symbol_table, blocks,     the page, as data
    claims, recurrence, steps, update,
    emitted, numbers, words
    letters, printer, spelling, text,   one walk over formulas, three languages
    latex, mathml, arrays
    writer, text_page, latex_page,      the outputs
    html_page, page

In: a scalar loss. Out: an `Explanation`, which prints in a terminal, a notebook and a browser.

Guarantees: nothing recognises a layer: a network of ``@`` and one of layers print the same lines.
Every equation holds the node it stands for, so that tests compare all of them with the oracle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symprop.explain.page import Explanation
    from symprop.expression import Expr

__all__ = ["explain"]


def explain(
    loss: Expr,
    *,
    wrt: Sequence[Expr] | None = None,
    optimizer: Any = None,
    at: Mapping[Any, Any] | None = None,
    notation: str = "matrix",
    language: str = "en",
) -> Explanation:
    """The forward pass, the errors, the gradients and the update of a loss, as mathematics.

    Args:
        loss: a scalar expression, of any network.
        wrt: the parameters; by default all that the loss reads, in the order of declaration.
        optimizer: for the update; by default gradient descent with a rate eta.
        at: arrays by name for the inputs, and for parameters that do not start as with seed 0:
            adds every step in numbers, gradients beside differences, the loss after one update.
        notation: "matrix", or "index" for every line in index notation.
        language: "en" or "fr": of headings and sentences.

    Raises:
        DeclarationError: for anything but a scalar expression, parameters it reads, and the
            notations and languages above.
        DataError: for arrays in ``at`` that do not fit.
    """
    from symprop.explain.page import explained

    return explained(loss, wrt, optimizer, at, notation, language)
