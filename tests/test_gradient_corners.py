"""Derivatives where they are seldom asked: what is refused, blocks of which a part moves, and
several values at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checking import adjoint_gap, assert_equal, count, differences_gap, evaluate_all

import symprop as prop
from symprop.errors import DeclarationError, ShapeError
from symprop.graph import Region, Scan
from symprop.simplify.engine import simplify
from symprop.walk import topological

# --- what is refused -----------------------------------------------------------------------------


def test_only_expressions_have_derivatives() -> None:
    x = prop.input("x", (3,))
    for call in (
        lambda: prop.vjp(3.0, x, 1.0), lambda: prop.vjp(x, np.ones(3), 1.0),
        lambda: prop.jvp(3.0, x, 1.0), lambda: prop.jvp(x, "x", 1.0),
        lambda: prop.gradient(prop.sum(x), [x, None]),
    ):  # fmt: skip
        with pytest.raises(DeclarationError, match=r"needs expressions, but got (\w+): declare"):
            call()
    with pytest.raises(ShapeError, match=r"a scalar, but got 3\.0"):
        prop.gradient(3.0, x)


def test_tangents_have_the_shape_of_what_they_belong_to() -> None:
    x, two = prop.input("x", (3,)), prop.input("two", (2,))
    with pytest.raises(ShapeError, match=r"tangent of 'x'.*\[3\].*\[2\]"):
        prop.jvp(x * x, x, two)
    with pytest.raises(ShapeError, match=r"tangent of .*\[3\].*\[2\]"):
        prop.vjp(x * x, x, two)


def test_a_number_is_a_cotangent_of_every_element() -> None:
    x = prop.input("x", (3, 2))
    data = np.arange(6.0).reshape(3, 2)
    found = evaluate_all([prop.vjp(x * x, x, 2.0), prop.jvp(x * x, x, 2.0)], {"x": data})
    assert_equal(found, [4 * data, 4 * data], 0.0)


def test_gradients_are_named_after_what_they_are_of() -> None:
    x, w = prop.input("x", (3,)), prop.parameter("w", (3,), 0.0)
    hidden = (x * w).named("hidden")
    g, own = prop.gradient(prop.sum(prop.sin(hidden) * hidden), [w, hidden])
    assert g.node.name == "grad_w"
    assert own.node.name == "d_hidden"
    assert "d_hidden" in [n.name for n in topological([g.node])]


def test_the_same_value_twice_gets_the_sum_of_its_cotangents() -> None:
    x = prop.input("x", (3,))
    y = prop.sin(x)
    data = np.array([0.3, -1.0, 2.0])
    both = prop.vjp([y, y], x, [1.0, 2.0])
    assert_equal(evaluate_all([both], {"x": data}), [3 * np.cos(data)], 1e-15)
    first, second = prop.vjp([y, x * y], [x, y], [1.0, 0.5])
    assert_equal(evaluate_all([first, second], {"x": data}),
                 [(1 + 0.5 * data) * np.cos(data) + 0.5 * np.sin(data), 1 + 0.5 * data],
                 1e-15)  # fmt: skip


def test_forward_what_does_not_depend_has_tangent_zero() -> None:
    x, other = prop.input("x", (3,)), prop.input("other", (2, 2))
    moved, still = prop.jvp([x * 2.0, other * 3.0], x, np.array([1.0, 2.0, 3.0]))
    found = evaluate_all([moved, still], {"x": np.zeros(3), "other": np.ones((2, 2))})
    assert_equal(found, [[2.0, 4.0, 6.0], np.zeros((2, 2))], 0.0)


def test_a_tangent_of_an_inner_value_is_used_instead_of_its_own() -> None:
    x = prop.input("x", (3,))
    h = prop.exp(x)
    data = np.array([0.5, 1.0, -1.0])
    found = prop.jvp(h * x, [h, x], [np.array([1.0, 2.0, 3.0]), 1.0])
    assert_equal(evaluate_all([found], {"x": data}), [np.array([1, 2, 3.0]) * data + np.exp(data)],
                 1e-15)  # fmt: skip


# --- blocks --------------------------------------------------------------------------------------


def sequence(kind: str) -> tuple[Any, dict[str, Any]]:
    """A function of x, w and k through blocks; its leaves by name."""
    x, w, k = prop.input("x", (4, 3)), prop.input("w", (3,)), prop.input("k", (3,))
    leaves = {"x": x, "w": w, "k": k}
    if kind == "counter":
        (end, _), ys = prop.scan(
            lambda c, s: ((prop.tanh(c[0] * k + s), c[1] + 1), c[0] * 2.0), (w, prop.index(3)), x
        )
        return prop.sum(end * end) + prop.sum(ys * ys), leaves
    if kind == "several outputs":
        end, (p, q, r) = prop.scan(
            lambda c, s: (prop.tanh(c + s * k), (c * s, s * 2.0, k * 1.0)), w, x
        )
        return prop.sum(end) + prop.sum(p * p) + prop.sum(q * r), leaves
    if kind == "only outputs":
        _, ys = prop.scan(lambda c, s: (prop.sin(c + s), c * k), w, x, reverse=True)
        return prop.sum(ys * ys * ys), leaves
    if kind == "region in a scan":
        cell = prop.region("cell")(lambda a, b: prop.tanh(a * b) + b)
        end, ys = prop.scan(lambda c, s: (cell(c, s + k), cell(s, c)), w, x)
        return prop.sum(end * ys), leaves
    if kind == "scan in a region":
        outer = prop.region("outer")(
            lambda a, b: prop.scan(lambda c, s: (prop.tanh(c * s + b), c), b, a)
        )
        end, ys = outer(x, w)
        end2, _ = outer(ys, end * k)
        return prop.sum(end2 * end2), leaves
    pair = prop.region("pair")(lambda a, b, c: (a * prop.exp(b), b * c, c))
    a, b, c = pair(x, w, k)
    return prop.sum(a * b) + prop.sum(c * c), leaves


KINDS = ["counter", "several outputs", "only outputs", "region in a scan", "scan in a region",
         "pair"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_have_derivatives_for_every_part_of_what_they_read(kind: str) -> None:
    y, leaves = sequence(kind)
    assert count([y], Scan) or count([y], Region)
    rng = np.random.default_rng(len(kind))
    values = {e.node: rng.normal(size=s) * 0.7
              for e, s in zip(leaves.values(), ((4, 3), (3,), (3,)), strict=True)}  # fmt: skip
    every = prop.gradient(y, list(leaves.values()))
    wanted = evaluate_all(every, values)
    for n, leaf in enumerate(leaves.values()):  # alone, the others standing still
        assert_equal(evaluate_all([prop.gradient(y, leaf)], values), [wanted[n]], 1e-14)
        assert differences_gap(y, [leaf], values) < 1e-8
        assert adjoint_gap([y], [leaf], values) < 1e-13
    assert adjoint_gap(every, list(leaves.values()), values) < 1e-12
    simple = simplify([e.node for e in every])
    assert_equal(evaluate_all(simple, values), wanted, 1e-12)


@pytest.mark.parametrize("kind", ["several outputs", "pair"])
def test_each_output_of_a_block_alone_has_its_derivative(kind: str) -> None:
    x, w = prop.input("x", (4, 3)), prop.input("w", (3,))
    rng = np.random.default_rng(1)
    values = {x.node: rng.normal(size=(4, 3)), w.node: rng.normal(size=3)}
    if kind == "pair":
        outs = prop.region("pair")(lambda a, b: (a * b, prop.sin(b) + a * 0.5))(x, w)
        plain = [x * w, prop.sin(w) + x * 0.5]
    else:
        _, (p, q) = prop.scan(lambda c, s: (c, (c * s, s * s)), w, x)
        outs, plain = [p, q], [w * x, x * x]
    for a, b in zip(outs, plain, strict=True):
        for leaf in (x, w):
            ours, theirs = (prop.vjp(e, leaf, 1.5) for e in (a, b))
            assert_equal(*(evaluate_all([e], values) for e in (ours, theirs)), 1e-14)
            ours, theirs = (prop.jvp(e, leaf, 1.5) for e in (a, b))
            assert_equal(*(evaluate_all([e], values) for e in (ours, theirs)), 1e-14)


def test_a_reverse_block_reads_no_more_than_it_needs() -> None:
    """What the reverse pass of a region reads: saved values, and arguments that it multiplies."""
    x, w = prop.input("x", (3,)), prop.input("w", (3,))
    y = prop.region("add")(lambda a, b: a + b * 2.0)(x, w)
    roots = [g.node for g in prop.gradient(prop.sum(y * y), [x, w])]
    back = [n for n in topological(roots) if isinstance(n, Region) and n.block.name == "d_add"]
    assert len(back) == 1
    assert len(back[0].arguments) == 1
    assert list(back[0].block.names) == ["d_output0"]
    y = prop.region("times")(lambda a, b: prop.exp(a) * b)(x, w)
    roots = [g.node for g in prop.gradient(prop.sum(y), [x, w])]
    (back_,) = [
        n for n in topological(roots) if isinstance(n, Region) and n.block.name == "d_times"
    ]
    forward = next(n for n in topological(roots) if isinstance(n, Region) and n is not back_)
    assert len(forward.block.outputs) == 1 + len(back_.arguments) - 2
