"""The expression printer of the text backends: one precedence table, line breaking, numbers.

In: a tree of ``codegen.expressions`` (``Name("np.exp")`` may be dotted).
Out: ``flat`` gives the text on one line, ``layout`` the text of a statement broken to a width,
``number`` the shortest literal of an exact number in a dtype.

Guarantees: parentheses stand exactly where precedence or association needs them, so parsing the
text gives the tree back (operands are never regrouped: rounding is the caller's order); breaking
lines changes no token but adds enclosing parentheses; equal trees print equal bytes.

It does not simplify, and knows nothing of buffers, loops or NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import inf
from typing import Literal

import numpy as np

from codegen.expressions import (
    ALL,
    NONE,
    Attr,
    Bin,
    CallE,
    Cmp,
    Expr,
    IfE,
    Item,
    Name,
    Num,
    Seq,
    SliceE,
    Un,
    call,
    integer,
    mapped,
    method,
    parts,
    sequence,
    substituted,
)

__all__ = [
    "ALL",
    "NONE",
    "PRECEDENCE",
    "WIDTH",
    "Attr",
    "Bin",
    "CallE",
    "Cmp",
    "Expr",
    "IfE",
    "Item",
    "Name",
    "Num",
    "Seq",
    "SliceE",
    "Un",
    "call",
    "filled",
    "flat",
    "integer",
    "layout",
    "literal",
    "mapped",
    "method",
    "number",
    "parts",
    "sequence",
    "strength",
    "substituted",
]

WIDTH = 100
MANY, SHORT = 6, 24  # so many items, each no longer: several to a line

# Binding strength of the operators, loosest first; postfix and atoms bind tightest.
PRECEDENCE = {
    "if": 0,
    "or": 1,
    "and": 2,
    "not ": 3,
    **dict.fromkeys(("<", "<=", "==", "!=", ">", ">="), 4),
    "|": 5,
    "^": 6,
    "&": 7,
    **dict.fromkeys(("<<", ">>"), 8),
    **dict.fromkeys(("+", "-"), 9),
    **dict.fromkeys(("*", "/", "//", "%", "@"), 10),
    "unary": 11,
    "**": 12,
    "postfix": 13,
    "atom": 14,
}


def strength(e: Expr) -> int:
    """How tightly the outermost operation of ``e`` binds."""
    if isinstance(e, Bin | Cmp):
        return PRECEDENCE[e.op]
    if isinstance(e, Un):
        return PRECEDENCE["not " if e.op == "not " else "unary"]
    if isinstance(e, IfE):
        return PRECEDENCE["if"]
    if isinstance(e, CallE | Attr | Item):
        return PRECEDENCE["postfix"]
    return PRECEDENCE["atom"]


def _needs(e: Bin | Cmp | Un | IfE | Attr | Item | CallE, side: str, x: Expr) -> bool:
    """Whether operand ``x`` on ``side`` of ``e`` stands in parentheses."""
    inner = strength(x)
    if isinstance(e, Un):
        return inner < strength(e)
    if isinstance(e, IfE):
        return inner == strength(e) and side != "right"
    if isinstance(e, Cmp):
        return inner <= PRECEDENCE[e.op]
    if isinstance(e, Bin):
        own = PRECEDENCE[e.op]
        if e.op == "**":
            return inner <= own if side == "left" else inner < PRECEDENCE["unary"]
        return inner < own if side == "left" else inner <= own
    if isinstance(x, Num) and isinstance(e, Attr):  # 2 .real would parse badly
        return True
    return inner < PRECEDENCE["postfix"]


def _side(e: Bin | Cmp | Un | IfE | Attr | Item | CallE, side: str, x: Expr) -> str:
    return f"({flat(x)})" if _needs(e, side, x) else flat(x)


def _slice(e: SliceE) -> str:
    simple = all(p is None or isinstance(p, Name | Num | Un) for p in (e.start, e.stop, e.step))
    colon = ":" if simple else " : "
    start = "" if e.start is None else flat(e.start)
    stop = "" if e.stop is None else flat(e.stop)
    text = f"{start}{colon}{stop}"
    if e.step is not None:
        text += f"{':' if simple or not stop else ' : '}{flat(e.step)}"
    return text.strip()


@lru_cache(maxsize=65536)
def flat(e: Expr) -> str:
    """The expression on one line."""
    match e:
        case Name(text) | Num(text):
            return text
        case Un(op, x):
            return op + _side(e, "right", x)
        case Bin("**", left, right):
            return f"{_side(e, 'left', left)}**{_side(e, 'right', right)}"
        case Bin(op, left, right) | Cmp(op, left, right):
            return f"{_side(e, 'left', left)} {op} {_side(e, 'right', right)}"
        case IfE(condition, then, other):
            start = f"{_side(e, 'left', then)} if {_side(e, 'middle', condition)}"
            return f"{start} else {_side(e, 'right', other)}"
        case CallE(function, args, keywords):
            items = [flat(a) for a in args] + [f"{k}={flat(v)}" for k, v in keywords]
            return f"{_side(e, 'left', function)}({', '.join(items)})"
        case Attr(base, name):
            return f"{_side(e, 'left', base)}.{name}"
        case Item(base, items_):
            return f"{_side(e, 'left', base)}[{', '.join(flat(i) for i in items_)}]"
        case Seq("(", (only,)):
            return f"({flat(only)},)"
        case Seq(kind, items_):
            return f"{kind}{', '.join(flat(i) for i in items_)}{')' if kind == '(' else ']'}"
        case SliceE():
            return _slice(e)


def _chain(e: Bin) -> list[tuple[str, Expr, bool]]:
    """The operands of a chain of one precedence: (operator before it, operand, parentheses)."""
    out: list[tuple[str, Expr, bool]] = []
    x: Expr = e
    while isinstance(x, Bin) and PRECEDENCE[x.op] == PRECEDENCE[e.op] and x.op != "**":
        out.append((x.op, x.right, _needs(x, "right", x.right)))
        last, x = x, x.left
    out.append(("", x, _needs(last, "left", x)))
    return out[::-1]


def layout(head: str, e: Expr, tail: str = "", indent: int = 4, width: int = WIDTH) -> list[str]:
    """The lines of ``head`` + expression + ``tail``; ``indent`` is the depth of continuation.

    ``head`` carries its own indentation. Breaks come outermost first: at operators inside
    parentheses, after opening brackets.
    """
    return _lines(e, head, tail, indent, width, False)


def filled(pad: str, words: Sequence[str], width: int = WIDTH) -> list[str]:
    """Words with commas, as many to a line as fit."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(word) + 2 <= width:
            lines[-1] += f" {word},"
        else:
            lines.append(f"{pad}{word},")
    return lines


def _lines(e: Expr, head: str, tail: str, indent: int, width: int, inside: bool) -> list[str]:
    whole = head + flat(e) + tail
    if len(whole) <= width:
        return [whole]
    pad, close = " " * (indent + 4), " " * indent

    def bracket(opener: str, parts: list[tuple[str, Expr]], closer: str) -> list[str]:
        alone = len(parts) == 1
        end = "," if alone and opener == "(" else ""  # the comma makes it a tuple
        together = pad + ", ".join(k + flat(v) for k, v in parts) + end
        if len(together) <= width:
            return [head + opener, together, close + closer + tail]
        lines = [head + opener]
        words = all(isinstance(v, Name) for _, v in parts)
        if len(parts) > MANY and (words or all(len(k + flat(v)) <= SHORT for k, v in parts)):
            return [
                *lines,
                *filled(pad, [k + flat(v) for k, v in parts], width),
                close + closer + tail,
            ]
        for k, v in parts:
            after = end if alone and not opener.endswith("(") else ","
            lines += _lines(v, pad + k, after, indent + 4, width, True)
        return [*lines, close + closer + tail]

    match e:
        case CallE(function, args, keywords):
            parts = [("", a) for a in args] + [(f"{k}=", v) for k, v in keywords]
            rest = "(" + ", ".join(k + flat(v) for k, v in parts) + ")"
            if isinstance(function, Attr) and len(flat(function.base)) > len(rest):
                return _lines(function, head, rest + tail, indent, width, inside)
            return bracket(_side(e, "left", function) + "(", parts, ")")
        case Attr(base, name):
            if isinstance(base, Item | CallE | Attr):
                return _lines(base, head, f".{name}{tail}", indent, width, inside)
            inner = _lines(base, pad, "", indent + 4, width, True)
            return [head + "(", *inner, f"{close}).{name}{tail}"]
        case Item(base, items):
            text = "[" + ", ".join(flat(i) for i in items) + "]"
            if len(flat(base)) > len(text):
                if isinstance(base, Item | CallE | Attr):
                    return _lines(base, head, text + tail, indent, width, inside)
                inner = _lines(base, pad, "", indent + 4, width, True)
                return [head + "(", *inner, f"{close}){text}{tail}"]
            return bracket(_side(e, "left", base) + "[", [("", i) for i in items], "]")
        case Seq(kind, items):
            return bracket(kind, [("", i) for i in items], ")" if kind == "(" else "]")
        case Bin(op) if op != "**":
            return _broken(
                [(o + " " if o else "", x, p) for o, x, p in _chain(e)],
                head,
                tail,
                indent,
                width,
                inside,
            )
        case Bin("**", left, right):
            rest = f"**{_side(e, 'right', right)}{tail}"
            if not _needs(e, "left", left):
                return _lines(left, head, rest, indent, width, inside)
            inner = _lines(left, pad, "", indent + 4, width, True)
            return [head + "(", *inner, close + ")" + rest]
        case Cmp(op, left, right):
            operands = [
                ("", left, _needs(e, "left", left)),
                (op + " ", right, _needs(e, "right", right)),
            ]
            return _broken(operands, head, tail, indent, width, inside)
        case IfE(condition, then, other):
            operands = [
                ("", then, _needs(e, "left", then)),
                ("if ", condition, _needs(e, "middle", condition)),
                ("else ", other, _needs(e, "right", other)),
            ]
            return _broken(operands, head, tail, indent, width, inside)
        case Un(op, x):
            if _needs(e, "right", x):
                inner = _lines(x, pad, "", indent + 4, width, True)
                return [head + op + "(", *inner, close + ")" + tail]
            return _lines(x, head + op, tail, indent, width, inside)
        case _:
            return [whole]


def _broken(
    operands: list[tuple[str, Expr, bool]],
    head: str,
    tail: str,
    indent: int,
    width: int,
    inside: bool,
) -> list[str]:
    """A chain, an operand a line; in parentheses unless brackets already enclose it."""
    depth = indent if inside else indent + 4
    pad = " " * depth
    lines = [] if inside else [head + "("]
    for n, (op, x, parens) in enumerate(operands):
        start = (head if inside and n == 0 else pad) + op
        end = tail if inside and n == len(operands) - 1 else ""
        if parens and len(start) + len(flat(x)) + 2 + len(end) > width:
            inner = _lines(x, pad + "    ", "", depth + 4, width, True)
            lines += [start + "(", *inner, pad + ")" + end]
        elif parens:
            lines.append(f"{start}({flat(x)}){end}")
        else:
            lines += _lines(x, start, end, depth, width, True)
    return lines if inside else [*lines, " " * indent + ")" + tail]


# --- numbers -------------------------------------------------------------------------------------


def nearest32(value: Fraction) -> np.float32:
    """The float32 nearest to an exact number (rounded once)."""
    with np.errstate(over="ignore"):
        first = np.float32(float(value))
        near = (first, np.nextafter(first, np.float32(-inf)), np.nextafter(first, np.float32(inf)))
    finite = [c for c in near if np.isfinite(c)]
    if not np.isfinite(first) or not finite:
        return first
    return min(finite, key=lambda c: (abs(Fraction(float(c)) - value), c != first))


def _digits(text: str) -> str:
    """A float literal without padding: 1e-08 -> 1e-8, 1e+20 -> 1e20."""
    if "e" in text:
        mantissa, exponent = text.split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return text


@lru_cache(maxsize=4096)
def literal(value: Fraction, dtype: str) -> str:
    """The shortest text that reads back as ``value`` rounded to ``dtype`` (value >= 0)."""
    if value.denominator == 1 and value < 2**31:
        return str(value.numerator)
    if dtype == "float32":
        rounded = nearest32(value)
        text = _digits(np.format_float_positional(rounded, trim="0", unique=True))
        if not 1e-4 <= rounded < 1e16:
            text = _digits(np.format_float_scientific(rounded, trim="-", unique=True))
        return text if np.float32(float(text)) == rounded else _digits(repr(float(rounded)))
    if value.denominator == 1 and not dtype.startswith("float"):
        return str(value.numerator)
    try:
        return _digits(repr(float(value)))
    except OverflowError:
        return "np.inf"


def number(value: Fraction | Literal["inf", "-inf", "nan"], dtype: str) -> Expr:
    """The literal of an exact number in a dtype."""
    if value == "nan":
        return Name("np.nan")
    if value == "inf":
        return Name("np.inf")
    if value == "-inf":
        return Un("-", Name("np.inf"))
    text = literal(abs(value), dtype)
    body: Expr = Name(text) if text.startswith("np") else Num(text)
    if "inf" in text and not text.startswith("np"):
        body = Name("np.inf")
    return Un("-", body) if value < 0 else body
