"""What each verb of the command line does, apart from the terminal.

In: a `ModelFile` and the options of a verb. Out: `Answer`: text to read, data for a program, and
what to show on a terminal that has colour.
Guarantees: nothing is written but where the user said; a program gets data that JSON can hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codegen.listing import listing
from codegen.philox import permutation
from symprop import checkpoint
from symprop.backends import BACKENDS
from symprop.checks import file as gradient_test
from symprop.data import closest
from symprop.errors import DataError, DeclarationError, listed, quoted
from symprop.expression import Expr
from symprop.model_file import LOSS_FIRST, STEP_FIRST, ModelFile, as_loss
from symprop.training import Trainer, TrainingStep, training_step
from symprop.walk import leaves

__all__ = ["Answer", "check", "derive", "diagnose", "explain", "export", "source", "train"]

SAMPLE = 5  # examples that the self-test of an export records

# Texts that are printed on the way to a backend's.
TEXTS: dict[str, Callable[[Any], str]] = {
    "program": lambda compiled: listing(compiled.program),
    "loops": lambda compiled: str(compiled.loops),
}


@dataclass(frozen=True)
class Answer:
    """The same as text and as data; `shown` prints itself in colour where there is some."""

    text: str
    data: Any
    shown: Any = None


def parameters_of(loss: Expr) -> list[Expr]:
    """The parameters of a loss, or an error that says what to do."""
    found = [Expr(n) for n in leaves([loss.node]) if n.kind == "parameter"]
    if not found:
        raise DeclarationError(
            "the loss reads no parameter, so it has no gradient to show: declare one with "
            "prop.parameter or use a layer"
        )
    return found


# --- reading -------------------------------------------------------------------------------------


def explain(
    file: ModelFile, notation: str, language: str, form: str, at: str | None
) -> tuple[Answer, str]:
    """The page of a loss, and its text in the form that was asked for."""
    import symprop as prop

    loss = as_loss(file.model(LOSS_FIRST))
    sample = None if at is None else file.data(at)
    page = prop.explain(loss, at=sample, notation=notation, language=language)
    data = page.to_json()
    texts = {"text": page.text, "latex": page.latex, "html": page.html}
    text = texts[form]() if form in texts else as_json(data)
    return Answer(text, data, page if form == "text" else None), text


def source(file: ModelFile, backend: str, dtype: str) -> Answer:
    """The code of a step, or of a loss and its gradients."""
    import symprop as prop

    if backend not in BACKENDS and backend not in TEXTS:
        raise DeclarationError(
            f"the backend {quoted(backend)} does not exist: choose one of "
            f"{listed([*BACKENDS, *TEXTS])}"
        )
    model = file.model(LOSS_FIRST)
    own = backend if backend in BACKENDS else "numpy"
    if isinstance(model, Trainer):
        model = model.training_step
    if isinstance(model, TrainingStep):
        compiled: Any = model.compiled(own, dtype)
    else:
        outputs = [model, *prop.gradient(model, parameters_of(model))]
        compiled = prop.compile(outputs, backend=own, dtype=dtype, name="gradients")
    text = str(compiled.source(backend)) if backend in BACKENDS else TEXTS[backend](compiled)
    return Answer(text, {"backend": backend, "dtype": dtype, "source": text})


def derive(file: ModelFile, wrt: str | None) -> Answer:
    """How the gradient of each parameter, or of one, came to be."""
    import symprop as prop

    loss = as_loss(file.model(LOSS_FIRST))
    known = {p.name: p for p in parameters_of(loss)}
    if wrt is not None and wrt not in known:
        raise DeclarationError(
            f"the loss has no parameter {quoted(wrt)}: its parameters are {listed(known)}"
        )
    chosen = list(known) if wrt is None else [wrt]
    gradients = prop.gradient(loss, [known[name] for name in chosen])
    pages = {n: prop.derivation(g) for n, g in zip(chosen, gradients, strict=True)}
    parts = [f"== gradient of {name} ==\n\n{page}" for name, page in pages.items()]
    data = {"gradients": {name: page.to_json() for name, page in pages.items()}}
    return Answer("\n\n".join(parts), data)


# --- running -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """The options of a run; None where the user said nothing."""

    data: str | None = None
    backend: str | None = None
    seed: int = 0
    rate: float | None = None


def trainer_of(file: ModelFile, run: Run) -> Trainer:
    """The trainer of a loss (with Adam), a step or a trainer."""
    from symprop.optimizers import Adam

    model = file.model(STEP_FIRST)
    if isinstance(model, Expr):
        model = training_step(model, Adam(1e-3 if run.rate is None else run.rate))
    elif run.rate is not None:
        raise DeclarationError("--rate is for a loss alone: a training step has its own optimizer")
    if isinstance(model, Trainer):
        if run.backend is not None:
            raise DeclarationError(
                f"--backend is for a loss or a step: the trainer runs {quoted(model.backend)}"
            )
        return model
    compiled: Trainer = model.compile(run.backend, seed=run.seed)
    return compiled


def diagnose(file: ModelFile, run: Run, count: int) -> Answer:
    """What the network does on a few examples of the data."""
    import symprop as prop

    trainer = trainer_of(file, run)
    found = prop.diagnose(trainer, some_examples(trainer, file.data(run.data), count, run.seed))
    return Answer(str(found), found.to_json(), found)


def check(
    file: ModelFile, options: gradient_test.Options, write: bool, force: bool
) -> tuple[Answer, bool]:
    """Whether the gradients are right, and that as a test beside the model if it is asked for."""
    if write and not force:
        gradient_test.refuse_existing(file)
    found = gradient_test.of_file(file, options)
    lines, data = [str(found)], found.to_json()
    if write:
        path = gradient_test.write(file, options)
        lines.append(f"written: {path}, which pytest runs")
        data["written"] = str(path)
    return Answer("\n".join(lines), data), found.ok


def some_examples(trainer: Trainer, data: Any, count: int, seed: int) -> Any:
    """At most so many examples, drawn at random; other data as it is."""
    runner = trainer._runner
    if not isinstance(data, Mapping):
        raise DataError(
            'diagnose needs arrays by name, such as {"x": ..., "y": ...}, but the data is of '
            f"type {quoted(type(data).__name__)}: say another name with --data"
        )
    if runner.examples is None:
        return data
    count = runner.examples.size or count
    split = [name for name in runner.split_names(data) if np.ndim(data[name])]
    lengths = {len(data[name]) for name in split}
    if len(lengths) != 1 or max(lengths) <= count:
        return data
    chosen = np.sort(permutation(seed, 0, lengths.pop())[:count])
    return {n: np.asarray(a)[chosen] if n in split else a for n, a in data.items()}


@dataclass(frozen=True)
class Fit:
    """How long and on what to train."""

    epochs: int
    batch_size: int
    validation_split: float
    out: Path | None


def refuse_misspelt(model: str, examples: Sequence[str]) -> None:
    """Refuse what is no file, and nearly the name of an example."""
    hint = closest(model, examples)
    if hint and not Path(model).exists():
        raise DataError(f"there is no file {quoted(model)}{hint}")


def train(file: ModelFile, run: Run, fit: Fit, quiet: bool) -> Answer:
    """Train, and write code, weights and history where the user said."""
    from symprop.digits import trained_files

    trainer = trainer_of(file, run)
    data = file.data(run.data)
    options: dict[str, Any] = {}
    if isinstance(data, Mapping):
        options["batch_size"] = fit.batch_size
    history = trainer.fit(
        data,
        epochs=fit.epochs,
        validation_split=fit.validation_split,
        seed=run.seed,
        progress=False if quiet else None,
        **options,
    )
    last = {name: values[-1] for name, values in history.items()}
    lines = [f"after {counted(history.epochs)}: {numbers(last)}"]
    written: list[str] = []
    if fit.out is not None:
        files = trained_files(trainer)
        checkpoint.write_folder(fit.out, files)
        written = [str(fit.out / name) for name in files]
        lines.append(f"written to {fit.out}: {', '.join(files)}")
    columns = {name: [finite(v) for v in values] for name, values in history.items()}
    return Answer("\n".join(lines), {"history": columns, "files": written})


@dataclass(frozen=True)
class To:
    """Where and for what to export; `name` is None where the folder's is meant."""

    folder: Path
    target: str
    name: str | None


def export(file: ModelFile, run: Run, to: To) -> Answer:
    """A step as a library for C."""
    trainer = trainer_of(file, run)
    sample = None if run.data is None else file.data(run.data)
    if sample is not None:
        if not isinstance(sample, Mapping):
            raise DataError(
                f"{quoted(run.data)} must be arrays by name, of which --sample takes some"
            )
        sample = some_examples(trainer, sample, SAMPLE, run.seed)
    done = trainer.export(to.folder, to.target, to.name, sample)
    return Answer(str(done), done.to_json())


def counted(epochs: int) -> str:
    """1 epoch, 2 epochs."""
    return f"{epochs} epoch{'s' * (epochs != 1)}"


def numbers(entry: Mapping[str, float]) -> str:
    """An epoch's numbers on one line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in entry.items())


def finite(x: float) -> float | None:
    """A number that JSON has."""
    return x if math.isfinite(x) else None


def as_json(data: Any) -> str:
    """Data as JSON."""
    return json.dumps(data, indent=2, allow_nan=False)
