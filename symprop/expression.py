"""Expr: the value a user holds, and how operands become one.

In: expressions, arrays, Python numbers; operators with NumPy's names and broadcasting and the array
API's promotion. Out: graph nodes. Declarations are in ``symprop.declarations``, names and dims in
``symprop.shapes``.

Guarantees: an expression is immutable; every error names the variables, both shapes and the place.
Python control flow on values is not possible: the truth value of an expression raises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, cast

import numpy as np

from codegen.index import Dim, Ix, as_ix
from symprop import graph, walk
from symprop import term as t
from symprop.errors import DeclarationError, ShapeError, UnsupportedError, listed, quoted
from symprop.graph import FLOATS, INTS, Leaf, Node, Origin
from symprop.make import elementwise as map_node
from symprop.make import make
from symprop.numpy_calls import OPERATORS, not_numpys
from symprop.shapes import check_dtype, check_name, promote, public_dim

Number = int | float | Fraction


class Expr:
    """A symbolic value. Arithmetic, comparison, indexing and NumPy's methods make new ones."""

    __slots__ = ("node", "sources")
    node: Node
    sources: tuple[Leaf, ...]  # leaves that were cancelled on the way: their arrays show sizes

    def __init__(self, node: Node, sources: tuple[Leaf, ...] = ()) -> None:
        self.node, self.sources = node, sources

    # --- what it is ---------------------------------------------------------------------
    @property
    def dims(self) -> tuple[Any, ...]:
        """Sizes: an int, a symbolic dimension (``.name``), or an affine combination of some."""
        return tuple(public_dim(d) for d in self.node.dims)

    @property
    def shape(self) -> tuple[Any, ...]:
        """The same as ``dims``."""
        return self.dims

    @property
    def ndim(self) -> int:
        return len(self.node.dims)

    @property
    def dtype(self) -> str:
        return self.node.dtype

    @property
    def name(self) -> str:
        """The user's name, or ""."""
        return self.node.name

    @property
    def T(self) -> Expr:  # noqa: N802 - NumPy's name
        """Axes reversed."""
        return self.transpose()

    def named(self, name: str) -> Expr:
        """The same value under a name that generated code and messages will use."""
        check_name(name, "a value")
        graph.rename(self.node, name)
        return self

    def __repr__(self) -> str:
        title = self.name or "expression"
        return f"{title} : {self.dtype}[{', '.join(map(str, self.dims))}]"

    def __bool__(self) -> bool:
        raise UnsupportedError(
            f"{describe(self)} has no value while the network is declared, so Python's if, and, or "
            "and not cannot use it: use prop.where, &, | and ~"
        )

    def __iter__(self) -> Any:
        raise UnsupportedError(
            f"{describe(self)} cannot be iterated over: index it, or use prop.scan"
        )

    __hash__ = object.__hash__

    # --- arithmetic ---------------------------------------------------------------------
    def __add__(self, other: Any) -> Expr:
        return pointwise("+", lambda a, b: a + b, self, other)

    def __radd__(self, other: Any) -> Expr:
        return pointwise("+", lambda a, b: a + b, other, self)

    def __sub__(self, other: Any) -> Expr:
        return pointwise("-", lambda a, b: a - b, self, other)

    def __rsub__(self, other: Any) -> Expr:
        return pointwise("-", lambda a, b: a - b, other, self)

    def __mul__(self, other: Any) -> Expr:
        return pointwise("*", lambda a, b: a * b, self, other)

    def __rmul__(self, other: Any) -> Expr:
        return pointwise("*", lambda a, b: a * b, other, self)

    def __truediv__(self, other: Any) -> Expr:
        return divide(self, other)

    def __rtruediv__(self, other: Any) -> Expr:
        return divide(other, self)

    def __neg__(self) -> Expr:
        return pointwise("-", lambda a: -a, self)

    def __pos__(self) -> Expr:
        return self

    def __abs__(self) -> Expr:
        from symprop.ops.elementwise import abs as absolute

        return cast(Expr, absolute(self))

    def __pow__(self, other: Any) -> Expr:
        from symprop.ops.structural import power

        return cast(Expr, power(self, other))

    def __rpow__(self, other: Any) -> Expr:
        from symprop.ops.structural import power

        return cast(Expr, power(other, self))

    def __matmul__(self, other: Any) -> Expr:
        from symprop.ops.structural import matmul

        return matmul(self, as_expr(other))

    def __rmatmul__(self, other: Any) -> Expr:
        from symprop.ops.structural import matmul

        return matmul(as_expr(other), self)

    # --- comparison and logic -----------------------------------------------------------
    def __lt__(self, other: Any) -> Expr:
        return compare("<", t.LT, self, other)

    def __le__(self, other: Any) -> Expr:
        return compare("<=", t.LE, self, other)

    def __gt__(self, other: Any) -> Expr:
        return compare(">", t.LT, other, self)

    def __ge__(self, other: Any) -> Expr:
        return compare(">=", t.LE, other, self)

    def __eq__(self, other: object) -> Expr:  # type: ignore[override]
        return compare("==", t.EQ, self, other)

    def __ne__(self, other: object) -> Expr:  # type: ignore[override]
        return compare("!=", t.NE, self, other)

    def __and__(self, other: Any) -> Expr:
        return compare("&", t.AND, _truth(self, "&"), _truth(other, "&"))

    def __or__(self, other: Any) -> Expr:
        return compare("|", t.OR, _truth(self, "|"), _truth(other, "|"))

    def __invert__(self) -> Expr:
        return compare("~", t.NOT, _truth(self, "~"))

    __rand__ = __and__
    __ror__ = __or__

    # --- methods with NumPy's names -------------------------------------------------------
    def __getitem__(self, key: Any) -> Expr:
        from symprop.ops.indexing import getitem

        return getitem(self, key)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Expr:
        return cast(Expr, _functions().sum(self, axis, keepdims))

    def mean(self, axis: Any = None, keepdims: bool = False) -> Expr:
        return cast(Expr, _functions().mean(self, axis, keepdims))

    def max(self, axis: Any = None, keepdims: bool = False) -> Expr:
        return cast(Expr, _functions().max(self, axis, keepdims))

    def min(self, axis: Any = None, keepdims: bool = False) -> Expr:
        return cast(Expr, _functions().min(self, axis, keepdims))

    def argmax(self, axis: int | None = None) -> Expr:
        return cast(Expr, _functions().argmax(self, axis))

    def prod(self, axis: Any = None, keepdims: bool = False) -> Expr:
        return cast(Expr, _functions().prod(self, axis, keepdims))

    def cumsum(self, axis: int) -> Expr:
        return cast(Expr, _functions().cumsum(self, axis))

    def reshape(self, *shape: Any) -> Expr:
        return cast(Expr, _functions().reshape(self, shape[0] if len(shape) == 1 else shape))

    def transpose(self, *axes: Any) -> Expr:
        order = axes[0] if len(axes) == 1 else axes or None
        return cast(Expr, _functions().transpose(self, order))

    def astype(self, dtype: str) -> Expr:
        return cast_to(self, dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **options: Any) -> Expr:
        """What NumPy asks for in `array * self`: the operators; every other function is refused."""
        names = OPERATORS.get(ufunc.__name__) if method == "__call__" and not options else None
        if names is None:
            raise not_numpys(describe(self), ufunc.__name__, method)
        a, b = operands
        plain, reflected = names
        return cast(Expr, getattr(a, plain)(b) if isinstance(a, Expr) else getattr(b, reflected)(a))

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise UnsupportedError(
            f"{describe(self)} is symbolic and holds no numbers: compile it with prop.compile, "
            "or use symprop's function of that name"
        )


def _functions() -> Any:
    from symprop.ops import structural

    return structural


# --- operands ------------------------------------------------------------------------------------


def describe(x: Expr) -> str:
    """The value in a message: its name, or what made it, with the place of declaration."""
    where = graph.origin(x.node).place
    title = quoted(x.name) if x.name else f"an expression{_of_leaves(x.node)}"
    return f"{title} ({where})" if where else title


def _of_leaves(node: Node) -> str:
    """of 'x' and 'y': what an unnamed value was computed from, when that is little."""
    names: list[str] = []
    seen: set[Node] = {node}
    stack = [node]
    while stack and len(names) <= 2:  # a deep network has a third leaf near its end
        below = [n for n in dict.fromkeys(stack.pop().operands) if n not in seen]
        seen.update(below)
        leaves = [n for n in below if isinstance(n, Leaf)]
        names += [quoted(n.name) for n in leaves if n.kind not in ("local", "constant")]
        stack += [n for n in below if n.operands]
    return f" of {' and '.join(sorted(names))}" if 0 < len(names) <= 2 else ""


def as_expr(x: Any) -> Expr:
    """An expression, an array (a constant) or a number as an expression."""
    if isinstance(x, Expr):
        return x
    if isinstance(x, bool | int | float | np.number | np.ndarray | list | tuple | np.bool_):
        if isinstance(x, bool | int | float) or np.ndim(x) == 0:
            value = number(x)
            kind = "bool" if isinstance(x, bool | np.bool_) else (
                "int64" if isinstance(x, int | np.integer) else "float"
            )  # fmt: skip
            return Expr(make("sum", (), 0, (), value, (), kind))
        from symprop.declarations import constant

        return constant(x)
    if isinstance(x, Dim | Ix):
        raise DeclarationError(
            f"the size {quoted(x)} is known only when arrays are handed in, so it is no number "
            "to compute with: write prop.size(x, axis) for the value that it will have"
        )
    raise DeclarationError(
        f"expected an expression, an array or a number, but got {type(x).__name__} {quoted(x)}: "
        "declare a variable with prop.input"
    )


def number(x: Any) -> t.Term:
    """A Python or NumPy number as an exact term: floats by their shortest decimal."""
    if isinstance(x, bool | np.bool_):
        return t.num(int(x))
    if isinstance(x, Fraction | int):
        return t.num(x)
    if isinstance(x, np.integer):
        return t.num(int(x))
    value = float(x)
    if math.isnan(value):
        return t.call(t.NAN)
    if math.isinf(value):
        return t.call(t.INFINITY) if value > 0 else t.neg(t.call(t.INFINITY))
    return t.num(Fraction(repr(value)))


def is_number(x: object) -> bool:
    """True for a scalar number that joins a formula as an exact constant."""
    if isinstance(x, bool | int | float | Fraction | np.number | np.bool_):
        return True
    return isinstance(x, np.ndarray) and x.ndim == 0


def broadcast(label: str, exprs: Sequence[Expr]) -> tuple[Ix, ...]:
    """NumPy's broadcasting of shapes, or a ShapeError naming both operands."""
    rank = max((e.ndim for e in exprs), default=0)
    out: list[Ix] = []
    for axis in range(rank):
        size, first = as_ix(1), None
        for e in exprs:
            k = axis - (rank - e.ndim)
            if k < 0:
                continue
            d = e.node.dims[k]
            if d is size or d.value == 1:
                continue
            if size.value == 1:
                size, first = d, e
                continue
            other = cast(Expr, first)
            raise ShapeError(
                f"{label} needs shapes that broadcast, got {shape_text(other)} from "
                f"{describe(other)} and {shape_text(e)} from {describe(e)} ({graph.place()}): "
                f"axis {axis - rank} is {size!r} in one and {d!r} in the other"
            )
        out.append(size)
    return tuple(out)


def shape_text(e: Expr) -> str:
    """Shape with axis names: [batch, pixel=64]."""
    axes = axis_names(e.node)
    parts = []
    for d, a in zip(e.node.dims, axes, strict=True):
        parts.append(f"{a}={d!r}" if a and repr(d) != a else repr(d))
    return f"[{', '.join(parts)}]"


def axis_names(node: Node) -> tuple[str, ...]:
    """The names of a value's axes, inherited from what it reads; "" where unknown."""
    if isinstance(node, Leaf):
        return node.axes
    if isinstance(node, graph.Reduce):
        found = [""] * node.nout
        for r in node.reads:
            if isinstance(r, graph.At) and len(r.node.dims) and "" in found:
                inner = _axes_shallow(r.node)
                for name, ix in zip(inner, r.index, strict=True):
                    atom = ix.atom
                    for k, item in enumerate(node.outer):
                        if atom is item and not found[k]:
                            found[k] = name
        for k, d in enumerate(node.dims):
            if not found[k] and isinstance(d.atom, Dim):
                found[k] = d.atom.name
        return tuple(found)
    return tuple(d.atom.name if isinstance(d.atom, Dim) else "" for d in node.dims)


def _axes_shallow(node: Node) -> tuple[str, ...]:
    if isinstance(node, Leaf):
        return node.axes
    return tuple(d.atom.name if isinstance(d.atom, Dim) else "" for d in node.dims)


def normal_axis(axis: Any, ndim: int, what: str) -> int:
    """An axis in 0 .. ndim-1, or a ShapeError."""
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer) or not -ndim <= axis < ndim:
        raise ShapeError(
            f"axis {quoted(axis)} is out of range for {what}, which has {ndim} dimensions"
        )
    return int(axis) % ndim


def finish(node: Node, rule: str, inputs: Sequence[Expr] = ()) -> Expr:
    """Wrap a node, recording the user's place."""
    graph.remember(node, Origin(graph.place(), rule, tuple(e.node for e in inputs)))
    return Expr(node, sources(node, inputs))


def sources(node: Node, inputs: Sequence[Expr]) -> tuple[Leaf, ...]:
    """The leaves of the inputs where the value depends on none of them any more (x - x), and
    those that the inputs had lost: a call may need their arrays for the sizes."""
    found = dict.fromkeys(leaf for e in inputs for leaf in e.sources)
    if node.common and not all(e.node.common for e in inputs):
        found.update(dict.fromkeys(walk.leaves([e.node for e in inputs])))
    return tuple(found)


def pointwise(label: str, formula: Callable[..., t.Term], *args: Any, dtype: str = "") -> Expr:
    """An elementwise node of a formula over terms; numbers join it as exact constants."""
    exprs: list[Expr] = []
    slots: list[t.Term] = []
    kinds: list[str] = []
    for arg in args:
        if is_number(arg):
            slots.append(number(arg))
            if isinstance(arg, float | np.floating | Fraction):
                kinds.append("float")
            continue
        e = as_expr(arg)
        slots.append(t.read(len(exprs)))
        exprs.append(e)
    dims = broadcast(label, exprs)
    if not dtype:
        own = [e.dtype for e in exprs]
        dtype = promote(*own, *(k for k in kinds if not any(d in FLOATS for d in own)))
        if dtype == "bool":
            dtype = "int64"
    try:
        formula(*(t.num(0) if _is_zero(s, exprs) else s for s in slots))  # refuses a division by it
        node = map_node(formula(*slots), [e.node for e in exprs], dims, dtype)
    except t.ZeroDivisorError:
        raise DeclarationError(
            f"division by an expression that is 0 whatever the values are, such as x - x "
            f"({graph.place()}): leave it out, or hand the divisor in with prop.input"
        ) from None
    return finish(node, label, exprs)


def _is_zero(slot: t.Term, exprs: Sequence[Expr]) -> bool:
    """Whether an operand is 0 whatever the values are, such as x - x."""
    node = exprs[slot.k].node if isinstance(slot, t.Read) else None
    body = node.body if isinstance(node, graph.Reduce) else None
    return isinstance(body, t.Num) and body.value == 0


def divide(a: Any, b: Any) -> Expr:
    """a / b in floats; division by the constant 0 is refused."""
    if is_number(b) and b == 0:
        raise DeclarationError(f"division by the constant 0 ({graph.place()})")
    kinds = [as_expr(x).dtype for x in (a, b) if not is_number(x)]
    dtype = promote(*kinds) if kinds else "float"
    return pointwise("/", lambda x, y: x / y, a, b, dtype=dtype if dtype in FLOATS else "float")


def compare(label: str, fn: t.Function, *args: Any) -> Expr:
    """A comparison or a logical operation: a bool expression."""
    return pointwise(label, lambda *x: t.call(fn, *x), *args, dtype="bool")


def _truth(x: Any, label: str) -> Any:
    if isinstance(x, bool | np.bool_):
        return x
    e = as_expr(x)
    if e.dtype != "bool":
        raise DeclarationError(
            f"{label} needs bool operands, but {describe(e)} is {e.dtype}: compare it first"
        )
    return e


def cast_to(x: Expr, dtype: str) -> Expr:
    """The value in another dtype (floats to integers truncate toward zero)."""
    check_dtype(dtype, "astype")
    if x.dtype == dtype:
        return x
    fn = t.CASTS[dtype]
    return pointwise("astype", lambda a: t.call(fn, a), x, dtype=dtype)


def apply(fn: t.Function, *args: Any) -> Expr:
    """An elementwise op of the registry on expressions, arrays and numbers."""
    kinds = [as_expr(x).dtype for x in args if not is_number(x)]
    dtype = promote(*kinds) if kinds else "float"
    if fn.kind == "bool":
        dtype = "bool"
    elif fn.kind == "float" and dtype not in FLOATS:
        dtype = "float"
    elif dtype == "bool":
        dtype = "int64"
    return pointwise(fn.name, lambda *x: t.call(fn, *x), *args, dtype=dtype)


__all__ = ["INTS", "Expr", "apply", "as_expr", "listed"]
