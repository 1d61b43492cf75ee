"""The table that README shows is the recorded one, and what is measured now is no worse."""

from __future__ import annotations

from pathlib import Path

import pytest

from symprop.accuracy import record, report
from symprop.accuracy.measure import measured
from symprop.accuracy.record import Row
from symprop.ops.declare import REGISTRY

pytest.importorskip("flint")

HERE = Path(__file__).resolve().parent
RECORD = record.read(HERE / "sampled.json")
README = (HERE.parent.parent / "README.md").read_text(encoding="utf-8")
NATIVE = [r for r in RECORD.rows if r.backend == "native" and r.op in REGISTRY]
POINTS = 20  # beside landmarks and the neighbours of the worst


def worse(row: Row, found: Row) -> bool:
    """Whether an error is larger than the recorded one by more than other points may show."""
    if row.max is None:
        return False
    return found.max is None or found.max > max(1.5 * row.max, row.max + 0.5)


def no_worse(row: Row) -> None:
    op = REGISTRY[row.op]
    (found,) = measured(op, row.order, row.dtype, [row.backend], POINTS)
    assert not worse(row, found), f"recorded: {row}\nfound: {found}"


def ids(row: Row) -> str:
    return f"{row.op}{'_' * row.order}-{row.dtype}"


def test_readme_shows_the_record() -> None:
    assert report.block(RECORD) in README


def test_the_record_has_values_and_first_derivatives_in_both_widths() -> None:
    for op in dict.fromkeys(r.op for r in NATIVE):
        for dtype in ("float32", "float64"):
            for order in (0, 1):
                assert RECORD.of(op, dtype, "native", order) is not None
                assert RECORD.of(op, dtype, "numpy", order) is not None


@pytest.mark.parametrize("row", [r for r in NATIVE if r.dtype == "float32"], ids=ids)
def test_float32_is_no_worse_than_recorded(row: Row) -> None:
    no_worse(row)


@pytest.mark.slow
@pytest.mark.parametrize("row", [r for r in NATIVE if r.dtype == "float64"], ids=ids)
def test_float64_is_no_worse_than_recorded(row: Row) -> None:
    no_worse(row)


@pytest.mark.slow
def test_every_op_is_in_the_record() -> None:
    assert {r.op for r in RECORD.rows} == set(REGISTRY)
