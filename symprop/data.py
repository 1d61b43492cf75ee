"""Arrays that are handed in: the one place where they are checked and converted.

In: a mapping from names to arrays, and the declared leaves they belong to.
Out: a mapping of the same names to native, aligned, C-contiguous arrays of the leaves' dtypes, and
the size of every named dimension.
Guarantees: the arrays that were handed in are never written to, and a plain array that already
fits is passed on without a copy; whatever does not fit is refused with a `DataError` that names
the leaf, what was declared, what came, and how to mend it.

It does not know networks, gradients or programs: a leaf is anything with the attributes of `Leaf`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from symprop.errors import DataError, at, listed, quoted

__all__ = ["Arrays", "Leaf", "closest", "prepare", "storage_dtype"]

Array = NDArray[Any]
Arrays = dict[str, Array]


class Extent(Protocol):
    """The size of an axis: a sum of `k * named dimension`, plus a constant."""

    @property
    def const(self) -> int: ...
    @property
    def terms(self) -> tuple[tuple[Any, int], ...]: ...
    @property
    def value(self) -> int | None: ...


class Leaf(Protocol):
    """What is read of a declared leaf; integers lie in `low` to `high`, ends included."""

    @property
    def name(self) -> str: ...
    @property
    def dims(self) -> tuple[Extent, ...]: ...
    @property
    def axes(self) -> tuple[str, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def low(self) -> Extent: ...
    @property
    def high(self) -> Extent: ...
    @property
    def default(self) -> float | None: ...
    @property
    def where(self) -> str: ...


def storage_dtype(leaf: Leaf, width: DTypeLike) -> np.dtype[Any]:
    """The dtype of the leaf's array: `width` where the leaf says just "float"."""
    return np.dtype(width) if leaf.dtype == "float" else np.dtype(leaf.dtype)


def shown(leaf: Leaf) -> str:
    """How a message calls the leaf: its name and the place of its declaration."""
    return quoted(leaf.name) + at(leaf.where)


def dims_text(leaf: Leaf) -> str:
    """The declared dimensions: `(batch, pixel=64)`."""
    parts = [
        repr(dim) if dim.value is None else f"{axis}={dim.value}" if axis else str(dim.value)
        for dim, axis in zip(leaf.dims, leaf.axes, strict=True)
    ]
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def closest(name: str, known: Iterable[str]) -> str:
    """A hint `; did you mean "x"?`, or nothing where no known name is near."""
    from difflib import get_close_matches

    near = get_close_matches(name[:200], list(known), n=1)
    return f"; did you mean {quoted(near[0])}?" if near else ""


def prepare(
    arrays: Mapping[str, Any],
    leaves: Sequence[Leaf],
    width: DTypeLike,
    *,
    ignored: Iterable[str] = (),
    check_finite: bool = False,
) -> tuple[Arrays, dict[str, int]]:
    """Check `arrays` against `leaves` and convert them.

    In: the arrays; the leaves that are needed (one with a `default` may be left out); the float
    width compiled for; names that may be handed in although nothing here reads them; whether a
    NaN or an infinity is an error.
    Out: the converted arrays in the order of `leaves`, and the sizes of the named dimensions.
    """
    check_names(arrays, leaves, ignored)
    converted: Arrays = {}
    sizes: dict[str, int] = {}
    first: dict[str, Leaf] = {}
    for leaf in leaves:
        value = arrays.get(leaf.name, leaf.default)
        if value is None:
            raise DataError(
                f"{shown(leaf)} is missing: expected an array {dims_text(leaf)}, "
                f"but got {listed(arrays)}"
            )
        array = convert(leaf, value, storage_dtype(leaf, width))
        check_shape(leaf, array, sizes, first)
        if check_finite and array.dtype.kind == "f" and not np.isfinite(array).all():
            position = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise DataError(
                f"{shown(leaf)} must be finite, but is {array[position]} at {position}: "
                "clean the data, or compile with check_finite=False"
            )
        converted[leaf.name] = array
    return converted, sizes


def check_names(arrays: Mapping[str, Any], leaves: Sequence[Leaf], ignored: Iterable[str]) -> None:
    """Refuse what is not a mapping, and names that nothing declares."""
    if not isinstance(arrays, Mapping):
        raise DataError(
            "expected a mapping from names to arrays, such as "
            f"{{{leaves[0].name if leaves else 'x'!r}: array}}, but got {quoted(type(arrays))}"
        )
    known = [leaf.name for leaf in leaves]
    accepted = {*known, *ignored}
    for name in arrays:
        if name not in accepted:
            raise DataError(
                f"{quoted(name)} is not an input: expected {listed(known)}"
                f"{closest(name, known) if isinstance(name, str) else ''}"
            )


def convert(leaf: Leaf, value: Any, dtype: np.dtype[Any]) -> Array:
    """The value as a native, aligned, contiguous array of `dtype`; refuses what would lose data."""
    if type(value) is np.ndarray and value.dtype == dtype and value.dtype.isnative:
        flags = value.flags
        if flags.c_contiguous and flags.aligned:  # the usual case: nothing to convert
            check_range(leaf, value)
            return value
    name = shown(leaf)
    if isinstance(value, np.ma.MaskedArray):
        raise DataError(f"{name} must be a plain array, but is masked: fill it, e.g. a.filled(0)")
    try:
        array: Array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{name} must be an array, but NumPy cannot read it: {error}") from error
    kind = array.dtype.kind
    if kind not in "fiub":
        raise DataError(
            f"{name} must be an array of numbers, but has dtype {quoted(array.dtype)} "
            f"and shape {array.shape}: convert it first"
        )
    if dtype.kind in "iu" and kind not in "iu":
        bounds = declared_bounds(leaf)
        what = f"whole numbers {bounds[0]} to {bounds[1]}" if bounds else "whole numbers"
        raise DataError(
            f"{name} must hold {what}, but has dtype {quoted(array.dtype)}: "
            f"convert it first, e.g. {identifier(leaf.name)}.astype(int)"
        )
    if dtype.kind == "b" and kind != "b":
        raise DataError(
            f"{name} must hold booleans, but has dtype {quoted(array.dtype)}: "
            f"compare first, e.g. {identifier(leaf.name)} != 0"
        )
    check_range(leaf, array, dtype)
    with np.errstate(over="ignore"):  # float64 beyond float32 is inf, as in any cast of an array
        return np.require(array, dtype=dtype, requirements=["C", "A", "E"])


def identifier(name: str) -> str:
    """The name where it can stand in an example of code, else a stand-in."""
    return name if name.isidentifier() and name.isascii() and len(name) < 30 else "array"


def declared_bounds(leaf: Leaf) -> tuple[int, int] | None:
    """The bounds of an integer leaf, where they are known numbers tighter than its dtype's."""
    low, high = leaf.low.value, leaf.high.value
    if low is None or high is None or leaf.dtype not in ("int32", "int64"):
        return None
    limits = np.iinfo(leaf.dtype)
    return None if (low, high) == (limits.min, limits.max) else (low, high)


def check_range(leaf: Leaf, array: Array, dtype: np.dtype[Any] | None = None) -> None:
    """Refuse integers outside the leaf's declared bounds, or outside its dtype."""
    if array.dtype.kind not in "iu" or not array.size:
        return
    bounds = declared_bounds(leaf)
    if bounds is None and dtype is not None and dtype.kind in "iu" and dtype != array.dtype:
        bounds = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if bounds is None:
        return
    low, high = bounds
    least, most = int(array.min()), int(array.max())
    if least < low or most > high:
        wrong = least if least < low else most
        position = tuple(int(i) for i in np.argwhere(array == wrong)[0])
        raise DataError(
            f"{shown(leaf)} must lie in {low} to {high}, but is {wrong}"
            f"{f' at {position}' if position else ''}"
        )


def check_shape(leaf: Leaf, array: Array, sizes: dict[str, int], first: dict[str, Leaf]) -> None:
    """Check rank and sizes; note the size that each named dimension takes, and who fixed it."""
    if array.ndim != len(leaf.dims):
        raise DataError(
            f"{shown(leaf)} must have shape {dims_text(leaf)}, but has "
            f"{array.ndim} {'axis' if array.ndim == 1 else 'axes'}, {array.shape}: reshape it first"
        )
    for axis, (extent, size) in enumerate(zip(leaf.dims, array.shape, strict=True)):
        unknown = [(atom, k) for atom, k in extent.terms if atom.name not in sizes]
        rest = extent.const + sum(k * sizes.get(atom.name, 0) for atom, k in extent.terms)
        if not unknown:
            if rest != size:
                raise disagreement(leaf, array, axis, rest, sizes, first)
            continue
        ((atom, k),) = unknown[:1]
        if len(unknown) > 1 or (size - rest) % k:
            raise DataError(
                f"{shown(leaf)} must have shape {dims_text(leaf)}, but axis {axis} has size "
                f"{size}, from which {atom.name} cannot be found: declare {atom.name} on its own"
            )
        found = (size - rest) // k
        most = atom.capacity
        if found < atom.lower or (most is not None and found > most):
            allowed = f"at least {atom.lower}" + ("" if most is None else f" and at most {most}")
            raise DataError(
                f"{shown(leaf)} must have shape {dims_text(leaf)}, but has {array.shape}: "
                f"{atom.name} must be {allowed}"
            )
        sizes[atom.name] = found
        first[atom.name] = leaf


def disagreement(
    leaf: Leaf,
    array: Array,
    axis: int,
    expected: int,
    sizes: Mapping[str, int],
    first: Mapping[str, Leaf],
) -> DataError:
    """The error for an axis whose size is not the one declared, or not the one seen elsewhere."""
    extent = leaf.dims[axis]
    for atom, _ in extent.terms:
        if first[atom.name] is not leaf:
            return DataError(
                f"{extent!r} is {expected} in {shown(first[atom.name])} but {array.shape[axis]} "
                f"in {shown(leaf)}: hand in arrays that agree"
            )
    return DataError(
        f"{shown(leaf)} must have shape {dims_text(leaf)}, but has {array.shape}: "
        f"axis {axis} is {array.shape[axis]}, not {expected}"
    )
