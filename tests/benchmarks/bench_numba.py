"""The training step as Numba text against the NumPy text: time of a step, time to compile.

In: nothing.  Out: a table; the bar is 2 x on the digits step (`examples/digits.py`, batch 32), for
the emitted function and for `trainer.step`, which checks its data first.
Guarantees: both texts are of one program, run on equal arrays in turns within one process with one
BLAS thread; the figures are medians of rounds, with the ratio of minima beside them (on a busy
machine the better figure); the first losses of both are shown.

Run:  python tests/benchmarks/bench_numba.py [rounds]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import networks
import numpy as np

import symprop as prop

Step = tuple[str, prop.TrainingStep, int, int]  # title, step, batch, steps a round


def digits() -> prop.TrainingStep:
    """The step of examples/digits.py."""
    return dense(64, 64, 10, metrics=["accuracy"])


def dense(inputs: int, hidden: int, classes: int, metrics: list[str]) -> prop.TrainingStep:
    """One hidden layer with ReLU."""
    x = prop.input("x", ("batch", inputs))
    y = prop.labels("y", "batch", classes=classes)
    layers = prop.Dense(hidden, name="hidden"), prop.relu, prop.Dense(classes, name="logits")
    logits = prop.Sequential(*layers)(x)
    loss = prop.cross_entropy(logits, y)
    return prop.training_step(loss, prop.Adam(1e-3), {"logits": logits}, metrics)


def steps() -> list[Step]:
    twenty = prop.training_step(networks.mlp(20)[0], prop.Adam(1e-3))
    return [
        ("digits 64-64-10, batch 32", digits(), 32, 20),
        ("digits 64-64-10, batch 64", digits(), 64, 20),
        ("digits 64-64-10, batch 256", digits(), 256, 10),
        ("784-128-10, batch 64", dense(784, 128, 10, []), 64, 3),
        ("twenty layers of 32, batch 32", twenty, 32, 3),
    ]


def batch_of(program: Any, batch: int) -> dict[str, Any]:
    """A batch of random images and labels."""
    x = next(b for b in program.arguments if b.name == "x")
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(batch, x.dims[1].value)).astype(np.float32)
    return {"x": images, "y": rng.integers(0, 10, size=batch)}


def measure(step: Step, rounds: int) -> None:
    title, training, batch, count = step
    data = batch_of(training.program, batch)
    trainers = {backend: training.compile(backend, seed=0) for backend in ("numpy", "numba")}
    built, losses = {}, {}
    for backend, trainer in trainers.items():
        assert trainer.source()  # printed before the clock starts: compiling is timed
        begin = time.perf_counter()
        losses[backend] = trainer.step(data)
        built[backend] = time.perf_counter() - begin
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for backend, trainer in trainers.items():
            arrays = {**trainer.parameters, **trainer.states, **data}
            compiled = training.compiled(backend)
            runs = {"emitted": partial(compiled.call, arrays), "step": partial(trainer.step, data)}
            for what, run in runs.items():
                times.setdefault((what, backend), []).append(timed(run, count))
    print(f"{title:30}  compiled in {built['numba']:4.1f} s  losses {losses['numpy']:.6f} ", end="")
    print(f"{losses['numba']:.6f}")
    for what, name in (("emitted", "the emitted function"), ("step", "trainer.step")):
        numpy, numba = (np.median(times[what, backend]) * 1e6 for backend in trainers)
        least = min(times[what, "numpy"]) / min(times[what, "numba"])
        print(f"    {name:24} numpy {numpy:7.1f} us  numba {numba:7.1f} us", end="")
        print(f"  {numpy / numba:5.2f} x (of minima {least:.2f} x)")


def timed(run: Callable[[], Any], count: int) -> float:
    """Seconds a call."""
    begin = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - begin) / count


def main(rounds: int) -> None:
    prop.compile(prop.input("warm", "n") + 1, backend="numba")(warm=np.zeros(1, np.float32))
    for step in steps():
        measure(step, rounds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
