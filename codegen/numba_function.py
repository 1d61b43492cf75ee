"""What the functions of all Numba texts have in common: what they take, their sizes, imports.

In: ``Loops`` and its kernels. Out: each as a ``Function``; lines of Python text.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from codegen.index import Loop
from codegen.loops.nest import Declare, Kernel, Loops, Stmt
from codegen.loops.walk import inside, written_names
from codegen.numba_scalars import Scope, index
from codegen.polynomial import Poly, added, buffer_bytes
from codegen.printer import Attr, Bin, Expr, Item, Name, flat, integer
from codegen.program import Buffer
from codegen.sizes import found_sizes

__all__ = [
    "DTYPES",
    "Function",
    "imports",
    "kernel_function",
    "main_function",
    "size_lines",
    "stored",
]

DTYPES = ("float32", "float64", "int32", "int64", "uint32", "uint64")


@dataclass(frozen=True)
class Function:
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


def main_function(loops: Loops) -> Function:
    """The function named like the program."""
    marks = {k.name: tuple(b.name in k.writes for b in k.arrays) for k in loops.kernels}
    return Function(
        loops.name,
        tuple(d.name for d in loops.dims),
        loops.arguments,
        tuple(written_names(loops.body, marks)),
        tuple(b for b in loops.arrays if b.role == "scratch"),
        loops.body,
        loops.outputs,
    )


def kernel_function(kernel: Kernel) -> Function:
    """The function of a kernel."""
    return Function(
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


def size_lines(scope: Scope, f: Function) -> tuple[list[str], tuple[str, ...]]:
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


def stored(loops: Loops) -> Poly:
    """The bytes of the arrays that these loops make."""
    bodies = [(loops.arrays, loops.body), *((k.scratch, k.body) for k in loops.kernels)]
    made = [b for arrays, _ in bodies for b in arrays if b.role == "scratch"]
    made += [s.array for _, body in bodies for s in inside(body) if isinstance(s, Declare)]
    return added(buffer_bytes(b) for b in made if b.dims or b.name in loops.outputs)


def imports(text: str, words: Sequence[str]) -> list[str]:
    """The imports that a text needs; ``words`` are those it may use of Numba."""
    used = {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}
    lines = ["import math", ""] if "math" in used else []
    lines += ["import numpy as np"] if "np" in used else []
    lines.append(f"from numba import {', '.join(w for w in words if w in used)}")
    dtypes = [d for d in DTYPES if d in used]
    return [*lines, *([f"from numpy import {', '.join(dtypes)}"] if dtypes else [])]
