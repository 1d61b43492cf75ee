"""Schedules as data: what may be said about a nest, one record each.

    Fuse(first, second)                 one loop around the bodies of two neighbouring parts
    Split(part, loop, size | parts)     i -> i_outer, i_inner, pieces of a size or a balanced number
    Cut(part, loop, at | multiple)      i -> i_0, i_1, ... one after another: borders apart
    Reorder(part, loops)                the order of a perfect nest, from outside in
    Vectorise(part, loop)               run a loop of constant extent in lanes
    Unroll(part, loop)                  write the turns of a loop of constant extent out
    RegisterBlock(part, tile)           a tile of accumulators, the reduction outside of the tile
    Init(part, array)                   start accumulators from a value instead of adding it after
    Epilogue(part, consumer)            an elementwise part inside the nest that makes its operand
    Prologue(part, producer)            an elementwise part recomputed where it is read
    Localise(part, array)               storage used within one turn only, as wide as that turn
    Pack(part, array, order)            a reordered copy of an operand, made before the part
    Layout(array, order)                scratch in another order everywhere
    Pad(array, axis, multiple | border) scratch with room along an axis, which holds zero
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
    "Cut",
    "Directive",
    "Epilogue",
    "Fuse",
    "Init",
    "Layout",
    "Localise",
    "Outline",
    "Pack",
    "Pad",
    "Parallel",
    "Privatise",
    "Prologue",
    "RegisterBlock",
    "Reorder",
    "ScheduleError",
    "Split",
    "Unroll",
    "Vectorise",
]


@dataclass(frozen=True)
class Fuse:
    """One loop around the bodies of two parts of one body, outermost loops of equal extent.

    What stands between them and is needed by the second must not need the first. The fused part
    is called ``"<first> to <second>"`` (``"a to c"`` when ``"a to b"`` is fused with ``c``; with
    ``" over <loop>"`` where a part around it has that name), and the two stand in its loop as
    parts with their own names and formulas. Where they are all that a fused loop holds, their
    inner loops are fused in place, under the name that the part has.
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
class Cut:
    """``loop`` becomes loops one after another: ``<loop>_0`` up to the first turn in ``at``,
    ``<loop>_1`` from there to the second, and so on; a negative turn counts from the end. With
    ``multiple`` the only cut is at the greatest multiple of it, wherever that is at run time.

    Each is a part of its own, ``"<part> <loop>_0"`` and so on. Guards that always hold in one of
    them are gone there: the inside of an image, apart from its border.
    """

    part: str
    loop: str
    at: tuple[int, ...] = ()
    multiple: int = 0


@dataclass(frozen=True)
class Reorder:
    """The loops of the part that are named, from outside in; reductions too: the sum is then kept
    in memory, and its terms may be added in another order (reorders rounding)."""

    part: str
    loops: tuple[str, ...]


@dataclass(frozen=True)
class Vectorise:
    """The turns of a loop at once in lanes. A narrowed loop gets its bounds as guards of lanes."""

    part: str
    loop: str


@dataclass(frozen=True)
class Unroll:
    """The turns of a loop written out. A narrowed loop gets its bounds as guards of turns."""

    part: str
    loop: str


@dataclass(frozen=True)
class RegisterBlock:
    """Tiles of accumulators: ``tile`` gives (loop, size) of output loops, the last in lanes when
    ``lanes``; remainders are balanced. The reduction runs around the unrolled tile.

    With ``rolled`` what follows the reduction runs over the rows in a loop, from a copy of the tile
    in memory: for an epilogue too long to be written out.
    """

    part: str
    tile: tuple[tuple[str, int], ...]
    lanes: bool = False
    rolled: bool = False


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
    """A copy of ``array`` with its axes in ``order`` stands before the part, which reads that.

    ``blocks`` gives (axis, size): the axis is first cut in two, the number of the block and the
    place in it; ``order`` counts the axes after that. What is left of the last block holds zero.
    """

    part: str
    array: str
    order: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Layout:
    """Scratch ``array`` lies in another order everywhere; ``order`` and ``blocks`` as in Pack, but
    blocks divide their axis: ``Pad`` it first."""

    array: str
    order: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Pad:
    """Scratch ``array`` with room along ``axis``: ``before`` and ``after`` its elements, and up to
    a ``multiple``. What is added holds zero.

    Reads that a guard made zero there need no guard, and a loop that was narrowed to what is there
    runs over the room as well where it only fills this array, with zeros.
    """

    array: str
    axis: int
    multiple: int = 1
    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class Privatise:
    """A reduction over ``loop`` in ``parts`` partial results, combined pairwise in a fixed tree
    (reorders rounding): ``<loop>_turn`` over rounds of turns, ``<loop>_part`` over the parts."""

    part: str
    loop: str
    parts: int


@dataclass(frozen=True)
class Parallel:
    """The turns of a loop at once, by as many workers as there are."""

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
    | Cut
    | Reorder
    | Vectorise
    | Unroll
    | RegisterBlock
    | Init
    | Epilogue
    | Prologue
    | Localise
    | Pack
    | Layout
    | Pad
    | Privatise
    | Parallel
    | Outline
)

DIRECTIVES: tuple[type[Directive], ...] = (
    Fuse, Split, Cut, Reorder, Vectorise, Unroll, RegisterBlock, Init, Epilogue, Prologue, Localise,
    Pack, Layout, Pad, Privatise, Parallel, Outline,
)  # fmt: skip


class ScheduleError(ValueError):
    """A directive that would change a value, or names something that is not there."""
