"""LLVM text to machine code, by llvmlite: the only place that loads it for code.

In: the text that ``emit`` made, and the target it was made for. Out: ``compile``, a library in this
process; ``object_code`` and ``assembly`` for any target.

Guarantees: no optimisation pass runs: the text is parsed, verified and handed to the code generator
at level 1, which chooses instructions and registers. A function of a ``Library`` stays loaded as
long as the library or the function is referred to. Raises ModuleNotFoundError where llvmlite is not
installed, and RuntimeError, LLVM's own words, for text that is not valid.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from typing import Any

from codegen.llvm.target import Target

__all__ = ["SETTING", "Library", "assembly", "compile", "load", "object_code", "united"]

SETTING = {"opt": 1, "reloc": "pic", "codemodel": "small"}  # of the code generator
_count = count()


class Library:
    """Machine code in this process."""

    def __init__(self, tracker: Any, names: tuple[str, ...]) -> None:
        self._tracker = tracker
        self.names = names

    def address(self, name: str) -> int:
        """Where a function begins."""
        found: int = self._tracker[name]
        return found

    def entry(self, name: str) -> Callable[[int], None]:
        """A function of the address of a context. It releases Python's lock while it runs."""
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address(name))
        function.library = self  # type: ignore[attr-defined]  # keeps the code
        return function


def object_code(ir: str, target: Target) -> bytes:
    """An object file of the target's own format."""
    found: bytes = _machine(target).emit_object(_module(ir))
    return found


def assembly(ir: str, target: Target) -> str:
    """The instructions, for a reader."""
    found: str = _machine(target).emit_assembly(_module(ir))
    return found


def united(ir: str, parts: Sequence[tuple[str, str, str]]) -> str:
    """One module of a text that declares functions and of others that define them.

    A part is (its text, its function's name, what the first text calls that); nobody outside sees
    the function any more.
    """
    whole = _module(ir)
    for text, name, called in parts:
        part = _module(text)
        part.get_function(name).name = called
        whole.link_in(part)
    for _, _, called in parts:
        whole.get_function(called).linkage = "internal"
    whole.verify()
    return str(whole)


def compile(ir: str, target: Target) -> Library:
    """The external functions of a module, ready to be called."""
    return load(object_code(ir, target), _defined(ir))


def load(code: bytes, names: tuple[str, ...]) -> Library:
    """An object file in this process; ``names`` are its functions."""
    import llvmlite.binding as llvm

    builder = llvm.JITLibraryBuilder().add_object_img(code)
    for name in names:
        builder.export_symbol(name)
    return Library(builder.link(_linker(), f"object {next(_count)}"), names)


def _defined(ir: str) -> tuple[str, ...]:
    """The external functions of a text."""
    head = "define void @"
    lines = [line for line in ir.splitlines() if line.startswith(head)]
    return tuple(line.removeprefix(head).split("(")[0] for line in lines)


def _module(ir: str) -> Any:
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(ir)
    module.verify()
    return module


@cache
def _machine(target: Target) -> Any:
    """The code generator of a target."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    found = llvm.Target.from_triple(target.triple)
    return found.create_target_machine(cpu=target.cpu, features=target.features, **SETTING)


@cache
def _linker() -> Any:
    """Loads objects into this process."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler(use_jit_link=True, suppress_errors=False)
