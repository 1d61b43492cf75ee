"""What the text backends share around their functions: a module's docstring, the dividers between
the sections of a function, constant data.

In: a program; a section; a buffer of role constant. Out: lines of Python text.

Guarantees: text of the user stands inside the docstring and cannot end it; data reads back as it
was; lines have at most 100 characters; nothing here depends on when or where it runs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from fractions import Fraction
from math import isfinite

from codegen.index import Dim
from codegen.names import comment_safe
from codegen.numpy_comments import wrapped
from codegen.numpy_values import numpy_dtype
from codegen.polynomial import Poly, added, buffer_bytes, spelled
from codegen.printer import (
    WIDTH,
    Attr,
    Expr,
    Name,
    Num,
    Seq,
    Un,
    call,
    flat,
    integer,
    layout,
    number,
)
from codegen.program import Buffer, Dtype, Section

__all__ = ["constant_data", "divider", "first", "header", "memory"]


def header(
    name: str, doc: str, dims: Sequence[Dim], buffers: Sequence[Buffer], kind: str
) -> list[str]:
    """The docstring: what the program's author says, then the dimensions and the dtype."""
    lines = [_doc_line(line) for line in doc.strip().splitlines()]
    facts = _facts(dims, buffers)
    if not lines:
        lines = [f"{name}: generated {kind} code."]
    if len(lines) == 1 and not facts:
        return [f'"""{lines[0]}"""', ""]
    return [f'"""{lines[0]}', *lines[1:], *(["", facts] if facts else []), '"""', ""]


def _doc_line(line: str) -> str:
    """A line that cannot end the docstring, its spaces kept."""
    words = [w if w.isspace() else comment_safe(w) for w in re.split(r"( +)", line.rstrip()) if w]
    return comment_safe("".join(words)) if len("".join(words)) > WIDTH else "".join(words)


def _facts(dims: Sequence[Dim], buffers: Sequence[Buffer]) -> str:
    """``batch is free; pixel=64, unit=64. float32.``"""
    free = [comment_safe(d.name, 40) for d in dims]
    fixed: dict[str, int] = {}
    for b in buffers:
        for axis, extent in zip(b.axes, b.dims, strict=True):
            if axis and extent.value is not None:
                fixed.setdefault(comment_safe(axis, 40), extent.value)
    dtype = next((b.dtype for b in buffers if b.dtype.startswith("float")), "")
    parts = [f"{', '.join(free)} {'is' if len(free) == 1 else 'are'} free"] if free else []
    parts += [", ".join(f"{k}={v}" for k, v in fixed.items())] if fixed else []
    parts += [dtype] if dtype else []
    text = "; ".join(parts)
    return f"{text}." if text and len(text) < WIDTH else ""


def memory(own: Poly, arguments: Sequence[Buffer], most: bool = False) -> str:
    """The line that says how much memory a call takes: its own, and what it is handed; put the
    sizes for their names.

    ``most``: the first is a bound, not an exact sum.
    """
    handed = spelled(added(map(buffer_bytes, arguments)))
    bound = "at most " if most else ""
    text = f"memory: {bound}{spelled(own)} bytes, beside {handed} bytes of arguments"
    return "\n".join(wrapped(text, ""))


_ORDER: tuple[Section, ...] = ("forward", "backward", "update")
_SECTIONS = {
    "forward": "forward",
    "backward": "backward: derivatives",
    "update": "update: states and parameters, in place",
}


def first(kinds: Sequence[Section], section: Section) -> int:
    """Where a section begins for good: from there on none before it stands."""
    earlier = _ORDER[: _ORDER.index(section)]
    return max((k + 1 for k, kind in enumerate(kinds) if kind in earlier), default=0)


def divider(sections: Collection[str], pad: str, saved: Sequence[str] = ()) -> list[str]:
    """The comment where a section begins, or loops that carry out several; ``saved`` are the
    forward values that the backward part reads."""
    several = [s for s in _ORDER if s in sections]
    text = _SECTIONS[several[0]]
    if len(several) > 1:
        text = f"{', '.join(several[:-1])} and {several[-1]}, in the same loops"
    lines = [f"{pad}# --- {text} ---"]
    if saved:
        text = f"saved for the backward part: {', '.join(saved)}"
        lines += [f"{pad}# {line}" for line in wrapped(text, "", WIDTH + 4 - len(pad))]
    return [*lines, ""]


def constant_data(name: str, buffer: Buffer) -> list[str]:
    """Constant data as an array."""
    shape = tuple(d.value or 0 for d in buffer.dims)
    values = tuple(_entry(v, buffer.dtype) for v in buffer.data or ())
    dtype = numpy_dtype(buffer.dtype)
    made: Expr = call("np.array", Seq("[", values) if shape else values[0], dtype)
    if len(shape) > 1:
        made = call(Attr(made, "reshape"), *map(integer, shape))
    lines = layout(f"{name} = ", made, indent=0)
    if len(lines) <= 3:
        return lines
    lines, line = [], f"{name} ="
    for word in flat(made).split(" "):
        if len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = "   "
        line += " " + word
    return [*lines, line]


def _entry(v: float, dtype: Dtype) -> Expr:
    if dtype == "bool":
        return Name(str(bool(v)))
    if isinstance(v, float) and not isfinite(v):
        return number("nan" if v != v else "inf" if v > 0 else "-inf", dtype)
    if v == 0 and str(v).startswith("-"):
        return Un("-", Num("0.0"))
    return number(Fraction(v), dtype)
