"""Functions of arrays: what a compiled program looks like from outside.

In: expressions, updates, a backend, a width for "float". Out: ``Compiled``, a program with its
text and the function built from it; ``Function``, the same behind checked arrays.

Guarantees: arrays are checked once, at the door (``symprop.data``), and what they hold is never
written to, but for states and parameters that the function updates, which must be handed in as
they are stored. What runs is the text that ``source`` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from codegen.program import Dtype, Program
from symprop.arguments import check_leaves
from symprop.data import prepare, storage_dtype
from symprop.errors import DataError, DeclarationError, UnsupportedError, listed, quoted
from symprop.expression import Expr
from symprop.graph import Leaf, Node
from symprop.pipeline import BACKENDS, PASSES, Stage, Work, run, united
from symprop.walk import leaves

if TYPE_CHECKING:
    from codegen.loops.nest import Loops

__all__ = ["Compiled", "Function", "compile", "compile_program"]

Arrays = Mapping[str, Any]
WIDTHS = ("float32", "float64")


# --- compiled programs ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Compiled:
    """A program, its text and the function that the text defines, each made when asked for."""

    work: Work
    leaves: tuple[Leaf, ...]
    stages: tuple[Stage, ...] = field(compare=False)
    declared: tuple[Leaf, ...] = ()

    @property
    def program(self) -> Program:
        """The program that runs."""
        assert self.work.program is not None
        return self.work.program

    @property
    def inputs(self) -> tuple[Leaf, ...]:
        """The leaves to hand in, in the order of the text's arguments."""
        return self.leaves

    @cached_property
    def loops(self) -> Loops:
        """The program as nests of loops, under the schedule that loop backends print."""
        from codegen.numba_text import scheduled

        return scheduled(self.program)

    @cached_property
    def _text(self) -> str:
        return run(self.work, PASSES[-1:])[0].source

    @cached_property
    def _run(self) -> Callable[..., Any]:
        return BACKENDS[self.work.backend].build(self._text, self.program.name)

    def source(self) -> str:
        """The text, as it runs."""
        return self._text

    def call(self, arrays: Arrays) -> tuple[Any, ...]:
        """The outputs for arrays by name that are already as they are stored (unchecked)."""
        results = self._run(*(arrays[leaf.name] for leaf in self.leaves))
        return (results,) if len(self.program.outputs) == 1 else tuple(results or ())

    def build(self) -> None:
        """Compile the text now: with Numba this takes seconds, which else the first call takes."""
        _ = self._run

    @cached_property
    def _shared(self) -> tuple[bool, ...]:
        """Which outputs the text returns as they are: an argument, a constant, one output twice."""
        outputs = self.program.outputs
        kept = {b.name for b in self.program.arguments}
        kept |= {b.name for b in self.program.buffers if b.role == "constant"}
        return tuple(o in kept or o in outputs[:k] for k, o in enumerate(outputs))

    def call_apart(self, arrays: Arrays) -> tuple[np.ndarray[Any, Any], ...]:
        """The same as ``call``, but results that the caller may write to.

        Guarantees: none shares memory with another, with what was handed in or with the text.
        """
        made: list[np.ndarray[Any, Any]] = []
        for result, shared in zip(self.call(arrays), self._shared, strict=True):
            array = np.asarray(result)
            if not shared and array.base is not None:  # a view, perhaps of what is not the caller's
                known = (*arrays.values(), *made)
                shared = any(np.may_share_memory(array, other) for other in known)
            made.append(array.copy() if shared else array)
        return tuple(made)


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
    pairs = united([(_target(s), _node(new)) for s, new in updates])
    work = Work(named, pairs, cast(Dtype, dtype), backend, title, marked)
    check_leaves(work.roots)
    lost = (leaf for o in outputs for leaf in o.sources)
    known = dict.fromkeys([*leaves(work.roots), *lost])
    declared = tuple(leaf for leaf in known if leaf.kind != "constant")
    work = replace(work, declared=declared)
    work, stages = run(work, PASSES[:-1])
    assert work.program is not None
    by_name = {leaf.name: leaf for leaf in (*declared, *(leaf for leaf, _ in work.updates))}
    handed = tuple(by_name[b.label] for b in work.program.arguments)
    return Compiled(work, handed, stages, declared)


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
        raise UnsupportedError(f"a function computes in float32 or float64, not in {quoted(dtype)}")


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
    shown = list(outputs) if isinstance(outputs, list | tuple) else [cast(Expr, outputs)]
    compiled = compile_program(shown, (), (), backend, dtype, name)
    return Function(compiled, dtype, check_finite, isinstance(outputs, list | tuple))


class Function:
    """A compiled function of one mapping, or of keywords; ``inputs`` are the names it takes."""

    def __init__(self, compiled: Compiled, dtype: str, check_finite: bool, several: bool) -> None:
        self.compiled, self.dtype = compiled, dtype
        self.check_finite, self._several = check_finite, several
        self.leaves = compiled.leaves
        self.inputs = [leaf.name for leaf in compiled.leaves]
        # Declared, but simplified away: may be handed in all the same.
        self._ignored = [leaf.name for leaf in compiled.declared if leaf not in compiled.leaves]
        given = {b.name: b.label for b in compiled.program.arguments}
        changed = {given[n] for n in compiled.program.updates}
        self._changed = [leaf for leaf in compiled.leaves if leaf.name in changed]

    @property
    def program(self) -> Program:
        """The program that runs."""
        return self.compiled.program

    @property
    def loops(self) -> Loops:
        """The program as nests of loops, scheduled; it prints."""
        return self.compiled.loops

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
            check_finite=self.check_finite,
            ignored=self._ignored,
        )
        for leaf in self._changed:
            if ready[leaf.name] is not given[leaf.name] or not ready[leaf.name].flags.writeable:
                raise DataError(
                    f"{quoted(leaf.name)} is updated in place, so it must be a writable, "
                    f"contiguous array of {storage_dtype(leaf, self.dtype)}: hand in one of "
                    "prop.initial_values"
                )
        results = self.compiled.call_apart(ready)
        return results if self._several else results[0]

    def __repr__(self) -> str:
        return f"<function of {', '.join(self.inputs)}>"
