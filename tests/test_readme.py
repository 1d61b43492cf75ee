"""README tells the truth: its code runs, its NumPy is what is generated, its links exist."""

import io
import re
import sys
import tomllib
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

import symprop as prop
from symprop import cli
from symprop.backends import BACKENDS
from symprop.clipping import CLIPPERS
from symprop.ops.losses import LOSSES
from symprop.optimizers import OPTIMIZERS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GENERATED = re.compile(r"<!-- GENERATED.*?-->\n```python\n(.*?)```\n<!-- END", re.DOTALL)


def blocks() -> list[str]:
    """The Python that a reader would type: not what was generated."""
    return re.findall(r"```python\n(.*?)```", GENERATED.sub("", README), re.DOTALL)


def shown(mark: str) -> list[str]:
    """The lines between two marks that quote what was printed."""
    (text,) = re.findall(rf"<!-- {mark}: .*?-->\n```text\n(.*?)```\n<!-- END {mark} -->", README,
                         re.DOTALL)  # fmt: skip
    return text.splitlines()


class Run(NamedTuple):
    """What typing all of the Python leaves behind."""

    names: dict[str, Any]
    printed: list[str]
    folder: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The blocks, run from top to bottom."""
    folder = tmp_path_factory.mktemp("readme")
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.chdir(folder)
        for block in blocks():
            exec(compile(block, "README.md", "exec"), names)
    return Run(names, printed.getvalue().splitlines(), folder)


def test_the_code_runs_from_top_to_bottom(run: Run) -> None:
    assert any(line.startswith("def ") for line in run.printed)
    assert run.names["history"].epochs == 2
    for name in ("curves.png", "history.csv", "weights.safetensors"):
        assert (run.folder / name).stat().st_size > 100


def test_the_lines_of_explain_are_printed_in_this_order(run: Run) -> None:
    lines = shown("EXPLAIN")
    assert len(lines) == 10
    printed = iter(run.printed)
    for line in lines:
        assert line in printed, line  # goes on where the line before was found


def test_the_exercise_is_answered_as_shown(run: Run) -> None:
    (line,) = shown("SAME")
    assert line in run.printed


def test_the_bare_loop_trains(run: Run) -> None:
    losses = [float(line.split()[1]) for line in run.printed if re.match(r"loss \d", line)]
    assert len(losses) == 20
    assert losses[-1] < losses[0]


def test_the_diagnosis_is_of_the_network_above(run: Run) -> None:
    assert any(line.startswith("loss on this batch:") for line in run.printed)


def test_each_backend_is_in_the_table_and_shown_by_its_text(run: Run) -> None:
    table = README.split("## Backends")[1].split("## ")[0]
    assert re.findall(r'^\| `"(.*?)"` ', table, re.MULTILINE) == list(BACKENDS)
    assert "@njit" in "\n".join(run.printed)
    assert "define void @training_step" in "\n".join(run.printed)
    assert "schedule" in run.printed


def test_the_commands_run_on_the_file_that_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model,) = re.findall(r"<!-- MODEL: .*?-->\n```python\n(.*?)```", README, re.DOTALL)
    (commands,) = re.findall(r"<!-- command: verbs -->\n```sh\n(.*?)```", README, re.DOTALL)
    (tmp_path / "model.py").write_text(model, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for command in commands.splitlines():
        program, *words = command.split()
        assert program == "symprop"
        result = CliRunner().invoke(cli.app, words)
        assert result.exit_code == 0, (command, result.output, result.exception)
    assert (tmp_path / "page.html").exists()
    assert len(list((tmp_path / "trained").iterdir())) == 4


def test_the_commands_shown_are_all_there_are() -> None:
    (commands,) = re.findall(r"<!-- command: verbs -->\n```sh\n(.*?)```", README, re.DOTALL)
    verbs = {line.split()[1] for line in commands.splitlines()}
    assert verbs == {command.callback.__name__ for command in cli.app.registered_commands}


def test_every_loss_optimizer_and_clip_that_is_named_exists() -> None:
    section = README.split("## Training")[1].split("## ")[0]
    for registry in (LOSSES, OPTIMIZERS, CLIPPERS):
        for name in registry:
            assert f"{name}`" in section or f"{name}(" in section, name


def test_every_extra_is_explained() -> None:
    table = README.split("## Dependencies")[1].split("## ")[0]
    for extra in PROJECT["optional-dependencies"]:
        assert f"extra `{extra}`" in table, extra


def test_the_declaration_is_ten_lines() -> None:
    assert len([line for line in blocks()[0].splitlines() if line]) == 10


def test_the_numpy_shown_is_the_numpy_generated() -> None:
    names: dict[str, Any] = {}
    exec(compile(blocks()[0], "README.md", "exec"), names)
    source = prop.compile([names["loss"], *names["gradients"]]).source()
    (shown,) = GENERATED.findall(README)
    assert shown.strip()
    assert shown in source


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 10
    for link in links:
        assert (ROOT / link).exists(), link


def test_every_dependency_has_a_reason() -> None:
    table = README.split("## Dependencies")[1].split("## ")[0]
    extras = [entry for group in PROJECT["optional-dependencies"].values() for entry in group]
    for requirement in [*PROJECT["dependencies"], *extras]:
        name = re.split(r"[\[<>=]", requirement)[0]
        assert name == "symprop" or re.search(rf"^\|.*\b{name}\b.*\|.*\|$", table, re.MULTILINE)


def test_the_commands_are_marked_for_ci() -> None:
    for name in ("train", "tests"):
        found = re.search(rf"<!-- command: {name} -->\n```sh\n(.+)\n```", README)
        assert found, name
