"""The emitted digits training step against the hand-written one: time, statements, line length.

In: nothing.  Out: a table; the bar of the time ratio is 1.15, of statements 1.3, of lines 100.
Guarantees: both steps run on the same batches, from equal weights, in turns within one process
with one BLAS thread; the figures are medians; the weights of both are compared at the end.

Run:  python tests/benchmarks/bench_step.py [rounds]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import tempfile
import time
from pathlib import Path

import digits_by_hand
import networks
import numpy as np
import reading

import symprop as prop

BATCH, STEPS = 32, 43  # an epoch of digits


def main(rounds: int) -> None:
    loss, _ = networks.digits()
    trainer = prop.training_step(loss, prop.Adam(1e-3)).compile(backend="numpy", seed=0)
    ours = trainer.source()
    by_hand = Path(digits_by_hand.__file__).read_text(encoding="utf-8")
    name = reading.main_function(ours)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "emitted_step.py"
        path.write_text(ours, encoding="utf-8")
        emitted = reading.load(path, name)

    start = {**trainer.parameters, **trainer.states}
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(STEPS, BATCH, 64)).astype(np.float32)
    y = rng.integers(0, 10, size=(STEPS, BATCH))
    steps = {"emitted": emitted, "by hand": digits_by_hand.training_step}
    weights = {kind: {n: a.copy() for n, a in start.items()} for kind in steps}
    times: dict[str, list[float]] = {kind: [] for kind in steps}
    for turn in range(rounds + 1):
        for kind, step in steps.items():
            arrays = reading.identifiers(weights[kind])
            begin = time.perf_counter()
            for k in range(STEPS):
                step(*reading.arguments(step, arrays | {"x": x[k], "y": y[k]}))
            if turn:  # the first round warms up
                times[kind].append((time.perf_counter() - begin) / STEPS)
    medians = {kind: float(np.median(t)) * 1e6 for kind, t in times.items()}
    apart = max(float(np.max(np.abs(weights["emitted"][n] - weights["by hand"][n]))) for n in start)
    for kind, source, function in (
        ("emitted", ours, name),
        ("by hand", by_hand, "training_step"),
    ):
        print(
            f"{kind:8} {medians[kind]:8.1f} us  {reading.statements(source, function):4} statements"
            f" ({reading.written(source)} as written)  longest line {reading.longest_line(source)}"
        )
    counts = reading.statements(ours, name) / reading.statements(by_hand, "training_step")
    print(f"time ratio {medians['emitted'] / medians['by hand']:.3f} (bar 1.15)")
    print(f"statement ratio {counts:.3f} (bar 1.3)")
    print(f"largest difference of a weight or moment after {rounds + 1} epochs: {apart:.1e}")
    begin = time.perf_counter()
    for k in range(STEPS):
        trainer.step({"x": x[k], "y": y[k]})
    print(f"trainer.step: {(time.perf_counter() - begin) / STEPS * 1e6:.1f} us, checks included")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
