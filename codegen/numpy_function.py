"""The body of one function of NumPy text: its steps as commented statements.

In: a program, the scope of its function, and a way to call the functions of sub-programs.
Out: the lines of the body, the ``return`` included.

Guarantees: every statement stands under the formula of its value; a value that nothing reads is
left out; one that is read once, by the next step, is written where it is read if the line stays
short, and nothing in the order of operations changes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from codegen.functions import UnsupportedFunction
from codegen.names import comment_safe
from codegen.numpy_bodies import may_warn
from codegen.numpy_comments import merged, notation, says_all, wrapped
from codegen.numpy_memory import Memory
from codegen.numpy_pieces import pieces
from codegen.numpy_readings import reading_value
from codegen.numpy_rest import Rest
from codegen.numpy_steps import Statement, assign_statements, output_loops
from codegen.numpy_tidy import tidied
from codegen.numpy_values import Scope, numpy_dtype, shape_of, size
from codegen.polynomial import Poly
from codegen.printer import (
    WIDTH,
    Bin,
    CallE,
    Cmp,
    Expr,
    Item,
    Name,
    Seq,
    call,
    filled,
    flat,
    layout,
    mapped,
    parts,
    substituted,
)
from codegen.program import (
    Assign,
    Block,
    Buffer,
    Library,
    Program,
    Scan,
    Section,
    Step,
    targets,
)
from codegen.text_module import divider, first

__all__ = ["Body"]

NEAR = 6  # steps that a value may move to where it is read: further, and the reader loses it
INLINE_WIDTH = 80  # of a line that took in another value: longer ones read worse than two


@dataclass
class _Chunk:
    """The text of one step: statements, or finished lines for steps that are not assignments.

    ``before`` are temporaries that the statements use; later steps may use them too.
    """

    step: Step
    statements: list[Statement]
    lines: list[str] = field(default_factory=list)
    formula: str = ""
    before: list[Statement] = field(default_factory=list)
    steps: list[Assign] = field(default_factory=list)  # whose formulas stand in the statements

    def text(self) -> list[str]:
        """The lines of code."""
        out: list[str] = []
        for s in self.before + self.statements:
            out += layout("    " + s.head, s.expr)
        return out + self.lines

    def words(self) -> Counter[str]:
        """How often each name stands in the code."""
        texts = [s.head + flat(s.expr) for s in self.before + self.statements] + self.lines
        return Counter(w for text in texts for w in _words(text))


def _words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z_]\w*", text)


@dataclass
class Body:
    """The lines of one function's steps."""

    scope: Scope
    program: Program
    function: Callable[[Program], tuple[str, tuple[str, ...]]]  # its name, further sizes
    sizes: Mapping[Program, Poly]  # bytes of a call of each function that is written
    divided: bool = False  # whether comments say where the sections begin
    rest: Rest | None = None  # the parameters that are one list
    memory: Poly = field(default_factory=dict)  # bytes of a call, once the lines are made

    def lines(self) -> list[str]:
        chunks = self.shortened([self.chunk(step) for step in self.program.steps])
        self.memory = self.counted(chunks)
        begins = self.dividers(chunks) if self.divided else {}
        out: list[str] = []
        for n, chunk in enumerate(chunks):
            out += begins.get(n, ())
            comment = self.comment(chunk)
            if not comment and n and self.continues(chunks[n - 1], chunk):
                out.pop()  # a parameter's updates that say all in their code stand together
            out += [*comment, *chunk.text(), ""]
        results = tuple(Name(self.scope.local[o]) for o in self.program.outputs)
        if len(results) == 1:
            out.append(f"    return {results[0].text}")
        elif results:
            out += _bare("    return ", results)
        elif not self.program.steps:
            out.append("    pass")
        while out and not out[-1]:
            out.pop()
        return out

    def dividers(self, chunks: list[_Chunk]) -> dict[int, list[str]]:
        """The comments where the sections begin, by the chunk that they stand before."""
        kinds = [self.section(chunk) for chunk in chunks]
        if "backward" not in kinds:
            return {}
        sections: tuple[Section, ...] = ("backward", "update")
        start: dict[Section, int] = {s: first(kinds, s) for s in sections}
        if start["backward"] >= start["update"]:  # no line that all of it stands below
            return {}
        made = dict.fromkeys(n for c in chunks[: start["backward"]] for n in self.bound(c))
        read = {w for chunk in chunks[start["backward"] : start["update"]] for w in chunk.words()}
        out = {n: divider((s,), "    ") for s, n in start.items() if n < len(chunks)}
        out[start["backward"]] = divider(("backward",), "    ", [n for n in made if n in read])
        return {0: divider(("forward",), "    "), **out} if start["backward"] else out

    def section(self, chunk: _Chunk) -> Section:
        """Which part of the program a chunk belongs to."""
        buffer = self.scope.buffers[targets(chunk.step)[0]]
        return buffer.section if buffer.role == "scratch" else "update"

    def bound(self, chunk: _Chunk) -> list[str]:
        """The names that a chunk gives to values."""
        own = [self.scope.local[t] for t in targets(chunk.step) if not self.in_place(chunk)]
        return [*(s.name for s in chunk.before), *own]

    def counted(self, chunks: list[_Chunk]) -> Poly:
        """Bytes of a call."""
        memory = Memory(self.scope.buffers, self.scope.local)
        for chunk in chunks:
            if isinstance(chunk.step, Assign):
                memory.assign(chunk.steps, [*chunk.before, *chunk.statements])
            elif isinstance(chunk.step, Block | Scan):
                turns = isinstance(chunk.step, Scan)
                memory.call(targets(chunk.step), self.sizes[chunk.step.body], turns)
        return memory.total()

    def chunk(self, step: Step) -> _Chunk:
        match step:
            case Assign():
                before, statements = self.assign(step)
                formula = step.formula or notation(step)
                return _Chunk(step, statements, formula=formula, before=before, steps=[step])
            case Block():
                lines = self.block(step)
            case Scan():
                lines = self.scan(step)
            case Library():
                lines = [_library(self.scope, step)]
        return _Chunk(step, [], [line for part in lines for line in part], step.formula)

    def comment(self, chunk: _Chunk) -> list[str]:
        """The formula above a value, with the names of its axes."""
        step = chunk.step
        first = self.scope.buffers[targets(step)[0]]
        axes = ", ".join(
            a or flat(size(self.scope, d)) for a, d in zip(first.axes, first.dims, strict=True)
        )
        axes = f"[{axes}]" if first.role == "scratch" and axes else ""
        formula = chunk.formula
        if self.in_place(chunk) and isinstance(step, Assign) and says_all(step):
            return []
        if not formula:
            return [f"    # {axes}"] if axes and isinstance(step, Assign) else []
        if len(formula) > WIDTH - 9 - len(axes):
            return [f"    # {line}" for line in wrapped(formula, axes)]
        return [f"    # {comment_safe(formula)}   {axes}".rstrip()]

    def in_place(self, chunk: _Chunk) -> bool:
        """Whether a step updates an argument."""
        return self.scope.buffers[targets(chunk.step)[0]].role != "scratch"

    def continues(self, before: _Chunk, chunk: _Chunk) -> bool:
        """Whether a step stands with the one before it: calls of blocks, a parameter's updates."""
        if isinstance(chunk.step, Block):
            return isinstance(before.step, Block) and not before.formula
        state = self.scope.buffers[targets(before.step)[0]].role == "state"
        return state and self.in_place(chunk)

    def shortened(self, chunks: list[_Chunk]) -> list[_Chunk]:
        """Values that nothing reads dropped; short ones that are read once inlined."""
        uses: Counter[str] = Counter(self.scope.local[o] for o in self.program.outputs)
        kept: list[_Chunk] = []
        for chunk in reversed(chunks):
            name = self.removable(chunk)
            if not name or uses[name]:
                kept.append(chunk)
                chunk.before = [
                    s for s in chunk.before if uses[s.name] or chunk.words()[s.name] > 1
                ]
                uses.update(chunk.words())
                continue
            for s in reversed(chunk.before):  # others may use what was made for this one
                user = next((c for c in reversed(kept) if c.words()[s.name]), None)
                if user is not None:
                    user.before.insert(0, s)
                    uses.update(_words(flat(s.expr)))
        kept.reverse()
        return self.hoisted(self.joined(kept, uses))

    def hoisted(self, chunks: list[_Chunk]) -> list[_Chunk]:
        """Masks made of positions alone that stand in several places get a name."""
        counts: Counter[Expr] = Counter()
        first: dict[Expr, int] = {}
        for n, chunk in enumerate(chunks):
            for s in chunk.before + chunk.statements:
                for part in parts(s.expr):
                    if isinstance(part, Cmp) and self.fixed(part):
                        counts[part] += 1
                        first.setdefault(part, n)
        made: dict[int, list[Statement]] = {}
        for mask, count in counts.items():
            if count < 2 or len(flat(mask)) < 24:
                continue
            name = self.scope.names("mask")
            for chunk in chunks[first[mask] :]:
                chunk.before, chunk.statements = (
                    [Statement(s.head, substituted(s.expr, mask, Name(name))) for s in group]
                    for group in (chunk.before, chunk.statements)
                )
            made.setdefault(first[mask], []).append(Statement(f"{name} = ", mask))
        for n, statements in made.items():
            chunks[n].before[:0] = statements
        return chunks

    def fixed(self, e: Expr) -> bool:
        """Whether an expression is made of positions and sizes alone."""
        known = {"None", "np.arange", *self.scope.sizes.values()}
        return all(p.text in known for p in parts(e) if isinstance(p, Name))

    def joined(self, chunks: list[_Chunk], uses: Counter[str]) -> list[_Chunk]:
        """Each value that is read once moved to where it is read, where that is allowed."""
        out: list[_Chunk] = []
        for n, chunk in enumerate(chunks):
            name = self.removable(chunk)
            if not name or len(chunk.statements) != 1 or uses[name] != 2:
                out.append(chunk)
                continue
            for into in chunks[n + 1 : n + 1 + NEAR]:
                if into.words()[name]:
                    if len(into.statements) != 1 or not self.inlined(chunk, into, name):
                        out.append(chunk)
                    break
                shared = chunk.before and any(into.words()[s.name] for s in chunk.before)
                if shared or self.in_place(into):  # what the value reads is used, or may change
                    out.append(chunk)
                    break
            else:
                out.append(chunk)
        return out

    def removable(self, chunk: _Chunk) -> str:
        """The local name of a value that only this function sees, or ""."""
        step = chunk.step
        if not isinstance(step, Assign) or step.target in self.program.outputs:
            return ""
        return self.scope.local[step.target] if self.buffer(step).role == "scratch" else ""

    def buffer(self, step: Assign) -> Buffer:
        return self.scope.buffers[step.target]

    def inlined(self, chunk: _Chunk, into: _Chunk, name: str) -> bool:
        """Put the value of ``chunk`` where ``into`` reads it, if the line stays short."""
        (made,), (use,) = chunk.statements, into.statements
        assert isinstance(chunk.step, Assign)
        if self.buffer(chunk.step).label or made.head != f"{name} = ":
            return False
        bare = self.uncast(use.expr, name, made.expr)
        expr = tidied(substituted(bare, Name(name), made.expr))
        here = any(p == Name(name) for p in parts(use.expr))  # and not in a line before it
        if not here or len(flat(expr)) + len(use.head) + 4 > INLINE_WIDTH:
            return False
        into.statements[0] = Statement(use.head, expr)
        into.before[:0] = chunk.before
        into.steps[:0] = chunk.steps
        if into.formula and chunk.formula:
            into.formula = merged(chunk.formula, into.formula)
        return True

    def uncast(self, e: Expr, name: str, value: Expr) -> Expr:
        """``e`` with a number for its name where an array beside it gives the dtype."""
        match value:
            case CallE(Name("np.float32" | "np.float64"), (number,)):
                pass
            case _:
                return e
        arrays = set(self.scope.local.values())

        def change(x: Expr) -> Expr:
            match x:
                case Bin("+" | "-" | "*" | "/" as op, a, b) if Name(name) in (a, b):
                    other = b if a == Name(name) else a
                    if any(isinstance(p, Name) and p.text in arrays for p in parts(other)):
                        a, b = (number if p == Name(name) else p for p in (a, b))
                    return Bin(op, a, b)
                case _:
                    return x

        return mapped(e, change)

    def assign(self, step: Assign) -> tuple[list[Statement], list[Statement]]:
        self.scope.kinds[step.target] = self.kinds(step)
        statements = pieces(self.scope, step) or assign_statements(
            self.scope, step, reading_value(self.scope, step)
        )
        if self.buffer(step).role != "scratch":  # what was made of its old values is stale now
            name = self.scope.local[step.target]
            made = self.scope.temporaries
            for expr in [e for e in made if name in _words(flat(e))]:
                del made[expr]
        before = [Statement(f"{name} = ", expr) for name, expr in self.scope.before]
        self.scope.before.clear()
        return before, statements

    def kinds(self, step: Assign) -> tuple[str, ...]:
        """The warnings that a value may raise where a later step masks it: its own, and those of
        the maps it is made of."""
        if any(v not in output_loops(step) for v in step.loops):
            return ()
        return may_warn(step.body, self.scope.kinds)

    def called(self, body: Program, args: list[Expr]) -> Expr:
        name, sizes = self.function(body)
        for d in sizes:
            self.scope.used_dims[d] = None
        return call(name, *args, *(Name(self.scope.sizes[d]) for d in sizes))

    def block(self, step: Block) -> list[list[str]]:
        local, names = self.scope.local, [self.scope.local[t] for t in step.targets]
        if self.rest is None:
            expr = self.called(step.body, [Name(local[a]) for a in step.arguments])
            return [_bound(4, names, expr)]
        expr = self.called(step.body, self.rest.handed(step.arguments, local))
        lines, said = _bound(4, names, expr), self.rest.said(step.arguments, local)
        if said and len(lines[-1]) + len(said) + 4 <= WIDTH:
            lines[-1] += f"  # {said}"
        return [lines]

    def scan(self, step: Scan) -> list[list[str]]:
        scope, local = self.scope, self.scope.local
        carries = [local[c] for c in step.targets[: len(step.carries)]]
        stacked = step.targets[len(step.carries) :]
        t = scope.names("t")
        lines = []
        started = [local[c] for c in step.carries]
        if carries and carries != started:
            pairs = Seq("(", tuple(map(Name, started)))
            row = f"    {', '.join(carries)} = {', '.join(started)}"
            lines.append([row] if len(row) <= WIDTH else _bound(4, carries, pairs))
        for s in stacked:
            b = scope.buffers[s]
            made = call("np.empty", shape_of(scope, b.dims), numpy_dtype(b.dtype))
            lines.append(layout(f"    {local[s]} = ", made))
        turns: Expr = call("range", size(scope, step.length))
        if step.reverse:
            turns = call("reversed", turns)
        lines.append([f"    for {t} in {flat(turns)}:"])
        args: list[Expr] = [Name(c) for c in carries]
        args += [Item(Name(local[s]), (Name(t),)) for s in step.slices]
        args += [Name(local[c]) for c in step.constants]
        results = carries + [f"{local[s]}[{t}]" for s in stacked]
        lines.append(_bound(8, results, self.called(step.body, args)))
        return lines


def _bound(indent: int, names: list[str], expr: Expr) -> list[str]:
    """``a, b = expr``; names that fill a line stand in parentheses."""
    pad = " " * indent
    head = f"{pad}{', '.join(names)} = "
    if len(head) <= WIDTH // 2 or (len(names) < 4 and len(head) < WIDTH - 20):
        return layout(head, expr, indent=indent)
    return [f"{pad}(", *filled(pad + "    ", names), *layout(f"{pad}) = ", expr, indent=indent)]


def _bare(head: str, items: tuple[Expr, ...]) -> list[str]:
    line = head + ", ".join(map(flat, items))
    return [line] if len(line) <= WIDTH else layout(head, Seq("(", items))


def _library(scope: Scope, step: Library) -> list[str]:
    raise UnsupportedFunction(
        f"the numpy backend does not have the operation {step.atom!r:.60}: choose another backend"
    )
