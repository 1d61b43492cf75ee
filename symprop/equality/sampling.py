"""Points at which two expressions are compared: sizes for the free dimensions, values for leaves.

In: nodes, a seed. Out: ``Point``s, always the same ones for the same seed: generic ones (random
numbers of several ranges, so that some lie in the domain of a logarithm or a root) and special ones
(zeros, ties, signs, large and small values), at which a wrong convention or sign shows.

Guarantees: whole numbers stay inside their declared bounds; free dimensions take small sizes that
differ from point to point; every float is exact, so that 60 digits of it mean something.

It evaluates nothing: ``symprop.equality.same`` does, with the oracle.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from codegen.index import Dim, Ix
from codegen.index import evaluate as index_value
from symprop.graph import FLOATS, At, IndexOf, Leaf, Node, Reduce, Region, Scan
from symprop.term import operations
from symprop.walk import leaves, topological

if TYPE_CHECKING:  # numpy.random is loaded where a point is drawn
    from numpy.random import Generator

__all__ = ["HUMAN", "STYLES", "Point", "Style", "free_dims", "points", "rounded", "work"]

SMALLEST = 2  # size of a free dimension: at 1 a missing division by it would not show
SPREAD = 3  # sizes tried: 2, 3, 4
WHOLE = 3  # the greatest whole number drawn where no bound is declared


class Style(NamedTuple):
    """How the floats of a point are drawn; generic: no zero, no tie, no kink but by accident."""

    name: str
    generic: bool
    draw: Callable[[Generator, tuple[int, ...]], Any]


def _signed(rng: Generator, shape: tuple[int, ...], low: float, high: float) -> Any:
    return rng.uniform(low, high, shape) * rng.choice([-1.0, 1.0], shape)


def _tied(rng: Generator, shape: tuple[int, ...]) -> Any:
    return np.full(shape, float(rng.integers(-2, 3)))


STYLES: tuple[Style, ...] = (
    Style("random", True, lambda rng, shape: rng.normal(size=shape)),
    Style("small whole numbers", False, lambda rng, s: rng.integers(-1, 2, s).astype(float)),
    Style("positive", True, lambda rng, shape: rng.uniform(0.25, 4.0, shape)),
    Style("zeros", False, lambda rng, shape: np.zeros(shape)),
    Style("between 0 and 1", True, lambda rng, shape: rng.uniform(0.05, 0.95, shape)),
    Style("ties", False, _tied),
    Style("large", True, lambda rng, shape: _signed(rng, shape, 8.0, 40.0)),
    Style("near 0", True, lambda rng, shape: _signed(rng, shape, 1e-6, 1e-3)),
    Style("negative", True, lambda rng, shape: -rng.uniform(0.25, 4.0, shape)),
)


def _tenths(rng: Generator, shape: tuple[int, ...]) -> Any:
    """Of both signs, where tanh and sigmoid are not flat yet."""
    return rng.integers(1, 10, shape) / 10 * rng.choice([-1.0, 1.0], shape)


# What a counterexample is shown with, the easiest to check by hand first.
HUMAN: tuple[Style, ...] = (
    Style("ones", False, lambda rng, shape: np.ones(shape)),
    Style("tenths", False, _tenths),
    Style("whole numbers", False, lambda rng, shape: rng.integers(1, 4, shape).astype(float)),
    Style("signed", False, lambda rng, shape: _signed(rng, shape, 1.0, 4.0).round()),
    Style("halves", False, lambda rng, shape: rng.integers(1, 8, shape) / 8.0),
    Style("zeros", False, lambda rng, shape: np.zeros(shape)),
    Style("minus ones", False, lambda rng, shape: -np.ones(shape)),
    Style("twos", False, lambda rng, shape: np.full(shape, 2.0)),
)


@dataclass(frozen=True)
class Point:
    """Sizes by the name of the dimension, arrays by leaf."""

    style: Style
    sizes: Mapping[str, int]
    values: Mapping[Leaf, Any]

    @property
    def given(self) -> dict[Any, Any]:
        """What the oracle takes."""
        return {**self.sizes, **self.values}


def points(
    roots: Sequence[Node], seed: int, styles: Sequence[Style] = STYLES, least: int = SMALLEST
) -> Iterator[Point]:
    """One point a style, then again with other sizes and numbers, without end."""
    dims = free_dims(roots)
    variables = [n for n in leaves(roots) if n.kind != "constant"]
    for turn in itertools.count():
        for k, style in enumerate(styles):
            rng = np.random.default_rng([seed, turn, k])
            sizes = {d.name: _size(d, least + (turn + k + j) % SPREAD) for j, d in enumerate(dims)}
            yield Point(style, sizes, {v: _array(v, style, rng, sizes) for v in variables})


def _size(d: Dim, wanted: int) -> int:
    size = max(wanted, d.lower)
    return size if d.capacity is None else min(size, d.capacity)


def _array(leaf: Leaf, style: Style, rng: Generator, sizes: Mapping[str, int]) -> Any:
    shape = tuple(index_value(d, {}, sizes) for d in leaf.dims)
    if leaf.dtype in FLOATS:
        return style.draw(rng, shape)
    if leaf.dtype == "bool":
        return rng.random(shape) < 0.5
    low, high = (index_value(ix, {}, sizes) for ix in (leaf.low, leaf.high))
    if high - low > 1 << 30:  # no bound was declared
        low, high = max(low, -WHOLE), min(high, WHOLE)
    return rng.integers(low, high + 1, size=shape)


def rounded(point: Point) -> Point:
    """The point with one digit after the dot; what would be 0 is a tenth."""
    return replace(point, values={leaf: _one_digit(leaf, a) for leaf, a in point.values.items()})


def _one_digit(leaf: Leaf, array: Any) -> Any:
    if leaf.dtype not in FLOATS:
        return array
    return np.copysign(
        np.where(array == 0, 0.0, np.maximum(np.round(np.abs(array), 1), 0.1)), array
    )


def free_dims(roots: Sequence[Node]) -> list[Dim]:
    """The symbolic dimensions that the nodes mention, by name."""
    found: dict[Dim, None] = {}
    for node in topological(roots):
        for ix in _extents(node):
            found.update(dict.fromkeys(a for a in ix.atoms() if isinstance(a, Dim)))
        if isinstance(node, Scan | Region):
            found.update(dict.fromkeys(free_dims(node.block.outputs)))
    return sorted(found, key=lambda d: d.name)


def _extents(node: Node) -> Iterator[Ix]:
    yield from node.dims
    if isinstance(node, Reduce):
        yield from (item.extent for item in node.loops)
        for r in node.reads:
            yield from (r.ix,) if isinstance(r, IndexOf) else r.index
            yield from (g.ix for g in r.guards) if isinstance(r, At) else ()
        yield from (g.ix for g in node.guards)
    if isinstance(node, Scan):
        yield node.length


def work(roots: Sequence[Node], sizes: Mapping[str, int]) -> int:
    """Scalar steps of a brute-force evaluation at these sizes."""
    total = 0
    for node in topological(roots):
        if isinstance(node, Reduce):
            size = 1
            for item in node.loops:
                size *= max(index_value(item.extent, {}, sizes), 0)
            total += size * (1 + operations(node.body))
        elif isinstance(node, Region):
            total += work(node.block.outputs, sizes)
        elif isinstance(node, Scan):
            total += work(node.block.outputs, sizes) * index_value(node.length, {}, sizes)
    return total
