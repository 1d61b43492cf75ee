"""The verifier: it accepts what is right, and says in one sentence what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from test_listing import buffer, number, recurrence, small_step

from codegen.dtypes import infer_dtype, promote
from codegen.index import (
    Guard,
    Ix,
    Loop,
    constant,
    dim,
    floordiv,
    gather,
    guard,
    loop,
    mod,
)
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
    ReduceOp,
    Round,
    Scalar,
    Scan,
    Select,
    Shift,
    Unary,
)
from codegen.ranges import implied, injective
from codegen.verify import InvalidProgram, verify

BATCH = dim("batch")
LI, LJ, LK = loop(0, BATCH.ix()), loop(1, 6), loop(2, 3)
i, j, k = LI.ix(), LJ.ix(), LK.ix()


def where(*found: Guard | bool) -> tuple[Guard, ...]:
    assert False not in found
    return tuple(g for g in found if isinstance(g, Guard))


def inside(ix: Ix, size: Ix | int) -> tuple[Guard, ...]:
    return where(guard(ix, ">="), guard(size - 1 - ix, ">=") if isinstance(size, Ix) else
                 guard(-1 * ix + (size - 1), ">="))  # fmt: skip


def one(
    body: Scalar,
    index: tuple[Ix, ...] = (i, j),
    axes: str = "batch m=6",
    op: ReduceOp = "=",
    loops: tuple[Loop, ...] = (LI, LJ),
    guards: tuple[Guard, ...] = (),
    dtype: Dtype = "float32",
    **more: Any,
) -> Program:
    """A program of one step."""
    buffers = (
        buffer("x", "batch m=6"),
        buffer("row", "m=6"),
        buffer("n", "batch", dtype="int64"),
        buffer("ids", "batch", dtype="int64", low=constant(0), high=constant(5)),
        buffer("flag", "batch", dtype="bool"),
        buffer("u", "batch", dtype="uint32"),
        buffer("state", "batch m=6", "state"),
    )
    names = ("i", "j", "k", "l")[: len(loops)]
    step = Assign("out", index, op, loops, names, guards, body, "float32")
    out = buffer("out", axes, "scratch", dtype)
    program = Program("f", "", (BATCH,), (*buffers, out), (step,), ("out",))
    return replace(program, **more)


X = Load("x", (i, j))
ids = gather(BufferSource("ids", constant(0), constant(5)), (i,))
NEXT = gather(BufferSource("ids", constant(0), constant(5)), (i + 1,))

VALID: dict[str, Program] = {
    "small step": small_step(),
    "recurrence": recurrence(),
    "map": one(X),
    "sum": one(X, (i,), "batch", "sum"),
    "matmul": one(Binary("*", X, Load("row", (j,))), (i,), "batch", "sum"),
    "flip": one(Load("x", (BATCH.ix() - 1 - i, 5 - j))),
    "shift with guards": one(Load("x", (i, j - 1), where(guard(j - 1, ">=")))),
    "window": one(
        Load("row", (2 * j + k - 1,), inside(2 * j + k - 1, 6)), op="sum", loops=(LI, LJ, LK)
    ),
    "halves": one(
        Load("row", (floordiv(j - k, 2),), inside(j - k, 6)), op="sum", loops=(LI, LJ, LK)
    ),
    "prefix": one(Load("row", (k,)), (j,), "m=6", "sum", (LJ, LK), where(guard(j - k, ">="))),
    "gather": one(Load("row", (ids,)), (i,), "batch", "=", (LI,)),
    "gather in a guard": one(X, guards=where(guard(NEXT, "=="), guard(BATCH.ix() - 2 - i, ">="))),
    "scatter": one(Load("x", (i, 0 * i)), (ids,), "m=6", "sum", (LI,)),
    "scatter once": one(Load("x", (i, 0 * i)), (ids,), "m=6", "=", (LI,)),
    "one hot": one(number(1), guards=where(guard(j - ids, "=="))),
    "reshape": one(
        Load("row", (k + 3 * floordiv(j, 3),)), (floordiv(j, 3), mod(j, 3), k), "a=2 b=3 c=3",
        "=", (LJ, LK),
    ),
    "residues": one(Load("row", (j,)), (6 * k + j,), "m=18", "=", (LJ, LK)),
    "unsolved equality": one(
        Load("row", (j,)), (k,), "m=3", "=", (LJ, LK), where(guard(2 * k - j, "=="))
    ),
    "concat": one(
        Binary("+", Load("row", (j,), where(guard(5 - j, ">="))), number(0)), (j + 6 * k,), "m=18",
        "=", (LJ, LK),
    ),
    "size": one(Binary("/", X, IndexValue(BATCH.ix()))),
    "not of a comparison": one(
        Select(Unary("not", Compare("<", X, number(0))), X, number(0))
    ),
    "bits": one(Binary("*", Load("u", (i,)), number(3)), (i,), "batch", "=", (LI,), (), "uint32"),
    "bool to float": one(Load("flag", (i,)), (i,), "batch", "=", (LI,)),
    "argument as output": one(X, outputs=("x", "out", "x")),
}  # fmt: skip


@pytest.mark.parametrize("name", VALID)
def test_accepts(name: str) -> None:
    verify(VALID[name])


def change(program: Program, n: int, **fields: Any) -> Program:
    steps = list(program.steps)
    steps[n] = replace(steps[n], **fields)
    return replace(program, steps=tuple(steps))


def rename(program: Program, old: str, **fields: Any) -> Program:
    found = tuple(replace(b, **fields) if b.name == old else b for b in program.buffers)
    return replace(program, buffers=found)


BASE = one(X)
ROW = one(Load("row", (j,)), (j,), "m=6", "=", (LJ,))
TWICE = replace(ROW, steps=ROW.steps * 2)
OTHER = loop(7, 6).ix()
SCAN = recurrence()
TURN = SCAN.steps[0]
assert isinstance(TURN, Scan)
STATE = replace(
    BASE,
    steps=(
        Assign("state", (i, j), "=", (LI, LJ), ("i", "j"), (), Load("state", (i, j)), "float32"),
    ),
    buffers=BASE.buffers[:-1],
    outputs=(),
)
AFTER = replace(BASE, steps=(*STATE.steps, *change(BASE, 0, body=Load("state", (i, j))).steps))
FLOAT_IDS = gather(BufferSource("row", constant(0), constant(5)), (j,))
WIDE_IDS = gather(BufferSource("ids", constant(0), constant(7)), (i,))

INVALID: dict[str, tuple[Program, str]] = {
    "keyword": (replace(BASE, name="lambda"), "the program name 'lambda' is not a legal"),
    "builtin": (rename(BASE, "row", name="print"), "the buffer name 'print' is not a legal"),
    "hostile": (rename(BASE, "row", name="a\nb"), r"the buffer name 'a\\nb' is not a legal"),
    "two of one name": (rename(BASE, "row", name="x"), "the name x is given twice"),
    "as a dimension": (rename(BASE, "row", name="batch"), "the name batch is given twice"),
    "axes": (rename(BASE, "row", axes=()), "buffer row: 0 axis names for 1 dims"),
    "unknown dimension": (replace(BASE, dims=()), "buffer x: the dimension batch is not decl"),
    "loop in a size": (rename(BASE, "row", dims=(i,)), "buffer row: the size i0<batch depends"),
    "constant": (
        rename(BASE, "row", role="constant", data=(1.0,)),
        "buffer row: 1 values for a shape of 6",
    ),
    "data": (rename(BASE, "row", data=(1.0,)), "a buffer of role input holds no data"),
    "bounds of a float": (rename(BASE, "row", low=i, high=i), "bounds of values are for integ"),
    "unknown buffer": (one(Load("y")), r"step 1 \(out\): y is not a buffer"),
    "before written": (one(Load("out", (i, j))), "out is read before it is written"),
    "written twice": (TWICE, r"step 2 \(out\): out is written a second time"),
    "input written": (change(BASE, 0, target="x"), "x is of role input: never written"),
    "target unknown": (change(BASE, 0, target="y"), "y is not a buffer"),
    "never written": (replace(BASE, steps=()), "the output out is never written"),
    "never read": (replace(BASE, outputs=()), "out is written, but never read"),
    "output unknown": (replace(BASE, outputs=("y",)), "the output y is not a buffer"),
    "rank of a read": (one(Load("x", (i,))), "reads x with 1 indices, it has 2 axes"),
    "rank of a write": (one(X, (i,)), "writes out with 1 indices, it has 2 axes"),
    "read too far": (
        one(Load("x", (i, j + 1))),
        r"reads x\[i, j \+ 1\] out of range: j \+ 1 is 6 of 6 at batch = 1, j = 5",
    ),
    "read under too weak a guard": (
        one(Load("x", (i, j - 2), where(guard(j - 1, ">=")))),
        r"reads x\[i, j - 2\] where j - 1 >= 0 out of range: j - 2 is -1 of 6 at batch = 1, j = 1",
    ),
    "read over the batch": (one(Load("x", (i + 1, j))), r"i \+ 1 is 1 of 1 at batch = 1, i = 0"),
    "write too far": (one(X, (i, 2 * j)), r"writes out\[i, 2\*j\] out of range: 2\*j is 6 of 6"),
    "gather too wide": (one(Load("x", (ids, j))), r"ids\[i\] is 1 of 1|ids\[i\] is 5 of"),
    "gather at a place too far": (
        one(Load("row", (gather(ids.terms[0][0].source, (i + 1,)),))),  # type: ignore[attr-defined]
        r"reads ids\[i \+ 1\] out of range",
    ),
    "gather in a guard too far": (
        one(X, guards=where(guard(NEXT, "=="))),
        r"reads ids\[i \+ 1\] out of range",
    ),
    "gather of floats": (one(Load("row", (FLOAT_IDS,))), "the index buffer row is float32"),
    "gather with other bounds": (one(Load("row", (WIDE_IDS,))), "bounds ids otherwise than its"),
    "write twice": (one(X, (i, 0 * j)), r"writes out\[0, 0\] twice at batch = 1, i = 0, j = 1"),
    "write twice by a floor": (one(X, (i, floordiv(j, 2))), r"twice at .*: reduce with sum, max"),
    "undeclared loop": (one(Load("row", (OTHER,))), "i7 uses a loop that is not declared"),
    "loop names": (change(BASE, 0, names=("i",)), "not every loop has a name"),
    "equal loop names": (change(BASE, 0, names=("i", "i")), "two loops have one name"),
    "loop name": (change(BASE, 0, names=("i", "j;")), "the loop name 'j;' is not legal"),
    "loop twice": (change(BASE, 0, loops=(LI, LI)), "a loop is declared twice"),
    "unknown function": (one(Call("besselj", (X,))), "there is no scalar function 'besselj'"),
    "arity": (one(Call("exp", (X, X))), "exp takes 1 arguments, not 2"),
    "power": (one(Binary("**", X, X)), r"\*\* takes an integer number; use the function power"),
    "root": (one(Binary("**", X, number("1/2"))), r"\*\* takes an integer number"),
    "float number": (one(Number(0.5)), "the number 0.5 is not exact"),  # type: ignore[arg-type]
    "condition": (one(Select(X, X, X)), "a condition is float32, not bool: compare it"),
    "bits of floats": (one(And(X, X)), "and, or and xor take two of bool or two integers"),
    "shift of floats": (one(Shift(X, 1)), "a shift takes an integer, not float32"),
    "high of signed": (
        one(MulHigh(Load("n", (i,)), Load("n", (i,))), dtype="int64"),
        "mul_high takes unsigned integers, not int64",
    ),
    "bits of another width": (one(Bitcast("uint64", X)), "the bits of float32 do not fit a uint64"),
    "round of integers": (one(Round(Load("n", (i,)))), "round takes a float, not int64"),
    "float into integer": (one(X, dtype="int64"), "out is int64, its formula float32: cast it"),
    "fraction into integer": (one(number("1/2"), dtype="int64"), "its formula float32: cast it"),
    "integer into bool": (one(Load("n", (i,)), dtype="bool"), "out is bool, its formula int64"),
    "update elsewhere": (
        change(STATE, 0, body=Load("state", (i, 5 - j))),
        "the update of state reads it at another element than it writes",
    ),
    "update while summing": (
        change(STATE, 0, op="sum", loops=(LI, LJ, LK), names=("i", "j", "k")),
        "the update of state reads it at another element",
    ),
    "read after an update": (AFTER, r"step 2 \(out\): state is read after it was updated in place"),
    "carries": (
        change(SCAN, 0, carries=()),
        "2 arguments for a body with 3",
    ),
    "slices": (change(SCAN, 0, slices=("k",)), "k has no leading axis of time"),
    "scan targets": (change(SCAN, 0, targets=("last",)), "1 targets for a body with 2"),
    "stacked shape": (
        rename(SCAN, "squares", dims=(), axes=()),
        r"the target squares is float32\[\], but square of the body is float32\[time\]",
    ),
    "carry dtype": (
        rename(SCAN, "start", dtype="float64"),
        r"the argument start is float64\[\], but s of the body is float32\[\]",
    ),
    "target named twice": (change(SCAN, 0, targets=("last", "last")), "a target is named twice"),
    "inside a body": (
        change(SCAN, 0, body=change(TURN.body, 0, body=Call("nope", ()))),
        "in program turn: step 1 .s_next.: there is no scalar function 'nope'",
    ),
    "a body that updates": (
        replace(
            STATE,
            steps=(Block(("state",), ("state",), replace(STATE, name="g", buffers=STATE.buffers)),),
        ),
        "the body g updates an argument in place",
    ),
    "library argument": (
        replace(BASE, steps=(Library(("out",), "sort", (), ("y",)),)),
        "y is not a buffer",
    ),
    "library name": (
        replace(BASE, steps=(Library(("out",), "so rt", (), ("x",)),)),
        "the operation name 'so rt' is not legal",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_refuses(name: str) -> None:
    program, message = INVALID[name]
    with pytest.raises(InvalidProgram, match=message) as caught:
        verify(program)
    assert "\n" not in str(caught.value)


def test_a_state_is_updated_in_place() -> None:
    verify(STATE)
    verify(replace(STATE, outputs=("state",)))


@pytest.mark.parametrize(
    ("make", "proved"),
    [
        (lambda: implied(j - k, where(guard(j - k, ">="))), True),
        (lambda: implied(2 * j - 1, where(guard(2 * j - 1, ">="))), True),
        (lambda: implied(j - 2, where(guard(j - 1, ">="))), False),
        (lambda: implied(5 - floordiv(j + k, 2), where(guard(10 - j - k, ">="))), True),
        (lambda: implied(floordiv(j - k, 2), where(guard(j - k, ">="))), True),
        (lambda: implied(i - k, where(guard(i - j, ">="), guard(j - k, ">="))), True),
        (lambda: implied(BATCH.ix() - 1 - j, where(guard(i - j, "=="))), True),
        (lambda: implied(BATCH.ix() - 1 - j, ()), False),
        (lambda: injective((j, k), (), (LJ, LK)), True),
        (lambda: injective((2 * j + 1, 3 - k), (), (LJ, LK)), True),
        (lambda: injective((j + k, k), (), (LJ, LK)), True),
        (lambda: injective((3 * j + k,), (), (LJ, LK)), False),
        (lambda: injective((floordiv(j, 4), mod(j, 4)), (), (LJ,)), True),
        (lambda: injective((k,), where(guard(2 * k - j, "==")), (LJ, LK)), True),
    ],
)
def test_proofs(make: Callable[[], bool], proved: bool) -> None:
    assert make() is proved


TABLE = {
    b.name: b
    for b in (
        buffer("f", ""),
        buffer("d", "", dtype="float64"),
        buffer("b", "", dtype="bool"),
        buffer("n", "", dtype="int64"),
        buffer("m", "", dtype="int32"),
        buffer("u", "", dtype="uint32"),
    )
}
F, D, B, N, M, U = (Load(name) for name in TABLE)


@pytest.mark.parametrize(
    ("scalar", "context", "dtype"),
    [
        (F, None, "float32"),
        (Binary("+", F, D), None, "float64"),
        (Binary("*", F, N), None, "float32"),
        (Binary("*", B, F), None, "float32"),
        (Binary("+", B, B), None, "int64"),
        (Binary("+", M, M), None, "int32"),
        (Binary("+", M, U), None, "int64"),
        (Binary("+", M, number(2)), None, "int32"),
        (Binary("+", M, number("1/2")), None, "float32"),
        (Binary("/", N, N), None, "float32"),
        (Binary("**", M, number(2)), None, "int32"),
        (Binary("*", number("1/2"), D), None, "float64"),
        (Compare("<", F, D), None, "bool"),
        (Unary("not", B), None, "bool"),
        (Unary("-", B), None, "int64"),
        (Select(B, number(0), D), None, "float64"),
        (Select(B, number(0), number(1)), None, "int64"),
        (Select(B, number(0), number(1)), "float64", "float64"),
        (Select(B, number("1/2"), number(1)), "int64", "float32"),
        (number(1), None, "int64"),
        (number(1), "bool", "bool"),
        (Number("inf"), None, "float32"),
        (Number("inf"), "float64", "float64"),
        (IndexValue(constant(3)), "float32", "int64"),
        (Call("exp", (N,)), None, "float32"),
        (Call("abs", (N,)), None, "int64"),
        (Call("maximum", (M, number(0))), None, "int32"),
        (Call("isnan", (F,)), None, "bool"),
        (Call("exp", (D,)), None, "float64"),
        (Cast("int32", F), None, "int32"),
        (Bitcast("float32", U), None, "float32"),
        (Shift(U, 3), None, "uint32"),
        (And(U, number(7)), None, "uint32"),
        (Fma(F, number(2), number(1)), None, "float32"),
    ],
)
def test_infer_dtype(scalar: Scalar, context: Dtype | None, dtype: Dtype) -> None:
    assert infer_dtype(scalar, TABLE, context) == dtype


def test_infer_dtype_of_a_program() -> None:
    buffers: tuple[Buffer, ...] = tuple(TABLE.values())
    program = Program("p", "", (), buffers, (), ())
    assert infer_dtype(Binary("*", F, Number(Fraction(1, 3))), program) == "float32"
    assert promote("int64", "float32") == "float32"
