"""The backends: each turns a program into a text and the function that the text defines.

In: a valid program. Out: ``Emitted``: ``source``, the text, and ``function``, what runs it, each
made when it is asked for. ``BACKENDS`` is the table; ``default`` is what runs where no backend is
named.

Guarantees: what runs is what ``source`` shows; a package that is missing, or a machine or a device
that cannot run the text, is an UnsupportedError that says how to mend it (``check_installed`` asks
for packages alone, before anything is made).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from codegen.program import Program
from symprop.errors import UnsupportedError, install, listed, quoted

if TYPE_CHECKING:
    from codegen.llvm.native import Native

__all__ = [
    "BACKENDS",
    "Backend",
    "Emitted",
    "NativeCode",
    "check_backend",
    "check_installed",
    "default",
]

# What of a package to install.
VERSIONS = {"llvmlite": "llvmlite>=0.50", "numba": "numba>=0.68"}

Runs = Callable[..., Any]


class Emitted(Protocol):
    """A program for a backend."""

    @property
    def source(self) -> str: ...
    @property
    def function(self) -> Runs: ...


class Backend(NamedTuple):
    """A way to run a program; ``language`` is that of its text, ``needs`` the packages that must
    be installed, ``device`` whether it needs one."""

    emit: Callable[[Program], Emitted]
    language: str
    needs: tuple[str, ...] = ()
    device: bool = False


class Text:
    """A program as the text of a Python module."""

    def __init__(self, source: str, name: str, build: Callable[[str, str], Runs]) -> None:
        self.source, self._name, self._build = source, name, build

    @cached_property
    def function(self) -> Runs:
        """The function that the text defines."""
        return self._build(self.source, self._name)


# --- text backends -------------------------------------------------------------------------------


def _numpy(program: Program) -> Emitted:
    from codegen.build import build
    from codegen.numpy_text import emit

    return Text(emit(program), program.name, build)


def _numba(program: Program) -> Emitted:
    from codegen.numba_text import emit

    return Text(emit(program), program.name, _numba_build)


def _numba_build(source: str, name: str) -> Runs:
    from codegen.build import build_numba

    try:
        return build_numba(source, name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("numba", "llvmlite"):
            raise
        raise needs("numba", "numba") from error


def _numba_cuda(program: Program) -> Emitted:
    from codegen.numba_cuda_text import emit

    return Text(emit(program), program.name, _numba_cuda_build)


def _numba_cuda_build(source: str, name: str) -> Runs:
    from codegen.build import build_numba_cuda

    try:
        return build_numba_cuda(source, name)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("numba", "numba_cuda", "llvmlite"):
            raise
        raise needs("numba-cuda", "numba") from error
    except RuntimeError as error:
        raise UnsupportedError(
            'the backend "numba-cuda" needs a CUDA device, or Numba\'s simulator of one: set '
            "NUMBA_ENABLE_CUDASIM=1 in the environment before Python starts"
        ) from error


# --- native --------------------------------------------------------------------------------------


class NativeCode:
    """A program as machine code of this computer; its text is an LLVM module."""

    def __init__(self, native: Native) -> None:
        self.native = native

    @property
    def source(self) -> str:
        """The LLVM module, under what the words of its context are."""
        return self.native.listing

    @property
    def function(self) -> Runs:
        """The machine code as a function of arrays."""
        return self.native.caller

    def kept(self, name: str | None) -> Runs:
        """The same, which the cache then has under this name."""
        from codegen.llvm.kept import remember

        caller = self.native.caller
        if name is not None:
            remember(name, self.native.object)
        return caller


def _native(program: Program) -> Emitted:
    from codegen.llvm.native import Native

    try:
        return NativeCode(Native.here(program))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "llvmlite":
            raise
        raise needs("native", "llvmlite") from error
    except NotImplementedError as error:
        raise UnsupportedError(str(error)) from error


BACKENDS: dict[str, Backend] = {
    "native": Backend(_native, "LLVM", ("llvmlite",)),
    "numpy": Backend(_numpy, "Python"),
    "numba": Backend(_numba, "Python", ("numba",)),
    "numba-cuda": Backend(_numba_cuda, "Python", ("numba",), device=True),
}


def check_backend(backend: str) -> None:
    """Refuse a backend that does not exist."""
    if backend not in BACKENDS:
        raise UnsupportedError(
            f"the backend {quoted(backend)} does not exist: choose one of {listed(BACKENDS)}"
        )


def check_installed(backend: str) -> None:
    """Refuse a backend that cannot run here since a package is missing; its text can be made all
    the same."""
    check_backend(backend)
    for package in BACKENDS[backend].needs:
        if find_spec(package) is None:
            raise needs(backend, package)


def needs(backend: str, package: str) -> UnsupportedError:
    """The error for a package that is not installed."""
    return UnsupportedError(
        f'the backend "{backend}" needs the package {package}: run  {install(VERSIONS[package])}'
    )


@cache
def default() -> str:
    """What runs where no backend is named: native where llvmlite is installed and this machine is
    one that it makes code for, else numpy."""
    import platform

    known = platform.machine().lower() in ("x86_64", "amd64", "aarch64", "arm64")
    return "native" if known and find_spec("llvmlite") is not None else "numpy"
