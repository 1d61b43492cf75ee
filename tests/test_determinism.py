"""Same model, same bytes: over hash seeds, after other models, beside models that are alive.

The issue's models are covered by tests/acceptance; here are the parts that interning shares or
could share between models: blocks of regions and scans, constants and index values.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

import symprop as prop
from symprop import graph
from symprop.simplify.engine import simplify
from symprop.walk import topological

# Each model is declared under names of its own; equal structure, other words.
Names = tuple[str, str, str]
MINE: Names = ("x", "weight", "hidden")
OTHERS: tuple[Names, ...] = (("pixels", "matrix", "zebra"), ("quux", "table", "yonder"))


def repeated(names: Names) -> list[Any]:
    """Regions with a named value inside and parameters of their own."""
    leaf, weight, inner = names
    x = prop.input(leaf, "batch width=4")
    h, weights = x, []
    for k in range(3):
        w = prop.parameter(f"{inner}{k}.{weight}", (4, 4), 0.0)
        weights.append(w)

        def layer(a: Any, w: Any = w) -> Any:
            return a + prop.tanh((a @ w.T).named(inner))

        h = prop.region(f"{inner}{k}")(layer)(h)
    loss = prop.sum(h * h)
    return [loss, *prop.gradient(loss, weights)]


def recurrent(names: Names) -> list[Any]:
    """A scan with a captured parameter and named values inside."""
    leaf, weight, inner = names
    x, w = prop.input(leaf, (5, 4)), prop.parameter(weight, (4,), 0.0)
    _, ys = prop.scan(lambda c, s: (prop.tanh(c * w + s).named(inner), c * s), w, x)
    loss = prop.sum(ys * prop.cumprod(x, 0))
    return [loss, *prop.gradient(loss, [x, w])]


def shared(names: Names) -> list[Any]:
    """Values made of indices and constants, which all models share, under names."""
    leaf, weight, inner = names
    x = prop.input(leaf, "batch width=4")
    ramp = (prop.index(4) * 0.5).named(inner)
    steps = prop.exp(ramp).named(weight)
    loss = prop.sum(prop.softmax(x * steps) * ramp) + prop.mean(x)
    return [loss, prop.gradient(loss, x)]


def nested(names: Names) -> list[Any]:
    """A scan inside a region inside a scan."""
    leaf, weight, inner = names
    x, w = prop.input(leaf, (3, 4, 2)), prop.parameter(weight, (2,), 0.0)

    def block(a: Any) -> Any:
        final, ys = prop.scan(lambda c, s: ((c * w + s).named(inner), c), w, a)
        return final + prop.sum(ys, 0)

    region = prop.region(f"{inner}.part")(block)
    final, _ = prop.scan(lambda c, row: (prop.sin(region(row) + c), None), w * 0.0, x)
    loss = prop.sum(final)
    return [loss, *prop.gradient(loss, [x, w])]


def layers(names: Names) -> list[Any]:
    """Layers enough to be calls of one block, which nobody asked for."""
    leaf, weight, inner = names
    x = prop.input(leaf, "batch width=4")
    steps: list[Any] = []
    for k in range(20):
        steps += [prop.Dense(4, name=f"{inner}{k}"), prop.tanh]
    net = prop.Sequential(*steps, prop.Dense(2, name=weight))
    loss = prop.sum(net(x) ** 2)
    return [loss, *prop.gradient(loss, list(net.parameters.values()))]


MODELS: dict[str, Callable[[Names], list[Any]]] = {
    "repeated": repeated, "recurrent": recurrent, "shared": shared, "nested": nested,
    "layers": layers,
}  # fmt: skip


def text(name: str, names: Names = MINE) -> str:
    return str(prop.compile(MODELS[name](names), dtype="float64").source())


def digests(name: str) -> str:
    """Digests of every node, raw and simplified, and the emitted bytes."""
    roots = [r.node for r in MODELS[name](MINE)]
    h = blake2b()
    for stage in (roots, simplify(roots)):
        for node in topological(stage):
            h.update(node.digest)
    h.update(text(name).encode())
    return h.hexdigest()


def test_bytes_do_not_depend_on_the_hash_seed_or_on_models_before() -> None:
    script = "import test_determinism as d, sys; d.main(sys.argv[1:])"
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(Path(prop.__file__).parent.parent)])
    runs = []
    for seed, before in (("0", []), ("1", []), ("4711", ["others"])):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        runs.append(subprocess.run(
            [sys.executable, "-c", script, *before], env=environment, capture_output=True,
            text=True, check=True,
        ).stdout)  # fmt: skip
    assert len(runs[0].split()) == 2 * len(MODELS)
    assert runs[0] == runs[1] == runs[2]


def main(arguments: list[str]) -> None:
    """What the test above runs in fresh processes."""
    alive = [MODELS[n](other) for n in MODELS for other in OTHERS] if arguments else []
    for found in alive:
        prop.compile(found, dtype="float64").source()
    for name in MODELS:
        print(name, digests(name))


@pytest.mark.parametrize("name", MODELS)
def test_names_of_a_living_model_do_not_leak(name: str) -> None:
    alone = text(name)
    alive = []
    for other in OTHERS:
        roots = MODELS[name](other)
        function = prop.compile(roots, dtype="float64")
        alive.append((roots, function, function.source()))
    assert text(name) == alone
    words = {w for other in OTHERS for w in other}
    assert not [w for w in words if w in alone]
    for (_, _, source), other in zip(alive, OTHERS, strict=True):
        assert other[0] in source
        assert text(name, other) == source


def test_nodes_of_two_models_are_shared_only_where_nothing_is_named() -> None:
    """What both graphs and their blocks hold has neither a name nor a place."""

    def everything(roots: list[Any]) -> set[graph.Node]:
        found: set[graph.Node] = set()
        pending = [r.node for r in roots]
        while pending:
            for n in topological([pending.pop()]):
                if n not in found:
                    found.add(n)
                    if isinstance(n, graph.Scan | graph.Region):
                        pending += n.block.outputs
        return found

    for build in MODELS.values():
        one, two = build(MINE), build(OTHERS[0])
        for node in everything(one) & everything(two):
            assert node.common, node
            assert not graph.hint(node)
            assert not graph.origin(node).place


def test_a_value_named_again_has_the_later_name() -> None:
    """The same expression of the same leaves is one value: what it is called last, it is called."""
    x = prop.input("x", (3,))
    first = prop.exp(x).named("early")
    second = prop.exp(x).named("late")
    assert first.node is second.node
    assert first.name == "late"


def test_equal_parts_of_networks_declared_apart_are_emitted_once() -> None:
    """Two towers without a common leaf: their blocks are united when they meet in one graph."""

    def tower(name: str) -> Any:
        h = prop.input(name, (3,))
        for k in range(2):
            h = prop.region(f"{name}.layer{k}")(lambda a: prop.tanh(a) * 2.0 + a)(h)
        return h

    loss = prop.sum(tower("left") * tower("right"))
    simple = simplify([loss.node])
    blocks = {n.block for n in topological(simple) if isinstance(n, graph.Region)}
    assert len(blocks) == 1
