"""How much memory a call of NumPy text takes: the arrays that it names, and those of its lines.

In: for each value of a function, what its lines assign and the steps that they carry out. Out: a
``Poly``, bytes in the named dimensions.

Guarantees: a bound that is rarely reached, since NumPy frees what a line needs as soon as it can:
every named array counts until the function returns, a view counts nothing, and on top stands the
most that any one line holds besides its result. What NumPy's own functions need inside is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from codegen.dtypes import WIDTH
from codegen.functions import NUMPY_HELPERS
from codegen.index import Ix
from codegen.numpy_steps import Statement
from codegen.polynomial import Poly, added, buffer_bytes, product, size_of
from codegen.printer import Attr, Bin, CallE, Cmp, Expr, IfE, Item, Name, Seq, SliceE, Un, parts
from codegen.program import Assign, Buffer

__all__ = ["Memory", "most"]

_VIEWS = ("sliding_window_view", "np.broadcast_to", "reshape", "transpose", "swapaxes")
_CONTRACTIONS = ("np.einsum", "np.tensordot")
# Arrays that a helper of ``codegen.numpy_helpers`` holds at most besides its result.
INSIDE = {
    "erf": 9, "erfc": 9, "normal_cdf": 9, "normal_pdf": 9, "exp_square": 8, "random_bits": 11,
}  # fmt: skip
FEW = 4  # the other helpers


@dataclass
class Memory:
    """The memory of one function while its lines are counted."""

    buffers: dict[str, Buffer]
    local: dict[str, str]
    kept: Poly = field(default_factory=dict)
    besides: Poly = field(default_factory=dict)  # the most that one line holds besides

    def total(self) -> Poly:
        """Bytes of one call."""
        return added((self.kept, self.besides))

    def assign(self, steps: Sequence[Assign], statements: Sequence[Statement]) -> None:
        """The lines of one value; ``steps`` are those whose formulas stand in them."""
        target = self.buffers[steps[-1].target]
        names = {self.local[s.target]: buffer_bytes(self.buffers[s.target]) for s in steps}
        width = max(WIDTH[self.buffers[s.target].dtype] // 8 for s in steps)
        made: dict[str, Poly] = {}
        for s in statements:
            points = most(self.points(step, s.expr) for step in steps)
            held, own = _held(s.expr, width)
            if s.head == f"{s.name} = " and s.name.isidentifier() and own:
                made[s.name] = names.get(s.name) or product(points, {(): own})
                held -= own
            self.besides = most((self.besides, product(points, {(): held})))
        if target.role == "scratch" or made:
            self.kept = added((self.kept, *made.values()))

    def points(self, step: Assign, expr: Expr) -> Poly:
        """How many elements the arrays of a step's formula have at most."""
        wide = any(
            (isinstance(p, Bin) and p.op == "@")
            or (isinstance(p, CallE) and _called(p) in _CONTRACTIONS)
            for p in parts(expr)
        )
        out = _elements(self.buffers[step.target].dims)
        return out if wide else most((out, _elements([v.extent for v in step.loops])))

    def call(self, targets: Sequence[str], inner: Poly, turns: bool) -> None:
        """A call of another function, whose results stay; in a loop, the next call's results are
        made before the last one's are gone."""
        stay = added(buffer_bytes(self.buffers[t]) for t in targets)
        self.kept = added((self.kept, stay))
        left = {} if turns else stay
        rest = {key: max(0, k - left.get(key, 0)) for key, k in inner.items()}
        self.besides = most((self.besides, rest))


def most(polys: Iterable[Poly]) -> Poly:
    """At least as much as each, for any sizes: the greatest coefficient of each term."""
    out: Poly = {}
    for poly in polys:
        for key, k in poly.items():
            out[key] = max(out.get(key, k), k)
    return out


def _elements(dims: Iterable[Ix]) -> Poly:
    total: Poly = {(): 1}
    for d in dims:
        total = product(total, size_of(d))
    return total


def _held(e: Expr, width: int) -> tuple[int, int]:
    """Bytes an element that an expression holds at most, and that its value takes."""
    peak = now = 0
    for child in _operands(e):
        inner, own = _held(child, width)
        peak = max(peak, now + inner)
        now += own
    own = _own(e, width, now)
    inside = 0
    if isinstance(e, CallE) and _called(e) in NUMPY_HELPERS:
        inside = width * INSIDE.get(_called(e), FEW)
    return max(peak, now + inside + (own if own != now or not _view(e) else 0)), own


def _operands(e: Expr) -> tuple[Expr, ...]:
    """What is computed before an expression, in order."""
    match e:
        case CallE(function, args, keywords):
            base = (function.base,) if isinstance(function, Attr) else ()
            return (*base, *args, *(value for _, value in keywords))
        case Bin(_, a, b) | Cmp(_, a, b):
            return (a, b)
        case IfE(a, b, c):
            return (a, b, c)
        case Un(_, x) | Attr(x, _):
            return (x,)
        case Item(base, items):
            return (base, *items)
        case Seq(_, items):
            return items
    return ()


def _own(e: Expr, width: int, now: int) -> int:
    """Bytes an element of a value: none of a name or a view of one."""
    if isinstance(e, Name | SliceE) or not _operands(e):
        return 0
    if _view(e):
        return now
    return 1 if _truth(e) else width


def _view(e: Expr) -> bool:
    match e:
        case Attr() | Seq():
            return True
        case Item(_, items):
            return all(isinstance(i, SliceE) or (not _operands(i) and _plain(i)) for i in items)
        case CallE():
            return _called(e) in _VIEWS
    return False


def _plain(e: Expr) -> bool:
    return not isinstance(e, Name) or e.text in ("None", "...")


def _truth(e: Expr) -> bool:
    return (
        isinstance(e, Cmp)
        or (isinstance(e, Un) and e.op != "-")
        or (isinstance(e, Bin) and e.op in ("&", "|") and _truth(e.left))
    )


def _called(e: CallE) -> str:
    """The name of a function, or of a method."""
    function = e.function
    return function.name if isinstance(function, Attr) else getattr(function, "text", "")
