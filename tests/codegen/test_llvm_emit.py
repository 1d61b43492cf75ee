"""Nests as machine code, against the interpreter: recipes, every kind of scalar, guards, text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from syrupy.assertion import SnapshotAssertion

from codegen.functions import FUNCTIONS
from codegen.index import Guard, Ix, floordiv, gather, guard, mod
from codegen.llvm.emit import emit
from codegen.llvm.layout import layout
from codegen.llvm.target import X86_64_AVX512, X86_64_SSE2
from codegen.loops.directives import (
    Directive,
    Fuse,
    Localise,
    Outline,
    RegisterBlock,
    Split,
    Vectorise,
)
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret
from codegen.loops.nest import Loops
from codegen.loops.schedule import applied
from codegen.program import (
    And,
    Binary,
    Bitcast,
    Call,
    Cast,
    Compare,
    Dtype,
    Fma,
    Load,
    MulHigh,
    Number,
    Or,
    Round,
    Scalar,
    Select,
    Shift,
    Unary,
    Xor,
)
from tests.codegen import schedules
from tests.codegen import test_loops_recipes as recipes
from tests.codegen.building import Building, where
from tests.codegen.lanes import in_lanes
from tests.codegen.running import narrowed, run, runnable
from tests.codegen.schedules import arguments, dense, embedding

RECIPES: dict[str, Callable[[], None]] = {
    name: test for name, test in vars(recipes).items() if name.startswith("test_")
}
TARGETS = pytest.mark.parametrize("target", list(runnable()))


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_a_recipe_computes_what_the_plain_nests_do(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles, epilogues, blocked layouts, private copies and kernels, in both floats."""

    def agree(
        before: Loops, directives: Iterable[Directive], batches: Iterable[int] = (1, 5),
        exact: bool = True,
    ) -> Loops:  # fmt: skip
        after = applied(before, directives)
        for batch in batches if before.dims else (0,):
            given = arguments(before, batch)
            wanted = interpret(before, given)
            for target in runnable().values():
                for loops, bound in ((after, 1e-12), (narrowed(after), 1e-5)):
                    for a, b in zip(run(loops, given, target), wanted, strict=True):
                        np.testing.assert_allclose(a, b, rtol=bound, atol=bound)
        return after

    monkeypatch.setattr(recipes, "agree", agree)
    RECIPES[recipe]()


# --- scalars --------------------------------------------------------------------------------------

FLOAT = [0.0, -0.0, 1.5, -2.5, 0.5, 3e9, -1e-3, 7.0, np.inf, -np.inf, np.nan]
WHOLE = [0, 1, -1, 7, -8, 100, 2**31 - 1, -(2**31), 12345, -3, 2]
UNSIGNED = [0, 1, 2, 2**31, 2**32 - 1, 3, 77, 5, 9, 2**16, 2**20]
VALUES: dict[str, tuple[Dtype, list[float]]] = {
    "f": ("float64", FLOAT),
    "g": ("float64", FLOAT[::-1]),
    "h": ("float64", [x if abs(x) < 1e9 else 2.75 for x in FLOAT]),
    "s": ("float32", FLOAT),
    "i": ("int32", WHOLE),
    "j": ("int64", WHOLE[::-1]),
    "u": ("uint32", UNSIGNED),
    "v": ("uint64", [x * (2**32 - 5) for x in UNSIGNED]),
    "t": ("bool", [n % 3 == 0 for n in range(len(FLOAT))]),
}


def scalars(at: Callable[[str], Scalar]) -> dict[str, tuple[Scalar, Dtype]]:
    """One of each kind of scalar, and the dtype it is stored in."""
    f, g, h, s, i, j, u, v, t = (at(name) for name in VALUES)
    three = Number(Fraction(3))
    found: dict[str, tuple[Scalar, Dtype]] = {
        f"{op} of {a}": (Binary(op, x, y), d)  # type: ignore[arg-type]
        for op in "+-*"
        for a, x, y, d in (
            ("floats", f, g, "float64"), ("integers", i, j, "int64"), ("unsigned", u, u, "uint32"),
            ("both", s, i, "float32"), ("truth values", t, t, "int64"), ("numbers", f, three,
            "float64"),
        )
    }  # fmt: skip
    found |= {
        "division": (Binary("/", f, g), "float64"),
        "division of integers": (Binary("/", i, three), "float64"),
        **{f"power {n}": (Binary("**", f, Number(Fraction(n))), "float64") for n in (-2, 0, 1, 3)},
        "power of an integer": (Binary("**", i, three), "int32"),
        "minus": (Unary("-", f), "float64"),
        "minus of an integer": (Unary("-", i), "int32"),
        "not": (Unary("not", t), "bool"),
        **{f"{op}": (Compare(op, f, g), "bool") for op in ("<", "<=", "==", "!=", ">", ">=")},
        **{f"{op} unsigned": (Compare(op, u, three), "bool") for op in ("<", ">=")},
        **{f"{op} signed": (Compare(op, i, j), "bool") for op in ("<=", ">")},
        "choice": (Select(t, f, g), "float64"),
        "choice of a number": (Select(Compare(">", f, g), Number("inf"), three), "float64"),
        "and": (And(t, Compare("<", f, g)), "bool"),
        "or of bits": (Or(u, three), "uint32"),
        "xor of bits": (Xor(i, three), "int32"),
        "left": (Shift(u, 5), "uint32"),
        "right": (Shift(i, -3), "int32"),
        "high": (MulHigh(u, Number(Fraction(0xD2511F53))), "uint32"),
        "high of 64": (MulHigh(v, v), "uint64"),
        "bits of a float": (Bitcast("uint32", s), "uint32"),
        "float of bits": (Bitcast("float32", u), "float32"),
        "round": (Round(f), "float64"),
        "narrower": (Cast("uint32", v), "uint32"),
        "wider": (Cast("int64", i), "int64"),
        "unsigned to float": (Cast("float64", v), "float64"),
        "truth": (Cast("bool", f), "bool"),
        "truth of an integer": (Cast("bool", i), "bool"),
        "single": (Cast("float32", g), "float32"),
        "integer of a float": (Cast("int64", h), "int64"),
    }
    return found


@TARGETS
@pytest.mark.parametrize("lanes", [0, 4, 11])
def test_every_kind_of_scalar(lanes: int, target: str) -> None:
    """Integers wrap, comparisons with NaN are false; one by one, in lanes, and in masked lanes."""
    p = Building("f", dtype="float64", n=len(FLOAT))
    for name, (dtype, _) in VALUES.items():
        p.declare(name, "n", dtype=dtype)
    names = {}
    for k, (what, (_, dtype)) in enumerate(scalars(lambda name: Load(name)).items()):
        p.step(f"out{k}", "n", "=", lambda n, w=what: scalars(reading(n))[w][0], dtype=dtype)
        names[f"out{k}"] = what
    loops = from_program(p.done(*names))
    for part in names if lanes else ():
        pieces: list[Directive] = [Split(part, "n", size=lanes)] if lanes < len(FLOAT) else []
        loops = applied(loops, [*pieces, Vectorise(part, "n_inner" if pieces else "n")])
    given = {name: np.array(values, dtype) for name, (dtype, values) in VALUES.items()}
    wanted = interpret(loops, given)
    found = run(loops, given, runnable()[target])
    for what, a, b in zip(names.values(), found, wanted, strict=True):
        if np.issubdtype(a.dtype, np.floating):
            np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=what)
        else:
            np.testing.assert_array_equal(a, b, err_msg=what)


def reading(*at: Ix) -> Callable[[str], Scalar]:
    """Reads of arrays at one place."""
    return lambda name: Load(name, at)


def mapping(formula: Callable[..., Scalar], *names: str, dtype: Dtype = "float64") -> Loops:
    """out[n] = formula of the named arrays."""
    p = Building("f", dtype="float64", n=len(FLOAT))
    for name in names:
        p.declare(name, "n", dtype=VALUES[name][0])
    p.step("out", "n", "=", lambda n: formula(*map(reading(n), names)), dtype=dtype)
    return from_program(p.done("out"))


def outcomes(loops: Loops, target: str, names: Iterable[str]) -> list[np.ndarray]:
    """The output one by one, and in lanes."""
    given = {name: np.array(VALUES[name][1], VALUES[name][0]) for name in names}
    wide = applied(loops, [Vectorise("out", "n")])
    return [run(x, given, runnable()[target])[0] for x in (loops, wide)]


@TARGETS
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_every_function_of_special_values(name: str, target: str) -> None:
    """Infinities, zeros and NaN, as the functions of Python have them."""
    row = FUNCTIONS[name]
    names = ("f", "g")[: row.arity]
    kind: Dtype = "bool" if row.result == "bool" else "float64"
    loops = mapping(lambda *xs: Call(name, xs), *names, dtype=kind)
    assert row.python is not None
    given = [[float(x) for x in VALUES[n][1]] for n in names]
    wanted = [row.python(*xs) for xs in zip(*given, strict=True)]
    for found in outcomes(loops, target, names):
        np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-300)


@TARGETS
def test_functions_of_integers(target: str) -> None:
    loops = mapping(lambda i, j: Call("maximum", (Call("abs", (i,)), Call("sign", (j,)))), "i", "j",
                    dtype="int64")  # fmt: skip
    i, j = (np.array(VALUES[n][1], VALUES[n][0]) for n in "ij")
    for found in outcomes(loops, target, "ij"):
        np.testing.assert_array_equal(found, np.maximum(abs(i), np.sign(j)))


@TARGETS
def test_a_float_that_no_integer_holds_becomes_the_nearest_and_nan_becomes_zero(
    target: str,
) -> None:
    loops = mapping(lambda f: Cast("int32", f), "f", dtype="int32")
    wanted = [0, 0, 1, -2, 0, 2**31 - 1, 0, 7, 2**31 - 1, -(2**31), 0]
    for found in outcomes(loops, target, "f"):
        assert found.tolist() == wanted


def test_a_fused_product_is_rounded_once() -> None:
    """1 + 2**-60 times itself, less 1: nothing is left of it when the product is rounded."""
    tiny = Fraction(1, 2**40)
    x = Number(1 + tiny)
    p = Building("f", dtype="float64")
    p.step("out", "", "=", lambda: Fma(x, x, Number(Fraction(-1) - 2 * tiny)))
    loops = from_program(p.done("out"))
    assert run(loops, {}, runnable()["host"])[0] == float(tiny * tiny)


# --- places ---------------------------------------------------------------------------------------


@TARGETS
@pytest.mark.parametrize("at_end", [True, False])
def test_nothing_is_read_where_a_guard_fails(at_end: bool, target: str) -> None:
    """A moving window past both ends, of one number and of lanes; floor and mod of negatives."""
    p = Building("f", dtype="float64", batch=None, n=12)
    x = p.declare("x", "batch n")
    ids = p.declare("ids", "batch", dtype="int32", classes=12)
    p.step(
        "shifted", "batch n", "sum 5",
        lambda b, i, k: x.inside(b, i + k - 2) + x.inside(b - 1, i - 9)
        + x.inside(b, floordiv(i - 5, 3)) + x.inside(b, mod(i - 5, 7)),
    )  # fmt: skip
    p.step(
        "picked", "batch n", "=",
        lambda b, i: x.guarded(b, gather(ids.source(), (b - i,)), guards=above(b - i)),
    )  # fmt: skip
    loops = from_program(p.done("shifted", "picked"))
    rng = np.random.default_rng(0)
    for mode in ("inner", "outer", "random"):
        made = in_lanes(loops, mode, Random(1))
        for batch in (1, 5):
            given = {"x": rng.normal(size=(batch, 12)), "ids": rng.integers(0, 12, size=batch)}
            wanted = interpret(made, given)
            for a, b in zip(
                run(made, given, runnable()[target], at_end=at_end), wanted, strict=True
            ):
                np.testing.assert_allclose(a, b, rtol=1e-14)


def above(ix: Ix) -> tuple[Guard, ...]:
    """ix >= 0."""
    return where(guard(ix, ">="))


@TARGETS
def test_rows_are_gathered_and_scattered(target: str) -> None:
    loops = embedding()
    given = arguments(loops, 7)
    for made in (loops, in_lanes(loops, "inner", Random(0)), in_lanes(loops, "outer", Random(0))):
        for a, b in zip(run(made, given, runnable()[target]), interpret(loops, given), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


@pytest.mark.parametrize("extent", [3, 16, 21, 64, 200])
def test_a_long_vector_loop_runs_in_strips(extent: int) -> None:
    p = Building("f", dtype="float32", n=extent)
    x = p.declare("x", "n")
    p.step("out", "n", "=", lambda n: x[n] * 2 + n)
    loops = applied(from_program(p.done("out")), [Vectorise("out", "n")])
    given = {"x": np.arange(extent, dtype=np.float32)}
    for target in runnable().values():
        (found,) = run(loops, given, target)
        np.testing.assert_array_equal(found, 3 * given["x"])


@TARGETS
@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_a_square_is_turned_in_registers(lanes: int, target: str) -> None:
    """Of a transposed copy, and where the turns begin within a row."""
    p = Building("f", dtype="float32", batch=None, n=48, m=35)
    x = p.declare("x", "batch m n")
    p.step("turned", "batch n m", "=", lambda b, i, j: x[b, j, i])
    p.step("moved", "batch 32 m", "=", lambda b, i, j: x[b, j, i + 3] * 2 + x[b, j, 4 + i])
    tiles = [
        RegisterBlock("turned", (("n", lanes), ("m", lanes)), lanes=True),
        RegisterBlock("moved", (("i1", 2 * lanes), ("m", lanes)), lanes=True),
    ]
    loops = applied(from_program(p.done("turned", "moved")), tiles)
    given = arguments(loops, 2)
    chosen = runnable()[target]
    if lanes <= chosen.lanes(32):
        assert "shufflevector" in emit(loops, chosen)
    found, moved = run(loops, given, runnable()[target])
    x_ = np.float32(given["x"])
    np.testing.assert_array_equal(found, x_.transpose(0, 2, 1))
    np.testing.assert_allclose(
        moved, (2 * x_[:, :, 3:35] + x_[:, :, 4:36]).transpose(0, 2, 1), rtol=1e-6
    )


def test_a_large_local_array_lies_in_the_context() -> None:
    """It would not fit a stack."""
    p = Building("f", dtype="float64", batch=None, n=3000)
    x = p.declare("x", "batch n")
    row = p.step("row", "batch n", "=", lambda b, n: x[b, n] * 2)
    p.step("total", "batch", "sum n", lambda b, n: row[b, n])
    loops = from_program(p.done("total"))
    loops = applied(loops, [Fuse("row", "total"), Localise("row to total", "row")])
    assert [b.name for _, b in layout(loops).arrays] == ["x", "total", "row"]
    given = arguments(loops, 3)
    wide = applied(loops, [RegisterBlock("row to total", (("batch", 2),), lanes=True)])
    for made in (loops, wide):
        found = run(made, given, runnable()["host"])[0]
        np.testing.assert_allclose(found, interpret(loops, given)[0], rtol=1e-12)


def test_names_of_the_text_do_not_clash_with_those_of_a_model() -> None:
    """A function called like a block, arrays like values, a constant, a kernel."""
    p = Building("entry", dtype="float64", batch=None, done=4)
    x = p.declare("context", "batch done")
    c = p.declare("v", "done", "constant", data=(1.0, -0.5, float("inf"), 0.1))
    t = p.step("p", "batch done", "=", lambda b, n: x[b, n] * c[n])
    p.step("next", "batch done", "=", lambda b, n: t[b, n] + 1)
    loops = applied(from_program(p.done("next")), [Outline("p", "zeros"), Outline("next", "again")])
    given = arguments(loops, 3)
    for target in runnable().values():
        np.testing.assert_allclose(run(loops, given, target)[0], interpret(loops, given)[0])


# --- the text -------------------------------------------------------------------------------------


def tiled(**sizes: int | None) -> Loops:
    """A dense layer in tiles of 4 x 16."""
    tile = RegisterBlock("product", (("batch", 4), ("unit", 16)), lanes=True)
    return narrowed(applied(dense(**sizes), [*recipes.forward("unit")[:-1], tile]))


def test_the_text_of_a_tile(snapshot: SnapshotAssertion) -> None:
    """Accumulators are values, rows are displacements, and what does not change stands outside."""
    assert emit(tiled(batch=4, pixel=3, unit=16), X86_64_AVX512) == snapshot


def test_products_are_fused_only_where_the_target_can_and_the_caller_wants() -> None:
    loops = tiled(batch=8)
    assert "@llvm.fma" in emit(loops, X86_64_AVX512)
    assert "@llvm.fma" not in emit(loops, X86_64_AVX512, portable=True)
    assert "@llvm.fma" not in emit(loops, X86_64_SSE2)


def test_no_fast_math() -> None:
    text = emit(tiled(batch=8), X86_64_AVX512)
    assert not re.search(r"\b(fast|reassoc|nnan|ninf|nsz|arcp|contract|afn)\b", text)


def test_two_processes_write_one_text() -> None:
    code = (
        "from tests.codegen.test_llvm_emit import *;"
        "import sys; sys.stdout.write(emit(tiled(batch=8), X86_64_AVX512))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


def test_a_long_program_is_pieces_that_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = schedules.layers(6)
    whole = emit(loops, X86_64_AVX512)
    given = schedules.arguments(loops, 3)
    wanted = run(loops, given, runnable()["host"])
    monkeypatch.setattr("codegen.llvm.emit.MENTIONED", 6)
    text = emit(loops, X86_64_AVX512)
    calls = re.findall(rf"call void (@{loops.name}\.\d+)\(ptr %context\)", text)
    assert len(calls) > 2
    assert calls == re.findall(rf"(@{loops.name}\.\d+)\(ptr noalias", text)
    assert len(calls) == len(set(calls))
    assert not re.search(rf"@{loops.name}\.\d+\(", whole)
    for a, b in zip(run(loops, given, runnable()["host"]), wanted, strict=True):
        np.testing.assert_array_equal(a, b)
