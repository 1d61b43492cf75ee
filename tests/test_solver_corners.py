"""The index solver where it is seldom asked: contradictions that show late, exact substitution
inside floor and mod, and forms that no rule covers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from checking import evaluate_all, shape_of

import symprop as prop
from codegen.index import Guard, Ix, Loop, evaluate, floordiv, guard, loop, mod
from symprop import term as t
from symprop.graph import At, IndexOf
from symprop.make import make
from symprop.solver import Step, solve

Form = Callable[..., list[Any]]


def guards_of(wanted: Sequence[tuple[Ix, Any]]) -> list[Guard]:
    return [g for g in (guard(*w) for w in wanted) if isinstance(g, Guard)]


def holds(wanted: Sequence[tuple[Ix, Any]], here: dict[Loop, int]) -> bool:
    return all(evaluate(e, here, {}) >= 0 if kind == ">=" else evaluate(e, here, {}) == 0
               for e, kind in wanted)  # fmt: skip


def points(wanted: Sequence[tuple[Ix, Any]], loops: Sequence[Loop]) -> list[tuple[int, ...]]:
    """Every point at which the guards hold."""
    ranges = [range(v.extent.value or 0) for v in loops]
    return [p for p in itertools.product(*ranges)
            if holds(wanted, dict(zip(loops, p, strict=True)))]  # fmt: skip


FORMS: dict[str, Form] = {
    "contradicting values": lambda s, v, w: [(v - 2, "=="), (v - 3, "==")],
    "a value out of range": lambda s, v, w: [(v - s * 0 - 9, "==")],
    "a value below 0": lambda s, v, w: [(v + 1 + s * 0, "==")],
    "a reshape to a remainder out of range": lambda s, v, w: [
        (floordiv(v, 3) - s, "=="), (mod(v, 3) - 3 - w * 0, "==")],
    "a reshape to a place out of range": lambda s, v, w: [
        (floordiv(v, 3) - 7, "=="), (mod(v, 3) - 1, "==")],
    "a reshape and a contradiction": lambda s, v, w: [
        (floordiv(v + w, 3) - s, "=="), (mod(v + w, 3) - w, "=="), (v - 5, "=="), (w - 2, "==")],
    "two reshapes": lambda s, v, w: [
        (floordiv(v, 3) - s, "=="), (mod(v, 3) - w, "=="),
        (floordiv(v + w, 2) - s, "=="), (mod(v + w, 2) - s, "==")],
    "a stride with a range": lambda s, v, w: [(v * 2 - s, "=="), (v - 1, ">=")],
    "a stride twice": lambda s, v, w: [(v * 2 - s, "=="), (v * 4 + w - s * 2, "==")],
    "a stride inside a floor": lambda s, v, w: [
        (v * 2 - s, "=="), (floordiv(v * 2 + 1, 3) - w, "==")],
    "a stride inside a mod": lambda s, v, w: [(v * 2 - s, "=="), (mod(v * 2 + w, 5) - 3, "==")],
    "a stride inside and outside a floor": lambda s, v, w: [
        (v * 2 - s, "=="), (v * 4 + floordiv(v, 2) - w * 3 - s, "==")],
    "a stride of 0 coefficients": lambda s, v, w: [
        (v * 2 - s, "=="), (w - mod(v * 3, 4), "==")],
    "a mod of a multiple": lambda s, v, w: [(mod(v * 2 + w, 3) - s, "==")],
    "a mod of two multiples": lambda s, v, w: [(mod(v * 2 + w * 2, 4) - s, "==")],
    "a mod of itself": lambda s, v, w: [(mod(v + floordiv(v, 2), 3) - s, "==")],
    "a mod of what stands beside it": lambda s, v, w: [(mod(v + w, 3) - v, "==")],
    "a mod with an offset": lambda s, v, w: [(mod(v + w + 5, 3) - s, "==")],
    "a mod with a negative offset": lambda s, v, w: [(mod(v - w - 4, 3) - s, "==")],
    "a floor with an offset": lambda s, v, w: [(floordiv(v - w - 4, 3) + 2 - s, "==")],
    "a floor of a negative": lambda s, v, w: [(floordiv(w - v, 3) + s, "==")],
    "minus a floor": lambda s, v, w: [(s - floordiv(v + 1, 2), "==")],
    "twice a floor": lambda s, v, w: [(floordiv(v, 2) * 2 - s, "==")],
    "mixed radix": lambda s, v, w: [(v * 3 + w - s, "==")],
    "mixed radix, descending": lambda s, v, w: [(s - v * 3 - w, "==")],
    "mixed radix, one too wide": lambda s, v, w: [(v * 2 + w - s, "==")],
    "mixed radix, below 0": lambda s, v, w: [(v * 3 + w - 1 - s, "==")],
    "mixed radix, of negatives": lambda s, v, w: [(v * 3 - w - s, "==")],
    "a sum of both": lambda s, v, w: [(v + w - s, "=="), (v - w, ">=")],
    "only ranges": lambda s, v, w: [(v - w, ">="), (s - v, ">=")],
    "ranges that a value excludes": lambda s, v, w: [(v - 1, "=="), (w - v * 3, ">=")],
}  # fmt: skip


@pytest.mark.parametrize("outer", [1, 2, 7], ids=lambda n: f"{n} outputs")
@pytest.mark.parametrize("name", FORMS)
def test_the_points_and_what_is_read_there_are_unchanged(name: str, outer: int) -> None:
    s, v, w = loop(0, outer), loop(1, 6), loop(2, 3)
    wanted = FORMS[name](s.ix(), v.ix(), w.ix())
    x = prop.input("x", (6, 3)).node
    data = np.random.default_rng(0).integers(-9, 10, size=shape_of(x)).astype(float)
    out = np.zeros((outer,))
    for i, j, k in points(wanted, (s, v, w)):
        out[i] += data[j, k] * (1 + j + 10 * k)
    guards = [guard(*g) for g in wanted]
    body = t.read(0) * (t.read(1) + 1)
    reads = [At(x, (v.ix(), w.ix())), IndexOf(v.ix() + w.ix() * 10)]
    node = make("sum", [s, v, w], 1, guards, body, reads, "float")
    np.testing.assert_array_equal(evaluate_all([node], {x: data})[0], out)


@pytest.mark.parametrize("name", FORMS)
def test_what_is_solved_has_as_many_points(name: str) -> None:
    """Each solution once, at the values that the steps say; none where there is no point."""
    s, v, w = loop(0, 7), loop(1, 6), loop(2, 3)
    wanted = FORMS[name](s.ix(), v.ix(), w.ix())
    expected = sorted(points(wanted, (s, v, w)))
    if any(guard(*g) is False for g in wanted):
        assert not expected
        return
    state = solve([v, w], guards_of(wanted))
    if state is None:
        assert not expected
        return
    left = [(g.ix, g.kind) for g in state.guards]
    index = [s.ix(), v.ix(), w.ix()]
    for step in state.steps:
        index = [step.ix(i) for i in index]
    loops = [s, *state.loops]
    found = []
    for p in points(left, loops):
        here = dict(zip(loops, p, strict=True))
        found.append(tuple(evaluate(i, here, {}) for i in index))
    assert sorted(found) == expected


@pytest.mark.parametrize("name", [n for n in FORMS if "contradict" in n or "out of range" in n])
def test_what_no_point_satisfies_is_found_out_without_a_search(name: str) -> None:
    s, v, w = loop(0, 2), loop(1, 6), loop(2, 3)
    wanted = FORMS[name](s.ix(), v.ix(), w.ix())
    made = [guard(*g) for g in wanted]
    if not points(wanted, (s, v, w)):
        assert False in made or solve([v, w], guards_of(wanted)) is None


def test_a_read_whose_guard_no_longer_holds_is_the_number_0() -> None:
    v = loop(1, 4)
    x = prop.input("x", (4,)).node
    (late,) = guards_of([(v.ix() - 3, ">=")])
    step = Step(v, v.ix() * 0 + 1)
    assert step.read(At(x, (v.ix(),), (late,))) == IndexOf(v.ix() * 0)
    assert step.read(At(x, (v.ix(),))) == At(x, (v.ix() * 0 + 1,))


def test_exact_multiples_are_replaced_without_a_floor() -> None:
    s, v = loop(0, 12), loop(1, 6)
    step = Step(v, floordiv(s.ix(), 2), 2, s.ix())
    cases = [
        (v.ix() * 2, s.ix()),
        (v.ix() * 6 + 1, s.ix() * 3 + 1),
        (v.ix() * 3, floordiv(s.ix(), 2) * 3),
        (floordiv(v.ix() * 2 + 1, 3), floordiv(s.ix() + 1, 3)),
        (mod(v.ix() * 2, 3), mod(s.ix(), 3)),
        (v.ix() * 2 + mod(v.ix() * 2, 3), s.ix() + mod(s.ix(), 3)),
        (v.ix() * 2 + floordiv(v.ix(), 3), s.ix() + floordiv(floordiv(s.ix(), 2), 3)),
        (s.ix() + 1, s.ix() + 1),
    ]
    for given, wanted in cases:
        assert step.ix(given) == wanted
