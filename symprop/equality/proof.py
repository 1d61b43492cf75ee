"""Proofs that two values are equal, by a normal form that is never emitted.

In: two nodes of one shape. Out: the sentence of a proof, or "" where none was found.

The two are simplified together; if they do not become one node, the functions inside are written
with few others (``sigmoid``, ``exp``, ``softplus``, ``erf``, steps), so that tanh(z)**2 meets
1 - sech2(z) and exp(z - m) meets exp(z)/exp(m), and the difference is asked to be 0 as a rational
function (``symprop.simplify.normal``).

Guarantees: a proof holds for all values at which every part of both is finite; each identity used
is a row here, and a test evaluates it at 60 digits.

It is no decision procedure: two equal values may stay unproved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from codegen.index import Guard, Ix, guard
from symprop import term as t
from symprop.graph import FLOATS, INTS, At, IndexOf, Node, Reading, Reduce
from symprop.make import elementwise as map_node
from symprop.make import make
from symprop.ops import elementwise as ops
from symprop.simplify import normal
from symprop.simplify.engine import simplify
from symprop.term import Term
from symprop.walk import gathered_at, rebuild, topological

__all__ = ["IDENTITIES", "RATIONAL", "canonical", "prove"]

ONE_NODE = "proved; they are one expression"
SIMPLIFIED = "proved; both simplify to one expression"
RATIONAL = "proved; their difference is identically 0 wherever every part of both is finite"
LIMIT = 300  # nodes: past it the rewriting below costs more than the evaluation it saves


def prove(a: Node, b: Node) -> str:
    """How the two are proved equal; "" where no proof is found."""
    if a is b:
        return ONE_NODE
    first, second = simplify([a, b])
    if first is second and (a.dtype in FLOATS) == (b.dtype in FLOATS):
        return SIMPLIFIED
    if a.dtype not in FLOATS or b.dtype not in FLOATS:
        return ""
    if len(topological([first, second])) > LIMIT:
        return ""
    return RATIONAL if any(map(_vanishes, _gaps(first, second))) else ""


def _gaps(a: Node, b: Node) -> Sequence[Node]:
    """The difference, and what it is under few functions."""
    body = t.read(0) - t.read(1)
    plain = map_node(body, [a, b], a.dims, "float")
    return plain, map_node(body, canonical([a, b]), a.dims, "float")


def _vanishes(gap: Node) -> bool:
    return normal.is_zero(gap) or any(map(normal.is_zero, simplify([gap])))


# --- few functions --------------------------------------------------------------------------------


def canonical(roots: Sequence[Node]) -> list[Node]:
    """The roots with every formula written in few functions, sums in the order in which they are
    read, and sizes as floats; equal wherever all is finite."""
    new: dict[Node, Node] = {}
    for node in topological(roots):
        made = rebuild(node, new)
        if isinstance(made, Reduce) and made.dtype in FLOATS:
            made = _turned(made)
            body, reads = _conditions(made)
            body, reads = _few(body), [_as_float(r) for r in reads]
            made = make(made.op, made.loops, made.nout, made.guards, body, reads, made.dtype,
                        made.accumulator)  # fmt: skip
        new[node] = made
    return [new[r] for r in roots]


def _turned(node: Reduce) -> Reduce:
    """A transpose of a computed value is that value computed over the axes in the other order."""
    r = node.reads[0] if len(node.reads) == 1 else None
    if not isinstance(node.body, t.Read) or not isinstance(r, At) or r.guards or node.guards:
        return node
    source, outer = r.node, [ix.atom for ix in r.index]
    if not isinstance(source, Reduce) or source.dtype != node.dtype or len(node.loops) > node.nout:
        return node
    if len(outer) != node.nout or set(outer) != set(node.loops):
        return node
    order = [source.outer[outer.index(item)] for item in node.loops]
    loops = [*order, *source.inner]
    made = make(source.op, loops, source.nout, source.guards, source.body, source.reads,
                source.dtype, source.accumulator)  # fmt: skip
    return made if isinstance(made, Reduce) else node


def _conditions(node: Reduce) -> tuple[Term, list[Reading]]:
    """The formula with guards of reads as factors [index == 0], and equalities of indices so."""
    reads = list(node.reads)

    def index(ix: Ix) -> Term:
        reads.append(IndexOf(ix))
        return t.read(len(reads) - 1)

    def holds(g: Guard) -> Term:
        test = t.call(t.EQ, index(g.ix), t.num(0)) if g.kind == "==" else t.call(
            t.LE, t.num(0), index(g.ix))  # fmt: skip
        return t.select(test, 1, 0)

    factors: list[Term] = []
    for k, r in enumerate(node.reads):
        free = isinstance(r, At) and not r.index  # in range whatever the guards say
        if free and isinstance(r, At):
            factors.append(t.mul(t.read(k), *(holds(g) for g in r.guards)))
            reads[k] = At(r.node, ())
        else:
            factors.append(t.read(k))

    def equal(x: Term) -> Term | None:
        if not isinstance(x, t.Call) or x.fn is not t.EQ or isinstance(x.args[1], t.Num):
            return None
        sides = [_index_of(a, reads) for a in x.args]
        if sides[0] is None or sides[1] is None:
            return None
        g = guard(sides[0] - sides[1], "==")
        return t.call(t.EQ, index(g.ix), t.num(0)) if isinstance(g, Guard) else None

    return t.rewrite(t.replace(node.body, factors), equal), reads


def _index_of(x: Term, reads: Sequence[Reading]) -> Ix | None:
    """A read of whole numbers as an index."""
    if not isinstance(x, t.Read):
        return None
    r = reads[x.k]
    if isinstance(r, IndexOf):
        return r.ix
    whole = r.node.dtype in INTS and not r.guards
    return gathered_at(r.node, r.index) if whole else None


def _as_float(r: Reading) -> Reading:
    """A read of whole numbers that are computed from sizes and indices: the same as floats."""
    if not isinstance(r, At) or r.guards or not isinstance(r.node, Reduce):
        return r
    node = r.node
    plain = all(isinstance(x, IndexOf) for x in node.reads) and len(node.loops) == node.nout
    if node.dtype not in INTS or node.guards or not plain or not _polynomial(node.body):
        return r
    return At(make("sum", node.loops, node.nout, (), node.body, node.reads, "float"), r.index)


def _polynomial(body: Term) -> bool:
    return all(
        not isinstance(x, t.Call)
        and (not isinstance(x, t.Prod) or all(n > 0 for _, n in x.factors))
        for x in t.subterms(body)
    )


def _few(body: Term) -> Term:
    for _ in range(6):  # a formula may hold functions that have one of their own
        after = t.rewrite(body, _change)
        if after is body:
            break
        body = after
    return body


def _change(x: Term) -> Term | None:
    if isinstance(x, t.Prod):
        return _product(x)
    if not isinstance(x, t.Call):
        return None
    if x.fn is t.STRONG_MUL:
        return t.mul(*x.args)
    if x.fn is t.SELECT:
        return _selected(*x.args)
    rule = IDENTITIES.get(x.fn.name)
    if rule is not None:
        return rule(*x.args)
    op = getattr(x.fn, "op", None)
    if op is None or x.fn.name in KEPT:
        return None
    formula: Term = op.formula_term
    itself = isinstance(formula, t.Call) and formula.fn is x.fn
    return None if itself else t.replace(formula, x.args)


def _product(x: t.Prod) -> Term | None:
    """1/(1 + exp(u)) is a sigmoid; an even power of a root has none; cos**2 = 1 - sin**2."""
    for base, n in x.factors:
        rest = [t.power(b, m) for b, m in x.factors if b is not base or m != n]
        if n < 0 and isinstance(base, t.Sum) and base.const == 1 and len(base.terms) == 1:
            power, k = base.terms[0]
            u = _exponent(power) if k == 1 else None
            if u is not None:
                return t.mul(t.power(_sigmoid(t.neg(u)), -n), *rest)
        if isinstance(base, t.Call) and base.fn is ops.sqrt.function and n % 2 == 0:
            return t.mul(t.power(base.args[0], n // 2), *rest)
        if isinstance(base, t.Call) and base.fn is ops.cos.function and n > 1:
            squared = 1 - t.power(t.call(ops.sin.function, *base.args), 2)
            return t.mul(t.power(squared, n // 2), t.power(base, n % 2), *rest)
    return None


def _exponent(x: Term) -> Term | None:
    """u, where x is exp(u) as ``_exp`` writes it."""
    factors = x.factors if isinstance(x, t.Prod) else ((x, 1),)
    parts = []
    for base, n in factors:
        if not isinstance(base, t.Call) or base.fn is not ops.exp.function:
            return None
        parts.append(t.scale(n, base.args[0]))
    return t.add(*parts)


def _selected(c: Term, a: Term, b: Term) -> Term | None:
    """b + [c]*(a - b), the condition as 0 < something where it is an order."""
    if isinstance(c, t.Call) and c.fn is t.NOT:
        return _selected(c.args[0], b, a)
    if isinstance(c, t.Call) and c.fn is t.LE:
        return _selected(t.call(t.LT, c.args[1], c.args[0]), b, a)
    if isinstance(c, t.Call) and c.fn is t.LT:
        c = t.call(t.LT, t.num(0), c.args[1] - c.args[0])
    step = t.select(c, 1, 0)
    if a is t.num(1) and b is t.num(0):
        return step
    return t.add(b, t.mul(step, t.add(a, t.neg(b))))


def _negative(u: Term) -> bool:
    """u and -u are told apart the same way everywhere."""
    k, rest = t.coefficient(u)
    if isinstance(rest, t.Sum) and k == 1:
        return rest.terms[0][1] < 0
    return k < 0


def _sigmoid(u: Term) -> Term:
    """sigmoid(-u) = 1 - sigmoid(u)"""
    if _negative(u):
        return 1 - t.call(ops.sigmoid.function, t.neg(u))
    return t.call(ops.sigmoid.function, u)


def _exp(u: Term) -> Term:
    """exp(a + 2*b) = exp(a) * exp(b)**2"""
    parts = u.terms if isinstance(u, t.Sum) else ((u, Fraction(1)),)
    const = u.const if isinstance(u, t.Sum) else Fraction(0)
    made = [t.call(ops.exp.function, t.num(const))] if const else []
    for x, k in parts:
        whole = abs(k.numerator)
        inner = t.scale(Fraction(1, k.denominator), x)
        made.append(t.power(t.call(ops.exp.function, inner), whole if k > 0 else -whole))
    return t.mul(*made)


def _softplus(u: Term) -> Term:
    """softplus(-u) = softplus(u) - u"""
    if _negative(u):
        return t.call(ops.softplus.function, t.neg(u)) + u
    return t.call(ops.softplus.function, u)


def _erf(u: Term) -> Term:
    """erf(-u) = -erf(u)"""
    own = t.call(ops.erf.function, t.neg(u) if _negative(u) else u)
    return t.neg(own) if _negative(u) else own


def _sin(u: Term) -> Term:
    """sin(-u) = -sin(u)"""
    own = t.call(ops.sin.function, t.neg(u) if _negative(u) else u)
    return t.neg(own) if _negative(u) else own


def _cos(u: Term) -> Term:
    """cos(-u) = cos(u)"""
    return t.call(ops.cos.function, t.neg(u) if _negative(u) else u)


def _abs(u: Term) -> Term:
    """abs(-u) = abs(u), which is u above 0 and -u elsewhere"""
    u = t.neg(u) if _negative(u) else u
    return t.select(t.call(t.LT, t.num(0), u), u, t.neg(u))


def _sech2(u: Term) -> Term:
    s = _sigmoid(2 * u)
    return 4 * s * (1 - s)


KEPT = ("sigmoid", "exp", "softplus", "erf", "sqrt", "log", "sin", "cos", "power")

IDENTITIES: dict[str, Callable[..., Term]] = {
    "sigmoid": _sigmoid,
    "exp": _exp,
    "softplus": _softplus,
    "erf": _erf,
    "tanh": lambda u: 2 * _sigmoid(2 * u) - 1,
    "sech2": _sech2,
    "log_sigmoid": lambda u: t.neg(_softplus(t.neg(u))),
    "erfc": lambda u: 1 - _erf(u),
    "sin": _sin,
    "cos": _cos,
    "abs": _abs,
}
