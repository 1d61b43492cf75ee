"""Walks over nests: what stands inside, what is read and written, the same with other names.

In: statements of ``codegen.loops.nest``. Out: iterators, or new statements.
Guarantees: nothing is changed in place; order is the order of execution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

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
    "rewritten",
    "scalar_mapped",
    "substituted",
    "written_names",
]


def bodies(stmt: Stmt) -> tuple[Stmt, ...]:
    """The statements directly inside."""
    return stmt.body if isinstance(stmt, Part | For | When) else ()


def inside(stmts: Iterable[Stmt]) -> Iterator[Stmt]:
    """Statements and everything in them, outer first."""
    for stmt in stmts:
        yield stmt
        yield from inside(bodies(stmt))


def mapped(stmts: Iterable[Stmt], change: Callable[[Stmt], Iterable[Stmt]]) -> tuple[Stmt, ...]:
    """The statements with ``change`` applied to each, innermost first; it may give any number."""
    found: list[Stmt] = []
    for stmt in stmts:
        if isinstance(stmt, Part | For | When):
            stmt = replace(stmt, body=mapped(stmt.body, change))
        found += change(stmt)
    return tuple(found)


def scalar_mapped(s: Scalar, change: Callable[[Scalar], Scalar]) -> Scalar:
    """A scalar with ``change`` applied to every part, innermost first."""

    def go(x: Scalar) -> Scalar:
        return scalar_mapped(x, change)

    match s:
        case p.Unary(op, x):
            s = p.Unary(op, go(x))
        case p.Binary(op, a, b):
            s = p.Binary(op, go(a), go(b))
        case p.Compare(op, a, b):
            s = p.Compare(op, go(a), go(b))
        case p.Select(c, a, b):
            s = p.Select(go(c), go(a), go(b))
        case p.Call(function, args):
            s = p.Call(function, tuple(map(go, args)))
        case p.Cast(dtype, x):
            s = p.Cast(dtype, go(x))
        case p.Fma(a, b, c):
            s = p.Fma(go(a), go(b), go(c))
        case p.Bitcast(dtype, x):
            s = p.Bitcast(dtype, go(x))
        case p.Shift(x, places):
            s = p.Shift(go(x), places)
        case p.And(a, b) | p.Or(a, b) | p.Xor(a, b) | p.MulHigh(a, b):
            s = type(s)(go(a), go(b))
        case p.Round(x):
            s = p.Round(go(x))
        case _:
            pass
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
            return Load(name(s.buffer), tuple(map(ix, s.indices)), kept)
        return s

    def one(stmt: Stmt) -> Iterable[Stmt]:
        match stmt:
            case Store():
                index = tuple(map(ix, stmt.index))
                value = scalar_mapped(stmt.value, scalar)
                return (Store(name(stmt.target), index, stmt.op, value),)
            case For():
                v = stmt.loop.ix()
                low = tuple(b for b in map(ix, stmt.low) if guard(v - b, ">=") is not True)
                high = tuple(b for b in map(ix, stmt.high) if guard(b - 1 - v, ">=") is not True)
                return (replace(stmt, low=low, high=high),)
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

    def change(atom: Atom) -> Ix | None:
        if not isinstance(atom, Gather):
            return None
        source = atom.source
        assert isinstance(source, BufferSource)
        if source.buffer not in names:
            return None
        other = BufferSource(names[source.buffer], source.low, source.high)
        return gather(other, tuple(transform(i, change) for i in atom.indices))

    return rewritten(stmts, lambda ix: transform(ix, change), lambda n: names.get(n, n))


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
        for atom in ix.atoms():
            if isinstance(atom, Gather):
                yield atom


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
