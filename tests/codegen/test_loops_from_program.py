"""PROGRAM to nests: every kind of step, its form as printed, and the values of the program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import codegen
from codegen import interpret as program_interpreter
from codegen.functions import UnsupportedFunction
from codegen.index import Guard, Ix, evaluate, gather
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret
from codegen.loops.listing import listing
from codegen.loops.verify import verify
from codegen.program import Block, Library, Program, Scan
from codegen.verify import verify as verify_program
from tests.codegen.building import Building, at_least, call, where

Make = Callable[[], Program]
PROGRAMS: dict[str, Make] = {}


def program(make: Make) -> Make:
    PROGRAMS[make.__name__] = make
    return make


def building(**axes: int | None) -> Building:
    return Building("f", dtype="float64", **{"batch": None, "i": 4, "j": 3, **axes})


@program
def a_map() -> Program:
    p = building()
    x, b = p.declare("x", "batch i"), p.declare("b", "i")
    return p.done(p.step("y", "batch i", "=", lambda n, i: x[n, i] * 2 + b[i]))


@program
def a_map_where_a_guard_holds() -> Program:
    p = building()
    x = p.declare("x", "batch i")
    y = p.step(
        "y", "batch i", "=", lambda n, i: 1 / x[n, i], guards=lambda n, i: where(at_least(i, 2))
    )
    return p.done(y)


@program
def a_product() -> Program:
    p = building()
    x, w = p.declare("x", "batch i"), p.declare("w", "j i")
    return p.done(p.step("y", "batch j", "sum i", lambda n, j, i: x[n, i] * w[j, i]))


@program
def a_sum_of_everything() -> Program:
    p = building()
    x = p.declare("x", "batch i")
    return p.done(p.step("y", "", "sum batch i", lambda n, i: x[n, i]))


@program
def extrema_of_integers_and_truth() -> Program:
    p = building()
    x = p.declare("x", "batch i", dtype="int32")
    low = p.step("low", "batch", "min i", lambda n, i: x[n, i], dtype="int32")
    some = p.step("some", "batch", "max i", lambda n, i: x[n, i] > 0, dtype="bool")
    all_ = p.step("all_positive", "batch", "min i", lambda n, i: x[n, i] > 0, dtype="bool")
    return p.done(low, some, all_)


@program
def a_guard_on_the_target_alone() -> Program:
    p = building()
    x = p.declare("x", "batch i")
    y = p.step(
        "y", "batch", "sum i", lambda n, i: x[n, i], guards=lambda n, i: where(at_least(n, 1))
    )
    return p.done(y)


@program
def a_guard_on_the_first_reduced_loop() -> Program:
    p = Building("f", dtype="float64", i=4)
    x = p.declare("x", "i i")

    def off_the_first(i: Ix, k: Ix, m: Ix) -> tuple[Guard, ...]:
        return where(at_least(2 * k, i), at_least(5, 2 * m))

    return p.done(
        p.step("y", "i", "sum i i", lambda i, k, m: x[k, m] * x[m, i], guards=off_the_first)
    )


@program
def a_sum_up_to_the_diagonal() -> Program:
    p = Building("f", dtype="float64", i=4)
    x = p.declare("x", "i i")
    y = p.step("y", "i", "sum i", lambda i, k: x[i, k], guards=lambda i, k: where(at_least(i, k)))
    return p.done(y)


@program
def a_window_with_a_border() -> Program:
    p = building(r=3)
    x, w = p.declare("x", "batch i"), p.declare("w", "r")

    def inside(n: Ix, i: Ix, r: Ix) -> tuple[Guard, ...]:
        return where(at_least(i + r, 1), at_least(p.axes["i"], i + r))

    y = p.step("y", "batch i", "sum r", lambda n, i, r: x[n, i + r - 1] * w[r], guards=inside)
    return p.done(y)


@program
def a_cumulative_sum() -> Program:
    p = building()
    x = p.declare("x", "batch i j")
    y = p.step(
        "y", "batch i j", "sum i", lambda n, i, j, k: x[n, k, j],
        guards=lambda n, i, j, k: where(at_least(i, k)),
    )  # fmt: skip
    return p.done(y)


@program
def a_cumulative_sum_from_the_end() -> Program:
    p = building()
    x = p.declare("x", "batch i")
    y = p.step(
        "y", "batch i", "sum i", lambda n, i, k: x[n, k],
        guards=lambda n, i, k: where(at_least(k, i)),
    )  # fmt: skip
    return p.done(y)


@program
def a_scatter() -> Program:
    p = building()
    x = p.declare("x", "batch j")
    y = p.declare("y", "batch", dtype="int64", classes=4)
    table = p.step(
        "table", "batch", "sum j", lambda n, j: x[n, j], target_axes="i j",
        index=lambda n, j: (gather(y.source(), (n,)), j),
    )  # fmt: skip
    top = p.step(
        "top", "batch", "max j", lambda n, j: x[n, j], target_axes="i",
        index=lambda n, j: (gather(y.source(), (n,)),),
    )  # fmt: skip
    return p.done(table, top)


@program
def a_scatter_whose_sums_are_wider() -> Program:
    p = building()
    x = p.declare("x", "batch", dtype="float32")
    y = p.declare("y", "batch", dtype="int64", classes=4)
    table = p.step(
        "table", "", "sum batch", lambda n: x[n], target_axes="i", dtype="float32",
        index=lambda n: (gather(y.source(), (n,)),),
    )  # fmt: skip
    p.steps[-1] = replace(p.steps[-1], accumulator="float64")
    return p.done(table)


@program
def part_of_a_target() -> Program:
    p = building()
    x = p.declare("x", "batch j")
    y = p.step("y", "batch j", "=", lambda n, j: x[n, j], target_axes="batch i",
               index=lambda n, j: (n, j + 1))  # fmt: skip
    z = p.step("z", "batch", "sum j", lambda n, j: x[n, j], target_axes="batch i",
               index=lambda n, j: (n, p.axes["i"] - 1))  # fmt: skip
    return p.done(y, z)


@program
def updates_in_place() -> Program:
    p = building()
    x, w = p.declare("x", "batch i"), p.declare("w", "i", "parameter")
    m = p.declare("m", "i", "state")
    g = p.step("g", "i", "sum batch", lambda i, n: x[n, i])
    p.step(w, "i", "=", lambda i: w[i] - 0.1 * g[i])
    p.step(m, "i", "=", lambda i: m[i] * 2, guards=lambda i: where(at_least(i, 1)))
    return p.done(g)


@program
def axes_of_one_element() -> Program:
    p = building(one=1)
    x = p.declare("x", "batch i")
    s = p.step("s", "batch one", "sum i", lambda n, o, i: x[n, i])
    return p.done(p.step("y", "batch i", "=", lambda n, i: x[n, i] - s[n, 0]))


def _layer() -> Program:
    """y = tanh(x W^T); also its argument x, and y a second time."""
    p = Building("layer", dtype="float64", batch=None, i=4)
    x, w = p.declare("x", "batch i"), p.declare("w", "i i")
    c = p.declare("scale", "i", "constant", data=(1.0, 2.0, 3.0, 4.0))
    z = p.step("z", "batch i", "sum i", lambda n, i, k: x[n, k] * w[i, k])
    y = p.step("y", "batch i", "=", lambda n, i: call("tanh", z[n, i]) * c[i])
    return p.done(y, x, y)


@program
def a_block_twice() -> Program:
    p = building()
    x, w, v = p.declare("x", "batch i"), p.declare("w", "i i"), p.declare("v", "i i")
    layer = _layer()
    for k, weight in enumerate(("w", "v")):
        names = tuple(f"{name}{k}" for name in ("y", "same", "again"))
        for name in names:
            p.declare(name, "batch i", "scratch")
        p.steps.append(Block(names, ("x" if k == 0 else "y0", weight), layer))
    del x, w, v
    return p.done("y1", "same1", "again0", "again1", "same0")


def _cell() -> Program:
    """h' = tanh(h + x_t), c' = h, and what is kept of a turn: h', x_t; y = h' * k."""
    p = Building("cell", dtype="float64", batch=None, i=4)
    h, c, x = (p.declare(n, "batch i") for n in ("h", "c", "x"))
    k = p.declare("k", "i")
    new = p.step("new", "batch i", "=", lambda n, i: call("tanh", h[n, i] + x[n, i] - c[n, i]))
    y = p.step("y", "batch i", "sum i", lambda n, i, m: new[n, m] * k[i])
    return p.done(new, h, y, new, x)


def _scan(reverse: bool) -> Program:
    p = building(time=5)
    for name, axes in (("h0", "batch i"), ("c0", "batch i"), ("x", "time batch i"), ("k", "i")):
        p.declare(name, axes)
    for name in ("h", "c"):
        p.declare(name, "batch i", "scratch")
    for name in ("ys", "news", "xs"):
        p.declare(name, "time batch i", "scratch")
    p.steps.append(
        Scan(("h", "c", "ys", "news", "xs"), p.axes["time"], reverse, ("h0", "c0"), ("x",), ("k",),
             _cell())
    )  # fmt: skip
    return p.done("h", "c", "ys", "news", "xs")


@program
def a_scan() -> Program:
    return _scan(False)


@program
def a_scan_from_the_end() -> Program:
    return _scan(True)


@program
def a_scan_that_exchanges_its_carries() -> Program:
    body = Building("swap", dtype="float64", i=4)
    a, b, fixed = body.declare("a", "i"), body.declare("b", "i"), body.declare("fixed", "i")
    body_program = body.done(b, a, fixed)
    p = building(time=3)
    for name in ("a0", "b0", "f0"):
        p.declare(name, "i")
    for name in ("a", "b", "f"):
        p.declare(name, "i", "scratch")
    p.steps.append(
        Scan(("a", "b", "f"), p.axes["time"], False, ("a0", "b0", "f0"), (), (), body_program)
    )
    return replace(p.done("a", "b", "f"), dims=())


@program
def a_block_in_a_scan_in_a_scan() -> Program:
    inner = Building("inner", dtype="float64", batch=None, i=4)
    inner.declare("h", "batch i")
    inner.declare("w", "i i")
    for name in ("y", "same", "again"):
        inner.declare(name, "batch i", "scratch")
    inner.steps.append(Block(("y", "same", "again"), ("h", "w"), _layer()))
    step = inner.done("y", "again", "same")
    outer = Building("outer", dtype="float64", batch=None, i=4, depth=2)
    outer.declare("h", "batch i")
    outer.declare("ws", "depth i i")
    outer.declare("last", "batch i", "scratch")
    for name in ("ys", "others"):
        outer.declare(name, "depth batch i", "scratch")
    outer.steps.append(
        Scan(("last", "ys", "others"), outer.axes["depth"], True, ("h",), ("ws",), (), step)
    )
    turn = outer.done("last", "ys", "others")
    p = building(time=3, depth=2)
    p.declare("h0", "batch i")
    p.declare("ws", "time depth i i")
    p.declare("h", "batch i", "scratch")
    for name in ("every", "each"):
        p.declare(name, "time depth batch i", "scratch")
    p.steps.append(Scan(("h", "every", "each"), p.axes["time"], False, ("h0",), ("ws",), (), turn))
    return p.done("h", "every", "each")


def values(made: Program, batch: int) -> dict[str, np.ndarray]:
    """Arrays for the arguments, every free size ``batch``."""
    rng = np.random.default_rng(0)
    found = {}
    for b in made.arguments:
        shape = tuple(evaluate(d, {}, {"batch": batch}) for d in b.dims)
        high = 5 if b.high is None else evaluate(b.high, {}, {}) + 1
        whole = b.dtype in ("int32", "int64")
        found[b.name] = rng.integers(0, high, size=shape) if whole else rng.normal(size=shape)
    return found


@pytest.mark.parametrize("calls", [True, False])
@pytest.mark.parametrize("name", PROGRAMS)
def test_nests_are_valid_and_have_the_values_of_the_program(name: str, calls: bool) -> None:
    made = PROGRAMS[name]()
    verify_program(made)
    loops = from_program(made, calls)
    verify(loops)
    assert calls or not loops.kernels
    for batch in (1, 3) if made.dims else (0,):
        given = values(made, batch)
        wanted = program_interpreter.run(made, given)
        for a, b in zip(interpret(loops, given), map(wanted.get, made.outputs), strict=True):
            if name == "a_cumulative_sum_from_the_end":  # adds from the end
                np.testing.assert_allclose(a, b, rtol=1e-13)
            else:
                np.testing.assert_array_equal(a, b)


def text(name: str) -> str:
    """The parts of a program's nests, printed."""
    printed = listing(from_program(PROGRAMS[name]()))
    return printed[printed.index("part ") :]


FORMS = {
    "a_map_where_a_guard_holds": """
    for batch:
      for i<4:
        value_y : float64 = 0
        where i - 2 >= 0:
          value_y = 1 / x[batch, i]
        y[batch, i] = value_y""",
    "a_product": """
    for batch:
      for j<3:
        acc_y : float64 = 0
        for i<4:
          acc_y += x[batch, i] * w[j, i]
        y[batch, j] = acc_y""",
    "a_guard_on_the_target_alone": """
    for batch:
      acc_y : float64 = 0
      where batch - 1 >= 0:
        for i<4:
          acc_y += x[batch, i]
      y[batch] = acc_y""",
    "a_sum_up_to_the_diagonal": """
      acc_y : float64 = 0
      for i1 < min(4, i + 1):
        acc_y += x[i, i1]""",
    "a_window_with_a_border": """
        for max(0, 1 - i) <= r < min(3, 5 - i):
          acc_y += x[batch, i + r - 1] * w[r]""",
    "a_cumulative_sum": """
    for batch:
      for j<3:
        acc_y : float64 = 0
        for i<4:
          acc_y += x[batch, i, j]
          y[batch, i, j] = acc_y""",
    "axes_of_one_element": """
      acc_s : float64 = 0
      for i<4:
        acc_s += x[batch, i]
      s[batch, 0] = acc_s""",
}


@pytest.mark.parametrize("name", FORMS)
def test_a_step_has_its_form(name: str) -> None:
    assert FORMS[name] in text(name)


def test_a_scatter_clears_its_target_and_then_adds() -> None:
    printed = text("a_scatter")
    assert "table[i, j] = 0" in printed
    assert "table[y[batch], j] += x[batch, j]" in printed
    assert "top[i] = -inf" in printed
    assert "top[y[batch]] max= x[batch, j]" in printed


def test_sums_wider_than_their_target_are_carried_aside() -> None:
    printed = text("a_scatter_whose_sums_are_wider")
    assert "acc_table[y[batch]] += x[batch]" in printed
    assert "table[i] = acc_table[i]" in printed


def test_equal_blocks_share_a_kernel_and_scans_are_loops() -> None:
    loops = from_program(PROGRAMS["a_block_twice"]())
    assert [k.name for k in loops.kernels] == ["layer"]
    assert loops.kernels[0].writes == ("y", "result_x", "result_y")
    assert text("a_block_twice").count("layer(") == 3  # two calls and the kernel itself
    assert "for time" in text("a_scan")


def test_what_a_scan_stacks_is_computed_where_it_is_kept() -> None:
    printed = text("a_scan_from_the_end")
    assert "news[4 - time, batch, i] = tanh(" in printed
    assert "h[batch, i] = news[4 - time, batch, i]" in printed


def test_a_library_operation_is_refused_by_name() -> None:
    p = building()
    p.declare("x", "batch i")
    p.declare("y", "batch i", "scratch")
    p.steps.append(Library(("y",), "sort", (), ("x",)))
    with pytest.raises(UnsupportedFunction, match="the operation sort is not made of loops"):
        from_program(p.done("y"))


def test_two_processes_print_the_same_nests() -> None:
    root = Path(codegen.__file__).parents[1]
    script = (
        "from tests.codegen.test_loops_from_program import PROGRAMS\n"
        "from codegen.loops.default import scheduled\n"
        "from codegen.loops.from_program import from_program\n"
        "for make in PROGRAMS.values(): print(scheduled(from_program(make())))\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", script], cwd=root, capture_output=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1]
    assert runs[0]
