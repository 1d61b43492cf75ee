"""GRAPH: interning, canonical construction, digests, names and origins, every kind covered.

Random declarations of value nodes are evaluated point by point as they were written, and the node
that ``make`` returns by the oracle; the same declaration in another order of reads, guards and
loops must be the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from checking import assert_equal, data_for, evaluate_all, shape_of

import symprop as prop
from symprop import graph, oracle, walk
from symprop.graph import Atom, Leaf, Node, Output, Reduce, Region, Scan
from symprop.simplify.engine import simplify

# --- what a node means ---------------------------------------------------------------------------


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
    return [n.digest for n in walk.topological(roots)]


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
        a, a + 1, a * 2, a.T, a @ a, a.T @ a, a @ a.T, prop.sum(a, 0), prop.sum(a, 1),
        prop.max(a, 0), prop.min(a, 0), prop.cumsum(a, 0), prop.flip(a, 0), a[0], a[1], a[:, 0],
        a.astype("float32"),
        prop.constant(np.zeros(3)), prop.constant(np.ones(3)), prop.input("b", (3, 3)),
        prop.input("a", (3, 4)), prop.input("a", (3, 3), dtype="float32"), prop.labels("a", 3, 4),
        prop.labels("a", 3, 5), prop.exp(a), prop.where(a > 0, a, 0.0), prop.where(a >= 0, a, 0.0),
    ]  # fmt: skip
    assert len({e.node.digest for e in different}) == len(different)


def test_building_more_changes_no_node() -> None:
    """Immutable by convention: every slot of every node is the same object afterwards."""
    roots = network()
    order = walk.topological(roots)

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
    ramp = (prop.index(3) * 2.0).named("ramp")  # every model's: it keeps no name
    assert ramp.name == ""
    assert graph.origin(ramp.node).place == ""


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
            n for n in walk.topological(stage)
            if isinstance(n, Reduce) and not n.common and not graph.origin(n).rule
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
    kinds = _every_subclass(Node) - {Node, graph.Many}  # Many is what three kinds share
    assert kinds == set(KINDS), "a new kind needs a row in KINDS"


@pytest.mark.parametrize("kind", KINDS, ids=[k.__name__ for k in KINDS])
def test_every_pass_covers_every_kind(kind: type[Node]) -> None:
    x = prop.input("x", (3,))
    y = KINDS[kind](x)
    assert any(isinstance(n, kind) for n in walk.topological([y.node]))
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
    moved = walk.substitute([r.node for r in roots], {x.node: other.node})
    assert_equal(evaluate_all(moved, {"other": values["x"]}), wanted, 1e-13)
    assert shape_of(y.node) == (3,)
    if kind is not graph.Opaque:  # no library of opaque operations yet
        found = prop.compile([prop.exp(y), *roots[1:]], dtype="float64")(values)
        assert_equal(list(found)[1:], wanted[1:], 1e-12)
