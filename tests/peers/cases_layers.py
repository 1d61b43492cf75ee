"""Cases: recurrent layers, learned positions and attention in heads, with the weights handed in.

Each case gives the same scalar twice: once in symprop, once in torch (`table.Case`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import symprop as prop

from .table import Arrays, Leaves, case, normal, probe, torch_probe

LENGTHS = np.array([4, 2, 1])


def given(layer: Any, weights: Mapping[str, Any]) -> Any:
    """The layer with these leaves as its parameters."""
    layer._declared.update({f"{layer.name}.{part}": leaf for part, leaf in weights.items()})
    return layer


def recurrent(
    kind: str, gates: int, cell: str, reverse: bool = False, masked: bool = False
) -> None:
    """A layer of 3 units over 4 times of 2 features, against a loop over torch's cell."""
    gru = cell == "gru_cell"

    def data(rng: np.random.Generator) -> Arrays:
        arrays = {
            "x": normal(rng, 3, 4, 2),
            "w": normal(rng, gates * 3, 2),
            "u": normal(rng, gates * 3, 3, scale=0.5),
            "b": normal(rng, gates * 3),
        }
        return arrays | ({"c": normal(rng, 3)} if gru else {})

    def ours(v: Leaves) -> Any:
        weights = {"weight": v.w, "hidden": v.u, "bias": v.b}
        layer = given(getattr(prop, kind)(3, reverse=reverse), weights)
        if gru:
            given(layer, {"hidden_bias": v.c})
        mask = prop.constant(np.arange(4) < LENGTHS[:, None]) if masked else None
        return probe(layer(v.x, mask))

    def theirs(torch: Any, v: Leaves) -> Any:
        other = torch.zeros(gates * 3, dtype=v.x.dtype)
        if gru:
            other = torch.cat([other[:6], v.c])
        state: Any = torch.zeros(3, 3, dtype=v.x.dtype)
        state = (state, state) if cell == "lstm_cell" else (state,)
        step = getattr(torch, cell)
        found: list[Any] = [None] * 4
        for k in range(4)[:: -1 if reverse else 1]:
            before = state if cell == "lstm_cell" else state[0]
            new = step(v.x[:, k], before, v.w, v.u, v.b, other)
            new = new if isinstance(new, tuple) else (new,)
            if masked:
                seen = torch.tensor(k < LENGTHS)[:, None]
                new = tuple(torch.where(seen, a, b) for a, b in zip(new, state, strict=True))
            state, found[k] = new, new[0]
        return torch_probe(torch, torch.stack(found, 1))

    words = [kind.lower(), "layer", *(["reversed"] * reverse), *(["masked"] * masked)]
    case("_".join(words), data=data, symprop=ours, torch=theirs)


recurrent("RNN", 1, "rnn_tanh_cell")
recurrent("LSTM", 4, "lstm_cell")
recurrent("LSTM", 4, "lstm_cell", reverse=True, masked=True)
recurrent("GRU", 3, "gru_cell")
recurrent("GRU", 3, "gru_cell", masked=True)


def carried(v: Leaves) -> Any:
    layer = given(prop.LSTM(3), {"weight": v.w, "hidden": v.u, "bias": v.b})
    hidden, (h, c) = layer.run(v.x, start=(v.h, v.c))
    return probe(hidden) + probe(h) + probe(c)


def torch_carried(torch: Any, v: Leaves) -> Any:
    h, c, found = v.h, v.c, []
    for k in range(4):
        h, c = torch.lstm_cell(v.x[:, k], (h, c), v.w, v.u, v.b, torch.zeros_like(v.b))
        found.append(h)
    hidden = torch_probe(torch, torch.stack(found, 1))
    return hidden + torch_probe(torch, h) + torch_probe(torch, c)


case(
    "lstm_layer_from_a_start",
    data=lambda r: {
        "x": normal(r, 3, 4, 2),
        "w": normal(r, 12, 2),
        "u": normal(r, 12, 3, scale=0.5),
        "b": normal(r, 12),
        "h": normal(r, 3, 3),
        "c": normal(r, 3, 3),
    },
    symprop=carried,
    torch=torch_carried,
)

case(
    "learned_positions",
    data=lambda r: {"x": normal(r, 2, 3, 4), "place.weight": normal(r, 5, 4)},
    symprop=lambda v: probe(
        prop.tanh(given(prop.LearnedPositions(5), {"weight": v["place.weight"]})(v.x))
    ),
    torch=lambda torch, v: torch_probe(torch, torch.tanh(v.x + v["place.weight"][:3])),
)


def heads(name: str, causal: bool, groups: int) -> None:
    """Four heads over 3 times of 8 features; keys and values in groups."""
    width = 2 * groups

    def data(rng: np.random.Generator) -> Arrays:
        return {
            "x": normal(rng, 2, 3, 8),
            "q": normal(rng, 8, 8, scale=0.4),
            "k": normal(rng, width, 8, scale=0.4),
            "v": normal(rng, width, 8, scale=0.4),
            "o": normal(rng, 8, 8, scale=0.4),
        }

    def ours(v: Leaves) -> Any:
        layer = prop.MultiHeadAttention(4, causal=causal, groups=groups, bias=False)
        for part, units in (("query", 8), ("key", width), ("value", width), ("output", 8)):
            given(layer._map(part, units), {"weight": v[part[0]]})
        return probe(layer(v.x))

    def theirs(torch: Any, v: Leaves) -> Any:
        def split(x: Any, count: int) -> Any:
            return x.reshape(2, 3, count, 2).transpose(1, 2)

        q = split(v.x @ v.q.T, 4)
        k, val = (split(v.x @ w.T, groups).repeat_interleave(4 // groups, 1) for w in (v.k, v.v))
        scores = q @ k.transpose(-1, -2) / 2**0.5  # torch's attention has no second derivative
        if causal:
            scores = scores.masked_fill(torch.ones(3, 3).triu(1) == 1, -torch.inf)
        found = torch.softmax(scores, -1) @ val
        return torch_probe(torch, found.transpose(1, 2).reshape(2, 3, 8) @ v.o.T)

    case(name, data=data, symprop=ours, torch=theirs)


heads("heads_plain", False, 4)
heads("heads_causal_grouped", True, 2)
