"""Batches as data: lists, generators, functions, loaders; what ends too early; what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.errors import DataError, SympropError

Batch = dict[str, Any]


def summing() -> prop.Trainer:
    """A trainer whose parameter sums, with a minus, whatever it was trained on."""
    p, x = prop.parameter("p", (), 0.0), prop.input("x", "batch")
    loss = prop.sum(x) * p
    return prop.training_step(loss, prop.SGD(1.0)).compile(dtype="float64")


def powers(count: int) -> list[Batch]:
    """One example a batch: 1, 2, 4, ...: the sum tells which were seen."""
    return [{"x": [2.0**k]} for k in range(count)]


def seen(trainer: prop.Trainer) -> int:
    return int(-trainer.parameters["p"])


class Loader:
    """Batches that can be gone through again, as a data loader's."""

    def __init__(self, count: int, sized: bool = True) -> None:
        self.count, self.sized, self.passes = count, sized, 0

    def __iter__(self) -> Iterator[Batch]:
        self.passes += 1
        return iter(powers(self.count))

    def __len__(self) -> int:
        if not self.sized:
            raise TypeError("this loader does not know its length")
        return self.count


def generator(count: int) -> Iterator[Batch]:
    yield from powers(count)


def endless() -> Iterator[Batch]:
    while True:
        yield {"x": [1.0]}


@pytest.mark.parametrize(
    "data",
    [powers(5), tuple(powers(5)), Loader(5), Loader(5, sized=False), lambda: generator(5),
     lambda: powers(5), Loader(5).__iter__],
    ids=["list", "tuple", "loader", "unsized", "function", "function of a list", "method"],
)  # fmt: skip
@pytest.mark.parametrize("progress", [None, True])
def test_batches_are_gone_through_once_an_epoch(
    data: Any, progress: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = summing()
    history = trainer.fit(data, epochs=3, progress=progress)
    assert history.epochs == 3
    assert seen(trainer) == 3 * 31


def test_a_generator_is_gone_through_in_one_epoch() -> None:
    trainer = summing()
    trainer.fit(generator(5))
    assert seen(trainer) == 31


@pytest.mark.parametrize("name", ["data", "validation_data"])
def test_a_generator_for_several_epochs_is_refused_before_training(name: str) -> None:
    trainer = summing()
    used = generator(5)
    data = {"data": {"x": np.ones(2)}, name: used}
    with pytest.raises(DataError, match="gone through once, not in 2 epochs") as caught:
        trainer.fit(**data, epochs=2)
    assert ("steps_per_epoch" in str(caught.value)) == (name == "data")
    assert seen(trainer) == 0
    assert len(list(used)) == 5, "nothing was taken from it"


def test_steps_per_epoch_cut_an_endless_generator() -> None:
    trainer = summing()
    history = trainer.fit(endless(), epochs=4, steps_per_epoch=3)
    assert seen(trainer) == 12
    assert history.epochs == 4


def test_one_pass_goes_on_from_epoch_to_epoch_and_starts_again_where_it_ends() -> None:
    trainer, loader = summing(), Loader(5)
    trainer.fit(loader, epochs=2, steps_per_epoch=2)
    assert seen(trainer) == 0b1111
    trainer.fit(loader, epochs=1, steps_per_epoch=7)
    assert seen(trainer) == 0b1111 + 0b11111 + 0b11


def test_a_generator_that_ends_too_early_says_where() -> None:
    trainer = summing()
    with pytest.raises(DataError, match="after 2 of 3 steps in epoch 2"):
        trainer.fit(generator(5), epochs=4, steps_per_epoch=3)
    assert seen(trainer) == 31
    assert trainer.history.epochs == 1


@pytest.mark.parametrize("data", [[], generator(0), list, Loader(0)])
@pytest.mark.parametrize("steps", [None, 2])
def test_data_without_a_batch_is_an_error(data: Any, steps: int | None) -> None:
    with pytest.raises(DataError, match=r"no batch|after 0 of 2 steps"):
        summing().fit(data, steps_per_epoch=steps)


def test_a_function_whose_generator_is_used_up_is_an_error_in_the_second_epoch() -> None:
    once = generator(5)
    with pytest.raises(DataError, match="no batch in epoch 2"):
        summing().fit(lambda: once, epochs=2)


def test_batches_count_by_their_examples() -> None:
    p, x = prop.parameter("p", (), 1.0), prop.input("x", "batch")
    step = prop.training_step(prop.mean(x) * p, prop.SGD(1e-12))
    batches = [{"x": [1.0, 1.0, 1.0]}, {"x": [5.0]}]
    trainer = step.compile(dtype="float64")
    history = trainer.fit(batches, validation_data=lambda: iter(batches))
    assert history["loss"][0] == pytest.approx(2.0)
    assert history["validation_loss"][0] == pytest.approx(2.0)
    assert trainer.evaluate(batches)["loss"] == pytest.approx(2.0)
    assert trainer.evaluate(iter(batches))["loss"] == pytest.approx(2.0)


def test_batches_and_whole_arrays_train_alike() -> None:
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(20, 4)), "y": rng.integers(0, 3, 20)}
    batches = [{n: a[k : k + 8] for n, a in data.items()} for k in range(0, 20, 8)]
    found = []
    for given, options in ((data, {"batch_size": 8, "shuffle": False}), (batches, {})):
        x, y = prop.input("x", "batch feature=4"), prop.labels("y", "batch", classes=3)
        step = prop.training_step(prop.cross_entropy(prop.Dense(3, name="d")(x), y), prop.Adam())
        trainer = step.compile(seed=1)
        history = trainer.fit(given, epochs=2, validation_data=given, **options)
        found.append((trainer.parameters["d.weight"].tobytes(), dict(history)["loss"]))
    assert found[0] == found[1]


def test_inputs_without_one_axis_of_examples_are_trained_on_in_batches() -> None:
    a, b = prop.input("a", "inside"), prop.input("b", "boundary")
    p = prop.parameter("p", (), 0.0)
    trainer = prop.training_step(prop.sum(a) * p + prop.sum(b) * p, prop.SGD(1.0)).compile()
    batch = {"a": np.ones(3), "b": np.ones(2)}
    history = trainer.fit([batch, batch], epochs=2, validation_data=batch)
    assert trainer.parameters["p"] == -20
    assert history["validation_loss"][0] == -50


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        ([(np.ones(2), np.ones(2))], {}, "mapping from names to arrays"),
        ([np.ones(2)], {}, "mapping from names to arrays"),
        (np.ones((2, 2)), {}, "mapping from names to arrays"),
        ("x", {}, "mapping from names to arrays"),
        (3, {}, "mapping from names to arrays"),
        (None, {}, "mapping from names to arrays"),
        (lambda: 3, {}, "must return batches"),
        ([{"z": [1.0]}], {}, "'z'"),
        ([{"x": [[1.0]]}], {}, "'x'"),
        (powers(2), {"batch_size": 2}, "batch_size"),
        (powers(2), {"validation_split": 0.5}, "validation_split"),
        (powers(2), {"steps_per_epoch": 0}, "steps_per_epoch"),
        (powers(2), {"steps_per_epoch": 1.5}, "steps_per_epoch"),
        ({"x": np.ones(4)}, {"steps_per_epoch": 2}, "steps_per_epoch"),
        ({"x": np.ones(4)}, {"validation_data": 3}, "validation_data"),
        ({"x": np.ones(4)}, {"validation_data": [3]}, "mapping"),
        ({"x": np.ones(4)}, {"first_epoch": 0}, "first_epoch"),
        ({"x": np.ones(4)}, {"seed": -1}, "seed"),
        ({"x": np.ones(4)}, {"seed": 1.5}, "seed"),
    ],
)
def test_what_makes_no_sense_is_refused(data: Any, options: dict[str, Any], words: str) -> None:
    trainer = summing()
    with pytest.raises(SympropError) as caught:
        trainer.fit(data, **options)
    assert words in str(caught.value)
    if options.get("validation_data") != [3]:  # a list is looked at when it is gone through
        assert seen(trainer) == 0


def test_arrays_one_after_the_other_are_refused_as_data() -> None:
    """As other libraries take them: fit(x, y)."""
    with pytest.raises(DataError, match=r'the data must be a mapping.*"x": x, "y": y'):
        summing().fit(np.ones(2), np.ones(2))  # type: ignore[arg-type]


@pytest.mark.parametrize("act", [lambda t: t.evaluate(3), lambda t: t.evaluate(powers(2), 2)])
def test_evaluation_refuses_what_is_no_data(act: Callable[[prop.Trainer], object]) -> None:
    with pytest.raises(DataError):
        act(summing())
