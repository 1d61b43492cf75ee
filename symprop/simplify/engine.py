"""Applies the rules until nothing improves, under one global cost gate.

In: roots. Out: roots of equal values, cheaper or equal. Covers every kind of node: values by the
rules, blocks (scans, regions) once each, calls of one operand list merged.

Guarantees: deterministic; a gated rule's sweep is kept only when the whole graph does not cost
more (``symprop.simplify.cost``), else its candidates are tried one by one; every rewrite records
its rule (``symprop.graph.origin``); names are carried over. Stops after a fixed number of rounds.
Who hands in ``record`` is told of every pass that was kept, in order, and changes nothing by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from symprop import walk
from symprop.graph import Block, Node, Reduce
from symprop.simplify.context import Context, Rule
from symprop.simplify.cost import Cost, graph_cost
from symprop.simplify.rules import RULES, SHARED
from symprop.walk import topological

ROUNDS = 8
SINGLE_TRIES = 24  # candidates tried one by one after a sweep was refused
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


def _values(roots: list[Node], rules: Sequence[Rule], record: Record) -> list[Node]:
    cost = graph_cost(roots)
    failed: dict[str, Failed] = {r.name: set() for r in (*rules, SHARED)}
    for _ in range(ROUNDS):
        before = roots
        for rule in rules:
            roots, cost = _sweep(roots, rule, cost, failed[rule.name], record)
        if roots == before and rules is RULES:
            roots, cost = _share(roots, cost, record)
        if roots == before:
            break
    return roots


def _sweep(
    roots: list[Node], rule: Rule, cost: Cost, failed: Failed, record: Record
) -> tuple[list[Node], Cost]:
    """One pass of one rule over the graph, operands first."""
    changed: list[Change] = []
    new = rewrite(roots, rule, changed, failed)
    if not changed:
        return roots, cost
    after = graph_cost(new)
    if after <= cost:
        record(rule.name, roots, changed, new)
        return new, after
    for target, _, _ in changed[:SINGLE_TRIES]:
        single: list[Change] = []
        trial = rewrite(roots, rule, single, set(), lambda n, target=target: n is target)  # type: ignore[misc]
        found = graph_cost(trial)
        if found < cost:
            record(rule.name, roots, single, trial)
            roots, cost = trial, found
        else:
            failed.add((target, ()))
    return roots, cost


def rewrite(
    roots: Sequence[Node],
    rule: Rule,
    changed: list[Change],
    failed: Failed,
    only: Callable[[Node], bool] | None = None,
) -> list[Node]:
    """The roots with the rule applied wherever it fires; ``changed`` collects the places."""
    order = topological(roots)
    users = walk.users(order)
    context = Context({}, set())
    new: dict[Node, Node] = {}
    keep = set(roots)
    for node in order:
        rebuilt = walk.rebuild(node, new)
        if rebuilt is not node:
            walk.carry_over(node, rebuilt)
        key = (rebuilt, tuple(context.uses.get(o, 2) for o in rebuilt.operands))
        open_ = key not in failed and (rebuilt, ()) not in failed
        if isinstance(rebuilt, Reduce) and open_ and (only is None or only(node)):
            found = rule.apply(rebuilt, context)
            if found is None or found is rebuilt:
                failed.add(key)
            else:
                changed.append(Change(node, rebuilt, found))
                walk.carry_over(rebuilt, found, rule.name)
                rebuilt = found
        new[node] = rebuilt
        context.uses[rebuilt] = context.uses.get(rebuilt, 0) + len(users[node])
        if node in keep:
            context.keep.add(rebuilt)
    return [new[r] for r in roots]


def _share(roots: list[Node], cost: Cost, record: Record) -> tuple[list[Node], Cost]:
    """Sums with one core, all rewritten at once: alone, none of them gains."""
    order = topological(roots)
    users = walk.users(order)
    context = Context({n: len(us) for n, us in users.items()}, set(roots))
    groups: dict[Node, dict[Node, Node]] = {}
    for node in order:
        if isinstance(node, Reduce):
            found = SHARED.apply(node, context)
            for core in (node,) if found is None or found is node else (node, found):
                for sum_ in _sums(core):
                    groups.setdefault(sum_, {})[node] = found if found is not None else node
    for members in groups.values():
        mapping: dict[Node, Node] = {a: b for a, b in members.items() if a is not b}
        if len(members) < 2 or not mapping:
            continue
        trial = walk.substitute(roots, mapping)
        after = graph_cost(trial)
        if after < cost:
            for a, b in mapping.items():
                walk.carry_over(a, b, SHARED.name)
            record(SHARED.name, roots, [Change(a, a, b) for a, b in mapping.items()], trial)
            return trial, after
    return roots, cost


def _sums(node: Node) -> list[Node]:
    """The node itself when it is a sum, else the sums it reads directly."""
    if isinstance(node, Reduce) and len(node.loops) > node.nout:
        return [node]
    return [o for o in node.operands if isinstance(o, Reduce) and len(o.loops) > o.nout]


__all__ = ["BLOCKS", "Change", "Record", "rewrite", "simplified_outputs", "simplify"]
