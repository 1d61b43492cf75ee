"""Importing symprop: what it loads, and what it says when another codegen comes first."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """A fresh isolated interpreter with these folders first on its path."""
    first = f"import sys; sys.path[:0] = {[str(p) for p in paths]!r}\n"
    return subprocess.run(
        [sys.executable, "-I", "-c", first + code], capture_output=True, text=True, check=False
    )


def test_another_package_called_codegen_is_named(tmp_path: Path) -> None:
    other = tmp_path / "codegen"
    other.mkdir()
    (other / "__init__.py").write_text("", encoding="utf-8")
    done = run("import symprop", tmp_path, ROOT)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: symprop needs its own package 'codegen'")
    assert str(other / "__init__.py") in last


def test_only_numpy_and_sympy_are_loaded() -> None:
    heavy = ["rich", "typer", "safetensors", "sklearn", "matplotlib", "hypothesis"]
    done = run(f"import symprop\nprint([m for m in {heavy} if m in sys.modules])", ROOT)
    assert done.stdout.strip() == "[]", done.stderr
