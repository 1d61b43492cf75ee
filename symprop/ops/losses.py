"""Losses: one number that says how wrong the predictions are, for training to make smaller.

In: predictions and targets, as expressions or arrays. Out: a scalar expression, the mean over all
elements (for losses of classes and of vectors: over all examples). Another mean is one line with
other functions.
Guarantees: the formulas are torch's with its default reduction; shapes must be equal, nothing is
broadcast (a column against a row would silently compare everything with everything); values and
gradients are finite for finite arrays whose squares (exponentials, for `poisson_loss` and
`normal_kl`) are. Losses of classes take logits, never probabilities, whose logarithm would be lost
where they are rounded to 0 or 1.

Nothing downstream knows these names: a loss is the nodes below, its gradient is derived from them.
"""

from __future__ import annotations

from symprop.ops.class_losses import (
    binary_cross_entropy,
    cross_entropy,
    focal_loss,
    hinge_loss,
    kl_divergence,
)
from symprop.ops.loss_checks import called, check_equal_shapes
from symprop.ops.number_losses import huber, mae, mse, poisson_loss, quantile_loss
from symprop.ops.pair_losses import contrastive_loss, cosine_loss, info_nce, normal_kl

__all__ = [
    "LOSSES",
    "binary_cross_entropy",
    "called",
    "check_equal_shapes",
    "contrastive_loss",
    "cosine_loss",
    "cross_entropy",
    "focal_loss",
    "hinge_loss",
    "huber",
    "info_nce",
    "kl_divergence",
    "mae",
    "mse",
    "normal_kl",
    "poisson_loss",
    "quantile_loss",
]

# Every loss, by the name under which `symprop` exports it.
LOSSES = {
    f.__name__: f
    for f in (
        mse,
        mae,
        huber,
        quantile_loss,
        poisson_loss,
        binary_cross_entropy,
        cross_entropy,
        focal_loss,
        hinge_loss,
        kl_divergence,
        cosine_loss,
        contrastive_loss,
        info_nce,
        normal_kl,
    )
}
