"""The chain rule on one value node: what it adds to an operand, and to a tangent.

In: a node, the cotangent of its value (or the tangents of its operands). Out: contributions as
nodes, their sum, and A[i], the first position that attains an extremum.

Guarantees: strong zero (see ``symprop.gradient``, whose rule this is): a selection in a local
derivative, or one that made the cotangent, stays outermost (``symprop.branches``); a product whose
local derivative is not proved finite is ``strong_mul``; forward, so is one whose tangent may be
infinite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

from codegen.index import Guard, Ix, Loop, as_ix, gather, guard, loop, substitute
from symprop import graph
from symprop import term as t
from symprop.branches import selection, zero_somewhere
from symprop.errors import UnsupportedError
from symprop.graph import FLOATS, At, IndexOf, Leaf, Node, Origin, Reading, Reduce
from symprop.make import fresh, make
from symprop.ranges import Scope, finite, node_finite, scope_of
from symprop.simplify.stable import stable_term

__all__ = ["first_attaining", "pull_reduce", "push_reduce", "total", "transposed_reduce"]

TERMS = 8  # contributions added in one formula: more do not fit a line


def _added(parts: Sequence[Node], like: Node) -> Node:
    loops = fresh(like.dims)
    at = tuple(item.ix() for item in loops)
    body = t.add(*(t.read(k) for k in range(len(parts))))
    return make("sum", loops, len(loops), (), body, [At(p, at) for p in parts], like.dtype)


def total(node: Node, parts: Sequence[Node]) -> Node:
    """The sum of contributions, named after its primal; many are added in a tree."""
    level = list(parts)
    while len(level) > 1:
        groups = [level[k : k + TERMS] for k in range(0, len(level), TERMS)]
        level = [g[0] if len(g) == 1 else _added(g, node) for g in groups]
    total = level[0]
    name = graph.hint(node)
    if name and not graph.hint(total) and not isinstance(node, Leaf):
        graph.rename(total, f"d_{name}")
    source = graph.origin(node)
    graph.remember(total, Origin(source.place, f"cotangent of {name or source.rule or 'a value'}",
                                 (node, *parts)))  # fmt: skip
    return total


def pull_reduce(node: Reduce, g: Node, wanted: set[Node]) -> list[tuple[Node, Node]]:
    found = []
    for k, r in enumerate(node.reads):
        if isinstance(r, At) and r.node in wanted and r.node.dtype in FLOATS:
            d = stable_term(t.diff(node.body, k))
            if not (isinstance(d, t.Num) and d.value == 0):
                found.append((r.node, _contribution(node, k, r, g, d)))
    return found


def transposed_reduce(node: Reduce, operand: Node, g: Node, source: Origin) -> Node:
    """The linear map from an operand, read once, to a sum, transposed, at g: a value of its own."""
    ((k, read),) = [
        (k, r) for k, r in enumerate(node.reads) if isinstance(r, At) and r.node is operand
    ]
    return _contribution(node, k, read, g, t.diff(node.body, k), source)


def _contribution(
    node: Reduce, k: int, r: At, g: Node, d: t.Term, source: Origin | None = None
) -> Node:
    """sum over (i, r) of g[i] * d where the node's guards hold and its read k is element s."""
    operand = r.node
    rank = len(operand.dims)
    out = fresh(operand.dims)
    moved = {item: loop(rank + item.position, item.extent).ix() for item in node.loops}
    shift: dict[Loop, Ix] = moved
    loops = [*out, *(loop(rank + item.position, item.extent) for item in node.loops)]
    guards: list[Guard | bool] = [
        guard(substitute(own.ix, shift), own.kind) for own in (*node.guards, *r.guards)
    ]
    for s, ix in zip(out, r.index, strict=True):
        guards.append(guard(substitute(ix, shift) - s.ix(), "=="))
    outer = tuple(shift[item] for item in node.outer)
    if node.op != "sum":
        guards.append(_attained(node, outer, shift))
    reads = [_shifted(x, shift) for x in node.reads]
    reads += [At(g, outer), At(node, outer)]
    value = t.read(len(node.reads) + 1)
    body = _adjoint(node, k, g, outer, d, reads)
    if _worth_reading(node):
        body = t.rewrite(body, lambda x: value if x is node.body else None)
    part = make("sum", loops, rank, guards, body, reads, operand.dtype)
    by_rule = Origin(graph.origin(node).place, "chain rule", (operand, node, g))
    graph.remember(part, by_rule if source is None else source)
    return part


def _adjoint(
    node: Reduce, k: int, g: Node, outer: tuple[Ix, ...], d: t.Term, reads: list[Reading]
) -> t.Term:
    """g * d over the reads, which become more where a selection that made g is seen: it stays
    outermost where d may be infinite, or may be so for what the branch not taken was given."""
    plain, scope = t.read(len(node.reads)), scope_of(node)
    if len(node.loops) > node.nout or (k not in d.reads and finite(d, scope)):
        return _product(plain, d, scope)
    seen = selection(g, outer)
    if seen is None:
        return _product(plain, d, scope, strong=k in d.reads and zero_somewhere(g))
    own = [t.read(len(reads) + i) for i in range(len(seen.reads))]
    reads += seen.reads
    taken = _product(plain if seen.value is None else seen.value, d, scope)
    return t.select(t.replace(seen.condition, own), taken, 0)


def _worth_reading(node: Reduce) -> bool:
    """The derivative of exp, sqrt, sigmoid, ... holds the value itself: it is read, not computed
    again (exact: the same function of the same argument)."""
    plain = len(node.loops) == node.nout and isinstance(node.body, t.Call)
    return plain and node.body.fn not in t.STRUCTURAL and node.body.fn.cost > 0  # type: ignore[attr-defined]


def _shifted(r: Reading, shift: Mapping[Loop, Ix]) -> Reading:
    if isinstance(r, IndexOf):
        return IndexOf(substitute(r.ix, shift))
    index = tuple(substitute(i, shift) for i in r.index)
    guards = [guard(substitute(g.ix, shift), g.kind) for g in r.guards]
    return At(r.node, index, tuple(g for g in guards if isinstance(g, Guard)))


def _product(g: t.Term, d: t.Term, scope: Scope, strong: bool = False) -> t.Term:
    """g * d, selections outermost, strong where d is not proved finite, or where asked for."""
    if isinstance(d, t.Call) and d.fn is t.SELECT:
        c, a, b = d.args
        return t.select(c, _product(g, a, scope, strong), _product(g, b, scope, strong))
    if isinstance(d, t.Num) or (finite(d, scope) and not strong):
        return t.mul(g, d)
    k, rest = t.coefficient(d)
    return t.scale(k, t.call(t.STRONG_MUL, g, rest))


_FIRST: WeakKeyDictionary[Reduce, Node] = WeakKeyDictionary()


def _ordered(node: Reduce) -> list[Loop]:
    """The reduced loops, the slowest first: as they are, but a free one, which no position can be
    multiplied by, before the others."""
    order = sorted(node.inner, key=lambda item: item.extent.value is not None)
    if len(order) > 1 and order[1].extent.value is None:
        raise UnsupportedError("a maximum over several free dimensions has no derivative yet: "
                               "reduce one axis at a time")  # fmt: skip
    return order


def _linear(node: Reduce, at: Mapping[Loop, Ix]) -> Ix:
    """The position of a reduced point in that order."""
    flat = as_ix(0)
    for item in _ordered(node):
        flat = flat * (item.extent.value or 1) + at[item]
    return flat


def first_attaining(node: Reduce) -> Node:
    """A[i]: the first position that attains the extremum: row-major, a free axis before others."""
    found = _FIRST.get(node)
    if found is None:
        n = len(node.reads)
        value = node.body
        best = t.read(n)
        worse = t.call(t.LT, value, best) if node.op == "max" else t.call(t.LT, best, value)
        here = {item: item.ix() for item in node.loops}
        position = _linear(node, here)
        last = position * 0
        for item in _ordered(node):  # the greatest position
            last = last * (item.extent.value or 1) + item.extent - 1
        reads = [*node.reads, At(node, tuple(item.ix() for item in node.outer)),
                 IndexOf(position), IndexOf(last)]  # fmt: skip
        body = t.select(worse, t.read(n + 2), t.read(n + 1))
        found = make("min", node.loops, node.nout, node.guards, body, reads, "int64")
        name = graph.hint(node)
        if name:
            graph.rename(found, f"arg{node.op}_{name}")
        graph.remember(found, Origin(graph.origin(node).place, f"arg{node.op}", (node,)))
        _FIRST[node] = found
    return found


def _attained(node: Reduce, outer: tuple[Ix, ...], at: Mapping[Loop, Ix]) -> Guard | bool:
    return guard(_linear(node, at) - gather(first_attaining(node), outer), "==")


def push_reduce(node: Reduce, tangents: Mapping[Node, Node]) -> Node | None:
    reads = list(node.reads)
    parts = []
    for k, r in enumerate(node.reads):
        if isinstance(r, At) and r.node in tangents:
            d = stable_term(t.diff(node.body, k))
            if isinstance(d, t.Num) and d.value == 0:
                continue
            parts.append(_forward(t.read(len(reads)), d, node, tangents[r.node]))
            reads.append(At(tangents[r.node], r.index, r.guards))
    if not parts:
        return None
    guards: list[Guard | bool] = list(node.guards)
    if node.op != "sum":
        at = {item: item.ix() for item in node.loops}
        guards.append(_attained(node, tuple(item.ix() for item in node.outer), at))
    out = make("sum", node.loops, node.nout, guards, t.add(*parts), reads, node.dtype)
    name = graph.hint(node)
    if name:
        graph.rename(out, f"t_{name}")
    return out


def _forward(tangent: t.Term, d: t.Term, node: Reduce, source: Node) -> t.Term:
    """tangent * d; a tangent from a branch not taken may be infinite where d is exactly 0."""
    if isinstance(d, t.Num) or node_finite(source):
        return _product(tangent, d, scope_of(node))
    if isinstance(d, t.Call) and d.fn is t.SELECT:
        c, a, b = d.args
        return t.select(c, _forward(tangent, a, node, source), _forward(tangent, b, node, source))
    if finite(d, scope_of(node)):
        return t.call(t.STRONG_MUL, d, tangent)
    both = _product(tangent, d, scope_of(node))
    return t.select(t.call(t.EQ, d, t.num(0)), t.num(0), both)
