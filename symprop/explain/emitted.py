"""emitted: the derivative of each activation as a textbook writes it, beside the one that runs.

In: a network. Out: a section: both forms as formulas, both evaluated at a point where they part
most, in float32, in float64 and at 40 digits, and a sentence made from those numbers.

    textbook   in the value h of the function, where courses write it so (`TEXTBOOK`); else what
               SymPy derives from the op's formula
    emitted    the derivative that the op declares (``symprop.ops``)

Guarantees: the numbers are computed, never quoted; where the forms are one, or agree, it says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np

from symprop import term as t
from symprop.explain import notation as nt
from symprop.explain.blocks import Block, Cell, Grid, Say, Section
from symprop.explain.elements import entry_of
from symprop.explain.network import Network
from symprop.explain.notation import Formula, Symbol
from symprop.graph import new_leaf
from symprop.oracle import Oracle
from symprop.term import Function, Term

__all__ = ["TEXTBOOK", "emitted"]

# h' in terms of z and h = f(z), as courses write it.
TEXTBOOK: dict[str, Callable[[Term, Term], Term]] = {
    "sigmoid": lambda z, h: h * (1 - h),
    "tanh": lambda z, h: 1 - h * h,
}
POINTS = (40, -40, 20, -20, 800, -800, 6, -6)
LOST = 1e-3  # relative error from which digits count as lost
DIGITS = 40
LARGE = 1000  # a score whose exponential overflows

_Z = Symbol("z", "", new_leaf("input", "z", (), "float"), 0)
_H = Symbol("h", "", new_leaf("input", "h", (), "float"), 0)


def emitted(net: Network, more: Sequence[Function] = ()) -> Section | None:
    """The section, or None where no activation and no softmax occurs; ``more``: of recurrences."""
    functions = dict.fromkeys([*(slope.fn for slope in net.slopes.values()), *more])
    rows: list[tuple[Cell, ...]] = []
    says: list[Block] = []
    for fn in functions:
        textbook, own = forms(fn)
        rows.append((Say("function_of", (("formula", nt.Call(fn, (nt.Sym(_Z),), True)),)),
                     _written(textbook), _written(own)))  # fmt: skip
        says.append(_sentence(fn, textbook, own))
    if net.normalised:
        says.append(_shift())
    if not says:
        return None
    if any(1 in forms(fn)[0].reads for fn in functions):
        says.insert(0, Say("with_h"))
    grid = [Grid(("function_is", "textbook_is", "emitted_is"), tuple(rows))] if rows else []
    return Section("emitted", (*grid, *says))


def forms(fn: Function) -> tuple[Term, Term]:
    """The textbook's derivative over (z, h), and the emitted one over (z,)."""
    op = fn.op  # type: ignore[attr-defined]
    own = t.diff(t.call(fn, t.read(0)), 0)
    known = TEXTBOOK.get(fn.name)
    return (known(t.read(0), t.read(1)) if known else one_choice(op.derived(0))), own


def one_choice(term: Term) -> Term:
    """{a where c, b elsewhere} + {d where c, e elsewhere} as one choice."""
    if not isinstance(term, t.Sum) or not term.terms:
        return term
    choices = [(x, k) for x, k in term.terms if isinstance(x, t.Call) and x.fn is t.SELECT]
    conditions = {x.args[0] for x, _ in choices}
    if len(choices) != len(term.terms) or len(conditions) != 1:
        return term
    const = t.num(term.const)
    yes = t.add(const, *(t.scale(k, x.args[1]) for x, k in choices))
    no = t.add(const, *(t.scale(k, x.args[2]) for x, k in choices))
    return t.select(conditions.pop(), yes, no)


def _written(term: Term) -> Formula:
    return entry_of(term, [nt.Sym(_Z), nt.Sym(_H)])


def _sentence(fn: Function, textbook: Term, own: Term) -> Say:
    """What the two forms give where they part most."""
    name = ("name", nt.Call(fn, (nt.Sym(_Z),), True))
    if _written(textbook) == _written(own):
        return Say("same_form", (name,))
    worst: tuple[float, int, str] = (0.0, 0, "")
    for point in POINTS:
        exact = value(fn, own, point, None)
        for width in ("float64", "float32"):
            error = _error(value(fn, textbook, point, width), exact, width)
            if error > max(worst[0], LOST):
                worst = (error, point, width)
    if not worst[2]:
        return Say("tail_kept", (name,))
    _, point, width = worst
    given = value(fn, textbook, point, width)
    key = "tail_lost" if math.isfinite(given) else "tail_overflow"
    return Say(key, (
        name, ("point", shown(point)), ("textbook", shown(given)), ("width", width),
        ("exact", shown(value(fn, own, point, None))),
        ("emitted", shown(value(fn, own, point, width))),
    ))  # fmt: skip


def _error(found: float, exact: float, width: str) -> float:
    """The relative error; what the width cannot hold counts nothing."""
    if abs(exact) < float(np.finfo(width).tiny):
        return 0.0
    return abs(found - exact) / abs(exact) if math.isfinite(found) else 1.0


def value(fn: Function, form: Term, point: float, width: str | None) -> float:
    """A form at z in a width, every operation rounded to it; None: at 40 digits."""
    if width is None:
        ctx = mpmath.mp.clone()
        ctx.dps = DIGITS
        run = Oracle(ctx)
        z = ctx.mpf(point)
        h = run.term(t.call(fn, t.read(0)))([z])
        return float(run.term(form)([z, h]))
    kind = np.dtype(width).type
    with np.errstate(all="ignore"):
        z = kind(point)
        h = _rounded(t.call(fn, t.read(0)), [z], kind)
        return float(_rounded(form, [z, h], kind))


def _rounded(term: Term, values: Sequence[Any], kind: Any) -> Any:
    """A formula with every operation rounded to a float width."""
    if isinstance(term, t.Num):
        return kind(float(term.value))
    if isinstance(term, t.Read):
        return values[term.k]
    if isinstance(term, t.Sum):
        parts = [kind(float(k)) * _rounded(x, values, kind) for x, k in term.terms]
        total = kind(float(term.const))
        for part in parts:
            total = kind(total + part)
        return total
    if isinstance(term, t.Prod):
        product = kind(1)
        for base, n in term.factors:
            x = _rounded(base, values, kind)
            product = kind(product * x**n) if n > 0 else kind(product / x**-n)
        return product
    assert isinstance(term, t.Call)
    args = [_rounded(a, values, kind) for a in term.args]
    if term.fn is t.SELECT:
        return args[1] if args[0] else args[2]
    try:
        return kind(Oracle(None).function(term.fn)(*map(float, args)))
    except OverflowError:
        return kind(np.inf)


def _shift() -> Say:
    """exp(z)/sum exp(z) at a score that overflows, as written and shifted by the maximum."""
    z = np.array([float(LARGE), 0.0])
    with np.errstate(all="ignore"):
        plain = np.exp(z) / np.sum(np.exp(z))
        moved = np.exp(z - z.max()) / np.sum(np.exp(z - z.max()))
    texts = [f"({', '.join(shown(x) for x in row)})" for row in (plain, moved)]
    return Say("shift", (("point", str(LARGE)), ("textbook", texts[0]), ("emitted", texts[1])))


def shown(x: float) -> str:
    """A number of a sentence: four digits."""
    text = f"{float(x):.4g}"
    return text.replace("-", "−")
