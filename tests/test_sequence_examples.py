"""The examples of sequences and codes: names (LSTM), gpt, vae; and their losses beside torch's.

In: examples/*.py, run as a user runs them, with fewer steps in the default suite and in full as
`slow`; the trainings of tests/peers/trained.py, with torch's losses as they were stored.
"""

from __future__ import annotations

import io
import re
import runpy
from contextlib import redirect_stdout
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from peers.trained import STEPS, TRAININGS, losses

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
needs_names = pytest.mark.skipif(not find_spec("names"), reason="the package names is missing")


def run(folder: Path, name: str, **constants: object) -> str:
    """What an example prints, run in this folder with other values of its constants."""
    source = (EXAMPLES / name).read_text(encoding="utf-8")
    for word, value in constants.items():
        names, values = re.findall(rf"^((?:[A-Z]+, )*{word}(?:, [A-Z]+)*) = (.+)$", source, re.M)[0]
        given = values.split(", ")
        given[names.split(", ").index(word)] = repr(value)
        source = source.replace(f"{names} = {values}", f"{names} = {', '.join(given)}")
        assert repr(value) in source
    (folder / name).write_text(source, encoding="utf-8")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.chdir(folder)
        runpy.run_path(name, run_name="__main__")
    return printed.getvalue()


def number(pattern: str, printed: str) -> float:
    (found,) = re.findall(pattern, printed)
    return float(found)


PERPLEXITY = r"a letter: ([\d.]+) of 27"
BITS = r"held out: ([\d.]+) bits"
NATS = r"at most ([\d.]+) nats"


@needs_names
def test_names_shows_its_backward_turn_and_makes_up_names(tmp_path: Path) -> None:
    printed = run(tmp_path, "names.py", EPOCHS=1, UNITS=16)
    assert "new_sum_d_lstm_hidden = sum_d_lstm_hidden + d_lstm_input.T @ carry0" in printed
    assert number(PERPLEXITY, printed) < 20
    made_up = printed.split("new names: ")[1].split(", ")
    assert len(made_up) > 20
    assert all(re.fullmatch("[A-Z][a-z]*", word.strip()) for word in made_up if word.strip())


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_gpt_learns_and_writes(tmp_path: Path, positions: str) -> None:
    printed = run(
        tmp_path, "gpt.py", STEPS=60, TIME=16, WIDTH=16, BLOCKS=1, BATCH=8, POSITIONS=positions
    )
    assert "np.where(mask, np.exp(scores - max_scores[:, None]), 0)" in printed
    assert number(BITS, printed) < 6.3  # log2(103) = 6.7
    written = printed.split("bits a character\n\n")[1]
    assert written.startswith("The ")
    assert len(written) == 401


def test_vae_prints_a_grid_of_digits(tmp_path: Path) -> None:
    printed = run(tmp_path, "vae.py", EPOCHS=2, HIDDEN=16)
    assert "grad_middle = 2 * value * middle" in printed
    assert number(NATS, printed) < 40
    grid = printed.split("\n\n")[-2 if find_spec("matplotlib") else -1].splitlines()
    assert len(grid) == 40
    assert (tmp_path / "vae.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
@needs_names
def test_names_reaches_its_figure(tmp_path: Path) -> None:
    assert number(PERPLEXITY, run(tmp_path, "names.py")) < 7.1


@pytest.mark.slow
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_gpt_reaches_its_figure(tmp_path: Path, positions: str) -> None:
    assert number(BITS, run(tmp_path, "gpt.py", POSITIONS=positions)) < 2.3


@pytest.mark.slow
def test_vae_reaches_its_figure(tmp_path: Path) -> None:
    assert number(NATS, run(tmp_path, "vae.py")) < 24.6


# --- losses beside torch's ------------------------------------------------------------------------

# The bar is a part in a thousand after the last step; what is found is far below it.
BOUND = {"float32": 1e-4, "float64": 1e-9}

QUICK = ("native", "float32")
EVERY = [
    pytest.param(name, *way, marks=[] if way == QUICK else [pytest.mark.slow])
    for name in TRAININGS
    for way in product(("native", "numpy"), BOUND)
]


@pytest.mark.parametrize(("name", "backend", "dtype"), EVERY)
def test_losses_of_200_steps_are_those_of_torch(name: str, backend: str, dtype: str) -> None:
    one = TRAININGS[name]
    _, theirs = one.stored()
    ours = losses(one, backend, dtype)
    assert len(ours) == len(theirs) == STEPS
    assert theirs[-1] < 0.7 * theirs[0]
    np.testing.assert_allclose(ours, theirs, rtol=BOUND[dtype])
