"""Initialisers: their moments, their bounds, their errors."""

import math

import numpy as np
import pytest

from symprop.errors import DeclarationError
from symprop.initialize import Constant, Glorot, He, Zeros, initializer

SHAPE = (300, 500)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_glorot_is_uniform_up_to_its_bound() -> None:
    values = Glorot()(rng(), SHAPE)
    bound = math.sqrt(6 / (300 + 500))
    assert values.shape == SHAPE
    assert values.dtype == np.float64
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > 0.999 * bound
    assert abs(values.var() - bound**2 / 3) < 0.02 * bound**2 / 3


def test_he_has_variance_two_over_the_inputs() -> None:
    values = He()(rng(), SHAPE)
    assert abs(values.mean()) < 1e-3
    assert abs(values.var() * 500 / 2 - 1) < 0.02


def test_he_counts_the_window_as_inputs() -> None:
    values = He()(rng(), (64, 16, 5, 5))
    assert abs(values.var() * (16 * 25) / 2 - 1) < 0.05


def test_constant_and_zeros() -> None:
    assert (Zeros()(rng(), (3,)) == 0).all()
    assert (Constant(2.5)(rng(), (2, 2)) == 2.5).all()


def test_the_same_generator_state_gives_the_same_array() -> None:
    assert (He()(rng(), SHAPE) == He()(rng(), SHAPE)).all()
    assert He() == He()


@pytest.mark.parametrize("make", [Glorot(), He()])
def test_a_vector_has_no_fans(make: Glorot | He) -> None:
    with pytest.raises(DeclarationError, match="Zeros"):
        make(rng(), (10,))


def test_names() -> None:
    assert initializer("he") == He()
    assert initializer("glorot") == Glorot()
    with pytest.raises(DeclarationError, match="'glorot', 'he'"):
        initializer("xavier")
    with pytest.raises(DeclarationError, match="function"):
        initializer(3)  # type: ignore[arg-type]
