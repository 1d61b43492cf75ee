"""What a stabilising rule gains and loses in the floats of a backend.

In: a rule, a backend, a dtype, how many points. Out: `Gain`: the most bits of error saved and the
most added, and where.

The error of a float is counted in bits, log2(1 + ulp), as Herbie does: half a bit is the
difference between an error of 1 ulp and of 1.8. A float that is right by luck says nothing, so
floats are compared in clusters, the worst with the worst. The naive formula is compiled without
the pass that would mend it. Exact values are proved by balls (``symprop.accuracy``); of float32,
they are the stable formula's in float64, which balls hold to 8 ulp where they are asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np

import symprop as prop
from symprop import term as t
from symprop.accuracy.exact import Truth
from symprop.accuracy.formats import FORMATS, Exact, Format, errors
from symprop.expression import Expr
from symprop.graph import At
from symprop.make import fresh, make
from symprop.ops.domain import Interval
from symprop.simplify import stable

EXTREMES = (
    0.0, 1e-300, 1e-30, 1e-20, 1e-8, 1e-3, 0.5, 1.0, 2.0, 36.0, 86.0, 100.0, 700.0, 746.0, 1e5,
    1e16, 1e37, 1e103, 1e160,
)  # fmt: skip
CLUSTER = 6  # floats side by side: one of them may be rounded to nothing by luck
OTHER = 0.75  # of a second unknown, the part of the first
NOTHING = 64.0  # the bits of a float that says nothing
CHUNK = 1 << 14


@dataclass(frozen=True)
class Gain:
    """Bits of error saved at most, bits added at most, and the point of that."""

    gained: float
    lost: float
    at: float


def clusters(domain: Interval, count: int, dtype: str) -> Any:
    """Floats beside points of all sizes, and beside the extremes: a row a cluster."""
    rng = np.random.default_rng(20)
    sizes = np.concatenate([10.0 ** rng.uniform(-12, 3, size=count), EXTREMES])
    near = sizes[:, None] * (1 + rng.uniform(0, 0.01, size=(len(sizes), CLUSTER)))
    near[:, 0] = sizes
    with np.errstate(over="ignore"):
        rows = np.concatenate([near, -near]).astype(dtype)
    inside = [all(math.isfinite(x) and x in domain for x in row) for row in rows.tolist()]
    return rows[inside]


@contextmanager
def as_written() -> Iterator[None]:
    """Compiling without the pass that stabilises."""
    with mock.patch.object(stable, "stabilise", lambda roots, *keep: list(roots)):
        yield


def compiled(term: t.Term, backend: str, dtype: str) -> Callable[[Any, Any], Any]:
    """A formula of two arrays of `CHUNK` floats as a backend computes it."""
    x, y = (prop.input(name, CHUNK) for name in "xy")
    over = fresh(x.node.dims)
    at = tuple(v.ix() for v in over)
    node = make("sum", over, 1, (), term, [At(x.node, at), At(y.node, at)], x.dtype)
    with as_written():
        run = prop.compile([Expr(node)], backend=backend, dtype=dtype)

    def value(a: Any, b: Any) -> Any:
        given = {"xy"[k]: (a, b)[k] for k in term.reads}
        with np.errstate(all="ignore"):
            (out,) = run(given)
        return np.asarray(out)

    return value


def in_floats(term: t.Term, points: Any, backend: str, dtype: str) -> Any:
    """A formula at x and at OTHER*x, points in float32 or float64, in a dtype."""
    run, flat = compiled(term, backend, dtype), points.reshape(-1)
    found = np.empty(flat.shape, dtype)
    for k in range(0, len(flat), CHUNK):
        part = flat[k : k + CHUNK]
        some = np.ones(CHUNK, flat.dtype)
        some[: len(part)] = part
        other = some * flat.dtype.type(OTHER)
        found[k : k + CHUNK] = run(some.astype(dtype), other.astype(dtype))[: len(part)]
    return found.reshape(points.shape)


def _exact(term: t.Term, points: Any, form: Format) -> Exact:
    """The exact values of a formula of x and OTHER*x."""
    flat = points.reshape(-1)
    other = (flat * np.array(OTHER, form.name)).astype(np.float64)
    truth = Truth(term, term, "a rule")
    return truth([flat.astype(np.float64), other], form)


def _by_float64(term: t.Term, points: Any, form: Format) -> Exact:
    """The same of float32, by the stable formula in float64."""
    wide = in_floats(term, points.reshape(-1), "numpy", "float64")
    with np.errstate(over="ignore"):
        value = wide.astype(np.float32).astype(np.float64)
    exponent = np.maximum(np.frexp(np.where(np.isfinite(value), value, 0))[1] - form.digits,
                          form.lowest)  # fmt: skip
    unit = np.ldexp(1.0, exponent)
    with np.errstate(invalid="ignore"):
        rest = np.where(np.isfinite(value), (wide - value) / unit, 0.0)
    return Exact(value, rest, unit)


def _bits(found: Any, exact: Exact, form: Format) -> Any:
    """The bits of floats that are wrong; NaN where nothing is known."""
    with np.errstate(invalid="ignore"):
        ulps = errors(found.reshape(-1), exact, form)
        bits = np.minimum(np.log2(1 + ulps), NOTHING)
    return np.where(np.isnan(exact.value), np.nan, bits).reshape(found.shape)


def gain(
    domain: Interval, before: t.Term, after: t.Term, backend: str, dtype: str, count: int
) -> Gain:
    """The most bits gained, and the most lost, over the clusters, the worst of each compared."""
    form = FORMATS[dtype]
    points = clusters(domain, count, dtype)
    naive, better = (in_floats(f, points, backend, dtype) for f in (before, after))
    differ = ((naive != better) & ~(np.isnan(naive) & np.isnan(better))).any(axis=1)
    points, naive, better = points[differ], naive[differ], better[differ]
    if not len(points):
        return Gain(0.0, 0.0, math.nan)
    exact = (_exact if dtype == "float64" else _by_float64)(after, points, form)
    old, new = (_worst(_bits(v, exact, form)) for v in (naive, better))
    change = np.nan_to_num(new - old)
    k = int(np.argmax(change))
    return Gain(max(float(-change.min()), 0.0), max(float(change[k]), 0.0), float(points[k, 0]))


def _worst(bits: Any) -> Any:
    known = np.where(np.isnan(bits), -1, bits).max(axis=1)
    return np.where(known < 0, np.nan, known)


def listed(rows: Sequence[tuple[str, Gain]]) -> str:
    """The gains, one rule a line."""
    return "\n".join(f"{name:42s} gained {g.gained:5.1f}  lost {g.lost:4.2f} bits at {g.at!r}"
                     for name, g in rows)  # fmt: skip
