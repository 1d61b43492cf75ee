"""Interval bounds of values, to prove that a local derivative is finite or a divisor nonzero.

In: nodes and terms. Out: closed intervals (with "the end is not attained"), integer bounds as
index combinations, and two proofs: ``finite`` (in floats, for every finite input) and ``nonzero``.

Guarantees: an interval holds every value the node takes for finite inputs, in exact arithmetic;
``finite`` also covers what floats do to it (an exponential that may overflow is not finite, a
positive value that may underflow is not kept from 0). Products and sums of finite values count as
finite: overflow of a polynomial is the user's scale, not a branch that was not taken.

What cannot be proved is (-inf, inf): the strong product stays.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from weakref import WeakKeyDictionary

from codegen.index import Guard, Ix, as_ix, bounds, constant, guard, nonneg, substitute
from symprop import term as t
from symprop.graph import (
    FLOATS,
    At,
    IndexOf,
    Leaf,
    Node,
    Output,
    Reading,
    Reduce,
)
from symprop.order import moved
from symprop.walk import topological

INF = math.inf


@dataclass(frozen=True)
class Scope:
    """Where a term is evaluated: its reads, and the guards that hold there."""

    reads: tuple[Reading, ...]
    guards: tuple[Guard, ...] = ()


def scope_of(node: Reduce) -> Scope:
    """The scope of a node's body."""
    return Scope(node.reads, node.guards)


EXP_LARGEST = 80.0  # exp stays finite in float32 up to here


@dataclass(frozen=True)
class Range:
    """low <= value <= high; an ``open`` end is approached, not attained."""

    low: float = -INF
    high: float = INF
    low_open: bool = False
    high_open: bool = False

    @property
    def nonzero(self) -> bool:
        """0 is not a value."""
        above = self.low > 0 or (self.low == 0 and self.low_open)
        return above or self.high < 0 or (self.high == 0 and self.high_open)

    @property
    def apart(self) -> bool:
        """Bounded away from 0, so that no rounding reaches it."""
        return self.low > 0 or self.high < 0


ANY = Range()
_RANGES: WeakKeyDictionary[Node, Range] = WeakKeyDictionary()


def node_range(node: Node) -> Range:
    """The interval of a node's elements (where its guards hold or not)."""
    found = _RANGES.get(node)
    if found is None:
        pending = [node]
        while pending:  # iterative: networks are deep
            top = pending[-1]
            missing = [o for o in top.operands if o not in _RANGES]
            if missing:
                pending += missing
                continue
            pending.pop()
            if top not in _RANGES:
                _RANGES[top] = _node_range(top)
        found = _RANGES[node]
    return found


def _node_range(node: Node) -> Range:
    if node.dtype == "bool":
        return Range(0, 1)
    if isinstance(node, Leaf):
        if node.dtype not in FLOATS:
            return _from_ix(node.low, node.high)
        return ANY
    if isinstance(node, Output) or not isinstance(node, Reduce):
        return ANY
    body = term_range(node.body, scope_of(node))
    if len(node.loops) > node.nout and node.op == "sum":
        body = _summed(node, body)
    if node.guards:
        body = Range(min(body.low, 0.0), max(body.high, 0.0))
        if len(node.loops) > node.nout and node.op != "sum":
            body = ANY
    return body


def _summed(node: Reduce, body: Range) -> Range:
    count = 1
    for item in node.inner:
        count *= item.extent.value if item.extent.value is not None else 0
    whole = not node.guards and all(nonneg(item.extent - 1) for item in node.inner)
    low, high = (0.0 if body.low >= 0 else -INF), (0.0 if body.high <= 0 else INF)
    if whole and count:
        low = body.low * count if body.low != 0 else 0.0
        high = body.high * count if body.high != 0 else 0.0
    elif whole and body.low > 0:
        low = body.low
    if _contains_one(node):
        low = max(low, 1.0)
    return Range(low, high, whole and low == 0 and body.low_open)


def _exponentials(node: Node) -> tuple[Reduce, tuple[Guard, ...]] | None:
    """sum over r of exp(z[r] - max z) holds the term exp(0) = 1 where r is not empty.

    The sum and the guards of its terms, over its own loops; None for any other node.
    """
    if not isinstance(node, Reduce) or node.op != "sum" or len(node.loops) == node.nout:
        return None
    e: Node = node
    guards = node.guards
    if isinstance(node.body, t.Read):
        r = node.reads[0]
        if not isinstance(r, At) or r.guards or not isinstance(r.node, Reduce):
            return None
        e = r.node
        if len(e.loops) != e.nout:
            return None
        moved = dict(zip(e.outer, r.index, strict=True))
        for g in e.guards:
            own = guard(substitute(g.ix, moved), g.kind)
            if isinstance(own, Guard):
                guards = (*guards, own)
    assert isinstance(e, Reduce)
    if not isinstance(e.body, t.Call) or e.body.fn.name != "exp":
        return None
    return (node, guards) if _gap(e.body.args[0], scope_of(e)) is not None else None


def _contains_one(node: Reduce) -> bool:
    found = _exponentials(node)
    whole = all(nonneg(item.extent - 1) for item in node.inner)
    return found is not None and not found[1] and whole


def _at_least_one(r: Reading, scope: Scope) -> bool:
    """A guarded sum of such exponentials is at least 1 where one of its terms is known to be in:
    the guards that hold here are its terms' guards at some reduced point."""
    found = None if isinstance(r, IndexOf) else _exponentials(r.node)
    if found is None or isinstance(r, IndexOf):
        return False
    node, guards = found
    fixed = dict(zip(node.outer, r.index, strict=True))
    loops = sorted({v for g in scope.guards for v in g.ix.loops}, key=lambda v: v.key)
    choices = [[v for v in loops if v.extent is item.extent] for item in node.inner]
    for chosen in itertools.islice(itertools.product(*choices), 16):
        moved = fixed | {i: v.ix() for i, v in zip(node.inner, chosen, strict=True)}
        if all(guard(substitute(g.ix, moved), g.kind) in (True, *scope.guards) for g in guards):
            return True
    return False


LOOK = 3  # maps looked into for a difference


def _looked_into(exponent: t.Term, scope: Scope) -> tuple[t.Term, Scope] | None:
    """A read of an unguarded map, as that map's body over its reads."""
    if not isinstance(exponent, t.Read):
        return None
    r = scope.reads[exponent.k]
    if not isinstance(r, At) or r.guards or not isinstance(r.node, Reduce):
        return None
    if r.node.guards or len(r.node.loops) > r.node.nout:
        return None
    return r.node.body, Scope(_moved_reads(r), scope.guards)


def _moved_reads(r: At) -> tuple[Reading, ...]:
    assert isinstance(r.node, Reduce)
    mapping = dict(zip(r.node.outer, r.index, strict=True))
    return tuple(moved(x, mapping) for x in r.node.reads)


def _base(r: Reading) -> Reading:
    """What a read reads, through unguarded views."""
    while (
        isinstance(r, At)
        and not r.guards
        and isinstance(r.node, Reduce)
        and not r.node.guards
        and len(r.node.loops) == r.node.nout
        and isinstance(r.node.body, t.Read)
        and isinstance(r.node.reads[0], At)
    ):
        r = _moved_reads(r)[0]
    return r


def _guarded(r: Reading) -> Reading:
    """What a read reads, where that is a value but for its infinities or zeros."""
    node = r.node if isinstance(r, At) and not r.guards else None
    if not isinstance(node, Reduce) or node.guards or len(node.loops) > node.nout:
        return r
    body = node.body
    if not isinstance(body, t.Call) or body.fn.name not in ("finite_or_zero", "one_if_zero"):
        return r
    (inner,) = body.args
    assert isinstance(r, At)
    return _moved_reads(r)[inner.k] if isinstance(inner, t.Read) else r


def _gap(exponent: t.Term, scope: Scope) -> Reduce | None:
    """The maximum m when the exponent is x - m with m a maximum of x: then it is at most 0."""
    for _ in range(LOOK):  # the difference may be a value of its own
        opened = _looked_into(exponent, scope)
        if opened is None:
            break
        exponent, scope = opened
    if not isinstance(exponent, t.Sum) or exponent.const or len(exponent.terms) != 2:
        return None
    plus = [x for x, k in exponent.terms if k == 1]
    minus = [x for x, k in exponent.terms if k == -1]
    if len(plus) != 1 or len(minus) != 1:
        return None
    x, m = plus[0], minus[0]
    for word in ("stop_gradient", "finite_or_zero"):
        if isinstance(m, t.Call) and m.fn.name == word:
            m = m.args[0]
    if not isinstance(x, t.Read) or not isinstance(m, t.Read):
        return None
    value, top = _base(scope.reads[x.k]), _base(_guarded(_base(scope.reads[m.k])))
    if not isinstance(value, At) or not isinstance(top, At) or not isinstance(top.node, Reduce):
        return None
    peak = top.node
    if peak.op != "max" or not isinstance(peak.body, t.Read) or len(peak.loops) == peak.nout:
        return None
    inner = _base(peak.reads[0])
    if not isinstance(inner, At) or inner.node is not value.node:
        return None
    fixed = dict(zip(peak.outer, top.index, strict=True))
    for own, theirs in zip(value.index, inner.index, strict=True):
        atom: Any = theirs.atom
        if theirs.value is not None:
            if own is not theirs:
                return None
        elif atom in peak.inner:
            fixed[atom] = own
        elif fixed.get(atom) is not own:
            return None
    # The maximum runs over this very point only if its guards hold here.
    if any(
        guard(substitute(g.ix, fixed), g.kind) not in (True, *scope.guards) for g in peak.guards
    ):
        return None
    return peak


def below_its_maximum(exponent: t.Term, scope: Scope) -> bool:
    """Whether the exponent is a value minus the maximum of such values."""
    return _gap(exponent, scope) is not None


def term_range(term: t.Term, scope: Scope) -> Range:
    """The interval of a term over reads."""
    if isinstance(term, t.Num):
        return Range(float(term.value), float(term.value))
    if isinstance(term, t.Read):
        found = read_range(scope.reads[term.k])
        if found.low < 1 and scope.guards and _at_least_one(_guarded(scope.reads[term.k]), scope):
            return Range(1.0, found.high)
        return found
    if isinstance(term, t.Sum):
        low = high = float(term.const)
        low_open = high_open = False
        for x, k in term.terms:
            r = _scaled(term_range(x, scope), k)
            low, high = low + r.low, high + r.high
            low_open, high_open = low_open or r.low_open, high_open or r.high_open
        return Range(low, high, low_open, high_open)
    if isinstance(term, t.Prod):
        out = Range(1, 1)
        for base, n in term.factors:
            out = _times(out, _powered(term_range(base, scope), n))
        return out
    assert isinstance(term, t.Call)
    return _call_range(term, scope)


def read_range(r: Reading) -> Range:
    """The interval of a read (0 included where it is guarded)."""
    if isinstance(r, IndexOf):
        low, high = bounds(r.ix)
        return _from_ix(low, high)
    found = node_range(r.node)
    return Range(min(found.low, 0.0), max(found.high, 0.0)) if r.guards else found


def _from_ix(low: Ix | None, high: Ix | None) -> Range:
    from codegen.index import lower, upper

    a = None if low is None else lower(low)
    b = None if high is None else upper(high)
    return Range(-INF if a is None else float(a), INF if b is None else float(b))


def _scaled(r: Range, k: Fraction) -> Range:
    c = float(k)
    if k > 0:
        return Range(r.low * c, r.high * c, r.low_open, r.high_open)
    return Range(r.high * c, r.low * c, r.high_open, r.low_open)


def _times(a: Range, b: Range) -> Range:
    if a == Range(1, 1):
        return b
    ends = [0.0 if x == 0 or y == 0 else x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    low, high = min(ends), max(ends)
    positive = a.low >= 0 and b.low >= 0 and a.nonzero and b.nonzero
    return Range(low, high, positive and low == 0, False)


def _powered(r: Range, n: int) -> Range:
    if n < 0:
        if not r.nonzero:
            return ANY
        inner = _powered(r, -n)
        if inner.low >= 0:
            low = 0.0 if inner.high == INF else 1 / inner.high
            return Range(low, INF if inner.low == 0 else 1 / inner.low, low == 0)
        return ANY
    if n % 2 == 0:
        low = 0.0 if r.low <= 0 <= r.high else min(abs(r.low), abs(r.high))
        high = max(abs(r.low), abs(r.high))
        return Range(_safe_power(low, n), _safe_power(high, n), low == 0 and r.nonzero)
    return Range(_safe_power(r.low, n), _safe_power(r.high, n), r.low_open, r.high_open)


def _safe_power(x: float, n: int) -> float:
    try:
        return x**n
    except OverflowError:
        return INF if x > 0 or n % 2 == 0 else -INF


def _call_range(term: t.Call, scope: Scope) -> Range:
    name = term.fn.name
    if term.fn.kind == "bool":
        return Range(0, 1)
    if name == "select":
        a, b = (term_range(x, scope) for x in term.args[1:])
        return Range(min(a.low, b.low), max(a.high, b.high))
    if name == "inf" or name == "nan" or name == "strong_mul":
        return ANY
    if name == "pi":
        return Range(math.pi, math.pi)
    args = [term_range(a, scope) for a in term.args]
    if name == "stop_gradient" or name.startswith("cast_"):
        return args[0]
    if name == "exp":
        if _gap(term.args[0], scope) is not None:
            return Range(0, 1, True)
        low, high = args[0].low, args[0].high
        return Range(math.exp(max(low, -700)) if low > -700 else 0.0,
                     math.exp(high) if high < 700 else INF, low <= -700)  # fmt: skip
    if name == "sqrt" and args[0].low >= 0:
        return Range(math.sqrt(args[0].low), math.sqrt(args[0].high) if args[0].high < INF else INF,
                     args[0].low_open)  # fmt: skip
    if name == "abs":
        return _powered_abs(args[0])
    if name == "one_if_zero" and args[0].low >= 0:
        return args[0]
    if name == "maximum":
        return Range(max(a.low for a in args), max(a.high for a in args))
    if name == "minimum":
        return Range(min(a.low for a in args), min(a.high for a in args))
    return _declared(term.fn)


def _powered_abs(r: Range) -> Range:
    low = 0.0 if r.low <= 0 <= r.high else min(abs(r.low), abs(r.high))
    return Range(low, max(abs(r.low), abs(r.high)), low == 0 and r.nonzero)


def _declared(fn: t.Function) -> Range:
    """What an op's declaration says of its values."""
    op = getattr(fn, "op", None)
    if op is None:
        return ANY
    low, high = op.range
    open_low, open_high = op.range_open
    return Range(
        -INF if low is None else float(low), INF if high is None else float(high),
        open_low, open_high,
    )  # fmt: skip


def finite(term: t.Term, scope: Scope) -> bool:
    """Proved: the float value of the term is finite whenever its reads are."""
    if isinstance(term, t.Num):
        return True
    if isinstance(term, t.Read):
        r = scope.reads[term.k]
        return isinstance(r, IndexOf) or node_finite(r.node)
    if isinstance(term, t.Sum):
        return all(finite(x, scope) for x, _ in term.terms)
    if isinstance(term, t.Prod):
        return all(
            finite(b, scope) and (n > 0 or term_range(b, scope).apart) for b, n in term.factors
        )
    assert isinstance(term, t.Call)
    name = term.fn.name
    if name == "exp" and _gap(term.args[0], scope) is not None:
        return True
    if not all(finite(a, scope) for a in term.args):
        return False
    if name in ("inf", "nan"):
        return False
    if term.fn in t.STRUCTURAL or name == "stop_gradient":
        return True
    if name == "exp":
        return term_range(term.args[0], scope).high <= EXP_LARGEST
    if name == "log":
        return term_range(term.args[0], scope).low > 0
    if name == "sqrt":
        return term_range(term.args[0], scope).low >= 0
    op = getattr(term.fn, "op", None)
    return op is not None and bool(op.finite)


_FINITE: WeakKeyDictionary[Node, bool] = WeakKeyDictionary()


def node_finite(node: Node) -> bool:
    """Proved: every element is finite in floats whenever the leaves are."""
    for n in topological([node]) if node not in _FINITE else ():
        if n not in _FINITE:
            known = True
            if isinstance(n, Reduce):
                known = n.dtype not in FLOATS or finite(n.body, scope_of(n))
                known &= n.op == "sum" or (not n.guards and all(
                    nonneg(item.extent - 1) for item in n.inner))  # fmt: skip
            _FINITE[n] = known
    return _FINITE[node]


def integer_bounds(node: Reduce) -> tuple[Ix, Ix] | None:
    """Bounds of an integer node as index combinations, when its body is simple enough."""
    if node.op == "sum" and len(node.loops) > node.nout:
        return None
    found = _term_ix(node.body, node.reads)
    if found is None:
        return None
    low, high = found
    if node.guards and len(node.loops) == node.nout:
        low = low if nonneg(-low) else constant(0)
        high = high if nonneg(high) else constant(0)
    return low, high


def _term_ix(term: t.Term, reads: tuple[Reading, ...]) -> tuple[Ix, Ix] | None:
    if isinstance(term, t.Num) and term.value.denominator == 1:
        return as_ix(int(term.value)), as_ix(int(term.value))
    if isinstance(term, t.Read):
        r = reads[term.k]
        low, high = bounds(r.ix) if isinstance(r, IndexOf) else (r.node.low, r.node.high)
        if low is None or high is None:
            return None
        if isinstance(r, At) and r.guards:
            return (low if nonneg(-low) else constant(0), high if nonneg(high) else constant(0))
        return low, high
    if isinstance(term, t.Sum) and term.const.denominator == 1:
        low = high = as_ix(int(term.const))
        for x, k in term.terms:
            found = _term_ix(x, reads)
            if found is None or k.denominator != 1:
                return None
            ends = (found[0] * int(k), found[1] * int(k))
            low, high = low + ends[k < 0], high + ends[k > 0]
        return low, high
    if isinstance(term, t.Call) and term.fn is t.SELECT:
        a, b = _term_ix(term.args[1], reads), _term_ix(term.args[2], reads)
        if a is None or b is None:
            return None
        low = a[0] if nonneg(b[0] - a[0]) else b[0] if nonneg(a[0] - b[0]) else None
        high = a[1] if nonneg(a[1] - b[1]) else b[1] if nonneg(b[1] - a[1]) else None
        return None if low is None or high is None else (low, high)
    return None
