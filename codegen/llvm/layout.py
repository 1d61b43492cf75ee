"""The context: the table of 64-bit words that an emitted function is handed.

In: a ``Loops``. Out: ``layout(loops)``: one word an array, the address of its first element, then
one word a dimension, its size.

    arrays of the program    arguments and scratch, in their order (an output is one of the two)
    scratch of each kernel   in the order of the kernels: kernels do not call themselves, so each
                             has one place
    large locals             what a nest declares and would not fit a stack, a body after the other

Constants have no word: they are part of the module. Arrays are row-major, without gaps, aligned to
their elements at least; bools are bytes of 0 or 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from codegen.dtypes import WIDTH
from codegen.index import Dim
from codegen.loops.nest import Declare, Loops, Stmt
from codegen.loops.walk import inside
from codegen.program import Buffer

__all__ = ["STACK_BYTES", "Layout", "layout", "local_bytes"]

STACK_BYTES = 1 << 14  # of one local array: larger ones are in the arena


@dataclass(frozen=True)
class Layout:
    """Which word of the context holds what. ``arrays`` are (kernel, array), the kernel "" for the
    program's own."""

    arrays: tuple[tuple[str, Buffer], ...]
    dims: tuple[Dim, ...]

    @property
    def words(self) -> int:
        """The length of the context."""
        return len(self.arrays) + len(self.dims)

    def array(self, name: str, kernel: str = "") -> int:
        """The word that holds the address of an array."""
        for word, (owner, buffer) in enumerate(self.arrays):
            if (owner, buffer.name) == (kernel, name):
                return word
        raise KeyError(name)

    def dim(self, name: str) -> int:
        """The word that holds the size of a dimension."""
        return len(self.arrays) + [d.name for d in self.dims].index(name)


def layout(loops: Loops) -> Layout:
    """The context of a program."""
    arrays = [("", b) for b in loops.arrays if b.role != "constant"]
    for kernel in loops.kernels:
        arrays += [(kernel.name, b) for b in kernel.scratch if b.role != "constant"]
    for owner, body in [("", loops.body), *((k.name, k.body) for k in loops.kernels)]:
        arrays += [(owner, b) for b in _large(body)]
    return Layout(tuple(arrays), loops.dims)


def _large(body: tuple[Stmt, ...]) -> Iterator[Buffer]:
    """Locals that are not put on the stack."""
    for stmt in inside(body):
        if isinstance(stmt, Declare) and local_bytes(stmt.array) > STACK_BYTES:
            yield stmt.array


def local_bytes(array: Buffer) -> int:
    """The bytes of a declared array, whose sizes are numbers."""
    return prod(d.const for d in array.dims) * WIDTH[array.dtype] // 8
