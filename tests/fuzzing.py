"""Random formulas of a few numbers, and what a backend makes of them, judged point by point.

In: a source of choices (a seed, or hypothesis, which shrinks what fails). Out: a ``Formula``: an
expression of x and y, and the Python text that declares it. ``judged``: a sentence for every point
where the value, a first or a second derivative is not what the formula says; none is a pass.

    finite numbers     within BOUND units of the last place a rounding (symprop.condition)
    derivatives        the oracle's own, of the formula at 60 digits, against differences at 150
    overflow           may be infinite where something on the way is above the greatest float
    no opinion         where a comparison is too close to call, where the formula has no value, and
                       at NaN and infinities, but for this: nothing raises

Guarantees: a seed gives one formula; every function of the registry is among the choices.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

import symprop as prop
from symprop.condition import Bounded, condition
from symprop.ops.declare import REGISTRY
from symprop.oracle import evaluate

__all__ = ["EPS", "Formula", "formula", "judged", "points", "seeded"]

BOUND = 8
DEEP = 4
DIGITS = 150  # of slopes by differences
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
Choose = Callable[[int], int]  # a number below n

NUMBERS = (0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -0.25, 1e-6, 1e6)
SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0, 1e-30, -1e-12, 20.0, -90.0, 1e4, -1e30)
BEYOND = (np.inf, -np.inf, np.nan, 1e-45)
UNARY = tuple(n for n, op in REGISTRY.items() if op.arity == 1 and hasattr(prop, n))
BINARY = tuple(n for n, op in REGISTRY.items() if op.arity == 2 and hasattr(prop, n))


@dataclass(frozen=True)
class Formula:
    """A value of x and y, and the text that makes it."""

    value: Any
    text: str


def seeded(seed: int) -> Choose:
    """Choices drawn from a seed."""
    return random.Random(seed).randrange


def formula(choose: Choose, x: Any, y: Any, deep: int = DEEP) -> Formula:
    """A formula of two arrays of one shape; the first choice of each is the simplest."""
    leaves = [Formula(x, "x"), Formula(y, "y")]
    kind = choose(8) if deep else 0
    if kind < 2:
        n = choose(10)
        if n < 8:
            return leaves[n // 5]
        number = NUMBERS[choose(len(NUMBERS))]
        return Formula(prop.constant(number), str(number))
    a = formula(choose, x, y, deep - 1)
    if kind < 5:
        name = UNARY[choose(len(UNARY))]
        return Formula(getattr(prop, name)(a.value), f"prop.{name}({a.text})")
    if kind == 5:
        n = (2, 3, -1)[choose(3)]
        return Formula(a.value**n, f"({a.text}) ** {n}")
    b = formula(choose, x, y, deep - 1)
    if kind == 6:
        n = choose(4 + len(BINARY))
        if n >= 4:
            name = BINARY[n - 4]
            made = getattr(prop, name)(a.value, b.value)
            return Formula(made, f"prop.{name}({a.text}, {b.text})")
        sign = "+-*/"[n]
        value = (a.value + b.value if n == 0 else a.value - b.value if n == 1 else
                 a.value * b.value if n == 2 else a.value / b.value)  # fmt: skip
        return Formula(value, f"({a.text} {sign} {b.text})")
    made = prop.where(a.value > b.value, a.value, b.value * 0.5)
    return Formula(made, f"prop.where({a.text} > {b.text}, {a.text}, {b.text} * 0.5)")


def points(choose: Choose, count: int, dtype: str, beyond: bool = False) -> dict[str, Any]:
    """Arrays for x and y: special numbers, some equal in both, and others of moderate size."""
    known = SPECIAL + (BEYOND if beyond else ())
    found = []
    for _ in range(2 * count):
        n = choose(2 * len(known))
        found.append(known[n] if n < len(known) else (choose(4001) - 2000) / 500)
    x, y = np.array(found[:count], dtype), np.array(found[count:], dtype)
    y[0] = x[0]  # a tie
    return {"x": x, "y": y}


def judged(
    formulas: Iterable[Formula], data: dict[str, Any], dtype: str, backend: str, x: Any
) -> list[str]:
    """What is wrong with formulas of vectors of this length, in a sentence each.

    ``x`` is the input that they are derived in, beside y.
    """
    wrong: list[str] = []
    for f in formulas:
        roots = roots_of(f, x)
        run = prop.compile(roots, backend=backend, dtype=dtype)
        named = {n: a for n, a in data.items() if n in run.inputs}
        with np.errstate(all="ignore"):
            found = [np.broadcast_to(r, data["x"].shape) for r in run(named)]
        for k in range(len(data["x"])):
            at = {n: a[k] for n, a in data.items()}
            if all(np.isfinite(v) for v in at.values()):
                ours = [float(r[k]) for r in found]
                wrong += [f"{f.text}: {what}, at {at}" for what in _at(roots, at, ours, dtype)]
    return wrong


def roots_of(f: Formula, x: Any) -> list[Any]:
    """The value, its derivative in x, and the derivative of that; points do not touch each other,
    so that a sum's gradient is each point's derivative."""
    first = prop.gradient(prop.sum(f.value + 0.0 * x), x)
    return [f.value + 0.0 * x, first, prop.gradient(prop.sum(first), x)]


def _at(roots: list[Any], at: dict[str, Any], ours: list[float], dtype: str) -> list[str]:
    """What is wrong at one point."""
    single: dict[str, Any] = {n: np.array([v]) for n, v in at.items()} | {"point": 1}
    info = np.finfo(dtype)
    bounds = condition(roots, single, eps=EPS[dtype], smallest=float(info.tiny))
    if bounds.doubt:
        return []
    wrong = []
    for order, (value, b) in enumerate(zip(ours, bounds.values, strict=True)):
        what = _off(value, b.ravel()[0], EPS[dtype], info)
        wrong += [f"order {order} {what}"] if what else []
    far = any(not b.peak < 1e300 for values in bounds.values for b in values.ravel())
    return wrong if far else wrong + _slopes(roots, single, bounds.values)


def _off(ours: float, b: Bounded, eps: float, info: Any) -> str:
    """How a float is off; "" is not at all."""
    ctx = b.scale.ctx
    if not ctx.isfinite(b.value) or not ctx.isfinite(b.error):
        return ""
    if not np.isfinite(ours):
        return "" if b.peak > float(info.max) / 4 else f"is {ours}, not {ctx.nstr(b.value, 10)}"
    allowed = BOUND * eps * b.error
    error = abs(ctx.mpf(ours) - b.value)
    if error <= allowed or b.peak > float(info.max) / 4:
        return ""
    return (
        f"is {ours!r}, not {ctx.nstr(b.value, 18)}: off by {mpmath.nstr(error / allowed, 3)} bounds"
    )


def _slopes(roots: list[Any], single: dict[str, Any], exact: list[Any]) -> list[str]:
    """Where a derivative is not the slope of what it derives."""
    ctx = mpmath.mp.clone()
    ctx.dps = DIGITS
    step = ctx.mpf(10) ** -(DIGITS // 3) * (abs(float(single["x"][0])) or 1)
    sides = []
    for turns in (-2, -1, 0, 1, 2):
        with mpmath.workdps(DIGITS):
            x = mpmath.mpf(float(single["x"][0])) + turns * step
        moved = {**single, "x": np.array([x], object)}
        sides.append([r.ravel()[0] for r in evaluate(roots[:2], moved, precision=DIGITS)])
    wrong = []
    for order in range(2):
        far, below, here, above, beyond = (s[order] for s in sides)
        slopes = [(here - far) / 2, here - below, above - here, (beyond - here) / 2]
        slopes = [s / step for s in slopes]
        derived, peak = exact[order + 1].ravel()[0].value, exact[order + 1].ravel()[0].peak
        if not all(map(ctx.isfinite, (*slopes, derived))):
            continue
        slope = slopes[1]
        smooth = all(abs(s - slope) <= ctx.mpf(10) ** -10 * abs(slope) for s in slopes)
        seen = abs(here) * ctx.mpf(10) ** (10 - DIGITS) / step  # what a difference can show
        noise = peak * ctx.mpf(10) ** -50  # of the derived one, which has 60 digits
        near = abs(slope - derived) <= ctx.mpf(10) ** -8 * abs(slope) + seen + noise
        if smooth and not near:
            wrong.append(f"order {order + 1} is derived as {ctx.nstr(derived, 10)}, but the slope "
                         f"is {ctx.nstr(slope, 10)}")  # fmt: skip
    return wrong
