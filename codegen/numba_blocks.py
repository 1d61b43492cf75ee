"""Sums in memory, some terms at a time: what makes contractions fast in text without tiles.

In: scheduled ``Loops``. Out: ``blocked`` gives the same with longer sums cut in eights,

    for pixel: for unit: y[unit] += x[pixel] * W[pixel, unit]
    for pixel_block: for unit: for pixel_in_block<8: y[unit] += x[8*pixel_block + ...] * ...

by directives; ``carried`` keeps ``y[unit]`` in a variable while the innermost loop runs, and
``rests`` counts the turns that are left over from where they begin.

Guarantees: every element adds its terms in the order it did, so not a bit changes.

Why: the compiler writes out an inner loop of 8, and runs ``unit`` in vectors; ``y`` is loaded and
stored once for 8 terms, and the check that arrays do not overlap is made once for 8.

Measured (float32, one core of a Xeon with AVX-512, us; as one product, batch x inner x outer):

                            32x32x32   32x64x64   64x784x128
    dot products in order                  43.8       3098      (W as it lies: no vectors)
    the default schedule        12.2        8.6        440      (W transposed first)
    the same in eights           1.7        5.8        305
    4 rows by 4 terms            2.3        6.1        218-253  (less to read; not taken)
    one fused multiply-add                  5.2        182      (fastmath contract; not taken)
    np.dot within @njit                     3.5        110      (needs SciPy; not taken)
    NumPy's @, from Python       1.5        4.9        142      (not loops; not taken)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from codegen.index import Floor, Ix, constant, loop
from codegen.loops.directives import Cut, Directive, Reorder, ScheduleError, Split
from codegen.loops.nest import Declare, For, Loops, Part, Stmt, Store
from codegen.loops.schedule import applied
from codegen.loops.walk import indices, inside, loads, mapped, substituted
from codegen.names import Names
from codegen.program import Buffer, Load

__all__ = ["BLOCK", "blocked", "carried", "rests"]

BLOCK = 8  # terms: 4 is slower by a tenth, 16 no faster, and its remainders are longer


def blocked(loops: Loops) -> Loops:
    """Long sums in memory, cut in eights."""
    bodies = [loops.body, *(k.body for k in loops.kernels)]
    for part in [s for body in bodies for s in inside(body) if isinstance(s, Part)]:
        nest = _nest(part)
        if nest is None:
            continue
        try:
            made = applied(loops, _directives(part.name, *nest))
        except ScheduleError:  # something else of the part has these names: it stays as it is
            continue
        loops = _said(made, part.name, nest[0].name)
    return loops


def _said(loops: Loops, part: str, k: str) -> Loops:
    """The loops called after what they count, and a line of text above each of two sections."""
    block, within = f"{k}_block", f"{k}_in_block"
    words = {f"{k}_outer": block, f"{k}_0_outer": block, f"{k}_1": f"{k}_rest"}
    words |= {f"{k}_inner": within, f"{k}_0_inner": within}
    lines = {f"{part} {k}_0": f"in blocks of {BLOCK}", f"{part} {k}_1": "the rest"}

    def inner(stmt: Stmt) -> Iterable[Stmt]:
        if isinstance(stmt, For):
            return (replace(stmt, name=words.get(stmt.name, stmt.name)),)
        if isinstance(stmt, Part) and stmt.name in lines:
            return (replace(stmt, formula=lines[stmt.name]),)
        return (stmt,)

    def one(stmt: Stmt) -> Iterable[Stmt]:
        if isinstance(stmt, Part) and stmt.name == part:
            taken = {s.name for s in inside(stmt.body) if isinstance(s, For)}
            if not taken & set(words.values()):
                return (replace(stmt, body=mapped(stmt.body, inner)),)
        return (stmt,)

    kernels = tuple(replace(x, body=mapped(x.body, one)) for x in loops.kernels)
    return replace(loops, body=mapped(loops.body, one), kernels=kernels)


def _nest(part: Part) -> tuple[For, For] | None:
    """The loops of ``for k: for u: y[u] += ...``, the only one in a part."""
    found = [
        (s, s.body[0])
        for s in _own(part.body)
        if isinstance(s, For) and len(s.body) == 1 and isinstance(s.body[0], For)
    ]
    sums = [pair for pair in found if _sums(*pair)]
    return sums[0] if len(sums) == 1 else None


def _own(stmts: Iterable[Stmt]) -> Iterator[Stmt]:
    """Statements and everything in them but other parts."""
    for stmt in stmts:
        yield stmt
        if isinstance(stmt, For):
            yield from _own(stmt.body)


def _sums(k: For, u: For) -> bool:
    """Whether ``u`` runs along what every turn of ``k`` adds to."""
    narrowed = (*k.low, *k.high, *u.low, *u.high)
    if narrowed or len(u.body) != 1 or k.kind != "serial" or u.kind != "serial":
        return False
    (add,) = u.body
    if not isinstance(add, Store) or add.op != "+=" or not add.index:
        return False
    return u.loop in add.index[-1].loops and not any(k.loop in ix.loops for ix in add.index)


def _directives(part: str, k: For, u: For) -> tuple[Directive, ...]:
    """The loop over terms, in eights and a rest."""
    n = k.loop.extent.value
    if n is not None and n <= BLOCK + BLOCK // 2:
        return (Reorder(part, (u.name, k.name)),)
    cuts: tuple[Directive, ...] = ()
    section, name = part, k.name
    if n is None or n % BLOCK:
        cuts = (Cut(part, k.name, multiple=BLOCK),)
        section, name = f"{part} {k.name}_0", f"{k.name}_0"
    order = (f"{name}_outer", u.name, f"{name}_inner")
    return (*cuts, Split(section, name, size=BLOCK), Reorder(section, order))


@dataclass
class _Carrying:
    """Variables for the elements that innermost loops add into."""

    arrays: dict[str, Buffer]
    names: Names

    def one(self, stmt: Stmt) -> Iterable[Stmt]:
        """A loop that adds to one element all the time, adding to a variable instead."""
        if not isinstance(stmt, For) or stmt.low or stmt.high or not stmt.loop.extent.value:
            return (stmt,)
        (add, *others) = stmt.body
        if others or not isinstance(add, Store) or add.op == "=" or not add.index:
            return (stmt,)
        reads = {load.buffer for load in loads(add)}
        if add.target in reads or any(stmt.loop in ix.loops for ix in add.index):
            return (stmt,)
        array = self.arrays[add.target]
        name = self.names(f"sum_{add.target}")
        own = Buffer(name, (), (), array.dtype, "scratch", section=array.section)
        inner = For(stmt.loop, stmt.name, (Store(own.name, (), add.op, add.value),), stmt.kind)
        return (
            Declare(own),
            Store(own.name, (), "=", Load(add.target, add.index)),
            inner,
            Store(add.target, add.index, "=", Load(own.name)),
        )


def carried(
    stmts: tuple[Stmt, ...], arrays: Iterable[Buffer], taken: Iterable[str]
) -> tuple[Stmt, ...]:
    """The statements with such variables; ``arrays`` are all that they store to."""
    declared = [s.array for s in inside(stmts) if isinstance(s, Declare)]
    known = {b.name: b for b in (*arrays, *declared)}
    return mapped(stmts, _Carrying(known, Names([*taken, *known])).one)


def rests(stmts: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """``for b < n - 8*(n//8): a[b + 8*(n//8)]`` as ``for 8*(n//8) <= b < n: a[b]``."""
    return mapped(stmts, _rest)


def _rest(stmt: Stmt) -> Iterable[Stmt]:
    if not isinstance(stmt, For) or stmt.low or stmt.high or stmt.kind != "serial":
        return (stmt,)
    start = constant(0)
    for atom, k in stmt.loop.extent.terms:
        if isinstance(atom, Floor) and k < 0:
            start = start - atom.ix() * k
    if not start.terms:
        return (stmt,)
    counted = loop(stmt.loop.position, stmt.loop.extent + start)
    body = substituted(stmt.body, {stmt.loop: counted.ix() - start})
    if any(_floors(start) & _floors(ix) for s in inside(body) for ix in indices(s)):
        return (stmt,)
    return (For(counted, stmt.name.removesuffix("_rest"), body, low=(start,)),)


def _floors(ix: Ix) -> set[Floor]:
    return {a for a in ix.atoms() if isinstance(a, Floor)}
