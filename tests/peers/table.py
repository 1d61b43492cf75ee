"""The table of comparison cases: what a case is, how its leaves are made, where its numbers lie.

In: a case's symprop function, torch function and seeded inputs (files `cases_*.py`).
Out: `CASES`, name -> Case, in the order of declaration; `read_reference`, the committed numbers.
Guarantees: importing this needs neither torch nor the reference files; the inputs of a case depend
on its name only; a leaf is declared from its array alone (see `declare`).
Not here: any comparison (tests/test_peers.py) and any torch call (make_reference.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import symprop as prop

Arrays = dict[str, np.ndarray]
REFERENCE = Path(__file__).parent / "reference"


class Leaves(dict[str, Any]):
    """Leaves (or tensors) by name: `v["hidden.weight"]`, and `v.x` where the name has no dot."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Case:
    """One model: `symprop(v)` and `torch(torch, v)` give the same scalar loss of the leaves `v`.

    `data(rng)` makes the inputs; `dims` overrides the dims of a leaf (to name or free one);
    `classes` gives the bound of each integer leaf; `fixed` names leaves not differentiated;
    `kinked` names leaves whose data lie on kinks by intent (ties, a guard's edge).
    """

    name: str
    data: Callable[[np.random.Generator], Arrays]
    symprop: Callable[[Leaves], Any]
    torch: Callable[[Any, Leaves], Any]
    dims: Mapping[str, Any] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    kinked: tuple[str, ...] = ()

    def inputs(self) -> Arrays:
        """The seeded inputs; floats are float64, integers int64."""
        return self.data(np.random.default_rng(zlib.crc32(self.name.encode())))

    def differentiated(self, inputs: Mapping[str, np.ndarray]) -> list[str]:
        """Names of the leaves whose gradients are compared, in order."""
        return [n for n, a in inputs.items() if a.dtype.kind == "f" and n not in self.fixed]

    def vectors(self, inputs: Mapping[str, np.ndarray]) -> Arrays:
        """The seeded vector of the Hessian-vector product, a part for each differentiated leaf."""
        rng = np.random.default_rng(zlib.crc32(f"vector of {self.name}".encode()))
        return {n: rng.normal(size=inputs[n].shape) for n in self.differentiated(inputs)}


CASES: dict[str, Case] = {}


def case(name: str, **parts: Any) -> None:
    """Adds a case to the table; a name is used once."""
    if name in CASES:
        raise ValueError(f"peer case {name!r} is declared twice")
    CASES[name] = Case(name, **parts)


def declare(case: Case, inputs: Mapping[str, np.ndarray]) -> Leaves:
    """The symprop leaves of a case.

    A dotted name is a parameter, another float an input, an integer array labels with the
    case's number of classes, a boolean array a boolean input.
    """
    leaves = Leaves()
    for name, array in inputs.items():
        dims = case.dims.get(name, array.shape)
        if array.dtype.kind == "i":
            leaves[name] = prop.labels(name, dims, classes=case.classes[name])
        elif array.dtype.kind == "b":
            leaves[name] = prop.input(name, dims, dtype="bool")
        elif "." in name:
            leaves[name] = prop.parameter(name, dims, init=array)
        else:
            leaves[name] = prop.input(name, dims)
    return leaves


@dataclass(frozen=True)
class Reference:
    """torch's float64 numbers of one case, with the inputs they belong to."""

    inputs: Arrays
    vectors: Arrays
    loss: float
    gradients: Arrays
    products: Arrays


def write_reference(name: str, reference: Reference) -> Path:
    """Writes one case's file; equal numbers give equal bytes (npz entries carry no date)."""
    entries: Arrays = {"loss": np.array(reference.loss)}
    for kind in ("inputs", "vectors", "gradients", "products"):
        for leaf, array in getattr(reference, kind).items():
            entries[f"{kind}/{leaf}"] = array
    path = REFERENCE / f"{name}.npz"
    np.savez(path, allow_pickle=False, **entries)  # type: ignore[arg-type]
    return path


def read_reference(name: str) -> Reference:
    """Reads one case's file (arrays only; nothing is unpickled)."""
    groups: dict[str, Arrays] = {k: {} for k in ("inputs", "vectors", "gradients", "products")}
    if not (REFERENCE / f"{name}.npz").exists():
        raise FileNotFoundError(
            f"the case {name!r} has no reference values yet: in the folder tests run "
            f"`python -m peers.make_reference {name}` (extra `peers`)"
        )
    with np.load(REFERENCE / f"{name}.npz", allow_pickle=False) as stored:
        loss = float(stored["loss"])
        for key in stored.files:
            kind, _, leaf = key.partition("/")
            if leaf:
                groups[kind][leaf] = stored[key]
    return Reference(loss=loss, **groups)


def weights(shape: Iterable[int]) -> np.ndarray:
    """Fixed positive weights of a shape, so that no two elements enter a loss alike."""
    shape = tuple(shape)
    return (1.0 + 0.5 * np.cos(np.arange(int(np.prod(shape))))).reshape(shape)


def probe(value: Any) -> Any:
    """A scalar of a symprop value of known shape: the weighted sum of its squares."""
    return prop.sum(prop.constant(weights(value.shape)) * value * value)


def torch_probe(torch: Any, value: Any) -> Any:
    """The same scalar of a torch value."""
    c = torch.tensor(weights(value.shape), dtype=value.dtype)
    return torch.sum(c * value * value)


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal numbers of a shape."""
    return rng.normal(size=shape) * scale


def positive(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers in 0.5 .. 2, for functions of positive numbers."""
    return rng.uniform(0.5, 2.0, size=shape)


def integers(rng: np.random.Generator, below: int, *shape: int) -> np.ndarray:
    """Integers in 0 .. below - 1, as int64."""
    return rng.integers(0, below, size=shape, dtype=np.int64)
