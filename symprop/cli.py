"""The command `symprop`.

In: a command line.
Out: text on the terminal, and a folder where a command says so; the exit status is 0, 1 after an
error in symprop's words, 2 after a wrong command line, 130 after Ctrl-C.
Guarantees: an error that symprop names is shown as its sentence, not as a traceback.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app", "main"]

app = typer.Typer(
    name="symprop",
    help="Declare a network, read its gradients as code, train with that code.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
train = typer.Typer(help="Train a network that comes with symprop.", no_args_is_help=True)
app.add_typer(train, name="train")


@train.command()
def digits(
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 30,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples a step.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights, the split, the order.")] = 0,
    rate: Annotated[float, typer.Option(help="Learning rate of Adam.")] = 1e-3,
    out: Annotated[Path, typer.Option(help="Folder for code, weights, history.")] = Path("digits"),
) -> None:
    """Train a 64-64-10 network on scikit-learn's handwritten digits."""
    from symprop import checkpoint
    from symprop import digits as example

    checkpoint.check_folder(out, example.FILES)
    data = example.load(seed)
    step = example.declare(rate)
    show_code("The declaration", example.declaration())
    show_code("Its gradients, as NumPy code", example.gradients(step))
    trainer = step.compile("numpy", seed=seed)
    heading("Training with the code that was emitted")
    try:
        history = trainer.fit(data.train, epochs=epochs, batch_size=batch_size, seed=seed)
    except KeyboardInterrupt:
        typer.echo(f"interrupted after {trainer.history.epochs} epochs, nothing written", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"after {history.epochs} epochs: training loss {history['loss'][-1]:.4f}")
    typer.echo(f"test accuracy {trainer.evaluate(data.test)['accuracy']:.4f}")
    files = example.trained_files(trainer)
    checkpoint.write_folder(out, files)
    typer.echo(f"written to {out}: {', '.join(files)}")


@app.command()
def doctor() -> None:
    """Show versions and backends, what is missing and how to get it."""
    from symprop.doctor import report

    typer.echo(report())


def heading(title: str) -> None:
    typer.echo(f"\n== {title} ==\n")


def show_code(title: str, text: str) -> None:
    """Python code under a title, in colour on a terminal."""
    heading(title)
    if not sys.stdout.isatty():
        typer.echo(text)
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "python", background_color="default"))


def main() -> None:
    """Run the command line; errors that symprop names become one sentence and status 1."""
    from symprop.errors import SympropError

    try:
        app()
    except SympropError as error:
        typer.echo(f"symprop: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
