"""Lengths and spreads: norm, normalize, var, std, cosine_similarity; right at singular points too.

In: expressions. Out: expressions, made of sums, maxima and elementwise ops: their gradients are
derived from those.

Guarantees: no square overflows or vanishes on the way (a scale is divided out, held constant: the
result does not depend on it, so its derivative is 0 at every order); a constant vector has exactly
the spread 0; the gradient of a length or spread that is 0 is 0, a convention; ``where=`` leaves
points out of everything, with exact zero gradients, and nothing left has the length and spread 0.
"""

from __future__ import annotations

import math
from typing import Any

from symprop.declarations import size
from symprop.errors import DeclarationError, quoted
from symprop.expression import Expr, as_expr, describe
from symprop.graph import FLOATS, suggest
from symprop.ops.control import stop_gradient
from symprop.ops.elementwise import abs, sqrt, square
from symprop.ops.powers import norm_root
from symprop.ops.structural import broadcast_to, max, normal_axes, sum
from symprop.ops.structural import where as choose

__all__ = ["cosine_similarity", "norm", "normalize", "std", "var"]


def _floats(x: Any) -> Expr:
    value = as_expr(x)
    return value if value.dtype in FLOATS else value.astype("float")


def _mask(where: Any) -> Expr | None:
    """The mask as an expression; DeclarationError for one that is not bool."""
    if where is None:
        return None
    mask = as_expr(where)
    if mask.dtype != "bool":
        raise DeclarationError(f"where= needs a bool mask, but {describe(mask)} is {mask.dtype}")
    return mask


def _kept(x: Expr, mask: Expr | None) -> Expr:
    """x, exactly 0 where it is masked."""
    return x if mask is None else choose(mask, x, 0.0)


def _over(reduced: Expr, axes: tuple[int, ...], rank: int) -> Expr:
    """A reduced value beside the value it was reduced from."""
    return reduced[tuple(None if k in axes else slice(None) for k in range(rank))]


def _called(word: str, x: Expr) -> Expr:
    suggest(x.node, word)
    return x


def _split(z: Expr, axes: tuple[int, ...]) -> tuple[Expr, Expr, Expr]:
    """A positive scale, z divided by it, and the length of that: sqrt of a sum from 1 to n."""
    top = stop_gradient(max(abs(z), axes))
    scale = _called("scale", choose((top > 0) & (top < math.inf), top, 1.0))
    shares = _called("scaled", z / _over(scale, axes, z.ndim))
    length: Expr = norm_root(sum(square(shares), axes))
    return scale, shares, length


def _unit(z: Expr, axes: tuple[int, ...]) -> Expr:
    """z divided by its length; exactly 0, with the derivative 0, where that is 0."""
    _, shares, length = _split(z, axes)
    whole = length > 0
    divisor = choose(whole, length, 1.0)
    unit: Expr = choose(_over(whole, axes, z.ndim), shares / _over(divisor, axes, z.ndim), 0.0)
    return unit


def norm(x: Any, axis: Any = None, keepdims: bool = False, where: Any = None) -> Expr:
    """Euclidean length over axes: sqrt of the sum of squares; its gradient at 0 is 0."""
    z = _kept(_floats(x), _mask(where))
    axes = normal_axes(z, axis)
    scale, _, length = _split(z, axes)
    out = _called("norm", scale * length)
    return _over(out, axes, z.ndim) if keepdims else out


def normalize(x: Any, axis: Any = -1) -> Expr:
    """x divided by its Euclidean length over axes; where that is 0, 0 with the gradient 0."""
    z = _floats(x)
    return _called("unit", _unit(z, normal_axes(z, axis)))


def _centred(x: Expr, axes: tuple[int, ...], mask: Expr | None) -> tuple[Expr, Any]:
    """x less its mean, and the number of points: exactly 0 for equal numbers."""
    rank = x.ndim
    shown = x if mask is None else choose(mask, x, -math.inf)
    top = stop_gradient(max(shown, axes))  # taken off first: equal numbers become exactly 0
    moved = _kept(x - _over(top, axes, rank), mask)
    count: Any
    if mask is None:
        count = math.prod(d for a in axes if (d := x.node.dims[a].value) is not None)
        for a in axes:
            count = count if x.node.dims[a].value is not None else count * size(x, a)
        mean = sum(moved, axes) / count
    else:
        ones = broadcast_to(choose(mask, 1.0, 0.0), x.dims)
        count = _called("count", sum(ones, axes))
        mean = choose(count > 0, sum(moved, axes) / choose(count > 0, count, 1.0), 0.0)
    centred = _kept(moved - _over(mean, axes, rank), mask)
    return _called("centred", centred), count


def _divisor(count: Any, correction: int, masked: bool) -> Any:
    """The number of degrees of freedom; 1 where a mask leaves none."""
    if isinstance(correction, bool) or not isinstance(correction, int) or correction < 0:
        raise DeclarationError(
            f"the correction must be a whole number of degrees of freedom, 0 or more, but is "
            f"{quoted(correction)}"
        )
    left = count - correction
    return choose(left > 0, left, 1.0) if masked else left


def var(
    x: Any, axis: Any = None, correction: int = 0, keepdims: bool = False, where: Any = None
) -> Expr:
    """Mean square distance from the mean over axes; ``correction`` is taken off the number of
    points that the squares are divided by (1: the unbiased estimate)."""
    z, mask = _floats(x), _mask(where)
    axes = normal_axes(z, axis)
    centred, count = _centred(z, axes, mask)
    out = sum(square(centred), axes) / _divisor(count, correction, mask is not None)
    return _over(out, axes, z.ndim) if keepdims else _called("var", out)


def std(
    x: Any, axis: Any = None, correction: int = 0, keepdims: bool = False, where: Any = None
) -> Expr:
    """Square root of ``var``; of equal numbers it is 0, with the gradient 0."""
    z, mask = _floats(x), _mask(where)
    axes = normal_axes(z, axis)
    centred, count = _centred(z, axes, mask)
    divisor = _divisor(count, correction, mask is not None)
    out = norm(centred, axes) / sqrt(as_expr(divisor).astype("float"))
    return _over(out, axes, z.ndim) if keepdims else _called("std", out)


def cosine_similarity(a: Any, b: Any, axis: Any = -1, where: Any = None) -> Expr:
    """Cosine of the angle between a and b over axes; with a vector 0 it is 0, with gradient 0."""
    mask = _mask(where)
    first, second = _kept(_floats(a), mask), _kept(_floats(b), mask)
    units = [_unit(z, normal_axes(z, axis)) for z in (first, second)]
    product = units[0] * units[1]
    return _called("cosine", sum(product, normal_axes(product, axis)))
