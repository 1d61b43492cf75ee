"""The backends, for tests that run each of them: one that cannot run here is skipped, and says why.

A device can be simulated, but not fast enough for these tests: tests/test_numba_cuda.py does that.
"""

from __future__ import annotations

from typing import Any

import pytest

from symprop import doctor
from symprop.backends import BACKENDS

__all__ = ["every_backend", "parameters"]


def parameters(*before: Any) -> list[Any]:
    """A parameter set for each backend, after the values in ``before``."""
    found = []
    for name in BACKENDS:
        fact = doctor.backend(name)
        marks = pytest.mark.skipif(not fact.ready, reason=f"{fact.name} {fact.detail}")
        found.append(pytest.param(*before, name, marks=marks))
    return found


every_backend = pytest.mark.parametrize("backend", parameters())
