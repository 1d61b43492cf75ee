"""PyTorch's training step: as it is usually written, and with the loss under `torch.compile`.

In: a `Case`. Out: a runner that makes steps.
Guarantees: float32, fused Adam; the loss is read once a call of `advance`, not once a step, so no
step waits for a number that nobody looks at.
"""

from __future__ import annotations

from typing import Any

from symprop.bench.workloads import BETAS, EPSILON, RATE, Case

__all__ = ["compiled", "eager", "load"]


def load() -> None:
    """Import it, on one thread: not counted as a part of the first step."""
    import torch

    torch.set_num_threads(1)


def network(case: Case) -> Any:
    """The layers, with the weights of the case."""
    import torch

    activations = {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "gelu": torch.nn.GELU}
    layers: list[Any] = []
    for weight, bias in zip(case.weights, case.biases, strict=True):
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
        layers += [layer, activations[case.workload.activation]()]
    return torch.nn.Sequential(*layers[:-1])


class Torch:
    """A network, its optimizer and its batch."""

    def __init__(self, case: Case, compiled: bool) -> None:
        import torch

        model = network(case)
        x, y = torch.from_numpy(case.x.copy()), torch.from_numpy(case.y.copy())

        def loss() -> Any:
            return torch.nn.functional.cross_entropy(model(x), y)

        self.loss = torch.compile(loss) if compiled else loss
        self.optimizer = torch.optim.Adam(
            model.parameters(), lr=RATE, betas=BETAS, eps=EPSILON, fused=True
        )

    def advance(self, n: int) -> float:
        for _ in range(n):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss()
            loss.backward()
            self.optimizer.step()
        return float(loss.item())


def eager(case: Case) -> Torch:
    """A step is a call of each operation."""
    return Torch(case, compiled=False)


def compiled(case: Case) -> Torch:
    """The loss and its gradient are compiled at the first step; Adam is fused already."""
    return Torch(case, compiled=True)
