"""Localise: storage that is used within one turn only, as wide as that turn.

In: a ``Loops`` and the directive. Out: a ``Loops`` of equal value without the array: a local of the
innermost body that holds every use of it, with the axes that no turn of that body changes left out.

Guarantees: it is refused with a ``ScheduleError`` unless it is proved that no turn reads what
another one wrote: either every turn has elements of its own, or each turn first stores every
element it has. A register (or tile) that is only copied into the local becomes the local itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from codegen.index import Gather, Ix, Loop, lower
from codegen.loops.beside import used_elsewhere, without
from codegen.loops.depend import Marks
from codegen.loops.directives import Localise, ScheduleError
from codegen.loops.finding import Place, ancestors, part, replaced, writes
from codegen.loops.known import arrays_in, own_arrays
from codegen.loops.moving import CannotMove, moved
from codegen.loops.nest import Declare, For, Loops, Part, Stmt, Store, When
from codegen.loops.turns import Access, accesses
from codegen.loops.walk import renamed
from codegen.program import Buffer, Load, walk
from codegen.ranges import injective

__all__ = ["localise"]

Holder = Part | For | When


def localise(loops: Loops, d: Localise) -> Loops:
    """The array as storage of one turn; see ``Localise``."""
    place, marks = part(loops, d.part), writes(loops)
    array = _scratch(loops, place, d)
    home = _home(place.part, d.array, marks)
    way = (*place.around, place.part, *ancestors(place.part, home), home)
    turns = [s.loop for s in dict.fromkeys(way) if isinstance(s, For)]
    indices = _indices(home, d, marks)
    shared = [k for k in range(len(array.dims)) if _fixed(indices, k, turns)]
    kept = [k for k in range(len(array.dims)) if k not in shared]
    local = _local(array, kept, d)
    try:
        stmts = moved(home.body, d.array, d.array, lambda ix: tuple(ix[k] for k in kept))
    except CannotMove as why:
        raise ScheduleError(f'"{d.array}" cannot be local to part "{d.part}": {why}') from None
    own = injective([indices[0][k] for k in shared], (), turns)
    if not own and not _filled(stmts, local, marks):
        raise ScheduleError(
            f'a turn of part "{d.part}" may read "{d.array}" as another turn left it: only what '
            "each turn stores before it reads it can be local"
        )
    body = _declared(_merged(stmts, local, marks), local, marks)
    made = replaced(loops, place, home, (replace(home, body=body),))
    return without(made, place, d.array)


def _scratch(loops: Loops, place: Place, d: Localise) -> Buffer:
    """The array: scratch, and used in the part alone."""
    arrays, given = loops.arrays, loops.outputs
    for kernel in loops.kernels:
        if kernel.name == place.kernel:
            arrays, given = kernel.scratch, ()
    found = next((b for b in arrays if b.name == d.array and b.role == "scratch"), None)
    if found is None:
        raise ScheduleError(f'"{d.array}" is no scratch array: only those can be local to a part')
    if d.array in given:
        raise ScheduleError(f'"{d.array}" is handed out and cannot be local to part "{d.part}"')
    if d.array not in arrays_in(place.part):
        raise ScheduleError(f'part "{d.part}" does not use "{d.array}"')
    if used_elsewhere(loops, place, d.array):
        raise ScheduleError(
            f'"{d.array}" is used outside of part "{d.part}" too: fuse the parts that use it first'
        )
    return found


def _home(where: Holder, array: str, marks: Marks) -> Holder:
    """The innermost statement whose body holds every use."""
    users = [s for s in where.body if array in arrays_in(s)]
    inner = users[0] if len(users) == 1 else None
    if isinstance(inner, Part | For | When) and array not in own_arrays(inner):
        return _home(inner, array, marks)
    return where


def _indices(home: Holder, d: Localise, marks: Marks) -> list[tuple[Ix, ...]]:
    """Every index at which the array is used."""
    found = [a.index for a in accesses(home.body, marks) if a.array == d.array]
    known = [ix for ix in found if ix is not None]
    if len(known) < len(found):
        raise ScheduleError(
            f'"{d.array}" is handed to a kernel, and cannot be local to part "{d.part}"'
        )
    return known


def _fixed(indices: Sequence[tuple[Ix, ...]], k: int, turns: Sequence[Loop]) -> bool:
    """Whether an axis has one position during a turn."""
    ix = indices[0][k]
    return (
        all(other[k] is ix for other in indices)
        and set(ix.loops) <= set(turns)
        and not any(isinstance(a, Gather) for a in ix.atoms())
    )


def _local(array: Buffer, kept: Sequence[int], d: Localise) -> Buffer:
    """The array with the axes that are kept."""
    for k in kept:
        if array.dims[k].value is None:
            raise ScheduleError(
                f'a turn of part "{d.part}" uses "{d.array}" at all of {array.dims[k]!r} '
                "positions, which is no number: fuse a loop over them first, or leave it whole"
            )
    dims, axes = tuple(array.dims[k] for k in kept), tuple(array.axes[k] for k in kept)
    return replace(array, dims=dims, axes=axes)


def _declared(stmts: Sequence[Stmt], local: Buffer, marks: Marks) -> tuple[Stmt, ...]:
    """The statements with the local declared where it is first used."""
    for n, s in enumerate(stmts):
        if local.name in arrays_in(s):
            return (*stmts[:n], Declare(local), *stmts[n:])
    return tuple(stmts)


# --- every element stored first -------------------------------------------------------------------


def _filled(stmts: Sequence[Stmt], local: Buffer, marks: Marks) -> bool:
    """Whether statements store every element of a local before they read any."""
    for s in stmts:
        if isinstance(s, Part):
            if local.name in arrays_in(s):
                return _filled(s.body, local, marks)
        elif isinstance(s, For):
            at = _fill(s, local, (), marks)
            if at is not None:
                return all(a.index == at for a in _own(s, local, marks))
            if any(_own(s, local, marks)):
                return False
        elif local.name in own_arrays(s):
            return isinstance(s, Store) and not local.dims and _sets(s, local)
        elif any(_own(s, local, marks)):
            return False
    return False


def _own(stmt: Stmt, local: Buffer, marks: Marks) -> Iterator[Access]:
    return (a for a in accesses((stmt,), marks) if a.array == local.name)


def _sets(s: Store, local: Buffer) -> bool:
    """Whether it stores to the local without reading it."""
    reads = any(isinstance(x, Load) and x.buffer == local.name for x in walk(s.value))
    return s.target == local.name and s.op == "=" and not reads


def _fill(
    stmt: Stmt, local: Buffer, loops: tuple[Loop, ...], marks: Marks
) -> tuple[Ix, ...] | None:
    """Where loops store all elements of a local, the first use of it in each turn."""
    if isinstance(stmt, Store):
        if not _sets(stmt, local) or not _covers(stmt.index, local, loops):
            return None
        return stmt.index
    if not isinstance(stmt, Part | For) or (isinstance(stmt, For) and (stmt.low or stmt.high)):
        return None
    if isinstance(stmt, For):
        loops = (*loops, stmt.loop)
    for s in stmt.body:
        if local.name in arrays_in(s):
            return _fill(s, local, loops, marks)
    return None


def _covers(index: Sequence[Ix], local: Buffer, loops: Sequence[Loop]) -> bool:
    """Whether an index reaches each element of a local as the loops run."""
    atoms = [ix.atom for ix in index]
    if len(set(atoms)) < len(atoms):
        return False
    for atom, size in zip(atoms, local.dims, strict=True):
        if not isinstance(atom, Loop) or atom not in loops or atom.extent is not size:
            return False
    return all((lower(v.extent) or 0) >= 1 for v in loops if v not in atoms)


# --- registers that are only copied into the local ------------------------------------------------


def _merged(stmts: Sequence[Stmt], local: Buffer, marks: Marks) -> tuple[Stmt, ...]:
    """The statements with ``acc; ...; local = acc`` as ``local; ...``, wherever it stands."""
    registers = {s.array.name: s.array for s in stmts if isinstance(s, Declare)}
    for n, s in enumerate(stmts):
        name = _copies(s, local)
        register = registers.get(name or "")
        if register is None or (register.dtype, register.dims) != (local.dtype, local.dims):
            continue
        used_before = any(local.name in arrays_in(t) for t in stmts[:n])
        used_after = any(name in arrays_in(t) for t in stmts[n + 1 :])
        if not used_before and not used_after:
            rest = [t for t in (*stmts[:n], *stmts[n + 1 :]) if t != Declare(register)]
            return renamed(rest, {register.name: local.name})
    return tuple(
        replace(s, body=_merged(s.body, local, marks)) if isinstance(s, Part | For | When) else s
        for s in stmts
    )


def _copies(stmt: Stmt, local: Buffer) -> str | None:
    """The array of which a statement is a copy into the local, element by element."""
    loops: list[Loop] = []
    while isinstance(stmt, For) and len(stmt.body) == 1 and not (stmt.low or stmt.high):
        loops.append(stmt.loop)
        stmt = stmt.body[0]
    if not isinstance(stmt, Store) or not _sets(stmt, local) or not isinstance(stmt.value, Load):
        return None
    same = stmt.value.indices == stmt.index and not stmt.value.guards
    whole = _covers(stmt.index, local, loops) and len(loops) == len(stmt.index)
    return stmt.value.buffer if same and whole else None
