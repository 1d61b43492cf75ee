"""Turns, medians, minima; memory.

In: runners that are ready. Out: `turns`, how long a step of each takes; `grown`, by how much the
memory of this process grew meanwhile.

In every round each system has a slice of time, in which it makes chunks of as many steps as take
about CHUNK; a chunk's time over its steps is one sample. What the machine does besides so meets
all systems alike. The first chunk of a slice is not counted: it finds the caches as the system
before left them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from symprop.bench.systems import Runner

__all__ = ["CHUNK", "SLICE", "Samples", "grown", "turns"]

SLICE = 0.15  # seconds of a system in a round
# Seconds of a sample, at least: steps are asked for as a training asks for them, many at a time,
# so that what a call costs once (ours copies the weights, JAX hands over its arrays) is a small
# part of it; and so short that a slice has ten samples.
CHUNK = 0.01


@dataclass(frozen=True)
class Samples:
    """Seconds a step, a number a chunk; how many steps a chunk has."""

    seconds: tuple[float, ...]
    steps: int

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def minimum(self) -> float:
        return min(self.seconds)


def turns(runners: Mapping[str, Runner], rounds: int) -> dict[str, Samples]:
    """Samples of each system, taken in turns."""
    found: dict[str, list[float]] = {name: [] for name in runners}
    gc.collect()
    gc.disable()
    try:
        chunks = {name: chunk(runner) for name, runner in runners.items()}
        for _ in range(rounds):
            for name, runner in runners.items():
                found[name] += sliced(runner, chunks[name])
    finally:
        gc.enable()
    return {name: Samples(tuple(seconds), chunks[name]) for name, seconds in found.items()}


def chunk(runner: Runner) -> int:
    """How many steps take CHUNK, in a power of two."""
    steps = 1
    while timed(runner, steps) < CHUNK:
        steps *= 2
    return steps


def sliced(runner: Runner, steps: int) -> list[float]:
    """The seconds a step of each chunk of a slice, one at least."""
    runner.advance(steps)
    seconds: list[float] = []
    end = time.perf_counter() + SLICE
    while not seconds or time.perf_counter() < end:
        seconds.append(timed(runner, steps) / steps)
    return seconds


def timed(runner: Runner, steps: int) -> float:
    """The seconds of so many steps."""
    begin = time.perf_counter()
    runner.advance(steps)
    return time.perf_counter() - begin


# --- memory --------------------------------------------------------------------------------------

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(field: str) -> int:
    """Bytes of this process in memory: now (VmRSS), or at most since the last reset (VmHWM)."""
    lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    (line,) = (line for line in lines if line.startswith(field))
    return int(line.split()[1]) * 1024


def grown(work: Callable[[], object]) -> int | None:
    """By how many bytes the memory of this process was larger at its peak during some work than
    before; None where the system does not say (it does on Linux)."""
    gc.collect()
    try:
        RESET.write_text("5", encoding="ascii")  # the peak becomes what is in use now
        before = resident("VmRSS")
    except OSError:
        work()
        return None
    work()
    return max(0, resident("VmHWM") - before)
