"""`symprop accuracy`: a wrong function is found, and what is measured is told and kept."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from symprop import cli
from symprop.accuracy import bars, command, record, report
from symprop.accuracy.command import Options, sampled
from symprop.accuracy.measure import domain_text, measured
from symprop.accuracy.record import Report, Row
from symprop.accuracy.subjects import Subject, subjects
from symprop.backends import BACKENDS
from symprop.errors import DataError, DeclarationError, SympropError
from symprop.ops.declare import REGISTRY

pytest.importorskip("flint")

runner = CliRunner()
Runs = Callable[[Sequence[Any]], Any]


def row(**other: Any) -> Row:
    """The row of an op that is as good as can be."""
    plain = Row("exp", "float32", "native", 0, 0.5, 0.25, (1.0,), "2.7182", "2.718281", "", "reals",
                1000, 6)  # fmt: skip
    return replace(plain, **other)


def made(*rows: Row) -> Report:
    return Report({"processor": "a"}, {"numpy": "2"}, 10, rows)


# --- measuring ------------------------------------------------------------------------------------


def spoilt(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, Any], Any]) -> None:
    """Functions whose results are changed, by argument and result."""
    own = Subject.function

    def function(self: Subject, backend: str, dtype: str) -> Runs:
        run = own(self, backend, dtype)

        def wrong(columns: Sequence[Any]) -> Any:
            with np.errstate(all="ignore"):
                return change(columns[0], run(columns))

        return wrong

    monkeypatch.setattr(Subject, "function", function)


def test_a_result_that_is_off_everywhere_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt(monkeypatch, lambda x, y: y * (1 + 1e-12))
    (found,) = measured(REGISTRY["tanh"], 0, "float64", ["numpy"], 50)
    assert found.max is not None
    assert 4000 < found.max < 10000  # 1e-12 in units of 2**-53 to 2**-52
    assert bars.verdict(replace(found, backend="native")) is False


def test_an_error_beside_a_threshold_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last 64 floats before exp overflows are wrong, and no drawn point is one of them."""
    last = 88.72283172607422
    spoilt(monkeypatch, lambda x, y: np.where(abs(x - last) < 64 * 2**-17, np.float32(1e30), y))
    (found,) = measured(REGISTRY["exp"], 0, "float32", ["numpy"], 20)
    assert found.max is not None
    assert found.max > 1e6
    assert abs(found.at[0] - last) < 64 * 2**-17
    assert found.median is not None
    assert found.median < 1


def test_the_neighbours_of_the_worst_point_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smooth error with its top at no special place: the search climbs towards it."""
    spoilt(monkeypatch, lambda x, y: y * (1 + 1e-9 * np.exp(-((x - 0.7) ** 2) * 10)))
    (found,) = measured(REGISTRY["tanh"], 0, "float64", ["numpy"], 400)
    assert abs(found.at[0] - 0.7) < 0.3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_result_that_is_no_number_has_no_bound(
    monkeypatch: pytest.MonkeyPatch, bad: float
) -> None:
    spoilt(monkeypatch, lambda x, y: np.where(x > 3, bad, y))
    (found,) = measured(REGISTRY["tanh"], 0, "float64", ["numpy"], 20)
    if math.isnan(bad):
        assert found.max is None
    else:
        assert found.max is None or found.max > 1e300 or found.max > 2.0**50
    assert found.at[0] > 3
    assert found.found == str(bad)


def test_the_zero_of_a_derivative_is_measured_by_the_local_scale() -> None:
    (found,) = measured(REGISTRY["gelu"], 1, "float64", ["numpy"], 50)
    assert len(found.zeros) == 1
    assert found.max is not None
    assert found.max < 1e3  # by its own units, 1e13 and more


def test_the_same_points_are_measured_in_every_run_and_on_every_backend() -> None:
    first = measured(REGISTRY["sqrt"], 1, "float32", ["numpy", "native"], 40)
    again = measured(REGISTRY["sqrt"], 1, "float32", ["numpy", "native"], 40)
    assert first == again
    assert [r.count for r in first] == [first[0].count] * 2


def test_several_arguments_have_all_their_derivatives() -> None:
    op = REGISTRY["power"]
    assert [s.of for s in subjects(op, 2)] == ["x, x", "x, y", "y, y"]
    (found,) = measured(REGISTRY["maximum"], 1, "float32", ["numpy"], 20)
    assert found.max == 0
    assert found.by in ("x", "y")
    assert len(found.at) == 2
    assert domain_text(op) == "x in (0, inf), y in reals"


def test_a_function_is_the_one_that_users_compile() -> None:
    run = subjects(REGISTRY["tanh"], 1)[0].function("numpy", "float32")
    found = run([np.array([0.0, 100.0])])
    assert found.dtype == np.float32
    assert list(found) == [1.0, 0.0]


# --- the record -----------------------------------------------------------------------------------


def test_a_report_comes_back_from_its_file(tmp_path: Path) -> None:
    original = made(row(), row(max=None, found="nan", order=1), row(zeros=(1.5,), by="x"))
    path = tmp_path / "a.json"
    path.write_bytes(record.written(original))
    assert record.read(path) == original
    assert json.loads(path.read_text())["rows"][1]["max"] is None
    assert len(path.read_text().splitlines()) < 20  # a line a row


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=0), "format 0"),
        (lambda d: d["rows"][0].update(dtype="float16"), "float16"),
        (lambda d: d["rows"][0].update(max=-1), "negative"),
        (lambda d: d["rows"][0].update(max="much"), "no number"),
        (lambda d: d["rows"][0].update(at=[True]), "no number"),
        (lambda d: d["rows"][0].pop("median"), "median"),
        (lambda d: d.pop("machine"), "machine"),
    ],
)
def test_a_file_of_something_else_is_refused(
    tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    data = json.loads(record.written(made(row())))
    change(data)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match=message):
        record.read(path)


def test_text_of_a_file_cannot_garble_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(record.written(made(row(found="\x1b[31m|<b>"))))
    text = report.markdown(record.read(path))
    assert "\x1b" not in text
    assert "\\|\\<b>" in text


# --- bars and tables ------------------------------------------------------------------------------


def test_bars_are_those_of_functions_of_one_argument_on_loops() -> None:
    assert bars.bar(row()) == 1
    assert bars.bar(row(order=1)) == 2
    assert bars.bar(row(dtype="float64")) == 2
    assert bars.bar(row(dtype="float64", order=1)) == 4
    for other in ({"order": 2}, {"backend": "numpy"}, {"op": "power"}, {"op": "unknown"}):
        assert bars.bar(row(**other)) is None
    assert [bars.verdict(row(max=m)) for m in (1.0, 1.1, None)] == [True, False, False]


def test_what_misses_is_marked_and_counted() -> None:
    text = report.markdown(made(row(max=3.0), row(order=1)))
    assert "| exp | reals  | 3 (0.25) !     |" in text
    assert "Rows that miss their bar, marked with !: 1" in text
    assert "No reason is known yet for exp (native float32 3)." in text
    assert "Every bar was reached" in report.markdown(made(row()))


def test_a_miss_says_why_where_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bars.MISSES, ("exp", 0), "it is hard")
    text = report.markdown(made(row(max=3.0), row(op="log", max=3.0)))
    assert "exp (native float32 3) misses: it is hard." in text
    assert "No reason is known yet for log (native float32 3)." in text


def test_every_reason_is_of_an_op() -> None:
    for op, order in bars.MISSES:
        assert op in REGISTRY
        assert order in (0, 1)


def test_tables_have_every_row() -> None:
    rows = [row(backend=b, dtype=d, order=k) for b in ("native", "numpy")
            for d in ("float32", "float64") for k in range(4)]  # fmt: skip
    found = report.tables(made(*rows))
    assert [t.title.split(":")[0] for t in found] == [
        "The value", "The first derivative", "The second derivative", "The third derivative",
        "Where the largest errors are",
    ]  # fmt: skip
    assert len(found[-1].rows) == len(rows)
    assert report.shown(made(*rows)) is not None
    assert report.size(None) == "no bound"
    assert report.cell(None) == "-"


# --- the command ----------------------------------------------------------------------------------


def test_the_command_measures_writes_and_reads_again(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    words = ["accuracy", "exp", "--order", "0", "--dtype", "float32", "--backend", "numpy",
             "--points", "20", "--out", str(out)]  # fmt: skip
    first = runner.invoke(cli.app, words)
    assert first.exit_code == 0, first.output
    assert "largest error (median)" in first.stdout
    again = runner.invoke(cli.app, ["accuracy", "--read", str(out), "--json"])
    data = json.loads(again.stdout)
    assert [r["op"] for r in data["rows"]] == ["exp"]
    block = runner.invoke(cli.app, ["accuracy", "--read", str(out), "--markdown"]).stdout
    assert block.startswith(report.BEGIN)
    assert block.rstrip().endswith(report.END)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(ops=["tan_h"]), "there is no op 'tan_h'"),
        (Options(dtypes="float16"), "--dtype does not know 'float16'"),
        (Options(orders="4"), "--order does not know '4'"),
        (Options(backends="torch"), "the backend 'torch' does not exist"),
        (Options(read=Path("x"), orders="1"), "leave --order out"),
        (Options(read=Path("x"), ops=["exp"]), "leave names of ops out"),
    ],
)
def test_bad_options_are_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, options: Options, message: str
) -> None:
    monkeypatch.setattr(command, "measured", lambda *a: pytest.fail("measured"))
    with pytest.raises(SympropError, match=message):
        command.run(options)


def test_without_names_everything_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(command, "measured", lambda *a: asked.append(a) or [])
    sampled(Options())
    assert len(asked) == len(REGISTRY) * 2 * 4
    assert {op.name for op, *_ in asked} == set(REGISTRY)
    there = asked[0][3]
    assert "numpy" in there
    assert set(there) <= {n for n, b in BACKENDS.items() if not b.device}


def test_ops_come_in_the_order_of_the_registry() -> None:
    assert command.chosen_ops(["tanh", "exp", "tanh"]) == ["exp", "tanh"]
    with pytest.raises(DeclarationError, match="sigmoid"):
        command.chosen_ops(["sigmod"])
