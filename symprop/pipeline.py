"""The pipeline: from expressions to a function that runs, one pass after another.

    describe  the header: the formulas of the named values                  symprop.header
    collect   marks of ``prop.update`` become updates of states
    simplify  rules under a cost gate                                       symprop.simplify
    settle    sizes read as sizes, values laid out as they are read         symprop.settle
    lower     values become ordered assignments over named buffers          symprop.lower
    verify    the program is valid, or a fault is named                     codegen.verify
    emit      the program as the text of a backend                          codegen.numpy_text

In: expressions, updates, a backend, a width for "float". Out: ``Compiled`` (a program, its text
and the function built from it), ``Function`` (the same behind checked arrays), initial values.

Guarantees: each pass keeps the value of every output; ``check_passes`` shows it with the oracle
and names the first pass that does not. Equal declarations give equal bytes. Arrays are checked
once, at the door (``symprop.data``); what they hold is never written to, but for states and
parameters that the function updates, which must be handed in as they are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple, cast

import numpy as np

from codegen.names import identifier
from codegen.program import Dtype, Program
from symprop import graph
from symprop.data import prepare, storage_dtype
from symprop.errors import (
    DataError,
    DeclarationError,
    UnsupportedError,
    at,
    listed,
    quoted,
)
from symprop.expression import Expr
from symprop.graph import Leaf, Node, Opaque, Output, Region, Scan, hint, topological
from symprop.header import counts, formulas
from symprop.lower import arguments, lower
from symprop.settle import name_sources, settled

__all__ = [
    "BACKENDS",
    "PASSES",
    "Backend",
    "Compiled",
    "Function",
    "Pass",
    "Stage",
    "collect_updates",
    "compile",
    "compile_program",
    "initial_values",
]

Arrays = Mapping[str, Any]
Update = tuple[Leaf, Node]
WIDTHS = ("float32", "float64")


# --- backends ------------------------------------------------------------------------------------


class Backend(NamedTuple):
    """A way to run a program: its text, and the function that the text defines."""

    emit: Callable[[Program], str]
    build: Callable[[str, str], Callable[..., Any]]


def _numpy_emit(program: Program) -> str:
    from codegen.numpy_text import emit

    return emit(program)


def _numpy_build(source: str, name: str) -> Callable[..., Any]:
    from codegen.build import build

    return build(source, name)


BACKENDS: dict[str, Backend] = {"numpy": Backend(_numpy_emit, _numpy_build)}


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
    doc: str = ""
    program: Program | None = None
    source: str = ""

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
    short = title if len(title) <= 90 else f"{title[:86]} ..."
    lines = [f"{short}.", "", *formulas(work.outputs)]
    return replace(work, doc="\n".join(lines).rstrip())


def _collect(work: Work) -> Work:
    roots, marks = collect_updates(work.roots)
    work = work.with_roots(roots)
    if not work.marked:
        return work
    return replace(work, updates=_united([*work.updates, *marks]))


def _simplify(work: Work) -> Work:
    from symprop.simplify.engine import simplify

    return work.with_roots(simplify(name_sources(work.roots)))


def _settle(work: Work) -> Work:
    return work.with_roots(settled(work.roots))


def _lower(work: Work) -> Work:
    program = lower(work.outputs, work.updates, work.dtype, work.name)
    doc = "\n".join([work.doc, "", *counts(program)])
    return replace(work, program=replace(program, doc=doc))


def _verify(work: Work) -> Work:
    from codegen.verify import verify

    assert work.program is not None
    verify(work.program)
    return work


def _emit(work: Work) -> Work:
    assert work.program is not None
    return replace(work, source=BACKENDS[work.backend].emit(work.program))


PASSES: tuple[Pass, ...] = (
    Pass("describe", _describe, "no value changes; the header says what the user wrote"),
    Pass("collect", _collect, "no value changes; updates stand beside the outputs"),
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


def run(work: Work) -> tuple[Work, tuple[Stage, ...]]:
    """Every pass in order, and what each did."""
    stages = []
    for one in PASSES:
        before = _count(work)
        work = one.apply(work)
        stages.append(Stage(one.name, before, _count(work)))
    return work, tuple(stages)


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
            value = cast(Opaque, node.of).arguments[0]
            new[node] = new.get(value, value)
        elif not isinstance(node, Leaf):
            rebuilt = graph.rebuild(node, new)
            if rebuilt is not node:
                graph.carry_over(node, rebuilt)
                new[node] = rebuilt
    updates = [(cast(Leaf, m.arguments[1]), new.get(m.arguments[2], m.arguments[2])) for m in marks]
    return [new.get(r, r) for r in roots], updates


def _united(updates: Sequence[Update]) -> tuple[Update, ...]:
    """Each update once; two different ones of a state are refused."""
    found: dict[Leaf, Node] = {}
    for leaf, new in updates:
        if found.setdefault(leaf, new) is not new:
            raise DeclarationError(
                f"{quoted(leaf.name)}{at(leaf.where)} is updated to two different values: "
                "update it once"
            )
    return tuple(found.items())


# --- compiled programs ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Compiled:
    """A program with its text and the function that the text defines."""

    program: Program
    text: str
    leaves: tuple[Leaf, ...]
    mentioned: tuple[str, ...]  # names of variables that the outputs turned out not to need
    build: Callable[[str, str], Callable[..., Any]]
    stages: tuple[Stage, ...] = field(compare=False)

    @property
    def inputs(self) -> tuple[Leaf, ...]:
        """The leaves to hand in, in the order of the text's arguments."""
        return self.leaves

    def source(self) -> str:
        """The text, as it runs."""
        return self.text

    @cached_property
    def _run(self) -> Callable[..., Any]:
        return self.build(self.text, self.program.name)

    def call(self, arrays: Arrays) -> tuple[Any, ...]:
        """The outputs for arrays by name that are already as they are stored (unchecked)."""
        results = self._run(*(arrays[leaf.name] for leaf in self.leaves))
        return (results,) if len(self.program.outputs) == 1 else tuple(results or ())


def compile_program(
    outputs: Sequence[Expr],
    updates: Sequence[tuple[Expr, Expr]] = (),
    names: Sequence[str] = (),
    backend: str = "numpy",
    dtype: str = "float32",
    title: str = "function",
    marked: bool = True,
) -> Compiled:
    """One program that computes the outputs, then carries out the updates, all from old values.

    Args:
        outputs: expressions; ``names`` are used in the text where they have none of their own.
        updates: (state or parameter, its new value).
        title: the name of the function in the text.
        marked: whether marks of ``prop.update`` in the outputs are carried out too.

    Raises:
        DeclarationError: for two leaves of one name, or a state updated twice.
        UnsupportedError: for a backend or a width that does not exist.
    """
    _check_backend(backend, dtype)
    titles = [*names, *([""] * (len(outputs) - len(names)))]
    named = tuple((title_, _node(o)) for title_, o in zip(titles, outputs, strict=True))
    pairs = _united([(_target(s), _node(new)) for s, new in updates])
    work = Work(named, pairs, cast(Dtype, dtype), backend, title, marked)
    check_leaves(work.roots)
    known = arguments(work.roots, mentioned=True)
    work, stages = run(work)
    assert work.program is not None
    leaves = arguments([*work.roots, *(leaf for leaf, _ in work.updates)])
    handed = tuple(leaf for leaf in leaves if leaf.kind != "constant")
    other = tuple(leaf.name for leaf in known if leaf not in handed and leaf.kind != "local")
    return Compiled(work.program, work.source, handed, other, BACKENDS[backend].build, stages)


def _node(value: Any) -> Node:
    if not isinstance(value, Expr):
        raise DeclarationError(
            f"compile needs expressions, but got {type(value).__name__} {quoted(value)}: "
            "declare variables with prop.input and compute with prop's functions"
        )
    return value.node


def _target(value: Any) -> Leaf:
    node = _node(value)
    if not isinstance(node, Leaf) or node.kind not in ("state", "parameter"):
        raise DeclarationError(
            f"an update changes a state or a parameter, but got {quoted(value)}: "
            "declare it with prop.state"
        )
    return node


def _check_backend(backend: str, dtype: str) -> None:
    if backend not in BACKENDS:
        raise UnsupportedError(
            f"the backend {quoted(backend)} does not exist: choose one of {listed(BACKENDS)}"
        )
    if dtype not in WIDTHS:
        raise UnsupportedError(
            f"a function computes in float32 or float64, not in {quoted(dtype)}"
        )


def check_leaves(roots: Sequence[Node]) -> None:
    """Refuse two leaves of one name: an array could not say which it is for."""
    known: dict[str, Leaf] = {}
    for leaf in graph.leaves(roots):
        if leaf.kind in ("constant", "local"):
            continue
        other = known.setdefault(leaf.name, leaf)
        if other is not leaf:
            raise DeclarationError(
                f"two variables are named {quoted(leaf.name)}, one declared{at(other.where)} and "
                f"one{at(leaf.where)}: give one of them another name"
            )


# --- functions of arrays -------------------------------------------------------------------------


def compile(
    outputs: Expr | Sequence[Expr],
    backend: str = "numpy",
    dtype: str = "float32",
    check_finite: bool = False,
    name: str = "function",
) -> Function:
    """A function from arrays to the values of the outputs.

    Args:
        outputs: one expression, or a sequence of some.
        backend: how it runs; see ``BACKENDS``.
        dtype: the width of "float": float32 or float64.
        check_finite: whether a NaN or an infinity in an input is an error.
        name: of the function in the generated text.
    """
    several = isinstance(outputs, list | tuple)
    shown = list(outputs) if several else [outputs]  # type: ignore[arg-type]
    compiled = compile_program(shown, (), (), backend, dtype, name)
    return Function(compiled, dtype, check_finite, bool(several))


class Function:
    """A compiled function of one mapping, or of keywords; ``inputs`` are the names it takes."""

    def __init__(self, compiled: Compiled, dtype: str, check_finite: bool, several: bool) -> None:
        self.compiled, self.dtype = compiled, dtype
        self.check_finite, self._several = check_finite, several
        self.leaves = compiled.leaves
        self.inputs = [leaf.name for leaf in compiled.leaves]
        given = {b.name: b.label for b in compiled.program.arguments}
        self._handed = [o in given for o in compiled.program.outputs]
        changed = {given[n] for n in compiled.program.updates}
        self._changed = [leaf for leaf in compiled.leaves if leaf.name in changed]

    @property
    def program(self) -> Program:
        """The program that runs."""
        return self.compiled.program

    def source(self) -> str:
        """Its text."""
        return self.compiled.source()

    def __call__(self, arrays: Arrays | None = None, /, **named: Any) -> Any:
        """The values of the outputs, in their order (one array for one output).

        Raises DataError for arrays that do not fit what was declared.
        """
        if arrays is not None and named:
            raise DataError("hand in one mapping or keywords, not both")
        given = named if arrays is None else arrays
        ready, _ = prepare(
            given,
            self.leaves,
            self.dtype,
            ignored=self.compiled.mentioned,
            check_finite=self.check_finite,
        )
        for leaf in self._changed:
            if ready[leaf.name] is not given[leaf.name]:
                raise DataError(
                    f"{quoted(leaf.name)} is updated in place, so it must be a contiguous array "
                    f"of {storage_dtype(leaf, self.dtype)}: hand in one of prop.initial_values"
                )
        results = tuple(
            np.array(r) if handed else np.asarray(r)
            for r, handed in zip(self.compiled.call(ready), self._handed, strict=True)
        )
        return results if self._several else results[0]

    def __repr__(self) -> str:
        return f"<function of {', '.join(self.inputs)}>"


# --- initial values ------------------------------------------------------------------------------


def initial_values(
    values: Expr | Sequence[Expr], seed: int = 0, dtype: str = "float32"
) -> dict[str, np.ndarray[Any, Any]]:
    """Fresh arrays for the parameters and states that the expressions read, by name.

    Guarantees: a parameter's start depends on the seed, its name and its initializer alone; it is
    drawn in float64 and then rounded.
    """
    shown = list(values) if isinstance(values, list | tuple) else [values]
    roots = [_node(v) for v in shown]
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise DeclarationError(f"seed must be a whole number from 0 up, but is {quoted(seed)}")
    check_leaves(roots)
    kept = [leaf for leaf in arguments(roots) if leaf.kind in ("parameter", "state")]
    return {leaf.name: _initial(leaf, int(seed), dtype) for leaf in kept}


def _initial(leaf: Leaf, seed: int, dtype: str) -> np.ndarray[Any, Any]:
    shape = tuple(cast(int, d.value) for d in leaf.dims)
    start = leaf.init
    if callable(start):
        word = int.from_bytes(blake2b(leaf.name.encode(), digest_size=8).digest(), "little")
        start = start(np.random.default_rng([seed, word]), shape)
        if np.shape(start) != shape:
            raise DeclarationError(
                f"the initializer of {quoted(leaf.name)}{at(leaf.where)} gave an array "
                f"{np.shape(start)}, expected {shape}"
            )
    return np.array(np.broadcast_to(start, shape), dtype=storage_dtype(leaf, dtype), order="C")
