"""Losses: one number that says how wrong the predictions are, for training to make smaller.

In: predictions and targets, as expressions or arrays. Out: a scalar expression, the mean over all
elements (for `cross_entropy`: over all examples). Another mean is one line with other functions.
Guarantees: the formulas are torch's with its default reduction; shapes must be equal, nothing is
broadcast (a column against a row would silently compare everything with everything); values and
gradients are finite for finite arrays whose squares are. Losses of classes take logits, never
probabilities, whose logarithm would be lost where they are rounded to 0 or 1.

Nothing downstream knows these names: a loss is the nodes below, its gradient is derived from them.
"""

from __future__ import annotations

import math
from typing import Any

from codegen.index import Ix, as_ix, gather, nonneg
from symprop import graph
from symprop import term as t
from symprop.errors import DeclarationError, ShapeError, quoted
from symprop.expression import Expr, as_expr, describe, finish, shape_text
from symprop.graph import FLOATS, INTS, At
from symprop.make import fresh, make
from symprop.ops import elementwise as ops
from symprop.ops.composite import logsumexp
from symprop.ops.structural import mean, where
from symprop.ops.structural import sum as total

__all__ = ["LOSSES", "binary_cross_entropy", "cross_entropy", "huber", "mae", "mse"]


def mse(prediction: Any, target: Any) -> Expr:
    """Mean squared error: the mean of (prediction - target)**2; shapes must be equal."""
    error = difference("mse", prediction, target)
    return called("mse", mean(error * error))


def mae(prediction: Any, target: Any) -> Expr:
    """Mean absolute error: the mean of |prediction - target|; shapes must be equal.

    Convention at the kink: where both are equal the derivative is 0.
    """
    return called("mae", mean(ops.abs(difference("mae", prediction, target))))


def huber(prediction: Any, target: Any, delta: float = 1.0) -> Expr:
    """Squared error near the target, absolute error far from it; shapes must be equal.

        e**2 / 2                  where |e| <= delta      e = prediction - target
        delta * (|e| - delta/2)   elsewhere

    Both branches and their slopes meet at |e| = delta: the derivative, e held between -delta and
    delta, has no jump. P. J. Huber, Robust estimation of a location parameter, 1964.
    """
    if not isinstance(delta, int | float) or isinstance(delta, bool) or not 0 < delta < math.inf:
        raise DeclarationError(f"delta must be a positive number, but is {quoted(delta)}")
    error = difference("huber", prediction, target)
    size = ops.abs(error)
    near, far = error * error / 2, delta * (size - delta / 2)
    return called("huber", mean(where(size <= delta, near, far)))


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


def binary_cross_entropy(logits: Any, target: Any) -> Expr:
    """Mean of softplus(z) - target*z over all elements, z a logit; shapes must be equal.

    The negative logarithm of the probability sigmoid(z) of a 1, or 1 - sigmoid(z) of a 0, written
    so that it neither overflows nor takes the logarithm of 0; as in torch's
    binary_cross_entropy_with_logits. The derivative in z is (sigmoid(z) - target) / elements.

    In: logits; targets 0 or 1 as floats, booleans or `prop.labels(..., classes=2)`; floats between
    0 and 1 are probabilities. Raises DeclarationError for integers that may be other than 0 and 1.
    """
    z, wanted = as_expr(logits), as_expr(target)
    check_equal_shapes("binary_cross_entropy", "logits and targets", z, wanted)
    if wanted.dtype in INTS and not within(wanted, as_ix(2)):
        raise DeclarationError(
            f"binary_cross_entropy needs targets 0 or 1, but {describe(wanted)} holds "
            f"{wanted.node.low!r} .. {wanted.node.high!r}: declare it with "
            "prop.labels(name, dims, classes=2), or use prop.cross_entropy"
        )
    if wanted.dtype not in FLOATS:
        wanted = wanted.astype("float")
    return called("binary_cross_entropy", mean(ops.softplus(z) - wanted * z))


def cross_entropy(logits: Any, target: Any) -> Expr:
    """Mean over all leading axes of the negative log probability of the target, classes last.

        integer labels [..]                logsumexp(z) - z[label]
        float probabilities [.., classes]  sum over classes of target * (logsumexp(z) - z)

    where z are the logits: softmax is taken here, not before. As torch's cross_entropy, but with
    the classes on the last axis. The derivative in z for labels: (softmax(z) - onehot) / examples.

    Raises ShapeError when the shapes do not fit, DeclarationError for labels that are neither
    integers nor floats or may leave the classes.
    """
    z, wanted = as_expr(logits), as_expr(target)
    if wanted.dtype in INTS:
        return called("cross_entropy", mean(surprise(z, wanted)))
    if wanted.dtype not in FLOATS or (wanted.ndim and wanted.node.dims == z.node.dims[:-1]):
        raise DeclarationError(
            f"cross_entropy needs integer labels [..] or float probabilities [.., classes], but "
            f"{describe(wanted)} is {wanted.dtype} of shape {shape_text(wanted)}: declare labels "
            "with prop.labels(name, dims, classes=...)"
        )
    check_equal_shapes("cross_entropy", "logits and float probabilities", z, wanted)
    if not z.ndim:
        raise ShapeError(f"cross_entropy needs logits [.., classes], got none from {describe(z)}")
    spread = wanted * (logsumexp(z, -1, keepdims=True) - z)
    return called("cross_entropy", mean(total(spread, -1)))


def surprise(logits: Expr, labels: Expr) -> Expr:
    """logsumexp(logits) - logits[label] of every example."""
    if logits.ndim == 0 or logits.node.dims[:-1] != labels.node.dims:
        raise ShapeError(
            f"cross_entropy needs logits [.., classes] and labels [..], got {shape_text(logits)} "
            f"from {describe(logits)} and {shape_text(labels)} from {describe(labels)} "
            f"({graph.place()})"
        )
    classes = logits.node.dims[-1]
    if not within(labels, classes):
        raise ShapeError(
            f"{describe(labels)} holds {labels.node.low!r} .. {labels.node.high!r}, but "
            f"{describe(logits)} has {classes!r} classes ({graph.place()})"
        )
    rows = fresh(logits.node.dims[:-1])
    at = tuple(item.ix() for item in rows)
    read = At(logits.node, (*at, gather(labels.node, at)))
    chosen = make("sum", rows, len(rows), (), t.read(0), [read], logits.dtype)
    return logsumexp(logits, -1) - finish(chosen, "index", [logits, labels])


def within(labels: Expr, classes: Ix) -> bool:
    """Whether the integers are known to be class numbers."""
    return nonneg(labels.node.low) and nonneg(classes - 1 - labels.node.high)


def called(word: str, x: Expr) -> Expr:
    """The value, with a role for a name where the user gives none."""
    graph.suggest(x.node, word)
    return x


# Every loss, by the name under which `symprop` exports it.
LOSSES = {f.__name__: f for f in (mse, mae, huber, binary_cross_entropy, cross_entropy)}
