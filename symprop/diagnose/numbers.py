"""The values of a network's nodes on one batch, from one run of one program.

In: the layers of a loss, a trainer, a batch that was checked. Out: `Numbers`: an array a node, for
pre-activations, activations, their slopes, gradients, and parameters after one update; `scale` of
an array. Guarantees: the trainer's arrays are read in its width and not written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from symprop import term as t
from symprop.diagnose.read import Layer, Network, stripped
from symprop.expression import Expr
from symprop.function import compile_program
from symprop.gradient import pull
from symprop.graph import Leaf, Node
from symprop.make import filled

if TYPE_CHECKING:
    from symprop.trainer import Trainer

__all__ = ["Array", "Arrays", "Numbers", "Scale", "scale"]

Array = NDArray[Any]
Arrays = dict[str, Array]


@dataclass(frozen=True)
class Scale:
    """Of the elements of an array: mean, standard deviation, greatest size, root mean square."""

    mean: float
    std: float
    largest: float
    rms: float

    @property
    def finite(self) -> bool:
        """Whether no element is infinite or not a number."""
        return math.isfinite(self.largest)


def scale(array: Array) -> Scale:
    """The scale of an array, computed in float64."""
    if not array.size:
        return Scale(0.0, 0.0, 0.0, 0.0)
    values = array.astype(np.float64)
    with np.errstate(all="ignore"):
        rms = float(np.sqrt(np.mean(values**2)))
        largest = float(np.max(np.abs(values)))
        return Scale(float(values.mean()), float(values.std()), largest, rms)


class Numbers:
    """The values of a network's nodes, from one run of one program."""

    def __init__(self, trainer: Trainer, network: Network, arrays: Arrays) -> None:
        step = trainer.training_step
        leaves = [p.node for p in step.parameters]
        self.parameters = [leaf for leaf in leaves if isinstance(leaf, Leaf)]
        values = [layer.value for layer in network.layers]
        seed = filled(t.num(1), (), network.loss.dtype)
        pulled = pull([network.loss], [seed], [*values, *self.parameters])
        self.deltas = dict(zip([*values, *self.parameters], pulled, strict=True))
        self.updates = {target.node: new.node for target, new in step.updates}
        self.slopes = {
            layer.value: layer.activation.slope_node()
            for layer in network.layers
            if layer.activation is not None
        }
        wanted = [
            network.loss,
            *self.parameters,
            *self.wanted(network.layers),
            *self.deltas.values(),
        ]
        wanted += [self.updates[leaf] for leaf in self.parameters]
        nodes = list(dict.fromkeys(wanted))
        self.found = run(nodes, trainer, arrays)

    def wanted(self, layers: Sequence[Layer]) -> list[Node]:
        """The values to look at."""
        found: list[Node] = []
        for layer in layers:
            found += [layer.value, layer.result, *layer.biases]
            for product in layer.products:
                found += [product.weights, *(stripped(d) for d in product.data)]
        return [*found, *self.slopes.values()]

    def __getitem__(self, node: Node) -> Array:
        return self.found[node]


def run(nodes: Sequence[Node], trainer: Trainer, arrays: Arrays) -> dict[Node, Array]:
    """The nodes' arrays in the trainer's width."""
    given = {**trainer.parameters, **trainer.states, **arrays}
    computed = [n for n in nodes if not isinstance(n, Leaf)]
    found: dict[Node, Array] = {}
    for n in nodes:
        if isinstance(n, Leaf):
            found[n] = np.asarray(n.init if n.kind == "constant" else given.get(n.name, n.default))
    compiled = compile_program(
        [Expr(n) for n in computed], dtype=trainer.dtype, title="diagnose", marked=False
    )
    with np.errstate(all="ignore"):
        results = compiled.call({leaf.name: given[leaf.name] for leaf in compiled.inputs})
    for n, result in zip(computed, results, strict=True):
        found[n] = np.array(result)
    return found
