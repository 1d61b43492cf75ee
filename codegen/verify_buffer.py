"""What makes a name and a declaration valid, in a Program and in the nests made from it.

In: a name, a Buffer, the dimensions that are declared. Out: nothing, or ``InvalidProgram``.

Guarantees: a name is an identifier that hides nothing of Python; a size is a combination of
declared dimensions alone; a constant has one value for each element; only integers have bounds.
"""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable, Sequence
from math import prod

from codegen.dtypes import is_float
from codegen.index import Dim, Ix
from codegen.program import Buffer
from codegen.verify_scalar import InvalidProgram

__all__ = ["check_buffer", "check_dims", "check_sizes", "legal", "repeated"]


def legal(name: str) -> bool:
    """Whether a name can stand in generated code."""
    return (
        name.isascii()
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and not name.startswith("__")
        and name != "np"
        and not hasattr(builtins, name)
    )


def repeated(names: Sequence[str]) -> list[str]:
    """The names that stand there already, each time they do again."""
    found: list[str] = []
    seen: set[str] = set()
    for name in names:
        if name in seen:
            found.append(name)
        seen.add(name)
    return found


def check_dims(ix: Ix, dims: Sequence[Dim], where: str) -> None:
    """Every dimension in a combination is declared."""
    for a in ix.atoms():
        if isinstance(a, Dim) and a not in dims:
            raise InvalidProgram(f"{where}the dimension {a.name} is not declared")


def check_sizes(ixs: Iterable[Ix], dims: Sequence[Dim], where: str) -> None:
    """Combinations of declared dimensions alone."""
    for ix in ixs:
        if ix.loops:
            raise InvalidProgram(f"{where}the size {ix!r} depends on a loop")
        if ix.gathers:
            raise InvalidProgram(f"{where}the size {ix!r} depends on data")
        check_dims(ix, dims, where)


def check_buffer(b: Buffer, dims: Sequence[Dim], where: str = "") -> None:
    """A declaration agrees with itself."""
    where = f"{where}buffer {b.name}: "

    def need(holds: bool, text: str) -> None:
        if not holds:
            raise InvalidProgram(f"{where}{text}")

    need(len(b.axes) == len(b.dims), f"{len(b.axes)} axis names for {len(b.dims)} dims")
    check_sizes(b.dims, dims, where)
    if b.low is not None and b.high is not None:
        need(not is_float(b.dtype), "bounds of values are for integers only")
        check_sizes((b.low, b.high), dims, where)
    if b.role == "constant":
        values = [d.value for d in b.dims]
        known = [v for v in values if v is not None]
        need(len(known) == len(values), "a constant has fixed sizes")
        count = -1 if b.data is None else len(b.data)
        need(count == prod(known), f"{count} values for a shape of {prod(known)}")
    else:
        need(b.data is None, f"a buffer of role {b.role} holds no data")
