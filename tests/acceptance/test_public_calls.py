"""Acceptance of the core: the public calls work as its issue writes them."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symprop as prop


def small_step() -> Any:
    """A 3-4-2 classifier, in the calls of the issue."""
    x = prop.input("x", "batch feature=3")
    y = prop.labels("y", "batch", classes=2)
    net = prop.Sequential(prop.Dense(4, name="hidden"), prop.tanh, prop.Dense(2, name="logits"))
    logits = net(x)
    loss = prop.cross_entropy(logits, y)
    return prop.training_step(
        loss, prop.Adam(1e-2), outputs={"logits": logits}, metrics=["accuracy"]
    )


def small_data(examples: int = 60) -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(examples, 3))
    return {"x": x, "y": (x[:, 0] * x[:, 1] > 0).astype(np.int64)}


def test_dims_are_a_string_an_int_or_a_tuple() -> None:
    assert prop.input("x", "batch pixel=64").shape[1] == 64
    assert prop.input("x", 64).shape == (64,)
    assert prop.input("x", ("batch", 64)).shape[1] == 64
    assert prop.input("x", ()).shape == ()
    assert prop.input("x", ("batch", 64)).ndim == 2


def test_gradient_of_a_scalar_has_the_shape_of_the_variable() -> None:
    x = prop.input("x", "batch pixel=5")
    w = prop.input("w", (5, 2))
    loss = prop.mean(prop.square(x @ w))
    assert prop.gradient(loss, w).shape == w.shape
    listed = prop.gradient(loss, [x, w])
    assert isinstance(listed, list)
    assert [g.shape for g in listed] == [x.shape, w.shape]


def test_vjp_and_jvp_are_adjoint() -> None:
    rng = np.random.default_rng(1)
    x, v, c = (prop.input(n, s) for n, s in (("x", (3, 2)), ("v", (3, 2)), ("c", (3, 3))))
    y = prop.tanh(x @ x.T)
    forward = prop.sum(prop.jvp(y, x, v) * c)
    backward = prop.sum(prop.vjp(y, x, c) * v)
    values = {n: rng.normal(size=s) for n, s in (("x", (3, 2)), ("v", (3, 2)), ("c", (3, 3)))}
    a, b = prop.compile([forward, backward], dtype="float64")(values)
    assert abs(a - b) <= 1e-13 * abs(a)


def test_a_function_takes_a_mapping_or_keywords_and_keeps_the_order_of_outputs() -> None:
    x, y = prop.input("x", 3), prop.input("y", 3)
    one = prop.compile(x + y)
    values = {"x": np.arange(3.0), "y": np.ones(3)}
    assert isinstance(one(values), np.ndarray)
    assert one(values).dtype == np.float32
    np.testing.assert_array_equal(one(**values), one(values))
    difference, total = prop.compile([x - y, x + y], backend="numpy", dtype="float64")(values)
    assert total.dtype == np.float64
    np.testing.assert_array_equal(difference, np.arange(3.0) - 1)
    np.testing.assert_array_equal(total, np.arange(3.0) + 1)


def test_one_function_serves_every_batch_size() -> None:
    x = prop.input("x", "batch feature=3")
    mean = prop.compile(prop.mean(prop.square(x), axis=0), dtype="float64")
    for batch in (1, 2, 17):
        data = np.random.default_rng(batch).normal(size=(batch, 3))
        np.testing.assert_allclose(mean({"x": data}), (data**2).mean(axis=0), rtol=1e-14)


def test_a_scalar_has_a_default_that_a_call_can_replace() -> None:
    x, rate = prop.input("x", 2), prop.scalar("rate", 0.5)
    function = prop.compile(x * rate, dtype="float64")
    np.testing.assert_array_equal(function({"x": np.ones(2)}), [0.5, 0.5])
    np.testing.assert_array_equal(function({"x": np.ones(2), "rate": 2.0}), [2.0, 2.0])


def test_the_source_is_python_that_imports_numpy_alone() -> None:
    source = small_step().source("numpy")
    imports = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import | ast.ImportFrom)]
    modules = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in imports}
    assert all(str(m).split(".")[0] == "numpy" for m in modules)


def test_a_program_prints_and_a_source_differs_from_it() -> None:
    step = small_step()
    assert str(step.program)
    assert str(step.program) != step.source()
    assert step.compile("numpy").program


def test_training_lowers_the_loss_and_keeps_a_history() -> None:
    trainer = small_step().compile("numpy", seed=0)
    data = small_data()
    before = trainer.evaluate(data)
    history = trainer.fit(data, epochs=150, batch_size=16, validation_split=0.2, seed=0)
    after = trainer.evaluate(data)
    assert after["loss"] < before["loss"]
    assert after["accuracy"] > 0.8
    assert len(history["loss"]) == 150
    assert len(history["validation_loss"]) == 150
    assert history["loss"][-1] < history["loss"][0]


def test_a_step_returns_the_loss_before_its_update() -> None:
    trainer = small_step().compile("numpy", seed=0)
    data = small_data(8)
    loss = trainer.evaluate(data)["loss"]
    assert isinstance(trainer.step(data), float)
    other = small_step().compile("numpy", seed=0)
    assert abs(other.step(data) - loss) <= 1e-6 * loss


def test_predict_needs_no_labels_and_returns_outputs_by_name() -> None:
    trainer = small_step().compile("numpy", seed=0)
    x = small_data(7)["x"]
    logits = trainer.predict({"x": x})["logits"]
    p = trainer.parameters
    hidden = np.tanh(x @ p["hidden.weight"].T + p["hidden.bias"])
    expected = hidden @ p["logits.weight"].T + p["logits.bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_saved_weights_and_moments_continue_the_same_training(tmp_path: Path) -> None:
    data = small_data()
    trainer, other = (small_step().compile("numpy", seed=s) for s in (0, 1))
    trainer.fit(data, epochs=2, batch_size=16, seed=0)
    trainer.save(tmp_path / "weights.safetensors")
    other.load(tmp_path / "weights.safetensors")
    assert trainer.step(data) == other.step(data)
    assert trainer.step(data) == other.step(data)
    for name, array in trainer.parameters.items():
        assert array.tobytes() == other.parameters[name].tobytes()


@pytest.mark.parametrize("optimizer", ["SGD", "Momentum", "Adam"])
def test_every_optimizer_follows_its_formula(optimizer: str) -> None:
    x = prop.input("x", "batch feature=3")
    w = prop.parameter("w", (3,), init=np.array([0.5, -1.0, 2.0]))
    loss = prop.mean(prop.square(x @ w))
    chosen = {"SGD": prop.SGD(0.1), "Momentum": prop.Momentum(0.1), "Adam": prop.Adam(0.1)}
    trainer = prop.training_step(loss, chosen[optimizer]).compile("numpy", dtype="float64")
    data = np.random.default_rng(2).normal(size=(5, 3))
    weight = np.array([0.5, -1.0, 2.0])
    m = v = np.zeros(3)
    for t in range(1, 5):
        trainer.step({"x": data})
        g = 2 * data.T @ (data @ weight) / 5
        if optimizer == "SGD":
            weight = weight - 0.1 * g
        elif optimizer == "Momentum":
            m = 0.9 * m + g
            weight = weight - 0.1 * m
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            weight = weight - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(trainer.parameters["w"], weight, rtol=1e-12)


def test_update_of_a_state_happens_from_old_to_new_values() -> None:
    x = prop.input("x", "batch feature=2")
    w = prop.parameter("w", (2,), init=np.ones(2))
    seen = prop.state("seen", (), init=np.array(0.0))
    total = prop.sum(prop.square(x @ w))
    counted = prop.update(total, seen, seen + 1.0)
    trainer = prop.training_step(counted, prop.SGD(1e-3)).compile("numpy")
    for expected in (1.0, 2.0, 3.0):
        trainer.step({"x": np.ones((4, 2))})
        assert float(trainer.states["seen"]) == expected


def test_a_user_formula_becomes_an_operation() -> None:
    swish = prop.elementwise("swish", lambda x: x * prop.sigmoid(x))
    x = prop.input("x", 5)
    gradient = prop.gradient(prop.sum(swish(x)), x)
    data = np.linspace(-30, 30, 5)
    s = 1 / (1 + np.exp(-data))
    ours = prop.compile(gradient, dtype="float64")({"x": data})
    np.testing.assert_allclose(ours, s * (1 + data * (1 - s)), rtol=1e-10, atol=1e-16)


def test_stop_gradient_stops() -> None:
    x = prop.input("x", 3)
    loss = prop.sum(prop.square(x) * prop.stop_gradient(prop.exp(x)))
    data = np.array([0.1, 0.2, -0.3])
    ours = prop.compile(prop.gradient(loss, x), dtype="float64")({"x": data})
    np.testing.assert_allclose(ours, 2 * data * np.exp(data), rtol=1e-14)


def test_named_values_keep_their_names_in_the_text() -> None:
    net = prop.Sequential(prop.Dense(4, name="hidden"), prop.relu, prop.Dense(2, name="logits"))
    x = prop.input("x", "batch feature=3")
    y = prop.labels("y", "batch", classes=2)
    loss = prop.cross_entropy(net(x), y)
    source = prop.compile([loss, prop.gradient(loss, net["hidden.weight"])]).source()
    assert "hidden_weight" in source
    assert "d_hidden" in source or "d_logits" in source


def test_initial_values_depend_on_the_seed_alone() -> None:
    weight = prop.parameter("w", (4, 3), init=prop.He())
    other = prop.parameter("u", (2, 4), init=prop.Glorot())
    values = prop.initial_values([weight @ prop.input("x", 3), other], seed=5, dtype="float32")
    again = prop.initial_values([weight @ prop.input("x", 3), other], seed=5, dtype="float32")
    assert set(values) == {"w", "u"}
    assert all(values[n].dtype == np.float32 for n in values)
    assert all(values[n].tobytes() == again[n].tobytes() for n in values)
    third = prop.initial_values([weight, other], seed=6, dtype="float32")
    assert third["w"].tobytes() != values["w"].tobytes()


def test_index_and_size_give_positions_and_lengths() -> None:
    x = prop.input("x", "batch feature=3")
    place = prop.index(3).astype("float")
    length = prop.size(x, 0)
    function = prop.compile([prop.sum(x * place, axis=1), prop.sum(x) / length], dtype="float64")
    data = np.random.default_rng(3).normal(size=(4, 3))
    weighted, mean = function({"x": data})
    np.testing.assert_allclose(weighted, data @ np.arange(3.0), rtol=1e-13)
    np.testing.assert_allclose(mean, data.sum() / 4, rtol=1e-13)


def test_reductions_take_axes_and_keepdims() -> None:
    data = np.random.default_rng(4).normal(size=(2, 3, 4))
    x = prop.input("x", (2, 3, 4))
    for name in ("sum", "mean", "max", "min", "prod"):
        for axis in (None, 0, -1, (0, 2)):
            if name == "prod" and isinstance(axis, tuple):
                continue
            for keepdims in (False, True):
                ours = prop.compile(
                    getattr(prop, name)(x, axis=axis, keepdims=keepdims), dtype="float64"
                )({"x": data})
                theirs = getattr(np, name)(data, axis=axis, keepdims=keepdims)
                np.testing.assert_allclose(ours, theirs, rtol=1e-12, err_msg=f"{name} {axis}")


def test_the_command_trains_digits_and_writes_a_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "symprop.cli", "train", "digits", "--epochs", "2", "--out", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(prop.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout
    assert "def " in done.stdout  # the gradients, as code
    files = {p.name: p for p in (tmp_path / "run").iterdir()}
    assert {p.suffix for p in files.values()} >= {".py", ".txt", ".safetensors", ".json"}
    ast.parse(files["training_step.py"].read_text(encoding="utf-8"))
    assert json.loads(files["history.json"].read_text(encoding="utf-8"))


def test_an_exact_gelu_needs_no_scipy() -> None:
    x = prop.input("x", 4)
    source = prop.compile(prop.gradient(prop.sum(prop.gelu(x)), x)).source()
    assert "scipy" not in source
    assert "np.erf" not in source
