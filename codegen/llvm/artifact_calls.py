"""The functions of an artifact that C calls, as LLVM text.

In: an ``Entry``. Out: ``entry_text(entry)``, two functions:

    i64 <symbol>_memory(i64 size, ...)                  bytes that a call needs; 0 for bad sizes
    i32 <symbol>(i64 size, ..., ptr arrays, ptr memory, i64 bytes)

``arrays`` is a table of addresses, one for each of ``Entry.arrays``; the context of ``layout`` and
the arena after it lie in the caller's memory. ``message_text`` is a function that has a sentence
for each code.

Guarantees: before anything is written, sizes are compared with their bounds, the memory with what
is needed (no product overflows unseen), addresses with null and their alignment, and integers that
are declared to lie in a range with that range: a call that is refused changes nothing. No storage
but the caller's and a stack, no globals that change.

It cannot know how much memory stands behind the address of an array: that is the caller's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codegen.aligned import ALIGNMENT
from codegen.dtypes import WIDTH
from codegen.index import Dim, Ix
from codegen.llvm.artifact_entry import (
    ALIGNED,
    KINDS,
    MEMORY,
    NULL,
    SIZE,
    VALUE,
    Array,
    Entry,
    Kind,
    Size,
)

__all__ = ["entry_text", "message_text"]


def entry_text(e: Entry) -> str:
    """Both functions, and the declaration of the program's."""
    return "\n\n".join([f"declare void @{e.run}(ptr)", _memory(e), _call(e), ""])


def message_text(symbol: str) -> str:
    """``ptr <symbol>(i32 code)``: the sentence of a code."""
    texts = [*((k.code, k.message) for k in KINDS), (0, "done"), (-1, "no code of this library")]
    lines: list[str] = []
    for code, text in texts:
        data = text.encode("ascii") + b"\0"
        words = "".join(f"\\{c:02X}" for c in data)
        kind = f"[{len(data)} x i8]"
        lines.append(f'@{_text_of(code)} = private unnamed_addr constant {kind} c"{words}"')
    lines += ["", f"define ptr @{symbol}(i32 %code) nounwind {{", "  %kind = and i32 %code, 255"]
    last = f"@{_text_of(-1)}"
    for n, (code, _) in enumerate(texts[:-1]):
        lines.append(f"  %is.{n} = icmp eq i32 %kind, {code}")
        lines.append(f"  %text.{n} = select i1 %is.{n}, ptr @{_text_of(code)}, ptr {last}")
        last = f"%text.{n}"
    return "\n".join([*lines, f"  ret ptr {last}", "}", ""])


def _text_of(code: int) -> str:
    return f"message.{code}" if code >= 0 else "message.other"


class _Function:
    """Lines of a function that leaves early."""

    def __init__(self, sizes: Sequence[Size]) -> None:
        self.sizes = {s.name: f"%size.{n}" for n, s in enumerate(sizes)}
        self.lines: list[str] = ["entry:"]
        self.block = "entry"
        self.count = 0
        self.refused: list[tuple[str, str]] = []  # code, block

    def value(self, operation: str) -> str:
        self.count += 1
        self.lines.append(f"  %v{self.count} = {operation}")
        return f"%v{self.count}"

    def open(self, hint: str) -> str:
        """A fresh name of a block."""
        self.count += 1
        return f"{hint}.{self.count}"

    def begin(self, block: str) -> None:
        self.lines.append(f"{block}:")
        self.block = block

    def refuse(self, bad: str, kind: Kind, which: int = 0) -> None:
        """Leaves where a condition holds."""
        after = self.open("checked")
        self.lines.append(f"  br i1 {bad}, label %refused, label %{after}")
        self.refused.append((str(which << 8 | kind.code), self.block))
        self.begin(after)

    def any(self, bad: Sequence[str]) -> str:
        """Whether one of some conditions holds."""
        total = bad[0]
        for one in bad[1:]:
            total = self.value(f"or i1 {total}, {one}")
        return total

    def out_of_bounds(self, s: Size) -> str:
        text = self.sizes[s.name]
        least = self.value(f"icmp slt i64 {text}, {s.low}")
        return self.any([least, self.value(f"icmp sgt i64 {text}, {s.high}")])

    def exact(self, operation: str, a: str, b: str, flags: list[str]) -> str:
        """umul or uadd; whether it overflows goes to ``flags``."""
        if operation == "umul" and a == "1":
            return b
        if operation == "uadd" and a == "0":
            return b
        both = self.value(f"call {{i64, i1}} @llvm.{operation}.with.overflow.i64(i64 {a}, i64 {b})")
        flags.append(self.value(f"extractvalue {{i64, i1}} {both}, 1"))
        return self.value(f"extractvalue {{i64, i1}} {both}, 0")

    def ix(self, ix: Ix) -> str:
        """A sum of sizes."""
        total = str(ix.const)
        for atom, k in ix.terms:
            assert isinstance(atom, Dim)
            part = self.sizes[atom.name]
            part = part if k == 1 else self.value(f"mul i64 {part}, {k}")
            total = part if total == "0" else self.value(f"add i64 {total}, {part}")
        return total


@dataclass(frozen=True)
class _Arena:
    """Values of a function: where regions begin in the memory, what each unit stands for, bytes in
    all, and whether that is more than 64 bits hold."""

    starts: list[str]
    times: list[str]
    total: str
    overflow: str


def _arena(f: _Function, e: Entry) -> _Arena:
    """The arena, after the context."""
    words = len(e.interface.arrays) + len(e.interface.dims)
    total = str(-(-8 * max(words, 1) // ALIGNMENT) * ALIGNMENT)
    flags: list[str] = []
    starts: list[str] = []
    times: list[str] = []
    for region in e.interface.arena.regions:
        points = "1"
        for d in region.scale:
            size = f.value(f"call i64 @llvm.smax.i64(i64 {f.sizes[d]}, i64 1)")
            points = f.exact("umul", points, size, flags)
        starts.append(total)
        times.append(points)
        total = f.exact("uadd", total, f.exact("umul", points, str(region.unit), flags), flags)
    return _Arena(starts, times, total, f.any(flags) if flags else "false")


def _memory(e: Entry) -> str:
    """The bytes that a call needs."""
    f = _Function(e.sizes)
    arena = _arena(f, e)
    bad = f.any([arena.overflow, *(f.out_of_bounds(s) for s in e.sizes)])
    found = f.value(f"select i1 {bad}, i64 0, i64 {arena.total}")
    head = ", ".join(f"i64 {f.sizes[s.name]}" for s in e.sizes)
    start = f"define i64 @{e.symbol}_memory({head}) nounwind {{"
    return "\n".join([start, *f.lines, f"  ret i64 {found}", "}"])


def _call(e: Entry) -> str:
    """The function itself: checks, the context, the program."""
    f = _Function(e.sizes)
    f.refuse(f.value("icmp eq ptr %arrays, null"), NULL)
    for n, s in enumerate(e.sizes, start=1):
        f.refuse(f.out_of_bounds(s), SIZE, n)
    arena = _arena(f, e)
    f.refuse(arena.overflow, SIZE)
    f.refuse(f.value("icmp eq ptr %memory, null"), MEMORY)
    f.refuse(_misaligned(f, "%memory", ALIGNMENT), MEMORY)
    f.refuse(f.value(f"icmp ult i64 %bytes, {arena.total}"), MEMORY)
    addresses = {}
    for n, a in enumerate(e.arrays):
        at = f.value(f"getelementptr ptr, ptr %arrays, i64 {n}")
        address = addresses[a.buffer] = f.value(f"load ptr, ptr {at}, align 8")
        f.refuse(f.value(f"icmp eq ptr {address}, null"), NULL, n + 1)
        if a.width > 1:
            f.refuse(_misaligned(f, address, a.width), ALIGNED, n + 1)
    for n, a in enumerate(e.arrays, start=1):
        if a.low is not None and a.high is not None:
            _in_range(f, a, addresses[a.buffer], n)
    _context(f, e, arena, addresses)
    f.lines += [f"  call void @{e.run}(ptr %memory)", "  ret i32 0"]
    codes = ", ".join(f"[ {code}, %{block} ]" for code, block in f.refused)
    f.lines += ["refused:", f"  %code = phi i32 {codes}", "  ret i32 %code"]
    head = ", ".join(
        [*(f"i64 {f.sizes[s.name]}" for s in e.sizes), "ptr %arrays", "ptr %memory", "i64 %bytes"]
    )
    return "\n".join([f"define i32 @{e.symbol}({head}) nounwind {{", *f.lines, "}"])


def _misaligned(f: _Function, address: str, multiple: int) -> str:
    number = f.value(f"ptrtoint ptr {address} to i64")
    rest = f.value(f"and i64 {number}, {multiple - 1}")
    return f.value(f"icmp ne i64 {rest}, 0")


def _in_range(f: _Function, a: Array, address: str, which: int) -> None:
    """Refuses an element below ``low`` or above ``high``, by a loop over all of them."""
    assert a.low is not None
    assert a.high is not None
    count = "1"
    for d in a.dims:
        size = f.ix(d)
        count = size if count == "1" else f.value(f"mul i64 {count}, {size}")
    low, high = f.ix(a.low), f.ix(a.high)
    before, head, body, after = f.block, *(f.open(h) for h in ("elements", "element", "in_range"))
    f.lines.append(f"  br label %{head}")
    f.begin(head)
    n, following = f"%n.{head}", f"%next.{head}"
    back = f.open("next")
    f.lines.append(f"  {n} = phi i64 [ 0, %{before} ], [ {following}, %{back} ]")
    inside = f.value(f"icmp slt i64 {n}, {count}")
    f.lines.append(f"  br i1 {inside}, label %{body}, label %{after}")
    f.begin(body)
    kind = f"i{WIDTH[a.dtype]}"
    at = f.value(f"getelementptr {kind}, ptr {address}, i64 {n}")
    element = f.value(f"load {kind}, ptr {at}, align {a.width}")
    if kind != "i64":
        widened = "zext" if a.dtype.startswith("u") else "sext"
        element = f.value(f"{widened} {kind} {element} to i64")
    less = f.value(f"icmp slt i64 {element}, {low}")
    more = f.value(f"icmp sgt i64 {element}, {high}")
    f.lines.append(f"  br i1 {f.any([less, more])}, label %refused, label %{back}")
    f.refused.append((str(which << 8 | VALUE.code), body))
    f.begin(back)
    f.lines += [f"  {following} = add i64 {n}, 1", f"  br label %{head}"]
    f.begin(after)


def _context(f: _Function, e: Entry, arena: _Arena, addresses: dict[str, str]) -> None:
    """Writes the words of the context to the start of the memory."""
    slots = {(s.kernel, s.array): s for s in e.interface.arena.slots}

    def put(word: int, kind: str, text: str) -> None:
        at = f.value(f"getelementptr i64, ptr %memory, i64 {word}") if word else "%memory"
        f.lines.append(f"  store {kind} {text}, ptr {at}, align 8")

    for word, (kernel, b) in enumerate(e.interface.arrays):
        if not kernel and b.name in addresses:
            put(word, "ptr", addresses[b.name])
            continue
        slot = slots[kernel, b.name]
        offset = f.value(f"mul i64 {arena.times[slot.region]}, {slot.offset}")
        offset = f.value(f"add i64 {offset}, {arena.starts[slot.region]}")
        put(word, "ptr", f.value(f"getelementptr i8, ptr %memory, i64 {offset}"))
    for word, d in enumerate(e.interface.dims, start=len(e.interface.arrays)):
        put(word, "i64", f.sizes[d.name])
