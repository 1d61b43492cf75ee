"""What is known where a statement is emitted: values, storage, loops, lanes.

In: nothing but what emission puts there. Out: the records that the other modules share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from codegen.index import Loop
from codegen.llvm import types
from codegen.llvm.builder import Builder
from codegen.llvm.target import Target
from codegen.program import Buffer, Dtype

__all__ = ["Form", "Frame", "Memory", "Register", "Row", "Value"]


@dataclass(frozen=True, slots=True)
class Value:
    """A value: its name or constant, its dtype, its lanes (0: one number)."""

    text: str
    dtype: Dtype
    lanes: int = 0

    @property
    def type(self) -> str:
        return types.of(self.dtype, self.lanes)

    @property
    def typed(self) -> str:
        return f"{self.type} {self.text}"

    @property
    def constant(self) -> bool:
        """Whether it is written as a number."""
        return not self.text.startswith("%")


@dataclass(slots=True)
class Form:
    """An index: const + sum of k * i64 value + lane * (the number of the lane) + sum of k * vector
    of i64."""

    const: int = 0
    terms: dict[str, int] = field(default_factory=dict)
    lane: int = 0
    wide: dict[str, int] = field(default_factory=dict)

    def add(self, other: Form, k: int = 1) -> None:
        """Adds k times another."""
        self.const += k * other.const
        self.lane += k * other.lane
        for name, n in other.terms.items():
            self.terms[name] = self.terms.get(name, 0) + k * n
        for name, n in other.wide.items():
            self.wide[name] = self.wide.get(name, 0) + k * n

    @property
    def number(self) -> int | None:
        """The integer that it is, where nothing else is in it."""
        return None if self.terms or self.lane or self.wide else self.const

    @property
    def uniform(self) -> bool:
        """Whether it is the same in all lanes."""
        return not self.lane and not self.wide


@dataclass(frozen=True, slots=True)
class Memory:
    """Elements at an address, row-major. ``own_lanes``: each lane has an array of its own, and
    element i of lane l lies at i*lanes + l."""

    buffer: Buffer
    address: str
    strides: tuple[int | str, ...]
    own_lanes: int = 0


@dataclass(frozen=True, slots=True)
class Register:
    """Elements that are values, by their position. Where an axis lies in lanes there is one for
    every ``lanes`` of it: their number stands last, in place of the axis."""

    buffer: Buffer
    lane_axis: int | None
    lanes: int
    elements: dict[tuple[int, ...], str]

    def turns(self, key: tuple[int, ...]) -> int:
        """How many turns of a loop an element holds."""
        if self.lane_axis is None:
            return self.lanes
        return min(self.lanes, self.buffer.dims[self.lane_axis].const - key[-1] * self.lanes)


@dataclass(frozen=True, slots=True)
class Row:
    """The unrolled loop whose turns are being written, all of which run; ``squares`` are what was
    read of squares of it and of the lanes."""

    loop: Loop
    squares: dict[tuple[object, ...], list[str]]


class Frame:
    """The state of one function's emission."""

    def __init__(
        self, builder: Builder, target: Target, portable: bool, arrays: Mapping[str, Buffer]
    ) -> None:
        self.b = builder
        self.target = target
        self.fuses = target.fma and not portable
        self.buffers = dict(arrays)
        self.storage: dict[str, Memory | Register] = {}
        self.dims: dict[str, str] = {}
        self.bound: dict[Loop, Form] = {}
        self.lanes = 0
        self.active = 0  # of the loop in lanes that run at once: no more than there are lanes
        self.tail: Value | None = None  # the lanes that there are, where a vector has more
        self.mask: Value | None = None  # of lanes that run
        self.condition: Value | None = None  # under which reads happen
        self.row: Row | None = None

    @contextmanager
    def given(self, condition: Value | None) -> Iterator[None]:
        """Reads happen only under a condition."""
        before, self.condition = self.condition, condition
        yield
        self.condition = before

    def wide(self, value: Value) -> str:
        """A value in every lane."""
        if value.lanes:
            return value.text
        if value.constant:
            return types.splat(value.text, value.dtype)
        kind = types.of(value.dtype, self.lanes)
        one = self.b.value(f"insertelement {kind} poison, {value.typed}, i64 0", [value.text])
        order = f"<{self.lanes} x i32> zeroinitializer"
        return self.b.value(f"shufflevector {kind} {one}, {kind} poison, {order}", [one])

    def alike(self, *values: Value) -> tuple[int, list[str]]:
        """Values in as many lanes as the widest of them."""
        lanes = max(v.lanes for v in values)
        return lanes, [self.wide(v) if lanes else v.text for v in values]

    def operate(self, operation: str, *values: Value, dtype: Dtype | None = None) -> Value:
        """``fadd``, ``icmp slt``, ... of values of one dtype; ``dtype`` is the result's."""
        lanes, texts = self.alike(*values)
        kind = types.of(values[0].dtype, lanes)
        text = self.b.value(f"{operation} {kind} {', '.join(texts)}", texts)
        return Value(text, dtype or values[0].dtype, lanes)

    def intrinsic(self, name: str, *values: Value) -> Value:
        """``llvm.<name>`` of values of one dtype."""
        lanes, texts = self.alike(*values)
        dtype = values[0].dtype
        kind = types.of(dtype, lanes)
        function = f"llvm.{name}{types.suffix(dtype, lanes)}"
        return Value(self.b.call(kind, function, [(kind, t) for t in texts]), dtype, lanes)

    def select(self, condition: Value, then: Value, other: Value) -> Value:
        """One of two values of one dtype."""
        if condition.constant and not condition.lanes and condition.text in ("true", "false"):
            return then if condition.text == "true" else other
        if then.lanes or other.lanes or condition.lanes:
            lanes, (a, b) = self.alike(then, other, condition)[0], ("", "")
            a, b = self.wide(then), self.wide(other)
            c = f"{condition.type} {condition.text}"  # one bit may choose a whole vector
        else:
            lanes, a, b, c = 0, then.text, other.text, condition.typed
        kind = types.of(then.dtype, lanes)
        operands = [condition.text, a, b]
        text = self.b.value(f"select {c}, {kind} {a}, {kind} {b}", operands)
        return Value(text, then.dtype, lanes)

    def both(self, a: Value | None, b: Value | None) -> Value | None:
        """The conjunction of two conditions, None being none."""
        if a is None or b is None:
            return a if b is None else b
        return self.operate("and", a, b)
