"""Where a NaN or an infinity came from: the first number of a model that is not finite.

In: a scalar loss, a training step or a trainer; arrays for its variables; a width. Out: `Origin`,
or None where the loss, all gradients and (of a step) all updates are finite.

Everything is evaluated in floats of the width as it is compiled before anything is simplified
(`symprop.checks.every_value`), so that no simplification hides the place; code that runs in
training is left alone. From a result that is not finite the way goes back through what it read that
is not finite either.

Guarantees: what is named is a sub-expression whose operands are finite and whose value is not, with
the indices, the operands' values and the line of the user; what does not reach the result (a branch
that is not taken, a masked element) is not blamed. Regions are opened; inside a block of
`prop.scan` nothing is named but the block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from symprop import term as t
from symprop.checks.element import Element, element_of, place_of, read_at
from symprop.checks.every_value import WIDTHS, Values, written
from symprop.checks.run import loss_of, parameters_of
from symprop.errors import DataError, DeclarationError, NonFiniteError, quoted
from symprop.expression import Expr
from symprop.gradient import gradient
from symprop.graph import At, Leaf, Node, Reduce, hint
from symprop.oracle import Point, holds

if TYPE_CHECKING:
    from symprop.data import Arrays
    from symprop.runner import Runner

__all__ = ["Origin", "failure", "find_nan"]


@dataclass(frozen=True)
class Origin:
    """The first number that is not finite.

    `value` came out of `expression`, in which `operands` went in, by name; `name` is the variable
    that holds it, if it has one, at `index`; `place` is the user's line; `phase` is "the loss", "a
    gradient" (the loss being finite) or "an update" (the gradients being so too); `note` is what
    else there is to say.
    """

    value: float
    expression: str
    name: str
    index: tuple[int, ...]
    operands: Mapping[str, float]
    place: str
    phase: str
    note: str = ""

    @property
    def backward(self) -> bool:
        """Whether the loss is finite and the number in what follows it."""
        return self.phase != "the loss"

    def __str__(self) -> str:
        given = ", ".join(f"{name} = {x:.6g}" for name, x in self.operands.items())
        holder = f" of {quoted(self.name)}" if self.name else ""
        at = f"at {list(self.index)}{holder}" if self.index else holder[1:]
        where = ", ".join(part for part in (ascii(self.place)[1:-1], at) if part)
        return (
            f"the first number in {self.phase} that is not finite is {self.expression} = "
            f"{self.value}{f', where {given}' if given else ''}{f' ({where})' if where else ''}"
            f"{f': {self.note}' if self.note else ''}"
        )

    __repr__ = __str__


def find_nan(model: Any, values: Mapping[str, Any], dtype: str = "float32") -> Origin | None:
    """The first number of a model's loss, gradients and updates that is not finite, or None.

    Args:
        model: a scalar loss, a training step or a trainer.
        values: arrays by name, for everything that the loss reads; of a trainer, its own weights
            and states are taken where they are not among them.
        dtype: the floats it is computed in.

    Raises DeclarationError for what is no model, DataError where a value is missing or does not
    fit, or where all values together are too many to look at.
    """
    if dtype not in WIDTHS:
        raise DeclarationError(f"dtype must be float32 or float64, not {quoted(dtype)}")
    given: dict[str, Any] = {}
    for kept in ("parameters", "states"):
        own = getattr(model, kept, None)
        given |= own if isinstance(own, Mapping) else {}
    loss = loss_of(model)
    gradients = [g.node for g in gradient(loss, [Expr(p) for p in parameters_of(loss)])]
    step = getattr(model, "training_step", model)
    updates = [new.node for _, new in getattr(step, "updates", ())]
    roots = written([loss.node, *gradients, *updates])
    run = Values(roots, {**given, **values}, dtype)
    phases = ["the loss", *["a gradient"] * len(gradients), *["an update"] * len(updates)]
    with np.errstate(all="ignore"):
        for root, phase in zip(roots, phases, strict=True):
            bad = np.argwhere(~np.isfinite(run.values[root]))
            if len(bad):
                return _traced(run, root, tuple(map(int, bad[0])), phase)
    return None


def failure(runner: Runner, batch: Arrays, what: str) -> NonFiniteError:
    """The error for a step that was undone: what happened, and the first number that is not
    finite."""
    origin, reason = None, ""
    try:
        origin = find_nan(runner.recipe, {**runner.arrays, **batch}, runner.dtype)
    except DataError as unknown:
        reason = f"; where it began is not known: {unknown}"
    error = NonFiniteError(
        f"{what}{'' if origin is None else f'; {origin}'}{reason}; the weights are again those "
        "before that step: lower the learning rate, look for extreme values in the data, or guard "
        "the formula"
    )
    error.origin = origin
    return error


# --- the place ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bad:
    """A number that is not finite: a part of a body at a point that contributes to an element."""

    node: Reduce
    point: Point
    reads: list[Any]
    term: t.Term


def _traced(run: Values, node: Node, index: Point, phase: str) -> Origin:
    """From a bad number back to the first: through what was read and is bad itself.

    An infinity that was handed in is no fault of its own where a NaN was made of it.
    """
    made: _Bad | None = None
    while isinstance(node, Reduce):
        found = _bad_term(run, node, index)
        if found is None:
            return _whole(run, node, index, phase, "the sum overflows")
        if not isinstance(found.term, t.Read):
            return _origin(run, found, index, phase)
        if math.isnan(run.values[node][index]) and not any(map(_nan, found.reads)):
            term = _first(run, node.body, found.reads, _nan)
            made = found if term is None else _Bad(node, found.point, found.reads, term)
            made_at = index
        read = node.reads[found.term.k]
        assert isinstance(read, At)
        index, node = read_at(run, node, read, found.point), read.node
    if made is not None and isinstance(node, Leaf) and math.isinf(run.values[node][index]):
        return _origin(run, made, made_at, phase)
    note = "it was handed in" if isinstance(node, Leaf) else "it comes out of a block"
    return _whole(run, node, index, phase, note)


def _whole(run: Values, node: Node, index: Point, phase: str, note: str) -> Origin:
    """What is said of an element of which no part is to be named."""
    value, text = float(run.values[node][index]), element_of(node, index)
    return Origin(value, text, hint(node), index, {}, place_of(node), phase, note)


def _origin(run: Values, bad: _Bad, index: Point, phase: str) -> Origin:
    """What is said of a number, in the user's names."""
    element = Element(run, bad.node, bad.point)
    operands = {element.spelled(t.read(k)): float(bad.reads[k]) for k in bad.term.reads}
    value, text = float(run.term(bad.term)(bad.reads)), element.spelled(bad.term)
    return Origin(value, text, hint(bad.node), index, operands, place_of(bad.node), phase)


def _bad_term(run: Values, node: Reduce, index: Point) -> _Bad | None:
    """The first number that is not finite at a point that contributes to an element; of a formula
    without a sum the element itself."""
    loops = {item: k for k, item in enumerate(node.loops)}
    readers = [run.reader(r, loops) for r in node.reads]
    for point in _points(run, node, index):
        reads = [read(point) for read in readers]
        term = _first(run, node.body, reads, _infinite)
        if term is not None:
            return _Bad(node, point, reads, term)
        if len(node.loops) == node.nout:
            return _Bad(node, point, reads, node.body)
    return None


def _points(run: Values, node: Reduce, index: Point) -> Iterator[Point]:
    """The points of the loops that contribute to an element."""
    loops = {item: k for k, item in enumerate(node.loops)}
    guards = run.conditions(node.guards, loops)
    sizes = [run.size(item.extent) for item in node.loops[node.nout :]]
    for inner in np.ndindex(*sizes):
        point = (*index, *inner)
        if all(holds(ix(point), kind) for ix, kind in guards):
            yield point


def _infinite(x: Any) -> bool:
    return not math.isfinite(x)


def _nan(x: Any) -> bool:
    return math.isnan(x)


def _first(
    run: Values, term: t.Term, reads: list[Any], bad: Callable[[Any], bool]
) -> t.Term | None:
    """The smallest part that is bad and makes the whole bad; of a selection only what is taken."""
    if not bad(run.term(term)(reads)):
        return None
    operands = t.children(term)
    if isinstance(term, t.Call) and term.fn is t.SELECT:
        condition, a, b = term.args
        operands = (a if run.term(condition)(reads) else b,)
    for child in operands:
        found = _first(run, child, reads, bad)
        if found is not None:
            return found
    return term
