"""equations: the lines of a page, each for one value of the graph.

In: a network and its symbols. Out: equations of stages and cotangents, of one sample, of the
batch, or in index notation.

Guarantees: an equation's right side has the value of its node. Where matrices cannot say it, the
equation is in index notation; nothing is left out. A positions' table that an index reads (where a
maximum is) becomes an equation of its own.
"""

from __future__ import annotations

import math
from dataclasses import replace

from codegen.index import Gather, Ix, Loop, constant, floordiv, mod
from symprop import term as t
from symprop.explain import notation as nt
from symprop.explain.network import Network
from symprop.explain.notation import Equation, Formula, Symbol
from symprop.explain.read import NotMatrixError, Reader
from symprop.explain.symbols import Symbols
from symprop.graph import At, Node, Output
from symprop.make import fresh, make

__all__ = ["Lines"]


def raveled(node: Node, batch: int | None) -> Node | None:
    """The entries of a value of rank 3 or more in row-major order: all, or a row a sample."""
    rest = [k for k in range(len(node.dims)) if k != batch]
    sizes = [node.dims[k].value for k in rest]
    known = [n for n in sizes if n is not None]
    if len(sizes) < 3 or len(known) < len(sizes):
        return None
    front = [node.dims[batch]] if batch is not None else []
    loops = fresh([*front, constant(math.prod(known))])
    index: list[Ix] = [loops[0].ix()] * len(node.dims)
    stride = 1
    for k, n in zip(reversed(rest), reversed(known), strict=True):
        index[k] = mod(floordiv(loops[-1].ix(), stride), n)
        stride *= n
    return make("sum", loops, len(loops), (), t.read(0), [At(node, tuple(index))], node.dtype)


class Lines:
    """Writes equations; remembers the tables of positions it met."""

    def __init__(self, net: Network, symbols: Symbols, index: bool) -> None:
        self.net, self.symbols, self.index = net, symbols, index
        self.names: dict[Node, Symbol] = dict(symbols.of)
        self.forward = dict(symbols.of)
        deltas = sorted(symbols.cotangents.values(), key=lambda s: s.of is not None)
        readable = {symbols.cotangents[v]: n for v, n in net.readable.items()}
        for symbol in deltas:
            for node in (readable[symbol], symbol.node):
                if node.operands:
                    self.names.setdefault(node, symbol)
        self.through = {n: s for n, s in self.names.items() if not self.passed(s)}
        self.extra: list[Node] = []

    def passed(self, symbol: Symbol) -> bool:
        """Whether a cotangent is only on the way to the one of a pre-activation: dL/dh."""
        return symbol.of is not None and self.net.roles.get(symbol.of.node) == "post"

    def stage(self, node: Node, one: bool) -> Equation | None:
        """The definition of a stage; None where one sample has no line of its own."""
        return self.line(self.symbols.of[node], node, node, "forward", one, self.forward)

    def cotangent(self, value: Node, one: bool) -> Equation | None:
        """The derivative of the loss in a value; delta through dL/dh where there is one."""
        symbol = self.symbols.cotangents[value]
        kind = "gradient" if value in self.net.parameters else "cotangent"
        ends = self.net.readable[value], self.net.exact[value]
        first = self.line(symbol, *ends, kind, one, self.names)
        if first is None or kind == "gradient" or self.passed(symbol):
            return first
        second = self.line(symbol, *ends, kind, one, self.through)
        if second is None or second.right == first.right or second.loops:
            return first
        if first.loops:
            return second
        return replace(second, middle=(first.right,))

    def line(
        self,
        symbol: Symbol,
        definition: Node,
        node: Node,
        kind: str,
        one: bool,
        names: dict[Node, Symbol],
    ) -> Equation | None:
        """symbol = what ``definition`` says; the equation stands for ``node``."""
        if isinstance(definition, Output) or (one and (self.index or not self.single(definition))):
            return None
        # A value is not defined by its own symbol, but it may be by another's.
        known = {n: s for n, s in names.items() if s is not symbol}
        axis = self.net.sharing.axis
        reader = Reader(known, axis, self.net.normalised, self.net.slopes, self.table)
        if not self.index:
            try:
                right, sample = reader.matrix(definition, one)
                return Equation(nt.Sym(symbol, sample), right, node, kind, (), sample)
            except NotMatrixError:
                pass
            flat = self.flat(reader, symbol, definition, one)
            if flat is not None:
                return Equation(*flat[:2], node, kind, (), flat[2])
        right, loops = reader.element(definition)
        self.note_tables(right)
        index = tuple(v.ix() for v in loops)
        left: Formula = nt.Ref(symbol, index) if index else nt.Sym(symbol)
        sample = loops[axis[definition]] if one and definition in axis else None
        return Equation(left, right, node, kind, loops, sample)

    def flat(
        self, reader: Reader, symbol: Symbol, definition: Node, one: bool
    ) -> tuple[Formula, Formula, Loop | None] | None:
        """flat(a) = W^T b, for a value that is a column, or a matrix, in another shape."""
        as_rows = raveled(definition, symbol.batch)
        if as_rows is None:
            return None
        axis = self.net.sharing.axis
        reader = Reader(reader.symbols, {**axis, as_rows: 0} if symbol.batch is not None else axis,
                        reader.normalised, reader.slopes, reader.meet)  # fmt: skip
        try:
            right, sample = reader.matrix(as_rows, one)
        except NotMatrixError:
            return None
        if any(isinstance(f, nt.Flat) for f in nt.inside(right)):
            return None  # no simpler than entry by entry
        return nt.Flat(symbol, sample), right, sample

    def single(self, node: Node) -> bool:
        """Whether one sample has a formula: the value counts samples, or is a sum over them."""
        return node in self.net.sharing.axis or node in self.net.sharing.mixed

    # --- tables of positions ---------------------------------------------------------------

    def note_tables(self, formula: Formula) -> None:
        """Values that an index reads get a symbol and, later, a line."""
        for item in nt.inside(formula):
            for ix in nt.indices(item):
                for atom in ix.atoms():
                    if isinstance(atom, Gather) and atom.source not in self.names:
                        self.table(atom.source)  # type: ignore[arg-type]

    def table(self, node: Node) -> Symbol:
        """The symbol of a value that is met on the way: a table of positions, a result."""
        if node in self.names:
            return self.names[node]
        letter = "r" if isinstance(node, Output) else "a"
        symbol = self.symbols.claim(letter, "", node, batch=self.net.sharing.axis.get(node))
        for names in (self.symbols.of, self.names, self.forward, self.through):
            names[node] = symbol
        self.extra.append(node)
        return symbol
