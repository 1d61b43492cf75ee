"""The polynomials of ``symprop.ops.fits``, fitted at 60 digits: run as a script, it rewrites them.

In: nothing. Out: ``symprop/ops/fits.py``. Each polynomial interpolates at Chebyshev's nodes, with
the fewest coefficients that keep its error below ``ERROR`` of its value.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath

from symprop.ops.reference import PRIMITIVES

CTX = mpmath.mp.clone()
CTX.dps = 60
ORDERS = 4  # of the scaled complementary error function
ERROR = CTX.mpf(2) ** -56
HEAD = '''"""Coefficients of polynomials in evaluations of ops, as tests/fit_ops.py wrote them.

In: nothing. Out: the tuples below, the constant first; ``polynomial``, which evaluates one.
Guarantees: within their intervals the polynomials keep 16 digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symprop.formula import exact

DIGITS = 16  # to which a form with such a polynomial is its formula


def polynomial(coefficients: Sequence[float], x: Any) -> Any:
    """The polynomial of a symbolic scalar, by Horner's rule."""
    total = exact(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = exact(c) + x * total
    return total


'''


def fitted(f: Callable[[Any], Any], low: Any, high: Any) -> list[Any]:
    """Coefficients in x of the shortest interpolation of f on [low, high] that keeps ERROR."""
    for count in range(4, 60):
        middle, half = (CTX.mpf(low) + high) / 2, (CTX.mpf(high) - low) / 2
        nodes = [middle + half * CTX.cos(CTX.pi * (2 * k + 1) / (2 * count)) for k in range(count)]
        powers = CTX.matrix(count, count)
        for i, x in enumerate(nodes):
            for j in range(count):
                powers[i, j] = x**j
        found = list(CTX.lu_solve(powers, CTX.matrix([f(x) for x in nodes])))
        grid = [low + (high - low) * CTX.mpf(k) / 200 for k in range(201)]
        worst = max(abs(CTX.polyval(found[::-1], x) / f(x) - 1) for x in grid)
        if worst < ERROR:
            return found
    raise ValueError(f"no fit of 60 coefficients on [{low}, {high}]")


def _atan(square: Any) -> Any:
    """(atan(t) - t)/t**3 of t**2."""
    t = CTX.sqrt(square)
    return (CTX.atan(t) - t) / t**3 if t > CTX.mpf(10) ** -12 else -CTX.one / 3 + square / 5


def _lgamma(u: Any) -> Any:
    """lgamma(2 + u)/(u*(1 + u)), which has no zero."""
    if abs(u) < CTX.mpf(10) ** -20:
        return 1 - CTX.euler
    return CTX.loggamma(2 + u).real / (u * (1 + u))


def _sinc(square: Any) -> Any:
    """sin(pi*r)/(pi*r) of r**2."""
    return CTX.sincpi(CTX.sqrt(square))


def _log_cosh(square: Any) -> Any:
    """log(cosh(a))/a**2 of a**2."""
    a = CTX.sqrt(square)
    near = CTX.mpf(1) / 2 - square / 12 + square**2 / 45
    return CTX.log(CTX.cosh(a)) / square if a > CTX.mpf(10) ** -9 else near


def _cos_pi(square: Any) -> Any:
    """cos(pi*r)/(1/4 - r**2) of r**2, which has no zero."""
    rest = CTX.mpf(1) / 4 - square
    return CTX.cospi(CTX.sqrt(square)) / rest if abs(rest) > CTX.mpf(10) ** -20 else CTX.pi


ROOT = CTX.findroot(CTX.digamma, 1.4616321449683623)


def _digamma(u: Any) -> Any:
    """digamma(1.5 + u)/(1.5 + u - its root)."""
    x = CTX.mpf(1.5) + u
    return CTX.psi(0, x) / (x - ROOT) if abs(x - ROOT) > CTX.mpf(10) ** -20 else CTX.psi(1, x)


def _erfcx(order: int) -> Callable[[Any], Any]:
    """The member of that order times (1 + 2*x)**(order + 1), of t = (x - 4)/(x + 4)."""

    def value(t: Any) -> Any:
        if t >= 1:
            return 2 / CTX.sqrt(CTX.pi)
        x = 4 * (1 + t) / (1 - t)
        return PRIMITIVES["erfcx"](CTX, x, Fraction(order)) * (1 + 2 * x) ** (order + 1)

    return value


def tables() -> dict[str, list[Any]]:
    """Every polynomial by its name."""
    tan = CTX.tan(CTX.pi / 8) * CTX.mpf("1.001")
    half = CTX.mpf("0.501")
    return {
        "ATAN": fitted(_atan, CTX.mpf(0), tan**2),
        "SINC": fitted(_sinc, CTX.mpf(0), CTX.mpf(1) / 4),
        "COS_PI": fitted(_cos_pi, CTX.mpf(0), CTX.mpf(1) / 4),
        "LOG_COSH": fitted(_log_cosh, CTX.mpf(0), CTX.mpf(9) / 4),
        "LGAMMA": fitted(_lgamma, -half, half),
        "DIGAMMA": fitted(_digamma, -half, half),
    }


def main() -> None:
    """Write the module."""
    high = CTX.mpf(round(float(ROOT) * 2**20)) / 2**20
    numbers = {
        "TAN_PI_8": CTX.tan(CTX.pi / 8),
        "DIGAMMA_ROOT": high,
        "DIGAMMA_ROOT_REST": ROOT - high,
    }
    text = HEAD + "".join(f"{name} = {float(x)!r}\n" for name, x in numbers.items())
    for name, found in tables().items():
        text += f"{name} = (\n" + "".join(f"    {float(c)!r},\n" for c in found) + ")\n"
    text += "ERFCX = (\n"
    for order in range(ORDERS):
        found = fitted(_erfcx(order), CTX.mpf(-1), CTX.mpf(1))
        text += "    (\n" + "".join(f"        {float(c)!r},\n" for c in found) + "    ),\n"
    text += ")\n"
    path = Path(__file__).resolve().parent.parent / "symprop" / "ops" / "fits.py"
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
