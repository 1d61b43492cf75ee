"""Regions opened: the graph without calls.

In: roots. Out: the same values with the body of every block in place of its call.
Guarantees: values are equal, and one object with what was declared without a call; scans stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from symprop.graph import Node, Output, Region
from symprop.walk import carry_over, rebuild, substitute, topological

__all__ = ["opened"]


def opened(roots: Sequence[Node]) -> list[Node]:
    """The roots with the body of every region in place of its call."""
    while any(isinstance(n, Region) for n in topological(roots)):
        new: dict[Node, Node] = {}
        for node in topological(roots):
            if isinstance(node, Output) and isinstance(node.of, Region):
                call = new.get(node.of, node.of)
                assert isinstance(call, Region)
                inside = call.block.outputs[node.n]
                (body,) = substitute(
                    [inside], dict(zip(call.block.leaves, call.arguments, strict=True))
                )
                new[node] = body
                continue
            changed = rebuild(node, new)
            if changed is not node:
                carry_over(node, changed)
                new[node] = changed
        roots = [new.get(r, r) for r in roots]
    return list(roots)
