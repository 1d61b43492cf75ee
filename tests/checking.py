"""What the tests of graphs share: values for leaves, the oracle's answers, and ways to compare.

In: expressions. Out: arrays, and assertions. Guarantees: seeded, so that a failure repeats; the
oracle is the only evaluator used, so that what is tested never checks itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import symprop as prop
from codegen.index import evaluate
from symprop import oracle
from symprop.graph import FLOATS, Leaf, Node
from symprop.simplify.cost import graph_cost
from symprop.simplify.engine import simplify
from symprop.walk import leaves, topological

Arrays = dict[Any, Any]


def nodes(exprs: Sequence[Any]) -> list[Node]:
    """Expressions or nodes, as nodes."""
    return [getattr(e, "node", e) for e in exprs]


def shape_of(node: Node, sizes: Mapping[str, int] | None = None) -> tuple[int, ...]:
    """Sizes as integers, free dimensions from ``sizes``."""
    return tuple(evaluate(d, {}, sizes or {}) for d in node.dims)


def data_for(
    exprs: Sequence[Any], seed: int = 0, sizes: Mapping[str, int] | None = None,
    draw: Callable[[np.random.Generator, tuple[int, ...]], Any] | None = None,
) -> Arrays:  # fmt: skip
    """Random arrays for the leaves (constants and scalars with a default keep theirs)."""
    rng = np.random.default_rng(seed)
    found: Arrays = {}
    for leaf in leaves(nodes(exprs)):
        if leaf.kind == "constant" or leaf.default is not None:
            continue
        found[leaf] = array_for(leaf, rng, sizes, draw)
    return found


def array_for(
    leaf: Leaf, rng: np.random.Generator, sizes: Mapping[str, int] | None = None,
    draw: Callable[[np.random.Generator, tuple[int, ...]], Any] | None = None,
) -> Any:  # fmt: skip
    """A random array for one leaf."""
    shape = shape_of(leaf, sizes)
    if leaf.dtype == "bool":
        return rng.random(shape) < 0.6
    if leaf.dtype not in FLOATS:
        low, high = leaf.low.value or 0, leaf.high.value or 0
        return rng.integers(low, high + 1, size=shape)
    return rng.normal(size=shape) if draw is None else draw(rng, shape)


def evaluate_all(
    exprs: Sequence[Any], values: Mapping[Any, Any], precision: int | None = None
) -> list[Any]:
    """The oracle's arrays, in float64 or at so many digits."""
    return [np.asarray(a) for a in oracle.evaluate(nodes(exprs), values, precision)]


def gap(found: Any, wanted: Any) -> float:
    """max|a - b| / max|b|; places that are equal (infinities, NaN) count nothing."""
    a, b = np.asarray(found, dtype=float), np.asarray(wanted, dtype=float)
    assert a.shape == b.shape, f"{a.shape} is not {b.shape}"
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if np.all(same):
        return 0.0
    scale = np.max(np.abs(np.where(np.isfinite(b), b, 0.0)))
    error = np.max(np.abs(a[~same] - b[~same]))
    return float(error / (scale or 1.0))


def assert_equal(
    found: Sequence[Any], wanted: Sequence[Any], bound: float, title: str = ""
) -> None:
    """Arrays equal to ``bound`` of their own scale; a difference below a denormal-free floor of
    the largest of them counts nothing (a value that is exactly 0 has no scale)."""
    assert len(found) == len(wanted)
    largest = max((float(np.max(np.abs(np.nan_to_num(b)), initial=0.0)) for b in wanted),
                  default=0.0)  # fmt: skip
    for k, (a, b) in enumerate(zip(found, wanted, strict=True)):
        own = float(np.max(np.abs(np.nan_to_num(b)), initial=0.0))
        relative = gap(a, b)
        assert relative <= bound or relative * (own or 1.0) <= bound * 1e-2 * largest, (
            f"{title} value {k}: {relative:.2e} of its scale\n{a}\n{b}"
        )


def adjoint_gap(
    outputs: Sequence[Any], wrt: Sequence[Any], values: Arrays, seed: int = 0,
    sizes: Mapping[str, int] | None = None, floor: float = 0.0, precision: int | None = None,
) -> float:  # fmt: skip
    """|<g, J t> - <J^T g, t>| relative to the sum of the absolute products (or to ``floor``)."""
    rng = np.random.default_rng(seed)
    ts = [prop.input(f"tangent{k}", x.dims) for k, x in enumerate(wrt)]
    gs = [prop.input(f"cotangent{k}", y.dims) for k, y in enumerate(outputs)]
    pushed = prop.jvp(list(outputs), list(wrt), ts)
    pulled = prop.vjp(list(outputs), list(wrt), gs)
    given = dict(values)
    for e in (*ts, *gs):
        given[e.node] = rng.normal(size=shape_of(e.node, sizes))
    found = evaluate_all([*pushed, *pulled], given, precision)
    jt, tg = found[: len(pushed)], found[len(pushed) :]
    left = [a * given[g.node] for a, g in zip(jt, gs, strict=True)]
    right = [a * given[e.node] for a, e in zip(tg, ts, strict=True)]
    scale = sum(float(np.sum(np.abs(p))) for p in (*left, *right))
    # Subtracted in the arithmetic of the values: at 40 digits nothing is rounded first.
    total = float(sum(np.sum(p) for p in left) - sum(np.sum(p) for p in right))
    return abs(total) / (max(scale, floor) or 1.0)


def differences_gap(
    output: Any, wrt: Sequence[Any], values: Arrays, seed: int = 0, step: float = 3e-4,
    sizes: Mapping[str, int] | None = None,
) -> float:  # fmt: skip
    """jvp against fourth-order central differences along a random direction."""
    rng = np.random.default_rng(seed)
    ts = [prop.input(f"tangent{k}", x.dims) for k, x in enumerate(wrt)]
    along = [rng.normal(size=shape_of(e.node, sizes)) for e in ts]
    given = dict(values) | {e.node: d for e, d in zip(ts, along, strict=True)}
    (found,) = evaluate_all([prop.jvp(output, list(wrt), ts)], given)
    around = []
    for k in (-2, -1, 1, 2):
        moved = dict(values)
        for x, d in zip(wrt, along, strict=True):
            moved[x.node] = np.asarray(values[x.node]) + k * step * d
        around.append(evaluate_all([output], moved)[0])
    a, b, c, d4 = around
    wanted = (a - 8 * b + 8 * c - d4) / (12 * step)
    scale = float(np.max(np.abs(wanted), initial=0.0))
    value = float(np.max(np.abs(a), initial=0.0))  # differences of it are that much off
    return gap(found, wanted) * (scale or 1.0) / max(scale, value, 1e-300)


def weighted(e: Any) -> Any:
    """A scalar of a value, no two elements of which enter it alike."""
    if not e.ndim:
        return e * 1.25
    axes = [prop.cos(prop.index(d) * (k + 1.3)) for k, d in enumerate(e.node.dims)]
    for k, a in enumerate(axes):
        e = e * (1.0 + 0.4 * a)[(slice(None), *(None,) * (e.ndim - 1 - k))]
    return prop.sum(e)


def assert_simplified(
    roots: Sequence[Node], values: Mapping[Any, Any], bound: float = 1e-12
) -> list[Node]:
    """The roots simplified; values, dims and dtypes are kept, and the cost does not grow."""
    new = simplify(roots)
    assert graph_cost(new) <= graph_cost(roots)
    assert_equal(evaluate_all(new, values), evaluate_all(roots, values), bound)
    assert [n.dims for n in new] == [n.dims for n in roots]
    assert [n.dtype for n in new] == [n.dtype for n in roots]
    return new


def count(exprs: Sequence[Any], kind: type[Node]) -> int:
    """Nodes of a kind that the expressions need."""
    return sum(isinstance(n, kind) for n in topological(nodes(exprs)))
