"""Prove-only normal form: a value as a polynomial in values that cannot be looked into.

In: a node. Out: {monomial: rational}, a monomial being integer powers of node elements at given
indices. Products, quotients and sums of maps are looked through; a sum over loops is distributed,
factors that do not move with the loops are pulled out, and what is left is an interned core sum.

It decides that two values are equal, or one is 0, as rational functions (where the divisors are
not 0). It is used for proofs only: emitting it would split sums and lose digits.
"""

from __future__ import annotations

from fractions import Fraction
from weakref import WeakKeyDictionary

from codegen.index import Loop, loop
from symprop import term as t
from symprop.graph import At, IndexOf, Node, Reading, Reduce
from symprop.make import make
from symprop.order import mapped, moved, read_key

Atom = Reading
Monomial = tuple[tuple[Atom, int], ...]
Poly = dict[Monomial, Fraction]
LIMIT = 40  # monomials; a larger polynomial is not looked into
DEPTH = 12
# The value of their operand: where it is a divisor that is not 0, and finite.
SAME = ("stop_gradient", "finite_or_zero", "one_if_zero")


class _TooLargeError(Exception):
    pass


_POLYS: WeakKeyDictionary[Node, Poly | None] = WeakKeyDictionary()


def is_zero(node: Node) -> bool:
    """Proved: every element of the node is 0."""
    if not _additive(node):  # a product of nonzero things does not cancel
        return isinstance(node, Reduce) and isinstance(node.body, t.Num) and node.body.value == 0
    found = polynomial(node)
    return found is not None and not found


_ADDITIVE: WeakKeyDictionary[Node, bool] = WeakKeyDictionary()


def _additive(node: Node, depth: int = 0) -> bool:
    """Looking through maps, somewhere terms are added: the least a cancellation needs."""
    if not isinstance(node, Reduce) or depth > DEPTH:
        return False
    found = _ADDITIVE.get(node)
    if found is None:
        found = any(
            isinstance(x, t.Sum) and len(x.terms) + (x.const != 0) > 1
            for x in t.subterms(node.body)
        ) or any(
            isinstance(r, At) and isinstance(r.node, Reduce) and len(r.node.loops) == r.node.nout
            and _additive(r.node, depth + 1)
            for r in node.reads
        )  # fmt: skip
        _ADDITIVE[node] = found
    return found


def polynomial(node: Node, depth: int = 0) -> Poly | None:
    """The node's element at its own output loops; None when it is too large."""
    if node not in _POLYS:
        try:
            _POLYS[node] = _reduce(node, depth) if isinstance(node, Reduce) else _self(node)
        except _TooLargeError:
            _POLYS[node] = None
    return _POLYS[node]


def _self(node: Node) -> Poly:
    index = tuple(loop(k, d).ix() for k, d in enumerate(node.dims))
    return {((At(node, index), 1),): t.ONE}


def _reduce(node: Reduce, depth: int) -> Poly:
    if depth > DEPTH or node.op != "sum" or node.dtype not in ("float", "float32", "float64"):
        return _self(node)
    mapped = len(node.loops) == node.nout
    if mapped and node.guards:
        return _self(node)
    body = _term(node.body, node.reads, depth)
    if mapped:
        return body
    total: Poly = {}
    for monomial, k in body.items():
        _collect(total, _summed(node, monomial), k)
    return total


def _collect(total: Poly, part: Poly, k: Fraction) -> None:
    for m, c in part.items():
        value = c if k is t.ONE else c * k
        if m in total:
            value += total[m]
        if value:
            total[m] = value
        else:
            total.pop(m, None)
    if len(total) > LIMIT:
        raise _TooLargeError


def _summed(node: Reduce, monomial: Monomial) -> Poly:
    """sum over the reduced loops of one monomial: fixed factors times a core sum."""
    inner = set(node.inner)
    fixed: list[tuple[Atom, int]] = []
    moving: list[tuple[Atom, int]] = []
    for atom, n in monomial:
        (moving if loops_of(atom) & inner else fixed).append((atom, n))
    body = t.mul(*(t.power(t.read(k), n) for k, (_, n) in enumerate(moving)))
    core = make("sum", node.loops, node.nout, node.guards, body, [a for a, _ in moving],
                node.dtype, node.accumulator)  # fmt: skip
    assert isinstance(core, Reduce)
    if not core.guards and len(core.loops) == core.nout:
        # The loops were solved or counted away: what is left is a map, looked into again.
        inside = _term(core.body, core.reads, DEPTH)
        return {_times(tuple(fixed), m): c for m, c in inside.items()}
    smaller, kept = without_unused_loops(core)
    at = At(smaller, tuple(node.outer[k].ix() for k in kept))
    return {_times(tuple(fixed), ((at, 1),)): t.ONE}


def without_unused_loops(node: Reduce) -> tuple[Node, list[int]]:
    """The node over the output loops that something reads, and their positions."""
    used: set[Loop] = set()
    for r in node.reads:
        used |= loops_of(r)
    for g in node.guards:
        used.update(g.ix.loops)
    kept = [k for k, item in enumerate(node.outer) if item in used]
    if len(kept) == node.nout:
        return node, kept
    loops = [node.outer[k] for k in kept] + list(node.inner)
    smaller = make(node.op, loops, len(kept), node.guards, node.body, node.reads, node.dtype,
                   node.accumulator)  # fmt: skip
    return smaller, kept


def loops_of(r: Reading) -> set[Loop]:
    """Every loop a read depends on."""
    if isinstance(r, IndexOf):
        return set(r.ix.loops)
    found = {item for ix in r.index for item in ix.loops}
    for g in r.guards:
        found.update(g.ix.loops)
    return found


def _times(a: Monomial, b: Monomial) -> Monomial:
    if not a or not b:
        return a or b
    total: dict[Atom, int] = {}
    for atom, n in (*a, *b):
        total[atom] = total.get(atom, 0) + n
    return tuple(sorted(((x, n) for x, n in total.items() if n), key=_atom_key))


def _atom_key(item: tuple[Atom, int]) -> tuple[bytes, ...]:
    return read_key(item[0])


def _product(a: Poly, b: Poly) -> Poly:
    if len(a) * len(b) > LIMIT:
        raise _TooLargeError
    out: Poly = {}
    for m, c in a.items():
        _collect(out, {_times(m, n): d for n, d in b.items()}, c)
    return out


def _term(term: t.Term, reads: tuple[Reading, ...], depth: int) -> Poly:
    if isinstance(term, t.Num):
        return {(): term.value} if term.value else {}
    if isinstance(term, t.Read):
        return _read(reads[term.k], depth)
    if isinstance(term, t.Sum):
        out: Poly = {(): term.const} if term.const else {}
        for x, k in term.terms:
            _collect(out, _term(x, reads, depth), k)
        return out
    if isinstance(term, t.Prod):
        out = {(): t.ONE}
        for base, n in term.factors:
            inner = _term(base, reads, depth)
            if n < 0:
                inner = _inverse(base, inner, reads)
            for _ in range(abs(n)):
                out = _product(out, inner)
        return out
    if isinstance(term, t.Call) and term.fn.name in SAME:
        return _term(term.args[0], reads, depth)
    return _opaque(term, reads)


def _inverse(base: t.Term, inner: Poly, reads: tuple[Reading, ...]) -> Poly:
    if len(inner) == 1:
        ((m, k),) = inner.items()
        return {tuple((a, -n) for a, n in m): 1 / k}
    ((m, k),) = _opaque(base, reads).items()
    return {tuple((a, -n) for a, n in m): 1 / k}


def _opaque(term: t.Term, reads: tuple[Reading, ...]) -> Poly:
    """A subterm as one atom: a map of its own over the loops it reads."""
    used: set[Loop] = set()
    for k in term.reads:
        used |= loops_of(reads[k])
    loops = sorted(used, key=lambda v: v.key)
    renamed = {v: loop(k, v.extent).ix() for k, v in enumerate(loops)}
    own = [moved(reads[k], renamed) for k in range(len(reads))]
    node = make("sum", [loop(k, v.extent) for k, v in enumerate(loops)], len(loops), (), term, own,
                "float")  # fmt: skip
    return {((At(node, tuple(v.ix() for v in loops)), 1),): t.ONE}


def _read(r: Reading, depth: int) -> Poly:
    if isinstance(r, IndexOf) or r.guards:
        return {((r, 1),): t.ONE}
    own = polynomial(r.node, depth + 1)
    if own is None:
        return {((r, 1),): t.ONE}
    mapping = mapped([loop(k, d) for k, d in enumerate(r.node.dims)], r.index)
    if not mapping:
        return own
    out: Poly = {}
    for m, k in own.items():
        there: Monomial = ()
        for a, n in m:
            there = _times(there, ((moved(a, mapping), n),))
        _collect(out, {there: t.ONE}, k)
    return out
