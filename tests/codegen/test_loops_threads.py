"""Nests as threads: which loops are taken, what is left, and a schedule that keeps them."""

from __future__ import annotations

from building import mlp_training
from nests import BATCH, array, at, each, ix, num, put, when

from codegen.index import Ix, constant, gather
from codegen.loops.default_cuda import LOCAL, default_cuda, scheduled
from codegen.loops.from_program import from_program
from codegen.loops.nest import Call, Declare, For, Kernel, Loops, Part, Stmt, When
from codegen.loops.schedule import applied
from codegen.loops.scope import Scope
from codegen.loops.threads import Threads, threads
from codegen.loops.verify import verify
from codegen.loops.walk import inside
from codegen.program import Buffer, BufferSource

B = BATCH.ix()
ROW, COLUMN, K = ix(0, B), ix(1, 4), ix(2, 4)
Y = array("y", "batch unit=4")
TABLE = array("table", "row=9 unit=4")
IDS = array("ids", "batch", "input", "int64", low=constant(0), high=constant(8))
ACC = array("acc")
ROWS = gather(BufferSource("ids", constant(0), constant(8)), (ROW,))


def taken(stmt: Stmt, *arrays: Buffer) -> Threads:
    known = (array("x", "batch pixel=4", "input"), Y, TABLE, IDS, *arrays)
    assert isinstance(stmt, For | When)
    return threads(stmt, Scope((BATCH,), {b.name: b for b in known}), {})


def names(found: Threads) -> list[str]:
    return [f.name for f in found.loops]


def test_loops_of_the_target_are_threads_and_a_sum_is_one_threads_own() -> None:
    total = each(2, "k", 4, put("acc", (), "+=", at("x", ROW, K)))
    body = (
        Declare(ACC),
        put("acc", (), "=", num(0)),
        total,
        put("y", (ROW, COLUMN), "=", at("acc")),
    )
    found = taken(each(0, "row", B, each(1, "column", 4, *body)))
    assert names(found) == ["row", "column"]
    assert found.body == body


def test_an_independent_loop_comes_out_of_one_that_is_not() -> None:
    """A scatter: rows may repeat, columns may not."""
    add = put("table", (ROWS, COLUMN), "+=", at("x", ROW, COLUMN))
    found = taken(each(0, "row", B, each(1, "column", 4, add)))
    assert names(found) == ["column"]
    assert found.body == (each(0, "row", B, add),)


def test_a_sum_in_memory_has_no_threads_along_its_terms() -> None:
    add = put("y", (0, COLUMN), "+=", at("x", ROW, COLUMN))
    assert names(taken(each(0, "row", B, each(1, "column", 4, add)))) == ["column"]
    total = each(0, "row", B, put("y", (0, 0), "+=", at("x", ROW, 0)))
    assert taken(total) == Threads((), (total,))


def test_a_recurrence_is_one_thread() -> None:
    step = put("y", (0, COLUMN), "=", at("y", 0, COLUMN - 1, where=(when(COLUMN - 1),)))
    loop = each(1, "column", 4, step)
    assert taken(loop) == Threads((), (loop,))


def test_what_narrows_a_thread_is_a_condition_within_it() -> None:
    store = put("y", (ROW, COLUMN), "=", num(1))
    found = taken(each(0, "row", B, each(1, "column", 4, store, low=(ROW,))))
    assert names(found) == ["row", "column"]
    assert found.body == (When((when(COLUMN - ROW),), (store,)),)


def test_a_condition_around_the_loops_stays_around_the_rest() -> None:
    store = put("y", (ROW, COLUMN), "=", num(1))
    found = taken(When((when(B - 3),), (each(0, "row", B, store),)))
    assert names(found) == ["row"]
    assert found.body == (When((when(B - 3),), (store,)),)


def test_a_loop_without_turns_is_not_taken() -> None:
    loop = each(1, "column", 4, put("y", (0, COLUMN), "=", num(1)), low=(constant(4),))
    assert taken(loop) == Threads((), (loop,))


def test_a_nest_with_a_call_has_no_threads() -> None:
    kernel = Kernel("k", (), (array("a", "n=4"),), ("a",), ())
    loop = each(0, "row", B, Call("k", ("y",)))
    assert threads(loop, Scope((BATCH,), {"y": Y}), {"k": kernel}).loops == ()


# --- the default schedule -------------------------------------------------------------------------


def counted(loops: Loops) -> list[tuple[Ix, ...]]:
    """The turns of the threads of each nest of the top, those of one thread left out."""
    scope = Scope(loops.dims, {b.name: b for b in loops.arrays})
    every = [
        threads(s, scope, {}).loops
        for part in loops.body
        if isinstance(part, Part)
        for s in part.body
        if isinstance(s, For)
    ]
    return [tuple(f.loop.extent for f in found) for found in every if found]


def test_fusing_keeps_every_thread() -> None:
    """The elements that are computed at once before, are after; in fewer nests."""
    loops = from_program(mlp_training())
    fused = scheduled(loops)
    verify(fused)
    assert set(counted(fused)) == set(counted(loops))
    assert len(fused.body) < len(loops.body) / 2


def test_the_schedule_is_data_and_gives_the_same_again() -> None:
    loops = from_program(mlp_training())
    assert applied(loops, default_cuda(loops)) == scheduled(loops)
    assert default_cuda(loops) == default_cuda(loops)


def test_what_lives_in_one_thread_is_a_register_or_a_small_array() -> None:
    declared = [s.array for s in inside(scheduled(from_program(mlp_training())).body)
                if isinstance(s, Declare)]  # fmt: skip
    assert declared
    for b in declared:
        size = 1
        for d in b.dims:
            assert d.value is not None
            size *= d.value
        assert size <= LOCAL
