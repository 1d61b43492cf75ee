"""`trainer.export`: a trained step as a folder that runs without symprop and without Python.

    NAME.o, libNAME.a       the functions NAME_step and NAME_predict, which need no other library
    libNAME.so              the same for a loader, where a linker is there
    NAME.h                  what they take, for C
    selftest.c              a program in C that calls them and compares with recorded values
    weights.safetensors     parameters and states as they are now
    manifest.json           all of this as data, with a SHA-256 of each file

In: a trainer, a folder, the machine it is for.
Out: the folder, whole or not at all; `Export`, what was written.
Guarantees: the same trainer gives the same bytes; for the machine that the trainer runs on, the
functions compute what it computes to the last bit; nothing of the user's stands in a file but as
data or in a comment.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.c_names import CNames
from symprop import manifest as form
from symprop.checkpoint import check_folder, weights_bytes, write_folder
from symprop.data import Arrays
from symprop.errors import DataError, DeclarationError, UnsupportedError, install, listed, quoted
from symprop.manifest import MANIFEST, WEIGHTS

if TYPE_CHECKING:
    from codegen.llvm.artifact import Library
    from codegen.llvm.artifact_entry import Entry
    from codegen.llvm.artifact_selftest import Recorded
    from codegen.llvm.target import Target
    from symprop.runner import Runner

__all__ = ["TARGETS", "Export", "export"]

TARGETS = ("host", "x86-64", "x86-64-v3", "x86-64-v4", "aarch64")
STEPS = 3  # of the self-test
BATCH = 5  # of the self-test: odd, so that a vector has a rest
TOLERANCES = {"float32": 1e-3, "float64": 1e-9}  # of the largest element, after STEPS steps


@dataclass(frozen=True)
class Export:
    """What was written: the sizes of the files by name, and the SHA-256 of the manifest, which
    `prop.load` takes to know the folder for certain."""

    folder: Path
    files: Mapping[str, int]
    machine: str
    shared: str
    sha256: str

    def __str__(self) -> str:
        wide = max(map(len, self.files))
        lines = [f"written to {self.folder}, for {self.machine}:"]
        lines += [f"  {name:<{wide}}  {size:>10,} bytes" for name, size in self.files.items()]
        lines += [self.shared, f"SHA-256 of {MANIFEST}: {self.sha256}"]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The same as data."""
        return {
            "folder": str(self.folder),
            "files": dict(self.files),
            "machine": self.machine,
            "shared_library": self.shared,
            "sha256": self.sha256,
        }


def export(
    runner: Runner,
    folder: str | os.PathLike[str],
    target: str = "host",
    name: str | None = None,
    sample: Mapping[str, Any] | None = None,
) -> Export:
    """Write the step and the outputs of a trainer as a library for C; see `Trainer.export`."""
    title = library_name(name if name is not None else Path(os.path.abspath(folder)).name)
    chosen = machine_of(target)
    older = [*fixed_files(title), f"lib{title}.so"]
    check_folder(folder, older)
    found = made(runner, title, chosen)
    recorded = recording(runner, found.entries, sample)
    files, shared = contents(found, recorded, runner.arrays)
    described = manifest(runner, found, recorded, files, shared)
    files[MANIFEST] = form.written(described)
    write_folder(folder, files, older)
    return Export(
        Path(folder),
        {n: len(data) for n, data in files.items()},
        told(described.machine),
        shared,
        hashlib.sha256(files[MANIFEST]).hexdigest(),
    )


def fixed_files(title: str) -> tuple[str, ...]:
    """The files that are always there."""
    return (f"{title}.o", f"lib{title}.a", f"{title}.h", "selftest.c", WEIGHTS, MANIFEST)


def library_name(name: Any) -> str:
    """The identifier of C that is nearest to a name."""
    if not isinstance(name, str):
        raise DeclarationError(f"the name of a library is a text, but is {quoted(name)}")
    return CNames()(name, "model")


def machine_of(target: Any) -> Target:
    """The target of a name."""
    from codegen.llvm import target as shipped

    if target not in TARGETS:
        raise UnsupportedError(
            f"there is no target {quoted(target)}: choose one of {listed(TARGETS)}"
        )
    names = {
        "x86-64": shipped.X86_64_SSE2,
        "x86-64-v3": shipped.X86_64_AVX2,
        "x86-64-v4": shipped.X86_64_AVX512,
        "aarch64": shipped.AARCH64_NEON,
    }
    try:
        import llvmlite  # noqa: F401  # needed for any target; said before the work begins
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"an export needs the package llvmlite: run  {install('llvmlite>=0.50')}"
        ) from error
    if target in names:
        return names[target]
    found = shipped.host()
    if "linux" not in found.triple:
        raise UnsupportedError(
            "an export is for Linux, and this computer runs another system: name the target, one "
            f"of {listed(TARGETS[1:])}"
        )
    return found


def told(machine: form.Machine) -> str:
    """A machine in words."""
    return f"{machine.system} on {machine.architecture} ({machine.processor})"


def made(runner: Runner, title: str, target: Target) -> Library:
    """The library of the step, and of the outputs where there are some."""
    from codegen.llvm.artifact import Source, library

    sources = [Source("step", runner.step.program, tuple(runner.columns))]
    if runner.recipe.outputs:
        sources.append(Source("predict", runner.predict.program, tuple(runner.recipe.outputs)))
    try:
        return library(title, sources, target)
    except ValueError as error:
        raise UnsupportedError(f"this step cannot be exported: {error}") from error


# --- the self-test -------------------------------------------------------------------------------


def recording(
    runner: Runner, entries: tuple[Entry, ...], sample: Mapping[str, Any] | None
) -> Recorded:
    """What the trainer computes from weights like its own, for the self-test to compare with."""
    from codegen.llvm.artifact_selftest import Recorded, repeated

    for name, array in runner.arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(
                f"{quoted(name)} holds numbers that are not finite: restore or train the weights "
                "anew before the export"
            )
    given, sizes = sampled(runner, entries, sample)
    start = {name: repeated(array) for name, array in {**runner.arrays, **given}.items()}
    arrays = {name: array.copy() for name, array in start.items()}
    with np.errstate(all="ignore"):
        calls = [("step", results(runner.step, arrays, entries[0])) for _ in range(STEPS)]
        calls += [("predict", results(runner.predict, arrays, e)) for e in entries[1:]]
    read = {a.name for e in entries for a in e.arrays if a.role != "output"}
    start = {name: array for name, array in start.items() if name in read}
    for _, found in calls:
        for name, value in found.items():
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise DataError(
                    f"{quoted(name)} is not finite on the batch that the self-test records: hand "
                    "in a batch of your data as sample={...}"
                )
    return Recorded(sizes, start, calls, TOLERANCES[runner.dtype])


def results(compiled: Any, arrays: Arrays, e: Entry) -> dict[str, Any]:
    """The outputs of a call, by name, as they are stored."""
    outputs = [a for a in e.arrays if a.role == "output"]
    values = compiled.call_apart(arrays)
    return {
        a.name: np.array(value, dtype=a.dtype) for a, value in zip(outputs, values, strict=True)
    }


def sampled(
    runner: Runner, entries: tuple[Entry, ...], sample: Mapping[str, Any] | None
) -> tuple[Arrays, dict[str, int]]:
    """The inputs of all functions and the sizes: the user's batch, or random numbers."""
    if sample is None:
        rng = np.random.default_rng(0)
        sizes = {s.name: min(max(BATCH, s.low), s.high) for e in entries for s in e.sizes}
        defaults = {leaf.name: leaf.default for leaf in runner.step.inputs}
        rows = {a.name: a for e in entries for a in e.arrays if a.role in ("input", "scalar")}
        return {n: drawn(rng, a, sizes, defaults.get(n)) for n, a in rows.items()}, sizes
    found = runner.prepare(runner.step, sample)
    if entries[1:]:
        found |= runner.prepare(runner.predict, sample)
    sizes = {}
    for a in (a for e in entries for a in e.arrays if a.name in found and a.role != "output"):
        for axis, d in enumerate(a.dims):
            if d.atom is not None:
                sizes[repr(d)] = found[a.name].shape[axis]
    return found, sizes


def drawn(rng: Any, a: Any, sizes: Mapping[str, int], default: float | None) -> Any:
    """Random numbers for an input, in its range."""
    from codegen.index import evaluate

    shape = tuple(evaluate(d, {}, sizes) for d in a.dims)
    if default is not None:
        return np.full(shape, default, a.dtype)
    if a.dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if a.dtype.startswith("float"):
        return rng.uniform(-1, 1, shape).astype(a.dtype)
    low = 0 if a.low is None else evaluate(a.low, {}, sizes)
    high = 9 if a.high is None else evaluate(a.high, {}, sizes)
    return rng.integers(low, high, shape, dtype=a.dtype, endpoint=True)


# --- files ---------------------------------------------------------------------------------------


def contents(found: Library, recorded: Recorded, arrays: Arrays) -> tuple[dict[str, bytes], str]:
    """The files but for the manifest, and a sentence on the shared library."""
    from codegen.llvm.artifact_header import header
    from codegen.llvm.artifact_link import shared
    from codegen.llvm.artifact_machine import architecture
    from codegen.llvm.artifact_selftest import selftest

    title = found.name
    docs = {source.verb: source.program.doc for source in found.sources}
    texts = (
        found.object,
        found.archive,
        header(title, found.entries, found.target, docs).encode(),
        selftest(title, found.entries, recorded).encode(),
        weights_bytes(arrays),
    )
    files = dict(zip(fixed_files(title), texts, strict=False))
    code, how = shared(found.object, f"lib{title}.so", found.target, architecture())
    if code is None:
        return files, f"no lib{title}.so: {how}"
    files[f"lib{title}.so"] = code
    return files, f"lib{title}.so was linked by {how}"


def manifest(
    runner: Runner, found: Library, recorded: Recorded, files: Mapping[str, bytes], shared: str
) -> form.Manifest:
    """All of it as data."""
    from codegen.llvm.artifact_machine import needed

    target = found.target
    leaves = [*runner.step.inputs, *(runner.predict.inputs if found.entries[1:] else ())]
    defaults = {leaf.name: leaf.default for leaf in leaves}
    machine = form.Machine("linux", target.triple.split("-")[0], target.cpu, needed(target))
    return form.Manifest(
        found.name,
        own_version(),
        runner.dtype,
        machine,
        {e.verb: function(e, defaults) for e in found.entries},
        shared,
        {
            "file": "selftest.c",
            "sizes": dict(recorded.sizes),
            "steps": STEPS,
            "tolerance": recorded.tolerance,
        },
        {n: form.File(hashlib.sha256(data).hexdigest(), len(data)) for n, data in files.items()},
    )


def function(e: Entry, defaults: Mapping[str, Any]) -> form.Function:
    """A function of the library as data."""
    arrays = []
    for a in e.arrays:
        low, high = form.limits(a.dtype)
        one = form.Array(
            a.name, a.field, a.dtype, a.dims, a.axes, a.role, a.written,
            low if a.low is None else a.low, high if a.high is None else a.high,
        )  # fmt: skip
        default = None if a.role == "output" else defaults.get(a.name)
        arrays.append(replace(one, default=default))
    return form.Function(e.symbol, tuple(s.name for s in e.sizes), tuple(arrays))


def own_version() -> str:
    """The installed version, or that this is a copy of the source."""
    try:
        return version("symprop")
    except PackageNotFoundError:
        return "from source"
