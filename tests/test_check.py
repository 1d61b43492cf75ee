"""`prop.check`: right gradients pass, wrong ones are found and named, on every backend."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
from typer.testing import CliRunner

import symprop as prop
from symprop import cli, oracle
from symprop import term as t
from symprop.checks import machines
from symprop.checks.machines import shares
from symprop.checks.point import candidates
from symprop.checks.report import Check, Row
from symprop.checks.taylor import order_of
from symprop.errors import DataError, DeclarationError, UnsupportedError

runner = CliRunner()
BACKENDS = ["numpy", "native"]


def network() -> Any:
    """A loss of a small network with a free batch."""
    x = prop.input("x", "batch pixel=3")
    y = prop.labels("y", "batch", classes=2)
    net = prop.Sequential(prop.Dense(3, name="hidden"), prop.relu, prop.Dense(2, name="logits"))
    return prop.cross_entropy(net(x), y)


def cubed(factor: Any, where: Any = None) -> Any:
    """An op v**3 whose derivative is `factor` times the right one, everywhere or somewhere."""
    op = prop.elementwise(f"cubed_{len(str(factor))}", lambda v: v * v * v)
    right = op.function.partial(0)
    assert right is not None
    wrong = right * factor
    chosen = wrong if where is None else t.select(where(t.read(0)), wrong, right)
    op.function._partials[0] = chosen
    return op


# --- right gradients ----------------------------------------------------------------------------


def test_the_gradients_of_a_network_are_right() -> None:
    found = prop.check(network(), backends=BACKENDS)
    assert found.ok, str(found)
    assert [r.name for r in found.rows[1:]] == [
        "hidden.weight", "hidden.bias", "logits.weight", "logits.bias",
    ]  # fmt: skip
    assert found.rows[0].order is None
    for row in found.rows[1:]:
        assert row.order == pytest.approx(2, abs=1e-6)
    assert all(0 <= s <= 1 for row in found.rows for s in row.shares.values())
    assert set(found.rows[0].shares) == {(b, d) for b in BACKENDS for d in ("float32", "float64")}
    assert found.sizes == {"batch": 2}


def test_a_step_and_a_trainer_are_checked_by_their_loss() -> None:
    step = prop.training_step(network(), prop.SGD(0.1))
    assert str(prop.check(step, backends=["numpy"])) == str(
        prop.check(step.compile("numpy"), backends=["numpy"])
    )


CASES: dict[str, Callable[[Any, Any], Any]] = {
    "masked root": lambda x, w: prop.sum(prop.where(x * w > 0, prop.sqrt(x * w), 0)),
    "softmax": lambda x, w: prop.sum(prop.softmax(x * w) * x),
    "norms": lambda x, w: prop.sum(prop.layer_norm(x * w) * x),
    "extrema": lambda x, w: prop.sum(prop.max(x * w, axis=0)),
    "cumulated": lambda x, w: prop.sum(prop.cumprod(w, 0) * prop.cumsum(w, 0)),
    "scanned": lambda x, w: prop.sum(prop.scan(lambda h, s: (prop.tanh(h + s), h * s), w, x)[1]),
    "gathered": lambda x, w: prop.sum(prop.take(w, [0, 2, 2]) * w),
    "held": lambda x, w: prop.sum(prop.square(w - prop.stop_gradient(2 * w))),
    "linear": lambda x, w: prop.sum(x * w),
}


@pytest.mark.parametrize("name", CASES)
def test_models_of_every_kind_are_right(name: str) -> None:
    x, w = prop.input("x", (2, 3)), prop.parameter("w", (3,), 0.5)
    found = prop.check(CASES[name](x, w), backends=["numpy"])
    assert found.ok, str(found)
    assert found.rows[1].order == (
        math.inf if name in ("linear", "extrema") else pytest.approx(2, abs=1e-4)
    )


def test_a_point_is_looked_for_where_the_loss_is_defined() -> None:
    x, w = prop.input("x", (4,)), prop.parameter("w", (4,), 1.0)
    assert prop.check(prop.sum(prop.log(x) * prop.log(w)), backends=["numpy"]).ok
    with pytest.raises(DataError, match="not finite at any point"):
        prop.check(prop.sum(prop.log(-prop.square(w))), backends=["numpy"])


def test_sizes_and_values_can_be_given() -> None:
    loss = network()
    found = prop.check(loss, at={"x": np.ones((4, 3))}, backends=["numpy"])
    assert found.ok, str(found)
    assert found.sizes == {"batch": 4}


# --- wrong gradients -----------------------------------------------------------------------------


def test_a_wrong_derivative_is_found_and_its_function_named() -> None:
    w, v = prop.parameter("w", (3,), 0.5), prop.parameter("v", (3,), 0.5)
    op = cubed(2)
    found = prop.check(prop.sum(op(w)) + prop.sum(prop.square(v)), backends=["numpy"])
    assert not found.ok
    orders = {r.name: r.order for r in found.rows[1:]}
    assert orders["w"] == pytest.approx(1, abs=1e-6)
    assert orders["v"] == pytest.approx(2, abs=1e-6)
    assert "the gradient of 'w' is not that of the loss" in found.problems[0]
    assert f"the derivative of {op.name} at" in found.problems[1]
    assert len(found.problems) == 2


def test_a_derivative_that_is_off_by_little_and_seldom_is_found() -> None:
    """A declaration is proved on a grid; what hides between its points is met by the model."""
    op = prop.elementwise(
        "patched",
        lambda x: x**2,
        derivative=lambda x: prop.where(
            sympy.And(x > 1.2345, x < 1.2346), 2 * x + sympy.Rational(1, 10**9), 2 * x
        ),
    )
    w, x = prop.parameter("w", (2,), 0.5), prop.input("x", (2,))
    loss = prop.sum(op(x * w))
    given = {"x": np.array([1.0, 1.0]), "w": np.array([0.5, 1.23455])}
    found = prop.check(loss, at=given, backends=["numpy"])
    assert not found.ok
    assert "the derivative of patched at 1.23455" in found.problems[1]
    assert prop.check(loss, backends=["numpy"]).ok  # elsewhere it is right


def test_an_argument_of_several_is_named() -> None:
    op = prop.elementwise("mixed", lambda x, y: x * y * y)
    op.function._partials[1] = t.num(7)
    w = prop.parameter("w", (2,), 0.5)
    found = prop.check(prop.sum(op(w, w)), backends=["numpy"])
    assert any("the derivative of mixed in argument 2" in p for p in found.problems)


def test_a_backend_that_computes_something_else_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    own = prop.compile

    def spoilt(outputs: Any, backend: str, dtype: str) -> Any:
        made = own(outputs, backend=backend, dtype=dtype)
        if (backend, dtype) != ("native", "float64"):
            return made

        class Wrong:
            inputs = made.inputs

            def __call__(self, values: Any) -> Any:
                loss, *rest = made(values)
                return [loss, *(a * (1 + 1e-11) for a in rest)]

        return Wrong()

    monkeypatch.setattr(prop, "compile", spoilt)
    w = prop.parameter("w", (3,), 0.5)
    found = prop.check(prop.sum(prop.exp(w)), backends=BACKENDS)
    assert not found.ok
    assert len(found.problems) == 1
    assert found.problems[0].startswith("the gradient of 'w' on native in float64 is ")


def test_a_kink_is_right_at_its_convention() -> None:
    w = prop.parameter("w", (3,), 0.5)
    found = prop.check(prop.sum(prop.relu(w)), at={"w": np.zeros(3)}, backends=["numpy"])
    assert found.rows[1].order is not None
    assert not any("the derivative of" in p for p in found.problems)


# --- its parts ------------------------------------------------------------------------------------


def test_orders_of_remainders() -> None:
    assert order_of([16, 4, 1], 1) == 2
    assert order_of([4, 2, 1], 1) == 1
    assert order_of([16, 4, 2], 1) == 1
    assert order_of([0, 0, 0], 1) == math.inf
    assert order_of([4, 1, 0], 1) == 0


def test_a_share_of_one_is_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """x*x has one rounding: SLACK units of 9 are the limit."""
    x = prop.input("x", (1,))
    e = x * x
    point = next(candidates([e.node], {"x": [3.0]}, 0))
    exact = oracle.evaluate([e], point.given, 60)
    off = np.array([9 * (1 + machines.SLACK * 2.0**-52)])
    monkeypatch.setattr(prop, "compile", lambda *a, **k: Fixed([off]))
    (found,) = shares([e], point, exact, ["numpy"])
    assert found["numpy", "float64"] == pytest.approx(1)
    assert found["numpy", "float32"] == pytest.approx(2.0**-29, rel=1e-3)
    monkeypatch.setattr(prop, "compile", lambda *a, **k: Fixed([np.array([math.nan])]))
    assert shares([e], point, exact, ["numpy"])[0]["numpy", "float64"] == math.inf


def test_what_may_overflow_in_a_width_is_not_held_against_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = prop.input("x", (1,))
    e = prop.log(x * x)
    point = next(candidates([e.node], {"x": [1e30]}, 0))
    exact = oracle.evaluate([e], point.given, 60)
    monkeypatch.setattr(prop, "compile", lambda *a, **k: Fixed([np.array([math.inf])]))
    (found,) = shares([e], point, exact, ["numpy"])
    assert found["numpy", "float32"] == 0
    assert found["numpy", "float64"] == math.inf


class Fixed:
    """A function that gives what it was told."""

    inputs = ("x",)

    def __init__(self, values: Any) -> None:
        self.values = values

    def __call__(self, given: Any) -> Any:
        return self.values


def test_what_is_no_model_is_refused() -> None:
    w = prop.parameter("w", (3,), 0.5)
    x = prop.input("x", (3,))
    for bad, message in (
        (w, "scalar loss"),
        (3, "scalar loss"),
        (prop.sum(x), "reads no parameter"),
    ):
        with pytest.raises(DeclarationError, match=message):
            prop.check(bad)
    with pytest.raises(DataError, match="no variable 'z'"):
        prop.check(prop.sum(w), at={"z": 1})
    with pytest.raises(DataError, match=r"'w' has a dimension of 3, .* shape \(4,\)"):
        prop.check(prop.sum(w), at={"w": np.ones(4)})
    with pytest.raises(DataError, match="1 dimensions"):
        prop.check(prop.sum(w), at={"w": 1.0})
    with pytest.raises(UnsupportedError, match="'cobol' does not exist"):
        prop.check(prop.sum(w), backends=["cobol"])
    large = prop.parameter("large", (2000, 2000), 0.5)
    with pytest.raises(DataError, match="scalar steps"):
        prop.check(prop.sum(large * large))


def test_a_report_is_text_and_data_and_escapes_names() -> None:
    bad = Row("w\x1b[31m", 1.0, False, {("numpy", "float64"): math.inf})
    found = Check("loss\n", {"n": 2}, [Row("loss", None, True, {("numpy", "float64"): 0.5}), bad],
                  ["it is wrong"])  # fmt: skip
    assert "\x1b" not in str(found)
    assert "WRONG: it is wrong" in str(found)
    assert "no number" in str(found)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["ok"] is False
    assert data["rows"][1]["shares"] == {"numpy float64": None}


# --- the command and the file it writes -------------------------------------------------------


MODEL = """
import symprop as prop

w = prop.parameter("w", (3,), 0.5)
x = prop.input("x", "batch k=3")
good = prop.mean(prop.tanh(x * w))
op = prop.elementwise("op", lambda v: v * v * v)
op.function._partials[0] = op.function.partial(0) * 2
bad = prop.sum(op(w))
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "my model's.py"
    path.write_text(MODEL, encoding="utf-8")
    return path


def run_check(*words: str) -> Any:
    return runner.invoke(cli.app, ["check", *words, "--backend", "numpy"])


def test_the_command_says_what_is_right_and_what_is_not(model: Path) -> None:
    right = run_check(f"{model}:good")
    assert right.exit_code == 0, right.output
    assert "every gradient is right" in right.stdout
    wrong = run_check(f"{model}:bad", "--json")
    assert wrong.exit_code == 1
    data = json.loads(wrong.stdout)
    assert data["ok"] is False
    assert "the derivative of op at" in data["problems"][1]


def test_the_test_that_is_written_runs_by_itself(model: Path) -> None:
    result = run_check(f"{model}:good", "--write")
    assert result.exit_code == 0, result.output
    written = model.with_name("test_my_model_s_good_gradient.py")
    first = written.read_text()
    again = run_check(f"{model}:good", "--write")
    assert again.exit_code == 1
    assert isinstance(again.exception, DataError)
    assert "--force replaces it" in str(again.exception)
    assert run_check(f"{model}:good", "--write", "--force").exit_code == 0
    assert written.read_text() == first
    assert run_check(f"{model}:bad", "--write").exit_code == 1
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(model.parent)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=model.parent)
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "the gradient of 'w' is not that of the loss" in done.stdout
