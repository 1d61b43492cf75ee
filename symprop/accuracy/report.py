"""The measured errors for a reader: tables as text, in colour, as Markdown.

In: a `Report`. Out: `tables`; `markdown`, which is the text too; `shown`, for a terminal; `block`,
what README holds.

Guarantees: every row of the report is in a table; what missed its bar is marked, with its reason;
equal reports give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from symprop.accuracy.bars import ALLOWED, MISSES, bar, missed, verdict
from symprop.accuracy.record import Report, Row
from symprop.bench.report import Table, escaped, lined

__all__ = ["block", "markdown", "notes", "shown", "tables"]

BEGIN = "<!-- ACCURACY: what symprop accuracy --read FILE --markdown prints -->"
END = "<!-- END ACCURACY -->"
WRONG = "no bound"
MARK = " !"
ORDERS = ("value", "first", "second", "third")


def cell(row: Row | None) -> str:
    """The largest error of a row, and the median."""
    if row is None:
        return "-"
    return f"{size(row.max)} ({size(row.median)}){MARK if verdict(row) is False else ''}"


def size(error: float | None) -> str:
    """An error to two digits."""
    if error is None:
        return WRONG
    return f"{error:.1e}" if error >= 1000 else f"{error:.0f}" if error >= 100 else f"{error:.2g}"


def keys(report: Report) -> list[tuple[str, str]]:
    """The columns: backends and dtypes, in the order of the rows."""
    return list(dict.fromkeys((row.backend, row.dtype) for row in report.rows))


def tables(report: Report) -> list[Table]:
    """A table an order, and that of the places of the largest errors."""
    return [*summary(report), where(report)]


def summary(report: Report) -> list[Table]:
    """A table an order: a line an op, a column a backend and dtype."""
    found = []
    for order in sorted({row.order for row in report.rows}):
        names = list(dict.fromkeys(row.op for row in report.rows if row.order == order))
        columns = keys(report)
        rows = tuple(
            (name, _domain(report, name),
             *(cell(report.of(name, dtype, backend, order)) for backend, dtype in columns))
            for name in names
        )  # fmt: skip
        titles = (f"{backend} {dtype}" for backend, dtype in columns)
        found.append(Table(_title(order), ("op", "domain", *titles), rows))
    return found


def _title(order: int) -> str:
    what = "The value" if order == 0 else f"The {ORDERS[order]} derivative"
    return f"{what}: largest error (median), in units in the last place"


def _domain(report: Report, op: str) -> str:
    return next(row.domain for row in report.rows if row.op == op)


def where(report: Report) -> Table:
    """A line a row: where the largest error is."""
    rows = tuple(
        (row.op, row.dtype, row.backend, _order(row), size(row.max), size(row.median),
         ", ".join(map(repr, row.at)), row.found, row.exact, f"{row.count:,}", _verdict(row))
        for row in report.rows
    )  # fmt: skip
    columns = ("op", "dtype", "backend", "order", "max", "median", "at", "found", "exact", "points",
               "bar")  # fmt: skip
    return Table("Where the largest errors are", columns, rows)


def _order(row: Row) -> str:
    return f"{row.order}{f' by {row.by}' if row.by else ''}"


def _verdict(row: Row) -> str:
    asked, met = bar(row), verdict(row)
    return "" if asked is None else f"{asked:g}" if met else f"{asked:g} MISSED"


# --- what stands under the tables ----------------------------------------------------------------


def notes(report: Report) -> list[str]:
    """What the figures mean, what missed, on what machine."""
    drawn = (
        "Exact values are proved by ball arithmetic (Arb), some of them decided by mpmath too. A "
        f"row has {report.points:,} points drawn among all floats of the domain, the neighbours of "
        "special places, and those of the worst points found."
    )
    every = (
        "Every float32 of the domain was computed (points: how many of them so far), and compared "
        "with float64; the largest error is proved by ball arithmetic (Arb)."
    )
    how = f"{drawn if report.points else every} The unit is the distance of the floats around the "
    how += "exact value."
    versions = ", ".join(f"{name} {text}" for name, text in report.versions.items())
    machine = "; ".join(f"{name}: {text}" for name, text in report.machine.items())
    last = (f"Machine: {machine}.", f"Versions: {versions}.")
    return [how, *zeros(report), *failures(report), *last]


def zeros(report: Report) -> list[str]:
    """Which rows are measured by the local scale."""
    names = list(dict.fromkeys(f"{row.op}{_primes(row)}" for row in report.rows if row.zeros))
    if not names:
        return []
    how = "Within 1/4 of such a zero the unit is that of the largest value within 1/2 of it."
    return [f"These vanish between floats by a difference: {', '.join(names)}. {how}"]


def _primes(row: Row) -> str:
    return "'" * row.order


def failures(report: Report) -> Iterator[str]:
    """What missed, and why."""
    found = missed(report)
    if not found:
        if any(bar(row) is not None for row in report.rows):
            yield "Every bar was reached: float32, 1 unit (first derivative: 2); float64, 2 (4)."
        return
    yield (
        f"Rows that miss their bar, marked with !: {len(found)}, where {ALLOWED} may. The bars are "
        "1 unit in float32 (first derivative: 2) and 2 in float64 (4), of the functions of one "
        "argument on loop backends."
    )
    plain = []
    for key, rows in _grouped(found).items():
        which = ", ".join(f"{r.backend} {r.dtype} {size(r.max)}" for r in rows)
        text = f"{key[0]}{_primes(rows[0])} ({which})"
        if key in MISSES:
            yield f"{text} misses: {MISSES[key]}."
        else:
            plain.append(text)
    if plain:
        yield f"No reason is known yet for {'; '.join(plain)}."


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    found: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row.op, row.order), []).append(row)
    return found


# --- forms ---------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    """The tables and the notes, which read as text too."""
    return joined(report, tables(report))


def block(report: Report) -> str:
    """What README holds, between its marks: the largest errors of values and first derivatives."""
    return f"{BEGIN}\n{joined(report, [compact(report)])}\n{END}"


def compact(report: Report) -> Table:
    """A line an op: value and first derivative in one cell."""
    columns = keys(report)
    rows = tuple(
        (name, *(_both(report, name, dtype, backend) for backend, dtype in columns))
        for name in dict.fromkeys(row.op for row in report.rows)
    )
    title = "Largest error of the value / of the first derivative, in units in the last place"
    return Table(title, ("", *(f"{backend} {dtype}" for backend, dtype in columns)), rows)


def _both(report: Report, op: str, dtype: str, backend: str) -> str:
    found = [report.of(op, dtype, backend, order) for order in (0, 1)]
    texts = ("-" if r is None else size(r.max) for r in found)
    wrong = any(r is not None and verdict(r) is False for r in found)
    return f"{' / '.join(texts)}{MARK if wrong else ''}"


def joined(report: Report, parts: Sequence[Table]) -> str:
    """Tables and all notes."""
    texts = [f"**{escaped(t.title)}**\n\n{lined(t)}" for t in parts]
    return "\n\n".join([*texts, *map(escaped, notes(report))])


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
            styles = ("red" if t.endswith((MARK, "MISSED", WRONG)) else "" for t in row)
            made.add_row(*(Text(t, style=s) for t, s in zip(row, styles, strict=True)))
        parts += [made, Text("")]
    return Group(*parts, *map(Text, notes(report)))
