"""The pretty texts: a step whose reading has a word of NumPy's own is written with that word.

In: a step, its reading (``codegen.classify``), the scope. Out: a ``Value`` over the target's loops,
or None, and then the general text of ``codegen.numpy_steps`` stands.

    Contract  ->  x @ w.T, np.tensordot, np.einsum        Prefix  ->  np.cumsum
    Concat    ->  np.concatenate, np.stack                Extremum of a padded window: np.pad(-inf)

Guarantees: each is equal to the general text, up to the order of additions.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from codegen.classify import (
    ArgExtremum,
    Concat,
    Contract,
    Extremum,
    Map,
    Prefix,
    Sum,
    classify,
)
from codegen.index import Ix, Loop, constant, loop, lower, nonneg, substitute
from codegen.numpy_bodies import body_value
from codegen.numpy_prepare import shifted
from codegen.numpy_steps import choose_order, identity, output_loops, reduced_value
from codegen.numpy_values import (
    FLOATS,
    Order,
    Scope,
    Value,
    align,
    cast,
    combine,
    promote,
    size,
    transposed,
)
from codegen.numpy_views import guarded_by_range, padded_read
from codegen.printer import (
    ALL,
    Bin,
    Expr,
    Item,
    Name,
    Num,
    Seq,
    SliceE,
    Un,
    call,
    integer,
    method,
    sequence,
)
from codegen.program import Assign, Binary, Dtype, Load, Number, Scalar, targets
from codegen.spans import interval

__all__ = ["reading_value"]


def reading_value(scope: Scope, step: Assign) -> Value | None:
    """The value of a step by its reading; None where the general text is as good."""
    match classify(step):
        case Contract() as c:
            return _contract(scope, step, c)
        case Prefix() as p:
            return _prefix(scope, step, p)
        case Concat() as c:
            return _concat(scope, step, c)
        case ArgExtremum() as a:
            return _arg_extremum(scope, step, a)
        case Map():
            return _padded(scope, step) or _placed(scope, step)
        case Extremum() | Sum():
            return _padded(scope, step)
        case _:
            return None


# --- products of matrices ------------------------------------------------------------------------


def _product(scope: Scope, parts: tuple[Scalar, ...], order: Order, dtype: Dtype) -> Value:
    """The product of a group of factors, divisions kept as divisions."""
    whole: Value | None = None
    for f in parts:
        match f:
            case Binary("/", Number(v), b) if v == 1 and whole is not None:
                op, s = "/", b
            case _:
                op, s = "*", f
        value = body_value(scope, s, order, dtype)
        if whole is None:
            whole = value
        else:
            both = promote(whole.dtype, value.dtype)
            whole, value = (
                v if v.dtype in (None, both, "bool") or both is None else cast(v, both)
                for v in (whole, value)
            )
            whole = combine(op, whole, value, order, both)
    assert whole is not None
    return whole


def _contract(scope: Scope, step: Assign, c: Contract) -> Value | None:
    if not c.m and not c.n and (c.batch or len(c.k) > 1):
        return None  # (x * y).sum(axis=...) says it best
    order = choose_order(step, output_loops(step))
    dtype = scope.buffers[step.target].dtype
    left = _product(scope, c.left, order, dtype)
    right = _product(scope, c.right, order, dtype)
    both = promote(left.dtype, right.dtype)
    if both not in FLOATS or step.accumulator not in FLOATS:
        return None
    both = step.accumulator if both != step.accumulator else both
    left, right = cast(left, both), cast(right, both)
    for operand, loops in ((left, (*c.batch, *c.m, *c.k)), (right, (*c.batch, *c.k, *c.n))):
        if set(operand.axes) != set(loops):
            return None
    out = output_loops(step)
    value = _multiplied(step, c, left, right, out, both)
    return _scaled(scope, c.scale, value, both)


def _scaled(scope: Scope, scale: tuple[Scalar, ...], value: Value, dtype: Dtype) -> Value:
    """The product by the factors that depend on no loop."""
    for f in scale:
        if isinstance(f, Number) and f.value == -1:
            value = replace(value, expr=Un("-", value.expr))
            continue
        divided = isinstance(f, Binary) and f.op == "/" and f.left == Number(1)  # type: ignore[arg-type]
        s = f.right if divided else f  # type: ignore[union-attr]
        factor = body_value(scope, s, {}, dtype)
        if factor.dtype not in (None, dtype):
            factor = cast(factor, dtype)
        if divided:
            value = combine("/", value, factor, {v: n for n, v in enumerate(value.axes)}, dtype)
        else:
            value = combine("*", factor, value, {v: n for n, v in enumerate(value.axes)}, dtype)
    return value


def _multiplied(
    step: Assign, c: Contract, a: Value, b: Value, out: tuple[Loop, ...], dtype: Dtype
) -> Value:
    """The contraction of two operands, written in the way that moves the fewest axes."""
    m, n, k = c.m, c.n, c.k
    if not c.batch:
        swap = bool(out) and out[0] in n
        if len(k) == 1 and (not m or not n) and (m or n):  # a vector: no transpose of the other
            vector_first = not m
            matrix = b if vector_first else a
            swap = vector_first == (matrix.axes[-1:] == k)
        if swap:
            a, b, m, n = b, a, n, m  # so that the axes come out in the target's order
        if (len(k) == 1 and len(n) <= 1 and a.axes[-1:] == k) or (
            len(k) == 1 and len(m) <= 1 and len(n) <= 1
        ):
            left = transposed(a, (*m_order(a, m), *k))
            right = transposed(b, (*k, *n))
            return Value(Bin("@", left.expr, right.expr), (*m_order(a, m), *n), dtype)
        places = [[v.axes.index(r) for r in k] for v in (a, b)]
        axes = sequence(
            tuple(
                integer(p[0]) if len(p) == 1 else sequence(tuple(map(integer, p))) for p in places
            )
        )
        rest = tuple(v for v in (*a.axes, *b.axes) if v not in k)
        return Value(call("np.tensordot", a.expr, b.expr, axes=axes), rest, dtype)
    if len(m) == len(n) == len(k) == 1:
        batch = tuple(v for v in out if v in c.batch)
        if out.index(m[0]) > out.index(n[0]):
            a, b, m, n = b, a, n, m
        left, right = transposed(a, (*batch, *m, *k)), transposed(b, (*batch, *k, *n))
        return Value(Bin("@", left.expr, right.expr), (*batch, *m, *n), dtype)
    letters = _letters(step)
    out = tuple(v for v in out if v in (*a.axes, *b.axes))  # one of extent 1 may be in neither
    text = ",".join("".join(letters[v] for v in value.axes) for value in (a, b))
    text = f'"{text}->{"".join(letters[v] for v in out)}"'
    return Value(call("np.einsum", Num(text), a.expr, b.expr), out, dtype)


def m_order(a: Value, m: tuple[Loop, ...]) -> tuple[Loop, ...]:
    """The free axes of an operand in its own order: no axis is moved for them."""
    return tuple(v for v in a.axes if v in m)


def _letters(step: Assign) -> dict[Loop, str]:
    """A letter for each loop: the first of its name that is free."""
    letters: dict[Loop, str] = {}
    for v, name in zip(step.loops, step.names, strict=True):
        choice = [*name.lower(), *"abcdefghijklmnopqrstuvwxyz"]
        letters[v] = next(x for x in choice if "a" <= x <= "z" and x not in letters.values())
    return letters


# --- positions of extrema ------------------------------------------------------------------------


def _arg_extremum(scope: Scope, step: Assign, a: ArgExtremum) -> Value | None:
    """``x.argmax(axis=1)``, when ``best`` is seen to be the extremum of the same read.

    Where a row holds NaN, NumPy gives the first NaN's position.
    """
    makers = [s for s in scope.program.steps if a.best.buffer in targets(s)]
    if len(makers) != 1 or not isinstance(makers[0], Assign):
        return None
    best = makers[0]
    inner = [v for v in best.loops if v not in output_loops(best)]
    if (
        best.op != ("min" if a.least else "max")
        or best.guards
        or [v.extent for v in inner] != [v.extent for v in a.along]
        or any((lower(v.extent) or 0) < 1 for v in inner)
        or not isinstance(best.body, Load)
        or best.body.guards
        or best.body.buffer != a.read.buffer
    ):
        return None
    moved = {v: w.ix() for v, w in zip(inner, a.along, strict=True)}
    for ix, at in zip(best.index, a.best.indices, strict=True):
        if not isinstance(ix.atom, Loop):
            return None
        moved[ix.atom] = at
    if tuple(substitute(ix, moved) for ix in best.body.indices) != a.read.indices:
        return None
    whole = (*output_loops(step), *a.along)
    value = body_value(scope, a.read, {v: n for n, v in enumerate(whole)}, "float64")
    name = "argmin" if a.least else "argmax"
    if len(a.along) == 1:
        axis = integer(value.axes.index(a.along[0])) if len(value.axes) > 1 else None
        rest = tuple(v for v in value.axes if v not in a.along)
        return Value(method(value.expr, name, axis=axis), rest, "int64")
    if set(value.axes) != set(whole) or any(v.extent.value is None for v in a.along):
        return None
    rows = transposed(value, whole).expr
    rest = output_loops(step)
    if rest:  # the windows flattened to one axis
        count = prod(v.extent.value or -1 for v in a.along)
        rows = method(rows, "reshape", *(size(scope, v.extent) for v in rest), integer(count))
    axis = integer(len(rest)) if rest else None
    return Value(method(rows, name, axis=axis), rest, "int64")


# --- cumulative sums -----------------------------------------------------------------------------


def _prefix(scope: Scope, step: Assign, p: Prefix) -> Value | None:
    out = output_loops(step)
    order = {v: n for n, v in enumerate(p.reduced if v is p.along else v for v in out)}
    if len(order) != len(out):
        return None
    dtype = scope.buffers[step.target].dtype
    value = body_value(scope, step.body, order, dtype)
    if value.dtype not in FLOATS or value.dtype != step.accumulator:
        return None
    axis = value.axes.index(p.reduced)
    axes = tuple(p.along if v is p.reduced else v for v in value.axes)
    where: Expr | None = integer(axis) if len(axes) > 1 else None
    if not p.reverse:
        return Value(call("np.cumsum", value.expr, axis=where), axes, dtype=value.dtype)
    back = SliceE(None, None, Un("-", Num("1")))
    items = tuple(back if n == axis else ALL for n in range(axis + 1))
    total = call("np.cumsum", Item(value.expr, items), axis=where)
    return Value(Item(total, items), axes, value.dtype)


# --- arrays laid end to end ----------------------------------------------------------------------


def _concat(scope: Scope, step: Assign, c: Concat) -> Value | None:
    out = output_loops(step)
    axis = out.index(c.along)
    stacked = all((p.stop - p.start).value == 1 for p in c.parts)
    values: list[Value] = []
    for p in c.parts:
        one = (p.stop - p.start).value == 1
        inner = loop(c.along.position, p.stop - p.start)
        shift: dict[Loop, Ix] = {c.along: p.start if one else inner.ix() + p.start}
        indices = tuple(substitute(ix, shift) for ix in p.read.indices)
        axes = tuple(inner if v is c.along else v for v in out if not (one and v is c.along))
        order = {v: n for n, v in enumerate(axes)}
        value = body_value(scope, Load(p.read.buffer, indices), order, "float64")
        if set(value.axes) != set(axes):
            return None
        value = transposed(value, axes)
        if one and not stacked:
            value = align(replace(value, axes=axes), (*axes[:axis], c.along, *axes[axis:]))
            if len(value.axes) != len(out):
                value = replace(value, expr=Item(value.expr, (Name("None"),)))
        values.append(value)
    dtype = values[0].dtype
    if any(v.dtype != dtype for v in values):
        return None
    parts = Seq("[", tuple(v.expr for v in values))
    where = integer(axis) if axis else None
    return Value(call("np.stack" if stacked else "np.concatenate", parts, axis=where), out, dtype)


# --- reductions of padded windows ----------------------------------------------------------------


def _padded(scope: Scope, step: Assign) -> Value | None:
    """A reduction of one read whose guards say only that it is inside: pad with the identity."""
    body, scale = step.body, None
    if isinstance(body, Binary) and body.op in ("*", "/") and isinstance(body.right, Number):
        body, scale = body.left, body
    if isinstance(body, Binary) and body.op == "*" and isinstance(body.left, Number):
        body, scale = body.right, body
    if scale is not None and step.op not in ("sum", "="):
        return None
    if not isinstance(body, Load) or body.guards or not step.guards:
        return None
    buffer = scope.buffers[body.buffer]
    if step.op in ("max", "min") and buffer.dtype != scope.buffers[step.target].dtype:
        return None  # the identity of one dtype is a number of the other
    if not guarded_by_range(step.guards, body.indices, buffer.dims):
        return None
    out = output_loops(step)
    reduced = tuple(v for v in step.loops if v not in out)
    order = choose_order(step, out)
    value = padded_read(scope, body, order, identity(step.op, buffer.dtype))
    if value is None:
        return None
    value = reduced_value(scope, step.op, value, reduced, step.accumulator, buffer.dtype)
    if scale is not None:
        assert isinstance(scale, Binary)
        factor = scale.right if isinstance(scale.right, Number) else scale.left
        number = body_value(scope, factor, {}, value.dtype or "float64")
        axes = {v: n for n, v in enumerate(value.axes)}
        if isinstance(scale.right, Number):
            value = combine(scale.op, value, number, axes, value.dtype)
        else:
            value = combine("*", number, value, axes, value.dtype)
    return value


# --- values that fill a part of their target -----------------------------------------------------


def _placed(scope: Scope, step: Assign) -> Value | None:
    """A map whose guards bound its own loops: computed where they hold, zeros around it."""
    if step.op not in ("=", "sum"):
        return None
    out = output_loops(step)
    bounds: dict[Loop, tuple[Ix, Ix]] = {}
    for v in out:
        own = tuple(g for g in step.guards if g.ix.loops == (v,))
        found = interval(own, v)
        if found is None:
            return None
        if own:
            bounds[v] = found
    if not bounds or any(len(g.ix.loops) != 1 for g in step.guards):
        return None
    for v, (start, stop) in bounds.items():
        if not (nonneg(start) and nonneg(v.extent - stop) and nonneg(stop - start - 1)):
            return None
    inner = {v: loop(v.position, stop - start) for v, (start, stop) in bounds.items()}
    moved = {v: inner[v].ix() + bounds[v][0] for v in inner}
    whole = tuple(inner.get(v, v) for v in out)
    value = body_value(
        scope,
        shifted(step.body, moved),
        {v: n for n, v in enumerate(whole)},
        scope.buffers[step.target].dtype,
    )
    if set(value.axes) != set(whole):
        return None
    value = transposed(value, whole)
    widths: list[Expr] = []
    for v in out:
        start, stop = bounds.get(v, (constant(0), v.extent))
        widths.append(sequence((size(scope, start), size(scope, v.extent - stop))))
    amount = widths[0] if len(widths) == 1 else sequence(tuple(widths))
    return Value(call("np.pad", value.expr, amount), out, value.dtype)
