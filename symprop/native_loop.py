"""The loop over steps in machine code, for a runner and its data.

In: a runner, checked arrays, and how they are cut, if they are. Out: ``native_loop``: a
``codegen.llvm.loop.Loop`` on them, or None where the loop has to be Python's: a text backend runs,
every step is to be looked at, the batch's size is not a dimension of its own, or what is reported
is not a row of floats.

Guarantees: the steps are those that the loop in Python takes, bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from codegen.aligned import aligned_copy
from codegen.index import Dim
from symprop.data import Arrays

if TYPE_CHECKING:
    from codegen.llvm.calling import Caller
    from codegen.llvm.loop import Loop
    from symprop.batches import Cut
    from symprop.examples import Examples
    from symprop.runner import Runner

__all__ = ["native_loop"]


def native_loop(
    runner: Runner,
    arrays: Arrays,
    cut: Cut | None = None,
    columns: int = 1,
    orders: bool = False,
) -> Loop | None:
    """The loop on one batch, or on those of a cut; with `orders` it is told the order of every
    epoch (`Loop.start`), and does not draw it.

    In: how many ``columns`` of numbers are kept of every step.
    """
    caller: Caller | None = runner.step.caller
    if caller is None or runner.check_finite:
        return None
    from codegen.llvm.loop import Batches, Loop

    names = {b.label: b.name for b in caller.interface.arguments}
    split = [] if cut is None else [n for n in cut.split if n in names]
    examples = runner.examples
    size = "" if cut is None or examples is None or cut.full else named(examples)
    if cut is not None and (not split or size is None):
        return None
    room = {n: aligned_copy(cut.arrays[n][: cut.batch_size]) for n in split} if cut else {}
    given = {**runner.arrays, **arrays, **room}
    bound = caller.bind({name: given[label] for label, name in names.items()})
    if not bound.in_a_row(columns):
        return None
    if cut is None:
        return Loop(bound, None, columns)
    streamed = {names[n]: arrays[n] for n in split}
    seed = 0 if orders else cut.seed
    batches = Batches(streamed, cut.batch_size, seed, size or "", cut.visited)
    return Loop(bound, batches, columns)


def named(examples: Examples) -> str | None:
    """The name of the dimension that is the batch's size; None where it is no dimension alone."""
    atom = examples.dim.atom
    return atom.name if isinstance(atom, Dim) else None
