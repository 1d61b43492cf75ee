"""The Numba column of the table of functions, compiled, against 60-digit arithmetic."""

from __future__ import annotations

import ast
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from building import Building, call
from test_functions import DTYPES, EXACT, WORK, _arguments, _error_in_ulp

from codegen import numba_helpers
from codegen.build import build_numba
from codegen.functions import (
    FUNCTIONS,
    NUMBA_HELPERS,
    OF_INTEGERS,
    helper_source,
    helpers_needed,
    numba_spelling,
    python_callable,
)
from codegen.numba_text import emit

pytest.importorskip("numba")

SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e308, -1e308, 710.0]


@cache
def compiled(dtype: str) -> Any:
    """One function of an array for each argument of each row; an output for each row."""
    p = Building("table", point=None, dtype=dtype)  # type: ignore[arg-type]
    given = {
        name: [p.declare(f"{name}_{k}", "point") for k in range(row.arity)]
        for name, row in FUNCTIONS.items()
    }
    outputs = [
        p.step(
            f"y_{name}",
            "point",
            "=",
            lambda i, name=name: call(name, *(x[i] for x in given[name])),
            dtype="bool" if row.result == "bool" else dtype,  # type: ignore[arg-type]
        )
        for name, row in FUNCTIONS.items()
    ]
    return build_numba(emit(p.done(*outputs)), "table")


def values(dtype: Any, arguments: dict[str, list[Any]]) -> dict[str, Any]:
    """The table at one list of points for each function, padded to equal length."""
    longest = max(len(a[0]) for a in arguments.values())
    flat = [np.resize(a, longest) for args in arguments.values() for a in args]
    found = compiled(np.dtype(dtype).name)(*flat)
    return {n: y[: len(arguments[n][0])] for n, y in zip(FUNCTIONS, found, strict=True)}


@cache
def measured(dtype: Any) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    arguments = {name: _arguments(row, dtype, 150) for name, row in FUNCTIONS.items()}
    return arguments, values(dtype, arguments)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_numba_spelling_keeps_the_stated_bound(name: str, dtype: Any) -> None:
    arguments, found = measured(dtype)
    row, got = FUNCTIONS[name], found[name]
    assert got.dtype == (np.bool_ if row.result == "bool" else dtype)
    worst, where = 0.0, ""
    for *point, value in zip(*arguments[name], got, strict=True):
        exact = WORK.mpf(EXACT[name](*(WORK.mpf(float(p)) for p in point)))
        error = _error_in_ulp(value, exact, dtype)
        if error > worst:
            worst, where = error, f"{name}{tuple(map(float, point))} = {float(value)!r}"
    bound = row.ulp[DTYPES.index(dtype)]
    assert worst <= bound, f"{where}: {worst:.2f} ulp, stated {bound}"


def test_special_points_agree_with_the_python_column() -> None:
    points = {n: [np.array(SPECIAL)] * row.arity for n, row in FUNCTIONS.items()}
    found = values(np.float64, points)
    for name, row in FUNCTIONS.items():
        want = [float(python_callable(name)(*(s,) * row.arity)) for s in SPECIAL]
        np.testing.assert_allclose(np.asarray(found[name], float), want, 1e-14, 0, err_msg=name)


def test_a_nan_on_either_side_goes_through() -> None:
    one, nan = np.array([2.0, math.nan]), np.array([math.nan, 2.0])
    points = {n: [one, nan][: row.arity] for n, row in FUNCTIONS.items()}
    found = values(np.float64, points)
    for name in ("maximum", "minimum", "power", "strong_mul"):
        assert np.isnan(found[name]).all(), name


def test_strong_mul_ignores_what_a_zero_meets() -> None:
    g = np.array([0.0, -0.0, 2.0, 2.0])
    d = np.array([np.nan, np.inf, np.inf, 3.0])
    points = {n: [g, d][: row.arity] for n, row in FUNCTIONS.items()}
    assert values(np.float64, points)["strong_mul"].tolist() == [0.0, 0.0, math.inf, 6.0]


@pytest.mark.parametrize("name", NUMBA_HELPERS)
def test_helper_stands_alone_in_a_module(name: str) -> None:
    """The text of a helper and of those it needs is all there is to it: math and its neighbours."""
    needed = helpers_needed([name], numba_helpers)
    assert needed[-1] == name
    defined = {"math", "abs", "range"}
    for each in needed:
        source = helper_source(each, numba_helpers)
        assert max(map(len, source.splitlines())) <= 100
        (tree,) = ast.parse(source).body
        assert isinstance(tree, ast.FunctionDef)
        names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
        stored = {n.id for n in names if isinstance(n.ctx, ast.Store)}
        assert {n.id for n in names} <= defined | stored | {a.arg for a in tree.args.args}, each
        defined.add(tree.name)


def test_every_row_has_a_cell_and_every_helper_a_row() -> None:
    cells = {numba_spelling(name) for name in (*FUNCTIONS, *OF_INTEGERS)}
    used = set(helpers_needed(cells, numba_helpers))
    assert used == set(NUMBA_HELPERS)
