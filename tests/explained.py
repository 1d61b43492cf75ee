"""Networks for the tests of explain, with data: every kind of line that a page can hold.

In: nothing. Out: `NETWORKS`, by name, each a function that declares a loss; `data`, arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import symprop as prop
from symprop.walk import leaves

BATCH = 3


def digits() -> Any:
    """Layers, relu, softmax cross entropy."""
    x = prop.input("x", "batch pixel=6")
    y = prop.labels("y", "batch", classes=4)
    net = prop.Sequential(prop.Dense(5, name="hidden"), prop.relu, prop.Dense(4, name="logits"))
    return prop.cross_entropy(net(x), y)


def raw() -> Any:
    """The network of ``digits`` written with @."""
    x = prop.input("x", "batch pixel=6")
    y = prop.labels("y", "batch", classes=4)
    w1, b1 = weight("W1", (5, 6)), prop.parameter("b1", (5,), prop.Zeros())
    w2, b2 = weight("W2", (4, 5)), prop.parameter("b2", (4,), prop.Zeros())
    return prop.cross_entropy(prop.relu(x @ w1.T + b1) @ w2.T + b2, y)


def weight(name: str, dims: Any) -> Any:
    """A weight."""
    return prop.parameter(name, dims, prop.He())


def sigmoid_mse(out: int = 2) -> Any:
    """Sigmoids and squared error; one output makes units of one element."""
    x, target = prop.input("x", "n 3"), prop.input("t", ("n", out))
    b1, b2 = (prop.parameter(f"b{k}", (d,), prop.Zeros()) for k, d in ((1, 4), (2, out)))
    h = prop.sigmoid(x @ weight("W1", (4, 3)).T + b1)
    return prop.mse(prop.sigmoid(h @ weight("W2", (out, 4)).T + b2), target)


def one_sample() -> Any:
    """No batch at all: W x with a vector."""
    x, target = prop.input("x", "3"), prop.input("t", "2")
    b1, b2 = (prop.parameter(f"b{k}", (d,), prop.Zeros()) for k, d in ((1, 4), (2, 2)))
    h = prop.tanh(weight("W1", (4, 3)) @ x + b1)
    return prop.sum((weight("W2", (2, 4)) @ h + b2 - target) ** 2) / 2


def linear() -> Any:
    """Linear regression: no activation, a bias without dims."""
    x, target = prop.input("x", "n 3"), prop.input("t", "n")
    w, b = prop.parameter("w", (3,), prop.Zeros()), prop.parameter("b", (), prop.Zeros())
    return prop.mse(x @ w + b, target)


def own_softmax() -> Any:
    """A softmax written by hand, weights (in, out), labels compared."""
    x = prop.input("x", "batch 6")
    y = prop.labels("y", "batch", classes=4)
    z = prop.tanh(x @ weight("in_map", (6, 5))) @ weight("out", (5, 4))
    p = prop.exp(z) / prop.exp(z).sum(axis=-1, keepdims=True)
    return -prop.mean(prop.log(prop.sum(p * (prop.index(4) == y[:, None]), axis=1)))


def shared() -> Any:
    """One weight used twice, a branch around it."""
    x, target = prop.input("x", "batch 5"), prop.input("t", "batch 5")
    first, again = prop.Dense(5, name="a"), prop.Dense(5, name="c")
    h = prop.relu(first(x))
    return prop.mse(again(h + prop.leaky_relu(again(h))), target)


def two_inputs() -> Any:
    """Two inputs that meet in one layer."""
    x, u = prop.input("x", "batch 3"), prop.input("u", "batch 2")
    y = prop.labels("y", "batch", classes=3)
    z = prop.softplus(x @ weight("Wx", (3, 4)) + u @ weight("Wu", (2, 4)))
    return prop.cross_entropy(prop.Dense(3, name="top")(z), y)


def convolution() -> Any:
    """Convolution, pooling, reshape: index notation."""
    x = prop.input("x", ("batch", 2, 5, 5))
    w, v = weight("w", (3, 2, 3, 3)), weight("v", (2, 12))
    h = prop.max_pool2d(prop.relu(prop.conv2d(x, w, padding=1)), 2)
    return prop.mse(h.reshape((h.shape[0], 12)) @ v.T, prop.input("target", ("batch", 2)))


def attention() -> Any:
    """Layer norm and causal attention inside a region."""
    x = prop.input("x", ("batch", 4, 3))
    q, k, v = (weight(f"block.{n}", (3, 3)) for n in "qkv")

    @prop.region("block")
    def block(h: Any) -> Any:
        n = prop.layer_norm(h)
        return h + prop.attention(n @ q.T, n @ k.T, n @ v.T, causal=True)

    h = block(x)
    return prop.mean(h * h)


def plain_attention() -> Any:
    """Attention of one sequence: softmax in the middle of the graph."""
    x = prop.input("x", "time=4 feature=3")
    q, k, v = (weight(n, (3, 3)) for n in ("Wq", "Wk", "Wv"))
    h = prop.attention(x @ q.T, x @ k.T, x @ v.T)
    return prop.mean(h * h)


def embedding() -> Any:
    """A table looked up and averaged."""
    ids = prop.indices("ids", ("batch", 4), below=7)
    y = prop.labels("y", "batch", classes=3)
    e = prop.mean(prop.embedding(weight("table", (7, 3)), ids), axis=1)
    return prop.cross_entropy(prop.Dense(3, name="out")(prop.gelu(e)), y)


def layer_norm() -> Any:
    """Normalised with a gain and a shift."""
    x = prop.input("x", "batch 4")
    y = prop.labels("y", "batch", classes=3)
    gain = prop.parameter("gain", (4,), prop.Constant(1.0))
    shift = prop.parameter("shift", (4,), prop.Zeros())
    h = prop.layer_norm(prop.Dense(4, name="first")(x), gain, shift)
    return prop.cross_entropy(prop.Dense(3, name="second")(prop.elu(h)), y)


def batch_norm() -> Any:
    """Samples that depend on each other."""
    x, target = prop.input("x", "batch 4"), prop.input("t", "batch 2")
    h = prop.silu(prop.batch_norm(prop.Dense(3, name="f")(x)))
    return prop.mse(prop.Dense(2, name="o")(h), target)


def recurrent() -> Any:
    """A scan."""
    x = prop.input("x", "time=4 feature=3")
    w, u = weight("W", (5, 3)), weight("U", (5, 5))

    def step(h: Any, now: Any) -> Any:
        h = prop.tanh(w @ now + u @ h)
        return h, h

    last, every = prop.scan(step, prop.parameter("h0", (5,), prop.Zeros()), x)
    return prop.mean(last * last) + prop.mean(every)


def masked() -> Any:
    """Attention that a mask given as data lets see some places only."""
    x, mask = prop.input("x", "time=4 feature=3"), prop.input("mask", "4 4", dtype="bool")
    q, k = weight("Wq", (3, 3)), weight("Wk", (3, 3))
    h = prop.attention(x @ q.T, x @ k.T, x, mask=mask)
    return prop.mean(h * h)


def gated() -> Any:
    """A cell of two states, backwards over sequences whose samples come first."""
    x, target = prop.input("x", "n time=3 feature=2"), prop.input("target", "n 4")
    w, u = weight("gate.w", (4, 2)), weight("gate.u", (4, 4))
    zero = prop.broadcast_to(prop.constant([[0.0] * 4]), (x.shape[0], 4))

    @prop.region("mix")
    def mix(c: Any, f: Any, a: Any) -> Any:
        return f * c + (1 - f) * prop.tanh(a)

    def step(state: Any, now: Any) -> Any:
        h, c = state
        a = (now @ w.T + h @ u.T).named("inner")
        c = mix(c, prop.sigmoid(a), a)
        return (prop.tanh(c), c), a * c

    (h, _), ys = prop.scan(step, (zero, zero), prop.transpose(x, (1, 0, 2)), reverse=True)
    return prop.mse(h, target) + prop.mean(ys * ys)


def nested() -> Any:
    """A recurrence in the step of another."""
    x = prop.input("x", "time=3 feature=2")
    w = weight("w", (2, 2))

    def inner(h: Any, _: Any) -> Any:
        return prop.tanh(h @ w), None

    def outer(h: Any, now: Any) -> Any:
        h, _ = prop.scan(inner, h + now, length=2)
        return prop.sigmoid(h), None

    h, _ = prop.scan(outer, prop.parameter("start", (2,), prop.Zeros()), x)
    return prop.mean(h * h)


def time_major() -> Any:
    """Steps first, samples second: the rows of the scores are no samples to the page."""
    x, y = prop.input("x", "time=4 batch 3"), prop.labels("y", "batch", classes=2)
    h = prop.tanh(x @ weight("V", (3, 3)))
    return prop.cross_entropy(h[3] @ weight("W", (3, 2)), y)


def two_heads() -> Any:
    """Two cross entropies that share a trunk."""
    x = prop.input("x", "batch 3")
    y, u = prop.labels("y", "batch", classes=3), prop.labels("u", "batch", classes=2)
    h = prop.relu(prop.Dense(4, name="trunk")(x))
    first = prop.cross_entropy(prop.Dense(3, name="a")(h), y)
    return first + prop.cross_entropy(prop.Dense(2, name="c")(h), u)


def own_ops() -> Any:
    """Two functions of the user's that have one name, and a target called b."""
    one, two = (
        prop.elementwise("swishy", lambda x, k=k: x * prop.sigmoid(k * x)) for k in (1, 2)
    )  # fmt: skip
    x, target = prop.input("a", "batch 3"), prop.input("b", "batch 2")
    return prop.mse(two(one(x @ weight("W", (3, 4))) @ weight("V", (4, 2))), target)


def binary() -> Any:
    """Binary cross entropy, whose softplus is the loss's own."""
    x, y = prop.input("x", "batch 3"), prop.input("y", "batch 1")
    net = prop.Sequential(prop.Dense(4, name="h"), prop.tanh, prop.Dense(1, name="o"))
    return prop.binary_cross_entropy(net(x), y)


def vector() -> Any:
    """W x of a vector, without a bias."""
    x, target = prop.input("x", "3"), prop.input("t", "2")
    return prop.mse(weight("V", (2, 4)) @ prop.leaky_relu(weight("W", (4, 3)) @ x), target)


NETWORKS: dict[str, Callable[[], Any]] = {
    f.__name__: f
    for f in (
        digits, raw, sigmoid_mse, one_sample, linear, own_softmax, shared, two_inputs,
        convolution, attention, plain_attention, embedding, layer_norm, batch_norm, recurrent,
        masked, gated, nested, time_major, two_heads, own_ops, binary, vector,
    )
} | {"one_output": lambda: sigmoid_mse(1)}  # fmt: skip


def data(loss: Any, batch: int = BATCH, seed: int = 0) -> dict[str, Any]:
    """Random arrays for the inputs of a loss."""
    rng = np.random.default_rng(seed)
    found = {}
    for leaf in leaves([loss.node]):
        if leaf.kind != "input":
            continue
        shape = tuple(batch if d.value is None else d.value for d in leaf.dims)
        if leaf.dtype == "bool":
            found[leaf.name] = rng.random(shape) < 0.6
        elif leaf.dtype == "int64":
            found[leaf.name] = rng.integers(0, (leaf.high.value or 0) + 1, size=shape)
        else:
            found[leaf.name] = rng.normal(size=shape).round(2)
    return found
