"""Comparisons that read what a value was cut off to: which do, which do not, and that values stay,
those of NaN, infinities and both zeros too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from codegen.llvm.compared import compared
from codegen.llvm.schedule import native
from codegen.llvm.target import X86_64_AVX512
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret
from codegen.loops.nest import Loops, Part, Store
from codegen.loops.verify import verify
from codegen.loops.walk import inside, loads
from tests.codegen.building import Building, Handle, call, select

Asks = Callable[[Handle, Any, Any], Any]
EDGES = (np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, 1.0, 2.0, 5e-324, -1.0)


def step(asks: Asks, cut: str = "maximum", bound: int = 0, before: bool = False) -> Loops:
    """h = 1 x, y = cut(h, bound), d = g where h is asked for, in this order or d before y."""
    p = Building("step", dtype="float64", batch=None, unit=5)
    x, g = p.declare("x", "batch unit"), p.declare("g", "batch unit")
    h = p.step("h", "batch unit", "=", lambda b, u: 1 * x[b, u])

    def y() -> Handle:
        return p.step("y", "batch unit", "=", lambda b, u: call(cut, h[b, u], bound))

    def d() -> Handle:
        return p.step("d", "batch unit", "=", lambda b, u: select(asks(h, b, u), g[b, u], 0))

    made = (d(), y()) if before else (y(), d())
    return from_program(p.done(*made))


def asked(loops: Loops) -> set[str]:
    """The arrays that d is made of."""
    (d,) = [s for s in loops.body if isinstance(s, Part) and s.name == "d"]
    return {x.buffer for s in inside(d.body) if isinstance(s, Store) for x in loads(s)}


def agrees(before: Loops, after: Loops) -> None:
    verify(after)
    given = {"x": np.array(EDGES).reshape(2, 5), "g": np.arange(1.0, 11).reshape(2, 5)}
    for a, b in zip(interpret(after, given), interpret(before, given), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("bound", "than"), [(0, 0), (0, 1), (-1, 0), (1, 1)], ids=lambda n: str(n))
def test_what_exceeds_the_bound_is_asked_of_the_value_that_was_cut(bound: int, than: int) -> None:
    before = step(lambda h, b, u: h[b, u] > than, bound=bound)
    after = compared(before)
    assert asked(after) == {"y", "g"}
    agrees(before, after)


@pytest.mark.parametrize(
    "before",
    [
        step(lambda h, b, u: h[b, u] > 0, bound=1),
        step(lambda h, b, u: h[b, u] > 0, cut="minimum"),
        step(lambda h, b, u: h[b, u] < 0),
        step(lambda h, b, u: h[b, u] > 0, before=True),
    ],
    ids=["less than the bound", "another function", "another question", "asked before"],
)
def test_any_other_comparison_stays(before: Loops) -> None:
    assert compared(before) == before


def test_it_holds_elsewhere_in_the_array_too() -> None:
    before = step(lambda h, b, u: h[b, 4 - u] > 0)
    after = compared(before)
    assert asked(after) == {"y", "g"}
    agrees(before, after)


def test_a_product_that_only_its_relu_needs_is_not_stored() -> None:
    p = Building("layer", dtype="float32", batch=64, unit=64, pixel=64)
    x, w = p.declare("x", "batch pixel"), p.declare("w", "unit pixel", "parameter")
    g = p.declare("g", "batch unit")
    h = p.step("h", "batch unit", "sum pixel", lambda b, u, k: x[b, k] * w[u, k])
    y = p.step("y", "batch unit", "=", lambda b, u: call("maximum", h[b, u], 0))
    d = p.step("d", "batch unit", "=", lambda b, u: select(h[b, u] > 0, g[b, u], 0))
    made = native(from_program(p.done(y, d)), X86_64_AVX512, {})
    assert "h" not in {b.name for b in made.arrays}
