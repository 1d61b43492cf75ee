"""Which axis of which argument tells each dimension, for texts that read sizes from shapes.

In: the arguments of a function and the dimensions it uses. Out: for each, the axis to read and
what to subtract and divide: ``size = (shape[axis] - rest) // factor``; and those no axis tells.

Guarantees: the simplest axis is chosen (one that is the dimension itself before one that contains
it), the first among equals; each ``rest`` uses dimensions found before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codegen.index import Dim, Ix
from codegen.program import Buffer

__all__ = ["Found", "found_sizes"]


@dataclass(frozen=True, slots=True)
class Found:
    """A dimension: ``(shape of array[axis] - rest) // factor``."""

    dim: str
    array: str
    axis: int
    factor: int
    rest: Ix


def found_sizes(
    arguments: Sequence[Buffer], wanted: Iterable[str]
) -> tuple[tuple[Found, ...], tuple[str, ...]]:
    """The dimensions that are found, in an order in which they can be, and the missing ones."""
    wanted = tuple(wanted)
    shapes = [(b, n, ix) for b in arguments for n, ix in enumerate(b.dims) if ix.terms]
    known: dict[str, Found] = {}
    while any(d not in known for d in wanted):
        best: tuple[int, Found] | None = None
        for b, n, ix in shapes:
            unknown = [(a, k) for a, k in ix.terms if not (isinstance(a, Dim) and a.name in known)]
            atom, k = unknown[0] if len(unknown) == 1 else (None, 0)
            if not isinstance(atom, Dim):
                continue
            found = Found(atom.name, b.name, n, k, ix - atom.ix() * k)
            rank = (len(ix.terms) > 1) * 4 + (k != 1) * 2 + (ix.const != 0)
            if best is None or rank < best[0]:
                best = rank, found
        if best is None:
            break
        known[best[1].dim] = best[1]
    return tuple(known.values()), tuple(d for d in wanted if d not in known)
