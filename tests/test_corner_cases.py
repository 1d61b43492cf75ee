"""Cases that a new user met: states without dims, values of sizes alone, odd arguments."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import symprop as prop


def test_states_without_dims_swap() -> None:
    a, b = prop.state("a", (), 0.0), prop.state("b", (), 0.0)
    total = prop.sum(prop.input("y", 3))
    swap = prop.compile(prop.update(prop.update(total, a, b), b, a))
    one, two = np.array(1, np.float32), np.array(2, np.float32)
    swap({"y": np.ones(3), "a": one, "b": two})
    assert (one, two) == (2, 1)


def test_an_output_is_the_old_state() -> None:
    a = prop.state("a", (), 0.0)
    function = prop.compile([prop.update(2 * a, a, a + 1), a])
    found = function(a=np.array(1, np.float32))
    assert [float(v) for v in found] == [2, 1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda x: prop.gradient(prop.sum(x), x), np.ones((2, 4))),
        (lambda x: prop.gradient(prop.mean(x), x), np.full((2, 4), 0.125)),
        (lambda x: 2 * prop.gradient(prop.sum(x), x), np.full((2, 4), 2)),
        (lambda x: prop.mean(x) - prop.mean(x), 0),
        (lambda x: prop.size(x, 0), 2),
        (lambda x: prop.sum(prop.softmax(x[:, :1])), 2),
    ],
)
def test_a_value_of_sizes_alone_takes_its_arrays(value: Any, expected: Any) -> None:
    x = prop.input("x", "batch 4")
    found = prop.compile(value(x))(x=np.full((2, 4), 3.0))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "value",
    [
        lambda x: prop.where(x > 0, prop.log(x), 0),
        lambda x: prop.where(x > 0, 1 / x, 0),
        lambda x: prop.where(x > 0, x**-2, 0),
        lambda x: prop.where(x > 0, x * prop.log(x), 0),
        lambda x: prop.where(x > 0, prop.sqrt(x), 0),
        lambda x: prop.where(x < 80, prop.exp(x), x),
    ],
)
def test_a_guarded_gradient_raises_no_warning(value: Any) -> None:
    x = prop.input("x", "batch 4")
    gradient = prop.compile(prop.gradient(prop.sum(value(x)), x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gradient(x=np.array([[0.0, -1.0, 1000.0, 2.0]]))
    assert np.isfinite(found).all()


def test_results_are_the_callers_own() -> None:
    x = prop.input("x", "batch 4")
    data = np.ones((1, 4))
    constant = prop.compile([prop.constant(np.ones(3)), prop.sum(x)])
    constant(x=data)[0][...] = 99
    np.testing.assert_array_equal(constant(x=data)[0], 1)
    first, second = prop.compile([x * 2, x * 2])(x=data)
    assert not np.shares_memory(first, second)
    kept = np.ones((2, 4), np.float32)
    flat, twice, both = prop.compile([x.reshape(-1), x * 2, (x * 2).reshape(-1)])(x=kept)
    flat[...] = twice[...] = 99
    np.testing.assert_array_equal(kept, 1)
    np.testing.assert_array_equal(both, 2)


def test_transpose_takes_each_axis() -> None:
    with pytest.raises(prop.ShapeError, match="each of the 3 axes of 'z'"):
        prop.input("z", "batch 4 3").transpose(0)


def test_pad_of_booleans_and_integers() -> None:
    m = prop.input("m", "batch 2", dtype="bool")
    found = prop.compile(prop.pad(m, 1, True))(m=np.zeros((1, 2), bool))
    assert found.dtype == bool
    assert found.sum() == 10
    j = prop.input("j", "batch 2", dtype="int32")
    with pytest.raises(prop.DataError, match=r"'j'.*int32, cannot be '0\.5'"):
        prop.pad(j, 1, 0.5)
    with pytest.raises(prop.DataError, match="pad widths of 'j'"):
        prop.pad(j, ((1, 2), (1, 2), (3, 4)))


def test_one_name_for_two_sizes_is_refused() -> None:
    p, q = prop.input("p", "batch pixel=3"), prop.input("q", "batch pixel=4")
    with pytest.raises(prop.DeclarationError, match="dimension 'pixel' is"):
        prop.compile(prop.sum(p, 1) * prop.sum(q, 1))


def test_a_mask_over_time_twice() -> None:
    mask = prop.input("mask", "time time", dtype="bool")
    x = prop.input("x", "time 3")
    found = prop.compile(prop.sum(prop.where(mask[:, :, None], x, 0.0), 1))
    np.testing.assert_array_equal(
        found(mask=np.eye(2, dtype=bool), x=np.arange(6.0).reshape(2, 3)),
        np.arange(6.0).reshape(2, 3),
    )


def test_numpy_integers_are_integers() -> None:
    assert prop.labels("y", "batch", classes=np.int64(3)).node.high.value == 2
    x = prop.input("x", np.int64(6))
    assert prop.Dense(np.int64(2))(x[None]).shape == (1, 2)
    image = prop.input("im", "batch 1 4 4")
    assert prop.max_pool2d(image, np.int64(2)).shape[2:] == (2, 2)


def test_a_read_only_state_is_refused_before_anything_changes() -> None:
    x = prop.input("x", "batch 4")
    a, s = prop.state("a", (), 0.0), prop.state("s", 4, np.zeros(4))
    step = prop.compile(prop.update(prop.update(prop.sum(x), a, a + 1), s, s + 1))
    count, frozen = np.array(0, np.float32), np.zeros(4, np.float32)
    frozen.flags.writeable = False
    with pytest.raises(prop.DataError, match="'s' is updated in place"):
        step(x=np.ones((1, 4)), a=count, s=frozen)
    assert count == 0


def test_einsum_needs_text() -> None:
    with pytest.raises(prop.DeclarationError, match="einsum needs its letters"):
        prop.einsum(3, prop.input("x", 3))  # type: ignore[arg-type]


def test_the_square_of_a_size_keeps_the_width() -> None:
    x = prop.input("x", "batch 3")
    loss = prop.mean(prop.tanh(x @ x.T))
    for found in prop.compile([loss, prop.gradient(loss, x)])(x=np.ones((2, 3))):
        assert found.dtype == np.float32


def test_a_counter_that_a_scan_carries_does_not_keep_the_bounds_of_its_start() -> None:
    table, rows = prop.input("table", "row=5"), prop.input("rows", "time=4 batch")
    start = prop.indices("start", "batch", below=5)
    with pytest.raises(prop.SympropError, match="table"):
        prop.scan(lambda i, r: (i + 1, prop.take(table, i) + r), start, rows)
    last, counted = prop.scan(lambda i, r: (i + 1, r * i), start, rows)
    given = {"start": np.array([1, 4]), "rows": np.ones((4, 2))}
    found = prop.compile([last, counted])(given)
    assert found[0].tolist() == [5, 8]
    assert found[1].tolist() == [[1, 4], [2, 5], [3, 6], [4, 7]]
