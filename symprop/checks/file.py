"""A gradient test as a file that pytest runs, beside the model.

In: the path of a model, a name in it. Out: the text of the test and its path; `checked`, which the
test calls.

Guarantees: the file runs by itself, with pytest and symprop alone; what is written into it of the
user's names is written as Python's own spelling of a string; equal models give equal files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from symprop.checkpoint import write_file
from symprop.checks.report import Check
from symprop.checks.run import check
from symprop.errors import DataError, quoted
from symprop.model_file import LOSS_FIRST, ModelFile, open_model

__all__ = ["Options", "checked", "of_file", "path_of", "refuse_existing", "text_of", "write"]

TEXT = '''"""The gradients of a model are right: remainders have order 2 at 60 digits, and every
backend keeps the bound of rounding. Written by symprop check --write; run it with pytest.
"""

from pathlib import Path

from symprop.checks.file import checked

MODEL = Path(__file__).with_name({file})


def test_the_gradients_are_right() -> None:
    found = checked(MODEL, {arguments})
    assert found.ok, str(found)
'''


@dataclass(frozen=True)
class Options:
    """Of a check: the name of values in the file, the backends, the seed."""

    at: str | None = None
    backends: Sequence[str] | None = None
    seed: int = 0


def checked(
    path: Path,
    name: str = "",
    at: str | None = None,
    backends: Sequence[str] | None = None,
    seed: int = 0,
) -> Check:
    """The check of a name in a file; `at` names values for variables in it."""
    file = open_model(f"{path}:{name}" if name else str(path))
    return of_file(file, Options(at, backends, seed))


def of_file(file: ModelFile, options: Options) -> Check:
    """The check of a model in a file that was opened."""
    model = file.model(LOSS_FIRST)
    values = None if options.at is None else file.data(options.at)
    return check(model, values, options.backends, options.seed)


def path_of(file: ModelFile) -> Path:
    """Where the test of a model is written: beside it, under a name that pytest collects."""
    words = [file.path.stem, file.name] if file.name else [file.path.stem]
    name = re.sub(r"\W", "_", "_".join(words), flags=re.ASCII)
    return file.path.with_name(f"test_{name}_gradient.py")


def text_of(file: ModelFile, options: Options) -> str:
    """The test of a model."""
    arguments = [ascii(file.name)]
    arguments += [f"at={options.at!a}"] if options.at is not None else []
    arguments += [f"backends={list(options.backends)!a}"] if options.backends else []
    arguments += [f"seed={options.seed}"] if options.seed else []
    return TEXT.format(file=ascii(file.path.name), arguments=", ".join(arguments))


def refuse_existing(file: ModelFile) -> None:
    """Refuse to replace a file."""
    path = path_of(file)
    if path.exists():
        raise DataError(
            f"{quoted(path.name)} is there already, beside the model: --force replaces it"
        )


def write(file: ModelFile, options: Options) -> Path:
    """Write the test of a model, over what is there."""
    path = path_of(file)
    write_file(path, text_of(file, options).encode())
    return path
