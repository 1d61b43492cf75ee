"""Models of the table through the backend "numba": against the oracle, in training, from outside.

In: tests/peers. Guarantees, as in tests/test_peers.py: loss and gradients as emitted against the
oracle 1e-12 in float64 and 1e-5 in float32. By default a part of the table is compiled, chosen so
that each kind of nest is there (compiling takes a second or so each); the slow tests compile all
of it in both widths.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
from backend_checks import (
    check_inputs_are_left_alone,
    check_model,
    check_random_network,
    check_training,
    digits_step,
)
from peers.models import CASES

import symprop as prop
from symprop.errors import UnsupportedError

numba = pytest.importorskip("numba")

CHOSEN = {
    "float64": (
        "power_of_both", "where_guarded_log", "conv_strided_padded", "max_pool_3_2_ties",
        "mlp_gelu", "softmax_cross_entropy", "dropout_mask", "layer_norm", "batch_norm",
        "max_reduction_ties", "prod_with_zeros", "cumsum", "embedding", "rnn_reversed", "lstm",
        "reshape_misaligned", "concat_batch", "slices_strided", "gather_by_argmax",
        "einsum_diagonal", "matmul_batched",
    ),
    "float32": (
        "power_fraction", "casts", "avg_pool_3_2_padded", "mlp_silu", "logsumexp_two_axes",
        "weight_decay", "cumprod_with_zeros", "gather_pairs", "scan_without_slices",
        "binary_cross_entropy_with_logits",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("dtype", "name"), [(d, n) for d, names in CHOSEN.items() for n in names])
def test_emitted_numba_equals_the_oracle(name: str, dtype: str) -> None:
    check_model("numba", dtype, name)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", CHOSEN)
@pytest.mark.parametrize("name", list(CASES))
def test_every_model_as_emitted_numba_equals_the_oracle(name: str, dtype: str) -> None:
    check_model("numba", dtype, name)


SEEDS = [*range(30), *(pytest.param(s, marks=pytest.mark.slow) for s in range(30, 400))]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks_as_plain_python(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    check_random_network("numba", seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(400, 460))
def test_random_networks_compiled(seed: int) -> None:
    check_random_network("numba", seed)


def test_training_gives_the_weights_that_numpy_gives() -> None:
    trainer = check_training("numba")
    assert "@njit" in trainer.source()
    assert "for batch" in str(trainer.loops)


def test_inputs_may_be_read_only_and_are_left_alone() -> None:
    check_inputs_are_left_alone("numba")


def test_without_numba_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    said = (
        r'^the backend "numba" needs the package numba: run  python -m pip install "numba>=0.68"$'
    )
    step = digits_step()
    with pytest.raises(UnsupportedError, match=said):
        step.compile("numba")  # not at the first step
    x = prop.input("x", "batch")
    f = prop.compile(x * 2, backend="numba")
    assert "@njit" in f.source()  # the text can be read all the same
    assert "@njit" in step.source("numba")
    with pytest.raises(UnsupportedError, match=said):
        f(x=np.ones(2, np.float32))
