"""Recurrent layers: RNN, LSTM, GRU, and Bidirectional around them.

In: x[batch, time, features], and where sequences differ in length a mask [batch, time] of bools,
true where there is an element. Out: the hidden values [batch, time, units]; from `run` also what is
carried after the last time, which may be the `start` of another run.
Guarantees: those of `symprop.layers`; one turn is written down once, whatever the length, as a
scan; the products with the input do not depend on the turn and are one contraction over all times,
outside of it. Where the mask is false the hidden value stays what it was. Weights have torch's
shapes and the order of its gates; there is one bias where torch adds two.

A text too long to be differentiated at once is cut in pieces, each of which starts from what the
one before carried (truncated backpropagation through time). What is carried is a state: a number
that steps keep and that no gradient enters, so that gradients end where a piece begins.

    h = prop.state("h", "batch=32 unit=64")
    hidden, (last,) = prop.GRU(64).run(x, start=(h,))   # an LSTM carries two: hidden values, cells
    loss = prop.update(prop.cross_entropy(...), h, last)

The pieces are trained in their order (`trainer.step`, or batches handed to `fit`); another text
begins with trainer.states["h"][...] = 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from codegen.index import as_ix
from symprop.errors import DeclarationError, ShapeError, quoted
from symprop.expression import Expr, as_expr, describe, shape_text
from symprop.initialize import Initializer, Zeros, initializer
from symprop.layers import Layer, fixed_axis, last_axis_name, positive
from symprop.make import filled
from symprop.ops.control import scan
from symprop.ops.elementwise import sigmoid, tanh
from symprop.ops.indexing import concat
from symprop.ops.structural import transpose, where
from symprop.term import num

__all__ = ["GRU", "LSTM", "RNN", "Bidirectional", "Recurrent"]

Carry = tuple[Expr, ...]


class Recurrent(Layer):
    """What recurrent layers share: `units` hidden numbers, carried from each time to the next.

    `reverse` runs from the last time to the first. A subclass says how many `gates` there are, how
    many values are `carried`, and in `turn` what one time does.
    """

    kind = "recurrent"
    gates = 1
    carried = 1

    def __init__(
        self,
        units: int,
        name: str | None = None,
        reverse: bool = False,
        init: str | Initializer = "glorot",
    ) -> None:
        super().__init__(name)
        self.units = positive(type(self).__name__, "units", units)
        self.reverse, self.init = reverse, initializer(init)

    def __call__(self, x: Expr, mask: Any = None) -> Expr:
        return self.forward(x, mask)

    def forward(self, x: Expr, mask: Any = None) -> Expr:
        return self.run(x, mask)[0]

    def run(self, x: Expr, mask: Any = None, start: Carry | None = None) -> tuple[Expr, Carry]:
        """The hidden values [batch, time, units], and what is carried after the last of the times.

        `start` is what is carried before the first: `carried` values [batch, units], the hidden
        value first; zeros where not said. Raises ShapeError for shapes that do not fit.
        """
        if not isinstance(x, Expr) or x.ndim != 3:
            got = shape_text(x) if isinstance(x, Expr) else quoted(x)
            raise ShapeError(
                f"{type(self).__name__} {quoted(self.name)} needs x[batch, time, features], got "
                f"{got}"
            )
        self._check_mask(x, mask)
        carry = self._started(x, start)
        given, hidden = self._given(x)

        def step(state: Any, slices: Any) -> tuple[Any, Expr]:
            old = state if isinstance(state, tuple) else (state,)
            now, seen = slices if isinstance(slices, tuple) else (slices, None)
            new = self.turn(now, old, hidden)
            if seen is not None:
                new = tuple(where(seen[:, None], a, b) for a, b in zip(new, old, strict=True))
            return (new if len(new) > 1 else new[0]), new[0]

        xs: Any = given if mask is None else (given, transpose(as_expr(mask), (1, 0)))
        first: Any = carry if self.carried > 1 else carry[0]
        last, stacked = scan(step, first, xs, reverse=self.reverse)
        values = transpose(stacked, (1, 0, 2)).named(self.name)
        return values, last if isinstance(last, tuple) else (last,)

    def _started(self, x: Expr, start: Any) -> Carry:
        """What is carried before the first time."""
        if start is None:
            zeros = Expr(filled(num(0), (x.node.dims[0], as_ix(self.units)), "float"))
            return (zeros,) * self.carried
        given = tuple(as_expr(s) for s in (start if isinstance(start, tuple | list) else (start,)))
        wanted = (x.shape[0], self.units)
        if len(given) != self.carried or any(tuple(s.shape) != wanted for s in given):
            raise ShapeError(
                f"{type(self).__name__} {quoted(self.name)} starts from {self.carried} of shape "
                f"[{wanted[0]}, {wanted[1]}], but start is "
                f"{', '.join(f'{describe(s)} of shape {shape_text(s)}' for s in given)}"
            )
        return given

    def _check_mask(self, x: Expr, mask: Any) -> None:
        if mask is None:
            return
        given = as_expr(mask)
        if given.dtype != "bool" or given.node.dims != x.node.dims[:2]:
            raise ShapeError(
                f"the mask of {type(self).__name__} {quoted(self.name)} must be bools [batch, "
                f"time] of {describe(x)}, {shape_text(x)}, but {describe(given)} is {given.dtype} "
                f"of shape {shape_text(given)}"
            )

    def _given(self, x: Expr) -> tuple[Expr, Expr]:
        """The input's part [time, batch, gates * units], and the weights of the hidden value."""
        features = fixed_axis(self, x, -1, "batch time feature=8")
        rows = self.gates * self.units
        read = last_axis_name(x)
        weight = self.parameter("weight", (rows, features), self.init, ("", read))
        hidden = self.parameter("hidden", (rows, self.units), self.init, ("", ""))
        bias = self.parameter("bias", (rows,), Zeros(), ("",))
        given = transpose(x @ weight.T + bias, (1, 0, 2)).named(f"{self.name}.input")
        return given, hidden

    def turn(self, given: Expr, carry: Carry, hidden: Expr) -> Carry:
        """The carry after one time, the hidden value first; `given` is the input's part."""
        raise NotImplementedError(f"{type(self).__name__} must define turn")

    def parts(self, x: Expr) -> Sequence[Expr]:
        """The gates of the last axis."""
        n = self.units
        return [x[:, k * n : (k + 1) * n] for k in range(self.gates)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.units}, name={self.name!r})"


class RNN(Recurrent):
    """h = tanh(W x + U h + b). J. L. Elman, Finding structure in time, 1990."""

    kind = "rnn"

    def turn(self, given: Expr, carry: Carry, hidden: Expr) -> Carry:
        return (tanh(given + carry[0] @ hidden.T).named("hidden"),)


class LSTM(Recurrent):
    """Long short-term memory: what is kept is a sum, through which gradients pass unchanged.

        i, f, o = sigmoid(W x + U h + b)   g = tanh(W x + U h + b)   in the order i, f, g, o
        c = f*c + i*g;  h = o * tanh(c)

    S. Hochreiter and J. Schmidhuber, Long short-term memory, 1997, with the forget gate of
    F. A. Gers, J. Schmidhuber and F. Cummins, 2000.
    """

    kind = "lstm"
    gates, carried = 4, 2

    def turn(self, given: Expr, carry: Carry, hidden: Expr) -> Carry:
        old, cell = carry
        i, f, g, o = self.parts(given + old @ hidden.T)
        enter, forget, leave = (
            sigmoid(gate).named(f"{name}_gate")
            for gate, name in ((i, "input"), (f, "forget"), (o, "output"))
        )
        new = (forget * cell + enter * tanh(g).named("candidate")).named("cell")
        return (leave * tanh(new)).named("hidden"), new


class GRU(Recurrent):
    """The gated recurrent unit.

        r, z = sigmoid(W x + U h + b)      in the order r, z, n
        n = tanh(W x + b + r*(U h + c));  h = (1 - z)*n + z*h

    K. Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014, in the
    form of torch and cuDNN, where r multiplies the product with h; c is `hidden_bias`.
    """

    kind = "gru"
    gates = 3

    def turn(self, given: Expr, carry: Carry, hidden: Expr) -> Carry:
        (old,) = carry
        own = self.parameter("hidden_bias", (self.units,), Zeros(), ("",))
        a, b, c = self.parts(given)
        u, v, w = self.parts(old @ hidden.T)
        reset, keep = sigmoid(a + u).named("reset"), sigmoid(b + v).named("keep")
        new = tanh(c + reset * (w + own)).named("candidate")
        return (((1 - keep) * new + keep * old).named("hidden"),)


class Bidirectional(Layer):
    """Two recurrent layers, one from each end; their hidden values side by side on the last axis.

    M. Schuster and K. K. Paliwal, Bidirectional recurrent neural networks, 1997.
    """

    kind = "bidirectional"

    def __init__(self, forward: Recurrent, backward: Recurrent, name: str | None = None) -> None:
        super().__init__(name)
        for layer, reverse in ((forward, False), (backward, True)):
            if not isinstance(layer, Recurrent) or layer.reverse is not reverse:
                raise DeclarationError(
                    "Bidirectional takes a recurrent layer and one with reverse=True, such as "
                    f"prop.GRU(8) and prop.GRU(8, reverse=True), but got {quoted(layer)}"
                )
        self.ways = (forward, backward)
        self.rename(self.name)

    def rename(self, name: str) -> None:
        super().rename(name)
        for word, layer in zip(("forward", "backward"), self.ways, strict=True):
            layer.rename(f"{name}.{layer.given_name or word}")

    def __call__(self, x: Expr, mask: Any = None) -> Expr:
        values = [layer(x, mask) for layer in self.ways]
        return concat(values, axis=-1).named(self.name)

    @property
    def parameters(self) -> Mapping[str, Expr]:
        """The parameters of both ways."""
        return MappingProxyType({n: p for way in self.ways for n, p in way.parameters.items()})
