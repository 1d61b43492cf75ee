"""Random graphs of arrays on every backend, to second order, before and after every pass; what
fails shrinks to a text to paste.

The slow run draws 3,000 graphs from the seeds 0 to 2,999.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graph_judge
import pytest
from fuzzing import printed, seeded
from graph_fuzzing import Graph, drawn
from graph_judge import failures
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import symprop as prop
from symprop import doctor
from symprop.expression import Expr
from symprop.pipeline import PASSES, Pass, Work

BACKENDS = ("numpy", "native")
SELDOM = 30  # one graph in so many runs on numba too, which compiles slowly
GRAPHS, CHUNK, FEW = 3_000, 50, 16


def wrong(seed: int) -> list[str]:
    """What is wrong with the graph of a seed."""
    graph = drawn(seeded(seed), ("float64", "float32")[seed % 2], str(seed))
    ready = seed % SELDOM == 1 and doctor.backend("numba").ready
    return failures(graph, (*BACKENDS, "numba") if ready else BACKENDS)


@pytest.mark.parametrize("seed", range(FEW))
def test_the_graph_of_a_seed_is_right(seed: int) -> None:
    assert wrong(seed) == []


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(GRAPHS // CHUNK))
def test_three_thousand_graphs_are_right(chunk: int) -> None:
    found = [w for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK) for w in wrong(seed)]
    assert found == [], "\n".join(found)


@given(st.data())
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_graphs_that_hypothesis_draws_are_right(data: Any) -> None:
    def choose(n: int) -> int:
        return int(data.draw(st.integers(0, n - 1)))

    assert failures(drawn(choose, "float64"), ["numpy"]) == []


# --- what a failure says -------------------------------------------------------------------------


def first_failure() -> tuple[Graph, str]:
    """The first graph that is judged wrong on numpy, and what is said of it."""
    graphs = (drawn(seeded(seed), "float64") for seed in range(FEW))
    return next((g, told[0]) for g in graphs if (told := failures(g, ["numpy"])))


def test_a_wrong_derivative_is_found_and_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = prop.vjp
    monkeypatch.setattr(prop, "vjp", lambda y, x, g: [v * 1.001 for v in own(y, x, g)])
    graph, told = first_failure()
    assert "order 1 along ones is derived as" in told
    lines = printed(told, tmp_path)
    assert len(lines) == 1 + 2 * len(graph.inputs)
    assert lines[0].startswith("[") == bool(graph.root.ndim)


def test_a_pass_that_changes_a_value_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def bend(work: Work) -> Work:
        outputs = [(Expr(n) * (1 + 1e-12)).node for n in work.roots]
        return work.with_roots(outputs)

    monkeypatch.setattr(graph_judge, "PASSES", (*PASSES[:2], Pass("bend", bend, "")))
    assert "the pass bend changed output 0" in first_failure()[1]


def test_a_backend_that_is_off_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    own = prop.compile

    def bent(*args: Any, **more: Any) -> Any:
        run = own(*args, **more)
        off = lambda given: [a * (1 + 1e-12) for a in run(given)]  # noqa: E731
        off.inputs = run.inputs  # type: ignore[attr-defined]
        return off

    monkeypatch.setattr(prop, "compile", bent)
    told = first_failure()[1]
    assert "numpy: output 0 at" in told
    assert "bounds" in told
