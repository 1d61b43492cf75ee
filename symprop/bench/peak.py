"""How many multiply-adds one core can do: the limit that steps are held against.

In: nothing. Out: `Peak`, whose `advance` runs a small function that does nothing else, and the
operations it did.

    turn    each of ACCUMULATORS vectors of the machine's width becomes itself times a plus b

The vectors do not wait for one another, so that a core can do as many at once as it has units for;
no memory is read. A multiplication and an addition are two operations; a machine without fused
ones does them one after the other.

Guarantees: float32, the vectors and instructions that emitted code uses; the sums stay finite, and
are stored, so that nothing is left out.
"""

from __future__ import annotations

import numpy as np

from codegen.llvm.build import compile as compiled
from codegen.llvm.target import Target, host

__all__ = ["Peak", "text"]

# Enough for two units that take 5 cycles each; half of the registers of machines with 16 stay free.
ACCUMULATORS = 10
TURNS = 100_000  # of one call: about a quarter of a millisecond


def text(target: Target) -> str:
    """The LLVM text of `void @peak(ptr)`; it stores the sums of all vectors."""
    lanes = target.lanes(32)
    vector = f"<{lanes} x float>"
    one = "splat (float 1.0)"
    names = [f"%v{k}" for k in range(ACCUMULATORS)]
    lines = ["define void @peak(ptr %out) {", "entry:", "  br label %turn", "turn:"]
    lines.append("  %n = phi i64 [ 0, %entry ], [ %next, %turn ]")
    lines += [f"  {name} = phi {vector} [ {one}, %entry ], [ {name}.new, %turn ]" for name in names]
    for name in names:
        lines += multiplied(target, vector, name)
    lines += [
        "  %next = add i64 %n, 1",
        f"  %done = icmp eq i64 %next, {TURNS}",
        "  br i1 %done, label %end, label %turn",
        "end:",
    ]
    total = f"{names[0]}.new"
    for k, name in enumerate(names[1:]):
        lines.append(f"  %sum{k} = fadd {vector} {total}, {name}.new")
        total = f"%sum{k}"
    lines += [f"  store {vector} {total}, ptr %out, align 4", "  ret void", "}"]
    if target.fma:
        kind = f"v{lanes}f32"
        lines.append(f"declare {vector} @llvm.fma.{kind}({vector}, {vector}, {vector})")
    return "\n".join(lines) + "\n"


def multiplied(target: Target, vector: str, name: str) -> list[str]:
    """The lines of one vector's multiply-add: x/2 + 1/2, which keeps the 1 that it starts from."""
    half = "splat (float 0.5)"
    if target.fma:
        function = f"@llvm.fma.v{target.lanes(32)}f32"
        of = f"{vector} {name}, {vector} {half}, {vector} {half}"
        return [f"  {name}.new = call {vector} {function}({of})"]
    return [
        f"  {name}.by = fmul {vector} {name}, {half}",
        f"  {name}.new = fadd {vector} {name}.by, {half}",
    ]


class Peak:
    """The function, compiled."""

    def __init__(self) -> None:
        target = host()
        self.lanes = target.lanes(32)
        self.entry = compiled(text(target), target).entry("peak")
        self.out = np.zeros(self.lanes, np.float32)
        self.operations = 2 * ACCUMULATORS * TURNS * self.lanes  # of one call

    def advance(self, n: int) -> float:
        """So many calls; what one vector came to, the number of accumulators."""
        for _ in range(n):
            self.entry(self.out.ctypes.data)
        return float(self.out[0])
