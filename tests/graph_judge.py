"""Whether a random graph is right: on every backend, after every pass, against its own slopes.

In: a ``graph_fuzzing.Graph``, names of backends. Out: a sentence for everything that is wrong, with
a script that shows it; none is a pass.

    backends    value, gradients and the derivative of those along ones: each element within the
                bound of ``fuzz_judge`` of the oracle's
    passes      the oracle's values at 40 digits before and after each: equal to 15
    slopes      along a line through all inputs, the values' differences are the gradients, and the
                gradients' their derivatives; not at ties

Values of which the oracle says that a comparison was too close to call are not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mpmath
import numpy as np
from checking import shape_of
from fuzz_judge import BESIDE, EPS, STAIRS, off
from graph_fuzzing import Graph, script

import symprop as prop
from symprop.condition import Condition, condition
from symprop.oracle import Oracle, context, run_with
from symprop.pipeline import PASSES, Work

__all__ = ["JUDGED", "failures"]

PRECISION = 40
FITTED = 15  # digits of the polynomials that a pass may put for functions
JUDGED = {
    "graphs": 0,
    "partly in doubt": 0,
    "in doubt": 0,
    "slopes": 0,
}  # how many were seen to what depth


def failures(graph: Graph, backends: Sequence[str]) -> list[str]:
    """What is wrong with a graph: a sentence and a script each."""
    JUDGED["graphs"] += 1
    try:
        roots = _roots(graph)
        bounds = _bounds(graph, roots, graph.data)
        sure = list(range(len(roots)))
        if bounds.doubt:
            sure = [k for k in sure if not _bounds(graph, roots[k : k + 1], graph.data).doubt]
            JUDGED["partly in doubt"] += 1
            JUDGED["in doubt"] += not sure
        settled = _bounds(graph, [roots[k] for k in sure], graph.data) if bounds.doubt else bounds
        wrong = _passes(graph, [roots[k] for k in sure], settled)
        for backend in backends:
            off_by = _floats(graph, roots, sure, settled, backend)
            wrong += [f"{backend}: {what}\n{script(graph, backend)}" for what in off_by]
        wrong += _slopes(graph, roots, bounds)
    except Exception as error:
        wrong = [f"raises {type(error).__name__}: {error}\n{script(graph, backends[0])}"]
    return [f"graph {graph.label} {graph.dtype}: {w}" for w in wrong]


def _roots(graph: Graph) -> list[Any]:
    """The value, its gradients, their derivatives along ones."""
    wrt = [v.expr for v in graph.inputs]
    first = prop.vjp(graph.root.expr, wrt, 1.0)
    return [graph.root.expr, *first, *prop.jvp(first, wrt, [1.0] * len(wrt))]


def _given(graph: Graph, data: dict[str, Any]) -> dict[Any, Any]:
    return {**{v.expr: data[v.expr.name] for v in graph.leaves}, graph.free: graph.size}


def _bounds(graph: Graph, roots: Sequence[Any], data: dict[str, Any]) -> Condition:
    info = np.finfo(graph.dtype)
    return condition(roots, _given(graph, data), PRECISION, EPS[graph.dtype], float(info.tiny))


# --- backends ------------------------------------------------------------------------------------


def _floats(
    graph: Graph, roots: Sequence[Any], sure: Sequence[int], bounds: Condition, backend: str
) -> list[str]:
    """Elements that a backend has wrong, of the outputs that are sure; the bounds are of those."""
    run = prop.compile(list(roots), backend=backend, dtype=graph.dtype)
    given = {n: a for n, a in graph.data.items() if n in run.inputs}
    with np.errstate(all="ignore"):
        found = [np.asarray(a) for a in run(given)]
    for k, (a, r) in enumerate(zip(found, roots, strict=True)):
        shape = shape_of(r.node, {graph.free: graph.size})
        if a.shape != shape:
            return [f"output {k} has the shape {a.shape}, not {shape}"]
    found = [found[k] for k in sure]
    wrong = _off(found, bounds, graph.dtype)
    if wrong:  # 1/-0 is -inf: zeros as the numbers beside them
        beside = {n: _beside(a) for n, a in graph.data.items()}
        other = _bounds(graph, [roots[k] for k in sure], beside)
        also = {} if other.doubt else _off(found, other, graph.dtype)
        wrong = {p: what for p, what in wrong.items() if p in also}
    return [f"output {sure[k]} at {p} {what}" for (k, p), what in wrong.items()][:4]


def _off(found: Sequence[Any], bounds: Condition, dtype: str) -> dict[tuple[int, Any], str]:
    wrong = {}
    for k, (a, b) in enumerate(zip(found, bounds.values, strict=True)):
        for p in np.ndindex(*a.shape):
            what = off(float(a[p]), b[p], dtype)
            if what:
                wrong[k, p] = what
    return wrong


def _beside(a: Any) -> Any:
    """The numbers, and for 0 and -0 those just above and below."""
    if a.dtype.kind != "f":
        return a
    tiny = mpmath.mpf(10) ** -BESIDE
    made = np.empty(a.shape, object)
    for p in np.ndindex(*a.shape):
        x = float(a[p])
        made[p] = tiny * float(np.copysign(1, x)) if x == 0 else x
    return made


# --- passes --------------------------------------------------------------------------------------


def _passes(graph: Graph, roots: Sequence[Any], bounds: Condition) -> list[str]:
    """The first pass over the graph that changes a value."""
    named = tuple((f"output {k}", r.node) for k, r in enumerate(roots))
    work = Work(named, (), graph.dtype, "numpy", "function")
    before = bounds
    for one in PASSES:
        old = work.roots
        work = one.apply(work)
        if work.program is not None:
            break
        if work.roots == old:
            continue
        after = _bounds(graph, work.roots, graph.data)
        if after.doubt:
            continue
        what = _changed(before, after)
        if what:
            return [f"the pass {one.name} changed {what}\n{script(graph, 'numpy')}"]
        before = after
    return []


def _changed(before: Condition, after: Condition) -> str:
    """Where a value that was finite is another one, beyond the digits that were computed."""
    for k, (a, b) in enumerate(zip(before.values, after.values, strict=True)):
        if a.shape != b.shape:
            return f"the shape of output {k}: it was {a.shape}, and is {b.shape}"
        for p in np.ndindex(*a.shape):
            x, y = a[p], b[p]
            ctx = x.scale.ctx
            if not ctx.isfinite(x.value) or not ctx.isfinite(x.error):
                continue
            allowed = (x.error + y.error) * ctx.mpf(10) ** -FITTED
            if not abs(x.value - y.value) <= allowed:
                return f"output {k} at {p}: it was {x}, and is {y}"
    return ""


# --- slopes --------------------------------------------------------------------------------------


def _slopes(graph: Graph, roots: Sequence[Any], bounds: Condition) -> list[str]:
    """Where the derivatives are not the slopes along the line of all inputs together."""
    exact = [v for b in bounds.values for v in b.ravel()]
    finite = all(np.all(np.isfinite(graph.data[v.expr.name])) for v in graph.inputs)
    if bounds.doubt or bounds.tie or not finite or not all(v.peak < STAIRS for v in exact):
        return []
    JUDGED["slopes"] += 1
    ctx, inputs = context(3 * PRECISION), len(graph.inputs)
    step = ctx.sqrt(2) * ctx.mpf(10) ** -PRECISION
    sides = [_sums(graph, roots[: 1 + inputs], ctx, n * step) for n in (-2, -1, 0, 1, 2)]
    derived = [sum((v.value for v in _all(bounds, 1, inputs)), ctx.zero),
               sum((v.value for v in _all(bounds, 1 + inputs, inputs)), ctx.zero)]  # fmt: skip
    noise = max((v.error for v in exact), default=0) * ctx.mpf(10) ** (10 - PRECISION)
    wrong = []
    for order, slope in enumerate(derived):
        far, below, here, above, beyond = (s[order] for s in sides)
        seen = [(here - far) / 2, here - below, above - here, (beyond - here) / 2]
        seen = [s / step for s in seen]
        if not all(map(ctx.isfinite, (*seen, slope))):
            continue
        size = max(map(abs, seen))
        smooth = all(abs(s - seen[1]) <= ctx.mpf(10) ** -20 * size for s in seen)
        if smooth and not abs(seen[1] - slope) <= ctx.mpf(10) ** -8 * size + noise:
            what = f"is derived as {ctx.nstr(slope, 10)}, but the slope is {ctx.nstr(seen[1], 10)}"
            wrong.append(f"order {order + 1} along ones {what}\n{script(graph, 'numpy')}")
    return wrong


def _all(bounds: Condition, first: int, count: int) -> list[Any]:
    return [v for b in bounds.values[first : first + count] for v in b.ravel()]


def _sums(graph: Graph, roots: Sequence[Any], ctx: Any, by: Any) -> tuple[Any, Any]:
    """The sum of the value, and that of all its gradients, every input moved by the same."""
    moved = {}
    for v in graph.leaves:
        a = graph.data[v.expr.name]
        if a.dtype.kind == "f":
            with mpmath.workdps(3 * PRECISION):
                exact = [mpmath.mpf(float(x)) + by for x in a.ravel()]
            a = np.array([*exact, None], object)[:-1].reshape(a.shape)
        moved[v.expr.name] = a
    value, *first = run_with(Oracle(ctx), roots, _given(graph, moved))
    total = [sum(a.ravel(), ctx.zero) for a in (value, *first)]
    return total[0], sum(total[1:], ctx.zero)
