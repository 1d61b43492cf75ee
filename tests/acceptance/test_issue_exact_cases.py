"""Acceptance of exactness: the thirty cases of the notes, and sixty more, in their naive spelling.

Each within 4 ulp of the exact value and derivative, or at the declared convention, in float64 and
float32; each also with its subexpressions named, reshaped, broadcast, asked for as results of
their own, and inside a function of the user. NumPy is asked here, the loop backends in the slow
run.

Of the sixty, written and committed before they were first run, 5 passed before there was any rule
(the four selections and one power), 39 the first time that there were rules, made for the notes'
thirty; of these, 9 passed before.
"""

from __future__ import annotations

from typing import Any

import pytest
from exact_cases import CASES, Case
from exact_cases_more import MORE
from exactness import BACKENDS, DISGUISES, DTYPES, error, ulps

BOUND = 4.0  # ulp

# The cases that still fail, by the backends they fail on: a case that starts to pass fails here.
OPEN: dict[str, tuple[str, ...]] = dict.fromkeys(
    (
        "norm of huge numbers",
        "acos(x)**3",
    ),
    BACKENDS,
)


def _asked(case: Case, backend: str, disguises: tuple[str, ...]) -> None:
    bad = []
    for dtype in (d for d in DTYPES if d in case.only):
        for disguise in disguises:
            value, slope = error(case, backend, dtype, disguise)
            if not (value <= BOUND and slope <= BOUND):
                bad.append(f"{dtype} {disguise}: value {value:.3g} ulp, slope {slope:.3g} ulp")
    assert not bad, "\n".join([case.name, *bad])


def _params(cases: tuple[Case, ...]) -> list[Any]:
    return [
        pytest.param(c, b, id=f"{b}-{c.name}", marks=[
            *([pytest.mark.xfail(strict=True)] if b in OPEN.get(c.name, ()) else []),
            *([] if b == "numpy" else [pytest.mark.slow]),
        ])
        for b in BACKENDS for c in cases
    ]  # fmt: skip


@pytest.mark.parametrize(("case", "backend"), _params(CASES))
def test_a_case_of_the_notes_is_exact_in_every_disguise(case: Case, backend: str) -> None:
    _asked(case, backend, DISGUISES)


@pytest.mark.parametrize(("case", "backend"), _params(MORE))
def test_another_case_is_exact_in_every_disguise(case: Case, backend: str) -> None:
    _asked(case, backend, DISGUISES)


def test_ulps_are_counted_from_the_exact_number() -> None:
    assert ulps(1.0, 1.0, "float64") == 0
    assert ulps(1.0 + 2**-51, 1.0, "float64") == 2
    assert ulps(5e-324, 0, "float64") == 1
    assert ulps(float("inf"), 1, "float64") == ulps(float("nan"), 1, "float64") == float("inf")
    assert ulps(float("inf"), 10**400, "float64") == 0


def test_the_cases_have_names_of_their_own() -> None:
    names = [c.name for c in (*CASES, *MORE)]
    assert (len(CASES), len(MORE)) == (30, 60)
    assert len(set(names)) == 90
    assert set(OPEN) <= set(names)
