"""The index solver: equality guards against enumeration, and chains of rearrangements.

A chain of rearrangements is linear with coefficients 0 and 1, so that on whole numbers the adjoint
identity <g, J t> = <J^T g, t> holds exactly, at every length, and the gradient is a gather: no
equality guard is left on a reduced loop (a lookup by data is one, and executes as a scatter).
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest
from checking import evaluate_all, shape_of

import symprop as prop
from codegen.index import (
    Gather,
    Guard,
    Ix,
    Loop,
    Mod,
    constant,
    evaluate,
    floordiv,
    guard,
    loop,
    mod,
)
from symprop import term as t
from symprop.graph import At, Node, Reduce
from symprop.make import make
from symprop.simplify.engine import simplify
from symprop.solver import solve
from symprop.walk import topological

CHAINS = 80


# --- the rules, against enumeration --------------------------------------------------------------


def equality(rng: random.Random, outer: list[Loop], inner: list[Loop]) -> Ix:
    """An equality guard of a form that a derivative makes."""
    s = rng.choice(outer).ix()
    v, w = rng.choice(inner).ix(), rng.choice(inner).ix()
    n = rng.choice([2, 3, 4])
    c = rng.randint(-2, 3)
    return rng.choice([
        v - s + c, -v + s + c, v * n - s + c, v * n + w - s, v * 3 + w * 2 - s + c,
        floordiv(v + c, n) - s, mod(v + c, n) - s, v + w - s + c, v - w + c,
        floordiv(v * 2 + w, n) - s, mod(v + w, n) - s, v - floordiv(s, n), v - mod(s, n), v + c,
    ])  # fmt: skip


@pytest.mark.parametrize("seed", range(200))
def test_solved_sums_have_the_same_points(seed: int) -> None:
    rng = random.Random(seed)
    outer = [loop(k, rng.choice([2, 3, 6])) for k in range(rng.randint(1, 2))]
    inner = [loop(len(outer) + k, rng.choice([2, 3, 4, 7])) for k in range(rng.randint(1, 3))]
    wanted: list[tuple[Ix, Any]] = [
        (equality(rng, outer, inner), "==") for _ in range(rng.randint(1, 2))
    ]
    if rng.random() < 0.3:  # a reshape: the pair that is joined again
        v, n = rng.choice(inner).ix(), rng.choice([2, 3])
        wanted = [(floordiv(v, n) - outer[0].ix(), "=="), (mod(v, n) - outer[-1].ix(), "==")]
    if rng.random() < 0.3:
        wanted.append((rng.choice(inner).ix() - rng.choice(outer).ix(), ">="))
    x = prop.input("x", tuple(v.extent.value for v in inner)).node
    data = np.random.default_rng(seed).integers(-9, 10, size=shape_of(x)).astype(float)
    guards = [guard(*g) for g in wanted]
    index = tuple(v.ix() for v in inner)
    node = make("sum", [*outer, *inner], len(outer), guards, t.read(0), [At(x, index)], "float")
    out = np.zeros([v.extent.value for v in outer])
    for p in itertools.product(*(range(v.extent.value or 0) for v in (*outer, *inner))):
        here = dict(zip((*outer, *inner), p, strict=True))
        if all(evaluate(e, here, {}) >= 0 if kind == ">=" else evaluate(e, here, {}) == 0
               for e, kind in wanted):  # fmt: skip
            out[p[: len(outer)]] += data[p[len(outer) :]]
    np.testing.assert_array_equal(evaluate_all([node], {x: data})[0], out)


def test_contradictions_are_found() -> None:
    v, s = loop(1, 4), loop(0, 3)
    assert solve([v], [g for g in [guard(v.ix() - 2, "=="), guard(v.ix() - 3, "==")]
                       if isinstance(g, Guard)]) is None  # fmt: skip
    found = solve([v], [g for g in [guard(v.ix() - s.ix(), "==")] if isinstance(g, Guard)])
    assert found is not None
    assert not found.loops
    assert not found.guards


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("unit", lambda s, v, w: [v - s]), ("offset", lambda s, v, w: [v + 3 - s]),
        ("flip", lambda s, v, w: [5 - v - s]), ("stride", lambda s, v, w: [v * 3 - s]),
        ("floor", lambda s, v, w: [floordiv(v, 3) - s]), ("mod", lambda s, v, w: [mod(v, 3) - s]),
        ("mixed radix", lambda s, v, w: [v * 3 + w - s]),
        ("window", lambda s, v, w: [v * 2 + w - 1 - s]),
        ("repair", lambda s, v, w: [floordiv(v, 3) - s, mod(v, 3) - w]),
    ],
)  # fmt: skip
def test_each_rule_leaves_no_equality_on_a_reduced_loop(name: str, form: Any) -> None:
    s, v, w = loop(0, 18), loop(1, 6), loop(2, 3)
    guards = [guard(e, "==") for e in form(s.ix(), v.ix(), w.ix())]
    x = prop.input("x", (6, 3)).node
    node = make("sum", [s, v, w], 1, guards, t.read(0), [At(x, (v.ix(), w.ix()))], "float")
    assert not unsolved(node)


# --- chains --------------------------------------------------------------------------------------


def unsolved(node: Node) -> bool:
    """An equality guard that leaves a reduced loop to be searched, but for lookups by data and for
    a parity (``e mod n == 0``), which the residue split decides."""
    if not isinstance(node, Reduce):
        return False
    inner = set(node.inner)
    return any(
        g.kind == "==" and inner & set(g.ix.loops) and not isinstance(g.ix.atom, Mod)
        and not any(isinstance(a, Gather) for a in g.ix.atoms())
        for g in node.guards
    )  # fmt: skip


class Chain:
    """A chain of 2 to 8 rearrangements of one input, perhaps with a free leading dimension."""

    def __init__(self, seed: int, free: bool, lookups: bool) -> None:
        self.rng = random.Random(seed)
        self.free, self.lookups = free, lookups
        fixed = tuple(self.rng.choice([2, 3, 4, 6]) for _ in range(self.rng.randint(1, 3)))
        self.leaf = prop.input("x", ("batch", *fixed) if free else fixed)
        self.value = self.leaf
        self.steps: list[str] = []
        for _ in range(self.rng.randint(2, 8)):
            self.step()

    def axis(self) -> int:
        """An axis of fixed size."""
        found = [k for k, d in enumerate(self.value.dims) if isinstance(d, int)]
        return self.rng.choice(found) if found else -1

    def step(self) -> None:
        x, rng = self.value, self.rng
        name = rng.choice(["reshape", "transpose", "slice", "strided", "flip", "concat", "pad",
                           "newaxis", "sum", *(["take"] if self.lookups else [])])  # fmt: skip
        a = self.axis()
        n = x.dims[a] if a >= 0 else 0
        many = int(np.prod([d for d in x.dims if isinstance(d, int)])) > 60
        full = (slice(None),) * max(a, 0)
        if name == "reshape":
            y = self.reshaped()
        elif name == "transpose":
            order = list(range(x.ndim))
            rng.shuffle(order)
            y = prop.transpose(x, order)
        elif name == "flip":
            y = prop.flip(x, rng.randrange(x.ndim)) if x.ndim else x
        elif name == "newaxis":
            y = x[(*full, None)] if x.ndim < 5 else x
        elif a < 0 or n < 2:
            return
        elif name == "slice":
            start = rng.randrange(n - 1)
            y = x[(*full, slice(start, rng.randint(start + 1, n)))]
        elif name == "strided":
            step = rng.choice([2, 3, -1, -2])
            y = x[(*full, slice(rng.choice([None, n - 1 if step < 0 else 1]), None, step))]
        elif name == "concat" and not many:
            y = prop.concat([x, x[(*full, slice(0, rng.randint(1, n)))]], a)
        elif name == "pad" and not many:
            width = [(0, 0)] * x.ndim
            width[a] = (rng.randint(0, 2), rng.randint(0, 2))
            y = prop.pad(x, width)
        elif name == "sum" and x.ndim > 1:
            y = prop.sum(x, a)
        elif name == "take":
            y = prop.take(x, np.array([rng.randrange(n) for _ in range(3)]), a)
        else:
            return
        self.value = y
        self.steps.append(f"{name} -> {y.dims}")

    def reshaped(self) -> Any:
        x = self.value
        dims = list(x.dims)
        lead = [dims.pop(0)] if self.free and dims and not isinstance(dims[0], int) else []
        if any(not isinstance(d, int) for d in dims) or not dims:
            return x
        total, new = int(np.prod(dims)), []
        while total > 1 and len(new) < 3:
            k = self.rng.choice([d for d in range(2, total + 1) if total % d == 0])
            new.append(k)
            total //= k
        if total > 1:
            new.append(total)
        self.rng.shuffle(new)
        return prop.reshape(x, tuple([*lead, *new] or [1]))


KINDS = [(False, False), (True, False), (False, True)]


@pytest.mark.parametrize(("free", "lookups"), KINDS, ids=["fixed", "free", "lookups"])
def test_gradients_of_chains_are_exact_adjoints(free: bool, lookups: bool) -> None:
    left = []
    for seed in range(CHAINS):
        chain = Chain(seed, free, lookups)
        x, y = chain.leaf, chain.value
        g, along = prop.input("g", y.dims), prop.input("along", x.dims)
        pulled = prop.vjp(y, x, g)
        pushed = prop.jvp(y, x, along)
        rng = np.random.default_rng(seed)
        sizes = {"batch": 3}
        values = {e.node: rng.integers(-9, 10, size=shape_of(e.node, sizes)).astype(float)
                  for e in (x, g, along)}  # fmt: skip
        back, forth, simple = evaluate_all(
            [pulled, pushed, *simplify([pulled.node])], {**values, "batch": 3}
        )
        inner = float(np.sum(forth * values[g.node]))
        outer = float(np.sum(back * values[along.node]))
        assert inner == outer, f"chain {seed}: {chain.steps}"
        np.testing.assert_array_equal(simple, back, err_msg=f"chain {seed}: {chain.steps}")
        if any(unsolved(n) for n in topological([pulled.node])):
            left.append((seed, chain.steps))
    assert len(left) <= CHAINS // 10, f"{len(left)} of {CHAINS} keep equality guards: {left[:3]}"


def test_a_reshape_there_and_back_is_the_operand() -> None:
    x = prop.input("x", (4, 6))
    there = x.reshape((2, 12)).reshape((3, 8)).reshape((4, 6))
    assert simplify([there.node]) == [x.node]
    b = prop.input("b", "batch pixel=6")
    back = b.reshape((-1, 2, 3)).transpose((0, 2, 1)).transpose((0, 2, 1)).reshape((-1, 6))
    assert simplify([back.node]) == [b.node]


def test_the_gradient_of_a_lookup_is_a_scatter_by_data_alone() -> None:
    table = prop.parameter("table", (5, 2), 0.0)
    ids = prop.labels("ids", "batch", classes=5)
    g = prop.input("g", "batch feature=2")
    node = prop.vjp(prop.embedding(table, ids), table, g).node
    assert isinstance(node, Reduce)
    assert [any(isinstance(a, Gather) for a in x.ix.atoms()) for x in node.guards] == [True]
    rng = np.random.default_rng(0)
    i, a = np.array([3, 3, 0]), rng.normal(size=(3, 2))
    wanted = np.zeros((5, 2))
    np.add.at(wanted, i, a)
    np.testing.assert_allclose(evaluate_all([node], {"ids": i, "g": a})[0], wanted)


def test_constant_indices_cost_no_search() -> None:
    s, v = loop(0, 6), loop(1, 4)
    x = prop.input("x", (4,)).node
    node = make("sum", [s, v], 1, [guard(v.ix() - constant(2), "==")], t.read(0),
                [At(x, (v.ix(),))], "float")  # fmt: skip
    assert isinstance(node, Reduce)
    assert not node.inner
