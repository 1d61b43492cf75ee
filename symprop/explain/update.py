"""update: one step of an optimizer, as equations.

In: an optimizer, a parameter and the symbol of its gradient. Out: lines ``W <- W - eta dL/dW``,
read from the expressions that the optimizer makes; what it remembers gets a line before it is used.

Guarantees: nothing here knows an optimizer: a new one prints without a change.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.index import Loop
from symprop import graph
from symprop.explain import notation as nt
from symprop.explain.elements import Elements, Entries
from symprop.explain.notation import Equation, Symbol
from symprop.explain.read import Reader
from symprop.expression import Expr
from symprop.graph import Leaf, Node
from symprop.walk import topological

__all__ = ["Update", "update"]


@dataclass(frozen=True)
class Update:
    """The lines, the symbols of what is remembered, and the leaf that stands for the gradient."""

    lines: tuple[Equation, ...]
    symbols: dict[Node, Symbol]
    gradient: Leaf
    states: tuple[Symbol, ...]


def update(optimizer: object, parameter: Symbol, gradient: Symbol, rate: Leaf | None) -> Update:
    """The lines that change one parameter."""
    leaf = parameter.node
    assert isinstance(leaf, Leaf)
    slope = graph.new_leaf("input", "gradient", leaf.dims, leaf.dtype, leaf.axes)
    pairs = optimizer.updates([Expr(leaf)], [Expr(slope)])  # type: ignore[attr-defined]
    symbols: dict[Node, Symbol] = {
        leaf: parameter,
        slope: Symbol(gradient.base, "", slope, len(leaf.dims), None, gradient.of),
    }
    if rate is not None:
        symbols[rate] = Symbol("η", "", rate, 0, code=rate.name)
    states = _states(pairs, leaf, symbols)
    for n in topological([new.node for _, new in pairs]):
        if isinstance(n, Leaf) and n not in symbols:  # a rate that is handed in
            symbols[n] = Symbol(n.name, "", n, len(n.dims), code=n.name)
    lines = []
    for target, new in pairs:
        inside = [n for n in topological([new.node]) if not isinstance(n, Leaf)]
        lines += [_line(n, symbols, "definition", _named(n))
                  for n in inside if graph.hint(n) and n not in symbols]  # fmt: skip
        lines.append(_line(new.node, symbols, "update", symbols[target.node]))
    return Update(tuple(lines), symbols, slope, states)


def _states(
    pairs: list[tuple[Expr, Expr]], parameter: Leaf, symbols: dict[Node, Symbol]
) -> tuple[Symbol, ...]:
    """A letter for everything remembered: the first word of its name, or the last of a count."""
    found = []
    for target, _ in pairs:
        node = target.node
        if node is parameter or not isinstance(node, Leaf):
            continue
        word = node.name.split(".")[0 if node.dims else -1]
        symbols[node] = Symbol(word, "", node, len(node.dims), code=node.name)
        found.append(symbols[node])
    return tuple(found)


def _named(node: Node) -> Symbol:
    return Symbol(graph.hint(node), "", node, len(node.dims), code=graph.hint(node))


def _line(node: Node, symbols: dict[Node, Symbol], kind: str, symbol: Symbol) -> Equation:
    """The value that a line gives a symbol; later lines read it by that symbol."""
    loops: tuple[Loop, ...] = ()
    left: nt.Formula = nt.Sym(symbol)
    if len(node.dims) <= 2:
        right, _ = Reader(symbols, {}, {}, {}).matrix(node, False)
    else:
        right, _ = Entries(symbols, {}, {}, {}).element(node)
        if nt.indexed(right):  # more than entry by entry
            right, loops = Elements(symbols, {}, {}, {}).element(node)
            left = nt.Ref(symbol, tuple(v.ix() for v in loops))
    own = Symbol(symbol.base, symbol.sub, node, symbol.rank, None, symbol.of, symbol.code)
    symbols.setdefault(node, own)
    return Equation(left, right, node, kind, loops)
