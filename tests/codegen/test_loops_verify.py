"""What makes nests invalid: one test for each rule, with the sentence a user would read."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from building import mlp_training
from definition import random_step
from nests import BATCH, array, at, each, everything, ix, nest, num, put, when
from test_listing import recurrence, small_step

from codegen.index import constant, dim, floordiv, gather, loop, mod
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret
from codegen.loops.nest import Call, Declare, For, Kernel, Loops, Part, Stmt, When
from codegen.loops.verify import InvalidLoops, verify
from codegen.loops.walk import inside, mapped
from codegen.program import Binary, Buffer, BufferSource, IndexValue
from codegen.program import Call as Function

N = BATCH.ix()
ONE = num(1)
OUT = array("out", "n=4")
IDS = array("ids", "n=4", "input", "int64", low=constant(0), high=constant(3))
I4, J4, I5 = ix(0, 4), ix(1, 4), ix(0, 5)
CLEAR = each(90, "k", 4, put("out", (ix(90, 4),), "=", num(0)))


def chosen(at_: Any) -> Any:
    """``ids[at_]``."""
    return gather(BufferSource("ids", constant(0), constant(3)), (at_,))


def over(*body: Stmt, **more: Any) -> For:
    """A loop ``i`` over 4."""
    return each(0, "i", 4, *body, **more)


def refused(loops: Loops, sentence: str) -> None:
    """The nests are refused with exactly this sentence."""
    with pytest.raises(InvalidLoops, match=re.escape(sentence) + "$"):
        verify(loops)


def wrong(sentence: str, *body: Stmt, arrays: tuple[Buffer, ...] = (OUT,), **more: Any) -> None:
    """The statements, over ``x`` of (batch, 4) and ``out`` of 4, are refused with a sentence."""
    refused(nest(*body, arrays=arrays, **more), sentence)


def right(*body: Stmt, arrays: tuple[Buffer, ...] = (OUT,), **more: Any) -> None:
    """The statements are accepted."""
    verify(nest(*body, arrays=arrays, **more))


def doubled(**changes: Any) -> Kernel:
    """A kernel that doubles one element: ``to[n] = 2 * v[n]``."""
    n = ix(50, 4)
    made = Kernel(
        "doubled", (), (array("v", "n=4", "input"), array("to", "n=4")), ("to",),
        (put("to", (n,), "=", Binary("+", at("v", n), at("v", n))),),
        (), (loop(50, constant(4)),), ("n",),
    )  # fmt: skip
    return replace(made, **changes)


# --- right nests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        everything,
        lambda: from_program(small_step()),
        lambda: from_program(recurrence(True)),
        lambda: from_program(recurrence(False)),
        lambda: from_program(mlp_training()),
    ],
)
def test_right_nests_are_accepted(make: Callable[[], Loops]) -> None:
    verify(make())


@pytest.mark.parametrize("seed", range(60))
def test_loops_found_independent_may_run_in_any_order(seed: int) -> None:
    """Random nests, each loop in turn made parallel: what is accepted does not see the order."""
    size = random.Random(seed).choice([1, 2, 3, 5])  # as random_step will choose
    program, arrays, _ = random_step(seed, dim("batch", size, size, size))
    if any(b.low is not None for b in program.buffers):
        return  # its indices hold for the data at hand only
    loops = from_program(program)
    verify(loops)
    (wanted,) = interpret(loops, arrays)
    for stmt in [s for s in inside(loops.body) if isinstance(s, For)]:
        changed = mapped(
            loops.body, lambda s, v=stmt: (replace(s, kind="parallel") if s is v else s,)  # type: ignore[misc]
        )  # fmt: skip
        tried = replace(loops, body=changed)
        try:
            verify(tried)
        except InvalidLoops as refusal:
            assert "are not independent" in str(refusal)  # noqa: PT017 - either way is right
        else:
            assert np.array_equal(interpret(tried, arrays, "reversed")[0], wanted, equal_nan=True)


# --- names ----------------------------------------------------------------------------------------


def test_names_are_legal_and_given_once() -> None:
    refused(replace(nest(), name="a b"), "the function name 'a b' is not a legal identifier")
    wrong("the array name 'lambda' is not a legal identifier", arrays=(array("lambda"),))
    wrong(
        "the name batch is given twice among dimensions, arrays and kernels",
        arrays=(array("batch"),),
    )
    wrong("part p: a second part is called 'p'", Part("p", (Part("p", ()),)))
    wrong("the loop name 'i j' is not legal", each(0, "i j", 4))
    wrong("a loop i stands in another of that name", over(each(1, "i", 4)))
    wrong("the name 'print' is not a legal identifier", Declare(array("print")))
    wrong("the name out is declared where it has a meaning already", Declare(array("out")))
    wrong(
        "the name acc is declared where it has a meaning already",
        Declare(array("acc")), over(Declare(array("acc"))),
    )  # fmt: skip
    right(over(Declare(array("acc"))), each(1, "j", 4, Declare(array("acc", "lane=2"))))


def test_declarations_agree_with_themselves() -> None:
    wrong("buffer a: 0 axis names for 1 dims", arrays=(replace(array("a"), dims=(N,)),))
    wrong("buffer a: the dimension time is not declared", arrays=(array("a", "time"),))
    wrong("the sizes of acc are not numbers: only arrays have such dims",
          Declare(array("acc", "batch")))  # fmt: skip
    wrong("acc is declared with the role state", Declare(array("acc", "", "state")))


# --- loops ----------------------------------------------------------------------------------------


def test_loops_are_bound_once_and_used_inside() -> None:
    wrong("the variable of the loop j is bound twice", over(), each(0, "j", 4))
    wrong("i0 uses a loop that is not bound there", over(), put("out", (I4,), "=", ONE))
    wrong("i1 uses a loop that is not bound there", over(low=(J4,)))
    wrong("part p: loop t: the dimension time is not declared",
          Part("p", (each(0, "t", dim("time").ix()),)))  # fmt: skip
    wrong("loop j: the size i0<4 depends on a loop", over(each(1, "j", I4)))


def test_lanes_and_unrolled_loops_have_a_number_of_turns() -> None:
    wrong("the vector loop b needs a number of turns, not batch", each(0, "b", N, kind="vector"))
    wrong("the unroll loop i needs a number of turns, not 4, narrowed",
          each(2, "b", N, over(kind="unroll", high=(ix(2, N),))))  # fmt: skip
    wrong("the loop i is of kind 'fast'", over(kind="fast"))
    right(over(kind="vector"), each(1, "j", 4, kind="unroll"), each(2, "b", N, kind="parallel"))


# --- ranges ---------------------------------------------------------------------------------------


def test_reads_and_writes_stay_in_range() -> None:
    wrong(
        "part p: reads x[batch, i + 1] out of range: i + 1 is 4 of 4 at size(batch) = 1, i = 3",
        Part("p", (each(1, "batch", N, over(put("out", (I4,), "=", at("x", ix(1, N), I4 + 1)))),)),
    )
    wrong("writes out[i] out of range: i is 4 of 4 at batch = 1, i = 4",
          each(0, "i", 5, put("out", (I5,), "=", ONE)))  # fmt: skip
    wrong("writes out[i - 1] out of range: i - 1 is -1 of 4 at batch = 1, i = 0",
          over(put("out", (I4 - 1,), "=", ONE)))  # fmt: skip
    wrong("reads x[0, i - 2] where i - 1 >= 0 out of range: i - 2 is -1 of 4 at batch = 1, i = 1",
          over(put("out", (I4,), "=", at("x", 0, I4 - 2, where=(when(I4 - 1),)))))  # fmt: skip


def test_guards_and_bounds_are_believed() -> None:
    right(over(When((when(I4 - 1),), (put("out", (I4 - 1,), "=", ONE),))))
    right(over(put("out", (I4 - 1,), "=", ONE), low=(constant(1),)))
    right(each(0, "i", 5, put("out", (I5,), "=", ONE), high=(constant(4),)))
    o, i = ix(0, 2), ix(1, 3)
    piece = each(1, "i", 3, put("out", (3 * o + i,), "=", ONE), high=(4 - 3 * o,))
    right(each(0, "o", 2, piece))
    unnarrowed = replace(piece, high=())
    wrong("writes out[3*o + i] out of range: 3*o + i is 4 of 4 at batch = 1, o = 1, i = 1",
          each(0, "o", 2, unnarrowed))  # fmt: skip
    right(over(each(1, "j", 4, put("out", (J4 + 9,), "=", ONE), low=(constant(4),))))


def test_ranks_fit() -> None:
    wrong("reads x with 1 indices, it has 2 axes", over(put("out", (I4,), "=", at("x", I4))))
    wrong("writes out with 0 indices, it has 1 axes", put("out", (), "=", ONE))


def test_gathers_read_integers_within_their_bounds() -> None:
    right(CLEAR, over(put("out", (chosen(I4),), "+=", ONE)), arrays=(IDS, OUT))
    wrong("a gather bounds ids otherwise than its declaration does",
          CLEAR, over(put("out", (chosen(I4),), "+=", ONE)),
          arrays=(replace(IDS, high=constant(4)), OUT))  # fmt: skip
    wrong("the index array ids is float32", CLEAR, over(put("out", (chosen(I4),), "+=", ONE)),
          arrays=(array("ids", "n=4", "input"), OUT))  # fmt: skip
    wrong("reads ids[i] out of range: i is 4 of 4 at batch = 1, i = 4",
          each(0, "i", 5, put("out", (), "=", IndexValue(chosen(I5)))),
          arrays=(IDS, array("out")))  # fmt: skip
    short = array("out", "n=3")
    wrong("writes out[ids[i]] out of range: ids[i] is 3 of 3 at batch = 1, i = 0",
          over(put("out", (chosen(I4),), "=", ONE)), arrays=(IDS, short))  # fmt: skip


# --- storage --------------------------------------------------------------------------------------


def test_nothing_is_read_before_it_is_stored() -> None:
    early = put("out", (0,), "=", at("out", 1))
    wrong("part p: out is read before anything is stored to it", Part("p", (early,)))
    wrong("out is read before anything is stored to it", put("out", (0,), "+=", ONE))
    right(CLEAR, early, put("out", (0,), "max=", ONE))
    wrong("part p: acc is read before anything is stored to it",
          Part("p", (over(Declare(array("acc")), put("acc", (), "+=", ONE)),)))  # fmt: skip
    wrong("the output out is never stored to", outputs=("out",))
    wrong("the output y is not an array", outputs=("y",))
    right(outputs=("x",))


def test_a_read_of_an_earlier_turn_needs_a_guard() -> None:
    def turns(*guards: Any) -> For:
        before = at("out", I4 - 1, where=guards)
        return over(put("out", (I4,), "=", before), low=() if guards else (constant(1),))

    right(turns(when(I4 - 1)))
    right(turns())
    later = [put("acc", (), "=", at("s")), put("s", (), "=", ONE)]
    wrong("s is read before anything is stored to it",
          over(Declare(array("acc")), *later), arrays=(array("s"),))  # fmt: skip
    wrong("s is read before anything is stored to it",
          over(Declare(array("s")), Declare(array("acc")),
               When((when(I4 - 1),), (later[0],)), later[1]))  # fmt: skip
    right(over(Declare(array("acc")), When((when(I4 - 1),), (later[0],)), later[1]),
          arrays=(array("s"),))  # fmt: skip


def test_arguments_are_not_written() -> None:
    wrong("x, of role input, is not to be written", over(put("x", (0, I4), "=", ONE)))
    table = array("table", "n=1", "constant", data=(1.0,))
    wrong("table, of role constant, is not to be written", put("table", (0,), "=", ONE),
          arrays=(table,))  # fmt: skip
    for role in ("state", "parameter"):
        right(put("w", (0,), "+=", ONE), arrays=(array("w", "n=2", role),))  # type: ignore[arg-type]


def test_formulas_are_right() -> None:
    wrong("there is no array y here", put("out", (0,), "=", at("y")))
    wrong("there is no array y here", put("y", (0,), "=", ONE))
    wrong("there is no array acc here", over(Declare(array("acc"))), put("acc", (), "=", ONE))
    wrong("no store is '-='", CLEAR, put("out", (0,), "-=", ONE))
    wrong("part p: exp takes 1 arguments, not 2",
          Part("p", (put("out", (0,), "=", Function("exp", (ONE, ONE))),)))  # fmt: skip
    wrong("out is int64, its formula float32: cast it", put("out", (0,), "=", at("x", 0, 0)),
          arrays=(array("out", "n=4", dtype="int64"),))  # fmt: skip


# --- kernels --------------------------------------------------------------------------------------


def called(kernel: Kernel, *arguments: str, n: Any = I4) -> Loops:
    """A kernel called in a loop, on ``a`` (an input of 4) and ``out``."""
    return nest(over(Call(kernel.name, arguments, (n,))), kernels=(kernel,),
                arrays=(array("a", "n=4", "input"), array("b", "n=5", "input"), OUT))  # fmt: skip


def test_kernels_get_what_they_take() -> None:
    verify(called(doubled(), "a", "out"))
    wrong("scaled is not a kernel that stands before its call", Call("scaled", ()))
    refused(called(doubled(), "out"), "doubled is handed 1 arrays, it takes 2")
    refused(called(doubled(), "b", "out"),
            "doubled takes v as float32[4], but b is float32[5]")  # fmt: skip
    refused(called(doubled(arrays=(array("v", "n=4", "input", "int64"), array("to", "n=4"))), "a",
                   "out"), "doubled takes v as int64[4], but a is float32[4]")  # fmt: skip
    refused(called(doubled(), "a", "out", n=I4 + 1),
            "n of doubled is out of range: i + 1 is 4 of 4 at batch = 1, i = 3")  # fmt: skip
    refused(called(doubled(), "a", "a"), "a, of role input, is not to be written")
    same = nest(CLEAR, over(Call("doubled", ("out", "out"), (I4,))), kernels=(doubled(),),
                arrays=(OUT,))  # fmt: skip
    refused(same, "doubled writes out, which it is handed twice")


def test_kernels_are_right_by_themselves() -> None:
    n = ix(50, 4)
    refused(called(doubled(writes=("z",)), "a", "out"),
            "kernel doubled: z, which it writes, is not one of its arguments")  # fmt: skip
    refused(called(doubled(writes=()), "a", "out"),
            "kernel doubled: to, of role scratch, is not to be written")  # fmt: skip
    refused(called(doubled(names=()), "a", "out"), "kernel doubled: not every integer has a name")
    refused(called(doubled(dims=(dim("time"),)), "a", "out"),
            "kernel doubled: the dimension time is not one of f")  # fmt: skip
    refused(called(doubled(body=(put("to", (n + 1,), "=", ONE),)), "a", "out"),
            "kernel doubled: writes to[n + 1] out of range: n + 1 is 4 of 4 at n = 3")  # fmt: skip
    refused(called(doubled(arrays=(array("v", "n=4"), array("v", "n=4"))), "a", "out"),
            "kernel doubled: the name v is given twice among dimensions and arrays")  # fmt: skip
    refused(called(doubled(body=()), "a", "out"), "kernel doubled: to is never stored to")
    own = doubled(scratch=(array("s"),), body=(put("to", (n,), "=", at("s")),))
    refused(called(own, "a", "out"),
            "kernel doubled: s is read before anything is stored to it")  # fmt: skip
    refused(called(doubled(body=(Call("doubled", ("v", "to"), (n,)),)), "a", "out"),
            "kernel doubled: doubled is not a kernel that stands before its call")  # fmt: skip


def test_a_kernel_that_adds_needs_something_to_add_to() -> None:
    adding = doubled(body=(put("to", (ix(50, 4),), "+=", at("v", ix(50, 4))),))
    loops = called(adding, "a", "out")
    refused(loops, "out is read before anything is stored to it")
    verify(replace(loops, body=(CLEAR, *loops.body)))


# --- races ----------------------------------------------------------------------------------------


def parallel(*body: Stmt, kind: str = "parallel") -> Loops:
    """A parallel loop ``i`` over 4, in ``p``, with arrays that are stored to before it."""
    arrays = (
        IDS, array("s"), OUT, array("source", "n=4", "input"), array("long", "n=20"),
        array("square", "r=2 c=2"), array("cube", "p=2 q=2 r=2"),
        array("wide", "r=6 c=2"),
    )  # fmt: skip
    ready = (
        put("s", (), "=", ONE), CLEAR,
        each(91, "l", 20, put("long", (ix(91, 20),), "=", ONE)),
    )  # fmt: skip
    part = Part("p", (over(*body, kind=kind),))
    return nest(*ready, part, arrays=arrays, kernels=(doubled(),))


def inner(extent: int, *body: Stmt, **more: Any) -> For:
    """A loop ``j`` inside."""
    return each(1, "j", extent, *body, **more)


J5 = ix(1, 5)
J3 = ix(1, 3)
FLAT = 2 * I4 + ix(1, 2)


@pytest.mark.parametrize(
    ("writes", "meets", "place", "body"),
    [
        ("s", "writes s", "i = 0, i' = 1", put("s", (), "=", ONE)),
        ("s", "writes s", "i = 0, i' = 1", put("s", (), "+=", ONE)),
        ("out[ids[i]]", "writes out[ids[i']]", "i = 0, i' = 1",
         put("out", (chosen(I4),), "+=", ONE)),
        ("out[i]", "reads out[0]", "i = 0, i' = 1", put("out", (I4,), "=", at("out", 0))),
        ("out[i]", "reads out[i' - 1]", "i = 0, i' = 1",
         put("out", (I4,), "=", at("out", I4 - 1, where=(when(I4 - 1),)))),
        ("out[j]", "writes out[j']", "i = 0, j = 0, i' = 1, j' = 0",
         inner(4, put("out", (J4,), "=", ONE))),
        ("long[4*i + j]", "writes long[4*i' + j']",
         "i = 0, j = 4, i' = 1, j' = 0",
         inner(5, put("long", (4 * I4 + J5,), "=", ONE))),
        ("long[i + 3*j]", "writes long[i' + 3*j']", "i = 0, j = 1, i' = 3, j' = 0",
         inner(5, put("long", (I4 + 3 * J5,), "=", ONE))),
        ("square[i//2, 0]", "writes square[(i')//2, 0]", "i = 0, i' = 1",
         put("square", (floordiv(I4, 2), 0), "=", ONE)),
        ("out[0]", "writes out[0]", "i = 0, i' = 1",
         Call("doubled", ("source", "out"), (constant(0),))),
    ],
)  # fmt: skip
def test_turns_that_meet_are_refused(writes: str, meets: str, place: str, body: Stmt) -> None:
    for kind in ("parallel", "vector"):
        refused(
            parallel(body, kind=kind),
            f"part p: the turns of the {kind} loop i are not independent: one writes {writes}, "
            f"another {meets}, the same element at batch = 1, {place}",
        )


@pytest.mark.parametrize(
    "body",
    [
        put("out", (I4,), "+=", at("out", I4)),
        put("out", (3 - I4,), "=", at("source", 0)),
        inner(5, put("long", (5 * I4 + J5,), "=", at("long", 5 * I4))),
        inner(5, put("long", (4 * I4 + J5,), "=", ONE), high=(constant(4),)),
        inner(5, put("long", (I4 + 4 * J5,), "=", ONE)),
        inner(5, put("long", (19 - I4 - 4 * J5,), "=", ONE)),
        put("square", (floordiv(I4, 2), mod(I4, 2)), "=", ONE),
        inner(3, put("wide", (2 * J3 + floordiv(I4, 2), mod(I4, 2)), "=", ONE)),
        inner(2, put("cube", (floordiv(FLAT, 4), mod(floordiv(FLAT, 2), 2), ix(1, 2)), "=", ONE)),
        Call("doubled", ("source", "out"), (I4,)),
    ],
)  # fmt: skip
def test_turns_that_do_not_meet_are_accepted(body: Stmt) -> None:
    verify(parallel(body))


def test_what_a_turn_declares_is_its_own() -> None:
    sums = (Declare(array("acc")), put("acc", (), "=", ONE), put("acc", (), "+=", ONE),
            put("out", (I4,), "=", at("acc")))  # fmt: skip
    verify(parallel(*sums))
    own = doubled(scratch=(array("s"),), body=(put("s", (), "=", ONE),
                                               put("to", (ix(50, 4),), "=", at("s"))))  # fmt: skip
    verify(replace(parallel(Call("doubled", ("source", "out"), (I4,))), kernels=(own,)))


def test_a_kernels_own_names_hide_nothing_of_its_caller() -> None:
    """A local of the kernel has the name of an array of the caller, which every turn writes."""
    local = (Declare(array("out")), put("out", (), "=", ONE), put("to", (0,), "=", at("out")))
    loops = parallel(Call("doubled", ("source", "out"), (I4,)))
    refused(
        replace(loops, kernels=(doubled(body=local),)),
        "part p: the turns of the parallel loop i are not independent: one writes out[0], "
        "another writes out[0], the same element at batch = 1, i = 0, i' = 1",
    )


def test_what_is_not_proved_independent_is_refused() -> None:
    """No two turns meet here; but no coordinate of the proof shows it."""
    halves = put("long", (I4 + 4 * floordiv(I4, 2),), "=", ONE)
    refused(
        parallel(halves),
        "part p: the turns of the parallel loop i are not independent: one writes "
        "long[i + 4*(i//2)], another writes long[i' + 4*((i')//2)], "
        "and it is not proved that these differ",
    )


def test_one_turn_meets_nobody() -> None:
    right(each(0, "i", 1, put("out", (0,), "=", ONE), kind="parallel"))
