"""`prop.load`: an exported folder runs again, from the bytes that its manifest vouches for.

In: a folder that `trainer.export` wrote; arrays by name.
Out: `Artifact`: the step, the outputs, the weights; neither the network's declaration nor, where
there is a shared library, a compiler is needed.
Guarantees: a file is read once, from a folder and a file that are no links, and what is loaded are
the bytes whose SHA-256 was compared, from sealed memory on Linux; a folder for another machine, of
another version, or with a file that is not the one written (the header too), is a DataError and
nothing runs; what is not needed here, such as the self-test, may have been taken away. Data is
checked as a trainer checks it, before any of it is used.

The manifest protects against damage and mix-ups. Whoever can write the folder can write a manifest
that fits what he put there: an artifact is a program, to be loaded from whom one trusts, or with
the `sha256` that the export said.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Mapping
from math import prod
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any

import numpy as np

from codegen.aligned import aligned, aligned_copy
from codegen.index import evaluate
from symprop import checkpoint
from symprop import manifest as form
from symprop.artifact_files import Files
from symprop.artifact_library import Native, loaded
from symprop.data import Arrays, Door
from symprop.errors import DataError, UnsupportedError, quoted
from symprop.manifest import MANIFEST, WEIGHTS, Manifest
from symprop.progress import interrupts_held

__all__ = ["Artifact", "load"]

SIZE = 3  # the kind of a code that is about a size, not an array


def load(folder: str | os.PathLike[str], sha256: str | None = None) -> Artifact:
    """The step that `trainer.export` wrote into a folder, ready to run.

    Args:
        folder: the folder.
        sha256: that of the manifest, as the export said it: then the folder is known for certain.

    Raises DataError for a folder that is not whole, is for another machine or has been changed, and
    UnsupportedError where there is no shared library in it and llvmlite is not installed.
    """
    where = quoted(os.fspath(folder))
    with Files(folder) as files:
        data = files.read(MANIFEST, form.MOST)
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise DataError(f"{MANIFEST} in {where} is not the one with the SHA-256 that was given")
        try:
            described = form.read(data)
        except ValueError as error:
            raise DataError(
                f"{MANIFEST} in {where} cannot be used: {error}; export the step again"
            ) from error
        check_machine(where, described)
        weights = files.vouched(WEIGHTS, described.files)
        shared, single = f"lib{described.name}.so", f"{described.name}.o"
        which = shared if shared in described.files else single
        code = files.vouched(which, described.files)
        files.check_rest((WEIGHTS, which), described.files)
    arrays = started(f"{WEIGHTS} in {where}", described, weights)
    library = loaded(code, which, described)
    return Artifact(Path(os.path.abspath(folder)), described, library, arrays)


def check_machine(where: str, described: Manifest) -> None:
    """Refuse code for another machine."""
    from codegen.llvm.artifact_machine import refusal

    machine = described.machine
    why = refusal(machine.architecture, machine.features)
    if why:
        raise UnsupportedError(
            f"the artifact in {where} {why}: export the step on this machine, or with a target "
            "that it has"
        )


def started(where: str, described: Manifest, data: bytes) -> Arrays:
    """The parameters and states of the file of weights."""
    expected: Arrays = {}
    for function in described.functions.values():
        for a in function.arrays:
            if a.role in ("parameter", "state") and a.name not in expected:
                shape = tuple(d.const for d in a.dims)
                if min(shape, default=0) < 0 or prod(shape) > len(data):
                    raise DataError(f"{where} is too small for {quoted(a.name)} of shape {shape}")
                expected[a.name] = np.empty(shape, a.dtype)
    found = checkpoint.weights_in(where, data, expected)
    return {name: aligned_copy(array) for name, array in found.items()}


class Artifact:
    """An exported step with its arrays: `step` trains, `predict` gives the outputs.

    `path` is its folder; `loaded_from` is the file whose code runs, and how it was loaded. Calls
    wait for one another.
    """

    def __init__(self, path: Path, described: Manifest, library: Native, arrays: Arrays) -> None:
        self.path, self.manifest = path, described
        self.loaded_from = library.source
        self._library = library
        self._arrays = arrays
        self._lock = Lock()
        self._calls = {
            verb: _Call(described, f, library, arrays) for verb, f in described.functions.items()
        }

    @property
    def parameters(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """The live arrays of the parameters by name: training changes them in place."""
        return self._of("parameter")

    @property
    def states(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """The live arrays that are not trained, such as the moments of Adam, by name."""
        return self._of("state")

    def _of(self, role: str) -> Mapping[str, np.ndarray[Any, Any]]:
        found = (a for f in self.manifest.functions.values() for a in f.arrays if a.role == role)
        return MappingProxyType({a.name: self._arrays[a.name] for a in found})

    def step(self, data: Mapping[str, Any]) -> float:
        """Train on one batch; the loss before the update."""
        with self._lock, interrupts_held():
            return float(next(iter(self._calls["step"](data).values())))

    def predict(self, data: Mapping[str, Any]) -> Arrays:
        """The outputs by name; only what they read need be handed in."""
        if "predict" not in self._calls:
            raise DataError("this artifact has no outputs: its step was exported without any")
        with self._lock:
            return self._calls["predict"](data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and states to a safetensors file, whole or not at all."""
        checkpoint.write_weights(path, self._arrays)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take parameters and states from a file that `save`, or the trainer's, wrote.

        Guarantees: nothing changes unless every name, shape and dtype fits.
        """
        found = checkpoint.read_weights(path, self._arrays)
        with self._lock, interrupts_held():
            for name, array in self._arrays.items():
                np.copyto(array, found[name])

    def __repr__(self) -> str:
        return f"<artifact {self.manifest.name} in {str(self.path)!r}, {self.loaded_from}>"


class _Call:
    """A function of the library on arrays of the caller and of the artifact."""

    def __init__(
        self, described: Manifest, function: form.Function, library: Native, own: Arrays
    ) -> None:
        self.function, self.own = function, own
        self.run, self.memory_of = library.functions[function.symbol]
        self.message = library.message
        handed = [a for a in function.arrays if a.role in ("input", "scalar")]
        every = [a for f in described.functions.values() for a in f.arrays]
        ignored = [a.name for a in every if a.role in ("input", "scalar")]
        self.door = Door(handed, described.dtype, ignored=ignored)
        self.memory = aligned(0)
        addresses = [own[a.name].ctypes.data if a.name in own else 0 for a in function.arrays]
        self.table = (ctypes.c_void_p * len(addresses))(*addresses)
        # Those that come anew with every call, with their places.
        self.fresh = [(n, a) for n, a in enumerate(function.arrays) if a.name not in own]

    def __call__(self, data: Mapping[str, Any]) -> Arrays:
        """The outputs, as new arrays."""
        given, sizes = self.door(data)
        outputs: Arrays = {}
        for n, a in self.fresh:
            if a.role == "output":
                shape = tuple(evaluate(d, {}, sizes) for d in a.dims)
                array = outputs[a.name] = np.empty(shape, a.dtype)
            else:  # kept in `given` while the function runs
                array = given[a.name] = self.apart(given[a.name])
            self.table[n] = array.ctypes.data
        counts = [sizes[name] for name in self.function.sizes]
        needed = self.memory_of(*counts)
        if self.memory.nbytes < needed:
            self.memory = aligned(needed)
        code = self.run(*counts, self.table, self.memory.ctypes.data, self.memory.nbytes)
        if code:
            raise self.refused(code)
        return outputs

    def apart(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """An input that shares no memory with what the function changes."""
        shared = any(np.may_share_memory(array, own) for own in self.own.values())
        return array.copy() if shared else array

    def refused(self, code: int) -> DataError:
        """The error for a code of the function."""
        names = [a.name for a in self.function.arrays]
        if code & 255 == SIZE:
            names = list(self.function.sizes)
        which = code >> 8
        about = f" ({quoted(names[which - 1])})" if 0 < which <= len(names) else ""
        return DataError(
            f"{self.function.symbol} refused the call: {self.message(code)}{about}; hand in what "
            "was declared"
        )
