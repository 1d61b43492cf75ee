"""Twenty networks that nobody tuned for: how far from the limit, how long to compile, what is left.

In: which of them (numbers; all where none is given), `free` to leave the batch open.
Out: a row each: a step's least time, the limit (operations of the matrix products over the peak of
one core, measured in the same turns), their ratio, the CPU seconds of each stage of compilation,
the nests on the default schedule; then the median and the worst ratio beside their bars.
Guarantees: seeded; a step and the peak are measured in turns, so that what else the machine does
meets both; weights start anew for each turn, so that no value becomes so small that it is slow.
Nothing is asserted.

Run:  python tests/benchmarks/bench_architectures.py [free] [number ...]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from architectures import Architecture, architectures

from codegen.llvm.build import object_code
from codegen.llvm.emit import emit
from codegen.llvm.schedule import native, plain
from codegen.llvm.target import host
from codegen.loops.from_program import from_program
from symprop.bench.peak import Peak

TURNS, SLICE = 60, 0.01  # turns of each, and the seconds of one
MEDIAN, WORST = 1.6, 2.5  # the bars


def main(numbers: list[int], free: bool) -> None:
    peak = Peak()
    every = [a for a in architectures() if not numbers or a.number in numbers]
    head = ["us", "limit", "ratio", "symbols", "nests", "schedule", "text", "code", "default"]
    print(f"{'':3}" + "".join(f"{name:>9}" for name in head))
    ratios = []
    for a in every:
        seconds, least, left = compiled(a, free)
        trainer = a.step(free).compile("native")
        step, limit = turns(a, trainer, peak)
        ratios.append(step / limit)
        row = [step * 1e6, limit * 1e6, step / limit]
        print(
            f"{a.number:3}"
            + "".join(f"{x:9.2f}" for x in [*row, *seconds])
            + f"{least:9} {', '.join(left)}",
            flush=True,
        )
    print(f"median {statistics.median(ratios):.2f} (bar {MEDIAN})")
    print(f"worst  {max(ratios):.2f} (bar {WORST})")


def compiled(a: Architecture, free: bool) -> tuple[list[float], int, tuple[str, ...]]:
    """CPU seconds of the stages, cold; how many nests have no lanes, and which."""
    seconds: list[float] = []

    def stage(make: Callable[[], Any]) -> Any:
        begin = time.process_time()
        found = make()
        seconds.append(time.process_time() - begin)
        return found

    target = host()
    program = stage(lambda: a.step(free).program)
    nests = stage(lambda: from_program(program))
    loops = stage(lambda: native(nests, target, {}))
    text = stage(lambda: emit(loops, target))
    stage(lambda: object_code(text, target))
    left = plain(loops)
    return seconds, len(left), left


def turns(a: Architecture, trainer: Any, peak: Peak) -> tuple[float, float]:
    """The least seconds of a step, and those of the limit."""
    trainer.bind(a.data())
    start = trainer.snapshot()
    step, whole = float("inf"), float("inf")
    for _ in range(TURNS):
        trainer.restore(start)
        step = min(step, sliced(trainer.step))
        whole = min(whole, sliced(lambda: peak.advance(1)))
    return step, a.operations / (peak.operations / whole)


def sliced(run: Callable[[], Any]) -> float:
    """The least seconds of a call in a slice of time."""
    run()
    least, end = float("inf"), time.perf_counter() + SLICE
    while True:
        begin = time.perf_counter()
        run()
        now = time.perf_counter()
        least = min(least, now - begin)
        if now > end:
            return least


if __name__ == "__main__":
    main([int(n) for n in sys.argv[1:] if n != "free"], "free" in sys.argv[1:])
