"""Which parts of a body are scheduled together, and in what order the groups can run.

In: the statements of a body, all parts. Out: ``Graph``: what each needs of the others; ``merge``
makes one group of two where that is possible; ``order`` gives the groups in an order of execution.

Guarantees: a statement stays behind every earlier one that writes what it touches, or touches what
it writes: moving whole groups changes no value, bit for bit. Statements of a group keep their
order; groups stand in the order of their first statements where nothing else is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush

from codegen.loops.depend import Marks
from codegen.loops.nest import Stmt
from codegen.loops.walk import read_names, written_names

__all__ = ["Graph"]

LONGEST = 500  # groups that one search goes through: it is made for every two that may merge


class Graph:
    """Statements, by number, in groups. A group is named by its first statement."""

    def __init__(self, stmts: Sequence[Stmt], marks: Marks) -> None:
        self.stmts = tuple(stmts)
        self.reads = [frozenset(read_names((s,), marks)) for s in stmts]
        self.writes = [frozenset(written_names((s,), marks)) for s in stmts]
        self.home = list(range(len(stmts)))
        self.members = {n: [n] for n in self.home}
        self.rank = list(self.home)  # of groups: an order in which they could run
        self.after: dict[int, set[int]] = {n: set() for n in self.home}  # groups that need one
        self.before: dict[int, set[int]] = {n: set() for n in self.home}  # groups that one needs
        self.readers: dict[str, list[int]] = {}  # of an array, the statements
        self._link()

    def _link(self) -> None:
        writer: dict[str, int] = {}
        since: dict[str, list[int]] = {}  # the readers of what the writer wrote
        for n in self.home:
            for name in self.reads[n] | self.writes[n]:
                earlier = [writer[name]] if name in writer else []
                earlier += since.pop(name, []) if name in self.writes[n] else []
                for m in earlier:
                    self.after[m].add(n)
                    self.before[n].add(m)
            writer.update(dict.fromkeys(self.writes[n], n))
            for name in self.reads[n]:
                since.setdefault(name, []).append(n)
                self.readers.setdefault(name, []).append(n)

    def merge(self, a: int, b: int) -> bool:
        """One group of two, unless something else would have to run between them."""
        a, b = sorted((self.home[a], self.home[b]), key=self.rank.__getitem__)
        if a == b:
            return True
        behind, ahead = self._reached(a, b, self.after), self._reached(b, a, self.before)
        if behind is None or ahead is None:
            return False
        first, second = min(a, b), max(a, b)
        self._place(first, second, ahead, behind)
        self.members[first] = sorted((*self.members[first], *self.members.pop(second)))
        for n in self.members[first]:
            self.home[n] = first
        for links, back in ((self.after, self.before), (self.before, self.after)):
            moved = links.pop(second) - {first}
            for g in moved:
                back[g].discard(second)
                back[g].add(first)
            links[first].discard(second)
            links[first] |= moved
        return True

    def _reached(self, start: int, stop: int, links: Mapping[int, set[int]]) -> set[int] | None:
        """The groups between two by rank that links lead to; None where they lead on to the other
        one: a third group has to run between. None as well where the search is long: not to merge
        is always right."""
        low, high = sorted((self.rank[start], self.rank[stop]))
        found: set[int] = set()
        left = [g for g in links[start] if g != stop]
        while left:
            g = left.pop()
            if g in found or not low < self.rank[g] < high:
                continue
            found.add(g)
            if stop in links[g] or len(found) > LONGEST:
                return None
            left += links[g]
        return found

    def _place(self, first: int, second: int, ahead: set[int], behind: set[int]) -> None:
        """Ranks for two groups that become one, for what has to run before it and what after; all
        others keep theirs."""
        rank = self.rank.__getitem__
        places = sorted(map(rank, (first, second, *ahead, *behind)))
        places.pop(len(ahead))  # of two groups one is left
        for g, place in zip(
            (*sorted(ahead, key=rank), first, *sorted(behind, key=rank)), places, strict=True
        ):
            self.rank[g] = place

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
