"""Random numbers in a network: a function of the number of a draw and of an element's place.

In: a shape, or an expression of it; a name. Out: an expression of random numbers, new ones at every
training step, and the state ``NAME.draw`` that counts the draws.
Guarantees: an element's bits are ``codegen.philox.random_bits(draw, place)``, the same on every
backend and in every width, whatever the size of the batch, of the chunk or the number of threads;
the derivative is 0. The count is a state as any other: it starts from ``compile(seed=...)`` and the
name, moves by one a step, and is saved with the weights. A function that is compiled without a
trainer takes it as an argument, one of `prop.initial_values`, and moves it by one a call.
Two calls of one name draw the same numbers.

Sources: Salmon et al. (2011) for the bits (see ``codegen.philox``); G. E. P. Box and M. E. Muller,
A note on the generation of random normal deviates, 1958.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from codegen.index import Ix, constant
from symprop import graph
from symprop import term as t
from symprop.declarations import state
from symprop.errors import DeclarationError, quoted
from symprop.expression import Expr, finish, pointwise
from symprop.graph import At, IndexOf, Reading
from symprop.make import fresh, make
from symprop.ops.control import update
from symprop.ops.elementwise import cos, log, sqrt
from symprop.ops.structural import where
from symprop.shapes import parse_dims

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RANDOM_BITS", "bernoulli", "draws", "kept", "normal", "random_normal", "random_uniform"]

WORDS = 1 << 32
# From here on a float32 nearest to (bits + 1/2)/2**32 is 1, which is outside of the interval.
LAST = WORDS - 128
RANDOM_BITS = t.Function("random_bits", 2, None, kind="int64", cost=60)
"""random_bits(draw, place): 32 bits of Philox4x32-10, as an integer."""


def random_uniform(like: Any, name: str = "uniform") -> Expr:
    """Random numbers between 0 and 1, both left out: every multiple (k + 1/2)/2**32 alike.

    In: ``like``, an expression or dims as in `prop.input`; the name of this draw, one a call. The
    width rounds them; what would be 1 in float32 (one of 2**25) is 1 - 2**-24 in both.
    """
    draw = draws(name)
    bits = _bits(draw, _dims(like), name)
    value = where(bits < LAST, _between(bits), Fraction(2**24 - 1, 2**24))
    return update(value, draw, draw + 1).named(name)


def random_normal(like: Any, name: str = "normal") -> Expr:
    """Random numbers of the normal distribution of mean 0 and variance 1.

    In: ``like``, an expression or dims as in `prop.input`; the name of this draw, one a call. By
    Box and Muller from 64 bits each: they reach 6.7 standard deviations to both sides, beyond which
    lies less than 3e-11 of the distribution.
    """
    draw = draws(name)
    return update(normal(draw, like, name), draw, draw + 1).named(name)


def bernoulli(probability: float, like: Any, name: str = "bernoulli") -> Expr:
    """1.0 with this probability (to 2**-32), else 0.0.

    In: ``like``, an expression or dims as in `prop.input`; the name of this draw, one a call.
    """
    number = isinstance(probability, int | float) and not isinstance(probability, bool)
    if not number or not 0 <= probability <= 1:
        raise DeclarationError(
            f"the probability of bernoulli must be from 0 to 1, but is {quoted(probability)}"
        )
    draw = draws(name)
    value = kept(draw, probability, like, name).astype("float")
    return update(value, draw, draw + 1).named(name)


# --- what layers are made of ------------------------------------------------------------------


def draws(name: str) -> Expr:
    """The state that counts the draws of one name; its first number is the seed's."""
    return state(f"{name}.draw", (), _first_draw, "int64")


def kept(draw: Expr, probability: float, like: Any, name: str) -> Expr:
    """Whether each element is drawn, with this probability: the same for every width."""
    bits = _bits(draw, _dims(like), name)
    return bits < round(Fraction(str(float(probability))) * WORDS)


def normal(draw: Expr, like: Any, name: str) -> Expr:
    """A normal number for each element, without counting the draw."""
    dims = _dims(like)
    radius = sqrt(-2 * log(_between(_bits(draw, dims, name, 2))))
    turn = _between(_bits(draw, dims, name, 2, 1))
    found: Expr = radius * cos(pointwise("turn", lambda u: 2 * t.call(t.PI) * u, turn))
    return found


def _first_draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """A random start: counts that begin far apart stay apart, and their draws independent."""
    return rng.integers(0, 1 << 62, size=shape)


def _dims(like: Any) -> tuple[Ix, ...]:
    return tuple(like.node.dims if isinstance(like, Expr) else parse_dims(like, "a draw")[0])


def _between(bits: Expr) -> Expr:
    """(bits + 1/2)/2**32, between 0 and 1."""
    return (bits.astype("float") + 0.5) / WORDS


def _bits(draw: Expr, dims: tuple[Ix, ...], name: str, step: int = 1, first: int = 0) -> Expr:
    """32 bits for each element: those of its place in row-major order, ``step`` places each."""
    loops = fresh(dims)
    reads: list[Reading] = [At(draw.node, ())]

    def number_of(ix: Ix) -> t.Term:
        reads.append(IndexOf(ix))
        return t.read(len(reads) - 1)

    before, along = t.num(0), constant(0)  # the place is their sum
    for item, size in zip(loops, dims, strict=True):
        if size.value is None and item is not loops[0]:
            before, along = (before + number_of(along)) * number_of(size), item.ix()
        else:
            factor = 1 if size.value is None else size.value
            before, along = before * factor, along * factor + item.ix()
    place = before * step + number_of(along * step + first)
    body = t.call(RANDOM_BITS, t.read(0), place)
    node = make("sum", loops, len(loops), (), body, reads, "int64")
    graph.suggest(node, f"{name.rpartition('.')[2]}_bits")
    return finish(node, "random_bits", [draw])
