"""Metrics: scalar expressions that are reported beside the loss.

In: metric names or expressions, the loss and the outputs of a training step.
Out: expressions by name, which way is better, and what is done to their mean over the batches.
Guarantees: a metric is computed by the compiled program, from the same values as the loss; what a
name means is found from the loss and the outputs, and an ambiguous case is refused, never guessed.

A metric of a name is one row of `METRICS`. The functions of expressions (`accuracy`,
`binary_accuracy`, `top_k_accuracy`, and those of `symprop.scores`) serve a user's own:
`{"top3": top_k_accuracy(logits, y, 3)}`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from symprop.declarations import index
from symprop.errors import DeclarationError, ShapeError, listed, quoted
from symprop.expression import Expr, as_expr, describe, shape_text
from symprop.graph import FLOATS, INTS, Leaf
from symprop.ops import losses
from symprop.ops.structural import argmax, mean, where
from symprop.ops.structural import sum as total
from symprop.shapes import check_name
from symprop.walk import leaves

__all__ = [
    "METRICS",
    "Metric",
    "Reported",
    "accuracy",
    "binary_accuracy",
    "resolve",
    "top_k_accuracy",
]

Outputs = Mapping[str, Expr]


# --- metrics as functions of expressions ---------------------------------------------------------


def accuracy(logits: Any, labels: Any) -> Expr:
    """The share of examples whose largest score is at their label; the first of equal ones."""
    z, y = as_expr(logits), as_expr(labels)
    check_scores("accuracy", z, y)
    return mean(where(argmax(z, axis=-1) == y, 1.0, 0.0)).named("accuracy")


def top_k_accuracy(logits: Any, labels: Any, k: int = 5) -> Expr:
    """The share of examples with fewer than k scores above that of their label."""
    z, y = as_expr(logits), as_expr(labels)
    check_scores("top_k_accuracy", z, y)
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise DeclarationError(f"k must be a positive whole number, but is {quoted(k)}")
    onehot = y[..., None] == index(z.shape[-1])
    own = losses.called("label_score", total(where(onehot, z, 0.0), axis=-1, keepdims=True))
    # Not z > own: a score that is not a number would count as a hit.
    above = losses.called("scores_above", total(where(z <= own, 0.0, 1.0), axis=-1))
    return mean(where(above < int(k), 1.0, 0.0)).named(f"top_{int(k)}_accuracy")


def binary_accuracy(logits: Any, target: Any) -> Expr:
    """The share of elements whose logit is positive where the target is 1 (over 1/2), else not."""
    z, wanted = as_expr(logits), as_expr(target)
    losses.check_equal_shapes("binary_accuracy", "logits and targets", z, wanted)
    true = wanted if wanted.dtype == "bool" else wanted > 0.5
    return mean(where((z > 0) == true, 1.0, 0.0)).named("binary_accuracy")


def check_scores(metric: str, z: Expr, y: Expr) -> None:
    if y.dtype not in INTS or z.ndim == 0 or z.node.dims[:-1] != y.node.dims:
        raise ShapeError(
            f"{metric} needs scores [.., classes] and integer labels [..], got {shape_text(z)} "
            f"from {describe(z)} and {y.dtype} {shape_text(y)} from {describe(y)}"
        )


# --- metrics by name -----------------------------------------------------------------------------


def classes(loss: Expr, outputs: Outputs) -> tuple[Expr, Expr]:
    """The labels of the loss, and the only output with a score for each class."""
    label = only_target("labels", loss, outputs, is_labels, "prop.labels")
    wanted = (*label.dims, label.high + 1)
    return only_output("accuracy", outputs, wanted, label), Expr(label)


def binary(loss: Expr, outputs: Outputs) -> tuple[Expr, Expr]:
    """The targets 0 or 1 of the loss, and the only output of their shape."""
    label = only_target("targets", loss, outputs, is_binary, "input of targets 0 or 1")
    return only_output("binary_accuracy", outputs, label.dims, label), Expr(label)


def numbers(loss: Expr, outputs: Outputs) -> tuple[Expr, Expr]:
    """The float targets of the loss, and the only output of their shape."""
    target = only_target("targets", loss, outputs, is_float, "float input")
    return only_output("the metric", outputs, target.dims, target), Expr(target)


class Metric(NamedTuple):
    """What a name means: which (prediction, target) it takes, and its expression of them.

    `better` is "max" or "min"; `finish` is what is done to the mean of the expression over batches.
    """

    takes: Callable[[Expr, Outputs], tuple[Expr, Expr]]
    value: Callable[[Expr, Expr], Expr]
    better: str
    finish: Callable[[float], float] = float


METRICS: dict[str, Metric] = {
    "accuracy": Metric(classes, accuracy, "max"),
    "top_3_accuracy": Metric(classes, lambda z, y: top_k_accuracy(z, y, 3), "max"),
    "top_5_accuracy": Metric(classes, lambda z, y: top_k_accuracy(z, y, 5), "max"),
    # The exponential of the mean over all batches, not a mean of exponentials.
    "perplexity": Metric(classes, losses.cross_entropy, "min", math.exp),
    "binary_accuracy": Metric(binary, binary_accuracy, "max"),
    "mae": Metric(numbers, losses.mae, "min"),
    "mse": Metric(numbers, losses.mse, "min"),
    # The root of the mean over all batches: a mean of roots would depend on the batch size.
    "rmse": Metric(numbers, losses.mse, "min", math.sqrt),
}


class Reported(NamedTuple):
    """A metric of one training step; `better` is "" where the user gave the expression."""

    value: Expr
    better: str = ""
    finish: Callable[[float], float] = float


def resolve(
    metrics: Sequence[str | Expr] | Mapping[str, Expr], loss: Expr, outputs: Outputs
) -> dict[str, Reported]:
    """The metrics by name: expressions as they are, names by what they mean here.

    In: a mapping from names to scalar expressions; or a sequence of names and named expressions.
    """
    if isinstance(metrics, Mapping):
        pairs: list[tuple[Any, Any]] = list(metrics.items())
    else:
        asked = [metrics] if isinstance(metrics, str | Expr) else list(metrics)
        pairs = [(m.name, m) if isinstance(m, Expr) else (m, None) for m in asked]
    found: dict[str, Reported] = {}
    for name, value in pairs:
        check_metric_name(name, found)
        if value is None and not isinstance(metrics, Mapping):
            found[name] = by_name(name, loss, outputs)
            continue
        check_metric(name, value)
        found[name] = Reported(value)
    return found


def by_name(name: str, loss: Expr, outputs: Outputs) -> Reported:
    """The metric that the name means for this loss and these outputs."""
    if name not in METRICS:
        raise DeclarationError(
            f"the metric {quoted(name)} is not known: use one of {listed(METRICS)}, or a "
            "mapping from names to scalar expressions"
        )
    metric = METRICS[name]
    return Reported(metric.value(*metric.takes(loss, outputs)), metric.better, metric.finish)


def check_metric_name(name: Any, known: Mapping[str, Reported]) -> None:
    if not isinstance(name, str) or not name:
        raise DeclarationError(
            f"a metric must be a name or a named expression, but is {quoted(name)}: write "
            'metrics={"name": expression}'
        )
    check_name(name, "a metric")
    if name == "loss":
        raise DeclarationError('a metric cannot be named "loss": that is the loss itself')
    if name == "epoch":
        raise DeclarationError(
            'a metric cannot be named "epoch": that is the column of the epochs\' numbers'
        )
    if name.startswith("validation_"):
        raise DeclarationError(
            f"the metric {quoted(name)} cannot start with validation_, which marks the numbers of "
            "the validation data: choose another name"
        )
    if name in known:
        raise DeclarationError(f"the metric {quoted(name)} is asked for twice: name it once")


def check_metric(name: str, value: Any) -> None:
    if not isinstance(value, Expr):
        raise DeclarationError(
            f"the metric {quoted(name)} must be an expression, but is {quoted(value)}"
        )
    if value.shape:
        raise ShapeError(
            f"the metric {quoted(name)} must be a single number, but has shape "
            f"{tuple(value.shape)}: take its mean"
        )


def only_target(
    what: str, loss: Expr, outputs: Outputs, fits: Callable[[Leaf], bool], kind: str
) -> Leaf:
    """The only leaf of this kind that the loss reads and no output does."""
    read = set(leaves([value.node for value in outputs.values()]))
    found = [leaf for leaf in leaves([loss.node]) if fits(leaf) and leaf not in read]
    if len(found) != 1:
        raise DeclarationError(
            f"a metric by name needs a loss with one {kind} that no output reads as its {what}, "
            f"but found {listed(leaf.name for leaf in found)}: "
            'give the metric as an expression, e.g. metrics={"accuracy": ...}'
        )
    return found[0]


def only_output(metric: str, outputs: Outputs, dims: tuple[Any, ...], target: Leaf) -> Expr:
    """The only output of this shape."""
    found = [name for name, value in outputs.items() if value.node.dims == dims]
    if len(found) != 1:
        raise DeclarationError(
            f"{metric} needs one output of shape {dims} to compare with {quoted(target.name)}, "
            f'but found {listed(found)}: name it, e.g. outputs={{"logits": logits}}'
        )
    return outputs[found[0]]


def is_labels(leaf: Leaf) -> bool:
    """Whether the leaf holds class numbers: integers from 0 to a known last class."""
    return (
        leaf.kind == "input"
        and leaf.dtype in INTS
        and leaf.low.value == 0
        and leaf.high.value != np.iinfo(leaf.dtype).max
    )


def is_binary(leaf: Leaf) -> bool:
    """Whether the leaf may hold zeros and ones."""
    if is_labels(leaf):
        return leaf.high.value == 1
    return leaf.kind == "input" and (leaf.dtype == "bool" or leaf.dtype in FLOATS)


def is_float(leaf: Leaf) -> bool:
    """Whether the leaf is handed in as floats."""
    return leaf.kind == "input" and leaf.dtype in FLOATS
