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
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from codegen.program import Dtype, Program
from symprop import recall
from symprop.arguments import check_leaves
from symprop.backends import BACKENDS, Emitted, NativeCode, check_backend, default
from symprop.data import Door, storage_dtype
from symprop.errors import DataError, DeclarationError, UnsupportedError, quoted
from symprop.expression import Expr
from symprop.graph import Leaf, Node
from symprop.modes import resolved
from symprop.pipeline import PASSES, Stage, Work, run, seldom_collected, united
from symprop.walk import leaves

if TYPE_CHECKING:
    from codegen.llvm.calling import Caller
    from codegen.llvm.kept import ObjectCode
    from codegen.llvm.native import Native
    from codegen.loops.nest import Loops

__all__ = ["Compiled", "Function", "compile", "compile_program"]

Arrays = Mapping[str, Any]
WIDTHS = ("float32", "float64")


# --- compiled programs ---------------------------------------------------------------------------


class _Face(NamedTuple):
    """What a program gives back: its outputs; those names of arrays that were there before a call
    (arguments, constants); the leaves that a call changes."""

    outputs: tuple[str, ...]
    given: frozenset[str]
    changed: frozenset[str]


@dataclass(frozen=True)
class Compiled:
    """A program, its text and the function that the text defines, each made when asked for.

    ``leaves`` are to be handed in, in the order of the text's arguments, and ``declared`` all that
    may be. ``found`` is machine code from the cache: with it no pass runs before its result is
    asked for."""

    work: Work
    leaves: tuple[Leaf, ...]
    declared: tuple[Leaf, ...] = ()
    found: ObjectCode | None = field(default=None, compare=False)
    recall: str | None = field(default=None, compare=False)

    @cached_property
    def _passed(self) -> tuple[Work, tuple[Stage, ...]]:
        return run(self.work, PASSES[:-1])

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What each pass did."""
        return self._passed[1]

    @property
    def program(self) -> Program:
        """The program that runs."""
        program = self._passed[0].program
        assert program is not None
        return program

    @property
    def inputs(self) -> tuple[Leaf, ...]:
        """The leaves to hand in, in the order of the text's arguments."""
        return self.leaves

    @cached_property
    def loops(self) -> Loops:
        """The program as nests of loops: as they run, or as loop backends print them."""
        if self.native is not None:
            return self.native.loops
        from codegen.numba_text import scheduled

        return scheduled(self.program)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(leaf.name for leaf in self.leaves)

    @cached_property
    def _emitted(self) -> Emitted:
        emitted = run(self._passed[0], PASSES[-1:])[0].emitted
        assert emitted is not None
        return emitted

    @property
    def native(self) -> Native | None:
        """The program as machine code, where that is what runs."""
        if self.work.backend != "native":
            return None
        assert isinstance(self._emitted, NativeCode)
        return self._emitted.native

    @cached_property
    def _run(self) -> Callable[..., Any]:
        if self.work.backend != "native":
            return self._emitted.function
        from codegen.llvm.kept import loaded

        if self.found is not None:
            return loaded(self.found)
        with seldom_collected():
            assert isinstance(self._emitted, NativeCode)
            return self._emitted.kept(self.recall)

    @property
    def caller(self) -> Caller | None:
        """The machine code as a function of arrays, where that is what runs."""
        return cast("Caller", self._run) if self.work.backend == "native" else None

    @property
    def from_cache(self) -> bool:
        """Whether what runs was compiled before, by this process or another one."""
        native = self.native if self.found is None else None
        return self.found is not None or (native is not None and native.object.kept)

    def source(self, language: str | None = None) -> str:
        """The program as text: of the backend that runs it, or, labelled so, of another one.

        In: the name of a backend, "llvm" for the text of machine code, or nothing: then it is the
        one to read, NumPy's where machine code runs.
        """
        own = self.work.backend
        wanted = language or ("numpy" if own == "native" else own)
        name = "native" if wanted == "llvm" else wanted
        check_backend(name)
        if name == own:
            return self._emitted.source
        sign = ";" if BACKENDS[name].language == "LLVM" else "#"
        runs = 'machine code: source("llvm") shows it' if own == "native" else f"the backend {own}"
        return (
            f"{sign} Equivalent; what runs is {runs}.\n{BACKENDS[name].emit(self.program).source}"
        )

    def call(self, arrays: Arrays) -> tuple[Any, ...]:
        """The outputs for arrays by name that are already as they are stored (unchecked)."""
        results = self._run(*[arrays[name] for name in self._names])
        return (results,) if len(self.work.outputs) == 1 else tuple(results or ())

    def build(self) -> None:
        """Compile the text now: with Numba this takes seconds, which else the first call takes."""
        _ = self._run

    @cached_property
    def _shared(self) -> tuple[bool, ...]:
        """Which outputs the text returns as they are: an argument, a constant, one output twice."""
        outputs, given = self._face.outputs, self._face.given
        return tuple(o in given or o in outputs[:k] for k, o in enumerate(outputs))

    @property
    def changed(self) -> frozenset[str]:
        """The leaves, by name, whose arrays are changed in place."""
        return self._face.changed

    @cached_property
    def _face(self) -> _Face:
        if self.found is not None:
            i = self.found.interface
            given = {b.name: b.label for b in i.arguments}
            known = frozenset([*given, *(b.name for b in i.constants)])
            return _Face(i.outputs, known, frozenset(given[n] for n in i.writes))
        p = self.program
        given = {b.name: b.label for b in p.arguments}
        known = frozenset([*given, *(b.name for b in p.buffers if b.role == "constant")])
        return _Face(p.outputs, known, frozenset(given[n] for n in p.updates))

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
    backend: str | None = None,
    dtype: str = "float32",
    title: str = "function",
    marked: bool = True,
) -> Compiled:
    """One program that computes the outputs, then carries out the updates, all from old values.

    Args:
        outputs: expressions; ``names`` are used in the text where they have none of their own.
        updates: (state or parameter, its new value).
        title: the name of the function in the text.
        marked: whether this is a training step: marks of ``prop.update`` in the outputs are
            carried out too, and ``prop.in_training`` is its first value.

    Raises:
        DeclarationError: for two leaves of one name, or a state updated twice.
        UnsupportedError: for a backend or a width that does not exist.
    """
    backend = default() if backend is None else backend
    check_backend(backend)
    check_width(dtype)
    titles = [*names, *([""] * (len(outputs) - len(names)))]
    chosen = resolved([*(_node(o) for o in outputs), *(_node(n) for _, n in updates)], marked)
    outputs = [Expr(n, o.sources) for n, o in zip(chosen, outputs, strict=False)]
    updates = [(s, Expr(n)) for n, (s, _) in zip(chosen[len(outputs) :], updates, strict=True)]
    named = tuple((title_, _node(o)) for title_, o in zip(titles, outputs, strict=True))
    pairs = united([(_target(s), _node(new)) for s, new in updates])
    work = Work(named, pairs, cast(Dtype, dtype), backend, title, marked)
    check_leaves(work.roots)
    lost = (leaf for o in outputs for leaf in o.sources)
    every = dict.fromkeys([*leaves(work.roots), *lost])
    declared = tuple(leaf for leaf in every if leaf.kind != "constant")
    work = replace(work, declared=declared)
    by_name = {leaf.name: leaf for leaf in (*declared, *(leaf for leaf, _ in work.updates))}
    known, found = _recalled(work)
    if found is not None and all(b.label in by_name for b in found.interface.arguments):
        handed = tuple(by_name[b.label] for b in found.interface.arguments)
        return Compiled(work, handed, declared, found)
    made = Compiled(work, (), declared, None, known)
    passed, _ = made._passed
    assert passed.program is not None
    by_name |= {leaf.name: leaf for leaf, _ in passed.updates}
    handed = tuple(by_name[b.label] for b in passed.program.arguments)
    ready = replace(made, leaves=handed)
    ready.__dict__["_passed"] = made._passed
    return ready


def _recalled(work: Work) -> tuple[str | None, ObjectCode | None]:
    """The name of a program's machine code, and the code where the cache has it."""
    if work.backend != "native":
        return None, None
    try:
        from codegen.llvm.kept import called

        known = recall.name(work)
    except (ModuleNotFoundError, NotImplementedError):  # said where the program is to run
        return None, None
    return known, None if known is None else called(known)


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


def check_width(dtype: str) -> None:
    """Refuse what "float" cannot be."""
    if dtype not in WIDTHS:
        raise UnsupportedError(f"a function computes in float32 or float64, not in {quoted(dtype)}")


# --- functions of arrays -------------------------------------------------------------------------


def compile(
    outputs: Expr | Sequence[Expr],
    backend: str | None = None,
    dtype: str = "float32",
    check_finite: bool = False,
    name: str = "function",
) -> Function:
    """A function from arrays to the values of the outputs.

    Args:
        outputs: one expression, or a sequence of some.
        backend: how it runs, one of ``BACKENDS``; not said: native where llvmlite knows this
            machine, else numpy.
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
        self._several = several
        self.leaves = compiled.leaves
        self.inputs = [leaf.name for leaf in compiled.leaves]
        # Declared, but simplified away: may be handed in all the same.
        ignored = [leaf.name for leaf in compiled.declared if leaf not in compiled.leaves]
        self._door = Door(self.leaves, dtype, ignored=ignored, check_finite=check_finite)
        self._changed = [leaf for leaf in compiled.leaves if leaf.name in compiled.changed]

    @property
    def program(self) -> Program:
        """The program that runs."""
        return self.compiled.program

    @property
    def loops(self) -> Loops:
        """The program as nests of loops, scheduled; it prints."""
        return self.compiled.loops

    def source(self, language: str | None = None) -> str:
        """Its text: to read, or in the language that is named ("llvm", a backend)."""
        return self.compiled.source(language)

    def __call__(self, arrays: Arrays | None = None, /, **named: Any) -> Any:
        """The values of the outputs, in their order (one array for one output).

        Raises DataError for arrays that do not fit what was declared.
        """
        if arrays is not None and named:
            raise DataError("hand in one mapping or keywords, not both")
        given = named if arrays is None else arrays
        ready, _ = self._door(given)
        for leaf in self._changed:
            own = ready[leaf.name]
            if own is not given[leaf.name] or not own.flags.writeable:
                raise DataError(
                    f"{quoted(leaf.name)} is updated in place, so it must be a writable, "
                    f"contiguous array of {storage_dtype(leaf, self.dtype)}: hand in one of "
                    "prop.initial_values"
                )
            self._keep_apart(leaf.name, own, ready)
        results = self.compiled.call_apart(ready)
        return results if self._several else results[0]

    def _keep_apart(self, name: str, own: np.ndarray[Any, Any], ready: dict[str, Any]) -> None:
        """Copies what is read from memory that is updated; refuses what is updated there too."""
        changed = self.compiled.changed
        for other, array in ready.items():
            if other == name or not np.may_share_memory(array, own):
                continue
            if other in changed:
                raise DataError(
                    f"{quoted(other)} and {quoted(name)} are updated in place and share memory: "
                    "hand in an array of its own for each"
                )
            ready[other] = array.copy()

    def __repr__(self) -> str:
        return f"<function of {', '.join(self.inputs)}>"
