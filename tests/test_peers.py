"""Every model of the table against torch, and emitted NumPy against the oracle.

In: tests/peers (the table, and torch's committed float64 numbers; torch itself is not needed).
Guarantees, as max|a - b| / max|b| of each tensor:
gradients in float64 against torch 1e-11, Hessian-vector products 1e-10 (forward over reverse and
reverse over reverse); loss and gradients as emitted against the oracle 1e-12 in float64, and 1e-5
in float32 (the oracle in float64, on the same rounded inputs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from peers.models import CASES, Reference, declare, read_reference

import symprop as prop
from symprop import oracle

GRADIENT = 1e-11
PRODUCT = 1e-10
ORACLE = {"float64": 1e-12, "float32": 1e-5}
# A tensor that is exactly zero has no scale of its own: it is met to this part of the largest one.
ZERO = 1e-14

EVERY = pytest.mark.parametrize("name", list(CASES))


class Model:
    """One case declared in symprop, with its loss and its gradients."""

    def __init__(self, name: str) -> None:
        self.case = CASES[name]
        self.reference: Reference = read_reference(name)
        self.leaves = declare(self.case, self.reference.inputs)
        self.names = self.case.differentiated(self.reference.inputs)
        self.wanted = [self.leaves[n] for n in self.names]
        self.loss = self.case.symprop(self.leaves)
        self.gradients = prop.gradient(self.loss, self.wanted)

    def tangents(self) -> list[Any]:
        """The vector of the Hessian-vector product, as inputs `along_0`, `along_1`, ..."""
        return [prop.input(f"along_{k}", self.leaves[n].dims) for k, n in enumerate(self.names)]

    def tangent_values(self) -> dict[str, np.ndarray]:
        return {f"along_{k}": self.reference.vectors[n] for k, n in enumerate(self.names)}


def assert_close(
    names: Sequence[str],
    ours: Sequence[np.ndarray],
    theirs: Mapping[str, np.ndarray],
    bound: float,
) -> None:
    """Every tensor within the bound of its own scale, shapes equal."""
    assert len(names) == len(ours)
    largest = max(float(np.max(np.abs(a), initial=0.0)) for a in theirs.values())
    for name, mine in zip(names, ours, strict=True):
        wanted = np.asarray(theirs[name])
        assert np.shape(mine) == wanted.shape, f"{name}: {np.shape(mine)} is not {wanted.shape}"
        scale = float(np.max(np.abs(wanted), initial=0.0))
        allowed = bound * scale if scale else ZERO * largest
        error = float(np.max(np.abs(np.asarray(mine, dtype=np.float64) - wanted), initial=0.0))
        assert error <= allowed, f"{name}: error {error:.3e} of scale {scale:.3e}"


@cache
def declared(name: str) -> Model:
    """The case, declared once for all its tests."""
    return Model(name)


@cache
def gradient_function(name: str, dtype: str) -> Any:
    """The emitted function of a case's loss and gradients."""
    model = declared(name)
    return prop.compile([model.loss, *model.gradients], backend="numpy", dtype=dtype)


def call(function: Any, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The function's outputs as a list; it is handed the values that it reads."""
    result = function({n: a for n, a in values.items() if n in function.inputs})
    return list(result) if isinstance(result, tuple | list) else [result]


def rounded(values: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Floats rounded to the dtype, held as float64."""
    return {
        n: a.astype(dtype).astype(np.float64) if a.dtype.kind == "f" else a
        for n, a in values.items()
    }


@EVERY
def test_gradients_equal_torch(name: str) -> None:
    model = declared(name)
    loss, *gradients = call(gradient_function(name, "float64"), model.reference.inputs)
    assert loss.shape == ()
    assert abs(float(loss) - model.reference.loss) <= GRADIENT * abs(model.reference.loss)
    assert_close(model.names, gradients, model.reference.gradients, GRADIENT)


@EVERY
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_hessian_vector_products_equal_torch(name: str, mode: str) -> None:
    model = declared(name)
    tangents = model.tangents()
    if mode == "forward":
        products = prop.jvp(model.gradients, model.wanted, tangents)
    else:
        along = sum(
            (prop.sum(g * v) for g, v in zip(model.gradients, tangents, strict=True)),
            start=prop.constant(np.array(0.0)),
        )
        products = prop.gradient(along, model.wanted)
    values = model.reference.inputs | model.tangent_values()
    found = call(prop.compile(products, backend="numpy", dtype="float64"), values)
    assert_close(model.names, found, model.reference.products, PRODUCT)


@EVERY
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_emitted_numpy_equals_the_oracle(name: str, dtype: str) -> None:
    model = declared(name)
    values = rounded(model.reference.inputs, dtype)
    outputs = [model.loss, *model.gradients]
    names = ["loss", *model.names]
    truth = oracle.evaluate([o.node for o in outputs], values)
    emitted = call(gradient_function(name, dtype), values)
    assert all(a.dtype == np.dtype(dtype) for a in emitted)
    assert_close(names, emitted, dict(zip(names, truth, strict=True)), ORACLE[dtype])


def test_the_table_is_as_large_as_promised() -> None:
    assert len(CASES) >= 45
