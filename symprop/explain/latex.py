"""latex: formulas for amsmath.

In: the pieces that ``printer`` hands over. Out: LaTeX, without delimiters.

Guarantees: a name of the user can neither end a formula nor start a command: every character that
TeX reads is escaped, and names stand in upright text.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from symprop.explain.text import decimal, plain

__all__ = ["Latex", "escaped"]

_GREEK = {"δ": r"\delta", "Δ": r"\Delta", "η": r"\eta", "π": r"\pi", "∞": r"\infty",
          "β": r"\beta", "ε": r"\varepsilon", "γ": r"\gamma", "λ": r"\lambda"}  # fmt: skip
_FUNCTIONS = {"sigmoid": r"\sigma", "tanh": r"\tanh", "exp": r"\exp", "log": r"\log",
              "sin": r"\sin", "cos": r"\cos", "normal_cdf": r"\Phi", "normal_pdf": r"\varphi",
              "sech2": r"\operatorname{sech}^{2}", "floor": r"\operatorname{floor}"}  # fmt: skip
_OPS = {"-": "-", "−": " - ", "+": " + "}
_JOINS = {"": r"\,", "=": " = ", "⊙": r" \odot ", "⊘": r" \oslash ", ",": ", ", "<": " < ",
          ">": " > ", "≤": r" \le ", "≥": r" \ge ", "≠": r" \ne ", "mod": r" \bmod ",
          "and": r" \wedge ", "or": r" \vee ", "←": r" \leftarrow ", "×": r" \times ",
          "·": r" \cdot "}  # fmt: skip
_SPECIAL = {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}


def escaped(name: str) -> str:
    """Text that TeX prints as it is."""
    marked = (_SPECIAL.get(c) or (f"\\{c}" if c in "#$%&_{}" else c) for c in plain(name))
    return "".join(marked)


class Latex:
    """LaTeX with amsmath."""

    stacked = True
    choice = "if", "else"

    def symbol(self, base: str, sub: str, index: str, upright: bool) -> str:
        text = rf"\mathrm{{{escaped(base)}}}" if upright else self.letter(base)
        marks = [m for m in (self.mark(sub), index.replace("′", "'").replace("−", "-")) if m]
        return f"{text}_{{{','.join(marks)}}}" if marks else text

    def mark(self, sub: str) -> str:
        if len(sub) > 1 and not sub.isdecimal():
            return rf"\mathrm{{{escaped(sub)}}}"
        return escaped(sub)

    def partial(self, top: str, bottom: str) -> str:
        return rf"\frac{{\partial {top}}}{{\partial {bottom}}}"

    def number(self, value: Fraction) -> str:
        sign = "-" if value < 0 else ""
        value = abs(value)
        text = decimal(value)
        if "/" in text:
            return rf"{sign}\tfrac{{{value.numerator}}}{{{value.denominator}}}"
        mantissa, power, exponent = repr(float(value)).partition("e")
        if power and not text.isdecimal():
            front = "" if mantissa == "1" else rf"{mantissa} \cdot "
            return f"{sign}{front}10^{{{int(exponent)}}}"
        return sign + text

    def word(self, text: str) -> str:
        return rf"\text{{{escaped(text)}}}"

    def letter(self, text: str) -> str:
        if text in _GREEK:
            return _GREEK[text]
        if len(text.replace("′", "")) > 1:
            return rf"\mathrm{{{escaped(text)}}}"
        return escaped(text.replace("′", "")) + "'" * text.count("′")

    def paren(self, inner: str) -> str:
        return rf"\left({inner}\right)"

    def bracket(self, inner: str) -> str:
        return rf"\left[{inner}\right]"

    def norm(self, inner: str) -> str:
        return rf"\left\lVert {inner} \right\rVert^2"

    def fraction(self, top: str, bottom: str, tight: bool) -> str:
        return f"{top}/{bottom}" if tight else rf"\frac{{{top}}}{{{bottom}}}"

    def power(self, base: str, n: int, entrywise: bool) -> str:
        mark = r"\circ " if entrywise else ""
        return f"{{{base}}}^{{{mark}{n}}}"

    def transpose(self, base: str) -> str:
        return rf"{{{base}}}^{{\top}}"

    def ones(self) -> str:
        return r"\mathbf{1}"

    def op(self, sign: str) -> str:
        return _OPS[sign]

    def join(self, parts: Sequence[str], sign: str) -> str:
        return _JOINS[sign].join(p for p in parts if p)

    def function(self, name: str, prime: bool, args: Sequence[str]) -> str:
        head = _FUNCTIONS.get(name) or rf"\operatorname{{{escaped(name)}}}"
        return rf"{head}{chr(39) if prime else ''}\left({', '.join(args)}\right)"

    def raised(self, base: str, exponent: str) -> str:
        return f"{{{base}}}^{{{exponent}}}"

    def root(self, inner: str) -> str:
        return rf"\sqrt{{{inner}}}"

    def element(self, base: str, indices: Sequence[str]) -> str:
        return rf"{base}[{', '.join(indices)}]"

    def total(self, op: str, under: str, where: str, inner: str) -> str:
        sign = {"sum": r"\sum", "max": r"\max", "min": r"\min"}.get(op)
        sign = sign or rf"\operatorname*{{{escaped(op)}}}"
        low = rf"\substack{{{under} \\ {where}}}" if where else under
        return rf"{sign}_{{{low}}} {inner}"

    def under(self, base: str, shape: str) -> str:
        return rf"\underset{{{shape}}}{{{base}}}" if shape else base

    def matrix(self, rows: Sequence[Sequence[str]]) -> str:
        body = r" \\ ".join(" & ".join(row) for row in rows)
        return rf"\begin{{bmatrix}} {body} \end{{bmatrix}}"

    def cases(self, c: str, a: str, b: str) -> str:
        yes, no = self.choice
        return rf"\begin{{cases}} {a} & \text{{{yes} }} {c} \\ {b} & \text{{{no}}} \end{{cases}}"
