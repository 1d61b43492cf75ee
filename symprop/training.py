"""A training step: a loss and an optimizer become one program.

    loss -> gradients -> clipping -> optimizer's updates -> one program -> Trainer

In: a scalar loss, an optimizer, the outputs to predict, the metrics to report, how to clip.
Out: `TrainingStep`, the step as expressions and as a program; its `compile` gives a
`symprop.trainer.Trainer`, the step with its arrays.
Guarantees: forward, backward and update are one function; what cannot be trained is refused here,
before anything is compiled.

It does not know layers, and nothing in it depends on what the network computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from symprop.arguments import arguments
from symprop.backends import check_installed, default
from symprop.clipping import Clip
from symprop.errors import DeclarationError, ShapeError, listed, quoted
from symprop.expression import Expr
from symprop.function import compile_program
from symprop.gradient import gradient
from symprop.metrics import resolve
from symprop.modes import resolved
from symprop.optimizer_parts import Update, steps_done
from symprop.optimizers import Optimizer
from symprop.pipeline import seldom_collected
from symprop.shapes import check_name
from symprop.trainer import Trainer
from symprop.walk import leaves

__all__ = ["Trainer", "TrainingStep", "training_step"]


def training_step(
    loss: Expr,
    optimizer: Optimizer,
    outputs: Mapping[str, Expr] | None = None,
    metrics: Sequence[str | Expr] | Mapping[str, Expr] = (),
    clip: Clip | None = None,
    freeze: str | Sequence[str] = (),
) -> TrainingStep:
    """The step that moves every parameter of `loss` by what `optimizer` makes of its gradient.

    In: a scalar expression; an optimizer such as prop.Adam(1e-3); the expressions that `predict`
    returns, by name; metrics by name (those of `symprop.metrics.METRICS`) or as scalar expressions;
    what is done to the gradients first, such as prop.ClipGlobalNorm(1.0); the parameters that stay
    as they are: names or patterns of names, such as "embedding.*".
    Raises DeclarationError or ShapeError for what cannot be trained or reported.
    """
    return TrainingStep(loss, optimizer, {} if outputs is None else outputs, metrics, clip, freeze)


class TrainingStep:
    """A training step as expressions; `compile` gives it arrays to work on.

    `loss`, `outputs`, `metrics`, `parameters` (those that are trained), `gradients` (of the loss),
    `clipped` (what the optimizer is given) and `updates` are expressions.
    """

    def __init__(
        self,
        loss: Expr,
        optimizer: Optimizer,
        outputs: Mapping[str, Expr],
        metrics: Sequence[str | Expr] | Mapping[str, Expr],
        clip: Clip | None = None,
        freeze: str | Sequence[str] = (),
    ) -> None:
        check_loss(loss)
        check_outputs(outputs)
        check_has("optimizer", optimizer, "updates", "prop.Adam(1e-3)")
        if clip is not None:
            check_has("clip", clip, "clipped", "prop.ClipGlobalNorm(1.0)")
        self.loss, self.optimizer, self.outputs = loss, optimizer, dict(outputs)
        found = arguments([loss.node])
        self.parameters = [Expr(leaf) for leaf in found if leaf.kind == "parameter"]
        if not self.parameters:
            raise DeclarationError(
                "the loss reads no parameter, so there is nothing to train: "
                "declare one with prop.parameter or use a layer"
            )
        self.parameters = thawed(self.parameters, freeze)
        self.reported = resolve(metrics, loss, self.outputs)
        self.metrics = {name: one.value for name, one in self.reported.items()}
        (trained,) = resolved([loss.node], training=True)
        self.gradients = gradient(Expr(trained, loss.sources), self.parameters)
        self.clipped = self.gradients if clip is None else clip.clipped(self.gradients)
        self.updates = counted(optimizer.updates(self.parameters, self.clipped), loss)
        self._compiled: dict[tuple[str, str], Any] = {}

    def compiled(self, backend: str = "numpy", dtype: str = "float32") -> Any:
        """The step as one compiled program, made once for a backend and a width."""
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
        return self.compiled().program

    @property
    def loops(self) -> Any:
        """The same as nests of loops, scheduled: what the Numba text is printed from."""
        return self.compiled().loops

    def source(self, backend: str = "numpy", dtype: str = "float32") -> str:
        """The text of the step for this backend, as it runs."""
        return str(self.compiled(backend, dtype).source(backend))

    def compile(
        self,
        backend: str | None = None,
        dtype: str = "float32",
        seed: int = 0,
        check_finite: bool | None = None,
    ) -> Trainer:
        """A trainer with fresh parameters drawn from `seed`.

        It runs on the backend that is named, else natively where llvmlite knows this machine, else
        with NumPy.

        `check_finite` says what happens where the loss becomes NaN or infinite. None: `fit` and
        `run` undo the step and raise NonFiniteError with the place where it began; `step` does not
        look. True: `step` looks too, at all weights and states, and data that is not finite is
        refused; steps are called from Python then, and the weights are copied before each. False:
        nothing is looked at, for losses that are infinite for a while.

        Raises UnsupportedError for a backend that does not exist, or whose package is not
        installed; `source` gives its text all the same.
        """
        chosen = default() if backend is None else backend
        check_installed(chosen)
        with seldom_collected():
            return Trainer(self, chosen, dtype, seed, check_finite)

    def finished(self, means: Mapping[str, float]) -> dict[str, float]:
        """The numbers to report, from the means of the loss and the metrics over the batches."""
        return {
            name: self.reported[name].finish(value) if name in self.reported else value
            for name, value in means.items()
        }

    def better(self, name: str) -> str:
        """ "min" or "max" for the loss and named metrics; "" for an expression of the user's."""
        return "min" if name == "loss" else self.reported[name].better


def thawed(parameters: list[Expr], freeze: str | Sequence[str]) -> list[Expr]:
    """The parameters that are trained; refuses a pattern that fits none, and to freeze all."""
    patterns = [freeze] if isinstance(freeze, str) else list(freeze)
    names = [str(p.name) for p in parameters]
    for pattern in patterns:
        if not isinstance(pattern, str) or not any(fnmatchcase(n, pattern) for n in names):
            raise DeclarationError(
                f"freeze has {quoted(pattern)}, which fits no parameter of the loss: it has "
                f"{listed(names)}"
            )
    kept = [
        p for p, n in zip(parameters, names, strict=True)
        if not any(fnmatchcase(n, pattern) for pattern in patterns)
    ]  # fmt: skip
    if not kept:
        raise DeclarationError("every parameter of the loss is frozen: nothing is left to train")
    return kept


def counted(updates: list[Update], loss: Expr) -> list[Update]:
    """The updates, and the count of the steps where a schedule or the loss reads it."""
    steps = steps_done()
    if steps.node in leaves([loss.node, *(new.node for _, new in updates)]):
        return [(steps, steps + 1), *updates]
    return updates


def check_loss(loss: Any) -> None:
    if not isinstance(loss, Expr):
        raise DeclarationError(f"the loss must be an expression, but is {quoted(loss)}")
    if loss.shape:
        raise ShapeError(
            f"the loss must be a single number, but has shape {tuple(loss.shape)}: "
            "take its mean or sum"
        )


def check_outputs(outputs: Any) -> None:
    if not isinstance(outputs, Mapping):
        raise DeclarationError(
            'outputs must be a mapping from names to expressions, such as {"logits": logits}, '
            f"but is {quoted(outputs)}"
        )
    for name, output in outputs.items():
        check_name(name, "an output")
        if not isinstance(output, Expr):
            raise DeclarationError(
                f"the output {quoted(name)} must be an expression, but is {quoted(output)}"
            )


def check_has(role: str, given: Any, method: str, example: str) -> None:
    """Refuse what is not an object with this method: a name, a number, a class without ()."""
    if isinstance(given, type):
        raise DeclarationError(
            f"the {role} must be an object such as {example}, but is the class "
            f"{quoted(given.__name__)}: call it"
        )
    if not hasattr(given, method):
        raise DeclarationError(f"the {role} must be one such as {example}, but is {quoted(given)}")
