"""Outline: a part as a kernel, one for all parts that do the same.

In: a ``Loops`` and ``Outline``. Out: a ``Loops`` of equal value, bit for bit: the part is a call.

The arrays that the part uses are the kernel's arguments, in the order in which they first appear;
loop variables bound around the part are integers that the call hands over. A second part is
outlined to the same kernel when it differs in names only: of arrays, of loops, of parts.

Guarantees: a kernel never gets one array twice, because each array has one name in a part. What
differs in a size, a dtype or a schedule is a ``ScheduleError``, never a kernel that tests for it;
so is a part that stays in range only by what holds around it. A kernel stands after those it calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from codegen.index import Dim, Ix, Loop, loop
from codegen.loops.directives import Outline, ScheduleError
from codegen.loops.finding import Fresh, Place, arrays_at, part, put, writes
from codegen.loops.moving import copied
from codegen.loops.nest import Call, Declare, For, Kernel, Loops, Part, Stmt, Store, When
from codegen.loops.scope import InvalidLoops
from codegen.loops.verify import verify_kernel
from codegen.loops.walk import (
    gathered,
    indices,
    inside,
    loads,
    mapped,
    renamed,
    substituted,
    written_names,
)
from codegen.names import identifier
from codegen.program import Buffer

__all__ = ["outline"]


@dataclass(frozen=True)
class _Shape:
    """What a body takes from around it, in the order of first use, and its form without names."""

    arrays: tuple[str, ...]
    integers: tuple[Loop, ...]
    signature: tuple[object, ...]
    body: tuple[Stmt, ...]


def outline(loops: Loops, d: Outline) -> Loops:
    """A part as a call of a kernel."""
    place = part(loops, d.part)
    if identifier(d.kernel) != d.kernel:
        raise ScheduleError(f'"{d.kernel}" is no name for a kernel: use letters, digits and "_"')
    if any(isinstance(s, For) and s.kind == "vector" for s in place.around):
        raise ScheduleError(f'part "{d.part}" stands inside a loop in lanes: outline a part around')
    if place.part.body and all(isinstance(s, Call) for s in place.part.body):
        raise ScheduleError(f'part "{d.part}" is a call already')
    marks = writes(loops)
    known = arrays_at(loops, place)
    shape = _shape(place.part.body, known, marks)
    old = next((k for k in loops.kernels if k.name == d.kernel), None)
    if old is None:
        kernel = _kernel(loops, place, shape, known, d.kernel)
        calls = Call(d.kernel, shape.arrays, tuple(v.ix() for v in shape.integers))
        _stands_alone(kernel, loops, place)
        after = put(loops, place, (calls,))
        return replace(after, kernels=_callees_first((*after.kernels, kernel)))
    if place.kernel == d.kernel:
        raise ScheduleError(f'part "{d.part}" stands in kernel "{d.kernel}" itself')
    after = put(loops, place, (_shared(old, shape, marks, d),))
    return replace(after, kernels=_callees_first(after.kernels))


def _stands_alone(kernel: Kernel, loops: Loops, place: Place) -> None:
    """Refuse a body that stays in range only by the guards around its part: a kernel has none."""
    if not any(
        isinstance(s, When) or (isinstance(s, For) and s.low + s.high) for s in place.around
    ):
        return
    try:
        verify_kernel(kernel, loops)
    except InvalidLoops as wrong:
        reason = str(wrong).removeprefix(f"kernel {kernel.name}: ")
        raise ScheduleError(
            f'part "{place.part.name}" stands under conditions that it needs (without them: '
            f"{reason}): outline a part around them"
        ) from None


def _callees_first(kernels: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """The kernels in their order, but each after those that it calls."""
    known = {k.name: k for k in kernels}
    ordered: dict[str, Kernel] = {}

    def add(kernel: Kernel) -> None:
        for stmt in inside(kernel.body):
            if isinstance(stmt, Call):
                add(known[stmt.kernel])
        ordered.setdefault(kernel.name, kernel)

    for kernel in kernels:
        add(kernel)
    return tuple(ordered.values())


def _kernel(
    loops: Loops, place: Place, shape: _Shape, known: dict[str, Buffer], name: str
) -> Kernel:
    """The body by itself."""
    fresh = Fresh(loops)
    if name in (known.keys() | {x.name for x in loops.dims}):
        raise ScheduleError(f'"{name}" is an array or a size already: call the kernel otherwise')
    own = {v: fresh.loop(v.extent) for v in shape.integers}
    body = copied(place.part.body, fresh, {a: b.ix() for a, b in own.items()})
    written = tuple(written_names(place.part.body, writes(loops)))
    arrays = tuple(
        replace(known[a], role="scratch" if a in written else "input", label="", data=None)
        for a in shape.arrays
    )
    called = {s.loop: s.name for s in place.around if isinstance(s, For)}
    names = tuple(called.get(v, f"i{n}") for n, v in enumerate(shape.integers))
    sizes = _sizes(body, arrays, shape.integers)
    return Kernel(
        name,
        tuple(x for x in loops.dims if x in sizes),
        arrays,
        tuple(a for a in shape.arrays if a in written),
        body,
        (),
        tuple(own.values()),
        names,
        place.part.formula,
    )


def _sizes(body: Iterable[Stmt], arrays: Iterable[Buffer], integers: Iterable[Loop]) -> set[Dim]:
    """The dimensions that a body speaks of."""
    ixs: list[Ix] = [x for b in arrays for x in b.dims] + [v.extent for v in integers]
    for ix in _positions(body):
        ixs.append(ix)
        ixs += [v.extent for v in ix.loops]
    return {a for ix in ixs for a in ix.atoms() if isinstance(a, Dim)}


def _positions(stmts: Iterable[Stmt]) -> Iterable[Ix]:
    """Every index, bound and guard, in order."""
    return (ix for stmt in inside(stmts) for ix in indices(stmt))


def _shared(old: Kernel, shape: _Shape, marks: dict[str, tuple[bool, ...]], d: Outline) -> Call:
    """The call of a kernel that is there, for a part equal to it up to names."""
    known = {b.name: b for b in (*old.arrays, *old.scratch)}
    theirs = _shape(old.body, known, marks)
    same = (
        theirs.signature == shape.signature
        and theirs.body == shape.body
        and set(theirs.arrays) == {b.name for b in old.arrays}
        and set(theirs.integers) == set(old.integers)
    )
    if not same:
        raise ScheduleError(
            f'part "{d.part}" does not do the same as kernel "{d.kernel}" up to names: sizes, '
            f"dtypes, formulas and schedules have to agree, so give it a kernel of its own"
        )
    arrays = dict(zip(theirs.arrays, shape.arrays, strict=True))
    integers = dict(zip(theirs.integers, shape.integers, strict=True))
    return Call(
        old.name,
        tuple(arrays[b.name] for b in old.arrays),
        tuple(integers[v].ix() for v in old.integers),
    )


# --- a body up to names ---------------------------------------------------------------------------


def _shape(
    body: Sequence[Stmt], known: dict[str, Buffer], marks: dict[str, tuple[bool, ...]]
) -> _Shape:
    own = {s.array.name: s.array for s in inside(body) if isinstance(s, Declare)}
    arrays = tuple(n for n in _names(body) if n not in own)
    written = written_names(body, marks)
    bound = {s.loop for s in inside(body) if isinstance(s, For)}
    used = dict.fromkeys(v for ix in _positions(body) for v in ix.loops)
    integers = tuple(v for v in used if v not in bound)
    signature = tuple(
        (known[a].dims, known[a].dtype, known[a].low, known[a].high, a in written) for a in arrays
    )
    names = {a: f"array_{n}" for n, a in enumerate(arrays)}
    names |= {a: f"local_{n}" for n, a in enumerate(own)}
    order = dict.fromkeys((*integers, *(s.loop for s in inside(body) if isinstance(s, For))))
    numbered = {v: loop(n, v.extent) for n, v in enumerate(order)}

    def plain(s: Stmt) -> Iterable[Stmt]:
        if isinstance(s, Part):
            return s.body
        if isinstance(s, For):
            return (replace(s, loop=numbered[s.loop], name=""),)
        if isinstance(s, Declare):
            axes = ("",) * len(s.array.dims)
            return (Declare(replace(s.array, axes=axes, label="", section="")),)
        return (s,)

    form = renamed(substituted(body, {v: w.ix() for v, w in numbered.items()}), names)
    return _Shape(arrays, integers, signature, mapped(form, plain))


def _names(stmts: Iterable[Stmt]) -> Iterable[str]:
    """Arrays and storage in the order of first use, each once."""
    found: dict[str, None] = {}
    for s in inside(stmts):
        for load in loads(s):
            found[load.buffer] = None
        for g in gathered(s):
            found[getattr(g.source, "name", "")] = None
        if isinstance(s, Store):
            found[s.target] = None
        if isinstance(s, Call):
            found.update(dict.fromkeys(s.arguments))
    return found
