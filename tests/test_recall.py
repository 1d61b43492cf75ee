"""Machine code of another process is found again, and only for the very same program."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop import recall
from symprop.function import compile_program

pytest.importorskip("llvmlite")

ROOT = Path(__file__).resolve().parents[1]


def hidden(name: str = "hidden", width: int = 4, rate: float = 0.1, batch: str = "batch") -> Any:
    x = prop.input("x", f"{batch} feature=3")
    net = prop.Sequential(prop.Dense(width, name=name), prop.tanh, prop.Dense(1, name="out"))
    return prop.training_step(prop.mean(net(x) ** 2), prop.SGD(rate))


def name_of(step: Any, **changed: Any) -> str | None:
    work = step.compiled("numpy").work
    return recall.name(replace(work, backend="native", **changed))


def table(value: float) -> Any:
    x = prop.input("x", "batch feature=3")
    return x * prop.constant(np.array([1.0, 2.0, value]), "table")


PAIRS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "a layer's name": (hidden, lambda: hidden("other")),
    "a width": (hidden, lambda: hidden(width=5)),
    "a number in a formula": (hidden, lambda: hidden(rate=0.2)),
    "a dimension's name": (hidden, lambda: hidden(batch="example")),
    "a fixed batch": (hidden, lambda: hidden(batch="batch=8")),
}


@pytest.mark.parametrize("what", PAIRS)
def test_another_program_has_another_name(what: str) -> None:
    one, other = PAIRS[what]
    assert name_of(one()) is not None
    assert name_of(one()) == name_of(one())
    assert name_of(one()) != name_of(other())


@pytest.mark.parametrize(
    "changed",
    [{"dtype": "float64"}, {"name": "other"}, {"marked": False}, {"declared": ()}],
    ids=str,
)
def test_another_setting_has_another_name(changed: dict[str, Any]) -> None:
    step = hidden()
    assert name_of(step, **changed) != name_of(step)


def work_of(output: Any) -> Any:
    return replace(compile_program([output], backend="numpy").work, backend="native")


def test_the_values_of_a_constant_are_in_the_name() -> None:
    assert recall.name(work_of(table(3.0))) == recall.name(work_of(table(3.0)))
    assert recall.name(work_of(table(3.0))) != recall.name(work_of(table(4.0)))


def test_a_program_with_a_function_of_the_users_has_no_name() -> None:
    cubed = prop.elementwise("cubed", lambda v: v * v * v)
    x = prop.input("x", "batch feature=3")
    assert recall.name(work_of(cubed(x))) is None
    assert recall.name(work_of(prop.sum(x))) is not None


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A time, after which a package was put in place with files that say they are old."""
    before = time.time_ns() - 10**9
    for package in ("symprop", "codegen"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "part.py").write_text("number = 1\n", encoding="utf-8")
        os.utime(tmp_path / package / "part.py", (0, 0))
    monkeypatch.setattr(recall, "__file__", str(tmp_path / "symprop" / "recall.py"))
    recall._sources.cache_clear()
    yield before
    recall._sources.cache_clear()


@pytest.mark.parametrize("late", [False, True])
def test_text_that_changed_after_it_was_loaded_gives_no_name(
    started: int, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "STARTED", started if late else started + 10**11)
    assert (recall._sources() is None) is late


PROGRAM = """
import numpy as np
import symprop as prop
x = prop.input("x", "batch feature=3")
whole = prop.constant(np.array([2**53 + 1]), "whole")
net = prop.Sequential(prop.Dense(4, name="hidden"), prop.tanh, prop.Dense(1, name="out"))
step = prop.training_step(prop.mean(net(x) ** 2), prop.SGD(0.1), outputs={"out": net(x)})
trainer = step.compile("native", seed=0)
data = {"x": np.arange(15.0).reshape(5, 3) / 15}
trainer.bind(data, batch_size=2, shuffle=True)
found = [*trainer.run(4).tolist(), *trainer.predict(data)["out"].ravel().tolist()]
f = prop.compile([whole, prop.sum(x)], backend="native")
passes = "_passed" in step.compiled("native").__dict__
print(found, [a.tolist() for a in f(data)], trainer.from_cache, f.compiled.from_cache, passes)
"""


def test_a_second_process_runs_no_pass_and_computes_the_same(tmp_path: Path) -> None:
    def process(seed: int) -> str:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
        env["PYTHONHASHSEED"] = str(seed)
        done = subprocess.run(  # this Python, a program of this file
            [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=True
        )
        return done.stdout

    first, second = process(1), process(2)
    assert first.endswith("False False True\n")
    assert second == first.replace("False False True", "True True False")
    assert str(2**53 + 1) in second
