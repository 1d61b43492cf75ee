"""What a caller must know of an emitted function: its arguments, its context, its arena; as data.

In: what ``codegen.llvm.native`` found, or the JSON of one (``read``). Out: ``Interface``;
``written`` makes JSON of it: with the object code, all that running a program takes.

Guarantees: complete: whoever has it needs neither PROGRAM nor LOOPS; ``read(written(i)) == i``; the
same interface gives the same bytes. Raises ValueError for what ``written`` did not make.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from codegen.dtypes import WIDTH, is_float
from codegen.index import Dim, Floor, Ix, Mod, as_ix, dim, floordiv, mod
from codegen.llvm.arena import Plan, Region, Slot
from codegen.program import Buffer

__all__ = ["Interface", "read", "written"]

FORMAT = 2
ROLES = ("input", "scalar", "parameter", "state", "constant", "scratch")


@dataclass(frozen=True)
class Interface:
    """``arguments`` in the order of a call, those in ``writes`` changed; ``arrays`` are those of
    the context, (kernel, array), a word each, then a word each of ``dims``; ``outputs`` name
    arrays of the program, or ``constants``."""

    name: str
    dims: tuple[Dim, ...]
    arguments: tuple[Buffer, ...]
    writes: tuple[str, ...]
    arrays: tuple[tuple[str, Buffer], ...]
    outputs: tuple[str, ...]
    constants: tuple[Buffer, ...]
    arena: Plan


# --- JSON -----------------------------------------------------------------------------------------


def written(i: Interface) -> bytes:
    """The JSON of an interface."""
    data = {
        "format": FORMAT,
        "name": i.name,
        "dims": [[d.name, d.lower, d.nominal, d.capacity] for d in i.dims],
        "arguments": [_buffer(b) for b in i.arguments],
        "writes": i.writes,
        "arrays": [[kernel, _buffer(b)] for kernel, b in i.arrays],
        "outputs": i.outputs,
        "constants": [[_buffer(b), _numbers(b)] for b in i.constants],
        "regions": [[r.scale, r.unit] for r in i.arena.regions],
        "slots": [
            [s.kernel, s.array, s.region, s.offset, s.size, s.first, s.last, s.over]
            for s in i.arena.slots
        ],
    }
    return json.dumps(data, separators=(",", ":")).encode()


def _buffer(b: Buffer) -> list[Any]:
    return [b.name, [_ix(d) for d in b.dims], b.dtype, b.role, b.label]


def _numbers(b: Buffer) -> list[Any]:
    """The values of a constant: floats exactly, as text; whole numbers as they are."""
    if is_float(b.dtype):
        return [float(v).hex() for v in b.data or ()]
    return [int(v) for v in b.data or ()]


def _ix(ix: Ix) -> Any:
    """A number, or [constant, [factor, atom], ...]; an atom is a name or ["//" or "%", ix, n]."""
    if not ix.terms:
        return ix.const
    return [ix.const, *([k, _atom(atom)] for atom, k in ix.terms)]


def _atom(atom: Any) -> Any:
    if isinstance(atom, Dim):
        return atom.name
    assert isinstance(atom, Floor | Mod), "a size is made of dimensions"
    return ["//" if isinstance(atom, Floor) else "%", _ix(atom.of), atom.n]


def read(data: bytes) -> Interface:
    """The interface that ``written`` wrote."""
    try:
        found = json.loads(data)
        if found["format"] != FORMAT:
            raise ValueError(f"it has format {found['format']!r}, this version reads {FORMAT}")
        return _Reader(found).interface()
    except (KeyError, TypeError, IndexError, RecursionError, AssertionError) as error:
        raise ValueError(f"this is not an interface: {error!r}") from error


class _Reader:
    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found
        self.dims = {row[0]: dim(*row) for row in found["dims"]}

    def interface(self) -> Interface:
        found = self.found
        regions = tuple(Region(tuple(scale), unit) for scale, unit in found["regions"])
        slots = tuple(Slot(*row) for row in found["slots"])
        return Interface(
            found["name"],
            tuple(self.dims.values()),
            tuple(map(self.buffer, found["arguments"])),
            tuple(found["writes"]),
            tuple((kernel, self.buffer(b)) for kernel, b in found["arrays"]),
            tuple(found["outputs"]),
            tuple(self.constant(*row) for row in found["constants"]),
            Plan(regions, slots),
        )

    def buffer(self, row: list[Any]) -> Buffer:
        name, dims, dtype, role, label = row
        if dtype not in WIDTH and dtype != "bool":
            raise ValueError(f"there is no dtype {dtype!r}")
        if role not in ROLES:
            raise ValueError(f"there is no role {role!r}")
        return Buffer(name, tuple(map(self.ix, dims)), ("",) * len(dims), dtype, role, label)

    def constant(self, row: list[Any], values: list[str | int]) -> Buffer:
        b = self.buffer(row)
        exact = tuple(float.fromhex(v) if isinstance(v, str) else int(v) for v in values)
        return Buffer(b.name, b.dims, b.axes, b.dtype, b.role, b.label, data=exact)

    def ix(self, value: Any) -> Ix:
        if isinstance(value, int):
            return as_ix(value)
        const, *terms = value
        total = as_ix(const)
        for k, atom in terms:
            total = total + self.atom(atom) * k
        return total

    def atom(self, value: Any) -> Ix:
        if isinstance(value, str):
            return self.dims[value].ix()
        sign, of, n = value
        return (floordiv if sign == "//" else mod)(self.ix(of), n)
