"""Schedules that put as many loops in lanes as can be, for the emitter to be tried on.

In: a Loops, a seeded generator. Out: a Loops. Guarantees: what the directives guarantee.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Literal

from codegen.loops.directives import Directive, ScheduleError, Split, Unroll, Vectorise
from codegen.loops.nest import For, Loops, Part, Stmt
from codegen.loops.schedule import apply
from codegen.loops.walk import bodies, inside

Mode = Literal["inner", "outer", "random"]
MODES: tuple[Mode, ...] = ("inner", "outer", "random")


def in_lanes(loops: Loops, mode: Mode, r: Random) -> Loops:
    """One loop of every part in lanes, the innermost or the outermost that may be; with "random",
    some of them, others written out."""
    every = [*loops.body, *(s for k in loops.kernels for s in k.body)]
    for part in [s for s in inside(every) if isinstance(s, Part)]:
        found = list(dict.fromkeys(_own(part.body)))
        order = found[::-1] if mode == "inner" else found
        if mode == "random":
            r.shuffle(order)
        for name, extent in order:
            small = extent is not None and extent < 6
            if mode == "random" and small and r.random() < 0.3:
                loops, _ = _tried(loops, Unroll(part.name, name))
                continue
            if extent is None or extent > 40:
                loops, split = _tried(loops, Split(part.name, name, size=r.choice([3, 4, 16])))
                name += "_inner" if split else ""
            loops, done = _tried(loops, Vectorise(part.name, name))
            if done and mode != "random":
                break
    return loops


def _own(stmts: Iterable[Stmt]) -> Iterable[tuple[str, int | None]]:
    """The loops of a part, those of parts inside left out."""
    for s in stmts:
        if isinstance(s, For):
            yield s.name, s.loop.extent.value
        if not isinstance(s, Part):
            yield from _own(bodies(s))


def _tried(loops: Loops, d: Directive) -> tuple[Loops, bool]:
    try:
        return apply(loops, d), True
    except ScheduleError:
        return loops, False
