"""The manifest of an exported folder: what its functions take, for which machine, which files.

In: the entries of a library (`described`), or the bytes of a manifest.json (`read`).
Out: `Manifest`; `written` makes bytes of it.
Guarantees: `read(written(m)) == m`; the same manifest gives the same bytes, without a date or a
path. What is read is checked to the last field, since a file may come from anywhere: ValueError
says what is wrong with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from codegen.index import Ix, as_ix, dim

__all__ = ["FORMAT", "MANIFEST", "WEIGHTS", "Array", "File", "Function", "Machine", "Manifest"]

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
FORMAT = 1
MOST = 1 << 24  # bytes of a manifest
DTYPES = ("bool", "int32", "int64", "uint32", "uint64", "float32", "float64")
ROLES = ("input", "scalar", "parameter", "state", "output")
VERBS = ("step", "predict")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
FILE = re.compile(r"[A-Za-z0-9_]{1,70}\.[a-z]{1,20}")  # in the folder, not in one beside it
LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Machine:
    """What the code runs on: `features` are LLVM's names of what the processor must have."""

    system: str
    architecture: str
    processor: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class Array:
    """An array of a function, by the user's name; `low` to `high` bound the integers of an input.

    It has the attributes that `symprop.data` reads of a declared leaf.
    """

    name: str
    field: str
    dtype: str
    dims: tuple[Ix, ...]
    axes: tuple[str, ...]
    role: str
    written: bool
    low: Ix
    high: Ix
    default: float | None = None
    where: str = ""


@dataclass(frozen=True)
class Function:
    """A function of the library: the names of its sizes, and its arrays in order."""

    symbol: str
    sizes: tuple[str, ...]
    arrays: tuple[Array, ...]


@dataclass(frozen=True)
class File:
    """A file of the folder."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """All of it; `shared` says which linker made the shared library, or why there is none."""

    name: str
    symprop: str
    dtype: str
    machine: Machine
    functions: Mapping[str, Function]
    shared: str
    self_test: Mapping[str, Any]
    files: Mapping[str, File]


# --- to bytes ------------------------------------------------------------------------------------


def written(m: Manifest) -> bytes:
    """The manifest as JSON."""
    sizes = {repr(a): a for f in m.functions.values() for d in _dims(f) for a, _ in d.terms}
    data = {
        "format": "symprop artifact",
        "version": FORMAT,
        "symprop": m.symprop,
        "name": m.name,
        "dtype": m.dtype,
        "machine": {
            "system": m.machine.system,
            "architecture": m.machine.architecture,
            "processor": m.machine.processor,
            "features": list(m.machine.features),
        },
        "sizes": {name: {"low": a.lower, "high": a.capacity} for name, a in sorted(sizes.items())},
        "functions": {verb: _function(f) for verb, f in m.functions.items()},
        "shared_library": m.shared,
        "self_test": dict(m.self_test),
        "files": {n: {"sha256": f.sha256, "bytes": f.bytes} for n, f in m.files.items()},
    }
    return json.dumps(data, indent=1, allow_nan=False).encode() + b"\n"


def _dims(f: Function) -> list[Any]:
    """All that is made of sizes."""
    return [d for a in f.arrays for d in (*a.dims, a.low, a.high)]


def _function(f: Function) -> dict[str, Any]:
    return {
        "symbol": f.symbol,
        "memory": f"{f.symbol}_memory",
        "sizes": list(f.sizes),
        "arrays": [_array(a) for a in f.arrays],
    }


def _array(a: Array) -> dict[str, Any]:
    return {
        "name": a.name,
        "field": a.field,
        "dtype": a.dtype,
        "dims": [_ix(d) for d in a.dims],
        "axes": list(a.axes),
        "role": a.role,
        "written": a.written,
        "range": None if (a.low, a.high) == limits(a.dtype) else [_ix(a.low), _ix(a.high)],
        "default": a.default,
    }


def limits(dtype: str) -> tuple[Ix, Ix]:
    """The range of an array that has none declared."""
    low, high = (-(2**31), 2**31 - 1) if dtype == "int32" else (-LARGEST - 1, LARGEST)
    return as_ix(low), as_ix(high)


def _ix(ix: Ix) -> Any:
    """A number, or a number with what each size counts."""
    if not ix.terms:
        return ix.const
    return {"constant": ix.const, "times": {repr(atom): k for atom, k in ix.terms}}


# --- from bytes ----------------------------------------------------------------------------------


def read(data: bytes) -> Manifest:
    """The manifest that `written` wrote."""
    if len(data) > MOST:
        raise ValueError(f"it has more than {MOST} bytes")
    try:
        found = json.loads(data, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    top = _Fields(found, "it")
    if top.take("format", str) != "symprop artifact":
        raise ValueError("it is no manifest of symprop")
    version = top.take("version", int)
    if version != FORMAT:
        raise ValueError(f"it has format {version}, but this symprop reads format {FORMAT}")
    return _Reader(top).manifest()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it has a key twice")
    return found


def _no_constant(text: str) -> float:
    raise ValueError(f"it holds {text}")


class _Fields:
    """The fields of an object, each taken once and of a type that is said."""

    def __init__(self, found: Any, what: str) -> None:
        if not isinstance(found, dict):
            raise ValueError(f"{what} is not an object")
        self.found, self.what = found, what

    def take(self, key: str, kind: type) -> Any:
        if key not in self.found:
            raise ValueError(f"{self.what} lacks {key}")
        value = self.found[key]
        if type(value) is not kind:
            raise ValueError(f"{key} of {self.what} is not of type {kind.__name__}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.take(key, list)
        if not all(isinstance(v, str) for v in value):
            raise ValueError(f"{key} of {self.what} holds what is no text")
        return tuple(value)

    def one_of(self, key: str, known: Sequence[str]) -> str:
        value = self.take(key, str)
        if value not in known:
            raise ValueError(f"{key} of {self.what} is none of {', '.join(known)}")
        return str(value)

    def objects(self, key: str) -> dict[str, _Fields]:
        return {k: _Fields(v, f"{key} {ascii(k)[:40]}") for k, v in self.take(key, dict).items()}


class _Reader:
    def __init__(self, top: _Fields) -> None:
        self.top = top
        self.sizes: dict[str, Ix] = {}
        for name, row in top.objects("sizes").items():
            low, high = row.take("low", int), row.found.get("high")
            if high is not None and (type(high) is not int or high > LARGEST or high < low):
                raise ValueError(f"the bounds of {row.what} are wrong")
            if low < 0:
                raise ValueError(f"the bounds of {row.what} are wrong")
            self.sizes[name] = dim(name, lower=low, nominal=max(low, 1), capacity=high).ix()

    def manifest(self) -> Manifest:
        top = self.top
        name = top.take("name", str)
        if not NAME.fullmatch(name):
            raise ValueError("its name is not an identifier")
        functions = {verb: self.function(name, verb) for verb in top.objects("functions")}
        if "step" not in functions:
            raise ValueError("it has no function step")
        files = {n: self.file(n, row) for n, row in top.objects("files").items()}
        return Manifest(
            name,
            top.take("symprop", str),
            top.one_of("dtype", ("float32", "float64")),
            self.machine(),
            functions,
            top.take("shared_library", str),
            top.take("self_test", dict),
            files,
        )

    def machine(self) -> Machine:
        row = _Fields(self.top.take("machine", dict), "machine")
        return Machine(
            row.take("system", str),
            row.take("architecture", str),
            row.take("processor", str),
            row.texts("features"),
        )

    def file(self, name: str, row: _Fields) -> File:
        if not FILE.fullmatch(name):
            raise ValueError(f"{ascii(name)[:40]} is no name of a file in it")
        digest, size = row.take("sha256", str), row.take("bytes", int)
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or size < 0:
            raise ValueError(f"the digest or the size of {ascii(name)[:40]} is wrong")
        return File(digest, size)

    def function(self, name: str, verb: str) -> Function:
        if verb not in VERBS:
            raise ValueError(f"it has a function {ascii(verb)[:40]}")
        row = self.top.objects("functions")[verb]
        if row.take("symbol", str) != f"{name}_{verb}":
            raise ValueError(f"the symbol of {verb} is not {name}_{verb}")
        sizes = row.texts("sizes")
        if len(set(sizes)) != len(sizes) or not set(sizes) <= set(self.sizes):
            raise ValueError(f"the sizes of {verb} are not those that are declared")
        arrays = tuple(
            self.array(_Fields(a, f"an array of {verb}"), sizes) for a in row.take("arrays", list)
        )
        named = [(a.role == "output", a.name) for a in arrays]
        if len(set(named)) != len(named):
            raise ValueError(f"{verb} has two arrays of one name")
        return Function(f"{name}_{verb}", sizes, arrays)

    def array(self, row: _Fields, sizes: Sequence[str]) -> Array:
        dims = tuple(self.ix(d, sizes) for d in row.take("dims", list))
        axes = row.texts("axes")
        role = row.one_of("role", ROLES)
        if len(axes) != len(dims) or (
            role in ("parameter", "state") and any(d.terms for d in dims)
        ):
            raise ValueError(f"{row.what} has wrong axes")
        default = row.found.get("default")
        if default is not None and not (type(default) in (int, float) and isfinite(default)):
            raise ValueError(f"{row.what} has a default that is no number")
        dtype = row.one_of("dtype", DTYPES)
        low, high = limits(dtype)
        if row.found.get("range") is not None:
            bounds = row.take("range", list)
            if len(bounds) != 2:
                raise ValueError(f"the range of {row.what} is wrong")
            low, high = (self.ix(v, sizes) for v in bounds)
        return Array(
            row.take("name", str),
            row.take("field", str),
            dtype,
            dims,
            axes,
            role,
            row.take("written", bool),
            low,
            high,
            default,
        )

    def ix(self, value: Any, sizes: Sequence[str]) -> Ix:
        if type(value) is int:
            return as_ix(_whole(value))
        row = _Fields(value, "a size")
        total = as_ix(_whole(row.take("constant", int)))
        for name, k in row.take("times", dict).items():
            if name not in sizes:
                raise ValueError(f"an array has the size {ascii(name)[:40]}, which nobody gives")
            total = total + self.sizes[name] * _whole(k)
        return total


def _whole(value: Any) -> int:
    if type(value) is not int or not -LARGEST - 1 <= value <= LARGEST:
        raise ValueError("a size is no 64-bit integer")
    return value
