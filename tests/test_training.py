"""Training: seeds, splits, metrics, interrupts, files, and the errors of data."""

import copy
import pickle
import signal
from pathlib import Path
from typing import Any

import backends
import numpy as np
import pytest

import symprop as prop
from codegen.philox import permutation
from symprop.errors import DataError, DeclarationError, ShapeError, SympropError, UnsupportedError
from symprop.optimizers import OPTIMIZERS


def blobs(count: int = 70, seed: int = 0) -> dict[str, Any]:
    """Three classes that a small network can tell apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    centres = np.array([[2, 0, 0, 1], [0, 2, 0, -1], [0, 0, 2, 0]])
    return {"x": centres[y] + 0.4 * rng.normal(size=(count, 4)), "y": y}


def step(metrics: Any = ("accuracy",)) -> prop.TrainingStep:
    x = prop.input("x", "batch feature=4")
    y = prop.labels("y", "batch", classes=3)
    net = prop.Sequential(prop.Dense(8, name="hidden"), prop.tanh, prop.Dense(3, name="logits"))
    logits = net(x)
    loss = prop.cross_entropy(logits, y)
    return prop.training_step(loss, prop.Adam(0.02), outputs={"logits": logits}, metrics=metrics)


def weights(trainer: prop.Trainer) -> dict[str, Any]:
    return {name: array.copy() for name, array in trainer.parameters.items()}


def test_fit_learns_and_remembers() -> None:
    trainer = step().compile(seed=1)
    data = blobs()
    before = trainer.evaluate(data)
    history = trainer.fit(data, epochs=12, batch_size=16, validation_split=0.2, seed=3)
    after = trainer.evaluate(data)
    assert history is trainer.history
    assert history.epochs == 12
    assert list(history) == ["loss", "accuracy", "validation_loss", "validation_accuracy"]
    assert all(len(column) == 12 for column in history.values())
    assert after["loss"] < 0.5 * before["loss"]
    assert after["accuracy"] > 0.9


def test_accuracy_counts_the_hits() -> None:
    trainer = step().compile()
    data = blobs()
    hits = trainer.predict({"x": data["x"]})["logits"].argmax(axis=1) == data["y"]
    assert trainer.evaluate(data)["accuracy"] == pytest.approx(hits.mean(), abs=1e-6)


def test_the_seed_decides_every_byte(tmp_path: Path) -> None:
    def run(seed: int, order: int) -> bytes:
        trainer = step().compile(seed=seed)
        trainer.fit(blobs(), epochs=2, batch_size=16, seed=order)
        trainer.save(tmp_path / "w")
        return (tmp_path / "w").read_bytes()

    assert run(0, 0) == run(0, 0)
    assert len({run(0, 0), run(1, 0), run(0, 1)}) == 3


def test_the_start_does_not_depend_on_what_else_is_asked_for() -> None:
    plain = step(metrics=()).compile(seed=5)
    full = step().compile(seed=5)
    for name, array in weights(plain).items():
        np.testing.assert_array_equal(array, full.parameters[name])
    wide = step().compile(seed=5, dtype="float64")
    for name, array in weights(wide).items():
        np.testing.assert_array_equal(array.astype(np.float32), full.parameters[name])


def test_an_epoch_visits_every_example_once() -> None:
    """With a gradient that is the input itself, one epoch of SGD subtracts the sum of all."""
    p = prop.parameter("p", 2, np.zeros(2))
    x = prop.input("x", "batch feature=2")
    trainer = prop.training_step(prop.sum(x * p), prop.SGD(1.0)).compile(dtype="float64")
    data = np.arange(22.0).reshape(11, 2)
    trainer.fit({"x": data}, epochs=3, batch_size=4)
    np.testing.assert_allclose(trainer.parameters["p"], -3 * data.sum(axis=0))


def test_the_last_batch_counts_by_its_length() -> None:
    trainer = step().compile(dtype="float64")
    data = blobs(33)
    whole = trainer.evaluate(data)
    parts = trainer.evaluate(data, batch_size=8)
    for name in whole:
        assert parts[name] == pytest.approx(whole[name], rel=1e-12)


def test_validation_data_is_not_trained_on() -> None:
    p = prop.parameter("p", (), 0.0)
    x = prop.input("x", "batch")
    trainer = prop.training_step(prop.sum(x * p), prop.SGD(1.0)).compile(dtype="float64")
    data = 2.0 ** np.arange(10)
    trainer.fit({"x": data}, batch_size=3, validation_split=0.3, seed=2)
    trained = int(-trainer.parameters["p"])
    assert trained.bit_count() == 7
    history = trainer.fit({"x": data}, validation_data={"x": data}, shuffle=False)
    assert "validation_loss" in history
    with pytest.raises(DataError, match="not both"):
        trainer.fit({"x": data}, validation_data={"x": data}, validation_split=0.2)


def test_step_returns_the_loss_before_the_update() -> None:
    trainer = step().compile()
    data = blobs()
    before = trainer.evaluate(data)["loss"]
    assert trainer.step(data) == pytest.approx(before, rel=1e-6)
    assert trainer.evaluate(data)["loss"] < before


def test_predict_needs_what_it_reads_and_any_batch() -> None:
    trainer = step().compile()
    data = blobs()
    logits = trainer.predict({"x": data["x"]})["logits"]
    assert logits.shape == (70, 3)
    one = trainer.predict({"x": data["x"][:1], "y": data["y"][:1]})["logits"]
    np.testing.assert_allclose(one, logits[:1], rtol=1e-5)


@backends.every_backend
def test_what_predict_returns_is_the_callers_own(backend: str) -> None:
    x, w = prop.input("x", "batch c=3"), prop.parameter("w", 3, np.ones(3))
    k = prop.constant(np.arange(3.0))
    outputs = {"w": w, "column": w.reshape(3, 1), "part": w[:2], "x": x, "k": k, "twice": x * 2}
    outputs |= {"again": x * 2, "flat": (x * 2).reshape(-1)}
    trainer = prop.training_step(prop.mean(x * w), prop.SGD(), outputs).compile(backend)
    given = np.ones((2, 3), np.float32)
    first = trainer.predict({"x": given})
    kept = {name: array.copy() for name, array in first.items()}
    for name, array in first.items():
        array[...] = 77
        others = {n: a for n, a in first.items() if n != name}
        assert not any(np.shares_memory(array, a) for a in others.values()), name
    np.testing.assert_array_equal(trainer.parameters["w"], 1)
    np.testing.assert_array_equal(given, 1)
    for name, array in trainer.predict({"x": given}).items():
        np.testing.assert_array_equal(array, kept[name])


def test_save_and_load_continue_bit_by_bit(tmp_path: Path) -> None:
    data = blobs()
    first = step().compile(seed=0)
    first.step(data)
    first.save(tmp_path / "w")
    second = step().compile(seed=9)
    second.load(tmp_path / "w")
    first.step(data)
    second.step(data)
    for name, array in weights(first).items():
        np.testing.assert_array_equal(array, second.parameters[name])


@pytest.mark.parametrize(
    ("optimizer", "backend"),
    [*((name, "numpy") for name in OPTIMIZERS), *backends.parameters("Adam")],
)
def test_a_training_that_was_saved_goes_on_bit_by_bit(
    optimizer: str, backend: str, tmp_path: Path
) -> None:
    """Six epochs at once, and three, saved, loaded elsewhere, and three: weights and moments."""
    data = blobs()
    options: dict[str, Any] = {"batch_size": 16, "validation_split": 0.2, "seed": 4}
    clip = prop.ClipGlobalNorm(0.5)
    recipe = prop.training_step(step().loss, OPTIMIZERS[optimizer](), clip=clip)
    whole, first, second = (recipe.compile(backend, seed=seed) for seed in (0, 0, 9))
    history = whole.fit(data, epochs=6, **options)
    first.fit(data, epochs=3, **options)
    first.save(tmp_path / "w")
    second.load(tmp_path / "w")
    rest = second.fit(data, epochs=3, first_epoch=4, **options)
    assert rest["validation_loss"] == history["validation_loss"][3:]
    for mine, wanted in ((second.parameters, whole.parameters), (second.states, whole.states)):
        assert list(mine) == list(wanted)
        for name, array in wanted.items():
            assert mine[name].tobytes() == array.tobytes()


def test_snapshots_are_copies_and_come_back() -> None:
    trainer, data = step().compile(), blobs()
    kept = trainer.snapshot()
    live = trainer.parameters["hidden.weight"]
    first = trainer.step(data)
    trainer.restore(kept)
    assert trainer.parameters["hidden.weight"] is live
    assert trainer.step(data) == first
    changed = weights(trainer)
    for wrong in ({}, None, {**kept, "hidden.bias": np.zeros(8)}, {**kept, "hidden.bias": 1}):
        with pytest.raises(DataError, match="snapshot"):
            trainer.restore(wrong)  # type: ignore[arg-type]
    for name, array in changed.items():
        np.testing.assert_array_equal(array, trainer.parameters[name])


@backends.every_backend
def test_a_deep_copy_is_a_trainer_of_its_own(backend: str) -> None:
    own = step().compile(backend, seed=1)
    own.fit(blobs(), epochs=2, batch_size=16)
    twin = copy.deepcopy({"best": own})["best"]
    assert dict(twin.history) == dict(own.history)
    before = own.snapshot()
    losses = [twin.step(blobs()) for _ in range(3)]
    assert all(np.array_equal(array, before[n]) for n, array in own.snapshot().items())
    assert [own.step(blobs()) for _ in range(3)] == losses
    for name, array in own.snapshot().items():
        assert np.array_equal(twin.snapshot()[name], array)
    own.bind(blobs())
    with pytest.raises(DataError, match="no data is bound"):
        copy.deepcopy(own).step()


def test_what_holds_code_or_expressions_is_not_pickled_and_says_what_to_do() -> None:
    recipe = step()
    trainer = recipe.compile()
    for act in (lambda: pickle.dumps(trainer), lambda: pickle.dumps({"t": trainer})):
        with pytest.raises(UnsupportedError, match=r"cannot be pickled: .*trainer\.save\(path\)"):
            act()
    for thing in (recipe, recipe.loss, prop.compile(recipe.loss)):
        with pytest.raises(UnsupportedError, match=r"an expression cannot be pickled"):
            pickle.dumps(thing)
    with pytest.raises(UnsupportedError, match=r"call copy\.deepcopy"):
        copy.copy(trainer)


def test_a_copy_of_an_expression_or_a_layer_is_the_same_value() -> None:
    x = prop.input("x", "batch feature=4")
    net = prop.Dense(3, name="d")
    y = net(x)
    assert copy.deepcopy(y).node is copy.copy(y).node is y.node
    assert copy.deepcopy(net)(x).node is y.node
    assert prop.compile([y, copy.deepcopy(y)]).inputs == prop.compile(y).inputs


def test_a_bare_loop_trains_without_a_trainer() -> None:
    """Gradients are functions of arrays: the loop is the reader's own."""
    X, Y = blobs()["x"], blobs()["y"]
    x = prop.input("x", "batch feature=4")
    y = prop.labels("y", "batch", classes=3)
    net = prop.Sequential(prop.Dense(8, name="hidden"), prop.tanh, prop.Dense(3, name="logits"))
    loss = prop.cross_entropy(net(x), y)
    gradients = prop.gradient(loss, list(net.parameters.values()))

    f = prop.compile([loss, *gradients])
    weights = prop.initial_values(loss, seed=0)
    eta = 0.5
    losses = []
    for _ in range(50):
        value, *grads = f(x=X, y=Y, **weights)
        for name, dW in zip(net.parameters, grads, strict=True):
            weights[name] -= eta * dW
        losses.append(float(value))

    assert losses[-1] < 0.3 * losses[0]
    trainer = prop.training_step(loss, prop.SGD(eta)).compile(seed=0)
    assert losses == pytest.approx([trainer.step({"x": X, "y": Y}) for _ in range(50)], rel=1e-4)
    for name, array in trainer.parameters.items():
        np.testing.assert_allclose(weights[name], array, rtol=1e-3, atol=1e-5)


@backends.every_backend
def test_every_backend_trains_predicts_and_evaluates(backend: str) -> None:
    data, trainers = blobs(), [step().compile(b, dtype="float64") for b in ("numpy", backend)]
    for trainer in trainers:
        trainer.fit(data, epochs=3, batch_size=16, validation_split=0.2)
    plain, other = trainers
    assert dict(other.history) == {
        name: pytest.approx(column, rel=1e-9) for name, column in plain.history.items()
    }
    np.testing.assert_allclose(
        other.predict({"x": data["x"]})["logits"], plain.predict({"x": data["x"]})["logits"],
        rtol=1e-9,
    )  # fmt: skip
    assert other.evaluate(data, batch_size=9) == pytest.approx(plain.evaluate(data), rel=1e-9)


def test_a_file_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    trainer = step().compile()
    before = weights(trainer)
    (tmp_path / "w").write_bytes(b"nonsense")
    with pytest.raises(DataError):
        trainer.load(tmp_path / "w")
    step().compile(dtype="float64").save(tmp_path / "w")
    with pytest.raises(DataError, match="float32"):
        trainer.load(tmp_path / "w")
    for name, array in before.items():
        np.testing.assert_array_equal(array, trainer.parameters[name])


def test_the_text_that_runs_can_be_read() -> None:
    recipe = step()
    trainer = recipe.compile("numpy")
    assert trainer.source() == recipe.source("numpy")
    assert str(trainer.loops) == str(recipe.loops)
    assert "hidden_weight" in trainer.source()
    assert max(map(len, trainer.source().splitlines())) <= 100
    assert "hidden.weight" in str(recipe.program) or "hidden_weight" in str(recipe.program)


class InterruptAfter:
    """A compiled step that sends Ctrl-C in the middle of call number n."""

    def __init__(self, compiled: Any, n: int) -> None:
        self.compiled, self.left = compiled, n

    def __getattr__(self, name: str) -> Any:
        return getattr(self.compiled, name)

    def call(self, arrays: dict[str, Any]) -> Any:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return self.compiled.call(arrays)


def test_an_interrupt_leaves_the_weights_between_two_steps() -> None:
    data = blobs()
    trainer = step().compile("numpy")
    trainer._runner.step = InterruptAfter(trainer._runner.step, 7)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(data, epochs=5, batch_size=16, seed=0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert trainer.history.epochs == 1
    assert trainer.states["adam.steps"] == 7
    reference = step().compile("numpy")
    for epoch, count in ((0, 5), (1, 2)):
        order = permutation(0, epoch, 70)
        for k in range(count):
            chosen = order[16 * k : 16 * k + 16]
            reference.step({"x": data["x"][chosen], "y": data["y"][chosen]})
    for name, array in weights(reference).items():
        np.testing.assert_array_equal(array, trainer.parameters[name])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.zeros(70)}, ["'x'", "(batch, feature=4)", "(70,)"]),
        ({"x": np.zeros((70, 5))}, ["axis 1 is 5, not 4"]),
        ({"x": np.zeros((60, 4))}, ["batch is 60 in 'x'", "70 in 'y'"]),
        ({"x": None}, ["'x'", "missing"]),
        ({"z": np.zeros(70)}, ["'z'", "not an input"]),
        ({"y": np.zeros(70)}, ["'y'", "float64", "0 to 2"]),
        ({"y": np.full(70, 3)}, ["'y'", "0 to 2", "3"]),
        ({"x": np.zeros((0, 4)), "y": np.zeros(0, int)}, ["at least 1"]),
    ],
)
def test_data_that_does_not_fit(change: dict[str, Any], words: list[str]) -> None:
    trainer = step().compile()
    before = weights(trainer)
    for call in (trainer.fit, trainer.step):
        with pytest.raises(DataError) as caught:
            call({**blobs(), **change})
        for word in words:
            assert word in str(caught.value)
    for name, array in before.items():
        np.testing.assert_array_equal(array, trainer.parameters[name])


def test_layouts_of_data() -> None:
    data = blobs()
    plain, odd = step().compile(), step().compile()
    x = np.asfortranarray(data["x"].astype(">f8"))
    x.flags.writeable = False
    plain.fit(data, batch_size=16)
    odd.fit({"x": x, "y": data["y"].astype(np.int8)[::-1][::-1]}, batch_size=16)
    for name, array in weights(plain).items():
        np.testing.assert_array_equal(array, odd.parameters[name])


def test_values_that_are_not_finite() -> None:
    data = blobs()
    data["x"][3, 2] = np.nan
    with pytest.raises(DataError, match=r"'x'.*finite"):
        step().compile(check_finite=True).fit(data)
    p = prop.parameter("p", (), 1.0)
    trainer = prop.training_step(p * p, prop.SGD(1e30)).compile(check_finite=True)
    with pytest.raises(prop.NonFiniteError, match="learning rate"), np.errstate(over="ignore"):
        for _ in range(3):
            trainer.step({})


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"batch_size": 0},
        {"batch_size": True},
        {"validation_split": 1.0},
        {"validation_split": -0.1},
        {"validation_split": 1e-9},
        {"validation_split": "0.2"},
    ],
)
def test_options_of_fit(options: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        step().compile().fit(blobs(), **options)


def test_fit_needs_one_axis_of_examples() -> None:
    p = prop.parameter("p", (), 1.0)
    a, b = prop.input("a", "inside"), prop.input("b", "boundary")
    loss = prop.mean(a * p) + prop.mean(b * p)
    trainer = prop.training_step(loss, prop.SGD()).compile()
    with pytest.raises(UnsupportedError, match=r"trainer\.step"):
        trainer.fit({"a": np.ones(3), "b": np.ones(2)})
    trainer.step({"a": np.ones(3), "b": np.ones(2)})


def test_inputs_without_examples_are_handed_to_every_batch() -> None:
    p = prop.parameter("p", 2, np.ones(2))
    x, table = prop.input("x", "batch feature=2"), prop.input("table", (2, 2))
    trainer = prop.training_step(prop.mean((x @ table) * p), prop.SGD()).compile()
    history = trainer.fit({"x": np.ones((5, 2)), "table": np.eye(2)}, batch_size=2)
    assert np.isfinite(history["loss"]).all()


def test_declarations_that_cannot_be_trained() -> None:
    x = prop.input("x", "batch feature=4")
    y = prop.labels("y", "batch", classes=3)
    logits = prop.Dense(3)(x)
    loss = prop.cross_entropy(logits, y)
    sgd = prop.SGD()
    with pytest.raises(ShapeError, match="mean or sum"):
        prop.training_step(logits, sgd)
    with pytest.raises(DeclarationError, match="no parameter"):
        prop.training_step(prop.mean(x), sgd)
    with pytest.raises(DeclarationError, match="expression"):
        prop.training_step("loss", sgd)  # type: ignore[arg-type]
    for wrong in (1e-3, "adam", None, prop.Adam):
        with pytest.raises(DeclarationError, match="optimizer"):
            prop.training_step(loss, wrong)  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="outputs"):
        prop.training_step(loss, sgd, outputs=logits)  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="'logits'"):
        prop.training_step(loss, sgd, outputs={"logits": "logits"})  # type: ignore[dict-item]
    for name in ("\x1b[31mX", "a\nb", "", 3):
        with pytest.raises(DeclarationError, match=r"\x1b|cannot name an output|must be text"):
            prop.training_step(loss, sgd, outputs={name: logits})  # type: ignore[dict-item]
    with pytest.raises(DeclarationError, match="accuracy"):
        prop.training_step(loss, sgd, outputs={"logits": logits}, metrics=["acuracy"])
    with pytest.raises(DeclarationError, match="one output"):
        prop.training_step(loss, sgd, metrics=["accuracy"])
    with pytest.raises(DeclarationError, match=r"prop\.labels"):
        prop.training_step(prop.mean(logits), sgd, outputs={"z": logits}, metrics=["accuracy"])
    with pytest.raises(DeclarationError, match="nothing to predict"):
        prop.training_step(loss, sgd).compile().predict({"x": np.zeros((1, 4))})
    with pytest.raises(SympropError):
        prop.training_step(loss, sgd).compile("fpga")


def test_metrics_as_expressions() -> None:
    trainer = step(metrics=()).compile()
    assert list(trainer.evaluate(blobs())) == ["loss"]
    x = prop.input("x", "batch")
    p = prop.parameter("p", (), 2.0)
    loss = prop.mse(x * p, x)
    own = prop.training_step(loss, prop.SGD(), metrics={"size": prop.mean(prop.abs(x))})
    assert own.compile().evaluate({"x": [1.0, -3.0]})["size"] == pytest.approx(2.0)
    with pytest.raises(ShapeError, match="'size'"):
        prop.training_step(loss, prop.SGD(), metrics={"size": x})
