"""What was measured: rows as data, and as JSON.

In: rows; or a JSON file that was written from a `Report`. Out: `Report`, its `to_json`; `read`.

Guarantees: errors are in units in the last place, null where they have no bound (a result that is
NaN, or infinite where the exact value is not); nothing in it tells a date or a place; what is read
from a file is checked, and text in it is made harmless.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from symprop.accuracy.formats import FORMATS
from symprop.bench.record import plain
from symprop.errors import DataError, quoted

__all__ = ["FORMAT", "Report", "Row", "read", "written"]

FORMAT = 1


@dataclass(frozen=True)
class Row:
    """An op, differentiated `order` times, as a backend computes it in a dtype.

    `max` (of all points) and `median` (of the drawn ones): errors in units in the last place;
    None has no bound. `at`: the point of
    the largest, one number an argument, with what was `found` there and what is `exact`; `by`: of
    several arguments, those of the worst partial derivative. `count`: points measured, `seconded`:
    of them, those that mpmath decided too. `zeros`: where the derivative vanishes between floats;
    within 1/4 of them the unit is that of the largest size within 1/2.
    """

    op: str
    dtype: str
    backend: str
    order: int
    max: float | None
    median: float | None
    at: tuple[float, ...]
    found: str
    exact: str
    by: str
    domain: str
    count: int
    seconded: int
    zeros: tuple[float, ...] = ()
    exhaustive: bool = False

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells a row from the others."""
        return self.op, self.dtype, self.backend, self.order


@dataclass(frozen=True)
class Report:
    """`machine` and `versions` are texts by name; `points`: drawn at random for each row."""

    machine: Mapping[str, str]
    versions: Mapping[str, str]
    points: int
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Data for a program."""
        return {"format": FORMAT, **asdict(self)}

    def of(self, op: str, dtype: str, backend: str, order: int) -> Row | None:
        """The row, where there is one."""
        wanted = (op, dtype, backend, order)
        return next((row for row in self.rows if row.key == wanted), None)


def written(report: Report) -> bytes:
    """The file of a report: a line a row, so that two of them can be compared by eye."""
    data = report.to_json()
    rows = data.pop("rows")
    head = json.dumps(data, indent=1, allow_nan=False).removesuffix("\n}")
    lines = ",\n  ".join(json.dumps(row, allow_nan=False) for row in rows)
    return f'{head},\n "rows": [\n  {lines}\n ]\n}}\n'.encode()


# --- reading -------------------------------------------------------------------------------------


def read(path: Path) -> Report:
    """The report in a file; DataError where there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{quoted(path)} cannot be read as JSON: {plain(str(error))}") from error
    try:
        return _report(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{quoted(path)} is not a record of this version of symprop accuracy "
            f"({plain(str(error))}): write one with symprop accuracy --out FILE"
        ) from error


def _report(data: Any) -> Report:
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']}, not {FORMAT}")
    return Report(
        _texts(data["machine"]),
        _texts(data["versions"]),
        int(_size(data["points"])),
        tuple(map(_row, data["rows"])),
    )


def _texts(data: Any) -> dict[str, str]:
    return {plain(str(name)): plain(str(text)) for name, text in data.items()}


def _row(data: Any) -> Row:
    if data["dtype"] not in FORMATS:
        raise ValueError(f"another dtype {quoted(data['dtype'])}")
    texts = {n: plain(str(data[n])) for n in ("op", "dtype", "backend", "found", "exact", "by",
                                              "domain")}  # fmt: skip
    counts = {n: int(_size(data[n])) for n in ("order", "count", "seconded")}
    sizes = {n: None if data[n] is None else _size(data[n]) for n in ("max", "median")}
    points = {n: tuple(map(_number, data[n])) for n in ("at", "zeros")}
    return Row(**texts, **counts, **sizes, **points, exhaustive=data["exhaustive"] is True)  # type: ignore[arg-type]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{quoted(value)} is no number")
    return float(value)


def _size(value: Any) -> float:
    number = _number(value)
    if number < 0:
        raise ValueError(f"{quoted(value)} is negative")
    return number
