"""Statements as blocks of LLVM: loops, branches, storage, calls.

In: the statements of a body, the storage of its arrays. Out: lines in the builder.

    serial, parallel   a loop, tested after each turn; one turn is written out
    unroll             every turn written out
    vector             lanes (``storage``), in strips where it is longer, the last one shorter or
                       with lanes that neither read nor write
    When               a branch; in lanes that differ, a mask, skipped where no lane runs

Guarantees: statements stand in the order of the nest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product as combinations
from math import prod

from codegen.index import Guard, lower
from codegen.llvm import types
from codegen.llvm.ahead import Ahead, ahead
from codegen.llvm.builder import Builder, Carried
from codegen.llvm.cost import extent
from codegen.llvm.formulas import Formulas
from codegen.llvm.frame import Form, Memory, Register, Row, Value
from codegen.llvm.storage import Plan, padded
from codegen.llvm.target import Target
from codegen.llvm.typing import Typing
from codegen.loops.nest import Call, Declare, For, Part, Stmt, Store, When
from codegen.loops.walk import written_names
from codegen.names import comment_safe
from codegen.program import Buffer

__all__ = ["Body"]

SPACED = 16  # turns of a sum between requests for rows: memory delivers no faster

Calls = Callable[["Body", Call], None]


class Body(Formulas):
    """Emits the statements of one function.

    ``call`` emits those of kernels; ``marks`` say which of their arguments a kernel writes;
    ``arena`` gives the addresses of locals that are too large for a stack. ``fetches``: rows that
    are read behind a long sum are asked for while it runs (``ahead``).
    """

    fetches = False

    def __init__(
        self,
        builder: Builder,
        target: Target,
        portable: bool,
        arrays: Mapping[str, Buffer],
        plan: Plan,
        marks: Mapping[str, tuple[bool, ...]],
        call: Calls,
        arena: Mapping[str, str],
    ) -> None:
        super().__init__(builder, target, portable, arrays)
        self.typing = Typing(arrays.values())
        self.typing.loads.update({b.name: b.dtype for b in arrays.values()})
        self.plan, self.marks, self.call, self.arena = plan, marks, call, arena
        self.known, self.arguments = {}, {}
        self.locals: dict[tuple[str, int], str] = {}
        self.said: set[int] = set()  # parts whose formula stands in a comment

    # --- storage ---------------------------------------------------------------------------------

    def place(self, buffer: Buffer, address: str, lanes: int = 0) -> None:
        """An array at an address."""
        self.buffers[buffer.name] = buffer
        self.typing.loads[buffer.name] = buffer.dtype
        self.storage[buffer.name] = Memory(buffer, address, self.strides(buffer), lanes)

    def address_of(self, name: str) -> str:
        """The address of an array's first element."""
        place = self.storage[name]
        assert isinstance(place, Memory)
        return place.address

    def strides(self, buffer: Buffer) -> tuple[int | str, ...]:
        """Elements from one to the next along each axis."""
        found: list[int | str] = []
        step: int | str = 1
        for d in reversed(buffer.dims):
            found.append(step)
            size = self.form(d)
            if isinstance(step, int) and size.number is not None:
                step = step * size.number
            else:
                factors = [str(step), self.integer(size)]
                step = self.b.value(f"mul i64 {', '.join(factors)}", factors, "stride")
        return tuple(reversed(found))

    def declare(self, buffer: Buffer) -> None:
        name = buffer.name
        self.buffers[name] = buffer
        self.typing.loads[name] = buffer.dtype
        if name in self.plan.axes:
            axis = self.plan.axes[name]
            lanes = self.lanes if axis is None else self.plan.lanes[name]
            sizes = [range(d.const) for n, d in enumerate(buffer.dims) if n != axis]
            if axis is not None:
                sizes.append(range(-(-buffer.dims[axis].const // lanes)))
            elements = dict.fromkeys(combinations(*sizes), "poison")
            self.storage[name] = Register(buffer, axis, lanes, elements)
            return
        if name in self.arena:
            assert not self.lanes
            self.place(buffer, self.arena[name])
            return
        count = prod(d.const for d in buffer.dims) * max(self.lanes, 1)
        if (name, count) not in self.locals:
            kind = f"[{count} x {types.stored(buffer.dtype)}]"
            self.locals[name, count] = self.b.allocate(kind, name)
        self.place(buffer, self.locals[name, count], self.lanes)

    def carried(self, body: Sequence[Stmt]) -> tuple[list[Carried], frozenset[str]]:
        """The registers that statements may change, and the arrays in memory they store to."""
        registers: list[Carried] = []
        memory: list[str] = []
        for name in written_names(body, self.marks):
            place = self.storage.get(name)
            if isinstance(place, Register):
                registers += [
                    _carried(place, key, self.vector(place, key)) for key in place.elements
                ]
            else:
                memory.append(name)
        return registers, frozenset(memory)

    # --- statements ------------------------------------------------------------------------------

    def run(self, stmts: Sequence[Stmt]) -> None:
        """Statements one after another; what they declare ends with them."""
        hidden: dict[str, Memory | Register | None] = {}
        for n, stmt in enumerate(stmts):
            match stmt:
                case Part(body=body):
                    if stmt.formula and id(stmt) not in self.said:  # once for unrolled turns
                        self.said.add(id(stmt))
                        self.b.comment(comment_safe(stmt.formula))
                    self.run(body)
                case For():
                    later = ahead(n, stmts, self.buffers) if self.fetches else None
                    if later is None:
                        self.loop(stmt)
                    else:
                        self.fetching(stmt, later)
                case When(guards, body):
                    row, self.row = self.row, None
                    self.when(guards, body)
                    self.row = row
                case Declare(array):
                    hidden[array.name] = self.storage.get(array.name)
                    self.declare(array)
                case Store():
                    self.store(stmt)
                case Call():
                    self.call(self, stmt)
        for name in hidden:
            del self.storage[name]

    def store(self, stmt: Store) -> None:
        dtype = self.buffers[stmt.target].dtype
        if stmt.op == "=":
            value = self.statement(stmt.value, dtype)
        else:
            old = self.read(stmt.target, stmt.index)
            if stmt.op == "+=":
                value = self.added(old, stmt.value)
            else:
                test = "gt" if stmt.op == "max=" else "lt"
                value = self.extremum(self.statement(stmt.value, dtype), old, test)
        self.write(stmt.target, stmt.index, value)

    # --- loops -----------------------------------------------------------------------------------

    def loop(self, f: For) -> None:
        before = self.row
        if f.kind == "unroll":
            self.row = Row(f.loop, {})
            for n in range(f.loop.extent.const):
                self.bound[f.loop] = Form(n)
                self.run(f.body)
        elif f.kind == "vector" and f.loop in self.plan.strips and not self.lanes:
            self.strips(f)
        else:
            self.row = None
            self.turns(f)
        self.row = before

    def strips(self, f: For) -> None:
        """A vector loop: whole vectors, then what is left."""
        n, width = f.loop.extent.const, self.plan.strips[f.loop]
        if f.loop in self.plan.written:
            for start in range(0, n, width):
                self.strip(f, Form(start, {}, 1), min(width, n - start))
            return
        whole, rest = divmod(n, width)
        if whole == 1:
            self.strip(f, Form(0, {}, 1), width)
        elif whole:
            self.row = None
            carried, writes = self.carried(f.body)
            with self.b.loop(f.name, "0", str(whole), True, carried, writes) as counter:
                self.strip(f, Form(0, {counter: width}, 1), width)
        if rest == 1 and not self.target.masks:
            self.bound[f.loop] = Form(n - 1)
            self.run(f.body)
        elif rest:
            self.strip(f, Form(n - rest, {}, 1), rest)

    def strip(self, f: For, at: Form, turns: int) -> None:
        """Turns of a vector loop at once."""
        lanes = padded(turns, f.loop.extent.const, self.plan.strips[f.loop], self.target)
        self.lanes, self.active, self.bound[f.loop] = lanes, turns, at
        if turns < lanes:
            self.tail = Value(types.first(turns, lanes), "bool", lanes)
        self.run(f.body)
        self.lanes, self.tail = 0, None

    def turns(self, f: For) -> None:
        """A loop, one turn after another."""
        count = f.loop.extent.value
        narrow = bool(f.low or f.high)
        if count == 0:
            return
        if count == 1 and not narrow:
            self.bound[f.loop] = Form(0)
            self.run(f.body)
            return
        first = self.limit("smax", [Form(), *map(self.form, f.low)])
        end = self.limit("smin", [self.form(f.loop.extent), *map(self.form, f.high)])
        carried, writes = self.carried(f.body)
        certain = not narrow and (lower(f.loop.extent) or 0) >= 1
        with self.b.loop(f.name, first, end, certain, carried, writes) as counter:
            self.bound[f.loop] = Form(0, {counter: 1})
            self.run(f.body)

    def fetching(self, f: For, later: Ahead) -> None:
        """A loop in pieces of some turns, before each of which some rows are fetched."""
        rows, turns = later.rows.extent.const, f.loop.extent.value
        at_once = -(-rows // max(1, extent(f.loop.extent, {}) // SPACED))
        pieces = -(-rows // at_once)
        row, self.row = self.row, None
        size, last = self.pieces(f, pieces)
        carried, writes = self.carried(f.body)
        with self.b.loop("ahead", "0", str(pieces), True, carried, writes) as piece:
            for n in range(at_once):
                self.bound[later.rows] = Form(n, {piece: at_once})
                self.fetch(later)
            first = self.integer(self.scaled(Form(0, {piece: 1}), size))
            end = Value(self.integer(self.scaled(Form(1, {piece: 1}), size)), "int64")
            if not isinstance(size, int) or size * pieces != turns:
                end = self.intrinsic("smin", end, Value(last, "int64"))
            some = isinstance(size, int) and turns is not None and size * (pieces - 1) < turns
            inner = self.carried(f.body)[0]
            with self.b.loop(f.name, first, end.text, some, inner, writes) as counter:
                self.bound[f.loop] = Form(0, {counter: 1})
                self.run(f.body)
        self.row = row

    def pieces(self, f: For, count: int) -> tuple[int | str, str]:
        """How many turns each piece of a loop has, the last ones fewer, and how many it has."""
        turns = self.form(f.loop.extent)
        last = self.integer(turns)
        if turns.number is not None:
            return -(-turns.number // count), last
        up = self.b.value(f"add i64 {last}, {count - 1}", [last], "x")
        return self.b.value(f"udiv i64 {up}, {count}", [up], "x"), last

    def fetch(self, later: Ahead) -> None:
        """Asks for the lines of a row that will be read."""
        function = "llvm.prefetch.p0"
        self.b.declare("void", function, ["ptr", "i32", "i32", "i32"])
        for x in later.reads:
            place = self.storage[x.buffer]
            assert isinstance(place, Memory)
            for start in range(0, later.row.extent.const, later.step):
                self.bound[later.row] = Form(start)
                element = types.stored(place.buffer.dtype)
                address = self.address(place.address, self.flat(place, x.indices), element)
                self.b.line(f"call void @{function}(ptr {address}, i32 0, i32 3, i32 1)")

    def limit(self, choice: str, forms: Sequence[Form]) -> str:
        """The least or the greatest of some integers."""
        texts = list(dict.fromkeys(self.integer(form) for form in forms))
        found = Value(texts[0], "int64")
        for text in texts[1:]:
            found = self.intrinsic(choice, found, Value(text, "int64"))
        return found.text

    def when(self, guards: Sequence[Guard], body: Sequence[Stmt]) -> None:
        holds = self.holds(guards)
        if holds is False:
            return
        if holds is None:
            self.run(body)
            return
        assert isinstance(holds, Value)
        carried, writes = self.carried(body)
        before = self.mask
        condition = holds
        if holds.lanes:
            self.mask = holds if before is None else self.operate("and", before, holds)
            if holds.constant:  # it is known that some lane runs
                self.run(body)
                self.mask = before
                return
            condition = self.any(self.mask)
        with self.b.branch(condition.text, carried, writes):
            self.run(body)
        self.mask = before


def _carried(place: Register, key: tuple[int, ...], kind: str) -> Carried:
    """One element of a register tile, as something a loop hands on."""

    def get() -> str:
        return place.elements[key]

    def set_(text: str) -> None:
        place.elements[key] = text

    return Carried(kind, place.buffer.name, get, set_)
