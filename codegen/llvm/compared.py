"""Comparisons that a value cut off below tells as well: they read that, where the value itself is
then needed by nothing else.

In: unscheduled ``Loops``. Out: ``compared(loops)``, the same with other reads:

    h = ...                        h = ...
    y = max(h, 0)                  y = max(h, 0)
    ...                       ->   ...
    d_h = d_y [h > 0]              d_h = d_y [y > 0]

The derivative of a ReLU asks so. An ``h`` that only its ``y`` reads stays in registers.

Guarantees: equal values, bit for bit: where c is not less than the bound, ``max(h, bound) > c``
holds where ``h > c`` does, and NaN is greater than nothing. Only reads behind the part that makes
``y`` change, in parts that are plain nests, and only where both are written once, in whole.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction

from codegen.llvm.sums import points
from codegen.loops.finding import writes
from codegen.loops.nest import Loops, Part, Stmt, Store
from codegen.loops.walk import mapped, scalar_mapped, written_names
from codegen.program import Call, Compare, Load, Number, Scalar

__all__ = ["compared"]


@dataclass(frozen=True)
class _Cut:
    """``array`` is ``max(..., bound)``, made by the n-th part."""

    array: str
    bound: Fraction
    n: int


def compared(loops: Loops) -> Loops:
    """Unscheduled nests with comparisons of what was cut off."""
    cuts = _cuts(loops)
    if not cuts:
        return loops
    return replace(loops, body=tuple(_read(n, s, cuts) for n, s in enumerate(loops.body)))


def _cuts(loops: Loops) -> dict[str, _Cut]:
    """By the scratch that was cut off, what it became."""
    arrays = {b.name: b for b in loops.arrays}
    marks = writes(loops)
    writers = Counter(name for s in loops.body for name in written_names((s,), marks))
    found: dict[str, _Cut] = {}
    for n, s in enumerate(loops.body):
        at, body = points(s) if isinstance(s, Part) else ((), ())
        if len(body) != 1 or not isinstance(body[0], Store):
            continue
        match body[0]:
            case Store(
                made, index, "=", Call("maximum", (Load() as x, Number(Fraction() as bound)))
            ):
                pass
            case _:
                continue
        old, new = arrays[x.buffer], arrays[made]
        here = tuple(v.ix() for v in at)
        whole = index == x.indices == here and not x.guards
        alike = (
            (old.dtype, old.dims)
            == (new.dtype, new.dims)
            == (new.dtype, tuple(v.extent for v in at))
        )
        once = writers[old.name] == writers[made] == 1 and old.role == "scratch"
        if whole and alike and once:
            found.setdefault(old.name, _Cut(made, bound, n))
    return found


def _read(n: int, s: Stmt, cuts: dict[str, _Cut]) -> Stmt:
    """The n-th statement, comparing what was cut off before it."""
    _, body = points(s) if isinstance(s, Part) else ((), ())
    if len(body) != 1 or not isinstance(body[0], Store):
        return s
    store = body[0]

    def scalar(x: Scalar) -> Scalar:
        match x:
            case Compare(">", Load(name) as load, Number(Fraction() as c)) if name in cuts:
                cut = cuts[name]
                if cut.n < n and c >= cut.bound:
                    return replace(x, left=replace(load, buffer=cut.array))
        return x

    value = scalar_mapped(store.value, scalar)
    if value == store.value:
        return s
    (new,) = mapped((s,), lambda t: (replace(store, value=value),) if t is store else (t,))
    return new
