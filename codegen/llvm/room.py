"""Rows of scratch that begin where vectors do.

In: scheduled ``Loops``, the ``Target``. Out: ``roomy(loops, target)``, the same with arrays that
have more elements along their last axis than are used: whole vectors.

    scratch   of two axes or more, of the program and of its kernels, but for what is handed out
    locals    that lie in memory: what is a register has as many lanes as it has elements

Rows that lie a multiple of ``STRIDE`` apart get a vector more: the same element of each would lie
in one set of the cache, and a tile reads from many rows at once. Measured for 784-1024-1024-10,
batch 256, AVX-512, two pairs of runs: 14.4 and 15.9 ms without, 13.4 and 15.3 ms with it.

An array that a kernel is given has room in all calls, or in none.

Guarantees: no statement changes but for the sizes of what it declares; what was added is not read
by any turn of a loop. Only targets with masks get it: the others have no lanes beyond the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from codegen.dtypes import WIDTH
from codegen.index import constant
from codegen.llvm.cost import STRIDE
from codegen.llvm.storage import plan
from codegen.llvm.target import Target
from codegen.loops.nest import Call, Declare, Loops, Stmt
from codegen.loops.walk import inside, mapped
from codegen.program import Buffer

__all__ = ["roomy"]

Name = tuple[str, str]  # the kernel ("" for the program) and the array


def roomy(loops: Loops, target: Target) -> Loops:
    """Arrays with room for whole vectors."""
    if not target.masks:
        return loops
    room = _Room(loops, target)
    body = room.body("", loops.body)
    arrays = room.arrays("", loops.arrays)
    kernels = tuple(
        replace(
            k,
            arrays=room.arrays(k.name, k.arrays),
            scratch=room.arrays(k.name, k.scratch),
            body=room.body(k.name, k.body),
        )
        for k in loops.kernels
    )
    return replace(loops, arrays=arrays, body=body, kernels=kernels)


class _Room:
    """Which arrays get how much."""

    def __init__(self, loops: Loops, target: Target) -> None:
        self.target = target
        self.sizes: dict[Name, int] = {}
        for b in loops.arrays:
            if b.role == "scratch" and b.name not in loops.outputs:
                self.add("", b)
        bodies = {"": loops.body, **{k.name: k.body for k in loops.kernels}}
        for owner, body in bodies.items():
            registers = plan(body, target).axes
            for s in inside(body):
                if isinstance(s, Declare) and s.array.name not in registers:
                    self.add(owner, s.array)
        for k in loops.kernels:
            for b in k.scratch:
                self.add(k.name, b)
        self.agree(loops, bodies)

    def add(self, owner: str, b: Buffer) -> None:
        """An array that may have room, if it is long enough to be read in whole vectors."""
        lanes = self.target.lanes(max(32, WIDTH[b.dtype]))
        if len(b.dims) > 1 and b.role != "constant" and b.dims[-1].value is not None:
            n = b.dims[-1].const
            if 2 * n > lanes:
                size = -(-n // lanes) * lanes
                if size * WIDTH[b.dtype] % (8 * STRIDE) == 0:
                    size += lanes
                self.sizes[owner, b.name] = max(size, self.sizes.get((owner, b.name), 0))

    def agree(self, loops: Loops, bodies: Mapping[str, tuple[Stmt, ...]]) -> None:
        """Arguments of kernels get what all that is handed to them has, or nothing has any."""
        kernels = {k.name: [b.name for b in k.arrays] for k in loops.kernels}
        every = [(owner, s) for owner, body in bodies.items() for s in inside(body)]
        calls = [(owner, s) for owner, s in every if isinstance(s, Call)]
        handed: dict[Name, list[Name]] = {}
        for owner, s in calls:
            for name, given in zip(kernels[s.kernel], s.arguments, strict=True):
                handed.setdefault((s.kernel, name), []).append((owner, given))
        for argument in reversed(handed):  # a kernel stands before those that call it
            self.put(argument, self.sizes.get(handed[argument][0]))
        while any(self.settled((argument, *given)) for argument, given in handed.items()):
            pass

    def settled(self, every: Iterable[Name]) -> bool:
        """Takes all room away from names that have not the same; whether there were such."""
        have = {n: self.sizes.get(n) for n in every}
        if len(set(have.values())) == 1:
            return False
        for n in have:
            self.put(n, None)
        return True

    def put(self, name: Name, size: int | None) -> None:
        if size is None:
            self.sizes.pop(name, None)
        else:
            self.sizes[name] = size

    def body(self, owner: str, stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        def change(s: Stmt) -> tuple[Stmt, ...]:
            return (Declare(self.one(owner, s.array)),) if isinstance(s, Declare) else (s,)

        return mapped(stmts, change)

    def arrays(self, owner: str, arrays: Iterable[Buffer]) -> tuple[Buffer, ...]:
        return tuple(self.one(owner, b) for b in arrays)

    def one(self, owner: str, b: Buffer) -> Buffer:
        """An array with its room."""
        size = self.sizes.get((owner, b.name))
        return b if size is None else replace(b, dims=(*b.dims[:-1], constant(size)))
