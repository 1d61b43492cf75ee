"""NumPy's side of convolutions and pools, written as loops over the places of the window."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np


def np_conv(x: Any, w: Any, s: int = 1, p: int = 0, d: int = 1, g: int = 1) -> Any:
    """Cross-correlation of any rank, with equal settings for all axes."""
    rank = x.ndim - 2
    x = np.pad(x, ((0, 0), (0, 0), *((p, p),) * rank))
    o, per, *size = w.shape
    places = [(n - d * (k - 1) - 1) // s + 1 for n, k in zip(x.shape[2:], size, strict=True)]
    out = np.zeros((len(x), o, *places))
    for q, at in itertools.product(range(o), itertools.product(*map(range, places))):
        first = (q // (o // g)) * per
        window = tuple(slice(a * s, a * s + d * k, d) for a, k in zip(at, size, strict=True))
        patch = x[(slice(None), slice(first, first + per), *window)]
        out[(slice(None), q, *at)] = np.sum(patch * w[q], axis=tuple(range(1, rank + 2)))
    return out


def np_conv_transpose(x: Any, w: Any, s: int = 1, p: int = 0) -> Any:
    """Every element of x adds its multiple of w to the output."""
    rank = x.ndim - 2
    sizes = [(n - 1) * s + k for n, k in zip(x.shape[2:], w.shape[2:], strict=True)]
    out = np.zeros((len(x), w.shape[1], *sizes))
    for c, at in itertools.product(range(len(w)), np.ndindex(*x.shape[2:])):
        window = tuple(slice(a * s, a * s + k) for a, k in zip(at, w.shape[2:], strict=True))
        element = x[(slice(None), c, *at)].reshape(-1, 1, *(1,) * rank)
        out[(slice(None), slice(None), *window)] += element * w[c]
    kept = tuple(slice(p, n - p) for n in sizes)
    return out[(slice(None), slice(None), *kept)]


def np_windows(x: Any, k: int, s: int, p: int, fill: float) -> Any:
    """The windows of all further axes, their elements on the last axis."""
    rank = x.ndim - 2
    x = np.pad(x, ((0, 0), (0, 0), *((p, p),) * rank), constant_values=fill)
    v = np.lib.stride_tricks.sliding_window_view(x, (k,) * rank, axis=tuple(range(2, rank + 2)))
    v = v[(slice(None), slice(None), *(slice(None, None, s),) * rank)]
    return v.reshape(*v.shape[: rank + 2], -1)


def np_adaptive(x: Any, size: int, function: Any) -> Any:
    """Each of `size` windows an axis reduced, from floor(i*n/size) to ceil((i + 1)*n/size)."""
    bounds = [[(i * n // size, -(-(i + 1) * n // size)) for i in range(size)] for n in x.shape[2:]]
    out = np.zeros((*x.shape[:2], *(size,) * (x.ndim - 2)))
    for at in np.ndindex(*out.shape[2:]):
        window = tuple(slice(*each[a]) for each, a in zip(bounds, at, strict=True))
        part = x[(slice(None), slice(None), *window)]
        out[(slice(None), slice(None), *at)] = function(part, axis=tuple(range(2, x.ndim)))
    return out
