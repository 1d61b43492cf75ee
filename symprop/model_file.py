"""FILE:NAME on the command line: a Python file is run, and a name in it is looked up.

In: `model.py:loss`. Out: `ModelFile`, the names of the file, and of one of them a loss, a training
step, a trainer or data; a function without arguments stands for what it returns.

Guarantees: the file is run as Python would run it, from its own folder, but not as __main__, and
what it prints goes to the standard error; every mistake is one sentence that says where.
It is the user's own file, and running it is what was asked for: nothing here makes a file of
somebody else's safe to run.
"""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from symprop.data import closest
from symprop.errors import DataError, DeclarationError, SympropError, listed, quoted
from symprop.expression import Expr
from symprop.graph import FLOATS
from symprop.training import Trainer, TrainingStep

__all__ = ["ModelFile", "as_loss", "open_model"]

RUN_NAME = "symprop_model"
SHOWN = 8  # names in a message

Kind = Callable[[Any], bool]


def is_loss(value: Any) -> bool:
    """A float scalar."""
    return isinstance(value, Expr) and not value.ndim and value.dtype in FLOATS


def is_step(value: Any) -> bool:
    return isinstance(value, TrainingStep)


def is_trainer(value: Any) -> bool:
    return isinstance(value, Trainer)


# In the order in which a verb prefers them where no name is given.
LOSS_FIRST: tuple[Kind, ...] = (is_loss, is_step, is_trainer)
STEP_FIRST: tuple[Kind, ...] = (is_trainer, is_step, is_loss)


class ModelFile:
    """A file that was run, and the name that was asked for."""

    def __init__(self, path: Path, name: str, names: Mapping[str, Any]) -> None:
        self.path, self.name, self.names = path, name, names

    def model(self, kinds: tuple[Kind, ...]) -> Any:
        """The loss, step or trainer of the name; without a name, the only one that is there."""
        if not self.name:
            return self._only(kinds)
        found = self.value(self.name)
        if any(kind(found) for kind in kinds):
            return found
        wanted = "a scalar loss, a training step, a trainer or a function that returns one"
        raise DeclarationError(
            f"{quoted(self.name)} in {quoted(self.path)} is {described(found)}, but must be "
            f"{wanted}: {self._there(kinds)}"
        )

    def value(self, name: str) -> Any:
        """What a name stands for; a function without arguments is called."""
        if name not in self.names:
            raise self._unknown(name, f": {self._there(LOSS_FIRST)}")
        value = self.names[name]
        if isinstance(value, FunctionType):
            with running(self.path):
                value = value()
        return value

    def data(self, name: str | None) -> Any:
        """The data of this name, by default `data`."""
        if name is None and "data" not in self.names:
            raise DataError(
                f'{quoted(self.path)} has no data: write  data = {{"x": ..., "y": ...}}  in it, '
                "or a function data() that returns that, or say its name with --data"
            )
        if name is not None and name not in self.names:
            found = [n for n, v in self.names.items() if isinstance(v, Mapping)]
            there = f": its data are {some(found)}" if found else ""
            raise self._unknown(name, there, (Mapping, FunctionType))
        return self.value(name or "data")

    def _unknown(
        self, name: str, there: str, kinds: tuple[type, ...] = (object,)
    ) -> DeclarationError:
        """A name that the file does not have: the one of these kinds that was meant, else what is
        there; a module that the file imports is never meant."""
        public = [
            n
            for n, v in self.names.items()
            if isinstance(v, kinds) and not (n.startswith("_") or isinstance(v, ModuleType))
        ]
        said = closest(name, public) or there
        return DeclarationError(f"{quoted(self.path)} has no name {quoted(name)}{said}")

    def _only(self, kinds: tuple[Kind, ...]) -> Any:
        """The only value of the first kind of which there is one."""
        for kind in kinds:
            found = {n: v for n, v in self.names.items() if not n.startswith("_") and kind(v)}
            if len({id(v) for v in found.values()}) == 1:
                return next(iter(found.values()))
            if found:
                raise DeclarationError(
                    f"{quoted(self.path)} has several models, {some(found)}: choose one, "
                    f"e.g. {self.path.name}:{next(iter(found))}"
                )
        raise DeclarationError(
            f"{quoted(self.path)} holds no scalar loss, training step or trainer: give one a "
            "name in it, or write a function that returns one and say its name"
        )

    def _there(self, kinds: tuple[Kind, ...]) -> str:
        """What could have been asked for."""
        found = [n for n, v in self.names.items() if any(kind(v) for kind in kinds)]
        if found:
            return f"it has {some(found)}"
        others = [
            n
            for n, v in self.names.items()
            if isinstance(v, FunctionType) and not n.startswith("_")
        ]
        return f"it has no loss or step by itself, and the functions {some(others)}"


def some(names: Any) -> str:
    """The first names, quoted."""
    shown = list(names)
    return listed(shown[:SHOWN]) + (", ..." if len(shown) > SHOWN else "")


def described(value: Any) -> str:
    """What a value is, for a message."""
    if isinstance(value, Expr):
        return f"an expression of {value.dtype} and shape {tuple(value.shape)}"
    return f"of type {quoted(type(value).__name__)}"


def as_loss(model: Any) -> Expr:
    """The loss of a loss, a step or a trainer."""
    if isinstance(model, Trainer):
        model = model.training_step
    loss: Expr = model.loss if isinstance(model, TrainingStep) else model
    return loss


# --- running the file ----------------------------------------------------------------------------


def split(target: str) -> tuple[Path, str]:
    """File and name: `model.py:loss`, `C:\\models\\model.py:loss`, or a file alone."""
    file, colon, name = target.rpartition(":")
    if not colon or Path(target).is_file():
        return Path(target), ""
    if name.isidentifier() and len(file) > 1:
        return Path(file), name
    if Path(file).is_file():
        raise DeclarationError(
            f"after the colon of {quoted(target)} comes a name of the file, such as loss, not "
            f"{quoted(name)}"
        )
    return Path(target), ""


def open_model(target: str) -> ModelFile:
    """Run the file that the target names.

    Raises DataError where there is no such file, or where it does not run to its end.
    """
    path, name = split(target)
    if path.is_dir():
        raise DataError(f"{quoted(path)} is a folder: name a Python file in it")
    if not path.is_file():
        raise DataError(f"there is no file {quoted(path)}{near(path)}")
    folder = str(path.resolve().parent)
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)  # as Python does for a script, for what it imports beside it
    with running(path):
        names = runpy.run_path(str(path), run_name=RUN_NAME)
    return ModelFile(path, name, {n: v for n, v in names.items() if not n.startswith("__")})


def near(path: Path) -> str:
    """A hint at a file of nearly that name."""
    if not path.parent.is_dir():
        return ""
    return closest(path.name, sorted(p.name for p in path.parent.glob("*.py")))


@contextmanager
def running(path: Path) -> Iterator[None]:
    """Turn what stops the user's code into one sentence with its place."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (KeyboardInterrupt, MemoryError):
        raise
    except SympropError as error:
        place = last_place(path, error)
        raise type(error)(f"{error}{f' ({place})' if place not in str(error) else ''}") from error
    except BaseException as error:  # SystemExit too: a file that ends Python has no model
        place = last_place(path, error)
        raise DataError(
            f"{quoted(path)} stopped at {place}: {type(error).__name__}: {quoted(error)}"
        ) from error


def last_place(path: Path, error: BaseException) -> str:
    """The innermost line of the file on the way to the error: model.py:14."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path.name}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f"{path.name}:{lines[-1]}" if lines else path.name
