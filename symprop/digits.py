"""The first training run: a 64-64-10 network on scikit-learn's handwritten digits.

In: a seed and the sizes of the run.
Out: the declaration, its gradients as code, a trained network and its accuracy on digits that it
has not seen, as text in `files`.
Guarantees: nothing is downloaded (the data is a part of scikit-learn); the same seed gives the
same files.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import symprop as prop
from codegen.listing import listing
from symprop.checkpoint import weights_bytes
from symprop.errors import UnsupportedError, install

if TYPE_CHECKING:
    from symprop import Expr, Trainer, TrainingStep

__all__ = ["FILES", "Digits", "declaration", "declare", "gradients", "load", "trained_files"]


def declare(rate: float = 1e-3) -> TrainingStep:
    """The network, its loss and its training step."""
    x = prop.input("x", "batch pixel=64")
    y = prop.labels("y", "batch", classes=10)
    net = prop.Sequential(prop.Dense(64, name="hidden"), prop.relu, prop.Dense(10, name="logits"))
    logits = net(x)
    loss = prop.cross_entropy(logits, y)
    return prop.training_step(
        loss, prop.Adam(rate), outputs={"logits": logits}, metrics=["accuracy"]
    )


def declaration() -> str:
    """The text of `declare`, for the reader."""
    return inspect.getsource(declare)


def gradients(step: TrainingStep) -> str:
    """The loss and the gradient of every parameter as NumPy code."""
    outputs: list[Expr] = [step.loss, *step.gradients]
    return str(prop.compile(outputs, backend="numpy").source())


@dataclass(frozen=True)
class Digits:
    """1797 images of 8 x 8 pixels in 0 to 1, a quarter of each digit set aside as a test."""

    train: dict[str, Any]
    test: dict[str, Any]


def load(seed: int = 0) -> Digits:
    """The digits, divided by `seed` so that every digit has the same share in both parts."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise UnsupportedError(
            "the digits come with scikit-learn, which is not installed: "
            f"run  {install('scikit-learn')}"
        ) from error
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        images / 16, labels, test_size=0.25, stratify=labels, random_state=seed
    )
    x_train, x_test, y_train, y_test = parts
    return Digits({"x": x_train, "y": y_train}, {"x": x_test, "y": y_test})


FILES = ("training_step.py", "training_step.txt", "weights.safetensors", "history.json")


def trained_files(trainer: Trainer) -> dict[str, bytes]:
    """What a run leaves behind: the step as code and as a program, the weights, the history."""
    contents = (
        trainer.source().encode(),
        listing(trainer.program).encode(),
        weights_bytes(trainer.parameters),
        trainer.history.to_json().encode(),
    )
    return dict(zip(FILES, contents, strict=True))
