"""Losses of classes: cross entropies, focal_loss, hinge_loss, kl_divergence.

In: logits (scores, for `hinge_loss`), the classes on the last axis; targets: labels [..], or
probabilities of the shape of the logits. Out: a scalar expression, a mean over examples.
Guarantees: those of `symprop.ops.losses`. Logits are never turned into probabilities whose
logarithm is then taken: log(softmax(z)) is z - logsumexp(z), log(sigmoid(z)) is -softplus(-z).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.index import gather
from symprop import graph
from symprop import term as t
from symprop.declarations import index
from symprop.errors import DeclarationError, ShapeError, quoted
from symprop.expression import Expr, as_expr, describe, finish, shape_text
from symprop.graph import FLOATS, INTS, At
from symprop.make import fresh, make
from symprop.ops import elementwise as ops
from symprop.ops.composite import plain_logsumexp
from symprop.ops.indexing import take
from symprop.ops.loss_checks import (
    as_target,
    called,
    check_equal_shapes,
    check_number,
    labelled,
)
from symprop.ops.powers import xlogy
from symprop.ops.structural import mean, power, where
from symprop.ops.structural import sum as total

__all__ = ["binary_cross_entropy", "cross_entropy", "focal_loss", "hinge_loss", "kl_divergence"]


def binary_cross_entropy(logits: Any, target: Any) -> Expr:
    """Mean of softplus(z) - target*z over all elements, z a logit; shapes must be equal.

    The negative logarithm of the probability sigmoid(z) of a 1, or 1 - sigmoid(z) of a 0, written
    so that it neither overflows nor takes the logarithm of 0; as in torch's
    binary_cross_entropy_with_logits. The derivative in z is (sigmoid(z) - target) / elements.

    In: logits; targets 0 or 1 as floats, booleans or `prop.labels(..., classes=2)`; floats between
    0 and 1 are probabilities. Raises DeclarationError for integers that may be other than 0 and 1.
    """
    z, given = as_expr(logits), as_expr(target)
    check_equal_shapes("binary_cross_entropy", "logits and targets", z, given)
    wanted = as_target("binary_cross_entropy", given)
    return called("binary_cross_entropy", mean(ops.softplus(z) - wanted * z))


def cross_entropy(
    logits: Any, target: Any, label_smoothing: float = 0.0, class_weights: Any = None
) -> Expr:
    """Mean over all leading axes of the negative log probability of the target, classes last.

        integer labels [..]                logsumexp(z) - z[label]
        float probabilities [.., classes]  sum over classes of target * (logsumexp(z) - z)

    where z are the logits: softmax is taken here, not before. As torch's cross_entropy, but with
    the classes on the last axis. The derivative in z for labels: (softmax(z) - onehot) / examples.

    With `label_smoothing` s the target is mixed with equal probabilities: (1 - s)*target +
    s/classes. C. Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7.

    `class_weights` (one number a class, 0 or more) multiply each class's part. Of labels the mean
    is then the weighted one, divided by the sum of the weights of the labels; of probabilities it
    is divided by the number of examples. Where no label of a batch has a weight the loss is 0.

    Raises ShapeError when the shapes do not fit, DeclarationError for labels that are neither
    integers nor floats or may leave the classes.
    """
    z, wanted = as_expr(logits), as_expr(target)
    check_number("label_smoothing", label_smoothing, 0.0, 1.0, ends=True)
    if wanted.dtype in INTS:
        return called("cross_entropy", of_labels(z, wanted, label_smoothing, class_weights))
    if wanted.dtype not in FLOATS or (wanted.ndim and wanted.node.dims == z.node.dims[:-1]):
        raise DeclarationError(
            f"cross_entropy needs integer labels [..] or float probabilities [.., classes], but "
            f"{describe(wanted)} is {wanted.dtype} of shape {shape_text(wanted)}: declare labels "
            "with prop.labels(name, dims, classes=...)"
        )
    check_equal_shapes("cross_entropy", "logits and float probabilities", z, wanted)
    if not z.ndim:
        raise ShapeError(f"cross_entropy needs logits [.., classes], got none from {describe(z)}")
    if label_smoothing:
        wanted = (1 - label_smoothing) * wanted + label_smoothing / z.shape[-1]
    if class_weights is not None:
        wanted = wanted * checked_weights(class_weights, z)
    spread = wanted * (plain_logsumexp(z, -1, keepdims=True) - z)
    return called("cross_entropy", mean(total(spread, -1)))


def of_labels(z: Expr, labels: Expr, smoothing: float, class_weights: Any) -> Expr:
    """The mean over examples, weighted by class where there are weights."""
    own = surprise(z, labels)
    if class_weights is None:
        if not smoothing:
            return mean(own)
        # The mean of logsumexp(z) - z over the classes.
        others = plain_logsumexp(z, -1) - mean(z, -1)
        return mean((1 - smoothing) * own + smoothing * others)
    weights = checked_weights(class_weights, z)
    weight = take(weights, labels)
    part = weight * own
    if smoothing:
        others = mean(weights * (plain_logsumexp(z, -1, keepdims=True) - z), -1)
        part = (1 - smoothing) * part + smoothing * others
    whole = called("weight", total(weight))
    found: Expr = where(whole > 0, total(part) / where(whole > 0, whole, 1.0), 0.0)
    return found


def checked_weights(given: Any, z: Expr) -> Expr:
    """One weight for each class; numbers that are negative or not finite are refused."""
    if not isinstance(given, Expr):
        array = np.asarray(given, dtype=float)
        if not (np.isfinite(array).all() and (array >= 0).all()):
            raise DeclarationError(f"class_weights must be 0 or more, but are {quoted(given)}")
        given = array
    weights = as_expr(given)
    if weights.node.dims != z.node.dims[-1:]:
        raise ShapeError(
            f"class_weights need one number for each of the classes of {describe(z)}, of shape "
            f"{shape_text(z)}, but have shape {shape_text(weights)} ({graph.place()})"
        )
    return weights


def surprise(logits: Expr, labels: Expr, loss: str = "cross_entropy") -> Expr:
    """logsumexp(logits) - logits[label] of every example."""
    labelled(loss, logits, labels)
    return plain_logsumexp(logits, -1) - at_label(logits, labels)


def at_label(scores: Expr, labels: Expr) -> Expr:
    """scores[label] of every example."""
    rows = fresh(scores.node.dims[:-1])
    at = tuple(item.ix() for item in rows)
    read = At(scores.node, (*at, gather(labels.node, at)))
    chosen = make("sum", rows, len(rows), (), t.read(0), [read], scores.dtype)
    return finish(chosen, "index", [scores, labels])


def focal_loss(logits: Any, target: Any, gamma: float = 2.0, alpha: float | None = None) -> Expr:
    """Cross entropy that counts less what is already right: mean of (1 - p)**gamma * -log(p).

        integer labels [..], logits [.., classes]   p = softmax(z)[label]
        targets of the shape of the logits          p = sigmoid(z) of a 1, 1 - sigmoid(z) of a 0

    With `alpha`, for targets of the shape of the logits, ones count alpha and zeros 1 - alpha.
    gamma is 0 or at least 1 (0: the cross entropy). T.-Y. Lin et al., Focal loss for dense object
    detection, ICCV 2017, equations 4 and 5; as torchvision's sigmoid_focal_loss with its mean.
    1 - p is computed from the logits, so that it keeps its digits where p is nearly 1.
    """
    z, wanted = as_expr(logits), as_expr(target)
    check_number("gamma", gamma, ends=True)
    if 0 < gamma < 1:
        raise DeclarationError(
            f"gamma must be 0 or at least 1, but is {gamma!r}: its slope has no bound at p = 1"
        )
    if wanted.dtype in INTS and wanted.node.dims == z.node.dims[:-1]:
        if alpha is not None:
            raise DeclarationError(
                "focal_loss takes alpha for targets 0 or 1 of the shape of the logits only"
            )
        own = surprise(z, wanted, "focal_loss")
        return called("focal_loss", mean(weighed(-ops.expm1(-own), gamma) * own))
    check_equal_shapes("focal_loss", "logits and targets", z, wanted)
    one = as_target("focal_loss", wanted)
    # Two terms that are not negative: softplus(z) - z would cancel where the prediction is right.
    entropy = one * ops.softplus(-z) + (1 - one) * ops.softplus(z)
    missing = one * ops.sigmoid(-z) + (1 - one) * ops.sigmoid(z)
    part = weighed(missing, gamma) * entropy
    if alpha is not None:
        check_number("alpha", alpha, 0.0, 1.0, ends=True)
        part = (alpha * one + (1 - alpha) * (1 - one)) * part
    return called("focal_loss", mean(part))


def weighed(missing: Expr, gamma: float) -> Expr:
    """(1 - p)**gamma, a whole power where it is one."""
    exponent = int(gamma) if float(gamma).is_integer() else gamma
    return as_expr(1.0) if exponent == 0 else power(missing, exponent)


def hinge_loss(scores: Any, target: Any, margin: float = 1.0) -> Expr:
    """How much scores lack of a margin.

        integer labels [..], scores [.., classes]   mean over examples of the sum over the other
                                                    classes of max(0, margin - s[label] + s)
        targets -1 or 1 of the shape of the scores  mean of max(0, margin - target*s)

    The first is divided by the number of classes too, as torch's multi_margin_loss; J. Weston and
    C. Watkins, Support vector machines for multi-class pattern recognition, 1999. Booleans and
    labels of two classes of the shape of the scores are targets: 0 counts as -1. The derivative is
    0 where the margin is met exactly.
    """
    s, wanted = as_expr(scores), as_expr(target)
    check_number("margin", margin)
    if wanted.dtype in INTS and wanted.node.dims == s.node.dims[:-1]:
        labelled("hinge_loss", s, wanted)
        own = at_label(s, wanted)[..., None]
        lacking = ops.relu(margin - own + s)
        others = wanted[..., None] != index(s.shape[-1])
        return called("hinge_loss", mean(total(where(others, lacking, 0.0), -1)) / s.shape[-1])
    check_equal_shapes("hinge_loss", "scores and targets", s, wanted)
    sign = wanted if wanted.dtype in FLOATS else 2 * as_target("hinge_loss", wanted) - 1
    return called("hinge_loss", mean(ops.relu(margin - sign * s)))


def kl_divergence(logits: Any, target: Any) -> Expr:
    """Mean over all leading axes of sum(t * (log t - log softmax(z))): how far softmax(z) is from
    the probabilities t of the last axis; 0 * log 0 is 0. As torch's kl_div of log_softmax(z) with
    reduction="batchmean", where there is one leading axis.

    The gradient in z is that of `cross_entropy`, from which it differs by the entropy of t.
    S. Kullback and R. A. Leibler, On information and sufficiency, 1951.
    """
    z, wanted = as_expr(logits), as_expr(target)
    check_equal_shapes("kl_divergence", "logits and probabilities", z, wanted)
    if not z.ndim:
        raise ShapeError(f"kl_divergence needs logits [.., classes], got none from {describe(z)}")
    spread = xlogy(wanted, wanted) + wanted * (plain_logsumexp(z, -1, keepdims=True) - z)
    return called("kl_divergence", mean(total(spread, -1)))
