"""Random formulas on every backend, to second order; what fails shrinks to a text to paste.

The slow run draws 100,000 formulas, twenty in a program, from the seeds 0 to 99,999.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fuzzing import DEEP, Way, case, failures, printed, seeded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import symprop as prop

BATCH = 20
CHUNK = 500
FORMULAS = 100_000
WAYS: list[Way] = [
    ("numpy", "float64"), ("native", "float32"), ("numpy", "float32"), ("numpy", "float64"),
    ("numpy", "float32"), ("native", "float64"), ("numpy", "float64"), ("numpy", "float32"),
]  # fmt: skip
DEPTHS = (3, DEEP, 3, 2)


def wrong(first: int) -> list[str]:
    """What is wrong with the formulas of a batch of seeds."""
    batch = first // BATCH
    way = WAYS[batch % len(WAYS)]
    deep = DEPTHS[batch // len(WAYS) % len(DEPTHS)]
    cases = [case(seeded(s), way[1], str(s), deep) for s in range(first, first + BATCH)]
    return failures(cases, way)


@pytest.mark.parametrize("first", range(0, 4 * BATCH, BATCH))
def test_formulas_of_a_seed_are_what_they_say(first: int) -> None:
    assert wrong(first) == []


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(FORMULAS // CHUNK))
def test_a_hundred_thousand_formulas_are_what_they_say(chunk: int) -> None:
    found = [w for n in range(chunk * CHUNK, (chunk + 1) * CHUNK, BATCH) for w in wrong(n)]
    assert found == [], "\n".join(found)


@given(st.data())
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_formulas_that_hypothesis_draws_are_what_they_say(data: Any) -> None:
    def choose(n: int) -> int:
        return int(data.draw(st.integers(0, n - 1)))

    assert failures([case(choose, "float64")], WAYS[0]) == []


def test_a_wrong_derivative_is_found_and_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The text of a failure runs as it stands, and prints the value and two derivatives."""
    own = prop.gradient
    monkeypatch.setattr(prop, "gradient", lambda y, xs: [v * 1.001 for v in own(y, xs)])
    told = wrong(0)
    assert "is derived as" in told[0]
    assert len(printed(told[0], tmp_path)) == 3
