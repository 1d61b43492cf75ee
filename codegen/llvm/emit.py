"""LOOPS to the text of an LLVM module.

In: a ``Loops`` and a ``Target``. Out: ``emit(loops, target)``: text with one external function
``void @<name>(ptr %context)``, whose context is described in ``layout``; each kernel is an internal
function of the addresses of its arrays, its integers, and the sizes of its dimensions.

Guarantees: it is complete: nothing is left to LLVM's passes but the choice of instructions and
registers, and no function of a library is called. No fast-math: floats are added in the order of
the nest; a product is fused with the sum it is added to where the target can, unless ``portable``.
Equal nests give equal text. Comments and names are the model's.

It does not choose a schedule, check a nest, or run anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import isfinite, isnan

from codegen.index import Loop
from codegen.llvm import types
from codegen.llvm.access import ZEROS
from codegen.llvm.ahead import outgrows
from codegen.llvm.body import Body
from codegen.llvm.builder import Builder
from codegen.llvm.frame import Form
from codegen.llvm.layout import Layout, layout
from codegen.llvm.storage import LONGEST, plan
from codegen.llvm.target import Target
from codegen.loops.known import arrays_in
from codegen.loops.nest import Call, Kernel, Loops, Stmt
from codegen.names import comment_safe
from codegen.program import Buffer

__all__ = ["emit"]

MENTIONED = 1000  # arrays by the statements of one function: LLVM's time grows faster than they do


def emit(loops: Loops, target: Target, portable: bool = False) -> str:
    """The module; ``portable`` keeps products and sums apart, as a target without FMA has them."""
    return _Module(loops, target, portable).text()


class _Module:
    def __init__(self, loops: Loops, target: Target, portable: bool) -> None:
        self.loops, self.target, self.portable = loops, target, portable
        self.layout: Layout = layout(loops)
        self.fetches = outgrows(loops)
        self.marks = {k.name: tuple(b.name in k.writes for b in k.arrays) for k in loops.kernels}
        self.owned: dict[str, list[tuple[int, Buffer]]] = {}  # words of the context, by kernel
        for n, (kernel, buffer) in enumerate(self.layout.arrays):
            self.owned.setdefault(kernel, []).append((n, buffer))
        self.constants: dict[str, str] = {}
        self.intrinsics: dict[str, None] = {}

    def text(self) -> str:
        functions = [self.kernel(k) for k in self.loops.kernels]
        functions += self.main()
        room = LONGEST * self.target.vector_bytes * 2
        head = [
            f'target triple = "{self.target.triple}"',
            f"{ZEROS} = internal constant [{room} x i8] zeroinitializer, align 64",
            *self.constants.values(),
        ]
        bits = 8 * self.target.vector_bytes
        attributes = ["nounwind"]
        if bits > 256:  # use the widest vectors there are
            attributes += [f'"min-legal-vector-width"="{bits}"', f'"prefer-vector-width"="{bits}"']
        tail = [*self.intrinsics, f"attributes #0 = {{ {' '.join(attributes)} }}"]
        return "\n".join(["\n".join(head), *functions, "\n".join(tail)]) + "\n"

    # --- functions -------------------------------------------------------------------------------

    def main(self) -> list[str]:
        """The function that a caller calls; a long one calls pieces of it, one after another."""
        start = f"define void @{self.loops.name}(ptr noalias %context) #0 {{"
        pieces = _pieces(self.loops.body)
        if len(pieces) == 1:
            return [self.piece(self.loops.doc, start, pieces[0])]
        found, calls = [], Builder(["context", "entry"])
        for n, stmts in enumerate(pieces):
            name = f"@{self.loops.name}.{n}"
            inner = f"define internal void {name}(ptr noalias %context) #0 {{"
            found.append(self.piece("", inner, stmts))
            calls.line(f"call void {name}(ptr %context)")
        return [*found, _function(self.loops.doc, start, calls)]

    def piece(self, doc: str, start: str, stmts: Sequence[Stmt]) -> str:
        """Statements of the program, as a function of the context."""
        b = Builder(["context", "entry"])
        used = frozenset[str]().union(*map(arrays_in, stmts))
        arrays = [array for array in self.loops.arrays if array.name in used]
        self.body(b, "", arrays, self.words(b, "", used), stmts)
        return _function(doc, start, b)

    def kernel(self, k: Kernel) -> str:
        """An outlined body."""
        b = Builder(["context", "entry"])
        handed = {array.name: f"%{b.name(array.name)}" for array in k.arrays}
        integers = [(v, f"%{b.name(name)}") for v, name in zip(k.integers, k.names, strict=True)]
        used = frozenset[str]().union(*map(arrays_in, k.body))
        addresses = {**handed, **self.words(b, k.name, used)}
        body = self.body(b, k.name, (*k.arrays, *k.scratch), addresses, k.body, integers)
        listed = [f"ptr {text}" for text in handed.values()]
        listed += [*(f"i64 {text}" for _, text in integers), "ptr %context"]
        start = f"define internal void {self.called(k.name)}({', '.join(listed)}) #0 {{"
        return _function(k.doc, start, body.b)

    def called(self, kernel: str) -> str:
        """The function of a kernel; with a dot, which no name of a model has."""
        return f"@{self.loops.name}.{kernel}"

    def words(self, b: Builder, owner: str, used: frozenset[str]) -> dict[str, str]:
        """The addresses of the arrays that a function finds in the context, and uses."""
        return {
            buffer.name: _word(b, n, "ptr", buffer.name)
            for n, buffer in self.owned.get(owner, ())
            if buffer.name in used
        }

    def body(
        self,
        b: Builder,
        owner: str,
        arrays: Sequence[Buffer],
        addresses: Mapping[str, str],
        stmts: Sequence[Stmt],
        integers: Sequence[tuple[Loop, str]] = (),
    ) -> Body:
        """The statements of one function."""
        known = {buffer.name: buffer for buffer in arrays}
        large = {name: text for name, text in addresses.items() if name not in known}
        storage = plan(stmts, self.target)
        body = Body(b, self.target, self.portable, known, storage, self.marks, self.call, large)
        body.fetches = self.fetches
        for d in self.layout.dims:
            body.dims[d.name] = _word(b, self.layout.dim(d.name), "i64", d.name)
        for loop, text in integers:
            body.bound[loop] = Form(0, {text: 1})
        for buffer in arrays:
            address = addresses.get(buffer.name) or self.constant(owner, buffer)
            body.place(buffer, address)
        body.run(stmts)
        self.intrinsics.update(b.intrinsics)
        return body

    def constant(self, owner: str, buffer: Buffer) -> str:
        """A constant array of the module."""
        assert buffer.data is not None
        name = f"@constant.{owner}.{buffer.name}"
        if name in self.constants:
            return name
        kind = types.stored(buffer.dtype)
        values = ", ".join(f"{kind} {_written(v, buffer)}" for v in buffer.data)
        array = f"[{len(buffer.data)} x {kind}]"
        self.constants[name] = f"{name} = internal constant {array} [{values}], align 64"
        return name

    # --- calls -----------------------------------------------------------------------------------

    def call(self, body: Body, stmt: Call) -> None:
        """A call of a kernel."""
        arguments = [f"ptr {body.address_of(a)}" for a in stmt.arguments]
        arguments += [f"i64 {body.integer(body.form(ix))}" for ix in stmt.integers]
        body.b.line(
            f"call void {self.called(stmt.kernel)}({', '.join([*arguments, 'ptr %context'])})"
        )
        marks = zip(stmt.arguments, self.marks[stmt.kernel], strict=True)
        body.b.changed(name for name, writes in marks if writes)


def _pieces(stmts: Sequence[Stmt]) -> list[Sequence[Stmt]]:
    """Statements in groups that mention few enough arrays to be one function."""
    found: list[list[Stmt]] = [[]]
    many = 0
    for s in stmts:
        many += len(arrays_in(s))
        if many > MENTIONED and found[-1]:
            found.append([])
            many = len(arrays_in(s))
        found[-1].append(s)
    return list(found)


def _function(doc: str, start: str, b: Builder) -> str:
    head = [f"; {comment_safe(line)}" for line in doc.splitlines() if line.strip()]
    return "\n".join(["", *head, start, *b.lines(), "}", ""])


def _word(b: Builder, n: int, kind: str, name: str) -> str:
    """A word of the context."""
    at = b.value(f"getelementptr i64, ptr %context, i64 {n}", [], "word") if n else "%context"
    return b.value(f"load {kind}, ptr {at}, align 8", [at], name)


def _written(value: float, buffer: Buffer) -> str:
    """An element of a constant."""
    if buffer.dtype == "bool":
        return str(int(value))
    if isinstance(value, float) and not isfinite(value):
        return types.number("nan" if isnan(value) else "inf" if value > 0 else "-inf", buffer.dtype)
    return types.number(Fraction(value), buffer.dtype)
