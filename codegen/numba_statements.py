"""Nests as lines of plain Python: loops, stores, allocation, calls.

In: the statements of a body, and the ``Scope`` of the function. Out: ``lines``.

    a part           its formula as a comment, the arrays that it is the first to use, its loops
    for              for digit in range(10):       a narrowed one ranges from max(...) to min(...)
    a register       a variable: acc = float32(0)
    local storage    an array of its own, allocated before the part (its content is undefined)
    vector, parallel plain loops: the compiler makes vectors, and turns run in order
    unroll           plain loops too

Guarantees: statements stand in the order of the nest; an array is allocated once, outside of all
loops; equal nests give equal lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from codegen.index import nonneg
from codegen.loops.nest import Call, Declare, For, Kernel, Part, Stmt, Store, When
from codegen.loops.walk import inside, read_names, written_names
from codegen.names import Names, comment_safe
from codegen.numba_scalars import Scope, condition, element, index, typed
from codegen.numba_sections import Sections
from codegen.numpy_comments import wrapped
from codegen.printer import WIDTH, Expr, Name, Seq, call, flat, layout
from codegen.program import And, Binary, Buffer, Dtype, Load, Or, Scalar, Section
from codegen.program import Call as Function
from codegen.text_module import divider

__all__ = ["Body"]


class Body:
    """The lines of one function's body while they are written."""

    def __init__(
        self,
        scope: Scope,
        names: Names,
        kernels: Sequence[Kernel],
        given: Mapping[str, tuple[str, ...]],
    ) -> None:
        """``given`` are the dimensions that a kernel is handed besides its arrays."""
        self.scope, self.names, self.given = scope, names, given
        self.writes = {k.name: tuple(b.name in k.writes for b in k.arrays) for k in kernels}
        self.loop_names: dict[str, str] = {}
        self.unallocated: dict[str, Buffer] = {}
        self.made: list[Buffer] = []  # what is allocated
        self.sections: Sections | None = None  # where dividers are wanted

    def lines(self, stmts: Sequence[Stmt], unallocated: Iterable[Buffer]) -> list[str]:
        """The whole body; ``unallocated`` are the scratch arrays that it makes itself."""
        self.unallocated = {b.name: b for b in unallocated if b.name not in self.scope.registers}
        found: list[str] = []
        above: list[str] = []
        for stmt, divided in zip(stmts, self.dividers(stmts, "    "), strict=True):
            above = divided or above
            lines = self.statement(stmt, "    ", self.allocated(stmt))
            found += _under(above, lines)
            above = [] if lines else above
        while found and not found[0]:
            found.pop(0)
        return found

    def dividers(self, stmts: Sequence[Stmt], pad: str) -> list[list[str]]:
        """What stands above each statement of a body: comments where sections begin."""
        heads: list[list[str]] = [[] for _ in stmts]
        if self.sections is None or not self.sections.divided:
            return heads
        labels = self.sections.labels(stmts)
        if pad == "    ":
            last, saved = frozenset[Section](), self.sections.saved()
        elif len(set(labels)) > 1:
            last, saved = labels[0], []
        else:
            return heads
        for k, label in enumerate(labels):
            if label != last:
                told = saved if "backward" in label else []
                heads[k] = divider(label, pad, [self.scope.local[n] for n in told])
                last, saved = label, [] if told else saved
        return heads

    # --- storage ---------------------------------------------------------------------------------

    def allocated(self, stmt: Stmt) -> list[str]:
        """Allocations of what a statement of the top is the first to use."""
        used = {**written_names((stmt,), self.writes), **read_names((stmt,), self.writes)}
        found = [self.unallocated.pop(n) for n in used if n in self.unallocated]
        found += [s.array for s in inside((stmt,)) if isinstance(s, Declare) and s.array.dims]
        return [line for b in found for line in self.allocation(b)]

    def allocation(self, buffer: Buffer) -> list[str]:
        self.made.append(buffer)
        dims = tuple(index(self.scope, d) for d in buffer.dims)
        shape: Expr = dims[0] if len(dims) == 1 else Seq("(", dims)
        dtype = Name("np.bool_" if buffer.dtype == "bool" else buffer.dtype)
        head = f"    {self.scope.local[buffer.name]} = "
        return layout(head, call("np.empty", shape, dtype))

    # --- statements ------------------------------------------------------------------------------

    def statement(self, stmt: Stmt, pad: str, made: Sequence[str] = ()) -> list[str]:
        """The lines of a statement; ``made`` are allocations that belong before its loops."""
        match stmt:
            case Part():
                return self.part(stmt, pad, made)
            case For():
                return [*made, *self.loop(stmt, pad)]
            case When(guards, body):
                head = layout(f"{pad}if ", condition(self.scope, guards), ":", len(pad))
                return [*made, *self.headed(head, body, pad)]
            case Declare():
                return list(made)
            case Store():
                return [*made, *self.store(stmt, pad)]
            case Call():
                return [*made, *self.called(stmt, pad)]

    def headed(self, head: list[str], body: Sequence[Stmt], pad: str) -> list[str]:
        """A head and what stands under it; nothing where that is nothing."""
        found: list[str] = []
        above: list[str] = []
        for stmt, divided in zip(body, self.dividers(body, pad + "    "), strict=True):
            above = divided or above
            lines = _under(above, self.statement(stmt, pad + "    "))
            found += lines[1:] if not found and lines[:1] == [""] else lines
            above = [] if lines else above
        return [*head, *found] if found else []

    def part(self, part: Part, pad: str, made: Sequence[str]) -> list[str]:
        found = ["", *self.comment(part, pad), *made]
        for stmt in part.body:
            lines = self.statement(stmt, pad)
            found += lines[1:] if lines[:1] == [""] and found == [""] else lines
        return found

    def comment(self, part: Part, pad: str) -> Iterator[str]:
        """``# hidden = x W^T + b   [batch, unit]``; nothing where the code says it all."""
        if not part.formula:
            return
        array = self.scope.arrays.get(part.name)
        axes = array.axes if array is not None else ()
        tail = f"[{', '.join(map(comment_safe, axes))}]" if axes and all(axes) else ""
        for line in wrapped(part.formula, tail, WIDTH + 4 - len(pad)):
            yield f"{pad}# {line}"

    def loop(self, stmt: For, pad: str) -> list[str]:
        scope = self.scope
        scope.loops[stmt.loop] = self.loop_name(stmt.name)
        low = [index(scope, ix) for ix in stmt.low]
        if low and not any(map(nonneg, stmt.low)):
            low = [Name("0"), *low]
        high = [index(scope, ix) for ix in (stmt.loop.extent, *stmt.high)]
        ends = [self.among("max", low)] if low else []
        turns = call("range", *ends, self.among("min", high))
        head = layout(f"{pad}for {scope.loops[stmt.loop]} in ", turns, ":", len(pad))
        return self.headed(head, stmt.body, pad)

    def loop_name(self, name: str) -> str:
        """One spelling for loops of one name; ``digit_i`` where an array is called ``digit``."""
        if name not in self.loop_names:
            taken = name in self.scope.local.values()
            self.loop_names[name] = self.names(f"{name}_i" if taken else name, "i")
        return self.loop_names[name]

    def among(self, choice: str, values: Sequence[Expr]) -> Expr:
        distinct = tuple(dict.fromkeys(values))
        return distinct[0] if len(distinct) == 1 else call(choice, *distinct)

    def called(self, stmt: Call, pad: str) -> list[str]:
        given: list[Expr] = [Name(self.scope.local[a]) for a in stmt.arguments]
        given += [self.scope.size(d) for d in self.given[stmt.kernel]]
        given += [index(self.scope, ix) for ix in stmt.integers]
        return layout(pad, call(self.scope.local[stmt.kernel], *given), "", len(pad))

    # --- stores ----------------------------------------------------------------------------------

    def store(self, stmt: Store, pad: str) -> list[str]:
        dtype = self.scope.arrays[stmt.target].dtype
        mark, value = self.marked(stmt, dtype)
        left = flat(element(self.scope, stmt.target, stmt.index))
        return layout(f"{pad}{left} {mark} ", typed(self.scope, value, dtype), "", len(pad))

    def marked(self, stmt: Store, dtype: Dtype) -> tuple[str, Scalar]:
        """The assignment of Python that a store is, and its right side."""
        old, value = Load(stmt.target, stmt.index), stmt.value
        if stmt.op in ("max=", "min="):
            first = stmt.op == "max="
            if dtype == "bool":
                return "=", Or(old, value) if first else And(old, value)
            return "=", Function("maximum" if first else "minimum", (old, value))
        narrow = dtype in ("bool", "int32", "uint32")  # a variable of Numba's would widen
        if stmt.op == "+=" and narrow:
            return "=", Binary("+", old, value)
        changed = isinstance(value, Binary) and value.left == old and value.op in ("+", "-", "*")
        if stmt.op == "=" and not narrow and changed and isinstance(value, Binary):
            return f"{value.op}=", value.right
        return stmt.op, value


def _under(divided: list[str], lines: list[str]) -> list[str]:
    """Lines under a divider, a blank line before and after it."""
    if not divided or not lines:
        return lines
    return ["", *divided, *lines[lines[:1] == [""] :]]
