"""Parts that do the same become one function: the text and its compile time do not grow with depth.

In: scheduled ``Loops``. Out: ``shared`` gives the same with kernels for parts of the top that are
equal up to names, where there are enough of them; the others stand as they are.

Guarantees: not a bit changes; small networks, whose layers differ in size, keep one function.

Compiling costs about 6 ms a line of text (Numba 0.68, half of it in Numba's own Python), and a
layer is about 50 lines: a network of twenty equal layers takes 7 s with its layers as calls, and
three times that in one function.
"""

from __future__ import annotations

from collections.abc import Hashable

from codegen.loops.directives import Outline, ScheduleError
from codegen.loops.nest import Call, For, Loops, Part, Stmt
from codegen.loops.schedule import apply
from codegen.loops.walk import inside
from codegen.names import identifier

__all__ = ["ENOUGH", "shared"]

ENOUGH = 3  # parts for a kernel: two alike are quicker read where they stand
LARGE = 8  # statements of a part that is worth a call


def shared(loops: Loops) -> Loops:
    """Kernels for parts that do the same."""
    groups: dict[Hashable, list[str]] = {}
    for part in (s for s in loops.body if isinstance(s, Part)):
        contents = list(inside(part.body))
        if len(contents) >= LARGE and not any(isinstance(s, Call) for s in contents):
            groups.setdefault(tuple(map(_glance, contents)), []).append(part.name)
    for names in groups.values():
        while len(names) >= ENOUGH:
            made, names = _kernel(loops, names)
            loops = made or loops
    return loops


def _glance(stmt: Stmt) -> Hashable:
    """What statements of parts that do the same have in common."""
    return (For, stmt.loop.extent, stmt.kind) if isinstance(stmt, For) else (type(stmt),)


def _kernel(loops: Loops, names: list[str]) -> tuple[Loops | None, list[str]]:
    """A kernel for the first part and all that equal it, if they are enough; the parts left."""
    first, *others = names
    kernel = f"like_{identifier(first)}"
    left: list[str] = []
    try:
        made = apply(loops, Outline(first, kernel))
    except ScheduleError:
        return None, others
    for other in others:
        try:
            made = apply(made, Outline(other, kernel))
        except ScheduleError:
            left.append(other)
    return (made if len(names) - len(left) >= ENOUGH else None), left
