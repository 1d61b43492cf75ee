"""Simple relations between two values that differ: what a teacher would say at a glance.

In: the two arrays at several points, with the sizes there, and the arrays of other values of the
same shape. Out: one sentence that holds at every point handed in, or "".

    yours is minus theirs                 yours is batch times theirs: divide by batch
    yours is 2 times theirs               yours is theirs plus 1
    yours is the transpose of theirs      theirs is yours times relu'(hidden): a factor is missing

Guarantees: exact to the digits of the arithmetic it is handed; the first relation of ``RELATIONS``
that holds everywhere is told, the same at every run; none of two that agree to those digits.

It proves nothing: the sentence says where it was seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np

__all__ = ["RELATIONS", "Seen", "close", "relation", "where_zero"]

DIGITS = 25  # to which a relation must hold: far beyond chance, far within the arithmetic
LARGEST = 1000  # denominators of a ratio worth naming


@dataclass(frozen=True)
class Seen:
    """Two arrays at one point, the sizes there, and other values of the same shape by title."""

    mine: Any
    theirs: Any
    sizes: Mapping[str, int]
    others: Mapping[str, Any]


def close(a: Any, b: Any) -> bool:
    """Two finite numbers equal to ``DIGITS``."""
    return bool(abs(a - b) <= max(abs(a), abs(b)) * 10**-DIGITS)


def _equal(a: Any, b: Any) -> bool:
    return np.shape(a) == np.shape(b) and all(map(close, np.ravel(a), np.ravel(b)))


def relation(seen: Sequence[Seen]) -> str:
    """The first simple relation that holds at every point; "" where none does."""
    if all(_equal(s.mine, s.theirs) for s in seen):  # no relation tells the two apart
        return ""
    for rule in RELATIONS:
        found = rule(seen)
        if found:
            return found
    return ""


def _always_zero(seen: Sequence[Seen]) -> str:
    for title, arrays in (("yours", [s.mine for s in seen]), ("theirs", [s.theirs for s in seen])):
        if all(x == 0 for a in arrays for x in np.ravel(a)):
            return f"{title} is 0"
    return ""


def _ratios(seen: Sequence[Seen]) -> list[Any] | None:
    """Mine over theirs, one number a point; None where that is not one number."""
    found = []
    for s in seen:
        pairs = list(zip(np.ravel(s.mine), np.ravel(s.theirs), strict=True))
        if any(b == 0 and a != 0 for a, b in pairs):
            return None
        ratios = [a / b for a, b in pairs if b != 0]
        if not ratios:
            continue
        if not all(close(r, ratios[0]) for r in ratios):
            return None
        found.append((s, ratios[0]))
    return found or None


def _scaled(seen: Sequence[Seen]) -> str:
    """A constant ratio, or one that is a size."""
    found = _ratios(seen)
    if found is None:
        return ""
    plain = _constant([r for _, r in found])
    if plain is not None:
        return _times(plain)
    for title, size in _sizes(seen):
        for over in (False, True):
            values = [r * size(s) if over else r / size(s) for s, r in found]
            k = _constant(values)
            if k is not None:
                return _by_size(k, title, over)
    return ""


def _constant(values: Sequence[Any]) -> Fraction | None:
    """The simple fraction that all values are."""
    if not all(close(v, values[0]) for v in values):
        return None
    guess = Fraction(float(values[0])).limit_denominator(LARGEST)
    exact = guess and close(values[0] * guess.denominator, values[0] * 0 + guess.numerator)
    return guess if exact else None


def _sizes(seen: Sequence[Seen]) -> Iterator[tuple[str, Callable[[Seen], int]]]:
    """The free dimensions whose size changed, and the products of two."""
    names = [n for n in seen[0].sizes if len({s.sizes[n] for s in seen}) > 1]
    for n in names:
        yield n, lambda s, n=n: s.sizes[n]  # type: ignore[misc]
    for n, m in combinations(names, 2):
        yield f"{n}*{m}", lambda s, n=n, m=m: s.sizes[n] * s.sizes[m]  # type: ignore[misc]


def _times(k: Fraction) -> str:
    """yours is k times theirs."""
    if k == -1:
        return "yours is minus theirs: change the sign"
    if abs(k.numerator) == 1 and k.denominator > 1:
        sign = "minus " if k < 0 else ""
        return f"yours is theirs divided by {sign}{k.denominator}"
    return f"yours is {k} times theirs"


def _by_size(k: Fraction, title: str, over: bool) -> str:
    head = "" if k == 1 else "minus " if k == -1 else f"{k} times "
    if over:
        whole = "theirs" if k == 1 else f"{head}theirs"
        return f"yours is {whole} divided by {title}: multiply by {title}"
    if k == 1:
        return f"yours is {title} times theirs: divide by {title}"
    return f"yours is {head}{title} times theirs"


def _shifted(seen: Sequence[Seen]) -> str:
    """A constant difference."""
    gaps = [a - b for s in seen for a, b in zip(np.ravel(s.mine), np.ravel(s.theirs), strict=True)]
    k = _constant(gaps) if gaps else None
    if not k:
        return ""
    return f"yours is theirs {'plus' if k > 0 else 'minus'} {abs(k)}"


def _transposed(seen: Sequence[Seen]) -> str:
    """The same numbers, rows and columns exchanged."""
    if np.ndim(seen[0].mine) != 2 or not all(_equal(s.mine, np.transpose(s.theirs)) for s in seen):
        return ""
    return "yours is the transpose of theirs"


def _factor(seen: Sequence[Seen]) -> str:
    """One is the other times, or plus, a value that has a name."""
    for title in seen[0].others:
        for whole, part, forms in (
            ("theirs", "yours", [(s.theirs, s.mine, s.others[title]) for s in seen]),
            ("yours", "theirs", [(s.mine, s.theirs, s.others[title]) for s in seen]),
        ):
            word = "is missing" if whole == "theirs" else "is too many"
            if all(_equal(w, p * o) for w, p, o in forms):
                return f"{whole} is {part} times {title}: a factor {word}"
            if all(_equal(w, p + o) for w, p, o in forms):
                return f"{whole} is {part} plus {title}: a term {word}"
    return ""


def _signs(seen: Sequence[Seen]) -> str:
    """The same magnitudes."""
    if all(_equal(abs(np.asarray(s.mine)), abs(np.asarray(s.theirs))) for s in seen):
        return "yours equals theirs but for the sign of some elements"
    return ""


RELATIONS: tuple[Callable[[Sequence[Seen]], str], ...] = (
    _always_zero, _scaled, _shifted, _transposed, _factor, _signs
)  # fmt: skip


def where_zero(differ: Sequence[Any], others: Sequence[Mapping[str, Any]]) -> str:
    """The value that is exactly 0 where, and only where, the two differ; "" for none."""
    for title in others[0] if others else ():
        if all(
            np.shape(mask) == np.shape(found[title]) and np.array_equal(mask, found[title] == 0)
            for mask, found in zip(differ, others, strict=True)
        ):
            return title
    return ""
