# mypy: disable-error-code="no-untyped-def, no-untyped-call, assignment"
"""Functions that NumPy lacks, or computes with overflow, written as NumPy text can carry them.

In: arrays, NumPy scalars or Python numbers. Out: the same dtype (float64 for Python numbers).

Guarantees: no finite input raises a warning or leaves the dtype; the rounding errors are stated,
and measured, in the rows of codegen.functions. The text backend copies the source of a function,
and of those it calls, into a module that uses it: each must stand there alone, so it uses `np`,
its neighbours here and nothing else.
"""

import numpy as np

__all__ = [
    "erf",
    "erfc",
    "erfcx",
    "exp_square",
    "log_sigmoid",
    "normal_cdf",
    "normal_pdf",
    "random_bits",
    "rsqrt",
    "sech2",
    "sigmoid",
    "softplus",
    "strong_mul",
]


def sigmoid(x):
    """1/(1 + exp(-x)); only powers below 1 are taken: no overflow, and no tail is lost."""
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


def softplus(x):
    """log(1 + exp(x)) without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def log_sigmoid(x):
    """log(sigmoid(x)) without overflow."""
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def sech2(x):
    """1/cosh(x)**2 without overflow."""
    e = np.exp(-2 * np.minimum(np.abs(x), 400))
    s = 1 + e
    return 4 * e / (s * s)


def rsqrt(x):
    """1/sqrt(x)."""
    return 1 / np.sqrt(x)


def strong_mul(g, d):
    """g*d, but exactly 0 where g is 0, even if d is infinite or NaN there."""
    return g * np.where(g == 0, 0, d)


def exp_square(a, k):
    """exp(-k*a*a) for k = 1 or 1/2, with the rounding of the square repaired (Dekker's split)."""
    c = a * (4097 if a.dtype == np.float32 else 134217729)
    high = c - (c - a)
    low = a - high
    square = a * a
    error = ((high * high - square) + 2 * high * low) + low * low
    e = np.exp(-k * square)
    return e - e * (k * error)


# fmt: off
def erfcx(a):
    """exp(a*a)*erfc(a) for a >= 0: a polynomial in (a - 4)/(a + 4), over 1 + 2*a."""
    if a.dtype == np.float32:
        coefficients = (  # of a Chebyshev fit on [0, 10.3]
            -0.0006424064, -0.0011365232, 0.00504683, -0.01601921, 0.037223734, -0.06635576,
            0.09372054, -0.101037785, 0.06809791, 0.015379633, -0.13962114, 1.2329952
        )
    else:
        coefficients = (  # of a Chebyshev fit on [0, 28]
            -1.7668021904964841e-09, -1.3529367067220971e-08, -7.764817952397257e-09,
            1.1494863135062745e-07, 6.258721442256385e-08, -8.346789501461553e-07,
            3.016107881318932e-07, 5.717563626689596e-06, -1.1225008755089552e-05,
            -2.4403036998954536e-05, 0.00015062234674481447, -0.0001992555416162786,
            -0.000757773370277741, 0.005031969761432285, -0.0161977340542423,
            0.037167515561938515, -0.0663303658119996, 0.09373283499682628,
            -0.10103906603632913, 0.06809705425473639, 0.015379652102620305,
            -0.1396211168405629, 1.2329951186255526
        )
    t = (a - 4) / (a + 4)
    p = 0 * t
    for c in coefficients:
        p *= t
        p += c
    return p / (1 + 2 * a)


def erf(x):
    """The error function: x*polynomial(x*x) near 0, else 1 - erfc(|x|) with the sign of x."""
    a = np.minimum(np.abs(x), 10)
    square = a * a
    p = 0 * square
    coefficients = (
        1.4726381680017032e-06, -1.4845900896375835e-05, 0.00012053337222877719,
        -0.0008548297798086192, 0.005223977373542183, -0.026866170632921085,
        0.11283791670925457, -0.37612638903183476, 1.1283791670955126
    )
    for c in coefficients:
        p *= square
        p += c
    y = np.where(a < 0.5, a * p, 1 - np.exp(-square) * erfcx(a))
    return np.copysign(y, x)
# fmt: on


def erfc(x):
    """1 - erf(x), to the last bits also where it is tiny."""
    a = np.minimum(np.abs(x), 40)
    y = exp_square(a, 1) * erfcx(a)
    return np.where(x < 0, 2 - y, y)[()]


def normal_cdf(x):
    """erfc(-x/sqrt(2))/2, the normal distribution function, to the last bits in its left tail."""
    a = np.minimum(np.abs(x), 40)
    y = 0.5 * exp_square(a, 0.5) * erfcx(a * 0.7071067811865476)
    return np.where(x < 0, y, 1 - y)[()]


def normal_pdf(x):
    """exp(-x*x/2)/sqrt(2*pi), to the last bits in its tails."""
    return 0.3989422804014327 * exp_square(np.minimum(np.abs(x), 40), 0.5)


def random_bits(draw, place):
    """32 random bits for each place of a draw: the first word of Philox4x32-10."""
    draw, place = draw.astype(np.uint64), place.astype(np.uint64)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    x0, x1, x2, x3 = place & low, place >> half, draw & low, draw >> half
    for n in range(10):
        a, b = x0 * np.uint64(0xD2511F53), x2 * np.uint64(0xCD9E8D57)
        k0, k1 = np.uint64(n * 0x9E3779B9 % 2**32), np.uint64(n * 0xBB67AE85 % 2**32)
        x0, x1, x2, x3 = (b >> half) ^ x1 ^ k0, b & low, (a >> half) ^ x3 ^ k1, a & low
    return x0.astype(np.int64)
