"""Where the buffers of a program lie among the arrays of nests, and its formulas moved there.

In: indices, guards and scalars of a ``Program``. Out: the same over arrays: a buffer of a scan's
body may be one position of a larger array (a slice, or a row of what is stacked).

Guarantees: pure; values are unchanged. Dimensions are shared by programs and nests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from codegen.index import Atom, Gather, Guard, Ix, Loop, gather, guard, transform
from codegen.loops.walk import scalar_mapped
from codegen.program import BufferSource, IndexValue, Load, Scalar

__all__ = ["Mover", "Place", "Places"]


@dataclass(frozen=True, slots=True)
class Place:
    """An array, and the leading indices at which a buffer lies in it."""

    array: str
    prefix: tuple[Ix, ...] = ()


Places: TypeAlias = Mapping[str, Place]


class Mover:
    """Moves what one step says: buffers to ``places``, loop variables to those in ``loops``."""

    def __init__(self, places: Places, loops: Mapping[Loop, Ix]) -> None:
        self.places = places
        self.loops = loops

    def ix(self, ix: Ix) -> Ix:
        """A position, gathers in it included."""
        return transform(ix, self._atom)

    def _atom(self, atom: Atom) -> Ix | None:
        if isinstance(atom, Loop):
            return self.loops.get(atom)
        if isinstance(atom, Gather):
            assert isinstance(atom.source, BufferSource)
            place = self.places[atom.source.buffer]
            source = BufferSource(place.array, atom.source.low, atom.source.high)
            return gather(source, (*place.prefix, *map(self.ix, atom.indices)))
        return None

    def guards(self, guards: Sequence[Guard]) -> tuple[Guard, ...]:
        """Guards; loop variables keep their extents, so none becomes true or false."""
        moved = [guard(self.ix(g.ix), g.kind) for g in guards]
        assert all(isinstance(g, Guard) for g in moved)
        return tuple(g for g in moved if isinstance(g, Guard))

    def scalar(self, scalar: Scalar) -> Scalar:
        """A formula."""

        def one(s: Scalar) -> Scalar:
            if isinstance(s, IndexValue):
                return IndexValue(self.ix(s.ix))
            if isinstance(s, Load):
                place = self.places[s.buffer]
                at = (*place.prefix, *map(self.ix, s.indices))
                return Load(place.array, at, self.guards(s.guards))
            return s

        return scalar_mapped(scalar, one)
