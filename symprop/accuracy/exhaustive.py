"""Every float32 there is: the largest error of an op, and of its first derivative.

In: an op, an order, a backend; what was found before. Out: `Sweep`, after each piece.

The 2**32 floats go by in 256 pieces, of chunks. The compiled float32 function runs on all of them.
Where the exact value is proved to be one constant, or a multiple of the argument, over whole chunks
(`tails`), its results are compared with that. Elsewhere they are compared with the compiled float64
function, which is right to a millionth of a unit of float32; a result that is the float64 value
rounded is within a half of a unit, and the largest difference of the others in a chunk is decided
by balls where it could be the largest of all. One point of every eighth chunk is decided by balls
whatever it is, and must agree with the float64 value: so a fault that both widths share is found.

Guarantees: a sweep can be stopped after any piece and continued; it starts again where the code
that is measured is another. The largest error is a proved one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from symprop.accuracy.arithmetic import digest
from symprop.accuracy.formats import FORMATS, errors
from symprop.accuracy.landmarks import NEAR
from symprop.accuracy.measure import domain_text, scaled, zeros_of
from symprop.accuracy.record import Row
from symprop.accuracy.subjects import Subject
from symprop.accuracy.tails import Tail, Tails
from symprop.errors import VerificationError
from symprop.ops.declare import REGISTRY

__all__ = ["PIECES", "Sweep", "swept"]

FORM = FORMATS["float32"]
PIECES, CHUNK = 256, 1 << 15  # a chunk and its temporaries lie in a core's own cache
FLOATS = (1 << 32) // PIECES
CHECKED = 8  # one chunk in so many has a point that balls check
CLOSE = 1e-3  # units below the largest error from which on a point is decided by balls
ROUNDED = 0.49  # units; above, what is correctly rounded is not looked at: it is not far above
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
    found = Sweep(subject.op.name, subject.order, backend, digest(narrow))
    found = next((s for s in before if s.key == found.key and s.code == found.code), found)
    zeros = zeros_of(subject, FORM)
    tails = Tails(subject, zeros)
    while found.pieces < pieces:
        first, count = found.pieces * FLOATS, FLOATS // CHUNK
        piece = Piece(subject, narrow, wide, zeros, found)
        with np.errstate(all="ignore"):
            for k, tail in enumerate(tails.chunks(first, CHUNK, count)):
                piece.chunk(first + k * CHUNK, tail)
        found = piece.sweep()
        yield found


Runs = Callable[[Sequence[Any]], Any]


class Piece:
    """Floats that are measured chunk by chunk, in addition to what was found before."""

    def __init__(
        self, subject: Subject, narrow: Runs, wide: Runs, zeros: dict[float, float], before: Sweep
    ) -> None:
        self.subject, self.narrow, self.wide, self.zeros = subject, narrow, wide, zeros
        self.before, self.count = before, before.count
        self.largest, self.at, self.found = before.largest, before.at, before.found
        self.counts = np.array(before.counts)
        self.tails: dict[tuple[Tail, float | None], float] = {}  # errors

    def sweep(self) -> Sweep:
        """What was found so far."""
        return replace(
            self.before, pieces=self.before.pieces + 1, count=self.count, largest=self.largest,
            at=self.at, found=self.found, counts=tuple(self.counts.tolist()),
        )  # fmt: skip

    def chunk(self, first: int, tail: Tail | None = None) -> None:
        """The floats whose bits are a number from the first on."""
        x = _inside(self.subject, np.arange(first, first + CHUNK, dtype=np.uint32))
        if not len(x):
            return
        results = self.narrow([x])
        self.count += len(x)
        if tail is not None and tail.holds(x, results):
            self.tail(tail, x, results)
            return
        better = self.wide([x])
        if (first // CHUNK) % CHECKED == 0:
            self.check_filter(first // CHUNK * 7919 % len(x), x, results, better)
        looked = self.looked_at(results, better)
        distances = _distances(x[looked], results[looked], better[looked], self.zeros)
        counted = len(x[::EVERY])
        bins = np.minimum(distances[:counted] / WIDTH, BINS - 1).astype(np.int64)
        self.counts += np.bincount(bins, minlength=BINS)
        k = int(np.argmax(distances))
        if distances[k] >= self.largest - CLOSE:
            k = int(looked[k])
            self.larger(self.proved(x[k], results[k]), x[k], results[k])

    def looked_at(self, results: Any, better: Any) -> Any:
        """Which errors are computed: those for the histogram, then all that may be the largest."""
        counted = np.arange(0, len(results), EVERY)
        if self.largest < ROUNDED:
            return np.concatenate([counted, np.arange(len(results))])
        # what is the better value rounded is within a half of a unit
        return np.concatenate([counted, np.flatnonzero(results != better.astype(np.float32))])

    def tail(self, tail: Tail, x: Any, results: Any) -> None:
        """Results of a tail, which have one error."""
        key = tail, float(results[0]) if tail.slope == 0 else None
        if key not in self.tails:
            self.tails[key] = self.proved(x[0], results[0]) if tail.slope == 0 else 0.0
            self.larger(self.tails[key], x[0], results[0])
        self.counts[min(int(self.tails[key] / WIDTH), BINS - 1)] += len(x[::EVERY])

    def larger(self, error: float, x: Any, result: Any) -> None:
        """Keeps an error that is larger than all before."""
        if error > self.largest:
            self.largest, self.at, self.found = error, float(x), f"{result:.9g}"

    def proved(self, x: Any, result: Any) -> float:
        """The error at one point, by balls."""
        columns = [np.array([float(x)])]
        exact = scaled(columns, self.subject.truth(columns, FORM), self.zeros, FORM)
        return float(errors(np.array([result]), exact, FORM)[0])

    def check_filter(self, k: int, x: Any, results: Any, better: Any) -> None:
        """Refuse a float64 value that balls do not confirm, at one point of the chunk."""
        one = slice(k, k + 1)
        distance = float(_distances(x[one], results[one], better[one], self.zeros)[0])
        proved = self.proved(x[k], results[k])
        if abs(proved - distance) > TRUSTED and not (np.isinf(results[k]) and proved == 0):
            raise VerificationError(
                f"{self.subject.title} in float64 at {float(x[k])!r} is off by more than {TRUSTED} "
                "units of float32, so it cannot tell where float32 is at its worst"
            )


def _inside(subject: Subject, bits: Any) -> Any:
    """The floats of these bits that are finite and of the domain."""
    x = bits.view(np.float32)
    (domain,) = subject.op.domains

    def inside(some: Any) -> Any:
        found = np.isfinite(some)
        if domain.low is not None:
            low = float(domain.low)
            found &= some > low if domain.open_low else some >= low
        if domain.high is not None:
            high = float(domain.high)
            found &= some < high if domain.open_high else some <= high
        return found

    return x if inside(x[[0, -1]]).all() else x[inside(x)]  # in order, so with both ends all are


def _distances(x: Any, results: Any, better: Any, zeros: dict[float, float]) -> Any:
    """Differences of the two widths, in units of float32; infinite for what is no number."""
    unit = better.view(np.int64) >> FIELD
    unit &= 0x7FF
    np.maximum(unit, FORM.lowest + OWN, out=unit)
    np.minimum(unit, FORM.highest - FORM.digits + OWN, out=unit)
    unit -= FORM.digits - 1
    unit <<= FIELD
    unit = unit.view(np.float64)
    for zero, scale in zeros.items():
        local = math.ldexp(1.0, max(math.frexp(scale)[1] - FORM.digits, FORM.lowest))
        near = np.abs(x - zero) < NEAR
        unit[near] = np.maximum(unit[near], local)
    beyond = math.ldexp(1.0, FORM.highest)
    with np.errstate(all="ignore"):
        distances = np.maximum(np.minimum(results.astype(np.float64), beyond), -beyond)
        distances -= np.maximum(np.minimum(better, beyond), -beyond)
        np.abs(distances, out=distances)
        distances /= unit
    distances[np.isnan(distances)] = np.inf
    return distances
