"""Every example runs as a user runs it."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.mark.parametrize("name", [p.name for p in sorted(EXAMPLES.glob("*.py"))])
def test_example_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    printed = capsys.readouterr().out
    assert "def " in printed
    if name == "tour.py":
        errors = [float(line.split()[-1]) for line in printed.splitlines() if " digits by " in line]
        assert len(errors) == 5
        assert max(errors) < 1e-14
    else:
        assert float(printed.split()[-1]) > 0.93
