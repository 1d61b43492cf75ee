"""What a network does on one batch, a row a layer and a row a parameter.

In: the layers of a loss (`symprop.diagnose.read`), a trainer, a batch. Out: `Measured`.
Guarantees: a share or a gain that does not apply is None, never a number that means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from symprop import term as t
from symprop.diagnose.activations import DEAD, FLAT, Curve
from symprop.diagnose.gains import Gains
from symprop.diagnose.numbers import Array, Arrays, Numbers, Scale, scale
from symprop.diagnose.read import Layer, Network
from symprop.graph import Leaf, Node, Reduce, origin

if TYPE_CHECKING:
    from symprop.trainer import Trainer

__all__ = ["LayerRow", "Measured", "ParameterRow", "measure"]

# A unit is called dead only where it was seen on so many examples and places.
SEEN = 16


@dataclass(frozen=True)
class LayerRow:
    """One layer on one batch; None where a number does not apply.

    `saturated` and `dead` are shares, of elements and of units; `zero` is the share of results that
    are exactly 0. Gains are ratios of root mean squares: forward, of this pre-activation to the one
    before it (of the first: to the data); backward, of this delta to the one after it.
    """

    name: str
    place: str
    shape: tuple[int, ...]
    depth: int
    activation: str
    steepest: float | None
    before: Scale
    after: Scale | None
    delta: Scale | None
    saturated: float | None
    dead: float | None
    zero: float | None
    forward: float | None
    forward_predicted: float | None
    backward: float | None
    backward_predicted: float | None
    product: bool


@dataclass(frozen=True)
class ParameterRow:
    """One parameter: its scale, its gradient's, and how large the next update is beside it."""

    name: str
    place: str
    shape: tuple[int, ...]
    value: Scale
    gradient: Scale
    update: float | None


@dataclass(frozen=True)
class Measured:
    """All rows, the loss, the scales of the data, and the scans that were not looked into."""

    layers: tuple[LayerRow, ...]
    parameters: tuple[ParameterRow, ...]
    data: Mapping[str, Scale]
    loss: float
    scans: tuple[str, ...]


def measure(trainer: Trainer, network: Network, arrays: Arrays) -> Measured:
    """Run the network once and look at its layers; `arrays` are the batch, checked."""
    numbers = Numbers(trainer, network, arrays)
    gains = Gains(network, numbers)
    rows = [layer_row(layer, numbers, gains) for layer in network.layers]
    parameters = [parameter_row(leaf, numbers) for leaf in numbers.parameters]
    data = {n: scale(a) for n, a in arrays.items() if a.dtype.kind == "f"}
    loss = float(numbers[network.loss])
    return Measured(tuple(rows), tuple(parameters), data, loss, network.scans)


def zero_everywhere(node: Node) -> bool:
    """Whether a gradient is 0 by construction: nothing leads from the value to the loss."""
    return isinstance(node, Reduce) and node.body is t.num(0)


# --- rows ----------------------------------------------------------------------------------------


def layer_row(layer: Layer, numbers: Numbers, gains: Gains) -> LayerRow:
    """One layer's numbers."""
    own, after = layer.activation, None
    curve = gains.curve(layer)
    saturated = dead = zero = None
    if own is not None and curve is not None and own.name:
        result = numbers[own.node]
        after, zero = scale(result), share(result == 0)
        saturated, dead = flat_shares(numbers[numbers.slopes[layer.value]], curve, layer.units)
    gradient = numbers.deltas[layer.value]
    delta = None if zero_everywhere(gradient) else scale(numbers[gradient])
    forward, backward = gains.measured(layer)
    return LayerRow(
        layer.name, origin(layer.value).place, numbers[layer.value].shape, layer.depth,
        "" if own is None else own.name, None if curve is None else curve.steepest,
        scale(numbers[layer.value]), after, delta, saturated, dead, zero,
        forward, gains.forward(layer), backward, gains.backward(layer), bool(layer.products),
    )  # fmt: skip


def flat_shares(
    slopes: Array, curve: Curve, units: tuple[int, ...]
) -> tuple[float | None, float | None]:
    """The share of elements in a flat tail, and of units that are dead on every example."""
    size = np.abs(slopes.astype(np.float64)) / (curve.steepest or 1.0)
    if curve.saturates:
        return share(size < FLAT), None
    others = tuple(k for k in range(size.ndim) if k not in units)
    seen = math.prod(size.shape[k] for k in others)
    if not curve.dies or seen < SEEN:
        return None, None
    return None, share(size.max(axis=others) <= DEAD)


def share(true: Array) -> float:
    """The share of true elements."""
    return float(np.mean(true)) if true.size else 0.0


def parameter_row(leaf: Leaf, numbers: Numbers) -> ParameterRow:
    """One parameter's numbers."""
    value, gradient = numbers[leaf], numbers[numbers.deltas[leaf]]
    own = scale(value)
    with np.errstate(all="ignore"):
        moved = scale(numbers[numbers.updates[leaf]].astype(np.float64) - value)
    update = moved.rms / own.rms if own.rms else None
    return ParameterRow(leaf.name, leaf.where, value.shape, own, scale(gradient), update)
