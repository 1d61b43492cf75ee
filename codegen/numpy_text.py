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

from dataclasses import dataclass, field

from codegen.functions import helper_source, helpers_needed
from codegen.names import RESERVED, Names
from codegen.numpy_function import Body
from codegen.numpy_prepare import prepared
from codegen.numpy_reads import load
from codegen.numpy_rest import Rest, rest_of
from codegen.numpy_values import Scope, size
from codegen.polynomial import Poly
from codegen.printer import (
    WIDTH,
    Attr,
    Bin,
    Expr,
    Item,
    Name,
    Num,
    call,
    flat,
    integer,
)
from codegen.program import Block, Program, Scan
from codegen.sizes import found_sizes
from codegen.text_module import constant_data, header, memory

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
    bytes_of: dict[Program, Poly] = field(default_factory=dict)  # of a call, for each function
    windows: bool = False
    main: Program | None = None

    def text(self, program: Program) -> str:
        self.main = program
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
        said = program.doc.strip() or f"{program.name}: generated NumPy code."
        doc = f"{said}\n{memory(self.bytes_of[program], program.arguments, most=True)}"
        head = header(program.name, doc, program.dims, program.buffers, "NumPy")
        parts = ["\n".join([*head, *imports])]
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
                self.constants += constant_data(name, b)
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
        main = original is self.main
        rest = rest_of(program, local_names) if main else None
        body = Body(scope, program, self.function, self.bytes_of, main, rest)
        lines = body.lines()
        self.bytes_of[original] = body.memory
        self.windows = self.windows or scope.windows
        solved, missing = _solve(scope, program)
        text = []
        if scope.silenced:
            kinds = {k: Num('"ignore"') for k in sorted(scope.silenced)}
            text.append(f"@{flat(call('np.errstate', **kinds))}")
        text += _signature(scope, program, self.named[original], missing, rest)
        solved += rest.named(local) if rest else []
        text += [f"    {line}" for line in solved]
        text += [""] if solved and lines else []
        self.functions.append([*text, *lines])
        return missing


def _signature(
    scope: Scope,
    program: Program,
    name: str,
    sizes: tuple[str, ...],
    rest: Rest | None,
) -> list[str]:
    """``def name(...):``; long lists of parameters begin a line with each role."""
    arguments = [b for b in program.arguments if rest is None or b.name not in rest.place]
    params: list[tuple[str, str]] = [(b.role, scope.local[b.name]) for b in arguments]
    params += [("size", scope.sizes[d]) for d in sizes]
    params += [("rest", f"*{rest.name}")] if rest else []
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


# --- sizes ---------------------------------------------------------------------------------------


def _solve(scope: Scope, program: Program) -> tuple[list[str], tuple[str, ...]]:
    """Lines that find the used dimensions from shapes, and those that no shape tells."""
    wanted = [d.name for d in program.dims if d.name in scope.used_dims]
    found, missing = found_sizes(program.arguments, wanted)
    known: dict[str, str] = {}
    for f in found:
        extent: Expr = Item(Attr(Name(scope.local[f.array]), "shape"), (integer(f.axis),))
        if f.rest.terms:
            extent = Bin("-", extent, size(scope, f.rest))
        elif f.rest.const:
            extent = Bin("-" if f.rest.const > 0 else "+", extent, integer(abs(f.rest.const)))
        if f.factor != 1:
            extent = Bin("//", extent, integer(f.factor))
        known[f.dim] = flat(extent)
    used = dict.fromkeys((*wanted, *scope.used_dims))  # solving may need others
    return [f"{scope.sizes[d]} = {text}" for d, text in known.items() if d in used], missing
