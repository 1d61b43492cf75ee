"""Scores of a whole set: against scikit-learn where it has them, and where classes are missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

import symprop as prop
from symprop.errors import SympropError
from symprop.scores import SCORES

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(40, 4))
LABELS = RNG.integers(0, 3, size=40)  # the last class has no label
Z, Y = prop.input("z", "batch unit=4"), prop.labels("y", "batch", classes=4)
A, B = prop.input("a", "batch"), prop.input("b", "batch")


def of(score: prop.Expr, backend: str = "numpy", **data: Any) -> Any:
    return prop.compile(score, backend=backend, dtype="float64")(data)


def test_the_scores_are_exported() -> None:
    assert set(prop.scores.__all__) == {"SCORES", *SCORES}


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_scores_of_classes_are_those_of_scikit_learn(backend: str) -> None:
    taken = LOGITS.argmax(1)
    counts = of(prop.scores.confusion_matrix(Z, Y), backend, z=LOGITS, y=LABELS)
    wanted = reference.confusion_matrix(LABELS, taken, labels=range(4))
    np.testing.assert_array_equal(counts, wanted)
    for average in ("macro", "weighted"):
        found = of(prop.scores.f1(Z, Y, average), backend, z=LOGITS, y=LABELS)
        expected = reference.f1_score(LABELS, taken, average=average, zero_division=0)
        assert found == pytest.approx(expected, rel=1e-14)
    found = of(prop.scores.perplexity(Z, Y), backend, z=LOGITS, y=LABELS)
    shares = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    assert found == pytest.approx(math.exp(reference.log_loss(LABELS, shares, labels=range(4))))


def test_a_class_that_never_occurs_does_not_count() -> None:
    found = of(prop.scores.f1(Z, Y), z=np.eye(4)[[0, 1, 1]], y=[0, 1, 1])
    assert found == 1


@pytest.mark.parametrize("labels", [[1, 0, 1, 1], [0, 0, 0, 0]])
def test_f1_of_two_classes(labels: list[int]) -> None:
    y = prop.labels("y", "batch", classes=2)
    scores = np.array([1.0, 2.0, -1.0, 3.0])
    wanted = reference.f1_score(labels, scores > 0, zero_division=0)
    assert of(prop.scores.f1(A, y), a=scores, y=labels) == pytest.approx(wanted, rel=1e-15)


def test_nothing_to_find_and_nothing_found_is_zero() -> None:
    y = prop.labels("y", "batch", classes=2)
    assert of(prop.scores.f1(A, y), a=[-1.0, -2], y=[0, 0]) == 0


@pytest.mark.parametrize(
    ("prediction", "target"),
    [([1.0, 2, 4], [1.0, 2, 3]), ([5.0, 5, 5], [5.0, 5, 5]), ([5.0, 5, 6], [5.0, 5, 5]),
     ([1001.0, 999, 1000], [1001.5, 999, 1000])],
)  # fmt: skip
def test_r2(prediction: list[float], target: list[float]) -> None:
    wanted = reference.r2_score(target, prediction)
    assert of(prop.scores.r2(A, B), a=prediction, b=target) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: prop.scores.confusion_matrix(Z, A), "integer labels"),
        (lambda: prop.scores.f1(Z, Y, "micro"), "average"),
        (lambda: prop.scores.f1(Z, A), "equal shapes"),
        (lambda: prop.scores.r2(Z, A), "equal shapes"),
    ],
)
def test_what_makes_no_sense_is_refused(act: Callable[[], object], words: str) -> None:
    with pytest.raises(SympropError) as caught:
        act()
    assert words in str(caught.value)
