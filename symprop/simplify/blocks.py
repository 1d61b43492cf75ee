"""Blocks of scans and regions: simplified once, merged where they share operands, trimmed.

In: roots. Out: roots of equal values.

    merge    two calls with the same operands, one block giving more outputs: one call
    simplify each distinct block once
    trim     outputs that nothing reads and operands that the block does not read are dropped

Guarantees: exact; equal blocks stay one object, so the work and the code of a repeated region do
not depend on how often it is called.
"""

from __future__ import annotations

from collections.abc import Sequence

from symprop import graph
from symprop.graph import (
    Block,
    Leaf,
    Node,
    Output,
    Region,
    Scan,
    local_like,
    make_block,
    make_output,
    make_region,
    make_scan,
    topological,
)


def simplify_blocks(roots: list[Node]) -> list[Node]:
    """Merge, simplify, trim."""
    if not any(isinstance(n, Scan | Region) for n in topological(roots)):
        return roots
    roots = _merged(roots)
    roots = _inner(roots)
    return _trimmed(roots)


def _key(node: Scan | Region) -> tuple[object, ...]:
    if isinstance(node, Scan):
        return (node.block.leaves, node.arguments, node.length, node.reverse, node.ncarry, node.nslice)
    return (node.block.leaves, node.arguments)


def _call(node: Scan | Region, block: Block, arguments: Sequence[Node]) -> Scan | Region:
    if isinstance(node, Region):
        return make_region(block, arguments)
    return make_scan(block, node.length, node.reverse, node.ncarry, node.nslice, arguments)


def _merged(roots: list[Node]) -> list[Node]:
    """Calls with equal operands give their outputs together."""
    while True:
        groups: dict[tuple[object, ...], list[Scan | Region]] = {}
        for node in topological(roots):
            if isinstance(node, Scan | Region):
                groups.setdefault(_key(node), []).append(node)
        mapping: dict[Node, Node] = {}
        for calls in groups.values():
            if len(calls) > 1:
                mapping |= _union(calls)
        if not mapping:
            return roots
        roots = graph.substitute(roots, mapping)


def _union(calls: list[Scan | Region]) -> dict[Node, Node]:
    first = calls[0]
    carries = first.ncarry if isinstance(first, Scan) else 0
    if any(c.block.outputs[:carries] != first.block.outputs[:carries] for c in calls):
        return {}
    outputs = dict.fromkeys(first.block.outputs[:carries])
    every: list[Node] = list(first.block.outputs[:carries])
    for c in calls:
        for n in c.block.outputs[carries:]:
            if n not in outputs or n in every[:carries]:
                outputs[n] = None
                if n not in every[carries:]:
                    every.append(n)
    block = make_block(first.block.leaves, every, first.block.name, first.block.names)
    joint = _call(first, block, first.arguments)
    mapping: dict[Node, Node] = {}
    for c in calls:
        for n, inner in enumerate(c.block.outputs):
            at = n if n < carries else carries + every[carries:].index(inner)
            old, new = make_output(c, n), make_output(joint, at)
            graph.carry_over(old, new)
            if old is not new:
                mapping[old] = new
    return mapping


def _inner(roots: list[Node]) -> list[Node]:
    """Every distinct block simplified once."""
    from symprop.simplify.engine import simplified_outputs

    new: dict[Node, Node] = {}
    for node in topological(roots):
        rebuilt = graph.rebuild(node, new)
        if isinstance(rebuilt, Scan | Region):
            block = rebuilt.block
            outs = simplified_outputs(block)
            if outs != block.outputs:
                made = make_block(block.leaves, outs, block.name, block.names)
                rebuilt = _call(rebuilt, made, rebuilt.arguments)
        if rebuilt is not node and not isinstance(node, Scan | Region):
            graph.carry_over(node, rebuilt)
        new[node] = rebuilt
    return [new[r] for r in roots]


def _trimmed(roots: list[Node]) -> list[Node]:
    """Outputs nobody reads and leaves the block does not read go."""
    while True:
        order = topological(roots)
        read: dict[Node, set[int]] = {}
        for node in order:
            if isinstance(node, Output):
                read.setdefault(node.of, set()).add(node.n)
        mapping: dict[Node, Node] = {}
        for node in order:
            if isinstance(node, Scan | Region):
                mapping |= _trim(node, read.get(node, set()))
        if not mapping:
            return roots
        roots = graph.substitute(roots, mapping)


def _trim(node: Scan | Region, read: set[int]) -> dict[Node, Node]:
    carries = node.ncarry if isinstance(node, Scan) else 0
    kept = [n for n in range(len(node.block.outputs)) if n < carries or n in read]
    firsts = [node.block.outputs.index(node.block.outputs[n], carries if n >= carries else n)
              for n in kept]  # fmt: skip
    unique = sorted(set(firsts))
    outs = [node.block.outputs[n] for n in unique]
    used = set(topological(outs))
    fixed = carries
    leaves = [k for k, leaf in enumerate(node.block.leaves) if k < fixed or leaf in used]
    if len(unique) == len(node.block.outputs) and len(leaves) == len(node.block.leaves):
        return {}
    block = renumbered(node.block, [node.block.leaves[k] for k in leaves], outs,
                       [node.block.names[k] for k in leaves])  # fmt: skip
    arguments = [node.arguments[k] for k in leaves]
    if isinstance(node, Scan):
        slices = sum(carries <= k < carries + node.nslice for k in leaves)
        made: Scan | Region = make_scan(
            block, node.length, node.reverse, carries, slices, arguments
        )
    else:
        made = make_region(block, arguments)
    mapping: dict[Node, Node] = {}
    for n, first in zip(kept, firsts, strict=True):
        old, new = make_output(node, n), make_output(made, unique.index(first))
        graph.carry_over(old, new)
        mapping[old] = new
    return mapping


def renumbered(
    block: Block, leaves: Sequence[Leaf], outputs: Sequence[Node], names: Sequence[str]
) -> Block:
    """A block over these leaves, numbered by position."""
    new: dict[Node, Node] = {}
    for k, leaf in enumerate(leaves):
        new[leaf] = local_like(k, leaf)
    if any(a is not b for a, b in new.items()):
        # Positions shift onto each other: go through leaves that no block has.
        away: dict[Node, Node] = {
            leaf: graph.new_leaf("local", f"%t{k}", leaf.dims, leaf.dtype, low=leaf.low, high=leaf.high)
            for k, leaf in enumerate(leaves)
        }
        outputs = graph.substitute(outputs, away)
        outputs = graph.substitute(outputs, {away[a]: b for a, b in new.items()})
    return make_block(list(new.values()), outputs, block.name, names)  # type: ignore[arg-type]
