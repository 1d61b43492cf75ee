"""The table of scalar functions: a row a function, a column a backend.

In: a function's name in a ``Call``. Out: its row; how a backend spells it; the helpers that a
text needs for the spellings it used.

Guarantees: one row says everything about a function: what it is, the interval of its values, and
the measured error of the texts in units in the last place, which tests/codegen checks by
enumeration against 60-digit arithmetic. An empty cell is an ``UnsupportedFunction`` at compile
time, never a wrong call at run time. Every function gives NaN for a NaN argument, but for
``power``: x**0 and 1**y are 1 whatever x and y are, as in C and NumPy.

It does not derive, simplify or choose functions: derivatives live with the ops, above.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from types import ModuleType
from typing import Literal

from codegen import numba_helpers, numpy_helpers
from codegen.philox import random_bits

__all__ = [
    "FUNCTIONS",
    "NUMBA_HELPERS",
    "NUMPY_HELPERS",
    "OF_INTEGERS",
    "Function",
    "UnsupportedFunction",
    "function",
    "helper_source",
    "helpers_needed",
    "numba_spelling",
    "numpy_spelling",
    "python_callable",
]

INF = math.inf
Result = Literal["float", "bool", "argument", "integer"]


class UnsupportedFunction(NotImplementedError):  # noqa: N818 - says what is the matter
    """A function that is not in the table, or that the chosen backend does not have."""


@dataclass(frozen=True, slots=True)
class Function:
    """One row of the table.

    ``low`` and ``high`` enclose its exact values for real arguments. ``ulp`` bounds the error of
    every spelling in (float64, float32), in units in the last place of the exact value.
    ``smooth``: every derivative exists inside the domain. ``result`` is "argument" when integer
    arguments give an integer, "integer" where arguments and value are int64 (``OF_INTEGERS``).
    ``numpy`` is a callee on arrays (``np.exp``, or the name of a helper), ``numba`` one on numbers
    (``math.exp``, or a helper); ``python`` computes on floats and never raises.
    """

    name: str
    arity: int
    doc: str
    low: float
    high: float
    ulp: tuple[float, float]
    smooth: bool
    result: Result
    numpy: str | None
    numba: str | None
    python: Callable[..., float] | None


def _total(f: Callable[..., float], overflow: float = INF) -> Callable[..., float]:
    """``f`` of the math module, with NaN for a point outside its domain and inf for overflow."""

    def total(*args: float) -> float:
        try:
            return f(*args)
        except OverflowError:
            return overflow
        except ValueError:
            return math.nan

    return total


def _log(x: float) -> float:
    return math.nan if x < 0 else -INF if x == 0 else math.log(x)


def _log1p(x: float) -> float:
    return math.nan if x < -1 else -INF if x == -1 else math.log1p(x)


def _sigmoid(x: float) -> float:
    return math.exp(min(x, 0.0)) / (1 + math.exp(-abs(x)))


def _softplus(x: float) -> float:
    return x if math.isnan(x) else max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _sech2(x: float) -> float:
    e = math.exp(-2 * abs(x))
    return 4 * e / ((1 + e) * (1 + e))


def _square_error(x: float, square: float) -> float:
    """x*x/2 - square, exactly, of finite floats."""
    return float(Fraction(x) ** 2 / 2 - Fraction(square))


def _normal_cdf(x: float) -> float:
    if not -40 < x < 0:
        return 0.0 if x < 0 else 1 - math.erfc(x * math.sqrt(0.5)) / 2
    z = -x * math.sqrt(0.5)  # its rounding moves erfc by 2*z*z times as much: put back
    return math.erfc(z) / 2 * math.exp(2 * _square_error(z, z * z / 2) - _square_error(x, z * z))


def _normal_pdf(x: float) -> float:
    if not abs(x) < 40:
        return x * 0.0 if math.isnan(x) else 0.0
    half = x * x / 2
    return math.exp(-half) * math.exp(-_square_error(x, half)) / math.sqrt(2 * math.pi)


def _extremum(pick: Callable[[float, float], float]) -> Callable[[float, float], float]:
    return lambda x, y: x if math.isnan(x) else y if math.isnan(y) else pick(x, y)


def _sign(x: float) -> float:
    return x if math.isnan(x) else (x > 0) - (x < 0)


def _floor(x: float) -> float:
    return float(math.floor(x)) if math.isfinite(x) else x


def _ceil(x: float) -> float:
    return -_floor(-x)


def _round(x: float) -> float:
    return math.copysign(float(round(x)), x) if math.isfinite(x) else x


def _log2(x: float) -> float:
    return math.nan if x < 0 else -INF if x == 0 else math.log2(x)


def _sinh(x: float) -> float:
    return math.copysign(_total(math.sinh)(abs(x)), x)


def _atanh(x: float) -> float:
    return math.copysign(INF, x) if abs(x) == 1 else _total(math.atanh)(x)


def _rsqrt(x: float) -> float:
    return math.nan if x < 0 else math.copysign(INF, x) if x == 0 else 1 / math.sqrt(x)


def _logaddexp(x: float, y: float) -> float:
    if x == y or math.isnan(x) or math.isnan(y):
        return x + y * 0 + math.log(2) if math.isfinite(x) else x + y
    return max(x, y) + math.log1p(math.exp(-abs(x - y)))


def _power(x: float, y: float) -> float:
    try:
        return math.pow(x, y)
    except ValueError:  # a pole, or a fractional power of a negative number
        return INF if x == 0 else math.nan
    except OverflowError:
        return -INF if x < 0 and y % 2 == 1 else INF


def _rows() -> tuple[Function, ...]:
    def row(
        name: str,
        arity: int,
        doc: str,
        values: tuple[float, float],
        ulp: tuple[float, float],
        numpy: str,
        numba: str,
        python: Callable[..., float],
        smooth: bool = True,
        result: Result = "float",
    ) -> Function:
        return Function(name, arity, doc, *values, ulp, smooth, result, numpy, numba, python)

    real = (-INF, INF)
    kept: Result = "argument"
    return (
        row("exp", 1, "e**x", (0, INF), (1, 2.5), "np.exp", "math.exp", _total(math.exp)),
        row("expm1", 1, "e**x - 1", (-1, INF), (1, 2.5), "np.expm1", "math.expm1",
            _total(math.expm1)),
        row("log", 1, "natural logarithm", real, (1, 4), "np.log", "math.log", _log),
        row("log1p", 1, "log(1 + x)", real, (1, 2), "np.log1p", "math.log1p", _log1p),
        row("sqrt", 1, "square root", (0, INF), (0.5, 0.5), "np.sqrt", "math.sqrt",
            _total(math.sqrt)),
        row("sin", 1, "sine", (-1, 1), (1, 2), "np.sin", "math.sin", _total(math.sin)),
        row("cos", 1, "cosine", (-1, 1), (1, 2), "np.cos", "math.cos", _total(math.cos)),
        row("tanh", 1, "hyperbolic tangent", (-1, 1), (2, 2), "np.tanh", "math.tanh", math.tanh),
        row("sech2", 1, "1/cosh(x)**2", (0, 1), (4, 6), "sech2", "sech2", _sech2),
        row("sigmoid", 1, "1/(1 + exp(-x))", (0, 1), (3, 4), "sigmoid", "sigmoid", _sigmoid),
        row("log_sigmoid", 1, "log(sigmoid(x))", (-INF, 0), (2, 4), "log_sigmoid",
            "log_sigmoid", lambda x: -_softplus(-x)),
        row("softplus", 1, "log(1 + exp(x))", (0, INF), (2, 4), "softplus", "softplus", _softplus),
        row("erf", 1, "error function", (-1, 1), (3, 4), "erf", "math.erf", math.erf),
        row("erfc", 1, "1 - erf(x)", (0, 2), (4, 5), "erfc", "math.erfc", math.erfc),
        row("normal_cdf", 1, "erfc(-x/sqrt(2))/2", (0, 1), (4, 5), "normal_cdf",
            "normal_cdf", _normal_cdf),
        row("normal_pdf", 1, "exp(-x**2/2)/sqrt(2*pi)", (0, 0.4), (4, 5), "normal_pdf",
            "normal_pdf", _normal_pdf),
        row("exp2", 1, "2**x", (0, INF), (1, 2), "np.exp2", "np.exp2", _total(lambda x: 2.0**x)),
        row("log2", 1, "logarithm to base 2", real, (2, 4), "np.log2", "math.log2", _log2),
        row("tan", 1, "tangent", real, (1, 4), "np.tan", "math.tan", _total(math.tan)),
        row("asin", 1, "inverse of the sine", (-1.6, 1.6), (1, 4), "np.arcsin", "math.asin",
            _total(math.asin)),
        row("acos", 1, "inverse of the cosine", (0, 3.2), (1, 4), "np.arccos", "math.acos",
            _total(math.acos)),
        row("atan", 1, "inverse of the tangent", (-1.6, 1.6), (1, 4), "np.arctan", "math.atan",
            math.atan),
        row("atan2", 2, "angle of the point (y, x)", (-3.2, 3.2), (1, 4), "np.arctan2",
            "math.atan2", math.atan2),
        row("sinh", 1, "hyperbolic sine", real, (2, 4), "np.sinh", "math.sinh", _sinh),
        row("cosh", 1, "hyperbolic cosine", (1, INF), (1, 4), "np.cosh", "math.cosh",
            _total(math.cosh)),
        row("asinh", 1, "inverse of sinh", real, (2, 4), "np.arcsinh", "math.asinh", math.asinh),
        row("acosh", 1, "inverse of cosh", (0, INF), (2, 4), "np.arccosh", "math.acosh",
            _total(math.acosh)),
        row("atanh", 1, "inverse of tanh", real, (2, 4), "np.arctanh", "math.atanh", _atanh),
        row("cbrt", 1, "cube root", real, (3, 4), "np.cbrt", "np.cbrt", math.cbrt),
        row("rsqrt", 1, "1/sqrt(x)", (0, INF), (2, 2), "rsqrt", "rsqrt", _rsqrt),
        row("hypot", 2, "sqrt(x**2 + y**2)", (0, INF), (1, 2), "np.hypot",
            "math.hypot", math.hypot),
        row("logaddexp", 2, "log(exp(x) + exp(y))", real, (2, 4), "np.logaddexp", "logaddexp",
            _logaddexp),
        row("abs", 1, "|x|", (0, INF), (0, 0), "np.abs", "abs", abs, False, kept),
        row("sign", 1, "-1, 0 or 1", (-1, 1), (0, 0), "np.sign", "sign", _sign, False, kept),
        row("floor", 1, "greatest integer not above x", real, (0, 0), "np.floor", "np.floor",
            _floor, False, kept),
        row("ceil", 1, "least integer not below x", real, (0, 0), "np.ceil", "np.ceil",
            _ceil, False, kept),
        row("round", 1, "nearest integer, the even one of two", real, (0, 0), "np.rint", "np.rint",
            _round, False, kept),
        row("maximum", 2, "the greater", real, (0, 0), "np.maximum", "maximum",
            _extremum(max), False, kept),
        row("minimum", 2, "the lesser", real, (0, 0), "np.minimum", "minimum",
            _extremum(min), False, kept),
        row("power", 2, "x**y", real, (1, 2), "np.power", "math.pow", _power),
        row("strong_mul", 2, "g*d, exactly 0 where g is 0", real, (0.5, 0.5), "strong_mul",
            "strong_mul", lambda g, d: 0.0 if g == 0 else g * d),
        row("isnan", 1, "whether x is not a number", (0, 1), (0, 0), "np.isnan", "math.isnan",
            math.isnan, False, "bool"),
    )  # fmt: skip


FUNCTIONS: dict[str, Function] = {f.name: f for f in _rows()}  # of floats
OF_INTEGERS: dict[str, Function] = {
    f.name: f
    for f in (
        Function(
            "random_bits", 2, "32 bits of a draw's number and a place, by Philox4x32-10",
            0, 2**32 - 1, (0, 0), False, "integer", "random_bits", "random_bits", random_bits,
        ),
    )
}  # fmt: skip
NUMPY_HELPERS: tuple[str, ...] = tuple(numpy_helpers.__all__)
NUMBA_HELPERS: tuple[str, ...] = tuple(numba_helpers.__all__)


def function(name: str) -> Function:
    """The row of that name; UnsupportedFunction when there is none."""
    found = FUNCTIONS.get(name) or OF_INTEGERS.get(name)
    if found is None:
        known = ", ".join(FUNCTIONS)
        raise UnsupportedFunction(f"there is no scalar function {name!r:.60}; known: {known}")
    return found


def _no_cell(name: str, backend: str) -> UnsupportedFunction:
    return UnsupportedFunction(
        f"the {backend} backend does not have the scalar function {name}: "
        "choose another backend, or write it with functions that it has"
    )


def numpy_spelling(name: str) -> str:
    """The callee in NumPy text: ``np.exp``, or the name of a helper to print in the module."""
    cell = function(name).numpy
    if cell is None:
        raise _no_cell(name, "numpy")
    return cell


def numba_spelling(name: str) -> str:
    """The callee on one number in Numba text: ``math.exp``, or the name of a helper."""
    cell = function(name).numba
    if cell is None:
        raise _no_cell(name, "numba")
    return cell


def python_callable(name: str) -> Callable[..., float]:
    """The function on Python floats, for interpreters."""
    cell = function(name).python
    if cell is None:
        raise _no_cell(name, "python")
    return cell


@cache
def helper_source(name: str, library: ModuleType = numpy_helpers) -> str:
    """The source of one helper of a text's library, without a trailing newline."""
    return inspect.getsource(getattr(library, name)).rstrip()


def helpers_needed(names: Iterable[str], library: ModuleType = numpy_helpers) -> tuple[str, ...]:
    """Those of ``names`` that are helpers, and all that they call, each before its first use."""
    known: tuple[str, ...] = tuple(library.__all__)
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in order:
            return
        for word in getattr(library, name).__code__.co_names:
            if word in known:
                visit(word)
        order[name] = None

    for name in sorted(set(names) & set(known)):
        visit(name)
    return tuple(order)
