"""Which loops run in lanes, and which declared arrays are registers.

In: a body, a target. Out: a ``Plan``.

    lanes       a vector loop without calls, none of whose inner loops is narrowed by its lanes, and
                with no local too large for a stack. It runs in strips of one vector each, written
                out where they hold registers or are few and short. Any other one runs in turn
    registers   what has no axes, and tiles of which every access names a number (of an unrolled
                loop, say) on each axis, or on one of them all lanes of a loop, in part of it or
                in the whole
    padded      where the machine has masks, vectors are whole: lanes that a loop does not have
                neither read nor write

Guarantees: what is not a register is memory; a wrong guess costs time, never a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from codegen.dtypes import WIDTH
from codegen.index import Dim, Gather, Ix, Loop
from codegen.llvm.cost import text
from codegen.llvm.layout import STACK_BYTES, local_bytes
from codegen.llvm.target import Target
from codegen.loops.nest import Call, Declare, For, Part, Stmt, Store, When
from codegen.loops.walk import gathered, inside, loads
from codegen.program import Buffer, BufferSource

__all__ = ["LONGEST", "Plan", "padded", "plan"]

LONGEST = 8  # vectors that one value of a tile may take
WRITTEN = 8  # strips of a loop that are written out if they are short, for values to stay in lanes
SHORT = 320  # operations of all strips together: a row of layer norm and GELU of 65 elements took
# 30 us written out (265 rows), 41 in a loop; longer ones gain nothing and are much text


@dataclass
class Plan:
    """``strips`` are the turns that run at once of each vector loop, ``written`` those of which
    every strip is written out; ``axes`` the declared arrays that are registers, with the axis that
    lies in lanes, and ``lanes`` how many of it one register holds."""

    strips: dict[Loop, int] = field(default_factory=dict)
    written: set[Loop] = field(default_factory=set)
    axes: dict[str, int | None] = field(default_factory=dict)
    lanes: dict[str, int] = field(default_factory=dict)


def padded(turns: int, total: int, width: int, target: Target) -> int:
    """The lanes that so many turns take, of a loop of ``total`` turns in strips of ``width``: a
    whole strip in one that is longer, so that all of them are alike; else a power of two."""
    if not target.masks or turns < 2:
        return turns if total == turns or not target.masks else width
    return width if total > width else 1 << (turns - 1).bit_length()


def plan(body: Sequence[Stmt], target: Target) -> Plan:
    """What runs in lanes, and what is kept in registers."""
    found = Plan()
    loops = {f.loop: f for f in _wide(body)}
    found.strips = {v: _natural(f, target) for v, f in loops.items()}
    lanes = {v: n for v, n in found.strips.items() if v.extent.const <= LONGEST * n}
    tiles = _Tiles(lanes)
    tiles.walk(body, (), None)
    found.written = {v for v, f in loops.items() if _short(f, found.strips[v])}
    for name, axis in tiles.axes.items():
        widths = {lanes[v] for v in tiles.used.get(name, ())}
        if name not in tiles.memory and len(widths) < 2:
            found.axes[name] = axis
            found.lanes[name] = min(widths, default=0)
            found.written.update(tiles.used.get(name, ()))
    return found


def _wide(stmts: Sequence[Stmt]) -> Iterator[For]:
    """The loops that can run in lanes, the outermost where several are inside one another."""
    for stmt in stmts:
        if isinstance(stmt, For) and stmt.kind == "vector" and _runs_in_lanes(stmt):
            yield stmt
        elif isinstance(stmt, Part | For | When):
            yield from _wide(stmt.body)


def _runs_in_lanes(f: For) -> bool:
    if f.loop.extent.const < 2:
        return False
    for s in inside(f.body):
        if isinstance(s, Call):
            return False
        if isinstance(s, Declare) and local_bytes(s.array) > STACK_BYTES:
            return False
        if isinstance(s, For) and any(f.loop in ix.loops for ix in (*s.low, *s.high)):
            return False
    return True


def _natural(f: For, target: Target) -> int:
    """The lanes of one vector of the widest number that a loop stores."""
    # What a loop computes in is seldom wider than what it stores.
    width = 32
    for s in inside(f.body):
        if isinstance(s, Declare):
            width = max(width, WIDTH[s.array.dtype])
    return target.lanes(width)


def _short(f: For, width: int) -> bool:
    """Whether all strips of a loop are written out."""
    strips = -(-f.loop.extent.const // width)
    stmts = list(inside(f.body))
    if strips > WRITTEN or any(isinstance(s, For) for s in stmts):
        return False
    return strips * sum(text(s.value) for s in stmts if isinstance(s, Store)) <= SHORT


class _Tiles:
    """The accesses to declared arrays of one body; ``lanes`` are the loops in lanes that may hold
    registers, and how many turns of each run at once."""

    def __init__(self, lanes: Mapping[Loop, int]) -> None:
        self.lanes = lanes
        self.arrays: dict[str, Buffer] = {}
        self.axes: dict[str, int | None] = {}
        self.memory: set[str] = set()
        self.used: dict[str, dict[Loop, None]] = {}

    def walk(self, stmts: Sequence[Stmt], fixed: tuple[Loop, ...], lane: Loop | None) -> None:
        """``fixed`` are the loops that are written out, ``lane`` the one in lanes."""
        for stmt in stmts:
            match stmt:
                case Declare(array):
                    self.arrays[array.name] = array
                    self.axes.setdefault(array.name, None)
                case For(loop=loop):
                    written = stmt.kind == "unroll" or loop.extent.value == 1
                    inner = (*fixed, loop) if written else fixed
                    here = loop if lane is None and loop in self.lanes else lane
                    self.walk(stmt.body, inner, here)
                case Part() | When():
                    self.walk(stmt.body, fixed, lane)
                case Call(_, arguments):
                    self.memory.update(arguments)
                case Store(target, index):
                    self.access(target, index, fixed, lane)
            for load in loads(stmt):
                self.access(load.buffer, load.indices, fixed, lane)
            for g in gathered(stmt):
                assert isinstance(g.source, BufferSource)
                self.access(g.source.buffer, g.indices, fixed, lane)

    def access(
        self, name: str, index: Sequence[Ix], fixed: tuple[Loop, ...], lane: Loop | None
    ) -> None:
        array = self.arrays.get(name)
        if array is None or name in self.memory:
            return
        for axis, (ix, size) in enumerate(zip(index, array.dims, strict=True)):
            if lane is not None and _along(ix, lane, size, self.lanes[lane]):
                if self.axes[name] not in (None, axis):
                    self.memory.add(name)
                self.axes[name] = axis
                self.used.setdefault(name, {})[lane] = None
            elif not _number(ix, fixed):
                self.memory.add(name)


def _along(ix: Ix, lane: Loop, size: Ix, lanes: int) -> bool:
    """Whether an index is the number of a lane, from some turn on, within an axis, and no strip is
    in two registers."""
    first, turns = (ix - lane.ix()).value, lane.extent.const
    if first is None or not 0 <= first <= size.const - turns:
        return False
    return first % lanes == 0 or first % lanes + turns <= lanes


def _number(ix: Ix, fixed: tuple[Loop, ...]) -> bool:
    """Whether an index is a number once loops are written out."""
    if any(v not in fixed for v in ix.loops):
        return False
    return not any(isinstance(a, Dim | Gather) for a in ix.atoms())
