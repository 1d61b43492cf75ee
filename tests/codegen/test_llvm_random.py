"""Random steps and random schedules as machine code, against the interpreter."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from definition import random_step

from codegen.index import dim
from codegen.loops.from_program import from_program
from codegen.loops.interpret import interpret
from codegen.loops.schedule import ScheduleError, apply
from tests.codegen.lanes import MODES, in_lanes
from tests.codegen.running import run, runnable
from tests.codegen.schedules import arguments
from tests.codegen.test_loops_random import PROGRAMS, STEPS, random_directive


@pytest.mark.parametrize("seed", range(60))
def test_a_random_step(seed: int) -> None:
    """Guards, gathers, scatters, floor and mod, one by one and in lanes."""
    r = Random(seed)
    size = Random(seed).choice([1, 2, 3, 5])  # as random_step will choose
    program, given, _ = random_step(seed, dim("batch", size, size, size))
    loops = from_program(program)
    wanted = interpret(loops, given)
    for made in (loops, in_lanes(loops, r.choice(MODES), r)):
        target = runnable()[r.choice(list(runnable()))]
        found = run(made, given, target, at_end=r.random() < 0.5)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("seed", range(48))
def test_a_random_schedule(seed: int) -> None:
    """Whatever directives were accepted."""
    r = Random(seed)
    before = loops = PROGRAMS[seed % len(PROGRAMS)]
    for _ in range(STEPS):
        try:
            loops = apply(loops, random_directive(loops, r))
        except ScheduleError:
            continue
    for batch in (1, 5) if before.dims else (0,):
        given = arguments(before, batch)
        wanted = interpret(before, given)
        target = runnable()[r.choice(list(runnable()))]
        found = run(loops, given, target, at_end=r.random() < 0.5)
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)
