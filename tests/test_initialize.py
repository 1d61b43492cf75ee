"""Initialisers: their moments, their bounds, their errors."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.errors import DeclarationError
from symprop.initialize import (
    BY_NAME,
    Constant,
    Glorot,
    He,
    LeCun,
    Orthogonal,
    Zeros,
    initializer,
)

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


RANDOM = [
    Glorot(),
    Glorot("normal"),
    He(),
    He("uniform"),
    LeCun(),
    LeCun("uniform"),
    Orthogonal(),
    Orthogonal(1.4),
]
every_random = pytest.mark.parametrize("make", RANDOM, ids=repr)


@every_random
@pytest.mark.parametrize("shape", [(300, 500), (500, 300), (400, 400), (64, 32, 3, 3)])
def test_the_variance_is_the_one_it_says(make: Any, shape: tuple[int, ...]) -> None:
    values = make(rng(), shape)
    assert values.shape == shape
    assert values.dtype == np.float64
    assert abs(values.mean()) < 4 * math.sqrt(make.variance(shape) / values.size)
    assert values.var() == pytest.approx(make.variance(shape), rel=0.05)


def test_the_variances_by_hand() -> None:
    assert Glorot().variance((20, 30)) == 2 / 50
    assert He().variance((20, 30, 3, 3)) == 2 / 270
    assert LeCun().variance((20, 30)) == 1 / 30
    assert Orthogonal(2.0).variance((20, 30)) == 4 / 30
    assert Orthogonal().variance((30, 20)) == 1 / 30
    assert Zeros().variance((3,)) == Constant(2.0).variance((3, 3)) == 0


@pytest.mark.parametrize("kind", [Glorot, He, LeCun])
def test_a_uniform_start_stays_within_its_bound(kind: Any) -> None:
    values = kind("uniform")(rng(), SHAPE)
    bound = math.sqrt(3 * kind().variance(SHAPE))
    assert 0.999 * bound < np.abs(values).max() <= bound
    assert np.abs(kind("normal")(rng(), SHAPE)).max() > 2 * bound


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5), (3, 2, 2, 2), (1, 6)])
def test_orthogonal_rows_or_columns_are_orthonormal_times_the_gain(shape: tuple[int, ...]) -> None:
    matrix = Orthogonal(1.5)(rng(), shape).reshape(shape[0], -1)
    short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(short @ short.T, 1.5**2 * np.eye(len(short)), atol=1e-14)


def test_orthogonal_matrices_turn_both_ways() -> None:
    """Without the correction of QR's signs, all would have a diagonal of one sign."""
    draws = [Orthogonal()(np.random.default_rng(k), (3, 3)) for k in range(200)]
    positive = np.mean([matrix[0, 0] > 0 for matrix in draws])
    assert 0.35 < positive < 0.65
    assert 0.35 < np.mean([np.linalg.det(matrix) > 0 for matrix in draws]) < 0.65


@pytest.mark.parametrize(
    "make",
    [
        lambda: Glorot("gauss"),
        lambda: He(1),
        lambda: LeCun(None),
        lambda: Orthogonal(0.0),
        lambda: Orthogonal(float("nan")),
        lambda: Orthogonal("1"),
    ],
)
def test_options_that_make_no_sense(make: Callable[[], object]) -> None:
    with pytest.raises(DeclarationError):
        make()


def test_a_layer_takes_every_name_and_equal_seeds_give_equal_weights() -> None:
    x = prop.input("x", "batch feature=4")
    for name in BY_NAME:
        y = prop.Dense(3, name="d", init=name)(x)
        first, second = (prop.initial_values(y, seed=3) for _ in range(2))
        np.testing.assert_array_equal(first["d.weight"], second["d.weight"])
        if name != "zeros":
            other = prop.initial_values(y, seed=4)
            assert (other["d.weight"] != first["d.weight"]).any()


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("declared", [prop.parameter, prop.state])
def test_a_declaration_takes_every_name_that_a_layer_takes(declared: Any, name: str) -> None:
    by_name, by_object = (
        prop.initial_values(declared("w", (3, 4), init), seed=3) for init in (name, BY_NAME[name])
    )
    np.testing.assert_array_equal(by_name["w"], by_object["w"])


@every_random
def test_a_vector_has_no_fans(make: Any) -> None:
    with pytest.raises(DeclarationError, match="Zeros"):
        make(rng(), (10,))
    with pytest.raises(DeclarationError, match="Zeros"):
        make.variance((10,))


def test_names() -> None:
    assert initializer("he") == He()
    assert initializer("glorot") == Glorot()
    with pytest.raises(DeclarationError, match="'glorot', 'he'"):
        initializer("xavier")
    with pytest.raises(DeclarationError, match="function"):
        initializer(3)  # type: ignore[arg-type]
