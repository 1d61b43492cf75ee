"""The interpreter of PROGRAM against NumPy, and against a second reading of the definition."""

from __future__ import annotations

import random

import numpy as np
import pytest
from definition import random_step, run_assign
from test_listing import BATCH, TIME, buffer, number, recurrence, small_step

from codegen.index import dim, loop
from codegen.interpret import bind_dims, interpret, run
from codegen.program import (
    Assign,
    Binary,
    Bitcast,
    Buffer,
    Cast,
    Dtype,
    Load,
    MulHigh,
    Program,
    Round,
    Scalar,
    Shift,
    Xor,
)
from codegen.verify import verify


def test_interpret_a_step() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(3, 4)), rng.normal(size=(5, 4))
    y, table = np.array([1, 4, 1]), np.arange(1.0, 6.0)
    kept = w.copy()
    env = run(small_step(), {"x": x, "y": y, "rate": 0.1, "w": w})
    h = x @ w.T
    g = np.zeros(5)
    np.add.at(g, y, np.exp(h[np.arange(3), y]))
    assert np.allclose(env["h"], h, rtol=1e-14)
    assert np.allclose(env["g"], g, rtol=1e-14)
    assert np.allclose(env["w"], w - 0.1 * (g * table)[:, None], rtol=1e-14)
    c = np.zeros((3, 4))
    for b, p in np.ndindex(3, 4):
        for q in range(p + 1):
            before = x[b, q - 1] if q >= 1 else 0.0
            c[b, p] += x[b, p] - 0.1 if before > 0 else (p + 2 * ((p + 1) // 3)) / 3
    assert np.allclose(env["c"], c, rtol=1e-14)
    assert np.array_equal(w, kept)
    outputs = interpret(small_step(), {"x": x, "y": y, "rate": 0.1, "w": w})
    assert [o.shape for o in outputs] == [(3, 5), (3, 4), (3, 5)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_interpret_a_scan(reverse: bool, length: int) -> None:
    v = np.arange(1.0, length + 1)
    last, squares, more, less = interpret(recurrence(reverse), {"start": 2.0, "v": v, "k": 3.0})
    s, expected = 2.0, np.zeros(length)
    for t in reversed(range(length)) if reverse else range(length):
        expected[t] = s * s
        s += v[t] * 3
    assert [float(a) for a in (last, more, less)] == [s, s + 9, s * s]
    assert np.array_equal(squares, expected)


def test_interpret_bits_and_integers() -> None:
    """Unsigned integers wrap, shifts are logical, bits are those of the width."""
    i = loop(0, 3)
    at = (i.ix(),)
    u, f = Load("u", at), Load("f", at)

    def value(body: Scalar, dtype: Dtype) -> list[object]:
        program = Program(
            "f",
            "",
            (),
            (
                buffer("u", "n=3", dtype="uint32"),
                buffer("f", "n=3"),
                buffer("out", "n=3", "scratch", dtype),
            ),
            (Assign("out", at, "=", (i,), ("n",), (), body, dtype),),
            ("out",),
        )
        verify(program)
        (out,) = interpret(program, {"u": us, "f": np.array([1.0, -2.5, 0.1], np.float32)})
        return out.tolist()  # type: ignore[no-any-return]

    us = np.array([0, 1, 2**32 - 1], np.uint32)
    assert value(Binary("*", u, u), "uint32") == (us * us).tolist()
    assert value(Binary("-", u, number(1)), "uint32") == (us - np.uint32(1)).tolist()
    assert value(MulHigh(u, u), "uint32") == [0, 0, 2**32 - 2]
    assert value(Shift(u, 4), "uint32") == (us << np.uint32(4)).tolist()
    assert value(Shift(u, -4), "uint32") == (us >> np.uint32(4)).tolist()
    assert value(Xor(u, number(5)), "uint32") == (us ^ np.uint32(5)).tolist()
    assert value(Cast("int32", u), "int32") == [0, 1, -1]
    assert value(Bitcast("uint32", f), "uint32") == [0x3F800000, 0xC0200000, 0x3DCCCCCD]
    assert value(Cast("int64", Round(f)), "int64") == [1, -2, 0]
    assert value(Binary("/", f, number(0)), "float64") == [np.inf, -np.inf, np.inf]


def test_identities_of_empty_reductions() -> None:
    for op, dtype, expected in [
        ("sum", "float32", 0.0),
        ("max", "float32", -np.inf),
        ("min", "float64", np.inf),
        ("max", "int64", -(2**63)),
        ("min", "int32", 2**31 - 1),
    ]:
        t = loop(0, TIME.ix())
        program = Program(
            "f",
            "",
            (TIME,),
            (buffer("a", "time", dtype=dtype), buffer("out", "", "scratch", dtype)),  # type: ignore[arg-type]
            (Assign("out", (), op, (t,), ("t",), (), Load("a", (t.ix(),)), dtype),),  # type: ignore[arg-type]
            ("out",),
        )
        verify(program)
        assert interpret(program, {"a": np.zeros(0)})[0] == expected


def test_dimensions_are_solved_from_shapes() -> None:
    program = Program(
        "f",
        "",
        (BATCH, TIME),
        (
            Buffer("a", (2 * TIME.ix() + BATCH.ix() - 1,), ("",), "float32", "input"),
            Buffer("b", (BATCH.ix(),), ("",), "float32", "input"),
        ),
        (),
        ("a",),
    )
    assert bind_dims(program, {"a": (10,), "b": (3,)}) == {"batch": 3, "time": 4}
    with pytest.raises(ValueError, match="a has an axis of 11, which is not"):
        bind_dims(program, {"a": (11,), "b": (3,)})
    with pytest.raises(ValueError, match="b has 2 axes, expected 1"):
        bind_dims(program, {"a": (10,), "b": (3, 1)})


@pytest.mark.parametrize("seed", range(60))
def test_interpret_agrees_with_the_definition(seed: int) -> None:
    """Random steps; those that read no data in their indices are also accepted by verify."""
    size = random.Random(seed).choice([1, 2, 3, 5])  # as random_step will choose
    program, arrays, dims = random_step(seed, dim("batch", size, size, size))
    expected = run_assign(program, program.steps[0], arrays, dims)  # type: ignore[arg-type]
    assert np.allclose(interpret(program, arrays)[0], expected, rtol=1e-12, equal_nan=True)
    if not any(b.low is not None for b in program.buffers):
        verify(program)
