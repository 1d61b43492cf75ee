"""What a reader of an LLVM module must know to follow its loads: the context and the arena.

In: an ``Interface``. Out: ``heading``: lines of comment: what each word of the context holds, and
the bytes of the arena as a formula of the sizes.

Guarantees: every line begins with a semicolon; the same interface gives the same lines.
"""

from __future__ import annotations

from codegen.llvm.arena import Plan
from codegen.llvm.interface import Interface
from codegen.names import comment_safe

__all__ = ["heading"]


def heading(i: Interface) -> str:
    """The comment to put before a module."""
    arguments = {b.name for b in i.arguments}
    lines = ["%context points to words of 64 bits: addresses of arrays, then sizes."]
    for n, (kernel, b) in enumerate(i.arrays):
        part = "scratch" if kernel or b.name not in arguments else "argument"
        part = "result" if not kernel and b.name in i.outputs else part
        owner = f" of {kernel}" if kernel else ""
        shape = ", ".join(map(str, b.dims))
        lines.append(f"word {n}: {b.name}, {part}{owner}, {b.dtype} [{shape}]")
    lines += [f"word {n}: {d.name}, a size" for n, d in enumerate(i.dims, len(i.arrays))]
    lines.append(f"Scratch lies in one arena of {_bytes(i.arena)} bytes.")
    return "".join(f"; {comment_safe(line)}\n" for line in lines)


def _bytes(arena: Plan) -> str:
    """The bytes of an arena as a sum, such as "640*batch + 128"."""
    terms = ["*".join([f"{r.unit:,}", *r.scale]) for r in arena.regions if r.unit]
    return " + ".join(reversed(terms)) or "0"
