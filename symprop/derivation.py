"""derivation: how a value came to be, rule by rule, each with before and after and what it costs.

In: an expression (a gradient, say). Out: a ``Derivation``: what the user declared, the chain rule
from the loss down, every rewrite of the simplifier in the order in which it was taken, and how
often each rule was used.

Guarantees: nothing is guessed: declarations and the chain rule are the origins that the graph
recorded, rewrites are the simplifier's own record (``symprop.rewrites``), and before and after are
printed from the nodes, which a line keeps. Counts are those of the whole graph after each line:
each line begins where the one before it ended. Names are those of generated code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from codegen.names import Names
from symprop.derivation_text import line as line_text
from symprop.derivation_text import page
from symprop.equality.sampling import free_dims
from symprop.errors import DeclarationError, quoted
from symprop.expression import Expr
from symprop.graph import (
    Block,
    Leaf,
    Node,
    Opaque,
    Output,
    Reduce,
    Region,
    Scan,
    hint,
    origin,
)
from symprop.naming import adjoint_of, dim_name, divisor
from symprop.rewrites import EVERY_RULE, Step, Trace, trace
from symprop.simplify.cost import node_cost
from symprop.spelling import Pattern, Spelling
from symprop.walk import topological, users

__all__ = ["Derivation", "Line", "Operations", "Rule", "derivation"]

Stage = Literal["forward", "backward", "simplify"]
CHAIN = "cotangent of the result times the derivative, summed over what the step repeated"
ADDED = "a value used several times: the contributions of its uses are added"
SEED = "the derivative of the result itself, 1, and what depends on no variable"
DIVIDED = "the result is divided by {0}, as a mean is: each of its terms gets 1/{0}"


class Operations(NamedTuple):
    """Scalar operations of everything so far, before a line and after it."""

    before: int
    after: int


@dataclass(frozen=True)
class Line:
    """One step.

    ``stage``: forward (declared), backward (the chain rule) or simplify; ``block``: the repeated
    block inside which a rewrite happened, or "". ``algebra`` is what the rule says, ``kind`` what
    it does to rounding. ``before`` is empty for a declaration; for the chain rule it is the step
    that is differentiated. ``note`` says where a value comes from that no rule before it
    explains. ``old`` and ``new`` are the nodes, one a place.
    """

    number: int
    stage: Stage
    rule: str
    algebra: str
    kind: str
    before: str
    after: str
    operations: Operations
    place: str
    block: str = ""
    needed: bool = True
    note: str = ""
    old: tuple[Node, ...] = field(default=(), repr=False, compare=False)
    new: tuple[Node, ...] = field(default=(), repr=False, compare=False)

    def __str__(self) -> str:
        return line_text(self)


class Rule(NamedTuple):
    """How often a rule was used, and the operations that it added (saved: negative)."""

    name: str
    algebra: str
    kind: str
    times: int
    operations: int


@dataclass(frozen=True)
class Derivation:
    """The lines, in the order in which they were taken; prints as a page.

    ``derived`` is the count before the simplifier, ``simplified`` the count after it; ``sizes`` are
    those at which free dimensions were counted.
    """

    title: str
    lines: tuple[Line, ...]
    derived: int
    simplified: int
    sizes: dict[str, int]

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Each rule that was used, in the order of its first use."""
        found: dict[str, Rule] = {}
        for one in self.lines:
            if one.block or one.stage == "forward":
                continue
            own = found.get(one.rule, Rule(one.rule, one.algebra, one.kind, 0, 0))
            more = one.operations.after - one.operations.before
            times = own.times + max(len(one.new), 1)
            found[one.rule] = own._replace(times=times, operations=own.operations + more)
        return tuple(found.values())

    def __str__(self) -> str:
        return page(self)

    __repr__ = __str__

    def to_json(self) -> dict[str, Any]:
        """Plain data: title, counts, sizes, lines and rules, as dicts and lists."""
        hidden = ("old", "new", "operations")
        lines = [
            {k: v for k, v in vars(one).items() if k not in hidden}
            | {"operations": list(one.operations)}
            for one in self.lines
        ]
        return {
            "title": self.title,
            "derived": self.derived,
            "simplified": self.simplified,
            "sizes": dict(self.sizes),
            "lines": lines,
            "rules": [r._asdict() for r in self.rules],
        }


def derivation(x: Expr) -> Derivation:
    """The chain of rules from the user's expressions to this value.

    First the declarations, then the chain rule from the loss down, then the rewrites that the
    simplifier applies to this value and to what it is made of.

    Raises DeclarationError for anything but an expression.
    """
    if not isinstance(x, Expr):
        raise DeclarationError(
            f"derivation needs an expression, but got {quoted(type(x).__name__)}: "
            "hand in what prop.gradient returned"
        )
    graph = _Declared(x.node)
    spell = Spelling(patterns=graph.patterns)
    title = spell.line(x.node).partition(" = ")[0] if hint(x.node) else "an expression"
    writer = _Writer(spell)
    writer.declared(graph)
    found = trace([x.node])
    writer.count = found.before
    writer.rewritten(found)
    sizes = {d.name: d.nominal for d in free_dims([x.node])}
    return Derivation(title, tuple(writer.lines), found.before, found.after, sizes)


# --- what was declared, and the chain rule -------------------------------------------------------


class _Declared:
    """The values of a page before the simplifier: the needed ones, and those they were derived
    from, operands first."""

    def __init__(self, root: Node) -> None:
        self.needed = set(topological([root]))
        self.order = _closure(root)
        self.backward: set[Node] = set()
        seeds = {
            origin(n).inputs[2]
            for n in self.order
            if origin(n).rule == "chain rule" and len(origin(n).inputs) == 3
        }
        for n in self.order:
            own = adjoint_of(n) is not None or hint(n).startswith("t_")
            fixed = n in seeds and not origin(n).rule
            if own or fixed or any(o in self.backward for o in n.operands):
                self.backward.add(n)
        self._constants()
        self.patterns = self._patterns()

    def _constants(self) -> None:
        """What depends on no variable and is read by the chain rule alone belongs to it."""
        readers = users(self.order)
        for n in reversed(self.order):
            alone = bool(readers[n]) and all(u in self.backward for u in readers[n])
            if n.common and not origin(n).rule and alone:
                self.backward.add(n)

    def _patterns(self) -> dict[Node, Pattern]:
        """Names of values whose role is known from the chain rule."""
        found: dict[Node, Pattern] = {}
        for n in self.order:
            source = origin(n)
            if source.rule.startswith("cotangent of"):
                primal, *parts = source.inputs
                for part in parts:
                    if part is not n and len(origin(part).inputs) == 3:
                        via = origin(part).inputs[1]
                        found.setdefault(part, ("d_{}_via_{}", (primal, via)))
            elif source.rule == "chain rule" and len(source.inputs) == 3:
                _, node, g = source.inputs
                if g.common:
                    found.setdefault(g, ("d_{}", (node,)))
            for part in source.inputs:  # the product inside hidden = x W^T + b
                if hint(n) and source.rule == "+" and not hint(part) and origin(part).rule == "@":
                    found.setdefault(part, ("{}_product", (n,)))
        return found


def _closure(root: Node) -> list[Node]:
    """The root, what it is computed from, and what that was derived from; operands first."""
    order: list[Node] = []
    seen = {root}
    stack = [(root, iter(_sources(root)))]
    while stack:
        node, rest = stack[-1]
        for child in rest:
            if child not in seen:
                seen.add(child)
                stack.append((child, iter(_sources(child))))
                break
        else:
            order.append(node)
            stack.pop()
    return order


def _sources(node: Node) -> Sequence[Node]:
    derived = origin(node).inputs if adjoint_of(node) is not None else ()
    return tuple(dict.fromkeys((*node.operands, *derived)))


class _Writer:
    """The lines of a page, and the count after the last."""

    def __init__(self, spell: Spelling) -> None:
        self.spell = spell
        self.lines: list[Line] = []
        self.names = Names()  # of blocks
        self.count = 0

    def declared(self, graph: _Declared) -> None:
        """Forward, then backward, each value when its operands are there."""
        results: dict[Node, list[Node]] = {}
        for node in graph.order:
            if isinstance(node, Output):
                results.setdefault(node.of, []).append(node)
        stages: tuple[Stage, ...] = ("forward", "backward")
        for stage in stages:
            for node in graph.order:
                if isinstance(node, Leaf | Output) or (node in graph.backward) != (
                    stage != stages[0]
                ):
                    continue
                needed = node in graph.needed
                before = self.count
                self.count += node_cost(node).operations if needed else 0
                counts = Operations(before, self.count)
                if isinstance(node, Scan | Region | Opaque):
                    own = sorted(results[node], key=lambda n: n.n)  # type: ignore[attr-defined]
                    self.value(own[0], stage, counts, needed, self.spell.call(node, own))
                else:
                    self.value(node, stage, counts, needed, self.spell.line(node))

    def value(self, node: Node, stage: Stage, counts: Operations, needed: bool, text: str) -> None:
        """The line of one value of the graph."""
        source = origin(node)
        rule, algebra, was, note = source.rule or _kind(node), "", "", ""
        if rule == "chain rule":
            algebra = CHAIN
            was = self.spell.line(source.inputs[1]) if len(source.inputs) == 3 else ""
        elif rule.startswith("cotangent of"):
            alone = source.inputs[1:] == (node,)
            rule, algebra = ("chain rule", CHAIN) if alone else ("add contributions", ADDED)
        elif stage == "backward" and not source.rule and node.common:
            rule, algebra = "start", SEED
            size = divisor(node)
            note = DIVIDED.format(dim_name(size)) if size is not None and dim_name(size) else ""
        self.lines.append(
            Line(len(self.lines) + 1, stage, rule, algebra, "exact", was, text, counts,
                 source.place, needed=needed, note=note, new=(node,))
        )  # fmt: skip

    # --- the simplifier -------------------------------------------------------------------

    def rewritten(self, found: Trace, block: str = "") -> None:
        """The simplifier's steps, those inside blocks after the step that names them."""
        for step in found.steps:
            if not step.changes:
                self.blocks(step, block)
                for inside, own in found.blocks:
                    self.inside(inside, own)
            else:
                self.rewrite(step, block)

    def blocks(self, step: Step, block: str) -> None:
        names = ", ".join(_called(step.roots[0])) or "a block"
        for old, new in _matched(self.spell, *step.roots):
            self.spell.carry(old, new)
        rule = EVERY_RULE[step.rule]
        self.lines.append(
            Line(len(self.lines) + 1, "simplify", step.rule, rule.algebra, rule.kind,
                 f"{names} as declared", f"{names} simplified",
                 Operations(step.before, step.after), "", block, old=step.roots[0],
                 new=step.roots[1])
        )  # fmt: skip

    def inside(self, block: Block, found: Trace) -> None:
        """The steps inside a block, under its own names and counts."""
        names = dict(zip(block.leaves, block.names, strict=True))
        inner = _Writer(Spelling({n: word for n, word in names.items() if word}))
        inner.lines = self.lines
        inner.names = self.names
        inner.rewritten(found, self.names(self.spell.name_of(block)))

    def rewrite(self, step: Step, block: str) -> None:
        """One rule at one place, or at the places of a long pass."""
        for change in step.changes:
            self.spell.name(change.place)
            self.spell.carry(change.place, change.before)
        before = "; ".join(self.spell.line(c.before) for c in step.changes[:1])
        for old, new in step.carried:
            self.spell.carry(old, new)
        for change in step.changes:
            self.spell.carry(change.place, change.after)
        after = self.spell.line(step.changes[0].after)
        more = len(step.changes) - 1
        rule = EVERY_RULE[step.rule]
        self.lines.append(
            Line(len(self.lines) + 1, "simplify", step.rule, rule.algebra, rule.kind, before,
                 after + (f"; and {more} places more" if more else ""),
                 Operations(step.before, step.after), origin(step.changes[0].place).place, block,
                 old=tuple(c.before for c in step.changes),
                 new=tuple(c.after for c in step.changes))
        )  # fmt: skip


def _kind(node: Node) -> str:
    """A word for a value that no rule of the user's made."""
    if isinstance(node, Output):
        return {Scan: "scan", Region: "region"}.get(type(node.of), "operation")
    if isinstance(node, Reduce) and len(node.loops) > node.nout:
        return node.op
    return "value"


def _matched(
    spell: Spelling, before: Sequence[Node], after: Sequence[Node]
) -> list[tuple[Node, Node]]:
    """Values of two graphs that are one value: of one origin, or of one role."""
    old, new = topological(before), topological(after)
    kept = set(old) & set(new)
    known: dict[object, Node] = {}
    for n in old:
        if n not in kept and not isinstance(n, Scan | Region | Opaque):
            known.setdefault(_identity(spell, n), n)
    pairs = []
    for n in new:
        if n not in kept and not isinstance(n, Scan | Region | Opaque):
            twin = known.pop(_identity(spell, n), None)
            if twin is not None:
                pairs.append((twin, n))
    return pairs


def _identity(spell: Spelling, node: Node) -> object:
    source = origin(node)
    return id(source) if source.rule else spell.word(node)


def _called(roots: Sequence[Node]) -> list[str]:
    """The blocks that the roots call, by name."""
    plain = Spelling()
    calls = [n for n in topological(roots) if isinstance(n, Scan | Region)]
    return list(dict.fromkeys(plain.name_of(n.block) for n in calls))
