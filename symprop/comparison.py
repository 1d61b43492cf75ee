"""Two values side by side at many points: where they agree, where not, and by what relation.

In: two nodes of one shape. Out: a ``Comparison``. The oracle evaluates; a difference that could be
rounding is asked again with twice the digits, and is real when it stays.

Guarantees: deterministic; a reported difference was seen in arithmetic of at least the digits asked
for, or in float64 beyond its rounding where the graph is too large for digits (``floats``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import mpmath
import numpy as np

from symprop import oracle
from symprop import term as t
from symprop.expression import Expr
from symprop.graph import FLOATS, At, Leaf, Node, Reduce, hint
from symprop.relations import Seen, relation, where_zero
from symprop.sampling import HUMAN, STYLES, Point, points, work
from symprop.walk import topological

__all__ = ["Case", "Comparison", "Shown", "array_text", "compare", "spelled", "undefined"]

BUDGET = 400_000  # scalar steps of one question: about 3 seconds of 60 digits
CHECK = 60_000  # scalar steps spent on the divisors of a proof
LARGE = 200_000  # steps a point past which float64 is used: about 2 seconds
ROUNDS = 3  # turns through the styles
FEWEST = 3  # points, however large the graph
ENOUGH = 6  # random points that show a difference: more teach nothing
TURNS = 4  # of asking again with more digits
TINY = 1e-25  # of the largest element: of those digits may be lost
MORE_DIGITS = 1000  # for a value that one alone has
MOST_DIGITS = 3000
FEW_DIGITS = 300  # the most for a graph that is not small
SMALL = 20_000  # steps a point up to which other points are tried for the sake of showing them
FLOAT_GAP = 1e-9  # of the largest element: what float64 may lose
OTHERS = 16  # values that may be named in a hint
SHOWN = 12  # elements of an array printed in full


@dataclass(frozen=True)
class Case:
    """What is asked."""

    mine: Node
    theirs: Node
    digits: int
    tolerance: float | None
    seed: int

    @property
    def roots(self) -> list[Node]:
        """Both."""
        return [self.mine, self.theirs]


@dataclass(frozen=True)
class Shown:
    """One element at one point at which the two differ."""

    point: Point
    index: tuple[int, ...]
    mine: Any
    theirs: Any


@dataclass(frozen=True)
class Comparison:
    """What was seen: points at which something finite was compared, and the difference if any."""

    equal: bool
    points: int
    generic: int
    floats: bool = False
    reason: str = ""
    hint: str = ""
    shown: Shown | None = None


@dataclass(frozen=True)
class _Look:
    """Both arrays at one point; ``differ`` both finite and unequal, ``lost`` one alone finite."""

    point: Point
    mine: Any
    theirs: Any
    differ: Any
    lost: Any
    finite: Any
    others: Mapping[str, Any]

    @property
    def whole(self) -> bool:
        """Every element of both is finite."""
        return bool(np.all(self.finite))


def compare(case: Case) -> Comparison:
    """Both at random and special points."""
    others = _others(case)
    first = next(points(case.roots, case.seed))
    steps = max(work(case.roots, first.sizes), 1)
    floats = steps > LARGE
    count = min(max(BUDGET // steps, FEWEST), ROUNDS * len(STYLES))
    looks: list[_Look] = []
    for point in islice(points(case.roots, case.seed), count):
        looks.append(_look(case, point, others, floats))
        if sum(x.point.style.generic and bool(np.any(x.differ)) for x in looks) >= ENOUGH:
            break
    seen = [x for x in looks if np.any(x.finite)]
    generic = sum(x.point.style.generic for x in seen)
    if not np.any([np.any(x.differ) or np.any(x.lost) for x in looks]):
        return Comparison(bool(seen) or not looks[0].finite.size, len(seen), generic, floats)
    reason, hint = _said(looks)
    shown = _simplest(case, looks, others, floats)
    return Comparison(False, len(looks), generic, floats, reason, hint, shown)


def undefined(case: Case) -> Comparison | None:
    """For two that are equal as rational functions: a point where one alone is finite."""
    special_first = sorted(STYLES, key=lambda style: style.generic)
    tried = list(islice(points(case.roots, case.seed, special_first), len(STYLES)))
    steps = max(work(case.roots, tried[0].sizes), 1)
    looks = [_look(case, p, {}, False) for p in tried[: max(1, CHECK // steps)]]
    if not any(np.any(x.lost) for x in looks):
        return None
    reason, hint = _said(looks)
    shown = _simplest(case, looks, {}, False)
    return Comparison(False, len(looks), 0, False, reason, hint, shown)


def _said(looks: Sequence[_Look]) -> tuple[str, str]:
    """What kind of difference it is, and the relation that explains it."""
    random = [x for x in looks if x.point.style.generic]
    if any(np.any(x.differ) for x in random):
        whole = [_seen(x) for x in random if x.whole]
        hint = relation(whole)
        fact, _, mend = hint.partition(": ")
        told = f"{fact} at every point tried{f': {mend}' if mend else ''}"
        return (told if hint else "they give different values"), hint
    special = [x for x in looks if np.any(x.differ)]
    if special:
        title = where_zero([x.differ for x in special], [x.others for x in special])
        where = f"only where {title} is 0" if title else "at special points (zeros, ties)"
        told = f"equal at {len(random)} random points, they differ {where}"
        return f"{told}: another convention at a kink or a tie", ""
    lost = [x for x in looks if np.any(x.lost)]
    where = "" if any(x.point.style.generic for x in lost) else " (only at special points)"
    return f"equal wherever both are finite, but one of them is not everywhere{where}", ""


def _seen(x: _Look) -> Seen:
    """What relations are asked of; elements so small that digits may be lost count as 0."""
    a, b = x.mine, x.theirs
    sizes = np.asarray(np.maximum(abs(a), abs(b)))
    largest = max(sizes.ravel(), default=0)
    small = _each(lambda size: size < largest * TINY, sizes)
    return Seen(np.where(small, 0, a), np.where(small, 0, b), x.point.sizes, x.others)


# --- one point ------------------------------------------------------------------------------------


def _look(
    case: Case, point: Point, others: Mapping[str, Node], floats: bool, digits: int = 0
) -> _Look:
    if floats:
        return _float_look(case, point)
    digits = digits or case.digits
    roots = [*case.roots, *others.values()]
    a, b, *rest = _evaluated(roots, point, digits)
    finite_a, finite_b = _finite(a), _finite(b)
    both = finite_a & finite_b
    differ = np.zeros(a.shape, bool)
    for p in np.argwhere(both):
        k = tuple(p)
        differ[k] = _unequal(a[k], b[k], case)
    if case.tolerance is None and np.any(differ):
        a, b, differ = _confirmed(case, point, a, b, differ)
    lost = (finite_a != finite_b) | (_infinite(a) & _infinite(b) & (a != b))
    if np.any(lost) and digits < MORE_DIGITS:  # log(1 - tanh(x)) needs digits to be finite
        return _look(case, point, others, False, MORE_DIGITS)
    return _Look(point, a, b, differ, lost, both, dict(zip(others, rest, strict=True)))


def _evaluated(roots: Sequence[Node], point: Point, digits: int) -> list[Any]:
    found = oracle.evaluate(roots, point.given, digits)
    return [np.asarray(a, dtype=object) for a in found]


def _unequal(a: Any, b: Any, case: Case) -> bool:
    if case.tolerance is not None:
        return bool(abs(a - b) > case.tolerance * (1 + abs(b)))
    return bool(abs(a - b) > max(abs(a), abs(b)) * mpmath.mpf(10) ** (10 - case.digits))


def _confirmed(case: Case, point: Point, a: Any, b: Any, differ: Any) -> tuple[Any, Any, Any]:
    """Differences that could be rounding, asked again with so many digits that they could not:
    both arrays refined, and what differs for certain.

    A difference is certain when a third of the digits would show it. One certain element is
    enough; what is not certain with the most digits that are worth it does not count.
    """
    digits = case.digits
    most = MOST_DIGITS if work(case.roots, point.sizes) <= SMALL else FEW_DIGITS
    for _ in range(TURNS):
        gaps = np.where(differ, abs(np.asarray(a - b)), 0)
        certain = _each(lambda gap, digits=digits: gap > mpmath.mpf(10) ** (-digits // 3), gaps)
        if np.any(certain) or not np.any(differ) or digits == most:
            break
        lost = -int(mpmath.log10(max(gaps.ravel())))
        digits = min(case.digits + 4 * lost, most)
        a, b = _evaluated(case.roots, point, digits)
        differ = np.array(differ)
        for p in np.argwhere(differ):
            k = tuple(p)
            differ[k] = _unequal(a[k], b[k], case)
    return a, b, differ & certain


def _each(test: Any, values: Any) -> Any:
    a = np.asarray(values)
    return np.array([bool(test(x)) for x in a.ravel()], bool).reshape(a.shape)


def _finite(a: Any) -> Any:
    return _each(mpmath.isfinite, a)


def _infinite(a: Any) -> Any:
    return _each(mpmath.isinf, a)


def _float_look(case: Case, point: Point) -> _Look:
    """In float64, by the code that the numpy backend emits."""
    from symprop import function

    titles = {leaf.name: array for leaf, array in point.values.items()}
    run = function.compile([Expr(case.mine), Expr(case.theirs)], dtype="float64", name="compared")
    needed = {n.name for n in topological(case.roots) if isinstance(n, Leaf)}
    with np.errstate(all="ignore"):
        a, b = (np.asarray(x) for x in run({k: v for k, v in titles.items() if k in needed}))
    finite = np.isfinite(a) & np.isfinite(b)
    scale = np.max(np.abs(b[finite]), initial=0.0)
    limit = FLOAT_GAP * scale
    if case.tolerance is not None:
        limit = case.tolerance * (1 + np.abs(b))
    with np.errstate(all="ignore"):
        differ = finite & (np.abs(a - b) > limit)
    lost = np.isfinite(a) != np.isfinite(b)
    return _Look(point, a, b, differ, lost, finite, {})


# --- what is shown --------------------------------------------------------------------------------


def _simplest(
    case: Case, looks: Sequence[_Look], others: Mapping[str, Node], floats: bool
) -> Shown:
    """A difference that is easy to check by hand, else the first that was seen."""
    fallback = [x for x in looks if np.any(x.differ)] or [x for x in looks if np.any(x.lost)]
    real = bool(np.any(fallback[0].differ))
    first = looks[0].point
    easy = not floats and work(case.roots, first.sizes) <= SMALL
    for least in (1, 2) if easy else ():
        for point in islice(points(case.roots, case.seed, HUMAN, least), len(HUMAN)):
            x = _look(case, point, {}, False)
            if np.any(x.differ if real else x.lost):
                return _element(x, real)
    return _element(fallback[0], real)


def _element(x: _Look, real: bool) -> Shown:
    places = [tuple(map(int, p)) for p in np.argwhere(x.differ if real else x.lost)]
    if real:
        places.sort(key=lambda k: -abs(x.mine[k] - x.theirs[k]))
    k = places[0]
    return Shown(x.point, k, x.mine[k], x.theirs[k])


def _others(case: Case) -> dict[str, Node]:
    """Values that a hint may name: of the shape of the result, with a name; and derivatives of
    the functions that are applied to them."""
    from symprop.gradient import gradient
    from symprop.ops.structural import sum as total

    found: dict[str, Node] = {}
    for node in topological(case.roots):
        if node.dtype not in FLOATS or node in case.roots:
            continue
        if hint(node) and node.dims in (case.mine.dims, ()):
            found.setdefault(hint(node), node)
        inner = _applied(node)
        if inner is not None and node.dims == case.mine.dims:
            word, z = inner
            x = Expr(z)
            slope = (
                gradient(total(Expr(node)), x).node if node.dims else gradient(Expr(node), x).node
            )
            found.setdefault(f"{word}({hint(z)})", node)
            found.setdefault(f"{word}'({hint(z)})", slope)
    return dict(list(found.items())[:OTHERS])


def _applied(node: Node) -> tuple[str, Node] | None:
    """(function, argument) of a node that is a function of one named value."""
    if not isinstance(node, Reduce) or len(node.loops) != node.nout or len(node.reads) != 1:
        return None
    body, r = node.body, node.reads[0]
    if not isinstance(body, t.Call) or len(body.args) != 1 or not isinstance(body.args[0], t.Read):
        return None
    plain = isinstance(r, At) and r.index == tuple(v.ix() for v in node.outer) and not r.guards
    if not plain or body.fn in t.STRUCTURAL or not hint(r.node) or r.node.dtype not in FLOATS:  # type: ignore[union-attr]
        return None
    return body.fn.name.partition("[")[0].partition("@")[0], r.node  # type: ignore[union-attr]


# --- numbers as text ------------------------------------------------------------------------------


def spelled(a: Any, b: Any) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart."""
    for digits in (6, 12, 25, 60, 120):
        first, second = _number(a, digits), _number(b, digits)
        if first != second:
            break
    return first, second


def _number(x: Any, digits: int = 6) -> str:
    if isinstance(x, bool | int | np.integer | np.bool_):
        return str(int(x))
    if not mpmath.isfinite(x):
        return "nan" if mpmath.isnan(x) else "inf" if x > 0 else "-inf"
    text = str(mpmath.nstr(mpmath.mpf(x), digits, min_fixed=-5, max_fixed=9))
    return text.removesuffix(".0")


def array_text(x: Any) -> str:
    """[[1, 2], [0, 1]]; "" for an array too large to print."""
    a = np.asarray(x)
    if not a.ndim:
        return _number(a[()])
    if a.size > SHOWN:
        flat = a.ravel()
        equal = all(v == flat[0] for v in flat)
        return f"{' by '.join(map(str, a.shape))} times {_number(flat[0])}" if equal else ""
    return f"[{', '.join(array_text(row) for row in a)}]"
