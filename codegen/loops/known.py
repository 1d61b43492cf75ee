"""What a statement mentions, remembered: the arrays and the parts in it.

In: a statement. Out: names, of itself and everything inside, or of itself alone.

Guarantees: pure. Statements do not change, so what was found out about one holds as long as it
lives; the memory keeps a bounded number of them, by identity (comparing nests costs more than
walking them).
"""

from __future__ import annotations

from dataclasses import replace

from codegen.loops.nest import For, Part, Stmt, Store, When
from codegen.loops.walk import bodies, read_names

__all__ = ["arrays_in", "own_arrays", "parts_in"]

_ROOM = 1 << 16  # statements remembered, some ten megabytes
_known: dict[int, tuple[Stmt, frozenset[str], frozenset[str]]] = {}


def own_arrays(stmt: Stmt) -> frozenset[str]:
    """The arrays that a statement reads, writes or hands on itself."""
    alone = replace(stmt, body=()) if isinstance(stmt, Part | For | When) else stmt
    written = (stmt.target,) if isinstance(stmt, Store) else ()
    return frozenset((*read_names((alone,), {}), *written))


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
