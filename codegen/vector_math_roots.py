"""Formulas of roots other than the square root; see ``codegen.vector_math``.

In: a ``Formula`` (dtype, whether it may fuse) and the arguments; float32 is computed in float64.
Out: the value.

    cbrt(x)       |x| = 2**(3*q)*m, m in [0.35, 2.83): a line near the root of m, twice Halley's
                  step t*(t**3 + 2*m)/(2*t**3 + m), once Newton's with the exact rest t**3 - m
    rsqrt(x)      1/sqrt(x)
    hypot(x, y)   both by a power of two, and the sum of squares with what its rounding lost
"""

from __future__ import annotations

from codegen.vector_math_exponential import parted
from codegen.vector_math_values import Formula, Value, in_double

__all__ = ["cbrt", "hypot", "rsqrt"]

LINE = (0.65, 0.286)  # off by 7 hundredths of the root at most


@in_double
def cbrt(f: Formula, x: Value) -> Value:
    """The cube root."""
    a = f.absolute(x)
    fine = (a > 0.0) & (a < "inf")
    k, d = parted(f, f.once(f.select(fine, a, 1.0)))
    t = f.once(f.fma(k, 1 / 3, f.rounder))
    left = f.once(f.fma(f.once(t - f.rounder), -3.0, k))  # -1, 0 or 1
    m = f.once((1.0 + d) * f.select(left > 0.0, 2.0, f.select(left < 0.0, 0.5, 1.0)))
    y = f.once(f.fma(m, LINE[1], LINE[0]))
    for _ in range(2):
        cube = f.once(y * y * y)
        y = f.once(y * ((cube + 2.0 * m) / (2.0 * cube + m)))
    square, low = f.product(y, y)
    y = y - f.fma(low, y, f.beyond(square, y, m)) / (3.0 * square)
    scale = f.float_of((f.word_of(t) << f.mantissa) + (f.bias << f.mantissa))
    return f.select(fine, f.signed_as(f.once(y * scale), x), x)


@in_double
def rsqrt(f: Formula, x: Value) -> Value:
    """1/sqrt(x): infinite at 0, NaN below."""
    return 1.0 / f.sqrt(x)


@in_double
def hypot(f: Formula, x: Value, y: Value) -> Value:
    """sqrt(x**2 + y**2), infinite where one of them is."""
    a, b = f.absolute(x), f.absolute(y)
    swap = a < b
    most, least = f.once(f.select(swap, b, a)), f.once(f.select(swap, a, b))
    up, down = most > 2.0**500, most < 2.0**-400
    scale = f.once(f.select(up, 2.0**-600, f.select(down, 2.0**600, 1.0)))
    back = f.select(up, 2.0**600, f.select(down, 2.0**-600, 1.0))
    p, p_low = f.product(*[f.once(most * scale)] * 2)
    q, q_low = f.product(*[f.once(least * scale)] * 2)
    total, lost = f.two_sum(p, q)
    root = f.sqrt(total)
    lacks = (lost + (p_low + q_low)) - f.beyond(root, root, total)
    fine = f.once(f.select(total > 0.0, root + lacks / (2.0 * root), total)) * back
    nan = f.once(a + b)
    usual = f.select(most < "inf", fine, nan)
    return f.select(a.equals("inf") | b.equals("inf"), "inf", f.once(usual))
