"""What a reader of generated code asks first: forward, backward, update; memory; block by block."""

from __future__ import annotations

import inspect
import re
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_golden import attention, convolution, digits, gathers, recurrent

import symprop as prop
from codegen import numpy_helpers
from codegen.build import build
from codegen.index import evaluate
from codegen.numba_text import emit as numba_text
from codegen.numpy_memory import FEW, INSIDE
from codegen.numpy_text import emit as numpy_text
from codegen.polynomial import added, buffer_bytes, spelled
from codegen.program import Program

MODELS = [digits, convolution, attention, recurrent, gathers]


def step(model: Callable[[], tuple[Any, list[Any]]]) -> Program:
    """The training step of a model."""
    return prop.training_step(model()[0], prop.Adam(1e-3)).program


def at(text: str, batch: int) -> int:
    """What a reader computes: the memory line with the batch put in."""
    line = re.search(r"memory: (?:at most )?(.*?) bytes", text)
    assert line
    total = 0
    for part in line[1].replace(",", "").split(" + "):
        number, _, rest = part.partition("*") if part[0].isdigit() else ("1", "*", part)
        total += int(number) * (batch if rest else 1)
        assert rest in ("", "batch")
    return total


# --- memory --------------------------------------------------------------------------------------


def peak(function: Callable[..., Any], program: Program, batch: int) -> int:
    """The most that a call holds, the arguments apart."""
    rng = np.random.default_rng(0)
    arguments = []
    for b in program.arguments:
        shape = [evaluate(d, {}, {"batch": batch}) for d in b.dims]
        whole = b.dtype != "bool" and not b.dtype.startswith("float")
        array = rng.integers(0, 2, shape) if whole else rng.uniform(0.1, 1, shape)
        arguments.append(np.asarray(array, b.dtype))
    function(*arguments)
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


OBJECTS = 8192  # bytes of what is no array: numbers, shapes, views


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
@pytest.mark.parametrize("batch", [256, 2000])
def test_numpy_text_states_its_peak(model: Any, batch: int) -> None:
    program = step(model)
    text = numpy_text(program)
    measured = peak(build(text, program.name), program, batch)
    assert measured - OBJECTS <= at(text, batch) <= 1.7 * measured


@pytest.mark.parametrize("batch", [256, 2000])
def test_the_digits_step_states_its_peak_closely(batch: int) -> None:
    program = step(digits)
    text = numpy_text(program)
    measured = peak(build(text, program.name), program, batch)
    assert measured - OBJECTS <= at(text, batch) <= 1.3 * measured


@pytest.mark.parametrize("name", numpy_helpers.__all__)
def test_helpers_hold_what_is_counted_for_them(name: str) -> None:
    function = getattr(numpy_helpers, name)
    x = np.linspace(0.001 if name == "rsqrt" else -3, 3, 50_000, dtype=np.float32)
    if name == "random_bits":  # of integers
        x = np.arange(50_000)
    given = [x, 0.5] if name == "exp_square" else [x] * len(inspect.signature(function).parameters)
    function(*given)
    tracemalloc.start()
    try:
        function(*given)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held <= (INSIDE.get(name, FEW) + 1) * x.nbytes + OBJECTS


def test_numba_text_states_what_it_allocates() -> None:
    text = numba_text(step(digits))
    total = 0
    for shape in re.findall(r"np\.empty\((.*), float32\)", text):
        sizes = [int(s) for s in re.findall(r"\d+", shape.replace("batch_size", "256"))]
        total += 4 * int(np.prod(sizes))
    assert at(text, 256) == total


@pytest.mark.parametrize("emit", [numpy_text, numba_text])
def test_there_is_one_memory_line_and_it_names_the_arguments(emit: Any) -> None:
    program = step(digits)
    text = emit(program)
    assert text.count("bytes") == 2
    handed = spelled(added(map(buffer_bytes, program.arguments)))
    assert f" bytes, beside {handed} bytes of arguments" in text


# --- sections ------------------------------------------------------------------------------------


def test_numpy_text_says_where_backward_and_update_begin() -> None:
    lines = numpy_text(step(digits)).splitlines()
    forward, backward, update = (k for k, line in enumerate(lines) if "# ---" in line)
    saved = lines[backward + 1].removeprefix("    # saved for the backward part: ").split(", ")
    assert saved == ["hidden", "relu_hidden", "exp_logits", "sum_exp_logits"]
    first = {line.split(" = ")[0]: k for k, line in reversed(list(enumerate(lines)))}
    first = {name.strip(): k for name, k in first.items() if name.startswith("    ")}
    assert forward < first["hidden"] < first["loss"] < backward < first["per_batch"]
    assert first["d_logits"] < first["grad_logits_bias"] < update
    after = "\n".join(lines[update:])
    assert "step_size" in after
    assert "grad_hidden_weight =" not in after


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_nothing_forward_is_made_below_the_divider(model: Any) -> None:
    program = step(model)
    text = numpy_text(program).partition(f"def {program.name}(")[2]
    above, mark, below = text.partition("# --- backward: derivatives ---")
    assert mark
    cotangents = [b.name for b in program.buffers if b.section == "backward"]
    forward = [b.name for b in program.buffers if b.section == "forward"]
    assert forward
    assert cotangents
    assert not any(re.search(rf"^    {name} = ", above, re.M) for name in cotangents)
    assert not any(re.search(rf"^    {name} = ", below, re.M) for name in forward)


def test_names_decide_nothing() -> None:
    """A value that the user calls d_x is forward; a cotangent under any name is not."""
    w = prop.input("w", 3)
    made = prop.exp(w).named("d_x")
    found = prop.gradient(prop.sum(made * made), w).named("forward_value")
    buffers = {b.name: b.section for b in prop.compile([made, found]).program.buffers}
    assert buffers["d_x"] == "forward"
    assert buffers["forward_value"] == "backward"


def test_a_program_without_derivatives_has_no_dividers() -> None:
    x = prop.input("x", "batch f=3")
    for backend in ("numpy", "numba"):
        assert "# ---" not in str(prop.compile(prop.exp(x) + 1, backend=backend).source())


def test_numba_text_says_what_its_loops_carry_out() -> None:
    text = numba_text(step(digits))
    titles = re.findall(r"^    # --- (.*) ---$", text, re.M)
    assert titles == [
        "forward",
        "forward and backward, in the same loops",
        "backward: derivatives",
        "backward and update, in the same loops",
        "update: states and parameters, in place",
    ]
    assert "# saved for the backward part: hidden, relu_hidden\n" in text
    inside = text[text.index(titles[1]) : text.index(f"\n    # --- {titles[2]}")]
    above, _, below = inside.partition("        # --- backward: derivatives ---")
    assert "acc_loss_sum +=" in above
    assert "d_sum_exp_logits =" in below


def test_numba_text_comments_every_update_and_every_block() -> None:
    text = numba_text(step(digits))
    for name in ("m_hidden_weight", "v_hidden_weight"):
        assert f"# new_{name} = " in text
    assert "# hidden_weight = hidden_weight - step_size * " in text
    blocked = r"# in blocks of 8\n +for batch_block in range\(batch_size // 8\):"
    assert re.search(blocked, text)
    assert re.search(
        r"# the rest\n +for batch in range\(8 \* \(batch_size // 8\), batch_size\)", text
    )
    assert "_outer" not in text
    assert "_inner" not in text


# --- constants -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numpy", "numba", "numba-cuda"])
def test_a_constant_beyond_the_dtype_is_refused_in_one_sentence(backend: str) -> None:
    x = prop.input("x", 3)
    cases = {
        "1e+60": [x * 1e60, x * 1e30 * 1e30, prop.constant(np.array([1e60, 1, 2])) * x],
        "-1e+120": [prop.clip(x, -1e120, 1e120)],
    }
    for shown, values in cases.items():
        for value in values:
            with pytest.raises(prop.UnsupportedError) as refused:
                prop.compile(value, backend=backend, dtype="float32").source()
            text = str(refused.value)
            assert text.startswith(f"the constant {shown} (test_sections.py:")
            assert 'does not fit float32: compile with dtype="float64" or scale it' in text


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_what_fits_and_what_is_infinite_stays(backend: str) -> None:
    x = prop.input("x", 3)
    values = {"x": np.array([-1.0, 0.0, 2.0])}
    large = prop.compile(prop.clip(x, -1e120, 1e120), backend=backend, dtype="float64")(values)
    assert large.tolist() == [-1, 0, 2]
    value = prop.where(x > 0, x, float("inf"))
    found = prop.compile(value, backend=backend, dtype="float32")
    assert found({"x": values["x"].astype(np.float32)}).tolist() == [np.inf, np.inf, 2]
    assert "np.inf" in str(found.source())
    top = float(np.finfo(np.float32).max)
    assert "inf" not in str(prop.compile(x * top, backend=backend, dtype="float32").source())
