"""Schedules as data: what may be said about a nest, one record each.

    Fuse(first, second)                 one loop around the bodies of two neighbouring parts
    Split(part, loop, size | parts)     i -> i_outer, i_inner, pieces of a size or a balanced number
    Reorder(part, loops)                the order of a perfect nest, from outside in
    Vectorise(part, loop)               run a loop of constant extent in lanes
    Unroll(part, loop)                  write the turns of a loop of constant extent out
    RegisterBlock(part, rows, cols)     a tile of accumulators, the reduction outside of the tile
    Init(part, array)                   start accumulators from a value instead of adding it after
    Epilogue(part, consumer)            an elementwise part inside the nest that makes its operand
    Prologue(part, producer)            an elementwise part recomputed where it is read
    Localise(part, array)               storage used within one turn only, as wide as that turn
    Pack(part, array, order)            a reordered copy of an operand, made before the part
    Pad(array, axis, multiple)          scratch with whole vectors along an axis; the rest is zero
    Privatise(part, loop, parts)        a reduction in parts fixed by shape, added in a fixed tree
    Parallel(part, loop)                turns that may run at once
    Outline(part, kernel)               a part as a kernel, shared by parts that do the same

``part`` is the name of a ``Part``, ``loop`` the reader's name of a loop in it.

In: a machine's default, or a user. Out: records for ``codegen.loops.schedule.apply``, which checks
each and refuses, in one sentence, one that would change a value.

Guarantees: immutable; a schedule is a tuple of these, applied in order, and prints as written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "DIRECTIVES",
    "Directive",
    "Epilogue",
    "Fuse",
    "Init",
    "Localise",
    "Outline",
    "Pack",
    "Pad",
    "Parallel",
    "Privatise",
    "Prologue",
    "RegisterBlock",
    "Reorder",
    "Split",
    "Unroll",
    "Vectorise",
]


@dataclass(frozen=True)
class Fuse:
    """One loop around the bodies of two parts of one body, outermost loops of equal extent.

    What stands between them must not depend on either. The fused part is called
    ``"<first> to <second>"`` (``"a to c"`` when ``"a to b"`` is fused with ``c``), and the two stand
    in its loop as parts with their own names and formulas.
    """

    first: str
    second: str


@dataclass(frozen=True)
class Split:
    """``loop`` becomes ``<loop>_outer`` over pieces and ``<loop>_inner`` within one.

    Give ``size`` (the last piece is shorter: its inner loop is narrowed at run time) or ``parts``
    (as equal as can be: 65 in 5 is 5 x 13), not both.
    """

    part: str
    loop: str
    size: int = 0
    parts: int = 0


@dataclass(frozen=True)
class Reorder:
    """The loops of the part that are named, from outside in; reductions too, where their sums are
    carried in memory or in a tile."""

    part: str
    loops: tuple[str, ...]


@dataclass(frozen=True)
class Vectorise:
    part: str
    loop: str


@dataclass(frozen=True)
class Unroll:
    part: str
    loop: str


@dataclass(frozen=True)
class RegisterBlock:
    """Tiles of accumulators: ``tile`` gives (loop, size) of output loops, the last in lanes when
    ``lanes``; remainders are balanced. The reduction runs around the unrolled tile."""

    part: str
    tile: tuple[tuple[str, int], ...]
    lanes: bool = False


@dataclass(frozen=True)
class Init:
    """``acc = 0; acc += ...; y = acc + b`` becomes ``acc = b; acc += ...; y = acc`` (reorders
    rounding); ``array`` is b."""

    part: str
    array: str


@dataclass(frozen=True)
class Epilogue:
    """``consumer``, an elementwise part, moves to where ``part`` stores its operand."""

    part: str
    consumer: str


@dataclass(frozen=True)
class Prologue:
    """``part`` computes the elementwise ``producer`` where it reads it."""

    part: str
    producer: str


@dataclass(frozen=True)
class Localise:
    """``array``, written and read within one turn of the part's loops, as storage of that turn."""

    part: str
    array: str


@dataclass(frozen=True)
class Pack:
    """A copy of ``array`` with its axes in ``order`` stands before the part, which reads that."""

    part: str
    array: str
    order: tuple[int, ...]


@dataclass(frozen=True)
class Pad:
    """Scratch ``array`` whose ``axis`` is rounded up to a multiple; what is added holds zero."""

    array: str
    axis: int
    multiple: int


@dataclass(frozen=True)
class Privatise:
    """A reduction over ``loop`` in ``parts`` partial results, combined pairwise in a fixed tree."""

    part: str
    loop: str
    parts: int


@dataclass(frozen=True)
class Parallel:
    part: str
    loop: str


@dataclass(frozen=True)
class Outline:
    """The part becomes a call of ``kernel``; parts equal up to names share one."""

    part: str
    kernel: str


Directive: TypeAlias = (
    Fuse
    | Split
    | Reorder
    | Vectorise
    | Unroll
    | RegisterBlock
    | Init
    | Epilogue
    | Prologue
    | Localise
    | Pack
    | Pad
    | Privatise
    | Parallel
    | Outline
)

DIRECTIVES: tuple[type[Directive], ...] = (
    Fuse, Split, Reorder, Vectorise, Unroll, RegisterBlock, Init, Epilogue, Prologue, Localise,
    Pack, Pad, Privatise, Parallel, Outline,
)  # fmt: skip
