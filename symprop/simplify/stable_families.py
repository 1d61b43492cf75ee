"""Families of stabilising rewrites: products of powers, logarithms of products, differences of
roots. One member each is an example in ``symprop.simplify.stable_rules``.

In: a formula and the window of its node. Out: the formula that replaces it, or None where it is no
member of the family.

Guarantees: the same real number wherever the formula is defined, and at a removable singularity
its limit; a product keeps the factors that a family does not speak of.
"""

from __future__ import annotations

from fractions import Fraction

from symprop import term as t
from symprop.ops import elementwise as ops
from symprop.ops import powers
from symprop.ops import stable as own
from symprop.simplify.matching import Factors, factors_of, terms_of
from symprop.simplify.removable import removable_quotient
from symprop.simplify.window import Window
from symprop.term import Term

__all__ = [
    "EVEN",
    "difference_of_roots",
    "even_of_size",
    "log_of_product",
    "log_of_sum",
    "merged_exponentials",
    "merged_powers",
    "power_seen_whole",
    "power_times_log",
    "removable_quotient",
]

ADDED, LOG1P, SOFTPLUS = powers.logaddexp.function, ops.log1p.function, ops.softplus.function
EXP, LOG, SQRT = ops.exp.function, ops.log.function, ops.sqrt.function
ABS = ops.abs.function
EVEN = ("square", "cos", "cosh", "sech2", "log_cosh", "sinc", "normal_pdf")
HALF = Fraction(1, 2)


def _called(x: Term, fn: t.Function, window: Window) -> t.Call | None:
    """x as a call of the function, what hides it opened."""
    if not (isinstance(x, t.Call) and x.fn is fn):
        x = window.look(x)
    return x if isinstance(x, t.Call) and x.fn is fn else None


# --- logarithms of products -----------------------------------------------------------------------


def log_of_product(x: Term, window: Window) -> Term | None:
    """log(y*exp(u)) -> u + log(y); log(b**n) -> n*log(|b|); log(sqrt(b)) -> log(b)/2."""
    if not (isinstance(x, t.Call) and x.fn is LOG):
        return None
    for c, factors in factors_of(window.look(x.args[0]), window):
        made = _logarithm(c, factors, window)
        if made is not None:
            return made
    return None


def _logarithm(c: Fraction, factors: Factors, window: Window) -> Term | None:
    if c <= 0:
        return None
    if len(factors) == 1 and c == 1:
        return _log_of_power(*factors[0], window)
    exponents: list[Term] = []
    others: list[Term] = []
    for b, n in factors:
        call = _called(b, EXP, window)
        if call is None:
            others.append(t.power(b, n))
        else:
            exponents.append(t.scale(n, call.args[0]))
    if not exponents:
        return None
    rest = t.scale(c, t.mul(*others)) if others else t.num(c)
    total = t.add(*exponents)
    if isinstance(rest, t.Num):
        return total if rest.value == 1 else t.add(total, t.call(LOG, rest))
    return t.call(own.log_times_exp.function, total, rest)


def _log_of_power(b: Term, n: int, window: Window) -> Term | None:
    root = _called(b, SQRT, window)
    if root is not None:
        return t.scale(n * HALF, t.call(LOG, root.args[0]))
    if n == 1:
        return None
    inner = t.call(ops.abs.function, b) if n % 2 == 0 and not _positive(b, window) else b
    return t.scale(n, t.call(LOG, inner))


def _positive(b: Term, window: Window) -> bool:
    """Whether the declaration of the function says that it is never negative."""
    seen = window.look(b)
    op = getattr(seen.fn, "op", None) if isinstance(seen, t.Call) else None
    return op is not None and op.range[0] is not None and op.range[0] >= 0


def log_of_sum(x: Term, window: Window) -> Term | None:
    """log(exp(u) + exp(v)) -> logaddexp(u, v); with a 1 beside them, softplus of that."""
    if not (isinstance(x, t.Call) and x.fn in (LOG, LOG1P)):
        return None
    one = x.fn is LOG1P
    for const, terms in terms_of(window.look(x.args[0]), window):
        calls = [_called(y, EXP, window) for y, k in terms if k == 1]
        if len(calls) != len(terms) or None in calls or len(calls) < 2 or const not in (0, 1):
            continue
        u, *rest = (e.args[0] for e in calls if e is not None)
        for v in rest:
            u = t.call(ADDED, u, v)
        if const == 0 and not one:
            return u
        if const + one == 1:  # far below 0 the sum itself keeps more digits than its logarithm
            small = t.call(LOG1P, t.add(*(y for y, _ in terms)))
            far = t.call(t.LT, u, t.num(0))
            return t.select(far, small, t.call(SOFTPLUS, u)) if not one else None
    return None


# --- products -------------------------------------------------------------------------------------


def merged_exponentials(x: Term, window: Window) -> Term | None:
    """exp(u)*exp(v) -> exp(u + v) where the sum is exact: 0, or one value times a power of 2."""
    if not isinstance(t.coefficient(x)[1], t.Prod):
        return None
    for c, factors in factors_of(x, window):
        calls = [(_called(b, EXP, window), n) for b, n in factors]
        exponents = [t.scale(n, window.whole(e.args[0])) for e, n in calls if e is not None]
        if len(exponents) < 2:
            continue
        total = t.add(*exponents)
        k, rest = t.coefficient(total)
        if isinstance(rest, t.Sum) or abs(k).numerator & (abs(k).numerator - 1):
            continue
        others = [t.power(b, n) for (b, n), (e, _) in zip(factors, calls, strict=True) if e is None]
        return t.scale(c, t.mul(*others, t.call(EXP, total) if k else t.num(1)))
    return None


Powers = dict[Term, list[tuple[Fraction, int]]]


def _half_powers(factors: Factors, window: Window) -> Powers:
    """The exponents that each base has, and of which root: sqrt(b)**3 is b**(3/2), of root 2."""
    found: Powers = {}
    for b, n in factors:
        root = _called(b, SQRT, window)
        base = b if root is None else root.args[0]
        known = next((y for y in found if window.same(y, base)), base)
        part = (Fraction(n), 1) if root is None else (n * HALF, 2)
        found.setdefault(known, []).append(part)
    return found


def merged_powers(x: Term, window: Window) -> Term | None:
    """x**m * x**-n and sqrt(x)**m with powers of x: one power, whose value at 0 is the limit."""
    if not isinstance(t.coefficient(x)[1], t.Prod):
        return None
    for c, factors in factors_of(x, window):
        powers = _half_powers(factors, window)
        if all(_one_power(parts) for parts in powers.values()):
            continue
        made = [t.mul(*(_raised(b, *part) for part in parts)) if _one_power(parts)
                else _powered(b, _total(parts)) for b, parts in powers.items()]  # fmt: skip
        return t.scale(c, t.mul(*made))
    return None


def _total(parts: list[tuple[Fraction, int]]) -> Fraction:
    return sum((n for n, _ in parts), t.ZERO)


def _one_power(parts: list[tuple[Fraction, int]]) -> bool:
    """At most one whole power and one root, of one sign: what a product of these can say best."""
    roots = [n for n, root in parts if root == 2]
    one_sign = len({n > 0 for n, _ in parts}) == 1
    return one_sign and len(roots) <= 1 and all(abs(n) == HALF for n in roots)


def _raised(b: Term, n: Fraction, root: int) -> Term:
    if root == 1:
        return t.power(b, int(n))
    return t.power(t.call(SQRT, b), int(2 * n))


def _powered(b: Term, n: Fraction) -> Term:
    """b**n, a half of it as a root, both of one sign."""
    if n == 0:
        return t.num(1)
    whole = int(n)  # towards 0
    parts = [t.power(b, whole)] if whole else []
    if n.denominator == 2:
        parts.append(t.power(t.call(SQRT, b), 1 if n > 0 else -1))
    return t.mul(*parts)


def power_times_log(x: Term, window: Window) -> Term | None:
    """x**n * log(x)**m -> power_log(x), which is 0 at 0; and so with power_log(x) among them."""
    if not isinstance(t.coefficient(x)[1], t.Prod):
        return None
    for c, factors in factors_of(x, window):
        logs = [(b, _log_power(b, m, window)) for b, m in factors]
        for arg in dict.fromkeys(found[0] for _, found in logs if found is not None):
            made = _with_log(arg, factors, logs, window)
            if made is not None:
                return t.scale(c, made)
    return None


LogPower = tuple[Term, Fraction, int]


def _log_power(b: Term, k: int, window: Window) -> LogPower | None:
    """b**k as (x, n, m) where it is x**n * log(x)**m with m > 0."""
    log = _called(b, LOG, window)
    if log is not None:
        return (log.args[0], t.ZERO, k) if k > 0 else None
    seen = window.look(b)
    op = getattr(seen.fn, "op", None) if isinstance(seen, t.Call) else None
    if op is None or op.declaration is not own.power_log.declaration or k < 0:
        return None
    assert isinstance(seen, t.Call)
    return seen.args[0], op.parameters["n"] * k, int(op.parameters["m"]) * k


def _with_log(
    arg: Term, factors: Factors, logs: list[tuple[Term, LogPower | None]], window: Window
) -> Term | None:
    """The product with all powers of ``arg`` and of its logarithm in one."""
    n, m, alone = t.ZERO, 0, True
    others: list[Term] = []
    for (b, k), (_, log) in zip(factors, logs, strict=True):
        ((base, parts),) = _half_powers([(b, k)], window).items()
        if log is not None and window.same(log[0], arg):
            n, m, alone = n + log[1], m + log[2], alone and k == 1
        elif window.same(base, arg):
            n, alone = n + _total(parts), False
        else:
            others.append(t.power(b, k))
    if n <= 0 or alone:
        return None
    op = own.power_log.with_parameters(n=n, m=m)
    return t.mul(*others, t.call(op.function, arg))


def power_seen_whole(x: Term, window: Window) -> Term | None:
    """y**n with y = f(u), f ending at a point of its domain -> f(u)**n: its derivative there is a
    limit, which the chain rule on y alone misses (0 times infinity)."""
    rest = t.coefficient(x)[1]
    if not isinstance(rest, t.Prod):
        return None
    opened: dict[Term, Term]
    opened = {b: seen for b, n in rest.factors
              if n > 1 and isinstance(b, t.Read) and _ends(seen := window.look(b))}  # fmt: skip
    return t.rewrite(x, lambda y: opened.get(y)) if opened else None


def _ends(x: Term) -> bool:
    """A call of a function whose domain has an end that belongs to it."""
    op = getattr(x.fn, "op", None) if isinstance(x, t.Call) else None
    if op is None or op.arity != 1:
        return False
    (own_domain,) = op.domains
    low = own_domain.low is not None and not own_domain.open_low
    return low or (own_domain.high is not None and not own_domain.open_high)


def even_of_size(x: Term, window: Window) -> Term | None:
    """f(|u|) -> f(u) where f is even, |u|**n -> u**n where n is: their derivatives at 0 exist, and
    the chain rule on |u| misses the second (its own there is 0, by convention)."""
    if isinstance(x, t.Call):
        size = _called(x.args[0], ABS, window) if x.fn.name in EVEN else None
        return t.call(x.fn, *size.args) if size is not None else None
    k, rest = t.coefficient(x)
    if not isinstance(rest, t.Prod):
        return None
    sizes = [_called(b, ABS, window) if n % 2 == 0 else None for b, n in rest.factors]
    if not any(sizes):
        return None
    made = [t.power(b if size is None else size.args[0], n)
            for (b, n), size in zip(rest.factors, sizes, strict=True)]  # fmt: skip
    return t.scale(k, t.mul(*made))


# --- differences of roots -------------------------------------------------------------------------


def difference_of_roots(x: Term, window: Window) -> Term | None:
    """sqrt(a) - sqrt(b) -> (a - b)/(sqrt(a) + sqrt(b)), and so with a number for sqrt(b), where
    a - b is shorter than a and b are."""
    if not isinstance(x, t.Sum):
        return None
    for const, terms in terms_of(x, window):
        roots = [(call, k, y) for y, k in terms
                 if (call := _called(y, SQRT, window)) is not None]  # fmt: skip
        for i, (a, k, ya) in enumerate(roots):
            for b, other, yb in roots[i + 1 :]:
                if other == -k:
                    made = _conjugate(a.args[0], b.args[0], b, window)
                    if made is not None:
                        left = [t.scale(n, y) for y, n in terms if y is not ya and y is not yb]
                        return t.add(t.num(const), *left, t.scale(k, made))
            if const and const / k < 0:
                made = _conjugate(a.args[0], t.num((const / k) ** 2), t.num(-const / k), window)
                if made is not None:
                    left = [t.scale(n, y) for y, n in terms if y is not ya]
                    return t.add(*left, t.scale(k, made))
    return None


def _conjugate(a: Term, b: Term, root_of_b: Term, window: Window) -> Term | None:
    """(a - b)/(sqrt(a) + sqrt(b)), or None where a - b is no shorter than they are."""
    for one, two in ((a, b), (window.whole(a), window.whole(b))):
        difference = t.add(one, t.neg(two))
        if t.operations(difference) < max(t.operations(one), t.operations(two)):
            return difference * t.power(t.add(t.call(SQRT, a), root_of_b), -1)
    return None
