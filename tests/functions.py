"""Every public function in the forms it takes, with NumPy's answer: what several tests enumerate.

    row := name, the function it is about, leaves, the expression, the same in NumPy

In: nothing. Out: ``ROWS``. Guarantees: a function of a public module without a row fails a test
(``uncovered``); the NumPy side shares no code with symprop; the data of a row depend on its name
only. Elementwise ops have their own enumeration (test_ops).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy_windows import np_adaptive, np_conv, np_conv_transpose, np_windows

import symprop as prop
from symprop.ops import composite, control, indexing, losses, norms, pools, structural, windows

Values = dict[str, Any]
# leaf := shape of floats | ("labels", shape, classes) | ("bool", shape) | ("positive", shape)
Spec = Any
# Machinery and marks: they compute nothing of their own.
NOT_FUNCTIONS = {
    "LOSSES",
    "STOP",
    "Slide",
    "UPDATE",
    "apply",
    "called",
    "check_equal_shapes",
    "numbers",
    "slide",
}


@dataclass(frozen=True)
class Row:
    """One function in one form."""

    name: str
    leaves: dict[str, Spec]
    call: Callable[[Any], Any]
    numpy: Callable[[Any], Any]
    smooth: bool = True
    differentiable: bool = True

    @property
    def function(self) -> str:
        return self.name.partition(" ")[0]

    def declare(self) -> dict[str, Any]:
        """The leaves as expressions."""
        found: dict[str, Any] = {}
        for name, spec in self.leaves.items():
            kind, shape = _spec(spec)
            if kind == "labels":
                found[name] = prop.labels(name, shape, classes=spec[2])
            elif kind == "bool":
                found[name] = prop.input(name, shape, dtype="bool")
            else:
                found[name] = prop.input(name, shape)
        return found

    def data(self, seed: int = 0) -> Values:
        """Arrays for the leaves."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()) + seed)
        found: Values = {}
        for name, spec in self.leaves.items():
            kind, shape = _spec(spec)
            if kind == "labels":
                found[name] = rng.integers(0, spec[2], size=shape)
            elif kind == "bool":
                found[name] = rng.random(shape) < 0.6
            elif kind == "positive":
                found[name] = rng.uniform(0.5, 2.0, size=shape)
            else:
                found[name] = rng.normal(size=shape)
        return found

    def floats(self) -> list[str]:
        """The leaves that have derivatives."""
        return [n for n, s in self.leaves.items() if _spec(s)[0] in ("", "positive")]


def _spec(spec: Spec) -> tuple[str, tuple[int, ...]]:
    return (spec[0], spec[1]) if spec and isinstance(spec[0], str) else ("", tuple(spec))


class At:
    """Values by attribute: v.x."""

    def __init__(self, values: Values) -> None:
        self.__dict__.update(values)


ROWS: list[Row] = []


def row(name: str, leaves: dict[str, Spec], call: Any, numpy: Any, **facts: Any) -> None:
    ROWS.append(Row(name, leaves, call, numpy, **facts))


def uncovered() -> set[str]:
    """Public functions without a row."""
    modules = (structural, indexing, composite, windows, pools, norms, losses, control)
    public = {n for m in modules for n in m.__all__}
    return public - {r.function for r in ROWS} - NOT_FUNCTIONS


# --- NumPy's side of what NumPy does not have ----------------------------------------------------


def np_softmax(x: Any, axis: int = -1, where: Any = True) -> Any:
    m = np.max(x, axis=axis, keepdims=True, where=where, initial=-np.inf)
    e = np.where(where, np.exp(x - np.where(np.isfinite(m), m, 0)), 0.0)
    s = np.sum(e, axis=axis, keepdims=True)
    return np.divide(e, s, out=np.zeros_like(e), where=s > 0)


def np_logsumexp(x: Any, axis: Any = -1) -> Any:
    return np.log(np.sum(np.exp(x), axis=axis))


def np_norm(x: Any, axes: Any, eps: float = 1e-5) -> Any:
    m = np.mean(x, axis=axes, keepdims=True)
    return (x - m) / np.sqrt(np.var(x, axis=axes, keepdims=True) + eps)


def np_huber(e: Any, delta: float) -> Any:
    near = np.abs(e) <= delta
    return np.mean(np.where(near, 0.5 * e**2, delta * (np.abs(e) - 0.5 * delta)))


def np_cross_entropy(z: Any, t: Any) -> Any:
    return -np.mean(np.sum(t * np.log(np_softmax(z)), axis=-1))


def np_weighted(z: Any, y: Any, w: Any, smoothing: float) -> Any:
    logs = np.log(np_softmax(z))
    own = -(w[y] * logs[np.arange(len(y)), y])
    spread = -np.mean(w * logs, axis=-1)
    return np.sum((1 - smoothing) * own + smoothing * spread) / np.sum(w[y])


def np_focal(p: Any, gamma: float, weight: Any = 1.0) -> Any:
    return np.mean(-weight * (1 - p) ** gamma * np.log(p))


def np_hinge(s: Any, y: Any, margin: float) -> Any:
    rows = np.arange(len(y))
    lacking = np.maximum(0, margin - s[rows, y][:, None] + s)
    lacking[rows, y] = 0
    return np.mean(np.sum(lacking, -1)) / s.shape[-1]


def np_unit(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def np_contrastive(d: Any, same: Any, margin: float) -> Any:
    return np.mean(np.where(same == 1, d**2, np.maximum(0, margin - d) ** 2)) / 2


def np_attention(q: Any, k: Any, v: Any, seen: Any = True) -> Any:
    z = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    return np_softmax(z, -1, np.broadcast_to(seen, z.shape)) @ v


# --- structural ----------------------------------------------------------------------------------

X = {"x": (3, 4)}
for axis in (None, 0, -1, (0, 1)):
    for fn in ("sum", "mean", "max", "min", "prod"):
        row(f"{fn} axis={axis}", X, lambda v, f=fn, a=axis: getattr(prop, f)(v.x, a),
            lambda v, f=fn, a=axis: getattr(np, f)(v.x, a),
            smooth=fn not in ("max", "min"))  # fmt: skip
row(
    "sum keepdims",
    X,
    lambda v: prop.sum(v.x, 1, keepdims=True),
    lambda v: v.x.sum(1, keepdims=True),
)
row("max keepdims", X, lambda v: prop.max(v.x, 0, keepdims=True),
    lambda v: v.x.max(0, keepdims=True),
    smooth=False)  # fmt: skip
row("sum bools", {"m": ("bool", (5,))}, lambda v: prop.sum(v.m), lambda v: v.m.sum(),
    differentiable=False)  # fmt: skip
for axis in (None, 0, 1):
    for fn in ("argmax", "argmin"):
        row(f"{fn} axis={axis}", X, lambda v, f=fn, a=axis: getattr(prop, f)(v.x, a),
            lambda v, f=fn, a=axis: getattr(np, f)(v.x, a), differentiable=False)  # fmt: skip
row("broadcast_to 3", {"x": (1, 4)}, lambda v: prop.broadcast_to(v.x, (2, 3, 4)),
    lambda v: np.broadcast_to(v.x, (2, 3, 4)))  # fmt: skip
for axis in (0, 1):
    row(f"cumsum {axis}", X, lambda v, a=axis: prop.cumsum(v.x, a), lambda v, a=axis: v.x.cumsum(a))
    row(
        f"cumprod {axis}",
        X,
        lambda v, a=axis: prop.cumprod(v.x, a),
        lambda v, a=axis: v.x.cumprod(a),
    )
row(
    "prod keepdims",
    X,
    lambda v: prop.prod(v.x, 0, keepdims=True),
    lambda v: v.x.prod(0, keepdims=True),
)
row("matmul 2x2", {"a": (3, 4), "b": (4, 2)}, lambda v: v.a @ v.b, lambda v: v.a @ v.b)
row("matmul batched", {"a": (2, 3, 4), "b": (4, 2)}, lambda v: v.a @ v.b, lambda v: v.a @ v.b)
row(
    "matmul broadcast",
    {"a": (2, 1, 3, 4), "b": (3, 4, 2)},
    lambda v: v.a @ v.b,
    lambda v: v.a @ v.b,
)
row("matmul vectors", {"a": (4,), "b": (4,)}, lambda v: v.a @ v.b, lambda v: v.a @ v.b)
row("matmul vector matrix", {"a": (4,), "b": (4, 3)}, lambda v: v.a @ v.b, lambda v: v.a @ v.b)
row("matmul matrix vector", {"a": (3, 4), "b": (4,)}, lambda v: v.a @ v.b, lambda v: v.a @ v.b)
for text, spec in {
    "ij,jk->ik": {"a": (2, 3), "b": (3, 4)}, "ij,ij->": {"a": (2, 3), "b": (2, 3)},
    "ii->i": {"a": (3, 3)}, "ij->ji": {"a": (2, 3)},
    "bij,bjk,k->bi": {"a": (2, 2, 3), "b": (2, 3, 4),
    "c": (4,)}, "i,j": {"a": (2,), "b": (3,)},
}.items():  # fmt: skip
    row(f"einsum {text}", spec, lambda v, t=text: prop.einsum(t, *vars(v).values()),
        lambda v, t=text: np.einsum(t, *vars(v).values()))  # fmt: skip
row("transpose all", {"x": (2, 3, 4)}, lambda v: v.x.T, lambda v: v.x.T)
row("transpose axes", {"x": (2, 3, 4)}, lambda v: prop.transpose(v.x, (1, 2, 0)),
    lambda v: v.x.transpose(1, 2, 0))  # fmt: skip
for shape in ((4, 3), (2, 6), (12,), (3, 2, 2), (-1, 2), (1, 12, 1)):
    row(
        f"reshape {shape}",
        X,
        lambda v, s=shape: prop.reshape(v.x, s),
        lambda v, s=shape: v.x.reshape(s),
    )
for p in (2, 3, -1, 0.5, -1.5, 0, 1.3):
    row(f"power {p}", {"x": ("positive", (4,))}, lambda v, p=p: v.x**p, lambda v, p=p: v.x**p)
row("power of two", {"x": ("positive", (4,)), "y": (4,)}, lambda v: v.x**v.y, lambda v: v.x**v.y)
row("power base", {"y": (4,)}, lambda v: 2.0**v.y, lambda v: 2.0**v.y)
row("where bool", {"c": ("bool", (3, 4)), "a": (3, 4), "b": (4,)},
    lambda v: prop.where(v.c, v.a, v.b),
    lambda v: np.where(v.c, v.a, v.b))  # fmt: skip
row("where compared", {"a": (5,), "b": (5,)},
    lambda v: prop.where(v.a < v.b, v.a * v.b, prop.exp(v.a)),
    lambda v: np.where(v.a < v.b, v.a * v.b, np.exp(v.a)))  # fmt: skip

# --- indexing ------------------------------------------------------------------------------------

XYZ = {"x": (3, 4, 5)}
for key in (
    (1,), (-1, ..., 2), (slice(1, None),), (slice(None), slice(None, None, 2)), (None, slice(0, 2)),
    (slice(None, None, -1), 0), (..., slice(3, 0, -2)), (np.array([2, 0, 2]),), ([0, 1], [2, 3]),
    (slice(None), np.array([[0, 3], [1, 1]])), (0, slice(None), [4, 0]), (0, [1, 2]),
    (slice(None), 1, [0, 2]),
    ([0, 1], None, [2, 3]),
):  # fmt: skip
    row(f"getitem {key}", XYZ, lambda v, k=key: v.x[k], lambda v, k=key: v.x[k])
row("getitem labels", {"x": (3, 4), "i": ("labels", (3,), 4)}, lambda v: v.x[prop.index(3), v.i],
    lambda v: v.x[np.arange(3), v.i])  # fmt: skip
row("take axis", {"x": (3, 4), "i": ("labels", (2, 2), 4)}, lambda v: prop.take(v.x, v.i, 1),
    lambda v: np.take(v.x, v.i, 1))  # fmt: skip
row("embedding ids", {"t": (5, 3), "i": ("labels", (2, 4), 5)}, lambda v: prop.embedding(v.t, v.i),
    lambda v: v.t[v.i])  # fmt: skip
for axis in (None, 0, (0, 2)):
    row(f"flip {axis}", XYZ, lambda v, a=axis: prop.flip(v.x, a), lambda v, a=axis: np.flip(v.x, a))
AB = {"a": (2, 3), "b": (2, 3)}
for axis in (0, 1, -1):
    row(f"concat {axis}", AB, lambda v, a=axis: prop.concat([v.a, v.b, v.a], a),
        lambda v, a=axis: np.concatenate([v.a, v.b, v.a], a))  # fmt: skip
    row(f"stack {axis}", AB, lambda v, a=axis: prop.stack([v.a, v.b], a),
        lambda v, a=axis: np.stack([v.a, v.b], a))  # fmt: skip
row("concat uneven", {"a": (1, 3), "b": (4, 3)}, lambda v: prop.concat([v.a, v.b]),
    lambda v: np.concatenate([v.a, v.b]))  # fmt: skip
for width, fill in ((1, 0.0), (((0, 2), (1, 0)), 0.0), ((1, 2), 2.5), (1, -np.inf)):
    row(f"pad {width} {fill}", X, lambda v, w=width, f=fill: prop.pad(v.x, w, f),
        lambda v, w=width, f=fill: np.pad(v.x, w, constant_values=f))  # fmt: skip

# --- composite -----------------------------------------------------------------------------------

for axis in (-1, 0):
    row(
        f"softmax {axis}",
        X,
        lambda v, a=axis: prop.softmax(v.x, a),
        lambda v, a=axis: np_softmax(v.x, a),
    )
    row(f"log_softmax {axis}", X, lambda v, a=axis: prop.log_softmax(v.x, a),
        lambda v, a=axis: np.log(np_softmax(v.x, a)))  # fmt: skip
for axis in (-1, (0, 1)):
    row(f"logsumexp {axis}", X, lambda v, a=axis: prop.logsumexp(v.x, a),
        lambda v, a=axis: np_logsumexp(v.x, a))  # fmt: skip


def np_var(x: Any, m: Any) -> Any:
    """Over axis 0; 0 where nothing is left."""
    n = np.maximum(m.sum(0), 1)
    return (np.where(m, x - np.where(m, x, 0).sum(0) / n, 0) ** 2).sum(0) / n


XM = {"x": (4, 3), "m": ("bool", (4, 3))}
EVEN = {"x": (3, 4)}
for axis in (None, 1, (0, 1)):
    row(f"norm {axis}", X, lambda v, a=axis: prop.norm(v.x, a),
        lambda v, a=axis: np.sqrt(np.sum(v.x**2, axis=a)))  # fmt: skip
    for word in ("var", "std"):
        row(f"{word} {axis}", X, lambda v, a=axis, w=word: getattr(prop, w)(v.x, a),
            lambda v, a=axis, w=word: getattr(np, w)(v.x, axis=a))  # fmt: skip
for word in ("var", "std"):
    row(f"{word} unbiased", X, lambda v, w=word: getattr(prop, w)(v.x, -1, 1, keepdims=True),
        lambda v, w=word: getattr(np, w)(v.x, axis=-1, ddof=1, keepdims=True))  # fmt: skip
    row(f"{word} masked", XM, lambda v, w=word: getattr(prop, w)(v.x, 0, where=v.m),
        lambda v, w=word: np_var(v.x, v.m) ** (0.5 if w == "std" else 1))  # fmt: skip
row("normalize rows", {"x": (2, 3)}, lambda v: prop.normalize(v.x),
    lambda v: np_unit(v.x))  # fmt: skip
row("norm masked", XM, lambda v: prop.norm(v.x, 1, keepdims=True, where=v.m),
    lambda v: np.sqrt(np.sum(v.x**2, axis=1, keepdims=True, where=v.m)))  # fmt: skip
row("cosine_similarity", {"a": (3, 4), "b": (4,)}, lambda v: prop.cosine_similarity(v.a, v.b),
    lambda v: v.a @ v.b / np.sqrt(np.sum(v.a**2, 1) * np.sum(v.b**2)))  # fmt: skip
row("glu", EVEN, lambda v: prop.glu(v.x), lambda v: v.x[:, :2] / (1 + np.exp(-v.x[:, 2:])))
row("swiglu", {"x": (4, 3)}, lambda v: prop.swiglu(v.x, 0),
    lambda v: v.x[:2] / (1 + np.exp(-v.x[:2])) * v.x[2:])  # fmt: skip
row("logcumsumexp", X, lambda v: prop.logcumsumexp(v.x, 1),
    lambda v: np.log(np.cumsum(np.exp(v.x), axis=1)))  # fmt: skip
row("softmax masked", {"x": (4, 3), "m": ("bool", (4, 3))}, lambda v: prop.softmax(v.x, where=v.m),
    lambda v: np_softmax(v.x, -1, v.m))  # fmt: skip
WB = {"x": (3, 4), "w": (4,), "b": (4,)}
row("layer_norm plain", X, lambda v: prop.layer_norm(v.x), lambda v: np_norm(v.x, -1))
row("layer_norm affine", WB, lambda v: prop.layer_norm(v.x, v.w, v.b),
    lambda v: np_norm(v.x, -1) * v.w + v.b)  # fmt: skip
row("layer_norm axes", XYZ, lambda v: prop.layer_norm(v.x, axis=(1, 2), eps=0.1),
    lambda v: np_norm(v.x, (1, 2), 0.1))  # fmt: skip
row("rms_norm weight", {"x": (3, 4), "w": (4,)}, lambda v: prop.rms_norm(v.x, v.w),
    lambda v: v.x / np.sqrt(np.mean(v.x**2, -1, keepdims=True) + 1e-5) * v.w)  # fmt: skip
row("batch_norm rows", WB, lambda v: prop.batch_norm(v.x, v.w, v.b),
    lambda v: np_norm(v.x, 0) * v.w + v.b)  # fmt: skip
row("batch_norm images", {"x": (2, 3, 2, 2), "w": (3,), "b": (3,)},
    lambda v: prop.batch_norm(v.x, v.w, v.b, axes=(0, 2, 3)),
    lambda v: np_norm(v.x, (0, 2, 3)) * v.w[:, None, None] + v.b[:, None, None])  # fmt: skip
QKV = {"q": (2, 3, 4), "k": (2, 3, 4), "v": (2, 3, 4)}
row(
    "attention plain",
    QKV,
    lambda v: prop.attention(v.q, v.k, v.v),
    lambda v: np_attention(v.q, v.k, v.v),
)
row("attention causal", QKV, lambda v: prop.attention(v.q, v.k, v.v, causal=True),
    lambda v: np_attention(v.q, v.k, v.v, np.tri(3, dtype=bool)))  # fmt: skip
row("attention mask", QKV | {"m": ("bool", (3, 3))},
    lambda v: prop.attention(v.q, v.k, v.v, mask=v.m),
    lambda v: np_attention(v.q, v.k, v.v, v.m))  # fmt: skip
IMAGE = {"x": (1, 2, 5, 4), "w": (2, 2, 3, 2)}
for s, p, d in ((1, 0, 1), (2, 1, 1), (1, 1, 2), (3, 2, 1)):
    row(f"conv2d {s} {p} {d}", IMAGE,
        lambda v, s=s, p=p, d=d: prop.conv2d(v.x, v.w, stride=s, padding=p, dilation=d),
        lambda v, s=s, p=p, d=d: np_conv(v.x, v.w, s, p, d))  # fmt: skip
row("conv2d groups", {"x": (1, 4, 3, 3), "w": (2, 2, 2, 2), "b": (2,)},
    lambda v: prop.conv2d(v.x, v.w, v.b, groups=2),
    lambda v: np_conv(v.x, v.w, g=2) + v.b[:, None, None])  # fmt: skip

for rank, image, kernel in ((1, (2, 2, 6), (3, 2, 3)), (3, (1, 2, 3, 4, 3), (2, 2, 2, 2, 2))):
    row(f"conv{rank}d strided", {"x": image, "w": kernel},
        lambda v, r=rank: getattr(prop, f"conv{r}d")(v.x, v.w, stride=2, padding=1),
        lambda v: np_conv(v.x, v.w, 2, 1))  # fmt: skip
for rank in (1, 2, 3):
    spec = {"x": (2, 2, *(3, 2, 2)[:rank]), "w": (2, 3, *(2,) * rank)}
    row(f"conv_transpose{rank}d strided", spec,
        lambda v, r=rank: getattr(prop, f"conv_transpose{r}d")(v.x, v.w, stride=2, padding=1),
        lambda v: np_conv_transpose(v.x, v.w, 2, 1))  # fmt: skip
for rank in (1, 2, 3):
    for k, s, p in ((2, 2, 0), (3, 2, 1), (2, 1, 0)):
        spec = {"x": (1, 2, *(5, 4, 3)[:rank])}
        row(f"max_pool{rank}d {k} {s} {p}", spec,
            lambda v, r=rank, k=k, s=s, p=p: getattr(prop, f"max_pool{r}d")(v.x, k, s, p),
            lambda v, k=k, s=s, p=p: np_windows(v.x, k, s, p, -np.inf).max(-1),
            smooth=False)  # fmt: skip
        row(f"avg_pool{rank}d {k} {s} {p}", spec,
            lambda v, r=rank, k=k, s=s, p=p: getattr(prop, f"avg_pool{r}d")(v.x, k, s, p),
            lambda v, k=k, s=s, p=p: np_windows(v.x, k, s, p, 0.0).mean(-1))  # fmt: skip
for size in (2, 3, 5):
    row(f"adaptive_avg_pool {size}", {"x": (1, 2, 5, 4)},
        lambda v, n=size: prop.adaptive_avg_pool(v.x, n),
        lambda v, n=size: np_adaptive(v.x, n, np.mean))  # fmt: skip
    row(f"adaptive_max_pool {size}", {"x": (1, 2, 5, 4)},
        lambda v, n=size: prop.adaptive_max_pool(v.x, n),
        lambda v, n=size: np_adaptive(v.x, n, np.max), smooth=False)  # fmt: skip
row("global_avg_pool images", {"x": (2, 3, 2, 2)}, lambda v: prop.global_avg_pool(v.x),
    lambda v: v.x.mean((2, 3)))  # fmt: skip
row("global_max_pool images", {"x": (2, 3, 2, 2)}, lambda v: prop.global_max_pool(v.x),
    lambda v: v.x.max((2, 3)), smooth=False)  # fmt: skip
row("upsample images", {"x": (1, 2, 2, 3)}, lambda v: prop.upsample(v.x, (2, 3)),
    lambda v: v.x.repeat(2, 2).repeat(3, 3))  # fmt: skip

# --- losses --------------------------------------------------------------------------------------

row("cross_entropy rows", {"z": (4, 3), "y": ("labels", (4,), 3)},
    lambda v: prop.cross_entropy(v.z, v.y),
    lambda v: -np.mean(np.log(np_softmax(v.z))[np.arange(4), v.y]))  # fmt: skip
row("cross_entropy 3d", {"z": (2, 3, 4), "y": ("labels", (2, 3), 4)},
    lambda v: prop.cross_entropy(v.z, v.y),
    lambda v: -np.log(np.take_along_axis(np_softmax(v.z), v.y[..., None], -1)).mean())  # fmt: skip
row("mse rows", AB, lambda v: prop.mse(v.a, v.b), lambda v: np.mean((v.a - v.b) ** 2))
row("cross_entropy probabilities", {"z": (4, 3), "t": ("positive", (4, 3))},
    lambda v: prop.cross_entropy(v.z, v.t),
    lambda v: -np.mean(np.sum(v.t * np.log(np_softmax(v.z)), axis=-1)))  # fmt: skip
row("mae rows", AB, lambda v: prop.mae(v.a, v.b), lambda v: np.mean(np.abs(v.a - v.b)),
    smooth=False)  # fmt: skip
for delta in (1.0, 0.3):
    row(f"huber {delta}", AB, lambda v, d=delta: prop.huber(v.a, v.b, d),
        lambda v, d=delta: np_huber(v.a - v.b, d))  # fmt: skip
row("binary_cross_entropy floats", AB, lambda v: prop.binary_cross_entropy(v.a, v.b),
    lambda v: np.mean(np.log(1 + np.exp(v.a)) - v.a * v.b))  # fmt: skip
row("binary_cross_entropy labels", {"z": (5,), "y": ("labels", (5,), 2)},
    lambda v: prop.binary_cross_entropy(v.z, v.y),
    lambda v: np.mean(np.log(1 + np.exp(np.where(v.y == 1, -v.z, v.z)))))  # fmt: skip

SPREAD = {"z": (4, 3), "y": ("labels", (4,), 3)}
row("cross_entropy smoothed", SPREAD, lambda v: prop.cross_entropy(v.z, v.y, label_smoothing=0.2),
    lambda v: np_cross_entropy(v.z, 0.8 * np.eye(3)[v.y] + 0.2 / 3))  # fmt: skip
row("cross_entropy weights", SPREAD,
    lambda v: prop.cross_entropy(v.z, v.y, class_weights=[0.5, 2, 1]),
    lambda v: np_weighted(v.z, v.y, np.array([0.5, 2, 1]), 0.0))  # fmt: skip
row("cross_entropy both", SPREAD,
    lambda v: prop.cross_entropy(v.z, v.y, 0.1, class_weights=[0.5, 2, 1]),
    lambda v: np_weighted(v.z, v.y, np.array([0.5, 2, 1]), 0.1))  # fmt: skip
row("cross_entropy probabilities both", {"z": (4, 3), "t": ("positive", (4, 3))},
    lambda v: prop.cross_entropy(v.z, v.t, 0.1, [0.5, 2, 1]),
    lambda v: np_cross_entropy(v.z, (0.9 * v.t + 0.1 / 3) * [0.5, 2, 1]))  # fmt: skip
for gamma in (0, 1, 2, 3.5):
    row(f"focal_loss labels {gamma}", SPREAD, lambda v, g=gamma: prop.focal_loss(v.z, v.y, g),
        lambda v, g=gamma: np_focal(np_softmax(v.z)[np.arange(4), v.y], g))  # fmt: skip
row("focal_loss alpha", {"z": (5,), "y": ("labels", (5,), 2)},
    lambda v: prop.focal_loss(v.z, v.y, alpha=0.25),
    lambda v: np_focal(1 / (1 + np.exp(np.where(v.y == 1, -v.z, v.z))), 2,
                       np.where(v.y == 1, 0.25, 0.75)))  # fmt: skip
row("hinge_loss labels", SPREAD, lambda v: prop.hinge_loss(v.z, v.y, 0.7),
    lambda v: np_hinge(v.z, v.y, 0.7), smooth=False)  # fmt: skip
row("hinge_loss signs", {"z": (5,), "y": ("labels", (5,), 2)},
    lambda v: prop.hinge_loss(v.z, v.y),
    lambda v: np.mean(np.maximum(0, 1 - (2 * v.y - 1) * v.z)), smooth=False)  # fmt: skip
row("kl_divergence rows", {"z": (4, 3), "t": ("positive", (4, 3))},
    lambda v: prop.kl_divergence(v.z, v.t),
    lambda v: np.mean(np.sum(v.t * (np.log(v.t) - np.log(np_softmax(v.z))), -1)))  # fmt: skip
row("quantile_loss rows", AB, lambda v: prop.quantile_loss(v.a, v.b, 0.9),
    lambda v: np.mean(np.maximum(0.9 * (v.b - v.a), -0.1 * (v.b - v.a))),
    smooth=False)  # fmt: skip
row("poisson_loss rows", AB, lambda v: prop.poisson_loss(v.a, v.b),
    lambda v: np.mean(np.exp(v.a) - v.a * v.b))  # fmt: skip
row("cosine_loss rows", AB, lambda v: prop.cosine_loss(v.a, v.b),
    lambda v: np.mean(1 - np.sum(np_unit(v.a) * np_unit(v.b), -1)))  # fmt: skip
row("contrastive_loss rows", {"a": (4, 3), "b": (4, 3), "y": ("labels", (4,), 2)},
    lambda v: prop.contrastive_loss(v.a, v.b, v.y, 5.0),
    lambda v: np_contrastive(np.linalg.norm(v.a - v.b, axis=-1), v.y, 5.0))  # fmt: skip
row("info_nce rows", {"a": (4, 3), "b": (4, 3)}, lambda v: prop.info_nce(v.a, v.b, 0.5),
    lambda v: np_cross_entropy(np_unit(v.a) @ np_unit(v.b).T / 0.5, np.eye(4)))  # fmt: skip
row("normal_kl rows", AB, lambda v: prop.normal_kl(v.a, v.b),
    lambda v: np.mean(np.sum(v.a**2 + np.exp(v.b) - 1 - v.b, -1)) / 2)  # fmt: skip

# --- control -------------------------------------------------------------------------------------


def np_recurrence(h: Any, xs: Any, w: Any, back: bool) -> Any:
    ys = np.zeros_like(xs)
    for k in range(len(xs))[:: -1 if back else 1]:
        h = np.tanh(w @ h + xs[k])
        ys[k] = h * 2
    return np.concatenate([h[None], ys])


def recurrence(v: Any, back: bool) -> Any:
    def step(h: Any, x: Any) -> Any:
        new = prop.tanh(v.w @ h + x)
        return new, new * 2.0

    h, ys = prop.scan(step, v.h, v.x, reverse=back)
    return prop.concat([h[None], ys])


RECURRENCE = {"x": (3, 2), "h": (2,), "w": (2, 2)}
for back in (False, True):
    row(f"scan reverse={back}", RECURRENCE, lambda v, b=back: recurrence(v, b),
        lambda v, b=back: np_recurrence(v.h, v.x, v.w, b))  # fmt: skip
row("scan length", {"h": (2,)}, lambda v: prop.scan(lambda c, x: (c * c, c), v.h, length=3)[0],
    lambda v: v.h**8)  # fmt: skip
row("region two", AB, lambda v: prop.region("r")(lambda a, b: a * prop.exp(b))(
    prop.region("r")(lambda a, b: a * prop.exp(b))(v.a, v.b), v.b),
    lambda v: v.a * np.exp(2 * v.b))  # fmt: skip
row("stop_gradient value", X, lambda v: prop.stop_gradient(v.x) * 1.0, lambda v: v.x,
    differentiable=False)  # fmt: skip
row("update value", X, lambda v: prop.update(v.x * 2.0, prop.state("s", 4), prop.sum(v.x, 0)),
    lambda v: v.x * 2)  # fmt: skip
