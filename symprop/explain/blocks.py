"""blocks: what a page is made of, as data.

    page    := section*
    section := key block*
    block   := Head key | Say key {name: formula} | Line equation | Grid heads rows | Values ...

In: nothing. Out: the classes. Guarantees: words are keys of ``words``, formulas are those of
``notation``: no text of any output language is in a block, so that every output says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from symprop.explain.notation import Equation, Formula, Symbol

__all__ = ["Block", "Grid", "Head", "Line", "Numeric", "Say", "Section", "Shape"]


@dataclass(frozen=True)
class Say:
    """A sentence; ``values`` fill its names: formulas, or text that is ready."""

    key: str
    values: tuple[tuple[str, Formula | str], ...] = ()


@dataclass(frozen=True)
class Shape:
    """The sizes of a value, the samples left out where ``one``."""

    of: Formula


Cell = Formula | Say | Shape | str


@dataclass(frozen=True)
class Head:
    """A heading inside a section; ``values`` fill its names."""

    key: str
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Line:
    """An equation on a line of its own; with ``shapes`` the sizes of what it is made of."""

    equation: Equation
    shapes: bool = False


@dataclass(frozen=True)
class Grid:
    """A table; ``heads`` are keys of words."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Numeric:
    """An equation with numbers: the arrays of its symbols, and its value."""

    equation: Equation
    arrays: Mapping[Symbol, Any]
    sizes: Mapping[str, int]
    value: Any


Block = Head | Say | Line | Grid | Numeric


@dataclass(frozen=True)
class Section:
    """One heading and what stands below it."""

    key: str
    blocks: tuple[Block, ...]
