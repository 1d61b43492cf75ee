"""Gains from layer to layer: as the formulas of mean-field theory predict them, and as measured.

For layer l with z_l = sum over fan_in of w h_(l-1) + b, h = f(z) and z normal:

    E z_l^2     = fan_in  * Var(w) * E f(z_(l-1))^2 + E b^2           forward
    E delta_l^2 = fan_out * Var(w) * E f'(z_l)^2 * E delta_(l+1)^2    backward

B. Poole et al., Exponential expressivity in deep neural networks through transient chaos, NIPS
2016, equation 3; S. Schoenholz et al., Deep information propagation, ICLR 2017, equation 6;
K. He et al., Delving deep into rectifiers, ICCV 2015, equations 7 and 13, where f is a ReLU.

In: layers and the numbers of one batch. Out: `Gains`. Guarantees: a gain is predicted only where
the formula holds: one product of weights with one value. Of the batch a prediction takes the mean
square of the data, and of what a formula does not cover (a normalised value, a residual sum).
Var(w) is what the initialiser says as long as the weights look drawn from it, afterwards their own
mean square.
"""

from __future__ import annotations

import math

from codegen.index import evaluate
from symprop import term as t
from symprop.diagnose.activations import Curve
from symprop.diagnose.numbers import Numbers, scale
from symprop.diagnose.read import Layer, Network, Product, stripped
from symprop.graph import Leaf, Node

__all__ = ["Gains"]

# Weights count as drawn from their initialiser while the mean square of n of them is within so
# many standard errors, sqrt(2/n) each for normal weights, of what it says.
STANDARD_ERRORS = 4.0


class Gains:
    """Mean squares as the formulas predict them, layer after layer, and as they were measured."""

    def __init__(self, network: Network, numbers: Numbers) -> None:
        self.network, self.numbers = network, numbers
        self.sizes = sizes(numbers)
        self.by_result = {layer.result: layer for layer in network.layers}
        self.curves: dict[t.Term, Curve] = {}
        self.arguments: dict[Node, tuple[float, float]] = {}
        for layer in network.layers:
            self.arguments[layer.value] = self.argument(layer)

    def curve(self, layer: Layer) -> Curve | None:
        """The numbers of a layer's activation."""
        if layer.activation is None:
            return None
        term = layer.activation.term
        if term not in self.curves:
            self.curves[term] = Curve(term)
        return self.curves[term]

    def moments(self, layer: Layer) -> tuple[float, float]:
        """E f(z)^2 and E f'(z)^2 under the predicted distribution of z."""
        mean, variance = self.arguments[layer.value]
        curve = self.curve(layer)
        if curve is None:
            return mean**2 + variance, 1.0
        if not math.isfinite(mean) or not 0 <= variance < math.inf:
            return math.nan, math.nan
        return curve.moments(mean, variance)

    def argument(self, layer: Layer) -> tuple[float, float]:
        """The predicted mean and variance of z; the measured ones where nothing is predicted."""
        own = scale(self.numbers[layer.value])
        if not layer.plain or any(len(p.data) != 1 for p in layer.products):
            return own.mean, own.std**2
        mean = variance = 0.0
        for bias in layer.biases:
            found = scale(self.numbers[bias])
            mean, variance = mean + found.mean, variance + found.std**2
        for product in layer.products:
            spread = self.fan_in(product) * self.variance(product)
            variance += spread * self.mean_square(product.data[0])
        return mean, variance

    def mean_square(self, data: Node) -> float:
        """E h^2 of what a product reads: predicted where it is a layer's result."""
        source = self.by_result.get(stripped(data))
        if source is not None:
            return self.moments(source)[0]
        return scale(self.numbers[stripped(data)]).rms ** 2

    def variance(self, product: Product) -> float:
        """E w^2: the initialiser's as long as the weights look drawn from it, else their own."""
        own = scale(self.numbers[product.weights]).rms ** 2
        leaf = product.parameter
        declared = getattr(leaf.init, "variance", None) if leaf is not None else None
        if leaf is None or not callable(declared):
            return own
        said = float(declared(tuple(d.value or 1 for d in leaf.dims)))
        spread = STANDARD_ERRORS * math.sqrt(2 / max(1, self.numbers[leaf].size))
        return said if said and abs(own / said - 1) <= spread else own

    def fan_in(self, product: Product) -> float:
        """How many terms are summed up."""
        return float(math.prod(evaluate(e, {}, self.sizes) for e in product.inner))

    def fan_out(self, product: Product) -> float:
        """How many outputs an element of the data feeds, on average."""
        points = self.numbers[self.layer_of(product).value].size * self.fan_in(product)
        return points / max(1, self.numbers[stripped(product.data[0])].size)

    def layer_of(self, product: Product) -> Layer:
        return next(layer for layer in self.network.layers if product in layer.products)

    # --- ratios --------------------------------------------------------------------------------

    def source(self, layer: Layer) -> Node | None:
        """The value of the layer whose result the only product reads, or the data it reads."""
        if len(layer.products) != 1 or len(layer.products[0].data) != 1 or not layer.plain:
            return None
        data = stripped(layer.products[0].data[0])
        if data in self.by_result:
            return self.by_result[data].value
        return data if isinstance(data, Leaf) else None

    def target(self, layer: Layer) -> Layer | None:
        """The layer whose product alone reads this one's result."""
        node = layer.result
        while len(self.network.readers.get(node, ())) == 1:
            (node,) = self.network.readers[node]
            for other in self.network.layers:
                if any(p.node is node and len(p.data) == 1 for p in other.products):
                    return other
            if stripped(node) is not layer.result:
                return None
        return None

    def forward(self, layer: Layer) -> float | None:
        """Predicted rms z_l / rms z_(l-1)."""
        source = self.source(layer)
        if source is None:
            return None
        mean, variance = self.arguments[layer.value]
        if source in self.arguments:
            before, spread = self.arguments[source]
            return ratio(math.sqrt(mean**2 + variance), math.sqrt(before**2 + spread))
        return ratio(math.sqrt(mean**2 + variance), scale(self.numbers[source]).rms)

    def backward(self, layer: Layer) -> float | None:
        """Predicted rms delta_l / rms delta_(l+1)."""
        target = self.target(layer)
        if target is None:
            return None
        product = next(p for p in target.products if stripped(p.data[0]) is layer.result)
        squared = self.fan_out(product) * self.variance(product) * self.moments(layer)[1]
        return math.sqrt(squared) if squared >= 0 else None

    def measured(self, layer: Layer) -> tuple[float | None, float | None]:
        """Both ratios as they are on this batch."""
        source, target = self.source(layer), self.target(layer)
        forward = backward = None
        if source is not None:
            forward = ratio(scale(self.numbers[layer.value]).rms, scale(self.numbers[source]).rms)
        if target is not None:
            deltas = (self.numbers[self.numbers.deltas[x.value]] for x in (layer, target))
            above, below = (scale(d).rms for d in deltas)
            backward = ratio(above, below)
        return forward, backward


def ratio(a: float, b: float) -> float | None:
    """a / b, or None where b is 0 or one of them is no number."""
    return a / b if b and math.isfinite(a) and math.isfinite(b) else None


def sizes(numbers: Numbers) -> dict[str, int]:
    """The sizes of named dimensions, as the values have them."""
    found: dict[str, int] = {}
    for node, array in numbers.found.items():
        for d, n in zip(node.dims, array.shape, strict=True):
            if len(d.terms) == 1 and d.const == 0:
                atom, k = d.terms[0]
                found.setdefault(str(getattr(atom, "name", "")), n // k)
    return found
