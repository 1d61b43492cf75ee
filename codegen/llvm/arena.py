"""An arena: where each array lies in it, for any sizes, as data.

In: what ``codegen.llvm.memory`` found. Out: ``Plan``: for every array a region and an offset in it;
``total`` and ``at`` make bytes of that for some sizes.

A region is scaled as a whole by a product of dimensions (1, ``batch``, ``batch * time``, ...), so
places are found once, and the arena is affine in a dimension that the sizes are affine in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import TypeAlias

__all__ = ["Monomial", "Name", "Plan", "Region", "Slot"]

Name: TypeAlias = tuple[str, str]  # the kernel ("" for the program) and the array
Monomial: TypeAlias = tuple[str, ...]  # names of dimensions, sorted; a power repeats one


@dataclass(frozen=True, slots=True)
class Slot:
    """Storage of one array: ``size`` units from ``offset`` on in a region, while statements
    ``first`` to ``last`` of its body run; ``over`` is the array whose storage it takes over, or
    ""."""

    kernel: str
    array: str
    region: int
    offset: int
    size: int
    first: int
    last: int
    over: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """``unit`` bytes for each point of the dimensions in ``scale``."""

    scale: Monomial
    unit: int

    def times(self, sizes: Mapping[str, int]) -> int:
        """How often the unit stands for these sizes: once where a dimension is 0."""
        return prod(max(sizes[d], 1) for d in self.scale)


@dataclass(frozen=True)
class Plan:
    """An arena of regions, one after the other."""

    regions: tuple[Region, ...]
    slots: tuple[Slot, ...]

    def total(self, sizes: Mapping[str, int]) -> int:
        """The bytes of the arena."""
        return sum(r.unit * r.times(sizes) for r in self.regions)

    def at(self, sizes: Mapping[str, int]) -> dict[Name, int]:
        """Where each array begins, in bytes, by its kernel and its name."""
        times = [r.times(sizes) for r in self.regions]
        lengths = [r.unit * k for r, k in zip(self.regions, times, strict=True)]
        starts = [0, *accumulate(lengths)]
        return {
            (s.kernel, s.array): starts[s.region] + s.offset * times[s.region] for s in self.slots
        }
