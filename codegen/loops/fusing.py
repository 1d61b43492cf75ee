"""Fuse: one loop around the bodies of two parts.

In: a ``Loops`` and the directive. Out: a ``Loops`` of equal value, bit for bit.

Guarantees: fusing is refused with a ``ScheduleError`` unless it is proved that no turn of the
second part comes before a turn of the first that it depends on (``codegen.loops.depend``). What
stands between the parts is moved only over what it has nothing to do with. Of a part the last loop
is fused; what stands before it (a sum set to zero) or after it stays before or after the fused one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from codegen.loops.beside import neighbours, with_siblings
from codegen.loops.depend import Marks, crossing, meeting
from codegen.loops.directives import Fuse, ScheduleError
from codegen.loops.finding import Place, part, writes
from codegen.loops.known import parts_in
from codegen.loops.nest import Declare, For, Loops, Part, Stmt
from codegen.loops.walk import inside, mapped, substituted
from codegen.names import Names

__all__ = ["Single", "fuse", "single"]


@dataclass(frozen=True)
class Single:
    """A part as its last loop, with what stands before and after it."""

    before: tuple[Stmt, ...]
    loop: For
    after: tuple[Stmt, ...]


def single(where: Part) -> Single | None:
    """The last loop of a part; None where it has none."""
    found = [n for n, s in enumerate(where.body) if isinstance(s, For)]
    if not found:
        return None
    n = found[-1]
    loop = where.body[n]
    assert isinstance(loop, For)
    return Single(where.body[:n], loop, where.body[n + 1 :])


def fuse(loops: Loops, d: Fuse) -> Loops:
    """One loop around the bodies of two parts; see ``Fuse``."""
    marks = writes(loops)
    first, second = part(loops, d.first), part(loops, d.second)
    beside = neighbours(loops, first, second, marks)
    made = _united(loops, d, first, second, marks)
    alone = not any(isinstance(s, Part) for s in beside.around())
    made = replace(made, name=_name(loops, d, made, first, alone))
    if alone and _is_named(first, made.name):
        return with_siblings(loops, first, beside.around(*made.body))
    return with_siblings(loops, first, beside.around(made))


def _is_named(place: Place, name: str) -> bool:
    return any(isinstance(s, Part) and s.name == name for s in place.around)


def _name(loops: Loops, d: Fuse, made: Part, place: Place, alone: bool) -> str:
    """``first to last``; where the fused loop is all that an outer one of that name holds, the two
    are one part; else the loop's name tells them apart."""
    end = d.second.split(" to ")[-1].split(" over ")[0]
    name = f"{d.first.split(' to ')[0]} to {end}"
    if (alone and _is_named(place, name)) or not _taken(loops, name, d):
        return name
    fors = [s for s in made.body if isinstance(s, For)]
    base, number = f"{name} over {fors[0].name}", 2
    name = base
    while _taken(loops, name, d):
        name, number = f"{base} {number}", number + 1
    return name


def _taken(loops: Loops, name: str, d: Fuse) -> bool:
    """Whether a part that stays has a name."""
    bodies = (loops.body, *(k.body for k in loops.kernels))
    return name not in (d.first, d.second) and any(name in parts_in(s) for b in bodies for s in b)


# --- the fused loop -------------------------------------------------------------------------------


def _united(loops: Loops, d: Fuse, first: Place, second: Place, marks: Marks) -> Part:
    """The part of both; not yet named."""
    a, b = _single(first.part), _single(second.part)
    x, y = a.loop, b.loop
    if x.loop.extent is not y.loop.extent:
        raise ScheduleError(
            f'loop "{x.name}" of part "{d.first}" has {x.loop.extent!r} turns and loop "{y.name}" '
            f'of part "{d.second}" {y.loop.extent!r}: only loops of equal extent are fused'
        )
    for name, f in ((d.first, x), (d.second, y)):
        if f.kind != "serial" or f.low or f.high:
            what = "narrowed at run time" if f.low or f.high else f.kind
            raise ScheduleError(
                f'loop "{f.name}" of part "{name}" is {what}: fuse before, or another loop'
            )
    array = (
        crossing(x.body, y.body, x.loop, y.loop, marks)
        or meeting((*a.after, x), b.before, marks)
        or meeting(a.after, (y,), marks)
    )
    if array:
        raise ScheduleError(
            f'a turn of part "{d.second}" needs "{array}" as it is after other turns of part '
            f'"{d.first}": leave the two apart, or fuse a loop whose turns do not meet'
        )
    other = replace(y, body=substituted(y.body, {y.loop: x.loop.ix()}))
    both = (*_turn(first.part, x), *_turn(second.part, _unlike(other, (x.name, *_names(first)))))
    fused = replace(x, body=both)
    return Part(d.first, (*a.before, *b.before, fused, *a.after, *b.after))


def _single(where: Part) -> Single:
    found = single(where)
    if found is None:
        raise ScheduleError(
            f'part "{where.name}" has no loop of its own: only parts that are loops are fused'
        )
    return found


def _names(place: Place) -> tuple[str, ...]:
    return tuple(s.name for s in place.around if isinstance(s, For))


def _turn(where: Part, loop: For) -> tuple[Stmt, ...]:
    """What a part does in a turn: the parts it was fused from, or itself."""
    fused = all(isinstance(s, Part | Declare) for s in loop.body)
    if fused and sum(isinstance(s, Part) for s in loop.body) > 1:
        return loop.body
    return (replace(where, body=loop.body),)


def _unlike(loop: For, around: tuple[str, ...]) -> For:
    """The loop with other names for those in it that are called like one around."""
    names = Names((*around, *(s.name for s in inside(loop.body) if isinstance(s, For))))
    other = {name: names(name, "i") for name in dict.fromkeys(around) if name}
    return replace(
        loop,
        body=mapped(
            loop.body,
            lambda s: (
                (replace(s, name=other[s.name]),)
                if isinstance(s, For) and s.name in other
                else (s,)
            ),
        ),
    )
