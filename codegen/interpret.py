"""A slow interpreter of PROGRAM: plain loops over Python numbers, the second oracle of backends.

In: a Program and arrays (or numbers) for its arguments by name. Out: the arrays of its outputs:
float64 for every float buffer, exact integers for the others.

Guarantees: it does what ``codegen.program`` says, point by point, in the order of the loops, and
shares nothing with a backend but the table of functions. Floats are computed in double precision
whatever the program's dtype (a cast between floats changes nothing; only a bitcast rounds to its
width), so a float32 backend is compared with more digits than it has. An index out of range is an
``IndexError`` that names the buffer. Its arguments are not changed.

It does not become fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from codegen.arithmetic import FOLD, boxed, converter, identity, unboxed
from codegen.dtypes import is_float
from codegen.evaluate import Evaluator, Point, bind_sizes
from codegen.index import Loop, evaluate
from codegen.program import Assign, Block, Buffer, Dtype, Library, Program, Scan

__all__ = ["bind_dims", "interpret", "run"]

Environment: TypeAlias = dict[str, np.ndarray]  # arrays of Python numbers (dtype object)


def bind_dims(program: Program, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The sizes of the program's dimensions, solved from the shapes of its arguments.

    Raises ValueError for a rank or size that does not fit, and for a dimension that no argument
    determines.
    """
    return bind_sizes(program.name, program.dims, program.arguments, shapes)


def interpret(program: Program, arguments: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    """The outputs of a program, in order."""
    values = run(program, arguments)
    return tuple(values[name] for name in program.outputs)


def run(program: Program, arguments: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every buffer of a program after it ran: arguments (updated ones too), constants, scratch."""
    env: Environment = {}
    for buffer in program.arguments:
        env[buffer.name] = boxed(np.asarray(arguments[buffer.name]), buffer.dtype)
    sizes = bind_dims(program, {name: a.shape for name, a in env.items()})
    _execute(program, env, sizes)
    return {b.name: unboxed(env[b.name], b.dtype) for b in program.buffers if b.name in env}


def _execute(program: Program, env: Environment, sizes: Mapping[str, int]) -> None:
    buffers = {b.name: b for b in program.buffers}
    for b in program.buffers:
        if b.role == "constant":
            shape = tuple(evaluate(d, {}, sizes) for d in b.dims)
            env[b.name] = boxed(np.array(b.data, object).reshape(shape), b.dtype)
    for step in program.steps:
        match step:
            case Assign():
                env[step.target] = _Assignment(step, buffers, env, sizes).result()
            case Block():
                found = _call(step.body, [env[a] for a in step.arguments], sizes)
                env.update(zip(step.targets, found, strict=True))
            case Scan():
                env.update(zip(step.targets, _scan(step, env, sizes), strict=True))
            case Library():
                raise NotImplementedError(f"the interpreter does not have {step.atom}")


def _call(
    body: Program, arguments: Sequence[np.ndarray], outer: Mapping[str, int]
) -> list[np.ndarray]:
    env = {b.name: a for b, a in zip(body.arguments, arguments, strict=True)}
    known = {name: a.shape for name, a in env.items()}
    try:
        sizes = bind_dims(body, known)
    except ValueError:  # a dimension of the body that only its caller can tell
        sizes = {d.name: outer[d.name] for d in body.dims}
    _execute(body, env, sizes)
    return [env[name] for name in body.outputs]


def _scan(step: Scan, env: Environment, sizes: Mapping[str, int]) -> list[np.ndarray]:
    length = evaluate(step.length, {}, sizes)
    carries = [env[c] for c in step.carries]
    constants = [env[c] for c in step.constants]
    stacked = step.body.outputs[len(carries) :]
    rows: list[list[np.ndarray]] = [[] for _ in stacked]
    for t in reversed(range(length)) if step.reverse else range(length):
        slices = [np.asarray(env[s][t], object) for s in step.slices]
        found = _call(step.body, [*carries, *slices, *constants], sizes)
        carries = found[: len(carries)]
        for row, value in zip(rows, found[len(carries) :], strict=True):
            row.append(value)
    out = list(carries)
    for name, row in zip(stacked, rows, strict=True):
        shape = tuple(evaluate(d, {}, sizes) for d in step.body.buffer(name).dims)
        whole = np.empty((length, *shape), object)
        for t, value in enumerate(reversed(row) if step.reverse else row):
            whole[t] = value if value.ndim else value[()]
        out.append(whole)
    return out


class _Assignment:
    """One ``Assign`` being run."""

    def __init__(
        self,
        step: Assign,
        buffers: Mapping[str, Buffer],
        env: Environment,
        sizes: Mapping[str, int],
    ) -> None:
        self.step = step
        self.target = buffers[step.target]
        self.at = Evaluator(buffers, env, sizes)

    def result(self) -> np.ndarray:
        """The whole target."""
        step, dtype = self.step, self.target.dtype
        out = np.empty(tuple(map(self.at.value, self.target.dims)), object)
        out.fill(identity(step.op, dtype))
        written: set[tuple[int, ...]] = set()
        holds = self.at.guards(step.guards)
        place = self.at.place(step.target, step.index, out)
        body = self.at.converted(step.body, dtype)
        for point in self.points():
            if not holds(point):
                continue
            at = place(point)
            value = body(point)
            if step.op == "=":
                if at in written:
                    raise IndexError(f"{step.target}{list(at)} is written twice")
                written.add(at)
                out[at] = value
            else:
                out[at] = FOLD[step.op](out[at], value)
        return _wrapped(out, dtype)

    def points(self) -> Iterator[Point]:
        """The points of the loops; one mapping, which the next point changes."""
        loops = self.step.loops
        point: dict[Loop, int] = {}
        for values in product(*(range(self.at.value(item.extent)) for item in loops)):
            point.update(zip(loops, values, strict=True))
            yield point


def _wrapped(array: np.ndarray, dtype: Dtype) -> np.ndarray:
    if not is_float(dtype) and dtype != "bool":
        convert = converter(dtype)
        for at in np.ndindex(array.shape):
            array[at] = convert(array[at])
    return array
