"""History: columns, JSON, curves with matplotlib and what is said without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from symprop.errors import DataError, UnsupportedError
from symprop.history import FORMATS, History

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def no_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")


def history(**columns: list[float]) -> History:
    made = History()
    for values in zip(*columns.values(), strict=True):
        made.append(dict(zip(columns, values, strict=True)))
    return made


def trained() -> History:
    return history(
        loss=[2.0, 1.0, 0.5],
        accuracy=[0.2, 0.5, 0.8],
        validation_loss=[2.5, 1.5, 1.25],
        validation_accuracy=[0.1, 0.4, 0.6],
    )


def test_history_as_json() -> None:
    made = history(loss=[1.5, float("nan")])
    assert json.loads(made.to_json()) == {"loss": [1.5, None]}
    assert repr(made) == "History(2 epochs: loss=nan)"


def test_a_panel_a_number_with_training_and_validation_in_it() -> None:
    figure = trained().plot()
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]
    loss, _ = figure.axes
    training, validation = loss.lines
    assert list(training.get_xdata()) == [1, 2, 3]
    assert list(training.get_ydata()) == [2.0, 1.0, 0.5]
    assert list(validation.get_ydata()) == [2.5, 1.5, 1.25]
    assert [t.get_text() for t in loss.get_legend().get_texts()] == ["training", "validation"]
    assert loss.get_xlabel() == "epoch"
    close(figure)


def close(figure: Any) -> None:
    from matplotlib import pyplot

    pyplot.close(figure)


def test_without_validation_there_is_one_curve_and_no_legend() -> None:
    figure = history(loss=[1.0]).plot()
    (axes,) = figure.axes
    assert len(axes.lines) == 1
    assert axes.lines[0].get_marker() == "o", "a single point would not be seen as a line"
    assert axes.get_legend() is None
    close(figure)


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_a_file_is_written_whole_and_always_the_same(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"curves{suffix}"
    written = []
    for _ in range(2):
        trained().plot(path)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert len(written[0]) > 1000
    assert os.listdir(tmp_path) == [path.name]


def test_a_file_belongs_to_no_window(tmp_path: Path) -> None:
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    trained().plot(tmp_path / "curves.png")
    assert pyplot.get_fignums() == before


def test_names_and_numbers_of_any_kind(tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    hostile = {"$\\frac{": [1.0, nan], "<b>": [inf, 2.0], "_hidden": [nan, nan], "%s": [1.0, 2.0]}
    figure = history(**hostile).plot(tmp_path / "curves.svg")
    assert [axes.get_title() for axes in figure.axes] == list(hostile)
    assert b"<b>" not in (tmp_path / "curves.svg").read_bytes()


def test_what_cannot_be_plotted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"trainer\.fit"):
        History().plot()
    for name in ("curves", "curves.exe", "curves.png.txt"):
        with pytest.raises(DataError, match=r"'\.png', '\.svg', '\.pdf'"):
            trained().plot(tmp_path / name)
    with pytest.raises(DataError, match="not written"):
        trained().plot(tmp_path / "missing" / "curves.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_command_that_gets_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UnsupportedError, match=r"python -m pip install matplotlib$"):
        trained().plot()


def test_it_draws_without_a_screen(tmp_path: Path) -> None:
    code = (
        "from symprop.history import History\n"
        "h = History()\n"
        "h.append({'loss': 1.0})\n"
        "assert h.plot().axes\n"
        f"h.plot({str(tmp_path / 'curves.png')!r})\n"
    )
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "curves.png").stat().st_size > 1000
