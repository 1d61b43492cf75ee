"""`symprop doctor`: what is installed, what is missing and how to get it.

In: the running interpreter.
Out: facts as data, or as text, a line a fact.
Guarantees: reads versions from the installed packages' records and imports none of them; needs
no network; every backend of the pipeline is there.
"""

from __future__ import annotations

import os
import platform
from ctypes.util import find_library
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from symprop.backends import BACKENDS, default
from symprop.errors import install

__all__ = ["Fact", "facts", "report"]

REQUIRED = ("numpy", "sympy", "mpmath", "typer", "rich", "safetensors")


class Extra(NamedTuple):
    """A package that some of symprop needs, and the extra that it comes with, if any."""

    package: str
    purpose: str
    extra: str


OPTIONAL = (
    Extra("llvmlite", "the backend native, the default one", ""),
    Extra("numba", "the backend numba", "numba"),
    Extra("python-flint", "exact values for symprop accuracy", "test"),
    Extra("matplotlib", "history.plot()", "plot"),
    Extra("scikit-learn", "the digits of `symprop train digits`", "examples"),
)


class Fact(NamedTuple):
    """One line: what, whether it is there, its version or what to do."""

    name: str
    kind: str
    ready: bool
    detail: str


def installed(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def facts() -> list[Fact]:
    """The state of this installation."""
    import codegen

    system = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    found = [
        Fact("symprop", "package", True, installed("symprop") or "from source, not installed"),
        Fact("python", "interpreter", True, system),
        Fact("codegen", "package", True, "found, with symprop" if codegen.__file__ else "found"),
    ]
    for package in REQUIRED:
        own = installed(package)
        missing = f"MISSING: {install(package)}"
        found.append(Fact(package, "required", own is not None, own or missing))
    for package, purpose, extra in OPTIONAL:
        own = installed(package)
        group = f", extra {extra}" if extra else ""
        missing = f"missing (for {purpose}{group}): {install(package)}"
        found.append(Fact(package, "optional", own is not None, own or missing))
    found += [backend(name) for name in BACKENDS]
    found.append(cache())
    return found


def cache() -> Fact:
    """Whether compiled code is kept for the processes to come, and where."""
    from codegen.llvm.store import Store

    store = Store()
    trouble = store.trouble()
    return Fact("cache", "cache", not trouble, trouble or str(store.folder))


def backend(name: str) -> Fact:
    """Whether a backend can run here."""
    missing = [p for p in ("numpy", *BACKENDS[name].needs) if installed(p) is None]
    if not missing and BACKENDS[name].device and not device():
        missing = ["a CUDA device, or NUMBA_ENABLE_CUDASIM=1 for Numba's simulator of one"]
    ready = "ready, and used where none is named" if name == default() else "ready"
    detail = f"needs {', '.join(missing)}" if missing else ready
    return Fact(f"backend {name}", "backend", not missing, detail)


def device() -> bool:
    """Whether there is a driver for CUDA devices, or Numba is told to simulate one."""
    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM", "") not in ("", "0")
    return simulated or any(map(find_library, ("cuda", "nvcuda")))


def report() -> str:
    """The facts as text."""
    found = facts()
    width = max(len(fact.name) for fact in found) + 2
    return "\n".join(f"{fact.name:<{width}}{fact.detail}" for fact in found)
