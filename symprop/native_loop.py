"""The loop over steps in machine code, for a runner and its data.

In: a runner, checked arrays, and how they are cut. Out: ``native_loop``: a
``codegen.llvm.loop.Loop`` on them, or None where the loop has to be Python's: a text backend runs,
every loss is to be looked at, the batch's size is not a dimension of its own, or what is reported
is not a row of floats.

Guarantees: the steps are those that the loop in Python takes, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from codegen.aligned import aligned_copy
from codegen.index import Dim
from symprop.data import Arrays

if TYPE_CHECKING:
    from codegen.llvm.calling import Caller
    from codegen.llvm.loop import Loop
    from symprop.runner import Runner

__all__ = ["native_loop"]


def native_loop(
    runner: Runner,
    arrays: Arrays,
    split: Sequence[str] = (),
    batch_size: int = 0,
    seed: int | None = None,
    columns: int = 1,
) -> Loop | None:
    """The loop; the arrays named in ``split`` are cut into batches, the others read as they are.

    In: a ``seed`` for a new order in every epoch, or None; how many ``columns`` of numbers are kept
    of every step.
    """
    caller: Caller | None = runner.step.caller
    if caller is None or runner.check_finite:
        return None
    from codegen.llvm.loop import Batches, Loop

    names = {b.label: b.name for b in caller.interface.arguments}
    cut = {n: arrays[n] for n in split if n in names}
    size = runner.example.atom if split else None
    if split and not (cut and isinstance(size, Dim)):
        return None
    room = {n: aligned_copy(a[:batch_size]) for n, a in cut.items()}
    given = {**runner.arrays, **arrays, **room}
    bound = caller.bind({name: given[label] for label, name in names.items()})
    if not bound.in_a_row(columns):
        return None
    if not split:
        return Loop(bound, None, columns)
    assert isinstance(size, Dim)
    examples = len(next(iter(cut.values())))
    batches = Batches(
        {names[n]: a for n, a in cut.items()}, min(batch_size, examples), seed, size.name
    )
    return Loop(bound, batches, columns)
