"""The default schedule: equal values, nothing computed twice, and nests that read as one wishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import pytest
from random_networks import Network

import symprop as prop
from codegen import interpret as program_interpreter
from codegen.index import Guard, Ix, evaluate
from codegen.loops.default import default, scheduled
from codegen.loops.directives import Pack, Reorder
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret
from codegen.loops.listing import listing
from codegen.loops.nest import Declare, For, Loops, Part, Stmt, Store
from codegen.loops.orders import contraction_order
from codegen.loops.schedule import applied
from codegen.loops.verify import verify
from codegen.loops.walk import inside
from codegen.program import Call, Load, Number, Program, walk
from tests.codegen.building import Building, at_least, where
from tests.codegen.schedules import agree, classifier, convolution, dense, weight_step

SEEDS = range(16)
WRITTEN = {
    "dense": dense(),
    "classifier": classifier(),
    "weights": weight_step(),
    "convolution": convolution(side=5, channel=2, features=3, pooled=True),
}


@cache
def network(seed: int) -> tuple[Program, dict[str, np.ndarray]]:
    """A random network's loss and gradients, and data."""
    n = Network(seed)
    made = prop.compile([n.loss, *prop.gradient(n.loss, n.wrt)]).program
    rng = np.random.default_rng(seed)
    given = {}
    for b in made.arguments:
        shape = tuple(evaluate(d, {}, {d.name: n.batch for d in made.dims}) for d in b.dims)
        if b.dtype == "bool":
            given[b.name] = rng.random(shape) < 0.6
        elif b.high is not None:
            given[b.name] = rng.integers(0, evaluate(b.high, {}, {}) + 1, size=shape)
        else:
            given[b.name] = rng.normal(size=shape)
    return made, given


@pytest.mark.parametrize("seed", SEEDS)
def test_random_networks_keep_every_bit(seed: int) -> None:
    made, given = network(seed)
    loops = scheduled(from_program(made))
    verify(loops)
    wanted = program_interpreter.interpret(made, given)
    for order in ("forward", "reversed"):
        for a, b in zip(interpret(loops, given, order), wanted, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", WRITTEN)
def test_programs_written_by_hand_keep_every_bit(name: str) -> None:
    agree(WRITTEN[name], default(WRITTEN[name]))


def every(loops: Loops) -> Iterator[Stmt]:
    yield from inside(loops.body)
    for kernel in loops.kernels:
        yield from inside(kernel.body)


def work(loops: Loops) -> Counter[str]:
    """How often each function stands in the nests."""
    scalars = (x for s in every(loops) if isinstance(s, Store) for x in walk(s.value))
    return Counter(x.function for x in scalars if isinstance(x, Call))


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_computed_twice(seed: int) -> None:
    plain = from_program(network(seed)[0])
    after = scheduled(plain)
    assert work(after) == work(plain)
    assert stores(after) == stores(plain)


def stores(loops: Loops) -> int:
    """How many values are computed: stores that are no copies and no starts of sums."""
    found = (s for s in every(loops) if isinstance(s, Store))
    return sum(not isinstance(s.value, Load | Number) for s in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_schedule_is_the_same_every_time_and_can_be_applied_again(seed: int) -> None:
    plain = from_program(network(seed)[0])
    first = scheduled(plain)
    assert default(plain) == first.schedule
    assert listing(applied(plain, first.schedule)) == listing(first)


@cache
def digits() -> Loops:
    """A training step of a small classifier, with Adam."""
    x = prop.input("x", "batch pixel=64")
    y = prop.labels("y", "batch", classes=10)
    net = prop.Sequential(prop.Dense(64, name="hidden"), prop.relu, prop.Dense(10, name="logits"))
    loss = prop.cross_entropy(net(x), y)
    return scheduled(from_program(prop.training_step(loss, prop.Adam(1e-3)).program))


def parts(stmts: Iterable[Stmt]) -> list[str]:
    return [s.name for s in stmts if isinstance(s, Part)]


def named(loops: Loops, name: str) -> Part:
    return next(s for s in every(loops) if isinstance(s, Part) and s.name == name)


def loop_names(where: Part) -> list[str]:
    return [s.name for s in inside(where.body) if isinstance(s, For)]


def test_a_training_step_is_a_nest_for_each_layer_and_direction() -> None:
    names = [n for n in parts(digits().body) if " to " in n]
    assert names == [
        "hidden_product to relu_hidden",
        "logits_product to grad_logits_bias",
        "d_relu_hidden to grad_hidden_bias",
        "grad_hidden_weight to v_hidden_weight",
        "grad_logits_weight to v_logits_weight",
        "new_m_hidden_bias to v_hidden_bias",
        "new_m_logits_bias to v_logits_bias",
    ]


def test_the_loss_of_a_sample_is_computed_in_one_turn_with_registers() -> None:
    nest = named(digits(), "logits_product to grad_logits_bias")
    local = {s.array.name: len(s.array.dims) for s in inside((nest,)) if isinstance(s, Declare)}
    assert local["max_logits"] == local["sum_exp_logits"] == local["d_sum_exp_logits"] == 0
    assert local["exp_logits"] == local["logits"] == 1
    assert "acc_max_logits" not in local  # it is the local itself


def test_a_product_with_transposed_weights_reads_a_copy_in_order() -> None:
    nest = named(digits(), "hidden_product")
    assert loop_names(nest) == ["hidden", "pixel", "hidden"]
    text = listing(digits())
    assert "hidden_product[hidden] += x[batch, pixel] * hidden_weight_packed[pixel, hidden]" in text


def test_the_gradient_of_a_bias_is_added_up_beside_the_delta() -> None:
    nest = named(digits(), "d_relu_hidden to grad_hidden_bias")
    assert parts(inside((nest,)))[-2:] == ["d_hidden", "grad_hidden_bias"]
    assert "grad_hidden_bias[hidden] += d_hidden[batch, hidden]" in listing(digits())


def test_weights_and_their_moments_are_updated_in_one_pass_over_the_gradient() -> None:
    nest = named(digits(), "grad_hidden_weight to v_hidden_weight")
    assert loop_names(nest) == ["hidden", "pixel", "batch", "pixel", "pixel"]


def order_of(op: str, value: str) -> tuple[object, ...]:
    """The directives for y[i, j] = sum over k of a product, by the axes of its operands."""
    p = Building("f", dtype="float64", i=20, j=12, k=16, batch=None)
    left, right = value.split("*")
    a, b = p.declare("a", " ".join(left)), p.declare("b", " ".join(right))

    def body(*at: object) -> object:
        loops = dict(zip("ijk", at, strict=True))
        return a[tuple(loops[c] for c in left)] * b[tuple(loops[c] for c in right)]

    p.step("y", "i j", op, body)
    (only,) = from_program(p.done("y")).body
    assert isinstance(only, Part)
    return contraction_order(only)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ik*kj", (Reorder("y", ("i", "k", "j")),)),
        ("ik*jk", (Pack("y", "b", (1, 0)), Reorder("y", ("i", "k", "j")))),
        ("ki*kj", (Reorder("y", ("i", "k", "j")),)),
        ("ki*jk", (Pack("y", "b", (1, 0)), Reorder("y", ("i", "k", "j")))),
        ("ikj*k", (Reorder("y", ("i", "k", "j")),)),
        ("ijk*k", ()),  # transposing what is read once costs more than it gives
    ],
)
def test_sums_run_along_the_last_axis_of_their_target(
    value: str, expected: tuple[object, ...]
) -> None:
    assert order_of("sum k", value) == expected


def test_a_short_axis_is_left_alone() -> None:
    assert contraction_order(dense(unit=3).body[0]) == ()  # type: ignore[arg-type]
    assert contraction_order(dense(unit=4).body[0]) != ()  # type: ignore[arg-type]


def test_an_image_is_summed_along_its_rows_within_its_borders() -> None:
    p = Building("f", dtype="float64", batch=None, feature=2, row=6, column=6, ky=3, kx=3)
    x, w = p.declare("x", "batch row column"), p.declare("w", "feature ky kx")

    def inside_of(n: Ix, f: Ix, r: Ix, c: Ix, u: Ix, v: Ix) -> tuple[Guard, ...]:
        ends = [(r + u, p.axes["row"]), (c + v, p.axes["column"])]
        return where(*(g for at, n in ends for g in (at_least(at, 1), at_least(n, at))))

    y = p.step(
        "y", "batch feature row column", "sum ky kx",
        lambda n, f, r, c, u, v: x[n, r + u - 1, c + v - 1] * w[f, u, v], guards=inside_of,
    )  # fmt: skip
    plain = from_program(p.done(y))
    text = listing(agree(plain, default(plain)))
    assert "for max(0, 1 - kx) <= column < min(6, 7 - kx):\n" in text
    assert "where" not in text
