"""Formulas of the hyperbolic functions and their inverses; see ``codegen.vector_math``.

In: a ``Formula`` (dtype, whether it may fuse) and the argument; float32 is computed in float64.
Out: the value.

    sinh, cosh    |x| = n*ln 2 + r: with A = sinh(n*ln 2) and B = cosh(n*ln 2), which are sums of
                  two powers of two, A*cosh(r) + B*sinh(r) and B*cosh(r) + A*sinh(r)
    asinh         log(1 + v), v = a + a**2/(1 + sqrt(1 + a**2)), a = |x|
    acosh         log(1 + v), v = t + sqrt(t*(2 + t)), t = x - 1
    atanh         a + a**3*P(a**2) to 1/3, then log((1 + a)/(1 - a))/2

Each v is a sum of two numbers, for near 0 an error of v is one of the result.
"""

from __future__ import annotations

from codegen.vector_math_exponential import LN2, begun, log_of_parts, parted, power_of_two
from codegen.vector_math_values import Formula, Value, in_double

__all__ = ["acosh", "asinh", "atanh", "cosh", "sinh"]

LARGE = 2.0**60  # from here on 1 is nothing beside a square, a square root of it, or 2**n


def _addition(f: Formula, a: Value) -> tuple[Value, Value, Value, Value, Value]:
    """A/2, B/2, cosh(r) - 1, r, and sinh(r) - r."""
    t, n, near = begun(f, f.at_most(a, 710.5))
    low = f.once(n * LN2[f.dtype][1])
    r = f.once(near - low)
    rest = (near - r) - low
    z = f.once(r * r)
    more = f.once(f.fma(f.once(r * z), f.polynomial(z, f.fit("sinh")), rest))
    less = f.once(f.fma(f.once(z * z), f.polynomial(z, f.fit("cosh")), 0.5 * z))
    up = f.once(power_of_two(f, t, -2))
    down = f.float_of(((f.bias - 2) << f.mantissa) - (f.word_of(t) << f.mantissa))
    down = f.once(f.select(up > LARGE, 0.0, down))
    return f.once(up - down), f.once(up + down), less, r, more


@in_double
def sinh(f: Formula, x: Value) -> Value:
    """The hyperbolic sine."""
    a, b, less, r, more = _addition(f, f.absolute(x))
    return f.signed_as(f.once(2.0 * (a + f.fma(b, r, f.fma(b, more, a * less)))), x)


@in_double
def cosh(f: Formula, x: Value) -> Value:
    """The hyperbolic cosine."""
    a, b, less, r, more = _addition(f, f.absolute(x))
    return 2.0 * (b + f.fma(a, r, f.fma(a, more, b * less)))


def _log_beyond(f: Formula, high: Value, low: Value, extra: Value | None = None) -> Value:
    """log(1 + high + low) + extra*ln 2 of a tiny low."""
    u, lost = f.two_sum(1.0, high)
    k, d = parted(f, u)
    return log_of_parts(f, k if extra is None else f.once(k + extra), d, f.once((lost + low) / u))


@in_double
def asinh(f: Formula, x: Value) -> Value:
    """The inverse of the hyperbolic sine."""
    a = f.absolute(x)
    large = a > LARGE
    small = f.once(f.select(large, 1.0, a))
    square = f.once(small * small)
    v, low = f.two_sum(small, f.once(square / (1.0 + f.sqrt(1.0 + square))))
    v, low = (f.once(f.select(large, e, w)) for e, w in ((a, v), (0.0, low)))
    y = _log_beyond(f, v, low, f.select(large, 1.0, 0.0))
    return f.signed_as(f.once(f.select(a < "inf", y, a)), x)


@in_double
def acosh(f: Formula, x: Value) -> Value:
    """The inverse of the hyperbolic cosine, from 0 up."""
    large = x > LARGE
    t = f.once(f.select(large, 1.0, x - 1.0))
    w, lost = f.two_sum(2.0, t)
    p, low = f.product(t, w)
    root = f.sqrt(p)
    lacks = f.fma(t, lost, low) - f.beyond(root, root, p)
    half = f.once(f.select(p > 0.0, lacks / (2.0 * root), 0.0))
    v, low = f.two_sum(t, root)
    v = f.once(f.select(large, x, v))
    y = _log_beyond(f, v, f.once(f.select(large, 0.0, low + half)), f.select(large, 1.0, 0.0))
    return f.select(x >= 1.0, f.select(x < "inf", y, x), "nan")


@in_double
def atanh(f: Formula, x: Value) -> Value:
    """The inverse of the hyperbolic tangent."""
    a = f.absolute(x)
    z = f.once(a * a)
    near = f.fma(f.once(a * z), 0.5 * f.polynomial(z, f.fit("log1p")), a)
    top, more = f.two_sum(1.0, a)
    under, less = f.two_sum(1.0, f.once(-a))
    q = f.once(top / under)
    rest = f.once((more - q * less) - f.beyond(q, under, top))
    far = 0.5 * log_of_parts(f, *parted(f, q), f.once(rest / top))
    y = f.once(f.select(a < 1 / 3, near, far))
    ends = f.once(f.select(a.equals(1.0), "inf", "nan"))
    return f.signed_as(f.once(f.select(a < 1.0, y, ends)), x)
