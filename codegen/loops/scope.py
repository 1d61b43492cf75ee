"""Where a statement of a nest stands: what is declared, bound and known to hold there.

In: the arrays and dimensions of a body, its statements. Out: ``visited``, each statement with its
``Scope``; how a reader calls what stands there.

Guarantees: pure; outer statements before inner ones. ``guards`` holds the conditions under which
the statement runs, those of narrowed loops included, but not one gathered from an array that is
stored to under it: that need no longer hold. ``dead`` is set where a statement can never run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from codegen.index import Dim, Guard, Ix, Loop, guard
from codegen.listing import Spelling, spell_guard, spell_ix
from codegen.loops.listing import bound_names
from codegen.loops.nest import Call, Declare, For, Part, Stmt, Store, When
from codegen.loops.walk import inside
from codegen.names import comment_safe
from codegen.program import Buffer
from codegen.ranges import Witness, gathers

__all__ = ["InvalidLoops", "Scope", "narrowed", "visited"]


class InvalidLoops(ValueError):  # noqa: N818 - says what is the matter
    """Nests that break a rule of ``codegen.loops.nest``: a fault of what built them."""


@dataclass(frozen=True)
class Scope:
    """What holds at a statement; ``title`` says which body it stands in."""

    dims: tuple[Dim, ...]
    arrays: Mapping[str, Buffer]
    title: str = ""
    part: str = ""
    loops: tuple[Loop, ...] = ()
    names: Spelling = field(default_factory=dict)
    guards: tuple[Guard, ...] = ()
    dead: bool = False

    def inside(self, stmt: Part | For | When) -> Scope:
        """The scope of the statements in a statement."""
        match stmt:
            case Part():
                return replace(self, part=comment_safe(stmt.name, 80))
            case For():
                names = bound_names(dict(self.names), stmt)
                inner = replace(self, loops=(*self.loops, stmt.loop), names=names)
                return inner.given(_lasting(narrowed(stmt), stmt))
            case When():
                return self.given(_lasting(stmt.guards, stmt))

    def given(self, guards: Iterable[Guard | bool]) -> Scope:
        """The scope where guards hold as well."""
        kept = dict.fromkeys(self.guards)
        dead = self.dead
        for g in guards:
            if isinstance(g, Guard):
                kept[g] = None
            elif not g:
                dead = True
        return replace(self, guards=tuple(kept), dead=dead)

    def declaring(self, array: Buffer) -> Scope:
        """The scope after a declaration."""
        return replace(self, arrays={**self.arrays, array.name: array})

    # --- for messages ----------------------------------------------------------------------------

    @property
    def where(self) -> str:
        """The start of a message."""
        return f"{self.title}part {self.part}: " if self.part else self.title

    def fail(self, text: str) -> InvalidLoops:
        """The error of this place."""
        return InvalidLoops(f"{self.where}{text}")

    def spell(self, ix: Ix) -> str:
        return spell_ix(ix, self.names)

    def element(self, name: str, index: Sequence[Ix], guards: Sequence[Guard] = ()) -> str:
        """``x[batch, pixel] where pixel - 1 >= 0``."""
        place = ", ".join(map(self.spell, index))
        under = " and ".join(spell_guard(g, self.names) for g in guards)
        return (f"{name}[{place}]" if index else name) + (f" where {under}" if under else "")

    def example(self, w: Witness) -> str:
        """`` at size(batch) = 1, batch = 0``; nothing where no value is needed."""
        called = {d.name: self.names.get(d, d.name) for d in self.dims}
        values = [f"{called[name]} = {n}" for name, n in w.sizes.items()]
        values += [f"{self.names[item]} = {n}" for item, n in w.loops.items()]
        return f" at {', '.join(values)}" if values else ""


def narrowed(stmt: For) -> list[Guard | bool]:
    """What the bounds of a loop say of its variable."""
    v = stmt.loop.ix()
    low = [guard(v - ix, ">=") for ix in stmt.low]
    return [*low, *(guard(ix - 1 - v, ">=") for ix in stmt.high)]


def _lasting(guards: Iterable[Guard | bool], stmt: For | When) -> Iterator[Guard | bool]:
    """The guards that hold all through the body they guard; of a call, every argument counts as
    written."""
    stored: set[str] = set()
    for g in guards:
        sources = gathers([g.ix]) if isinstance(g, Guard) else []
        if sources and not stored:
            for s in inside(stmt.body):
                if isinstance(s, Store):
                    stored.add(s.target)
                elif isinstance(s, Call):
                    stored.update(s.arguments)
        if not any(getattr(a.source, "buffer", "") in stored for a in sources):
            yield g


def visited(stmts: Iterable[Stmt], scope: Scope) -> Iterator[tuple[Stmt, Scope]]:
    """Every statement, with the scope in which it stands (of a ``Declare``: before it)."""
    for stmt in stmts:
        yield stmt, scope
        if isinstance(stmt, Declare):
            scope = scope.declaring(stmt.array)
        elif isinstance(stmt, Part | For | When):
            yield from visited(stmt.body, scope.inside(stmt))
