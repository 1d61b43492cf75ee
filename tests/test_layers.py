"""Layers: names by position, shared parameters, shapes (out, in), and their errors."""

import numpy as np
import pytest

import symprop as prop
from symprop.errors import DeclarationError, ShapeError


def x() -> prop.Expr:
    return prop.input("x", "batch pixel=6")


def test_dense_is_the_affine_map_of_the_textbook() -> None:
    net = prop.Dense(3, name="hidden")
    f = prop.compile(net(x()), dtype="float64")
    rng = np.random.default_rng(0)
    data, weight, bias = rng.normal(size=(5, 6)), rng.normal(size=(3, 6)), rng.normal(size=3)
    values = {"x": data, "hidden.weight": weight, "hidden.bias": bias}
    np.testing.assert_allclose(f(values), data @ weight.T + bias, rtol=1e-14)


def test_dense_on_the_last_of_three_axes_and_without_bias() -> None:
    net = prop.Dense(3, bias=False)
    y = net(prop.input("x", "batch time=4 feature=6"))
    assert y.shape[1:] == (4, 3)
    assert list(net.parameters) == ["dense.weight"]


def test_names_come_from_the_position() -> None:
    net = prop.Sequential(prop.Dense(5), prop.relu, prop.Dense(4, name="logits"), prop.Dense(2))
    net(x())
    assert list(net.parameters) == [
        "dense1.weight",
        "dense1.bias",
        "logits.weight",
        "logits.bias",
        "dense3.weight",
        "dense3.bias",
    ]
    assert net["logits.weight"].shape == (4, 5)


def test_names_of_nested_networks() -> None:
    inner = prop.Sequential(prop.Dense(5), prop.tanh, name="encoder")
    net = prop.Sequential(inner, prop.Sequential(prop.Dense(4)), name="model")
    net(x())
    assert [name for name in net.parameters if name.endswith("weight")] == [
        "model.encoder.dense1.weight",
        "model.sequential2.dense1.weight",
    ]


def test_a_layer_used_twice_shares_its_parameters() -> None:
    layer = prop.Dense(6)
    net = prop.Sequential(layer, prop.tanh, layer)
    net(x())
    assert list(net.parameters) == ["dense1.weight", "dense1.bias"]
    again = net(prop.input("z", "batch feature=6"))
    assert len(net.parameters) == 2
    assert again.shape[-1] == 6


def test_a_second_call_with_another_width_is_refused() -> None:
    layer = prop.Dense(3)
    layer(x())
    with pytest.raises(ShapeError, match=r"dense\.weight.*\(3, 6\).*\(3, 7\)"):
        layer(prop.input("z", "batch feature=7"))


@pytest.mark.parametrize("units", [0, -1, 2.5, True, "3"])
def test_units(units: object) -> None:
    with pytest.raises(DeclarationError, match="units"):
        prop.Dense(units)  # type: ignore[arg-type]


def test_errors() -> None:
    with pytest.raises(ShapeError, match="fixed size"):
        prop.Dense(3)(prop.input("x", "batch pixel"))
    with pytest.raises(ShapeError, match="fixed size"):
        prop.Dense(3)(prop.input("x", ()))
    with pytest.raises(DeclarationError, match="expression"):
        prop.Dense(3)(np.zeros((2, 3)))  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="expression"):
        prop.Dense(3)("x")  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="named 'a'"):
        prop.Sequential(prop.Dense(3, name="a"), prop.Dense(3, name="a"))
    with pytest.raises(DeclarationError, match="Sequential takes"):
        prop.Sequential("relu")  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="must return an expression"):
        prop.Sequential(lambda value: 3)(x())  # type: ignore[arg-type, return-value]
    with pytest.raises(DeclarationError, match="call it on its input first"):
        prop.Dense(3)["dense.weight"]
    net = prop.Sequential(prop.Dense(3, name="hidden"))
    net(x())
    with pytest.raises(DeclarationError, match=r"did you mean 'hidden\.weight'"):
        net["hidden.weights"]


@pytest.mark.parametrize("name", ["a b", "class", "x;y", "x\n", '"', "__a", "", "é", 3])
def test_names_that_cannot_be_names(name: object) -> None:
    with pytest.raises(DeclarationError):
        prop.Dense(3, name=name)(x())  # type: ignore[arg-type]
