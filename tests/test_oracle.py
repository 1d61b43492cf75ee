"""The oracle against NumPy for every public function, and against mpmath at 60 digits."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from checking import assert_equal, evaluate_all
from functions import ROWS, At, Row, uncovered

import symprop as prop
from codegen.index import Guard, gather, guard, loop
from symprop import oracle
from symprop import term as t
from symprop.errors import DataError, VerificationError
from symprop.graph import At as Read
from symprop.make import make

EVERY = pytest.mark.parametrize("case", ROWS, ids=[r.name for r in ROWS])


def test_every_public_function_has_a_row() -> None:
    assert not uncovered()
    assert len({r.name for r in ROWS}) == len(ROWS)


@EVERY
def test_values_equal_numpys(case: Row) -> None:
    values = case.data()
    wanted = np.asarray(case.numpy(At(values)))
    expr = case.call(At(case.declare()))
    found = np.asarray(oracle.evaluate([expr], {**values, "s": np.zeros(4)})[0])
    assert expr.shape == wanted.shape
    assert (expr.dtype in ("float", "float64")) == (wanted.dtype.kind == "f")
    assert_equal([found], [wanted], 1e-13)


# --- arbitrary precision -------------------------------------------------------------------------

DIGITS = 60


def mlp() -> tuple[list[Any], dict[str, Any]]:
    """The loss of a small network with its gradients, and data with few bits."""
    x, y = prop.input("x", (2, 3)), prop.labels("y", (2,), classes=2)
    w, b = prop.input("w", (4, 3)), prop.input("b", (4,))
    u = prop.input("u", (2, 4))
    loss = prop.cross_entropy(prop.tanh(x @ w.T + b) @ u.T, y)
    rng = np.random.default_rng(5)
    shapes = {"x": (2, 3), "w": (4, 3), "b": (4,), "u": (2, 4)}
    values = {n: rng.integers(-8, 9, size=s) / 8 for n, s in shapes.items()}
    return [loss, *prop.gradient(loss, [w, b, u])], {**values, "y": np.array([1, 0])}


def mpmath_mlp(ctx: Any, v: dict[str, Any]) -> Any:
    """The same loss with mpmath alone, as a function of a flat list."""
    sizes = {n: int(np.size(v[n])) for n in ("w", "b", "u")}

    def loss(*flat: Any) -> Any:
        parts: dict[str, Any] = {}
        start = 0
        for n, k in sizes.items():
            parts[n] = np.array(flat[start : start + k], object).reshape(np.shape(v[n]))
            start += k
        total = ctx.mpf(0)
        for row, label in zip(v["x"], v["y"], strict=True):
            h = [ctx.tanh(sum(ctx.mpf(a) * b for a, b in zip(row, ws, strict=True)) + c)
                 for ws, c in zip(parts["w"], parts["b"], strict=True)]  # fmt: skip
            z = [sum(a * b for a, b in zip(h, us, strict=True)) for us in parts["u"]]
            total += ctx.log(sum(map(ctx.exp, z))) - z[label]
        return total / len(v["y"])

    return loss, [ctx.mpf(float(e)) for n in sizes for e in np.ravel(v[n])]


def test_sixty_digits_equal_mpmaths_within_the_condition() -> None:
    """Differences at 60 digits are wrong by the square of their step and by rounding over it."""
    roots, values = mlp()
    found = oracle.evaluate(roots, values, precision=DIGITS)
    ctx = mpmath.mp.clone()
    ctx.dps = 3 * DIGITS
    loss, flat = mpmath_mlp(ctx, values)
    wanted = loss(*flat)
    assert abs(found[0].item() - wanted) < ctx.mpf(10) ** (5 - DIGITS)
    ours = [e for g in found[1:] for e in np.ravel(g)]
    step = ctx.mpf(10) ** -DIGITS
    for k, g in enumerate(ours):
        ends = []
        for s in (step, -step):
            moved = list(flat)
            moved[k] += s
            ends.append(loss(*moved))
        assert abs((ends[0] - ends[1]) / (2 * step) - g) < ctx.mpf(10) ** (5 - DIGITS)


def test_float64_is_within_the_condition_of_sixty_digits() -> None:
    """Every intermediate value is moved by one rounding: their sum bounds the error."""
    roots, values = mlp()
    exact = oracle.evaluate(roots, values, precision=DIGITS)
    found = evaluate_all(roots, values)
    for a, b in zip(found, exact, strict=True):
        b = np.asarray(b, float)
        assert np.max(np.abs(a - b)) <= 64 * np.finfo(float).eps * max(1.0, np.max(np.abs(b)))


@pytest.mark.parametrize("digits", [None, 30])
def test_functions_are_exact_at_any_precision(digits: int | None) -> None:
    x = prop.input("x", ())
    (third,) = oracle.evaluate([x / 3], {"x": 1.0}, precision=digits)
    assert abs(mpmath.mpf(1) / 3 - third.item()) < 1e-15
    if digits:
        ctx = mpmath.mp.clone()
        ctx.dps = digits
        assert abs(third.item() - ctx.mpf(1) / 3) < ctx.mpf(10) ** (1 - digits)
        (far,) = oracle.evaluate([prop.sigmoid(x)], {"x": -1e5}, precision=digits)
        assert abs(far.item() / ctx.exp(-100000) - 1) < ctx.mpf(10) ** (2 - digits)


# --- what it refuses -----------------------------------------------------------------------------


def test_a_read_out_of_range_is_found() -> None:
    x = prop.input("x", (3,)).node
    i = loop(0, 4)
    node = make("sum", [i], 1, (), t.read(0), [Read(x, (i.ix(),))], "float")
    with pytest.raises(VerificationError, match=r"out of range.*x.*\(3,\)"):
        oracle.evaluate([node], {"x": np.ones(3)})
    back = make("sum", [i], 1, (), t.read(0), [Read(x, (i.ix() - 1,))], "float")
    with pytest.raises(VerificationError, match="out of range"):
        oracle.evaluate([back], {"x": np.ones(3)})


@pytest.mark.parametrize("where", ["node", "read"])
def test_a_lookup_is_asked_only_where_the_other_guards_hold(where: str) -> None:
    ids, x = prop.labels("ids", (3,), classes=2).node, prop.input("x", (3,)).node
    i = loop(0, 3)
    late = guard(2 - 1 - i.ix(), ">=")
    found = guard(gather(ids, (i.ix() + 1,)) - 1, "==")
    both = tuple(g for g in (late, found) if isinstance(g, Guard))
    read = Read(x, (i.ix(),), () if where == "node" else both)
    node = make("sum", [i], 1, both if where == "node" else (), t.read(0), [read], "float")
    values = {"ids": np.array([0, 1, 0]), "x": np.arange(5.0, 8.0)}
    np.testing.assert_array_equal(evaluate_all([node], values)[0], [5, 0, 0])


def test_missing_and_inconsistent_data_are_named() -> None:
    a, b = prop.input("a", "n"), prop.input("b", "n")
    with pytest.raises(DataError, match="needs a value for 'b'"):
        oracle.evaluate([a * b], {"a": np.ones(3)})
    with pytest.raises(DataError, match=r"dimension n is (3 and 4|4 and 3)"):
        oracle.evaluate([a * b], {"a": np.ones(3), "b": np.ones(4)})
    with pytest.raises(DataError, match="'a' has 2 dimensions, expected 1"):
        oracle.evaluate([a], {"a": np.ones((3, 1))})


def test_branches_not_taken_are_not_evaluated() -> None:
    x = prop.input("x", (3,))
    y = prop.where(x > 0, prop.log(x), 0.0)
    found = evaluate_all([y, prop.gradient(prop.sum(y), x)], {"x": np.array([-1.0, 0.0, 2.0])})
    np.testing.assert_allclose(found[0], [0, 0, np.log(2)])
    np.testing.assert_array_equal(found[1], [0, 0, 0.5])


def test_erfcx_is_infinite_at_minus_infinity() -> None:
    x = prop.input("x", ())
    (found,) = oracle.evaluate([prop.erfcx(x)], {"x": -np.inf}, precision=40)
    assert found.item() == np.inf
