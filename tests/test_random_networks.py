"""Random networks through everything: derivatives, simplification, emitted code.

One generator, many seeds; what a failure shows is worth a test of its own beside the part that
was wrong.
"""

from __future__ import annotations

import numpy as np
import pytest
from checking import (
    adjoint_gap,
    assert_equal,
    assert_simplified,
    differences_gap,
    evaluate_all,
    nodes,
)
from random_networks import Network

import symprop as prop
from symprop.simplify.cost import graph_cost
from symprop.simplify.engine import simplify

SEEDS = [*range(60), *(pytest.param(s, marks=pytest.mark.slow) for s in range(60, 600))]
BOUND = 1e-9  # sums of a few hundred terms, twice differentiated, some of them cancelling
EVERY = pytest.mark.parametrize("seed", SEEDS)


@EVERY
def test_derivatives(seed: int) -> None:
    net = Network(seed)
    values = net.data(seed)
    assert differences_gap(net.loss, net.wrt, values, sizes=net.sizes, step=1e-4) < 1e-6
    first = prop.gradient(net.loss, net.wrt)
    # A gradient that is constant has second derivatives that are rounding alone.
    floor = max(float(np.max(np.abs(g), initial=1e-3)) for g in evaluate_all(first, values)) * 1e-5
    gap = adjoint_gap(first, net.wrt, values, sizes=net.sizes, floor=floor)
    if gap >= BOUND:  # rounding goes away at 40 digits, an error in the rule does not
        gap = adjoint_gap(first, net.wrt, values, sizes=net.sizes, floor=floor, precision=40)
        assert gap < 1e-25


@EVERY
def test_simplification(seed: int) -> None:
    net = Network(seed)
    roots = nodes(net.roots())
    new = assert_simplified(roots, net.data(seed), bound=BOUND)
    assert graph_cost(simplify(new)) <= graph_cost(new)


@EVERY
def test_emitted_code(seed: int) -> None:
    net = Network(seed)
    values = net.data(seed)
    roots = [net.loss, *prop.gradient(net.loss, net.wrt), net.x * 1.0]
    function = prop.compile(roots, dtype="float64")
    named = {k.name: v for k, v in values.items() if not isinstance(k, str)}
    found = function({n: a for n, a in named.items() if n in function.inputs})
    assert_equal([np.asarray(f) for f in found], evaluate_all(roots, values), BOUND)
