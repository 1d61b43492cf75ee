"""Where the things that a directive names stand, and fresh names and variables to rewrite with.

In: a ``Loops`` and names out of a directive. Out: parts, loops and arrays with what stands around
them; the same Loops with a part replaced; loop variables and array names not in use.

Guarantees: a name that is not there, or is there twice, is a ``ScheduleError`` that lists what is.
Nothing is changed in place; fresh names and positions depend on the Loops alone.

It decides nothing about values: the directives do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from codegen.index import Gather, Ix, Loop, as_ix, loop
from codegen.loops.directives import ScheduleError
from codegen.loops.known import parts_in
from codegen.loops.nest import Declare, For, Loops, Part, Stmt, When
from codegen.loops.walk import inside, mapped
from codegen.names import Names
from codegen.program import Buffer, BufferSource

__all__ = [
    "Fresh",
    "Owner",
    "Place",
    "ancestors",
    "arrays_at",
    "fors",
    "gather_sources",
    "listed",
    "only",
    "owned",
    "part",
    "put",
    "replaced",
    "swapped",
    "told_apart",
    "with_owned",
    "writes",
]


@dataclass(frozen=True)
class Place:
    """A part, and what stands around it from outside in; ``kernel`` is "" in the program."""

    part: Part
    around: tuple[Part | For | When, ...]
    kernel: str


def listed(names: Iterable[str]) -> str:
    """Names as they stand in a message, each once."""
    shown = [f'"{n}"' for n in dict.fromkeys(names)]
    return ", ".join(shown[:12]) + (", ..." if len(shown) > 12 else "") if shown else "none"


def _places(
    stmts: Iterable[Stmt], around: tuple[Part | For | When, ...], name: str
) -> Iterator[Place]:
    for stmt in stmts:
        if name and name not in parts_in(stmt):
            continue
        if isinstance(stmt, Part):
            yield Place(stmt, around, "")
        if isinstance(stmt, Part | For | When):
            yield from _places(stmt.body, (*around, stmt), name)


def _everywhere(loops: Loops, name: str = "") -> Iterator[Place]:
    """Every part; with a name, those that have it and those around them."""
    yield from _places(loops.body, (), name)
    for kernel in loops.kernels:
        for place in _places(kernel.body, (), name):
            yield replace(place, kernel=kernel.name)


def part(loops: Loops, name: str) -> Place:
    """The part of that name, in the program or in a kernel."""
    found = [p for p in _everywhere(loops, name) if p.part.name == name]
    if not found:
        names = listed(p.part.name for p in _everywhere(loops))
        raise ScheduleError(f'there is no part "{name}": the parts are {names}')
    if len(found) > 1:
        raise ScheduleError(f'there are {len(found)} parts "{name}": give each a name of its own')
    return found[0]


def fors(where: Part, name: str) -> list[For]:
    """The loops of that name in a part, outer and first ones first; at least one."""
    every = [s for s in inside(where.body) if isinstance(s, For)]
    found = [s for s in every if s.name == name]
    if not found:
        names = listed(s.name for s in every)
        raise ScheduleError(f'part "{where.name}" has no loop "{name}": its loops are {names}')
    return found


def only(where: Part, name: str) -> For:
    """The one loop of that name in a part."""
    found = fors(where, name)
    if len(found) > 1:
        raise ScheduleError(
            f'part "{where.name}" has {len(found)} loops "{name}": name a part inside that has one'
        )
    return found[0]


def ancestors(where: Part | For | When, inner: Stmt) -> tuple[Part | For | When, ...]:
    """What stands around a statement (found by identity) inside another, from outside in."""
    for stmt in where.body:
        if stmt is inner:
            return ()
        if isinstance(stmt, Part | For | When) and any(s is inner for s in inside(stmt.body)):
            return (stmt, *ancestors(stmt, inner))
    return ()


def arrays_at(loops: Loops, place: Place) -> dict[str, Buffer]:
    """The arrays known where a part stands and inside it, by name."""
    known = {b.name: b for b in loops.arrays}
    for kernel in loops.kernels:
        if kernel.name == place.kernel:
            known = {b.name: b for b in (*kernel.arrays, *kernel.scratch)}
    for outer in (*place.around, place.part):
        for stmt in outer.body:
            if isinstance(stmt, Declare):
                known[stmt.array.name] = stmt.array
    for stmt in inside(place.part.body):
        if isinstance(stmt, Declare):
            known[stmt.array.name] = stmt.array
    return known


def writes(loops: Loops) -> dict[str, tuple[bool, ...]]:
    """Which arguments each kernel writes."""
    return {k.name: tuple(b.name in k.writes for b in k.arrays) for k in loops.kernels}


def gather_sources(ixs: Iterable[Ix]) -> Iterator[str]:
    """The arrays that indices gather from."""
    for ix in ixs:
        for atom in ix.atoms():
            if isinstance(atom, Gather):
                assert isinstance(atom.source, BufferSource)
                yield atom.source.buffer


# --- rewriting ------------------------------------------------------------------------------------


def swapped(stmts: Iterable[Stmt], old: Stmt, new: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """The statements with one of them, found by identity at any depth, replaced; those that it is
    not in stay the same objects."""
    out: list[Stmt] = []
    for stmt in stmts:
        if stmt is old:
            out += new
        elif isinstance(stmt, Part | For | When) and any(s is old for s in inside(stmt.body)):
            out.append(replace(stmt, body=swapped(stmt.body, old, new)))
        else:
            out.append(stmt)
    return tuple(out)


def replaced(
    loops: Loops, place: Place, old: Stmt, new: Iterable[Stmt], arrays: Iterable[Buffer] = ()
) -> Loops:
    """The Loops with statements in the place of one, found by identity, and more scratch arrays.

    A loop of theirs whose name a loop around it has gets another name.
    """
    above = next((n for n, s in enumerate(place.around) if s is old), None)
    inner = () if above is not None or old is place.part else ancestors(place.part, old)
    around = (*place.around[:above], *inner)
    new = _told_apart(tuple(new), frozenset(s.name for s in around if isinstance(s, For)))
    if not place.kernel:
        return replace(loops, body=swapped(loops.body, old, new), arrays=(*loops.arrays, *arrays))
    kernels = tuple(
        replace(k, body=swapped(k.body, old, new), scratch=(*k.scratch, *arrays))
        if k.name == place.kernel
        else k
        for k in loops.kernels
    )
    return replace(loops, kernels=kernels)


def _told_apart(stmts: tuple[Stmt, ...], taken: frozenset[str]) -> tuple[Stmt, ...]:
    """The same statements where every loop has another name than those around it."""
    if not _repeats(stmts, taken):
        return stmts
    out: list[Stmt] = []
    for stmt in stmts:
        inner = taken
        if isinstance(stmt, For):
            name, n = stmt.name, 1
            while name in taken:
                n += 1
                name = f"{stmt.name}_{n}"
            stmt, inner = replace(stmt, name=name), taken | {name}
        if isinstance(stmt, Part | For | When):
            stmt = replace(stmt, body=_told_apart(stmt.body, inner))
        out.append(stmt)
    return tuple(out)


def told_apart(loops: Loops) -> Loops:
    """The Loops where every loop has another name than those around it."""
    kernels = (replace(k, body=_told_apart(k.body, frozenset(k.names))) for k in loops.kernels)
    return replace(loops, body=_told_apart(loops.body, frozenset()), kernels=tuple(kernels))


def _repeats(stmts: Iterable[Stmt], taken: frozenset[str]) -> bool:
    """Whether a loop has the name of one around it."""
    for stmt in stmts:
        own = stmt.name if isinstance(stmt, For) else ""
        if own in taken:
            return True
        known = taken | {own} if own else taken
        if isinstance(stmt, Part | For | When) and _repeats(stmt.body, known):
            return True
    return False


def put(loops: Loops, place: Place, body: Iterable[Stmt], arrays: Iterable[Buffer] = ()) -> Loops:
    """The Loops with another body for a part."""
    return replaced(loops, place, place.part, (replace(place.part, body=tuple(body)),), arrays)


class Fresh:
    """Loop variables and names that nothing in a Loops has."""

    def __init__(self, loops: Loops) -> None:
        stmts = [*inside(loops.body)]
        taken = [b.name for b in loops.arrays] + [d.name for d in loops.dims]
        positions = [-1]
        for kernel in loops.kernels:
            stmts += inside(kernel.body)
            taken += [kernel.name, *(b.name for b in (*kernel.arrays, *kernel.scratch))]
            positions += [i.position for i in kernel.integers]
        positions += [s.loop.position for s in stmts if isinstance(s, For)]
        taken += [s.array.name for s in stmts if isinstance(s, Declare)]
        taken += [s.name for s in stmts if isinstance(s, For)]
        self._titles = {s.name for s in stmts if isinstance(s, Part)}
        self._next = max(positions) + 1
        self.name = Names(taken)

    def title(self, text: str) -> str:
        """A name for a part."""
        name, n = text, 1
        while name in self._titles:
            n += 1
            name = f"{text} ({n})"
        self._titles.add(name)
        return name

    def loop(self, extent: Ix | int) -> Loop:
        """A loop variable at a position of its own."""
        self._next += 1
        return loop(self._next - 1, as_ix(extent))


# --- storage that is ours to change ---------------------------------------------------------------


@dataclass(frozen=True)
class Owner:
    """Where scratch belongs: the program, a kernel, or the body that declares it."""

    array: Buffer
    body: tuple[Stmt, ...]
    kernel: str
    declared: bool


def owned(loops: Loops, name: str, directive: str) -> Owner:
    """The owner of scratch. Raises ScheduleError for what a caller hands in or gets back."""
    for b in loops.arrays:
        if b.name == name:
            if b.role != "scratch" or name in loops.outputs:
                said = "returned" if name in loops.outputs else f"of role {b.role}"
                raise ScheduleError(
                    f'"{name}" is {said} and lies as its user expects: {directive} a copy of it '
                    f"that Pack makes"
                )
            return Owner(b, loops.body, "", False)
    for kernel in loops.kernels:
        if any(b.name == name for b in kernel.arrays):
            raise ScheduleError(
                f'"{name}" is an argument of kernel "{kernel.name}" and lies as its callers expect'
            )
        for b in kernel.scratch:
            if b.name == name:
                return Owner(b, kernel.body, kernel.name, False)
    bodies = [("", loops.body), *((k.name, k.body) for k in loops.kernels)]
    for where, body in bodies:
        found = [s.array for s in inside(body) if isinstance(s, Declare) and s.array.name == name]
        if len(found) == 1:
            return Owner(found[0], body, where, True)
        if found:
            raise ScheduleError(f'"{name}" is declared in {len(found)} places')
    known = [b.name for b in loops.arrays if b.role == "scratch" and b.name not in loops.outputs]
    raise ScheduleError(f'there is no scratch "{name}": there is {listed(known)}')


def with_owned(loops: Loops, owner: Owner, array: Buffer, body: tuple[Stmt, ...]) -> Loops:
    """The Loops with other storage and the body that uses it."""
    if owner.declared:
        body = mapped(
            body,
            lambda s: (
                (Declare(array),) if isinstance(s, Declare) and s.array == owner.array else (s,)
            ),
        )

    def arrays(known: tuple[Buffer, ...]) -> tuple[Buffer, ...]:
        return known if owner.declared else tuple(array if b is owner.array else b for b in known)

    if not owner.kernel:
        return replace(loops, body=body, arrays=arrays(loops.arrays))
    kernels = tuple(
        replace(k, body=body, scratch=arrays(k.scratch)) if k.name == owner.kernel else k
        for k in loops.kernels
    )
    return replace(loops, kernels=kernels)
