"""What the simplifier did, step by step, with the operations of the whole graph after each.

In: roots. Out: a ``Trace``: the steps in the order in which they were taken, the operations before
the first and after the last, and a trace of every distinct block (of a scan or a region) inside.

Guarantees: it is the simplifier's own record (``symprop.simplify.engine.Record``), replayed: the
graph after the last step is what ``simplify`` returns, and each step begins at the count at which
the one before it ended. Replaying names nothing and leaves no origin behind.

Operations are those of ``symprop.simplify.cost``, free dimensions at their nominal size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from symprop.graph import Block, Node
from symprop.simplify.blocks import distinct_blocks
from symprop.simplify.context import Class
from symprop.simplify.cost import graph_cost
from symprop.simplify.engine import BLOCKS, Change, simplify
from symprop.simplify.rules import RULES, SHARED
from symprop.walk import rebuild, topological

__all__ = ["EVERY_RULE", "Meaning", "Step", "Trace", "trace"]

COUNTED = 60  # counts of one pass: a longer one is shown by several places a step


@dataclass(frozen=True)
class Meaning:
    """What a rule says, in a line of algebra, and what it does to rounding."""

    algebra: str
    kind: Class


EVERY_RULE: dict[str, Meaning] = {
    **{r.name: Meaning(r.algebra, r.kind) for r in (*RULES, SHARED)},
    BLOCKS: Meaning("equal blocks and equal calls once, each simplified inside",
                    "reorders rounding"),
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One rule at one place (of a long pass: at several), and the count before and after.

    ``roots`` are those of the graph before and after; ``carried`` says which value became which.
    """

    rule: str
    changes: tuple[Change, ...]
    before: int
    after: int
    roots: tuple[tuple[Node, ...], tuple[Node, ...]]
    carried: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True)
class Trace:
    """The steps of one graph; ``blocks`` are the traces of its blocks."""

    roots: tuple[Node, ...]
    result: tuple[Node, ...]
    before: int
    after: int
    steps: tuple[Step, ...]
    blocks: tuple[tuple[Block, Trace], ...]


def trace(roots: Sequence[Node]) -> Trace:
    """The roots simplified, every step of it kept."""
    passes: list[tuple[str, list[Node], list[Change], list[Node]]] = []
    result = simplify(roots, RULES, lambda *one: passes.append(one))
    before = count = graph_cost(roots).operations
    steps: list[Step] = []
    blocks: dict[Block, Trace] = {}
    for rule, old, changes, new in passes:
        if rule == BLOCKS:
            for block in distinct_blocks(old):
                if block not in blocks:
                    blocks[block] = trace(block.outputs)
            found = [Step(BLOCKS, (), count, graph_cost(new).operations,
                          (tuple(old), tuple(new)), ())]  # fmt: skip
        else:
            found = _steps(rule, old, changes, count)
        steps += found
        count = steps[-1].after
    worth = tuple((b, found) for b, found in blocks.items() if found.steps)
    return Trace(tuple(roots), tuple(result), before, count, tuple(steps), worth)


def _steps(rule: str, roots: list[Node], changes: list[Change], count: int) -> list[Step]:
    """One pass, place by place."""
    size = -(-len(changes) // COUNTED)
    found: list[Step] = []
    current: Sequence[Node] = roots
    for k in range(0, len(changes), size):
        done = changes[: k + size]
        new, carried = _replayed(roots, done)
        after = graph_cost(new).operations
        found.append(Step(rule, tuple(changes[k : k + size]), count, after,
                          (tuple(current), tuple(new)), tuple(carried.items())))  # fmt: skip
        current, count = new, after
    return found


def _replayed(
    roots: Sequence[Node], changes: Sequence[Change]
) -> tuple[list[Node], dict[Node, Node]]:
    """The graph with these changes made, operands first, and what became of each value."""
    known = {c.place: c.after for c in changes}
    new: dict[Node, Node] = {}
    for node in topological(roots):
        new[node] = known[node] if node in known else rebuild(node, new)
    return [new[r] for r in roots], {a: b for a, b in new.items() if a is not b}
