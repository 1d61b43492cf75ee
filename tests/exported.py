"""What the tests of exports share: trainers, steps of several kinds, the self-test, run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symprop as prop
from symprop.digits import declare as digits_step
from symprop.manifest import MANIFEST

CC = shutil.which("cc")
ROOT = Path(__file__).resolve().parent.parent
PYTHON = {**os.environ, "PYTHONPATH": str(ROOT)}  # of a process that imports what is tested here
needs_cc = pytest.mark.skipif(CC is None, reason="there is no C compiler")


def batch(examples: int = 6, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "x": rng.uniform(size=(examples, 64)).astype(np.float32),
        "y": rng.integers(0, 10, size=examples),
    }


@cache
def trainer() -> Any:
    """A digits trainer that nobody trains: exports of it are equal."""
    return digits_step().compile("native", seed=3)


@cache
def small() -> Any:
    """The same of a small network."""
    x = prop.input("x", "batch feature=3")
    net = prop.Sequential(prop.Dense(4, name="hidden"), prop.tanh, prop.Dense(1, name="out"))
    return prop.training_step(
        prop.mean(net(x) ** 2), prop.SGD(0.1), outputs={"out": net(x)}
    ).compile("native")


def refused(act: Callable[[], Any], *words: str) -> str:
    """The one sentence with which symprop refuses."""
    with pytest.raises(prop.SympropError) as caught:
        act()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 500
    for word in words:
        assert word in sentence, sentence
    return sentence


def described(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    return found


def checked(folder: Path, name: str, *flags: str, before: tuple[str, ...] = ()) -> tuple[int, str]:
    """The status and the report of the self-test."""
    warnings = ["-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    command = ["cc", *warnings, *flags, "selftest.c", f"{name}.o", "-o", "selftest"]
    subprocess.run(command, cwd=folder, check=True)
    done = subprocess.run(
        [*before, "./selftest"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


# --- steps of several kinds -----------------------------------------------------------------------


def odd() -> Any:
    """A step with a mask, a state that moves, indices, outputs that are no values of their own."""
    x = prop.input("x", "batch time=7 feature=3")
    keep = prop.input("keep", "batch time=7 feature=3", dtype="bool")
    at = prop.indices("at", "batch", 7)
    w = prop.parameter("w", (3, 4), prop.Glorot())
    running = prop.state("running", (4,), prop.Zeros())
    h = prop.where(keep, x, 0.0 * x) @ w + prop.embedding(
        prop.parameter("table", (7, 4), prop.Glorot()), at
    ).reshape((x.shape[0], 1, 4))
    mean = prop.mean(prop.mean(h, axis=0), axis=0)
    loss = prop.mean((h - prop.update(mean, running, 0.9 * running + 0.1 * mean)) ** 2)
    outputs = {"h": h, "again": h, "weight": w, "picked": prop.argmax(h, axis=-1)}
    return prop.training_step(loss, prop.SGD(0.1), outputs=outputs)


def image() -> Any:
    x = prop.input("x", ("batch", 1, 8, 8))
    kernel = prop.parameter("kernel", (3, 1, 3, 3), prop.Glorot())
    h = prop.max_pool2d(
        prop.relu(prop.conv2d(x, kernel, prop.parameter("b", (3,), prop.Zeros()))), 2
    )
    return prop.training_step(prop.mean(h**2), prop.Adam(1e-2))


def recurrence() -> Any:
    """A network over time, whose two sizes are named."""
    x = prop.input("x", "time batch unit=4")
    w = prop.parameter("w", (4, 4), prop.Glorot())

    def turn(h: Any, now: Any) -> Any:
        following = prop.tanh(h @ w + now)
        return following, following

    _, states = prop.scan(turn, prop.sum(x, axis=0) * 0.0, x)
    outputs = {"states": states}
    return prop.training_step(prop.mean(states**2), prop.Adam(1e-2), outputs=outputs)


def fixed() -> Any:
    """A step that has no size to be given."""
    x = prop.input("x", "batch=6 feature=3")
    net = prop.Sequential(prop.Dense(5, name="hidden"), prop.gelu, prop.Dense(1, name="out"))
    return prop.training_step(prop.mean(net(x) ** 2), prop.AdamW(1e-2), outputs={"out": net(x)})


def noisy() -> Any:
    """A step that draws random numbers."""
    x = prop.input("x", "batch feature=8")
    net = prop.Sequential(
        prop.GaussianNoise(0.1), prop.Dense(16), prop.tanh, prop.Dropout(0.5), prop.Dense(3)
    )
    return prop.training_step(prop.mean(net(x) ** 2), prop.SGD(0.1))


STEPS = {"odd": odd, "image": image, "recurrence": recurrence, "fixed": fixed, "noisy": noisy}
