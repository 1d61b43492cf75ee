"""Quotients that are made from estimates, as machine code: nearly always the rounded ones."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from codegen.llvm.cost import waits
from codegen.llvm.emit import emit
from codegen.loops.directives import Vectorise
from codegen.loops.from_program import from_program
from codegen.loops.schedule import apply
from codegen.program import Binary, Call, Load
from tests.codegen.building import Building, S
from tests.codegen.scalar_arrays import Array

pytest.importorskip("llvmlite")

from codegen.llvm.build import compile as build
from codegen.llvm.target import SHIPPED, X86_64_AVX512, host

ESTIMATE = "rcp14"
ROOT = Call("sqrt", (Load("y"),))


def text_and_values(x: Array, y: Array) -> tuple[str, Array]:
    """x/sqrt(y) of float32 on this machine."""
    target, count = host(), len(x)
    p = Building("f", "", "float32", block=count // 16, lane=16)
    a, b = p.declare("x", "block lane"), p.declare("y", "block lane")
    read = lambda i, j: S(Binary("/", a[i, j].scalar, Call("sqrt", (b[i, j].scalar,))))  # noqa: E731
    p.step("z", "block lane", "=", read, "z = x / sqrt(y)")
    text = emit(apply(from_program(p.done("z")), Vectorise("z", "lane")), target)
    entry = build(text, target).entry("f")
    out = np.empty(count, np.float32)
    words = [array.ctypes.data for array in (x, y, out)]
    context = (ctypes.c_uint64 * len(words))(*words)
    entry(ctypes.addressof(context))
    return text, out


def units_off(found: Array, expected: Array) -> Array:
    """How many numbers lie between two."""
    order = [np.where(v.view(np.int32) < 0, -(v.view(np.int32) & 0x7FFFFFFF), v.view(np.int32))
             for v in (found, expected)]  # fmt: skip
    return np.abs(order[0].astype(np.int64) - order[1])


def test_a_quotient_beside_a_root_does_not_wait_for_the_divider() -> None:
    assert waits(Binary("/", Load("x"), ROOT))
    assert not waits(ROOT)
    assert not waits(Binary("/", Load("x"), Load("y")))
    busy = Call("tanh", (Call("tanh", (Load("x"),)),))
    assert not waits(Binary("/", busy, ROOT))


def test_only_machines_with_masks_have_estimates_of_14_bits() -> None:
    assert [t for t in SHIPPED.values() if t.estimates] == [X86_64_AVX512]


def test_estimated_quotients_are_the_rounded_ones_but_for_few() -> None:
    rng = np.random.default_rng(5)
    count = 1 << 22
    x = rng.normal(size=count) * np.exp(rng.uniform(-60, 60, count))
    y = np.exp(rng.uniform(-80, 80, count))
    x, y = x.astype(np.float32), y.astype(np.float32)
    text, found = text_and_values(x, y)
    assert (ESTIMATE in text) == host().estimates
    with np.errstate(over="ignore"):
        off = units_off(found, x / np.sqrt(y))
    assert off.max() <= 1
    assert (off > 0).mean() < 1e-5


def test_tiny_dividends_are_off_by_two_units_at_most() -> None:
    rng = np.random.default_rng(6)
    x = (rng.normal(size=1 << 16) * np.exp(rng.uniform(-103, -60, 1 << 16))).astype(np.float32)
    y = np.exp(rng.uniform(-30, 30, 1 << 16)).astype(np.float32)
    with np.errstate(all="ignore"):
        expected = x / np.sqrt(y)
    assert units_off(text_and_values(x, y)[1], expected).max() <= 2


def test_special_numbers_divide_as_the_standard_says() -> None:
    info = np.finfo(np.float32)
    some = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, info.max, -info.max, info.tiny]
    some += [info.smallest_subnormal, 2.0**126, 2.0**127, 2.0**-126, 2.0**-140, 3.0]
    x, y = (m.ravel().astype(np.float32) for m in np.meshgrid(some, some))
    with np.errstate(all="ignore"):
        expected = x / np.sqrt(y)
    found = text_and_values(x, y)[1]
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    assert (same | (units_off(found, expected) <= 2)).all(), (x[~same], y[~same], found[~same])
    infinite = np.isinf(expected) | np.isnan(expected)
    assert same[infinite].all()
