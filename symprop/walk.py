"""Walking and rebuilding GRAPH: orders, users, substitution.

In: roots. Out: nodes in topological order; graphs with nodes replaced. Iterative: networks are
deep. Guarantees: deterministic for the order of roots; a rebuilt value keeps its name and origin.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

from codegen.index import Gather, Ix, gather
from codegen.index import substitute as substitute_ix
from codegen.index import transform as transform_ix
from symprop.graph import (
    Block,
    IndexOf,
    Leaf,
    Node,
    Opaque,
    Origin,
    Output,
    Reduce,
    Region,
    Scan,
    hint,
    local_like,
    make_block,
    make_opaque,
    make_output,
    make_region,
    make_scan,
    new_leaf,
    origin,
    remember,
    rename,
    suggest,
    suggested,
)
from symprop.term import Read


def topological(roots: Iterable[Node]) -> list[Node]:
    """Every node the roots need, operands first; deterministic for the order of roots."""
    order: list[Node] = []
    seen: set[Node] = set()
    for root in roots:
        if root in seen:
            continue
        seen.add(root)
        stack: list[tuple[Node, Iterator[Node]]] = [(root, iter(root.operands))]
        while stack:
            node, rest = stack[-1]
            for child in rest:
                if child not in seen:
                    seen.add(child)
                    stack.append((child, iter(child.operands)))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def leaves(roots: Iterable[Node]) -> list[Leaf]:
    """The leaves the roots need, in order of first use."""
    return [n for n in topological(roots) if isinstance(n, Leaf)]


def as_read(roots: Sequence[Node], wanted: Iterable[Node], within: Container[Node]) -> list[Node]:
    """The wanted nodes in the order in which the user's expressions read them.

    Unlike the order of operands it does not depend on names: equal expressions of other leaves
    give the same order. What is not ``within`` is looked through only as far as the first wanted.
    """
    left = dict.fromkeys(wanted)
    found: list[Node] = []
    seen: set[Node] = set()
    stack = list(reversed(roots))
    while stack and left:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node in left:
            del left[node]
            found.append(node)
            continue
        below = node.operands
        if node in within:
            below = tuple(dict.fromkeys([*origin(node).inputs, *below]))
        stack.extend(n for n in reversed(below) if n not in seen)
    return [*found, *left]


def users(order: Sequence[Node]) -> dict[Node, list[Node]]:
    """For each node of a topological order, the nodes that read it."""
    found: dict[Node, list[Node]] = {n: [] for n in order}
    for node in order:
        for operand in node.operands:
            found[operand].append(node)
    return found


def gathered(ix: Ix) -> Iterator[Node]:
    """The nodes an index reads through gathers."""
    for atom in ix.atoms() if ix.gathers else ():
        if isinstance(atom, Gather):
            yield atom.source  # type: ignore[misc]


def gathered_at(node: Node, index: Sequence[Ix]) -> Ix:
    """The integer a node holds at an index; of a map of indices, that index itself."""
    if isinstance(node, Reduce) and len(node.loops) == node.nout and not node.guards:
        first = node.reads[0] if node.reads else None
        if isinstance(node.body, Read) and isinstance(first, IndexOf):
            return substitute_ix(first.ix, dict(zip(node.outer, index, strict=True)))
    return gather(node, index)


def swap_sources(ix: Ix, new: Mapping[Node, Node]) -> Ix:
    """The index with gather sources replaced."""
    if not ix.gathers:
        return ix

    def change(atom: object) -> Ix | None:
        if isinstance(atom, Gather):
            source: Any = new.get(atom.source, atom.source)  # type: ignore[call-overload]
            inner = tuple(transform_ix(i, change) for i in atom.indices)
            if source is not atom.source or inner != atom.indices:
                return gathered_at(source, inner)
        return None

    return transform_ix(ix, change)


def rebuild(node: Node, new: Mapping[Node, Node]) -> Node:
    """The node with operands replaced (those absent from ``new`` stay)."""
    for o in node.operands:
        if new.get(o, o) is not o:
            break
    else:
        return node
    if isinstance(node, Reduce):
        from symprop.make import remake

        return remake(node, new)
    if isinstance(node, Output):
        of = new.get(node.of, node.of)
        return make_output(of, node.n)  # type: ignore[arg-type]
    assert isinstance(node, Scan | Region | Opaque)
    arguments = [new.get(a, a) for a in node.arguments]
    if isinstance(node, Scan):
        return make_scan(node.block, node.length, node.reverse, node.ncarry, node.nslice, arguments)
    if isinstance(node, Region):
        return make_region(node.block, arguments)
    return make_opaque(node.atom, arguments, dict(node.attributes))


def substitute(roots: Sequence[Node], mapping: Mapping[Node, Node]) -> list[Node]:
    """The roots with nodes replaced everywhere (blocks are closed and stay)."""
    new: dict[Node, Node] = dict(mapping)
    for node in topological(roots):
        if node not in new:
            rebuilt = rebuild(node, new)
            if rebuilt is not node:
                carry_over(node, rebuilt)
            new[node] = rebuilt
    return [new[r] for r in roots]


def carry_over(old: Node, new: Node, rule: str = "") -> None:
    """A rewritten value keeps its name and origin; ``rule`` is recorded when given."""
    if new is old or isinstance(new, Leaf):
        return
    if hint(old) and not hint(new):
        rename(new, hint(old))
    if suggested(old):
        suggest(new, suggested(old))
    if rule:
        remember(new, Origin(place=origin(old).place, rule=rule, inputs=(old,)))
    else:
        remember(new, origin(old))


def block_over(
    leaves: Sequence[Leaf], outputs: Sequence[Node], name: str = "", names: Sequence[str] = ()
) -> Block:
    """The block over exactly these leaves of any graph, renumbered by position."""
    final: dict[Node, Node] = {leaf: local_like(k, leaf) for k, leaf in enumerate(leaves)}
    if any(a is not b for a, b in final.items()):
        # Positions may shift onto each other: go through leaves that no block has.
        away: dict[Node, Node] = {leaf: _apart(leaf, k) for k, leaf in enumerate(leaves)}
        outputs = substitute(outputs, away)
        outputs = substitute(outputs, {away[leaf]: new for leaf, new in final.items()})
    return make_block(list(final.values()), outputs, name, names)  # type: ignore[arg-type]


def _apart(leaf: Leaf, k: int) -> Leaf:
    found = new_leaf("local", f"%t{k}", leaf.dims, leaf.dtype, low=leaf.low, high=leaf.high)
    found.scope = leaf.scope
    return found
