"""Every float32: what is wrong anywhere is found, and a sweep can be stopped and continued."""

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
from symprop.accuracy import exhaustive, sweeps
from symprop.accuracy.arithmetic import digest
from symprop.accuracy.exact import Truth
from symprop.accuracy.exhaustive import CHUNK, FORM, Piece, Sweep, swept
from symprop.accuracy.formats import errors
from symprop.accuracy.subjects import Compiled, Subject
from symprop.accuracy.tails import Tails
from symprop.errors import DataError, VerificationError
from symprop.ops.declare import REGISTRY

pytest.importorskip("flint")

EXP = Subject(REGISTRY["exp"], ())
RECORD = Path(__file__).with_name("exhaustive.json")
RECORDED = sweeps.read(RECORD) if RECORD.exists() else []


def bits(x: float) -> int:
    return int(np.array([x], np.float32).view(np.uint32)[0])


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of one chunk."""
    monkeypatch.setattr(exhaustive, "FLOATS", CHUNK)


def spoilt(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Any, Any], Any], dtypes: Sequence[str]
) -> None:
    """Functions whose results are changed in these dtypes."""
    own = Compiled.__call__

    def wrong(self: Compiled, columns: Sequence[Any]) -> Any:
        y = own(self, columns)
        return change(columns[0], y).astype(self.dtype) if self.dtype in dtypes else y

    monkeypatch.setattr(Compiled, "__call__", wrong)


def one_chunk(subject: Subject, around: float) -> Sweep:
    """A sweep over the floats around a place."""
    first = bits(around) // CHUNK * CHUNK
    narrow, wide = subject.compiled("numpy", "float32"), subject.compiled("numpy", "float64")
    zeros = exhaustive.zeros_of(subject, FORM)
    piece = Piece(subject, narrow, wide, zeros, Sweep(subject.op.name, subject.order, "numpy", ""))
    with np.errstate(all="ignore"):
        piece.chunk(first, next(Tails(subject, zeros).chunks(first, CHUNK, 1)))
    return piece.sweep()


# --- one chunk ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exp", "tanh", "log", "sin"])
@pytest.mark.parametrize("x", [1.0, -3.0, 1e-40, 88.7, 1e-45])
def test_the_largest_error_is_the_one_that_balls_find(name: str, x: float) -> None:
    if x < 0 and name == "log":
        return
    subject = Subject(REGISTRY[name], ())
    found = one_chunk(subject, x)
    assert found.count >= CHUNK - 1  # without 0, in log
    if found.largest == 0:  # a range in which the result is the argument
        return
    points = [np.array([found.at])]
    result = subject.compiled("numpy", "float32")(points)
    exact = subject.truth(points, FORM)
    assert found.largest == errors(result, exact, FORM)[0]
    first = bits(x) // CHUNK * CHUNK
    some = np.arange(first, first + CHUNK, 997, dtype=np.uint32).view(np.float32).astype(float)
    others = errors(subject.compiled("numpy", "float32")([some]), subject.truth([some], FORM), FORM)
    assert np.max(others) <= found.largest + 1e-6


def test_one_wrong_float_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = float(np.float32(1.00037))
    spoilt(monkeypatch, lambda x, y: np.where(x == wrong, y * (1 + 1e-5), y), ["float32"])
    found = one_chunk(EXP, wrong)
    assert found.at == wrong
    assert 110 < found.largest < 120  # 2.72e-5 in units of 2**-22


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_found(monkeypatch: pytest.MonkeyPatch, bad: float) -> None:
    wrong = float(np.float32(1.00037))
    spoilt(monkeypatch, lambda x, y: np.where(x == wrong, bad, y), ["float32"])
    found = one_chunk(EXP, wrong)
    assert found.at == wrong
    assert found.largest > 1e30
    assert found.row().max is None or not math.isnan(bad)


def test_overflow_and_nothing_are_right() -> None:
    assert one_chunk(EXP, 100.0).largest == 0  # infinity
    assert one_chunk(EXP, -200.0).largest < 1e-6  # 0
    assert one_chunk(EXP, 88.7229).largest < 3  # the threshold lies in it


def test_a_fault_of_both_widths_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt(monkeypatch, lambda x, y: y * (1 + 1e-6), ["float32", "float64"])
    with pytest.raises(VerificationError, match=r"exp in float64 at .* is off"):
        one_chunk(EXP, 0.5)


def test_outside_the_domain_nothing_is_measured() -> None:
    assert one_chunk(Subject(REGISTRY["log"], ()), -1.0).count == 0
    assert one_chunk(EXP, math.inf).count == 0


def test_beside_a_zero_the_unit_is_that_of_the_local_scale() -> None:
    found = one_chunk(Subject(REGISTRY["gelu"], (0,)), -0.7518)
    assert found.largest < 10
    assert len(found.row().zeros) == 1


# --- a sweep -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("short")
def test_a_sweep_is_continued_where_it_stopped() -> None:
    whole = list(swept(EXP, "numpy", (), 3))
    assert [s.pieces for s in whole] == [1, 2, 3]
    assert list(swept(EXP, "numpy", [whole[0]], 3)) == whole[1:]
    assert list(swept(EXP, "numpy", [whole[2]], 3)) == []
    assert sum(whole[2].counts) == 3 * CHUNK // exhaustive.EVERY


@pytest.mark.usefixtures("short")
def test_other_code_starts_again() -> None:
    (first,) = swept(EXP, "numpy", (), 1)
    older = replace(first, code="other", largest=99.0)
    assert list(swept(EXP, "numpy", [older], 1)) == [first]


@pytest.mark.usefixtures("short")
def test_the_file_keeps_what_was_done(tmp_path: Path) -> None:
    path = tmp_path / "sweeps.json"
    told: list[str] = []
    found = sweeps.continued(path, [EXP], ["numpy"], {"processor": "a"}, told.append, 2)
    assert told == ["exp numpy: piece 1 of 256", "exp numpy: piece 2 of 256"]
    assert sweeps.read(path) == found
    again = sweeps.continued(path, [EXP], ["numpy"], {"processor": "a"}, told.append, 2)
    assert again == found
    assert len(told) == 2
    row = sweeps.report(again, {}).rows[0]
    assert not row.exhaustive
    assert row.count == 2 * CHUNK
    infinite = replace(found[0], largest=math.inf)
    path.write_bytes(sweeps.written([infinite], {}))
    assert sweeps.read(path) == [infinite]
    assert infinite.row().max is None


@pytest.mark.parametrize("text", ["", "{}", '{"format": 1, "sweeps": [{}]}', "[]"])
def test_a_file_of_something_else_is_not_continued(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sweeps.json"
    path.write_text(text)
    with pytest.raises(DataError, match="holds no sweeps"):
        sweeps.continued(path, [EXP], ["numpy"], {}, print, 1)
    assert path.read_text() == text


def test_the_command_refuses_what_has_no_meaning(tmp_path: Path) -> None:
    path = str(tmp_path / "sweeps.json")
    for words, message in (
        (["power"], "is for ops of one argument"),
        (["exp", "--dtype", "float32"], "leave --dtype and --points out"),
        (["exp", "--order", "2"], "--order does not know '2'"),
    ):
        result = CliRunner().invoke(cli.app, ["accuracy", *words, "--exhaustive", path])
        assert result.exit_code == 1
        assert message in str(result.exception)


def test_the_command_shows_what_was_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exhaustive, "FLOATS", CHUNK)
    monkeypatch.setattr(sweeps.continued, "__defaults__", (1,))
    path = tmp_path / "sweeps.json"
    words = ["accuracy", "exp", "--order", "0", "--backend", "numpy", "--exhaustive", str(path)]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.output
    assert "Every float32 of the domain" in result.stdout
    assert json.loads(path.read_text())["sweeps"][0]["pieces"] == 1


# --- the record -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sweep", RECORDED, ids=lambda s: "-".join(map(str, s.key)))
def test_a_recorded_error_is_the_error_at_its_point(sweep: Sweep) -> None:
    """The figures are of floats that can be looked at again."""
    truth: Truth = sweep.subject.truth
    points = [np.array([sweep.at])]
    exact = exhaustive.scaled(
        points, truth(points, FORM), exhaustive.zeros_of(sweep.subject, FORM), FORM
    )
    again = errors(np.array([np.float32(sweep.found)]), exact, FORM)[0]
    assert again == pytest.approx(sweep.largest, abs=1e-6)
    assert sweep.pieces == exhaustive.PIECES


@pytest.mark.parametrize("sweep", RECORDED, ids=lambda s: "-".join(map(str, s.key)))
def test_a_recorded_error_is_that_of_the_code_of_today(sweep: Sweep) -> None:
    """Otherwise: symprop accuracy OP --exhaustive FILE, which sweeps again what has changed."""
    assert digest(sweep.subject.compiled(sweep.backend, "float32")) == sweep.code


@pytest.mark.slow
@pytest.mark.parametrize("sweep", RECORDED, ids=lambda s: "-".join(map(str, s.key)))
def test_all_floats_keep_within_the_recorded_error(sweep: Sweep) -> None:
    *_, found = swept(sweep.subject, sweep.backend)
    assert found.count == sweep.count
    assert found.largest <= sweep.largest + 0.01
