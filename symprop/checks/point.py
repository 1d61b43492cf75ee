"""A small point of a model: sizes for the free dimensions, numbers for the leaves.

In: nodes, values that the user gives, a seed. Out: `Point`: arrays by leaf, sizes by name.

Guarantees: floats are those of float32, so that every backend and the oracle start from the same
numbers; what has a default keeps it; whole numbers stay within their declared bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.index import Dim
from codegen.index import evaluate as index_value
from symprop.equality.sampling import STYLES, points, work
from symprop.errors import DataError, listed, quoted
from symprop.graph import FLOATS, Leaf, Node
from symprop.walk import leaves

__all__ = ["Point", "candidates"]

LARGEST = 3_000_000  # scalar steps of one evaluation: about a minute


@dataclass(frozen=True)
class Point:
    """Arrays by leaf, and the sizes of the free dimensions."""

    values: Mapping[Leaf, Any]
    sizes: Mapping[str, int]

    @property
    def given(self) -> dict[Any, Any]:
        """What the oracle takes."""
        return {**self.sizes, **self.values}


def candidates(roots: Sequence[Node], given: Mapping[str, Any], seed: int) -> Iterator[Point]:
    """Points of several kinds, so that one lies where the model is defined."""
    every = [n for n in leaves(roots) if n.kind != "constant"]
    names = [n.name for n in every]
    for name in given:
        if name not in names:
            raise DataError(
                f"the model has no variable {quoted(name)} to be given a value: its variables are "
                f"{listed(names)}"
            )
    own = {leaf: _array(leaf, given[leaf.name]) for leaf in every if leaf.name in given}
    sizes = _sizes(own)
    styles = [s for s in STYLES if s.generic]
    for _, drawn in zip(styles, points(roots, seed, styles), strict=False):
        shapes = {**drawn.sizes, **sizes}
        _refuse_large(roots, shapes)
        values = {n: _fitting(n, a, shapes) for n, a in drawn.values.items() if n.default is None}
        yield Point({**values, **own}, shapes)


def _array(leaf: Leaf, value: Any) -> Any:
    """A value of the user as an array of its leaf."""
    array = np.asarray(value)
    if array.ndim != len(leaf.dims):
        raise DataError(
            f"{quoted(leaf.name)} has {len(leaf.dims)} dimensions, but the value given for it has "
            f"the shape {array.shape}"
        )
    for d, n in zip(leaf.dims, array.shape, strict=True):
        if d.value is not None and d.value != n:
            raise DataError(
                f"{quoted(leaf.name)} has a dimension of {d.value}, but the value given for it has "
                f"the shape {array.shape}"
            )
    return _exact(leaf, array)


def _exact(leaf: Leaf, array: Any) -> Any:
    """Floats that float32 has, whole numbers as they are."""
    return array.astype(np.float32).astype(np.float64) if leaf.dtype in FLOATS else array


def _sizes(own: Mapping[Leaf, Any]) -> dict[str, int]:
    """The sizes of free dimensions that the user's values have."""
    found: dict[str, int] = {}
    for leaf, array in own.items():
        for d, n in zip(leaf.dims, array.shape, strict=True):
            if isinstance(d.atom, Dim) and found.setdefault(d.atom.name, n) != n:
                raise DataError(
                    f"the dimension {quoted(d.atom.name)} is {found[d.atom.name]} and {n} in the "
                    "values given"
                )
    return found


def _fitting(leaf: Leaf, array: Any, sizes: Mapping[str, int]) -> Any:
    """A drawn array in the sizes that the user's values have."""
    shape = tuple(index_value(d, {}, sizes) for d in leaf.dims)
    return _exact(leaf, np.resize(np.asarray(array), shape))


def _refuse_large(roots: Sequence[Node], sizes: Mapping[str, int]) -> None:
    steps = work(roots, sizes)
    if steps > LARGEST:
        raise DataError(
            f"the model takes {steps:,} scalar steps even at its smallest sizes, and the oracle is "
            f"for {LARGEST:,}: check one with smaller layers, or with free dimensions"
        )
