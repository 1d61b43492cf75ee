"""Every example runs as a user runs it, and what it prints is true."""

import io
import re
import runpy
import struct
import sys
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FIGURES = ["activations.png", "gradients.png", "saturation.png", "training.png"]


def run(name: str, *words: str) -> str:
    """What an example prints, run with these words after its name."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, "argv", [name, *words])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return printed.getvalue()


def numbered(text: str) -> list[str]:
    """The parts below numbered headings; the first is number 1."""
    return re.split(r"^\d+\. .*\n=+\n", text, flags=re.MULTILINE)


def test_every_example_has_a_test() -> None:
    assert sorted(p.name for p in EXAMPLES.iterdir() if p.suffix == ".py") == [
        "chapter.py",
        "digits.py",
        "gpt.py",
        "lenet.py",
        "mnist_1d.py",
        "names.py",
        "residual.py",
        "tour.py",
        "vae.py",
        "vanishing_exploding.py",
    ]


def test_digits_reads_its_step_and_learns() -> None:
    printed = run("digits.py")
    assert "def training_step" in printed
    assert float(printed.split()[-1]) > 0.93


# --- the tour -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tour() -> list[str]:
    """The text of each stage."""
    return numbered(run("tour.py"))


def test_the_tour_stops_after_every_stage(tour: list[str]) -> None:
    shown = [
        "loss : float[]",
        "hidden = product + hidden_bias",
        "d_hidden = d_tanh_hidden * sech2(hidden)",
        "fuse single use",
        "program tour(batch)",
        "part hidden_product:",
        "schedule\n",
        "import numpy as np",
        "@njit",
        "differs from 40 digits",
        "step 200",
    ]
    assert len(tour) == len(shown) + 1
    for stage, text in zip(tour[1:], shown, strict=True):
        assert text in stage


def test_each_stage_of_the_tour_is_introduced_by_two_lines(tour: list[str]) -> None:
    for stage in tour[1:]:
        first, second, blank, *_ = stage.splitlines()
        assert first.strip()
        assert second.strip()
        assert not blank.strip()


def test_the_schedule_of_the_tour_changes_its_nests(tour: list[str]) -> None:
    def nests(stage: str) -> int:
        return len(re.findall(r"^  part ", stage, re.MULTILINE))

    assert nests(tour[7]) < nests(tour[6])
    assert "schedule\n" not in tour[6]


def test_what_runs_in_the_tour_equals_the_oracle(tour: list[str]) -> None:
    lines = [line for line in tour[10].splitlines() if " digits by " in line]
    assert len(lines) % 5 == 0
    assert {line.partition(":")[0] for line in lines} >= {"numpy", "loops"}
    assert max(float(line.split()[-1]) for line in lines) < 1e-14


def test_the_loss_of_the_bare_loop_falls(tour: list[str]) -> None:
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", tour[11])]
    assert len(losses) == 6
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 5


# --- the chapter ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("figures") / "new"


@pytest.fixture(scope="module")
def chapter(folder: Path) -> list[str]:
    return numbered(run("chapter.py", str(folder), "--quick"))


def deep(section: str) -> dict[str, list[float]]:
    """Delta of the first and of the last layer, loss before and after, for each network."""
    row = re.compile(r"^    (\S.*?)  +(\S+) +(\S+) +(\S+) +(\S+)$", re.MULTILINE)
    found = {name: list(map(float, rest)) for name, *rest in row.findall(section)}
    assert len(found) == 6
    return found


def test_the_chapter_shows_the_mathematics_of_each_section(chapter: list[str]) -> None:
    shown = {3: "H₁ = σ(Z₁)", 4: "δ₁ = ∂L/∂h₁ ⊙ σ′(z₁)", 5: "Δ₁ᵀ X", 6: "W₁ ← W₁ − η ∂L/∂W₁"}
    assert len(chapter) == 11
    for number, text in shown.items():
        assert text in chapter[number]
    assert "central difference" in chapter[5]


def test_what_the_chapter_derives_by_hand_is_right_and_its_mistakes_are_found(
    chapter: list[str],
) -> None:
    verdicts = [re.findall(r"^    (Equal|Different):", s, re.MULTILINE) for s in chapter]
    assert verdicts[2] == ["Equal", "Different", "Equal", "Equal"]
    assert verdicts[4] == ["Equal", "Different"]
    assert verdicts[5] == ["Equal"]
    assert verdicts[9] == ["Equal"]
    assert "sigmoid'(z1)" in chapter[4]
    assert "a factor is missing" in chapter[4]


def test_the_updates_of_the_chapter_lower_the_loss_as_expected(chapter: list[str]) -> None:
    rows = [line.split() for line in chapter[6].splitlines() if re.match(r" +[\d.]+ +0\.", line)]
    lowered = {float(row[0]): (float(row[3]), float(row[4])) for row in rows}
    found, expected = lowered[0.01]
    assert found == pytest.approx(expected, rel=0.02)
    assert lowered[100.0][0] < 0


def test_the_chapter_shows_each_activation_with_its_derivative(chapter: list[str]) -> None:
    for name in ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu"):
        assert f"\n{name}\n{'-' * len(name)}\n" in chapter[7]
    assert chapter[7].count("as computed: slope = ") == 6


def test_units_saturate_with_large_weights_and_die_below_zero(chapter: list[str]) -> None:
    rows = [line.split() for line in chapter[7].splitlines() if line.endswith("%")]
    small, large, level, low = [[float(x.rstrip("%")) for x in row] for row in rows]
    assert max(small[1:]) < 5
    assert min(large[1:]) > 50
    assert level[1] < 10
    assert low[1] == 100  # relu
    assert low[2:4] == [0, 0]  # leaky_relu, elu


def test_gradients_vanish_explode_and_are_cured_in_twenty_layers(chapter: list[str]) -> None:
    assert "it vanishes" in chapter[8]
    assert "it explodes" in chapter[8]
    found = deep(chapter[8])
    ratios = {name: first / last for name, (first, last, _, _) in found.items()}
    assert ratios["sigmoid"] < 1e-9
    assert ratios["ReLU, weights 1.5 x He"] > 1e3
    for cured in ("ReLU, He weights", "sigmoid, normalised", "sigmoid, residual"):
        assert 0.1 < ratios[cured] < 10, cured
    assert found["ReLU, 1.5 x He, clipped"][3] < found["ReLU, 1.5 x He, clipped"][2]
    assert found["ReLU, weights 1.5 x He"][3] != found["ReLU, weights 1.5 x He"][3]  # NaN


def test_a_batch_gives_the_sum_over_its_samples(chapter: list[str]) -> None:
    (error,) = re.findall(r"relative difference of the gradients: (\S+)", chapter[9])
    assert float(error) < 1e-12
    assert "times as long" in chapter[9]


def test_a_graph_grows_slower_than_a_formula(chapter: list[str]) -> None:
    rows = re.findall(r"^ +(\d) +([\d,]+) +(\d+)$", chapter[10], re.MULTILINE)
    formula = [int(row[1].replace(",", "")) for row in rows]
    graph = [int(row[2]) for row in rows]
    assert len(rows) == 8
    assert formula[-1] > 2 * formula[-2]
    assert len({b - a for a, b in pairwise(graph)}) == 1  # linear
    assert "def backpropagation" in chapter[10]


def test_the_figures_are_written_and_nothing_else(chapter: list[str], folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == FIGURES
    for name in FIGURES:
        data = (folder / name).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", data[16:24])
        assert (width, height) == (1200, 720)
        assert f"{name}]" in "".join(chapter)


def test_no_line_of_the_chapter_is_wider_than_a_terminal(chapter: list[str]) -> None:
    prose = "\n".join(chapter[:10]).splitlines()
    assert [line for line in prose if len(line) > 100] == []


@pytest.mark.slow
def test_every_cure_of_the_chapter_beats_guessing_and_nothing_else_does(tmp_path: Path) -> None:
    found = deep(numbered(run("chapter.py", str(tmp_path)))[8])
    after = {name: row[3] for name, row in found.items()}
    assert after.pop("sigmoid") > 2.3
    assert not after.pop("ReLU, weights 1.5 x He") < 2.3  # NaN
    for name, loss in after.items():
        assert loss < 2.2, name


@pytest.mark.slow
def test_the_chapter_prints_the_same_every_time(chapter: list[str], tmp_path: Path) -> None:
    def plain(sections: list[str]) -> list[str]:
        lines = "\n".join(sections).splitlines()
        return [n for n in lines if "times as long" not in n and "[figure:" not in n]

    again = numbered(run("chapter.py", str(tmp_path), "--quick"))
    assert plain(again) == plain(chapter)
