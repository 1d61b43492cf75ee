"""Losses: numbers made by hand, the oracle, extreme arrays, kinks, and what is refused.

The NumPy form of every loss, its gradient and its lowering are rows of tests/functions.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from checking import assert_equal, evaluate_all

import symprop as prop
from symprop.errors import DeclarationError, ShapeError, SympropError
from symprop.ops.losses import LOSSES
from symprop.walk import leaves

every_loss = pytest.mark.parametrize("name", list(LOSSES))
ELEMENTS = ("mse", "mae", "huber", "quantile_loss", "poisson_loss", "binary_cross_entropy")
of_numbers = pytest.mark.parametrize("name", ELEMENTS)  # those that compare element with element
EXPONENTIAL = ("poisson_loss", "normal_kl")  # which are infinite for large predictions


def test_every_loss_is_exported_and_explained() -> None:
    for name, loss in LOSSES.items():
        assert getattr(prop, name) is loss
        assert "mean" in (loss.__doc__ or "").lower() or name in ("huber", "hinge_loss")


# --- numbers by hand ------------------------------------------------------------------------------

P, T = np.array([1.0, -2.0, 0.5, 4.0]), np.array([0.0, 1.0, 0.5, 2.0])  # errors 1, -3, 0, 2

BY_HAND: dict[str, tuple[float, list[float]]] = {
    "mse": ((1 + 9 + 0 + 4) / 4, [2 / 4, -6 / 4, 0, 4 / 4]),
    "mae": ((1 + 3 + 0 + 2) / 4, [1 / 4, -1 / 4, 0, 1 / 4]),
    "huber": ((0.5 + 2.5 + 0 + 1.5) / 4, [1 / 4, -1 / 4, 0, 1 / 4]),
}


@pytest.mark.parametrize("name", list(BY_HAND))
def test_losses_of_numbers_by_hand(name: str) -> None:
    p, t = prop.input("p", "batch"), prop.input("t", "batch")
    loss = LOSSES[name](p, t)
    roots = [loss, prop.gradient(loss, p)]
    wanted = BY_HAND[name]
    values = {p.node: P, t.node: T}
    assert_equal(evaluate_all(roots, values), [np.asarray(w) for w in wanted], 1e-15)
    assert_equal(
        prop.compile(roots, dtype="float64")(p=P, t=T), list(map(np.asarray, wanted)), 1e-15
    )


def test_huber_is_half_the_square_near_and_a_line_far() -> None:
    p = prop.input("p", ())
    loss = prop.compile([prop.huber(p, 0.0, 2.0)], dtype="float64")
    for e, wanted in ((2.0, 2.0), (-2.0, 2.0), (3.0, 4.0), (-5.0, 8.0), (1.0, 0.5)):
        assert loss(p=e)[0] == wanted


def test_huber_of_a_large_delta_is_half_of_the_squared_error() -> None:
    p, t = prop.input("p", "batch"), prop.input("t", "batch")
    huber, mse = prop.compile([prop.huber(p, t, 100.0), prop.mse(p, t)], dtype="float64")(p=P, t=T)
    assert huber == pytest.approx(mse / 2, rel=1e-15)


def test_binary_cross_entropy_by_hand() -> None:
    z, y = prop.input("z", "batch"), prop.input("y", "batch")
    f = prop.compile(prop.binary_cross_entropy(z, y), dtype="float64")
    logit = math.log(3.0)  # a probability of 3/4
    assert f(z=[logit], y=[1.0]) == pytest.approx(-math.log(0.75), rel=1e-15)
    assert f(z=[logit], y=[0.0]) == pytest.approx(-math.log(0.25), rel=1e-15)
    mixed = -0.3 * math.log(0.75) - 0.7 * math.log(0.25)
    assert f(z=[logit], y=[0.3]) == pytest.approx(mixed, rel=1e-15)
    assert f(z=[0.0, 0.0], y=[1.0, 0.0]) == pytest.approx(math.log(2.0), rel=1e-15)


def test_targets_of_two_classes_are_floats_booleans_or_labels() -> None:
    z = prop.input("z", "batch")
    data, y = np.linspace(-3, 3, 6), np.array([0, 1, 1, 0, 0, 1])
    kinds = [
        (prop.input("y", "batch"), y.astype(float)),
        (prop.labels("y", "batch", classes=2), y),
        (prop.input("y", "batch", dtype="bool"), y == 1),
    ]
    found = []
    for target, array in kinds:
        loss = prop.binary_cross_entropy(z, target)
        roots = [loss, prop.gradient(loss, z)]
        value, slope = prop.compile(roots, dtype="float64")({"z": data, "y": array})
        np.testing.assert_allclose(slope, (1 / (1 + np.exp(-data)) - y) / 6, rtol=1e-14)
        found.append(float(value))
    assert found == pytest.approx([found[0]] * 3, rel=1e-15)


def test_probabilities_that_are_onehot_are_labels() -> None:
    z = prop.input("z", "batch unit=4")
    y, p = prop.labels("y", "batch", classes=4), prop.input("p", "batch unit=4")
    losses = [prop.cross_entropy(z, y), prop.cross_entropy(z, p)]
    roots = [*losses, *(prop.gradient(loss, z) for loss in losses)]
    data = np.random.default_rng(0).normal(size=(5, 4))
    labels = np.array([3, 0, 1, 1, 2])
    a, b, da, db = prop.compile(roots, dtype="float64")(z=data, y=labels, p=np.eye(4)[labels])
    assert a == pytest.approx(b, rel=1e-14)
    np.testing.assert_allclose(da, db, rtol=1e-12, atol=1e-16)


def test_soft_labels_meet_the_entropy_where_the_prediction_is_right() -> None:
    p = np.array([[0.5, 0.25, 0.125, 0.125]])
    z, t = prop.input("z", "batch unit=4"), prop.input("t", "batch unit=4")
    loss = prop.cross_entropy(z, t)
    value, slope = prop.compile([loss, prop.gradient(loss, z)], dtype="float64")(z=np.log(p), t=p)
    assert value == pytest.approx(1.75 * math.log(2), rel=1e-15)
    np.testing.assert_allclose(slope, 0, atol=1e-16)


# --- extremes and kinks --------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in LOSSES if n not in EXPONENTIAL])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients_are_finite_at_extreme_predictions(name: str, dtype: str) -> None:
    z = prop.input("z", "batch unit=3")
    hard = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, -1e4]])
    if name == "cross_entropy":
        target: Any = prop.labels("t", "batch", classes=3)
        given: Any = np.array([1, 0, 2])
    else:
        target, given = prop.input("t", "batch unit=3"), np.eye(3)
    if name == "contrastive_loss":  # the largest element decides which pairs are the same
        loss = prop.contrastive_loss(z, target, prop.max(z, -1) > 5e3)
    else:
        loss = LOSSES[name](z, target)
    second = prop.gradient(prop.sum(prop.square(prop.gradient(loss, z))), z)
    values = prop.compile([loss, prop.gradient(loss, z), second], dtype=dtype)(z=hard, t=given)
    for value in values:
        assert np.isfinite(value).all()
    exact = evaluate_all([loss, prop.gradient(loss, z)], {z.node: hard, target.node: given}, 40)
    bound = 1e-6 if dtype == "float32" else 1e-14
    assert_equal(values[:2], [e.astype(float) for e in exact], bound)


def test_saturated_logits_have_the_gradient_of_their_error() -> None:
    z, y = prop.input("z", "batch"), prop.input("y", "batch")
    slope = prop.gradient(prop.binary_cross_entropy(z, y), z)
    found = prop.compile(slope)(z=[1e4, -1e4, 1e4, -1e4], y=[0.0, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(found, np.float32([0.25, -0.25, 0, 0]))


@of_numbers
def test_gradients_agree_with_the_oracle_at_kinks_and_elsewhere(name: str) -> None:
    """At a tie: 0 for mae; at |e| = delta the slopes of huber meet."""
    p, t = prop.input("p", "batch"), prop.input("t", "batch")
    loss = LOSSES[name](p, t)
    roots = [loss, prop.gradient(loss, p), prop.gradient(loss, t)]
    ps, ts = np.array([0.0, 1.0, 2.0, -1.0, 0.5]), np.array([0.0, 1.0, 1.0, 0.0, 0.25])
    wanted = evaluate_all(roots, {p.node: ps, t.node: ts})
    assert_equal(prop.compile(roots, dtype="float64")(p=ps, t=ts), wanted, 1e-14)
    if name == "mae":
        np.testing.assert_array_equal(wanted[1], np.array([0, 0, 1, -1, 1]) / 5)
    if name == "huber":
        np.testing.assert_array_equal(wanted[1], np.array([0, 0, 1, -1, 0.25]) / 5)
    if name == "quantile_loss":
        np.testing.assert_array_equal(wanted[1], np.array([1, 1, 1, -1, 1]) / 10)


# --- classes, pairs, distributions ---------------------------------------------------------------


def values_of(roots: list[prop.Expr], **data: Any) -> list[Any]:
    return prop.compile(roots, dtype="float64")(data)


def test_smoothing_of_one_makes_every_class_equal() -> None:
    z, y = prop.input("z", (1, 4)), prop.labels("y", (1,), classes=4)
    even = prop.cross_entropy(z, np.full((1, 4), 0.25))
    roots = [prop.cross_entropy(z, y, label_smoothing=1.0), even]
    found = values_of(roots, z=[[3.0, -1, 0, 2]], y=[2])
    assert found[0] == pytest.approx(found[1], rel=1e-15)


def test_a_class_without_weight_does_not_count() -> None:
    z, y = prop.input("z", "batch unit=3"), prop.labels("y", "batch", classes=3)
    loss = prop.cross_entropy(z, y, class_weights=[0, 2, 1])
    roots = [loss, prop.gradient(loss, z), prop.cross_entropy(z, y)]
    data = np.array([[1.0, 2, 3], [0.5, 0, -1]])
    value, slope, _ = values_of(roots, z=data, y=[0, 1])
    assert value == pytest.approx(values_of(roots, z=data[1:], y=[1])[2], rel=1e-15)
    np.testing.assert_array_equal(slope[0], 0)
    value, slope, _ = values_of(roots, z=data, y=[0, 0])
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


def test_weights_may_be_an_input() -> None:
    z, y = prop.input("z", "batch unit=3"), prop.labels("y", "batch", classes=3)
    w = prop.input("w", "unit=3")
    roots = [prop.cross_entropy(z, y, class_weights=w)]
    data = np.array([[1.0, 2, 3], [0.5, 0, -1]])
    fixed = prop.cross_entropy(z, y, class_weights=[1.0, 2.0, 0.5])
    found = values_of([*roots, fixed], z=data, y=[0, 2], w=[1.0, 2.0, 0.5])
    assert found[0] == pytest.approx(found[1], rel=1e-15)


@pytest.mark.parametrize("logit", [-800.0, -40.0, -1.0, 0.0, 1.0, 40.0, 800.0])
def test_the_focal_loss_keeps_its_digits_where_the_prediction_is_right(logit: float) -> None:
    z, t = prop.input("z", "batch"), prop.input("t", "batch")
    loss = prop.focal_loss(z, t)
    roots = [loss, prop.gradient(loss, z)]
    data = {z.node: np.array([logit]), t.node: np.array([1.0])}
    exact = [e.astype(float) for e in evaluate_all(roots, data, 60)]
    assert_equal(values_of(roots, z=[logit], t=[1.0]), exact, 1e-14)


def test_equal_vectors_and_vectors_of_zeros_have_finite_gradients() -> None:
    a, b = prop.input("a", "batch unit=2"), prop.input("b", "batch unit=2")
    same = prop.input("same", "batch")
    for loss in (prop.contrastive_loss(a, b, same), prop.cosine_loss(a, b), prop.info_nce(a, b)):
        roots = [loss, prop.gradient(loss, a), prop.gradient(loss, b)]
        data: dict[str, Any] = {"a": [[1.0, 2], [0, 0]], "b": [[1.0, 2], [3, 1]]}
        given = data | ({"same": [1.0, 0.0]} if reads(loss, "same") else {})
        for value in values_of(roots, **given):
            assert np.isfinite(value).all()


def reads(loss: prop.Expr, name: str) -> bool:
    return any(leaf.name == name for leaf in leaves([loss.node]))


def test_the_normal_divergence_keeps_its_digits_near_the_standard_one() -> None:
    m, v = prop.input("m", "batch unit=1"), prop.input("v", "batch unit=1")
    found = values_of([prop.normal_kl(m, v)], m=[[0.0]], v=[[1e-6]])
    assert found[0] == pytest.approx(2.5e-13, rel=1e-3)


# --- what is refused -----------------------------------------------------------------------------


@of_numbers
def test_a_column_against_a_row_is_refused_with_its_cure(name: str) -> None:
    column, row = prop.input("column", "batch out=1"), prop.input("row", "batch")
    for pair in ((column, row), (row, column)):
        with pytest.raises(ShapeError, match=r"'column'.*'row'|'row'.*'column'") as caught:
            LOSSES[name](*pair)
        assert "column[..., 0]" in str(caught.value)
    LOSSES[name](column[..., 0], row)


LOGITS, LABELS = prop.input("z", "batch unit=3"), prop.labels("label", "batch", classes=3)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: prop.huber(LOGITS, LOGITS, 0.0), "delta"),
        (lambda: prop.huber(LOGITS, LOGITS, "1"), "delta"),  # type: ignore[arg-type]
        (lambda: prop.huber(LOGITS, LOGITS, math.inf), "delta"),
        (lambda: prop.mae(LOGITS, prop.input("t", "batch")), "'t'"),
        (lambda: prop.binary_cross_entropy(LOGITS, prop.input("t", "batch")), "'t'"),
        (
            lambda: prop.binary_cross_entropy(LOGITS, prop.labels("y", "batch unit=3", classes=3)),
            "classes=2",
        ),
        (lambda: prop.cross_entropy(LOGITS, prop.input("t", "batch")), "prop.labels"),
        (lambda: prop.cross_entropy(LOGITS, prop.input("t", "batch unit=4")), "'t'"),
        (lambda: prop.cross_entropy(LOGITS, prop.labels("y", "batch", classes=4)), "'y'"),
        (lambda: prop.cross_entropy(LOGITS, prop.input("m", "batch", dtype="bool")), "'m'"),
        (lambda: prop.cross_entropy(1.0, 2.0), "classes"),
        (lambda: prop.mse("prediction", LOGITS), "prediction"),
        (lambda: prop.cross_entropy(LOGITS, LABELS, label_smoothing=1.5), "label_smoothing"),
        (lambda: prop.cross_entropy(LOGITS, LABELS, class_weights=[1, 2]), "class_weights"),
        (lambda: prop.cross_entropy(LOGITS, LABELS, class_weights=[1, -2, 1]), "0 or more"),
        (lambda: prop.focal_loss(LOGITS, LABELS, 0.5), "gamma"),
        (lambda: prop.focal_loss(LOGITS, LABELS, alpha=0.5), "alpha"),
        (lambda: prop.focal_loss(LOGITS, prop.labels("y", "batch", classes=4)), "'y'"),
        (lambda: prop.hinge_loss(LOGITS, LABELS, 0.0), "margin"),
        (lambda: prop.hinge_loss(LOGITS, prop.input("t", "batch")), "'t'"),
        (lambda: prop.kl_divergence(LOGITS, prop.input("t", "batch unit=4")), "'t'"),
        (lambda: prop.quantile_loss(LOGITS, LOGITS, 1.0), "quantile"),
        (lambda: prop.contrastive_loss(LOGITS, LOGITS, LOGITS), "each pair"),
        (lambda: prop.info_nce(LOGITS, LOGITS, 0.0), "temperature"),
        (lambda: prop.info_nce(LOGITS[0], LOGITS[0]), "[batch, features]"),
        (lambda: prop.cosine_loss(1.0, 2.0), "a number"),
    ],
)
def test_what_makes_no_sense_is_refused(act: Callable[[], object], words: str) -> None:
    with pytest.raises(SympropError) as caught:
        act()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_labels_of_more_classes_are_sent_to_cross_entropy() -> None:
    y = prop.labels("digit", "batch unit=3", classes=10)
    with pytest.raises(DeclarationError, match=r"'digit'.*cross_entropy"):
        prop.binary_cross_entropy(LOGITS, y)
