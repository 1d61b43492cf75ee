"""A few parts at a time: the Loops that a schedule is tried on, without all the rest.

In: a body, and some of its parts. Out: the same parts under directives.

Every directive looks at the whole of a Loops; with some parts only, a network of many layers costs
as much for each layer as one of few. What is made on a bench stays apart from the rest: it begins
with a part that does nothing, but has a loop at the last position and the locals used so far.

Guarantees: arrays that something outside mentions count as outputs: no directive takes them away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from codegen.dtypes import WIDTH
from codegen.llvm.cost import FORMULA, text
from codegen.llvm.target import Target
from codegen.loops.directives import Directive, Outline, RegisterBlock, ScheduleError
from codegen.loops.finding import Fresh
from codegen.loops.known import arrays_in
from codegen.loops.nest import Call, Declare, For, Kernel, Loops, Part, Stmt, Store
from codegen.loops.schedule import apply
from codegen.loops.walk import inside, loads, mapped
from codegen.names import identifier
from codegen.program import Buffer

__all__ = ["Bench"]


class Bench:
    """Parts being scheduled."""

    def __init__(
        self, loops: Loops, parts: Sequence[Stmt], outside: frozenset[str], first: Part,
        target: Target, sizes: dict[str, int],
    ) -> None:  # fmt: skip
        kept = [b.name for b in loops.arrays if b.role == "scratch" and b.name in outside]
        self.loops = replace(
            loops,
            body=(first, *parts),
            kernels=tuple(replace(k, body=(), scratch=()) for k in loops.kernels),
            outputs=tuple(dict.fromkeys((*loops.outputs, *kept))),
            schedule=(),
        )
        self.kernels = len(loops.kernels)
        self.target = target
        self.sizes = sizes

    def attempt(self, directive: Directive) -> bool:
        """Applies a directive, if it is legal."""
        try:
            self.loops = apply(self.loops, directive)
        except ScheduleError:
            return False
        return True

    def parts(self) -> list[Part]:
        """The parts of the body, in order."""
        return [s for s in self.loops.body[1:] if isinstance(s, Part)]

    def made(self) -> tuple[Kernel, ...]:
        """The kernels that were made here."""
        return self.loops.kernels[self.kernels :]

    def arrays(self) -> Mapping[str, Buffer]:
        return {b.name: b for b in self.loops.arrays}

    def private(self, name: str) -> list[Buffer]:
        """Scratch that one part alone uses."""
        mine = next(arrays_in(p) for p in self.parts() if p.name == name)
        others = frozenset(self.loops.outputs).union(
            *(arrays_in(p) for p in self.parts() if p.name != name)
        )
        every = (b for b in self.loops.arrays if b.role == "scratch" and b.dims)
        return [b for b in every if b.name in mine - others]

    def smaller(self, array: Buffer) -> bool:
        """Whether an array that was made local is a register, or lost an axis."""
        for s in inside(self.loops.body):
            if isinstance(s, Declare) and s.array.name == array.name:
                return len(s.array.dims) < len(array.dims)
        return True  # it went into the register that was copied into it

    def gathered(self, name: str) -> None:
        """Puts the parts that follow one in a loop, and what is declared for them, at its end: the
        same statements in the same order, so that what takes the part apart keeps them together."""

        def change(s: Stmt) -> tuple[Stmt, ...]:
            if not isinstance(s, For):
                return (s,)
            parts = [t for t in s.body if isinstance(t, Part)]
            declared = tuple(t for t in s.body if isinstance(t, Declare))
            first = parts[0] if parts else None
            if first is None or first.name != name or len(s.body) > len(parts) + len(declared):
                return (s,)
            body = (*declared, *first.body, *parts[1:])
            return (replace(s, body=(replace(first, body=body),)),)

        self.loops = replace(self.loops, body=mapped(self.loops.body, change))

    def apart(self, name: str) -> None:
        """Puts what is rolled behind the sums of a part, and calls long functions, into kernels of
        its own: their many constants must not take registers from the sums."""
        fresh, made = Fresh(self.loops), list[str]()

        def change(s: Stmt) -> tuple[Stmt, ...]:
            if not isinstance(s, For) or s.kind != "serial" or not _long(s):
                return (s,)
            made.append(fresh.title(f"{name} behind"))
            return (Part(made[-1], (s,)),)

        before = self.loops
        body = tuple(
            replace(p, body=mapped(p.body, change)) if isinstance(p, Part) and p.name == name else p
            for p in self.loops.body
        )
        self.loops = replace(self.loops, body=body)
        done = [
            self.attempt(Outline(part, fresh.name(f"{identifier(name)}_behind"))) for part in made
        ]
        if not all(done):
            self.loops = before

    def transposed(self, copy: Part) -> bool:
        """The copy of an operand in squares of one vector, if it is turned: what is read in rows is
        stored so."""
        names = [f.name for f in inside(copy.body) if isinstance(f, For)]
        (store,) = [s for s in inside(copy.body) if isinstance(s, Store)]
        (load,) = loads(store)
        if len(names) < 2 or load.indices[-1].loops == store.index[-1].loops:
            return False
        lanes = self.target.lanes(WIDTH[self.arrays()[copy.name].dtype])
        shape = tuple((n, lanes) for n in names[-2:])
        return self.attempt(RegisterBlock(copy.name, shape, lanes=True))


def _long(f: For) -> bool:
    """Whether a loop around lanes alone computes a function that is written out, for each."""
    every = list(inside(f.body))
    stores = [s for s in every if isinstance(s, Store)]
    inner = [s for s in every if isinstance(s, For)]
    lanes = bool(inner) and all(s.kind == "vector" for s in inner)
    plain = (
        lanes and all(s.op == "=" for s in stores) and not any(isinstance(s, Call) for s in every)
    )
    return plain and any(text(s.value) >= FORMULA for s in stores)
