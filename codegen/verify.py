"""What makes a Program valid: checked between passes, always in tests, on request for users.

In: a Program. Out: nothing, or ``InvalidProgram`` with one sentence: what is wrong, in which step.

Guarantees of an accepted program: names are legal and unique; each buffer is written once and
before it is read, arguments only in place and after their last other read; ranks, dtypes,
functions and arities fit; every loop and dimension is declared; no read or write was found out of
range where its guards hold, and none of "=" twice in one place. What the index algebra cannot
prove is tried at a few thousand points (``codegen.ranges``): a right program is never refused.

It does not judge whether a program computes what was meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from codegen.dtypes import is_float
from codegen.index import Gather, Guard, Ix, Loop
from codegen.listing import spell_guard, spell_ix
from codegen.program import (
    Assign,
    Block,
    Buffer,
    BufferSource,
    IndexValue,
    Library,
    Load,
    Program,
    Scan,
    Step,
    targets,
    walk,
)
from codegen.ranges import Witness, find, gathers, injective, inside, outside
from codegen.verify_buffer import check_buffer, check_dims, check_sizes, legal, repeated
from codegen.verify_scalar import InvalidProgram, check_scalar

__all__ = ["InvalidProgram", "verify"]


Range = tuple[tuple[Guard, ...], Ix, Ix]  # where the guards hold, 0 <= the first < the second


def verify(program: Program) -> None:
    """Accept a program, or raise InvalidProgram."""
    _verify(program, [])


def _verify(program: Program, done: list[Program]) -> None:
    if any(program is p for p in done):
        return
    done.append(program)
    try:
        _Verifier(program, done).check()
    except InvalidProgram as wrong:
        if len(done) == 1 or str(wrong).startswith("in program "):
            raise
        raise InvalidProgram(f"in program {program.name}: {wrong}") from None


class _Verifier:
    """The checks of one program; ``written`` grows with its steps."""

    def __init__(self, program: Program, done: list[Program]) -> None:
        self.program = program
        self.done = done
        self.buffers = {b.name: b for b in program.buffers}
        self.written = {b.name for b in program.buffers if b.role != "scratch"}
        self.updated: set[str] = set()
        self.defined: set[str] = set()
        self.read: set[str] = set()
        self.proved: set[Range] = set()  # equal steps ask the same
        self.where = ""

    def fail(self, text: str) -> InvalidProgram:
        return InvalidProgram(f"{self.where}{text}")

    def need(self, holds: bool, text: str) -> None:
        if not holds:
            raise self.fail(text)

    def check(self) -> None:
        self.names()
        for b in self.program.buffers:
            check_buffer(b, self.program.dims)
        for n, step in enumerate(self.program.steps):
            self.where = f"step {n + 1} ({', '.join(targets(step))}): "
            self.step(step)
        self.where = ""
        self.outputs()

    # --- declarations --------------------------------------------------------------------------

    def names(self) -> None:
        p = self.program
        for what, name in [
            ("program", p.name),
            *(("dimension", d.name) for d in p.dims),
            *(("buffer", b.name) for b in p.buffers),
        ]:
            self.need(legal(name), f"the {what} name {name!r:.60} is not a legal identifier")
        words = [d.name for d in p.dims] + [b.name for b in p.buffers]
        for name in repeated(words):
            self.need(False, f"the name {name} is given twice among dimensions and buffers")

    def sizes(self, ixs: Iterable[Ix]) -> None:
        """Combinations of declared dimensions alone."""
        check_sizes(ixs, self.program.dims, self.where)

    def dims(self, ix: Ix) -> None:
        check_dims(ix, self.program.dims, self.where)

    def outputs(self) -> None:
        for name in self.program.outputs:
            self.need(name in self.buffers, f"the output {name} is not a buffer")
            self.need(name in self.written, f"the output {name} is never written")
        for b in self.program.buffers:
            self.need(b.name in self.written, f"the buffer {b.name} is never written")
        for step in self.program.steps:
            used = [t for t in targets(step) if t in self.read or t in self.program.outputs]
            used += [t for t in targets(step) if self.buffers[t].role != "scratch"]
            self.need(bool(used), f"{', '.join(targets(step))} is written, but never read")

    # --- steps ---------------------------------------------------------------------------------

    def step(self, step: Step) -> None:
        if isinstance(step, Assign):
            _Assignment(self, step).check()
        elif isinstance(step, Scan):
            self.scan(step)
        elif isinstance(step, Block):
            self.block(step)
        else:
            self.library(step)
        for name in targets(step):
            self.target(name)
        for name in targets(step):
            self.written.add(name)
            self.defined.add(name)
            if self.buffers[name].role != "scratch":
                self.updated.add(name)

    def target(self, name: str) -> None:
        self.need(name in self.buffers, f"{name} is not a buffer")
        self.need(name not in self.defined, f"{name} is written a second time")
        role = self.buffers[name].role
        self.need(
            role in ("scratch", "state", "parameter"), f"{name} is of role {role}: never written"
        )

    def reads(self, name: str) -> Buffer:
        found = self.buffers.get(name)
        if found is None:
            raise self.fail(f"{name} is not a buffer")
        self.need(name in self.written, f"{name} is read before it is written")
        self.need(name not in self.updated, f"{name} is read after it was updated in place")
        self.read.add(name)
        return found

    def library(self, step: Library) -> None:
        for name in step.arguments:
            self.reads(name)
        self.need(step.atom.isidentifier(), f"the operation name {step.atom!r:.60} is not legal")
        self.need(not repeated(step.targets), "a target is named twice")

    def block(self, step: Block) -> None:
        self.body(step.body)
        self.fits("argument", [self.reads(a) for a in step.arguments], step.body.arguments)
        self.need(not repeated(step.targets), "a target is named twice")
        made = [step.body.buffer(name) for name in step.body.outputs]
        self.fits("target", [self.buffers[t] for t in step.targets if t in self.buffers], made)

    def scan(self, step: Scan) -> None:
        self.body(step.body)
        self.sizes((step.length,))
        self.need(not repeated(step.targets), "a target is named twice")
        names = (*step.carries, *step.slices, *step.constants)
        handed = [self.reads(a) for a in names]
        first = len(step.carries)
        rows = handed[first : first + len(step.slices)]
        for b in rows:
            starts = bool(b.dims) and b.dims[0] is step.length
            self.need(starts, f"{b.name} has no leading axis of {step.length!r} to take slices of")
        shapes = [b.dims for b in handed[:first]] + [b.dims[1:] for b in rows]
        shapes += [b.dims for b in handed[first + len(rows) :]]
        self.fits("argument", handed, step.body.arguments, shapes)
        made = [step.body.buffer(name) for name in step.body.outputs]
        self.need(first <= len(made), f"the body gives {len(made)} values for {first} carries")
        known = [self.buffers[t] for t in step.targets if t in self.buffers]
        expected = [b.dims for b in made[:first]] + [(step.length, *b.dims) for b in made[first:]]
        self.fits("target", known, made, [b.dims for b in known], expected)
        for before, after in zip(handed[:first], made[:first], strict=True):
            same = before.dims == after.dims and before.dtype == after.dtype
            self.need(same, f"the carry {before.name} changes its shape or dtype over a turn")

    def body(self, body: Program) -> None:
        _verify(body, self.done)
        self.need(not body.updates, f"the body {body.name} updates an argument in place")
        for name in body.outputs:
            self.need(any(b.name == name for b in body.buffers), f"the body gives no {name}")
        for d in body.dims:
            if d not in self.program.dims:
                raise self.fail(f"the dimension {d.name} of the body {body.name} is not declared")

    def fits(
        self,
        what: str,
        own: Sequence[Buffer],
        body: Sequence[Buffer],
        own_dims: Sequence[tuple[Ix, ...]] | None = None,
        body_dims: Sequence[tuple[Ix, ...]] | None = None,
    ) -> None:
        """The buffers handed to, or taken from, a body have its shapes and dtypes."""
        self.need(len(own) == len(body), f"{len(own)} {what}s for a body with {len(body)}")
        own_dims = own_dims or [b.dims for b in own]
        body_dims = body_dims or [b.dims for b in body]
        for a, b, x, y in zip(own, body, own_dims, body_dims, strict=True):
            here, there = (f"{d.dtype}{list(s)!r}" for d, s in ((a, x), (b, y)))
            same = a.dtype == b.dtype and x == y
            self.need(same, f"the {what} {a.name} is {here}, but {b.name} of the body is {there}")


class _Assignment:
    """The checks of one ``Assign``."""

    def __init__(self, outer: _Verifier, step: Assign) -> None:
        self.outer = outer
        self.step = step
        self.names = dict(zip(step.loops, step.names, strict=False))
        self.loops = set(step.loops)
        self.scalars = list(walk(step.body))
        self.loads = [s for s in self.scalars if isinstance(s, Load)]
        self.groups = list(self._groups())

    def check(self) -> None:
        step, outer = self.step, self.outer
        self.declarations()
        outer.target(step.target)
        target = outer.buffers[step.target]
        for load in self.loads:
            if load.buffer == step.target and target.role != "scratch":
                self.itself(load, target)
            else:
                outer.reads(load.buffer)
        for ixs, _ in self.groups:
            for g in gathers(ixs):
                self.gather_source(g)
        check_scalar(step.body, outer.buffers, target, step.accumulator, outer.where)
        for ixs, guards in self.groups:
            for g in gathers(ixs):
                assert isinstance(g.source, BufferSource)
                read = outer.buffers[g.source.buffer]
                self.in_range("reads", read, g.indices, guards)
        for load in self.loads:
            guards = (*step.guards, *load.guards)
            self.in_range("reads", outer.buffers[load.buffer], load.indices, guards)
        self.in_range("writes", target, step.index, step.guards)
        if step.op == "=":
            self.once()

    def _groups(self) -> Iterator[tuple[Sequence[Ix], tuple[Guard, ...]]]:
        """Every group of index expressions, with the guards under which they are used: of a guard,
        those before it."""
        step = self.step
        yield step.index, step.guards
        for n, g in enumerate(step.guards):
            yield [g.ix], step.guards[:n]
        for scalar in self.scalars:
            if isinstance(scalar, Load):
                guards = (*step.guards, *scalar.guards)
                yield scalar.indices, guards
                for n, g in enumerate(scalar.guards, len(step.guards)):
                    yield [g.ix], guards[:n]
            elif isinstance(scalar, IndexValue):
                yield [scalar.ix], step.guards

    def declarations(self) -> None:
        step, need = self.step, self.outer.need
        need(len(step.names) == len(step.loops), "not every loop has a name")
        need(not repeated(step.names), f"two loops have one name: {', '.join(step.names)}")
        need(len(self.loops) == len(step.loops), "a loop is declared twice")
        for name in step.names:
            need(name.isascii() and name.isidentifier(), f"the loop name {name!r:.60} is not legal")
        self.outer.sizes(item.extent for item in step.loops)
        for ixs, _ in self.groups:
            for ix in ixs:
                if not self.loops.issuperset(ix.loops):
                    raise self.outer.fail(f"{self.spell(ix)} uses a loop that is not declared")
                self.outer.dims(ix)

    def gather_source(self, g: Gather) -> None:
        need = self.outer.need
        if not isinstance(g.source, BufferSource):
            raise self.outer.fail("a gather does not name a buffer")
        read = self.outer.reads(g.source.buffer)
        need(not is_float(read.dtype), f"the index buffer {read.name} is {read.dtype}")
        declared = (read.low is None or read.low is g.source.low) and (
            read.high is None or read.high is g.source.high
        )
        need(declared, f"a gather bounds {read.name} otherwise than its buffer does")

    def itself(self, load: Load, target: Buffer) -> None:
        """An update in place reads its target at the written element only."""
        step = self.step
        atoms = [ix.atom for ix in step.index]
        plain = (
            step.op == "="
            and len(step.loops) == len(atoms)
            and all(isinstance(a, Loop) for a in atoms)
            and len(set(atoms)) == len(atoms)
        )
        self.outer.need(target.name not in self.outer.updated, f"{target.name} is updated twice")
        self.outer.need(
            plain and load.indices == step.index,
            f"the update of {target.name} reads it at another element than it writes",
        )

    def spell(self, ix: Ix) -> str:
        return spell_ix(ix, self.names)

    def in_range(
        self, verb: str, buffer: Buffer, index: Sequence[Ix], guards: tuple[Guard, ...]
    ) -> None:
        outer = self.outer
        outer.need(
            len(index) == len(buffer.dims),
            f"{verb} {buffer.name} with {len(index)} indices, it has {len(buffer.dims)} axes",
        )
        for ix, size in zip(index, buffer.dims, strict=True):
            if (guards, ix, size) in outer.proved:
                continue
            if inside(guards, ix, size):
                outer.proved.add((guards, ix, size))
                continue
            found = outside(outer.program.dims, self.step.loops, guards, ix, size)
            if found is not None:
                place = ", ".join(map(self.spell, index))
                under = " and ".join(spell_guard(g, self.names) for g in guards)
                raise outer.fail(
                    f"{verb} {buffer.name}[{place}]{f' where {under}' if under else ''} out of "
                    f"range: {self.spell(ix)} is {found.value(ix)} of {found.value(size)}"
                    f"{self.example(found)}"
                )

    def example(self, w: Witness) -> str:
        values = [f"{name} = {n}" for name, n in w.sizes.items()]
        values += [f"{self.names[item]} = {n}" for item, n in w.loops.items()]
        return f" at {', '.join(values)}" if values else ""

    def once(self) -> None:
        step = self.step
        if injective(step.index, step.guards, step.loops):
            return
        everything = [*step.index, *(g.ix for g in step.guards)]
        if gathers(everything):  # whoever wrote it knows that the data name no place twice
            return
        seen: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()

        def again(w: Witness) -> bool:
            key = (tuple(w.sizes.values()), tuple(map(w.value, step.index)))
            found = key in seen
            seen.add(key)
            return found

        reach = [*everything, *(item.ix() for item in step.loops)]
        found = find(self.outer.program.dims, step.loops, step.guards, reach, again)
        if found is not None:
            at = ", ".join(str(found.value(ix)) for ix in step.index)
            text = f"writes {step.target}[{at}] twice{self.example(found)}"
            raise self.outer.fail(f"{text}: reduce with sum, max or min")
