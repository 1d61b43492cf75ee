"""PROGRAM to machine code of a machine: the native backend, all its parts in order.

    program -- from_program    nests
            -- schedule        their native schedule, from the cost model of the machine
            -- emit            LLVM text                      -- interface: context, arena
            -- build           object code, loaded
            -- calling         a function of arrays

In: a valid ``Program``, and a ``Target`` (this machine where none is given). Out: ``Native``, each
part made when it is asked for.

Guarantees: the function computes what the program says; the same program and target give the same
text and the same object. Raises ModuleNotFoundError where llvmlite is not installed, and
NotImplementedError on a machine without a target.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from codegen.llvm.calling import Caller
from codegen.llvm.emit import emit
from codegen.llvm.heading import heading
from codegen.llvm.interface import Interface
from codegen.llvm.kept import ObjectCode, loaded, made
from codegen.llvm.layout import layout
from codegen.llvm.listing import listing
from codegen.llvm.memory import plan
from codegen.llvm.schedule import native
from codegen.llvm.target import Target, host
from codegen.loops.from_program import from_program
from codegen.loops.nest import Loops
from codegen.loops.walk import written_names
from codegen.program import Buffer, Program

__all__ = ["Native", "interface"]


@dataclass(frozen=True)
class Native:
    """A program for a machine; ``portable`` fuses no product with the sum it is added to."""

    program: Program
    target: Target
    portable: bool = False

    @classmethod
    def here(cls, program: Program) -> Native:
        """A program for this machine."""
        return cls(program, host())

    @cached_property
    def loops(self) -> Loops:
        """The nests under their native schedule."""
        return native(from_program(self.program, calls=False), self.target, {})

    @cached_property
    def text(self) -> str:
        """The LLVM module."""
        return emit(self.loops, self.target, self.portable)

    @property
    def listing(self) -> str:
        """The LLVM module for a reader: under what the words of its context are."""
        return heading(self.interface) + self.text

    @cached_property
    def interface(self) -> Interface:
        """What a caller must know."""
        return interface(self.loops)

    @cached_property
    def object(self) -> ObjectCode:
        """The object file with its interface, from the cache where it is there."""
        return made(self.text, self.interface, self.target)

    @property
    def assembly(self) -> str:
        """The instructions, under comments that say what they compute."""
        return listing(self.text, self.target)

    @cached_property
    def caller(self) -> Caller:
        """The function of arrays, in this process."""
        return loaded(self.object)


def interface(loops: Loops) -> Interface:
    """The interface of what ``emit`` makes of nests."""
    marks = {k.name: tuple(b.name in k.writes for b in k.arrays) for k in loops.kernels}
    changed = set(written_names(loops.body, marks))
    found = layout(loops)
    return Interface(
        loops.name,
        found.dims,
        tuple(map(_plain, loops.arguments)),
        tuple(b.name for b in loops.arguments if b.name in changed),
        tuple((kernel, _plain(b)) for kernel, b in found.arrays),
        loops.outputs,
        tuple(b for b in loops.arrays if b.role == "constant" and b.name in loops.outputs),
        plan(loops),
    )


def _plain(b: Buffer) -> Buffer:
    """An array without what only a reader needs."""
    return Buffer(b.name, b.dims, ("",) * len(b.dims), b.dtype, b.role, b.label)
