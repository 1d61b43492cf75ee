"""Small programs that schedules are tried on, and the one question asked of a schedule.

In: sizes. Out: unscheduled ``Loops`` (``from_program`` of a program written by hand); ``agree``.
Guarantees: seeded; what a schedule gives is compared with the unscheduled nest in the interpreter,
turns of vector and parallel loops forward and in reverse, after the verifier has accepted it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from codegen.index import Guard, Ix, evaluate, gather, guard
from codegen.loops.directives import Directive
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret
from codegen.loops.nest import For, Kind, Loops, Part
from codegen.loops.schedule import applied
from codegen.loops.verify import verify
from codegen.loops.walk import inside
from tests.codegen.building import Building, call, select, where


def dense(batch: int | None = None, pixel: int = 6, unit: int = 16) -> Loops:
    """hidden = relu(x Wᵀ + b): parts product, pre, hidden."""
    p = Building("dense", dtype="float64", batch=batch, pixel=pixel, unit=unit)
    x = p.declare("x", "batch pixel")
    w = p.declare("w", "unit pixel", "parameter")
    b = p.declare("b", "unit", "parameter")
    z = p.step("product", "batch unit", "sum pixel", lambda n, u, k: x[n, k] * w[u, k])
    pre = p.step("pre", "batch unit", "=", lambda n, u: z[n, u] + b[u])
    p.step("hidden", "batch unit", "=", lambda n, u: call("maximum", pre[n, u], 0))
    return from_program(p.done("hidden"))


def classifier(batch: int | None = None, unit: int = 5, digit: int = 10) -> Loops:
    """share = softmax(h Wᵀ): parts logits, top, weight, total, share."""
    p = Building("classifier", dtype="float64", batch=batch, unit=unit, digit=digit)
    h = p.declare("h", "batch unit")
    w = p.declare("w", "digit unit", "parameter")
    z = p.step("logits", "batch digit", "sum unit", lambda n, d, u: h[n, u] * w[d, u])
    t = p.step("top", "batch", "max digit", lambda n, d: z[n, d])
    e = p.step("weight", "batch digit", "=", lambda n, d: call("exp", z[n, d] - t[n]))
    s = p.step("total", "batch", "sum digit", lambda n, d: e[n, d])
    p.step("share", "batch digit", "=", lambda n, d: e[n, d] / s[n])
    return from_program(p.done("share"))


def weight_step(batch: int | None = None, unit: int = 26, pixel: int = 16) -> Loops:
    """gradient = dᵀ x and a step of momentum: parts gradient, new_m, new_w, m, w."""
    p = Building("weight_step", dtype="float64", batch=batch, unit=unit, pixel=pixel)
    d = p.declare("d", "batch unit")
    x = p.declare("x", "batch pixel")
    w = p.declare("w", "unit pixel", "parameter")
    m = p.declare("m", "unit pixel", "state")
    g = p.step("gradient", "unit pixel", "sum batch", lambda u, k, n: d[n, u] * x[n, k])
    new = p.step("new_m", "unit pixel", "=", lambda u, k: 0.9 * m[u, k] + 0.1 * g[u, k])
    step = p.step(
        "new_w",
        "unit pixel",
        "=",
        lambda u, k: w[u, k] - new[u, k] / (1 + call("sqrt", new[u, k] ** 2)),
    )
    p.step(m, "unit pixel", "=", lambda u, k: new[u, k])
    p.step(w, "unit pixel", "=", lambda u, k: step[u, k])
    return from_program(p.done("m", "w"))


def column_sum(batch: int | None = None, unit: int = 6) -> Loops:
    """total = sum over the batch."""
    p = Building("column_sum", dtype="float64", batch=batch, unit=unit)
    x = p.declare("x", "batch unit")
    p.step("total", "unit", "sum batch", lambda u, n: x[n, u])
    return from_program(p.done("total"))


def convolution(
    batch: int | None = None, side: int = 6, channel: int = 3, features: int = 4,
    pooled: bool = False,
) -> Loops:  # fmt: skip
    """image * 3x3 kernel with a border of zeros: parts image (and pool, of 2x2 windows)."""
    p = Building(
        "convolution", dtype="float64", n=batch, row=side, column=side, channel=channel,
        ky=3, kx=3, feature=features, half=side // 2,
    )  # fmt: skip
    x = p.declare("x", "n row column channel")
    w = p.declare("w", "ky kx channel feature", "parameter")
    y = p.step(
        "image",
        "n row column feature",
        "sum ky kx channel",
        lambda n, r, c, f, ky, kx, ch: x[n, r + ky - 1, c + kx - 1, ch] * w[ky, kx, ch, f],
        guards=lambda n, r, c, f, ky, kx, ch: within((r + ky - 1, side), (c + kx - 1, side)),
    )
    if not pooled:
        return from_program(p.done("image"))
    p.step(
        "pool",
        "n half half feature",
        "max 2 2",
        lambda n, r, c, f, dy, dx: y[n, 2 * r + dy, 2 * c + dx, f],
    )
    return from_program(p.done("pool"))


def filter_gradient(batch: int | None = None, side: int = 4) -> Loops:
    """The gradient of a 3x3 convolution's kernel: part gradient."""
    p = Building(
        "filter_gradient", dtype="float64", n=batch, row=side, column=side, channel=6, ky=3, kx=3,
        feature=4,
    )  # fmt: skip
    x = p.declare("x", "n row column channel")
    d = p.declare("d", "n row column feature")
    p.step(
        "gradient",
        "ky kx channel feature",
        "sum n row column",
        lambda ky, kx, ch, f, n, r, c: x.inside(n, r + ky - 1, c + kx - 1, ch) * d[n, r, c, f],
    )
    return from_program(p.done("gradient"))


def embedding(batch: int | None = None) -> Loops:
    """rows[b] = table[ids[b]] and the scatter of a gradient: parts rows, grad."""
    p = Building("embedding", dtype="float64", batch=batch, word=5, d=3)
    ids = p.declare("ids", "batch", dtype="int64", classes=5)
    table = p.declare("table", "word d", "parameter")
    g = p.declare("g", "batch d")
    p.step("rows", "batch d", "=", lambda b, d: table[gather(ids.source(), (b,)), d])
    p.step(
        "grad", "batch d", "sum", lambda b, d: g[b, d], target_axes="word d",
        index=lambda b, d: (gather(ids.source(), (b,)), d),
    )  # fmt: skip
    return from_program(p.done("rows", "grad"))


def layers(count: int = 3, unit: int = 4) -> Loops:
    """Equal layers in a row: parts layer_0, layer_1, ..."""
    p = Building("layers", dtype="float64", batch=None, unit=unit, other=unit)
    h = p.declare("x", "batch unit")
    for n in range(count):
        w = p.declare(f"w_{n}", "other unit", "parameter")
        h = p.step(
            f"layer_{n}", "batch other", "sum unit",
            lambda b, o, u, h=h, w=w: select(h[b, u] > 0, h[b, u], 0) * w[o, u],
            f"layer_{n} = relu(h) w_{n}ᵀ", target_axes="batch unit",
        )  # fmt: skip
    return from_program(p.done(h))


def within(*places: tuple[Ix, int]) -> tuple[Guard, ...]:
    """Guards that positions exist."""
    return where(*(g for ix, n in places for g in (guard(ix, ">="), guard(n - 1 - ix, ">="))))


# --- the question ---------------------------------------------------------------------------------


def arguments(loops: Loops, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays for the arguments, every free size ``batch``."""
    rng = np.random.default_rng(seed)
    sizes = {d.name: batch for d in loops.dims}
    found = {}
    for b in loops.arguments:
        shape = tuple(evaluate(d, {}, sizes) for d in b.dims)
        whole = b.low is not None
        found[b.name] = rng.integers(0, 5, size=shape) if whole else rng.normal(size=shape)
    return found


def agree(
    before: Loops,
    directives: Iterable[Directive],
    batches: Iterable[int] = (1, 5),
    exact: bool = True,
) -> Loops:
    """The scheduled nests, which the verifier accepts and which give the values of the unscheduled
    ones: the same bits when ``exact``, else up to the order of sums."""
    after = applied(before, directives)
    verify(after)
    for batch in batches if before.dims else (0,):
        given = arguments(before, batch)
        wanted = interpret(before, given)
        for order in ("forward", "reversed"):
            found = interpret(after, given, order)
            for a, b in zip(found, wanted, strict=True):
                if exact:
                    np.testing.assert_array_equal(a, b)
                else:
                    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    return after


def loops_of(loops: Loops, part: str, kind: Kind | None = None) -> list[str]:
    """Names and sizes of the loops in a part, outer first: ``"unit_inner 16"``."""
    bodies = [*loops.body, *(s for k in loops.kernels for s in k.body)]
    (where_,) = [s for s in inside(bodies) if isinstance(s, Part) and s.name == part]
    found = [s for s in inside(where_.body) if isinstance(s, For)]
    return [f"{f.name} {f.loop.extent!r}" for f in found if kind is None or f.kind == kind]
