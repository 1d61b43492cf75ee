"""Random networks of dense layers, for the speed of what nobody tuned: their sizes are odd.

In: ``SEED``, drawn once. Out: ``architectures()``: twenty networks; of each its training step with
Adam, a batch, its dimensions, and the operations of its matrix products, derived by hand.

    layers    1 to 12, an odd width of 9 to 513 each; the batch is 1 to 300 examples
    each      may have an activation, layer norm, a dropout mask as an input, a residual
    loss      cross entropy over 2 to 40 classes, or the mean squared error of as many numbers

Guarantees: equal in every process; each has at least ``OPERATIONS`` in its matrix products, 50
microseconds of a core that does 240 GFLOP/s; what has fewer is drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any

import numpy as np

import symprop as prop

SEED = 3995681608
COUNT = 20
OPERATIONS = 12_000_000
KEPT = 0.8  # of the elements behind a dropout mask

ACTIVATIONS = {
    "relu": prop.relu, "leaky_relu": prop.leaky_relu, "tanh": prop.tanh, "sigmoid": prop.sigmoid,
    "silu": prop.silu, "gelu": prop.gelu, "gelu_tanh": prop.gelu_tanh, "elu": prop.elu,
    "softplus": prop.softplus,
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    """One hidden layer: its width, and what follows the affine map; "" is no activation."""

    width: int
    activation: str
    norm: bool
    mask: bool
    residual: bool

    def __str__(self) -> str:
        marks = [self.activation, "norm" * self.norm, "mask" * self.mask, "skip" * self.residual]
        return " ".join([str(self.width), *(m for m in marks if m)])


@dataclass(frozen=True)
class Architecture:
    """One network, by its sizes. ``free`` leaves the batch open until the step runs."""

    number: int
    batch: int
    inputs: int
    blocks: tuple[Block, ...]
    outputs: int
    classes: bool
    leaves: dict[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        end = f"{self.outputs} {'classes' if self.classes else 'numbers'}"
        return f"batch {self.batch}: {' | '.join([str(self.inputs), *map(str, self.blocks), end])}"

    @property
    def widths(self) -> list[int]:
        return [self.inputs, *(b.width for b in self.blocks), self.outputs]

    @property
    def operations(self) -> int:
        """A multiplication and an addition for every example and weight, in the forward product, in
        the gradient of the weight, and, but for the first layer, in that of what it reads."""
        pairs = list(zip(self.widths, self.widths[1:], strict=False))
        return sum(2 * self.batch * m * n * (3 if k else 2) for k, (m, n) in enumerate(pairs))

    def loss(self, free: bool = False) -> Any:
        """The loss, of leaves that are declared anew."""
        rows: Any = "batch" if free else self.batch
        h = prop.input("x", (rows, self.inputs))
        for k, b in enumerate(self.blocks):
            z = prop.Dense(b.width, name=f"layer{k}")(h)
            if b.norm:
                scale = prop.parameter(f"layer{k}.scale", (b.width,), 1.0)
                shift = prop.parameter(f"layer{k}.shift", (b.width,), 0.0)
                z = prop.layer_norm(z, scale, shift)
            if b.activation:
                z = ACTIVATIONS[b.activation](z)
            if b.mask:
                z = z * prop.input(f"mask{k}", (rows, b.width), dtype="bool") * (1 / KEPT)
            h = h + z if b.residual else z
        out = prop.Dense(self.outputs, name="out")(h)
        if self.classes:
            return prop.cross_entropy(out, prop.labels("y", (rows,), classes=self.outputs))
        return prop.mse(out, prop.input("y", (rows, self.outputs)))

    def step(self, free: bool = False) -> Any:
        return prop.training_step(self.loss(free), prop.Adam(1e-3))

    def data(self, batch: int = 0) -> Mapping[str, np.ndarray]:
        """A batch; of another number of examples where that is given."""
        rng, rows = np.random.default_rng((SEED, self.number)), batch or self.batch
        found: dict[str, np.ndarray] = {"x": rng.normal(size=(rows, self.inputs))}
        for k, b in enumerate(self.blocks):
            if b.mask:
                found[f"mask{k}"] = rng.uniform(size=(rows, b.width)) < KEPT
        if self.classes:
            found["y"] = rng.integers(0, self.outputs, size=rows)
        else:
            found["y"] = rng.normal(size=(rows, self.outputs))
        return {n: a.astype(np.float32) if a.dtype == np.float64 else a for n, a in found.items()}


@cache
def architectures() -> tuple[Architecture, ...]:
    """The networks, in the order in which they were drawn."""
    rng = Random(SEED)
    found: list[Architecture] = []
    while len(found) < COUNT:
        one = _drawn(rng, len(found))
        if one.operations >= OPERATIONS:
            found.append(one)
    return tuple(found)


def _drawn(rng: Random, number: int) -> Architecture:
    def width() -> int:
        return 2 * int(4.5 * (256.5 / 4.5) ** rng.random()) + 1

    batch, inputs, blocks = rng.randint(1, 300), width(), []
    before = inputs
    for _ in range(rng.randint(1, 12) - 1):
        same = rng.random() < 0.4
        b = Block(
            width=before if same else width(),
            activation=rng.choice([*ACTIVATIONS, ""]),
            norm=rng.random() < 0.3,
            mask=rng.random() < 0.3,
            residual=same and rng.random() < 0.7,
        )
        before = b.width
        blocks.append(b)
    return Architecture(
        number, batch, inputs, tuple(blocks), rng.randint(2, 40), rng.random() < 0.6
    )
