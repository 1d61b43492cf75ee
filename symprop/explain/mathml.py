"""mathml: formulas that a browser typesets by itself.

In: the pieces that ``printer`` hands over. Out: MathML Core elements, well formed.

Guarantees: every text of the user is escaped for XML; no script, no style of its own, nothing to
load.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from html import escape

from symprop.explain.text import GREEK, decimal, plain

__all__ = ["MathML"]

_SPACED = {"=": "=", "⊙": "⊙", "⊘": "⊘", "<": "&lt;", ">": "&gt;", "≤": "≤", "≥": "≥", "≠": "≠",
           "mod": "mod", "and": "∧", "or": "∨", "←": "←", "×": "×", "·": "·"}  # fmt: skip
_TOTALS = {"sum": "∑", "max": "max", "min": "min"}


def _row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _mo(text: str, **attributes: str) -> str:
    given = "".join(f' {k}="{v}"' for k, v in attributes.items())
    return f"<mo{given}>{text}</mo>"


def _fenced(left: str, inner: str, right: str) -> str:
    """Brackets, as high as a fraction or a matrix inside, else as a letter."""
    high = "true" if "<mfrac" in inner or "<mtable" in inner else "false"
    return _row(
        _mo(left, form="prefix", stretchy=high), inner, _mo(right, form="postfix", stretchy=high)
    )


class MathML:
    """MathML Core."""

    stacked = True
    choice = "if", "else"

    def symbol(self, base: str, sub: str, index: str, upright: bool) -> str:
        text = self.letter(base)
        marks = [self.mark(sub)] if sub else []
        marks += [self.index(index)] if index else []
        if not marks:
            return text
        return f"<msub>{text}{_row(_mo(',').join(marks))}</msub>"

    def index(self, text: str) -> str:
        """n, or t − 1."""
        for sign in "+−":
            letter, found, number = text.partition(sign)
            if found:
                return _row(self.letter(letter), _mo(sign), f"<mn>{number}</mn>")
        return self.letter(text)

    def mark(self, sub: str) -> str:
        return f"<mn>{sub}</mn>" if sub.isdecimal() and sub.isascii() else self.letter(sub)

    def partial(self, top: str, bottom: str) -> str:
        return f"<mfrac>{_row(_mo('∂'), top)}{_row(_mo('∂'), bottom)}</mfrac>"

    def number(self, value: Fraction) -> str:
        sign = _mo("−") if value < 0 else ""
        value = abs(value)
        text = decimal(value)
        if "/" in text:
            inner = f"<mn>{value.numerator}</mn><mn>{value.denominator}</mn>"
            return _row(sign, f"<mfrac>{inner}</mfrac>")
        return _row(sign, f"<mn>{text}</mn>") if sign else f"<mn>{text}</mn>"

    def word(self, text: str) -> str:
        return f"<mtext>{escape(plain(text))}</mtext>"

    def letter(self, text: str) -> str:
        return f"<mi>{escape(plain(text))}</mi>"

    def paren(self, inner: str) -> str:
        return _fenced("(", inner, ")")

    def bracket(self, inner: str) -> str:
        return _fenced("[", inner, "]")

    def norm(self, inner: str) -> str:
        body = _row(_mo("‖", fence="true"), inner, _mo("‖", fence="true"))
        return f"<msup>{body}<mn>2</mn></msup>"

    def fraction(self, top: str, bottom: str, tight: bool) -> str:
        if tight:
            return _row(top, _mo("/"), bottom)
        return f"<mfrac>{_row(top)}{_row(bottom)}</mfrac>"

    def power(self, base: str, n: int, entrywise: bool) -> str:
        mark = _row(_mo("∘"), f"<mn>{n}</mn>") if entrywise else f"<mn>{n}</mn>"
        return f"<msup>{_row(base)}{mark}</msup>"

    def transpose(self, base: str) -> str:
        if base.startswith("<msub>") and base.count("<msub>") == 1:  # one letter, both marks
            return f"<msubsup>{base[len('<msub>') : -len('</msub>')]}<mo>⊤</mo></msubsup>"
        return f"<msup>{_row(base)}<mo>⊤</mo></msup>"

    def ones(self) -> str:
        return "<mn>𝟏</mn>"

    def op(self, sign: str) -> str:
        return _mo("−", form="prefix") if sign == "-" else _mo(sign)

    def join(self, parts: Sequence[str], sign: str) -> str:
        shown = [p for p in parts if p]
        if len(shown) == 1:
            return shown[0]
        if sign == ",":
            return _row((_mo(",")).join(shown))
        between = '<mspace width="0.17em"/>'
        if sign:
            between = _mo(_SPACED[sign], rspace="0.28em", lspace="0.28em")
        return _row(between.join(shown)) if shown else ""

    def function(self, name: str, prime: bool, args: Sequence[str]) -> str:
        head = self.letter(GREEK.get(name, name))
        if prime:
            head = f"<msup>{head}<mo>′</mo></msup>"
        return _row(head, _fenced("(", _mo(",").join(args), ")"))

    def raised(self, base: str, exponent: str) -> str:
        return f"<msup>{_row(base)}{_row(exponent)}</msup>"

    def root(self, inner: str) -> str:
        return f"<msqrt>{inner}</msqrt>"

    def element(self, base: str, indices: Sequence[str]) -> str:
        return _row(base, _fenced("[", _mo(",").join(map(_row, indices)), "]"))

    def total(self, op: str, under: str, where: str, inner: str) -> str:
        low = _row(under.replace(",", _mo(",")))
        if where:
            low = _row(low, _mo(":"), where)
        return _row(f"<munder>{_mo(_TOTALS.get(op, op))}{low}</munder>", inner)

    def under(self, base: str, shape: str) -> str:
        small = f'<mpadded height="1.2em"><mstyle scriptlevel="2">{shape}</mstyle></mpadded>'
        return f"<munder>{base}{small}</munder>" if shape else base

    def matrix(self, rows: Sequence[Sequence[str]]) -> str:
        cells = ("".join(f"<mtd><mn>{x}</mn></mtd>" for x in row) for row in rows)
        table = "".join(f"<mtr>{row}</mtr>" for row in cells)
        return f'<mtable class="matrix">{table}</mtable>'  # its sides are drawn by the page

    def cases(self, c: str, a: str, b: str) -> str:
        yes, no = self.choice
        rows = (a, _row(self.word(f" {yes} "), c)), (b, self.word(f" {no}"))
        table = "".join(f"<mtr><mtd>{x}</mtd><mtd>{y}</mtd></mtr>" for x, y in rows)
        return _row(_mo("{"), f"<mtable>{table}</mtable>")
