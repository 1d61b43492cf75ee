"""The interpreter of nests: against NumPy, against the interpreter of PROGRAM, and its refusals."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from building import mlp_training
from definition import random_step
from nests import BATCH, array, at, each, everything, ix, nest, num, put, when
from test_listing import small_step

from codegen import interpret as programs
from codegen.evaluate import UndefinedElement
from codegen.index import constant, dim, loop
from codegen.loops.default import default
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret, run
from codegen.loops.nest import Call, Declare, Kernel, Loops, Stmt, When
from codegen.loops.schedule import applied
from codegen.program import Binary, Buffer, Dtype, Program

X = np.array([[1.0, 2.0, 3.0, 4.0], [-5.0, 6.0, -7.0, 8.0]])
N = BATCH.ix()


def value(*body: Stmt, arrays: tuple[Buffer, ...] = ()) -> np.ndarray:
    """``out`` of two numbers after the statements ran on ``x`` of (2, 4)."""
    outs = tuple(arrays) or (array("out", "n=2"),)
    (found,) = interpret(nest(*body, arrays=outs, outputs=("out",)), {"x": X})
    return found


@pytest.mark.parametrize("order", ["forward", "reversed"])
def test_every_statement_means_what_it_says(order: str) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    h, xs, total = interpret(everything(), {"x": x, "w": w}, order)  # type: ignore[arg-type]
    wanted = (x @ w.T + [1.0, 2.0, 3.0]) / 5
    sums = np.zeros(3)
    for n in range(5):
        if n >= 1:
            sums[0] = max(sums[0], wanted[n - 1, 0])
        for i in range(3):
            sums[i] += wanted[n, max(0, i - 1) : min(3, i + 1)].sum()
    assert np.allclose(h, wanted, rtol=1e-14)
    assert np.array_equal(xs, x)
    assert np.allclose(total, sums, rtol=1e-14)


def test_a_step_of_training_equals_its_program() -> None:
    program = mlp_training()
    rng = np.random.default_rng(1)
    shapes = {"batch": 2, "pixel": 64, "unit": 64, "digit": 10}
    given = {
        b.name: rng.integers(0, 10, 2)
        if b.dtype == "int64"
        else rng.random([shapes[a] for a in b.axes])
        for b in program.arguments
    }
    wanted = programs.run(program, given)
    found = run(from_program(program), given)
    assert wanted.keys() <= found.keys()
    for name, a in wanted.items():
        assert np.array_equal(found[name], a), name


@pytest.mark.parametrize("seed", range(60))
def test_random_steps_equal_their_programs(seed: int) -> None:
    """Before a schedule and after the default one."""
    size = random.Random(seed).choice([1, 2, 3, 5])  # as random_step will choose
    program, arrays, _ = random_step(seed, dim("batch", size, size, size))
    (wanted,) = programs.interpret(program, arrays)
    plain = from_program(program)
    for loops in (plain, applied(plain, default(plain))):
        (found,) = interpret(loops, arrays, "reversed")
        assert np.allclose(found, wanted, rtol=1e-12, equal_nan=True)


def test_arguments_are_not_changed_but_updated_ones_come_back() -> None:
    program = small_step()
    rng = np.random.default_rng(0)
    w = rng.normal(size=(5, 4))
    given = {"x": rng.normal(size=(3, 4)), "y": np.array([1, 4, 1]), "rate": 0.1, "w": w.copy()}
    found = run(from_program(program), given)
    assert np.array_equal(given["w"], w)
    assert not np.array_equal(found["w"], w)
    assert np.array_equal(found["w"], programs.run(program, given)["w"])


# --- statements -----------------------------------------------------------------------------------


def test_stores_fold_and_let_nan_through() -> None:
    out = value(
        put("out", (0,), "=", num(1)), put("out", (0,), "+=", num(2)),
        put("out", (0,), "max=", num(5)), put("out", (0,), "min=", num(4)),
        put("out", (1,), "=", Binary("/", num(0), at("x", 0, 0))),
        put("out", (1,), "max=", Binary("/", num(0), at("out", 1))),
        put("out", (1,), "max=", num(3)),
    )  # fmt: skip
    assert out[0] == 4
    assert np.isnan(out[1])


@pytest.mark.parametrize(
    ("dtype", "wanted"), [("int32", [-(2**31), 1]), ("uint32", [2**31, 1]), ("int64", [2**31, 1])]
)
def test_integers_wrap_where_they_are_stored(dtype: Dtype, wanted: list[int]) -> None:
    out = value(
        put("out", (0,), "=", num(2**31 - 1)),
        put("out", (0,), "+=", num(1)),
        put("out", (1,), "=", num(2**64 + 1)),
        arrays=(array("out", "n=2", dtype=dtype),),
    )
    assert out.tolist() == wanted


def test_bounds_and_guards_narrow() -> None:
    i, j, k = ix(0, 4), ix(1, 4), ix(3, 4)
    out = value(
        put("out", (0,), "=", num(0)), put("out", (1,), "=", num(0)),
        each(0, "i", 4, each(1, "j", 4, put("out", (0,), "+=", at("x", 0, j)),
                             low=(i - 1, i - 2), high=(i + 1, 2 * i))),
        each(2, "k", 4, When((when(ix(2, 4) - 2),), (put("out", (1,), "+=", num(1)),))),
        each(3, "l", 4, put("out", (1,), "+=", at("x", 0, k - 3, where=(when(k - 3),)))),
    )  # fmt: skip
    bounded = sum(X[0, j] for i in range(4) for j in range(max(0, i - 1), min(4, i + 1, 2 * i)))
    assert out.tolist() == [bounded, 2 + X[0, 0]]


def test_vector_and_parallel_turns_run_from_the_last_when_asked() -> None:
    for kind in ("vector", "parallel"):
        last = each(0, "i", 4, put("out", (0,), "=", at("x", 0, ix(0, 4))), kind=kind)
        loops = nest(
            last, put("out", (1,), "=", num(0)), arrays=(array("out", "n=2"),), outputs=("out",)
        )
        assert interpret(loops, {"x": X})[0][0] == 4
        assert interpret(loops, {"x": X}, "reversed")[0][0] == 1


def test_a_kernel_works_on_the_arrays_it_is_handed() -> None:
    n = ix(5, 2)
    product = Binary("*", at("v", n), at("half"))
    kernel = Kernel(
        "scaled", (), (array("v", "n=2"),), ("v",),
        (put("half", (), "=", num("0.5")), put("v", (n,), "=", product)),
        (array("half"),), (loop(5, 2),), ("n",),
    )  # fmt: skip
    body = (
        put("out", (0,), "=", num(8)), put("out", (1,), "=", num(4)),
        each(0, "i", 2, Call("scaled", ("out",), (ix(0, 2),))),
        Call("scaled", ("out",), (constant(0),)),
    )  # fmt: skip
    loops = nest(*body, arrays=(array("out", "n=2"),), outputs=("out",), kernels=(kernel,))
    assert interpret(loops, {"x": X})[0].tolist() == [2, 2]
    wrong = replace(loops, arrays=(loops.arrays[0], array("out", "n=3")))
    with pytest.raises(ValueError, match=r"v is handed an array of \(3,\), expected \(2,\)"):
        run(wrong, {"x": X})


# --- refusals -------------------------------------------------------------------------------------


def test_reading_what_was_not_stored_is_an_error() -> None:
    i = ix(0, 2)
    skipping = each(0, "i", 2, When((when(i - 1),), (put("out", (i,), "=", num(1)),)))
    with pytest.raises(UndefinedElement, match=r"out\[0\] is read, but nothing was stored there"):
        value(skipping, put("out", (1,), "=", at("out", 0)))
    with pytest.raises(UndefinedElement, match="the output out has an element that nothing was"):
        value(skipping)
    with pytest.raises(UndefinedElement, match=r"out\[1\] is read"):
        value(put("out", (1,), "+=", num(1)))


def test_declared_storage_is_undefined_in_each_turn() -> None:
    body = each(
        0, "i", 2,
        Declare(array("acc")),
        When((when(-ix(0, 2)),), (put("acc", (), "=", num(0)),)),
        put("acc", (), "+=", at("x", 0, ix(0, 2))),
    )  # fmt: skip
    with pytest.raises(UndefinedElement, match=r"acc\[\] is read"):
        value(body)


def test_an_index_out_of_range_names_the_array() -> None:
    with pytest.raises(IndexError, match=r"x\[0, 4\] is outside of its shape \(2, 4\)"):
        value(each(0, "i", 5, put("out", (0,), "=", at("x", 0, ix(0, 5)))))
    with pytest.raises(IndexError, match=r"out\[-1\] is outside of its shape \(2,\)"):
        value(each(0, "i", 5, put("out", (ix(0, 5) - 1,), "=", num(0))))


def test_a_nest_of_arguments_alone_runs() -> None:
    program = Program("f", "", (BATCH,), (array("x", "batch", "input"),), (), ("x",))
    loops: Loops = from_program(program)
    assert interpret(loops, {"x": X[0]})[0].tolist() == X[0].tolist()
