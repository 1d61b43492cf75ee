"""The command line: what it prints, what it writes, how it fails."""

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from symprop import cli

runner = CliRunner()


def test_train_digits_writes_its_folder(tmp_path: Path) -> None:
    out = tmp_path / "digits"
    arguments = ["train", "digits", "--epochs", "2", "--seed", "1", "--out", str(out)]
    result = runner.invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    assert 'prop.Dense(64, name="hidden")' in result.output
    assert "grad_hidden_weight" in result.output
    accuracy = float(result.output.split("test accuracy ")[1].split()[0])
    assert accuracy > 0.7
    names = ["history.json", "training_step.py", "training_step.txt", "weights.safetensors"]
    assert sorted(path.name for path in out.iterdir()) == names
    history = json.loads((out / "history.json").read_text())
    assert len(history["loss"]) == len(history["accuracy"]) == 2
    weights = load_file(out / "weights.safetensors")
    assert weights["hidden.weight"].shape == (64, 64)
    assert weights["logits.bias"].dtype == np.float32
    compile((out / "training_step.py").read_text(), "training_step.py", "exec")

    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert runner.invoke(cli.app, arguments).exit_code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_without_scikit_learn_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    original = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.setattr("sys.argv", ["symprop", "train", "digits", "--out", str(tmp_path / "d")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert "pip install scikit-learn" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_a_folder_that_holds_other_files_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    monkeypatch.setattr("sys.argv", ["symprop", "train", "digits", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    assert "thesis.txt" in capsys.readouterr().err


def test_an_interrupt_writes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("symprop.training.Trainer.fit", interrupted)
    result = runner.invoke(cli.app, ["train", "digits", "--out", str(tmp_path / "digits")])
    assert result.exit_code == 130
    assert "interrupted after 0 epochs" in result.output
    assert not (tmp_path / "digits").exists()


@pytest.mark.parametrize("option", [["--epochs", "0"], ["--rate", "x"], ["--batch-size", "-3"]])
def test_wrong_options(option: list[str]) -> None:
    assert runner.invoke(cli.app, ["train", "digits", *option]).exit_code == 2


def test_doctor() -> None:
    result = runner.invoke(cli.app, ["doctor"])
    assert result.exit_code == 0
    for word in ("python", "numpy", "sympy", "backend numpy", "ready"):
        assert word in result.output


def test_doctor_says_how_to_get_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from symprop import doctor

    monkeypatch.setattr(doctor, "installed", lambda package: None)
    text = doctor.report()
    assert "pip install scikit-learn" in text
    assert "pip install numpy" in text
