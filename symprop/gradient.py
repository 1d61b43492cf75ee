"""The derivative: one rule for every value node, reverse and forward, any order.

For out[i] = REDUCE_r body(x_1..x_m) over guards G with cotangent g, and an operand a read as x_k
at index f_k under the read's guard R_k:

    d_a[s] += sum over (i, r) of g[i] * d(body)/d(x_k)
              where G(i, r), R_k(i, r), f_k(i, r) == s
              and, for max and min, lin(r) == A[i]     A[i]: the first position that attains it

Forward, the same sum runs over the reads with their tangents. Scans and regions are differentiated
through their blocks: the reverse of a scan is a scan the other way over the values it saved.

In: a graph. Out: a graph, linear in the first; ``symprop.make`` solves the equality guards.

Guarantees: strong zero. A selection in a local derivative stays outermost, and where the local
derivative is not proved finite the product is ``strong_mul``, exactly 0 where g is 0, so that a
branch not taken, a masked point or a padded read contributes exactly 0 at any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from codegen.index import Guard, Ix, Loop, as_ix, gather, guard, loop, substitute
from symprop import graph
from symprop import term as t
from symprop.errors import DeclarationError, ShapeError, UnsupportedError
from symprop.expression import Expr, as_expr, describe, shape_text
from symprop.graph import (
    FLOATS,
    At,
    Block,
    IndexOf,
    Leaf,
    Node,
    Opaque,
    Origin,
    Output,
    Reading,
    Reduce,
    Region,
    Scan,
    local_like,
    make_block,
    make_output,
    topological,
)
from symprop.make import aligned, filled, fresh, make
from symprop.ranges import Scope, finite, node_finite, scope_of

# --- the public calls ------------------------------------------------------------------------


def gradient(y: Expr, x: Any) -> Any:
    """The gradient of a scalar with respect to x (a list for a list), of x's shape.

    Raises ShapeError when y has dims: take a sum, or use ``vjp``.
    """
    if not isinstance(y, Expr) or y.ndim:
        shown = f"{describe(y)} of shape {shape_text(y)}" if isinstance(y, Expr) else repr(y)
        raise ShapeError(f"gradient needs a scalar, but got {shown}: sum it, or use prop.vjp")
    return vjp(y, x, 1.0)


def vjp(y: Any, x: Any, cotangent: Any) -> Any:
    """Vector-Jacobian product: the cotangent of y (of y's shape) pulled back to x."""
    ys = list(y) if isinstance(y, list | tuple) else [y]
    gs = list(cotangent) if isinstance(y, list | tuple) else [cotangent]
    xs = list(x) if isinstance(x, list | tuple) else [x]
    _check(ys, xs)
    seeds = [_seed(a, b) for a, b in zip(ys, gs, strict=True)]
    found = pull([a.node for a in ys], seeds, [a.node for a in xs])
    outs = [Expr(_named(n, a.node)) for n, a in zip(found, xs, strict=True)]
    return outs if isinstance(x, list | tuple) else outs[0]


def jvp(y: Any, x: Any, tangent: Any) -> Any:
    """Jacobian-vector product: the tangent of x (of x's shape) pushed forward to y."""
    ys = list(y) if isinstance(y, list | tuple) else [y]
    xs = list(x) if isinstance(x, list | tuple) else [x]
    ts = list(tangent) if isinstance(x, list | tuple) else [tangent]
    _check(ys, xs)
    seeds = {a.node: _seed(a, b) for a, b in zip(xs, ts, strict=True)}
    outs = [Expr(n) for n in push([a.node for a in ys], seeds)]
    return outs if isinstance(y, list | tuple) else outs[0]


def _check(ys: Sequence[Any], xs: Sequence[Any]) -> None:
    for e in (*ys, *xs):
        if not isinstance(e, Expr):
            raise DeclarationError(f"a derivative needs expressions, but got {type(e).__name__}: "
                                   "declare variables with prop.input or prop.parameter")  # fmt: skip
        if e.dtype not in FLOATS:
            raise DeclarationError(f"{describe(e)} is {e.dtype}, which has no derivative: "
                                   "use a float")  # fmt: skip


def _seed(like: Expr, value: Any) -> Node:
    e = as_expr(value)
    if e.node.dims == like.node.dims:
        return e.node
    if e.ndim:
        raise ShapeError(f"the (co)tangent of {describe(like)} must have its shape "
                         f"{shape_text(like)}, but has {shape_text(e)}")  # fmt: skip
    loops = fresh(like.node.dims)
    return make("sum", loops, len(loops), (), t.read(0), [At(e.node, ())], like.dtype)


def _named(d: Node, primal: Node) -> Node:
    name = graph.hint(primal)
    if name and not graph.hint(d):
        graph.rename(d, f"grad_{name}")
    return d


# --- reverse ---------------------------------------------------------------------------------


def pull(ys: Sequence[Node], seeds: Sequence[Node], xs: Sequence[Node]) -> list[Node]:
    """Cotangents of xs for cotangents ``seeds`` of ys; zeros where ys do not depend on x."""
    order = topological(ys)
    wanted = _dependent(order, xs)
    cotangents: dict[Node, list[Node]] = {}
    for y, seed in zip(ys, seeds, strict=True):
        cotangents.setdefault(y, []).append(seed)
    multiple: dict[Node, dict[int, Node]] = {}
    targets = set(xs)
    done: dict[Node, Node] = {}
    for node in reversed(order):
        if node not in wanted:
            continue
        if isinstance(node, Scan | Region | Opaque):
            if node in multiple:
                for operand, part in _pull_many(node, multiple.pop(node), wanted):
                    cotangents.setdefault(operand, []).append(part)
            continue
        if node not in cotangents:
            continue
        g = _total(node, cotangents.pop(node))
        if node in targets:
            done[node] = g
        if isinstance(node, Output):
            multiple.setdefault(node.of, {})[node.n] = g
        elif isinstance(node, Reduce):
            for operand, part in _pull_reduce(node, g, wanted):
                cotangents.setdefault(operand, []).append(part)
    return [done.get(x) or filled(t.num(0), x.dims, x.dtype) for x in xs]


def _dependent(order: Sequence[Node], xs: Sequence[Node]) -> set[Node]:
    found = set(xs)
    for node in order:
        if node not in found and any(o in found for o in node.operands):
            found.add(node)
    return found


TERMS = 8  # contributions added in one formula: more do not fit a line


def _added(parts: Sequence[Node], like: Node) -> Node:
    loops = fresh(like.dims)
    at = tuple(item.ix() for item in loops)
    body = t.add(*(t.read(k) for k in range(len(parts))))
    return make("sum", loops, len(loops), (), body, [At(p, at) for p in parts], like.dtype)


def _total(node: Node, parts: Sequence[Node]) -> Node:
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


def _pull_reduce(node: Reduce, g: Node, wanted: set[Node]) -> list[tuple[Node, Node]]:
    found = []
    for k, r in enumerate(node.reads):
        if isinstance(r, At) and r.node in wanted and r.node.dtype in FLOATS:
            d = t.diff(node.body, k)
            if not (isinstance(d, t.Num) and d.value == 0):
                found.append((r.node, _contribution(node, k, r, g, d)))
    return found


def _contribution(node: Reduce, k: int, r: At, g: Node, d: t.Term) -> Node:
    """sum over (i, r) of g[i] * d where the node's guards hold and its read k is element s."""
    operand = r.node
    rank = len(operand.dims)
    out = fresh(operand.dims)
    moved = {item: loop(rank + item.position, item.extent).ix() for item in node.loops}
    shift: dict[Loop, Ix] = moved
    loops = [*out, *(loop(rank + item.position, item.extent) for item in node.loops)]
    guards: list[Guard | bool] = []
    for own in (*node.guards, *r.guards):
        guards.append(guard(substitute(own.ix, shift), own.kind))
    for s, ix in zip(out, r.index, strict=True):
        guards.append(guard(substitute(ix, shift) - s.ix(), "=="))
    outer = tuple(shift[item] for item in node.outer)
    if node.op != "sum":
        guards.append(_attained(node, outer, shift))
    reads = [_shifted(x, shift) for x in node.reads]
    reads += [At(g, outer), At(node, outer)]
    value = t.read(len(node.reads) + 1)
    body = _product(t.read(len(node.reads)), d, scope_of(node))
    if _worth_reading(node):
        body = t.rewrite(body, lambda x: value if x is node.body else None)
    part = make("sum", loops, rank, guards, body, reads, operand.dtype)
    graph.remember(part, Origin(graph.origin(node).place, "chain rule", (operand, node, g)))
    return part


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


def _product(g: t.Term, d: t.Term, scope: Scope) -> t.Term:
    """g * d, selections outermost, strong where d is not proved finite."""
    if isinstance(d, t.Call) and d.fn is t.SELECT:
        c, a, b = d.args
        return t.select(c, _product(g, a, scope), _product(g, b, scope))
    if isinstance(d, t.Num) or finite(d, scope):
        return t.mul(g, d)
    k, rest = t.coefficient(d)
    return t.scale(k, t.call(t.STRONG_MUL, g, rest))


_FIRST: WeakKeyDictionary[Reduce, Node] = WeakKeyDictionary()


def _linear(node: Reduce, at: Mapping[Loop, Ix]) -> Ix:
    """The position of a reduced point, row-major; only the first extent may be free."""
    flat = as_ix(0)
    for k, item in enumerate(node.inner):
        size = item.extent.value
        if k and size is None:
            raise UnsupportedError("a maximum over several free dimensions has no derivative yet: "
                                   "reduce one axis at a time")  # fmt: skip
        flat = flat * (size or 1) + at[item] if k else at[item]
    return flat


def first_attaining(node: Reduce) -> Node:
    """A[i]: the first position (row-major) that attains the extremum."""
    found = _FIRST.get(node)
    if found is None:
        n = len(node.reads)
        value = node.body
        best = t.read(n)
        worse = t.call(t.LT, value, best) if node.op == "max" else t.call(t.LT, best, value)
        here = {item: item.ix() for item in node.loops}
        position = _linear(node, here)
        last = position * 0
        for item in node.inner:  # the greatest position
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


# --- forward ---------------------------------------------------------------------------------


def push(ys: Sequence[Node], seeds: Mapping[Node, Node]) -> list[Node]:
    """Tangents of ys for the tangents ``seeds``; zeros where y depends on none."""
    tangents: dict[Node, Node] = dict(seeds)
    many: dict[Node, dict[int, Node]] = {}
    for node in topological(ys):
        if node in tangents or isinstance(node, Leaf):
            continue
        if isinstance(node, Reduce):
            if node.dtype in FLOATS and any(o in tangents for o in node.operands):
                found = _push_reduce(node, tangents)
                if found is not None:
                    tangents[node] = found
        elif isinstance(node, Output):
            if node.of in many and node.n in many[node.of]:
                tangents[node] = many[node.of][node.n]
        elif isinstance(node, Scan | Region | Opaque) and any(o in tangents for o in node.operands):
            many[node] = _push_many(node, tangents)
    return [tangents.get(y) or filled(t.num(0), y.dims, y.dtype) for y in ys]


def _push_reduce(node: Reduce, tangents: Mapping[Node, Node]) -> Node | None:
    reads = list(node.reads)
    parts = []
    for k, r in enumerate(node.reads):
        if isinstance(r, At) and r.node in tangents:
            d = t.diff(node.body, k)
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


# --- blocks: scans, regions, opaque operations ---------------------------------------------------


def _pull_many(
    node: Scan | Region | Opaque, gs: Mapping[int, Node], wanted: set[Node]
) -> list[tuple[Node, Node]]:
    if isinstance(node, Opaque):
        results = [gs.get(n) or filled(t.num(0), d, "float") for n, (d, _) in enumerate(node.results)]
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
    start = len(block.leaves)
    seeds = [
        local_like(start + k, block.outputs[n]) for k, n in enumerate(_true(given))
    ]
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
                if o not in depends and not isinstance(o, Leaf) and o.operands:
                    if not isinstance(o, Scan | Region | Opaque):
                        saved[o] = None
    for n in found:
        if n not in depends and not isinstance(n, Leaf) and n.operands:
            saved[n] = None
    kept = list(saved)
    stand: dict[Node, Leaf] = {
        n: local_like(start + len(seeds) + k, n) for k, n in enumerate(kept)
    }
    return kept, seeds, list(stand.values()), graph.substitute(found, stand)


def _true(flags: Sequence[bool]) -> list[int]:
    return [k for k, f in enumerate(flags) if f]


def _names(block: Block, given: Sequence[bool], saved: Sequence[Node]) -> list[str]:
    """Names for the leaves of a reverse block: the block's own, cotangents, saved values."""
    outs = [graph.hint(block.outputs[n]) or f"output{n}" for n in _true(given)]
    return [
        *block.names,
        *(f"d_{n}" for n in outs),
        *(graph.hint(n) or f"saved{k}" for k, n in enumerate(saved)),
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
        reverse, kept = _tight_block(
            leaves, pulled, f"d_{block.name}", _names(block, given, saved)
        )
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
    return [
        (node.arguments[k], make_output(back, m)) for m, k in enumerate(_true(need))
    ]


def _tight_block(
    leaves: Sequence[Leaf], outputs: Sequence[Node], name: str, names: Sequence[str]
) -> tuple[Block, tuple[int, ...]]:
    """The block over the leaves it uses, renumbered, and their positions."""
    used = set(topological(outputs))
    kept = tuple(k for k, leaf in enumerate(leaves) if leaf in used)
    block, _ = _numbered([leaves[k] for k in kept], outputs, name, [names[k] for k in kept])
    return block, kept


def _pull_scan(
    node: Scan, gs: Mapping[int, Node], need: Sequence[bool]
) -> list[tuple[Node, Node]]:
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
    grown = [_total(block.leaves[k], [sums[k], d]) for k, d in d_const.items()]

    carry_leaves = [seed_of[k] for k in d_carry] + list(sums.values())
    first = [gs.get(k) or filled(t.num(0), block.leaves[k].dims, block.leaves[k].dtype)
             for k in d_carry]  # fmt: skip
    first += [filled(t.num(0), block.leaves[k].dims, block.leaves[k].dtype) for k in sums]
    slice_leaves = [seed_of[n] for n in seed_of if n >= nc]
    slice_args = [gs[n] for n in seed_of if n >= nc]
    slice_leaves += [*block.leaves[:nc], *stand, *block.leaves[nc : nc + ns]]
    slice_args += [*history, *node.arguments[nc : nc + ns]]
    const_leaves, const_args = list(block.leaves[nc + ns :]), list(node.arguments[nc + ns :])
    outputs = [*d_carry.values(), *grown, *d_slice.values()]
    own = dict(zip(block.leaves, block.names, strict=True))
    titles = {leaf: f"d_{own.get(block.leaves[k], '') or k}" for k, leaf in seed_of.items() if k < nc}
    titles |= {leaf: f"d_output{k}" for k, leaf in seed_of.items() if k >= nc}
    titles |= {leaf: f"sum_d_{own[block.leaves[k]] or k}" for k, leaf in sums.items()}
    titles |= {leaf: graph.hint(n) or f"saved{k}" for k, (n, leaf)
               in enumerate(zip(saved, stand, strict=True))}  # fmt: skip
    titles |= own
    used = set(topological(outputs))
    pairs = [(a, b) for a, b in zip(slice_leaves, slice_args, strict=True) if a in used]
    consts = [(a, b) for a, b in zip(const_leaves, const_args, strict=True) if a in used]
    leaves = [*carry_leaves, *(a for a, _ in pairs), *(a for a, _ in consts)]
    arguments = [*first, *(b for _, b in pairs), *(b for _, b in consts)]
    reverse, _used = _numbered(leaves, outputs, "d_scan", [titles[x] or "value" for x in leaves])
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


def _numbered(
    leaves: Sequence[Leaf], outputs: Sequence[Node], name: str, names: Sequence[str]
) -> tuple[Block, None]:
    """A block over exactly these leaves, renumbered by position."""
    temporary: dict[Node, Node] = {
        leaf: graph.new_leaf("local", f"%t{m}", leaf.dims, leaf.dtype, low=leaf.low, high=leaf.high)
        for m, leaf in enumerate(leaves)
    }
    outs = graph.substitute(outputs, temporary)
    final: dict[Node, Node] = {temporary[leaf]: local_like(m, leaf) for m, leaf in enumerate(leaves)}
    outs = graph.substitute(outs, final)
    return make_block(list(final.values()), outs, name, names), None  # type: ignore[arg-type]


def _push_many(node: Scan | Region | Opaque, tangents: Mapping[Node, Node]) -> dict[int, Node]:
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
    given = {k: tangents.get(node.arguments[k])
             or filled(t.num(0), node.arguments[k].dims, node.arguments[k].dtype)
             for k in _true(moving)}  # fmt: skip
    names = [*block.names, *(f"t_{block.names[k] or k}" for k in _true(moving))]
    if isinstance(node, Region):
        wider = make_block(
            [*block.leaves, *seeds.values()], [*block.outputs, *outs], block.name, names  # type: ignore[list-item]
        )
        both = graph.make_region(wider, [*node.arguments, *given.values()])
        return {n: make_output(both, len(block.outputs) + n) for n in range(len(outs))}
    return _push_scan(node, seeds, outs, given, names)


def _push_scan(
    node: Scan, seeds: Mapping[Node, Node], outs: Sequence[Node], given: Mapping[int, Node],
    names: Sequence[str],
) -> dict[int, Node]:  # fmt: skip
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
    wider, _ = _numbered(leaves, outputs, block.name, [title[x] for x in leaves])
    both = graph.make_scan(
        wider, node.length, node.reverse, len(c_leaf), len(s_leaf), [*c_arg, *s_arg, *k_arg]
    )
    found = {k: make_output(both, nc + m) for m, k in enumerate(k for k in given if k < nc)}
    ys = len(block.outputs) - nc
    for n in range(ys):
        found[nc + n] = make_output(both, len(c_leaf) + ys + n)
    return found


__all__ = ["aligned", "first_attaining", "gradient", "jvp", "pull", "push", "vjp"]
