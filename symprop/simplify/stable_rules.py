"""The stabilising rules, as data: what loses digits in floats, and the same real number written so
that it does not.

In: a scalar formula and the window of its node. Out: the formula that replaces it, or None.

Most rules are two formulas over the same unknowns; ``symprop.simplify.matching`` finds the first
through several nodes. The others, which are families (products of powers, logarithms of products,
differences of roots, removable singularities), are functions with examples.

Guarantees: each rule names its unknowns' domains and is an identity there: tests prove it at 60
digits for every rule, measure the digits gained, and show that no point loses more than half a bit.
What a rule makes is never an instance of its own pattern.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy

from symprop import formula as fm
from symprop import term as t
from symprop.ops import angles, special
from symprop.ops import elementwise as ops
from symprop.ops import stable as own
from symprop.ops.domain import AboveMinusOne, Interval, NonNegative, Positive, Reals
from symprop.simplify import stable_families as families
from symprop.simplify import stable_norms as norms
from symprop.simplify import stable_sums as sums
from symprop.simplify.matching import found, found_in_product, found_in_sum
from symprop.simplify.window import Window
from symprop.term import Term

__all__ = ["STABLE", "Stable", "stabilised"]

Symbolic = Callable[..., Any]
Negative = Interval(high=0, open_high=True)


@dataclass(frozen=True)
class Stable:
    """One rule: its name, its algebra, the naive formula and the stable one, where they are equal.

    ``before`` and ``after`` are functions of symbolic scalars. Of a family, ``apply`` finds the
    member and ``before`` is an example of it; ``after`` is then what the rule makes of it.
    """

    name: str
    algebra: str
    before: Symbolic
    after: Symbolic | None
    domains: tuple[Interval, ...] = (Reals,)
    family: Callable[[Term, Window], Term | None] | None = None

    @cached_property
    def pattern(self) -> Term:
        """The naive formula, its unknowns being reads."""
        return _term(self.before, len(self.domains))

    @cached_property
    def result(self) -> Term:
        """The stable formula over the same reads."""
        if self.after is not None:
            return _term(self.after, len(self.domains))
        return stabilised(self.pattern)

    def apply(self, x: Term, window: Window) -> Term | None:
        """x with the pattern at its root replaced, or None where it is not there."""
        if self.family is not None:
            return self.family(x, window)
        return _replaced(self.pattern, self.result, x, window)


def _term(formula: Symbolic, count: int) -> Term:
    symbols = [sympy.Dummy(f"x{k}") for k in range(count)]
    return fm.from_sympy(formula(*symbols), {s: t.read(k) for k, s in enumerate(symbols)})


def _replaced(pattern: Term, result: Term, x: Term, window: Window) -> Term | None:
    def filled(ways: dict[int, Term]) -> Term:
        return t.replace(result, [ways[k] for k in range(len(ways))])

    c, rest = t.coefficient(pattern)
    if isinstance(rest, t.Call):
        if isinstance(x, t.Call) and x.fn is rest.fn:
            for ways in found(rest, x, window, {}):
                return t.scale(1 / c, filled(ways))
    elif isinstance(rest, t.Sum):
        if isinstance(x, t.Sum):
            for ways, scale, left in found_in_sum(rest, x, window):
                return t.add(t.scale(scale / c, filled(ways)), left)
    elif isinstance(rest, t.Prod) and isinstance(t.coefficient(x)[1], t.Prod):
        for ways, left in found_in_product(rest, x, window):
            return t.mul(left, t.scale(1 / c, filled(ways)))
    return None


exp, log, sigmoid, tanh, sqrt = ops.exp, ops.log, ops.sigmoid, ops.tanh, ops.sqrt
log1p, expm1, softplus = ops.log1p, ops.expm1, ops.softplus

STABLE: tuple[Stable, ...] = (
    # --- logarithms ---
    Stable("log of exp", "log(exp(x)) -> x", lambda x: log(exp(x)), lambda x: x),
    Stable("softplus", "log(1 + exp(x)) -> softplus(x)",
           lambda x: log(1 + exp(x)), lambda x: softplus(x)),
    Stable("softplus of log1p", "log1p(exp(x)) -> softplus(x)",
           lambda x: log1p(exp(x)), lambda x: softplus(x)),
    Stable("log of 1 - exp", "log(1 - exp(x)) -> log1mexp(x)",
           lambda x: log(1 - exp(x)), lambda x: own.log1mexp(x), (Negative,)),
    Stable("log1p of -exp", "log1p(-exp(x)) -> log1mexp(x)",
           lambda x: log1p(-exp(x)), lambda x: own.log1mexp(x), (Negative,)),
    Stable("log of -expm1", "log(-expm1(x)) -> log1mexp(x)",
           lambda x: log(-expm1(x)), lambda x: own.log1mexp(x), (Negative,)),
    Stable("log of expm1", "log(exp(x) - 1) -> log_expm1(x)",
           lambda x: log(expm1(x)), lambda x: own.log_expm1(x), (Positive,)),
    Stable("log of sigmoid", "log(sigmoid(x)) -> log_sigmoid(x)",
           lambda x: log(sigmoid(x)), lambda x: ops.log_sigmoid(x)),
    Stable("log1p of -sigmoid", "log1p(-sigmoid(x)) -> log_sigmoid(-x)",
           lambda x: log1p(-sigmoid(x)), lambda x: ops.log_sigmoid(-x)),
    Stable("log of a sum of exponentials", "log(exp(x) + exp(y)) -> logaddexp(x, y)",
           lambda x, y: log(exp(x) + exp(y)), None, (Reals, Reals), families.log_of_sum),
    Stable("log of 1 and exponentials", "log(1 + exp(x) + exp(y)) -> softplus(logaddexp(x, y))",
           lambda x, y: log(1 + exp(x) + exp(y)), None, (Reals, Reals), families.log_of_sum),
    Stable("log of a product", "log(y*exp(x)) -> x + log(y), log(x**2) -> 2*log(|x|)",
           lambda x: log(x**2), None, (Positive,), families.log_of_product),
    Stable("log1p", "log(1 + x) -> log1p(x)", lambda x: log(1 + x), lambda x: log1p(x),
           (AboveMinusOne,)),
    Stable("log of cosh", "log(cosh(x)) -> log_cosh(x)",
           lambda x: log(angles.cosh(x)), lambda x: own.log_cosh(x)),
    Stable("log of erfc", "log(erfc(x)) -> log_erfc(x)",
           lambda x: log(ops.erfc(x)), lambda x: own.log_erfc(x)),
    Stable("log of the normal distribution", "log(normal_cdf(x)) -> log_normal_cdf(x)",
           lambda x: log(ops.normal_cdf(x)), lambda x: special.log_normal_cdf(x)),
    Stable("asinh", "log(x + sqrt(1 + x**2)) -> asinh(x)",
           lambda x: log(x + sqrt(1 + x**2)), lambda x: angles.asinh(x)),
    # --- the logistic family ---
    Stable("sigmoid", "1/(1 + exp(x)) -> sigmoid(-x)",
           lambda x: 1 / (1 + exp(x)), lambda x: sigmoid(-x)),
    Stable("sigmoid times exp", "exp(x)*sigmoid(-x) -> sigmoid(x)",
           lambda x: exp(x) * sigmoid(-x), lambda x: sigmoid(x)),
    Stable("sigmoid of a quotient", "exp(x)/(1 + exp(x)) -> sigmoid(x)",
           lambda x: exp(x) / (1 + exp(x)), lambda x: sigmoid(x)),
    Stable("complement of sigmoid", "1 - sigmoid(x) -> sigmoid(-x)",
           lambda x: 1 - sigmoid(x), lambda x: sigmoid(-x)),
    Stable("complement of tanh**2", "1 - tanh(x)**2 -> sech2(x)",
           lambda x: 1 - tanh(x) ** 2, lambda x: ops.sech2(x)),
    Stable("complement of tanh", "1 - tanh(x) -> 2*sigmoid(-2*x)",
           lambda x: 1 - tanh(x), lambda x: 2 * sigmoid(-2 * x)),
    Stable("tanh and 1", "1 + tanh(x) -> 2*sigmoid(2*x)",
           lambda x: 1 + tanh(x), lambda x: 2 * sigmoid(2 * x)),
    Stable("tanh from exponentials", "(exp(x) - exp(-x))/(exp(x) + exp(-x)) -> tanh(x)",
           lambda x: (exp(x) - exp(-x)) / (exp(x) + exp(-x)), lambda x: tanh(x)),
    # --- exponentials ---
    Stable("expm1", "exp(x) - 1 -> expm1(x)", lambda x: exp(x) - 1, lambda x: expm1(x)),
    Stable("exponentials merged", "exp(x)*exp(-x) -> 1",
           lambda x: exp(x) * exp(-x), None, (Reals,), families.merged_exponentials),
    # --- complements without cancellation ---
    Stable("1 - cos", "1 - cos(x) -> 2*sin(x/2)**2",
           lambda x: 1 - ops.cos(x), lambda x: 2 * ops.sin(x / 2) ** 2),
    Stable("complement of erf", "1 - erf(x) -> erfc(x)",
           lambda x: 1 - ops.erf(x), lambda x: ops.erfc(x)),
    Stable("complement of erfc", "1 - erfc(x) -> erf(x)",
           lambda x: 1 - ops.erfc(x), lambda x: ops.erf(x)),
    Stable("complement of the normal distribution", "1 - normal_cdf(x) -> normal_cdf(-x)",
           lambda x: 1 - ops.normal_cdf(x), lambda x: ops.normal_cdf(-x)),
    # --- roots and powers ---
    Stable("root of a square", "sqrt(x**2) -> |x|", lambda x: sqrt(x**2), lambda x: ops.abs(x)),
    Stable("difference of roots", "sqrt(a) - sqrt(b) -> (a - b)/(sqrt(a) + sqrt(b))",
           lambda x: sqrt(x + 1) - sqrt(x), None, (NonNegative,), families.difference_of_roots),
    Stable("powers merged", "x*x/sqrt(x) -> x*sqrt(x)",
           lambda x: x**2 / sqrt(x), None, (Positive,), families.merged_powers),
    Stable("power times log", "x**n*log(x)**m -> its limit 0 at x = 0",
           lambda x: x**2 * log(x), None, (Positive,), families.power_times_log),
    Stable("removable singularity", "f(x)/g(x) -> its limit where f and g are 0",
           lambda x: ops.sin(x) / x, None, (Reals,), families.removable_quotient),
)  # fmt: skip


@dataclass(frozen=True)
class StableSum:
    """A rule that looks at whole sums, or at the nodes behind reads."""

    name: str
    algebra: str
    apply: Callable[[Term, Window], Term | None]


STABLE_SUMS: tuple[StableSum, ...] = (
    StableSum("log-sum-exp", "log(sum exp(z)) -> log(sum exp(z - m)) + m, m = max z",
              sums.log_of_exponentials),
    StableSum("softmax", "exp(z)/sum exp(z) -> exp(z - m)/sum exp(z - m), m = max z",
              sums.quotient_of_exponentials),
    StableSum("root of a sum of squares", "sqrt(sum x**2) -> norm_root(sum x**2), of slope 0 at 0",
              norms.root_of_squares),
    StableSum("quotient by a length", "x/norm_root(s) -> norm_quotient(x, norm_root(s))",
              norms.quotient_by_norm),
    StableSum("power seen whole", "y = acos(x), y**2 -> acos(x)**2, which has a derivative at 1",
              families.power_seen_whole),
    StableSum("even function of a size", "f(|x|) -> f(x) where f is even, such as |x|**2 -> x**2",
              families.even_of_size),
)  # fmt: skip

EVERY: tuple[Stable | StableSum, ...] = (*STABLE, *STABLE_SUMS)
ROUNDS = 12


def stabilised(body: Term, window: Window | None = None, fired: list[str] | None = None) -> Term:
    """The formula with every rule applied wherever it fires; ``fired`` collects their names."""
    window = window or Window("float", ())
    changes = fired if fired is not None else []

    def change(x: Term) -> Term | None:
        given = x
        for _ in range(ROUNDS):
            new = _once(x, window, changes)
            if new is None:
                break
            x = new
        return None if x is given else x

    for _ in range(ROUNDS):
        new = t.rewrite(body, change)
        if new is body:
            break
        body = new
    return body


def _once(x: Term, window: Window, fired: list[str]) -> Term | None:
    """The first rule that fires at this root."""
    if isinstance(x, t.Num | t.Read):
        return None
    for rule in EVERY:
        new = rule.apply(x, window)
        if new is not None and new is not x:
            fired.append(rule.name)
            return new
    return _through_user(x, window, fired)


def _through_user(x: Term, window: Window, fired: list[str]) -> Term | None:
    """A user's function whose own formula has something to stabilise, as the stable formula."""
    from symprop.simplify.window import defining

    inside = defining(x)
    if inside is None:
        return None
    count = len(fired)
    new = stabilised(inside, window, fired)
    return new if len(fired) > count else None
