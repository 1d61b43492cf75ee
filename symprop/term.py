"""Term: the scalar formula inside one node, over the node's reads.

    term := rational number | read k
          | const + sum of coefficient * term            -- Sum: rational coefficients
          | product of term ** integer                    -- Prod
          | function(term, ...)                           -- Call: a registered op, select, compare

In: reads by position, exact rationals, functions declared once (``symprop.ops``) with their
formulas and derivatives in SymPy. Out: interned, immutable terms in normal form, their partial
derivatives, substitutions and operation counts.

Guarantees: equal terms are one object; order is structural. A term denotes a real-valued formula:
sums are flattened and like terms collected, integer powers of one sign merged, but a number is
never distributed over a sum ((x - y)/32 keeps its two operations), a positive power never cancels
a negative one (x/x needs x != 0: a rule with a condition, not a normal form), and no function is
rewritten (sqrt(x**2), exp(x)*exp(-x) stay as written).

SymPy defines, differentiates and typesets each op's own formula; a network's bodies are these
terms because renaming a SymPy body costs 0.1 to 3 ms where this costs microseconds, and because
SymPy's automatic arithmetic would rewrite bodies unlogged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from weakref import WeakValueDictionary

from symprop.errors import DeclarationError

ONE = Fraction(1)
ZERO = Fraction(0)
REMEMBERED = 4096  # substitutions that are remembered: equal layers ask for the same few


class ZeroDivisorError(DeclarationError, ZeroDivisionError):
    """A formula divides by what is 0 whatever the values are, such as x - x."""


class Function:
    """A named scalar function of terms.

    ``partial(i)`` is the derivative with respect to argument i as a term over reads 0..arity-1
    (None: zero everywhere it is defined). ``kind`` is the result: "float", "bool", or "same" (the
    promoted type of the arguments). ``cost`` is its number of scalar operations.
    """

    __slots__ = ("_fold", "_partials", "arity", "cost", "kind", "name", "partial_of")

    def __init__(
        self,
        name: str,
        arity: int,
        partial: Callable[[int], Term | None] | None = None,
        kind: str = "float",
        cost: int = 1,
        fold: Callable[..., Term | None] | None = None,
    ) -> None:
        self.name, self.arity, self.kind, self.cost = name, arity, kind, cost
        self.partial_of = partial
        self._fold = fold
        self._partials: dict[int, Term | None] = {}

    def __repr__(self) -> str:
        return self.name

    @property
    def given(self) -> str:
        """The name as it was given: "swishy" of swishy@18fda56af2, two of which may differ."""
        return self.name.partition("@")[0]

    def partial(self, i: int) -> Term | None:
        """The derivative with respect to argument i, over reads 0..arity-1; None: zero."""
        if i not in self._partials:
            self._partials[i] = None if self.partial_of is None else self.partial_of(i)
        return self._partials[i]


class Term:
    """A scalar formula; compared by identity."""

    __slots__ = ("__weakref__", "_cost", "_diff", "digest", "reads")
    digest: bytes
    reads: tuple[int, ...]
    _cost: int | None
    _diff: dict[int, Term] | None

    def __add__(self, other: Term | int | Fraction) -> Term:
        return add(self, other)

    __radd__ = __add__

    def __sub__(self, other: Term | int | Fraction) -> Term:
        return add(self, neg(as_term(other)))

    def __rsub__(self, other: int | Fraction) -> Term:
        return add(as_term(other), neg(self))

    def __mul__(self, other: Term | int | Fraction) -> Term:
        return mul(self, as_term(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Term | int | Fraction) -> Term:
        return mul(self, power(as_term(other), -1))

    def __rtruediv__(self, other: int | Fraction) -> Term:
        return mul(as_term(other), power(self, -1))

    def __neg__(self) -> Term:
        return neg(self)

    def __pow__(self, n: int) -> Term:
        return power(self, n)

    def __repr__(self) -> str:
        return render(self, lambda k: f"x{k}")


class Num(Term):
    """An exact rational."""

    __slots__ = ("value",)
    value: Fraction


class Read(Term):
    """The value of the node's read number k."""

    __slots__ = ("k",)
    k: int


class Sum(Term):
    """const + sum of coefficient * term; one term alone is a scaled term."""

    __slots__ = ("const", "terms")
    const: Fraction
    terms: tuple[tuple[Term, Fraction], ...]


class Prod(Term):
    """Product of integer powers (never a number, never a single first power)."""

    __slots__ = ("factors",)
    factors: tuple[tuple[Term, int], ...]


class Call(Term):
    """A function of terms."""

    __slots__ = ("args", "fn")
    fn: Function
    args: tuple[Term, ...]


_TERMS: WeakValueDictionary[tuple[object, ...], Term] = WeakValueDictionary()


def _new(
    cls: type[Term], key: tuple[object, ...], parts: Iterable[bytes], children: Iterable[Term]
) -> Term:
    term = cls()
    h = blake2b(cls.__name__.encode(), digest_size=12)
    for part in parts:
        h.update(len(part).to_bytes(2, "little"))
        h.update(part)
    term.digest = h.digest()
    term._cost = term._diff = None
    used: set[int] = set()
    for child in children:
        used.update(child.reads)
    term.reads = tuple(sorted(used))
    _TERMS[key] = term
    return term


def _text(q: Fraction) -> bytes:
    return f"{q.numerator}/{q.denominator}".encode()


_NUMBERS: dict[Fraction, Term] = {}


def num(value: int | Fraction) -> Term:
    """An exact number."""
    q = value if isinstance(value, Fraction) else Fraction(value)
    found = _NUMBERS.get(q)
    if found is None:
        key = (Num, q)
        found = _TERMS.get(key)
        if found is None:
            found = _new(Num, key, (_text(q),), ())
            found.value = q  # type: ignore[attr-defined]
        if len(_NUMBERS) < 4096:
            _NUMBERS[q] = found
    return found


_READS: list[Term] = []


def read(k: int) -> Term:
    """Read number k."""
    while len(_READS) <= k:
        n = len(_READS)
        term = _new(Read, (Read, n), (str(n).encode(),), ())
        term.k = n  # type: ignore[attr-defined]
        term.reads = (n,)
        _READS.append(term)
    return _READS[k]


def as_term(x: Term | int | Fraction) -> Term:
    """A number or a term, as the last."""
    return x if isinstance(x, Term) else num(x)


def coefficient(t: Term) -> tuple[Fraction, Term]:
    """t = coefficient * rest, the rest without a numeric factor (1 for a number)."""
    if isinstance(t, Num):
        return t.value, num(1)
    if isinstance(t, Sum) and t.const == 0 and len(t.terms) == 1:
        rest, k = t.terms[0]
        return k, rest
    return ONE, t


def scale(k: Fraction | int, t: Term) -> Term:
    """k * t without distributing over a sum of several terms (a sign is distributed: exact)."""
    if k is ONE or k == 1:
        return t
    if isinstance(t, Num):
        return num(k * t.value)
    own, rest = coefficient(t)
    if own is not ONE:
        k = own * k
        if k == 1:
            return rest
    if k == 0:
        return num(0)
    if k == -1 and isinstance(rest, Sum):
        return _sum(-rest.const, tuple([(x, -c) for x, c in rest.terms]))
    return _sum(ZERO, ((rest, k if isinstance(k, Fraction) else Fraction(k)),))


def neg(t: Term) -> Term:
    """-t."""
    return scale(-1, t)


def _sum(const: Fraction, terms: tuple[tuple[Term, Fraction], ...]) -> Term:
    key = (Sum, const.as_integer_ratio(), *[(t, k.as_integer_ratio()) for t, k in terms])
    found = _TERMS.get(key)
    if found is None:
        parts = [_text(const)]
        for t, k in terms:
            parts += (t.digest, _text(k))
        found = _new(Sum, key, parts, (t for t, _ in terms))
        found.const, found.terms = const, terms  # type: ignore[attr-defined]
    return found


def add(*args: Term | int | Fraction) -> Term:
    """The sum, flattened, like terms collected."""
    const = ZERO
    total: dict[Term, Fraction] = {}
    for arg in args:
        t = as_term(arg)
        if isinstance(t, Num):
            const += t.value
        elif isinstance(t, Sum) and coefficient(t)[1] is t:  # k*(a + b) stays one term
            const += t.const
            for x, k in t.terms:
                total[x] = total.get(x, ZERO) + k
        else:
            k, x = coefficient(t)
            total[x] = total.get(x, ZERO) + k
    kept = [(t, k) for t, k in total.items() if k]
    if not kept:
        return num(const)
    if const == 0 and len(kept) == 1:
        return scale(kept[0][1], kept[0][0])
    unit = [t for t, k in kept if isinstance(t, Sum) and abs(k) == 1]
    if unit:  # a collected coefficient became +-1: flatten
        return add(num(const), *(scale(k, t) for t, k in kept))
    kept.sort(key=lambda tk: tk[0].digest)
    return _sum(const, tuple(kept))


def mul(*args: Term | int | Fraction) -> Term:
    """The product, flattened; powers of one sign merged, the number kept outside."""
    k = ONE
    powers: dict[tuple[Term, bool], int] = {}
    for arg in args:
        c, t = coefficient(as_term(arg))
        if c is not ONE:
            k = c if k is ONE else k * c
            if not k:
                return num(0)
        if isinstance(t, Num):
            continue
        factors = t.factors if isinstance(t, Prod) else ((t, 1),)
        for base, n in factors:
            slot = (base, n > 0)
            powers[slot] = powers.get(slot, 0) + n
    if not powers:
        return num(k)
    items = [(base, n) for (base, _), n in powers.items()]
    return scale(k, _prod(items))


def _prod(items: list[tuple[Term, int]]) -> Term:
    if len(items) == 1 and items[0][1] == 1:
        return items[0][0]
    items.sort(key=lambda bn: (bn[0].digest, bn[1]))
    key = (Prod, *items)
    found = _TERMS.get(key)
    if found is None:
        parts: list[bytes] = []
        for base, n in items:
            parts += (base.digest, str(n).encode())
        found = _new(Prod, key, parts, (b for b, _ in items))
        found.factors = tuple(items)  # type: ignore[attr-defined]
    return found


def power(t: Term, n: int) -> Term:
    """t ** n for an integer n.

    Raises ZeroDivisorError for 0 ** negative: a term has no number for it.
    """
    if n == 1:
        return t
    if n == 0:
        return num(1)
    k, rest = coefficient(t)
    if k is not ONE:
        if k == 0 and n < 0:
            raise ZeroDivisorError(
                "division by what is 0 whatever the values are, such as x - x: leave it out"
            )
        k = k**n
        if k == 0:
            return num(0)
    if isinstance(rest, Num):
        return num(k)
    if isinstance(rest, Prod):
        if n > 0 or all(m > 0 for _, m in rest.factors):
            return scale(k, _prod([(b, m * n) for b, m in rest.factors]))
        merged: dict[tuple[Term, bool], int] = {}
        for b, m in rest.factors:
            slot = (b, m * n > 0)
            merged[slot] = merged.get(slot, 0) + m * n
        return scale(k, _prod([(b, m) for (b, _), m in merged.items()]))
    return scale(k, _prod([(rest, n)]))


def call(fn: Function, *args: Term | int | Fraction) -> Term:
    """fn(args), folded where the function says so exactly."""
    terms = tuple(as_term(a) for a in args)
    if fn._fold is not None:
        folded = fn._fold(*terms)
        if folded is not None:
            return folded
    key = (Call, fn, *terms)
    found = _TERMS.get(key)
    if found is None:
        parts = [fn.name.encode(), *(t.digest for t in terms)]
        found = _new(Call, key, parts, terms)
        found.fn, found.args = fn, terms  # type: ignore[attr-defined]
    return found


# --- structural functions: selection, comparison, logic, casts, the strong product -----------


def _fold_select(c: Term, a: Term, b: Term) -> Term | None:
    if a is b:
        return a
    if isinstance(c, Num):
        return a if c.value else b
    if isinstance(c, Call) and c.fn is NOT:
        return call(SELECT, c.args[0], b, a)
    if isinstance(b, Call) and b.fn is SELECT and b.args[0] is c:
        return call(SELECT, c, a, b.args[2])
    if isinstance(a, Call) and a.fn is SELECT and a.args[0] is c:
        return call(SELECT, c, a.args[1], b)
    taken = _taken_factors(c, a)
    return None if taken is a else call(SELECT, c, taken, b)


def _taken_factors(c: Term, x: Term) -> Term:
    """A product where c holds: of a factor that is a selection by c, what it selects."""
    k, rest = coefficient(x)
    if not isinstance(rest, Prod):
        return x
    taken = [(b.args[1], n) if isinstance(b, Call) and b.fn is SELECT and b.args[0] is c else (b, n)
             for b, n in rest.factors]  # fmt: skip
    if all(a is b for (a, _), (b, _) in zip(taken, rest.factors, strict=True)):
        return x
    return scale(k, mul(*(power(b, n) for b, n in taken)))


def _fold_compare(test: Callable[[Any, Any], bool]) -> Callable[..., Term | None]:
    def fold(a: Term, b: Term) -> Term | None:
        x, y = _number(a), _number(b)
        return None if x is None or y is None else num(int(test(x, y)))

    return fold


def _number(t: Term) -> Fraction | float | None:
    """The value of a number or of an infinity, or None."""
    if isinstance(t, Num):
        return t.value
    k, rest = coefficient(t)
    if isinstance(rest, Call) and rest.fn is INFINITY:
        return math.inf if k > 0 else -math.inf
    return None


def _select_partial(i: int) -> Term | None:
    if i == 0:
        return None
    one, zero = num(1), num(0)
    return call(SELECT, read(0), one if i == 1 else zero, zero if i == 1 else one)


SELECT = Function("select", 3, _select_partial, "same", fold=_fold_select)
LT = Function("lt", 2, kind="bool", fold=_fold_compare(lambda a, b: a < b))
LE = Function("le", 2, kind="bool", fold=_fold_compare(lambda a, b: a <= b))
EQ = Function("eq", 2, kind="bool", fold=_fold_compare(lambda a, b: a == b))
NE = Function("ne", 2, kind="bool", fold=_fold_compare(lambda a, b: a != b))


def _fold_not(a: Term) -> Term | None:
    if isinstance(a, Num):
        return num(int(not a.value))
    if isinstance(a, Call) and a.fn is NOT:
        return a.args[0]
    if isinstance(a, Call) and a.fn is EQ:
        return call(NE, *a.args)
    if isinstance(a, Call) and a.fn is NE:
        return call(EQ, *a.args)
    return None


def _fold_logic(absorbing: int) -> Callable[..., Term | None]:
    def fold(a: Term, b: Term) -> Term | None:
        for x, y in ((a, b), (b, a)):
            if isinstance(x, Num):
                return num(absorbing) if bool(x.value) == bool(absorbing) else y
        return a if a is b else None

    return fold


NOT = Function("not", 1, kind="bool", fold=_fold_not)
AND = Function("and", 2, kind="bool", fold=_fold_logic(0))
OR = Function("or", 2, kind="bool", fold=_fold_logic(1))


def _fold_strong(g: Term, d: Term) -> Term | None:
    k, rest = coefficient(g)
    if k == 0:
        return num(0)
    if isinstance(d, Num):
        return mul(g, d)
    if isinstance(rest, Num):
        return mul(g, d)
    return None


STRONG_MUL = Function(
    "strong_mul",
    2,
    lambda i: read(1 - i),
    fold=_fold_strong,
    cost=2,
)
"""strong_mul(g, d) = g*d, exactly 0 where g is 0 whatever d is (NaN and infinities included)."""

INFINITY = Function("inf", 0, cost=0)
NAN = Function("nan", 0, cost=0)
PI = Function("pi", 0, cost=0)
CASTS = {
    d: Function(f"cast_{d}", 1, lambda i: num(1), kind=d, cost=0)
    for d in ("bool", "int32", "int64", "float", "float32", "float64")
}
STRUCTURAL: tuple[Function, ...] = (
    SELECT, LT, LE, EQ, NE, NOT, AND, OR, STRONG_MUL, INFINITY, NAN, PI, *CASTS.values(),
)  # fmt: skip


def select(c: Term, a: Term | int, b: Term | int) -> Term:
    """a where c holds, else b."""
    return call(SELECT, c, a, b)


def replace(t: Term, mapping: Sequence[Term]) -> Term:
    """t with read k replaced by mapping[k] (simultaneously)."""
    return _replaced(t, tuple([mapping[k] for k in t.reads]))


@lru_cache(REMEMBERED)
def _replaced(t: Term, used: tuple[Term, ...]) -> Term:
    """t with its reads, in their order, replaced by the terms ``used``."""
    mapping = dict(zip(t.reads, used, strict=True))
    if all(new is _READS[k] for k, new in mapping.items()):
        return t
    memo: dict[Term, Term] = {}

    def go(x: Term) -> Term:
        found = memo.get(x)
        if found is None:
            found = mapping[x.k] if isinstance(x, Read) else _over(x, go)
            memo[x] = found
        return found

    return go(t)


def rewrite(t: Term, change: Callable[[Term], Term | None]) -> Term:
    """Bottom-up: ``change`` may replace each rebuilt subterm (None: keep)."""
    memo: dict[Term, Term] = {}

    def go(x: Term) -> Term:
        found = memo.get(x)
        if found is None:
            new = _over(x, go)
            changed = change(new)
            found = new if changed is None else changed
            memo[x] = found
        return found

    return go(t)


def exchange(t: Term, mapping: Mapping[Term, Term]) -> Term:
    """t with the terms of the mapping replaced where they stand, the largest first."""
    memo: dict[Term, Term] = dict(mapping)

    def go(x: Term) -> Term:
        found = memo.get(x)
        if found is None:
            found = memo[x] = _over(x, go)
        return found

    return go(t)


def _over(x: Term, go: Callable[[Term], Term]) -> Term:
    """x with each operand replaced by what ``go`` makes of it; x itself where that is the same."""
    old = children(x)
    new = [go(y) for y in old]
    if all(a is b for a, b in zip(old, new, strict=True)):
        return x
    if isinstance(x, Sum):
        return add(num(x.const), *(scale(k, y) for y, (_, k) in zip(new, x.terms, strict=True)))
    if isinstance(x, Prod):
        return mul(*(_raised(b, n) for b, (_, n) in zip(new, x.factors, strict=True)))
    assert isinstance(x, Call)
    return call(x.fn, *new)


def _raised(base: Term, n: int) -> Term:
    """A power inside a formula whose reads were given: 1/0 is infinite, as floats have it; most
    often it stands in a branch that is not taken."""
    if n < 0 and isinstance(base, Num) and base.value == 0:
        return call(INFINITY)
    return power(base, n)


def diff(t: Term, k: int) -> Term:
    """The partial derivative with respect to read k."""
    if k not in t.reads:
        return num(0)
    if t._diff is None:
        t._diff = {}
    found = t._diff.get(k)
    if found is not None:
        return found
    out: Term
    if isinstance(t, Read):
        out = num(1)
    elif isinstance(t, Sum):
        out = add(*(scale(c, diff(x, k)) for x, c in t.terms))
    elif isinstance(t, Prod):
        parts = []
        for j, (base, n) in enumerate(t.factors):
            d = diff(base, k)
            if isinstance(d, Num) and d.value == 0:
                continue
            others = [power(b, m) for i, (b, m) in enumerate(t.factors) if i != j]
            parts.append(_chain(d, mul(num(n), power(base, n - 1), *others)))
        out = add(*parts)
    elif isinstance(t, Call) and t.fn is STRONG_MUL:  # both products stay strong
        g, d = t.args
        out = add(call(STRONG_MUL, diff(g, k), _taken(g, d)), call(STRONG_MUL, g, diff(d, k)))
    else:
        assert isinstance(t, Call)
        parts = []
        for i, arg in enumerate(t.args):
            d = diff(arg, k)
            if isinstance(d, Num) and d.value == 0:
                continue
            local = t.fn.partial(i)
            if local is not None:
                parts.append(_chain(d, replace(local, t.args)))
        out = add(*parts)
    t._diff[k] = out
    return out


def _taken(g: Term, d: Term) -> Term:
    """d, but 0 where g is 0 and d is not finite: that branch was not taken at any order."""
    infinity = call(INFINITY)
    finite = call(AND, call(LT, neg(infinity), d), call(LT, d, infinity))
    return select(call(EQ, g, num(0)), select(finite, d, 0), d)


def _chain(inner: Term, outer: Term) -> Term:
    """inner * outer, with selections kept outermost: f*select(c, v, 0) = select(c, f*v, 0).

    A branch that was not taken must stay untaken in the derivative, whatever its value.
    """
    for a, b in ((outer, inner), (inner, outer)):
        if isinstance(a, Call) and a.fn is SELECT:
            c, v, w = a.args
            return select(c, _chain(b, v), _chain(b, w))
    return mul(inner, outer)


def operations(t: Term) -> int:
    """Scalar operations to evaluate t once (a subterm used twice counts twice)."""
    if t._cost is not None:
        return t._cost
    n = 0
    if isinstance(t, Sum):
        n = len(t.terms) - 1 + (t.const != 0)
        n += sum(operations(x) + (abs(k) != 1) for x, k in t.terms)
    elif isinstance(t, Prod):
        n = sum(operations(b) + abs(m) - 1 for b, m in t.factors) + len(t.factors) - 1
        n += all(m < 0 for _, m in t.factors)
    elif isinstance(t, Call):
        n = t.fn.cost + sum(map(operations, t.args))
    t._cost = n
    return n


def subterms(t: Term) -> Iterable[Term]:
    """t and every term inside it, each once, outer first."""
    seen = {t: None}
    stack = [t]
    while stack:
        x = stack.pop()
        yield x
        for child in children(x):
            if child not in seen:
                seen[child] = None
                stack.append(child)


def given_name(fn: Function) -> str:
    """The name as it was given."""
    return fn.given


def given_names(functions: Iterable[Function]) -> dict[str, str]:
    """What readers call each function, by its name: as it was given, numbered from 2 where several
    were given one."""
    found: dict[str, str] = {}
    for fn in functions:
        own, number = fn.given, 2
        while fn.name not in found and own in found.values():
            own, number = f"{fn.given}_{number}", number + 1
        found.setdefault(fn.name, own)
    return found


def children(t: Term) -> tuple[Term, ...]:
    """The direct operands of a term."""
    if isinstance(t, Sum):
        return tuple(x for x, _ in t.terms)
    if isinstance(t, Prod):
        return tuple(b for b, _ in t.factors)
    return t.args if isinstance(t, Call) else ()


def render(
    t: Term, name: Callable[[int], str], called: Callable[[Function], str] = given_name
) -> str:
    """Plain text for messages and derivation logs; ``name`` spells reads, ``called`` functions."""

    def go(x: Term, tight: bool) -> str:
        if isinstance(x, Num):
            return str(x.value)
        if isinstance(x, Read):
            return name(x.k)
        if isinstance(x, Call):
            return f"{called(x.fn)}({', '.join(go(a, False) for a in x.args)})"
        if isinstance(x, Prod):
            over = "*".join(_powered(go(b, True), n) for b, n in x.factors if n > 0) or "1"
            under = [_powered(go(b, True), -n) for b, n in x.factors if n < 0]
            text = "/".join([over, *under])
            return f"({text})" if tight and under else text
        assert isinstance(x, Sum)
        text = ""
        for y, k in x.terms:
            head = "" if abs(k) == 1 else f"{abs(k)}*"
            body = head + go(y, bool(head) or len(x.terms) > 1)
            sign = "-" if k < 0 else "+"
            text = f"{text} {sign} {body}" if text else ("-" if k < 0 else "") + body
        if x.const:
            text += f" {'-' if x.const < 0 else '+'} {abs(x.const)}"
        return f"({text})" if tight else text

    return go(t, False)


def _powered(text: str, n: int) -> str:
    return text if n == 1 else f"{text}**{n}"
