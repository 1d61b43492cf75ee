"""Max-pooling that does not cover its image: the rows and columns left over have no window.

In: convolutions under max-pooling, loss and gradient. Guarantees: every backend and interpreter
gives the oracle's values (1e-12 in float64) and reads the table of largest places only where it
is; run also as text that checks each index (NUMBA_BOUNDSCHECK=1), which must not complain.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from backends import every_backend

import symprop as prop
from codegen.interpret import interpret
from codegen.loops.default import scheduled
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret as interpret_loops
from codegen.loops.verify import verify as verify_loops
from symprop import oracle

POOLS = [(5, 2), (7, 2), (7, 3), (8, 3)]  # the side of an image, the side of a window
TESTS = Path(__file__).parent


def roots(side: int, size: int) -> list[prop.Expression]:
    """Loss and gradient."""
    x = prop.input("x", f"batch c=2 h={side} w={side}")
    w = prop.parameter("w", "o=2 c=2 kh=3 kw=3", prop.He())
    pooled = prop.max_pool2d(prop.relu(prop.conv2d(x, w, padding=1)), size)
    loss = prop.mean(pooled**2)
    return [loss, prop.gradient(loss, w)]


def data(side: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(side)
    return {"x": rng.normal(size=(2, 2, side, side)), "w": rng.normal(size=(2, 2, 3, 3))}


def check(side: int, size: int, backend: str = "") -> None:
    """The values of a backend, or of every interpreter, are the oracle's."""
    outputs, values = roots(side, size), data(side)
    wanted = oracle.evaluate([e.node for e in outputs], values)
    if backend:
        function = prop.compile(outputs, backend=backend, dtype="float64")  # type: ignore[arg-type]
        runs = [function(**values)]
    else:
        program = prop.compile(outputs, dtype="float64").program
        assert program is not None
        runs = [interpret(program, values)]
        for loops in (from_program(program), scheduled(from_program(program))):
            verify_loops(loops)
            runs += [interpret_loops(loops, values, order) for order in ("forward", "reversed")]
    for found in runs:
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("side", "size"), POOLS)
def test_interpreters_equal_the_oracle(side: int, size: int) -> None:
    check(side, size)


@every_backend
def test_every_backend_equals_the_oracle(backend: str) -> None:
    check(7, 3, backend)


@pytest.mark.slow
@pytest.mark.parametrize(("side", "size"), POOLS)
@every_backend
def test_every_pool_on_every_backend_equals_the_oracle(side: int, size: int, backend: str) -> None:
    check(side, size, backend)


def test_numba_checking_each_index_finds_none_out_of_range() -> None:
    pytest.importorskip("numba")
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "PYTHONPATH": paths}
    text = "from test_pools_with_a_rest import check; check(5, 2, 'numba')"
    done = subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True, text=True, env=environment, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
