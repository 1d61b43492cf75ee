"""The training step as Numba text against the NumPy text: time of a step, time to compile.

In: nothing.  Out: a table; the bar is 2 x on the digits step (64-64-10, batch 32).
Guarantees: both texts are of one program, run on equal arrays in turns within one process with one
BLAS thread; the figures are medians of rounds; the first losses of both are shown.

Run:  python tests/benchmarks/bench_numba.py [rounds]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import time
from typing import Any

import networks
import numpy as np

import symprop as prop

Step = tuple[str, Any, int, int]  # title, loss, batch, steps a round


def dense(inputs: int, hidden: int, classes: int) -> Any:
    """The loss of one hidden layer with ReLU."""
    x = prop.input("x", ("batch", inputs))
    y = prop.labels("y", "batch", classes=classes)
    layers = prop.Dense(hidden, name="hidden"), prop.relu, prop.Dense(classes, name="logits")
    return prop.cross_entropy(prop.Sequential(*layers)(x), y)


def steps() -> list[Step]:
    return [
        ("digits 64-64-10, batch 32", networks.digits()[0], 32, 200),
        ("mnist 784-128-10, batch 64", dense(784, 128, 10), 64, 10),
        ("twenty layers of 32, batch 32", networks.mlp(20)[0], 32, 50),
    ]


def shape_of_x(program: Any, batch: int) -> tuple[int, int]:
    x = next(b for b in program.arguments if b.name == "x")
    return batch, x.dims[1].value


def measure(step: Step, rounds: int) -> None:
    title, loss, batch, count = step
    training = prop.training_step(loss, prop.Adam(1e-3))
    trainers = {backend: training.compile(backend, seed=0) for backend in ("numpy", "numba")}
    programs = {backend: training.compiled(backend) for backend in trainers}
    rng = np.random.default_rng(0)
    x = rng.uniform(size=shape_of_x(training.program, batch)).astype(np.float32)
    y = rng.integers(0, 10, size=batch)
    seconds: dict[str, list[float]] = {backend: [] for backend in trainers}
    built, losses = {}, {}
    for backend, trainer in trainers.items():
        text = programs[backend].source()
        assert text
        begin = time.perf_counter()
        losses[backend] = trainer.step({"x": x, "y": y})
        built[backend] = time.perf_counter() - begin
    for _ in range(rounds):
        for backend, trainer in trainers.items():
            arrays = {**trainer.parameters, **trainer.states, "x": x, "y": y}
            begin = time.perf_counter()
            for _ in range(count):
                programs[backend].call(arrays)
            seconds[backend].append((time.perf_counter() - begin) / count)
    medians = {backend: float(np.median(t)) * 1e6 for backend, t in seconds.items()}
    print(
        f"{title:30} numpy {medians['numpy']:8.1f} us  numba {medians['numba']:8.1f} us  "
        f"{medians['numpy'] / medians['numba']:5.2f} x  compiled in {built['numba']:.1f} s  "
        f"losses {losses['numpy']:.6f} {losses['numba']:.6f}"
    )


def main(rounds: int) -> None:
    prop.compile(prop.input("warm", "n") + 1, backend="numba")(warm=np.zeros(1, np.float32))
    for step in steps():
        measure(step, rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
