# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Functions that ``math`` lacks, or computes with overflow, of one number: for loop texts.

In: Python floats, or float64 numbers of Numba. Out: a float64. In float32 programs the text rounds
the result once, so the bound of a row there is half a unit and a little.

Guarantees: no finite input overflows on the way to a finite result; NaN gives NaN; the rounding
errors are stated, and measured, in the rows of codegen.functions. The text backend copies the
source of a function, and of those it calls, into a module that uses it: each must stand there
alone, so it uses `math`, its neighbours here and nothing else.
"""

import math

__all__ = [
    "log_sigmoid",
    "logaddexp",
    "maximum",
    "minimum",
    "normal_cdf",
    "normal_pdf",
    "random_bits",
    "rsqrt",
    "sech2",
    "sigmoid",
    "sign",
    "softplus",
    "square_error",
    "strong_mul",
]


def sigmoid(x):
    """1/(1 + exp(-x)); only powers below 1 are taken: no overflow, and no tail is lost."""
    e = math.exp(-abs(x))
    return e / (1 + e) if x < 0 else 1 / (1 + e)


def softplus(x):
    """log(1 + exp(x)) without overflow."""
    tail = math.log1p(math.exp(-abs(x)))
    return tail if x < 0 else x + tail


def log_sigmoid(x):
    """log(sigmoid(x)) without overflow."""
    tail = math.log1p(math.exp(-abs(x)))
    return x - tail if x < 0 else -tail


def logaddexp(x, y):
    """log(exp(x) + exp(y)) without overflow."""
    apart = 0.0 if x == y else abs(x - y)
    return (x if x > y else y) + math.log1p(math.exp(-apart))


def rsqrt(x):
    """1/sqrt(x)."""
    return 1 / math.sqrt(x)


def sech2(x):
    """1/cosh(x)**2 without overflow."""
    e = math.exp(-2 * abs(x))
    return 4 * e / ((1 + e) * (1 + e))


def square_error(a):
    """a*a less its rounded value, exactly (Dekker's split)."""
    c = a * 134217729
    high = c - (c - a)
    low = a - high
    return ((high * high - a * a) + 2 * high * low) + low * low


def normal_cdf(x):
    """erfc(-x/sqrt(2))/2, the normal distribution function, to the last bits in its left tail."""
    z = -0.7071067811865476 * x
    if x > -1 or x != x:
        return math.erfc(z) / 2
    if x < -40:
        return 0.0
    # erfc(z) is exp(-z*z) times a slow function: the rounding of z is repaired in the exponent.
    apart = (z * z - x * x / 2) + (square_error(z) - square_error(x) / 2)
    return math.erfc(z) / 2 * math.exp(apart)


def normal_pdf(x):
    """exp(-x*x/2)/sqrt(2*pi), to the last bits in its tails."""
    if abs(x) > 40:
        return 0.0
    e = 0.3989422804014327 * math.exp(-0.5 * (x * x))
    return e - e * (square_error(x) / 2)


def strong_mul(g, d):
    """g*d, but exactly 0 where g is 0, even if d is infinite or NaN there."""
    return 0.0 if g == 0 else g * d


def sign(x):
    """-1, 0 or 1."""
    return 1.0 if x > 0 else -1.0 if x < 0 else x


def maximum(x, y):
    """The greater; NaN where either is."""
    return x if x > y or x != x else y


def minimum(x, y):
    """The lesser; NaN where either is."""
    return x if x < y or x != x else y


def random_bits(draw, place):
    """32 random bits for a place of a draw, of int64: the first word of Philox4x32-10."""
    low = 0xFFFFFFFF
    x0, x1, x2, x3 = place & low, (place >> 32) & low, draw & low, (draw >> 32) & low
    k0, k1 = 0, 0
    for _ in range(10):  # products wrap: their bits are those of unsigned ones
        a, b = x0 * 0xD2511F53, x2 * 0xCD9E8D57
        x0, x1 = ((b >> 32) & low) ^ x1 ^ k0, b & low
        x2, x3 = ((a >> 32) & low) ^ x3 ^ k1, a & low
        k0, k1 = (k0 + 0x9E3779B9) & low, (k1 + 0xBB67AE85) & low
    return x0
