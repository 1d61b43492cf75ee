"""Sweeps over every float32, kept in a file that a later run continues.

In: a file, ops, orders, backends. Out: a `Report` of what is done.

Guarantees: the file is written whole every few seconds, so that a run that is stopped loses no
more; what is read from it is checked; a sweep of functions whose code has changed starts again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from symprop.accuracy.exhaustive import BINS, PIECES, Sweep, swept
from symprop.accuracy.record import FORMAT, Report
from symprop.accuracy.subjects import Subject
from symprop.bench.record import plain
from symprop.checkpoint import write_file
from symprop.errors import DataError, quoted
from symprop.ops.declare import REGISTRY

__all__ = ["continued", "read", "report", "written"]

Say = Callable[[str], None]
SECONDS = 5.0  # between two writings
NO_NUMBER = "no number"  # in place of an infinite error, which JSON does not have


def continued(
    path: Path, subjects: Sequence[Subject], backends: Sequence[str], machine: Mapping[str, str],
    say: Say, pieces: int = PIECES,
) -> list[Sweep]:  # fmt: skip
    """Sweep what is not done yet, writing the file after each piece."""
    kept = {s.key: s for s in read(path)} if path.exists() else {}
    last = monotonic()
    for subject in subjects:
        for backend in backends:
            for found in swept(subject, backend, list(kept.values()), pieces):
                kept[found.key] = found
                if found.pieces == pieces or monotonic() - last > SECONDS:
                    write_file(path, written(list(kept.values()), machine))
                    last = monotonic()
                say(f"{subject.title} {backend}: piece {found.pieces} of {PIECES}")
    return list(kept.values())


def written(sweeps: Sequence[Sweep], machine: Mapping[str, str]) -> bytes:
    """The file of sweeps: a line each, in order."""
    lines = []
    order = list(REGISTRY)
    for s in sorted(sweeps, key=lambda s: (order.index(s.op), s.order, s.backend)):
        counts = np.trim_zeros(np.array(s.counts), "b").tolist()
        data = asdict(s) | {
            "counts": counts,
            "largest": s.largest if math.isfinite(s.largest) else NO_NUMBER,
        }
        lines.append(json.dumps(data, allow_nan=False))
    head = json.dumps({"format": FORMAT, "machine": dict(machine)})[:-1]
    rows = ",\n  ".join(lines)
    return f'{head},\n "sweeps": [\n  {rows}\n ]}}\n'.encode()


def read(path: Path) -> list[Sweep]:
    """The sweeps of a file; DataError where there are none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}, not {FORMAT}")
        return [_sweep(s) for s in data["sweeps"] if s["op"] in REGISTRY]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{quoted(path)} holds no sweeps of this version of symprop accuracy "
            f"({plain(str(error))}): name another file, or one that is not there yet"
        ) from error


def _sweep(data: Any) -> Sweep:
    largest = math.inf if data["largest"] == NO_NUMBER else float(data["largest"])
    counts = tuple(int(n) for n in data["counts"])
    counts += (0,) * (BINS - len(counts))
    if len(counts) != BINS or not 0 <= int(data["pieces"]) <= PIECES:
        raise ValueError("counts of another kind")
    kinds: dict[str, Callable[[Any], Any]] = {"str": lambda x: plain(str(x)), "int": int}
    plainly = {
        f.name: kinds.get(str(f.type), float)(data[f.name])
        for f in fields(Sweep)
        if f.name not in ("largest", "counts")
    }
    return Sweep(**plainly, largest=largest, counts=counts)


def report(sweeps: Sequence[Sweep], machine: Mapping[str, str]) -> Report:
    """The rows of sweeps that have begun."""
    return Report(machine, {}, 0, tuple(s.row() for s in sweeps if s.count))
