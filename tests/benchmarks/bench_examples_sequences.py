"""A native training step of the LSTM, the small GPT and the auto-encoder, beside torch's.

In: nothing (torch, extra `peers`, is asked for). Out: a row each: the least time of a step of ours
and of torch's (eager), and how many times as long ours takes.
Guarantees: one thread; the same weights and batches; the two are timed in turns, so that what else
the machine does meets both. Nothing is asserted.

Run in the directory `tests`:  python benchmarks/bench_examples_sequences.py
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peers.trained import TRAININGS, Training, shapes, started

import symprop as prop

TURNS, EACH = 8, 6  # turns of each, and the steps in one
BATCH = 32


def vae_loss(_: int) -> prop.Expr:
    x, noise = prop.input("x", "batch pixel=64"), prop.input("noise", "batch code=2")
    seen = prop.tanh(prop.Dense(128, "encoder")(x))
    middle, spread = (prop.Dense(2, name)(seen) for name in ("middle", "log_variance"))
    decoder = prop.Sequential(
        prop.Dense(128, "decoder"), prop.tanh, prop.Dense(128, "wide"), prop.tanh,
        prop.Dense(64, "pixels"),
    )  # fmt: skip
    z = decoder(middle + prop.exp(spread / 2) * noise)
    return 64 * prop.binary_cross_entropy(z, x) + prop.normal_kl(middle, spread)


def torch_vae_loss(torch: Any, w: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    f = torch.nn.functional

    def dense(x: Any, name: str) -> Any:
        return f.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    seen = torch.tanh(dense(batch["x"], "encoder"))
    middle, spread = dense(seen, "middle"), dense(seen, "log_variance")
    code = middle + torch.exp(spread / 2) * batch["noise"]
    z = dense(torch.tanh(dense(torch.tanh(dense(code, "decoder")), "wide")), "pixels")
    cost = 64 * f.binary_cross_entropy_with_logits(z, batch["x"])
    return cost + (middle.square() + spread.exp() - 1 - spread).sum(-1).mean() / 2


def pictures(_: np.ndarray) -> Iterator[Mapping[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    yield {
        "x": rng.uniform(size=(BATCH, 64)).astype(np.float32),
        "noise": rng.normal(size=(BATCH, 2)).astype(np.float32),
    }


VAE = Training("vae", 0, 0.002, vae_loss, torch_vae_loss, pictures)


def ours(one: Training, batch: Mapping[str, np.ndarray]) -> Callable[[], Any]:
    step = one.step()
    trainer = step.compile("native")
    for name, values in started(shapes(step)).items():
        trainer.parameters[name][...] = values
    trainer.bind(batch)
    return trainer.step


def theirs(one: Training, batch: Mapping[str, np.ndarray]) -> Callable[[], Any]:
    weights = {
        name: torch.tensor(values, dtype=torch.float32, requires_grad=True)
        for name, values in started(shapes(one.step())).items()
    }
    optimizer = torch.optim.Adam(weights.values(), lr=one.rate)
    given = {name: torch.tensor(values) for name, values in batch.items()}

    def step() -> float:
        optimizer.zero_grad()
        loss = one.torch(torch, weights, given)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def least(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(EACH):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'':8}{'ours ms':>10}{'torch ms':>10}{'ratio':>8}{'compiled s':>12}")
    for one in (*TRAININGS.values(), VAE):
        data = one.stored()[0] if one.file.exists() else np.empty(0)
        batch = next(iter(one.batches(data)))
        begin = time.perf_counter()
        mine = ours(one, batch)
        compiled = time.perf_counter() - begin
        other = theirs(one, batch)
        a, b = mine(), other()
        assert abs(a / b - 1) < 1e-4, (one.name, a, b)
        found = [(least(mine), least(other)) for _ in range(TURNS)]
        a, b = (1e3 * min(t) for t in zip(*found, strict=True))
        print(f"{one.name:8}{a:10.2f}{b:10.2f}{a / b:8.2f}{compiled:12.2f}", flush=True)


if __name__ == "__main__":
    main()
