"""The leaves that values need: in which order they are handed in, and under which names.

In: roots. Out: leaves. Guarantees: the order is that of the user's expressions, by role; two
leaves of one name are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from codegen.index import Atom, Dim, Ix
from symprop.errors import DeclarationError, at, quoted
from symprop.graph import IndexOf, Leaf, Node, Reduce, Scan, origin
from symprop.walk import leaves

__all__ = ["arguments", "check_leaves"]

_ROLES = {"input": 0, "key": 0, "local": 0, "scalar": 1, "parameter": 2, "state": 3, "constant": 4}


def arguments(roots: Sequence[Node]) -> list[Leaf]:
    """The leaves in order: by role, then as the user's expressions read them."""
    found: dict[Leaf, None] = {}
    seen: set[Node] = set(roots)
    needed: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        needed.add(node)
        for o in node.operands:
            if o not in seen:
                seen.add(o)
                stack.append(o)
    seen.clear()
    stack = list(reversed(roots))
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, Leaf):
            if node in needed:
                found[node] = None
            continue
        order = dict.fromkeys([*origin(node).inputs, *node.operands])
        stack.extend(n for n in reversed(order) if n not in seen)
    return sorted(found, key=lambda leaf: _ROLES[leaf.kind])


def with_sizes(
    found: Sequence[Leaf], values: Sequence[Node], declared: Sequence[Leaf]
) -> list[Leaf]:
    """The leaves, and those that show a free size of the values which no leaf has.

    A gradient may depend on the batch's size alone: the array that has it is still handed in.
    """
    shown = {a for leaf in found for d in leaf.dims for a in d.atoms()}
    wanted: dict[Atom, None] = {}
    for node in values:
        for ix in _sizes(node):
            wanted.update((a, None) for a in ix.atoms() if isinstance(a, Dim) and a not in shown)
    extra: dict[Leaf, None] = {}
    for atom in wanted:
        if not any(d.atom is atom for leaf in extra for d in leaf.dims):
            holders = (leaf for leaf in declared if any(d.atom is atom for d in leaf.dims))
            extra.update((leaf, None) for leaf in islice(holders, 1))
    return sorted([*found, *extra], key=lambda leaf: _ROLES[leaf.kind])


def _sizes(node: Node) -> list[Ix]:
    """Every index of a value that may hold a size."""
    if not isinstance(node, Reduce):
        return [node.length, *node.dims] if isinstance(node, Scan) else list(node.dims)
    found = [item.extent for item in node.loops]
    found += [g.ix for g in node.guards]
    for r in node.reads:
        found += [r.ix] if isinstance(r, IndexOf) else r.index
    return found


def check_leaves(roots: Sequence[Node]) -> None:
    """Refuse two leaves of one name: an array could not say which it is for."""
    known: dict[str, Leaf] = {}
    sizes: dict[str, tuple[Ix, Leaf]] = {}
    for leaf in leaves(roots):
        if leaf.kind in ("constant", "local"):
            continue
        if leaf.kind == "input":
            _check_named_sizes(leaf, sizes)
        other = known.setdefault(leaf.name, leaf)
        if other is not leaf:
            raise DeclarationError(
                f"two variables are named {quoted(leaf.name)}, one declared{at(other.where)} and "
                f"one{at(leaf.where)}: give one of them another name"
            )


def _check_named_sizes(leaf: Leaf, sizes: dict[str, tuple[Ix, Leaf]]) -> None:
    """Refuse one name for two sizes among the inputs."""
    for axis, d in zip(leaf.axes, leaf.dims, strict=True):
        if not axis:
            continue
        size, other = sizes.setdefault(axis, (d, leaf))
        if size is not d:
            raise DeclarationError(
                f"the dimension {quoted(axis)} is {size!r} in {quoted(other.name)}"
                f"{at(other.where)} and {d!r} in {quoted(leaf.name)}{at(leaf.where)}: give one of "
                "them another name"
            )
