"""A benchmark from outside: children one after another, their answers as a `Report`.

In: workloads, systems, rounds; a function that is told what goes on. Out: a `Report`.

For each workload, a child for the first step of each system (two where a system keeps machine code:
cold, then warm), then one for the turns of all. Every child has one thread and one core. A workload
has a folder, empty at the start and gone at the end, in which each system keeps its machine code:
no first step finds any but its own.

Guarantees: a child that fails or hangs costs its own figures, and its last line says why.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from symprop.bench.record import Figures, First, Report, Row, Step, plain
from symprop.bench.report import counted
from symprop.bench.systems import SYSTEMS, missing
from symprop.bench.workloads import Workload, case

__all__ = ["environment", "run"]

LONGEST = 1800  # seconds of a child: torch.compile takes tens, on a busy machine minutes

# One thread for every library; JAX's flags are those that its developers give for it.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "CUDA_VISIBLE_DEVICES": "",
}

Say = Callable[[str], None]


def environment(folder: Path, systems: Sequence[str]) -> dict[str, str]:
    """What a child finds: one thread, and what these systems kept in a folder."""
    found = dict(os.environ) | ONE_THREAD
    found["XDG_CACHE_HOME"] = found["LOCALAPPDATA"] = str(folder / "+".join(systems))
    found["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "torch-compile")
    found["PYTENSOR_FLAGS"] = f"base_compiledir={folder / 'pytensor'}"
    room = str(Path(__file__).resolve().parent.parent.parent)  # where this symprop was found
    found["PYTHONPATH"] = os.pathsep.join(filter(None, (room, os.environ.get("PYTHONPATH"))))
    return found


class ChildError(Exception):
    """A child that ended without an answer."""


def ask(
    folder: Path, task: str, workload: Workload, systems: Sequence[str], rounds: int = 0
) -> Any:
    """The answer of a child that keeps machine code in a folder, or ChildError with its last
    line."""
    request, answer = folder / "request.json", folder / "answer.json"
    asked = {"task": task, "workload": workload.name, "systems": list(systems), "rounds": rounds}
    request.write_text(json.dumps(asked), encoding="utf-8")
    answer.unlink(missing_ok=True)
    command = [sys.executable, "-m", "symprop.bench.child", str(request), str(answer)]
    try:
        done = subprocess.run(  # noqa: S603  # this interpreter, this package, no shell
            command,
            env=environment(folder, systems),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ChildError(f"took longer than {LONGEST} s") from error
    if done.returncode or not answer.exists():
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise ChildError(plain(f"ended with status {done.returncode}: {lines[-1]}"))
    return json.loads(answer.read_text(encoding="utf-8"))


def run(workloads: Sequence[Workload], systems: Sequence[str], rounds: int, say: Say) -> Report:
    """Times these systems on these workloads."""
    lacking = {name: missing(SYSTEMS[name]) for name in systems}
    there = [name for name in systems if lacking[name] is None]
    before = loads()
    rows = []
    for workload in workloads:
        with tempfile.TemporaryDirectory(prefix="symprop-bench-") as folder:
            rows.append(row(Path(folder), workload, there, rounds, say))
    return Report(
        machine(),
        versions(there),
        {name: command for name, command in lacking.items() if command},
        rounds,
        (*before, *loads()),
        tuple(rows),
    )


def row(folder: Path, workload: Workload, systems: Sequence[str], rounds: int, say: Say) -> Row:
    """The figures of a workload."""
    figures = {}
    for name in systems:
        say(f"{workload.name}: first step of {SYSTEMS[name].title}")
        figures[name] = first(folder, workload, name)
    ready = [name for name in systems if not figures[name].failed]
    peak = None
    if ready:
        titles = ", ".join(SYSTEMS[n].title for n in ready)
        say(f"{workload.name}: {counted(rounds)} of {titles}")
        try:
            answer = ask(folder, "turns", workload, ready, rounds)
        except ChildError as error:
            reason = f"all systems in turns: {error}"
            figures |= {name: replace(figures[name], failed=reason) for name in ready}
        else:
            peak = answer["peak"]
            figures |= {name: timed(figures[name], answer) for name in ready}
    return Row(workload.name, peak, case(workload).input_bytes, tuple(figures.values()))


def first(folder: Path, workload: Workload, name: str) -> Figures:
    """The first step of a system, and once more from what it kept."""
    try:
        cold = ask(folder, "first", workload, [name])
        warm = ask(folder, "first", workload, [name]) if SYSTEMS[name].keeps else None
    except ChildError as error:
        return Figures(name, failed=str(error))
    return Figures(
        name,
        cold=First(**cold["first"]),
        warm=First(**warm["first"]) if warm else None,
        memory=cold["memory"],
        arena=cold["arena"],
    )


def timed(figures: Figures, answer: Any) -> Figures:
    """The figures of the first step, with those of the turns."""
    name, losses = figures.system, answer["losses"]
    errors: dict[str, float] = answer["gradients"].get(name, {})
    worst = max(errors, key=errors.__getitem__, default="")
    return replace(
        figures,
        step=Step(**answer["samples"][name]),
        loss_gap=gap(losses[name], answer["reference"]),
        torch_gap=gap(losses[name], losses["torch"]) if "torch" in losses else None,
        gradient_error=errors.get(worst),
        gradient_of=worst,
    )


def gap(losses: Sequence[float], wanted: Sequence[float]) -> float:
    """The largest difference."""
    return max(abs(a - b) for a, b in zip(losses, wanted, strict=True))


# --- this machine --------------------------------------------------------------------------------


def machine() -> dict[str, str]:
    """What the figures depend on."""
    from codegen.llvm.target import host

    target = host()
    return {
        "processor": processor(),
        "as LLVM sees it": target.cpu,
        "vectors": f"{8 * target.vector_bytes} bits",
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def processor() -> str:
    """Its own name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return plain(names[0] if names else platform.processor() or "unknown")


def versions(systems: Sequence[str]) -> dict[str, str]:
    """Of the packages that were timed."""
    packages = dict.fromkeys(["symprop", "numpy"])
    for name in systems:
        packages |= dict.fromkeys(SYSTEMS[name].packages)
    return {name: found for name in packages if (found := installed(name))}


def installed(package: str) -> str | None:
    """Its version, where it is recorded."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def loads() -> tuple[float, ...]:
    """How many processes wanted a core in the last minute, where the system tells."""
    return (round(os.getloadavg()[0], 1),) if hasattr(os, "getloadavg") else ()
