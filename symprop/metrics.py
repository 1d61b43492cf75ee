"""Metrics: scalar expressions that are reported beside the loss.

In: metric names or expressions, the loss and the outputs of a training step.
Out: expressions by name.
Guarantees: a metric is computed by the compiled program, from the same values as the loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from symprop.errors import DeclarationError, ShapeError, listed, quoted
from symprop.expression import Expr
from symprop.graph import INTS, Leaf
from symprop.ops.structural import argmax, mean, where
from symprop.walk import leaves

__all__ = ["accuracy", "resolve"]


def resolve(
    metrics: Sequence[str] | Mapping[str, Expr], loss: Expr, outputs: Mapping[str, Expr]
) -> dict[str, Expr]:
    """The metrics as expressions: a mapping as it is, names by what they mean here."""
    if isinstance(metrics, Mapping):
        for name, value in metrics.items():
            if not isinstance(value, Expr):
                raise DeclarationError(
                    f"the metric {quoted(name)} must be an expression, but is {quoted(value)}"
                )
            if value.shape:
                raise ShapeError(
                    f"the metric {quoted(name)} must be a single number, but has shape "
                    f"{tuple(value.shape)}: take its mean"
                )
        return dict(metrics)
    if isinstance(metrics, str):
        metrics = [metrics]
    found: dict[str, Expr] = {}
    for name in metrics:
        if name not in BY_NAME:
            raise DeclarationError(
                f"the metric {quoted(name)} is not known: use one of {listed(BY_NAME)}, or a "
                "mapping from names to scalar expressions"
            )
        found[name] = BY_NAME[name](loss, outputs)
    return found


def accuracy(loss: Expr, outputs: Mapping[str, Expr]) -> Expr:
    """The share of examples whose largest score is at their label.

    The labels are the only `prop.labels` that the loss reads and no output does; the scores are
    the only output with one axis more than the labels, as long as there are classes.
    """
    inputs = set(leaves([value.node for value in outputs.values()]))
    labels = [leaf for leaf in leaves([loss.node]) if is_labels(leaf) and leaf not in inputs]
    if len(labels) != 1:
        raise DeclarationError(
            "accuracy needs a loss with one prop.labels, but it reads "
            f"{listed(leaf.name for leaf in labels)}: "
            'give the metric as an expression, e.g. metrics={"accuracy": ...}'
        )
    (label,) = labels
    wanted = (*label.dims, label.high + 1)
    scores = [name for name, value in outputs.items() if value.node.dims == wanted]
    if len(scores) != 1:
        raise DeclarationError(
            f"accuracy needs one output of shape {wanted} to compare with {quoted(label.name)}, "
            f'but found {listed(scores)}: name it, e.g. outputs={{"logits": logits}}'
        )
    hits = argmax(outputs[scores[0]], axis=-1) == Expr(label)
    return mean(where(hits, 1.0, 0.0)).named("accuracy")


def is_labels(leaf: Leaf) -> bool:
    """Whether the leaf holds class numbers: integers from 0 to a known last class."""
    return (
        leaf.kind == "input"
        and leaf.dtype in INTS
        and leaf.low.value == 0
        and leaf.high.value != np.iinfo(leaf.dtype).max
    )


BY_NAME = {"accuracy": accuracy}
