"""derivation: lines that are true, counts that are right, names that last, plain data."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from checking import data_for, evaluate_all, nodes
from test_bars import BARS
from test_golden import MODELS
from test_simplify import FIRES

import symprop as prop
from codegen.index import evaluate
from symprop import derivation_text, graph
from symprop import term as t
from symprop.equality.sampling import free_dims
from symprop.graph import Leaf, Node, Reduce
from symprop.rewrites import EVERY_RULE, trace
from symprop.simplify.engine import BLOCKS, simplify
from symprop.simplify.rules import RULES, SHARED
from symprop.walk import topological

BOUND = 1e-30  # of 40 digits


def of_model(name: str, k: int = 0) -> Any:
    """The gradient of a golden model with respect to its parameter number k."""
    loss, parameters = MODELS[name]()
    return prop.gradient(loss, parameters)[k]


def layer_norm() -> Any:
    x, g = prop.input("x", (4, 6)), prop.input("g", (4, 6))
    return prop.vjp(prop.layer_norm(x), x, g)


def hessian() -> Any:
    x, v = prop.input("x", "n=4"), prop.input("v", "n=4")
    return prop.jvp(prop.gradient(prop.sum(prop.tanh(x * x)), x), x, v)


CASES: dict[str, Callable[[], Any]] = {
    **{name: (lambda name=name: of_model(name)) for name in MODELS},
    "layer norm": layer_norm,
    "a second derivative": hessian,
    "a declaration": lambda: prop.input("x", "n=3") * 2 + 1,
    "a leaf": lambda: prop.input("x", "n=3"),
}


def small(roots: Sequence[Node]) -> dict[str, int]:
    return {d.name: 2 for d in free_dims(roots)}


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.uniform(0.5, 2.0, size=shape) * np.where(rng.random(shape) < 0.5, -1, 1)


def assert_same_values(old: Sequence[Node], new: Sequence[Node], title: str) -> None:
    """Both lists have the oracle's values at random leaves."""
    roots = [*old, *new]
    sizes = small(roots)
    values: dict[Any, Any] = dict(data_for(roots, sizes=sizes, draw=positive))
    values |= sizes
    found = evaluate_all(roots, values, 40)
    for a, b in zip(found[: len(old)], found[len(old) :], strict=True):
        assert a.shape == b.shape
        for x, y in zip(a.ravel(), b.ravel(), strict=True):
            same = x == y or abs(x - y) <= BOUND * max(1, abs(x))
            outside = x != x and y != y  # a variance that was kept, drawn below 0
            assert same or outside, f"{title}: {x} is not {y}"


# --- each line -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_before_and_after_of_every_rewrite_have_equal_values(name: str) -> None:
    for line in prop.derivation(CASES[name]()):
        if line.stage == "simplify" and line.rule != BLOCKS:
            assert len(line.old) == len(line.new) > 0
            assert_same_values(line.old, line.new, f"{name}, line {line.number}: {line.rule}")


EXAMPLES = [
    pytest.param(rule.name, make_it, id=f"{rule.name}-{k}")
    for rule in (*RULES, SHARED)
    for k, make_it in enumerate(FIRES[rule.name])
]


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_every_rule_that_fires_is_traced_with_equal_values(
    rule: str, example: Callable[[], Any]
) -> None:
    roots = nodes([example()])
    found = trace(roots)
    assert list(found.result) == simplify(roots)
    for step in found.steps:
        assert step.rule in EVERY_RULE
        assert_same_values([c.before for c in step.changes], [c.after for c in step.changes],
                           f"{rule}: {step.rule}")  # fmt: skip
        assert_same_values(step.roots[0], step.roots[1], step.rule)


@pytest.mark.parametrize("name", BARS)
def test_the_trace_of_a_bar_ends_at_its_cost(name: str) -> None:
    build, bar = BARS[name]
    roots = nodes(build()[0])
    found = trace(roots)
    assert list(found.result) == simplify(roots)
    assert found.after <= bar


def test_every_rule_has_a_meaning_and_is_seen_in_a_trace() -> None:
    assert set(EVERY_RULE) == {r.name for r in (*RULES, SHARED)} | {BLOCKS}
    roots = [[of_model("recurrent")], *([e()] for rule in FIRES.values() for e in rule)]
    roots += [build()[0] for build, _ in BARS.values()]
    seen = {step.rule for some in roots for step in trace(nodes(some)).steps}
    assert seen == set(EVERY_RULE)
    for meaning in EVERY_RULE.values():
        assert meaning.kind in ("exact", "reorders rounding", "needs an assumption")


@pytest.mark.parametrize("name", CASES)
def test_lines_say_rule_meaning_class_and_place(name: str) -> None:
    for k, line in enumerate(prop.derivation(CASES[name]()), 1):
        assert line.number == k
        assert line.rule
        assert line.after
        assert line.kind in ("exact", "reorders rounding", "needs an assumption")
        if line.stage == "simplify":
            assert line.before
            assert (line.algebra, line.kind) == (
                EVERY_RULE[line.rule].algebra, EVERY_RULE[line.rule].kind
            )  # fmt: skip
            if line.rule != BLOCKS:
                assert line.before != line.after
        assert line.place == "" or line.place.split(":")[0].endswith(".py")


# --- counts --------------------------------------------------------------------------------------


class Tally:
    """A number that counts what is done to it."""

    done = 0

    def operated(self, *_: Any) -> Tally:
        Tally.done += 1
        return self

    __add__ = __mul__ = __truediv__ = operated


def tallied(term: t.Term) -> Tally:
    """A formula carried out on numbers that count."""
    if isinstance(term, t.Sum):
        total: Tally | None = None
        for x, k in term.terms:
            part = tallied(x) if abs(k) == 1 else tallied(x) * k
            total = part if total is None else total + part
        assert total is not None
        return total + term.const if term.const else total
    if isinstance(term, t.Prod):
        product: Tally | None = None
        for base, n in sorted(term.factors, key=lambda f: -f[1]):
            for k in range(abs(n)):
                # x**n is computed once and multiplied or divided by once
                value = tallied(base) if k == 0 else value.operated()  # noqa: F821
            if product is None:
                product = value if n > 0 else value.operated()
            else:
                product = product * value if n > 0 else product / value
        assert product is not None
        return product
    made = Tally()
    if isinstance(term, t.Call):
        for a in term.args:
            tallied(a)
        Tally.done += term.fn.cost
    return made


def counted(roots: Sequence[Node], sizes: dict[str, int]) -> int:
    """Operations point by point."""
    Tally.done = 0
    total = 0
    for node in topological(roots):
        if isinstance(node, Reduce):
            points = list(np.ndindex(*(evaluate(i.extent, {}, sizes) for i in node.loops)))
            Tally.done = 0
            tallied(node.body)
            total += len(points) * (Tally.done + (len(node.loops) > node.nout))
    return total


@pytest.mark.parametrize("name", ["digits", "layer norm", "gathers", "a second derivative"])
def test_counts_are_those_of_the_graph_before_and_after_each_step(name: str) -> None:
    x = CASES[name]()
    sizes = {d.name: d.nominal for d in free_dims([x.node])}
    found = trace([x.node])
    assert found.before == counted([x.node], sizes)
    for step in found.steps:
        assert step.before == counted(step.roots[0], sizes)
        assert step.after == counted(step.roots[1], sizes)
    assert found.after == counted(simplify([x.node]), sizes)


@pytest.mark.parametrize("name", CASES)
def test_each_line_begins_at_the_count_at_which_the_last_one_ended(name: str) -> None:
    d = prop.derivation(CASES[name]())
    own = [line for line in d if not line.block]
    for before, after in itertools.pairwise(own):
        assert before.operations.after == after.operations.before
    if own:
        assert own[0].operations.before == 0
        assert own[-1].operations.after == d.simplified
    declared = [line for line in own if line.stage != "simplify"]
    assert (declared[-1].operations.after if declared else 0) == d.derived
    assert d.simplified <= d.derived
    rules = sum(r.operations for r in d.rules)
    forward = [line.operations for line in own if line.stage == "forward"]
    assert rules + sum(o.after - o.before for o in forward) == d.simplified


def test_the_lines_of_a_layer_count_what_a_student_counts() -> None:
    """x W^T: a product and a sum for each of batch*out*in points; b: one a row and unit."""
    x = prop.input("x", "sample=8 pixel=6")
    w = prop.parameter("w", "unit=4 pixel=6", prop.He())
    b = prop.parameter("b", "unit=4", prop.Zeros())
    h = prop.relu((x @ w.T + b).named("z"))
    added = [
        (line.rule, line.operations.after - line.operations.before)
        for line in prop.derivation(h)
        if line.stage == "forward"
    ]
    assert added == [("transpose", 0), ("@", 2 * 8 * 4 * 6), ("+", 8 * 4), ("relu", 8 * 4)]


# --- the page ------------------------------------------------------------------------------------


def mlp() -> Any:
    x = prop.input("x", "batch pixel=6")
    y = prop.labels("y", "batch", classes=3)
    net = prop.Sequential(prop.Dense(4, name="hidden"), prop.relu, prop.Dense(3, name="logits"))
    logits = net(x)
    return prop.gradient(prop.cross_entropy(logits, y), logits)


def test_the_page_tells_the_story_of_a_softmax() -> None:
    page = str(prop.derivation(mlp()))
    for words in (
        "d_logits, derived in",
        "counted at batch = 32",
        "hidden = hidden_product + hidden_bias   [batch, hidden]",
        "through exp_logits = exp(logits - max_logits)   [batch, logits]",
        "d_logits = d_logits_via_index_logits + d_logits_via_exp_logits   [batch, logits]",
        "-> d_logits = d_sum_exp_logits * exp_logits - per_batch [logits = y[batch]]",
        "fuse single use: z = g(y), y = f(x) -> z = g(f(x))   (exact)",
        "operations as derived",
    ):
        assert words in page


def test_every_rule_has_its_words_and_a_page_explains_those_it_uses() -> None:
    assert set(derivation_text.WORDS) == {
        "start", "chain rule", "add contributions", *EVERY_RULE
    }  # fmt: skip
    for build in CASES.values():
        d = build()
        words = str(prop.derivation(d)).partition("\nWords\n")[2]
        used = {line.rule for line in prop.derivation(d) if line.stage != "forward"}
        used &= set(derivation_text.WORDS)
        explained = {rule for rule in derivation_text.WORDS if f"\n  {rule}  " in f"\n{words}"}
        assert explained == used
        assert all(len(line) <= 100 for line in words.splitlines())


def test_the_share_of_a_sample_is_explained() -> None:
    page = str(prop.derivation(mlp()))
    assert (
        "     per_batch = 1 / batch\n"
        "     (the result is divided by batch, as a mean is: each of its terms gets 1/batch)\n"
    ) in page
    plain = prop.derivation(prop.gradient(prop.sum(prop.tanh(x := prop.input("x", "n=3"))), x))
    assert "as a mean is" not in str(plain)


def test_the_heading_of_a_page_promises_what_is_true() -> None:
    one = str(prop.derivation(prop.input("x", "n=3") * 2))
    assert ", derived in 1 step\n" in one
    assert "Simplification: the same values, never dearer\n" in str(prop.derivation(mlp()))


@pytest.mark.parametrize("name", CASES)
def test_names_on_a_page_are_used_for_one_value_each(name: str) -> None:
    """What stands left of = is defined once among the declared lines."""
    d = prop.derivation(CASES[name]())
    defined = [line.after.partition(" = ")[0] for line in d if line.stage != "simplify"]
    assert len(defined) == len(set(defined))


@pytest.mark.parametrize("name", CASES)
def test_a_page_is_plain_data_too(name: str) -> None:
    d = prop.derivation(CASES[name]())
    data = json.loads(json.dumps(d.to_json()))
    assert len(data["lines"]) == len(d) == len(list(d))
    assert data["simplified"] == d.simplified
    for line, given in zip(d, data["lines"], strict=True):
        assert given["rule"] == line.rule
        assert given["operations"] == list(line.operations)
        assert str(line).splitlines()[0].lstrip().startswith(f"{line.number}. {line.rule}")
    assert [r["name"] for r in data["rules"]] == [r.name for r in d.rules]


@pytest.mark.parametrize("name", ["digits", "recurrent", "attention"])
def test_asking_changes_nothing(name: str) -> None:
    x = CASES[name]()
    hints = {n: graph.hint(n) for n in topological([x.node]) if not isinstance(n, Leaf)}
    first = str(prop.derivation(x))
    assert {n: graph.hint(n) for n in hints} == hints
    assert str(prop.derivation(x)) == first


def test_a_hostile_name_prints_nothing_of_its_own() -> None:
    x = prop.input("a", "n=3")
    graph.rename((y := x * 2).node, "<b>\x1b[31m\n")
    page = str(prop.derivation(y + 1))
    assert "<" not in page
    assert "\x1b" not in page


def test_what_is_no_expression_is_refused() -> None:
    with pytest.raises(prop.DeclarationError, match="derivation needs an expression"):
        prop.derivation([mlp()])
