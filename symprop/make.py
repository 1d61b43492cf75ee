"""make: the one constructor of value nodes; what it returns is canonical.

In: an op, loops, guards, a body over reads. Out: the interned node of that value, or a simpler
one (an operand itself, a constant).

What is settled here, so that an invalid or a second form of a node cannot exist: loops of extent
1 are index 0; guards that always hold are dropped, one that never holds makes the identity;
equality guards are solved for reduced loops (``symprop.solver``); reads are sorted, shared and
those unused dropped; a reduced loop that nothing reads multiplies (sum) or vanishes (max, min);
loops are renumbered; a constant operand is read as its number; a copy of an operand is the
operand.

Guarantee: the value at every point is unchanged by each of these over the reals, and exactly so
in floats but for the product with an extent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from codegen.index import Guard, Ix, Loop, as_ix, constant, guard, loop, substitute
from symprop import term as t
from symprop.graph import (
    FLOATS,
    LENGTH,
    NODES,
    At,
    IndexOf,
    Node,
    Op,
    Reading,
    Reduce,
    framed,
    hashed,
)
from symprop.order import by_first_use, by_role, conjunction, moved, read_key
from symprop.solver import solve
from symprop.term import Term
from symprop.walk import gathered, swap_sources

UNIT = 899  # a position that no node has


def fresh(extents: Iterable[Ix | int], start: int = 0) -> tuple[Loop, ...]:
    """Loops over the extents, numbered from ``start``."""
    return tuple(loop(start + k, e) for k, e in enumerate(extents))


def filled(value: Term, dims: Sequence[Ix], dtype: str) -> Node:
    """The constant node."""
    return _intern("sum", fresh(dims), len(dims), (), value, (), dtype, dtype)


def make(
    op: Op,
    loops: Sequence[Loop],
    nout: int,
    guards: Iterable[Guard | bool],
    body: Term,
    reads: Sequence[Reading],
    dtype: str,
    accumulator: str = "",
) -> Node:
    """The node reducing ``body`` by ``op`` over ``loops[nout:]`` where the guards hold."""
    accumulator = accumulator or dtype
    dims = tuple(item.extent for item in loops[:nout])
    kept = conjunction(guards)
    if len(loops) == nout:
        op = "sum"
    if kept is None:
        return filled(_identity(op), dims, dtype)
    body, used = _drop_unused(body, list(reads))
    state = _State(list(loops), nout, kept, used)
    if state.flatten_unit_loops() is False or state.solve() is False:
        return filled(_identity(op), dims, dtype)
    body = state.constants(body)
    body = state.unused_loops(op, body)
    if op != "sum" and len(state.loops) == nout and state.guards:
        # Where the guards fail an extremum is infinite, a map 0: one point keeps it an extremum.
        state.loops.append(loop(UNIT, 1))
    mapped = len(state.loops) == nout and not state.guards
    if isinstance(body, t.Num) and op == "sum" and (mapped or body.value == 0):
        return filled(body, dims, dtype)
    body, state.reads = _drop_unused(body, state.reads)
    body = state.renumber(body)
    return _finished(op, state, body, dtype, accumulator)


def _finished(op: Op, state: _State, body: Term, dtype: str, accumulator: str) -> Node:
    """The node, its loops and guards being settled: reads sorted; a copy is the operand."""
    body = state.sort_reads(body)
    body, state.reads = _drop_unused(body, state.reads)
    copied = _copied(state, body, dtype)
    if copied is not None:
        return copied
    return _intern(
        op, tuple(state.loops), state.nout, state.guards, body, tuple(state.reads), dtype,
        accumulator,
    )  # fmt: skip


def _identity(op: Op) -> Term:
    if op == "sum":
        return t.num(0)
    infinity = t.call(t.INFINITY)
    return t.neg(infinity) if op == "max" else infinity


def _drop_unused(body: Term, reads: list[Reading]) -> tuple[Term, list[Reading]]:
    if len(body.reads) == len(reads):
        return body, reads
    mapping: list[Term] = [t.read(0)] * len(reads)
    kept: list[Reading] = []
    for k in body.reads:
        mapping[k] = t.read(len(kept))
        kept.append(reads[k])
    return t.replace(body, mapping), kept


class _State:
    """A node under construction; the only mutable thing here, and it never escapes."""

    def __init__(
        self, loops: list[Loop], nout: int, guards: tuple[Guard, ...], reads: list[Reading]
    ) -> None:
        self.loops, self.nout, self.guards, self.reads = loops, nout, guards, reads

    def apply(self, mapping: Mapping[Loop, Ix]) -> bool:
        """Substitute loops everywhere; False when a guard became impossible."""
        self.reads = [moved(r, mapping) for r in self.reads]
        return self.set_guards(guard(substitute(g.ix, mapping), g.kind) for g in self.guards)

    def set_guards(self, guards: Iterable[Guard | bool]) -> bool:
        kept = conjunction(guards)
        if kept is None:
            return False
        self.guards = kept
        return True

    def flatten_unit_loops(self) -> bool:
        """A loop of extent 1 is index 0; a reduced one is gone."""
        unit = [item for item in self.loops if item.extent.value == 1]
        if not unit:
            return True
        holds = self.apply(dict.fromkeys(unit, constant(0)))
        self.loops = [
            item for k, item in enumerate(self.loops) if k < self.nout or item.extent.value != 1
        ]
        return holds

    def solve(self) -> bool:
        """Turn equality guards on reduced loops into index substitutions."""
        if len(self.loops) == self.nout or not any(g.kind == "==" for g in self.guards):
            return True
        solved = solve(self.loops[self.nout :], self.guards)
        if solved is None:
            return False
        for step in solved.steps:
            self.reads = [step.read(r) for r in self.reads]
        self.loops = self.loops[: self.nout] + list(solved.loops)
        return self.set_guards(solved.guards)

    def constants(self, body: Term) -> Term:
        """Read constant nodes and constant indices as their numbers; drop dead read guards."""
        if not self.reads:
            return body
        mapping: list[Term] = []
        changed = False
        known = set(self.guards)
        for k, r in enumerate(self.reads):
            value: Term = t.read(k)
            if isinstance(r, IndexOf):
                if r.ix.value is not None:
                    value = t.num(r.ix.value)
            else:
                if r.guards:
                    left = conjunction(g for g in r.guards if g not in known)
                    r = At(r.node, r.index, left or ())
                    self.reads[k] = r
                node = r.node
                if isinstance(node, Reduce) and not node.reads and not node.guards:
                    zero = isinstance(node.body, t.Num) and node.body.value == 0
                    if len(node.loops) == node.nout and (zero or not r.guards):
                        value = node.body
            changed |= value is not t.read(k)
            mapping.append(value)
        return t.replace(body, mapping) if changed else body

    def unused_loops(self, op: Op, body: Term) -> Term:
        """A reduced loop that neither reads nor guards mention."""
        if len(self.loops) == self.nout:
            return body
        seen: set[Loop] = set()
        for k in body.reads:
            r = self.reads[k]
            for ix in (r.ix,) if isinstance(r, IndexOf) else r.index:
                seen.update(ix.loops)
            if isinstance(r, At):
                for g in r.guards:
                    seen.update(g.ix.loops)
        for g in self.guards:
            seen.update(g.ix.loops)
        for item in [x for x in self.loops[self.nout :] if x not in seen]:
            if op != "sum":
                low = guard(item.extent - 1, ">=")
                if low is not True:  # an empty extremum stays one
                    continue
            elif item.extent.value is not None:
                body = t.mul(body, t.num(item.extent.value))
            else:
                body = t.mul(body, t.read(len(self.reads)))
                self.reads.append(IndexOf(item.extent))
            self.loops.remove(item)
        return body

    def renumber(self, body: Term) -> Term:
        """Positions 0, 1, ...; reduced loops in an order that does not depend on the given one."""
        outer, inner = self.loops[: self.nout], self.loops[self.nout :]
        if len(inner) > 1:
            ranked = by_first_use(outer, inner, self.reads)
            if ranked is None:  # perhaps because reads are repeated
                body = self.sort_reads(body)
                ranked = by_first_use(outer, inner, self.reads)
                ranked = ranked or by_role(outer, inner, self.reads, self.guards, body)
            self.loops = [*outer, *ranked]
        if any(item.position != k for k, item in enumerate(self.loops)):
            self.apply(
                {v: loop(k, v.extent).ix() for k, v in enumerate(self.loops) if v.position != k}
            )
            self.loops = [loop(k, item.extent) for k, item in enumerate(self.loops)]
        return body

    def sort_reads(self, body: Term) -> Term:
        """Structural order, each distinct read once."""
        reads = self.reads
        keys = [read_key(r) for r in reads]
        order = sorted(range(len(reads)), key=keys.__getitem__)
        if all(keys[a] < keys[b] for a, b in pairwise(range(len(reads)))):
            return body
        mapping: list[Term] = [t.read(0)] * len(reads)
        kept: list[Reading] = []
        for k in order:
            if kept and kept[-1] == reads[k]:
                mapping[k] = t.read(len(kept) - 1)
            else:
                mapping[k] = t.read(len(kept))
                kept.append(reads[k])
        self.reads = kept
        return t.replace(body, mapping)


def _copied(state: _State, body: Term, dtype: str) -> Node | None:
    """The operand itself when this is a copy of it."""
    nout = state.nout
    if len(state.loops) != nout or state.guards or body is not t.read(0):
        return None
    r = state.reads[0]
    if isinstance(r, IndexOf) or r.guards or r.node.dtype != dtype or len(r.index) != nout:
        return None
    for k, (ix, item, d) in enumerate(zip(r.index, state.loops, r.node.dims, strict=True)):
        plain = ix is item.ix() or (ix.value == 0 and d.value == 1 and item.extent.value == 1)
        if not plain or item.extent is not d or item.position != k:
            return None
    return r.node


def _intern(
    op: Op,
    loops: tuple[Loop, ...],
    nout: int,
    guards: tuple[Guard, ...],
    body: Term,
    reads: tuple[Reading, ...],
    dtype: str,
    accumulator: str,
) -> Node:
    if len(loops) == nout:
        op, accumulator = "sum", dtype
    key = (Reduce, op, loops, nout, guards, body, reads, dtype, accumulator)
    found = NODES.get(key)
    if found is not None:
        return found  # type: ignore[no-any-return]
    node = Reduce()
    node.op, node.loops, node.nout, node.guards = op, loops, nout, guards
    node.body, node.reads, node.dtype, node.accumulator = body, reads, dtype, accumulator
    node.dims = tuple(item.extent for item in loops[:nout])
    operands: dict[Node, None] = {}
    for r in reads:
        if isinstance(r, At):
            operands[r.node] = None
        for ix in (r.ix,) if isinstance(r, IndexOf) else r.index:
            if ix.gathers:
                operands.update(dict.fromkeys(gathered(ix)))
        for g in () if isinstance(r, IndexOf) else r.guards:
            operands.update(dict.fromkeys(gathered(g.ix)))
    for g in guards:
        operands.update(dict.fromkeys(gathered(g.ix)))
    node._operands = tuple(operands)
    node.common = all(n.common for n in operands)
    node.digest = _digest(node)
    NODES[key] = node
    return node


DIGEST = LENGTH.to_bytes(4, "little")  # what ``framed`` puts before a digest
BAR, READ, INDEX = framed(b"|"), framed(b"/"), framed(b"/", b"")


@lru_cache
def _head(*words: str) -> bytes:
    return framed(*(word.encode() for word in words))


def _digest(node: Reduce) -> bytes:
    """The digest of op, dtypes, body, loops, guards and reads.

    It is that of ``graph.digest``, framed by hand: making nodes spent a third of its time there.
    """
    own = [b"", node.body.digest, *[item.digest for item in node.loops]]
    text = [_head(node.op, node.dtype, node.accumulator, str(node.nout)), DIGEST.join(own), BAR]
    text += [DIGEST + g.digest for g in node.guards]
    text.append(BAR)
    for r in node.reads:
        if isinstance(r, IndexOf):
            text += (INDEX, DIGEST, r.ix.digest)
        else:
            text += (READ, DIGEST.join([b"", *read_key(r)]))
    return hashed(b"".join(text))


def remake(node: Reduce, new: Mapping[Node, Node]) -> Node:
    """A value node with operands replaced."""
    if _in_form(node) and not any(_is_number(new.get(o)) for o in node.operands):
        same = [_over(r, new) for r in node.reads]
        state = _State(list(node.loops), node.nout, node.guards, same)
        return _finished(node.op, state, node.body, node.dtype, node.accumulator)

    def swapped(g: Guard) -> Guard | bool:
        return guard(swap_sources(g.ix, new), g.kind)

    reads: list[Reading] = []
    for r in node.reads:
        if isinstance(r, IndexOf):
            reads.append(IndexOf(swap_sources(r.ix, new)))
            continue
        index = tuple(swap_sources(i, new) for i in r.index)
        guards = conjunction(swapped(g) for g in r.guards)
        if guards is None:
            reads.append(IndexOf(constant(0)))
        else:
            reads.append(At(new.get(r.node, r.node), index, guards))
    return make(
        node.op, node.loops, node.nout, [swapped(g) for g in node.guards], node.body, reads,
        node.dtype, node.accumulator,
    )  # fmt: skip


def _in_form(node: Reduce) -> bool:
    """Whatever the operands are (numbers aside), loops and guards stay as they were settled: no
    gather, no order of reduced loops that the reads decide, no guard to solve or to replace."""
    if len(node.loops) - node.nout > 1 or (node.guards and node.op != "sum"):
        return False
    if any(g.kind == "==" or g.ix.gathers for g in node.guards):
        return False
    return not any(
        r.ix.gathers if isinstance(r, IndexOf)
        else any(i.gathers for i in r.index) or any(g.ix.gathers for g in r.guards)
        for r in node.reads
    )  # fmt: skip


def _is_number(node: Node | None) -> bool:
    """A constant, which is read as its number."""
    return isinstance(node, Reduce) and not node.reads


def _over(r: Reading, new: Mapping[Node, Node]) -> Reading:
    """The read of what its node is replaced by."""
    return r if isinstance(r, IndexOf) else At(new.get(r.node, r.node), r.index, r.guards)


def elementwise(
    body: Term, operands: Sequence[Node], dims: Sequence[Ix], dtype: str,
    guards: Sequence[Guard | bool] = (),
) -> Node:  # fmt: skip
    """A map over ``dims``; operands are read at the trailing axes (extent 1: index 0)."""
    loops = fresh(dims)
    reads = [At(n, aligned(n, loops)) for n in operands]
    return make("sum", loops, len(loops), guards, body, reads, dtype)


def aligned(node: Node, loops: Sequence[Loop]) -> tuple[Ix, ...]:
    """Indices reading a node broadcast (NumPy's rule) over the loops."""
    tail = loops[len(loops) - len(node.dims) :]
    return tuple(
        constant(0) if d.value == 1 and item.extent is not d else item.ix()
        for d, item in zip(node.dims, tail, strict=True)
    )


def is_float(dtype: str) -> bool:
    """True for a floating dtype of known or unknown width."""
    return dtype in FLOATS


__all__ = ["aligned", "as_ix", "elementwise", "filled", "fresh", "is_float", "make", "remake"]
