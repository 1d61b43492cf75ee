"""Declarations: inputs, labels, parameters, states, scalars, constants, index ranges.

In: names, dims, arrays. Out: expressions that are leaves of a graph (or read an index).

Guarantees: every declaration is a new value, known by where it was declared; names are unique
within one compile, which is where a clash is found.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.index import Ix
from symprop import graph
from symprop import term as t
from symprop.errors import DeclarationError, ShapeError, listed, quoted
from symprop.expression import Expr, describe, normal_axis, sources
from symprop.graph import IndexOf
from symprop.initialize import BY_NAME
from symprop.make import fresh, make
from symprop.shapes import check_dtype, check_name, parse_dims


def input(name: str, dims: Any = (), dtype: str = "float") -> Expr:
    """A value handed in at every call.

    Args:
        name: unique within one compile.
        dims: see the module's docstring; a symbolic dimension is shared by name.
        dtype: "float" (the width chosen at compile), float32, float64, int32, int64 or bool.

    Raises:
        DeclarationError: for a name, a dimension or a dtype that cannot be declared.
    """
    check_name(name, "an input")
    sizes, axes = parse_dims(dims, quoted(name))
    return Expr(graph.new_leaf("input", name, sizes, check_dtype(dtype, quoted(name)), axes))


def labels(name: str, dims: Any, classes: int) -> Expr:
    """Whole numbers 0 .. classes-1 (int64), such as the classes of samples."""
    check_name(name, "labels")
    sizes, axes = parse_dims(dims, quoted(name))
    if isinstance(classes, bool) or not isinstance(classes, int | np.integer) or classes < 1:
        raise DeclarationError(
            f"the number of classes of {quoted(name)} must be a positive whole number, "
            f"but is {quoted(classes)}"
        )
    return Expr(graph.new_leaf("input", name, sizes, "int64", axes, 0, int(classes) - 1))


def indices(name: str, dims: Any, below: int) -> Expr:
    """Whole numbers 0 .. below-1 (int64) to look things up with: the same as ``labels``."""
    return labels(name, dims, below)


def parameter(name: str, dims: Any, init: Any, dtype: str = "float") -> Expr:
    """A value that training changes; ``init`` is an initializer, the name of one as a layer takes
    it ("he"), a number or an array of its shape."""
    check_name(name, "a parameter")
    sizes, axes = parse_dims(dims, quoted(name))
    start = _start(name, sizes, init)
    return Expr(
        graph.new_leaf("parameter", name, sizes, check_dtype(dtype, quoted(name)), axes, init=start)
    )


def state(name: str, dims: Any = (), init: Any = 0.0, dtype: str = "float") -> Expr:
    """A value that steps carry on but training does not differentiate (slots, averages)."""
    check_name(name, "a state")
    sizes, axes = parse_dims(dims, quoted(name))
    start = _start(name, sizes, init)
    return Expr(
        graph.new_leaf("state", name, sizes, check_dtype(dtype, quoted(name)), axes, init=start)
    )


def _start(name: str, sizes: tuple[Ix, ...], init: Any) -> Any:
    """What a leaf starts from: an initializer, a number or an array that fits it."""
    if any(s.value is None for s in sizes):
        raise DeclarationError(
            f"{quoted(name)} must have fixed sizes, but one is free: write word=number"
        )
    if isinstance(init, str) and init in BY_NAME:
        return BY_NAME[init]
    if isinstance(init, str) or init is None:
        raise DeclarationError(
            f"the start of {quoted(name)} must be an array, an initializer such as prop.He() or "
            f"the name of one, {listed(BY_NAME)}, but is {quoted(init)}"
        )
    if callable(init) or isinstance(init, int | float):
        return init
    found = np.shape(init)
    expected = tuple(s.value for s in sizes)
    if found != expected:
        raise ShapeError(f"the initial array of {quoted(name)} is {found}, expected {expected}")
    return init


def scalar(name: str, default: float | None = None) -> Expr:
    """A float input without dims that may be left out of a call when it has a default."""
    check_name(name, "a scalar")
    return Expr(graph.new_leaf("scalar", name, (), "float", default=default))


def constant(array: Any, name: str = "constant") -> Expr:
    """Fixed numbers, stored in the graph (floats take the width chosen at compile)."""
    check_name(name, "a constant")
    data = np.array(array)
    if data.dtype.kind == "f":
        dtype, low, high = "float", None, None
        data = data.astype(np.float64)
    elif data.dtype.kind in "iub":
        dtype = "bool" if data.dtype.kind == "b" else "int64"
        data = data.astype(dtype)
        low, high = (int(data.min()), int(data.max())) if data.size else (0, 0)
    else:
        raise DeclarationError(
            f"a constant must hold real numbers or booleans, but its dtype is {data.dtype}"
        )
    data.setflags(write=False)
    leaf = graph.new_leaf("constant", name, data.shape, dtype, (), low, high, init=data)
    return Expr(leaf)


def index(extent: Any) -> Expr:
    """0, 1, ..., extent-1 as an int64 vector; the extent an int or a dimension."""
    sizes, _ = parse_dims(extent, "an index range")
    loops = fresh(sizes[:1])
    return Expr(make("sum", loops, 1, (), t.read(0), (IndexOf(loops[0].ix()),), "int64"))


def size(x: Expr, axis: int | None = None) -> Expr:
    """The extent of an axis, which must be said, as an int64 value without dims."""
    if not isinstance(x, Expr) or axis is None:
        given = describe(x) if isinstance(x, Expr) else quoted(x)
        missing = " without an axis" if axis is None else ""
        raise DeclarationError(
            "prop.size takes an expression and the number of one of its axes, such as "
            f"prop.size(x, 0), but got {given}{missing}"
        )
    d = x.node.dims[normal_axis(axis, x.ndim, describe(x))]
    node = make("sum", (), 0, (), t.read(0), (IndexOf(d),), "int64")
    return Expr(node, sources(node, [x]))
