"""explain: every printed formula against the oracle, for networks of every kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checking import data_for, gap
from explained import BATCH, NETWORKS, data
from random_networks import Network
from test_golden import MODELS

import symprop as prop
from codegen.index import Gather
from symprop import oracle
from symprop.explain import algebra as al
from symprop.explain import notation as nt
from symprop.explain.blocks import Grid, Say
from symprop.explain.evaluate import Values, formula_value
from symprop.explain.notation import Equation
from symprop.explain.page import Explanation
from symprop.gradient import pull
from symprop.graph import Leaf, Node, new_leaf
from symprop.optimizers import OPTIMIZERS
from symprop.walk import leaves, substitute

BOUND = 1e-12
SIZES = {"batch": BATCH, "n": BATCH}


class Checked:
    """The oracle's values for everything that a page names."""

    def __init__(self, page: Explanation, sizes: dict[str, int] = SIZES) -> None:
        wanted: dict[Node, None] = {}
        for e in page.equations:
            wanted[e.node] = None
            for side in (e.left, *e.middle, e.right):
                wanted.update((n, None) for n in nodes_of(side))
        nodes = list(wanted)
        given = data_for(nodes, sizes=sizes)
        arrays = dict(zip(nodes, oracle.evaluate(nodes, given), strict=True))
        self.values = Values(arrays, sizes)

    def sides(self, e: Equation) -> list[nt.Formula]:
        """The sides that have a value."""
        every = (e.left, *e.middle, e.right)
        return [s for s in every if not any(isinstance(f, nt.Partial) for f in nt.inside(s))]

    def gap(self, e: Equation, side: nt.Formula) -> float:
        """How far a side is from the node that the equation stands for."""
        wanted = np.asarray(self.values.arrays[e.node], dtype=float)
        with np.errstate(all="ignore"):
            return gap(formula_value(side, e, self.values), wanted)


def nodes_of(side: nt.Formula) -> list[Node]:
    """The values that a formula reads, tables of an index included."""
    found: list[Node] = []
    for f in nt.inside(side):
        if isinstance(f, nt.Sym | nt.Ref | nt.Flat):
            found.append(f.symbol.node)
        found += [a.source for ix in nt.indices(f) for a in ix.atoms() if hasattr(a, "source")]
    return found


EVERY = NETWORKS | {f"golden_{name}": lambda make=make: make()[0] for name, make in MODELS.items()}


@pytest.mark.parametrize("notation", ["matrix", "index"])
@pytest.mark.parametrize("name", EVERY)
def test_every_symbol_on_the_right_is_stated_on_the_page(name: str, notation: str) -> None:
    page = prop.explain(EVERY[name](), notation=notation)
    stated = {key(f.symbol) for e in page.equations for f in nt.inside(e.left) if named(f)}
    stated |= declared(page)
    for e in page.equations:
        for side in (*e.middle, e.right):
            read = [f.symbol for f in nt.inside(side) if named(f)]
            read += [page.printer.symbols[n] for n in tables_of(side)]
            for symbol in read:
                leaf = isinstance(symbol.node, Leaf) and symbol.node.scope is None
                assert leaf or key(symbol) in stated, f"{symbol} of {e}"


def declared(page: Explanation) -> set[Any]:
    """What a sentence says of a result: the last step's, every step's, an operation's."""
    keys = ("recurrence_last", "recurrence_all")
    says = [b for s in page.sections for b in s.blocks if isinstance(b, Say) and b.key in keys]
    values = [v for say in says for _, v in say.values if isinstance(v, nt.Sym)]
    grids = [b for s in page.sections for b in s.blocks if isinstance(b, Grid)]
    inner = [row[0].symbol for b in grids for row in b.rows if row[-1] == Say("inner_result")]
    return {key(v.symbol) for v in values} | {key(symbol) for symbol in inner}


def named(f: nt.Formula) -> bool:
    """Whether a formula is a symbol, or an element of one."""
    return isinstance(f, nt.Sym | nt.Ref | nt.Flat)


def key(symbol: nt.Symbol) -> Any:
    """What a symbol is called, whichever of its samples or steps is meant."""
    of = key(symbol.of) if symbol.of is not None else None
    return symbol.capital.lower() or symbol.base, symbol.sub, of


def tables_of(side: nt.Formula) -> list[Node]:
    """The values that an index reads."""
    atoms = [a for f in nt.inside(side) for ix in nt.indices(f) for a in ix.atoms()]
    return [a.source for a in atoms if isinstance(a, Gather)]


@pytest.mark.parametrize("notation", ["matrix", "index"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_line_has_the_value_of_its_node(name: str, notation: str) -> None:
    page = prop.explain(NETWORKS[name](), notation=notation)
    checked = Checked(page)
    assert len(page.equations) >= 5
    for e in page.equations:
        if e.kind in ("jacobian", "update", "definition"):
            continue
        text = page.printer.equation(e)
        assert "?" not in text, text
        for side in checked.sides(e):
            assert checked.gap(e, side) <= BOUND, f"{name}: {text}"


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_print_right_lines(seed: int) -> None:
    network = Network(seed)
    read = leaves([network.loss.node])
    wrt = [e for e in network.wrt if e.node in read]
    page = prop.explain(network.loss, wrt=wrt, notation=("matrix", "index")[seed % 2])
    checked = Checked(page, {"batch": network.batch})
    for e in page.equations:
        if e.kind not in ("update", "definition"):
            for side in checked.sides(e):
                assert checked.gap(e, side) <= 1e-10, page.printer.equation(e)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_has_its_gradient_from_prop_gradient(name: str) -> None:
    loss = NETWORKS[name]()
    page = prop.explain(loss)
    parameters = [prop.Expr(n) for n in leaves([loss.node]) if n.kind == "parameter"]
    wanted = prop.gradient(loss, parameters)
    given = data_for([loss], sizes=SIZES)
    for p, g in zip(parameters, wanted, strict=True):
        own = page._made.net.exact[p.node]
        a, b = oracle.evaluate([own, g], given)
        assert gap(a, b) <= BOUND


@pytest.mark.parametrize("name", ["digits", "raw", "two_inputs", "layer_norm"])
def test_the_full_jacobian_of_softmax_is_that_of_the_graph(name: str) -> None:
    page = prop.explain(NETWORKS[name]())
    claimed = [e for e in page.equations if e.kind == "jacobian"]
    assert len(claimed) == 2
    entries = claimed[0]
    p = entries.node
    z = page._made.output
    assert z is not None
    seed, scores = (new_leaf("input", n, p.dims, "float") for n in ("seed", "scores"))
    (pulled,) = pull([p], [seed], [z])
    p_of, pulled_of = substitute([p, pulled], {z: scores})
    rng = np.random.default_rng(0)
    given = {scores: rng.normal(size=(BATCH, p.dims[-1].value))}
    (probabilities,) = oracle.evaluate([p_of], given)
    values = Values({p: probabilities}, SIZES)
    count = p.dims[-1].value
    assert count is not None
    for i in range(count):
        row = np.zeros((BATCH, count))
        row[:, i] = 1.0
        (wanted,) = oracle.evaluate([pulled_of], {**given, seed: row})
        probe = Equation(entries.left, entries.right, filled_like(entries), "", entries.loops)
        full = formula_value(entries.right, probe, values)
        assert gap(full[:, i, :], wanted) <= BOUND
        whole = Equation(claimed[1].left, claimed[1].right, probe.node, "", (), claimed[1].sample)
        assert gap(formula_value(whole.right, whole, values)[:, i, :], wanted) <= BOUND


def filled_like(e: Equation) -> Node:
    """A value of the shape of an equation's indices."""
    return new_leaf("input", "shape", [v.extent for v in e.loops], "float")


CHOSEN = [*(make() for make in OPTIMIZERS.values()), prop.SGD(prop.scalar("rate", 0.2)), None]


@pytest.mark.parametrize("optimizer", CHOSEN, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("name", ["digits", "convolution"])
def test_the_lines_of_the_update_are_those_of_the_optimizer(name: str, optimizer: Any) -> None:
    page = prop.explain(NETWORKS[name](), optimizer=optimizer)
    update = page._made.update
    assert update is not None
    roots = [e.node for e in update.lines]
    given = data_for(roots, draw=lambda rng, shape: rng.uniform(0.5, 1.5, size=shape))
    every = list(update.symbols)
    arrays = dict(zip(every, oracle.evaluate(every, given), strict=True))
    values = Values(arrays, {})
    for e in update.lines:
        assert gap(formula_value(e.right, e, values), arrays[e.node]) <= BOUND
    assert update.lines[-1].kind == "update"


def test_a_network_of_matmul_and_one_of_layers_print_the_same_deltas() -> None:
    pages = [prop.explain(NETWORKS[n]()) for n in ("digits", "raw")]
    lines = [[p.printer.equation(e) for e in p.equations] for p in pages]
    assert lines[0] == lines[1]
    assert "δ₁ = ∂L/∂h₁ ⊙ relu′(z₁) = (W₂ᵀ δ₂) ⊙ relu′(z₁)" in lines[0]
    assert "δ₂ = (p − onehot(y))/B" in lines[0]
    assert "∂L/∂W₁ = Σₙ δ₁,ₙ xₙᵀ = Δ₁ᵀ X" in lines[0]


def test_no_claim_is_made_of_a_loss_whose_error_does_not_collapse() -> None:
    x, y = prop.input("x", "n 3"), prop.labels("y", "n", classes=4)
    z = x @ prop.parameter("W", (3, 4), prop.He())
    page = prop.explain(prop.cross_entropy(z, y) + prop.mean(z * z))
    assert not [e for e in page.equations if e.kind in ("jacobian", "claim")]


def test_a_derivative_that_is_zero_everywhere_has_no_line_for_a_value() -> None:
    page = prop.explain(NETWORKS["attention"]())
    exact = page._made.net.exact
    assert all(not isinstance(d, Leaf) for d in exact.values())
    assert not [e for e in page.equations if page.printer.equation(e).endswith("= 0")]


def test_explaining_changes_no_byte_of_generated_code() -> None:
    def source(first: bool) -> str:
        loss = NETWORKS["digits"]()
        parameters = [prop.Expr(n) for n in leaves([loss.node]) if n.kind == "parameter"]
        if first:
            prop.explain(loss, at=data(loss))
        return prop.compile([loss, *prop.gradient(loss, parameters)]).source()

    assert source(True) == source(False)


def test_evaluating_refuses_shapes_that_do_not_fit_on_the_page() -> None:
    page = prop.explain(NETWORKS["one_sample"]())
    checked = Checked(page)
    line = next(e for e in page.equations if isinstance(e.right, nt.Add))
    wrong = al.add(line.right, al.transposed(line.left))
    with pytest.raises(prop.VerificationError, match="shapes"):
        formula_value(wrong, line, checked.values)
