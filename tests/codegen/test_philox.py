"""The generator against its authors' values, and the orders drawn from it."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from codegen import philox
from codegen.philox import permutation
from codegen.philox import philox as block

# Random123 (D. E. Shaw Research), tests/kat_vectors, "philox 4x32 10": counter, key, result.
KNOWN = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_the_generator_gives_the_published_words(counter: str, key: str, result: str) -> None:
    found = block(words(counter), words(key))
    assert found.dtype == np.uint32
    assert found.tolist() == words(result)


def test_many_counters_are_as_each_alone() -> None:
    counters = np.random.default_rng(0).integers(0, 1 << 32, (4, 3, 5), np.uint64)
    found = block(counters, [1, 2])
    assert found.shape == (4, 3, 5)
    for i, j in np.ndindex(3, 5):
        assert found[:, i, j].tolist() == block(counters[:, i, j], [1, 2]).tolist()


def by_hand(seed: int, epoch: int, n: int) -> list[int]:
    """The order, as the docstrings say it, in Python's integers."""
    order: list[int] = []
    for i in range(n):
        attempt = 0
        while True:
            counter = [i // 4, attempt, epoch % 2**32, epoch // 2**32]
            product = int(block(counter, [seed % 2**32, seed // 2**32])[i % 4]) * (i + 1)
            if product % 2**32 >= 2**32 % (i + 1):
                break
            attempt += 1
        j = product >> 32
        order.append(i)
        order[i], order[j] = order[j], i
    return order


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 100])
@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (1, 0), (0, 1), (2**64 - 1, 2**64 - 1)])
def test_an_order_is_what_is_said(seed: int, epoch: int, n: int) -> None:
    found = permutation(seed, epoch, n)
    assert found.dtype == np.int64
    assert found.tolist() == by_hand(seed, epoch, n)
    assert sorted(found.tolist()) == list(range(n))


def test_an_order_does_not_change_from_version_to_version() -> None:
    """Who has trained with a seed can train so again."""
    assert permutation(0, 0, 10).tolist() == [8, 1, 5, 9, 6, 3, 4, 0, 7, 2]


def test_each_half_of_seed_and_epoch_counts() -> None:
    pairs = [(0, 0), (1, 0), (1 << 32, 0), (0, 1), (0, 1 << 32)]
    assert len({tuple(permutation(*pair, 50).tolist()) for pair in pairs}) == len(pairs)


def test_all_orders_are_equally_likely() -> None:
    """Chi-squared with 23 degrees of freedom: above 49.7 once in a thousand seeds."""
    counts = Counter(tuple(permutation(7, epoch, 4).tolist()) for epoch in range(4800))
    assert set(counts) == set(permutations(range(4)))
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 49.7


def test_every_place_is_equally_likely_for_every_example() -> None:
    orders = np.array([permutation(3, epoch, 16) for epoch in range(1600)])
    counts = np.array([np.bincount(column, minlength=16) for column in orders.T])
    chi_squared = ((counts - 100) ** 2 / 100).sum()
    assert chi_squared < 225 + 4 * (2 * 225) ** 0.5  # 225 degrees of freedom


def test_unfair_words_are_drawn_again() -> None:
    """About (n / 2**17)**2 of n positions draw again."""
    n = 300_000
    positions = np.arange(n, dtype=np.uint64)
    product = philox._draws(0, 0, positions, 0) * (positions + np.uint64(1))
    unfair = np.flatnonzero(product % np.uint64(2**32) < 2**32 % (positions + np.uint64(1)))
    assert len(unfair) > 0
    found = philox._choices(0, 0, positions)
    again = philox._draws(0, 0, positions[unfair], 1) * (positions[unfair] + np.uint64(1))
    assert found[unfair].tolist() == (again >> np.uint64(32)).tolist()
    assert (found <= positions).all()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [((-1, 0, 3), "seed"), ((2**64, 0, 3), "seed"), ((0, -1, 3), "epoch"), ((0, 0, -1), "n"),
     ((0, 2**64, 3), "epoch"), ((0, 0, 2**32 + 1), "n")],
)  # fmt: skip
def test_what_the_counter_has_no_room_for_is_refused(
    arguments: tuple[int, int, int], name: str
) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number from 0 to"):
        permutation(*arguments)
