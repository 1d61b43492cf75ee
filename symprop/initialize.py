"""Starting values of parameters.

In: a random generator and the shape of a parameter, `(out, in)` or `(out, in, window...)`.
Out: a float64 array of that shape; it is rounded to the compiled width afterwards, so a seed gives
the same start in every width.
Guarantees: the same generator state gives the same array; an initialiser is immutable and can be
shared between parameters. Each of this module says in `variance(shape)` how much an element varies
about its mean, which is 0 (for `Constant`, its value); a user's own function need not.

`initial_values` draws the parameters of expressions, each from a generator of its own.
It does not know layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from symprop.arguments import arguments, check_leaves
from symprop.data import storage_dtype
from symprop.errors import DeclarationError, at, listed, quoted
from symprop.expression import Expr
from symprop.graph import Leaf

__all__ = [
    "Constant",
    "Glorot",
    "He",
    "Initializer",
    "LeCun",
    "Orthogonal",
    "Zeros",
    "initial_values",
    "initializer",
]

Values = NDArray[np.float64]
# In quotes: naming np.random here would import it, and it is slow.
Initializer = Callable[["np.random.Generator", tuple[int, ...]], Values]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs an output reads, and how many outputs an input feeds (window included)."""
    if len(shape) < 2:
        raise DeclarationError(
            f"Glorot, He, LeCun and Orthogonal need a shape (out, in, ...), but got {shape}: "
            "use Zeros() or Constant(value) for a vector"
        )
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def drawn(
    distribution: str, variance: float, rng: np.random.Generator, shape: tuple[int, ...]
) -> Values:
    """Numbers with mean 0 and this variance."""
    if distribution == "normal":
        return rng.normal(0.0, math.sqrt(variance), size=shape)
    bound = math.sqrt(3 * variance)
    return rng.uniform(-bound, bound, size=shape)


def check_distribution(value: object) -> None:
    if value not in ("normal", "uniform"):
        raise DeclarationError(
            f"distribution must be 'normal' or 'uniform', but is {quoted(value)}"
        )


@dataclass(frozen=True)
class Glorot:
    """Variance 2 / (fan_in + fan_out): keeps the scale through tanh layers, both ways.

    Uniform on +-sqrt(6 / (fan_in + fan_out)) unless "normal" is asked for. X. Glorot and Y. Bengio,
    Understanding the difficulty of training deep feedforward neural networks, AISTATS 2010,
    equations 12 and 16.
    """

    distribution: str = "uniform"

    def __post_init__(self) -> None:
        check_distribution(self.distribution)

    def variance(self, shape: tuple[int, ...]) -> float:
        """2 / (fan_in + fan_out)."""
        return 2 / max(1, sum(fans(shape)))

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        return drawn(self.distribution, self.variance(shape), rng, shape)


@dataclass(frozen=True)
class He:
    """Variance 2 / fan_in: keeps the scale through ReLU layers, which drop half of it.

    Normal unless "uniform" is asked for. K. He, X. Zhang, S. Ren and J. Sun, Delving deep into
    rectifiers, ICCV 2015, equation 10.
    """

    distribution: str = "normal"

    def __post_init__(self) -> None:
        check_distribution(self.distribution)

    def variance(self, shape: tuple[int, ...]) -> float:
        """2 / fan_in."""
        return 2 / max(1, fans(shape)[0])

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        return drawn(self.distribution, self.variance(shape), rng, shape)


@dataclass(frozen=True)
class LeCun:
    """Variance 1 / fan_in: keeps the scale through layers that neither grow nor shrink it.

    Normal unless "uniform" is asked for. Y. LeCun, L. Bottou, G. Orr and K.-R. Müller, Efficient
    BackProp, 1998, equation 16.
    """

    distribution: str = "normal"

    def __post_init__(self) -> None:
        check_distribution(self.distribution)

    def variance(self, shape: tuple[int, ...]) -> float:
        """1 / fan_in."""
        return 1 / max(1, fans(shape)[0])

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        return drawn(self.distribution, self.variance(shape), rng, shape)


@dataclass(frozen=True)
class Orthogonal:
    """gain times a random matrix whose rows (columns, where it is tall) are orthonormal.

    It keeps lengths, forward and backward, to any depth; a shape (out, in, window...) is taken as
    (out, in*window). A. Saxe, J. McClelland and S. Ganguli, Exact solutions to the nonlinear
    dynamics of learning in deep linear neural networks, ICLR 2014.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        number = isinstance(self.gain, int | float) and not isinstance(self.gain, bool)
        if not number or not 0 < self.gain < math.inf:
            raise DeclarationError(f"gain must be a positive number, but is {quoted(self.gain)}")

    def variance(self, shape: tuple[int, ...]) -> float:
        """gain**2 / max(out, fan_in): a row (column) of that many elements has length gain."""
        return self.gain**2 / max(1, shape[0], fans(shape)[0])

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        rows, columns = shape[0], fans(shape)[0]
        tall = rng.normal(size=(max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(tall)
        # The signs of r's diagonal are LAPACK's choice; without them q is uniformly distributed.
        q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


@dataclass(frozen=True)
class Constant:
    """The same value everywhere."""

    value: float

    def variance(self, shape: tuple[int, ...]) -> float:
        """0: every element is the mean, `value`."""
        return 0.0

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        return np.full(shape, self.value, dtype=np.float64)


@dataclass(frozen=True)
class Zeros:
    """Zero everywhere: the usual start of a bias."""

    def variance(self, shape: tuple[int, ...]) -> float:
        """0."""
        return 0.0

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
        return np.zeros(shape, dtype=np.float64)


# What a layer's `init="he"` means.
BY_NAME: dict[str, Initializer] = {
    "glorot": Glorot(),
    "he": He(),
    "lecun": LeCun(),
    "orthogonal": Orthogonal(),
    "zeros": Zeros(),
}


def initializer(init: str | Initializer) -> Initializer:
    """The initialiser that `init` names, or `init` itself where it is one."""
    if isinstance(init, str):
        if init not in BY_NAME:
            raise DeclarationError(
                f"init={quoted(init)} is not known: use one of {listed(BY_NAME)} or an initialiser "
                "such as prop.He()"
            )
        return BY_NAME[init]
    if not callable(init):
        raise DeclarationError(
            f"init must be a name or a function (rng, shape) -> array, but is {quoted(init)}"
        )
    return init


# --- initial values ------------------------------------------------------------------------------


def initial_values(
    values: Expr | Sequence[Expr], seed: int = 0, dtype: str = "float32"
) -> dict[str, np.ndarray[Any, Any]]:
    """Fresh arrays for the parameters and states that the expressions read, by name.

    Guarantees: a parameter's start depends on the seed, its name and its initializer alone; it is
    drawn in float64 and then rounded.
    """
    shown: list[Any] = list(values) if isinstance(values, list | tuple) else [values]
    for value in shown:
        if not isinstance(value, Expr):
            raise DeclarationError(
                f"initial_values needs expressions, but got {type(value).__name__} {quoted(value)}"
            )
    roots = [value.node for value in shown]
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise DeclarationError(f"seed must be a whole number from 0 up, but is {quoted(seed)}")
    check_leaves(roots)
    kept = [leaf for leaf in arguments(roots) if leaf.kind in ("parameter", "state")]
    return {leaf.name: _initial(leaf, int(seed), dtype) for leaf in kept}


def _initial(leaf: Leaf, seed: int, dtype: str) -> np.ndarray[Any, Any]:
    shape = tuple(cast(int, d.value) for d in leaf.dims)
    start = leaf.init
    if callable(start):
        word = int.from_bytes(blake2b(leaf.name.encode(), digest_size=8).digest(), "little")
        start = start(np.random.default_rng([seed, word]), shape)
        if np.shape(start) != shape:
            raise DeclarationError(
                f"the initializer of {quoted(leaf.name)}{at(leaf.where)} gave an array "
                f"{np.shape(start)}, expected {shape}"
            )
    return np.array(np.broadcast_to(start, shape), dtype=storage_dtype(leaf, dtype), order="C")
