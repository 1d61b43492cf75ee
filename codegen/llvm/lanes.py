"""The schedule of parts that are not tiles: which loop of each runs in lanes.

In: ``Loops`` whose body is a few parts over one axis. Out: the same under directives:

    Fuse, Localise   one loop around them, what lives in one turn as locals, where the turns of that
                     loop stay independent
    RegisterBlock    that loop in lanes (rows side by side), or each loop inside it (elements of a
                     row side by side), whichever costs less
    Vectorise        a short loop inside, all of it: its vectors are written out
    Pack             what rows side by side read more than once in columns, if its rows are short:
                     turned in squares before
    Privatise        a sum along a row, or of everything, in as many parts as there are lanes; its
                     rounds written out (Unroll) where they are few

Guarantees: a directive that is refused is left out; a nest that gains nothing stays as it is.
"""

from __future__ import annotations

from codegen.dtypes import WIDTH
from codegen.index import Ix, Loop
from codegen.llvm.access import LEAST
from codegen.llvm.bench import Bench
from codegen.llvm.cost import SQUARE, TREE, cycles, extent
from codegen.llvm.storage import WRITTEN
from codegen.loops.directives import (
    Fuse,
    Localise,
    Pack,
    Privatise,
    RegisterBlock,
    Unroll,
    Vectorise,
)
from codegen.loops.finding import writes
from codegen.loops.fusing import single
from codegen.loops.nest import Declare, For, Part, Store
from codegen.loops.turns import clash
from codegen.loops.walk import inside, loads
from codegen.program import Load

__all__ = ["in_lanes", "united"]


def united(bench: Bench) -> None:
    """The parts of a bench as one, as far as they can be."""
    name = ""
    for where in bench.parts():
        if not name:
            name = where.name
            continue
        before, taken = bench.loops, {p.name for p in bench.parts()}
        if not bench.attempt(Fuse(name, where.name)):
            continue
        made = [p for p in bench.parts() if p.name not in taken]
        if not made or not _independent(bench, made[0]):
            bench.loops = before
        else:
            name = made[0].name
    for where in bench.parts():
        _rows_united(bench, where)
    for where in bench.parts():
        for array in bench.private(where.name):
            before = bench.loops
            if not bench.attempt(Localise(where.name, array.name)) or not bench.smaller(array):
                bench.loops = before


def _rows_united(bench: Bench, where: Part) -> None:
    """Elementwise loops along a row as one, so that what they share is computed once."""
    found = single(where)
    names = [p.name for p in found.loop.body if isinstance(p, Part)] if found else []
    last: dict[Ix, str] = {}  # by their length, the part that the loops so far became
    for name in names:
        part = next(p for p in _parts(bench) if p.name == name)
        row = single(part)
        if row is None or len(part.body) > 1 or not _independent(bench, part):
            continue
        extent, before = row.loop.loop.extent, bench.loops
        first, last[extent] = last.get(extent), name
        if first is None or not bench.attempt(Fuse(first, name)):
            continue
        whole, *inner = [p for p in _parts(bench) if any(isinstance(q, Part) and q.name == name
                                                         for q in inside(p.body))]  # fmt: skip
        around = single(whole)
        made = inner[-1] if inner else Part(name, around.loop.body if around else ())
        if _independent(bench, made):
            last[extent] = made.name
        else:
            bench.loops = before


def _parts(bench: Bench) -> list[Part]:
    return [s for s in inside(bench.loops.body) if isinstance(s, Part)]


def _independent(bench: Bench, where: Part) -> bool:
    found = single(where)
    return found is not None and not clash(found.loop.body, found.loop.loop, writes(bench.loops))


def in_lanes(bench: Bench) -> None:
    """Lanes for each part of a bench."""
    for where in bench.parts():
        lanes = _width(bench, where)
        if lanes < 2 or any(isinstance(s, For) and s.kind == "vector" for s in inside((where,))):
            continue
        start, plain = bench.loops, cycles((where,), None, lanes, bench.sizes)
        rows, row_cost = _rows(bench, where, lanes)
        row_loops = bench.loops
        bench.loops = start
        inner_cost = _inside(bench, where, lanes, plain)
        if rows and row_cost < min(inner_cost, plain):
            bench.loops = row_loops


def _width(bench: Bench, where: Part) -> int:
    """How many elements of the part's values a vector holds."""
    known = dict(bench.arrays())
    known.update((s.array.name, s.array) for s in inside((where,)) if isinstance(s, Declare))
    stores = [s for s in inside((where,)) if isinstance(s, Store)]
    widths = [WIDTH[known[s.target].dtype] for s in stores]
    return bench.target.lanes(max(widths, default=64))


def _rows(bench: Bench, where: Part, lanes: int) -> tuple[bool, float]:
    """The outermost loop in lanes."""
    found = single(where)
    if found is None or not any(isinstance(s, For) for s in inside(found.loop.body)):
        return False, 0.0
    turned = _turned(bench, where, found.loop.loop, lanes)
    where = next(p for p in bench.parts() if p.name == where.name)
    cost = cycles((where,), found.loop.loop, lanes, bench.sizes)
    cost += turned * SQUARE * extent(found.loop.loop.extent, bench.sizes)
    block = RegisterBlock(where.name, ((found.loop.name, lanes),), lanes=True)
    return bench.attempt(block), cost


def _turned(bench: Bench, where: Part, row: Loop, lanes: int) -> int:
    """How many arrays were turned in squares before a part: what it reads in columns, more than
    once, from short rows."""
    count = 0
    for array in _columns(bench, where, row, lanes):
        before, known = bench.loops, {p.name for p in bench.parts()}
        if not bench.attempt(Pack(where.name, array, (1, 0))):
            continue
        (copy,) = (p for p in bench.parts() if p.name not in known)
        if bench.transposed(copy):
            count += 1
        else:
            bench.loops = before
    return count


def _columns(bench: Bench, where: Part, row: Loop, lanes: int) -> list[str]:
    """Arrays of short rows that a part reads in two places or more with its rows in lanes."""
    reads: dict[str, list[Load]] = {}
    for x in (x for s in inside((where,)) for x in loads(s)):
        reads.setdefault(x.buffer, []).append(x)
    found = []
    for array in (b for b in bench.arrays().values() if len(b.dims) == 2 and b.name in reads):
        size = array.dims[1].value or 0
        square = LEAST <= size <= lanes and (bench.target.masks or size == lanes)
        along = all(
            x.indices[0].atom is row and row not in x.indices[1].loops for x in reads[array.name]
        )
        if square and along and len(reads[array.name]) > 1:
            found.append(array.name)
    return found


def _inside(bench: Bench, where: Part, lanes: int, plain: float) -> float:
    """Each innermost loop in lanes; what all of it costs then."""
    total = plain
    for part, f in _innermost(where):
        turns = extent(f.loop.extent, bench.sizes)
        before = cycles((f,), None, lanes, bench.sizes)
        after = cycles((f,), f.loop, lanes, bench.sizes)
        times = _times(where, f, bench.sizes)
        if turns < 2 or f.kind != "serial":
            continue
        if not clash(f.body, f.loop, writes(bench.loops)):
            if after < before and _whole(bench, part, f, lanes):
                total -= times * (before - after)
                continue
            shape = ((f.name, min(lanes, turns) if _known(f) else lanes),)
            if after < before and bench.attempt(RegisterBlock(part, shape, lanes=True)):
                total -= times * (before - after)
        elif after + TREE < before and _reduced(bench, part, f, turns, lanes):
            total -= times * (before - after - TREE)
    return total


def _known(f: For) -> bool:
    return f.loop.extent.value is not None


def _whole(bench: Bench, part: str, f: For, lanes: int) -> bool:
    """A short loop as vectors that are written out: what one makes the next one need not read."""
    short = _known(f) and f.loop.extent.const <= WRITTEN * lanes
    masks = bench.target.masks or f.loop.extent.const % lanes == 0
    return short and masks and bench.attempt(Vectorise(part, f.name))


def _reduced(bench: Bench, part: str, f: For, turns: int, lanes: int) -> bool:
    """A sum in lanes: as many parts as there are, or as there are turns, so far as a mask leaves
    out what is beyond."""
    if turns < 2 * lanes and not bench.target.masks:
        return False
    start = bench.loops
    parts = min(lanes, 1 << (turns - 1).bit_length()) if _known(f) else lanes
    made = bench.attempt(Privatise(part, f.name, parts)) and bench.attempt(
        Vectorise(part, f"{f.name}_part")
    )
    if not made:
        bench.loops = start
    elif _known(f) and parts < turns <= WRITTEN * parts:
        bench.attempt(Unroll(part, f"{f.name}_turn"))
    return made


def _innermost(where: Part) -> list[tuple[str, For]]:
    """The loops without loops in them, each with the innermost part around it; one for a name."""
    found: list[tuple[str, For]] = []

    def go(part: Part) -> None:
        for s in inside(part.body):
            inner = isinstance(s, For) and not any(isinstance(t, For) for t in inside(s.body))
            if inner and isinstance(s, For):
                nearest = [p for p in inside((part,)) if isinstance(p, Part)
                           and any(t is s for t in inside(p.body))][-1]  # fmt: skip
                found.append((nearest.name, s))

    go(where)
    return found


def _times(where: Part, f: For, sizes: dict[str, int]) -> float:
    """How often a loop inside a part is run."""
    total = 1.0
    for s in inside((where,)):
        if isinstance(s, For) and s is not f and any(t is f for t in inside(s.body)):
            total *= extent(s.loop.extent, sizes)
    return total
