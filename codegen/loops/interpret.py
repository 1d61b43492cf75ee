"""A slow interpreter of LOOPS: nests run one turn after another, the oracle of schedules.

In: a Loops and arrays (or numbers) for its arguments by name. Out: the arrays of its outputs:
float64 for every float array, exact integers for the others.

Guarantees: it does what ``codegen.loops.nest`` says, with the arithmetic of the interpreter of
PROGRAM (``codegen.arithmetic``: double precision whatever the dtype, exact integers that wrap
where they are stored). Storage holds nothing at first: reading an element that nothing was stored
to is an ``UndefinedElement``, an index out of range an ``IndexError``; both name the array and the
index. ``order="reversed"`` runs the turns of every vector and parallel loop from the last to the
first, which a valid nest does not notice. The arguments are not changed.

It does not check a nest (``verify`` does) and does not become fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from codegen.arithmetic import FOLD, boxed, converter, unboxed
from codegen.evaluate import UNDEFINED, Evaluator, UndefinedElement, bind_sizes
from codegen.index import Loop
from codegen.loops.nest import Call, Declare, For, Kernel, Loops, Part, Stmt, Store, When
from codegen.program import Buffer, ReduceOp

__all__ = ["Order", "interpret", "run"]

Order: TypeAlias = Literal["forward", "reversed"]
Environment: TypeAlias = dict[str, np.ndarray]  # arrays of Python numbers (dtype object)
Frame: TypeAlias = dict[Loop, int]
Act: TypeAlias = Callable[[Frame], None]
Routine: TypeAlias = Callable[[Environment, Frame], Environment]

_FOLDS: dict[str, ReduceOp] = {"+=": "sum", "max=": "max", "min=": "min"}


def interpret(
    loops: Loops, arguments: Mapping[str, Any], order: Order = "forward"
) -> tuple[np.ndarray, ...]:
    """The outputs of a nest, in order.

    Raises UndefinedElement for an output with an element that nothing was stored to, and
    ValueError for arguments whose shapes do not fit.
    """
    values = run(loops, arguments, order)
    for name in loops.outputs:
        if name not in values:
            raise UndefinedElement(f"the output {name} has an element that nothing was stored to")
    return tuple(values[name] for name in loops.outputs)


def run(
    loops: Loops, arguments: Mapping[str, Any], order: Order = "forward"
) -> dict[str, np.ndarray]:
    """Every array of a nest after it ran: arguments (updated ones too), constants, scratch.

    An array with an element that nothing was stored to is left out.
    """
    handed: Environment = {}
    for b in loops.arguments:
        handed[b.name] = boxed(np.asarray(arguments[b.name]), b.dtype)
    shapes = {name: a.shape for name, a in handed.items()}
    sizes = bind_sizes(loops.name, loops.dims, loops.arguments, shapes)
    machine = _Machine(loops.kernels, sizes, order)
    env = machine.routine(loops.arrays, loops.body)(handed, {})
    return {b.name: unboxed(env[b.name], b.dtype) for b in loops.arrays if _full(env[b.name])}


def _full(array: np.ndarray) -> bool:
    return not any(value is UNDEFINED for value in array.flat)


def _empty(shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(shape, object)
    array.fill(UNDEFINED)
    return array


class _Machine:
    """Statements as functions of a frame (the values of the loops), for the sizes of one run."""

    def __init__(self, kernels: Sequence[Kernel], sizes: Mapping[str, int], order: Order) -> None:
        self.kernels = {k.name: k for k in kernels}
        self.sizes = sizes
        self.order = order
        self.routines: dict[str, Routine] = {}

    def routine(self, arrays: Sequence[Buffer], body: Sequence[Stmt]) -> Routine:
        """A body with storage of its own: a function of what it is handed and of the frame; it
        gives back all its arrays."""
        env: Environment = {}
        at = Evaluator({b.name: b for b in arrays}, env, self.sizes)
        shapes = {b.name: tuple(map(at.value, b.dims)) for b in arrays}
        act = self.block(body, at)

        def run(handed: Environment, frame: Frame) -> Environment:
            env.clear()
            env.update(handed)
            for b in arrays:
                if b.role == "constant" and b.data is not None:
                    env[b.name] = boxed(np.array(b.data, object).reshape(shapes[b.name]), b.dtype)
                elif b.name not in env:
                    env[b.name] = _empty(shapes[b.name])
                elif env[b.name].shape != shapes[b.name]:
                    found, wanted = env[b.name].shape, shapes[b.name]
                    raise ValueError(f"{b.name} is handed an array of {found}, expected {wanted}")
            act(frame)
            return env

        return run

    def block(self, stmts: Sequence[Stmt], at: Evaluator) -> Act:
        """Statements one after another; what they declare is known from there on."""
        acts: list[Act] = []
        for stmt in stmts:
            if isinstance(stmt, Declare):
                known = {**at.buffers, stmt.array.name: stmt.array}
                at = Evaluator(known, at.arrays, at.sizes)
            acts.append(self.stmt(stmt, at))
        if len(acts) == 1:
            return acts[0]

        def run(frame: Frame) -> None:
            for act in acts:
                act(frame)

        return run

    def stmt(self, stmt: Stmt, at: Evaluator) -> Act:
        match stmt:
            case Part():
                return self.block(stmt.body, at)
            case For():
                return self.loop(stmt, at)
            case When():
                hold, body = at.guards(stmt.guards), self.block(stmt.body, at)

                def guarded(frame: Frame) -> None:
                    if hold(frame):
                        body(frame)

                return guarded
            case Declare():
                name, shape = stmt.array.name, tuple(map(at.value, stmt.array.dims))

                def declare(frame: Frame) -> None:
                    at.arrays[name] = _empty(shape)

                return declare
            case Store():
                return self.store(stmt, at)
            case Call():
                return self.call(stmt, at)

    def loop(self, stmt: For, at: Evaluator) -> Act:
        extent, loop = at.value(stmt.loop.extent), stmt.loop
        low, high = [at.index(ix) for ix in stmt.low], [at.index(ix) for ix in stmt.high]
        body = self.block(stmt.body, at)
        backward = self.order == "reversed" and stmt.kind in ("vector", "parallel")

        def turns(frame: Frame) -> None:
            first = max([0, *(f(frame) for f in low)])
            turns = range(first, min([extent, *(f(frame) for f in high)]))
            for turn in reversed(turns) if backward else turns:
                frame[loop] = turn
                body(frame)

        return turns

    def store(self, stmt: Store, at: Evaluator) -> Act:
        name, arrays, dtype = stmt.target, at.arrays, at.buffers[stmt.target].dtype
        place, value = at.place(name, stmt.index), at.converted(stmt.value, dtype)
        if stmt.op == "=":

            def store(frame: Frame) -> None:
                arrays[name][place(frame)] = value(frame)

            return store
        old, fold, convert = at.element(name, stmt.index), FOLD[_FOLDS[stmt.op]], converter(dtype)

        def accumulate(frame: Frame) -> None:
            arrays[name][place(frame)] = convert(fold(old(frame), value(frame)))

        return accumulate

    def call(self, stmt: Call, at: Evaluator) -> Act:
        kernel = self.kernels[stmt.kernel]
        if kernel.name not in self.routines:
            arrays = (*kernel.arrays, *kernel.scratch)
            self.routines[kernel.name] = self.routine(arrays, kernel.body)
        routine = self.routines[kernel.name]
        integers = [at.index(ix) for ix in stmt.integers]

        def call(frame: Frame) -> None:
            handed = {
                b.name: at.arrays[a] for b, a in zip(kernel.arrays, stmt.arguments, strict=True)
            }
            values = (f(frame) for f in integers)
            routine(handed, dict(zip(kernel.integers, values, strict=True)))

        return call
