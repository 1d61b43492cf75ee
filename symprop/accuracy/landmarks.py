"""Where a function of one argument changes its sign, overflows, underflows, or has a kink.

In: a `Truth`, a domain, a format. Out: floats.

Guarantees: found by bisection between points of a fixed grid, to neighbouring floats; numbers that
the formula compares with are among them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from symprop import term as tm
from symprop.accuracy.balls import COMPARED, ROWS
from symprop.accuracy.exact import Truth
from symprop.accuracy.formats import FORMATS, Format
from symprop.accuracy.points import ends
from symprop.ops.domain import Interval
from symprop.term import Call, Num, Sum, Term

__all__ = ["cancelled", "compared", "landmarks", "local_scale"]

LINEAR = 16.0  # the grid has points at every eighth up to this size
SPREAD = 128  # and so many among all floats
MOST = 24  # landmarks that are kept, those nearest to 0
NEAR, SCALE = 0.25, 0.5  # a zero's neighbourhood, and where its scale is measured
CANCELS = 1e-6  # a sum this small against its parts is one that vanishes


def compared(t: Term) -> list[float]:
    """Numbers that the formula compares something with: kinks are there."""
    found: dict[float, None] = {}
    for x in tm.subterms(t):
        if isinstance(x, Call) and x.fn in COMPARED:
            numbers = [a.value for a in x.args if isinstance(a, Num)]
            numbers += [-a.const for a in x.args if isinstance(a, Sum)]
            found |= {float(q) * s: None for q in numbers for s in (1, -1)}
    return list(found)


def landmarks(truth: Truth, domain: Interval, form: Format) -> tuple[list[float], list[float]]:
    """Places where the kind of the value changes, and zeros beside which its sign does."""
    changes, zeros = [], []
    grid = _grid(domain, form)
    kinds = [_kind(truth, n, form) for n in grid]
    for (a, u), (b, v) in pairwise(zip(grid, kinds, strict=True)):
        while u != v:
            left, a = _bisected(truth, a, b, u, form)
            before, u = u, _kind(truth, a, form)
            changes.append(float(form.float(left)))
            if before[0] * u[0] < 0:
                zeros.append(changes[-1])
    zeros += [  # points of the grid
        float(form.float(grid[k]))
        for k in range(1, len(grid) - 1)
        if kinds[k][0] == 0 and kinds[k - 1][0] * kinds[k + 1][0] < 0
    ]
    return _nearest(changes), _nearest(zeros)


def _nearest(places: list[float]) -> list[float]:
    """Those nearest to 0, each once."""
    return sorted(dict.fromkeys(places), key=lambda x: (abs(x), x))[:MOST]


def _grid(domain: Interval, form: Format) -> list[int]:
    low, high = ends(domain, form)
    plain = [k / 8 for k in range(-int(8 * LINEAR), int(8 * LINEAR) + 1)]
    places = [int(n) for n in form.number(np.array(plain)) if low <= n <= high]
    return sorted({*places, *(low + (high - low) * k // SPREAD for k in range(SPREAD + 1))})


def _kind(truth: Truth, place: int, form: Format) -> tuple[float, int]:
    """The sign of a value, and whether it is 0, below the normal floats, among them, beyond."""
    value, rest, _ = truth.at([float(form.float(place))], form)
    size = abs(value)
    steps = (0.0, form.smallest_normal, math.inf)
    return float(np.sign(value or rest)), sum(size >= s for s in steps) + (size > 0)


def _bisected(
    truth: Truth, a: int, b: int, kind: tuple[float, int], form: Format
) -> tuple[int, int]:
    """Neighbours between which the kind first stops to be that of a."""
    while b - a > 1:
        middle = (a + b) // 2
        if _kind(truth, middle, form) == kind:
            a = middle
        else:
            b = middle
    return a, b


# --- zeros of derivatives -------------------------------------------------------------------------


def cancelled(formula: Term, zero: float) -> bool:
    """Whether a sum of the formula vanishes at a place other than 0: no float beside it can then
    keep the digits of the difference, whatever the formula (gelu' at -0.75)."""
    if not zero:
        return False
    return any(_vanishes(s, zero) for s in _sums(formula))


def _sums(t: Term) -> Iterator[Sum]:
    """The sums of a formula and of the definitions of its ops."""
    for x in tm.subterms(t):
        if isinstance(x, Sum) and len(x.terms) + bool(x.const) > 1:
            yield x
        if isinstance(x, Call) and x.fn.name not in ROWS and x.fn not in tm.STRUCTURAL:
            yield from _sums(tm.replace(x.fn.op.formula_term, x.args))  # type: ignore[attr-defined]


def _vanishes(t: Sum, x: float) -> bool:
    form = FORMATS["float64"]
    parts = [tm.num(t.const), *(tm.scale(k, a) for a, k in t.terms)]
    sizes = [abs(Truth(p, p, "").at([x], form)[0]) for p in parts]
    whole = abs(Truth(t, t, "").at([x], form)[0])
    return whole < CANCELS * max(sizes) < math.inf


def local_scale(truth: Truth, zero: float, domain: Interval, form: Format) -> float:
    """The largest size of a function within a half of its zero."""
    places = [zero + SCALE * k / 16 for k in range(-16, 17)]
    inside = [x for x in np.asarray(places, np.float32).tolist() if x in domain]
    return max(abs(truth.at([x], form)[0]) for x in inside)
