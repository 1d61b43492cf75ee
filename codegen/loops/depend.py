"""Which statements may change places, and which loops may share their turns.

In: statements of ``codegen.loops.nest``. Out: the name of an array that forbids it, or None.

    meeting(a, b)              an array that one of two groups writes and the other touches
    crossing(a, b, x, y)       one that forbids ``for x: a`` ``for y: b`` as one loop: a turn of b
                               would come before a turn of a that it has to follow
    placed_between(first, between, second)
                               what has to stand before and after the first two made one

Guarantees: None is a proof for every size. A proof takes one axis at a time: it shows that two
turns which touch one element are the same turn, or come in the right order. Gathered positions
prove nothing. Storage declared inside belongs to its turn.

It knows nothing of directives; ``verify`` does not use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from codegen.index import Gather, Ix, Loop, loop, nonneg, substitute
from codegen.loops.known import arrays_in
from codegen.loops.nest import Declare, For, Stmt
from codegen.loops.turns import Access, accesses, apart
from codegen.loops.walk import inside, read_names, written_names

__all__ = ["Marks", "crossing", "meeting", "placed_between"]

Marks = Mapping[str, tuple[bool, ...]]  # which arguments each kernel writes


def meeting(a: Iterable[Stmt], b: Iterable[Stmt], marks: Marks) -> str | None:
    """The first array that one of two groups of statements writes and the other touches."""
    a, b = tuple(a), tuple(b)
    mine = frozenset[str]().union(*map(arrays_in, a))
    if not any(mine & arrays_in(s) for s in b):
        return None
    writes_a, writes_b = written_names(a, marks), written_names(b, marks)
    touched_a = {**writes_a, **read_names(a, marks)}
    touched_b = {**writes_b, **read_names(b, marks)}
    for name in touched_a:
        if name in writes_b or (name in writes_a and name in touched_b):
            return name
    return None


def placed_between(
    first: Stmt, between: Sequence[Stmt], second: Stmt, marks: Marks
) -> tuple[tuple[Stmt, ...], tuple[Stmt, ...]] | tuple[Stmt, str]:
    """What stands between two statements that become one: what goes before it and what after.

    Or, where that cannot be: a statement that needs the first and is needed by the second, and an
    array that says so.
    """
    before: list[Stmt] = []
    after: list[Stmt] = []
    for stmt in reversed(between):
        if isinstance(stmt, Declare) or meeting((stmt,), (*before, second), marks):
            before.insert(0, stmt)
        else:
            after.insert(0, stmt)
    for stmt in before:
        array = meeting((first,), (stmt,), marks)
        if array:
            return stmt, array
    return tuple(before), tuple(after)


def crossing(a: Sequence[Stmt], b: Sequence[Stmt], x: Loop, y: Loop, marks: Marks) -> str | None:
    """An array by which a turn of ``for x: a`` has to come before an earlier turn of ``for y: b``,
    or may have to; ``x`` and ``y`` have one extent."""
    later = _fresh([*inside(a), *inside(b)], x, y)
    mine = list(accesses(a, marks))
    theirs: dict[str, list[Access]] = {}
    for access in accesses(b, marks):
        theirs.setdefault(access.array, []).append(access)
    changed = {s.array for s in mine if s.op} | {
        s.array for found in theirs.values() for s in found if s.op
    }
    for one in mine:
        for other in theirs.get(one.array, ()):
            if (one.op or other.op) and not _in_order(one, other, x, y, later, changed):
                return one.array
    return None


def _fresh(stmts: Iterable[Stmt], x: Loop, y: Loop) -> Loop:
    """A loop variable like ``y`` that nothing uses."""
    taken = [x.position, y.position, *(s.loop.position for s in stmts if isinstance(s, For))]
    return loop(max(taken) + 1, y.extent)


def _in_order(one: Access, other: Access, x: Loop, y: Loop, later: Loop, changed: set[str]) -> bool:
    """Whether a turn x that touches an element never comes after a turn y that touches it."""
    if one.index is None or other.index is None:
        return False
    for mine, theirs in zip(one.index, other.index, strict=True):
        if _moves(mine, changed) or _moves(theirs, changed):
            continue
        difference = mine - substitute(theirs, {y: later.ix()})
        if apart(difference, x, later):
            return True
        k = difference.coefficient(x)
        rest = difference - x.ix() * k + later.ix() * k  # k * (y - x) == rest where they meet
        alone = k and x not in rest.loops and later not in rest.loops
        if alone and nonneg(rest if k > 0 else -rest):
            return True
    return False


def _moves(ix: Ix, changed: set[str]) -> bool:
    """Whether a position is gathered from what is being written."""
    return any(
        isinstance(a, Gather) and getattr(a.source, "buffer", "") in changed for a in ix.atoms()
    )
