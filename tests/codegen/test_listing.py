"""The readable printing of programs: golden text, width, determinism."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from codegen.index import Guard, Loop, as_ix, constant, dim, floordiv, gather, guard, loop, mod
from codegen.listing import listing, spell_ix, spell_scalar, wrap
from codegen.program import (
    And,
    Assign,
    Binary,
    Bitcast,
    Block,
    Buffer,
    BufferSource,
    Call,
    Cast,
    Compare,
    Dtype,
    Fma,
    IndexValue,
    Library,
    Load,
    MulHigh,
    Number,
    Program,
    Role,
    Round,
    Scalar,
    Scan,
    Select,
    Shift,
    Unary,
    Xor,
)

BATCH = dim("batch")
TIME = dim("time")


def number(x: int | str) -> Number:
    return Number(Fraction(x))


def buffer(
    name: str, axes: str, role: Role = "input", dtype: Dtype = "float32", **more: object
) -> Buffer:
    """axes: ``"batch pixel=4"``; a bare word is a symbolic dimension."""
    words = [w.partition("=") for w in axes.split()]
    sizes = tuple(constant(int(n)) if n else dim(w).ix() for w, _, n in words)
    return Buffer(name, sizes, tuple(w for w, _, _ in words), dtype, role, **more)  # type: ignore[arg-type]


def unguarded(found: Guard | bool) -> Guard:
    assert isinstance(found, Guard)
    return found


def small_step() -> Program:
    """Everything that a step may show."""
    b, u, p, q = loop(0, BATCH.ix()), loop(1, 5), loop(2, 4), loop(3, 4)
    bx, ux, px, qx = (item.ix() for item in (b, u, p, q))
    y = gather(BufferSource("y", constant(0), constant(4)), (bx,))
    before = unguarded(guard(qx - 1, ">="))
    return Program(
        "step",
        'A small step.\n\n    h = W x """',
        (BATCH,),
        (
            buffer("x", "batch pixel=4"),
            buffer("y", "batch", dtype="int64", low=constant(0), high=constant(4)),
            buffer("rate", "", "scalar"),
            buffer("w", "unit=5 pixel=4", "parameter", label="hidden.weight"),
            buffer("table", "unit=5", "constant", data=(1.0, 2.0, 3.0, 4.0, 5.0)),
            buffer("h", "batch unit=5", "scratch"),
            buffer("g", "unit=5", "scratch"),
            buffer("c", "batch pixel=4", "scratch"),
        ),
        (
            Assign(
                "h",
                (bx, ux),
                "sum",
                (b, u, p),
                ("batch", "unit", "pixel"),
                (),
                Binary("*", Load("x", (bx, px)), Load("w", (ux, px))),
                "float32",
                "h = W x",
            ),
            Assign(
                "g",
                (y,),
                "sum",
                (b,),
                ("batch",),
                (),
                Call("exp", (Load("h", (bx, y)),)),
                "float64",
            ),
            Assign(
                "c",
                (bx, px),
                "sum",
                (b, p, q),
                ("batch", "pixel", "prior"),
                (unguarded(guard(px - qx, ">=")),),
                Select(
                    Compare(">", Load("x", (bx, qx - 1), (before,)), number(0)),
                    Binary("-", Load("x", (bx, px)), number("1/10")),
                    Binary("*", IndexValue(px + 2 * floordiv(px + 1, 3)), number("1/3")),
                ),
                "float32",
            ),
            Assign(
                "w",
                (ux, px),
                "=",
                (u, p),
                ("unit", "pixel"),
                (),
                Binary(
                    "-",
                    Load("w", (ux, px)),
                    Binary(
                        "*",
                        Load("rate"),
                        Binary("*", Load("g", (ux,)), Load("table", (ux,))),
                    ),
                ),
                "float32",
            ),
        ),
        ("h", "c", "h"),
    )


GOLDEN = """\
program step(batch)
  # A small step.
  #
  #     h = W x '
  input      x : float32[batch, pixel=4]
  input      y : int64[batch] in 0..4
  scalar     rate : float32
  parameter  w : float32[unit=5, pixel=4]   "hidden.weight"
  constant   table : float32[unit=5] = 1.0, 2.0, 3.0, 4.0, 5.0

  # h = W x
  h : float32[batch, unit=5] = sum_{pixel<4} x[batch, pixel] * w[unit, pixel]
  g : float32[unit=5]; g[y[batch]] += exp(h[batch, y[batch]]) in float64 for batch
  c : float32[batch, pixel=4] = sum_{prior<4} select(x[batch, prior - 1]{prior - 1 >= 0} > 0,
      x[batch, pixel] - 0.1, (pixel + 2*((pixel + 1)//3)) * (1 / 3)) where pixel - prior >= 0
  w <- w[unit, pixel] - rate * (g[unit] * table[unit])

  return h, c, h
"""


def recurrence(reverse: bool = False) -> Program:
    """s' = s + v*k, and the running square: a scan, with its step called once more as a block."""
    body = Program(
        "turn",
        "",
        (),
        (
            buffer("s", ""),
            buffer("v", ""),
            buffer("k", ""),
            buffer("s_next", "", "scratch"),
            buffer("square", "", "scratch"),
        ),
        (
            Assign(
                "s_next",
                (),
                "=",
                (),
                (),
                (),
                Binary("+", Load("s"), Binary("*", Load("v"), Load("k"))),
                "float32",
            ),
            Assign("square", (), "=", (), (), (), Binary("**", Load("s"), number(2)), "float32"),
        ),
        ("s_next", "square"),
    )
    return Program(
        "f",
        "",
        (TIME,),
        (
            buffer("start", ""),
            buffer("v", "time"),
            buffer("k", ""),
            buffer("last", "", "scratch"),
            buffer("squares", "time", "scratch"),
            buffer("more", "", "scratch"),
            buffer("less", "", "scratch"),
        ),
        (
            Scan(("last", "squares"), TIME.ix(), reverse, ("start",), ("v",), ("k",), body, "s'"),
            Block(("more", "less"), ("last", "k", "k"), body),
        ),
        ("last", "squares", "more", "less"),
    )


def test_golden() -> None:
    assert listing(small_step()) == GOLDEN


def test_sub_program_is_shown_once() -> None:
    program = recurrence(reverse=True)
    assert (
        listing(program)
        == """\
program f(time)
  input      start : float32
  input      v : float32[time]
  input      k : float32

  # s'
  last : float32, squares : float32[time] = scan for t reversed<time: turn(start, v[t], k)
    program turn()
      input      s : float32
      input      v : float32
      input      k : float32

      s_next : float32 = s + v * k
      square : float32 = s**2

      return s_next, square
  more : float32, less : float32 = turn(last, k, k)

  return last, squares, more, less
"""
    )


def test_library_call() -> None:
    program = Program(
        "f",
        "",
        (),
        (buffer("a", "n=3"), buffer("b", "n=3", "scratch")),
        (Library(("b",), "sort", (("axis", 0), ("order", "up")), ("a",)),),
        ("b",),
    )
    assert "  b : float32[n=3] = sort(a, axis=0, order='up')\n" in listing(program)


@pytest.mark.parametrize(
    ("scalar", "text"),
    [
        (Unary("not", Compare("<", Load("a"), Load("b"))), "~(a < b)"),
        (Unary("-", Binary("+", Load("a"), Load("b"))), "-(a + b)"),
        (Binary("-", Load("a"), Binary("-", Load("b"), Load("c"))), "a - (b - c)"),
        (Binary("/", Load("a"), Binary("*", Load("b"), Load("c"))), "a / (b * c)"),
        (Binary("**", Unary("-", Load("a")), number(2)), "(-a)**2"),
        (Cast("int32", Round(Load("a"))), "int32(round(a))"),
        (Fma(Load("a"), Load("b"), number("-5/2")), "fma(a, b, -2.5)"),
        (Bitcast("uint32", Load("a")), "bits_as_uint32(a)"),
        (Xor(Shift(Load("i"), -7), And(Load("i"), number(255))), "i >> 7 ^ i & 255"),
        (MulHigh(Load("i"), Load("i")), "mul_high(i, i)"),
        (Number("-inf"), "-inf"),
        (number("-2/3"), "-(2 / 3)"),
    ],
)
def test_scalars(scalar: Scalar, text: str) -> None:
    assert spell_scalar(scalar, {}) == text


def test_indices() -> None:
    i, j = loop(0, 9), loop(1, 9)
    names: dict[Loop, str] = {i: "row", j: "column"}
    assert spell_ix(3 * floordiv(i.ix(), 2) - mod(i.ix() + j.ix(), 4) - 1, names) in (
        "3*(row//2) - ((row + column)%4) - 1",
    )
    assert spell_ix(as_ix(i) - 2 * j.ix(), names) == "row - 2*column"


def test_long_lines_break_where_a_reader_would() -> None:
    x = Load("a_rather_long_name_of_a_buffer", (loop(0, 4).ix(),))
    total: Scalar = x
    for _ in range(12):
        total = Binary("+", total, x)
    text = spell_scalar(total, {loop(0, 4): "i"})
    lines = wrap("  y : float32[i=4] = " + text)
    assert len(lines) > 3
    assert all(len(line) <= 100 for line in lines)
    assert all(line.startswith("      + a_rather") for line in lines[1:])
    assert "".join(line.strip() for line in lines).replace(" ", "") == (
        "y:float32[i=4]=" + text
    ).replace(" ", "")


def test_wrap_of_anything_ends() -> None:
    rng = random.Random(1)
    for _ in range(200):
        line = "".join(rng.choice("ab ,()[]+-*") for _ in range(rng.randint(0, 300)))
        lines = wrap("  " + line, 40)
        assert "".join("".join(lines).split()) == "".join(line.split())


def test_same_bytes_in_another_process() -> None:
    """Whatever the hash seed, and after other combinations were built first."""
    code = (
        "import sys; sys.path[:0] = [sys.argv[1], sys.argv[2]]\n"
        "from codegen.index import dim, loop\n"
        "kept = [loop(n, dim(f'd{n}').ix() + n) for n in range(50)]\n"
        "from test_listing import listing, recurrence, small_step\n"
        "print(listing(small_step()) + listing(recurrence()), end='')\n"
    )
    here = Path(__file__).resolve().parent
    for seed in ("1", "2"):
        found = subprocess.run(
            [sys.executable, "-c", code, str(here), str(here.parent.parent)],
            capture_output=True,
            check=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
        ).stdout
        assert found == listing(small_step()) + listing(recurrence())
