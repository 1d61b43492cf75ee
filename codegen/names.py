"""From what a user calls a thing to a legal, readable, unique identifier; and text for comments.

In: any text at all. Out: ASCII identifiers that are no keyword, no builtin, no function of the
table, no helper and not ``np``; text that stays inside one comment line or docstring.

Guarantees: deterministic, and in the order asked: an equal sequence of labels gives equal names.
The cost does not grow with a label of a megabyte. Nothing of a label but letters, digits and
single underscores gets into an identifier.

It does not judge labels: which ones a user may declare is decided above.
"""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable

from codegen.functions import FUNCTIONS, NUMPY_HELPERS, OF_INTEGERS

__all__ = ["RESERVED", "Names", "comment_safe", "identifier"]

LENGTH = 48  # of an identifier: longer ones no longer fit two to a line of code
READ = 400  # characters of a label that are looked at

RESERVED: frozenset[str] = frozenset(
    (
        *keyword.kwlist,
        *keyword.softkwlist,
        *dir(builtins),
        *FUNCTIONS,
        *OF_INTEGERS,
        *NUMPY_HELPERS,
        "np",
        "numpy",
        "where",
    )
)


def _ascii(char: str) -> str:
    if char.isascii():
        return char
    words = unicodedata.name(char, "").split()
    if words[:1] == ["GREEK"] and "LETTER" in words[:-1]:
        letter = words[words.index("LETTER") + 1].lower()
        return letter.capitalize() if "CAPITAL" in words else letter
    return "" if unicodedata.combining(char) else "_"


def identifier(label: str, fallback: str = "value") -> str:
    """The identifier nearest to a label, not yet unique: ``hidden.weight`` -> ``hidden_weight``.

    Greek letters are spelled, accents dropped, other characters become underscores.
    """
    text = label[:READ]
    if not text.isascii():
        text = "".join(map(_ascii, unicodedata.normalize("NFKD", text)[: 2 * READ]))
    text = re.sub(r"[^0-9A-Za-z]+", "_", text).strip("_")[:LENGTH].rstrip("_")
    if not text:
        return fallback
    if text[0].isdigit():
        text = f"{fallback}_{text}"
    return f"{text}_" if text in RESERVED else text


class Names:
    """The names of one scope: each call gives one that no earlier call gave."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def __call__(self, label: str, fallback: str = "value") -> str:
        """A fresh identifier for a label; a clash gets the next number as a suffix."""
        base = identifier(label, fallback)
        name = base
        while name in self._taken:
            number = self._next.get(base, 2)
            self._next[base] = number + 1
            name = f"{base.rstrip('_')}_{number}"
        self._taken.add(name)
        return name


def comment_safe(text: str, length: int = 2000) -> str:
    """``text`` on one line, fit for a comment or a docstring of generated code.

    Printable characters only; no backslash, no double quote, no comment end of C, nothing that
    Python reads as a declaration of the file's encoding; at most ``length`` characters.
    """
    text = " ".join(text[: 4 * length].split())
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "?" for c in text)
    text = text.replace("\\", "/").replace('"', "'").replace("*/", "* /")
    text = re.sub(r"(['?])\1+", r"\1", text)
    text = re.sub(r"(?i)coding(?=[:=])", "coding ", text)
    return text if len(text) <= length else text[: length - 3].rstrip() + "..."
