"""Where the numbers of ``codegen/vector_math_fits.py`` come from: run it to write that file anew.

    python -m tests.fit_vector_math > codegen/vector_math_fits.py

Each is the best polynomial, or quotient of two, in the sense of the largest error relative to the
function it ends up in, found by Remez' exchange with 60 digits and then rounded to its dtype; the
error stated beside it is measured after the rounding, with the rounded numbers and exact
arithmetic. Nothing here is random or floating-point: every machine writes the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np

MP = mpmath.mp.clone()
MP.dps = 60
Real = Any  # a number of MP
Map = Callable[[Real], Real]
GRID = 24  # points of the error's grid for each unknown number
TURNS = 12  # exchanges; the levels have settled to three digits after five


@dataclass(frozen=True)
class Task:
    """``f`` on [low, high] by numbers of ``dtype``; ``weight`` turns an error of f into one of
    the function it serves, relative to that function. ``below`` is the degree of a denominator
    1 + ..., and then the numerator begins with 1 as well."""

    name: str
    of: str
    f: Map
    weight: Map
    low: Real
    high: Real
    dtype: str
    degree: int
    below: int = 0


def value(coefficients: Sequence[Real], x: Real) -> Real:
    """The polynomial with these coefficients, lowest first."""
    total = MP.mpf(0)
    for c in reversed(coefficients):
        total = total * x + c
    return total


def turning_points(points: list[Real], errors: list[Real], count: int) -> list[Real]:
    """``count`` neighbouring extrema of alternating sign, the largest such group."""
    runs: list[int] = []
    for i, e in enumerate(errors):
        if runs and (errors[runs[-1]] > 0) == (e > 0):
            if abs(e) > abs(errors[runs[-1]]):
                runs[-1] = i
        else:
            runs.append(i)
    if len(runs) < count:
        raise ArithmeticError(f"{len(runs)} extrema where {count} were expected")
    starts = range(len(runs) - count + 1)
    best = max(starts, key=lambda s: min(abs(errors[i]) for i in runs[s : s + count]))
    return [points[i] for i in runs[best : best + count]]


def fit(task: Task) -> tuple[list[Real], list[Real]]:
    """Numerator and denominator (empty when there is none), lowest coefficient first."""
    above = range(1 if task.below else 0, task.degree + 1)
    below = range(1, task.below + 1)
    unknown = len(above) + len(below)
    middle, half = (task.high + task.low) / 2, (task.high - task.low) / 2
    count = GRID * (unknown + 1)
    grid = [middle - half * MP.cos(MP.pi * (i + MP.mpf(1) / 2) / count) for i in range(count)]
    grid = [task.low, *grid, task.high]
    known = {x: (task.f(x), task.weight(x)) for x in grid}
    step = (len(grid) - 1) / unknown
    nodes = [grid[round(i * step)] for i in range(unknown + 1)]
    top, bottom = [MP.mpf(1)] * bool(task.below), [MP.mpf(1)]
    for _ in range(TURNS):
        rows, right = [], []
        for i, x in enumerate(nodes):
            f, w = known[x]
            level = (-1) ** i * value(bottom, x) / w
            rows.append([x**j for j in above] + [-f * x**j for j in below] + [level])
            right.append(f - 1 if task.below else f)
        solved = list(MP.lu_solve(MP.matrix(rows), MP.matrix(right)))
        top = [MP.mpf(1)] * bool(task.below) + solved[: len(above)]
        bottom = [MP.mpf(1), *solved[len(above) : unknown]]
        nodes = turning_points(grid, errors_of(top, bottom, known), unknown + 1)
    return top, bottom[1:] and bottom


def errors_of(
    top: Sequence[Real], bottom: Sequence[Real], known: dict[Real, tuple[Real, Real]]
) -> list[Real]:
    """The weighted error at every point."""
    return [
        (value(top, x) / value(bottom or [MP.mpf(1)], x) - f) * w for x, (f, w) in known.items()
    ]


def rounded(coefficients: Sequence[Real], dtype: str) -> list[float]:
    """Each to the nearest number of the dtype."""
    if dtype == "float64":
        return [float(c) for c in coefficients]
    # A float64 of a 60-digit number, then a float32: these are no ties, which alone would differ.
    return [float(np.float32(float(c))) for c in coefficients]


def largest_error(task: Task, top: Sequence[float], bottom: Sequence[float]) -> float:
    """Of the rounded numbers, on a grid other than the fit's."""
    count = 1000
    points = [task.low + (task.high - task.low) * i / count for i in range(count + 1)]
    known = {x: (task.f(x), task.weight(x)) for x in points}
    exact = [[MP.mpf(c) for c in cs] for cs in (top, bottom)]
    return float(max(map(abs, errors_of(exact[0], exact[1], known))))


def _arc(z: Real) -> Real:
    """(2*atanh(s) - 2*s)/s**3 of z = s*s."""
    s = MP.sqrt(z)
    return (2 * MP.atanh(s) - 2 * s) / s**3


def _sine(z: Real) -> Real:
    r = MP.sqrt(z)
    return (MP.sin(r) - r) / r**3


def _cosine(z: Real) -> Real:
    return (MP.cos(MP.sqrt(z)) - 1 + z / 2) / z**2


def _erf(z: Real) -> Real:
    x = MP.sqrt(z)
    return MP.erf(x) / x - 1


def _erfcx_of(t: Real) -> Real:
    """exp(a*a)*erfc(a)*(a + 2) of t = 1 - 4/(a + 2)."""
    a = 4 / (1 - t) - 2
    return MP.exp(a * a) * MP.erfc(a) * (a + 2)


def _tanh(z: Real) -> Real:
    x = MP.sqrt(z)
    return MP.tanh(x) / x


def tasks() -> list[Task]:
    """Everything that is fitted, in the order of the file."""
    near0 = MP.mpf(10) ** -12  # the quotients have no value at 0 itself
    ln2, quarter = MP.log(2) / 2 * MP.mpf("1.0001"), (MP.pi / 4 * MP.mpf("1.0001")) ** 2
    narrow, unit = (3 - MP.sqrt(8)) ** 2 * MP.mpf("1.001"), MP.mpf(1) / 9 * MP.mpf("1.001")
    found: list[Task] = []

    def both(
        name: str, of: str, f: Map, weight: Map, low: Real, high: Real, degrees: tuple[int, int]
    ) -> None:
        for dtype, degree in zip(("float32", "float64"), degrees, strict=True):
            found.append(Task(name, of, f, weight, low, high, dtype, degree))

    both("exp", "(exp(r) - 1 - r)/r**2 of r",
         lambda r: (MP.exp(r) - 1 - r) / r**2 if r else MP.mpf(1) / 2,
         lambda r: r**2 / MP.exp(r) if r else near0, -ln2, ln2, (4, 10))
    both("log", "(log((1 + s)/(1 - s)) - 2*s)/s**3 of s**2", _arc,
         lambda z: z * MP.sqrt(z) / (2 * MP.atanh(MP.sqrt(z))), near0, narrow, (2, 6))
    both("log1p", "(log((1 + s)/(1 - s)) - 2*s)/s**3 of s**2", _arc,
         lambda z: z * MP.sqrt(z) / (2 * MP.atanh(MP.sqrt(z))), near0, unit, (4, 12))
    both("sin", "(sin(r) - r)/r**3 of r**2", _sine,
         lambda z: z * MP.sqrt(z) / MP.sin(MP.sqrt(z)), near0, quarter, (2, 5))
    both("cos", "(cos(r) - 1 + r**2/2)/r**4 of r**2", _cosine,
         lambda z: z**2 / MP.cos(MP.sqrt(z)), near0, quarter, (2, 5))
    both("erf", "erf(x)/x - 1 of x**2", _erf,
         lambda z: 1 / (_erf(z) + 1), near0, MP.mpf(1), (6, 12))
    for dtype, degree, top in (("float32", 8, "10.6"), ("float64", 21, "27.6")):
        low, high = 1 - 4 / MP.mpf("2.49"), 1 - 4 / (MP.mpf(top) + 2)
        found.append(Task("erfcx", "exp(a*a)*erfc(a)*(a + 2) of 1 - 4/(a + 2)", _erfcx_of,
                          lambda t: 1 / _erfcx_of(t), low, high, dtype, degree))
    found.append(Task("tanh", "tanh(x)/x of x**2", _tanh, lambda z: 1 / _tanh(z), near0,
                      MP.mpf("9.02") ** 2, "float32", 4, 4))
    return found  # fmt: skip
