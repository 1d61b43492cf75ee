"""One assignment of a Program as NumPy statements.

In: an ``Assign`` and the scope of the function it stands in. Out: a few ``Statement``s.

The general text, right for every valid step: the body over the step's loops by broadcasting, where
its guards hold (``np.where``, the identity elsewhere), reduced over the loops that the target does
not use, then stored: as a new array, by slices, in place, or by ``np.add.at``. The readings of
``codegen.classify`` replace it where a better text exists (``codegen.numpy_readings``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations
from math import prod

from codegen.index import Ix, Loop, lower
from codegen.numpy_bodies import body_value, may_warn
from codegen.numpy_reads import place
from codegen.numpy_values import (
    FLOATS,
    Order,
    Scope,
    Value,
    align,
    cast,
    combine,
    mask,
    numpy_dtype,
    shape_of,
    size,
    transposed,
    where,
)
from codegen.printer import (
    ALL,
    NONE,
    Attr,
    Bin,
    CallE,
    Expr,
    Item,
    Name,
    Num,
    SliceE,
    Un,
    call,
    flat,
    integer,
    method,
    sequence,
)
from codegen.program import Assign, Binary, Buffer, Dtype, Load, Scalar, walk

__all__ = ["Statement", "assign_statements", "identity", "output_loops"]


_WHERE = Name("np.where")


@dataclass(frozen=True, slots=True)
class Statement:
    """``head`` + expression, on its own line: ``Statement("hidden = ", ...)``."""

    head: str
    expr: Expr

    @property
    def name(self) -> str:
        """The name that ``name = expr`` gives."""
        return self.head.removesuffix(" = ")


def output_loops(step: Assign) -> tuple[Loop, ...]:
    """The loops that the target's index uses, in order of first use."""
    return tuple(dict.fromkeys(v for ix in step.index for v in ix.loops))


def choose_order(step: Assign, out: tuple[Loop, ...]) -> Order:
    """The order of the axes while the body is computed: the one with the fewest transposes."""
    reduced = tuple(v for v in step.loops if v not in out)
    natural = (*out, *reduced)
    if not reduced or len(natural) > 6:
        return {v: n for n, v in enumerate(natural)}
    reads = [
        tuple(dict.fromkeys(v for ix in part.indices for v in ix.loops))
        for part in walk(step.body)
        if isinstance(part, Load)
    ]
    reads = [r for r in reads if r]

    def cost(axes: tuple[Loop, ...]) -> int:
        rank = {v: n for n, v in enumerate(axes)}
        total = 0
        for r in reads:
            ranks = [rank[v] for v in r]
            total += 4 * (ranks != sorted(ranks))
            total += 1 if len(axes) - min(ranks) > len(r) else 0
        kept = [rank[v] for v in out]
        return total + 3 * (kept != sorted(kept))

    best = min(permutations(natural), key=cost)  # the first of equals is the natural order
    return {v: n for n, v in enumerate(best)}


def identity(op: str, dtype: Dtype) -> Expr:
    """What an element is before anything is reduced into it."""
    if op in ("max", "min"):
        low = op == "max"
        if dtype in FLOATS:
            return Un("-", Name("np.inf")) if low else Name("np.inf")
        if dtype == "bool":
            return Name("False" if low else "True")
        return Attr(call("np.iinfo", numpy_dtype(dtype)), "min" if low else "max")
    return Name("False") if dtype == "bool" else Num("0")


def reduced_value(
    scope: Scope, op: str, value: Value, loops: tuple[Loop, ...], accumulator: Dtype, dtype: Dtype
) -> Value:
    """The value reduced over ``loops``, in the dtype ``dtype``."""
    if not loops:
        return value
    present = tuple(v for v in loops if v in value.axes)
    absent = tuple(v for v in loops if v not in value.axes)
    if op in ("max", "min") or (op == "=" and absent):
        empty = tuple(v for v in absent if (lower(v.extent) or 0) < 1)
        if empty:  # nothing may be left: the axis must stand there to be seen empty
            axes = (*empty, *value.axes)
            shape = sequence(tuple(size(scope, v.extent) for v in axes))
            value = value if value.dtype else cast(value, dtype)
            value = Value(call("np.broadcast_to", value.expr, shape), axes, value.dtype)
            present = (*empty, *present)
        absent = ()
    if present:
        value = value if value.dtype else cast(value, dtype)
        places = tuple(value.axes.index(v) for v in present)
        rest = tuple(v for v in value.axes if v not in present)
        axis: Expr | None = None
        if rest:
            axis = (
                integer(places[0])
                if len(places) == 1
                else sequence(tuple(map(integer, sorted(places))))
            )
        if op in ("max", "min"):
            may_be_empty = any((lower(v.extent) or 0) < 1 for v in present)
            initial = identity(op, value.dtype or dtype) if may_be_empty else None
            expr: Expr = method(value.expr, op, axis=axis, initial=initial)
            value = Value(expr, rest, value.dtype)
        else:
            own = value.dtype
            natural = own if own in FLOATS or own in ("int64", "uint64") else "int64"
            wide = accumulator if own in FLOATS or accumulator not in FLOATS else dtype
            if dtype == "bool":
                return Value(method(value.expr, "any", axis=axis), rest, "bool")
            keyword = numpy_dtype(wide) if natural != wide else None
            value = Value(method(value.expr, "sum", axis=axis, dtype=keyword), rest, wide)
    if absent:
        count = prod(v.extent.value for v in absent if v.extent.value is not None)
        factor: Expr | None = integer(count) if count != 1 else None
        for v in absent:
            if v.extent.value is None:
                one = size(scope, v.extent)
                factor = one if factor is None else Bin("*", factor, one)
        if factor is None:
            return value
        order = {v: n for n, v in enumerate(value.axes)}
        value = combine("*", Value(factor), value, order, value.dtype)
    return value


def assign_value(scope: Scope, step: Assign) -> Value:
    """The body where the guards hold, reduced: a value over the loops of the target's index."""
    dtype = scope.buffers[step.target].dtype
    out = output_loops(step)
    reduced = tuple(v for v in step.loops if v not in out)
    order = choose_order(step, out)
    inner = [g for g in step.guards if any(v in reduced for v in g.ix.loops)]
    outer = [g for g in step.guards if g not in inner]
    value = body_value(scope, step.body, order, dtype, bool(step.guards))
    if step.guards:
        scope.warns(*may_warn(step.body, scope.kinds))
    nothing = Value(identity(step.op, dtype))
    if inner:
        value = where(mask(scope, inner, order), value, nothing, order, value.dtype or dtype)
    value = reduced_value(scope, step.op, value, reduced, step.accumulator, dtype)
    if outer:
        value = where(mask(scope, outer, order), value, nothing, order, value.dtype or dtype)
    return value


def plain_index(step: Assign, target: Buffer) -> bool:
    """Whether the target's index is a distinct whole loop for each axis."""
    out = output_loops(step)
    return len(out) == len(step.index) and all(
        ix.terms == ((v, 1),) and ix.const == 0 and v.extent is extent
        for ix, v, extent in zip(step.index, out, target.dims, strict=True)
    )


def assign_statements(scope: Scope, step: Assign, value: Value | None = None) -> list[Statement]:
    """The statements of a step; ``value`` where a reading has written it already."""
    target = scope.buffers[step.target]
    name = scope.local[step.target]
    in_place = target.role in ("state", "parameter")
    if plain_index(step, target):
        if in_place:
            short = _updated(scope, step, target) if value is None else None
            if short is not None:
                return [short]
            value = value or assign_value(scope, step)
            out = output_loops(step)
            whole = transposed(value, tuple(v for v in out if v in value.axes))
            return [Statement(f"{name}[...] = ", align(whole, out).expr)]
        value = value or assign_value(scope, step)
        return [Statement(f"{name} = ", finished(scope, step, target, value).expr)]
    value = value or assign_value(scope, step)
    return _stored(scope, step, target, value, in_place)


def finished(scope: Scope, step: Assign, target: Buffer, value: Value) -> Value:
    """The value as the whole new target: axes in order, full shape, its dtype."""
    expr: Expr
    out = output_loops(step)
    value = transposed(value, tuple(v for v in out if v in value.axes))
    owners = scope.owners(value.shares)
    output = step.target in scope.program.outputs
    copy = any(b in scope.updates or (output and scope.visible(b)) for b in owners)
    scope.shared[step.target] = frozenset() if copy else owners
    if output:
        scope.exposed.update(owners)
    if value.axes == out:
        if value.dtype != target.dtype:
            return cast(value, target.dtype)
        if output and not out and isinstance(value.expr, CallE) and value.expr.function == _WHERE:
            return replace(value, expr=Item(value.expr, (sequence(()),)))  # a scalar, not an array
        stored = not out and isinstance(step.body, Load) and step.body.buffer in scope.updates
        if (copy and value.shares) or stored:
            return replace(value, expr=method(value.expr, "copy"), shares=frozenset())
        return value
    if (
        value.axes and value.dtype and all(v in value.axes or v.extent.value == 1 for v in out)
    ):  # new axes of length 1
        value = cast(value, target.dtype)
        whole = align(value, out)
        expr = whole.expr
        if len(whole.axes) < len(out):
            expr = Item(expr, (NONE,) * (len(out) - len(whole.axes)))
        return Value(expr, out, target.dtype, value.shares)
    shape = shape_of(scope, target.dims)
    dtype = numpy_dtype(target.dtype)
    copy = copy or output  # a broadcast view cannot be written to
    if not value.axes and (value.dtype is None or copy):
        if value.expr == Num("0"):
            expr = call("np.zeros", shape, dtype)
        else:
            expr = call("np.full", shape, value.expr, dtype)
        return Value(expr, out, target.dtype)
    value = cast(value, target.dtype)
    kept = tuple(v for v in out if v in value.axes)
    expr = call("np.broadcast_to", align(value, out).expr, shape)
    if copy:
        expr = method(expr, "copy")
        return Value(expr, out, target.dtype)
    return Value(expr, out, target.dtype, value.shares if kept else frozenset())


def _updated(scope: Scope, step: Assign, target: Buffer) -> Statement | None:
    """``weight -= ...`` where the body is the old element and one more operand."""
    body = step.body
    if step.guards or len(output_loops(step)) != len(step.loops):
        return None
    if not isinstance(body, Binary) or body.op == "**":
        return None

    def own(s: Scalar) -> bool:
        return (
            isinstance(s, Load)
            and s.buffer == step.target
            and s.indices == step.index
            and not s.guards
        )

    rest = body.right if own(body.left) else body.left
    if not own(body.left) and not (own(body.right) and body.op in ("+", "*")):
        return None
    if body.op == "/" and target.dtype not in FLOATS:
        return None
    out = output_loops(step)
    order = choose_order(step, out)
    value = body_value(scope, rest, order, target.dtype)
    if value.dtype not in (None, target.dtype):
        return None
    return Statement(f"{scope.local[step.target]} {body.op}= ", align(value, out).expr)


def _stored(
    scope: Scope, step: Assign, target: Buffer, value: Value, in_place: bool
) -> list[Statement]:
    """A new array filled at computed positions."""
    name = scope.local[step.target]
    own = scope.local[step.target]
    if in_place:
        own = f"new_{name}"
        while own in scope.local.values():
            own += "_"
    out = output_loops(step)
    order = {v: n for n, v in enumerate(out)}
    uncertain = bool(step.guards)
    at = place(scope, step.index, target.dims, order, uncertain)
    dims = [d + 1 if n in at.grown else d for n, d in enumerate(target.dims)]
    statements = [Statement(f"{own} = ", _started(scope, step.op, target, dims))]
    value = transposed(value, tuple(v for v in at.axes if v in value.axes))
    filled = align(value, at.axes).expr
    if at.basic or (step.op == "=" and not uncertain):
        items = at.items or (Name("..."),)
        statements.append(Statement(f"{flat(Item(Name(own), items))} = ", filled))
    else:
        ufunc = {"max": "np.maximum", "min": "np.minimum"}.get(step.op, "np.add")
        if len(value.axes) == 1 and len(at.axes) > 1 and value.axes == at.axes[-1:]:
            filled = Item(filled, (NONE,))  # NumPy's ufunc.at misreads shorter values (2.4)
        items = at.items
        places = items[0] if len(items) == 1 else sequence(items)
        if any(isinstance(i, SliceE) for i in items):
            places = Item(Name("np.s_"), items)
        statements.append(Statement("", call(f"{ufunc}.at", Name(own), places, filled)))
    if at.grown:
        cut = tuple(Name(":-1") if n in at.grown else ALL for n in range(len(dims)))
        statements.append(Statement(f"{own} = ", Item(Name(own), cut)))
    if in_place:
        statements.append(Statement(f"{name}[...] = ", Name(own)))
    return statements


def _started(scope: Scope, op: str, target: Buffer, dims: list[Ix]) -> Expr:
    shape = shape_of(scope, dims)
    if op in ("max", "min"):
        return call("np.full", shape, identity(op, target.dtype), numpy_dtype(target.dtype))
    return call("np.zeros", shape, numpy_dtype(target.dtype))
