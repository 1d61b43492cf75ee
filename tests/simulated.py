"""What tests/test_numba_cuda.py runs in a process of its own: kernels in Numba's simulator.

In: names of runs on the command line, ``<dtype>:<model of tests/peers>`` or one of ``RUNS``; the
environment has NUMBA_ENABLE_CUDASIM=1. Out: a line of JSON for each: its name, and what went wrong
or nothing.

The simulator warns of what a device does in silence (1/0, an overflow), so that is not shown.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from backend_checks import check_model, digits_data, digits_step
from test_peers import assert_close
from test_pools_with_a_rest import POOLS, check

import symprop as prop
from codegen.build import build, build_numba_cuda
from codegen.loops import default
from codegen.loops.from_program import from_program
from codegen.numba_cuda_text import emit_loops
from codegen.numpy_text import emit as numpy_emit


def adam() -> None:
    """Three steps of Adam on a few digits give the weights, moments and outputs of NumPy."""
    data = digits_data(5)
    for dtype, bound in (("float64", 1e-12), ("float32", 2e-5)):
        plain, ours = (
            digits_step(6).compile(b, dtype=dtype, seed=3)  # type: ignore[arg-type]
            for b in ("numpy", "numba-cuda")
        )
        for _ in range(3):
            assert abs(plain.step(data) - ours.step(data)) <= bound
        theirs = {**plain.parameters, **plain.states}
        mine = {**ours.parameters, **ours.states}
        assert_close(list(theirs), list(mine.values()), theirs, bound)
        wanted, found = (t.predict({"x": data["x"]})["logits"] for t in (plain, ours))
        assert_close(["logits"], [found], {"logits": wanted}, bound)


def one_core() -> None:
    """Nests scheduled for one core run too: local arrays, launches in a loop, one thread."""
    program = digits_step(6).program
    loops = from_program(program)
    text = emit_loops(default.scheduled(loops))
    assert "cuda.local.array(10, float32)" in text
    assert "    for batch in range(batch_size):\n        " in text
    rng = np.random.default_rng(0)
    given: list[np.ndarray] = []
    for b in program.arguments:
        shape = tuple(5 if d.value is None else d.value for d in b.dims)
        array = rng.integers(0, 10, shape) if b.dtype == "int64" else rng.uniform(size=shape)
        given.append(np.asarray(array, b.dtype))
    mine, theirs = [a.copy() for a in given], [a.copy() for a in given]
    found = build_numba_cuda(text, program.name)(*mine)
    wanted = build(numpy_emit(program), program.name)(*theirs)
    for a, b in zip((*mine, *found), (*theirs, *wanted), strict=True):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)


def without_samples() -> None:
    """No sample is a launch of threads that do nothing; sums are 0, means NaN."""
    x = prop.input("x", "batch unit=3")
    f = prop.compile([prop.exp(x), prop.sum(x), prop.mean(x)], "numba-cuda", "float64")
    same, total, mean = f.compiled.call({"x": np.zeros((0, 3))})  # unchecked
    assert same.shape == (0, 3)
    assert total == 0
    assert np.isnan(mean)


def beyond_the_range() -> None:
    """Where Python's math raises, there is what a device gives."""
    x = prop.input("x", "n")
    f = prop.compile([prop.exp(x), prop.log(x), prop.sqrt(x), 1 / x], "numba-cuda", "float64")
    found = f(x=np.array([1e3, 0.0, -1.0]))
    wanted = [[np.inf, 1, np.exp(-1.0)], [np.log(1e3), -np.inf, np.nan],
              [np.sqrt(1e3), 0, np.nan], [1e-3, np.inf, -1]]  # fmt: skip
    np.testing.assert_allclose(found, wanted, 1e-15)


def inputs() -> None:
    """Inputs may be read-only, are left alone, and come back as copies; bools are arrays too."""
    x, chosen = prop.input("x", "n"), prop.input("chosen", "n", dtype="bool")
    f = prop.compile([prop.where(chosen, x, -x), x], backend="numba-cuda", dtype="float64")
    given = np.arange(3.0)
    given.flags.writeable = False
    found, same = f(x=given, chosen=np.array([True, False, True]))
    assert found.tolist() == [0, -1, 2]
    same[...] = 7
    assert given.tolist() == [0, 1, 2]


def pools() -> None:
    """Pooling that leaves rows and columns over reads nothing out of range."""
    for side, size in POOLS[:2]:
        check(side, size, "numba-cuda")


RUNS: dict[str, Callable[[], None]] = {
    f.__name__: f for f in (adam, one_core, without_samples, beyond_the_range, inputs, pools)
}


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore", RuntimeWarning)
    for name in names:
        dtype, _, model = name.partition(":")
        result: dict[str, Any] = {"name": name, "error": ""}
        try:
            check_model("numba-cuda", dtype, model) if model else RUNS[name]()
        except Exception:
            result["error"] = traceback.format_exc()
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
