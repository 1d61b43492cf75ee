"""Readings: each of a small step that has it, and of a neighbour that must not."""

from __future__ import annotations

from building import Building, at_least, call, select, where

from codegen.classify import (
    ArgExtremum,
    Concat,
    Contract,
    Extremum,
    Map,
    Prefix,
    Reading,
    Rearrange,
    Scatter,
    Sum,
    classify,
)
from codegen.index import gather, guard


def reading(p: Building) -> Reading:
    found = classify(p.steps[-1])
    assert classify(p.steps[-1]) is found
    return found


def setting() -> Building:
    return Building("f", batch=None, time=None, unit=4, pixel=5)


def test_products() -> None:
    p = setting()
    x, w = p.declare("x", "batch pixel"), p.declare("w", "unit pixel")
    p.step("y", "batch unit", "sum pixel", lambda b, u, k: 2 * x[b, k] * w[u, k])
    found = reading(p)
    assert isinstance(found, Contract)
    b, u, k = p.steps[-1].loops
    assert (found.batch, found.m, found.n, found.k) == ((), (b,), (u,), (k,))
    assert len(found.scale) == 1
    p.step("z", "batch unit", "sum pixel", lambda b, u, k: x[b, k] + w[u, k])
    assert isinstance(reading(p), Sum)
    p.step("v", "batch unit", "sum pixel", lambda b, u, k: x[b, k] * w[u, k],
           guards=lambda b, u, k: where(at_least(u, k)))  # fmt: skip
    assert isinstance(reading(p), Sum)  # a masked product may be infinite
    p.step("s", "batch", "sum pixel", lambda b, k: x[b, k])
    assert isinstance(reading(p), Sum)


def test_three_factors_group_by_loops() -> None:
    p = setting()
    x, w, g = p.declare("x", "batch pixel"), p.declare("w", "unit pixel"), p.declare("g", "batch")
    p.step("y", "batch unit", "sum pixel", lambda b, u, k: g[b] * w[u, k] * x[b, k])
    found = reading(p)
    assert isinstance(found, Contract)
    assert (len(found.left), len(found.right), len(found.batch)) == (2, 1, 0)


def test_prefix_needs_exactly_the_triangle() -> None:
    p = setting()
    x = p.declare("x", "batch time")
    for shift, expected in ((0, Prefix), (1, Sum)):
        p.step(f"y{shift}", "batch time", "sum time", lambda b, i, r: x[b, r],
               guards=lambda b, i, r, s=shift: where(guard(i - r - s, ">=")))  # fmt: skip
        assert isinstance(reading(p), expected)
    p.step("z", "batch time", "sum time", lambda b, i, r: x[b, r],
           guards=lambda b, i, r: where(guard(r - i, ">=")))  # fmt: skip
    found = reading(p)
    assert isinstance(found, Prefix)
    assert found.reverse


def test_extrema() -> None:
    p = setting()
    x = p.declare("x", "batch unit")
    top = p.step("top", "batch", "max unit", lambda b, u: x[b, u])
    assert isinstance(reading(p), Extremum)
    p.step("at", "batch", "min unit", lambda b, u: select(x[b, u] < top[b], 3, u), dtype="int64")
    found = reading(p)
    assert isinstance(found, ArgExtremum)
    assert not found.least
    p.step("no", "batch", "min unit", lambda b, u: select(x[b, u] < top[b], 4, u), dtype="int64")
    assert isinstance(reading(p), Extremum)


def test_maps_views_and_scatters() -> None:
    p = setting()
    x = p.declare("x", "batch unit")
    ids = p.declare("ids", "batch", dtype="int64", classes=7)
    p.step("a", "unit batch", "=", lambda u, b: x[b, u])
    assert isinstance(reading(p), Rearrange)
    p.step("b", "batch unit", "=", lambda b, u: call("exp", x[b, u]))
    assert isinstance(reading(p), Map)
    p.step("c", "batch unit", "sum", lambda b, u: x[b, u],
           index=lambda b, u: (gather(ids.source(), (b,)), u), target_axes="7 unit")  # fmt: skip
    assert isinstance(reading(p), Scatter)


def test_concatenation_needs_parts_that_meet() -> None:
    p = setting()
    p.axes["both"] = p.axes["unit"] + p.axes["pixel"]
    x, z = p.declare("x", "batch unit"), p.declare("z", "batch pixel")
    for gap in (0, 1):
        p.step(f"y{gap}", "batch both", "=",
               lambda b, k, g=gap: x.guarded(b, k, guards=where(at_least(k * 0 + 3 - g, k)))
               + z.guarded(b, k - 4, guards=where(at_least(k, 4))))  # fmt: skip
        assert isinstance(reading(p), Map if gap else Concat)
