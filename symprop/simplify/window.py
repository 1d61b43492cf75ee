"""A node's formula, with the values that it reads opened on demand: seeing through several nodes.

In: a value node. Out: a ``Window``: the node's body, and for each read of a map the formula of
that map over reads of the window, so that ``log(y)`` with ``y = 1 + exp(x)`` in a node of its own
is seen as ``log(1 + exp(x))``.

Guarantees: a read is opened only where its formula means the same in the reader: an unguarded map
of the reader's dtype, read without guards. Views are looked through at once, so that what a
reshape or a broadcast hides has one number; equal reads are one. Opening changes nothing: what a
rule makes of the opened formula is a new body over ``reads``.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TypeAlias

from symprop import term as t
from symprop.graph import At, Node, Reading, Reduce
from symprop.order import mapped, moved
from symprop.simplify.inline import is_map, is_view

__all__ = ["Question", "Window", "defining"]

DEEP = 6  # nodes that one look opens, one behind another
WIDE = 60  # operations of a formula that is opened to be compared


Question: TypeAlias = tuple[str, int]  # "opened" or "sum", of the read of this number
UNKNOWN = t.num(0)  # an answer that no formula behind a read is kept under


class Window:
    """The reads of a node, and what is behind them. ``keep``: nodes that are never opened."""

    def __init__(self, dtype: str, reads: Sequence[Reading], keep: Container[Node] = ()) -> None:
        self.dtype, self.keep = dtype, keep
        self._reads: list[Reading] = list(reads)
        self._seen = False
        self._no_sums: set[int] = set()
        self._told: list[tuple[Question, t.Term | None]] = []
        self.given = tuple(reads)
        self._numbers: dict[Reading, int] = {}
        self._opened: dict[int, t.Term | None] = {}
        self._whole: dict[t.Term, t.Term] = {}
        self._plain: dict[int, int] = {}

    @property
    def reads(self) -> list[Reading]:
        """The reads by number. Who looks at one may see anything of the graph."""
        self._seen = True
        return self._reads

    def sum_at(self, k: int) -> At | None:
        """What number k reads, where that is a sum or an extremum over loops; else None."""
        r = self._reads[k] if k < len(self._reads) else None
        if not isinstance(r, At) or not isinstance(r.node, Reduce) or is_map(r.node):
            if k not in self._no_sums:
                self._no_sums.add(k)
                self._told.append((("sum", k), None))
            return None
        self._seen = True
        return r

    @property
    def told(self) -> list[tuple[Question, t.Term | None]] | None:
        """All that was asked of the graph and answered, in order; None where more was seen."""
        return None if self._seen else self._told

    def answer(self, question: Question) -> t.Term | None:
        """The answer to a question that another window was asked; a sum is told by UNKNOWN."""
        what, k = question
        if what == "opened":
            return self.opened(k)
        return None if self.sum_at(k) is None else UNKNOWN

    def place(self, r: Reading) -> int:
        """The number of a read, one for each value however it is viewed."""
        r = self._behind_views(r)
        found = self._numbers.get(r)
        if found is None:
            found = self._numbers[r] = len(self._reads)
            self._reads.append(r)
        return found

    def _behind_views(self, r: Reading) -> Reading:
        while (
            isinstance(r, At)
            and not r.guards
            and isinstance(r.node, Reduce)
            and is_view(r.node)
            and not r.node.guards
            and r.node not in self.keep
            and r.node.dtype == getattr(r.node.reads[0], "node", r.node).dtype
        ):
            r = moved(r.node.reads[0], mapped(r.node.outer, r.index))
        return r

    def normal(self, body: t.Term) -> t.Term:
        """A body over the node's own reads as one over the numbers of ``place``."""
        return t.replace(body, [t.read(self.place(r)) for r in self.given]) if self.given else body

    def opened(self, k: int) -> t.Term | None:
        """The formula of the value that read k reads, or None where it stays closed."""
        if k not in self._opened:
            self._opened[k] = self._open(k)
            self._told.append((("opened", k), self._opened[k]))
        return self._opened[k]

    def _open(self, k: int) -> t.Term | None:
        r = self._reads[k] if k < len(self._reads) else None
        if not isinstance(r, At) or r.guards or r.node in self.keep:
            return None
        source = r.node
        if not is_map(source) or not isinstance(source, Reduce) or source.guards:
            return None
        if source.dtype != self.dtype:
            return None
        mapping = mapped(source.outer, r.index)
        own = [t.read(self.place(moved(x, mapping))) for x in source.reads]
        return t.replace(source.body, own) if own else source.body

    def look(self, x: t.Term) -> t.Term:
        """A read as the formula behind it, a user's function as its formula; others as they are."""
        for _ in range(DEEP):
            found = self.opened(x.k) if isinstance(x, t.Read) else defining(x)
            if found is None:
                return x
            x = found
        return x

    def whole(self, x: t.Term) -> t.Term:
        """x with every read opened as far as that stays small: to compare two formulas."""
        found = self._whole.get(x)
        if found is None:
            found = x
            for _ in range(DEEP):
                opened = t.rewrite(found, self._one)
                if opened is found or t.operations(opened) > WIDE:
                    break
                found = opened
            self._whole[x] = found
        return found

    def _one(self, x: t.Term) -> t.Term | None:
        return self.opened(x.k) if isinstance(x, t.Read) else defining(x)

    def same(self, a: t.Term, b: t.Term) -> bool:
        """Whether two formulas are one, what they read opened."""
        return a is b or self.whole(a) is self.whole(b)


def defining(x: t.Term) -> t.Term | None:
    """The formula of a call of a user's function that has no derivative of its own; or None."""
    op = getattr(x.fn, "op", None) if isinstance(x, t.Call) else None
    if op is None or op.library or op.declaration.derivative or not isinstance(x, t.Call):
        return None
    return t.replace(op.formula_term, x.args)
