"""An op and its derivatives, as formulas to be proved and as compiled functions to be measured.

In: an op, an order. Out: `Subject`s, one a partial derivative of that order that is not the same
as another by symmetry.

Guarantees: the function is the one that a user gets: expressions, `prop.gradient` order times,
`prop.compile` for one output; nothing is taken from the op's declaration but its formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from symprop import term as tm
from symprop.accuracy.exact import Truth
from symprop.accuracy.landmarks import compared
from symprop.function import Function
from symprop.ops.declare import ElementwiseOp
from symprop.term import Term

__all__ = ["ORDERS", "Compiled", "Subject", "subjects"]

ORDERS = (0, 1, 2, 3)


@dataclass(frozen=True)
class Subject:
    """An op differentiated by these arguments, in this order."""

    op: ElementwiseOp
    by: tuple[int, ...]

    @property
    def order(self) -> int:
        """How often it is differentiated."""
        return len(self.by)

    @property
    def title(self) -> str:
        """`exp`, `exp'`; with several arguments `power by x, y`."""
        if self.op.arity == 1:
            return self.op.name + "'" * self.order
        return self.op.name + (f" by {self.of}" if self.by else "")

    @property
    def of(self) -> str:
        """The arguments by which it is differentiated."""
        return ", ".join(self.op.declaration.arguments[k] for k in self.by)

    def formula(self, t: Term) -> Term:
        """The derivative of a formula."""
        for k in self.by:
            t = tm.diff(t, k)
        return t

    @cached_property
    def truth(self) -> Truth:
        """Its exact values: by the derivative that users get, seconded by the definition's."""
        own = tm.call(self.op.function, *map(tm.read, range(self.op.arity)))
        return Truth(self.formula(own), self.formula(self.op.formula_term), self.title)

    @cached_property
    def kinks(self) -> list[float]:
        """Numbers that the formulas compare with."""
        both = [*compared(self.truth.plain), *compared(self.truth.formula)]
        return list(dict.fromkeys(both))

    def function(self, backend: str, dtype: str) -> Callable[[Sequence[Any]], Any]:
        """The compiled function: columns of float64 in, an array of the dtype out."""
        return self.compiled(backend, dtype)

    def compiled(self, backend: str, dtype: str) -> Compiled:
        """The same, with its text."""
        import symprop as prop

        names = [f"{name}_" for name in self.op.declaration.arguments]
        inputs = [prop.input(name, "points") for name in names]
        y = self.op(*inputs)
        for k in self.by:
            y = prop.gradient(prop.sum(y), inputs[k])
        return Compiled(prop.compile(y, backend=backend, dtype=dtype), names, dtype, backend)


@dataclass(frozen=True)
class Compiled:
    """A compiled function of columns."""

    made: Function
    names: Sequence[str]
    dtype: str
    backend: str

    @property
    def text(self) -> str:
        """The code that runs."""
        return str(self.made.source(self.backend))

    def __call__(self, columns: Sequence[Any]) -> Any:
        arrays = {n: np.asarray(c, self.dtype) for n, c in zip(self.names, columns, strict=True)}
        with np.errstate(all="ignore"):
            return np.asarray(self.made(arrays))


def subjects(op: ElementwiseOp, order: int) -> list[Subject]:
    """The partial derivatives of an order."""
    return [Subject(op, by) for by in combinations_with_replacement(range(op.arity), order)]
