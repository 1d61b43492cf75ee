"""The native schedule: tiles of registers for contractions, lanes for the rest, groups in order.

In: unscheduled ``Loops``, the ``Target``, sizes that are known or typical. Out: ``native(...)``,
the ``Loops`` to be emitted; ``plain(loops)``, the parts of it that have no lanes.

    groups    a sum with the elementwise parts that use it alone; other parts over one axis that
              share values; what is no plain nest (a recurrence, a call) by itself
    tiles     ``codegen.llvm.tiles`` for the first kind, ``codegen.llvm.lanes`` for the second, the
              default schedule for the third
    kernels   groups that do the same to different arrays are scheduled once and share a kernel
    room      rows of scratch begin where vectors do (``codegen.llvm.room``)

The ``schedule`` of the result lists the directives in order, for a reader. It is no recipe that
gives the same nests again: reads changed by ``codegen.llvm.compared``, values moved by
``codegen.llvm.early``, the order of groups, the calls of shared kernels and room are no directives.

Guarantees: the values of the program, up to the rounding of sums that ``Init`` and ``Privatise``
reorder; deterministic; nothing is refused: what no directive fits stays as it was written.

It recognises no network: groups are made from what parts read and write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from codegen.index import loop
from codegen.llvm.bench import Bench
from codegen.llvm.clusters import Graph
from codegen.llvm.compared import compared
from codegen.llvm.early import early
from codegen.llvm.grouping import grouped
from codegen.llvm.lanes import in_lanes, united
from codegen.llvm.room import roomy
from codegen.llvm.sharing import Form, again, form
from codegen.llvm.target import Target
from codegen.llvm.tiles import tiled
from codegen.loops.default import Plan
from codegen.loops.directives import Directive, Outline
from codegen.loops.finding import writes
from codegen.loops.known import arrays_in
from codegen.loops.nest import Declare, For, Kernel, Loops, Part, Stmt
from codegen.loops.walk import inside
from codegen.names import Names

__all__ = ["native", "plain"]

MANY = 256  # turns that a free dimension is planned for: fewer lose less than many would gain


def native(loops: Loops, target: Target, sizes: Mapping[str, int]) -> Loops:
    """Unscheduled nests under the native schedule of a machine; ``sizes`` that are not given are
    the typical ones of the dimensions."""
    found = {d.name: max(d.nominal, MANY) for d in loops.dims} | dict(sizes)
    loops = early(compared(loops))
    room = _Room(loops, target, found)
    within: dict[str, tuple[Kernel, ...]] = {}  # kernels of kernels, which stand before them
    for kernel in loops.kernels:
        inner = [k for made in within.values() for k in made]
        whole = replace(
            loops, name=kernel.name, arrays=(*kernel.arrays, *kernel.scratch), body=kernel.body,
            outputs=kernel.writes, kernels=(*loops.kernels, *inner),
        )  # fmt: skip
        done = room.scheduled(whole)
        within[kernel.name] = done.kernels[len(whole.kernels) :]
        handed = {b.name for b in kernel.arrays}
        room.kernels[kernel.name] = replace(
            kernel, body=done.body, scratch=tuple(b for b in done.arrays if b.name not in handed)
        )
    done = room.scheduled(loops, shared=True)
    kernels = tuple(
        one for k in done.kernels for one in (*within.get(k.name, ()), room.kernels.get(k.name, k))
    )
    done = replace(done, kernels=kernels, schedule=(*loops.schedule, *room.directives))
    return roomy(done, target)


def plain(loops: Loops) -> tuple[str, ...]:
    """The parts with loops none of which runs in lanes, in order."""
    bodies = [loops.body, *(k.body for k in loops.kernels)]
    found: list[str] = []
    for s in (s for body in bodies for s in body):
        nests = [t for t in inside((s,)) if isinstance(t, For)]
        if isinstance(s, Part) and nests and not any(t.kind == "vector" for t in nests):
            found.append(s.name)
    return tuple(found)


class _Room:
    """What the benches of one program share: positions, directives, the kernels that are done."""

    def __init__(self, loops: Loops, target: Target, sizes: dict[str, int]) -> None:
        self.target = target
        self.sizes = sizes
        self.kernels = {k.name: k for k in loops.kernels}
        taken = [b.name for b in loops.arrays] + [d.name for d in loops.dims]
        self.names = Names([loops.name, *self.kernels, *taken])
        self.directives: list[Directive] = []
        every = [s for body in (loops.body, *(k.body for k in loops.kernels)) for s in inside(body)]
        self.position = 0
        self.locals: dict[str, Declare] = {}
        self.passed(every)

    def first(self, stmts: tuple[Stmt, ...]) -> Part:
        """A part that does nothing and takes the positions and the names of locals used so far, but
        for those of statements that keep them."""
        own = {s.array.name for s in inside(stmts) if isinstance(s, Declare)}
        last = For(loop(self.position, 1), "first", ())
        return Part(" ", (*(d for name, d in self.locals.items() if name not in own), last))

    def scheduled(self, loops: Loops, shared: bool = False) -> Loops:
        """One body; ``shared``: groups that do the same become one kernel."""
        graph = Graph(loops.body, writes(loops))
        kinds = grouped(graph)
        groups = _Group.all(loops, graph, kinds, shared)
        seen = Counter(g.form.key for g in groups if g.form)
        done: list[Stmt] = []
        first: dict[object, _Shared] = {}
        lost: set[str] = set()  # arrays that calls of shared kernels do not need
        for g in groups:
            if g.form and g.form.key in first:
                found = first[g.form.key]
                done += found.again(g, g.form)
                lost |= found.lost(g.form)
                continue
            loops = _without(loops, lost)
            lost.clear()
            before = tuple(b.name for b in loops.arrays)
            bench = Bench(loops, g.stmts, g.outside, self.first(g.stmts), self.target, self.sizes)
            self.schedule(bench, g.kind)
            outlined = g.form is not None and seen[g.form.key] > 1 and self.outlined(bench)
            parts = bench.loops.body[1:]
            self.passed((*parts, *(s for k in bench.made() for s in k.body)))
            self.directives += bench.loops.schedule
            arrays = bench.loops.arrays
            loops = replace(loops, arrays=arrays, kernels=(*loops.kernels, *bench.made()))
            done += parts
            if outlined and g.form:
                gone = frozenset(before) - {b.name for b in arrays}
                first[g.form.key] = _Shared(g, g.form, parts, gone)
        return replace(_without(loops, lost), body=tuple(done))

    def outlined(self, bench: Bench) -> bool:
        """Whether all parts of a bench became calls of kernels."""
        before = bench.loops
        for p in bench.parts():
            name = self.names(p.name.split(" to ")[0] + "_kernel")
            if not bench.attempt(Outline(p.name, name)):
                bench.loops = before
                return False
        return True

    def passed(self, stmts: Iterable[Stmt]) -> None:
        """Positions and names of locals that are taken."""
        for s in inside(stmts):
            if isinstance(s, For):
                self.position = max(self.position, s.loop.position + 1)
            elif isinstance(s, Declare):
                self.locals[s.array.name] = s

    def schedule(self, bench: Bench, kind: str) -> None:
        """One group."""
        if kind == "tile":
            tiled(bench)
            in_lanes(bench)
        elif kind == "lanes":
            united(bench)
            in_lanes(bench)
        elif not _plain(bench.loops.body):
            rest = Plan(bench.loops)
            rest.order()
            rest.fuse()
            rest.localise()
            bench.loops = rest.loops


@dataclass(frozen=True)
class _Group:
    """Statements that are scheduled together; ``form`` where they may be shared."""

    stmts: tuple[Stmt, ...]
    kind: str
    outside: frozenset[str]
    form: Form | None

    @staticmethod
    def all(loops: Loops, graph: Graph, kinds: Mapping[int, str], shared: bool) -> list[_Group]:
        """The groups of a body in order."""
        known = {b.name: b for b in loops.arrays}
        mentioned = [arrays_in(s) for s in loops.body]
        uses = Counter(name for names in mentioned for name in names)
        uses.update(loops.outputs)
        found: list[_Group] = []
        for members in graph.order():
            own = Counter(name for n in members for name in mentioned[n])
            outside = frozenset(name for name, k in own.items() if uses[name] > k)
            stmts = tuple(loops.body[n] for n in members)
            kind = kinds.get(members[0], "")
            same = form(stmts, known, outside) if shared and kind else None
            found.append(_Group(stmts, kind, outside, same))
        return found

    def renamed(self, other: _Group) -> dict[str, str]:
        """What the parts of this group are called in another of its form."""
        pairs = zip(self.stmts, other.stmts, strict=True)
        return {a.name: b.name for a, b in pairs if isinstance(a, Part) and isinstance(b, Part)}


@dataclass(frozen=True)
class _Shared:
    """A group whose parts are calls, and the arrays that it no longer needs."""

    group: _Group
    form: Form
    parts: tuple[Stmt, ...]
    gone: frozenset[str]

    def again(self, other: _Group, its: Form) -> list[Stmt]:
        """The calls of another group."""
        return again(self.parts, self.form, its, self.group.renamed(other))

    def lost(self, other: Form) -> frozenset[str]:
        """The arrays that another group no longer needs."""
        pairs = zip(self.form.arrays, other.arrays, strict=True)
        return frozenset(b for a, b in pairs if a in self.gone)


def _without(loops: Loops, lost: set[str]) -> Loops:
    """The same with fewer arrays."""
    if not lost:
        return loops
    return replace(loops, arrays=tuple(b for b in loops.arrays if b.name not in lost))


def _plain(stmts: tuple[Stmt, ...]) -> bool:
    """Whether statements have no loops at all, but the first, which is empty."""
    return not any(isinstance(s, For) and s.body for s in inside(stmts))
