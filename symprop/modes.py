"""What differs between training and use: batch statistics and running ones, noise and none.

In: a value for training and one for everything else, of one shape. Out: an expression that is the
first inside a training step, and the second in `trainer.predict`, `trainer.evaluate` and an
exported prediction.
Guarantees: there is no switch at run time and no mode of a network: each program that is compiled
holds one of the two, chosen before anything else is done with the graph. Where an expression is
taken as it is (`prop.compile`, `prop.gradient`, `prop.explain`, `prop.check`) it is the value for
training; `prop.inference` gives the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symprop import graph, walk
from symprop.errors import ShapeError, UnsupportedError, quoted
from symprop.expression import Expr, as_expr, describe, finish, shape_text
from symprop.graph import Atom, Leaf, Node, Opaque, Output, Region, Scan
from symprop.walk import topological

__all__ = ["MODE", "in_training", "inference", "resolved"]

MODE = Atom(
    "in_training",
    shape=lambda training, use: [(training, "float")],
    # The derivative is that of the value for training, as the value is.
    vjp=lambda node, cotangents: [cotangents[0], None],
    jvp=lambda node, tangents: [tangents[0]],
    oracle=lambda training, use: (training,),
)


def in_training(training: Any, otherwise: Any) -> Expr:
    """`training` inside a training step, `otherwise` in predictions and evaluations.

    Raises ShapeError where the two differ in shape, UnsupportedError (when compiled) inside the
    function of a scan or a region.
    """
    first, second = as_expr(training), as_expr(otherwise)
    if first.node.dims != second.node.dims:
        raise ShapeError(
            f"in_training needs two values of one shape, got {shape_text(first)} from "
            f"{describe(first)} and {shape_text(second)} from {describe(second)}"
        )
    marked = graph.make_opaque(MODE, [first.node, second.node])
    return finish(graph.make_output(marked, 0), "in_training", [first, second])


def inference(x: Expr) -> Expr:
    """The expression as it is in predictions: `prop.compile(prop.inference(logits))`.

    What a training step would update on the way (running statistics) is left alone.
    """
    value = as_expr(x)
    (found,) = resolved([value.node], training=False)
    return Expr(found, value.sources)


def resolved(roots: Sequence[Node], training: bool) -> list[Node]:
    """The roots with one of the two values in place of every choice between them."""
    order = topological(roots)
    for node in order:
        if isinstance(node, Scan | Region) and any(map(is_choice, topological(node.block.outputs))):
            raise UnsupportedError(
                f"prop.in_training stands inside {quoted(node.block.name or 'a scan')}, where it "
                "cannot be chosen: choose outside and hand the value in"
            )
    if not any(map(is_choice, order)):
        return list(roots)
    new: dict[Node, Node] = {}
    for node in order:
        if isinstance(node, Output) and is_choice(node.of):
            value = node.of.arguments[0 if training else 1]
            new[node] = new.get(value, value)
        elif not isinstance(node, Leaf):
            rebuilt = walk.rebuild(node, new)
            if rebuilt is not node:
                walk.carry_over(node, rebuilt)
                new[node] = rebuilt
    return [new.get(root, root) for root in roots]


def is_choice(node: Any) -> bool:
    """Whether a node is a choice between training and use."""
    return isinstance(node, Opaque) and node.atom is MODE
