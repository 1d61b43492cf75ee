"""Blocks of scans and regions: simplified once, merged where they share operands, trimmed.

In: roots. Out: roots of equal values.

    unite    equal blocks of networks declared apart become one
    merge    two calls with the same operands, one block giving more outputs: one call
    simplify each distinct block once
    trim     outputs that nothing reads and operands that the block does not read are dropped

Guarantees: exact; equal blocks stay one object, so the work and the code of a repeated region do
not depend on how often it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from symprop import walk
from symprop.graph import (
    Block,
    Node,
    Output,
    Region,
    Scan,
    make_block,
    make_output,
    make_region,
    make_scan,
)
from symprop.walk import block_over, topological


def simplify_blocks(roots: list[Node]) -> list[Node]:
    """Unite, merge, simplify, trim."""
    if not any(isinstance(n, Scan | Region) for n in topological(roots)):
        return roots
    roots = _united(roots)
    roots = _merged(roots)
    roots = _inner(roots)
    return _trimmed(roots)


def distinct_blocks(roots: Sequence[Node]) -> list[Block]:
    """The blocks that are simplified, each once: after equal ones and equal calls were merged."""
    calls = [n for n in topological(_merged(_united(list(roots)))) if isinstance(n, Scan | Region)]
    return list(dict.fromkeys(n.block for n in calls))


def _united(roots: list[Node]) -> list[Node]:
    """Equal blocks of networks that were declared apart: the first one's, for all."""
    calls = [n for n in topological(roots) if isinstance(n, Scan | Region)]
    first: dict[bytes, Block] = {}
    plans: dict[Node, _Plan] = {}
    for call in calls:
        block = first.setdefault(call.block.digest, call.block)
        if block is not call.block:
            slices = call.nslice if isinstance(call, Scan) else 0
            same = {n: n for n in range(len(block.outputs))}
            plans[call] = _Plan(block, tuple(range(len(call.arguments))), slices, same)
    return _carried_out(roots, plans)


def _key(node: Scan | Region) -> tuple[object, ...]:
    if isinstance(node, Scan):
        form = (node.length, node.reverse, node.ncarry, node.nslice)
        return (node.block.leaves, node.arguments, *form)
    return (node.block.leaves, node.arguments)


def _call(
    node: Scan | Region, block: Block, arguments: Sequence[Node], slices: int | None = None
) -> Scan | Region:
    if isinstance(node, Region):
        return make_region(block, arguments)
    count = node.nslice if slices is None else slices
    return make_scan(block, node.length, node.reverse, node.ncarry, count, arguments)


@dataclass(frozen=True)
class _Plan:
    """What becomes of one call: the block, the arguments kept, where each output goes."""

    block: Block
    arguments: tuple[int, ...]
    slices: int
    outputs: dict[int, int]


def _carried_out(roots: list[Node], plans: dict[Node, _Plan]) -> list[Node]:
    """The roots with every planned call replaced, operands first, in one pass."""
    if not plans:
        return roots
    new: dict[Node, Node] = {}
    for node in topological(roots):
        if isinstance(node, Output) and node.of in plans:
            call = node.of
            plan = plans[call]
            assert isinstance(call, Scan | Region)
            if node.n not in plan.outputs:  # only what is trimmed itself reads it
                continue
            arguments = [new[call.arguments[k]] for k in plan.arguments]
            made = _call(call, plan.block, arguments, plan.slices)
            rebuilt = make_output(made, plan.outputs[node.n])
        elif node in plans:
            continue
        else:
            rebuilt = walk.rebuild(node, new)
        walk.carry_over(node, rebuilt)
        new[node] = rebuilt
    return [new[r] for r in roots]


def _merged(roots: list[Node]) -> list[Node]:
    """Calls with equal operands give their outputs together."""
    while True:
        groups: dict[tuple[object, ...], list[Scan | Region]] = {}
        for node in topological(roots):
            if isinstance(node, Scan | Region):
                groups.setdefault(_key(node), []).append(node)
        plans: dict[Node, _Plan] = {}
        for calls in groups.values():
            if len(calls) > 1:
                plans |= _union(calls)
        if not plans:
            return roots
        roots = _carried_out(roots, plans)


def _union(calls: list[Scan | Region]) -> dict[Node, _Plan]:
    first = calls[0]
    carries = first.ncarry if isinstance(first, Scan) else 0
    if any(c.block.outputs[:carries] != first.block.outputs[:carries] for c in calls):
        return {}
    rest = dict.fromkeys(n for c in calls for n in c.block.outputs[carries:])
    place = {n: carries + k for k, n in enumerate(rest)}
    outputs = [*first.block.outputs[:carries], *rest]
    block = make_block(first.block.leaves, outputs, first.block.name, first.block.names)
    every = tuple(range(len(first.arguments)))
    slices = first.nslice if isinstance(first, Scan) else 0
    return {
        c: _Plan(block, every, slices, {
            n: n if n < carries else place[inner] for n, inner in enumerate(c.block.outputs)
        })
        for c in calls
    }  # fmt: skip


def _inner(roots: list[Node]) -> list[Node]:
    """Every distinct block simplified once."""
    from symprop.simplify.engine import simplified_outputs

    new: dict[Node, Node] = {}
    for node in topological(roots):
        rebuilt = walk.rebuild(node, new)
        if isinstance(rebuilt, Scan | Region):
            block = rebuilt.block
            outs = simplified_outputs(block)
            if outs != block.outputs:
                made = make_block(block.leaves, outs, block.name, block.names)
                rebuilt = _call(rebuilt, made, rebuilt.arguments)
        if rebuilt is not node and not isinstance(node, Scan | Region):
            walk.carry_over(node, rebuilt)
        new[node] = rebuilt
    return [new[r] for r in roots]


def _trimmed(roots: list[Node]) -> list[Node]:
    """Outputs nobody reads and leaves the block does not read go: one liveness pass backwards."""
    live: set[Node] = set(roots)
    read: dict[Node, set[int]] = {}
    plans: dict[Node, _Plan] = {}
    for node in reversed(topological(roots)):
        if isinstance(node, Scan | Region):
            if node not in read:
                continue
            plan = _trim(node, frozenset(read[node]))
            live.update(node.arguments[k] for k in plan.arguments)
            if plan.block is not node.block or len(plan.arguments) < len(node.arguments):
                plans[node] = plan
        elif node in live:
            if isinstance(node, Output):
                read.setdefault(node.of, set()).add(node.n)
            if not isinstance(node, Output) or not isinstance(node.of, Scan | Region):
                live.update(node.operands)
    return _carried_out(roots, plans)


_TRIMS: WeakKeyDictionary[Block, dict[tuple[object, ...], _Plan]] = WeakKeyDictionary()


def _trim(node: Scan | Region, read: frozenset[int]) -> _Plan:
    carries = node.ncarry if isinstance(node, Scan) else 0
    slices = node.nslice if isinstance(node, Scan) else 0
    known = _TRIMS.setdefault(node.block, {})
    key = (read, carries, slices)
    if key not in known:
        known[key] = _trim_block(node.block, read, carries, slices)
    return known[key]


def _trim_block(block: Block, read: frozenset[int], carries: int, slices: int) -> _Plan:
    kept = [n for n in range(len(block.outputs)) if n < carries or n in read]
    firsts = [block.outputs.index(block.outputs[n], carries if n >= carries else n) for n in kept]
    unique = sorted(set(firsts))
    outs = [block.outputs[n] for n in unique]
    used = set(topological(outs))
    leaves = tuple(k for k, leaf in enumerate(block.leaves) if k < carries or leaf in used)
    places = {n: unique.index(first) for n, first in zip(kept, firsts, strict=True)}
    kept_slices = sum(carries <= k < carries + slices for k in leaves)
    if len(unique) < len(block.outputs) or len(leaves) < len(block.leaves):
        names = [block.names[k] for k in leaves]
        block = block_over([block.leaves[k] for k in leaves], outs, block.name, names)
    return _Plan(block, leaves, kept_slices, places)
