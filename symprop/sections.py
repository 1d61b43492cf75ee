"""Which values of a program belong to the forward part, to the derivative, and to the updates.

In: the values in order of execution, the new values of states and parameters, the results. Out:
for each value "forward", "backward" or "update": what a reader of generated code asks first.

Guarantees: read from the graph's origins, never from names: a cotangent is what the chain rule
made, under whatever formula the simplifier left it. What reads no variable (1/batch), or is made
after the first cotangent, belongs to the derivative where that alone reads it (a maximum's
position); what only updates read belongs to them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from codegen.program import Section
from symprop.graph import At, Node, Opaque, Output, Reduce, Region, Scan, origin, outputs_of
from symprop.naming import adjoint, rewritten

__all__ = ["derived", "sections"]


def sections(
    values: Sequence[Node], updates: Collection[Node], results: Collection[Node]
) -> dict[Node, Section]:
    """The section of each value; those of a scan or a region are of one."""
    readers: dict[Node, list[Node]] = {}
    for node in values:
        for operand in node.operands:
            readers.setdefault(operand, []).append(node)
    found: dict[Node, Section] = {}
    starts = next((k for k, n in enumerate(values) if any(map(derived, _made(n)))), len(values))
    for k, node in reversed(list(enumerate(values))):
        made = _made(node)
        by = {found[r] for m in made for r in readers.get(m, ())}
        wanted = any(m in results for m in made)
        section: Section = "forward"
        if any(map(derived, made)):
            section = "backward"
        elif not wanted and by <= {"update"} and (by or any(m in updates for m in made)):
            section = "update"
        elif by and not wanted and "forward" not in by and (k > starts or not _reads(node)):
            section = "backward"
        found |= dict.fromkeys((node, *made), section)
    return found


def _made(node: Node) -> tuple[Node, ...]:
    """The values that a step defines."""
    return outputs_of(node) if isinstance(node, Scan | Region | Opaque) else (node,)


def derived(node: Node) -> bool:
    """Whether the chain rule made a value, or what the simplifier made another value from."""
    seen: set[Node] = set()
    while node not in seen:
        seen.add(node)
        source = origin(node)
        if adjoint(source.rule):
            return True
        if source.inputs and (rewritten(source.rule) or source.rule == "part"):
            node = source.inputs[0]
        elif isinstance(node, Output) and isinstance(node.of, Scan | Region):
            node = node.of.block.outputs[node.n]
    return False


def _reads(node: Node) -> Iterable[Node]:
    """The values that a value reads: none where it is made of sizes alone."""
    if isinstance(node, Reduce):
        return [r.node for r in node.reads if isinstance(r, At)]
    return node.operands
