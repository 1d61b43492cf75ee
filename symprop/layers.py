"""Layers: functions that declare parameters.

In: an expression; the layer's options.
Out: an expression, and the parameters that the layer declared when it was first called.
Guarantees: a layer declares its parameters once, so calling it again shares them; a layer inside a
`Sequential` is named by its position unless it was given a name, so the same network has the same
names in every process; weights are `(out, in)`.

A layer is sugar. Whatever it builds is an ordinary expression, and nothing below this module can
tell that a layer built it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from symprop.data import closest
from symprop.declarations import parameter, state
from symprop.errors import DeclarationError, ShapeError, listed, quoted
from symprop.expression import Expr, axis_names
from symprop.graph import At, Reduce
from symprop.initialize import Initializer, Zeros, initializer
from symprop.repeated import Step, shared

__all__ = ["Dense", "Layer", "Sequential", "fixed_axis", "positive"]

Function = Callable[[Expr], Expr]


class Layer:
    """What layers share: a name, and the parameters that are declared at the first call.

    A subclass says in `kind` how it is called when the user gives no name, and in `forward` what
    it computes; `forward` asks for its parameters with `self.parameter(...)`.
    """

    kind = "layer"

    def __init__(self, name: str | None = None) -> None:
        if name is not None and (not isinstance(name, str) or not name):
            raise DeclarationError(f"a layer's name must be text, but is {quoted(name)}")
        self.given_name = name
        self.name = name or self.kind
        self._declared: dict[str, Expr] = {}
        self._states: dict[str, Expr] = {}

    def __call__(self, x: Expr) -> Expr:
        if not isinstance(x, Expr):
            raise DeclarationError(
                f"{self.name} must be called on an expression, but got {quoted(type(x).__name__)}: "
                'declare one with prop.input("x", dims)'
            )
        return self.forward(x)

    def forward(self, x: Expr) -> Expr:
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def parameter(
        self, part: str, shape: tuple[int, ...], init: Any, axes: tuple[str, ...]
    ) -> Expr:
        """The parameter `part` of this layer: declared at the first call, shared afterwards.

        `axes` are the names that the axes get in the listing, "" where there is none.
        """
        name = f"{self.name}.{part}"
        if name not in self._declared:
            dims = tuple(f"{a}={n}" if a else n for a, n in zip(axes, shape, strict=True))
            self._declared[name] = parameter(name, dims, init)
        known = self._declared[name]
        if tuple(known.shape) != shape:
            raise ShapeError(
                f"{quoted(name)} has shape {tuple(known.shape)} since its first call, but this "
                f"call needs {shape}: use a second layer"
            )
        return known

    def state(self, part: str, shape: tuple[int, ...], init: float, axes: tuple[str, ...]) -> Expr:
        """The state `part` of this layer, which training updates but does not differentiate."""
        name = f"{self.name}.{part}"
        if name not in self._states:
            dims = tuple(f"{a}={n}" if a else n for a, n in zip(axes, shape, strict=True))
            self._states[name] = state(name, dims, init)
        return self._states[name]

    def rename(self, name: str) -> None:
        """Take the name of a place inside a container; a layer that was called keeps its own."""
        if not self._declared:
            self.name = name

    @property
    def parameters(self) -> Mapping[str, Expr]:
        """The declared parameters by name: empty before the first call."""
        return MappingProxyType(self._declared)

    def __getitem__(self, name: str) -> Expr:
        parameters = self.parameters
        if name not in parameters:
            hint = closest(name, parameters) if parameters else ": call it on its input first"
            raise DeclarationError(
                f"{self.name} has no parameter {quoted(name)}: it has {listed(parameters)}{hint}"
            )
        return parameters[name]


class Dense(Layer):
    """An affine map of the last axis: `x @ W.T + b` with `W` of shape `(units, in)`."""

    kind = "dense"

    def __init__(
        self,
        units: int,
        name: str | None = None,
        bias: bool = True,
        init: str | Initializer = "he",
    ) -> None:
        super().__init__(name)
        self.units = positive("Dense", "units", units)
        self.bias, self.init = bias, initializer(init)

    def forward(self, x: Expr) -> Expr:
        inputs = fixed_axis(self, x, -1, "batch pixel=64")
        own = self.name.rpartition(".")[2]
        own = own if own.isidentifier() else ""
        read = last_axis_name(x)
        shape = (self.units, inputs)
        weight = self.parameter("weight", shape, self.init, (own, read if read != own else ""))
        y = x @ weight.T
        if self.bias:
            y = y + self.parameter("bias", shape[:1], Zeros(), (own,))
        return y.named(self.name)

    def __repr__(self) -> str:
        return f"Dense({self.units}, name={self.name!r})"


def _step(step: Layer | Function) -> Step:
    """A step as a reader calls it: by its kind where that was numbered."""
    if isinstance(step, Layer):
        word = step.name.rpartition(".")[2]
        return Step(word.rstrip("0123456789_") or word, step.name)
    word = getattr(step, "__name__", "")
    return Step(word if word.isidentifier() else "")


def positive(layer: str, what: str, value: Any) -> int:
    """A positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise DeclarationError(f"{layer} needs a positive number of {what}, not {quoted(value)}")
    return int(value)


def fixed_axis(layer: Layer, x: Expr, axis: int, example: str) -> int:
    """The size of an axis that a parameter follows; a free one is refused."""
    if x.ndim <= (axis if axis >= 0 else -axis - 1) or not isinstance(x.shape[axis], int):
        which = "last axis" if axis == -1 else f"axis {axis}"
        raise ShapeError(
            f"{type(layer).__name__} {quoted(layer.name)} needs an input whose {which} has a fixed "
            f'size, but got shape {tuple(x.shape)}: declare it, e.g. "{example}"'
        )
    return int(x.shape[axis])


def last_axis_name(x: Expr) -> str:
    """The name of the last axis, found through activations, which keep the axes of what they
    read; "" where there is none."""
    node = x.node
    while not axis_names(node)[-1]:
        reads = node.reads if isinstance(node, Reduce) else ()
        same = [r.node for r in reads if isinstance(r, At) and r.node.dims == node.dims]
        if not same:
            return ""
        node = same[0]
    return axis_names(node)[-1]


class Sequential(Layer):
    """Layers and plain functions of one expression, applied from left to right.

    Long runs of equal steps (twelve transformer blocks) become calls of one block, as those of
    `prop.region`: derived, simplified and printed once (`symprop.repeated`).
    """

    kind = "sequential"

    def __init__(self, *steps: Layer | Function, name: str | None = None) -> None:
        super().__init__(name)
        for step in steps:
            if not callable(step):
                raise DeclarationError(
                    "Sequential takes layers and functions of one expression, but got "
                    f"{quoted(step)}"
                )
        self.steps = steps
        self._name_children("" if name is None else f"{name}.")

    def _name_children(self, prefix: str) -> None:
        """Name the layers inside: by what the user called them, else by kind and position."""
        taken: dict[str, Layer] = {}
        layers = dict.fromkeys(step for step in self.steps if isinstance(step, Layer))
        for position, layer in enumerate(layers, start=1):
            name = layer.given_name or f"{layer.kind}{position}"
            if name in taken:
                raise DeclarationError(
                    f"two layers are named {quoted(name)}: give one of them another name"
                )
            taken[name] = layer
            layer.rename(prefix + name)

    def rename(self, name: str) -> None:
        super().rename(name)
        self._name_children(f"{name}.")

    def forward(self, x: Expr) -> Expr:
        values = [x]
        for step in self.steps:
            y = step(values[-1])
            if not isinstance(y, Expr):
                raise DeclarationError(
                    f"{quoted(getattr(step, '__name__', step))} must return an expression, but "
                    f"returned {quoted(type(y).__name__)}"
                )
            values.append(y)
        return Expr(shared([v.node for v in values], list(map(_step, self.steps))), y.sources)

    @property
    def parameters(self) -> Mapping[str, Expr]:
        """The parameters of all layers inside, in order."""
        inside = (step.parameters for step in self.steps if isinstance(step, Layer))
        return MappingProxyType({name: leaf for each in inside for name, leaf in each.items()})

    def __iter__(self) -> Iterator[Layer | Function]:
        return iter(self.steps)

    def __repr__(self) -> str:
        inside = ", ".join(
            repr(step) if isinstance(step, Layer) else str(getattr(step, "__name__", step))
            for step in self.steps
        )
        return f"Sequential({inside})"
