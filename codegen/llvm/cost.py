"""What nests cost on one core, in cycles: a linear model that is good enough to choose by.

In: a ``Target``, extents. Out: ``tile``, the tile of registers for a contraction; ``cycles``, an
estimate for a nest with one of its loops in lanes; ``waits``, whether a value waits for divisions.

    a turn of a tile of r rows and c vectors    max(r*c / FMAS, LATENCY) + c*COLUMN + r*ROW
    a tile                                      + TILE to start, to finish and to store it
    an elementwise turn                         its accesses and its operations, one vector each

Guarantees: pure, deterministic; it only ranks: no value depends on it.

Measured with these tiles, float32, one core of a Sapphire Rapids whose FMA peak is 234 GFLOP/s:
64 x 128 x 784 with bias and ReLU, 13 rows of 2 vectors 192, 6 of 4 195, 12 of 2 186, 8 of 2 168, 26
of 1 163, 16 of 1 149 GFLOP/s. COLUMN and ROW are fitted to 299 x 169 x 169, in times of the limit:
13 rows of 2 vectors 1.30, 8 of 2 1.35, 9 of 3 1.28, 6 of 3 1.35, 6 of 4 1.29, 4 of 4 1.42, 5 of 5
1.40, 4 of 6 1.39, 26 of 1 1.41.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from codegen.index import Dim, Gather, Ix, Loop, evaluate
from codegen.llvm.target import Target
from codegen.loops.nest import Declare, For, Part, Stmt, Store, When
from codegen.loops.walk import loads
from codegen.program import Binary, Call, Cast, IndexValue, Load, Number, Scalar, children, walk

__all__ = [
    "CACHE",
    "LINE",
    "SQUARE",
    "STRIDE",
    "Tile",
    "cycles",
    "even_tile",
    "extent",
    "text",
    "tile",
    "waits",
]

FMAS = 2.0  # vector multiply-adds a cycle: two units (Sapphire Rapids); Zen 4 has one of this width
COLUMN = 0.45  # cycles that a vector of columns adds to a turn, most of them from the second cache
ROW = 0.1  # cycles that a row adds: an element for all lanes, from the first
LATENCY = 4.0  # cycles until a sum can be added to again, on both
COPY = 0.02  # of all cycles: what tiles of one more size have to save, each being code of its own
NEAR = 0.03  # of all cycles: what copies of an operand save in blocks, each made before its use
# (784 x 128: 11 us in place of 17 of 90, and its storage)
TILE = 30.0  # cycles around the turns of one tile: the loop, pointers, the last sums; an estimate
KEPT = 8  # one register in so many holds neither sums nor columns: broadcasts, what is constant
VECTORS = 6  # side by side in a tile, at most: more leave too few rows for their loads

CACHE = 1 << 20  # bytes of the second cache of one core: 1 MiB on Zen 4, 2 on Sapphire Rapids
LINE = 64  # bytes that a cache holds side by side, on x86-64 and on most of AArch64
STRIDE = 2048  # bytes between rows from which on columns fall into few sets of a cache

ACCESS = 0.5  # a vector or a single element, in order: two a cycle
SCATTERED = 1.0  # each lane of a gather (16 lanes in 16 to 20 cycles, Sapphire Rapids)
OPERATION = 0.5  # an addition, a comparison: half of FMAS
SQUARE = 5.0  # a row of a square that is turned in registers (16 rows of 16: 73 to 88 cycles)
DIVISION = 8.0  # a vector of quotients or square roots, the next one right behind it
FUNCTION = 12.0  # 16 elements of tanh, as measured on Zen 4; exp takes about 8
FORMULA = 25  # operations that a function like tanh is written out as, about
TREE = 30.0  # cycles to add the lanes of a vector: four rounds of dependent additions and moves
_SLOW = ("sqrt",)
_CHEAP = (
    "maximum",
    "minimum",
    "abs",
    "sign",
    "floor",
    "ceil",
    "round",
    "square",
    "strong_mul",
    "floor_mod",
)


def extent(ix: Ix, sizes: dict[str, int]) -> int:
    """How many turns a loop has: at these sizes, at typical ones where they are not given."""
    known = {a.name: a.nominal for a in ix.atoms() if isinstance(a, Dim)}
    return max(evaluate(ix, {}, {**known, **sizes}), 0)


# --- tiles ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows and lanes of a tile, and what all tiles of a contraction take."""

    rows: int
    lanes: int
    cycles: float


@cache
def tile(
    rows: int, columns: int, turns: int, width: int, target: Target, free: bool = False
) -> Tile:
    """The best tile for a contraction of ``turns`` terms; ``width`` is the bits of a sum.

    ``free``: the number of rows is known only at run time and ``rows`` is typical: what whole tiles
    leave over runs in single rows.
    """
    return min(_tiles(rows, columns, turns, width, target, free), key=_ranked)


@cache
def even_tile(
    rows: int, columns: int, turns: int, width: int, target: Target, free: bool = False
) -> Tile:
    """The best one of which a number covers the columns, where it is worth what it costs that
    blocks of columns are then alike; else the best one."""
    best = tile(rows, columns, turns, width, target, free)
    every = _tiles(rows, columns, turns, width, target, free)
    even = min((t for t in every if columns % t.lanes == 0), key=_ranked, default=best)
    return even if even.cycles <= best.cycles * (1 + NEAR) else best


def _ranked(t: Tile) -> float:
    return round(t.cycles, 6)  # of equal ones the first


def _tiles(
    rows: int, columns: int, turns: int, width: int, target: Target, free: bool
) -> Iterator[Tile]:
    """All that the registers hold."""
    lanes = target.lanes(width)
    for vectors in range(1, min(VECTORS, -(-columns // lanes)) + 1):
        most = (target.registers - target.registers // KEPT - vectors) // vectors
        for high in range(1, min(rows, max(most, 1)) + 1):
            across = ((columns // (vectors * lanes), vectors), (1, _rest(columns, vectors, lanes)))
            pieces = [
                (count * times, r, n)
                for count, r in _pieces(rows, high, free)
                for times, n in across
                if count * times * r * n
            ]
            total = sum(times * _tile(r, n, turns) for times, r, n in pieces)
            total *= 1 + COPY * (len(pieces) - 1)
            yield Tile(high, min(vectors * lanes, columns), total)


def text(x: Scalar) -> int:
    """About how many operations are written out for a value."""
    slow = isinstance(x, Call) and x.function not in (*_CHEAP, *_SLOW)
    return (FORMULA if slow else 1) + sum(map(text, children(x)))


def waits(x: Scalar) -> bool:
    """Whether a value of several quotients and roots, which one unit makes one after the other,
    takes longer by them than by all else."""
    every = list(walk(x))
    roots = sum(isinstance(y, Call) and y.function in _SLOW for y in every)
    slow = roots + sum(isinstance(y, Binary) and y.op == "/" for y in every)
    return slow > 1 and slow * DIVISION > text(x) * OPERATION


def _rest(columns: int, vectors: int, lanes: int) -> int:
    """The vectors of the last tile, if it is narrower."""
    return -(-(columns % (vectors * lanes)) // lanes)


def _pieces(rows: int, high: int, free: bool) -> list[tuple[int, int]]:
    """How many tiles of how many rows: balanced, or whole ones and single rows."""
    if free:
        return [(rows // high, high), (rows % high, 1)]
    count = -(-rows // high)
    big = -(-rows // count)
    many = rows - count * (big - 1)
    return [(many, big), (count - many, big - 1)]


def _tile(rows: int, vectors: int, turns: int) -> float:
    turn = max(rows * vectors / FMAS, LATENCY) + vectors * COLUMN + rows * ROW
    return turns * turn + TILE


# --- nests in lanes -------------------------------------------------------------------------------


def cycles(
    stmts: Iterable[Stmt], lane: Loop | None, lanes: int, sizes: dict[str, int],
    own: Sequence[str] = (),
) -> float:  # fmt: skip
    """Cycles of statements whose loop ``lane`` runs ``lanes`` turns at once; ``own`` is storage
    declared around, which lies as it is wanted."""
    total = 0.0
    stmts = list(stmts)
    own = (*own, *(s.array.name for s in stmts if isinstance(s, Declare)))
    for s in stmts:
        if isinstance(s, For):
            turns = extent(s.loop.extent, sizes)
            if s.loop is lane:
                turns = turns // lanes + (turns % lanes > 0)
            total += turns * (1.0 + cycles(s.body, lane, lanes, sizes, own))
        elif isinstance(s, Part | When):
            total += cycles(s.body, lane, lanes, sizes, own)
        elif isinstance(s, Store):
            reach = [] if s.target in own else [s.index]
            reach += [x.indices for x in loads(s) if x.buffer not in own]
            waits = LATENCY if s.op != "=" else 0.0
            own_cost = sum(_access(index, lane, lanes) for index in reach)
            total += max(own_cost + _operations(s.value), waits)
    return total


def _access(index: Sequence[Ix], lane: Loop | None, lanes: int) -> float:
    if lane is None or not any(lane in ix.loops for ix in index):
        return ACCESS
    *rest, last = index
    if any(lane in ix.loops for ix in rest) or last.coefficient(lane) != 1:
        return SCATTERED * lanes
    gathered = any(isinstance(a, Gather) and lane in a.loops for a in last.atoms())
    return SCATTERED * lanes if gathered else ACCESS


def _operations(x: Scalar) -> float:
    own = OPERATION
    match x:
        case Number() | Load() | IndexValue() | Cast():
            own = 0.0
        case Binary("/"):
            own = DIVISION
        case Call(function):
            own = DIVISION if function in _SLOW else OPERATION if function in _CHEAP else FUNCTION
    return own + sum(map(_operations, children(x)))
