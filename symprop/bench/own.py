"""symprop's own training step: machine code, and the two texts.

In: a `Case`. Out: a runner that makes steps; for the checks, the gradients of its first step.
Guarantees: what is timed is what a user gets: `trainer.bind(batch)`, then `trainer.run(n)` or
`trainer.step()` n times; the loss of every step comes back. The batch size is free, but where it
is said to be fixed.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from symprop.bench.workloads import BETAS, EPSILON, RATE, Case

if TYPE_CHECKING:
    from symprop import Trainer, TrainingStep

__all__ = ["Own", "load", "native_fixed", "native_run", "native_step", "numba", "numpy"]


def load() -> None:
    """Import what a text needs: not counted as a part of the first step."""
    import_module("symprop.training")


def load_native() -> None:
    """Import what machine code needs: not counted as a part of the first step."""
    for part in (
        "symprop.training",
        "symprop.simplify.engine",
        "codegen.verify",
        "codegen.llvm.native",
        "codegen.llvm.loop",
        "codegen.llvm.one_step",
        "llvmlite.binding",
    ):
        import_module(part)


def declared(case: Case, fixed: bool = False) -> TrainingStep:
    """The step of the network, its gradients derived; for any batch, or for this size alone."""
    import symprop as prop

    workload = case.workload
    activations = {"tanh": prop.tanh, "relu": prop.relu, "gelu": prop.gelu}
    batch = workload.batch if fixed else "batch"
    x = prop.input("x", (batch, workload.units[0]))
    y = prop.labels("y", (batch,), classes=workload.units[-1])
    layers: list[Any] = []
    for k, units in enumerate(workload.units[1:-1]):
        layers += [prop.Dense(units, name=f"hidden{k}"), activations[workload.activation]]
    net = prop.Sequential(*layers, prop.Dense(workload.units[-1], name="logits"))
    adam = prop.Adam(RATE, *BETAS, EPSILON)
    return prop.training_step(prop.cross_entropy(net(x), y), adam)


def names(case: Case) -> list[str]:
    """The layers, by the names they are declared under."""
    return [*(f"hidden{k}" for k in range(len(case.weights) - 1)), "logits"]


class Own:
    """A trainer on one batch that stays; a call of `step` makes a step.

    `derived` is how many seconds went by until the step was derived.
    """

    def __init__(self, case: Case, backend: str, fixed: bool = False) -> None:
        begin = time.perf_counter()
        self.case = case
        self.training_step = declared(case, fixed)
        self.derived = time.perf_counter() - begin
        self.compiled = self.training_step.compiled(backend)
        self.trainer: Trainer = self.training_step.compile(backend)
        for name, weight, bias in zip(names(case), case.weights, case.biases, strict=True):
            np.copyto(self.trainer.parameters[f"{name}.weight"], weight)
            np.copyto(self.trainer.parameters[f"{name}.bias"], bias)
        self.trainer.bind({"x": case.x, "y": case.y})

    def advance(self, n: int) -> float:
        step = self.trainer.step
        for _ in range(n):
            loss = step()
        return loss

    def first_gradients(self) -> list[tuple[str, np.ndarray[Any, Any]]]:
        """After one step from the start: what each parameter moved by, read off Adam's mean of the
        gradients, which is (1 - beta1) times the first."""
        share = 1 - BETAS[0]
        kinds = ("weight", "bias")
        found = [f"{name}.{kind}" for kind in kinds for name in names(self.case)]
        return [(name, self.trainer.states[f"m.{name}"] / share) for name in found]

    def arena_bytes(self) -> int | None:
        """What the machine code works in, beside parameters, moments and the batch."""
        if self.compiled.caller is None:
            return None
        interface = self.compiled.caller.interface
        sizes = {d.name: self.case.workload.batch for d in interface.dims}
        return int(interface.arena.total(sizes))


class Run(Own):
    """A call of `run` makes n steps."""

    def advance(self, n: int) -> float:
        return float(self.trainer.run(n)[-1])


def native_run(case: Case) -> Run:
    """The loop over the steps in machine code."""
    return Run(case, "native")


def native_step(case: Case) -> Own:
    """A call from Python a step."""
    return Own(case, "native")


def native_fixed(case: Case) -> Run:
    """The loop in machine code that is made for this batch size alone."""
    return Run(case, "native", fixed=True)


def numpy(case: Case) -> Own:
    """The NumPy text."""
    return Own(case, "numpy")


def numba(case: Case) -> Own:
    """The Numba text, compiled at the first step."""
    return Own(case, "numba")
