"""Every float32 there is: the largest error of an op, and of its first derivative.

In: an op, an order, a backend; what was found before. Out: `Sweep`, after each piece.

The 2**32 floats go by in 256 pieces. The compiled float32 function is compared with the compiled
float64 one, which is right to a millionth of a unit of float32; the largest difference of each
chunk is decided by balls where it could be the largest of all. One point of each chunk is decided
by balls whatever it is, and must agree with the float64 value: so a fault that both widths share is
found.

Guarantees: a sweep can be stopped after any piece and continued; it starts again where the code
that is measured is another. The largest error is a proved one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np

from symprop.accuracy.formats import FORMATS, errors
from symprop.accuracy.landmarks import NEAR
from symprop.accuracy.measure import domain_text, scaled, zeros_of
from symprop.accuracy.record import Row
from symprop.accuracy.subjects import Subject
from symprop.errors import VerificationError
from symprop.ops.declare import REGISTRY

__all__ = ["PIECES", "Sweep", "swept"]

FORM = FORMATS["float32"]
PIECES, CHUNK = 256, 1 << 15  # a chunk and its temporaries lie in a core's own cache
FLOATS = (1 << 32) // PIECES
CHECKED = 8  # one chunk in so many has a point that balls check
CLOSE = 1e-3  # units below the largest error from which on a point is decided by balls
TRUSTED = 1e-4  # units by which the float64 value may be off
EVERY = 64  # of the errors, one in so many is counted for the median
BINS, WIDTH = 512, 1 / 64  # of the counts, in units
FIELD = 52  # bits of a float64 below its exponent
OWN = 1023 + FORM.digits - 1  # an exponent there, less this, is that of the unit in float32


@dataclass(frozen=True)
class Sweep:
    """What was found after so many pieces; `code` tells the measured functions from others.

    `largest` is infinite where a result is no number; `counts` is the histogram of errors.
    """

    op: str
    order: int
    backend: str
    code: str
    pieces: int = 0
    count: int = 0
    largest: float = -1.0
    at: float = 0.0
    found: str = ""
    counts: tuple[int, ...] = (0,) * BINS

    @property
    def key(self) -> tuple[str, int, str]:
        """What tells a sweep from the others."""
        return self.op, self.order, self.backend

    @property
    def median(self) -> float:
        """The median error, to a 64th of a unit."""
        total = np.cumsum(self.counts)
        return float(np.searchsorted(total, total[-1] / 2) * WIDTH)

    def row(self) -> Row:
        """The row of the table."""
        subject = self.subject
        exact = subject.truth.text([self.at])
        largest = float(f"{self.largest:.4g}") if math.isfinite(self.largest) else None
        zeros = tuple(zeros_of(subject, FORM))
        return Row(
            self.op, "float32", self.backend, self.order, largest, self.median, (self.at,),
            self.found, exact, "", domain_text(subject.op), self.count, 0, zeros,
            self.pieces == PIECES,
        )  # fmt: skip

    @property
    def subject(self) -> Subject:
        """The op, differentiated."""
        return Subject(REGISTRY[self.op], (0,) * self.order)


def swept(
    subject: Subject, backend: str, before: Sequence[Sweep] = (), pieces: int = PIECES
) -> Iterator[Sweep]:
    """What is found after each piece that is not done yet."""
    narrow, wide = subject.compiled(backend, "float32"), subject.compiled(backend, "float64")
    code = blake2b(f"{narrow.text}{wide.text}".encode(), digest_size=8).hexdigest()
    found = Sweep(subject.op.name, subject.order, backend, code)
    found = next((s for s in before if s.key == found.key and s.code == code), found)
    zeros = zeros_of(subject, FORM)
    while found.pieces < pieces:
        for start in range(0, FLOATS, CHUNK):
            first = found.pieces * FLOATS + start
            found = _chunk(found, subject, first, narrow, wide, zeros)
        found = replace(found, pieces=found.pieces + 1)
        yield found


Runs = Callable[[Sequence[Any]], Any]


def _chunk(
    found: Sweep, subject: Subject, first: int, narrow: Runs, wide: Runs, zeros: dict[float, float]
) -> Sweep:
    """A sweep, with the floats whose bits are a number from the first on."""
    x = np.arange(first, first + CHUNK, dtype=np.uint32).view(np.float32)
    x = x[_inside(subject, x)]
    if not len(x):
        return found
    results, better = narrow([x]), wide([x])
    distances = _distances(x, results, better, zeros)
    if (first // CHUNK) % CHECKED == 0:
        _check_filter(subject, x, results, distances, zeros)
    counts = np.bincount(
        np.minimum(distances[::EVERY] / WIDTH, BINS - 1).astype(np.int64), minlength=BINS
    )
    found = replace(
        found,
        count=found.count + len(x),
        counts=tuple(int(a + b) for a, b in zip(found.counts, counts, strict=True)),
    )
    k = int(np.argmax(distances))
    if distances[k] < found.largest - CLOSE:
        return found
    proved = _proved(subject, x[k], results[k], zeros)
    if proved <= found.largest:
        return found
    return replace(found, largest=proved, at=float(x[k]), found=f"{results[k]:.9g}")


def _inside(subject: Subject, x: Any) -> Any:
    """The finite floats of the domain."""
    (domain,) = subject.op.domains
    with np.errstate(invalid="ignore"):
        inside = np.isfinite(x)
        if domain.low is not None:
            low = float(domain.low)
            inside &= x > low if domain.open_low else x >= low
        if domain.high is not None:
            high = float(domain.high)
            inside &= x < high if domain.open_high else x <= high
    return inside


def _distances(x: Any, results: Any, better: Any, zeros: dict[float, float]) -> Any:
    """Differences of the two widths, in units of float32; infinite for what is no number."""
    unit = better.view(np.int64) >> FIELD  # in place from here: this is most of the work
    unit &= 0x7FF
    np.clip(unit, FORM.lowest + OWN, FORM.highest - FORM.digits + OWN, out=unit)
    unit -= FORM.digits - 1
    unit <<= FIELD
    unit = unit.view(np.float64)
    for zero, scale in zeros.items():
        local = math.ldexp(1.0, max(math.frexp(scale)[1] - FORM.digits, FORM.lowest))
        near = np.abs(x - zero) < NEAR
        unit[near] = np.maximum(unit[near], local)
    beyond = math.ldexp(1.0, FORM.highest)
    with np.errstate(all="ignore"):
        distances = np.clip(results.astype(np.float64), -beyond, beyond)
        distances -= np.clip(better, -beyond, beyond)
        np.abs(distances, out=distances)
        distances /= unit
    return np.nan_to_num(distances, copy=False, nan=np.inf, posinf=np.inf)


def _proved(subject: Subject, x: Any, result: Any, zeros: dict[float, float]) -> float:
    """The error at one point, by balls."""
    columns = [np.array([float(x)])]
    exact = scaled(columns, subject.truth(columns, FORM), zeros, FORM)
    return float(errors(np.array([result]), exact, FORM)[0])


def _check_filter(
    subject: Subject, x: Any, results: Any, distances: Any, zeros: dict[float, float]
) -> None:
    """Refuse a float64 value that balls do not confirm, at one point of the chunk."""
    k = int(x[:1].view(np.uint32)[0] // CHUNK) * 7919 % len(x)
    proved = _proved(subject, x[k], results[k], zeros)
    if abs(proved - distances[k]) > TRUSTED and not (np.isinf(results[k]) and proved == 0):
        raise VerificationError(
            f"{subject.title} in float64 at {float(x[k])!r} is off by more than {TRUSTED} units of "
            "float32, so it cannot tell where float32 is at its worst"
        )
