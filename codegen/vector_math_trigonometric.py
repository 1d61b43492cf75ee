"""Formulas of sine, cosine and tangent for arguments of any size; see ``codegen.vector_math``.

In: a ``Formula`` (dtype, whether it may fuse) and the argument. Out: the value.

    |x| = n*pi/2 + r, |r| <= pi/4, in float64 for both dtypes, as all that follows:
      float32   x times 2/pi in four pieces, without the multiples of 4 that do not count; products
                with the first three are exact. Which bits of 2/pi count depends on the size of x
      float64   up to 2**20 less n times pi/2 in three pieces, the first two products exact (Cody,
                Waite). Beyond, |x| = M*2**e with an integer M of 53 bits, times 192 bits of 2/pi
                from where they begin to count (Payne, Hanek): the ``other`` of each Select with
                the condition |x| <= 2**20, most of the text and of the time. A backend may jump
                over it where no lane needs it
    sin, cos(r)       polynomials in r**2; n says which of the two, and the sign
"""

from __future__ import annotations

from typing import Final

from codegen.vector_math_fits import HALF_PI, SIZES_32, TWO_OVER_PI
from codegen.vector_math_values import Formula, Value, in_double, number

__all__ = ["cos", "sin", "tan"]

NEAR = 2.0**20
TWO_OVER_PI_64 = 0.6366197723675814
HALF_PI_64 = 1.5707963267948966
DOUBLE: Final = "float64"
WORD: Final = "uint64"


@in_double
def sin(f: Formula, x: Value) -> Value:
    """The sine."""
    y = _by_quarter(f, x, 0)
    return f.float_of(f.word_of(f.once(y)) ^ (f.word_of(x) & f.sign))


@in_double
def cos(f: Formula, x: Value) -> Value:
    """The cosine."""
    return _by_quarter(f, x, 1)


@in_double
def tan(f: Formula, x: Value) -> Value:
    """The tangent: the sine over the cosine, or less the inverse of that, each in two parts."""
    a = f.absolute(x)
    n, (r, s), (top, c) = _parts(f, a)
    (s, s_low), (c, c_low) = _summed(f, r, s), _summed(f, top, c)
    odd = (n & 1).differs(0)
    above, above_low = (f.once(f.select(odd, v, w)) for v, w in ((c, s), (c_low, s_low)))
    below, below_low = (f.once(f.select(odd, v, w)) for v, w in ((s, c), (s_low, c_low)))
    inverse = f.once(1.0 / below)
    q = f.once(above * inverse)
    lacks = f.once((above_low - q * below_low) - f.beyond(q, below, above))
    y = f.once(f.fma(lacks, inverse, q))
    y = f.once(f.select(odd, -y, y))
    y = f.once(f.select(a < "inf", y, "nan"))
    return f.float_of(f.word_of(y) ^ (f.word_of(x) & f.sign))


def _by_quarter(f: Formula, x: Value, ahead: int) -> Value:
    """The sine of |x| + ahead*pi/2; NaN for an infinite x."""
    a = f.absolute(x)
    n, (r, s), (top, c) = _parts(f, a)
    n = (n + ahead).cast(WORD)
    y = f.once(f.select((n & 1).differs(0), top + c, r + s))
    signed = f.select((n & 2).differs(0), -y, y)
    return f.select(a < "inf", signed, f.number("nan"))


def _parts(f: Formula, a: Value) -> tuple[Value, tuple[Value, Value], tuple[Value, Value]]:
    """n, and the sine and the cosine of what is left as sums, the first of which is the larger."""
    n, r, rest = _single(f, a) if f.single else _double(f, a)
    z = f.once(r * r)
    s = r * z * f.polynomial(z, f.fit("sin"))
    half = f.once(0.5 * z)
    top = f.once(1.0 - half)
    c = f.fma(f.once(z * z), f.polynomial(z, f.fit("cos")), (1.0 - top) - half)
    if rest is not None:  # times the first derivatives
        s, c = s + rest * top, c - r * rest
    return n, (r, f.once(s)), (top, f.once(c))


def _summed(f: Formula, high: Value, low: Value) -> tuple[Value, Value]:
    """high + low, of which high is the larger, and what its rounding lost."""
    total = f.once(high + low)
    return total, f.once((high - total) + low)


# --- float32 --------------------------------------------------------------------------------------


def _single(f: Formula, a: Value) -> tuple[Value, Value, None]:
    """n and r of a float32, with 50 places of r."""
    first, *larger = SIZES_32
    pieces = [f.number(piece) for piece in first[1]]
    for least, others in larger:
        beyond = a >= least
        pieces = [f.once(f.select(beyond, o, p)) for o, p in zip(others, pieces, strict=True)]

    def without_fours(p: Value) -> Value:
        p = f.once(p)
        return f.once(p - (f.once(p + 4.0 * f.rounder) - 4.0 * f.rounder))

    high, low = (without_fours(a * piece) for piece in pieces[:2])
    t = f.once(high + low + f.rounder)
    r = (high - (t - f.rounder)) + low + f.fma(a, pieces[2], a * pieces[3])
    return f.word_of(t), f.once(r * HALF_PI_64), None


# --- float64 --------------------------------------------------------------------------------------


def _double(f: Formula, a: Value) -> tuple[Value, Value, Value]:
    """n, r and what r lacks, of a float64."""
    near = a <= NEAR
    n, r, rest = (f.select(near, v, w) for v, w in zip(_near(f, a), _far(f, a), strict=True))
    return n, f.once(r), f.once(rest)


def _near(f: Formula, a: Value) -> tuple[Value, Value, Value]:
    """n, r and what r lacks, by subtraction of n*pi/2."""
    first, second, third = HALF_PI
    t = f.once(f.fma(a, TWO_OVER_PI_64, f.rounder))
    n = f.once(t - f.rounder)
    r, lost = f.two_sum(f.fma(n, -first, a), f.once(n * -second))  # both terms are exact
    r, lost = f.two_sum(r, f.once(f.fma(n, -third, lost)))
    return f.word_of(t), r, lost


def _window(f: Formula, start: Value) -> tuple[Value, Value, Value]:
    """192 bits of 2/pi from the bit ``start`` on, of which bit 64 is the first of the fraction."""
    place = (start >> 6).cast(WORD)
    words = [Value(number(w)).cast(WORD) for w in TWO_OVER_PI]
    for stage in (16, 8, 4, 2, 1):  # by how many words it moves
        moved = (place & stage).differs(0)
        ahead = words[stage:]  # a word that has none ahead is not asked for when moved
        chosen = [f.select(moved, b, a).cast(WORD) for a, b in zip(words, ahead, strict=False)]
        words = [*chosen, *words[len(chosen) :]][: stage + 3]
    inside = (start & 63).cast(WORD)
    power = f.float_of((inside + f.bias) << f.mantissa).cast(WORD)  # 2**inside, an integer

    def moved_by_bits(i: int) -> Value:
        return (words[i] * power + words[i + 1].mul_high(power)).cast(WORD)

    return moved_by_bits(0), moved_by_bits(1), moved_by_bits(2)


def _far(f: Formula, a: Value) -> tuple[Value, Value, Value]:
    """n, r and what r lacks, of a finite a beyond 2**20."""
    bits = f.word_of(a)
    whole = ((bits & ((1 << 52) - 1)) | (1 << 52)).cast(WORD)  # a = whole*2**e
    start = ((bits >> 52) - (1075 - 62)).cast(WORD)  # e + 62: whole*2**e*2**-(e + 2) is below 2**51
    w0, w1, w2 = _window(f, start)
    low = whole * w1
    middle = (low + whole.mul_high(w2)).cast(WORD)
    carry = f.select(middle < low, Value(number(1)).cast(WORD), 0).cast(WORD)
    top = (whole * w0 + whole.mul_high(w1) + carry).cast(WORD)  # of a*2/pi/4 the fraction
    turned = (top + (1 << 61)).cast(WORD)  # to the nearest quarter
    n = turned >> 62
    # The rest of the quarter, from -2**125 to 2**125, in three exact pieces.
    signed = ((turned & ((1 << 62) - 1)) - (1 << 61)).cast(WORD)
    high = (signed & ((1 << 64) - (1 << 12))).cast("int64").cast(DOUBLE)
    under = (signed & ((1 << 12) - 1)).cast(DOUBLE)
    last = middle.cast(DOUBLE)
    r, lost = f.two_sum(f.once(high * 2.0**-62), f.once(f.fma(last, 2.0**-126, under * 2.0**-62)))
    return n, *_times_half_pi(f, r, lost)


def _times_half_pi(f: Formula, r: Value, lost: Value) -> tuple[Value, Value]:
    """(r + lost)*pi/2 in two parts."""
    first, second, _ = HALF_PI
    # The upper places of r times the first piece are exact; what the lower's product loses is
    # 2**-73 of r.
    high = f.once(f.float_of(f.word_of(r) & ((1 << 64) - (1 << 33))))
    p, e = f.two_sum(high * first, f.once((r - high) * first))
    return f.two_sum(p, f.once(e + f.fma(r, second, lost * (first + second))))
