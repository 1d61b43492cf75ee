"""A Program made ready for text: no axes of length 1, arguments updated where values are computed.

In: a Program, whose updates of states and parameters come last, copied from new values.
Out: the same with each new value written into its argument at once, where nothing reads the old
value later: ``m = 0.9*m + 0.1*g`` instead of a value ``new_m`` and a copy of it. Values between
steps lose their axes of length 1.

Guarantees: the outputs and the updated arguments are the same. The result is for text only: its
readers read an argument after it was updated, which ``verify`` does not allow a Program.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from codegen.index import Gather, Guard, Ix, Loop, constant, guard, substitute
from codegen.program import (
    And,
    Assign,
    Binary,
    Bitcast,
    Block,
    Buffer,
    BufferSource,
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
    targets,
    walk,
)

__all__ = ["prepared", "reads", "rewritten", "shifted"]


def prepared(program: Program) -> Program:
    """The program as its text is best written."""
    return _updated_early(_squeezed(program))


# --- axes of length 1 ----------------------------------------------------------------------------


def _squeezed(program: Program) -> Program:
    """Values between steps without their axes of length 1, which only broadcasting asked for."""
    whole = {*program.outputs}
    for step in program.steps:
        whole |= _in_positions(step) if isinstance(step, Assign) else {*reads(step), *targets(step)}
    kept = {
        b.name: [n for n, d in enumerate(b.dims) if d.value != 1]
        for b in program.buffers
        if b.role == "scratch" and b.name not in whole and any(d.value == 1 for d in b.dims)
    }
    if not kept:
        return program
    buffers = tuple(
        replace(
            b,
            dims=tuple(b.dims[n] for n in kept[b.name]),
            axes=tuple(b.axes[n] for n in kept[b.name]),
        )
        if b.name in kept
        else b
        for b in program.buffers
    )
    steps = tuple(_narrowed(s, kept) if isinstance(s, Assign) else s for s in program.steps)
    return replace(program, buffers=buffers, steps=steps)


def _narrowed(step: Assign, kept: dict[str, list[int]]) -> Assign:
    """A step that reads and writes the buffers in ``kept`` at those axes alone."""
    index = tuple(step.index[n] for n in kept.get(step.target, range(len(step.index))))
    used = {v for ix in index for v in ix.loops}
    gone = {v: constant(0) for v in step.loops if v.extent.value == 1 and v not in used}

    def moved(guards: tuple[Guard, ...]) -> tuple[Guard, ...]:
        new = [guard(substitute(g.ix, gone), g.kind) for g in guards]
        return tuple(
            old if n is False else n for old, n in zip(guards, new, strict=True) if n is not True
        )

    def change(s: Scalar) -> Scalar:
        if isinstance(s, Load):
            at = tuple(s.indices[n] for n in kept.get(s.buffer, range(len(s.indices))))
            return Load(s.buffer, tuple(substitute(ix, gone) for ix in at), moved(s.guards))
        return IndexValue(substitute(s.ix, gone)) if isinstance(s, IndexValue) else s

    guards = moved(step.guards)
    body = rewritten(step.body, change)
    if any(v in g.ix.loops for g in _guards(guards, body) for v in gone):
        gone.clear()  # a guard that never holds: leave it as it was written
        guards, body = moved(step.guards), rewritten(step.body, change)
    left = [n for n, v in enumerate(step.loops) if v not in gone]
    return replace(
        step,
        index=tuple(substitute(ix, gone) for ix in index),
        loops=tuple(step.loops[n] for n in left),
        names=tuple(step.names[n] for n in left),
        guards=guards,
        body=body,
    )


def _guards(guards: tuple[Guard, ...], body: Scalar) -> list[Guard]:
    return [*guards, *(g for s in walk(body) if isinstance(s, Load) for g in s.guards)]


# --- updates -------------------------------------------------------------------------------------


def _updated_early(program: Program) -> Program:
    """The program with updates of arguments moved to where their values are made."""
    steps = program.steps
    buffers = {b.name: b for b in program.buffers}
    kept = {*program.outputs}
    made_at: dict[str, list[int]] = {}
    read_at: dict[str, list[int]] = {}
    for n, step in enumerate(steps):
        for name in targets(step):
            made_at.setdefault(name, []).append(n)
        for name in reads(step):
            read_at.setdefault(name, []).append(n)
    renamed: dict[str, str] = {}
    dropped: set[int] = set()
    for n, step in enumerate(steps):
        name = _copied(step, buffers)
        if not name or name in kept or name in renamed or len(made_at[name]) != 1:
            continue
        assert isinstance(step, Assign)
        maker = made_at[name][0]
        later = [k for k in read_at.get(step.target, ()) if k > maker]
        readers = read_at[name]
        if (
            isinstance(steps[maker], Assign)
            and not later
            and all(_by_value(steps[k], name) for k in readers)
            and not any(_may_share(steps[k], step.target) for k in read_at.get(step.target, ()))
        ):
            renamed[name] = step.target
            dropped.add(n)
    if not renamed:
        return program
    words = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, renamed))})(?![\w.])")

    def new(found: re.Match[str]) -> str:
        return renamed[found.group()]

    out: list[Step] = []
    for n, step in enumerate(steps):
        if n in dropped:
            continue
        if isinstance(step, Assign):
            body = _renamed(step.body, renamed) if reads(step) & renamed.keys() else step.body
            target = renamed.get(step.target, step.target)
            step = replace(step, target=target, body=body, formula=words.sub(new, step.formula))
        out.append(step)
    return replace(program, steps=tuple(out))


def _copied(step: Step, buffers: dict[str, Buffer]) -> str:
    """The value that a step copies whole into an argument, or ""."""
    if not isinstance(step, Assign) or buffers[step.target].role == "scratch" or step.guards:
        return ""
    body, target = step.body, buffers[step.target]
    if not isinstance(body, Load) or body.guards or body.indices != step.index:
        return ""
    loops = [ix.atom for ix in step.index]
    whole = len(set(loops)) == len(loops) == len(step.loops) and all(
        isinstance(v, Loop) and v.extent is d for v, d in zip(loops, target.dims, strict=True)
    )
    made = buffers[body.buffer]
    same = made.role == "scratch" and made.dims == target.dims and made.dtype == target.dtype
    return body.buffer if whole and same else ""


def _by_value(step: Step, name: str) -> bool:
    """Whether a step reads a buffer in its formula alone: such reads can be renamed."""
    return isinstance(step, Assign) and name not in _in_positions(step)


def _may_share(step: Step, name: str) -> bool:
    """Whether what a step defines may lie in the memory of an argument it is handed."""
    if isinstance(step, Block):
        inner = step.body.arguments[step.arguments.index(name)].name
        return inner in step.body.outputs
    return isinstance(step, Scan) and name in step.carries


def reads(step: Step) -> set[str]:
    """The buffers a step reads."""
    if isinstance(step, Block | Library):
        return set(step.arguments)
    if isinstance(step, Scan):
        return {*step.carries, *step.slices, *step.constants}
    return {s.buffer for s in walk(step.body) if isinstance(s, Load)} | _in_positions(step)


def _in_positions(step: Assign) -> set[str]:
    """The buffers that positions and guards are gathered from."""
    ixs: list[Ix] = [*step.index, *(g.ix for g in step.guards)]
    for s in walk(step.body):
        if isinstance(s, Load):
            ixs += [*s.indices, *(g.ix for g in s.guards)]
        elif isinstance(s, IndexValue):
            ixs.append(s.ix)
    return {
        atom.source.buffer
        for ix in ixs
        for atom in ix.atoms()
        if isinstance(atom, Gather) and isinstance(atom.source, BufferSource)
    }


def _renamed(s: Scalar, names: dict[str, str]) -> Scalar:
    """A formula with other names for what it reads."""

    def change(x: Scalar) -> Scalar:
        return replace(x, buffer=names.get(x.buffer, x.buffer)) if isinstance(x, Load) else x

    return rewritten(s, change)


def shifted(s: Scalar, moved: dict[Loop, Ix]) -> Scalar:
    """A formula with loops replaced in every position and guard."""

    def change(x: Scalar) -> Scalar:
        match x:
            case Load(buffer, indices, guards):
                new = [guard(substitute(g.ix, moved), g.kind) for g in guards]
                if False in new:
                    return Number(Fraction(0))
                held = tuple(g for g in new if isinstance(g, Guard))
                return Load(buffer, tuple(substitute(ix, moved) for ix in indices), held)
            case IndexValue(ix):
                return IndexValue(substitute(ix, moved))
            case _:
                return x

    return rewritten(s, change)


def rewritten(s: Scalar, change: Callable[[Scalar], Scalar]) -> Scalar:
    """A formula with ``change`` applied to every part, innermost first."""

    def go(x: Scalar) -> Scalar:
        return rewritten(x, change)

    match s:
        case Unary(op, x):
            s = Unary(op, go(x))
        case Binary(op, a, b):
            s = Binary(op, go(a), go(b))
        case Compare(op, a, b):
            s = Compare(op, go(a), go(b))
        case Select(c, a, b):
            s = Select(go(c), go(a), go(b))
        case Call(f, args):
            s = Call(f, tuple(map(go, args)))
        case Cast(dtype, x):
            s = Cast(dtype, go(x))
        case Bitcast(dtype, x):
            s = Bitcast(dtype, go(x))
        case Shift(x, places):
            s = Shift(go(x), places)
        case Round(x):
            s = Round(go(x))
        case Fma(a, b, c):
            s = Fma(go(a), go(b), go(c))
        case And(a, b) | Or(a, b) | Xor(a, b) | MulHigh(a, b):
            s = type(s)(go(a), go(b))
        case _:
            pass
    return change(s)
