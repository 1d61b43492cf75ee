"""A training step with its arrays: what the trainer and its loop both need.

In: a `TrainingStep`, a backend, a width, a seed; arrays that the user hands in.
Out: the compiled step, its forward parts, the arrays it changes; checked data; means over batches.
Guarantees: data is checked in `symprop.data` before any of it is used; evaluation changes no state.

It knows no backend and no layer: it hands arrays to a compiled program. `symprop.trainer` is what
users see of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.aligned import aligned_copy
from codegen.index import dim
from symprop.batches import Stream, Totals, check_count
from symprop.data import Arrays, Door, Leaf, dims_text, longer, shown
from symprop.errors import DeclarationError, UnsupportedError
from symprop.examples import examples_of
from symprop.expression import Expr
from symprop.function import compile_program
from symprop.initialize import initial_values
from symprop.walk import leaves

if TYPE_CHECKING:
    from symprop import graph
    from symprop.training import TrainingStep

__all__ = ["Runner"]


class Runner:
    """A compiled training step and the arrays it reads and changes.

    `arrays` are those of all parameters and states by name, `parameters` the names of the former;
    `columns` the names of the numbers that a step reports, the loss first.
    """

    def __init__(
        self, recipe: TrainingStep, backend: str, dtype: str, seed: int, check_finite: bool | None
    ) -> None:
        self.recipe, self.backend, self.dtype = recipe, backend, dtype
        self.check_finite = check_finite
        self.step = recipe.compiled(backend, dtype)
        self.columns = ["loss", *recipe.metrics]
        shown = [*recipe.outputs.values(), recipe.loss, *recipe.metrics.values()]
        everything = [*shown, *(e for pair in recipe.updates for e in pair)]
        started = initial_values(everything, seed=seed, dtype=dtype)
        self.arrays: Arrays = {name: aligned_copy(array) for name, array in started.items()}
        self._owners = frozenset(id(array.base) for array in self.arrays.values())
        known = {leaf.name: leaf for leaf in leaves([value.node for value in everything])}
        self.parameters = tuple(n for n in self.arrays if known[n].kind == "parameter")
        self._doors: dict[tuple[int, bool], tuple[Any, Door]] = {}
        # Those that a layer of width 1 or the like made count for nothing may be handed in too.
        declared = {leaf.name: leaf for leaf in (*known.values(), *self.step.declared)}
        self._data = tuple(n for n, leaf in declared.items() if leaf.kind in ("input", "scalar"))
        self.examples = examples = examples_of(self._inputs(self.step))
        inputs = (leaf for leaf in known.values() if leaf.kind == "input")
        leading = (leaf.name for leaf in inputs if examples is not None and examples.leads(leaf))
        self._split = frozenset(leading)

    @cached_property
    def predict(self) -> Any:
        """The outputs, compiled."""
        outputs = self.recipe.outputs
        if not outputs:
            raise DeclarationError(
                "there is nothing to predict: name the outputs, e.g. "
                'prop.training_step(loss, optimizer, outputs={"logits": logits})'
            )
        return self._forward(outputs, "predict")

    @cached_property
    def evaluate(self) -> Any:
        """The loss and the metrics, compiled."""
        return self._forward({"loss": self.recipe.loss, **self.recipe.metrics}, "evaluate")

    def _forward(self, outputs: Mapping[str, Expr], title: str) -> Any:
        return compile_program(
            list(outputs.values()),
            names=list(outputs),
            backend=self.backend,
            dtype=self.dtype,
            title=title,
            marked=False,  # only a training step changes states
        )

    # --- data ----------------------------------------------------------------------------------

    def _inputs(self, compiled: Any) -> list[graph.Leaf]:
        """The leaves that the user hands in: not those whose arrays are kept here."""
        return [leaf for leaf in compiled.inputs if leaf.name not in self.arrays]

    def prepare(self, compiled: Any, data: Mapping[str, Any], whole: bool = False) -> Arrays:
        """The user's arrays, checked and converted for this program, apart from those kept here.

        They are a batch, or with `whole` any number of examples, to be cut into batches.
        """
        arrays, _ = self._door(compiled, whole)(data)
        for name, array in arrays.items():
            if array.base is not None and self._shares(array):
                arrays[name] = array.copy()
        return arrays

    def _shares(self, array: np.ndarray[Any, Any]) -> bool:
        """Whether a view is of memory that a step may change while it reads the data."""
        owner: Any = array
        while isinstance(owner, np.ndarray) and owner.base is not None:
            owner = owner.base
        if isinstance(owner, np.ndarray):
            return id(owner) in self._owners
        return any(np.may_share_memory(array, own) for own in self.arrays.values())

    def _door(self, compiled: Any, whole: bool) -> Door:
        """The checks of the arrays for this program, made ready once."""
        key = id(compiled), whole  # the program is kept beside its door, so its id stays its
        known = self._doors.get(key)
        if known is None:
            wanted: list[Leaf] = [*self._inputs(compiled)]
            if whole and self.examples is not None and self.examples.size is not None:
                some = dim(self.examples.axis, lower=1).ix()
                wanted = [longer(k, some) if k.name in self._split else k for k in wanted]
            strict = bool(self.check_finite)
            door = Door(wanted, self.dtype, ignored=self._data, check_finite=strict)
            known = self._doors[key] = compiled, door
        return known[1]

    def to_evaluate(self, data: Mapping[str, Any]) -> Arrays:
        """Whole arrays to evaluate; refused where a declared size of batches leaves some out."""
        arrays = self.prepare(self.evaluate, data, whole=True)
        lengths = [len(a) for n, a in arrays.items() if n in self._split]
        if self.examples is not None and lengths:
            self.examples.check_whole(lengths[0])
        return arrays

    def split_names(self, arrays: Iterable[str]) -> list[str]:
        """The inputs whose first axis counts examples."""
        if self.examples is None:
            raise UnsupportedError(
                "fit and batched evaluation need inputs that share one named first axis, such as "
                '"batch pixel=64": hand in batches as mappings, or use trainer.step with whole '
                "arrays"
            )
        for leaf in self._inputs(self.step):
            if self.examples.elsewhere(leaf):
                raise UnsupportedError(
                    f"{shown(leaf)} has the batch on another axis than the first, "
                    f"{dims_text(leaf)}, so it cannot be cut: hand in batches as mappings"
                )
        return [name for name in arrays if name in self._split]

    def stream(self, compiled: Any, data: Any, steps: int | None) -> Stream:
        """Batches that are checked as they come, each counting for its examples."""

        def checked(batch: Mapping[str, Any]) -> tuple[Arrays, int]:
            arrays = self.prepare(compiled, batch)
            split = [name for name in arrays if name in self._split]
            return arrays, len(arrays[split[0]]) if split else 1

        return Stream(data, steps, checked)

    # --- running -------------------------------------------------------------------------------

    def run(self, compiled: Any, arrays: Arrays) -> tuple[Any, ...]:
        """The results of a compiled program for checked arrays."""
        return tuple(compiled.call({**self.arrays, **arrays}))

    def run_apart(self, compiled: Any, arrays: Arrays) -> tuple[Any, ...]:
        """The same, as arrays of the caller's own: none is a live weight or what was handed in."""
        return tuple(compiled.call_apart({**self.arrays, **arrays}))

    def evaluated(self, arrays: Arrays, batch_size: int | None) -> dict[str, float]:
        """The loss and the metrics over checked arrays, at once or in batches of this size (or of
        the one that is declared)."""
        split: list[str] = []
        if batch_size is not None:
            check_count("batch_size", batch_size)
        declared = None if self.examples is None else self.examples.size
        if declared is not None or batch_size is not None:
            split = self.split_names(arrays)
        if not split:  # at once, or nothing that is read has examples
            results = self.run(self.evaluate, arrays)
            return self.recipe.finished(dict(zip(self.columns, map(float, results), strict=True)))
        assert self.examples is not None
        batch_size = self.examples.batch_size(batch_size, 1)
        total = Totals(self.columns)
        count = len(arrays[split[0]])
        for start in range(0, count, batch_size):
            chosen = slice(start, start + batch_size)
            part = {n: a[chosen] if n in split else a for n, a in arrays.items()}
            total.add(self.run(self.evaluate, part), min(batch_size, count - start))
        return self.recipe.finished(total.means())

    def evaluated_stream(self, stream: Stream, epoch: int) -> dict[str, float]:
        """The loss and the metrics over the batches of an epoch."""
        total = Totals(self.columns)
        for arrays, count in stream.epoch(epoch):
            total.add(self.run(self.evaluate, arrays), count)
        return self.recipe.finished(total.means())
