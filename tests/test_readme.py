"""README tells the truth: its code runs, its NumPy is what is generated, its links exist."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import symprop as prop

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
GENERATED = re.compile(r"<!-- GENERATED.*?-->\n```python\n(.*?)```\n<!-- END", re.DOTALL)


def blocks() -> list[str]:
    """The Python that a reader would type: not what was generated."""
    return re.findall(r"```python\n(.*?)```", GENERATED.sub("", README), re.DOTALL)


def test_the_code_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks():
        exec(compile(block, "README.md", "exec"), names)
    assert "def " in capsys.readouterr().out
    assert names["history"].epochs == 2


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
