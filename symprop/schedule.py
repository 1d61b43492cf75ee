"""The order in which values are computed and arguments are overwritten.

In: the values wanted and the updates (state or parameter, its new value), which happen at once.
Out: a ``Schedule``: values in order; for each update whether its value is computed in place, or
first computed aside and copied at the end.

Guarantees: operands first; nothing reads an argument after it was overwritten; what neither
states nor updates enter (the forward and backward pass) comes before what they do (the
optimizer, its plain numbers first), each in order of the roots. Deterministic; depth costs no
recursion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from codegen.index import Gather
from symprop.graph import At, IndexOf, Leaf, Node, Opaque, Output, Reduce, Region, Scan, origin

__all__ = ["Schedule", "children", "ordered", "schedule"]


@dataclass(frozen=True)
class Schedule:
    """``values`` in order of computation (leaves left out); ``in_place``: new value -> target;
    ``copies``: (target, new value) at the end, in order."""

    values: tuple[Node, ...]
    in_place: Mapping[Node, Leaf]
    copies: tuple[tuple[Leaf, Node], ...]


def schedule(roots: Sequence[Node], updates: Sequence[tuple[Leaf, Node]]) -> Schedule:
    """The order for these roots and updates."""
    base, _ = ordered([*roots, *(new for _, new in updates)], {})
    users: dict[Node, list[Node]] = {n: [] for n in base}
    for node in base:
        for operand in node.operands:
            users[operand].append(node)
    wanted = [new for _, new in updates]
    count, shown = Counter(wanted), set(roots)
    in_place = {
        new: leaf
        for leaf, new in updates
        if not users[new] and count[new] == 1 and not {new, leaf} & shown and _foldable(leaf, new)
    }
    while True:
        before = {
            new: [r for r in users.get(leaf, ()) if r is not new] for new, leaf in in_place.items()
        }
        order, culprit = ordered([*roots, *wanted], before)
        if culprit is None:
            break
        del in_place[culprit]
    late: set[Node] = set()
    for node in order:
        if isinstance(node, Leaf):
            if node.kind == "state":
                late.add(node)
        elif node in in_place or any(o in late for o in node.operands):
            late.add(node)
    values = [n for n in order if not isinstance(n, Leaf)]
    numbers: set[Node] = {
        n for n in late if isinstance(n, Leaf)
    }  # late values without axes: first of those
    numbers.update(n for n in values if n not in late)
    first = []
    for node in values:
        single = node in late and not node.dims and node not in in_place and not _many(node)
        if single and numbers.issuperset(node.operands):
            numbers.add(node)
            first.append(node)
    known = set(first)
    rest = [n for n in values if n in late and n not in known]
    values = [n for n in values if n not in late] + first + rest
    copies = tuple((leaf, new) for leaf, new in updates if new not in in_place)
    return Schedule(tuple(values), in_place, copies)


def _many(node: Node) -> bool:
    return isinstance(node, Scan | Region | Opaque | Output)


def _foldable(leaf: Leaf, new: Node) -> bool:
    """Whether the new value can be computed where the old one lies: it writes every element and
    reads the old value at the written element alone."""
    if not isinstance(new, Reduce) or new.guards or new.dtype != leaf.dtype:
        return False
    if new.dims != leaf.dims or leaf not in new.operands:
        return new.dims == leaf.dims and len(new.loops) == new.nout
    if len(new.loops) != new.nout:
        return False
    here = tuple(item.ix() for item in new.outer)
    for r in new.reads:
        ixs = (r.ix,) if isinstance(r, IndexOf) else (*r.index, *(g.ix for g in r.guards))
        if any(isinstance(a, Gather) and a.source is leaf for ix in ixs for a in ix.atoms()):
            return False
        if isinstance(r, At) and r.node is leaf and (r.index != here or r.guards):
            return False
    return True


def children(node: Node) -> list[Node]:
    """The operands of a value, those that the user wrote first in the user's order."""
    operands = node.operands
    if len(operands) < 2:
        return list(operands)
    own = set(operands)
    found = dict.fromkeys(n for n in origin(node).inputs if n in own)
    return [*found, *(o for o in operands if o not in found)]


def ordered(
    roots: Sequence[Node], before: Mapping[Node, Collection[Node]]
) -> tuple[list[Node], Node | None]:
    """Every node the roots need, after its operands and after ``before`` it.

    Where ``before`` makes a circle, the second result is a node whose entry is part of it.
    """
    order: list[Node] = []
    done: set[Node] = set()
    open_: dict[Node, int] = {}
    for root in roots:
        if root in done:
            continue
        stack = [(root, iter([*children(root), *before.get(root, ())]))]
        open_[root] = 0
        while stack:
            node, rest = stack[-1]
            for child in rest:
                if child in done:
                    continue
                if child in open_:
                    return order, _culprit([n for n, _ in stack[open_[child] :]], child, before)
                open_[child] = len(stack)
                stack.append((child, iter([*children(child), *before.get(child, ())])))
                break
            else:
                stack.pop()
                del open_[node]
                done.add(node)
                order.append(node)
    return order, None


def _culprit(path: list[Node], child: Node, before: Mapping[Node, Collection[Node]]) -> Node:
    following = [*path[1:], child]
    for node, after in zip(path, following, strict=True):
        if after in before.get(node, ()) and after not in node.operands:
            return node
    raise AssertionError("a graph without updates has no circle")
