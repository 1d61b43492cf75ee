"""Counts as polynomials in the named dimensions: operations, bytes.

In: extents, buffers. Out: ``Poly``, from products of dimensions (names, sorted; a power repeats
one) to integer coefficients; ``spelled`` writes one. Guarantees: exact, deterministic.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from codegen.dtypes import WIDTH
from codegen.index import Dim, Gather, Ix
from codegen.program import Buffer

__all__ = ["Poly", "added", "buffer_bytes", "product", "size_of", "spelled"]

Poly: TypeAlias = dict[tuple[str, ...], int]


def buffer_bytes(b: Buffer) -> Poly:
    """The bytes of a buffer."""
    total: Poly = {(): WIDTH[b.dtype] // 8}
    for d in b.dims:
        total = product(total, size_of(d))
    return total


def size_of(ix: Ix) -> Poly:
    """An extent."""
    found: Poly = {(): ix.const} if ix.const else {}
    for atom, k in ix.terms:
        assert not isinstance(atom, Gather)
        word = atom.name if isinstance(atom, Dim) else repr(atom)
        found[(word,)] = found.get((word,), 0) + k
    return found


def product(a: Poly, b: Poly) -> Poly:
    """a * b."""
    out: Poly = {}
    for x, j in a.items():
        for y, k in b.items():
            key = tuple(sorted((*x, *y)))
            out[key] = out.get(key, 0) + j * k
    return out


def added(polys: Iterable[Poly]) -> Poly:
    """The sum of some."""
    out: Poly = {}
    for poly in polys:
        for key, k in poly.items():
            out[key] = out.get(key, 0) + k
    return out


def spelled(poly: Poly) -> str:
    """Highest degree first: ``28,440*batch + 102,437``."""
    parts: list[str] = []
    for key in sorted(poly, key=lambda x: (-len(x), x)):
        k = poly[key]
        if not k:
            continue
        word = "*".join(_powers(key))
        number = f"{abs(k):,}"
        body = number if not word else word if abs(k) == 1 else f"{number}*{word}"
        sign = "-" if k < 0 else "+"
        parts.append(f"{sign} {body}" if parts else f"-{body}" if k < 0 else body)
    return " ".join(parts) or "0"


def _powers(key: tuple[str, ...]) -> list[str]:
    names = dict.fromkeys(key)
    return [n if key.count(n) == 1 else f"{n}**{key.count(n)}" for n in names]
