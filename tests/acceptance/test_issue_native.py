"""Acceptance of the native backend: a whole training step as one function, and what it ships.

No test asserts a time; tests/benchmarks and `symprop bench` measure those.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import symprop as prop


def digits_step() -> Any:
    x = prop.input("x", "batch pixel=64")
    y = prop.labels("y", "batch", classes=10)
    net = prop.Sequential(prop.Dense(64, name="hidden"), prop.relu, prop.Dense(10, name="logits"))
    return prop.training_step(prop.cross_entropy(net(x), y), prop.Adam(1e-3))


def batch() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(32, 64)), "y": rng.integers(0, 10, size=32)}


def test_native_is_a_backend_and_trains_to_the_weights_of_numpy() -> None:
    weights = []
    for backend in ("numpy", "native"):
        trainer = digits_step().compile(backend, seed=0)
        for _ in range(5):
            trainer.step(batch())
        weights.append(dict(trainer.parameters))
    for name, array in weights[0].items():
        np.testing.assert_allclose(weights[1][name], array, rtol=2e-5, atol=2e-6)


def test_the_text_and_the_assembly_of_what_ran_are_shown() -> None:
    trainer = digits_step().compile("native")
    assert "hidden" in trainer.source("llvm")
    assert trainer.assembly()


def test_many_steps_run_in_native_code() -> None:
    trainer = digits_step().compile("native", seed=0)
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(70, 64)), "y": rng.integers(0, 10, size=70)}
    trainer.bind(data, batch_size=32, shuffle=True)
    losses = trainer.run(50)
    assert losses[-1] < losses[0]


def test_native_is_what_runs_where_nothing_is_said() -> None:
    assert digits_step().compile().backend == "native"


def test_a_second_process_finds_the_machine_code(tmp_path: Path) -> None:
    trainer = digits_step().compile("native")
    trainer.step(batch())
    assert digits_step().compile("native").from_cache


def test_the_bench_compares_with_the_peers_that_are_there() -> None:
    from symprop.bench.workloads import WORKLOADS

    assert len(WORKLOADS) == 5


def test_an_exported_step_is_loaded_and_runs(tmp_path: Path) -> None:
    digits_step().compile("native").export(tmp_path / "digits")
    assert prop.load(tmp_path / "digits").step(batch()) > 0
