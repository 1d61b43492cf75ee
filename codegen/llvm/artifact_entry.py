"""The functions of an artifact that C calls: what they take, as data.

In: a program, the ``Interface`` of what was emitted for it, names. Out: ``entry(...)``, an
``Entry``: the sizes and the arrays of a function, with names for C and names for the user.

Guarantees: names for C are identifiers, unique in their list; arrays stand in the order of the
program's arguments, then of its outputs. A call that is refused returns ``which << 8 | kind``: the
number of the size or array, from 1 on (0: none of them), and the code of one of ``KINDS``.

``codegen.llvm.artifact_calls`` is the text of these functions, ``artifact_header`` what C is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codegen.aligned import ALIGNMENT
from codegen.c_names import CNames
from codegen.dtypes import WIDTH
from codegen.index import Dim, Ix
from codegen.llvm.interface import Interface
from codegen.program import Dtype, Program

__all__ = ["KINDS", "LARGEST", "Array", "Entry", "Kind", "Size", "entry"]

LARGEST = 2**31 - 1  # of a size that has no capacity: products of it with strides fit 64 bits
RUN = "run."  # before the name of a program: a dot is in no name of C


@dataclass(frozen=True, slots=True)
class Kind:
    """Why a call is refused: the code, its name for C, a sentence."""

    code: int
    name: str
    message: str


NULL, ALIGNED, SIZE, MEMORY, VALUE = KINDS = (
    Kind(1, "NULL", "the address of an array is null"),
    Kind(2, "ALIGNMENT", "the address of an array is not a multiple of its element's size"),
    Kind(3, "SIZE", "a size is out of its bounds"),
    Kind(4, "MEMORY", f"the memory is null, not aligned to {ALIGNMENT} bytes, or too small"),
    Kind(5, "VALUE", "an integer of an array is out of its declared range"),
)


@dataclass(frozen=True, slots=True)
class Size:
    """A size that the caller gives, ``low`` to ``high``; ``field`` is its name in C."""

    name: str
    field: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Array:
    """An array that the caller owns. ``name`` is the user's, ``field`` that of C; ``buffer`` the
    program's; ``role`` is input, scalar, parameter, state or output; ``low`` and ``high`` bound
    the integers of an input where that was declared."""

    name: str
    field: str
    buffer: str
    dtype: Dtype
    dims: tuple[Ix, ...]
    axes: tuple[str, ...]
    role: str
    written: bool
    low: Ix | None = None
    high: Ix | None = None

    @property
    def width(self) -> int:
        """Bytes of an element."""
        return WIDTH[self.dtype] // 8


@dataclass(frozen=True, slots=True)
class Entry:
    """A function for C: ``symbol`` its name, ``verb`` the user's (step, predict)."""

    verb: str
    symbol: str
    sizes: tuple[Size, ...]
    arrays: tuple[Array, ...]
    interface: Interface

    @property
    def run(self) -> str:
        """The name of the program's function in the module."""
        return RUN + self.verb


def entry(
    verb: str, symbol: str, program: Program, interface: Interface, outputs: Sequence[str]
) -> Entry:
    """The function for a program whose outputs are scratch, each once; ``outputs`` are the user's
    names of them.

    Raises ValueError for a size or a range that is not a sum of dimensions.
    """
    names = CNames()
    sizes = tuple(
        Size(d.name, names(d.name, "size"), d.lower, min(LARGEST, d.capacity or LARGEST))
        for d in interface.dims
    )
    names = CNames()
    known = {b.name: b for b in program.buffers}
    found: list[Array] = []
    listed: list[tuple[str, str, str]] = [
        (b.name, b.label or b.name, b.role) for b in program.arguments
    ]
    listed += [(o, label, "output") for o, label in zip(program.outputs, outputs, strict=True)]
    for name, label, role in listed:
        written = role == "output" or name in interface.writes
        b = known[name]
        bounded = role == "input" and b.dtype not in ("float32", "float64", "bool")
        low, high = (b.low, b.high) if bounded else (None, None)
        for ix in (*b.dims, *(x for x in (low, high) if x is not None)):
            if not all(isinstance(atom, Dim) for atom, _ in ix.terms):
                raise ValueError(
                    f"{label} has {ix!r} in its sizes or its range, not a sum of sizes"
                )
        field = names(label, "array")
        found.append(Array(label, field, name, b.dtype, b.dims, b.axes, role, written, low, high))
    return Entry(verb, symbol, sizes, tuple(found), interface)
