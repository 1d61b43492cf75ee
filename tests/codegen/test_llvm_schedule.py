"""The native schedule: values, tiles, lanes, groups and kernels, on programs written by hand."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from codegen.dtypes import WIDTH
from codegen.llvm.clusters import Graph
from codegen.llvm.cost import KEPT, cycles, tile
from codegen.llvm.grouping import LARGEST, grouped
from codegen.llvm.schedule import native, plain
from codegen.llvm.target import SHIPPED, X86_64_AVX512, Target
from codegen.loops.directives import Epilogue, Pack, RegisterBlock
from codegen.loops.finding import writes
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret
from codegen.loops.listing import listing
from codegen.loops.nest import Call, Declare, For, Loops, Part, Store
from codegen.loops.verify import verify
from codegen.loops.walk import inside
from codegen.program import Load, walk
from tests.codegen import schedules
from tests.codegen.building import Building, call
from tests.codegen.nests import array, at, each, ix, nest, num, put
from tests.codegen.schedules import arguments, loops_of

MACHINES = pytest.mark.parametrize("target", SHIPPED.values(), ids=list(SHIPPED))
NESTS: dict[str, Callable[..., Loops]] = {
    "dense": lambda batch: schedules.dense(batch, pixel=5, unit=37),
    "classifier": lambda batch: schedules.classifier(batch),
    "weight_step": lambda batch: schedules.weight_step(batch, unit=17, pixel=35),
    "column_sum": lambda batch: schedules.column_sum(batch, unit=21),
    "embedding": lambda batch: schedules.embedding(batch),
    "layers": lambda batch: schedules.layers(unit=9),
    "convolution": lambda batch: schedules.convolution(batch, side=4, pooled=True),
    "filter_gradient": lambda batch: schedules.filter_gradient(batch),
}


def agrees(before: Loops, after: Loops, batch: int) -> None:
    """What the schedule gives verifies, and has the values of what it was made of."""
    verify(after)
    given = arguments(before, batch)
    wanted = interpret(before, given)
    for order in ("forward", "reversed"):
        for a, b in zip(interpret(after, given, order), wanted, strict=True):  # type: ignore[arg-type]
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@MACHINES
@pytest.mark.parametrize("name", list(NESTS))
def test_values_stay_on_every_machine(name: str, target: Target) -> None:
    loops = NESTS[name](7)
    agrees(loops, native(loops, target, {}), 7)


@pytest.mark.parametrize("name", list(NESTS))
def test_one_schedule_serves_every_batch(name: str) -> None:
    loops = NESTS[name](None)
    made = native(loops, X86_64_AVX512, {})
    for batch in (1, 9, 23):
        agrees(loops, made, batch)


@pytest.mark.parametrize("name", list(NESTS))
def test_equal_nests_get_equal_schedules(name: str) -> None:
    a, b = (native(NESTS[name](5), X86_64_AVX512, {}) for _ in range(2))
    assert listing(a) == listing(b)
    assert a.schedule == b.schedule


def test_every_nest_of_a_dense_layer_and_its_step_has_lanes() -> None:
    for name in ("dense", "classifier", "weight_step", "column_sum", "embedding", "layers"):
        assert plain(native(NESTS[name](40), X86_64_AVX512, {})) == (), name


def test_a_nest_without_lanes_is_listed() -> None:
    turn = each(1, "turn", 40, put("t", (), "=", at("x", 0, 0)))
    loops = nest(Part("t", (turn,)), arrays=(array("t"),), outputs=("t",))
    assert plain(loops) == ("t",)
    assert plain(native(loops, X86_64_AVX512, {})) == ("t",)


def test_a_dense_layer_starts_from_its_bias_and_ends_in_its_activation() -> None:
    loops = schedules.dense(batch=64, pixel=64, unit=64)
    made = native(loops, X86_64_AVX512, {})
    text = listing(made)
    assert "product[batch_inner, unit_inner] = b[" in text
    assert [b.name for b in made.arrays if b.role == "scratch"] == ["hidden", "w_packed"]
    assert set(loops_of(made, "product", "vector")) == {"unit_inner 16"}
    assert [s.name for s in made.body if isinstance(s, Part)] == ["w_packed", "product"]


def test_an_optimizer_runs_where_its_gradient_is_made() -> None:
    made = native(schedules.weight_step(batch=8, unit=17, pixel=35), X86_64_AVX512, {})
    assert len(made.body) == 1
    assert not [b for b in made.arrays if b.role == "scratch"]
    rolled = [s for s in inside(made.body) if isinstance(s, For) and s.name == "unit_inner"]
    assert {"serial", "unroll"} == {s.kind for s in rolled}


def normalised() -> Loops:
    """Rows less their mean, and two functions of that."""
    p = Building("normalised", dtype="float32", batch=64, unit=200)
    x = p.declare("x", "batch unit")
    total = p.step("total", "batch", "sum unit", lambda b, u: x[b, u])
    z = p.step("z", "batch unit", "=", lambda b, u: x[b, u] - total[b] / 200)
    y = p.step("y", "batch unit", "=", lambda b, u: z[b, u] * call("sigmoid", z[b, u]))
    last = p.step("slope", "batch unit", "=", lambda b, u: call("sigmoid", z[b, u]))
    return from_program(p.done(y, last))


def test_elementwise_loops_along_a_row_are_one_loop_that_computes_what_they_share_once() -> None:
    made = native(normalised(), X86_64_AVX512, {})
    row = [s for s in inside(made.body) if isinstance(s, Part) and s.name == "z to slope"]
    assert row, listing(made)
    assert [s.array.dims for s in inside(row) if isinstance(s, Declare)][:1] == [()]
    agrees(normalised(), made, 64)


def test_equal_layers_share_a_kernel_and_its_packed_operand() -> None:
    made = native(schedules.layers(count=5, unit=16), X86_64_AVX512, {"batch": 64})
    calls = [s for s in inside(made.body) if isinstance(s, Call)]
    assert len(made.kernels) == 2  # the copy of a weight, the product; the first layer reads x
    assert len(calls) == 2 * 4
    assert len([b for b in made.arrays if b.name.endswith("_packed")]) == 2


def test_columns_that_do_not_stay_in_a_cache_are_blocks_outside_of_the_rows() -> None:
    """Each block is copied where it is used, so the copy of one block is all there is."""
    made = native(schedules.dense(batch=256, pixel=2048, unit=1024), X86_64_AVX512, {})
    copies = [s.array for s in inside(made.body) if isinstance(s, Declare)]
    packed = next(b for b in copies if b.name == "w_packed")
    assert [d.value for d in packed.dims] == [2048, 16]
    outer, inner = loops_of(made, "w_packed to product")[0], loops_of(made, "product")[0]
    assert outer.endswith(" 64")
    assert inner.startswith("batch_outer")
    assert "w_packed" not in [b.name for b in made.arrays]
    verify(made)


def test_a_free_batch_is_planned_in_blocks_as_a_declared_one_is() -> None:
    declared, free = (
        native(schedules.dense(batch=n, pixel=784, unit=1024), X86_64_AVX512, {})
        for n in (256, None)
    )
    for made in (declared, free):
        assert loops_of(made, "w_packed to product")[0].startswith("unit_outer")
        assert loops_of(made, "product")[0].startswith("batch_outer")
        verify(made)


def test_rows_far_apart_that_terms_are_read_from_are_copied_in_rows_of_terms() -> None:
    made = native(schedules.weight_step(batch=256, unit=1024, pixel=512), X86_64_AVX512, {})
    copies = [d for d in made.schedule if isinstance(d, Pack)]
    assert [(d.array, d.order) for d in copies if not d.blocks] == [("d", (1, 0))]
    verify(made)


def saturated() -> Loops:
    """y = tanh(x wᵀ)."""
    p = Building("saturated", dtype="float32", batch=64, unit=64, pixel=64)
    x, w = p.declare("x", "batch pixel"), p.declare("w", "unit pixel", "parameter")
    z = p.step("z", "batch unit", "sum pixel", lambda b, u, k: x[b, k] * w[u, k])
    return from_program(p.done(p.step("y", "batch unit", "=", lambda b, u: call("tanh", z[b, u]))))


def test_long_functions_behind_sums_are_kernels_that_keep_their_constants_to_themselves() -> None:
    made = native(saturated(), X86_64_AVX512, {})
    behind = [k for k in made.kernels if "behind" in k.name]
    assert behind
    for k in behind:
        assert not [s for s in inside(k.body) if isinstance(s, Store) and s.op != "="]
    verify(made)


def test_what_is_left_over_both_ways_has_parts_of_its_own_names() -> None:
    """27 rows in tiles of 13 and 14, 40 columns in vectors of 16 and 8: four copies of each."""
    unite = [Epilogue("gradient", "new_m"), Epilogue("gradient", "new_w")]
    tile_ = RegisterBlock("gradient", (("unit", 14), ("pixel", 16)), lanes=True, rolled=True)
    made = schedules.agree(schedules.weight_step(8, unit=27, pixel=40), [*unite, tile_])
    names = [s.name for s in inside(made.body) if isinstance(s, Part) and "new_m" in s.name]
    assert len(names) == len(set(names)) == 4


# --- tiles ----------------------------------------------------------------------------------------


@MACHINES
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tile_fits_the_registers_and_its_operands(target: Target, dtype: str) -> None:
    lanes = target.lanes(WIDTH[dtype])  # type: ignore[index]
    for rows in (1, 2, 7, 13, 64, 300):
        for columns in (1, 3, 10, 16, 33, 64, 784):
            for free in (False, True):
                best = tile(rows, columns, 64, WIDTH[dtype], target, free)  # type: ignore[index]
                vectors = -(-best.lanes // lanes)
                assert best.rows * vectors + vectors + target.registers // KEPT <= target.registers
                assert best.rows <= rows
                assert best.lanes <= columns
                assert best.lanes % lanes == 0 or best.lanes == columns


def test_a_tile_of_many_sums_hides_the_latency_of_one() -> None:
    best = tile(64, 64, 64, 32, X86_64_AVX512)
    assert 16 <= best.rows * best.lanes // 16 <= 28


def test_a_free_batch_gets_tiles_that_leave_little_over() -> None:
    assert 64 % tile(64, 64, 64, 32, X86_64_AVX512, free=True).rows < 4


# --- lanes ----------------------------------------------------------------------------------------


def test_lanes_cost_less_along_an_array_than_across_it() -> None:
    row, column = ix(1, 64), ix(2, 64)
    body = put("y", (row, column), "=", at("z", row, column))
    stmts = (each(1, "row", 64, each(2, "column", 64, body)),)
    along, across = (cycles(stmts, v.atom, 16, {}) for v in (column, row))  # type: ignore[arg-type]
    assert along < across
    assert along < cycles(stmts, None, 16, {})


# --- groups ---------------------------------------------------------------------------------------


def graph() -> Graph:
    """a = 1; b = a; c = b; d = a; a = c."""
    stmts = [
        put("a", (), "=", num(1)),
        *(put(to, (), "=", at(of)) for to, of in ("ba", "cb", "da", "ac")),
    ]
    return Graph(stmts, writes(nest()))


def test_statements_stay_behind_what_they_need() -> None:
    assert [n for group in graph().order() for n in group] == [0, 1, 2, 3, 4]


def test_a_group_may_pass_what_it_has_nothing_to_do_with() -> None:
    found = graph()
    assert found.merge(0, 3)
    assert found.order() == [[0, 3], [1], [2], [4]]


def test_groups_that_need_something_between_them_stay_apart() -> None:
    found = graph()
    assert not found.merge(0, 2)
    assert not found.merge(1, 4)
    assert found.merge(1, 2)
    assert found.merge(0, 2)


def test_groups_that_would_need_each_other_stay_apart() -> None:
    stmts = [put(to, (), "=", at(of)) for to, of in ("ax", "by", "ca", "db")]
    found = Graph(stmts, writes(nest()))
    assert found.merge(0, 3)
    assert not found.merge(1, 2)


@pytest.mark.parametrize("seed", range(40))
def test_two_groups_merge_exactly_where_an_order_is_left(seed: int) -> None:
    r = Random(seed)
    names = "abcdefgh"
    stmts = [put(r.choice(names), (), "=", at(r.choice(names))) for _ in range(r.randint(3, 14))]
    found = Graph(stmts, writes(nest()))
    for _ in range(20):
        a, b = r.randrange(len(stmts)), r.randrange(len(stmts))
        home = [found.home[b] if g == found.home[a] else g for g in found.home]
        assert found.merge(a, b) == in_turn(stmts, home)
        assert in_turn(stmts, found.home)
    order = [n for group in found.order() for n in group]
    assert sorted(order) == list(range(len(stmts)))
    assert all(order.index(m) < order.index(n) for m, n in needs(stmts))


def needs(stmts: list[Store]) -> list[tuple[int, int]]:
    """Every two statements of which the second has to stay behind the first."""
    used = [{s.target, *(x.buffer for x in walk(s.value) if isinstance(x, Load))} for s in stmts]
    pairs = [(m, n) for n in range(len(stmts)) for m in range(n)]
    return [(m, n) for m, n in pairs if stmts[m].target in used[n] or stmts[n].target in used[m]]


def in_turn(stmts: list[Store], home: list[int]) -> bool:
    """Whether groups can run one after the other."""
    left = set(home)
    links = {(home[m], home[n]) for m, n in needs(stmts) if home[m] != home[n]}
    while left:
        free = {g for g in left if not any(b == g and a in left for a, b in links)}
        if not free:
            return False
        left -= free
    return True


def test_a_full_group_leaves_later_parts_to_another() -> None:
    parts = [
        Part(
            f"v{n + 1}",
            (each(n, "i", 3, put(f"v{n + 1}", (ix(n, 3),), "=", at(f"v{n}", ix(n, 3)))),),
        )
        for n in range(2 * LARGEST + 5)
    ]
    found = Graph(parts, writes(nest()))
    kinds = grouped(found)
    sizes = [len(group) for group in found.order()]
    assert sizes == [LARGEST, LARGEST, 5]
    assert list(kinds.values()) == ["lanes"] * 3


def test_short_rows_that_lanes_read_in_columns_are_turned_first() -> None:
    loops = schedules.classifier(35, unit=6, digit=7)
    made = native(loops, X86_64_AVX512, {})
    (turned,) = (d for d in made.schedule if isinstance(d, Pack) and d.array == "logits")
    assert turned.order == (1, 0)
    (copy,) = (s for s in made.body if isinstance(s, Part) and s.name == "logits_packed")
    assert "vector" in {s.kind for s in inside((copy,)) if isinstance(s, For)}
    agrees(loops, made, 35)


def test_a_large_operand_is_turned_in_blocks_each_before_its_use() -> None:
    small, large = (native(schedules.dense(13, k, 64), X86_64_AVX512, {}) for k in (64, 2048))
    (whole,), (cut,) = ([d for d in m.schedule if isinstance(d, Pack)] for m in (small, large))
    assert not whole.blocks
    ((axis, size),) = cut.blocks
    assert axis == 0
    assert 64 % size == 0
    assert not any(b.name == "w_packed" for b in large.arrays)  # storage of one block
