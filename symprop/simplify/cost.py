"""What a graph costs, counted: the measure of the global gate.

In: nodes. Out: scalar operations and elements written, for nominal dimensions or as formulas.

Counted the same for derived and hand-written graphs: points of the iteration domain times the
operations of the body, plus one a point for a reduction. A function counts what its declaration
says (one, for those that a backend evaluates as such); index arithmetic, guards and selections of
whole reads by guards are addressing and count nothing; a constant costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from codegen.index import Dim, Floor, Ix
from symprop.graph import Node, Output, Reduce, Region, Scan, topological
from symprop.term import operations


@dataclass(frozen=True, order=True)
class Cost:
    """Compared in this order: operations first, elements written next, nodes last."""

    operations: int
    elements: int
    nodes: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.operations + other.operations,
            self.elements + other.elements,
            self.nodes + other.nodes,
        )

    def __mul__(self, n: int) -> Cost:
        return Cost(self.operations * n, self.elements * n, self.nodes)


FREE = Cost(0, 0, 0)
_COSTS: WeakKeyDictionary[Node, Cost] = WeakKeyDictionary()


def extent(ix: Ix) -> int:
    """A size, free dimensions taken at their nominal value."""
    total = ix.const
    for a, k in ix.terms:
        if isinstance(a, Dim):
            total += k * a.nominal
        elif isinstance(a, Floor):
            total += k * (extent(a.of) // a.n)
    return max(total, 0)


def domain(dims: Iterable[Ix]) -> int:
    """The number of points of a product of extents."""
    n = 1
    for d in dims:
        n *= extent(d)
    return n


def node_cost(node: Node) -> Cost:
    """The cost of computing one node from its operands."""
    found = _COSTS.get(node)
    if found is None:
        if isinstance(node, Reduce):
            points = domain(item.extent for item in node.loops)
            reduced = len(node.loops) > node.nout
            found = Cost(points * (operations(node.body) + reduced), domain(node.dims), 1)
        elif isinstance(node, Region):
            found = graph_cost(node.block.outputs)
        elif isinstance(node, Scan):
            found = graph_cost(node.block.outputs) * extent(node.length)
        elif isinstance(node, Output):
            found = Cost(0, domain(node.dims), 0)
        else:
            found = FREE
        _COSTS[node] = found
    return found


def graph_cost(roots: Iterable[Node]) -> Cost:
    """The cost of every node the roots need."""
    total = FREE
    for node in topological(roots):
        total = total + node_cost(node)
    return total
