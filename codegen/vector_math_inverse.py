"""Formulas of the inverses of sine, cosine and tangent; see ``codegen.vector_math``.

In: a ``Formula`` (dtype, whether it may fuse) and the arguments; float32 is computed in float64.
Out: the value.

    atan(y/x)     y = |y|, x = |x|: of the multiple of pi/4 that is nearest the angle, and of what
                  is left the tangent t, |t| <= tan(pi/8): y/x, (y - x)/(y + x) or -x/y;
                  t + t**3*P(t**2); then the quadrant
    asin(x)       x + x**3*P(x**2) to 1/2, then pi/2 - 2*asin(sqrt((1 - |x|)/2))
    acos(x)       pi/2 - asin(x) to 1/2, then 2*asin(sqrt((1 - |x|)/2)), from pi where x < 0
"""

from __future__ import annotations

from codegen.vector_math_values import Formula, Value, in_double

__all__ = ["acos", "asin", "atan", "atan2"]

PI = (3.141592653589793, 1.2246467991473532e-16)
HALF_PI = (1.5707963267948966, 6.123233995736766e-17)
QUARTER_PI = (0.7853981633974483, 3.061616997868383e-17)
EIGHTH = 0.41421356237309503  # the tangent of pi/8


def _angle(f: Formula, y: Value, x: Value) -> tuple[Value, Value]:
    """The angle whose tangent is y/x, neither of them negative or both 0 or infinite, in two parts,
    the second of which is rounded."""
    low, high = y <= EIGHTH * x, y >= x * (1 / EIGHTH)
    above = f.once(f.select(low, y, f.select(high, -x, y - x)))
    below = f.once(f.select(low, x, f.select(high, y, y + x)))
    t = f.once(above / below)
    z = f.once(t * t)
    arc = f.once(t * z) * f.polynomial(z, f.fit("atan"))
    bases = [(0.0, HALF_PI[i], QUARTER_PI[i]) for i in (0, 1)]
    base, rest = (f.once(f.select(low, a, f.select(high, b, c))) for a, b, c in bases)
    return base, f.once(t + (arc + rest))


@in_double
def atan(f: Formula, x: Value) -> Value:
    """The inverse of the tangent."""
    a = f.absolute(x)
    finite = f.once(f.select(a < "inf", a, 2.0**1000))
    base, rest = _angle(f, finite, f.number(1.0))
    return f.signed_as(f.once(f.select(a.equals(a), base + rest, a)), x)


@in_double
def atan2(f: Formula, y: Value, x: Value) -> Value:
    """The angle of the point (x, y), from -pi to pi; as in C where there is nothing to compute."""
    a, b = f.absolute(y), f.absolute(x)
    most = f.once(f.select(a > b, a, b))
    scale = f.once(f.select(most > 2.0**900, 2.0**-200, f.select(most < 2.0**-700, 2.0**200, 1.0)))
    both = a.equals(b)  # among them two zeros, and two infinities
    a, b = f.once(a * scale), f.once(b * scale)
    same = f.once(f.select(most > 0.0, 1.0, 0.0))
    b = f.once(f.select(both, 1.0, f.select(b < "inf", b, 2.0**1000)))
    a = f.once(f.select(both, same, f.select(a < "inf", a, 2.0**1000)))
    b = f.once(f.select(most < "inf", b, f.select(f.absolute(x) < "inf", 0.0, b)))
    a = f.once(f.select(most < "inf", a, f.select(f.absolute(y) < "inf", 0.0, a)))
    base, rest = _angle(f, a, b)
    turned = f.word_of(x) >> 63
    beyond = f.once(f.select(turned.differs(0), f.once(PI[0] - base) + (PI[1] - rest), base + rest))
    found = f.once(f.select(x.equals(x) & y.equals(y), beyond, "nan"))
    return f.signed_as(found, y)


def _half_angle(f: Formula, a: Value) -> tuple[Value, Value, Value]:
    """s = sqrt((1 - a)/2), what it lacks, and asin(s) - s."""
    z = f.once(0.5 - 0.5 * a)
    s = f.sqrt(z)
    lacks = f.once(f.select(z > 0.0, f.beyond(s, s, z) / (-2.0 * s), 0.0))
    return s, lacks, f.once(f.once(s * z) * f.polynomial(z, f.fit("asin")))


@in_double
def asin(f: Formula, x: Value) -> Value:
    """The inverse of the sine."""
    a = f.absolute(x)
    z = f.once(a * a)
    near = f.fma(f.once(a * z), f.polynomial(z, f.fit("asin")), a)
    s, lacks, arc = _half_angle(f, f.at_most(a, 1.0))
    far = HALF_PI[0] - f.fma(s, 2.0, 2.0 * (lacks + arc) - HALF_PI[1])
    y = f.once(f.select(a < 0.5, near, far))
    return f.signed_as(f.once(f.select(a <= 1.0, y, "nan")), x)


@in_double
def acos(f: Formula, x: Value) -> Value:
    """The inverse of the cosine, from 0 to pi."""
    a = f.absolute(x)
    z = f.once(x * x)
    arc = f.once(f.once(x * z) * f.polynomial(z, f.fit("asin")))
    near = HALF_PI[0] - (x - (HALF_PI[1] - arc))
    s, lacks, arc = _half_angle(f, f.at_most(a, 1.0))
    right = f.once(2.0 * (s + (lacks + arc)))
    left = PI[0] - f.fma(s, 2.0, 2.0 * (lacks + arc) - PI[1])
    y = f.select(a < 0.5, near, f.once(f.select(x < 0.0, left, right)))
    return f.select(a <= 1.0, y, "nan")
