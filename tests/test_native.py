"""Models of the table through the backend "native": against the oracle, in training, from outside.

In: tests/peers. Guarantees, as in tests/test_peers.py: loss and gradients as machine code against
the oracle 1e-12 in float64 and 1e-5 in float32. The default suite compiles every model in float32
and each third in float64; the slow tests the rest.
"""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import threading
from platform import machine
from typing import Any

import numpy as np
import pytest
from backend_checks import (
    check_inputs_are_left_alone,
    check_model,
    check_random_network,
    check_training,
    digits_data,
    digits_step,
)
from peers.models import CASES

import symprop as prop
from symprop.errors import DataError, UnsupportedError

pytest.importorskip("llvmlite")

SLOW = pytest.mark.slow
MODELS = [
    *(pytest.param(name, "float32") for name in CASES),
    *(pytest.param(name, "float64", marks=[SLOW] if k % 3 else []) for k, name in enumerate(CASES)),
]


@pytest.mark.parametrize(("name", "dtype"), MODELS)
def test_machine_code_equals_the_oracle(name: str, dtype: str) -> None:
    check_model("native", dtype, name)


@pytest.mark.parametrize(
    "seed", [*range(40), *(pytest.param(s, marks=SLOW) for s in range(40, 400))]
)
def test_random_networks(seed: int) -> None:
    check_random_network("native", seed)


# --- training -------------------------------------------------------------------------------------


def test_training_gives_the_weights_that_numpy_gives() -> None:
    assert "hidden" in check_training("native").source("llvm")


def test_one_compiled_step_serves_every_batch() -> None:
    trainers = [digits_step().compile(b, seed=0) for b in ("numpy", "native")]
    for size in (1, 2, 31, 64, 3, 300, 17):
        losses = [t.step(digits_data(size)) for t in trainers]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_a_fixed_batch_gives_the_same_losses() -> None:
    losses = []
    for batch in ("batch", "batch=32"):
        x, y = prop.input("x", f"{batch} pixel=64"), prop.labels("y", batch, classes=10)
        net = prop.Sequential(prop.Dense(16, name="h"), prop.tanh, prop.Dense(10, name="logits"))
        step = prop.training_step(prop.cross_entropy(net(x), y), prop.Adam(1e-2))
        trainer = step.compile("native", seed=0)
        losses.append([trainer.step(digits_data(32)) for _ in range(5)])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_bound_steps_are_the_steps_that_are_handed_a_batch() -> None:
    handed, bound = (digits_step().compile("native", seed=1) for _ in range(2))
    batch = digits_data(32)
    arrays = bound.bind(batch)
    assert [handed.step(batch) for _ in range(4)] == [bound.step() for _ in range(4)]
    other = digits_data(33)["x"][1:]
    arrays["x"][...] = other
    assert handed.step({"x": other, "y": batch["y"]}) == bound.step()
    for name, array in handed.parameters.items():
        assert np.array_equal(array, bound.parameters[name])


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_run_is_so_many_steps(backend: str) -> None:
    stepped, ran = (digits_step().compile(backend, seed=1) for _ in range(2))
    batch = digits_data(32)
    ran.bind(batch)
    losses = ran.run(20)
    assert losses.dtype == np.float64
    assert losses.tolist() == [stepped.step(batch) for _ in range(20)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_a_run_in_machine_code_takes_the_batches_of_the_loop_in_python(
    shuffle: bool, seed: int
) -> None:
    losses = []
    for backend in ("numpy", "native"):
        trainer = digits_step().compile(backend, seed=1)
        arrays = trainer.bind(digits_data(70), batch_size=32, shuffle=shuffle, seed=seed)
        assert set(arrays) == {"x", "y"}
        first, second = trainer.run(8), trainer.run(3)
        losses.append([*first, *second, trainer.step(), *trainer.run(1)])
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_fit_visits_the_batches_of_a_run_with_the_same_seed(backend: str, shuffle: bool) -> None:
    fitted, ran = (digits_step().compile(backend, seed=1) for _ in range(2))
    history = fitted.fit(digits_data(70), epochs=3, batch_size=32, shuffle=shuffle, seed=2**64 - 1)
    ran.bind(digits_data(70), batch_size=32, shuffle=shuffle, seed=2**64 - 1)
    losses = ran.run(9).reshape(3, 3)
    np.testing.assert_allclose(history["loss"], losses @ np.array([32, 32, 6]) / 70, rtol=1e-12)
    for name, array in fitted.snapshot().items():
        assert np.array_equal(array, ran.snapshot()[name]), name


def test_inputs_that_are_the_same_for_every_example_stay_in_place() -> None:
    x, w = prop.input("x", "batch pixel=64"), prop.input("w", "batch")
    scale = prop.input("scale", "pixel=64")
    net = prop.Dense(1, name="out")
    error = prop.reshape(net(x * scale), (x.shape[0],)) - w
    step = prop.training_step(prop.mean(error * error), prop.SGD(0.01))
    rng = np.random.default_rng(0)
    given = {"x": rng.uniform(size=(50, 64)), "w": rng.uniform(size=50), "scale": np.arange(64.0)}
    losses = []
    for backend in ("numpy", "native"):
        trainer = step.compile(backend, dtype="float64", seed=1)
        trainer.bind(given, batch_size=20, shuffle=True, seed=4)
        losses.append(trainer.run(7))
    np.testing.assert_allclose(*losses, rtol=1e-10)


class Listening(prop.Callback):
    """Hears of every batch, so that the loop over them is Python's."""

    def on_batch_end(self, trainer: Any, batch: int, entry: Any) -> None:
        self.heard = batch


@pytest.mark.parametrize("shuffle", [True, False])
def test_fitting_in_machine_code_is_fitting_step_by_step_to_the_bit(shuffle: bool) -> None:
    trainers = []
    for callbacks in ([], [Listening()]):
        trainer = digits_step().compile("native", seed=2)
        for first in (1, 3):
            trainer.fit(
                digits_data(75), 2, 16, validation_split=0.2, shuffle=shuffle, first_epoch=first,
                callbacks=callbacks,
            )  # fmt: skip
        trainers.append(trainer)
    native, stepped = trainers
    assert native.history.to_json() == stepped.history.to_json()
    for name, array in {**native.parameters, **native.states}.items():
        assert np.array_equal(array, {**stepped.parameters, **stepped.states}[name]), name


def test_ctrl_c_ends_a_fit_in_machine_code_between_two_steps() -> None:
    trainer = digits_step().compile("native", seed=1)
    trainer.fit(digits_data(64), 1, 16)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(digits_data(64), 10**7, 16)
    timer.join()
    steps = int(trainer.states["adam.steps"])
    again = digits_step().compile("native", seed=1)
    again.fit(digits_data(64), 1, 16)
    with contextlib.suppress(StopIteration):
        again.fit(digits_data(64), 10**7, 16, callbacks=[Ending(steps)])
    for name, array in trainer.parameters.items():
        assert np.array_equal(array, again.parameters[name])


class Ending(prop.Callback):
    """Ends a training after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_batch_end(self, trainer: Any, batch: int, entry: Any) -> None:
        if trainer.states["adam.steps"] >= self.steps:
            raise StopIteration


def test_a_run_that_another_thread_stops_gives_the_losses_so_far() -> None:
    trainer = digits_step().compile("native", seed=1)
    trainer.bind(digits_data(32))
    trainer.run(1)
    timer = threading.Timer(0.3, trainer.stop)
    timer.start()
    losses = trainer.run(10_000_000)
    timer.join()
    assert 0 < len(losses) < 10_000_000
    again = digits_step().compile("native", seed=1)
    again.bind(digits_data(32))
    again.run(1)
    assert np.array_equal(again.run(len(losses)), losses)
    for name, array in trainer.parameters.items():
        assert np.array_equal(array, again.parameters[name])


def test_a_second_run_at_the_same_time_is_refused() -> None:
    trainer = digits_step().compile("native", seed=1)
    trainer.bind(digits_data(64), batch_size=32)
    trainer.run(1)
    weights, before = trainer.parameters["hidden.weight"], trainer.snapshot()["hidden.weight"]
    thread = threading.Thread(target=trainer.run, args=[10_000_000])
    thread.start()
    while thread.is_alive() and np.array_equal(weights, before):
        pass  # until the other thread is in it
    try:
        for call_ in (trainer.step, lambda: trainer.run(3)):
            with pytest.raises(DataError, match="another thread runs steps on this bound data"):
                call_()
    finally:
        trainer.stop()
        thread.join()
    assert len(trainer.run(3)) == 3  # and goes on


def test_ctrl_c_ends_a_run_between_two_steps() -> None:
    trainer = digits_step().compile("native", seed=1)
    trainer.bind(digits_data(32))
    trainer.run(1)
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        trainer.run(10_000_000)
    timer.join()
    steps = int(trainer.states[next(n for n in trainer.states if n.endswith("steps"))])
    again = digits_step().compile("native", seed=1)
    again.bind(digits_data(32))
    again.run(steps)
    for name, array in trainer.parameters.items():
        assert np.array_equal(array, again.parameters[name])


def test_without_bound_data_a_step_says_what_to_do() -> None:
    trainer = digits_step().compile("native")
    for call_ in (trainer.step, lambda: trainer.run(3)):
        with pytest.raises(DataError, match=r"no data is bound: call trainer.bind"):
            call_()
    with pytest.raises(DataError, match="shuffle is for whole arrays"):
        trainer.bind(digits_data(32), shuffle=True)
    with pytest.raises(DataError, match=r"'x'.* is missing"):
        trainer.bind({"y": digits_data(32)["y"]})
    trainer.bind(digits_data(32))
    for count in (0, 10**12):
        with pytest.raises(DataError, match="steps"):
            trainer.run(count)


def test_a_batch_that_is_not_the_first_axis_is_not_cut() -> None:
    x, m = prop.input("x", "batch pixel=3"), prop.input("m", "pixel=3 batch")
    w = prop.parameter("w", (3,), 0.5)
    step = prop.training_step(prop.mean((x + prop.transpose(m)) * w), prop.SGD(0.1))
    given = {"x": np.ones((10, 3)), "m": np.ones((3, 10))}
    for backend in ("numpy", "native"):
        trainer = step.compile(backend)
        for call_ in (lambda t: t.bind(given, batch_size=4), lambda t: t.fit(given, 1, 4)):
            with pytest.raises(UnsupportedError, match=r"'m'.* on another axis than the first"):
                call_(trainer)
        assert trainer.step(given) == 1.0


def test_the_text_of_other_backends_is_labelled() -> None:
    trainer = digits_step().compile("native")
    assert trainer.source("llvm") == trainer.source("native")
    assert "define void @training_step" in trainer.source("llvm")
    assert trainer.source() == trainer.source("numpy")  # the one to read
    first, rest = trainer.source().split("\n", 1)
    assert first == '# Equivalent; what runs is machine code: source("llvm") shows it.'
    assert rest == digits_step().compile("numpy").source()
    other = digits_step().compile("numpy").source("llvm")
    assert other.startswith("; Equivalent; what runs is the backend numpy.\n")
    with pytest.raises(UnsupportedError, match=r"'cobol'.*does not exist"):
        trainer.source("cobol")


def test_the_text_of_machine_code_says_what_its_context_and_its_arena_are() -> None:
    trainer = digits_step().compile("native")
    lines = trainer.source("llvm").splitlines()
    words = [line for line in lines if line.startswith("; word ")]
    assert words[0] == "; word 0: x, argument, float32 [batch, 64]"
    assert words[3] == "; word 3: hidden_bias, argument, float32 [16]"
    assert words[-1] == f"; word {len(words) - 1}: batch, a size"
    assert any(line.endswith(": loss, result, float32 []") for line in words)
    for n, line in enumerate(words):  # as the code reads them
        name = line.split(": ")[1].split(",")[0]
        place = next(k for k, text in enumerate(lines) if text.startswith(f"  %{name} = load "))
        assert n == 0 or lines[place - 1].endswith(f"i64 {n}")
    arena = trainer._runner.step.native.interface.arena
    said = next(line for line in lines if line.startswith("; Scratch lies in one arena of "))
    per_example, fixed = (int(k.replace(",", "")) for k in re.findall(r"[\d,]+", said))
    assert said == f"; Scratch lies in one arena of {per_example:,}*batch + {fixed:,} bytes."
    assert per_example * 256 + fixed == arena.total({"batch": 256})


def test_assembly_is_that_of_machine_code() -> None:
    text = digits_step().compile("native").assembly()
    assert "training_step" in text
    sign = "//" if machine() in ("aarch64", "arm64") else "#"
    assert f"\t{sign} d_hidden = d_relu_hidden [hidden > 0]\n" in text  # the model's names
    with pytest.raises(UnsupportedError, match="runs no machine code"):
        digits_step().compile("numpy").assembly()


# --- from outside ---------------------------------------------------------------------------------


def test_inputs_may_be_read_only_and_are_left_alone() -> None:
    check_inputs_are_left_alone("native")


def test_any_memory_order_may_be_handed_in() -> None:
    x = prop.input("x", "batch pixel=3")
    f = prop.compile(x * 2.0, backend="native", dtype="float64")
    whole = np.arange(24.0).reshape(4, 6)
    for given in (whole[:, ::2], whole[::-1, :3], np.asfortranarray(whole[:, :3])):
        assert np.array_equal(f(x=given), given * 2)
    assert np.array_equal(f(x=whole[:, :3].astype(">f8")), whole[:, :3] * 2)


def test_results_are_the_callers_own() -> None:
    x = prop.input("x", "batch pixel=3")
    f = prop.compile([prop.exp(x), prop.sum(x)], backend="native")
    first, total = f(x=np.zeros((2, 3)))
    f(x=np.ones((2, 3)))
    assert np.array_equal(first, np.ones((2, 3)))
    assert total == 0


def test_threads_may_call_one_function_at_once() -> None:
    x = prop.input("x", "batch pixel=64")
    f = prop.compile(prop.softmax(prop.exp(x) @ prop.transpose(x)), backend="native")
    given = [np.random.default_rng(n).uniform(size=(40 + n, 64)) for n in range(4)]
    wanted = [f(x=a) for a in given]
    wrong: list[int] = []

    def work(n: int) -> None:
        wrong.extend(n for _ in range(100) if not np.array_equal(f(x=given[n]), wanted[n]))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_arrays_that_the_code_would_misread_are_refused() -> None:
    compiled = digits_step().compiled("native")
    caller = compiled.caller
    good = [np.zeros([d.value or 5 for d in leaf.dims], "i8" if leaf.name == "y" else "f4")
            for leaf in compiled.leaves]  # fmt: skip
    caller(*good)
    k = next(n for n, leaf in enumerate(compiled.leaves) if leaf.name == "hidden.weight")
    for bad, error, said in (
        (good[k].astype("f8"), TypeError, "float32"),
        (good[k][:, ::2].repeat(2, 1)[:, :-1], ValueError, "shape"),
        (np.asfortranarray(good[k]), ValueError, "contiguous"),
        (np.broadcast_to(np.float32(0), good[k].shape), ValueError, "contiguous"),
    ):
        with pytest.raises(error, match=said):
            caller(*good[:k], bad, *good[k + 1 :])
    frozen = good[k].copy()
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        caller(*good[:k], frozen, *good[k + 1 :])
    with pytest.raises(TypeError, match="arrays, but got"):
        caller(*good[:-1])


def test_without_llvmlite_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.delitem(sys.modules, "llvmlite.binding", raising=False)
    x = prop.input("x", "batch")
    f = prop.compile(x * 2, backend="native")
    for act in (lambda: digits_step().compile("native"), lambda: f(x=np.ones(2, np.float32))):
        with pytest.raises(UnsupportedError, match=r"run  python -m pip install .*llvmlite"):
            act()
