"""Numba text for CUDA: every small program in the simulator, what kernels hold, what is refused."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from building import mlp_training
from nests import BATCH, array, at, each, ix, nest, put
from numpy_programs import CASES, Case

from codegen import numba_cuda_helpers
from codegen.build import NUMBA, NUMBA_CUDA, UnsafeSourceError, check
from codegen.functions import UnsupportedFunction
from codegen.index import gather
from codegen.loops.nest import Call, For, Kernel, Loops, Part, When
from codegen.numba_cuda_text import emit, emit_loops
from codegen.program import BufferSource

HERE = Path(__file__).parent


@cache
def errors() -> dict[str, str]:
    """What went wrong in each program, or nothing: all in one process with the simulator."""
    paths = os.pathsep.join(map(str, (HERE.parents[1], HERE)))
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": paths}
    command = [sys.executable, str(HERE / "simulated_programs.py"), *(c.__name__ for c in CASES)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=True, timeout=600
    )
    return {r["name"]: r["error"] for r in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_kernels_in_the_simulator_equal_the_interpreter(make: Case) -> None:
    pytest.importorskip("numba")
    assert errors()[make.__name__] == ""


def functions(text: str) -> dict[str, ast.FunctionDef]:
    return {n.name: n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)}


def kernels(text: str) -> list[ast.FunctionDef]:
    found = functions(text).values()
    return [f for f in found if [ast.unparse(d) for d in f.decorator_list] == ["cuda.jit"]]


@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_text_is_deterministic_narrow_and_passes_the_check_of_its_dialect(make: Case) -> None:
    program = make()[0]
    text = emit(program)
    assert emit(program) == text
    assert max(map(len, text.splitlines())) <= 100
    check(text, NUMBA_CUDA)
    with pytest.raises(UnsafeSourceError):
        check(text, NUMBA)


@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_kernels_use_a_thread_number_and_storage_of_their_own_alone(make: Case) -> None:
    """No atomics, no shared memory, nothing of warps: no order is left to chance."""
    for kernel in kernels(emit(make()[0])):
        used = {ast.unparse(n) for n in ast.walk(kernel) if isinstance(n, ast.Attribute)}
        ours = {name for name in used if name.startswith("cuda.")}
        assert ours <= {"cuda.jit", "cuda.grid", "cuda.local", "cuda.local.array"}


def test_a_step_reads_as_kernels_and_a_function_that_launches_them() -> None:
    text = emit(mlp_training())
    found = functions(text)
    first = kernels(text)[0]
    assert first.name == "hidden_matmul_to_hidden_kernel"
    assert ast.get_docstring(first) == "A thread for each batch and unit."
    lines = [ast.unparse(s) for s in first.body[1:5]]
    assert lines == [
        "turn = cuda.grid(1)",
        "if turn >= batch_size * 64:\n    return",
        "batch = turn // 64",
        "unit = turn % 64",
    ]
    assert "    # hidden = relu(hidden_pre)   [batch, unit]\n" in text
    main = ast.unparse(found["digits_step"])
    assert "hidden_matmul_to_hidden_kernel[blocks(batch_size * 64), THREADS](x_device, " in main
    assert main.index("x_device = cuda.to_device(x)") < main.index("_kernel[")
    assert "hidden_weight_device.copy_to_host(hidden_weight)" in main
    assert "x_device.copy_to_host" not in main  # it is only read
    assert main.endswith("return (loss.copy_to_host(), accuracy.copy_to_host())")


def test_one_thread_says_so() -> None:
    documents = [ast.get_docstring(k) or "" for k in kernels(emit(mlp_training()))]
    assert any(d.startswith("One thread: it is not proved") for d in documents)
    assert "One thread, for one value." in documents
    threads = [d for d in documents if d.startswith("A thread for each ")]
    assert len(threads) + sum(d.startswith("One thread") for d in documents) == len(documents)


@pytest.mark.parametrize(
    "line",
    ["cuda.atomic.add(x, 0, 1)", "z = cuda.shared.array(3, float32)", "cuda.select_device(0)",
     "z = cuda.jit.__class__", "cuda = x", "from numba import njit", "z = x.ctypes"],
)  # fmt: skip
def test_refuses_what_text_for_devices_never_needs(line: str) -> None:
    text = f"from numba import cuda\nfrom numpy import float32\n\n\ndef f(x):\n    {line}\n"
    with pytest.raises(UnsafeSourceError, match="generated"):
        check(text, NUMBA_CUDA)


@pytest.mark.parametrize("name", numba_cuda_helpers.__all__)
def test_helpers_equal_numpy_to_the_last_bit(name: str) -> None:
    helper, wanted = getattr(numba_cuda_helpers, name), getattr(np, name)
    assert f"np.{name}" in numba_cuda_helpers.INSTEAD
    rng = np.random.default_rng(0)
    values = [0.0, 0.5, 1.5, 2.5, 0.49999999999999994, 2.0**52, 2.0**52 + 1, 1e300, np.inf, np.nan]
    values += [*(rng.normal(size=200) * 10.0 ** rng.integers(-3, 16, 200))]
    for x in [*values, *(-v for v in values)]:
        np.testing.assert_array_equal(helper(float(x)), wanted(x))


# --- what a device cannot be told -----------------------------------------------------------------


def doubled() -> Kernel:
    """A kernel of LOOPS: twice its first argument."""
    a, b = array("a", "batch", "input"), array("b", "batch")
    body = each(0, "n", BATCH.ix(), put("b", (ix(0, BATCH.ix()),), "=", at("a", ix(0, BATCH.ix()))))
    return Kernel("doubled", (BATCH,), (a, b), ("b",), (Part("double", (body,)),))


def called(*body: Part) -> Loops:
    arrays = (array("v", "batch", "input"), array("y", "batch"), array("ids", "batch", "input",
              "int64"))  # fmt: skip
    return nest(*body, arrays=arrays, outputs=("y",), kernels=(doubled(),))


def test_a_kernel_of_loops_is_a_function_on_arrays_of_the_device() -> None:
    text = emit_loops(called(Part("y", (Call("doubled", ("v", "y")),), "y = 2 v")))
    found = functions(text)
    assert "double_kernel[blocks(batch_size), THREADS](a, b, batch_size)" in ast.unparse(
        found["doubled"]
    )
    assert "    # y = 2 v   [batch]\n" in text
    assert "doubled(v_device, y)" in ast.unparse(found["f"])
    check(text, NUMBA_CUDA)


def test_a_call_under_a_condition_is_refused() -> None:
    held = When((), (Call("doubled", ("v", "y")),))
    with pytest.raises(UnsupportedFunction, match="cannot call a kernel within a kernel"):
        emit_loops(called(Part("y", (held,))))


def test_a_loop_around_launches_that_an_array_ends_is_refused() -> None:
    zero = ix(3, 1) * 0
    end = gather(BufferSource("ids", zero, zero + 3), (zero,))
    loop = each(1, "step", BATCH.ix(), Call("doubled", ("v", "y")), high=(end,))
    assert isinstance(loop, For)
    with pytest.raises(UnsupportedFunction, match="the loop step, whose end an array"):
        emit_loops(called(Part("y", (loop,))))
