"""What is put around an optimizer: groups, weight decay, accumulation, averages; penalties.

In: optimizers, and what is to be done with their updates. Out: an optimizer like any other.
Guarantees: immutable descriptions whose formulas are in the emitted text; nothing is a mode of the
trainer. They may be put into each other: `Averaged(WeightDecay(Adam(1e-3), 1e-2))`.

`WRAPPERS` lists them all.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from symprop.data import Arrays
from symprop.declarations import state
from symprop.errors import DataError, DeclarationError, listed, quoted
from symprop.expression import Expr, as_expr
from symprop.ops.elementwise import abs as absolute
from symprop.ops.elementwise import square
from symprop.ops.structural import sum as total
from symprop.ops.structural import where
from symprop.optimizer_parts import Update, check_decay, check_positive, complement, slot
from symprop.optimizers import Optimizer

__all__ = [
    "WRAPPERS",
    "Accumulated",
    "Averaged",
    "Groups",
    "WeightDecay",
    "averages",
    "l1_penalty",
    "l2_penalty",
]

AVERAGE = "average"


@dataclass(frozen=True)
class Groups:
    """An optimizer for each group of parameters.

        prop.Groups((("*.bias", prop.SGD(0.1)), ("*", prop.Adam(1e-3))))

    In: pairs of a pattern of names (`*` stands for any characters) and an optimizer; a parameter
    belongs to the first pattern that fits it. Raises DeclarationError for a parameter that none
    fits, and for a pattern that fits none.
    """

    groups: Sequence[tuple[str, Optimizer]]

    def __post_init__(self) -> None:
        if isinstance(self.groups, Mapping):
            raise DeclarationError(
                "Groups takes pairs in their order, such as (('*.bias', prop.SGD(0.1)), "
                "('*', prop.Adam(1e-3))), but got a mapping: write tuple(mapping.items())"
            )
        for pair in self.groups:
            good = isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)
            if not good or not hasattr(pair[1], "updates") or isinstance(pair[1], type):
                raise DeclarationError(
                    f"a group must be a pattern and an optimizer, such as ('*', prop.Adam(1e-3)), "
                    f"but is {quoted(pair)}"
                )
        object.__setattr__(self, "groups", tuple(self.groups))

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """The updates of every group, in the order of the groups."""
        members: list[list[tuple[Expr, Expr]]] = [[] for _ in self.groups]
        for p, g in zip(parameters, gradients, strict=True):
            members[self._group(str(p.name))].append((p, g))
        found: dict[Any, Update] = {}
        for (pattern, optimizer), pairs in zip(self.groups, members, strict=True):
            if not pairs:
                raise DeclarationError(
                    f"the group {quoted(pattern)} has no parameter: there are "
                    f"{listed(str(p.name) for p in parameters)}"
                )
            # A count that several optimizers share is one state with one new value.
            for leaf, new in optimizer.updates([p for p, _ in pairs], [g for _, g in pairs]):
                found.setdefault(leaf.node, (leaf, new))
        return list(found.values())

    def _group(self, name: str) -> int:
        for position, (pattern, _) in enumerate(self.groups):
            if fnmatchcase(name, pattern):
                return position
        raise DeclarationError(
            f"the parameter {quoted(name)} is in no group: end with ('*', optimizer), or leave it "
            "as it is with freeze="
        )


@dataclass(frozen=True)
class WeightDecay:
    """Parameters that shrink beside what an optimizer does: p = new - rate*decay*p.

    The rate is the optimizer's. WeightDecay(Adam(r), d) is AdamW(r, weight_decay=d). I. Loshchilov
    and F. Hutter, Decoupled weight decay regularization, ICLR 2019. Only some parameters: in a
    group of `Groups`.
    """

    optimizer: Any
    decay: float = 1e-2

    def __post_init__(self) -> None:
        check_inside("WeightDecay", self.optimizer)
        if not hasattr(self.optimizer, "rate"):
            raise DeclarationError(
                f"WeightDecay needs an optimizer with a rate, but got {quoted(self.optimizer)}: "
                "put it around the optimizers inside"
            )
        check_positive("decay", self.decay)

    @property
    def rate(self) -> Any:
        """The rate of the optimizer inside."""
        return self.optimizer.rate

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """The updates of the optimizer inside, the new parameters less their shares."""
        shrink, own = self.rate * self.decay, {p.node for p in parameters}
        return [
            (leaf, new - shrink * leaf if leaf.node in own else new)
            for leaf, new in self.optimizer.updates(parameters, gradients)
        ]


@dataclass(frozen=True)
class Accumulated:
    """One update of the optimizer for several steps, from the mean of their gradients.

    A large batch in parts: with `every` batches of equal size the update is that of one batch of
    all their examples. The optimizer's counts and moments move once for `every` steps; schedules
    count steps, not updates.
    """

    optimizer: Any
    every: int

    def __post_init__(self) -> None:
        check_inside("Accumulated", self.optimizer)
        good = isinstance(self.every, int | np.integer) and not isinstance(self.every, bool)
        if not good or self.every < 2:
            raise DeclarationError(
                f"every must be a whole number of steps, 2 or more, but is {quoted(self.every)}"
            )

    @property
    def rate(self) -> Any:
        """The rate of the optimizer inside."""
        return self.optimizer.rate

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """The count within a group of steps, the sums, and the optimizer's updates at its end."""
        done = state("accumulated.steps", (), 0, dtype="int64")
        last = (done == self.every - 1).named("last")
        sums = [slot("accumulated", p) for p in parameters]
        reached = [s + g for s, g in zip(sums, gradients, strict=True)]
        pairs: list[Update] = [(done, where(last, 0, done + 1))]
        pairs += [(s, where(last, 0.0, new)) for s, new in zip(sums, reached, strict=True)]
        means = [new / self.every for new in reached]
        for leaf, new in self.optimizer.updates(parameters, means):
            pairs.append((leaf, where(last, new, leaf)))
        return pairs


@dataclass(frozen=True)
class Averaged:
    """A moving average of the parameters beside them: a = decay*a + (1 - decay)*p.

    The average starts from the parameters after the first step. `prop.averages(trainer)` are the
    averaged weights by name, for `trainer.restore`. B. T. Polyak and A. B. Juditsky, Acceleration
    of stochastic approximation by averaging, 1992, with weights that fade.
    """

    optimizer: Any
    decay: float = 0.999

    def __post_init__(self) -> None:
        check_inside("Averaged", self.optimizer)
        check_decay("decay", self.decay)

    @property
    def rate(self) -> Any:
        """The rate of the optimizer inside."""
        return self.optimizer.rate

    def updates(self, parameters: Sequence[Expr], gradients: Sequence[Expr]) -> list[Update]:
        """The updates of the optimizer inside; then one average a parameter, of its new value."""
        inside = self.optimizer.updates(parameters, gradients)
        moved = {leaf.node: new for leaf, new in inside}
        started = state("average.started", (), 0, dtype="int64")
        pairs: list[Update] = [*inside, (started, as_expr(1))]
        for p in parameters:
            average, new = slot(AVERAGE, p), moved[p.node]
            faded = self.decay * average + complement(self.decay) * new
            pairs.append((average, where(started > 0, faded, new)))
        return pairs


def averages(trainer: Any) -> Arrays:
    """The averaged weights by the names of their parameters, of a step with `prop.Averaged`.

    kept = trainer.snapshot()
    trainer.restore(kept | prop.averages(trainer))   # ... and back: trainer.restore(kept)
    """
    found = {
        name: trainer.states[f"{AVERAGE}.{name}"].copy()
        for name in trainer.parameters
        if f"{AVERAGE}.{name}" in trainer.states
    }
    if not found:
        raise DataError(
            "the trainer keeps no averages: train with prop.Averaged(optimizer) around the "
            "optimizer"
        )
    return found


def check_inside(owner: str, optimizer: Any) -> None:
    if not hasattr(optimizer, "updates") or isinstance(optimizer, type):
        raise DeclarationError(
            f"{owner} needs an optimizer such as prop.Adam(1e-3), but got {quoted(optimizer)}"
        )


# --- penalties -----------------------------------------------------------------------------------


def l2_penalty(parameters: Iterable[Expr]) -> Expr:
    """The sum of the squares of all elements: loss + 1e-4 * l2_penalty(net.parameters.values()).

    A. E. Hoerl and R. W. Kennard, Ridge regression, 1970. For decay beside the gradient, as AdamW
    has it: `WeightDecay`.
    """
    return summed("l2_penalty", [total(square(p)) for p in parameters])


def l1_penalty(parameters: Iterable[Expr]) -> Expr:
    """The sum of the sizes of all elements; the derivative at 0 is 0.

    R. Tibshirani, Regression shrinkage and selection via the lasso, 1996.
    """
    return summed("l1_penalty", [total(absolute(p)) for p in parameters])


def summed(word: str, parts: list[Expr]) -> Expr:
    if not parts:
        raise DeclarationError(f"{word} needs at least one parameter: call the network first")
    found: Expr = functools.reduce(operator.add, parts)
    return found.named(word)


# What can be put around an optimizer, by the name under which `symprop` exports it.
WRAPPERS: dict[str, Callable[..., Optimizer]] = {
    w.__name__: w for w in (Groups, WeightDecay, Accumulated, Averaged)
}
