"""Values that are cheaper where something like them is computed: moved there, before anything else.

In: unscheduled ``Loops``. Out: ``early(loops)``, the same with an array for each such value:

    h = ...                        h = ...
    y = tanh(h)                    y = tanh(h)
    ...                            sech2_h = sech2(h)
    d_h = d_y * sech2(h)           ...
                                   d_h = d_y * sech2_h

It is done where the formulas of two functions begin alike (``vector_math.ALIKE``), so that side by
side they cost little more than one, and the later one stands in a value that an element of one
array alone gives. Such an array often takes the place of the other one: ``h`` is not kept.

Guarantees: equal values, bit for bit: each element is computed by the same operations. Only parts
that are plain nests over whole arrays are read or changed; what any other statement touches is
left alone. It recognises functions, no networks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property

from codegen.dtypes import is_float
from codegen.index import Loop
from codegen.listing import spell_scalar
from codegen.llvm.sums import points
from codegen.loops.finding import Fresh, writes
from codegen.loops.nest import For, Loops, Part, Stmt, Store
from codegen.loops.walk import inside, mapped, scalar_mapped, substituted, written_names
from codegen.names import identifier
from codegen.program import Binary, Call, Load, Number, Scalar, Unary, children, walk
from codegen.vector_math import ALIKE

__all__ = ["early"]


def early(loops: Loops) -> Loops:
    """Unscheduled nests with values computed where others like them are."""
    return _Early(loops).done()


class _Early:
    def __init__(self, loops: Loops) -> None:
        self.loops = loops
        self.arrays = {b.name: b for b in loops.arrays}
        marks = writes(loops)
        self.writers = Counter(name for s in loops.body for name in written_names((s,), marks))
        self.after: dict[int, list[Part]] = {}  # by the part that they stand behind
        self.kin: dict[tuple[str, str], int] = {}  # of an array and a kind of functions, the part
        self.made: dict[Scalar, str] = {}  # by the value at the loops of the part it was made for

    def done(self) -> Loops:
        body = [self.part(n, s) for n, s in enumerate(self.loops.body)]
        stmts: list[Stmt] = []
        for n, s in enumerate(body):
            stmts += [s, *self.after.get(n, [])]
        made = set(self.made.values())
        more = [b for b in self.arrays.values() if b.name in made]
        return replace(self.loops, body=tuple(stmts), arrays=(*self.loops.arrays, *more))

    @cached_property
    def fresh(self) -> Fresh:
        return Fresh(self.loops)

    def part(self, n: int, s: Stmt) -> Stmt:
        """A statement with early values read; the functions that it computes are remembered."""
        loops, body = points(s) if isinstance(s, Part) else ((), ())
        if not isinstance(s, Part) or len(body) != 1 or not isinstance(body[0], Store):
            return s
        store, at = body[0], tuple(v.ix() for v in loops)
        if not any(f in ALIKE for f in _functions(store.value)):
            return s
        read: dict[Scalar, Scalar] = {}
        for x in self.largest(store.value, loops):
            place = self.place(x, n)
            if place < n:
                read[x] = Load(self.array(x, s, place), at)
        value = scalar_mapped(store.value, lambda x: read.get(x, x))
        for x in walk(value):
            if isinstance(x, Call) and x.function in ALIKE and self.source(x, loops):
                self.kin.setdefault((self.source(x, loops), ALIKE[x.function]), n)
        if not read:
            return s
        (new,) = mapped((s,), lambda t: (replace(store, value=value),) if t is store else (t,))
        return new

    def largest(self, value: Scalar, loops: tuple[Loop, ...]) -> list[Scalar]:
        """The largest parts of a value that one element of an array gives, by functions."""
        if self.source(value, loops):
            return [value]
        return [x for part in children(value) for x in self.largest(part, loops)]

    def source(self, value: Scalar, loops: tuple[Loop, ...]) -> str:
        """The array whose element at the point alone gives a value; "" for any other value."""
        every = list(walk(value))
        reads = [x for x in every if isinstance(x, Load)]
        names = {x.buffer for x in reads}
        if len(names) != 1 or not _functions(value):
            return ""
        plain = all(isinstance(x, Load | Number | Binary | Unary | Call) for x in every)
        at = tuple(v.ix() for v in loops)
        array = self.arrays[reads[0].buffer]
        whole = array.role == "scratch" and array.dims == tuple(v.extent for v in loops)
        here = all(x.indices == at and not x.guards for x in reads)
        once = self.writers[array.name] == 1 and is_float(array.dtype)
        return array.name if plain and whole and here and once else ""

    def place(self, value: Scalar, n: int) -> int:
        """The part, before the n-th, behind which all functions of a value are cheap; or n."""
        (source,) = {x.buffer for x in walk(value) if isinstance(x, Load)}
        return max(self.kin.get((source, ALIKE.get(f, "")), n) for f in _functions(value))

    def array(self, value: Scalar, s: Part, n: int) -> str:
        """The array of an early value of a part."""
        key = scalar_mapped(value, lambda x: Load(x.buffer, ()) if isinstance(x, Load) else x)
        if key not in self.made:
            (source,) = {x.buffer for x in walk(value) if isinstance(x, Load)}
            functions = dict.fromkeys(_functions(value))
            name = next(iter(functions)) if len(functions) == 1 else "from"
            name = self.fresh.name(identifier(f"{name}_{source}"))
            self.after.setdefault(n, []).append(self.computed(value, s, name))
            self.arrays[name] = replace(self.arrays[source], name=name, label="")
            self.made[key] = name
        return self.made[key]

    def computed(self, value: Scalar, s: Part, name: str) -> Part:
        """The part that computes an early value, over the loops of the one that reads it."""
        every = [f for f in inside(s.body) if isinstance(f, For)]
        own = {f.loop: self.fresh.loop(f.loop.extent) for f in every}
        store = Store(name, tuple(v.ix() for v in own), "=", value)
        body = substituted((store,), {a: b.ix() for a, b in own.items()})
        for f in reversed(every):
            body = (For(own[f.loop], f.name, body),)
        names = {f.loop: f.name for f in every}
        said = f"{name} = {spell_scalar(value, names)}"
        return Part(self.fresh.title(name), body, said, s.origin)


def _functions(value: Scalar) -> list[str]:
    return [x.function for x in walk(value) if isinstance(x, Call)]
