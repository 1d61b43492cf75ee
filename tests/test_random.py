"""Random numbers in a network: the same bits everywhere, their statistics, and their steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import symprop as prop
from codegen.philox import philox, random_bits
from symprop import oracle
from symprop.errors import DeclarationError, ShapeError

BACKENDS = ["numpy", "native", "numba"]
FAST = pytest.mark.parametrize("backend", ["numpy", "native"])


def start(draw: int) -> np.ndarray:
    return np.array(draw, np.int64)


def drawn(
    y: prop.Expr, backend: str = "native", dtype: str = "float64", draw: int = 7
) -> np.ndarray:
    """What a function without a trainer gives; every count of its draws begins alike."""
    found = prop.compile(y, backend, dtype=dtype)
    return np.asarray(found({name: start(draw) for name in found.inputs}))


def test_bits_are_the_first_word_of_the_published_generator() -> None:
    for draw, place in ((0, 0), (5, 3), (2**62 - 1, 2**40 + 17), (2**33 + 4, 2**32 - 1)):
        counter = [place % 2**32, place // 2**32, draw % 2**32, draw // 2**32]
        assert random_bits(draw, place) == philox(counter, [0, 0])[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_has_the_same_bits_in_every_width(backend: str, dtype: str) -> None:
    draw = 2**61 + 12345
    found = drawn(prop.random_uniform((3, 5, 11)), backend, dtype, draw)
    bits = [random_bits(draw, place) for place in range(3 * 5 * 11)]
    want = (np.array(bits, dtype) + np.array(0.5, dtype)) * np.array(2.0**-32, dtype)
    np.testing.assert_array_equal(found, want.reshape(3, 5, 11))
    mask = drawn(prop.bernoulli(0.3, (3, 5, 11)), backend, dtype, draw)
    np.testing.assert_array_equal(mask.ravel(), np.array(bits) < round(0.3 * 2**32))


@pytest.mark.parametrize("backend", BACKENDS)
def test_normal_numbers_are_those_of_the_oracle(backend: str) -> None:
    y = prop.random_normal((4, 9))
    want = oracle.evaluate([y], {"normal.draw": start(7)})[0]
    np.testing.assert_allclose(drawn(y, backend), want, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(drawn(y, backend, "float32"), want, rtol=1e-5, atol=1e-4)


def test_numbers_are_distributed_as_they_say() -> None:
    n = 200_000
    u, z = drawn(prop.random_uniform((n,))), drawn(prop.random_normal((n,)))
    assert 0 < u.min() < u.max() < 1
    spread = 5 / n**0.5  # five standard deviations
    assert abs(u.mean() - 1 / 2) < spread * 12**-0.5
    assert abs(u.var() - 1 / 12) < spread * 180**-0.5
    assert abs(z.mean()) < spread
    assert abs(z.var() - 1) < spread * 2**0.5
    assert abs((z**4).mean() - 3) < spread * 96**0.5
    assert abs((np.abs(z) > 3).mean() - 0.0026998) < spread * 0.052
    later = drawn(prop.random_normal((n,)), draw=8)
    for other in (later, np.roll(z, 1)):
        assert abs((z * other).mean()) < spread


@FAST
def test_an_element_does_not_know_how_large_the_batch_is(backend: str) -> None:
    x = prop.input("x", "batch row=3 column=4")
    f = prop.compile(prop.Dropout(0.5)(x), backend, dtype="float64")
    few, many = (f({"x": np.ones((n, 3, 4)), "dropout.draw": start(3)}) for n in (2, 50))
    np.testing.assert_array_equal(many[:2], few)


@FAST
def test_free_inner_sizes_count_places_in_order(backend: str) -> None:
    x = prop.input("x", "batch time feature=2")
    f = prop.compile(prop.Dropout(0.5)(x), backend, dtype="float64")
    found = f({"x": np.ones((3, 5, 2)), "dropout.draw": start(3)})
    want = [2.0 * (random_bits(3, place) < 2**31) for place in range(30)]
    np.testing.assert_array_equal(np.ravel(found), want)


@FAST
def test_the_gradient_is_that_of_a_mask_handed_in(backend: str) -> None:
    x, mask = prop.input("x", "batch feature=6"), prop.input("mask", "batch feature=6")
    w = prop.parameter("w", (4, 6), prop.Zeros())

    def loss(y: prop.Expr) -> prop.Expr:
        return prop.mean(prop.square(prop.tanh(y) @ w.T))

    own, given = loss(prop.Dropout(0.25)(x)), loss(x * mask)
    data = {"x": np.linspace(-2, 2, 30).reshape(5, 6), "w": np.linspace(-1, 1, 24).reshape(4, 6)}
    kept = [random_bits(9, k) < 0.75 * 2**32 for k in range(30)]
    masks = np.reshape(kept, (5, 6)) / 0.75
    found = prop.compile(prop.gradient(own, [x, w]), backend, dtype="float64")(
        {**data, "dropout.draw": start(9)}
    )
    want = prop.compile(prop.gradient(given, [x, w]), backend, dtype="float64")(
        {**data, "mask": masks}
    )
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def network() -> prop.TrainingStep:
    x, y = prop.input("x", "batch feature=8"), prop.input("y", "batch unit=3")
    net = prop.Sequential(
        prop.GaussianNoise(0.1), prop.Dense(16), prop.tanh, prop.Dropout(0.5), prop.Dense(3)
    )
    out = net(x)
    return prop.training_step(prop.mean(prop.square(out - y)), prop.Adam(0.01), {"out": out})


def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(64, 8)), "y": rng.normal(size=(64, 3))}


@FAST
def test_a_prediction_is_without_noise_and_a_loss_is_not(backend: str) -> None:
    trainer = network().compile(backend, dtype="float64")
    first, second = (trainer.predict(data())["out"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert trainer.evaluate(data()) == trainer.evaluate(data())
    losses = [prop.training_step(prop.mean(prop.Dropout(0.5)(prop.input("x", "n"))
              * prop.parameter("w", (), prop.Constant(1.0))), prop.SGD(1e-30)).compile(
              backend, seed=seed).step({"x": np.ones(64)}) for seed in (0, 0, 1)]  # fmt: skip
    assert losses[0] == losses[1] != losses[2]


def test_many_steps_in_machine_code_are_as_many_steps() -> None:
    one, other = (network().compile("native", dtype="float64") for _ in range(2))
    before = {name: np.array(value) for name, value in one.states.items()}
    one.bind(data())
    other.bind(data())
    np.testing.assert_array_equal(one.run(5), [other.step() for _ in range(5)])
    for name in one.states:
        np.testing.assert_array_equal(one.states[name], other.states[name])
    counts = [name for name in before if name.endswith(".draw")]
    assert len(counts) == 2
    assert all(one.states[name] == before[name] + 5 for name in counts)


@FAST
def test_a_training_that_goes_on_is_the_one_that_never_stopped(
    backend: str, tmp_path: Path
) -> None:
    whole, first, second = (network().compile(backend, dtype="float64") for _ in range(3))
    whole.fit(data(), 4, 16, progress=False)
    first.fit(data(), 2, 16, progress=False)
    first.save(tmp_path / "half.npz")
    second.load(tmp_path / "half.npz")
    second.fit(data(), 2, 16, first_epoch=3, progress=False)
    for name in whole.parameters:
        np.testing.assert_array_equal(whole.parameters[name], second.parameters[name])


def test_numpy_and_machine_code_train_alike() -> None:
    found = []
    for backend in ("numpy", "native"):
        trainer = network().compile(backend, dtype="float64")
        trainer.fit(data(), 3, 16, progress=False)
        found.append(trainer.parameters)
    for name, value in found[0].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-9, atol=1e-12)


def test_whole_maps_are_dropped_where_axes_are_shared() -> None:
    x = prop.input("x", "batch channel=6 row=4 column=4")
    f = prop.compile(prop.Dropout(0.5, shared=(2, 3))(x), dtype="float64")
    found = f({"x": np.ones((8, 6, 4, 4)), "dropout.draw": start(1)})
    assert set(np.unique(found)) == {0.0, 2.0}
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :, :1, :1], found.shape))
    assert 10 < np.count_nonzero(found[:, :, 0, 0]) < 38


def test_a_second_call_of_a_layer_draws_other_numbers() -> None:
    x, layer = prop.input("x", "n"), prop.Dropout(0.5)
    f = prop.compile([layer(x), layer(x)], dtype="float64")
    values = prop.initial_values([layer(x)])
    assert list(values) == ["dropout.call3.draw"]
    first, second = f({"x": np.ones(99), "dropout.draw": start(1), "dropout.call2.draw": start(2)})
    assert (first != second).any()


def test_a_call_without_a_trainer_moves_its_count() -> None:
    y = prop.random_normal((5,), "eps")
    f, states = prop.compile(y), prop.initial_values(y, seed=3)
    first = int(states["eps.draw"])
    assert (f(states) != f(states)).all()
    assert states["eps.draw"] == first + 2


def test_a_rate_of_0_is_nothing_and_others_are_refused() -> None:
    x = prop.input("x", "batch feature=2")
    assert prop.Dropout(0)(x) is x
    assert prop.GaussianNoise(0.0)(x) is x
    for rate in (1, 1.0, -0.1, True, "half", float("nan")):
        with pytest.raises(DeclarationError, match="rate of Dropout"):
            prop.Dropout(rate)  # type: ignore[arg-type]
    for std in (-1, float("inf"), "one"):
        with pytest.raises(DeclarationError, match="std of GaussianNoise"):
            prop.GaussianNoise(std)  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="probability"):
        prop.bernoulli(1.5, (2,))
    with pytest.raises(ShapeError, match="shares axis 2"):
        prop.Dropout(0.5, shared=2)(x)


def test_check_holds_the_draw_still() -> None:
    x = prop.input("x", "batch feature=4")
    y = prop.Dropout(0.5)(prop.tanh(prop.Dense(3)(x)))
    assert prop.check(prop.mean(prop.square(y)), backends=("numpy",)).ok
