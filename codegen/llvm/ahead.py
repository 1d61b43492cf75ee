"""What a nest reads after a long sum, fetched while the sum runs.

In: the statements of a body. Out: ``ahead(...)``: for a loop that adds into registers, the rows
that are read behind it from arrays too large for the cache, or None:

    for k: acc += ...                      for row: fetch w[row, ...], m[row, ...]
    for row: ... w[row, i], m[row, i]  ->           for the next turns of k: acc += ...
                                           for row: ... w[row, i], m[row, i]

An optimizer behind the gradient of its parameter is read so: a tile of it touches each line of
three arrays once, row by row, which no machine foresees.

Guarantees: it names reads that are made anyway; fetching a line changes no value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from codegen.dtypes import WIDTH
from codegen.index import Gather, Loop
from codegen.llvm.cost import CACHE, LINE
from codegen.loops.nest import Declare, For, Stmt
from codegen.loops.walk import inside, loads
from codegen.program import Buffer, Load

__all__ = ["Ahead", "ahead"]


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
    if not isinstance(f, For) or f.kind != "serial" or f.low or f.high or not f.loop.extent.value:
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
    large = sum(_bytes(arrays[name]) for name in {x.buffer for x in found})
    if large <= CACHE // 2:
        return None
    step = min(8 * LINE // WIDTH[arrays[x.buffer].dtype] for x in found)
    return Ahead(behind[0].loop, lanes[0].loop, tuple(found), step)


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


def _bytes(array: Buffer) -> int:
    """The size of an array; 0 where it is not known."""
    sizes = [d.value for d in array.dims]
    known = [d for d in sizes if d is not None]
    return prod(known) * WIDTH[array.dtype] // 8 if len(known) == len(sizes) else 0
