"""same: proofs, evidence and counterexamples, with the hints that a student reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from checking import evaluate_all
from functions import ROWS, At, Row

import symprop as prop
from symprop import oracle
from symprop.equality import comparison, number_text, proof, relations, sampling, thresholds
from symprop.graph import FLOATS
from symprop.ops.declare import REGISTRY
from symprop.walk import leaves

Pair = tuple[Any, Any]


def vector() -> Any:
    return prop.input("x", "n=3")


class Network:
    """Two layers with a squared error, and the student's own backpropagation of it."""

    def __init__(self, activation: Any = prop.tanh) -> None:
        self.x = prop.input("x", "batch pixel=3")
        self.target = prop.input("target", "batch unit=2")
        self.w = prop.parameter("w", "unit=2 pixel=3", prop.Glorot())
        self.z = (self.x @ self.w.T).named("z")
        self.h = activation(self.z).named("h")
        self.loss = prop.mean((self.h - self.target) ** 2)
        self.gradient = prop.gradient(self.loss, self.w)
        self.batch = prop.size(self.x, 0)


def softmax_by_hand(z: Any) -> Any:
    e = prop.exp(z)
    return e / prop.sum(e, 1, keepdims=True)


def cross_entropy_gradient() -> Pair:
    """(softmax - onehot)/batch against the derived one."""
    z, y = prop.input("z", "batch digit=4"), prop.labels("y", "batch", classes=4)
    onehot = prop.where(prop.index(4) == y[:, None], 1.0, 0.0)
    mine = (softmax_by_hand(z) - onehot) / prop.size(z, 0)
    return mine, prop.gradient(prop.cross_entropy(z, y), z)


def backpropagation() -> Pair:
    n = Network()
    delta = (n.h - n.target) * (1 - n.h * n.h) / n.batch
    return delta.T @ n.x, n.gradient


def slope_of(name: str, formula: Callable[[Any], Any]) -> Callable[[], Pair]:
    """The textbook's derivative of an activation against the library's."""

    def pair() -> Pair:
        x = vector()
        return formula(x), prop.gradient(prop.sum(getattr(prop, name)(x)), x)

    return pair


def s(x: Any) -> Any:
    return prop.sigmoid(x)


PROVED: dict[str, Callable[[], Pair]] = {
    "one expression": lambda: (lambda x: (x + 1, x + 1))(vector()),
    "a number": lambda: (lambda x: (0, x - x))(vector()),
    "expanded": lambda: (lambda x: (x * (x + 1), x * x + x))(vector()),
    "sigmoid'": slope_of("sigmoid", lambda x: s(x) * (1 - s(x))),
    "sigmoid by exp": lambda: (lambda x: (1 / (1 + prop.exp(-x)), s(x)))(vector()),
    "tanh'": slope_of("tanh", lambda x: 1 - prop.tanh(x) ** 2),
    "silu'": slope_of("silu", lambda x: s(x) + x * s(x) * (1 - s(x))),
    "softplus'": slope_of("softplus", lambda x: 1 / (1 + prop.exp(-x))),
    "relu'": slope_of("relu", lambda x: prop.where(x > 0, 1.0, 0.0)),
    "elu'": slope_of("elu", lambda x: prop.where(x > 0, 1.0, prop.exp(x))),
    "square'": slope_of("square", lambda x: 2 * x),
    "Pythagoras": lambda: (lambda x: (prop.sin(x) ** 2 + prop.cos(-x) ** 2, 1))(vector()),
    "relu by abs": lambda: (lambda x: (prop.relu(x), (x + prop.abs(x)) / 2))(vector()),
    "abs of the negative": lambda: (lambda x: (prop.abs(1 - x), prop.abs(x - 1)))(vector()),
    "backpropagation": backpropagation,
    "cross entropy": cross_entropy_gradient,
}


@pytest.mark.parametrize("name", PROVED)
def test_what_a_textbook_says_is_proved(name: str) -> None:
    found = prop.same(*PROVED[name]())
    assert found
    assert found.how == "proved"
    assert str(found).startswith("Equal: proved")


EVIDENCE: dict[str, Callable[[], Pair]] = {
    "logsumexp": lambda: (
        lambda x: (prop.logsumexp(x), prop.log(prop.sum(prop.exp(x))))
    )(vector()),
    "bool": lambda: (lambda x: (x > 0, ~(x <= 0)))(vector()),
    "trigonometry": lambda: (
        lambda x: (prop.sin(2 * x), 2 * prop.sin(x) * prop.cos(x))
    )(vector()),
    "a lost tail": lambda: (
        lambda x: (1 - prop.tanh(prop.sin(x) * 300) ** 2, prop.sech2(prop.sin(x) * 300))
    )(vector()),
}  # fmt: skip


@pytest.mark.parametrize("name", EVIDENCE)
def test_what_is_not_proved_is_evaluated_and_called_evidence(name: str) -> None:
    found = prop.same(*EVIDENCE[name]())
    assert found
    assert found.how in ("60 digits", "proved")
    if found.how == "60 digits":
        assert "not a proof" in str(found)


def scaled(k: Any) -> Callable[[], Pair]:
    def pair() -> Pair:
        n = Network()
        return k(n) * n.gradient, n.gradient

    return pair


def missing_slope() -> Pair:
    n = Network()
    return (n.h - n.target) / n.batch, prop.gradient(n.loss, n.z)


def square_transposed() -> Pair:
    w = prop.parameter("w", "i=3 j=3", prop.Glorot())
    return w.T * 2, w * 2


WRONG: dict[str, tuple[Callable[[], Pair], str]] = {
    "twice": (scaled(lambda n: 2), "yours is 2 times theirs"),
    "half": (scaled(lambda n: 0.5), "yours is theirs divided by 2"),
    "the sign": (scaled(lambda n: -1), "yours is minus theirs"),
    "a sum for a mean": (scaled(lambda n: n.batch), "yours is batch times theirs"),
    "a mean for a sum": (scaled(lambda n: 1 / n.batch), "yours is theirs divided by batch"),
    "nothing": (scaled(lambda n: 0.0), "yours is 0 at every point tried"),
    "a factor": (missing_slope, "theirs is yours times tanh'(z)"),
    "a transpose": (square_transposed, "yours is the transpose of theirs"),
    "a constant": (lambda: (lambda x: (x + 1, x))(vector()), "yours is theirs plus 1"),
    "a term": (
        lambda: (lambda x, y: (x * x, x * x + y))(vector(), prop.input("y", "n=3")),
        "theirs is yours plus y",
    ),
    "the kink": (
        slope_of("relu", lambda x: prop.where(x >= 0, 1.0, 0.0)),
        "they differ only where x is 0",
    ),
    "the domain": (
        lambda: (lambda x: (prop.log(x * x), 2 * prop.log(x)))(vector()),
        "equal wherever both are finite",
    ),
    "a divisor": (lambda: (lambda x: (x / x, 1.0))(vector()), "equal wherever both are finite"),
    "no relation": (lambda: (lambda x: (prop.sin(x), x * x))(vector()), "different values"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_shown_with_a_point_and_the_relation(name: str) -> None:
    build, words = WRONG[name]
    mine, theirs = build()
    found = prop.same(mine, theirs)
    assert not found
    assert found.how == "counterexample"
    assert words in str(found)
    assert len(str(found).splitlines()) <= 5


@pytest.mark.parametrize("name", WRONG)
def test_the_counterexample_is_one(name: str) -> None:
    """The oracle finds the two values that are printed at the point that is printed."""
    mine, theirs = WRONG[name][0]()
    found = prop.same(mine, theirs)
    values = dict(found.values)
    both = [e if isinstance(e, prop.Expr) else prop.constant(e) for e in (mine, theirs)]
    a, b = oracle.evaluate(both, values, 60)
    index = found.index if isinstance(theirs, prop.Expr) else ()
    for array, told, at in ((a, found.mine, found.index), (b, found.theirs, index)):
        value = np.asarray(array)[at]
        both_nan = mpmath.isnan(value) and mpmath.isnan(told)
        assert value == told or both_nan or abs(value - told) < 1e-50 * abs(told)
    assert found.mine != found.theirs


@pytest.mark.parametrize("activation", [prop.tanh, prop.sigmoid])
def test_a_counterexample_is_shown_where_the_network_is_not_flat(activation: Any) -> None:
    """At whole numbers both gradients would be next to 0."""
    n = Network(activation)
    mine = ((n.h - n.target) / n.batch).T @ n.x
    found = prop.same(mine, n.gradient)
    for value in (found.mine, found.theirs):
        assert value == 0 or 1e-2 <= abs(value) <= 1e3
    for array in found.values.values():
        assert np.array_equal(np.round(array, 1), array)
        assert np.max(np.abs(array)) <= 1 or np.ndim(array) == 0
    assert {float(np.sign(x)) for x in np.ravel(found.values["w"])} == {-1.0, 1.0}


def test_a_large_counterexample_has_numbers_of_one_digit() -> None:
    x = prop.input("x", "batch pixel=12")
    w = prop.parameter("w", "unit=40 pixel=12", prop.Glorot())
    b = prop.parameter("b", "unit=8 hidden=40", prop.Glorot())
    loss = prop.mean(prop.square(prop.tanh(x @ w.T) @ b.T))
    theirs = prop.gradient(loss, w)
    found = prop.same(2 * theirs, theirs)
    for name in ("x", "w", "b"):
        array = np.asarray(found.values[name])
        assert np.array_equal(np.round(array, 1), array)
    assert "b, x and w are too large" in str(found)


def test_what_is_rounding_alone_is_shown_as_0() -> None:
    x = vector()
    zero = 1 - prop.sech2(x) - prop.tanh(prop.sin(x) * 0 + x) ** 2
    found = prop.same(zero * prop.exp(prop.sin(x)), prop.exp(x))
    assert found.mine == 0
    assert "yours is 0 and" in str(found)


def test_a_value_that_is_small_and_not_0_stays() -> None:
    x = vector()
    found = prop.same(prop.exp(-(x * x) - 200), x)
    assert 0 < found.mine < 1e-80
    assert "e-8" in str(found)


def test_different_shapes_say_what_would_mend_them() -> None:
    n = Network()
    turned = prop.same(n.gradient.T, n.gradient)
    assert not turned
    assert turned.how == "shapes"
    assert "[pixel=3, unit=2]" in str(turned)
    assert "transpose yours, and the two are equal" in str(turned)
    rows = prop.same(n.h, prop.sum(n.h, 0))
    assert "sum yours over batch" in str(rows)
    assert "mean of yours over batch" in str(prop.same(n.h, prop.mean(n.h, 0)))
    other = prop.same(n.h.T, prop.transpose(n.h * 2) * 0.5 @ n.h)
    assert "and the two are equal" not in str(other)


@pytest.mark.parametrize(("gap", "told"), [(1e-40, "1e-40"), (1e-55, "1e-55"), (-1e-30, "1e-30")])
def test_a_tiny_difference_is_told_with_its_size_and_no_relation(gap: float, told: str) -> None:
    for x in (vector(), prop.exp(vector())):
        for mine, theirs in ((x + gap, x), (x, x + gap)):
            found = prop.same(mine, theirs)
            text = str(found)
            if not found:
                assert "they differ by very little" in text
                assert told in text
                assert not found.hint
            for false in ("1 times", "kink", "sign"):
                assert false not in text
    assert not prop.same(vector() + 0, vector() + gap)


def test_the_digits_that_are_printed_are_those_of_the_number() -> None:
    with mpmath.workdps(60):
        e = mpmath.exp(1)
        near = e + mpmath.mpf(10) ** -18
        nearer = e + mpmath.mpf(10) ** -40
    assert number_text.number_text(e, 25) == "2.718281828459045235360287"
    assert "2.7182818284590452354" in number_text.both_text(near, e)
    assert number_text.both_text(nearer, e) == (
        "both are 2.71828 when rounded, and yours is 1e-40 more than theirs"
    )
    assert "1e-40 less" in number_text.both_text(e, nearer)


@pytest.mark.parametrize("k", [1 + 1e-11, 1 + 1e-15])
def test_a_ratio_next_to_1_is_no_ratio_of_1(k: float) -> None:
    x = vector()
    text = str(prop.same(k * x, x))
    assert "Different" in text
    assert "times" not in text


AFAR: dict[str, Callable[[Any], Pair]] = {
    "clip": lambda x: (prop.clip(x, -50, 50), x),
    "where": lambda x: (prop.where(x > 100, x, 0.0), 0),
    "one number": lambda x: (prop.where(prop.abs(x - 7) <= 0, 1.0, 0.0) + x, x),
    "minimum": lambda x: (prop.minimum(x, 90.0), x),
    "maximum": lambda x: (prop.maximum(x, -90.0), x),
    "a multiple": lambda x: (prop.where(0.1 * x > 8, 0.0, x), x),
    "between two": lambda x: (prop.where((x > 110) & (x < 140), 0.0, x), x),
    "a sum": lambda x: (prop.where(prop.sum(x) > 200, 0.0, x), x),
}


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("name", AFAR)
def test_a_difference_beyond_a_number_of_the_formula_is_found(
    name: str, floats: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if floats:
        monkeypatch.setattr(comparison, "LARGE", 10)
    found = prop.same(*AFAR[name](vector()))
    assert not found
    assert "near or beyond numbers that the formulas compare with" in str(found)
    assert "kink" not in str(found)


def test_a_network_without_comparisons_is_asked_at_no_more_points() -> None:
    x = vector()
    assert thresholds.thresholds([(prop.tanh(3 * x + 5) * 7).node]) == []
    assert thresholds.near([]) == []
    assert thresholds.thresholds([prop.clip(x, -50, 50).node]) == [-50.0, 50.0]
    many = [prop.maximum(x, float(k)) for k in range(1, 20)]
    assert len(thresholds.thresholds([e.node for e in many])) == thresholds.MOST


def test_two_declarations_of_one_name_are_told_apart() -> None:
    x, again = prop.input("x", "n=3"), prop.input("x", "n=3")
    found = prop.same(2 * again, 2 * x)
    assert not found
    assert "'x' is two variables" in str(found)
    assert set(found.values) == {"x (yours)", "x (theirs)"}


def test_a_variable_that_one_alone_reads_is_named() -> None:
    x, b = prop.input("x", "n=3"), prop.input("b", "n=3")
    assert "Yours reads 'b', which theirs does not." in str(prop.same(x + b, x))
    assert "Theirs reads 'b', which yours does not." in str(prop.same(x, x + b))


def test_lists_and_mappings_are_compared_member_by_member() -> None:
    n = Network()
    (g,) = prop.gradient(n.loss, [n.w])
    assert prop.same([g, n.h], [g, n.h])
    wrong = prop.same([2 * g, n.h], [g, n.h])
    assert not wrong
    assert str(wrong).startswith("Different: 1 of 2 expressions differs")
    assert list(wrong.parts) == ["grad_w", "h"]
    assert [bool(p) for p in wrong.parts.values()] == [False, True]
    assert prop.same({"w": g}, {"w": g})
    assert "'b' missing" in str(prop.same({"w": g}, {"w": g, "b": n.h}))
    assert "there are 2" in str(prop.same([g], [g, g]))


def test_a_tolerance_accepts_an_approximation() -> None:
    x = vector()
    mine, theirs = prop.gelu_tanh(x), prop.gelu(x)
    assert not prop.same(mine, theirs)
    found = prop.same(mine, theirs, tolerance=1e-2)
    assert found
    assert found.how == "tolerance"
    assert not prop.same(mine, theirs, tolerance=1e-6)


def test_rounding_beside_a_zero_is_no_difference_in_float64(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparison, "LARGE", 10)
    x = prop.input("x", "n=9")
    shifts = prop.constant(np.arange(1, 10) / 8)
    u = x + shifts
    rounding = prop.sin(2 * u) - 2 * prop.sin(u) * prop.cos(u)  # 0, but for float64
    assert prop.same(x + rounding, x).how == "float64"
    assert prop.same(x * x + rounding, x * x).how == "float64"
    assert not prop.same(1e-20 * x, 2e-20 * prop.sin(x))


def test_a_graph_too_large_for_digits_is_compared_in_float64(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparison, "LARGE", 10)
    x = prop.input("x", "batch pixel=20")
    theirs = prop.sin(2 * x)
    mine = 2 * prop.sin(x) * prop.cos(x)
    found = prop.same(mine, theirs)
    assert found
    assert found.how == "float64"
    assert "the same to 9 digits in float64 at 27 points" in str(found)
    assert "to 9 digits" in str(prop.same((1 + 1e-11) * theirs, theirs))
    assert not prop.same((1 + 1e-8) * theirs, theirs)
    assert not prop.same(theirs > 0, theirs < 0)
    assert "evidence, not a proof" in str(found)
    wrong = prop.same(2 * mine, theirs)
    assert not wrong
    assert "x is too large to print: the answer has it in .values." in str(wrong)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"digits": 5}, "digits must be a whole number of at least 20"),
        ({"digits": 60.0}, "digits must be a whole number"),
        ({"tolerance": 0.0}, "the tolerance must lie between 0 and 1"),
        ({"tolerance": 3}, "the tolerance must lie between 0 and 1"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    x = vector()
    with pytest.raises(prop.DeclarationError, match=words):
        prop.same(x, x, **options)


def test_what_is_no_expression_is_refused() -> None:
    with pytest.raises(prop.DeclarationError, match="expected an expression"):
        prop.same("x", vector())


def test_the_answer_is_the_same_every_time() -> None:
    mine, theirs = WRONG["no relation"][0]()
    assert str(prop.same(mine, theirs)) == str(prop.same(mine, theirs))


def test_whole_numbers_and_sizes_work() -> None:
    x = prop.input("x", "batch n=3")
    assert prop.same(prop.argmax(x, 1), prop.argmin(-x, 1))
    found = prop.same(prop.argmax(x, 1), prop.argmin(x, 1))
    assert not found
    assert isinstance(found.mine, int)
    assert prop.same(prop.size(x, 0) * 2, prop.size(x, 0) + prop.size(x, 0))


# --- the parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*proof.IDENTITIES, *REGISTRY])
def test_each_identity_of_a_proof_holds_at_60_digits(name: str) -> None:
    """Every op, written as the normal form writes it, has the op's value; so has its negative."""
    op = REGISTRY[name]
    args = [prop.input(f"a{k}", (5,)) for k in range(op.arity)]
    for signs in (1, -1):
        y = op(*(signs * a for a in args)) if op.arity == 1 else op(*args)
        exponent = prop.exp(2 * y + 1) * prop.sqrt(y * y + 1) ** 4
        for e in (y, exponent):
            (made,) = proof.canonical([e.node])
            for sign in (1, -1):
                values = {a.node: np.linspace(0.3, 2.1, 5) * sign + 0.01 * k
                          for k, a in enumerate(args)}  # fmt: skip
                a, b = evaluate_all([made, e], values, 60)
                for left, right in zip(a.ravel(), b.ravel(), strict=True):
                    if mpmath.isfinite(left) and mpmath.isfinite(right):
                        assert abs(left - right) <= abs(right) * mpmath.mpf(10) ** -45


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_form_used_in_proofs_keeps_the_value_of_every_function(row: Row) -> None:
    y = row.call(At(row.declare()))
    named = row.data()
    for e in y if isinstance(y, list | tuple) else [y]:
        values = {leaf: named[leaf.name] for leaf in leaves([e.node]) if leaf.name in named}
        values |= {
            leaf: np.full([d.value for d in leaf.dims], 0.5)
            for leaf in leaves([e.node])
            if leaf.kind == "state"
        }
        (made,) = proof.canonical([e.node])
        a, b = evaluate_all([made, e], values, 60)
        for left, right in zip(a.ravel(), b.ravel(), strict=True):
            if mpmath.isfinite(left) and mpmath.isfinite(right):
                assert abs(left - right) <= (1 + abs(right)) * mpmath.mpf(10) ** -45


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_no_function_is_the_same_as_a_little_more(row: Row) -> None:
    y = row.call(At(row.declare()))
    for e in y if isinstance(y, list | tuple) else [y]:
        if e.node.dtype in FLOATS and not any(n.kind == "state" for n in leaves([e.node])):
            assert prop.same(e, e)
            assert not prop.same(e + 1e-12, e)


def test_points_stay_inside_bounds_and_change_their_sizes() -> None:
    y = prop.labels("y", "batch other", classes=4)
    flags = prop.input("flags", "batch", dtype="bool")
    roots = [y.node, flags.node]
    sizes = set()
    for _, point in zip(range(30), sampling.points(roots, 0), strict=False):
        data = point.values[y.node]
        assert data.min() >= 0
        assert data.max() <= 3
        assert data.shape == (point.sizes["batch"], point.sizes["other"])
        sizes.add(data.shape)
    assert {n for n, _ in sizes} == {2, 3, 4}


def test_every_relation_is_tested() -> None:
    told = {rule.__name__ for rule in relations.RELATIONS}
    assert told == {"_always_zero", "_scaled", "_shifted", "_transposed", "_factor", "_signs"}
    a = mpmath.mpf(2)
    one = relations.Seen(np.array([a, -a]), np.array([a, a]), {}, {})
    assert "sign of some elements" in relations.relation([one])
    assert relations.relation([]) == ""
