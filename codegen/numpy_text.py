"""PROGRAM -> NumPy text: a module that imports NumPy alone and reads like hand-written code.

In: a valid ``Program``. Out: ``emit`` gives the source of a module: the helpers it uses, one
function per distinct block and scan body, and one function named like the program, whose
parameters are ``program.arguments`` in order and which returns the outputs (one value alone is
returned bare).

Guarantees: any size of a symbolic dimension works at run time; the dtypes are the program's;
lines have at most 100 characters; equal programs give equal bytes; every valid step has a text
(``codegen.numpy_steps``), the pretty readings are chosen only where they are proved equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import re
from fractions import Fraction
from math import isfinite

from codegen.functions import UnsupportedFunction, helper_source, helpers_needed
from codegen.index import Dim, Gather, Ix
from codegen.listing import spell_guard, spell_ix, spell_scalar
from codegen.names import RESERVED, Names, comment_safe
from codegen.numpy_readings import reading_value
from codegen.numpy_reads import load
from codegen.numpy_steps import Statement, assign_statements, output_loops
from codegen.numpy_values import Scope, numpy_dtype, shape_of, size
from codegen.printer import (
    WIDTH,
    Attr,
    Bin,
    Expr,
    Item,
    Name,
    Num,
    Seq,
    Un,
    call,
    flat,
    integer,
    layout,
    number,
    substituted,
)
from codegen.program import (
    Assign,
    Block,
    Buffer,
    Call,
    Dtype,
    Library,
    Load,
    Program,
    Scan,
    Step,
    targets,
)

__all__ = ["emit"]

INLINE_WIDTH = 80  # of a line that took in another value: longer ones read worse than two


def emit(program: Program) -> str:
    """The source of a module with one function named ``program.name``."""
    return _Module().text(program)


@dataclass
class _Function:
    """The text of one function, and the dimensions it takes as further arguments."""

    name: str
    lines: list[str]
    extra: tuple[str, ...]


@dataclass
class _Module:
    helpers: dict[str, None] = field(default_factory=dict)
    constants: list[str] = field(default_factory=list)
    functions: dict[Program, _Function] = field(default_factory=dict)
    names: Names = field(default_factory=lambda: Names(RESERVED))
    windows: bool = False

    def text(self, program: Program) -> str:
        main = self.function(program)
        if main.extra:
            raise ValueError(
                f"the size {main.extra[0]!r} of {program.name!r} cannot be found from the shapes "
                "of its arguments: pass an array that has it as an axis"
            )
        imports = ["import numpy as np"]
        if self.windows:
            imports.append("from numpy.lib.stride_tricks import sliding_window_view")
        parts = ["\n".join([*_header(program), *imports])]
        if self.constants:
            parts.append("\n".join(self.constants))
        parts += [helper_source(h) for h in helpers_needed(self.helpers)]
        parts += ["\n".join(f.lines) for f in self.functions.values()]
        return "\n\n\n".join(parts) + "\n"

    def function(self, program: Program) -> _Function:
        """The function of a program, written once."""
        found = self.functions.get(program)
        if found is None:
            found = self.functions.setdefault(program, self._written(program))
        return found

    def _written(self, program: Program) -> _Function:
        name = self.names(program.name)
        local_names = Names((*RESERVED, "np", "sliding_window_view", name))
        local = {
            b.name: self._constant(b) if b.role == "constant" else local_names(b.name)
            for b in program.buffers
        }
        dims = _dims(program)
        local |= {d: local_names(d) for d in dims if d not in local}
        for d in dims:
            if any(b.name == d for b in program.buffers):
                local[d] = local_names(f"{d}_size")
        scope = Scope(program, {b.name: b for b in program.buffers}, local, self.helpers)
        scope.load = load
        scope.names = local_names
        body = _Body(self, scope, program, local_names)
        lines = body.lines()
        self.windows = self.windows or scope.windows
        solved, extra = _solve(scope, program)
        params = [local[b.name] for b in program.arguments] + [local[d] for d in extra]
        head = layout(f"def {name}", Seq("(", tuple(map(Name, params))), ":", indent=0)
        if len(params) == 1:
            head = [f"def {name}({params[0]}):"]
        text = []
        if scope.silenced:
            kinds = {k: Num('"ignore"') for k in sorted(scope.silenced)}
            text += [f"@{flat(call('np.errstate', **kinds))}"]
        text += head
        text += [f"    {line}" for line in solved]
        text += [""] if solved else []
        text += lines
        return _Function(name, text, tuple(extra))

    def _constant(self, buffer: Buffer) -> str:
        """The name of constant data, written once at the top of the module."""
        name = self.names(buffer.name)
        shape = tuple(d.value for d in buffer.dims)
        values = [
            _entry(v, buffer.dtype) for v in (buffer.data if buffer.data is not None else ())
        ]
        dtype = numpy_dtype(buffer.dtype)
        if len(shape) == 0:
            made = call("np.array", values[0], dtype)
        else:
            made = call("np.array", Seq("[", tuple(values)), dtype)
            if len(shape) > 1:
                made = call(Attr(made, "reshape"), *(size_or_zero(d) for d in shape))
        self.constants += _filled(f"{name} = ", made)
        return name


def _entry(v: float, dtype: Dtype) -> Expr:
    if dtype == "bool":
        return Name(str(bool(v)))
    if isinstance(v, float) and not isfinite(v):
        return number("nan" if v != v else "inf" if v > 0 else "-inf", dtype)
    if v == 0 and str(v).startswith("-"):
        return Un("-", Num("0.0"))
    return number(Fraction(v), dtype)


def size_or_zero(d: int | None) -> Expr:
    return integer(d or 0)


def _filled(head: str, made: Expr) -> list[str]:
    """Long data, as many numbers to a line as fit."""
    lines = layout(head, made, indent=0)
    if len(lines) <= 3:
        return lines
    words = flat(made).split(" ")
    out, line = [], head + words[0]
    for word in words[1:]:
        if len(line) + 1 + len(word) > WIDTH:
            out.append(line)
            line = "    " + word
        else:
            line += " " + word
    return [*out, line]


@dataclass
class _Chunk:
    """The text of one step: statements, or finished lines for steps that are not assignments."""

    step: Step
    statements: list[Statement]
    lines: list[str] = field(default_factory=list)
    formula: str = ""

    def text(self) -> list[str]:
        """The lines of code."""
        out: list[str] = []
        for s in self.statements:
            out += layout("    " + s.head, s.expr)
        return out + self.lines

    def count(self, name: str) -> int:
        """How often a name stands in the code."""
        pattern = rf"\b{re.escape(name)}\b"
        texts = [s.head + flat(s.expr) for s in self.statements] + self.lines
        return sum(len(re.findall(pattern, text)) for text in texts)


@dataclass
class _Body:
    """The lines of one function's steps."""

    module: _Module
    scope: Scope
    program: Program
    names: Names

    def lines(self) -> list[str]:
        chunks = [self.chunk(step) for step in self.program.steps]
        chunks = self.tidied(chunks)
        out: list[str] = []
        for chunk in chunks:
            out += [*self.comment(chunk), *chunk.text(), ""]
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

    def chunk(self, step: Step) -> _Chunk:
        match step:
            case Assign():
                return _Chunk(step, self.assign(step), formula=step.formula)
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
        axes = f"   [{axes}]" if first.role == "scratch" else ""
        formula = chunk.formula
        if not formula and isinstance(step, Assign):
            formula = _notation(step)
        if len(formula) > WIDTH - 6 - len(axes):
            return [f"    # {comment_safe(part, WIDTH)}" for part in _wrapped(formula, axes)]
        return [f"    # {comment_safe(formula)}{axes}"] if formula else []

    def tidied(self, chunks: list[_Chunk]) -> list[_Chunk]:
        """Values that nothing reads dropped; short ones that are read once, at once, inlined."""
        kept: list[_Chunk] = []
        for chunk in reversed(chunks):
            name = self.removable(chunk)
            if name and not any(c.count(name) for c in kept):
                continue
            kept.append(chunk)
        kept.reverse()
        out: list[_Chunk] = []
        for n, chunk in enumerate(kept):
            name = self.removable(chunk)
            following = kept[n + 1 :]
            if (
                name
                and following
                and len(chunk.statements) == 1
                and len(following[0].statements) == 1
                and sum(c.count(name) for c in following) == 1
                and self.inlined(chunk, following[0], name)
            ):
                continue
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
        expr = substituted(use.expr, Name(name), made.expr)
        if expr == use.expr or len(flat(expr)) + len(use.head) + 4 > INLINE_WIDTH:
            return False
        into.statements[0] = Statement(use.head, expr)
        if into.formula and chunk.formula:
            into.formula = _merged(chunk.formula, into.formula, chunk.step.target)
        elif chunk.formula:
            into.formula = ""
        return True

    def assign(self, step: Assign) -> list[Statement]:
        value = reading_value(self.scope, step)
        copy = step.target in self.program.outputs
        statements = assign_statements(self.scope, step, value, copy)
        before = [Statement(f"{name} = ", expr) for name, expr in self.scope.before]
        self.scope.before.clear()
        return before + statements

    def called(self, body: Program, args: list[Expr]) -> Expr:
        function = self.module.function(body)
        for d in function.extra:
            self.scope.used_dims[d] = None
        extra = [Name(self.scope.local[d]) for d in function.extra]
        return call(function.name, *args, *extra)

    def block(self, step: Block) -> list[list[str]]:
        expr = self.called(step.body, [Name(self.scope.local[a]) for a in step.arguments])
        left = ", ".join(self.scope.local[t] for t in step.targets)
        return [layout(f"    {left} = ", expr)]

    def scan(self, step: Scan) -> list[list[str]]:
        scope, local = self.scope, self.scope.local
        carries = step.targets[: len(step.carries)]
        stacked = step.targets[len(step.carries) :]
        t = self.names("t")
        lines = []
        if step.carries:
            left = ", ".join(local[c] for c in carries)
            right = ", ".join(local[c] for c in step.carries)
            if left != right:
                lines.append([f"    {left} = {right}"])
        for s in stacked:
            b = scope.buffers[s]
            made = call("np.empty", shape_of(scope, b.dims), numpy_dtype(b.dtype))
            lines.append(layout(f"    {local[s]} = ", made))
        turns: Expr = call("range", size(scope, step.length))
        if step.reverse:
            turns = call("reversed", turns)
        lines.append([f"    for {t} in {flat(turns)}:"])
        args: list[Expr] = [Name(local[c]) for c in carries]
        args += [Item(Name(local[s]), (Name(t),)) for s in step.slices]
        args += [Name(local[c]) for c in step.constants]
        results = [local[c] for c in carries] + [f"{local[s]}[{t}]" for s in stacked]
        lines.append(layout(f"        {', '.join(results)} = ", self.called(step.body, args)))
        return lines


def _notation(step: Assign) -> str:
    """A step in index notation, for the comment of a value that came without a formula."""
    names = dict(zip(step.loops, step.names, strict=True))
    place = ", ".join(spell_ix(ix, names) for ix in step.index)
    inner = [names[v] for v in step.loops if v not in output_loops(step)]
    text = spell_scalar(step.body, names)
    if inner:
        plain = isinstance(step.body, Load | Call) or " + " not in text and " - " not in text
        text = f"{step.op}_{{{', '.join(inner)}}} {text if plain else f'({text})'}"
    where = " and ".join(spell_guard(g, names) for g in step.guards)
    left = f"{step.target}[{place}]" if place else step.target
    return f"{left} = {text}{f' where {where}' if where else ''}"


def _merged(inner: str, outer: str, name: str) -> str:
    """Two formulas as one: the value of the first put where the second names it."""
    parts = inner.split(" = ", 1)
    pattern = rf"(?<![\w.]){re.escape(name)}(?![\w.])"
    if len(parts) != 2 or not re.search(pattern, outer):
        return outer
    value = parts[1]
    alone = re.search(rf"(\(|= ){re.escape(name)}(\)|$| [+])", outer)
    if not alone and re.search(r"[-+/ ]", value):
        value = f"({value})"
    return re.sub(pattern, lambda _: value, outer)


def _wrapped(text: str, tail: str) -> list[str]:
    """A long formula broken at spaces, the axes after its last line."""
    lines, line = [], ""
    for word in text.split(" "):
        if len(line) + len(word) + 7 > WIDTH and line:
            lines.append(line)
            line = "    " + word
        else:
            line = f"{line} {word}" if line else word
    if len(line) + len(tail) + 6 > WIDTH:
        return [*lines, line, "   " + tail]
    return [*lines, line + tail]


def _bare(head: str, items: tuple[Expr, ...]) -> list[str]:
    line = head + ", ".join(map(flat, items))
    return [line] if len(line) <= WIDTH else layout(head, Seq("(", items))


def _library(scope: Scope, step: Library) -> list[str]:
    raise UnsupportedFunction(
        f"the numpy backend does not have the operation {step.atom!r:.60}: choose another backend"
    )


def _dims(program: Program) -> list[str]:
    return [d.name for d in program.dims]


def _solve(scope: Scope, program: Program) -> tuple[list[str], list[str]]:
    """Lines that find the used dimensions from shapes, and those that no shape tells."""
    wanted = [d for d in _dims(program) if d in scope.used_dims]
    known: dict[str, str] = {}
    shapes = [
        (b, n, ix) for b in program.arguments for n, ix in enumerate(b.dims) if ix.terms
    ]
    progress = True
    while progress and any(d not in known for d in wanted):
        progress = False
        best: tuple[int, str, str] | None = None
        for b, n, ix in shapes:
            unknown = [(a, k) for a, k in ix.terms if not (isinstance(a, Dim) and a.name in known)]
            if len(unknown) != 1 or not isinstance(unknown[0][0], Dim):
                continue
            atom, k = unknown[0]
            rest = ix - atom.ix() * k
            extent: Expr = Item(Name(f"{scope.local[b.name]}.shape"), (integer(n),))
            if rest.terms or rest.const:
                extent = Bin("-", extent, size(scope, rest))
                if not rest.terms:
                    extent = Bin("-" if rest.const > 0 else "+", extent.left, integer(abs(rest.const)))
            if k != 1:
                extent = Bin("//", extent, integer(k))
            rank = (len(ix.terms) > 1) * 4 + (k != 1) * 2 + (ix.const != 0)
            if best is None or rank < best[0]:
                best = (rank, atom.name, flat(extent))
        if best is not None:
            known[best[1]] = best[2]
            progress = True
    used = set(wanted)
    lines = [f"{scope.local[d]} = {text}" for d, text in known.items() if d in used]
    return lines, [d for d in wanted if d not in known]


def _header(program: Program) -> list[str]:
    doc = [comment_safe(line, WIDTH) for line in program.doc.strip().splitlines()]
    if not doc:
        return []
    if len(doc) == 1:
        return [f'"""{doc[0]}"""', ""]
    return [f'"""{doc[0]}', *doc[1:], '"""', ""]


__all__ += ["Fraction", "Gather", "Ix", "number"]
