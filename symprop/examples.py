"""The axis of the inputs that counts examples: the one that whole arrays are cut along.

In: the inputs of a step. Out: `Examples`, or None where they do not say.

    free        the one named dimension of free size that leads inputs, as in "batch pixel=64"
    declared    where no free one leads them: the axis named `batch` that leads inputs, as in
                "batch=32 pixel=64"; then every batch has this size

Guarantees: a batch size other than the one that is declared is refused, and so are examples that
fill no whole number of batches where all of them count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from symprop.data import shown
from symprop.errors import DataError

if TYPE_CHECKING:
    from codegen.index import Ix
    from symprop.graph import Leaf

__all__ = ["Examples", "examples_of"]

AXIS = "batch"  # what an axis of declared size is called, to be the one that counts examples
FREE = f'or declare a batch of free size, "{AXIS}"'


@dataclass(frozen=True)
class Examples:
    """The axis: its size as it was declared, its name, an input that leads with it, and the number
    that the size is, where it is one."""

    dim: Ix
    axis: str
    leaf: Leaf
    size: int | None

    def leads(self, leaf: Leaf) -> bool:
        """Whether the first axis of an input is this one."""
        return bool(leaf.dims) and leaf.dims[0] is self.dim and leaf.axes[0] == self.axis

    def elsewhere(self, leaf: Leaf) -> bool:
        """Whether another axis of an input is this one, or depends on it."""
        if self.size is not None:
            return self.axis in leaf.axes[1:]
        counted = set(self.dim.atoms())
        return any(not counted.isdisjoint(d.atoms()) for d in leaf.dims[1:])

    def batch_size(self, given: int | None, otherwise: int) -> int:
        """The size that a batch has: the one that is declared, else the given one."""
        if self.size is None:
            return otherwise if given is None else given
        if given not in (None, self.size):
            raise DataError(
                f"batch_size must be {self.size}, the size of a batch that {shown(self.leaf)} "
                f"declares, but is {given}: leave it out, {FREE}"
            )
        return self.size

    def check_whole(self, count: int) -> None:
        """Refuse examples of which some would not be evaluated."""
        if self.size is not None and count % self.size:
            raise DataError(
                f"{count} examples are no whole number of batches of {self.size}, the size that "
                f"{shown(self.leaf)} declares: leave out {count % self.size} of them, {FREE}"
            )


def examples_of(inputs: Iterable[Leaf]) -> Examples | None:
    """The axis that counts examples, or None where it is not one."""
    leading = [leaf for leaf in inputs if leaf.dims]
    free = {leaf.dims[0]: leaf for leaf in reversed(leading) if leaf.dims[0].terms}
    if free:
        if len(free) > 1:
            return None
        ((dim, leaf),) = free.items()
        return Examples(dim, leaf.axes[0], leaf, None)
    for leaf in leading:
        if leaf.axes[0] == AXIS:
            return Examples(leaf.dims[0], AXIS, leaf, leaf.dims[0].value)
    return None
