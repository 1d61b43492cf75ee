"""PyTensor's training step, compiled by its Numba linker.

In: a `Case`. Out: a runner that makes steps.
Guarantees: float32; parameters, moments and the batch are shared variables, so a call hands over no
array; Numba compiles when the function is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symprop.bench.workloads import BETAS, EPSILON, RATE, Case

__all__ = ["load", "stepped"]


def load() -> None:
    """Import it: not counted as a part of the first step."""
    import pytensor
    import pytensor.tensor

    pytensor.config.floatX = "float32"


def loss_of(case: Case, parameters: list[Any], x: Any, y: Any) -> Any:
    """The loss, symbolically."""
    from pytensor import tensor as pt

    def gelu(z: Any) -> Any:
        return np.float32(0.5) * z * (1 + pt.erf(z * np.float32(0.5**0.5)))

    activations: dict[str, Callable[[Any], Any]] = {
        "tanh": pt.tanh,
        "relu": lambda z: pt.maximum(z, np.float32(0)),
        "gelu": gelu,
    }
    h = x
    for k in range(0, len(parameters), 2):
        h = h @ parameters[k].T + parameters[k + 1]
        if k + 2 < len(parameters):
            h = activations[case.workload.activation](h)
    shares = pt.special.log_softmax(h, axis=1)
    return -pt.mean(shares[pt.arange(case.workload.batch), y])


def updates_of(parameters: list[Any], gradients: list[Any]) -> list[tuple[Any, Any]]:
    """A step of Adam on shared variables."""
    import pytensor
    from pytensor import tensor as pt

    one = np.float32(1)
    count = pytensor.shared(np.float32(0))
    t = count + one
    rate = np.float32(RATE) / (one - np.float32(BETAS[0]) ** t)
    correction = one - np.float32(BETAS[1]) ** t
    pairs = [(count, t)]
    for p, g in zip(parameters, gradients, strict=True):
        zeros = np.zeros_like(p.get_value())
        mean, square = pytensor.shared(zeros), pytensor.shared(zeros.copy())
        m = np.float32(BETAS[0]) * mean + np.float32(1 - BETAS[0]) * g
        v = np.float32(BETAS[1]) * square + np.float32(1 - BETAS[1]) * g * g
        moved = p - rate * m / (pt.sqrt(v / correction) + np.float32(EPSILON))
        pairs += [(mean, m), (square, v), (p, moved)]
    return pairs


class Stepped:
    """A compiled function without arguments that makes a step."""

    def __init__(self, case: Case) -> None:
        import pytensor

        pairs = zip(case.weights, case.biases, strict=True)
        parameters = [pytensor.shared(a.copy()) for pair in pairs for a in pair]
        x, y = pytensor.shared(case.x.copy()), pytensor.shared(case.y.copy())
        loss = loss_of(case, parameters, x, y)
        updates = updates_of(parameters, pytensor.grad(loss, parameters))
        self.step = pytensor.function([], loss, updates=updates, mode="NUMBA")
        self.step.trust_input = True

    def advance(self, n: int) -> float:
        for _ in range(n):
            loss = self.step()
        return float(loss)


def stepped(case: Case) -> Stepped:
    """One compiled function a step."""
    return Stepped(case)
