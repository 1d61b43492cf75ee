"""LOOPS, the grammar: nests of loops over named arrays, as data.

    Loops   := name, doc, dims, arrays, body, outputs, kernels, schedule
    Kernel  := name, dims, arrays, integers, body      -- an outlined body; arrays: its arguments
    Stmt    := Part(name, formula, origin, body)       -- the lines of one value, for the reader
             | For(loop, name, kind, low, high, body)  -- max(low) <= loop < min(extent, *high)
             | When(guards, body)                      -- the body where every guard holds
             | Declare(array)                          -- storage of its own until the body ends
             | Store(target[ix, ...], op, value)       -- op: = += max= min=
             | Call(kernel, arguments, integers)
    kind    := serial | unroll | vector | parallel
    value   := Scalar of codegen.program, reading arrays and declared storage alike

Meaning: statements run in order, a ``For`` counts upward. ``serial`` and ``unroll`` say how it is
to be carried out, ``vector`` and ``parallel`` that its turns may run at once: no turn writes what
another one reads or writes (a scatter, or an accumulation into one place, is neither). ``Declare``
makes storage whose content is undefined until it is stored to; rank 0 is a register, a constant
extent under ``vector`` or ``unroll`` a register tile, anything larger a local array. ``+=`` adds
to what is there: arrays start undefined as well, so a nest clears what it accumulates into.
``max=`` and ``min=`` let NaN through. A ``Load`` whose own guards fail is 0 and reads nothing.

Arrays are the buffers of PROGRAM: arguments with their roles, constants, and scratch, row-major.
No nest assumes a layout: a packed, transposed or padded operand is another array with the copy
that fills it. A loop variable is bound by one ``For`` of a nest or by ``integers`` of a kernel.
A target of role ``state`` or ``parameter`` is updated in place.

In: ``from_program``, and ``schedule`` after it. Out: what the printers and emitters read.

Guarantees: immutable, ordered; nothing here knows of networks, gradients or a machine.
``verify`` says whether one is valid; ``interpret`` what it means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from codegen.index import Dim, Guard, Ix, Loop
from codegen.program import Buffer, Scalar
from codegen.ranges import testable

if TYPE_CHECKING:
    from codegen.loops.directives import Directive

__all__ = [
    "Call",
    "Declare",
    "For",
    "Kernel",
    "Kind",
    "Loops",
    "Part",
    "Stmt",
    "Store",
    "StoreOp",
    "When",
]

Kind: TypeAlias = Literal["serial", "unroll", "vector", "parallel"]
StoreOp: TypeAlias = Literal["=", "+=", "max=", "min="]


@dataclass(frozen=True, slots=True)
class Part:
    """The lines of one value. ``formula`` is its line of mathematics, ``origin`` the user's place;
    ``name`` is what a schedule calls it: unique among the parts of a body and below."""

    name: str
    body: tuple[Stmt, ...]
    formula: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class For:
    """A loop from 0 to its extent, narrowed to max(low) <= loop < min(high) where given.

    ``name`` is the reader's, unique among the loops that enclose it. With ``vector`` and
    ``unroll`` the extent is a number and nothing narrows it.
    """

    loop: Loop
    name: str
    body: tuple[Stmt, ...]
    kind: Kind = "serial"
    low: tuple[Ix, ...] = ()
    high: tuple[Ix, ...] = ()


@dataclass(frozen=True, slots=True)
class When:
    """The guards are kept in the order in which they are tested: those that gather last."""

    guards: tuple[Guard, ...]
    body: tuple[Stmt, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "guards", testable(self.guards))


@dataclass(frozen=True, slots=True)
class Declare:
    """Storage from here to the end of the enclosing body; its dims are numbers."""

    array: Buffer


@dataclass(frozen=True, slots=True)
class Store:
    """``target[index] op value``, the value converted to the target's dtype."""

    target: str
    index: tuple[Ix, ...]
    op: StoreOp
    value: Scalar


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel on arrays by name (in the order of its own) and integers."""

    kernel: str
    arguments: tuple[str, ...]
    integers: tuple[Ix, ...] = ()


Stmt: TypeAlias = Part | For | When | Declare | Store | Call


@dataclass(frozen=True, slots=True)
class Kernel:
    """A body by itself. ``arrays`` are its arguments, those in ``writes`` written; scratch and
    constants of its own are in ``scratch``; ``integers`` are loop variables that the caller sets,
    named in ``names``."""

    name: str
    dims: tuple[Dim, ...]
    arrays: tuple[Buffer, ...]
    writes: tuple[str, ...]
    body: tuple[Stmt, ...]
    scratch: tuple[Buffer, ...] = ()
    integers: tuple[Loop, ...] = ()
    names: tuple[str, ...] = ()
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Loops:
    """A whole program. ``arrays`` stand in the order of arguments, then of first use; ``outputs``
    are names in the caller's order; ``schedule`` is what was applied so far, in order."""

    name: str
    doc: str
    dims: tuple[Dim, ...]
    arrays: tuple[Buffer, ...]
    body: tuple[Stmt, ...]
    outputs: tuple[str, ...]
    kernels: tuple[Kernel, ...] = ()
    schedule: tuple[Directive, ...] = ()

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """The arrays a caller hands in, in order."""
        return tuple(b for b in self.arrays if b.role not in ("scratch", "constant"))

    def array(self, name: str) -> Buffer:
        """The array of that name (KeyError when there is none)."""
        for b in self.arrays:
            if b.name == name:
                return b
        raise KeyError(name)

    def __str__(self) -> str:
        """The listing."""
        from codegen.loops.listing import listing

        return listing(self)
