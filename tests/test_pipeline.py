"""The pipeline: its passes, what they record, functions of arrays, updates, initial values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import symprop as prop
from codegen.build import build
from symprop import backends
from symprop.backends import Text
from symprop.errors import (
    DataError,
    DeclarationError,
    ShapeError,
    UnsupportedError,
    VerificationError,
)
from symprop.function import compile_program
from symprop.graph import At, Reduce
from symprop.make import make
from symprop.pipeline import PASSES, Pass, Work, collect_updates
from symprop.verify import check_graph, check_passes


def network() -> tuple[Any, list[Any], dict[str, np.ndarray]]:
    """A small classifier's loss, its parameters, and values for all leaves."""
    x = prop.input("x", "batch f=3")
    y = prop.labels("y", "batch", classes=2)
    net = prop.Sequential(prop.Dense(4, name="hidden"), prop.tanh, prop.Dense(2, name="logits"))
    loss = prop.cross_entropy(net(x), y)
    values = prop.initial_values([loss], seed=1, dtype="float64")
    rng = np.random.default_rng(0)
    values |= {"x": rng.normal(size=(5, 3)), "y": rng.integers(0, 2, 5)}
    return loss, list(net.parameters.values()), values


# --- passes --------------------------------------------------------------------------------------


def test_the_pass_list_reads_from_top_to_bottom() -> None:
    names = [p.name for p in PASSES]
    known = "describe collect stabilise simplify settle lower verify emit"
    assert names == known.split()
    assert all(p.guarantee for p in PASSES)


def test_what_each_pass_did_is_recorded() -> None:
    loss, weights, _ = network()
    compiled = compile_program([loss, *prop.gradient(loss, weights)])
    assert [s.name for s in compiled.stages] == [p.name for p in PASSES[:-1]]  # text: when asked
    (simplify,) = (s for s in compiled.stages if s.name == "simplify")
    assert 0 < simplify.after < simplify.before
    assert compiled.stages[-1].after == len(compiled.program.steps)


def test_no_pass_changes_a_value() -> None:
    loss, weights, values = network()
    gradients = prop.gradient(loss, weights)
    slot = prop.state("slot", weights[0].shape)
    updates = [(weights[0], weights[0] - 0.1 * gradients[0] - slot), (slot, 0.5 * slot)]
    values["slot"] = np.ones(weights[0].shape)
    work = check_passes([loss, *gradients], values, updates)
    assert work.emitted is not None
    assert work.emitted.source


def broken(work: Work) -> Work:
    """A pass that adds 1 to the second root."""

    def changed(node: Any) -> Any:
        at = At(node, tuple(item.ix() for item in node.loops[: node.nout]))
        loops = node.loops[: node.nout]
        from symprop import term as t

        return make("sum", loops, len(loops), (), t.read(0) + 1, [at], node.dtype)

    roots = work.roots
    assert isinstance(roots[1], Reduce)
    return work.with_roots([roots[0], changed(roots[1]), *roots[2:]])


def test_the_first_pass_that_changed_a_value_is_named() -> None:
    loss, weights, values = network()
    gradients = prop.gradient(loss, weights)
    passes = [*PASSES[:3], Pass("break", broken, ""), *PASSES[3:]]
    with pytest.raises(VerificationError, match=r"the pass break changed grad_hidden\.weight"):
        check_passes([loss, *gradients], values, passes=passes)


def test_a_broken_emitter_is_found() -> None:
    x = prop.input("x", 3)

    def emit(work: Work) -> Work:
        work = PASSES[-1].apply(work)
        assert work.emitted is not None
        text = work.emitted.source.replace("np.exp", "np.log")
        return replace(work, emitted=Text(text, "function", build))

    passes = [*PASSES[:-1], Pass("emit", emit, "")]
    with pytest.raises(VerificationError, match="the pass emit changed y"):
        check_passes([prop.exp(x).named("y")], {"x": np.ones(3)}, passes=passes)


def test_graphs_are_checked() -> None:
    loss, weights, _ = network()
    check_graph([loss.node, *(g.node for g in prop.gradient(loss, weights))])
    node = prop.exp(prop.input("x", 3)).node
    assert isinstance(node, Reduce)
    other = Reduce()
    for word in ("op", "loops", "nout", "guards", "body", "reads", "dtype", "accumulator"):
        setattr(other, word, getattr(node, word))
    other.dims, other.digest, other._operands = node.dims, node.digest, node._operands
    with pytest.raises(VerificationError, match="not canonical"):
        check_graph([other])


def test_the_header_says_what_was_declared() -> None:
    x = prop.input("x", "batch pixel=4")
    y = prop.labels("y", "batch", classes=3)
    net = prop.Sequential(prop.Dense(2, name="hidden"), prop.relu, prop.Dense(3, name="logits"))
    loss = prop.cross_entropy(net(x), y).named("loss")
    step = prop.training_step(loss, prop.SGD(0.1))
    doc = step.program.doc.splitlines()
    assert "hidden = x @ hidden_weight.T + hidden_bias" in doc
    assert "logits = relu(hidden) @ logits_weight.T + logits_bias" in doc
    assert "loss = mean(logsumexp(logits) - logits[y])" in doc
    (line,) = [line for line in doc if line.startswith("operations")]
    assert "*batch + " in line


def test_counts_are_exact() -> None:
    x, w = prop.input("x", "batch f=3"), prop.input("w", (3, 2))
    program = prop.compile(x @ w, dtype="float32").program
    assert "operations: 12*batch" in program.doc  # a product and an addition a point


# --- functions of arrays -------------------------------------------------------------------------


def test_one_output_or_several() -> None:
    x = prop.input("x", 2)
    one, listed = prop.compile(x + 1), prop.compile([x + 1])
    np.testing.assert_array_equal(one(x=[1, 2]), [2, 3])
    (only,) = listed({"x": [1, 2]})
    assert only.dtype == np.float32
    assert one.inputs == ["x"]
    assert one.program is one.compiled.program
    assert "np" in one.source()
    with pytest.raises(DataError, match="not both"):
        one({"x": [1, 2]}, x=[1, 2])


def test_what_an_output_shares_with_an_input_is_copied() -> None:
    x = prop.input("x", 2)
    array = np.ones(2, np.float32)
    out = prop.compile(x)({"x": array})
    out[0] = 5
    assert array[0] == 1


def test_names_of_the_function_and_of_outputs_that_repeat() -> None:
    x = prop.input("function", 2)
    f = prop.compile([x * 2, x * 2], name="function")
    first, second = f({"function": [1, 2]})
    np.testing.assert_array_equal(first, second)


def test_what_does_not_exist_is_refused() -> None:
    x = prop.input("x", 2)
    with pytest.raises(UnsupportedError, match=r"'fortran'.*'numpy'"):
        prop.compile(x, backend="fortran")
    with pytest.raises(UnsupportedError, match="'int8'"):
        prop.compile(x, dtype="int8")
    with pytest.raises(DeclarationError, match="expressions"):
        prop.compile([x, "x"])  # type: ignore[list-item]
    with pytest.raises(DeclarationError, match="state"):
        compile_program([x], [(x, x + 1)])


def test_two_variables_of_one_name_are_refused_with_both_places() -> None:
    first = prop.input("height", 3)
    second = prop.parameter("height", 3, 0.0)
    with pytest.raises(DeclarationError, match=r"'height'.*test_pipeline\.py.*test_pipeline\.py"):
        prop.compile(first + second)


# --- updates -------------------------------------------------------------------------------------


def test_marks_become_updates() -> None:
    x, seen = prop.input("x", "batch"), prop.state("seen", ())
    marked = prop.update(prop.sum(x), seen, seen + 1)
    (root,), updates = collect_updates([(marked * 2).node])
    assert len(updates) == 1
    assert updates[0][0] is seen.node
    assert all("update" not in str(getattr(n, "atom", "")) for n in [root])
    f = prop.compile(marked * 2, dtype="float64")
    state = np.zeros(())
    assert f({"x": [1.0, 2.0], "seen": state}) == 6
    assert f({"x": [1.0, 2.0], "seen": state}) == 6
    assert state == 2
    with pytest.raises(DataError, match=r"'seen'.*in place"):
        f({"x": [1.0], "seen": 0})


def test_forward_programs_leave_marks_alone() -> None:
    x, seen = prop.input("x", "batch"), prop.state("seen", ())
    marked = prop.update(prop.sum(x), seen, seen + 1)
    compiled = compile_program([marked], marked=False)
    assert [leaf.name for leaf in compiled.inputs] == ["x"]
    assert compiled.program.updates == ()


def test_two_updates_of_one_state_are_refused() -> None:
    x, seen = prop.input("x", ()), prop.state("seen", ())
    twice = prop.update(prop.update(x, seen, seen + 1), seen, seen + 2)
    with pytest.raises(DeclarationError, match=r"'seen'.*two different"):
        prop.compile(twice)
    same = prop.update(prop.update(x, seen, seen + 1), seen, seen + 1)
    assert prop.compile(same).program.updates == ("seen",)


def test_a_mark_inside_a_block_is_refused() -> None:
    x, seen = prop.input("x", ()), prop.state("seen", ())
    inside = prop.region("part")(lambda v: prop.update(v * 2, seen, v))(x)
    with pytest.raises(UnsupportedError, match="'part'"):
        prop.compile(inside)


# --- initial values ------------------------------------------------------------------------------


def test_a_start_depends_on_seed_and_name_alone() -> None:
    a = prop.parameter("a", (2, 3), prop.He())
    b = prop.parameter("b", (2, 3), prop.He())
    s = prop.state("s", 2, init=np.array([1.0, 2.0]))
    x = prop.input("x", 3)
    both = prop.initial_values([b @ x, a @ x, s], seed=3)
    alone = prop.initial_values(a, seed=3)
    np.testing.assert_array_equal(both["a"], alone["a"])
    assert not np.array_equal(both["a"], both["b"])
    assert list(both) == ["b", "a", "s"]
    assert both["s"].dtype == np.float32
    wide = prop.initial_values(a, seed=3, dtype="float64")["a"]
    np.testing.assert_array_equal(wide.astype(np.float32), alone["a"])


def test_starts_that_do_not_fit_are_refused() -> None:
    a = prop.parameter("a", (2, 3), lambda rng, shape: np.zeros(4))
    with pytest.raises(DeclarationError, match=r"'a'.*\(4,\).*\(2, 3\)"):
        prop.initial_values(a)
    with pytest.raises(DeclarationError, match="seed"):
        prop.initial_values(a, seed=-1)
    with pytest.raises(DeclarationError, match="expressions"):
        prop.initial_values("a")  # type: ignore[arg-type]
    with pytest.raises(ShapeError):
        prop.parameter("b", (2, 3), np.zeros((3, 2)))


def test_every_backend_has_one_row() -> None:
    assert list(backends.BACKENDS) == ["native", "numpy", "numba", "numba-cuda"]
