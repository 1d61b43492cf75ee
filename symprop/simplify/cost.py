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
from itertools import combinations
from weakref import WeakKeyDictionary

from codegen.index import Dim, Floor, Guard, Ix, Mod, upper
from symprop.graph import (
    At,
    Node,
    Output,
    Reduce,
    Region,
    Scan,
)
from symprop.term import Read, Sum, operations
from symprop.walk import topological


@dataclass(frozen=True, order=True)
class Cost:
    """Compared in this order: operations first, elements written next, nodes last."""

    operations: int
    elements: int
    nodes: int

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
            body = 0 if _joins(node) else operations(node.body)
            found = Cost(points * (body + reduced), domain(node.dims), 1)
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


def _joins(node: Reduce) -> bool:
    """A concatenation or an interleaving: reads whose guards exclude each other."""
    body = node.body
    if not isinstance(body, Sum) or body.const or len(node.loops) > node.nout:
        return False
    parts = []
    for x, k in body.terms:
        r = node.reads[x.k] if isinstance(x, Read) and k == 1 else None
        if not isinstance(r, At) or not r.guards:
            return False
        parts.append(r.guards)
    return all(any(_exclude(g, h) for g in a for h in b) for a, b in combinations(parts, 2))


def _exclude(g: Guard, h: Guard) -> bool:
    """The two never hold together."""
    if g.kind == h.kind == ">=":
        top = upper(g.ix + h.ix)
        return top is not None and top < 0
    a, b = g.ix.atom, h.ix.atom
    if isinstance(a, Mod) and isinstance(b, Mod) and a.n == b.n:
        gap = (a.of - b.of).value
        return gap is not None and gap % a.n != 0
    return False


def total(nodes: Iterable[Node]) -> Cost:
    """The cost of all these nodes."""
    operations = elements = count = 0
    for node in nodes:
        own = node_cost(node)
        operations += own.operations
        elements += own.elements
        count += own.nodes
    return Cost(operations, elements, count)


def graph_cost(roots: Iterable[Node]) -> Cost:
    """The cost of every node the roots need."""
    return total(topological(roots))
