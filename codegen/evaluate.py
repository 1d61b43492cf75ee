"""Scalars, positions and guards as Python functions of a point: what both interpreters run.

In: the sizes of the dimensions, the declarations of the arrays, and the arrays themselves (boxed:
Python numbers in arrays of dtype object). Out: functions of a point, a mapping from loops to
integers; ask once, call at every point.

Guarantees: the arithmetic is that of ``codegen.arithmetic``. An index out of range is an
``IndexError`` that names the array, its index and its shape; an element that holds ``UNDEFINED``
is an ``UndefinedElement`` that names the array and the index. Arrays are looked up when a function
is called: they may be replaced between calls, declarations may not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from operator import itemgetter
from typing import Any, Final

import numpy as np

from codegen.arithmetic import (
    BINARY,
    BITS,
    COMPARE,
    Value,
    bitcast,
    converter,
    fma,
    number,
    rounded,
    shift,
)
from codegen.dtypes import WIDTH, float_of, infer_dtype, is_float, is_unsigned
from codegen.functions import python_callable
from codegen.index import Atom, Dim, Floor, Gather, Guard, Ix, Loop, Mod, evaluate
from codegen.program import (
    And,
    Binary,
    Bitcast,
    Buffer,
    BufferSource,
    Call,
    Cast,
    Compare,
    Dtype,
    Fma,
    IndexValue,
    Load,
    MulHigh,
    Number,
    Or,
    Round,
    Scalar,
    Select,
    Shift,
    Unary,
    Xor,
)

__all__ = ["UNDEFINED", "Evaluator", "Point", "UndefinedElement", "bind_sizes"]

Point = Mapping[Loop, int]
At = Callable[[Point], Any]


class _Undefined:
    """What an element holds until it is stored to."""

    def __repr__(self) -> str:
        return "undefined"


UNDEFINED: Final = _Undefined()


class UndefinedElement(LookupError):  # noqa: N818 - says what was met
    """An element was read that nothing was stored to."""


def bind_sizes(
    name: str, dims: Sequence[Dim], arrays: Sequence[Buffer], shapes: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    """The sizes of ``dims``, solved from the shapes of the arrays handed to ``name``.

    Raises ValueError for a rank or size that does not fit, and for a dimension that no array
    determines.
    """
    sizes: dict[str, int] = {}
    pending: list[tuple[str, Ix, int]] = []
    for buffer in arrays:
        shape = shapes[buffer.name]
        if len(shape) != len(buffer.dims):
            raise ValueError(f"{buffer.name} has {len(shape)} axes, expected {len(buffer.dims)}")
        pending += [(buffer.name, d, n) for d, n in zip(buffer.dims, shape, strict=True)]
    progress = True
    while progress:
        progress = False
        for array, extent, size in pending:
            unknown = [a for a in extent.atoms() if isinstance(a, Dim) and a.name not in sizes]
            if not unknown:
                if evaluate(extent, {}, sizes) != size:
                    raise ValueError(f"{array} has an axis of {size}, expected {extent!r}")
            elif len(unknown) == 1 and (k := extent.coefficient(unknown[0])):
                rest = size - evaluate(extent - unknown[0].ix() * k, {}, sizes)
                if rest % k:
                    raise ValueError(f"{array} has an axis of {size}, which is not {extent!r}")
                sizes[unknown[0].name] = rest // k
                progress = True
    missing = [d.name for d in dims if d.name not in sizes]
    if missing:
        raise ValueError(f"no argument of {name} determines {', '.join(missing)}")
    return sizes


class Evaluator:
    """Functions of a point over ``arrays``, declared by ``buffers`` (those first that decide the
    program's float: see ``codegen.dtypes.float_of``), with the given sizes."""

    def __init__(
        self,
        buffers: Mapping[str, Buffer],
        arrays: dict[str, np.ndarray],
        sizes: Mapping[str, int],
    ) -> None:
        self.buffers = buffers
        self.arrays = arrays
        self.sizes = sizes

    # --- positions -----------------------------------------------------------------------------

    def index(self, ix: Ix) -> Callable[[Point], int]:
        """The value of a combination."""
        const = ix.const
        moving: list[tuple[Callable[[Point], int], int]] = []
        for atom, k in ix.terms:
            if isinstance(atom, Dim):
                const += k * self.sizes[atom.name]
            else:
                moving.append((self._atom(atom), k))
        if not moving:
            return lambda p: const
        if len(moving) == 1:
            f, k = moving[0]
            return f if k == 1 and const == 0 else lambda p: const + k * f(p)
        if len(moving) == 2:
            (f, k), (g, j) = moving
            return lambda p: const + k * f(p) + j * g(p)
        return lambda p: const + sum([k * f(p) for f, k in moving])

    def _atom(self, atom: Atom) -> Callable[[Point], int]:
        if isinstance(atom, Loop):
            return itemgetter(atom)
        if isinstance(atom, Floor | Mod):
            of, n = self.index(atom.of), atom.n
            return (lambda p: of(p) // n) if isinstance(atom, Floor) else (lambda p: of(p) % n)
        assert isinstance(atom, Gather)
        assert isinstance(atom.source, BufferSource)
        return self.element(atom.source.buffer, atom.indices)

    def value(self, ix: Ix) -> int:
        """The value of a combination of dimensions alone."""
        return self.index(ix)({})

    def guards(self, guards: Sequence[Guard]) -> Callable[[Point], bool]:
        """Whether all of them hold."""
        tests = [(self.index(g.ix), g.kind == "==") for g in guards]

        def hold(p: Point) -> bool:
            for f, equal in tests:
                value = f(p)
                if value < 0 or (equal and value > 0):
                    return False
            return True

        return hold

    def place(
        self, name: str, index: Sequence[Ix], array: np.ndarray | None = None
    ) -> Callable[[Point], tuple[int, ...]]:
        """The position of an element of an array (``array``, where it is not among the arrays
        yet), which is inside of it."""
        fs = tuple(map(self.index, index))
        arrays = self.arrays if array is None else {name: array}

        def at(p: Point) -> tuple[int, ...]:
            where = tuple([f(p) for f in fs])
            shape = arrays[name].shape
            if len(where) == len(shape):
                for i, n in zip(where, shape, strict=True):
                    if not 0 <= i < n:
                        break
                else:
                    return where
            raise IndexError(f"{name}{list(where)} is outside of its shape {shape}")

        return at

    def element(self, name: str, index: Sequence[Ix]) -> Callable[[Point], Value]:
        """What an array holds at a position."""
        place, arrays = self.place(name, index), self.arrays

        def read(p: Point) -> Value:
            where = place(p)
            value: Value = arrays[name][where]
            if value is UNDEFINED:
                raise UndefinedElement(f"{name}{list(where)} is read, but nothing was stored there")
            return value

        return read

    # --- scalars -------------------------------------------------------------------------------

    def dtype(self, scalar: Scalar, context: Dtype | None = None) -> Dtype:
        """The dtype a scalar computes in."""
        return infer_dtype(scalar, self.buffers, context)

    def converted(self, scalar: Scalar, dtype: Dtype) -> Callable[[Point], Value]:
        """The scalar converted to a dtype, which bare numbers in it take at once."""
        f = self.scalar(scalar, dtype)
        if is_float(dtype) and self.dtype(scalar, dtype) == dtype and not isinstance(scalar, Call):
            return f  # a float already; a function may give an integer for one
        convert = converter(dtype)
        return lambda p: convert(f(p))

    def scalar(self, scalar: Scalar, context: Dtype) -> Callable[[Point], Value]:
        """The scalar in its own dtype; bare numbers take the context's."""
        own = self.dtype(scalar, context)
        match scalar:
            case Number(value):
                fixed = number(value, own)
                return lambda p: fixed
            case Load():
                return self._load(scalar, own)
            case IndexValue(ix):
                return self.index(ix)
            case Select(c, a, b):
                condition = self.converted(c, "bool")
                f, g = self.converted(a, own), self.converted(b, own)
                return lambda p: f(p) if condition(p) else g(p)
            case Compare(op, a, b):
                both = self.dtype(Binary("+", a, b))
                f, g = self.converted(a, both), self.converted(b, both)
                compare = COMPARE[op]
                return lambda p: compare(f(p), g(p))
            case Call(name, args):
                function = python_callable(name)
                kind = own if own != "bool" else float_of(self.buffers.values())
                fs = [self.converted(a, kind) for a in args]
                return lambda p: function(*[f(p) for f in fs])
            case Cast(dtype, x):
                f, convert = self.scalar(x, self.dtype(x, dtype)), converter(dtype)
                return lambda p: convert(f(p))
            case Unary() | Binary() | Fma() | Round():
                return self._arithmetic(scalar, own)
            case _:
                return self._bitwise(scalar, own)

    def _load(self, load: Load, own: Dtype) -> Callable[[Point], Value]:
        read = self.element(load.buffer, load.indices)
        if not load.guards:
            return read
        hold, zero = self.guards(load.guards), number(Fraction(0), own)
        return lambda p: read(p) if hold(p) else zero

    def _arithmetic(
        self, scalar: Unary | Binary | Fma | Round, own: Dtype
    ) -> Callable[[Point], Value]:
        wrap = converter(own) if is_unsigned(own) else None
        match scalar:
            case Unary("not", x):
                f = self.converted(x, "bool")
                return lambda p: not f(p)
            case Unary(_, x):
                f = self.converted(x, own)
                plain: At = lambda p: -f(p)  # noqa: E731
            case Binary(op, a, b):
                f, g, binary = self.converted(a, own), self.converted(b, own), BINARY[op]
                plain = lambda p: binary(f(p), g(p))  # noqa: E731
            case Fma(a, b, c):
                f, g, h = (self.converted(x, own) for x in (a, b, c))
                return lambda p: fma(f(p), g(p), h(p))
            case Round(x):
                f = self.converted(x, own)
                return lambda p: rounded(f(p))
        return plain if wrap is None else lambda p: wrap(plain(p))

    def _bitwise(self, scalar: Scalar, own: Dtype) -> Callable[[Point], Value]:
        match scalar:
            case Bitcast(dtype, x):
                kind = self.dtype(x, None)
                f = self.converted(x, kind)
                return lambda p: bitcast(f(p), kind, dtype)
            case Shift(x, places):
                f = self.converted(x, own)
                return lambda p: shift(f(p), places, own)
            case And(a, b) | Or(a, b) | Xor(a, b):
                f, g = self.converted(a, own), self.converted(b, own)
                combine = BITS[type(scalar)]
                return lambda p: combine(f(p), g(p))
            case MulHigh(a, b):
                f, g = self.converted(a, own), self.converted(b, own)
                return lambda p: f(p) * g(p) >> WIDTH[own]
            case _:
                raise TypeError(f"{type(scalar).__name__} is not a scalar")
