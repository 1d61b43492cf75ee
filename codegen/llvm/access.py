"""Reads and writes of elements, one or a vector of them.

In: an array or declared storage, an index, the lanes and conditions of the moment. Out: values.

    the same in all lanes   one element
    one after another       a vector, masked where not all lanes run
    a square, turned        whole rows, transposed in registers: the turns of an unrolled loop read
                            what lies beside each other, the lanes what lies in rows; with masks
                            also a part of a square
    otherwise               a gather or a scatter

Guarantees: nothing is read where a condition does not hold: one element is then read from a place
that holds zero, lanes are masked. Lanes that do not run write nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from codegen.dtypes import WIDTH, is_unsigned
from codegen.index import Gather, Ix
from codegen.llvm import types
from codegen.llvm.frame import Form, Memory, Register, Value
from codegen.llvm.positions import Positions
from codegen.llvm.storage import padded
from codegen.program import BufferSource, Dtype

__all__ = ["ZEROS", "Access"]

LEAST = 4  # columns of a part of a square that are read in rows: a gather takes as long as four

HALVED = 8  # lanes from which on halves of rows are read: one unit shuffles whole vectors (both of
# Sapphire Rapids' insert a half that is read)

ZEROS = "@no.element"  # what a read finds whose guards do not hold; room for the widest vector


class Access(Positions):
    """Emits reads and writes."""

    def gathered(self, gather: Gather) -> Value:
        assert isinstance(gather.source, BufferSource)
        found = self.read(gather.source.buffer, gather.indices)
        if WIDTH[found.dtype] == 64:
            return found
        unsigned = is_unsigned(found.dtype) or found.dtype == "bool"
        kind = types.of("int64", found.lanes)
        extend = f"{'zext' if unsigned else 'sext'} {found.typed} to {kind}"
        return Value(self.b.value(extend, [found.text]), "int64", found.lanes)

    # --- reading ---------------------------------------------------------------------------------

    def read(self, name: str, indices: Sequence[Ix]) -> Value:
        """An element, or one a lane; 0 where the condition of the moment does not hold."""
        place = self.storage[name]
        if isinstance(place, Register):
            value = self.element(place, indices)
            if self.condition is None:
                return value
            return self.select(self.condition, value, self.zero(value))
        form = self.flat(place, indices)
        if form.uniform:
            return self.read_one(place, form)
        turned = self.turned(place, form, indices)
        if turned is not None:
            return turned
        return self.read_lanes(place, form, self.roomy(place, indices))

    def zero(self, like: Value) -> Value:
        """0 of a dtype."""
        return Value(types.number(Fraction(0), like.dtype), like.dtype)

    def flat(self, place: Memory, indices: Sequence[Ix]) -> Form:
        """How many elements after the first."""
        total = Form()
        for ix, stride in zip(indices, place.strides, strict=True):
            total.add(self.scaled(self.form(ix), stride))
        if place.own_lanes:
            total = self.scaled(total, place.own_lanes)
            total.lane += 1
        return total

    def read_one(self, place: Memory, form: Form) -> Value:
        dtype = place.buffer.dtype
        kind = types.stored(dtype)
        address = self.address(place.address, form, kind)
        condition = self.condition
        if condition is not None and condition.lanes:  # read if any lane wants it
            some = self.any(condition)
            value = self.loaded(place, kind, self.instead(some, address))
            return self.select(condition, value, self.zero(value))
        if condition is not None:
            address = self.instead(condition, address)
        return self.loaded(place, kind, address)

    def instead(self, condition: Value, address: str) -> str:
        """An address, or one of zeros."""
        choice = f"select {condition.typed}, ptr {address}, ptr {ZEROS}"
        return self.b.value(choice, [condition.text, address], "p")

    def any(self, condition: Value) -> Value:
        """Whether a condition holds in some lane, of those that there are."""
        if self.tail is not None:
            condition = self.operate("and", condition, self.tail)
        function = f"llvm.vector.reduce.or.v{condition.lanes}i1"
        return Value(self.b.call("i1", function, [(condition.type, condition.text)]), "bool")

    def loaded(self, place: Memory, kind: str, address: str, lanes: int = 0) -> Value:
        """An unconditional read of one element, or of neighbours."""
        dtype, name = place.buffer.dtype, place.buffer.name
        operation = self.reading(place, kind, address)
        return self.truth(self.b.load(name, operation, [address], name), dtype, lanes)

    def reading(self, place: Memory, kind: str, address: str) -> str:
        return f"load {kind}, ptr {address}, align {self.alignment(place)}"

    def truth(self, text: str, dtype: Dtype, lanes: int) -> Value:
        """What was read; a byte as a truth value."""
        if dtype != "bool":
            return Value(text, dtype, lanes)
        zero = "zeroinitializer" if lanes else "0"
        bit = self.b.value(f"icmp ne {types.stored(dtype, lanes)} {text}, {zero}", [text])
        return Value(bit, dtype, lanes)

    def alignment(self, place: Memory) -> int:
        return WIDTH[place.buffer.dtype] // 8

    def running(self) -> Value | None:
        """The lanes that run, where not all do."""
        return self.both(self.tail, self.mask)

    def roomy(self, place: Memory, indices: Sequence[Ix]) -> bool:
        """Whether what is beyond the last lane lies in the same row of an array: reading it does no
        harm, and nothing reads what is written there. The first lane runs."""
        if self.tail is None and self.mask is None:
            return True
        if self.mask is not None and not self.mask.text.startswith("<i1 1"):
            return False
        *rest, last = (self.form(ix) for ix in indices)
        steps = (self.lanes, place.buffer.dims[-1].value, last.const, *last.terms.values())
        whole = all(n is not None and n % self.lanes == 0 for n in steps)
        return whole and last.lane == 1 and not last.wide and all(f.uniform for f in rest)

    def read_lanes(self, place: Memory, form: Form, roomy: bool) -> Value:
        """One element a lane; ``roomy``: lanes that do not run may be read."""
        dtype, lanes = place.buffer.dtype, self.lanes
        kind, element = types.stored(dtype, lanes), types.stored(dtype)
        near = form.lane == 1 and not form.wide
        condition, mask = self.condition, self.running()
        if near:
            address = self.address(place.address, Form(form.const, form.terms), element)
            if condition is not None and not condition.lanes:
                address, condition = self.instead(condition, address), None
            mask = condition if roomy else self.both(mask, condition)
            if mask is None:
                return self.loaded(place, kind, address, lanes)
            return self.masked(place, "load", f"ptr align {self.alignment(place)}", address, mask)
        mask = self.both(mask, condition)
        addresses = self.addresses(place, form)
        every = mask or Value("true", "bool")
        pointers = f"<{lanes} x ptr> align {self.alignment(place)}"
        return self.masked(place, "gather", pointers, addresses, every)

    def masked(self, place: Memory, what: str, pointers: str, address: str, mask: Value) -> Value:
        """A masked load, or a gather; lanes that do not read get 0."""
        dtype, lanes, name = place.buffer.dtype, self.lanes, place.buffer.name
        bits = self.wide(mask)
        operation = self.masking(place, what, pointers, address, bits)
        return self.truth(self.b.load(name, operation, [address, bits], name), dtype, lanes)

    def masking(self, place: Memory, what: str, pointers: str, address: str, bits: str) -> str:
        """The operation that reads the lanes of a mask."""
        dtype, lanes = place.buffer.dtype, self.lanes
        kind, run = types.stored(dtype, lanes), f"<{lanes} x i1>"
        function = f"llvm.masked.{what}.{_ending(dtype, lanes)}"
        function += f".v{lanes}p0" if what == "gather" else ".p0"
        self.b.declare(kind, function, [pointers, run, kind])
        arguments = f"{pointers} {address}, {run} {bits}, {kind} zeroinitializer"
        return f"call {kind} @{function}({arguments})"

    def addresses(self, place: Memory, form: Form) -> str:
        """One address a lane."""
        element = types.stored(place.buffer.dtype)
        base = self.address(place.address, Form(form.const, form.terms), element)
        moving = self.whole(Form(0, {}, form.lane, form.wide))
        text = f"getelementptr {element}, ptr {base}, {moving.type} {moving.text}"
        return self.b.value(text, [base, moving.text], "p")

    def turned(self, place: Memory, form: Form, indices: Sequence[Ix]) -> Value | None:
        """A column of a square whose rows are neighbours in memory, if this is one."""
        row, lanes = self.row, self.lanes
        if row is None or form.wide or abs(form.lane) == 1 or place.buffer.dtype == "bool":
            return None
        size = row.loop.extent.const
        if lanes.bit_count() != 1 or self.mask or self.condition:
            return None
        if size % lanes and not (self.target.masks and size % lanes >= LEAST):
            return None
        now = self.bound[row.loop]
        self.bound[row.loop] = Form(now.const + 1)
        beside = self.flat(place, indices)
        self.bound[row.loop] = now
        column = now.const % lanes
        if (beside.const - form.const, beside.terms) != (1, form.terms):
            return None
        corner = Form(form.const - column, form.terms, form.lane)
        version = self.b.versions.get(place.buffer.name, 0)
        key = (place.address, version, corner.const, tuple(corner.terms.items()), form.lane)
        if key not in row.squares:
            columns = min(lanes, size - (now.const - column))
            row.squares[key] = self.square(place, corner, columns)
        return Value(row.squares[key][column], place.buffer.dtype, lanes)

    def square(self, place: Memory, corner: Form, columns: int) -> list[str]:
        """The columns of a square: rows, then halves exchanged at each distance. Rows of lanes that
        are not there are zero (any other number could be one that sums are slow with), and what is
        not in the first columns is not read."""
        dtype, lanes = place.buffer.dtype, self.lanes
        kind = types.stored(dtype, lanes)
        whole = columns == lanes >= HALVED
        rows = self.halves(place, corner) if whole else self.rows(place, corner, columns)
        step = 1
        while step < (lanes // 2 if whole else lanes):
            for n in (n for n in range(lanes) if not n & step):
                a, b = rows[n], rows[n | step]
                rows[n] = self.mixed(
                    kind, a, b, [_from(k, step, False, lanes) for k in range(lanes)]
                )
                rows[n | step] = self.mixed(
                    kind, a, b, [_from(k, step, True, lanes) for k in range(lanes)]
                )
            step *= 2
        return rows

    def rows(self, place: Memory, corner: Form, columns: int) -> list[str]:
        """The rows of a square, so much of each as is in the first columns."""
        dtype, lanes = place.buffer.dtype, self.lanes
        kind, element = types.stored(dtype, lanes), types.stored(dtype)
        mask = Value(types.first(columns, lanes), "bool", lanes)
        pointers = f"ptr align {self.alignment(place)}"
        rows = ["zeroinitializer"] * lanes
        for n in range(self.active):
            at = Form(corner.const + n * corner.lane, corner.terms)
            address = self.address(place.address, at, element)
            if columns == lanes:
                rows[n] = self.loaded(place, kind, address, lanes).text
            else:
                rows[n] = self.masked(place, "load", pointers, address, mask).text
        return rows

    def halves(self, place: Memory, corner: Form) -> list[str]:
        """The rows of a square after the exchange at the largest distance, which needs no shuffle:
        a half of one row is read behind a half of another."""
        dtype, half = place.buffer.dtype, self.lanes // 2
        kind, element = types.stored(dtype, half), types.stored(dtype)

        def read(row: int, column: int) -> str:
            if row >= self.active:
                return "zeroinitializer"
            at = Form(corner.const + row * corner.lane + column, corner.terms)
            address = self.address(place.address, at, element)
            return self.loaded(place, kind, address, half).text

        rows = []
        for n in range(self.lanes):
            row, column = n % half, n // half * half
            pair = read(row, column), read(row + half, column)
            rows.append(self.mixed(kind, pair[0], pair[1], range(self.lanes)))
        return rows

    def mixed(self, kind: str, a: str, b: str, order: Sequence[int]) -> str:
        """Lanes of two vectors in an order."""
        listed = ", ".join(f"i32 {k}" for k in order)
        picks = f"<{len(order)} x i32> <{listed}>"
        return self.b.value(f"shufflevector {kind} {a}, {kind} {b}, {picks}", [a, b])

    # --- writing ---------------------------------------------------------------------------------

    def write(self, name: str, indices: Sequence[Ix], value: Value) -> None:
        """Stores to an element, or to one a lane."""
        place = self.storage[name]
        if isinstance(place, Register):
            self.assign(place, indices, value)
            return
        form = self.flat(place, indices)
        dtype = place.buffer.dtype
        if dtype == "bool":
            text = self.wide(value) if not form.uniform else value.text
            lanes = 0 if form.uniform else self.lanes
            kind = types.of("bool", lanes)
            wide = self.b.value(f"zext {kind} {text} to {types.stored('bool', lanes)}", [text])
            texts = {lanes: wide}
        else:
            texts = {0: value.text} if form.uniform else {self.lanes: self.wide(value)}
        if form.uniform:
            kind = types.stored(dtype)
            address = self.address(place.address, form, kind)
            self.stored(place, kind, texts[0], address)
        else:
            roomy = self.mask is None and self.roomy(place, indices)
            self.write_lanes(place, form, texts[self.lanes], roomy)

    def stored(self, place: Memory, kind: str, text: str, address: str) -> None:
        line = f"store {kind} {text}, ptr {address}, align {self.alignment(place)}"
        self.b.store(place.buffer.name, line, self.reading(place, kind, address), text)

    def write_lanes(self, place: Memory, form: Form, text: str, roomy: bool) -> None:
        """One element a lane; ``roomy``: also to those beyond the last."""
        dtype, lanes, name = place.buffer.dtype, self.lanes, place.buffer.name
        kind, element = types.stored(dtype, lanes), types.stored(dtype)
        near = form.lane == 1 and not form.wide
        mask = self.running()
        if near:
            address = self.address(place.address, Form(form.const, form.terms), element)
            if mask is None or roomy:
                self.stored(place, kind, text, address)
                return
            pointers, ending = f"ptr align {self.alignment(place)}", ".p0"
        else:
            address = self.addresses(place, form)
            pointers = f"<{lanes} x ptr> align {self.alignment(place)}"
            ending = f".v{lanes}p0"
        bits = self.wide(mask or Value("true", "bool"))
        run = f"<{lanes} x i1>"
        what = "store" if near else "scatter"
        function = f"llvm.masked.{what}.{_ending(dtype, lanes)}{ending}"
        self.b.declare("void", function, [kind, pointers, run])
        arguments = f"{kind} {text}, {pointers} {address}, {run} {bits}"
        again = self.masking(place, "load", pointers, address, bits) if near else ""
        self.b.store(name, f"call void @{function}({arguments})", again, text)

    # --- registers -------------------------------------------------------------------------------

    def vector(self, place: Register, key: tuple[int, ...]) -> str:
        """The type of an element."""
        return types.of(place.buffer.dtype, self.room(place, key))

    def room(self, place: Register, key: tuple[int, ...]) -> int:
        """The lanes of an element."""
        if place.lane_axis is None:
            return place.lanes
        total = place.buffer.dims[place.lane_axis].const
        return padded(place.turns(key), total, place.lanes, self.target)

    def key(self, place: Register, indices: Sequence[Ix]) -> tuple[tuple[int, ...], Form]:
        """The position of an element, and the lane in it: one number, or all from one on."""
        where: list[int] = []
        lane = Form(0, {}, 1)
        for axis, ix in enumerate(indices):
            form = self.form(ix)
            if axis != place.lane_axis:
                assert form.number is not None
                where.append(form.number)
            else:
                lane = form
        if place.lane_axis is not None:
            number, first = divmod(lane.const, place.lanes)
            where.append(number)
            lane = Form(first, {}, lane.lane)
        return tuple(where), lane

    def element(self, place: Register, indices: Sequence[Ix]) -> Value:
        where, lane = self.key(place, indices)
        text, dtype = place.elements[where], place.buffer.dtype
        kind = self.vector(place, where)
        if lane.number is not None:
            one = self.b.value(f"extractelement {kind} {text}, i64 {lane.number}", [text])
            return Value(one, dtype)
        if self.all_of(place, where, lane):
            return Value(text, dtype, self.room(place, where))
        picks = [lane.const + n if n < self.active else lane.const for n in range(self.lanes)]
        return Value(self.mixed(kind, text, "poison", picks), dtype, self.lanes)

    def assign(self, place: Register, indices: Sequence[Ix], value: Value) -> None:
        where, lane = self.key(place, indices)
        old = place.elements[where]
        if lane.number is not None:
            kind = self.vector(place, where)
            operation = f"insertelement {kind} {old}, {value.typed}, i64 {lane.number}"
            place.elements[where] = self.b.value(operation, [old, value.text])
            return
        if place.lanes and self.mask is not None:
            now = self.element(place, indices)
            value = self.select(self.mask, value, now)
        text = self.wide(value) if place.lanes else value.text
        if not self.all_of(place, where, lane):
            text = self.among(place, where, lane.const, text)
        place.elements[where] = text

    def all_of(self, place: Register, key: tuple[int, ...], lane: Form) -> bool:
        """Whether the lanes of the moment are those of a register, all of them."""
        return place.lane_axis is None or (not lane.const and place.turns(key) == self.active)

    def among(self, place: Register, key: tuple[int, ...], start: int, text: str) -> str:
        """A register with the lanes from ``start`` on replaced by those of a shorter vector."""
        old, lanes = place.elements[key], self.room(place, key)
        own = types.of(place.buffer.dtype, self.lanes)
        long = self.mixed(own, text, "poison", [min(n, self.lanes - 1) for n in range(lanes)])
        inside = range(start, start + self.active)
        order = [lanes + n - start if n in inside else n for n in range(lanes)]
        return self.mixed(self.vector(place, key), old, long, order)


def _from(lane: int, step: int, second: bool, lanes: int) -> int:
    """Which lane of two rows, ``step`` apart, a lane takes when the upper part of the first and the
    lower part of the second change places; lanes of the second row count on."""
    if lane & step:
        return lanes + lane - (0 if second else step)
    return lane + (step if second else 0)


def _ending(dtype: Dtype, lanes: int) -> str:
    """The type in the name of a masked intrinsic."""
    one = {"float32": "f32", "float64": "f64", "bool": "i8"}.get(dtype) or f"i{WIDTH[dtype]}"
    return f"v{lanes}{one}"
