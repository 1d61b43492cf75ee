"""What a benchmark found: figures as data, and as JSON.

In: what the children answered; or a JSON file that was written from a `Report`. Out: `Report`, its
`to_json`; `read`.

Guarantees: times are seconds, memory is bytes; nothing in it tells a date or a place; what is read
from a file is checked against the tables of workloads and systems, and text in it is made harmless.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from symprop.bench.systems import SYSTEMS
from symprop.bench.workloads import WORKLOADS, Workload
from symprop.errors import DataError, quoted

__all__ = ["FORMAT", "Figures", "First", "Report", "Row", "Step", "plain", "read", "written"]

FORMAT = 1
LONGEST = 200  # characters of a text that was read


@dataclass(frozen=True)
class Step:
    """Seconds a step, over so many of them."""

    median: float
    minimum: float
    count: int


@dataclass(frozen=True)
class First:
    """Seconds from the declaration to the end of the first step; for our own systems, those of them
    that went by until the step was derived: declared and differentiated."""

    seconds: float
    derived: float | None = None

    @property
    def compiled(self) -> float | None:
        """From the derived step to the end of the first one that ran."""
        return None if self.derived is None else self.seconds - self.derived


@dataclass(frozen=True)
class Figures:
    """A system on a workload.

    `step`; `cold`, the first step with nothing kept from before, and `warm`, in a second process;
    `memory`, by which the process grew in its first steps; `arena`, what machine code works in;
    `loss_gap`, the largest difference of the first losses from the float64 reference, `torch_gap`
    from torch's; `gradient_error`, of the parameter that has the largest, `gradient_of`; `failed`,
    why there is no step.
    """

    system: str
    step: Step | None = None
    cold: First | None = None
    warm: First | None = None
    memory: int | None = None
    arena: int | None = None
    loss_gap: float | None = None
    torch_gap: float | None = None
    gradient_error: float | None = None
    gradient_of: str = ""
    failed: str = ""


@dataclass(frozen=True)
class Row:
    """A workload: `peak` in operations a second, measured beside it; the bytes of the batch."""

    workload: str
    peak: float | None
    inputs: int
    figures: tuple[Figures, ...]

    @property
    def declared(self) -> Workload:
        """The row of the table of workloads."""
        return next(w for w in WORKLOADS if w.name == self.workload)

    @property
    def limit(self) -> float | None:
        """Seconds of a step that does nothing but multiply and add, at the peak."""
        return None if self.peak is None else self.declared.operations / self.peak

    def of(self, system: str) -> Figures:
        """The figures of a system; empty where it was not timed."""
        return next((f for f in self.figures if f.system == system), Figures(system))


@dataclass(frozen=True)
class Report:
    """`machine` and `versions` are texts by name; `missing` the commands that get the systems that
    are not installed; `load`: how many processes wanted a core, before and after, where known."""

    machine: Mapping[str, str]
    versions: Mapping[str, str]
    missing: Mapping[str, str]
    rounds: int
    load: tuple[float, ...]
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Data for a program; operations and titles stand beside the figures."""
        data = {"format": FORMAT, **asdict(self)}
        for row, shown in zip(self.rows, data["rows"], strict=True):
            w = row.declared
            shown["title"], shown["operations"], shown["working"] = w.title, w.operations, w.working
            shown["limit"] = row.limit
        return data


def written(report: Report) -> bytes:
    """The file of a report."""
    text = json.dumps(report.to_json(), indent=1, allow_nan=False)
    return (text + "\n").encode()


# --- reading -------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """One line that a terminal and a table can show."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 4]} ..."


def read(path: Path) -> Report:
    """The report in a file.

    Raises DataError where there is none, or where it is of other workloads.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{quoted(path)} cannot be read as JSON: {plain(str(error))}") from error
    try:
        return _report(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{quoted(path)} is not a record of this version of symprop bench ({plain(str(error))})"
            ": write one with symprop bench --out FILE"
        ) from error


def _report(data: Any) -> Report:
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']}, not {FORMAT}")
    return Report(
        _texts(data["machine"]),
        _texts(data["versions"]),
        _texts(data["missing"]),
        _number(data["rounds"], int),
        tuple(_number(x, float) for x in data["load"]),
        tuple(map(_row, data["rows"])),
    )


def _row(data: Any) -> Row:
    known = {w.name: w for w in WORKLOADS}
    name = data["workload"]
    if name not in known or known[name].operations != data["operations"]:
        raise ValueError(f"another workload {quoted(name)}")
    peak = None if data["peak"] is None else _number(data["peak"], float)
    return Row(name, peak, _number(data["inputs"], int), tuple(map(_figures, data["figures"])))


def _figures(data: Any) -> Figures:
    if data["system"] not in SYSTEMS:
        raise ValueError(f"another system {quoted(data['system'])}")
    found: dict[str, Any] = {}
    for name, value in data.items():
        if name in _TEXTS:
            found[name] = plain(str(value))
        elif name in _PARTS and value is not None:
            found[name] = _PARTS[name](**_numbers(value))
    return Figures(**found | _numbers({n: v for n, v in data.items() if n not in found}))


_TEXTS = ("system", "gradient_of", "failed")
_PARTS: dict[str, Callable[..., Step | First]] = {"step": Step, "cold": First, "warm": First}


def _numbers(data: Any) -> dict[str, Any]:
    """Numbers by name, without those that are not there."""
    return {name: _number(v, type(v)) for name, v in data.items() if v is not None}


def _texts(data: Any) -> dict[str, str]:
    return {plain(str(name)): plain(str(text)) for name, text in data.items()}


def _number(value: Any, kind: Callable[[Any], Any]) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{quoted(value)} is no number")
    if value < 0:
        raise ValueError(f"{quoted(value)} is negative")
    return kind(value)
