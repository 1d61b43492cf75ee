"""diagnose: what a network does to values and gradients, layer by layer, on one batch.

    read         layers, as the graph shows them
    activations  scalar functions: where they are flat, what they do to a normal variable
    numbers      values and gradients of one batch
    gains        from layer to layer, predicted and measured
    measure      all of it, a row a layer
    findings     what the numbers say, and what helps
    page         text, table, HTML, data

In: a trainer, before training above all, and a batch. Out: `Diagnosis`. Guarantees: nothing of the
trainer changes; nothing asks what a layer is called or which class made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from symprop.diagnose.findings import Finding, findings
from symprop.diagnose.measure import LayerRow, ParameterRow, measure
from symprop.diagnose.numbers import Scale
from symprop.diagnose.page import Diagnosis
from symprop.diagnose.read import read_network
from symprop.errors import DeclarationError, quoted

if TYPE_CHECKING:
    from symprop.trainer import Trainer

__all__ = ["Diagnosis", "Finding", "LayerRow", "ParameterRow", "Scale", "diagnose"]


def diagnose(trainer: Trainer, batch: Mapping[str, Any]) -> Diagnosis:
    """Scales, saturation and gains of every layer on this batch, and what they mean.

    Args:
        trainer: what `step.compile()` gave; neither its weights nor its states change.
        batch: arrays by name, as for `trainer.step`.

    Raises:
        DeclarationError: for anything but a trainer.
        DataError: for a batch that `trainer.step` would refuse.
    """
    from symprop.trainer import Trainer

    if not isinstance(trainer, Trainer):
        raise DeclarationError(
            f"diagnose needs a trainer, but got {quoted(type(trainer).__name__)}: hand in what "
            "prop.training_step(loss, optimizer).compile() returns"
        )
    runner = trainer._runner
    arrays = runner.prepare(runner.step, batch)
    network = read_network(trainer.training_step.loss.node)
    measured = measure(trainer, network, arrays)
    return Diagnosis(measured, findings(measured))
