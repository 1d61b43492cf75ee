"""Convolutions and pools: what is refused, "same", symbolic sizes, transposes as transposes.

Values and derivatives are compared with torch's (tests/peers/cases_windows.py) and with loops in
NumPy (tests/functions.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.errors import SympropError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("how", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "groups": 2}])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_transposed_convolution_is_the_transpose(rank: int, how: dict[str, int]) -> None:
    """<conv(x), y> = <x, conv_transpose(y)>, to rounding."""
    groups = how.get("groups", 1)
    x, w = RNG.normal(size=(2, 4, *(5,) * rank)), RNG.normal(size=(6, 4 // groups, *(3,) * rank))
    names = {n: prop.input(n, a.shape) for n, a in (("x", x), ("w", w))}
    there = getattr(prop, f"conv{rank}d")(names["x"], names["w"], **how)
    image = prop.compile(there, dtype="float64")({"x": x, "w": w})
    y = RNG.normal(size=image.shape)
    back = getattr(prop, f"conv_transpose{rank}d")(prop.input("y", y.shape), names["w"], **how)
    found = prop.compile(back, dtype="float64")({"y": y, "w": w})
    assert found.shape == x.shape
    assert np.sum(image * y) == pytest.approx(np.sum(x * found), rel=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_same_keeps_the_size_with_a_free_batch_and_a_free_length(backend: str) -> None:
    x = prop.input("x", "batch channel=2 time")
    w = prop.constant(RNG.normal(size=(3, 2, 4)), "w")
    y = prop.conv1d(x, w, padding="same")
    f = prop.compile([y, prop.gradient(prop.sum(prop.square(y)), x)], backend, dtype="float64")
    for batch, time in ((1, 1), (2, 5), (3, 8)):
        value, slope = f({"x": RNG.normal(size=(batch, 2, time))})
        assert value.shape == (batch, 3, time)
        assert slope.shape == (batch, 2, time)


def test_a_transposed_convolution_of_a_free_length_reads_no_image() -> None:
    x = prop.input("x", "batch channel=2 time")
    w = prop.parameter("w", (2, 1, 3), prop.Zeros())
    y = prop.conv_transpose1d(x, w, stride=2)
    f = prop.compile(y, dtype="float64")
    assert f({"x": np.ones((2, 2, 4)), "w": np.ones((2, 1, 3))}).shape == (2, 1, 9)
    assert "image" not in f.source()


X = prop.input("x", (1, 4, 5, 5))
W = prop.input("w", (4, 4, 3, 3))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: prop.conv1d(X, W), "x[N, C, L]"),
        (lambda: prop.conv2d(X, W, padding="full"), "'same'"),
        (lambda: prop.conv2d(X, W, padding="same", stride=2), "stride 1"),
        (lambda: prop.conv2d(X, W, stride=(1, 2, 3)), "a pair"),
        (lambda: prop.conv2d(X, W, groups=2), "groups"),
        (lambda: prop.conv2d(X, W, dilation=3), "larger"),
        (lambda: prop.conv_transpose2d(X, prop.input("v", (3, 4, 2, 2))), "4 channels"),
        (lambda: prop.conv_transpose2d(X, W, output_padding=1), "output padding"),
        (lambda: prop.conv_transpose2d(X, prop.input("v", (4, 4, 1, 1)), padding=4), "no place"),
        (lambda: prop.max_pool2d(X, 2, padding=2), "half"),
        (lambda: prop.avg_pool3d(X, 2), "x[N, C, D, H, W]"),
        (lambda: prop.adaptive_avg_pool(X, 0), "the size"),
        (lambda: prop.adaptive_max_pool(prop.input("f", "b c=2 time"), 2), "fixed axes"),
        (lambda: prop.global_avg_pool(prop.input("f", "b c=2")), "x[N, C, ...]"),
        (lambda: prop.upsample(X, 0), "the scale"),
    ],
)
def test_what_makes_no_sense_is_refused(act: Callable[[], Any], words: str) -> None:
    with pytest.raises(SympropError) as caught:
        act()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
