"""The networks that benchmarks and acceptance tests build: one function each, one size each.

In: a depth where a network has one.
Out: a scalar loss and its parameters, in order of declaration.
Guarantees: every call declares new leaves, the batch is a symbolic dimension, nothing is computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import symprop as prop

Network = tuple[Any, list[Any]]


def he() -> Any:
    """A function of (rng, shape) that draws the start of a weight; drawn only when trained."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.normal(size=shape) * (2.0 / np.prod(shape[1:])) ** 0.5

    return draw


class Parameters:
    """Declares parameters and remembers their order."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def __call__(self, name: str, *shape: int) -> Any:
        self.all.append(prop.parameter(name, shape, he()))
        return self.all[-1]


def digits() -> Network:
    """64-64-10 with ReLU and softmax cross entropy, from the layers."""
    x = prop.input("x", "batch pixel=64")
    y = prop.labels("y", "batch", classes=10)
    net = prop.Sequential(prop.Dense(64, name="hidden"), prop.relu, prop.Dense(10, name="logits"))
    loss = prop.cross_entropy(net(x), y)
    return loss, list(net.parameters.values())


def mlp(depth: int, width: int = 32) -> Network:
    """`depth` dense layers of one width under tanh, then ten classes."""
    parameter = Parameters()
    h = prop.input("x", ("batch", width))
    for k in range(depth - 1):
        weight, bias = (
            parameter(f"layer{k}.weight", width, width),
            parameter(f"layer{k}.bias", width),
        )
        h = prop.tanh(h @ weight.T + bias)
    logits = h @ parameter("out.weight", 10, width).T + parameter("out.bias", 10)
    loss = prop.cross_entropy(logits, prop.labels("y", "batch", classes=10))
    return loss, parameter.all


def lenet() -> Network:
    """LeNet-5 on 28 x 28 images, with ReLU and max pooling."""
    parameter = Parameters()
    x = prop.input("x", ("batch", 1, 28, 28))
    h = prop.conv2d(x, parameter("c1.weight", 6, 1, 5, 5), parameter("c1.bias", 6), padding=2)
    h = prop.max_pool2d(prop.relu(h), 2)
    h = prop.conv2d(h, parameter("c2.weight", 16, 6, 5, 5), parameter("c2.bias", 16))
    h = prop.max_pool2d(prop.relu(h), 2)
    h = h.reshape((h.shape[0], 400))
    for name, units, inputs in (("d1", 120, 400), ("d2", 84, 120)):
        h = h @ parameter(f"{name}.weight", units, inputs).T + parameter(f"{name}.bias", units)
        h = prop.relu(h)
    logits = h @ parameter("out.weight", 10, 84).T + parameter("out.bias", 10)
    return prop.cross_entropy(logits, prop.labels("y", "batch", classes=10)), parameter.all


def transformer(
    depth: int, width: int = 64, heads: int = 4, time: int = 32, regions: bool = True
) -> Network:
    """A causal transformer, each block a region: layer norms, fused QKV, GELU, residuals."""
    parameter = Parameters()
    vocabulary = 27

    def split(x: Any) -> Any:
        return x.reshape((x.shape[0], time, heads, width // heads)).transpose((0, 2, 1, 3))

    def block(
        x: Any, g1: Any, b1: Any, qkv: Any, out: Any, g2: Any, b2: Any, up: Any, down: Any
    ) -> Any:
        joined = prop.layer_norm(x, g1, b1) @ qkv.T
        q, k, v = (split(joined[..., n * width : (n + 1) * width]) for n in range(3))
        mixed = prop.attention(q, k, v, causal=True)
        mixed = mixed.transpose((0, 2, 1, 3)).reshape((x.shape[0], time, width))
        x = x + mixed @ out.T
        return x + prop.gelu(prop.layer_norm(x, g2, b2) @ up.T) @ down.T

    run = prop.region("block")(block) if regions else block
    ids = prop.labels("ids", ("batch", time), classes=vocabulary)
    h = prop.embedding(parameter("token.weight", vocabulary, width), ids)
    h = h + parameter("place.weight", time, width)
    for k in range(depth):
        h = run(
            h,
            parameter(f"block{k}.norm1.weight", width),
            parameter(f"block{k}.norm1.bias", width),
            parameter(f"block{k}.qkv", 3 * width, width),
            parameter(f"block{k}.out", width, width),
            parameter(f"block{k}.norm2.weight", width),
            parameter(f"block{k}.norm2.bias", width),
            parameter(f"block{k}.up", 4 * width, width),
            parameter(f"block{k}.down", width, 4 * width),
        )
    logits = prop.rms_norm(h) @ parameter("head.weight", vocabulary, width).T
    following = prop.labels("following", ("batch", time), classes=vocabulary)
    return prop.cross_entropy(logits, following), parameter.all


def gradient_function(network: Network, dtype: str = "float32") -> Any:
    """The compiled function of loss and gradients."""
    loss, parameters = network
    return prop.compile([loss, *prop.gradient(loss, parameters)], backend="numpy", dtype=dtype)
