"""Notation: the formulas of a page, as data that can be printed and evaluated.

    formula := number | constant "pi"
             | symbol                          -- of the whole batch, or of one sample
             | symbol[ix, ...]                 -- one element (index notation)
             | flat(symbol) | flat(symbol)[ix] -- its entries in row-major order
             | ix                              -- the value of an index or a size
             | 1                               -- a column of ones
             | formula + ... | formula * ...   -- entry by entry; a scalar meets every entry
             | formula ** n
             | formula formula ...             -- a product of matrices
             | formula^T | |formula|^2         -- transposed; sum of squared entries
         | diag(formula)                   -- a column as a diagonal matrix
             | f(formula, ...) | f'(formula)   -- a function of each entry, its derivative
             | softmax(formula) | logsumexp(formula)    -- along the last axis
             | argument <op> argument | {a where c, b elsewhere} | [condition]
             | onehot(formula)                 -- a one in the place of each label
             | sum_{loops where guards} formula         -- or max, min
             | softmax_{loop where guards} formula      -- an element of it; or logsumexp
    equation := formula = formula, for the value (a node of the graph) that it states

A product with a bracket that is 0 is 0, also where another factor has no value. A column has form
(many, one), a scalar (one, one). Indices and guards are those of ``codegen.index``. An index
formula is a scalar whose free loops are the axes of its value.

In: values of the graph, as symbols. Out: immutable formulas, compared by content, and walks over
them. They are built by ``algebra``, read from a graph by ``read``, printed by ``printer`` and
evaluated by ``evaluate``.

Guarantees: data alone: nothing here changes, prints or computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from fractions import Fraction

from codegen.index import Guard, Ix, Loop
from symprop.graph import Node
from symprop.term import Function

__all__ = [
    "Add", "Along", "Bracket", "Call", "Cases", "Compare", "Constant", "Diagonal", "Equation",
    "Flat", "Formula", "Logic", "Mat", "Mul", "Norm", "Num", "OneHot", "Ones", "Partial", "Pow",
    "Ref", "Row", "Size", "Sym", "Symbol", "Total", "Transposed", "form", "indexed", "indices",
    "inside", "parts", "rebuilt",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Symbol:
    """A value's letter: ``W`` with ``sub`` 1, or the derivative of the loss in ``of``.

    ``batch`` is the axis of the value that counts samples, None where there is none; ``rank`` the
    number of its axes. ``code`` is its name in the user's program. In a recurrence ``batch`` counts
    steps, and ``step`` says which one is meant: 0 for t, -1 for t - 1.
    """

    base: str
    sub: str
    node: Node
    rank: int
    batch: int | None = None
    of: Symbol | None = None
    code: str = ""
    capital: str = ""
    step: int | None = None

    def __repr__(self) -> str:
        return f"dL/d{self.of!r}" if self.of else f"{self.base}_{self.sub}"


class Formula:
    """Anything the grammar names; compared by content."""

    __slots__ = ()


@dataclass(frozen=True)
class Num(Formula):
    """An exact number."""

    value: Fraction


@dataclass(frozen=True)
class Constant(Formula):
    """pi or infinity: ``word`` is "pi", "inf" or "nan"."""

    word: str


@dataclass(frozen=True)
class Sym(Formula):
    """A value; of one sample where ``at`` is the loop over samples."""

    symbol: Symbol
    at: Loop | None = None


@dataclass(frozen=True)
class Ref(Formula):
    """One element of a value; 0 where a guard fails."""

    symbol: Symbol
    index: tuple[Ix, ...]
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True)
class Flat(Formula):
    """A value's entries, the last index fastest: a column; a row for each sample of a batch.

    With ``index`` one of them: the sample, where the symbol counts samples, and the place.
    """

    symbol: Symbol
    at: Loop | None = None
    index: tuple[Ix, ...] = ()


@dataclass(frozen=True)
class Size(Formula):
    """The integer value of an index or a size."""

    ix: Ix


@dataclass(frozen=True)
class Ones(Formula):
    """A column of ones of this length."""

    extent: Ix


@dataclass(frozen=True)
class Add(Formula):
    """A sum, entry by entry."""

    terms: tuple[Formula, ...]


@dataclass(frozen=True)
class Mul(Formula):
    """A product, entry by entry; ``power`` -1 divides."""

    factors: tuple[Formula, ...]


@dataclass(frozen=True)
class Pow(Formula):
    """An integer power, entry by entry."""

    of: Formula
    n: int


@dataclass(frozen=True)
class Mat(Formula):
    """A product of matrices."""

    factors: tuple[Formula, ...]


@dataclass(frozen=True)
class Transposed(Formula):
    """Rows as columns."""

    of: Formula


@dataclass(frozen=True)
class Diagonal(Formula):
    """A column on the diagonal of a matrix."""

    of: Formula


@dataclass(frozen=True)
class Partial(Formula):
    """The derivative of one value in another: a left side only."""

    top: Formula
    bottom: Formula


@dataclass(frozen=True)
class Norm(Formula):
    """The sum of the squared entries."""

    of: Formula


@dataclass(frozen=True)
class Call(Formula):
    """A function of each entry; with a prime its derivative in the (only) argument."""

    fn: Function
    args: tuple[Formula, ...]
    prime: bool = False


@dataclass(frozen=True)
class Row(Formula):
    """softmax or logsumexp: of a column, or of each row where ``rows``."""

    word: str
    of: Formula
    rows: bool


@dataclass(frozen=True)
class Compare(Formula):
    """1 where a < b (lt, le, eq, ne), else 0."""

    op: str
    a: Formula
    b: Formula


@dataclass(frozen=True)
class Logic(Formula):
    """and, or, not of conditions."""

    op: str
    args: tuple[Formula, ...]


@dataclass(frozen=True)
class Bracket(Formula):
    """1 where every condition and guard holds, else 0."""

    conditions: tuple[Formula, ...]
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True)
class Cases(Formula):
    """a where c holds, b elsewhere."""

    c: Formula
    a: Formula
    b: Formula


@dataclass(frozen=True)
class OneHot(Formula):
    """A one in the place of the label, zeros elsewhere: a column, or a row for each sample."""

    of: Formula
    extent: Ix


@dataclass(frozen=True)
class Total(Formula):
    """sum, max or min over loops where the guards hold."""

    op: str
    loops: tuple[Loop, ...]
    of: Formula
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True)
class Along(Formula):
    """softmax or logsumexp of elements along a loop, over the places where the guards hold.

    Of a softmax it is the element at the loop itself: softmax_j z[i, j] is at [i, j].
    """

    word: str
    over: Loop
    of: Formula
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True)
class Equation:
    """left = right, the value of ``node``; ``loops`` are the free indices, one an axis.

    ``sample``: the loop that stays fixed in a formula of one sample; ``middle``: the sides between.
    ``kind``: forward, cotangent, gradient, chain, claim, jacobian, update, definition or step.
    ``text``: the line as its page prints it, which is what ``str`` gives.
    """

    left: Formula
    right: Formula
    node: Node
    kind: str
    loops: tuple[Loop, ...] = ()
    sample: Loop | None = None
    middle: tuple[Formula, ...] = ()
    text: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return self.text or repr(self)


# --- walks --------------------------------------------------------------------------------------


def form(of: Formula) -> tuple[bool, bool]:
    """Whether a formula has many rows, and many columns."""
    match of:
        case Sym(symbol, at):
            dims = [d.value != 1 for k, d in enumerate(symbol.node.dims)
                    if at is None or k != symbol.batch]  # fmt: skip
            return (*dims, False, False)[0], (*dims, False, False)[1]
        case Ones():
            return True, False
        case Flat(symbol, at, index):
            return not index, not index and at is None and symbol.batch is not None
        case Transposed(inner):
            rows, columns = form(inner)
            return columns, rows
        case Mat(factors):
            return form(factors[0])[0], form(factors[-1])[1]
        case OneHot(inner, _):
            return True, form(inner)[0]
        case Diagonal():
            return True, True
        case Row("logsumexp", inner, rows):
            return rows, False
        case Row(_, inner, _):
            return form(inner)
        case Pow(inner, _):
            return form(inner)
        case Total(_, _, inner, _) if not indexed(inner):
            return form(inner)
        case _:
            forms = [form(f) for f in parts(of)]
            return any(f[0] for f in forms), any(f[1] for f in forms)


def indexed(of: Formula) -> bool:
    """Whether the formula is one of elements, with indices."""
    own = isinstance(of, Ref) or (isinstance(of, Size) and bool(of.ix.loops))
    own = own or (isinstance(of, Flat) and bool(of.index))
    return own or any(map(indexed, parts(of)))


def parts(of: Formula) -> tuple[Formula, ...]:
    """The direct operands, entry by entry."""
    match of:
        case Add(items) | Mul(items) | Mat(items) | Call(_, items, _) | Logic(_, items):
            return items
        case Bracket(items, _):
            return items
        case (
            Diagonal(inner)
            | Pow(inner, _)
            | Transposed(inner)
            | Row(_, inner, _)
            | OneHot(inner, _)
        ):
            return (inner,)
        case Total(_, _, inner, _) | Along(_, _, inner, _):
            return (inner,)
        case Compare(_, a, b):
            return a, b
        case Cases(c, a, b):
            return c, a, b
        case _:
            return ()


def rebuilt(of: Formula, change: Callable[[Formula], Formula | None]) -> Formula:
    """The formula with parts replaced, outer first; ``change`` gives None to look inside."""
    new = change(of)
    if new is not None:
        return new
    found: dict[str, object] = {}
    for item in fields(of):  # type: ignore[arg-type]
        value = getattr(of, item.name)
        if isinstance(value, Formula):
            found[item.name] = rebuilt(value, change)
        elif isinstance(value, tuple) and value and isinstance(value[0], Formula):
            found[item.name] = tuple(rebuilt(v, change) for v in value)
    return replace(of, **found) if found else of  # type: ignore[type-var]


def inside(of: Formula) -> list[Formula]:
    """The formula and every one inside it, outer first (norms too)."""
    found: list[Formula] = []
    stack = [of]
    while stack:
        item = stack.pop()
        found.append(item)
        below = (item.of,) if isinstance(item, Norm) else parts(item)
        if isinstance(item, Partial):
            below = (item.top, item.bottom)
        stack += reversed(below)
    return found


def indices(item: Formula) -> list[Ix]:
    """The indices that one formula holds itself."""
    match item:
        case Ref(_, index, guards):
            return [*index, *(g.ix for g in guards)]
        case Size(ix):
            return [ix]
        case Flat(_, _, index):
            return list(index)
        case Bracket(_, guards) | Total(_, _, _, guards) | Along(_, _, _, guards):
            return [g.ix for g in guards]
        case _:
            return []
