"""The same statements with storage at another place, or once more with variables of their own.

In: statements of ``codegen.loops.nest``. Out: new ones.

Guarantees: pure; every read and every write of an array is moved, or the caller is told by a
``CannotMove`` that some are not of the kind that can be (gathers, arguments of kernels).

It does not ask whether the move is right: the directives do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import prod

from codegen.index import Guard, Ix, Loop, as_ix, substitute
from codegen.loops.directives import ScheduleError
from codegen.loops.finding import Fresh
from codegen.loops.nest import Call, Declare, For, Part, Stmt, Store
from codegen.loops.walk import gathered, inside, mapped, renamed, rewritten, scalar_mapped
from codegen.program import Buffer, BufferSource, Load, Scalar

__all__ = ["CannotMove", "copied", "housed", "moved", "scratch"]

Index = tuple[Ix, ...]
LOCAL = 8192  # elements that may be declared where they are used: about half of a first-level cache


class CannotMove(ValueError):  # noqa: N818 - says what is the matter
    """Why an array's reads and writes cannot all be found at other indices."""


def moved(
    stmts: Iterable[Stmt],
    array: str,
    to: str,
    at: Callable[[Index], Index],
    kept: Callable[[Index, tuple[Guard, ...]], tuple[Guard, ...]] = lambda i, g: g,
) -> tuple[Stmt, ...]:
    """``array[i]`` as ``to[at(i)]`` everywhere; ``kept`` gives the guards of a moved read, from the
    old index and its guards.

    Raises CannotMove where the array is gathered from or handed to a kernel.
    """
    stmts = tuple(stmts)
    for stmt in inside(stmts):
        for g in gathered(stmt):
            if isinstance(g.source, BufferSource) and g.source.buffer == array:
                raise CannotMove("indices are gathered from it")
        if isinstance(stmt, Call) and array in stmt.arguments:
            raise CannotMove(f'it is handed to kernel "{stmt.kernel}"')

    def read(s: Scalar) -> Scalar:
        if isinstance(s, Load) and s.buffer == array:
            return Load(to, at(s.indices), kept(s.indices, s.guards))
        return s

    def one(stmt: Stmt) -> Iterable[Stmt]:
        if isinstance(stmt, Store):
            value = scalar_mapped(stmt.value, read)
            if stmt.target == array:
                return (Store(to, at(stmt.index), stmt.op, value),)
            return (replace(stmt, value=value),)
        return (stmt,)

    return mapped(stmts, one)


def copied(
    stmts: Iterable[Stmt], fresh: Fresh, mapping: Mapping[Loop, Ix] | None = None, again: str = ""
) -> tuple[Stmt, ...]:
    """The statements with loop variables of their own, those of ``mapping`` replaced.

    Give ``again``, which is added to the names of parts, where they are to stand beside the first
    ones: then storage declared in them gets names of its own too.
    """
    stmts = tuple(stmts)
    if again:
        declared = [s.array.name for s in inside(stmts) if isinstance(s, Declare)]
        stmts = renamed(stmts, {name: fresh.name(name) for name in dict.fromkeys(declared)})
    bound = [s.loop for s in inside(stmts) if isinstance(s, For)]
    own = {item: fresh.loop(item.extent) for item in bound}
    change = {**{a: b.ix() for a, b in own.items()}, **(mapping or {})}

    def one(stmt: Stmt) -> Iterable[Stmt]:
        if isinstance(stmt, For):
            return (replace(stmt, loop=own[stmt.loop]),)
        if isinstance(stmt, Part):
            name = fresh.title(stmt.name + again) if again else stmt.name
            return (replace(stmt, name=name),)
        return (stmt,)

    return mapped(rewritten(stmts, lambda ix: substitute(ix, change)), one)


def scratch(name: str, dims: Iterable[Ix | int], like: Buffer, axes: Iterable[str] = ()) -> Buffer:
    """Storage for values like another array's."""
    extents = tuple(map(as_ix, dims))
    names = tuple(axes) or ("",) * len(extents)
    return Buffer(name, extents, names, like.dtype, "scratch", low=like.low, high=like.high)


def housed(array: Buffer, around: Iterable[Stmt], where: str) -> bool:
    """Whether new storage is declared where it is used (small, or one for each worker), and not an
    array of the whole program.

    Raises ScheduleError for storage of unknown size inside of turns that run at once.
    """
    shared = [f.name for f in around if isinstance(f, For) and f.kind in ("parallel", "vector")]
    sizes = [d.value for d in array.dims]
    if None in sizes:
        if shared:
            raise ScheduleError(
                f'part "{where}" would need storage "{array.name}" of a size known only at run '
                f'time in every turn of loop "{shared[0]}": apply that before {shared[0]} is shared'
            )
        return False
    return bool(shared) or prod(n for n in sizes if n is not None) <= LOCAL
