"""Indexing, slicing, gathering, joining and padding: reads at computed indices.

In: expressions and NumPy's index expressions (ints, slices with steps, None, ..., integer arrays
and integer expressions). Out: expressions. Guarantees: NumPy's result shapes; an index that is
known to be out of range is refused with the axis, its size and the place. Boolean masks are
refused: their result's shape depends on data (use ``where``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.index import Ix, Loop, as_ix, constant, floordiv, guard, nonneg
from symprop import graph, walk
from symprop import term as t
from symprop.errors import DataError, DeclarationError, ShapeError, quoted
from symprop.expression import (
    Expr,
    as_expr,
    broadcast,
    describe,
    finish,
    is_number,
    normal_axis,
    number,
    shape_text,
)
from symprop.graph import FLOATS, INTS, At
from symprop.make import aligned, fresh, make
from symprop.shapes import promote

__all__ = ["concat", "embedding", "flip", "getitem", "pad", "stack", "take"]


PIECES = 32  # operands joined by one node


@dataclass(frozen=True)
class _Item:
    """One entry of an index: a new axis, a fixed place, a slice, or an integer expression."""

    kind: str
    start: Ix | None = None
    step: int = 1
    extent: Ix | None = None
    array: Expr | None = None


def getitem(x: Expr, key: Any) -> Expr:
    """x[key] with NumPy's meaning."""
    items = _parse(x, key)
    arrays = [i.array for i in items if i.array is not None]
    # Among arrays a number counts as one, as in NumPy: x[0, :, [1, 2]] has the array's axes first.
    places = [k for k, i in enumerate(items) if arrays and i.kind in ("array", "at")]
    shape = broadcast("an index", arrays) if arrays else ()
    joined = bool(places) and places == list(range(places[0], places[-1] + 1))
    extents: list[Ix] = []
    first = 0
    for k, item in enumerate(items):
        if places and joined and k == places[0]:
            first = len(extents)
            extents += shape
        if item.kind in ("new", "slice"):
            extents.append(item.extent or constant(1))
    if places and not joined:
        extents = [*shape, *extents]
    loops = fresh(extents)
    own = loops[first : first + len(shape)] if places else ()
    rest = iter([item for item in loops if item not in own])
    index: list[Ix] = []
    for item in items:
        if item.kind == "new":
            next(rest)
        elif item.kind == "at":
            index.append(item.start or constant(0))
        elif item.kind == "slice":
            index.append((item.start or constant(0)) + next(rest).ix() * item.step)
        elif item.array is not None:
            index.append(walk.gathered_at(item.array.node, aligned(item.array.node, own)))
    node = make("sum", loops, len(loops), (), t.read(0), [At(x.node, tuple(index))], x.dtype)
    return finish(node, "index", [x, *arrays])


def _parse(x: Expr, key: Any) -> list[_Item]:
    keys = list(key) if isinstance(key, tuple) else [key]
    if sum(k is Ellipsis for k in keys) > 1:
        raise DeclarationError(f"an index of {describe(x)} may hold one ... only")
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > x.ndim:
        raise ShapeError(f"{describe(x)} has shape {shape_text(x)}, too few axes for the {used} "
                         f"indices given ({graph.place()})")  # fmt: skip
    full = [slice(None)] * (x.ndim - used)
    if Ellipsis in [k for k in keys if k is Ellipsis]:
        at = next(n for n, k in enumerate(keys) if k is Ellipsis)
        keys[at : at + 1] = full
    else:
        keys += full
    items, axis = [], 0
    for k in keys:
        if k is None:
            items.append(_Item("new", extent=constant(1)))
            continue
        items.append(_entry(x, axis, k))
        axis += 1
    return items


def _entry(x: Expr, axis: int, k: Any) -> _Item:
    d = x.node.dims[axis]
    if isinstance(k, slice):
        return _slice(x, axis, d, k)
    if isinstance(k, bool | np.bool_) or (
        isinstance(k, np.ndarray | list) and np.asarray(k).dtype.kind == "b"
    ):
        raise DeclarationError(f"{describe(x)} cannot be indexed by booleans, whose result has no "
                               "fixed shape: use prop.where")  # fmt: skip
    if isinstance(k, int | np.integer):
        start = as_ix(int(k)) if k >= 0 else d + int(k)
        if not nonneg(start) or not nonneg(d - 1 - start):
            sure = "is" if d.value is not None else "may be"
            raise ShapeError(f"index {int(k)} {sure} out of range for axis {axis} of "
                             f"{describe(x)}, whose size is {d!r} ({graph.place()}): a free size "
                             "is at least what prop.Dim(name, lower=...) says")  # fmt: skip
        return _Item("at", start=start)
    if isinstance(k, np.ndarray | list):
        array = np.asarray(k)
        if array.dtype.kind not in "iu":
            raise DeclarationError(f"an index of {describe(x)} must hold integers, not "
                                   f"{array.dtype}")  # fmt: skip
        size = d.value
        if size is None or array.size == 0 or array.min() < -size or array.max() >= size:
            raise ShapeError(f"an index array for axis {axis} of {describe(x)} leaves 0 .. "
                             f"{d - 1!r} ({graph.place()})")  # fmt: skip
        k = as_expr(np.where(array < 0, array + size, array).astype(np.int64))
    if not isinstance(k, Expr) or k.dtype not in INTS:
        shown = f"{describe(k)}, {k.dtype}" if isinstance(k, Expr) else quoted(k)
        raise DeclarationError(f"an index of {describe(x)} must be an integer, a slice, None, ... "
                               f"or an integer array, but is {shown}")  # fmt: skip
    if not nonneg(k.node.low) or not nonneg(d - 1 - k.node.high):
        raise ShapeError(
            f"{describe(k)} holds {k.node.low!r} .. {k.node.high!r}, which may leave axis {axis} "
            f"of {describe(x)}, of size {d!r}: declare it with prop.labels(name, dims, "
            f"classes={d!r})"
        )
    return _Item("array", array=k)


def _slice(x: Expr, axis: int, d: Ix, s: slice) -> _Item:
    for part in (s.start, s.stop, s.step):
        if part is not None and (isinstance(part, bool) or not isinstance(part, int | np.integer)):
            raise DeclarationError(f"a slice of {describe(x)} needs whole numbers, got {quoted(s)}")
    step = 1 if s.step is None else int(s.step)
    if step == 0:
        raise DeclarationError(f"a slice of {describe(x)} has step 0 ({graph.place()})")
    if d.value is not None:
        start, stop, step = s.indices(d.value)
        extent = as_ix(len(range(start, stop, step)))
        first = as_ix(start)
    else:
        first = _bound(d, s.start, d - 1 if step < 0 else constant(0))
        last = _bound(d, s.stop, constant(-1) if step < 0 else d)
        span = last - first if step > 0 else first - last
        extent = floordiv(span + abs(step) - 1, abs(step))
        low, high = (first, last) if step > 0 else (last + 1, first + 1)
        if not nonneg(span) or not nonneg(low) or not nonneg(d - high):
            raise ShapeError(f"the slice {s} of axis {axis} of {describe(x)} may leave its free "
                             f"size {d!r}: declare a lower bound with prop.Dim")  # fmt: skip
    if extent.value == 0:
        raise ShapeError(f"the slice {s} of axis {axis} of {describe(x)}, of size {d!r}, is empty")
    return _Item("slice", start=first, step=step, extent=extent)


def _bound(d: Ix, given: Any, default: Ix) -> Ix:
    if given is None:
        return default
    return as_ix(int(given)) if given >= 0 else d + int(given)


def take(x: Any, indices: Any, axis: int = 0) -> Expr:
    """Elements at integer positions along an axis."""
    x = as_expr(x)
    a = normal_axis(axis, x.ndim, describe(x))
    return getitem(x, (slice(None),) * a + (indices,))


def embedding(table: Any, ids: Any) -> Expr:
    """Rows of a table by number: table[ids]."""
    return getitem(as_expr(table), (as_expr(ids),))


def flip(x: Any, axis: Any = None) -> Expr:
    """Reversed along axes (all when none is given)."""
    x = as_expr(x)
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    which = {normal_axis(a, x.ndim, describe(x)) for a in axes}
    back = slice(None, None, -1)
    return getitem(x, tuple(back if k in which else slice(None) for k in range(x.ndim)))


def concat(xs: Sequence[Any], axis: int = 0) -> Expr:
    """Joined along an axis: a sum of reads, each guarded to its own range."""
    exprs = [as_expr(x) for x in xs]
    if not exprs:
        raise DeclarationError("concat needs at least one expression")
    a = normal_axis(axis, exprs[0].ndim, describe(exprs[0]))
    first = exprs[0].node.dims
    for e in exprs[1:]:
        dims = e.node.dims
        if len(dims) != len(first) or any(
            p is not q for k, (p, q) in enumerate(zip(dims, first, strict=True)) if k != a
        ):
            raise ShapeError(
                f"concat along axis {a} needs equal other sizes, got {shape_text(exprs[0])} from "
                f"{describe(exprs[0])} and {shape_text(e)} from {describe(e)} ({graph.place()})"
            )
    if len(exprs) > PIECES:  # a formula of so many reads is joined in a tree
        groups = [exprs[k : k + PIECES] for k in range(0, len(exprs), PIECES)]
        return concat([concat(g, a) for g in groups], a)
    total = constant(0)
    starts = []
    for e in exprs:
        starts.append(total)
        total = total + e.node.dims[a]
    loops = fresh([total if k == a else d for k, d in enumerate(first)])
    reads = []
    for e, start in zip(exprs, starts, strict=True):
        index = [item.ix() for item in loops]
        index[a] = index[a] - start
        inside = (guard(index[a], ">="), guard(e.node.dims[a] - 1 - index[a], ">="))
        reads.append(At(e.node, tuple(index), tuple(g for g in inside if not isinstance(g, bool))))
    body = t.add(*(t.read(k) for k in range(len(reads))))
    dtype = promote(*(e.dtype for e in exprs))
    return finish(make("sum", loops, len(loops), (), body, reads, dtype), "concat", exprs)


def stack(xs: Sequence[Any], axis: int = 0) -> Expr:
    """Joined along a new axis."""
    exprs = [as_expr(x) for x in xs]
    if not exprs:
        raise DeclarationError("stack needs at least one expression")
    a = normal_axis(axis, exprs[0].ndim + 1, describe(exprs[0]))
    return concat([getitem(e, (slice(None),) * a + (None,)) for e in exprs], a)


def pad(x: Any, width: Any, value: float = 0.0) -> Expr:
    """Surrounded by a constant; ``width`` as in NumPy: n, (before, after), or one pair an axis."""
    x = as_expr(x)
    given = np.asarray(width)
    fits = given.shape in ((), (1,), (2,), (1, 2), (x.ndim, 2), (x.ndim, 1))
    if given.dtype.kind not in "iu" or not fits or (given < 0).any():
        raise DataError(
            f"the pad widths of {describe(x)} must be whole numbers >= 0, one, a pair, or a pair "
            f"for each of its {x.ndim} axes, but are {quoted(width)}"
        )
    pairs = np.broadcast_to(given, (x.ndim, 2))
    if not is_number(value) or (x.dtype not in FLOATS and int(value) != value):
        raise DataError(
            f"the value around {describe(x)}, which is {x.dtype}, cannot be {quoted(value)}"
        )
    before = [int(p[0]) for p in pairs]
    loops = fresh([d + int(p[0]) + int(p[1]) for d, p in zip(x.node.dims, pairs, strict=True)])
    index, guards = _shifted(x, loops, before)
    inside = At(x.node, index, guards)
    node = make("sum", loops, len(loops), (), t.read(0), [inside], x.dtype)
    if value != 0:
        one = make("sum", loops, len(loops), guards, t.num(1), (), x.dtype)
        at = tuple(item.ix() for item in loops)
        outside = t.call(t.EQ, t.read(1), t.num(0))
        if x.dtype == "bool":
            body = t.call(t.OR, t.call(t.NOT, t.read(1)), t.read(0))
        else:
            body = t.select(outside, number(value), t.read(0))
        node = make("sum", loops, len(loops), (), body, [At(node, at), At(one, at)], x.dtype)
    return finish(node, "pad", [x])


def _shifted(x: Expr, loops: Sequence[Loop], before: Sequence[int]) -> tuple[Any, Any]:
    index = tuple(item.ix() - b for item, b in zip(loops, before, strict=True))
    guards = [
        g
        for ix, d in zip(index, x.node.dims, strict=True)
        for g in (guard(ix, ">="), guard(d - 1 - ix, ">="))
        if not isinstance(g, bool)
    ]
    return index, tuple(guards)
