"""Readings: what an indexed assignment is, for a backend that wants to say it in one word.

In: an ``Assign``. Out: ``classify(step)``, the first that holds of

    Rearrange    a map whose body is one read: a view, a slice, a reshape, a gather
    Concat       reads laid end to end along one output loop
    Map          one value a point, no loop reduced
    Prefix       a sum over the positions up to (or from) an output position: a cumulative sum
    Contract     a sum whose body factors into two groups of loops: a matrix product
    ArgExtremum  the first position that attains an extremum (which another step must hold)
    Extremum     the greatest or least over some loops
    Sum          any other sum
    Scatter      a target at computed positions

Guarantees: pure and memoised; a reading holds for every value of loops and dimensions, or is not
given. Nothing is stored on the step, and a step without a pretty reading is still a valid step:
a backend that ignores all of this is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from typing import TypeAlias

from codegen.index import Floor, Gather, Guard, Ix, Loop, Mod, constant
from codegen.program import (
    Assign,
    Binary,
    Compare,
    IndexValue,
    Load,
    Number,
    Scalar,
    Select,
    Unary,
    children,
)
from codegen.spans import direction, interval, windowed

__all__ = [
    "ArgExtremum",
    "Concat",
    "Contract",
    "Extremum",
    "Map",
    "Part",
    "Prefix",
    "Reading",
    "Rearrange",
    "Scatter",
    "Sum",
    "classify",
    "factors",
    "output_loops",
    "scalar_loops",
]


@dataclass(frozen=True, slots=True)
class Rearrange:
    """target[out] = read."""

    read: Load


@dataclass(frozen=True, slots=True)
class Part:
    """One of the arrays laid end to end: positions ``start`` .. ``stop``-1 of the output loop."""

    read: Load
    start: Ix
    stop: Ix


@dataclass(frozen=True, slots=True)
class Concat:
    """``parts`` in order along the output loop ``along``; together they cover it."""

    along: Loop
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """No loop is reduced."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """target[.., i, ..] = sum of body over ``reduced`` <= i (>= i when ``reverse``)."""

    along: Loop
    reduced: Loop
    reverse: bool


@dataclass(frozen=True, slots=True)
class Contract:
    """scale * sum over ``k`` of (product of ``left``) * (product of ``right``).

    ``batch`` loops are in both groups and in the target, ``m`` in left and target, ``n`` in right
    and target, ``k`` in both and reduced. ``scale`` holds the factors that have none of them.
    """

    left: tuple[Scalar, ...]
    right: tuple[Scalar, ...]
    scale: tuple[Scalar, ...]
    batch: tuple[Loop, ...]
    m: tuple[Loop, ...]
    n: tuple[Loop, ...]
    k: tuple[Loop, ...]


@dataclass(frozen=True, slots=True)
class ArgExtremum:
    """The least position ``along`` (row-major) at which ``read`` is not worse than ``best``.

    It is an argmax (argmin when ``least``) if ``best`` is the greatest of ``read``: whoever knows
    the other steps must see to that.
    """

    read: Load
    best: Load
    along: tuple[Loop, ...]
    least: bool


@dataclass(frozen=True, slots=True)
class Extremum:
    """The greatest or least of the body over the reduced loops."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum that does not factor."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """The target's index is computed: several points may meet in one element."""


Reading: TypeAlias = (
    Rearrange | Concat | Map | Prefix | Contract | ArgExtremum | Extremum | Sum | Scatter
)


def output_loops(step: Assign) -> tuple[Loop, ...]:
    """The loops that the target's index uses, in order of first use."""
    return tuple(dict.fromkeys(v for ix in step.index for v in ix.loops))


@lru_cache(maxsize=65536)
def scalar_loops(s: Scalar) -> frozenset[Loop]:
    """Every loop a scalar's value depends on."""
    if isinstance(s, Load):
        ixs = [*s.indices, *(g.ix for g in s.guards)]
        return frozenset(v for ix in ixs for v in ix.loops)
    if isinstance(s, IndexValue):
        return frozenset(s.ix.loops)
    return frozenset().union(*(scalar_loops(c) for c in children(s)))


def factors(s: Scalar) -> Iterator[Scalar]:
    """The factors of a product, left to right; a minus sign and a divisor count as factors."""
    match s:
        case Binary("*", a, b):
            yield from factors(a)
            yield from factors(b)
        case Binary("/", a, b):
            yield from factors(a)
            yield Binary("/", Number(Fraction(1)), b)
        case Unary("-", a):
            yield Number(Fraction(-1))
            yield from factors(a)
        case _:
            yield s


def simple_target(step: Assign) -> bool:
    """Whether every output loop stands alone and whole in the target's index."""
    out = output_loops(step)
    return len(out) == len(step.index) and all(
        ix.terms == ((v, 1),) and ix.const == 0 for ix, v in zip(step.index, out, strict=True)
    )


def _separate_target(step: Assign) -> bool:
    """Whether different points of the output loops are different elements of the target."""
    seen: list[Loop] = []
    for ix in step.index:
        if any(isinstance(a, Gather | Floor | Mod) for a, _ in ix.terms):
            return False
        moving = [a for a, _ in ix.terms if isinstance(a, Loop)]
        if len(moving) > 1:
            return False
        seen += moving
    return len(seen) == len(set(seen))


@lru_cache(maxsize=4096)
def classify(step: Assign) -> Reading:
    """The first reading, in the order of this module's list, that holds."""
    if not _separate_target(step):
        return Scatter()
    out = output_loops(step)
    reduced = tuple(v for v in step.loops if v not in out)
    if not reduced:
        if isinstance(step.body, Load) and not step.guards:
            concat = _concat(step)
            return concat or Rearrange(step.body)
        return _concat(step) or Map()
    if step.op in ("max", "min"):
        return _arg_extremum(step, reduced) or Extremum()
    if step.op != "sum":
        return Sum()
    return _prefix(step, out, reduced) or _contract(step, out, reduced) or Sum()


# --- cumulative sums -----------------------------------------------------------------------------


def _prefix(step: Assign, out: tuple[Loop, ...], reduced: tuple[Loop, ...]) -> Prefix | None:
    """A sum over r where exactly i - r >= 0 or r - i >= 0 holds, of a body without i."""
    if len(reduced) != 1 or len(step.guards) != 1 or step.guards[0].kind != ">=":
        return None
    r, ix = reduced[0], step.guards[0].ix
    used = scalar_loops(step.body)
    if r not in used:
        return None
    for i in out:
        if i.extent is r.extent and i not in used:
            if ix is i.ix() - r.ix():
                return Prefix(i, r, False)
            if ix is r.ix() - i.ix():
                return Prefix(i, r, True)
    return None


# --- positions of extrema ------------------------------------------------------------------------


def _arg_extremum(step: Assign, reduced: tuple[Loop, ...]) -> ArgExtremum | None:
    """min over r of select(x[.., r] < best[..], last position, r)."""
    if step.op != "min" or step.guards or any(v.extent.value is None for v in reduced[1:]):
        return None
    position, count = constant(0), 1
    for v in reversed(reduced):
        position = position + v.ix() * count
        count *= v.extent.value or 0
    count //= reduced[0].extent.value or 1
    end = reduced[0].extent * count - 1
    match step.body:
        case Select(Compare("<", Load() as a, Load() as b), other, IndexValue(ix)):
            last = other.ix if isinstance(other, IndexValue) else _whole(other)
            if ix is not position or last is not end or a.guards or b.guards:
                return None
            of_a, of_b = (scalar_loops(x) & set(reduced) for x in (a, b))
            if len(of_a) == len(reduced) and not of_b:
                return ArgExtremum(a, b, reduced, False)
            if len(of_b) == len(reduced) and not of_a:
                return ArgExtremum(b, a, reduced, True)
    return None


def _whole(s: Scalar) -> Ix | None:
    if isinstance(s, Number) and isinstance(s.value, Fraction) and s.value.denominator == 1:
        return constant(s.value.numerator)
    return None


# --- matrix products -----------------------------------------------------------------------------


def _contract(step: Assign, out: tuple[Loop, ...], reduced: tuple[Loop, ...]) -> Contract | None:
    """The grouping of the factors that makes the two operands smallest."""
    parts = list(factors(step.body))
    if step.guards:
        # What is masked elsewhere may be infinite: only a read that would leave its array, and is
        # zero there, may carry the guards into the product.
        moved = _padded(parts, step.guards)
        if moved is None:
            return None
        parts = moved
    scale = tuple(f for f in parts if not scalar_loops(f))
    moving = [f for f in parts if scalar_loops(f)]
    if not 2 <= len(moving) <= 6:
        return None
    best: tuple[int, Contract] | None = None
    for size in range(1, len(moving)):
        for chosen in combinations(range(len(moving)), size):
            if 0 not in chosen:
                continue
            left = tuple(f for n, f in enumerate(moving) if n in chosen)
            right = tuple(f for n, f in enumerate(moving) if n not in chosen)
            found = _grouped(left, right, scale, out, reduced)
            if found is not None:
                cost = 2 * len(found.batch) + len(found.m) + len(found.n)
                if best is None or cost < best[0]:
                    best = (cost, found)
    return best[1] if best else None


def _padded(parts: list[Scalar], guards: tuple[Guard, ...]) -> list[Scalar] | None:
    """The factors with every guard carried by a read whose own position it bounds."""
    carried: dict[int, list[Guard]] = {}
    for g in guards:
        if g.kind != ">=":
            return None
        owner = next(
            (n for n, f in enumerate(parts) if isinstance(f, Load) and _bounds(g, f)), None
        )
        if owner is None:
            return None
        carried.setdefault(owner, []).append(g)
    return [
        replace(f, guards=(*f.guards, *carried[n])) if isinstance(f, Load) and n in carried else f
        for n, f in enumerate(parts)
    ]


def _bounds(g: Guard, read: Load) -> bool:
    """Whether a guard says that a position of ``read`` in two loops is at least, or at most, so."""
    bound = direction(g.ix)
    return any(
        windowed(ix) is not None and bound in (direction(ix), direction(-ix)) for ix in read.indices
    )


def _grouped(
    left: tuple[Scalar, ...],
    right: tuple[Scalar, ...],
    scale: tuple[Scalar, ...],
    out: tuple[Loop, ...],
    reduced: tuple[Loop, ...],
) -> Contract | None:
    a = frozenset[Loop]().union(*map(scalar_loops, left))
    b = frozenset[Loop]().union(*map(scalar_loops, right))
    if any(v not in a or v not in b for v in reduced):
        return None
    return Contract(
        left,
        right,
        scale,
        tuple(v for v in out if v in a and v in b),
        tuple(v for v in out if v in a and v not in b),
        tuple(v for v in out if v in b and v not in a),
        reduced,
    )


# --- arrays laid end to end ----------------------------------------------------------------------


def _terms(s: Scalar) -> Iterator[Scalar]:
    if isinstance(s, Binary) and s.op == "+":
        yield from _terms(s.left)
        yield from _terms(s.right)
    else:
        yield s


def _concat(step: Assign) -> Concat | None:
    """A sum of guarded reads whose intervals follow each other along one output loop."""
    terms = list(_terms(step.body))
    if step.guards or len(terms) < 2 or not simple_target(step):
        return None
    if not all(isinstance(t, Load) and t.guards for t in terms):
        return None
    for v in output_loops(step):
        parts = []
        for t in terms:
            assert isinstance(t, Load)
            found = interval(t.guards, v)
            if found is None:
                break
            parts.append(Part(t, *found))
        else:
            ordered = _end_to_end(parts, v.extent)
            if ordered is not None:
                return Concat(v, ordered)
    return None


def _end_to_end(parts: list[Part], extent: Ix) -> tuple[Part, ...] | None:
    at, left, out = constant(0), list(parts), []
    while left:
        following = next((p for p in left if p.start is at), None)
        if following is None:
            return None
        left.remove(following)
        out.append(following)
        at = following.stop
    return tuple(out) if at is extent else None
