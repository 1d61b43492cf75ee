"""Groups of parts that do the same to different arrays: scheduled once, and one kernel for all.

In: the statements of a group. Out: ``form``: what it does without names, and the arrays it does it
to, in order; ``again``: the calls of a second group, from those of the first.

Guarantees: two groups of one form differ in names only, of arrays, loops and parts; their arrays
agree in dtype, sizes, role, and in whether anything outside of the group uses them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from codegen.index import Loop, loop, substitute
from codegen.loops.nest import Call, Declare, For, Part, Stmt, Store
from codegen.loops.walk import gathered, inside, loads, mapped, renamed_in, rewritten
from codegen.program import Buffer, BufferSource

__all__ = ["Form", "again", "form"]


@dataclass(frozen=True)
class Form:
    """``key`` is equal for groups that do the same; ``arrays`` are theirs, in order of use."""

    key: tuple[object, ...]
    arrays: tuple[str, ...]


def form(stmts: Sequence[Stmt], known: Mapping[str, Buffer], outside: frozenset[str]) -> Form:
    """The form of a group."""
    arrays: dict[str, None] = {}
    declared: dict[str, None] = {}
    loops: dict[Loop, Loop] = {}
    for s in inside(stmts):
        for g in gathered(s):
            assert isinstance(g.source, BufferSource)
            arrays[g.source.buffer] = None
        arrays.update(dict.fromkeys(x.buffer for x in loads(s)))
        match s:
            case Store(target):
                arrays[target] = None
            case Call(_, arguments):
                arrays.update(dict.fromkeys(arguments))
            case Declare(array):
                declared[array.name] = None
            case For(v):
                loops[v] = loop(len(loops), v.extent)
            case _:
                pass
    own = tuple(a for a in arrays if a not in declared)
    names = {a: f"a{n}" for n, a in enumerate(own)} | {d: f"d{n}" for n, d in enumerate(declared)}
    change = {a: b.ix() for a, b in loops.items()}
    made = rewritten(
        stmts, lambda ix: substitute(renamed_in(ix, names), change), lambda n: names.get(n, n)
    )

    def bare(s: Stmt) -> tuple[Stmt, ...]:
        match s:
            case For():
                return (replace(s, loop=loops[s.loop], name=""),)
            case Part():
                return (Part("", s.body),)
            case Declare(array):
                return (Declare(replace(array, axes=(), label="")),)
            case _:
                return (s,)

    facts = tuple(
        (b.dtype, b.dims, b.role, b.low, b.high, b.data, b.name in outside)
        for b in (known[a] for a in own)
    )
    return Form((mapped(made, bare), facts), own)


def again(parts: Sequence[Stmt], first: Form, second: Form, names: Mapping[str, str]) -> list[Stmt]:
    """The parts of one group, all of them calls, for another of the same form; ``names`` are those
    of the first group's parts, and what they are in the second."""
    arrays = dict(zip(first.arrays, second.arrays, strict=True))
    spelling = {**arrays, **names}
    out: list[Stmt] = []
    for p in parts:
        assert isinstance(p, Part)
        body = tuple(
            replace(s, arguments=tuple(arrays.get(a, a) for a in s.arguments))
            for s in p.body
            if isinstance(s, Call)
        )
        out.append(Part(_said(p.name, spelling), body, _said(p.formula, spelling), p.origin))
    return out


def _said(text: str, names: Mapping[str, str]) -> str:
    """A text with names in the place of others, also where they begin a longer one."""
    words = sorted(names, key=len, reverse=True)
    pattern = r"(?<!\w)(" + "|".join(map(re.escape, words)) + ")"
    return re.sub(pattern, lambda found: names[found[1]], text) if words else text
