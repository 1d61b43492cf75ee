"""A few lines of sugar to write Programs by hand in tests.

p = Building("f", batch=None, pixel=64)          # axes by name; None: a symbolic dimension
x = p.input("x", "batch pixel")
p.step("h", "batch unit", "sum pixel", lambda b, u, k: x[b, k] * w[u, k], "h = x Wᵀ")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from codegen.index import Guard, Ix, as_ix, constant, dim, guard, loop
from codegen.program import (
    Assign,
    Binary,
    Buffer,
    BufferSource,
    Call,
    Compare,
    Dtype,
    IndexValue,
    Load,
    Number,
    Program,
    Role,
    Scalar,
    Select,
    Unary,
)


@dataclass(frozen=True)
class S:
    """A Scalar with operators."""

    scalar: Scalar

    def __add__(self, other: Any) -> S:
        return S(Binary("+", self.scalar, unwrap(other)))

    def __radd__(self, other: Any) -> S:
        return S(Binary("+", unwrap(other), self.scalar))

    def __sub__(self, other: Any) -> S:
        return S(Binary("-", self.scalar, unwrap(other)))

    def __rsub__(self, other: Any) -> S:
        return S(Binary("-", unwrap(other), self.scalar))

    def __mul__(self, other: Any) -> S:
        return S(Binary("*", self.scalar, unwrap(other)))

    def __rmul__(self, other: Any) -> S:
        return S(Binary("*", unwrap(other), self.scalar))

    def __truediv__(self, other: Any) -> S:
        return S(Binary("/", self.scalar, unwrap(other)))

    def __rtruediv__(self, other: Any) -> S:
        return S(Binary("/", unwrap(other), self.scalar))

    def __pow__(self, n: int) -> S:
        return S(Binary("**", self.scalar, Number(Fraction(n))))

    def __neg__(self) -> S:
        return S(Unary("-", self.scalar))

    def __lt__(self, other: Any) -> S:
        return S(Compare("<", self.scalar, unwrap(other)))

    def __gt__(self, other: Any) -> S:
        return S(Compare(">", self.scalar, unwrap(other)))

    def eq(self, other: Any) -> S:
        return S(Compare("==", self.scalar, unwrap(other)))


def unwrap(x: Any) -> Scalar:
    """A Scalar from an S, a number, or an index expression."""
    if isinstance(x, S):
        return x.scalar
    if isinstance(x, Ix):
        return IndexValue(x)
    if isinstance(x, str):
        return Number(x)  # type: ignore[arg-type]
    if isinstance(x, int | float | Fraction):
        return Number(Fraction(str(x)) if isinstance(x, float) else Fraction(x))
    return x  # type: ignore[no-any-return]


def call(name: str, *args: Any) -> S:
    return S(Call(name, tuple(map(unwrap, args))))


def select(condition: Any, then: Any, other: Any) -> S:
    return S(Select(unwrap(condition), unwrap(then), unwrap(other)))


def where(*guards: Guard | bool) -> tuple[Guard, ...]:
    assert False not in guards
    return tuple(g for g in guards if isinstance(g, Guard))


def at_least(a: Ix, b: Ix | int) -> Guard | bool:
    return guard(a - as_ix(b), ">=")


@dataclass(frozen=True)
class Handle:
    """A buffer that can be indexed to a read."""

    buffer: Buffer

    def __getitem__(self, at: Any) -> S:
        indices = at if isinstance(at, tuple) else (at,)
        return S(Load(self.buffer.name, tuple(as_ix(i) for i in indices)))

    def inside(self, *at: Ix) -> S:
        """A read that is 0 outside of the buffer."""
        guards = [
            g
            for ix, extent in zip(at, self.buffer.dims, strict=True)
            for g in (guard(ix, ">="), guard(extent - 1 - ix, ">="))
        ]
        return S(Load(self.buffer.name, at, where(*guards)))

    def guarded(self, *at: Ix, guards: tuple[Guard, ...]) -> S:
        return S(Load(self.buffer.name, at, guards))

    def value(self) -> S:
        return S(Load(self.buffer.name))

    def source(self) -> BufferSource:
        assert self.buffer.low is not None
        assert self.buffer.high is not None
        return BufferSource(self.buffer.name, self.buffer.low, self.buffer.high)


class Building:
    """A program under construction."""

    def __init__(self, name: str, doc: str = "", dtype: Dtype = "float32", **axes: Any) -> None:
        self.name, self.doc, self.dtype = name, doc, dtype
        self.axes = {k: (dim(k).ix() if v is None else as_ix(v)) for k, v in axes.items()}
        self.dims = tuple(dim(k) for k, v in axes.items() if v is None)
        self.buffers: list[Buffer] = []
        self.steps: list[Any] = []

    def declare(
        self,
        name: str,
        axes: str = "",
        role: Role = "input",
        dtype: Dtype | None = None,
        classes: int | None = None,
        label: str = "",
        data: Any = None,
    ) -> Handle:
        words = axes.split()
        low, high = (None, None) if classes is None else (constant(0), constant(classes - 1))
        dims = tuple(constant(int(w)) if w.isdigit() else self.axes[w] for w in words)
        names = tuple("" if w.isdigit() else w for w in words)
        buffer = Buffer(name, dims, names, dtype or self.dtype, role, label, low, high, data)
        self.buffers.append(buffer)
        return Handle(buffer)

    def step(
        self,
        target: Handle | str,
        axes: str,
        op: str,
        body: Callable[..., Any],
        formula: str = "",
        guards: Callable[..., tuple[Guard, ...]] | None = None,
        index: Callable[..., tuple[Ix, ...]] | None = None,
        target_axes: str | None = None,
        dtype: Dtype | None = None,
        label: str = "",
    ) -> Handle:
        """``op`` is "=" or "sum k l": the reduced loops follow the reduction's name."""
        kind, *reduced = op.split()
        names = [*axes.split(), *reduced]
        extents = [constant(int(w)) if w.isdigit() else self.axes[w] for w in names]
        loops = tuple(loop(n, e) for n, e in enumerate(extents))
        ixs = [v.ix() for v in loops]
        if isinstance(target, str):
            target = self.declare(
                target, axes if target_axes is None else target_axes, "scratch", dtype, label=label
            )
        where_ = index(*ixs) if index else tuple(ixs[: len(axes.split())])
        taken: list[str] = []
        for n, w in enumerate(names):
            taken.append(f"i{n}" if w.isdigit() or w in taken else w)
        self.steps.append(
            Assign(
                target.buffer.name,
                tuple(as_ix(i) for i in where_),
                kind,
                loops,  # type: ignore[arg-type]
                tuple(taken),
                guards(*ixs) if guards else (),
                unwrap(body(*ixs)),
                target.buffer.dtype,
                formula,
            )
        )
        return target

    def done(self, *outputs: Handle | str) -> Program:
        names = tuple(o if isinstance(o, str) else o.buffer.name for o in outputs)
        order = {"input": 0, "scalar": 1, "parameter": 2, "state": 3, "constant": 4, "scratch": 5}
        buffers = tuple(sorted(self.buffers, key=lambda b: order[b.role]))
        return Program(self.name, self.doc, self.dims, buffers, tuple(self.steps), names)


def mlp_training() -> Program:
    """One Adam step of a 64-64-10 ReLU classifier with softmax cross entropy."""
    from codegen.index import gather

    doc = (
        "digits: one step of training.\n\n"
        "    hidden = relu(x · hidden.weightᵀ + hidden.bias)\n"
        "    logits = hidden · logits.weightᵀ + logits.bias\n"
        "    loss   = mean(logsumexp(logits) - logits[y])"
    )
    p = Building("digits_step", doc, batch=None, pixel=64, unit=64, digit=10)
    x = p.declare("x", "batch pixel")
    y = p.declare("y", "batch", dtype="int64", classes=10)
    rate = p.declare("rate", "", "scalar")
    names = {
        "hidden_weight": "unit pixel",
        "hidden_bias": "unit",
        "logits_weight": "digit unit",
        "logits_bias": "digit",
    }
    w = {n: p.declare(n, a, "parameter", label=n.replace("_", ".")) for n, a in names.items()}
    m = {n: p.declare(f"m_{n}", a, "state") for n, a in names.items()}
    v = {n: p.declare(f"v_{n}", a, "state") for n, a in names.items()}
    t = p.declare("adam_steps", "", "state")

    z1 = p.step(
        "hidden_matmul",
        "batch unit",
        "sum pixel",
        lambda b, u, k: x[b, k] * w["hidden_weight"][u, k],
    )
    pre = p.step(
        "hidden_pre",
        "batch unit",
        "=",
        lambda b, u: z1[b, u] + w["hidden_bias"][u],
        "hidden_pre = x · hidden.weightᵀ + hidden.bias",
        label="hidden_pre",
    )
    h = p.step(
        "hidden",
        "batch unit",
        "=",
        lambda b, u: call("maximum", pre[b, u], 0),
        "hidden = relu(hidden_pre)",
        label="hidden",
    )
    z2 = p.step(
        "logits_matmul",
        "batch digit",
        "sum unit",
        lambda b, d, u: h[b, u] * w["logits_weight"][d, u],
    )
    z = p.step(
        "logits",
        "batch digit",
        "=",
        lambda b, d: z2[b, d] + w["logits_bias"][d],
        "logits = hidden · logits.weightᵀ + logits.bias",
        label="logits",
    )
    top = p.step(
        "top", "batch", "max digit", lambda b, d: z[b, d], "top = max over digit of logits"
    )
    e = p.step(
        "weights",
        "batch digit",
        "=",
        lambda b, d: call("exp", z[b, d] - top[b]),
        "weights = exp(logits - top)",
    )
    s = p.step("total", "batch", "sum digit", lambda b, d: e[b, d], "total = sum of weights")
    size = p.axes["batch"]
    loss = p.step(
        "loss_sum",
        "",
        "sum batch",
        lambda b: top[b] + call("log", s[b]) - z[b, gather(y.source(), (b,))],
    )
    loss = p.step(
        "loss",
        "",
        "=",
        lambda: loss.value() / size,
        "loss = mean(top + log(total) - logits[y])",
        label="loss",
    )
    best = p.step(
        "guess",
        "batch",
        "min digit",
        lambda b, d: select(z[b, d] < top[b], p.axes["digit"] - 1, d),
        "guess = argmax over digit of logits",
        dtype="int64",
    )
    right = p.step(
        "hits", "", "sum batch", lambda b: select(best[b].eq(y[b]), 1, 0), dtype="float32"
    )
    accuracy = p.step(
        "accuracy",
        "",
        "=",
        lambda: right.value() / size,
        "accuracy = mean(guess == y)",
        label="accuracy",
    )
    dz = p.step(
        "d_logits",
        "batch digit",
        "=",
        lambda b, d: (
            (e[b, d] / s[b] - select(S(IndexValue(d - gather(y.source(), (b,)))).eq(0), 1, 0))
            / size
        ),
        "∂loss/∂logits = (softmax(logits) - onehot(y)) / batch",
    )
    g = {}
    g["logits_weight"] = p.step(
        "grad_logits_weight",
        "digit unit",
        "sum batch",
        lambda d, u, b: dz[b, d] * h[b, u],
        "∂loss/∂logits.weight = ∂loss/∂logitsᵀ · hidden",
    )
    g["logits_bias"] = p.step(
        "grad_logits_bias",
        "digit",
        "sum batch",
        lambda d, b: dz[b, d],
        "∂loss/∂logits.bias = sum over batch of ∂loss/∂logits",
    )
    dh = p.step(
        "d_hidden",
        "batch unit",
        "sum digit",
        lambda b, u, d: dz[b, d] * w["logits_weight"][d, u],
        "∂loss/∂hidden = ∂loss/∂logits · logits.weight",
    )
    dp = p.step(
        "d_hidden_pre",
        "batch unit",
        "=",
        lambda b, u: select(pre[b, u] > 0, dh[b, u], 0),
        "∂loss/∂hidden_pre = ∂loss/∂hidden where hidden_pre > 0",
    )
    g["hidden_weight"] = p.step(
        "grad_hidden_weight",
        "unit pixel",
        "sum batch",
        lambda u, k, b: dp[b, u] * x[b, k],
        "∂loss/∂hidden.weight = ∂loss/∂hidden_preᵀ · x",
    )
    g["hidden_bias"] = p.step(
        "grad_hidden_bias",
        "unit",
        "sum batch",
        lambda u, b: dp[b, u],
        "∂loss/∂hidden.bias = sum over batch of ∂loss/∂hidden_pre",
    )
    steps = p.step("steps", "", "=", lambda: t.value() + 1, "adam.steps = adam.steps + 1")
    r = p.step(
        "step_size",
        "",
        "=",
        lambda: rate.value() / (1 - call("power", Fraction(9, 10), steps.value())),
        "step_size = rate / (1 - 0.9^t)",
    )
    c = p.step(
        "correction",
        "",
        "=",
        lambda: 1 - call("power", Fraction(999, 1000), steps.value()),
        "correction = 1 - 0.999^t",
    )
    copies = [(t, "", steps)]
    for n, a in names.items():
        new_m = p.step(
            f"new_m_{n}",
            a,
            "=",
            lambda *i, n=n: Fraction(9, 10) * m[n][i] + Fraction(1, 10) * g[n][i],
        )
        new_v = p.step(
            f"new_v_{n}",
            a,
            "=",
            lambda *i, n=n: Fraction(999, 1000) * v[n][i] + Fraction(1, 1000) * g[n][i] ** 2,
        )
        new = p.step(
            f"new_{n}",
            a,
            "=",
            lambda *i, n=n, m=new_m, v=new_v: (
                w[n][i] - r.value() * m[i] / (call("sqrt", v[i] / c.value()) + Fraction(1, 10**8))
            ),
        )
        copies += [(m[n], a, new_m), (v[n], a, new_v), (w[n], a, new)]
    for old, a, new in copies:
        p.step(old, a, "=", lambda *i, new=new: new[i])
    return p.done(loss, accuracy)
