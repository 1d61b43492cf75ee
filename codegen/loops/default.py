"""The default schedule: what makes plain nests fast enough and good to read on any machine.

In: unscheduled ``Loops``. Out: ``default(loops)``, the directives in the order they are applied, or
``scheduled(loops)``, what they make of it.

    orders   a sum whose operands lie along the last axis of its target runs that axis innermost;
             an operand that lies otherwise, and is read often, is transposed (``orders``)
    fuses    a part joins the loop of a part that it reads from, or reads the same values as, along
             the same axis; then the loops inside. A contraction starts a loop of its own: what
             joins it is its epilogue
    locals   what lives within one turn becomes a local of that turn

Guarantees: each sum adds in the order of the program; nothing is computed twice. Deterministic.

It knows no machine: tiles, lanes and threads are for the backends that have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from codegen.index import Ix, Loop
from codegen.loops.depend import Marks
from codegen.loops.directives import Directive, Fuse, Localise, ScheduleError
from codegen.loops.finding import writes
from codegen.loops.fusing import single
from codegen.loops.known import own_arrays, parts_in
from codegen.loops.nest import Declare, For, Loops, Part, Stmt, When
from codegen.loops.orders import contraction_order, heavy
from codegen.loops.schedule import apply
from codegen.loops.turns import accesses
from codegen.loops.walk import bodies, inside, written_names
from codegen.program import Buffer

__all__ = ["Plan", "default", "scheduled"]


def default(loops: Loops) -> tuple[Directive, ...]:
    """The default schedule of unscheduled nests."""
    return scheduled(loops).schedule[len(loops.schedule) :]


def scheduled(loops: Loops) -> Loops:
    """Unscheduled nests with the default schedule applied."""
    plan = Plan(loops)
    plan.order()
    plan.fuse()
    plan.localise()
    return plan.loops


Body = tuple[str, Loop | None]  # a part (or kernel, or "") and the loop in it, whose body is meant


@dataclass(frozen=True)
class _Group:
    """A part that may join others, or be joined.

    ``along`` are the axes of arrays along which its loop moves.
    """

    name: str
    extent: Ix
    along: frozenset[tuple[str, int]]
    writes: frozenset[str]
    joins: bool

    def with_(self, other: _Group, name: str) -> _Group:
        """The two fused."""
        return replace(
            self, name=name, along=self.along | other.along, writes=self.writes | other.writes
        )


class Plan:
    """The schedule so far, applied."""

    def __init__(self, loops: Loops) -> None:
        self.loops = loops
        self.marks: Marks = writes(loops)
        arrays = [*loops.arrays, *(b for k in loops.kernels for b in k.scratch)]
        self.values = frozenset(b.name for b in arrays if b.role == "scratch" and b.dims)

    def attempt(self, directive: Directive) -> bool:
        """Applies a directive where it is legal; one that is refused is left out by design: the
        plan asks, and the rules of the directive decide."""
        try:
            self.loops = apply(self.loops, directive)
        except ScheduleError:
            return False
        return True

    def roots(self) -> Iterator[tuple[str, tuple[Stmt, ...]]]:
        """The bodies of the program ("") and of the kernels."""
        yield "", self.loops.body
        for kernel in self.loops.kernels:
            yield kernel.name, kernel.body

    # --- orders ----------------------------------------------------------------------------------

    def order(self) -> None:
        for _, body in list(self.roots()):
            for where in [s for s in inside(body) if isinstance(s, Part)]:
                before = self.loops
                if not all(self.attempt(d) for d in contraction_order(where)):
                    self.loops = before

    # --- fusing ----------------------------------------------------------------------------------

    def fuse(self) -> None:
        for name, _ in list(self.roots()):
            self.fuse_inside(name)

    def fuse_inside(self, owner: str) -> None:
        """Fuses the parts in the bodies of one, then those inside of them."""
        done: list[Body] = []
        while True:
            left = [at for at, _ in self.bodies(owner) if at not in done]
            if not left:
                break
            done.append(left[0])
            self.fuse_body(left[0])
        for _, stmts in list(self.bodies(owner)):
            for s in stmts:
                if isinstance(s, Part):
                    self.fuse_inside(s.name)

    def bodies(self, owner: str) -> list[tuple[Body, tuple[Stmt, ...]]]:
        """The bodies with parts in a part, a kernel or the program, not those of parts inside."""
        found: list[tuple[Body, tuple[Stmt, ...]]] = []

        def look(stmts: tuple[Stmt, ...], at: Loop | None) -> None:
            if any(isinstance(s, Part) for s in stmts):
                found.append(((owner, at), stmts))
            for s in stmts:
                if isinstance(s, For):
                    look(s.body, s.loop)

        look(self.body_of(owner), None)
        return found

    def body_of(self, owner: str) -> tuple[Stmt, ...]:
        for name, body in self.roots():
            if name == owner:
                return body
        stmts = [s for _, body in self.roots() for s in body]
        while True:
            (holder,) = [s for s in stmts if owner in parts_in(s)]
            if isinstance(holder, Part) and holder.name == owner:
                return holder.body
            stmts = list(bodies(holder))

    def parts(self, at: Body) -> list[Part]:
        """The parts of one body, in order."""
        stmts = next((stmts for key, stmts in self.bodies(at[0]) if key == at), ())
        return [s for s in stmts if isinstance(s, Part)]

    def fuse_body(self, at: Body) -> None:
        """Each part in turn joins an earlier one: the last that will have it."""
        groups: list[_Group] = []
        for where in self.parts(at):
            own = self.group(where)
            if own is None:
                continue
            for other in self.candidates(own, groups):
                before = {p.name for p in self.parts(at)}
                if self.attempt(Fuse(other.name, own.name)):
                    made = [p.name for p in self.parts(at) if p.name not in before]
                    if not made:  # one loop holds all there is: its body comes next
                        return
                    groups[groups.index(other)] = other.with_(own, made[0])
                    break
            else:
                groups.append(own)

    def group(self, where: Part) -> _Group | None:
        """What fusing asks of a part; None for one that is not a single nest."""
        found = single(where)
        if found is None or any(isinstance(s, Part) for s in inside(where.body)):
            return None
        along = frozenset(
            (access.array, k)
            for access in accesses((where,), self.marks)
            for k, ix in enumerate(access.index or ())
            if ix.atom is found.loop.loop
        )
        written = frozenset(written_names((where,), self.marks))
        return _Group(where.name, found.loop.loop.extent, along, written, not heavy(where))

    def candidates(self, own: _Group, groups: Sequence[_Group]) -> list[_Group]:
        """The groups that a part reads from, then those that read the same; last ones first."""
        if not own.joins:
            return []
        makers: list[_Group] = []
        readers: list[_Group] = []
        for g in reversed(groups):
            shared = {array for array, _ in own.along & g.along}
            if g.extent is own.extent and shared & g.writes:
                makers.append(g)
            elif g.extent is own.extent and shared & self.values:
                readers.append(g)
        return makers + readers

    # --- locals ----------------------------------------------------------------------------------

    def localise(self) -> None:
        for array, name in self.homes():
            before = self.loops
            if self.attempt(Localise(name, array.name)) and not self.smaller(array):
                self.loops = before

    def homes(self) -> list[tuple[Buffer, str]]:
        """Each scratch array that one part alone uses, and the innermost such part."""
        found: list[tuple[Buffer, str]] = []
        for kernel, body in self.roots():
            ways: dict[str, list[tuple[str, ...]]] = {}
            for stmt, way in _ways(body, ()):
                for name in own_arrays(stmt):
                    ways.setdefault(name, []).append(way)
            for array in self.scratch(kernel):
                common = _common(ways.get(array.name, []))
                if common:
                    found.append((array, common[-1]))
        return found

    def scratch(self, kernel: str) -> list[Buffer]:
        """The arrays that are nobody's but the program's, or a kernel's."""
        for k in self.loops.kernels:
            if k.name == kernel:
                return [b for b in k.scratch if b.role == "scratch"]
        given = self.loops.outputs
        return [b for b in self.loops.arrays if b.role == "scratch" and b.name not in given]

    def smaller(self, array: Buffer) -> bool:
        """Whether an array that was made local lost an axis, or is a register."""
        for _, body in self.roots():
            for s in inside(body):
                if isinstance(s, Declare) and s.array.name == array.name:
                    return not s.array.dims or len(s.array.dims) < len(array.dims)
        return False


def _ways(stmts: Sequence[Stmt], way: tuple[str, ...]) -> Iterator[tuple[Stmt, tuple[str, ...]]]:
    """Every statement, and the names of the parts around it."""
    for s in stmts:
        yield s, way
        if isinstance(s, Part | For | When):
            yield from _ways(s.body, (*way, s.name) if isinstance(s, Part) else way)


def _common(ways: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What sequences have in common at their start."""
    if not ways:
        return ()
    first = ways[0]
    n = next(
        (n for n in range(len(first)) if any(w[: n + 1] != first[: n + 1] for w in ways)), None
    )
    return first if n is None else first[:n]
