"""The value of a function of ours in arithmetic of any precision: what every backend is held to.

In: a Function of Terms (declared or structural), numbers of an mpmath context.
Out: its value there, the definition evaluated; selections evaluate only the branch taken.

Guarantees: right at huge arguments too (sigmoid(-1e5), erfc(1e308)); never complex and never an
exception of arithmetic: outside the domain it is NaN, 1/0 is +inf, as floats have it. A formula of
the user is evaluated with growing precision until its digits settle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import mpmath

from codegen.philox import random_bits
from symprop import term as tm
from symprop.ops.domain import Interval
from symprop.term import Call, Function, Num, Prod, Read, Sum, Term

__all__ = ["difference", "evaluate", "reference", "settled"]

Value: TypeAlias = Any  # a number of an mpmath context, which has no types
MAX_PRECISION = 1 << 14  # bits
ZERO_PRECISION = 1 << 12
FLOAT_BITS = 1100


def reference(function: Function, ctx: Any) -> Callable[..., Value]:
    """The value of one function as a callable on numbers of the context."""
    if function.name in STRUCTURAL:
        return lambda *args: STRUCTURAL[function.name](ctx, *args)
    op: Any = getattr(function, "op", None)
    library = op is not None and op.library
    primitive = PRIMITIVES.get(op.name if library else function.name)
    if primitive is not None:
        more: dict[str, Fraction] = op.parameters if library else {}
        return lambda *args: ctx.nan if any(map(ctx.isnan, args)) else primitive(ctx, *args, **more)
    if op is None:
        raise NotImplementedError(f"no reference for the function {function.name}")
    if op.library:  # written without cancellation: a test compares with four times the digits
        return lambda *args: _guarded(lambda: evaluate(op.formula_term, args, ctx), args, ctx)
    return lambda *args: settled(lambda: evaluate(op.formula_term, args, ctx), ctx)


def evaluate(term: Term, args: Sequence[Value], ctx: Any) -> Value:
    """The value of a term, read k being args[k]; branches not taken are not evaluated."""
    memo: dict[Term, Value] = {}

    def build(t: Term) -> Value:
        if isinstance(t, Num):
            return _number(t.value, ctx)
        if isinstance(t, Read):
            return args[t.k]
        if isinstance(t, Sum):
            total = _number(t.const, ctx)
            for x, k in t.terms:
                total = total + _number(k, ctx) * go(x)
            return total
        if isinstance(t, Prod):
            product = ctx.mpf(1)
            for base, n in sorted(t.factors, key=lambda bn: bn[1] < 0):
                b = go(base)
                if n > 0:
                    product = product * b**n
                else:  # x/y is rounded once: floor(x/x) is 1
                    product = product * ctx.inf if b == 0 else product / b**-n
            return product
        assert isinstance(t, Call)
        if t.fn is tm.SELECT:
            return go(t.args[1] if go(t.args[0]) else t.args[2])
        return reference(t.fn, ctx)(*map(go, t.args))

    def go(t: Term) -> Value:
        if t not in memo:
            memo[t] = build(t)
        return memo[t]

    return go(term)


def settled(compute: Callable[[], Value], ctx: Any, more: int = FLOAT_BITS) -> Value:
    """A value computed with doubled precision until two agree to the context's own.

    It starts with ``more`` bits, which see a float of 1e-308 beside a 1; a 0 is believed later.
    """
    target = ctx.prec
    bits = target + more
    with ctx.workprec(bits):
        last = compute()
    while bits < MAX_PRECISION:
        bits *= 2
        with ctx.workprec(bits):
            value = compute()
            if ctx.isnan(value) and ctx.isnan(last):
                break
            enough = bits >= ZERO_PRECISION or value != 0
            if enough and abs(value - last) <= ctx.ldexp(abs(value), -target - 2):
                break
            if value == last and ctx.isinf(value):
                break
        last = value
    return +value


def _guarded(compute: Callable[[], Value], args: Sequence[Value], ctx: Any) -> Value:
    """A value with the bits that exp of a cubic of large arguments costs (exp(x) costs log2 x)."""
    large = max((ctx.mag(x) for x in args if ctx.isfinite(x) and x != 0), default=0)
    with ctx.workprec(ctx.prec + 20 + 3 * max(0, int(large))):
        value = compute()
    return +value


def _number(q: Any, ctx: Any) -> Value:
    return ctx.mpf(q.numerator) / q.denominator


def _erfc(ctx: Any, x: Value) -> Value:
    if x < 1e100 or ctx.isinf(x):
        return ctx.erfc(x)
    # mpmath overflows; here the next term of the asymptotic series is below 1e-400
    square = x * x
    return ctx.exp(-square) / (x * ctx.sqrt(ctx.pi)) * (1 - 1 / (2 * square))


def _erfcx(ctx: Any, x: Value, order: Fraction) -> Value:
    """exp(x**2) times a repeated integral of erfc, by the recurrence with the digits it costs."""
    n = int(order)
    if x > 1e100:  # the next term of the asymptotic series is below 1e-400
        return 2 / ctx.sqrt(ctx.pi) / (2 * x) ** (n + 1)
    if ctx.isinf(x):
        return ctx.inf
    large = max(0, int(ctx.mag(x))) if x else 0
    with ctx.workprec(ctx.prec + 40 + (4 * n + 4) * (large + 2)):
        before, last = 2 / ctx.sqrt(ctx.pi), ctx.exp(x * x) * ctx.erfc(x)
        for k in range(1, n + 1):
            before, last = last, (before - 2 * x * last) / (2 * k)
    return +last


def _sinc(ctx: Any, x: Value, order: Fraction) -> Value:
    """A derivative of sin(pi*x)/(pi*x), by its recurrence with the digits that it costs."""
    n = int(order)
    if ctx.isinf(x):
        return ctx.nan
    if x == 0:
        return ctx.pi**n * (-1) ** (n // 2) / (n + 1) if n % 2 == 0 else ctx.mpf(0)
    with ctx.workprec(ctx.prec + 40 + (2 * n + 2) * abs(int(ctx.mag(x)))):
        sine, cosine = ctx.sinpi(x), ctx.cospi(x)
        turned = (cosine, -sine, -cosine, sine)
        found = sine / (ctx.pi * x)
        for k in range(1, n + 1):
            found = (ctx.pi ** (k - 1) * turned[(k - 1) % 4] - k * found) / x
    return +found


def _erfinv(ctx: Any, x: Value) -> Value:
    """By Newton's steps on erfc of what 1 - |x| leaves, with twice the digits at each."""
    if abs(x) >= 1:
        return x * ctx.inf if abs(x) == 1 else ctx.nan
    if x == 0:
        return x
    wanted = ctx.prec + 20 + 2 * max(0, -int(ctx.mag(1 - abs(x))), -int(ctx.mag(x)))
    with ctx.workprec(60):
        y = ctx.sqrt(ctx.pi) / 2 * abs(x)
        if abs(x) > 0.5:
            w = -ctx.log((1 - abs(x)) * ctx.sqrt(ctx.pi))
            y = ctx.sqrt(max(w - ctx.log(max(w, 1)) / 2, ctx.mpf(0.2)))
    bits = 60 + 2 * (wanted - ctx.prec)
    steps = 8
    while True:
        with ctx.workprec(bits):
            rest = 1 - abs(x)
            for _ in range(steps):
                gap = (ctx.erfc(y) - rest) * ctx.sqrt(ctx.pi) / 2 * ctx.exp(y * y)
                y = y + gap / (1 - y * gap)
        if bits >= 2 * wanted:
            return +(ctx.sign(x) * y)
        bits, steps = 2 * bits, 1


def _positive(f: Callable[..., Value]) -> Callable[..., Value]:
    """A function of the gamma family, for x > 0."""

    def value(ctx: Any, x: Value, order: Fraction | int = 0) -> Value:
        if x < 0:
            return ctx.nan
        return f(ctx, x, int(order))

    return value


def _polygamma(ctx: Any, x: Value, n: int) -> Value:
    if x == 0:
        return -ctx.inf if n % 2 == 0 else ctx.inf
    return ctx.psi(n, x)


def _power(ctx: Any, x: Value, y: Value) -> Value:
    if y == 0 or x == 1:
        return ctx.mpf(1)
    if ctx.isinf(y):
        size = abs(x)
        return ctx.mpf(1) if size == 1 else ctx.inf if (size > 1) == (y > 0) else ctx.mpf(0)
    if x == 0:
        return ctx.mpf(0) if y > 0 else ctx.inf
    if x < 0 and not ctx.isint(y):
        return ctx.nan
    sign = -1 if x < 0 and int(y) % 2 else 1
    return sign * _guarded(lambda: ctx.power(abs(x), y), (x, y), ctx)


def _logaddexp(ctx: Any, x: Value, y: Value) -> Value:
    large, small = max(x, y), min(x, y)
    if ctx.isinf(large) or ctx.isinf(small):
        return large
    return settled(lambda: large + ctx.log1p(ctx.exp(small - large)), ctx, more=60)


def _truth(ctx: Any, holds: object) -> Value:
    return ctx.mpf(1 if holds else 0)


def _log(ctx: Any, x: Value) -> Value:
    return ctx.nan if x < 0 else -ctx.inf if x == 0 else ctx.log(x)


def _log1p(ctx: Any, x: Value) -> Value:
    return ctx.nan if x < -1 else -ctx.inf if x == -1 else x if ctx.isinf(x) else ctx.log1p(x)


PRIMITIVES: dict[str, Callable[..., Value]] = {
    "exp": lambda ctx, x: ctx.exp(x),
    "expm1": lambda ctx, x: ctx.exp(x) if ctx.isinf(x) and x > 0 else ctx.expm1(x),
    "log": _log,
    "log1p": _log1p,
    "tan": lambda ctx, x: ctx.nan if ctx.isinf(x) else ctx.tan(x),
    "atan": lambda ctx, x: ctx.atan(x),
    "asin": lambda ctx, x: ctx.asin(x) if abs(x) <= 1 else ctx.nan,
    "acos": lambda ctx, x: ctx.acos(x) if abs(x) <= 1 else ctx.nan,
    "sinh": lambda ctx, x: ctx.sinh(x),
    "cosh": lambda ctx, x: ctx.cosh(x),
    "asinh": lambda ctx, x: x if ctx.isinf(x) else ctx.asinh(x),
    "acosh": lambda ctx, x: ctx.nan if x < 1 else x if ctx.isinf(x) else ctx.acosh(x),
    "atanh": lambda ctx, x: ctx.nan if abs(x) > 1 else x * ctx.inf if abs(x) == 1 else ctx.atanh(x),
    "sqrt": lambda ctx, x: ctx.nan if x < 0 else ctx.sqrt(x),
    "sin": lambda ctx, x: ctx.nan if ctx.isinf(x) else ctx.sin(x),
    "cos": lambda ctx, x: ctx.nan if ctx.isinf(x) else ctx.cos(x),
    "tanh": lambda ctx, x: ctx.sign(x) if ctx.isinf(x) else ctx.tanh(x),
    "erf": lambda ctx, x: ctx.erf(x),
    "erfc": _erfc,
    "erfcx": _erfcx,
    "erfinv": _erfinv,
    "sinc": _sinc,
    "lgamma": _positive(lambda ctx, x, n: ctx.inf if x == 0 else ctx.loggamma(x).real),
    "digamma": _positive(_polygamma),
    "polygamma": _positive(_polygamma),
    "power": _power,
    "logaddexp": _logaddexp,
    "floor": lambda ctx, x: x if ctx.isinf(x) else ctx.floor(x),
    "abs": lambda ctx, x: abs(x),
    "sign": lambda ctx, x: ctx.sign(x),
    "maximum": lambda ctx, x, y: max(x, y),
    "minimum": lambda ctx, x, y: min(x, y),
}
"""Functions that mpmath has, by name; NaN arguments are answered before them."""

STRUCTURAL: dict[str, Callable[..., Value]] = {
    "select": lambda ctx, c, a, b: a if c else b,
    "lt": lambda ctx, a, b: _truth(ctx, a < b),
    "le": lambda ctx, a, b: _truth(ctx, a <= b),
    "eq": lambda ctx, a, b: _truth(ctx, a == b),
    "ne": lambda ctx, a, b: _truth(ctx, a != b),
    "not": lambda ctx, a: _truth(ctx, not a),
    "and": lambda ctx, a, b: _truth(ctx, a and b),
    "or": lambda ctx, a, b: _truth(ctx, a or b),
    "strong_mul": lambda ctx, g, d: g if g == 0 else g * d,
    "random_bits": lambda ctx, draw, place: ctx.mpf(random_bits(int(draw), int(place))),
    "inf": lambda ctx: ctx.inf,
    "nan": lambda ctx: ctx.nan,
    "pi": lambda ctx: +ctx.pi,
    "cast_bool": lambda ctx, x: _truth(ctx, x != 0),
    "cast_int32": lambda ctx, x: ctx.mpf(int(x)),
    "cast_int64": lambda ctx, x: ctx.mpf(int(x)),
    "cast_float": lambda ctx, x: x,
    "cast_float32": lambda ctx, x: x,
    "cast_float64": lambda ctx, x: x,
}


def difference(
    a: Term, b: Term, domains: Sequence[Interval], digits: int = 60, decades: float = 3
) -> str | None:
    """None if two Terms agree at 60 digits on a grid; else one sentence with a point."""
    if a is b:
        return None
    ctx = mpmath.mp.clone()
    ctx.dps = digits
    grid = zip(*(d.points(48, j, decades) for j, d in enumerate(domains)), strict=False)
    compared = 0
    for point in grid:
        args = [ctx.mpf(x) for x in point]
        u = settled(lambda args=args: evaluate(a, args, ctx), ctx)  # type: ignore[misc]
        v = settled(lambda args=args: evaluate(b, args, ctx), ctx)  # type: ignore[misc]
        if not (ctx.isfinite(u) and ctx.isfinite(v)):
            continue
        compared += 1
        tiny = ctx.mpf(10) ** -(digits - 10)
        if min(abs(u), abs(v)) > ctx.mpf(10) ** 330:  # infinite in floats
            continue
        # what lies 10**-330 below is no float at all: there only the magnitude counts
        if abs(u - v) > tiny * max(abs(u), abs(v)) and abs(u - v) > ctx.mpf(10) ** -330:
            at = ", ".join(f"{x:.6g}" for x in point)
            return f"at {at} it is {ctx.nstr(v, 10)}, where {ctx.nstr(u, 10)} is expected"
    if compared < 5:
        return "it could not be compared, as too few points have a finite value"
    return None
