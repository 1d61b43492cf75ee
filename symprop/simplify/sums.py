"""Rules on sums: pulling factors out, dropping terms proved 0, sharing a core sum.

In: a node and the pass's context. Out: the rewritten node, or None. What each says and does to
rounding stands in ``symprop.simplify.rules``. No rule splits a sum to save operations: a term is
dropped only when its own sum is proved 0.
"""

from __future__ import annotations

from codegen.index import Loop
from symprop import term as t
from symprop.graph import FLOATS, At, Node, Reading, Reduce
from symprop.make import filled, make
from symprop.ranges import Scope, finite
from symprop.simplify import normal
from symprop.simplify.context import Context
from symprop.simplify.inline import inline, is_map


def pull_factors(node: Reduce, context: Context) -> Node | None:
    """sum_r a[i]*b[i,r]  ->  a[i] * sum_r b[i,r]"""
    if node.op != "sum" or is_map(node) or node.dtype not in FLOATS:
        return None
    k, rest = t.coefficient(node.body)
    factors = rest.factors if isinstance(rest, t.Prod) else ((rest, 1),)
    shared, factors = _common(factors)
    inner = set(node.inner)
    fixed: list[tuple[t.Term, int]] = []
    moving: list[tuple[t.Term, int]] = []
    for base, n in (*shared, *factors):
        (fixed if _still(base, node.reads, inner) else moving).append((base, n))
    if k == 1 and not fixed:
        return None
    body = t.mul(*(t.power(b, n) for b, n in moving))
    core = make(node.op, node.loops, node.nout, node.guards, body, node.reads, node.dtype,
                node.accumulator)  # fmt: skip
    assert isinstance(core, Reduce)
    smaller, kept = normal.without_unused_loops(core)
    at = At(smaller, tuple(node.outer[j].ix() for j in kept))
    whole = t.mul(*(t.power(b, n) for b, n in fixed))
    # Where the guards leave no point the sum is 0, whatever the factor would have been there.
    strong = bool(node.guards) and not finite(whole, Scope(node.reads))
    product = t.call(t.STRONG_MUL, t.read(len(node.reads)), whole) if strong else t.mul(
        t.read(len(node.reads)), whole)  # fmt: skip
    return make(
        "sum", node.outer, node.nout, (), t.scale(k, product), [*node.reads, at], node.dtype
    )


def _common(
    factors: tuple[tuple[t.Term, int], ...],
) -> tuple[list[tuple[t.Term, int]], tuple[tuple[t.Term, int], ...]]:
    """(a*c + b*c) = c*(a + b), for a sum standing alone as a factor."""
    if len(factors) != 1 or factors[0][1] != 1 or not isinstance(factors[0][0], t.Sum):
        return [], factors
    total = factors[0][0]
    if total.const or len(total.terms) < 2:
        return [], factors
    parts = [powers(x) for x, _ in total.terms]
    shared = [own for own in parts[0] if all(own in p for p in parts[1:])]
    if not shared:
        return [], factors
    left = t.add(*(
        t.scale(k, t.mul(*(t.power(b, n) for b, n in p if (b, n) not in shared)))
        for p, (_, k) in zip(parts, total.terms, strict=True)
    ))  # fmt: skip
    return shared, ((left, 1),)


def powers(x: t.Term) -> tuple[tuple[t.Term, int], ...]:
    return x.factors if isinstance(x, t.Prod) else ((x, 1),)


def _still(base: t.Term, reads: tuple[Reading, ...], inner: set[Loop]) -> bool:
    return not any(normal.loops_of(reads[k]) & inner for k in base.reads)


def drop_zero_sums(node: Reduce, context: Context) -> Node | None:
    """sum_r (a + b)  ->  sum_r a, where sum_r b is proved 0; so is a map of such sums"""
    if is_map(node) and isinstance(node.body, t.Sum) and _reads_a_sum(node):
        return filled(t.num(0), node.dims, node.dtype) if normal.is_zero(node) else None
    if node.op != "sum" or is_map(node) or node.dtype not in FLOATS or _is_contraction(node):
        return None
    for candidate in (node, *_opened(node)):
        body = candidate.body
        k, rest = t.coefficient(body)
        if not isinstance(rest, t.Sum):
            if candidate is node and isinstance(rest, t.Prod) and normal.is_zero(node):
                return filled(t.num(0), node.dims, node.dtype)
            continue
        parts = list(rest.terms)
        if rest.const:
            parts.append((t.num(1), rest.const))
        if len(parts) > 6:
            continue
        kept = [(x, c) for x, c in parts if not normal.is_zero(sum_of(candidate, x))]
        if len(kept) < len(parts):
            left = t.scale(k, t.add(*(t.scale(c, x) for x, c in kept)))
            return sum_of(candidate, left)
        if normal.is_zero(candidate):
            return filled(t.num(0), node.dims, node.dtype)
    return None


def _reads_a_sum(node: Reduce) -> bool:
    return any(isinstance(o, Reduce) and not is_map(o) and o.op == "sum" for o in node.operands)


def _is_contraction(node: Reduce) -> bool:
    """Two operands that move with the sum and with different output loops: no terms of such a sum
    cancel by their form, and asking costs most of the time."""
    inner = set(node.inner)
    own = [normal.loops_of(r) for r in node.reads if isinstance(r, At)]
    moving = [loops - inner for loops in own if loops & inner]
    return any(a - b and b - a for a in moving for b in moving)


def sum_of(node: Reduce, body: t.Term) -> Node:
    return make(node.op, node.loops, node.nout, node.guards, body, node.reads, node.dtype,
                node.accumulator)  # fmt: skip


def _opened(node: Reduce) -> list[Reduce]:
    """The sum with one map that is itself a sum read through."""
    found = []
    for k, r in enumerate(node.reads):
        if isinstance(r, At) and isinstance(r.node, Reduce) and is_map(r.node):
            inner = r.node.body
            if isinstance(t.coefficient(inner)[1], t.Sum) or isinstance(inner, t.Prod):
                made = inline(node, k)
                if isinstance(made, Reduce) and not is_map(made):
                    found.append(_distributed(made))
    return found


def _distributed(node: Reduce) -> Reduce:
    """A product with one sum factor multiplied out (for the search of zero terms only)."""
    k, rest = t.coefficient(node.body)
    if not isinstance(rest, t.Prod):
        return node
    sums = [(b, n) for b, n in rest.factors if isinstance(b, t.Sum) and n == 1]
    if len(sums) != 1:
        return node
    others = t.mul(*(t.power(b, n) for b, n in rest.factors if b is not sums[0][0]))
    total = sums[0][0]
    assert isinstance(total, t.Sum)
    terms = [t.scale(c, t.mul(x, others)) for x, c in total.terms]
    if total.const:
        terms.append(t.scale(total.const, others))
    made = sum_of(node, t.scale(k, t.add(*terms)))
    return made if isinstance(made, Reduce) else node


def share_sums(node: Reduce, context: Context) -> Node | None:
    """Sums equal up to factors that do not move with the loops share one core sum."""
    if node.op != "sum" or is_map(node) or node.dtype not in FLOATS:
        return None
    opened = node
    for _ in range(4):
        step = _open_product(opened)
        if step is None:
            break
        opened = step
    if opened is node:
        return None
    return pull_factors(opened, context) or opened


def _open_product(node: Reduce) -> Reduce | None:
    """A product-shaped map read through, so that its fixed factors can be pulled out."""
    for k, r in enumerate(node.reads):
        if not isinstance(r, At) or not isinstance(r.node, Reduce) or not is_map(r.node):
            continue
        source = r.node
        if source.guards or not isinstance(t.coefficient(source.body)[1], t.Prod):
            continue
        made = inline(node, k)
        if not isinstance(made, Reduce) or is_map(made):
            continue
        _, rest = t.coefficient(made.body)
        if isinstance(rest, t.Prod) and any(
            _still(b, made.reads, set(made.inner)) for b, _ in rest.factors
        ):
            return made
    return None
