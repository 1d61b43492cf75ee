"""recurrence: one step of a scan, as equations over what it carries.

In: a scan and the symbols of its operands. Out: symbols for the values of a step and one equation
for each result: what is carried on (``h_next``) and what is kept of every step.

Guarantees: the equations are those of the scan's own block, whichever network or gradient it came
from; the leaves of a step are local, so their values are a step's, not the network's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from symprop import graph
from symprop.explain import notation as nt
from symprop.explain.notation import Equation, Symbol
from symprop.explain.read import NotMatrixError, Reader
from symprop.explain.symbols import short
from symprop.graph import Leaf, Node, Scan
from symprop.walk import topological

__all__ = ["Step", "step"]


@dataclass(frozen=True)
class Step:
    """The symbols of a step and its lines."""

    symbols: dict[Node, Symbol]
    lines: tuple[Equation, ...]


def step(scan: Scan, known: Mapping[Node, Symbol], index: bool) -> Step:
    """The lines of one step."""
    symbols: dict[Node, Symbol] = {}
    taken: set[str] = set()
    for k, leaf in enumerate(scan.block.leaves):
        symbols[leaf] = _operand(scan, k, leaf, known, taken)
    outputs = scan.block.outputs
    named = [n for n in topological(outputs) if graph.hint(n) and not isinstance(n, Leaf)]
    lines = [_line(n, _new(graph.hint(n), "", n, taken), symbols, index)
             for n in named if n not in outputs]  # fmt: skip
    kept = 0
    for k, node in enumerate(outputs):
        if k < scan.ncarry:
            carry = symbols[scan.block.leaves[k]]
            symbol = Symbol(carry.base, "next", node, len(node.dims))
        else:
            kept += 1
            symbol = _new("y", str(kept), node, taken)
        lines.append(_line(node, symbol, symbols, index))
    return Step(symbols, tuple(lines))


def _operand(
    scan: Scan, k: int, leaf: Leaf, known: Mapping[Node, Symbol], taken: set[str]
) -> Symbol:
    """The user's name for a value of the step; a constant keeps its symbol."""
    name = scan.block.names[k] if k < len(scan.block.names) else ""
    outer = known.get(scan.arguments[k])
    if k >= scan.ncarry + scan.nslice and outer is not None and outer.batch is None:
        taken.add(outer.base + outer.sub)
        return Symbol(outer.base, outer.sub, leaf, len(leaf.dims), None, outer.of)
    if not name and outer is not None and k >= scan.ncarry and outer.of is None:
        name = outer.base
    name = short(name)[0]
    word = "c" if k < scan.ncarry else "s" if k < scan.ncarry + scan.nslice else "k"
    return _new(name or word, "", leaf, taken)


def _new(base: str, sub: str, node: Node, taken: set[str]) -> Symbol:
    number = 1
    words = sub
    while base + words in taken:
        number += 1
        words = f"{sub}{number}"
    taken.add(base + words)
    return Symbol(base, words, node, len(node.dims))


def _line(node: Node, symbol: Symbol, symbols: dict[Node, Symbol], index: bool) -> Equation:
    """symbol = formula; later lines read the value by its symbol."""
    reader = Reader(dict(symbols), {}, {}, {})
    symbols.setdefault(node, symbol)
    if not index:
        try:
            right, _ = reader.matrix(node, False)
            return Equation(nt.Sym(symbol), right, node, "step")
        except NotMatrixError:
            pass
    right, loops = reader.element(node)
    place = tuple(v.ix() for v in loops)
    left: nt.Formula = nt.Ref(symbol, place) if place else nt.Sym(symbol)
    return Equation(left, right, node, "step", loops)
