"""Two parts of one body that are to become one: what stands around and between them.

In: a ``Loops`` and two parts in it. Out: the statements before, moved ahead, moved behind and after
them; the Loops with other statements in that body, or without an array.

Guarantees: a statement is moved only over what it has nothing to do with; what the second part
needs stays ahead of it. Where that cannot be, it is a ``ScheduleError``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from codegen.loops.depend import Marks, placed_between
from codegen.loops.directives import ScheduleError
from codegen.loops.finding import Place, listed, replaced
from codegen.loops.known import arrays_in, own_arrays
from codegen.loops.nest import Loops, Part, Stmt

__all__ = [
    "Beside",
    "is_private",
    "neighbours",
    "siblings",
    "used_elsewhere",
    "with_siblings",
    "without",
]


@dataclass(frozen=True)
class Beside:
    """The statements of a body around two parts, those between them parted."""

    before: tuple[Stmt, ...]
    ahead: tuple[Stmt, ...]
    behind: tuple[Stmt, ...]
    after: tuple[Stmt, ...]

    def around(self, *made: Stmt) -> tuple[Stmt, ...]:
        """The body with statements in the place of the two."""
        return (*self.before, *self.ahead, *made, *self.behind, *self.after)


def siblings(loops: Loops, place: Place) -> tuple[Stmt, ...]:
    """The statements among which a part stands."""
    if place.around:
        return place.around[-1].body
    for kernel in loops.kernels:
        if kernel.name == place.kernel:
            return kernel.body
    return loops.body


def with_siblings(loops: Loops, place: Place, body: Iterable[Stmt]) -> Loops:
    """The Loops with other statements among which a part stands."""
    body = tuple(body)
    if place.around:
        outer = place.around[-1]
        return replaced(loops, place, outer, (replace(outer, body=body),))
    if not place.kernel:
        return replace(loops, body=body)
    kernels = tuple(replace(k, body=body) if k.name == place.kernel else k for k in loops.kernels)
    return replace(loops, kernels=kernels)


def neighbours(loops: Loops, first: Place, second: Place, marks: Marks) -> Beside:
    """What stands around and between two parts of one body. Raises ScheduleError when they are not
    in one body in this order, or something between them keeps them apart."""
    a, b = first.part, second.part
    body = siblings(loops, first)
    at = [n for n, s in enumerate(body) if s is a or s is b]
    if len(at) != 2 or body[at[0]] is not a:
        known = listed(s.name for s in body if isinstance(s, Part))
        raise ScheduleError(
            f'part "{b.name}" does not follow part "{a.name}" in one body: beside it are {known}'
        )
    i, j = at
    moved = placed_between(a, body[i + 1 : j], b, marks)
    if isinstance(moved[1], str):
        stmt, array = moved
        name = f'part "{stmt.name}"' if isinstance(stmt, Part) else "a statement"
        raise ScheduleError(
            f'{name} stands between parts "{a.name}" and "{b.name}", needs "{array}" of the first '
            "and is needed by the second: fuse it with one of them before"
        )
    ahead, behind = moved
    return Beside(body[:i], ahead, behind, body[j + 1 :])


def without(loops: Loops, place: Place, array: str) -> Loops:
    """The Loops without a scratch array that nothing uses any more."""
    if not place.kernel:
        return replace(loops, arrays=tuple(b for b in loops.arrays if b.name != array))
    return replace(
        loops,
        kernels=tuple(
            replace(k, scratch=tuple(b for b in k.scratch if b.name != array))
            if k.name == place.kernel
            else k
            for k in loops.kernels
        ),
    )


def used_elsewhere(loops: Loops, place: Place, array: str) -> bool:
    """Whether an array is used outside of a part, in the program or kernel that it stands in."""
    body = next((k.body for k in loops.kernels if k.name == place.kernel), loops.body)
    for stmt in (*place.around, place.part):
        if any(array in arrays_in(s) for s in body if s is not stmt):
            return True
        if stmt is not place.part and array in own_arrays(stmt):
            return True
        body = stmt.body
    return False


def is_private(loops: Loops, place: Place, array: str) -> bool:
    """Whether an array is scratch that no caller ever sees."""
    for kernel in loops.kernels:
        if kernel.name == place.kernel:
            return array not in {b.name for b in kernel.arrays}
    kept = {b.name for b in loops.arrays if b.role != "scratch"}
    return array not in kept and array not in loops.outputs
