"""What test_numba_cuda_text.py runs in a process of its own: programs in Numba's simulator.

In: names of cases of numpy_programs on the command line; the environment has
NUMBA_ENABLE_CUDASIM=1. Out: a line of JSON for each: its name, and what went wrong or nothing.

The simulator warns of what a device does in silence (1/0, an overflow), so that is not shown.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings

import numpy as np
from numpy_checks import arguments, near
from numpy_programs import CASES

from codegen.build import build_numba_cuda
from codegen.interpret import run
from codegen.numba_cuda_text import emit
from codegen.program import Program


def compare(program: Program) -> None:
    """The kernels give what the interpreter gives, in its dtypes and shapes."""
    function = build_numba_cuda(emit(program), program.name)
    given = arguments(program, 0, None)
    kept = {k: v.copy() for k, v in given.items()}
    for name, array in given.items():
        array.flags.writeable = name in program.updates
    found = function(*given.values())
    wanted = run(program, kept)
    outputs = found if len(program.outputs) > 1 else (found,)
    for name, array in zip(program.outputs, outputs, strict=True):
        dtype = program.buffer(name).dtype
        assert isinstance(array, np.ndarray)
        assert array.dtype == dtype, (name, array.dtype)
        assert array.shape == np.shape(wanted[name])
        near(array, wanted[name], dtype)
    for name in program.updates:
        near(given[name], wanted[name], program.buffer(name).dtype)


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore", RuntimeWarning)
    makers = {make.__name__: make for make in CASES}
    for name in names:
        result = {"name": name, "error": ""}
        try:
            compare(makers[name]()[0])
        except Exception:
            result["error"] = traceback.format_exc()
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
