"""The last rewriting of values before they become assignments: how they lie and who is named.

    stops   derivatives are taken: a value held constant is itself    x - stop(x) -> 0
    name    a named view of an unnamed value gives it the name       grad_W = sum.T -> sum too
    sizes   a value that is a size alone is read as the size         n = batch; x/n -> x/batch
    split   a formula that stands twice in one body is a value of its own
    orient  a value that is only read transposed is made transposed  (a.T @ b).T -> b.T @ a

In: roots. Out: roots of equal values.

Guarantees: the same operations on the same numbers, in the same order; deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.index import Gather, Ix, Loop, guard
from symprop import term as t
from symprop import walk
from symprop.expand import expand
from symprop.graph import (
    FLOATS,
    At,
    IndexOf,
    Leaf,
    Node,
    Origin,
    Reading,
    Reduce,
    hint,
    origin,
    remember,
    rename,
)
from symprop.make import make
from symprop.walk import carry_over, rebuild, swap_sources, topological

__all__ = ["name_sources", "settled"]

Order = tuple[int, ...]


def settled(roots: Sequence[Node]) -> list[Node]:
    """The roots without stops, sizes read as sizes, repeats split off, laid out as read."""
    return orient(split_repeats(read_sizes(without_stops(roots))))


def without_stops(roots: Sequence[Node]) -> list[Node]:
    """The roots; a formula that reads less once its stops are gone reads less."""
    new: dict[Node, Node] = {}
    for node in topological(roots):
        rebuilt = rebuild(node, new)
        if isinstance(rebuilt, Reduce):
            body = expand(rebuilt.body, doubles=False)
            if body.reads != rebuilt.body.reads:
                rebuilt = make(
                    rebuilt.op, rebuilt.loops, rebuilt.nout, rebuilt.guards, body, rebuilt.reads,
                    rebuilt.dtype, rebuilt.accumulator,
                )  # fmt: skip
        if rebuilt is not node:
            carry_over(node, rebuilt)
            new[node] = rebuilt
    return [new.get(r, r) for r in roots]


# --- names ---------------------------------------------------------------------------------------


def name_sources(roots: Sequence[Node]) -> list[Node]:
    """The roots; an unnamed value whose named view holds all of it has the view's name."""
    for node in reversed(topological(roots)):
        source = _viewed(node)
        if source is not None and hint(node) and not hint(source) and source not in roots:
            rename(source, hint(node))
    return list(roots)


def _viewed(node: Node) -> Node | None:
    """What a node is a transposition of."""
    if not isinstance(node, Reduce) or len(node.reads) != 1 or node.body is not t.read(0):
        return None
    r = node.reads[0]
    if not isinstance(r, At) or r.guards or node.guards or len(node.loops) != node.nout:
        return None
    plain = [ix.atom for ix in r.index]
    if len(plain) != node.nout or set(plain) != set(node.outer) or isinstance(r.node, Leaf):
        return None
    return r.node


# --- sizes ---------------------------------------------------------------------------------------


def read_sizes(roots: Sequence[Node]) -> list[Node]:
    """The roots with values that are sizes alone read as sizes."""
    new: dict[Node, Node] = {}
    for node in topological(roots):
        rebuilt = rebuild(node, new)
        if isinstance(rebuilt, Reduce) and any(
            isinstance(r, At) and _size(r.node) is not None for r in rebuilt.reads
        ):
            reads: list[Reading] = []
            for r in rebuilt.reads:
                size = _size(r.node) if isinstance(r, At) and not r.guards else None
                reads.append(r if size is None else IndexOf(size))
            rebuilt = _remade(rebuilt, rebuilt.loops, reads)
        if rebuilt is not node:
            carry_over(node, rebuilt)
            new[node] = rebuilt
    return [new.get(r, r) for r in roots]


def _size(node: Node) -> Ix | None:
    """The combination of dimensions that a value is, when it is nothing else."""
    if not isinstance(node, Reduce) or node.loops or node.guards or node.body is not t.read(0):
        return None
    r = node.reads[0]
    if not isinstance(r, IndexOf) or any(isinstance(a, Gather) for a in r.ix.atoms()):
        return None
    return r.ix


def _remade(node: Reduce, loops: Sequence[Loop], reads: Sequence[Reading]) -> Node:
    return make(
        node.op, loops, node.nout, node.guards, node.body, reads, node.dtype, node.accumulator
    )


# --- repeated formulas ---------------------------------------------------------------------------


def split_repeats(roots: Sequence[Node]) -> list[Node]:
    """The roots; what one formula computes twice is computed once, as a value of its own."""
    new: dict[Node, Node] = {}
    for node in topological(roots):
        rebuilt = rebuild(node, new)
        if isinstance(rebuilt, Reduce):
            rebuilt = _split(rebuilt)
        if rebuilt is not node:
            carry_over(node, rebuilt)
            new[node] = rebuilt
    return [new.get(r, r) for r in roots]


def _split(node: Reduce) -> Node:
    if node.guards or node.dtype not in FLOATS or t.operations(node.body) < 3:
        return node
    body = expand(node.body, doubles=False)
    repeated = _repeated(node, body)
    if not repeated:
        return node
    reads = list(node.reads)
    stand: dict[t.Term, t.Term] = {}
    for part in repeated:
        found = _value(node, part)
        stand[part] = t.read(len(reads))
        reads.append(found)
    body = t.exchange(body, stand)
    return make(node.op, node.loops, node.nout, (), body, reads, node.dtype, node.accumulator)


def _repeated(node: Reduce, body: t.Term) -> list[t.Term]:
    """The largest formulas that stand at two places or more."""
    count: dict[t.Term, int] = {}
    stack = [body]
    while stack:
        x = stack.pop()
        count[x] = count.get(x, 0) + 1
        if count[x] == 1:
            stack.extend(t.children(x))
    found: list[t.Term] = []
    stack = [body]
    seen: set[t.Term] = set()
    while stack:
        x = stack.pop()
        if x in seen:
            continue
        seen.add(x)
        if count[x] > 1 and _worth_a_value(node, x):
            found.append(x)
        else:
            stack.extend(t.children(x))
    return found


def _worth_a_value(node: Reduce, x: t.Term) -> bool:
    if isinstance(x, t.Read) or not x.reads or (isinstance(x, t.Call) and x.fn.kind == "bool"):
        return False
    reads = [node.reads[k] for k in x.reads]
    floats = [isinstance(r, At) and r.node.dtype in FLOATS for r in reads]
    heavy = isinstance(x, t.Call) and x.fn is not t.SELECT
    divides = isinstance(x, t.Prod) and any(n < 0 for _, n in x.factors)
    return all(floats) and (heavy or divides or t.operations(x) >= 2)


def _value(node: Reduce, part: t.Term) -> At:
    """The value of a part of a body over the loops that it needs, and how to read it."""
    mine = [node.reads[k] for k in part.reads]
    used = {v for r in mine if isinstance(r, At) for ix in _read_ixs(r) for v in ix.loops}
    loops = [v for v in node.loops if v in used]
    made = make("sum", loops, len(loops), (), part, node.reads, node.dtype)
    remember(made, Origin(origin(node).place, "part", (node,)))
    if isinstance(made, Reduce):  # smaller ones may stand in it twice
        whole, made = made, _split(made)
        carry_over(whole, made)
    return At(made, tuple(v.ix() for v in loops))


def _read_ixs(r: At) -> list[Ix]:
    return [*r.index, *(g.ix for g in r.guards)]


# --- layout --------------------------------------------------------------------------------------


def orient(roots: Sequence[Node]) -> list[Node]:
    """The roots; what maps read only transposed is computed transposed."""
    order = topological(roots)
    wanted = _wanted(order, set(roots))
    if not wanted:
        return list(roots)
    new: dict[Node, Node] = {}
    turned: dict[Node, Order] = {}  # by the old node: the old axis at each new axis
    for node in order:
        if isinstance(node, Reduce) and any(o in new for o in node.operands):
            rebuilt: Node = _reread(node, new, turned)
        else:
            rebuilt = rebuild(node, new)
        if node in wanted and isinstance(rebuilt, Reduce) and rebuilt.dims == node.dims:
            loops = [rebuilt.loops[k] for k in wanted[node]] + list(rebuilt.inner)
            other = _remade(rebuilt, loops, rebuilt.reads)
            carry_over(rebuilt, other)
            rebuilt, turned[node] = other, wanted[node]
        if rebuilt is not node:
            carry_over(node, rebuilt)
            new[node] = rebuilt
    return [new.get(r, r) for r in roots]


def _wanted(order: Sequence[Node], roots: set[Node]) -> dict[Node, Order]:
    """For each value to be turned, its old axes in their new order."""
    asked: dict[Node, Order | None] = {}
    for node in order:
        if not isinstance(node, Reduce):
            asked.update(dict.fromkeys(node.operands))
            continue
        place = {item: k for k, item in enumerate(node.outer)}
        sources = {o for ix in _ixs(node) for o in walk.gathered(ix)}
        asked.update(dict.fromkeys(sources))
        for r in node.reads:
            if not isinstance(r, At) or len(r.index) < 2 or isinstance(r.node, Leaf):
                continue
            atoms = [ix.atom for ix in r.index]
            if not all(isinstance(a, Loop) for a in atoms) or len(set(atoms)) < len(atoms):
                asked[r.node] = None
                continue
            if not all(a in place for a in atoms):  # reduced: any layout will do
                continue
            axes = _ranked([place[a] for a in atoms])  # type: ignore[index]
            asked[r.node] = axes if asked.get(r.node, axes) == axes else None
    return {
        n: axes
        for n, axes in asked.items()
        if axes is not None and axes != tuple(range(len(axes))) and n not in roots
        and isinstance(n, Reduce)
    }  # fmt: skip


def _ranked(places: list[int]) -> Order:
    return tuple(sorted(range(len(places)), key=places.__getitem__))


def _ixs(node: Reduce) -> list[Ix]:
    found = [g.ix for g in node.guards]
    for r in node.reads:
        found += [r.ix] if isinstance(r, IndexOf) else [*r.index, *(g.ix for g in r.guards)]
    return found


def _reread(node: Reduce, new: Mapping[Node, Node], turned: Mapping[Node, Order]) -> Node:
    """The node over new operands, those that were turned read at turned indices."""

    def moved(ix: Ix) -> Ix:
        return swap_sources(ix, new)

    reads: list[Reading] = []
    for r in node.reads:
        if isinstance(r, IndexOf):
            reads.append(IndexOf(moved(r.ix)))
            continue
        axes = turned.get(r.node, tuple(range(len(r.index))))
        index = tuple(moved(r.index[k]) for k in axes)
        found = [guard(moved(g.ix), g.kind) for g in r.guards]
        kept = tuple(g for g in found if not isinstance(g, bool))
        assert False not in found
        reads.append(At(new.get(r.node, r.node), index, kept))
    guards = [guard(moved(g.ix), g.kind) for g in node.guards]
    return make(
        node.op, node.loops, node.nout, guards, node.body, reads, node.dtype, node.accumulator
    )
