"""Epilogue: an elementwise part inside the nest that makes its operand.

    for b: for d: acc = 0; for k: acc += ..; y[b, d] = acc         for b: for d: acc = 0; for k: ..
    for b: for d: z[b, d] = max(y[b, d], 0)                    ->    y[b, d] = acc
                                                                     z[b, d] = max(y[b, d], 0)

In: a ``Loops`` and the directive. Out: a ``Loops`` of equal value, bit for bit.

Guarantees: the consumer runs once for each element, after the operand has its last value, or it is
a ``ScheduleError``: its elements are independent, its operands are stored in one place, each
element once, and nothing else of the part meets what the consumer writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.index import Ix, Loop
from codegen.loops.beside import neighbours, with_siblings
from codegen.loops.depend import Marks
from codegen.loops.directives import Epilogue, ScheduleError
from codegen.loops.finding import ancestors, arrays_at, part, writes
from codegen.loops.nest import For, Loops, Part, Stmt, Store, When
from codegen.loops.turns import accesses
from codegen.loops.walk import inside, read_names, substituted, written_names
from codegen.ranges import injective

__all__ = ["Elementwise", "elementwise", "epilogue"]


@dataclass(frozen=True)
class Elementwise:
    """A part that is ``for each point: body``, where no point needs another one's."""

    loops: tuple[Loop, ...]
    body: tuple[Stmt, ...]


def elementwise(where: Part, marks: Marks) -> Elementwise:
    """A part as a body for each point of its loops. Raises ScheduleError when it is not so."""
    loops: list[Loop] = []
    body: tuple[Stmt, ...] = where.body
    while len(body) == 1 and isinstance(body[0], For):
        f = body[0]
        if f.low or f.high or f.kind != "serial":
            raise ScheduleError(
                f'loop "{f.name}" of part "{where.name}" is not a plain loop over all its turns'
            )
        loops.append(f.loop)
        body = f.body
    if any(isinstance(s, For) for s in inside(body)):
        raise ScheduleError(
            f'part "{where.name}" is not elementwise: it has loops inside its loops'
        )
    changed = written_names(body, marks)
    for name in changed:
        index = {a.index for a in accesses(body, marks) if a.array == name}
        one = next(iter(index), ())  # nothing where it is storage of a point
        if len(index) > 1 or one is None or (index and not injective(one, (), loops)):
            raise ScheduleError(
                f'part "{where.name}" is not elementwise: its turns share elements of "{name}"'
            )
    return Elementwise(tuple(loops), body)


def epilogue(loops: Loops, d: Epilogue) -> Loops:
    """The consumer where the part stores its operand; see ``Epilogue``."""
    marks = writes(loops)
    first, second = part(loops, d.part), part(loops, d.consumer)
    beside = neighbours(loops, first, second, marks)
    points = elementwise(second.part, marks)
    operands = _operands(d, first.part, second.part, marks)
    shapes = {b.name: b.dims for b in arrays_at(loops, first).values()}
    at, holder, place = _finished(d, first.part, operands)
    mapping = _positions(d, points, operands, at, shapes, marks)
    own = replace(second.part, body=substituted(points.body, mapping))
    while place < len(holder.body) and isinstance(holder.body[place], Part):
        place += 1  # behind the epilogues that are there
    body = (*holder.body[:place], own, *holder.body[place:])
    made = _swapped(first.part, holder, body)
    return with_siblings(loops, first, beside.around(made))


def _operands(d: Epilogue, where: Part, consumer: Part, marks: Marks) -> tuple[str, ...]:
    """What the consumer reads of the part."""
    made = written_names((where,), marks)
    read = read_names((consumer,), marks)
    clash = [n for n in written_names((consumer,), marks) if n in made]
    clash += [n for n in written_names((consumer,), marks) if n in read_names((where,), marks)]
    if clash:
        raise ScheduleError(
            f'part "{d.part}" uses "{clash[0]}", which part "{d.consumer}" changes: it has to stay '
            "behind all of it"
        )
    found = tuple(n for n in made if n in read)
    if not found:
        raise ScheduleError(f'part "{d.consumer}" reads nothing that part "{d.part}" makes')
    return found


def _finished(
    d: Epilogue, where: Part, operands: Sequence[str]
) -> tuple[tuple[Ix, ...], Part | For | When, int]:
    """Where the operands are complete: their index, the statement around, a place in its body."""
    stores = [s for s in inside((where,)) if isinstance(s, Store) and s.target in operands]
    for name in operands:
        own = [s for s in stores if s.target == name]
        if len(own) != 1 or own[0].op != "=":
            raise ScheduleError(
                f'part "{d.part}" adds to "{name}" in memory or stores to it in several places: '
                "apply Epilogue before Reorder and RegisterBlock, or "
                f'Fuse("{d.part}", "{d.consumer}")'
            )
    at = stores[0].index
    around = [(where, *ancestors(where, s)) for s in stores]
    turns = [tuple(a for a in way if not isinstance(a, Part) or a is where) for way in around]
    holder = turns[0][-1]
    same = all(way[-1] is holder for way in turns) and all(s.index == at for s in stores)
    if not same or not injective(at, (), [s.loop for s in turns[0] if isinstance(s, For)]):
        raise ScheduleError(
            f'part "{d.part}" does not store "{" and ".join(operands)}" together and each element '
            f'once, as part "{d.consumer}" needs'
        )
    last = max(
        n for n, s in enumerate(holder.body) if any(t is u for t in inside((s,)) for u in stores)
    )
    return at, holder, last + 1


def _positions(
    d: Epilogue,
    points: Elementwise,
    operands: Sequence[str],
    at: tuple[Ix, ...],
    shapes: Mapping[str, tuple[Ix, ...]],
    marks: Marks,
) -> dict[Loop, Ix]:
    """The consumer's loops where an element of the operands is stored."""
    found: dict[Loop, Ix] = {}
    for a in accesses(points.body, marks):
        if a.array not in operands:
            continue
        mapping = _matched(points, a.index or (), at, shapes[a.array])
        if mapping is None or found not in ({}, mapping):
            raise ScheduleError(
                f'part "{d.consumer}" does not read "{a.array}" at each element in turn, as an '
                "epilogue has to"
            )
        found = mapping
    return found


def _matched(
    points: Elementwise, index: Sequence[Ix], at: Sequence[Ix], dims: Sequence[Ix]
) -> dict[Loop, Ix] | None:
    """The place of each of the consumer's loops, which are one axis each and all of it; other axes
    are read where they are stored. None where it is not so."""
    found: dict[Loop, Ix] = {}
    for ix, place, size in zip(index, at, dims, strict=True):
        v = ix.atom
        if isinstance(v, Loop) and v in points.loops and v.extent is size and v not in found:
            found[v] = place
        elif ix is not place or set(ix.loops) & set(points.loops):
            return None
    return found if len(found) == len(points.loops) else None


def _swapped(stmt: Part, old: Stmt, body: tuple[Stmt, ...]) -> Part:
    """The part with another body for a statement in it (found by identity)."""

    def go(s: Stmt) -> Stmt:
        if not isinstance(s, Part | For | When):
            return s
        return replace(s, body=body if s is old else tuple(map(go, s.body)))

    made = go(stmt)
    assert isinstance(made, Part)
    return made
