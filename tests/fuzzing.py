"""Random formulas of two numbers, many in one program, and a text of each that can be run.

In: a source of choices (a seed, or hypothesis, which shrinks what fails). Out: a ``Formula``: an
expression of x and y, and the Python text that declares it; points to look at; of a batch of
``Case``, a sentence for every case that failed, with a script that shows it.

Guarantees: a seed gives one formula and its points; every function of the registry is among the
choices; a batch that fails as a whole is run again case by case. What is right is judged by
``fuzz_judge``.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_judge import judged

import symprop as prop
from symprop.ops.declare import REGISTRY

__all__ = [
    "Case",
    "Formula",
    "Way",
    "case",
    "failures",
    "formula",
    "points",
    "printed",
    "script",
    "seeded",
]

DEEP = 4
FINITE = 3  # points of a case that are judged; the others must raise nothing
Choose = Callable[[int], int]  # a number below n
Way = tuple[str, str]  # a backend, a dtype

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
        return Formula(prop.constant(number), f"prop.constant({number})")
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


def points(choose: Choose, dtype: str) -> dict[str, Any]:
    """Arrays for x and y: special numbers, a tie, others of moderate size; and at the end two
    points beyond: infinities, NaN, subnormals."""
    found = []
    for known in (SPECIAL,) * 2 * FINITE + (BEYOND,) * 4:
        n = choose(2 * len(known))
        found.append(known[n] if n < len(known) else (choose(4001) - 2000) / 500)
    k = 2 * FINITE
    x, y = found[:FINITE] + found[k : k + 2], found[FINITE:k] + found[k + 2 :]
    y[0] = x[0]
    return {"x": np.array(x, dtype), "y": np.array(y, dtype)}


# --- cases ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A formula of its own inputs, and arrays for them; ``label`` says where it is from."""

    label: str
    inputs: tuple[Any, Any]
    formula: Formula
    data: dict[str, Any]


def case(choose: Choose, dtype: str, label: str = "", deep: int = DEEP) -> Case:
    """A random formula and its points; its inputs carry the label, as one program takes many."""
    x, y = prop.input(f"x{label}", "point"), prop.input(f"y{label}", "point")
    try:
        made = formula(choose, x, y, deep)
    except prop.DeclarationError:  # a division by what is always 0, which is refused
        made = Formula(x, "x")
    return Case(label, (x, y), made, points(choose, dtype))


def failures(cases: Sequence[Case], way: Way) -> list[str]:
    """What is wrong with cases that run as one program: a sentence and a script each."""
    try:
        roots = _roots(cases)
        found = _run(roots, cases, way)
    except Exception as error:
        if len(cases) > 1:
            return [f for one in cases for f in failures([one], way)]
        return [_told(cases[0], way, f"raises {type(error).__name__}: {error}")]
    wrong = []
    for one, its, arrays in zip(cases, roots, found, strict=True):
        whole = [np.broadcast_to(a, one.data["x"].shape) for a in arrays]
        off = judged(its, one.inputs, one.data, whole, way[1])
        wrong += [_told(one, way, "; ".join(off))] if off else []
    return wrong


def _roots(cases: Sequence[Case]) -> list[list[Any]]:
    """Of each case the value, its derivative in x, and the derivative of that; points do not touch
    each other, so that a sum's gradient is each point's derivative."""
    xs = [one.inputs[0] for one in cases]
    values = [one.formula.value + 0.0 * x for one, x in zip(cases, xs, strict=True)]
    first = prop.gradient(sum(map(prop.sum, values)), xs)
    second = prop.gradient(sum(map(prop.sum, first)), xs)
    return [list(three) for three in zip(values, first, second, strict=True)]


def _run(roots: Sequence[Sequence[Any]], cases: Sequence[Case], way: Way) -> list[list[Any]]:
    """The arrays of every case."""
    run = prop.compile([r for its in roots for r in its], backend=way[0], dtype=way[1])
    given = {
        leaf.name: one.data[n] for one in cases for leaf, n in zip(one.inputs, "xy", strict=True)
    }
    with np.errstate(all="ignore"):
        found = list(run({n: a for n, a in given.items() if n in run.inputs}))
    return [found[k : k + 3] for k in range(0, len(found), 3)]


def _told(one: Case, way: Way, what: str) -> str:
    where = f"{one.label} " if one.label else ""
    return f"{where}{way[0]} {way[1]}: {one.formula.text} {what}\n{script(one, way)}"


def script(one: Case, way: Way) -> str:
    """Python text that shows what a case gives."""
    x, y = (one.data[n].tolist() for n in ("x", "y"))
    return f"""
import numpy as np
from numpy import inf, nan
import symprop as prop

x, y = prop.input("x", "point"), prop.input("y", "point")
value = {one.formula.text} + 0.0 * x
first = prop.gradient(prop.sum(value), x)
second = prop.gradient(prop.sum(first), x)
run = prop.compile([value, first, second], backend={way[0]!r}, dtype={way[1]!r})
data = dict(x=np.array({x}, {way[1]!r}), y=np.array({y}, {way[1]!r}))
for found in run({{n: a for n, a in data.items() if n in run.inputs}}):
    print(np.asarray(found).tolist())
"""


def printed(told: str, folder: Path) -> list[str]:
    """What the script of a failure prints, run as a file of its own: an array a line."""
    path = folder / "shown.py"
    path.write_text(told.partition("\n")[2])
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, str(path)], cwd=root, env={"PYTHONPATH": str(root)},
                          capture_output=True, text=True, timeout=120, check=True)  # fmt: skip
    return done.stdout.splitlines()
