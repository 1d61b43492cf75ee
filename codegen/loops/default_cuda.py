"""The default schedule for threads: parts become one nest where the same threads run them.

In: unscheduled ``Loops``. Out: ``default_cuda(loops)``, the directives in the order they are
applied, or ``scheduled(loops)``, what they make of it.

    fuses    a part joins another that it reads from, or reads the same values as, where both have
             the same independent loops and the two together keep them all
    locals   what lives within one thread becomes a register, or a small array of its own

Guarantees: no loop whose turns were threads is lost: a sum over the batch stays out of the nests
that run a thread for each sample. Sums add in the order of the program; deterministic.

What may join what is chosen as in ``codegen.loops.default``; the orders of loops that it chooses
for one core are not taken.
"""

from __future__ import annotations

from math import prod

from codegen.index import Ix
from codegen.loops.default import Plan
from codegen.loops.directives import Directive, Fuse, Localise
from codegen.loops.finding import arrays_at, part
from codegen.loops.nest import Declare, For, Loops, Part, Stmt
from codegen.loops.scope import Scope
from codegen.loops.threads import threads
from codegen.loops.walk import inside
from codegen.program import Buffer

__all__ = ["LOCAL", "default_cuda", "scheduled"]

LOCAL = 64  # elements: a larger array of each thread's own would lie in slow memory anyway


def default_cuda(loops: Loops) -> tuple[Directive, ...]:
    """The default schedule of unscheduled nests, for threads."""
    return scheduled(loops).schedule[len(loops.schedule) :]


def scheduled(loops: Loops) -> Loops:
    """The nests under the default schedule for threads."""
    plan = _Plan(loops)
    plan.fuse()
    plan.localise()
    return plan.loops


class _Plan(Plan):
    """The schedule so far, applied."""

    def attempt(self, directive: Directive) -> bool:
        """Applies a directive, if it is legal and every thread stays one."""
        if isinstance(directive, Fuse):
            return self.joined(directive)
        return super().attempt(directive)

    def joined(self, both: Fuse) -> bool:
        """Fuses two parts, loop by loop, if they have the same threads and keep them."""
        wanted = self.turns(both.first)
        if not wanted or wanted != self.turns(both.second):
            return False
        before = self.loops
        depth = len(self.around(both.second))
        if all(super(_Plan, self).attempt(both) for _ in wanted):
            around = self.around(both.second)
            if len(around) > depth and self.turns(around[depth].name) == wanted:
                return True
        self.loops = before
        return False

    def around(self, name: str) -> list[Part]:
        """The parts around one, from outside in."""
        return [s for s in part(self.loops, name).around if isinstance(s, Part)]

    def turns(self, name: str) -> tuple[Ix, ...]:
        """How many turns the independent loops of a part have, where it is one nest and they are
        its outer ones; nothing where they are not."""
        place = part(self.loops, name)
        if len(place.part.body) != 1 or not isinstance(place.part.body[0], For):
            return ()
        scope = Scope(self.loops.dims, arrays_at(self.loops, place))
        for kernel in self.loops.kernels:
            if kernel.name == place.kernel:
                names = dict(zip(kernel.integers, kernel.names, strict=True))
                scope = Scope(kernel.dims, scope.arrays, loops=kernel.integers, names=names)
        for outer in place.around:
            scope = scope.inside(outer)
        nest: Stmt = place.part.body[0]
        found = threads(place.part.body[0], scope, {k.name: k for k in self.loops.kernels}).loops
        for f in found:
            if not isinstance(nest, For) or nest.loop is not f.loop or f.low or f.high:
                return ()
            nest = nest.body[0]
        return tuple(f.loop.extent for f in found)

    def localise(self) -> None:
        """Registers and small arrays for what lives within one thread."""
        for array, name in self.homes():
            before, wanted = self.loops, self.turns(name)
            if not wanted:
                continue
            made = self.attempt(Localise(name, array.name)) and self.smaller(array)
            if not made or self.turns(name) != wanted:
                self.loops = before

    def smaller(self, array: Buffer) -> bool:
        """Whether an array that was made local is a register, or a small part of what it was."""
        bodies = [self.loops.body, *(k.body for k in self.loops.kernels)]
        for s in (s for body in bodies for s in inside(body)):
            if isinstance(s, Declare) and s.array.name == array.name:
                small = prod(d.value or LOCAL + 1 for d in s.array.dims) <= LOCAL
                return small and super().smaller(array)
        return False
