"""The steps of a benchmark as a picture: a panel a workload, a line a system, and the limit.

In: a `Report`, a path. Out: a file.
Guarantees: written whole or not at all; equal reports give equal files; needs matplotlib (extra
`plot`), imported here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from symprop.bench.record import Report, Row
from symprop.bench.systems import SYSTEMS
from symprop.errors import DataError, listed, quoted
from symprop.history import FORMATS, new_figure, write_figure

__all__ = ["check", "plot"]

# Ours dark, text backends lighter, peers grey: readable without colours too.
COLOURS = {"native": "#1f4e79", "text": "#8fb4d9", "step": "#9a9a9a", "loop": "#5f5f5f"}


def check(path: Path) -> None:
    """Refuse what no figure can be written to, before anything is timed."""
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{quoted(os.fspath(path))} must end in one of {listed(FORMATS)}")
    new_figure(1, detached=True)


def plot(report: Report, path: Path) -> None:
    """Writes the picture."""
    check(path)
    figure = new_figure(len(report.rows), detached=True)
    for axes, row in zip(figure.axes, report.rows, strict=True):
        panel(axes, row)
    write_figure(figure, path)


def panel(axes: Any, row: Row) -> None:
    """A dot at each median, a line back to the minimum, on a logarithmic scale."""
    timed = [(SYSTEMS[f.system], f.step) for f in row.figures if f.step is not None]
    for place, (system, step) in enumerate(timed):
        colour = COLOURS[system.kind]
        axes.hlines(place, 1e6 * step.minimum, 1e6 * step.median, color=colour)
        axes.plot(1e6 * step.minimum, place, "|", color=colour)
        axes.plot(1e6 * step.median, place, "o", color=colour)
    if row.limit is not None:
        axes.axvline(1e6 * row.limit, color="black", linestyle=":")
        axes.text(1e6 * row.limit, -0.7, " limit", fontsize="small", va="center")
    axes.set_yticks(range(len(timed)), [system.title for system, _ in timed])
    axes.set_ylim(len(timed) - 0.5, -1)
    axes.set_xscale("log")
    axes.set_xlabel("microseconds a step: minimum | to median o")
    axes.set_title(row.declared.title, parse_math=False)
    axes.grid(axis="x", alpha=0.3)
