"""The schedule of a sum and of the elementwise parts that follow it: a tile of registers.

In: ``Loops`` whose body is one sum and parts that use it. Out: the same under directives:

    Epilogue, Fuse   what follows elementwise, in the nest of the sum (bias, activation, derivative,
                     the optimizer)
    Localise         what only the nest needs, as registers
    Init             the sums start from the bias
    Pack             an operand that does not lie along the lanes, transposed; one whose rows are
                     far apart, in blocks of columns, or in rows of terms
    Split, Reorder   blocks of columns outside of the rows, where all do not fit in the cache, each
                     copied just before it is used (Fuse, Localise)
    RegisterBlock    rows and whole vectors, as ``cost.tile`` chooses
    Outline          what calls long functions behind the sums

Guarantees: a directive that is refused is left out; what it was for stays a nest of its own.
"""

from __future__ import annotations

from math import prod

from codegen.dtypes import WIDTH
from codegen.llvm.bench import Bench
from codegen.llvm.cost import CACHE, STRIDE, even_tile, extent, text, tile
from codegen.llvm.sums import Sum, reading
from codegen.loops.directives import (
    Epilogue,
    Fuse,
    Init,
    Localise,
    Pack,
    RegisterBlock,
    Reorder,
    Split,
)
from codegen.loops.nest import Part, Store
from codegen.loops.walk import inside, loads
from codegen.program import Binary, Load, walk

__all__ = ["columns", "tiled"]

FAR = 128  # rows of an operand, far apart, from which on a block of its columns is copied
TURNED = 4  # an operand that is turned in more than this part of the cache is so in blocks
REUSED = 4  # tiles that read a block of columns, for which copying it pays
ROLLED = 16  # operations after a sum from which on they are rolled: a tanh or an optimizer, no ReLU


def columns(found: Sum) -> bool:
    """Whether a sum has lanes along the last axis of its target."""
    if not found.out:
        return False
    operands = found.lying(found.out[-1].loop)
    if operands is None:
        return False
    straight = all(order == tuple(range(len(order))) for order, _ in operands.values())
    return straight or found.product


def tiled(bench: Bench) -> None:
    """Schedules the body of a bench: its first part is the sum."""
    first = bench.parts()[0]
    found = reading(first)
    assert found is not None
    width = WIDTH[bench.arrays()[found.target].dtype]
    for other in bench.parts()[1:]:
        bench.attempt(Epilogue(found.part, other.name))
    name = found.part
    for other in bench.parts():
        if other.name in (found.part, name):
            continue
        name = _joined(bench, name, other.name, len(found.out))
    _locals(bench, name)
    for array in _added(bench, found):
        bench.attempt(Init(found.part, array))
    bench.gathered(found.part)
    nest = next(p for p in bench.parts() if p.name == name)
    after = [s.value for s in inside((nest,)) if isinstance(s, Store) and s.target != found.target]
    _blocked(bench, found, name, width, sum(map(text, after)) >= ROLLED)


def _joined(bench: Bench, name: str, other: str, depth: int) -> str:
    """The name of the nest after a part was fused with it, all loops or none."""
    before = bench.loops
    for _ in range(depth):
        if not bench.attempt(Fuse(name, other)):
            bench.loops = before
            return name
    return next(p.name for p in bench.parts() if any(
        isinstance(s, Part) and s.name == other for s in inside((p,))))  # fmt: skip


def _locals(bench: Bench, name: str) -> None:
    """What only the nest uses."""
    for array in bench.private(name):
        before = bench.loops
        if not bench.attempt(Localise(name, array.name)) or not bench.smaller(array):
            bench.loops = before


def _added(bench: Bench, found: Sum) -> list[str]:
    """Arrays of fewer axes that are added to the complete sum."""
    arrays = bench.arrays()
    names: dict[str, None] = {}
    for stmt in inside(bench.loops.body):
        for x in walk(stmt.value) if isinstance(stmt, Store) else ():
            if isinstance(x, Binary) and x.op == "+":
                pair = [y.buffer for y in (x.left, x.right) if isinstance(y, Load)]
                if len(pair) == 2 and found.target in pair:
                    pair.remove(found.target)
                    if pair[0] in arrays and len(arrays[pair[0]].dims) < len(found.out):
                        names[pair[0]] = None
    return list(names)


def _blocked(bench: Bench, found: Sum, name: str, width: int, rolled: bool) -> None:
    """Packed operands and the tile."""
    sizes = bench.sizes
    turns = prod(extent(f.loop.extent, sizes) for f in found.reduced)
    lane, row = found.out[-1], found.out[-2] if len(found.out) > 1 else None
    rows = extent(row.loop.extent, sizes) if row else 1
    across = extent(lane.loop.extent, sizes)
    if not turns or not rows or not across:
        return
    free = row is not None and row.loop.extent.value is None
    most = 8 * CACHE // (TURNED if _turned(found) else 2)
    large = row is not None and turns * across * width > most
    choose = even_tile if large else tile
    best = choose(rows, across, turns, width, bench.target, free)
    start, before = bench.loops, {p.name for p in bench.parts()}
    size = 0  # of blocks of columns that stay in the cache
    if large and across % best.lanes == 0:
        size = _block(across, best.lanes, turns * width)
    far = across * width >= 8 * STRIDE and turns >= FAR and rows >= REUSED * best.rows
    block = size or best.lanes if far and best.lanes < across else 0
    if not _packed(bench, found, block, block or size):
        bench.loops = start
        return
    blocks = [p.name for p in bench.parts() if p.name not in before]
    if across >= REUSED * best.lanes:
        _gathered(bench, found)
    copies = [p for p in bench.parts() if p.name not in before]
    columns = lane.name
    if row and size:
        columns = _outside(bench, name, row.name, lane.name, size)
    shape = ((row.name, best.rows), (columns, best.lanes)) if row else ((columns, best.lanes),)
    if not bench.attempt(RegisterBlock(name, shape, lanes=True, rolled=rolled)):
        bench.loops = start
        return
    if rolled:
        bench.apart(name)
    for copy in copies:
        bench.transposed(copy)
    if columns != lane.name and len(blocks) == 1:
        _near(bench, blocks[0], name)


def _turned(found: Sum) -> bool:
    """Whether an operand is to be transposed."""
    lying = (found.lying(found.out[-1].loop) or {}).values()
    return any(order != tuple(range(len(order))) for order, _ in lying)


def _block(across: int, lanes: int, bits: int) -> int:
    """Columns of a block that divides all, in whole tiles, and is a quarter of the cache at most,
    where there is one; ``bits`` is the size of a column."""
    count = max(1, 2 * CACHE // (bits * lanes))
    while across // lanes % count:
        count -= 1
    return count * lanes


def _near(bench: Bench, copy: str, name: str) -> None:
    """Each block of a copy just before it is used, in storage for one."""
    before = bench.loops
    if bench.attempt(Fuse(copy, name)):
        made = next(p for p in bench.parts() if any(q.name == copy for q in inside((p,))
                                                    if isinstance(q, Part)))  # fmt: skip
        if bench.attempt(Localise(made.name, copy)):
            return
    bench.loops = before


def _packed(bench: Bench, found: Sum, lying: int, turned: int) -> bool:
    """Operands along the lanes, in blocks of columns, one after the other: of so many columns what
    lies along them already, and what has to be turned; none where that is 0."""
    for array, (order, axis) in (found.lying(found.out[-1].loop) or {}).items():
        straight = order == tuple(range(len(order)))
        block = lying if straight else turned
        if block and found.product:
            rest = [k + (k > axis) for k in order[:-1]]
            cut = (axis, *rest, axis + 1)
            if not bench.attempt(Pack(found.part, array, cut, ((axis, block),))):
                return False
            continue
        if not straight and not bench.attempt(Pack(found.part, array, order)):
            return False
    return True


def _gathered(bench: Bench, found: Sum) -> None:
    """Operands whose next term lies a row further on, many times, in rows of terms: each of those
    rows would be a page, and all of them would share a few sets of the cache."""
    lane, last = found.out[-1].loop, found.reduced[-1].loop
    for load in dict.fromkeys(loads(found.add)):
        array = bench.arrays().get(load.buffer)
        moving = [n for n, ix in enumerate(load.indices) if last in ix.loops]
        still = not any(lane in ix.loops for ix in load.indices)
        if array is None or not still or len(moving) != 1 or extent(last.extent, bench.sizes) < FAR:
            continue
        (axis,) = moving
        row = prod(extent(d, bench.sizes) for d in array.dims[axis + 1 :]) * WIDTH[array.dtype]
        if row >= 8 * STRIDE and load.indices[axis].atom is last:
            rest = [n for n in range(len(load.indices)) if n != axis]
            bench.attempt(Pack(found.part, load.buffer, (*rest, axis)))


def _outside(bench: Bench, name: str, row: str, lane: str, size: int) -> str:
    """Blocks of columns outside of the rows, so that one of them stays in the cache; the loop that
    is left to the tile."""
    start = bench.loops
    order = (f"{lane}_outer", row, f"{lane}_inner")
    if bench.attempt(Split(name, lane, size=size)) and bench.attempt(Reorder(name, order)):
        return f"{lane}_inner"
    bench.loops = start
    return lane
