"""algebra: the constructors of formulas.

In: formulas. Out: formulas in a light normal form: sums and products are flat, one number stands in
front, common scalar factors come out of a sum, transposes stand at symbols, sums over the same
samples are one.

Guarantees: the value is unchanged over the reals; an order of terms and factors that a textbook
would write (products before what is added, negative terms last, functions last).
"""

from __future__ import annotations

from fractions import Fraction

from codegen.index import Loop
from symprop.explain.notation import (
    Add,
    Bracket,
    Call,
    Cases,
    Compare,
    Formula,
    Logic,
    Mat,
    Mul,
    Num,
    OneHot,
    Ones,
    Pow,
    Ref,
    Sym,
    Total,
    Transposed,
    form,
    indexed,
    inside,
    rebuilt,
)
from symprop.graph import Leaf

__all__ = [
    "ERROR",
    "ONE",
    "ZERO",
    "add",
    "coefficient",
    "mat",
    "mul",
    "number",
    "power",
    "transposed",
]

ERROR = "δ"  # the letter of the derivative in a pre-activation
ZERO, ONE = Num(Fraction(0)), Num(Fraction(1))


def number(value: Fraction | int) -> Num:
    """An exact number."""
    return Num(Fraction(value))


def add(*terms: Formula) -> Formula:
    """The sum, flattened; zeros dropped."""
    flat: list[Formula] = []
    total = Fraction(0)
    for item in terms:
        for part in item.terms if isinstance(item, Add) else (item,):
            if isinstance(part, Num):
                total += part.value
            else:
                flat.append(part)
    if total:
        flat.append(Num(total))
    if not flat:
        return ZERO
    common = _common(flat)
    if common:  # (p - onehot(y)) / B
        rest = [mul(*(power(f, -1) for f in common), item) for item in flat]
        return mul(*common, add(*rest))
    flat = _joined(flat)
    if len(flat) == 1:
        return flat[0]
    flat.sort(key=_late)  # W x + b, p - onehot(y)
    return flat[0] if len(flat) == 1 else Add(tuple(flat))


def _common(terms: list[Formula]) -> list[Formula]:
    """The scalar factors that every term has."""
    if len(terms) < 2:
        return []
    rows = [item.factors if isinstance(item, Mul) else (item,) for item in terms]
    found = [f for f in rows[0] if form(f) == (False, False) and not isinstance(f, Num)
             and all(f in row for row in rows[1:])]  # fmt: skip
    values = {abs(coefficient(item)) for item in terms}
    if len(values) == 1 and values != {Fraction(1)}:
        found.append(Num(values.pop()))
    return found


def _joined(terms: list[Formula]) -> list[Formula]:
    """Sums over the same samples as one."""
    found: dict[Loop, list[Formula]] = {}
    rest: list[Formula] = []
    for item in terms:
        if _over_samples(item):
            assert isinstance(item, Total)
            found.setdefault(item.loops[0], []).append(item.of)
        else:
            rest.append(item)
    return [*(Total("sum", (v,), add(*of)) for v, of in found.items()), *rest]


def _over_samples(item: Formula) -> bool:
    """A sum over one loop of a formula of matrices."""
    plain = isinstance(item, Total) and item.op == "sum" and len(item.loops) == 1
    return plain and not item.guards and not indexed(item.of)  # type: ignore[attr-defined]


def _late(item: Formula) -> tuple[bool, bool, bool]:
    """Negative terms come last; products of matrices come first, repeated rows after them."""
    product = any(isinstance(f, Mat | Total) for f in inside(item))
    repeated = any(isinstance(f, Ones) for f in inside(item))
    return coefficient(item) < 0, not (product or isinstance(item, Mul)), repeated


def coefficient(item: Formula) -> Fraction:
    """The number in front."""
    if isinstance(item, Num):
        return item.value
    if isinstance(item, Mul) and isinstance(item.factors[0], Num):
        return item.factors[0].value
    return Fraction(1)


def mul(*factors: Formula) -> Formula:
    """The product entry by entry: flat, one number in front, equal bases collected."""
    value = Fraction(1)
    powers: dict[Formula, int] = {}
    for item in factors:
        for part in item.factors if isinstance(item, Mul) else (item,):
            base, n = (part.of, part.n) if isinstance(part, Pow) else (part, 1)
            if isinstance(base, Num):
                value *= base.value**n
            else:
                powers[base] = powers.get(base, 0) + n
    if value == 0:
        return ZERO
    kept = [power(base, n) for base, n in powers.items() if n]
    kept.sort(key=_place)
    if value != 1 or not kept:
        kept.insert(0, Num(value))
    return kept[0] if len(kept) == 1 else Mul(tuple(kept))


def _place(factor: Formula) -> tuple[int, ...]:
    """Scalars lead, slopes come last, f(z) before f(-z), sums after what is no sum, derivatives
    after the rate that multiplies them; elements: parameters, derivatives, values, brackets."""
    slope = isinstance(factor, Call) and factor.prime
    turned = isinstance(factor, Call) and coefficient(factor.args[0]) < 0
    own = not slope and form(factor) == (False, False) and isinstance(factor, Add)
    derived = isinstance(factor, Sym) and factor.symbol.of is not None
    scalar = form(factor) == (False, False)
    composed = not scalar and not isinstance(factor, Sym)
    return not scalar, slope, own, composed, derived, turned, _element(factor)


def _element(factor: Formula) -> int:
    """Where a factor stands among elements: w[i, j] x[j]."""
    if isinstance(factor, Bracket):
        return 4
    if not indexed(factor):
        return 0
    if not isinstance(factor, Ref):
        return 3
    node = factor.symbol.node
    if isinstance(node, Leaf):
        return 1 if node.kind == "parameter" else 3
    return 2 if factor.symbol.of is not None or factor.symbol.base == ERROR else 3


def arranged(of: Formula) -> Formula:
    """The formula with the factors of its products in order again."""
    return rebuilt(of, lambda f: mul(*map(arranged, f.factors)) if isinstance(f, Mul) else None)


def power(of: Formula, n: int) -> Formula:
    """An integer power."""
    if n == 0:
        return ONE
    if isinstance(of, Num):
        return Num(of.value**n)
    if isinstance(of, Pow):
        return power(of.of, of.n * n)
    if isinstance(of, Bracket | OneHot) and n > 0:
        return of  # 0 or 1
    if isinstance(of, Mul) and n != 1:
        return mul(*(power(f, n) for f in of.factors))
    return of if n == 1 else Pow(of, n)


def mat(*factors: Formula) -> Formula:
    """The product of matrices, flattened, numbers and scalars in front."""
    flat: list[Formula] = []
    front: list[Formula] = []
    for item in factors:
        for part in item.factors if isinstance(item, Mat) else (item,):
            if isinstance(part, Mul):
                scalars = [f for f in part.factors if form(f) == (False, False)]
                front += scalars
                part = mul(*(f for f in part.factors if form(f) != (False, False)))
            flat.append(part)
    product = flat[0] if len(flat) == 1 else Mat(tuple(flat))
    return mul(*front, product) if front else product


def transposed(of: Formula) -> Formula:
    """The transpose, moved inwards to the symbols of a product."""
    rows, columns = form(of)
    if not rows and not columns:
        return of
    if isinstance(of, Transposed):
        return of.of
    if isinstance(of, Mat):
        return Mat(tuple(transposed(f) for f in reversed(of.factors)))
    if isinstance(of, Mul):
        return Mul(tuple(transposed(f) for f in of.factors))
    if isinstance(of, Add):
        return Add(tuple(transposed(f) for f in of.terms))
    if isinstance(of, Pow):
        return Pow(transposed(of.of), of.n)
    if isinstance(of, Total):
        return Total(of.op, of.loops, transposed(of.of), of.guards)
    if isinstance(of, Compare):
        return Compare(of.op, transposed(of.a), transposed(of.b))
    if isinstance(of, Logic):
        return Logic(of.op, tuple(map(transposed, of.args)))
    if isinstance(of, Bracket):
        return Bracket(tuple(map(transposed, of.conditions)), of.guards)
    if isinstance(of, Cases):
        return Cases(transposed(of.c), transposed(of.a), transposed(of.b))
    if isinstance(of, Call):
        inner = tuple(transposed(f) for f in of.args)
        if sum(map(_turned, inner)) < sum(map(_turned, of.args)):
            return Call(of.fn, inner, of.prime)
    return Transposed(of)


def _turned(of: Formula) -> int:
    """How many transposes a formula shows."""
    return sum(isinstance(f, Transposed) for f in inside(of))
