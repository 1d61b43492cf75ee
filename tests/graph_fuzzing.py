"""Random graphs of arrays, their data, and a text of each that can be run.

In: a source of choices (a seed, or hypothesis, which shrinks what fails). Out: a ``Graph``: leaves,
a value made of them, the Python lines that make it, arrays for the leaves.

Guarantees: a choice sequence gives one graph and its arrays. Sizes are 1, 2, 3 and a free one that
may be 0 to 3; ranks 0 to 3; arrays stand in memory as they came, reversed, with gaps or transposed.
What is right is judged by ``graph_judge``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from checking import shape_of
from fuzzing import BEYOND, BINARY, SPECIAL, UNARY, Choose

import symprop as prop

__all__ = ["Graph", "Value", "drawn", "script"]

PARTS = 6  # at most so many values are made of the leaves
LARGEST = 40  # elements of a value
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "@": operator.matmul, ">": operator.gt,
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """An array of the graph, its name in the text, and its shape in numbers."""

    expr: Any
    name: str
    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)


@dataclass
class Graph:
    """A value of leaves; ``inputs`` are those that it is differentiated in."""

    choose: Choose
    label: str
    dtype: str
    size: int = 0  # of the free dimension
    lines: list[str] = field(default_factory=list)
    leaves: list[Value] = field(default_factory=list)
    pool: list[Value] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> list[Value]:
        return [v for v in self.leaves if v.expr.dtype not in ("bool", "int64", "int32")]

    @property
    def root(self) -> Value:
        return self.pool[-1]

    # --- making values ----------------------------------------------------------------------------

    def known(self, expr: Any, text: str, name: str = "") -> Value:
        """A new value with a line of its own."""
        name = name or f"v{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return Value(expr, name, shape_of(expr.node, {self.free: self.size}))

    @property
    def free(self) -> str:
        return f"n{self.label}"

    def call(self, name: str, *args: Any, **more: Any) -> Value:
        """prop.name(...)."""
        expr = getattr(prop, name)(*map(_expr, args), **{k: _expr(v) for k, v in more.items()})
        parts = [*map(_text, args), *(f"{k}={_text(v)}" for k, v in more.items())]
        return self.known(expr, f"prop.{name}({', '.join(parts)})")

    def two(self, a: Any, op: str, b: Any) -> Value:
        """a + b, and the like."""
        return self.known(OPERATORS[op](_expr(a), _expr(b)), f"{_text(a)} {op} {_text(b)}")

    def at(self, a: Value, *key: Any) -> Value:
        """a[key]."""
        return self.known(a.expr[tuple(map(_expr, key))], f"{a.name}[{', '.join(map(_text, key))}]")

    def some(self, of: Sequence[Any]) -> Any:
        return of[self.choose(len(of))]

    def axis(self, a: Value) -> int:
        return self.choose(a.ndim)


def _expr(x: Any) -> Any:
    if isinstance(x, list | tuple):
        return type(x)(map(_expr, x))
    return x.expr if isinstance(x, Value) else x


def _text(x: Any) -> str:
    if isinstance(x, list):
        return f"[{', '.join(map(_text, x))}]"
    if isinstance(x, slice):
        return ":".join("" if k is None else str(k) for k in (x.start, x.stop, x.step))
    return x.name if isinstance(x, Value) else repr(x)


# --- leaves --------------------------------------------------------------------------------------


def drawn(choose: Choose, dtype: str, label: str = "") -> Graph:
    """A random graph; its leaves carry the label, as one program takes many."""
    graph = Graph(choose, label, dtype)
    graph.size = graph.some((2, 3, 1, 0))
    graph.lines.append(f"n = prop.Dim({graph.free!r}, lower=0)")
    dims = [graph.some((2, "n", 3, 1)) for _ in range(graph.some((2, 1, 2, 0, 3)))]
    narrow = [1 if graph.choose(3) == 2 else d for d in dims][graph.choose(2) * (len(dims) > 1) :]
    _leaf(graph, "x", "input", dims)
    _leaf(graph, "y", "input", narrow)
    _leaf(graph, "s", "input", [])
    _leaf(graph, "m", "input", dims, dtype="bool")
    rows = dims[0] if dims and dims[0] != "n" else 2
    _leaf(graph, "k", "labels", [graph.some((2, "n", 1))], classes=rows)
    graph.pool += graph.inputs[::-1]
    for _ in range(1 + choose(PARTS)):
        _part(graph)
    beyond = choose(6) == 5
    for v in graph.leaves:
        graph.data[v.expr.name] = _array(graph, v, beyond)
    return graph


def _leaf(graph: Graph, name: str, how: str, dims: list[Any], **more: Any) -> None:
    free = prop.Dim(graph.free, lower=0)
    sizes = tuple(free if d == "n" else d for d in dims)
    own = name + graph.label
    expr = getattr(prop, how)(own, sizes, **more)
    shown = ", ".join("n" if d == "n" else str(d) for d in dims) + "," * (len(dims) == 1)
    rest = "".join(f", {k}={v!r}" for k, v in more.items())
    graph.leaves.append(graph.known(expr, f"prop.{how}({own!r}, ({shown}){rest})", name))


def _array(graph: Graph, v: Value, beyond: bool) -> Any:
    """Numbers of moderate size with ties, special ones among them, in any order in memory."""
    choose, count = graph.choose, int(np.prod(v.shape))
    if v.name == "k":
        return np.array([choose(_classes(v)) for _ in range(count)], v.expr.dtype).reshape(v.shape)
    if v.expr.dtype == "bool":
        return np.array([choose(3) > 0 for _ in range(count)], bool).reshape(v.shape)
    special = choose(3) == 2
    found = []
    for _ in range(count):
        pick = (
            SPECIAL if special and choose(3) == 2 else BEYOND if beyond and choose(4) == 3 else ()
        )
        found.append(pick[choose(len(pick))] if pick else (choose(401) - 200) / 50)
    plain = np.array(found, graph.dtype).reshape(v.shape)
    return _laid_out(plain, choose(4))


def _laid_out(plain: Any, way: int) -> Any:
    """The same numbers as they are, stored from the last to the first, with gaps, or transposed."""
    if way == 0 or not plain.ndim:
        return plain
    if way == 1:
        return plain[::-1].copy()[::-1]
    if way == 2:
        wide = np.full((*plain.shape[:-1], 2 * plain.shape[-1]), np.nan, plain.dtype)
        wide[..., ::2] = plain
        return wide[..., ::2]
    return plain.T.copy().T


# --- parts ---------------------------------------------------------------------------------------


def _part(graph: Graph) -> None:
    """One more value; what is too large is made smaller."""
    kinds = (_map, _pair, _reduction, _view, _along, _chosen, _joined, _contraction, _block)
    a = graph.some(graph.pool[:-3:-1])
    made = graph.some(kinds)(graph, a)
    if int(np.prod(made.shape)) > LARGEST or made.ndim > 4:
        made = graph.call("sum", made, axis=graph.axis(made))
    graph.pool.append(made)


def _fitting(graph: Graph, a: Value) -> Value:
    """A value that can stand beside a: itself, or one whose sizes broadcast."""

    def fits(b: Value) -> bool:
        pairs = zip(a.expr.node.dims[::-1], b.expr.node.dims[::-1], strict=False)
        return all(p is q or 1 in (p.value, q.value) for p, q in pairs)

    return graph.some([b for b in (*graph.pool[:-4:-1], *graph.pool[2::-1], a) if fits(b)])


def _map(graph: Graph, a: Value) -> Value:
    n = graph.choose(4)
    if n < 2:
        return graph.call(graph.some(("tanh", "exp", "abs", "sqrt", "sin", "log", "relu")), a)
    if n == 2:
        return graph.call(graph.some(UNARY), a)
    return graph.two(a, graph.some("*+-/"), graph.some((2.0, 0.5, -1.0, 3.0)))


def _pair(graph: Graph, a: Value) -> Value:
    b = _fitting(graph, a)
    n = graph.choose(6)
    if n < 4:
        return graph.two(a, "+*-/"[n], b)
    name = graph.some(("maximum", "minimum", "hypot", "logaddexp")) if n == 4 else (
        graph.some(BINARY))  # fmt: skip
    return graph.call(name, a, b)


def _reduction(graph: Graph, a: Value) -> Value:
    names = ("sum", "max", "mean", "min", "prod", "logsumexp", "norm", "std", "var")
    name = graph.some(names)
    axis = None if not a.ndim or graph.choose(4) == 3 else graph.axis(a)
    free = sum(d.value is None for d in a.expr.node.dims)
    if axis is None and free > 1:  # an extremum over several is refused
        axis = 0
    if (
        axis is not None
        and a.ndim > 1
        and free < 2
        and name in ("sum", "max", "mean")
        and graph.choose(4) == 3
    ):
        axis = (axis, (axis + 1) % a.ndim)
    made = graph.call(name, a, axis=axis, keepdims=bool(graph.choose(2)))
    return graph.two(a, graph.some("-*/"), made) if _stands(made, a) and graph.choose(2) else made


def _stands(made: Value, a: Value) -> bool:
    """Whether a reduced value broadcasts against what it was made of."""
    return made.ndim in (0, a.ndim)


def _view(graph: Graph, a: Value) -> Value:
    if not a.ndim:
        return graph.at(a, None)
    k, n = graph.axis(a), graph.choose(10)
    before = (slice(None),) * k
    longer = a.shape[k] > 1 and a.expr.node.dims[k].value is not None
    if n == 0 and a.expr.node.dims[k].value is not None:
        return graph.at(a, *before, slice(None, None, -1))
    if n == 1 and longer:
        return graph.at(a, *before, slice(1, None))
    if n == 2:
        return graph.at(a, *before, slice(None, None, 2))
    if n == 3 and a.expr.node.dims[k].value is not None:
        return graph.at(a, *before, graph.choose(a.shape[k]))
    if n == 4:
        return graph.at(a, *before, None)
    if n == 5 and all(d.value is not None for d in a.expr.node.dims[1:]):
        return graph.call("reshape", a, (-1,))
    if n == 6 and a.ndim == 1:
        return graph.call("broadcast_to", a, (2, *a.expr.node.dims)) if _fixed(a) else (
            graph.call("stack", [a, a], axis=1))  # fmt: skip
    if n == 7:
        width = tuple((graph.choose(2), graph.choose(2)) for _ in a.shape)
        return graph.call("pad", a, width)
    if n == 8:
        return graph.call("flip", a)
    order = list(range(a.ndim))
    order = order[graph.choose(a.ndim) :] + order[: graph.choose(1)]
    rest = [i for i in range(a.ndim) if i not in order]
    return graph.call("transpose", a, (*order, *rest))


def _fixed(a: Value) -> bool:
    return all(d.value is not None for d in a.expr.node.dims)


def _along(graph: Graph, a: Value) -> Value:
    """Of the shape of a, each element made of several."""
    if not a.ndim:
        return graph.call("softplus", a)
    names = ("softmax", "cumsum", "log_softmax", "cumprod", "logcumsumexp", "normalize")
    name = graph.some(names)
    if name == "softmax" and a.expr.node.dims == graph.leaves[3].expr.node.dims:
        return graph.call(name, a, axis=graph.axis(a), where=graph.leaves[3])
    return graph.call(name, a, axis=graph.axis(a))


def _chosen(graph: Graph, a: Value) -> Value:
    """A selection; the branch that is not taken may have no value."""
    b, n = _fitting(graph, a), graph.choose(6)
    if n == 0:
        return graph.call("where", graph.two(a, ">", b), a, graph.two(b, "*", 0.5))
    if n == 1:
        return graph.call("where", graph.two(a, ">", 0.0), graph.call("log", a), 0.0)
    if n == 2:
        return graph.call("where", graph.two(a, ">", 0.5), graph.two(1.0, "/", a), a)
    if n == 3 and a.ndim and a.shape[0] and a.expr.node.dims[0].value is not None:
        places = [graph.choose(a.shape[0]) for _ in range(1 + graph.choose(3))]
        return graph.call("take", a, places, axis=0)
    mask, rows = graph.leaves[3:]
    if n == 4 and a.ndim and a.expr.node.dims[0].value == _classes(rows):
        return graph.at(a, rows)
    if a.expr.node.dims == mask.expr.node.dims:
        return graph.call("where", mask, graph.call("sqrt", a), b if b.shape == a.shape else 0.0)
    return graph.call("clip", a, -1.0, 1.0)


def _classes(rows: Value) -> int:
    """How many rows an array has that is read at these."""
    return int(rows.expr.node.high.value) + 1


def _joined(graph: Graph, a: Value) -> Value:
    if not a.ndim:
        return graph.call("stack", [a, graph.two(a, "*", a)])
    b = a if graph.choose(2) else graph.call("tanh", a)
    if graph.choose(2):
        return graph.call("stack", [a, b], axis=graph.choose(a.ndim + 1))
    return graph.call("concat", [a, b], axis=graph.axis(a))


def _contraction(graph: Graph, a: Value) -> Value:
    b = graph.some(graph.pool[::-1])
    if a.ndim and b.ndim in (1, 2) and a.expr.node.dims[-1] is b.expr.node.dims[max(b.ndim - 2, 0)]:
        return graph.two(a, "@", b)
    if a.ndim == 0:
        return graph.two(a, "*", a)
    if a.ndim == 1:
        return graph.call("einsum", "i,j->ij", a, a)
    if a.ndim == 2:
        text = graph.some(("ij,kj->ik", "ij,ik->jk", "ij,ij->i", "ij->ji"))
        return graph.call("einsum", text, *[a] * (1 + ("," in text)))
    return graph.call("einsum", "aij,akj->aik", a, a) if a.ndim == 3 else (
        graph.call("sum", a, axis=0))  # fmt: skip


def _block(graph: Graph, a: Value) -> Value:
    """A recurrence over the first axis, or a part that is a function of its own."""
    if not a.ndim or graph.choose(2):
        made = prop.region("part")(lambda p: prop.tanh(p) * p)(a.expr)
        return graph.known(made, f'prop.region("part")(lambda p: prop.tanh(p) * p)({a.name})')
    start = graph.call("sum", a, axis=0)
    back = bool(graph.choose(2))

    def step(h: Any, s: Any) -> Any:
        return prop.tanh(h * 0.5 + s), h * s

    made = prop.scan(step, start.expr, a.expr, reverse=back)[1]
    text = (f"prop.scan(lambda h, s: (prop.tanh(h * 0.5 + s), h * s), {start.name}, {a.name}, "
            f"reverse={back})[1]")  # fmt: skip
    return graph.known(made, text)


# --- a text to paste -----------------------------------------------------------------------------


def script(graph: Graph, backend: str) -> str:
    """Python text that shows what a graph gives."""
    names = ", ".join(v.name for v in graph.inputs)
    made = "\n".join(graph.lines)
    arrays = "\n".join(
        f"    {n!r}: np.array({a.tolist()}, {a.dtype.name!r}).reshape({a.shape}),"
        for n, a in graph.data.items()
    )
    return f"""
import numpy as np
from numpy import inf, nan
import symprop as prop

{made}
value, wrt = {graph.root.name}, [{names}]
first = prop.vjp(value, wrt, 1.0)
second = prop.jvp(first, wrt, [1.0] * len(wrt))
run = prop.compile([value, *first, *second], backend={backend!r}, dtype={graph.dtype!r})
data = {{
{arrays}
}}
for found in run({{n: a for n, a in data.items() if n in run.inputs}}):
    print(np.asarray(found).tolist())
"""
