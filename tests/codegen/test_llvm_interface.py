"""The JSON of an interface says all of it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from codegen.index import as_ix, dim, floordiv
from codegen.llvm.arena import Plan, Region, Slot
from codegen.llvm.interface import Interface, read, written
from codegen.program import Buffer


def constant(dtype: str, *values: float) -> Buffer:
    return Buffer(f"of_{dtype}", (as_ix(len(values)),), ("",), dtype, "constant", "c", data=values)


BATCH = dim("batch")
X = Buffer("x", (BATCH.ix(), as_ix(3)), ("", ""), "float32", "input", "x of the user")
HALF = Buffer("half", (floordiv(BATCH.ix() + 1, 2),), ("",), "float32", "scratch")
FACE = Interface(
    "f", (BATCH,), (X,), ("x",), (("", X), ("k", HALF)), ("x",), (),
    Plan((Region(("batch",), 64),), (Slot("k", "half", 0, 0, 64, 1, 2, "older"),)),
)  # fmt: skip


def test_what_is_read_is_what_was_written() -> None:
    assert read(written(FACE)) == FACE


@pytest.mark.parametrize(
    "values",
    [
        constant("int64", 2**53 + 1, -(2**63), 2**63 - 1),
        constant("int32", -(2**31), 7),
        constant("bool", 0, 1),
        constant("float64", 0.1, -0.0, math.inf, 5e-324),
    ],
    ids=lambda b: b.dtype,
)
def test_constants_are_kept_to_the_last_digit(values: Buffer) -> None:
    found = read(written(replace(FACE, constants=(values,)))).constants[0]
    assert found == values
    assert [str(v) for v in found.data or ()] == [str(v) for v in values.data or ()]


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b'{"format": 0}', b"[" * 10**5])
def test_anything_else_is_no_interface(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(data)
