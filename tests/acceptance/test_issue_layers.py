"""Acceptance of layers and recurrence: everything networks are made of, trained on real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import symprop as prop

ROOT = Path(prop.__file__).parent.parent


LAYERS = [
    "Conv1D", "Conv2D", "Conv3D", "ConvTranspose2D", "MaxPool", "AvgPool", "global_avg_pool",
    "adaptive_avg_pool", "BatchNorm", "LayerNorm", "RMSNorm", "GroupNorm", "InstanceNorm",
    "Residual", "flatten", "Upsample", "l2_penalty", "Groups", "Embedding", "MultiHeadAttention",
    "TransformerBlock", "one_hot", "RNN", "LSTM", "GRU", "Bidirectional", "Dropout",
    "GaussianNoise",
]  # fmt: skip
EXAMPLES = ["lenet", "mnist_1d", "residual", "names", "gpt", "vae", "vanishing_exploding"]


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_there(name: str) -> None:
    assert callable(getattr(prop, name, None))


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_batch_norm_trains_with_the_batch_and_predicts_with_what_it_kept(backend: str) -> None:
    x = prop.input("x", "batch feature=2")
    y = prop.BatchNorm("norm")(x)
    trainer = prop.training_step(prop.mean(prop.square(y)), prop.SGD(0.0001), {"y": y}).compile(
        backend, dtype="float64"
    )
    data = np.array([[0.0, 10.0], [2.0, 30.0]])
    trainer.step({"x": data})
    np.testing.assert_allclose(trainer.states["norm.running_mean"], [0.1, 2.0])
    found = trainer.predict({"x": np.array([[0.1, 2.0]])})["y"]
    np.testing.assert_allclose(found, 0, atol=1e-12)


def test_convolutions_and_their_gradients_are_windows_in_the_text() -> None:
    """Forward, gradient of the image and gradient of the weights: no loop over places."""
    x, w = prop.input("x", (2, 3, 8, 8)), prop.parameter("w", (4, 3, 3, 3), prop.Zeros())
    y = prop.conv2d(x, w, padding=1)
    loss = prop.sum(prop.square(y))
    text = prop.compile([y, *prop.gradient(loss, [x, w])]).source("numpy")
    assert text.count("np.tensordot(") == 3
    assert text.count("sliding_window_view(") == 2  # those of the image serve two products
    assert " in range(" not in text


def test_the_input_of_an_lstm_is_one_product_outside_of_its_loop() -> None:
    def text(time: int) -> str:
        x = prop.input("x", f"batch time={time} feature=3")
        return str(prop.compile(prop.LSTM(4)(x)).source("numpy"))

    before, loop = text(7).split("def function")[1].split(" in range(")
    assert before.count(" @ ") == 1
    assert "lstm_weight" not in loop
    assert len(text(7).splitlines()) == len(text(70).splitlines())


def test_dropout_draws_in_training_only() -> None:
    x = prop.input("x", "batch feature=100")
    y = prop.Dropout(0.5)(x)
    w = prop.parameter("w", (), prop.Constant(1.0))
    trainer = prop.training_step(prop.mean(y * w), prop.SGD(0.1), {"y": y})
    ones = np.ones((1, 100))
    np.testing.assert_array_equal(trainer.compile().predict({"x": ones})["y"], ones)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_on_real_data_is_there(name: str) -> None:
    assert (ROOT / "examples" / f"{name}.py").exists()


def test_text_grows_with_distinct_blocks_not_with_layers() -> None:
    def lines(depth: int) -> int:
        x = prop.input("x", "batch time=8 feature=16")
        net = prop.Sequential(*(prop.TransformerBlock(heads=2) for _ in range(depth)))
        return len(prop.compile(net(x)).source("numpy").splitlines())

    assert lines(48) < 2 * lines(2)
