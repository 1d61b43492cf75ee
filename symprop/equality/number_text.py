"""Numbers and arrays of a counterexample as text.

In: numbers of Python, NumPy or mpmath. Out: words.

Guarantees: every digit that is printed is a digit of the number; two numbers that differ are
printed so that they differ, or with their difference where that takes too many digits.
"""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np

__all__ = ["array_text", "both_text", "number_text"]

SHOWN = 12  # elements of an array printed in full
DIGITS = (6, 12, 20)  # tried until two numbers differ; more than that nobody reads
EXACT = 4000  # digits in which two numbers are subtracted


def both_text(a: Any, b: Any) -> str:
    """Yours is 2 and theirs is 1; two that are next to each other with their difference."""
    for digits in DIGITS:
        first, second = number_text(a, digits), number_text(b, digits)
        if first != second:
            return f"yours is {first} and theirs is {second}"
    with mpmath.workdps(EXACT):
        gap = mpmath.mpf(a) - mpmath.mpf(b)
        size = number_text(abs(gap), 3)
    word = "more" if gap > 0 else "less"
    return f"both are {number_text(a)} when rounded, and yours is {size} {word} than theirs"


def number_text(x: Any, digits: int = 6) -> str:
    """Rounded to ``digits``; a whole number without a dot."""
    if isinstance(x, bool | int | np.integer | np.bool_):
        return str(int(x))
    if not mpmath.isfinite(x):
        return "nan" if mpmath.isnan(x) else "inf" if x > 0 else "-inf"
    with mpmath.workdps(digits + 10):
        text = str(mpmath.nstr(mpmath.mpf(x), digits, min_fixed=-5, max_fixed=9))
    return text.removesuffix(".0").replace(".0e", "e")


def array_text(x: Any) -> str:
    """[[1, 2], [0, 1]]; "" for an array too large to print."""
    a = np.asarray(x)
    if not a.ndim:
        return number_text(a[()])
    if a.size > SHOWN:
        flat = a.ravel()
        equal = all(v == flat[0] for v in flat)
        if not equal:
            return ""
        return f"{' by '.join(map(str, a.shape))} times {number_text(flat[0])}"
    return f"[{', '.join(array_text(row) for row in a)}]"
