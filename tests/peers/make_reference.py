"""Writes tests/peers/reference/*.npz: torch's float64 loss, gradients and Hessian-vector products.

In: the table of cases; torch (extra `peers`; the tests themselves need no torch).
Out: one small file a case, rewritten in full; files of cases that are gone are removed.
Guarantees: a case whose numbers are not finite, whose Hessian-vector product disagrees with central
differences of torch's own gradient (along leaves that do not lie on kinks by intent), or whose data
are so ill scaled that torch in float32 misses torch in float64 by more than 3e-6, is refused: such
a case would test the data, not symprop.

Run in the directory `tests`:  python -m peers.make_reference [case ...]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .models import CASES, Case
from .table import REFERENCE, Arrays, Leaves, Reference, write_reference

LARGEST_FILE = 60_000
STEP = 1e-5  # of the central difference; its error is about STEP**2 times a third derivative


def tensors(case: Case, inputs: Arrays, dtype: Any) -> Leaves:
    """torch leaves of a case; the differentiated ones require gradients."""
    import torch

    leaves = Leaves()
    for name, array in inputs.items():
        tensor = torch.tensor(array)
        if array.dtype.kind == "f":
            tensor = tensor.to(dtype)
        leaves[name] = tensor.requires_grad_(name in case.differentiated(inputs))
    return leaves


def run(case: Case, inputs: Arrays, vectors: Arrays, dtype: Any) -> Reference:
    """Loss, gradients and Hessian-vector product of a case in torch, in the given float type."""
    import torch

    leaves = tensors(case, inputs, dtype)
    names = case.differentiated(inputs)
    wanted = [leaves[n] for n in names]
    loss = case.torch(torch, leaves)
    gradients = torch.autograd.grad(
        loss, wanted, create_graph=True, allow_unused=True, materialize_grads=True
    )
    along = sum(
        (g * torch.tensor(vectors[n]).to(dtype)).sum()
        for n, g in zip(names, gradients, strict=True)
    )
    # A gradient that depends on nothing (a piecewise linear loss) has a zero product.
    if along.requires_grad:
        products = torch.autograd.grad(along, wanted, allow_unused=True, materialize_grads=True)
    else:
        products = [torch.zeros_like(w) for w in wanted]
    return Reference(
        inputs=inputs,
        vectors=vectors,
        loss=float(loss.detach()),
        gradients={n: g.detach().numpy() for n, g in zip(names, gradients, strict=True)},
        products={n: p.detach().numpy() for n, p in zip(names, products, strict=True)},
    )


def difference(a: Arrays, b: Arrays) -> float:
    """The worst max|a - b| / max|b| over the tensors; a zero tensor must be met to 1e-15 of all."""
    largest = max(float(np.max(np.abs(x))) for x in b.values())
    worst = 0.0
    for name, wanted in b.items():
        scale = float(np.max(np.abs(wanted))) or max(largest, 1.0)
        worst = max(worst, float(np.max(np.abs(a[name] - wanted))) / scale)
    return worst


def make(case: Case) -> str:
    """Computes, checks and writes one case; returns its line of the report."""
    import torch

    inputs = case.inputs()
    vectors = case.vectors(inputs)
    reference = run(case, inputs, vectors, torch.float64)
    for kind in ("gradients", "products"):
        group = getattr(reference, kind)
        largest = max(float(np.max(np.abs(a))) for a in group.values())
        for name, array in group.items():
            size = float(np.max(np.abs(array)))
            if not np.all(np.isfinite(array)) or 0 < size < 1e-3 * largest:
                raise SystemExit(f"{case.name}: {kind} of {name!r} are {size:.1e} of {largest:.1e}")

    smooth = {n: d * (n not in case.kinked) for n, d in vectors.items()}

    def moved(sign: float) -> Arrays:
        shifted = {n: a + sign * STEP * smooth[n] if n in smooth else a for n, a in inputs.items()}
        return run(case, shifted, vectors, torch.float64).gradients

    up, down = moved(1.0), moved(-1.0)
    slope = {n: (up[n] - down[n]) / (2 * STEP) for n in up}
    by_differences = difference(run(case, inputs, smooth, torch.float64).products, slope)

    rounded = {
        n: a.astype(np.float32).astype(np.float64) if a.dtype.kind == "f" else a
        for n, a in inputs.items()
    }
    single = run(case, rounded, vectors, torch.float32)
    double = run(case, rounded, vectors, torch.float64)
    in_single = max(
        abs(single.loss - double.loss) / abs(double.loss),
        difference(single.gradients, double.gradients),
    )

    size = write_reference(case.name, reference).stat().st_size
    line = (
        f"{case.name:34} loss {reference.loss:12.6g}  differences {by_differences:.1e}"
        f"  float32 {in_single:.1e}  {size:6d} B"
    )
    if by_differences > 1e-6 or in_single > 3e-6 or size > LARGEST_FILE:
        raise SystemExit(line + "\nrefused: see the head of this file")
    return line


def main(names: list[str]) -> None:
    REFERENCE.mkdir(exist_ok=True)
    for case in [CASES[n] for n in names] or CASES.values():
        print(make(case))
    for path in sorted(REFERENCE.glob("*.npz")):
        if path.stem not in CASES:
            path.unlink()
    total = sum(p.stat().st_size for p in REFERENCE.glob("*.npz"))
    print(f"{len(CASES)} cases, {total} B")


if __name__ == "__main__":
    main(sys.argv[1:])
