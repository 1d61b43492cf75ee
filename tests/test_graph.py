"""GRAPH: interning, canonical construction, digests, names and origins, every kind covered.

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
from checking import assert_equal, data_for, evaluate_all, shape_of

import symprop as prop
from codegen.index import Ix, Loop, constant, dim, evaluate, floordiv, guard, loop, mod
from symprop import graph, oracle
from symprop import term as t
from symprop.graph import At, Atom, IndexOf, Leaf, Node, Output, Reduce, Region, Scan
from symprop.make import fresh, make
from symprop.simplify.engine import simplify

X = prop.input("x", (4, 6)).node
Y = prop.input("y", (6,)).node
IDS = prop.labels("ids", (4,), classes=6).node


# --- canonical construction ----------------------------------------------------------------------


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


def test_nan_propagates_through_extrema() -> None:
    x = prop.input("x", (3,))
    found = evaluate_all([prop.max(x), prop.min(x)], {"x": np.array([1.0, np.nan, 5.0])})
    assert np.all(np.isnan(found))


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_free_dimensions_work_at_any_size(batch: int) -> None:
    x = prop.input("x", "batch pixel=3")
    outs = [
        prop.concat([x, x[1:]]) if batch > 1 else prop.concat([x, x]), prop.flip(x, 0),
        prop.mean(x, 0), prop.mean(x), prop.sum(x) / prop.size(x, 0), prop.softmax(x, axis=0),
        x.reshape((-1,)), prop.cumsum(x, 0),
    ] if batch > 1 else [prop.mean(x, 0), prop.softmax(x, axis=0), prop.flip(x, 0)]  # fmt: skip
    grads = [prop.gradient(prop.sum(o * o), x) for o in outs]
    a = np.random.default_rng(3).normal(size=(batch, 3))
    found = evaluate_all([*outs, *grads], {"x": a})
    fixed = prop.input("x", (batch, 3))
    if batch > 1:
        wanted = [
            prop.concat([fixed, fixed[1:]]), prop.flip(fixed, 0), prop.mean(fixed, 0),
            prop.mean(fixed), prop.sum(fixed) / batch, prop.softmax(fixed, axis=0),
            fixed.reshape((-1,)), prop.cumsum(fixed, 0),
        ]  # fmt: skip
    else:
        wanted = [prop.mean(fixed, 0), prop.softmax(fixed, axis=0), prop.flip(fixed, 0)]
    both = [*wanted, *(prop.gradient(prop.sum(o * o), fixed) for o in wanted)]
    assert_equal(found, evaluate_all(both, {"x": a}), 1e-13)


# --- digests, names, origins ---------------------------------------------------------------------


def network() -> list[Node]:
    """A model declared anew, with most kinds of nodes in it."""
    x = prop.input("x", "batch pixel=4")
    y = prop.labels("y", "batch", classes=3)
    w = prop.parameter("w", (3, 4), 0.0)
    h = (prop.tanh(x @ w.T)).named("h")
    block = prop.region("block0")(lambda a: prop.softmax(a * 2.0))
    carry, ys = prop.scan(lambda c, s: (c * 0.5 + s, prop.sin(c)), prop.sum(h, 0), block(h))
    loss = prop.cross_entropy(h + prop.sum(ys), y) + prop.max(carry)
    return [loss.node, prop.gradient(loss, w).node, prop.gradient(loss, x).node]


def digests(roots: Sequence[Node]) -> list[bytes]:
    return [n.digest for n in graph.topological(roots)]


def test_digests_do_not_depend_on_what_was_built_before() -> None:
    first = digests(network())
    a = prop.input("y", (7, 4))
    other = prop.region("other")(lambda v: prop.exp(v) * 3)(a)
    gradient = prop.gradient(prop.sum(other), a)
    again = network()
    assert digests(again) == first
    assert digests(simplify(again)) == digests(simplify(network()))
    del other, gradient


def test_a_leaf_is_its_declaration() -> None:
    a, b = prop.input("same", (3,)), prop.input("same", (3,))
    assert a.node is not b.node
    assert (a + 1).node is not (b + 1).node
    assert (a + 1).node is (a + 1).node
    assert prop.index(4).node is prop.index(4).node


def test_digests_tell_values_apart() -> None:
    a = prop.input("a", (3, 3))
    different = [
        a, a + 1, a * 2, a.T, a @ a, a.T @ a, a @ a.T, prop.sum(a, 0), prop.sum(a, 1), prop.max(a, 0),
        prop.min(a, 0), prop.cumsum(a, 0), prop.flip(a, 0), a[0], a[1], a[:, 0], a.astype("float32"),
        prop.constant(np.zeros(3)), prop.constant(np.ones(3)), prop.input("b", (3, 3)),
        prop.input("a", (3, 4)), prop.input("a", (3, 3), dtype="float32"), prop.labels("a", 3, 4),
        prop.labels("a", 3, 5), prop.exp(a), prop.where(a > 0, a, 0.0), prop.where(a >= 0, a, 0.0),
    ]  # fmt: skip
    assert len({e.node.digest for e in different}) == len(different)


def test_building_more_changes_no_node() -> None:
    """Immutable by convention: every slot of every node is the same object afterwards."""
    roots = network()
    order = graph.topological(roots)

    def slots(n: Node) -> dict[str, Any]:
        names = [s for c in type(n).__mro__ for s in getattr(c, "__slots__", ())]
        return {s: getattr(n, s) for s in names if s != "__weakref__" and hasattr(n, s)}

    before = [slots(n) for n in order]
    simplify(roots)
    oracle.evaluate(roots, data_for(roots, sizes={"batch": 2}))
    for n, old in zip(order, before, strict=True):
        now = slots(n)
        assert now.keys() == old.keys()
        assert all(now[s] is old[s] for s in old)


def test_names_and_origins_lie_beside_the_nodes() -> None:
    x = prop.input("x", (3,))
    a = prop.exp(x)
    assert a.named("first").node is prop.exp(x).node
    assert a.name == "first"
    a.named("second")
    assert prop.exp(x).name == "second"
    assert prop.as_expr(2.0).node.name == "" if hasattr(prop, "as_expr") else True


def test_an_origin_names_the_users_line_and_the_rule() -> None:
    x = prop.input("x", (3,))
    value = prop.exp(x) * 2.0  # this line
    line = test_an_origin_names_the_users_line_and_the_rule.__code__.co_firstlineno + 2
    found = graph.origin(value.node)
    assert found.place == f"test_graph.py:{line}"
    assert found.rule == "*"
    assert [graph.origin(n).rule for n in found.inputs] == ["exp"]
    assert graph.origin(x.node).place == f"test_graph.py:{line - 1}"
    grad = prop.gradient(prop.sum(value), x)
    chain = graph.origin(grad.node)
    assert chain.rule
    assert chain.inputs
    assert chain.place.startswith("test_graph.py:")


def test_every_computed_node_has_an_origin_after_differentiation_and_simplify() -> None:
    roots = network()
    for stage in (roots, simplify(roots)):
        missing = [
            n for n in graph.topological(stage)
            if isinstance(n, Reduce) and n.operands and not graph.origin(n).rule
        ]  # fmt: skip
        assert not missing, f"{len(missing)} without origin: {missing[:4]}"


# --- every kind is covered everywhere ------------------------------------------------------------

DOUBLE = Atom(
    "test_double",
    shape=lambda x: [(x, "float")],
    vjp=lambda node, gs: [prop.Expr(gs[0]).__mul__(2.0).node],
    jvp=lambda node, ts: [prop.Expr(ts[0]).__mul__(2.0).node],
    oracle=lambda x: (x * 2,),
)


def _doubled(x: Any) -> Any:
    return prop.Expr(graph.make_output(graph.make_opaque(DOUBLE, [x.node]), 0))


KINDS: dict[type[Node], Callable[[Any], Any]] = {
    Leaf: lambda x: x,
    Reduce: lambda x: prop.exp(x),
    Scan: lambda x: prop.cumprod(x, 0),
    Region: lambda x: prop.region("r")(lambda a: prop.sin(a) * a)(x),
    graph.Opaque: _doubled,
    Output: lambda x: prop.region("two")(lambda a: (a * 2.0, prop.exp(a)))(x)[1],
}


def _every_subclass(cls: type) -> set[type]:
    return {cls, *(d for c in cls.__subclasses__() for d in _every_subclass(c))}


def test_every_kind_of_node_is_listed_here() -> None:
    assert _every_subclass(Node) - {Node} == set(KINDS), "a new kind needs a row in KINDS"


@pytest.mark.parametrize("kind", KINDS, ids=[k.__name__ for k in KINDS])
def test_every_pass_covers_every_kind(kind: type[Node]) -> None:
    x = prop.input("x", (3,))
    y = KINDS[kind](x)
    assert any(isinstance(n, kind) for n in graph.topological([y.node]))
    loss = prop.sum(y * y)
    roots = [y, prop.gradient(loss, x), prop.jvp(y, x, 1.0)]
    values = {"x": np.array([0.5, -1.5, 2.0])}
    wanted = evaluate_all(roots, values)
    step = 1e-6
    ends = [evaluate_all([loss], {"x": values["x"] + s * np.eye(3)[k]})[0]
            for k in range(3) for s in (step, -step)]  # fmt: skip
    slopes = [(ends[2 * k] - ends[2 * k + 1]) / (2 * step) for k in range(3)]
    np.testing.assert_allclose(wanted[1], slopes, rtol=1e-6)
    assert_equal(evaluate_all(simplify([r.node for r in roots]), values), wanted, 1e-13)
    other = prop.input("other", (3,))
    moved = graph.substitute([r.node for r in roots], {x.node: other.node})
    assert_equal(evaluate_all(moved, {"other": values["x"]}), wanted, 1e-13)
    assert shape_of(y.node) == (3,)
    if kind is not graph.Opaque:  # no library of opaque operations yet
        found = prop.compile([prop.exp(y), *roots[1:]], dtype="float64")(values)
        assert_equal(list(found)[1:], wanted[1:], 1e-12)
