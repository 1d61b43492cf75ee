"""The table of functions, by enumeration: every row, each dtype, against 60-digit arithmetic."""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from codegen import numpy_helpers
from codegen.functions import (
    FUNCTIONS,
    NUMPY_HELPERS,
    Function,
    UnsupportedFunction,
    function,
    helper_source,
    helpers_needed,
    numpy_spelling,
    python_callable,
)

DTYPES: tuple[type[np.floating[Any]], ...] = (np.float64, np.float32)
WORK = mpmath.mp.clone()
WORK.dps = 60
TAIL = 2000  # past it every exp here is 0 or 1 in float64, and mpmath need not be asked


def _clipped(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: f(max(min(x, WORK.mpf(TAIL)), WORK.mpf(-TAIL)))


def _softplus(x: Any) -> Any:
    return max(x, WORK.mpf(0)) + WORK.log1p(WORK.exp(-min(abs(x), WORK.mpf(TAIL))))


EXACT: dict[str, Callable[..., Any]] = {
    "exp": WORK.exp,
    "expm1": WORK.expm1,
    "log": WORK.log,
    "log1p": WORK.log1p,
    "sqrt": WORK.sqrt,
    "sin": WORK.sin,
    "cos": WORK.cos,
    "tanh": _clipped(WORK.tanh),
    "sech2": _clipped(lambda x: WORK.sech(x) ** 2),
    "sigmoid": _clipped(lambda x: 1 / (1 + WORK.exp(-x))),
    "log_sigmoid": lambda x: -_softplus(-x),
    "softplus": _softplus,
    "erf": _clipped(WORK.erf),
    "erfc": _clipped(WORK.erfc),
    "normal_cdf": _clipped(lambda x: WORK.erfc(-x / WORK.sqrt(2)) / 2),
    "normal_pdf": _clipped(lambda x: WORK.exp(-x * x / 2) / WORK.sqrt(2 * WORK.pi)),
    "exp2": lambda x: WORK.mpf(2) ** x,
    "log2": lambda x: WORK.log(x, 2),
    "tan": WORK.tan,
    "asin": WORK.asin,
    "acos": WORK.acos,
    "atan": WORK.atan,
    "atan2": WORK.atan2,
    "sinh": WORK.sinh,
    "cosh": WORK.cosh,
    "asinh": lambda x: WORK.sign(x) * WORK.log1p(abs(x) + x * x / (1 + WORK.sqrt(1 + x * x))),
    "acosh": lambda x: WORK.log1p((x - 1) + WORK.sqrt((x - 1) * (x + 1))),
    "atanh": lambda x: WORK.sign(x) * WORK.log1p(2 * abs(x) / (1 - abs(x))) / 2,
    "cbrt": lambda x: WORK.sign(x) * WORK.cbrt(abs(x)),
    "rsqrt": lambda x: 1 / WORK.sqrt(x),
    "hypot": lambda x, y: WORK.sqrt(x * x + y * y),
    "logaddexp": lambda x, y: max(x, y) + WORK.log1p(WORK.exp(-min(abs(x - y), WORK.mpf(TAIL)))),
    "abs": abs,
    "sign": WORK.sign,
    "floor": WORK.floor,
    "ceil": WORK.ceil,
    "round": WORK.nint,
    "maximum": max,
    "minimum": min,
    "power": WORK.power,
    "strong_mul": lambda g, d: g * d,
    "isnan": lambda x: WORK.mpf(0),
}
DOMAIN: dict[str, Callable[[Any], Any]] = {
    "log": lambda x: x > 0,
    "log1p": lambda x: x > -1,
    "sqrt": lambda x: x >= 0,
    "sin": lambda x: abs(x) < 1e5,
    "cos": lambda x: abs(x) < 1e5,
    "tan": lambda x: abs(x) < 1e5,
    "log2": lambda x: x > 0,
    "asin": lambda x: abs(x) <= 1,
    "acos": lambda x: abs(x) <= 1,
    "acosh": lambda x: x >= 1,
    "atanh": lambda x: abs(x) < 1,
    "rsqrt": lambda x: x > 0,
    "exp2": lambda x: abs(x) < 1e5,
    "sinh": lambda x: abs(x) < 1e5,
    "cosh": lambda x: abs(x) < 1e5,
}


OVERFLOWING = ("exp", "expm1", "exp2", "sinh", "cosh", "hypot", "logaddexp", "power", "strong_mul")


def _points(dtype: type[np.floating[Any]], count: int) -> np.ndarray:
    """Wide random points, dense near 0, near 1, and where exp leaves the range; and extremes."""
    rng = np.random.default_rng(7)
    info = np.finfo(dtype)
    edge = float(np.log(float(info.max)))
    extreme = [0.0, 0.5, 1.0, 26.5, 27.2, 37.5, 38.5, 1e4, 1e30, float(info.tiny), float(info.max)]
    spread = rng.normal(size=count) * 10.0 ** rng.uniform(math.log10(float(info.tiny)), 1, count)
    parts = (
        rng.uniform(-edge, edge, count),
        rng.uniform(-40, 40, count),
        rng.uniform(-6, 6, 2 * count),
        spread,
        np.array(extreme),
        -np.array(extreme),
    )
    return np.concatenate(parts).astype(dtype)


def _spelled(row: Function) -> Callable[..., Any]:
    name = numpy_spelling(row.name)
    found = getattr(np, name[3:]) if name.startswith("np.") else getattr(numpy_helpers, name)
    assert callable(found)
    return found  # type: ignore[no-any-return]


def _arguments(row: Function, dtype: type[np.floating[Any]], count: int) -> list[np.ndarray]:
    x = _points(dtype, count)
    keep = DOMAIN.get(row.name)
    if keep is not None:
        x = x[keep(x)]
    if row.name == "power":
        x = np.abs(x[(np.abs(x) < 1e3) & (np.abs(x) > 1e-3)])
        return [x, np.random.default_rng(3).uniform(-8, 8, len(x)).astype(dtype)]
    return [x, np.random.default_rng(3).permutation(x)][: row.arity]


def _error_in_ulp(got: Any, exact: Any, dtype: type[np.floating[Any]]) -> float:
    info = np.finfo(dtype)
    if abs(exact) > WORK.mpf(float(info.max)):
        return 0.0 if not np.isfinite(got) or abs(got) == info.max else math.inf
    if exact == 0:
        return 0.0 if got == 0 else math.inf
    exponent = int(WORK.floor(WORK.log(abs(exact), 2)))
    if WORK.mpf(2) ** exponent > abs(exact):
        exponent -= 1
    step = WORK.mpf(2) ** max(exponent - info.nmant, info.minexp - info.nmant)
    return float(abs(WORK.mpf(float(got)) - exact) / step) if np.isfinite(got) else math.inf


def test_every_row_has_an_exact_definition_here() -> None:
    assert list(EXACT) == list(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_spelling_keeps_its_stated_bound(name: str, dtype: type[np.floating[Any]]) -> None:
    row = FUNCTIONS[name]
    args = _arguments(row, dtype, 150)
    overflows = name in OVERFLOWING  # these may: their value does
    with np.errstate(all="raise", under="ignore", over="ignore" if overflows else "raise"):
        got = _spelled(row)(*args)
    assert got.dtype == (np.bool_ if row.result == "bool" else dtype)
    bound, info = row.ulp[DTYPES.index(dtype)], np.finfo(dtype)
    worst, where = 0.0, ""
    for *point, value in zip(*args, got, strict=True):
        exact = WORK.mpf(EXACT[name](*(WORK.mpf(float(p)) for p in point)))
        error = _error_in_ulp(value, exact, dtype)
        if error > worst:
            worst, where = error, f"{name}{tuple(map(float, point))} = {float(value)!r}"
        assert row.low - bound * info.epsneg <= value <= row.high + bound * info.eps or overflows
    assert worst <= bound, f"{where}: {worst:.2f} ulp, stated {bound}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_python_column(name: str) -> None:
    row = FUNCTIONS[name]
    args = _arguments(row, np.float64, 40)
    for point in zip(*(a.tolist() for a in args), strict=True):
        exact = WORK.mpf(EXACT[name](*map(WORK.mpf, point)))
        error = _error_in_ulp(python_callable(name)(*point), exact, np.float64)
        assert error <= max(4.0, row.ulp[0]), (point, error)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_points(name: str) -> None:
    """NaN goes in and comes out; infinities and poles agree between the two columns."""
    row = FUNCTIONS[name]
    special = [math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e308, -1e308, 710.0]
    for point in [(s,) * row.arity for s in special] + [(0.0, -1.0), (2.0, math.nan)][
        : 2 * (row.arity - 1)
    ]:
        by_python = python_callable(name)(*point)
        with np.errstate(all="ignore"):
            by_numpy = float(_spelled(row)(*map(np.float64, point)))
        assert np.isclose(by_python, by_numpy, rtol=1e-14, atol=0, equal_nan=True), point
        if math.isnan(point[0]) and name != "isnan":
            assert math.isnan(by_python)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_shapes_and_kinds_of_argument(name: str) -> None:
    """Python numbers, 0-d arrays, empty arrays, any layout; arguments stay as they were."""
    row = FUNCTIONS[name]
    call = _spelled(row)
    some = 1.5 if name == "acosh" else 0.5
    low, high = {"acosh": (1.25, 2)}.get(name, (0.25, 1 if name in DOMAIN else 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.asarray(call(*(some,) * row.arity)).shape == ()
        for dtype in DTYPES:
            one = call(*(dtype(some),) * row.arity)
            assert np.asarray(one).dtype == (np.bool_ if row.result == "bool" else dtype)
            assert np.asarray(call(*(np.array(some, dtype),) * row.arity)).shape == ()
            assert call(*(np.ones((0, 3), dtype),) * row.arity).shape == (0, 3)
            x = np.linspace(low, high, 24, endpoint=False, dtype=dtype).reshape(4, 6).T[::-1, ::2]
            before = x.copy()
            rtol = 8 * np.finfo(dtype).eps
            assert np.allclose(call(*(x,) * row.arity), call(*(before,) * row.arity), rtol, 0)
            assert np.array_equal(x, before)


def test_strong_mul_ignores_what_a_zero_meets() -> None:
    g = np.array([0.0, -0.0, 2.0, 2.0])
    with np.errstate(all="raise"):
        got = _spelled(FUNCTIONS["strong_mul"])(g, np.array([np.nan, np.inf, np.inf, 3.0]))
    assert got.tolist() == [0.0, 0.0, math.inf, 6.0]


def test_unknown_function_says_so() -> None:
    with pytest.raises(UnsupportedFunction, match="no scalar function 'besselj'; known: exp"):
        function("besselj")


@pytest.mark.parametrize("name", NUMPY_HELPERS)
def test_helper_stands_alone_in_a_module(name: str) -> None:
    """The text of a helper and of those it needs is all there is to it: np and its neighbours."""
    needed = helpers_needed([name])
    assert needed[-1] == name
    defined = {"np", "range"}
    for each in needed:
        source = helper_source(each)
        assert max(map(len, source.splitlines())) <= 100
        (tree,) = ast.parse(source).body
        assert isinstance(tree, ast.FunctionDef)
        names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
        stored = {n.id for n in names if isinstance(n.ctx, ast.Store)}
        assert {n.id for n in names} <= defined | stored | {a.arg for a in tree.args.args}, each
        defined.add(tree.name)


def test_helpers_come_in_one_order() -> None:
    assert helpers_needed(["normal_cdf", "np.exp", "erf"]) == (
        "erfcx",
        "erf",
        "exp_square",
        "normal_cdf",
    )
    assert helpers_needed(["erf", "normal_cdf"]) == helpers_needed(["normal_cdf", "erf"])
