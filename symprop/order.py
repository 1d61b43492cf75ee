"""The canonical order of what a value node is made of: its guards, reads and reduced loops.

In: loops, reads, guards and a body as somebody wrote them. Out: the same in an order that depends
on what they say and not on how they were given: equal declarations become one object.

Guarantee: reduced loops that are left alike can be swapped without changing the node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from codegen.index import Guard, Ix, Loop, constant, guard, loop, substitute
from symprop import term as t
from symprop.graph import At, IndexOf, Reading
from symprop.term import Term

__all__ = ["by_first_use", "by_role", "conjunction", "mapped", "moved", "read_key"]

MARK = 900  # positions that no node has, to spell loops by


def conjunction(guards: Iterable[Guard | bool]) -> tuple[Guard, ...] | None:
    """Sorted, without repetition; None when one is False."""
    found: dict[Guard, None] = {}
    for g in guards:
        if g is False:
            return None
        if isinstance(g, Guard):
            found[g] = None
    if len(found) < 2:
        return tuple(found)
    return tuple(sorted(found, key=lambda g: (g.kind, g.digest)))


def read_key(r: Reading) -> tuple[bytes, ...]:
    """What reads are sorted by."""
    if isinstance(r, IndexOf):
        return (b"", r.ix.digest)
    return (r.node.digest, *[i.digest for i in r.index], *[g.digest for g in r.guards])


def moved(r: Reading, mapping: Mapping[Loop, Ix]) -> Reading:
    """A read with loops substituted; a guard that became False makes it the constant 0."""
    if not mapping:
        return r
    if isinstance(r, IndexOf):
        return IndexOf(substitute(r.ix, mapping))
    index = tuple([substitute(i, mapping) for i in r.index])
    if not r.guards:
        return At(r.node, index)
    guards = conjunction(guard(substitute(g.ix, mapping), g.kind) for g in r.guards)
    if guards is None:
        return IndexOf(constant(0))
    return At(r.node, index, guards)


def mapped(loops: Iterable[Loop], index: Iterable[Ix]) -> dict[Loop, Ix]:
    """What each loop becomes where a value over these loops is read at the index: those that stay
    as they are left out."""
    return {v: ix for v, ix in zip(loops, index, strict=True) if ix is not v.ix()}


def _places(outer: Sequence[Loop]) -> dict[Loop, Ix]:
    """The output loops at their final positions."""
    return {v: loop(k, v.extent).ix() for k, v in enumerate(outer)}


def by_first_use(
    outer: Sequence[Loop], inner: Sequence[Loop], reads: Sequence[Reading]
) -> list[Loop] | None:
    """Reduced loops as the sorted reads use them; None when that leaves a choice."""
    mask = _places(outer) | {item: loop(MARK, item.extent).ix() for item in inner}
    keyed = sorted((read_key(moved(r, mask)), k) for k, r in enumerate(reads))
    if any(a[0] == b[0] for a, b in pairwise(keyed)):
        return None
    rank: dict[Loop, None] = {}
    for _, k in keyed:
        r = reads[k]
        for ix in (r.ix,) if isinstance(r, IndexOf) else r.index:
            mine = [item for item in inner if item in ix.loops and item not in rank]
            mine.sort(key=lambda x: (-abs(ix.coefficient(x)), x.extent.digest))
            if any(
                abs(ix.coefficient(a)) == abs(ix.coefficient(b)) and a.extent is b.extent
                for a, b in pairwise(mine)
            ):
                return None
            rank.update(dict.fromkeys(mine))
    left = [item for item in inner if item not in rank]
    return [*rank, *left] if len(left) < 2 else None


def by_role(
    outer: Sequence[Loop], inner: Sequence[Loop], reads: Sequence[Reading],
    guards: Sequence[Guard], body: Term,
) -> list[Loop]:  # fmt: skip
    """Reduced loops told apart by what reads, guards and the body do with them, refined until only
    loops that can be swapped are left alike."""
    cls = dict.fromkeys(inner, 0)
    while True:
        places = _places(outer)
        found = {v: (cls[v], _role(v, cls, places, reads, guards, body)) for v in inner}
        order = sorted(set(found.values()))
        new = {item: order.index(found[item]) for item in inner}
        if len(order) == len(inner):
            return sorted(inner, key=new.__getitem__)
        if len(order) == len(set(cls.values())):  # alike: any one of them goes first
            alike = next(k for k in range(len(order)) if list(new.values()).count(k) > 1)
            first = next(item for item in inner if new[item] == alike)
            new = {item: k + (k >= alike and item is not first) for item, k in new.items()}
        cls = new


def _role(
    item: Loop, cls: Mapping[Loop, int], places: dict[Loop, Ix], reads: Sequence[Reading],
    guards: Sequence[Guard], body: Term,
) -> tuple[object, ...]:  # fmt: skip
    """What a loop does, other loops known by their classes alone."""
    mask = places | {v: loop(MARK + 1 + k, v.extent).ix() for v, k in cls.items()}
    own = mask | {item: loop(MARK, item.extent).ix()}
    keys = [read_key(moved(r, mask)) for r in reads]
    rank = {key: k for k, key in enumerate(sorted(set(keys)))}
    plain = [t.read(len(keys) + rank[key]) for key in keys]
    uses = []
    for k, r in enumerate(reads):
        marked = [t.read(0) if j == k else x for j, x in enumerate(plain)]
        uses.append((keys[k], read_key(moved(r, own)), t.replace(body, marked).digest))
    asked = [(g.kind, substitute(g.ix, own).digest) for g in guards]
    return item.extent.digest, tuple(sorted(uses)), tuple(sorted(asked))
