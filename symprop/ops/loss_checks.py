"""What the losses share: equal shapes, targets in their range, names of roles.

In: expressions. Out: the same, checked, or a DeclarationError or ShapeError that names them.
"""

from __future__ import annotations

import math
from typing import Any

from codegen.index import Ix, as_ix, nonneg
from symprop import graph
from symprop.errors import DeclarationError, ShapeError, quoted
from symprop.expression import Expr, as_expr, describe, shape_text
from symprop.graph import FLOATS, INTS

__all__ = [
    "as_target",
    "called",
    "check_equal_shapes",
    "check_number",
    "difference",
    "labelled",
    "within",
]


def difference(loss: str, prediction: Any, target: Any) -> Expr:
    """prediction - target, of equal shapes."""
    a, b = as_expr(prediction), as_expr(target)
    check_equal_shapes(loss, "predictions and targets", a, b)
    return called("error", a - b)


def check_equal_shapes(loss: str, what: str, a: Expr, b: Expr) -> None:
    """Refuse shapes that differ; an extra axis of size 1, the usual slip, gets its cure."""
    if a.node.dims == b.node.dims:
        return
    long, short = (a, b) if a.ndim > b.ndim else (b, a)
    column = long.ndim == short.ndim + 1 and long.node.dims[-1].value == 1
    cure = f": write {long.name or 'x'}[..., 0] for the one with the extra axis" if column else ""
    raise ShapeError(
        f"{loss} needs {what} of equal shapes, got {shape_text(a)} from {describe(a)} and "
        f"{shape_text(b)} from {describe(b)} ({graph.place()}){cure}"
    )


def within(labels: Expr, classes: Ix) -> bool:
    """Whether the integers are known to be class numbers."""
    return nonneg(labels.node.low) and nonneg(classes - 1 - labels.node.high)


def called(word: str, x: Expr) -> Expr:
    """The value, with a role for a name where the user gives none."""
    graph.suggest(x.node, word)
    return x


def as_target(loss: str, target: Any) -> Expr:
    """A target 0 or 1, as a float: of labels of two classes, booleans or floats."""
    wanted = as_expr(target)
    if wanted.dtype in INTS and not within(wanted, as_ix(2)):
        raise DeclarationError(
            f"{loss} needs targets 0 or 1, but {describe(wanted)} holds "
            f"{wanted.node.low!r} .. {wanted.node.high!r}: declare it with "
            "prop.labels(name, dims, classes=2), or use prop.cross_entropy"
        )
    return wanted if wanted.dtype in FLOATS else wanted.astype("float")


def labelled(loss: str, logits: Expr, labels: Expr) -> None:
    """Refuse labels that do not name a class of each row of scores."""
    if logits.ndim == 0 or logits.node.dims[:-1] != labels.node.dims:
        raise ShapeError(
            f"{loss} needs logits [.., classes] and labels [..], got {shape_text(logits)} "
            f"from {describe(logits)} and {shape_text(labels)} from {describe(labels)} "
            f"({graph.place()})"
        )
    classes = logits.node.dims[-1]
    if not within(labels, classes):
        raise ShapeError(
            f"{describe(labels)} holds {labels.node.low!r} .. {labels.node.high!r}, but "
            f"{describe(logits)} has {classes!r} classes ({graph.place()})"
        )


def check_number(
    name: str, value: Any, low: float = 0.0, high: float = math.inf, ends: bool = False
) -> None:
    """Refuse what is not a number between two others; the ends belong to them with `ends`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and (low <= value <= high and value < math.inf if ends else low < value < high):
        return
    if high == math.inf:
        wanted = "a number, 0 or more" if ends else "a positive number"
    else:
        wanted = f"a number from {low:g} to {high:g}" + ("" if ends else ", the ends left out")
    raise DeclarationError(f"{name} must be {wanted}, but is {quoted(value)}")
