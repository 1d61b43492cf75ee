"""Layers of sequences: Embedding, LearnedPositions, MultiHeadAttention, TransformerBlock; and the
functions one_hot and rotary.

In: x[batch, time, features], or whole numbers [..] for `Embedding`. Out: an expression.
Guarantees: those of `symprop.layers`; a query that sees nothing gets 0; no score is ever -inf.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from symprop.declarations import index
from symprop.errors import DeclarationError, ShapeError, quoted
from symprop.expression import Expr, as_expr, describe, shape_text
from symprop.graph import INTS
from symprop.initialize import Initializer, initializer
from symprop.layers import Dense, Function, Layer, Sequential, fixed_axis, positive
from symprop.norm_layers import LayerNorm
from symprop.ops.composite import attention
from symprop.ops.elementwise import cos, gelu, sin
from symprop.ops.indexing import concat, embedding
from symprop.ops.structural import reshape, transpose, where

__all__ = [
    "Embedding",
    "LearnedPositions",
    "MultiHeadAttention",
    "TransformerBlock",
    "one_hot",
    "rotary",
]


def one_hot(labels: Any, classes: int) -> Expr:
    """Whole numbers [..] as rows [.., classes] of zeros with a one at each number's place."""
    y = as_expr(labels)
    if y.dtype not in INTS:
        raise DeclarationError(f"one_hot needs whole numbers, but {describe(y)} is {y.dtype}")
    count = positive("one_hot", "classes", classes)
    found: Expr = where(y[..., None] == index(count), 1.0, 0.0)
    return found.named("one_hot")


class Embedding(Layer):
    """A row of a table for each whole number: [..] becomes [.., features].

    The numbers must be declared below `count`: prop.labels("token", dims, classes=count). The
    gradient touches only rows that were read. `layer["name.weight"]` may be used again, as the
    weights of the output (tied): hidden @ weight.T.
    """

    kind = "embedding"

    def __init__(
        self,
        count: int,
        features: int,
        name: str | None = None,
        init: str | Initializer = "lecun",
    ) -> None:
        super().__init__(name)
        self.count = positive("Embedding", "rows", count)
        self.features = positive("Embedding", "features", features)
        self.init = initializer(init)

    def forward(self, x: Expr) -> Expr:
        if x.dtype not in INTS:
            raise DeclarationError(
                f"Embedding {quoted(self.name)} needs whole numbers, but {describe(x)} is "
                f'{x.dtype}: declare it with prop.labels("token", dims, classes={self.count})'
            )
        table = self.parameter("weight", (self.count, self.features), self.init, ("", ""))
        return embedding(table, x).named(self.name)

    def __repr__(self) -> str:
        return f"Embedding({self.count}, {self.features}, name={self.name!r})"


class LearnedPositions(Layer):
    """x[.., time, features] plus a row of a table for each time: how a sum over times, such as
    attention, learns their order.

    The table has `length` rows, as many as there are times where not said; a shorter sequence reads
    the first of them. J. Gehring et al., Convolutional sequence to sequence learning, ICML 2017.
    """

    kind = "positions"

    def __init__(
        self, length: int | None = None, name: str | None = None, init: str | Initializer = "lecun"
    ) -> None:
        super().__init__(name)
        self.length = None if length is None else positive("LearnedPositions", "rows", length)
        self.init = initializer(init)

    def forward(self, x: Expr) -> Expr:
        time = fixed_axis(self, x, -2, "batch time=16 feature=8")
        features = fixed_axis(self, x, -1, "batch time=16 feature=8")
        self.length = self.length or time
        if time > self.length:
            raise ShapeError(
                f"LearnedPositions {quoted(self.name)} has {self.length} rows, too few for the "
                f"{time} times of {describe(x)}"
            )
        table = self.parameter("weight", (self.length, features), self.init, ("", ""))
        return (x + table[:time]).named(self.name)

    def __repr__(self) -> str:
        return f"LearnedPositions({self.length}, name={self.name!r})"


def rotary(x: Any, base: float = 10000.0) -> Expr:
    """Pairs of features of x[.., time, features] turned by an angle that grows with the time.

    Features k and k + features/2 are a pair, turned by time * base**(-2*k/features). J. Su et al.,
    RoFormer: enhanced transformer with rotary position embedding, 2021, equation 34, the halves
    paired as in GPT-NeoX.
    """
    value = as_expr(x)
    features = value.shape[-1] if value.ndim > 1 else None
    if not isinstance(features, int) or features % 2:
        raise ShapeError(
            f"rotary needs x[.., time, features] with an even number of features, got "
            f"{shape_text(value)} from {describe(value)}"
        )
    half = features // 2
    speed = base ** (-np.arange(half) / half)
    angle = (index(value.shape[-2]).astype("float")[:, None] * speed).named("angle")
    a, b = value[..., :half], value[..., half:]
    turned = [a * cos(angle) - b * sin(angle), b * cos(angle) + a * sin(angle)]
    return concat(turned, axis=-1).named("rotated")


class MultiHeadAttention(Layer):
    """Attention of x[batch, time, features] to itself, or to another sequence, in several heads.

    `groups` is the number of heads that keys and values have, where it is less than that of the
    queries (grouped-query attention, J. Ainslie et al., 2023); `causal` lets a time see none after
    it; `positions="rotary"` turns queries and keys by their time. A. Vaswani et al., Attention is
    all you need, NeurIPS 2017.
    """

    kind = "attention"

    def __init__(
        self,
        heads: int,
        name: str | None = None,
        causal: bool = False,
        groups: int | None = None,
        positions: str | None = None,
        bias: bool = True,
        init: str | Initializer = "glorot",
    ) -> None:
        super().__init__(name)
        self.heads = positive("MultiHeadAttention", "heads", heads)
        self.groups = (
            self.heads if groups is None else positive("MultiHeadAttention", "groups", groups)
        )
        if self.heads % self.groups:
            raise DeclarationError(
                f"MultiHeadAttention has {self.groups} groups, which do not divide its "
                f"{self.heads} heads"
            )
        if positions not in (None, "rotary"):
            raise DeclarationError(
                f"positions must be 'rotary' or None, but is {quoted(positions)}"
            )
        self.causal, self.positions = causal, positions
        self.bias, self.init = bias, initializer(init)
        self._maps: dict[str, Dense] = {}

    def __call__(self, x: Expr, memory: Expr | None = None, mask: Any = None) -> Expr:
        for value in (x, memory):
            if value is not None and (not isinstance(value, Expr) or value.ndim != 3):
                raise ShapeError(
                    f"MultiHeadAttention {quoted(self.name)} needs [batch, time, features], got "
                    f"{quoted(value)}"
                )
        features = fixed_axis(self, x, -1, "batch time feature=8")
        if features % self.heads:
            raise ShapeError(
                f"MultiHeadAttention {quoted(self.name)} has {self.heads} heads, which do not "
                f"divide the {features} features of {describe(x)}"
            )
        each, seen = features // self.heads, x if memory is None else memory
        # Where there are groups, keys and values have one head in each and queries several.
        shared = self.heads // self.groups
        grouped = shared > 1
        q = self._split(self._map("query", features)(x), each, (shared,) if grouped else ())
        k = self._split(self._map("key", self.groups * each)(seen), each, (1,) if grouped else ())
        v = self._split(self._map("value", self.groups * each)(seen), each, (1,) if grouped else ())
        if self.positions == "rotary":
            q, k = rotary(q), rotary(k)
        heads = (None,) * (q.ndim - 3)
        shown = None if mask is None else as_expr(mask)[(..., *heads, slice(None), slice(None))]
        values = attention(q, k, v, causal=self.causal, mask=shown)
        time = q.ndim - 2
        axes = (0, time, *range(1, time), time + 1)
        joined = reshape(transpose(values, axes), (*x.shape[:2], features))
        return self._map("output", features)(joined)

    def _map(self, part: str, units: int) -> Dense:
        if part not in self._maps:
            self._maps[part] = Dense(units, f"{self.name}.{part}", self.bias, self.init)
        return self._maps[part]

    def _split(self, x: Expr, each: int, shared: tuple[int, ...]) -> Expr:
        """[batch, time, features] as [batch, group, *heads of it, time, features of a head]."""
        split = reshape(x, (*x.shape[:2], self.groups, *shared, each))
        heads = range(2, split.ndim - 1)
        return transpose(split, (0, *heads, 1, split.ndim - 1))

    @property
    def parameters(self) -> Mapping[str, Expr]:
        """The weights of the four maps."""
        maps = self._maps.values()
        return MappingProxyType({n: p for each in maps for n, p in each.parameters.items()})

    def rename(self, name: str) -> None:
        if not self._maps:
            self.name = name


class TransformerBlock(Layer):
    """x + attention(norm(x)), then that plus two maps of its norm with GELU between.

    The norms stand before (R. Xiong et al., On layer normalization in the transformer
    architecture, ICML 2020). `hidden` is the width between the maps, 4 times the features where not
    said; the other options are those of `MultiHeadAttention`.
    """

    kind = "block"

    def __init__(
        self,
        heads: int,
        name: str | None = None,
        hidden: int | None = None,
        causal: bool = False,
        groups: int | None = None,
        positions: str | None = None,
        activation: Function = gelu,
    ) -> None:
        super().__init__(name)
        self.hidden = (
            None if hidden is None else positive("TransformerBlock", "hidden units", hidden)
        )
        self.attention = MultiHeadAttention(
            heads, causal=causal, groups=groups, positions=positions
        )
        self.norms = (LayerNorm(), LayerNorm())
        self.activation = activation
        self._maps: Sequential | None = None

    def rename(self, name: str) -> None:
        if self._maps is None:
            self.name = name

    def __call__(self, x: Expr, mask: Any = None) -> Expr:
        if not isinstance(x, Expr) or x.ndim != 3:
            raise ShapeError(
                f"TransformerBlock {quoted(self.name)} needs [batch, time, features], but got "
                f"{quoted(x)}"
            )
        features = fixed_axis(self, x, -1, "batch time feature=8")
        self.attention.rename(f"{self.name}.attention")
        for k, norm in enumerate(self.norms, start=1):
            norm.rename(f"{self.name}.norm{k}")
        if self._maps is None:
            wide = self.hidden or 4 * features
            self._maps = Sequential(
                Dense(wide, "wide"), self.activation, Dense(features, "narrow"), name=self.name
            )
        y = x + self.attention(self.norms[0](x), mask=mask)
        return (y + self._maps(self.norms[1](y))).named(self.name)

    @property
    def parameters(self) -> Mapping[str, Expr]:
        """The parameters of the norms, the attention and the maps."""
        inside = (self.norms[0], self.attention, self.norms[1], self._maps)
        found = {n: p for one in inside if one is not None for n, p in one.parameters.items()}
        return MappingProxyType(found)
