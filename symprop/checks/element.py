"""The formula of a single element in the user's names: log((x @ w)[0] + b[0]).

In: a value, a point of its loops, a part of its body. Out: text. A value that has a name is called
by it, with its index; one without is written out where it is a formula of others at their elements,
and spelled as in the header of generated code where it is a sum or a block.

Guarantees: deterministic; at most `LONGEST` characters; what is not ASCII is escaped.
"""

from __future__ import annotations

from symprop import term as t
from symprop.graph import At, Node, Reading, Reduce, hint, origin
from symprop.header import called
from symprop.oracle import Oracle, Point, holds

__all__ = ["Element", "element_of", "place_of", "read_at"]

LONGEST = 100
SHORT = 40  # characters of a formula between parentheses, with an index
DEPTH = 4  # values without a name that are written out inside one another
DEEP = 50  # origins that are followed to the user's line


class Element:
    """A node at a point of its loops."""

    def __init__(self, run: Oracle, node: Reduce, point: Point) -> None:
        self.run, self.node, self.point = run, node, point

    def spelled(self, term: t.Term) -> str:
        """A part of the body."""
        for depth in (DEPTH, 0):
            names: list[str] = []
            whole = self._opened(self.node, self.point, term, names, depth)
            text = ascii(t.render(whole, names.__getitem__))[1:-1]
            if len(text) <= LONGEST:
                return text
        return f"{text[: LONGEST - 4].rstrip()} ..."

    def _opened(
        self, node: Reduce, point: Point, term: t.Term, names: list[str], depth: int
    ) -> t.Term:
        """The part over the names of what it reads, and what values without a name read."""
        new = [t.num(0)] * (max(term.reads, default=-1) + 1)
        for k in term.reads:
            new[k] = self._read(node, point, node.reads[k], names, depth)
        return t.replace(term, new)

    def _read(self, node: Reduce, point: Point, r: Reading, names: list[str], depth: int) -> t.Term:
        loops = {item: k for k, item in enumerate(node.loops)}
        if not isinstance(r, At):
            return _named(str(self.run.index(r.ix, loops)(point)), names)
        if not all(holds(ix(point), kind) for ix, kind in self.run.conditions(r.guards, loops)):
            return _named("0", names)  # outside of what is read
        place, of = read_at(self.run, node, r, point), r.node
        if depth and _open(of):
            assert isinstance(of, Reduce)
            return self._opened(of, place, of.body, names, depth - 1)
        return _named(_element(of, place), names)


def read_at(run: Oracle, node: Reduce, read: At, point: Point) -> Point:
    """The index at which something is read."""
    loops = {item: k for k, item in enumerate(node.loops)}
    return tuple(run.index(i, loops)(point) for i in read.index)


def _open(node: Node) -> bool:
    """Whether a value without a name is a formula of others at their elements."""
    plain = isinstance(node, Reduce) and len(node.loops) == node.nout and not node.guards
    return plain and not hint(node) and bool(node.body.reads)  # type: ignore[attr-defined]


def element_of(node: Node, index: Point) -> str:
    """An element by the name of its value, or by the formula of that."""
    return ascii(_element(node, index))[1:-1]


def _element(node: Node, index: Point) -> str:
    at = f"[{', '.join(map(str, index))}]" if index else ""
    return f"{_called(node)}{at}"


def _called(node: Node) -> str:
    """A value inside a formula, so that an index can follow it."""
    name = hint(node)
    if name:
        return name
    text = called(node)
    if "..." not in text and len(text) <= SHORT:
        return text if text.replace(".", "").isalnum() else f"({text})"
    where = place_of(node)
    return f"(value of {where})" if where else "(value)"


def _named(text: str, names: list[str]) -> t.Term:
    if text not in names:
        names.append(text)
    return t.read(names.index(text))


def place_of(node: Node) -> str:
    """The user's line that a value came from."""
    return next((origin(one).place for one in _ancestry(node) if origin(one).place), "")


def _ancestry(node: Node) -> list[Node]:
    """A node, and by its origins what it was made from, the nearest first."""
    found = [node]
    for one in found:
        found += [p for p in dict.fromkeys(origin(one).inputs) if p not in found]
        if len(found) >= DEEP:
            break
    return found[:DEEP]
