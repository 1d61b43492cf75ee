"""Split, Cut, Vectorise, Unroll and Parallel: how the turns of one loop are cut up and carried out.

In: a ``Loops`` and the directive. Out: a ``Loops`` of equal value.

Guarantees: no element is computed twice or left out, in the same order; a loop runs in lanes or in
parallel only where no turn writes what another one touches (``codegen.loops.turns``). Sibling loops
of one name in the part are treated alike. What cannot be done is a ``ScheduleError`` that names the
part, the loop and the mend.

A loop that is narrowed at run time and is to be written out or run in lanes gets its bounds as
guards of its body, which ``Pad`` takes away again where the storage has room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

from codegen.index import Guard, Ix, constant, floordiv, guard, mod, nonneg
from codegen.loops.directives import Cut, Parallel, ScheduleError, Split, Unroll, Vectorise
from codegen.loops.finding import Fresh, Place, ancestors, fors, part, put, writes
from codegen.loops.moving import copied
from codegen.loops.nest import For, Kind, Loops, Part, Stmt, When
from codegen.loops.turns import Clash, clash
from codegen.loops.walk import inside, mapped, substituted

__all__ = [
    "bounds_of",
    "cut",
    "described",
    "parallel",
    "split",
    "tidied",
    "unroll",
    "vectorise",
    "widened",
]


def split(loops: Loops, d: Split) -> Loops:
    """``i`` as ``i_outer`` over pieces and ``i_inner`` within one; see ``Split``."""
    place = part(loops, d.part)
    if (d.size > 0) == (d.parts > 0) or d.size < 0 or d.parts < 0:
        raise ScheduleError(
            f'loop "{d.loop}" of part "{d.part}" is split by a size or into a number of parts, one '
            f"of them and positive, not size {d.size} and {d.parts} parts"
        )
    fresh = Fresh(loops)

    def cut(f: For) -> Iterable[Stmt]:
        _serial(f, d.part, "Split")
        count, size, start = _pieces(f, d)
        outer, inner = fresh.loop(count), fresh.loop(size)
        first, beyond = start(outer.ix()), start(outer.ix() + 1)
        high = [h - first for h in f.high]
        if not _whole(f, d):
            high.append((f.loop.extent if d.size else beyond) - first)
        body = substituted(f.body, {f.loop: first + inner.ix()})
        low = tuple(x - first for x in f.low)
        within = tidied(For(inner, names[1], body, low=low, high=tuple(high)))
        return (For(outer, names[0], (within,)),)

    names = [f"{d.loop}_outer", f"{d.loop}_inner"]
    for taken in (s.name for s in inside(place.part.body) if isinstance(s, For)):
        if taken in names:
            raise ScheduleError(f'part "{d.part}" has a loop "{taken}" already')
    return put(loops, place, _each(place.part, d.loop, cut))


def _whole(f: For, d: Split) -> bool:
    """Whether every piece has the full size."""
    n = f.loop.extent
    if d.size:
        return mod(n, d.size).value == 0
    return n.value is not None and n.value % d.parts == 0


def _pieces(f: For, d: Split) -> tuple[Ix, int, Callable[[Ix], Ix]]:
    """How many pieces, the greatest size of one, and where a piece starts."""
    n = f.loop.extent
    if d.size:
        return floordiv(n + (d.size - 1), d.size), d.size, lambda o: o * d.size
    if n.value is None or n.value < d.parts:
        known = "a size known only at run time" if n.value is None else f"{n.value} turns"
        raise ScheduleError(
            f'loop "{d.loop}" of part "{d.part}" has {known} and is not cut in {d.parts} parts: '
            f"give a size of the pieces"
        )
    total = n.value
    size = -(-total // d.parts)
    count = constant(d.parts)
    if total % d.parts == 0:
        return count, size, lambda o: o * size
    return count, size, lambda o: floordiv(o * total, d.parts)


def cut(loops: Loops, d: Cut) -> Loops:
    """``i`` as ``i_0``, ``i_1``, ... one after another; see ``Cut``."""
    place = part(loops, d.part)
    fresh = Fresh(loops)

    def sections(f: For) -> Iterable[Stmt]:
        _serial(f, d.part, "Cut")
        n = f.loop.extent
        ends = [constant(0), *(n + a if a < 0 else constant(a) for a in d.at), n]
        if d.multiple > 0 and not d.at:
            ends = [constant(0), floordiv(n, d.multiple) * d.multiple, n]
        elif not d.at or not all(nonneg(b - a) for a, b in pairwise(ends)) or ends[1].value == 0:
            raise ScheduleError(
                f'loop "{d.loop}" of part "{d.part}" has {n!r} turns and cannot be cut at '
                f"{d.at}: give turns inside of it, in order"
            )
        out: list[Stmt] = []
        for k, (first, end) in enumerate(pairwise(ends)):
            name = f"{d.loop}_{k}"
            v = fresh.loop(end - first)
            body = copied(f.body, fresh, {f.loop: first + v.ix()}, f" {name}")
            low, high = tuple(x - first for x in f.low), tuple(x - first for x in f.high)
            section = tidied(For(v, name, body, low=low, high=high))
            out.append(Part(fresh.title(f"{d.part} {name}"), (section,)))
        return out

    return put(loops, place, _each(place.part, d.loop, sections))


def vectorise(loops: Loops, d: Vectorise) -> Loops:
    """The loop in lanes: its turns touch different elements, and nothing in it depends on a lane
    but values and places."""
    place = part(loops, d.part)
    marks = writes(loops)

    def lanes(f: For) -> Iterable[Stmt]:
        _number(f, d.part, "run in lanes")
        _serial(f, d.part, "Vectorise")
        for stmt in inside(f.body):
            if isinstance(stmt, For) and stmt.kind in ("vector", "parallel"):
                raise ScheduleError(
                    f'loop "{stmt.name}" inside loop "{f.name}" of part "{d.part}" is {stmt.kind} '
                    f"already: only one of them can be in lanes"
                )
            if isinstance(stmt, For) and any(f.loop in b.loops for b in (*stmt.low, *stmt.high)):
                raise ScheduleError(
                    f'the bounds of loop "{stmt.name}" of part "{d.part}" depend on loop '
                    f'"{f.name}", so its lanes would run different numbers of turns'
                )
        found = clash(f.body, f.loop, marks)
        if found:
            raise ScheduleError(described(found, d.part, f, "Vectorise"))
        return widened(f, "vector")

    _not_inside(place, d.loop, "vector")
    return put(loops, place, _each(place.part, d.loop, lanes))


def unroll(loops: Loops, d: Unroll) -> Loops:
    """The turns of a loop written out one after another."""
    place = part(loops, d.part)

    def out(f: For) -> Iterable[Stmt]:
        _number(f, d.part, "be written out")
        _serial(f, d.part, "Unroll")
        return widened(f, "unroll")

    return put(loops, place, _each(place.part, d.loop, out))


def parallel(loops: Loops, d: Parallel) -> Loops:
    """The turns of a loop at once, as many workers as there are."""
    place = part(loops, d.part)
    marks = writes(loops)

    def share(f: For) -> Iterable[Stmt]:
        _serial(f, d.part, "Parallel")
        for stmt in inside(f.body):
            if isinstance(stmt, For) and stmt.kind == "parallel":
                raise ScheduleError(
                    f'loop "{stmt.name}" inside loop "{f.name}" of part "{d.part}" is parallel '
                    f"already: only the outer one of them can be"
                )
        found = clash(f.body, f.loop, marks)
        if found:
            raise ScheduleError(described(found, d.part, f, "Parallel"))
        return (replace(f, kind="parallel"),)

    _not_inside(place, d.loop, "vector", "parallel")
    return put(loops, place, _each(place.part, d.loop, share))


# --- shared ---------------------------------------------------------------------------------------


def _each(where: Part, name: str, change: Callable[[For], Iterable[Stmt]]) -> tuple[Stmt, ...]:
    """The part's body with every loop of a name changed."""
    fors(where, name)
    return mapped(
        where.body,
        lambda s: change(s) if isinstance(s, For) and s.name == name else (s,),
    )


def bounds_of(f: For) -> tuple[Guard, ...] | None:
    """What narrows a loop, as guards on its variable; None where no turn can run."""
    found: list[Guard] = []
    ends = [f.loop.ix() - low for low in f.low] + [high - 1 - f.loop.ix() for high in f.high]
    for end in ends:
        new = guard(end, ">=")
        if new is False:
            return None
        if isinstance(new, Guard):
            found.append(new)
    return tuple(dict.fromkeys(found))


def widened(f: For, kind: Kind) -> tuple[Stmt, ...]:
    """The loop over all of its extent, its bounds as guards of the body."""
    guards = bounds_of(f)
    if guards is None:
        return ()
    body = (When(guards, f.body),) if guards else f.body
    return (replace(f, kind=kind, body=body, low=(), high=()),)


def tidied(f: For) -> For:
    """The loop without bounds that say nothing."""
    low = tuple(b for b in f.low if guard(f.loop.ix() - b, ">=") is not True)
    high = tuple(b for b in f.high if guard(b - 1 - f.loop.ix(), ">=") is not True)
    return replace(f, low=tuple(dict.fromkeys(low)), high=tuple(dict.fromkeys(high)))


def _number(f: For, name: str, what: str) -> None:
    if f.loop.extent.value is None:
        raise ScheduleError(
            f'loop "{f.name}" of part "{name}" has {f.loop.extent!r} turns, which is no number, '
            f"and cannot {what}: split it by a size and take the inner loop"
        )


def _serial(f: For, name: str, directive: str) -> None:
    if f.kind != "serial":
        raise ScheduleError(
            f'loop "{f.name}" of part "{name}" is {f.kind} already: {directive} comes first, and '
            f"only once"
        )


def _not_inside(place: Place, name: str, *kinds: Kind) -> None:
    for f in fors(place.part, name):
        for outer in (*place.around, *ancestors(place.part, f)):
            if isinstance(outer, For) and outer.kind in kinds:
                raise ScheduleError(
                    f'loop "{name}" of part "{place.part.name}" stands inside loop "{outer.name}", '
                    f"which is {outer.kind}"
                )


def described(found: Clash, name: str, f: For, directive: str) -> str:
    """Why the turns of a loop cannot change places, and what to do."""
    start = f'the turns of loop "{f.name}" of part "{name}"'
    if found.kind == "adds":
        return (
            f'{start} all add into "{found.array}": give each lane or worker its own by '
            f'Privatise("{name}", "{f.name}", parts), then {directive} the parts'
        )
    done = "write" if found.kind == "writes" else "read and write"
    return (
        f'{start} {done} the same elements of "{found.array}", or elements that cannot be told '
        f"apart: {directive} a loop whose turns each have their own"
    )
