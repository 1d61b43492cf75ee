"""Stabilising: naive formulas written so that floats keep their digits, before and after
differentiation.

In: roots. Out: roots of equal values, and at removable singularities their limits. The rules are
those of ``symprop.simplify.stable_rules``; each node is seen together with the maps that it reads
(``symprop.simplify.window``), so that it does not matter how a formula is split over nodes.

Guarantees: deterministic; a value keeps its name and origin, and records the rule; what no rule
speaks of is the same object. ``keep``: nodes that stay as they are and are never looked through,
such as those that a derivative is asked for.

It commutes with differentiation: the derivative of what a rule makes is, over the reals, that of
what was written.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import lru_cache
from typing import TypeAlias
from weakref import WeakKeyDictionary

from symprop import term as t
from symprop.graph import (
    FLOATS,
    Block,
    Node,
    Reduce,
    Region,
    Scan,
    make_block,
    make_region,
    make_scan,
)
from symprop.make import make
from symprop.simplify.window import Question, Window
from symprop.term import Term
from symprop.walk import carry_over, rebuild, topological

__all__ = ["STABILISED", "stabilise", "stable_term"]

_STABLE: WeakKeyDictionary[Node, Node] = WeakKeyDictionary()
_BLOCKS: WeakKeyDictionary[Block, Block] = WeakKeyDictionary()
# Where no rule fired in a formula: the question about its reads that came first, and after each
# answer the next; {} where that was all. The updates of all parameters are one formula, asked once
Quiet: TypeAlias = "dict[Question, dict[Term | None, Quiet]]"
_QUIET: WeakKeyDictionary[Term, dict[str, Quiet]] = WeakKeyDictionary()
STABILISED = "stabilise: "  # what the origin of a value says before the name of its rule
NOTHING: frozenset[Node] = frozenset()


@lru_cache(4096)
def stable_term(body: Term) -> Term:
    """A formula alone, its reads closed: a local derivative."""
    from symprop.simplify.stable_rules import stabilised

    return stabilised(body)


def stabilise(roots: Sequence[Node], keep: Container[Node] = NOTHING) -> list[Node]:
    """The roots, rewritten; see the module's docstring."""
    new: dict[Node, Node] = {}
    for node in topological(roots):
        if node in keep:
            continue
        rebuilt = rebuild(node, new)
        if isinstance(rebuilt, Reduce):
            rebuilt = _stable(rebuilt, keep)
        elif isinstance(rebuilt, Scan | Region):
            rebuilt = _called(rebuilt)
        if rebuilt is not node:
            if not isinstance(node, Scan | Region):
                carry_over(node, rebuilt)
            new[node] = rebuilt
    return [new.get(r, r) for r in roots]


def _called(node: Scan | Region) -> Scan | Region:
    """A call of the stable block."""
    block = _BLOCKS.get(node.block)
    if block is None:
        given = node.block
        outputs = stabilise(given.outputs)
        same = tuple(outputs) == given.outputs
        block = given if same else make_block(given.leaves, outputs, given.name, given.names)
        _BLOCKS[given] = block
    if block is node.block:
        return node
    if isinstance(node, Region):
        return make_region(block, node.arguments)
    return make_scan(block, node.length, node.reverse, node.ncarry, node.nslice, node.arguments)


def _stable(node: Reduce, keep: Container[Node]) -> Node:
    """The node with a stable body."""
    if node.dtype not in FLOATS or t.operations(node.body) == 0:
        return node
    if keep is NOTHING:
        found = _STABLE.get(node)
        if found is None:
            found = _STABLE[node] = _rewritten(node, keep)
        return found
    return _rewritten(node, keep)


def _is_quiet(at: Quiet | None, window: Window) -> bool:
    """Whether the questions that were asked before have answers here with which no rule fired."""
    while at:
        ((question, branches),) = at.items()
        at = branches.get(window.answer(question))
    return at is not None


def _rewritten(node: Reduce, keep: Container[Node]) -> Node:
    from symprop.simplify.stable_rules import stabilised

    window = Window(node.dtype, node.reads, keep)
    given = window.normal(node.body)
    quiet = _QUIET.setdefault(given, {}) if keep is NOTHING else {}
    if _is_quiet(quiet.get(node.dtype), window):
        return node
    fired: list[str] = []
    body = stabilised(given, window, fired)
    if not fired:
        if window.told is not None:
            at = quiet.setdefault(node.dtype, {})
            for question, answer in window.told:
                at = at.setdefault(question, {}).setdefault(answer, {})
        return node
    made = make(node.op, node.loops, node.nout, node.guards, body, window.reads, node.dtype,
                node.accumulator)  # fmt: skip
    carry_over(node, made, STABILISED + fired[0])
    return made
