"""Independence of turns: what is proved agrees with trying every pair of turns."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from random import Random

import pytest

from codegen.index import Ix, as_ix, constant, dim, evaluate, floordiv, gather, loop, mod
from codegen.loops.nest import For, Store
from codegen.loops.turns import clash, clashes
from codegen.program import Binary, BufferSource, Load, Number

OUTER, TURN, INNER, LAST = loop(0, 2), loop(1, 4), loop(2, 3), loop(3, 5)
SIZES = {OUTER: 2, TURN: 4, INNER: 3, LAST: 5}
ONE = Number(Fraction(1))


def body(write: tuple[Ix, ...], read: tuple[Ix, ...] | None = None, op: str = "=") -> tuple[For]:
    """``for inner: for last: a[write] op= a[read]``, to stand in ``for outer: for turn:``."""
    value = Load("a", read) if read is not None else ONE
    store = Store("a", write, op, value)  # type: ignore[arg-type]
    return (For(INNER, "inner", (For(LAST, "last", (store,)),)),)


def meet(write: tuple[Ix, ...], read: tuple[Ix, ...] | None) -> bool:
    """Whether two different turns of one outer turn touch an element that one of them writes."""
    for outer in range(2):
        seen: dict[tuple[int, ...], set[int]] = {}
        touched: dict[tuple[int, ...], set[int]] = {}
        for turn, inner, last in product(range(4), range(3), range(5)):
            at = {OUTER: outer, TURN: turn, INNER: inner, LAST: last}
            place = tuple(evaluate(ix, at, {}) for ix in write)
            seen.setdefault(place, set()).add(turn)
            touched.setdefault(place, set()).add(turn)
            if read is not None:
                place = tuple(evaluate(ix, at, {}) for ix in read)
                touched.setdefault(place, set()).add(turn)
        if any(len(touched[place]) > 1 for place in seen):
            return True
    return False


def random_index(r: Random) -> Ix:
    """A combination of the loops, at times divided."""
    ix = constant(r.randrange(-2, 3))
    for v in r.sample([OUTER, TURN, INNER, LAST], r.randrange(0, 4)):
        ix = ix + v.ix() * r.choice([-5, -3, 1, 1, 1, 2, 3, 4, 5, 12, 15, 20])
    if r.random() < 0.15:
        return floordiv(ix, r.choice([2, 3, 4]))
    return mod(ix, r.choice([2, 3, 4])) if r.random() < 0.15 else ix


@pytest.mark.parametrize("seed", range(40))
def test_turns_said_to_be_independent_are(seed: int) -> None:
    r = Random(seed)
    for _ in range(10):
        write = tuple(random_index(r) for _ in range(r.randrange(1, 3)))
        read = None
        if r.random() < 0.5:
            read = tuple(ix + r.choice([0, 0, 1]) for ix in write)
        if clash(body(write, read), TURN, {}) is None:
            assert not meet(write, read)


@pytest.mark.parametrize(
    "index",
    [
        (TURN.ix(),),
        (INNER.ix(), TURN.ix() + 7),
        (TURN.ix() * 15 + INNER.ix() * 5 + LAST.ix(),),
        (INNER.ix() * 20 + TURN.ix() * 5 + LAST.ix(),),
        (OUTER.ix() * 4 + TURN.ix(),),
        (floordiv(TURN.ix(), 2), mod(TURN.ix(), 2)),
        (mod(TURN.ix() + 1, 3), LAST.ix(), floordiv(TURN.ix() + 1, 3)),
        (constant(9) - TURN.ix(),),
    ],
    ids=repr,
)
def test_turns_that_are_independent_are_said_to_be(index: tuple[Ix, ...]) -> None:
    assert clash(body(index), TURN, {}) is None


@pytest.mark.parametrize(
    ("write", "read", "op", "kind"),
    [
        ((INNER.ix(),), None, "=", "writes"),
        ((TURN.ix(),), (TURN.ix() + 1,), "=", "reads"),
        ((INNER.ix(),), None, "+=", "adds"),
        ((INNER.ix(),), (INNER.ix(),), "+=", "reads"),
        ((TURN.ix() + INNER.ix(),), None, "max=", "adds"),
        ((floordiv(TURN.ix(), 2),), None, "=", "writes"),
    ],
)
def test_a_clash_says_what_it_is(
    write: tuple[Ix, ...], read: tuple[Ix, ...] | None, op: str, kind: str
) -> None:
    found = clash(body(write, read, op), TURN, {})
    assert found is not None
    assert (found.array, found.kind) == ("a", kind)
    assert meet(write, read)


def test_a_place_gathered_from_data_is_never_told_apart() -> None:
    source = BufferSource("ids", constant(0), constant(3))
    assert clash(body((gather(source, (TURN.ix(),)),)), TURN, {}) is not None


def test_a_place_read_from_what_is_being_written_is_never_told_apart() -> None:
    source = BufferSource("a", constant(0), constant(3))
    index = (TURN.ix(), gather(source, (OUTER.ix(),)))
    assert clash(body(index), TURN, {}) is not None


def test_every_array_that_clashes_is_named_once() -> None:
    first = Store("a", (), "+=", ONE)
    second = Store("b", (), "=", Binary("+", Load("b"), ONE))
    own = Store("c", (TURN.ix(),), "+=", ONE)
    found = clashes((first, second, own), TURN, {})
    assert [(c.array, c.kind) for c in found] == [("a", "adds"), ("b", "reads")]


def test_sizes_known_at_run_time_are_told_apart_for_every_value() -> None:
    batch = dim("batch")
    piece, place = loop(1, floordiv(batch.ix() + 3, 4)), loop(2, 4)
    store = Store("a", (piece.ix() * 4 + place.ix(),), "=", ONE)
    assert clash((For(place, "place", (store,)),), piece, {}) is None
    assert clash((store,), place, {}, free=[piece]) is None
    wide = loop(2, as_ix(5))
    over = Store("a", (piece.ix() * 4 + wide.ix(),), "=", ONE)
    assert clash((For(wide, "place", (over,)),), piece, {}) is not None
