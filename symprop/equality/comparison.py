"""Two values side by side at many points: where they agree, where not, and by what relation.

In: two nodes of one shape. Out: a ``Comparison``. The oracle evaluates; a difference that could be
rounding is asked again with twice the digits, and is real when it stays.

Guarantees: deterministic; a reported difference was seen in arithmetic of at least the digits asked
for, or in float64 beyond its rounding where the graph is too large for digits (``floats``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import mpmath
import numpy as np

from symprop import oracle
from symprop.equality.named_values import named_values
from symprop.equality.number_text import number_text
from symprop.equality.relations import Seen, relation, where_zero
from symprop.equality.sampling import HUMAN, STYLES, Point, points, rounded, work
from symprop.equality.thresholds import MIXED, near, thresholds
from symprop.expression import Expr
from symprop.graph import Leaf, Node
from symprop.walk import topological

__all__ = ["Case", "Comparison", "Shown", "compare", "undefined"]

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
FLOAT_DIGITS = 9  # of the largest element, to which float64 is trusted
NAMED = 3  # points that are named where only special ones show a difference
PLAIN = (1e-2, 1e3)  # sizes that are read at a glance
CLEAR = 0.1  # a difference, beside the larger of the two, that is seen at a glance
LITTLE = 1e-20  # of the largest value seen: a difference that no mistake of a formula explains
FLOAT_NOISE = 1e-14  # of the largest value at any point
FLOAT_BUDGET = 100_000_000  # steps of one question in float64: about a second
NOISE = 1e-20  # beside the other value: what may be a 0 computed with rounding


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
    others = named_values(case.roots)
    first = next(points(case.roots, case.seed))
    steps = max(work(case.roots, first.sizes), 1)
    floats = steps > LARGE
    budget = FLOAT_BUDGET if floats else BUDGET
    looks: list[_Look] = []
    for point in _tried(case, max(budget // steps, FEWEST)):
        looks.append(_look(case, point, others, floats))
        if sum(x.point.style.generic and bool(np.any(x.differ)) for x in looks) >= ENOUGH:
            break
    if floats and case.tolerance is None:
        looks = _beyond_noise(looks)
    seen = [x for x in looks if np.any(x.finite)]
    generic = sum(x.point.style.generic for x in seen)
    if not np.any([np.any(x.differ) or np.any(x.lost) for x in looks]):
        return Comparison(bool(seen) or not looks[0].finite.size, len(seen), generic, floats)
    reason, hint = _said(case, looks)
    shown = _simplest(case, looks, others, floats)
    return Comparison(False, len(looks), generic, floats, reason, hint, shown)


def _tried(case: Case, most: int) -> Iterator[Point]:
    """Random and special points, then those at the numbers that the formulas compare with."""
    yield from islice(points(case.roots, case.seed), min(most, ROUNDS * len(STYLES)))
    styles = near(thresholds(case.roots))
    if styles:
        yield from islice(points(case.roots, case.seed, styles), min(most, len(styles)))


def undefined(case: Case) -> Comparison | None:
    """For two that are equal as rational functions: a point where one alone is finite."""
    special_first = sorted(STYLES, key=lambda style: style.generic)
    tried = list(islice(points(case.roots, case.seed, special_first), len(STYLES)))
    steps = max(work(case.roots, tried[0].sizes), 1)
    looks = [_look(case, p, {}, False) for p in tried[: max(1, CHECK // steps)]]
    if not any(np.any(x.lost) for x in looks):
        return None
    reason, hint = _said(case, looks)
    shown = _simplest(case, looks, {}, False)
    return Comparison(False, len(looks), 0, False, reason, hint, shown)


def _said(case: Case, looks: Sequence[_Look]) -> tuple[str, str]:
    """What kind of difference it is, and the relation that explains it."""
    random = [x for x in looks if x.point.style.generic]
    apart = [x for x in looks if np.any(x.differ)]
    little = _little(looks) if case.tolerance is None else ""
    if any(x.point.style.generic for x in apart):
        hint = relation([_seen(x) for x in random if x.whole])
        fact, _, mend = hint.partition(": ")
        if hint:
            return f"{fact} at every point tried{f': {mend}' if mend else ''}", hint
        return little or "they give different values", ""
    agreed = f"equal at {len(random)} random points"
    if little:
        return f"{agreed} to {case.digits - 10} digits, but {little}", ""
    if apart:
        return f"{agreed}, they differ {_where(apart)}", ""
    lost = [x for x in looks if np.any(x.lost)]
    where = "" if any(x.point.style.generic for x in lost) else " (only at special points)"
    return f"equal wherever both are finite, but one of them is not everywhere{where}", ""


def _little(looks: Sequence[_Look]) -> str:
    """How large the differences are, where all are tiny beside the values; else ""."""
    gaps = [max(abs(x.mine[x.differ] - x.theirs[x.differ])) for x in looks if np.any(x.differ)]
    seen = [(x.mine[x.finite], x.theirs[x.finite]) for x in looks if np.any(x.finite)]
    if not gaps or max(gaps) > LITTLE * max(max(abs(a)) for pair in seen for a in pair):
        return ""
    most = number_text(max(gaps), 3)
    return f"they differ by very little: by {most} at most at the points tried"


def _places(mask: Any) -> list[tuple[int, ...]]:
    return [tuple(map(int, p)) for p in np.argwhere(mask)]


def _where(special: Sequence[_Look]) -> str:
    """At which special points two values differ that are equal at random ones."""
    title = where_zero([x.differ for x in special], [x.others for x in special])
    if title:
        return f"only where {title} is 0: another convention at a kink or a tie"
    if any(x.point.style in STYLES for x in special):
        return "at special points (zeros, ties): another convention at a kink or a tie"
    names = [x.point.style.name for x in special if x.point.style.name != MIXED]
    where = "near or beyond numbers that the formulas compare with"
    if not names:
        return where
    named = " or ".join(sorted(names[:NAMED], key=float))
    more = ", among others" if len(names) > NAMED else ""
    return f"{where}: where every variable is {named}{more}"


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
    for k in _places(both):
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
        for k in _places(differ):
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
    if a.dtype == bool:  # of which NumPy takes no differences
        a, b = a.astype(int), b.astype(int)
    finite = np.isfinite(a) & np.isfinite(b)
    scale = np.max(np.abs(b[finite]), initial=0.0)
    limit = 10.0**-FLOAT_DIGITS * scale
    if case.tolerance is not None:
        limit = case.tolerance * (1 + np.abs(b))
    with np.errstate(all="ignore"):
        differ = finite & (np.abs(a - b) > limit)
    lost = np.isfinite(a) != np.isfinite(b)
    return _Look(point, a, b, differ, lost, finite, {})


def _beyond_noise(looks: Sequence[_Look]) -> list[_Look]:
    """Without differences that are rounding beside the largest value of all points: where theirs
    is 0, as at zeros, 1e-16 is no difference."""
    sizes = [np.abs(v[x.finite]) for x in looks for v in (x.mine, x.theirs)]
    noise = FLOAT_NOISE * max(np.max(v, initial=0.0) for v in sizes)
    with np.errstate(all="ignore"):
        return [replace(x, differ=x.differ & (np.abs(x.mine - x.theirs) > noise)) for x in looks]


# --- what is shown --------------------------------------------------------------------------------


def _simplest(
    case: Case, looks: Sequence[_Look], others: Mapping[str, Node], floats: bool
) -> Shown:
    """A difference that is easy to check by hand, else the first that was seen.

    The first point at which both values are of ordinary size and clearly apart; where there is
    none, that of the greatest difference beside the values: where tanh is flat, all are tiny.
    """
    fallback = [x for x in looks if np.any(x.differ)] or [x for x in looks if np.any(x.lost)]
    real = bool(np.any(fallback[0].differ))
    first = looks[0].point
    easy = not floats and work(case.roots, first.sizes) <= SMALL
    found: list[Shown] = []
    for least in (1, 2) if easy else ():
        for point in islice(points(case.roots, case.seed, HUMAN, least), len(HUMAN)):
            x = _look(case, point, {}, False)
            if not np.any(x.differ if real else x.lost):
                continue
            found.append(_element(x, real))
            if not real or _readable(found[-1]):
                return _exact(case, found[-1], floats)
        if found:
            return _exact(case, max(found, key=_apart), floats)
    few = _look(case, rounded(fallback[0].point), {}, floats)
    chosen = few if np.any(few.differ if real else few.lost) else fallback[0]
    return _exact(case, _element(chosen, real), floats)


def _element(x: _Look, real: bool) -> Shown:
    """The element that shows it best."""
    places = _places(x.differ if real else x.lost)
    shown = [Shown(x.point, k, x.mine[k], x.theirs[k]) for k in places]
    if real:
        shown.sort(key=lambda s: (not _readable(s), -abs(s.mine - s.theirs)))
    return shown[0]


def _apart(s: Shown) -> float:
    """The difference beside the larger of two finite values."""
    return float(abs(s.mine - s.theirs) / max(abs(s.mine), abs(s.theirs)))


def _readable(s: Shown) -> bool:
    """Both 0 or of ordinary size, and clearly apart."""
    low, high = PLAIN
    plain = all(x == 0 or low <= abs(x) <= high for x in (s.mine, s.theirs))
    return plain and _apart(s) >= CLEAR


def _exact(case: Case, s: Shown, floats: bool) -> Shown:
    """With 0 for a value that is nothing but rounding: it shrinks as digits are added."""
    values = (s.mine, s.theirs)
    if floats or not all(map(mpmath.isfinite, values)):
        return s
    largest = max(map(abs, values))
    tiny = [0 < abs(x) < NOISE * largest for x in values]
    if not any(tiny):
        return s
    again = _evaluated(case.roots, s.point, 3 * case.digits)
    shrink = mpmath.mpf(10) ** (-case.digits)
    mine, theirs = (
        mpmath.mpf(0) if small and abs(more[s.index]) <= abs(x) * shrink else x
        for small, x, more in zip(tiny, values, again, strict=True)
    )
    return replace(s, mine=mine, theirs=theirs)
