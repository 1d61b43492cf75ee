"""Every model of the table as nests: before a schedule and after the default one.

In: the models of tests/peers, loss and gradients in float64. Guarantees: ``from_program`` and the
default schedule give nests that verify and whose values, as interpreted, are within 1e-12 of the
oracle's, whatever the order of the turns of vector and parallel loops; every loop that the verifier
calls independent may run backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from peers.models import CASES
from test_peers import EVERY, ORACLE, assert_close, declared

import symprop as prop
from codegen.loops.default import default
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret
from codegen.loops.listing import listing
from codegen.loops.nest import For, Kernel, Loops, Store
from codegen.loops.schedule import applied
from codegen.loops.scope import InvalidLoops, Scope, visited
from codegen.loops.verify import verify
from codegen.loops.verify_races import check_race
from codegen.loops.walk import inside, mapped
from codegen.program import Program
from symprop import oracle
from symprop.function import compile_program


@cache
def program(name: str) -> Program:
    """The program of a model's loss and gradients."""
    model = declared(name)
    made = compile_program([model.loss, *model.gradients], dtype="float64").program
    assert made is not None
    return made


def arguments(name: str) -> dict[str, np.ndarray]:
    """The reference inputs by the names of the program."""
    inputs = declared(name).reference.inputs
    return {b.name: inputs[b.label] for b in program(name).arguments}


@cache
def truth(name: str) -> Mapping[str, np.ndarray]:
    """The oracle's loss and gradients."""
    model = declared(name)
    nodes = [e.node for e in (model.loss, *model.gradients)]
    values = oracle.evaluate(nodes, model.reference.inputs)
    return dict(zip(["loss", *model.names], values, strict=True))


@cache
def unscheduled(name: str) -> Loops:
    return from_program(program(name))


@cache
def scheduled(name: str) -> Loops:
    loops = unscheduled(name)
    return applied(loops, default(loops))


STAGES = {"unscheduled": unscheduled, "scheduled": scheduled}


@EVERY
@pytest.mark.parametrize("stage", list(STAGES))
def test_nests_equal_the_oracle(name: str, stage: str) -> None:
    loops = STAGES[stage](name)
    verify(loops)
    wanted = truth(name)
    for order in ("forward", "reversed"):
        found = interpret(loops, arguments(name), order)  # type: ignore[arg-type]
        assert_close(list(wanted), found, wanted, ORACLE["float64"])


def parallelised(loops: Loops) -> Loops:
    """The nests with every serial loop parallel that the verifier finds independent."""
    chosen: list[For] = []
    scope = Scope(loops.dims, {b.name: b for b in loops.arrays})
    kernels: dict[str, Kernel] = {k.name: k for k in loops.kernels}
    for stmt, here in visited(loops.body, scope):
        if isinstance(stmt, For) and stmt.kind == "serial":
            try:
                check_race(stmt, here, kernels)
            except InvalidLoops:
                continue
            chosen.append(stmt)
    variables = {s.loop for s in chosen}

    def change(stmt: Any) -> Any:
        turned = isinstance(stmt, For) and stmt.loop in variables
        return (replace(stmt, kind="parallel") if turned else stmt,)

    return replace(loops, body=mapped(loops.body, change))


@EVERY
def test_loops_found_independent_may_run_backward(name: str) -> None:
    loops = unscheduled(name)
    turned = parallelised(loops)
    verify(turned)
    forward = interpret(loops, arguments(name))
    backward = interpret(turned, arguments(name), "reversed")
    for a, b in zip(forward, backward, strict=True):
        assert np.array_equal(a, b, equal_nan=True)


def test_the_verifier_finds_most_loops_independent() -> None:
    """In a fully connected network every loop but those of sums is."""
    turned = parallelised(unscheduled("mlp_relu"))
    kinds = [s.kind for s in inside(turned.body) if isinstance(s, For)]
    sums = [s for s in inside(turned.body) if isinstance(s, For) and _adds(s)]
    assert kinds.count("serial") == len(sums)


def _adds(stmt: For) -> bool:
    """Whether a loop is one of a sum or an extremum: it only adds to a register."""
    return all(
        isinstance(s, Store) and s.op != "=" for s in inside(stmt.body) if not isinstance(s, For)
    )


def test_nests_print_within_the_width() -> None:
    for name in CASES:
        for make in STAGES.values():
            assert max(map(len, listing(make(name)).splitlines())) <= 100


def test_a_carry_that_is_an_index_is_held_to_the_bounds_of_its_start() -> None:
    start, table = prop.indices("start", "batch", below=5), prop.input("table", "k=5")
    rows = prop.input("rows", "turns batch")

    def stacked(step: Any) -> Any:
        return prop.scan(lambda i, row: (step(i), prop.take(table, i) + row), start, rows)[1]

    verify(from_program(prop.compile(stacked(lambda i: 4 - i), dtype="float64").program))
    with pytest.raises(prop.ShapeError, match="may leave axis 0 of 'table'"):
        stacked(lambda i: i + 1)
