"""Terms: normal form against exact arithmetic, derivatives against SymPy and mpmath.

Random formulas are trees of this file's own; the trees are evaluated in fractions or at 50 digits,
and so are the terms made of them. What a term may not do (rewrite a root of a square, cancel x/x)
is asked case by case.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import mpmath
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from symprop import term as tm
from symprop.ops.declare import REGISTRY
from symprop.ops.reference import reference
from symprop.term import Call, Num, Prod, Read, Sum, Term

CTX = mpmath.mp.clone()
CTX.dps = 50
READS = 3
SMOOTH = ("exp", "sin", "tanh", "sigmoid", "softplus", "erf")  # real for every real argument

# tree := ("x", k) | ("q", rational) | ("+" | "-" | "*" | "/", tree, tree) | ("**", tree, n)
#       | (name of a smooth op, tree)
Tree = tuple[Any, ...]

rationals = st.builds(Fraction, st.integers(-6, 6), st.sampled_from([1, 2, 3, 32]))
leaves = st.one_of(
    st.tuples(st.just("x"), st.integers(0, READS - 1)), st.tuples(st.just("q"), rationals)
)


def branches(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.one_of(
        st.tuples(st.sampled_from("+-*/"), inner, inner),
        st.tuples(st.just("**"), inner, st.integers(-3, 3)),
    )


def with_calls(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.one_of(branches(inner), st.tuples(st.sampled_from(SMOOTH), inner))


rational_trees = st.recursive(leaves, branches, max_leaves=10)
smooth_trees = st.recursive(leaves, with_calls, max_leaves=8)
points = st.lists(rationals, min_size=READS, max_size=READS)
quick = settings(max_examples=150, derandomize=True, deadline=None)


def folded(tree: Tree, leaf: Callable[[str, Any], Any], call: Callable[[str, Any], Any]) -> Any:
    """A tree in any arithmetic."""
    head = tree[0]
    if head in ("x", "q"):
        return leaf(head, tree[1])
    a = folded(tree[1], leaf, call)
    if head == "**":
        return a ** tree[2]
    if head not in ("+", "-", "*", "/"):
        return call(head, a)
    b = folded(tree[2], leaf, call)
    return a + b if head == "+" else a - b if head == "-" else a * b if head == "*" else a / b


def term_of(tree: Tree) -> Term:
    def leaf(kind: str, v: Any) -> Term:
        return tm.read(v) if kind == "x" else tm.num(v)

    made: Term = folded(tree, leaf, lambda name, a: tm.call(REGISTRY[name].function, a))
    return made


def tree_value(tree: Tree, at: Sequence[Any], number: Callable[[Fraction], Any]) -> Any:
    return folded(
        tree,
        lambda kind, v: at[v] if kind == "x" else number(v),
        lambda name, a: REGISTRY[name].reference(CTX, a),
    )


def value(t: Term, at: Sequence[Any], number: Callable[[Fraction], Any]) -> Any:
    """A term in any arithmetic, straight from its grammar."""
    if isinstance(t, Num):
        return number(t.value)
    if isinstance(t, Read):
        return at[t.k]
    if isinstance(t, Sum):
        total = number(t.const)
        for x, k in t.terms:
            total = total + number(k) * value(x, at, number)
        return total
    if isinstance(t, Prod):
        product = number(Fraction(1))
        for base, n in t.factors:
            product = product * value(base, at, number) ** n
        return product
    assert isinstance(t, Call)
    if t.fn is tm.SELECT:
        return value(t.args[1 if value(t.args[0], at, number) else 2], at, number)
    return reference(t.fn, CTX)(*(CTX.mpf(value(a, at, number)) for a in t.args))


def exact(q: Fraction) -> Fraction:
    return q


def digits(q: Fraction) -> Any:
    return CTX.mpf(q.numerator) / q.denominator


# --- normal form ---------------------------------------------------------------------------------


@given(rational_trees, points)
@quick
def test_rational_formulas_are_exact(tree: Tree, at: list[Fraction]) -> None:
    try:
        wanted = tree_value(tree, at, exact)
    except ZeroDivisionError:
        return
    assert value(term_of(tree), at, exact) == wanted


@given(smooth_trees, points)
@quick
def test_formulas_with_functions_keep_their_value(tree: Tree, at: list[Fraction]) -> None:
    numbers = [digits(q) for q in at]
    try:
        wanted = tree_value(tree, numbers, digits)
        found = value(term_of(tree), numbers, digits)
    except ZeroDivisionError:
        return
    if CTX.isfinite(wanted) and abs(wanted) < 1e30:
        assert abs(found - wanted) <= CTX.mpf(10) ** -30 * max(1, abs(wanted))


def _parts(rng: random.Random, count: int) -> list[Term]:
    """Terms that are no sums: reads, powers, calls, scaled products."""
    pool = []
    for _ in range(count):
        x = tm.read(rng.randrange(READS))
        y = tm.read(rng.randrange(READS))
        pool.append(rng.choice([
            x, tm.power(x, rng.choice([-2, -1, 2, 3])), x * y, x / y,
            tm.call(REGISTRY["exp"].function, x), tm.scale(Fraction(rng.randint(-4, 4), 3), x * y),
            tm.num(rng.randint(-3, 3)),
        ]))  # fmt: skip
    return pool


def _associated(rng: random.Random, parts: list[Term], join: Callable[..., Term]) -> Term:
    """The parts joined two at a time, anywhere."""
    left = list(parts)
    while len(left) > 1:
        a = left.pop(rng.randrange(len(left)))
        b = left.pop(rng.randrange(len(left)))
        left.append(join(a, b))
    return left[0]


@pytest.mark.parametrize("join", [tm.add, tm.mul], ids=["sum", "product"])
@pytest.mark.parametrize("seed", range(40))
def test_order_and_grouping_do_not_matter(seed: int, join: Callable[..., Term]) -> None:
    rng = random.Random(seed)
    parts = _parts(rng, 6)
    whole = join(*parts)
    for _ in range(8):
        rng.shuffle(parts)
        assert join(*parts) is whole
        assert _associated(rng, parts, join) is whole


@pytest.mark.parametrize("seed", range(60))
def test_sums_of_scaled_sums_end_and_are_exact(seed: int) -> None:
    """k*(a + b) stays one term, and joins sums, constants and itself in every order."""
    rng = random.Random(seed)
    at = [Fraction(rng.randint(-5, 5), 7) for _ in range(READS)]
    made = [tm.read(k) for k in range(READS)]
    for _ in range(12):
        a, b = rng.choice(made), rng.choice(made)
        k = rng.choice([-1, 1, 2, Fraction(1, 2), -2])
        made.append(rng.choice([
            tm.add(a, b), tm.scale(k, tm.add(a, rng.randint(-2, 2))), tm.add(tm.scale(k, a), b),
        ]))  # fmt: skip
        wanted = value(made[-1], at, exact)
        assert value(tm.add(made[-1], a, b), at, exact) == (
            wanted + value(a, at, exact) + value(b, at, exact)
        )
    chosen = made[-5:]
    whole = tm.add(*chosen)
    assert all(tm.add(*p) is whole for p in itertools.permutations(chosen))


def test_equal_terms_are_one_object() -> None:
    x, y = tm.read(0), tm.read(1)
    assert x + y is y + x
    assert x + x is tm.scale(2, x)
    assert (x + 1) + (y - 1) is x + y
    assert tm.neg(tm.neg(x - y)) is x - y
    assert tm.scale(Fraction(1, 2), tm.scale(2, x + y)) is x + y
    assert x * (y * x) is tm.power(x, 2) * y
    assert tm.power(x * y, 2) is tm.power(x, 2) * tm.power(y, 2)
    assert tm.num(Fraction(2, 4)) is tm.num(Fraction(1, 2))


def test_digests_tell_terms_apart() -> None:
    x, y = tm.read(0), tm.read(1)
    different = [
        x, y, x + y, x - y, x * y, x / y, y / x, x + 1, x + 2, tm.num(1), tm.num(-1), x**2, x**-2,
        tm.scale(2, x), tm.scale(3, x), tm.call(tm.LT, x, y), tm.call(tm.LT, y, x),
        tm.call(tm.LE, x, y), tm.select(tm.call(tm.LT, x, y), x, y),
    ]  # fmt: skip
    assert len({d.digest for d in different}) == len(different)


# --- what it does not do -------------------------------------------------------------------------


def test_functions_are_not_rewritten() -> None:
    x = tm.read(0)
    sqrt, exp, log = (REGISTRY[n].function for n in ("sqrt", "exp", "log"))
    assert repr(tm.call(sqrt, x**2)) == "sqrt(x0**2)"
    assert repr(tm.call(exp, x) * tm.call(exp, -x)).count("exp(") == 2
    assert repr(tm.call(log, tm.call(exp, x))) == "log(exp(x0))"
    assert repr(tm.call(sqrt, x) ** 2) == "sqrt(x0)**2"


def test_a_number_is_not_distributed() -> None:
    x, y = tm.read(0), tm.read(1)
    t = (x - y) / 32
    assert tm.operations(t) == 2
    assert isinstance(t, Sum)
    assert t.terms == ((x - y, Fraction(1, 32)),)
    assert tm.operations(tm.scale(3, x - y) + 1) == 3


def test_a_power_does_not_cancel_its_inverse() -> None:
    x, y = tm.read(0), tm.read(1)
    assert isinstance(x / x, Prod)
    assert x**2 / x is not x
    assert (x / y) * (y / x) is not tm.num(1)
    assert (x / x) ** 2 is (x * x) / (x * x)


def test_zero_times_anything_is_zero_and_x_minus_x_is_zero() -> None:
    """Real-number identities, also where x is not finite: a NaN read vanishes with its factor 0.

    That is the strong zero of the graph's guarantees, and like terms collect for the same reason.
    """
    x = tm.read(0)
    zero = tm.num(0)
    assert tm.scale(0, x) is zero
    assert x * 0 is zero
    assert tm.num(0) / x is zero
    assert x - x is zero
    assert tm.scale(0, tm.call(tm.NAN)) is zero
    assert tm.power(x, 0) is tm.num(1)  # 0**0 is 1, as in Python
    assert tm.call(tm.STRONG_MUL, zero, x) is zero
    with pytest.raises(ZeroDivisionError):
        tm.power(zero, -1)
    # A product that is 0 by its value, not by its form, is left alone.
    assert tm.call(tm.STRONG_MUL, x, zero) is zero
    assert isinstance(tm.call(tm.STRONG_MUL, x, tm.read(1)), Call)


def test_nan_survives_comparisons_and_negation() -> None:
    """x == x is not folded to true, and not(x < y) is not y <= x: both differ for a NaN."""
    x, y = tm.read(0), tm.read(1)
    assert isinstance(tm.call(tm.EQ, x, x), Call)
    flipped = tm.call(tm.NOT, tm.call(tm.LT, x, y))
    assert isinstance(flipped, Call)
    assert flipped.fn is tm.NOT
    assert tm.call(tm.NOT, tm.call(tm.EQ, x, y)) is tm.call(tm.NE, x, y)
    assert tm.call(tm.NOT, flipped) is tm.call(tm.LT, x, y)


def test_comparisons_of_numbers_and_infinities_fold() -> None:
    infinity = tm.call(tm.INFINITY)
    values = [tm.neg(infinity), tm.num(-2), tm.num(Fraction(1, 3)), infinity]
    for (i, a), (j, b) in itertools.product(enumerate(values), repeat=2):
        assert tm.call(tm.LT, a, b) is tm.num(int(i < j))
        assert tm.call(tm.LE, a, b) is tm.num(int(i <= j))
        assert tm.call(tm.EQ, a, b) is tm.num(int(i == j))
        assert tm.call(tm.NE, a, b) is tm.num(int(i != j))
    assert isinstance(tm.call(tm.LT, infinity, tm.call(tm.NAN)), Call)


def test_selections_fold_by_their_condition_alone() -> None:
    x, y, z = (tm.read(k) for k in range(3))
    c = tm.call(tm.LT, x, y)
    assert tm.select(tm.num(1), x, y) is x
    assert tm.select(tm.num(0), x, y) is y
    assert tm.select(c, z, z) is z
    assert tm.select(tm.call(tm.NOT, c), x, y) is tm.select(c, y, x)
    assert tm.select(c, x, tm.select(c, y, z)) is tm.select(c, x, z)
    assert tm.select(c, tm.select(c, x, y), z) is tm.select(c, x, z)


# --- substitution, derivatives, costs ------------------------------------------------------------


@given(rational_trees, st.lists(rational_trees, min_size=READS, max_size=READS), points)
@quick
def test_replacement_is_simultaneous(tree: Tree, new: list[Tree], at: list[Fraction]) -> None:
    try:
        t, terms = term_of(tree), [term_of(x) for x in new]
        inner = [value(x, at, exact) for x in terms]
        wanted = value(t, inner, exact)
        found = value(tm.replace(t, terms), at, exact)
    except ZeroDivisionError:
        return
    assert found == wanted


def _sympy(tree: Tree, symbols: Sequence[Any]) -> Any:
    return tree_value(tree, symbols, lambda q: sympy.Rational(q.numerator, q.denominator))


@given(st.recursive(leaves, branches, max_leaves=6), points)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_derivatives_of_rational_formulas_equal_sympys(tree: Tree, at: list[Fraction]) -> None:
    symbols = sympy.symbols(f"x:{READS}")
    try:
        term = term_of(tree)
    except ZeroDivisionError:
        return
    formula = _sympy(tree, symbols)
    if formula.has(sympy.zoo, sympy.nan):
        return
    here = {s: sympy.Rational(q.numerator, q.denominator) for s, q in zip(symbols, at, strict=True)}
    for k, s in enumerate(symbols):
        try:
            value(term, at, exact)
            found = value(tm.diff(term, k), at, exact)
        except ZeroDivisionError:
            continue
        wanted = sympy.diff(formula, s).subs(here)
        if wanted.is_finite:
            assert sympy.Rational(found.numerator, found.denominator) == sympy.nsimplify(wanted)


@given(smooth_trees, points)
@settings(max_examples=60, derandomize=True, deadline=None)
def test_derivatives_equal_differences_at_fifty_digits(tree: Tree, at: list[Fraction]) -> None:
    numbers = [digits(q + Fraction(1, 7)) for q in at]
    step = CTX.mpf(10) ** -16
    try:
        term = term_of(tree)
    except ZeroDivisionError:
        return
    for k in range(READS):
        try:
            around = []
            for s in (-2, -1, 1, 2):
                moved = list(numbers)
                moved[k] += s * step
                around.append(value(term, moved, digits))
            found = value(tm.diff(term, k), numbers, digits)
        except ZeroDivisionError:
            continue
        a, b, c, d = around
        wanted = (a - 8 * b + 8 * c - d) / (12 * step)
        if CTX.isfinite(wanted) and max(map(abs, around)) < 1e6:
            assert abs(found - wanted) <= CTX.mpf(10) ** -20 * max(1, abs(wanted)) ** 5


def test_the_untaken_branch_stays_untaken_in_the_derivative() -> None:
    x = tm.read(0)
    root = tm.call(REGISTRY["sqrt"].function, x)
    t = tm.power(tm.select(tm.call(tm.LT, tm.num(0), x), root, tm.num(0)), 2)
    for _ in range(3):
        t = tm.diff(t, 0)
        assert isinstance(t, Call)
        assert t.fn is tm.SELECT
        assert t.args[2] is tm.num(0)


def test_strong_products_stay_strong_in_the_derivative() -> None:
    g, d = tm.read(0), tm.call(REGISTRY["sqrt"].function, tm.read(1))
    product = tm.call(tm.STRONG_MUL, g, d)
    once = tm.diff(product, 1)
    assert isinstance(once, Call)
    assert once.fn is tm.STRONG_MUL
    assert once.args[0] is g
    slope = tm.diff(tm.call(tm.STRONG_MUL, g, tm.read(1)), 0)
    inf = CTX.inf
    for at, wanted in (((0, 2), 2), ((3, 2), 2), ((0, inf), 0), ((0, -inf), 0), ((3, inf), inf)):
        assert value(slope, [CTX.mpf(x) for x in at], digits) == wanted
    assert value(slope, [CTX.mpf(0), CTX.nan], digits) == 0


@pytest.mark.parametrize(
    ("form", "count"),
    [
        (lambda x, y: x, 0), (lambda x, y: -x, 0), (lambda x, y: x + y, 1), (lambda x, y: x - y, 1),
        (lambda x, y: x + y + 1, 2), (lambda x, y: tm.scale(2, x) + y, 2),
        (lambda x, y: x * y, 1), (lambda x, y: x / y, 1), (lambda x, y: 1 / x, 1),
        (lambda x, y: x**3, 2), (lambda x, y: 1 / (x * y), 2), (lambda x, y: (x - y) / 32, 2),
    ],
)  # fmt: skip
def test_operations_are_those_of_the_formula(form: Callable[..., Term], count: int) -> None:
    assert tm.operations(form(tm.read(0), tm.read(1))) == count


@given(smooth_trees)
@quick
def test_traversal_and_rewriting_see_every_subterm(tree: Tree) -> None:
    try:
        t = term_of(tree)
    except ZeroDivisionError:
        return
    seen = list(tm.subterms(t))
    assert seen[0] is t
    assert len(set(seen)) == len(seen)
    assert {c for s in seen for c in tm.children(s)} <= set(seen)
    assert t.reads == tuple(sorted({s.k for s in seen if isinstance(s, Read)}))
    assert tm.rewrite(t, lambda x: None) is t
    assert tm.replace(t, [tm.read(k) for k in range(READS)]) is t
