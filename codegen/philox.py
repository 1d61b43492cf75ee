"""Random numbers as a function of a seed and a place: Philox4x32-10, and orders drawn from it.

In: integers. Out: ``philox``, 128 random bits for each counter; ``random_bits``, 32 of them for a
place in a draw; ``permutation``, the order of the examples of one epoch.

Guarantees: nothing is remembered: the same integers give the same result, on every machine, in any
order, from any number of threads; ``codegen.llvm.driver`` computes ``permutation`` in machine code,
bit for bit. Every order is equally likely, as far as 128 bits of a block can say.

Sources: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3"
(2011), for the generator; D. Lemire, "Fast random integer generation in an interval" (2019), for
numbers below a bound without bias; D. Knuth, "The Art of Computer Programming", vol. 2, 3.4.2, for
the shuffle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["INCREMENTS", "MOST", "MULTIPLIERS", "ROUNDS", "permutation", "philox", "random_bits"]

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)  # of the key, from round to round
ROUNDS = 10
MOST = 1 << 32  # examples of a permutation: one number of 32 bits chooses among them

_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
Words = NDArray[np.uint64]


def philox(counter: ArrayLike, key: ArrayLike) -> NDArray[np.uint32]:
    """Four random words for each counter.

    In: ``counter`` (4, ...) and ``key`` (2,), integers below 2**32. Out: (4, ...) of uint32.
    """
    x0, x1, x2, x3 = np.asarray(counter, np.uint64)
    k0, k1 = (int(k) for k in np.asarray(key, np.uint64))
    for n in range(ROUNDS):
        a, b = x0 * np.uint64(MULTIPLIERS[0]), x2 * np.uint64(MULTIPLIERS[1])
        first = np.uint64((k0 + n * INCREMENTS[0]) % MOST)
        second = np.uint64((k1 + n * INCREMENTS[1]) % MOST)
        x0, x1, x2, x3 = (b >> _HALF) ^ x1 ^ first, b & _LOW, (a >> _HALF) ^ x3 ^ second, a & _LOW
    return np.stack([x0, x1, x2, x3]).astype(np.uint32)


def random_bits(draw: int, place: int) -> int:
    """The first word of ``philox([place, place >> 32, draw, draw >> 32], [0, 0])``, of int64.

    The function of the table of ``codegen.functions``, on Python's numbers; what the backends have
    for it is this, bit for bit.
    """
    low = MOST - 1
    x0, x1, x2, x3 = place & low, place >> 32 & low, draw & low, draw >> 32 & low
    k0 = k1 = 0
    for _ in range(ROUNDS):
        a, b = x0 * MULTIPLIERS[0], x2 * MULTIPLIERS[1]
        x0, x1, x2, x3 = b >> 32 ^ x1 ^ k0, b & low, a >> 32 ^ x3 ^ k1, a & low
        k0, k1 = k0 + INCREMENTS[0] & low, k1 + INCREMENTS[1] & low
    return x0


def permutation(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """The numbers from 0 to n - 1 in a random order: (n,) of int64.

    Each position i takes the place of a random earlier one, or its own; that one moves to i.

    Raises ValueError for a seed or an epoch that is not in [0, 2**64), and for n above 2**32.
    """
    for name, value, end in (
        ("seed", seed, 1 << 64),
        ("epoch", epoch, 1 << 64),
        ("n", n, MOST + 1),
    ):
        if not 0 <= value < end:
            raise ValueError(f"{name} must be a whole number from 0 to {end - 1}, but is {value}")
    order = [0] * n
    for i, j in enumerate(_choices(seed, epoch, np.arange(n, dtype=np.uint64)).tolist()):
        order[i] = order[j]
        order[j] = i
    return np.array(order, np.int64)


def _choices(seed: int, epoch: int, positions: Words) -> Words:
    """For each position i a number from 0 to i: the high half of a word times i + 1.

    A word whose product has a low half below 2**32 mod (i + 1) would make some numbers likelier
    than others: the position draws again.
    """
    bound = positions + np.uint64(1)
    threshold = (np.uint64(MOST) - bound) % bound
    product = _draws(seed, epoch, positions, 0) * bound
    attempt = 0
    while (again := np.flatnonzero(product & _LOW < threshold)).size:
        attempt += 1
        product[again] = _draws(seed, epoch, positions[again], attempt) * bound[again]
    return product >> _HALF


def _draws(seed: int, epoch: int, positions: Words, attempt: int) -> Words:
    """One word of 32 bits for each position: four positions share a block."""
    rest = [np.full_like(positions, n) for n in (attempt, epoch % MOST, epoch // MOST)]
    words = philox([positions >> np.uint64(2), *rest], [seed % MOST, seed // MOST])
    lane = (positions & np.uint64(3)).astype(np.int64)
    found: Words = np.take_along_axis(words, lane[None], 0)[0].astype(np.uint64)
    return found
