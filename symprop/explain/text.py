"""text: formulas as one line of Unicode.

In: the pieces that ``printer`` hands over. Out: text for a terminal: ``δ₁ = (W₂ᵀ δ₂) ⊙ σ′(z₁)``.

Guarantees: control characters and marks that change the direction of text, in a user's name, are
written as escapes. Digits alone become subscripts; a word stays readable after an underscore.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

__all__ = ["GREEK", "Text", "plain"]

_SUB = str.maketrans("0123456789ntsrk+−", "₀₁₂₃₄₅₆₇₈₉ₙₜₛᵣₖ₊₋")
_SUP = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
# Functions that are written otherwise than they are called.
GREEK = {"sigmoid": "σ", "normal_cdf": "Φ", "normal_pdf": "φ", "sech2": "sech²"}


def plain(name: str) -> str:
    """A name that cannot garble a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


class Text:
    """Plain text."""

    stacked = False
    choice = "if", "else"

    def symbol(self, base: str, sub: str, index: str, upright: bool) -> str:
        base, sub = plain(base), plain(sub)
        text = base
        if sub:
            text += sub.translate(_SUB) if sub.isdecimal() and sub.isascii() else f"_{sub}"
        if index:
            marks = index.translate(_SUB)
            text += f",{marks}" if sub else marks
        return text

    def partial(self, top: str, bottom: str) -> str:
        return f"∂{top}/∂{bottom}"

    def number(self, value: Fraction) -> str:
        sign = "−" if value < 0 else ""
        return sign + decimal(abs(value))

    def word(self, text: str) -> str:
        return plain(text)

    def letter(self, text: str) -> str:
        return plain(text)

    def paren(self, inner: str) -> str:
        return f"({inner})"

    def bracket(self, inner: str) -> str:
        return f"[{inner}]"

    def norm(self, inner: str) -> str:
        return f"‖{inner}‖²"

    def fraction(self, top: str, bottom: str, tight: bool) -> str:
        return f"{top}/{bottom}"

    def power(self, base: str, n: int, entrywise: bool) -> str:
        return base + ("∘" if entrywise else "") + str(n).translate(_SUP)

    def transpose(self, base: str) -> str:
        return f"{base}ᵀ"

    def ones(self) -> str:
        return "𝟏"

    def op(self, sign: str) -> str:
        return {"-": "−", "−": " − ", "+": " + "}[sign]

    def join(self, parts: Sequence[str], sign: str) -> str:
        if sign == ",":
            return ", ".join(parts)
        return (f" {sign} " if sign else " ").join(p for p in parts if p)

    def function(self, name: str, prime: bool, args: Sequence[str]) -> str:
        return f"{GREEK.get(name, plain(name))}{'′' if prime else ''}({', '.join(args)})"

    def raised(self, base: str, exponent: str) -> str:
        return f"{base}^{exponent}"

    def root(self, inner: str) -> str:
        return f"√{inner}" if inner.isalnum() else f"√({inner})"

    def element(self, base: str, indices: Sequence[str]) -> str:
        return f"{base}[{', '.join(indices)}]"

    def total(self, op: str, under: str, where: str, inner: str) -> str:
        under = under.replace(",", ", ") + (f" : {where}" if where else "")
        sign = {"sum": "Σ"}.get(op, op)
        low = under.translate(_SUB) if under in ("n", "t") else f"_{{{under}}}"
        between = "" if op in ("softmax", "logsumexp") else " "  # a function of what follows
        return f"{sign}{low}{between}{inner}"

    def under(self, base: str, shape: str) -> str:
        return base

    def matrix(self, rows: Sequence[Sequence[str]]) -> str:
        return f"[{'; '.join(' '.join(row) for row in rows)}]"

    def cases(self, c: str, a: str, b: str) -> str:
        return f"{{{a} {self.choice[0]} {c}, {self.choice[1]} {b}}}"


def decimal(value: Fraction) -> str:
    """A number as short as it is: 1/3, 0.01, 10⁻⁸."""
    if value.denominator == 1:
        return str(value.numerator)
    if value.denominator <= 64 and value.denominator % 10:
        return f"{value.numerator}/{value.denominator}"
    short = repr(float(value))
    if Fraction(short) != value:
        return f"{value.numerator}/{value.denominator}"
    mantissa, _, exponent = short.partition("e")
    if not exponent:
        return short
    power = "10" + str(int(exponent)).translate(_SUP)
    return power if mantissa == "1" else f"{mantissa}·{power}"
