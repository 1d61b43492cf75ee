"""The arena: who lives when, who lies where, and what may take over another one's storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from math import prod
from random import Random

import pytest

from codegen.aligned import ALIGNMENT
from codegen.dtypes import WIDTH
from codegen.index import as_ix, dim, evaluate
from codegen.llvm.arena import Plan, Slot
from codegen.llvm.memory import plan
from codegen.llvm.shelf import Life, Shelf
from codegen.loops.default import scheduled
from codegen.loops.known import arrays_in
from codegen.loops.nest import Call, For, Kernel, Loops, Part, Stmt
from codegen.loops.walk import inside
from codegen.program import Binary
from tests.codegen import schedules
from tests.codegen.nests import BATCH, array, at, each, ix, nest, num, put

NESTS = {
    "dense": schedules.dense,
    "classifier": schedules.classifier,
    "weight_step": schedules.weight_step,
    "embedding": schedules.embedding,
    "layers": lambda: schedules.layers(12),
}


def opened(stmts: Sequence[Stmt]) -> list[Stmt]:
    return [t for s in stmts for t in (opened(s.body) if isinstance(s, Part) else [s])]


def meet(x: Slot, y: Slot) -> bool:
    inside = x.offset < y.offset + y.size and y.offset < x.offset + x.size
    return x.region == y.region and inside


def shares(made: Plan, a: str, b: str) -> bool:
    x, y = (next(s for s in made.slots if s.array == n) for n in (a, b))
    return meet(x, y)


def check(loops: Loops, made: Plan) -> None:
    """No two values of one body are alive together in one byte."""
    bodies = {"": opened(loops.body), **{k.name: opened(k.body) for k in loops.kernels}}
    heirs = {(s.kernel, s.over, s.array) for s in made.slots if s.over}
    for s in made.slots:
        assert s.offset % ALIGNMENT == 0
        assert s.offset + s.size <= made.regions[s.region].unit
    for x, y in combinations(made.slots, 2):
        if x.kernel != y.kernel or not meet(x, y):
            continue
        used = [
            [n for n, stmt in enumerate(bodies[s.kernel]) if s.array in arrays_in(stmt)]
            for s in (x, y)
        ]
        if used[0][0] > used[1][0]:
            x, y, used = y, x, used[::-1]
        assert used[0][-1] <= used[1][0]
        assert used[0][-1] < used[1][0] or (x.kernel, x.array, y.array) in heirs
        assert x.array not in loops.outputs


def test_values_alive_together_never_share_a_byte() -> None:
    for make in NESTS.values():
        for loops in (make(), scheduled(make())):
            for in_place in (False, True):
                check(loops, plan(loops, in_place))


def test_a_plan_serves_all_sizes() -> None:
    for make in NESTS.values():
        loops = scheduled(make())
        made = plan(loops)
        arrays = {b.name: b for b in loops.arrays}
        for size in (0, 1, 5, 64):
            sizes = {d.name: size for d in loops.dims}
            places = made.at(sizes)
            spans = []
            for s in made.slots:
                b = arrays[s.array]
                bits = 8 if b.dtype == "bool" else WIDTH[b.dtype]
                length = prod(evaluate(d, {}, sizes) for d in b.dims) * bits // 8
                start = places[s.kernel, s.array]
                spans.append((s, start, start + length))
                assert start % ALIGNMENT == 0
                assert start + length <= made.total(sizes)
            for (x, low, high), (y, least, most) in combinations(spans, 2):
                apart = high <= least or most <= low
                assert apart or meet(x, y)


def test_the_arena_is_affine_in_the_batch() -> None:
    for make in NESTS.values():
        loops = scheduled(make())
        totals = [plan(loops).total({d.name: n for d in loops.dims}) for n in range(1, 6)]
        assert len({b - a for a, b in pairwise(totals)}) == 1


def test_arrays_that_grow_with_a_product_of_dimensions_have_a_region_of_their_own() -> None:
    time = dim("time")
    shapes = {"a": (BATCH.ix(), time.ix(), as_ix(5)), "b": (as_ix(7),), "c": (BATCH.ix() * 2 + 3,)}
    arrays = [replace(array(n, "batch"), dims=dims) for n, dims in shapes.items()]
    copies = [Part(b.name, (put(b.name, (as_ix(0),) * len(b.dims), "=", num(1)),)) for b in arrays]
    made = plan(nest(*copies, arrays=tuple(arrays), outputs=("a", "b", "c")))
    assert [r.scale for r in made.regions] == [(), ("batch",), ("batch", "time")]
    assert made.total({"batch": 3, "time": 4}) == 64 + 3 * 64 + 12 * 64


def test_a_chain_of_layers_needs_two_activations() -> None:
    loops = schedules.layers(12)
    made = plan(loops)
    assert made.total({"batch": 64}) == 2 * 64 * 64  # a row of 4 * 8 bytes takes 64
    assert sum(s.size for s in made.slots) == 12 * 64


def test_what_is_returned_lives_to_the_end() -> None:
    loops = schedules.embedding()
    rows, grad = plan(loops).slots
    assert rows.last == grad.last
    assert not meet(rows, grad)


B = BATCH.ix()


def chain(*second: Stmt, first: str = "batch pixel=4", axes: str = "batch pixel=4") -> Loops:
    """a = x; second makes b of a; c = b."""
    copy = each(0, "batch", B, each(1, "pixel", 4, put("a", (ix(0, B), ix(1, 4)), "=",
                                                     at("x", ix(0, B), ix(1, 4)))))  # fmt: skip
    end = each(8, "batch", B, put("c", (ix(8, B),), "=", at("b", ix(8, B), 0)))
    arrays = (array("a", first), array("b", axes), array("c", "batch"))
    return nest(Part("a", (copy,)), Part("b", second), Part("c", (end,)), arrays=arrays,
                outputs=("c",))  # fmt: skip


def over(loops: Loops) -> str:
    made = plan(loops)
    check(loops, made)
    return next(s.over for s in made.slots if s.array == "b")


def twice(*stmts: Stmt) -> For:
    return each(2, "batch", B, each(3, "pixel", 4, *stmts))


HERE = (ix(2, B), ix(3, 4))


def test_an_elementwise_map_works_in_place() -> None:
    assert over(chain(twice(put("b", HERE, "=", Binary("*", num(2), at("a", *HERE)))))) == "a"


def test_a_map_that_reads_another_element_does_not_work_in_place() -> None:
    back = at("a", ix(2, B), 3 - ix(3, 4))
    assert over(chain(twice(put("b", HERE, "=", back)))) == ""


def test_a_map_that_reads_again_after_storing_does_not_work_in_place() -> None:
    stores = (put("b", HERE, "=", at("a", *HERE)), put("b", HERE, "+=", at("a", *HERE)))
    assert over(chain(twice(*stores))) == ""


def test_a_sum_over_what_it_reads_does_not_work_in_place() -> None:
    first = (ix(2, B), as_ix(0))
    assert over(chain(twice(put("b", first, "=", at("a", *first))))) == ""


def test_scratch_of_a_kernel_has_a_place_where_it_is_called() -> None:
    b, p = ix(4, B), ix(5, 4)
    kernel = Kernel(
        "double", (BATCH,), (array("u", "batch pixel=4", "input"), array("v", "batch pixel=4")),
        ("v",),
        (
            each(4, "batch", B, each(5, "pixel", 4, put("t", (b, p), "=", at("u", b, p)))),
            each(6, "batch", B, each(7, "pixel", 4, put(
                "v", (ix(6, B), ix(7, 4)), "=", at("t", ix(6, B), 3 - ix(7, 4))))),
        ),
        (array("t", "batch pixel=4"),),
    )  # fmt: skip
    arrays = tuple(array(n, "batch pixel=4") for n in ("a", "b", "c"))
    calls = [Part(t, (Call("double", (s, t)),)) for s, t in ("xa", "ab", "bc")]
    loops = nest(*calls, arrays=arrays, outputs=("c",), kernels=(kernel,))
    made = plan(loops)
    check(loops, made)
    assert not any(shares(made, "t", other) for other in "abc")
    assert shares(made, "a", "c")
    assert made.total({"batch": 8}) == 3 * 8 * 64
    assert made.at({"batch": 8})["double", "t"] % ALIGNMENT == 0
    assert [s for s in inside(loops.body) if isinstance(s, Call)]


@pytest.mark.parametrize("seed", range(20))
def test_a_value_lies_as_low_as_it_goes_beside_those_that_live_when_it_does(seed: int) -> None:
    r = Random(seed)
    calls = [frozenset(k for k in "kl" if r.random() < 0.2) for _ in range(30)]
    shelf = Shelf()
    placed: list[tuple[int, int, list[Life]]] = []
    for _ in range(60):
        size, lives = 64 * r.randint(0, 5), [life(r, calls) for _ in range(r.randint(1, 2))]
        taken = [(a, b) for a, b, own in placed if any(x.meets(y) for x in own for y in lives)]
        starts = sorted({0, *(b for _, b in taken)})
        lowest = next(s for s in starts if all(s + size <= a or s >= b for a, b in taken))
        at = shelf.put(size, lives)
        assert at == lowest
        placed.append((at, at + size, lives))


def life(r: Random, calls: list[frozenset[str]]) -> Life:
    first = r.randrange(len(calls))
    last = r.randrange(first, min(len(calls), first + 8))
    if r.random() < 0.2:
        return Life(r.choice("kl"), first, last, frozenset())
    return Life("", first, last, frozenset[str]().union(*calls[first : last + 1]))
