"""The bars: derived gradients cost what the well-known hand formulas cost.

The formulas are written with the same functions and counted by the same measure, and give the
same values. Nothing here is known to the simplifier: no rule names a softmax or a norm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from checking import assert_equal, assert_simplified, data_for, evaluate_all, nodes, weighted

import symprop as prop
from symprop import term as t
from symprop.graph import Node, Reduce
from symprop.simplify.cost import graph_cost
from symprop.simplify.engine import simplify
from symprop.walk import topological


def softmax_cross_entropy() -> tuple[list[Any], list[Any]]:
    z, y = prop.input("z", (32, 10)), prop.labels("y", (32,), classes=10)
    loss = prop.cross_entropy(z, y)
    e = prop.exp(z - prop.max(z, 1, keepdims=True))
    s = prop.sum(e, 1, keepdims=True)
    onehot = prop.where(prop.index(10) == y[:, None], 1.0, 0.0)
    value = prop.mean(prop.log(s)[:, 0] + prop.max(z, 1) - z[prop.index(32), y])
    return [loss, prop.gradient(loss, z)], [value, (e / s - onehot) / 32.0]


def layer_norm(affine: bool) -> tuple[list[Any], list[Any]]:
    x, g = prop.input("x", (32, 64)), prop.input("g", (32, 64))
    w, b = prop.parameter("w", (64,), 0.0), prop.parameter("b", (64,), 0.0)
    out = prop.layer_norm(x, w, b) if affine else prop.layer_norm(x)
    found = [out, *prop.vjp(out, [x, w, b] if affine else [x], g)]
    centred = x - prop.mean(x, 1, keepdims=True)
    inverse = 1.0 / prop.sqrt(prop.mean(centred * centred, 1, keepdims=True) + 1e-5)
    unit = centred * inverse
    d = g * w if affine else g
    dx = inverse * (
        d - prop.mean(d, 1, keepdims=True) - unit * prop.mean(d * unit, 1, keepdims=True)
    )
    if not affine:
        return found, [unit, dx]
    return found, [unit * w + b, dx, prop.sum(g * unit, 0), prop.sum(g, 0)]


def rms_norm() -> tuple[list[Any], list[Any]]:
    x, g = prop.input("x", (32, 64)), prop.input("g", (32, 64))
    out = prop.rms_norm(x)
    inverse = 1.0 / prop.sqrt(prop.mean(x * x, 1, keepdims=True) + 1e-5)
    unit = x * inverse
    dx = inverse * (g - unit * prop.mean(g * unit, 1, keepdims=True))
    return [out, prop.vjp(out, x, g)], [unit, dx]


def batch_norm() -> tuple[list[Any], list[Any]]:
    x, g = prop.input("x", (32, 32)), prop.input("g", (32, 32))
    w, b = prop.parameter("w", (32,), 0.0), prop.parameter("b", (32,), 0.0)
    out = prop.batch_norm(x, w, b)
    centred = x - prop.mean(x, 0)
    inverse = 1.0 / prop.sqrt(prop.mean(centred * centred, 0) + 1e-5)
    unit = centred * inverse
    db, dw = prop.sum(g, 0), prop.sum(g * unit, 0)
    dx = (w * inverse / 32.0) * (32.0 * g - db - unit * dw)
    return [out, *prop.vjp(out, [x, w, b], g)], [unit * w + b, dx, dw, db]


def attention() -> tuple[list[Any], list[Any]]:
    q, k, v, g = (prop.input(n, (1, 10, 4)) for n in "qkvg")
    out = prop.attention(q, k, v, causal=True)
    found = [out, *prop.vjp(out, [q, k, v], g)]
    z = (q @ prop.transpose(k, (0, 2, 1))) / 2.0
    seen = prop.where(prop.index(10)[:, None] >= prop.index(10), z, -1e30)
    e = prop.exp(seen - prop.max(seen, -1, keepdims=True))
    p = e / prop.sum(e, -1, keepdims=True)
    dp = g @ prop.transpose(v, (0, 2, 1))
    dz = p * (dp - prop.sum(dp * p, -1, keepdims=True)) / 2.0
    swap = (0, 2, 1)
    return found, [p @ v, dz @ k, prop.transpose(dz, swap) @ q, prop.transpose(p, swap) @ g]


BARS: dict[str, tuple[Callable[[], tuple[list[Any], list[Any]]], int]] = {
    "softmax cross entropy": (softmax_cross_entropy, 2496),
    "layer norm": (lambda: layer_norm(False), 24960),
    "layer norm, affine": (lambda: layer_norm(True), 37248),
    "rms norm": (rms_norm, 16672),
    "batch norm": (batch_norm, 15040),
    "causal attention": (attention, 6080),
}


@pytest.mark.parametrize("name", BARS)
def test_derived_costs_what_the_hand_formula_costs(name: str) -> None:
    build, bar = BARS[name]
    derived_, hand = (nodes(e) for e in build())
    simple = simplify(derived_)
    values = data_for([*derived_, *hand])
    assert_equal(evaluate_all(simple, values), evaluate_all(hand, values), 1e-11)
    cost = graph_cost(simple).operations
    by_hand = min(graph_cost(hand).operations, graph_cost(simplify(hand)).operations)
    print(f"{name}: derived {cost}, bar {bar}, by hand {by_hand}")
    assert cost <= bar
    assert cost <= 1.03 * by_hand
    assert simplify(simple) == simple, "not idempotent"


def test_the_data_gradient_of_a_strided_convolution_is_dense() -> None:
    x, w = prop.input("x", (2, 3, 9, 9)), prop.parameter("w", (4, 3, 3, 3), 0.0)
    y = prop.conv2d(x, w, stride=2, padding=1)
    roots = nodes([prop.vjp(y, x, prop.input("g", y.dims))])
    assert graph_cost(roots).operations == 34992
    simple = assert_simplified(roots, data_for(roots))
    assert graph_cost(simple).operations <= 8112


def _arguments(roots: Sequence[Node]) -> list[Node]:
    """Integer nodes: the first positions that attain a maximum."""
    return [
        n for n in topological(roots) if isinstance(n, Reduce) and n.dtype == "int64" and n.inner
    ]


@pytest.mark.parametrize("form", ["logarithm", "softmax", "attention"])
def test_a_softmax_written_by_hand_loses_the_derivative_of_its_shift(form: str) -> None:
    """exp(z - max z)/sum: nobody stopped the gradient of max z, and its argmax is proved away."""
    z = prop.input("z", (8, 5))
    if form == "attention":
        q, k = prop.input("q", (4, 3)), prop.input("k", (4, 3))
        z = (q @ k.T) * 0.5
    e = prop.exp(z - prop.max(z, 1, keepdims=True))
    p = e / prop.sum(e, 1, keepdims=True)
    if form == "logarithm":
        m = prop.max(z, 1)
        e = prop.exp(z - m[:, None])
        loss = weighted(prop.log(prop.sum(e, 1)) + m)
    else:
        loss = weighted(p)
    roots = nodes([loss, prop.gradient(loss, q if form == "attention" else z)])
    assert _arguments(roots)
    simple = assert_simplified(roots, data_for(roots))
    assert not _arguments(simple)


def test_cross_entropy_needs_no_rule_that_knows_softmax() -> None:
    """d/dz is (softmax - onehot)/batch: no logarithm, no maximum of a gradient, one map at z."""
    (_, grad), _ = softmax_cross_entropy()
    simple = simplify(nodes([grad]))
    bodies = [n.body for n in topological(simple) if isinstance(n, Reduce)]
    functions = {x.fn.name for b in bodies for x in t.subterms(b) if isinstance(x, t.Call)}
    assert functions <= {"exp", "stop_gradient", "select", "eq"}
