"""Acceptance of reading and training: what the issue promises, through the public calls alone.

No test asserts a time; tests/benchmarks measures those.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symprop as prop

ROOT = Path(prop.__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}


def raw_mlp() -> tuple[Any, list[Any]]:
    """A two-layer network from bare products, as a student writes it."""
    x = prop.input("x", "batch pixel=4")
    y = prop.labels("y", "batch", classes=3)
    w1 = prop.parameter("hidden.weight", "unit=5 pixel=4", prop.Glorot())
    b1 = prop.parameter("hidden.bias", "unit=5", prop.Zeros())
    w2 = prop.parameter("logits.weight", "digit=3 unit=5", prop.Glorot())
    b2 = prop.parameter("logits.bias", "digit=3", prop.Zeros())
    h = prop.sigmoid(x @ prop.transpose(w1) + b1)
    return prop.cross_entropy(h @ prop.transpose(w2) + b2, y), [w1, b1, w2, b2]


def layered_mlp() -> tuple[Any, list[Any]]:
    """The same from layers."""
    x = prop.input("x", "batch pixel=4")
    y = prop.labels("y", "batch", classes=3)
    net = prop.Sequential(prop.Dense(5, name="hidden"), prop.sigmoid, prop.Dense(3, name="logits"))
    return prop.cross_entropy(net(x), y), list(net.parameters.values())


def command(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "symprop.cli", *words],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


# --- 1. explain -------------------------------------------------------------------------------


def test_explain_prints_the_recursion_of_a_network_in_three_forms() -> None:
    page = prop.explain(layered_mlp()[0])
    assert "δ" in page.text()
    assert "⊙" in page.text()
    assert "\\delta" in page.latex()
    assert "<math" in page.html()
    assert "<script" not in page.html()


def test_explain_prints_the_same_for_a_network_of_bare_products() -> None:
    pages = [prop.explain(loss).equations for loss, _ in (layered_mlp(), raw_mlp())]
    assert [str(e) for e in pages[0]] == [str(e) for e in pages[1]]


def test_explain_speaks_french() -> None:
    english, french = (prop.explain(layered_mlp()[0], language=code) for code in ("en", "fr"))
    assert [str(e) for e in english.equations] == [str(e) for e in french.equations]
    assert "gradient" in french.text().lower()
    assert english.text() != french.text()


def test_explain_substitutes_the_numbers_of_a_sample() -> None:
    sample = {"x": np.ones((2, 4)), "y": np.array([0, 2])}
    page = prop.explain(layered_mlp()[0], at=sample)
    assert "central difference" in page.text()


# --- 2. same ----------------------------------------------------------------------------------


def test_same_proves_an_exercise_and_refutes_a_wrong_one() -> None:
    x = prop.input("x", "n=3")
    (derived,) = prop.gradient(prop.sum(prop.sigmoid(x)), [x])
    mine = prop.sigmoid(x) * (1 - prop.sigmoid(x))
    assert prop.same(mine, derived)
    wrong = prop.same(2 * mine, derived)
    assert not wrong
    assert "2" in str(wrong)


def test_a_derivation_counts_operations_step_by_step() -> None:
    loss, parameters = raw_mlp()
    steps = prop.derivation(prop.gradient(loss, parameters)[0])
    assert all(line.operations is not None for line in steps)


# --- 3, 4. LOOPS and numba ------------------------------------------------------------------------


def test_a_step_is_shown_as_loops_and_as_numba_text() -> None:
    loss, _ = layered_mlp()
    step = prop.training_step(loss, prop.Adam(1e-3))
    assert "for batch" in str(step.loops)
    text = step.source("numba")
    assert "@njit" in text
    assert "cache=True" not in text
    assert "@cuda.jit" in step.source("numba-cuda")


def test_numba_trains_to_the_same_weights_as_numpy() -> None:
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(64, 4)), "y": rng.integers(0, 3, size=64)}
    weights = []
    for backend in ("numpy", "numba"):
        step = prop.training_step(layered_mlp()[0], prop.Adam(1e-2))
        trainer = step.compile(backend, seed=0, dtype="float64")
        trainer.fit(data, epochs=3, batch_size=10, seed=0, progress=False)
        weights.append(dict(trainer.parameters))
    for name, array in weights[0].items():
        np.testing.assert_allclose(weights[1][name], array, rtol=1e-9, atol=1e-12)


# --- 5, 6. training and diagnosis -----------------------------------------------------------------


def test_every_promised_loss_optimizer_and_initialiser_is_there() -> None:
    for name in ("mse", "mae", "huber", "binary_cross_entropy", "cross_entropy"):
        assert callable(getattr(prop, name))
    for name in ("SGD", "Momentum", "Nesterov", "RMSProp", "Adam", "AdamW"):
        assert callable(getattr(prop, name))
    for name in ("LeCun", "Orthogonal", "Zeros", "ClipValue", "ClipNorm", "ClipGlobalNorm"):
        assert callable(getattr(prop, name))


def test_early_stopping_ends_training_and_restores_the_best_weights() -> None:
    loss, _ = layered_mlp()
    trainer = prop.training_step(loss, prop.SGD(5.0), clip=prop.ClipGlobalNorm(10.0)).compile()
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(60, 4)), "y": rng.integers(0, 3, size=60)}
    stop = prop.EarlyStopping(monitor="validation_loss", patience=1)
    history = trainer.fit(
        data, epochs=200, validation_split=0.5, callbacks=[stop], progress=False, batch_size=30
    )
    assert history.epochs < 200


def test_diagnose_says_in_a_sentence_that_gradients_vanish() -> None:
    x = prop.input("x", "batch pixel=8")
    y = prop.labels("y", "batch", classes=3)
    layers: list[Any] = []
    for k in range(12):
        layers += [prop.Dense(8, name=f"layer{k}"), prop.sigmoid]
    loss = prop.cross_entropy(prop.Sequential(*layers, prop.Dense(3, name="logits"))(x), y)
    trainer = prop.training_step(loss, prop.SGD(0.1)).compile("numpy", seed=0)
    rng = np.random.default_rng(0)
    batch = {"x": rng.normal(size=(32, 8)), "y": rng.integers(0, 3, size=32)}
    assert "vanish" in str(prop.diagnose(trainer, batch))


# --- 7, 8. examples and the command line ----------------------------------------------------------


def test_the_chapter_is_there() -> None:
    assert (ROOT / "examples" / "chapter.py").exists()


@pytest.mark.parametrize("verb", ["explain", "source", "derive", "diagnose", "train"])
def test_each_verb_of_the_command_line_reads_a_file(verb: str, tmp_path: Path) -> None:
    model = tmp_path / "model.py"
    model.write_text(
        "import numpy as np\n"
        "import symprop as prop\n"
        'x = prop.input("x", "batch pixel=4")\n'
        'y = prop.labels("y", "batch", classes=3)\n'
        'net = prop.Sequential(prop.Dense(5, name="hidden"), prop.tanh, prop.Dense(3))\n'
        "loss = prop.cross_entropy(net(x), y)\n"
        "step = prop.training_step(loss, prop.SGD(0.1))\n"
        "rng = np.random.default_rng(0)\n"
        'data = {"x": rng.normal(size=(40, 4)), "y": rng.integers(0, 3, size=40)}\n',
        encoding="utf-8",
    )
    name = {"train": "step", "diagnose": "step"}.get(verb, "loss")
    done = command(verb, f"{model}:{name}", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
