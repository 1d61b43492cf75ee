"""Every model of the table as machine code: loss and gradients against the oracle.

In: the models of tests/peers. Guarantees: nests of the default schedule, compiled for this machine,
are within 1e-12 of the oracle in float64 and 1e-5 in float32; so are those that run in lanes
wherever they can, in float64.
"""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from peers.models import CASES
from test_loops_peers import arguments, scheduled, truth
from test_peers import EVERY, ORACLE, assert_close

from codegen.loops.nest import Loops
from tests.codegen.lanes import MODES, in_lanes
from tests.codegen.running import narrowed, run, runnable


def check(name: str, loops: Loops, bound: float, target: str = "host") -> None:
    wanted = truth(name)
    found = [np.asarray(a, np.float64) for a in run(loops, arguments(name), runnable()[target])]
    assert_close(list(wanted), found, wanted, bound)


@EVERY
@pytest.mark.parametrize("dtype", list(ORACLE))
def test_machine_code_equals_the_oracle(name: str, dtype: str) -> None:
    loops = scheduled(name)
    check(name, narrowed(loops) if dtype == "float32" else loops, ORACLE[dtype])


SOME = [pytest.param(n, marks=[pytest.mark.slow] if k % 3 else []) for k, n in enumerate(CASES)]


@pytest.mark.parametrize("name", SOME)
def test_machine_code_in_lanes_equals_the_oracle(name: str) -> None:
    r = Random(name)
    loops = in_lanes(scheduled(name), r.choice(MODES), r)
    check(name, loops, ORACLE["float64"], r.choice(list(runnable())))
