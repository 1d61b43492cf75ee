"""The leaves that values need: in which order they are handed in, and under which names.

In: roots. Out: leaves. Guarantees: the order is that of the user's expressions, by role; two
leaves of one name are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from symprop.errors import DeclarationError, at, quoted
from symprop.graph import Leaf, Node, origin
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


def check_leaves(roots: Sequence[Node]) -> None:
    """Refuse two leaves of one name: an array could not say which it is for."""
    known: dict[str, Leaf] = {}
    for leaf in leaves(roots):
        if leaf.kind in ("constant", "local"):
            continue
        other = known.setdefault(leaf.name, leaf)
        if other is not leaf:
            raise DeclarationError(
                f"two variables are named {quoted(leaf.name)}, one declared{at(other.where)} and "
                f"one{at(leaf.where)}: give one of them another name"
            )
