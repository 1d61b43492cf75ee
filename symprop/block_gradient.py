"""The derivative through blocks: scans, regions and opaque operations.

In: a node with several results, the cotangents of some (or the tangents of its operands). Out:
what reaches its operands.

    region   forward: the same block, also giving the values its reverse reads; reverse: a block
    scan     the reverse is a scan the other way over the saved carries and values; its carries are
             the carries' cotangents and the sums of the constants'

Guarantees: a block is differentiated once for all its calls; nothing is computed again that the
forward pass can save.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from symprop import graph, walk
from symprop import term as t
from symprop.chain import total
from symprop.graph import (
    FLOATS,
    Block,
    Leaf,
    Node,
    Opaque,
    Reduce,
    Region,
    Scan,
    local_like,
    make_block,
    make_output,
)
from symprop.make import filled
from symprop.naming import Roles
from symprop.walk import block_over, topological

__all__ = ["pull_many", "push_many"]


def pull_many(
    node: Scan | Region | Opaque, gs: Mapping[int, Node], wanted: set[Node]
) -> list[tuple[Node, Node]]:
    if isinstance(node, Opaque):
        results = [
            gs.get(n) or filled(t.num(0), d, "float") for n, (d, _) in enumerate(node.results)
        ]
        found = node.atom.vjp(node, results)
        return [(a, g) for a, g in zip(node.arguments, found, strict=True) if g is not None]
    need = [
        a in wanted and a.dtype in FLOATS and leaf.dtype in FLOATS
        for a, leaf in zip(node.arguments, node.block.leaves, strict=True)
    ]
    if isinstance(node, Region):
        return _pull_region(node, gs, need)
    return _pull_scan(node, gs, need)


def _block_vjp(
    block: Block, given: Sequence[bool], need: Sequence[bool]
) -> tuple[list[Node], list[Leaf], list[Leaf], list[Node]]:
    """The block's reverse pass, split at what the forward pass can save.

    Returns (saved values of the forward block, leaves for given cotangents, leaves for the saved
    values, cotangents of the needed leaves) with all leaves numbered after the block's own.
    """
    from symprop.gradient import pull

    start = len(block.leaves)
    seeds = [local_like(start + k, block.outputs[n]) for k, n in enumerate(_true(given))]
    ys = [block.outputs[n] for n in _true(given)]
    found = pull(ys, seeds, [block.leaves[k] for k in _true(need)])
    depends: set[Node] = set(seeds)
    order = topological(found)
    saved: dict[Node, None] = {}
    for n in order:
        if any(o in depends for o in n.operands):
            depends.add(n)
    for n in order:
        if n in depends:
            for o in n.operands:
                plain = not isinstance(o, Leaf | Scan | Region | Opaque)
                if o not in depends and plain and o.operands:
                    saved[o] = None
    for leaf, n in zip(_true(need), found, strict=True):
        if block.names[leaf] and not graph.hint(n):
            graph.rename(n, f"d_{block.names[leaf]}")
    kept = list(dict.fromkeys(source for n in saved for source in _viewed(n)))
    stand: dict[Node, Leaf] = {n: local_like(start + len(seeds) + k, n) for k, n in enumerate(kept)}
    return kept, seeds, list(stand.values()), walk.substitute(found, stand)


def _viewed(node: Node) -> list[Node]:
    """What to save for a value: itself, but for a view of a leaf nothing, it is made again."""
    source = node
    while isinstance(source, Reduce) and _is_view(source):
        (source,) = source.operands
    return [] if isinstance(source, Leaf) else [node]


def _is_view(node: Reduce) -> bool:
    plain = node.body is t.read(0) and len(node.reads) == 1 and len(node.operands) == 1
    return plain and len(node.loops) == node.nout


def _true(flags: Sequence[bool]) -> list[int]:
    return [k for k, f in enumerate(flags) if f]


def _names(block: Block, given: Sequence[bool], saved: Sequence[Node]) -> list[str]:
    """Names for the leaves of a reverse block: the block's own, cotangents, saved values."""
    outs = [graph.hint(block.outputs[n]) or f"output{n}" for n in _true(given)]
    roles = Roles(dict(zip(block.leaves, block.names, strict=True)))
    return [
        *block.names,
        *(f"d_{n}" for n in outs),
        *(roles(n) or f"saved{k}" for k, n in enumerate(saved)),
    ]


@dataclass(frozen=True)
class _Reverse:
    """A region's block and its reverse, made once for all equal regions.

    ``forward`` also gives the saved values; the reverse reads the leaves ``kept`` of (the block's
    own arguments, the given cotangents, the saved values).
    """

    forward: Block
    saved: int
    reverse: Block
    kept: tuple[int, ...]


_REVERSES: WeakKeyDictionary[Block, dict[Any, _Reverse]] = WeakKeyDictionary()


def _reverse(block: Block, given: tuple[bool, ...], need: tuple[bool, ...]) -> _Reverse:
    known = _REVERSES.setdefault(block, {})
    found = known.get((given, need))
    if found is None:
        saved, seeds, stand, pulled = _block_vjp(block, given, need)
        names = list(block.names)
        wider = make_block(block.leaves, [*block.outputs, *saved], block.name, names)
        leaves = [*block.leaves, *seeds, *stand]
        reverse, kept = _tight_block(leaves, pulled, f"d_{block.name}", _names(block, given, saved))
        found = known[given, need] = _Reverse(wider, len(saved), reverse, kept)
    return found


def _pull_region(
    node: Region, gs: Mapping[int, Node], need: Sequence[bool]
) -> list[tuple[Node, Node]]:
    block = node.block
    given = tuple(n in gs for n in range(len(block.outputs)))
    made = _reverse(block, given, tuple(need))
    forward = graph.make_region(made.forward, node.arguments)
    extra = [make_output(forward, len(block.outputs) + k) for k in range(made.saved)]
    arguments = [*node.arguments, *(gs[n] for n in _true(given)), *extra]
    back = graph.make_region(made.reverse, [arguments[k] for k in made.kept])
    return [(node.arguments[k], make_output(back, m)) for m, k in enumerate(_true(need))]


def _tight_block(
    leaves: Sequence[Leaf], outputs: Sequence[Node], name: str, names: Sequence[str]
) -> tuple[Block, tuple[int, ...]]:
    """The block over the leaves it uses, renumbered, and their positions."""
    used = set(topological(outputs))
    kept = tuple(k for k, leaf in enumerate(leaves) if leaf in used)
    block = block_over([leaves[k] for k in kept], outputs, name, [names[k] for k in kept])
    return block, kept


def _pull_scan(node: Scan, gs: Mapping[int, Node], need: Sequence[bool]) -> list[tuple[Node, Node]]:
    """The reverse scan: carries are the carries' cotangents and the constants' sums."""
    block, nc, ns = node.block, node.ncarry, node.nslice
    carry_need = [leaf.dtype in FLOATS for leaf in block.leaves[:nc]]
    inner_need = [*carry_need, *need[nc:]]
    given = [carry_need[n] if n < nc else n in gs for n in range(len(block.outputs))]
    saved, seeds, stand, found = _block_vjp(block, given, inner_need)
    kept = [*block.leaves[:nc], *saved]
    wider = make_block(block.leaves, [*block.outputs, *kept], block.name, block.names)
    forward = graph.make_scan(wider, node.length, node.reverse, nc, ns, node.arguments)
    base = len(block.outputs)
    history = [make_output(forward, base + k) for k in range(len(kept))]

    needed = _true(inner_need)
    d_carry = {k: found[m] for m, k in enumerate(needed) if k < nc}
    d_slice = {k: found[m] for m, k in enumerate(needed) if nc <= k < nc + ns}
    d_const = {k: found[m] for m, k in enumerate(needed) if k >= nc + ns}
    seed_of = dict(zip(_true(given), seeds, strict=True))
    start = len(block.leaves) + len(seeds) + len(stand)
    sums = {k: local_like(start + m, block.leaves[k]) for m, k in enumerate(d_const)}
    grown = [total(block.leaves[k], [sums[k], d]) for k, d in d_const.items()]

    carry_leaves = [seed_of[k] for k in d_carry] + list(sums.values())
    first = [
        gs.get(k) or filled(t.num(0), block.leaves[k].dims, block.leaves[k].dtype) for k in d_carry
    ]
    first += [filled(t.num(0), block.leaves[k].dims, block.leaves[k].dtype) for k in sums]
    slice_leaves = [seed_of[n] for n in seed_of if n >= nc]
    slice_args = [gs[n] for n in seed_of if n >= nc]
    slice_leaves += [*block.leaves[:nc], *stand, *block.leaves[nc : nc + ns]]
    slice_args += [*history, *node.arguments[nc : nc + ns]]
    const_leaves, const_args = list(block.leaves[nc + ns :]), list(node.arguments[nc + ns :])
    outputs = [*d_carry.values(), *grown, *d_slice.values()]
    own = dict(zip(block.leaves, block.names, strict=True))
    titles = {
        leaf: f"d_{own.get(block.leaves[k], '') or k}" for k, leaf in seed_of.items() if k < nc
    }
    titles |= {leaf: f"d_output{k}" for k, leaf in seed_of.items() if k >= nc}
    titles |= {leaf: f"sum_d_{own[block.leaves[k]] or k}" for k, leaf in sums.items()}
    titles |= {
        leaf: graph.hint(n) or f"saved{k}"
        for k, (n, leaf) in enumerate(zip(saved, stand, strict=True))
    }
    titles |= own
    for leaf, n in zip(sums.values(), grown, strict=True):
        graph.suggest(n, f"new_{titles[leaf]}")
    used = set(topological(outputs))
    pairs = [(a, b) for a, b in zip(slice_leaves, slice_args, strict=True) if a in used]
    consts = [(a, b) for a, b in zip(const_leaves, const_args, strict=True) if a in used]
    leaves = [*carry_leaves, *(a for a, _ in pairs), *(a for a, _ in consts)]
    arguments = [*first, *(b for _, b in pairs), *(b for _, b in consts)]
    reverse = block_over(leaves, outputs, "d_scan", [titles[x] or "value" for x in leaves])
    back = graph.make_scan(
        reverse, node.length, not node.reverse, len(carry_leaves), len(pairs), arguments
    )
    result: list[tuple[Node, Node]] = []
    for m, k in enumerate(d_carry):
        if need[k]:
            result.append((node.arguments[k], make_output(back, m)))
    for m, k in enumerate(d_const):
        result.append((node.arguments[k], make_output(back, len(d_carry) + m)))
    for m, k in enumerate(d_slice):
        result.append((node.arguments[k], make_output(back, len(carry_leaves) + m)))
    return result


def push_many(node: Scan | Region | Opaque, tangents: Mapping[Node, Node]) -> dict[int, Node]:
    """Tangents of a node's results, by number."""
    from symprop.gradient import push

    if isinstance(node, Opaque):
        zeros = [tangents.get(a) or filled(t.num(0), a.dims, a.dtype) for a in node.arguments]
        return dict(enumerate(node.atom.jvp(node, zeros)))
    block = node.block
    moving = [a in tangents for a in node.arguments]
    if isinstance(node, Scan):
        floats = [leaf.dtype in FLOATS for leaf in block.leaves[: node.ncarry]]
        moving = [*floats, *moving[node.ncarry :]]
    start = len(block.leaves)
    seeds: dict[Node, Node] = {
        block.leaves[k]: local_like(start + m, block.leaves[k]) for m, k in enumerate(_true(moving))
    }
    outs = push(block.outputs, seeds)
    given = {
        k: tangents.get(node.arguments[k])
        or filled(t.num(0), node.arguments[k].dims, node.arguments[k].dtype)
        for k in _true(moving)
    }
    names = [*block.names, *(f"t_{block.names[k] or k}" for k in _true(moving))]
    if isinstance(node, Region):
        wider = make_block(
            [*block.leaves, *(s for s in seeds.values() if isinstance(s, Leaf))],
            [*block.outputs, *outs],
            block.name,
            names,
        )
        both = graph.make_region(wider, [*node.arguments, *given.values()])
        return {n: make_output(both, len(block.outputs) + n) for n in range(len(outs))}
    return _push_scan(node, seeds, outs, given, names)


def _push_scan(
    node: Scan,
    seeds: Mapping[Node, Node],
    outs: Sequence[Node],
    given: Mapping[int, Node],
    names: Sequence[str],
) -> dict[int, Node]:
    block, nc, ns = node.block, node.ncarry, node.nslice
    title = dict(zip([*block.leaves, *seeds.values()], names, strict=True))

    def pair(lo: int, hi: int) -> tuple[list[Any], list[Node]]:
        moving = [k for k in given if lo <= k < hi]
        leaves = [*block.leaves[lo:hi], *(seeds[block.leaves[k]] for k in moving)]
        return leaves, [*node.arguments[lo:hi], *(given[k] for k in moving)]

    c_leaf, c_arg = pair(0, nc)
    s_leaf, s_arg = pair(nc, nc + ns)
    k_leaf, k_arg = pair(nc + ns, len(block.leaves))
    carry_out = [outs[k] for k in given if k < nc]
    outputs = [*block.outputs[:nc], *carry_out, *block.outputs[nc:], *outs[nc:]]
    leaves = [*c_leaf, *s_leaf, *k_leaf]
    wider = block_over(leaves, outputs, block.name, [title[x] for x in leaves])
    both = graph.make_scan(
        wider, node.length, node.reverse, len(c_leaf), len(s_leaf), [*c_arg, *s_arg, *k_arg]
    )
    found = {k: make_output(both, nc + m) for m, k in enumerate(k for k in given if k < nc)}
    ys = len(block.outputs) - nc
    for n in range(ys):
        found[nc + n] = make_output(both, len(c_leaf) + ys + n)
    return found
