"""What a nest reads after a long sum, fetched while the sum runs.

In: the statements of a body. Out: ``ahead(...)``: for a loop that adds into registers, the rows
that are read behind it, or None; ``outgrows(loops)``, whether that pays:

    for k: acc += ...                      for row: fetch w[row, ...], m[row, ...]
    for row: ... w[row, i], m[row, i]  ->           for the next turns of k: acc += ...
                                           for row: ... w[row, i], m[row, i]

An optimizer behind the gradient of its parameter is read so: a tile of it touches each line of
three arrays once, row by row, which no machine foresees. Where all that a step works on stays in
the cache, there is nothing to wait for.

Guarantees: it names reads that are made anyway; fetching a line changes no value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from codegen.dtypes import WIDTH
from codegen.index import Gather, Loop
from codegen.llvm.cost import CACHE, LINE, extent
from codegen.loops.nest import Declare, For, Loops, Stmt
from codegen.loops.walk import inside, loads
from codegen.program import Buffer, Load

__all__ = ["Ahead", "ahead", "outgrows"]

FULL = 2  # times the cache from which on rows come from further away: a step on 1.7 MB takes 2 %
# less without fetching, one on 25 MB 10 % more (Sapphire Rapids, 2 MiB)


@dataclass(frozen=True)
class Ahead:
    """The loop over rows, the one over what lies in a row, and the reads; ``step`` is how many
    elements of a row are fetched at once."""

    rows: Loop
    row: Loop
    reads: tuple[Load, ...]
    step: int


def ahead(n: int, body: Sequence[Stmt], arrays: Mapping[str, Buffer]) -> Ahead | None:
    """What stands behind the n-th statement of a body, if that is such a sum."""
    f = body[n]
    if not isinstance(f, For) or f.kind != "serial" or f.low or f.high or f.loop.extent.value == 0:
        return None
    behind = [s for s in body[n + 1 :] if isinstance(s, For) and s.kind == "serial"]
    if not behind or behind[0].low or behind[0].high or behind[0].loop.extent.value is None:
        return None
    lanes = [s for s in inside(behind[0].body) if isinstance(s, For)]
    if len(lanes) != 1 or lanes[0].kind != "vector":
        return None
    own = {s.array.name for s in inside(body) if isinstance(s, Declare)}
    found = {x: None for s in inside(behind[0].body) for x in loads(s)
             if x.buffer not in own and _in_rows(x, behind[0].loop, lanes[0].loop)}  # fmt: skip
    if not found:
        return None
    step = min(8 * LINE // WIDTH[arrays[x.buffer].dtype] for x in found)
    return Ahead(behind[0].loop, lanes[0].loop, tuple(found), step)


def outgrows(loops: Loops) -> bool:
    """Whether all arrays of a program, at typical sizes, are more than the cache by far."""
    arrays = [*loops.arrays, *(b for k in loops.kernels for b in k.scratch)]
    bits = sum(prod(extent(d, {}) for d in b.dims) * WIDTH[b.dtype] for b in arrays)
    return bits > 8 * CACHE * FULL


def _in_rows(x: Load, rows: Loop, row: Loop) -> bool:
    """Whether a read goes through rows one after the other, and through each in order."""
    if (
        x.guards
        or not x.indices
        or any(isinstance(a, Gather) for i in x.indices for a in i.atoms())
    ):
        return False
    *outer, last = x.indices
    along = last.coefficient(row) == 1 and rows not in last.loops
    return (
        along and any(i.coefficient(rows) for i in outer) and all(row not in i.loops for i in outer)
    )
