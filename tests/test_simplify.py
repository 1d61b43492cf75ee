"""Simplification: every rule on its own, the gate, every model's values, blocks.

A rule is tested from its entry in ``RULES``: graphs on which it fires and graphs on which it must
not, and the oracle before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from checking import assert_equal, assert_simplified, data_for, evaluate_all, nodes, weighted
from functions import ROWS, At, Row
from peers.models import CASES, declare, read_reference

import symprop as prop
from codegen.index import gather, guard
from symprop import graph
from symprop import term as t
from symprop.expression import broadcast
from symprop.graph import At as Read
from symprop.graph import (
    Node,
    Reduce,
    Region,
    Scan,
)
from symprop.make import elementwise, fresh, make
from symprop.simplify.context import Rule
from symprop.simplify.engine import graph_of, rewrite, simplify
from symprop.simplify.rules import RULES, SHARED
from symprop.walk import topological

EVERY_RULE = (*RULES, SHARED)
BOUND = 1e-12


def _x(*shape: int) -> Any:
    return prop.input("x", shape or (4, 3))


def _y(*shape: int) -> Any:
    return prop.input("y", shape or (4, 3))


def _one_body(form: Callable[..., t.Term], *operands: Any) -> Any:
    """One map of a formula, as a derivative makes it."""
    body = form(*map(t.read, range(len(operands))))
    dims = broadcast("a map", operands)
    return prop.Expr(elementwise(body, [e.node for e in operands], dims, "float"))


def _causal(
    finite: bool, both: bool = True, other: Callable[[t.Term], t.Term] = lambda v: v
) -> Any:
    """sum_j p[i,j]*v[j] under i >= j, where p is 0 elsewhere (or is not)."""
    x, v = _x(4, 4), prop.input("v", (4,))
    i, j = fresh([4, 4])
    below = guard(i.ix() - j.ix(), ">=")
    guards = [below] if both else []
    body = t.read(0) * 2 if finite else t.power(t.read(0), -1)
    p = make("sum", [i, j], 2, guards, body, [Read(x.node, (i.ix(), j.ix()))], "float")
    reads = [Read(p, (i.ix(), j.ix())), Read(v.node, (j.ix(),))]
    product = t.read(0) * other(t.read(1))
    return prop.Expr(make("sum", [i, j], 1, [below], product, reads, "float"))


def _convolution(stride: int, kernel: int = 3) -> Any:
    n = 7 * stride
    x, w = prop.input("x", (1, 1, n, n)), prop.input("w", (1, 1, kernel, kernel))
    y = prop.conv2d(x, w, stride=stride, padding=1)
    found = nodes([prop.vjp(y, x, prop.input("g", y.dims))])
    return rewrite(graph_of(found), RULES[0], [], set())[0]


def _named(e: Any) -> Any:
    return e.named("kept")


FIRES: dict[str, list[Callable[[], Any]]] = {
    "read through views": [
        lambda: prop.exp(_x().T), lambda: prop.exp(_x()[1:, ::-1]), lambda: prop.sum(_x().T, 0),
        lambda: _x().reshape((2, 2, 3)).reshape((4, 3)), lambda: _x()[1:] + _y()[:-1],
    ],
    "read through free maps": [lambda: prop.exp(-_x()), lambda: prop.sum(-_x()) * 2.0],
    "cancel": [
        lambda: _one_body(lambda a: t.power(a, 2) * t.power(a, -1), prop.exp(_x())),
        lambda: _one_body(lambda a, b: b * t.power(a, 3) * t.power(a, -1), prop.exp(_x()), _y()),
    ],
    "pull factors out of sums": [
        lambda: prop.einsum("i,ij->i", prop.input("a", (4,)), _x()),
        lambda: prop.einsum("ij,j->j", _x(), prop.input("b", (3,))),
        lambda: prop.Expr(make("sum", fresh([3, 4]), 1, (), t.read(0) * 3,
                               [Read(_x(4).node, (fresh([3, 4])[1].ix(),))], "float")),
    ],
    "drop zero sums": [
        lambda: (lambda x: prop.sum(x - prop.mean(x, 0), 0) + _y())(_x()),
        lambda: (lambda x: prop.sum((x - prop.mean(x)) + x * x))(_x()),
    ],
    "residue split": [lambda: _convolution(2), lambda: _convolution(3, 5)],
    "drop implied guards": [lambda: _causal(True)],
    "fuse single use": [lambda: prop.exp(_x()) * 2.0 + 1.0, lambda: prop.sum(prop.exp(_x()), 0),
                        lambda: prop.tanh(_x() + _y())],
    "hoist": [
        lambda: _one_body(lambda a, b: t.call(prop.exp.function, a) * b, _x(8, 1), _y(8, 9)),
        lambda: _one_body(lambda a, b: t.power(a, 2) * b, _x(1, 9), _y(8, 9)),
    ],
    "share sums": [
        lambda: (lambda x, y: (x * y[:, None]) @ prop.input("v", (3,)))(_x(), _y(4)),
    ],
}  # fmt: skip

HOLDS: dict[str, list[Callable[[], Any]]] = {
    "read through views": [
        lambda: prop.exp(_x()), lambda: prop.exp(_x().reshape((3, 4))),
        lambda: prop.sum(_x(6).reshape((2, 3)), 0),
    ],
    "read through free maps": [lambda: prop.exp(_x() + 1.0), lambda: prop.exp(_x())],
    "cancel": [
        lambda: _one_body(lambda a: t.power(a, 2) * t.power(a, -1), _x()),
        lambda: _one_body(lambda a: a * t.power(a, -1), prop.relu(_x())),
        lambda: _x() / _x(), lambda: prop.sqrt(_x() * _x()),
        lambda: prop.exp(_x()) * prop.exp(-_x()),
    ],
    "pull factors out of sums": [lambda: _x() @ _y().T, lambda: prop.max(_x() * 2.0),
                                 lambda: prop.sum(prop.exp(_x()))],
    "drop zero sums": [
        lambda: prop.sum(_x() - prop.max(_x(), 0), 0), lambda: _x() @ _y().T,
        lambda: prop.sum(_x() - prop.mean(_x(), 0), 0),  # two leaves that only look alike
        lambda: prop.sum(_x() - _x() * _x()),
    ],
    "residue split": [
        lambda: _convolution(1), lambda: prop.cumsum(_x(), 0),
        lambda: _convolution(3),  # one tap a class: solved outright
    ],
    "drop implied guards": [
        lambda: _causal(False), lambda: _causal(True, other=lambda v: t.power(v, -1) + 1),
        lambda: _causal(True, both=False), lambda: prop.cumsum(_x(), 0),
    ],
    "fuse single use": [
        lambda: (lambda e: e * prop.sum(e))(prop.exp(_x())), lambda: _named(prop.exp(_x())) * 2.0,
        lambda: prop.exp(_x(4, 1)) * _y(4, 9),
    ],
    "hoist": [lambda: prop.exp(_x()) * _y(), lambda: _x(4, 1) * _y(4, 9)],
    "share sums": [lambda: _x() @ _y().T, lambda: prop.sum(prop.exp(_x()))],
}  # fmt: skip


def test_rules_are_data_and_every_one_is_tested() -> None:
    names = [r.name for r in EVERY_RULE]
    assert len(set(names)) == len(names)
    assert set(FIRES) == set(names) == set(HOLDS)
    for rule in EVERY_RULE:
        assert rule.kind in ("exact", "reorders rounding", "needs an assumption")
        assert rule.algebra
        assert rule.apply.__doc__


def applied(rule: Any, roots: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    changed: list[Node] = []
    return rewrite(graph_of(roots), rule, changed, set()), changed


def examples(table: dict[str, list[Callable[[], Any]]]) -> list[Any]:
    return [pytest.param(rule, make_it, id=f"{rule.name}-{k}")
            for rule in EVERY_RULE for k, make_it in enumerate(table[rule.name])]  # fmt: skip


def _positive(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.uniform(0.5, 2.0, size=shape) * np.where(rng.random(shape) < 0.5, -1, 1)


@pytest.mark.parametrize(("rule", "example"), examples(FIRES))
def test_the_rule_fires_and_keeps_the_value(rule: Any, example: Callable[[], Any]) -> None:
    roots = nodes([example()])
    new, changed = applied(rule, roots)
    assert changed, "the rule did not fire"
    assert new != roots
    values = data_for(roots, draw=_positive)
    exact = rule.kind == "exact"
    assert_equal(evaluate_all(new, values), evaluate_all(roots, values), 0.0 if exact else BOUND)
    assert graph.origin(new[0]).rule or not isinstance(new[0], Reduce)


@pytest.mark.parametrize(("rule", "example"), examples(HOLDS))
def test_the_rule_does_not_fire(rule: Any, example: Callable[[], Any]) -> None:
    roots = nodes([example()])
    new, changed = applied(rule, roots)
    assert not changed
    assert new == roots


# --- values, cost, idempotence over everything ---------------------------------------------------


def derived(case: Row, leaves: dict[str, Any]) -> list[Any]:
    """A row's value, gradients and one Hessian-vector product."""
    y = case.call(At(leaves))
    if not case.differentiable or "inf" in case.name:
        return [y]
    wrt = [leaves[n] for n in case.floats()]
    first = prop.gradient(weighted(y + y * y), wrt)
    return [y, *first, prop.jvp(first[0], wrt[0], 1.0)]


@pytest.mark.parametrize("case", ROWS, ids=[r.name for r in ROWS])
def test_every_function_keeps_its_values(case: Row) -> None:
    leaves = case.declare()
    roots = nodes(derived(case, leaves))
    values: dict[Any, Any] = {**case.data(), "s": np.zeros(4)}
    new = assert_simplified(roots, values)
    assert simplify(new) == new, "not idempotent"


# --- strong zero ---------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", [0.0, 800.0, -800.0])
@pytest.mark.parametrize(
    "body",
    [
        lambda a, b: t.power(a, -1) * b,
        lambda a, b: t.call(prop.exp.function, a) * b,
        lambda a, b: t.call(prop.log.function, a) * b,
        lambda a, b: t.power(a, -2) * b * 3,
        lambda a, b: b * (t.power(a, -1) + 1),
        lambda a, b: (b + 1) * t.call(prop.sqrt.function, a),
    ],
)
@pytest.mark.parametrize("apart", [False, True], ids=["one node", "map and sum"])
def test_what_no_point_reads_cannot_make_a_sum_infinite(
    edge: float, body: Callable[..., t.Term], apart: bool
) -> None:
    """A row whose points are all masked is 0, though a factor of the row is not finite there."""
    a, b = prop.input("a", (3,)).node, prop.input("b", (3, 4)).node
    m = prop.input("m", (3, 4), dtype="bool").node
    i, r = fresh([3, 4])
    seen = guard(gather(m, (i.ix(), r.ix())) - 1, "==")
    reads = [Read(a, (i.ix(),)), Read(b, (i.ix(), r.ix()))]
    formula = body(t.read(0), t.read(1))
    node = make("sum", [i, r], 2 if apart else 1, [seen], formula, reads, "float")
    if apart:
        both = t.read(0) * t.read(1)
        other = [Read(node, (i.ix(), r.ix())), Read(b, (i.ix(), r.ix()))]
        node = make("sum", [i, r], 1, [seen], both, other, "float")
    values = {a: np.array([1.0, edge, 2.0]), b: np.arange(1.0, 13.0).reshape(3, 4),
              m: np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1]], bool)}  # fmt: skip
    (wanted,), (found,) = (evaluate_all(e, values) for e in ([node], simplify([node])))
    assert found[1] == wanted[1] == 0
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


# --- every model ---------------------------------------------------------------------------------

QUICK = ("mlp", "attention", "conv", "softmax", "norm", "scan")


def _peers() -> list[Any]:
    quick = {next((n for n in CASES if word in n), "") for word in QUICK}
    return [pytest.param(n, marks=[] if n in quick else pytest.mark.slow) for n in CASES]


@pytest.mark.parametrize("name", _peers())
def test_models_keep_loss_and_gradients(name: str) -> None:
    case, reference = CASES[name], read_reference(name)
    leaves = declare(case, reference.inputs)
    loss = case.symprop(leaves)
    wrt = [leaves[n] for n in case.differentiated(reference.inputs)]
    assert_simplified(nodes([loss, *prop.gradient(loss, wrt)]), reference.inputs, bound=1e-11)


# --- blocks --------------------------------------------------------------------------------------


def blocks_of(depth: int) -> tuple[int, int]:
    x = prop.input("x", "batch width=4")
    h, weights = x, []
    for k in range(depth):
        w = prop.parameter(f"block{k}.weight", (4, 4), 0.0)
        weights.append(w)
        h = prop.region(f"block{k}")(lambda a, w=w: a + prop.relu(prop.rms_norm(a) @ w.T))(h)
    roots = simplify(nodes([prop.sum(h), *prop.gradient(prop.sum(h), weights)]))
    blocks = {n.block for n in topological(roots) if isinstance(n, Region)}
    return len(blocks), sum(len(topological(b.outputs)) for b in blocks)


def test_a_repeated_region_is_simplified_once_however_deep() -> None:
    found = [blocks_of(depth) for depth in (4, 8, 16)]
    assert found[0] == found[1] == found[2]


def test_scans_that_share_operands_become_one() -> None:
    x, w = prop.input("x", (5, 3)), prop.input("w", (3,))
    _, ys = prop.scan(lambda c, s: (prop.tanh(c * w + s), c), w, x)
    loss = prop.sum(ys * ys)
    roots = nodes([loss, *prop.gradient(loss, [x, w])])
    simple = assert_simplified(roots, data_for(roots))
    assert sum(isinstance(n, Scan) for n in topological(simple)) == 2


def test_names_and_origins_survive() -> None:
    x = prop.input("x", (4, 3))
    hidden = prop.tanh(x * 2.0 + 1.0).named("hidden")
    loss = prop.sum(hidden.T * hidden.T).named("loss")
    simple = simplify(nodes([loss, prop.gradient(loss, x)]))
    names = [n.name for n in topological(simple)]
    assert "hidden" in names
    assert simple[0].name == "loss"
    assert simple[1].name == "grad_x"
    rules = {graph.origin(n).rule for n in topological(simple)}
    assert rules & {r.name for r in RULES}


def _polynomial(x: Any, terms: int) -> Node:
    """x + x**2 + ... as one map."""
    return _one_body(lambda v: t.add(*(t.power(v, n) for n in range(1, terms + 1))), x).node


@pytest.mark.parametrize("bad", [0, 150, 299])
def test_one_rewrite_that_costs_more_does_not_keep_the_others(bad: int) -> None:
    """Together they cost more, but all except one of them less."""
    leaves = [prop.input(f"x{n}", (3,)) for n in range(300)]
    roots = [_polynomial(x, 3) for x in leaves]
    better = {r: _polynomial(x, 2) for r, x in zip(roots, leaves, strict=True)}
    better[roots[bad]] = _polynomial(leaves[bad], 99)
    rule = Rule("other", "", "exact", lambda node, _: better.get(node))
    after = [better[r] for r in roots]
    assert graph_of(after).cost > graph_of(roots).cost
    found = simplify(roots, [rule])
    assert [a is b for a, b in zip(found, after, strict=True)] == [n != bad for n in range(300)]
