"""Formulas of functions as machine code: to the bit what NumPy makes of them, and, in float32, for
every number there is."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import pytest

from codegen.functions import FUNCTIONS
from codegen.llvm.emit import emit
from codegen.loops.directives import Vectorise
from codegen.loops.from_program import from_program
from codegen.loops.schedule import apply
from codegen.program import Call, Load
from codegen.vector_math import FORMULAS, expand
from tests.codegen.building import Building, S
from tests.codegen.scalar_arrays import Array, evaluate
from tests.codegen.test_vector_math import DTYPES, FUSED, OF_ONE, Kind, stated, wide

pytest.importorskip("llvmlite")

from codegen.llvm.build import compile as build
from codegen.llvm.target import host

CHUNK = 1 << 16


def machine_code(name: str, dtype: Kind, count: int, fused: bool) -> Callable[[Array], Array]:
    """The function on arrays of ``count`` numbers, in vectors of the machine."""
    kind, target = np.dtype(dtype).name, host()
    lanes = target.vector_bytes // np.dtype(dtype).itemsize
    p = Building("f", "", kind, block=count // lanes, lane=lanes)  # type: ignore[arg-type]
    x, y = p.declare("x", "block lane"), p.declare("y", "block lane")
    arguments = (x, y)[: FUNCTIONS[name].arity]
    read = lambda b, i: S(Call(name, tuple(a[b, i].scalar for a in arguments)))  # noqa: E731
    p.step("z", "block lane", "=", read, "z = f(x, y)")
    loops = apply(from_program(p.done("z")), Vectorise("z", "lane"))
    entry = build(emit(loops, target, portable=not fused), target).entry("f")

    def run(*args: Array) -> Array:
        out = np.empty(count, dtype)
        given = [np.ascontiguousarray(a) for a in (*args, args[0])[:2]]
        words = [a.ctypes.data for a in (*given, out)]
        context = (ctypes.c_uint64 * len(words))(*words)
        entry(ctypes.addressof(context))
        return out

    return run


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fused", FUSED)
def test_machine_code_equals_the_formula_to_the_bit(name: str, dtype: Kind, fused: bool) -> None:
    kind, count = np.dtype(dtype).name, 1 << 12
    x = np.resize(np.concatenate([[0.0, -0.0, np.inf, -np.inf, np.nan], wide(dtype, 700)]), count)
    args = (x.astype(dtype), np.roll(x, 77).astype(dtype))[: FUNCTIONS[name].arity]
    found = machine_code(name, dtype, count, fused)(*args)
    loads = (Load("x"), Load("y"))[: len(args)]
    may = fused and host().fma
    root = expand(name, loads, kind, may)  # type: ignore[arg-type]
    expected = evaluate(root, dict(zip("xy", args, strict=False)))
    same = (found == expected) & (np.signbit(found) == np.signbit(expected))
    same |= np.isnan(found) & np.isnan(expected)
    assert same.all(), (args[0][~same][:3], found[~same][:3], expected[~same][:3])


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_ONE)
def test_every_float32_keeps_its_stated_bound(name: str) -> None:
    """Against the float64 formulas, which are measured against 400 digits."""
    row, exact = FUNCTIONS[name], machine_code(name, np.float64, CHUNK, True)
    forms = {fused: machine_code(name, np.float32, CHUNK, fused) for fused in FUSED}
    for high in range(1 << 16):
        bits = np.arange(high << 16, (high + 1) << 16, dtype=np.uint64).astype(np.uint32)
        x = bits.view(np.float32)
        with np.errstate(all="ignore"):
            ref = exact(x.astype(np.float64))
            power = (ref.view(np.int64) & 0x7FF0000000000000).view(np.float64)
            unit = np.maximum(power * 2.0**-23, 2.0**-149)
            over = np.abs(ref) >= 2.0**128 - 2.0**103
            for fused, run in forms.items():
                y = run(x)
                close = np.abs(y - ref) <= stated(name, np.float32, fused) * unit
                close &= (y >= row.low) & (y <= row.high)
                close |= (y == ref) | (np.isnan(y) & np.isnan(ref))
                close |= over & np.isinf(y) & (np.sign(y) == np.sign(ref))
                assert close.all(), (name, fused, x[~close][:3], y[~close][:3], ref[~close][:3])
