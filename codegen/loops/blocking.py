"""RegisterBlock: tiles of accumulators, the reduction around them.

In: a ``Loops`` and ``RegisterBlock``. Out: a ``Loops`` of equal value, bit for bit: each element is
computed by the same operations in the same order.

    for b: for d:                              for b_outer: for d_outer:
      acc = bias[d]                              unroll b_inner: vector d_inner: acc[..] = bias[..]
      for k: acc += h[b, k] * W[k, d]    ->      for k: unroll: vector: acc[..] += h[..] * W[..]
      y[b, d] = relu(acc)                        unroll: vector: y[..] = relu(acc[..])

A tile loop of a known extent is cut in pieces as equal as can be (65 in tiles of at most 13 is
5 x 13; 64 is 4 x 13 and 12), one of lanes in whole vectors and one shorter; one of an extent known
at run time in whole tiles and single turns. What is between two tile loops (an epilogue over a
complete row, a pooling window) runs once a tile, for all of its turns.

Guarantees: the turns of every tile loop are independent, or it is a ``ScheduleError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from codegen.index import Guard, Ix, constant, floordiv, guard, mod, substitute
from codegen.loops.directives import RegisterBlock, ScheduleError
from codegen.loops.finding import Fresh, ancestors, fors, listed, part, replaced, writes
from codegen.loops.moving import copied
from codegen.loops.nest import Declare, For, Kind, Loops, Stmt, Store, When
from codegen.loops.spreading import Lane, Spreading
from codegen.loops.tiling import bounds_of, described
from codegen.loops.turns import clash
from codegen.loops.walk import inside

__all__ = ["register_block"]

Lanes = tuple[Lane, ...]
Piece = tuple[Ix, int, Ix]  # how many, of what size, from which turn on


def register_block(loops: Loops, d: RegisterBlock) -> Loops:
    """Tiles over the loops named, from outside in."""
    place = part(loops, d.part)
    names = [name for name, _ in d.tile]
    if not names or len(set(names)) != len(names) or any(size < 1 for _, size in d.tile):
        raise ScheduleError(
            f'the tile of part "{d.part}" names loops, each once, with positive sizes'
        )
    for name in names:
        fors(place.part, name)
    chain = _tile(place.part.body, names)
    if chain is None:
        raise ScheduleError(
            f'the loops {listed(names)} of part "{d.part}" do not stand inside one another in this '
            f"order: Reorder the part first, or name them from outside in"
        )
    marks = writes(loops)
    for f in chain:
        if f.kind != "serial":
            raise ScheduleError(f'loop "{f.name}" of part "{d.part}" is {f.kind} already')
        found = clash(f.body, f.loop, marks)
        if found:
            raise ScheduleError(described(found, d.part, f, "RegisterBlock"))
    if d.lanes:
        for stmt in inside(chain[-1].body):
            if isinstance(stmt, For) and stmt.kind == "vector":
                raise ScheduleError(
                    f'loop "{stmt.name}" inside the tile of part "{d.part}" is in lanes already: '
                    f"block without lanes"
                )
    around = (*place.around, *ancestors(place.part, chain[0]))
    blocking = _Blocking(Fresh(loops), d, around)
    made = blocking.tiles(chain[0], (), (), 0)
    return replaced(loops, place, chain[0], made, blocking.spreading.arrays)


def _tile(stmts: Iterable[Stmt], names: Sequence[str]) -> tuple[For, ...] | None:
    """Loops of these names, each inside the one before; around a sum where there is one."""
    found: list[tuple[For, ...]] = []
    for f in (s for s in inside(stmts) if isinstance(s, For) and s.name == names[0]):
        if len(names) == 1:
            found.append((f,))
        elif (rest := _tile(f.body, names[1:])) is not None:
            found.append((f, *rest))
    for chain in found:
        if any(isinstance(s, Store) and s.op != "=" for s in inside(chain[-1].body)):
            return chain
    return found[0] if found else None


def _pieces(extent: Ix, size: int, lanes: bool) -> list[Piece]:
    """A loop in tiles of at most ``size`` turns."""
    n = extent.value
    if n is None:
        whole = floordiv(extent, size)
        rest = mod(extent, size)
        tiles: list[Piece] = [(whole, size, constant(0)), (rest, 1, extent - rest)]
    elif lanes:
        end = constant(n - n % size)
        tiles = [(constant(n // size), size, constant(0)), (constant(1), n % size, end)]
    else:
        count = -(-n // size)
        big = -(-n // count) if count else 1
        many = n - count * (big - 1)
        start = constant(many * big)
        tiles = [(constant(many), big, constant(0)), (constant(count - many), big - 1, start)]
    return [(c, s, o) for c, s, o in tiles if s and c.value != 0]


def _sums(f: For) -> bool:
    """Whether the turns of a loop add into storage declared outside of it."""
    every = list(inside(f.body))
    own = {s.array.name for s in every if isinstance(s, Declare)}
    return any(isinstance(s, Store) and s.op != "=" and s.target not in own for s in every)


class _Blocking:
    """One blocking: the tile loops met so far are lanes, or single turns."""

    def __init__(self, fresh: Fresh, d: RegisterBlock, around: Sequence[Stmt]) -> None:
        self.fresh = fresh
        self.names = [name for name, _ in d.tile]
        self.sizes = [size for _, size in d.tile]
        self.lanes = d.lanes
        self.level = 0  # tile loops that are taken over already
        self.next: For | None = None  # the tile loop to come
        self.spreading = Spreading(fresh, self.through, self.entered, around, d.part, d.rolled)

    def tiles(self, f: For, lanes: Lanes, known: Sequence[str], level: int) -> tuple[Stmt, ...]:
        """The tile loop at a level, as tiles."""
        last = level == len(self.names) - 1
        kind: Kind = "vector" if last and self.lanes else "unroll"
        out: list[Stmt] = []
        pieces = _pieces(f.loop.extent, self.sizes[level], kind == "vector")
        for n, (count, size, start) in enumerate(pieces):
            out += self.piece(f, lanes, known, level, (count, size, start), kind, n)
        return tuple(out)

    def piece(
        self,
        f: For,
        lanes: Lanes,
        known: Sequence[str],
        level: int,
        piece: Piece,
        kind: Kind,
        number: int,
    ) -> list[Stmt]:
        """Tiles of one size."""
        count, size, start = piece
        outer, inner = self.fresh.loop(count), self.fresh.loop(size)
        one = count.value == 1
        at = start + (constant(0) if one else outer.ix() * size)
        at = at + inner.ix() if size > 1 else at
        again = f" (rest {number})" if number else ""
        body = copied(f.body, self.fresh, {f.loop: at}, again)
        guards = self.guards(f, at)
        if guards is None:
            return []
        if size > 1:
            lanes = (*lanes, Lane(inner, f"{f.name}_inner", kind, guards))
        elif guards:
            body = (When(guards, body),)
        before = (self.level, self.next)
        self.level, self.next = level + 1, None
        if level + 1 < len(self.names):
            chain = _tile(body, self.names[level + 1 :])
            self.next = chain[0] if chain else None
        made = self.spreading.over(body, lanes, known)
        self.level, self.next = before
        if one:
            return made
        name = f"{f.name}_outer" if size > 1 else f"{f.name}_rest"
        return [For(outer, name, tuple(made))]

    def guards(self, f: For, at: Ix) -> tuple[Guard, ...] | None:
        """What narrows a tile loop, at a turn of its tiles."""
        ends = bounds_of(f)
        if ends is None:
            return None
        new = [guard(substitute(g.ix, {f.loop: at}), g.kind) for g in ends]
        return None if False in new else tuple(g for g in new if isinstance(g, Guard))

    # --- what the lanes go through ---------------------------------------------------------------

    def through(self, f: For, lanes: Lanes, known: Sequence[str]) -> bool:
        """The way to the next tile loop; when all are there, the loops of sums."""
        if f.kind != "serial":
            return False
        if self.level < len(self.names):
            return self.next is not None and any(
                isinstance(s, For) and s.loop is self.next.loop for s in inside((f,))
            )
        return bool(lanes) and any(isinstance(s, For) and _sums(s) for s in inside((f,)))

    def entered(self, f: For, lanes: Lanes, known: Sequence[str]) -> tuple[Stmt, ...] | None:
        """The next tile loop becomes a lane."""
        if self.next is None or f.loop is not self.next.loop or self.level == len(self.names):
            return None
        return self.tiles(f, lanes, known, self.level)
