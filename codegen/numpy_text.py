"""PROGRAM -> NumPy text: a module that imports NumPy alone and reads like hand-written code.

In: a valid ``Program``. Out: ``emit`` gives the source of a module: the helpers it uses, constant
data, one function per distinct block and scan body, and one function named like the program, whose
parameters are ``program.arguments`` in order and which returns the outputs (one value alone is
returned bare).

Guarantees: any size of a symbolic dimension works at run time; the dtypes are the program's;
lines have at most 100 characters; equal programs give equal bytes; every valid step has a text
(``codegen.numpy_steps``), the pretty readings are chosen only where they are equal.

    emit -- numpy_prepare       the program as its text is best written
         -- numpy_function      a function's steps, comments, what is inlined
              -- numpy_pieces   zeros filled slice by slice
              -- numpy_readings steps that have a word of NumPy's own: @, cumsum, concatenate
              -- numpy_steps    every step: broadcast, mask, reduce, store
                   -- numpy_bodies   scalar formulas
                   -- numpy_reads    reads, and numpy_views: reshapes, windows, padding
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from math import isfinite

from codegen.functions import helper_source, helpers_needed
from codegen.index import Dim
from codegen.names import RESERVED, Names, comment_safe
from codegen.numpy_function import Body
from codegen.numpy_prepare import prepared
from codegen.numpy_reads import load
from codegen.numpy_values import Scope, numpy_dtype, size
from codegen.printer import (
    WIDTH,
    Attr,
    Bin,
    Expr,
    Item,
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
from codegen.program import Block, Buffer, Dtype, Program, Scan

__all__ = ["emit"]


def emit(program: Program) -> str:
    """The source of a module with one function named ``program.name``."""
    return _Module().text(program)


@dataclass
class _Module:
    """A module while it is written; its names are settled before any function is."""

    helpers: dict[str, None] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)
    names: Names = field(default_factory=lambda: Names((*RESERVED, "sliding_window_view")))
    taken: list[str] = field(default_factory=lambda: [*RESERVED, "sliding_window_view"])
    named: dict[Program, str] = field(default_factory=dict)
    data: dict[tuple[Program, str], str] = field(default_factory=dict)
    sizes: dict[Program, tuple[str, ...]] = field(default_factory=dict)
    functions: list[list[str]] = field(default_factory=list)
    windows: bool = False

    def text(self, program: Program) -> str:
        self.settle(program)
        _, missing = self.function(program)
        if missing:
            raise ValueError(
                f"the size {missing[0]!r} of {program.name!r} cannot be found from the shapes "
                "of its arguments: pass an array that has it as an axis"
            )
        imports = ["import numpy as np"]
        if self.windows:
            imports.append("from numpy.lib.stride_tricks import sliding_window_view")
        parts = ["\n".join([*_header(program), *imports])]
        if self.constants:
            parts.append("\n".join(self.constants))
        parts += [helper_source(h) for h in helpers_needed(self.helpers)]
        parts += ["\n".join(f) for f in self.functions]
        return "\n\n\n".join(parts) + "\n"

    def settle(self, program: Program) -> None:
        """Names of all functions and of constant data: no local name may hide them."""
        if program in self.named:
            return
        self.named[program] = name = self.names(program.name)
        self.taken.append(name)
        for b in program.buffers:
            if b.role == "constant":
                self.data[program, b.name] = name = self.names(b.name)
                self.taken.append(name)
                self.constants += _data(name, b)
        for step in program.steps:
            if isinstance(step, Block | Scan):
                self.settle(step.body)

    def function(self, program: Program) -> tuple[str, tuple[str, ...]]:
        """The name of a program's function, written once, and the sizes it takes besides."""
        if program not in self.sizes:
            self.sizes[program] = self.write(program)
        return self.named[program], self.sizes[program]

    def write(self, original: Program) -> tuple[str, ...]:
        program = prepared(original)
        local_names = Names(self.taken)
        local = {
            b.name: self.data[original, b.name] if b.role == "constant" else local_names(b.name)
            for b in program.buffers
        }
        sizes = {d.name: local_names(d.name) for d in program.dims}
        scope = Scope(program, {b.name: b for b in program.buffers}, local, sizes, self.helpers)
        scope.load, scope.names = load, local_names
        lines = Body(scope, program, self.function).lines()
        self.windows = self.windows or scope.windows
        solved, missing = _solve(scope, program)
        text = []
        if scope.silenced:
            kinds = {k: Num('"ignore"') for k in sorted(scope.silenced)}
            text.append(f"@{flat(call('np.errstate', **kinds))}")
        text += _signature(scope, program, self.named[original], missing)
        text += [f"    {line}" for line in solved]
        text += [""] if solved and lines else []
        self.functions.append([*text, *lines])
        return missing


def _signature(scope: Scope, program: Program, name: str, sizes: tuple[str, ...]) -> list[str]:
    """``def name(...):``; long lists of parameters begin a line with each role."""
    params: list[tuple[str, str]] = [(b.role, scope.local[b.name]) for b in program.arguments]
    params += [("size", scope.sizes[d]) for d in sizes]
    line = f"def {name}({', '.join(p for _, p in params)}):"
    if len(line) <= WIDTH:
        return [line]
    lines, row, last = [f"def {name}("], "   ", ""
    for role, p in params:
        role = "input" if role == "scalar" else role
        if (last and role != last) or len(row) + len(p) + 2 > WIDTH:
            lines.append(row)
            row = "   "
        row, last = f"{row} {p},", role
    return [*lines, row, "):"]


# --- constant data -------------------------------------------------------------------------------


def _data(name: str, buffer: Buffer) -> list[str]:
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


# --- sizes and header ----------------------------------------------------------------------------


def _solve(scope: Scope, program: Program) -> tuple[list[str], tuple[str, ...]]:
    """Lines that find the used dimensions from shapes, and those that no shape tells."""
    wanted = [d.name for d in program.dims if d.name in scope.used_dims]
    shapes = [(b, n, ix) for b in program.arguments for n, ix in enumerate(b.dims) if ix.terms]
    known: dict[str, str] = {}
    while any(d not in known for d in wanted):
        best: tuple[int, str, str] | None = None
        for b, n, ix in shapes:
            unknown = [(a, k) for a, k in ix.terms if not (isinstance(a, Dim) and a.name in known)]
            atom, k = unknown[0] if len(unknown) == 1 else (None, 0)
            if not isinstance(atom, Dim):
                continue
            rest = ix - atom.ix() * k
            extent: Expr = Item(Attr(Name(scope.local[b.name]), "shape"), (integer(n),))
            if rest.terms:
                extent = Bin("-", extent, size(scope, rest))
            elif rest.const:
                extent = Bin("-" if rest.const > 0 else "+", extent, integer(abs(rest.const)))
            if k != 1:
                extent = Bin("//", extent, integer(k))
            rank = (len(ix.terms) > 1) * 4 + (k != 1) * 2 + (ix.const != 0)
            if best is None or rank < best[0]:
                best = (rank, atom.name, flat(extent))
        if best is None:
            break
        known[best[1]] = best[2]
    used = dict.fromkeys((*wanted, *scope.used_dims))  # solving may need others
    lines = [f"{scope.sizes[d]} = {text}" for d, text in known.items() if d in used]
    return lines, tuple(d for d in wanted if d not in known)


def _header(program: Program) -> list[str]:
    """The docstring: what the program's author says, then the dimensions and the dtype."""
    doc = [_doc_line(line) for line in program.doc.strip().splitlines()]
    facts = _facts(program)
    if not doc:
        doc = [f"{program.name}: generated NumPy code."]
    if len(doc) == 1 and not facts:
        return [f'"""{doc[0]}"""', ""]
    return [f'"""{doc[0]}', *doc[1:], *(["", facts] if facts else []), '"""', ""]


def _doc_line(line: str) -> str:
    """A line that cannot end the docstring, its spaces kept."""
    words = [w if w.isspace() else comment_safe(w) for w in re.split(r"( +)", line.rstrip()) if w]
    return comment_safe("".join(words)) if len("".join(words)) > WIDTH else "".join(words)


def _facts(program: Program) -> str:
    """``batch is free; pixel=64, unit=64. float32.``"""
    free = [comment_safe(d.name, 40) for d in program.dims]
    fixed: dict[str, int] = {}
    for b in program.buffers:
        for axis, extent in zip(b.axes, b.dims, strict=True):
            if axis and extent.value is not None:
                fixed.setdefault(comment_safe(axis, 40), extent.value)
    dtype = next((b.dtype for b in program.buffers if b.dtype.startswith("float")), "")
    parts = [f"{', '.join(free)} {'is' if len(free) == 1 else 'are'} free"] if free else []
    parts += [", ".join(f"{k}={v}" for k, v in fixed.items())] if fixed else []
    parts += [dtype] if dtype else []
    text = "; ".join(parts)
    return f"{text}." if text and len(text) < WIDTH else ""
