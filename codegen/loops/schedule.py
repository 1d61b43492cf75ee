"""Applying schedules: one function a directive, in one table.

In: a ``Loops`` and directives. Out: the ``Loops`` they describe, which remembers them.

Guarantees: each directive is applied wholly or refused with a ``ScheduleError``, and then nothing
has changed. Every directive keeps values; some reorder rounding and say so where they are declared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from codegen.loops.blocking import register_block
from codegen.loops.directives import (
    Cut,
    Directive,
    Epilogue,
    Fuse,
    Init,
    Layout,
    Localise,
    Outline,
    Pack,
    Pad,
    Parallel,
    Privatise,
    Prologue,
    RegisterBlock,
    Reorder,
    ScheduleError,
    Split,
    Unroll,
    Vectorise,
)
from codegen.loops.epilogue import epilogue
from codegen.loops.fusing import fuse
from codegen.loops.init import init
from codegen.loops.inline import prologue
from codegen.loops.localise import localise
from codegen.loops.nest import Loops
from codegen.loops.ordering import reorder
from codegen.loops.outlining import outline
from codegen.loops.packing import layout, pack
from codegen.loops.padding import pad
from codegen.loops.privatising import privatise
from codegen.loops.tiling import cut, parallel, split, unroll, vectorise

__all__ = ["APPLY", "ScheduleError", "applied", "apply"]

APPLY: dict[type[Directive], Callable[[Loops, Any], Loops]] = {
    Fuse: fuse,
    Split: split,
    Cut: cut,
    Reorder: reorder,
    Vectorise: vectorise,
    Unroll: unroll,
    RegisterBlock: register_block,
    Init: init,
    Epilogue: epilogue,
    Prologue: prologue,
    Localise: localise,
    Pack: pack,
    Layout: layout,
    Pad: pad,
    Privatise: privatise,
    Outline: outline,
    Parallel: parallel,
}


def apply(loops: Loops, directive: Directive) -> Loops:
    """The Loops with one directive applied. Raises ScheduleError when it cannot be."""
    changed = APPLY[type(directive)](loops, directive)
    return replace(changed, schedule=(*loops.schedule, directive))


def applied(loops: Loops, directives: Iterable[Directive]) -> Loops:
    """The Loops with directives applied in order."""
    for directive in directives:
        loops = apply(loops, directive)
    return loops
