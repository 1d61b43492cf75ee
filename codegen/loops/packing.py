"""Pack and Layout: the order in which the elements of an array lie, in a copy or in place.

In: a ``Loops`` and the directive. Out: a ``Loops`` of equal value, bit for bit.

    blocks ((0, 16),), order (0, 2, 3, 4, 1) of x[batch, row, column, channel]: axis 0 is cut in
    blocks of 16, which gives five axes; in that order x_packed[batch/16, row, column, channel, 16]

Guarantees: every element has one place, and an index is a known combination of the old ones. In a
copy, the room that is left in the last block of an axis holds zero; in place, blocks have to divide
the axis (``Pad`` it first). A copy is made directly before the outermost statement around the part
in which the array does not change. An array that indices are gathered from, or that a kernel is
handed, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.index import Guard, Ix, floordiv, guard, mod
from codegen.loops.assignment import nested
from codegen.loops.directives import Layout, Pack, ScheduleError
from codegen.loops.finding import (
    Fresh,
    Place,
    arrays_at,
    listed,
    owned,
    part,
    replaced,
    swapped,
    with_owned,
    writes,
)
from codegen.loops.moving import CannotMove, housed, moved, scratch
from codegen.loops.nest import Call, Declare, For, Loops, Part, Stmt, Store, When
from codegen.loops.walk import inside, loads, written_names
from codegen.names import Names
from codegen.program import Buffer, Load

__all__ = ["layout", "pack"]


@dataclass(frozen=True)
class _Form:
    """How the axes of an array are cut and ordered."""

    array: Buffer
    blocks: dict[int, int]
    order: tuple[int, ...]

    def dims(self) -> list[Ix]:
        """Sizes of the axes after cutting, in the old order."""
        found: list[Ix] = []
        for n, d in enumerate(self.array.dims):
            size = self.blocks.get(n)
            found += [d] if size is None else [floordiv(d + (size - 1), size), d * 0 + size]
        return found

    def axes(self) -> list[str]:
        """Their names."""
        found: list[str] = []
        for n, name in enumerate(self.array.axes):
            cut = [f"{name}_outer", f"{name}_inner"] if name else ["", ""]
            found += cut if n in self.blocks else [name]
        return found

    def at(self, index: tuple[Ix, ...]) -> tuple[Ix, ...]:
        """Where an element lies."""
        found: list[Ix] = []
        for n, ix in enumerate(index):
            size = self.blocks.get(n)
            found += [ix] if size is None else [floordiv(ix, size), mod(ix, size)]
        return tuple(found[n] for n in self.order)

    def ordered(self, values: Sequence[Ix]) -> tuple[Ix, ...]:
        return tuple(values[n] for n in self.order)

    def packed(self, name: str) -> Buffer:
        """The array in this form."""
        axes = self.axes()
        return scratch(name, self.ordered(self.dims()), self.array, [axes[n] for n in self.order])


def _form(array: Buffer, order: tuple[int, ...], blocks: tuple[tuple[int, int], ...]) -> _Form:
    rank = len(array.dims)
    cut = dict(blocks)
    if len(cut) != len(blocks) or any(not 0 <= a < rank or s < 2 for a, s in blocks):
        raise ScheduleError(
            f'the blocks of "{array.name}" name axes from 0 to {rank - 1}, each once, with sizes '
            f"of 2 or more, not {blocks}"
        )
    total = rank + len(cut)
    if sorted(order) != list(range(total)):
        raise ScheduleError(
            f'"{array.name}" has {total} axes when cut, and an order of them names 0 to '
            f"{total - 1} each once, not {order}"
        )
    return _Form(array, cut, order)


def pack(loops: Loops, d: Pack) -> Loops:
    """A copy of an operand in another order, which the part reads."""
    place = part(loops, d.part)
    marks = writes(loops)
    read = dict.fromkeys(x.buffer for s in inside(place.part.body) for x in loads(s))
    if d.array not in read:
        raise ScheduleError(f'part "{d.part}" does not read "{d.array}": it reads {listed(read)}')
    if d.array in written_names(place.part.body, marks):
        raise ScheduleError(
            f'part "{d.part}" writes "{d.array}" as well: only what a part leaves alone is packed'
        )
    if any(isinstance(s, Declare) and s.array.name == d.array for s in inside(place.part.body)):
        raise ScheduleError(f'"{d.array}" is storage of part "{d.part}" itself: use Layout')
    form = _form(arrays_at(loops, place)[d.array], d.order, d.blocks)
    fresh = Fresh(loops)
    packed = form.packed(fresh.name(f"{d.array}_packed"))
    try:
        body = moved(place.part.body, d.array, packed.name, form.at)
    except CannotMove as why:
        raise ScheduleError(f'"{d.array}" of part "{d.part}" cannot be packed: {why}') from None
    around, outer = _outermost(place, d.array, loops)
    _stored_whole(around, d, form.array, marks)
    local = housed(packed, around, d.part) and bool(around)
    first = (Declare(packed),) if local else ()
    inner = replace(place.part, body=body)
    new = inner if outer is place.part else swapped((outer,), place.part, (inner,))[0]
    copy = _copy(form, packed, around, fresh)
    return replaced(loops, place, outer, (*first, copy, new), () if local else (packed,))


def _outermost(
    place: Place, array: str, loops: Loops
) -> tuple[tuple[Part | For | When, ...], Stmt]:
    """The outermost statement around a part in which an array is not changed nor declared."""
    marks = writes(loops)
    path: tuple[Part | For | When, ...] = (*place.around, place.part)
    for n, stmt in enumerate(path):
        own = any(isinstance(s, Declare) and s.array.name == array for s in inside((stmt,)))
        if not own and array not in written_names((stmt,), marks):
            return path[:n], stmt
    return place.around, place.part


def _stored_whole(
    around: Sequence[Part | For | When],
    d: Pack,
    array: Buffer,
    marks: Mapping[str, tuple[bool, ...]],
) -> None:
    """Refuse to copy what has only been stored in part: a turn stores an element of its own."""
    for f in (s for s in around if isinstance(s, For) and array.role == "scratch"):
        stmts = list(inside(f.body))
        if any(isinstance(s, Declare) and s.array.name == d.array for s in stmts):
            continue  # its storage is of one turn
        for s in stmts:
            if d.array not in written_names((s,), marks) or not isinstance(s, Store | Call):
                continue
            if any(f.loop in ix.loops for ix in (s.index if isinstance(s, Store) else s.integers)):
                raise ScheduleError(
                    f'"{d.array}" is stored turn by turn in loop "{f.name}" around part '
                    f'"{d.part}", so that a copy inside would read what is not stored yet: '
                    "Pack before Fuse"
                )


def _copy(form: _Form, packed: Buffer, around: Sequence[Stmt], fresh: Fresh) -> Part:
    """The part that fills the copy, in the order in which it lies."""
    names = Names(s.name for s in around if isinstance(s, For))
    dims, axes = form.dims(), form.axes()
    variables = [fresh.loop(d) for d in dims]
    pairs = [(variables[n], names(axes[n] or "i", "i")) for n in form.order]
    source: list[Ix] = []
    guards: list[Guard] = []
    rest = list(variables)
    for n, size in enumerate(form.array.dims):
        cut = form.blocks.get(n)
        ix = rest.pop(0).ix()
        if cut is not None:
            ix = ix * cut + rest.pop(0).ix()
            end = guard(size - 1 - ix, ">=")
            guards += [end] if isinstance(end, Guard) else []  # beyond it the copy is zero
        source.append(ix)
    to = tuple(variables[n].ix() for n in form.order)
    store = Store(packed.name, to, "=", Load(form.array.name, tuple(source), tuple(guards)))
    body = nested((), pairs, (), (store,))
    return Part(fresh.title(packed.name), body, _formula(form, packed))


def _formula(form: _Form, packed: Buffer) -> str:
    """``W_packed = W with its axes in the order (1, 0)``."""
    cut = "".join(f", axis {n} in blocks of {size}" for n, size in form.blocks.items())
    return f"{packed.name} = {form.array.name} with its axes in the order {form.order}{cut}"


def layout(loops: Loops, d: Layout) -> Loops:
    """Scratch in another order everywhere."""
    owner = owned(loops, d.array, "Layout")
    form = _form(owner.array, d.order, d.blocks)
    for axis, size in d.blocks:
        if mod(owner.array.dims[axis], size).value != 0:
            raise ScheduleError(
                f'axis {axis} of "{d.array}" has {owner.array.dims[axis]!r} elements, which blocks '
                f'of {size} need not divide: Pad("{d.array}", {axis}, multiple={size}) first'
            )
    try:
        body = moved(owner.body, d.array, d.array, form.at)
    except CannotMove as why:
        raise ScheduleError(f'"{d.array}" cannot be laid out anew: {why}') from None
    return with_owned(loops, owner, form.packed(d.array), body)
