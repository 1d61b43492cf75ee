"""numbers: a page with data: every step evaluated, gradients against differences, one update.

In: a page, arrays for the inputs and perhaps for parameters. Out: a section of blocks.

    values     of every stage and cotangent, in float64, by the compiled program
    checks     a central difference beside the largest elements of each gradient
    update     the loss before and after one step of the optimizer

Guarantees: parameters that are not given start as training with seed 0 does; nothing handed in is
changed; the rate is the optimizer's, or `RATE` for the symbol eta, and is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codegen.index import Dim
from symprop.data import closest
from symprop.errors import DataError, DeclarationError, listed, quoted
from symprop.explain import notation as nt
from symprop.explain.blocks import Block, Cell, Grid, Head, Numeric, Say, Section
from symprop.explain.emitted import shown
from symprop.explain.evaluate import flat_rows
from symprop.explain.sections import Page
from symprop.expression import Expr
from symprop.graph import Leaf, Node
from symprop.initialize import initial_values
from symprop.walk import leaves

__all__ = ["RATE", "STEP", "numbers"]

RATE = 0.1  # of the symbol eta
STEP = 1e-5  # of a central difference: near the best for float64, whose third power it balances
KINK = 1e-3  # relative: beyond it the two sides differ by more than curvature and rounding
SHOWN = 3  # elements of each gradient


@dataclass
class Data:
    """Arrays by leaf, and what follows from them by node."""

    given: dict[Leaf, Any]
    values: dict[Node, Any]
    sizes: dict[str, int]


def numbers(made: Page, loss: Expr, at: Mapping[Any, Any], optimizer: object) -> Section:
    """The section of a page for some data.

    Raises DataError for data that is missing, unknown or of another shape.
    """
    with np.errstate(all="ignore"):  # infinities and NaN are shown as they are
        return _numbers(made, loss, at, optimizer)


def _numbers(made: Page, loss: Expr, at: Mapping[Any, Any], optimizer: object) -> Section:
    data = _evaluated(made, loss, at)
    blocks: list[Block] = [Say("data"), Head("numbers_forward")]
    count = _count(made, data)
    first = 0 if made.net.size is not None and not made.lines.index else None
    if first is not None and count > 1:
        blocks.append(Say("first_sample", (("count", str(count)),)))
    blocks += [b for n in made.net.stages for b in _step(made, data, n, first, True)]
    blocks.append(Head("numbers_backward"))
    shares = [n for n in dict.fromkeys(made.net.share.values()) if n not in made.net.stages]
    blocks += [b for n in shares for b in _step(made, data, n, first, True)]
    for node in reversed([n for n in made.net.stages if n in made.net.exact]):
        if node is not made.net.loss:
            blocks += _step(made, data, node, first, False)
    shown_ = [p for p in made.net.parameters if p in made.net.exact]
    blocks += [b for p in shown_ for b in _step(made, data, p, None, False)]
    blocks += _norms(made, data)
    blocks += _differences(made, data, loss)
    blocks.append(_after(made, data, loss, optimizer))
    return Section("numbers", tuple(blocks))


# --- data ------------------------------------------------------------------------------------


def _evaluated(made: Page, loss: Expr, at: Mapping[Any, Any]) -> Data:
    given = _given(loss, at)
    symbols = [*made.symbols.of.values(), *made.symbols.cotangents.values()]
    nodes = list(dict.fromkeys(s.node for s in symbols if not isinstance(s.node, Leaf)))
    values = _run(nodes, given, loss)
    sizes = {d.atom.name: n for leaf, a in given.items()
             for d, n in zip(leaf.dims, np.shape(a), strict=True)
             if isinstance(d.atom, Dim)}  # fmt: skip
    every: dict[Node, Any] = dict(zip(nodes, values, strict=True))
    every.update(given.items())
    return Data(given, every, sizes)


def _given(loss: Expr, at: Mapping[Any, Any]) -> dict[Leaf, Any]:
    """An array for every leaf: the data, else where training starts."""
    if not isinstance(at, Mapping):
        raise DeclarationError(
            f"at= needs a mapping of arrays by name, but got {type(at).__name__} {quoted(at)}: "
            'write at={"x": X, "y": Y}'
        )
    known = {leaf.name: leaf for leaf in leaves([loss.node]) if leaf.kind != "constant"}
    named = {(k.name if isinstance(k, Expr) else k): v for k, v in at.items()}
    for name in named:
        if name not in known:
            raise DataError(f"at= holds {quoted(name)}, which the loss does not read"
                            f"{closest(str(name), known)}")  # fmt: skip
    start = initial_values(loss, 0, "float64")
    found: dict[Leaf, Any] = {}
    missing = []
    for name, leaf in known.items():
        value = named.get(name, start.get(name, leaf.default))
        if value is None:
            missing.append(name)
        else:
            kind = float if leaf.dtype.startswith("float") else None
            found[leaf] = np.asarray(value, dtype=kind)
    if missing:
        raise DataError(f"at= must hold an array for every input, and lacks {listed(missing)}")
    return found


def _run(nodes: Sequence[Node], given: Mapping[Leaf, Any], loss: Expr) -> list[Any]:
    """The nodes' arrays, in float64."""
    from symprop.function import compile as compiled

    function = compiled([loss, *(Expr(n) for n in nodes)], dtype="float64")
    arrays = {leaf.name: a for leaf, a in given.items()}
    found = function({a.name: arrays[a.name] for a in function.compiled.declared
                      if a.name in arrays})  # fmt: skip
    return [np.asarray(a) for a in found[1:]]


def _count(made: Page, data: Data) -> int:
    size = made.net.size
    if size is None:
        return 1
    if size.value is not None:
        return size.value
    return data.sizes.get(getattr(size.atom, "name", ""), 1)


# --- steps -----------------------------------------------------------------------------------


def _step(made: Page, data: Data, node: Node, sample: int | None, forward: bool) -> list[Block]:
    """One equation and its numbers: of the first sample where it has a line, else whole."""
    make = made.lines.stage if forward else made.lines.cotangent
    one = make(node, True) if sample is not None else None
    if one is not None and one.sample is None:
        one = None  # a sum over samples: the whole is shown
    equation = one or make(node, False)
    if equation is None:
        return []
    place = sample if one is not None else None
    shown_ = [f for f in nt.inside(equation.right) if isinstance(f, nt.Sym | nt.Flat)]
    arrays = {f.symbol: _of_sample(data, f, place) for f in shown_}
    value = data.values[equation.node]
    if isinstance(equation.left, nt.Sym | nt.Flat):
        value = _of_sample(data, equation.left, place)
    return [Numeric(replace(equation, middle=()), arrays, data.sizes, value)]


def _of_sample(data: Data, of: nt.Sym | nt.Flat, place: int | None) -> Any:
    """A symbol's array; of one sample where it stands for one."""
    array = np.asarray(data.values[of.symbol.node])
    one = of.at is not None and place is not None
    if isinstance(of, nt.Flat):
        rows = flat_rows(of.symbol, array)
        return rows[place] if one else rows
    return np.take(array, place, of.symbol.batch) if one else array  # type: ignore[arg-type]


def _norms(made: Page, data: Data) -> list[Block]:
    errors = [s for s in made.symbols.cotangents.values() if s.of is None]
    rows: list[tuple[Cell, ...]] = [
        (nt.Sym(s), shown(float(np.linalg.norm(data.values[s.node])))) for s in errors
    ]
    return [Head("norms"), Grid(("symbol", "norm"), tuple(rows))] if rows else []


def _differences(made: Page, data: Data, loss: Expr) -> list[Block]:
    """The largest elements of each gradient, and (L(p + h) - L(p - h)) / 2h."""
    from symprop.function import compile as compiled

    function = compiled(loss, dtype="float64")
    rows: list[tuple[Cell, ...]] = []
    for p in (p for p in made.net.parameters if p in made.net.exact):
        gradient = np.asarray(data.values[made.symbols.cotangents[p].node])
        order = np.argsort(-np.abs(gradient), axis=None, kind="stable")[:SHOWN]
        for flat in order:
            place = tuple(int(i) for i in np.unravel_index(int(flat), gradient.shape))
            left, right = _differences_at(function, data.given, p, place)
            exact, found = float(gradient[place]), (left + right) / 2
            gap = _relative(exact, found)
            kink = min(gap, _relative(left, right)) > KINK
            rows.append((nt.Sym(made.symbols.cotangents[p]), str(list(place)), shown(exact),
                         shown(found),
                         Say("at_kink") if kink else f"{gap:.0e}".replace("-", "−")))  # fmt: skip
    if not rows:
        return []
    heads = ("symbol", "entry", "gradient", "difference", "relative")
    found_: list[Block] = [Head("differences", (("step", shown(STEP)),)), Grid(heads, tuple(rows))]
    return [*found_, Say("kink_words")] if any(r[-1] == Say("at_kink") for r in rows) else found_


def _relative(a: float, b: float) -> float:
    """How far two numbers are apart, beside the larger one."""
    scale = max(abs(a), abs(b))
    return abs(a - b) / scale if scale else 0.0


def _differences_at(
    function: Any, given: Mapping[Leaf, Any], p: Leaf, place: tuple[int, ...]
) -> tuple[float, float]:
    """The differences to the left and to the right of one entry; their mean is the central one."""
    ends = []
    for sign in (-1, 0, 1):
        moved = np.array(given[p], dtype=float)
        moved[place] += sign * STEP
        arrays = {leaf.name: moved if leaf is p else a for leaf, a in given.items()}
        ends.append(float(function(arrays)))
    return (ends[1] - ends[0]) / STEP, (ends[2] - ends[1]) / STEP


def _after(made: Page, data: Data, loss: Expr, optimizer: object) -> Block:
    """The loss before and after every parameter has made one step."""
    from symprop.function import compile as compiled
    from symprop.gradient import gradient

    parameters = [Expr(p) for p in made.net.parameters if p in made.net.exact]
    pairs = optimizer.updates(parameters, gradient(loss, parameters))  # type: ignore[attr-defined]
    targets = [target for target, _ in pairs]
    function = compiled([loss, *(new for _, new in pairs)], dtype="float64")
    start = {leaf.name: a for leaf, a in data.given.items()}
    for leaf in function.compiled.declared:
        if leaf.name not in start:
            start[leaf.name] = np.zeros([d.value for d in leaf.dims]) if leaf.default is None \
                else leaf.default  # fmt: skip
    before, *new = function(start)
    moved = dict(zip((e.name for e in targets), new, strict=True))
    arrays = {leaf.name: moved.get(leaf.name, a) for leaf, a in data.given.items()}
    after = compiled(loss, dtype="float64")(arrays)
    return Say("before", (("before", shown(float(before))), ("after", shown(float(after))),
                          ("optimizer", _called(optimizer))))  # fmt: skip


def _called(optimizer: object) -> str:
    rate = getattr(optimizer, "rate", None)
    text = f" (η = {RATE})" if isinstance(rate, Expr) else ""
    return f"{type(optimizer).__name__}{text}" if text else repr(optimizer)
