"""From an object file to a shared library, by a linker of this system where there is one.

In: the object, the name of the library, the target. Out: ``shared(...)``: the bytes of the library,
or in one sentence why there is none.

Guarantees: the linker is started by its absolute path with a list of arguments that holds no name
of the user's, in an empty folder of its own, with an environment of two fixed variables, no shell,
no start-up object (which might change how floats are rounded) and no library. What it makes is
read-only where it can be (``relro``, ``now``), has no executable stack and no undefined name. The
same object and linker give the same bytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from codegen.llvm.target import Target

__all__ = ["linker", "shared"]

SECONDS = 60
_ARGUMENTS = (
    "-shared", "--no-undefined", "--build-id=none", "--hash-style=gnu", "-z", "relro", "-z", "now",
    "-z", "noexecstack", "-z", "separate-code", "-o", "library.so", "object.o",
)  # fmt: skip


def linker(target: Target, here: str) -> str | None:
    """The path of a linker for a target, on a machine of the architecture ``here``."""
    kind = target.triple.split("-")[0]
    names = ["ld.lld", f"{kind}-linux-gnu-ld"]
    if kind == here:
        names.append("ld")  # that of GNU knows its own machine alone
    for name in names:
        found = shutil.which(name)
        if found is not None and os.path.isabs(found):
            return found
    return None


def shared(code: bytes, soname: str, target: Target, here: str) -> tuple[bytes | None, str]:
    """The shared library and the linker's name, or None and why there is none; ``soname`` is an
    identifier with ``.so``."""
    path = linker(target, here)
    if path is None:
        kind = target.triple.split("-")[0]
        return None, f"no linker for {kind} was found (ld.lld, {kind}-linux-gnu-ld)"
    assert all(c.isalnum() or c in "_." for c in soname), soname
    name = Path(path).name
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "object.o").write_bytes(code)
        try:
            done = subprocess.run(  # noqa: S603  # an absolute path and fixed arguments
                [path, "-soname", soname, *_ARGUMENTS],
                cwd=folder, env={"LC_ALL": "C", "PATH": os.defpath}, stdin=subprocess.DEVNULL,
                capture_output=True, timeout=SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return None, f"{name} did not run: {type(error).__name__}"
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            return None, f"{name} refused the object: {said[-1] if said else done.returncode}"
        return Path(folder, "library.so").read_bytes(), name
