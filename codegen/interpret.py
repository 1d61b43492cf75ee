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

import math
import operator
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from codegen.dtypes import WIDTH, float_of, infer_dtype, is_float, is_unsigned
from codegen.functions import python_callable
from codegen.index import Dim, Guard, Ix, Loop, Source, constant, evaluate
from codegen.program import (
    And,
    Assign,
    Binary,
    Bitcast,
    Block,
    Buffer,
    BufferSource,
    Call,
    Cast,
    Compare,
    Dtype,
    Fma,
    IndexValue,
    Library,
    Load,
    MulHigh,
    Number,
    Or,
    Program,
    ReduceOp,
    Round,
    Scalar,
    Scan,
    Select,
    Shift,
    Unary,
    Xor,
)

__all__ = ["bind_dims", "interpret", "run"]

Value: TypeAlias = Any  # a Python float, int or bool
Point: TypeAlias = Mapping[Loop, int]
Environment: TypeAlias = dict[str, np.ndarray]  # arrays of Python numbers (dtype object)


def bind_dims(program: Program, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """The sizes of the program's dimensions, solved from the shapes of its arguments.

    Raises ValueError for a rank or size that does not fit, and for a dimension that no argument
    determines.
    """
    sizes: dict[str, int] = {}
    pending: list[tuple[str, Ix, int]] = []
    for buffer in program.arguments:
        shape = shapes[buffer.name]
        if len(shape) != len(buffer.dims):
            raise ValueError(f"{buffer.name} has {len(shape)} axes, expected {len(buffer.dims)}")
        pending += [(buffer.name, d, n) for d, n in zip(buffer.dims, shape, strict=True)]
    progress = True
    while progress:
        progress = False
        for name, extent, size in pending:
            unknown = [a for a in extent.atoms() if isinstance(a, Dim) and a.name not in sizes]
            if not unknown:
                if evaluate(extent, {}, sizes) != size:
                    raise ValueError(f"{name} has an axis of {size}, expected {extent!r}")
            elif len(unknown) == 1 and (k := extent.coefficient(unknown[0])):
                rest = size - evaluate(extent - unknown[0].ix() * k, {}, sizes)
                if rest % k:
                    raise ValueError(f"{name} has an axis of {size}, which is not {extent!r}")
                sizes[unknown[0].name] = rest // k
                progress = True
    missing = [d.name for d in program.dims if d.name not in sizes]
    if missing:
        raise ValueError(f"no argument of {program.name} determines {', '.join(missing)}")
    return sizes


def interpret(program: Program, arguments: Mapping[str, Any]) -> tuple[np.ndarray, ...]:
    """The outputs of a program, in order."""
    values = run(program, arguments)
    return tuple(values[name] for name in program.outputs)


def run(program: Program, arguments: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every buffer of a program after it ran: arguments (updated ones too), constants, scratch."""
    env: Environment = {}
    for buffer in program.arguments:
        env[buffer.name] = _boxed(np.asarray(arguments[buffer.name]), buffer.dtype)
    sizes = bind_dims(program, {name: a.shape for name, a in env.items()})
    _execute(program, env, sizes)
    return {b.name: _unboxed(env[b.name], b.dtype) for b in program.buffers if b.name in env}


def _boxed(array: np.ndarray, dtype: Dtype) -> np.ndarray:
    kind = float if is_float(dtype) else bool if dtype == "bool" else int
    box = np.empty(array.shape, object)
    for at in np.ndindex(array.shape):
        box[at] = kind(array[at])
    return box


def _unboxed(array: np.ndarray, dtype: Dtype) -> np.ndarray:
    return array.astype(np.float64 if is_float(dtype) else dtype)


def _execute(program: Program, env: Environment, sizes: Mapping[str, int]) -> None:
    buffers = {b.name: b for b in program.buffers}
    for b in program.buffers:
        if b.role == "constant":
            shape = tuple(evaluate(d, {}, sizes) for d in b.dims)
            env[b.name] = _boxed(np.array(b.data, object).reshape(shape), b.dtype)
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
        self.buffers = buffers
        self.env = env
        self.sizes = sizes
        self.target = buffers[step.target]

    def result(self) -> np.ndarray:
        step = self.step
        shape = tuple(self.ix(d, {}) for d in self.target.dims)
        out = np.empty(shape, object)
        out.fill(_identity(step.op, self.target.dtype))
        written: set[tuple[int, ...]] = set()
        body = _convert(self.compile(step.body, self.target.dtype), self.target.dtype)
        for point in self.points():
            if not all(self.holds(g, point) for g in step.guards):
                continue
            at = self.place(step.target, step.index, point, shape)
            value = body(point)
            if step.op == "=":
                if at in written:
                    raise IndexError(f"{step.target}{list(at)} is written twice")
                written.add(at)
                out[at] = value
            else:
                out[at] = _FOLD[step.op](out[at], value)
        return _wrapped(out, self.target.dtype)

    def points(self) -> Iterator[Point]:
        ranges = [range(self.ix(item.extent, {})) for item in self.step.loops]
        for values in product(*ranges):
            yield dict(zip(self.step.loops, values, strict=True))

    def ix(self, ix: Ix, point: Point) -> int:
        return evaluate(ix, point, self.sizes, self.gather)

    def gather(self, source: Source, at: tuple[int, ...]) -> int:
        assert isinstance(source, BufferSource)
        array = self.env[source.buffer]
        found: int = array[self.place(source.buffer, [constant(i) for i in at], {}, array.shape)]
        return found

    def place(
        self, name: str, index: Sequence[Ix], point: Point, shape: tuple[int, ...]
    ) -> tuple[int, ...]:
        at = tuple(self.ix(i, point) for i in index)
        if len(at) != len(shape) or not all(0 <= i < n for i, n in zip(at, shape, strict=True)):
            raise IndexError(f"{name}{list(at)} is outside of its shape {shape}")
        return at

    def holds(self, guard: Guard, point: Point) -> bool:
        value = self.ix(guard.ix, point)
        return value >= 0 if guard.kind == ">=" else value == 0

    def dtype(self, scalar: Scalar, context: Dtype | None = None) -> Dtype:
        return infer_dtype(scalar, self.buffers, context)

    def compile(self, scalar: Scalar, context: Dtype) -> Callable[[Point], Value]:
        """The scalar as a function of the loops; bare numbers take the context's dtype."""
        own = self.dtype(scalar, context)

        def at(x: Scalar, dtype: Dtype = own) -> Callable[[Point], Value]:
            return _convert(self.compile(x, dtype), dtype)

        def wrap(value: Value) -> Value:
            return value % (1 << WIDTH[own]) if is_unsigned(own) else value

        match scalar:
            case Number(value):
                number = _number(value, own)
                return lambda p: number
            case Load(name, indices, guards):
                return lambda p: (
                    self.env[name][self.place(name, indices, p, self.env[name].shape)]
                    if all(self.holds(g, p) for g in guards)
                    else _number(Fraction(0), own)
                )
            case IndexValue(ix):
                return lambda p: self.ix(ix, p)
            case Unary("-", x):
                f = at(x)
                return lambda p: wrap(-f(p))
            case Unary(_, x):
                f = at(x, "bool")
                return lambda p: not f(p)
            case Binary(op, a, b):
                f, g = at(a), at(b)
                binary = _BINARY[op]
                return lambda p: wrap(binary(f(p), g(p)))
            case Compare(op, a, b):
                both = self.dtype(Binary("+", a, b))
                f, g = at(a, both), at(b, both)
                compare = _COMPARE[op]
                return lambda p: compare(f(p), g(p))
            case Select(c, a, b):
                condition, f, g = at(c, "bool"), at(a), at(b)
                return lambda p: f(p) if condition(p) else g(p)
            case Call(name, args):
                function = python_callable(name)
                kind = own if own != "bool" else float_of(self.buffers.values())
                fs = [at(a, kind) for a in args]
                return lambda p: function(*(f(p) for f in fs))
            case Cast(dtype, x):
                return _convert(self.compile(x, self.dtype(x, dtype)), dtype)
            case Fma(a, b, c):
                f, g, h = at(a), at(b), at(c)
                return lambda p: _fma(f(p), g(p), h(p))
            case Bitcast(dtype, x):
                f, kind = at(x, self.dtype(x, None)), self.dtype(x, None)
                return lambda p: _bitcast(f(p), kind, dtype)
            case Shift(x, places):
                f, width = at(x), WIDTH[own]
                return lambda p: _from_bits(_shift(_bits(f(p), width), places, width), own)
            case And(a, b) | Or(a, b) | Xor(a, b):
                f, g, combine = at(a), at(b), _BITS[type(scalar)]
                return lambda p: combine(f(p), g(p))
            case Round(x):
                f = at(x)
                return lambda p: float(round(v)) if math.isfinite(v := f(p)) else v
            case MulHigh(a, b):
                f, g = at(a), at(b)
                return lambda p: f(p) * g(p) >> WIDTH[own]


def _number(value: Fraction | str, dtype: Dtype) -> Value:
    if is_float(dtype):
        return float(value)
    return bool(value) if dtype == "bool" else int(Fraction(value))


def _convert(f: Callable[[Point], Value], dtype: Dtype) -> Callable[[Point], Value]:
    if is_float(dtype):
        return lambda p: float(f(p))
    if dtype == "bool":
        return lambda p: bool(f(p))
    return lambda p: _from_bits(_bits(int(f(p)), WIDTH[dtype]), dtype)


def _bits(value: int, width: int) -> int:
    return int(value) % (1 << width)


def _from_bits(bits: int, dtype: Dtype) -> Value:
    if dtype == "bool":
        return bool(bits)
    if is_unsigned(dtype) or bits < 1 << (WIDTH[dtype] - 1):
        return bits
    return bits - (1 << WIDTH[dtype])


def _shift(bits: int, places: int, width: int) -> int:
    return (bits << places) % (1 << width) if places >= 0 else bits >> -places


def _bitcast(value: Value, old: Dtype, new: Dtype) -> Value:
    code: dict[Dtype, str] = {
        "float32": "<f",
        "float64": "<d",
        "int32": "<i",
        "int64": "<q",
        "uint32": "<I",
        "uint64": "<Q",
        "bool": "<?",
    }
    return struct.unpack(code[new], struct.pack(code[old], value))[0]


def _fma(a: float, b: float, c: float) -> float:
    if all(map(math.isfinite, (a, b, c))):
        try:
            return float(Fraction(a) * Fraction(b) + Fraction(c))
        except OverflowError:
            pass
    return a * b + c


def _divide(a: float, b: float) -> float:
    if b != 0:
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def _raise_to(a: Value, b: Value) -> Value:
    return python_callable("power")(a, b) if isinstance(a, float) else a**b


def _identity(op: ReduceOp, dtype: Dtype) -> Value:
    if op in ("=", "sum"):
        return _number(Fraction(0), dtype)
    if is_float(dtype):
        return -math.inf if op == "max" else math.inf
    if dtype == "bool":
        return op == "min"
    limits = np.iinfo(dtype)
    return int(limits.min if op == "max" else limits.max)


def _wrapped(array: np.ndarray, dtype: Dtype) -> np.ndarray:
    if not is_float(dtype) and dtype != "bool":
        for at in np.ndindex(array.shape):
            value: Value = array[at]
            array[at] = _from_bits(_bits(value, WIDTH[dtype]), dtype)
    return array


_FOLD: dict[ReduceOp, Callable[[Value, Value], Value]] = {
    "sum": operator.add,
    "max": python_callable("maximum"),
    "min": python_callable("minimum"),
}
_BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "**": _raise_to,
}
_COMPARE: dict[str, Callable[[Value, Value], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}
_BITS: dict[type, Callable[[Value, Value], Value]] = {
    And: operator.and_,
    Or: operator.or_,
    Xor: operator.xor,
}
