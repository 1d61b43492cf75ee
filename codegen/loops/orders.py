"""Which loop of a sum runs innermost, and which operand is transposed for it.

In: a part as ``from_program`` makes it. Out: directives, or None where its order is right.

    for batch: for unit: acc = 0; for pixel: acc += x[batch, pixel] * W[unit, pixel]; y[..] = acc

adds each product to the last one, so that every addition waits for the one before. With the last
axis of the target innermost the additions are independent, and operands that lie along that axis
are read in order:

    for batch: (for unit: y[batch, unit] = 0)
               for pixel: for unit: y[batch, unit] += x[batch, pixel] * Wt[pixel, unit]

Guarantees: pure; the sums of each element keep their order.

Measured as Numba text, float32, batch 64, 784 to 128 (us, least of 60; one core of a shared Xeon):
x W^T 3348 as written, 382 in this order; d^T x 2145 and 456. What else was tried: the reduction in
panels that fit the first cache, 332 and 397; by fours in a register, 269, which is another order of
sums; tiles of 4 x 32 written out, 2364 and 1989. Both products by NumPy's library: 265.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from codegen.index import Dim, Gather, Ix, Loop
from codegen.loops.directives import Pack, Reorder
from codegen.loops.nest import Declare, For, Part, Stmt, Store, When
from codegen.loops.walk import inside, loads
from codegen.program import Load

__all__ = ["REUSE", "contraction_order", "heavy"]

REUSE = 8  # an operand is transposed if each of its elements is read at least this often
SHORT = 4  # an axis of fewer turns gains nothing: sums in memory cost as much as waiting


@dataclass(frozen=True)
class _Sum:
    """``for out: acc = identity; for reduced: acc += value; target = acc``."""

    out: tuple[For, ...]
    reduced: tuple[For, ...]
    add: Store


def contraction_order(where: Part) -> tuple[Pack | Reorder, ...]:
    """What puts the last axis of a sum's target innermost; nothing where that is not better."""
    found = _sum(where)
    if found is None or not found.out:
        return ()
    v = found.out[-1].loop
    if v.extent.value is not None and v.extent.value < SHORT:
        return ()
    every = [f.loop for f in (*found.out, *found.reduced)]
    packs: list[Pack] = []
    for load in loads(found.add):
        if v not in _loops(load) or _last(load, v):
            continue
        order = _transposed(load, v)
        reads = prod(_nominal(w.extent) for w in every if w not in _loops(load))
        if order is None or reads < REUSE:
            return ()
        pack = Pack(where.name, load.buffer, order)
        if pack not in packs:
            packs.append(pack)
    names = [f.name for f in (*found.out[:-1], *found.reduced, found.out[-1])]
    return (*packs, Reorder(where.name, tuple(names)))


def heavy(where: Part) -> bool:
    """Whether a part is a contraction: a sum of products, each operand read again and again."""
    for stmt, loops in _stores(where.body, ()):
        operands = [x for x in loads(stmt) if x.indices]
        again = [x for x in operands if any(v not in _loops(x) for v in loops)]
        if stmt.op == "+=" and len(operands) > 1 and again == operands:
            return True
    return False


def _stores(stmts: Sequence[Stmt], loops: tuple[Loop, ...]) -> list[tuple[Store, tuple[Loop, ...]]]:
    """The stores, each with the loops around it."""
    found: list[tuple[Store, tuple[Loop, ...]]] = []
    for s in stmts:
        if isinstance(s, Store):
            found.append((s, loops))
        elif isinstance(s, For):
            found += _stores(s.body, (*loops, s.loop))
        elif isinstance(s, Part | When):
            found += _stores(s.body, loops)
    return found


def _sum(where: Part) -> _Sum | None:
    """The part read as a sum into a register."""
    out: list[For] = []
    body = where.body
    while len(body) == 1 and isinstance(body[0], For):
        out.append(body[0])
        body = body[0].body
    match body:
        case (Declare(acc), Store(start), nest, Store(_, _, "=", Load(end))) if (
            acc.name == start == end
        ):
            pass
        case _:
            return None
    reduced = [s for s in inside((nest,)) if isinstance(s, For)]
    adds = [s for s in inside((nest,)) if isinstance(s, Store)]
    if not reduced or len(adds) != 1 or adds[0].target != acc.name or adds[0].op == "=":
        return None
    if isinstance(nest, When):  # a condition on the target: it may be false for a whole row
        return None
    return _Sum(tuple(out), tuple(reduced), adds[0])


def _loops(load: Load) -> set[Loop]:
    """The loops that a read depends on."""
    ixs = (*load.indices, *(g.ix for g in load.guards))
    return {v for ix in ixs for v in ix.loops}


def _last(load: Load, v: Loop) -> bool:
    """Whether a loop moves along the last axis of an operand alone."""
    *rest, last = load.indices
    return _steps(last, v) and not any(v in ix.loops for ix in rest)


def _steps(ix: Ix, v: Loop) -> bool:
    k = ix.coefficient(v)
    return k != 0 and v not in (ix - v.ix() * k).loops


def _transposed(load: Load, v: Loop) -> tuple[int, ...] | None:
    """The order of axes that puts the one along which a loop moves last."""
    if load.guards or any(isinstance(a, Gather) for ix in load.indices for a in ix.atoms()):
        return None
    moving = [k for k, ix in enumerate(load.indices) if v in ix.loops]
    if len(moving) != 1 or not _steps(load.indices[moving[0]], v):
        return None
    rest = [k for k in range(len(load.indices)) if k != moving[0]]
    return (*rest, moving[0])


def _nominal(ix: Ix) -> int:
    """A typical value of a size."""
    return ix.const + sum(k * (a.nominal if isinstance(a, Dim) else 1) for a, k in ix.terms)
