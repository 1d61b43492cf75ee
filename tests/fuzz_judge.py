"""Whether a backend's value, first and second derivative of a formula are right, point by point.

In: the three roots, the point, the three floats. Out: a sentence for everything that is wrong;
none is a pass.

    finite numbers     within BOUND units of the last place a rounding (symprop.condition)
    derivatives        the oracle's own, of the formula at 60 digits, against differences at 150
    overflow           may be infinite where something on the way is above the greatest float
    zeros              0 and -0 are judged as such, and as the numbers just above and below
    no opinion         where a comparison is too close to call, where the formula has no value, and
                       at NaN and infinities

What is surely right is seen first, at one evaluation of all points: a float within BOUND units of
the exact value, a derivative that is the slope between near neighbours. Only what is left is asked
about in full, so that a pass is a pass of the full judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np

from symprop import term as t
from symprop.condition import Bounded, clipped, condition, structural
from symprop.oracle import Oracle, context, run_with
from symprop.walk import topological

__all__ = ["EPS", "judged", "off"]

BOUND = 8
PRECISION = 60
DIGITS = 150  # of slopes by differences
BESIDE = 400  # digits: a number so near 0 is 0 in any float
STAIRS = 1e15  # sizes from which floats are whole
WITH_STAIRS = ("ceil", "floor", "mod", "round")
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


def judged(
    roots: Sequence[Any], inputs: tuple[Any, Any], data: dict[str, Any], ours: Sequence[Any],
    dtype: str,
) -> list[str]:  # fmt: skip
    """What is wrong with the arrays of a formula of x and y (and of its derivatives in x)."""
    wrong = []
    good = _surely_right(roots, inputs, data, ours, dtype)
    for k in np.flatnonzero(np.isfinite(data["x"]) & np.isfinite(data["y"])):
        if not good[k]:
            at = {n: data[n][k] for n in ("x", "y")}
            single = _given(inputs, [[at["x"]], [at["y"]]])
            floats = [float(a[k]) for a in ours]
            wrong += [f"{what}, at {at}" for what in _at(roots, inputs, single, floats, dtype)]
    return wrong


def _given(inputs: tuple[Any, Any], values: Sequence[Any]) -> dict[Any, Any]:
    """Arrays for the inputs, and how long they are."""
    arrays = [np.array(v, object) for v in values]
    return {**dict(zip(inputs, arrays, strict=True)), "point": len(arrays[0])}


# --- at a glance ---------------------------------------------------------------------------------


class _Remembering(Oracle):
    """The oracle, which asks for a function at a point once: derivatives ask again and again."""

    def __init__(self, ctx: Any, known: dict[Any, Any] | None = None) -> None:
        super().__init__(ctx)
        self.known = {} if known is None else known
        self.terms: dict[t.Term, Callable[[list[Any]], Any]] = {}

    def fresh(self) -> Oracle:
        return _Remembering(self.ctx, self.known)

    def term(self, term: t.Term) -> Callable[[list[Any]], Any]:
        found = self.terms.get(term)
        if found is None:
            found = self.terms[term] = super().term(term)
        return found

    def function(self, fn: t.Function) -> Callable[..., Any]:
        plain, known = super().function(fn), self.known
        if structural(fn):
            return plain

        def asked(*args: Any) -> Any:
            at = [clipped(self.number(a), self.ctx) for a in args]
            key = (fn, *(a._mpf_ for a in at))
            if key not in known:
                known[key] = plain(*at)
            return known[key]

        return asked


def _surely_right(
    roots: Sequence[Any], inputs: tuple[Any, Any], data: dict[str, Any], ours: Sequence[Any],
    dtype: str,
) -> list[bool]:  # fmt: skip
    """Of each point, whether it needs no second look."""
    count = len(data["x"])
    with mpmath.workdps(PRECISION):
        x = [mpmath.mpf(float(v)) for v in data["x"]]
        steps = [mpmath.mpf(10) ** -(PRECISION // 3) * (abs(v) or 1) for v in x]
        sides = [v - s for v, s in zip(x, steps, strict=True)]
        sides += [v + s for v, s in zip(x, steps, strict=True)]
    finite = np.isfinite(data["x"]) & np.isfinite(data["y"])
    rows = [k for k in range(3 * count) if finite[k % count]]
    every = _given(inputs, [[(x + sides)[k] for k in rows], [data["y"][k % count] for k in rows]])
    ctx = context(PRECISION)
    found = [dict(zip(rows, a, strict=True)) for a in run_with(_Remembering(ctx), roots, every)]
    smallest = float(np.finfo(dtype).tiny)

    def right(k: int) -> bool:
        for value, exact in zip(ours, found, strict=True):
            if ctx.isfinite(exact[k]):
                allowed = BOUND * EPS[dtype] * max(abs(exact[k]), smallest)
                if not abs(ctx.mpf(float(value[k])) - exact[k]) <= allowed:
                    return False
        for f, derived in pairwise(found):
            slope = (f[k + 2 * count] - f[k + count]) / (2 * steps[k])
            if ctx.isfinite(derived[k]) and not abs(slope - derived[k]) <= 1e-8 * abs(slope):
                return False
        return True

    return [k in found[0] and right(k) for k in range(count)]


# --- in full -------------------------------------------------------------------------------------


def _at(
    roots: Sequence[Any], inputs: tuple[Any, Any], single: dict[Any, Any], ours: list[float],
    dtype: str,
) -> list[str]:  # fmt: skip
    """What is wrong at one point."""
    info = np.finfo(dtype)
    bounds = condition(roots, single, PRECISION, EPS[dtype], float(info.tiny))
    if bounds.doubt:
        return []
    wrong = []
    for order, (value, b) in enumerate(zip(ours, bounds.values, strict=True)):
        what = off(value, b.ravel()[0], dtype)
        wrong += [f"order {order} {what}"] if what else []
    if wrong and not any(off(v, b, dtype) for v, b in _beside(roots, inputs, single, ours, dtype)):
        wrong = []
    peak = max(b.peak for values in bounds.values for b in values.ravel())
    if bounds.tie or not peak < (STAIRS if _has_stairs(roots[0]) else 1e300):
        return wrong
    return wrong + _slopes(roots, inputs, single, bounds.values)


def _beside(
    roots: Sequence[Any], inputs: tuple[Any, Any], single: dict[Any, Any], ours: list[float],
    dtype: str,
) -> list[tuple[float, Bounded]]:  # fmt: skip
    """The bounds with numbers just above 0 for 0 and just below it for -0: 1/-0 is -inf."""
    moved = dict(single)
    for x in inputs:
        v = float(single[x][0])
        if v == 0:
            moved[x] = np.array([mpmath.mpf(10) ** -BESIDE * float(np.copysign(1, v))], object)
    info = np.finfo(dtype)
    bounds = condition(roots, moved, PRECISION, EPS[dtype], float(info.tiny))
    return [(v, b.ravel()[0]) for v, b in zip(ours, bounds.values, strict=True)]


def _has_stairs(root: Any) -> bool:
    """Whether a formula has steps, which a difference of numbers far from 0 does not see."""
    terms = (y for n in topological([root.node]) for y in t.subterms(getattr(n, "body", t.num(0))))
    return any(isinstance(y, t.Call) and y.fn.name in WITH_STAIRS for y in terms)


def off(ours: float, b: Bounded, dtype: str) -> str:
    """How a float is off; "" is not at all."""
    ctx, info = b.scale.ctx, np.finfo(dtype)
    if not ctx.isfinite(b.value) or not ctx.isfinite(b.error):
        return ""
    allowed = BOUND * EPS[dtype] * b.error
    if not np.isfinite(ours):
        beyond = max(b.peak, allowed) > float(info.max) / 4
        return "" if beyond else f"is {ours}, not {ctx.nstr(b.value, 10)}"
    error = abs(ctx.mpf(ours) - b.value)
    if error <= allowed or b.peak > float(info.max) / 4:
        return ""
    times = mpmath.nstr(error / allowed, 3) if allowed else "infinitely many"
    return f"is {ours!r}, not {ctx.nstr(b.value, 18)}: off by {times} bounds"


def _slopes(
    roots: Sequence[Any], inputs: tuple[Any, Any], single: dict[Any, Any], exact: list[Any]
) -> list[str]:
    """Where a derivative is not the slope of what it derives."""
    ctx = mpmath.mp.clone()
    ctx.dps = DIGITS
    at = float(single[inputs[0]][0])
    step = ctx.sqrt(2) * ctx.mpf(10) ** -(DIGITS // 3) * (abs(at) or 1)  # in step with no stairs
    sides = []
    for turns in (-2, -1, 0, 1, 2):
        with mpmath.workdps(DIGITS):
            x = mpmath.mpf(at) + turns * step
        moved = {**single, inputs[0]: np.array([x], object)}
        sides.append([r.ravel()[0] for r in run_with(_Remembering(ctx), roots[:2], moved)])
    wrong = []
    for order in range(2):
        far, below, here, above, beyond = (s[order] for s in sides)
        slopes = [(here - far) / 2, here - below, above - here, (beyond - here) / 2]
        slopes = [s / step for s in slopes]
        bound = exact[order + 1].ravel()[0]
        derived = bound.value
        if not all(map(ctx.isfinite, (*slopes, derived))):
            continue
        slope = slopes[1]
        smooth = all(abs(s - slope) <= ctx.mpf(10) ** -30 * abs(slope) for s in slopes)
        seen = abs(here) * ctx.mpf(10) ** (10 - DIGITS) / step  # what a difference can show
        noise = max(bound.peak, bound.error) * ctx.mpf(10) ** -50  # the derived one has 60 digits
        near = abs(slope - derived) <= ctx.mpf(10) ** -8 * abs(slope) + seen + noise
        if smooth and not near:
            wrong.append(f"order {order + 1} is derived as {ctx.nstr(derived, 10)}, but the slope "
                         f"is {ctx.nstr(slope, 10)}")  # fmt: skip
    return wrong
