"""Stabilising rewrites of lengths: roots of sums of even powers, and quotients by them.

    sqrt(x**2 + y**2)     -> hypot(x, y)
    sqrt(sum x**2)        -> norm_root(sum x**2)      whose derivative at 0 is 0, by convention
    x / norm_root(s)      -> norm_quotient(x, norm_root(s))      0 where both are 0

In: a formula and the window of its node, whose reads may be sums. Out: the formula that replaces
it, or None.

Guarantees: a root is one of these only where every term under it is an even power, whose own
derivative vanishes with it: sqrt(x) of anything else keeps its derivative, +inf at 0.
"""

from __future__ import annotations

from typing import cast

from symprop import term as t
from symprop.graph import IndexOf, Reduce
from symprop.ops import elementwise as ops
from symprop.ops import powers
from symprop.ops import stable as own
from symprop.simplify.matching import factors_of
from symprop.simplify.window import Window
from symprop.term import Term

__all__ = ["quotient_by_norm", "root_of_squares"]

SQRT, ROOT = ops.sqrt.function, powers.norm_root.function
HYPOT, QUOTIENT = powers.hypot.function, own.norm_quotient.function
DEEP = 6  # sums and maps that are looked into, one behind another


def root_of_squares(x: Term, window: Window) -> Term | None:
    """sqrt of a sum of even powers, as the length that it is."""
    if not (isinstance(x, t.Call) and x.fn is SQRT):
        return None
    inside = window.look(x.args[0])
    if isinstance(inside, t.Read | t.Num) and isinstance(x.args[0], t.Num):
        return None
    pair = _two_squares(inside, window)
    if pair is not None:
        return t.call(HYPOT, *pair)
    return t.call(ROOT, x.args[0]) if _even(inside, window, DEEP) else None


def _two_squares(x: Term, window: Window) -> tuple[Term, Term] | None:
    """a and b of a**2 + b**2."""
    if not isinstance(x, t.Sum) or x.const or len(x.terms) != 2:
        return None
    found = []
    for y, k in x.terms:
        seen = window.look(y)
        if k != 1 or not isinstance(seen, t.Prod) or len(seen.factors) != 1:
            return None
        ((b, n),) = seen.factors
        if n != 2:
            return None
        found.append(b)
    return found[0], found[1]


def _even(x: Term, window: Window, deep: int) -> bool:
    """A sum of even powers with positive numbers: 0, with its derivatives, only where all are."""
    k, rest = t.coefficient(window.look(x))
    if k <= 0 or not deep:
        return False
    if isinstance(rest, t.Sum):
        return rest.const == 0 and all(c > 0 and _even(y, window, deep - 1) for y, c in rest.terms)
    if isinstance(rest, t.Prod):
        return all(_even_power(b, n, window, deep - 1) for b, n in rest.factors)
    return isinstance(rest, t.Read) and _even_sum(rest.k, window, deep - 1)


def _even_power(b: Term, n: int, window: Window, deep: int) -> bool:
    if n > 0:
        return n % 2 == 0 or _even(b, window, deep)
    seen = window.look(b)  # below: the number of terms alone
    size = isinstance(seen, t.Read) and seen.k < len(window.reads)
    return size and isinstance(window.reads[seen.k], IndexOf)  # type: ignore[attr-defined]


def _even_sum(k: int, window: Window, deep: int) -> bool:
    """A read of a sum over loops whose terms are even powers."""
    r = window.sum_at(k)
    if r is None or r.node in window.keep:
        return False
    s = cast(Reduce, r.node)
    if s.op != "sum" or len(s.loops) == s.nout or s.dtype != window.dtype:
        return False
    inner = Window(s.dtype, s.reads, window.keep)
    return _even(inner.normal(s.body), inner, deep)


def quotient_by_norm(x: Term, window: Window) -> Term | None:
    """x / norm -> norm_quotient(x, norm); the convention for 0/0."""
    if not isinstance(t.coefficient(x)[1], t.Prod):
        return None
    for c, factors in factors_of(x, window):
        norms = [(b, n) for b, n in factors if n < 0 and _length(b, window)]
        above = [(b, n) for b, n in factors if n > 0]
        if norms and above:
            below = t.mul(*(t.power(b, -n) for b, n in norms))
            rest = [t.power(b, n) for b, n in factors if n < 0 and not _length(b, window)]
            top = t.mul(*(t.power(b, n) for b, n in above))
            return t.scale(c, t.mul(t.call(QUOTIENT, top, below), *rest))
    return None


def _length(b: Term, window: Window) -> bool:
    seen = window.look(b)
    return isinstance(seen, t.Call) and seen.fn in (ROOT, HYPOT)
