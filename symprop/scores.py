"""Scores of a whole set of predictions: confusion_matrix, f1, r2, perplexity.

In: predictions and targets, as expressions. Out: expressions over all examples handed in.
Guarantees: the values are scikit-learn's, with its answers where a class or a spread is missing;
integers are counted exactly (below 2**24 in float32).

None of them is a mean over examples: compute them with all of the data at once, as outputs of
`prop.compile` or in `trainer.evaluate(data)` without a batch size. As metrics of batches they are
the mean of each batch's score.
"""

from __future__ import annotations

from typing import Any

from symprop.declarations import index
from symprop.errors import DeclarationError, quoted
from symprop.expression import Expr, as_expr
from symprop.graph import INTS
from symprop.metrics import check_scores
from symprop.ops.elementwise import exp, square
from symprop.ops.loss_checks import as_target, check_equal_shapes
from symprop.ops.losses import cross_entropy
from symprop.ops.structural import argmax, mean, where
from symprop.ops.structural import sum as total

__all__ = ["SCORES", "confusion_matrix", "f1", "perplexity", "r2"]


def confusion_matrix(scores: Any, labels: Any) -> Expr:
    """How many examples of each class (row) were taken for each class (column), [classes, classes].

    In: scores [.., classes], the largest of which is the prediction; integer labels [..].
    """
    z, y = as_expr(scores), as_expr(labels)
    check_scores("confusion_matrix", z, y)
    classes = index(z.shape[-1])
    true = where(y[..., None] == classes, 1.0, 0.0)
    taken = where(argmax(z, axis=-1)[..., None] == classes, 1.0, 0.0)
    counts = true[..., :, None] * taken[..., None, :]
    found: Expr = total(counts, tuple(range(counts.ndim - 2))) if counts.ndim > 2 else counts
    return found.named("confusion_matrix")


def f1(scores: Any, target: Any, average: str = "macro") -> Expr:
    """2*tp / (2*tp + fp + fn): the harmonic mean of precision and recall.

        scores [.., classes], integer labels [..]   the mean over the classes that occur in labels
                                                    or predictions; "weighted": by their labels
        logits and targets 0 or 1, equal shapes     of the ones; a positive logit predicts a one

    With nothing right it is 0. C. J. van Rijsbergen, Information retrieval, 1979.
    """
    z, y = as_expr(scores), as_expr(target)
    if average not in ("macro", "weighted"):
        raise DeclarationError(f"average must be 'macro' or 'weighted', but is {quoted(average)}")
    if y.dtype in INTS and y.node.dims == z.node.dims[:-1]:
        counts = confusion_matrix(z, y)
        own = where(index(z.shape[-1])[:, None] == index(z.shape[-1]), counts, 0.0).sum(1)
        labelled, met = counts.sum(1), counts.sum(1) + counts.sum(0)
        each = harmonic(own, met)
        weight = labelled if average == "weighted" else where(met > 0, 1.0, 0.0)
        return ratio(total(weight * each), total(weight)).named("f1")
    check_equal_shapes("f1", "logits and targets", z, y)
    one = as_target("f1", y)
    positive = where(z > 0, 1.0, 0.0)
    return harmonic(total(one * positive), total(one) + total(positive)).named("f1")


def harmonic(right: Expr, met: Expr) -> Expr:
    """2*tp / (labelled + predicted)."""
    return ratio(2 * right, met)


def ratio(above: Expr, below: Expr) -> Expr:
    """A quotient of counts; 0 where there is nothing to count."""
    found: Expr = where(below > 0, above / where(below > 0, below, 1.0), 0.0)
    return found


def r2(prediction: Any, target: Any) -> Expr:
    """1 - (sum of squared errors) / (sum of squared distances of the targets from their mean).

    1 is perfect, 0 as good as the mean. Of equal targets it is 1 where all are met, else 0.
    S. Wright, Correlation and causation, 1921.
    """
    p, t = as_expr(prediction), as_expr(target)
    check_equal_shapes("r2", "predictions and targets", p, t)
    errors, spread = total(square(t - p)), total(square(t - mean(t)))
    some = spread > 0
    found: Expr = where(some, 1 - errors / where(some, spread, 1.0), where(errors > 0, 0.0, 1.0))
    return found.named("r2")


def perplexity(logits: Any, target: Any) -> Expr:
    """exp of the cross entropy: among how many equally likely classes the model would hesitate."""
    found: Expr = exp(cross_entropy(logits, target))
    return found.named("perplexity")


# Every score, by its name in this module.
SCORES = {f.__name__: f for f in (confusion_matrix, f1, r2, perplexity)}
