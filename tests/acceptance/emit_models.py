"""Prints a digest of the emitted text of several models; run by a test in many processes.

In: the word `unrelated` to build other models first.  Out: a line `name digest` a model.
Guarantees: nothing printed depends on the process, if the emitted bytes do not.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import networks

import symprop as prop


def emitted() -> dict[str, str]:
    """The text of several models, declared anew."""
    loss, _ = networks.digits()
    step = prop.training_step(loss, prop.Adam(1e-3))
    texts = {"digits step": step.source("numpy"), "digits program": str(step.program)}
    small = {
        "mlp": networks.mlp(4),
        "lenet": networks.lenet(),
        "transformer": networks.transformer(2, width=8, heads=2, time=4),
    }
    for name, network in small.items():
        texts[name] = networks.gradient_function(network).source()
    return texts


def unrelated() -> None:
    """Other models, some with the same names, so that every counter and memo has moved."""
    x = prop.input("x", (3, 5))
    w = prop.parameter("hidden.weight", (5, 2), lambda rng, shape: rng.normal(size=shape))
    loss = prop.sum(prop.cumsum(prop.exp(x) @ w, axis=0) ** 2)
    prop.compile([loss, *prop.gradient(loss, [x, w])], dtype="float64").source()
    networks.gradient_function(networks.mlp(3, width=7)).source()


if __name__ == "__main__":
    if "unrelated" in sys.argv[1:]:
        unrelated()
    for name, text in emitted().items():
        print(name, hashlib.sha256(text.encode()).hexdigest())
