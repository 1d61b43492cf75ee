"""The order of the remainder: whether a gradient is the gradient, with no step size to choose.

In: a loss, its parameters, their gradients' values, a point. Out: a `Remainder` a parameter.

For a direction v the remainder R(h) = |f(p + h v) - f(p) - h <g, v>| falls by 4 where h is halved
if g is the gradient (order 2), and by 2 if it is not (order 1). At 60 digits h can be so small that
neither the curvature nor a kink nearby nor rounding is seen. What `prop.stop_gradient` holds still
is held still.

Guarantees: every element of the parameter takes part; a remainder of 0 (a loss that is linear in
the parameter) counts as order infinity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import mpmath
import numpy as np

from symprop import term as t
from symprop.checks.point import Point
from symprop.graph import Leaf, Node
from symprop.oracle import Oracle, context, run_with

__all__ = ["DIGITS", "Remainder", "Still", "order_of", "remainders"]

DIGITS = 60
HALVINGS = (2**-40, 2**-41, 2**-42)
NOTHING = 1e-40  # of the loss's size: a remainder that is rounding
LEAST = 1.9  # an order from which on a gradient is right


@dataclass(frozen=True)
class Remainder:
    """The order of a parameter's remainder, infinite where there is none."""

    parameter: str
    order: float

    @property
    def right(self) -> bool:
        """Whether the gradient is the gradient."""
        return self.order >= LEAST


class Still(Oracle):
    """An oracle that records what `stop_gradient` gives, or gives what was recorded."""

    def __init__(self, ctx: Any, held: list[Any], replay: bool = False) -> None:
        super().__init__(ctx)
        self.held, self.replay, self.turn = held, replay, [0]

    def fresh(self) -> Oracle:
        inner = Still(self.ctx, self.held, self.replay)
        inner.turn = self.turn
        return inner

    def function(self, fn: t.Function) -> Callable[..., Any]:
        if fn.name != "stop_gradient":
            return super().function(fn)
        return self._held

    def _held(self, x: Any) -> Any:
        if not self.replay:
            self.held.append(x)
            return x
        self.turn[0] += 1
        return self.held[self.turn[0] - 1]


def remainders(
    loss: Node, gradients: Mapping[Leaf, Any], point: Point, seed: int
) -> list[Remainder]:
    """The order of every parameter's remainder."""
    ctx = context(DIGITS)
    held: list[Any] = []
    (start,) = run_with(Still(ctx, held), [loss], point.given)
    found = []
    for k, (leaf, gradient) in enumerate(gradients.items()):
        v = np.random.default_rng([seed, k]).integers(-8, 9, gradient.shape)
        v = np.where(v == 0, 1, v)
        slope = sum((ctx.mpf(int(a)) * g for a, g in zip(v.flat, gradient.flat, strict=True)), 0)
        sizes = []
        for h in HALVINGS:
            values = {**point.given, leaf: _moved(point.values[leaf], v, h, ctx)}
            (end,) = run_with(Still(ctx, held, True), [loss], values)
            sizes.append(abs(end[()] - start[()] - ctx.mpf(h) * slope))
        found.append(Remainder(leaf.name, order_of(sizes, abs(start[()]))))
    return found


def _moved(start: Any, v: Any, h: float, ctx: Any) -> Any:
    """start + h v, as the numbers that an oracle takes."""
    moved = np.empty(np.shape(start), object)
    for at in np.ndindex(*moved.shape):
        exact = ctx.mpf(float(start[at])) + ctx.mpf(h) * int(v[at])
        moved[at] = mpmath.mp.make_mpf(exact._mpf_)
    return moved


def order_of(sizes: Sequence[Any], scale: Any) -> float:
    """The order at which remainders fall, the least of all halvings."""
    if all(r <= NOTHING * (1 + scale) for r in sizes):
        return math.inf
    halved = pairwise(sizes)
    return min(float(mpmath.log(a / b, 2)) if a and b else 0.0 for a, b in halved)
