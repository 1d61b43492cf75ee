"""Stabilising rewrites that look at whole sums: sums of exponentials shifted by their maximum.

    log(sum exp(z))       -> log(sum exp(z - m)) + m               m the maximum, held constant
    exp(z) / sum exp(z)   -> exp(z - m) / sum exp(z - m)

In: a formula and the window of its node, whose reads may be sums. Out: the formula over new nodes,
placed in the window, or None. A maximum that is infinite shifts nothing: there the logarithm is as
it was written, and the quotient of a row of -inf alone 0, as in ``prop.softmax``.

Guarantees: the sum is one of plain loops over one map, read without guards; anything else stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from codegen.index import Ix, Loop
from symprop import term as t
from symprop.expression import Expr
from symprop.graph import At, Node, Reading, Reduce
from symprop.make import make
from symprop.ops import elementwise as ops
from symprop.ranges import Scope, below_its_maximum
from symprop.simplify.inline import is_map
from symprop.simplify.matching import factors_of
from symprop.simplify.window import Window
from symprop.term import Term

__all__ = ["log_of_exponentials", "quotient_of_exponentials"]

EXP, LOG = ops.exp.function, ops.log.function


@dataclass(frozen=True)
class _Exponentials:
    """A sum of exp(z): z, the map that computes exp(z) if there is one, and where the sum's loops
    stand among z's axes; then the same shifted by the maximum."""

    z: Node
    e: Node | None
    axes: tuple[int, ...]  # summed over
    rows: tuple[int, ...]  # for each axis that is left, the sum's own axis
    shifted: Node
    total: Node
    top: Node


_FOUND: WeakKeyDictionary[Node, _Exponentials | None] = WeakKeyDictionary()


def _exponentials(s: Node) -> _Exponentials | None:
    """What a node is a sum of, or None."""
    if s not in _FOUND:
        _FOUND[s] = _recognised(s) if isinstance(s, Reduce) else None
    return _FOUND[s]


def _recognised(s: Reduce) -> _Exponentials | None:
    if s.op != "sum" or s.guards or len(s.loops) == s.nout:
        return None
    window = Window(s.dtype, s.reads)
    body = window.normal(s.body)
    inside = window.look(body)
    if not isinstance(inside, t.Call) or inside.fn is not EXP:
        return None
    if below_its_maximum(inside.args[0], Scope(tuple(window.reads), ())):
        return None
    e: Node | None = None
    loops: tuple[Loop, ...] = s.loops
    reads: list[Reading] = window.reads
    if isinstance(body, t.Read):  # a map of its own: its axes are those of z
        r = reads[body.k]
        if not isinstance(r, At) or not isinstance(r.node, Reduce) or not is_map(r.node):
            return None
        e, index = r.node, r.index
        order = _positions(index, s.loops)
        inner = Window(s.dtype, e.reads)
        opened = inner.look(inner.normal(e.body))
        if not isinstance(opened, t.Call) or opened.fn is not EXP or e.guards:
            return None
        if below_its_maximum(opened.args[0], Scope(tuple(inner.reads), ())):
            return None
        z = make("sum", e.loops, e.nout, (), opened.args[0], inner.reads, s.dtype)
    else:
        order = tuple(range(len(loops)))
        z = make("sum", loops, len(loops), (), inside.args[0], reads, s.dtype)
    if order is None or len(z.dims) != len(order):
        return None
    axes = tuple(k for k, p in enumerate(order) if p >= s.nout)
    rows = tuple(p for p in order if p < s.nout)
    return _shifted(z, e, axes, rows)


def _positions(index: tuple[Ix, ...], loops: tuple[Loop, ...]) -> tuple[int, ...] | None:
    """For each axis read, the one loop that it follows; None where that is not so for all (an axis
    of extent 1 that was kept follows none)."""
    found = []
    for ix in index:
        place = [k for k, item in enumerate(loops) if ix is item.ix()]
        if len(place) != 1:
            return None
        found.append(place[0])
    left = [item for k, item in enumerate(loops) if k not in found]
    once = len(set(found)) == len(found)
    return tuple(found) if once and all(item.extent.value == 1 for item in left) else None


def _shifted(
    z: Node, e: Node | None, axes: tuple[int, ...], rows: tuple[int, ...]
) -> _Exponentials:
    """The nodes of ``prop.logsumexp``."""
    from symprop.ops.composite import _shifted_exp

    shifted, total, top = _shifted_exp(Expr(z), axes, lambda index: [])
    return _Exponentials(z, e, axes, rows, shifted.node, total.node, top.node)


def _row(r: At, found: _Exponentials) -> tuple[Ix, ...]:
    """The index of the shifted sum's element, where the naive one is read at r."""
    return tuple(r.index[p] for p in found.rows)


def _sum_read(x: Term, window: Window) -> tuple[At, _Exponentials] | None:
    """x as a read of a sum of exponentials."""
    seen = window.look(x)
    r = window.sum_at(seen.k) if isinstance(seen, t.Read) else None
    if r is None or r.guards or r.node in window.keep:
        return None
    found = _exponentials(r.node)
    if found is None or found.e in window.keep:
        return None
    return r, found


def log_of_exponentials(x: Term, window: Window) -> Term | None:
    """log(sum exp(z)) -> log(sum exp(z - m)) + m."""
    from symprop.ops.control import STOP

    if not (isinstance(x, t.Call) and x.fn is LOG):
        return None
    asked = _sum_read(x.args[0], window)
    if asked is None:
        return None
    r, found = asked
    at = _row(r, found)
    total = t.read(window.place(At(found.total, at)))
    top = t.read(window.place(At(found.top, at)))
    return t.add(t.call(LOG, total), t.call(STOP, top))


def quotient_of_exponentials(x: Term, window: Window) -> Term | None:
    """exp(z)/sum exp(z) -> exp(z - m)/sum exp(z - m)."""
    if not isinstance(t.coefficient(x)[1], t.Prod):
        return None
    for c, factors in factors_of(x, window):
        for i, (below, n) in enumerate(factors):
            asked = _sum_read(below, window) if n < 0 else None
            if asked is None:
                continue
            r, found = asked
            for j, (above, m) in enumerate(factors):
                index = _exponent_at(above, found, window) if m > 0 else None
                if index is None:
                    continue
                shifted = t.read(window.place(At(found.shifted, index)))
                total = t.read(window.place(At(found.total, _row(r, found))))
                rest = [t.power(b, k) for a, (b, k) in enumerate(factors) if a not in (i, j)]
                rest += [t.power(below, n + 1), t.power(above, m - 1)]
                return t.scale(c, t.mul(shifted, t.power(total, -1), *rest))
    return None


def _exponent_at(x: Term, found: _Exponentials, window: Window) -> tuple[Ix, ...] | None:
    """Where x reads exp(z), or None where it is anything else."""
    if isinstance(x, t.Read):
        r = window.reads[x.k]
        if isinstance(r, At) and r.node is found.e and not r.guards:
            return r.index
    seen = window.look(x)
    if isinstance(seen, t.Call) and seen.fn is EXP and isinstance(seen.args[0], t.Read):
        r = window.reads[seen.args[0].k]
        if isinstance(r, At) and r.node is found.z and not r.guards:
            return r.index
    return None
