"""Reads that are views or zero-padded copies: reshapes, windows, shifted slices.

In: a read's buffer and positions. Out: a ``Value`` without an index array, or None where the
positions are not of such a form (``numpy_reads.load`` then falls back to index arrays).

    x[b, i // 8, i % 8]              x.reshape(batch, 64)
    x[b, t, 16*h + d]                x.reshape(batch, time, 4, 16)
    x[b, c, 2*i + r - 1] where ...   sliding_window_view(np.pad(x, ...), 3, axis=2)[:, :, ::2]

Guarantees: the same elements for every value of the loops; a padded read is the fill value exactly
where the guards that say "inside" do not hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations

from codegen.index import Floor, Guard, Ix, Loop, bounds, constant, guard, nonneg
from codegen.numpy_values import Order, Scope, Value, dims_only, linear, size, slice_item
from codegen.printer import (
    ALL,
    Attr,
    Expr,
    Item,
    Name,
    Num,
    SliceE,
    call,
    integer,
    method,
    sequence,
)
from codegen.program import Load
from codegen.spans import windowed

__all__ = ["guarded_by_range", "padded_read", "repeated", "reshaped", "sliding", "temporary"]


def temporary(scope: Scope, name: str, expr: Expr) -> Name:
    """A name for an expression that stands before the step; equal expressions share it."""
    found = scope.temporaries.get(expr)
    if found is None:
        found = scope.names(name)
        scope.temporaries[expr] = found
        scope.before.append((found, expr))
    return Name(found)


# --- reshapes ------------------------------------------------------------------------------------


def reshaped(
    scope: Scope, array: Expr, indices: Sequence[Ix], dims: Sequence[Ix], order: Order
) -> Value | None:
    """The whole array with its axes split and joined, when the positions are row-major."""
    array, indices, dims = _trimmed(scope, array, indices, dims)
    lead: list[Loop] = []
    for n, (ix, extent) in enumerate(zip(indices, dims, strict=True)):
        atom = ix.atom
        later = {v for other in indices[n + 1 :] for v in other.loops}
        if not isinstance(atom, Loop) or atom.extent is not extent or atom in later:
            break
        lead.append(atom)
    start = len(lead)
    rest = tuple(range(start, len(indices)))
    if len(rest) > 4:
        return None
    found: list[tuple[bool, tuple[int, ...], tuple[Loop, ...]]] = []
    for perm in permutations(rest):
        axes = _row_major([indices[n] for n in perm], [dims[n] for n in perm])
        if axes is not None:
            ranks = [order[v] for v in (*lead, *axes)]
            found.append((ranks != sorted(ranks), (*range(start), *perm), (*lead, *axes)))
    if not found:
        return None
    _, moved, whole = min(found, key=lambda f: f[:2])  # first, the order that the step wants
    shape = [size(scope, v.extent) for v in whole]
    return Value(method(_moved(array, moved), "reshape", *shape), whole)


def _trimmed(
    scope: Scope, array: Expr, indices: Sequence[Ix], dims: Sequence[Ix]
) -> tuple[Expr, list[Ix], list[Ix]]:
    """The part of an array that runs of positions such as 4*i + j + 8 cover."""
    items: list[Expr] = []
    new_indices, new_dims = list(indices), list(dims)
    for n, (ix, extent) in enumerate(zip(indices, dims, strict=True)):
        items.append(ALL)
        loops = [(k, a) for a, k in ix.terms if isinstance(a, Loop)]
        start = constant(ix.const)
        if len(loops) < 2 or len(loops) != len(ix.terms) or extent.value is None:
            continue
        run = _row_major([ix - start], [_span(loops)])
        if run is None or ix.const < 0:
            continue
        new_indices[n], new_dims[n] = ix - start, _span(loops)
        stop = start + new_dims[n]
        if new_dims[n] is not extent:
            items[n] = SliceE(
                None if not ix.const else size(scope, start),
                None if stop is extent else size(scope, stop),
            )
    while items and items[-1] == ALL:
        items.pop()
    return (Item(array, tuple(items)) if items else array), new_indices, new_dims


def _span(loops: list[tuple[int, Loop]]) -> Ix:
    """How many positions a run of loops covers."""
    k, outer = max(loops, key=lambda t: t[0])
    return outer.extent * k


def _moved(array: Expr, perm: tuple[int, ...]) -> Expr:
    changed = [n for n, p in enumerate(perm) if n != p]
    if not changed:
        return array
    if len(changed) == 2:
        if len(perm) == 2:
            return Attr(array, "T")
        return method(array, "swapaxes", *map(integer, changed))
    return method(array, "transpose", *map(integer, perm))


def _row_major(indices: list[Ix], dims: list[Ix]) -> tuple[Loop, ...] | None:
    """The loops, outermost first, whose row-major offset is that of the positions."""
    flat, stride = constant(0), 1
    for n in range(len(indices) - 1, -1, -1):
        flat = flat + indices[n] * stride
        extent = dims[n].value
        if n and extent is None:
            return None
        stride *= extent or 0
    inner = 1
    for extent_ix in dims[1:]:
        inner *= extent_ix.value or 0
    total = dims[0] * inner if dims else constant(1)
    if flat.const or not flat.terms or not all(isinstance(a, Loop) for a, _ in flat.terms):
        return None
    terms = sorted(((k, a) for a, k in flat.terms if isinstance(a, Loop)), key=lambda t: -t[0])
    expected = 1
    for n in range(len(terms) - 1, -1, -1):
        k, v = terms[n]
        if k != expected:
            return None
        if n == 0:
            return tuple(v for _, v in terms) if v.extent * k is total else None
        if v.extent.value is None:
            return None
        expected *= v.extent.value
    return None


def repeated(scope: Scope, array: Expr, indices: Sequence[Ix], dims: Sequence[Ix]) -> Value | None:
    """x[.., i // n, ..] as ``x.repeat(n, axis=..)``."""
    axes: list[Loop] = []
    for k, (ix, extent) in enumerate(zip(indices, dims, strict=True)):
        atom = ix.atom
        if isinstance(atom, Floor):
            (inner, n) = atom.of.atom, atom.n
            if not isinstance(inner, Loop) or inner.extent is not extent * n:
                return None
            array = method(array, "repeat", integer(n), axis=integer(k) if len(dims) > 1 else None)
            atom = inner
        if not isinstance(atom, Loop) or atom in axes:
            return None
        if ix.atom is atom and atom.extent is not extent:
            return None
        axes.append(atom)
    return Value(array, tuple(axes))


# --- windows and padding -------------------------------------------------------------------------


def sliding(
    scope: Scope, name: str, array: Expr, indices: Sequence[Ix], dims: Sequence[Ix], order: Order
) -> Value | None:
    """A view with a window axis for each position a*i + b*r + c of two loops."""
    counts = Counter(v for ix in indices for v in ix.loops)
    if any(n > 1 for n in counts.values()):
        return None
    widths: list[Expr] = []
    places: list[Expr] = []
    items: list[Expr] = []
    inner: list[Expr] = []
    axes: list[Loop] = []
    window_axes: list[Loop] = []
    for n, (ix, extent) in enumerate(zip(indices, dims, strict=True)):
        form, pair = linear(ix), windowed(ix)
        if form is not None:
            items.append(slice_item(scope, *form, extent))
            axes.append(form[0])
        elif dims_only(ix):
            items.append(size(scope, ix))
        elif pair is not None:
            (i, a), (r, b) = sorted(pair, key=lambda p: _as_window(p[0], order))
            if r.extent.value is None:
                return None
            reach = abs(b) * (r.extent.value - 1)
            c = ix - i.ix() * a - r.ix() * b
            if b < 0:
                c = c - reach
            widths.append(integer(reach + 1))
            places.append(integer(n))
            items.append(slice_item(scope, i, a, c, extent - reach))
            axes.append(i)
            backwards = constant(reach if b < 0 else 0)
            inner.append(slice_item(scope, r, b, backwards, constant(reach + 1)))
            window_axes.append(r)
        else:
            return None
    if not widths:
        return None
    one = len(widths) == 1
    width = widths[0] if one else sequence(tuple(widths))
    axis = None if len(dims) == 1 else places[0] if one else sequence(tuple(places))
    view: Expr = call("sliding_window_view", array, width, axis=axis)
    scope.windows = True
    items += inner
    while items and items[-1] == ALL:
        items.pop()
    if items:
        view = Item(view, tuple(items))
    return Value(temporary(scope, f"{name}_windows", view), (*axes, *window_axes))


def _as_window(v: Loop, order: Order) -> tuple[bool, int, int]:
    """A key that puts the loop best made a window last: constant, short, late in the order."""
    extent = v.extent.value
    return (extent is not None, -(extent or 0), order.get(v, 0))


def guarded_by_range(guards: Sequence[Guard], indices: Sequence[Ix], dims: Sequence[Ix]) -> bool:
    """Whether the guards say nothing but that the positions are inside the array."""
    inside = {
        g
        for ix, extent in zip(indices, dims, strict=True)
        for g in (guard(ix, ">="), guard(extent - 1 - ix, ">="))
    }
    return all(g in inside for g in guards)


def padded_read(scope: Scope, read: Load, order: Order, fill: Expr) -> Value | None:
    """A read whose positions may leave the array by a fixed margin, which holds ``fill``."""
    buffer = scope.buffers[read.buffer]
    widths: list[tuple[Ix, Ix]] = []
    for ix, extent in zip(read.indices, buffer.dims, strict=True):
        if linear(ix) is None and windowed(ix) is None and not dims_only(ix):
            return None
        low, high = bounds(ix)
        if low is None or high is None:
            return None
        before, after = -low, high - extent + 1
        zero = constant(0)
        before = zero if nonneg(-before) else before
        after = zero if nonneg(-after) else after
        if not (nonneg(before) and nonneg(after)):
            return None
        widths.append((before, after))
    array: Expr = Name(scope.local[read.buffer])
    name = scope.local[read.buffer]
    if any(w.value != 0 for pair in widths for w in pair):
        pairs = tuple(sequence(tuple(size(scope, w) for w in pair)) for pair in widths)
        amount = pairs[0] if len(pairs) == 1 else sequence(pairs)
        constant_values = None if fill in (Num("0"), Name("False")) else fill
        array = call("np.pad", array, amount, constant_values=constant_values)
        array = temporary(scope, f"{name}_padded", array)
    indices = [ix + before for ix, (before, _) in zip(read.indices, widths, strict=True)]
    dims = [d + b + a for d, (b, a) in zip(buffer.dims, widths, strict=True)]
    value = sliding(scope, name, array, indices, dims, order)
    if value is not None:
        return Value(value.expr, value.axes, buffer.dtype, frozenset((read.buffer,)))
    forms = [linear(ix) for ix in indices]
    moving = [f[0] for f in forms if f is not None]
    if len(set(moving)) < len(moving) or any(
        f is None and not dims_only(ix) for f, ix in zip(forms, indices, strict=True)
    ):
        return None
    items: list[Expr] = []
    for ix, form, extent in zip(indices, forms, dims, strict=True):
        items.append(size(scope, ix) if form is None else slice_item(scope, *form, extent))
    while items and items[-1] == ALL:
        items.pop()
    expr = Item(array, tuple(items)) if items else array
    return Value(expr, tuple(moving), buffer.dtype, frozenset((read.buffer,)))
