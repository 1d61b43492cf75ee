"""Training: a loss and an optimizer become one compiled step; a trainer runs it on data.

    loss -> gradients -> optimizer's updates -> one program -> Trainer.step -> Trainer.fit

In: a scalar loss, an optimizer, the outputs to predict, the metrics to report.
Out: `TrainingStep`, the step as expressions and as a program; `Trainer`, the step with its arrays.
Guarantees: the same seed, data and library versions give the same bytes of weights; the last batch
of an epoch is trained even where it is shorter; an interrupt (Ctrl-C) leaves the weights between
two steps; data is checked once, in `symprop.data`, before any of it is used.

It does not know layers, and nothing in it depends on what the network computes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from symprop import checkpoint
from symprop.arguments import arguments
from symprop.data import Arrays, Leaf, prepare
from symprop.errors import DataError, DeclarationError, ShapeError, UnsupportedError, quoted
from symprop.expression import Expr
from symprop.function import compile_program
from symprop.gradient import gradient
from symprop.initialize import initial_values
from symprop.metrics import resolve
from symprop.optimizers import Optimizer
from symprop.progress import History, Progress, interrupts_held
from symprop.walk import leaves

__all__ = ["Trainer", "TrainingStep", "training_step"]

# How many examples are evaluated at once: enough to fill the machine, few enough for its memory.
EVALUATION_BATCH = 1024


def training_step(
    loss: Expr,
    optimizer: Optimizer,
    outputs: Mapping[str, Expr] | None = None,
    metrics: Sequence[str] | Mapping[str, Expr] = (),
) -> TrainingStep:
    """The step that moves every parameter of `loss` by what `optimizer` makes of its gradient.

    In: a scalar expression; SGD, Momentum or Adam; the expressions that `predict` returns, by
    name; metrics by name ("accuracy") or as scalar expressions.
    """
    return TrainingStep(loss, optimizer, outputs or {}, metrics)


class TrainingStep:
    """A training step as expressions; `compile` gives it arrays to work on.

    `loss`, `outputs`, `metrics`, `parameters`, `gradients` and `updates` are expressions.
    """

    def __init__(
        self,
        loss: Expr,
        optimizer: Optimizer,
        outputs: Mapping[str, Expr],
        metrics: Sequence[str] | Mapping[str, Expr],
    ) -> None:
        check_loss(loss)
        for name, output in outputs.items():
            if not isinstance(output, Expr):
                raise DeclarationError(
                    f"the output {quoted(name)} must be an expression, but is {quoted(output)}"
                )
        self.loss, self.optimizer, self.outputs = loss, optimizer, dict(outputs)
        found = arguments([loss.node])
        self.parameters = [Expr(leaf) for leaf in found if leaf.kind == "parameter"]
        if not self.parameters:
            raise DeclarationError(
                "the loss reads no parameter, so there is nothing to train: "
                "declare one with prop.parameter or use a layer"
            )
        self.metrics = resolve(metrics, loss, self.outputs)
        if "loss" in self.metrics:
            raise DeclarationError('a metric cannot be named "loss": that is the loss itself')
        self.gradients = gradient(loss, self.parameters)
        if not hasattr(optimizer, "updates"):
            raise DeclarationError(
                f"the optimizer must be one such as prop.Adam(1e-3), but is {quoted(optimizer)}"
            )
        self.updates = optimizer.updates(self.parameters, self.gradients)
        self._compiled: dict[tuple[str, str], Any] = {}

    def _step(self, backend: str, dtype: str) -> Any:
        key = (backend, dtype)
        if key not in self._compiled:
            self._compiled[key] = compile_program(
                [self.loss, *self.metrics.values()],
                updates=self.updates,
                names=["loss", *self.metrics],
                backend=backend,
                dtype=dtype,
                title="training_step",
            )
        return self._compiled[key]

    @property
    def program(self) -> Any:
        """The whole step, forward, backward and update, as one PROGRAM."""
        return self._step("numpy", "float32").program

    def source(self, backend: str = "numpy", dtype: str = "float32") -> str:
        """The text of the step for this backend, as it runs."""
        return str(self._step(backend, dtype).source())

    def compile(
        self,
        backend: str = "numpy",
        dtype: str = "float32",
        seed: int = 0,
        check_finite: bool = False,
    ) -> Trainer:
        """A trainer with fresh parameters drawn from `seed`.

        With `check_finite`, data that is not finite is refused and a loss that is not finite
        stops the training.
        """
        return Trainer(self, backend, dtype, seed, check_finite)


class Trainer:
    """A compiled training step together with the arrays it changes."""

    def __init__(
        self, step: TrainingStep, backend: str, dtype: str, seed: int, check_finite: bool
    ) -> None:
        self.training_step, self.backend, self.dtype = step, backend, dtype
        self.check_finite = check_finite
        self.history = History()
        self._step = step._step(backend, dtype)
        shown = [*step.outputs.values(), step.loss, *step.metrics.values()]
        everything = [*shown, *(e for pair in step.updates for e in pair)]
        self._arrays: Arrays = dict(initial_values(everything, seed=seed, dtype=dtype))
        known = {leaf.name: leaf for leaf in leaves([value.node for value in everything])}
        self._parameters = tuple(n for n in self._arrays if known[n].kind == "parameter")
        self._data = tuple(n for n, leaf in known.items() if leaf.kind in ("input", "scalar"))
        self._example = example_dim(self._inputs(self._step))

    def _inputs(self, compiled: Any) -> list[Leaf]:
        """The leaves that the user hands in: not those whose arrays the trainer owns."""
        return [leaf for leaf in compiled.inputs if leaf.name not in self._arrays]

    @cached_property
    def _predict(self) -> Any:
        outputs = self.training_step.outputs
        if not outputs:
            raise DeclarationError(
                "there is nothing to predict: name the outputs, e.g. "
                'prop.training_step(loss, optimizer, outputs={"logits": logits})'
            )
        return self._forward(outputs, "predict")

    @cached_property
    def _evaluate(self) -> Any:
        step = self.training_step
        return self._forward({"loss": step.loss, **step.metrics}, "evaluate")

    def _forward(self, outputs: Mapping[str, Expr], title: str) -> Any:
        return compile_program(
            list(outputs.values()),
            names=list(outputs),
            backend=self.backend,
            dtype=self.dtype,
            title=title,
            marked=False,  # only a training step changes states
        )

    @property
    def parameters(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """The live arrays of the parameters by name: training changes them in place."""
        return MappingProxyType({name: self._arrays[name] for name in self._parameters})

    @property
    def states(self) -> Mapping[str, np.ndarray[Any, Any]]:
        """The live arrays that are not trained, such as the moments of Adam, by name."""
        rest = (name for name in self._arrays if name not in self._parameters)
        return MappingProxyType({name: self._arrays[name] for name in rest})

    @property
    def program(self) -> Any:
        """The step as a PROGRAM."""
        return self._step.program

    def source(self) -> str:
        """The text of the step, as it runs."""
        return str(self._step.source())

    def _prepare(self, compiled: Any, data: Mapping[str, Any]) -> Arrays:
        wanted = self._inputs(compiled)
        arrays, _ = prepare(
            data, wanted, self.dtype, ignored=self._data, check_finite=self.check_finite
        )
        return arrays

    def _run(self, compiled: Any, arrays: Arrays) -> tuple[Any, ...]:
        return tuple(compiled.call({**self._arrays, **arrays}))

    def step(self, data: Mapping[str, Any]) -> float:
        """Train on one batch; the loss before the update."""
        arrays = self._prepare(self._step, data)
        with interrupts_held():
            loss = float(self._run(self._step, arrays)[0])
        self._check_loss(loss, "")
        return loss

    def predict(self, data: Mapping[str, Any]) -> Arrays:
        """The outputs by name; only what they read need be handed in."""
        results = self._run(self._predict, self._prepare(self._predict, data))
        return {
            name: np.asarray(result)
            for name, result in zip(self.training_step.outputs, results, strict=True)
        }

    def evaluate(self, data: Mapping[str, Any], batch_size: int | None = None) -> dict[str, float]:
        """The loss and the metrics; with a batch size, their mean over batches by length."""
        return self._evaluated(self._prepare(self._evaluate, data), batch_size)

    def _evaluated(self, arrays: Arrays, batch_size: int | None) -> dict[str, float]:
        names = ["loss", *self.training_step.metrics]
        if batch_size is None:
            results = self._run(self._evaluate, arrays)
            return {name: float(r) for name, r in zip(names, results, strict=True)}
        check_count("batch_size", batch_size)
        total = Totals(names)
        split = self._split_names(arrays)
        count = len(arrays[split[0]])
        for start in range(0, count, batch_size):
            chosen = slice(start, start + batch_size)
            part = {n: a[chosen] if n in split else a for n, a in arrays.items()}
            total.add(self._run(self._evaluate, part), min(batch_size, count - start))
        return total.means()

    def _split_names(self, arrays: Iterable[str]) -> list[str]:
        """The inputs whose first axis counts examples."""
        if self._example is None:
            raise UnsupportedError(
                "fit and batched evaluation need inputs that share one named first axis, such as "
                '"batch pixel=64": use trainer.step with whole arrays instead'
            )
        leaves_by_name = {leaf.name: leaf for leaf in self._inputs(self._step)}
        return [name for name in arrays if leads(leaves_by_name[name], self._example)]

    def fit(
        self,
        data: Mapping[str, Any],
        epochs: int = 1,
        batch_size: int = 32,
        validation_split: float = 0.0,
        validation_data: Mapping[str, Any] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        progress: bool | None = None,
    ) -> History:
        """Train for `epochs` passes over the data; the history of this call, an entry an epoch.

        In: arrays by name; the share of the data that is set aside for validation, drawn at
        random from `seed`, or validation data of its own; whether each epoch visits the examples
        in a new order, drawn from `seed`; whether a progress bar is shown (on a terminal where
        not said).
        Guarantees: every example is visited once an epoch, the last and shorter batch too.
        `trainer.history` is the history while it grows, so it survives an interrupt.
        """
        check_count("epochs", epochs)
        check_count("batch_size", batch_size)
        arrays = self._prepare(self._step, data)
        split = self._split_names(arrays)
        total = len(arrays[split[0]])
        train, held = split_examples(total, validation_split, seed)
        if validation_data is not None and len(held):
            raise DataError("give validation_split or validation_data, not both")
        held_out = None
        if validation_data is not None:
            held_out = self._prepare(self._evaluate, validation_data)
        elif len(held):
            held_out = {n: a[held] if n in split else a for n, a in arrays.items()}
        history = self.history = History()
        steps = -(-len(train) // batch_size)
        with Progress(epochs, steps, progress) as bar, interrupts_held() as interrupts:
            for epoch in range(epochs):
                order = train
                if shuffle:
                    # A generator an epoch, so that its order does not depend on what ran before.
                    order = np.random.default_rng([seed, epoch]).permutation(train)
                means = Totals(["loss", *self.training_step.metrics])
                for start in range(0, len(order), batch_size):
                    chosen = order[start : start + batch_size]
                    batch = {n: a[chosen] if n in split else a for n, a in arrays.items()}
                    results = self._run(self._step, batch)
                    means.add(results, len(chosen))
                    self._check_loss(results[0], f" in epoch {epoch + 1}")
                    bar.advance()
                    interrupts.raise_pending()
                entry = means.means()
                if held_out is not None:
                    found = self._evaluated(held_out, EVALUATION_BATCH)
                    entry |= {f"validation_{name}": value for name, value in found.items()}
                history.append(entry)
                bar.epoch(entry)
                interrupts.raise_pending()
        return history

    def _check_loss(self, loss: float, when: str) -> None:
        if self.check_finite and not np.isfinite(loss):
            raise DataError(
                f"the loss became {float(loss)}{when}: lower the learning rate or look for "
                "extreme values in the data"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and states to a safetensors file, whole or not at all."""
        checkpoint.write_weights(path, self._arrays)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take parameters and states from a file that `save` wrote for the same step.

        Guarantees: nothing changes unless every name, shape and dtype fits.
        """
        loaded = checkpoint.read_weights(path, self._arrays)
        with interrupts_held():
            for name, array in loaded.items():
                np.copyto(self._arrays[name], array)


class Totals:
    """Weighted sums of the results of several batches."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names, self.sums, self.count = names, [0.0] * len(names), 0

    def add(self, results: Sequence[Any], count: int) -> None:
        for position, result in enumerate(results):
            self.sums[position] += float(result) * count
        self.count += count

    def means(self) -> dict[str, float]:
        return {name: s / self.count for name, s in zip(self.names, self.sums, strict=True)}


def check_loss(loss: Any) -> None:
    if not isinstance(loss, Expr):
        raise DeclarationError(f"the loss must be an expression, but is {quoted(loss)}")
    if loss.shape:
        raise ShapeError(
            f"the loss must be a single number, but has shape {tuple(loss.shape)}: "
            "take its mean or sum"
        )


def check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise DataError(f"{name} must be a positive whole number, but is {quoted(value)}")


def leads(leaf: Leaf, dim: Any) -> bool:
    """Whether the first axis of the leaf is this named dimension."""
    return bool(leaf.dims) and leaf.dims[0] is dim


def example_dim(inputs: Iterable[Leaf]) -> Any:
    """The one named dimension that leads the inputs, or None where it is not one."""
    named = dict.fromkeys(leaf.dims[0] for leaf in inputs if leaf.dims and leaf.dims[0].terms)
    return next(iter(named)) if len(named) == 1 else None


def split_examples(total: int, share: float, seed: int) -> tuple[Any, Any]:
    """Positions to train on and to validate on; a random share, each part in its order."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < 1:
        raise DataError(f"validation_split must be in 0 to 1, 1 left out, but is {quoted(share)}")
    held = round(total * share)
    if share and not 0 < held < total:
        raise DataError(
            f"validation_split={share} of {total} examples leaves one part empty: "
            "hand in more data or choose another share"
        )
    # Another stream than the epochs' orders, which use [seed, epoch].
    order = np.random.default_rng([seed, 0, 1]).permutation(total)
    return np.sort(order[held:]), np.sort(order[:held])
