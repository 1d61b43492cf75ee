"""NumPy text: every small program against the interpreter, and the line it must read as."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from building import mlp_training
from definition import random_step, run_assign
from numpy_checks import arguments, compare, in_float64
from numpy_programs import CASES, Case

from codegen.build import build
from codegen.interpret import bind_dims
from codegen.numpy_text import emit


@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_text_is_equal_and_reads_well(make: Case) -> None:
    program, line = make()
    text = compare(program)
    assert line in text, text


@pytest.mark.parametrize(
    "make", [c for c in CASES if c.__name__ != "max_pool_overlapping"], ids=lambda c: c.__name__
)
def test_text_in_float64(make: Case) -> None:
    program, _ = make()
    compare(in_float64(program), seed=1, sizes={"batch": 1, "time": 5})


def test_random_steps_equal_their_definition() -> None:
    from codegen.index import dim

    batch = dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(1200):
            program, arrays, dims = random_step(seed, batch)
            want = run_assign(program, program.steps[0], arrays, dims)  # type: ignore[arg-type]
            text = emit(program)
            got = build(text, "f")(*(arrays[b.name] for b in program.arguments))
            assert got.dtype == np.float64, (seed, text)
            np.testing.assert_allclose(got, want, 1e-11, 1e-11, err_msg=f"{seed}\n{text}")
            assert max(map(len, text.splitlines())) <= 100, (seed, text)


def test_training_step_reads_and_runs() -> None:
    program = mlp_training()
    text = compare(program, sizes={"batch": 5})
    assert "hidden_pre = x @ hidden_weight.T + hidden_bias" in text
    assert "m_hidden_weight[...] = 0.9 * m_hidden_weight + 0.1 * grad_hidden_weight" in text
    assert bind_dims(
        program, {b.name: arguments(program)[b.name].shape for b in program.arguments}
    ) == {"batch": 3}
