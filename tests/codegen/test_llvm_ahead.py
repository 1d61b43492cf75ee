"""Rows fetched while a sum runs: where that is done, and that it changes no value."""

from __future__ import annotations

import numpy as np
import pytest

from codegen.llvm.ahead import outgrows
from codegen.llvm.emit import emit
from codegen.llvm.schedule import native
from codegen.llvm.target import X86_64_AVX512
from tests.codegen import schedules
from tests.codegen.schedules import arguments

FETCH = "call void @llvm.prefetch"
LARGE = {"unit": 1024, "pixel": 200}  # 1.6 MB an array


def fetches(batch: int | None, unit: int, pixel: int) -> int:
    loops = native(schedules.weight_step(batch, unit, pixel), X86_64_AVX512, {})
    return emit(loops, X86_64_AVX512).count(FETCH)


def test_a_step_that_outgrows_the_cache_fetches_what_it_reads_behind_a_gradient() -> None:
    assert fetches(64, **LARGE) > 0
    assert fetches(64, unit=64, pixel=64) == 0


def test_all_that_a_step_works_on_counts_at_typical_sizes() -> None:
    assert outgrows(schedules.weight_step(64, **LARGE))
    assert not outgrows(schedules.weight_step(64, unit=64, pixel=64))
    assert outgrows(schedules.column_sum(1 << 16, unit=6))


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize("batch", [1, 2, 5, 13, 64, 200])
def test_a_sum_in_pieces_has_all_its_terms(batch: int, free: bool) -> None:
    pytest.importorskip("llvmlite")
    from codegen.llvm.target import host
    from tests.codegen.running import run

    before = schedules.weight_step(None if free else batch, **LARGE)
    given = arguments(before, batch)
    gradient = given["d"].T @ given["x"]
    m = 0.9 * given["m"] + 0.1 * gradient
    w = given["w"] - m / (1 + np.abs(m))
    made = native(before, host(), {})
    assert (FETCH in emit(made, host())) == (free or batch > 1)
    for a, b in zip(run(made, given, host()), (m, w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
