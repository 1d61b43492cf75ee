"""A subject measured: on points of every kind, then around the worst of them.

In: an op, an order, a dtype, backends, a number of points. Out: a `Row` a backend.

Every backend gets the same points: drawn ones, the neighbours of landmarks, and, in rounds, the
neighbours of the points at which any backend was worst so far.

Guarantees: the seed of the points is the name of the row; the exact value of each is decided by
balls; some are seconded by mpmath.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np

from symprop.accuracy import points
from symprop.accuracy.exact import Truth
from symprop.accuracy.formats import FORMATS, Exact, Format, errors
from symprop.accuracy.landmarks import NEAR, cancelled, landmarks, local_scale
from symprop.accuracy.points import Columns
from symprop.accuracy.record import Row
from symprop.accuracy.subjects import Subject, subjects
from symprop.ops.declare import ElementwiseOp
from symprop.ops.domain import Interval

__all__ = ["domain_text", "measured", "scaled", "zeros_of"]

CHUNK = 1 << 16
SPECIAL = 2000  # points beside landmarks, at most
ROUNDS, WORST, AROUND = 3, 6, 24  # rounds of neighbours, of so many worst points, so many each
SECONDED = 6  # points that mpmath decides too, of each partial derivative

Runs = Callable[[Sequence[Any]], Any]


def measured(
    op: ElementwiseOp, order: int, dtype: str, backends: Sequence[str], count: int
) -> list[Row]:
    """The rows of an op's derivatives of one order: of several, the worst counts."""
    form = FORMATS[dtype]
    found = [_Found(s, form, backends, count) for s in subjects(op, order)]
    return [_row(op, order, dtype, b, found) for b in backends]


@dataclass
class _Worst:
    """The errors of one backend at drawn points, and the points of the largest of all."""

    drawn: list[Any] = field(default_factory=list)
    points: list[tuple[float, tuple[float, ...]]] = field(default_factory=list)

    def add(self, error: Any, columns: Columns) -> None:
        order = np.argsort(-error, kind="stable")[:WORST]
        new = [(float(error[k]), tuple(float(c[k]) for c in columns)) for k in order]
        self.points = sorted([*self.points, *new], key=lambda p: -p[0])[:WORST]


class _Found:
    """One partial derivative on all backends."""

    def __init__(self, subject: Subject, form: Format, backends: Sequence[str], count: int) -> None:
        self.subject, self.form = subject, form
        self.truth: Truth = subject.truth
        self.runs: dict[str, Runs] = {b: subject.function(b, form.name) for b in backends}
        self.worst = {b: _Worst() for b in backends}
        self.zeros: dict[float, float] = {}
        domains = subject.op.domains
        rng = np.random.default_rng(crc32(f"{subject.title} {form.name}".encode()))
        places = self._places(domains)
        for size in _sizes(count):
            drawn = points.drawn(domains, form, size, rng)
            if not self.seconded:
                self.seconded = self.truth.second(_apart(drawn), form)
            self._measure(drawn, True)
        self._measure(points.special(domains, form, places, max(SPECIAL, count)))
        for _ in range(ROUNDS):
            self._measure(points.around(self._worst_points(), domains, form, AROUND, rng))

    seconded = count = 0

    def _places(self, domains: Sequence[Interval]) -> list[float]:
        """What is special about the arguments."""
        places = [1.0, -1.0, *self.subject.kinks]
        if len(domains) == 1:
            changes, _ = landmarks(self.truth, domains[0], self.form)
            places += changes
            self.zeros = zeros_of(self.subject, self.form)
        return places

    def _measure(self, columns: Columns, drawn: bool = False) -> None:
        exact = scaled(columns, self.truth(columns, self.form), self.zeros, self.form)
        self.count += len(columns[0])
        for backend, run in self.runs.items():
            error, worst = errors(run(columns), exact, self.form), self.worst[backend]
            worst.add(error, columns)
            if drawn:
                worst.drawn.append(error)

    def _worst_points(self) -> Columns:
        """The points of the largest errors of all backends."""
        found = dict.fromkeys(p for w in self.worst.values() for _, p in w.points)
        return [np.array(c) for c in zip(*found, strict=True)]


def zeros_of(subject: Subject, form: Format) -> dict[float, float]:
    """Where a derivative of one argument vanishes by a difference, and the size around."""
    if not subject.order:
        return {}
    (domain,) = subject.op.domains
    _, zeros = landmarks(subject.truth, domain, form)
    own = [z for z in zeros if cancelled(subject.truth.formula, z)]
    return {z: local_scale(subject.truth, z, domain, form) for z in own}


def scaled(columns: Columns, exact: Exact, zeros: Mapping[float, float], form: Format) -> Exact:
    """The exact values, in the unit of the local scale beside a zero."""
    unit = exact.unit.copy()
    for zero, scale in zeros.items():
        local = math.ldexp(1.0, max(math.frexp(scale)[1] - form.digits, form.lowest))
        near = np.abs(columns[0] - zero) < NEAR
        unit[near] = np.maximum(unit[near], local)
    return Exact(exact.value, exact.rest * (exact.unit / unit), unit)


def _apart(columns: Columns) -> Columns:
    """The first points at which no two arguments are equal: ties have conventions."""
    sorts = np.sort(np.abs(np.array(columns)), axis=0)
    apart = np.flatnonzero(np.all(sorts[1:] != sorts[:-1], axis=0))[:SECONDED]
    return [c[apart] for c in columns]


def _sizes(count: int) -> Iterator[int]:
    """A number in pieces."""
    edges = [*range(0, count, CHUNK), count]
    yield from (b - a for a, b in pairwise(edges))


def _row(op: ElementwiseOp, order: int, dtype: str, backend: str, found: Sequence[_Found]) -> Row:
    bad = max(found, key=lambda f: f.worst[backend].points[0][0])
    largest, at = bad.worst[backend].points[0]
    every = np.concatenate([e for f in found for e in f.worst[backend].drawn])
    columns = [np.array([x]) for x in at]
    value = bad.runs[backend](columns)[0]
    return Row(
        op.name,
        dtype,
        backend,
        order,
        _size(largest),
        _size(float(np.median(every))),
        at,
        f"{value:.9g}" if dtype == "float32" else f"{value:.17g}",
        bad.truth.text(at),
        bad.subject.of if op.arity > 1 else "",
        domain_text(op),
        sum(f.count for f in found),
        sum(f.seconded for f in found),
        tuple(z for f in found for z in f.zeros),
    )


def _size(error: float) -> float | None:
    """An error of three digits; None where it has no bound."""
    return float(f"{error:.3g}") if math.isfinite(error) else None


def domain_text(op: ElementwiseOp) -> str:
    """The intervals of an op's arguments."""
    texts = list(map(_interval, op.domains))
    if op.arity == 1:
        return texts[0]
    named = zip(op.declaration.arguments, texts, strict=True)
    return ", ".join(f"{name} in {text}" for name, text in named)


def _interval(d: Interval) -> str:
    if d.low is None and d.high is None:
        return "reals"
    left = "(-inf" if d.low is None else f"{'(' if d.open_low else '['}{d.low}"
    right = "inf)" if d.high is None else f"{d.high}{')' if d.open_high else ']'}"
    return f"{left}, {right}"
