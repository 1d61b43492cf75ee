"""The rewrite rules, as data: name, algebra, class, and the function that applies one.

In: a node and the context of the pass (how often each value is used). Out: the rewritten node, or
None. Class: "exact" (the same floats), "reorders rounding" (the same real number), "needs an
assumption" (which the rule proves or names).

Guarantees: a rule is pure and local; whether its result is kept is the engine's gate's to say. No
rule splits a sum to save operations (it loses digits): terms are dropped only when proved 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from codegen.index import Ix, Loop
from symprop import term as t
from symprop.graph import FLOATS, At, IndexOf, Node, Reading, Reduce, hint
from symprop.make import filled, make
from symprop.ranges import scope_of, term_range
from symprop.simplify import normal
from symprop.simplify.cost import domain
from symprop.simplify.inline import (
    complexity,
    inline,
    is_map,
    is_view,
    slice_like,
)
from symprop.simplify.residue import split_residues

Class = Literal["exact", "reorders rounding", "needs an assumption"]
BODY_LIMIT = 14  # operations in a fused body: past it a formula no longer fits a line
VIEW_LIMIT = 12  # atoms in a composed index: misaligned reshape chains double it
HOIST_RATIO = 2  # a subterm moves to a smaller domain when that has at most half the points


@dataclass
class Context:
    """What a rule may ask of the pass: uses of each operand in the graph before it."""

    uses: dict[Node, int] = field(default_factory=dict)
    keep: set[Node] = field(default_factory=set)

    def single(self, node: Node) -> bool:
        """Read by exactly one node, and not asked for by the caller."""
        return self.uses.get(node, 2) == 1 and node not in self.keep


@dataclass(frozen=True)
class Rule:
    """One rewrite; ``algebra`` is what it says, ``kind`` what it does to rounding."""

    name: str
    algebra: str
    kind: Class
    apply: Callable[[Reduce, Context], Node | None]
    gated: bool = True


def read_through_views(node: Reduce, context: Context) -> Node | None:
    """y = x[f(i)], z = body(y[g(i)])  ->  z = body(x[f(g(i))]), the index staying small."""
    for k, r in enumerate(node.reads):
        if not isinstance(r, At) or not is_view(r.node):
            continue
        view = r.node
        assert isinstance(view, Reduce)
        easy = slice_like(view)

        def fits(made: Node, view: Reduce = view, easy: bool = easy, r: At = r) -> bool:
            if easy or not isinstance(made, Reduce) or not made.reads:
                return True
            if not is_view(node):
                return False
            inner = view.reads[0]
            found = made.reads[0]
            if not isinstance(inner, At) or not isinstance(found, At):
                return True
            before = sum(map(complexity, inner.index)), sum(map(complexity, r.index))
            return sum(map(complexity, found.index)) <= min(max(before), VIEW_LIMIT)

        made = inline(node, k, fits)
        if made is not None:
            return made
    return None


def read_through_free(node: Reduce, context: Context) -> Node | None:
    """A map without operations (a cast, a sign, a held constant) is read through."""
    for k, r in enumerate(node.reads):
        if isinstance(r, At) and is_map(r.node) and not is_view(r.node):
            source = r.node
            assert isinstance(source, Reduce)
            if t.operations(source.body) == 0 and source not in context.keep:
                made = inline(node, k)
                if made is not None:
                    return made
    return None


def fuse_single_use(node: Reduce, context: Context) -> Node | None:
    """y = f(x), z = g(y), y read once  ->  z = g(f(x)), over the same points."""
    points = None
    for k, r in enumerate(node.reads):
        if not isinstance(r, At) or not is_map(r.node) or is_view(r.node):
            continue
        source = r.node
        assert isinstance(source, Reduce)
        if not context.single(source) or _named(source) or _repeated(node, source):
            continue
        if points is None:
            points = domain(item.extent for item in node.loops)
        if points > domain(source.dims):
            continue
        if t.operations(node.body) + t.operations(source.body) > BODY_LIMIT:
            continue
        made = inline(node, k)
        if made is not None:
            return made
    return None


def _named(node: Node) -> bool:
    """The user named it: it stays a value that can be read."""
    name = hint(node)
    return bool(name) and not name.startswith(("d_", "grad_", "t_", "arg"))


def _repeated(node: Reduce, source: Node) -> bool:
    """Read at two places: fusing would compute it twice."""
    return sum(isinstance(r, At) and r.node is source for r in node.reads) > 1


# --- sums --------------------------------------------------------------------------------------


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
    at: Reading = At(core, tuple(item.ix() for item in node.outer))
    if isinstance(core, Reduce) and not is_map(core):
        smaller, kept = normal.without_unused_loops(core)
        at = At(smaller, tuple(node.outer[j].ix() for j in kept))
    outer = t.mul(t.num(k), t.read(len(node.reads)), *(t.power(b, n) for b, n in fixed))
    return make("sum", node.outer, node.nout, (), outer, [*node.reads, at], node.dtype)


def _common(
    factors: tuple[tuple[t.Term, int], ...],
) -> tuple[list[tuple[t.Term, int]], tuple[tuple[t.Term, int], ...]]:
    """(a*c + b*c) = c*(a + b), for a sum standing alone as a factor."""
    if len(factors) != 1 or factors[0][1] != 1 or not isinstance(factors[0][0], t.Sum):
        return [], factors
    total = factors[0][0]
    if total.const or len(total.terms) < 2:
        return [], factors
    parts = [dict(_powers(x)) for x, _ in total.terms]
    shared = [
        (b, n) for b, n in parts[0].items() if all(p.get(b) == n for p in parts[1:])
    ]
    if not shared:
        return [], factors
    names = {b for b, _ in shared}
    left = t.add(*(
        t.scale(k, t.mul(*(t.power(b, n) for b, n in p.items() if b not in names)))
        for p, (_, k) in zip(parts, total.terms, strict=True)
    ))  # fmt: skip
    return shared, ((left, 1),)


def _powers(x: t.Term) -> tuple[tuple[t.Term, int], ...]:
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
        kept = [(x, c) for x, c in parts if not normal.is_zero(_sum_of(candidate, x))]
        if len(kept) < len(parts):
            left = t.scale(k, t.add(*(t.scale(c, x) for x, c in kept)))
            return _sum_of(candidate, left)
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


def _sum_of(node: Reduce, body: t.Term) -> Node:
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
    made = _sum_of(node, t.scale(k, t.add(*terms)))
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


# --- maps --------------------------------------------------------------------------------------


def hoist(node: Reduce, context: Context) -> Node | None:
    """A subterm that moves with fewer loops is computed over those alone."""
    if node.dtype not in FLOATS or t.operations(node.body) < 2:
        return None
    points = domain(item.extent for item in node.loops)
    for x in t.subterms(node.body):
        for group in _groups(x, node, points):
            made = _hoisted(node, x, group)
            if made is not None:
                return made
    return None


def _loops(term: t.Term, node: Reduce) -> frozenset[Loop]:
    found: set[Loop] = set()
    for k in term.reads:
        found |= normal.loops_of(node.reads[k])
    return frozenset(found)


def _groups(x: t.Term, node: Reduce, points: int) -> list[t.Term]:
    """Parts of a subterm worth a node of their own: largest saving first."""
    parts: list[t.Term] = []
    if isinstance(x, t.Prod):
        by: dict[frozenset[Loop], list[tuple[t.Term, int]]] = {}
        for b, n in x.factors:
            by.setdefault(_loops(b, node), []).append((b, n))
        parts = [t.mul(*(t.power(b, n) for b, n in fs)) for fs in by.values() if len(fs) > 1]
        for fs in by.values():
            parts += [t.power(b, n) for b, n in fs if n < -1 or n > 1]
    elif isinstance(x, t.Sum):
        parts = [p for y, k in x.terms for p in _scaled(y, k, node, points)]
        by_term: dict[frozenset[Loop], list[tuple[t.Term, Fraction]]] = {}
        for y, k in x.terms:
            by_term.setdefault(_loops(y, node), []).append((y, k))
        parts += [
            t.add(*(t.scale(k, y) for y, k in ys)) for ys in by_term.values() if len(ys) > 1
        ]
    elif isinstance(x, t.Call):
        parts = [x]
    return [
        p
        for p in parts
        if t.operations(p) and p is not node.body
        and domain(i.extent for i in _loops(p, node)) * HOIST_RATIO <= points
    ]  # fmt: skip


def _scaled(y: t.Term, k: Fraction, node: Reduce, points: int) -> list[t.Term]:
    """A numeric factor with the factors that move with fewer loops."""
    if abs(k) == 1 or not isinstance(y, t.Prod):
        return []
    small = [(b, n) for b, n in y.factors
             if domain(i.extent for i in _loops(b, node)) * HOIST_RATIO <= points]  # fmt: skip
    return [t.scale(k, t.mul(*(t.power(b, n) for b, n in small)))] if small else []


def _hoisted(node: Reduce, x: t.Term, part: t.Term) -> Node | None:
    loops = sorted(_loops(part, node), key=lambda v: v.position)
    if part.reads and any(
        isinstance(node.reads[k], At) and node.reads[k].guards for k in part.reads  # type: ignore[union-attr]
    ):
        return None
    if node.guards:  # the smaller domain is computed where the guards do not hold, too
        return None
    small = make("sum", loops, len(loops), (), part, node.reads, node.dtype)
    stand = t.read(len(node.reads))
    body = _swap(node.body, x, part, stand)
    if body is node.body:
        return None
    reads = [*node.reads, At(small, tuple(v.ix() for v in loops))]
    return make(node.op, node.loops, node.nout, node.guards, body, reads, node.dtype,
                node.accumulator)  # fmt: skip


def _swap(body: t.Term, x: t.Term, part: t.Term, stand: t.Term) -> t.Term:
    """The body with ``part`` of its subterm x replaced."""
    if part is x:
        return t.rewrite(body, lambda y: stand if y is x else None)
    if isinstance(x, t.Prod):
        taken = dict(_powers(part)) if isinstance(part, t.Prod) else {part: 1}
        left = [t.power(b, n) for b, n in x.factors if taken.get(b) != n]
        new = t.mul(stand, *left)
    else:
        assert isinstance(x, t.Sum)
        new = _swap_in_sum(x, part, stand)
    return t.rewrite(body, lambda y: new if y is x else None)


def _swap_in_sum(x: t.Sum, part: t.Term, stand: t.Term) -> t.Term:
    k, rest = t.coefficient(part)
    if isinstance(rest, t.Sum) and k == 1:
        return t.add(x, t.neg(part), stand)
    taken = dict(_powers(rest))
    terms = [t.num(x.const)]
    for y, c in x.terms:
        own = dict(_powers(y))
        if c == k and taken and all(own.get(b) == n for b, n in taken.items()):
            terms.append(t.mul(stand, *(t.power(b, n) for b, n in own.items() if b not in taken)))
            taken = {}
        else:
            terms.append(t.scale(c, y))
    return t.add(*terms)


def cancel(node: Reduce, context: Context) -> Node | None:
    """x**2 / x  ->  x, where x is proved nonzero; select(c, v, v) and 0 * x folded"""
    scope = scope_of(node)

    def change(x: t.Term) -> t.Term | None:
        if not isinstance(x, t.Prod):
            return None
        up = {b: n for b, n in x.factors if n > 0}
        for b, n in x.factors:
            if n < 0 and b in up and term_range(b, scope).nonzero:
                left = [t.power(c, m) for c, m in x.factors if c is not b]
                return t.mul(*left, t.power(b, up[b] + n))
        return None

    body = t.rewrite(node.body, change)
    return None if body is node.body else _sum_of(node, body)


def guard_to_reads(node: Reduce, context: Context) -> Node | None:
    """A contraction keeps its node guards only where no read carries them (implied guards)."""
    if not node.guards or node.op != "sum" or not isinstance(t.coefficient(node.body)[1], t.Prod):
        return None
    _, rest = t.coefficient(node.body)
    assert isinstance(rest, t.Prod)
    needless = set()
    for b, n in rest.factors:
        if n > 0 and isinstance(b, t.Read):
            r = node.reads[b.k]
            if isinstance(r, At) and isinstance(r.node, Reduce) and is_map(r.node):
                for g in r.node.guards:
                    needless.add(_at(g.ix, r, g.kind))
    kept = [g for g in node.guards if g not in needless]
    others = all(n > 0 for _, n in rest.factors)
    if len(kept) == len(node.guards) or not others or not _safe(node):
        return None
    return make(node.op, node.loops, node.nout, kept, node.body, node.reads, node.dtype,
                node.accumulator)  # fmt: skip


def _at(ix: Ix, r: At, kind: str) -> object:
    from codegen.index import guard, substitute

    assert isinstance(r.node, Reduce)
    mapping = dict(zip(r.node.outer, r.index, strict=True))
    return guard(substitute(ix, mapping), kind)  # type: ignore[arg-type]


def _safe(node: Reduce) -> bool:
    """Every read stays in range without the dropped guards, and every factor is finite."""
    from codegen.index import nonneg
    from symprop.ranges import node_finite

    for r in node.reads:
        if isinstance(r, IndexOf):
            continue
        if not node_finite(r.node):
            return False
        for ix, d in zip(r.index, r.node.dims, strict=True):
            if not (nonneg(ix) and nonneg(d - 1 - ix)):
                return False
    return True


RULES: tuple[Rule, ...] = (
    Rule("read through views", "body(x[f][g]) -> body(x[f.g])", "exact", read_through_views, False),
    Rule("read through free maps", "body(-x) read as written", "exact", read_through_free, False),
    Rule("cancel", "x**2 / x -> x, x nonzero", "reorders rounding", cancel),
    Rule("pull factors out of sums", "sum_r a*b[r] -> a * sum_r b[r]", "reorders rounding",
         pull_factors),
    Rule("drop zero sums", "sum_r (a + b) -> sum_r a, sum_r b = 0 proved", "reorders rounding",
         drop_zero_sums),
    Rule("residue split", "sum where e mod m == 0 -> m dense sums", "reorders rounding",
         split_residues),
    Rule("drop implied guards", "guard on a factor that is 0 there", "exact", guard_to_reads),
    Rule("fuse single use", "z = g(y), y = f(x) -> z = g(f(x))", "exact", fuse_single_use),
    Rule("hoist", "f(a[i], b[i,j]) -> c = g(a[i]), f(c, b)", "reorders rounding", hoist),
)  # fmt: skip

SHARED = Rule(
    "share sums", "sum a*b*c[i] and sum a*b share sum a*b", "reorders rounding", share_sums
)
