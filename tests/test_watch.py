"""A training whose loss or weights become NaN or infinite stops with the weights of before."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

import symprop as prop
from codegen.philox import permutation
from symprop import watch
from symprop.errors import NonFiniteError

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "numba", "native"])
SIZE, EXAMPLES = 4, 40
Arrays = dict[str, np.ndarray]


@cache
def step() -> prop.TrainingStep:
    """A loss that is finite where x @ w is positive, an optimizer with a count and moments, and
    a state that every step changes."""
    x = prop.input("x", "batch k=3")
    w = prop.parameter("w", 3, np.full(3, 0.5))
    mean = prop.state("mean", 3, np.ones(3))
    centred = x - 0.01 * prop.update(mean, mean, 0.9 * mean + 0.1 * prop.mean(x, 0))
    return prop.training_step(prop.mean(prop.log(centred @ w)), prop.Adam(1e-3))


def data(bad: int | None = None) -> Arrays:
    """Positive examples, one of them not so."""
    x = np.random.default_rng(0).uniform(1, 2, (EXAMPLES, 3)).astype(np.float32)
    if bad is not None:
        x[bad] = -x[bad]
    return {"x": x}


def arrays(trainer: prop.Trainer) -> Arrays:
    return {**trainer.parameters, **trainer.states}


def same(one: prop.Trainer, other: prop.Trainer) -> None:
    """All weights, moments, counts and keys are bit by bit the same."""
    for name, array in arrays(one).items():
        np.testing.assert_array_equal(array, arrays(other)[name], err_msg=name)
        assert np.isfinite(array).all()


def stepped(backend: str, x: np.ndarray, steps: int, orders: Any = None) -> prop.Trainer:
    """So many steps one by one, in the order of the examples or in those of the epochs."""
    trainer = step().compile(backend)
    for k in range(steps):
        epoch, place = divmod(k, EXAMPLES // SIZE)
        order = np.arange(EXAMPLES) if orders is None else orders(epoch)
        trainer.step({"x": x[order[place * SIZE : (place + 1) * SIZE]]})
    return trainer


@pytest.fixture(params=["rarely", "always"])
def copies(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies as seldom as they are, and as often as can be."""
    if request.param == "always":
        monkeypatch.setattr(watch, "SHARE", 0)
        monkeypatch.setattr(watch, "LEAST", 0.0)


@BACKENDS
@pytest.mark.usefixtures("copies")
def test_fit_stops_with_the_weights_before_the_bad_step(backend: str) -> None:
    x = data(bad=30)["x"]
    trainer = step().compile(backend)
    with pytest.raises(NonFiniteError, match="the loss became nan in step 8 of epoch 1;") as caught:
        trainer.fit({"x": x}, epochs=3, batch_size=SIZE, shuffle=False)
    same(trainer, stepped(backend, x, 7))
    origin = caught.value.origin
    assert origin.index == (2,)
    assert origin.expression.startswith("log(")
    assert origin.place.startswith("test_watch.py:")


@BACKENDS
def test_an_epoch_with_a_new_order_is_undone_to_its_bad_step(backend: str) -> None:
    x = data()["x"]
    trainer = step().compile(backend)
    bad = int(permutation(5, 1, EXAMPLES)[22])  # in the sixth batch of the second epoch
    first = int(np.flatnonzero(permutation(5, 0, EXAMPLES) == bad)[0]) // SIZE

    class Spoil(prop.Callback):
        def on_epoch_begin(self, trainer: Any, epoch: int) -> None:
            x[bad] = -1 if epoch == 2 else 1

    x[bad] = 1
    with pytest.raises(NonFiniteError, match="in step 6 of epoch 2;"):
        trainer.fit({"x": x}, epochs=2, batch_size=SIZE, seed=5, callbacks=[Spoil()])
    assert len(trainer.history["loss"]) == 1
    assert first < EXAMPLES // SIZE
    clean = np.where(x < 0, 1, x).astype(np.float32)
    same(trainer, stepped(backend, clean, 15, lambda epoch: permutation(5, epoch, EXAMPLES)))


@BACKENDS
def test_a_run_goes_on_from_the_bad_step(backend: str) -> None:
    bound, clean = data(bad=30)["x"], data()["x"]
    trainer, reference = step().compile(backend), step().compile(backend)
    trainer.bind({"x": bound}, batch_size=SIZE)
    with pytest.raises(NonFiniteError, match="in step 8 of the run;"):
        trainer.run(100)
    same(trainer, stepped(backend, clean, 7))
    with pytest.raises(NonFiniteError, match="in step 1 of the run;"):
        trainer.run(2)
    bound[30] = clean[30]
    reference.bind({"x": clean}, batch_size=SIZE)
    losses = reference.run(25)
    np.testing.assert_array_equal(trainer.run(18), losses[7:])
    same(trainer, reference)


@BACKENDS
def test_a_run_on_one_batch_is_undone_to_the_step_that_breaks_the_weights(backend: str) -> None:
    w = prop.parameter("w", (), 1.0)
    make = prop.training_step(prop.sqrt(w), prop.SGD(0.25))  # 1, 0.75, 0.606..: then below 0
    trainer, reference = make.compile(backend), make.compile(backend)
    trainer.bind({})
    with pytest.raises(NonFiniteError) as caught:
        trainer.run(1000)
    before = float(trainer.parameters["w"])
    taken = int(str(caught.value).split("in step ")[1].split(" ")[0]) - 1
    for _ in range(taken):
        reference.step({})
    assert float(reference.parameters["w"]) == before
    assert not before > 0


@BACKENDS
@pytest.mark.parametrize("last", [False, True])
def test_a_step_that_breaks_a_weight_is_named_though_its_loss_is_finite(
    backend: str, last: bool
) -> None:
    """The slope of the root is infinite at 0: the loss of that step is 0, and then comes NaN."""
    p, x = prop.parameter("p", (), 1.0), prop.input("x", "batch")
    make = prop.training_step(prop.sum(prop.sqrt(x * p)), prop.SGD(0.01))
    trainer, reference = make.compile(backend), make.compile(backend)
    x0 = np.ones(6 if last else 9, np.float32)
    x0[5] = 0
    with pytest.raises(NonFiniteError, match="'p' became not finite in step 6 of epoch 1;") as e:
        trainer.fit({"x": x0}, batch_size=1, shuffle=False)
    for _ in range(5):
        reference.step({"x": np.ones(1, np.float32)})
    assert trainer.parameters["p"] == reference.parameters["p"]
    assert e.value.origin.backward


@BACKENDS
@pytest.mark.usefixtures("copies")
def test_batches_that_come_in_one_array_are_taken_again_as_they_were(backend: str) -> None:
    x, room = data(bad=30)["x"], np.empty((SIZE, 3), np.float32)

    def batches() -> Iterator[Arrays]:
        for k in range(EXAMPLES // SIZE):
            room[...] = x[k * SIZE : (k + 1) * SIZE]
            yield {"x": room}

    trainer = step().compile(backend)
    with pytest.raises(NonFiniteError, match="in step 8 of epoch 1;"):
        trainer.fit(batches)
    same(trainer, stepped(backend, x, 7))


@BACKENDS
def test_what_a_callback_does_to_the_weights_is_kept(backend: str) -> None:
    class Shrink(prop.Callback):
        def on_batch_end(self, trainer: Any, batch: int, entry: Any) -> None:
            trainer.parameters["w"][...] *= np.float32(0.9)

    x = data(bad=30)["x"]
    trainer, reference = step().compile(backend), step().compile(backend)
    with pytest.raises(NonFiniteError, match="in step 8 of epoch 1;"):
        trainer.fit({"x": x}, batch_size=SIZE, shuffle=False, callbacks=[Shrink()])
    for k in range(7):
        reference.step({"x": x[k * SIZE : (k + 1) * SIZE]})
        reference.parameters["w"][...] *= np.float32(0.9)
    same(trainer, reference)


@BACKENDS
def test_without_the_check_a_training_goes_on(backend: str) -> None:
    trainer = step().compile(backend, check_finite=False)
    history = trainer.fit(data(bad=30), epochs=2, batch_size=SIZE, shuffle=False)
    assert all(map(math.isnan, history["loss"]))
    trainer.bind(data(bad=30))
    assert np.isnan(trainer.run(3)).all()


@BACKENDS
def test_a_step_alone_returns_what_it_found(backend: str) -> None:
    trainer = step().compile(backend)
    assert math.isnan(trainer.step(data(bad=3)))
    trainer.bind(data(bad=3))
    assert math.isnan(trainer.step())


def test_a_state_that_began_infinite_is_no_fault() -> None:
    low = prop.state("low", (), np.inf)
    p = prop.parameter("p", (), 1.0)
    loss = prop.update(p * p, low, prop.minimum(low, p))
    trainer = prop.training_step(loss, prop.SGD(0.1)).compile(check_finite=True)
    trainer.bind({})
    assert np.isfinite(trainer.run(3)).all()


def test_a_model_with_too_many_values_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from symprop.checks import every_value

    monkeypatch.setattr(every_value, "LARGEST", 50)
    trainer = step().compile("numpy")
    with pytest.raises(NonFiniteError, match=r"began is not known: .* fewer examples") as e:
        trainer.fit(data(bad=0), batch_size=EXAMPLES)
    assert e.value.origin is None
