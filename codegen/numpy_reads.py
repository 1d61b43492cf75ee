"""Reads of buffers as NumPy text: names, slices, index arrays, zero-padded reads.

In: a ``Load``, the order of the step's loops, and whether positions may leave the buffer (some
guard stands above). Out: a ``Value``.

Strategies, first that fits: plain axes and slices; otherwise NumPy's index arrays over open grids,
positions clipped into the buffer where a guard may not hold, and masked to exactly 0 by the read's
own guards. The last is right for every valid read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from codegen.index import Gather, Ix, Loop, bounds, lower, nonneg
from codegen.numpy_values import (
    Order,
    Scope,
    Value,
    align,
    dims_only,
    index_value,
    linear,
    mask,
    ordered,
    size,
    slice_item,
    where,
)
from codegen.numpy_views import guarded_by_range, padded_read, repeated, reshaped, sliding
from codegen.printer import ALL, Expr, Item, Name, Num, SliceE, call, integer, method, sequence
from codegen.program import Load

__all__ = ["Place", "load", "place", "safe"]


def safe(ix: Ix, extent: Ix) -> tuple[bool, bool]:
    """Whether ix >= 0, and ix < extent, are proved for all loops."""
    low, high = bounds(ix)
    return (
        low is not None and nonneg(low),
        high is not None and nonneg(extent - 1 - high),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where elements stand in an array: the items between its brackets, the loops of the axes that
    indexing gives, whether slices and integers suffice, and axes that need one more element,
    because they may be empty and a masked position must stand somewhere."""

    items: tuple[Expr, ...]
    axes: tuple[Loop, ...]
    basic: bool
    grown: tuple[int, ...]

    def of(self, array: Expr) -> Expr:
        """array[items]."""
        return Item(array, self.items) if self.items else array


def place(
    scope: Scope, indices: Sequence[Ix], dims: Sequence[Ix], order: Order, uncertain: bool
) -> Place:
    """The items for positions ``indices`` in an array of shape ``dims``.

    ``uncertain``: some guard may not hold, so positions that may leave the array are clipped.
    """
    counts = Counter(v for ix in indices for v in ix.loops)
    items: list[Value | SliceE] = []
    forms = [linear(ix) for ix in indices]
    grown: list[int] = []
    for n, (ix, extent, form) in enumerate(zip(indices, dims, forms, strict=True)):
        ok = safe(ix, extent) if uncertain else (True, True)
        if form is not None and all(ok) and counts[form[0]] == 1:
            items.append(slice_item(scope, *form, extent))
        elif dims_only(ix) and all(ok):
            items.append(Value(_element(scope, ix, extent)))
        else:
            at = index_value(scope, ix, order, uncertain)
            if not all(ok):
                if (lower(extent) or 0) < 1:
                    grown.append(n)
                    extent = extent + 1
                at = _clipped(scope, at, *ok, extent)
            items.append(at)
    block = ordered([v for i in items if isinstance(i, Value) for v in i.axes], order)
    fancy = [n for n, i in enumerate(items) if isinstance(i, Value)]
    together = not block or fancy == list(range(fancy[0], fancy[-1] + 1))
    axes: list[Loop] = [] if together else list(block)
    written: list[Expr] = []
    for n, (i, form) in enumerate(zip(items, forms, strict=True)):
        if isinstance(i, Value):
            if together and n == fancy[0]:
                axes += block
            written.append(align(i, block).expr)
        else:
            assert form is not None
            axes.append(form[0])
            written.append(i)
    while written and written[-1] == ALL:
        written.pop()
    return Place(tuple(written), tuple(axes), not block, tuple(grown))


def load(scope: Scope, read: Load, order: Order, uncertain: bool, unmasked: bool = False) -> Value:
    """The value of a read over its loops.

    ``uncertain``: the read may be asked for points at which some guard of the step does not hold.
    ``unmasked``: leave points outside the read's own guards to the caller.
    """
    buffer = scope.buffers[read.buffer]
    array: Expr = Name(scope.local[read.buffer])
    nothing = Value(Name("False") if buffer.dtype == "bool" else Num("0"))
    if read.guards and not unmasked and guarded_by_range(read.guards, read.indices, buffer.dims):
        padded = None if uncertain else padded_read(scope, read, order, nothing.expr)
        if padded is not None:
            return padded
    uncertain = uncertain or bool(read.guards)
    view = _view(scope, read, array, order, uncertain)
    if view is not None:
        value = Value(view.expr, view.axes, buffer.dtype, frozenset((read.buffer,)))
    else:
        at = place(scope, read.indices, buffer.dims, order, uncertain)
        if at.grown:
            ends = (Num("1" if n in at.grown else "0") for n in range(len(buffer.dims)))
            array = call("np.pad", array, sequence(tuple(sequence((Num("0"), e)) for e in ends)))
        shares = frozenset((read.buffer,)) if at.basic and at.axes else frozenset()
        value = Value(at.of(array), at.axes, buffer.dtype, shares)
    if not read.guards or unmasked:
        return value
    return where(mask(scope, read.guards, order), value, nothing, order, buffer.dtype)


def _view(scope: Scope, read: Load, array: Expr, order: Order, uncertain: bool) -> Value | None:
    """The read as a reshape or as windows, where slices do not say it."""
    dims = scope.buffers[read.buffer].dims
    loops = [v for ix in read.indices for v in ix.loops]
    if not loops or any(isinstance(a, Gather) for ix in read.indices for a in ix.atoms()):
        return None
    if uncertain and not all(
        all(safe(ix, extent)) for ix, extent in zip(read.indices, dims, strict=True)
    ):
        return None
    sliced = all(dims_only(ix) or linear(ix) is not None for ix in read.indices)
    if sliced and len(set(loops)) == len(loops):
        return None
    return (
        reshaped(scope, array, read.indices, dims, order)
        or repeated(scope, array, read.indices, dims)
        or sliding(scope, scope.local[read.buffer], array, read.indices, dims, order)
    )


def _element(scope: Scope, ix: Ix, extent: Ix) -> Expr:
    """One position of an axis; counted from the end when that is shorter."""
    short = ix - extent
    if ix.value is None and short.value is not None:
        return integer(short.value)
    return size(scope, ix)


def _clipped(scope: Scope, value: Value, low_ok: bool, high_ok: bool, extent: Ix) -> Value:
    """Positions moved into 0 .. extent-1 where they lie outside."""
    last = size(scope, extent - 1)
    python = value.dtype is None
    expr = value.expr
    if not low_ok and not high_ok and not python:
        expr = method(expr, "clip", Num("0"), last)
    else:
        if not low_ok:
            expr = call("max" if python else "np.maximum", expr, Num("0"))
        if not high_ok:
            expr = call("min" if python else "np.minimum", expr, last)
    return Value(expr, value.axes, value.dtype)
