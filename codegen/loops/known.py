"""What a statement mentions, remembered: the arrays and the parts in it.

In: a statement. Out: names, of itself and everything inside, or of itself alone.

Guarantees: pure. Statements do not change, so what was found out about one holds as long as it
lives; the memory keeps a bounded number of them, by identity (comparing nests costs more than
walking them).
"""

from __future__ import annotations

from codegen.loops.nest import Call, Part, Stmt, Store
from codegen.loops.walk import bodies, gathered, loads
from codegen.program import BufferSource

__all__ = ["arrays_in", "own_arrays", "parts_in"]

_ROOM = 1 << 16  # statements remembered, some ten megabytes
_known: dict[int, tuple[Stmt, frozenset[str], frozenset[str]]] = {}


def own_arrays(stmt: Stmt) -> frozenset[str]:
    """The arrays that a statement reads, writes or hands on itself."""
    found = [x.buffer for x in loads(stmt)]
    for g in gathered(stmt):
        assert isinstance(g.source, BufferSource)
        found.append(g.source.buffer)
    if isinstance(stmt, Store):
        found.append(stmt.target)
    elif isinstance(stmt, Call):
        found += stmt.arguments
    return frozenset(found)


def arrays_in(stmt: Stmt) -> frozenset[str]:
    """The arrays that a statement and what is inside of it mention."""
    return _facts(stmt)[0]


def parts_in(stmt: Stmt) -> frozenset[str]:
    """The names of the parts in a statement, its own included."""
    return _facts(stmt)[1]


def _facts(stmt: Stmt) -> tuple[frozenset[str], frozenset[str]]:
    found = _known.get(id(stmt))
    if found is not None and found[0] is stmt:
        return found[1:]
    inner = [_facts(s) for s in bodies(stmt)]
    arrays = own_arrays(stmt).union(*(a for a, _ in inner))
    own = {stmt.name} if isinstance(stmt, Part) else ()
    parts = frozenset(own).union(*(p for _, p in inner))
    if len(_known) >= _ROOM:
        _known.clear()
    _known[id(stmt)] = (stmt, arrays, parts)
    return arrays, parts
