"""Loops as text: what a schedule is read from, and what golden files of nests hold.

In: a Loops. Out: lines of about 100 characters at most:

    loops step(batch)
      input      x : float32[batch, pixel=64]
      parameter  weight : float32[digit=10, pixel=64]   "logits.weight"
      scratch    logits : float32[batch, digit=10]

      # logits = x W^T
      part logits:
        for batch:
          for i - 3 <= digit < min(10, batch + 1):
            acc : float32 = 0
            for pixel<64:
              acc += x[batch, pixel] * weight[digit, pixel]
            logits[batch, digit] = acc

      return logits

    kernel dense(batch; t)
      reads      ...

    schedule
      Vectorise("logits", "digit")

``for batch:`` runs over all of ``batch``, whose size is ``size(batch)`` inside; ``unroll``,
``vector`` and ``parallel`` stand in place of ``for``. ``where`` guards statements, ``{guard}``
after an index a read (0 where it fails). A name with a colon is storage of its own until the
indentation ends. What follows ``;`` are integers.

Guarantees: deterministic; it shows everything but origins, so two nests that print alike do alike.
Not meant to be parsed, and no backend reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields
from itertools import pairwise

from codegen.index import Dim, Ix, Loop, nonneg
from codegen.listing import (
    spell_axes,
    spell_buffer,
    spell_dims,
    spell_doc,
    spell_guard,
    spell_ix,
    spell_scalar,
    wrap,
)
from codegen.loops.directives import Directive
from codegen.loops.nest import Call, Declare, For, Kernel, Loops, Part, Stmt, Store, When
from codegen.names import comment_safe

__all__ = ["bound_names", "listing", "spell_directive", "spell_for"]

Names = dict[Loop | Dim, str]

_WORDS = {"serial": "for", "unroll": "unroll", "vector": "vector", "parallel": "parallel"}


def listing(loops: Loops) -> str:
    """The nests as text, with a final newline: the body, the kernels, the schedule so far."""
    lines = list(_loops(loops))
    for kernel in loops.kernels:
        lines += ["", *_kernel(kernel)]
    if loops.schedule:
        lines += ["", "schedule"]
    for directive in loops.schedule:
        lines += wrap("  " + spell_directive(directive))
    return "\n".join(lines) + "\n"


def _loops(loops: Loops) -> Iterator[str]:
    yield f"loops {loops.name}({spell_dims(loops.dims)})"
    yield from _comment(loops.doc)
    for b in loops.arrays:
        yield from wrap("  " + spell_buffer(b))
    yield from _spaced(loops.body, {})
    yield ""
    yield from wrap(f"  return {', '.join(loops.outputs)}".rstrip())


def _comment(doc: str) -> Iterator[str]:
    if doc:
        yield from (f"  # {line}".rstrip() for line in spell_doc(doc))


def _kernel(kernel: Kernel) -> Iterator[str]:
    pairs = list(zip(kernel.integers, kernel.names, strict=True))
    names: Names = dict(pairs)
    integers = [_range(loop, name, names) for loop, name in pairs]
    given = spell_dims(kernel.dims) + (f"; {', '.join(integers)}" if integers else "")
    yield f"kernel {kernel.name}({given})"
    yield from _comment(kernel.doc)
    for b in kernel.arrays:
        mark = "writes" if b.name in kernel.writes else "reads"
        yield from wrap(f"  {mark:<9}  {spell_buffer(b)[11:]}")
    for b in kernel.scratch:
        yield from wrap("  " + spell_buffer(b))
    yield from _spaced(kernel.body, names)


def spell_directive(directive: Directive) -> str:
    """A directive as a user writes it: ``Split("logits", "unit", size=16)``."""
    words = []
    for f in fields(directive):
        value = getattr(directive, f.name)
        if f.default is MISSING:
            words.append(_literal(value))
        elif value != f.default:
            words.append(f"{f.name}={_literal(value)}")
    return f"{type(directive).__name__}({', '.join(words)})"


def _literal(value: object) -> str:
    if isinstance(value, str):
        return f'"{comment_safe(value, 80)}"'
    if isinstance(value, tuple):
        inside = ", ".join(map(_literal, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    return repr(value)


def _spaced(stmts: Sequence[Stmt], names: Names) -> Iterator[str]:
    """The statements of a whole body, with a blank line before each part."""
    around = [0, *(n for n, s in enumerate(stmts) if n and isinstance(s, Part)), len(stmts)]
    for start, stop in pairwise(around):
        if stop > start:
            yield ""
            yield from _body(stmts[start:stop], "  ", names)


def _body(stmts: Sequence[Stmt], indent: str, names: Names) -> Iterator[str]:
    """Statements; a register and its first value share a line."""
    register: Declare | None = None
    for n, stmt in enumerate(stmts):
        after = stmts[n + 1] if n + 1 < len(stmts) else None
        if isinstance(stmt, Declare) and _starts(stmt, after):
            register = stmt
        elif register is not None and isinstance(stmt, Store):
            left = f"{stmt.target} : {spell_axes(register.array)}"
            yield from wrap(f"{indent}{left} = {spell_scalar(stmt.value, names)}")
            register = None
        else:
            yield from _stmt(stmt, indent, names)


def _starts(declared: Declare, stmt: Stmt | None) -> bool:
    """Whether a statement gives a register that was just declared its first value."""
    array = declared.array
    return (
        isinstance(stmt, Store) and stmt.target == array.name and stmt.op == "=" and not array.dims
    )


def _stmt(stmt: Stmt, indent: str, names: Names) -> Iterator[str]:
    inner = indent + "  "
    match stmt:
        case Part():
            if stmt.formula:
                yield from wrap(f"{indent}# {comment_safe(stmt.formula)}", comment=True)
            yield f"{indent}part {comment_safe(stmt.name, 80)}:"
            yield from _body(stmt.body, inner, names)
        case For():
            yield from wrap(f"{indent}{spell_for(stmt, names)}:")
            yield from _body(stmt.body, inner, bound_names(names, stmt))
        case When():
            guards = " and ".join(spell_guard(g, names) for g in stmt.guards)
            yield from wrap(f"{indent}where {guards}:")
            yield from _body(stmt.body, inner, names)
        case Declare(array):
            yield from wrap(f"{indent}{array.name} : {spell_axes(array)}")
        case Store():
            place = ", ".join(spell_ix(ix, names) for ix in stmt.index)
            left = f"{stmt.target}[{place}]" if stmt.index else stmt.target
            yield from wrap(f"{indent}{left} {stmt.op} {spell_scalar(stmt.value, names)}")
        case Call():
            integers = ", ".join(spell_ix(ix, names) for ix in stmt.integers)
            given = ", ".join(stmt.arguments) + (f"; {integers}" if integers else "")
            yield from wrap(f"{indent}{stmt.kernel}({given})")


def bound_names(names: Names, stmt: For) -> Names:
    """The names inside of a loop: a dimension that it is called after is ``size(batch)`` there."""
    known = {**names, stmt.loop: stmt.name}
    for atom in stmt.loop.extent.atoms():
        if isinstance(atom, Dim) and atom.name == stmt.name:
            known[atom] = f"size({atom.name})"
    return known


def spell_for(stmt: For, names: Names) -> str:
    """The head of a loop without its colon: ``vector lane<16``, ``for i - 3 <= j < min(64, i)``."""
    word = _WORDS[stmt.kind]
    if not stmt.low and not stmt.high:
        return f"{word} {_range(stmt.loop, stmt.name, names)}"
    low = [spell_ix(ix, names) for ix in stmt.low]
    if not any(map(nonneg, stmt.low)):
        low = ["0", *low]
    high = [spell_ix(ix, names) for ix in (stmt.loop.extent, *stmt.high)]
    first = "" if low == ["0"] else f"{_among('max', low)} <= "
    return f"{word} {first}{stmt.name} < {_among('min', high)}"


def _among(choice: str, words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{choice}({', '.join(words)})"


def _range(loop: Loop, name: str, names: Names) -> str:
    """``batch`` where the name says the extent, else ``pixel<64``."""
    extent: Ix = loop.extent
    text = spell_ix(extent, names)
    return name if name == text else f"{name}<{text}"
