"""How a case of ``exact_cases`` is asked of a backend: its disguises, its exact numbers, its error.

In: a case, a backend, a dtype, a disguise. Out: the worst error of value and slope in units in the
last place of the exact numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from exact_cases import MP, Case, plainly, slope_at, value_at

import symprop as prop

BACKENDS = ("numpy", "numba", "native")
DTYPES = ("float64", "float32")
COPIES = 4  # a formula of one number is asked at an array of so many


def _reshaped(e: Any) -> Any:
    """Folded to two axes and unfolded."""
    n = e.shape[0] if e.ndim else 1
    fold = (n // 2, 2) if n % 2 == 0 else (1, n)
    return prop.reshape(prop.reshape(e, fold), (n,) if e.ndim else ())


def _broadcast(e: Any) -> Any:
    """Repeated along a new axis, one of which is taken."""
    return prop.broadcast_to(e, (2, *e.shape))[1]


class _Namer:
    """A name for every subexpression."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, e: Any) -> Any:
        self.count += 1
        return e.named(f"part{self.count}")


class _Keeper:
    """Every subexpression is a result of its own, too."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def __call__(self, e: Any) -> Any:
        self.kept.append(e)
        return e


DISGUISES = ("plain", "renamed", "reshaped", "broadcast", "split", "function")


def _formula(case: Case, disguise: str, variables: list[Any]) -> tuple[Any, list[Any]]:
    """The case's expression in a disguise, and the subexpressions that are results, too."""
    if disguise == "function":
        if case.scalar:
            names = [f"v{k}" for k in range(len(variables))]
            own = eval_free(case, len(names))
            return prop.elementwise("mine", own)(*variables), []
        inside = prop.region("mine")(lambda *v: case.formula(prop, plainly, *v))
        return inside(*variables), []
    keeper = _Keeper()
    wrap: Callable[[Any], Any] = {
        "plain": plainly, "renamed": _Namer(), "reshaped": _reshaped, "broadcast": _broadcast,
        "split": keeper,
    }[disguise]  # fmt: skip
    return case.formula(prop, wrap, *variables), keeper.kept


def eval_free(case: Case, count: int) -> Callable[..., Any]:
    """The formula as a function of so many scalars."""
    if count == 1:
        return lambda v0: case.formula(prop, plainly, v0)
    return lambda v0, v1: case.formula(prop, plainly, v0, v1)


def found(case: Case, backend: str, dtype: str, disguise: str) -> tuple[Any, Any]:
    """What the compiled function gives: the value, and its derivative in the first variable."""
    arrays = [np.array([a] * COPIES if case.scalar else a, dtype) for a in case.at]
    variables = [prop.input(f"x{k}", a.shape) for k, a in enumerate(arrays)]
    value, kept = _formula(case, disguise, variables)
    slope = value
    for _ in range(case.order):
        slope = prop.gradient(prop.sum(slope) if slope.ndim else slope, variables[0])
    roots = [value, slope, *kept]
    compiled = prop.compile(roots, backend=backend, dtype=dtype)
    with np.errstate(all="ignore"):
        results = compiled({f"x{k}": a for k, a in enumerate(arrays)})
    return results[0], results[1]


def exact(case: Case, dtype: str) -> tuple[Any, Any]:
    """The exact value ("any" where it is not asked for) and slope at the point in this dtype."""
    floats = tuple(float(np.array(a, dtype)) for a in case.at) if case.scalar else ()
    value = value_at(case, floats) if case.value is None else case.value
    slope = slope_at(case, floats) if case.slope is None else case.slope
    return value, slope


def ulps(got: Any, wanted: Any, dtype: str) -> float:
    """The error of one float in units in the last place of the exact number."""
    info = np.finfo(dtype)
    want = MP.mpf(wanted)
    limit = MP.mpf(float(info.max)) * (1 + MP.mpf(float(info.eps)) / 4)
    if math.isnan(got):
        return math.inf
    if math.isinf(got) or abs(want) > limit:
        same = math.isinf(got) and abs(want) > limit and (got > 0) == (want > 0)
        return 0.0 if same else math.inf
    exponent = MP.mag(want) - 1 if want else -5000
    low = int(info.minexp)
    unit = MP.ldexp(MP.mpf(1), max(int(exponent), low) - int(info.nmant))
    return float(abs(MP.mpf(float(got)) - want) / unit)


def error(case: Case, backend: str, dtype: str, disguise: str) -> tuple[float, float]:
    """The worst error of the value and of the slope, in ulp."""
    value, slope = found(case, backend, dtype, disguise)
    wanted_value, wanted_slope = exact(case, dtype)
    return _worst(value, wanted_value, dtype), _worst(slope, wanted_slope, dtype)


def _worst(got: Any, wanted: Any, dtype: str) -> float:
    if isinstance(wanted, str):
        return 0.0
    flat = np.asarray(got).reshape(-1).tolist()
    each = wanted if isinstance(wanted, list) else [wanted] * len(flat)
    assert len(flat) == len(each)
    return max(ulps(g, w, dtype) for g, w in zip(flat, each, strict=True))
