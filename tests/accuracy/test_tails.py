"""Where a function is said to be one constant or a multiple of its argument, it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from symprop.accuracy.exhaustive import CHUNK, FLOATS, FORM
from symprop.accuracy.subjects import Subject
from symprop.accuracy.tails import FLAT, Tail, Tails
from symprop.ops.declare import REGISTRY

pytest.importorskip("flint")

UNARY = [name for name, op in REGISTRY.items() if op.arity == 1]
PIECES = (0, 40, 63, 66, 191, 255)  # of float32, by size and sign


def tails(name: str, order: int = 0) -> Tails:
    return Tails(Subject(REGISTRY[name], (0,) * order), {})


def bits(x: float) -> int:
    return int(np.array([x], np.float32).view(np.uint32)[0])


def over(t: Tails, a: float, b: float) -> Tail | None:
    return t.proved(*sorted((bits(a), bits(b))))


@pytest.mark.parametrize(
    ("name", "order", "a", "b", "slope"),
    [
        ("exp", 0, 1e-12, 1e-11, 0.0),
        ("exp", 0, -1e30, -5e29, 0.0),
        ("exp", 0, 100.0, 120.0, 0.0),  # infinity
        ("tanh", 0, 20.0, 50.0, 0.0),
        ("tanh", 1, 1e38, 2e38, 0.0),
        ("tanh", 0, 4e-12, 5e-12, 1.0),
        ("silu", 0, 2e-13, 3e-13, 0.5),
        ("softplus", 0, 1e30, 2e30, 1.0),
        ("relu", 0, -5.0, -1.0, 0.0),
    ],
)
def test_a_tail_is_seen(name: str, order: int, a: float, b: float, slope: float) -> None:
    found = over(tails(name, order), a, b)
    assert found is not None
    assert found.slope == slope


@pytest.mark.parametrize(
    ("name", "a", "b"),
    [
        ("exp", 1e-7, 2e-7),  # not yet 1
        ("exp", 88.0, 89.0),
        ("tanh", 5.0, 20.0),
        ("tanh", 1e-4, 2e-4),
        ("erf", 1e-20, 1e-19),  # no power of two
        ("silu", 1e-40, 1e-38),  # the half of such a number is rounded
        ("sin", 1e5, 2e5),
        ("sign", 0.0, 1.0),
        ("floor", 0.5, 1.5),
        ("cbrt", 0.0, 1e-30),
    ],
)
def test_what_is_no_tail_is_not_taken_for_one(name: str, a: float, b: float) -> None:
    assert over(tails(name), a, b) is None


def test_a_tail_stops_before_a_zero_that_has_its_own_unit() -> None:
    relu = Subject(REGISTRY["relu"], ())
    assert over(Tails(relu, {}), -5.0, -1.0) is not None
    assert over(Tails(relu, {-1.1: 1.0}), -5.0, -1.0) is None


def test_results_that_are_not_the_expected_ones_do_not_hold() -> None:
    x = np.array([1.0, 2.0, 3.0], np.float32)
    assert Tail(0.0).holds(x, np.ones(3, np.float32))
    assert not Tail(0.0).holds(x, np.array([1, 1, 1.0000001], np.float32))
    assert not Tail(0.0).holds(x, np.array([math.nan] * 3, np.float32))
    assert Tail(0.5).holds(x, np.array([0.5, 1, 1.5], np.float32))
    assert not Tail(0.5).holds(x, x)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("name", UNARY)
def test_exact_values_in_a_tail_are_what_it_says(name: str, order: int) -> None:
    """By balls of points, not of ranges."""
    t = tails(name, order)
    truth = Subject(REGISTRY[name], (0,) * order).truth
    (domain,) = REGISTRY[name].domains
    for piece in PIECES:
        found = list(t.chunks(piece * FLOATS, CHUNK, FLOATS // CHUNK))
        ends = [
            k for k in range(len(found)) if found[k] is not None and found[k] is not found[k - 1]
        ]
        for k in ends[:2]:
            tail = found[k]
            assert tail is not None
            last = max(i for i in range(len(found)) if found[i] is tail)
            places = np.array([k * CHUNK, (last + 1) * CHUNK - 1, (k + last + 1) * CHUNK // 2])
            x = (places + piece * FLOATS).astype(np.uint32).view(np.float32).astype(float)
            if not all(v in domain for v in x.tolist()):
                continue
            exact = truth([x], FORM)
            if tail.slope:
                assert np.all(exact.value == x * tail.slope)
                assert np.all(np.abs(exact.rest) <= FLAT)
            elif np.all(np.isfinite(exact.value)):
                whole = exact.value / exact.unit + exact.rest
                assert np.ptp(whole * (exact.unit / exact.unit.min())) <= FLAT
            else:
                assert len(set(exact.value.tolist())) == 1
