"""Every model of the table under the native schedule of a wide and of a narrow machine.

In: the models of tests/peers, loss and gradients in float64. Guarantees: the nests verify, their
values as interpreted are within 1e-12 of the oracle's whatever the order of the turns of vector
loops, and in the arena no two values that are alive together share a byte.
"""

from __future__ import annotations

import pytest
from test_loops_peers import arguments, truth, unscheduled
from test_peers import EVERY, ORACLE, assert_close

from codegen.llvm.memory import plan
from codegen.llvm.schedule import native
from codegen.llvm.target import X86_64_AVX512, X86_64_SSE2, Target
from codegen.loops.interpret import interpret
from codegen.loops.verify import verify
from tests.codegen.test_llvm_memory import check

TARGETS = [
    pytest.param(X86_64_AVX512, id="wide"),
    pytest.param(X86_64_SSE2, id="narrow", marks=pytest.mark.slow),
]


@EVERY
@pytest.mark.parametrize("target", TARGETS)
def test_nests_equal_the_oracle(name: str, target: Target) -> None:
    loops = native(unscheduled(name), target, {})
    verify(loops)
    check(loops, plan(loops))
    wanted = truth(name)
    order = "reversed" if target is X86_64_AVX512 else "forward"
    found = interpret(loops, arguments(name), order)
    assert_close(list(wanted), found, wanted, ORACLE["float64"])
