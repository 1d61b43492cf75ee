"""The oracle: a brute-force evaluator of GRAPH, in float64 or in arbitrary precision.

In: nodes and arrays for their leaves (by name or by leaf). Out: an array a node: float64, or
mpmath numbers (object arrays) when ``precision`` digits are asked for.

Guarantees: it means what ``symprop.graph`` says and nothing else; one point at a time, no
vectors, no simplification, no shared code with lowering or the backends; whenever the guards of a
node hold, every read is in range, or it raises. It covers every kind of node (Leaf, Reduce, Scan,
Region, Opaque, Output). It never becomes fast.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath
import numpy as np

from codegen.functions import FUNCTIONS, OF_INTEGERS, python_callable
from codegen.index import Dim, Floor, Gather, Guard, Ix, Loop, Mod
from symprop import term as t
from symprop.errors import DataError, VerificationError, quoted
from symprop.expression import Expr
from symprop.graph import (
    FLOATS,
    IndexOf,
    Leaf,
    Node,
    Opaque,
    Output,
    Reading,
    Reduce,
    Region,
    Scan,
)
from symprop.walk import topological

Array = Any
Point = tuple[int, ...]


def evaluate(
    roots: Sequence[Node | Expr], values: Mapping[Any, Any], precision: int | None = None
) -> list[Array]:
    """The values of the roots.

    Args:
        roots: nodes or expressions.
        values: arrays by leaf, by expression or by name; sizes of free dimensions are read off
            them (or given under the dimension's name).
        precision: decimal digits, or None for float64.
    """
    return run_with(Oracle(context(precision)), roots, values)


def run_with(run: Oracle, roots: Sequence[Node | Expr], values: Mapping[Any, Any]) -> list[Array]:
    """The values of the roots by one evaluator, which has seen nothing yet."""
    nodes = [r.node if isinstance(r, Expr) else r for r in roots]
    given = {(k.node if isinstance(k, Expr) else k): v for k, v in values.items()}
    for name, v in given.items():
        if isinstance(name, str) and np.ndim(v) == 0:
            run.dims.setdefault(name, int(v)) if float(v).is_integer() else None
    for leaf in (n for n in topological(nodes) if isinstance(n, Leaf)):
        run.bind(leaf, _given(leaf, given))
    return [run.value(n) for n in nodes]


def _given(leaf: Leaf, values: Mapping[Any, Any]) -> Any:
    if leaf in values:
        return values[leaf]
    if leaf.kind != "local" and leaf.name in values:
        return values[leaf.name]
    if leaf.kind == "constant":
        return leaf.init
    if leaf.default is not None:
        return leaf.default
    raise DataError(f"the oracle needs a value for {quoted(leaf.name)}")


def context(precision: int | None) -> Any:
    """The arithmetic of so many decimal digits; None is that of Python's floats."""
    if precision is None:
        return None
    ctx = mpmath.mp.clone()
    ctx.dps = precision
    return ctx


class Oracle:
    """Values of the nodes of one graph for one set of leaves."""

    def __init__(self, ctx: Any) -> None:
        self.ctx = ctx
        self.dims: dict[str, int] = {}
        self.values: dict[Node, Array] = {}
        self.many: dict[Node, list[Array]] = {}

    def fresh(self) -> Oracle:
        """One like this that has seen nothing yet."""
        return Oracle(self.ctx)

    def number(self, x: Any) -> Any:
        """A float of this arithmetic."""
        return float(x) if self.ctx is None else self.ctx.mpf(x)

    def array(self, shape: Point, dtype: str) -> Array:
        """Zeros of a node's dtype."""
        if dtype not in FLOATS:
            return np.zeros(shape, np.int64)
        if self.ctx is None:
            return np.zeros(shape)
        out = np.empty(shape, object)
        out.fill(self.ctx.mpf(0))
        return out

    def bind(self, leaf: Leaf, value: Any) -> None:
        """Give a leaf its array, reading the sizes of free dimensions off it."""
        source = np.asarray(value)
        if source.ndim != len(leaf.dims):
            raise DataError(f"{quoted(leaf.name)} has {source.ndim} dimensions, expected "
                            f"{len(leaf.dims)}")  # fmt: skip
        for d, n in zip(leaf.dims, source.shape, strict=True):
            if isinstance(d.atom, Dim) and self.dims.setdefault(d.atom.name, n) != n:
                raise DataError(f"dimension {d.atom.name} is {self.dims[d.atom.name]} and {n}")
        out = self.array(source.shape, leaf.dtype)
        for p in np.ndindex(*source.shape):
            item = source[p]
            out[p] = int(item) if leaf.dtype not in FLOATS else self.number(
                item if isinstance(item, mpmath.mpf) else float(item))  # fmt: skip
        self.values[leaf] = out

    def value(self, node: Node) -> Array:
        """The node's array, computing what it needs."""
        for n in topological([node]):
            if n in self.values or n in self.many:
                continue
            if isinstance(n, Reduce):
                self.values[n] = self.reduce(n)
            elif isinstance(n, Output):
                self.values[n] = self.many[n.of][n.n]
            elif isinstance(n, Scan):
                self.many[n] = self.scan(n)
            elif isinstance(n, Region):
                self.many[n] = self.inner(n.block, [self.values[a] for a in n.arguments])
            elif isinstance(n, Opaque):
                results = n.atom.oracle(*(self.values[a] for a in n.arguments))
                self.many[n] = [np.asarray(r) for r in results]
            else:
                raise VerificationError(f"the oracle has no value for the leaf {quoted(n.name)}")
        return self.values[node]

    # --- the one value kind -------------------------------------------------------------
    def reduce(self, node: Reduce) -> Array:
        loops = {item: k for k, item in enumerate(node.loops)}
        shape = tuple(self.size(item.extent) for item in node.loops)
        out = self.array(shape[: node.nout], node.dtype)
        reads = [self.reader(r, loops) for r in node.reads]
        guards = self.conditions(node.guards, loops)
        body = self.term(node.body)
        integer = node.dtype not in FLOATS
        mapped = len(node.loops) == node.nout
        for outer in itertools.product(*map(range, shape[: node.nout])):
            total: Any = self.empty(node)
            for inner in itertools.product(*map(range, shape[node.nout :])):
                p = outer + inner
                if not all(holds(ix(p), kind) for ix, kind in guards):
                    continue
                x = body([r(p) for r in reads])
                if integer and not _is_int(x):
                    x = int(x)
                if mapped or node.op == "sum":
                    total = total + x
                elif total != total or x != x:  # NaN propagates
                    total = total if total != total else x
                else:
                    total = max(total, x) if node.op == "max" else min(total, x)
            out[outer] = int(bool(total)) if node.dtype == "bool" else total
        return out

    def empty(self, node: Reduce) -> Any:
        if len(node.loops) == node.nout or node.op == "sum":
            return self.number(0) if node.dtype in FLOATS else 0
        sign = -1 if node.op == "max" else 1
        if node.dtype in FLOATS:
            return sign * (self.ctx.inf if self.ctx else float("inf"))
        half = 1 << (31 if node.dtype == "int32" else 63)
        return -half if sign < 0 else half - 1

    def size(self, ix: Ix) -> int:
        return self.index(ix, {})(())

    def index(self, ix: Ix, loops: Mapping[Loop, int]) -> Callable[[Point], int]:
        """An index as a function of the point."""
        parts = [(self.atom(a, loops), k) for a, k in ix.terms]
        const = ix.const
        if not parts:
            return lambda p: const
        if len(parts) == 1:
            f, k = parts[0]
            return lambda p: const + k * f(p)
        return lambda p: const + sum(k * f(p) for f, k in parts)

    def atom(self, a: Any, loops: Mapping[Loop, int]) -> Callable[[Point], int]:
        if isinstance(a, Loop):
            position = loops[a]
            return lambda p: p[position]
        if isinstance(a, Dim):
            if a.name not in self.dims:
                raise DataError(f"the size of dimension {a.name} is not known")
            size = self.dims[a.name]
            return lambda p: size
        if isinstance(a, Floor):
            of, n = self.index(a.of, loops), a.n
            return lambda p: of(p) // n
        if isinstance(a, Mod):
            of, n = self.index(a.of, loops), a.n
            return lambda p: of(p) % n
        assert isinstance(a, Gather)
        source = self.values[a.source]  # type: ignore[index]
        at = [self.index(i, loops) for i in a.indices]
        return lambda p: int(source[tuple(f(p) for f in at)])

    def conditions(
        self, guards: Sequence[Guard], loops: Mapping[Loop, int]
    ) -> list[tuple[Callable[[Point], int], str]]:
        """Guards in the order they are asked: one that gathers after the others."""
        ordered = sorted(guards, key=lambda g: any(isinstance(a, Gather) for a in g.ix.atoms()))
        return [(self.index(g.ix, loops), g.kind) for g in ordered]

    def reader(self, r: Reading, loops: Mapping[Loop, int]) -> Callable[[Point], Any]:
        if isinstance(r, IndexOf):
            return self.index(r.ix, loops)
        source = self.values[r.node]
        at = [self.index(i, loops) for i in r.index]
        guards = self.conditions(r.guards, loops)
        shape, zero = source.shape, (self.number(0) if r.node.dtype in FLOATS else 0)

        def read(p: Point) -> Any:
            if guards and not all(holds(f(p), kind) for f, kind in guards):
                return zero
            place = tuple(f(p) for f in at)
            for k, n in zip(place, shape, strict=True):
                if not 0 <= k < n:
                    raise VerificationError(
                        f"read out of range: {r.node!r} at {place}, whose shape is {shape}"
                    )
            x = source[place]
            if r.node.dtype not in FLOATS:
                return int(x)
            return float(x) if self.ctx is None else x

        return read

    # --- scalar formulas ------------------------------------------------------------------
    def term(self, term: t.Term) -> Callable[[list[Any]], Any]:
        """A formula as a function of the reads' values; branches not taken are not evaluated."""
        if isinstance(term, t.Num):
            q = term.value
            exact: Any = q.numerator
            if q.denominator != 1:
                exact = self.number(q.numerator) / q.denominator
            return lambda v: exact
        if isinstance(term, t.Read):
            k = term.k
            return lambda v: v[k]
        if isinstance(term, t.Sum):
            const = self.term(t.num(term.const))(())  # type: ignore[arg-type]
            parts = [(self.term(x), self.term(t.num(k))([])) for x, k in term.terms]
            return lambda v: sum((k * f(v) for f, k in parts), const)
        if isinstance(term, t.Prod):
            ordered = sorted(term.factors, key=lambda bn: bn[1] < 0)  # x/y is rounded once
            factors = [(self.term(b), n) for b, n in ordered]
            return lambda v: self.product(factors, v)
        assert isinstance(term, t.Call)
        if term.fn is t.SELECT:
            c, a, b = map(self.term, term.args)
            return lambda v: a(v) if c(v) else b(v)
        fn = self.function(term.fn)
        args = [self.term(a) for a in term.args]
        return lambda v: fn(*(a(v) for a in args))

    def product(self, factors: Sequence[tuple[Callable[[list[Any]], Any], int]], v: Any) -> Any:
        out: Any = 1
        for f, n in factors:
            x = f(v)
            if n > 0:
                out = out * x**n
            elif x == 0:
                inf = self.ctx.inf if self.ctx else float("inf")
                out = out * (inf if out else inf * 0)
            else:
                out = out / self.number(x) ** -n
        return out

    def function(self, fn: t.Function) -> Callable[..., Any]:
        """A function of this arithmetic."""
        if fn.name == "stop_gradient":
            return lambda x: x
        if fn.name.startswith("cast_"):
            if fn.kind == "bool":
                return lambda x: int(x != 0)
            return (lambda x: self.number(x)) if fn.kind in FLOATS else (lambda x: int(x))
        structural = _STRUCTURAL.get(fn.name)
        if structural is not None:
            return structural
        if fn.name in ("inf", "nan", "pi"):
            ctx = self.ctx
            value = getattr(ctx, fn.name) if ctx else float({"pi": np.pi}.get(fn.name, fn.name))
            return lambda: value
        if fn.name in OF_INTEGERS:
            return python_callable(fn.name)
        if self.ctx is not None:
            from symprop.ops.declare import reference

            exact = reference(fn, self.ctx)
            number = self.number
            return lambda *args: exact(*map(number, args))
        if fn.name in FUNCTIONS:
            return python_callable(fn.name)
        expansion = fn.op.expansion  # type: ignore[attr-defined]
        body = self.term(expansion)
        return lambda *args: body(list(args))

    # --- blocks -----------------------------------------------------------------------------
    def inner(self, block: Any, arguments: Sequence[Array]) -> list[Array]:
        """A block's outputs for its leaves' arrays."""
        run = self.fresh()
        run.dims = self.dims
        for leaf, a in zip(block.leaves, arguments, strict=True):
            run.values[leaf] = a
        return [run.value(n) for n in block.outputs]

    def scan(self, node: Scan) -> list[Array]:
        length = self.size(node.length)
        arguments = [self.values[a] for a in node.arguments]
        nc, ns = node.ncarry, node.nslice
        carries, slices, rest = arguments[:nc], arguments[nc : nc + ns], arguments[nc + ns :]
        turns = range(length - 1, -1, -1) if node.reverse else range(length)
        stacked: list[list[Any]] = [[None] * length for _ in node.block.outputs[nc:]]
        for k in turns:
            outs = self.inner(node.block, [*carries, *(np.asarray(s[k]) for s in slices), *rest])
            carries = outs[:nc]
            for row, y in zip(stacked, outs[nc:], strict=True):
                row[k] = y
        found = []
        for row, y in zip(stacked, node.block.outputs[nc:], strict=True):
            out = self.array((length, *(self.size(d) for d in y.dims)), y.dtype)
            for k, item in enumerate(row):
                out[k] = np.asarray(item)[()]  # the number of an array of none
            found.append(out)
        return [*carries, *found]


_STRUCTURAL: dict[str, Callable[..., Any]] = {
    "lt": lambda a, b: int(a < b),
    "le": lambda a, b: int(a <= b),
    "eq": lambda a, b: int(a == b),
    "ne": lambda a, b: int(a != b),
    "not": lambda a: int(not a),
    "and": lambda a, b: int(bool(a) and bool(b)),
    "or": lambda a, b: int(bool(a) or bool(b)),
    "strong_mul": lambda g, d: g * 0 if g == 0 else g * d,
}


def holds(x: int, kind: str) -> bool:
    """Whether a guard of this kind holds where its index is x."""
    return x >= 0 if kind == ">=" else x == 0


def _is_int(x: Any) -> bool:
    return isinstance(x, int | np.integer)
