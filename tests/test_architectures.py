"""The random networks that are measured, as machine code: their gradients are NumPy's.

In: tests/benchmarks/architectures.py. Guarantees: loss and gradients, against the same formulas of
the NumPy backend in float64, within a bound of each tensor's largest element: some in float32, all
twenty in float64 as slow tests (there no unit of a ReLU is on the other side of 0 by rounding).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from benchmarks.architectures import COUNT, OPERATIONS, Architecture, architectures
from checking import gap

import symprop as prop
from codegen.llvm.schedule import native, plain
from codegen.llvm.target import X86_64_AVX512
from codegen.loops.from_program import from_program

pytest.importorskip("llvmlite")

BOUND = {"float32": 2e-5, "float64": 1e-11}  # of gradients through up to twelve layers
QUICK = (3, 14, 15, 17)  # layer norm, residuals, masks; classes and numbers
SLOW = pytest.mark.slow
EVERY = [
    *(pytest.param(n, "float32", id=f"number {n}") for n in QUICK),
    *(pytest.param(n, "float64", marks=SLOW, id=f"number {n} float64") for n in range(COUNT)),
]


def differentiated(a: Architecture, free: bool) -> tuple[list[Any], list[Any]]:
    """Loss and gradients, and the parameters."""
    step = a.step(free)
    return [step.loss, *step.gradients], step.parameters


def values(a: Architecture, parameters: list[Any], batch: int) -> dict[str, np.ndarray]:
    """A batch, and parameters as they are drawn; scales and shifts away from 1 and 0."""
    rng = np.random.default_rng(a.number)
    found = dict(a.data(batch))
    for p in parameters:
        spread = 1 / np.sqrt(p.shape[-1]) if p.ndim > 1 else 0.1
        found[p.node.name] = (rng.normal(size=p.shape) * spread).astype(np.float32)
        if p.node.name.endswith("scale"):
            found[p.node.name] += np.float32(1)
    return found


def check(a: Architecture, dtype: str, free: bool, *batches: int) -> None:
    roots, parameters = differentiated(a, free)
    ours = prop.compile(roots, backend="native", dtype=dtype)
    theirs = prop.compile(roots, backend="numpy", dtype="float64")
    for batch in batches:
        given = values(a, parameters, batch)
        exact = {n: v.astype(float) if v.dtype == np.float32 else v for n, v in given.items()}
        for found, wanted in zip(ours(given), theirs(exact), strict=True):
            assert gap(found, wanted) < BOUND[dtype]


@pytest.mark.parametrize(("number", "dtype"), EVERY)
def test_machine_code_equals_numpy(number: int, dtype: str) -> None:
    a = architectures()[number]
    check(a, dtype, False, a.batch)


@pytest.mark.parametrize("number", [3, *(pytest.param(n, marks=SLOW) for n in (0, 13))])
def test_one_compilation_serves_every_batch(number: int) -> None:
    check(architectures()[number], "float64", True, 1, 2, 31)


def test_the_networks_are_those_that_were_drawn() -> None:
    found = architectures()
    assert [a.number for a in found] == list(range(COUNT))
    assert all(a.operations >= OPERATIONS for a in found)
    assert all(n % 2 for a in found for n in a.widths[:-1])
    assert str(found[14]) == "batch 299: 169 | 169 relu skip | 15 numbers"


def test_every_nest_of_a_network_has_lanes() -> None:
    """But for what has no loop."""
    nests = from_program(architectures()[3].step().program)
    assert plain(native(nests, X86_64_AVX512, {})) == ()
