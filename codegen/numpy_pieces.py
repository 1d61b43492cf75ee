"""A value that is laid together from pieces: zeros, then a slice a term.

    y[i] = a[i//2] {i % 2 == 0} + b[i//2] {i % 2 == 1}        y = np.zeros(6, np.float32)
                                                              y[::2] = a
                                                              y[1::2] = b

In: a map whose body is a sum of terms, each with reads that are guarded loop by loop, by bounds,
equalities or remainders. Out: statements, or None where the terms are not of this form.

Guarantees: equal to the general text. Only the elements of a piece are computed: none is masked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codegen.classify import Concat, classify, factors, output_loops
from codegen.index import (
    Guard,
    Ix,
    Loop,
    Mod,
    floordiv,
    loop,
    nonneg,
)
from codegen.numpy_bodies import body_value
from codegen.numpy_prepare import shifted
from codegen.numpy_steps import Statement, plain_index
from codegen.numpy_values import (
    Scope,
    align,
    numpy_dtype,
    shape_of,
    size,
    slice_item,
    transposed,
)
from codegen.printer import ALL, Expr, Item, Name, call, flat
from codegen.program import Assign, Binary, Load, Scalar, Unary, walk
from codegen.spans import interval

__all__ = ["pieces"]


@dataclass(frozen=True, slots=True)
class _Run:
    """The positions first, first + step, ... of a loop: ``count`` of them."""

    first: Ix
    step: int
    count: Ix


@dataclass(frozen=True, slots=True)
class _Piece:
    sign: int
    term: Scalar
    runs: dict[Loop, _Run]


def pieces(scope: Scope, step: Assign) -> list[Statement] | None:
    """The statements of a value that is laid together; None where it is not."""
    target = scope.buffers[step.target]
    out = output_loops(step)
    if (
        target.role != "scratch"
        or step.op not in ("=", "sum")
        or len(out) != len(step.loops)
        or not plain_index(step, target)
        or isinstance(classify(step), Concat)
    ):
        return None
    found = [_piece(sign, term, step.guards) for sign, term in _terms(step.body, 1)]
    parts = [p for p in found if p is not None]
    guarded = [p for p in parts if p.runs]
    strided = any(r.step > 1 or r.count.value == 1 for p in guarded for r in p.runs.values())
    if len(parts) < len(found) or not guarded or not (strided or len(guarded) > 1):
        return None
    name = scope.local[step.target]
    made = call("np.zeros", shape_of(scope, target.dims), numpy_dtype(target.dtype))
    statements = [Statement(f"{name} = ", made)]
    apart = _apart(parts)
    for p in parts:
        statement = _filled(scope, step, p, apart)
        if statement is None:
            return None
        statements.append(statement)
    return statements


def _terms(s: Scalar, sign: int) -> Iterator[tuple[int, Scalar]]:
    """The terms of a sum with their signs."""
    match s:
        case Binary("+" | "-" as op, a, b):
            yield from _terms(a, sign)
            yield from _terms(b, sign if op == "+" else -sign)
        case Unary("-", x):
            yield from _terms(x, -sign)
        case _:
            yield sign, s


def _piece(sign: int, term: Scalar, guards: tuple[Guard, ...]) -> _Piece | None:
    """Where a term can differ from zero, loop by loop; None when its guards say more than that."""
    held: dict[Guard, None] = dict.fromkeys(guards)
    for f in factors(term):
        if isinstance(f, Load):
            held.update(dict.fromkeys(f.guards))
        elif any(isinstance(s, Load) and s.guards for s in walk(f)):
            return None
    by_loop: dict[Loop, list[Guard]] = {}
    for g in held:
        if len(g.ix.loops) != 1:
            return None
        by_loop.setdefault(g.ix.loops[0], []).append(g)
    runs: dict[Loop, _Run] = {}
    for v, own in by_loop.items():
        run = _run(v, own)
        if run is None:
            return None
        runs[v] = run
    return _Piece(sign, term, runs)


def _run(v: Loop, guards: list[Guard]) -> _Run | None:
    """The positions of ``v`` at which the guards hold."""
    residues = [r for r in (_residue(v, g) for g in guards) if r is not None]
    others = tuple(g for g in guards if _residue(v, g) is None)
    bounds = interval(others, v)
    if bounds is None or len(residues) > 1:
        return None
    start, stop = bounds
    if not (nonneg(start) and nonneg(v.extent - stop)):
        return None
    if not residues:
        return _Run(start, 1, stop - start) if nonneg(stop - start) else None
    remainder, n = residues[0]
    if start.value is None:
        return None
    first = start + (remainder - start.value) % n
    count = floordiv(stop - first + n - 1, n)
    return _Run(first, n, count) if nonneg(count) else None


def _residue(v: Loop, g: Guard) -> tuple[int, int] | None:
    """(r, n) when the guard says v mod n == r."""
    if g.kind != "==" or len(g.ix.terms) != 1:
        return None
    atom, k = g.ix.terms[0]
    if not isinstance(atom, Mod) or abs(k) != 1 or atom.of.terms != ((v, 1),):
        return None
    return (-g.ix.const * k - atom.of.const) % atom.n, atom.n


def _apart(parts: list[_Piece]) -> bool:
    """Whether no element belongs to two pieces."""

    def disjoint(a: _Piece, b: _Piece) -> bool:
        for v in a.runs.keys() & b.runs.keys():
            x, y = a.runs[v], b.runs[v]
            away = (x.first - y.first).value
            if x.step == y.step and away is not None and away % x.step:
                return True
            if nonneg(y.first - x.first - x.count * x.step) or nonneg(
                x.first - y.first - y.count * y.step
            ):
                return True
        return False

    return all(disjoint(a, b) for n, a in enumerate(parts) for b in parts[:n])


def _filled(scope: Scope, step: Assign, p: _Piece, apart: bool) -> Statement | None:
    """``target[slices] = term`` over the positions of one piece."""
    target = scope.buffers[step.target]
    moved: dict[Loop, Ix] = {}
    items: list[Expr] = []
    axes: list[Loop] = []
    for v, extent in zip(output_loops(step), target.dims, strict=True):
        run = p.runs.get(v)
        if run is None:
            items.append(ALL)
            axes.append(v)
        elif run.count.value == 1:
            moved[v] = run.first
            items.append(size(scope, run.first))
        else:
            inner = loop(v.position, run.count)
            moved[v] = inner.ix() * run.step + run.first
            items.append(slice_item(scope, inner, run.step, run.first, extent))
            axes.append(inner)
    term = shifted(p.term, moved)
    if any(isinstance(s, Load) and s.guards for s in walk(term)):
        return None
    order = {v: n for n, v in enumerate(axes)}
    value = body_value(scope, term, order, target.dtype)
    if value.dtype not in (None, target.dtype):
        return None
    value = transposed(value, tuple(v for v in axes if v in value.axes))
    while items and items[-1] == ALL:
        items.pop()
    name = Name(scope.local[step.target])
    place = flat(Item(name, tuple(items))) if items else name.text
    mark = ("=" if apart and p.sign > 0 else "+=") if p.sign > 0 else "-="
    if mark == "=" and not items:
        place = f"{place}[...]"
    return Statement(f"{place} {mark} ", align(value, tuple(axes)).expr)
