"""Small programs with the line of NumPy text they must have: guards, branches, blocks, scans."""

from __future__ import annotations

from building import Building, S, at_least, call, select, where
from numpy_checks import Cases, unwrapped

from codegen.index import floordiv, guard, mod
from codegen.program import Block, Cast, Program, Scan

cases = Cases()


# --- guards, branches, dtypes --------------------------------------------------------------------


@cases
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


@cases
def branch_not_taken() -> tuple[Program, str]:
    p = Building("f", batch=None)
    x = p.declare("x", "batch")
    y = p.step("y", "batch", "=", lambda b: select(x[b] > 0, call("log", x[b]), 0))
    z = p.step("z", "batch", "=", lambda b: select(x[b] > 10, 1 / (x[b] - x[b]), x[b]))
    return p.done(y, z), '@np.errstate(divide="ignore", invalid="ignore")'


@cases
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


@cases
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


@cases
def constants_and_fills() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=3)
    x = p.declare("x", "batch unit")
    c = p.declare("c", "unit", "constant", data=(0.1, -1.5, 1e-20))
    one = p.step("one", "batch unit", "=", lambda b, u: 1)
    wide = p.step("wide", "batch unit", "=", lambda b, u: c[u])
    half = p.step("half", "", "=", lambda: 0.5)
    root = p.step("root", "batch unit", "=", lambda b, u: x[b, u] * call("sqrt", 3) + c[u])
    return p.done(one, wide, half, root), "c = np.array([0.1, -1.5, 1e-20], np.float32)"


@cases
def batch_sums_and_means() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=3)
    x = p.declare("x", "batch unit")
    n = p.axes["batch"]
    mean = p.step("mean", "unit", "sum batch", lambda u, b: x[b, u] / n)
    var = p.step("var", "unit", "sum batch", lambda u, b: (x[b, u] - mean[u]) ** 2)
    many = p.step("many", "unit", "sum batch", lambda u, b: mean[u])
    return p.done(mean, var, many), "var = np.square(x - mean).sum(axis=0)"


# --- in place, blocks, scans ---------------------------------------------------------------------


@cases
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


@cases
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


@cases
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


@cases
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


@cases
def shared_windows_outlive_a_value_that_is_left_out() -> tuple[Program, str]:
    p = Building("f", batch=None, row=7, up=5, r=3)
    x = p.declare("x", "batch row")
    top = p.step("top", "batch up", "max r", lambda n, i, r: x[n, i + r])
    y = p.step(
        "y", "batch up", "min r", lambda n, i, r: select(x[n, i + r] < top[n, i], 2, r),
        dtype="int64",
    )  # fmt: skip
    return p.done(y), "y = x_windows.argmax(axis=2)"


@cases
def unit_axes() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=4, one=1)
    x = p.declare("x", "batch unit")
    zero = p.axes["unit"] * 0
    m = p.step("m", "batch one", "sum unit", lambda b, o, u: x[b, u])
    s = p.step("s", "batch one", "=", lambda b, o: m[b, o] / 4)
    y = p.step("y", "batch unit", "=", lambda b, u: x[b, u] - s[b, zero])
    return p.done(y), "y = x - (x.sum(axis=1) / 4)[:, None]"


@cases
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


@cases
def guarded_logarithm_in_a_step_before() -> tuple[Program, str]:
    p = Building("f", batch=None)
    x = p.declare("x", "batch")
    log = p.step("log_x", "batch", "=", lambda b: call("log", x[b]), label="log_x")
    y = p.step("y", "batch", "=", lambda b: select(x[b] > 0, log[b], 0))
    z = p.step("z", "batch", "=", lambda b: y[b] + select(x[b] > 1, log[b], 0))
    return p.done(y, z), '@np.errstate(divide="ignore", invalid="ignore")'


@cases
def interleaved() -> tuple[Program, str]:
    p = Building("f", batch=None, even=4, odd=3, wide=7)
    x, z = p.declare("x", "batch even"), p.declare("z", "batch odd")
    y = p.step(
        "y", "batch wide", "=",
        lambda b, i: x.guarded(b, floordiv(i, 2), guards=where(guard(mod(i, 2), "==")))
        + z.guarded(b, floordiv(i + 1, 2) - 1, guards=where(guard(mod(i + 1, 2), "=="))),
    )  # fmt: skip
    return p.done(y), "y[:, 1::2] = z"


@cases
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


@cases
def upsampled() -> tuple[Program, str]:
    p = Building("f", batch=None, row=3, tall=6)
    x = p.declare("x", "batch row")
    y = p.step("y", "batch tall", "=", lambda n, i: x[n, floordiv(i, 2)] * 2)
    return p.done(y), "y = x.repeat(2, axis=1) * 2"
