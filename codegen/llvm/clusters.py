"""Which parts of a body are scheduled together, and in what order the groups can run.

In: the statements of a body, all parts. Out: ``Graph``: what each needs of the others; ``merge``
makes one group of two where that is possible; ``order`` gives the groups in an order of execution.

Guarantees: a statement stays behind every earlier one that writes what it touches, or touches what
it writes: moving whole groups changes no value, bit for bit. Statements of a group keep their
order; groups stand in the order of their first statements where nothing else is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from codegen.loops.depend import Marks
from codegen.loops.nest import Stmt
from codegen.loops.walk import read_names, written_names

__all__ = ["Graph"]

LONGEST = 2000  # groups that one search goes through: it is made for every two that may merge


class Graph:
    """Statements, by number, in groups. A group is named by its first statement."""

    def __init__(self, stmts: Sequence[Stmt], marks: Marks) -> None:
        self.stmts = tuple(stmts)
        self.reads = [frozenset(read_names((s,), marks)) for s in stmts]
        self.writes = [frozenset(written_names((s,), marks)) for s in stmts]
        self.home = list(range(len(stmts)))
        self.members = {n: [n] for n in self.home}
        self.after: dict[int, set[int]] = {n: set() for n in self.home}  # groups that need one
        self.before: dict[int, set[int]] = {n: set() for n in self.home}  # groups that one needs
        writer: dict[str, int] = {}
        readers: dict[str, list[int]] = {}
        for n in range(len(stmts)):
            for name in self.reads[n] | self.writes[n]:
                earlier = [writer[name]] if name in writer else []
                earlier += readers.pop(name, []) if name in self.writes[n] else []
                for m in earlier:
                    self.after[m].add(n)
                    self.before[n].add(m)
            writer.update(dict.fromkeys(self.writes[n], n))
            for name in self.reads[n]:
                readers.setdefault(name, []).append(n)

    def merge(self, a: int, b: int) -> bool:
        """One group of two, unless something else would have to run between them."""
        a, b = self.home[a], self.home[b]
        if a == b:
            return True
        if self._between(a, b) or self._between(b, a):
            return False
        first, second = min(a, b), max(a, b)
        self.members[first] = sorted((*self.members[first], *self.members.pop(second)))
        for n in self.members[first]:
            self.home[n] = first
        for links, back in ((self.after, self.before), (self.before, self.after)):
            moved = links.pop(second)
            for g in moved:
                back[g].discard(second)
                back[g].add(first)
            links[first] = (links[first] | moved) - {first, second}
        return True

    def _between(self, a: int, b: int) -> bool:
        """Whether a third group has to run after ``a`` and before ``b``."""
        seen = {a}
        left = [g for g in self.after[a] if g != b]
        while left:
            if len(seen) > LONGEST:
                return True  # nobody knows: not merged, which is always right
            g = left.pop()
            if g not in seen:
                seen.add(g)
                if b in self.after[g]:
                    return True
                left += self.after[g]
        return False

    def order(self) -> list[list[int]]:
        """The groups, each after those that it needs."""
        needs = {g: len(self.before[g]) for g in self.members}
        ready = [g for g, n in needs.items() if not n]
        heapify(ready)
        found: list[list[int]] = []
        while ready:
            g = heappop(ready)
            found.append(self.members[g])
            for m in self.after[g]:
                needs[m] -= 1
                if not needs[m]:
                    heappush(ready, m)
        return found
