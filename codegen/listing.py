"""A Program as text: what a user inspects first, and what golden files of a lowering hold.

In: a Program. Out: lines of at most 100 characters, in index notation:

    program step(batch)
      input      x : float32[batch, pixel=64]
      parameter  weight : float32[unit=10, pixel=64]   "logits.weight"

      # logits = x W^T
      logits : float32[batch, unit=10] = sum_{pixel<64} x[batch, pixel] * weight[unit, pixel]
      grad : float32[vocab=9, d=4]; grad[ids[b], d] += g[b, d] for b<batch, d<4
      weight <- weight[unit, pixel] - 0.1 * grad_weight[unit, pixel]

      return logits

``{guard}`` after an index is a guard of that read (0 where it fails), ``where`` a guard of the
step; ``<-`` updates an argument in place.

Guarantees: deterministic; it shows everything of a step but its origin, so two programs that
print alike do alike. Not meant to be parsed, and no backend reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal, TypeAlias

from codegen.index import Atom, Dim, Floor, Gather, Guard, Ix, Loop, Mod, render
from codegen.names import comment_safe
from codegen.printer import (
    PRECEDENCE,
    Bin,
    CallE,
    Cmp,
    Expr,
    Item,
    Name,
    Num,
    Un,
    flat,
    number,
    strength,
)
from codegen.program import (
    And,
    Assign,
    Binary,
    Bitcast,
    Block,
    Buffer,
    Call,
    Cast,
    Compare,
    Fma,
    IndexValue,
    Library,
    Load,
    MulHigh,
    Number,
    Or,
    Program,
    Round,
    Scalar,
    Scan,
    Select,
    Shift,
    Step,
    Unary,
    Xor,
)

__all__ = [
    "Spelling",
    "listing",
    "spell_axes",
    "spell_buffer",
    "spell_dims",
    "spell_doc",
    "spell_guard",
    "spell_ix",
    "spell_scalar",
    "wrap",
]

WIDTH = 100
_EXACT = 1 << 53  # a double holds every integer up to here
# What the reader calls loops, and dimensions that a loop has the name of.
Spelling: TypeAlias = Mapping[Any, str]
_MARKS = {"=": "=", "sum": "+=", "max": "max=", "min": "min="}
_WORDS = {And: "&", Or: "|", Xor: "^"}


def listing(program: Program) -> str:
    """The program as text, with a final newline; a sub-program stands where it is first used."""
    seen: list[Program] = []
    return "\n".join(_program(program, "", seen)) + "\n"


def spell_ix(ix: Ix, names: Spelling) -> str:
    """An index expression with the reader's names of the loops."""

    def name(atom: Atom) -> str:
        if isinstance(atom, Loop):
            return names.get(atom, f"i{atom.position}")
        if isinstance(atom, Dim):
            return names.get(atom, atom.name)
        if isinstance(atom, Floor | Mod):
            inner = spell_ix(atom.of, names)
            text = inner if inner.isidentifier() else f"({inner})"
            return f"{text}//{atom.n}" if isinstance(atom, Floor) else f"{text}%{atom.n}"
        assert isinstance(atom, Gather)
        inside = ", ".join(spell_ix(i, names) for i in atom.indices)
        source = getattr(atom.source, "name", "source")
        return f"{source}[{inside}]" if inside else str(source)

    def factor(atom: Atom) -> str:
        text = name(atom)
        return f"({text})" if isinstance(atom, Floor | Mod) and _scaled(ix, atom) else text

    return render(ix, factor)


def _scaled(ix: Ix, atom: Atom) -> bool:
    """Whether a floor or mod needs parentheses: it has a factor or a sign."""
    return ix.coefficient(atom) != 1


def spell_guard(guard: Guard, names: Spelling) -> str:
    """A guard as written: ``i - j >= 0``."""
    return f"{spell_ix(guard.ix, names)} {guard.kind} 0"


def _expr(scalar: Scalar, names: Spelling) -> Expr:
    def e(x: Scalar) -> Expr:
        return _expr(x, names)

    match scalar:
        case Number(value):
            return _number(value)
        case Load(buffer, indices, guards):
            base: Expr = Name(buffer)
            if indices:
                base = Item(base, tuple(Name(spell_ix(i, names)) for i in indices))
            conditions = " and ".join(spell_guard(g, names) for g in guards)
            return Name(f"{flat(base)}{{{conditions}}}") if guards else base
        case IndexValue(ix):
            text = spell_ix(ix, names)
            alone = text.isdigit() or isinstance(ix.atom, Loop | Dim)
            return Name(text) if alone else Name(f"({text})")
        case Unary("-", x):
            return Un("-", e(x))
        case Unary(_, x):
            return Un("~", e(x))
        case Binary(op, a, b):
            return Bin(op, e(a), e(b))
        case Compare(op, a, b):
            return Cmp(op, e(a), e(b))
        case Select(c, a, b):
            return CallE(Name("select"), (e(c), e(a), e(b)))
        case Call(name, args):
            return CallE(Name(name), tuple(map(e, args)))
        case Cast(dtype, x):
            return CallE(Name(dtype), (e(x),))
        case Bitcast(dtype, x):
            return CallE(Name(f"bits_as_{dtype}"), (e(x),))
        case Fma(a, b, c):
            return CallE(Name("fma"), (e(a), e(b), e(c)))
        case Shift(x, places):
            return Bin("<<" if places >= 0 else ">>", e(x), Num(str(abs(places))))
        case And(a, b) | Or(a, b) | Xor(a, b):
            return Bin(_WORDS[type(scalar)], e(a), e(b))
        case Round(x):
            return CallE(Name("round"), (e(x),))
        case MulHigh(a, b):
            return CallE(Name("mul_high"), (e(a), e(b)))


def _number(value: Fraction | Literal["inf", "-inf", "nan"]) -> Expr:
    """1/3 as it is, where that is shorter than its digits; every digit of an integer limit."""
    if not isinstance(value, Fraction):
        return Un("-", Name("inf")) if value == "-inf" else Name(value)
    plain = number(value, "float64")
    text: Expr | None = None
    if 1 < value.denominator < 1000 and len(flat(plain)) > 12:
        top = Num(str(abs(value.numerator)))
        text = Bin("/", top, Num(str(value.denominator)))
    elif value.denominator == 1 and _EXACT < abs(value) < 1 << 64:
        text = Num(str(abs(value.numerator)))
    if text is None:
        return plain
    return Un("-", text) if value < 0 else text


def spell_scalar(scalar: Scalar, names: Spelling) -> str:
    """A formula on one line."""
    return flat(_expr(scalar, names))


def spell_axes(buffer: Buffer, over: Sequence[str] = ()) -> str:
    """``float32[batch, pixel=64]``: a size, and the axis's name where that says more."""
    if not buffer.dims:
        return buffer.dtype
    parts = []
    for name, size in zip(over or buffer.axes, buffer.dims, strict=True):
        text = spell_ix(size, {})
        parts.append(text if name in ("", text) else f"{name}={text}")
    return f"{buffer.dtype}[{', '.join(parts)}]"


def spell_dims(dims: Iterable[Dim]) -> str:
    """Dimensions with the sizes they may take: ``batch, time >= 2 <= 512``."""
    sizes = []
    for d in dims:
        least = "" if d.lower == 1 else f" >= {d.lower}"
        most = "" if d.capacity is None else f" <= {d.capacity}"
        sizes.append(f"{d.name}{least}{most}")
    return ", ".join(sizes)


def spell_buffer(buffer: Buffer) -> str:
    """A declaration: role, name, dtype and shape, bounds or data, the user's name."""
    text = f"{buffer.role:<9}  {buffer.name} : {spell_axes(buffer)}"
    if buffer.low is not None and buffer.high is not None:
        text += f" in {spell_ix(buffer.low, {})}..{spell_ix(buffer.high, {})}"
    if buffer.data is not None:
        shown = ", ".join(map(repr, buffer.data[:8]))
        text += f" = {shown}" + (", ..." if len(buffer.data) > 8 else "")
    if buffer.label and buffer.label != buffer.name:
        text += f'   "{comment_safe(buffer.label, 60)}"'
    return text


def _program(program: Program, indent: str, seen: list[Program]) -> Iterable[str]:
    yield f"{indent}program {program.name}({spell_dims(program.dims)})"
    inner = indent + "  "
    if program.doc:
        yield from (f"{inner}# {line}".rstrip() for line in spell_doc(program.doc))
    for buffer in program.buffers:
        if buffer.role != "scratch":
            yield from wrap(inner + spell_buffer(buffer))
    if program.steps:
        yield ""
    for step in program.steps:
        if step.formula:
            yield from wrap(f"{inner}# {comment_safe(step.formula)}", comment=True)
        yield from _step(step, program, inner, seen)
    yield ""
    yield from wrap(f"{inner}return {', '.join(program.outputs)}".rstrip())


def spell_doc(doc: str) -> Iterable[str]:
    """The lines of a docstring, safe in a comment, each with its indent."""
    for line in doc.splitlines()[:40]:
        indent = " " * min(8, len(line) - len(line.lstrip()))
        yield indent + comment_safe(line, WIDTH - 4 - len(indent))


def _step(step: Step, program: Program, indent: str, seen: list[Program]) -> Iterable[str]:
    if isinstance(step, Assign):
        yield from wrap(indent + _assign(step, program.buffer(step.target)))
        return
    left = ", ".join(f"{t} : {spell_axes(program.buffer(t))}" for t in step.targets)
    if isinstance(step, Library):
        words = [*step.arguments, *(f"{k}={v!r}" for k, v in step.attributes)]
        yield from wrap(f"{indent}{left} = {step.atom}({', '.join(words)})")
        return
    if isinstance(step, Block):
        right = f"{step.body.name}({', '.join(step.arguments)})"
    else:
        right = _scan(step)
    yield from wrap(f"{indent}{left} = {right}")
    if not any(step.body is s or step.body == s for s in seen):
        seen.append(step.body)
        yield from _program(step.body, indent + "  ", seen)


def _scan(step: Scan) -> str:
    turn = "for t reversed" if step.reverse else "for t"
    words = [*step.carries, *(f"{s}[t]" for s in step.slices), *step.constants]
    return f"scan {turn}<{spell_ix(step.length, {})}: {step.body.name}({', '.join(words)})"


def _assign(step: Assign, target: Buffer) -> str:
    names = dict(zip(step.loops, step.names, strict=True))
    body = spell_scalar(step.body, names)
    guards = " and ".join(spell_guard(g, names) for g in step.guards)
    where = f" where {guards}" if guards else ""
    kept = [ix.atom for ix in step.index]
    plain = all(
        isinstance(a, Loop) and a.extent is d and kept.count(a) == 1
        for a, d in zip(kept, target.dims, strict=True)
    )
    carried = (
        "" if step.accumulator == target.dtype or step.op == "=" else f" in {step.accumulator}"
    )
    if not plain:
        place = ", ".join(spell_ix(ix, names) for ix in step.index)
        over = _over(step.loops, names)
        return (
            f"{step.target} : {spell_axes(target)}; {step.target}[{place}] {_MARKS[step.op]} "
            f"{body}{carried}{f' for {over}' if over else ''}{where}"
        )
    inner = [item for item in step.loops if item not in kept]
    if step.op == "=":
        rest = _over(inner, names)
        text = body + (f" for {rest}" if rest else "")
    else:
        if strength(_expr(step.body, names)) < PRECEDENCE["*"]:
            body = f"({body})"
        mark = f"{step.op}_{{{_over(inner, names)}}}" if inner else step.op
        text = f"{mark} {body}{carried}"
    if target.role != "scratch":
        return f"{step.target} <- {text}{where}"
    axes = [names[a] for a in kept if isinstance(a, Loop)]
    return f"{step.target} : {spell_axes(target, axes)} = {text}{where}"


def _over(loops: Iterable[Loop], names: Spelling) -> str:
    """``k<64, batch``: loops with their extents, where the name does not say them."""
    pairs = [(names[item], spell_ix(item.extent, {})) for item in loops]
    return ", ".join(name if name == extent else f"{name}<{extent}" for name, extent in pairs)


def wrap(line: str, width: int = WIDTH, comment: bool = False) -> list[str]:
    """``line`` broken to a width, preferably outside brackets; later lines are indented more."""
    start = len(line) - len(line.lstrip(" "))
    hang = " " * start + ("# " if comment else "    ")
    lines: list[str] = []
    while len(line) > width:
        at = _break(line, width, len(hang) if lines else start)
        if at is None:
            break
        lines.append(line[:at].rstrip())
        line = hang + line[at:].lstrip()
    return [*lines, line]


def _roughness(char: str, after: str) -> int:
    """How much a break between ``char`` and ``after`` disturbs a reader."""
    if char != " ":
        return 16
    if after.startswith(("where ", "for ")):
        return -4
    if after.startswith(("+ ", "- ")):
        return 0
    return 1 if after.startswith(("* ", "/ ")) else 2


def _break(line: str, width: int, start: int) -> int | None:
    """Where to break: after a space, or else a bracket; at the least depth, then the latest."""
    depth = 0
    best: tuple[int, int] | None = None
    soonest = start + (width - start) // 2
    for n, char in enumerate(line[:width]):
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        if n > start and (char == " " or char in "([,") and n + 1 < len(line):
            cost = 4 * depth + (40 if n < soonest else 0) + _roughness(char, line[n + 1 : n + 7])
            if best is None or cost <= best[0]:
                best = (cost, n + 1)
    if best is None:
        return None
    return best[1]
