"""Checks between passes: what a graph must be, and that no pass changed a value.

In: roots, or expressions with arrays for their leaves. Out: nothing, or a ``VerificationError`` of
one sentence: which pass, which value, how far off.

    check_graph   every node is canonical (its constructor gives it back), operands are in order,
                  a block is closed over its own leaves, sizes depend on dimensions alone
    check_passes  the oracle's value of every root after each pass equals the one before it, and so
                  does what the emitted function returns

Guarantees: it judges by ``symprop.oracle`` alone, which shares no code with the passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from codegen.index import Dim, Gather, Ix, Loop
from symprop import oracle, pipeline
from symprop.errors import VerificationError, quoted
from symprop.expression import Expr
from symprop.graph import (
    Block,
    Leaf,
    Node,
    Opaque,
    Output,
    Reduce,
    Region,
    Scan,
    hint,
)
from symprop.make import remake
from symprop.walk import rebuild, topological

__all__ = ["check_graph", "check_passes"]

TOLERANCE = 1e-9  # of a value's scale: passes reorder rounding


# --- invariants ----------------------------------------------------------------------------------


def check_graph(roots: Sequence[Node]) -> None:
    """Raise VerificationError for a node that breaks the rules of GRAPH."""
    seen: set[Block] = set()
    for node in topological(roots):
        for d in node.dims:
            if any(isinstance(a, Loop | Gather) for a in d.atoms()):
                raise VerificationError(f"a size of {title(node)} depends on a loop or on data")
        if isinstance(node, Reduce):
            _check_reduce(node)
        elif isinstance(node, Scan | Region):
            if node.block not in seen:
                seen.add(node.block)
                _check_block(node.block)
            _check_call(node)
        elif not isinstance(node, Leaf | Output | Opaque):
            raise VerificationError(f"{title(node)} is of a kind that GRAPH does not have")


def _check_reduce(node: Reduce) -> None:
    if remake(node, {}) is not node:
        raise VerificationError(f"{title(node)} is not canonical: its constructor gives another")
    if rebuild(node, {}) is not node:
        raise VerificationError(f"{title(node)} changes when it is rebuilt from its own operands")
    known = set(node.loops)
    for ix in _ixs(node):
        stray = [a for a in ix.atoms() if not isinstance(a, Dim) and isinstance(a, Loop)]
        if any(a not in known for a in stray):
            raise VerificationError(f"{title(node)} reads at a loop it does not have")
    if max(node.body.reads, default=-1) >= len(node.reads):
        raise VerificationError(f"the formula of {title(node)} has a read that does not exist")


def _ixs(node: Reduce) -> list[Ix]:
    from symprop.graph import IndexOf

    found = [g.ix for g in node.guards]
    for r in node.reads:
        found += [r.ix] if isinstance(r, IndexOf) else [*r.index, *(g.ix for g in r.guards)]
    return found


def _check_block(block: Block) -> None:
    own = set(block.leaves)
    for node in topological(block.outputs):
        if isinstance(node, Leaf) and node not in own and node.kind != "constant":
            raise VerificationError(
                f"the block {quoted(block.name)} reads {quoted(node.name)} from outside"
            )
    check_graph(block.outputs)


def _check_call(node: Scan | Region) -> None:
    if len(node.arguments) != len(node.block.leaves):
        raise VerificationError(
            f"{title(node)} hands {len(node.arguments)} values to a block of "
            f"{len(node.block.leaves)}"
        )
    rows = range(node.ncarry, node.ncarry + node.nslice) if isinstance(node, Scan) else range(0)
    for k, (a, leaf) in enumerate(zip(node.arguments, node.block.leaves, strict=True)):
        dims = a.dims[1:] if k in rows else a.dims
        if dims != leaf.dims or a.dtype != leaf.dtype:
            raise VerificationError(
                f"{title(node)} hands {a!r} to the leaf {quoted(node.block.names[k])} of its "
                f"block, which is {list(leaf.dims)} {leaf.dtype}"
            )


def title(node: Node) -> str:
    """A node in a message."""
    return quoted(hint(node)) if hint(node) else repr(node)


# --- passes --------------------------------------------------------------------------------------


def check_passes(
    outputs: Sequence[Expr],
    values: Mapping[str, Any],
    updates: Sequence[tuple[Expr, Expr]] = (),
    backend: str = "numpy",
    passes: Sequence[pipeline.Pass] | None = None,
    tolerance: float = TOLERANCE,
) -> pipeline.Work:
    """Run every pass and compare each root's value before and after it.

    In: expressions, arrays for their leaves, updates as ``compile_program`` takes them.
    Out: what the last pass made. Raises VerificationError naming the first pass that changed a
    value, and the value.
    """
    named = tuple((f"output {k}", e.node) for k, e in enumerate(outputs))
    pairs = tuple((cast(Leaf, s.node), new.node) for s, new in updates)
    work = pipeline.Work(named, pairs, "float64", backend, "function")
    check_graph(work.roots)
    titles = _titles(work)
    expected = oracle.evaluate(work.roots, values)
    for one in pipeline.PASSES if passes is None else passes:
        before = work.roots
        work = one.apply(work)
        if work.emitted is not None:
            found = _run(work, values)
        elif work.program is not None or work.roots == before:
            continue
        else:
            check_graph(work.roots)
            found = oracle.evaluate(work.roots, values)
        for name, old, new in zip(titles, expected, found, strict=False):
            _compare(one.name, name, old, new, tolerance)
        titles = [*titles, *_titles(work)[len(titles) :]]  # marks that became updates
        expected = found
    return work


def _titles(work: pipeline.Work) -> list[str]:
    names = [hint(n) or name for name, n in work.outputs]
    counted = [f"{n} (output {k})" if names.count(n) > 1 else n for k, n in enumerate(names)]
    return [*counted, *(f"the new {leaf.name}" for leaf, _ in work.updates)]


def _run(work: pipeline.Work, values: Mapping[str, Any]) -> list[Any]:
    """What the emitted function returns and writes, in the order of the roots."""
    program = work.program
    assert program is not None
    assert work.emitted is not None
    run = work.emitted.function
    arrays = {}
    for b in program.arguments:
        arrays[b.label] = np.array(values[b.label], dtype=b.dtype)
    results = run(*(arrays[b.label] for b in program.arguments))
    several = results if len(program.outputs) != 1 else (results,)
    return [*(several or ()), *(arrays[leaf.name] for leaf, _ in work.updates)]


def _compare(step: str, name: str, expected: Any, found: Any, tolerance: float) -> None:
    a, b = np.asarray(expected, float), np.asarray(found, float)
    if a.shape != b.shape:
        raise VerificationError(f"the pass {step} gave {name} the shape {b.shape}, not {a.shape}")
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        scale = max(float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0)), 1e-300)
        far = ~same & ~(np.abs(a - b) <= tolerance * scale)
    if far.any():
        at = tuple(int(i) for i in np.argwhere(far)[0])
        raise VerificationError(
            f"the pass {step} changed {name}: it was {a[at]!r} at {at}, and is {b[at]!r}"
        )
