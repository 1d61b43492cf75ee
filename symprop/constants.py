"""Numbers that do not fit the float they are computed in: refused, for every backend.

In: the formula of a value, or the data of a constant; the dtype; the user's place. Out: nothing, or
an UnsupportedError in one sentence.

Guarantees: only what would become infinite is refused; an infinity that the user wrote stays one,
and a number too small to tell from 0 is rounded, as all are.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context
from fractions import Fraction

from codegen.program import Dtype, Number, Scalar, walk
from symprop.errors import UnsupportedError, at

__all__ = ["check_data", "check_formula"]

# The least numbers that round to infinity: half a step above the greatest ones.
_BEYOND = {
    "float32": Fraction(2) ** 128 - Fraction(2) ** 103,
    "float64": Fraction(2) ** 1024 - Fraction(2) ** 970,
}


def check_formula(body: Scalar, dtype: Dtype, place: str) -> None:
    """Refuses a number inside a formula that is computed in ``dtype``."""
    _check((s.value for s in walk(body) if isinstance(s, Number)), dtype, place)


def check_data(data: Iterable[float | int], dtype: Dtype, place: str) -> None:
    """Refuses an element of a constant array that is stored in ``dtype``."""
    finite = (v for v in data if v - v == 0)  # neither infinite nor NaN
    _check((Fraction(v) for v in finite), dtype, place)


def _check(values: Iterable[object], dtype: Dtype, place: str) -> None:
    beyond = _BEYOND.get(dtype)
    if beyond is None:
        return
    for value in values:
        if isinstance(value, Fraction) and abs(value) >= beyond:
            few = Context(prec=6)
            shown = few.divide(few.create_decimal(value.numerator), value.denominator)
            mend = 'compile with dtype="float64" or scale it' if dtype == "float32" else "scale it"
            raise UnsupportedError(
                f"the constant {str(shown.normalize()).lower()}{at(place)} does not fit {dtype}: "
                f"{mend}"
            )
