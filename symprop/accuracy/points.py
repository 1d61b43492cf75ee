"""Where an op is measured: floats of every size, and the neighbours of what is special.

In: the domains of an op's arguments, a format, special places, a number of points, a seed. Out:
columns of floats, one an argument. `around` gives the neighbours of points that came out worst.

Guarantees: the same arguments give the same points; every point lies in the domain and is a float
of the format. Of the drawn points half are uniform among the floats of the domain (so every
exponent has its share, those below the normal floats too), half are of ordinary size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from symprop.accuracy.formats import Format
from symprop.ops.domain import Interval

__all__ = ["Columns", "around", "drawn", "ends", "neighbours", "special"]

Columns = list[Any]  # of float64, one an argument
ORDINARY = (-20.0, 8.0)  # binary exponents of ordinary sizes
STEPS = (0, 1, 2, 3)  # neighbours at these distances, and at powers of two
TOGETHER = 0.25  # share of the points whose arguments are near one another


def ends(domain: Interval, form: Format) -> tuple[int, int]:
    """The places of the first and of the last finite float of a domain."""
    largest = form.infinity - 1
    low = -largest if domain.low is None else _inside(domain.low, form, domain.open_low, 1)
    high = largest if domain.high is None else _inside(domain.high, form, domain.open_high, -1)
    return low, high


def _inside(bound: Fraction | int, form: Format, open_end: bool, step: int) -> int:
    """The float at a bound, or the next one inside."""
    place = int(form.number(np.array([float(bound)]))[0])
    value = float(form.float(place))
    outside = (value - bound) * step < 0 or (value == bound and open_end)
    return place + step * outside


def drawn(domains: Sequence[Interval], form: Format, count: int, rng: Any) -> Columns:
    """So many points, by chance."""
    places = [_places(d, form, count, rng) for d in domains]
    if len(places) > 1:
        near = int(count * TOGETHER)
        distance = (2.0 ** rng.uniform(0, form.digits, near)).astype(np.int64)
        for k, domain in enumerate(domains[1:], 1):
            low, high = ends(domain, form)
            places[k][:near] = np.clip(places[0][:near] + rng.choice((-1, 1)) * distance, low, high)
    return [form.float(p) for p in places]


def _places(domain: Interval, form: Format, count: int, rng: Any) -> Any:
    low, high = ends(domain, form)
    everywhere = rng.integers(low, high, count - count // 2, endpoint=True)
    size = 2.0 ** rng.uniform(*ORDINARY, count // 2)
    if domain.low is not None and domain.high is not None:
        width = float(domain.high - domain.low)
        away = width * 2.0 ** rng.uniform(-form.digits, 0, len(size))
        x = np.where(rng.random(len(size)) < 0.5, float(domain.low) + away,
                     float(domain.high) - away)  # fmt: skip
    elif domain.low is not None:
        x = float(domain.low) + size
    elif domain.high is not None:
        x = float(domain.high) - size
    else:
        x = size * rng.choice((-1.0, 1.0), len(size))
    return rng.permutation(np.concatenate([everywhere, np.clip(form.number(x), low, high)]))


def neighbours(form: Format) -> Any:
    """Distances, in floats, at which the neighbours of a special place are looked at."""
    steps = [*STEPS, *(1 << k for k in range(2, form.digits))]
    return np.array(sorted({s * sign for s in steps for sign in (1, -1)}), np.int64)


def special(
    domains: Sequence[Interval], form: Format, places: Iterable[float], limit: int
) -> Columns:
    """The neighbours of special places; of several arguments, every combination of them, or as
    many as the limit allows, evenly."""
    columns = []
    for domain in domains:
        low, high = ends(domain, form)
        numbers = np.array([0, low, high, *(int(form.number(np.array([x]))[0]) for x in places)])
        distances = neighbours(form) if len(domains) == 1 else np.array([-1, 0, 1])
        near = np.unique(np.clip((numbers[:, None] + distances).ravel(), low, high))
        columns.append(form.float(near))
    if len(columns) == 1:
        return [_thinned(columns[0], limit)]
    share = max(3, math.ceil(limit ** (1 / len(columns))))
    grid = np.array(list(product(*(_thinned(c, share) for c in columns)))).T
    return [_thinned(row, limit) for row in grid]


def _thinned(column: Any, limit: int) -> Any:
    """At most so many of a column, evenly."""
    if len(column) <= limit:
        return column
    return column[np.linspace(0, len(column) - 1, limit).astype(int)]


def around(
    worst: Columns, domains: Sequence[Interval], form: Format, count: int, rng: Any
) -> Columns:
    """So many neighbours of each point, at distances of all sizes; one argument moves at a time
    as often as all do."""
    found = []
    together = rng.random((len(worst[0]), count)) < 0.5
    moved = rng.integers(0, len(domains), (len(worst[0]), count))
    for k, (column, domain) in enumerate(zip(worst, domains, strict=True)):
        low, high = ends(domain, form)
        distance = (2.0 ** rng.uniform(0, form.digits - 2, together.shape)).astype(np.int64)
        distance *= rng.choice((-1, 1), together.shape)
        places = form.number(column)[:, None] + np.where(together | (moved == k), distance, 0)
        found.append(form.float(np.clip(places, low, high).ravel()))
    return found
