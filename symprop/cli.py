"""The command `symprop`.

    symprop explain|source|derive FILE:NAME     read a loss
    symprop train|diagnose FILE:NAME            run it on the data of the file
    symprop check FILE:NAME                     test its gradients
    symprop train digits                        the network that comes with symprop
    symprop export FILE:NAME --to FOLDER        a library for C, with header and self-test
    symprop bench [WORKLOAD]...                 training steps, timed beside peers'
    symprop accuracy [OP]...                    errors of ops and derivatives, against exact values
    symprop doctor                              what is installed

In: a command line.
Out: text on the terminal, or JSON alone with --json; a file or a folder where a command says so;
the exit status is 0, 1 after an error in symprop's words or a wrong gradient, 2 after a wrong
command line, 130 after Ctrl-C.
Guarantees: an error that symprop names is shown as its sentence, not as a traceback; a reader that
stops reading (`| head`) ends the command quietly; files are written whole or not at all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from symprop.backends import BACKENDS
from symprop.commands import TEXTS, Answer
from symprop.export import TARGETS

__all__ = ["app", "main"]

app = typer.Typer(
    name="symprop",
    help="Declare a network, read its gradients as mathematics and as code, train with that code. "
    "FILE:NAME is a Python file, which is run, and in it the name of a scalar loss, of a training "
    "step, of a trainer, or of a function without arguments that returns one; without :NAME, the "
    "only one in the file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def choices(names: Iterable[str]) -> str:
    """a, b or c."""
    *first, last = names
    return f"{', '.join(first)} or {last}"


class Notation(StrEnum):
    """How formulas are written."""

    MATRIX = "matrix"
    INDEX = "index"


class Language(StrEnum):
    """What headings are written in."""

    EN = "en"
    FR = "fr"


class Form(StrEnum):
    """What a page is printed as."""

    TEXT = "text"
    LATEX = "latex"
    HTML = "html"
    JSON = "json"


class Width(StrEnum):
    """What code computes in."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


Model = Annotated[
    str, typer.Argument(metavar="FILE:NAME", help="A Python file, which is run, and a name in it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Data = Annotated[
    str | None,
    typer.Option(help="Name of the data in the file, arrays by name.", show_default="data"),
]
Seed = Annotated[
    int, typer.Option(min=0, max=2**64 - 1, help="Of the weights, the split, the order.")
]
Rate = Annotated[
    float | None, typer.Option(help="Learning rate of Adam, for a loss.", show_default="0.001")
]
Runs = Annotated[
    str | None,
    typer.Option(
        help=f"What runs the code: {choices(BACKENDS)}.", show_default="native where it can run"
    ),
]


# --- reading -------------------------------------------------------------------------------------


@app.command()
def explain(
    model: Model,
    notation: Annotated[Notation, typer.Option(help="How formulas are written.")] = Notation.MATRIX,
    language: Annotated[Language, typer.Option(help="Of the headings.")] = Language.EN,
    form: Annotated[
        Form | None, typer.Option("--format", help="Of the page.", show_default="text")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Name of a sample to put numbers in.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the network and its back-propagation as mathematics."""
    from symprop import checkpoint, commands
    from symprop.model_file import open_model

    if as_json and form not in (None, Form.JSON):
        raise typer.BadParameter(f"--json is a format of its own: leave it or --format {form} out")
    form = Form.JSON if as_json else form or Form.TEXT
    answer, text = commands.explain(open_model(model), notation, language, form, at)
    if out is not None:
        checkpoint.write_file(out, text.encode())
        typer.echo(f"written to {out}", err=True)
    elif form is Form.TEXT:
        show(answer, False)
    else:
        typer.echo(text)


@app.command()
def source(
    model: Model,
    backend: Annotated[str, typer.Option(help=f"{choices([*BACKENDS, *TEXTS])}.")] = "numpy",
    dtype: Annotated[Width, typer.Option(help="What it computes in.")] = Width.FLOAT32,
    as_json: AsJson = False,
) -> None:
    """Show the code of a step, or of a loss and its gradients."""
    from symprop import commands
    from symprop.model_file import open_model

    answer = commands.source(open_model(model), backend, dtype)
    if as_json:
        show(answer, True)
    else:
        show_code(answer.text)


@app.command()
def derive(
    model: Model,
    wrt: Annotated[
        str | None, typer.Option(metavar="PARAMETER", help="One parameter only.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how each gradient came to be, rule by rule."""
    from symprop import commands
    from symprop.model_file import open_model

    show(commands.derive(open_model(model), wrt), as_json)


# --- running -------------------------------------------------------------------------------------


@app.command()
def diagnose(
    model: Model,
    data: Data = None,
    seed: Seed = 0,
    rate: Rate = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples to look at.")] = 64,
    as_json: AsJson = False,
) -> None:
    """Show the scale of values and gradients in every layer, and what is wrong with them."""
    from symprop import commands
    from symprop.model_file import open_model

    run = commands.Run(data, None, seed, rate)
    show(commands.diagnose(open_model(model), run, batch_size), as_json)


@app.command()
def check(
    model: Model,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Name of values for some variables.", show_default="drawn"
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help=f"What is compared, separated by commas: {choices(BACKENDS)}.",
            show_default="all that can run here",
        ),
    ] = None,
    seed: Seed = 0,
    write: Annotated[
        bool, typer.Option("--write", help="Write the test for pytest, beside the file.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a test that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Test the gradients of every parameter, at 60 digits and on every backend."""
    from symprop import commands
    from symprop.checks.file import Options
    from symprop.model_file import open_model

    backends = None if backend is None else [name.strip() for name in backend.split(",")]
    options = Options(at, backends, seed)
    answer, ok = commands.check(open_model(model), options, write, force)
    show(answer, as_json)
    if not ok:
        raise typer.Exit(1)


@app.command()
def train(
    model: Annotated[
        str,
        typer.Argument(
            metavar="FILE:NAME|digits",
            help="A Python file, which is run, and a name "
            "in it; or digits, the example that comes with symprop.",
        ),
    ],
    data: Data = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 30,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples a step.")] = 32,
    seed: Seed = 0,
    rate: Rate = None,
    validation_split: Annotated[
        float, typer.Option(min=0, max=0.999, help="Share of the data that is set aside.")
    ] = 0.0,
    backend: Runs = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for code, weights, history.", show_default="digits for digits"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on the data of its file, or the example digits."""
    if model == "digits":
        refuse_for_digits(data, validation_split, backend, as_json)
        digits(epochs, batch_size, seed, 1e-3 if rate is None else rate, out or Path("digits"))
        return
    from symprop import commands
    from symprop.model_file import open_model

    commands.refuse_misspelt(model, ["digits"])
    if out is not None:
        warn_of(out)
    run = commands.Run(data, backend, seed, rate)
    fit = commands.Fit(epochs, batch_size, validation_split, out)
    try:
        show(commands.train(open_model(model), run, fit, as_json), as_json)
    except KeyboardInterrupt:
        interrupted(": nothing written")


def refuse_for_digits(
    data: str | None, validation_split: float, backend: str | None, as_json: bool
) -> None:
    """Refuse options that the example does not have."""
    given = {"--data": data, "--validation-split": validation_split, "--backend": backend}
    wrong = [name for name, value in (*given.items(), ("--json", as_json)) if value]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]} is for a model of your own, not for digits")


def warn_of(out: Path) -> None:
    """Say which files of an earlier run will be replaced; refuse a folder that holds others."""
    from symprop import checkpoint
    from symprop.digits import FILES

    checkpoint.check_folder(out, FILES)
    old = [name for name in FILES if (out / name).exists()]
    if old:
        typer.echo(
            f"{out} holds an earlier run: {', '.join(old)} will be replaced after the training",
            err=True,
        )


def digits(epochs: int, batch_size: int, seed: int, rate: float, out: Path) -> None:
    """Train a 64-64-10 network on scikit-learn's handwritten digits."""
    from symprop import checkpoint
    from symprop import digits as example
    from symprop.commands import counted

    warn_of(out)
    data = example.load(seed)
    step = example.declare(rate)
    heading("The declaration")
    show_code(example.declaration())
    heading("Its gradients, as NumPy code")
    show_code(example.gradients(step))
    trainer = step.compile("numpy", seed=seed)
    heading("Training with the NumPy code of the whole step, training_step.py")
    try:
        history = trainer.fit(data.train, epochs=epochs, batch_size=batch_size, seed=seed)
    except KeyboardInterrupt:
        interrupted(f" after {counted(trainer.history.epochs)}, nothing written")
    typer.echo(f"after {counted(history.epochs)}: training loss {history['loss'][-1]:.4f}")
    typer.echo(f"test accuracy {trainer.evaluate(data.test)['accuracy']:.4f}")
    files = example.trained_files(trainer)
    checkpoint.write_folder(out, files)
    typer.echo(f"written to {out}: {', '.join(files)}")


@app.command()
def export(
    model: Model,
    to: Annotated[Path, typer.Option(help="Folder to make.")],
    target: Annotated[str, typer.Option(help=f"The machine: {choices(TARGETS)}.")] = "host",
    name: Annotated[
        str | None, typer.Option(help="Of the functions.", show_default="that of the folder")
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Name of the batch that the self-test records."),
    ] = None,
    seed: Seed = 0,
    rate: Rate = None,
    as_json: AsJson = False,
) -> None:
    """Write a step as a library for C: object, shared library, header, self-test, weights."""
    from symprop import commands
    from symprop.model_file import open_model

    run = commands.Run(sample, None, seed, rate)
    show(commands.export(open_model(model), run, commands.To(to, target, name)), as_json)


@app.command()
def bench(
    workloads: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORKLOAD]...", help="tiny, digits, mnist, deep, big; or all."),
    ] = None,
    peers: Annotated[
        str | None,
        typer.Option(
            help="What is timed beside machine code, separated by commas: numpy, numba, torch, "
            "torch-compile, jax, jax-loop, pytensor; or none.",
            show_default="all that are installed",
        ),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each system gets.")] = 20,
    read: Annotated[
        Path | None, typer.Option(help="Time nothing: show what --out wrote to this file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures here, as JSON.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw them here: .png, .svg or .pdf, with matplotlib.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print README's tables.")] = False,
    as_json: AsJson = False,
) -> None:
    """Time training steps: machine code and its peers in turns, on one thread, for minutes."""
    from symprop.bench.command import Options, run

    options = Options(workloads or [], peers, rounds, read, out, plot, markdown)
    try:
        show(run(options, lambda text: typer.echo(text, err=True)), as_json)
    except KeyboardInterrupt:
        interrupted(": nothing written")


@app.command()
def accuracy(
    ops: Annotated[
        list[str] | None, typer.Argument(metavar="[OP]...", help="exp, tanh, ...; or all.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, float64 or both.", show_default="float32,float64")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help=f"What runs the code, separated by commas: {choices(BACKENDS)}.",
            show_default="all that can run here",
        ),
    ] = None,
    order: Annotated[
        str | None, typer.Option(help="How often it is differentiated.", show_default="0,1,2,3")
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(min=10, help="Drawn by chance for each row.", show_default="1000"),
    ] = None,
    exhaustive: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Every float32 there is, for minutes or hours, kept in this file and continued "
            "from it: values and first derivatives of ops of one argument, native where not said.",
        ),
    ] = None,
    read: Annotated[
        Path | None, typer.Option(help="Measure nothing: show what --out wrote to this file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures here, as JSON.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print README's tables.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the errors of ops and of their derivatives, against values proved exact."""
    from symprop.accuracy.command import Options, run

    options = Options(ops or [], dtype, backend, order, points, read, exhaustive, out, markdown)
    try:
        show(run(options), as_json)
    except KeyboardInterrupt:
        kept = "nothing written" if exhaustive is None else f"what was done is in {exhaustive}"
        interrupted(f": {kept}")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show versions and backends, what is missing and how to get it."""
    from symprop import commands
    from symprop.doctor import facts, report

    data = {"facts": [fact._asdict() for fact in facts()]}
    show(commands.Answer(report(), data), as_json)


# --- the terminal --------------------------------------------------------------------------------


def show(answer: Answer, as_json: bool) -> None:
    """Data for a program; colours for a terminal; text for everything else."""
    if as_json:
        from symprop.commands import as_json as spelled

        typer.echo(spelled(answer.data))
    elif answer.shown is not None and sys.stdout.isatty():
        from rich.console import Console

        Console().print(answer.shown)
    else:
        typer.echo(answer.text)


def heading(title: str) -> None:
    typer.echo(f"\n== {title} ==\n")


def show_code(text: str) -> None:
    """Python code, in colour on a terminal."""
    if not sys.stdout.isatty():
        typer.echo(text)
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "python", background_color="default"))


def interrupted(when: str) -> NoReturn:
    """End after Ctrl-C."""
    typer.echo(f"interrupted{when}", err=True)
    raise typer.Exit(130)


def main() -> None:
    """Run the command line; errors that symprop names become one sentence and status 1."""
    from symprop.errors import SympropError

    try:
        app()
    except SympropError as error:
        typer.echo(f"symprop: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
