"""The backend "numba-cuda": its kernels in Numba's simulator, and what it says where it cannot run.

In: tests/peers and tests/simulated.py, which a process of its own runs, as Numba must be told to
simulate before it is loaded. Guarantees, as in tests/test_peers.py: loss and gradients as emitted
against the oracle 1e-12 in float64 and 1e-5 in float32. By default a part of the table, chosen so
that each kind of nest is there; the slow tests run all of it in both widths.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from peers.models import CASES
from simulated import RUNS

import symprop as prop
from symprop import doctor
from symprop.errors import UnsupportedError

pytest.importorskip("numba")

TESTS = Path(__file__).parent
FLOAT64 = (
    "power_of_both", "where_guarded_log", "conv_strided_padded", "max_pool_3_2_ties", "mlp_gelu",
    "softmax_cross_entropy", "dropout_mask", "layer_norm", "batch_norm", "max_reduction_ties",
    "prod_with_zeros", "cumsum", "embedding", "rnn_reversed", "reshape_misaligned",
    "concat_batch", "slices_strided", "gather_by_argmax", "einsum_diagonal", "matmul_batched",
    "transformer_two_blocks",
)  # fmt: skip
FLOAT32 = (
    "power_fraction", "casts", "mlp_silu", "logsumexp_two_axes", "gather_pairs",
    "scan_without_slices", "binary_cross_entropy_with_logits",
)  # fmt: skip
QUICK = (
    *RUNS,
    *(f"float64:{name}" for name in FLOAT64),
    *(f"float32:{name}" for name in FLOAT32),
)
EVERY = tuple(f"{dtype}:{name}" for dtype in ("float64", "float32") for name in CASES)


@cache
def errors(names: Sequence[str]) -> dict[str, str]:
    """What went wrong in each run, or nothing: all of them in one process with the simulator."""
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": paths}
    command = [sys.executable, str(TESTS / "simulated.py"), *names]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=True, timeout=1200
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    return {r["name"]: r["error"] for r in results}


@pytest.mark.parametrize("name", QUICK)
def test_kernels_in_the_simulator_are_right(name: str) -> None:
    assert errors(QUICK)[name] == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_kernels_of_every_model_in_the_simulator_equal_the_oracle(name: str) -> None:
    assert errors(EVERY)[name] == ""


# --- where it cannot run --------------------------------------------------------------------------


def doubled() -> prop.Function:
    x = prop.input("x", "batch")
    return prop.compile(x * 2, backend="numba-cuda")


def test_without_a_device_one_sentence_says_what_it_needs() -> None:
    if doctor.device():
        pytest.skip("there is a device, or it is simulated")
    f = doubled()
    assert "@cuda.jit" in f.source()  # the text can be read all the same
    with pytest.raises(UnsupportedError, match=r"needs a CUDA device, or .*NUMBA_ENABLE_CUDASIM=1"):
        f(x=np.ones(2, np.float32))


def test_without_numba_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(UnsupportedError, match=r'python -m pip install "numba>='):
        doubled()(x=np.ones(2, np.float32))


def test_doctor_tells_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_library", lambda name: None)
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    assert "NUMBA_ENABLE_CUDASIM=1" in doctor.backend("numba-cuda").detail
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert doctor.backend("numba-cuda").ready
