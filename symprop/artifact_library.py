"""Code of an exported folder in this process, from bytes that were compared before.

In: the bytes of a shared library or of an object file. Out: `Native`, its functions.
Guarantees: a shared library is loaded from a file in memory that is sealed against writing before
it is loaded, so no other process changes it between; where the system has no such files, and for an
object file, LLVM links the object here.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from symprop.errors import DataError, UnsupportedError, install, quoted
from symprop.manifest import Manifest

__all__ = ["Native", "loaded"]

Runs = Callable[..., Any]

# A loader knows a library by its path, here that of a descriptor: one that is closed would give its
# number, and with it the old library, to the next. So libraries stay, each once.
_SHARED: dict[str, ctypes.CDLL] = {}


@dataclass(frozen=True)
class Native:
    """For each symbol the function and the one that says its memory; the sentence for a code;
    ``code`` keeps all of them loaded."""

    functions: dict[str, tuple[Runs, Runs]]
    message: Callable[[int], str]
    source: str
    code: Any


def loaded(code: bytes, name: str, described: Manifest) -> Native:
    """The functions of a file called `name`."""
    symbols = {f.symbol: len(f.sizes) for f in described.functions.values()}
    said = f"{described.name}_message"
    names = [*(n for s in symbols for n in (s, f"{s}_memory")), said]
    code_in: Any
    if name.endswith(".so"):
        code_in, source = shared(code, name), f"{name} from sealed memory"
        address = {n: symbol(code_in, n, name) for n in names}
    else:
        code_in, source = linked(code, name, names), f"{name} linked by LLVM"
        address = {n: code_in.address(n) for n in names}
    functions: dict[str, tuple[Runs, Runs]] = {}
    for s, count in symbols.items():
        sizes = [ctypes.c_int64] * count
        run = ctypes.CFUNCTYPE(
            ctypes.c_int32, *sizes, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
        )
        memory = ctypes.CFUNCTYPE(ctypes.c_size_t, *sizes)
        functions[s] = (run(address[s]), memory(address[f"{s}_memory"]))
    sentence = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_int32)(address[said])

    def message(number: int) -> str:
        text = sentence(number)
        return text.decode("ascii", "replace") if text else ""

    return Native(functions, message, source, code_in)


def symbol(library: ctypes.CDLL, name: str, file: str) -> int:
    """The address of a function of a shared library."""
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    except AttributeError as error:
        raise DataError(f"{quoted(file)} has no function {name}: export the step again") from error


def shared(code: bytes, name: str) -> ctypes.CDLL:
    """A shared library, from memory."""
    digest = hashlib.sha256(code).hexdigest()
    if digest not in _SHARED:
        if sys.platform != "linux":
            raise UnsupportedError("a shared library is loaded on Linux alone")
        handle = sealed(code, name)
        try:
            _SHARED[digest] = ctypes.CDLL(f"/proc/self/fd/{handle}")
        except OSError as error:
            os.close(handle)
            raise UnsupportedError(
                f"this system does not load {quoted(name)} from memory: {quoted(error)}"
            ) from error
    return _SHARED[digest]


def sealed(code: bytes, name: str) -> int:
    """The descriptor of a file in memory that nobody can change any more."""
    import fcntl

    handle = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        rest = memoryview(code)
        while rest:
            rest = rest[os.write(handle, rest) :]
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(handle)
        raise
    return handle


def linked(code: bytes, name: str, names: list[str]) -> Any:
    """An object file, which LLVM links here."""
    from codegen.llvm.build import load

    try:
        return load(code, tuple(names))
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"the folder has no shared library, and to load {quoted(name)} the package llvmlite is "
            f"needed: run  {install('llvmlite>=0.50')}"
        ) from error
