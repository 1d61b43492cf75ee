"""Is anything stored before it is read? A walk in the order of execution.

In: a Loops whose names are known to be right. Out: nothing, or ``InvalidLoops`` that names the
array and the part.

Guarantees: an accepted array is read, or added to, only after a store to it by "=" (or by a kernel)
that stands before the read; a read under a guard, or in a narrowed loop, may instead follow a store
of an earlier turn of a loop around both. Storage declared in a loop starts undefined in each turn.

It does not prove that the stores reach every element that is read: ``interpret`` finds that out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from codegen.loops.nest import Call, Declare, For, Kernel, Loops, Part, Stmt, Store, When
from codegen.loops.scope import InvalidLoops
from codegen.loops.walk import bodies, gathered, loads
from codegen.names import comment_safe
from codegen.program import BufferSource

__all__ = ["check_storage"]

Fail = Callable[[str, str], None]  # a name that is read too early, and in which part


def check_storage(loops: Loops) -> None:
    """Accept the whole, or raise InvalidLoops."""
    kernels: dict[str, Kernel] = {}
    needed: dict[str, tuple[str, ...]] = {}
    for kernel in loops.kernels:
        needed[kernel.name] = _needs(kernel, kernels, needed)
        kernels[kernel.name] = kernel

    def fail(name: str, part: str) -> None:
        raise InvalidLoops(f"{part}{name} is read before anything is stored to it")

    known = frozenset(b.name for b in loops.arrays if b.role != "scratch")
    after = _Walk(kernels, needed, fail).block(loops.body, _Known(known))
    for name in loops.outputs:
        if name not in after:
            raise InvalidLoops(f"the output {name} is never stored to")


def _needs(
    kernel: Kernel, kernels: Mapping[str, Kernel], needed: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """The arguments that a kernel writes, but reads before: its caller defines them."""
    found: dict[str, None] = {}

    def fail(name: str, part: str) -> None:
        if name not in kernel.writes:
            title = f"kernel {kernel.name}: {part}"
            raise InvalidLoops(f"{title}{name} is read before anything is stored to it")
        found[name] = None

    known = [b.name for b in kernel.arrays if b.name not in kernel.writes]
    known += [b.name for b in kernel.scratch if b.role == "constant"]
    after = _Walk(kernels, needed, fail).block(kernel.body, _Known(frozenset(known)))
    for name in kernel.writes:
        if name not in after:
            raise InvalidLoops(f"kernel {kernel.name}: {name} is never stored to")
    return tuple(found)


@dataclass(frozen=True)
class _Known:
    """What is stored to at a statement."""

    before: frozenset[str]  # by statements that stand before it
    earlier: frozenset[str] = frozenset()  # in an earlier turn, where there is one
    guarded: bool = False  # whether the statement may wait for such a turn
    part: str = ""

    def has(self, name: str, guarded: bool = False) -> bool:
        late = self.guarded or guarded
        return name in self.before or (late and name in self.earlier)


class _Walk:
    """A walk through one body."""

    def __init__(
        self, kernels: Mapping[str, Kernel], needed: Mapping[str, tuple[str, ...]], fail: Fail
    ) -> None:
        self.kernels = kernels
        self.needed = needed
        self.fail = fail

    def block(self, stmts: Iterable[Stmt], known: _Known) -> frozenset[str]:
        """What is stored to after the statements, storage of their own left out."""
        own: set[str] = set()
        for stmt in stmts:
            if isinstance(stmt, Declare):
                fresh = {stmt.array.name}
                own |= fresh
                known = replace(known, before=known.before - fresh, earlier=known.earlier - fresh)
            else:
                known = replace(known, before=self.stmt(stmt, known))
        return known.before - own

    def stmt(self, stmt: Stmt, known: _Known) -> frozenset[str]:
        """What is stored to after one statement."""
        for g in gathered(stmt):
            assert isinstance(g.source, BufferSource)
            self.read(g.source.buffer, known)
        match stmt:
            case Part():
                part = f"part {comment_safe(stmt.name, 80)}: "
                return self.block(stmt.body, replace(known, part=part))
            case For():
                made = known.earlier | self.made(stmt.body)
                guarded = known.guarded or bool(stmt.low or stmt.high)
                return self.block(stmt.body, replace(known, earlier=made, guarded=guarded))
            case When():
                return self.block(stmt.body, replace(known, guarded=True))
            case Store():
                for load in loads(stmt):
                    self.read(load.buffer, known, bool(load.guards))
                if stmt.op != "=":
                    self.read(stmt.target, known)
                return known.before | {stmt.target}
            case Call():
                kernel = self.kernels[stmt.kernel]
                for b, name in zip(kernel.arrays, stmt.arguments, strict=True):
                    if b.name not in kernel.writes or b.name in self.needed[kernel.name]:
                        self.read(name, known)
                return known.before | self.made((stmt,))
            case Declare():
                return known.before

    def read(self, name: str, known: _Known, guarded: bool = False) -> None:
        if not known.has(name, guarded):
            self.fail(name, known.part)

    def made(self, stmts: Iterable[Stmt]) -> frozenset[str]:
        """The arrays that statements store to, storage of their own left out."""
        found: set[str] = set()
        own: set[str] = set()
        for stmt in stmts:
            if isinstance(stmt, Declare):
                own.add(stmt.array.name)
            elif isinstance(stmt, Store) and stmt.op == "=":
                found.add(stmt.target)
            elif isinstance(stmt, Call):
                kernel = self.kernels[stmt.kernel]
                pairs = zip(kernel.arrays, stmt.arguments, strict=True)
                found.update(name for b, name in pairs if b.name in kernel.writes)
            else:
                found |= self.made(bodies(stmt))
        return frozenset(found - own)
