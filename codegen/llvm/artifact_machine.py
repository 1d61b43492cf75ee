"""Which machine an artifact is for, and whether this one is such a machine.

In: a ``Target``. Out: ``needed(target)``, the features its code may use, as data; ``refusal(...)``,
why this machine cannot run it, or nothing.

Guarantees: a feature that cannot be looked up here counts as missing. Features are read by llvmlite
where it is installed, else from the list that Linux keeps of the processor.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from codegen.llvm.target import Target

__all__ = ["architecture", "needed", "refusal", "system"]

_V3 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse4.2")
_V4 = (*_V3, "avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")
# What LLVM's names of processors stand for; every machine of an architecture has the rest.
_BASELINES: dict[str, tuple[str, ...]] = {
    "x86-64": (),
    "x86-64-v3": tuple(sorted(_V3)),
    "x86-64-v4": tuple(sorted(_V4)),
    "generic": (),
}
# Instructions that stand in no code but where a program asks for them by name, as none here does;
# and names for sets whose parts have names of their own.
_NEVER = """
    64bit amx-bf16 amx-complex amx-fp16 amx-int8 amx-tile avx10.1 cldemote clflushopt clwb enqcmd
    fsgsbase hreset invpcid movdir64b movdiri pconfig pku prefetchi ptwrite rdpid rdpru rdrnd rdseed
    rtm serialize sgx sha shstk tsxldtrk uintr waitpkg wbnoinvd xsave xsavec xsaveopt xsaves
"""
_NEVER_USED = frozenset(_NEVER.split())
# What Linux calls a feature, where it is not LLVM's name but for underscores.
_LINUX_NAMES = {
    "3dnowprefetch": ("prfchw",),
    "abm": ("lzcnt",),
    "bmi1": ("bmi",),
    "lahf_lm": ("sahf",),
    "pclmulqdq": ("pclmul",),
    "pni": ("sse3",),
    "sse4_1": ("sse4.1",),
    "sse4_2": ("sse4.2", "crc32"),
}


def architecture() -> str:
    """That of this machine, as triples begin."""
    found = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(found, found)


def system() -> str:
    """The operating system of this machine, as triples spell it."""
    return {"win32": "windows", "darwin": "darwin"}.get(sys.platform, sys.platform)


def needed(target: Target) -> tuple[str, ...]:
    """The features that a machine must have, beyond what its whole architecture has."""
    known = _BASELINES.get(target.cpu)
    if known is not None:
        return known
    found = (f[1:] for f in sorted(target.features.split(",")) if f.startswith("+"))
    return tuple(f for f in found if f not in _NEVER_USED)


def refusal(wanted: str, features: Iterable[str]) -> str:
    """Why code for Linux on the architecture ``wanted`` with these features cannot run here, to
    stand after "it"; empty where it can."""
    here = f"this machine is {architecture()} with {system()}"
    if (architecture(), system()) != (wanted, "linux"):
        return f"is for {wanted} with linux, but {here}"
    own, certain = _features()
    missing = [f for f in features if f not in own]
    if missing:
        shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
        seen = "which this one does not have"
        if not certain:
            seen = "which cannot be seen here without the package llvmlite"
        return f"needs a processor with {shown}, {seen}"
    return ""


def _features() -> tuple[frozenset[str], bool]:
    """Those of this processor, as LLVM spells them; whether these are surely all."""
    try:
        import llvmlite.binding as llvm
    except ModuleNotFoundError:
        return _from_linux(), False
    found = llvm.get_host_cpu_features()
    return frozenset(name for name, on in found.items() if on), True


def _from_linux() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    words = found.group(1).split() if found else []
    named = (_LINUX_NAMES.get(w, (w.replace("_", ""),)) for w in words)
    return frozenset(name for names in named for name in names)
