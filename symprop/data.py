"""Arrays that are handed in: the one place where they are checked and converted.

In: a mapping from names to arrays, and the declared leaves they belong to; `Door` reads the
declarations once, so that a call looks at the arrays alone.
Out: a mapping of the same names to native, aligned, C-contiguous arrays of the leaves' dtypes, and
the size of every named dimension.
Guarantees: the arrays that were handed in are never written to, and a plain array that already
fits is passed on without a copy; whatever does not fit is refused with a `DataError` that names
the leaf, what was declared, what came, and how to mend it.

It does not know networks, gradients or programs: a leaf is anything with the attributes of `Leaf`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from symprop.errors import DataError, at, listed, quoted

__all__ = ["Arrays", "Door", "Leaf", "closest", "longer", "storage_dtype"]

Array = NDArray[Any]
INT64 = np.dtype(np.int64)
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


class _Longer(NamedTuple):
    name: str
    dims: tuple[Extent, ...]
    axes: tuple[str, ...]
    dtype: str
    low: Extent
    high: Extent
    default: float | None
    where: str


def longer(leaf: Leaf, size: Extent) -> Leaf:
    """The leaf with another size of its first axis."""
    return _Longer(
        leaf.name, (size, *leaf.dims[1:]), leaf.axes, leaf.dtype, leaf.low, leaf.high,
        leaf.default, leaf.where,
    )  # fmt: skip


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


class Entry(NamedTuple):
    """What is known of a leaf before its array comes: the dtype it is stored in, the bounds of its
    integers, and each axis as a constant and dimensions with their factors."""

    leaf: Leaf
    dtype: np.dtype[Any]
    bounds: tuple[int, int] | None
    axes: tuple[tuple[int, tuple[tuple[Any, int], ...]], ...]


class Door:
    """The checks of some leaves, made ready once and carried out on the arrays of every call.

    In: the leaves that are needed (one with a `default` may be left out); the float width compiled
    for; names that may be handed in although nothing here reads them; whether a NaN or an infinity
    is an error.
    """

    def __init__(
        self,
        leaves: Sequence[Leaf],
        width: DTypeLike,
        *,
        ignored: Iterable[str] = (),
        check_finite: bool = False,
    ) -> None:
        self.check_finite = check_finite
        self._known = [leaf.name for leaf in leaves]
        self._accepted = frozenset((*self._known, *ignored))
        self._entries = {leaf.name: entry(leaf, width) for leaf in leaves}

    def __call__(self, arrays: Mapping[str, Any]) -> tuple[Arrays, dict[str, int]]:
        """The converted arrays in the order of the leaves, and the sizes of the named dimensions.

        Raises DataError for what does not fit.
        """
        self._check_names(arrays)
        converted: Arrays = {}
        sizes: dict[str, int] = {}
        first: dict[str, Leaf] = {}
        for name, one in self._entries.items():
            value = arrays.get(name, one.leaf.default)
            if value is None:
                raise DataError(
                    f"{shown(one.leaf)} is missing: expected an array {dims_text(one.leaf)}, "
                    f"but got {listed(arrays)}"
                )
            array = convert(one, value)
            check_shape(one, array, sizes, first)
            if self.check_finite:
                check_finite(one.leaf, array)
            converted[name] = array
        return converted, sizes

    def _check_names(self, arrays: Mapping[str, Any]) -> None:
        """Refuse what is not a mapping, and names that nothing declares."""
        known = self._known
        if not isinstance(arrays, Mapping):
            raise DataError(
                "expected a mapping from names to arrays, such as "
                f"{{{known[0] if known else 'x'!r}: array}}, but got {quoted(type(arrays))}"
            )
        if self._accepted.issuperset(arrays):
            return
        name = next(name for name in arrays if name not in self._accepted)
        raise DataError(
            f"{quoted(name)} is not an input: expected {listed(known)}"
            f"{closest(name, known) if isinstance(name, str) else ''}"
        )


def entry(leaf: Leaf, width: DTypeLike) -> Entry:
    """What is known of the leaf before its array comes."""
    axes = tuple((d.const, d.terms) for d in leaf.dims)
    return Entry(leaf, storage_dtype(leaf, width), declared_bounds(leaf), axes)


def check_finite(leaf: Leaf, array: Array) -> None:
    """Refuse a NaN or an infinity."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        position = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise DataError(
            f"{shown(leaf)} must be finite, but is {array[position]} at {position}: "
            "clean the data, or compile with check_finite=False"
        )


def convert(one: Entry, value: Any) -> Array:
    """The value as a native, aligned, contiguous array of the leaf's dtype; refuses what would lose
    data."""
    leaf, dtype = one.leaf, one.dtype
    if type(value) is np.ndarray and value.dtype == dtype:
        flags = value.flags
        if flags.c_contiguous and flags.aligned:  # the usual case: nothing to convert
            if one.bounds is not None and value.size:
                check_range(leaf, value, one.bounds)
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
        bounds = one.bounds
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
    if kind in "iu" and array.size:
        check_range(leaf, array, one.bounds or dtype_bounds(dtype, array.dtype))
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


def dtype_bounds(dtype: np.dtype[Any], given: np.dtype[Any]) -> tuple[int, int] | None:
    """The bounds of an integer dtype, where the dtype given is another."""
    if dtype.kind not in "iu" or dtype == given:
        return None
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def unsigned_maximum(array: Array) -> int:
    """The greatest int64 where the sign counts as a digit: what is below 0 is beyond every bound,
    so that one pass finds what lies outside at either end."""
    return int(np.maximum.reduce(array.view(np.uint64), axis=None))


def check_range(leaf: Leaf, array: Array, bounds: tuple[int, int] | None) -> None:
    """Refuse integers outside the bounds; the array is not empty."""
    if bounds is None:
        return
    low, high = bounds
    if low == 0 and array.dtype == INT64 and unsigned_maximum(array) <= high:
        return
    least, most = int(array.min()), int(array.max())
    if least < low or most > high:
        wrong = least if least < low else most
        position = tuple(int(i) for i in np.argwhere(array == wrong)[0])
        raise DataError(
            f"{shown(leaf)} must lie in {low} to {high}, but is {wrong}"
            f"{f' at {position}' if position else ''}"
        )


def check_shape(one: Entry, array: Array, sizes: dict[str, int], first: dict[str, Leaf]) -> None:
    """Check rank and sizes; note the size that each named dimension takes, and who fixed it."""
    leaf = one.leaf
    if array.ndim != len(one.axes):
        raise DataError(
            f"{shown(leaf)} must have shape {dims_text(leaf)}, but has "
            f"{array.ndim} {'axis' if array.ndim == 1 else 'axes'}, {array.shape}: reshape it first"
        )
    for axis, ((rest, terms), size) in enumerate(zip(one.axes, array.shape, strict=True)):
        unknown = None
        for atom, k in terms:
            if atom.name in sizes:
                rest += k * sizes[atom.name]
            elif unknown is None:
                unknown = atom, k
            else:
                raise undetermined(leaf, axis, size, unknown[0].name)
        if unknown is None:
            if rest != size:
                raise disagreement(leaf, array, axis, rest, sizes, first)
            continue
        atom, k = unknown
        found, over = divmod(size - rest, k)
        if over:
            raise undetermined(leaf, axis, size, atom.name)
        most = atom.capacity
        if found < atom.lower or (most is not None and found > most):
            allowed = f"at least {atom.lower}" + ("" if most is None else f" and at most {most}")
            raise DataError(
                f"{shown(leaf)} must have shape {dims_text(leaf)}, but has {array.shape}: "
                f"{atom.name} must be {allowed}"
            )
        sizes[atom.name] = found
        first[atom.name] = leaf


def undetermined(leaf: Leaf, axis: int, size: int, name: str) -> DataError:
    """The error for an axis from whose size that of a named dimension cannot be found."""
    return DataError(
        f"{shown(leaf)} must have shape {dims_text(leaf)}, but axis {axis} has size {size}, from "
        f"which {name} cannot be found: declare {name} on its own"
    )


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
