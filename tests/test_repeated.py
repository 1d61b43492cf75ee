"""Equal steps of a `Sequential` are calls of one block: of equal value, under the user's names.

The flat network is the same declaration with nothing shared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop import repeated
from symprop.expression import Expr
from symprop.graph import Region
from symprop.walk import leaves, topological

RNG = np.random.default_rng(5)
SAVED = repeated.SAVED


@contextmanager
def worth(saved: int) -> Iterator[None]:
    """So many values saved are worth a block."""
    before, repeated.SAVED = repeated.SAVED, saved
    try:
        yield
    finally:
        repeated.SAVED = before


@pytest.fixture(autouse=True)
def _small_networks() -> Iterator[None]:
    """Four layers are enough for these tests."""
    with worth(8):
        yield


def flat() -> Any:
    """Nothing is worth sharing."""
    return worth(10**9)


def calls(y: prop.Expr) -> list[Region]:
    return [n for n in topological([y.node]) if isinstance(n, Region)]


def transformer(depth: int = 3, time: int = 2, feature: int = 4) -> prop.Expr:
    x = prop.input("x", ("batch", time, feature))
    net = prop.Sequential(*(prop.TransformerBlock(heads=2) for _ in range(depth)))
    return net(x)


def perceptron(depth: int = 4) -> prop.Expr:
    """Dense layers of one width between two of others."""
    x = prop.input("x", "batch pixel=5")
    layers: list[Any] = [prop.Dense(4, name="first"), prop.tanh]
    for _ in range(depth):
        layers += [prop.Dense(4), prop.tanh]
    return prop.Sequential(*layers, prop.Dense(2, name="logits"))(x)


def residual(depth: int = 4) -> prop.Expr:
    """Plain functions that read what no layer made, and the values before them."""
    x = prop.input("x", "batch pixel=4")
    mask = prop.exp(-prop.input("mask", "batch pixel=4"))
    layers: list[Any] = []
    for _ in range(depth):
        layers.append(prop.Residual(prop.Sequential(prop.Dense(4), prop.sigmoid)))
        layers.append(lambda v: v * mask)
    return prop.Sequential(*layers)(x)


NETWORKS: dict[str, Callable[[], prop.Expr]] = {
    f.__name__: f for f in (transformer, perceptron, residual)
}


def both(name: str) -> tuple[prop.Expr, prop.Expr]:
    """The network, and the flat one: other leaves of the same names."""
    shared = NETWORKS[name]()
    with flat():
        plain = NETWORKS[name]()
    assert calls(shared)
    assert not calls(plain)
    return shared, plain


def step(y: prop.Expr) -> Any:
    return prop.training_step(prop.mean(y * y * prop.sin(y)), prop.Adam(1e-2))


def data(made: Any) -> dict[str, np.ndarray]:
    """Numbers for the inputs and parameters of a function."""
    rng = np.random.default_rng(0)
    return {
        leaf.name: rng.normal(size=[2 if d.value is None else d.value for d in leaf.dims])
        for leaf in sorted(made.leaves, key=lambda leaf: leaf.name)
    }


def gradients(y: prop.Expr, backend: str, order: int = 1) -> list[np.ndarray]:
    loss = prop.mean(y * y * prop.sin(y))
    parameters = prop.training_step(loss, prop.SGD(1.0)).parameters
    found = prop.gradient(loss, parameters)
    if order == 2:
        found = prop.gradient(sum((prop.mean(prop.sin(g)) for g in found), start=loss), parameters)
    made = prop.compile([loss, *found], backend=backend, dtype="float64")
    return list(made(data(made)))


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("transformer", "native"),
        ("perceptron", "numpy"),
        ("residual", "numpy"),
        ("residual", "native"),
    ],
)
def test_gradients_are_those_of_the_flat_network(name: str, backend: str) -> None:
    shared, plain = both(name)
    for a, b in zip(gradients(shared, backend), gradients(plain, backend), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_gradients_are_those_of_the_flat_network_in_numba() -> None:
    pytest.importorskip("numba")
    shared, plain = both("perceptron")
    for a, b in zip(gradients(shared, "numba"), gradients(plain, "numpy"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_second_derivatives_are_those_of_the_flat_network(backend: str) -> None:
    shared, plain = both("perceptron")
    for a, b in zip(gradients(shared, backend, 2), gradients(plain, "numpy", 2), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)


def test_tangents_are_those_of_the_flat_network() -> None:
    found = []
    for y in both("perceptron"):
        (x,) = (leaf for leaf in leaves([y.node]) if leaf.kind == "input")
        made = prop.compile(prop.jvp(y, Expr(x), prop.sin(Expr(x))), "numpy", "float64")
        found.append(made(data(made)))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_training_is_that_of_the_flat_network(backend: str) -> None:
    shared, plain = both("perceptron")
    batch = {"x": RNG.normal(size=(5, 5))}
    trainers = [step(y).compile(backend=backend, dtype="float64", seed=3) for y in (shared, plain)]
    losses = [[float(t.step(batch)) for _ in range(4)] for t in trainers]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    first, second = (t.parameters for t in trainers)
    assert list(first) == list(second)
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-6, atol=1e-8)


def test_the_names_and_the_order_of_parameters_are_those_of_the_flat_network() -> None:
    shared, plain = (step(y) for y in both("transformer"))
    assert [p.name for p in shared.parameters] == [p.name for p in plain.parameters]
    assert "block2.attention.query.weight" in {p.name for p in shared.parameters}


# --- what the reader sees ------------------------------------------------------------------------


def test_a_block_is_printed_once_and_called_with_the_weights_of_each_layer() -> None:
    text = prop.compile(perceptron(), backend="numpy").source("numpy")
    assert text.count("\ndef ") == 2
    assert "\ndef dense_tanh(x, weight, bias):" in text
    assert "dense2_tanh = dense_tanh(tanh_first, dense2_weight, dense2_bias)" in text
    assert "dense3_tanh = dense_tanh(dense2_tanh, dense3_weight, dense3_bias)" in text
    assert "logits = dense5_tanh @ logits_weight.T + logits_bias" in text
    step_text = step(perceptron()).source("numpy")
    assert step_text.count("\ndef dense_tanh") == step_text.count("\ndef d_dense_tanh") == 1


def test_many_parameters_are_handed_on_in_slices() -> None:
    text = prop.compile(transformer(5), backend="numpy").source("numpy")
    assert "\ndef function(x, *parameters):" in text
    row = "block2(block1" if "block2(" in text else "block(block1"
    assert f"block2 = {row}, *parameters[16:32])  # block2_norm1_weight to block2" in text
    made = prop.compile(transformer(5), backend="numpy", dtype="float64")
    with flat():
        plain = prop.compile(transformer(5), backend="numpy", dtype="float64")
    np.testing.assert_allclose(made(data(made)), plain(data(plain)), rtol=1e-12)


def test_conventions_within_blocks_are_said() -> None:
    x = prop.input("x", "batch pixel=4")
    layers: list[Any] = []
    for _ in range(4):
        layers += [prop.Dense(4), prop.relu]
    loss = prop.mean(prop.Sequential(*layers)(x))
    assert calls(loss)
    (found,) = prop.gradient(loss, [x])
    assert "relu'(0) = 0" in prop.compile(found, backend="numpy").source("numpy")


def test_a_diagnosis_and_an_explanation_name_the_layers_as_before() -> None:
    shared, plain = both("perceptron")
    batch = {"x": RNG.normal(size=(6, 5))}
    rows = [
        prop.diagnose(step(y).compile(backend="numpy", seed=1), batch).rows for y in (shared, plain)
    ]
    assert [r.name for r in rows[0]] == [r.name for r in rows[1]]
    assert [r.activation for r in rows[0]] == [r.activation for r in rows[1]]
    pages = [str(prop.explain(prop.mean(y * y))).splitlines() for y in (shared, plain)]
    others = [(a, b) for a, b in zip(*pages, strict=True) if a != b]
    assert all("activation" in b and re.search(r"dense\d_tanh", a) for a, b in others)  # its name


# --- what is not shared --------------------------------------------------------------------------


def test_a_small_network_has_no_calls() -> None:
    with worth(SAVED):
        x = prop.input("x", "batch pixel=8")
        assert not calls(prop.Sequential(*(prop.Dense(8) for _ in range(4)))(x))
        assert not calls(transformer(2))
        assert len(calls(transformer(3))) == 3


def test_layers_of_other_options_are_other_blocks() -> None:
    x = prop.input("x", ("batch", 3, 4))
    blocks = [prop.TransformerBlock(heads=2, causal=k % 2 == 0) for k in range(7)]
    found = calls(prop.Sequential(*blocks)(x))
    assert [c.block for c in found[:2]] * 3 == [c.block for c in found[:6]]
    assert found[0].block is not found[1].block


def test_layers_with_running_averages_stay_outside_and_train() -> None:
    x = prop.input("x", "batch pixel=4")
    layers: list[Any] = []
    for _ in range(4):
        layers += [prop.Dense(4), prop.BatchNorm(), prop.tanh]
    y = prop.Sequential(*layers)(x)
    assert not calls(y)
    trainer = step(y).compile(backend="numpy")
    trainer.step({"x": RNG.normal(size=(6, 4))})
    assert any(np.any(s != 0) for name, s in trainer.states.items() if "batch" in name)


def test_one_layer_called_again_and_again_keeps_one_weight() -> None:
    x = prop.input("x", ("batch", 3, 4))
    layer = prop.TransformerBlock(heads=2, name="same")
    y = prop.Sequential(*[layer] * 4)(x)
    with flat():
        plain = prop.Sequential(*[layer] * 4)(x)
    made, other = (prop.compile(v, backend="numpy", dtype="float64") for v in (y, plain))
    assert sorted(made.inputs) == sorted(other.inputs)
    np.testing.assert_allclose(made(data(made)), other(data(other)), rtol=1e-12)


def test_a_later_step_may_read_an_inner_value_of_an_earlier_one() -> None:
    def network() -> prop.Expr:
        x = prop.input("x", "batch pixel=4")
        seen: list[prop.Expr] = []

        def keep(v: prop.Expr) -> prop.Expr:
            seen.append(v)
            return prop.tanh(v)

        layers: list[Any] = []
        for _ in range(5):
            layers += [prop.Dense(4), keep]
        return prop.Sequential(*layers, lambda v: v + seen[1] * prop.exp(seen[3]))(x)

    shared = network()
    with flat():
        plain = network()
    for a, b in zip(gradients(shared, "numpy"), gradients(plain, "numpy"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_the_place_where_a_nan_came_from_is_named_within_a_block() -> None:
    def network() -> prop.Expr:
        x = prop.input("x", "batch pixel=2")
        layers: list[Any] = []
        for _ in range(4):
            layers += [prop.Dense(2), lambda v: prop.log(v)]
        return prop.Sequential(*layers)(x)

    shared = network()
    with flat():
        plain = network()
    assert calls(shared)
    weights = {"x": np.ones((1, 2))}
    for leaf in step(plain).parameters:
        weights[leaf.name] = np.full(leaf.shape, 1.0 if leaf.name < "dense3" else -1.0)
    found = [prop.find_nan(prop.mean(y), weights) for y in (shared, plain)]
    assert found[0] is not None
    assert str(found[0]) == str(found[1])
