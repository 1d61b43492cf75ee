"""The networks that are timed: sizes, operations, bars, and the arrays that every system is given.

In: nothing. Out: `WORKLOADS`, a row a network; `case`, its weights and its batch.

Every one is a dense network with softmax cross entropy, trained with Adam (rate 0.001) in float32.

Operations of a step, by hand. Let the layers have n_0, ..., n_L units and the batch B examples. A
product of (p, q) by (q, r) matrices is p*q*r multiplications and as many additions. For each layer
k = 1..L, backpropagation takes three such products:

    values      Z_k  = H_{k-1} W_k^T        B by n_{k-1} by n_k
    weights     dW_k = dZ_k^T H_{k-1}       n_k by B by n_{k-1}
    values      dH_{k-1} = dZ_k W_k         B by n_k by n_{k-1}, but not for k = 1: nobody asks for
                                            the gradient of the data

that is 2 B n_{k-1} n_k operations each: 6 B times the sum of all n_{k-1} n_k, less 2 B n_0 n_1. The
`working` of a row is this with its numbers. Biases, activations, softmax and Adam are not counted:
a step at the limit would do them for nothing. No program is looked at.

Guarantees: the same arrays on every machine (they are drawn from the seed in the row).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from symprop.errors import DeclarationError, listed, quoted

__all__ = ["BETAS", "EPSILON", "RATE", "WORKLOADS", "Bars", "Case", "Workload", "case", "chosen"]

RATE, BETAS, EPSILON = 1e-3, (0.9, 0.999), 1e-8  # of Adam

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Bars:
    """What should be reached: how many times as fast as the best peer that makes a step a call, and
    as JAX with the loop inside; how many times the limit at most; seconds until the first step, at
    most, cold. None where nothing was asked."""

    step: float
    loop: float | None
    limit: float | None
    compile: float | None


@dataclass(frozen=True)
class Workload:
    """A row: units of each layer from the input on, the activation between layers, the batch, and
    the operations of a step with their working."""

    name: str
    title: str
    units: tuple[int, ...]
    activation: str
    batch: int
    operations: int
    working: str
    bars: Bars
    seed: int = 0


WORKLOADS: tuple[Workload, ...] = (
    Workload(
        "tiny",
        "2-16-16-2, batch 32, tanh",
        (2, 16, 16, 2),
        "tanh",
        32,
        59_392,
        "6*32*(2*16 + 16*16 + 16*2) - 2*32*2*16",
        Bars(step=18, loop=5, limit=None, compile=0.3),
    ),
    Workload(
        "digits",
        "64-64-10, batch 32, ReLU",
        (64, 64, 10),
        "relu",
        32,
        647_168,
        "6*32*(64*64 + 64*10) - 2*32*64*64",
        Bars(step=3, loop=1.9, limit=1.6, compile=0.3),
    ),
    Workload(
        "mnist",
        "784-128-10, batch 64, ReLU",
        (784, 128, 10),
        "relu",
        64,
        26_181_632,
        "6*64*(784*128 + 128*10) - 2*64*784*128",
        Bars(step=1.35, loop=1.25, limit=1.25, compile=0.3),
    ),
    Workload(
        "deep",
        "64 x 20 layers + 10, batch 64, tanh",
        (64,) * 21 + (10,),
        "tanh",
        64,
        31_178_752,
        "6*64*(20*64*64 + 64*10) - 2*64*64*64",
        Bars(step=2, loop=1.6, limit=1.35, compile=0.3),
    ),
    Workload(
        "big",
        "784-1024-1024-10, batch 256, GELU",
        (784, 1024, 1024, 10),
        "gelu",
        256,
        2_448_424_960,
        "6*256*(784*1024 + 1024*1024 + 1024*10) - 2*256*784*1024",
        Bars(step=1.05, loop=None, limit=1.35, compile=None),
    ),
)


def chosen(names: list[str]) -> list[Workload]:
    """The rows of these names in the order of the table; all where none is named.

    Raises DeclarationError for a name that no row has.
    """
    known = {w.name: w for w in WORKLOADS}
    for name in names:
        if name not in known:
            raise DeclarationError(
                f"there is no workload {quoted(name)}: choose among {listed(known)}"
            )
    return [w for w in WORKLOADS if not names or w.name in names]


@dataclass(frozen=True)
class Case:
    """What every system starts from: (out, in) weights and (out,) biases of the layers, a batch `x`
    of shape (batch, in) and its classes `y`, int64."""

    workload: Workload
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    x: Array
    y: NDArray[np.int64]

    @property
    def input_bytes(self) -> int:
        """Of the batch."""
        return self.x.nbytes + self.y.nbytes


def case(workload: Workload) -> Case:
    """The arrays of a row; weights vary as He's rule says under ReLU and GELU, LeCun's under tanh,
    and biases are small but not zero, so that no gradient is forgotten unseen."""
    rng = np.random.default_rng(workload.seed)
    gain = 1.0 if workload.activation == "tanh" else 2.0
    pairs = list(zip(workload.units[:-1], workload.units[1:], strict=True))
    weights = [rng.normal(size=(out, n)) * (gain / n) ** 0.5 for n, out in pairs]
    biases = [rng.normal(size=out) * 0.01 for _, out in pairs]
    x = rng.normal(size=(workload.batch, workload.units[0]))
    y = rng.integers(0, workload.units[-1], size=workload.batch)
    return Case(
        workload,
        tuple(w.astype(np.float32) for w in weights),
        tuple(b.astype(np.float32) for b in biases),
        x.astype(np.float32),
        y,
    )
