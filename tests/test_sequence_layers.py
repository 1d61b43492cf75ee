"""Layers of sequences: names, ties, masks, rotary positions; what is refused.

Recurrent layers and attention in heads are compared with torch (tests/peers/cases_layers.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.errors import SympropError

RNG = np.random.default_rng(0)
X = prop.input("x", "batch time=5 feature=8")


def started(y: prop.Expr) -> dict[str, Any]:
    return prop.initial_values([y], seed=0, dtype="float64")


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_what_is_masked_changes_nothing_before_it(backend: str) -> None:
    """A sequence with garbage behind its end gives what the short one gives."""
    mask = prop.input("mask", "batch time=5", dtype="bool")
    for layer in (prop.LSTM(3, "a"), prop.GRU(3, "b", reverse=True)):
        y = layer(X, mask)
        data = RNG.normal(size=(2, 5, 8))
        spoilt = data.copy()
        spoilt[:, 3:] = 1e6
        f = prop.compile(y, backend, dtype="float64")
        seen = np.tile(np.arange(5) < 3, (2, 1))
        found = [f({"x": d, "mask": seen, **started(y)}) for d in (data, spoilt)]
        np.testing.assert_array_equal(found[0][:, :3], found[1][:, :3])


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("kind", [prop.RNN, prop.LSTM, prop.GRU])
def test_pieces_that_start_where_the_one_before_ended_are_one_long_run(
    kind: Any, backend: str
) -> None:
    """States of a trainer carry a run from one step to the next: with hardly a learning rate, the
    hidden values of three pieces are those of the whole."""
    layer = kind(3, "layer")
    piece, whole = prop.input("x", (2, 4, 8)), prop.input("x", (2, 12, 8))
    carry = tuple(prop.state(f"carry{k}", (2, 3)) for k in range(layer.carried))
    hidden, last = layer.run(piece, start=carry)
    loss = prop.mean(prop.square(hidden))
    for old, new in zip(carry, last, strict=True):
        loss = prop.update(loss, old, new)
    trainer = prop.training_step(loss, prop.SGD(1e-300), {"hidden": hidden}).compile(
        backend, dtype="float64"
    )
    data = RNG.normal(size=(2, 12, 8))
    pieces = []
    for k in range(0, 12, 4):
        now = {"x": data[:, k : k + 4]}
        pieces.append(trainer.predict(now)["hidden"])  # which leaves the states alone
        trainer.step(now)
    long, ended = layer.run(whole)
    values = {"x": data, **trainer.parameters}
    expected, *end = prop.compile([long, *ended], "numpy", dtype="float64")(values)
    np.testing.assert_allclose(np.concatenate(pieces, 1), expected, rtol=1e-13)
    for state, carried in zip(trainer.states.values(), end, strict=True):
        np.testing.assert_allclose(state, carried, rtol=1e-13)


def test_no_gradient_passes_from_a_piece_to_the_one_before() -> None:
    """The gradient of a piece is that of a run from a constant: it ends at the carried state."""
    h = prop.state("h", (2, 3))
    layer = prop.GRU(3, "layer")
    piece = prop.input("x", (2, 4, 8))
    hidden, (last,) = layer.run(piece, start=(h,))
    loss = prop.mean(prop.square(hidden))
    updated = prop.training_step(prop.update(loss, h, last), prop.SGD(0.1))
    plain = prop.gradient(loss, updated.parameters)
    values = {"x": RNG.normal(size=(2, 4, 8)), **started(loss), "h": RNG.normal(size=(2, 3))}
    for a, b in zip(updated.gradients, plain, strict=True):
        one, two = (prop.compile(g, dtype="float64") for g in (a, b))
        np.testing.assert_array_equal(one(values), two(values))


def test_both_ways_side_by_side() -> None:
    both = prop.Bidirectional(prop.GRU(2), prop.GRU(3, reverse=True), name="both")
    y = both(X)
    assert y.shape[1:] == (5, 5)
    assert next(iter(both.parameters)) == "both.forward.weight"
    assert "both.backward.hidden_bias" in both.parameters


def test_rotary_positions_are_relative() -> None:
    """The product of two rotated vectors depends on the distance of their times alone."""
    q, k = RNG.normal(size=8), RNG.normal(size=8)
    f = prop.compile(prop.rotary(prop.input("v", (6, 8))), dtype="float64")
    a, b = f({"v": np.tile(q, (6, 1))}), f({"v": np.tile(k, (6, 1))})
    assert a[3] @ b[1] == pytest.approx(a[5] @ b[3], rel=1e-12)
    np.testing.assert_allclose(np.linalg.norm(a, axis=1), np.linalg.norm(q), rtol=1e-14)


def test_an_embedding_may_be_tied_to_the_output() -> None:
    token = prop.labels("token", "batch time=3", classes=7)
    table = prop.Embedding(7, 4, "table")
    hidden = table(token)
    logits = hidden @ table["table.weight"].T
    loss = prop.cross_entropy(logits, token)
    step = prop.training_step(loss, prop.Adam(0.05))
    assert [p.name for p in step.parameters] == ["table.weight"]
    trainer = step.compile()
    data = {"token": RNG.integers(0, 7, size=(4, 3))}
    losses = [trainer.step(data) for _ in range(20)]
    assert losses[-1] < losses[0]


def test_positions_are_rows_of_a_table_and_a_shorter_sequence_reads_the_first() -> None:
    layer = prop.LearnedPositions(7, "place")
    shorter = prop.input("y", "batch time=3 feature=8")
    f, g = (prop.compile(layer(x), dtype="float64") for x in (X, shorter))
    table = RNG.normal(size=(7, 8))
    five = f({"place.weight": table, "x": np.zeros((2, 5, 8))})
    np.testing.assert_array_equal(five, np.tile(table[:5], (2, 1, 1)))
    three = g({"place.weight": table, "y": np.zeros((1, 3, 8))})
    np.testing.assert_array_equal(three[0], table[:3])


def test_one_hot_rows() -> None:
    y = prop.labels("y", "batch", classes=3)
    np.testing.assert_array_equal(
        prop.compile(prop.one_hot(y, 3))({"y": [2, 0]}), np.eye(3)[[2, 0]]
    )


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_causal_block_does_not_see_what_comes_after(backend: str) -> None:
    block = prop.TransformerBlock(4, causal=True, groups=2, positions="rotary", name="block")
    y = block(X)
    f = prop.compile(y, backend, dtype="float64")
    data = RNG.normal(size=(2, 5, 8))
    changed = data.copy()
    changed[:, 3:] += 1.0
    a, b = (f({"x": d, **started(y)}) for d in (data, changed))
    np.testing.assert_array_equal(a[:, :3], b[:, :3])
    assert (a[:, 3:] != b[:, 3:]).any()


def test_blocks_in_a_sequence_have_names_of_their_place() -> None:
    net = prop.Sequential(prop.TransformerBlock(2), prop.TransformerBlock(2))
    net(X)
    names = list(net.parameters)
    assert len(names) == len(set(names)) == 32
    assert names[0] == "block1.norm1.weight"
    assert "block2.attention.output.bias" in names


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: prop.LSTM(0), "units"),
        (lambda: prop.LSTM(3)(prop.input("v", "batch feature=2")), "x[batch, time, features]"),
        (lambda: prop.GRU(3)(X, X), "the mask"),
        (lambda: prop.LSTM(3, "cell").run(X, start=(X[:, 0],)), "starts from 2"),
        (lambda: prop.GRU(3).run(X, start=X[:, 0]), "starts from 1 of shape [batch, 3]"),
        (lambda: prop.LearnedPositions(0), "positive number of rows"),
        (lambda: prop.LearnedPositions(4)(X), "too few for the 5 times"),
        (lambda: prop.LearnedPositions()(prop.input("v", "batch time feature=2")), "fixed"),
        (lambda: prop.Bidirectional(prop.GRU(2), prop.GRU(2)), "reverse=True"),
        (lambda: prop.Embedding(4, 2)(X), "prop.labels"),
        (lambda: prop.one_hot(X, 3), "whole numbers"),
        (lambda: prop.rotary(prop.input("v", (4, 3))), "even"),
        (lambda: prop.MultiHeadAttention(3)(X), "3 heads"),
        (lambda: prop.MultiHeadAttention(4, groups=3), "3 groups"),
        (lambda: prop.MultiHeadAttention(4, positions="learned"), "rotary"),
        (lambda: prop.MultiHeadAttention(4)(X[0]), "[batch, time, features]"),
        (lambda: prop.TransformerBlock(4)(X[0]), "[batch, time, features]"),
    ],
)
def test_what_makes_no_sense_is_refused(act: Callable[[], Any], words: str) -> None:
    with pytest.raises(SympropError) as caught:
        act()
    assert words in str(caught.value)
