"""A check from beginning to end.

In: a scalar loss, a training step or a trainer; values for some of its variables. Out: `Check`.

    1. a point at which the loss and all gradients are finite
    2. their exact values, and how far rounding may move them
    3. the order of each gradient's remainder; of a wrong one, the functions that are to blame
    4. every backend against the exact values

Guarantees: the model is not changed; the same seed gives the same check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mpmath
import numpy as np

from symprop.arguments import arguments
from symprop.checks.machines import available, shares
from symprop.checks.point import Point, candidates
from symprop.checks.report import Check, Row
from symprop.checks.slopes import wrong_slopes
from symprop.checks.taylor import DIGITS, Remainder, remainders
from symprop.errors import DataError, DeclarationError, quoted
from symprop.expression import Expr
from symprop.gradient import gradient
from symprop.graph import FLOATS, Leaf
from symprop.oracle import evaluate

__all__ = ["check", "loss_of", "parameters_of"]


def check(
    model: Any,
    at: Mapping[str, Any] | None = None,
    backends: Sequence[str] | None = None,
    seed: int = 0,
) -> Check:
    """Test the gradients of a model, without a step size or a tolerance to choose.

    Args:
        model: a scalar loss, a training step or a trainer.
        at: values for some variables, by name; the others are drawn. Free dimensions take small
            sizes, or those of these values.
        backends: those to compare; not said: all that can run here.
        seed: of the numbers that are drawn.

    Returns a report; `ok` says whether all is right, and `problems` what is not. Raises
    DeclarationError for what is no model or has no parameter, DataError where no point is found at
    which the loss is finite, or where the model is too large for the oracle.
    """
    loss = loss_of(model)
    parameters = parameters_of(loss)
    names = available(backends)
    gradients = list(gradient(loss, [Expr(p) for p in parameters]))
    results = [loss, *gradients]
    point, exact = _evaluated(results, at or {}, seed)
    by_leaf = dict(zip(parameters, exact[1:], strict=True))
    orders = remainders(loss.node, by_leaf, point, seed)
    found = shares(results, point, exact, names)
    name = loss.name or "the loss"
    rows = [Row(name, None, True, found[0])]
    for order, share in zip(orders, found[1:], strict=True):
        rows.append(Row(order.parameter, order.order, order.right, share))
    return Check(name, point.sizes, rows, _problems(loss, point, orders, rows))


def loss_of(model: Any) -> Expr:
    """The loss of what was handed in."""
    from symprop.training import Trainer, TrainingStep

    if isinstance(model, Trainer):
        model = model.training_step
    loss = model.loss if isinstance(model, TrainingStep) else model
    if not isinstance(loss, Expr) or loss.ndim or loss.dtype not in FLOATS:
        raise DeclarationError(
            "prop.check needs a scalar loss, a training step or a trainer, and got "
            f"{quoted(type(model).__name__)}: sum an expression that has dimensions"
        )
    return loss


def parameters_of(loss: Expr) -> list[Leaf]:
    """The parameters that a loss reads, in order."""
    found = [n for n in arguments([loss.node]) if n.kind == "parameter"]
    if not found:
        raise DeclarationError(
            "the loss reads no parameter, so it has no gradient to check: declare one with "
            "prop.parameter or use a layer"
        )
    return found


def _evaluated(
    results: Sequence[Expr], at: Mapping[str, Any], seed: int
) -> tuple[Point, list[Any]]:
    """A point at which everything is finite, and the exact values there."""
    roots = [r.node for r in results]
    for point in candidates(roots, at, seed):
        arrays = [np.asarray(v) for v in evaluate(roots, point.given, DIGITS)]
        if all(mpmath.isfinite(x) for a in arrays for x in a.flat):
            return point, arrays
    raise DataError(
        "the loss or a gradient is not finite at any point that was tried: give values for the "
        'inputs, such as prop.check(loss, at={"x": ...})'
    )


def _problems(
    loss: Expr, point: Point, orders: Sequence[Remainder], rows: Sequence[Row]
) -> list[str]:
    """What is wrong, in sentences."""
    wrong = [o for o in orders if not o.right]
    found = [
        f"the gradient of {quoted(o.parameter)} is not that of the loss: its remainder has order "
        f"{o.order:.3f} where 2 is expected"
        for o in wrong
    ]
    if wrong:
        slopes = wrong_slopes(loss.node, point)
        found += map(str, slopes)
        if not slopes:
            found.append(
                "no function of the model has a wrong derivative by itself: this is a fault of "
                "symprop, please report the model"
            )
    for row in rows:
        what = "the loss" if row.order is None else f"the gradient of {quoted(row.name)}"
        found += [
            f"{what} on {backend} in {dtype} is {share:.3g} times as far off as rounding can be"
            for (backend, dtype), share in row.shares.items()
            if not share <= 1
        ]
    return found
