"""The errors of symprop: one class a kind of mistake, one sentence a message.

In: the facts of the mistake, in the user's names.
Out: an exception whose text says what was expected, what came, where, and how to mend it.
Guarantees: every error that symprop raises on purpose is a `SympropError`; text from the user is
quoted and shortened, so a hostile name cannot flood or garble a message.

It does not decide what is an error, and it does not catch anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [
    "DataError",
    "DeclarationError",
    "KindError",
    "NonFiniteError",
    "ShapeError",
    "SympropError",
    "UnsupportedError",
    "VerificationError",
    "at",
    "install",
    "listed",
    "quoted",
]

QUOTED_LENGTH = 60


class SympropError(Exception):
    """Any mistake that symprop names on purpose."""


class ShapeError(SympropError, ValueError):
    """Shapes or named dimensions that do not fit together."""


class DeclarationError(SympropError, ValueError):
    """A name, a dimension list, a dtype or an option that cannot be declared."""


class DataError(SympropError, ValueError):
    """An array, a mapping of arrays or a file, handed in at run time, that does not fit."""


class KindError(DataError, TypeError):
    """An argument of another type than it must have, such as a text for a number."""


class NonFiniteError(SympropError, ArithmeticError):
    """A loss or a weight that became NaN or infinite in training; the weights are those before.

    `origin` is the first number that is not finite, as `prop.find_nan` gives it, or None where it
    is not known.
    """

    origin: Any = None


class UnsupportedError(SympropError, NotImplementedError):
    """A thing that symprop, or the chosen backend, does not do."""


class VerificationError(SympropError, AssertionError):
    """A check between two passes failed: a fault of symprop, not of the user."""


def quoted(text: object) -> str:
    """`text` between quotes, escaped and shortened, for use inside a message."""
    shown = ascii(str(text))
    if len(shown) > QUOTED_LENGTH:
        shown = shown[: QUOTED_LENGTH - 4] + "..." + shown[0]
    return shown


def listed(names: Iterable[object]) -> str:
    """The names, each quoted, joined by commas; "none" if there are none."""
    return ", ".join(quoted(name) for name in names) or "none"


def install(package: str) -> str:
    """The command that gets a package, for use inside a message; symprop's own extras need a copy
    of its source."""
    quote = '"' if ">" in package else ""
    return f"python -m pip install {quote}{package}{quote}"


def at(where: str) -> str:
    """The place of a declaration for use in a message: ` (model.py:14)`, or nothing."""
    return f" ({ascii(where)[1:-1][-QUOTED_LENGTH:]})" if where else ""
