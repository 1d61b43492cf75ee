"""The figures of a benchmark for a reader: the same tables as text, in colour, as Markdown.

In: a `Report`. Out: `tables`; `markdown`, which is the text too; `shown`, for a terminal; `block`,
what README holds.

Guarantees: every system that was asked for is in the tables or named under them with its reason;
bars that were missed are in them and marked; equal reports give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from symprop.bench.bars import claims, size
from symprop.bench.record import Figures, Report, Row
from symprop.bench.systems import SYSTEMS

__all__ = ["Table", "block", "markdown", "notes", "shown", "tables"]

NOTHING = "-"
BUSY = 0.5  # processes that want a core before a run, from which on its figures need a warning
BEGIN, END = "<!-- BENCH: what symprop bench --markdown prints -->", "<!-- END BENCH -->"


@dataclass(frozen=True)
class Table:
    """A title, the names of the columns, and the rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(report: Report) -> list[Table]:
    """All of them: steps, bars, first steps, memory."""
    return [steps(report), bars(report), first(report), memory(report)]


def systems(report: Report) -> list[str]:
    """Those that are installed, in the order of the table of systems."""
    there = {f.system for row in report.rows for f in row.figures}
    return [name for name in SYSTEMS if name in there]


Cell = Callable[[Figures], str]


def by_system(report: Report, names: Sequence[str], cell: Cell) -> tuple[tuple[str, ...], ...]:
    """A line a system, a cell a workload."""
    return tuple(
        (SYSTEMS[name].title, *(cell(row.of(name)) for row in report.rows)) for name in names
    )


def columns(report: Report) -> tuple[str, ...]:
    """The names over such lines."""
    return ("", *(row.workload for row in report.rows))


def steps(report: Report) -> Table:
    """The time of a step."""

    def cell(f: Figures) -> str:
        if f.step is None:
            return "failed" if f.failed else NOTHING
        return f"{microseconds(f.step.median)} ({microseconds(f.step.minimum)})"

    limits = (NOTHING if r.limit is None else microseconds(r.limit) for r in report.rows)
    rows = (("limit", *limits), *by_system(report, systems(report), cell))
    return Table("Microseconds a training step: median (minimum)", columns(report), rows)


def bars(report: Report) -> Table:
    """What was asked of the machine code."""
    rows = tuple((c.workload, c.about, c.asked, c.found, c.verdict) for c in claims(report))
    return Table("What was asked of machine code", ("", "what", "asked", "found", ""), rows)


def first(report: Report) -> Table:
    """How long the first step takes."""

    def cell(f: Figures) -> str:
        if f.cold is None:
            return NOTHING
        return f"{f.cold.seconds:.2f}" + (f" ({f.warm.seconds:.2f})" if f.warm else "")

    rows = by_system(report, systems(report), cell)
    title = "Seconds from the declaration to the end of the first step: cold (with what was kept)"
    return Table(title, columns(report), rows)


def memory(report: Report) -> Table:
    """How much memory the steps take."""
    names = [name for name in systems(report) if SYSTEMS[name].kind != "native"]

    def cell(f: Figures) -> str:
        if f.memory is None:
            return NOTHING
        return size(f.memory) + (" +" if SYSTEMS[f.system].compiles_in_step else "")

    def own(row: Row) -> str:
        arena = row.of("native-run").arena
        return NOTHING if arena is None else size(arena + row.inputs)

    ours = ("native: arena and batch", *map(own, report.rows))
    title = "Memory: growth of the process in its first 20 steps (+ compiling is in it)"
    return Table(title, columns(report), (ours, *by_system(report, names, cell)))


def microseconds(seconds: float) -> str:
    """Three digits, more where the number has them before the point."""
    value = seconds * 1e6
    places = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{places}f}"


# --- what stands under the tables ----------------------------------------------------------------


def counted(rounds: int) -> str:
    """1 round, 2 rounds."""
    return f"{rounds} round{'s' * (rounds != 1)}"


def notes(report: Report) -> list[str]:
    """What the figures depend on, and what is not there."""
    machine = "; ".join(f"{name}: {text}" for name, text in report.machine.items())
    versions = ", ".join(f"{name} {text}" for name, text in report.versions.items())
    how = (
        f"One thread on one core, float32, Adam, {counted(report.rounds)} in turns in one process. "
        "The limit is the time of the products of matrices, counted by hand, at the speed at which "
        f"this core does nothing but multiply and add: {peaks(report)}."
    )
    lines = [how, networks(report), f"Machine: {machine}.", f"Versions: {versions}."]
    if report.load and report.load[0] >= BUSY:
        lines.append(
            f"The machine was busy: before this, {report.load[0]:g} processes wanted a core. "
            "Medians hold their delays; minima are nearer to what the systems can do."
        )
    for name, command in report.missing.items():
        title = SYSTEMS[name].title if name in SYSTEMS else name
        lines.append(f"Not installed: {title}; get it with  {command}")
    return lines + [line for row in report.rows for line in failures(row)]


def failures(row: Row) -> list[str]:
    """A line a reason."""
    reasons = dict.fromkeys(f.failed for f in row.figures if f.failed)
    lines = []
    for reason in reasons:
        titles = [SYSTEMS[f.system].title for f in row.figures if f.failed == reason]
        lines.append(f"Failed on {row.declared.title}: {'; '.join(titles)}: {reason}")
    return lines


def networks(report: Report) -> str:
    """What the names of the workloads mean."""
    found = [
        f"{w.name} is {w.title} ({w.operations:,} operations)"
        for w in (row.declared for row in report.rows)
    ]
    return f"Networks: {'; '.join(found)}."


def peaks(report: Report) -> str:
    """The measured peak of each workload, in GFLOP/s, as a range."""
    found = sorted(row.peak / 1e9 for row in report.rows if row.peak is not None)
    if not found:
        return "not measured"
    ends = dict.fromkeys(f"{x:.0f}" for x in (found[0], found[-1]))
    return f"{' to '.join(ends)} GFLOP/s"


# --- forms ---------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    """The tables and the notes, which read as text too."""
    return joined(report, tables(report))


def block(report: Report) -> str:
    """What README holds, between its marks: the steps, and what was asked."""
    return f"{BEGIN}\n{joined(report, [steps(report), bars(report)])}\n{END}"


def joined(report: Report, shown: Sequence[Table]) -> str:
    """Tables and all notes."""
    parts = [f"**{escaped(t.title)}**\n\n{lined(t)}" for t in shown]
    return "\n\n".join([*parts, *map(escaped, notes(report))])


def lined(table: Table) -> str:
    """A table in Markdown, its columns in line."""
    rows = [tuple(map(escaped, row)) for row in (table.columns, *table.rows)]
    widths = [max(3, *(len(row[k]) for row in rows)) for k in range(len(table.columns))]

    def spaced(row: Sequence[str]) -> str:
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([spaced(rows[0]), rule, *map(spaced, rows[1:])])


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    for sign in "\\|<*`[":
        text = text.replace(sign, f"\\{sign}")
    return text


def shown(report: Report) -> Any:
    """The tables for a terminal."""
    from rich.console import Group
    from rich.table import Table as Shown
    from rich.text import Text

    parts: list[Any] = []
    for table in tables(report):
        made = Shown(title=Text(table.title), title_justify="left")
        for name in table.columns:
            made.add_column(Text(name))
        for row in table.rows:
            made.add_row(*(Text(text, style="red" if text == "MISSED" else "") for text in row))
        parts += [made, Text("")]
    return Group(*parts, *map(Text, notes(report)))
