"""The judges of `symprop accuracy`: balls, rounding, units, points and landmarks."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from symprop import term as tm
from symprop.accuracy import balls, points
from symprop.accuracy.balls import ROWS, Balls
from symprop.accuracy.exact import Truth, rounded
from symprop.accuracy.formats import FORMATS, Exact, errors
from symprop.accuracy.landmarks import cancelled, compared, landmarks, local_scale
from symprop.accuracy.subjects import Subject, subjects
from symprop.errors import UnsupportedError, VerificationError
from symprop.ops.declare import REGISTRY, ElementwiseOp
from symprop.ops.domain import Interval, Positive, Reals
from symprop.ops.reference import PRIMITIVES, STRUCTURAL, difference
from symprop.term import Function

flint = pytest.importorskip("flint")

CTX = mpmath.mp.clone()
CTX.dps = 40
SINGLE, DOUBLE = FORMATS["float32"], FORMATS["float64"]

every_op = pytest.mark.parametrize("op", REGISTRY.values(), ids=list(REGISTRY))
both = pytest.mark.parametrize("form", FORMATS.values(), ids=list(FORMATS))


def grid(op: ElementwiseOp, count: int = 12) -> list[tuple[float, ...]]:
    columns = [d.points(3 * count, k, 2) for k, d in enumerate(op.domains)]
    return list(zip(*columns, strict=False))[:count]


@pytest.mark.parametrize("name", ["exp", "tanh", "sin", "gelu", "abs", "cbrt", "floor"])
def test_the_quick_way_to_an_exact_value_finds_the_same(name: str) -> None:
    truth = Subject(REGISTRY[name], ()).truth
    rng = np.random.default_rng(1)
    (x,) = points.drawn(REGISTRY[name].domains, DOUBLE, 400, rng)
    quick = [truth.near((v,), DOUBLE) for v in x.tolist()]
    found = [(a, truth.at((v,), DOUBLE)) for a, v in zip(quick, x.tolist(), strict=True) if a]
    assert len(found) > 100
    for a, b in found:
        assert (a[0], a[2]) == (b[0], b[2])
        assert a[1] == pytest.approx(b[1], abs=1e-8)


def test_the_quick_way_leaves_what_is_not_plain() -> None:
    exp = Subject(REGISTRY["exp"], ()).truth
    for x in (-745.0, -710.0, 709.9, 1e6, math.nan):
        assert exp.near((x,), DOUBLE) is None
    square = Subject(REGISTRY["square"], ()).truth
    assert square.near((1 + 2.0**-27 * 3,), DOUBLE) is not None
    assert square.near((2.0**26 + 0.5 + 2.0**-26,), DOUBLE) is not None
    half = Truth(tm.read(0) + tm.num(Fraction(1, 2**53)), tm.read(0), "")
    assert half.near((1.0,), DOUBLE) is None  # halfway between two floats


# --- balls ----------------------------------------------------------------------------------------


@every_op
def test_a_ball_holds_what_mpmath_finds(op: ElementwiseOp) -> None:
    own = tm.call(op.function, *map(tm.read, range(op.arity)))
    ball = Balls(own)
    for point in grid(op):
        value = op.reference(CTX, *point)
        if not CTX.isfinite(value):
            continue
        found = ball(point, 200)
        sign, mantissa, exponent, _ = value._mpf_
        near = flint.arb(-mantissa if sign else mantissa) * flint.arb(2) ** exponent
        room = abs(near) * flint.arb(10) ** -37 + flint.arb(10) ** -400
        assert abs(found - near) <= room, (point, found, value)


@pytest.mark.parametrize("name", [n for n in ROWS if n in PRIMITIVES and n not in REGISTRY])
def test_a_row_that_is_no_op_agrees_with_mpmath_too(name: str) -> None:
    x = CTX.mpf("0.75")
    found = ROWS[name](flint.arb(0.75))
    assert abs(float(found) - float(PRIMITIVES[name](CTX, x))) < 1e-14


def test_structural_functions_mean_what_the_reference_says() -> None:
    x, y = tm.read(0), tm.read(1)
    for fn in (tm.LT, tm.LE, tm.EQ, tm.NE, tm.AND, tm.OR, tm.STRONG_MUL):
        ball = Balls(tm.call(fn, x, y))
        for a in (0.0, 1.0, 2.0):
            for b in (0.0, 1.0, 2.0):
                wanted = STRUCTURAL[fn.name](CTX, CTX.mpf(a), CTX.mpf(b))
                assert float(Balls(tm.call(fn, x, y) + 0 * x)((a, b), 96)) == wanted, (fn, a, b)
                assert ball((a, b), 96) == wanted
    chosen = Balls(tm.select(tm.call(tm.NOT, tm.call(tm.LT, x, y)), x, y))
    assert [float(chosen(p, 96)) for p in ((1.0, 2.0), (2.0, 1.0))] == [2.0, 2.0]


def test_a_branch_is_not_taken_before_its_condition_is_certain() -> None:
    tiny = tm.call(REGISTRY["sin"].function, tm.call(tm.PI))  # a ball around 0
    ball = Balls(tm.select(tm.call(tm.LT, tiny, tm.num(0)), tm.num(1), tm.num(2)))
    assert not ball((), 96).is_finite()


def test_an_integer_between_two_is_rounded_to_the_even_one() -> None:
    arb = flint.arb
    for x, wanted in ((0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (2.4, 2), (1e-300, 0)):
        assert float(ROWS["round"](arb(x))) == wanted, x


def test_a_function_without_a_row_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="Arb has no row for the function 'odd'"):
        Balls(tm.call(Function("odd", 1), tm.read(0)))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    balls.flint.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "flint", None)
    with pytest.raises(UnsupportedError, match=r"python -m pip install .*python-flint"):
        balls.flint()
    balls.flint.cache_clear()


# --- rounding -------------------------------------------------------------------------------------


@both
def test_rounding_is_that_of_the_machine(form: Any) -> None:
    rng = np.random.default_rng(0)
    for _ in range(400):
        exponent = int(rng.integers(form.lowest - 8, form.highest))
        m = int(rng.integers(1, 1 << 62)) * int(rng.choice((-1, 1)))
        e = exponent - m.bit_length()
        value, rest, unit = rounded(m, e, form) or (0, 0, 0)
        exact = Fraction(m) * Fraction(2) ** e
        assert value == (exact.numerator / exact.denominator if form is DOUBLE else
                         float(np.float32(exact.numerator / exact.denominator)))  # fmt: skip
        assert abs((exact - Fraction(value)) / Fraction(unit) - Fraction(rest)) < 1e-15


@both
def test_ties_and_ends_are_rounded_as_the_standard_says(form: Any) -> None:
    one = 1 << (form.digits + 1)  # two bits more than fit
    assert rounded(one + 2, 0, form) == (one, 0.5, 4.0)
    assert rounded(one + 6, 0, form) == (one + 8, -0.5, 4.0)
    smallest = math.ldexp(1.0, form.lowest)
    assert rounded(1, form.lowest - 1, form) == (0.0, 0.5, smallest)
    assert rounded(3, form.lowest - 1, form) == (2 * smallest, -0.5, smallest)
    assert rounded(1, -10_000, form) == (0.0, 0.0, smallest)
    largest = (1 << form.digits) - 1
    top = form.highest - form.digits
    assert rounded(-1, 10_000, form) == (-math.inf, math.inf, 2.0**top)
    assert rounded(largest, top, form) == (float(form.float(form.infinity - 1)), 0.0, 2.0**top)
    assert (rounded(2 * largest + 1, top - 1, form) or ())[0] == math.inf


def test_a_radius_that_leaves_the_rounding_open_is_refused() -> None:
    middle = (1 << 53) + 1  # in the middle of two floats
    assert rounded(middle, 0, DOUBLE, 1, -60) is None
    assert rounded(middle << 80, -80, DOUBLE, 1, -200) is None
    assert rounded(middle - 1, 0, DOUBLE, 1, -60) == (2.0**53, 0.0, 2.0)
    assert rounded(middle - 1, 0, DOUBLE, 1, -20) is None


@both
def test_floats_are_numbered_in_their_order(form: Any) -> None:
    values = [-math.inf, -1.0, -math.ldexp(1, form.lowest), 0.0, math.ldexp(1, form.lowest), 1.0]
    numbers = form.number(np.array(values))
    assert list(np.argsort(numbers, kind="stable")) == list(range(len(values)))
    assert list(form.float(numbers)) == values
    assert list(form.number(np.array([-0.0, 0.0]))) == [0, 0]
    for k, neighbour in ((1, math.inf), (-1, -math.inf)):
        step = np.nextafter(np.array(1.5, form.name), np.array(neighbour, form.name))
        assert form.float(form.number(np.array([1.5])) + k)[0] == float(step)


@both
def test_errors_are_in_units_of_the_exact_value(form: Any) -> None:
    exact = Exact(np.array([1.0]), np.array([0.25]), np.array([math.ldexp(1, 1 - form.digits)]))
    unit = float(exact.unit[0])
    for found, wanted in ((1.0, 0.25), (1 + unit, 0.75), (1 - unit, 1.25), (math.nan, math.inf)):
        assert errors(np.array([found], form.name), exact, form)[0] == wanted
    assert errors(np.array([math.inf], form.name), exact, form)[0] > 1e10


@both
def test_beyond_the_largest_float_infinity_is_right(form: Any) -> None:
    values = [rounded((1 << 60) - 1, form.highest - 60, form), rounded(1, form.highest, form)]
    exact = Exact(*np.array(values).T)
    largest = float(form.float(form.infinity - 1))
    assert list(errors(np.array([math.inf] * 2, form.name), exact, form)) == [0, 0]
    below = errors(np.array([largest] * 2, form.name), exact, form)
    assert list(below) == pytest.approx([1, 1], abs=0.01)
    finite = Exact(*np.array([rounded((1 << form.digits) - 2, form.highest - form.digits, form)]).T)
    assert errors(np.array([math.inf], form.name), finite, form)[0] == 2
    assert errors(np.array([-math.inf], form.name), finite, form)[0] > 1e6


# --- exact values ---------------------------------------------------------------------------------


def truth(name: str, order: int = 0) -> Truth:
    return Subject(REGISTRY[name], (0,) * order).truth


def test_values_that_are_hard_to_round_are_rounded() -> None:
    """Known worst cases of exp and log in double precision: a hundred bits are not enough."""
    for name, x in (
        ("exp", float.fromhex("0x1.9e9cbbfd6080bp-31")),
        ("log", float.fromhex("0x1.62a88613629b6p+678")),
    ):
        value, rest, unit = truth(name).at([x], DOUBLE)
        with CTX.workdps(100):
            exact = getattr(CTX, name)(CTX.mpf(x))
            assert abs((exact - value) / unit - rest) < 1e-9
        assert abs(abs(rest) - 0.5) < 1e-9 or abs(rest) < 1e-9


def test_huge_arguments_are_decided() -> None:
    assert truth("sigmoid").at([-1e308], DOUBLE)[0] == 0
    assert truth("softplus").at([1e308], DOUBLE)[0] == 1e308
    assert truth("exp").at([1e308], DOUBLE)[0] == math.inf
    assert truth("sin").at([1e22], DOUBLE)[0] == -0.8522008497671888


def test_singular_points_are_mpmaths() -> None:
    log = truth("log")
    assert log.at([0.0], DOUBLE)[0] == -math.inf
    assert log.undecided == 1
    assert truth("sqrt", 1).at([0.0], DOUBLE)[0] == math.inf


def test_a_wrong_derivative_is_not_seconded() -> None:
    x = tm.read(0)
    wrong = Truth(2 * x + tm.num(Fraction(1, 10**6)), 2 * x, "square'")
    with pytest.raises(VerificationError, match=r"two opinions of square' at 1.5 differ"):
        wrong.second([np.array([1.5])], DOUBLE)
    assert Truth(2 * x, 2 * x, "").second([np.array([1.5, 3.0])], SINGLE) == 2


@every_op
def test_the_chosen_derivatives_are_seconded(op: ElementwiseOp) -> None:
    for order in (1, 2):
        for subject in subjects(op, order):
            columns = list(zip(*grid(op, 3), strict=True))
            assert subject.truth.second([np.float32(c) for c in columns], SINGLE) == 3


# --- points ---------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    "domain",
    [Reals, Positive, Interval(-1, 1), Interval(-1, 1, True, True), Interval(high=Fraction(1, 3))],
    ids=str,
)
def test_points_lie_in_the_domain_and_are_floats(domain: Interval, form: Any) -> None:
    first, again = (
        points.drawn([domain], form, 500, np.random.default_rng(3))[0] for _ in range(2)
    )
    near = points.special([domain], form, [0.5, 1.0], 1000)[0]
    beside = points.around([first[:5]], [domain], form, 20, np.random.default_rng(3))[0]
    assert list(first) == list(again)
    for column in (first, near, beside):
        assert all(float(x) in domain for x in column)
        assert np.all(np.isfinite(column))
        assert np.array_equal(column, column.astype(form.name).astype(float))
    assert len(np.unique(np.frexp(first)[1])) > 60  # every size of float


def test_two_arguments_come_together_and_apart() -> None:
    x, y = points.drawn([Reals, Positive], DOUBLE, 400, np.random.default_rng(0))
    near = np.abs(DOUBLE.number(x) - DOUBLE.number(y)) < 1 << 53
    assert 0.1 < np.mean(near) < 0.6
    grid = points.special([Reals, Positive], DOUBLE, [1.0], 100)
    assert len(grid[0]) == len(grid[1]) <= 100


def test_landmarks_are_found_to_the_last_float() -> None:
    changes, zeros = landmarks(truth("exp"), Reals, SINGLE)
    assert any(abs(x - 88.72284) < 1e-4 for x in changes)  # beyond, float32 overflows
    assert any(abs(x + 103.97208) < 1e-4 for x in changes)  # below, it is 0
    assert zeros == []
    _, zeros = landmarks(truth("gelu", 1), Reals, DOUBLE)
    assert len(zeros) == 1
    assert abs(zeros[0] + 0.7517915246935645) < 1e-15
    assert landmarks(truth("gelu", 3), Reals, SINGLE)[1][-2:] == [-2.0, 2.0]  # floats themselves


def test_zeros_by_a_difference_have_a_local_scale() -> None:
    assert cancelled(truth("gelu", 1).formula, -0.7517915246935645)
    assert cancelled(truth("silu", 1).formula, -1.2784645427610738)
    assert not cancelled(truth("sin", 1).formula, math.pi / 2)
    assert not cancelled(truth("tanh", 2).formula, 0.0)
    scale = local_scale(truth("gelu", 1), -0.75, Reals, SINGLE)
    assert 0.3 < scale < 0.4


def test_numbers_that_are_compared_are_places_to_look_at() -> None:
    t = tm.select(tm.call(tm.LT, tm.read(0) - 3, tm.num(0)), 1, tm.read(0))
    assert set(compared(t)) >= {3.0, -3.0}


def test_the_reference_of_a_subject_is_the_definition() -> None:
    subject = Subject(REGISTRY["tanh"], (0,))
    assert difference(subject.truth.plain, subject.truth.formula, (Reals,)) is None
    assert subject.title == "tanh'"
    assert Subject(REGISTRY["power"], (0, 1)).title == "power by x, y"
