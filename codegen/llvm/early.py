"""Values that are cheaper where something like them is computed: moved there, before anything else.

In: unscheduled ``Loops``. Out: ``early(loops)``, the same with an array for each such value:

    h = ...                        h = ...
    y = tanh(h)                    y = tanh(h)
    ...                            sech2_h = sech2(h)
    d_h = d_y * sech2(h)           ...
                                   d_h = d_y * sech2_h

It is done where the formulas of two functions begin alike (``vector_math.ALIKE``), so that side by
side they cost little more than one, and the later one stands in a value that an element of one
array alone gives: itself, or by others that were made of it at the same point. Such an array often
takes the place of the other ones: ``h`` is not kept.

    h = ...                        h = ...
    y = h * sigmoid(2 h)           y = h * sigmoid(2 h)
    ...                            from_h = h * sigmoid(-(2 h)) + 1
    u = 2 h                        u = 2 h
    d_h = d_y * (h * sigmoid(-u) + 1)   d_h = d_y * from_h

Guarantees: equal values, bit for bit: each element is computed by the same operations. Only parts
that are plain nests over whole arrays are read or changed; what any other statement touches is
left alone. It recognises functions, no networks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property

from codegen.dtypes import is_float
from codegen.index import Ix, Loop
from codegen.listing import spell_scalar
from codegen.llvm.cost import text
from codegen.llvm.sums import points
from codegen.loops.finding import Fresh, writes
from codegen.loops.nest import For, Loops, Part, Stmt, Store
from codegen.loops.walk import inside, mapped, scalar_mapped, written_names
from codegen.names import identifier
from codegen.program import Binary, Call, Load, Number, Scalar, Unary, children, walk
from codegen.vector_math import ALIKE

__all__ = ["early"]

AGAIN = 32  # operations, reads and numbers that are made again, at most, so that a value can stand
# where its kin is: the derivative of GELU by tanh, of 51,660 elements, in 25 us less (Sapphire
# Rapids; a step of 217 us)


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
        self.kin: dict[tuple[Scalar, str], int] = {}  # of an argument and a kind, the part
        self.made: dict[Scalar, str] = {}  # by the value at a point
        self.written: dict[str, int] = {}  # by array, the part that makes it at every point
        self.values: dict[str, Scalar] = {}  # what it is made of there
        self.roots: dict[str, Scalar] = {}  # the same of what those are made of, and so on

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
        value = store.value
        if any(f in ALIKE for f in _functions(value)):
            read: dict[Scalar, Scalar] = {}
            for x, flat in self.largest(value, loops):
                place = self.place(flat, n)
                moved = self.known(flat, place) if place < n else None
                if moved is not None:
                    read[x] = Load(self.array(moved, s, place), at)
            value = scalar_mapped(value, lambda x: read.get(x, x))
            self.remember(value, loops, n)
        if store.op == "=" and store.index == at and self.writers[store.target] == 1:
            self.define(store.target, store.value, loops, n)
        if value is store.value:
            return s
        (new,) = mapped((s,), lambda t: (replace(store, value=value),) if t is store else (t,))
        return new

    # --- values at a point -----------------------------------------------------------------------

    def flat(self, value: Scalar, loops: tuple[Loop, ...]) -> Scalar | None:
        """A value without the point at which it reads; None where it is made of anything else than
        elements of whole arrays there."""
        at = tuple(v.ix() for v in loops)
        for x in walk(value):
            if not isinstance(x, Load | Number | Binary | Unary | Call):
                return None
            if isinstance(x, Load) and not self.whole(x, at, loops):
                return None
        return scalar_mapped(value, lambda x: Load(x.buffer, ()) if isinstance(x, Load) else x)

    def whole(self, x: Load, at: tuple[Ix, ...], loops: tuple[Loop, ...]) -> bool:
        """Whether a read is of an array of the extents of the loops, made once, at the point."""
        array = self.arrays[x.buffer]
        fits = array.role == "scratch" and array.dims == tuple(v.extent for v in loops)
        here = x.indices == at and not x.guards
        return fits and here and self.writers[array.name] == 1 and is_float(array.dtype)

    def define(self, name: str, value: Scalar, loops: tuple[Loop, ...], n: int) -> None:
        """Remembers what an array is made of, where that is cheap enough to be made again."""
        self.written[name] = n
        flat = self.flat(value, loops)
        if flat is None or not _cheap(flat):
            return
        root = self.root(flat)
        if len(_reads(root)) == 1 and text(root) <= AGAIN:
            self.values[name], self.roots[name] = flat, root

    def root(self, flat: Scalar) -> Scalar:
        """A value by what its arrays are made of."""
        return scalar_mapped(
            flat, lambda x: self.roots.get(x.buffer, x) if isinstance(x, Load) else x
        )

    def known(self, flat: Scalar, n: int) -> Scalar | None:
        """A value by arrays that are there behind the n-th part; None where one is not."""
        if not all(x in self.values or self.written.get(x, n) <= n for x in _reads(flat)):
            return None

        def earlier(x: Scalar) -> Scalar:
            if not isinstance(x, Load) or self.written.get(x.buffer, n) <= n:
                return x
            return scalar_mapped(self.values[x.buffer], earlier)

        return scalar_mapped(flat, earlier)

    # --- functions -------------------------------------------------------------------------------

    def largest(self, value: Scalar, loops: tuple[Loop, ...]) -> list[tuple[Scalar, Scalar]]:
        """The largest parts of a value that one element of an array gives, by functions; each also
        without its point."""
        flat = self.flat(value, loops)
        if flat is not None and _functions(flat) and len(_reads(self.root(flat))) == 1:
            return [(value, flat)]
        return [x for part in children(value) for x in self.largest(part, loops)]

    def remember(self, value: Scalar, loops: tuple[Loop, ...], n: int) -> None:
        """The functions that the n-th part computes of one element of an array."""
        for x in walk(value):
            flat = self.flat(x, loops) if isinstance(x, Call) and x.function in ALIKE else None
            if isinstance(flat, Call) and len(_reads(self.root(flat))) == 1:
                self.kin.setdefault(self.key(flat), n)

    def key(self, x: Call) -> tuple[Scalar, str]:
        """What a function has in common with those of its kind: its argument but for the sign."""
        (argument,) = x.args
        while isinstance(argument, Unary) and argument.op == "-":
            argument = argument.x
        return self.root(argument), ALIKE.get(x.function, "")

    def place(self, flat: Scalar, n: int) -> int:
        """The part, before the n-th, behind which all functions of a value are cheap; or n."""
        calls = [x for x in walk(flat) if isinstance(x, Call) and not _cheap(replace(x, args=()))]
        if any(x.function not in ALIKE for x in calls):
            return n
        return max((self.kin.get(self.key(x), n) for x in calls), default=n)

    def array(self, flat: Scalar, s: Part, n: int) -> str:
        """The array of an early value of a part."""
        if flat not in self.made:
            functions = dict.fromkeys(_functions(flat))
            (source, *more) = _reads(flat)
            name = next(iter(functions)) if len(functions) == 1 and not more else "from"
            name = self.fresh.name(identifier(f"{name}_{source}"))
            self.after.setdefault(n, []).append(self.computed(flat, s, name))
            self.arrays[name] = replace(self.arrays[source], name=name, label="")
            self.made[flat] = name
        return self.made[flat]

    def computed(self, flat: Scalar, s: Part, name: str) -> Part:
        """The part that computes an early value, over loops like those of the one that reads it."""
        every = [f for f in inside(s.body) if isinstance(f, For)]
        own = [self.fresh.loop(f.loop.extent) for f in every]
        at = tuple(v.ix() for v in own)
        value = scalar_mapped(flat, lambda x: Load(x.buffer, at) if isinstance(x, Load) else x)
        body: tuple[Stmt, ...] = (Store(name, at, "=", value),)
        for f, v in reversed(list(zip(every, own, strict=True))):
            body = (For(v, f.name, body),)
        names = {v: f.name for f, v in zip(every, own, strict=True)}
        said = f"{name} = {spell_scalar(value, names)}"
        return Part(self.fresh.title(name), body, said, s.origin)


def _functions(value: Scalar) -> list[str]:
    return [x.function for x in walk(value) if isinstance(x, Call)]


def _reads(flat: Scalar) -> dict[str, None]:
    """The arrays that a value at a point is made of, in order."""
    return dict.fromkeys(x.buffer for x in walk(flat) if isinstance(x, Load))


def _cheap(flat: Scalar) -> bool:
    """Whether no function of a value is written out."""
    return all(text(replace(x, args=())) == 1 for x in walk(flat) if isinstance(x, Call))
