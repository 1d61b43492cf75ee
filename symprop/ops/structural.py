"""Reductions, contractions and rearrangements with NumPy's names; each one value node or two.

In: expressions, arrays, numbers. Out: expressions. Guarantees: NumPy's shapes and the array API's
promotion; ``axis`` is an int or a tuple, ``keepdims`` as in NumPy; NaN propagates through max and
min; prod and cumprod are scans, hence their gradients are right at zeros; ties of max, min and
argmax go to the first position.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, cast

from codegen.index import Dim, Ix, Loop, as_ix, constant, floordiv, guard, mod, nonneg
from symprop import graph
from symprop import term as t
from symprop.errors import DeclarationError, ShapeError, quoted
from symprop.expression import (
    Expr,
    apply,
    as_expr,
    broadcast,
    describe,
    finish,
    is_number,
    normal_axis,
    number,
    pointwise,
    shape_text,
)
from symprop.graph import FLOATS, At, IndexOf, Op, Reading
from symprop.make import aligned, fresh, make
from symprop.shapes import parse_dims, promote

__all__ = [
    "apply", "argmax", "argmin", "broadcast_to", "cumprod", "cumsum", "einsum", "logcumsumexp",
    "matmul", "max", "mean", "min", "power", "prod", "reshape", "sum", "transpose", "where",
]  # fmt: skip


def normal_axes(x: Expr, axis: Any) -> tuple[int, ...]:
    """Axes as sorted positions; None is all of them."""
    if axis is None:
        return tuple(range(x.ndim))
    given = axis if isinstance(axis, tuple | list) else (axis,)
    found = sorted(normal_axis(a, x.ndim, describe(x)) for a in given)
    if len(set(found)) != len(found):
        raise ShapeError(f"an axis of {describe(x)} is reduced twice: {quoted(axis)}")
    return tuple(found)


def split_loops(
    x: Expr, axes: tuple[int, ...], keepdims: bool = False
) -> tuple[list[Loop], list[Ix], list[Ix]]:
    """Output loops and the index of x, reduced loops after them; and the reduced indices."""
    dims = x.node.dims
    out = [d for k, d in enumerate(dims) if k not in axes or keepdims]
    if keepdims:
        out = [constant(1) if k in axes else d for k, d in enumerate(dims)]
    outer = fresh(out)
    inner = fresh([dims[a] for a in axes], len(outer))
    free = iter([item for k, item in enumerate(outer) if not (keepdims and k in axes)])
    over = iter(inner)
    index = [next(over).ix() if k in axes else next(free).ix() for k in range(len(dims))]
    return [*outer, *inner], index, [item.ix() for item in inner]


def _reduced(op: Op, x: Any, axis: Any, keepdims: bool) -> Expr:
    x = as_expr(x)
    dtype = x.dtype
    if op == "sum" and dtype in ("bool", "int32"):
        dtype = "int64"
    axes = normal_axes(x, axis)
    loops, index, _ = split_loops(x, axes, keepdims)
    nout = len(loops) - len(axes)
    node = make(op, loops, nout, (), t.read(0), [At(x.node, tuple(index))], dtype)
    return finish(node, op, [x])


def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
    """Sum over axes; integers and booleans are summed as int64."""
    return _reduced("sum", x, axis, keepdims)


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
    """Greatest element over axes; the gradient goes to the first position that attains it.

    With a NaN among them the result is NaN, and the position that the gradient goes to depends on
    the backend, as that of ``argmax``.
    """
    return _reduced("max", x, axis, keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
    """Least element over axes; the gradient goes to the first position that attains it.

    With a NaN among them the result is NaN, and the position that the gradient goes to depends on
    the backend, as that of ``argmax``.
    """
    return _reduced("min", x, axis, keepdims)


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
    """Arithmetic mean over axes, in floats."""
    x = as_expr(x)
    total = sum(x, axis, keepdims)
    fixed, free = 1, []
    for a in normal_axes(x, axis):
        size = x.node.dims[a]
        if size.value is not None:
            fixed *= size.value
        else:
            free.append(IndexOf(size))
    loops = fresh(total.node.dims)
    body = t.read(0) / t.mul(t.num(fixed), *(t.read(1 + k) for k in range(len(free))))
    reads: list[Reading] = [At(total.node, aligned(total.node, loops)), *free]
    dtype = total.dtype if total.dtype in FLOATS else "float"
    return finish(make("sum", loops, len(loops), (), body, reads, dtype), "mean", [x])


def _first(x: Any, axis: Any, op: Op) -> Expr:
    x = as_expr(x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    a = normal_axis(axis, x.ndim, describe(x))
    best = _reduced(op, x, a, False)
    loops, index, over = split_loops(x, (a,))
    outer = tuple(item.ix() for item in loops[:-1])
    value, extreme = t.read(0), t.read(1)
    # A NaN compares false: with one among them every position counts as attaining the extremum.
    worse = t.call(t.LT, value, extreme) if op == "max" else t.call(t.LT, extreme, value)
    body = t.select(worse, t.read(3), t.read(2))
    reads: list[Reading] = [At(x.node, tuple(index)), At(best.node, outer), IndexOf(over[0]),
             IndexOf(x.node.dims[a] - 1)]  # fmt: skip
    return finish(make("min", loops, len(loops) - 1, (), body, reads, "int64"), f"arg{op}", [x])


def argmax(x: Any, axis: int | None = None) -> Expr:
    """First position of the greatest element.

    With a NaN among them it is a valid position, but which one depends on the backend: the first
    NaN in the NumPy text, 0 in loops.
    """
    return _first(x, axis, "max")


def argmin(x: Any, axis: int | None = None) -> Expr:
    """First position of the least element; with a NaN among them as ``argmax``."""
    return _first(x, axis, "min")


def cumsum(x: Any, axis: int) -> Expr:
    """Running sums along an axis."""
    x = as_expr(x)
    a = normal_axis(axis, x.ndim, describe(x))
    loops = [*fresh(x.node.dims), *fresh([x.node.dims[a]], x.ndim)]
    index = [item.ix() for item in loops[:-1]]
    upto = guard(index[a] - loops[-1].ix(), ">=")
    index[a] = loops[-1].ix()
    dtype = "int64" if x.dtype in ("bool", "int32") else x.dtype
    node = make("sum", loops, x.ndim, (upto,), t.read(0), [At(x.node, tuple(index))], dtype)
    return finish(node, "cumsum", [x])


def cumprod(x: Any, axis: int) -> Expr:
    """Running products along an axis: a scan, so that gradients are right at zeros."""
    from symprop.ops.control import scan

    x = as_expr(x)
    a = normal_axis(axis, x.ndim, describe(x))
    moved = _front(x, a)
    one = broadcast_to(as_expr(1.0 if x.dtype in FLOATS else 1), moved.dims[1:])
    _, ys = scan(lambda c, s: (c * s, c * s), one.astype(x.dtype), moved)
    return _back(ys, a)


def logcumsumexp(x: Any, axis: int) -> Expr:
    """Running log(sum(exp(x))) along an axis: a scan of logaddexp, without overflow."""
    from symprop.ops.control import scan
    from symprop.ops.powers import logaddexp

    x = as_expr(x)
    x = x if x.dtype in FLOATS else x.astype("float")
    a = normal_axis(axis, x.ndim, describe(x))
    moved = _front(x, a)
    nothing = broadcast_to(as_expr(-math.inf), moved.dims[1:])

    def step(c: Expr, s: Expr) -> tuple[Expr, Expr]:
        total = logaddexp(c, s)
        return total, total

    _, ys = scan(step, nothing.astype(x.dtype), moved)
    return _back(ys, a)


def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Expr:
    """Product over axes: a scan, so that gradients are right at zeros."""
    from symprop.ops.control import scan

    out = as_expr(x)
    for a in reversed(normal_axes(out, axis)):
        moved = _front(out, a)
        one = broadcast_to(as_expr(1.0 if out.dtype in FLOATS else 1), moved.dims[1:])
        out, _ = scan(lambda c, s: (c * s, None), one.astype(out.dtype), moved)
        if keepdims:
            out = out[(slice(None),) * a + (None,)]
    return out


def _front(x: Expr, a: int) -> Expr:
    return transpose(x, (a, *(k for k in range(x.ndim) if k != a)))


def _back(x: Expr, a: int) -> Expr:
    order = list(range(1, x.ndim))
    order.insert(a, 0)
    return transpose(x, order)


# --- contractions ----------------------------------------------------------------------------


def matmul(a: Expr, b: Expr) -> Expr:
    """Matrix product of the last two axes, leading axes broadcast, as NumPy's ``@``."""
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"@ needs at least one axis on each side, got {shape_text(a)} from "
                         f"{describe(a)} and {shape_text(b)} from {describe(b)}")  # fmt: skip
    left = a if a.ndim > 1 else a[None, :]
    right = b if b.ndim > 1 else b[:, None]
    k = left.node.dims[-1]
    if k is not right.node.dims[-2]:
        raise ShapeError(
            f"@ needs [.., k] @ [k, ..], got {shape_text(a)} from {describe(a)} and "
            f"{shape_text(b)} from {describe(b)} ({graph.place()}): {k!r} is not "
            f"{right.node.dims[-2]!r}"
        )
    lead = broadcast("@", [Expr(_stub(e)) for e in (left, right)])
    loops = fresh([*lead, left.node.dims[-2], right.node.dims[-1], k])
    *outer, m, n, over = loops
    reads = [
        At(left.node, (*_leading(left, outer), m.ix(), over.ix())),
        At(right.node, (*_leading(right, outer), over.ix(), n.ix())),
    ]
    body = t.read(0) * t.read(1)
    node = make("sum", loops, len(loops) - 1, (), body, reads, promote(a.dtype, b.dtype))
    out = finish(node, "@", [a, b])
    if a.ndim == 1:
        out = out[..., 0, :]
    return out[..., 0] if b.ndim == 1 else out


def _leading(e: Expr, loops: Sequence[Loop]) -> tuple[Ix, ...]:
    rank = e.ndim - 2
    dims = e.node.dims[:rank]
    tail = list(loops)[len(loops) - rank :]
    return tuple(
        constant(0) if d.value == 1 else item.ix() for d, item in zip(dims, tail, strict=True)
    )


def _stub(e: Expr) -> Any:
    """A leaf of the leading axes, for the broadcasting rule and its message."""
    return graph.new_leaf("input", e.name or "operand", e.node.dims[:-2], "float")


def einsum(subscripts: str, *operands: Any) -> Expr:
    """Sum of products in Einstein's notation: "ij,jk->ik"; letters only, "->" optional."""
    exprs = [as_expr(x) for x in operands]
    if not isinstance(subscripts, str):
        raise DeclarationError(f"einsum needs its letters as text, but got {quoted(subscripts)}")
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    if not all(p.isalpha() or not p for p in (*parts, right)) or len(parts) != len(exprs):
        raise DeclarationError(
            f"einsum needs letters for its {len(exprs)} operands "
            f"({', '.join(map(describe, exprs))}) as in 'ij,jk->ik', but got {quoted(subscripts)}"
        )
    letters = "".join(parts)
    if not arrow:
        right = "".join(sorted(c for c in dict.fromkeys(letters) if letters.count(c) == 1))
    if any(c not in letters for c in right) or len(set(right)) != len(right):
        raise DeclarationError(
            f"the output of einsum {quoted(subscripts)} must use each letter once, from its "
            f"operands ({', '.join(map(describe, exprs))})"
        )
    sizes: dict[str, Ix] = {}
    owner: dict[str, Expr] = {}
    for part, e in zip(parts, exprs, strict=True):
        if len(part) != e.ndim:
            raise ShapeError(f"einsum gives {quoted(part)} for {describe(e)}, which is "
                             f"{shape_text(e)}")  # fmt: skip
        for c, d in zip(part, e.node.dims, strict=True):
            if sizes.setdefault(c, d) is not d:
                raise ShapeError(
                    f"einsum letter {c!r} is {sizes[c]!r} in {describe(owner[c])} and {d!r} in "
                    f"{describe(e)}"
                )
            owner.setdefault(c, e)
    order = [*right, *(c for c in dict.fromkeys(letters) if c not in right)]
    loops = fresh([sizes[c] for c in order])
    at = {c: item.ix() for c, item in zip(order, loops, strict=True)}
    reads = [At(e.node, tuple(at[c] for c in p)) for p, e in zip(parts, exprs, strict=True)]
    body = t.mul(*(t.read(k) for k in range(len(reads))))
    dtype = promote(*(e.dtype for e in exprs))
    return finish(make("sum", loops, len(right), (), body, reads, dtype), "einsum", exprs)


# --- rearrangements --------------------------------------------------------------------------


def transpose(x: Any, axes: Any = None) -> Expr:
    """Axes in another order (reversed when none is given)."""
    x = as_expr(x)
    given = (axes,) if isinstance(axes, int) else axes
    order = list(reversed(range(x.ndim))) if given is None else list(given)
    order = [normal_axis(a, x.ndim, describe(x)) for a in order]
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(f"transpose needs each of the {x.ndim} axes of {describe(x)} once, "
                         f"got {quoted(axes)}")  # fmt: skip
    loops = fresh([x.node.dims[a] for a in order])
    index = [constant(0)] * x.ndim
    for item, a in zip(loops, order, strict=True):
        index[a] = item.ix()
    node = make("sum", loops, x.ndim, (), t.read(0), [At(x.node, tuple(index))], x.dtype)
    return finish(node, "transpose", [x])


def broadcast_to(x: Any, shape: Any) -> Expr:
    """The value repeated along axes of extent 1 and new leading axes."""
    x = as_expr(x)
    dims, _ = parse_dims(tuple(shape) if not isinstance(shape, str) else shape, "broadcast_to")
    if x.ndim > len(dims) or any(
        d is not e and d.value != 1
        for d, e in zip(x.node.dims, dims[len(dims) - x.ndim :], strict=True)
    ):
        raise ShapeError(f"{describe(x)} of shape {shape_text(x)} does not broadcast to {shape}")
    loops = fresh(dims)
    read = At(x.node, aligned(x.node, loops))
    return finish(make("sum", loops, len(dims), (), t.read(0), [read], x.dtype), "broadcast", [x])


def reshape(x: Any, shape: Any) -> Expr:
    """The same elements, row-major, under another shape; one size may be -1."""
    x = as_expr(x)
    given = (shape,) if isinstance(shape, int | Dim | Ix) else tuple(shape)
    dims = _resolve_shape(x, given)
    groups = _groups(x, dims)
    if groups is None:
        raise ShapeError(f"cannot reshape {describe(x)} of shape {shape_text(x)} into "
                         f"[{', '.join(map(repr, dims))}] ({graph.place()}): the sizes do not "
                         "match, or a free dimension would be split")  # fmt: skip
    loops = fresh(dims)
    index: list[Ix] = []
    for old, new in groups:
        flat = constant(0)
        stride = 1
        for k in reversed(new):
            flat = flat + loops[k].ix() * stride
            stride *= dims[k].value or 1
        parts: list[Ix] = []
        stride = 1
        for k in reversed(old):
            d = x.node.dims[k]
            inner = floordiv(flat, stride)
            parts.append(inner if k == old[0] else mod(inner, d.value or 1))
            stride *= d.value or 1
        index += reversed(parts)
    node = make("sum", loops, len(dims), (), t.read(0), [At(x.node, tuple(index))], x.dtype)
    return finish(node, "reshape", [x])


def _product(dims: Sequence[Ix]) -> Ix | None:
    total = as_ix(1)
    for d in dims:
        if d.value is not None:
            total = total * d.value
        elif total.value is not None:
            total = d * total.value
        else:
            return None
    return total


def _resolve_shape(x: Expr, given: Sequence[Any]) -> list[Ix]:
    unknown = [k for k, s in enumerate(given) if isinstance(s, int) and s == -1]
    if len(unknown) > 1:
        raise ShapeError(f"reshape of {describe(x)} can infer only one -1, got {quoted(given)}")
    rest = [s for s in given if not (isinstance(s, int) and s == -1)]
    dims = list(parse_dims(tuple(rest), f"the reshape of {describe(x)}")[0])
    if unknown:
        old = list(x.node.dims)
        left = []
        for d in dims:  # cancel free sizes that stay
            if d.value is None and d in old:
                old.remove(d)
            else:
                left.append(d)
        whole, part = _product(old), _product(left)
        divisor = None if part is None else part.value
        counts = () if whole is None else (whole.const, *(c for _, c in whole.terms))
        if whole is None or not divisor or any(k % divisor for k in counts):
            raise ShapeError(f"cannot infer -1 in the reshape of {describe(x)}, "
                             f"{shape_text(x)}, into {quoted(given)}")  # fmt: skip
        dims.insert(unknown[0], floordiv(whole, divisor))
    return dims


def _groups(x: Expr, new: Sequence[Ix]) -> list[tuple[list[int], list[int]]] | None:
    """Least runs of old and new axes with equal products; free sizes only lead a run."""
    old = x.node.dims
    i = j = 0
    groups = []
    while i < len(old) or j < len(new):
        a_run: list[int] = []
        b_run: list[int] = []
        a = b = as_ix(1)
        while not a_run or not b_run or a is not b:
            take_old = not a_run and i < len(old)
            if a_run and b_run:
                take_old = _smaller(a, b)
            elif a_run:
                take_old = False
            if take_old and i < len(old):
                a_next = _product([a, old[i]])
                if a_next is None or (old[i].value is None and a_run and a.value != 1):
                    return None
                a = a_next
                a_run.append(i)
                i += 1
            elif j < len(new):
                b_next = _product([b, new[j]])
                if b_next is None or (new[j].value is None and b_run and b.value != 1):
                    return None
                b = b_next
                b_run.append(j)
                j += 1
            elif i < len(old):
                if old[i].value != 1:
                    return None
                a_run.append(i)
                i += 1
            else:
                break
        if a is not b:
            return None
        groups.append((a_run, b_run))
    return groups


def _smaller(a: Ix, b: Ix) -> bool:
    if a.value is not None and b.value is not None:
        return a.value < b.value
    if a.value is not None:
        return True
    if b.value is not None:
        return False
    return nonneg(b - a)


# --- selection and powers ----------------------------------------------------------------------


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b; the branch not taken contributes nothing."""
    import sympy

    if any(isinstance(v, sympy.Basic) for v in (condition, a, b)):
        from symprop.ops.declare import where_symbolic

        return where_symbolic(condition, a, b)
    c = as_expr(condition)
    if c.dtype != "bool":
        raise DeclarationError(f"where needs a bool condition, but {describe(c)} is {c.dtype}: "
                               "compare it first")  # fmt: skip
    kinds = [as_expr(v).dtype for v in (a, b) if not is_number(v)] or [
        promote(as_expr(a).dtype, as_expr(b).dtype)
    ]
    if any(isinstance(v, float) for v in (a, b)) and not any(k in FLOATS for k in kinds):
        kinds.append("float")
    return pointwise("where", t.select, c, a, b, dtype=promote(*kinds))


def power(x: Any, y: Any) -> Any:
    """x ** y; a constant exponent that is whole or half is made of products and sqrt."""
    import sympy

    if any(isinstance(v, sympy.Basic) for v in (x, y)):
        return x**y
    from symprop.ops import elementwise as ops

    if is_number(y) and not is_number(x):
        exact = number(y)
        if isinstance(exact, t.Num):
            q = exact.value
            x = as_expr(x)
            if q.denominator == 1 and abs(q) <= 64:
                if q < 0 and x.dtype not in FLOATS:
                    x = x.astype("float")
                return pointwise("**", lambda a: t.power(a, int(q)), x)
            if q.denominator == 2 and abs(q) <= 64:
                root = cast(Callable[[Any], Expr], ops.sqrt)(x)
                whole = int(q - Fraction(1, 2)) if q > 0 else int(q + Fraction(1, 2))
                if q > 0:
                    return root if whole == 0 else pointwise(
                        "**", lambda a, r: t.mul(t.power(a, whole), r), x, root)  # fmt: skip
                return pointwise("**", lambda a, r: t.mul(t.power(a, whole), t.power(r, -1))
                                 if whole else t.power(r, -1), x, root)  # fmt: skip
    return cast(Expr, ops.power(x, y))
