"""PROGRAM as nests: each step a part of plain loops in the order in which it is written.

In: a verified ``Program``. Out: ``from_program(program)``, the unscheduled ``Loops`` of its values.

    a map               for out: y[out] = body         -- guarded: v = 0; when: v = body; y[out] = v
    a reduction         for out: acc = identity; for the rest: acc += body; y[out] = acc
    a cumulative sum    for out: acc = 0; for i: acc += body(i); y[out, i] = acc         -- linear
    a scatter           y = identity everywhere; for all loops: y[computed] += body
    a block             a kernel, shared by equal blocks, and a call; or its steps, written out
    a scan              carries = start; for t: the body's parts, then carries = next carries
    a library operation an ``UnsupportedFunction``

Guarantees: sums run in the order of the program, except that a cumulative sum from the end starts
at the end. A guard stands outside of every loop that it does not need; one that bounds a reduced
loop narrows it. A loop of one turn is left out; a value is stored once for each element. Buffers
of the program keep their names, those of a scan's body get fresh ones. What a scan stacks is
computed where it is kept, and its slices are read in place. Two runs give equal Loops.

It chooses nothing: fusing, orders of loops and copies of operands are schedules. A schedule that
finds equal nests by itself, and fuses what a call would keep apart, asks for blocks written out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import count

from codegen.functions import UnsupportedFunction
from codegen.index import Ix, Loop, loop
from codegen.loops.assignment import Room, assignment, copied
from codegen.loops.nest import Call, For, Kernel, Loops, Part, Stmt
from codegen.loops.place import Place, Places
from codegen.names import Names
from codegen.program import Assign, Block, Buffer, Library, Program, Role, Scan, Step

__all__ = ["from_program"]


def from_program(program: Program, calls: bool = True) -> Loops:
    """The unscheduled nests of a program; without ``calls``, blocks are written out.

    Raises ``UnsupportedFunction`` for a library operation.
    """
    shared = _Shared(program, calls)
    level = _Level(shared, program)
    body = level.steps(program, level.own)
    return Loops(
        program.name,
        program.doc,
        program.dims,
        tuple(level.arrays.values()),
        body,
        program.outputs,
        tuple(shared.kernels),
    )


def _every_name(program: Program) -> Iterator[str]:
    """The names of sizes and buffers in a program and in the bodies in it."""
    yield from (d.name for d in program.dims)
    yield from (b.name for b in program.buffers)
    for step in program.steps:
        if isinstance(step, Block | Scan):
            yield from _every_name(step.body)


class _Shared:
    """What the bodies of one program share: loop variables and kernels."""

    def __init__(self, program: Program, calls: bool) -> None:
        self.calls = calls
        self.positions = count()
        self.kernels: list[Kernel] = []
        self.names = Names((program.name, *_every_name(program)))
        self.made: list[tuple[Program, Kernel]] = []
        self.parts: set[str] = set()

    def loop(self, extent: Ix) -> Loop:
        return loop(next(self.positions), extent)

    def kernel(self, body: Program) -> Kernel:
        """The kernel of a block's body: one for each body."""
        for known, kernel in self.made:
            if known is body:
                return kernel
        name = self.names(body.name, "block")
        level = _Level(self, body, f"{name}.")
        stmts = level.steps(body, level.own)
        results, copies = level.results(body)
        handed = {b.name: replace(b, role="input") for b in body.arguments}
        arrays = (*handed.values(), *(level.arrays[r] for r in results))
        rest = tuple(b for n, b in level.arrays.items() if n not in handed and n not in results)
        made = Kernel(name, body.dims, arrays, results, (*stmts, *copies), rest, doc=body.doc)
        self.made.append((body, made))
        self.kernels.append(made)
        return made


class _Level:
    """The body of a program or a kernel: its arrays, in order, and its names."""

    def __init__(self, shared: _Shared, program: Program, prefix: str = "") -> None:
        self.shared = shared
        self.arrays = {b.name: b for b in program.buffers if b.role != "scratch"}
        self.names = Names([*(b.name for b in program.buffers), *(d.name for d in program.dims)])
        self.own: Places = {b.name: Place(b.name) for b in program.buffers}
        self.prefix = prefix
        self.around: tuple[str, ...] = ()

    def room(self) -> Room:
        return Room(self.shared.loop, self.names, self.array, self.around)

    def array(self, buffer: Buffer) -> None:
        self.arrays.setdefault(buffer.name, buffer)

    def part(self, name: str, body: Iterable[Stmt], formula: str = "", origin: str = "") -> Part:
        """A part under the name that is nearest to ``name``; one of a kernel says of which."""
        name = self.prefix + name
        fresh, number = name, 2
        while fresh in self.shared.parts:
            fresh, number = f"{name}_{number}", number + 1
        self.shared.parts.add(fresh)
        return Part(fresh, tuple(body), formula, origin)

    def fresh(self, label: str, like: Buffer) -> Place:
        """New scratch of the shape of a buffer."""
        name = self.names(label)
        role: Role = "constant" if like.role == "constant" else "scratch"
        self.array(replace(like, name=name, role=role))
        return Place(name)

    # --- steps -----------------------------------------------------------------------------------

    def targets(self, step: Step, buffers: Mapping[str, Buffer], places: Places) -> None:
        """The arrays of what a step makes."""
        for name in (step.target,) if isinstance(step, Assign) else step.targets:
            if buffers[name].role == "scratch" and not places[name].prefix:
                like = _carrying(step, name, buffers[name])
                self.array(replace(like, name=places[name].array))

    def steps(self, program: Program, places: Places) -> tuple[Part, ...]:
        """The parts of a program whose buffers have their places."""
        buffers = {b.name: b for b in program.buffers}
        found: list[Part] = []
        for step in program.steps:
            if isinstance(step, Block) and not self.shared.calls:
                found += self.written_out(step, buffers, places)
            else:
                found.append(self.step(step, buffers, places))
        return tuple(found)

    def step(self, step: Step, buffers: Mapping[str, Buffer], places: Places) -> Part:
        self.targets(step, buffers, places)
        match step:
            case Assign(target):
                body = assignment(step, buffers[target], places, self.room())
                formula = _renamed(step.formula, places)
                return self.part(places[target].array, body, formula, step.origin)
            case Block():
                return self.block(step, buffers, places)
            case Scan():
                return self.scan(step, buffers, places)
            case Library():
                raise UnsupportedFunction(
                    f"the operation {step.atom} is not made of loops: use another backend"
                )

    def block(self, step: Block, buffers: Mapping[str, Buffer], places: Places) -> Part:
        """A call of the body's kernel; what lies within a larger array is copied out for it."""
        kernel = self.shared.kernel(step.body)
        stmts: list[Stmt] = []
        arguments: list[str] = []
        for name in step.arguments:
            place = places[name]
            if place.prefix:
                one = self.fresh(name, buffers[name])
                stmts += copied(one, place, buffers[name], self.room())
                place = one
            arguments.append(place.array)
        arguments += [places[t].array for t in step.targets]
        stmts.append(Call(kernel.name, tuple(arguments)))
        return self.part(places[step.targets[0]].array, stmts, step.formula, step.origin)

    def written_out(
        self, step: Block, buffers: Mapping[str, Buffer], places: Places
    ) -> Iterator[Part]:
        """The parts of the body over what the call is handed, its results where the call's go."""
        self.targets(step, buffers, places)
        body = step.body
        inner = {b.name: places[a] for b, a in zip(body.arguments, step.arguments, strict=True)}
        copies: list[tuple[str, Place]] = []
        for name, target in zip(body.outputs, step.targets, strict=True):
            to, own = places[target], body.buffer(name).role == "scratch" and name not in inner
            if not own or (to.prefix and not _assigned(body, name)):
                copies.append((name, to))
            else:
                inner[name] = to
        self.own_places(body, inner)
        yield from self.steps(body, inner)
        for name, to in copies:
            yield self.copy(to.array, to, inner[name], body.buffer(name))

    def own_places(self, body: Program, inner: dict[str, Place]) -> None:
        """Places for what a body that is written out keeps to itself."""
        for b in body.buffers:
            if b.role == "constant" and b.name not in inner:
                inner[b.name] = self.fresh(b.name, b)
            elif b.name not in inner:
                inner[b.name] = Place(self.names(b.name))

    def results(self, body: Program) -> tuple[tuple[str, ...], tuple[Part, ...]]:
        """The arrays that hold a body's outputs, distinct and its own; the copies that need be."""
        found: list[str] = []
        copies: list[Part] = []
        for name in body.outputs:
            like = body.buffer(name)
            if like.role != "scratch" or name in found:
                to = self.fresh(f"result_{name}", replace(like, role="scratch", data=None))
                stmts = copied(to, Place(name), like, self.room())
                copies.append(self.part(to.array, stmts, f"{to.array} = {name}"))
                name = to.array
            found.append(name)
        return tuple(found), tuple(copies)

    # --- scans -----------------------------------------------------------------------------------

    def scan(self, step: Scan, buffers: Mapping[str, Buffer], places: Places) -> Part:
        """The carries lie in their targets from the start; a turn replaces them at its end."""
        n, body = len(step.carries), step.body
        carries = [places[t] for t in step.targets[:n]]
        stmts: list[Stmt] = []
        for name, to in zip(step.carries, carries, strict=True):
            stmts.append(self.copy(f"{to.array}_start", to, places[name], buffers[name]))
        turn = self.shared.loop(step.length)
        at = step.length - 1 - turn.ix() if step.reverse else turn.ix()
        before, word = self.around, Names(self.around)(_axis(step, buffers), "turn")
        self.around = (*before, word)
        inner = self.inner(step, places, at)
        loop_body: list[Stmt] = [*self.steps(body, inner)]
        for name, target in zip(body.outputs[n:], step.targets[n:], strict=True):
            to = _row(places[target], at)
            if inner[name] != to:
                loop_body.append(self.copy(to.array, to, inner[name], body.buffer(name)))
        loop_body += self.next_carries(step, inner)
        self.around = before
        stmts.append(For(turn, word, tuple(loop_body)))
        name = f"{places[step.targets[0]].array}_scan"
        return self.part(name, stmts, step.formula, step.origin)

    def copy(self, name: str, to: Place, source: Place, like: Buffer) -> Part:
        stmts = copied(to, source, like, self.room())
        return self.part(name, stmts, f"{to.array} = {source.array}")

    def inner(self, step: Scan, places: Places, at: Ix) -> dict[str, Place]:
        """Where the buffers of a scan's body lie at one turn."""
        body, n = step.body, len(step.carries)
        handed = [places[t] for t in step.targets[:n]]
        handed += [_row(places[name], at) for name in step.slices]
        handed += [places[name] for name in step.constants]
        inner = {b.name: p for b, p in zip(body.arguments, handed, strict=True)}
        for name, target in zip(body.outputs[n:], step.targets[n:], strict=True):
            if name not in inner and _assigned(body, name):
                inner[name] = _row(places[target], at)
        self.own_places(body, inner)
        return inner

    def next_carries(self, step: Scan, inner: Places) -> list[Stmt]:
        """The carries of the next turn in place of this turn's."""
        n, body = len(step.carries), step.body
        own = [inner[b.name] for b in body.arguments[:n]]
        first: list[Stmt] = []
        last: list[Stmt] = []
        for to, name in zip(own, body.outputs[:n], strict=True):
            source, like = inner[name], body.buffer(name)
            if source == to:
                continue
            if source in own:  # another carry, which may be replaced before it is read
                held = self.fresh(f"held_{source.array}", replace(like, role="scratch"))
                first.append(self.copy(held.array, held, source, like))
                source = held
            last.append(self.copy(f"{to.array}_next", to, source, like))
        return [*first, *last]


def _renamed(formula: str, places: Places) -> str:
    """A line of mathematics with buffers called as the arrays they lie in."""

    def name(word: re.Match[str]) -> str:
        place = places.get(word[0])
        return place.array if place else word[0]

    return re.sub(r"[A-Za-z_]\w*", name, formula)


def _carrying(step: Step, name: str, target: Buffer) -> Buffer:
    """The array of a target: that of a carry lies in the bounds which the body has of it."""
    if not isinstance(step, Scan) or name not in step.targets[: len(step.carries)]:
        return target
    carry = step.body.arguments[step.targets.index(name)]
    return replace(target, low=carry.low, high=carry.high) if target.low is None else target


def _row(place: Place, at: Ix) -> Place:
    """One position of a stacked value."""
    return replace(place, prefix=(*place.prefix, at))


def _assigned(body: Program, name: str) -> bool:
    """Whether a buffer is made by a step that can write it within a larger array."""
    return any(isinstance(s, Assign) and s.target == name for s in body.steps)


def _axis(step: Scan, buffers: Mapping[str, Buffer]) -> str:
    """What the reader calls a turn."""
    rows = [*step.slices, *step.targets[len(step.carries) :]]
    return next((a for r in rows if (a := buffers[r].axes[0])), "turn")
