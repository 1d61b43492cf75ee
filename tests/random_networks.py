"""Random networks: parts of every kind joined at random, over fixed, free and unit sizes.

In: a seed. Out: a loss of declared leaves, its gradients and Hessian-vector products, and data.
Guarantees: a seed gives one network; every part keeps the shape [batch, width], so that any two
can be joined; values stay of moderate size.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from checking import Arrays, array_for, weighted

import symprop as prop


class Network:
    """One network; ``loss`` is a scalar of ``wrt``."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.free = self.rng.random() < 0.5
        self.batch = self.rng.choice([1, 2, 3])
        self.width = k = self.rng.choice([1, 2, 3, 4])
        rows: Any = "batch" if self.free else self.batch
        self.x = prop.input("x", (rows, k))
        self.w = prop.parameter("w", (k, k), 0.0)
        self.m = prop.input("m", (rows, k), dtype="bool")
        self.ids = prop.labels("ids", (rows,), classes=k)
        self.c = prop.scalar("c", 0.7)
        self.wrt = [self.x, self.w, self.c]
        self.pool = [self.x, self.x * 2.0]
        for _ in range(self.rng.randint(3, 8)):
            self.pool.append(self.part(self.pick(), self.pick()))
        self.loss = weighted(self.pool[-1]) + weighted(self.pool[-2] * self.pool[-3])

    def pick(self) -> Any:
        return self.rng.choice(self.pool[-4:])

    def part(self, a: Any, b: Any) -> Any:
        """A value [batch, width] made of two others."""
        r, k, w, m, c = self.rng, self.width, self.w, self.m, self.c
        rows = prop.index(a.dims[0])
        return r.choice([
            # maps
            lambda: a + b * c, lambda: a - b, lambda: a * b * 0.5, lambda: prop.tanh(a),
            lambda: prop.relu(a) - 0.1 * b, lambda: a / (1.5 + prop.square(b)), lambda: m * a + b,
            lambda: prop.exp(-prop.square(a)) * b, lambda: prop.sqrt(prop.square(a) + 1.0),
            lambda: prop.maximum(a, b), lambda: prop.clip(a, -1.0, 1.0) + b * 0.1,
            lambda: prop.where(m, a, b), lambda: prop.where(a > b, a, prop.sin(b)),
            lambda: prop.where(a > 0, prop.log(a), 0.0) * 0.3,
            lambda: prop.where(m, prop.sqrt(prop.abs(a) + 0.1), 0.0),
            # sums, extrema, norms
            lambda: prop.tanh(a @ w.T), lambda: (a @ b.T) @ prop.tanh(b) * 0.1,
            lambda: prop.einsum("ij,kj->ij", prop.tanh(a), prop.tanh(b)),
            lambda: a - prop.mean(a, 1, keepdims=True), lambda: prop.mean(a, 0) * prop.tanh(b),
            lambda: a / prop.size(a, 0), lambda: prop.sum(m) * a * 0.1,
            lambda: prop.max(a, 0, keepdims=True) + b,
            lambda: prop.min(a, 1)[:, None] * prop.cos(b),
            lambda: a * prop.where(prop.argmax(b, 1)[:, None] == prop.index(k), 1.0, 0.3),
            lambda: prop.softmax(a, where=m) * b, lambda: prop.softmax(a, axis=0),
            lambda: a - prop.logsumexp(b, axis=1, keepdims=True),
            lambda: prop.layer_norm(a, eps=0.1), lambda: prop.batch_norm(a, eps=0.1),
            lambda: prop.attention(a, prop.tanh(b), a, causal=True),
            # rearrangements
            lambda: prop.flip(a, 0) * prop.cos(b), lambda: a[::-1], lambda: prop.flip(a),
            lambda: prop.concat([a, b], 0)[rows], lambda: prop.concat([a[:, :1], b], 1)[:, :k],
            lambda: prop.pad(a, ((1, 1), (0, 1)))[1:-1, :-1],
            lambda: prop.pad(a, ((1, 0), (0, 0)), 2.0)[:-1],
            lambda: a + prop.embedding(w, self.ids),
            lambda: a + a[rows, self.ids][:, None], lambda: a.reshape((-1,)).reshape((-1, k)),
            lambda: prop.take(a, [0] * k, 1) + b,
            # recurrences and regions
            lambda: prop.cumsum(a, 0) * 0.3, lambda: prop.cumprod(prop.tanh(a), 0),
            lambda: prop.cumprod(a * 0.5, 1) + b, lambda: prop.prod(prop.tanh(a), 1)[:, None] * b,
            lambda: prop.scan(lambda h, s: (prop.tanh(h + s), h * s), prop.sum(w, 0), a)[1],
            lambda: prop.scan(
                lambda h, s: ((h[0] + 1, prop.tanh(h[1] * s)), h[1] * 0.2 * h[0]),
                (prop.index(1)[0], prop.mean(b, 0)), a, reverse=True)[1],
            lambda: prop.region("two")(lambda p, q: (p * q, prop.sin(p)))(
                prop.tanh(a), b)[r.randint(0, 1)],
            lambda: prop.region("inner")(
                lambda p: prop.scan(lambda h, s: (h * 0.5 + s, h), p[0], p)[1] + c)(a),
        ])()  # fmt: skip

    def roots(self) -> list[Any]:
        """The loss, its gradients, and Hessian-vector products."""
        first = prop.gradient(self.loss, self.wrt)
        return [self.loss, *first, *prop.jvp(first, self.wrt, [1.0] * 3)]

    @property
    def sizes(self) -> dict[str, int]:
        return {"batch": self.batch}

    def data(self, seed: int) -> Arrays:
        """Arrays for every leaf, used or not."""
        rng = np.random.default_rng(seed)
        found: Arrays = {e.node: array_for(e.node, rng, self.sizes)
                         for e in (self.x, self.w, self.m, self.ids)}  # fmt: skip
        return {**found, self.c.node: np.array(0.7), "batch": self.batch}
