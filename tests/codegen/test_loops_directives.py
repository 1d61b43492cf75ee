"""Every directive: what it does, that it keeps values, and that it refuses what would not."""

from __future__ import annotations

import pytest

from codegen.loops.directives import (
    DIRECTIVES,
    Cut,
    Directive,
    Epilogue,
    Fuse,
    Init,
    Layout,
    Localise,
    Outline,
    Pack,
    Pad,
    Parallel,
    Privatise,
    Prologue,
    RegisterBlock,
    Reorder,
    ScheduleError,
    Split,
    Unroll,
    Vectorise,
)
from codegen.loops.listing import listing
from codegen.loops.nest import Loops
from codegen.loops.schedule import APPLY, applied, apply
from tests.codegen.schedules import (
    agree,
    classifier,
    column_sum,
    convolution,
    dense,
    embedding,
    filter_gradient,
    layers,
    loops_of,
    weight_step,
)

Case = tuple[Loops, tuple[Directive, ...]]

# What is allowed: nests, directives (the last is the one in question), and whether bits are kept.
LEGAL: list[tuple[Loops, tuple[Directive, ...], bool]] = [
    (dense(), (Fuse("pre", "hidden"),), True),
    (dense(), (Split("product", "batch", size=4),), True),
    (dense(batch=7), (Split("product", "batch", parts=3),), True),
    (dense(), (Split("product", "pixel", parts=4),), True),
    (dense(batch=65), (Split("product", "batch", parts=5),), True),
    (convolution(), (Cut("image", "row", (1, -1)),), True),
    (dense(), (Cut("product", "pixel", (2,)),), True),
    (dense(), (Reorder("product", ("unit", "batch")),), True),
    (dense(), (Reorder("product", ("batch", "pixel", "unit")),), True),
    (dense(), (Reorder("product", ("pixel", "unit", "batch")),), True),
    (convolution(), (Reorder("image", ("n", "ky", "kx", "row", "column", "feature")),), True),
    (convolution(), (Reorder("image", ("n", "row", "column", "feature", "channel", "ky", "kx")),),
     False),
    (embedding(), (Reorder("grad", ("d", "batch")),), True),
    (dense(), (Vectorise("hidden", "unit"),), True),
    (dense(), (Split("hidden", "batch", size=4), Vectorise("hidden", "batch_inner")), True),
    (dense(), (Unroll("product", "pixel"),), True),
    (dense(), (Split("hidden", "batch", size=4), Unroll("hidden", "batch_inner")), True),
    (dense(), (RegisterBlock("product", (("batch", 4), ("unit", 8)), lanes=True),), True),
    (dense(batch=11), (RegisterBlock("product", (("batch", 4), ("unit", 5))),), True),
    (convolution(), (RegisterBlock("image", (("column", 2), ("feature", 3))),), True),
    (column_sum(), (RegisterBlock("total", (("unit", 4),), lanes=True),), True),
    (dense(), (RegisterBlock("product", (("unit", 8),), lanes=True),
               RegisterBlock("product", (("batch", 4),), rolled=True)), True),
    (dense(), (Epilogue("pre", "hidden"),), True),
    (dense(), (Epilogue("product", "pre"), Localise("product", "product"), Init("product", "b")),
     False),
    (dense(), (Prologue("hidden", "pre"),), True),
    (dense(), (Fuse("pre", "hidden"), Fuse("pre", "hidden"), Localise("pre to hidden", "pre")),
     True),
    (dense(), (Pack("product", "w", (1, 0)),), True),
    (dense(), (Pack("product", "x", (0, 2, 1), blocks=((0, 4),)),), True),
    (dense(), (Layout("product", (1, 0)),), True),
    (dense(), (Pad("pre", 0, multiple=4), Layout("pre", (0, 2, 1, 3), blocks=((0, 4), (1, 8)))),
     True),
    (dense(), (Pad("product", 1, multiple=5),), True),
    (dense(), (Pad("pre", 0, before=2, after=1),), True),
    (dense(), (Split("pre", "batch", size=4), Pad("pre", 0, multiple=4)), True),
    (filter_gradient(), (Pack("gradient", "x", (0, 1, 2, 3)), Pad("x_packed", 1, before=1, after=1),
                         Pad("x_packed", 2, before=1, after=1)), True),
    (column_sum(), (Privatise("total", "batch", 4),), False),
    (column_sum(), (Privatise("total", "batch", 7), Vectorise("total", "batch_part")), False),
    (classifier(), (Privatise("top", "digit", 3),), True),
    (dense(), (Cut("product", "unit", (1, -1)), Reorder("product", ("pixel", "unit_1")),
               Privatise("product unit_1", "pixel", 2)), False),
    (embedding(), (Privatise("grad", "batch", 3), Reorder("grad", ("batch_part", "batch_turn")),
                   Parallel("grad", "batch_part")), False),
    (dense(), (Parallel("product", "batch"),), True),
    (weight_step(unit=4, pixel=4), (Parallel("w", "unit"),), True),
    (layers(), (Outline("layer_0", "layer"), Outline("layer_2", "layer")), True),
    (dense(), (Fuse("product", "pre"), Outline("pre", "add_bias")), True),
    (dense(), (Fuse("product", "pre"), Outline("product to pre", "outer"),
               Outline("product", "inner")), True),
    (layers(), (Fuse("layer_1", "layer_2"), Outline("layer_1 to layer_2", "outer"),
                Outline("layer_2", "inner"), Outline("layer_1", "inner")), True),
]  # fmt: skip

# What is refused: nests, what was applied before, the directive, and words of the reason.
ILLEGAL: list[tuple[Loops, tuple[Directive, ...], Directive, str]] = [
    (classifier(), (), Fuse("logits", "nothing"), 'no part "nothing"'),
    (column_sum(), (), Split("total", "batch"), "by a size or into a number of parts"),
    (column_sum(), (), Split("total", "batch", parts=2), "known only at run time"),
    (column_sum(), (), Split("total", "row", size=2), 'its loops are "unit", "batch"'),
    (column_sum(), (Vectorise("total", "unit"),), Split("total", "unit", size=2), "vector already"),
    (convolution(), (), Cut("image", "row", (4, 2)), "give turns inside of it, in order"),
    (convolution(), (), Cut("image", "n", (3,)), "give turns inside of it, in order"),
    (dense(), (), Reorder("product", ("batch", "pixel")), "no nest, one directly inside the other"),
    (dense(), (), Reorder("product", ("batch", "batch")), "each once"),
    (embedding(), (), Reorder("grad", ("batch", "word")), "no nest"),
    (dense(), (), Vectorise("product", "pixel"), 'Privatise("product", "pixel", parts)'),
    (dense(), (), Vectorise("product", "batch"), "split it by a size and take the inner loop"),
    (embedding(), (Split("grad", "batch", size=4),), Vectorise("grad", "batch_inner"), "all add"),
    (convolution(), (), Vectorise("image", "row"), 'bounds of loop "ky"'),
    (dense(), (Vectorise("product", "unit"), Split("product", "batch", size=4)),
     Vectorise("product", "batch_inner"), "is vector already"),
    (dense(), (), Unroll("product", "batch"), "is no number"),
    (dense(), (), RegisterBlock("product", (("unit", 4), ("batch", 4))), "Reorder the part first"),
    (dense(), (), RegisterBlock("product", (("batch", 4), ("pixel", 4))), "all add into"),
    (dense(), (), RegisterBlock("product", (("batch", 0),)), "positive sizes"),
    (dense(), (), Epilogue("product", "hidden"), 'part "pre" stands between'),
    (dense(), (), Init("product", "b"), ""),
    (dense(), (), Prologue("product", "pre"), ""),
    (dense(), (), Localise("hidden", "pre"), "used outside of part"),
    (dense(), (), Pack("product", "hidden", (1, 0)), 'it reads "x", "w", "acc_product"'),
    (dense(), (), Pack("product", "w", (1, 1)), "names 0 to 1 each once"),
    (dense(), (Fuse("pre", "hidden"),), Pack("hidden", "pre", (1, 0)), "is stored turn by turn"),
    (dense(), (), Pack("product", "w", (1, 0), blocks=((2, 4),)), "name axes from 0 to 1"),
    (embedding(), (), Pack("rows", "ids", (0,)), "does not read"),
    (dense(), (), Layout("hidden", (1, 0)), '"hidden" is returned'),
    (dense(), (), Layout("x", (1, 0)), "of role input"),
    (dense(), (), Layout("pre", (0, 2, 1), blocks=((0, 4),)), 'Pad("pre", 0, multiple=4) first'),
    (dense(), (), Pad("hidden", 1, multiple=8), "is returned"),
    (dense(), (), Pad("pre", 2, multiple=8), "none of number 2"),
    (dense(), (), Pad("pre", 1), "a multiple of 2 or more"),
    (dense(), (), Privatise("product", "batch", 4), "nothing to privatise"),
    (dense(), (), Privatise("product", "pixel", 1), "two partial sums or more"),
    (dense(), (), Parallel("product", "pixel"), "all add into"),
    (dense(), (Parallel("product", "batch"),), Parallel("product", "unit"), "which is parallel"),
    (weight_step(unit=4, pixel=4), (), Outline("m", "a kernel"), "no name for a kernel"),
    (layers(), (Outline("layer_0", "layer"), Unroll("layer_1", "unit")),
     Outline("layer_1", "layer"), "does not do the same"),
    (layers(), (Outline("layer_0", "layer"),), Outline("layer_0", "layer"), "is a call already"),
    (layers(), (), Outline("layer_0", "x"), "is an array or a size already"),
    (dense(), (Fuse("product", "pre"), Split("product to pre", "batch", size=4)),
     Outline("product", "kernel"),
     "stands under conditions that it needs"),
]  # fmt: skip


def _name(directives: tuple[Directive, ...]) -> str:
    return ", ".join(map(repr, directives))[-80:]


@pytest.mark.parametrize("kind", DIRECTIVES, ids=lambda k: k.__name__)
def test_every_directive_can_be_applied_and_is_tried_both_ways(kind: type[Directive]) -> None:
    assert kind in APPLY
    assert any(isinstance(d[-1], kind) for _, d, _ in LEGAL)
    assert any(isinstance(d, kind) for _, _, d, _ in ILLEGAL)


@pytest.mark.parametrize(("loops", "directives", "exact"), LEGAL, ids=lambda v: _label(v))
def test_a_legal_directive_keeps_values(
    loops: Loops, directives: tuple[Directive, ...], exact: bool
) -> None:
    after = agree(loops, directives, exact=exact)
    assert after.schedule == directives
    assert after != loops


@pytest.mark.parametrize(("loops", "before", "directive", "why"), ILLEGAL, ids=lambda v: _label(v))
def test_an_illegal_directive_says_why(
    loops: Loops, before: tuple[Directive, ...], directive: Directive, why: str
) -> None:
    ready = applied(loops, before)
    with pytest.raises(ScheduleError) as error:
        apply(ready, directive)
    message = str(error.value)
    assert why in message
    assert "\n" not in message


def _label(value: object) -> str | None:
    if isinstance(value, tuple) and value:
        return _name(value)
    return _name((value,)) if isinstance(value, DIRECTIVES) else ""


# --- what comes out -------------------------------------------------------------------------------


def test_a_schedule_prints_as_written() -> None:
    directives = (Split("product", "batch", size=4), Pack("product", "w", (1, 0)))
    text = listing(applied(dense(), directives))
    assert 'Split("product", "batch", size=4)' in text
    assert 'Pack("product", "w", (1, 0))' in text


def test_a_refused_directive_changes_nothing() -> None:
    loops = dense()
    before = listing(loops)
    with pytest.raises(ScheduleError):
        apply(loops, Vectorise("product", "pixel"))
    assert listing(loops) == before


def test_tiles_of_a_known_extent_are_balanced() -> None:
    after = agree(dense(batch=65), [RegisterBlock("product", (("batch", 14),))], exact=True)
    assert loops_of(after, "product", "unroll") == ["batch_inner 13"] * 3
    uneven = agree(dense(batch=64), [RegisterBlock("product", (("batch", 13),))], exact=True)
    found = loops_of(uneven, "product", "unroll")
    assert found == ["batch_inner 13"] * 3 + ["batch_inner 12"] * 3


def test_tiles_of_an_extent_known_at_run_time_leave_single_turns() -> None:
    after = agree(dense(), [RegisterBlock("product", (("batch", 4),))], batches=(1, 4, 7))
    assert [n for n in loops_of(after, "product") if n.startswith("batch_rest")] == [
        "batch_rest (batch)%4"
    ]


def test_lanes_of_an_extent_that_is_no_multiple_are_whole_vectors_and_a_rest() -> None:
    after = agree(classifier(), [RegisterBlock("logits", (("digit", 8),), lanes=True)])
    assert loops_of(after, "logits", "vector") == ["digit_inner 8"] * 3 + ["digit_inner 2"] * 3


def test_a_sum_that_stays_innermost_is_kept_in_a_register() -> None:
    order = ("pixel_outer", "batch", "unit", "pixel_inner")
    after = agree(
        dense(), [Split("product", "pixel", size=4), Reorder("product", order)], exact=False
    )
    assert "sum_acc_product : float64 = 0" in listing(after)
    assert "product[batch, unit] += sum_acc_product" in listing(after)


def test_a_narrowed_bound_follows_a_change_of_order() -> None:
    before = convolution()
    order = ("n", "row", "column", "feature", "kx", "ky", "channel")
    after = agree(before, [Reorder("image", order)], exact=False)
    assert "for max(0, 1 - row) <= ky < min(3, 7 - row):" in listing(after)


def test_the_inside_of_an_image_has_no_guards() -> None:
    after = agree(
        convolution(), [Cut("image", "row", (1, -1)), Cut("image row_1", "column", (1, -1))]
    )
    text = listing(after)
    inside = text[text.index("part image row_1 column_1") : text.index("image row_1 column_2")]
    assert "for ky<3:" in inside
    assert "for kx<3:" in inside


def test_padding_takes_the_mask_of_a_vector_away() -> None:
    directives = [Split("pre", "batch", size=4), Pad("pre", 0, multiple=4)]
    after = agree(dense(), [*directives, Vectorise("pre", "batch_inner")], batches=(1, 6))
    text = listing(after)
    part = text[text.index("part pre:") : text.index("part hidden:")]
    assert "where" not in part
    assert "select(" in part


def test_copies_that_are_private_are_added_in_a_fixed_tree() -> None:
    after = agree(column_sum(), [Privatise("total", "batch", 7)], exact=False)
    assert loops_of(after, "total", "vector") == ["batch_pair 3", "batch_pair 2"]


def test_storage_of_unknown_size_is_not_made_inside_of_parallel_turns() -> None:
    before = applied(classifier(), [Reorder("logits", ("digit", "batch"))])
    shared = apply(before, Parallel("logits", "digit"))
    agree(shared, [Privatise("logits", "unit", 2)], exact=False)
    tail = applied(
        dense(), [Reorder("product", ("unit", "batch")), Reorder("pre", ("unit", "batch"))]
    )
    united = applied(
        tail, [Fuse("product", "pre"), Fuse("product", "pre"), Parallel("product to pre", "unit")]
    )
    with pytest.raises(ScheduleError, match="of a size known only at run time in every turn"):
        apply(united, Reorder("product to pre", ("pixel", "batch")))


def test_kernels_are_shared_by_parts_equal_up_to_names_after_the_same_schedule() -> None:
    directives: list[Directive] = []
    for n in range(3):
        directives += [
            RegisterBlock(f"layer_{n}", (("batch", 2), ("other", 4)), lanes=True),
            Outline(f"layer_{n}", "layer"),
        ]
    after = agree(layers(), directives, exact=True)
    assert [k.name for k in after.kernels] == ["layer"]


def test_a_copy_is_made_before_the_outermost_statement_that_leaves_the_array_alone() -> None:
    fused = applied(dense(), [Fuse("product", "pre")])
    after = agree(fused, [Pack("product", "w", (1, 0))])
    assert [getattr(s, "name", "") for s in after.body][:2] == ["w_packed", "product to pre"]


def test_applying_twice_gives_equal_nests() -> None:
    directives = (Split("product", "batch", size=4), Reorder("product", ("unit", "batch_outer")))
    with pytest.raises(ScheduleError):
        applied(dense(), directives)
    good = (Split("product", "batch", size=4), RegisterBlock("product", (("unit", 4),)))
    assert applied(dense(), good) == applied(dense(), good)
