"""evaluate: the value of a formula, from NumPy arrays for its symbols.

In: a formula or an equation, arrays by node, sizes of free dimensions. Out: float64 arrays of the
value's own shape (for an equation of one sample, every sample's value stacked).

Guarantees: it means what ``notation`` says; shapes must agree exactly, or it raises: nothing is
broadcast that the page does not show. It is a check of what is printed, not a way to compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from codegen.index import Dim, Floor, Gather, Guard, Ix, Loop, Mod
from symprop import term as t
from symprop.errors import VerificationError
from symprop.explain import notation as nt
from symprop.explain.notation import Equation, Formula
from symprop.graph import Node
from symprop.oracle import Oracle

__all__ = ["Values", "flat_rows", "value_of"]

Array = Any


@dataclass
class Values:
    """What the symbols and sizes are; ``place`` holds the indices that are fixed or spread."""

    arrays: Mapping[Node, Array]
    sizes: Mapping[str, int]
    place: dict[Loop, Array] = field(default_factory=dict)


def value_of(equation: Equation, values: Values, side: str = "right") -> Array:
    """One side ("left", "right") of an equation, of the shape of the node it stands for.

    Raises VerificationError when shapes on the page do not fit.
    """
    formula = equation.left if side == "left" else equation.right
    return formula_value(formula, equation, values)


def formula_value(formula: Formula, equation: Equation, values: Values) -> Array:
    """A formula in the setting of an equation: its free indices, or its sample."""
    shape = tuple(_size(d, values) for d in equation.node.dims)
    entries = equation.sample is None and len(shape) > 2 and isinstance(equation.left, nt.Sym)
    if equation.loops or nt.indexed(formula) or entries:
        return _elements(formula, equation.loops, shape, values)
    if equation.sample is None:
        found = _matrix(formula, values)
        return np.full(shape, found[0, 0]) if isinstance(formula, nt.Num) else found.reshape(shape)
    count = _size(equation.sample.extent, values)
    rows = [_matrix(formula, _at(values, equation.sample, n)) for n in range(count)]
    return np.stack(rows).reshape(shape)


def _at(values: Values, loop: Loop, n: int) -> Values:
    return Values(values.arrays, values.sizes, {**values.place, loop: n})


def _size(ix: Ix, values: Values) -> int:
    return int(index_value(ix, values))


# --- matrices --------------------------------------------------------------------------------


def _matrix(of: Formula, values: Values) -> Array:
    """The value as a matrix: a column has one column, a scalar is 1 by 1."""
    match of:
        case nt.Sym(symbol, at):
            array = np.asarray(values.arrays[symbol.node], dtype=float)
            if at is not None:
                array = np.take(array, values.place[at], axis=symbol.batch)
            return _columns(array)
        case nt.Flat(symbol, at):
            array = flat_rows(symbol, np.asarray(values.arrays[symbol.node], dtype=float))
            return array if at is None else array[values.place[at]].reshape(-1, 1)
        case nt.Ones(extent):
            return np.ones((_size(extent, values), 1))
        case nt.Mat(factors):
            product = _matrix(factors[0], values)
            for factor in factors[1:]:
                product = _multiplied(product, _matrix(factor, values), of)
            return product
        case nt.Transposed(inner):
            return _matrix(inner, values).T
        case nt.Diagonal(inner):
            return np.diag(_matrix(inner, values)[:, 0])
        case nt.Norm(inner):
            return np.sum(_matrix(inner, values) ** 2).reshape(1, 1)
        case nt.OneHot(inner, extent):
            labels = _matrix(inner, values)[:, 0]
            grid = np.arange(_size(extent, values))[None, :] == labels[:, None]
            return np.asarray(grid if nt.form(inner)[0] else grid.T, dtype=float)
        case nt.Row(word, inner, rows):
            return _along(word, _matrix(inner, values), rows)
        case nt.Total("sum", (loop,), inner, ()):
            many = [_matrix(inner, _at(values, loop, n)) for n in range(_size(loop.extent, values))]
            return np.sum(np.stack(many), axis=0)
        case _:
            return _columns(_entrywise(of, [_matrix(f, values) for f in nt.parts(of)], values))


def _columns(array: Array) -> Array:
    array = np.asarray(array, dtype=float)
    if array.ndim > 2:
        raise VerificationError(f"a matrix formula holds a value with {array.ndim} axes")
    return array.reshape(array.shape + (1,) * (2 - array.ndim))


def flat_rows(symbol: nt.Symbol, array: Array) -> Array:
    """flat: a row for each sample, or one column."""
    if symbol.batch is None:
        return array.reshape(-1, 1)
    return np.moveaxis(array, symbol.batch, 0).reshape(array.shape[symbol.batch], -1)


def _multiplied(a: Array, b: Array, of: Formula) -> Array:
    if a.shape[1] != b.shape[0]:
        raise VerificationError(f"a product on the page has shapes {a.shape} and {b.shape}: {of}")
    return a @ b


def _along(word: str, x: Array, rows: bool) -> Array:
    axis = 1 if rows else 0
    top = x.max(axis=axis, keepdims=True)
    e = np.exp(x - top)
    s = e.sum(axis=axis, keepdims=True)
    return e / s if word == "softmax" else top + np.log(s)


# --- elements --------------------------------------------------------------------------------


def _elements(of: Formula, loops: Sequence[Loop], shape: tuple[int, ...], values: Values) -> Array:
    """An index formula at every place of its free loops."""
    every = list(loops)
    for item in nt.inside(of):
        if isinstance(item, nt.Total):
            every += [v for v in item.loops if v not in every]
        if isinstance(item, nt.Along) and item.over not in every:
            every.append(item.over)
    place = {v: _spread(_size(v.extent, values), k, len(every)) for k, v in enumerate(every)}
    inner = Values(values.arrays, values.sizes, place)
    found = _element(of, inner)
    full = np.broadcast_to(found, (*shape, *(1,) * (len(every) - len(loops))))
    return np.array(full.reshape(shape), dtype=float)


def _spread(size: int, axis: int, rank: int) -> Array:
    return np.arange(size).reshape((1,) * axis + (size,) + (1,) * (rank - axis - 1))


def _element(of: Formula, values: Values) -> Array:
    match of:
        case nt.Ref(symbol, index, guards):
            return _read(np.asarray(values.arrays[symbol.node], dtype=float), index, guards, values)
        case nt.Sym(symbol, None):
            return np.asarray(values.arrays[symbol.node], dtype=float)
        case nt.Flat(symbol, None, index):
            rows = flat_rows(symbol, np.asarray(values.arrays[symbol.node], dtype=float))
            return _read(rows if symbol.batch is not None else rows[:, 0], index, (), values)
        case nt.Size(ix):
            return np.asarray(index_value(ix, values), dtype=float)
        case nt.Total(op, loops, inner, guards):
            return _reduced(op, loops, _element(inner, values), guards, values)
        case nt.Along(word, over, inner, guards):
            return _normal(word, over, _element(inner, values), guards, values)
        case _:
            return _entrywise(of, [_element(f, values) for f in nt.parts(of)], values)


def _read(array: Array, index: Sequence[Ix], guards: Sequence[Guard], values: Values) -> Array:
    """Elements at computed places; where the guards fail it is 0 and the place is not looked at."""
    where = _holding(guards, values)
    places = []
    for ix, n in zip(index, array.shape, strict=True):
        places.append(np.clip(np.asarray(index_value(ix, values)), 0, max(n - 1, 0)))
    found = array[tuple(np.broadcast_arrays(*places))] if places else array
    return np.where(where, found, 0.0) if guards else found


def _reduced(
    op: str, loops: Sequence[Loop], of: Array, guards: Sequence[Guard], values: Values
) -> Array:
    empty = {"sum": 0.0, "max": -np.inf, "min": np.inf}[op]
    places = np.broadcast_arrays(of, *(values.place[v] for v in loops))
    held = np.where(_holding(guards, values), places[0], empty) if guards else places[0]
    axes = tuple(int(np.argmax(np.asarray(values.place[v].shape) > 1)) for v in loops
                 if values.place[v].size > 1)  # fmt: skip
    folds: dict[str, Callable[..., Array]] = {"sum": np.sum, "max": np.max, "min": np.min}
    fold = folds[op]
    return fold(held, axis=axes, keepdims=True) if axes else held


def _normal(word: str, over: Loop, of: Array, guards: Sequence[Guard], values: Values) -> Array:
    """softmax or logsumexp along a loop; a softmax of no place is 0."""
    place = np.asarray(values.place[over])
    x, _ = np.broadcast_arrays(np.where(_holding(guards, values), of, -np.inf), place)
    axes = (int(np.argmax(place.shape)),) if place.size > 1 else ()
    top = np.max(x, axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    e = np.exp(x - top)
    s = np.sum(e, axis=axes, keepdims=True)
    return e / np.where(s == 0, 1.0, s) if word == "softmax" else top + np.log(s)


def _holding(guards: Sequence[Guard], values: Values) -> Array:
    held: Array = np.True_
    for g in guards:
        x = np.asarray(index_value(g.ix, values))
        held = held & ((x >= 0) if g.kind == ">=" else (x == 0))
    return held


def index_value(ix: Ix, values: Values) -> Array:
    """An index at the places of its loops."""
    total: Array = ix.const
    for atom, k in ix.terms:
        total = total + k * _atom(atom, values)
    return total


def _atom(atom: Any, values: Values) -> Array:
    if isinstance(atom, Loop):
        return values.place[atom]
    if isinstance(atom, Dim):
        return values.sizes[atom.name]
    if isinstance(atom, Floor):
        return index_value(atom.of, values) // atom.n
    if isinstance(atom, Mod):
        return index_value(atom.of, values) % atom.n
    assert isinstance(atom, Gather)
    assert isinstance(atom.source, Node)
    source = np.asarray(values.arrays[atom.source])
    return _read(source, atom.indices, (), values).astype(np.int64)


# --- entry by entry --------------------------------------------------------------------------


def _entrywise(of: Formula, args: list[Array], values: Values) -> Array:
    args = _agreed(of, args)
    match of:
        case nt.Num(value):
            return np.asarray(float(value))
        case nt.Size(ix):
            return np.asarray(index_value(ix, values), dtype=float)
        case nt.Constant(word):
            return np.asarray({"pi": np.pi, "inf": np.inf, "nan": np.nan}[word])
        case nt.Add():
            return sum(args[1:], args[0])
        case nt.Mul():
            return _product(of, args)
        case nt.Pow(_, n):
            return args[0] ** float(n)
        case nt.Compare(op, _, _):
            return np.asarray(_COMPARED[op](args[0], args[1]), dtype=float)
        case nt.Logic(op, _):
            return np.asarray(_LOGIC[op](*(a != 0 for a in args)), dtype=float)
        case nt.Bracket(_, guards):
            held = _holding(guards, values)
            for a in args:
                held = held & (a != 0)
            return np.asarray(held, dtype=float)
        case nt.Cases():
            return np.where(args[0] != 0, args[1], args[2])
        case nt.Call(fn, _, prime):
            return _called(fn, prime, args)
        case _:
            raise VerificationError(f"a formula of the page has no value: {type(of).__name__}")


def _product(of: nt.Mul, args: list[Array]) -> Array:
    """The product; exactly 0 where a bracket is, whatever the other factors are there."""
    product = np.prod(np.stack(np.broadcast_arrays(*args)), axis=0)
    for factor, value in zip(of.factors, args, strict=True):
        if isinstance(factor, nt.Bracket | nt.OneHot):
            product = np.where(np.broadcast_to(value, product.shape) == 0, 0.0, product)
    return product


_COMPARED = {"lt": np.less, "le": np.less_equal, "eq": np.equal, "ne": np.not_equal}
_LOGIC = {"and": np.logical_and, "or": np.logical_or, "not": np.logical_not}


def _called(fn: t.Function, prime: bool, args: list[Array]) -> Array:
    term = t.call(fn, *map(t.read, range(fn.arity)))
    scalar = Oracle(None).term(t.diff(term, 0) if prime else term)
    return np.vectorize(lambda *x: float(scalar(list(map(float, x)))), otypes=[float])(*args)


def _agreed(of: Formula, args: list[Array]) -> list[Array]:
    """The operands, which must have one shape but for scalars (matrices are never stretched)."""
    matrices = {a.shape for a in args if a.ndim == 2 and a.size > 1}
    if len(matrices) > 1 and not nt.indexed(of):
        raise VerificationError(f"operands on the page have shapes {sorted(matrices)}")
    return args
