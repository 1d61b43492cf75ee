"""Programs as a library for C: one object file, what C is told about it, its static library.

    Source    a program, the verb it stands for, the user's names of its outputs
    made      each program for the target (``native``), the function around it (``artifact_calls``),
              all in one module whose only visible names are functions of C; its object, checked

In: a name, sources, a target. Out: ``library(...)``: a ``Library``.

Guarantees: an object that needs no other one, shows nothing but its functions and has no storage of
its own that changes, or RuntimeError; the same sources and target give the same bytes. Programs are
emitted as the native backend emits them for that target, so results are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from codegen.index import loop
from codegen.llvm import artifact_elf, build
from codegen.llvm.artifact_calls import entry_text, message_text
from codegen.llvm.artifact_entry import Entry, entry
from codegen.llvm.native import Native
from codegen.llvm.target import Target
from codegen.names import Names
from codegen.program import Assign, Buffer, Load, Program

__all__ = ["Library", "Source", "library"]


@dataclass(frozen=True)
class Source:
    """A program to be a function of C: ``<name>_<verb>``; ``outputs`` are the user's names."""

    verb: str
    program: Program
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Library:
    """Functions of C, and the object that holds them; ``name`` is an identifier of C."""

    name: str
    target: Target
    sources: tuple[Source, ...]
    entries: tuple[Entry, ...]
    object: bytes

    @cached_property
    def functions(self) -> tuple[str, ...]:
        """All names that C sees."""
        return _functions(self.name, self.entries)

    @cached_property
    def archive(self) -> bytes:
        """The static library."""
        return artifact_elf.archive(f"{self.name}.o", self.object)


def library(name: str, sources: Sequence[Source], target: Target) -> Library:
    """The library of some programs."""
    entries: list[Entry] = []
    texts: list[tuple[str, str, str]] = []
    for source in sources:
        program = _apart(source.program)
        native = Native(program, target)
        found = entry(
            source.verb, f"{name}_{source.verb}", program, native.interface, source.outputs
        )
        entries.append(found)
        texts.append((native.text, program.name, found.run))
    own = [f'target triple = "{target.triple}"', *map(entry_text, entries)]
    text = build.united("\n\n".join([*own, message_text(f"{name}_message")]), texts)
    code = build.object_code(text, target)
    wrong = artifact_elf.faults(code, _functions(name, entries))
    if wrong:
        raise RuntimeError(f"the object of {name} is no library by itself: {'; '.join(wrong)}")
    return Library(name, target, tuple(sources), tuple(entries), code)


def _functions(name: str, entries: Sequence[Entry]) -> tuple[str, ...]:
    calls = [f for e in entries for f in (e.symbol, f"{e.symbol}_memory")]
    return (*calls, f"{name}_message")


def _apart(program: Program) -> Program:
    """The program with an array of its own for each output: an argument, a constant or an output
    that is asked for twice is copied, arguments before anything is changed."""
    known = {b.name: b for b in program.buffers}
    names = Names([*known, *(d.name for d in program.dims), program.name])
    outputs: list[str] = []
    added: list[Buffer] = []
    first: list[Assign] = []
    last: list[Assign] = []
    for name in program.outputs:
        b = known[name]
        if b.role == "scratch" and name not in outputs:
            outputs.append(name)
            continue
        copy = replace(b, name=names(f"{name}_copy"), role="scratch", data=None)
        outputs.append(copy.name)
        added.append(copy)
        (last if b.role == "scratch" else first).append(_copied(b, copy))
    return replace(
        program,
        buffers=(*program.buffers, *added),
        steps=(*first, *program.steps, *last),
        outputs=tuple(outputs),
    )


def _copied(b: Buffer, copy: Buffer) -> Assign:
    loops = tuple(loop(n, extent) for n, extent in enumerate(b.dims))
    index = tuple(v.ix() for v in loops)
    names = tuple(f"i{n}" for n in range(len(loops)))
    body = Load(b.name, index)
    return Assign(copy.name, index, "=", loops, names, (), body, b.dtype, f"= {b.label or b.name}")
