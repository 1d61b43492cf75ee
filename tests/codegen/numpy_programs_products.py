"""Small programs with the line of NumPy text they must have: products of matrices, windows."""

from __future__ import annotations

from dataclasses import replace

from building import Building, at_least, where
from numpy_checks import Cases, image

from codegen.program import Program

cases = Cases()


# --- products of matrices ------------------------------------------------------------------------


@cases
def dense() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5, unit=4)
    x, w = p.declare("x", "batch pixel"), p.declare("w", "unit pixel", "parameter")
    b = p.declare("b", "unit", "parameter")
    z = p.step("z", "batch unit", "sum pixel", lambda n, u, k: x[n, k] * w[u, k])
    y = p.step("y", "batch unit", "=", lambda n, u: z[n, u] + b[u])
    return p.done(y), "y = x @ w.T + b"


@cases
def weight_gradient() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5, unit=4)
    x, g = p.declare("x", "batch pixel"), p.declare("g", "batch unit")
    y = p.step("y", "unit pixel", "sum batch", lambda u, k, n: x[n, k] * g[n, u])
    return p.done(y), "y = g.T @ x"


@cases
def scaled_product() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5, unit=4)
    x, g = p.declare("x", "batch pixel"), p.declare("g", "batch unit")
    y = p.step("y", "unit pixel", "sum batch", lambda u, k, n: 0.5 * g[n, u] * x[n, k])
    return p.done(y), "y = 0.5 * (g.T @ x)"


@cases
def matrix_vector() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5)
    x, v = p.declare("x", "batch pixel"), p.declare("v", "pixel")
    y = p.step("y", "batch", "sum pixel", lambda n, k: v[k] * x[n, k])
    return p.done(y), "y = x @ v"


@cases
def vector_matrix() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5)
    x, v = p.declare("x", "batch pixel"), p.declare("v", "batch")
    y = p.step("y", "pixel", "sum batch", lambda k, n: v[n] * x[n, k])
    return p.done(y), "y = v @ x"


@cases
def dot() -> tuple[Program, str]:
    p = Building("f", batch=None)
    x, v = p.declare("x", "batch"), p.declare("v", "batch")
    y = p.step("y", "", "sum batch", lambda n: v[n] * x[n])
    return p.done(y), "y = v @ x"


@cases
def row_dots() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5)
    x, v = p.declare("x", "batch pixel"), p.declare("v", "batch pixel")
    y = p.step("y", "batch", "sum pixel", lambda n, k: v[n, k] * x[n, k])
    return p.done(y), "y = (v * x).sum(axis=1)"


@cases
def sequence_dense() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, depth=5, unit=4)
    x, w = p.declare("x", "batch time depth"), p.declare("w", "unit depth")
    y = p.step("y", "batch time unit", "sum depth", lambda b, t, u, d: x[b, t, d] * w[u, d])
    return p.done(y), "y = x @ w.T"


@cases
def sequence_weight_gradient() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, depth=5, unit=4)
    x, g = p.declare("x", "batch time depth"), p.declare("g", "batch time unit")
    y = p.step("y", "unit depth", "sum batch time", lambda u, d, b, t: g[b, t, u] * x[b, t, d])
    return p.done(y), "y = np.tensordot(g, x, axes=((0, 1), (0, 1)))"


@cases
def attention_scores() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, head=2, d=3)
    q, k = p.declare("q", "batch head time d"), p.declare("k", "batch head time d")
    y = p.step(
        "y", "batch head time time", "sum d", lambda b, h, i, j, d: q[b, h, i, d] * k[b, h, j, d]
    )
    return p.done(y), "y = q @ k.mT"


@cases
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


@cases
def per_batch_vectors() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=4, pixel=5)
    x, w = p.declare("x", "batch pixel"), p.declare("w", "batch unit pixel")
    y = p.step("y", "batch unit", "sum pixel", lambda b, u, k: x[b, k] * w[b, u, k])
    return p.done(y), 'np.einsum("bp,bup->bu", x, w)'


@cases
def compound_operands() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5, unit=4)
    x, m, w = p.declare("x", "batch pixel"), p.declare("m", "batch"), p.declare("w", "unit pixel")
    y = p.step("y", "batch unit", "sum pixel", lambda n, u, k: (x[n, k] - m[n]) * w[u, k])
    return p.done(y), "y = (x - m[:, None]) @ w.T"


@cases
def float64_accumulator() -> tuple[Program, str]:
    p = Building("f", batch=None, pixel=5)
    x = p.declare("x", "batch pixel")
    y = p.step("y", "pixel", "sum batch", lambda k, n: x[n, k])
    program = p.done(y)
    step = replace(program.steps[0], accumulator="float64")
    return replace(program, steps=(step,)), "x.sum(axis=0, dtype=np.float64).astype(np.float32)"


# --- convolution and pooling ---------------------------------------------------------------------


@cases
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


@cases
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


@cases
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


@cases
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


@cases
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


@cases
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


@cases
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
