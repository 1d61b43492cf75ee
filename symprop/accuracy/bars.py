"""What was asked of the loop backends, and whether it was reached.

In: a `Report`. Out: `bar` and `verdict` of a row; `MISSES`, why a row misses its bar.

The bars are of functions of one argument: float32, 1 unit for an op and 2 for its first derivative;
float64, 2 and 4. Where a derivative vanishes between floats the unit is that of the local scale.
The second and third derivatives, ops that are declared as a derivative of another (whose first
derivative has the bar), functions of several arguments, and NumPy, whose functions are its own,
are measured without a bar.
"""

from __future__ import annotations

from symprop.accuracy.record import Report, Row
from symprop.ops.declare import REGISTRY

__all__ = ["ALLOWED", "HALF", "MISSES", "bar", "missed", "verdict"]

LOOPS = ("native", "numba", "numba-cuda")
BARS = {("float32", 0): 1.0, ("float32", 1): 2.0, ("float64", 0): 2.0, ("float64", 1): 4.0}
ALLOWED = 6  # rows that may miss
HALF = 0.001  # the correctly rounded result of a midpoint is not told from its neighbour

MISSES: dict[tuple[str, int], str] = {}
"""Why a row misses, by op and order."""


def bar(row: Row) -> float | None:
    """The largest error that was asked for."""
    op = REGISTRY.get(row.op)
    if row.backend not in LOOPS or op is None or op.arity != 1 or op.declaration.derivative_of:
        return None
    return BARS.get((row.dtype, row.order))


def verdict(row: Row) -> bool | None:
    """Whether the bar was reached; None where there is none."""
    asked = bar(row)
    return None if asked is None else row.max is not None and row.max <= asked + HALF


def missed(report: Report) -> list[Row]:
    """The rows that miss."""
    return [row for row in report.rows if verdict(row) is False]
