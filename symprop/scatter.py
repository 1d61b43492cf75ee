"""Accumulation at computed positions: a sum whose guard fixes an output position.

In: a sum with an output loop s, reduced loops and a guard ``s - e == 0`` (or ``s + e == 0``), e
free of s. Out: the same sum without the loop s, added into position e of its target.

    d_table[v, d] = sum over t of g[t, d] where v - ids[t] == 0      costs vocabulary * tokens
    d_table[ids[t], d] += g[t, d]                                    costs tokens

Guarantees: the same points, each written where it was read before; a position that may lie
outside keeps its two range guards.
"""

from __future__ import annotations

from collections.abc import Mapping

from codegen.index import Gather, Guard, Ix, Loop, constant, guard, substitute
from symprop.graph import At, IndexOf, Reading, Reduce

__all__ = ["scattered"]

Moved = tuple[tuple[Loop, ...], tuple[Ix, ...], tuple[Guard, ...], tuple[Reading, ...]]


def scattered(node: Reduce) -> Moved | None:
    """(loops, target index, guards, reads) of the accumulation, or None where there is none."""
    if node.op != "sum" or len(node.loops) == node.nout:
        return None
    loops, index = list(node.loops), [item.ix() for item in node.outer]
    guards, reads = list(node.guards), list(node.reads)
    changed = False
    while True:
        found = _fixed(guards, [item for item in node.outer if item in loops])
        if found is None:
            break
        g, s, position = found
        mapping = {s: position}
        rest: list[Guard | bool] = [
            guard(substitute(x.ix, mapping), x.kind) for x in guards if x is not g
        ]
        rest += [guard(position, ">="), guard(s.extent - 1 - position, ">=")]
        if any(x is False for x in rest):
            return None
        guards = list(dict.fromkeys(x for x in rest if isinstance(x, Guard)))
        index = [substitute(ix, mapping) for ix in index]
        reads = [_moved(r, mapping) for r in reads]
        loops.remove(s)
        changed = True
    if not changed:
        return None
    guards.sort(key=lambda x: any(isinstance(a, Gather) for a in x.ix.atoms()))
    return tuple(loops), tuple(index), tuple(guards), tuple(reads)


def _fixed(guards: list[Guard], outer: list[Loop]) -> tuple[Guard, Loop, Ix] | None:
    """An equality that says where an output loop stands: (guard, loop, its position)."""
    for g in guards:
        if g.kind != "==":
            continue
        for s in outer:
            k = g.ix.coefficient(s)
            if abs(k) != 1:
                continue
            position = (g.ix - s.ix() * k) * -k
            if s not in position.loops:
                return g, s, position
    return None


def _moved(r: Reading, mapping: Mapping[Loop, Ix]) -> Reading:
    if isinstance(r, IndexOf):
        return IndexOf(substitute(r.ix, mapping))
    index = tuple(substitute(i, mapping) for i in r.index)
    guards = [guard(substitute(g.ix, mapping), g.kind) for g in r.guards]
    if any(g is False for g in guards):
        return IndexOf(constant(0))
    return At(r.node, index, tuple(g for g in guards if isinstance(g, Guard)))
