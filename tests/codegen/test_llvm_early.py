"""Values moved to where others like them are computed: which are, which are not, and that they
stay the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from codegen.functions import FUNCTIONS
from codegen.llvm.early import AGAIN, early
from codegen.llvm.emit import emit
from codegen.llvm.schedule import native
from codegen.llvm.target import X86_64_AVX512
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret
from codegen.loops.nest import Loops, Part, Store
from codegen.loops.verify import verify
from codegen.loops.walk import inside, loads
from codegen.vector_math import ALIKE, FORMULAS
from tests.codegen.building import Building, Handle, call
from tests.codegen.schedules import arguments


def step(slope: Callable[[Handle, object, object], object], first: str = "tanh") -> Loops:
    """z = 2 x, y = first(z), d = g * slope(z)."""
    p = Building("step", dtype="float64", batch=None, unit=5)
    x, g = p.declare("x", "batch unit"), p.declare("g", "batch unit")
    z = p.step("z", "batch unit", "=", lambda b, u: 2 * x[b, u])
    y = p.step("y", "batch unit", "=", lambda b, u: call(first, z[b, u]))
    d = p.step("d", "batch unit", "=", lambda b, u: g[b, u] * slope(z, b, u))
    return from_program(p.done(y, d))


def parts(loops: Loops) -> list[str]:
    return [s.name for s in loops.body if isinstance(s, Part)]


def reads(loops: Loops, part: str) -> set[str]:
    """The arrays that a part reads."""
    (where,) = [s for s in loops.body if isinstance(s, Part) and s.name == part]
    return {x.buffer for s in inside(where.body) if isinstance(s, Store) for x in loads(s)}


def agrees(before: Loops, after: Loops) -> None:
    verify(after)
    given = arguments(before, 7)
    for a, b in zip(interpret(after, given), interpret(before, given), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("first", "then"), [(a, b) for a in ALIKE for b in ALIKE])
def test_a_function_moves_to_one_of_its_kind(first: str, then: str) -> None:
    before = step(lambda z, b, u: call(then, z[b, u]), first)
    after = early(before)
    moved = ALIKE[first] == ALIKE[then]
    assert parts(after) == (["z", "y", f"{then}_z", "d"] if moved else ["z", "y", "d"])
    assert ("z" in reads(after, "d")) != moved
    agrees(before, after)


def test_a_kind_holds_functions_with_formulas_and_no_kind_one_alone() -> None:
    assert set(ALIKE) <= set(FORMULAS) & set(FUNCTIONS)
    kinds = list(ALIKE.values())
    assert all(kinds.count(kind) > 1 for kind in kinds)


def test_the_largest_part_of_a_value_moves() -> None:
    before = step(lambda z, b, u: 1 - 3 * (z[b, u] * call("sech2", z[b, u]) + 1))
    after = early(before)
    assert parts(after) == ["z", "y", "sech2_z", "d"]
    assert reads(after, "sech2_z") == {"z"}
    assert reads(after, "d") == {"g", "sech2_z"}
    agrees(before, after)


@pytest.mark.parametrize(
    "slope",
    [
        lambda z, b, u: call("exp", z[b, u]),
        lambda z, b, u: call("sech2", z[b, 4 - u]),
        lambda z, b, u: call("sech2", z[b, u]) * call("exp", z[b, u]),
    ],
    ids=["no kin", "elsewhere", "one of two"],
)
def test_what_is_not_cheaper_there_stays(slope: Callable[[Handle, object, object], object]) -> None:
    before = step(slope)
    assert early(before) == before or parts(early(before)) == parts(before)


def through(function: str, sign: int = 1) -> Loops:
    """z = 2x, h = max(z, -9), y = h * sigmoid(3h), w = 3h, d = g * (h * function(w or -w) + 1)."""
    p = Building("through", dtype="float64", batch=None, unit=5)
    x, g = p.declare("x", "batch unit"), p.declare("g", "batch unit")
    z = p.step("z", "batch unit", "=", lambda b, u: 2 * x[b, u])
    h = p.step("h", "batch unit", "=", lambda b, u: call("maximum", z[b, u], -9))
    y = p.step("y", "batch unit", "=", lambda b, u: h[b, u] * call("sigmoid", 3 * h[b, u]))
    w = p.step("w", "batch unit", "=", lambda b, u: 3 * h[b, u])
    d = p.step(
        "d", "batch unit", "=",
        lambda b, u: g[b, u] * (h[b, u] * call(function, w[b, u] if sign > 0 else -w[b, u]) + 1),
    )  # fmt: skip
    return from_program(p.done(y, d))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_value_moves_before_the_arrays_it_was_made_of(sign: int) -> None:
    before = through("sigmoid", sign)
    after = early(before)
    assert parts(after) == ["z", "h", "y", "sigmoid_h", "w", "d"]
    assert reads(after, "sigmoid_h") == {"h"}
    assert reads(after, "d") == {"g", "sigmoid_h"}
    agrees(before, after)


def test_of_another_argument_a_function_is_no_kin() -> None:
    before = through("tanh")
    assert early(before) == before
    scaled = step(lambda z, b, u: call("sech2", 3 * z[b, u]))
    assert early(scaled) == scaled


def test_what_was_made_of_many_operations_is_not_made_again() -> None:
    p = Building("chain", dtype="float64", batch=None, unit=5)
    x, g = p.declare("x", "batch unit"), p.declare("g", "batch unit")
    h = p.step("h", "batch unit", "=", lambda b, u: 2 * x[b, u])

    def long(b: object, u: object) -> object:
        value = h[b, u]
        for k in range(AGAIN):
            value = value + k
        return value

    y = p.step("y", "batch unit", "=", lambda b, u: call("tanh", long(b, u)))
    w = p.step("w", "batch unit", "=", long)
    d = p.step("d", "batch unit", "=", lambda b, u: g[b, u] * call("sech2", w[b, u]))
    before = from_program(p.done(y, d))
    assert early(before) == before


def divisions(slope: bool) -> int:
    """Of y = tanh(x wᵀ), and of sech2(x wᵀ) where it is read as well."""
    p = Building("layer", dtype="float32", batch=64, unit=64, pixel=64)
    x, w = p.declare("x", "batch pixel"), p.declare("w", "unit pixel", "parameter")
    z = p.step("z", "batch unit", "sum pixel", lambda b, u, k: x[b, k] * w[u, k])
    made = [p.step("y", "batch unit", "=", lambda b, u: call("tanh", z[b, u]))]
    if slope:
        made.append(p.step("d", "batch unit", "=", lambda b, u: call("sech2", z[b, u])))
    loops = native(from_program(p.done(*made)), X86_64_AVX512, {})
    return emit(loops, X86_64_AVX512).count(" = fdiv ")


def test_side_by_side_two_of_a_kind_divide_once() -> None:
    """tanh and sech2 have their exponential and their quotient in common."""
    assert divisions(slope=True) == divisions(slope=False) > 0
