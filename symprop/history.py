"""The history of a training: the numbers of every epoch, as columns, as JSON, as curves.

In: an entry an epoch. Out: a mapping from names to columns; text; a figure.
Guarantees: the curves need matplotlib (extra `plot`), which is imported when they are asked for;
nothing is ever shown by itself; equal histories give equal files.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symprop.errors import DataError, UnsupportedError, install, listed, quoted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["VALIDATION", "History"]

VALIDATION = "validation_"

# What a figure can be written as, and the metadata that would differ from run to run.
FORMATS: dict[str, dict[str, Any]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


class History(Mapping[str, list[float]]):
    """The numbers of every epoch: `history["loss"]` is a list with an entry an epoch."""

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {}
        self.epochs = 0

    def append(self, entry: Mapping[str, float]) -> None:
        """Add one epoch's numbers."""
        for name, value in entry.items():
            self._columns.setdefault(name, []).append(float(value))
        self.epochs += 1

    def __getitem__(self, name: str) -> list[float]:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def to_json(self) -> str:
        """The columns as JSON; a number that JSON lacks (NaN, infinity) becomes null."""
        columns = {
            name: [value if math.isfinite(value) else None for value in values]
            for name, values in self._columns.items()
        }
        return json.dumps(columns, indent=1, allow_nan=False) + "\n"

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The curves over the epochs: one panel a number, training and validation in it.

        In: a path to write the figure to (.png, .svg or .pdf), whole or not at all, or none.
        Out: the matplotlib figure; nothing is shown: a notebook shows it where it is the value of
        a cell, a script with matplotlib.pyplot.show().

        Raises UnsupportedError without matplotlib, DataError where there is no epoch yet or the
        path has another ending.
        """
        if not self.epochs:
            raise DataError("there is nothing to plot before the first epoch: call trainer.fit")
        if path is not None and Path(path).suffix.lower() not in FORMATS:
            raise DataError(f"{quoted(os.fspath(path))} must end in one of {listed(FORMATS)}")
        names = [n for n in self if not (n.startswith(VALIDATION) and n[len(VALIDATION) :] in self)]
        figure = new_figure(len(names), detached=path is not None)
        for axes, name in zip(figure.axes, names, strict=True):
            draw(axes, name, self._columns[name], self._columns.get(VALIDATION + name))
        if path is not None:
            write_figure(figure, path)
        return figure

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self._columns.items())
        return f"History({self.epochs} epochs{': ' + last if last else ''})"


def new_figure(panels: int, detached: bool) -> Figure:
    """An empty figure with its panels side by side; a detached one belongs to no window."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnsupportedError(
            "curves are drawn with matplotlib, which is not installed: "
            f"run  {install('matplotlib')}"
        ) from error
    size = (4.8 * panels, 3.6)
    if detached:
        figure = Figure(figsize=size, layout="constrained")
    else:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=size, layout="constrained")
        if "inline" in matplotlib.get_backend():
            pyplot.close(figure)  # a notebook shows the returned value: not a second time
    figure.subplots(1, panels)
    return figure


def draw(axes: Any, name: str, training: list[float], validation: list[float] | None) -> None:
    """One number's curves; the name is text, never matplotlib's mathematics."""
    marker = "o" if len(training) == 1 else None
    for label, values in (("training", training), ("validation", validation)):
        if values is not None:
            axes.plot(range(1, len(values) + 1), values, label=label, marker=marker)
    axes.set_title(name, parse_math=False)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    if validation is not None:
        axes.legend()


def write_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """The figure as a file: no date, no random names inside it."""
    import matplotlib

    from symprop.checkpoint import write_file

    suffix = Path(path).suffix.lower()
    data = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "symprop"}):
        figure.savefig(data, format=suffix[1:], dpi=150, metadata=FORMATS[suffix])
    write_file(path, data.getvalue())
