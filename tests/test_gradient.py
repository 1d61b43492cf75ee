"""The derivative by enumeration: every public function, and the conventions that bite.

Forward against differences, reverse against forward (the adjoint identity), both through the
oracle; then what a table does not show: scans, regions, ties, stopped gradients, and that a branch
not taken, a masked point or an empty row contributes exactly 0 at every order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from checking import adjoint_gap, assert_equal, count, differences_gap, evaluate_all, weighted
from functions import ROWS, At, Row

import symprop as prop
from symprop import walk
from symprop.errors import DeclarationError, ShapeError
from symprop.graph import Region, Scan
from symprop.simplify.engine import simplify
from symprop.walk import topological

DIFFERENTIABLE = [r for r in ROWS if r.differentiable]
EVERY = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=[r.name for r in DIFFERENTIABLE])
SMOOTH = [r for r in DIFFERENTIABLE if r.smooth]
INTEGERS = [r for r in ROWS if not r.differentiable and r.function.startswith("arg")]


def declared(case: Row) -> tuple[Any, list[Any], dict[Any, Any]]:
    leaves = case.declare()
    values: dict[Any, Any] = {leaves[n].node: a for n, a in case.data().items()}
    y = case.call(At(leaves))
    for leaf in walk.leaves([y.node]):
        if leaf.kind == "state":
            values[leaf] = np.zeros(4)
    return y, [leaves[n] for n in case.floats()], values


@EVERY
def test_forward_equals_differences(case: Row) -> None:
    y, wrt, values = declared(case)
    if "inf" in case.name:
        y = prop.where(y < -1e300, 0.0, y)
    assert differences_gap(y, wrt, values) < 1e-8


@EVERY
def test_reverse_is_the_adjoint_of_forward(case: Row) -> None:
    y, wrt, values = declared(case)
    assert adjoint_gap([y], wrt, values) < 1e-13


@EVERY
def test_second_order_forward_and_reverse_agree(case: Row) -> None:
    """The gradient is itself differentiated both ways, and against differences."""
    y, wrt, values = declared(case)
    if "inf" in case.name:
        y = prop.where(y < -1e300, 0.0, y)
    first = prop.gradient(weighted(y + y * y), wrt)
    assert adjoint_gap(first, wrt, values) < 1e-12
    if case.smooth:
        assert differences_gap(weighted(first[0]), wrt, values) < 1e-7


@pytest.mark.parametrize("case", SMOOTH, ids=[r.name for r in SMOOTH])
def test_third_order_of_smooth_scalars(case: Row) -> None:
    y, wrt, values = declared(case)
    if "inf" in case.name:
        y = prop.where(y < -1e300, 0.0, y)
    x = wrt[0]
    second = prop.gradient(weighted(prop.gradient(weighted(y * y * y), x)), x)
    assert differences_gap(weighted(second), [x], values, step=1e-3) < 1e-6


@pytest.mark.parametrize("case", INTEGERS, ids=[r.name for r in INTEGERS])
def test_integers_have_no_derivative(case: Row) -> None:
    leaves = case.declare()
    with pytest.raises(DeclarationError, match="int64"):
        prop.vjp(case.call(At(leaves)), leaves["x"], 1.0)


def test_what_has_no_path_gets_zeros_of_its_shape() -> None:
    x, other = prop.input("x", (3,)), prop.input("other", "n two=2")
    zero = prop.gradient(prop.sum(x), other)
    np.testing.assert_array_equal(
        evaluate_all([zero], {"x": np.ones(3), "other": np.ones((4, 2)), "n": 4})[0],
        np.zeros((4, 2)),
    )
    one = prop.gradient(prop.sum(x * 1.0), [x])
    assert isinstance(one, list)
    with pytest.raises(ShapeError, match=r"scalar.*\[3\]"):
        prop.gradient(x, x)
    with pytest.raises(ShapeError, match="tangent"):
        prop.vjp(x, x, np.ones((2, 2)))


def test_the_gradient_with_respect_to_an_inner_value() -> None:
    x = prop.input("x", (3,))
    h = prop.exp(x)
    loss = prop.sum(h * h + x)
    found = evaluate_all(prop.gradient(loss, [h, x]), {"x": np.arange(3.0)})
    np.testing.assert_allclose(found[0], 2 * np.exp(np.arange(3.0)))
    np.testing.assert_allclose(found[1], 2 * np.exp(2 * np.arange(3.0)) + 1)


def test_the_gradient_graph_is_linear_in_the_forward_graph() -> None:
    x = prop.input("x", (4,))
    sizes = []
    for depth in (20, 40):
        h = x
        for _ in range(depth):
            h = prop.tanh(h) * 1.1 + h
        sizes.append(len(topological([prop.gradient(prop.sum(h), x).node])))
    assert sizes[1] < 2.1 * sizes[0]


# --- scans ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("zeros", [(), (1,), (0, 2), (0, 1, 2, 3)])
def test_products_are_right_at_zeros(zeros: tuple[int, ...]) -> None:
    x = prop.input("x", (4,))
    data = np.array([2.0, -3.0, 0.5, 1.5])
    data[list(zeros)] = 0.0
    product, partial = prop.prod(x), prop.cumprod(x, 0)
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    found = evaluate_all(
        [prop.gradient(product, x), prop.gradient(prop.sum(partial * weights), x)], {"x": data}
    )
    others = [np.prod(np.delete(data, k)) for k in range(4)]
    np.testing.assert_allclose(found[0], others)
    wanted = [
        sum(weights[n] * np.prod(np.delete(data[: n + 1], k)) for n in range(k, 4))
        for k in range(4)
    ]
    np.testing.assert_allclose(found[1], wanted)


def _scan_cases() -> dict[str, Callable[[Any, Any], Any]]:
    def nested(x: Any, w: Any) -> Any:
        def outer(c: Any, row: Any) -> Any:
            inner, ys = prop.scan(lambda d, e: (prop.tanh(d * e + w[0]), d * w[1]), c, row)
            return inner, prop.sum(ys)

        final, ys = prop.scan(outer, w[2], x)
        return final + prop.sum(ys * ys)

    def two_carries(x: Any, w: Any) -> Any:
        (a, b), (p, q) = prop.scan(
            lambda c, r: ((c[0] + r * c[1], prop.sin(c[1])), (c[0] * r, c[1])), (w, w * 2.0), x
        )
        return prop.sum(a * b) + prop.sum(p) * prop.sum(q[1])

    def tuple_of_slices(x: Any, w: Any) -> Any:
        final, _ = prop.scan(lambda c, r: (c * r[0] + r[1], None), prop.sum(w), (x[:, 0], x[:, 1]))
        return final

    return {
        "captured constant": lambda x, w: prop.sum(prop.scan(
            lambda c, r: (prop.tanh(c * w + r), c), w * 0.5, x)[1] ** 2),
        "captured value": lambda x, w: (lambda v: prop.sum(prop.scan(
            lambda c, r: (c * 0.5 + r * v, c), w, x)[0] ** 2))(prop.exp(w)),
        "reverse": lambda x, w: prop.sum(prop.scan(
            lambda c, r: (prop.tanh(c + r), c * r), w, x, reverse=True)[1] ** 2),
        "no xs": lambda x, w: prop.sum(prop.scan(
            lambda c, _: (prop.sin(c) + c * w, c), w + x[0], length=4)[1] ** 2),
        "unused slice": lambda x, w: prop.sum(prop.scan(lambda c, r: (c * w, None), w, x)[0]),
        "unused carry": lambda x, w: prop.sum(prop.scan(lambda c, r: (c, r * w), w, x)[1] ** 2),
        "carry passed on": lambda x, w: prop.sum(prop.scan(lambda c, r: (r, c), w, x)[1] ** 2),
        "free length": lambda x, w: prop.sum(prop.cumprod(x, 0) * w),
        "nested": nested, "two carries": two_carries, "tuple of slices": tuple_of_slices,
    }  # fmt: skip


SCANS = _scan_cases()


@pytest.mark.parametrize("name", SCANS)
def test_scans_have_derivatives_to_third_order(name: str) -> None:
    x = prop.input("x", "time three=3" if name == "free length" else (4, 3))
    w = prop.input("w", (3,))
    rng = np.random.default_rng(len(name))
    values = {x.node: rng.normal(size=(4, 3)), w.node: rng.normal(size=3)}
    y = SCANS[name](x, w)
    assert count([y], Scan)
    sizes = {"time": 4}
    assert differences_gap(y, [x, w], values, sizes=sizes) < 1e-8
    assert adjoint_gap([y], [x, w], values, sizes=sizes) < 1e-13
    first = prop.gradient(y, [x, w])
    assert adjoint_gap(first, [x, w], values, sizes=sizes) < 1e-12
    assert differences_gap(prop.sum(first[1] * first[1]), [x, w], values, sizes=sizes) < 1e-6
    second = prop.gradient(prop.sum(first[1] * first[1]), w)
    assert differences_gap(prop.sum(second), [w], values, step=1e-3, sizes=sizes) < 1e-5


# --- regions -------------------------------------------------------------------------------------


def layers(depth: int, as_regions: bool) -> tuple[Any, list[Any], dict[str, Any]]:
    """A deep network of equal layers, with or without regions."""
    x = prop.input("x", (3, 4))
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {"x": rng.normal(size=(3, 4))}
    leaves = [x]
    h = x
    for k in range(depth):
        w = prop.parameter(f"block{k}.weight", (4, 4), 0.0)
        values[f"block{k}.weight"] = rng.normal(size=(4, 4))
        leaves.append(w)

        def layer(a: Any, w: Any = w) -> Any:
            return a + prop.tanh(prop.layer_norm(a) @ w.T)

        h = (prop.region(f"block{k}")(layer) if as_regions else layer)(h)
    return prop.sum(h * h), leaves, values


def test_equal_regions_share_one_block_forward_and_back() -> None:
    loss, leaves, _ = layers(6, True)
    roots = [loss, *prop.gradient(loss, leaves)]
    for stage in ([r.node for r in roots], simplify([r.node for r in roots])):
        regions = [n for n in topological(stage) if isinstance(n, Region)]
        blocks = {n.block for n in regions}
        assert len(regions) >= 12
        # The last one's cotangent is given, the first one's input asked for: all else is equal.
        assert len(blocks) <= 4, [b.name for b in blocks]


@pytest.mark.parametrize("order", [1, 2])
def test_regions_change_no_derivative(order: int) -> None:
    results = []
    for as_regions in (True, False):
        loss, leaves, values = layers(3, as_regions)
        found = prop.gradient(loss, leaves)
        if order == 2:
            found = prop.gradient(sum((prop.sum(g * g) for g in found[1:]), found[0][0, 0]), leaves)
        results.append(evaluate_all(found, values))
    assert_equal(results[0], results[1], 1e-12)


def test_regions_with_several_results_and_pass_through() -> None:
    x, w = prop.input("x", (3,)), prop.input("w", (3,))
    a, b, c = prop.region("many")(lambda p, q: (p * prop.exp(q), q, p))(x, w)
    loss = prop.sum(a * b) + prop.sum(c * c)
    plain = prop.sum(x * prop.exp(w) * w) + prop.sum(x * x)
    values = {x.node: np.array([1.0, -2.0, 0.5]), w.node: np.array([0.3, 0.1, -1.0])}
    ours = evaluate_all(prop.gradient(loss, [x, w]), values)
    assert_equal(ours, evaluate_all(prop.gradient(plain, [x, w]), values), 1e-14)
    assert adjoint_gap([a, b, c], [x, w], values) < 1e-14
    assert adjoint_gap(prop.gradient(loss, [x, w]), [x, w], values) < 1e-13


# --- conventions ---------------------------------------------------------------------------------


def test_stopped_gradients_stay_stopped_at_second_order() -> None:
    x = prop.input("x", (3,))
    data = np.array([0.5, -1.0, 2.0])
    held = prop.stop_gradient(prop.exp(x))
    loss = prop.sum(held * x * x)
    first = prop.gradient(loss, x)
    second = prop.gradient(prop.sum(first), x)
    third = prop.gradient(prop.sum(second), x)
    forward = prop.jvp(first, x, 1.0)
    e = np.exp(data)
    assert_equal(evaluate_all([first, second, third, forward], {"x": data}),
                 [2 * e * data, 2 * e, np.zeros(3), 2 * e], 1e-14)  # fmt: skip
    nothing = prop.gradient(prop.sum(prop.stop_gradient(x)), x)
    np.testing.assert_array_equal(evaluate_all([nothing], {"x": data})[0], np.zeros(3))


@pytest.mark.parametrize("op", ["max", "min"])
def test_ties_go_to_the_first_position(op: str) -> None:
    x = prop.input("x", (2, 4))
    sign = 1.0 if op == "max" else -1.0
    data = sign * np.array([[1.0, 3.0, 3.0, 0.0], [5.0, 5.0, 5.0, 5.0]])
    f = getattr(prop, op)
    forward = prop.jvp(f(x, 1), x, np.arange(8.0).reshape(2, 4))
    grads = [prop.gradient(prop.sum(f(x, 1)), x), prop.gradient(f(x), x)]
    rows = evaluate_all([*grads, forward], {"x": data})
    np.testing.assert_array_equal(rows[0], [[0, 1, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(rows[1], [[0, 0, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(rows[2], [1, 4])
    image = prop.input("image", (1, 1, 2, 2))
    pooled = prop.gradient(prop.sum(prop.max_pool2d(image, 2)), image)
    flat = evaluate_all([pooled], {"image": np.full((1, 1, 2, 2), 7.0)})[0]
    np.testing.assert_array_equal(flat.ravel(), [1, 0, 0, 0])


BAD = np.array([-1.0, 0.0, 4.0])  # where log and sqrt are not finite, and where they are


@pytest.mark.parametrize(
    ("name", "call", "wanted"),
    [
        ("log", lambda x: prop.where(x > 0, prop.log(x), 0.0), lambda x: 1 / x),
        ("sqrt", lambda x: prop.where(x > 0, prop.sqrt(x), 0.0), lambda x: 0.5 / np.sqrt(x)),
        ("quotient", lambda x: prop.where(x > 0, 1.0 / x, 0.0), lambda x: -1 / x**2),
        ("product", lambda x: prop.where(x > 0, x * prop.log(x), 0.0), lambda x: np.log(x) + 1),
        ("nested", lambda x: prop.where(x > 0, prop.where(x < 9, prop.log(x), x), 0.0),
         lambda x: 1 / x),
        ("through a sum", lambda x: prop.where(x > 0, prop.log(x), 0.0) * prop.exp(x * 0),
         lambda x: 1 / x),
    ],
)  # fmt: skip
def test_branches_not_taken_contribute_exactly_nothing(name: str, call: Any, wanted: Any) -> None:
    x = prop.input("x", (3,))
    y = prop.sum(call(x))
    grads = []
    for _ in range(3):
        y = prop.gradient(y, x) if not y.ndim else prop.gradient(prop.sum(y), x)
        grads.append(y)
    forward = prop.jvp(call(x), x, 1.0)
    roots = [g.node for g in (*grads, forward)]
    for stage in (roots, simplify(roots)):
        found = evaluate_all(stage, {"x": BAD})
        for g in found:
            np.testing.assert_array_equal(g[:2], [0, 0])
            assert np.all(np.isfinite(g))
        np.testing.assert_allclose(found[0][2], wanted(4.0), rtol=1e-12)
        np.testing.assert_allclose(found[3][2], wanted(4.0), rtol=1e-12)


def test_masked_rows_of_a_softmax_are_exactly_zero_at_every_order() -> None:
    z, m = prop.input("z", (3, 4)), prop.input("m", (3, 4), dtype="bool")
    mask = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0]], bool)
    data = np.random.default_rng(0).normal(size=(3, 4)) * 3
    data[0, 1] = np.inf  # what is masked may hold anything
    weights = np.arange(12.0).reshape(3, 4)
    for p in (prop.softmax(z, where=m), prop.softmax(prop.where(m, z, -np.inf))):
        y = prop.sum(p * weights)
        found = [p]
        for _ in range(3):
            y = prop.gradient(y if not y.ndim else prop.sum(y * weights), z)
            found.append(y)
        for stage in (found, simplify([f.node for f in found])):
            for order, g in enumerate(evaluate_all(stage, {"z": data, "m": mask})):
                np.testing.assert_array_equal(g[~mask], 0, err_msg=f"order {order}")
                assert np.all(np.isfinite(g))
                assert order > 0 or np.allclose(g.sum(1), [1, 0, 1])


def test_padding_and_causal_masks_contribute_nothing() -> None:
    x = prop.input("x", (1, 1, 3, 3))
    w = prop.input("w", (1, 1, 3, 3))
    inverse = 1.0 / prop.conv2d(prop.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))) + 1.0, w)
    found = evaluate_all(prop.gradient(prop.sum(inverse), [x, w]),
                         {"x": np.ones((1, 1, 3, 3)), "w": np.ones((1, 1, 3, 3))})  # fmt: skip
    assert all(np.all(np.isfinite(g)) for g in found)
    q = [prop.input(n, (3, 2)) for n in "qkv"]
    out = prop.attention(*q, causal=True)
    data = {n: np.random.default_rng(k).normal(size=(3, 2)) for k, n in enumerate("qkv")}
    first = prop.gradient(prop.sum(out[0]), q[1:])
    for g in evaluate_all(first, data):  # position 0 sees nothing later
        np.testing.assert_array_equal(g[1:], 0)


def test_the_gradient_for_a_namesake_is_refused() -> None:
    u, other = prop.input("u", "n"), prop.input("u", "n")
    with pytest.raises(prop.DeclarationError, match=r"made of another 'u'.*declare it once"):
        prop.gradient(prop.sum(u * u), other)
