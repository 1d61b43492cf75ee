"""Where the numbers of ``codegen/vector_math_fits.py`` come from: run it to write that file anew.

    python -m tests.fit_vector_math > codegen/vector_math_fits.py

Each is the best polynomial in the sense of the largest error relative to the function it ends up
in, found by Remez' exchange with 60 digits and then rounded to its dtype; the error stated beside
it is measured after the rounding, with the rounded numbers and exact arithmetic. The bits of pi
follow. Nothing here is random or floating-point: every machine writes the same file.
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
# Float32s from 2**24, 2**50, ... are whole multiples of 2**1, 2**27, ...
SIZES = ((0, 0), (24, 1), (50, 27), (76, 53), (102, 79))
WORDS = 20  # of 64 bits of 2/pi: as far as the largest float64 reaches
TURNS = 8  # exchanges; the levels have settled to three digits after five


@dataclass(frozen=True)
class Task:
    """``f`` on [low, high] by numbers of ``dtype``; ``weight`` turns an error of f into one of
    the function it serves, relative to that function."""

    name: str
    of: str
    f: Map
    weight: Map
    low: Real
    high: Real
    dtype: str
    degree: int
    double: bool = False  # the numbers are of float64, for a float32 that is computed in it


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


def fit(task: Task) -> list[Real]:
    """The coefficients, lowest first."""
    powers = range(task.degree + 1)
    middle, half = (task.high + task.low) / 2, (task.high - task.low) / 2
    count = GRID * (len(powers) + 1)
    grid = [middle - half * MP.cos(MP.pi * (i + MP.mpf(1) / 2) / count) for i in range(count)]
    grid = [task.low, *grid, task.high]
    known = {x: (task.f(x), task.weight(x)) for x in grid}
    step = (len(grid) - 1) / len(powers)
    nodes = [grid[round(i * step)] for i in range(len(powers) + 1)]
    found: list[Real] = []
    for _ in range(TURNS):
        # At the nodes the weighted errors are to be one size, of alternating sign.
        rows = [[x**j for j in powers] + [(-1) ** i / known[x][1]] for i, x in enumerate(nodes)]
        solved = MP.lu_solve(MP.matrix(rows), MP.matrix([known[x][0] for x in nodes]))
        found = list(solved)[:-1]
        nodes = turning_points(grid, errors_of(found, known), len(powers) + 1)
    return found


def errors_of(coefficients: Sequence[Real], known: dict[Real, tuple[Real, Real]]) -> list[Real]:
    """The weighted error at every point."""
    return [(value(coefficients, x) - f) * w for x, (f, w) in known.items()]


def rounded(c: Real, dtype: str) -> float:
    """The nearest number of the dtype."""
    # By way of a float64: these are no ties of float32, for which alone that would differ.
    return float(c) if dtype == "float64" else float(np.float32(float(c)))


def largest_error(task: Task, coefficients: Sequence[float]) -> float:
    """Of the rounded numbers, on a grid other than the fit's."""
    count = 1000
    points = [task.low + (task.high - task.low) * i / count for i in range(count + 1)]
    known = {x: (task.f(x), task.weight(x)) for x in points}
    return float(max(map(abs, errors_of([MP.mpf(c) for c in coefficients], known))))


def _arc(z: Real) -> Real:
    """(2*atanh(s) - 2*s)/s**3 of z = s*s."""
    s = MP.sqrt(z)
    return (2 * MP.atanh(s) - 2 * s) / s**3


def _arc_fifth(z: Real) -> Real:
    """What _arc has beyond 2/3, over z."""
    return (_arc(z) - MP.mpf(2) / 3) / z


def _sine(z: Real) -> Real:
    r = MP.sqrt(z)
    return (MP.sin(r) - r) / r**3


def _cosine(z: Real) -> Real:
    return (MP.cos(MP.sqrt(z)) - 1 + z / 2) / z**2


def _erf(z: Real) -> Real:
    x = MP.sqrt(z)
    return MP.erf(x) / x - 1


def _erfcx_of(t: Real) -> Real:
    """exp(a*a)*erfc(a)*(a + 2) of t = (a - 2)/(a + 2)."""
    a = 4 / (1 - t) - 2
    return MP.exp(a * a) * MP.erfc(a) * (a + 2)


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

    both(
        "exp",
        "(exp(r) - 1 - r)/r**2 of r",
        lambda r: (MP.exp(r) - 1 - r) / r**2 if r else MP.mpf(1) / 2,
        lambda r: r**2 / MP.exp(r) if r else near0,
        -ln2,
        ln2,
        (4, 10),
    )
    both(
        "log",
        "(log((1 + s)/(1 - s)) - 2*s)/s**3 of s**2",
        _arc,
        lambda z: z * MP.sqrt(z) / (2 * MP.atanh(MP.sqrt(z))),
        near0,
        narrow,
        (2, 6),
    )
    both(
        "log1p",
        "(log((1 + s)/(1 - s)) - 2*s)/s**3 of s**2",
        _arc,
        lambda z: z * MP.sqrt(z) / (2 * MP.atanh(MP.sqrt(z))),
        near0,
        unit,
        (4, 12),
    )
    found.append(
        Task(
            "log_share",
            "2*(-log(1 - z) - z - z**2/2)/z**3 of z",
            lambda z: -2 * (MP.log1p(-z) + z + z**2 / 2) / z**3,
            lambda z: -(z**3) / (2 * MP.log1p(-z)),
            near0,
            MP.mpf("0.5001"),
            "float32",
            8,
        )
    )
    found.append(
        Task(
            "log_fifth",
            "(log((1 + s)/(1 - s)) - 2*s - s**3*2/3)/s**5 of s**2",
            _arc_fifth,
            lambda z: z * z * MP.sqrt(z) / (2 * MP.atanh(MP.sqrt(z))),
            near0,
            narrow,
            "float64",
            7,
        )
    )
    both(
        "sin",
        "(sin(r) - r)/r**3 of r**2",
        _sine,
        lambda z: z * MP.sqrt(z) / MP.sin(MP.sqrt(z)),
        near0,
        quarter,
        (2, 5),
    )
    both(
        "cos",
        "(cos(r) - 1 + r**2/2)/r**4 of r**2",
        _cosine,
        lambda z: z**2 / MP.cos(MP.sqrt(z)),
        near0,
        quarter,
        (2, 5),
    )
    both(
        "erf", "erf(x)/x - 1 of x**2", _erf, lambda z: 1 / (_erf(z) + 1), near0, MP.mpf(1), (6, 12)
    )
    both(
        "sinh",
        "(sinh(r) - r)/r**3 of r**2",
        lambda z: (MP.sinh(MP.sqrt(z)) - MP.sqrt(z)) / MP.sqrt(z) ** 3,
        lambda z: z * MP.sqrt(z) / MP.sinh(MP.sqrt(z)),
        near0,
        ln2**2,
        (2, 5),
    )
    both(
        "cosh",
        "(cosh(r) - 1 - r**2/2)/r**4 of r**2",
        lambda z: (MP.cosh(MP.sqrt(z)) - 1 - z / 2) / z**2,
        lambda z: z**2 / MP.cosh(MP.sqrt(z)),
        near0,
        ln2**2,
        (2, 5),
    )
    both(
        "asin",
        "(asin(s) - s)/s**3 of s**2",
        lambda z: (MP.asin(MP.sqrt(z)) - MP.sqrt(z)) / MP.sqrt(z) ** 3,
        lambda z: z * MP.sqrt(z) / MP.asin(MP.sqrt(z)),
        near0,
        MP.mpf("0.2501"),
        (5, 13),
    )
    both(
        "atan",
        "(atan(t) - t)/t**3 of t**2",
        lambda z: (MP.atan(MP.sqrt(z)) - MP.sqrt(z)) / MP.sqrt(z) ** 3,
        lambda z: z * MP.sqrt(z) / MP.atan(MP.sqrt(z)),
        near0,
        (MP.sqrt(2) - 1) ** 2 * MP.mpf("1.001"),
        (5, 12),
    )
    for dtype, degree, top in (("float32", 10, "10.6"), ("float64", 22, "27.6")):
        low, high = 1 - 4 / MP.mpf("2.79"), 1 - 4 / (MP.mpf(top) + 2)
        found.append(
            Task(
                "erfcx",
                "exp(a*a)*erfc(a)*(a + 2) of (a - 2)/(a + 2)",
                _erfcx_of,
                lambda t: 1 / _erfcx_of(t),
                low,
                high,
                dtype,
                degree,
                double=True,
            )
        )
    found.append(
        Task(
            "erf_far",
            "-log(erfc(a))/a of a",
            lambda a: -MP.log(MP.erfc(a)) / a,
            lambda a: a * MP.erfc(a) / MP.erf(a),
            MP.mpf("0.99"),
            MP.mpf("3.95"),
            "float32",
            7,
        )
    )
    return found  # fmt: skip


HEAD = '''"""Fitted polynomials of ``codegen.vector_math``: written by ``tests/fit_vector_math.py``.

``FITS[name, dtype]`` holds the coefficients of a polynomial, lowest first, the interval it is for,
and its largest error relative to the function it serves, with these very numbers and exact
arithmetic. It does not say what rounding adds: ``codegen.vector_math`` does. Not to be edited by
hand.

``HALF_PI`` is pi/2 in pieces, of which the first two have 33 places: their products with integers
to 2**20 are exact. ``TWO_OVER_PI`` is the fraction 2/pi in words of 64 bits, after a word of zeros.
``SIZES_32`` says what of 2/pi counts modulo 4 when it is multiplied by a float32 that is at least
the number before it (the first: any), in pieces of which the first three have 29 places.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.program import Dtype

__all__ = ["FITS", "HALF_PI", "SIZES_32", "TWO_OVER_PI", "Fit"]


@dataclass(frozen=True, slots=True)
class Fit:
    """One fit; ``of`` says what it approximates, and of which variable."""

    of: str
    low: float
    high: float
    error: float
    coefficients: tuple[float, ...]


# fmt: off
FITS: dict[tuple[str, Dtype], Fit] = {'''


def written(coefficients: Sequence[float], dtype: str) -> str:
    """A tuple, three to a line, each as short as its dtype allows."""
    one = np.float32 if dtype == "float32" else np.float64
    words = [np.format_float_scientific(one(c), unique=True, trim="0") for c in coefficients]
    lines = [", ".join(words[i : i + 3]) for i in range(0, len(words), 3)]
    return "(\n            " + ",\n            ".join(lines) + ",\n        )"


def pi_lines() -> list[str]:
    """pi/2 in pieces, 2/pi in words."""
    places = MP.clone()
    places.dps = 400  # 1280 bits and some
    half, pieces = places.pi / 2, []
    for bits in (33, 33, 53):
        scale = places.mpf(2) ** (bits - 1 - int(places.floor(places.log(half, 2))))
        pieces.append(float(places.floor(half * scale) / scale))
        half -= pieces[-1]
    whole = int(places.floor(2 / places.pi * places.mpf(2) ** (64 * (WORDS - 1))))
    words = [whole >> 64 * i & (1 << 64) - 1 for i in range(WORDS - 1, -1, -1)]
    rows = [", ".join(f"0x{w:016X}" for w in words[i : i + 4]) for i in range(0, WORDS, 4)]
    return [
        f"HALF_PI: tuple[float, ...] = ({', '.join(map(repr, pieces))})",
        "TWO_OVER_PI: tuple[int, ...] = (",
        *(f"    {row}," for row in rows),
        ")",
        "SIZES_32: tuple[tuple[float, tuple[float, ...]], ...] = (",
        *(sizes_line(least, pieces_of(2 / places.pi, unit)) for least, unit in SIZES),
        ")",
    ]


def sizes_line(least: int, pieces: tuple[float, ...]) -> str:
    """The entry of float32s from 2**least on."""
    first, second, third, fourth = map(repr, pieces)
    return f"    (2.0**{least}, ({first}, {second},\n        {third}, {fourth})),"


def pieces_of(ratio: Real, unit: int) -> tuple[float, ...]:
    """2/pi without its multiples of 4/2**unit, in four pieces, of 29, 29, 29 and 53 places."""
    places = ratio.context
    rest = places.fmod(ratio * places.mpf(2) ** unit, 4)
    found = []
    for bits in (27, 56, 85):
        piece = places.floor(rest * places.mpf(2) ** bits) / places.mpf(2) ** bits
        rest -= piece
        found.append(float(piece / places.mpf(2) ** unit))
    return (*found, float(rest / places.mpf(2) ** unit))


def file_text() -> str:
    """``codegen/vector_math_fits.py``, whole."""
    lines = [HEAD]
    for task in tasks():
        kept = "float64" if task.double else task.dtype
        coefficients = [rounded(c, kept) for c in fit(task)]
        error = largest_error(task, coefficients)
        interval = f"{float(task.low):.6g}, {float(task.high):.6g}"
        lines += [
            f'    ("{task.name}", "{task.dtype}"): Fit(',
            f'        "{task.of}", {interval}, {error:.2g},',
            f"        {written(coefficients, kept)},",
            "    ),",
        ]
    return "\n".join([*lines, "}", *pi_lines(), "# fmt: on", ""])


if __name__ == "__main__":
    print(file_text(), end="")
