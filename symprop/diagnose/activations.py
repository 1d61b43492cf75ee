"""Scalar functions of one value alone, as formulas, and what they do to a normal variable.

In: a value of the graph. Out: `Activation`, the last value that is a function of it alone, with
the function's formula; `Curve`, that function as numbers: where its derivative is flat, and what
it does to the mean square of a normal variable, forward and backward.

Guarantees: any formula of the graph is read, an op of the user's own, or one written out
(z*sigmoid(z)), as well as a declared one; the derivative is the one that the gradient uses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codegen.index import as_ix
from codegen.index import dim as named_dim
from symprop import term as t
from symprop.expression import Expr
from symprop.function import compile_program
from symprop.graph import FLOATS, At, Node, Reduce, new_leaf
from symprop.make import elementwise as map_node
from symprop.ops.declare import OpFunction
from symprop.ops.domain import Reals

__all__ = ["Activation", "Curve", "Pointwise", "is_activation"]

Values = NDArray[np.float64]

# A point is flat, or saturated, where the slope is below this share of the steepest: there a unit
# learns twenty times more slowly than where it is steepest. (tanh: |z| > 2.2, sigmoid: |z| > 4.4)
FLAT = 0.05
# A unit is dead where its slope stays below this share: for a rectifier, 0. A leaky one is not
# dead at its usual slope of 0.01, which is what it is for.
DEAD = 1e-3
# Far from 0 the slope of an activation is that of its tail.
NEAR, TAILS = 8.0, (30.0, 100.0, 1000.0)
# A tail this much steeper than all that is near 0 is one of exp or a power: nothing is flat there.
BOUNDED = 1.5
# Points of the quadrature: the trapezoidal rule is exact to rounding for what is smooth under the
# normal density, and right to 1e-3 at a kink, where Gauss-Hermite nodes are off by percents.
REACH, POINTS = 9.0, 4002


@dataclass(frozen=True)
class Activation:
    """The last value that is a function of `argument` alone; `term` is that function of read 0."""

    argument: Node
    node: Node
    term: t.Term

    @property
    def name(self) -> str:
        """The op's name, the formula of `z` where it is not one op; "" for a multiple of z."""
        if isinstance(self.slope, t.Num):
            return ""
        if isinstance(self.term, t.Call) and self.term.args == (t.read(0),):
            return self.term.fn.given
        return t.render(self.term, lambda k: "z")

    @property
    def slope(self) -> t.Term:
        """The derivative."""
        return t.diff(self.term, 0)

    def slope_node(self) -> Node:
        """The derivative at the argument, as a value."""
        return map_node(self.slope, [self.argument], self.argument.dims, self.argument.dtype)


class Pointwise:
    """Which values are functions of one value alone; `before` are those above a later product."""

    def __init__(
        self, readers: dict[Node, list[Node]], position: dict[Node, int], before: set[Node]
    ) -> None:
        self.readers, self.position, self.before = readers, position, before

    def closure(self, argument: Node) -> dict[Node, t.Term]:
        """The values that are functions of the argument alone, each with its formula."""
        found: dict[Node, t.Term] = {argument: t.read(0)}
        waiting = list(self.readers.get(argument, ()))
        while waiting:
            node = waiting.pop(0)
            formula = None if node in found else of_values(node, found)
            if formula is not None:
                found[node] = formula
                waiting += self.readers.get(node, ())
        return found

    def of(self, argument: Node) -> Activation | None:
        """The last function of the argument through which all that is made of it goes.

        After the last product it is an op, or it would be a part of the loss: the square of mse.
        """
        found = self.closure(argument)
        order = sorted(found, key=lambda n: self.position.get(n, 0))
        for last in reversed(order[1:]):
            if last not in self.before and not is_activation(last):
                continue
            inside = needed(last, found)
            others = [n for n in inside if n is not last]
            if all(r in inside for n in others for r in self.readers[n]):
                return Activation(argument, last, found[last])
        return None


def of_values(node: Node, known: dict[Node, t.Term]) -> t.Term | None:
    """The formula of a map that reads known values element by element, or None."""
    if not isinstance(node, Reduce) or len(node.loops) != node.nout or node.guards:
        return None
    if node.dtype not in FLOATS and node.dtype != "bool":
        return None
    here = tuple(item.ix() for item in node.outer)
    terms = []
    for r in node.reads:
        if not isinstance(r, At) or r.guards or r.node not in known:
            return None
        unit = (d.value == 1 for d in r.node.dims)
        if len(r.index) != len(here) or any(
            ix is not own and not (one and ix.value == 0)
            for ix, own, one in zip(r.index, here, unit, strict=True)
        ):
            return None
        terms.append(known[r.node])
    return t.replace(node.body, terms) if terms else None


def needed(last: Node, found: dict[Node, t.Term]) -> set[Node]:
    """The found values that one of them is made of, itself counted."""
    inside = {last}
    waiting = [last]
    while waiting:
        below = [o for o in waiting.pop().operands if o in found and o not in inside]
        inside.update(below)
        waiting += below
    return inside


def is_activation(node: Node) -> bool:
    """Whether a node is an op of one value, defined everywhere: not a root or a logarithm."""
    if not isinstance(node, Reduce) or not isinstance(node.body, t.Call):
        return False
    fn = node.body.fn
    if not isinstance(fn, OpFunction) or node.body.args != (t.read(0),):
        return False
    return of_values(node, {node.operands[0]: t.read(0)}) is not None and all(
        domain is Reals for domain in fn.op.domains
    )


# --- numbers of a function ---------------------------------------------------------------------


class Curve:
    """A scalar function and its derivative as numbers, from the code that is emitted for them."""

    def __init__(self, term: t.Term) -> None:
        z = new_leaf("input", "z", [as_ix(named_dim("point"))], "float", ("point",))
        formulas = (term, t.diff(term, 0))
        outputs = [Expr(map_node(f, [z], z.dims, "float")) for f in formulas]
        self._run = compile_program(outputs, names=["value", "slope"], dtype="float64")
        near = np.linspace(-NEAR, NEAR, 1601)
        self.steepest = float(np.max(np.abs(self(near)[1])))
        """The greatest slope near 0, in size."""
        self.tails = (self._tail(-1), self._tail(1))
        """The greatest slope far out to the left and to the right, as shares of the steepest."""

    def __call__(self, points: Values) -> tuple[Values, Values]:
        """The function and its derivative at points."""
        with np.errstate(all="ignore"):
            value, slope = self._run.call({"z": points})
        shape = points.shape
        return np.broadcast_to(value, shape), np.broadcast_to(slope, shape)

    def _tail(self, sign: int) -> float:
        if not self.steepest:
            return 0.0
        slopes = np.abs(self(sign * np.array(TAILS))[1])
        # A formula written without care overflows far out: the last tail that it has counts.
        return float(np.max(slopes[np.isfinite(slopes)], initial=0.0) / self.steepest)

    @property
    def saturates(self) -> bool:
        """Flat on both sides, as sigmoid and tanh are."""
        return max(self.tails) < FLAT

    @property
    def dies(self) -> bool:
        """Without a slope on one side, and with a bounded one on the other, as ReLU and GELU."""
        low, high = sorted(self.tails)
        return low <= DEAD and FLAT <= high <= BOUNDED

    def moments(self, mean: float, variance: float) -> tuple[float, float]:
        """E f(z)^2 and E f'(z)^2 for normal z."""
        u = np.linspace(-REACH, REACH, POINTS)
        weight = np.exp(-(u**2) / 2)
        weight /= weight.sum()
        value, slope = self(mean + np.sqrt(variance) * u)
        with np.errstate(all="ignore"):
            return float(weight @ value**2), float(weight @ slope**2)
