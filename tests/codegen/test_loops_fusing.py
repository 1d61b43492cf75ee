"""Fuse, Localise, Epilogue, Prologue and Init: what they make of nests, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from codegen.index import Ix, constant
from codegen.loops.directives import (
    Directive,
    Epilogue,
    Fuse,
    Init,
    Localise,
    Prologue,
    Reorder,
    ScheduleError,
)
from codegen.loops.from_program import from_program
from codegen.loops.listing import listing
from codegen.loops.nest import For, Loops, Part, When
from codegen.loops.schedule import applied, apply
from codegen.loops.walk import inside
from codegen.program import Block, Program
from tests.codegen.building import Building, S, at_least, call, where
from tests.codegen.nests import array, at, each, ix, nest, num, put, when
from tests.codegen.schedules import agree, classifier, dense


def square(read: Callable[[Ix, Ix], tuple[Ix, Ix]], kept: bool = False) -> Loops:
    """y = 2 x; z[i, j] = y[read(i, j)], where that is inside."""
    p = Building("square", dtype="float64", i=4)
    x = p.declare("x", "i i")
    y = p.step("y", "i i", "=", lambda i, j: x[i, j] * 2)
    z = p.step("z", "i i", "=", lambda i, j: y.inside(*read(i, j)) + 1)
    return from_program(p.done(z, y) if kept else p.done(z))


def chain() -> Loops:
    """y = 2 x; k = total of v; z = y k; and u, which needs nothing of them."""
    p = Building("chain", dtype="float64", batch=None, i=4)
    x, v = p.declare("x", "batch i"), p.declare("v", "i")
    y = p.step("y", "batch i", "=", lambda n, i: x[n, i] * 2)
    k = p.step("k", "", "sum i", lambda i: v[i])
    u = p.step("u", "i", "=", lambda i: v[i] * 3)
    z = p.step("z", "batch i", "=", lambda n, i: y[n, i] * k.value())
    return from_program(p.done(u, z))


def columns() -> Loops:
    """y = 2 x, the sum of its columns, and half of that."""
    p = Building("columns", dtype="float64", batch=None, i=4)
    x = p.declare("x", "batch i")
    y = p.step("y", "batch i", "=", lambda n, i: x[n, i] * 2)
    s = p.step("s", "i", "sum batch", lambda i, n: y[n, i])
    half = p.step("s_half", "i", "=", lambda i: s[i] / 2)
    return from_program(p.done(y, half))


def update() -> Loops:
    """a = x sum(w); before = 2 w; w <- w - rate a; after = before + 1."""
    p = Building("update", dtype="float64", i=4)
    x, w = p.declare("x", "i"), p.declare("w", "i", "parameter")
    rate = p.step("rate", "", "=", lambda: S(num(0.1)))
    a = p.step("a", "i", "sum i", lambda i, k: w[k] * x[i])
    before = p.step("before", "i", "=", lambda i: w[i] * 2)
    p.step(w, "i", "=", lambda i: w[i] - a[i] * rate.value())
    after = p.step("after", "i", "=", lambda i: before[i] + 1)
    return from_program(p.done(a, after))


def by_columns() -> Program:
    """y = 2 x, columns first, and the sums over the batch."""
    p = Building("columns", dtype="float64", i=4, batch=None)
    x = p.declare("x", "batch i")
    y = p.step("y", "i batch", "=", lambda i, n: x[n, i] * 2)
    return p.done(p.step("s", "i", "sum batch", lambda i, n: y[i, n]))


def shorter() -> Loops:
    """y[i] = 1 below 2; z = 2."""
    i, k = ix(0, 4), ix(1, 4)
    first = Part("y", (each(0, "i", 4, put("y", (i,), "=", num(1)), high=(constant(2),)),))
    second = Part("z", (each(1, "i", 4, put("z", (k,), "=", num(2))),))
    return nest(first, second, arrays=(array("y", "i=4"), array("z", "i=4")), outputs=("z",))


def narrow(guarded: bool = False) -> Loops:
    """y = 0.1 x in float32, read in float64."""
    p = Building("narrow", dtype="float64", i=4)
    x = p.declare("x", "i")
    y = p.step("y", "i", "=", lambda i: x[i] * 0.1, dtype="float32")
    guards = (lambda i: where(at_least(i, 1))) if guarded else (lambda i: ())
    z = p.step("z", "i", "=", lambda i: y.guarded(i - 1 if guarded else i, guards=guards(i)) + 1)
    return from_program(p.done(z))


def latched() -> Loops:
    """for i: where i == 0: s = x[0, 0]; y[i] = s -- s goes from turn to turn."""
    i = ix(0, 4)
    body = each(
        0,
        "i",
        4,
        When((when(i, "=="),), (put("s", (), "=", num(2)),)),
        put("y", (i,), "=", at("s")),
    )
    arrays = (array("s"), array("y", "i=4"))
    return nest(Part("y", (body,)), arrays=arrays, outputs=("y",))


def printed(loops: Loops) -> str:
    text = listing(loops)
    return text[text.index("\n  part ") if "\n  part " in text else 0 :]


LEGAL: dict[str, tuple[Loops, Sequence[Directive], str]] = {
    "a read of the turn before is fused": (
        square(lambda i, j: (i - 1, j)),
        [Fuse("y", "z")],
        "part y to z:\n    for i<4:\n",
    ),
    "two loops fused one after the other are one part": (
        square(lambda i, j: (i, j)),
        [Fuse("y", "z"), Fuse("y", "z"), Localise("y to z", "y")],
        "  part y to z:\n    for i<4:\n      for i1<4:\n        y : float64\n",
    ),
    "what the second needs is moved ahead of both": (
        chain(),
        [Fuse("y", "z")],
        "k = acc_k\n\n  part y to z:",
    ),
    "what neither needs stays behind": (
        chain(),
        [Fuse("y", "z"), Fuse("y", "z")],
        "z[batch, i] = y[batch, i] * k\n\n  part u:",
    ),
    "a sum over the fused loop is cleared before it": (
        columns(),
        [Reorder("s", ("batch", "i")), Fuse("y", "s")],
        "part y to s:\n    for i<4:\n      s[i] = 0\n    for batch:\n",
    ),
    "a register that is copied to a local is the local": (
        classifier(),
        [Fuse("top", "weight"), Fuse("top to weight", "total"), Fuse("top to total", "share"),
         Localise("top to share", "top")],
        "part top:\n        top = -inf\n        for digit<10:\n          top max= logits",
    ),
    "rows are local to the turn that uses them": (
        dense(batch=3),
        [Fuse("product", "pre"), Fuse("product to pre", "hidden"),
         Localise("product to hidden", "product"), Localise("product to hidden", "pre")],
        "product : float64[unit=16]\n",
    ),
    "a second epilogue stands behind the first": (
        dense(),
        [Epilogue("product", "pre"), Epilogue("product", "hidden"),
         Localise("product", "product"), Localise("product", "pre")],
        "hidden[batch, unit] = maximum(pre, 0)",
    ),
    "an epilogue of two operands": (
        applied(chain(), [Epilogue("y", "z")]),
        [],
        "z[batch, i] = y[batch, i] * k",
    ),
    "a producer that is read elsewhere stays": (
        square(lambda i, j: (j, i), kept=True),
        [Prologue("z", "y")],
        "y[i, i1] = x[i, i1] * 2",
    ),
    "a value keeps the rounding of the array that held it": (
        narrow(),
        [Prologue("z", "y")],
        "z[i] = float32(x[i] * 0.1) + 1",
    ),
    "a read that is zero outside stays so": (
        narrow(guarded=True),
        [Prologue("z", "y")],
        "select((i - 1) >= 0, float32(x[i - 1]{i - 1 >= 0} * 0.1), 0) + 1",
    ),
    "a sum starts from the bias": (
        dense(),
        [Epilogue("product", "pre"), Localise("product", "product"), Init("product", "b")],
        "product : float64 = b[unit]\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEGAL)
def test_what_is_legal_keeps_values_and_reads_well(name: str) -> None:
    loops, directives, expected = LEGAL[name]
    after = agree(loops, directives, exact=not any(isinstance(d, Init) for d in directives))
    assert expected in printed(after)


REFUSED: dict[str, tuple[Loops, Sequence[Directive], Directive, str]] = {
    "a transposed read": (
        square(lambda i, j: (j, i)), [], Fuse("y", "z"),
        'a turn of part "z" needs "y" as it is after other turns of part "y"',
    ),
    "a read of the turn after": (
        square(lambda i, j: (i + 1, j)), [], Fuse("y", "z"), 'a turn of part "z" needs "y"',
    ),
    "loops of different extent": (
        chain(), [], Fuse("y", "u"), 'loop "batch" of part "y" has batch turns and loop "i"',
    ),
    "parts in the wrong order": (
        chain(), [], Fuse("z", "y"), 'part "y" does not follow part "z" in one body',
    ),
    "a part without loops": (
        update(), [], Fuse("rate", "a"), 'part "rate" has no loop of its own',
    ),
    "a narrowed loop": (
        shorter(), [], Fuse("y", "z"), 'loop "i" of part "y" is narrowed at run time',
    ),
    "something between that needs the first": (
        dense(), [], Fuse("product", "hidden"),
        'part "pre" stands between parts "product" and "hidden"',
    ),
    "a sum that is not complete": (
        columns(), [Reorder("s", ("batch", "i"))], Fuse("s", "s_half"),
        'loop "batch" of part "s" has batch turns',
    ),
    "a local that is handed out": (
        columns(), [], Localise("y", "y"), '"y" is handed out',
    ),
    "a local that is used elsewhere": (
        dense(), [], Localise("pre", "pre"), '"pre" is used outside of part "pre" too',
    ),
    "a local that is not used": (
        dense(), [], Localise("product", "pre"), 'part "product" does not use "pre"',
    ),
    "a local of a size known at run time": (
        from_program(by_columns()), [Fuse("y", "s")], Localise("y to s", "y"),
        'a turn of part "y to s" uses "y" at all of batch positions',
    ),
    "a local that goes from turn to turn": (
        latched(), [], Localise("y", "s"), 'may read "s" as another turn left it',
    ),
    "a local that is an argument": (
        dense(), [], Localise("product", "x"), '"x" is no scratch array',
    ),
    "an epilogue of a sum in memory": (
        dense(), [Reorder("product", ("batch", "pixel", "unit"))], Epilogue("product", "pre"),
        'part "product" adds to "product" in memory',
    ),
    "an epilogue with loops": (
        classifier(), [], Epilogue("logits", "top"), 'part "top" is not elementwise',
    ),
    "an epilogue that reads other elements": (
        square(lambda i, j: (i, j + 1)), [], Epilogue("y", "z"),
        'part "z" does not read "y" at each element in turn',
    ),
    "an epilogue that reads nothing of the part": (
        chain(), [], Epilogue("k", "u"), 'part "u" reads nothing that part "k" makes',
    ),
    "an epilogue that changes what the part reads": (
        update(), [], Epilogue("a", "w"), 'part "a" uses "w", which part "w" changes',
    ),
    "a producer that is a sum": (
        classifier(), [], Prologue("top", "logits"), 'part "logits" is not elementwise',
    ),
    "a producer whose operands change": (
        update(), [], Prologue("after", "before"), '"w" has another value by then',
    ),
    "a producer that is not read": (
        chain(), [], Prologue("u", "y"), 'part "u" does not read what part "y" makes',
    ),
    "a start that is never added": (
        dense(), [], Init("product", "b"), 'part "product" has no sum of its own',
    ),
    "a start that the part changes": (
        columns(), [], Init("s", "s"), 'part "s" changes "s"',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_a_value_is_refused_in_one_sentence(name: str) -> None:
    loops, before, directive, message = REFUSED[name]
    ready = applied(loops, before)
    with pytest.raises(ScheduleError) as found:
        apply(ready, directive)
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_inner_loops_called_like_the_fused_one_get_other_names() -> None:
    p = Building("f", dtype="float64", i=3)
    x = p.declare("x", "i i")
    y = p.step("y", "i", "=", lambda i: x[i, i])
    p.step("z", "i", "sum i", lambda i, k: x[k, i] * y[i])
    loops = from_program(p.done("z"))
    outer = [replace(f, name="i1") if isinstance(f, For) else f for f in loops.body[0].body]
    renamed = replace(loops, body=(replace(loops.body[0], body=tuple(outer)), *loops.body[1:]))
    after = agree(renamed, [Fuse("y", "z")])
    names = [s.name for s in inside(after.body) if isinstance(s, For)]
    assert names == ["i1", "i1_2"]


def test_a_name_that_is_taken_by_a_part_around_says_which_loop() -> None:
    p = Building("f", dtype="float64", i=3, j=2)
    x = p.declare("x", "i j")
    y = p.step("y", "i j", "=", lambda i, j: x[i, j] * 2)
    s = p.step("s", "i", "=", lambda i: x[i, 0])
    z = p.step("z", "i j", "=", lambda i, j: y[i, j] + s[i])
    loops = from_program(p.done(z, s))
    after = agree(loops, [Fuse("y", "s"), Fuse("y to s", "z"), Fuse("y", "z")])
    names = [t.name for t in inside(after.body) if isinstance(t, Part)]
    assert names == ["y to z", "s", "y to z over j", "y", "z"]


def test_parts_of_kernels_are_fused_like_others() -> None:
    made = transformer_like()
    names = [p.name for k in made.kernels for p in k.body if isinstance(p, Part)]
    assert names == ["layer.z", "layer.y"]
    after = agree(made, [Epilogue("layer.z", "layer.y"), Localise("layer.z", "z")])
    assert [b.name for b in after.kernels[0].scratch] == []


def transformer_like() -> Loops:
    """Two blocks y = tanh(x W^T)."""
    layer = Building("layer", dtype="float64", batch=None, i=4)
    x, w = layer.declare("x", "batch i"), layer.declare("w", "i i")
    z = layer.step("z", "batch i", "sum i", lambda n, i, k: x[n, k] * w[i, k])
    body = layer.done(layer.step("y", "batch i", "=", lambda n, i: call("tanh", z[n, i])))
    p = Building("f", dtype="float64", batch=None, i=4)
    p.declare("x0", "batch i")
    for k in range(2):
        p.declare(f"w{k}", "i i")
        p.declare(f"x{k + 1}", "batch i", "scratch")
        p.steps.append(Block((f"x{k + 1}",), (f"x{k}", f"w{k}"), body))
    return from_program(p.done("x2"))
