"""Walks over nests: what stands inside, what is read and written, the same with other names.

In: statements of ``codegen.loops.nest``. Out: iterators, or new statements.
Guarantees: nothing is changed in place; order is the order of execution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from operator import is_

from codegen import program as p
from codegen.index import Atom, Gather, Guard, Ix, Loop, gather, guard, substitute, transform
from codegen.loops.nest import Call, Declare, For, Part, Stmt, Store, When
from codegen.program import BufferSource, IndexValue, Load, Scalar

__all__ = [
    "bodies",
    "gathered",
    "indices",
    "inside",
    "loads",
    "mapped",
    "read_names",
    "renamed",
    "renamed_in",
    "rewritten",
    "scalar_mapped",
    "substituted",
    "with_body",
    "written_names",
]


def bodies(stmt: Stmt) -> tuple[Stmt, ...]:
    """The statements directly inside."""
    return stmt.body if isinstance(stmt, Part | For | When) else ()


def inside(stmts: Iterable[Stmt]) -> Iterator[Stmt]:
    """Statements and everything in them, outer first."""
    left = [*stmts]
    left.reverse()
    while left:
        stmt = left.pop()
        yield stmt
        if isinstance(stmt, Part | For | When):
            left += reversed(stmt.body)


def mapped(stmts: Iterable[Stmt], change: Callable[[Stmt], Iterable[Stmt]]) -> tuple[Stmt, ...]:
    """The statements with ``change`` applied to each, innermost first; it may give any number."""
    found: list[Stmt] = []
    for stmt in stmts:
        if isinstance(stmt, Part | For | When):
            stmt = with_body(stmt, mapped(stmt.body, change))
        found += change(stmt)
    return tuple(found)


def with_body(stmt: Part | For | When, body: tuple[Stmt, ...]) -> Part | For | When:
    """The statement around another body; itself where that is its own."""
    if len(body) == len(stmt.body) and all(map(is_, body, stmt.body)):
        return stmt
    if isinstance(stmt, Part):
        return Part(stmt.name, body, stmt.formula, stmt.origin)
    if isinstance(stmt, For):
        return For(stmt.loop, stmt.name, body, stmt.kind, stmt.low, stmt.high)
    return When(stmt.guards, body)


def scalar_mapped(s: Scalar, change: Callable[[Scalar], Scalar]) -> Scalar:
    """A scalar with ``change`` applied to every part, innermost first; what does not change stays
    the same object."""
    operands = p.children(s)
    if operands:
        new = [scalar_mapped(x, change) for x in operands]
        if not all(map(is_, new, operands)):
            s = p.with_children(s, new)
    return change(s)


# --- loops and indices ----------------------------------------------------------------------------


def rewritten(
    stmts: Iterable[Stmt], ix: Callable[[Ix], Ix], name: Callable[[str], str] = lambda n: n
) -> tuple[Stmt, ...]:
    """The statements with every index and every array name replaced.

    ``ix`` sees whole combinations, gathers in them included (rename their sources there). Bounds
    that say nothing and guards that come out true are dropped; a guard that comes out false
    removes its ``When``, and turns its ``Load`` into 0.
    """

    def scalar(s: Scalar) -> Scalar:
        if isinstance(s, IndexValue):
            return IndexValue(ix(s.ix))
        if isinstance(s, Load):
            kept = _guards(s.guards, ix)
            if kept is None:
                return p.Number(Fraction(0))
            buffer, index = name(s.buffer), tuple(map(ix, s.indices))
            same = buffer == s.buffer and index == s.indices and kept == s.guards
            return s if same else Load(buffer, index, kept)
        return s

    def one(stmt: Stmt) -> Iterable[Stmt]:
        match stmt:
            case Store():
                index = tuple(map(ix, stmt.index))
                value = scalar_mapped(stmt.value, scalar)
                target = name(stmt.target)
                same = value is stmt.value and target == stmt.target and index == stmt.index
                return (stmt,) if same else (Store(target, index, stmt.op, value),)
            case For():
                v = stmt.loop.ix()
                low = tuple(b for b in map(ix, stmt.low) if guard(v - b, ">=") is not True)
                high = tuple(b for b in map(ix, stmt.high) if guard(b - 1 - v, ">=") is not True)
                same = low == stmt.low and high == stmt.high
                return (stmt if same else replace(stmt, low=low, high=high),)
            case When():
                kept = _guards(stmt.guards, ix)
                if kept is None:
                    return ()
                return (When(kept, stmt.body),) if kept else stmt.body
            case Declare():
                return (Declare(replace(stmt.array, name=name(stmt.array.name))),)
            case Call():
                return (
                    Call(
                        stmt.kernel,
                        tuple(map(name, stmt.arguments)),
                        tuple(map(ix, stmt.integers)),
                    ),
                )
            case _:
                return (stmt,)

    return mapped(stmts, one)


def _guards(guards: Iterable[Guard], ix: Callable[[Ix], Ix]) -> tuple[Guard, ...] | None:
    """The guards that still say something; None where one can never hold."""
    kept: dict[Guard, None] = {}
    for g in guards:
        new = guard(ix(g.ix), g.kind)
        if new is False:
            return None
        if new is not True:
            assert isinstance(new, Guard)
            kept[new] = None
    return tuple(kept)


def substituted(stmts: Iterable[Stmt], mapping: Mapping[Loop, Ix]) -> tuple[Stmt, ...]:
    """The statements with loop variables replaced in every index, bound and guard.

    The ``For`` that binds a replaced variable is the caller's to replace.
    """
    return rewritten(stmts, lambda ix: substitute(ix, mapping))


def renamed(stmts: Iterable[Stmt], names: Mapping[str, str]) -> tuple[Stmt, ...]:
    """The statements with arrays called by other names, gather sources included."""
    return rewritten(stmts, lambda ix: renamed_in(ix, names), lambda n: names.get(n, n))


def renamed_in(ix: Ix, names: Mapping[str, str]) -> Ix:
    """An index with arrays that it gathers from called by other names."""

    def change(atom: Atom) -> Ix | None:
        if not isinstance(atom, Gather):
            return None
        source = atom.source
        assert isinstance(source, BufferSource)
        if source.buffer not in names:
            return None
        other = BufferSource(names[source.buffer], source.low, source.high)
        return gather(other, tuple(transform(i, change) for i in atom.indices))

    return transform(ix, change) if ix.gathers else ix


# --- reads and writes -----------------------------------------------------------------------------


def indices(stmt: Stmt) -> Iterator[Ix]:
    match stmt:
        case Store():
            yield from stmt.index
            for s in p.walk(stmt.value):
                if isinstance(s, Load):
                    yield from s.indices
                    yield from (g.ix for g in s.guards)
                elif isinstance(s, IndexValue):
                    yield s.ix
        case For():
            yield stmt.loop.extent
            yield from (*stmt.low, *stmt.high)
        case When():
            yield from (g.ix for g in stmt.guards)
        case Call():
            yield from stmt.integers
        case _:
            pass


def gathered(stmt: Stmt) -> Iterator[Gather]:
    """The gathers in the indices of one statement (not of those inside it)."""
    for ix in indices(stmt):
        if ix.gathers:
            yield from (atom for atom in ix.atoms() if isinstance(atom, Gather))


def loads(stmt: Stmt) -> Iterator[Load]:
    """What one statement reads by its value (not those inside it, nor gathers)."""
    if isinstance(stmt, Store):
        yield from (s for s in p.walk(stmt.value) if isinstance(s, Load))


def read_names(stmts: Iterable[Stmt], writes: Mapping[str, tuple[bool, ...]]) -> dict[str, None]:
    """The arrays read anywhere inside, in order; ``writes`` tells which arguments of a kernel are
    written (those count as read too)."""
    found: dict[str, None] = {}
    for stmt in inside(stmts):
        for load in loads(stmt):
            found[load.buffer] = None
        for g in gathered(stmt):
            assert isinstance(g.source, BufferSource)
            found[g.source.buffer] = None
        if isinstance(stmt, Store) and stmt.op != "=":
            found[stmt.target] = None
        if isinstance(stmt, Call):
            found.update(dict.fromkeys(stmt.arguments))
    return found


def written_names(stmts: Iterable[Stmt], writes: Mapping[str, tuple[bool, ...]]) -> dict[str, None]:
    """The arrays stored to anywhere inside, in order; of a call, the arguments it writes."""
    found: dict[str, None] = {}
    for stmt in inside(stmts):
        if isinstance(stmt, Store):
            found[stmt.target] = None
        elif isinstance(stmt, Call):
            marks = writes[stmt.kernel]
            found.update({a: None for a, w in zip(stmt.arguments, marks, strict=True) if w})
    return found
