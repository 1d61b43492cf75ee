"""The definition of an ``Assign``, word for word, and random programs of one step to try it on."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from typing import Any

import numpy as np

from codegen.functions import python_callable
from codegen.index import (
    Dim,
    Guard,
    Ix,
    Loop,
    as_ix,
    constant,
    evaluate,
    floordiv,
    gather,
    guard,
    loop,
    mod,
)
from codegen.program import (
    Assign,
    Binary,
    Buffer,
    BufferSource,
    Call,
    Cast,
    Compare,
    IndexValue,
    Load,
    Number,
    Program,
    Scalar,
    Select,
    Unary,
)

Arrays = dict[str, np.ndarray[Any, Any]]


def run_assign(program: Program, step: Assign, arrays: Arrays, dims: dict[str, int]) -> Any:
    """The target of one step by plain loops over Python numbers."""

    def at(ix: Ix, env: dict[Loop, int]) -> int:
        return evaluate(ix, env, dims, lambda s, where: int(arrays[s.name][where]))

    def holds(guards: tuple[Guard, ...], env: dict[Loop, int]) -> bool:
        return all(at(g.ix, env) >= 0 if g.kind == ">=" else at(g.ix, env) == 0 for g in guards)

    def value(s: Scalar, env: dict[Loop, int]) -> Any:
        match s:
            case Number(v):
                return float(v)
            case Load(name, indices, guards):
                if not holds(guards, env):
                    return 0.0
                where = tuple(at(i, env) for i in indices)
                assert all(0 <= w < n for w, n in zip(where, arrays[name].shape, strict=True))
                return float(arrays[name][where])
            case IndexValue(ix):
                return float(at(ix, env))
            case Unary("-", x):
                return -value(x, env)
            case Unary(_, x):
                return not value(x, env)
            case Binary(op, x, y):
                a, b = value(x, env), value(y, env)
                if op == "/":
                    return a / b if b else math.nan
                return {"+": a + b, "-": a - b, "*": a * b, "**": a**b if op == "**" else 0}[op]
            case Compare(op, x, y):
                a, b = value(x, env), value(y, env)
                return {"<": a < b, "<=": a <= b, "==": a == b, ">": a > b, ">=": a >= b}[op]
            case Select(c, x, y):
                return value(x, env) if value(c, env) else value(y, env)
            case Call(name, args):
                return python_callable(name)(*(value(a, env) for a in args))
            case Cast(_, x):
                return value(x, env)
        raise NotImplementedError(type(s))

    target = program.buffer(step.target)
    start = {"=": 0.0, "sum": 0.0, "max": -math.inf, "min": math.inf}[step.op]
    out = np.full([at(d, {}) for d in target.dims], start)
    ranges = [range(at(v.extent, {})) for v in step.loops]
    for point in itertools.product(*ranges):
        env = dict(zip(step.loops, point, strict=True))
        if holds(step.guards, env):
            place = tuple(at(i, env) for i in step.index)
            new = float(value(step.body, env))
            old = out[place]
            combined = {"=": new, "sum": old + new, "max": max(old, new), "min": min(old, new)}
            out[place] = combined[step.op]
    return out


def random_step(seed: int, batch: Dim) -> tuple[Program, Arrays, dict[str, int]]:
    """A valid program of one step: random loops, positions, guards, gathers and bodies."""
    rng = random.Random(seed)
    data = np.random.default_rng(seed)
    n = rng.choice([1, 2, 3, 5])
    choices = [constant(1), constant(2), constant(3), constant(4), batch.ix()]
    extents = [rng.choice(choices) for _ in range(rng.randint(1, 4))]
    loops = tuple(loop(k, e) for k, e in enumerate(extents))
    dims = {batch.name: n}
    buffers: list[Buffer] = [Buffer("x", (batch.ix(),), ("batch",), "float64", "input")]
    arrays: Arrays = {"x": data.normal(size=n)}

    def position(depth: int = 0) -> Ix:
        kind = rng.randint(0, 9)
        v = rng.choice(loops).ix()
        if kind <= 4:
            return v
        if kind == 5:
            return v * rng.choice([-2, -1, 2, 3]) + rng.randint(-2, 2)
        if kind == 6:
            return v + rng.choice(loops).ix() * rng.choice([-1, 1, 2]) + rng.randint(-1, 2)
        if kind == 7:
            return floordiv(v * 3 + rng.choice(loops).ix() + rng.randint(0, 2), rng.randint(2, 3))
        if kind == 8:
            return mod(v * 2 + rng.choice(loops).ix() + rng.randint(0, 2), rng.randint(2, 4))
        if depth == 0:
            name = f"n{len(buffers)}"
            at, extent, guards = placed(position(1))
            if not guards:
                buffers.append(
                    Buffer(name, (extent,), ("",), "int64", "input", "", constant(0), constant(3))
                )
                arrays[name] = data.integers(0, 4, size=evaluate(extent, {}, dims))
                return gather(BufferSource(name, constant(0), constant(3)), (at,))
        return constant(rng.randint(0, 3))

    def span(ix: Ix) -> tuple[int, int]:
        values = []
        for point in itertools.product(*[range(evaluate(v.extent, {}, dims)) for v in loops]):
            env = dict(zip(loops, point, strict=True))
            values.append(evaluate(ix, env, dims, lambda s, w: int(arrays[s.name][w])))
        return (min(values), max(values))

    def placed(ix: Ix) -> tuple[Ix, Ix, tuple[Guard, ...]]:
        """A position, an extent it stays in, and guards where it needs them."""
        low, high = span(ix)
        if len(ix.terms) == 1 and isinstance(ix.terms[0][0], Loop) and rng.random() < 0.7:
            atom, k = ix.terms[0]
            if k == 1 and ix.const == 0:
                return ix, atom.extent, ()
        if rng.random() < 0.5:
            extent = constant(rng.randint(1, max(1, high)))
            raw = [guard(ix, ">="), guard(extent - 1 - ix, ">=")]
            if any(g is False for g in raw):
                return constant(0), constant(2), ()
            return ix, extent, tuple(g for g in raw if isinstance(g, Guard))
        ix = ix - min(low, 0)
        return ix, constant(high - min(low, 0) + 1 + rng.randint(0, 1)), ()

    node_guards: list[Guard] = []

    def read() -> Scalar:
        name = f"a{len(buffers)}"
        parts = [placed(position()) for _ in range(rng.randint(0, 3))]
        dtype = rng.choice(["float64", "float64", "float64", "int64"])
        extents_ = tuple(p[1] for p in parts)
        buffers.append(Buffer(name, extents_, ("",) * len(parts), dtype, "input"))
        shape = [evaluate(e, {}, dims) for e in extents_]
        arrays[name] = (
            data.normal(size=shape) if dtype == "float64" else data.integers(-3, 4, size=shape)
        )
        guards = tuple(dict.fromkeys(g for p in parts for g in p[2]))
        if guards and rng.random() < 0.3:
            node_guards.extend(guards)
            guards = ()
        return Load(name, tuple(p[0] for p in parts), guards)

    def scalar(depth: int) -> Scalar:
        kind = rng.randint(0, 11)
        if depth == 0 or kind <= 2:
            return read()
        if kind <= 6:
            op = rng.choice(["+", "-", "*", "*"])
            return Binary(op, scalar(depth - 1), scalar(depth - 1))  # type: ignore[arg-type]
        if kind == 7:
            return Call("maximum", (scalar(depth - 1), Number(Fraction(1, 3))))
        if kind == 8:
            return Select(
                Compare(rng.choice(["<", ">="]), scalar(0), Number(Fraction(0))),
                Call("log", (scalar(depth - 1),)) if rng.random() < 0 else scalar(depth - 1),
                Number(Fraction(1, 2)),
            )
        if kind == 9:
            return Cast("float64", IndexValue(position(1)))
        if kind == 10:
            return Binary("**", scalar(depth - 1), Number(Fraction(rng.randint(2, 3))))
        return Unary("-", scalar(depth - 1))

    body = Binary("+", scalar(rng.randint(0, 3)), Number(Fraction(1, 4)))
    if rng.random() < 0.5:
        body = body.left  # type: ignore[assignment]
    if rng.random() < 0.3:
        extra = guard(
            rng.choice(loops).ix() - rng.choice(loops).ix() + rng.randint(-1, 1),
            rng.choice([">=", "=="]),  # type: ignore[arg-type]
        )
        if isinstance(extra, Guard):
            node_guards.append(extra)
    op = rng.choice(["=", "sum", "sum", "max", "min"])
    if rng.random() < 0.65 or op == "=":
        chosen = list(loops)
        rng.shuffle(chosen)
        if op != "=":
            chosen = chosen[: rng.randint(0, len(chosen))]
        index = [v.ix() for v in chosen]
        target_dims = [v.extent for v in chosen]
        if op == "=" and rng.random() < 0.4 and index:
            index[0] = index[0] * 2 + 1
            target_dims[0] = target_dims[0] * 2 + 1
    else:
        index, target_dims = [], []
        for _ in range(rng.randint(1, 2)):
            at, extent, guards = placed(position())
            node_guards.extend(guards)
            index.append(at)
            target_dims.append(extent)
    buffers.append(
        Buffer(
            "out", tuple(as_ix(d) for d in target_dims), ("",) * len(index), "float64", "scratch"
        )
    )
    step = Assign(
        "out",
        tuple(index),
        op,
        loops,
        tuple("ijkl"[: len(loops)]),  # type: ignore[arg-type]
        tuple(dict.fromkeys(node_guards)),
        body,
        "float64",
        "",
    )
    program = Program("f", "", (batch,), tuple(buffers), (step,), ("out",))
    return program, arrays, dims
