"""What each backend gives, held against 60 digits and the bound of rounding.

In: a loss and its gradients, a point, exact values. Out: for each result, backend and
dtype, the largest error as a share of its bound.

Guarantees: the function is the one that a user compiles; an error of at most `SLACK` times what
rounding every operation once can cost (`symprop.condition`) has a share of at most 1. Where a
comparison is too close to call, or a float may overflow on the way, nothing is held against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from symprop.backends import BACKENDS, check_backend
from symprop.checks.point import Point
from symprop.condition import condition
from symprop.expression import Expr
from symprop.graph import Leaf

__all__ = ["WIDTHS", "available", "shares"]

SLACK = 8  # units in the last place that an operation of a backend may be off
WIDTHS = ("float32", "float64")
DIGITS = 30  # of the bounds


def available(asked: Sequence[str] | None) -> list[str]:
    """The backends asked for, or those that can run here."""
    if asked is not None:
        for name in asked:
            check_backend(name)
        return list(asked)
    return [n for n, b in BACKENDS.items() if not b.device and all(map(find_spec, b.needs))]


def shares(
    results: Sequence[Expr], point: Point, exact: Sequence[Any], backends: Sequence[str]
) -> list[dict[tuple[str, str], float]]:
    """A mapping a result: by backend and dtype, the largest error as a share of the bound."""
    import symprop as prop

    limits = {dtype: _limits(results, point, dtype) for dtype in WIDTHS}
    found: list[dict[tuple[str, str], float]] = [{} for _ in results]
    for backend in backends:
        for dtype in WIDTHS:
            run = prop.compile(list(results), backend=backend, dtype=dtype)
            with np.errstate(all="ignore"):
                values = run(_arrays(point.values, run.inputs))
            for k, value in enumerate(values):
                found[k][backend, dtype] = _share(value, exact[k], limits[dtype][k])
    return found


def _limits(results: Sequence[Expr], point: Point, dtype: str) -> list[Any]:
    """How far off each element may be; anything goes where a float may overflow on the way, or
    take another branch."""
    form = np.finfo(dtype)
    eps, least, most = float(form.eps), float(form.tiny), float(form.max)
    bounds = condition(results, point.given, DIGITS, eps, least)
    found = []
    for array in bounds.values:
        out = np.empty(np.shape(array))
        for at in np.ndindex(*out.shape):
            b = array[at]
            known = not bounds.doubt and b.peak < most
            out[at] = SLACK * eps * float(b.error) + least if known else np.inf
        found.append(out)
    return found


def _arrays(values: Mapping[Leaf, Any], names: Sequence[str]) -> dict[str, Any]:
    """The point's arrays for a compiled function."""
    return {leaf.name: array for leaf, array in values.items() if leaf.name in names}


def _share(value: Any, exact: Any, limit: Any) -> float:
    """The largest error of an array as a share of its limit; infinite where a number is none."""
    found = np.asarray(value, np.float64)
    worst = 0.0
    for at in np.ndindex(*found.shape):
        x = float(found[at])
        if np.isfinite(limit[at]):
            worst = max(worst, float(abs(exact[at] - x)) / limit[at] if np.isfinite(x) else np.inf)
    return worst
