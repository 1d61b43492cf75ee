"""A long list of parameters as one: ``def function(x, *parameters)``, handed on in slices.

In: a program. Out: ``rest_of`` gives the arguments that need no name of their own, or None where
each is named in the signature.

    block1 = block(x, *parameters[0:16])  # block1_norm1_weight to block1_narrow_bias
    logits_weight, logits_bias = parameters[768:770]

Guarantees: the function is called as before, with every array in the order of
``program.arguments``; a parameter that the code reads outside of calls has its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.expressions import Expr, Item, Name, SliceE, Un, integer
from codegen.names import Names
from codegen.numpy_prepare import reads
from codegen.program import Block, Program

__all__ = ["Rest", "rest_of"]

MANY = 64  # parameters that only calls are handed: fewer are named in the signature
ROW = 4  # parameters side by side that a call is handed as one slice
LOOSE = 16  # parameters that are read by name: more, and all are named


@dataclass(frozen=True)
class Rest:
    """Its name, where each argument of the rest stands in it, and those read by their own name."""

    name: str
    place: Mapping[str, int]
    loose: tuple[str, ...]

    def handed(self, arguments: Sequence[str], local: Mapping[str, str]) -> list[Expr]:
        """The arguments of a call, those side by side as one slice."""
        found: list[Expr] = []
        for row in _rows(arguments, self.place):
            if len(row) >= ROW:
                found.append(Un("*", self.slice(row)))
            else:
                found += [Name(local[a]) for a in row]
        return found

    def said(self, arguments: Sequence[str], local: Mapping[str, str]) -> str:
        """Which parameters the slices of a call are."""
        rows = (row for row in _rows(arguments, self.place) if len(row) >= ROW)
        return ", ".join(f"{local[row[0]]} to {local[row[-1]]}" for row in rows)

    def slice(self, row: Sequence[str]) -> Expr:
        """Arguments side by side."""
        first = self.place[row[0]]
        return Item(Name(self.name), (SliceE(integer(first), integer(first + len(row))),))

    def named(self, local: Mapping[str, str]) -> list[str]:
        """The lines that name what is read by name."""
        lines = []
        for row in _rows(self.loose, self.place):
            for part in (row[k : k + ROW] for k in range(0, len(row), ROW)):
                first = self.place[part[0]]
                where = f"{first}" if len(part) == 1 else f"{first}:{first + len(part)}"
                lines.append(f"{', '.join(local[a] for a in part)} = {self.name}[{where}]")
        return lines


def rest_of(program: Program, names: Names) -> Rest | None:
    """The parameters and states as one list, where calls are handed many of them in rows."""
    kept = [b for b in program.arguments if b.role in ("parameter", "state")]
    if len(kept) < MANY or any(d.value is None for b in kept for d in b.dims):
        return None
    place = {b.name: k for k, b in enumerate(kept)}
    loose = {name for name in (*program.outputs, *program.updates) if name in place}
    for step in program.steps:
        rows = (
            _rows(step.arguments, place) if isinstance(step, Block) else ([n] for n in reads(step))
        )
        loose.update(n for row in rows if len(row) < ROW for n in row if n in place)
    if len(loose) > LOOSE or len(kept) - len(loose) < MANY:
        return None
    return Rest(names("parameters"), place, tuple(name for name in place if name in loose))


def _rows(names: Sequence[str], place: Mapping[str, int]) -> Iterator[list[str]]:
    """The names in order, those that stand side by side in the rest together."""
    row: list[str] = []
    for name in names:
        if row and (name not in place or place.get(row[-1], -2) + 1 != place[name]):
            yield row
            row = []
        row.append(name)
    if row:
        yield row
