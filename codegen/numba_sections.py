"""Where the sections of a program begin in its nests, and what the derivative reads of the others.

In: statements of ``codegen.loops.nest``, the arrays by name. Out: for each statement of a body the
sections that it carries out; the arrays that are kept for the backward part.

Guarantees: a statement that belongs to nobody (a copy in another layout), or has no loop, stands
with its neighbours where they have its section, so that the reader sees few dividers; each that is
shown is true of every statement down to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codegen.loops.nest import Call, Declare, For, Stmt, Store
from codegen.loops.walk import inside, loads, written_names
from codegen.program import Buffer, Section

__all__ = ["ORDER", "Sections"]

ORDER: tuple[Section, ...] = ("forward", "backward", "update")
Label = frozenset[Section]
Marks = Mapping[str, tuple[bool, ...]]


class Sections:
    """The sections of the statements of one function."""

    def __init__(self, body: Sequence[Stmt], arrays: Mapping[str, Buffer], writes: Marks) -> None:
        own = {s.array.name: s.array for s in inside(body) if isinstance(s, Declare)}
        self.body, self.writes, self.local = body, writes, own
        self.arrays = {**arrays, **own}
        self.divided = "backward" in self.of(body)

    def of(self, stmts: Sequence[Stmt]) -> Label:
        """The sections of what statements write."""
        found = (self.section(name) for name in written_names(stmts, self.writes))
        return frozenset(s for s in found if s)

    def section(self, array: str) -> Section:
        """The section of an array."""
        buffer = self.arrays[array]
        return "update" if buffer.role in ("state", "parameter") else buffer.section

    def labels(self, stmts: Sequence[Stmt]) -> list[Label]:
        """The sections that each of some statements, one after another, is shown under."""
        own = [self.of((s,)) for s in stmts]
        heavy = [bool(o) and any(isinstance(x, For) for x in inside((s,)))
                 for o, s in zip(own, stmts, strict=True)]  # fmt: skip
        out: list[Label] = []
        for k, label in enumerate(own):
            after = next((own[n] for n in range(k, len(own)) if heavy[n]), frozenset())
            before = out[-1] if out else after
            near = [x for x in (before, after) if label <= x and x]
            out.append(near[0] if near and not heavy[k] else label or before)
        if not all(heavy):  # what belongs to nobody is made for what comes next
            for k in reversed(range(len(own) - 1)):
                out[k] = out[k + 1] if not own[k] else out[k]
        return out

    def saved(self) -> list[str]:
        """The arrays of the forward part that the derivative reads from memory."""
        read: dict[str, dict[str, None]] = {}
        for s in inside(self.body):
            if isinstance(s, Store):
                names = dict.fromkeys(load.buffer for load in loads(s))
                read.setdefault(s.target, {}).update(names)
            elif isinstance(s, Call):
                for target in written_names((s,), self.writes):
                    read.setdefault(target, {}).update(dict.fromkeys(s.arguments))
        pending = [name for name in read if self.section(name) == "backward"]
        found: dict[str, None] = {}
        while pending:
            for name in read.get(pending.pop(), ()):
                if name in found or name not in self.arrays:
                    continue
                if self.section(name) == "forward" and name not in self.local:
                    found[name] = None
                elif not self.section(name) and self.arrays[name].role == "scratch":
                    found[name] = None
                    pending.append(name)
        kept = [n for n in found if self.section(n) == "forward" and self.arrays[n].dims]
        return [name for name in self.arrays if name in kept]
