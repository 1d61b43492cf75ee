"""The numbers that two values compare their variables with, and points on both sides of them.

In: nodes. Out: ``Style``s at which every float is one such number, its negative, its double or one
away from it, and two that mix them: random numbers alone would never reach clip(x, -50, 50).

Guarantees: the same styles at every run, at most ``MOST`` numbers; none where nothing is compared.

It reads numbers inside comparisons and inside functions defined by them (clip, maximum, abs); a
threshold that is itself computed from data is not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from symprop import term as t
from symprop.equality.sampling import Style
from symprop.graph import Node, Reduce
from symprop.simplify.engine import simplify
from symprop.term import Term
from symprop.walk import topological

__all__ = ["MIXED", "near", "thresholds"]

MIXED = "mixed"
MOST = 6  # numbers that are tried
LARGEST = 10**5  # exp(exp(x)) of more takes seconds
COMPARISONS = (t.LT, t.LE, t.EQ, t.NE)


def thresholds(roots: Sequence[Node]) -> list[float]:
    """The numbers other than 0 that formulas compare with, in the order in which they are read."""
    found: dict[float, None] = {}
    for node in topological(simplify(list(roots))):
        if not isinstance(node, Reduce):
            continue
        for x in t.subterms(node.body):
            if isinstance(x, t.Call) and _compares(x.fn):
                numbers = (float(q) for q in _numbers(x) if 0 < abs(q) <= LARGEST)
                found.update(dict.fromkeys(numbers))
    return list(found)[:MOST]


def _compares(fn: t.Function) -> bool:
    """A comparison, or a function whose formula has one."""
    if fn in COMPARISONS:
        return True
    op = getattr(fn, "op", None)
    if op is None:
        return False
    inner = (x.fn for x in t.subterms(op.formula_term) if isinstance(x, t.Call))
    return any(f is not fn and _compares(f) for f in inner)


def _numbers(call: t.Call) -> Iterator[Fraction]:
    """Those of the arguments, and where an argument, or the difference of two, is 0."""
    if len(call.args) == 2:
        yield from _root(call.args[0] - call.args[1])
    for argument in call.args:
        for x in t.subterms(argument):
            if isinstance(x, t.Num):
                yield x.value
            yield from _root(x)


def _root(x: Term) -> Iterator[Fraction]:
    """-c/k of c + k*u."""
    if isinstance(x, t.Sum) and len(x.terms) == 1:
        yield -x.const / x.terms[0][1]


def near(numbers: Sequence[float]) -> list[Style]:
    """Styles at the numbers, beyond them and between them."""
    if not numbers:
        return []
    # Each number c as a*c + b, the number itself first.
    steps = ((1, 0), (-1, 0), (2, 0), (-2, 0), (1, 1), (1, -1), (-1, -1), (-1, 1))
    values = [float(a * c + b) for a, b in steps for c in numbers]
    values += [(a + b) / 2 for a, b in pairwise(sorted(numbers))]
    values = list(dict.fromkeys(v for v in values if v))
    alike = [_at(v) for v in values]
    if not values:
        return []
    mixed = Style(MIXED, False, lambda rng, shape: rng.choice(values, shape))
    return [mixed, mixed, *alike]


def _at(value: float) -> Style:
    return Style(f"{value:g}", False, lambda rng, shape: np.full(shape, value))
