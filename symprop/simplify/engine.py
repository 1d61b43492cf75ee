"""Applies the rules until nothing improves, under one global cost gate.

In: roots. Out: roots of equal values, cheaper or equal. Covers every kind of node: values by the
rules, blocks (scans, regions) once each, calls of one operand list merged.

Guarantees: deterministic; a gated rule's sweep is kept only when the whole graph does not cost
more (``symprop.simplify.cost``), else its candidates are tried in halves, and halves of those that
are refused; every rewrite records its rule (``symprop.graph.origin``); names are carried over.
Stops after a fixed number of rounds. Who hands in ``record`` is told of every pass that was kept,
in order, and changes nothing by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from symprop import walk
from symprop.graph import Block, Node, Reduce
from symprop.simplify.context import Context, Rule
from symprop.simplify.cost import Cost, total
from symprop.simplify.rules import RULES, SHARED
from symprop.walk import topological

ROUNDS = 8
TRIES = 32  # parts of a sweep that are tried after all of it was refused
# A node, and how often each operand was used, for which a rule is known not to fire;
# (node, ()) was refused by the gate.
Failed = set[tuple[Node, tuple[int, ...]]]
BLOCKS = "simplify blocks"  # what a record calls the work of ``symprop.simplify.blocks``


class Change(NamedTuple):
    """A place where a rule fired: the value in the graph before the pass, that value over the
    operands as they were by then, and what the rule made of it."""

    place: Node
    before: Node
    after: Node


# (rule, roots before the pass, what it changed, roots after it)
Record: TypeAlias = Callable[[str, list[Node], list[Change], list[Node]], None]


def _unrecorded(rule: str, before: list[Node], changes: list[Change], after: list[Node]) -> None:
    pass


def simplify(
    roots: Sequence[Node], rules: Sequence[Rule] = RULES, record: Record = _unrecorded
) -> list[Node]:
    """The roots, rewritten; see the module's docstring."""
    given = list(roots)
    current = _blocks(given, record)
    current = _values(current, rules, record)
    return _blocks(current, record) if rules is RULES else current


def _blocks(roots: list[Node], record: Record) -> list[Node]:
    from symprop.simplify.blocks import simplify_blocks

    found = simplify_blocks(roots)
    if found != roots:
        record(BLOCKS, roots, [], found)
    return found


_BLOCKS: WeakKeyDictionary[Block, tuple[Node, ...]] = WeakKeyDictionary()


def simplified_outputs(block: Block) -> tuple[Node, ...]:
    """A block's outputs, simplified once however often the block is called."""
    found = _BLOCKS.get(block)
    if found is None:
        found = tuple(simplify(block.outputs))
        _BLOCKS[block] = found
    return found


class Graph(NamedTuple):
    """The roots; their nodes, operands first; how many nodes read each; what all of it costs."""

    roots: list[Node]
    order: list[Node]
    uses: dict[Node, int]
    cost: Cost


def graph_of(roots: Sequence[Node]) -> Graph:
    """The graph of the roots."""
    order = topological(roots)
    uses = dict.fromkeys(order, 0)
    for node in order:
        for operand in node.operands:
            uses[operand] += 1
    return Graph(list(roots), order, uses, total(order))


def _values(roots: list[Node], rules: Sequence[Rule], record: Record) -> list[Node]:
    graph = graph_of(roots)
    failed: dict[str, Failed] = {r.name: set() for r in (*rules, SHARED)}
    for _ in range(ROUNDS):
        before = graph.roots
        for rule in rules:
            graph = _sweep(graph, rule, failed[rule.name], record)
        if graph.roots == before and rules is RULES:
            graph = _share(graph, record)
        if graph.roots == before:
            break
    return graph.roots


def _sweep(graph: Graph, rule: Rule, failed: Failed, record: Record) -> Graph:
    """One pass of one rule over the graph, operands first."""
    changed: list[Change] = []
    new = rewrite(graph, rule, changed, failed)
    if not changed:
        return graph
    after = graph_of(new)
    if after.cost <= graph.cost:
        record(rule.name, graph.roots, changed, new)
        return after
    places = [change.place for change in changed]
    halves = [places[len(places) // 2 :], places[: len(places) // 2]]
    for _ in range(TRIES):
        if not halves:
            break
        some = halves.pop(0)
        part: list[Change] = []
        trial = graph_of(rewrite(graph, rule, part, set(), frozenset(some)))
        if trial.cost < graph.cost or (len(some) > 1 and part and trial.cost <= graph.cost):
            record(rule.name, graph.roots, part, trial.roots)
            graph = trial
        elif len(some) == 1:
            failed.add((some[0], ()))
        elif part:  # the later ones first: what is before them stays as it is
            halves[:0] = [some[len(some) // 2 :], some[: len(some) // 2]]
    return graph


def rewrite(
    graph: Graph,
    rule: Rule,
    changed: list[Change],
    failed: Failed,
    only: frozenset[Node] | None = None,
) -> list[Node]:
    """The roots with the rule applied wherever it fires, or at some nodes alone; ``changed``
    collects the places."""
    quiet = _quiet(graph, rule, failed, only)
    if quiet == len(graph.order):
        return graph.roots
    roots = set(graph.roots)
    uses = {n: graph.uses[n] for n in graph.order[:quiet]}
    context = Context(uses, roots.intersection(uses))
    new: dict[Node, Node] = {}
    for node in graph.order[quiet:]:
        rebuilt = walk.rebuild(node, new)
        if rebuilt is not node:
            walk.carry_over(node, rebuilt)
        if isinstance(rebuilt, Reduce) and (only is None or node in only):
            key = (rebuilt, tuple([uses.get(o, 2) for o in rebuilt.operands]))
            found = None
            if key not in failed and (rebuilt, ()) not in failed:
                found = rule.apply(rebuilt, context)
                if found is None or found is rebuilt:
                    failed.add(key)
                else:
                    changed.append(Change(node, rebuilt, found))
                    walk.carry_over(rebuilt, found, rule.name)
                    rebuilt = found
        if rebuilt is not node:
            new[node] = rebuilt
        uses[rebuilt] = uses.get(rebuilt, 0) + graph.uses[node]
        if node in roots:
            context.keep.add(rebuilt)
    return [new.get(r, r) for r in graph.roots]


def _quiet(graph: Graph, rule: Rule, failed: Failed, only: frozenset[Node] | None) -> int:
    """How many nodes come before the first at which the rule fires: nothing is rebuilt there."""
    context = Context(graph.uses, set(graph.roots))
    for k, node in enumerate(graph.order):
        if isinstance(node, Reduce) and (only is None or node in only):
            key = (node, tuple([graph.uses[o] for o in node.operands]))
            if key in failed or (node, ()) in failed:
                continue
            found = rule.apply(node, context)
            if found is not None and found is not node:
                return k
            failed.add(key)
    return len(graph.order)


def _share(graph: Graph, record: Record) -> Graph:
    """Sums with one core, all rewritten at once: alone, none of them gains."""
    context = Context(graph.uses, set(graph.roots))
    groups: dict[Node, dict[Node, Node]] = {}
    for node in graph.order:
        if isinstance(node, Reduce):
            found = SHARED.apply(node, context)
            for core in (node,) if found is None or found is node else (node, found):
                for sum_ in _sums(core):
                    groups.setdefault(sum_, {})[node] = found if found is not None else node
    for members in groups.values():
        mapping: dict[Node, Node] = {a: b for a, b in members.items() if a is not b}
        if len(members) < 2 or not mapping:
            continue
        trial = graph_of(walk.substitute(graph.roots, mapping))
        if trial.cost < graph.cost:
            for a, b in mapping.items():
                walk.carry_over(a, b, SHARED.name)
            changes = [Change(a, a, b) for a, b in mapping.items()]
            record(SHARED.name, graph.roots, changes, trial.roots)
            return trial
    return graph


def _sums(node: Node) -> list[Node]:
    """The node itself when it is a sum, else the sums it reads directly."""
    if isinstance(node, Reduce) and len(node.loops) > node.nout:
        return [node]
    return [o for o in node.operands if isinstance(o, Reduce) and len(o.loops) > o.nout]


__all__ = [
    "BLOCKS",
    "Change",
    "Graph",
    "Record",
    "graph_of",
    "rewrite",
    "simplified_outputs",
    "simplify",
]
