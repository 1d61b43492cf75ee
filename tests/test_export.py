"""A step as a library for C: what is written, and the program that tests it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import symprop as prop
from codegen.llvm.artifact_machine import architecture, needed, refusal
from codegen.llvm.target import X86_64_AVX2
from symprop import cli
from symprop import manifest as form
from symprop.export import TARGETS
from symprop.manifest import MANIFEST
from tests.exported import (
    CC,
    PYTHON,
    STEPS,
    checked,
    described,
    needs_cc,
    refused,
    small,
    trainer,
)

pytest.importorskip("llvmlite")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="an export is for Linux")
needs_v3 = pytest.mark.skipif(
    bool(refusal("x86_64", needed(X86_64_AVX2))), reason="this processor lacks x86-64-v3"
)


# --- the self-test --------------------------------------------------------------------------------


@needs_cc
def test_the_self_test_builds_without_a_library_and_passes(folder: Path) -> None:
    status, report = checked(folder, "digits", "-nodefaultlibs", "-lc")
    assert status == 0
    assert report.startswith("digits: self-test, tolerance 0.001\n")
    assert "wrong calls of digits_step are refused: yes" in report
    assert report.count("equal to the last bit") == 7
    assert report.endswith("passed\n")


@needs_cc
def test_the_self_test_links_with_the_archive_and_with_the_shared_library(folder: Path) -> None:
    for rest in (["libdigits.a"], ["-L.", "-ldigits", "-Wl,-rpath,."]):
        subprocess.run(["cc", "selftest.c", *rest, "-o", "selftest"], cwd=folder, check=True)
        done = subprocess.run(["./selftest"], cwd=folder, capture_output=True, text=True)
        assert done.stdout.endswith("passed\n")


@needs_cc
@pytest.mark.parametrize("table", ["expected_step_loss", "expected_predict_logits", "start_x"])
def test_the_self_test_fails_where_a_value_differs(folder: Path, table: str) -> None:
    source = folder / "selftest.c"
    text = source.read_text()
    at = text.index("{\n", text.index(f" {table}["))
    end = text.index(",", at)
    source.write_text(f"{text[:at]}{{\n    9.5e+01f{text[end:]}")
    status, report = checked(folder, "digits")
    assert status == 1
    assert "WRONG" in report
    assert report.endswith("FAILED\n")


@needs_cc
@needs_v3
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind")
def test_the_self_test_passes_under_valgrind(tmp_path: Path) -> None:
    """Every array is a piece of the heap of its own, so a step beside one would be seen."""
    trainer().export(tmp_path / "digits", "x86-64-v3")  # valgrind does not know AVX-512
    checker = ("valgrind", "-q", "--leak-check=full", "--error-exitcode=9")
    status, report = checked(tmp_path / "digits", "digits", before=checker)
    assert status == 0, report
    assert report.endswith("passed\n")


@needs_cc
def test_the_self_test_passes_under_sanitizers(folder: Path) -> None:
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover"]
    command = ["cc", "-x", "c", *flags, "-", "-o", "probe"]
    program = b"int main(void) { return 0; }"
    probe = subprocess.run(command, cwd=folder, input=program, capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("the C compiler has no sanitizers")
    status, report = checked(folder, "digits", *flags)
    assert status == 0, report


@pytest.mark.slow
def test_the_self_test_passes_on_64_bit_arm_under_emulation(tmp_path: Path) -> None:
    """Built with a cross compiler from PyPI (ziglang), run by QEMU's translator (unicorn)."""
    pytest.importorskip("unicorn", reason="the package unicorn is not installed")
    pytest.importorskip("ziglang", reason="the package ziglang is not installed")
    from tests.emulated import run

    caches = {f"ZIG_{kind}_CACHE_DIR": str(tmp_path / kind) for kind in ("GLOBAL", "LOCAL")}
    for name, make in {"digits": trainer, **STEPS}.items():
        own = make() if name == "digits" else make().compile("native")
        done = own.export(tmp_path / name, "aarch64")
        assert "linux on aarch64" in str(done)
        command = [
            sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl", "-static",
            "-O1", "-s", "-fno-sanitize=undefined", "selftest.c", f"{name}.o", "-o", "selftest",
        ]  # fmt: skip
        environment = {**os.environ, **caches}
        subprocess.run(command, cwd=tmp_path / name, env=environment, check=True)
        status, report = run(tmp_path / name / "selftest")
        assert status == 0, report
        assert report.endswith("passed\n")


def test_the_batch_of_the_self_test_can_be_the_users(tmp_path: Path) -> None:
    x = prop.input("x", "batch feature=3")
    w = prop.parameter("w", (3,), prop.Constant(1.0))
    step = prop.training_step(prop.mean(prop.log(x @ w)), prop.SGD(0.1))
    own = step.compile("native")
    refused(lambda: own.export(tmp_path / "m"), "'loss'", "not finite", "sample=")
    assert not (tmp_path / "m").exists()
    own.export(tmp_path / "m", sample={"x": np.ones((2, 3))})
    assert described(tmp_path / "m")["self_test"]["sizes"] == {"batch": 2}
    own.parameters["w"][0] = np.nan
    refused(lambda: own.export(tmp_path / "n"), "'w'", "not finite")


def test_large_weights_are_recorded_by_their_first_elements(tmp_path: Path) -> None:
    x = prop.input("x", "batch feature=300")
    net = prop.Sequential(prop.Dense(200, name="wide"), prop.tanh, prop.Dense(1, name="out"))
    own = prop.training_step(prop.mean(net(x) ** 2), prop.SGD(0.1)).compile("native")
    own.export(tmp_path / "m")
    text = (tmp_path / "m" / "selftest.c").read_text()
    assert "/* wide.weight, 60000 elements */" in text
    assert len(text) < 200_000
    if CC is not None:
        assert checked(tmp_path / "m", "m")[0] == 0


# --- what is written ------------------------------------------------------------------------------


def test_the_manifest_lists_all_files_with_their_digests(original: Path) -> None:
    found = described(original)
    names = sorted(p.name for p in original.iterdir())
    assert sorted([*found["files"], MANIFEST]) == names
    for name, row in found["files"].items():
        data = (original / name).read_bytes()
        assert row == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    fields = [a["name"] for a in found["functions"]["step"]["arrays"]]
    assert fields[:3] == ["x", "y", "hidden.weight"]
    assert fields[-2:] == ["loss", "accuracy"]
    text = (original / MANIFEST).read_text()
    assert str(original) not in text
    assert form.written(form.read(text.encode())) == text.encode()


@pytest.mark.parametrize("target", TARGETS)
def test_an_export_for_every_machine_is_the_same_again(target: str, tmp_path: Path) -> None:
    one = small().export(tmp_path / "m", target)
    again = small().export(tmp_path / "m", target)
    assert one.sha256 == again.sha256
    machine = described(tmp_path / "m")["machine"]
    here = target == "host" or target.startswith(architecture().replace("_", "-"))
    assert (machine["architecture"] == architecture()) == here


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import sys; from tests.exported import small\n"
        "print(small().export(sys.argv[1], 'x86-64').sha256)"
    )
    environment = {**PYTHON, "PYTHONHASHSEED": "12345"}
    command = [sys.executable, "-c", code, str(tmp_path / "m")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{small().export(tmp_path / 'm', 'x86-64').sha256}\n"


def test_an_export_replaces_an_export_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    small().export(folder, name="digits")
    (folder / "notes.txt").write_text("mine")
    before = sorted(p.name for p in folder.iterdir())
    refused(lambda: small().export(folder, name="digits"), "notes.txt")
    assert sorted(p.name for p in folder.iterdir()) == before
    (tmp_path / "file").write_text("mine")
    refused(lambda: small().export(tmp_path / "file"), "not a folder")
    os.symlink(folder, tmp_path / "link")
    refused(lambda: small().export(tmp_path / "link"), "symbolic link")
    refused(lambda: small().export(tmp_path / "new", "pdp-11"), "'pdp-11'", "'host'", "'aarch64'")
    refused(lambda: small().export(tmp_path / "new", name=3), "name of a library")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "name",
    ["int", "a b", "../up", "\u202ex", "$(touch x)", "'; rm -rf /'", "", "9", "-o", "é" * 99],
)
def test_any_name_makes_a_library(name: str, tmp_path: Path) -> None:
    step = prop.training_step(
        prop.sum(prop.parameter("long", (2,), prop.Constant(1.0)) ** 2), prop.SGD(0.1)
    )
    step.compile("native").export(tmp_path / "f", name=name)
    artifact = prop.load(tmp_path / "f")
    assert artifact.manifest.name.isidentifier()
    assert artifact.step({}) == 2
    if CC is not None:
        assert checked(tmp_path / "f", artifact.manifest.name)[0] == 0


# --- the command line -----------------------------------------------------------------------------

MODEL = """
import numpy as np
import symprop as prop
x = prop.input("x", "batch pixel=4")
net = prop.Sequential(prop.Dense(3, name="hidden"), prop.tanh, prop.Dense(1, name="out"))
loss = prop.mean(net(x) ** 2)
data = {"x": np.random.default_rng(0).normal(size=(40, 4))}
"""


def test_the_command_line_exports_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "model.py").write_text(MODEL)
    words = ["export", str(tmp_path / "model.py:loss"), "--to", str(tmp_path / "net")]
    shown = CliRunner().invoke(cli.app, words)
    assert shown.exit_code == 0, shown.output
    assert "net.o" in shown.stdout
    assert "SHA-256 of manifest.json" in shown.stdout
    assert prop.load(tmp_path / "net").step({"x": np.ones((2, 4))}) > 0
    more = ["--target", "aarch64", "--name", "arm", "--sample", "data", "--json"]
    shutil.rmtree(tmp_path / "net")
    shown = CliRunner().invoke(cli.app, [*words, *more])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert "arm.o" in found["files"]
    assert described(tmp_path / "net")["self_test"]["sizes"] == {"batch": 5}
    wrong = CliRunner().invoke(cli.app, [*words, "--target", "vax"])
    assert isinstance(wrong.exception, prop.UnsupportedError)
