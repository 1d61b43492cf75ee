"""LOOPS -> Numba text: a module of ``@njit`` functions, plain loops that a reader can follow.

In: a valid ``Program``, or its ``Loops``. Out: ``emit`` gives the source of a module: the header,
the types of its arguments, constant data, the helpers it uses, a function for each kernel, and one
named like the program, whose parameters are ``program.arguments`` in order (arrays, of rank 0 too)
and which returns the outputs (one alone is returned bare), arrays all.

Guarantees: any size of a symbolic dimension works at run time, 0 too; dtypes are the program's
(``codegen.numba_scalars``); sums run in the order of the nest: no fast-math, no contraction, no
reordering by the compiler; a matrix product is loops as well (what was measured, and what was not
taken, stands in ``codegen.numba_blocks``). Types are explicit, so that everything is compiled when
the module is built, and never again; an array that is only read may be a read-only one. Lines have
at most 100 characters; equal programs give equal bytes.

    emit -- codegen.loops       nests, and the default schedule on them
         -- numba_blocks        sums in memory, eight terms at a time
         -- numba_kernels       parts that do the same, as one function
         -- numba_statements    loops, stores, allocation, calls
              -- numba_scalars  formulas of numbers, indices, guards
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from codegen import numba_helpers
from codegen.functions import NUMBA_HELPERS, helper_source, helpers_needed
from codegen.index import Loop
from codegen.loops import default
from codegen.loops.from_program import from_program
from codegen.loops.nest import Call, Declare, Kernel, Loops, Stmt
from codegen.loops.walk import inside, written_names
from codegen.names import RESERVED, Names
from codegen.numba_blocks import blocked, carried, rests
from codegen.numba_kernels import shared
from codegen.numba_scalars import Scope, index
from codegen.numba_statements import Body
from codegen.polynomial import added, buffer_bytes, spelled
from codegen.printer import (
    WIDTH,
    Attr,
    Bin,
    Expr,
    Item,
    Name,
    Seq,
    call,
    filled,
    flat,
    integer,
    layout,
)
from codegen.program import Buffer, Dtype, Program
from codegen.sizes import found_sizes
from codegen.text_module import constant_data, header

__all__ = ["emit", "emit_loops", "scheduled"]

_DTYPES = ("float32", "float64", "int32", "int64", "uint32", "uint64")
_TAKEN = (*RESERVED, *NUMBA_HELPERS, "math", "njit", "types", *_DTYPES)


def scheduled(program: Program) -> Loops:
    """The nests that the text is printed from."""
    return shared(blocked(default.scheduled(from_program(program))))


def emit(program: Program) -> str:
    """The source of a module with one function named ``program.name``."""
    return emit_loops(scheduled(program))


def emit_loops(loops: Loops) -> str:
    """The same for nests under any schedule."""
    return _Module(loops).text()


@dataclass(frozen=True)
class _Function:
    """What the main function and a kernel have in common."""

    name: str
    dims: tuple[str, ...]
    arguments: tuple[Buffer, ...]
    writes: tuple[str, ...]
    scratch: tuple[Buffer, ...]
    body: tuple[Stmt, ...]
    outputs: tuple[str, ...] = ()
    integers: tuple[Loop, ...] = ()
    names: tuple[str, ...] = ()  # of the integers


def _main(loops: Loops) -> _Function:
    marks = {k.name: tuple(b.name in k.writes for b in k.arrays) for k in loops.kernels}
    return _Function(
        loops.name,
        tuple(d.name for d in loops.dims),
        loops.arguments,
        tuple(written_names(loops.body, marks)),
        tuple(b for b in loops.arrays if b.role == "scratch"),
        loops.body,
        loops.outputs,
    )


def _kernel(kernel: Kernel) -> _Function:
    return _Function(
        kernel.name,
        tuple(d.name for d in kernel.dims),
        kernel.arrays,
        kernel.writes,
        tuple(b for b in kernel.scratch if b.role == "scratch"),
        kernel.body,
        (),
        kernel.integers,
        kernel.names,
    )


class _Module:
    """A module while it is written; its names are settled before any function is."""

    def __init__(self, loops: Loops) -> None:
        self.loops = loops
        self.names = Names(_TAKEN)
        stored = (loops.arrays, *(k.scratch for k in loops.kernels))
        self.constants = [b for arrays in stored for b in arrays if b.role == "constant"]
        called = [loops.name, *(k.name for k in loops.kernels), *(b.name for b in self.constants)]
        self.local = {name: self.names(name) for name in called}
        self.taken = (*_TAKEN, *self.local.values())
        self.types: dict[tuple[Dtype, int, bool], str] = {}
        self.helpers: dict[tuple[str, Dtype], None] = {}
        self.given: dict[str, tuple[str, ...]] = {}

    def text(self) -> str:
        loops = self.loops
        functions = [self.function(_kernel(k)) for k in loops.kernels]
        functions.append(self.function(_main(loops)))
        data = [line for b in self.constants for line in constant_data(self.local[b.name], b)]
        blocks = [*self.helper_texts(), *functions]
        kinds = self.type_lines()
        head = [*kinds, *([""] if kinds and data else []), *data]
        said = loops.doc.strip() or f"{loops.name}: generated Numba code."
        doc = f"{said}\n{_stored(loops)}"
        top = header(loops.name, doc, loops.dims, loops.arrays, "Numba")
        imported = _imports("\n".join(["\n".join(b) for b in ([*head], *blocks)]))
        first = [*top, *imported, *([""] if head else []), *head]
        return "\n\n\n".join("\n".join(block) for block in (first, *blocks)) + "\n"

    # --- functions -------------------------------------------------------------------------------

    def function(self, f: _Function) -> list[str]:
        """The lines of one function, its decorator first."""
        arrays = (*f.arguments, *f.scratch, *self.constants)
        f = replace(f, body=rests(carried(f.body, arrays, self.taken)))
        names = Names(self.taken)
        scope = self.scope(f, names)
        body = Body(scope, names, self.loops.kernels, self.given)
        for loop, name in zip(f.integers, f.names, strict=True):
            scope.loops[loop] = body.loop_name(name)
        lines = body.lines(f.body, f.scratch)
        sizes, missing = _sizes(scope, f)
        self.given[f.name] = missing
        returned = [Name(scope.local[o]) for o in f.outputs]
        if returned:
            value: Expr = returned[0] if len(returned) == 1 else Seq("(", tuple(returned))
            text = flat(value) if len(returned) == 1 else flat(value)[1:-1]
            whole = f"    return {text}"
            lines += ["", *([whole] if len(whole) <= WIDTH else layout("    return ", value))]
        parameters = [scope.local[b.name] for b in f.arguments]
        parameters += [scope.sizes[d] for d in missing]
        parameters += [scope.loops[v] for v in f.integers]
        kinds = [self.type_name(b, b.name in f.writes) for b in f.arguments]
        kinds += ["types.int64"] * (len(missing) + len(f.integers))
        return [
            *_decorator(kinds),
            *layout("def ", call(self.local[f.name], *map(Name, parameters)), ":", 0),
            *sizes,
            *([""] if sizes and lines else []),
            *(lines or ["    return"]),
        ]

    def scope(self, f: _Function, names: Names) -> Scope:
        """The names of a function: its arrays and storage first, as they are called."""
        declared = [s.array for s in inside(f.body) if isinstance(s, Declare)]
        handed = {a for s in inside(f.body) if isinstance(s, Call) for a in s.arguments}
        own = {b.name: b for b in (*f.arguments, *f.scratch, *declared)}
        registers = {b.name for b in declared if not b.dims}
        registers |= {
            b.name
            for b in f.scratch
            if not b.dims and b.name not in handed and b.name not in f.outputs
        }
        local = self.local | {name: names(name) for name in own}
        arrays = {b.name: b for b in self.constants} | own
        sizes = {d: names(f"{d}_size") for d in f.dims}
        return Scope(arrays, local, registers, sizes, self.helpers)

    # --- types, helpers --------------------------------------------------------------------------

    def type_name(self, buffer: Buffer, written: bool) -> str:
        """The name of an argument's type."""
        key = buffer.dtype, len(buffer.dims), written
        if key not in self.types:
            kind = f"{buffer.dtype}_{len(buffer.dims)}d"
            self.types[key] = self.names(kind if written else f"read_{kind}")
        return self.types[key]

    def type_lines(self) -> list[str]:
        lines = ["# What is only read may be a read-only array."] if self.types else []
        for (dtype, rank, written), name in self.types.items():
            kind = "boolean" if dtype == "bool" else dtype
            mark = "" if written else ", readonly=True"
            lines.append(f'{name} = types.Array(types.{kind}, {rank}, "C"{mark})')
        return lines

    def helper_texts(self) -> list[list[str]]:
        """The helpers, each compiled for the dtypes it is used with."""
        used: dict[str, list[Dtype]] = {}
        for name, dtype in self.helpers:
            used.setdefault(name, []).append(dtype)
        found = []
        for name in helpers_needed(used, numba_helpers):
            arity = getattr(numba_helpers, name).__code__.co_argcount
            dtypes = sorted(set(used.get(name, ["float64"])))
            forms = [f"types.{d}({', '.join([f'types.{d}'] * arity)})" for d in dtypes]
            text = forms[0] if len(forms) == 1 else f"[{', '.join(forms)}]"
            source = helper_source(name, numba_helpers).split("\n")
            found.append([f'@njit({text}, error_model="numpy")', *source])
        return found


def _stored(loops: Loops) -> str:
    """How much these loops allocate: less than the program's values, where they are fused."""
    bodies = [(loops.arrays, loops.body), *((k.scratch, k.body) for k in loops.kernels)]
    made = [b for arrays, _ in bodies for b in arrays if b.role == "scratch"]
    made += [s.array for _, body in bodies for s in inside(body) if isinstance(s, Declare)]
    return f"stored by these loops: {spelled(added(map(buffer_bytes, made)))} bytes"


def _decorator(kinds: list[str]) -> list[str]:
    """``@njit((types of the arguments), error_model="numpy")``."""
    inside = ", ".join(kinds) + ("," if len(kinds) == 1 else "")
    line = f'@njit(({inside}), error_model="numpy")'
    if len(line) <= WIDTH:
        return [line]
    rows = filled("        ", kinds)
    return ["@njit(", "    (", *rows, "    ),", '    error_model="numpy",', ")"]


def _sizes(scope: Scope, f: _Function) -> tuple[list[str], tuple[str, ...]]:
    """Lines that find the used dimensions from shapes, and those that no shape tells."""
    wanted = tuple(d for d in f.dims if d in scope.used)
    found, missing = found_sizes(f.arguments, wanted)
    known: dict[str, str] = {}
    for one in found:
        shape = Attr(Name(scope.local[one.array]), "shape")
        extent: Expr = Item(shape, (integer(one.axis),))
        if one.rest.terms or one.rest.const:
            extent = Bin("-", extent, index(scope, one.rest))
        if one.factor != 1:
            extent = Bin("//", extent, integer(one.factor))
        known[one.dim] = flat(extent)
    used = {*wanted, *scope.used}
    return [f"    {scope.sizes[d]} = {text}" for d, text in known.items() if d in used], missing


def _imports(text: str) -> list[str]:
    """The imports that a text needs."""
    tree = ast.parse(text)
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    lines = ["import math", ""] if "math" in used else []
    lines += ["import numpy as np"] if "np" in used else []
    lines.append("from numba import njit, types" if "types" in used else "from numba import njit")
    dtypes = [d for d in _DTYPES if d in used]
    return [*lines, *([f"from numpy import {', '.join(dtypes)}"] if dtypes else [])]
