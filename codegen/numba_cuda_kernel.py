"""One ``@cuda.jit`` kernel: what a thread does, as plain Python.

In: the loops whose turns are threads, the statements that each thread runs, and the names of the
function that launches it. Out: ``kernel``: the lines, and what a launch hands over.

    batch = cuda.grid(1)                    one loop: the thread's number is its turn
    turn = cuda.grid(1)                     several: the last one runs fastest, so that threads
    if turn >= batch_size * 16:             side by side read and write side by side
        return
    batch, unit = turn // 16, turn % 16

Guarantees: threads beyond the last turn do nothing; local storage has sizes that are numbers, and
each thread its own. Statements are printed as in the texts for one core (``numba_statements``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from codegen import numba_cuda_helpers
from codegen.index import Loop
from codegen.loops.nest import Declare, For, Part, Stmt
from codegen.loops.walk import indices, inside, read_names, written_names
from codegen.names import Names, comment_safe
from codegen.numba_scalars import Scope, index
from codegen.numba_statements import Body
from codegen.printer import Bin, Cmp, Expr, Name, Seq, call, layout
from codegen.program import Buffer, Dtype

__all__ = ["Kernel", "Surroundings", "dtype_name", "kernel", "product"]


@dataclass(frozen=True)
class Surroundings:
    """The names of the function that launches: arrays as a kernel calls them, sizes, loops."""

    arrays: dict[str, Buffer]
    local: dict[str, str]
    sizes: dict[str, str]
    loops: dict[Loop, str]
    taken: tuple[str, ...]
    helpers: dict[tuple[str, Dtype], None]


@dataclass(frozen=True)
class Kernel:
    """Its lines, and what is handed to it in this order."""

    lines: list[str]
    arrays: tuple[str, ...]
    dims: tuple[str, ...]
    loops: tuple[Loop, ...]


def kernel(
    name: str,
    turns: Sequence[For],
    body: Sequence[Stmt],
    part: Part | None,
    around: Surroundings,
) -> Kernel:
    """A kernel with a thread for each turn of all loops in ``turns`` together."""
    made = _Thread(body, around)
    numbering = made.numbering(turns)
    lines = made.lines((Part(part.name, tuple(body), part.formula),) if part else body, ())
    scope = made.scope
    used = {v for s in inside(body) for ix in indices(s) for v in ix.loops}
    loops = tuple(v for v in around.loops if v in used)
    dims = tuple(d for d in around.sizes if d in scope.used)
    known = {**read_names(body, {}), **written_names(body, {})}
    arrays = tuple(a for a in around.arrays if a in known and a not in made.own)
    parameters = [scope.local[a] for a in arrays]
    parameters += [around.sizes[d] for d in dims]
    parameters += [around.loops[v] for v in loops]
    head = [
        "@cuda.jit",
        *layout("def ", call(name, *map(Name, parameters)), ":", 0),
        f'    """{_summary(turns, body)}"""',
        *numbering,
        *([""] if numbering else []),
    ]
    return Kernel([*head, *lines], arrays, dims, loops)


def _summary(turns: Sequence[For], body: Sequence[Stmt]) -> str:
    """Which threads there are."""
    if turns:
        names = [comment_safe(f.name, 40) for f in turns]
        text = f"{', '.join(names[:-1])} and {names[-1]}" if names[1:] else names[0]
        return f"A thread for each {text}."
    if any(isinstance(s, For) for s in inside(body)):
        return "One thread: it is not proved of any loop that its turns are independent."
    return "One thread, for one value."


def product(factors: Sequence[Expr]) -> Expr:
    """Their product."""
    return reduce(lambda a, b: Bin("*", a, b), factors)


def dtype_name(buffer: Buffer) -> Expr:
    """A dtype as the texts call it."""
    return Name("np.bool_" if buffer.dtype == "bool" else buffer.dtype)


class _Thread(Body):
    """The body of a thread while it is written."""

    def __init__(self, body: Sequence[Stmt], around: Surroundings) -> None:
        declared = {s.array.name: s.array for s in inside(body) if isinstance(s, Declare)}
        shared = (*around.local.values(), *around.sizes.values(), *around.loops.values())
        names = Names((*around.taken, *shared))
        scope = Scope(
            {**around.arrays, **declared},
            {**around.local, **{name: names(name) for name in declared}},
            {b.name for b in declared.values() if not b.dims},
            around.sizes,
            around.helpers,
            dict(around.loops),
            instead=numba_cuda_helpers.INSTEAD,
            device=True,
        )
        super().__init__(scope, names, (), {})
        self.own = declared

    def allocation(self, buffer: Buffer) -> list[str]:
        """Storage of the thread's own."""
        dims = tuple(index(self.scope, d) for d in buffer.dims)
        shape: Expr = dims[0] if len(dims) == 1 else Seq("(", dims)
        made = call("cuda.local.array", shape, dtype_name(buffer))
        return layout(f"    {self.scope.local[buffer.name]} = ", made)

    def numbering(self, turns: Sequence[For]) -> list[str]:
        """The turns of this thread, or nothing left to do."""
        if not turns:
            return []
        scope = self.scope
        for f in turns:
            scope.loops[f.loop] = self.loop_name(f.name)
        names = [scope.loops[f.loop] for f in turns]
        extents = [index(scope, f.loop.extent) for f in turns]
        first = names[0] if len(turns) == 1 else self.names("turn")
        beyond = Cmp(">=", Name(first), product(extents))
        lines = [
            f"    {first} = cuda.grid(1)",
            *layout("    if ", beyond, ":"),
            "        return",
        ]
        for n, name in enumerate(names[:-1] if len(turns) > 1 else ()):
            later = product(extents[n + 1 :])
            whole = Bin("//", Name(first), later)
            lines += layout(f"    {name} = ", whole if n == 0 else Bin("%", whole, extents[n]))
        if len(turns) > 1:
            lines += layout(f"    {names[-1]} = ", Bin("%", Name(first), extents[-1]))
        return lines
