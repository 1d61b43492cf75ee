"""Which loops run in lanes, and which declared arrays are registers.

In: a body, a target. Out: a ``Plan``.

    lanes       a vector loop without calls, none of whose inner loops is narrowed by its lanes, and
                with no local too large for a stack. It
                runs as one vector if it is no longer than one, or if a register tile has as many
                lanes; else in strips of one vector each. Any other vector loop runs in turn
    registers   what has no axes, and tiles of which every access names a number (of an unrolled
                loop, say) on each axis, or all lanes of a loop as long as the axis

Guarantees: what is not a register is memory; a wrong guess costs time, never a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from codegen.dtypes import WIDTH
from codegen.index import Dim, Gather, Ix, Loop
from codegen.llvm.layout import STACK_BYTES, local_bytes
from codegen.llvm.target import Target
from codegen.loops.nest import Call, Declare, For, Part, Stmt, Store, When
from codegen.loops.walk import gathered, inside, loads
from codegen.program import Buffer, BufferSource

__all__ = ["LONGEST", "Plan", "plan"]

LONGEST = 8  # vectors that one value of a tile may take


@dataclass
class Plan:
    """``strips`` are the lanes of each vector loop that runs in lanes at once; ``axes`` the
    declared arrays that are registers, with the axis that lies in lanes."""

    strips: dict[Loop, int] = field(default_factory=dict)
    axes: dict[str, int | None] = field(default_factory=dict)


def plan(body: Sequence[Stmt], target: Target) -> Plan:
    """What runs in lanes, and what is kept in registers."""
    found = Plan()
    loops = {f.loop: f for f in _wide(body)}
    natural = {v: _natural(f, target) for v, f in loops.items()}
    lanes = {v for v in loops if v.extent.const <= LONGEST * natural[v]}
    tiles = _Tiles(lanes)
    tiles.walk(body, (), None)
    found.axes = {name: axis for name, axis in tiles.axes.items() if name not in tiles.memory}
    kept = {v for name in found.axes for v in tiles.used.get(name, ())}
    for v in loops:
        whole = v in kept or v.extent.const <= natural[v]
        found.strips[v] = v.extent.const if whole else natural[v]
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


class _Tiles:
    """The accesses to declared arrays of one body."""

    def __init__(self, lanes: set[Loop]) -> None:
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
            if lane is not None and ix.atom is lane and lane.extent is size:
                if self.axes[name] not in (None, axis):
                    self.memory.add(name)
                self.axes[name] = axis
                self.used.setdefault(name, {})[lane] = None
            elif not _number(ix, fixed):
                self.memory.add(name)


def _number(ix: Ix, fixed: tuple[Loop, ...]) -> bool:
    """Whether an index is a number once loops are written out."""
    if any(v not in fixed for v in ix.loops):
        return False
    return not any(isinstance(a, Dim | Gather) for a in ix.atoms())
