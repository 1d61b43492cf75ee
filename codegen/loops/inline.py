"""Prologue: a formula computed where it is read, instead of before.

    for i: e[i] = exp(x[i])                          for j: for i: acc += w[j, i]*exp(x[i])
    for j: for i: acc += w[j, i]*e[i]       ->

In: a ``Loops`` and the directive. Out: a ``Loops`` of equal value, bit for bit; the formula is then
computed as often as it is read.

Guarantees: a formula is moved only where everything that it reads has the same value as before; a
value that was rounded to its dtype when it was stored still is. Else it is a ``ScheduleError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce

from codegen.dtypes import infer_dtype
from codegen.index import Guard, Ix, Loop
from codegen.loops.beside import is_private, siblings, used_elsewhere, with_siblings, without
from codegen.loops.depend import Marks
from codegen.loops.directives import Prologue, ScheduleError
from codegen.loops.epilogue import elementwise
from codegen.loops.finding import Place, arrays_at, part, put, writes
from codegen.loops.known import arrays_in
from codegen.loops.moving import CannotMove, moved
from codegen.loops.nest import Declare, Loops, Part, Stmt, Store
from codegen.loops.walk import mapped, read_names, scalar_mapped, substituted, written_names
from codegen.program import (
    And,
    Buffer,
    Cast,
    Compare,
    Dtype,
    IndexValue,
    Load,
    Number,
    Scalar,
    Select,
)

__all__ = ["prologue"]

_ZERO = Number(Fraction(0))


@dataclass(frozen=True, slots=True)
class _Formula:
    """``target[index] = value`` for all loops, each of which is one axis."""

    target: str
    index: tuple[Ix, ...]
    value: Scalar


def prologue(loops: Loops, d: Prologue) -> Loops:
    """The producer's formula wherever the part reads it; see ``Prologue``."""
    marks = writes(loops)
    reader, maker = part(loops, d.part), part(loops, d.producer)
    formula = _formula(d, maker.part, marks)
    _unchanged(loops, d, maker, reader, marks)
    arrays = arrays_at(loops, maker)
    name = formula.target
    if name not in arrays_in(reader.part):
        raise ScheduleError(f'part "{d.part}" does not read what part "{d.producer}" makes')
    try:
        moved(reader.part.body, name, name, lambda ix: ix)
    except CannotMove as why:
        raise ScheduleError(f'part "{d.part}" needs "{name}" in memory: {why}') from None

    def read(s: Scalar) -> Scalar:
        return _read(s, formula, arrays) if isinstance(s, Load) and s.buffer == name else s

    def one(s: Stmt) -> Iterable[Stmt]:
        return (replace(s, value=scalar_mapped(s.value, read)),) if isinstance(s, Store) else (s,)

    return _cleared(put(loops, reader, mapped(reader.part.body, one)), d, name)


def _unchanged(loops: Loops, d: Prologue, maker: Place, reader: Place, marks: Marks) -> None:
    """Refuses a producer that is not before the part, or reads what is changed until the part."""
    body = siblings(loops, maker)
    at = [n for n, s in enumerate(body) if s is maker.part or s is reader.part]
    if len(at) != 2 or body[at[0]] is not maker.part:
        raise ScheduleError(
            f'part "{d.producer}" does not stand before part "{d.part}" in one body'
        )
    changed = written_names(body[at[0] : at[1] + 1], marks)
    for name in read_names((maker.part,), marks):
        if name in changed:
            raise ScheduleError(
                f'part "{d.part}" cannot compute part "{d.producer}" for itself: "{name}" has '
                "another value by then"
            )


def _formula(d: Prologue, where: Part, marks: Marks) -> _Formula:
    """A part as one formula."""
    points = elementwise(where, marks)
    s = points.body[0]
    if len(points.body) == 1 and isinstance(s, Store) and s.op == "=":
        plain = [ix.atom for ix in s.index]
        if set(plain) == set(points.loops) and len(plain) == len(points.loops):
            return _Formula(s.target, s.index, s.value)
    raise ScheduleError(
        f'part "{d.producer}" is not one formula for each element of one array: it cannot be '
        "computed where it is read"
    )


def _read(load: Load, formula: _Formula, arrays: Mapping[str, Buffer]) -> Scalar:
    """The formula at the place that a read names."""
    mapping: dict[Loop, Ix] = {}
    for ix, at in zip(formula.index, load.indices, strict=True):
        assert isinstance(ix.atom, Loop)
        mapping[ix.atom] = at
    (there,) = substituted((Store(formula.target, (), "=", formula.value),), mapping)
    assert isinstance(there, Store)
    dtype = arrays[formula.target].dtype
    value = _rounded(there.value, dtype, arrays)
    if not load.guards:
        return value
    tests: list[Scalar] = [Compare(g.kind, IndexValue(g.ix), _ZERO) for g in load.guards]
    return Select(reduce(And, tests), _guarded(value, load.guards), _ZERO)


def _rounded(value: Scalar, dtype: Dtype, arrays: Mapping[str, Buffer]) -> Scalar:
    """A value as it is after it was stored in a dtype."""
    contexts: tuple[Dtype, ...] = ("float64", "float32", "int64")
    same = all(infer_dtype(value, arrays, c) == dtype for c in contexts)
    return value if same else Cast(dtype, value)


def _guarded(value: Scalar, guards: Iterable[Guard]) -> Scalar:
    """A value whose reads happen under more guards."""

    def one(s: Scalar) -> Scalar:
        if not isinstance(s, Load):
            return s
        return replace(s, guards=tuple(dict.fromkeys((*s.guards, *guards))))

    return scalar_mapped(value, one)


def _cleared(loops: Loops, d: Prologue, name: str) -> Loops:
    """The Loops without the producer when nothing reads it any more."""
    place = part(loops, d.producer)
    if not is_private(loops, place, name) or used_elsewhere(loops, place, name):
        return loops
    own = [s for s in siblings(loops, place) if isinstance(s, Declare) and s.array.name == name]
    rest = [s for s in siblings(loops, place) if s is not place.part and s not in own]
    return without(with_siblings(loops, place, rest), place, name)
