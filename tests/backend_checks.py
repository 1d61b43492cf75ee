"""What is asked of every backend that is no NumPy: the same checks, for its name.

In: the name of a backend; a model of tests/peers, a seed. Out: nothing, or an AssertionError.
Guarantees, as in tests/test_peers.py: loss and gradients as they run against the oracle, 1e-12 in
float64 and 1e-5 in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from checking import assert_equal, evaluate_all
from random_networks import Network
from test_peers import ORACLE, assert_close, call, declared, rounded

import symprop as prop
from symprop import oracle

__all__ = [
    "check_inputs_are_left_alone",
    "check_model",
    "check_random_network",
    "check_training",
    "digits_data",
    "digits_step",
]


def check_model(backend: str, dtype: str, name: str) -> None:
    """A model's loss and gradients equal the oracle's."""
    model = declared(name)
    values = rounded(model.reference.inputs, dtype)
    outputs = [model.loss, *model.gradients]
    names = ["loss", *model.names]
    truth = oracle.evaluate([o.node for o in outputs], values)
    found = call(prop.compile(outputs, backend=backend, dtype=dtype), values)
    assert all(a.dtype == np.dtype(dtype) for a in found)
    assert_close(names, found, dict(zip(names, truth, strict=True)), ORACLE[dtype])


def check_random_network(backend: str, seed: int) -> None:
    """The loss, the gradients and an input of a random network equal the oracle's, in float64."""
    net = Network(seed)
    values = net.data(seed)
    roots = [net.loss, *prop.gradient(net.loss, net.wrt), net.x * 1.0]
    function = prop.compile(roots, backend=backend, dtype="float64")
    named = {k.name: v for k, v in values.items() if not isinstance(k, str)}
    with np.errstate(all="ignore"):
        found = function({n: a for n, a in named.items() if n in function.inputs})
    assert_equal(list(found), evaluate_all(roots, values), 1e-9)


def digits_step(units: int = 16) -> prop.TrainingStep:
    """The step of `symprop train digits`, narrower."""
    x = prop.input("x", "batch pixel=64")
    y = prop.labels("y", "batch", classes=10)
    net = prop.Sequential(
        prop.Dense(units, name="hidden"), prop.relu, prop.Dense(10, name="logits")
    )
    logits = net(x)
    outputs, loss = {"logits": logits}, prop.cross_entropy(logits, y)
    return prop.training_step(loss, prop.Adam(1e-2), outputs=outputs, metrics=["accuracy"])


def digits_data(examples: int = 70) -> dict[str, Any]:
    """Random images and labels for it."""
    rng = np.random.default_rng(0)
    return {"x": rng.uniform(size=(examples, 64)), "y": rng.integers(0, 10, examples)}


def check_training(backend: str) -> Any:
    """Three epochs of Adam give the weights, moments and outputs of NumPy; the trainer."""
    trainers = {b: digits_step().compile(b, seed=3) for b in ("numpy", backend)}
    for trainer in trainers.values():
        trainer.fit(digits_data(), epochs=3, batch_size=32, progress=False)
    ours, theirs = trainers[backend], trainers["numpy"]
    mine = {**ours.parameters, **ours.states}
    for name, array in {**theirs.parameters, **theirs.states}.items():
        np.testing.assert_allclose(mine[name], array, 2e-4, 2e-6, err_msg=name)
    images = {"x": digits_data()["x"]}
    predicted = [t.predict(images)["logits"] for t in trainers.values()]
    np.testing.assert_allclose(*predicted, rtol=1e-3, atol=1e-4)
    return ours


def check_inputs_are_left_alone(backend: str) -> None:
    """An input may be read-only, and what comes back of it is the caller's own."""
    x = prop.input("x", "batch pixel=3")
    f = prop.compile([prop.relu(x), x], backend=backend, dtype="float64")
    given = np.arange(6.0).reshape(2, 3) - 3
    given.flags.writeable = False
    found, same = f(x=given)
    assert found.tolist() == [[0, 0, 0], [0, 1, 2]]
    same[...] = 7
    assert given.min() == -3
