"""A part read as a sum: what is summed, over what, and along which axis its operands lie.

In: a part as ``from_program`` makes it, and parts that follow it. Out: a ``Sum``, or None.

    for out: acc = identity; for reduced: acc op= value; target[out] = acc

Guarantees: pure; None where a part is anything else, or where a guard narrows its loops.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.index import Gather, Ix, Loop
from codegen.loops.nest import Declare, For, Part, Stmt, Store
from codegen.loops.walk import inside, loads
from codegen.program import Load

__all__ = ["Sum", "points", "reading"]


@dataclass(frozen=True)
class Sum:
    """``out`` and ``reduced`` are the loops, from outside in; ``add`` is the store into ``acc``."""

    part: str
    target: str
    acc: str
    out: tuple[For, ...]
    reduced: tuple[For, ...]
    add: Store

    @property
    def product(self) -> bool:
        """Whether each of two or more operands is read again and again."""
        every = [f.loop for f in (*self.out, *self.reduced)]
        operands = [x for x in loads(self.add) if x.indices]
        again = [x for x in operands if any(v not in _loops(x) for v in every)]
        return self.add.op == "+=" and len(operands) > 1 and again == operands

    def lying(self, v: Loop) -> dict[str, tuple[tuple[int, ...], int]] | None:
        """The operands that move with a loop: the order of axes in which the last one is that along
        which they move, and that axis. None where an operand cannot be laid so."""
        found: dict[str, tuple[tuple[int, ...], int]] = {}
        for load in loads(self.add):
            if v not in _loops(load):
                continue
            moving = [k for k, ix in enumerate(load.indices) if v in ix.loops]
            if not _along(load, v) and not _movable(load, v, moving):
                return None
            rest = [k for k in range(len(load.indices)) if k != moving[0]]
            order = (*rest, moving[0])
            if found.setdefault(load.buffer, (order, moving[0])) != (order, moving[0]):
                return None
        return found


def reading(where: Part) -> Sum | None:
    """The part as a sum into a register."""
    out: list[For] = []
    body: tuple[Stmt, ...] = where.body
    while len(body) == 1 and isinstance(body[0], For):
        out.append(body[0])
        body = body[0].body
    match body:
        case (Declare(acc), Store(start), For() as nest, Store(target, at, "=", Load(end))) if (
            acc.name == start == end
        ):
            pass
        case _:
            return None
    stmts = list(inside((nest,)))
    reduced = tuple(s for s in stmts if isinstance(s, For))
    adds = [s for s in stmts if isinstance(s, Store)]
    if len(adds) != 1 or len(stmts) != len(reduced) + 1 or adds[0].target != acc.name:
        return None
    if any(f.low or f.high or f.kind != "serial" for f in (*out, *reduced)):
        return None
    if at != tuple(f.loop.ix() for f in out):
        return None
    return Sum(where.name, target, acc.name, tuple(out), reduced, adds[0])


def points(where: Part) -> tuple[tuple[Loop, ...], tuple[Stmt, ...]]:
    """The loops of a part that is one perfect nest, and the body; no loops for any other."""
    loops: list[Loop] = []
    body: tuple[Stmt, ...] = where.body
    while len(body) == 1 and isinstance(body[0], For):
        if body[0].low or body[0].high or body[0].kind != "serial":
            return (), body
        loops.append(body[0].loop)
        body = body[0].body
    if any(isinstance(s, For | Part) for s in inside(body)):
        return (), body
    return tuple(loops), body


def _loops(load: Load) -> set[Loop]:
    ixs = (*load.indices, *(g.ix for g in load.guards))
    return {v for ix in ixs for v in ix.loops}


def _steps(ix: Ix, v: Loop) -> bool:
    k = ix.coefficient(v)
    return k != 0 and v not in (ix - v.ix() * k).loops


def _along(load: Load, v: Loop) -> bool:
    """Whether a loop moves by single elements along the last axis of an operand alone."""
    *rest, last = load.indices
    alone = not any(v in ix.loops for ix in rest)
    return alone and last.coefficient(v) == 1 and _steps(last, v)


def _movable(load: Load, v: Loop, moving: list[int]) -> bool:
    """Whether a copy of an operand can lie along a loop."""
    if load.guards or any(isinstance(a, Gather) for ix in load.indices for a in ix.atoms()):
        return False
    ix = load.indices[moving[0]]
    return len(moving) == 1 and ix.coefficient(v) == 1 and _steps(ix, v)
