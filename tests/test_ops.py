"""Every op of the registry, by enumeration: its derivative, its tails, its conventions.

The reference is 60-digit arithmetic. A float result is measured in units in the last place of
the exact value; near a real zero of a derivative (gelu' at -0.75), where no formula keeps relative
accuracy, in units of the last place of the derivative's size around that zero. Values below the
normal floats, or made of numbers below them, are compared absolutely.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import mpmath
import pytest
import sympy

import symprop.ops.elementwise as ops
from codegen.functions import FUNCTIONS, python_callable
from symprop import term as tm
from symprop.errors import DeclarationError
from symprop.formula import from_sympy
from symprop.ops.declare import PARTS, REGISTRY, Convention, ElementwiseOp, define, where_symbolic
from symprop.ops.domain import Interval, NonNegative, Positive, Reals
from symprop.ops.reference import PRIMITIVES, difference, evaluate, reference, settled
from symprop.term import Call, Num, Prod, Read, Sum, Term

CTX = mpmath.mp.clone()
CTX.dps = 60

EXTREMES = (0.0, 1e-300, 20.0, 38.0, 100.0, 709.0, 746.0, 1e103, 1e155, 1e200, 1e300, 1.7e308)
SMALLEST = 1e-290  # below, roundings are absolute

ALL = {**REGISTRY, **PARTS}
every_op = pytest.mark.parametrize("op", ALL.values(), ids=list(ALL))
unary = [op for op in REGISTRY.values() if op.arity == 1]
every_unary_op = pytest.mark.parametrize("op", unary, ids=[op.name for op in unary])


def in_floats(t: Term, args: list[float]) -> float:
    """A term on Python floats, as a backend would: the table's functions, else the expansion."""
    memo: dict[Term, float] = {}

    def build(t: Term) -> float:
        if isinstance(t, Num):
            return t.value.numerator / t.value.denominator
        if isinstance(t, Read):
            return args[t.k]
        if isinstance(t, Sum):
            parts = [go(x) if k == 1 else go(x) * float(k) for x, k in t.terms]
            parts += [float(t.const)] if t.const else []
            total = parts[0]
            for part in parts[1:]:
                total += part
            return total
        if isinstance(t, Prod):
            over = under = 1.0
            for base, n in t.factors:
                for _ in range(abs(n)):
                    over, under = (over * go(base), under) if n > 0 else (over, under * go(base))
            return over / under if under else math.inf if over else math.nan
        assert isinstance(t, Call)
        if t.fn is tm.SELECT:
            return go(t.args[1] if go(t.args[0]) else t.args[2])
        values = [go(a) for a in t.args]
        if t.fn.name in FUNCTIONS:
            return python_callable(t.fn.name)(*values)
        if t.fn in tm.STRUCTURAL:
            return float(reference(t.fn, CTX)(*map(CTX.mpf, values)))
        return in_floats(t.fn.op.expansion, values)  # type: ignore[attr-defined]

    def go(t: Term) -> float:
        if t not in memo:
            memo[t] = build(t)
        return memo[t]

    return go(t)


# mpmath takes a tenth of a second for these at the precision that sees 1e-308 beside 1.
SLOW = {"lgamma", "digamma", "polygamma", "erfinv", "erfinv_slope", "erfcx"}


def slow(t: Term) -> bool:
    """Whether a term has such a function inside, in its definition too."""
    for x in tm.subterms(t):
        op = getattr(getattr(x, "fn", None), "op", None)
        if op is not None and (op.name in SLOW or op.name.startswith("log_normal_cdf")):
            return True
    return False


def exactly(t: Term, *args: float) -> Any:
    """A term at 60 digits."""
    more = 120 if slow(t) else 1100
    return settled(lambda: evaluate(t, [CTX.mpf(x) for x in args], CTX), CTX, more)


def itself(op: ElementwiseOp) -> Term:
    return tm.call(op.function, *map(tm.read, range(op.arity)))


def derivatives(op: ElementwiseOp, order: int) -> Iterator[Term]:
    """All partial derivatives of that order, as users get them."""
    if order == 0:
        yield itself(op)
        return
    for t in derivatives(op, order - 1):
        for k in range(op.arity):
            yield tm.diff(t, k)


def grid(op: ElementwiseOp, count: int, decades: float, *more: float) -> list[tuple[float, ...]]:
    """Points of the domain; the extra ones combined with ordinary other arguments."""
    found = list(
        zip(*(d.points(count, j, decades) for j, d in enumerate(op.domains)), strict=False)
    )
    for x in more:
        for sign in (1, -1):
            point = (sign * x, *(d.points(3, 5)[0] for d in op.domains[1:]))
            if all(v in d for v, d in zip(point, op.domains, strict=True)):
                found.append(point)
    return found


# --- the declared facts -----------------------------------------------------------------------


@every_op
def test_says_what_it_is(op: ElementwiseOp) -> None:
    assert op.__doc__
    assert op.declaration.source
    assert op.function.name == op.name
    assert op.latex().count("=") >= 1
    assert op.expansion is not None or op.name in FUNCTIONS
    assert repr(op) == f"<op {op.name}({', '.join(op.declaration.arguments)})>"


def is_slope_of_floor(e: Any) -> bool:
    """SymPy leaves the derivative of floor as it is: it is 0 but at the jumps."""
    return isinstance(e, sympy.Derivative | sympy.Subs) and e.has(sympy.floor)


@every_op
def test_the_chosen_derivative_is_that_of_the_formula(op: ElementwiseOp) -> None:
    """SymPy differentiates the definition; the two agree at 60 digits."""
    assert op.chosen is not None
    for i, chosen in enumerate(op.chosen):
        by_sympy = op.definition.diff(op.symbols[i])
        by_sympy = by_sympy.doit().replace(sympy.Heaviside, lambda x, *_: x * 0)
        by_sympy = by_sympy.replace(is_slope_of_floor, lambda e: sympy.Integer(0)).doit()
        theirs = from_sympy(by_sympy, {s: tm.read(k) for k, s in enumerate(op.symbols)})
        assert difference(theirs, chosen, op.domains, decades=1.5) is None


@every_op
def test_the_chosen_derivative_is_that_of_the_formula_far_out(op: ElementwiseOp) -> None:
    if op.name in PRIMITIVES and op.expansion is None:
        pytest.skip("mpmath has it: there is no formula below it")
    if all(d.low is not None and d.high is not None for d in op.domains):
        pytest.skip("its domain is bounded: the test before this one was everywhere")
    assert op.chosen is not None
    for i, chosen in enumerate(op.chosen):
        assert difference(op.derived(i), chosen, op.domains, decades=90) is None


@every_op
def test_the_expansion_is_the_formula(op: ElementwiseOp) -> None:
    if op.expansion is not None:
        digits = op.declaration.digits
        digits += 0 if digits == 60 else 9  # the comparison keeps ten for itself
        assert difference(itself(op), op.expansion, op.domains, digits, decades=100) is None


@every_op
def test_values_lie_in_the_declared_range(op: ElementwiseOp) -> None:
    low, high = op.range
    for point in grid(op, 60, 100, *EXTREMES):
        value = op.reference(CTX, *point)
        # an open end is met when 60 digits round to it
        assert low is None or value >= CTX.mpf(low.numerator) / low.denominator
        assert high is None or value <= CTX.mpf(high.numerator) / high.denominator


@every_op
def test_the_reference_has_its_digits(op: ElementwiseOp) -> None:
    """Four times the digits do not change it: no cancellation in the definition."""
    fine = mpmath.mp.clone()
    fine.dps = 240
    for point in grid(op, 24, 60, *EXTREMES):
        value = op.reference(CTX, *point)
        better = op.reference(fine, *point)
        if value == better and fine.isinf(better):
            continue
        assert abs(fine.mpf(value) - better) <= abs(better) * fine.mpf(10) ** -56


def test_the_reference_at_huge_arguments() -> None:
    with CTX.workdps(60):
        assert abs(ops.sigmoid.reference(CTX, -1e5) * CTX.exp(100000) - 1) < CTX.mpf(10) ** -58
        assert 0 < ops.normal_cdf.reference(CTX, -1e308) < CTX.mpf(10) ** -(10**300)
        assert ops.softplus.reference(CTX, 1e308) == CTX.mpf(1e308)
        assert CTX.isnan(ops.log.reference(CTX, -1))
        assert ops.log.reference(CTX, 0) == -CTX.inf
        assert ops.power.reference(CTX, -2, 3) == -8
        assert CTX.isnan(ops.power.reference(CTX, -2, 0.5))
        assert CTX.isnan(ops.relu.reference(CTX, CTX.nan)) or ops.relu.reference(CTX, 0) == 0


# --- floats -------------------------------------------------------------------------------------

ULPS: dict[str, tuple[float, float, float, float]] = {
    "exp": (1, 1, 1, 1),
    "log": (1, 1, 2, 3),
    "log1p": (1, 1, 3, 4),
    "expm1": (1, 1, 1, 1),
    "sqrt": (1, 2, 4, 6),
    "square": (1, 0, 0, 0),
    "abs": (0, 0, 0, 0),
    "sign": (0, 0, 0, 0),
    "floor": (0, 0, 0, 0),
    "relu": (0, 0, 0, 0),
    "leaky_relu": (1, 1, 0, 0),
    "sin": (1, 1, 1, 1),
    "cos": (1, 1, 1, 1),
    "tanh": (2, 4, 6, 60),
    "sech2": (4, 6, 60, 60),
    "sigmoid": (3, 4, 60, 60),
    "softplus": (2, 3, 4, 60),
    "log_sigmoid": (2, 3, 4, 60),
    "silu": (4, 30, 60, 60),
    "elu": (2, 1, 1, 1),
    "gaussian": (2, 4, 4, 6),
    "erf": (1, 4, 5, 5),
    "erfc": (4, 4, 5, 5),
    "normal_pdf": (4, 5, 40, 60),
    "normal_cdf": (4, 4, 5, 40),
    "gelu": (5, 40, 40, 60),
    "gelu_tanh": (800, 900, 1100, 1400),  # sigmoid of a rounded cubic: its size in ulps
    "hard_tanh": (0, 0, 0, 0),
    "hard_sigmoid": (2, 1, 0, 0),
    "hard_swish": (3, 3, 1, 0),
    "hard_shrink": (0, 0, 0, 0),
    "soft_shrink": (1, 0, 0, 0),
    "threshold": (0, 0, 0, 0),
    "celu": (2, 1, 1, 1),
    "selu": (2, 2, 2, 2),
    "softsign": (2, 3, 4, 5),
    "softsign_slope": (3, 4, 5, 5),
    "mish": (2, 4, 18, 18),
    "reciprocal": (1, 2, 3, 3),
    "rsqrt": (2, 2, 3, 4),
    "cbrt": (3, 6, 12, 20),
    "cbrt_slope": (6, 6, 6, 6),
    "exp2": (1, 2, 3, 4),
    "exp2_slope": (2, 3, 4, 4),
    "log2": (2, 2, 2, 3),
    "logit": (2, 2, 2, 2),
    "norm_root": (1, 2, 4, 6),
    "tan": (2, 3, 4, 5),
    "tan_slope": (2, 3, 5, 5),
    "atan": (2, 2, 3, 6),
    "atan_slope": (2, 3, 6, 8),
    "asin": (3, 3, 4, 6),
    "acos": (3, 3, 4, 6),
    "sinh": (2, 2, 2, 2),
    "cosh": (2, 2, 2, 2),
    "asinh": (2, 3, 6, 10),
    "acosh": (2, 3, 4, 6),
    "atanh": (2, 2, 3, 4),
    "lgamma": (3, 3, 4, 4),
    "digamma": (3, 4, 4, 4),
    "polygamma": (4, 4, 4, 5),
    "erfcx": (4, 4, 6, 6),
    "erfinv": (2, 4, 6, 10),
    "erfinv_slope": (4, 6, 10, 15),
    "log_normal_cdf": (3, 4, 6, 30),
    "log_normal_cdf_slope": (4, 6, 30, 1e4),  # the last two are orders 4 and 5 of log_normal_cdf,
    "log_normal_cdf_bend": (6, 30, 1e4, 1e9),  # which cancel in its left tail
    "sinc": (2, 3, 6, 12),
    "bose": (2, 3, 5, 7),
    "log1mexp": (2, 2, 3, 5),
    "log_expm1": (2, 2, 3, 5),
    "log_cosh": (2, 3, 5, 6),
    "log_erfc": (3, 4, 6, 1e6),
    "log_erfc_slope": (4, 6, 1e6, 1e6),  # the last two are orders 3 and 4 of log_erfc, which
    "log_erfc_bend": (6, 1e6, 1e6, 1e12),  # cancel in its right tail
    "power_log": (2, 2, 2, 3),
    "finite_or_zero": (0, 0, 0, 0),
    "one_if_zero": (0, 0, 0, 0),
    "ceil": (0, 0, 0, 0),
    "round": (0, 0, 0, 0),
}
"""The worst error of the value and of three derivatives, in units in the last place."""


@cache
def zeros(op: ElementwiseOp, order: int) -> list[float]:
    """Where a derivative changes its sign or is exactly 0 between numbers."""
    t = next(derivatives(op, order))
    xs = [x / 8 for x in range(-64, 65) if x / 8 in op.domains[0]]
    signs = [(x, in_floats(t, [x])) for x in xs]
    found = [x for x, v in signs if v == 0]
    found += [(a + b) / 2 for (a, u), (b, v) in pairwise(signs) if u * v < 0]
    return found


def error(op: ElementwiseOp, order: int, x: float) -> float:
    """The error of a derivative at a point, in units in the last place."""
    t = next(derivatives(op, order))
    value, exact = in_floats(t, [x]), exactly(t, x)
    if not math.isfinite(value) or abs(exact) < SMALLEST or abs(exact) > 1e307:
        return 0.0 if abs(exact) > 1e307 or abs(value) < 2 * SMALLEST else math.inf
    size = abs(float(exact))
    if any(abs(x - z) < 0.25 for z in zeros(op, order)) and order:
        size = max(
            size, *(abs(in_floats(t, [x + d])) for d in (-0.5, 0.5) if x + d in op.domains[0])
        )
    return float(abs(CTX.mpf(value) - exact)) / math.ulp(size)


@every_unary_op
def test_floats_keep_the_digits_of_three_derivatives(op: ElementwiseOp) -> None:
    points = [x for (x,) in grid(op, 90, 2.5, 20.5, 26.0, 38.0, 700.0)]
    worst = [max((error(op, order, x), x) for x in points) for order in range(4)]
    assert op.name in ULPS, f'give "{op.name}" a row in ULPS; measured: {measured(worst)}'
    kept = all(ulps <= bound for (ulps, _), bound in zip(worst, ULPS[op.name], strict=True))
    assert kept, f"the bounds are {ULPS[op.name]}; measured: {measured(worst)}"


def measured(worst: Sequence[tuple[float, float]]) -> str:
    """The worst errors by order, and where they are."""
    return ", ".join(f"order {n}: {ulps:.3g} ulp at {x!r}" for n, (ulps, x) in enumerate(worst))


def test_every_unary_op_has_its_bound() -> None:
    assert list(ULPS) == [op.name for op in unary] or set(ULPS) == {op.name for op in unary}


@every_op
def test_finite_floats_stay_finite_to_third_order(op: ElementwiseOp) -> None:
    if not op.finite:
        pytest.skip("may overflow")
    for order in range(4 if op.arity == 1 else 3):
        for t in derivatives(op, order):
            for point in grid(op, 30, 300, *EXTREMES):
                assert math.isfinite(in_floats(t, list(point))), (order, t, point)


@every_op
def test_nothing_is_nan_inside_the_domain(op: ElementwiseOp) -> None:
    for order in range(2):
        for t in derivatives(op, order):
            for point in grid(op, 40, 300, *EXTREMES):
                assert not math.isnan(in_floats(t, list(point))), (order, t, point)


# --- conventions at kinks -----------------------------------------------------------------------


CONVENTIONS = [(op, c) for op in REGISTRY.values() for c in op.declaration.conventions]


@pytest.mark.parametrize(
    ("op", "said"), CONVENTIONS, ids=[f"{op.name}-{c.at}" for op, c in CONVENTIONS]
)
def test_convention(op: ElementwiseOp, said: Convention) -> None:
    """What an op says of a point is so, in floats and at 60 digits."""

    def number(word: Any) -> float:
        return float(op.parameters.get(word, word) if isinstance(word, str) else word)

    at = [number(x) for x in said.at]
    wanted = [] if said.value is None else [(itself(op), number(said.value))]
    wanted += [(tm.diff(itself(op), k), number(x)) for k, x in enumerate(said.slopes)]
    for t, value in wanted:
        assert in_floats(t, at) == value
        if all(map(math.isfinite, at)):
            assert float(exactly(t, *at)) == value


@pytest.mark.parametrize(
    ("op", "args", "slopes"),
    [
        (ops.maximum, (2, 3), (0, 1)),
        (ops.minimum, (2, 3), (1, 0)),
        (ops.clip, (0, 1, 2), (0, 1, 0)),
        (ops.clip, (3, 1, 2), (0, 0, 1)),
        (ops.clip, (3, 2, 1), (0, 0, 1)),
        (ops.power, (0, 2), (0, 0)),
    ],
    ids=str,
)
def test_beside_a_kink(
    op: ElementwiseOp, args: tuple[float, ...], slopes: tuple[float, ...]
) -> None:
    for k, slope in enumerate(slopes):
        t = tm.diff(itself(op), k)
        assert in_floats(t, [float(a) for a in args]) == slope
        assert float(exactly(t, *args)) == slope


# --- parameters -----------------------------------------------------------------------------------


def test_parameters_are_exact_and_memoised() -> None:
    steep = ops.leaky_relu.with_parameters(negative_slope=0.2)
    assert steep.function.name == "leaky_relu[1/5]"
    assert steep is ops.leaky_relu.with_parameters(negative_slope=0.2)
    assert steep.with_parameters(negative_slope=0.01) is ops.leaky_relu
    x = sympy.Symbol("x")
    assert ops.leaky_relu(x, negative_slope=0.2) == ops.leaky_relu(x, 0.2) == steep(x)
    assert ops.leaky_relu(x) != steep(x)
    assert ops.elu.with_parameters(alpha=2).range == (-2, None)
    assert not ops.leaky_relu.with_parameters(negative_slope=2).finite
    assert in_floats(itself(steep), [-1.0]) == -0.2


@pytest.mark.parametrize("value", [math.nan, math.inf, "1", None, [1]])
def test_a_parameter_is_a_finite_number(value: object) -> None:
    with pytest.raises(DeclarationError, match="finite number"):
        ops.leaky_relu.with_parameters(negative_slope=value)


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(DeclarationError, match=r"no parameter 'slope'.*negative_slope"):
        ops.leaky_relu(sympy.Symbol("x"), slope=1)


def test_the_number_of_arguments_is_checked() -> None:
    with pytest.raises(DeclarationError, match=r"maximum takes 2 arguments \(x, y\), and 1 came"):
        ops.maximum(sympy.Symbol("x"))


# --- symbols --------------------------------------------------------------------------------------


@every_op
def test_symbols_evaluate_nothing_and_differentiate_as_declared(op: ElementwiseOp) -> None:
    xs = sympy.symbols("x:3")[: op.arity]
    e = op(*xs)
    assert e.func is op.symbol
    assert op(*(0.5,) * (op.arity - 1), sympy.Integer(1)).func is op.symbol
    mapping = {s: tm.read(k) for k, s in enumerate(xs)}
    assert from_sympy(e, mapping) is itself(op)
    for k, x in enumerate(xs):
        assert from_sympy(e.diff(x), mapping) is tm.diff(itself(op), k)


def test_select_differentiates_branch_by_branch() -> None:
    x = sympy.Symbol("x")
    e = where_symbolic(x > 0, ops.sqrt(x), 0)
    t = from_sympy(e.diff(x), {x: tm.read(0)})
    assert in_floats(t, [0.0]) == 0
    with pytest.raises(DeclarationError, match="already decided"):
        where_symbolic(x == 0, x, 1)


# --- ops of the user ----------------------------------------------------------------------------


def test_a_user_op_in_its_three_forms_is_one_function() -> None:
    x = sympy.Symbol("x")
    swish = define("swish", lambda x: x * ops.sigmoid(x))
    by_lambda = define("swish", sympy.Lambda(x, x * ops.sigmoid(x)))
    by_expr = define("swish", x * ops.sigmoid(x))
    assert swish.function is by_lambda.function is by_expr.function
    assert "swish" not in REGISTRY
    assert swish.function.name.startswith("swish@")  # meets no row of a backend's table
    assert difference(tm.diff(itself(swish), 0), tm.diff(itself(ops.silu), 0), (Reals,)) is None
    assert define("sigmoid", lambda x: x).function.name != "sigmoid"
    assert define("two", lambda x: x).function is not define("two", lambda x: 2 * x).function


def test_a_user_op_of_two_arguments_and_a_parameter() -> None:
    op = define("mix", lambda x, y, share=0.25: share * x + (1 - share) * y)
    assert op.arity == 2
    assert in_floats(op.expansion, [1.0, 3.0]) == 2.5  # type: ignore[arg-type]
    other = op.with_parameters(share=0.5)
    assert in_floats(other.expansion, [1.0, 3.0]) == 2.0  # type: ignore[arg-type]
    assert other.function is not op.function


def test_a_user_op_whose_formula_cancels_has_its_reference() -> None:
    naive = define("naive_gelu", lambda x: x * (1 + ops.erf(x / ops.sqrt(2))) / 2)
    for x in (-20.0, -30.0, 1e-300):
        expected = ops.gelu.reference(CTX, x)
        assert abs(naive.reference(CTX, x) - expected) <= abs(expected) * CTX.mpf(10) ** -55


def test_a_declared_derivative_is_proved() -> None:
    good = define(
        "my_tanh",
        lambda x: (ops.exp(x) - ops.exp(-x)) / (ops.exp(x) + ops.exp(-x)),
        derivative=lambda x: ops.sech2(x),
    )
    assert good.function.partial(0) is tm.call(ops.sech2.function, tm.read(0))
    with pytest.raises(DeclarationError, match=r"derivative given for 'bad' is not .* at .* it is"):
        define("bad", lambda x: x**2, derivative=lambda x: 2 * x + sympy.Rational(1, 10**40))
    with pytest.raises(DeclarationError, match="one derivative an argument"):
        define("bad", lambda x, y: x * y, derivative=lambda x, y: y)
    two = define("product", lambda x, y: x * y, derivative=lambda x, y: (y, x))
    assert two.function.partial(0) is tm.read(1)


def test_piecewise_is_differentiated_branch_by_branch() -> None:
    x = sympy.Symbol("x")
    op = define("patched", sympy.Lambda(x, sympy.Piecewise((x**2, x < 0), (sympy.sin(x), True))))
    assert in_floats(op.function.partial(0), [-3.0]) == -6  # type: ignore[arg-type]


X = sympy.Symbol("x")


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("x*x", "is text"),
        (b"x", "is text"),
        (3, "'int'"),
        (None, "'NoneType'"),
        (X > 0, "'StrictGreaterThan'"),
        (sympy.Integer(1), "no argument"),
        (lambda: 1, "no argument"),
        (lambda *x: x, r"\*x"),
        (lambda x, *, a: x, "needs a default"),
        (lambda x, a="1": x, "finite number"),
        (lambda x: "x", "symbolic scalar is expected"),
        (lambda x: (x, x), "symbolic scalar is expected"),
        (lambda x: x if x > 0 else 0, "prop.where"),
        (lambda x: max(x, 0), "prop.maximum"),
        (lambda x: math.exp(x), "prop's functions"),
        (lambda x: x.foo, "prop's functions"),
        (lambda x: sympy.gamma(x), "'gamma'"),
        (lambda x: sympy.Function("__import__('os')")(x), "function"),
        (lambda x: x * sympy.Symbol("evil\n"), r"symbol 'evil.+n'"),
        (lambda x: x**100000, "exponent"),
        (lambda x: x * 2**100000, "bits"),
        (lambda x: x * sympy.I, "'I'"),
        (lambda x: x + sympy.oo, "'oo'"),
        (lambda x: x * float("nan"), "'nan'"),
        (lambda x: sympy.Integral(x, X), "Integral"),
        (lambda x: ops.sqrt("x"), "symbolic scalar is expected"),
        (sum((X,) * 1) * sympy.Symbol("x", real=True), "two different symbols"),
    ],
)
def test_a_bad_formula_is_refused_in_one_sentence(formula: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        define("f", formula)


def test_a_deep_formula_is_refused() -> None:
    def deep(x: Any) -> Any:
        for _ in range(300):
            x = ops.sin(x)
        return x

    with pytest.raises(DeclarationError, match="deeper than"):
        define("deep", deep)


@pytest.mark.parametrize("name", ["", "a b", "1x", "if", "π", "x\n", "a" * 1000, None, 3])
def test_a_bad_name_is_refused(name: Any) -> None:
    with pytest.raises(DeclarationError, match="cannot name an op"):
        define(name, lambda x: x)


def test_intervals() -> None:
    for d in (Reals, Positive, NonNegative, Interval(-1, 1, open_low=True)):
        points = d.points(60, decades=300)
        assert len(points) > 50
        assert all(x in d for x in points)
        assert points == d.points(60, decades=300)
    assert 0 not in Positive
    assert 0 in NonNegative
