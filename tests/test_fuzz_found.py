"""What random formulas and graphs found, each the smallest that showed it.

``MENDED``: the formula of x and y, and the points at which it raised or was wrong, judged as the
random ones are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from backends import every_backend
from checking import assert_equal, evaluate_all
from fuzzing import Case, Formula, failures

import symprop as prop
from symprop.errors import ShapeError

MENDED: dict[str, tuple[Callable[[Any, Any], Any], list[float], list[float]]] = {
    # --- divisions by 0 in branches not taken, and by constants that are 0 ---
    "sinc of 0": (lambda x, y: prop.sinc(x - x), [0.5], [1.0]),
    "mod of 0": (lambda x, y: prop.mod(x, y - y), [0.5], [1.0]),
    "digamma of 1": (lambda x, y: prop.digamma(x / x), [0.5], [1.0]),
    "1 over log 1": (lambda x, y: prop.reciprocal(prop.log(x / x)), [0.5], [1.0]),
    "1 over 1 over x": (lambda x, y: (x**-1) ** -1, [0.5, 1e-30], [1.0, 1.0]),
    # --- quotients that have no limit, or one with an infinity in its slope ---
    "a power of a pole": (lambda x, y: prop.power(x, (x**-1) ** 2), [0.5, 3.0], [1.0, 1.0]),
    "a slope with an infinity": (lambda x, y: prop.softplus(prop.xlog1py(x, x) / x), [0.5], [1.0]),
    "a quotient far from its limit": (lambda x, y: x / prop.mish(x), [3.084, 1e-30], [1.0, 1.0]),
    "near its limit": (lambda x, y: prop.sin(x) / prop.silu(x), [1e-30], [1.0]),
    # --- kinks that cancel ---
    "the square of a size": (lambda x, y: prop.abs(x) ** 2, [0.0, -2.0], [1.0, 1.0]),
    "an even function of a size": (lambda x, y: prop.log_cosh(prop.abs(x)), [0.0], [1.0]),
    "two of them": (lambda x, y: prop.square(prop.sinc(prop.abs(x))), [0.0], [1.0]),
    # --- out of range on the way ---
    "the far left of a distribution": (lambda x, y: prop.log_normal_cdf(x), [-1e30, -2e9], [1, 1]),
    "a square of a product": (lambda x, y: prop.square(prop.gelu(y)), [1.0], [-1e30]),
    # --- the judge: stairs, signed zeros, 60 digits ---
    "stairs far out": (lambda x, y: prop.round(x**3), [-1e30], [1.0]),
    "a pole of a negative 0": (lambda x, y: prop.where(1 / y > x, 1 / y, x * 0.5), [-0.6], [-0.0]),
    "a sine of what overflows": (lambda x, y: prop.where(prop.sinc(y**2) < 2, 2.0, y),
                                 [1.0], [-1e30]),
    "a small logarithm": (lambda x, y: prop.logaddexp(x + y, prop.relu(-1.0 * x * x)),
                          [-90.0], [-90.0]),
    "a divisor that underflows": (lambda x, y: prop.elu(x) / x, [1e-30], [1.0]),
    "a share far out": (lambda x, y: prop.logaddexp(y, x), [-90.0], [2.38]),
}  # fmt: skip


@pytest.mark.parametrize("way", [("numpy", "float32"), ("native", "float64")])
@pytest.mark.parametrize("name", MENDED)
def test_what_was_wrong_is_mended(name: str, way: tuple[str, str]) -> None:
    form, xs, ys = MENDED[name]
    x, y = prop.input("x", "point"), prop.input("y", "point")
    data = {"x": np.array(xs, way[1]), "y": np.array(ys, way[1])}
    assert failures([Case(name, (x, y), Formula(form(x, y), name), data)], way) == []


# --- graphs --------------------------------------------------------------------------------------


@every_backend
@pytest.mark.parametrize("size", [0, 1, 3])
def test_an_axis_that_may_be_empty_is_reversed(backend: str, size: int) -> None:
    x = prop.input("x", (prop.Dim("n", lower=0), 2))
    data = np.arange(2.0 * size).reshape(size, 2)
    run = prop.compile([x[::-1], prop.flip(x)], backend=backend, dtype="float64")
    for found, wanted in zip(run(x=data), (data[::-1], data[::-1, ::-1]), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_slice_back_from_beyond_the_least_size_is_refused() -> None:
    """x[5::-1] starts at 5, which an axis of 3 does not have."""
    with pytest.raises(ShapeError, match="may leave its free size n"):
        prop.input("x", "n")[5::-1]
    x = prop.input("x", (prop.Dim("n", lower=6),))
    np.testing.assert_array_equal(prop.compile(x[5::-1])(x=np.arange(7.0)), np.arange(6)[::-1])


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_the_derivatives_of_a_mean_of_nothing_raise_nothing(backend: str) -> None:
    """1/n, of a size alone, is infinite where n is 0."""
    x = prop.input("x", (prop.Dim("n", lower=0), 2))
    value = prop.tanh(prop.mean(x, axis=0)) * prop.std(x, axis=0)
    first = prop.vjp(value, x, 1.0)
    roots = [value, first, prop.jvp(first, x, 1.0)]
    run = prop.compile(roots, backend=backend)
    with np.errstate(all="ignore"):
        for size in (0, 1, 2):
            found = run(x=np.ones((size, 2)))
            assert [a.shape for a in found] == [(2,), (size, 2), (size, 2)]
            assert all(np.isfinite(a).all() for a in found) or size == 0


@every_backend
def test_a_maximum_over_a_free_axis_behind_others_has_its_gradient(backend: str) -> None:
    x = prop.input("x", (2, "n"))
    gradient = prop.gradient(prop.max(x), x)
    found = prop.compile(gradient, backend=backend)(x=np.array([[1.0, 4.0, 2.0], [5.0, 0.0, 3.0]]))
    np.testing.assert_array_equal(found, [[0, 0, 0], [1, 0, 0]])


@every_backend
def test_a_value_is_joined_to_a_function_of_it_along_an_inner_axis(backend: str) -> None:
    """In the text of NumPy tanh(x) is read by a line that stands before the sum alone."""
    x = prop.input("x", (1, 2, 1))
    data = np.array([[[0.5], [-1.0]]])
    run = prop.compile(prop.concat([x, prop.tanh(x)], axis=1), backend=backend, dtype="float64")
    np.testing.assert_allclose(run(x=data), np.concatenate([data, np.tanh(data)], 1), rtol=1e-15)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_condition_on_sizes_alone_is_an_array(backend: str) -> None:
    """The second derivatives of 1/std ask whether n is 0: Python's own truth has no dtype."""
    x = prop.input("x", (prop.Dim("n", lower=0), 2))
    first = prop.vjp(1 / prop.std(x, axis=0), x, 1.0)
    run = prop.compile([first, prop.jvp(first, x, 1.0)], backend=backend, dtype="float64")
    found, along = run(x=np.array([[1.0, 5.0], [3.0, 2.0]]))
    np.testing.assert_allclose(found, [[0.5, -2 / 9], [-0.5, 2 / 9]])
    np.testing.assert_allclose(along, np.zeros((2, 2)), atol=1e-15)


@every_backend
def test_a_padded_value_stands_before_all_that_read_it(backend: str) -> None:
    """Its line went with the first reader where that moved, past the second."""
    x = prop.input("x", (3, 1))
    gate = prop.tanh(x) * x
    product = prop.einsum("ij,kj->ik", gate + 3.0, gate + 3.0)
    value = prop.tanh(prop.pad(product[:, 1:], ((0, 0), (0, 1))) @ gate)
    first = prop.vjp(value, x, 1.0)
    roots = [value, first, prop.jvp(first, x, 1.0)]
    data = {"x": np.array([[0.5], [-0.25], [0.125]])}
    found = prop.compile(roots, backend=backend, dtype="float64")(data)
    assert_equal(list(found), evaluate_all(roots, data), 1e-13)
