"""What was asked of the machine code, and whether it was reached.

In: a `Report`. Out: `claims`, a row a bar.

Like is compared with like: steps that Python calls with the best peer that is called once a step,
the loop in machine code with JAX's loop inside one function, and with the limit.

Guarantees: verdicts are by medians; the ratio of minima stands beside, because a busy machine
delays some systems more than others. What was not measured is said to be so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from symprop.bench.record import Figures, First, Report, Row, Step
from symprop.bench.systems import SYSTEMS

__all__ = ["GRADIENT", "LOSS", "WARM", "Claim", "claims"]

GRADIENT = 2e-6  # of the largest element of a gradient, against float64
LOSS = 1e-4  # of each of the first 50 losses, against torch's
WARM = 0.03  # seconds from the derived step to the end of the first, with what was kept


@dataclass(frozen=True)
class Claim:
    """A bar: what it is about, what was asked and what was found, as texts; whether it was reached,
    None where it was not measured."""

    workload: str
    about: str
    asked: str
    found: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """For a table."""
        return {True: "reached", False: "MISSED", None: "not measured"}[self.met]


def claims(report: Report) -> list[Claim]:
    """Of every row, in order."""
    return [claim for row in report.rows for claim in of(row)]


def of(row: Row) -> Iterator[Claim]:
    """Of one row."""
    bars = row.declared.bars
    ours = row.of("native-run")
    yield faster(row, "a step a call", row.of("native-step").step, "step", bars.step)
    if bars.loop is not None:
        yield faster(row, "steps in one call", ours.step, "loop", bars.loop)
    if bars.limit is not None:
        yield limit(row, ours.step, bars.limit)
    if bars.compile is not None:
        yield compiled(row, "cold", ours.cold, bars.compile)
        yield compiled(row, "with what was kept", ours.warm, WARM)
    yield memory(row, ours)
    yield small(row, "gradients against float64", ours.gradient_error, GRADIENT)
    yield small(row, "losses of 50 steps against torch", ours.torch_gap, LOSS)


def faster(row: Row, about: str, ours: Step | None, kind: str, bar: float) -> Claim:
    """How many times as fast as the best peer of a kind."""
    asked = f"{bar:g} x as fast"
    peers = [
        (f.step.median, f.step, SYSTEMS[f.system].title)
        for f in row.figures
        if f.step is not None and SYSTEMS[f.system].kind == kind
    ]
    if ours is None or not peers:
        return Claim(row.workload, f"{about}, against the best peer", asked, "-", None)
    _, peer, title = min(peers, key=lambda found: found[0])
    ratio = peer.median / ours.median
    found = f"{ratio:.2f} x (minima {peer.minimum / ours.minimum:.2f} x)"
    return Claim(row.workload, f"{about}, against {title}", asked, found, ratio >= bar)


def limit(row: Row, ours: Step | None, bar: float) -> Claim:
    """How many times the limit."""
    about, asked = "against the limit", f"{bar:g} x its time"
    if ours is None or row.limit is None:
        return Claim(row.workload, about, asked, "-", None)
    ratio = ours.median / row.limit
    found = f"{ratio:.2f} x (minima {ours.minimum / row.limit:.2f} x)"
    return Claim(row.workload, about, asked, found, ratio <= bar)


def compiled(row: Row, kept: str, first: First | None, bar: float) -> Claim:
    """From the derived step to the end of the first one that runs."""
    about, asked = f"derived step to first step run, {kept}", f"{bar:g} s"
    if first is None or first.compiled is None:
        return Claim(row.workload, about, asked, "-", None)
    found = f"{first.compiled:.3f} s (deriving it: {first.derived:.3f} s)"
    return Claim(row.workload, about, asked, found, first.compiled <= bar)


def memory(row: Row, ours: Figures) -> Claim:
    """The arena and the batch, against what a process with torch grows by."""
    about, asked = "arena and batch, against torch's growth", "no more"
    torch = row.of("torch").memory
    if ours.arena is None or torch is None:
        return Claim(row.workload, about, asked, "-", None)
    own = ours.arena + row.inputs
    return Claim(row.workload, about, asked, f"{size(own)} against {size(torch)}", own <= torch)


def small(row: Row, about: str, error: float | None, bar: float) -> Claim:
    """An error that should be small."""
    if error is None:
        return Claim(row.workload, about, f"{bar:.0e}", "-", None)
    return Claim(row.workload, about, f"{bar:.0e}", f"{error:.1e}", error <= bar)


def size(count: int) -> str:
    """Bytes for a reader."""
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
