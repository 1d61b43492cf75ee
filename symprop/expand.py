"""Terms made ready for arithmetic: functions that no table has expanded, constants folded.

In: a term. Out: an equal term, or an exact number. Guarantees: the same real value; a constant is
folded at 40 digits and rounded once, where it is printed.

The expansion of an op that is declared ``in_double`` stands inside IN_DOUBLE, and its arguments
there inside OUTSIDE: a value in float32 computes what is between them in float64, rounds it once,
and computes the arguments as all else. Both are the identity of real numbers.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

import mpmath

from codegen.functions import FUNCTIONS, OF_INTEGERS
from symprop import term as t
from symprop.errors import UnsupportedError, quoted
from symprop.term import Term

__all__ = ["IN_DOUBLE", "OUTSIDE", "expand", "fold"]

DIGITS = 40  # of a folded constant: more than any float holds
IN_DOUBLE, OUTSIDE = t.Function("in_double", 1), t.Function("outside", 1)
_STRUCTURAL = frozenset((*t.STRUCTURAL, IN_DOUBLE, OUTSIDE))


@lru_cache(4096)
def expand(term: Term, doubles: bool = True) -> Term:
    """Functions that are not in codegen's table replaced by their expansions; no stops.

    ``doubles``: also those that are declared ``in_double``, of which no part can be a value of its
    own.
    """

    def change(x: Term) -> Term | None:
        if not isinstance(x, t.Call):
            return None
        if x.fn.name == "stop_gradient":
            return x.args[0]
        if x.fn.kind == "bool" and not x.reads:
            return t.num(int(bool(_value(x))))
        if x.fn in _STRUCTURAL or x.fn.name in FUNCTIONS or x.fn.name in OF_INTEGERS:
            return None
        op = getattr(x.fn, "op", None)
        body = op.expansion if op is not None else None
        if op is None or body is None:
            raise UnsupportedError(
                f"no backend has the function {quoted(x.fn.name)}, and it has no formula: "
                "write it with symprop's functions"
            )
        if not x.reads and (special := _special(x)) is not None:
            return special
        if not (op.declaration.in_double and x.reads):
            return expand(t.replace(body, x.args), doubles)
        if not doubles:
            return None
        args = [t.call(OUTSIDE, a) if a.reads else a for a in x.args]
        return t.call(IN_DOUBLE, expand(t.replace(body, args)))

    return t.rewrite(term, change)


@cache
def _context() -> Any:
    ctx = mpmath.mp.clone()
    ctx.dps = DIGITS
    return ctx


def _value(term: Term) -> Any:
    """A formula without reads, evaluated."""
    from symprop.oracle import Oracle

    return Oracle(_context()).term(term)([])


def _special(constant: Term) -> Term | None:
    """The infinity or NaN that a function of numbers is, whose expansion may divide by 0."""
    found = _value(constant)
    if mpmath.isfinite(found):
        return None
    infinity = t.call(t.INFINITY)
    return t.call(t.NAN) if mpmath.isnan(found) else infinity if found > 0 else t.neg(infinity)


@lru_cache(4096)
def fold(term: Term) -> Fraction | None:
    """The value of a float formula without reads, or None where it has some or is not finite."""
    if term.reads:
        return None
    if isinstance(term, t.Num):
        return term.value
    found = _value(term)
    if not mpmath.isfinite(found):
        return None
    sign, mantissa, exponent, _ = _context().mpf(found)._mpf_
    exact = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return -exact if sign else exact
