"""NumPy text: every small program against the interpreter, and the line it must read as."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from building import Building, S, at_least, call, mlp_training, select, where
from definition import random_step, run_assign

from codegen.build import build
from codegen.index import floordiv, gather, guard, mod
from codegen.interpret import bind_dims, run
from codegen.numpy_text import emit
from codegen.program import Block, Cast, Program, Scan
from codegen.verify import verify

Case = Callable[[], tuple[Program, str]]
CASES: list[Case] = []


def case(make: Case) -> Case:
    CASES.append(make)
    return make


SIZES = {"batch": 3, "time": 4}


def arguments(program: Program, seed: int = 0, sizes: dict[str, int] | None = None) -> Any:
    """Random arguments of a program, by name."""
    from codegen.index import evaluate

    rng = np.random.default_rng(seed)
    out = {}
    for b in program.arguments:
        shape = [evaluate(d, {}, sizes or SIZES) for d in b.dims]
        if b.dtype.startswith("float"):
            array = rng.normal(size=shape)
        elif b.dtype == "bool":
            array = rng.random(shape) < 0.5
        else:
            low = 0 if b.low is None else evaluate(b.low, {}, sizes or SIZES)
            high = 5 if b.high is None else evaluate(b.high, {}, sizes or SIZES)
            array = rng.integers(low, high + 1, size=shape)
        if b.name.startswith("v_"):
            array = np.abs(array)
        out[b.name] = np.asarray(array, dtype=b.dtype)
    return out


def compare(program: Program, seed: int = 0, sizes: dict[str, int] | None = None) -> str:
    """The text, after it gave what the interpreter gives, without a warning."""
    verify(program)
    text = emit(program)
    assert max(map(len, text.splitlines())) <= 100
    assert emit(program) == text
    function = build(text, program.name)
    given = arguments(program, seed, sizes)
    kept = {k: v.copy() for k, v in given.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = function(*given.values())
    want = run(program, kept)
    got = got if len(program.outputs) > 1 else (got,)
    for name, array in zip(program.outputs, got, strict=True):
        buffer = program.buffer(name)
        assert array.dtype == buffer.dtype, (name, array.dtype)
        assert np.shape(array) == np.shape(want[name])
        near(array, want[name], buffer.dtype)
    for b in program.arguments:
        expected = want[b.name] if b.name in program.updates else kept[b.name]
        near(given[b.name], expected, b.dtype)
    return text


def near(got: Any, want: Any, dtype: str) -> None:
    tolerance = {"float32": 2e-5, "float64": 1e-11}.get(dtype, 0)
    np.testing.assert_allclose(
        np.asarray(got, float), np.asarray(want, float), rtol=tolerance, atol=tolerance
    )


# --- products of matrices ------------------------------------------------------------------------


@case
def dense() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5, unit=4)
    x, w = p.declare("x", "batch pixel"), p.declare("w", "unit pixel", "parameter")
    b = p.declare("b", "unit", "parameter")
    z = p.step("z", "batch unit", "sum pixel", lambda n, u, k: x[n, k] * w[u, k])
    y = p.step("y", "batch unit", "=", lambda n, u: z[n, u] + b[u])
    return p.done(y), "y = x @ w.T + b"


@case
def weight_gradient() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5, unit=4)
    x, g = p.declare("x", "batch pixel"), p.declare("g", "batch unit")
    y = p.step("y", "unit pixel", "sum batch", lambda u, k, n: x[n, k] * g[n, u])
    return p.done(y), "y = g.T @ x"


@case
def scaled_product() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5, unit=4)
    x, g = p.declare("x", "batch pixel"), p.declare("g", "batch unit")
    y = p.step("y", "unit pixel", "sum batch", lambda u, k, n: 0.5 * g[n, u] * x[n, k])
    return p.done(y), "y = 0.5 * (g.T @ x)"


@case
def matrix_vector() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5)
    x, v = p.declare("x", "batch pixel"), p.declare("v", "pixel")
    y = p.step("y", "batch", "sum pixel", lambda n, k: v[k] * x[n, k])
    return p.done(y), "y = x @ v"


@case
def vector_matrix() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5)
    x, v = p.declare("x", "batch pixel"), p.declare("v", "batch")
    y = p.step("y", "pixel", "sum batch", lambda k, n: v[n] * x[n, k])
    return p.done(y), "y = v @ x"


@case
def dot() -> tuple[Program, str]:
    p = Building("f", batch=None)
    x, v = p.declare("x", "batch"), p.declare("v", "batch")
    y = p.step("y", "", "sum batch", lambda n: v[n] * x[n])
    return p.done(y), "y = v @ x"


@case
def row_dots() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5)
    x, v = p.declare("x", "batch pixel"), p.declare("v", "batch pixel")
    y = p.step("y", "batch", "sum pixel", lambda n, k: v[n, k] * x[n, k])
    return p.done(y), "y = (v * x).sum(axis=1)"


@case
def sequence_dense() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, depth=5, unit=4)
    x, w = p.declare("x", "batch time depth"), p.declare("w", "unit depth")
    y = p.step("y", "batch time unit", "sum depth", lambda b, t, u, d: x[b, t, d] * w[u, d])
    return p.done(y), "y = x @ w.T"


@case
def sequence_weight_gradient() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, depth=5, unit=4)
    x, g = p.declare("x", "batch time depth"), p.declare("g", "batch time unit")
    y = p.step("y", "unit depth", "sum batch time", lambda u, d, b, t: g[b, t, u] * x[b, t, d])
    return p.done(y), "y = np.tensordot(g, x, axes=((0, 1), (0, 1)))"


@case
def attention_scores() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, head=2, d=3)
    q, k = p.declare("q", "batch head time d"), p.declare("k", "batch head time d")
    y = p.step(
        "y", "batch head time time", "sum d", lambda b, h, i, j, d: q[b, h, i, d] * k[b, h, j, d]
    )
    return p.done(y), "y = q @ k.mT"


@case
def attention_from_joined_heads() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, head=2, d=3, width=6)
    q, k = p.declare("q", "batch time width"), p.declare("k", "batch time width")
    y = p.step(
        "y",
        "batch head time time",
        "sum d",
        lambda b, h, i, j, d: q[b, i, h * 3 + d] * k[b, j, h * 3 + d],
    )
    return p.done(y), "q.reshape(batch, time, 2, 3)"


@case
def per_batch_vectors() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=4, pixel=5)
    x, w = p.declare("x", "batch pixel"), p.declare("w", "batch unit pixel")
    y = p.step("y", "batch unit", "sum pixel", lambda b, u, k: x[b, k] * w[b, u, k])
    return p.done(y), 'np.einsum("bp,bup->bu", x, w)'


@case
def compound_operands() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5, unit=4)
    x, m, w = p.declare("x", "batch pixel"), p.declare("m", "batch"), p.declare("w", "unit pixel")
    y = p.step("y", "batch unit", "sum pixel", lambda n, u, k: (x[n, k] - m[n]) * w[u, k])
    return p.done(y), "y = (x - m[:, None]) @ w.T"


@case
def float64_accumulator() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5)
    x = p.declare("x", "batch pixel")
    y = p.step("y", "pixel", "sum batch", lambda k, n: x[n, k])
    program = p.done(y)
    step = replace(program.steps[0], accumulator="float64")
    return replace(program, steps=(step,)), "x.sum(axis=0, dtype=np.float64).astype(np.float32)"


# --- convolution and pooling ---------------------------------------------------------------------


def image(p: Building) -> Any:
    return p.declare("x", "batch channel row column")


@case
def convolution() -> tuple[Program, str]:
    p = Building("f", batch=None, channel=2, row=7, column=8, out=3, up=4, left=4, r=3, c=3)
    x, w = image(p), p.declare("w", "out channel r c", "parameter")
    y = p.step(
        "y",
        "batch out up left",
        "sum channel r c",
        lambda n, o, i, j, ch, r, c: x.inside(n, ch, i * 2 + r - 1, j * 2 + c - 1) * w[o, ch, r, c],
    )
    return p.done(y), "np.tensordot(x_windows, w, axes=((1, 4, 5), (1, 2, 3)))"


@case
def convolution_valid() -> tuple[Program, str]:
    p = Building("f", batch=None, channel=2, row=6, column=9, out=3, up=4, left=5, r=3, c=3)
    x, w = image(p), p.declare("w", "out channel r c", "parameter")
    y = p.step(
        "y",
        "batch out up left",
        "sum channel r c",
        lambda n, o, i, j, ch, r, c: x[n, ch, i + r, j + c * 2] * w[o, ch, r, c],
    )
    return p.done(y), "sliding_window_view(x, (3, 5), axis=(2, 3))[:, :, :, :, :, ::2]"


@case
def convolution_weight_gradient() -> tuple[Program, str]:
    p = Building("f", batch=None, channel=2, row=7, column=8, out=3, up=4, left=4, r=3, c=3)
    x, g = image(p), p.declare("g", "batch out up left")
    y = p.step(
        "y",
        "out channel r c",
        "sum batch up left",
        lambda o, ch, r, c, n, i, j: g[n, o, i, j] * x.inside(n, ch, i * 2 + r - 1, j * 2 + c - 1),
    )
    return p.done(y), "y = np.tensordot(g, x_windows, axes=((0, 2, 3), (0, 2, 3)))"


@case
def convolution_data_gradient() -> tuple[Program, str]:
    p = Building("f", batch=None, channel=2, row=5, column=6, out=3, up=3, left=4, r=3, c=3)
    g, w = p.declare("g", "batch out up left"), p.declare("w", "out channel r c")
    y = p.step(
        "y",
        "batch channel row column",
        "sum out r c",
        lambda n, ch, i, j, o, r, c: g.inside(n, o, i - r, j - c) * w[o, ch, r, c],
    )
    return p.done(y), "np.pad(g, ((0, 0), (0, 0), (2, 2), (2, 2)))"


@case
def max_pool_overlapping() -> tuple[Program, str]:
    p = Building("f", batch=None, channel=2, row=5, column=6, up=3, left=3, r=3, c=3)
    x = image(p)
    y = p.step(
        "y",
        "batch channel up left",
        "max r c",
        lambda n, ch, i, j, r, c: x[n, ch, i * 2 + r - 1, j * 2 + c - 1],
        guards=lambda n, ch, i, j, r, c: where(
            at_least(i * 2 + r, 1),
            at_least(j * 2 + c, 1),
            at_least(p.axes["row"], i * 2 + r),
            at_least(p.axes["column"], j * 2 + c),
        ),
    )
    return p.done(y), "constant_values=-np.inf"


@case
def max_pool_even() -> tuple[Program, str]:
    p = Building("f", batch=None, channel=2, row=4, column=6, up=2, left=3, r=2, c=2)
    x = image(p)
    y = p.step(
        "y",
        "batch channel up left",
        "max r c",
        lambda n, ch, i, j, r, c: x[n, ch, i * 2 + r, j * 2 + c],
    )
    return p.done(y), "y = x.reshape(batch, 2, 2, 2, 3, 2).max(axis=(3, 5))"


@case
def average_pool() -> tuple[Program, str]:
    p = Building("f", batch=None, row=6, up=6, r=3)
    x = p.declare("x", "batch row")
    y = p.step(
        "y",
        "batch up",
        "sum r",
        lambda n, i, r: x[n, i + r - 1] * 0.25,
        guards=lambda n, i, r: where(at_least(i + r, 1), at_least(p.axes["row"], i + r)),
    )
    return p.done(y), "y = x_windows.sum(axis=2) * 0.25"


# --- views ---------------------------------------------------------------------------------------


@case
def transpose() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=4)
    x = p.declare("x", "batch unit")
    y = p.step("y", "unit batch", "=", lambda u, b: x[b, u])
    return p.done(y), "y = x.T.copy()"


@case
def flatten() -> tuple[Program, str]:
    p = Building("f", batch=None, channel=2, row=3, column=4, flat=24)
    x = image(p)
    y = p.step(
        "y",
        "batch flat",
        "=",
        lambda b, k: x[b, floordiv(k, 12), mod(floordiv(k, 4), 3), mod(k, 4)],
    )
    z = p.step("z", "batch flat", "=", lambda b, k: y[b, k] + 1)
    return p.done(z), "z = x.reshape(batch, 24) + 1"


@case
def merge_heads() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, head=2, d=3, width=6)
    x = p.declare("x", "batch head time d")
    y = p.step("y", "batch time width", "=", lambda b, t, k: x[b, floordiv(k, 3), t, mod(k, 3)] * 2)
    return p.done(y), "x.swapaxes(1, 2).reshape(batch, time, 6)"


@case
def slices() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=6, half=3, less=5)
    x = p.declare("x", "batch unit")
    a = p.step("a", "batch half", "=", lambda b, u: x[b, u * 2] + x[b, u * 2 + 1])
    d = p.step("d", "batch less", "=", lambda b, u: x[b, u + 1] - x[b, u])
    r = p.step("r", "batch unit", "=", lambda b, u: -x[b, 5 - u])
    return p.done(a, d, r), "d = x[:, 1:] - x[:, :5]"


@case
def symbolic_slices() -> tuple[Program, str]:
    p = Building("f", batch=None)
    n = p.axes["batch"]
    p.axes["more"] = n * 2 + 1
    p.axes["odd"] = n
    x = p.declare("x", "more")
    y = p.step("y", "odd", "=", lambda b: x[b * 2 + 1] + x[n * 2 - b] + x[b + n])
    return p.done(y), "batch = (x.shape[0] - 1) // 2"


@case
def shift() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=6)
    x = p.declare("x", "batch unit")
    y = p.step("y", "batch unit", "=", lambda b, u: x[b, u] - x.inside(b, u - 2))
    return p.done(y), "np.pad(x, ((0, 0), (2, 0)))"


@case
def concatenation() -> tuple[Program, str]:
    p = Building("f", batch=None, both=7, a=3, b=4)
    x, z = p.declare("x", "batch a"), p.declare("z", "batch b")
    y = p.step(
        "y",
        "batch both",
        "=",
        lambda n, k: (
            x.guarded(n, k, guards=where(at_least(k * 0 + 2, k)))
            + z.guarded(n, k - 3, guards=where(at_least(k, 3)))
        ),
    )
    return p.done(y), "y = np.concatenate([x, z], axis=1)"


@case
def concatenation_over_the_batch() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, a=3)
    n, t = p.axes["batch"], p.axes["time"]
    p.axes["both"] = n + t
    x, z = p.declare("x", "batch a"), p.declare("z", "time a")
    y = p.step(
        "y",
        "both a",
        "=",
        lambda k, a: (
            x.guarded(k, a, guards=where(at_least(n - 1, k)))
            + z.guarded(k - n, a, guards=where(at_least(k, n)))
        ),
    )
    return p.done(y), "y = np.concatenate([x, z])"


@case
def stack() -> tuple[Program, str]:
    p = Building("f", batch=None, two=2)
    x, z = p.declare("x", "batch"), p.declare("z", "batch")
    y = p.step(
        "y",
        "batch two",
        "=",
        lambda n, k: (
            x.guarded(n, guards=where(guard(k, "==")))
            + z.guarded(n, guards=where(guard(k - 1, "==")))
        ),
    )
    return p.done(y), "y = np.stack([x, z], axis=1)"


@case
def cumulative_sum() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None)
    x = p.declare("x", "batch time")
    y = p.step(
        "y",
        "batch time",
        "sum time",
        lambda b, i, r: x[b, r],
        guards=lambda b, i, r: where(guard(i - r, ">=")),
    )
    z = p.step(
        "z",
        "batch time",
        "sum time",
        lambda b, i, r: x[b, r] * x[b, r],
        guards=lambda b, i, r: where(guard(r - i, ">=")),
    )
    return p.done(y, z), "y = np.cumsum(x, axis=1)"


# --- gathers and scatters ------------------------------------------------------------------------


@case
def embedding() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, vocab=7, d=3)
    ids = p.declare("ids", "batch time", dtype="int64", classes=7)
    table = p.declare("table", "vocab d", "parameter")
    y = p.step("y", "batch time d", "=", lambda b, t, d: table[gather(ids.source(), (b, t)), d])
    return p.done(y), "y = table[ids]"


@case
def embedding_gradient() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, vocab=7, d=3)
    ids = p.declare("ids", "batch time", dtype="int64", classes=7)
    g = p.declare("g", "batch time d")
    y = p.step(
        "y",
        "batch time d",
        "sum",
        lambda b, t, d: g[b, t, d],
        index=lambda b, t, d: (gather(ids.source(), (b, t)), d),
        target_axes="vocab d",
    )
    return p.done(y), "np.add.at(y, ids, g)"


@case
def chosen_and_one_hot() -> tuple[Program, str]:
    p = Building("f", batch=None, digit=10)
    labels = p.declare("labels", "batch", dtype="int64", classes=10)
    x = p.declare("x", "batch digit")
    y = p.step("y", "batch", "=", lambda b: x[b, gather(labels.source(), (b,))])
    z = p.step(
        "z",
        "batch digit",
        "=",
        lambda b, d: x[b, d] - select(S(unwrapped(d - gather(labels.source(), (b,)))).eq(0), 1, 0),
    )
    e = p.step(
        "e",
        "batch digit",
        "=",
        lambda b, d: x[b, d],
        guards=lambda b, d: where(guard(d - gather(labels.source(), (b,)), "==")),
    )
    return p.done(y, z, e), "z = x - (np.arange(10) == labels[:, None])"


def unwrapped(ix: Any) -> Any:
    from codegen.program import IndexValue

    return IndexValue(ix)


@case
def arg_max() -> tuple[Program, str]:
    p = Building("f", batch=None, digit=10)
    x = p.declare("x", "batch digit")
    top = p.step("top", "batch", "max digit", lambda b, d: x[b, d])
    y = p.step(
        "y",
        "batch",
        "min digit",
        lambda b, d: select(x[b, d] < top[b], p.axes["digit"] - 1, d),
        dtype="int64",
    )
    return p.done(y), "y = x.argmax(axis=1)"


@case
def filled_slice() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=3, wide=8)
    x = p.declare("x", "batch unit")
    y = p.step(
        "y",
        "batch unit",
        "=",
        lambda b, u: x[b, u],
        index=lambda b, u: (b, u * 2 + 1),
        target_axes="batch wide",
    )
    return p.done(y), "y[:, 1:6:2] = x"


# --- guards, branches, dtypes --------------------------------------------------------------------


@case
def causal_softmax() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None)
    x = p.declare("x", "batch time time")
    ok = {"guards": lambda b, i, j: where(guard(i - j, ">="))}
    top = p.step("top", "batch time", "max time", lambda b, i, j: x[b, i, j], **ok)
    e = p.step(
        "e", "batch time time", "=", lambda b, i, j: call("exp", x[b, i, j] - top[b, i]), **ok
    )
    s = p.step("s", "batch time", "sum time", lambda b, i, j: e[b, i, j])
    y = p.step("y", "batch time time", "=", lambda b, i, j: e[b, i, j] / s[b, i])
    return p.done(y), "np.arange(time)[:, None] >= np.arange(time)"


@case
def branch_not_taken() -> tuple[Program, str]:
    p = Building("f", batch=None)
    x = p.declare("x", "batch")
    y = p.step("y", "batch", "=", lambda b: select(x[b] > 0, call("log", x[b]), 0))
    z = p.step("z", "batch", "=", lambda b: select(x[b] > 10, 1 / (x[b] - x[b]), x[b]))
    return p.done(y, z), '@np.errstate(divide="ignore", invalid="ignore")'


@case
def indices_as_numbers() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=4)
    x = p.declare("x", "batch unit")
    n = p.declare("n", "batch", dtype="int32")
    flag = p.declare("flag", "unit", dtype="bool")
    y = p.step(
        "y",
        "batch unit",
        "=",
        lambda b, u: (
            x[b, u] * S(Cast("float32", unwrapped(u)))
            + S(Cast("float32", n[b].scalar)) * S(Cast("float32", flag[u].scalar)) / 3
        ),
    )
    k = p.step(
        "k",
        "batch",
        "sum unit",
        lambda b, u: S(Cast("int64", flag[u].scalar)) + n[b],
        dtype="int64",
    )
    m = p.step("m", "", "max batch", lambda b: n[b], dtype="int32")
    return p.done(y, k, m), "np.arange(4, dtype=np.float32)"


@case
def functions() -> tuple[Program, str]:
    p = Building("f", batch=None)
    x = p.declare("x", "batch")
    y = p.step(
        "y",
        "batch",
        "=",
        lambda b: (
            call("sigmoid", x[b])
            + call("erf", x[b])
            + call("softplus", x[b]) * call("strong_mul", x[b], x[b] ** 3)
        ),
    )
    return p.done(y), "def sigmoid(x):"


@case
def constants_and_fills() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=3)
    x = p.declare("x", "batch unit")
    c = p.declare("c", "unit", "constant", data=(0.1, -1.5, 1e-20))
    one = p.step("one", "batch unit", "=", lambda b, u: 1)
    wide = p.step("wide", "batch unit", "=", lambda b, u: c[u])
    half = p.step("half", "", "=", lambda: 0.5)
    root = p.step("root", "batch unit", "=", lambda b, u: x[b, u] * call("sqrt", 3) + c[u])
    return p.done(one, wide, half, root), "c = np.array([0.1, -1.5, 1e-20], np.float32)"


@case
def batch_sums_and_means() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=3)
    x = p.declare("x", "batch unit")
    n = p.axes["batch"]
    mean = p.step("mean", "unit", "sum batch", lambda u, b: x[b, u] / n)
    var = p.step("var", "unit", "sum batch", lambda u, b: (x[b, u] - mean[u]) ** 2)
    many = p.step("many", "unit", "sum batch", lambda u, b: mean[u])
    return p.done(mean, var, many), "var = np.square(x - mean).sum(axis=0)"


# --- in place, blocks, scans ---------------------------------------------------------------------


@case
def updates() -> tuple[Program, str]:
    p = Building("f", unit=3, pixel=4)
    w = p.declare("w", "unit pixel", "parameter")
    g = p.declare("g", "unit pixel")
    m = p.declare("m", "unit pixel", "state")
    rate = p.declare("rate", "", "scalar")
    old = p.step("old", "pixel unit", "=", lambda k, u: w[u, k])
    new = p.step("new", "unit pixel", "=", lambda u, k: 0.9 * m[u, k] + g[u, k])
    p.step(w, "unit pixel", "=", lambda u, k: w[u, k] - rate.value() * new[u, k])
    p.step(m, "unit pixel", "=", lambda u, k: new[u, k])
    return p.done(old, w), "w -= rate * m"


@case
def repeated_block() -> tuple[Program, str]:
    inner = Building("layer", "A layer.", batch=None, unit=3)
    x, w = inner.declare("x", "batch unit"), inner.declare("w", "unit unit")
    z = inner.step("z", "batch unit", "sum unit", lambda b, u, k: x[b, k] * w[u, k])
    y = inner.step("y", "batch unit", "=", lambda b, u: call("tanh", z[b, u]))
    body = inner.done(y)
    p = Building("f", batch=None, unit=3)
    a, v, u = (
        p.declare("a", "batch unit"),
        p.declare("v", "unit unit"),
        p.declare("layer", "unit unit"),
    )
    for target in ("h", "k"):
        p.declare(target, "batch unit", "scratch")
    p.steps += [Block(("h",), ("a", "v"), body), Block(("k",), ("h", "layer"), body)]
    del a, v, u
    return p.done("k"), "k = layer(h, layer_2)"


@case
def block_that_needs_a_size() -> tuple[Program, str]:
    inner = Building("mean", batch=None, unit=3)
    x = inner.declare("x", "unit")
    y = inner.step("y", "unit", "=", lambda u: x[u] / inner.axes["batch"])
    body = inner.done(y)
    p = Building("f", batch=None, unit=3)
    a = p.declare("a", "batch unit")
    p.step("s", "unit", "sum batch", lambda u, b: a[b, u])
    p.declare("m", "unit", "scratch")
    p.steps.append(Block(("m",), ("s",), body))
    return p.done("m"), "m = mean(s, batch)"


@case
def recurrence() -> tuple[Program, str]:
    inner = Building("turn", batch=None, unit=3)
    h, x = inner.declare("h", "batch unit"), inner.declare("x", "batch unit")
    w = inner.declare("w", "unit unit")
    z = inner.step("z", "batch unit", "sum unit", lambda b, u, k: h[b, k] * w[u, k])
    y = inner.step("y", "batch unit", "=", lambda b, u: call("tanh", z[b, u] + x[b, u]))
    body = inner.done(y, y)
    p = Building("f", time=None, batch=None, unit=3)
    p.declare("h0", "batch unit")
    p.declare("xs", "time batch unit")
    p.declare("w", "unit unit")
    p.declare("last", "batch unit", "scratch")
    p.declare("hs", "time batch unit", "scratch")
    scan = Scan(("last", "hs"), p.axes["time"], False, ("h0",), ("xs",), ("w",), body)
    p.steps.append(scan)
    return p.done("last", "hs"), "last, hs[t] = turn(last, xs[t], w)"


@case
def shared_windows_outlive_a_value_that_is_left_out() -> tuple[Program, str]:
    p = Building("f", batch=None, row=7, up=5, r=3)
    x = p.declare("x", "batch row")
    top = p.step("top", "batch up", "max r", lambda n, i, r: x[n, i + r])
    y = p.step(
        "y", "batch up", "min r", lambda n, i, r: select(x[n, i + r] < top[n, i], 2, r),
        dtype="int64",
    )  # fmt: skip
    return p.done(y), "y = x_windows.argmax(axis=2)"


@case
def unit_axes() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=4, one=1)
    x = p.declare("x", "batch unit")
    zero = p.axes["unit"] * 0
    m = p.step("m", "batch one", "sum unit", lambda b, o, u: x[b, u])
    s = p.step("s", "batch one", "=", lambda b, o: m[b, o] / 4)
    y = p.step("y", "batch unit", "=", lambda b, u: x[b, u] - s[b, zero])
    return p.done(y), "y = x - (x.sum(axis=1) / 4)[:, None]"


@case
def pooled_positions() -> tuple[Program, str]:
    p = Building("f", batch=None, row=4, column=6, up=2, left=3, r=2, c=2)
    x = p.declare("x", "batch row column")
    top = p.step(
        "top", "batch up left", "max r c", lambda n, i, j, r, c: x[n, i * 2 + r, j * 2 + c]
    )
    y = p.step("y", "batch up left", "min r c",
               lambda n, i, j, r, c: select(
                   x[n, i * 2 + r, j * 2 + c] < top[n, i, j], 3, r * 2 + c),
               dtype="int64")  # fmt: skip
    return p.done(top, y), ".reshape(batch, 2, 3, 4).argmax(axis=3)"


@case
def guarded_logarithm_in_a_step_before() -> tuple[Program, str]:
    p = Building("f", batch=None)
    x = p.declare("x", "batch")
    log = p.step("log_x", "batch", "=", lambda b: call("log", x[b]), label="log_x")
    y = p.step("y", "batch", "=", lambda b: select(x[b] > 0, log[b], 0))
    z = p.step("z", "batch", "=", lambda b: y[b] + select(x[b] > 1, log[b], 0))
    return p.done(y, z), '@np.errstate(divide="ignore", invalid="ignore")'


@case
def interleaved() -> tuple[Program, str]:
    p = Building("f", batch=None, even=4, odd=3, wide=7)
    x, z = p.declare("x", "batch even"), p.declare("z", "batch odd")
    y = p.step(
        "y", "batch wide", "=",
        lambda b, i: x.guarded(b, floordiv(i, 2), guards=where(guard(mod(i, 2), "==")))
        + z.guarded(b, floordiv(i + 1, 2) - 1, guards=where(guard(mod(i + 1, 2), "=="))),
    )  # fmt: skip
    return p.done(y), "y[:, 1::2] = z"


@case
def laid_together() -> tuple[Program, str]:
    p = Building("f", batch=None, wide=7, small=3)
    x, z, s = p.declare("x", "batch small"), p.declare("z", "wide"), p.declare("s", "")
    y = p.step(
        "y", "batch wide", "=",
        lambda b, i: 2 * x.guarded(b, i - 1, guards=where(at_least(i, 1), at_least(i * 0 + 3, i)))
        + z.guarded(i, guards=where(guard(b, "==")))
        - s.guarded(guards=where(guard(i - 2, "=="))),
    )  # fmt: skip
    return p.done(y), "y[:, 1:4] += 2 * x"


@case
def upsampled() -> tuple[Program, str]:
    p = Building("f", batch=None, row=3, tall=6)
    x = p.declare("x", "batch row")
    y = p.step("y", "batch tall", "=", lambda n, i: x[n, floordiv(i, 2)] * 2)
    return p.done(y), "y = x.repeat(2, axis=1) * 2"


@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_text_is_equal_and_reads_well(make: Case) -> None:
    program, line = make()
    text = compare(program)
    assert line in text, text


@pytest.mark.parametrize(
    "make", [c for c in CASES if c.__name__ != "max_pool_overlapping"], ids=lambda c: c.__name__
)
def test_text_in_float64(make: Case) -> None:
    program, _ = make()
    compare(in_float64(program), seed=1, sizes={"batch": 1, "time": 5})


def in_float64(program: Program) -> Program:
    """The same program with its float32 as float64."""
    from codegen.numpy_prepare import rewritten

    def wide(dtype: Any) -> Any:
        return "float64" if dtype == "float32" else dtype

    def scalar(s: Any) -> Any:
        return replace(s, dtype=wide(s.dtype)) if isinstance(s, Cast) else s

    steps = []
    for s in program.steps:
        if isinstance(s, Block | Scan):
            steps.append(replace(s, body=in_float64(s.body)))
        else:
            steps.append(
                replace(s, body=rewritten(s.body, scalar), accumulator=wide(s.accumulator))
            )
    buffers = tuple(replace(b, dtype=wide(b.dtype)) for b in program.buffers)
    return replace(program, buffers=buffers, steps=tuple(steps))


def test_random_steps_equal_their_definition() -> None:
    from codegen.index import dim

    batch = dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(1200):
            program, arrays, dims = random_step(seed, batch)
            want = run_assign(program, program.steps[0], arrays, dims)  # type: ignore[arg-type]
            text = emit(program)
            got = build(text, "f")(*(arrays[b.name] for b in program.arguments))
            assert got.dtype == np.float64, (seed, text)
            np.testing.assert_allclose(got, want, 1e-11, 1e-11, err_msg=f"{seed}\n{text}")
            assert max(map(len, text.splitlines())) <= 100, (seed, text)


def test_training_step_reads_and_runs() -> None:
    program = mlp_training()
    text = compare(program, sizes={"batch": 5})
    assert "hidden_pre = x @ hidden_weight.T + hidden_bias" in text
    assert "m_hidden_weight[...] = 0.9 * m_hidden_weight + 0.1 * grad_hidden_weight" in text
    assert bind_dims(
        program, {b.name: arguments(program)[b.name].shape for b in program.arguments}
    ) == {"batch": 3}
