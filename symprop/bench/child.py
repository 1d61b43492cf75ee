"""One process of a benchmark, on one core: what is measured in it starts from nothing.

    python -m symprop.bench.child REQUEST ANSWER

In: a JSON file: `task`, `workload`, `systems`, `rounds`. Out: a JSON file.

    first     of one system: seconds until the first step is done, imports left out; seconds of it
              until it is derived (ours); by how much memory grows in STEPS steps; the arena
    turns     of all systems and the peak: samples of each; the losses of the first CHECKED steps
              and (ours) the gradients of the first one against the float64 reference

Guarantees: a failure ends the process with a status and a last line that names it. The environment
(threads, caches) is the parent's business; the core is chosen here, before any peer is imported.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from symprop.bench import reference
from symprop.bench.own import Own
from symprop.bench.peak import Peak
from symprop.bench.systems import SYSTEMS, Runner
from symprop.bench.timing import grown, turns
from symprop.bench.workloads import Case, case, chosen

__all__ = ["main"]

STEPS = 20  # after which memory grows no more
CHECKED = 50  # steps whose losses are compared


def pin() -> None:
    """Stay on one core: the last that is allowed, for the first has the system's own work."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def first(start: Case, name: str) -> dict[str, Any]:
    """The first step of a system, and the memory of its steps."""
    system = SYSTEMS[name]
    system.load()
    begin = time.perf_counter()
    runner = system.build(start)
    built = time.perf_counter() - begin
    seconds: list[float] = []

    def steps() -> None:
        begin = time.perf_counter()
        runner.advance(1)
        seconds.append(time.perf_counter() - begin)
        runner.advance(STEPS - 1)

    growth = grown(steps)
    own = runner if isinstance(runner, Own) else None
    return {
        "first": {"seconds": built + seconds[0], "derived": own and own.derived},
        "memory": growth,
        "arena": own and own.arena_bytes(),
    }


def together(start: Case, names: list[str], rounds: int) -> dict[str, Any]:
    """All systems in turns, after their losses were compared."""
    for name in names:
        SYSTEMS[name].load()
    runners: dict[str, Runner] = {name: SYSTEMS[name].build(start) for name in names}
    wanted = reference.losses(start, CHECKED)
    losses: dict[str, list[float]] = {}
    gradients: dict[str, dict[str, float]] = {}
    for name, runner in runners.items():
        losses[name] = [runner.advance(1)]
        if isinstance(runner, Own):
            gradients[name] = gradient_errors(runner, start)
        losses[name] += [runner.advance(1) for _ in range(CHECKED - 1)]
    peak = Peak()
    samples = turns({**runners, "peak": peak}, rounds)
    return {
        "peak": peak.operations / samples["peak"].minimum,
        "losses": losses,
        "reference": wanted,
        "gradients": gradients,
        "samples": {
            name: {"median": s.median, "minimum": s.minimum, "count": s.steps * len(s.seconds)}
            for name, s in samples.items()
            if name != "peak"
        },
    }


def gradient_errors(runner: Own, start: Case) -> dict[str, float]:
    """Of each parameter: the largest difference over the largest element."""
    by_weight, by_bias = reference.gradients(start)
    pairs = zip(runner.first_gradients(), [*by_weight, *by_bias], strict=True)
    return {name: float(np.abs(g - w).max() / np.abs(w).max()) for (name, g), w in pairs}


def main(request: str, answer: str) -> None:
    """Answers a request."""
    asked = json.loads(Path(request).read_text(encoding="utf-8"))
    pin()
    (workload,) = chosen([asked["workload"]])
    start = case(workload)
    if asked["task"] == "first":
        (name,) = asked["systems"]
        found = first(start, name)
    else:
        found = together(start, asked["systems"], asked["rounds"])
    Path(answer).write_text(json.dumps(found, allow_nan=False), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
