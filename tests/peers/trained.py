"""Two trainings of 200 steps that torch ran too: the LSTM of examples/names.py, a small GPT.

In: letters and texts, stored with torch's losses; weights by `started`, batches by `batches`, from
stated generators, so that nothing but data and losses needs a file.
Out: `TRAININGS`, of each the loss in symprop and in torch, the data, the optimizer's rate.

    names   embedding 28 x 16, LSTM 64 with a mask, dense 28; Adam 0.004, 64 names a step
    gpt     embedding tied with the output, learned positions, 2 causal blocks of 4 heads, 64
            features; Adam 0.002, 8 pieces of 32 characters a step

Run in the directory `tests` to write torch's losses anew (extra `peers`, the package names):
python -m peers.trained
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import symprop as prop

STORED = Path(__file__).parent / "trained"
STEPS = 200
PAD = 27  # behind the letters and the end of a name
TIME, WIDTH, HEADS, BLOCKS, CHARACTERS = 32, 64, 4, 2, 96

Arrays = Mapping[str, np.ndarray]


# --- weights and batches --------------------------------------------------------------------------


def started(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights, each from a generator seeded by its name: normal, over the root of what is read;
    vectors with a tenth of that spread, about 1 where a norm multiplies with them."""
    found = {}
    for name, shape in shapes.items():
        drawn = np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape)
        if len(shape) > 1:
            found[name] = drawn / np.sqrt(shape[-1])
        else:
            found[name] = 0.1 * drawn + ("norm" in name and name.endswith("weight"))
    return found


def name_batches(data: np.ndarray) -> Iterator[Arrays]:
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        rows = data[rng.integers(0, len(data), 64)].astype(np.int64)
        yield {"token": rows[:, :-1], "following": rows[:, 1:]}


def text_batches(data: np.ndarray) -> Iterator[Arrays]:
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        at = rng.integers(0, len(data) - TIME, 8)[:, None] + np.arange(TIME)
        yield {"token": data[at].astype(np.int64), "following": data[at + 1].astype(np.int64)}


# --- the losses -----------------------------------------------------------------------------------


def names_loss(time: int) -> prop.Expr:
    token, following = (
        prop.labels(n, f"batch time={time}", classes=28) for n in ("token", "following")
    )
    hidden = prop.LSTM(64, "lstm")(prop.Embedding(28, 16, "table")(token), mask=token != PAD)
    logits = prop.Dense(28, name="scores")(hidden)
    return prop.cross_entropy(logits, following, class_weights=[1.0] * PAD + [0.0])


def torch_names_loss(torch: Any, w: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    """The mask only matters behind a name's end, which the loss leaves out."""
    x = torch.nn.functional.embedding(batch["token"], w["table.weight"])
    h = c = torch.zeros(len(x), 64, dtype=x.dtype)
    found = []
    for k in range(x.shape[1]):
        h, c = torch.lstm_cell(
            x[:, k], (h, c), w["lstm.weight"], w["lstm.hidden"], w["lstm.bias"],
            torch.zeros_like(w["lstm.bias"]),
        )  # fmt: skip
        found.append(h)
    logits = torch.stack(found, 1) @ w["scores.weight"].T + w["scores.bias"]
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), batch["following"].flatten(), ignore_index=PAD
    )


def gpt_loss(time: int) -> prop.Expr:
    token, following = (
        prop.labels(n, f"batch time={time}", classes=CHARACTERS) for n in ("token", "following")
    )
    table = prop.Embedding(CHARACTERS, WIDTH, "table")
    net = prop.Sequential(
        prop.LearnedPositions(name="positions"),
        *(prop.TransformerBlock(HEADS, f"block{k}", causal=True) for k in range(BLOCKS)),
        prop.LayerNorm("norm"),
    )
    return prop.cross_entropy(net(table(token)) @ table["table.weight"].T, following)


def torch_gpt_loss(torch: Any, w: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    f = torch.nn.functional

    def norm(x: Any, name: str) -> Any:
        return f.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"])

    def dense(x: Any, name: str) -> Any:
        return f.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def split(x: Any) -> Any:
        return x.reshape(len(x), TIME, HEADS, WIDTH // HEADS).transpose(1, 2)

    x = f.embedding(batch["token"], w["table.weight"]) + w["positions.weight"]
    for k in range(BLOCKS):
        y = norm(x, f"block{k}.norm1")
        q, key, v = (split(dense(y, f"block{k}.attention.{n}")) for n in ("query", "key", "value"))
        seen = f.scaled_dot_product_attention(q, key, v, is_causal=True)
        joined = seen.transpose(1, 2).reshape(x.shape)
        x = x + dense(joined, f"block{k}.attention.output")
        y = f.gelu(dense(norm(x, f"block{k}.norm2"), f"block{k}.wide"))
        x = x + dense(y, f"block{k}.narrow")
    logits = norm(x, "norm") @ w["table.weight"].T
    return f.cross_entropy(logits.flatten(0, 1), batch["following"].flatten())


@dataclass(frozen=True)
class Training:
    """One training: its losses, the batches, the times of a sequence, the rate of Adam."""

    name: str
    time: int
    rate: float
    loss: Callable[[int], prop.Expr]
    torch: Callable[..., Any]
    batches: Callable[[np.ndarray], Iterator[Arrays]]

    @property
    def file(self) -> Path:
        return STORED / f"{self.name}.npz"

    def step(self) -> prop.TrainingStep:
        return prop.training_step(self.loss(self.time), prop.Adam(self.rate))

    def stored(self) -> tuple[np.ndarray, np.ndarray]:
        """The data, and torch's losses before each step."""
        with np.load(self.file, allow_pickle=False) as found:
            return found["data"], found["losses"]


TRAININGS = {
    one.name: one
    for one in (
        Training("names", 12, 0.004, names_loss, torch_names_loss, name_batches),
        Training("gpt", TIME, 0.002, gpt_loss, torch_gpt_loss, text_batches),
    )
}


def shapes(step: prop.TrainingStep) -> dict[str, tuple[int, ...]]:
    return {str(p.name): tuple(p.shape) for p in step.parameters}


def losses(one: Training, backend: str, dtype: str) -> np.ndarray:
    """Ours, before each step."""
    step = one.step()
    trainer = step.compile(backend, dtype=dtype)
    for name, values in started(shapes(step)).items():
        trainer.parameters[name][...] = values
    return np.array([trainer.step(batch) for batch in one.batches(one.stored()[0])])


# --- torch's side ---------------------------------------------------------------------------------


def torch_losses(one: Training, data: np.ndarray, dtype: str = "float64") -> np.ndarray:
    import torch

    weights = {
        name: torch.tensor(values, dtype=getattr(torch, dtype), requires_grad=True)
        for name, values in started(shapes(one.step())).items()
    }
    optimizer = torch.optim.Adam(weights.values(), lr=one.rate)
    found = []
    for batch in one.batches(data):
        optimizer.zero_grad()
        loss = one.torch(torch, weights, {n: torch.tensor(a) for n, a in batch.items()})
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return np.array(found)


def letters() -> np.ndarray:
    """1500 first names as numbers: 26 before and behind the letters, 27 up to the longest."""
    from importlib.metadata import distribution

    folder: Any = distribution("names").locate_file("names")
    lines = (folder / "dist.female.first").read_text().splitlines()[:1500]
    found = np.full((len(lines), 13), PAD, np.uint8)
    for row, line in zip(found, lines, strict=True):
        letters = [ord(c) - ord("A") for c in line.split()[0]][:11]
        row[: len(letters) + 2] = [26, *letters, 26]
    return found


def text() -> np.ndarray:
    """20,000 characters of Python's help texts: the printable ones, and 95 a newline."""
    from pydoc_data.topics import topics

    joined = "\n".join(topics[name] for name in sorted(topics))[:20_000]
    return np.array([ord(c) - 32 if " " <= c <= "~" else 95 for c in joined], np.uint8)


def main() -> None:
    STORED.mkdir(exist_ok=True)
    for one, data in zip(TRAININGS.values(), (letters(), text()), strict=True):
        found = torch_losses(one, data)
        np.savez(one.file, allow_pickle=False, data=data, losses=found)  # type: ignore[call-arg]
        single = abs(torch_losses(one, data, "float32")[-1] / found[-1] - 1)
        size = one.file.stat().st_size
        print(
            f"{one.name:6} loss {found[0]:.4f} to {found[-1]:.4f}; float32 {single:.1e}; {size} B"
        )


if __name__ == "__main__":
    main()
