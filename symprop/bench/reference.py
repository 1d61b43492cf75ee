"""The training step as a textbook has it, in float64: what every system has to agree with.

In: a `Case`. Out: `gradients` of its loss; `losses` of the first steps of Adam.

    Z_k = H_{k-1} W_k^T + b_k        H_k = f(Z_k)        L = mean of -log softmax(Z_L)[y]
    dZ_L = (softmax(Z_L) - onehot(y))/B        dZ_k = (dZ_{k+1} W_{k+1}) f'(Z_k)
    dW_k = dZ_k^T H_{k-1}                      db_k = sum of dZ_k over the batch

Guarantees: written by hand with NumPy alone; it shares no line with symprop's derivatives or with
what symprop emits.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from symprop.bench.workloads import BETAS, EPSILON, RATE, Case

__all__ = ["gradients", "losses"]

Array = NDArray[np.float64]
Pair = tuple[Array, Array]


def tanh(z: Array) -> Pair:
    h = np.tanh(z)
    return h, 1 - h * h


def relu(z: Array) -> Pair:
    return np.maximum(z, 0), (z > 0).astype(np.float64)


def gelu(z: Array) -> Pair:
    """z times the share of a standard normal distribution below z."""
    below = (1 + np.asarray(np.frompyfunc(erf, 1, 1)(z / sqrt(2)), np.float64)) / 2
    return z * below, below + z * np.exp(-z * z / 2) / sqrt(2 * pi)


# The value f(z) and the slope f'(z) of each activation.
ACTIVATIONS: dict[str, Callable[[Array], Pair]] = {"tanh": tanh, "relu": relu, "gelu": gelu}


def backpropagated(
    activation: str, weights: list[Array], biases: list[Array], x: Array, y: NDArray[np.int64]
) -> tuple[float, list[Array], list[Array]]:
    """The loss and its gradients by the weights and by the biases of the layers."""
    f = ACTIVATIONS[activation]
    read = [x]
    slopes: list[Array] = []
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        h, slope = f(read[-1] @ w.T + b)
        read.append(h)
        slopes.append(slope)
    logits = read[-1] @ weights[-1].T + biases[-1]
    z = logits - logits.max(axis=1, keepdims=True)
    share = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    loss = -float(np.mean(np.log(share[rows, y])))
    share[rows, y] -= 1
    delta = share / len(y)
    by_weight: list[Array] = []
    by_bias: list[Array] = []
    for k in reversed(range(len(weights))):
        by_weight.insert(0, delta.T @ read[k])
        by_bias.insert(0, delta.sum(axis=0))
        if k:
            delta = (delta @ weights[k]) * slopes[k - 1]
    return loss, by_weight, by_bias


def start(case: Case) -> tuple[list[Array], list[Array], Array]:
    """Weights, biases and the batch, widened."""
    weights = [w.astype(np.float64) for w in case.weights]
    return weights, [b.astype(np.float64) for b in case.biases], case.x.astype(np.float64)


def gradients(case: Case) -> tuple[list[Array], list[Array]]:
    """By the weights and by the biases, where training starts."""
    weights, biases, x = start(case)
    _, by_weight, by_bias = backpropagated(case.workload.activation, weights, biases, x, case.y)
    return by_weight, by_bias


def losses(case: Case, steps: int) -> list[float]:
    """The loss before each of the first steps; Adam as in Kingma and Ba (2015), algorithm 1."""
    weights, biases, x = start(case)
    parameters = [*weights, *biases]
    means = [np.zeros_like(p) for p in parameters]
    squares = [np.zeros_like(p) for p in parameters]
    found: list[float] = []
    for t in range(1, steps + 1):
        loss, by_weight, by_bias = backpropagated(
            case.workload.activation, weights, biases, x, case.y
        )
        found.append(loss)
        for p, g, m, v in zip(parameters, [*by_weight, *by_bias], means, squares, strict=True):
            m += (1 - BETAS[0]) * (g - m)
            v += (1 - BETAS[1]) * (g * g - v)
            p -= RATE * (m / (1 - BETAS[0] ** t)) / (np.sqrt(v / (1 - BETAS[1] ** t)) + EPSILON)
    return found
