"""What single positions and guards say: the run of a loop, windows, comparisons as a reader writes.

In: index combinations and guards (``codegen.index``). Out: small facts that readings are made of.
Guarantees: pure; None where a position or guard says something else.
"""

from __future__ import annotations

from math import gcd

from codegen.index import Atom, Gather, Guard, Ix, Loop, constant

__all__ = ["direction", "interval", "sides", "windowed"]


def interval(guards: tuple[Guard, ...], v: Loop) -> tuple[Ix, Ix] | None:
    """The positions of ``v`` at which guards on ``v`` alone hold: start, stop."""
    start, stop = constant(0), v.extent
    seen: set[int] = set()
    for g in guards:
        k = g.ix.coefficient(v)
        if g.ix.loops != (v,) or abs(k) != 1 or any(isinstance(a, Gather) for a in g.ix.atoms()):
            return None
        rest = g.ix - v.ix() * k
        if rest.loops:
            return None
        if g.kind == "==":
            if len(guards) > 1:
                return None
            at = rest * -k
            return at, at + 1
        if k in seen:
            return None
        seen.add(k)
        if k > 0:  # v + rest >= 0
            start = -rest
        else:  # rest - v >= 0
            stop = rest + 1
    return start, stop


def windowed(ix: Ix) -> tuple[tuple[Loop, int], tuple[Loop, int]] | None:
    """The two loops and factors of an index a*i + b*r + c, c free of loops."""
    moving = [(a, k) for a, k in ix.terms if a.loops or isinstance(a, Gather)]
    if len(moving) != 2:
        return None
    (a, j), (b, k) = moving
    if isinstance(a, Loop) and isinstance(b, Loop):
        return (a, j), (b, k)
    return None


_MIRRORED = {">=": "<=", "<=": ">=", ">": "<", "<": ">", "==": "==", "!=": "!="}


def sides(ix: Ix, op: str) -> tuple[Ix, str, Ix]:
    """``ix op 0`` as a reader writes it, loops first: i >= j, i < n, j == y[b]."""
    moving = [(a, k) for a, k in ix.terms if a.loops or isinstance(a, Gather)]
    zero = constant(0)
    left = sum((a.ix() * k for a, k in moving if k > 0), zero)
    right = sum((a.ix() * -k for a, k in moving if k < 0), zero)
    rest = ix - left + right  # left - right + rest op 0, rest without loops
    if not left.terms:
        left, right, rest, op = right, left, -rest, _MIRRORED[op]
    if op in (">=", "<") and rest.const == -1 and (right.terms or rest.terms):
        rest, op = rest + 1, {">=": ">", "<": "<="}[op]
    elif op in ("<=", ">") and rest.const == 1 and (right.terms or rest.terms):
        rest, op = rest - 1, {"<=": "<", ">": ">="}[op]
    if rest.const > 0 and not rest.terms and right.terms:
        return left + rest, op, right
    return left, op, right - rest


def direction(ix: Ix) -> tuple[tuple[Atom, int], ...]:
    """The moving terms of an index, divided by what they share."""
    moving = [(a, k) for a, k in ix.terms if a.loops or isinstance(a, Gather)]
    shared = gcd(*(k for _, k in moving))
    return tuple((a, k // shared) for a, k in moving)
