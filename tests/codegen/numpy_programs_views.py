"""Small programs with the line of NumPy text they must have: views, gathers, scatters."""

from __future__ import annotations

from building import Building, S, at_least, select, where
from numpy_checks import Cases, image, unwrapped

from codegen.index import floordiv, gather, guard, mod
from codegen.program import Program

cases = Cases()


# --- views ---------------------------------------------------------------------------------------


@cases
def transpose() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=4)
    x = p.declare("x", "batch unit")
    y = p.step("y", "unit batch", "=", lambda u, b: x[b, u])
    return p.done(y), "y = x.T.copy()"


@cases
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


@cases
def merge_heads() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, head=2, d=3, width=6)
    x = p.declare("x", "batch head time d")
    y = p.step("y", "batch time width", "=", lambda b, t, k: x[b, floordiv(k, 3), t, mod(k, 3)] * 2)
    return p.done(y), "x.swapaxes(1, 2).reshape(batch, time, 6)"


@cases
def slices() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=6, half=3, less=5)
    x = p.declare("x", "batch unit")
    a = p.step("a", "batch half", "=", lambda b, u: x[b, u * 2] + x[b, u * 2 + 1])
    d = p.step("d", "batch less", "=", lambda b, u: x[b, u + 1] - x[b, u])
    r = p.step("r", "batch unit", "=", lambda b, u: -x[b, 5 - u])
    return p.done(a, d, r), "d = x[:, 1:] - x[:, :5]"


@cases
def symbolic_slices() -> tuple[Program, str]:
    p = Building("f", batch=None)
    n = p.axes["batch"]
    p.axes["more"] = n * 2 + 1
    p.axes["odd"] = n
    x = p.declare("x", "more")
    y = p.step("y", "odd", "=", lambda b: x[b * 2 + 1] + x[n * 2 - b] + x[b + n])
    return p.done(y), "batch = (x.shape[0] - 1) // 2"


@cases
def shift() -> tuple[Program, str]:
    p = Building("f", batch=None, unit=6)
    x = p.declare("x", "batch unit")
    y = p.step("y", "batch unit", "=", lambda b, u: x[b, u] - x.inside(b, u - 2))
    return p.done(y), "np.pad(x, ((0, 0), (2, 0)))"


@cases
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


@cases
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


@cases
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


@cases
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


@cases
def embedding() -> tuple[Program, str]:
    p = Building("f", batch=None, time=None, vocab=7, d=3)
    ids = p.declare("ids", "batch time", dtype="int64", classes=7)
    table = p.declare("table", "vocab d", "parameter")
    y = p.step("y", "batch time d", "=", lambda b, t, d: table[gather(ids.source(), (b, t)), d])
    return p.done(y), "y = table[ids]"


@cases
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


@cases
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


@cases
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


@cases
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
