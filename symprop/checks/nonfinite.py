"""Where a NaN or an infinity came from: the first number of a model that is not finite.

In: a scalar loss, a training step or a trainer; arrays for its variables; a width. Out: `Origin`,
or None where the loss and all gradients are finite.

Everything is evaluated as it was written, node by node, in floats of the width, first the loss and
then the gradients: no simplification hides the place, and code that runs in training is left alone.
From a result that is not finite the way goes back through what it read that is not finite either.

Guarantees: what is named is a sub-expression whose operands are finite and whose value is not, with
the indices, the operands' values and the line of the user; what does not reach the result (a branch
that is not taken, a masked element) is not blamed. Inside a block of `prop.scan` or `prop.region`
nothing is named but the block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.functions import FUNCTIONS, python_callable
from codegen.index import Dim
from symprop import term as t
from symprop.checks.run import loss_of, parameters_of
from symprop.equality.sampling import work
from symprop.errors import DeclarationError, quoted
from symprop.expression import Expr
from symprop.gradient import gradient
from symprop.graph import FLOATS, At, Leaf, Node, Reduce, hint, origin
from symprop.oracle import Array, Oracle, Point, run_with
from symprop.walk import leaves

__all__ = ["Origin", "find_nan", "origin_text"]

WIDTHS = {"float32": np.float32, "float64": np.float64}
LARGEST = 1_000_000  # scalar steps of a loss that an error waits for: seconds
DEEP = 50  # origins that are followed to the user's line


@dataclass(frozen=True)
class Origin:
    """The first number that is not finite.

    `value` came out of `expression`; `name` is the variable that holds it, at `index`; `operands`
    are the values that went in, by name; `place` is the user's line; `backward` says that it is in
    a gradient, the loss being finite.
    """

    value: float
    expression: str
    name: str
    index: tuple[int, ...]
    operands: Mapping[str, float]
    place: str
    backward: bool

    def __str__(self) -> str:
        where = f" at {list(self.index)}" if self.index else ""
        line = f" ({ascii(self.place)[1:-1]})" if self.place else ""
        given = ", ".join(f"{name} = {x:.6g}" for name, x in self.operands.items())
        phase = "in a gradient" if self.backward else "in the loss"
        return (
            f"the first number {phase} that is not finite is {self.value}, in {quoted(self.name)}"
            f"{where}{line}: {self.expression}" + (f", where {given}" if given else "")
        )

    __repr__ = __str__


def find_nan(model: Any, values: Mapping[str, Any], dtype: str = "float32") -> Origin | None:
    """The first number of a model's loss and gradients that is not finite, or None.

    Args:
        model: a scalar loss, a training step or a trainer.
        values: arrays by name, for everything that the loss reads; of a trainer, its own weights
            are taken where they are not among them.
        dtype: the floats it is computed in.

    Raises DeclarationError for what is no model, DataError where a value is missing.
    """
    if dtype not in WIDTHS:
        raise DeclarationError(f"dtype must be float32 or float64, not {quoted(dtype)}")
    loss = loss_of(model)
    given = {**dict(getattr(model, "parameters", {}) or {}), **values}
    gradients = gradient(loss, [Expr(p) for p in parameters_of(loss)])
    run = _Floats(dtype)
    with np.errstate(all="ignore"):
        for backward, roots in ((False, [loss.node]), (True, [g.node for g in gradients])):
            run_with(run, roots, given)
            for root in roots:
                bad = np.argwhere(~np.isfinite(run.values[root]))
                if len(bad):
                    return _traced(run, root, tuple(map(int, bad[0])), backward)
    return None


def origin_text(loss: Expr, values: Mapping[str, Any], dtype: str) -> str:
    """The origin as the end of a sentence; nothing where there is none, or where the model is too
    large to be evaluated number by number."""
    sizes: dict[str, int] = {}
    for leaf in leaves([loss.node]):
        for d, n in zip(leaf.dims, np.shape(values.get(leaf.name, leaf.init)), strict=False):
            if isinstance(d.atom, Dim):
                sizes[d.atom.name] = n
    if work([loss.node], sizes) > LARGEST:
        return ""
    found = find_nan(loss, values, dtype)
    return "" if found is None else f"; {found}"


class _Floats(Oracle):
    """The oracle in floats of one width."""

    def __init__(self, dtype: str) -> None:
        super().__init__(None)
        self.dtype, self.round = dtype, WIDTHS[dtype]

    def fresh(self) -> Oracle:
        return _Floats(self.dtype)

    def number(self, x: Any) -> Any:
        return self.round(x)

    def array(self, shape: Point, dtype: str) -> Array:
        return np.zeros(shape, self.dtype if dtype in FLOATS else np.int64)

    def function(self, fn: t.Function) -> Callable[..., Any]:
        if fn.name not in FUNCTIONS or fn in t.STRUCTURAL:
            return super().function(fn)
        plain = python_callable(fn.name)
        return lambda *args: self.round(plain(*map(float, args)))


# --- the place ------------------------------------------------------------------------------------


def _traced(run: _Floats, node: Node, index: Point, backward: bool) -> Origin:
    """From a bad number back to the first: through what was read and is bad itself."""
    while True:
        value = float(run.values[node][index])
        if not isinstance(node, Reduce):
            what = "it was handed in" if isinstance(node, Leaf) else "it comes out of a block"
            return Origin(value, what, _name(node), index, {}, _place(node), backward)
        found = _bad_term(run, node, index)
        if found is None:
            return Origin(
                value, "the sum overflows", _name(node), index, {}, _place(node), backward
            )
        term, point, reads = found
        if isinstance(term, t.Read):
            read = node.reads[term.k]
            assert isinstance(read, At)
            index, node = _place_of(run, node, read, point), read.node
            continue
        names = _names(run, node, point)
        operands = {_full(node, names, k): float(reads[k]) for k in term.reads}
        text = t.render(term, lambda k: names[k])  # noqa: B023  # rendered at once
        value = float(run.term(term)(reads))
        return Origin(value, text, _name(node), index, operands, _place(node), backward)


def _bad_term(run: _Floats, node: Reduce, index: Point) -> tuple[t.Term, Point, list[Any]] | None:
    """The first subterm that is bad at a point that contributes to an element."""
    loops = {item: k for k, item in enumerate(node.loops)}
    readers = [run.reader(r, loops) for r in node.reads]
    for point in _points(run, node, index):
        reads = [read(point) for read in readers]
        term = _first_bad(run, node.body, reads)
        if term is not None:
            return term, point, reads
    return None


def _place_of(run: _Floats, node: Reduce, read: At, point: Point) -> Point:
    """The index at which something is read."""
    loops = {item: k for k, item in enumerate(node.loops)}
    return tuple(run.index(i, loops)(point) for i in read.index)


def _names(run: _Floats, node: Reduce, point: Point) -> list[str]:
    """What is read, by its name and index: x[0, 2]; v for a value without a name."""
    found: list[str] = []
    for r in node.reads:
        if isinstance(r, At):
            at = ", ".join(map(str, _place_of(run, node, r, point)))
            name = hint(r.node) or f"v{len(found) or ''}"
            found.append(f"{name}[{at}]" if at else name)
        else:
            found.append(f"index{len(found)}")
    return found


def _full(node: Reduce, names: Sequence[str], k: int) -> str:
    """A name with the line that it comes from, where it is no name of the user's."""
    read = node.reads[k]
    place = _place(read.node) if isinstance(read, At) and not hint(read.node) else ""
    return f"{names[k]} of {place}" if place else names[k]


def _points(run: _Floats, node: Reduce, index: Point) -> Iterator[Point]:
    """The points of the loops that contribute to an element."""
    loops = {item: k for k, item in enumerate(node.loops)}
    guards = run.conditions(node.guards, loops)
    sizes = [run.size(item.extent) for item in node.loops[node.nout :]]
    for inner in np.ndindex(*sizes):
        point = (*index, *inner)
        if all(ix(point) >= 0 if kind == ">=" else ix(point) == 0 for ix, kind in guards):
            yield point


def _first_bad(run: _Floats, term: t.Term, reads: list[Any]) -> t.Term | None:
    """The first subterm that is not finite, operands before what is made of them; of a selection
    only the branch that is taken."""
    if isinstance(term, t.Call) and term.fn is t.SELECT:
        condition, a, b = term.args
        return _first_bad(run, a if run.term(condition)(reads) else b, reads)
    for child in t.children(term):
        found = _first_bad(run, child, reads)
        if found is not None:
            return found
    return None if math.isfinite(run.term(term)(reads)) else term


def _name(node: Node) -> str:
    """What a value is called: its own name, or that of what it was made from."""
    for one in _ancestry(node):
        if hint(one):
            return hint(one) if one is node else f"a value made from {hint(one)}"
    return "a value without a name"


def _place(node: Node) -> str:
    """The user's line that a value came from."""
    return next((origin(one).place for one in _ancestry(node) if origin(one).place), "")


def _ancestry(node: Node) -> Iterator[Node]:
    """A node, and by its origins what it was made from."""
    queue, seen = [node], {node}
    while queue and len(seen) < DEEP:
        one = queue.pop(0)
        yield one
        for parent in origin(one).inputs:
            if parent not in seen:
                seen.add(parent)
                queue.append(parent)
