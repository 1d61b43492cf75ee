"""Arrays handed to machine code: what overlaps, sizes of NumPy's types, the ends of memory."""

from __future__ import annotations

import signal
import threading
import weakref
from time import perf_counter
from typing import Any

import numpy as np
import pytest

import symprop as prop
from codegen.llvm.calling import ARENAS
from symprop.errors import DataError

pytest.importorskip("llvmlite")

SIZE = 64
BACKENDS = ["numpy", "native"]


def linear(backend: str) -> Any:
    """A layer whose weight is as large as its input, which a fused update reads and writes."""
    x = prop.input("x", f"row={SIZE} column={SIZE}")
    weight = np.random.default_rng(0).normal(size=(SIZE, SIZE)) / 8
    w = prop.parameter("w", f"column={SIZE} out={SIZE}", weight)
    step = prop.training_step(prop.mean((x @ w - 1.0) ** 2), prop.SGD(5.0))
    return step.compile(backend, dtype="float64")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("handed", ["array", "view", "buffer"])
def test_a_live_weight_may_be_the_data(backend: str, handed: str) -> None:
    trainer, other = linear(backend), linear(backend)
    w = trainer.parameters["w"]
    given = {"array": w, "view": w[::1, :], "buffer": np.asarray(memoryview(w))}[handed]
    for _ in range(3):
        assert trainer.step({"x": given}) == other.step({"x": other.parameters["w"].copy()})
    assert np.array_equal(w, other.parameters["w"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_function_reads_what_it_updates_before_it_does(backend: str) -> None:
    s, x = prop.state("s", (SIZE, SIZE)), prop.input("x", (SIZE, SIZE))
    y = prop.input("y", (SIZE, SIZE))
    f = prop.compile(prop.update(prop.sum(x), s, s * 0.5 + x @ y), backend, "float64")
    rng = np.random.default_rng(0)
    start, factor = rng.normal(size=(2, SIZE, SIZE))
    own = start.copy()
    f(s=own, x=own, y=factor)
    np.testing.assert_allclose(own, start * 0.5 + start @ factor, rtol=1e-12)


def test_two_states_in_one_piece_of_memory_are_refused() -> None:
    s, r = prop.state("s", "n=4"), prop.state("r", "n=4")
    f = prop.compile(prop.update(prop.update(prop.sum(s), s, s + r), r, r * 2.0))
    room = np.ones(6, np.float32)
    with pytest.raises(DataError, match=r"'r' and 's' .* share memory"):
        f(s=room[:4], r=room[2:])
    assert room.tolist() == [1] * 6


# --- numbers of NumPy -----------------------------------------------------------------------------


def small(backend: str) -> Any:
    x = prop.input("x", "batch feature=3")
    loss = prop.mean(prop.Dense(1, name="out")(x) ** 2)
    return prop.training_step(loss, prop.SGD(0.1)).compile(backend, seed=1)


DATA = {"x": np.random.default_rng(0).normal(size=(70, 3)).astype(np.float32)}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.uint64])
def test_numbers_of_numpy_are_numbers(backend: str, kind: Any) -> None:
    given, plain = small(backend), small(backend)
    given.bind(DATA, batch_size=kind(32), shuffle=True, seed=kind(3))
    plain.bind(DATA, batch_size=32, shuffle=True, seed=3)
    assert given.run(kind(7)).tolist() == plain.run(7).tolist()
    ours = given.fit(DATA, 2, kind(16), seed=kind(3))
    assert ours.to_json() == plain.fit(DATA, 2, 16, seed=3).to_json()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_size_beyond_the_data_is_all_of_it(backend: str) -> None:
    losses = [small(backend).fit(DATA, 2, size).to_json() for size in (70, 10**20)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_input_that_counts_for_nothing_may_be_handed_in(backend: str) -> None:
    x, y = prop.input("x", "batch feature=3"), prop.input("y", "batch one=1")
    z = prop.layer_norm(
        prop.Dense(1, name="one")(x),
        prop.parameter("scale", "one=1", 1.0),
        prop.parameter("shift", "one=1", 0.0),
    )
    trainer = prop.training_step(prop.mse(z, y), prop.SGD(0.1)).compile(backend)
    data = {"x": np.ones((4, 3)), "y": np.ones((4, 1))}
    assert trainer.step(data) == 1.0
    trainer.bind(data, batch_size=2)
    assert trainer.run(2)[-1] < 1.0


# --- what is kept ---------------------------------------------------------------------------------


def test_a_batch_is_let_go_and_large_arenas_too() -> None:
    x = prop.input("x", "batch feature=100")
    h = prop.tanh(prop.Dense(400, name="a")(x))
    out = prop.Dense(1, name="b")(h)
    f = prop.compile(prop.sum(out), backend="native")
    weights = prop.initial_values([out])
    seen = []
    for rows in range(20_000, 20_006):
        batch = np.ones((rows, 100), np.float32)
        seen.append(weakref.ref(batch))
        f({**weights, "x": batch})
        del batch
    assert [one() for one in seen] == [None] * 6
    kept = list(f.compiled.caller._contexts.values())
    assert kept
    assert sum(c.arena.nbytes for c in kept) <= max(ARENAS, kept[-1].arena.nbytes)


# --- interrupts -----------------------------------------------------------------------------------


def test_ctrl_c_ends_the_first_run_of_a_slow_step_soon() -> None:
    x = prop.input("x", "batch feature=400")
    net = prop.Sequential(prop.Dense(400, name="a"), prop.tanh, prop.Dense(400, name="b"))
    trainer = prop.training_step(prop.mean(net(x) ** 2), prop.Adam(1e-3)).compile("native")
    batch = {"x": np.random.default_rng(0).normal(size=(1000, 400))}
    trainer.bind(batch)
    start = perf_counter()
    trainer.step()
    trainer.step()
    two = perf_counter() - start
    trainer.bind(batch)  # nothing is known of how long a step takes
    timer = threading.Timer(two / 4, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        trainer.run(1000)
    timer.join()
    count = int(next(a for n, a in trainer.states.items() if n.endswith("steps")))
    assert count <= 8  # those two, and as many as fit into a slice on a machine that was busy
