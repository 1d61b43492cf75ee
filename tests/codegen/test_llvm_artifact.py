"""Libraries for C: what their functions refuse, how they lie in memory, what an object may hold."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.aligned import aligned
from codegen.c_names import C_WORDS, CNames, c_comment
from codegen.index import constant
from codegen.llvm import artifact_link
from codegen.llvm.artifact import Library, Source, library
from codegen.llvm.artifact_elf import archive, faults, read
from codegen.llvm.artifact_entry import ALIGNED, KINDS, LARGEST, MEMORY, NULL, SIZE, VALUE, Entry
from codegen.llvm.artifact_header import header
from codegen.llvm.artifact_link import shared
from codegen.llvm.artifact_machine import architecture, needed, refusal
from codegen.llvm.build import load, object_code
from codegen.llvm.target import AARCH64_NEON, SHIPPED, X86_64_AVX2, X86_64_SSE2, host
from codegen.program import Program
from tests.codegen.building import Building, mlp_training

CC = shutil.which("cc")


def scaled() -> Program:
    """out = table[pick] * x over two named sizes; total = sum of it; w, a parameter, doubles."""
    p = Building("scaled", "scaled: out, total.", dtype="float32", batch=None, time=None, kind=4)
    x = p.declare("x", "batch time")
    pick = p.declare("pick", "batch", dtype="int32", classes=4)
    w = p.declare("w", "kind", "parameter")
    out = p.step("out", "batch time", "=", lambda b, t: x[b, t] * (pick[b] + 1))
    total = p.step("total", "", "sum batch time", lambda b, t: out[b, t])
    p.step(w, "kind", "=", lambda k: w[k] * 2)
    return p.done(out, total)


@cache
def made(program: str = "scaled", target: str = "host") -> Library:
    chosen = host() if target == "host" else SHIPPED[target]
    if program == "scaled":
        return library("model", [Source("step", scaled(), ("out", "total"))], chosen)
    found = mlp_training()
    return library("model", [Source("step", found, found.outputs)], chosen)


class Called:
    """The functions of an entry in this process."""

    def __init__(self, found: Library) -> None:
        self.entry: Entry = found.entries[0]
        self.code = load(found.object, found.functions)
        sizes = [ctypes.c_int64] * len(self.entry.sizes)
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        run = ctypes.CFUNCTYPE(ctypes.c_int32, *sizes, pointer, pointer, size)
        self.run = run(self.code.address(self.entry.symbol))
        memory = ctypes.CFUNCTYPE(size, *sizes)
        self.memory = memory(self.code.address(f"{self.entry.symbol}_memory"))
        message = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_int32)
        self.message = message(self.code.address(f"{found.name}_message"))

    def table(self, arrays: Mapping[str, np.ndarray]) -> Any:
        addresses = [arrays[a.name].ctypes.data for a in self.entry.arrays]
        return (ctypes.c_void_p * len(addresses))(*addresses)

    def __call__(self, *sizes: int, **arrays: np.ndarray) -> int:
        memory = aligned(self.memory(*sizes))
        return int(self.run(*sizes, self.table(arrays), memory.ctypes.data, memory.nbytes))


def arrays(batch: int = 3, time: int = 5) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=(batch, time)).astype(np.float32),
        "pick": rng.integers(0, 4, batch).astype(np.int32),
        "w": np.arange(4, dtype=np.float32),
        "out": np.full((batch, time), np.nan, np.float32),
        "total": np.full((), np.nan, np.float32),
    }


# --- calls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 70])
def test_a_call_fills_the_outputs_and_changes_what_is_updated(batch: int) -> None:
    call, given = Called(made()), arrays(batch)
    assert call(batch, 5, **given) == 0
    wanted = given["x"] * (given["pick"] + 1)[:, None]
    np.testing.assert_allclose(given["out"], wanted, rtol=1e-6)
    np.testing.assert_allclose(given["total"], wanted.sum(), rtol=1e-4)
    np.testing.assert_array_equal(given["w"], [0, 2, 4, 6])


def refusals() -> dict[str, tuple[int, Any]]:
    """What is wrong with a call: the code that is expected, a change of (sizes, table, memory)."""

    def sizes(*values: int) -> Any:
        return lambda s, t, m: (list(values), t, m)

    def entry(n: int, change: Any) -> Any:
        def changed(s: Any, t: Any, m: Any) -> Any:
            t[n] = change(t[n])
            return s, t, m

        return changed

    return {
        "no arrays": (NULL.code, lambda s, t, m: (s, None, m)),
        "no x": (1 << 8 | NULL.code, entry(0, lambda a: None)),
        "no total": (5 << 8 | NULL.code, entry(4, lambda a: None)),
        "pick is crooked": (2 << 8 | ALIGNED.code, entry(1, lambda a: a + 2)),
        "batch 0": (1 << 8 | SIZE.code, sizes(0, 5)),
        "batch below 0": (1 << 8 | SIZE.code, sizes(-(2**63), 5)),
        "time 0": (2 << 8 | SIZE.code, sizes(3, 0)),
        "time too large": (2 << 8 | SIZE.code, sizes(3, LARGEST + 1)),
        "no memory": (MEMORY.code, lambda s, t, m: (s, t, (None, m[1]))),
        "memory is crooked": (MEMORY.code, lambda s, t, m: (s, t, (m[0] + 32, m[1]))),
        "memory is a byte short": (MEMORY.code, lambda s, t, m: (s, t, (m[0], m[1] - 1))),
        "memory of nothing": (MEMORY.code, lambda s, t, m: (s, t, (m[0], 0))),
    }


@pytest.mark.parametrize("what", list(refusals()))
def test_a_wrong_call_is_refused_and_writes_nothing(what: str) -> None:
    call, given = Called(made()), arrays()
    before = {name: array.tobytes() for name, array in given.items()}
    memory = aligned(call.memory(3, 5))
    memory[:] = 0x5A
    code, change = refusals()[what]
    handed = [3, 5], call.table(given), (memory.ctypes.data, memory.nbytes)
    sizes, table, room = change(*handed)
    assert call.run(*sizes, table, *room) == code
    assert {name: array.tobytes() for name, array in given.items()} == before
    assert (memory == 0x5A).all()


@pytest.mark.parametrize("value", [-1, 4, -(2**31), 2**31 - 1])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_integer_out_of_its_range_is_refused(value: int, place: int) -> None:
    call, given = Called(made()), arrays()
    given["pick"][place] = value
    assert call(3, 5, **given) == (2 << 8 | VALUE.code)
    assert np.isnan(given["out"]).all()


def test_each_code_has_its_sentence() -> None:
    call = Called(made())
    for kind in KINDS:
        assert call.message(7 << 8 | kind.code).decode() == kind.message
    assert call.message(0) == b"done"
    assert call.message(99) == b"no code of this library"


def test_memory_is_affine_in_the_batch_and_never_wraps() -> None:
    call = Called(made("mlp"))  # which keeps the code loaded
    memory = call.memory
    sizes = [memory(n) for n in (1, 2, 3, 1000)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] > 0
    assert sizes[3] == sizes[0] + 999 * (sizes[1] - sizes[0])
    assert memory(0) == memory(-1) == memory(LARGEST + 1) == 0
    p = Building("f", dtype="float64", a=None, b=None, c=None)
    x = p.declare("x", "a b c")
    y = p.step("y", "a b c", "=", lambda a, b, c: x[a, b, c] + 1)
    z = p.step("z", "a b c", "=", lambda a, b, c: y[a, b, (c * 1)] * y[a, b, c])
    total = p.step("total", "", "sum a b c", lambda a, b, c: z[a, b, c])
    cube = Called(library("model", [Source("step", p.done(total), ("total",))], X86_64_SSE2))
    assert cube.memory(1, 1, 1) > 0
    assert cube.memory(LARGEST, LARGEST, LARGEST) == 0
    given = {"x": np.zeros((1, 1, 1)), "total": np.zeros(())}
    room = aligned(cube.memory(1, 1, 1))
    largest = [LARGEST] * 3
    assert cube.run(*largest, cube.table(given), room.ctypes.data, room.nbytes) == SIZE.code


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_a_range_may_begin_below_zero(dtype: Any) -> None:
    p = Building("f", dtype="float64", n=3)
    x = p.declare("x", "n", dtype=dtype, classes=6)
    program = p.done(p.step("y", "n", "=", lambda n: x[n] * 1.0))
    below = replace(program.buffers[0], low=constant(-2))
    program = replace(program, buffers=(below, *program.buffers[1:]))
    call = Called(library("m", [Source("step", program, ("y",))], host()))
    for value, code in ((-2, 0), (5, 0), (-3, 1 << 8 | VALUE.code), (6, 1 << 8 | VALUE.code)):
        given = {"x": np.array([0, value, 1], dtype), "y": np.zeros(3)}
        assert call(**given) == code, value


def test_memory_of_two_sizes_holds_what_is_used() -> None:
    """The functions write to no byte behind the memory that they asked for."""
    call, given = Called(made("scaled")), arrays(7, 33)
    size = call.memory(7, 33)
    memory = aligned(size + 4096)
    memory[:] = 0x5A
    assert call.run(7, 33, call.table(given), memory.ctypes.data, size) == 0
    assert (memory[size:] == 0x5A).all()


def test_outputs_that_are_no_scratch_are_copies_of_the_old_values() -> None:
    p = Building("f", dtype="float64", n=3)
    w = p.declare("w", "n", "parameter")
    one = p.declare("one", "n", "constant", data=(1.0, 2.0, 3.0))
    y = p.step("y", "n", "=", lambda n: w[n] + one[n])
    p.step(w, "n", "=", lambda n: w[n] * 10)
    program = p.done(y, y, w, one)
    call = Called(library("m", [Source("step", program, ("y", "y2", "old", "one"))], host()))
    given = {name: np.zeros(3) for name in ("y", "y2", "old", "one")}
    given["w"] = np.array([4.0, 5.0, 6.0])
    assert call(**given) == 0
    np.testing.assert_array_equal(given["w"], [40, 50, 60])
    np.testing.assert_array_equal(given["old"], [4, 5, 6])
    np.testing.assert_array_equal(given["one"], [1, 2, 3])
    np.testing.assert_array_equal(given["y"], [5, 7, 9])
    np.testing.assert_array_equal(given["y2"], [5, 7, 9])


# --- objects --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", list(SHIPPED))
def test_the_object_of_every_target_is_a_library_by_itself(target: str) -> None:
    found = made("mlp", target)
    assert faults(found.object, found.functions) == []
    assert found.functions == ("model_step", "model_step_memory", "model_message")
    assert read(found.object).machine == (183 if "aarch64" in target else 62)
    again = library("model", found.sources, found.target)
    assert again.object == found.object
    assert again.archive == found.archive


def object_of(text: str) -> bytes:
    return object_code(f'target triple = "{X86_64_SSE2.triple}"\n{text}\n', X86_64_SSE2)


FAULTY = {
    "it needs expf from elsewhere": """
        declare float @llvm.exp.f32(float)
        define float @f(float %x) {
          %y = call float @llvm.exp.f32(float %x)
          ret float %y
        }""",
    "it shows g": "define void @f() {\n ret void\n}\ndefine void @g() {\n ret void\n}",
    "it lacks f": "define internal void @f() {\n ret void\n}",
    "can be written": """
        @count = internal global i32 1
        define void @f() {
          store volatile i32 2, ptr @count
          ret void
        }""",
}


@pytest.mark.parametrize("fault", list(FAULTY))
def test_an_object_that_needs_or_shares_more_is_found_out(fault: str) -> None:
    assert any(fault in one for one in faults(object_of(FAULTY[fault]), ["f"]))


def test_any_bytes_are_read_or_refused() -> None:
    """Cut at every place, and with every byte of the head changed."""
    code = object_of("define void @f() {\n ret void\n}")
    for length in range(len(code)):
        try:
            read(code[:length])
        except ValueError:
            continue
    for place in range(64):
        for value in (0, 0xFF):
            try:
                read(code[:place] + bytes([value]) + code[place + 1 :])
            except ValueError:
                continue
    with pytest.raises(ValueError, match="not a 64-bit"):
        read(b"MZ" + code)


@pytest.mark.parametrize("name", ["m", "a_name_that_is_longer_than_a_head"])
@pytest.mark.skipif(shutil.which("ar") is None, reason="there is no ar")
def test_the_archive_is_one_that_ar_reads(name: str, tmp_path: Path) -> None:
    code = made("mlp").object
    (tmp_path / "lib.a").write_bytes(archive(f"{name}.o", code))
    listed = subprocess.run(["ar", "t", "lib.a"], cwd=tmp_path, capture_output=True, text=True)
    assert listed.stdout.split() == [f"{name}.o"]
    index = subprocess.run(["nm", "-s", "lib.a"], cwd=tmp_path, capture_output=True, text=True)
    assert f"model_step in {name}.o" in index.stdout
    subprocess.run(["ar", "x", "lib.a"], cwd=tmp_path, check=True)
    assert (tmp_path / f"{name}.o").read_bytes() == code


# --- shared libraries -----------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("ld") is None, reason="there is no linker")
def test_a_shared_library_needs_nothing_and_is_the_same_again() -> None:
    found = made("mlp")
    code, how = shared(found.object, "libmodel.so", found.target, architecture())
    assert code is not None, how
    assert shared(found.object, "libmodel.so", found.target, architecture())[0] == code
    changed = [s.name for s in read(code).sections if s.written]
    assert changed == [".dynamic"]  # which the loader closes: relro


def test_without_a_linker_it_is_said_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = made("mlp", "aarch64 neon")
    monkeypatch.setenv("PATH", str(tmp_path))
    code, why = shared(found.object, "libmodel.so", found.target, architecture())
    assert code is None
    assert why == "no linker for aarch64 was found (ld.lld, aarch64-linux-gnu-ld)"


def test_a_linker_that_is_broken_or_beside_the_caller_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = made("mlp", "aarch64 neon")
    fake = tmp_path / "ld.lld"
    fake.write_text('#!/bin/sh\necho "it refuses; $LD_PRELOAD$(pwd)" >&2\nexit 3\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LD_PRELOAD", "")
    code, why = shared(found.object, "libmodel.so", found.target, architecture())
    assert code is None
    assert why.startswith("ld.lld refused the object: it refuses; /")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".")
    assert artifact_link.linker(AARCH64_NEON, "aarch64") is None


# --- machines -------------------------------------------------------------------------------------


def test_code_for_another_machine_is_refused() -> None:
    here = architecture()
    assert refusal(here, needed(host())) == ""
    assert "which this one does not have" in refusal(here, ["a feature of the year 3000"])
    other = "aarch64" if here == "x86_64" else "x86_64"
    assert refusal(other, ()) == f"is for {other} with linux, but this machine is {here} with linux"


def test_features_are_known_without_llvmlite(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("llvmlite"):
            raise ModuleNotFoundError(name=name)
        return real(name, *rest, **named)

    targets = [host(), X86_64_AVX2]
    with_it = [refusal(architecture(), needed(t)) for t in targets]
    monkeypatch.setattr(builtins, "__import__", without)
    assert [refusal(architecture(), needed(t)) for t in targets] == with_it
    assert "cannot be seen" in refusal(architecture(), ["warp"])


# --- text for C -----------------------------------------------------------------------------------

HOSTILE = [
    "*/ #error broken /*", "int", "a\\\nb", "??/", "x\ny", "%s%n", '"; abort(); "', "class",
    "linux", "NULL", "//", "\u202e", "café", "a" * 500, "", "0", "x", "x", "__LINE__",
    "defined", "/*",
]  # fmt: skip


def hostile() -> Program:
    p = Building("f", "\n".join(HOSTILE), dtype="float32", n=2)
    handles = [p.declare(f"v{k}", "n", "parameter", label=text) for k, text in enumerate(HOSTILE)]
    return p.done(p.step("y", "n", "=", lambda n: sum((h[n] for h in handles), handles[0][n])))


@pytest.mark.parametrize("compiler", ["cc", "c++"])
def test_no_name_breaks_out_of_the_header(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    found = library("model", [Source("step", hostile(), ("*/ out",))], X86_64_SSE2)
    text = header("model", found.entries, found.target, {"step": hostile().doc})
    code = "\n".join(line for line in without_comments(text).splitlines() if line.strip())
    for word in ("#error", "abort(", "\\", "?", "%", "café", "// "):
        assert word not in code
    (tmp_path / "model.h").write_text(text, encoding="utf-8")
    kind = "c++" if compiler == "c++" else "c"
    name = tmp_path / f"use.{'cpp' if kind == 'c++' else 'c'}"
    name.write_text(
        "#include <stdio.h>\n#include <errno.h>\n#include <math.h>\n"
        '#include "model.h"\nmodel_step_arrays arrays;\n'
    )
    standard = "-std=c++11" if kind == "c++" else "-std=gnu99"
    flags = ["-x", kind, standard, "-trigraphs", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    subprocess.run([compiler, *flags, "-c", name.name, "-o", "use.o"], cwd=tmp_path, check=True)


def without_comments(text: str) -> str:
    parts = text.split("/*")
    return parts[0] + "".join(part.split("*/", 1)[1] for part in parts[1:])


def test_names_for_c_are_identifiers_and_no_words_of_c() -> None:
    names = CNames()
    found = [names(text, "value") for text in [*HOSTILE, *C_WORDS]]
    assert len(set(found)) == len(found)
    for name in found:
        assert name.isidentifier()
        assert name.isascii()
        assert name not in C_WORDS


def test_a_comment_has_no_end_in_it() -> None:
    for text in HOSTILE:
        shown = c_comment(text)
        assert not any(mark in shown for mark in ("*/", "/*", "\\", "\n", "??"))


def test_a_size_that_is_no_sum_is_refused() -> None:
    from codegen.index import dim, floordiv

    p = Building("f", dtype="float32", n=None)
    x = p.declare("x", "n")
    program = p.done(p.step("y", "n", "=", lambda n: x[n] + 1))
    half = floordiv(dim("n").ix(), 2)
    wrong = replace(program, buffers=tuple(replace(b, dims=(half,)) for b in program.buffers))
    with pytest.raises(ValueError, match="not a sum of sizes"):
        library("model", [Source("step", wrong, ("y",))], X86_64_SSE2)
