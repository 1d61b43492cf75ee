"""Equal steps of a chain as calls of one block: forty-eight layers written down once.

In: the values of a chain, each computed from the one before, and what computed each. Out: the last
value, of equal value, in which long runs of equal steps are calls of one block (`prop.region`'s).

    marks     what the values of a step are, without what they read: equal steps have equal marks
    run       the stretch where marks repeat after some number of steps (a dense layer and its
              activation: two), that saves the most
    unit      those steps as a closed graph; equal ones are one block, whatever their weights
    chain     the values again, with a call in place of each unit

Guarantees: steps are equal where their graphs are, leaves apart, however they came about; a short
or small network stays as it is. What stands in no block stays outside: marks of `prop.update` and
`prop.in_training`; a unit whose inner values others read. The call keeps the name and the place of
the value in whose stead it stands, and that value as its origin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from symprop import walk
from symprop.graph import (
    Block,
    Leaf,
    Node,
    Opaque,
    Origin,
    Output,
    Reduce,
    Region,
    Scan,
    Scope,
    hint,
    join_scope,
    local_like,
    make_block,
    make_output,
    make_region,
    origin,
    remember,
    rename,
    suggest,
    suggested,
)
from symprop.modes import MODE
from symprop.ops.control import UPDATE
from symprop.term import operations

__all__ = ["REPEATS", "SAVED", "Step", "shared"]

REPEATS = 3  # equal units: two are as quickly read one after the other
SAVED = 64  # values that need not be written again: below, a reader is better served without calls


@dataclass(frozen=True)
class Step:
    """What computed a value: what a reader calls it, and the prefix of its leaves' names."""

    word: str
    prefix: str = ""


def shared(values: Sequence[Node], steps: Sequence[Step]) -> Node:
    """The last of the values; see the module's docstring."""
    if len(steps) < REPEATS:
        return values[-1]
    chain = _Chain(values, steps)
    units = chain.units()
    return chain.rebuilt(units) if units else values[-1]


@dataclass(frozen=True)
class _Unit:
    """Steps ``first`` to ``last`` (which is not one of them) as a call: what it is handed beside
    the value before, and the block."""

    first: int
    last: int
    captured: tuple[Node, ...]
    block: Block
    word: str


class _Chain:
    """The values, and what is new in each step."""

    def __init__(self, values: Sequence[Node], steps: Sequence[Step]) -> None:
        self.values, self.steps = values, steps
        self.parts = [_part(v, set(values[:k])) for k, v in enumerate(values) if k]
        self.found = Counter(n for part in self.parts for n in part)

    def units(self) -> dict[int, _Unit]:
        """The units that are called, by their first step: equal ones, often enough."""
        made: list[_Unit] = []
        marks = [_mark(part, k) for k, part in enumerate(self.parts)]
        for first, period, count in _runs(marks, self.parts, self.steps):
            for n in range(count):
                unit = self.unit(first + n * period, first + (n + 1) * period)
                made += [] if unit is None else [unit]
        often = Counter(u.block for u in made)
        return {u.first: u for u in made if often[u.block] >= REPEATS}

    def unit(self, first: int, last: int) -> _Unit | None:
        """The steps as a unit; None where their inner values are read elsewhere."""
        given, result = self.values[first], self.values[last]
        order = list(dict.fromkeys(n for part in self.parts[first:last] for n in part))
        depends = {given}
        for n in order:
            if any(o in depends for o in n.operands):
                depends.add(n)
        inside = [n for n in order if n in depends or n.common or self.found[n] == 1]
        own = {given, *inside}
        if result not in depends or any(self.found[n] > 1 for n in depends if n is not given):
            return None
        wanted = [o for n in inside if not n.common for o in n.operands if o not in own]
        if any(o in self.values[1:] for o in wanted):
            return None
        captured = tuple(walk.as_read([result], wanted, own))
        scope = join_scope([given, *captured])
        word, block = self.block(first, last, captured, inside, scope)
        return _Unit(first, last, captured, block, word)

    def block(
        self, first: int, last: int, captured: Sequence[Node], inside: Sequence[Node], scope: Scope
    ) -> tuple[str, Block]:
        """The closed graph of steps, and what the reader calls it."""
        steps = [s for s in self.steps[first:last] if s.word]
        word = "_".join(s.word for s in steps) or "block"
        given, result = self.values[first], self.values[last]
        leaves = {n: local_like(k, n, scope=scope) for k, n in enumerate((given, *captured))}
        new: dict[Node, Node] = dict(leaves)
        for node in inside:
            made = new[node] = walk.rebuild(node, new)
            own = "" if node is result else _local(hint(node), steps)
            if made is not node:
                if own and not hint(made):
                    rename(made, own)
                if suggested(node):
                    suggest(made, suggested(node))
                remember(made, origin(node))
        names = ["x", *(_local(hint(c), steps) for c in captured)]
        return word, make_block(list(leaves.values()), [new[result]], word, names)

    def rebuilt(self, units: dict[int, _Unit]) -> Node:
        """The last value, with a call in place of each unit."""
        new: dict[Node, Node] = {}
        k = 0
        while k < len(self.parts):
            unit = units.get(k)
            if unit is None:
                for node in self.parts[k]:
                    made = walk.rebuild(node, new)
                    walk.carry_over(node, made)
                    new[node] = made
                k += 1
                continue
            given = [self.values[k], *unit.captured]
            call = make_region(unit.block, [new.get(n, n) for n in given])
            new[self.values[unit.last]] = self.result(make_output(call, 0), unit)
            k = unit.last
        return new.get(self.values[-1], self.values[-1])

    def result(self, value: Node, unit: _Unit) -> Node:
        """The result of a call, under the name of the value in whose stead it stands."""
        before = self.values[unit.last]
        words = [s.prefix or s.word for s in self.steps[unit.first : unit.last]]
        rename(value, hint(before) or "_".join(w for w in words if w) or unit.word)
        return remember(value, Origin(origin(before).place, "region", (before,)))


def _part(value: Node, stops: set[Node]) -> list[Node]:
    """What is new in a value over others, operands first, without leaves."""
    order: list[Node] = []
    seen = set(stops)
    stack = [(value, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen and not isinstance(node, Leaf):
            seen.add(node)
            stack.append((node, True))
            stack += [(o, False) for o in reversed(node.operands)]
    return order


def _local(name: str, steps: Sequence[Step]) -> str:
    """What a name is within steps: without what tells one layer from its likes."""
    layers = [s for s in steps if s.prefix]
    for s in layers:
        if name == s.prefix:
            return s.word
        if name.startswith(f"{s.prefix}."):
            rest = name[len(s.prefix) + 1 :]
            return rest if len(layers) == 1 else f"{s.word}.{rest}"
    return name


# --- where steps repeat --------------------------------------------------------------------------

Mark = tuple[object, ...]


def _mark(part: Sequence[Node], k: int) -> Mark:
    """What the values of step k are, without what they read; of a step that stays, its number."""
    if any(isinstance(n, Opaque) and n.atom in (MODE, UPDATE) for n in part):
        return (k,)
    return tuple(sorted(Counter(map(_kind, part)).items()))


def _kind(node: Node) -> tuple[str, ...]:
    """What a value is, as text that can be sorted."""
    shape = [d.digest.hex() for d in node.dims]
    if isinstance(node, Reduce):
        rest = [node.op, str(len(node.loops)), str(len(node.reads)), str(operations(node.body))]
    elif isinstance(node, Scan | Region):
        rest = [node.block.digest.hex()]
    else:
        rest = [str(node.n) if isinstance(node, Output) else ""]
    return (type(node).__name__, node.dtype, *rest, *shape)


def _runs(
    marks: Sequence[Mark], parts: Sequence[Sequence[Node]], steps: Sequence[Step], begin: int = 0
) -> list[tuple[int, int, int]]:
    """(first step, steps of a unit, units) of the stretches that are worth it, in order."""
    best = (SAVED - 1, False, 0, 0, 0)
    for period in range(1, len(marks) // REPEATS + 1):
        first = 0
        while first + period < len(marks):
            end = first
            while end + period < len(marks) and marks[end] == marks[end + period]:
                end += 1
            for k in range(first, min(first + period, end)):
                count = (end - k) // period + 1
                saved = (count - 1) * sum(map(len, parts[k : k + period]))
                if count >= REPEATS and (saved, bool(steps[k].prefix)) > best[:2]:
                    best = (saved, bool(steps[k].prefix), k, period, count)
            first = max(end, first + 1)
    _, _, k, period, count = best
    if not count:
        return []
    end = k + period * count
    return [
        *_runs(marks[:k], parts[:k], steps[:k], begin),
        (begin + k, period, count),
        *_runs(marks[end:], parts[end:], steps[end:], begin + end),
    ]
