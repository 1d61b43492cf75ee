"""claims: the textbook's account of softmax and its loss, printed only where it holds.

In: a network whose last pre-activation meets logsumexp. Out: equations: the loss as minus the
logarithm of a probability, the full Jacobian of the softmax, and how the derivative collapses.

Guarantees: a claim is made only for a graph whose own error reads (p - onehot(y)) times a scalar,
and only after the oracle found both sides equal for random scores. It is an account of the
graph's derivative, never its source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codegen.index import Dim, Ix, evaluate, gather, guard
from symprop import oracle
from symprop.explain import algebra as al
from symprop.explain import notation as nt
from symprop.explain.elements import size_of
from symprop.explain.evaluate import Values, value_of
from symprop.explain.network import Network
from symprop.explain.notation import Equation, Formula, Symbol
from symprop.explain.symbols import Symbols
from symprop.graph import FLOATS, INTS, Leaf, Node, new_leaf
from symprop.make import fresh
from symprop.walk import leaves, substitute

__all__ = ["Claims", "claims"]

SAMPLES = 3  # of the check
LARGEST = 20_000  # elements: a larger value is not checked, so nothing is claimed of it
BOUND = 1e-12


@dataclass(frozen=True)
class Claims:
    """The equations, in the order of the account."""

    jacobian: tuple[Equation, ...]
    loss: Equation | None
    collapse: Equation
    delta: tuple[Equation, ...]  # (p - onehot(y))/B, where the graph's own lines do not say so


@dataclass(frozen=True)
class _Found:
    """delta = scale (p - onehot(y)), taken apart."""

    scale: tuple[Formula, ...]
    p: Symbol
    y: Symbol


def claims(
    net: Network, symbols: Symbols, value: Node, delta: Equation, index: bool
) -> Claims | None:
    """The account of the error in ``value``, or None where there is none that holds.

    ``delta`` is the graph's own line; ``index``: all in index notation.
    """
    read = _parts(delta.right)
    found = [read] if read is not None else _candidates(net, symbols, value)
    values = _sampled(net, symbols, value) if found else None
    for parts in found:
        collapse = _collapse(net, symbols, value, parts)
        if values is None or not _holds(collapse, values):
            continue
        loss = _loss(net, symbols, parts)
        shown = loss if _holds(loss, values) else None
        jacobian = _jacobian(value, symbols.of[value], parts.p)
        own: tuple[Equation, ...] = ()
        if index:
            line = replace(collapse, sample=None, middle=())
            own = () if line.right == delta.right else (line,)
        elif read is None:
            own = _delta(net, symbols, value, parts)
        return Claims(jacobian[:1] if index else jacobian, shown, collapse, own)
    return None


def _parts(right: Formula) -> _Found | None:
    """(p - onehot(y)) times scalars, as the graph's line may read."""
    factors = right.factors if isinstance(right, nt.Mul) else (right,)
    sums = [f for f in factors if isinstance(f, nt.Add)]
    if len(sums) != 1 or len(sums[0].terms) != 2:
        return None
    first, second = sums[0].terms
    label = second.factors[1] if isinstance(second, nt.Mul) and len(second.factors) == 2 else None
    if not isinstance(first, nt.Sym) or al.coefficient(second) != -1:
        return None
    if not isinstance(label, nt.OneHot) or not isinstance(label.of, nt.Sym):
        return None
    scale = tuple(f for f in factors if f is not sums[0])
    return _Found(scale, first.symbol, label.of.symbol)


def _candidates(net: Network, symbols: Symbols, value: Node) -> list[_Found]:
    """What may hold where there is a softmax of the scores and a label for each row."""
    shares = [n for n, known in net.normalised.items()
              if known.word == "softmax" and known.of is value and n in symbols.of]  # fmt: skip
    rows = value.dims[:-1]
    labels = [n for n in net.order if isinstance(n, Leaf) and n.dtype in INTS and n.dims == rows]
    mean = tuple(al.power(size_of(d), -1) for d in rows)
    return [_Found(scale, symbols.of[p], symbols.of[y])
            for p in shares for y in labels for scale in dict.fromkeys((mean, ()))]  # fmt: skip


def _delta(net: Network, symbols: Symbols, value: Node, found: _Found) -> tuple[Equation, ...]:
    """delta = (p - onehot(y)) times the scale: of one sample, and of the batch."""
    delta, extent = symbols.cotangents[value], value.dims[-1]
    loops = fresh(value.dims)
    samples = [loops[delta.batch]] if delta.batch is not None and len(loops) == 2 else []
    lines = []
    for at in (*samples, None):
        p, y = nt.Sym(found.p, at), nt.Sym(found.y, at)
        error = al.add(p, al.mul(al.number(-1), nt.OneHot(y, extent)))
        right = al.mul(*found.scale, error)
        lines.append(Equation(nt.Sym(delta, at), right, net.exact[value], "claim", (), at))
    return tuple(lines) if len(loops) <= 2 else ()


def _places(value: Node, count: int) -> tuple[tuple[Any, ...], list[Any]]:
    """The loops over samples, and further ones over the last axis."""
    loops = fresh([*value.dims[:-1], *[value.dims[-1]] * count])
    rows = len(value.dims) - 1
    return loops[:rows], list(loops[rows:])


def _jacobian(value: Node, z: Symbol, p: Symbol) -> tuple[Equation, ...]:
    """dp_i/dz_j = p_i ([i = j] - p_j), and as a matrix."""
    rows, (i, j) = _places(value, 2)
    row = tuple(v.ix() for v in rows)
    p_i, p_j = nt.Ref(p, (*row, i.ix())), nt.Ref(p, (*row, j.ix()))
    same = guard(i.ix() - j.ix(), "==")
    entry = al.mul(p_i, al.add(nt.Bracket((), (same,)), al.mul(al.number(-1), p_j)))  # type: ignore[arg-type]
    left = nt.Partial(p_i, nt.Ref(z, (*row, j.ix())))
    sample = rows[0] if rows and p.batch is not None else None
    found = [Equation(left, entry, p.node, "jacobian", (*rows, i, j), sample)]
    if not rows or (len(rows) == 1 and sample is not None):  # else p is no column
        column = nt.Sym(p, sample)
        whole = al.add(nt.Diagonal(column),
                       al.mul(al.number(-1), al.mat(column, al.transposed(column))))  # fmt: skip
        found.append(
            Equation(nt.Partial(column, nt.Sym(z, sample)), whole, p.node, "jacobian", (), sample)
        )
    return tuple(found)


def _label(y: Symbol, rows: tuple[Any, ...]) -> Ix:
    return gather(y.node, [v.ix() for v in rows])


def _loss(net: Network, symbols: Symbols, found: _Found) -> Equation:
    """L = -scale sum_n log p[n, y_n]."""
    rows = fresh(found.y.node.dims, 500)
    at = tuple(v.ix() for v in rows)
    chosen = nt.Ref(found.p, (*at, _label(found.y, rows)))
    log = nt.Call(_log(), (chosen,))
    body: Formula = nt.Total("sum", rows, log) if rows else log
    right = al.mul(al.number(-1), *found.scale, body)
    return Equation(nt.Sym(symbols.of[net.loss]), right, net.loss, "claim")


def _log() -> Any:
    from symprop.ops.elementwise import log

    return log.function


def _collapse(net: Network, symbols: Symbols, value: Node, found: _Found) -> Equation:
    """delta_j = sum_i (-[i = y]/p_i) p_i ([i = j] - p_j) = p_j - [j = y], times the scale."""
    rows, (j,) = _places(value, 1)
    (i,) = fresh([value.dims[-1]], 600)
    row = tuple(v.ix() for v in rows)
    label = _label(found.y, rows)
    p_i, p_j = nt.Ref(found.p, (*row, i.ix())), nt.Ref(found.p, (*row, j.ix()))

    def holds(a: Ix, b: Ix) -> Formula:
        return nt.Bracket((), (guard(a - b, "=="),))  # type: ignore[arg-type]

    first = nt.Mul((al.number(-1), holds(i.ix(), label), nt.Pow(p_i, -1)))
    entry = al.add(holds(i.ix(), j.ix()), al.mul(al.number(-1), p_j))
    chain = nt.Total("sum", (i,), nt.Mul((first, nt.Mul((p_i, entry)))))
    short = al.add(p_j, al.mul(al.number(-1), holds(j.ix(), label)))
    delta = symbols.cotangents[value]
    left = nt.Ref(delta, (*row, j.ix()))
    sample = rows[0] if rows and found.p.batch is not None else None
    return Equation(left, al.mul(*found.scale, short), net.exact[value], "claim", (*rows, j),
                    sample, (al.mul(*found.scale, chain),))  # fmt: skip


# --- the check -------------------------------------------------------------------------------


def _sampled(net: Network, symbols: Symbols, value: Node) -> Values | None:
    """Random scores in place of the network below them, and what follows from them."""
    scores = new_leaf("input", "scores", value.dims, value.dtype)
    wanted = [net.exact[value], net.loss, *net.share.values()]
    wanted += [n for n in net.normalised if n in symbols.of and n not in wanted]
    roots = substitute(wanted, {value: scores})
    given = leaves(roots)
    sizes = {a.name: SAMPLES for leaf in given for d in leaf.dims for a in d.atoms()
             if isinstance(a, Dim)}  # fmt: skip
    rng = np.random.default_rng(0)
    arrays: dict[Node, Any] = {}
    for leaf in given:
        shape = tuple(evaluate(d, {}, sizes) for d in leaf.dims)
        if np.prod(shape, dtype=float) > LARGEST:
            return None
        if leaf.kind != "constant" and leaf.default is None:
            arrays[leaf] = _drawn(leaf, shape, rng)
    found = oracle.evaluate(roots, arrays)
    arrays.update(zip(wanted, found, strict=True))
    return Values(arrays, sizes)


def _drawn(leaf: Leaf, shape: Sequence[int], rng: Any) -> Any:
    if leaf.dtype in FLOATS:
        return rng.normal(size=shape)
    low, high = leaf.low.value or 0, leaf.high.value or 0
    return rng.integers(low, high + 1, size=shape)


def _holds(equation: Equation, values: Values) -> bool:
    """Whether every side has the value of the node."""
    wanted = np.asarray(values.arrays[equation.node], dtype=float)
    for side in (*equation.middle, equation.right):
        own = Equation(equation.left, side, equation.node, equation.kind, equation.loops)
        if np.max(np.abs(value_of(own, values) - wanted), initial=0.0) > BOUND:
            return False
    return True
