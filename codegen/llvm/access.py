"""Reads and writes of elements, one or a vector of them.

In: an array or declared storage, an index, the lanes and conditions of the moment. Out: values.

    the same in all lanes   one element
    one after another       a vector, masked where not all lanes run
    a square, turned        whole rows, transposed in registers: the turns of an unrolled loop read
                            what lies beside each other, the lanes what lies in rows
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
from codegen.program import BufferSource, Dtype

__all__ = ["ZEROS", "Access"]

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
        return self.read_lanes(place, form) if turned is None else turned

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
        """Whether a condition holds in some lane."""
        function = f"llvm.vector.reduce.or.v{condition.lanes}i1"
        return Value(self.b.call("i1", function, [(condition.type, condition.text)]), "bool")

    def loaded(self, place: Memory, kind: str, address: str, lanes: int = 0) -> Value:
        """An unconditional read of one element, or of neighbours."""
        dtype, name = place.buffer.dtype, place.buffer.name
        operation = f"load {kind}, ptr {address}, align {self.alignment(place)}"
        return self.truth(self.b.load(name, operation, [address], name), dtype, lanes)

    def truth(self, text: str, dtype: Dtype, lanes: int) -> Value:
        """What was read; a byte as a truth value."""
        if dtype != "bool":
            return Value(text, dtype, lanes)
        zero = "zeroinitializer" if lanes else "0"
        bit = self.b.value(f"icmp ne {types.stored(dtype, lanes)} {text}, {zero}", [text])
        return Value(bit, dtype, lanes)

    def alignment(self, place: Memory) -> int:
        return WIDTH[place.buffer.dtype] // 8

    def lane_mask(self) -> Value | None:
        """The lanes that read."""
        return self.both(self.mask, self.condition)

    def read_lanes(self, place: Memory, form: Form) -> Value:
        """One element a lane."""
        dtype, lanes = place.buffer.dtype, self.lanes
        kind, element = types.stored(dtype, lanes), types.stored(dtype)
        near = form.lane == 1 and not form.wide
        mask = self.lane_mask()
        if near:
            address = self.address(place.address, Form(form.const, form.terms), element)
            if mask is not None and not mask.lanes:
                address, mask = self.instead(mask, address), None
            if mask is None:
                return self.loaded(place, kind, address, lanes)
            return self.masked(place, "load", f"ptr align {self.alignment(place)}", address, mask)
        addresses = self.addresses(place, form)
        every = mask or Value("true", "bool")
        pointers = f"<{lanes} x ptr> align {self.alignment(place)}"
        return self.masked(place, "gather", pointers, addresses, every)

    def masked(self, place: Memory, what: str, pointers: str, address: str, mask: Value) -> Value:
        """A masked load, or a gather; lanes that do not read get 0."""
        dtype, lanes, name = place.buffer.dtype, self.lanes, place.buffer.name
        kind, run = types.stored(dtype, lanes), f"<{lanes} x i1>"
        function = f"llvm.masked.{what}.{_ending(dtype, lanes)}"
        function += f".v{lanes}p0" if what == "gather" else ".p0"
        bits = self.wide(mask)
        self.b.declare(kind, function, [pointers, run, kind])
        arguments = f"{pointers} {address}, {run} {bits}, {kind} zeroinitializer"
        operation = f"call {kind} @{function}({arguments})"
        return self.truth(self.b.load(name, operation, [address, bits], name), dtype, lanes)

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
        if lanes.bit_count() != 1 or size % lanes or self.mask or self.condition:
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
            row.squares[key] = self.square(place, corner)
        return Value(row.squares[key][column], place.buffer.dtype, lanes)

    def square(self, place: Memory, corner: Form) -> list[str]:
        """The columns of a square: rows, then halves exchanged at each distance."""
        dtype, lanes = place.buffer.dtype, self.lanes
        kind, element = types.stored(dtype, lanes), types.stored(dtype)
        rows = []
        for n in range(lanes):
            at = Form(corner.const + n * corner.lane, corner.terms)
            rows.append(
                self.loaded(place, kind, self.address(place.address, at, element), lanes).text
            )
        step = 1
        while step < lanes:
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
            self.write_lanes(place, form, texts[self.lanes])

    def stored(self, place: Memory, kind: str, text: str, address: str) -> None:
        line = f"store {kind} {text}, ptr {address}, align {self.alignment(place)}"
        self.b.store(place.buffer.name, line)

    def write_lanes(self, place: Memory, form: Form, text: str) -> None:
        """One element a lane."""
        dtype, lanes, name = place.buffer.dtype, self.lanes, place.buffer.name
        kind, element = types.stored(dtype, lanes), types.stored(dtype)
        near = form.lane == 1 and not form.wide
        if near:
            address = self.address(place.address, Form(form.const, form.terms), element)
            if self.mask is None:
                self.stored(place, kind, text, address)
                return
            pointers, ending = f"ptr align {self.alignment(place)}", ".p0"
        else:
            address = self.addresses(place, form)
            pointers = f"<{lanes} x ptr> align {self.alignment(place)}"
            ending = f".v{lanes}p0"
        bits = self.wide(self.mask or Value("true", "bool"))
        run = f"<{lanes} x i1>"
        what = "store" if near else "scatter"
        function = f"llvm.masked.{what}.{_ending(dtype, lanes)}{ending}"
        self.b.declare("void", function, [kind, pointers, run])
        arguments = f"{kind} {text}, {pointers} {address}, {run} {bits}"
        self.b.store(name, f"call void @{function}({arguments})")

    # --- registers -------------------------------------------------------------------------------

    def key(self, place: Register, indices: Sequence[Ix]) -> tuple[tuple[int, ...], int | None]:
        """The position of an element, and its lane where one alone is meant."""
        where: list[int] = []
        lane: int | None = None
        for axis, ix in enumerate(indices):
            form = self.form(ix)
            if axis != place.lane_axis:
                assert form.number is not None
                where.append(form.number)
            else:
                lane = form.number
        return tuple(where), lane

    def element(self, place: Register, indices: Sequence[Ix]) -> Value:
        where, lane = self.key(place, indices)
        text, dtype = place.elements[where], place.buffer.dtype
        if lane is None:
            return Value(text, dtype, place.lanes)
        one = self.b.value(f"extractelement {place.type} {text}, i64 {lane}", [text])
        return Value(one, dtype)

    def assign(self, place: Register, indices: Sequence[Ix], value: Value) -> None:
        where, lane = self.key(place, indices)
        old = place.elements[where]
        if lane is not None:
            operation = f"insertelement {place.type} {old}, {value.typed}, i64 {lane}"
            place.elements[where] = self.b.value(operation, [old, value.text])
            return
        if place.lanes and self.mask is not None:
            value = self.select(self.mask, value, Value(old, value.dtype, place.lanes))
        place.elements[where] = self.wide(value) if place.lanes else value.text


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
