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

from dataclasses import replace

from codegen import numba_helpers
from codegen.functions import NUMBA_HELPERS, helper_source, helpers_needed
from codegen.loops import default
from codegen.loops.from_program import from_program
from codegen.loops.nest import Call, Declare, Loops
from codegen.loops.walk import inside
from codegen.names import RESERVED, Names
from codegen.numba_blocks import blocked, carried, rests
from codegen.numba_function import (
    DTYPES,
    Function,
    imports,
    kernel_function,
    main_function,
    size_lines,
)
from codegen.numba_kernels import shared
from codegen.numba_scalars import Scope
from codegen.numba_sections import Sections
from codegen.numba_statements import Body
from codegen.polynomial import added, buffer_bytes
from codegen.printer import (
    WIDTH,
    Expr,
    Name,
    Seq,
    call,
    filled,
    flat,
    layout,
)
from codegen.program import Buffer, Dtype, Program
from codegen.text_module import constant_data, header, memory

__all__ = ["emit", "emit_loops", "scheduled"]

_TAKEN = (*RESERVED, *NUMBA_HELPERS, "math", "njit", "types", *DTYPES)


def scheduled(program: Program) -> Loops:
    """The nests that the text is printed from."""
    return shared(blocked(default.scheduled(from_program(program))))


def emit(program: Program) -> str:
    """The source of a module with one function named ``program.name``."""
    return emit_loops(scheduled(program))


def emit_loops(loops: Loops) -> str:
    """The same for nests under any schedule."""
    return _Module(loops).text()


class _Module:
    """A module while it is written; its names are settled before any function is."""

    def __init__(self, loops: Loops) -> None:
        self.loops = loops
        self.names = Names(_TAKEN)
        known = (loops.arrays, *(k.scratch for k in loops.kernels))
        self.constants = [b for arrays in known for b in arrays if b.role == "constant"]
        called = [loops.name, *(k.name for k in loops.kernels), *(b.name for b in self.constants)]
        self.local = {name: self.names(name) for name in called}
        self.taken = (*_TAKEN, *self.local.values())
        self.types: dict[tuple[Dtype, int, bool], str] = {}
        self.helpers: dict[tuple[str, Dtype], None] = {}
        self.given: dict[str, tuple[str, ...]] = {}
        self.made: list[Buffer] = []  # what the functions allocate

    def text(self) -> str:
        loops = self.loops
        functions = [self.function(kernel_function(k)) for k in loops.kernels]
        functions.append(self.function(main_function(loops), divided=True))
        data = [line for b in self.constants for line in constant_data(self.local[b.name], b)]
        blocks = [*self.helper_texts(), *functions]
        kinds = self.type_lines()
        head = [*kinds, *([""] if kinds and data else []), *data]
        said = loops.doc.strip() or f"{loops.name}: generated Numba code."
        doc = f"{said}\n{memory(added(map(buffer_bytes, self.made)), loops.arguments)}"
        top = header(loops.name, doc, loops.dims, loops.arrays, "Numba")
        imported = imports("\n".join(["\n".join(b) for b in ([*head], *blocks)]), ("njit", "types"))
        first = [*top, *imported, *([""] if head else []), *head]
        return "\n\n\n".join("\n".join(block) for block in (first, *blocks)) + "\n"

    # --- functions -------------------------------------------------------------------------------

    def function(self, f: Function, divided: bool = False) -> list[str]:
        """The lines of one function, its decorator first; ``divided``: with its sections."""
        arrays = (*f.arguments, *f.scratch, *self.constants)
        f = replace(f, body=rests(carried(f.body, arrays, self.taken)))
        names = Names(self.taken)
        scope = self.scope(f, names)
        body = Body(scope, names, self.loops.kernels, self.given)
        for loop, name in zip(f.integers, f.names, strict=True):
            scope.loops[loop] = body.loop_name(name)
        if divided:
            body.sections = Sections(f.body, scope.arrays, body.writes)
        lines = body.lines(f.body, f.scratch)
        self.made += body.made
        sizes, missing = size_lines(scope, f)
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

    def scope(self, f: Function, names: Names) -> Scope:
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


def _decorator(kinds: list[str]) -> list[str]:
    """``@njit((types of the arguments), error_model="numpy")``."""
    inside = ", ".join(kinds) + ("," if len(kinds) == 1 else "")
    line = f'@njit(({inside}), error_model="numpy")'
    if len(line) <= WIDTH:
        return [line]
    rows = filled("        ", kinds)
    return ["@njit(", "    (", *rows, "    ),", '    error_model="numpy",', ")"]
