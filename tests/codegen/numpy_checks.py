"""What the tests of text backends share: programs under a name, arguments, a comparison.

In: a program. Out: random arguments for it; its NumPy text, after that gave what the interpreter
gives. ``Cases`` collects functions that make a program, with the line its text must have.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from building import Building

from codegen.build import build
from codegen.interpret import run
from codegen.numpy_text import emit
from codegen.program import Block, Cast, Program, Scan
from codegen.verify import verify

Case = Callable[[], tuple[Program, str]]


class Cases(list[Case]):
    """Functions that make a program, in the order of their text; a decorator adds one."""

    def __call__(self, make: Case) -> Case:
        self.append(make)
        return make


SIZES = {"batch": 3, "time": 4}


def arguments(program: Program, seed: int = 0, sizes: dict[str, int] | None = None) -> Any:
    """Random arguments of a program, by name."""
    from codegen.index import evaluate

    rng = np.random.default_rng(seed)
    out = {}
    for b in program.arguments:
        shape = [evaluate(d, {}, sizes or SIZES) for d in b.dims]
        if b.dtype.startswith("float"):
            array = rng.normal(size=shape)
        elif b.dtype == "bool":
            array = rng.random(shape) < 0.5
        else:
            low = 0 if b.low is None else evaluate(b.low, {}, sizes or SIZES)
            high = 5 if b.high is None else evaluate(b.high, {}, sizes or SIZES)
            array = rng.integers(low, high + 1, size=shape)
        if b.name.startswith("v_"):
            array = np.abs(array)
        out[b.name] = np.asarray(array, dtype=b.dtype)
    return out


def compare(program: Program, seed: int = 0, sizes: dict[str, int] | None = None) -> str:
    """The text, after it gave what the interpreter gives, without a warning."""
    verify(program)
    text = emit(program)
    assert max(map(len, text.splitlines())) <= 100
    assert emit(program) == text
    function = build(text, program.name)
    given = arguments(program, seed, sizes)
    kept = {k: v.copy() for k, v in given.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = function(*given.values())
    want = run(program, kept)
    got = got if len(program.outputs) > 1 else (got,)
    for name, array in zip(program.outputs, got, strict=True):
        buffer = program.buffer(name)
        assert array.dtype == buffer.dtype, (name, array.dtype)
        assert np.shape(array) == np.shape(want[name])
        near(array, want[name], buffer.dtype)
    for b in program.arguments:
        expected = want[b.name] if b.name in program.updates else kept[b.name]
        near(given[b.name], expected, b.dtype)
    return text


def near(got: Any, want: Any, dtype: str) -> None:
    tolerance = {"float32": 2e-5, "float64": 1e-11}.get(dtype, 0)
    np.testing.assert_allclose(
        np.asarray(got, float), np.asarray(want, float), rtol=tolerance, atol=tolerance
    )


def in_float64(program: Program) -> Program:
    """The same program with its float32 as float64."""
    from codegen.numpy_prepare import rewritten

    def wide(dtype: Any) -> Any:
        return "float64" if dtype == "float32" else dtype

    def scalar(s: Any) -> Any:
        return replace(s, dtype=wide(s.dtype)) if isinstance(s, Cast) else s

    steps = []
    for s in program.steps:
        if isinstance(s, Block | Scan):
            steps.append(replace(s, body=in_float64(s.body)))
        else:
            steps.append(
                replace(s, body=rewritten(s.body, scalar), accumulator=wide(s.accumulator))
            )
    buffers = tuple(replace(b, dtype=wide(b.dtype)) for b in program.buffers)
    return replace(program, buffers=buffers, steps=tuple(steps))


def image(p: Building) -> Any:
    return p.declare("x", "batch channel row column")


def unwrapped(ix: Any) -> Any:
    from codegen.program import IndexValue

    return IndexValue(ix)
