"""derivation: how a value came to be, rule by rule, each with before and after.

In: an expression (a gradient, say). Out: a ``Derivation``: the user's expression it belongs to,
the chain rule's contributions, and every rewrite of the simplifier, in order.

Guarantees: nothing is recomputed or guessed: each line is the origin that the graph recorded when
it made the value; before and after are printed from the nodes themselves. Names are the user's;
unnamed values are t1, t2, ... in the order of the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codegen.index import Atom, Dim, Floor, Gather, Guard, Ix, Loop, Mod
from codegen.index import render as render_ix
from symprop import graph
from symprop import term as t
from symprop.errors import DeclarationError, quoted
from symprop.expression import Expr, axis_names
from symprop.graph import (
    IndexOf,
    Leaf,
    Node,
    Reading,
    Reduce,
    origin,
)
from symprop.simplify.engine import simplify
from symprop.walk import topological

__all__ = ["Derivation", "Line", "derivation"]

LIMIT = 200  # lines: past it the rest is counted, not shown


@dataclass(frozen=True)
class Line:
    """One step: the rule, the value before and after it, and the user's place ("model.py:14")."""

    rule: str
    before: str
    after: str
    place: str

    def __str__(self) -> str:
        where = f"   ({self.place})" if self.place else ""
        return f"{self.rule}{where}\n    {self.before}\n    -> {self.after}"


@dataclass(frozen=True)
class Derivation:
    """The steps, in the order in which they were taken; prints as text."""

    lines: tuple[Line, ...]

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def __str__(self) -> str:
        shown = [f"{k}. {line}" for k, line in enumerate(self.lines[:LIMIT], 1)]
        if len(self.lines) > LIMIT:
            shown.append(f"... and {len(self.lines) - LIMIT} more")
        return "\n".join(shown)


def derivation(x: Expr) -> Derivation:
    """The chain of rules from the user's expressions to this value.

    First the declarations and the chain rule, operands before what is made of them; then the
    rewrites that the simplifier applied to this value and to what it is made of.

    Raises DeclarationError for anything but an expression.
    """
    if not isinstance(x, Expr):
        raise DeclarationError(
            f"derivation needs an expression, but got {quoted(type(x).__name__)}: "
            "hand in what prop.gradient returned"
        )
    write = _Writer()
    lines = [write.declared(n) for n in topological([x.node]) if isinstance(n, Reduce)]
    simple = simplify([x.node])
    seen: set[Node] = set()
    for node in topological(simple):
        lines += write.rewrites(node, seen)
    return Derivation(tuple(line for line in lines if line is not None))


def _rule_names() -> frozenset[str]:
    from symprop.simplify.rules import RULES, SHARED

    return frozenset(r.name for r in (*RULES, SHARED))


class _Writer:
    """Values as one line of index notation each; remembers the labels it gave."""

    def __init__(self) -> None:
        self.labels: dict[object, str] = {}
        self.rules = _rule_names()

    def declared(self, node: Reduce) -> Line | None:
        """A value of the graph as declared or as the chain rule made it."""
        source = origin(node)
        if not source.rule or source.rule in self.rules:
            return None
        before = ", ".join(self.title(n) for n in source.inputs) or "declared"
        return Line(source.rule, before, self.formula(node), source.place)

    def rewrites(self, node: Node, seen: set[Node]) -> list[Line]:
        """The simplifier's steps to this value, first step first."""
        chain: list[tuple[Node, Node]] = []
        while node not in seen:
            seen.add(node)
            source = origin(node)
            if source.rule not in self.rules or not source.inputs:
                break
            chain.append((source.inputs[0], node))
            node = source.inputs[0]
        return [
            Line(origin(b).rule, self.formula(a), self.formula(b), origin(b).place)
            for a, b in reversed(chain)
        ]

    def title(self, node: Node) -> str:
        """The user's name, or a label of this page."""
        name = graph.hint(node)
        if name or isinstance(node, Leaf):
            return name
        key = self.value(node)
        if key not in self.labels:
            self.labels[key] = f"t{len(self.labels) + 1}"
        return self.labels[key]

    def value(self, node: Node) -> object:
        """What stays the same when a value is rewritten: where it first came from."""
        source = origin(node)
        while source.rule in self.rules and source.inputs:
            node = source.inputs[0]
            source = origin(node)
        # A node rebuilt over rewritten operands carries the very origin of the one it replaces.
        return id(source) if source.rule else node

    def formula(self, node: Node) -> str:
        """``h[batch, unit] = sum_{pixel} x[batch, pixel]*W[unit, pixel]``"""
        if not isinstance(node, Reduce):
            return self.title(node)
        names = _loop_names(node)
        head = ", ".join(names[item] for item in node.outer)
        body = t.render(node.body, lambda k: self.read(node.reads[k], names))
        if len(node.loops) > node.nout:
            over = ", ".join(names[item] for item in node.inner)
            body = f"{node.op}_{{{over}}} {body}"
        where = " and ".join(self.guard(g, names) for g in node.guards)
        left = f"{self.title(node)}[{head}]" if head else self.title(node)
        return f"{left} = {body}" + (f" where {where}" if where else "")

    def ix(self, ix: Ix, names: dict[Loop, str]) -> str:
        """An index in the loops' names."""

        def spell(a: Atom) -> str:
            if isinstance(a, Loop):
                return names[a]
            if isinstance(a, Dim):
                return a.name
            if isinstance(a, Floor):
                return f"floor(({self.ix(a.of, names)})/{a.n})"
            if isinstance(a, Mod):
                return f"(({self.ix(a.of, names)}) mod {a.n})"
            assert isinstance(a, Gather)
            assert isinstance(a.source, Node)
            at = ", ".join(self.ix(i, names) for i in a.indices)
            return f"{self.title(a.source)}[{at}]"

        return render_ix(ix, spell)

    def guard(self, g: Guard, names: dict[Loop, str]) -> str:
        """``i - j >= 0``"""
        return f"{self.ix(g.ix, names)} {g.kind} 0"

    def read(self, r: Reading, names: dict[Loop, str]) -> str:
        """An operand at its index, or 0 where its guards do not hold."""
        if isinstance(r, IndexOf):
            return self.ix(r.ix, names)
        node = r.node
        if isinstance(node, Reduce) and not node.reads and not node.guards and not r.index:
            text = t.render(node.body, lambda k: "")
        else:
            at = ", ".join(self.ix(i, names) for i in r.index)
            text = f"{self.title(node)}[{at}]" if r.index else self.title(node)
        where = " and ".join(self.guard(g, names) for g in r.guards)
        return f"({text} if {where} else 0)" if where else text


def _loop_names(node: Reduce) -> dict[Loop, str]:
    """Axis names where they are known, else i, j, k, ...; unique."""
    given = dict(zip(node.outer, axis_names(node), strict=True))
    for r in node.reads:
        if isinstance(r, graph.At):
            for name, ix in zip(axis_names(r.node), r.index, strict=True):
                if isinstance(ix.atom, Loop) and name and not given.get(ix.atom):
                    given[ix.atom] = name
    letters = iter("ijklmnopqrstuvw" + "abcdefgh")
    found: dict[Loop, str] = {}
    for item in node.loops:
        name = given.get(item) or next(letters)
        while name in found.values():
            name += "'"
        found[item] = name
    return found
