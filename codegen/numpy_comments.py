"""Formulas in comments of NumPy text: index notation where none is given, merging, line breaks.

In: steps, or formulas as ``name = value``. Out: text for comments, safe to print.
"""

from __future__ import annotations

import re

from codegen.classify import output_loops
from codegen.listing import spell_guard, spell_ix, spell_scalar
from codegen.names import comment_safe
from codegen.printer import WIDTH
from codegen.program import Assign, Binary, IndexValue, Load, Select, walk

__all__ = ["merged", "notation", "says_all", "wrapped"]


def notation(step: Assign) -> str:
    """A step in index notation, for the comment of a value that came without a formula."""
    names = dict(zip(step.loops, step.names, strict=True))
    place = ", ".join(spell_ix(ix, names) for ix in step.index)
    inner = [names[v] for v in step.loops if v not in output_loops(step)]
    text = spell_scalar(step.body, names)
    if inner:
        plain = not (isinstance(step.body, Binary) and step.body.op in ("+", "-"))
        text = f"{step.op}_{{{', '.join(inner)}}} {text if plain else f'({text})'}"
    where = " and ".join(spell_guard(g, names) for g in step.guards)
    left = f"{step.target}[{place}]" if place else step.target
    mark = "+=" if step.op == "sum" and not inner else "="
    return f"{left} {mark} {text}{f' where {where}' if where else ''}"


def says_all(step: Assign) -> bool:
    """Whether the code of a step is its formula: a map of elements at the same place."""
    return (
        step.op == "="
        and not step.guards
        and all(ix.atom is not None for ix in step.index)
        and all(
            not s.guards and (s.indices == step.index or not s.indices)
            if isinstance(s, Load)
            else not isinstance(s, IndexValue | Select)
            for s in walk(step.body)
        )
    )


_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?![\w.])")


def merged(inner: str, outer: str) -> str:
    """Two formulas as one: the value of the first put where the second names it."""
    name, _, value = inner.partition(" = ")
    if not value or name not in outer:
        return outer

    def put(found: re.Match[str]) -> str:
        if found[0] != name:
            return found[0]
        before, after = outer[: found.start()].rstrip(), outer[found.end() :].lstrip()
        alone = before[-1:] in ("=", "(", "") and after[:1] in ("", ")", ",")
        added = before[-1:] in ("=", "(", ",", "+") and after[:1] in ("", ")", ",", "+", "-")
        product = not any(mark in value for mark in (" + ", " - ", " where "))
        return value if alone or " " not in value or (added and product) else f"({value})"

    return _NAME.sub(put, outer)


def wrapped(text: str, tail: str, width: int = WIDTH) -> list[str]:
    """A long formula broken at its spaces, the axes after its last line."""
    lines, line = [], ""
    for word in comment_safe(text).split(" "):
        if len(line) + len(word) + 7 > width and line:
            lines.append(line)
            line = "    " + word
        else:
            line = f"{line} {word}" if line else word
    if len(line) + len(tail) + 9 > width:
        return [*lines, line, f"    {tail}"] if tail else [*lines, line]
    return [*lines, f"{line}   {tail}".rstrip()]
