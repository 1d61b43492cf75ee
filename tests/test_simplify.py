"""Simplification: every rule on its own, the gate, the bars of the design, every model's values.

A rule is tested from its entry in ``RULES``: graphs on which it fires and graphs on which it must
not, and the oracle before and after. Costs are counted by the gate's own measure, for derived and
hand-written graphs alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from checking import assert_equal, data_for, evaluate_all, nodes, weighted
from functions import ROWS, At, Row
from peers.models import CASES, declare, read_reference

import symprop as prop
from codegen.index import guard
from symprop import graph
from symprop import term as t
from symprop.expression import broadcast
from symprop.graph import At as Read
from symprop.graph import Node, Reduce, Region, Scan, topological
from symprop.make import elementwise, fresh, make
from symprop.simplify.cost import graph_cost
from symprop.simplify.engine import rewrite, simplify
from symprop.simplify.rules import RULES, SHARED

EVERY_RULE = (*RULES, SHARED)
BOUND = 1e-12


def X(*shape: int) -> Any:
    return prop.input("x", shape or (4, 3))


def Y(*shape: int) -> Any:
    return prop.input("y", shape or (4, 3))


def _one_body(form: Callable[..., t.Term], *operands: Any) -> Any:
    """One map of a formula, as a derivative makes it."""
    body = form(*map(t.read, range(len(operands))))
    dims = broadcast("a map", operands)
    return prop.Expr(elementwise(body, [e.node for e in operands], dims, "float"))


def _causal(finite: bool, both: bool = True) -> Any:
    """sum_j p[i,j]*v[j] under i >= j, where p is 0 elsewhere (or is not)."""
    x, v = X(4, 4), prop.input("v", (4,))
    i, j = fresh([4, 4])
    below = guard(i.ix() - j.ix(), ">=")
    body = t.read(0) * 2 if finite else t.power(t.read(0), -1)
    p = make("sum", [i, j], 2, [below] if both else [], body, [Read(x.node, (i.ix(), j.ix()))],
             "float")  # fmt: skip
    reads = [Read(p, (i.ix(), j.ix())), Read(v.node, (j.ix(),))]
    return prop.Expr(make("sum", [i, j], 1, [below], t.read(0) * t.read(1), reads, "float"))


def _convolution(stride: int) -> Any:
    x, w = prop.input("x", (1, 2, 5, 5)), prop.input("w", (2, 2, 3, 3))
    y = prop.conv2d(x, w, stride=stride, padding=1)
    found = nodes([prop.vjp(y, x, prop.input("g", y.dims))])
    return rewrite(found, RULES[0], [], set())[0]


def _named(e: Any) -> Any:
    return e.named("kept")


FIRES: dict[str, list[Callable[[], Any]]] = {
    "read through views": [
        lambda: prop.exp(X().T), lambda: prop.exp(X()[1:, ::-1]), lambda: prop.sum(X().T, 0),
        lambda: X().reshape((2, 2, 3)).reshape((4, 3)), lambda: X()[1:] + Y()[:-1],
    ],
    "read through free maps": [lambda: prop.exp(-X()), lambda: prop.sum(-X()) * 2.0],
    "cancel": [
        lambda: _one_body(lambda a: t.power(a, 2) * t.power(a, -1), prop.exp(X())),
        lambda: _one_body(lambda a, b: b * t.power(a, 3) * t.power(a, -1), prop.exp(X()), Y()),
    ],
    "pull factors out of sums": [
        lambda: prop.einsum("i,ij->i", prop.input("a", (4,)), X()),
        lambda: prop.einsum("ij,j->j", X(), prop.input("b", (3,))),
        lambda: prop.Expr(make("sum", fresh([3, 4]), 1, (), t.read(0) * 3,
                               [Read(X(4).node, (fresh([3, 4])[1].ix(),))], "float")),
    ],
    "drop zero sums": [
        lambda: (lambda x: prop.sum(x - prop.mean(x, 0), 0) + Y())(X()),
        lambda: (lambda x: prop.sum((x - prop.mean(x)) + x * x))(X()),
    ],
    "residue split": [lambda: _convolution(2), lambda: _convolution(3)],
    "drop implied guards": [lambda: _causal(True)],
    "fuse single use": [lambda: prop.exp(X()) * 2.0 + 1.0, lambda: prop.sum(prop.exp(X()), 0),
                        lambda: prop.tanh(X() + Y())],
    "hoist": [
        lambda: _one_body(lambda a, b: t.call(prop.exp.function, a) * b, X(8, 1), Y(8, 9)),
        lambda: _one_body(lambda a, b: t.power(a, 2) * b, X(1, 9), Y(8, 9)),
    ],
    "share sums": [
        lambda: (lambda x, y: (x * y[:, None]) @ prop.input("v", (3,)))(X(), Y(4)),
    ],
}  # fmt: skip

HOLDS: dict[str, list[Callable[[], Any]]] = {
    "read through views": [
        lambda: prop.exp(X()), lambda: prop.exp(X().reshape((3, 4))),
        lambda: prop.sum(X(6).reshape((2, 3)), 0),
    ],
    "read through free maps": [lambda: prop.exp(X() + 1.0), lambda: prop.exp(X())],
    "cancel": [
        lambda: _one_body(lambda a: t.power(a, 2) * t.power(a, -1), X()),
        lambda: _one_body(lambda a: a * t.power(a, -1), prop.relu(X())),
        lambda: X() / X(), lambda: prop.sqrt(X() * X()), lambda: prop.exp(X()) * prop.exp(-X()),
    ],
    "pull factors out of sums": [lambda: X() @ Y().T, lambda: prop.max(X() * 2.0),
                                 lambda: prop.sum(prop.exp(X()))],
    "drop zero sums": [
        lambda: prop.sum(X() - prop.max(X(), 0), 0), lambda: X() @ Y().T,
        lambda: prop.sum(X() - prop.mean(X(), 0), 0),  # two leaves that only look alike
        lambda: prop.sum(X() - X() * X()),
    ],
    "residue split": [lambda: _convolution(1), lambda: prop.cumsum(X(), 0)],
    "drop implied guards": [lambda: _causal(False), lambda: _causal(True, both=False),
                            lambda: prop.cumsum(X(), 0)],
    "fuse single use": [
        lambda: (lambda e: e * prop.sum(e))(prop.exp(X())), lambda: _named(prop.exp(X())) * 2.0,
        lambda: prop.exp(X(4, 1)) * Y(4, 9),
    ],
    "hoist": [lambda: prop.exp(X()) * Y(), lambda: X(4, 1) * Y(4, 9)],
    "share sums": [lambda: X() @ Y().T, lambda: prop.sum(prop.exp(X()))],
}  # fmt: skip


def test_rules_are_data_and_every_one_is_tested() -> None:
    names = [r.name for r in EVERY_RULE]
    assert len(set(names)) == len(names)
    assert set(FIRES) == set(names) == set(HOLDS)
    for rule in EVERY_RULE:
        assert rule.kind in ("exact", "reorders rounding", "needs an assumption")
        assert rule.algebra
        assert rule.apply.__doc__
        assert rule.kind == "exact" or rule.gated, "a rule that rounds must pass the gate"


def applied(rule: Any, roots: Sequence[Node]) -> tuple[list[Node], list[Node]]:
    changed: list[Node] = []
    return rewrite(roots, rule, changed, set()), changed


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


# --- values, cost, idempotence over everything -------------------------------------------------------


def derived(case: Row, leaves: dict[str, Any]) -> list[Any]:
    """A row's value, gradients and one Hessian-vector product."""
    y = case.call(At(leaves))
    if not case.differentiable or "inf" in case.name:
        return [y]
    wrt = [leaves[n] for n in case.floats()]
    first = prop.gradient(weighted(y + y * y), wrt)
    return [y, *first, prop.jvp(first[0], wrt[0], 1.0)]


def checked(roots: Sequence[Node], values: Any, bound: float = BOUND) -> list[Node]:
    """Simplified, with values, cost and names kept."""
    new = simplify(roots)
    assert graph_cost(new) <= graph_cost(roots)
    assert_equal(evaluate_all(new, values), evaluate_all(roots, values), bound)
    assert [n.dims for n in new] == [n.dims for n in roots]
    assert [n.dtype for n in new] == [n.dtype for n in roots]
    return new


@pytest.mark.parametrize("case", ROWS, ids=[r.name for r in ROWS])
def test_every_function_keeps_its_values(case: Row) -> None:
    leaves = case.declare()
    roots = nodes(derived(case, leaves))
    values: dict[Any, Any] = {**case.data(), "s": np.zeros(4)}
    new = checked(roots, values)
    assert simplify(new) == new, "not idempotent"


class Network:
    """A random network of elementwise, reducing, rearranging and repeated parts."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.leaves = [prop.input(f"leaf{k}", (3, 4)) for k in range(3)]
        self.pool = list(self.leaves)
        for _ in range(self.rng.randint(4, 9)):
            self.pool.append(self.part(self.pick(), self.pick()))

    def pick(self) -> Any:
        return self.rng.choice(self.pool[-4:] + self.leaves[:1])

    def part(self, a: Any, b: Any) -> Any:
        """A value [3, 4] made of two others."""
        r = self.rng
        return r.choice([
            lambda: a + b, lambda: a * b, lambda: a - b, lambda: prop.tanh(a), lambda: prop.relu(a),
            lambda: a / (1.5 + prop.square(b)), lambda: prop.exp(-prop.square(a)), lambda: a * 0.5,
            lambda: prop.where(a > b, a, prop.sin(b)), lambda: a - prop.mean(a, 1, keepdims=True),
            lambda: prop.softmax(a), lambda: prop.layer_norm(a), lambda: prop.cumsum(a, 1) * 0.3,
            lambda: (a @ b.T) @ b * 0.2, lambda: prop.flip(a, 1), lambda: a.reshape((4, 3)).T,
            lambda: prop.concat([a[:, 2:], b[:, :2]], 1), lambda: prop.pad(a, 1)[1:-1, :-2],
            lambda: prop.max(a, 1)[:, None] + b, lambda: prop.sum(a * b) * a * 0.1,
            lambda: prop.take(a, [3, 3, 0, 1], 1), lambda: a[::-1] + b[:, ::-1],
            lambda: prop.scan(lambda c, s: (prop.tanh(c + s), c * s), b[0], a)[1],
            lambda: prop.region("part")(lambda p, q: prop.tanh(p) * q + p)(a, b),
            lambda: prop.sqrt(prop.square(a) + 1.0), lambda: prop.stop_gradient(a) * b,
        ])()  # fmt: skip

    def roots(self) -> list[Any]:
        loss = weighted(self.pool[-1]) + weighted(self.pool[-2] * self.pool[-3])
        first = prop.gradient(loss, self.leaves)
        return [loss, *first, *prop.jvp(first, self.leaves, [1.0] * 3)]


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_keep_their_values(seed: int) -> None:
    roots = nodes(Network(seed).roots())
    new = checked(roots, data_for(roots, seed), bound=1e-11)
    again = simplify(new)
    assert graph_cost(again) <= graph_cost(new)


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
    checked(nodes([loss, *prop.gradient(loss, wrt)]), reference.inputs, bound=1e-11)


# --- the bars: derived against hand-written -----------------------------------------------------------


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
    dx = inverse * (d - prop.mean(d, 1, keepdims=True) - unit * prop.mean(d * unit, 1, keepdims=True))
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
    simple = checked(roots, data_for(roots))
    assert graph_cost(simple).operations <= 8112


def _arguments(roots: Sequence[Node]) -> list[Node]:
    """Integer nodes: the first positions that attain a maximum."""
    return [n for n in topological(roots) if isinstance(n, Reduce) and n.dtype == "int64" and n.inner]


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
    simple = checked(roots, data_for(roots))
    assert not _arguments(simple)


def test_cross_entropy_needs_no_rule_that_knows_softmax() -> None:
    """d/dz is (softmax - onehot)/batch: no logarithm, no maximum of a gradient, one map at z."""
    (loss, grad), _ = softmax_cross_entropy()
    simple = simplify(nodes([grad]))
    bodies = [n.body for n in topological(simple) if isinstance(n, Reduce)]
    functions = {x.fn.name for b in bodies for x in t.subterms(b) if isinstance(x, t.Call)}
    assert functions <= {"exp", "stop_gradient", "select", "eq"}


# --- blocks --------------------------------------------------------------------------------------------


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
    simple = checked(roots, data_for(roots))
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
