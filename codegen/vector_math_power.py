"""The formula of x**y for any two floats; see ``codegen.vector_math`` for what it keeps.

In: a ``Formula`` (dtype, whether it may fuse) and the arguments. Out: the value.

    |x|**y = exp(y*log(|x|)): for float32 with both in float64; for float64 with the logarithm and
    the product as sums of two numbers, since an error of the exponent is one of the result

Where there is nothing to compute it is what C and IEEE 754 say of ``pow``: x**0 and 1**y are 1,
also of NaN; an integer y gives the sign of x; another y gives NaN for a finite x < 0.
"""

from __future__ import annotations

from typing import Final

from codegen.vector_math_exponential import LN2, exp_parts, log, parted
from codegen.vector_math_values import Formula, Value

__all__ = ["power"]

DOUBLE: Final = "float64"
TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


def power(f: Formula, x: Value, y: Value) -> Value:
    """x**y."""
    a, b = f.absolute(x), f.absolute(y)
    size = _size(f, a, y)
    falls = y < 0.0
    size = f.select(a.equals(0.0), f.once(f.select(falls, "inf", 0.0)), size)
    size = f.select(a.equals("inf"), f.once(f.select(falls, 0.0, "inf")), size)
    size = f.select(x.equals(x) & y.equals(y), size, "nan")
    one = y.equals(0.0) | a.equals(1.0)
    size = f.once(f.select(one, 1.0, size))
    whole = _is_whole(f, b)
    odd = whole & (_is_whole(f, f.once(0.5 * b)) ^ whole)
    signed = f.select(odd, f.float_of(f.word_of(size) ^ (f.word_of(x) & f.sign)), size)
    nowhere = (x < 0.0) & (a < "inf")
    return f.select(whole, signed, f.once(f.select(nowhere, "nan", size)))


def _is_whole(f: Formula, b: Value) -> Value:
    """Whether a b that is not negative is an integer."""
    large = 2.0**f.mantissa
    return (b >= large) | (f.once(b + large) - large).equals(b)


def _size(f: Formula, a: Value, y: Value) -> Value:
    """a**y of a positive and finite a."""
    wide = Formula(DOUBLE, f.fused)
    if f.dtype == "float32":
        p = wide.once(y.cast(DOUBLE) * log(wide, wide.once(a.cast(DOUBLE))))
        rest = None
    else:
        high, low = _fine_log(wide, a)
        p, rest = wide.product(y, high)
        # Where y*log(a) is out of range its rounding is too, and of no account.
        near = wide.absolute(p) < 800.0
        rest = wide.once(wide.select(near, wide.fma(y, low, rest), 0.0))
    z, last = exp_parts(wide, wide.at_most(p, 710.0), rest)
    return f.once((z * last).cast(f.dtype))


def _fine_log(f: Formula, a: Value) -> tuple[Value, Value]:
    """log(a) as a sum of two numbers, with an error of 2**-64 of it."""
    k, d = parted(f, a)
    u, u_lost = f.two_sum(2.0, d)
    s = f.once(d / u)
    p, p_lost = f.product(s, u)
    s_low = f.once(((d - p) - p_lost - s * u_lost) / u)
    z, z_lost = f.product(s, s)
    z_low = f.once(f.fma(f.once(2.0 * s), s_low, z_lost))
    # 2/3*s**3, both factors as sums of two.
    t, t_lost = f.product(s, z)
    t_low = f.once(t_lost + f.fma(s, z_low, s_low * z))
    c, c_lost = f.product(t, f.number(TWO_THIRDS[0]))
    c_low = c_lost + f.fma(t_low, TWO_THIRDS[0], t * TWO_THIRDS[1])
    fifth = t * z * f.polynomial(z, f.fit("log_fifth"))
    high, low = LN2[DOUBLE]
    total, lost = f.two_sum(f.once(k * high), f.once(2.0 * s))
    total, more = f.two_sum(total, c)
    return f.two_sum(total, f.once(fifth + c_low + f.fma(k, low, 2.0 * s_low) + more + lost))
