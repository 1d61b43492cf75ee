"""Formulas of functions, by enumeration of their table, in the arithmetic of their dtypes."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest

from codegen import vector_math_fits
from codegen.arithmetic import fma as fma_of_numbers
from codegen.dtypes import infer_dtype
from codegen.functions import FUNCTIONS, UnsupportedFunction, python_callable
from codegen.program import Buffer, Call, Load, Number, Round, Scalar, children
from codegen.vector_math import FORMULAS, expand
from codegen.vector_math_fits import FITS, TWO_OVER_PI
from tests import fit_vector_math
from tests.codegen.scalar_arrays import Array, evaluate, fma, mul_high
from tests.codegen.test_functions import DOMAIN, DTYPES, EXACT, _error_in_ulp, _spelled

# What a machine has, or a few instructions of its own are: no formula is needed.
INSTRUCTIONS = (
    "sqrt", "abs", "sign", "floor", "ceil", "round", "maximum", "minimum", "strong_mul", "isnan"
)  # fmt: skip
OF_ONE = [name for name in FORMULAS if FUNCTIONS[name].arity == 1]
PERIODIC = ("sin", "cos", "tan")
WORK = mpmath.mp.clone()
WORK.dps = 400  # sines of the largest numbers need 330
FUSED = (True, False)
Kind = type[np.floating[Any]]


def formula(name: str, dtype: Kind, fused: bool) -> Scalar:
    loads = (Load("x"), Load("y"))[: FUNCTIONS[name].arity]
    return expand(name, loads, np.dtype(dtype).name, fused)  # type: ignore[arg-type]


def by_formula(name: str, fused: bool, *args: Array) -> Array:
    found = evaluate(formula(name, args[0].dtype.type, fused), dict(zip("xy", args, strict=False)))
    assert found.dtype == args[0].dtype
    return found


def stated(name: str, dtype: Kind, fused: bool) -> float:
    row = FORMULAS[name]
    return (row.float32 if dtype is np.float32 else row.float64)[not fused]


def test_every_function_has_a_formula_or_is_an_instruction() -> None:
    assert {*FORMULAS, *INSTRUCTIONS} == set(FUNCTIONS)
    assert not set(FORMULAS) & set(INSTRUCTIONS)


# --- float32: every so manieth of all its numbers -------------------------------------------------


def patterns(stride: int) -> Array:
    """Every ``stride``-th float32 by its bits, NaNs left out, and the last ones of each sign."""
    bits = np.arange(stride // 3, 1 << 32, stride, dtype=np.uint64).astype(np.uint32)
    x = np.concatenate([bits.view(np.float32), np.float32([np.inf, -np.inf, 3.4028235e38])])
    return x[~np.isnan(x)]


def worst_of_float32(name: str, fused: bool, x: Array) -> tuple[float, str]:
    """The largest error in units in the last place, and where: against float64."""
    row, worst, where = FUNCTIONS[name], 0.0, ""
    for part in np.array_split(x, max(1, len(x) >> 22)):
        with np.errstate(all="ignore"):
            exact = _spelled(row)(part.astype(np.float64))
            found = by_formula(name, fused, part)
            unit = np.ldexp(1.0, np.maximum(np.frexp(exact)[1] - 24, -149))
            error = np.abs(found - exact) / unit
        largest = 2.0**128 - 2.0**103  # from here on the nearest float32 is infinite
        same = (np.isnan(found) & np.isnan(exact)) | (found == exact)
        same |= np.isinf(found) & (np.abs(exact) >= largest) & (np.sign(found) == np.sign(exact))
        error = np.where(same, 0, np.where(np.isnan(error), np.inf, error))
        inside = np.isnan(found) | ((found >= row.low) & (found <= row.high))
        assert inside.all(), (name, part[~inside][:3], found[~inside][:3])
        at = int(np.argmax(error))
        if error[at] > worst:
            worst, where = float(error[at]), f"{name}({float(part[at])!r}) = {float(found[at])!r}"
    return worst, where


@pytest.mark.parametrize("name", OF_ONE)
@pytest.mark.parametrize(("fused", "stride"), [(False, 1 << 10), (True, 1 << 13)])
def test_float32_keeps_its_stated_bound(name: str, fused: bool, stride: int) -> None:
    worst, where = worst_of_float32(name, fused, patterns(stride))
    bound = stated(name, np.float32, fused)
    assert 0.6 * bound <= worst <= bound, f"{where}: {worst:.3f} ulp, stated {bound}"


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_ONE)
@pytest.mark.parametrize("fused", FUSED)
def test_float32_keeps_its_stated_bound_at_every_64th_number(name: str, fused: bool) -> None:
    worst, where = worst_of_float32(name, fused, patterns(1 << 6))
    bound = stated(name, np.float32, fused)
    assert worst <= bound, f"{where}: {worst:.3f} ulp, stated {bound}"


# --- float64, and both at their ends, against 400 digits ------------------------------------------


def around(points: Array) -> Array:
    """Each with its neighbours, and their negatives."""
    near = [points]
    for _ in range(3):
        near += [np.nextafter(near[-1], points.dtype.type(np.inf))]
        near += [np.nextafter(near[-2], points.dtype.type(-np.inf))]
    every = np.concatenate(near)
    return np.concatenate([every, -every])


def ends(dtype: Kind) -> Array:
    """Where something begins or ends: ranges, branches of the formulas, subnormal numbers."""
    info = np.finfo(dtype)
    biggest, least = math.log(float(info.max)), math.log(float(info.smallest_subnormal))
    found = [biggest, biggest / 2, -least, -least / 2, 0.5, 0.8, 1, 2, 9.02, 15, 22, 26.6, 40]
    found += [math.log(2) / 2, math.log(2), math.sqrt(0.5), math.sqrt(2), 2.0**20, 80, 104, 746]
    found += [math.sqrt(-least), math.sqrt(-2 * least), math.pi / 4, math.pi / 2, math.pi, 1e5]
    found += [float(info.tiny), float(info.tiny) * 64, float(info.eps), float(info.eps) / 4]
    found += [2.0**-26, 2.0**-55, 1e30, float(info.max) / 4, float(info.smallest_subnormal) * 3]
    # Of all numbers of their dtypes the nearest to a multiple of pi/2 (Kahan; Muller).
    found += [
        16367173.0 * 2.0**72,
        *([6381956970095103.0 * 2.0**797] if dtype is np.float64 else []),
    ]
    return around(np.array(found, dtype))


def wide(dtype: Kind, count: int) -> Array:
    """Random numbers of every size, more of them where functions bend."""
    rng, info = np.random.default_rng(11), np.finfo(dtype)
    sizes = np.exp(rng.uniform(math.log(float(info.tiny)), math.log(float(info.max)), count))
    turns = rng.integers(1, 10**6, count) * (math.pi / 2)
    bent = np.concatenate([rng.uniform(-1.5, 1.5, 2 * count), rng.uniform(-8, 8, 2 * count)])
    far = rng.uniform(-750, 710, count)
    return np.concatenate([sizes, -sizes, turns, bent, far]).astype(dtype)


def in_domain(name: str, x: Array) -> Array:
    least = {"log1p": -1.0}.get(name, 0.0 if name in ("log", "log2", "rsqrt") else -math.inf)
    x = x[x > least]
    return x[DOMAIN[name](x)] if name in ("asin", "acos", "acosh", "atanh") else x


@pytest.mark.parametrize("name", OF_ONE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_formula_agrees_with_400_digits(name: str, dtype: Kind) -> None:
    count = 20 if dtype is np.float32 else 100
    x = in_domain(name, np.concatenate([ends(dtype), wide(dtype, count)]))
    WORK.dps = 400 if name in PERIODIC else 50
    exact = [WORK.mpf(EXACT[name](WORK.mpf(float(p)))) for p in x]
    for fused in FUSED:
        found = by_formula(name, fused, x)
        errors = [_error_in_ulp(v, e, dtype) for v, e in zip(found, exact, strict=True)]
        at = int(np.argmax(errors))
        where = f"{name}({float(x[at])!r}) = {float(found[at])!r}, with Fma: {fused}"
        bound = stated(name, dtype, fused)
        assert errors[at] <= bound, f"{where}: {errors[at]:.3f} ulp, stated {bound}"


@pytest.mark.parametrize("name", OF_ONE)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fused", FUSED)
def test_ends_of_the_line(name: str, dtype: Kind, fused: bool) -> None:
    """Zeros, infinities, NaN and points outside of the domain, signs of zeros included."""
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, -2.0], dtype)
    found = by_formula(name, fused, x)
    with np.errstate(all="ignore"):
        expected = _spelled(FUNCTIONS[name])(x)
    close = np.isclose(found, expected, rtol=4 * np.finfo(dtype).eps, atol=0, equal_nan=True)
    assert close.all(), (found, expected)
    zero = (found == 0) & (x == 0)
    assert np.array_equal(np.signbit(found[zero]), np.signbit(x[zero])), found


@pytest.mark.parametrize("name", ["sin", "tanh", "erf"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_odd_functions_are_odd_to_the_last_bit(name: str, dtype: Kind) -> None:
    x = wide(dtype, 200)
    assert np.array_equal(by_formula(name, True, x), -by_formula(name, True, -x))


# --- x**y -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fused", FUSED)
def test_power_keeps_its_stated_bound(dtype: Kind, fused: bool) -> None:
    rng = np.random.default_rng(2)
    most = math.log(float(np.finfo(dtype).max))
    x = np.exp(np.concatenate([rng.uniform(-most, most, 300), rng.normal(size=300) * 1e-3]))
    y = rng.uniform(-1.03, 1.02, 600) * most / np.abs(np.log(x))
    y[::3] = rng.uniform(-8, 8, 200)
    x, y = x.astype(dtype), y.astype(dtype)
    found = by_formula("power", fused, x, y)
    WORK.dps = 60
    for a, b, v in zip(x, y, found, strict=True):
        error = _error_in_ulp(v, WORK.power(WORK.mpf(float(a)), WORK.mpf(float(b))), dtype)
        assert error <= stated("power", dtype, fused), (a, b, v, error)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fused", FUSED)
def test_power_of_ends_is_that_of_c(dtype: Kind, fused: bool) -> None:
    info = np.finfo(dtype)
    odd = 2.0 ** (info.nmant + 1) - 1
    some = [0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 2.5, -2.5, np.inf, -np.inf, np.nan]
    some += [odd, -odd, odd * 2, 1e30, -1e30, float(info.smallest_subnormal), -float(info.tiny)]
    x, y = (m.ravel() for m in np.meshgrid(np.array(some, dtype), np.array(some, dtype)))
    found = by_formula("power", fused, x, y)
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), y.astype(np.float64)).astype(dtype)
        near = np.abs(found - expected) <= np.spacing(np.abs(expected))
    same = (found == expected) & (np.signbit(found) == np.signbit(expected))
    right = same | near | (np.isnan(found) & np.isnan(expected))
    assert right.all(), (x[~right], y[~right], found[~right], expected[~right])


# --- the trees ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fused", FUSED)
def test_formula_is_made_of_the_simplest_operations(name: str, dtype: Kind, fused: bool) -> None:
    """No calls but of square roots, no roundings (old machines have none), Fma only where asked;
    every node has a dtype that is found by looking at a few others."""
    kind = np.dtype(dtype).name
    buffers = {n: Buffer(n, (), (), kind, "input") for n in "xy"}  # type: ignore[arg-type]
    root = formula(name, dtype, fused)
    nodes: dict[int, Scalar] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if id(node) not in nodes:
            nodes[id(node)] = node
            stack += children(node)
    found = {type(n).__name__ for n in nodes.values()}
    assert Round.__name__ not in found
    assert {n.function for n in nodes.values() if isinstance(n, Call)} <= {"sqrt"}
    assert ("Fma" in found) == (fused and name != "rsqrt")  # which has nothing to fuse
    assert len(nodes) < 700
    for node in nodes.values():
        if not isinstance(node, Number):
            infer_dtype(node, buffers, kind)  # type: ignore[arg-type]


def test_what_cannot_be_expanded_says_so() -> None:
    x = Load("x")
    with pytest.raises(UnsupportedFunction, match="no formula of the function 'floor'"):
        expand("floor", (x,), "float32")
    with pytest.raises(ValueError, match="power takes 2 arguments, not 1"):
        expand("power", (x,), "float32")
    with pytest.raises(ValueError, match="exp is computed in float32 or float64, not in int64"):
        expand("exp", (x,), "int64")


# --- where the numbers come from ------------------------------------------------------------------


def test_fits_are_what_the_script_writes() -> None:
    with open(vector_math_fits.__file__, encoding="utf-8") as file:
        assert file.read() == fit_vector_math.file_text()


def test_fits_are_as_good_as_their_dtype() -> None:
    for (name, dtype), fit in FITS.items():
        assert fit.error < (2.0**-25 if dtype == "float32" else 2.0**-54.5), name


def test_two_over_pi_reaches_the_largest_float64() -> None:
    assert len(TWO_OVER_PI) * 64 - 64 >= 1024 + 192 - 53


# --- the evaluator that all of this rests on ------------------------------------------------------


def numbers(dtype: Kind, count: int, seed: int) -> Array:
    """Floats of random bits, and pairs that nearly cancel."""
    bits = np.uint32 if dtype is np.float32 else np.uint64
    rng = np.random.default_rng(seed)
    found = rng.integers(0, np.iinfo(bits).max, count, bits, endpoint=True).view(dtype)
    found[::2] = rng.uniform(-4, 4, len(found[::2]))
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_fma_is_rounded_once(dtype: Kind) -> None:
    a, b, c = (numbers(dtype, 4000, seed) for seed in range(3))
    with np.errstate(all="ignore"):
        c[1::3] = -(a * b)[1::3]
        found = fma(a, b, c)
        for x, y, z, got in zip(a, b, c, found, strict=True):
            if np.isfinite([x, y, z]).all():
                exact = mpmath.mpf(float(x)) * float(y)
                with mpmath.workprec(5000):
                    exact = mpmath.mpf(float(x)) * mpmath.mpf(float(y)) + mpmath.mpf(float(z))
                    right = dtype(fma_of_numbers(float(x), float(y), float(z)))
                    if dtype is np.float32 and np.isfinite(right):
                        beside = [np.nextafter(right, dtype(s)) for s in (-np.inf, np.inf)]
                        gaps = [abs(mpmath.mpf(float(v)) - exact) for v in (got, right, *beside)]
                        assert gaps[0] == min(gaps), (x, y, z, got)
                        continue
                assert got == right, (x, y, z, got, right)


def test_mul_high_is_the_upper_half() -> None:
    rng = np.random.default_rng(0)
    for dtype, width in ((np.uint32, 32), (np.uint64, 64)):
        top = np.iinfo(dtype).max
        a, b = (rng.integers(0, top, 500, dtype, endpoint=True) for _ in range(2))
        a[:2] = b[:2] = top
        got = mul_high(a, b, width).tolist()
        assert got == [x * y >> width for x, y in zip(a.tolist(), b.tolist(), strict=True)]


@pytest.mark.parametrize("name", OF_ONE)
def test_formula_of_float64_agrees_with_the_interpreters(name: str) -> None:
    x = in_domain(name, wide(np.float64, 50))
    expected = [python_callable(name)(v) for v in x.tolist()]
    assert np.allclose(by_formula(name, True, x), expected, rtol=3e-15, atol=0)
