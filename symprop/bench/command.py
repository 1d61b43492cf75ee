"""What `symprop bench` does, apart from the terminal.

In: the options of the command. Out: an `Answer`.
Guarantees: names, paths and what a picture needs are checked before anything is timed; files are
written whole, after the last figure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from symprop.backends import default
from symprop.bench import record, report
from symprop.bench.plot import check, plot
from symprop.bench.run import run as timed
from symprop.bench.systems import OURS, peers
from symprop.bench.workloads import chosen
from symprop.checkpoint import write_file
from symprop.commands import Answer
from symprop.errors import DeclarationError, UnsupportedError, install

__all__ = ["Options", "run"]


@dataclass(frozen=True)
class Options:
    """Of the command; None where the user said nothing."""

    workloads: Sequence[str]
    peers: str | None
    rounds: int
    read: Path | None
    out: Path | None
    plot: Path | None
    markdown: bool


def run(options: Options, say: Callable[[str], None]) -> Answer:
    """Times, or reads what was timed before; writes the files that were asked for."""
    workloads = chosen(list(options.workloads))
    systems = (*OURS, *peers(options.peers))
    if options.plot is not None:
        check(options.plot)
    if options.read is not None:
        if options.workloads or options.peers is not None:
            raise DeclarationError(
                "--read shows what is in a file, which has its own workloads and peers: leave "
                "their names out"
            )
        found = record.read(options.read)
    else:
        check_native()
        found = timed(workloads, systems, options.rounds, say)
    if options.out is not None:
        write_file(options.out, record.written(found))
    if options.plot is not None:
        plot(found, options.plot)
    if options.markdown:
        return Answer(report.block(found), found.to_json())
    return Answer(report.markdown(found), found.to_json(), report.shown(found))


def check_native() -> None:
    """Refuse a machine on which there is no machine code to time."""
    if find_spec("llvmlite") is None:
        raise UnsupportedError(
            "symprop bench times machine code, which needs the package llvmlite: "
            f"run  {install('llvmlite>=0.50')}"
        )
    if default() != "native":
        raise UnsupportedError(
            "symprop bench times machine code, which symprop makes for 64-bit x86 and ARM alone"
        )
