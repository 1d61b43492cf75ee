"""Losses of pairs of vectors on the last axis: cosine_loss, contrastive_loss, info_nce; and of a
normal distribution against the standard one: normal_kl.

In: expressions [.., features]. Out: a scalar expression, a mean over the leading axes.
Guarantees: those of `symprop.ops.losses`; equal vectors and vectors that are 0 have finite
gradients (the conventions of `prop.norm` and `prop.cosine_similarity`).
"""

from __future__ import annotations

from typing import Any

from symprop.errors import ShapeError
from symprop.expression import Expr, as_expr, describe, shape_text
from symprop.ops import elementwise as ops
from symprop.ops.composite import plain_logsumexp
from symprop.ops.loss_checks import as_target, called, check_equal_shapes, check_number
from symprop.ops.norms import cosine_similarity, norm, normalize
from symprop.ops.structural import mean
from symprop.ops.structural import sum as total

__all__ = ["contrastive_loss", "cosine_loss", "info_nce", "normal_kl"]


def cosine_loss(prediction: Any, target: Any) -> Expr:
    """Mean of 1 - the cosine of the angle between vectors; a vector 0 counts 1."""
    a, b = pair("cosine_loss", prediction, target)
    return called("cosine_loss", mean(1 - cosine_similarity(a, b)))


def contrastive_loss(a: Any, b: Any, same: Any, margin: float = 1.0) -> Expr:
    """Mean of d**2 / 2 for pairs that are the same, max(0, margin - d)**2 / 2 for others.

    d is the distance of a and b, vectors on the last axis; `same` [..] is 1 or 0: floats, booleans
    or labels of two classes. R. Hadsell, S. Chopra and Y. LeCun, Dimensionality reduction by
    learning an invariant mapping, CVPR 2006, equation 4.
    """
    check_number("margin", margin)
    first, second = pair("contrastive_loss", a, b)
    one = as_expr(same)
    if one.node.dims != first.node.dims[:-1]:
        raise ShapeError(
            f"contrastive_loss needs one number 0 or 1 for each pair of vectors of shape "
            f"{shape_text(first)}, but {describe(one)} has shape {shape_text(one)}"
        )
    one = as_target("contrastive_loss", one)
    d = called("distance", norm(first - second, -1))
    near, far = ops.square(d), ops.square(ops.relu(margin - d))
    return called("contrastive_loss", mean(one * near + (1 - one) * far) / 2)


def info_nce(queries: Any, keys: Any, temperature: float = 0.1) -> Expr:
    """Mean cross entropy of finding each query's own key among all keys of the batch.

    In: queries and keys [batch, features], row k of one belonging to row k of the other; they are
    divided by their lengths, and their products by `temperature`. A. van den Oord, Y. Li and
    O. Vinyals, Representation learning with contrastive predictive coding, 2018, equation 4.
    """
    check_number("temperature", temperature)
    q, k = pair("info_nce", queries, keys)
    if q.ndim != 2:
        raise ShapeError(f"info_nce needs vectors [batch, features], got {shape_text(q)}")
    near, other = normalize(q), normalize(k)
    scores = called("similarity", near @ other.T / temperature)
    own = total(near * other, -1) / temperature
    return called("info_nce", mean(plain_logsumexp(scores, -1) - own))


def normal_kl(mean_of: Any, log_variance: Any) -> Expr:
    """Mean over the leading axes of sum(mean**2 + variance - 1 - log variance) / 2 over the last.

    The divergence of normal distributions, independent in each place, from the standard one.
    D. P. Kingma and M. Welling, Auto-encoding variational Bayes, ICLR 2014, appendix B.
    exp(v) - 1 - v is written with expm1, which keeps its digits where the variance is nearly 1.
    """
    m, v = pair("normal_kl", mean_of, log_variance)
    return called("normal_kl", mean(total(ops.square(m) + (ops.expm1(v) - v), -1)) / 2)


def pair(loss: str, a: Any, b: Any) -> tuple[Expr, Expr]:
    """Two arrays of vectors of equal shapes."""
    first, second = as_expr(a), as_expr(b)
    check_equal_shapes(loss, "vectors", first, second)
    if not first.ndim:
        raise ShapeError(f"{loss} needs vectors [.., features], got a number, {describe(first)}")
    return first, second
