"""Which statements are scheduled together, and how.

In: the ``Graph`` of a body. Out: ``grouped(graph)``: it merges statements into groups, and says
what kind each is, by its first statement.

    tile     a sum that tiles of registers serve, and the elementwise parts over the same loops that
             use what it makes
    lanes    other parts over one axis, of which one makes what another reads, or two share values
    (none)   what is no plain nest, a recurrence or a call: by itself

Guarantees: deterministic; a group of the second kind has at most ``LARGEST`` statements. The time
grows with the statements and with what they mention, not with its square.
"""

from __future__ import annotations

from heapq import heappop, heappush

from codegen.index import Ix
from codegen.llvm.clusters import Graph
from codegen.llvm.sums import points, reading
from codegen.llvm.tiles import columns
from codegen.loops.fusing import single
from codegen.loops.nest import Call, For, Part, Stmt
from codegen.loops.walk import inside

__all__ = ["grouped"]

LARGEST = 64  # statements of a group: fusing them takes a time that grows with their square


def grouped(graph: Graph) -> dict[int, str]:
    """Merges statements into groups; what kind each is, by its first statement."""
    kinds: dict[int, str] = {}
    for n, s in enumerate(graph.stmts):
        found = reading(s) if isinstance(s, Part) else None
        if found is not None and columns(found):
            kinds[n] = "tile"
            _followers(graph, n, tuple(f.loop.extent for f in found.out))
    others = _Others(graph)
    for n, s in enumerate(graph.stmts):
        if graph.home[n] == n and n not in kinds and len(graph.members[n]) == 1 and _nest(s):
            others.add(n)
    return {**kinds, **dict.fromkeys(others.axes, "lanes")}


def _followers(graph: Graph, first: int, extents: tuple[Ix, ...]) -> None:
    """Merges a sum with the elementwise parts that use what it makes."""
    left: list[int] = []
    seen = {first}

    def made(by: int) -> None:
        for name in graph.writes[by]:
            for n in graph.readers.get(name, ()):
                if n > by and n not in seen:
                    seen.add(n)
                    heappush(left, n)

    made(first)
    while left:
        n = heappop(left)
        s = graph.stmts[n]
        if not isinstance(s, Part) or graph.home[n] != n:
            continue
        loops, _ = points(s)
        alike = tuple(v.extent for v in loops) == extents and len(graph.members[n]) == 1
        if alike and graph.merge(first, n):
            made(n)


def _nest(s: Stmt) -> bool:
    """Whether a statement is a part that is one nest of plain loops."""
    if not isinstance(s, Part) or single(s) is None:
        return False
    return not any(isinstance(t, Part | Call) for t in inside(s.body))


class _Others:
    """The groups of other parts: the axis of each, what its statements write and mention, and, by
    axis and array, those groups that mention it and have room for more."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.axes: dict[int, Ix | None] = {}
        self.made: dict[int, set[str]] = {}
        self.touched: dict[int, set[str]] = {}
        self.users: dict[tuple[Ix, str], set[int]] = {}

    def add(self, n: int) -> None:
        """Merges a part with the last group that it shares values with along one axis, and with all
        groups along that axis that make what it reads."""
        along = self.axes[n] = _along(self.graph.stmts[n])
        if along is None:
            return
        mine = self.graph.reads[n] | self.graph.writes[n]
        known = {g for name in mine for g in self.users.get((along, name), ())}
        self.made[n], self.touched[n] = set(self.graph.writes[n]), set(mine)
        self.list(along, n)
        joined = False
        for g in sorted(known, reverse=True):
            if self.size(g) + self.size(n) > LARGEST or (joined and mine.isdisjoint(self.made[g])):
                continue
            if self.graph.merge(g, n):
                n, joined = self.united(along, g, n), True

    def size(self, group: int) -> int:
        return len(self.graph.members[group])

    def list(self, along: Ix, group: int) -> None:
        """Lets later parts find a group."""
        for name in self.touched[group]:
            self.users.setdefault((along, name), set()).add(group)

    def united(self, along: Ix, a: int, b: int) -> int:
        """One group of two that were merged; a full one is not found any more."""
        first, second = min(a, b), max(a, b)
        for name in self.touched[second]:
            self.users[along, name].discard(second)
        del self.axes[second]
        self.made[first] |= self.made.pop(second)
        self.touched[first] |= self.touched.pop(second)
        if self.size(first) < LARGEST:
            self.list(along, first)
        else:
            for name in self.touched[first]:
                self.users[along, name].discard(first)
        return first


def _along(s: Stmt) -> Ix | None:
    """How many turns the outermost loop of a part has; None for a sum of everything."""
    assert isinstance(s, Part)
    found = single(s)
    if found is None or (len(s.body) > 1 and any(isinstance(t, For) for t in s.body)):
        return None
    return found.loop.loop.extent
