"""What index arrays hold: the bounds that every other proof of a range rests on.

In: nests built by hand that gather positions from what they store. Guarantees: each is refused in
one sentence, or accepted where a proof exists.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from nests import array, at, each, ix, nest, num, put, when

from codegen.index import Ix, constant, gather, loop
from codegen.loops.nest import Call, Declare, Kernel, Loops, Stmt, When
from codegen.loops.verify import InvalidLoops, verify
from codegen.program import Binary, Buffer, BufferSource, Cast, Compare, IndexValue, Scalar, Select
from codegen.program import Call as Function

ZERO, THREE = constant(0), constant(3)
FULL = constant(-(1 << 63)), constant((1 << 63) - 1)
OUT = array("out", "n=4")
IDS = array("ids", "n=4", "scratch", "int64", low=ZERO, high=THREE)
LOOSE = array("ids", "n=4", "scratch", "int64")
RAW = array("raw", "n=4", "input", "int64")
I4, ONE = ix(0, 4), num(1)


def of(name: str, *index: Ix | int, low: Ix = ZERO, high: Ix = THREE) -> Ix:
    """``name[index]``, a number from low to high."""
    return gather(BufferSource(name, low, high), index)


def over(*body: Stmt, position: int = 0, **more: Any) -> Stmt:
    return each(position, "i", 4, *body, **more)


def used(position: int = 1) -> Stmt:
    """``out[ids[i]] = 1``, one turn after another."""
    return over(put("out", (of("ids", ix(position, 4)),), "=", ONE), position=position)


def filled(value: Scalar, op: str = "=", **more: Any) -> Loops:
    """``ids[i] = value``, then ``out[ids[i]] = 1``."""
    stores = [put("ids", (I4,), "=", num(0))] if op != "=" else []
    return nest(over(*stores, put("ids", (I4,), op, value)), used(), arrays=(RAW, IDS, OUT), **more)


def refused(loops: Loops, sentence: str) -> None:
    with pytest.raises(InvalidLoops, match=re.escape(sentence) + "$"):
        verify(loops)


RAW_I = at("raw", I4)
INSIDE = (when(of("raw", I4, low=FULL[0], high=FULL[1])),
          when(3 - of("raw", I4, low=FULL[0], high=FULL[1])))  # fmt: skip
UNPROVED = "ids[i] is gathered from, and what is stored there is not proved to be in 0..3"


@pytest.mark.parametrize(
    "value",
    [
        num(3),
        IndexValue(I4),
        IndexValue(3 - I4),
        Binary("-", num(3), IndexValue(I4)),
        Binary("*", IndexValue(I4), num(1)),
        Function("maximum", (Function("minimum", (RAW_I, num(3))), num(0))),
        Select(Compare("<", RAW_I, num(0)), num(0), Function("minimum", (num(3), RAW_I))),
        at("raw", I4, where=INSIDE),
        Cast("int64", Compare("<", RAW_I, num(5))),
        Cast("int64", Cast("int32", IndexValue(I4))),
    ],
)
def test_what_is_proved_within_the_bounds_may_be_stored(value: Scalar) -> None:
    verify(filled(value))


@pytest.mark.parametrize(
    "value",
    [
        num(50),
        num(-1),
        IndexValue(I4 + 1),
        RAW_I,
        Binary("+", IndexValue(I4), IndexValue(I4)),
        Function("minimum", (RAW_I, num(3))),
        Select(Compare("<", RAW_I, num(4)), RAW_I, num(0)),
        Select(Compare(">", RAW_I, num(3)), num(3), RAW_I),
        at("raw", I4, where=INSIDE[:1]),
        Cast("int64", at("x", 0, I4)),
        # raw - 1 may wrap, and what wraps is not followed
        Function("minimum", (num(3), Function("maximum",
            (num(0), Binary("-", RAW_I, num(1)))))),
    ],
)  # fmt: skip
def test_what_is_not_is_refused(value: Scalar) -> None:
    refused(filled(value), UNPROVED)


def test_what_is_folded_in_stays_within_the_bounds() -> None:
    verify(filled(num(3), "max="))
    verify(filled(num(0), "min="))
    verify(filled(num(-5), "max="))
    refused(filled(num(4), "max="), UNPROVED)
    refused(filled(num(-1), "min="), UNPROVED)
    refused(filled(num(1), "+="), UNPROVED)


def test_a_guard_bounds_what_is_stored() -> None:
    def stored(*guards: Any) -> Loops:
        first = over(put("ids", (I4,), "=", num(0)), When(guards, (put("ids", (I4,), "=", RAW_I),)))
        return nest(first, used(), arrays=(RAW, IDS, OUT))

    verify(stored(*INSIDE))
    refused(stored(INSIDE[1]), UNPROVED)


def test_an_array_without_bounds_is_gathered_from_with_those_of_its_dtype() -> None:
    fill = over(put("ids", (I4,), "=", num(50)))
    sentence = "a gather bounds ids otherwise than its declaration does"
    refused(nest(fill, used(), arrays=(LOOSE, OUT)), sentence)
    wide = of("ids", ix(1, 4), low=FULL[0], high=FULL[1])
    store = put("out", (wide,), "=", ONE)
    held = over(When((when(wide), when(3 - wide)), (store,)), position=1)
    verify(nest(fill, held, arrays=(LOOSE, OUT)))
    with pytest.raises(InvalidLoops, match="out of range"):
        verify(nest(fill, over(store, position=1), arrays=(LOOSE, OUT)))


def test_registers_on_the_way_are_held_to_their_bounds() -> None:
    def through(value: Scalar, **bounds: Ix) -> Loops:
        one = array("one", "", "scratch", "int64", **bounds)
        body = (Declare(one), put("one", (), "=", value), put("ids", (I4,), "=", at("one")))
        return nest(over(*body), used(), arrays=(RAW, IDS, OUT))

    verify(through(num(2), low=ZERO, high=THREE))
    verify(through(num(2), low=constant(1), high=constant(2)))
    refused(through(num(2)), UNPROVED)
    refused(
        through(num(7), low=ZERO, high=THREE),
        "one is gathered from, and what is stored there is not proved to be in 0..3",
    )


def test_constants_hold_what_is_declared() -> None:
    held = replace(IDS, role="constant", data=(0, 1, 2, 3))
    verify(nest(used(), arrays=(held, OUT)))
    refused(
        nest(used(), arrays=(replace(held, data=(0, 1, 2, 4)), OUT)),
        "the constant ids holds 4, not in 0..3",
    )


def test_bounds_fit_the_dtype() -> None:
    large = constant(1 << 40)
    ids = replace(IDS, dtype="int32", high=large)
    at_ = of("ids", ix(1, 4), high=large)
    body = over(When((when(3 - at_),), (put("out", (at_,), "=", ONE),)), position=1)
    refused(
        nest(over(put("ids", (I4,), "=", num(0))), body, arrays=(ids, OUT)),
        f"ids[i] is gathered from, and what is stored there is not proved to be in 0..{1 << 40}",
    )


def chooser(
    value: Scalar, *scratch: Buffer, to: Buffer = IDS, body: tuple[Stmt, ...] = ()
) -> Kernel:
    """A kernel that stores a value to ``to[n]``, n from 0 to 3."""
    n = ix(50, 4)
    stmts = (*body, put("to", (n,), "=", value))
    return Kernel("chooser", (), (replace(to, name="to"),), ("to",), stmts, scratch,
                  (loop(50, THREE + 1),), ("n",))  # fmt: skip


def test_kernels_keep_to_the_bounds_of_what_they_are_handed() -> None:
    def called(kernel: Kernel) -> Loops:
        call = over(Call("chooser", ("ids",), (I4,)))
        clear = over(put("ids", (ix(2, 4),), "=", num(0)), position=2)
        return nest(clear, call, used(), arrays=(IDS, OUT), kernels=(kernel,))

    verify(called(chooser(IndexValue(ix(50, 4)))))
    refused(
        called(chooser(num(50))),
        "kernel chooser: to[n] is gathered from, and what is stored there is not proved to be in "
        "0..3",
    )
    refused(
        called(chooser(num(50), to=LOOSE)),
        f"ids, in 0..3, is gathered from, but chooser writes it as to, in {FULL[0]!r}..{FULL[1]!r}",
    )


# --- guards that gather ---------------------------------------------------------------------------


def test_a_guard_that_gathers_is_tested_under_those_before_it() -> None:
    table = replace(IDS, role="input")
    far = ix(0, 6)
    choice, near = when(of("ids", far) - 2, "=="), when(3 - far)
    store = put("wide", (far,), "=", ONE)
    arrays = (table, array("wide", "n=6"))

    def six(*body: Stmt) -> Loops:
        return nest(each(0, "i", 6, *body), arrays=arrays)

    for guards in ((choice, near), (near, choice)):
        assert When(guards, ()).guards == (near, choice)
        verify(six(When(guards, (store,))))
        verify(six(put("wide", (far,), "=", at("x", 0, 0, where=guards))))
    verify(six(When((near,), (When((choice,), (store,)),))))
    sentence = "reads ids[i] out of range: i is 4 of 4 at batch = 1, i = 4"
    refused(six(When((choice,), (When((near,), (store,)),))), sentence)
    refused(six(put("wide", (far,), "=", at("x", 0, 0, where=(choice,)))),
            "reads ids[i] out of range: i is 4 of 4 at batch = 1, i = 4")  # fmt: skip


def test_a_guard_says_nothing_of_what_is_stored_under_it() -> None:
    wide = of("ids", I4, low=FULL[0], high=FULL[1])
    guards = (when(wide), when(3 - wide))
    store = put("out", (wide,), "=", ONE)
    clear = over(put("ids", (ix(2, 4),), "=", num(0)), position=2)
    verify(nest(clear, over(When(guards, (store,))), arrays=(LOOSE, OUT)))
    late = over(When(guards, (put("ids", (I4,), "=", num(50)), store)))
    with pytest.raises(InvalidLoops, match=r"writes out\[ids\[i\]\] out of range"):
        verify(nest(clear, late, arrays=(LOOSE, OUT)))


# --- turns that gather what they make -------------------------------------------------------------


def register(value: Scalar) -> tuple[Stmt, ...]:
    """``own = value``, an index of 0 to 3 that each turn declares."""
    own = array("own", "", "scratch", "int64", low=ZERO, high=THREE)
    return Declare(own), put("own", (), "=", value)


@pytest.mark.parametrize("kind", ["parallel", "vector"])
def test_turns_that_gather_what_they_declare_are_not_independent(kind: str) -> None:
    body = (*register(IndexValue(3 - I4)), put("long", (I4 + of("own"),), "=", ONE))
    verify(nest(over(*body), arrays=(array("long", "n=7"),)))
    refused(
        nest(over(*body, kind=kind), arrays=(array("long", "n=7"),)),
        f"the turns of the {kind} loop i are not independent: one writes long[i + own], another "
        "writes long[i' + own], and it is not proved that these differ",
    )


def test_nor_are_turns_that_gather_what_they_store() -> None:
    stores = (
        put("ids", (I4,), "=", IndexValue(3 - I4)),
        put("long", (I4 + of("ids", I4),), "=", ONE),
    )
    loops = nest(over(*stores, kind="parallel"), arrays=(IDS, array("long", "n=7")))
    with pytest.raises(InvalidLoops, match="are not independent"):
        verify(loops)


def test_nor_are_turns_told_apart_by_a_guard_on_what_they_declare() -> None:
    turn, j = ix(0, 2), ix(1, 4)
    own = register(IndexValue(2 - 2 * turn))
    store = put("long", (2 * turn + j,), "=", ONE)
    inner = each(1, "j", 4, When((when(j - of("own"), "=="),), (store,)))
    arrays = (array("long", "n=7"),)
    verify(nest(each(0, "i", 2, *own, inner), arrays=arrays))
    with pytest.raises(InvalidLoops, match="are not independent"):
        verify(nest(each(0, "i", 2, *own, inner, kind="parallel"), arrays=arrays))


def test_nor_through_a_kernel() -> None:
    n = ix(50, 4)
    own = array("own", "", "scratch", "int64", low=ZERO, high=THREE)
    body = put("own", (), "=", IndexValue(3 - n)), put("to", (n + of("own"),), "=", ONE)
    long = array("long", "n=7")
    kernel = Kernel("spread", (), (replace(long, name="to"),), ("to",), body, (own,),
                    (loop(50, THREE + 1),), ("n",))  # fmt: skip
    call = Call("spread", ("long",), (I4,))
    verify(nest(over(call), arrays=(long,), kernels=(kernel,)))
    with pytest.raises(InvalidLoops, match="are not independent"):
        verify(nest(over(call, kind="parallel"), arrays=(long,), kernels=(kernel,)))


def test_what_is_gathered_from_other_places_still_tells_turns_apart() -> None:
    row = of("ids", 0)
    table = replace(IDS, role="input")
    verify(nest(over(put("long", (I4 + row,), "=", ONE), kind="parallel"),
                arrays=(table, array("long", "n=7"))))  # fmt: skip
