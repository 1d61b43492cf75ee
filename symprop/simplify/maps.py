"""Rules on maps: reading through views and free maps, fusing, hoisting, cancelling.

In: a node and the pass's context. Out: the rewritten node, or None. What each says and does to
rounding stands in ``symprop.simplify.rules``.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from codegen.index import Gather, Ix, Loop, guard, nonneg, substitute
from symprop import term as t
from symprop.graph import FLOATS, At, Node, Reduce, hint
from symprop.make import make
from symprop.ranges import Scope, finite, scope_of, term_range
from symprop.simplify import normal
from symprop.simplify.context import Context
from symprop.simplify.cost import domain
from symprop.simplify.inline import complexity, inline, is_map, is_view, slice_like
from symprop.simplify.sums import powers, sum_of

BODY_LIMIT = 14  # operations in a fused body: past it a formula no longer fits a line
VIEW_LIMIT = 12  # atoms in a composed index: misaligned reshape chains double it
HOIST_RATIO = 2  # a subterm moves to a smaller domain when that has at most half the points


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
            if not is_view(node) or node.guards:
                return False
            inner = view.reads[0]
            found = made.reads[0]
            assert isinstance(inner, At)
            assert isinstance(found, At)  # a view of a view is one
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


def hoist(node: Reduce, context: Context) -> Node | None:
    """A subterm that moves with fewer loops is computed over those alone."""
    if node.dtype not in FLOATS or t.operations(node.body) < 2:
        return None
    points = domain(item.extent for item in node.loops)
    if points and not _moves_less(node, points):
        return None
    for x in t.subterms(node.body):
        for group in _groups(x, node, points):
            made = _hoisted(node, x, group)
            if made is not None:
                return made
    return None


def _moves_less(node: Reduce, points: int) -> bool:
    """One of the reads has few enough points, or a part of the body reads nothing: the least that a
    part with few enough points needs."""
    small = (domain(v.extent for v in normal.loops_of(r)) * HOIST_RATIO <= points
             for r in node.reads)  # fmt: skip
    return any(small) or any(t.operations(x) and not x.reads for x in t.subterms(node.body))


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
        parts += [t.add(*(t.scale(k, y) for y, k in ys)) for ys in by_term.values() if len(ys) > 1]
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
    own = [node.reads[k] for k in part.reads]
    if any(isinstance(r, At) and r.guards for r in own):
        return None
    if node.guards:  # the smaller domain is computed where the guards do not hold, too
        return None
    small = make("sum", loops, len(loops), (), part, node.reads, node.dtype)
    stand = t.read(len(node.reads))
    body = _swap(node.body, x, part, stand)
    reads = [*node.reads, At(small, tuple(v.ix() for v in loops))]
    return make(node.op, node.loops, node.nout, node.guards, body, reads, node.dtype,
                node.accumulator)  # fmt: skip


def _swap(body: t.Term, x: t.Term, part: t.Term, stand: t.Term) -> t.Term:
    """The body with ``part`` of its subterm x replaced."""
    if part is x:
        return t.rewrite(body, lambda y: stand if y is x else None)
    if isinstance(x, t.Prod):
        taken = powers(part)  # a base may stand both above and below
        left = [t.power(b, n) for b, n in x.factors if (b, n) not in taken]
        new = t.mul(stand, *left)
    else:
        assert isinstance(x, t.Sum)
        new = _swap_in_sum(x, part, stand)
    return t.rewrite(body, lambda y: new if y is x else None)


def _swap_in_sum(x: t.Sum, part: t.Term, stand: t.Term) -> t.Term:
    k, rest = t.coefficient(part)
    if isinstance(rest, t.Sum) and k == 1:
        return t.add(x, t.neg(part), stand)
    taken = set(powers(rest))
    terms = [t.num(x.const)]
    for y, c in x.terms:
        own = powers(y)
        if c == k and taken and taken.issubset(own):
            terms.append(t.mul(stand, *(t.power(b, n) for b, n in own if (b, n) not in taken)))
            taken = set()
        else:
            terms.append(t.scale(c, y))
    return t.add(*terms)


def cancel(node: Reduce, context: Context) -> Node | None:
    """x**2 / x  ->  x, where x is proved nonzero; select(c, v, v) and 0 * x folded"""
    if not any(_over_itself(x) for x in t.subterms(node.body)):
        return None
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
    return None if body is node.body else sum_of(node, body)


def _over_itself(x: t.Term) -> bool:
    """A product with a factor both above and below."""
    return isinstance(x, t.Prod) and len({b for b, _ in x.factors}) < len(x.factors)


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
    scope = Scope(node.reads, tuple(kept))
    others = all(n > 0 and finite(b, scope) for b, n in rest.factors)
    if len(kept) == len(node.guards) or not others or not _in_range(node):
        return None
    return make(node.op, node.loops, node.nout, kept, node.body, node.reads, node.dtype,
                node.accumulator)  # fmt: skip


def _at(ix: Ix, r: At, kind: str) -> object:
    assert isinstance(r.node, Reduce)
    mapping = dict(zip(r.node.outer, r.index, strict=True))
    return guard(substitute(ix, mapping), kind)  # type: ignore[arg-type]


def _in_range(node: Reduce) -> bool:
    """Every read and every lookup stays in range without the node's guards."""

    def inside(index: Sequence[Ix], dims: Sequence[Ix]) -> bool:
        return all(
            nonneg(ix) and nonneg(d - 1 - ix)
            and all(inside(a.indices, a.source.dims) for a in ix.atoms() if isinstance(a, Gather))  # type: ignore[attr-defined]
            for ix, d in zip(index, dims, strict=True)
        )  # fmt: skip

    return all(inside(r.index, r.node.dims) for r in node.reads if isinstance(r, At))
