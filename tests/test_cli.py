"""The command line: what it prints, what it writes, how it fails."""

import builtins
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

import symprop as prop
from symprop import cli, doctor
from symprop.backends import BACKENDS
from symprop.digits import declare
from symprop.model_file import open_model, split

runner = CliRunner()

MODEL = """
import numpy as np
import symprop as prop

x = prop.input("x", "batch pixel=4")
y = prop.labels("y", "batch", classes=3)
net = prop.Sequential(prop.Dense(5, name="hidden"), prop.tanh, prop.Dense(3, name="logits"))
loss = prop.cross_entropy(net(x), y)
step = prop.training_step(loss, prop.SGD(0.1), outputs={"logits": net(x)}, metrics=["accuracy"])
rng = np.random.default_rng(0)
data = {"x": rng.normal(size=(40, 4)), "y": rng.integers(0, 3, size=40)}


def made():
    return prop.training_step(loss, prop.Adam(1e-2))


def batches():
    return [data, data]


def ready():
    return step.compile(seed=3)


print("the file was run")
"""

EXPLAIN = importlib.util.find_spec("symprop.explain.page") is not None


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "model.py"
    path.write_text(MODEL, encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    return path


def run(*words: object) -> str:
    """The standard output of a command that ends well."""
    result = runner.invoke(cli.app, [str(w) for w in words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refused(*words: object) -> str:
    """The one sentence of a command that symprop refuses."""
    result = runner.invoke(cli.app, [str(w) for w in words])
    assert isinstance(result.exception, prop.SympropError), (result.output, result.exception)
    assert not result.stdout
    return str(result.exception)


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
    text = (out / "training_step.py").read_text()
    compile(text, "training_step.py", "exec")
    assert "Training with the NumPy code of the whole step, training_step.py" in result.output
    assert text == declare().compile("numpy").source()  # not labelled: it is what ran

    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert runner.invoke(cli.app, arguments).exit_code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_without_scikit_learn_the_command_that_gets_it_is_named(
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
    monkeypatch.setattr(doctor, "installed", lambda package: None)
    text = doctor.report()
    assert "pip install scikit-learn" in text
    assert "pip install numpy" in text


def test_no_message_tells_to_install_what_no_index_has() -> None:
    """symprop is on no package index, so its extras cannot be asked for by its name."""
    root = Path(prop.__file__).parent.parent
    files = [
        p for folder in ("symprop", "codegen", "examples") for p in (root / folder).rglob("*.py")
    ]
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    assert not [name for name, text in texts.items() if re.search(r"install .{0,3}symprop", text)]
    commands = {name for name, text in texts.items() if re.search(r"pip install\b", text)}
    assert commands == {"errors.py"}


def test_doctor_knows_every_backend() -> None:
    facts = json.loads(run("doctor", "--json"))["facts"]
    assert [f["name"] for f in facts if f["kind"] == "backend"] == [
        f"backend {b}" for b in BACKENDS
    ]
    assert all(f["ready"] for f in facts if f["kind"] == "required")


# --- FILE:NAME ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loss", "step", "made", "ready"])
@pytest.mark.parametrize(
    "verb", [["derive"], ["source"], ["diagnose"], ["train", "--epochs", "1"]], ids=lambda v: v[0]
)
def test_every_verb_reads_a_loss_a_step_a_trainer_and_a_function(
    verb: list[str], name: str, model: Path
) -> None:
    text = run(*verb, f"{model}:{name}")
    assert text.strip()
    assert "the file was run" not in text
    json.loads(run(*verb, f"{model}:{name}", "--json"))


def test_the_name_may_be_left_out_where_there_is_one(model: Path, tmp_path: Path) -> None:
    assert run("source", model) == run("source", f"{model}:loss")
    assert run("diagnose", model) == run("diagnose", f"{model}:step")
    model.write_text(MODEL + "other = 2 * loss\n", encoding="utf-8")
    assert "several models, 'loss', 'other'" in refused("source", model)
    (tmp_path / "empty.py").write_text("x = 1\n", encoding="utf-8")
    assert "holds no scalar loss" in refused("source", tmp_path / "empty.py")


@pytest.mark.parametrize(
    ("target", "file", "name"),
    [
        ("model.py:loss", "model.py", "loss"),
        ("model.py", "model.py", ""),
        (r"C:\models\model.py:loss", r"C:\models\model.py", "loss"),
        (r"C:\models\model.py", r"C:\models\model.py", ""),
        ("C:model", "C:model", ""),
    ],
)
def test_a_target_is_split_at_its_last_colon(target: str, file: str, name: str) -> None:
    assert split(target) == (Path(file), name)


def test_mistakes_in_a_target_are_one_sentence(model: Path) -> None:
    assert "'los'" in refused("source", f"{model}:los")
    assert "did you mean 'loss'?" in refused("source", f"{model}:los")
    assert "of type 'Sequential'" in refused("source", f"{model}:net")
    assert "expression of float and shape" in refused("source", f"{model}:x")
    assert "not 'my-loss'" in refused("source", f"{model}:my-loss")
    assert "is a folder" in refused("source", model.parent)
    assert "did you mean 'model.py'?" in refused("source", model.parent / "modle.py")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ny = 1 / 0\n", "stopped at bad.py:2: ZeroDivisionError: 'division by zero'"),
        ("def f(:\n", "stopped at bad.py:1: SyntaxError"),
        ("import sys\nsys.exit(3)\n", "stopped at bad.py:2: SystemExit"),
        ("import symprop as prop\n\nprop.input('2x', 'batch')\n", "(bad.py:3)"),
        ("import nowhere_to_be_found\n", "ModuleNotFoundError"),
    ],
)
def test_a_file_that_stops_is_named_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(text, encoding="utf-8")
    assert said in refused("source", f"{tmp_path / 'bad.py'}:loss")


def test_a_function_that_stops_is_named_with_its_line(model: Path) -> None:
    model.write_text(MODEL + "def broken():\n    return loss.nothing\n", encoding="utf-8")
    last = len(model.read_text(encoding="utf-8").splitlines())
    assert f"model.py:{last}: AttributeError" in refused("source", f"{model}:broken")


def test_a_file_imports_what_lies_beside_it_and_leaves_nothing(model: Path) -> None:
    (model.parent / "layers_of_mine.py").write_text("WIDTH = 4\n", encoding="utf-8")
    model.write_text("import layers_of_mine\n" + MODEL, encoding="utf-8")
    assert open_model(f"{model}:loss").names["layers_of_mine"].WIDTH == 4
    assert "__main__" not in str(open_model(str(model)).names.get("__name__"))


# --- verbs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [*BACKENDS, "program", "loops"])
def test_source_prints_every_text(backend: str, model: Path) -> None:
    data = json.loads(run("source", f"{model}:loss", "--backend", backend, "--json"))
    assert data["backend"] == backend
    assert data["source"].rstrip() == run("source", f"{model}:loss", "--backend", backend).rstrip()
    assert "grad_hidden_weight" in data["source"]
    if backend in BACKENDS and BACKENDS[backend].language == "Python":
        compile(data["source"], "source.py", "exec")


@pytest.mark.parametrize(("verb", "texts"), [("source", ["program", "loops"]), ("train", [])])
def test_the_help_names_every_backend(verb: str, texts: list[str]) -> None:
    shown = " ".join(re.split(r"[\s│]+", run(verb, "--help")))
    *first, last = [*BACKENDS, *texts]
    assert f"{', '.join(first)} or {last}." in shown


def test_source_takes_a_width_and_refuses_a_backend_that_is_none(model: Path) -> None:
    assert "float64." in run("source", f"{model}:step", "--dtype", "float64")
    said = refused("source", f"{model}:loss", "--backend", "fortran")
    assert "choose one of 'native', 'numpy'" in said
    wrong = runner.invoke(cli.app, ["source", f"{model}:loss", "--dtype", "float8"])
    assert wrong.exit_code == 2


def test_derive_shows_all_parameters_or_one(model: Path) -> None:
    data = json.loads(run("derive", f"{model}:loss", "--json"))["gradients"]
    assert sorted(data) == ["hidden.bias", "hidden.weight", "logits.bias", "logits.weight"]
    text = run("derive", f"{model}:loss", "--wrt", "hidden.bias")
    assert text.startswith("== gradient of hidden.bias ==")
    assert text.count("== gradient") == 1
    assert "'hidden.weight'" in refused("derive", f"{model}:loss", "--wrt", "hidden.wieght")


def test_diagnose_looks_at_a_few_examples(model: Path) -> None:
    data = json.loads(run("diagnose", f"{model}:step", "--batch-size", "7", "--json"))
    assert [row["shape"] for row in data["layers"]] == [[7, 5], [7, 3]]
    assert "keep their scale, within" in run("diagnose", f"{model}:step")
    assert "arrays by name" in refused("diagnose", f"{model}:step", "--data", "batches")
    seeds = [run("diagnose", f"{model}:step", "--seed", str(s)) for s in (1, 1, 2)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_train_prints_and_writes_what_was_trained(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--epochs", "3", "--validation-split", "0.25", "--out", str(out)]
    text = run("train", f"{model}:step", *options)
    assert text.startswith("after 3 epochs: loss ")
    assert "validation_accuracy" in text
    weights = load_file(out / "weights.safetensors")
    assert weights["hidden.weight"].shape == (5, 4)
    data = json.loads(run("train", f"{model}:step", *options, "--json"))
    assert len(data["history"]["loss"]) == 3
    assert {Path(name).name for name in data["files"]} == {path.name for path in out.iterdir()}
    again = load_file(out / "weights.safetensors")
    assert all(np.array_equal(weights[name], again[name]) for name in weights)


def test_train_takes_batches_and_refuses_what_does_not_fit(model: Path) -> None:
    run("train", f"{model}:step", "--data", "batches", "--epochs", "1")
    assert "--rate is for a loss" in refused("train", f"{model}:step", "--rate", "0.1")
    assert "--backend is for a loss" in refused("train", f"{model}:ready", "--backend", "numpy")
    said = refused("train", f"{model}:step", "--data", "nothing")
    assert said.endswith("has no name 'nothing': its data are 'data'")
    said = refused("train", f"{model}:step", "--data", "daten")
    assert said.endswith("has no name 'daten'; did you mean 'data'?")
    said = refused("train", f"{model}:step", "--data", "nope")  # the file's np is no data
    assert said.endswith("has no name 'nope': its data are 'data'")
    model.write_text(MODEL.replace("data = {", "other = {"), encoding="utf-8")
    assert "has no data" in refused("train", f"{model}:step")


def test_an_interrupt_of_a_training_writes_nothing(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupts(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("symprop.training.Trainer.fit", interrupts)
    out = model.parent / "out"
    result = runner.invoke(cli.app, ["train", f"{model}:step", "--out", str(out)])
    assert result.exit_code == 130
    assert not out.exists()


def test_an_interrupt_of_any_verb_has_its_status(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupts(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("symprop.commands.derive", interrupts)
    monkeypatch.setattr("sys.argv", ["symprop", "derive", f"{model}:loss"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 130


def test_a_folder_of_an_earlier_run_is_named_before_it_is_replaced(
    model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["train", f"{model}:step", "--epochs", "1", "--out", str(out)]
    first, second = (runner.invoke(cli.app, words) for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    assert "earlier run" not in first.stderr
    assert f"{out} holds an earlier run: training_step.py, training_step.txt," in second.stderr
    assert first.stdout == second.stdout


def test_a_misspelt_example_is_recognised() -> None:
    assert refused("train", "digitz") == "there is no file 'digitz'; did you mean 'digits'?"
    assert "did you mean" not in refused("train", "nothing_of_the_kind.py:loss")


@pytest.mark.parametrize("option", [["--data", "d"], ["--json"], ["--validation-split", "0.1"]])
def test_digits_takes_no_options_of_a_model(option: list[str]) -> None:
    result = runner.invoke(cli.app, ["train", "digits", *option])
    assert result.exit_code == 2
    assert option[0] in result.output


@pytest.mark.skipif(not EXPLAIN, reason="explain is not there")
def test_explain_prints_every_form(model: Path, tmp_path: Path) -> None:
    target = f"{model}:loss"
    assert "δ" in run("explain", target)
    assert "\\delta" in run("explain", target, "--format", "latex")
    assert "<math" in run("explain", target, "--format", "html")
    assert run("explain", target, "--json") == run("explain", target, "--format", "json")
    json.loads(run("explain", target, "--json"))
    assert run("explain", target, "--language", "fr") != run("explain", target)
    run("explain", target, "--at", "data")
    page = tmp_path / "page.html"
    assert not run("explain", target, "--format", "html", "--out", page)
    assert page.read_text(encoding="utf-8") == run("explain", target, "--format", "html")[:-1]
    for word in ("html", "text", "latex"):
        wrong = runner.invoke(cli.app, ["explain", target, "--json", "--format", word])
        assert wrong.exit_code == 2
        assert f"leave it or --format {word} out" in " ".join(re.split(r"[\s│]+", wrong.output))
    run("explain", target, "--json", "--format", "json")
    for option in (["--format", "pdf"], ["--language", "xx"], ["--notation", "words"]):
        assert runner.invoke(cli.app, ["explain", target, *option]).exit_code == 2


# --- as a command of the shell ------------------------------------------------------------------


def shell(*words: str, **options: Any) -> subprocess.Popen[str]:
    root = Path(prop.__file__).parent.parent
    return subprocess.Popen(
        [sys.executable, "-m", "symprop.cli", *words],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_an_error_is_one_sentence_and_status_one(model: Path) -> None:
    with shell("source", f"{model}:nothing") as process:
        output, error = process.communicate()
    assert process.returncode == 1
    assert not output
    said = [line for line in error.splitlines() if line != "the file was run"]
    assert len(said) == 1
    assert said[0].startswith("symprop: ")


@pytest.mark.skipif(os.name != "posix", reason="pipes break otherwise elsewhere")
def test_a_reader_that_stops_reading_ends_it_quietly(model: Path) -> None:
    with shell("derive", f"{model}:loss") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        error = process.stderr.read()
    assert error == "the file was run\n"
