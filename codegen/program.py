"""PROGRAM, the contract between the packages: ordered indexed assignments over named buffers.

    Program := name, doc, dims, buffers, steps, outputs                    -- single assignment
    Buffer  := name, dims, axes, dtype, role, label, section
               role: input | scalar | parameter | state | constant | scratch
               section: forward | backward | update | "" (none), for the reader
    Step    := Assign | Scan | Block | Library
    Assign  := target[ix, ...] op= body over loops where guards            -- op: "=" sum max min
    Scan    := targets = scan of a body program over leading axes
    Block   := targets = body program (arguments)                          -- a repeated region
    Library := targets = atom{attributes}(arguments)                       -- an opaque operation
    Scalar  := Number | Load | IndexValue | Unary | Binary | Compare | Select | Call | Cast | Fma
               | Bitcast | Shift | And | Or | Xor | Round | MulHigh

Meaning of ``Assign``: every element of the target starts at the identity of ``op`` (0 for "=" and
sum, -inf and +inf for max and min; the dtype's limits for integers); then, for every point of the
loops at which all guards hold, ``target[ix] op= body``. With "=" each element is written at most
once. A computed ``ix`` is a scatter. A ``Load`` whose own guards do not hold is exactly 0 and
reads nothing. A target of role ``state`` or ``parameter`` is updated in place: its step writes
every element, may read the target at the written element only, and comes after every other read.

In: whatever built it (``symprop.lower``); positions are codegen.index combinations whose gathers
have a ``BufferSource``. Out: what every backend and the readable listing are made from.

Guarantees: immutable, ordered, nothing here knows of networks, gradients or SymPy. ``verify``
says whether one is valid; ``listing`` prints one in index notation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

from codegen.index import Dim, Guard, Ix, Loop
from codegen.ranges import testable

Dtype: TypeAlias = Literal["bool", "int32", "int64", "uint32", "uint64", "float32", "float64"]
Role: TypeAlias = Literal["input", "scalar", "parameter", "state", "constant", "scratch"]
ReduceOp: TypeAlias = Literal["=", "sum", "max", "min"]
Section: TypeAlias = Literal["", "forward", "backward", "update"]


@dataclass(frozen=True, slots=True)
class Number:
    """An exact constant, rounded once when printed in its dtype; or "inf", "-inf", "nan"."""

    value: Fraction | Literal["inf", "-inf", "nan"]


@dataclass(frozen=True, slots=True)
class Load:
    """An element of a buffer; exactly 0 (and nothing read) where a guard does not hold.

    The guards are kept in the order in which they are tested: those that gather last.
    """

    buffer: str
    indices: tuple[Ix, ...] = ()
    guards: tuple[Guard, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "guards", testable(self.guards))


@dataclass(frozen=True, slots=True)
class IndexValue:
    """The integer value of an index expression (of dimensions alone: a size)."""

    ix: Ix


@dataclass(frozen=True, slots=True)
class Unary:
    op: Literal["-", "not"]
    x: Scalar


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic as written; "**" has a small integer Number as its right operand."""

    op: Literal["+", "-", "*", "/", "**"]
    left: Scalar
    right: Scalar


@dataclass(frozen=True, slots=True)
class Compare:
    op: Literal["<", "<=", "==", "!=", ">", ">="]
    left: Scalar
    right: Scalar


@dataclass(frozen=True, slots=True)
class Select:
    """``then`` where ``condition`` holds, else ``other``; the branch not taken is nothing."""

    condition: Scalar
    then: Scalar
    other: Scalar


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the table in codegen.functions."""

    function: str
    args: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    dtype: Dtype
    x: Scalar


@dataclass(frozen=True, slots=True)
class Fma:
    """a*b + c rounded once."""

    a: Scalar
    b: Scalar
    c: Scalar


@dataclass(frozen=True, slots=True)
class Bitcast:
    dtype: Dtype
    x: Scalar


@dataclass(frozen=True, slots=True)
class Shift:
    """Left for a positive, logical right for a negative number of places."""

    x: Scalar
    places: int


@dataclass(frozen=True, slots=True)
class And:
    left: Scalar
    right: Scalar


@dataclass(frozen=True, slots=True)
class Or:
    left: Scalar
    right: Scalar


@dataclass(frozen=True, slots=True)
class Xor:
    left: Scalar
    right: Scalar


@dataclass(frozen=True, slots=True)
class Round:
    """To the nearest integer, ties to even, still a float."""

    x: Scalar


@dataclass(frozen=True, slots=True)
class MulHigh:
    """The upper half of the product of two unsigned integers of one width."""

    left: Scalar
    right: Scalar


Scalar: TypeAlias = (
    Number
    | Load
    | IndexValue
    | Unary
    | Binary
    | Compare
    | Select
    | Call
    | Cast
    | Fma
    | Bitcast
    | Shift
    | And
    | Or
    | Xor
    | Round
    | MulHigh
)


# By kind: the operands in order, and the same with other operands.
_Operands: TypeAlias = tuple[Scalar, ...]
_NONE: tuple[type, ...] = (Number, Load, IndexValue)
_SHAPES: dict[
    type, tuple[Callable[[Any], _Operands], Callable[[Any, Sequence[Scalar]], Scalar]]
] = {
    **dict.fromkeys(_NONE, (lambda s: (), lambda s, new: s)),
    Unary: (lambda s: (s.x,), lambda s, new: Unary(s.op, *new)),
    Cast: (lambda s: (s.x,), lambda s, new: Cast(s.dtype, *new)),
    Bitcast: (lambda s: (s.x,), lambda s, new: Bitcast(s.dtype, *new)),
    Shift: (lambda s: (s.x,), lambda s, new: Shift(new[0], s.places)),
    Round: (lambda s: (s.x,), lambda s, new: Round(*new)),
    Binary: (lambda s: (s.left, s.right), lambda s, new: Binary(s.op, *new)),
    Compare: (lambda s: (s.left, s.right), lambda s, new: Compare(s.op, *new)),
    And: (lambda s: (s.left, s.right), lambda s, new: And(*new)),
    Or: (lambda s: (s.left, s.right), lambda s, new: Or(*new)),
    Xor: (lambda s: (s.left, s.right), lambda s, new: Xor(*new)),
    MulHigh: (lambda s: (s.left, s.right), lambda s, new: MulHigh(*new)),
    Select: (lambda s: (s.condition, s.then, s.other), lambda s, new: Select(*new)),
    Fma: (lambda s: (s.a, s.b, s.c), lambda s, new: Fma(*new)),
    Call: (lambda s: s.args, lambda s, new: Call(s.function, tuple(new))),
}


def children(scalar: Scalar) -> tuple[Scalar, ...]:
    """The operands of a scalar, in order."""
    return _SHAPES[type(scalar)][0](scalar)


def with_children(scalar: Scalar, operands: Sequence[Scalar]) -> Scalar:
    """A scalar with other operands."""
    return _SHAPES[type(scalar)][1](scalar, operands)


def walk(scalar: Scalar) -> Iterator[Scalar]:
    """A scalar and everything inside it, outer first, left to right."""
    left = [scalar]
    while left:
        one = left.pop()
        yield one
        left += reversed(_SHAPES[type(one)][0](one))


@dataclass(frozen=True)
class BufferSource:
    """An integer buffer as the source of a gather, with the bounds of what it holds."""

    buffer: str
    low: Ix
    high: Ix
    digest: bytes = field(init=False, compare=False)

    def __post_init__(self) -> None:
        text = self.buffer.encode() + self.low.digest + self.high.digest
        object.__setattr__(self, "digest", blake2b(text, digest_size=12).digest())

    @property
    def name(self) -> str:
        return self.buffer


@dataclass(frozen=True, slots=True)
class Buffer:
    """Named storage. ``dims`` are combinations of dimensions; ``axes`` name them for the reader
    ("" where no name is known); ``label`` is what the user calls it; ``low``/``high`` bound the
    values of an integer buffer; ``section`` says to a reader which part of the program makes it."""

    name: str
    dims: tuple[Ix, ...]
    axes: tuple[str, ...]
    dtype: Dtype
    role: Role
    label: str = ""
    low: Ix | None = None
    high: Ix | None = None
    data: tuple[float | int, ...] | None = None  # role constant: its values, row-major
    section: Section = ""


@dataclass(frozen=True, slots=True)
class Assign:
    """target[index] op= body over loops where guards; see the module's docstring.

    The guards are kept in the order in which they are tested: those that gather last.
    ``names`` are the loops' names for the reader, unique within the step. ``accumulator`` is the
    dtype sums are carried in. ``formula`` is a line of mathematics, ``origin`` the user's place.
    """

    target: str
    index: tuple[Ix, ...]
    op: ReduceOp
    loops: tuple[Loop, ...]
    names: tuple[str, ...]
    guards: tuple[Guard, ...]
    body: Scalar
    accumulator: Dtype
    formula: str = ""
    origin: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "guards", testable(self.guards))


@dataclass(frozen=True, slots=True)
class Scan:
    """A recurrence of ``length`` turns (from the last when ``reverse``).

    The body's inputs are, in order, the carries, one slice of each of ``slices`` (its leading axis
    removed) and the constants; its outputs are the next carries, then the values to be stacked.
    ``targets`` are the final carries, then the stacked values (leading axis ``length``, at their
    own position also when reversed).
    """

    targets: tuple[str, ...]
    length: Ix
    reverse: bool
    carries: tuple[str, ...]
    slices: tuple[str, ...]
    constants: tuple[str, ...]
    body: Program
    formula: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A call of a repeated region: equal ``body`` objects are emitted once."""

    targets: tuple[str, ...]
    arguments: tuple[str, ...]
    body: Program
    formula: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Library:
    """An opaque operation by name."""

    targets: tuple[str, ...]
    atom: str
    attributes: tuple[tuple[str, str | int | float], ...]
    arguments: tuple[str, ...]
    formula: str = ""
    origin: str = ""


Step: TypeAlias = Assign | Scan | Block | Library


@dataclass(frozen=True, slots=True)
class Program:
    """Buffers in the order of arguments, then of first writing; steps in order of execution.

    ``outputs`` are buffer names in the caller's order (an input may be an output, and twice);
    ``updates`` are the state and parameter buffers that are written in place.
    """

    name: str
    doc: str
    dims: tuple[Dim, ...]
    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]

    @property
    def arguments(self) -> tuple[Buffer, ...]:
        """The buffers a caller hands in, in order."""
        return tuple(b for b in self.buffers if b.role not in ("scratch", "constant"))

    @property
    def updates(self) -> tuple[str, ...]:
        """The arguments written in place, in order."""
        written = {t for s in self.steps for t in targets(s)}
        return tuple(b.name for b in self.arguments if b.name in written)

    def __str__(self) -> str:
        """The listing in index notation."""
        from codegen.listing import listing

        return listing(self)

    def buffer(self, name: str) -> Buffer:
        """The buffer of that name (KeyError when there is none)."""
        for b in self.buffers:
            if b.name == name:
                return b
        raise KeyError(name)


def targets(step: Step) -> tuple[str, ...]:
    """The buffers a step defines."""
    return (step.target,) if isinstance(step, Assign) else step.targets
