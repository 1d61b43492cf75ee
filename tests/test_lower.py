"""Lowering: what a value's formula becomes, names, order, updates, scatters, sub-programs."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import symprop as prop
from codegen.index import loop
from codegen.listing import listing, spell_scalar
from codegen.program import Assign, Block, Cast, Load, Program, walk
from codegen.verify import verify
from symprop import term as t
from symprop.expand import fold
from symprop.lower import lower
from symprop.ops.declare import REGISTRY
from symprop.pipeline import Work, run
from symprop.scalars import Place, Reads, scalar
from symprop.settle import settled
from symprop.walk import topological

# --- formulas ------------------------------------------------------------------------------------


def spelled(term: t.Term, kinds: str = "fff", groups: tuple[int, ...] = (1, 1, 1)) -> str:
    """A formula over x, y, z of the kinds (f: float32, i: int64, b: bool), in float32."""
    i = loop(0, 4)
    names = "xyz"[: len(kinds)]
    words: dict[str, Any] = {"f": "float32", "i": "int64", "b": "bool"}
    reads = Reads(
        [Load(n, (i.ix(),)) for n in names],
        [words[k] for k in kinds],
        [Place(g, n, False) for n, g in enumerate(groups[: len(kinds)])],
    )
    return spell_scalar(scalar(term, reads, "float32", "float32"), {i: "i"}).replace("[i]", "")


X, Y, Z = t.read(0), t.read(1), t.read(2)
EXP = prop.exp.function


@pytest.mark.parametrize(
    ("term", "text"),
    [
        (X + Y, "x + y"),
        (Y - X, "y - x"),
        (-X - Y, "-x - y"),
        (1 - X, "1 - x"),
        (X - 1, "x - 1"),
        (X / Y, "x / y"),
        (1 / X, "1 / x"),
        (X / (Y * Z), "x / (z * y)"),
        (t.num(Fraction(1, 32)) * X, "x / 32"),
        (t.num(Fraction(1, 3)) * X, "x / 3"),
        (t.num(Fraction(1, 10)) * X, "0.1 * x"),
        (t.num(Fraction(2, 3)) * X, "2 * x / 3"),
        (t.num(Fraction(-1, 2)) * (X - Y), "-(x - y) / 2"),
        (X**2 + Y, "x**2 + y"),
        (t.call(EXP, X - Y) / Z, "exp(x - y) / z"),
        (t.select(t.call(t.LT, t.num(0), X), X, 0), "select(x > 0, x, 0)"),
        (t.call(prop.relu.function, X), "maximum(x, 0)"),
        (t.call(prop.silu.function, X), "x * sigmoid(x)"),
        (t.neg(t.call(t.INFINITY)), "-inf"),
    ],
)
def test_formulas_read_as_written(term: t.Term, text: str) -> None:
    assert spelled(term) == text


def test_parameters_come_last_and_states_first() -> None:
    assert spelled(X + Y, groups=(2, 1, 1)) == "y + x"  # x is the bias
    assert spelled(X * Y, groups=(2, 1, 1)) == "y * x"  # x is the weight
    assert spelled(t.num(Fraction(9, 10)) * Y + t.num(Fraction(1, 10)) * X, groups=(1, 0, 1)) == (
        "0.9 * y + 0.1 * x"
    )


def test_integers_that_meet_floats_are_cast() -> None:
    assert spelled(X * Y, "if") == "y * float32(x)"
    assert spelled(X * Y, "bf") == "y * float32(x)"
    assert spelled(X + Y, "ii") == "float32(x + y)"
    assert spelled(t.select(t.call(t.EQ, X, Y), 1, 0), "ii") == "select(x == y, 1, 0)"


def test_constants_are_folded_to_forty_digits() -> None:
    root = t.call(prop.sqrt.function, t.call(t.PI))
    exact = fold(root)
    assert exact is not None
    assert abs(float(exact) - np.sqrt(np.pi)) < 1e-15
    assert spelled(X * 2 / root) == "1.1283791670955126 * x"


# --- programs ------------------------------------------------------------------------------------


def lowered(*outputs: Any, updates: Any = (), dtype: Any = "float64") -> Program:
    """The program of the expressions without the simplifier; it verifies."""
    roots = settled([o.node for o in outputs])
    program = lower([("", n) for n in roots], [(s.node, v.node) for s, v in updates], dtype)
    verify(program)
    return program


def test_an_op_in_double_rounds_once_and_leaves_its_argument_alone() -> None:
    softsign = prop.softsign.function
    own = spelled(t.call(softsign, X * Y))
    assert own == "float32(float64(y * x) / (abs(float64(y * x)) + 1))"
    assert spelled(t.call(softsign, t.num(3))) == "0.75"


def test_no_part_of_an_op_in_double_is_a_value() -> None:
    program = lowered(REGISTRY["gaussian"](prop.input("x", "n")))
    assert len(program.steps) == 1


def buffers(program: Program) -> dict[str, str]:
    return {b.name: b.role for b in program.buffers}


def test_arguments_are_in_the_order_of_use_by_role() -> None:
    w, b = prop.parameter("layer.w", (2, 3), np.ones((2, 3))), prop.parameter("layer.b", 2, 0.0)
    x, rate, s = prop.input("x", "batch f=3"), prop.scalar("rate", 0.1), prop.state("s", 2)
    program = lowered(rate * ((x @ w.T + b) + s))
    assert [a.name for a in program.arguments] == ["x", "rate", "layer_w", "layer_b", "s"]
    assert [a.label for a in program.arguments] == ["x", "rate", "layer.w", "layer.b", "s"]
    assert [a.role for a in program.arguments][1:] == ["scalar", "parameter", "parameter", "state"]


def test_names_say_what_values_are() -> None:
    x = prop.input("logits", "batch kind=3")
    program = lowered(prop.softmax(x).named("p"))
    names = [b.name for b in program.buffers]
    assert names == ["logits", "max_logits", "exp_logits", "sum_exp_logits", "total", "p"]


def test_a_name_may_be_that_of_a_dimension_or_of_a_builtin() -> None:
    batch, other = prop.input("batch", "batch"), prop.input("sum", "len")
    program = lowered(batch * 2, other + 1)
    assert [d.name for d in program.dims] == ["batch", "len_"]
    assert [a.label for a in program.arguments] == ["batch", "sum"]
    f = prop.compile([batch * 2, other + 1], dtype="float64")
    first, second = f({"batch": np.arange(2.0), "sum": np.arange(3.0)})
    np.testing.assert_array_equal(first, [0, 2])
    np.testing.assert_array_equal(second, [1, 2, 3])


def test_a_dimension_declared_twice_differently_is_refused() -> None:
    one, two = prop.Dim("batch"), prop.Dim("batch", lower=2)
    x, y = prop.input("x", (one,)), prop.input("y", (two,))
    with pytest.raises(prop.DeclarationError, match="'batch'"):
        lowered(x, y)


def test_equal_regions_are_one_sub_program() -> None:
    x = prop.input("x", "batch f=3")
    ws = [prop.parameter(f"w{k}", (3, 3), np.ones((3, 3))) for k in range(3)]
    block = prop.region("block")(lambda v, w: prop.tanh(v @ w.T))
    h = x
    for w in ws:
        h = block(h, w)
    calls = [s for s in lowered(h).steps if isinstance(s, Block)]
    assert len(calls) == 3
    assert all(c.body is calls[0].body for c in calls)
    assert [a.name for a in calls[0].body.arguments] == ["v", "w"]


def test_an_embedding_gradient_costs_its_tokens() -> None:
    table = prop.parameter("table", (1000, 4), np.zeros((1000, 4)))
    ids = prop.labels("ids", "batch", classes=1000)
    g = prop.gradient(prop.sum(prop.exp(prop.embedding(table, ids))), table)
    program = lowered(g)
    (step,) = [s for s in program.steps if isinstance(s, Assign) and s.target == "grad_table"]
    assert [item.extent.value for item in step.loops if item.extent.value] == [4]
    assert "grad_table[ids[batch], j]" in listing(program)


def test_what_is_read_transposed_is_made_transposed() -> None:
    a, b = prop.input("a", (2, 3)), prop.input("b", (3, 4))
    product = lowered(prop.exp((a @ b).T)).steps[0]
    assert isinstance(product, Assign)
    assert [item.extent.value for item in product.loops] == [4, 2, 3]


def test_a_repeated_formula_is_computed_once() -> None:
    x = prop.input("x", 3)
    node = prop.exp(x + 1) * prop.sin(prop.exp(x + 1)) + prop.exp(x + 1)
    work, _ = run(Work((("y", node.node),), (), "float64", "numpy", "f"))
    assert work.emitted is not None
    assert work.emitted.source.count("np.exp") == 1


def test_sizes_stay_python_integers_and_float32_stays_float32() -> None:
    x = prop.input("x", "batch f=3")
    y = prop.labels("y", "batch", classes=3)
    place = prop.index(3)
    n = prop.size(x, 0)
    outs = [
        prop.mean(x), x * place, x / n, prop.sqrt(n) * x, prop.where(y == 1, 1.0, 0.0),
        x * (x > 0), prop.where(x > 0, n, 2) * x, prop.sum(y) * x[0, 0], prop.power(0.9, n) * x,
        prop.where(y == 1, 1, 0) / 2, n * 1.0,
    ]  # fmt: skip
    values = {"x": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), "y": np.array([0, 1])}
    single = prop.compile(outs, dtype="float32")(values)
    double = prop.compile(outs, dtype="float64")(values)
    assert [a.dtype for a in single] == [np.dtype("float32")] * len(outs)
    for a, b in zip(single, double, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_explicit_widths_meet_by_casts() -> None:
    a = prop.input("a", 3, dtype="float64")
    b = prop.input("b", 3)
    both = a * b
    assert both.dtype == "float64"
    program = lowered(both, both.astype("float"), dtype="float32")
    casts = [x.dtype for s in program.steps if isinstance(s, Assign)
             for x in walk(s.body) if isinstance(x, Cast)]  # fmt: skip
    assert casts == ["float64", "float32"]


# --- updates -------------------------------------------------------------------------------------


def updated(outputs: list[Any], updates: list[Any], **values: Any) -> tuple[list[Any], Any]:
    """(outputs, arrays after the updates) of one run of the compiled program."""
    from symprop.function import compile_program

    compiled = compile_program(outputs, updates, dtype="float64")
    arrays = {leaf.name: np.array(values[leaf.name], float) for leaf in compiled.inputs}
    return list(compiled.call(arrays)), arrays


def test_an_update_read_nowhere_else_is_in_place() -> None:
    p, g = prop.parameter("p", 3, 0.0), prop.input("g", 3)
    program = lowered(updates=[(p, p - g)])
    assert buffers(program) == {"g": "input", "p": "parameter"}
    assert program.updates == ("p",)


def test_a_value_read_elsewhere_is_computed_aside() -> None:
    p, m, g = prop.parameter("p", 2, 0.0), prop.state("m", 2), prop.input("g", 2)
    new = 0.9 * m + g
    program = lowered(updates=[(m, new), (p, p - new)])
    assert "new_m" in buffers(program)
    _, after = updated([], [(m, new), (p, p - new)], g=[1, 2], m=[10, 20], p=[0, 0])
    np.testing.assert_allclose(after["m"], [10, 20])
    np.testing.assert_allclose(after["p"], [-10, -20])


def test_updates_are_simultaneous() -> None:
    a, b, c = (prop.state(n, 2) for n in "abc")
    _, after = updated([], [(a, b), (b, a)], a=[1, 2], b=[3, 4])
    np.testing.assert_array_equal(after["a"], [3, 4])
    np.testing.assert_array_equal(after["b"], [1, 2])
    _, after = updated([], [(a, a + b), (b, a * b), (c, a)], a=[1, 2], b=[3, 4], c=[0, 0])
    np.testing.assert_array_equal(after["a"], [4, 6])
    np.testing.assert_array_equal(after["b"], [3, 8])
    np.testing.assert_array_equal(after["c"], [1, 2])


def test_old_and_new_value_may_both_be_read() -> None:
    p, v, g = prop.parameter("p", 2, 0.0), prop.state("v", 2), prop.input("g", 2)
    new = 0.5 * v - g
    nesterov = p + 2 * new - v
    _, after = updated([], [(v, new), (p, nesterov)], g=[1, 2], v=[4, 8], p=[0, 0])
    np.testing.assert_array_equal(after["v"], [1, 2])
    np.testing.assert_array_equal(after["p"], [-2, -4])


def test_an_update_that_reads_other_elements_is_not_in_place() -> None:
    s = prop.state("s", 3)
    _, after = updated([], [(s, prop.flip(s, 0))], s=[1, 2, 3])
    np.testing.assert_array_equal(after["s"], [3, 2, 1])
    _, after = updated([], [(s, prop.cumsum(s, 0))], s=[1, 2, 3])
    np.testing.assert_array_equal(after["s"], [1, 3, 6])


def test_outputs_are_old_values() -> None:
    s, x = prop.state("s", 2), prop.input("x", 2)
    new = s + x
    outs, after = updated([s, new, s * 2], [(s, new)], s=[1, 2], x=[10, 10])
    np.testing.assert_array_equal(outs[0], [1, 2])
    np.testing.assert_array_equal(outs[1], [11, 12])
    np.testing.assert_array_equal(outs[2], [2, 4])
    np.testing.assert_array_equal(after["s"], [11, 12])


def test_one_value_may_update_two_states() -> None:
    a, b, x = prop.state("a", 2), prop.state("b", 2), prop.input("x", 2)
    new = x * 3
    _, after = updated([], [(a, new), (b, new)], a=[0, 0], b=[0, 0], x=[1, 2])
    np.testing.assert_array_equal(after["a"], [3, 6])
    np.testing.assert_array_equal(after["b"], [3, 6])


def test_lowering_keeps_the_graph() -> None:
    x = prop.input("x", "batch f=3")
    value = prop.softmax(x @ prop.input("w", (3, 3)))
    before = [n.digest for n in topological([value.node])]
    lowered(value)
    assert [n.digest for n in topological([value.node])] == before


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_function_of_a_constant_pole_is_infinite(backend: str) -> None:
    x = prop.input("x", "point")
    run = prop.compile([prop.digamma(x - x) + 0 * x, prop.lgamma(x - x)], backend=backend)
    assert [a.tolist() for a in run(x=np.ones(1))] == [[-np.inf], [np.inf]]
