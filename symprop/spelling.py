"""Values as lines of mathematics, under names that last while a value is rewritten.

    exp_logits = exp(logits - max_logits)   [batch, logits]
    grad_hidden_weight = d_hidden^T x   [hidden, pixel]
    h = scan of step over time: start; x; w, u   [batch, 4]

In: nodes. Out: text in the language of generated code's comments (``symprop.formulas``), with the
names that generated code would take (``symprop.naming``).

Guarantees: one name a value, unique on the page, legal, so that nothing of a user's label but
letters, digits and underscores is printed; the same for every run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from codegen import program as p
from codegen.index import Dim, Gather, Guard, Ix, gather, guard, transform
from codegen.listing import spell_ix
from codegen.names import Names
from codegen.program import BufferSource, Dtype, Load, Scalar
from symprop.formulas import formula
from symprop.graph import (
    At,
    Block,
    IndexOf,
    Leaf,
    Node,
    Opaque,
    Output,
    Reduce,
    Region,
    Scan,
    hint,
)
from symprop.naming import Axes, Roles, adjoint_of, by_rule, dim_name, loop_names
from symprop.scalars import Kind, Place, Reads, scalar
from symprop.walk import topological

__all__ = ["Pattern", "Spelling"]

Pattern: TypeAlias = tuple[str, tuple[Node, ...]]
WIDTH: Dtype = "float64"  # what "float" is taken for; no width is printed


class Spelling:
    """The names of one page, given in the order in which they are asked for.

    ``given`` are words for values that have no name of their own (the leaves of a block);
    ``patterns`` are words made of the names of other values: ("d_{}_via_{}", (x, y)).
    """

    def __init__(
        self, given: Mapping[Node, str] | None = None,
        patterns: Mapping[Node, Pattern] | None = None,
    ) -> None:  # fmt: skip
        self._given = given or {}
        self._patterns = patterns or {}
        self._roles = Roles(self._given)
        self._axes = Axes()
        self._names = Names()
        self._adjoints: set[Node] = set()
        self._buffers: dict[Node, p.Buffer] = {}
        self._by_name: dict[str, p.Buffer] = {}

    # --- names ------------------------------------------------------------------------------

    def name(self, node: Node) -> str:
        """The name of a value on this page."""
        return self._buffer(node).name

    def name_of(self, block: Block) -> str:
        """The name of a block."""
        return _word(block)

    def carry(self, old: Node, new: Node) -> None:
        """``new`` is what ``old`` became: it keeps the name, unless it has one."""
        if old in self._buffers and new not in self._buffers and not isinstance(new, Leaf):
            own = self._buffers[old]
            self._buffers[new] = own

    def _buffer(self, node: Node) -> p.Buffer:
        found = self._buffers.get(node)
        if found is not None:
            return found
        self._learn(node)
        word = self.word(node)
        role = node.kind if isinstance(node, Leaf) and node.kind == "parameter" else "input"
        axes = tuple(dim_name(d) or a for a, d in zip(self._axes(node), node.dims, strict=True))
        made = p.Buffer(
            self._names(word), node.dims, axes, _width(node.dtype), cast(p.Role, role), ""
        )
        self._buffers[node] = self._by_name[made.name] = made
        return made

    def _learn(self, node: Node) -> None:
        """The axes of a value and of what it reads; a derivative has those of its primal."""
        for n in topological([node]):
            primal = adjoint_of(n)
            if primal is not None and n not in self._adjoints:
                self._adjoints.add(n)
                self._learn(primal)
                if len(primal.dims) == len(n.dims):
                    self._axes.give(n, self._axes(primal))
            self._axes(n)

    def word(self, node: Node) -> str:
        """What a value is called, not yet unique."""
        word = self._given.get(node) or hint(node)
        if not word and node in self._patterns:
            form, others = self._patterns[node]
            word = form.format(*map(self.name, others))
        word = word or self._roles(node)
        primal = adjoint_of(node)
        if not word and primal is not None and primal is not node:
            word = f"d_{self.name(primal)}"
        return word or by_rule(node) or "t"

    def shape(self, node: Node) -> str:
        """``[batch, hidden]``: names of axes, sizes where there are none; "" for a number."""
        buffer = self._buffer(node)
        parts = [a or repr(d) for a, d in zip(buffer.axes, node.dims, strict=True)]
        return f"[{', '.join(parts)}]" if parts else ""

    # --- lines ------------------------------------------------------------------------------

    def line(self, node: Node) -> str:
        """What a value is, with its shape."""
        text = f"{self.name(node)} = {self.right(node)}"
        shape = self.shape(node)
        return f"{text}   {shape}" if shape else text

    def call(self, of: Scan | Region | Opaque, results: Sequence[Node]) -> str:
        """A node with several results: those that are read, and the call."""
        names = [self.name(n) for n in results]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"{names[0]}{more} = {self._call(of)}   {self.shape(results[0])}".rstrip()

    def right(self, node: Node) -> str:
        """What a value is, without its name."""
        if isinstance(node, Reduce):
            return self._reduce(node)
        if isinstance(node, Output):
            return self._result(node)
        return self.name(node)

    def _result(self, node: Output) -> str:
        """A result of a node with several."""
        which = f"result {node.n + 1} of " if _results(node.of) > 1 else ""
        return f"{which}{self._call(node.of)}"

    def _call(self, of: Scan | Region | Opaque) -> str:
        names = [self.name(a) for a in of.arguments]
        if isinstance(of, Scan):
            nc, ns = of.ncarry, of.nslice
            groups = (names[:nc], names[nc : nc + ns], names[nc + ns :])
            inside = "; ".join(", ".join(g) for g in groups if g)
            way = "backwards over" if of.reverse else "over"
            length = spell_ix(of.length, {})
            return f"scan of {_word(of.block)} {way} {length} steps ({inside})"
        if isinstance(of, Region):
            return f"{_word(of.block)}({', '.join(names)})"
        return f"{Names()(of.atom.name)}({', '.join(names)})"

    def _reduce(self, node: Reduce) -> str:
        target = self._buffer(node)
        operands = [self._buffer(o) for o in node.operands]
        words = self._loop_words(node, [b.name for b in operands])
        step = p.Assign(
            target.name,
            tuple(item.ix() for item in node.outer),
            "=" if len(node.loops) == node.nout else node.op,
            node.loops,
            tuple(words),
            self._guards(node.guards),
            self._body(node),
            _width(node.accumulator),
        )
        # A value read as itself (a rewritten one keeps its name) is told from its own operands.
        known = {b.name: b for b in (*operands, target)}
        return formula(target.name, step, known).partition(" = ")[2]

    def _loop_words(self, node: Reduce, taken: Sequence[str]) -> list[str]:
        names = Names()
        return [names(word, "i") for word in loop_names(node, self._axes, taken)]

    def _body(self, node: Reduce) -> Scalar:
        scalars: list[Scalar] = []
        kinds: list[Kind] = []
        places: list[Place] = []
        order = {b: k for k, b in enumerate(self._by_name)}
        for r in node.reads:
            if isinstance(r, IndexOf):
                ix = self._ix(r.ix)
                fixed = not ix.loops and all(isinstance(a, Dim) for a in ix.atoms())
                scalars.append(p.IndexValue(ix))
                kinds.append("size" if fixed else "int64")
                places.append(Place(3, 0, fixed))
                continue
            assert isinstance(r, At)
            b = self._buffer(r.node)
            scalars.append(Load(b.name, tuple(map(self._ix, r.index)), self._guards(r.guards)))
            kinds.append(cast(Kind, b.dtype))
            places.append(Place(2 if b.role == "parameter" else 1, order[b.name], not b.dims))
        dtype = _width(node.dtype)
        compute: Dtype = dtype if dtype in ("float32", "float64") else WIDTH
        return scalar(node.body, Reads(scalars, kinds, places), dtype, compute)

    def _ix(self, ix: Ix) -> Ix:
        """An index that gathers from named buffers."""

        def change(atom: object) -> Ix | None:
            if not isinstance(atom, Gather):
                return None
            node = cast(Node, atom.source)
            source = BufferSource(self.name(node), node.low, node.high)
            return gather(source, [transform(i, change) for i in atom.indices])

        return transform(ix, change)

    def _guards(self, guards: Sequence[Guard]) -> tuple[Guard, ...]:
        found = (guard(self._ix(g.ix), g.kind) for g in guards)
        return tuple(g for g in found if isinstance(g, Guard))


def _width(dtype: str) -> Dtype:
    return cast(Dtype, WIDTH if dtype == "float" else dtype)


def _word(block: Block) -> str:
    return Names()(block.name or "block")


def _results(of: Scan | Region | Opaque) -> int:
    return len(of.results) if isinstance(of, Opaque) else len(of.block.outputs)
