"""Ctrl-C: it comes in the middle of a step, and leaves weights of a whole number of steps.

The signal is sent by another thread a while after a number of steps: where it falls is left to
chance, what must hold is not.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pytest
from backends import every_backend

import symprop as prop
from codegen.program import Program
from symprop.backends import BACKENDS, Emitted
from symprop.progress import interrupts_held


@cache
def network() -> prop.TrainingStep:
    """Large enough for a signal to fall inside a step; compiled once for each backend."""
    x, y = prop.input("x", "batch feature=64"), prop.labels("y", "batch", classes=10)
    net = prop.Sequential(prop.Dense(128, name="hidden"), prop.tanh, prop.Dense(10, name="logits"))
    return prop.training_step(prop.cross_entropy(net(x), y), prop.Adam(1e-3))


def data() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(512, 64)), "y": rng.integers(0, 10, 512)}


@contextmanager
def interrupted(trainer: prop.Trainer, steps: int, later: float = 0.0) -> Iterator[None]:
    """The block with a Ctrl-C a while after so many more steps; the block must raise it."""
    count = trainer.states["adam.steps"]
    wanted = int(count) + steps

    def send() -> None:
        while count < wanted:
            time.sleep(0.0005)
        time.sleep(later)
        signal.raise_signal(signal.SIGINT)

    sender = threading.Thread(target=send)
    with pytest.raises(KeyboardInterrupt):
        sender.start()
        yield
    sender.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def replay(trainer: prop.Trainer, backend: str, take: Callable[[prop.Trainer, int], None]) -> None:
    """As many steps as the trainer counts, by another trainer, give the same arrays."""
    steps = int(trainer.states["adam.steps"])
    assert steps > 0
    other = network().compile(backend)
    take(other, steps)
    for name, array in {**trainer.parameters, **trainer.states}.items():
        np.testing.assert_array_equal(array, {**other.parameters, **other.states}[name])


@every_backend
@pytest.mark.parametrize("steps", [1, 7, 20])
@pytest.mark.parametrize("later", [0.0, 0.0007])
def test_fit_ends_between_two_steps_and_keeps_its_history(
    backend: str, steps: int, later: float
) -> None:
    given, trainer = data(), network().compile(backend)
    with interrupted(trainer, steps, later):
        trainer.fit(given, epochs=10**6, batch_size=64, shuffle=False, progress=False)
    done = int(trainer.states["adam.steps"])
    assert done >= steps
    history = trainer.history
    # An interrupt in an epoch's last step comes before its entry: the epoch did not end.
    assert (done - 1) // 8 <= history.epochs <= done // 8
    assert all(len(column) == history.epochs for column in history.values())

    def take(other: prop.Trainer, count: int) -> None:
        for k in range(count):
            start = 64 * (k % 8)
            other.step({n: a[start : start + 64] for n, a in given.items()})

    replay(trainer, backend, take)


@every_backend
@pytest.mark.parametrize("later", [0.0, 0.0007, 0.0013])
def test_a_loop_of_steps_ends_between_two_of_them(backend: str, later: float) -> None:
    given, trainer = data(), network().compile(backend)
    with interrupted(trainer, 3, later):
        while True:
            trainer.step(given)

    def take(other: prop.Trainer, count: int) -> None:
        for _ in range(count):
            other.step(given)

    replay(trainer, backend, take)


def test_training_goes_on_after_an_interrupt() -> None:
    given, trainer = data(), network().compile()
    with interrupted(trainer, 5):
        trainer.fit(given, epochs=10**6, batch_size=64, progress=False)
    before = int(trainer.states["adam.steps"])
    assert trainer.fit(given, batch_size=64).epochs == 1
    assert trainer.states["adam.steps"] == before + 8


@pytest.mark.parametrize("fits", [False, True])
def test_an_interrupt_while_the_text_is_compiled_is_raised_at_once(
    monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    """Compiling takes seconds and changes no weight: nothing is to be finished first."""
    plain, begun, done = BACKENDS["numpy"], [], []

    def emit(program: Program) -> Emitted:
        begun.append(program.name)
        signal.raise_signal(signal.SIGINT)
        done.append(program.name)
        return plain.emit(program)

    x, w = prop.input("x", "batch"), prop.parameter("w", (), 1.0)
    given = {"x": np.ones(4)}
    trainer = prop.training_step(prop.mean(x * w), prop.SGD(0.5)).compile("numpy")
    called: list[str] = []

    class Told(prop.Callback):
        def on_train_begin(self, trainer: Any, columns: Any) -> None:
            called.append("begin")

    def act() -> None:
        if fits:
            trainer.fit(given, validation_data=given, callbacks=[Told()], progress=False)
        else:
            trainer.step(given)

    # The second interrupt comes where the part for the validation is compiled.
    for count in range(1, 3 if fits else 2):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setitem(BACKENDS, "numpy", plain._replace(emit=emit))
            act()
        assert (len(begun), done, called) == (count, [], [])
        assert trainer.parameters["w"] == 1.0
        trainer._runner.step.build()
    act()
    assert trainer.parameters["w"] == 0.5


def test_a_second_interrupt_is_raised_at_once() -> None:
    reached = []
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        signal.raise_signal(signal.SIGINT)
        reached.append("after the first")
        signal.raise_signal(signal.SIGINT)
        reached.append("after the second")
    assert reached == ["after the first"]


def test_a_program_with_its_own_handler_keeps_it() -> None:
    caught: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            assert caught == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, previous)


def test_a_step_in_another_thread_leaves_signals_alone() -> None:
    given, trainer = data(), network().compile()
    losses: list[float] = []
    worker = threading.Thread(target=lambda: losses.append(trainer.step(given)))
    worker.start()
    worker.join()
    assert len(losses) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
