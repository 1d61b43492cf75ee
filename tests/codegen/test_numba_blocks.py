"""Sums in eights and shared functions: the same bits as the default schedule, in a better text."""

from __future__ import annotations

import re

import numpy as np
import pytest
from building import Building, call
from numpy_checks import arguments
from test_numba_text import plain_python

from codegen.build import build_numba
from codegen.loops import default
from codegen.loops.from_program import from_program
from codegen.loops.nest import Call, Loops
from codegen.loops.verify import verify
from codegen.loops.walk import inside
from codegen.numba_blocks import blocked
from codegen.numba_kernels import ENOUGH, shared
from codegen.numba_text import emit_loops
from codegen.program import Program

pytest.importorskip("numba")


def product(inner: int | None, outer: int = 6) -> Program:
    """y = x W, with sums over ``inner`` (or over the batch)."""
    p = Building("f", batch=None, unit=outer, pixel=inner or 5)
    w = p.declare("w", "pixel unit")
    if inner is None:
        d = p.declare("d", "batch pixel")
        x = p.declare("x", "batch unit")
        return p.done(p.step("y", "pixel unit", "sum batch", lambda i, j, b: d[b, i] * x[b, j]))
    x = p.declare("x", "batch pixel")
    return p.done(p.step("y", "batch unit", "sum pixel", lambda b, u, k: x[b, k] * w[k, u]))


def layers(count: int) -> Program:
    """So many equal layers with an activation."""
    p = Building("f", batch=None, wide=9, unit=9)
    h = p.declare("x", "batch wide")
    weights = [p.declare(f"w{k}", "wide unit") for k in range(count)]
    for k, w in enumerate(weights):
        z = p.step(f"z{k}", "batch unit", "sum wide", lambda b, u, i, h=h, w=w: h[b, i] * w[i, u])
        h = p.step(f"h{k}", "batch wide", "=", lambda b, u, z=z: call("maximum", z[b, u], 0))
    return p.done(h)


def outputs(loops: Loops, program: Program, batch: int) -> np.ndarray:
    verify(loops)
    given = arguments(program, 3, {"batch": batch})
    with plain_python():
        found = build_numba(emit_loops(loops), program.name)(*given.values())
    assert isinstance(found, np.ndarray)
    return found


@pytest.mark.parametrize("batch", [0, 1, 7, 8, 21])
@pytest.mark.parametrize("inner", [None, 1, 4, 12, 13, 16, 20])
def test_sums_in_eights_do_not_change_a_bit(inner: int | None, batch: int) -> None:
    program = product(inner)
    loops = default.scheduled(from_program(program))
    assert np.array_equal(outputs(blocked(loops), program, batch), outputs(loops, program, batch))


def test_a_long_sum_adds_eight_terms_to_a_variable() -> None:
    text = emit_loops(blocked(default.scheduled(from_program(product(20)))))
    assert re.search(
        r"for unit in range\(6\):\n +sum_y = y\[batch, unit\]\n +for \w+_in_block in range\(8\):\n"
        r" +sum_y \+= \([^)]*\)\n +y\[batch, unit\] = sum_y\n",
        text,
    ), text


def test_terms_left_over_are_counted_from_where_they_begin() -> None:
    text = emit_loops(blocked(default.scheduled(from_program(product(None)))))
    assert "for batch in range(8 * (batch_size // 8), batch_size):" in text


def calls(loops: Loops) -> list[str]:
    return [s.kernel for s in inside(loops.body) if isinstance(s, Call)]


def test_equal_layers_share_one_function() -> None:
    program = layers(ENOUGH + 1)
    loops = blocked(default.scheduled(from_program(program)))
    made = shared(loops)
    assert len(calls(made)) == ENOUGH + 1
    assert len(set(calls(made))) == len(made.kernels) == 1
    assert np.array_equal(outputs(made, program, 5), outputs(loops, program, 5))


def test_few_equal_layers_stand_where_they_are() -> None:
    loops = blocked(default.scheduled(from_program(layers(ENOUGH - 1))))
    assert shared(loops) is loops
