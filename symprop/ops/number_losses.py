"""Losses of predicted numbers: mse, mae, huber, quantile_loss, poisson_loss.

In: predictions and targets of equal shapes, as expressions or arrays. Out: a scalar expression, the
mean over all elements. Guarantees: those of `symprop.ops.losses`.
"""

from __future__ import annotations

from typing import Any

from symprop.expression import Expr, as_expr
from symprop.ops import elementwise as ops
from symprop.ops.loss_checks import called, check_equal_shapes, check_number, difference
from symprop.ops.structural import mean, where

__all__ = ["huber", "mae", "mse", "poisson_loss", "quantile_loss"]


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
    check_number("delta", delta)
    error = difference("huber", prediction, target)
    size = ops.abs(error)
    near, far = error * error / 2, delta * (size - delta / 2)
    return called("huber", mean(where(size <= delta, near, far)))


def quantile_loss(prediction: Any, target: Any, quantile: float = 0.5) -> Expr:
    """Mean of quantile*e where e = target - prediction is positive, (quantile - 1)*e elsewhere.

    The prediction that makes it smallest is this quantile of the target (0.5: the median, and half
    of `mae`). Where both are equal the derivative in the prediction is 1 - quantile, a convention:
    that of a prediction which is too large. R. Koenker and G. Bassett, Regression quantiles, 1978.
    """
    check_number("quantile", quantile, 0.0, 1.0)
    error = -difference("quantile_loss", prediction, target)
    return called("quantile_loss", mean(where(error > 0, quantile * error, (quantile - 1) * error)))


def poisson_loss(log_rate: Any, target: Any) -> Expr:
    """Mean of exp(z) - target*z over all elements, z the logarithm of the predicted rate.

    The negative logarithm of the probability of `target` events, but for log(target!), which does
    not depend on the prediction; as torch's poisson_nll_loss. The derivative in z is
    (exp(z) - target) / elements. P. McCullagh and J. Nelder, Generalized linear models, 1989.
    """
    z, wanted = as_expr(log_rate), as_expr(target)
    check_equal_shapes("poisson_loss", "logarithms of rates and targets", z, wanted)
    return called("poisson_loss", mean(ops.exp(z) - wanted * z))
