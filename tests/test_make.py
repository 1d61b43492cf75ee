"""Canonical construction: what ``make`` returns means what was written, in whatever order.

Random declarations of value nodes are evaluated point by point as they were written, and the node
that ``make`` returns by the oracle; the same declaration in another order of reads, guards and
loops must be the same object.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from checking import evaluate_all

import symprop as prop
from codegen.index import Ix, Loop, constant, dim, evaluate, floordiv, guard, loop, mod
from symprop import term as t
from symprop.graph import At, IndexOf, Node, Reduce
from symprop.make import fresh, make

X = prop.input("x", (4, 6)).node
Y = prop.input("y", (6,)).node
IDS = prop.labels("ids", (4,), classes=6).node


@dataclass
class Written:
    """A value as somebody wrote it down: nothing here is normalised."""

    op: Any
    loops: list[Loop]
    nout: int
    guards: list[tuple[Ix, Any]]
    form: str
    reads: list[tuple[Node | None, tuple[Ix, ...], list[tuple[Ix, Any]]]]

    def made(self, order: Sequence[int] | None = None) -> Node:
        order = order or range(len(self.reads))
        reads: list[Any] = []
        for k in order:
            node, index, guards = self.reads[k]
            kept = [guard(*g) for g in guards]
            if False in kept:
                reads.append(IndexOf(constant(0)))
            elif node is None:
                reads.append(IndexOf(index[0]))
            else:
                reads.append(At(node, index, tuple(g for g in kept if not isinstance(g, bool))))
        at = [t.read(list(order).index(k)) for k in range(len(self.reads))]
        body = t.mul(*at) if self.form == "product" else t.add(*at)
        found = [guard(*g) for g in self.guards]
        return make(self.op, self.loops, self.nout, found, body, reads, "float")

    def value(self, arrays: dict[Node, Any]) -> Any:
        """Point by point, as declared."""
        shape = [item.extent.value for item in self.loops]
        out = np.zeros(shape[: self.nout])
        op = self.op if len(self.loops) > self.nout else "sum"  # without reduced loops: a map
        out[...] = {"sum": 0.0, "max": -np.inf, "min": np.inf}[op]
        for p in itertools.product(*map(range, shape)):
            here = dict(zip(self.loops, p, strict=True))

            def ix(e: Ix, here: dict[Loop, int] = here) -> int:
                return evaluate(e, here, {}, lambda s, k: int(arrays[s][k]))

            def holds(guards: list[tuple[Ix, Any]], ix: Callable[[Ix], int] = ix) -> bool:
                return all(ix(g) >= 0 if kind == ">=" else ix(g) == 0 for g, kind in guards)

            if not holds(self.guards):
                continue
            xs = []
            for node, index, guards in self.reads:
                if not holds(guards):
                    xs.append(0.0)
                elif node is None:
                    xs.append(float(ix(index[0])))
                else:
                    xs.append(arrays[node][tuple(map(ix, index))])
            x = float(np.prod(xs) if self.form == "product" else np.sum(xs))
            q = p[: self.nout]
            out[q] = out[q] + x if op == "sum" else {"max": max, "min": min}[op](out[q], x)
        return out


def written(rng: random.Random) -> Written:
    """A random declaration; every read stays in range."""
    extents = [rng.choice([1, 2, 3, 4]) for _ in range(rng.randint(1, 4))]
    loops = list(fresh(extents, rng.choice([0, 3])))
    nout = rng.randint(0, len(loops))

    def index(limit: int) -> Ix:
        item = rng.choice(loops)
        n = item.extent.value or 1
        choices = [constant(rng.randrange(limit)), mod(item.ix() * rng.randint(1, 3), limit),
                   mod(item.ix() + rng.choice(loops).ix(), limit)]  # fmt: skip
        if n <= limit:
            choices += [item.ix(), item.ix() * -1 + (n - 1), item.ix() + rng.randint(0, limit - n)]
        if limit >= 2:
            choices.append(mod(floordiv(item.ix() + rng.choice(loops).ix(), 2), limit))
        return rng.choice(choices)

    def condition() -> tuple[Ix, Any]:
        a, b = rng.choice(loops).ix(), rng.choice(loops).ix()
        return rng.choice([
            (a - b, ">="), (a - rng.randint(0, 2), ">="), (a - b + rng.randint(-1, 1), "=="),
            (mod(a + b, 2), "=="), (a * 2 - b, "=="), (a + rng.randint(0, 3), ">="),
        ])  # fmt: skip

    reads: list[Any] = []
    for _ in range(rng.randint(1, 3)):
        guards = [condition() for _ in range(rng.randint(0, 1))]
        which = rng.randrange(5)
        if which < 2:
            reads.append((X, (index(4), index(6)), guards))
        elif which < 4:
            reads.append((Y, (index(6),), guards))
        else:
            reads.append((None, (rng.choice(loops).ix() * 2 - 1,), []))
    return Written(
        rng.choice(["sum", "sum", "max", "min"]), loops, nout,
        [condition() for _ in range(rng.randint(0, 2))], rng.choice(["sum", "product"]), reads,
    )  # fmt: skip


DATA = {X: np.random.default_rng(0).normal(size=(4, 6)),
        Y: np.random.default_rng(1).normal(size=6),
        IDS: np.array([5, 0, 3, 3])}  # fmt: skip


@pytest.mark.parametrize("seed", range(150))
def test_construction_keeps_the_value_at_every_point(seed: int) -> None:
    spec = written(random.Random(seed))
    (found,) = evaluate_all([spec.made()], DATA)
    np.testing.assert_allclose(found, spec.value(DATA), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(150))
def test_equal_declarations_are_one_object(seed: int) -> None:
    rng = random.Random(seed)
    spec = written(rng)
    node = spec.made()
    for _ in range(4):
        order = list(range(len(spec.reads)))
        rng.shuffle(order)
        rng.shuffle(spec.guards)
        assert spec.made(order) is node


@pytest.mark.parametrize("seed", range(60))
def test_the_order_of_reduced_loops_does_not_matter(seed: int) -> None:
    """For loops that reads tell apart: those used at different places of different reads."""
    rng = random.Random(seed)
    k, m, n = (loop(p, 3) for p in range(1, 4))
    i = loop(0, 4)
    w = prop.input("w", (3, 3, 3)).node
    v = prop.input("v", (3,)).node
    reads = [At(X, (i.ix(), k.ix() + 1)), At(w, (k.ix(), m.ix(), n.ix())), At(v, (m.ix(),)),
             At(w, (m.ix(), k.ix(), n.ix()))]  # fmt: skip
    body = t.mul(*(t.read(j) for j in range(4)))
    wanted = make("sum", [i, k, m, n], 1, (), body, reads, "float")
    inner = [k, m, n]
    order = list(range(4))
    rng.shuffle(inner)
    rng.shuffle(order)
    found = make("sum", [i, *inner], 1, (), body, [reads[j] for j in order], "float")
    assert found is wanted


def test_the_loops_of_every_node_are_numbered_in_order() -> None:
    for seed in range(80):
        node = written(random.Random(seed)).made()
        if isinstance(node, Reduce):
            assert [item.position for item in node.loops] == list(range(len(node.loops)))
            lone = node.op != "sum" and node.guards and len(node.inner) == 1
            assert lone or all(item.extent.value != 1 for item in node.inner)
            assert node.body.reads == tuple(range(len(node.reads)))
            assert len(set(node.reads)) == len(node.reads)


def test_guards_that_always_or_never_hold() -> None:
    i, k = loop(0, 4), loop(1, 6)
    read = [At(X, (i.ix(), k.ix()))]
    plain = make("sum", [i, k], 1, (), t.read(0), read, "float")
    assert make("sum", [i, k], 1, [guard(i.ix(), ">=")], t.read(0), read, "float") is plain
    for op, identity in (("sum", 0.0), ("max", -np.inf), ("min", np.inf)):
        never = make(op, [i, k], 1, [guard(-i.ix() - 1, ">=")], t.read(0), read, "float")
        assert not never.operands
        np.testing.assert_array_equal(evaluate_all([never], DATA)[0], np.full(4, identity))
    mapped = make("sum", [i, k], 2, [False], t.read(0), read, "float")
    np.testing.assert_array_equal(evaluate_all([mapped], DATA)[0], np.zeros((4, 6)))


def test_copies_are_the_operand_and_unused_loops_are_counted() -> None:
    i, k, extra = loop(0, 4), loop(1, 6), loop(2, 5)
    read = [At(X, (i.ix(), k.ix()))]
    assert make("sum", [i, k], 2, (), t.read(0), read, "float") is X
    moved = [loop(7, 4), loop(9, 6)]
    same = [At(X, (moved[0].ix(), moved[1].ix()))]
    assert make("sum", moved, 2, (), t.read(0), same, "float") is X
    times = make("sum", [i, k, extra], 2, (), t.read(0), read, "float")
    np.testing.assert_allclose(evaluate_all([times], DATA)[0], 5 * DATA[X])
    assert make("max", [i, k, extra], 2, (), t.read(0), read, "float") is X
    free = loop(2, dim("n").ix())
    long = make("sum", [i, k, free], 2, (), t.read(0), read, "float")
    np.testing.assert_allclose(evaluate_all([long], DATA | {"n": 7})[0], 7 * DATA[X])


def test_an_empty_maximum_over_a_free_dimension_stays_minus_infinity() -> None:
    free = loop(0, dim("maybe", lower=0).ix())
    node = make("max", [free], 0, (), t.num(3), (), "float")
    assert evaluate_all([node], {"maybe": 0})[0] == -np.inf
    assert evaluate_all([node], {"maybe": 2})[0] == 3
    masked = prop.input("m", (3,), dtype="bool")
    z = prop.input("z", (3,))
    top = prop.logsumexp(z, where=masked)
    values = {"m": np.zeros(3, bool), "z": np.ones(3)}
    assert evaluate_all([top], values)[0] == -np.inf
    integers = make("min", [free], 0, (), t.num(3), (), "int64")
    assert int(evaluate_all([integers], {"maybe": 0})[0]) == 2**63 - 1
