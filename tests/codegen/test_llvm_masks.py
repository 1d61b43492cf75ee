"""Lanes that a loop does not have: whole vectors under masks, rows with room, values kept in lanes.

Arrays stand against pages that cannot be touched, so that what must not be read is not.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from codegen.aligned import ALIGNMENT, aligned
from codegen.llvm.emit import emit
from codegen.llvm.room import roomy
from codegen.llvm.schedule import native
from codegen.llvm.storage import padded
from codegen.llvm.target import SHIPPED, X86_64_AVX512, X86_64_SSE2
from codegen.loops.directives import Outline, Pack, Privatise, RegisterBlock, Vectorise
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret
from codegen.loops.nest import Loops
from codegen.loops.schedule import applied
from codegen.loops.verify import verify
from tests.codegen.building import Building
from tests.codegen.running import run, runnable
from tests.codegen.schedules import arguments, dense, layers

TARGETS = pytest.mark.parametrize("target", list(runnable()))
WIDTHS = (1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 19, 31, 33, 47, 65)


def rows(width: int, height: int = 5) -> Loops:
    """Each row of x without its mean, and the sum of its squares; one loop over rows each."""
    p = Building("f", dtype="float32", row=height, n=width)
    x = p.declare("x", "row n")
    total = p.step("total", "row", "sum n", lambda i, j: x[i, j])
    centred = p.step("centred", "row n", "=", lambda i, j: x[i, j] - total[i] * (1 / width))
    p.step("spread", "row", "sum n", lambda i, j: centred[i, j] * centred[i, j])
    p.step("out", "row n", "=", lambda i, j: centred[i, j] * 2)
    return from_program(p.done("out", "spread"))


def agrees(loops: Loops, made: Loops, target: str) -> None:
    verify(made)
    given = {n: a.astype(loops.array(n).dtype) for n, a in arguments(loops, 7).items()}
    for at_end in (False, True):
        found = run(made, given, runnable()[target], at_end)
        for a, b in zip(found, interpret(loops, given), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


# --- lanes ----------------------------------------------------------------------------------------


@TARGETS
@pytest.mark.parametrize("width", WIDTHS)
def test_rows_of_any_width_run_in_lanes(width: int, target: str) -> None:
    loops = rows(width)
    agrees(loops, native(loops, runnable()[target], {}), target)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("batch", [1, 2, 7, 30])
def test_products_of_any_size_run_in_tiles(width: int, batch: int) -> None:
    loops = dense(batch, pixel=width, unit=width)
    agrees(loops, native(loops, runnable()["host"], {}), "host")


def test_a_vector_is_whole_where_there_are_masks() -> None:
    assert [padded(n, n, 16, X86_64_AVX512) for n in (1, 2, 3, 5, 9, 16)] == [1, 2, 4, 8, 16, 16]
    assert padded(1, 33, 16, X86_64_AVX512) == padded(9, 25, 16, X86_64_AVX512) == 16
    assert padded(5, 5, 4, X86_64_SSE2) == 5


def test_no_value_is_wider_than_a_vector() -> None:
    """A tile of 45 columns is three registers a row; its last one is read under a mask."""
    turned = Pack("product", "w", (1, 0))
    tile = RegisterBlock("product", (("batch", 8), ("unit", 45)), lanes=True)
    text = emit(applied(dense(64, pixel=16, unit=45), [turned, tile]), X86_64_AVX512)
    widths = {int(n) for n in re.findall(r"<(\d+) x double>", text)}
    assert widths == {16}
    assert "llvm.masked.load" in text


@TARGETS
@pytest.mark.parametrize(("height", "width"), [(13, 15), (20, 37), (5, 4), (3, 50), (64, 2)])
def test_a_part_of_a_square_is_turned(height: int, width: int, target: str) -> None:
    p = Building("f", dtype="float32", n=height, m=width)
    x = p.declare("x", "m n")
    p.step("turned", "n m", "=", lambda i, j: x[j, i])
    loops = from_program(p.done("turned"))
    lanes = runnable()[target].lanes(32)
    block = RegisterBlock("turned", (("n", lanes), ("m", lanes)), lanes=True)
    agrees(loops, applied(loops, [block]), target)


@TARGETS
@pytest.mark.parametrize("width", [4, 5, 16, 19, 70])
def test_a_tree_is_added_in_lanes(width: int, target: str) -> None:
    loops = rows(width)
    lanes = runnable()[target].lanes(32)
    tree = [Privatise("spread", "n", lanes), Vectorise("spread", "n_part")]
    agrees(loops, applied(loops, tree), target)


def test_halves_of_a_register_are_added_without_taking_lanes_one_by_one() -> None:
    tree = [Privatise("spread", "n", 16), Vectorise("spread", "n_part")]
    text = emit(applied(rows(64), tree), X86_64_AVX512)
    assert "fadd <8 x float>" in text
    assert text.count("extractelement") <= 3


def test_what_was_stored_is_not_read_again() -> None:
    """In straight code a value stays where it is."""
    p = Building("f", dtype="float32", row=3, n=16)
    x = p.declare("x", "row n")
    y = p.step("y", "row n", "=", lambda i, j: x[i, j] * 2)
    p.step("z", "row n", "=", lambda i, j: y[i, j] + 1)
    made = native(from_program(p.done("y", "z")), X86_64_AVX512, {})
    text = emit(made, X86_64_AVX512)
    assert text.count("load <16 x float>") == 1
    assert text.count("store <16 x float>") == 2


# --- room -----------------------------------------------------------------------------------------


def test_rows_of_scratch_begin_where_vectors_do() -> None:
    made = roomy(rows(19), X86_64_AVX512)
    assert [d.const for d in made.array("centred").dims] == [5, 32]
    agrees(rows(19), made, "host")


@pytest.mark.parametrize(("width", "wide"), [(496, 496), (512, 528), (1020, 1040), (1024, 1040)])
def test_rows_do_not_lie_where_all_share_a_set_of_the_cache(width: int, wide: int) -> None:
    made = roomy(rows(width), X86_64_AVX512)
    assert [d.const for d in made.array("centred").dims] == [5, wide]
    agrees(rows(width), made, "host")


def test_what_a_caller_hands_in_or_gets_has_no_room() -> None:
    before = layers(unit=19)
    made = native(before, X86_64_AVX512, {})
    assert [b.dims for b in made.arguments] == [b.dims for b in before.arguments]
    assert [made.array(n).dims for n in made.outputs] == [
        before.array(n).dims for n in made.outputs
    ]


def test_a_kernel_knows_the_room_of_what_it_is_given() -> None:
    """One that reads an argument in one call and scratch in another has none for either."""
    p = Building("f", dtype="float32", row=3, n=19)
    x = p.declare("x", "row n")
    y = p.step("y", "row n", "=", lambda i, j: x[i, j] * 2)
    z = p.step("z", "row n", "=", lambda i, j: y[i, j] * 2)
    p.step("last", "row n", "=", lambda i, j: z[i, j] + 1)
    loops = from_program(p.done("last"))
    shared = applied(loops, [Outline("y", "twice"), Outline("z", "twice")])
    made = roomy(shared, X86_64_AVX512)
    (kernel,) = made.kernels
    read, written = kernel.arrays
    assert (read.dims[-1].const, written.dims[-1].const) == (19, 19)
    agrees(loops, made, "host")
    alone = roomy(applied(loops, [Outline("z", "twice")]), X86_64_AVX512)
    assert [b.dims[-1].const for b in alone.kernels[0].arrays] == [32, 32]
    agrees(loops, alone, "host")


def test_machines_without_masks_have_no_room() -> None:
    loops = layers(unit=19)
    for target in SHIPPED.values():
        if not target.masks:
            assert roomy(loops, target) is loops


@pytest.mark.parametrize("size", [1, 63, 64, 5000])
def test_behind_an_array_lies_memory_that_was_written_to(size: int) -> None:
    found = aligned(size)
    assert found.size == size
    assert isinstance(found.base, np.ndarray)
    assert not found.base.any()
    start = found.ctypes.data
    end = found.base.ctypes.data + found.base.size
    assert start % ALIGNMENT == 0
    assert end - (start + size) >= ALIGNMENT
