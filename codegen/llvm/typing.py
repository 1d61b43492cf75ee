"""Dtypes of formulas, asked node by node.

In: scalars of PROGRAM whose parts may be shared. Out: dtypes, by the rules of ``codegen.dtypes``.

Guarantees: each node is asked once, however often it is used: the parts of a node stand there as
reads of a buffer of their dtype when it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from codegen import program as p
from codegen.dtypes import float_of, infer_dtype
from codegen.program import Buffer, Dtype, Load, Scalar

__all__ = ["Typing"]

_DTYPES: tuple[Dtype, ...] = (
    "float32", "float64", "bool", "int32", "int64", "uint32", "uint64",
)  # fmt: skip


class Typing:
    """Remembers what it was asked; scalars are kept, so that an identity means one of them."""

    def __init__(self, arrays: Iterable[Buffer]) -> None:
        self.float = float_of(arrays)
        first = sorted(_DTYPES, key=lambda d: d != self.float)
        self.table: dict[str, Buffer] = {d: Buffer(d, (), (), d, "input") for d in first}
        self.loads: dict[str, Dtype] = {}
        self.known: dict[int, tuple[Scalar, Dtype | None]] = {}

    def dtype(self, s: Scalar, context: Dtype) -> Dtype:
        """What a scalar computes in; a bare number follows the context."""
        own = self.own(s)
        return infer_dtype(self.shallow(s), self.table, context) if own is None else own

    def own(self, s: Scalar) -> Dtype | None:
        """The dtype of a scalar; None where it is made of bare numbers alone."""
        if isinstance(s, Load):
            return self.loads[s.buffer]
        found = self.known.get(id(s))
        if found is None:
            plain = self.shallow(s)
            one, other = (infer_dtype(plain, self.table, d) for d in ("float32", "float64"))
            found = self.known[id(s)] = s, one if one == other else None
        return found[1]

    def shallow(self, s: Scalar) -> Scalar:
        """The scalar with reads in the place of its parts."""

        def leaf(x: Scalar) -> Scalar:
            own = self.own(x)
            return x if own is None else Load(own)

        match s:
            case p.Unary() | p.Cast() | p.Bitcast() | p.Shift() | p.Round():
                return replace(s, x=leaf(s.x))
            case p.Binary(op, a, b):
                return p.Binary(op, leaf(a), b if op == "**" else leaf(b))
            case p.Compare() | p.And() | p.Or() | p.Xor() | p.MulHigh():
                return replace(s, left=leaf(s.left), right=leaf(s.right))
            case p.Select(_, a, b):
                return p.Select(Load("bool"), leaf(a), leaf(b))
            case p.Fma(a, b, c):
                return p.Fma(leaf(a), leaf(b), leaf(c))
            case p.Call(name, args):
                return p.Call(name, tuple(map(leaf, args)))
            case _:
                return s
