# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Functions of one number that NumPy has and Numba's CUDA target lacks, for its text.

In: float64 numbers of Numba. Out: a float64. ``INSTEAD`` says which stands for which.

Guarantees: exact for every number, NaN and infinities kept. The text backend copies the source of
a function, and of those it calls, into a module that uses it: each must stand there alone.
"""

__all__ = ["floor", "rint"]

INSTEAD = {"np.floor": "floor", "np.rint": "rint"}


def rint(x):
    """The nearest integer, the even one of two: what is left when no bit after the point is."""
    whole = 4503599627370496.0  # from here on, every number is an integer
    if x != x or abs(x) >= whole:
        return x
    return (x + whole) - whole if x > 0 else (x - whole) + whole


def floor(x):
    """The greatest integer not above x."""
    near = rint(x)
    return near - 1.0 if near > x else near
