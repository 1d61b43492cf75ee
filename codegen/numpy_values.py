"""Arrays while NumPy text is written: an expression, the loop each of its axes runs over, a dtype.

In: index combinations, guards, values.
Out: ``Value`` objects whose axes are in the order of the step's loops, combined by broadcasting:
``align`` transposes and inserts ``None`` axes, ``index_value`` writes positions over open grids
(``np.arange(n)[:, None]``), ``mask`` writes guards as comparisons.

Guarantees: a ``Value`` with dtype None is a Python number, which takes the dtype of what it meets;
every other value has exactly the dtype it says, under NumPy 2's promotion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from codegen.index import Dim, Floor, Gather, Guard, Ix, Loop, Mod, nonneg
from codegen.names import Names
from codegen.printer import (
    ALL,
    NONE,
    Attr,
    Bin,
    CallE,
    Cmp,
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
from codegen.program import Buffer, BufferSource, Dtype, Load, Program
from codegen.spans import sides

Order: TypeAlias = Mapping[Loop, int]

FLOATS = ("float32", "float64")
_RANK = {"bool": 0, "int32": 1, "uint32": 1, "int64": 2, "uint64": 2, "float32": 3, "float64": 4}


@dataclass(frozen=True, slots=True)
class Value:
    """An expression, the loops of its axes, its dtype (None: a Python number), and the buffers
    whose memory it may share."""

    expr: Expr
    axes: tuple[Loop, ...] = ()
    dtype: Dtype | None = None
    shares: frozenset[str] = frozenset()


@dataclass
class Scope:
    """What the text of one function needs to know, and collects while it is written."""

    program: Program
    buffers: dict[str, Buffer]
    local: dict[str, str]  # buffer -> its name in the text
    sizes: dict[str, str]  # dimension -> its name in the text
    helpers: dict[str, None]  # helper functions used, by name, in order of use
    used_dims: dict[str, None] = field(default_factory=dict)
    silenced: dict[str, None] = field(default_factory=dict)  # floating-point warnings expected
    names: Names = field(default_factory=Names)  # fresh names of temporaries
    temporaries: dict[Expr, str] = field(default_factory=dict)
    before: list[tuple[str, Expr]] = field(default_factory=list)  # to stand before the step
    windows: bool = False  # sliding_window_view is used
    load: Callable[..., Value] | None = None  # set by numpy_reads: avoids a cycle of imports

    kinds: dict[str, tuple[str, ...]] = field(default_factory=dict)  # warnings of values so far
    exposed: set[str] = field(default_factory=set)  # what outputs are views of
    shared: dict[str, frozenset[str]] = field(default_factory=dict)  # views, and of what

    def __post_init__(self) -> None:
        self.updates = frozenset(self.program.updates)

    def visible(self, buffer: str) -> bool:
        """Whether a caller sees the memory of a buffer: an argument, an output, part of one."""
        role = self.buffers[buffer].role
        return role != "scratch" or buffer in self.program.outputs or buffer in self.exposed

    def owners(self, buffers: frozenset[str]) -> frozenset[str]:
        """The buffers whose memory views of ``buffers`` lie in."""
        return buffers.union(*(self.shared.get(b, frozenset()) for b in buffers))

    def warns(self, *kinds: str) -> None:
        """Note that a branch not taken may raise these floating-point warnings."""
        for kind in kinds:
            self.silenced[kind] = None


def numpy_dtype(dtype: Dtype) -> Expr:
    """The dtype as NumPy text names it."""
    return Name("bool" if dtype == "bool" else f"np.{dtype}")


def promote(a: Dtype | None, b: Dtype | None) -> Dtype | None:
    """The dtype of arithmetic on two dtypes: int or bool with float takes the float."""
    if a is None or b is None:
        return a or b
    if _RANK[a] == _RANK[b] and a != b:
        return "int64"
    return a if _RANK[a] >= _RANK[b] else b


def ordered(loops: Sequence[Loop], order: Order) -> tuple[Loop, ...]:
    """Loops without duplicates, in order."""
    return tuple(sorted(dict.fromkeys(loops), key=lambda v: order[v]))


def transposed(value: Value, axes: tuple[Loop, ...]) -> Value:
    """The same elements with axes in another order."""
    if axes == value.axes:
        return value
    perm = tuple(value.axes.index(v) for v in axes)
    n = len(perm)
    if n == 2:
        expr: Expr = Attr(value.expr, "T")
        if isinstance(value.expr, Attr) and value.expr.name == "T":
            expr = value.expr.base
    elif perm == (*range(n - 2), n - 1, n - 2):
        expr = Attr(value.expr, "mT")
    else:
        expr = method(value.expr, "transpose", *map(integer, perm))
    return replace(value, expr=expr, axes=axes)


def align(value: Value, axes: tuple[Loop, ...]) -> Value:
    """The value with ``axes`` (a superset of its own), up to leading axes, which broadcast."""
    inner = tuple(v for v in axes if v in value.axes)
    value = transposed(value, inner)
    if not inner:
        return value
    kept = axes[axes.index(inner[0]) :]
    if kept == inner:
        return value
    items: list[Expr] = [ALL if v in inner else NONE for v in kept]
    if len(inner) > 1 and kept[: len(inner)] == inner:
        items = [Name("..."), *[NONE] * (len(kept) - len(inner))]
    while items[-1] is ALL:
        items.pop()
    kept_axis = _reduced_last(value.expr, len(inner)) or _taken_last(value.expr, len(inner))
    if kept_axis is not None and len(kept) == len(inner) + 1 and kept[:-1] == inner:
        return replace(value, expr=kept_axis, axes=kept)
    if isinstance(value.expr, Item) and _merges(value.expr, len(inner)):
        old = list(value.expr.items) + [ALL] * (len(inner) - len(value.expr.items))
        slices = iter(old)
        merged = [next(slices) if v in inner else NONE for v in kept]
        while merged[-1] == ALL:
            merged.pop()
        return replace(value, expr=Item(value.expr.base, tuple(merged)), axes=kept)
    return replace(value, expr=Item(value.expr, tuple(items)), axes=kept)


def _reduced_last(expr: Expr, axis: int) -> Expr | None:
    """``x.sum(axis=n)`` with ``keepdims=True``, when a new last axis stands for axis n."""
    if isinstance(expr, CallE) and isinstance(expr.function, Attr):
        name, keywords = expr.function.name, expr.keywords
        if name in ("sum", "max", "min") and keywords == (("axis", integer(axis)),):
            return CallE(expr.function, expr.args, (*keywords, ("keepdims", Name("True"))))
    return None


def _taken_last(expr: Expr, axis: int) -> Expr | None:
    """``x[:, n : n + 1]`` for ``x[:, n]``, when a new last axis stands for the one taken from."""
    if not isinstance(expr, Item) or len(expr.items) != axis + 1:
        return None
    *slices, last = expr.items
    if not isinstance(last, Num) or not last.text.isdigit():
        return None
    if not all(isinstance(i, SliceE) for i in slices):
        return None
    n = int(last.text)
    start = integer(n) if n else None
    return Item(expr.base, (*slices, SliceE(start, integer(n + 1), None)))


def _merges(expr: Item, ndim: int) -> bool:
    """Whether new axes can be written between the items of an indexing of slices alone."""
    return len(expr.items) <= ndim and all(isinstance(i, SliceE) for i in expr.items)


def combine(op: str, a: Value, b: Value, order: Order, dtype: Dtype | None) -> Value:
    """a op b, broadcast against each other."""
    axes = ordered((*a.axes, *b.axes), order)
    left, right = align(a, axes).expr, align(b, axes).expr
    node = Cmp if op in ("<", "<=", "==", "!=", ">", ">=") else Bin
    return Value(node(op, left, right), axes, dtype)


def apply(function: str | Expr, args: Sequence[Value], order: Order, dtype: Dtype | None) -> Value:
    """function(args), broadcast against each other."""
    axes = ordered([v for a in args for v in a.axes], order)
    return Value(call(function, *(align(a, axes).expr for a in args)), axes, dtype)


def cast(value: Value, dtype: Dtype) -> Value:
    """The value in another dtype, made explicit."""
    if value.dtype == dtype:
        return value
    e = value.expr
    if value.dtype is None:
        return Value(call(numpy_dtype(dtype), e), value.axes, dtype)
    base, items = (e.base, e.items) if isinstance(e, Item) else (e, None)
    if isinstance(base, CallE) and base.function == Name("np.arange") and not base.keywords:
        grid: Expr = CallE(base.function, base.args, (("dtype", numpy_dtype(dtype)),))
        return Value(grid if items is None else Item(grid, items), value.axes, dtype)
    return Value(method(e, "astype", numpy_dtype(dtype)), value.axes, dtype)


# --- integers and positions ----------------------------------------------------------------------


def size(scope: Scope, ix: Ix) -> Expr:
    """A combination of dimensions alone, as a Python integer."""
    positive = [(a, k) for a, k in ix.terms if k > 0]
    negative = [(a, -k) for a, k in ix.terms if k < 0]
    expr: Expr | None = None
    const = ix.const
    if not positive and const > 0 and negative:
        expr, const = integer(const), 0
    for atom, k in positive:
        term = _size_atom(scope, atom, k)
        expr = term if expr is None else Bin("+", expr, term)
    for atom, k in negative:
        term = _size_atom(scope, atom, k)
        expr = Un("-", term) if expr is None else Bin("-", expr, term)
    return plus(expr, const)


def plus(expr: Expr | None, const: int) -> Expr:
    """expr + const, as a reader would write it."""
    if expr is None:
        return integer(const)
    if const == 0:
        return expr
    return Bin("+" if const > 0 else "-", expr, integer(abs(const)))


def _size_atom(scope: Scope, atom: object, k: int) -> Expr:
    if isinstance(atom, Dim):
        scope.used_dims[atom.name] = None
        expr: Expr = Name(scope.sizes[atom.name])
    else:
        assert isinstance(atom, Floor | Mod), "a size is made of dimensions alone"
        sign = "//" if isinstance(atom, Floor) else "%"
        expr = Bin(sign, size(scope, atom.of), integer(atom.n))
    return expr if k == 1 else Bin("*", integer(k), expr)


def dims_only(ix: Ix) -> bool:
    """Whether a combination holds neither loops nor gathers."""
    return not ix.loops and not any(isinstance(a, Gather) for a in ix.atoms())


def linear(ix: Ix) -> tuple[Loop, int, Ix] | None:
    """(loop, k, c) when ix = k*loop + c with c free of loops and gathers."""
    moving = [(a, k) for a, k in ix.terms if not dims_only(a.ix())]
    if len(moving) != 1:
        return None
    item, k = moving[0]
    return (item, k, ix - item.ix() * k) if isinstance(item, Loop) else None


def slice_item(scope: Scope, item: Loop, k: int, c: Ix, extent: Ix) -> SliceE:
    """The slice k*loop + c of an axis, for positions known to be inside it."""
    if k == 1 and c.value == 0 and item.extent is extent:
        return ALL
    last = c + (item.extent - 1) * k
    step = None if k == 1 else integer(k)
    if k > 0:
        start = None if c.value == 0 else size(scope, c)
        if nonneg(last + k - extent):  # the slice ends where the axis does
            return SliceE(start, None, step)
        end = last + 1
        short = end - extent
        stop = integer(short.const) if short.value is not None else size(scope, end)
        if extent.value is not None or end.value is not None:
            stop = size(scope, end)
        return SliceE(start, stop, step)
    start = None if c is extent - 1 else size(scope, c)
    if last.value is not None and last.value + k < 0:
        return SliceE(start, None, step)
    stop_ix = last + k
    if nonneg(stop_ix):
        return SliceE(start, size(scope, stop_ix), step)
    # the stop may fall below 0, which would wrap around: count from the other end
    return SliceE(start, size(scope, stop_ix - extent), step)


def grid(scope: Scope, item: Loop) -> Value:
    """The positions of one loop."""
    return Value(call("np.arange", size(scope, item.extent)), (item,), "int64")


def index_value(scope: Scope, ix: Ix, order: Order, uncertain: bool) -> Value:
    """A combination as an int64 array over its loops; a Python integer when it has none.

    ``uncertain`` says that gathers inside may stand where guards do not hold.
    """
    if dims_only(ix):
        return Value(size(scope, ix))
    counted = _counted(scope, ix, order)
    if counted is not None:
        return counted
    whole: Value | None = None
    for atom, k in sorted(ix.terms, key=lambda t: (t[1] < 0, not t[0].loops)):
        if isinstance(atom, Dim) or dims_only(atom.ix()):
            term = Value(size(scope, atom.ix()))
        elif isinstance(atom, Loop):
            term = grid(scope, atom)
        elif isinstance(atom, Gather):
            source = atom.source
            assert isinstance(source, BufferSource)
            assert scope.load is not None
            term = scope.load(
                scope, Load(source.buffer, atom.indices), order, uncertain, unmasked=True
            )
            if term.dtype in ("bool", "int32", "uint32") and (abs(k) > 1 or len(ix.terms) > 1):
                term = cast(term, "int64")
        else:
            assert isinstance(atom, Floor | Mod)
            sign = "//" if isinstance(atom, Floor) else "%"
            inner = index_value(scope, atom.of, order, uncertain)
            term = combine(sign, inner, Value(integer(atom.n)), order, "int64")
        if abs(k) > 1:
            term = combine("*", Value(integer(abs(k))), term, order, term.dtype)
        if whole is not None:
            whole = combine("-" if k < 0 else "+", whole, term, order, "int64")
        else:
            whole = term if k > 0 else replace(term, expr=Un("-", term.expr))
    assert whole is not None
    if ix.const:
        whole = replace(whole, expr=plus(whole.expr, ix.const))
    return replace(whole, dtype=whole.dtype or "int64", shares=frozenset())


def _counted(scope: Scope, ix: Ix, order: Order) -> Value | None:
    """3*i + j with j < 3: all positions in a row, ``np.arange(12).reshape(4, 3)``."""
    terms = sorted(((k, a) for a, k in ix.terms if isinstance(a, Loop)), key=lambda t: -t[0])
    axes = tuple(a for _, a in terms)
    if len(terms) < 2 or len(terms) != len(ix.terms) or axes != ordered(axes, order):
        return None
    stride = 1
    for k, v in reversed(terms):
        if k != stride or v.extent.value is None:
            return None
        stride *= v.extent.value
    numbers = call("np.arange", integer(ix.const), integer(ix.const + stride))
    if not ix.const:
        numbers = call("np.arange", integer(stride))
    sizes = (size(scope, v.extent) for v in axes)
    return Value(method(numbers, "reshape", *sizes), axes, "int64")


def mask(scope: Scope, guards: Sequence[Guard], order: Order) -> Value:
    """Whether all guards hold, as a bool array."""
    whole: Value | None = None
    for g in guards:
        term = comparison(scope, g, order)
        whole = term if whole is None else combine("&", whole, term, order, "bool")
    assert whole is not None
    return whole


def comparison(scope: Scope, g: Guard, order: Order) -> Value:
    """One guard as a bool array."""
    return compared(scope, g.ix, g.kind, order, True)


def compared(scope: Scope, ix: Ix, op: str, order: Order, uncertain: bool) -> Value:
    """``ix op 0`` with its loops on both sides: ``i >= j``, ``i < n``, ``j == y``."""
    left, op, right = sides(ix, op)
    a = index_value(scope, left, order, uncertain)
    b = index_value(scope, right, order, uncertain)
    return combine(op, a, b, order, "bool")


def where(condition: Value, then: Value, other: Value, order: Order, dtype: Dtype) -> Value:
    """np.where with the dtype kept: two Python numbers would become float64."""
    if then.dtype is None and other.dtype is None:
        if then.expr == Num("1") and other.expr == Num("0"):
            return cast(condition, dtype)
        then = cast(then, dtype)
    return apply("np.where", (condition, then, other), order, dtype)


def shape_of(scope: Scope, dims: Sequence[Ix]) -> Expr:
    """A shape as text: a tuple, or one size."""
    sizes = tuple(size(scope, d) for d in dims)
    return sizes[0] if len(sizes) == 1 else sequence(sizes)


def simple(expr: Expr) -> bool:
    """Whether an expression is cheap and short enough to be written twice."""
    if isinstance(expr, Item):
        return simple(expr.base) and len(flat(expr)) < 16
    return isinstance(expr, Name | Num) or (
        isinstance(expr, Attr) and expr.name == "T" and isinstance(expr.base, Name)
    )


__all__ = [
    "FLOATS",
    "Order",
    "Scope",
    "Value",
    "align",
    "apply",
    "cast",
    "combine",
    "compared",
    "comparison",
    "dims_only",
    "grid",
    "index_value",
    "linear",
    "mask",
    "numpy_dtype",
    "ordered",
    "plus",
    "promote",
    "shape_of",
    "simple",
    "size",
    "slice_item",
    "transposed",
    "where",
]
