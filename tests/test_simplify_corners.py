"""Simplification where it is seldom asked: blocks that are shared or dead, sweeps that end early,
reads that must not be opened, and patterns found in the second way.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from checking import assert_simplified, data_for, evaluate_all, nodes

import symprop as prop
from codegen.index import guard, mod
from symprop import graph
from symprop import term as t
from symprop.expression import broadcast
from symprop.graph import At as Read
from symprop.graph import IndexOf, Node, Reduce, Scan
from symprop.make import elementwise, fresh, make
from symprop.simplify.context import Rule
from symprop.simplify.cost import extent, graph_cost
from symprop.simplify.engine import ROUNDS, TRIES, graph_of, rewrite, simplify
from symprop.simplify.matching import found, found_in_product, found_in_sum
from symprop.simplify.rules import RULES, SHARED
from symprop.simplify.window import DEEP, Window
from symprop.walk import topological

RULE = {r.name: r for r in (*RULES, SHARED)}
EXP = prop.exp.function


def fires(rule: str, e: Any) -> list[Node]:
    """What the rule makes of an expression; the value is what it was."""
    roots = nodes([e])
    changed: list[Any] = []
    new = rewrite(graph_of(roots), RULE[rule], changed, set())
    if changed:
        values = data_for(roots)
        for a, b in zip(evaluate_all(new, values), evaluate_all(roots, values), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)
    return new if changed else []


def one_body(form: Callable[..., t.Term], *operands: Any) -> Any:
    """One map of a formula, as a derivative makes it."""
    body = form(*map(t.read, range(len(operands))))
    dims = broadcast("a map", operands)
    return prop.Expr(elementwise(body, [e.node for e in operands], dims, "float"))


def scans(roots: list[Node]) -> list[Scan]:
    return [n for n in topological(roots) if isinstance(n, Scan)]


# --- blocks --------------------------------------------------------------------------------------


def test_equal_blocks_of_networks_declared_apart_become_one() -> None:
    ends = []
    for name in ("one", "other"):
        x, w = prop.input(name, (5, 3)), prop.input(f"{name}_start", (3,))
        ends.append(prop.scan(lambda c, s: (prop.tanh(c + s), c), w, x)[0])
        ends.append(prop.region("double")(lambda a: prop.sin(a) * a)(x))
    roots = nodes(ends)
    assert len({n.block for n in scans(roots)}) == 2
    new = assert_simplified(roots, data_for(roots))
    assert len({n.block for n in scans(new)}) == 1
    assert len({n.block for n in topological(new) if isinstance(n, graph.Region)}) == 1


def test_scans_with_other_carries_stay_two() -> None:
    x, w = prop.input("x", (5, 3)), prop.input("w", (3,))
    a, _ = prop.scan(lambda c, s: (prop.tanh(c + s), None), w, x)
    b, _ = prop.scan(lambda c, s: (c * s, None), w, x)
    roots = nodes([a + b])
    assert len(scans(assert_simplified(roots, data_for(roots)))) == 2


def test_scans_that_differ_in_what_they_give_become_one() -> None:
    x, w = prop.input("x", (5, 3)), prop.input("w", (3,))
    a, p = prop.scan(lambda c, s: (prop.tanh(c + s), c * s), w, x)
    b, q = prop.scan(lambda c, s: (prop.tanh(c + s), c - s), w, x)
    roots = nodes([a, p, b, q])
    new = assert_simplified(roots, data_for(roots))
    assert len(scans(new)) == 1
    assert new[0] is new[2]


def test_a_scan_that_only_a_trimmed_output_needs_goes_too() -> None:
    x, w = prop.input("x", (5, 3)), prop.input("w", (3,))
    z, _ = prop.scan(lambda c, s: (prop.tanh(c + s), None), w, x)
    last, _ = prop.scan(lambda c, s: (c + s, c * z), w, x)
    roots = nodes([last])
    assert len(scans(roots)) == 2
    (left,) = scans(assert_simplified(roots, data_for(roots)))
    assert len(left.block.outputs) == 1
    assert left.arguments == (w.node, x.node)


def test_slices_and_constants_that_a_trimmed_scan_does_not_read_go() -> None:
    x, y, w, k = (
        prop.input(n, s) for n, s in zip("xywk", ((5, 3), (5, 3), (3,), (3,)), strict=True)
    )
    last, ys = prop.scan(lambda c, s: (c * s[0], (c * s[1], c * k)), w, (x, y))
    for e, slices in ((last, 1), (ys[0], 2), (ys[1], 1)):
        roots = nodes([e])
        (left,) = scans(assert_simplified(roots, data_for(roots)))
        assert left.nslice == slices
        assert len(left.arguments) == 1 + slices + (e is ys[1])


# --- the engine ----------------------------------------------------------------------------------


def polynomial(x: Any, terms: int) -> Node:
    return one_body(lambda v: t.add(*(t.power(v, n) for n in range(1, terms + 1))), x).node


def test_it_stops_after_a_fixed_number_of_rounds() -> None:
    """A rule that takes one term at a time would need more."""
    x = prop.input("x", (3,))
    shorter = {polynomial(x, n): polynomial(x, n - 1) for n in range(2, 20)}
    rule = Rule("one less", "", "exact", lambda node, _: shorter.get(node))
    (end,) = simplify([polynomial(x, 19)], [rule])
    assert end is polynomial(x, 19 - ROUNDS)


def test_a_sweep_with_many_bad_places_is_given_up_and_never_costs_more() -> None:
    leaves = [prop.input(f"x{n}", (3,)) for n in range(4 * TRIES)]
    roots = [polynomial(x, 3) for x in leaves]
    made = {r: polynomial(x, 2 if n % 2 else 99)
            for n, (r, x) in enumerate(zip(roots, leaves, strict=True))}  # fmt: skip
    tried: list[Node] = []

    def apply(node: Reduce, _: object) -> Node | None:
        tried.append(node)
        return made.get(node)

    before, after = (
        graph_of(roots),
        rewrite(graph_of(roots), Rule("r", "", "exact", apply), [], set()),
    )
    assert graph_cost(after) > before.cost
    tried.clear()
    new = simplify(roots, [Rule("other", "", "exact", apply)])
    assert graph_cost(new) <= before.cost
    assert any(a is not b for a, b in zip(new, roots, strict=True))
    assert all(b is a or n % 2 for n, (a, b) in enumerate(zip(roots, new, strict=True)))


def test_what_is_recorded_is_every_step_from_the_first_graph_to_the_last() -> None:
    x = prop.input("x", (5, 3))
    h, _ = prop.scan(lambda c, s: (prop.tanh(c * 2.0 + s), None), x[0], x)
    roots = nodes([prop.sum(h * 3.0), prop.exp(-x.T)])
    steps: list[Any] = []
    new = simplify(roots, record=lambda *step: steps.append(step))
    assert steps[0][1] == roots
    assert steps[-1][3] == new
    assert all(a[3] == b[1] for a, b in pairwise(steps))
    for rule, before, changes, after in steps:
        assert before != after
        assert bool(changes) == (rule in RULE)
        order = set(topological(before))
        assert all(c.place in order and c.before is not c.after for c in changes)


# --- costs ---------------------------------------------------------------------------------------


def test_half_of_a_free_dimension_costs_half() -> None:
    x = prop.input("x", "batch")
    whole, half = (e.node.dims[0] for e in (x, x[::2]))
    assert extent(half) == extent(whole) // 2
    assert extent(half + 3) == extent(half) + 3
    assert extent(whole * 0 - 5) == 0


# --- reads that stay -----------------------------------------------------------------------------


def test_a_guarded_product_with_an_index_is_read_through() -> None:
    x = prop.input("x", (4,))
    (i,) = fresh([6])
    y = make("sum", [i], 1, [guard(3 - i.ix(), ">=")], t.read(0) * t.read(1),
             [Read(x.node, (i.ix(),)), IndexOf(i.ix())], "float")  # fmt: skip
    (new,) = fires("fuse single use", prop.exp(prop.Expr(y)))
    assert new.operands == (x.node,)


@pytest.mark.parametrize(
    ("form", "opened"),
    [
        (lambda c, y: c * y, False),
        (lambda c, y: c, False),
        (lambda c, y: t.select(t.call(t.LT, y, t.num(0)), c, y), False),
        (lambda c, y: t.select(t.call(t.LT, y, t.num(0)), y, c), False),
        (lambda c, y: t.select(c, y, y * 2), True),
        (lambda c, y: t.select(t.call(t.AND, c, t.call(t.LT, y, t.num(0))), y, y * 2), True),
    ],
)
def test_a_comparison_is_read_through_where_a_truth_value_is_asked(form: Any, opened: bool) -> None:
    x, y = prop.input("x", (4, 3)), prop.input("y", (4, 3))
    body = form(t.read(0), t.read(1))
    node = elementwise(body, [(x < y).node, y.node], y.node.dims, "float")
    assert bool(fires("fuse single use", prop.Expr(node))) == opened


def test_a_part_that_is_read_under_a_guard_is_not_hoisted() -> None:
    x, y = prop.input("x", (8,)), prop.input("y", (8, 9))
    i, j = fresh([8, 9])
    for guards, wanted in (((), True), ((guard(i.ix() - 3, ">="),), False)):
        reads = [Read(x.node, (i.ix(),), guards), Read(y.node, (i.ix(), j.ix()))]
        body = t.call(EXP, t.read(0)) * t.read(1)
        node = make("sum", [i, j], 2, (), body, reads, "float")
        assert bool(fires("hoist", prop.Expr(node))) == wanted


@pytest.mark.parametrize(
    "form",
    [
        lambda a, b: t.power(a, 2) * t.power(a, -1) * b,
        lambda a, b: t.power(a, -2) * a * b,
        lambda a, b: (t.power(a, 2) * t.power(a, -1) * b).__mul__(3) + b,
        lambda a, b: t.power(a, 3) * t.power(a, -2) * b * 3 + t.power(b, 2),
    ],
)
def test_a_base_above_and_below_is_hoisted_with_both_powers(form: Any) -> None:
    (new,) = fires("hoist", one_body(form, prop.input("a", (8, 1)), prop.input("b", (8, 9))))
    assert isinstance(new, Reduce)


@pytest.mark.parametrize("powers", [(2, -1), (1, -2), (3, -1), (1, -1)])
def test_a_base_above_and_below_is_pulled_out_with_both_powers(powers: tuple[int, int]) -> None:
    """sum_j (a**n/a**m * b[j] + a**n/a**m * c[j]) over a row a"""
    a, b, c = (prop.input(n, s) for n, s in (("a", (4,)), ("b", (4, 3)), ("c", (4, 3))))
    i, j = fresh([4, 3])
    above, below = (t.power(t.read(0), n) for n in powers)
    body = above * below * t.read(1) + above * below * t.read(2)
    reads = [Read(a.node, (i.ix(),)), *(Read(e.node, (i.ix(), j.ix())) for e in (b, c))]
    assert fires("pull factors out of sums",
                 prop.Expr(make("sum", [i, j], 1, (), body, reads, "float")))  # fmt: skip


def test_a_sum_of_a_product_that_cancels_is_zero() -> None:
    x, c = prop.input("x", (4, 3)), prop.input("c", (3,))
    (new,) = fires("drop zero sums", prop.einsum("ij,j->j", x - prop.mean(x, 0), c))
    assert isinstance(new, Reduce)
    assert new.body is t.num(0)


def test_a_sum_of_many_terms_is_not_searched_for_zeros() -> None:
    x = prop.input("x", (4,))
    (i,) = fresh([4])

    def summed(terms: int) -> Any:
        body = t.add(*(t.power(t.read(0), n) for n in range(2, terms)), t.read(0), t.read(1))
        centred = (x - prop.mean(x)).node
        reads = [Read(x.node, (i.ix(),)), Read(centred, (i.ix(),))]
        return prop.Expr(make("sum", [i], 0, (), body, reads, "float"))

    assert fires("drop zero sums", summed(6))
    assert not fires("drop zero sums", summed(7))


# --- residue classes -----------------------------------------------------------------------------


def masked(rows: Any, taps: int, m: int, e: Callable[..., Any], more: Any = None) -> Any:
    """sum_r w[r]*x[y, r] where e(y, r) mod m is 0"""
    x, w = prop.input("x", (rows, taps)), prop.input("w", (taps,))
    y, r = fresh([x.node.dims[0], taps])
    reads = [Read(x.node, (y.ix(), r.ix())), Read(w.node, (r.ix(),))]
    guards = [guard(mod(e(y.ix(), r.ix()), m), "==")]
    guards += [] if more is None else [guard(more(y.ix(), r.ix()), ">=")]
    product = t.read(0) * t.read(1)
    return prop.Expr(make("sum", [y, r], 1, guards, product, reads, "float"))


@pytest.mark.parametrize(
    ("rows", "taps", "m", "e", "more"),
    [
        (9, 7, 3, lambda y, r: y - r + 1, None),
        (9, 7, 3, lambda y, r: y * 2 - r, None),
        (2, 7, 3, lambda y, r: y - r, None),  # a class without rows
        (9, 2, 3, lambda y, r: y - r, None),  # a class without terms
        (9, 7, 4, lambda y, r: y * 2 - r, None),  # a class of the window that no row asks for
        (9, 7, 3, lambda y, r: y - r, lambda y, r: y - r),
        (9, 7, 3, lambda y, r: y - r, lambda y, r: r - y - 4),  # a class without a point
    ],
)
def test_a_masked_sum_is_split_into_its_classes(
    rows: int, taps: int, m: int, e: Any, more: Any
) -> None:
    (new,) = fires("residue split", masked(rows, taps, m, e, more))
    parts = [o for o in new.operands if isinstance(o, Reduce)]
    assert parts
    assert not any(g.kind == "==" for p in parts for g in p.guards)


@pytest.mark.parametrize(
    ("rows", "taps", "m", "e"),
    [
        (9, 27, 9, lambda y, r: y - r),  # more classes than are worth a node each
        (9, 7, 3, lambda y, r: y * 3 - r),  # no row decides
        (9, 8, 4, lambda y, r: y + r * 2),  # two classes of the window for one of the rows
    ],
)
def test_other_masked_sums_stay(rows: int, taps: int, m: int, e: Any) -> None:
    assert not fires("residue split", masked(rows, taps, m, e))


# --- patterns ------------------------------------------------------------------------------------

X, Y, Z = (t.read(k) for k in range(3))


def window() -> Window:
    reads = [Read(prop.input(n, ()).node, ()) for n in "uvw"]
    return Window("float", reads)


@pytest.mark.parametrize(
    ("pattern", "subject", "wanted"),
    [
        (t.call(t.LT, X, t.num(0)), t.call(t.LT, Y, t.num(0)), [{0: Y}]),
        (t.call(t.LT, X, t.num(0)), t.call(t.LT, Y, t.num(1)), []),
        (t.call(t.LT, X, X), t.call(t.LT, Y, Y), [{0: Y}]),
        (t.call(t.LT, X, X), t.call(t.LT, Y, Z), []),
        (t.call(EXP, X * 2), t.call(EXP, Y), [{0: Y * Fraction(1, 2)}]),
        (t.power(X, 2), t.power(Y, 2), [{0: Y}]),
        (t.power(X, 2), t.power(Y, 2) * Z, []),
        (t.power(X, 2), t.power(Y, -2), []),
        (t.call(EXP, X) * X, t.call(EXP, Y) * Y, [{0: Y}]),
        (t.call(EXP, X) * X, t.call(EXP, Y) * Z, []),
        (t.call(EXP, X) + X, t.call(EXP, Y) + Y, [{0: Y}]),
        (t.call(EXP, X) + X, t.call(EXP, Y) + Z, []),
        (t.call(EXP, X) + X, t.call(EXP, Y) + Y + Z, []),
        (t.call(EXP, X) + Y, t.call(EXP, Y) + Z + X, [{0: Y, 1: Z + X}]),
        (t.call(EXP, X) + Y + Z, t.call(EXP, Y) + Z + X, []),
        (t.call(EXP, X) + 1, t.call(EXP, Y) + 1, [{0: Y}]),
        (t.call(EXP, X) + 1, t.call(EXP, Y) + 2, []),
    ],
)
def test_a_pattern_is_the_whole_of_a_formula(pattern: Any, subject: Any, wanted: Any) -> None:
    assert list(found(pattern, subject, window(), {})) == wanted


@pytest.mark.parametrize(
    ("pattern", "subject", "wanted"),
    [
        (t.call(EXP, X) + 1, t.call(EXP, Y) * 3 + 3 + Z, [({0: Y}, 3, Z)]),
        (t.call(EXP, X) + 1, t.call(EXP, Y) * 3 + 4 + Z, []),
        (t.call(EXP, X) + X, t.call(EXP, Y) * -2 - Y * 2 + Z + 5, [({0: Y}, -2, Z + 5)]),
        (t.call(EXP, X) + X, t.call(EXP, Y) * -2 + Y * 2, []),
        (t.call(EXP, X) + Y, t.call(EXP, Y) * 2 + Z, []),  # what is the rest, twice?
        (X + Y, t.call(EXP, Y) + Z, []),  # anything is a sum of two things
    ],
)
def test_a_pattern_is_a_part_of_a_sum(pattern: Any, subject: Any, wanted: Any) -> None:
    assert list(found_in_sum(pattern, subject, window())) == wanted


@pytest.mark.parametrize(
    ("pattern", "subject", "wanted"),
    [
        (t.call(EXP, X) * X, t.call(EXP, Y) * t.power(Y, 3) * 5, [({0: Y}, t.power(Y, 2) * 5)]),
        (t.call(EXP, X) * t.power(X, -2), t.call(EXP, Y) * t.power(Y, -3),
         [({0: Y}, t.power(Y, -1))]),
        (t.call(EXP, X) * t.power(X, -2), t.call(EXP, Y) * t.power(Y, -1), []),
        (t.call(EXP, X) * X, t.call(EXP, Y) * t.power(Y, -1), []),
        (t.call(EXP, X) * X, t.call(EXP, Y) * Y, [({0: Y}, t.num(1))]),
    ],
)  # fmt: skip
def test_a_pattern_is_a_part_of_a_product(pattern: Any, subject: Any, wanted: Any) -> None:
    assert list(found_in_product(pattern, subject, window())) == wanted


def renamed(function: Any, name: str) -> Any:
    """A user's function that is another one."""
    return prop.elementwise(name, lambda x: function(x))


def test_a_formula_is_looked_for_behind_a_fixed_number_of_values() -> None:
    """Behind more of them it is left as it stands: log(exp(u)) is seen through six names for u."""
    for depth, seen in ((1, True), (DEEP, True), (DEEP + 3, False)):
        value = prop.exp
        for k in range(depth - 1):
            value = renamed(value, f"again{depth}_{k}")
        u = prop.input("u", ())
        inside = t.call(value.function, t.read(0))
        held = Window("float", [Read(u.node, ())])
        assert list(found(t.call(EXP, X), inside, held, {})) == ([{0: X}] if seen else [])


def test_simplified_gradients_of_a_quotient_by_itself_are_right() -> None:
    a, b = prop.input("a", (8, 1)), prop.input("b", (8, 9))
    y = prop.sum(prop.tanh(a * a / a * b))
    roots = nodes([y, *prop.gradient(y, [a, b])])
    rng = np.random.default_rng(0)
    assert_simplified(roots, {"a": rng.normal(size=(8, 1)), "b": rng.normal(size=(8, 9))})
