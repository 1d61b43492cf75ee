"""Acceptance of the core: branches not taken and points masked out contribute exactly nothing.

Every case asks for the value and for derivatives to third order: exactly 0 where a point is
masked, the closed form elsewhere, nothing infinite, no warning from NumPy (pytest turns those into
errors).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import symprop as prop

ORDERS = 3


def derivatives(loss: Any, x: Any, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The loss, its gradient, the gradient of the gradient's sum, and of that one's sum."""
    wanted, outputs = loss, [loss]
    for _ in range(ORDERS):
        gradient = prop.gradient(wanted, x)
        outputs.append(gradient)
        wanted = prop.sum(gradient)
    results = prop.compile(outputs, dtype="float64")(values)
    assert all(np.all(np.isfinite(r)) for r in results)
    return list(results)


def assert_orders(found: list[np.ndarray], expected: list[Any]) -> None:
    """Equal to rounding, and exactly zero where zero is expected."""
    for order, (ours, wanted) in enumerate(zip(found, expected, strict=True)):
        wanted = np.broadcast_to(wanted, ours.shape)
        np.testing.assert_array_equal(ours[wanted == 0], 0, err_msg=f"order {order}")
        np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=0, err_msg=f"order {order}")


@pytest.mark.parametrize("chosen", [False, True])
def test_where_of_a_sum_of_roots(chosen: bool) -> None:
    x, c = prop.input("x", 3), prop.input("c", (), dtype="bool")
    loss = prop.where(c, prop.sum(prop.sqrt(x)), 0.0)
    data = np.array([0.25, 1.0, 4.0]) if chosen else np.zeros(3)
    found = derivatives(loss, x, {"x": data, "c": np.array(chosen)})
    if chosen:
        powers = [0.5 * data**-0.5, -0.25 * data**-1.5, 0.375 * data**-2.5]
        assert_orders(found, [np.sum(np.sqrt(data)), *powers])
    else:
        assert_orders(found, [0.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("form", ["one expression", "several nodes", "product with a mask"])
def test_guarded_logarithm(form: str) -> None:
    x, w = prop.input("x", 4), prop.input("w", 4)
    above = x > 0
    if form == "one expression":
        value = prop.where(above, x * prop.log(x), 0.0)
    elif form == "several nodes":
        logarithm = prop.log(x).named("logarithm")
        product = (x * logarithm).named("product")
        value = prop.where(above, product, 0.0)
    else:
        value = prop.where(above, prop.log(x), 0.0) * x
    data = np.array([0.0, 0.5, -1.0, 2.0])
    weights = np.array([1.5, 2.0, -3.0, 0.5])
    found = derivatives(prop.sum(w * value), x, {"x": data, "w": weights})
    safe = np.where(data > 0, data, 1.0)
    inside = np.where(data > 0, weights, 0.0)
    expected = [
        np.sum(inside * safe * np.log(safe)),
        inside * (np.log(safe) + 1),
        inside / safe,
        -inside / safe**2,
    ]
    assert_orders(found, expected)


def test_guarded_division_through_a_broadcast() -> None:
    x, n = prop.input("x", (3, 4)), prop.input("n", (3, 1))
    quotient = (x / n).named("quotient")
    loss = prop.sum(prop.where(n > 0, quotient, 0.0))
    rng = np.random.default_rng(0)
    numerators, counts = rng.normal(size=(3, 4)), np.array([[2.0], [0.0], [0.5]])
    values = {"x": numerators, "n": counts}
    row = numerators.sum(axis=1, keepdims=True)
    safe, inside = np.where(counts > 0, counts, 1.0), np.where(counts > 0, row, 0.0)
    expected = [
        np.sum(inside / safe),
        -inside / safe**2,
        2 * inside / safe**3,
        -6 * inside / safe**4,
    ]
    assert_orders(derivatives(loss, n, values), expected)
    once = np.where(counts > 0, 1 / safe, 0.0) * np.ones((3, 4))
    assert_orders(derivatives(loss, x, values), [expected[0], once, 0.0, 0.0])


def test_guarded_mean_of_a_masked_row() -> None:
    x, mask = prop.input("x", (3, 4)), prop.input("mask", (3, 4), dtype="bool")
    kept = prop.where(mask, prop.exp(x), 0.0)
    count = mask.astype("float").sum(axis=1, keepdims=True)
    mean = kept.sum(axis=1, keepdims=True) / count
    loss = prop.sum(prop.where(count > 0, mean * kept, 0.0))
    chosen = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=bool)
    data = np.random.default_rng(1).normal(size=(3, 4))
    found = derivatives(loss, x, {"x": data, "mask": chosen})
    # sum_i e_i * sum_j e_j / n along the vector of ones scales with exp(2 s): derivatives double.
    e = np.where(chosen, np.exp(data), 0.0)
    n = np.maximum(chosen.sum(axis=1, keepdims=True), 1)
    first = 2 * e * e.sum(axis=1, keepdims=True) / n
    assert_orders(found, [np.sum(first) / 2, first, 2 * first, 4 * first])


def test_guarded_norm_of_rows_of_zeros() -> None:
    x = prop.input("x", (3, 4))
    squares = prop.sum(prop.square(x), axis=1)
    norm = prop.sqrt(squares).named("norm")
    loss = prop.sum(prop.where(squares > 0, norm, 0.0))
    data = np.random.default_rng(2).normal(size=(3, 4))
    data[1] = 0.0
    found = derivatives(loss, x, {"x": data})
    plain = prop.input("x", (2, 4))
    unguarded = prop.sum(prop.sqrt(prop.sum(prop.square(plain), axis=1)))
    expected = derivatives(unguarded, plain, {"x": data[[0, 2]]})
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    for ours, wanted in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_array_equal(ours[1], 0)
        np.testing.assert_allclose(ours[[0, 2]], wanted, rtol=1e-11, atol=1e-14)


def test_a_fully_masked_row_of_attention() -> None:
    rng = np.random.default_rng(3)
    values = {n: rng.normal(size=(3, 2)) for n in ("q", "k", "v")}
    mask = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=bool)
    leaves = {n: prop.input(n, (3, 2)) for n in values}
    m = prop.input("mask", (3, 3), dtype="bool")
    out = prop.attention(leaves["q"], leaves["k"], leaves["v"], mask=m)
    full = prop.sum(prop.sin(out) + prop.square(out))

    kept = [0, 2]
    fewer = {n: prop.input(n, (2 if n == "q" else 3, 2)) for n in values}
    part = prop.input("mask", (2, 3), dtype="bool")
    reduced = prop.attention(fewer["q"], fewer["k"], fewer["v"], mask=part)
    small = prop.sum(prop.sin(reduced) + prop.square(reduced))
    for name in ("q", "k", "v"):
        found = derivatives(full, leaves[name], values | {"mask": mask})
        rows = values | {"q": values["q"][kept], "mask": mask[kept]}
        expected = derivatives(small, fewer[name], rows)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
        for ours, wanted in zip(found[1:], expected[1:], strict=True):
            if name == "q":
                np.testing.assert_array_equal(ours[1], 0)
                ours = ours[kept]
            np.testing.assert_allclose(ours, wanted, rtol=1e-10, atol=1e-13)


def test_a_fully_masked_column_of_softmax() -> None:
    x, mask = prop.input("x", (3, 4)), prop.input("mask", (3, 4), dtype="bool")
    p = prop.softmax(prop.where(mask, x, -math.inf), axis=0)
    loss = prop.sum(prop.where(mask, prop.square(p), 0.0))
    chosen = np.array([[1, 0, 1, 1], [1, 0, 0, 1], [0, 0, 1, 1]], dtype=bool)
    data = np.random.default_rng(4).normal(size=(3, 4))
    found = derivatives(loss, x, {"x": data, "mask": chosen})
    e = np.where(chosen, np.exp(data), 0.0)
    total = e.sum(axis=0)
    s = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
    np.testing.assert_allclose(found[0], np.sum(s * s), rtol=1e-12)
    first = 2 * s * (s - (s * s).sum(axis=0))
    np.testing.assert_allclose(found[1], first, rtol=1e-11, atol=1e-15)
    for order in found[1:]:
        np.testing.assert_array_equal(order[:, 1], 0)
        np.testing.assert_array_equal(order[~chosen], 0)


def test_a_padded_read_never_contributes() -> None:
    x = prop.input("x", 3)
    padded = prop.pad(x, ((1, 2),))
    inside = prop.pad(prop.constant(np.ones(3)), ((1, 2),)) > 0
    loss = prop.sum(prop.where(inside, 1 / padded, 0.0))
    data = np.array([0.5, -2.0, 4.0])
    found = derivatives(loss, x, {"x": data})
    assert_orders(found, [np.sum(1 / data), -(data**-2), 2 * data**-3, -6 * data**-4])
