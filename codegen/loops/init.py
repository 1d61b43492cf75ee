"""Init: a sum that starts from what was added to it when it was complete.

    acc = 0; for k: acc += v; y = acc + b[j]    ->    acc = b[j]; for k: acc += v; y = acc

In: a ``Loops`` and the directive. Out: a ``Loops`` of equal value up to the rounding of the sum.

Guarantees: the sum is storage that only the part uses, it is read once, where the array is added to
it, and the array has the same value at both places. Else it is a ``ScheduleError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from codegen.dtypes import infer_dtype
from codegen.index import Ix, Loop
from codegen.loops.beside import is_private, used_elsewhere
from codegen.loops.directives import Init, ScheduleError
from codegen.loops.finding import Place, ancestors, arrays_at, part, put, writes
from codegen.loops.known import own_arrays
from codegen.loops.nest import For, Loops, Stmt, Store
from codegen.loops.walk import inside, mapped, scalar_mapped, substituted, written_names
from codegen.program import Binary, Buffer, Load, Number, Scalar, walk

__all__ = ["init"]


@dataclass(frozen=True, slots=True)
class _Sum:
    """Where a sum starts, where it is used, and as what."""

    start: Store
    use: Store
    total: Binary
    sum: Load
    added: Load


def init(loops: Loops, d: Init) -> Loops:
    """Sums that start from an array that was added to them; see ``Init``."""
    marks = writes(loops)
    place = part(loops, d.part)
    arrays = arrays_at(loops, place)
    changed = written_names((place.part,), marks)
    if d.array in changed:
        raise ScheduleError(f'part "{d.part}" changes "{d.array}": no sum can start from it')
    found: list[tuple[_Sum, Load]] = []
    for name in changed:
        one = _sum(place, name, d.array)
        if one is not None and not _elsewhere(loops, place, name):
            start = _first(place, one, arrays)
            if start is not None:
                found.append((one, start))
    if not found:
        raise ScheduleError(
            f'part "{d.part}" has no sum of its own that starts at 0 and to which "{d.array}" is '
            "added where it is complete: make that addition its epilogue, and the sum local, first"
        )
    body = place.part.body
    for one, start in found:
        body = _moved(body, one, start)
    return put(loops, place, body)


def _sum(place: Place, name: str, array: str) -> _Sum | None:
    """The sum in an array or register, where another is added to it once."""
    stmts = list(inside((place.part,)))
    if any(name in own_arrays(s) for s in stmts if not isinstance(s, Store)):
        return None
    stores = [s for s in stmts if isinstance(s, Store)]
    starts = [s for s in stores if s.target == name and s.op == "="]
    reads = [x for s in stores for x in walk(s.value) if isinstance(x, Load) and x.buffer == name]
    if len(starts) != 1 or starts[0].value != Number(Fraction(0)) or len(reads) != 1:
        return None
    if any(s.target == name and s.op not in ("=", "+=") for s in stores):
        return None
    for s in stores:
        for x in walk(s.value):
            if isinstance(x, Binary) and x.op == "+":
                pair = {y.buffer: y for y in (x.left, x.right) if isinstance(y, Load)}
                if set(pair) == {name, array} and not pair[name].guards:
                    return _Sum(starts[0], s, x, pair[name], pair[array])
    return None


def _elsewhere(loops: Loops, place: Place, name: str) -> bool:
    """Whether anything but the part uses an array, or a caller sees it."""
    return not is_private(loops, place, name) or used_elsewhere(loops, place, name)


def _first(place: Place, one: _Sum, arrays: Mapping[str, Buffer]) -> Load | None:
    """What is read where the sum starts; None where it cannot be."""
    mapping: dict[Loop, Ix] = {}
    for ix, at in zip(one.sum.indices, one.start.index, strict=True):
        if not isinstance(ix.atom, Loop) or ix.atom in mapping:
            return None
        mapping[ix.atom] = at
    (there,) = substituted((Store("", (), "=", one.added),), mapping)
    assert isinstance(there, Store)
    if not isinstance(there.value, Load):
        return None
    around = (*place.around, *ancestors(place.part, one.start))
    bound = {s.loop for s in around if isinstance(s, For)}
    ixs = (*there.value.indices, *(g.ix for g in there.value.guards))
    if not {v for ix in ixs for v in ix.loops} <= bound:
        return None
    dtype = arrays[one.sum.buffer].dtype
    return there.value if infer_dtype(one.total, arrays) == dtype else None


def _moved(body: Iterable[Stmt], one: _Sum, start: Load) -> tuple[Stmt, ...]:
    """The statements with the array at the start of the sum, and not at its end."""

    def scalar(x: Scalar) -> Scalar:
        return one.sum if x == one.total else x

    def change(s: Stmt) -> Iterable[Stmt]:
        if s is one.start:
            return (replace(one.start, value=start),)
        if s is one.use:
            return (replace(one.use, value=scalar_mapped(one.use.value, scalar)),)
        return (s,)

    return mapped(body, change)
