"""JAX's training step: one compiled function a step, and the loop over steps inside one.

In: a `Case`. Out: a runner that makes steps.
Guarantees: float32; the state is donated, so that steps update in place; compiled ahead of the
first step; `advance` waits for the last step alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symprop.bench.workloads import BETAS, EPSILON, RATE, Case

__all__ = ["load", "looped", "stepped"]


def load() -> None:
    """Import it and find its device: not counted as a part of the first step."""
    import jax

    jax.devices()


def loss_of(activation: str) -> Callable[..., Any]:
    """The loss as a function of parameters and a batch."""
    import jax
    from jax import numpy as jnp

    activations: dict[str, Callable[[Any], Any]] = {
        "tanh": jnp.tanh,
        "relu": jax.nn.relu,
        "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    }
    f = activations[activation]

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        h = x
        for weight, bias in parameters[:-1]:
            h = f(h @ weight.T + bias)
        weight, bias = parameters[-1]
        logits = h @ weight.T + bias
        shares = jax.nn.log_softmax(logits)
        return -jnp.mean(jnp.take_along_axis(shares, y[:, None], axis=1))

    return loss


def step_of(activation: str) -> Callable[..., Any]:
    """A step of Adam: (parameters, means, squares, count) and a batch to the same and the loss."""
    import jax
    from jax import numpy as jnp

    value_and_gradient = jax.value_and_grad(loss_of(activation))

    def step(state: Any, x: Any, y: Any) -> Any:
        parameters, means, squares, count = state
        loss, gradients = value_and_gradient(parameters, x, y)
        t = count + 1
        rate = RATE / (1 - BETAS[0] ** t)
        correction = 1 - BETAS[1] ** t

        def mean(m: Any, g: Any) -> Any:
            return BETAS[0] * m + (1 - BETAS[0]) * g

        def square(v: Any, g: Any) -> Any:
            return BETAS[1] * v + (1 - BETAS[1]) * g * g

        def moved(p: Any, m: Any, v: Any) -> Any:
            return p - rate * m / (jnp.sqrt(v / correction) + EPSILON)

        means = jax.tree.map(mean, means, gradients)
        squares = jax.tree.map(square, squares, gradients)
        parameters = jax.tree.map(moved, parameters, means, squares)
        return (parameters, means, squares, t), loss

    return step


class Jax:
    """The state of a training, and its batch."""

    def __init__(self, case: Case) -> None:
        import jax
        from jax import numpy as jnp

        pairs = zip(case.weights, case.biases, strict=True)
        parameters = [(jnp.array(w), jnp.array(b)) for w, b in pairs]
        zeros = [(jnp.zeros_like(w), jnp.zeros_like(b)) for w, b in parameters]
        again = [(jnp.zeros_like(w), jnp.zeros_like(b)) for w, b in parameters]
        self.state: Any = (parameters, zeros, again, jnp.float32(0))
        self.x, self.y = jnp.array(case.x), jnp.array(case.y.astype(np.int32))
        jax.block_until_ready((self.state, self.x, self.y))

    def finished(self, loss: Any) -> float:
        import jax

        jax.block_until_ready(self.state)
        return float(loss)


class Stepped(Jax):
    """A call makes a step."""

    def __init__(self, case: Case) -> None:
        import jax

        super().__init__(case)
        step = jax.jit(step_of(case.workload.activation), donate_argnums=0)
        self.step = step.lower(self.state, self.x, self.y).compile()

    def advance(self, n: int) -> float:
        for _ in range(n):
            self.state, loss = self.step(self.state, self.x, self.y)
        return self.finished(loss)


class Looped(Jax):
    """A call makes n steps."""

    def __init__(self, case: Case) -> None:
        import jax
        from jax import numpy as jnp

        super().__init__(case)
        step = step_of(case.workload.activation)

        def run(state: Any, x: Any, y: Any, n: Any) -> Any:
            def turn(_: Any, held: Any) -> Any:
                return step(held[0], x, y)

            return jax.lax.fori_loop(0, n, turn, (state, jnp.float32(0)))

        self.count: Callable[[int], Any] = jnp.int32
        loop = jax.jit(run, donate_argnums=0)
        self.run = loop.lower(self.state, self.x, self.y, self.count(0)).compile()

    def advance(self, n: int) -> float:
        self.state, loss = self.run(self.state, self.x, self.y, self.count(n))
        return self.finished(loss)


def stepped(case: Case) -> Stepped:
    """One jitted function a step."""
    return Stepped(case)


def looped(case: Case) -> Looped:
    """The loop over the steps inside one jitted function."""
    return Looped(case)
