"""Targets, machine code, and what is in an object file."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from codegen.functions import FUNCTIONS
from codegen.llvm.build import assembly, load, object_code
from codegen.llvm.build import compile as compiled
from codegen.llvm.emit import emit
from codegen.llvm.target import SHIPPED, X86_64_AVX512, Target, host
from codegen.loops.directives import Vectorise
from codegen.loops.from_program import from_program
from codegen.loops.nest import Loops
from codegen.loops.schedule import applied
from codegen.program import Dtype
from tests.codegen.building import Building, call
from tests.codegen.test_llvm_emit import tiled


def every_function(dtype: Dtype, lanes: bool) -> Loops:
    """out_<name>[n] = the function of x and y."""
    p = Building("f", dtype=dtype, n=16)
    arrays = [p.declare(name, "n") for name in "xy"]
    for name, row in FUNCTIONS.items():
        kind: Dtype = "bool" if row.result == "bool" else dtype
        p.step(
            f"out_{name}", "n", "=",
            lambda n, row=row: call(row.name, *(a[n] for a in arrays[: row.arity])),
            dtype=kind,
        )  # fmt: skip
    loops = from_program(p.done(*(f"out_{name}" for name in FUNCTIONS)))
    wide = [Vectorise(f"out_{name}", "n") for name in FUNCTIONS] if lanes else []
    return applied(loops, wide)


def undefined(code: bytes) -> list[str]:
    """The names that an object file (64-bit ELF) wants from elsewhere."""
    assert code[:6] == b"\x7fELF\x02\x01"
    offset, size, count = (
        *struct.unpack_from("<Q", code, 40),
        *struct.unpack_from("<HH", code, 58),
    )
    heads = [struct.unpack_from("<IIQQQQIIQQ", code, offset + n * size) for n in range(count)]
    found = []
    for kind, start, length, link in ((h[1], h[4], h[5], h[6]) for h in heads):
        if kind != 2:  # a table of symbols
            continue
        names = heads[link][4]
        for at in range(start, start + length, 24):
            name, section = (
                struct.unpack_from("<I", code, at)[0],
                struct.unpack_from("<H", code, at + 6)[0],
            )
            if name and not section:
                found.append(code[names + name : code.index(0, names + name)].decode())
    return found


@pytest.mark.parametrize("lanes", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", list(SHIPPED))
def test_no_function_of_a_library_is_called(target: str, dtype: Dtype, lanes: bool) -> None:
    """On machines without rounding or fused multiply-add as well."""
    chosen = SHIPPED[target]
    code = object_code(emit(every_function(dtype, lanes), chosen), chosen)
    assert [n for n in undefined(code) if n != "_GLOBAL_OFFSET_TABLE_"] == []


def test_the_host_is_a_target() -> None:
    here = host()
    assert here.lanes(32) == here.vector_bytes // 4 == 2 * here.lanes(64)
    assert here.registers in (16, 32)
    assert compiled(emit(tiled(batch=8), here), here).address("dense")


def test_a_target_needs_no_llvmlite() -> None:
    code = (
        "import sys; import codegen.llvm.emit, codegen.llvm.build; print('llvmlite' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_inner_loop_of_a_tile_is_loads_and_fused_multiply_adds() -> None:
    """Nothing is spilled, no address is computed but two counters."""
    text = assembly(emit(tiled(batch=4, pixel=64, unit=16), X86_64_AVX512), X86_64_AVX512)
    at = text.index("vfmadd")
    start, end = text.rindex(".LBB", 0, at), text.index("jl", at)
    lines = [line.split()[0] for line in text[start:end].splitlines()[1:] if line.strip()]
    assert lines.count("vfmadd231ps") == 4
    assert len(lines) <= 4 + 4


def test_text_that_is_not_valid_is_refused_in_the_words_of_llvm() -> None:
    with pytest.raises(RuntimeError, match="expected instruction opcode"):
        compiled("define void @f(ptr %context) {\nentry:\n  nonsense\n}\n", host())


def test_an_entry_keeps_its_code() -> None:
    p = Building("f", dtype="float64")
    p.step("out", "", "=", lambda: call("sqrt", 16))
    here = host()
    entry = load(object_code(emit(from_program(p.done("out")), here), here), ("f",)).entry("f")
    out = np.zeros((), np.float64)
    context = np.array([out.ctypes.data])
    entry(context.ctypes.data)
    assert out == 4


def test_targets_are_compared_by_what_they_are() -> None:
    same: Target = replace(X86_64_AVX512)
    assert same == X86_64_AVX512
    assert object_code(emit(tiled(batch=8), same), same) == object_code(
        emit(tiled(batch=8), X86_64_AVX512), X86_64_AVX512
    )
