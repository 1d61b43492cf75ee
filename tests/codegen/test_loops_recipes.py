"""What a fast native step is made of, by directives alone, each equal to the plain nests.

A back end that has vectors and registers finds here everything it asks of the loop language: tiles
of accumulators with balanced remainders, sums that start from a bias, epilogues over a tile or a
complete row, reductions cut in pieces, convolutions in a blocked layout, private copies added in a
fixed tree, kernels shared by equal layers.
"""

from __future__ import annotations

from codegen.loops.directives import (
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
    RegisterBlock,
    Reorder,
    Split,
    Vectorise,
)
from codegen.loops.listing import listing
from codegen.loops.nest import Loops
from tests.codegen.schedules import (
    agree,
    classifier,
    convolution,
    dense,
    filter_gradient,
    layers,
    loops_of,
    weight_step,
)


def shown(loops: Loops, part: str, end: str = "\n\n") -> str:
    """The lines of one part, without indentation."""
    text = listing(loops)
    start = text.index(f"part {part}:")
    return "\n".join(line.strip() for line in text[start : text.index(end, start)].splitlines())


def forward(name: str) -> list[Directive]:
    """A dense layer: the bias starts the sums, ReLU is the epilogue of the tile."""
    return [
        Epilogue("product", "pre"),
        Localise("product", "product"),
        Epilogue("product", "hidden"),
        Localise("product", "pre"),
        Init("product", "b"),
        Pack("product", "w", (1, 0)),
        RegisterBlock("product", (("batch", 13), (name, 16)), lanes=True),
    ]


def test_a_dense_layer_runs_in_tiles_of_rows_and_lanes() -> None:
    after = agree(dense(batch=65, pixel=3, unit=32), forward("unit"), exact=False)
    assert loops_of(after, "product")[:2] == ["batch_outer 5", "unit_outer 2"]
    assert loops_of(after, "product", "unroll") == ["batch_inner 13"] * 3
    assert loops_of(after, "product", "vector") == ["unit_inner 16"] * 3
    lines = shown(after, "product")
    assert "product[batch_inner, unit_inner] = b[16*unit_outer + unit_inner]" in lines
    assert "= maximum(pre, 0)" in lines
    assert [b.name for b in after.arrays if b.role == "scratch"] == ["hidden", "w_packed"]


def test_a_dense_layer_of_a_free_batch_has_whole_tiles_and_single_rows() -> None:
    after = agree(dense(pixel=3), forward("unit"), batches=(1, 13, 15), exact=False)
    found = loops_of(after, "product")
    assert found[0] == "batch_outer (batch)//13"
    assert "batch_rest (batch)%13" in found


def united() -> list[Directive]:
    """A weight gradient and the step of momentum that uses it, as one nest over the weights."""
    one = "gradient to w"
    fused = [Fuse("gradient", "m")] * 2 + [Fuse("gradient to m", "w")] * 2
    return [
        Epilogue("gradient", "new_m"),
        Epilogue("gradient", "new_w"),
        *fused,
        *(Localise(one, name) for name in ("gradient", "new_m", "new_w")),
    ]


def test_an_optimizer_is_the_rolled_epilogue_of_a_tile_of_the_gradient() -> None:
    tile = RegisterBlock("gradient to w", (("unit", 13), ("pixel", 16)), lanes=True, rolled=True)
    after = agree(weight_step(), [*united(), tile])
    assert "gradient_tile[unit_inner, pixel_inner] = gradient[unit_inner, pixel_inner]" in shown(
        after, "gradient to w"
    )
    assert loops_of(after, "gradient to w", "serial").count("unit_inner 13") == 2
    assert not [b for b in after.arrays if b.role == "scratch"]


def test_a_weight_gradient_adds_pieces_of_the_batch_into_a_slice_that_stays_in_cache() -> None:
    order = ("unit_outer", "batch_outer", "unit_inner", "pixel", "batch_inner")
    after = agree(
        weight_step(),
        [
            *united(),
            Split("gradient to w", "unit", size=13),
            Split("gradient to w", "batch", size=4),
            Reorder("gradient to w", order),
            RegisterBlock("gradient to w", (("unit_inner", 13), ("pixel", 16)), lanes=True),
            Vectorise("gradient to w", "pixel"),
        ],
        batches=(1, 9),
        exact=False,
    )
    lines = shown(after, "gradient to w")
    assert "gradient : float64[unit_inner=13, pixel=16]" in lines
    assert "gradient[unit_inner_inner, pixel_inner] += sum_gradient" in lines
    assert loops_of(after, "gradient to w", "vector").count("pixel 16") == 3


def softmax() -> list[Directive]:
    """Logits to shares as one loop over the batch, with a row of each as locals."""
    parts = ("top", "weight", "total", "share")
    firsts = ("logits", *(f"logits to {p}" for p in parts[:-1]))
    fused = [Fuse(a, b) for a, b in zip(firsts, parts, strict=True)]
    return [
        *fused,
        *(Localise("logits to share", a) for a in ("logits", "top", "weight", "total")),
    ]


def test_softmax_is_an_epilogue_over_complete_rows_of_a_tile() -> None:
    tile = RegisterBlock("logits to share", (("batch", 4), ("digit", 10)), lanes=True)
    after = agree(classifier(batch=8), [*softmax(), tile])
    lines = shown(after, "logits to share")
    assert "logits : float64[batch_inner=4, digit=10]" in lines
    assert "acc_logits : float64[batch_inner=4, digit_inner=10]" in lines
    assert [b.name for b in after.arrays if b.role == "scratch"] == ["share"]


def test_the_lanes_of_a_softmax_can_be_the_rows() -> None:
    tile = RegisterBlock("logits to share", (("batch", 4),), lanes=True)
    after = agree(classifier(), [*softmax(), tile], batches=(3, 9))
    kinds = loops_of(after, "logits to share", "vector")
    assert set(kinds) == {"batch_inner 4"}
    lines = shown(after, "logits to share")
    assert "logits : float64[digit=10, batch_inner=4]" in lines  # a row's lanes side by side
    assert "top[batch_inner] max= logits[digit, batch_inner]" in lines


def pooling() -> list[Directive]:
    """A convolution and its pooling as one nest over windows, the image a tile of 2 x 2."""
    order = ("n", "row_outer", "column_outer", "feature", "row_inner", "column_inner")
    return [
        Split("image", "row", size=2),
        Split("image", "column", size=2),
        Reorder("image", order),
        Layout("image", (0, 1, 3, 5, 2, 4), blocks=((1, 2), (2, 2))),
        *[Fuse("image", "pool")] * 4,
        Localise("image to pool", "image"),
    ]


def test_a_pooling_window_is_the_tile_of_its_convolution() -> None:
    tile = (("feature", 2), ("row_inner", 2), ("column_inner", 2))
    after = agree(
        convolution(pooled=True), [*pooling(), RegisterBlock("image to pool", tile)], batches=(2,)
    )
    lines = shown(after, "image to pool")
    assert "image : float64[feature_inner=2, row_inner=2, column_inner=2]" in lines
    assert [b.name for b in after.arrays if b.role == "scratch"] == ["pool"]


def test_borders_are_loops_bounded_at_run_time() -> None:
    order = ("n", "row", "column", "ky", "kx", "channel", "feature")
    after = agree(convolution(), [Reorder("image", order), Vectorise("image", "feature")])
    lines = shown(after, "image")
    assert "for max(0, 1 - row) <= ky < min(3, 7 - row):" in lines
    assert "where" not in lines


def test_the_inside_of_an_image_is_tiled_and_its_border_is_not() -> None:
    after = agree(
        convolution(),
        [
            Cut("image", "row", (1, -1)),
            Cut("image row_1", "column", (1, -1)),
            RegisterBlock("image row_1 column_1", (("column_1", 4), ("feature", 4)), lanes=True),
        ],
    )
    assert loops_of(after, "image row_1 column_1") == [
        *("column_1_inner 4", "feature_inner 4", "ky 3", "kx 3", "channel 3"),
        *("column_1_inner 4", "feature_inner 4") * 2,
    ]
    assert loops_of(after, "image row_0", "unroll") == []


def test_images_lie_in_blocks_whose_lanes_are_images() -> None:
    order = ("n_outer", "row", "column", "feature", "n_inner")
    after = agree(
        convolution(pooled=True),
        [
            Split("image", "n", size=4),
            Reorder("image", order),
            Pack("image", "x", (0, 2, 3, 4, 1), blocks=((0, 4),)),
            Pad("image", 0, multiple=4),
            Layout("image", (0, 2, 3, 4, 1), blocks=((0, 4),)),
            RegisterBlock("image", (("feature", 2), ("n_inner", 4)), lanes=True),
        ],
        batches=(1, 6),
    )
    assert [repr(d) for d in after.array("x_packed").dims] == ["(n + 3)//4", "6", "6", "3", "4"]
    lines = shown(after, "image")
    assert "where" not in lines
    assert "{" not in lines  # no lane of a read is masked


def test_a_filter_gradient_runs_in_lanes_along_its_sum() -> None:
    order = ("ky", "kx", "channel", "feature", "n_inner", "n_outer", "row", "column")
    after = agree(
        filter_gradient(batch=8),
        [
            Split("gradient", "n", size=4),
            Reorder("gradient", order),
            Privatise("gradient", "n_inner", 4),
            Reorder("gradient", ("n_outer", "row", "column", "n_inner_part")),
            Pack("gradient", "x", (0, 1, 2, 3)),
            Pad("x_packed", 1, before=1, after=1),
            Pad("x_packed", 2, before=1, after=1),
            Layout("x_packed", (0, 2, 3, 4, 1), blocks=((0, 4),)),
            Pack("gradient", "d", (0, 2, 3, 4, 1), blocks=((0, 4),)),
            Vectorise("gradient", "n_inner_part"),
            RegisterBlock("gradient", (("channel", 6), ("feature", 4))),
        ],
        exact=False,
    )
    lines = shown(after, "gradient")
    wide = "acc_gradient_parts : float64[channel_inner=6, feature_inner=4, n_inner_part=4]"
    assert wide in lines
    assert "where" not in lines
    assert "{" not in lines


def test_a_parallel_sum_has_private_copies_and_a_fixed_tree() -> None:
    after = agree(
        weight_step(unit=3, pixel=4),
        [
            Split("gradient", "batch", size=3),
            Reorder("gradient", ("batch_outer", "unit", "pixel", "batch_inner")),
            Privatise("gradient", "batch_outer", 4),
            Reorder("gradient", ("batch_outer_part", "batch_outer_turn")),
            Parallel("gradient", "batch_outer_part"),
            RegisterBlock("gradient", (("unit", 3), ("pixel", 4)), lanes=True),
        ],
        batches=(1, 30),
        exact=False,
    )
    assert loops_of(after, "gradient", "parallel") == ["batch_outer_part 4"] * 2
    lines = shown(after, "gradient")
    assert "gradient_parts[0, unit, pixel] += gradient_parts[1, unit, pixel]" in lines


def test_workers_own_columns_of_the_weights_that_they_also_update() -> None:
    after = agree(
        weight_step(unit=8),
        [
            *united(),
            Split("gradient to w", "unit", parts=2),
            Parallel("gradient to w", "unit_outer"),
            RegisterBlock("gradient to w", (("unit_inner", 4), ("pixel", 16)), lanes=True),
        ],
    )
    assert loops_of(after, "gradient to w", "parallel") == ["unit_outer 2"]


def test_equal_layers_share_one_kernel() -> None:
    directives: list[Directive] = []
    for n in range(3):
        directives += [
            Pack(f"layer_{n}", f"w_{n}", (1, 0)),
            RegisterBlock(f"layer_{n}", (("batch", 4), ("other", 4)), lanes=True),
            Outline(f"layer_{n}", "layer"),
        ]
    after = agree(layers(), directives)
    assert [k.name for k in after.kernels] == ["layer"]
    assert "layer(layer_0, w_1_packed, layer_1)" in listing(after)
