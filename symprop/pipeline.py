"""The pipeline: from expressions to a function that runs, one pass after another.

    describe  the header: the formulas of the named values                  symprop.header
    collect   marks of ``prop.update`` become updates of states
    stabilise naive formulas as floats compute them best                   symprop.simplify.stable
    simplify  rules under a cost gate                                       symprop.simplify
    settle    sizes read as sizes, values laid out as they are read         symprop.settle
    lower     values become ordered assignments over named buffers          symprop.lower
    verify    the program is valid, or a fault is named                     codegen.verify
    emit      the program as the text of a backend                          codegen.numpy_text,
              (numba: as nests under the default schedule first)            codegen.numba_text
              (numba-cuda: nests under the one for threads)            codegen.numba_cuda_text
              (native: nests under the schedule of a machine)              codegen.llvm.native

In: ``Work``: named outputs, updates, a backend, a width for "float". Out: the same with a program
and what a backend makes of it; ``symprop.function`` makes functions of them.

Guarantees: each pass keeps the value of every output; ``symprop.verify.check_passes`` shows it
with the oracle and names the first pass that does not. Equal declarations give equal bytes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

from codegen.names import identifier
from codegen.program import Dtype, Program
from symprop import walk
from symprop.backends import BACKENDS, Emitted
from symprop.errors import DeclarationError, UnsupportedError, at, quoted
from symprop.graph import (
    Leaf,
    Node,
    Opaque,
    Output,
    Region,
    Scan,
    hint,
)
from symprop.header import conventions, counts, formulas
from symprop.lower import lower
from symprop.settle import name_sources, settled
from symprop.walk import topological

__all__ = [
    "PASSES",
    "Pass",
    "Stage",
    "Work",
    "collect_updates",
    "run",
    "seldom_collected",
    "united",
]

Update = tuple[Leaf, Node]


# --- passes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """What the passes hand on: values above, the program and its text below."""

    outputs: tuple[tuple[str, Node], ...]
    updates: tuple[Update, ...]
    dtype: Dtype
    backend: str
    name: str
    marked: bool = True
    declared: tuple[Leaf, ...] = ()
    doc: str = ""
    program: Program | None = None
    emitted: Emitted | None = None

    @property
    def roots(self) -> list[Node]:
        """Every value that is wanted."""
        return [*(n for _, n in self.outputs), *(n for _, n in self.updates)]

    def with_roots(self, roots: Sequence[Node]) -> Work:
        """The same with other values."""
        k = len(self.outputs)
        outputs = tuple((name, n) for (name, _), n in zip(self.outputs, roots, strict=False))
        updates = tuple((u, n) for (u, _), n in zip(self.updates, roots[k:], strict=True))
        return replace(self, outputs=outputs, updates=updates)


class Pass(NamedTuple):
    """One step of the pipeline and what it guarantees."""

    name: str
    apply: Callable[[Work], Work]
    guarantee: str


@dataclass(frozen=True)
class Stage:
    """What a pass did: how many values (after lowering: steps) there were before and after."""

    name: str
    before: int
    after: int


def _describe(work: Work) -> Work:
    shown = dict.fromkeys(title or hint(n) for title, n in work.outputs)
    title = f"{work.name}: {', '.join(identifier(s) for s in shown if s)}".rstrip(": ")
    short = f"{title}." if len(title) <= 90 else f"{title[:86].rpartition(', ')[0]}, ..."
    lines = [short, "", *formulas(work.outputs), *conventions(work.outputs)]
    return replace(work, doc="\n".join(lines).rstrip())


def _collect(work: Work) -> Work:
    roots, marks = collect_updates(work.roots)
    work = work.with_roots(roots)
    if not work.marked:
        return work
    return replace(work, updates=united([*work.updates, *marks]))


def _stabilise(work: Work) -> Work:
    from symprop.simplify.stable import stabilise

    return work.with_roots(stabilise(work.roots))


def _simplify(work: Work) -> Work:
    from symprop.simplify.engine import simplify

    return work.with_roots(simplify(name_sources(work.roots)))


def _settle(work: Work) -> Work:
    return work.with_roots(settled(work.roots))


def _lower(work: Work) -> Work:
    program = lower(work.outputs, work.updates, work.dtype, work.name, declared=work.declared)
    doc = "\n".join([work.doc, "", *counts(program)])
    return replace(work, program=replace(program, doc=doc))


def _verify(work: Work) -> Work:
    from codegen.verify import verify

    assert work.program is not None
    verify(work.program)
    return work


def _emit(work: Work) -> Work:
    assert work.program is not None
    return replace(work, emitted=BACKENDS[work.backend].emit(work.program))


PASSES: tuple[Pass, ...] = (
    Pass("describe", _describe, "no value changes; the header says what the user wrote"),
    Pass("collect", _collect, "no value changes; updates stand beside the outputs"),
    Pass("stabilise", _stabilise, "equal values over the reals, their limits where they are 0/0"),
    Pass("simplify", _simplify, "equal values over the reals, at no greater cost"),
    Pass("settle", _settle, "the same operations; sizes read as sizes, values laid out as read"),
    Pass("lower", _lower, "each output is computed as its value says, updates from old values"),
    Pass("verify", _verify, "the program is valid, or a sentence says why not"),
    Pass("emit", _emit, "the text computes what the program says"),
)


def _count(work: Work) -> int:
    if work.program is not None:
        return len(work.program.steps)
    return len(topological(work.roots))


def run(work: Work, passes: Sequence[Pass] = PASSES) -> tuple[Work, tuple[Stage, ...]]:
    """The passes in order, and what each did."""
    stages = []
    with seldom_collected():
        for one in passes:
            before = _count(work)
            work = one.apply(work)
            stages.append(Stage(one.name, before, _count(work)))
    return work, tuple(stages)


PATIENCE = 100_000  # objects made until the collector looks for cycles; Python's default is 700


@contextmanager
def seldom_collected() -> Iterator[None]:
    """The collector looks less often: nearly all that a compile makes is kept, and going through
    every object of NumPy and SymPy for it took a tenth of the time."""
    old = gc.get_threshold()
    raised = 0 < old[0] < PATIENCE  # not by a compile in another thread, which sets it back
    if raised:
        gc.set_threshold(PATIENCE, *old[1:])
    try:
        yield
    finally:
        if raised:
            gc.set_threshold(*old)


# --- updates -------------------------------------------------------------------------------------


def collect_updates(roots: Sequence[Node]) -> tuple[list[Node], list[Update]]:
    """The roots without the marks of ``prop.update``, and (state, new value) for each mark.

    Raises UnsupportedError for a mark inside a scan or a region.
    """
    from symprop.ops.control import UPDATE

    order = topological(roots)
    marks = [n for n in order if isinstance(n, Opaque) and n.atom is UPDATE]
    for node in order:
        if isinstance(node, Scan | Region):
            for inner in topological(node.block.outputs):
                if isinstance(inner, Opaque) and inner.atom is UPDATE:
                    raise UnsupportedError(
                        f"prop.update stands inside {quoted(node.block.name or 'a scan')}, where "
                        "no step can carry it out: return the new value and update outside"
                    )
    if not marks:
        return list(roots), []
    new: dict[Node, Node] = {}
    for node in order:
        if isinstance(node, Output) and node.of in marks:
            value = node.of.arguments[0]
            new[node] = new.get(value, value)
        elif not isinstance(node, Leaf):
            rebuilt = walk.rebuild(node, new)
            if rebuilt is not node:
                walk.carry_over(node, rebuilt)
                new[node] = rebuilt
    updates = [(cast(Leaf, m.arguments[1]), new.get(m.arguments[2], m.arguments[2])) for m in marks]
    return [new.get(r, r) for r in roots], updates


def united(updates: Sequence[Update]) -> tuple[Update, ...]:
    """Each update once; two different ones of a state are refused."""
    found: dict[Leaf, Node] = {}
    for leaf, new in updates:
        if found.setdefault(leaf, new) is not new:
            raise DeclarationError(
                f"{quoted(leaf.name)}{at(leaf.where)} is updated to two different values: "
                "update it once"
            )
    return tuple(found.items())
