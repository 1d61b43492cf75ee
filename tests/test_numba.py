"""Models of the table through the backend "numba": against the oracle, in training, from outside.

In: tests/peers. Guarantees, as in tests/test_peers.py: loss and gradients as emitted against the
oracle 1e-12 in float64 and 1e-5 in float32. By default a part of the table is compiled, chosen so
that each kind of nest is there (compiling takes a second or so each); the slow tests compile all
of it in both widths.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from checking import assert_equal, evaluate_all
from peers.models import CASES
from random_networks import Network
from test_peers import ORACLE, assert_close, call, declared, rounded

import symprop as prop
from symprop import oracle
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


def check_against_the_oracle(name: str, dtype: str) -> None:
    model = declared(name)
    values = rounded(model.reference.inputs, dtype)
    outputs = [model.loss, *model.gradients]
    names = ["loss", *model.names]
    truth = oracle.evaluate([o.node for o in outputs], values)
    found = call(prop.compile(outputs, backend="numba", dtype=dtype), values)
    assert all(a.dtype == np.dtype(dtype) for a in found)
    assert_close(names, found, dict(zip(names, truth, strict=True)), ORACLE[dtype])


@pytest.mark.parametrize(("dtype", "name"), [(d, n) for d, names in CHOSEN.items() for n in names])
def test_emitted_numba_equals_the_oracle(name: str, dtype: str) -> None:
    check_against_the_oracle(name, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", CHOSEN)
@pytest.mark.parametrize("name", list(CASES))
def test_every_model_as_emitted_numba_equals_the_oracle(name: str, dtype: str) -> None:
    check_against_the_oracle(name, dtype)


def check_random_network(seed: int) -> None:
    net = Network(seed)
    values = net.data(seed)
    roots = [net.loss, *prop.gradient(net.loss, net.wrt), net.x * 1.0]
    function = prop.compile(roots, backend="numba", dtype="float64")
    named = {k.name: v for k, v in values.items() if not isinstance(k, str)}
    with np.errstate(all="ignore"):
        found = function({n: a for n, a in named.items() if n in function.inputs})
    assert_equal(list(found), evaluate_all(roots, values), 1e-9)


SEEDS = [*range(30), *(pytest.param(s, marks=pytest.mark.slow) for s in range(30, 400))]


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks_as_plain_python(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    check_random_network(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(400, 460))
def test_random_networks_compiled(seed: int) -> None:
    check_random_network(seed)


def digits() -> Any:
    x = prop.input("x", "batch pixel=64")
    y = prop.labels("y", "batch", classes=10)
    net = prop.Sequential(prop.Dense(16, name="hidden"), prop.relu, prop.Dense(10, name="logits"))
    logits = net(x)
    return prop.training_step(
        prop.cross_entropy(logits, y),
        prop.Adam(1e-2),
        outputs={"logits": logits},
        metrics=["accuracy"],
    )


def test_training_gives_the_weights_that_numpy_gives() -> None:
    rng = np.random.default_rng(0)
    data = {"x": rng.uniform(size=(70, 64)), "y": rng.integers(0, 10, 70)}
    trainers = {b: digits().compile(b, seed=3) for b in ("numpy", "numba")}
    for trainer in trainers.values():
        trainer.fit(data, epochs=3, batch_size=32, progress=False)
    ours, theirs = trainers["numba"], trainers["numpy"]
    for name, array in {**theirs.parameters, **theirs.states}.items():
        mine = {**ours.parameters, **ours.states}[name]
        np.testing.assert_allclose(mine, array, 2e-4, 2e-6, err_msg=name)
    predicted = [t.predict({"x": data["x"]})["logits"] for t in trainers.values()]
    np.testing.assert_allclose(*predicted, rtol=1e-3, atol=1e-4)
    assert "@njit" in ours.source()
    assert "for batch" in str(ours.loops)


def test_inputs_may_be_read_only_and_are_left_alone() -> None:
    x = prop.input("x", "batch pixel=3")
    f = prop.compile([prop.relu(x), x], backend="numba", dtype="float64")
    given = np.arange(6.0).reshape(2, 3) - 3
    given.flags.writeable = False
    found, same = f(x=given)
    assert found.tolist() == [[0, 0, 0], [0, 1, 2]]
    same[...] = 7
    assert given.min() == -3


def test_without_numba_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    x = prop.input("x", "batch")
    f = prop.compile(x * 2, backend="numba")
    assert "@njit" in f.source()  # the text can be read all the same
    with pytest.raises(UnsupportedError, match=r"run  python -m pip install numba$"):
        f(x=np.ones(2, np.float32))
