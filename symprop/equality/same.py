"""same: are two expressions equal for all values of their variables?

In: what a student derived, and what the library did (or two lists, or two mappings of such). Out: a
``Same``: true or false, how it was decided, and why, in a few lines.

    proved           both simplify to one expression, or their difference is 0 as an identity of
                     rational functions (``symprop.equality.proof``)
    60 digits        equal at every point tried, at 60 digits: strong evidence, and no proof
    float64          the same to 9 digits in float64, where 60 digits would take minutes
    tolerance        equal at every point tried to the tolerance that was asked for
    counterexample   values of the variables at which they differ, and a hint where one is simple
    shapes           they have different shapes
    undecided        no point was found at which both are finite

Guarantees: "proved" is a proof; a counterexample was evaluated by the oracle and confirmed with
twice the digits; the same call gives the same answer.

It does not look for the mistake in a derivation: hints are relations seen at every point tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from symprop.equality import comparison
from symprop.equality.comparison import Case, Comparison
from symprop.equality.number_text import array_text, both_text
from symprop.equality.proof import RATIONAL, prove
from symprop.errors import DeclarationError, at, listed, quoted
from symprop.expression import Expr, as_expr, is_number
from symprop.graph import FLOATS, Leaf
from symprop.make import filled
from symprop.naming import Axes
from symprop.ops.structural import mean, transpose
from symprop.ops.structural import sum as total
from symprop.shapes import promote
from symprop.walk import leaves, topological

__all__ = ["Same", "same"]

LEAST_DIGITS = 20


@dataclass(frozen=True)
class Same:
    """The answer; true when the two are equal. ``str`` gives it in words.

    ``reason`` says it in a sentence; ``hint`` is a simple relation seen at every point tried;
    ``values`` are the variables of the counterexample by name, ``index`` the element at which
    ``mine`` and ``theirs`` differ there, ``lines`` what else is printed;
    ``parts`` are the answers for the members of two lists or mappings.
    """

    equal: bool
    how: str
    reason: str
    hint: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    index: tuple[int, ...] = ()
    mine: Any = None
    theirs: Any = None
    parts: Mapping[str, Same] = field(default_factory=dict)
    lines: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.equal

    def __str__(self) -> str:
        head = "Equal" if self.equal else "Undecided" if self.how == "undecided" else "Different"
        text = [f"{head}: {self.reason}."]
        text += [f"  {line}" for line in self.lines]
        for name, part in self.parts.items():
            first, *rest = str(part).splitlines()
            text += [f"  {name}: {first}", *(f"  {line}" for line in rest)]
        return "\n".join(text)

    __repr__ = __str__


def same(
    mine: Any, theirs: Any, *, digits: int = 60, tolerance: float | None = None, seed: int = 0
) -> Same:
    """Whether two expressions of one shape are equal for all values of their variables.

    Args:
        mine, theirs: expressions, arrays or numbers (a number stands for any shape); or two lists
            of one length, or two mappings with the same keys. Variables are known by their
            declaration, not by their name.
        digits: decimal digits of the evaluation where no proof is found, at least 20.
        tolerance: equal is what differs by no more than tolerance * (1 + |theirs|); None asks for
            equality.
        seed: of the points tried.

    Raises:
        DeclarationError: for what is no expression, array or number, or for wrong options.
    """
    if isinstance(digits, bool) or not isinstance(digits, int) or digits < LEAST_DIGITS:
        raise DeclarationError(
            f"digits must be a whole number of at least {LEAST_DIGITS}, but is {quoted(digits)}"
        )
    if tolerance is not None and not 0 < tolerance < 1:
        raise DeclarationError(
            f"the tolerance must lie between 0 and 1, but is {quoted(tolerance)}"
        )
    ask = _Question(digits, tolerance, seed)
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        return ask.mappings(mine, theirs)
    if _is_list(mine) and _is_list(theirs):
        return ask.lists(mine, theirs)
    return ask.pair(mine, theirs)


def _is_list(x: Any) -> bool:
    return isinstance(x, list | tuple) and any(isinstance(item, Expr) for item in x)


@dataclass(frozen=True)
class _Question:
    """The options of a call."""

    digits: int
    tolerance: float | None
    seed: int

    # --- several at once --------------------------------------------------------------------

    def lists(self, mine: Sequence[Any], theirs: Sequence[Any]) -> Same:
        if len(mine) != len(theirs):
            return Same(
                False, "shapes", f"you hand in {len(mine)} expressions, and there are {len(theirs)}"
            )
        names = [_title(b, a) or str(k) for k, (a, b) in enumerate(zip(mine, theirs, strict=True))]
        if len(set(names)) < len(names):
            names = [str(k) for k in range(len(names))]
        return self.mappings(
            dict(zip(names, mine, strict=True)), dict(zip(names, theirs, strict=True))
        )

    def mappings(self, mine: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> Same:
        missing = [k for k in theirs if k not in mine]
        extra = [k for k in mine if k not in theirs]
        if missing or extra:
            said = [f"{listed(missing)} missing"] if missing else []
            said += [f"{listed(extra)} too many"] if extra else []
            return Same(False, "shapes", f"yours has {' and '.join(said)}")
        parts = {str(k): self.pair(mine[k], theirs[k]) for k in theirs}
        wrong = [k for k, part in parts.items() if not part]
        if not wrong:
            weakest = max((p.how for p in parts.values()), key=_strength, default="proved")
            return Same(True, weakest, f"all {len(parts)} expressions are equal", parts=parts)
        verb = "differs" if len(wrong) == 1 else "differ"
        reason = f"{len(wrong)} of {len(parts)} expressions {verb}"
        return Same(False, next(p.how for p in parts.values() if not p), reason, parts=parts)

    # --- two expressions ------------------------------------------------------------------------

    def pair(self, mine: Any, theirs: Any) -> Same:
        a, b = _alike(mine, theirs)
        if a.node.dims != b.node.dims:
            return self.misshapen(a, b)
        proof = prove(a.node, b.node)
        if proof and proof != RATIONAL:
            return Same(True, "proved", proof)
        case = Case(a.node, b.node, self.digits, self.tolerance, self.seed)
        if proof:
            gap = comparison.undefined(case)
            return self.different(case, gap) if gap else Same(True, "proved", proof)
        found = comparison.compare(case)
        if found.equal:
            return _agreed(case, found)
        if not found.points:
            reason = "no point was found at which both are finite"
            return Same(False, "undecided", reason, lines=_variables(a, b))
        return self.different(case, found)

    def different(self, case: Case, found: Comparison) -> Same:
        shown = found.shown
        assert shown is not None
        values = dict(_named(case, shown.point.values))
        values |= dict(shown.point.sizes)
        lines = [_example(values)] if values else []
        place = f" at [{', '.join(map(str, shown.index))}]" if shown.index else ""
        lines.append(f"There{place} {both_text(shown.mine, shown.theirs)}.")
        lines += _variables(Expr(case.mine), Expr(case.theirs))
        return Same(
            False, "counterexample", found.reason, found.hint, values, shown.index,
            shown.mine, shown.theirs, lines=tuple(lines),
        )  # fmt: skip

    def misshapen(self, a: Expr, b: Expr) -> Same:
        """Different shapes: what would make them one, tried."""
        reason = f"yours has the shape {_shape(a)}, theirs {_shape(b)}"
        for title, other in _mended(a, b):
            if self.pair(other, b):
                return Same(False, "shapes", f"{reason}: {title}, and the two are equal", title)
        if a.node.dims[::-1] == b.node.dims:
            reason += "; a transpose would give the shape, but not the values"
        return Same(False, "shapes", reason)


def _strength(how: str) -> int:
    return 0 if how == "proved" else 1 if how.endswith("digits") else 2


def _title(*values: Any) -> str:
    return next((x.name for x in values if isinstance(x, Expr) and x.name), "")


def _alike(mine: Any, theirs: Any) -> tuple[Expr, Expr]:
    """Both as expressions; a bare number takes the shape of the other."""
    if is_number(mine) and isinstance(theirs, Expr):
        return _spread(as_expr(mine), theirs), theirs
    if is_number(theirs) and isinstance(mine, Expr):
        return mine, _spread(as_expr(theirs), mine)
    return as_expr(mine), as_expr(theirs)


def _spread(number: Expr, like: Expr) -> Expr:
    node: Any = number.node
    return Expr(filled(node.body, like.node.dims, promote(number.dtype, like.dtype)))


def _axes(e: Expr) -> tuple[str, ...]:
    """Axis names, as generated code has them."""
    axes = Axes()
    for node in topological([e.node]):
        axes(node)
    return axes(e.node)


def _shape(e: Expr) -> str:
    """[batch, pixel=6]"""
    parts = [
        f"{a}={d!r}" if a and repr(d) != a else repr(d)
        for a, d in zip(_axes(e), e.node.dims, strict=True)
    ]
    return f"[{', '.join(parts)}]"


def _mended(a: Expr, b: Expr) -> list[tuple[str, Expr]]:
    """Ways to give a the shape of b, and how to say them."""
    found: list[tuple[str, Expr]] = []
    mine, wanted = list(a.node.dims), list(b.node.dims)
    if len(mine) == 2 and mine[::-1] == wanted:
        found.append(("transpose yours", transpose(a)))
    extra = [k for k in range(len(mine)) if mine[:k] + mine[k + 1 :] == wanted]
    for k in extra:
        word = _axes(a)[k] or f"axis {k}"
        if mine[k].value == 1:
            found.append((f"drop axis {k} of yours, of size 1", total(a, k)))
            continue
        if a.dtype in FLOATS:
            found.append((f"sum yours over {word}", total(a, k)))
            found.append((f"take the mean of yours over {word}", mean(a, k)))
    return found


# --- words ----------------------------------------------------------------------------------------


def _agreed(case: Case, found: Comparison) -> Same:
    """Equal at every point tried."""
    tried = f"{found.points} points, {found.generic} of them random"
    if case.tolerance is not None:
        reason = f"within the tolerance of {case.tolerance:g} at {tried}; this is no proof"
        return Same(True, "tolerance", reason)
    if found.floats:
        reason = (
            f"the same to {comparison.FLOAT_DIGITS} digits in float64 at {tried} (too large for "
            f"{case.digits} digits); this is evidence, not a proof"
        )
        return Same(True, "float64", reason)
    reason = f"the same to {case.digits} digits at {tried}; this is strong evidence, not a proof"
    return Same(True, f"{case.digits} digits", reason)


def _named(case: Case, values: Mapping[Leaf, Any]) -> list[tuple[str, Any]]:
    """Arrays by name; of two variables of one name, yours and theirs."""
    order = leaves(case.roots)
    names = [leaf.name for leaf in values]
    other = set(leaves([case.theirs]))
    found = []
    for leaf in sorted(values, key=order.index):
        whose = ("theirs" if leaf in other else "yours") if names.count(leaf.name) > 1 else ""
        found.append((f"{leaf.name} ({whose})" if whose else leaf.name, values[leaf]))
    return found


def _example(values: Mapping[str, Any]) -> str:
    texts = {name: array_text(array) for name, array in values.items()}
    shown = [f"{name} = {text}" for name, text in texts.items() if text]
    large = [name for name, text in texts.items() if not text]
    said = [f"For example with {', '.join(shown)}."] if shown else []
    if large:
        those = f"{', '.join(large[:-1])} and {large[-1]}" if len(large) > 1 else large[0]
        verb, them = ("are", "them") if len(large) > 1 else ("is", "it")
        said.append(f"{those} {verb} too large to print: the answer has {them} in .values.")
    return " ".join(said)


def _variables(a: Expr, b: Expr) -> tuple[str, ...]:
    """What is said of variables that only one of the two reads."""
    mine, theirs = (
        [n for n in leaves([e.node]) if n.kind not in ("constant", "local")] for e in (a, b)
    )
    said, mine_only = [], []
    for leaf in (n for n in mine if n not in theirs):
        twin = next((n for n in theirs if n.name == leaf.name), None)
        if twin is None:
            mine_only.append(leaf.name)
            continue
        said.append(
            f"{quoted(leaf.name)} is two variables: yours was declared{at(leaf.where)}, "
            f"theirs{at(twin.where)}; use one of them in both."
        )
    names = {n.name for n in mine}
    theirs_only = [n.name for n in theirs if n not in mine and n.name not in names]
    if mine_only:
        said.append(f"Yours reads {listed(mine_only)}, which theirs does not.")
    if theirs_only:
        said.append(f"Theirs reads {listed(theirs_only)}, which yours does not.")
    return tuple(said)
