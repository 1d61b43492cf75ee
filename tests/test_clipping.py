"""Clipping: every way against its formula in NumPy, at zero, at the limit, beyond it."""

from __future__ import annotations

from typing import Any

import backends
import numpy as np
import pytest

import symprop as prop
from symprop.clipping import CLIPPERS, Clip
from symprop.errors import DeclarationError

Arrays = list[np.ndarray[Any, Any]]


def by_value(gradients: Arrays, limit: float) -> Arrays:
    return [np.clip(g, -limit, limit) for g in gradients]


def by_norm(gradients: Arrays, limit: float) -> Arrays:
    return [g if np.linalg.norm(g) <= limit else g * (limit / np.linalg.norm(g)) for g in gradients]


def by_global_norm(gradients: Arrays, limit: float) -> Arrays:
    norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
    return [g if norm <= limit else g * (limit / norm) for g in gradients]


BY_HAND = {"ClipValue": by_value, "ClipNorm": by_norm, "ClipGlobalNorm": by_global_norm}
every_clip = pytest.mark.parametrize("name", list(CLIPPERS))


def moved(
    clip: Clip | None, gradients: Arrays, dtype: str = "float64", backend: str = "numpy"
) -> Arrays:
    """What a step of SGD with rate 1 subtracts from parameters whose gradients are these."""
    pairs = [
        (prop.parameter(f"p{k}", g.shape, np.zeros(g.shape)), prop.input(f"g{k}", g.shape))
        for k, g in enumerate(gradients)
    ]
    total: Any = sum(prop.sum(p * g) for p, g in pairs)
    trainer = prop.training_step(total, prop.SGD(1.0), clip=clip).compile(backend, dtype)
    trainer.step({f"g{k}": g for k, g in enumerate(gradients)})
    return [-trainer.parameters[f"p{k}"] for k in range(len(gradients))]


def test_every_way_of_clipping_is_exported_and_tested() -> None:
    assert list(CLIPPERS) == list(BY_HAND)
    for name, clip in CLIPPERS.items():
        assert getattr(prop, name) is clip


@every_clip
@pytest.mark.parametrize("limit", [0.3, 1.0, 3.0, 7.0])
def test_against_the_formula(name: str, limit: float) -> None:
    rng = np.random.default_rng(1)
    gradients = [rng.normal(size=(3, 2)), 4 * rng.normal(size=4), 0.01 * rng.normal(size=2)]
    found = moved(CLIPPERS[name](limit), gradients)
    for mine, wanted in zip(found, BY_HAND[name](gradients, limit), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-14, atol=0)


@every_clip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_gradient_within_the_limit_is_unchanged_bit_by_bit(name: str, dtype: str) -> None:
    gradients = [np.array([0.1, -0.2, 0.3]), np.array([[0.7]])]
    for limit in (0.8, 3.0, 0.9999):
        found = moved(CLIPPERS[name](limit), gradients, dtype)
        for mine, plain in zip(found, moved(None, gradients, dtype), strict=True):
            np.testing.assert_array_equal(mine, plain)


@every_clip
def test_a_gradient_of_zeros_stays_zeros(name: str) -> None:
    for found in moved(CLIPPERS[name](1.0), [np.zeros(3), np.zeros((2, 2))]):
        np.testing.assert_array_equal(found, 0)


LARGE = {"float32": [1e19, 1e30, 3e38], "float64": [1e160, 1e300]}


@pytest.mark.parametrize("backend", backends.parameters())
@pytest.mark.parametrize("dtype", list(LARGE))
@pytest.mark.parametrize("name", ["ClipNorm", "ClipGlobalNorm"])
def test_a_gradient_whose_squares_overflow_keeps_its_direction(
    name: str, dtype: str, backend: str
) -> None:
    for size in LARGE[dtype]:
        gradients = [np.array([size, -size, 0, size]), np.zeros(2)]
        found, still = moved(CLIPPERS[name](0.5), gradients, dtype, backend)
        np.testing.assert_allclose(found, 0.5 * np.array([1, -1, 0, 1]) / 3**0.5, rtol=1e-5)
        np.testing.assert_array_equal(still, 0)


@pytest.mark.parametrize("backend", backends.parameters())
@pytest.mark.parametrize("name", ["ClipNorm", "ClipGlobalNorm"])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_gradient_that_is_not_finite_is_not_made_to_look_well(
    name: str, bad: float, backend: str
) -> None:
    gradients = [np.array([bad, 5, 0]), np.ones(2)]
    with np.errstate(invalid="ignore"):  # the loss itself is infinity times 0
        found, other = moved(CLIPPERS[name](1.0), gradients, "float32", backend)
    assert np.isnan(found).all()
    assert np.isnan(other).all() == (name == "ClipGlobalNorm")


def test_the_norm_is_limited_and_the_direction_kept() -> None:
    gradients = [np.array([30.0, 40.0]), np.array([120.0])]
    a, b = moved(prop.ClipGlobalNorm(13.0), gradients)
    np.testing.assert_allclose(a, [3, 4], rtol=1e-15)
    np.testing.assert_allclose(b, [12], rtol=1e-15)
    a, b = moved(prop.ClipNorm(5.0), gradients)
    np.testing.assert_allclose(a, [3, 4], rtol=1e-15)
    np.testing.assert_allclose(b, [5], rtol=1e-15)


def test_a_step_shows_the_gradients_before_and_after_clipping() -> None:
    p = prop.parameter("p", 2, np.ones(2))
    x = prop.input("x", 2)
    step = prop.training_step(prop.sum(p * x), prop.SGD(1.0), clip=prop.ClipValue(0.5))
    plain, clipped = prop.compile([*step.gradients, *step.clipped])(x=[3.0, -0.25])
    np.testing.assert_array_equal(plain, [3.0, -0.25])
    np.testing.assert_array_equal(clipped, [0.5, -0.25])


@every_clip
def test_the_text_calls_things_by_their_role(name: str) -> None:
    x = prop.input("x", "batch feature=2")
    net = prop.Dense(3, name="hidden")
    loss = prop.mean(prop.square(net(x)))
    text = prop.training_step(loss, prop.Adam(), clip=CLIPPERS[name](0.5)).source()
    assert "m_hidden_weight + 0.1 * clipped_hidden_weight" in text
    assert "value_" not in text


def test_a_user_can_write_a_clip() -> None:
    class Halved:
        def clipped(self, gradients: Any) -> list[prop.Expr]:
            return [g / 2 for g in gradients]

    (found,) = moved(Halved(), [np.array([2.0, 4.0])])
    np.testing.assert_array_equal(found, [1, 2])


@every_clip
@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf"), "1", True, None])
def test_a_limit_that_makes_no_sense(name: str, limit: Any) -> None:
    with pytest.raises(DeclarationError, match="limit"):
        CLIPPERS[name](limit)


@pytest.mark.parametrize("clip", [1.0, "norm", prop.ClipNorm])
def test_what_is_no_clip_is_refused(clip: Any) -> None:
    p = prop.parameter("p", (), 1.0)
    with pytest.raises(DeclarationError, match="clip"):
        prop.training_step(p * p, prop.SGD(), clip=clip)
