"""Bad input: each mistake gets its one sentence in the user's names, or simply works.

In: the public calls only.  Guarantees: an error is a SympropError of one short line that names what
the user named.  Names that try to break out of generated text are in test_hostile_names.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy

import symprop as prop
from symprop.errors import SympropError


def refuses(act: Callable[[], Any], *words: str) -> str:
    """The one sentence with which symprop refuses; it holds the words."""
    with pytest.raises(SympropError) as caught:
        act()
    sentence = str(caught.value)
    assert sentence
    assert "\n" not in sentence
    assert len(sentence) <= 400
    for word in words:
        assert word in sentence, f"{word!r} is not in: {sentence}"
    return sentence


def classifier() -> Any:
    """A trainer of a small classifier with inputs `x` (batch, 3) and `y` in 0 .. 1."""
    x = prop.input("x", "batch feature=3")
    y = prop.labels("y", "batch", classes=2)
    net = prop.Sequential(prop.Dense(4, name="hidden"), prop.relu, prop.Dense(2, name="logits"))
    logits = net(x)
    step = prop.training_step(
        prop.cross_entropy(logits, y), prop.Adam(1e-2), outputs={"logits": logits}
    )
    return step.compile("numpy", seed=0)


def data(examples: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(examples, 3)), "y": rng.integers(0, 2, size=examples)}


# --- Shapes -------------------------------------------------------------------------------------


def test_wrong_rank_of_an_array() -> None:
    refuses(lambda: classifier().step(data() | {"x": np.ones((6, 3, 1))}), "x", "3")


def test_wrong_size_of_a_named_dimension() -> None:
    refuses(lambda: classifier().step(data() | {"x": np.ones((6, 5))}), "x", "5", "3")


def test_batches_that_disagree() -> None:
    refuses(lambda: classifier().step(data() | {"y": np.zeros(4, dtype=int)}), "batch", "x", "y")


@pytest.mark.parametrize(
    "act",
    [
        lambda a, b: a + b,
        lambda a, b: a * b,
        lambda a, b: prop.maximum(a, b),
        lambda a, b: prop.where(a > 0, a, b),
        lambda a, b: a @ b,
        lambda a, b: prop.stack([a, b]),
        lambda a, b: prop.mse(a, b),
        lambda a, b: prop.einsum("i,i->", a, b),
    ],
)
def test_shapes_that_do_not_fit_in_an_expression(act: Callable[[Any, Any], Any]) -> None:
    first, second = prop.input("first", 3), prop.input("second", 4)
    refuses(lambda: act(first, second), "first", "second", "3", "4")


def test_two_symbolic_dimensions_are_not_equal() -> None:
    first, second = prop.input("first", "batch"), prop.input("second", "time")
    refuses(lambda: first + second, "first", "second", "batch", "time")


@pytest.mark.parametrize(
    "act",
    [
        lambda x: x.sum(axis=2),
        lambda x: prop.softmax(x, axis=-3),
        lambda x: x.transpose((0, 0)),
        lambda x: x.reshape((7, 2)),
        lambda x: x.reshape((-1, -1)),
        lambda x: x[5],
        lambda x: x[0, 0, 0],
        lambda x: x[::0],
        lambda x: prop.broadcast_to(x, (4, 4)),
        lambda x: prop.einsum("ij,jk->ik", x),
        lambda x: prop.einsum("ij->ik", x),
        lambda x: prop.take(x, np.array([9]), axis=0),
        lambda x: prop.max_pool2d(x, 2),
        lambda x: prop.conv2d(x, np.ones((1, 1, 2, 2))),
        lambda x: prop.layer_norm(x, axis=5),
    ],
)
def test_axes_and_shapes_that_do_not_exist(act: Callable[[Any], Any]) -> None:
    x = prop.input("image", (4, 3))
    refuses(lambda: act(x), "image")


def test_a_loss_that_is_not_a_single_number() -> None:
    x = prop.input("x", 3)
    refuses(lambda: prop.gradient(prop.exp(x).named("heights"), x), "heights", "3")
    w = prop.parameter("w", 3, init=np.ones(3))
    refuses(lambda: prop.training_step((w * x).named("heights"), prop.SGD(0.1)), "3")


# --- Names of inputs -----------------------------------------------------------------------------


def test_an_unknown_name() -> None:
    refuses(lambda: classifier().step(data() | {"z": np.ones(3)}), "'z'", "x")
    function = prop.compile(prop.exp(prop.input("height", 3)))
    refuses(lambda: function(heigth=np.ones(3)), "heigth", "height")


def test_a_missing_name() -> None:
    refuses(lambda: classifier().step({"x": np.ones((6, 3))}), "y")


def test_a_name_declared_twice() -> None:
    first, second = prop.input("height", 3), prop.input("height", 3)
    third = prop.input("height", 4)
    refuses(lambda: prop.compile(prop.sum(first) + prop.sum(third)), "height")
    refuses(lambda: prop.compile(first + second), "height")


def test_a_name_may_serve_in_two_models() -> None:
    for size in (3, 4):
        function = prop.compile(prop.sum(prop.input("x", size)))
        assert float(function({"x": np.ones(size)})) == size


def test_two_layers_of_one_name() -> None:
    refuses(
        lambda: prop.Sequential(prop.Dense(3, name="hidden"), prop.Dense(3, name="hidden")),
        "hidden",
    )


@pytest.mark.parametrize("name", [None, 3, "", b"x", ("x",)])
def test_a_name_that_is_not_text(name: Any) -> None:
    refuses(lambda: prop.input(name, 3))


@pytest.mark.parametrize(
    "dims", ["batch=0", "batch=-3", "a=b", -1, (3, -2), 2.5, (None,), "a=1 a=2"]
)
def test_dims_that_are_not_dims(dims: Any) -> None:
    refuses(lambda: prop.input("height", dims), "height")


# --- Contents of arrays ------------------------------------------------------------------------


def test_float_labels() -> None:
    refuses(lambda: classifier().step(data() | {"y": np.zeros(6)}), "y", "float64")


@pytest.mark.parametrize("wrong", [-1, 2, 10])
def test_labels_out_of_range(wrong: int) -> None:
    labels = np.zeros(6, dtype=int)
    labels[4] = wrong
    refuses(lambda: classifier().step(data() | {"y": labels}), "y", str(wrong))
    refuses(lambda: classifier().evaluate(data() | {"y": labels}), "y", str(wrong))


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_inputs_that_are_not_finite(wrong: float) -> None:
    height = prop.input("height", 3)
    values = {"height": np.array([1.0, wrong, 2.0])}
    checked = prop.compile(prop.square(height), check_finite=True)
    refuses(lambda: checked(values), "height")
    unchecked = prop.compile(prop.square(height))
    assert not np.isfinite(unchecked(values)[1])


def test_an_empty_batch() -> None:
    empty = {"x": np.ones((0, 3)), "y": np.zeros(0, dtype=int)}
    refuses(lambda: classifier().step(empty), "batch")


@pytest.mark.parametrize(
    "wrong",
    [
        np.array([["a", "b", "c"]]),
        np.array([[None, 1, 2]]),
        np.ones((1, 3), dtype=complex),
        [[1.0, 2.0], [3.0]],
        object(),
        np.ma.masked_array(np.ones((1, 3)), mask=[[1, 0, 0]]),
    ],
)
def test_what_is_not_an_array_of_numbers(wrong: Any) -> None:
    refuses(lambda: classifier().predict({"x": wrong}), "x")


def test_what_is_not_a_mapping() -> None:
    refuses(lambda: classifier().step(np.ones((6, 3))), "mapping")


@pytest.mark.parametrize(
    "layout",
    [
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a[::-1][::-1],
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: a.tolist(),
    ],
)
def test_every_layout_of_an_array_gives_the_same_result(layout: Callable[[Any], Any]) -> None:
    plain = data()
    expected = classifier().step(plain)
    assert classifier().step({n: layout(a) for n, a in plain.items()}) == expected


def test_read_only_arrays_are_read() -> None:
    plain = data()
    expected = classifier().step(plain)
    for array in plain.values():
        array.flags.writeable = False
    assert classifier().step(plain) == expected


def test_the_arrays_handed_in_are_not_changed() -> None:
    plain = {n: a.astype(np.float32) if n == "x" else a for n, a in data().items()}
    before = {n: a.copy() for n, a in plain.items()}
    trainer = classifier()
    trainer.step(plain)
    trainer.predict({"x": plain["x"]})
    for name, array in plain.items():
        np.testing.assert_array_equal(array, before[name])


# --- Things where an expression is expected -------------------------------------------------------


@pytest.mark.parametrize(
    "act",
    [
        lambda x: prop.exp("x"),
        lambda x: x + "x",
        lambda x: "x" * x,
        lambda x: x @ "x",
        lambda x: prop.where("x > 0", x, 0),
        lambda x: prop.sum("x"),
        lambda x: prop.concat(["x", x]),
        lambda x: prop.gradient("loss", x),
        lambda x: prop.gradient(prop.sum(x), "x"),
        lambda x: prop.compile("x"),
        lambda x: prop.compile([x, "x"]),
        lambda x: prop.cross_entropy(x, "y"),
        lambda x: prop.training_step("loss", prop.Adam(1e-3)),
        lambda x: prop.training_step(prop.sum(x), "adam"),
        lambda x: prop.Dense(3)("x"),
        lambda x: prop.update(x, "x", x),
        lambda x: prop.stop_gradient("x"),
    ],
)
def test_text_where_an_expression_is_expected(act: Callable[[Any], Any]) -> None:
    with pytest.raises((SympropError, TypeError)) as caught:
        act(prop.input("x", "batch"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: sympy.Function("mystery")(x),
        lambda x: sympy.besselj(0, x),
        lambda x: math.sin(x),
        lambda x: np.sin(x),
        lambda x: "x + 1",
        lambda x: None,
        lambda x: sympy.Symbol("elsewhere") + x,
    ],
)
def test_a_formula_with_functions_that_nobody_knows(formula: Any) -> None:
    def run() -> Any:
        wave = prop.elementwise("wave", formula)
        return prop.compile(wave(prop.input("x", 3)))

    refuses(run, "wave")


def test_an_expression_has_no_truth_value() -> None:
    x = prop.input("height", 3)
    for act in (lambda: bool(x > 0), lambda: x > 0 and x, lambda: 1 if x.sum() == 0 else 2):
        with pytest.raises((SympropError, TypeError)) as caught:
            act()
        assert "where" in str(caught.value)


def test_options_that_do_not_exist() -> None:
    x = prop.input("x", 3)
    refuses(lambda: prop.compile(x, backend="fortran"), "fortran", "numpy")
    refuses(lambda: prop.compile(x, dtype="float8"), "float8", "float32")
    refuses(lambda: prop.input("x", 3, dtype="text"), "x", "text")
    refuses(lambda: prop.parameter("w", (2, 3), init="best"), "w", "best", "'he'", "'glorot'")
    refuses(lambda: prop.parameter("w", (2, 3), init=None), "w", "None", "prop.He()")
    refuses(lambda: prop.parameter("w", (2, 3), init=np.ones((3, 2))), "w")
    refuses(lambda: prop.labels("y", "batch", classes=0), "y")


COUNTS: dict[str, Callable[[Any, Any], object]] = {
    "epochs": lambda t, n: t.fit(data(), epochs=n),
    "batch_size": lambda t, n: t.fit(data(), batch_size=n),
    "first_epoch": lambda t, n: t.fit(data(), first_epoch=n),
    "steps_per_epoch": lambda t, n: t.fit([data()], steps_per_epoch=n),
    "batch_size ": lambda t, n: t.bind(data(), batch_size=n),
    "batch_size  ": lambda t, n: t.evaluate(data(), batch_size=n),
    "the number of steps": lambda t, n: (t.bind(data()), t.run(n)),
    "seed": lambda t, n: t.fit(data(), seed=n),
    "seed ": lambda t, n: t.bind(data(), batch_size=2, shuffle=True, seed=n),
}


@pytest.mark.parametrize("name", COUNTS)
def test_what_is_no_whole_number_is_refused_with_what_it_is(name: str) -> None:
    trainer = classifier()
    before = trainer.snapshot()
    for wrong, words in (
        ("32", ["is the text '32': write 32 without quotes"]),
        ("many", ["is the text 'many'"]),
        (32.0, ["'32.0' of type 'float'"]),
        (True, ["'True' of type 'bool'"]),
        ([32], ["of type 'list'"]),
    ):
        refuses(lambda wrong=wrong: COUNTS[name](trainer, wrong), name.strip(), *words)
        with pytest.raises(TypeError):
            COUNTS[name](trainer, wrong)
    refuses(lambda: COUNTS[name](trainer, -1), name.strip(), "-1")
    assert all(np.array_equal(a, before[n]) for n, a in trainer.snapshot().items())


# --- Parameters ---------------------------------------------------------------------------------


def test_a_parameter_that_the_loss_does_not_read() -> None:
    x = prop.input("x", 3)
    used = prop.parameter("used", 3, init=np.ones(3))
    unused = prop.parameter("unused", (2, 2), init=np.ones((2, 2)))
    loss = prop.sum(x * prop.square(used))
    gradients = prop.compile(prop.gradient(loss, [used, unused]), dtype="float64")
    values = {"x": np.ones(3), "used": np.ones(3)}
    values |= {"unused": np.ones((2, 2))} if "unused" in gradients.inputs else {}
    first, second = gradients(values)
    np.testing.assert_array_equal(first, [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(second, np.zeros((2, 2)))


def test_a_loss_without_parameters_cannot_be_trained() -> None:
    x = prop.input("x", "batch")
    refuses(lambda: prop.training_step(prop.mean(x), prop.Adam(1e-3)), "parameter")


# --- Sizes, NumPy's functions, divisions by nothing ----------------------------------------------


def test_a_size_where_a_value_is_expected() -> None:
    x = prop.input("x", "batch feature=3")
    for act in (lambda: x / x.shape[0], lambda: x.shape[0] * x, lambda: x + x.reshape(-1).shape[0]):
        refuses(act, "batch", "prop.size(x, axis)")


@pytest.mark.parametrize("given", [("batch",), ("batch", 0), (3, 0), (prop.input("x", "batch"),)])
def test_the_size_of_what_has_none(given: tuple[Any, ...]) -> None:
    refuses(lambda: prop.size(*given), "prop.size(x, 0)")


@pytest.mark.parametrize(
    ("act", "cure"),
    [
        (lambda x: np.sqrt(x), "use prop.sqrt"),
        (lambda x: np.maximum(x, 0), "use prop.maximum"),
        (lambda x: np.maximum(np.ones(3), x), "use prop.maximum"),
        (lambda x: np.absolute(x), "use prop.abs"),
        (lambda x: np.arctan(x), "prop.elementwise"),
        (lambda x: np.add.reduce(x), "np.add.reduce"),
        (lambda x: np.ones(3) // x, "np.floor_divide"),
    ],
)
def test_numpys_functions_name_those_of_symprop(act: Callable[[Any], Any], cure: str) -> None:
    refuses(lambda: act(prop.input("x", "batch feature=3")), "'x'", cure)


def test_an_expression_added_into_an_array() -> None:
    array = np.ones(3)

    def act() -> None:
        nonlocal array
        array += prop.input("x", 3)

    refuses(act, "'x'")


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    "/": lambda a, b: a / b, "**": lambda a, b: a**b, "@": lambda a, b: a @ b,
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
    "&": lambda a, b: (a > 1) & (b > 1), "|": lambda a, b: (a > 1) | (b > 1),
}  # fmt: skip


@pytest.mark.parametrize("operator", list(OPERATORS))
def test_arrays_and_numpys_numbers_on_either_side_of_an_operator(operator: str) -> None:
    calculate, x, values = OPERATORS[operator], prop.input("x", 3), np.array([0.5, 2.0, 3.0])
    for other in (np.array([2.0, 2.0, 1.5]), np.float64(2), np.float32(2), np.array(2.0)):
        if operator == "@" and not other.ndim:
            continue
        for act in (lambda v, o=other: calculate(v, o), lambda v, o=other: calculate(o, v)):
            found = prop.compile(act(x), dtype="float64")(x=values)
            np.testing.assert_allclose(found, act(values), rtol=1e-15)


@pytest.mark.parametrize(
    "act",
    [
        lambda x: 1 / (x - x),
        lambda x: x / (x * 0),
        lambda x: (x - x) ** -1,
        lambda x: prop.power(x - x, -2),
        lambda x: prop.mean(x) / prop.sum(x - x),
        lambda x: 1 / prop.where(x > 0, 0.0, 0.0),
        lambda x: x / 0,
    ],
)
def test_a_divisor_that_is_zero_whatever_the_values(act: Callable[[Any], Any]) -> None:
    x = prop.input("x", "batch feature=3")
    refuses(lambda: act(x), "division by", "0", "test_bad_input.py")


def test_a_divisor_that_is_found_to_be_zero_while_compiling_is_that_of_floats() -> None:
    x = prop.input("x", "batch feature=3")
    found = prop.compile(1 / ((x + 1) - x - 1))(x=np.ones((2, 3)))
    np.testing.assert_array_equal(found, np.full((2, 3), np.inf))
