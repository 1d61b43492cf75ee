"""Cases: embedding, attention, transformers with regions, recurrences by scan.

Each case gives the same scalar twice: once in symprop, once in torch (`table.Case`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import symprop as prop

from .table import Arrays, Leaves, case, integers, normal, probe, torch_probe

# --- Embedding ---------------------------------------------------------------------------------

case(
    "embedding",
    data=lambda r: {
        "table.weight": normal(r, 5, 3),
        "w": normal(r, 3),
        "ids": integers(r, 5, 2, 4),
    },
    dims={"ids": ("batch", 4)},
    classes={"ids": 5},
    symprop=lambda v: prop.mean(
        prop.square(prop.tanh(prop.embedding(v["table.weight"], v.ids) * v.w))
    ),
    torch=lambda torch, v: torch.mean(
        torch.square(torch.tanh(torch.nn.functional.embedding(v.ids, v["table.weight"]) * v.w))
    ),
)


def bag_of_words(v: Leaves) -> Any:
    pooled = prop.mean(prop.embedding(v["table.weight"], v.ids), axis=1)
    return prop.cross_entropy(prop.relu(pooled) @ v["out.weight"].T, v.y)


def torch_bag_of_words(torch: Any, v: Leaves) -> Any:
    pooled = torch.nn.functional.embedding(v.ids, v["table.weight"]).mean(1)
    return torch.nn.functional.cross_entropy(torch.relu(pooled) @ v["out.weight"].T, v.y)


case(
    "embedding_bag_classifier",
    data=lambda r: {
        "table.weight": normal(r, 6, 4),
        "out.weight": normal(r, 3, 4),
        "ids": integers(r, 6, 3, 4),
        "y": integers(r, 3, 3),
    },
    classes={"ids": 6, "y": 3},
    symprop=bag_of_words,
    torch=torch_bag_of_words,
)

# --- Attention ---------------------------------------------------------------------------------

TIME, WIDTH, HEADS = 3, 4, 2


def split_heads(x: Any) -> Any:
    """(batch, time, width) to (batch, head, time, width / head)."""
    return x.reshape((x.shape[0], TIME, HEADS, WIDTH // HEADS)).transpose((0, 2, 1, 3))


def merge_heads(x: Any) -> Any:
    """The inverse of split_heads."""
    return x.transpose((0, 2, 1, 3)).reshape((x.shape[0], TIME, WIDTH))


def torch_split_heads(x: Any) -> Any:
    return x.reshape(x.shape[0], TIME, HEADS, WIDTH // HEADS).permute(0, 2, 1, 3)


def torch_merge_heads(x: Any) -> Any:
    return x.permute(0, 2, 1, 3).reshape(x.shape[0], TIME, WIDTH)


def self_attention(x: Any, fused: Any, out: Any) -> Any:
    joined = x @ fused.T
    q = split_heads(joined[..., :WIDTH])
    k = split_heads(joined[..., WIDTH : 2 * WIDTH])
    v = split_heads(joined[..., 2 * WIDTH :])
    return merge_heads(prop.attention(q, k, v, causal=True)) @ out.T


def torch_self_attention(torch: Any, x: Any, fused: Any, out: Any) -> Any:
    q, k, v = (torch_split_heads(part) for part in (x @ fused.T).split(WIDTH, -1))
    scores = q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5
    later = torch.ones(TIME, TIME, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(later, float("-inf")), -1)
    return torch_merge_heads(weights @ v) @ out.T


case(
    "attention_causal_fused",
    data=lambda r: {
        "x": normal(r, 2, TIME, WIDTH),
        "fused.weight": normal(r, 3 * WIDTH, WIDTH, scale=0.7),
        "out.weight": normal(r, WIDTH, WIDTH, scale=0.7),
    },
    dims={"x": ("batch", TIME, WIDTH)},
    symprop=lambda v: prop.mean(
        prop.square(v.x + self_attention(v.x, v["fused.weight"], v["out.weight"]))
    ),
    torch=lambda torch, v: torch.mean(
        torch.square(v.x + torch_self_attention(torch, v.x, v["fused.weight"], v["out.weight"]))
    ),
)


def attention_data(rng: np.random.Generator) -> Arrays:
    # Every query keeps its own position: torch gives NaN for a row that is masked throughout.
    mask = (rng.uniform(size=(3, 3)) < 0.5) | np.eye(3, dtype=bool)
    parts = {name: normal(rng, 2, 3, 2) for name in ("q", "k", "v")}
    return parts | {"mask": mask}


case(
    "attention_masked",
    data=attention_data,
    symprop=lambda v: probe(prop.attention(v.q, v.k, v.v, mask=v.mask)),
    torch=lambda torch, v: torch_probe(
        torch,
        torch.softmax(
            (v.q @ v.k.transpose(-1, -2) / 2**0.5).masked_fill(~v.mask, float("-inf")), -1
        )
        @ v.v,
    ),
)

case(
    "attention_across",
    data=lambda r: {"q": normal(r, 2, 3, 2), "k": normal(r, 2, 4, 2), "v": normal(r, 2, 4, 3)},
    symprop=lambda v: probe(prop.attention(v.q, v.k, v.v)),
    torch=lambda torch, v: torch_probe(
        torch, torch.softmax(v.q @ v.k.transpose(-1, -2) / 2**0.5, -1) @ v.v
    ),
)

# --- Transformer, a region for each block ------------------------------------------------------

BLOCK = ("norm1", "fused", "out", "norm2", "up", "down")


def transformer_data(rng: np.random.Generator) -> Arrays:
    arrays = {"table.weight": normal(rng, 5, WIDTH), "place.weight": 0.5 * normal(rng, TIME, WIDTH)}
    for b in range(2):
        arrays |= {
            f"block{b}.norm1": rng.uniform(0.5, 1.5, size=WIDTH),
            f"block{b}.fused": normal(rng, 3 * WIDTH, WIDTH, scale=0.6),
            f"block{b}.out": normal(rng, WIDTH, WIDTH, scale=0.6),
            f"block{b}.norm2": rng.uniform(0.5, 1.5, size=WIDTH),
            f"block{b}.up": normal(rng, 6, WIDTH, scale=0.6),
            f"block{b}.down": normal(rng, WIDTH, 6, scale=0.6),
        }
    return arrays | {
        "head.weight": normal(rng, 5, WIDTH, scale=0.6),
        "ids": integers(rng, 5, 2, TIME),
        "y": integers(rng, 5, 2, TIME),
    }


def transformer(v: Leaves) -> Any:
    @prop.region("block")
    def block(x: Any, norm1: Any, fused: Any, out: Any, norm2: Any, up: Any, down: Any) -> Any:
        x = x + self_attention(prop.layer_norm(x, norm1), fused, out)
        return x + prop.gelu(prop.layer_norm(x, norm2) @ up.T) @ down.T

    h = prop.embedding(v["table.weight"], v.ids) + v["place.weight"]
    for b in range(2):
        h = block(h, *(v[f"block{b}.{part}"] for part in BLOCK))
    return prop.cross_entropy(prop.rms_norm(h) @ v["head.weight"].T, v.y)


def torch_transformer(torch: Any, v: Leaves) -> Any:
    F = torch.nn.functional
    h = F.embedding(v.ids, v["table.weight"]) + v["place.weight"]
    for b in range(2):
        norm1, fused, out, norm2, up, down = (v[f"block{b}.{part}"] for part in BLOCK)
        h = h + torch_self_attention(torch, F.layer_norm(h, (WIDTH,), norm1), fused, out)
        h = h + F.gelu(F.layer_norm(h, (WIDTH,), norm2) @ up.T) @ down.T
    h = h / torch.sqrt(torch.mean(h * h, -1, keepdim=True) + 1e-5)
    return F.cross_entropy((h @ v["head.weight"].T).reshape(-1, 5), v.y.reshape(-1))


case(
    "transformer_two_blocks",
    data=transformer_data,
    dims={"ids": ("batch", TIME), "y": ("batch", TIME)},
    classes={"ids": 5, "y": 5},
    symprop=transformer,
    torch=torch_transformer,
)

# --- Recurrences -------------------------------------------------------------------------------


def recurrent_data(rng: np.random.Generator) -> Arrays:
    return {
        "x": normal(rng, 4, 2, 3),
        "h0": normal(rng, 2, 3, scale=0.5),
        "cell.input": normal(rng, 3, 3, scale=0.6),
        "cell.hidden": normal(rng, 3, 3, scale=0.6),
        "cell.bias": normal(rng, 3, scale=0.3),
    }


def recurrent(reverse: bool) -> Any:
    def model(v: Leaves) -> Any:
        def step(h: Any, x: Any) -> Any:
            h = prop.tanh(x @ v["cell.input"].T + h @ v["cell.hidden"].T + v["cell.bias"])
            return h, h

        last, every = prop.scan(step, v.h0, v.x, reverse=reverse)
        return probe(every) + probe(last)

    return model


def torch_recurrent(reverse: bool) -> Any:
    def model(torch: Any, v: Leaves) -> Any:
        h, every = v.h0, [v.x[0]] * 4
        for t in reversed(range(4)) if reverse else range(4):
            h = torch.tanh(v.x[t] @ v["cell.input"].T + h @ v["cell.hidden"].T + v["cell.bias"])
            every[t] = h
        return torch_probe(torch, torch.stack(every)) + torch_probe(torch, h)

    return model


case("rnn", data=recurrent_data, symprop=recurrent(False), torch=torch_recurrent(False))
case("rnn_reversed", data=recurrent_data, symprop=recurrent(True), torch=torch_recurrent(True))


def lstm(v: Leaves) -> Any:
    def step(carry: Any, x: Any) -> Any:
        h, c = carry
        gates = x @ v["cell.input"].T + h @ v["cell.hidden"].T + v["cell.bias"]
        i, f, g, o = (gates[:, 2 * n : 2 * n + 2] for n in range(4))
        c = prop.sigmoid(f) * c + prop.sigmoid(i) * prop.tanh(g)
        h = prop.sigmoid(o) * prop.tanh(c)
        return (h, c), h

    (_, c), every = prop.scan(step, (v.h0, v.c0), v.x)
    return probe(every) + probe(c)


def torch_lstm(torch: Any, v: Leaves) -> Any:
    h, c, every = v.h0, v.c0, []
    for t in range(3):
        gates = v.x[t] @ v["cell.input"].T + h @ v["cell.hidden"].T + v["cell.bias"]
        i, f, g, o = gates.split(2, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        every.append(h)
    return torch_probe(torch, torch.stack(every)) + torch_probe(torch, c)


case(
    "lstm",
    data=lambda r: {
        "x": normal(r, 3, 2, 3),
        "h0": normal(r, 2, 2, scale=0.5),
        "c0": normal(r, 2, 2, scale=0.5),
        "cell.input": normal(r, 8, 3, scale=0.6),
        "cell.hidden": normal(r, 8, 2, scale=0.6),
        "cell.bias": normal(r, 8, scale=0.3),
    },
    symprop=lstm,
    torch=torch_lstm,
)


def descent(v: Leaves) -> Any:
    """Three steps of gradient descent on a quadratic: a scan with no slices."""

    def step(w: Any, _: Any) -> Any:
        return w - v.rate * ((v.x @ w - v.target) @ v.x), (w * w).sum()

    w, lengths = prop.scan(step, v.w, None, length=3)
    return probe(w) + lengths.sum()


def torch_descent(torch: Any, v: Leaves) -> Any:
    w, lengths = v.w, []
    for _ in range(3):
        lengths.append((w * w).sum())
        w = w - v.rate * ((v.x @ w - v.target) @ v.x)
    return torch_probe(torch, w) + torch.stack(lengths).sum()


case(
    "scan_without_slices",
    data=lambda r: {
        "w": normal(r, 3),
        "x": normal(r, 4, 3, scale=0.5),
        "target": normal(r, 4),
        "rate": np.array(0.2),
    },
    symprop=descent,
    torch=torch_descent,
)
