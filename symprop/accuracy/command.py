"""What `symprop accuracy` does, apart from the terminal.

In: the options of the command. Out: an `Answer`.
Guarantees: names, backends and python-flint are checked before anything is measured; a file is
written whole, after the last figure; while it measures it says on the standard error what.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from symprop.accuracy import record, report
from symprop.accuracy.balls import flint
from symprop.accuracy.exhaustive import PIECES
from symprop.accuracy.formats import FORMATS
from symprop.accuracy.measure import measured
from symprop.accuracy.record import Report
from symprop.accuracy.subjects import ORDERS
from symprop.accuracy.subjects import subjects as subjects_of
from symprop.accuracy.sweeps import continued
from symprop.accuracy.sweeps import report as sweeps_report
from symprop.backends import BACKENDS, check_backend
from symprop.bench.run import installed, processor
from symprop.checkpoint import write_file
from symprop.commands import Answer
from symprop.data import closest
from symprop.errors import DeclarationError, UnsupportedError, install, listed, quoted
from symprop.ops.declare import REGISTRY

__all__ = ["Options", "run", "sampled"]

POINTS = 1000
PACKAGES = ("numpy", "llvmlite", "numba", "python-flint", "mpmath")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """Of the command; None or empty where the user said nothing."""

    ops: Sequence[str] = ()
    dtypes: str | None = None
    backends: str | None = None
    orders: str | None = None
    points: int | None = None
    read: Path | None = None
    exhaustive: Path | None = None
    out: Path | None = None
    markdown: bool = False


def run(options: Options) -> Answer:
    """Measures, or reads what was measured before; writes the file that was asked for."""
    if options.read is not None:
        refuse_beside_read(options)
        found = record.read(options.read)
    elif options.exhaustive is not None:
        found = exhaustive(options, options.exhaustive)
    else:
        found = sampled(options)
    if options.out is not None:
        write_file(options.out, record.written(found))
    text = report.block(found) if options.markdown else report.markdown(found)
    return Answer(text, found.to_json(), None if options.markdown else report.shown(found))


def refuse_beside_read(options: Options) -> None:
    """Refuse what a file of figures has of its own."""
    own = {"names of ops": options.ops, "--dtype": options.dtypes, "--backend": options.backends,
           "--order": options.orders, "--points": options.points}  # fmt: skip
    wrong = [name for name, value in own.items() if value]
    if wrong:
        raise DeclarationError(
            f"--read shows what is in a file, which has its own rows: leave {wrong[0]} out"
        )


def sampled(options: Options) -> Report:
    """The rows that were asked for."""
    ops, dtypes = chosen_ops(options.ops), chosen("--dtype", options.dtypes, list(FORMATS))
    backends, orders = chosen_backends(options.backends), chosen_orders(options.orders)
    points = options.points or POINTS
    flint()
    parts = [(op, dtype, order) for op in ops for dtype in dtypes for order in orders]
    rows = []
    with telling(len(parts)) as say:
        for op, dtype, order in parts:
            say(f"{op}{chr(39) * order} {dtype}")
            rows += measured(REGISTRY[op], order, dtype, backends, points)
    versions = {name: found for name in PACKAGES if (found := installed(name))}
    return Report(machine(backends), versions, points, tuple(rows))


def exhaustive(options: Options, path: Path) -> Report:
    """Every float32, in pieces, continuing what the file holds."""
    if options.dtypes is not None or options.points is not None:
        raise DeclarationError(
            "--exhaustive takes every float32 there is: leave --dtype and --points out"
        )
    orders = [int(k) for k in chosen("--order", options.orders or "0,1", ["0", "1"])]
    ops = [REGISTRY[name] for name in chosen_ops(options.ops)]
    several = [op.name for op in ops if op.arity != 1]
    if options.ops and several:
        raise DeclarationError(
            f"--exhaustive is for ops of one argument, and {quoted(several[0])} has more"
        )
    backends = chosen_backends(options.backends or "native")
    flint()
    subjects = [s for op in ops if op.arity == 1 for k in orders for s in subjects_of(op, k)]
    here = machine(backends)
    with telling(len(subjects) * len(backends) * PIECES) as say:
        found = continued(path, subjects, backends, here, say)
    return sweeps_report(found, here)


# --- what was asked for --------------------------------------------------------------------------


def chosen(option: str, text: str | None, known: Sequence[str]) -> list[str]:
    """Names separated by commas, each of them known; all where nothing was said."""
    if text is None:
        return list(known)
    names = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in known:
            raise DeclarationError(
                f"{option} does not know {quoted(name)}: choose among {listed(known)}, separated "
                "by commas"
            )
    return names


def chosen_ops(names: Sequence[str]) -> list[str]:
    """The ops of these names, in the registry's order; all where nothing was said."""
    for name in names:
        if name not in REGISTRY:
            hint = closest(name, list(REGISTRY)) or f": the ops are {listed(REGISTRY)}"
            raise DeclarationError(f"there is no op {quoted(name)}{hint}")
    return [name for name in REGISTRY if not names or name in names]


def chosen_orders(text: str | None) -> list[int]:
    """Orders of derivatives."""
    return [int(name) for name in chosen("--order", text, [str(k) for k in ORDERS])]


def chosen_backends(text: str | None) -> list[str]:
    """Backends, or those that can run here."""
    there = [n for n, b in BACKENDS.items() if not b.device and all(map(find_spec, b.needs))]
    if text is None:
        return there
    names = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        check_backend(name)
        lacking = [p for p in BACKENDS[name].needs if find_spec(p) is None]
        if lacking:
            raise UnsupportedError(
                f"the backend {quoted(name)} needs the package {lacking[0]}: "
                f"run  {install(lacking[0])}"
            )
    return names


# --- while it runs -------------------------------------------------------------------------------


@contextmanager
def telling(total: int) -> Iterator[Say]:
    """A function that is told what is measured next: a bar on a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)

        def say(text: str) -> None:
            bar.update(task, description=text, advance=1)

        yield say


def machine(backends: Sequence[str]) -> dict[str, str]:
    """What the figures depend on."""
    found = {"processor": processor()}
    if "native" in backends:
        from codegen.llvm.target import host

        found |= {"as LLVM sees it": host().cpu, "vectors": f"{8 * host().vector_bytes} bits"}
    return found | {"system": f"{platform.system()} {platform.machine()}"}
