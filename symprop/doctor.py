"""`symprop doctor`: what is installed, what is missing and how to get it.

In: the running interpreter.
Out: text, a line a fact.
Guarantees: reads versions from the installed packages' records and imports none of them; needs
no network.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["report"]

REQUIRED = ("numpy", "sympy", "mpmath", "typer", "rich", "safetensors")
# (package, what it is for, how to get it)
OPTIONAL = (("scikit-learn", "the digits of `symprop train digits`", "examples"),)
BACKENDS = (("numpy", "numpy"),)


def installed(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def report() -> str:
    """The state of this installation as text."""
    import codegen

    lines = [
        row("symprop", installed("symprop") or "from source, not installed"),
        row("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        row("codegen", "found, with symprop" if codegen.__file__ else "found"),
    ]
    for package in REQUIRED:
        found = installed(package)
        lines.append(row(package, found or f"MISSING: python -m pip install {package}"))
    for package, purpose, extra in OPTIONAL:
        how = f"missing (for {purpose}, extra {extra}): python -m pip install {package}"
        lines.append(row(package, installed(package) or how))
    for backend, package in BACKENDS:
        found = installed(package)
        lines.append(row(f"backend {backend}", "ready" if found else f"needs {package}"))
    return "\n".join(lines)


def row(name: str, fact: str) -> str:
    return f"{name:<16}{fact}"
